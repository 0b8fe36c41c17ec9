package corpus

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

const (
	// blockTarget is how many bytes of objects share a block: enough for compression, and
	// little enough to be unpacked for one record.
	blockTarget = 16 << 10
	// maxBlockRecords bounds the records of a block; a reader that looks for the block of a
	// cursor goes back by no more.
	maxBlockRecords = 256
	// maxBlockSize bounds what a block unpacks to: a block of one large object.
	maxBlockSize = 1 << 20
	blockVersion = 4
	// blockHead is the version and the stamp of the first record, ahead of what is compressed: a block
	// is packed before it is known when it is added.
	blockHead = 1 + 8
)

// storedBlock is a block as stored, before compression.
type storedBlock struct {
	_         struct{} `cbor:",toarray"`
	Feed      protocol.FeedID
	Seq       uint64
	Topic     string
	Publisher protocol.OrgID
	Received  uint64
	SealedAt  uint64
	Classes   []class // what many records have in common
	Records   []storedRecord

	stamp uint64 // of the first record, Unix microseconds; each next one has the next
}

type class struct {
	_          struct{} `cbor:",toarray"`
	Originator protocol.OrgID
	Handling   protocol.Handling
	Agreement  protocol.AgreementID
	Term       uint32
	Text       string
	Form       Form
}

type storedRecord struct {
	_        struct{} `cbor:",toarray"`
	Record   protocol.RecordID
	Index    uint32
	Class    uint16
	StixID   string
	Type     string
	Modified uint64 // nanoseconds
	Revoked  bool
	Object   []byte
	Gone     bool // erased or taken out: only its place is left
}

// packBlock compresses with S2, which takes a third of the time of zstd at its fastest, for
// blocks a third larger: every record is packed at every node that may read it.
func packBlock(b *storedBlock) []byte {
	plain := protocol.Encode(b)
	out := make([]byte, blockHead+s2.MaxEncodedLen(len(plain)))
	out[0] = blockVersion
	binary.BigEndian.PutUint64(out[1:], b.stamp)
	return out[:blockHead+len(s2.Encode(out[blockHead:], plain))]
}

// plainBuffers hold blocks between unpacking and decoding: most of what a lookup would leave to
// the collector of garbage, whose runs are the slowest lookups.
var plainBuffers = sync.Pool{New: func() any { return new([]byte) }}

func unpackBlock(v []byte) (*storedBlock, error) {
	if len(v) < blockHead || v[0] != blockVersion {
		return nil, damaged("a block has an unknown version")
	}
	size, err := s2.DecodedLen(v[blockHead:])
	if err != nil || size > maxBlockSize {
		return nil, damaged("a block does not unpack, or to more than %d bytes", maxBlockSize)
	}
	buf := plainBuffers.Get().(*[]byte)
	defer plainBuffers.Put(buf)
	*buf = slices.Grow((*buf)[:0], size)
	plain, err := s2.Decode((*buf)[:size], v[blockHead:]) // of which what is decoded below are copies
	if err != nil {
		return nil, damaged("a block does not unpack: %v", err)
	}
	b := &storedBlock{stamp: binary.BigEndian.Uint64(v[1:])}
	if b.stamp > maxStampMillis*1000+maxCursor {
		return nil, damaged("a block has a time that none can have")
	}
	if err := protocol.Decode(plain, maxBlockSize, b); err != nil {
		return nil, fmt.Errorf("reading block: %w", err)
	}
	for i := range b.Records {
		if !b.Records[i].Gone && int(b.Records[i].Class) >= len(b.Classes) {
			return nil, damaged("a record of a block refers to nothing")
		}
	}
	return b, nil
}

func hash16(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:16]
}

func indexKey(prefix string, middle []byte, n uint64) []byte {
	k := make([]byte, 0, len(prefix)+len(middle)+8)
	k = append(append(k, prefix...), middle...)
	return binary.BigEndian.AppendUint64(k, n)
}

func hashKey(prefix, s string) []byte { return append([]byte(prefix), hash16(s)...) }

// place says where a record stands.
type place struct {
	cursor uint64
	index  uint16 // in its block
}

func (p place) block() uint64 { return p.cursor - uint64(p.index) }

// reader reads blocks, and keeps the ones it read lately.
type reader struct {
	kv     KV
	blocks map[uint64]*storedBlock
	x      *Index            // nil: nothing is looked up
	found  *finder           // nil until something is
	asked  []stix.Observable // what a search looked up

	versionsOf   string // the object of which versions were looked up last
	lastVersions []found
}

func newReader(kv KV) *reader { return &reader{kv: kv, blocks: map[uint64]*storedBlock{}} }

func (x *Index) reader(kv KV) *reader {
	r := newReader(kv)
	r.x = x
	return r
}

// finder looks up in the index as it stood when that was first done.
func (r *reader) finder() (f *finder, err error) {
	if r.found == nil {
		r.found, err = r.x.finder(r.kv)
	}
	return r.found, err
}

// record returns what stands in a place, nil if it is gone.
func (r *reader) record(p place) (*storedBlock, *storedRecord, error) {
	b, err := r.block(p.block())
	if err != nil {
		return nil, nil, err
	}
	if int(p.index) >= len(b.Records) {
		return nil, nil, damaged("record %d is missing from its block", p.cursor)
	}
	if b.Records[p.index].Gone {
		return nil, nil, nil
	}
	return b, &b.Records[p.index], nil
}

func (r *reader) block(cursor uint64) (*storedBlock, error) {
	if b := r.blocks[cursor]; b != nil {
		return b, nil
	}
	v, err := r.kv.Get(indexKey(kBlock, nil, cursor))
	if err != nil {
		return nil, fmt.Errorf("reading block: %w", err)
	}
	if v == nil {
		return nil, damaged("the block of records from %d on is missing", cursor)
	}
	key := indexKey(kBlock, nil, cursor)
	plain, err := r.kv.Unwrap(key, v)
	if err != nil {
		return nil, fmt.Errorf("reading block: %w", err)
	}
	b, err := unpackBlock(plain)
	if err != nil {
		return nil, err
	}
	if len(r.blocks) >= 32 {
		clear(r.blocks)
	}
	r.blocks[cursor] = b
	return b, nil
}

// entry reads the record at a place, with its withdrawal; nil if it was erased.
func (r *reader) entry(p place) (*Entry, error) {
	b, rec, err := r.record(p)
	if err != nil || rec == nil {
		return nil, err
	}
	c := &b.Classes[rec.Class]
	if gone, err := Erased(r.kv, rec.Record, c.Originator, b.Publisher); err != nil || gone {
		return nil, err
	}
	e := &Entry{Record: rec.Record, Feed: b.Feed, Seq: b.Seq, Index: int(rec.Index), Topic: b.Topic,
		Originator: c.Originator, Publisher: b.Publisher, Handling: cloneHandling(&c.Handling), Object: append([]byte(nil), rec.Object...),
		StixID: rec.StixID, Type: rec.Type, Modified: rec.Modified / 1e6, Received: b.Received, SealedAt: b.SealedAt,
		Cursor: p.cursor, Stamp: b.stamp + uint64(p.index), Revoked: rec.Revoked, Agreement: c.Agreement, Term: int(c.Term), Text: c.Text, Form: c.Form, modified: rec.Modified, inBlock: p.index}
	return e, r.withdrawal(e)
}
