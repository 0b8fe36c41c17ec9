package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// A dead letter is what a source gave and what did not become a record: it could not be read, was refused, or
// was held back by a guard. It keeps the bytes, so that it can be tried again, under a block key of its own, so
// that it can be erased: what people wrote for others is in them.

// Bounds on dead letters.
const (
	MaxDeadLetter  = 512 << 10 // bytes that one keeps
	MaxDeadLetters = 500       // that wait of one source; the oldest go, and are counted
	maxDeadBytes   = 32 << 20  // that they keep together
	maxDeadWhere   = 1 << 10
)

// DeadID names a dead letter. It follows from what the letter is about, so that the same thing said again
// is the same letter.
type DeadID [16]byte

// String returns the text form of the name.
func (id DeadID) String() string { return "dead:" + hex.EncodeToString(id[:8]) }

// Letter is a dead letter as it is made.
type Letter struct {
	ID     DeadID
	Where  string // file, URL or id of what was read
	Line   int    // where in it, counted from one; 0: all of it
	Count  int    // objects or entries
	Reason string
	Do     string        // what somebody can do
	Format intake.Format // of Bytes
	Bytes  []byte        // what is tried again; nil: not kept
	// Handling, if not nil, is what was stated of each of the STIX objects of which Bytes is a JSON array;
	// else Bytes are read like a document of the source.
	Handling *protocol.Handling
}

// deadDoc is a dead letter as it is kept, under the source's name, '/', and its own.
type deadDoc struct {
	_       struct{} `cbor:",toarray"`
	First   uint64   // Unix milliseconds
	At      uint64   // when it was made last
	Times   uint32
	Size    uint64 // of what is wrapped
	Gone    uint64 // dropped, erased or tried again with success, and kept under a legal hold only; 0: it waits
	Wrapped []byte // encoded deadBody, as Tx.Wrap makes it; in a backup not wrapped
}

// deadBody is what it holds.
type deadBody struct {
	_        struct{} `cbor:",toarray"`
	Topic    string   // of the source
	Flags    protocol.Handling
	Where    string
	Line     uint32
	Count    uint32
	Reason   string
	Do       string
	Format   string
	Kept     bool // Bytes are there
	Bytes    []byte
	Objects  bool // Handling counts
	Handling protocol.Handling
}

// DeadLetter is a dead letter as it is shown.
type DeadLetter struct {
	ID     string     `json:"id"`
	Source string     `json:"source"`
	First  time.Time  `json:"first"`
	At     time.Time  `json:"at"`
	Times  uint32     `json:"times"`
	Where  string     `json:"where"`
	Line   int        `json:"line,omitempty"`
	Count  int        `json:"count"` // objects or entries that it is about
	Reason string     `json:"reason"`
	Do     string     `json:"do"`
	Size   int        `json:"size"` // bytes that are kept; 0: none, it cannot be tried again from here
	Gone   *time.Time `json:"gone,omitempty"`
	Held   []string   `json:"held_by,omitempty"` // legal holds
	Text   string     `json:"text,omitempty"`    // what is kept, of one that is asked for by name
	Letter *Letter    `json:"-"`
	Key    DeadID     `json:"-"`
	Match  string     `json:"match,omitempty"` // of what was looked for
}

func deadKey(name string, id DeadID) []byte {
	return slices.Concat([]byte(kindDeadLetter), []byte(name), []byte("/"), id[:])
}

// eachDeadDoc calls fn with the dead letters of a source, those that are kept under a hold only among them.
func eachDeadDoc(tx *store.Tx, name string, fn func(key []byte, d *deadDoc) error) error {
	prefix := slices.Concat([]byte(kindDeadLetter), []byte(name), []byte("/"))
	return tx.Scan(prefix, nil, false, func(k, v []byte) (bool, error) {
		d := new(deadDoc)
		if err := protocol.Decode(v, maxDocument, d); err != nil {
			return false, fmt.Errorf("reading dead letter: %w", err)
		}
		return true, fn(bytes.Clone(k), d)
	})
}

// countDead returns how many dead letters of a source wait. They are read once after something changed:
// they may have many bytes, and monitoring asks often.
func (n *Node) countDead(tx *store.Tx, name string) (int, error) {
	t := &n.sources
	t.mu.Lock()
	count, ok := t.dead[name]
	before := t.writes
	t.mu.Unlock()
	if ok {
		return count, nil
	}
	count = 0
	if err := eachDeadDoc(tx, name, func(_ []byte, d *deadDoc) error {
		if d.Gone == 0 {
			count++
		}
		return nil
	}); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writes == before {
		if t.dead == nil {
			t.dead = map[string]int{}
		}
		t.dead[name] = count
	}
	return count, nil
}

// updateDead is Update for what changes dead letters.
func (n *Node) updateDead(fn func(tx *store.Tx) error) error {
	forget := func() {
		n.sources.mu.Lock()
		defer n.sources.mu.Unlock()
		n.sources.dead, n.sources.heldDead = nil, nil
		n.sources.writes++
	}
	forget()
	defer forget() // a state from before may have been counted meanwhile
	return n.st.Update(fn)
}

// eachDead calls fn with the dead letters of a source, "": of all, and what they hold. One that was
// destroyed since the state of the store is left out.
func (n *Node) eachDead(tx *store.Tx, name string, fn func(key []byte, d *deadDoc, b *deadBody) error) error {
	each := func(k []byte, d *deadDoc) error {
		b, err := d.open(tx, k)
		if errors.Is(err, store.ErrDestroyed) {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(k, d, b)
	}
	if name != "" {
		return eachDeadDoc(tx, name, each)
	}
	return scanDocs(tx, kindDeadLetter, func(id []byte, d *deadDoc) error {
		return each(slices.Concat([]byte(kindDeadLetter), id), d)
	})
}

func (d *deadDoc) open(tx *store.Tx, key []byte) (*deadBody, error) {
	plain, err := tx.Unwrap(key, d.Wrapped)
	if err != nil {
		return nil, err
	}
	b := new(deadBody)
	return b, protocol.Decode(plain, maxDocument, b)
}

// putDead keeps a dead letter; one of its name is replaced, and counted; under a legal hold it is kept aside.
func (n *Node) putDead(tx *store.Tx, name string, l *Letter, now uint64) error {
	src, err := getSource(tx, name)
	if err != nil {
		return err
	}
	b := &deadBody{Topic: src.Topic, Flags: src.Flags, Where: audit.Clip(l.Where, maxDeadWhere), Line: uint32(max(l.Line, 0)), Count: uint32(max(l.Count, 0)),
		Reason: audit.Clip(l.Reason, protocol.MaxTextSize), Do: audit.Clip(l.Do, protocol.MaxTextSize), Format: string(l.Format), Kept: l.Bytes != nil, Bytes: l.Bytes,
		Handling: protocol.Handling{Version: 1}}
	if len(b.Bytes) > MaxDeadLetter {
		b.Bytes, b.Kept = nil, false
	}
	if l.Handling != nil {
		b.Objects, b.Handling = true, *l.Handling
	}
	key := deadKey(name, l.ID)
	d := deadDoc{First: now, At: now, Times: 1}
	plain := protocol.Encode(b)
	d.Size = uint64(len(plain))
	var old deadDoc
	if found, err := getDoc(tx, kindDeadLetter, key[len(kindDeadLetter):], &old); err != nil {
		return err
	} else if found {
		d.First, d.Times = old.First, old.Times+1
		same, err := n.replaceDead(tx, name, key, &old, plain)
		if err != nil {
			return err
		}
		if same {
			d.Wrapped = old.Wrapped
			return putDoc(tx, kindDeadLetter, key[len(kindDeadLetter):], &d)
		}
	}
	if d.Wrapped, err = tx.Wrap(key, plain); err != nil {
		return err
	}
	return putDoc(tx, kindDeadLetter, key[len(kindDeadLetter):], &d)
}

// replaceDead makes way for a later letter of the same name. One that a legal hold keeps goes aside under a
// name of its own. same: the later one says nothing else, and what is there can stay.
func (n *Node) replaceDead(tx *store.Tx, name string, key []byte, old *deadDoc, plain []byte) (same bool, err error) {
	was, err := tx.Unwrap(key, old.Wrapped)
	if errors.Is(err, store.ErrDestroyed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if bytes.Equal(was, plain) {
		return true, nil
	}
	b := new(deadBody)
	if err := protocol.Decode(was, maxDocument, b); err != nil {
		return false, err
	}
	h, err := readHolds(tx, uint64(nowMillis()))
	if err != nil {
		return false, err
	}
	by, err := n.deadHeld(h, b)
	if err != nil {
		return false, err
	}
	if len(by) > 0 {
		aside := *old
		if aside.Gone == 0 {
			aside.Gone = uint64(nowMillis())
		}
		var id DeadID
		_, _ = rand.Read(id[:])
		to := deadKey(name, id)
		if aside.Wrapped, err = tx.Wrap(to, was); err != nil {
			return false, err
		}
		if err := putDoc(tx, kindDeadLetter, to[len(kindDeadLetter):], &aside); err != nil {
			return false, err
		}
	}
	return false, tx.Destroy(old.Wrapped)
}

// takeDead removes a dead letter; one that a legal hold keeps is kept aside: it does not wait any more, and
// goes when the hold does.
func (n *Node) takeDead(tx *store.Tx, h *holds, key []byte, d *deadDoc, b *deadBody) error {
	by, err := n.deadHeld(h, b)
	if err != nil {
		return err
	}
	if len(by) > 0 {
		if d.Gone != 0 {
			return nil
		}
		d.Gone = uint64(nowMillis())
		return putDoc(tx, kindDeadLetter, key[len(kindDeadLetter):], d)
	}
	return errors.Join(tx.Destroy(d.Wrapped), tx.Delete(key))
}

// deadHeld lists the holds that keep a dead letter.
func (n *Node) deadHeld(h *holds, b *deadBody) (out []*protocol.SiblingHold, err error) {
	for i := range h.list {
		switch m := h.matchers[i]; {
		case m != nil:
			how, err := b.mentions(m)
			if err != nil {
				return nil, err
			}
			if how != corpus.NotMentioned {
				out = append(out, &h.list[i])
			}
		case h.list[i].From == n.org:
			out = append(out, &h.list[i])
		}
	}
	return out, nil
}

// resolveDead removes a dead letter that was tried again.
func (n *Node) resolveDead(tx *store.Tx, name string, id DeadID) error {
	key := deadKey(name, id)
	var d deadDoc
	found, err := getDoc(tx, kindDeadLetter, key[len(kindDeadLetter):], &d)
	if err != nil || !found || d.Gone != 0 {
		return err
	}
	b, err := d.open(tx, key)
	if errors.Is(err, store.ErrDestroyed) {
		return tx.Delete(key)
	}
	if err != nil {
		return err
	}
	h, err := readHolds(tx, uint64(nowMillis()))
	if err != nil {
		return err
	}
	return n.takeDead(tx, h, key, &d, b)
}

// evictDead lets the oldest dead letters of a source go where there are more than may be.
func (n *Node) evictDead(tx *store.Tx, name string) (count int, err error) {
	type letter struct {
		key []byte
		doc *deadDoc
	}
	var list []letter
	size := uint64(0)
	if err := eachDeadDoc(tx, name, func(k []byte, d *deadDoc) error {
		if d.Gone == 0 {
			list = append(list, letter{k, d})
			size += d.Size
		}
		return nil
	}); err != nil {
		return 0, err
	}
	slices.SortFunc(list, func(a, b letter) int {
		if a.doc.At != b.doc.At {
			if a.doc.At < b.doc.At {
				return -1
			}
			return 1
		}
		return bytes.Compare(a.key, b.key)
	})
	for ; len(list) > MaxDeadLetters || size > maxDeadBytes; list = list[1:] {
		id := DeadID(list[0].key[len(list[0].key)-len(DeadID{}):])
		if err := n.resolveDead(tx, name, id); err != nil {
			return count, err
		}
		size -= list[0].doc.Size
		count++
	}
	return count, nil
}

// maxDeadPart bounds the bytes of dead letters that one transaction changes: those under a hold are written
// anew, and a transaction takes about 9 MiB.
const maxDeadPart = 4 << 20

// dropDead removes dead letters of a source that wait, as many as one transaction takes.
func (n *Node) dropDead(tx *store.Tx, c Caller, name string) error {
	h, err := readHolds(tx, uint64(nowMillis()))
	if err != nil {
		return err
	}
	count, size := 0, uint64(0)
	if err := n.eachDead(tx, name, func(k []byte, d *deadDoc, b *deadBody) error {
		if d.Gone != 0 || count > 0 && size+d.Size > maxDeadPart {
			return nil
		}
		count, size = count+1, size+d.Size
		return n.takeDead(tx, h, k, d, b)
	}); err != nil {
		return err
	}
	e := n.details("drop dead letters", c)
	e.Text = audit.Clip(fmt.Sprintf("%s: %d", name, count), audit.MaxText)
	_, err = n.account.Append(tx, audit.Erase, e)
	return err
}

// takeDeadParts removes dead letters, in parts that a transaction takes each; note notes each part in the audit log.
func (n *Node) takeDeadParts(list []DeadLetter, note func(tx *store.Tx, gone map[string]int) error) error {
	for len(list) > 0 {
		count, size := 0, 0
		for count < len(list) && count < MaxDeadLetters && (count == 0 || size+list[count].Size <= maxDeadPart) {
			size += list[count].Size
			count++
		}
		part := list[:count]
		list = list[count:]
		if err := n.updateDead(func(tx *store.Tx) error {
			h, err := readHolds(tx, uint64(nowMillis()))
			if err != nil {
				return err
			}
			gone := map[string]int{}
			for i := range part {
				key := deadKey(part[i].Source, part[i].Key)
				var d deadDoc
				found, err := getDoc(tx, kindDeadLetter, key[len(kindDeadLetter):], &d)
				if err != nil {
					return err
				}
				if !found || d.Gone != 0 && part[i].Gone == nil {
					continue
				}
				b, err := d.open(tx, key)
				if errors.Is(err, store.ErrDestroyed) {
					continue
				}
				if err != nil {
					return err
				}
				gone[part[i].Source]++
				if err := n.takeDead(tx, h, key, &d, b); err != nil {
					return err
				}
			}
			return note(tx, gone)
		}); err != nil {
			return err
		}
	}
	return nil
}

// heldDead returns how many dead letters are kept under legal holds only, and their bytes.
func (n *Node) heldDead() (held heldLetters, err error) {
	t := &n.sources
	t.mu.Lock()
	known, before := t.heldDead, t.writes
	t.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	if err := n.st.View(func(tx *store.Tx) error {
		held = heldLetters{}
		return scanDocs(tx, kindDeadLetter, func(_ []byte, d *deadDoc) error {
			if d.Gone != 0 {
				held.count, held.bytes = held.count+1, held.bytes+d.Size
			}
			return nil
		})
	}); err != nil {
		return held, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writes == before {
		t.heldDead = &held
	}
	return held, nil
}

type heldLetters struct {
	count int
	bytes uint64
}

// dropUnheldDead destroys the dead letters that were kept under holds which stand no more.
func (n *Node) dropUnheldDead() error {
	any := false
	if err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindDeadLetter, func(_ []byte, d *deadDoc) error { any = any || d.Gone != 0; return nil })
	}); err != nil || !any {
		return err
	}
	return n.updateDead(func(tx *store.Tx) error {
		h, err := readHolds(tx, uint64(nowMillis()))
		if err != nil {
			return err
		}
		count := 0
		if err := n.eachDead(tx, "", func(k []byte, d *deadDoc, b *deadBody) error {
			if d.Gone == 0 || count >= 256 {
				return nil
			}
			by, err := n.deadHeld(h, b)
			if err != nil || len(by) > 0 {
				return err
			}
			count++
			return errors.Join(tx.Destroy(d.Wrapped), tx.Delete(k))
		}); err != nil || count == 0 {
			return err
		}
		e := n.details("erase dead letters that were held", Caller{})
		e.Text = fmt.Sprintf("%d", count)
		_, err = n.account.Append(tx, audit.Erase, e)
		return err
	})
}

// mentions tells how a dead letter mentions a value: as an observable of what it keeps, or in its texts.
func (b *deadBody) mentions(m *corpus.Matcher) (corpus.Mention, error) {
	best := corpus.NotMentioned
	if m.Says(b.Reason) || m.Says(b.Where) || m.Says(string(b.Bytes)) {
		best = corpus.InText
	}
	if objects, ok := b.objects(); ok {
		for _, raw := range objects {
			how, err := m.Match(raw)
			if err != nil { // it may have been set aside because it does not parse
				how, err = m.MatchText(raw)
			}
			if err != nil {
				continue
			}
			if how == corpus.Exactly {
				return how, nil
			}
			best = max(best, how)
		}
		return best, nil
	}
	for line := range strings.Lines(string(b.Bytes)) {
		o, _, ok := stix.Detect(strings.TrimRight(line, "\r\n"))
		if !ok {
			continue
		}
		how, err := m.Match(stix.NewIndicator(o, intake.Epoch()).Raw)
		if err != nil {
			return best, err
		}
		if how == corpus.Exactly {
			return how, nil
		}
		best = max(best, how)
	}
	return best, nil
}

// objects returns the JSON values of what it keeps: those of an array or a bundle, or all of it; false: it
// is no JSON.
func (b *deadBody) objects() (list []json.RawMessage, ok bool) {
	if json.Unmarshal(b.Bytes, &list) == nil {
		return list, true
	}
	var bundle struct {
		Objects []json.RawMessage `json:"objects"`
	}
	if json.Unmarshal(b.Bytes, &bundle) == nil {
		return append(bundle.Objects, b.Bytes), true
	}
	return nil, false
}

func (s *snapshot) deadLetter(key []byte, d *deadDoc, b *deadBody) DeadLetter {
	name, id, _ := bytes.Cut(key[len(kindDeadLetter):], []byte("/"))
	out := DeadLetter{Key: DeadID(id), Source: string(name), First: millis(d.First), At: millis(d.At), Times: d.Times, Where: b.Where, Line: int(b.Line), Count: int(b.Count),
		Reason: b.Reason, Do: b.Do, Size: len(b.Bytes)}
	out.ID = out.Key.String()
	if d.Gone != 0 {
		gone := millis(d.Gone)
		out.Gone = &gone
	}
	out.Letter = &Letter{ID: out.Key, Where: b.Where, Line: int(b.Line), Count: int(b.Count), Reason: b.Reason, Do: b.Do, Format: intake.Format(b.Format)}
	if b.Kept {
		out.Letter.Bytes = b.Bytes
		if out.Letter.Bytes == nil {
			out.Letter.Bytes = []byte{}
		}
	}
	if b.Objects {
		out.Letter.Handling = &b.Handling
	}
	return out
}

// asRecord is what somebody would have to be allowed to read to see a dead letter. What states no TLP may
// be anything.
func (n *Node) asRecord(s *snapshot, b *deadBody) *Record {
	h := b.Flags
	if b.Objects {
		if narrow, err := policy.Narrow(b.Handling, flagsOf(&b.Flags)); err == nil {
			h = narrow
		} else {
			h = b.Handling
		}
	} else {
		h.TLP = protocol.TLPRed // nothing is known of what it states
	}
	if h.TLP == protocol.TLPUnset {
		h.TLP = protocol.TLPRed
	}
	return &Record{Originator: s.ref(n.org), Publisher: s.ref(n.org), Topic: b.Topic, Type: "indicator", handling: &h}
}

// DeadLetters lists those of a source, "": of all, that wait and that the reader may read, the oldest
// first; with held those that are kept under legal holds only.
func (r *Reader) DeadLetters(name string, held bool) ([]DeadLetter, error) {
	n := r.n
	if err := n.usable(); err != nil {
		return nil, err
	}
	s, see := n.snap.Load(), r.sees(rules.Read)
	var list []DeadLetter
	err := n.st.View(func(tx *store.Tx) error {
		list = []DeadLetter{}
		if name != "" && !held {
			if _, err := getSource(tx, name); err != nil {
				return err
			}
		}
		h, err := readHolds(tx, uint64(nowMillis()))
		if err != nil {
			return err
		}
		return n.eachDead(tx, name, func(k []byte, d *deadDoc, b *deadBody) error {
			if (d.Gone != 0) != held || !see(n.asRecord(s, b)) {
				return nil
			}
			l := s.deadLetter(k, d, b)
			by, err := n.deadHeld(h, b)
			for _, x := range by {
				l.Held = append(l.Held, holdID(x.ID))
			}
			list = append(list, l)
			return err
		})
	})
	slices.SortStableFunc(list, func(a, b DeadLetter) int { return a.At.Compare(b.At) })
	return list, err
}

// DeadLetter returns one that the reader may read, by its name or the beginning of that, with its text.
func (r *Reader) DeadLetter(text string) (*DeadLetter, error) {
	var found *DeadLetter
	for _, held := range []bool{false, true} {
		list, err := r.DeadLetters("", held)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if text != list[i].ID && !(len(text) >= 4 && strings.HasPrefix(hex.EncodeToString(list[i].Key[:]), strings.TrimPrefix(text, "dead:"))) {
				continue
			}
			if found != nil {
				return nil, protocol.Errorf(protocol.ErrMalformed, "several dead letters begin with %q; give more of the name", text)
			}
			found = &list[i]
		}
	}
	if found == nil {
		return nil, fmt.Errorf("dead letter %q: %w; 'entente source dead' shows them", text, ErrNotFound)
	}
	found.Text = strings.ToValidUTF8(string(found.Letter.Bytes), "\uFFFD")
	return found, nil
}

// DropDead drops dead letters for good. Those under a legal hold do not wait any more, and are kept aside.
func (n *Node) DropDead(ctx context.Context, list []DeadLetter) error {
	return n.takeDeadParts(slices.DeleteFunc(slices.Clone(list), func(l DeadLetter) bool { return l.Gone != nil }), func(tx *store.Tx, gone map[string]int) error {
		for name, count := range gone {
			if err := n.auditSource(tx, CallerOf(ctx), "drop dead letters", name, fmt.Sprintf("%d", count)); err != nil {
				return err
			}
		}
		return nil
	})
}

// dead finds the dead letters that mention the value.
func (a *aboutFinder) dead(context.Context) error {
	return a.n.st.View(func(tx *store.Tx) error {
		a.out.Dead = []DeadLetter{}
		return a.n.eachDead(tx, "", func(k []byte, d *deadDoc, b *deadBody) error {
			how, err := b.mentions(a.m)
			if err != nil || how == corpus.NotMentioned || !a.see(a.n.asRecord(a.s, b)) {
				return err
			}
			l := a.s.deadLetter(k, d, b)
			if l.Match = "text"; how == corpus.Exactly {
				l.Match = "exact"
			}
			a.out.Dead = append(a.out.Dead, l)
			return nil
		})
	})
}

// eraseDead destroys the dead letters that an erasure by value found, those under a legal hold excepted,
// which are kept aside.
func (n *Node) eraseDead(ctx context.Context, list []DeadLetter) error {
	return n.takeDeadParts(list, func(tx *store.Tx, gone map[string]int) error {
		count := 0
		for _, c := range gone {
			count += c
		}
		e := n.details("erase dead letters", CallerOf(ctx))
		e.Text = fmt.Sprintf("%d", count)
		_, err := n.account.Append(tx, audit.Erase, e)
		return err
	})
}

// dumpDead returns a dead letter as it stands in a backup, which is sealed itself: not wrapped. One that was
// destroyed since the state that the backup is of is empty.
func dumpDead(tx *store.Tx, id, value []byte) ([]byte, error) {
	var d deadDoc
	err := protocol.Decode(value, maxDocument, &d)
	if err == nil {
		d.Wrapped, err = tx.Unwrap(slices.Concat([]byte(kindDeadLetter), id), d.Wrapped)
	}
	if errors.Is(err, store.ErrDestroyed) {
		d.Wrapped, err = nil, nil
	}
	return protocol.Encode(&d), err
}

// checkDead checks what dumpDead made.
func checkDead(id, value []byte) error {
	name, key, ok := bytes.Cut(id, []byte("/"))
	if !ok || !sourceName.Match(name) || len(key) != len(DeadID{}) {
		return protocol.Errorf(protocol.ErrMalformed, "%q is not the name of a dead letter", id)
	}
	var d deadDoc
	if err := protocol.Decode(value, maxDocument, &d); err != nil || len(d.Wrapped) == 0 {
		return err
	}
	var b deadBody
	return protocol.Decode(d.Wrapped, maxDocument, &b)
}

// loadDead puts back what dumpDead made.
func loadDead(tx *store.Tx, id, value []byte) error {
	var d deadDoc
	err := protocol.Decode(value, maxDocument, &d)
	if err != nil || len(d.Wrapped) == 0 {
		return err
	}
	if d.Wrapped, err = tx.Wrap(slices.Concat([]byte(kindDeadLetter), id), d.Wrapped); err != nil {
		return err
	}
	return putDoc(tx, kindDeadLetter, id, &d)
}
