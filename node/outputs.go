package node

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// What lists for machines need of the node: the warninglists, the serials of zones, and the note of
// what was handed out. What they are made of is in package outputs.

// warninglistPart is the size of a part in which a list is kept, and maxWarninglistParts how many
// one may have: 8 MiB packed, about a million names.
const (
	warninglistPart     = 256 << 10
	maxWarninglistParts = 32
)

// warninglistDoc is a part of a warninglist in MISP's format, packed with gzip.
type warninglistDoc struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	At    uint64 // when it was set, Unix milliseconds
	Part  uint32
	Parts uint32
	Data  []byte
}

// warninglistKey is where a part is kept: under the hash of the name, which may be long.
func warninglistKey(name string, part uint32) []byte {
	h := sha256.Sum256([]byte(name))
	return append(h[:], be64(uint64(part))...)
}

func checkWarninglist(id, value []byte) error {
	var d warninglistDoc
	if err := protocol.Decode(value, maxDocument, &d); err != nil {
		return err
	}
	switch {
	case d.Name == "" || len(d.Name) > warninglist.MaxName || d.Parts > maxWarninglistParts || d.Part >= d.Parts || len(d.Data) > warninglistPart:
		return protocol.Errorf(protocol.ErrMalformed, "a part of a warninglist is out of bounds")
	case !bytes.Equal(warninglistKey(d.Name, d.Part), id):
		return protocol.Errorf(protocol.ErrWrongContext, "a part of a warninglist is another one than it is kept as")
	}
	return nil
}

// Warninglist describes a list of what is never put out to machines that block.
type Warninglist struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	Version  int       `json:"version"`
	Entries  int       `json:"entries"`
	Matching []string  `json:"matching_attributes,omitempty"`
	Set      time.Time `json:"set,omitzero"` // zero: built in
}

// warninglists are those of a node, made ready.
type warninglists struct {
	mu   sync.Mutex
	set  *warninglist.Set // nil: to be made of what is stored
	list []Warninglist
}

// Warninglists returns the lists, the built-in ones first, and a set of all of them. If a list that is
// kept cannot be read it is an error: what it protects must not be put out.
func (n *Node) Warninglists() ([]Warninglist, *warninglist.Set, error) {
	if err := n.usable(); err != nil {
		return nil, nil, err
	}
	n.warnings.mu.Lock()
	defer n.warnings.mu.Unlock()
	if n.warnings.set != nil {
		return slices.Clone(n.warnings.list), n.warnings.set, nil
	}
	var lists []*warninglist.List
	var infos []Warninglist
	for _, l := range warninglist.BuiltIn() {
		infos = append(infos, Warninglist{Name: l.Name, Type: l.Type, Version: l.Version, Entries: len(l.Entries)})
	}
	err := n.st.View(func(tx *store.Tx) (err error) { lists, infos, err = readWarninglists(tx, infos); return err })
	if err != nil {
		return nil, nil, fmt.Errorf("reading the warninglists: %w", err)
	}
	set, err := warninglist.Compile(lists)
	if err != nil {
		return nil, nil, err
	}
	n.warnings.set, n.warnings.list = set, infos
	return slices.Clone(infos), set, nil
}

func readWarninglists(tx *store.Tx, infos []Warninglist) (lists []*warninglist.List, all []Warninglist, err error) {
	var packed []byte
	next := uint32(0)
	err = scanDocs(tx, kindOutput, func(id []byte, d *warninglistDoc) error {
		if d.Part != next {
			return fmt.Errorf("part %d of warninglist %q is not there; remove the list, and add it again", next+1, d.Name)
		}
		packed = append(packed, d.Data...)
		if next++; next < d.Parts {
			return nil
		}
		l, err := unpackWarninglist(packed)
		if err != nil {
			return fmt.Errorf("warninglist %q: %w", d.Name, err)
		}
		packed, next = nil, 0
		lists = append(lists, l)
		infos = append(infos, Warninglist{Name: l.Name, Type: l.Type, Version: l.Version, Entries: len(l.Entries), Matching: l.Matching, Set: millis(d.At)})
		return nil
	})
	if err == nil && next != 0 {
		err = errors.New("the last parts of a warninglist are not there; remove the list, and add it again")
	}
	slices.SortFunc(lists, func(a, b *warninglist.List) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(infos, func(a, b Warninglist) int {
		if a.Set.IsZero() || b.Set.IsZero() {
			return 0 // the built-in ones stand first
		}
		return strings.Compare(a.Name, b.Name)
	})
	return lists, infos, err
}

func unpackWarninglist(packed []byte) (*warninglist.List, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, warninglist.MaxFile+1))
	if err != nil {
		return nil, err
	}
	return warninglist.Parse(raw)
}

// SetWarninglist keeps a list, in the place of one of the same name.
func (n *Node) SetWarninglist(l *warninglist.List) error {
	if err := l.Check(); err != nil {
		return err
	}
	return n.setWarninglists(func([]*warninglist.List) []*warninglist.List { return []*warninglist.List{l} })
}

// The lists of what is this organisation's own.
const (
	protectedNames    = "protected names"
	protectedNetworks = "protected networks"
)

// Protect keeps names, with all that is below them, and addresses and networks out of what is put out:
// this organisation's own, and its customers'. They come to those that are protected already, in two
// lists that are removed as others are.
func (n *Node) Protect(values []string) error {
	names := &warninglist.List{Name: protectedNames, Type: "hostname", Version: 1}
	networks := &warninglist.List{Name: protectedNetworks, Type: "cidr", Version: 1}
	for _, v := range values {
		switch o, _ := stix.Canonical(v); o.Kind {
		case stix.Domain:
			names.Entries = append(names.Entries, o.Value)
		case stix.IPv4, stix.IPv6, stix.IPv4CIDR, stix.IPv6CIDR:
			networks.Entries = append(networks.Entries, o.Value)
		default:
			return protocol.Errorf(protocol.ErrMalformed, "%q is no domain name, address or network", v)
		}
	}
	return n.setWarninglists(func(held []*warninglist.List) (set []*warninglist.List) {
		for _, l := range []*warninglist.List{names, networks} {
			if len(l.Entries) == 0 {
				continue
			}
			for _, h := range held {
				if h.Name == l.Name && h.Type == l.Type {
					l.Entries = append(l.Entries, h.Entries...)
					l.Version = h.Version + 1
				}
			}
			slices.Sort(l.Entries)
			l.Entries = slices.Compact(l.Entries)
			set = append(set, l)
		}
		return set
	})
}

// setWarninglists keeps the lists that make makes of those that are held, in one transaction.
func (n *Node) setWarninglists(make func(held []*warninglist.List) []*warninglist.List) error {
	if err := n.usable(); err != nil {
		return err
	}
	n.warnings.mu.Lock()
	defer n.warnings.mu.Unlock()
	err := n.st.Update(func(tx *store.Tx) error {
		all, _, err := readWarninglists(tx, nil)
		if err != nil {
			return err
		}
		set := make(all)
		for _, l := range set {
			if err := putWarninglist(tx, l); err != nil {
				return err
			}
			if err := n.auditAccess(tx, "set warninglist", fmt.Sprintf("%s, %d entries, version %d", l.Name, len(l.Entries), l.Version)); err != nil {
				return err
			}
			all = append(slices.DeleteFunc(all, func(h *warninglist.List) bool { return h.Name == l.Name }), l)
		}
		_, err = warninglist.Compile(all) // what is bounded is all of them together
		return err
	})
	n.warnings.set = nil
	return err
}

func putWarninglist(tx *store.Tx, l *warninglist.List) error {
	docs, err := packWarninglist(l)
	if err != nil {
		return err
	}
	if _, err := removeWarninglist(tx, l.Name); err != nil {
		return err
	}
	for i := range docs {
		if err := putDoc(tx, kindOutput, warninglistKey(l.Name, uint32(i)), &docs[i]); err != nil {
			return err
		}
	}
	return nil
}

func packWarninglist(l *warninglist.List) (docs []warninglistDoc, err error) {
	raw, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	parts := (b.Len() + warninglistPart - 1) / warninglistPart
	if parts > maxWarninglistParts || len(raw) > warninglist.MaxFile {
		return nil, protocol.Errorf(protocol.ErrOversize, "warninglist %q has %d bytes packed, at most %d; add it in parts, under several names", l.Name, b.Len(), maxWarninglistParts*warninglistPart)
	}
	for chunk := range slices.Chunk(b.Bytes(), warninglistPart) {
		docs = append(docs, warninglistDoc{Name: l.Name, At: uint64(nowMillis()), Part: uint32(len(docs)), Parts: uint32(parts), Data: chunk})
	}
	return docs, nil
}

// RemoveWarninglist forgets a list; ErrNotFound if there is none of that name.
func (n *Node) RemoveWarninglist(name string) error {
	n.warnings.mu.Lock()
	defer n.warnings.mu.Unlock()
	err := n.st.Update(func(tx *store.Tx) error {
		found, err := removeWarninglist(tx, name)
		if err == nil && !found {
			err = fmt.Errorf("warninglist %q: %w; 'entente warninglist list' names those that there are, of which the built-in ones stay", name, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return n.auditAccess(tx, "remove warninglist", name)
	})
	n.warnings.set = nil
	return err
}

func removeWarninglist(tx *store.Tx, name string) (found bool, err error) {
	for part := range uint32(maxWarninglistParts) {
		key := append([]byte(kindOutput), warninglistKey(name, part)...)
		held, err := tx.Get(key)
		if err != nil || held == nil {
			return found, err
		}
		if err := tx.Delete(key); err != nil {
			return found, err
		}
		found = true
	}
	return found, nil
}

// serialDoc is what a zone held when it last changed, by a hash, and under which serial.
type serialDoc struct {
	_       struct{} `cbor:",toarray"`
	Content protocol.Hash
	Serial  uint32
	At      uint64 // Unix milliseconds
}

// maxSerials bounds the zones whose serials are kept. The one that did not change for the longest
// time goes first: its next serial is a time, and higher all the same.
const maxSerials = 1024

// OutputSerial returns the serial of a zone that has this content: that of the last call as long as
// the content is the same, and otherwise a higher one, which is the time in seconds where that is
// higher. key says which zone it is, and for whom.
func (n *Node) OutputSerial(key, content [32]byte) (serial uint32, err error) {
	err = n.st.Update(func(tx *store.Tx) error {
		var d serialDoc
		found, err := getDoc(tx, kindOutputState, key[:], &d)
		if serial = d.Serial; err != nil || found && d.Content == content {
			return err
		}
		if now := uint32(nowMillis() / 1000); !found || int32(now-d.Serial) > 0 { // as RFC 1982 compares serials
			serial = now
		} else {
			serial = d.Serial + 1
		}
		if !found {
			if err := dropSerial(tx); err != nil {
				return err
			}
		}
		return putDoc(tx, kindOutputState, key[:], &serialDoc{Content: content, Serial: serial, At: uint64(nowMillis())})
	})
	return serial, err
}

func dropSerial(tx *store.Tx) error {
	count, oldest := 0, uint64(math.MaxUint64)
	var key []byte
	err := scanDocs(tx, kindOutputState, func(id []byte, d *serialDoc) error {
		if count++; d.At < oldest {
			oldest, key = d.At, slices.Clone(id)
		}
		return nil
	})
	if err != nil || count < maxSerials {
		return err
	}
	return tx.Delete(append([]byte(kindOutputState), key...))
}

// HandOut notes, durably, that something made of all records that a reader may see is about to leave
// this node; what describes it. end says up to which cursor it went, and how many values it had.
func (n *Node) HandOut(ctx context.Context, what string) (end func(to, count uint64) error, err error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	h, err := n.handOut(ctx, handoutExport, what, 0, false)
	if err != nil {
		return nil, err
	}
	return h.end, nil
}

// Sight is what a reader's sight depends on, apart from the records: as long as it is equal, and until
// it ends, the reader sees the same of them.
type Sight struct {
	state any
	Until time.Time
	// All says that no rule narrows what the reader may read and export: everybody sees this.
	All bool
}

// Same reports whether a reader sees the same.
func (s Sight) Same(other Sight) bool { return s.state == other.state && s.All == other.All }

// Sight returns what a reader's sight depends on. It holds of what was looked at so far: it is to be
// asked after a pass, and compared with what it was before.
func (r *Reader) Sight() Sight {
	s := r.n.snap.Load()
	if !s.rules.About(rules.Read) && !s.rules.About(rules.Export) {
		return Sight{state: s.rules, Until: time.UnixMilli(math.MaxInt64 / 2), All: true}
	}
	until := uint64(math.MaxInt64 / 2)
	if r.set == s.rules && r.until > 0 {
		until = min(until, r.until)
	}
	return Sight{state: s, Until: time.UnixMilli(int64(until))}
}

// Who names whom a reader is for, with what rules see of them.
func (r *Reader) Who() string {
	b, _ := json.Marshal(r.who)
	return string(b)
}
