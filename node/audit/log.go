package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/entente-mesh/entente/protocol"
)

// KV is the ordered key space that logs live in, all of it under [Prefix]. The transactions of
// node/store are such spaces.
type KV interface {
	// Get returns nil if there is no such key. The slice is the caller's.
	Get(key []byte) ([]byte, error)
	// Set keeps neither slice.
	Set(key, value []byte) error
	Delete(key []byte) error
	// Scan calls fn with the keys that have prefix, in order or in reverse, beginning at from if it
	// is not nil. k and v are valid during the call; fn may read.
	Scan(prefix, from []byte, reverse bool, fn func(k, v []byte) (more bool, err error)) error
	// Wrap encrypts a value under a key of its own, and Unwrap decrypts it; what says which value
	// it is. Destroy makes it unreadable for ever, wherever copies of it are left.
	Wrap(what, value []byte) ([]byte, error)
	Unwrap(what, wrapped []byte) ([]byte, error)
	Destroy(wrapped []byte) error
}

// Prefix begins all keys of logs.
const Prefix = "n/audit/"

// The kinds of keys; see the package comment.
const (
	kCurrent    = 'a'
	kCheckpoint = 'c'
	kDetails    = 'd'
	kFound      = 'f'
	kHash       = 'h'
	kInfo       = 'i'
	kLeaf       = 'l'
	kForeign    = 'q'
	kSize       = 's'
)

// ErrNotFound is returned for entries and logs that there are not.
var ErrNotFound = errors.New("not in the log")

// ID names a log.
type ID [16]byte

// String returns the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != len(id) {
		return protocol.Errorf(protocol.ErrMalformed, "%q is no log: one is named by 32 hexadecimal digits", Clip(string(b), 80))
	}
	copy(id[:], raw)
	return nil
}

const originPrefix = "entente/audit/"

// Origin is the first line of the log's checkpoints, and the name of the key that signs them.
func (id ID) Origin() string { return originPrefix + id.String() }

func parseOrigin(s string) (id ID, err error) {
	text, ok := strings.CutPrefix(s, originPrefix)
	if !ok {
		return id, protocol.Errorf(protocol.ErrMalformed, "%q is not a checkpoint of an audit log: its first line begins with %q", Clip(s, 80), originPrefix)
	}
	return id, id.UnmarshalText([]byte(text))
}

// Info says whose a log is.
type Info struct {
	_       struct{} `cbor:",toarray"`
	Log     ID
	Org     protocol.OrgID
	Node    protocol.NodeID
	Signing protocol.SigningKey // signs its checkpoints
	Begun   uint64              // Unix milliseconds
	Secret  [32]byte            // keys the names of decisions; never leaves the store but in a backup
}

// Log is one log. It holds no state: all of that is in the key space.
type Log struct{ Info }

func key(kind byte, log ID, rest ...[]byte) []byte {
	k := append(append(make([]byte, 0, len(Prefix)+1+len(log)+16), Prefix...), kind)
	k = append(k, log[:]...)
	return append(k, bytes.Join(rest, nil)...)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func damaged(format string, args ...any) error {
	return protocol.Errorf(protocol.ErrMalformed, "audit log is damaged: "+format, args...)
}

// Current returns the log that is appended to; nil if there is none.
func Current(kv KV) (*Log, error) {
	b, err := kv.Get([]byte(Prefix + string(kCurrent)))
	if err != nil || b == nil {
		return nil, err
	}
	if len(b) != len(ID{}) {
		return nil, damaged("which log is current")
	}
	return Open(kv, ID(b))
}

// Open returns a log that is held.
func Open(kv KV, id ID) (*Log, error) {
	b, err := kv.Get(key(kInfo, id))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("log %s: %w", id, ErrNotFound)
	}
	l := new(Log)
	if err := protocol.Decode(b, 256, &l.Info); err != nil || l.Log != id {
		return nil, damaged("what log %s is", id)
	}
	return l, nil
}

// Logs returns all logs that are held, the oldest first.
func Logs(kv KV) (list []*Log, err error) {
	var ids []ID
	prefix := []byte(Prefix + string(kInfo))
	if err := kv.Scan(prefix, nil, false, func(k, _ []byte) (bool, error) {
		if len(k) != len(prefix)+len(ID{}) {
			return false, damaged("the list of logs")
		}
		ids = append(ids, ID(k[len(prefix):]))
		return true, nil
	}); err != nil {
		return nil, err
	}
	for _, id := range ids {
		l, err := Open(kv, id)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *Log) int {
		if a.Begun != b.Begun {
			return int(min(max(int64(a.Begun)-int64(b.Begun), -1), 1))
		}
		return bytes.Compare(a.Log[:], b.Log[:])
	})
	return list, nil
}

// Start begins a log, and makes it the one that is appended to. Its first entry names the logs that
// are held of before, and says why it begins.
func Start(kv KV, org protocol.OrgID, node protocol.NodeID, signing protocol.SigningKey, at uint64, why string) (*Log, error) {
	before, err := Logs(kv)
	if err != nil {
		return nil, err
	}
	l := &Log{Info{Org: org, Node: node, Signing: signing, Begun: at}}
	rand.Read(l.Log[:])
	rand.Read(l.Secret[:])
	d := &Details{At: at, Act: "begin", By: org, Text: why}
	for _, b := range before {
		h, err := b.Head(kv)
		if err != nil {
			return nil, err
		}
		if d.Logs = append(d.Logs, h); len(d.Logs) == MaxList {
			break
		}
	}
	if err := errors.Join(kv.Set(key(kInfo, l.Log), protocol.Encode(&l.Info)), kv.Set([]byte(Prefix+string(kCurrent)), l.Log[:]),
		kv.Set(key(kWhole, l.Log), present)); err != nil {
		return nil, err
	}
	_, err = l.Append(kv, Begin, d)
	return l, err
}

// Size returns how many entries the log has.
func (l *Log) Size(kv KV) (uint64, error) {
	b, err := kv.Get(key(kSize, l.Log))
	switch {
	case err != nil:
		return 0, err
	case b == nil:
		return 0, nil
	case len(b) != 8 || binary.BigEndian.Uint64(b) > 1<<48:
		return 0, damaged("its size")
	}
	return binary.BigEndian.Uint64(b), nil
}

// Head returns where the log stands.
func (l *Log) Head(kv KV) (h Head, err error) {
	h.Log = l.Log
	if h.Size, err = l.Size(kv); err == nil {
		h.Root, err = l.Root(kv, h.Size)
	}
	return h, err
}

// Root returns the root of the tree of the first size entries, by the hashes that are stored.
func (l *Log) Root(kv KV, size uint64) (protocol.Hash, error) {
	h, err := tlog.TreeHash(int64(size), l.reader(kv))
	return protocol.Hash(h), err
}

// reader reads stored hashes.
func (l *Log) reader(kv KV) tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, at := range indexes {
			b, err := kv.Get(key(kHash, l.Log, number(uint64(at))))
			if err != nil {
				return nil, err
			}
			if len(b) != tlog.HashSize {
				return nil, damaged("hash %d is missing", at)
			}
			copy(out[i][:], b)
		}
		return out, nil
	}
}

// Append adds an entry and returns its number, from 0. It is as durable as the transaction that it
// is made in.
func (l *Log) Append(kv KV, kind Kind, d *Details) (uint64, error) {
	n, err := l.Size(kv)
	if err != nil {
		return 0, err
	}
	if d.provided != nil {
		if err := d.provided(kv); err != nil {
			return 0, err
		}
	}
	if err := d.Validate(); err != nil {
		return 0, err
	}
	plain := &sealed{Details: protocol.Encode(d)}
	if len(plain.Details) > MaxDetails {
		return 0, protocol.Errorf(protocol.ErrOversize, "details of an audit entry have %d bytes, at most %d", len(plain.Details), MaxDetails)
	}
	rand.Read(plain.Salt[:])
	leaf := protocol.Encode(&Leaf{Version: 1, Kind: kind, Day: uint32(d.At / dayMillis), Commitment: commit(plain.Salt, plain.Details)})
	at := key(kDetails, l.Log, number(n))
	wrapped, err := kv.Wrap(at, protocol.Encode(plain))
	if err != nil {
		return 0, err
	}
	if err := kv.Set(at, wrapped); err != nil {
		return 0, err
	}
	if _, err := l.indexEntry(kv, n, &Leaf{Kind: kind, Day: uint32(d.At / dayMillis)}, d); err != nil {
		return 0, err
	}
	return n, l.add(kv, n, leaf)
}

// sealed is what is wrapped of an entry.
type sealed struct {
	_       struct{} `cbor:",toarray"`
	Salt    [32]byte
	Details []byte
}

func (l *Log) add(kv KV, n uint64, leaf []byte) error {
	hashes, err := tlog.StoredHashes(int64(n), leaf, l.reader(kv))
	if err != nil {
		return err
	}
	first := tlog.StoredHashIndex(0, int64(n))
	for i, h := range hashes {
		if err := kv.Set(key(kHash, l.Log, number(uint64(first)+uint64(i))), h[:]); err != nil {
			return err
		}
	}
	return errors.Join(kv.Set(key(kLeaf, l.Log, number(n)), leaf), kv.Set(key(kSize, l.Log), number(n+1)))
}

// AppendOnce is Append of what need not be said twice: it returns the number of the entry that says
// the same, its time and persons apart, if there is one whose details were not erased.
func (l *Log) AppendOnce(kv KV, kind Kind, d *Details) (uint64, error) {
	at := l.foundKey(kind, d)
	b, err := kv.Get(at)
	if err != nil {
		return 0, err
	}
	if len(b) == 8 {
		return binary.BigEndian.Uint64(b), nil
	}
	n, err := l.Append(kv, kind, d)
	if err != nil {
		return 0, err
	}
	return n, kv.Set(at, number(n))
}

// Find returns the number of the entry that AppendOnce would; ok is false if it would make one.
func (l *Log) Find(kv KV, kind Kind, d *Details) (n uint64, ok bool, err error) {
	b, err := kv.Get(l.foundKey(kind, d))
	if err != nil || len(b) != 8 {
		return 0, false, err
	}
	return binary.BigEndian.Uint64(b), true, nil
}

func (l *Log) foundKey(kind Kind, d *Details) []byte {
	same := *d
	same.At, same.Person, same.Purpose = 0, "", ""
	m := hmac.New(sha256.New, l.Secret[:])
	m.Write([]byte{byte(kind)})
	m.Write(protocol.Encode(&same))
	return key(kFound, l.Log, m.Sum(nil)[:16])
}

// AppendForeign is Append of what another organisation, d.By, caused, which it could do any number
// of times: of more than MaxForeign a day it appends only every power of two, and says how many
// there were.
func (l *Log) AppendForeign(kv KV, kind Kind, d *Details) error {
	return l.appendCounted(kv, kind, d, "organisation", d.By[:])
}

// AppendRefused is AppendForeign of what somebody of this organisation was refused, by the person
// that d names.
func (l *Log) AppendRefused(kv KV, kind Kind, d *Details) error {
	return l.appendCounted(kv, kind, d, "person", []byte(d.Person))
}

// appendCounted is Append of what who, an organisation or a person, could cause any number of times.
func (l *Log) appendCounted(kv KV, kind Kind, d *Details, of string, who []byte) error {
	d.provided = nil // that something was refused is noted of everybody
	day := binary.BigEndian.AppendUint32(nil, uint32(d.At/dayMillis))
	m := hmac.New(sha256.New, l.Secret[:])
	m.Write([]byte(of))
	m.Write(who)
	at := key(kForeign, l.Log, day, m.Sum(nil))
	b, err := kv.Get(at)
	if err != nil {
		return err
	}
	count := uint64(1)
	if len(b) == 8 {
		count += binary.BigEndian.Uint64(b)
	}
	if b == nil {
		if err := l.dropForeign(kv, day); err != nil {
			return err
		}
	}
	if err := kv.Set(at, number(count)); err != nil {
		return err
	}
	if count > MaxForeign {
		if bits.OnesCount64(count) != 1 {
			return nil
		}
		d.Text = Clip(fmt.Sprintf("entry %d of that %s today, of which only some are kept; %s", count, of, d.Text), MaxText)
	}
	_, err = l.Append(kv, kind, d)
	return err
}

// dropForeign forgets the counts of days before.
func (l *Log) dropForeign(kv KV, day []byte) error {
	var old [][]byte
	prefix := key(kForeign, l.Log)
	err := kv.Scan(prefix, nil, false, func(k, _ []byte) (bool, error) {
		if bytes.Compare(k[len(prefix):], day) >= 0 {
			return false, nil
		}
		old = append(old, bytes.Clone(k))
		return len(old) < 1000, nil
	})
	for _, k := range old {
		err = errors.Join(err, kv.Delete(k))
	}
	return err
}

// Entry is an entry as it is held.
type Entry struct {
	Number  uint64
	Leaf    Leaf
	Raw     []byte // the leaf as it stands in the tree
	Salt    [32]byte
	Encoded []byte   // of Details
	Details *Details // nil if they were erased
	Erased  uint64   // the entry that says so; 0: they were not
}

// Entry returns an entry. Its details were held against its leaf.
func (l *Log) Entry(kv KV, n uint64) (*Entry, error) {
	raw, err := kv.Get(key(kLeaf, l.Log, number(n)))
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, fmt.Errorf("entry %d: %w", n, ErrNotFound)
	}
	e := &Entry{Number: n, Raw: raw}
	if err := protocol.Decode(raw, MaxLeaf, &e.Leaf); err != nil {
		return nil, damaged("entry %d: %v", n, err)
	}
	at := key(kDetails, l.Log, number(n))
	b, err := kv.Get(at)
	switch {
	case err != nil:
		return nil, err
	case b == nil:
		return nil, damaged("the details of entry %d are missing, and nothing says that they were erased", n)
	case len(b) == 8:
		e.Erased = binary.BigEndian.Uint64(b)
		return e, nil
	}
	plain, err := kv.Unwrap(at, b)
	if err != nil {
		return nil, fmt.Errorf("details of entry %d: %w", n, err)
	}
	var s sealed
	if err := protocol.Decode(plain, MaxDetails+64, &s); err != nil {
		return nil, damaged("the details of entry %d: %v", n, err)
	}
	e.Salt, e.Encoded = s.Salt, s.Details
	e.Details, err = open(&e.Leaf, s.Salt, s.Details)
	if err != nil {
		return nil, damaged("the details of entry %d: %v", n, err)
	}
	return e, nil
}

// open holds details against their leaf, and reads them.
func open(leaf *Leaf, salt [32]byte, encoded []byte) (*Details, error) {
	if commit(salt, encoded) != leaf.Commitment {
		return nil, protocol.Errorf(protocol.ErrMalformed, "they are not those that the leaf commits to")
	}
	d := new(Details)
	if err := protocol.Decode(encoded, MaxDetails, d); err != nil {
		return nil, err
	}
	if uint32(d.At/dayMillis) != leaf.Day {
		return nil, protocol.Errorf(protocol.ErrMalformed, "they are of another day than the leaf")
	}
	return d, nil
}

// Each calls fn with the entries from a number on, in order, until fn returns false.
func (l *Log) Each(kv KV, from uint64, fn func(*Entry) (bool, error)) error {
	size, err := l.Size(kv)
	for n := from; n < size && err == nil; n++ {
		var e *Entry
		more := false
		if e, err = l.Entry(kv, n); err == nil {
			more, err = fn(e)
		}
		if !more {
			return err
		}
	}
	return err
}

// EraseDetails destroys the details of entries for ever, and appends an entry that says so: why
// holds who asked for it, on whose authority, and the reason. Those of entries that were erased
// before are left as they are. It returns the number of the new entry and how many were erased; if
// none were, nothing is appended.
func (l *Log) EraseDetails(kv KV, numbers []uint64, why *Details) (at uint64, count int, err error) {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	if len(numbers) > MaxList {
		return 0, 0, protocol.Errorf(protocol.ErrOversize, "the details of at most %d entries are erased at once", MaxList)
	}
	said, err := l.Size(kv)
	if err != nil {
		return 0, 0, err
	}
	why.Entries = nil
	for _, n := range numbers {
		e, err := l.Entry(kv, n)
		if err != nil {
			return 0, 0, err
		}
		if e.Leaf.Kind == Forget || e.Leaf.Kind == Begin {
			return 0, 0, protocol.Errorf(protocol.ErrMalformed, "entry %d says %s, and names nobody outside; its details stay", n, map[Kind]string{Forget: "whose details were erased", Begin: "where the log begins"}[e.Leaf.Kind])
		}
		if e.Details == nil {
			continue
		}
		place := key(kDetails, l.Log, number(n))
		wrapped, err := kv.Get(place)
		if err != nil {
			return 0, 0, err
		}
		if err := errors.Join(kv.Destroy(wrapped), kv.Set(place, number(said)), kv.Delete(l.foundKey(e.Leaf.Kind, e.Details)),
			l.unindexEntry(kv, n, e.Details)); err != nil {
			return 0, 0, err
		}
		why.Entries = append(why.Entries, n)
	}
	if len(why.Entries) == 0 {
		return 0, 0, nil
	}
	_, err = l.Append(kv, Forget, why)
	return said, len(why.Entries), err
}

// memory is a tree whose hashes are in memory.
type memory struct {
	hashes []tlog.Hash
	size   int64
}

// ReadHashes implements tlog.HashReader.
func (m *memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at < 0 || at >= int64(len(m.hashes)) {
			return nil, fmt.Errorf("hash %d is not known", at)
		}
		out[i] = m.hashes[at]
	}
	return out, nil
}

// append adds the next leaf by its hash.
func (m *memory) append(h tlog.Hash) {
	hashes, err := tlog.StoredHashesForRecordHash(m.size, h, m)
	if err != nil {
		panic(err) // it asks only for hashes before its own
	}
	m.hashes = append(m.hashes, hashes...)
	m.size++
}

// root returns the root of the tree of the first size leaves, which must be there.
func (m *memory) root(size int64) protocol.Hash {
	h, err := tlog.TreeHash(size, m)
	if err != nil {
		panic(err) // it asks only for hashes of leaves that are there
	}
	return protocol.Hash(h)
}
