package protocol

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
)

// A backup (SPEC "Backups") is an age file for keys that are kept off line; its plaintext is a
// sequence of frames:
//
//	+------+--------+-------+   type    1 byte: a BackupFrame
//	| type | length | bytes |   length  4 bytes, big-endian
//	+------+--------+-------+   bytes   as many: one encoded structure
//
//	manifest    a BackupManifest, first: whose it is, of when, and how much of everything
//	heads       BackupHeads: the feeds by rising id, with their heads, as many frames as needed
//	key         a BackupKey, if the manifest says so: the organisation's operational key
//	documents   BackupDocuments: cards, roster, agreements, ... by rising kind and id
//	feed        a BackupFeed, for every head, in the order of the heads; after each of them
//	  epochs    BackupEpochs: the keys of the feed, by rising number
//	  entry     a BackupEntry for each of its entries, from 1 to its head
//	marks       BackupMarks: what is noted of records beside the records
//	trailer     a BackupTrailer, last: counts and SHA-256 of all before it
//
// What has no place there, and what comes after the trailer, is refused. A file that breaks
// off anywhere lacks its trailer, and is not whole. Anybody can seal a file to a recipient, so
// the trailer is signed by the node that was backed up: what is not signed by itself (keys,
// pins, for whom something was sealed) is what that node had.

// ContextBackup is the signing context of a backup's sum, signed by the node's signing key.
const ContextBackup Context = "entente/backup/v1"

// BackupFrame is the type of a frame.
type BackupFrame uint8

// The types, in the order in which they come.
const (
	BackupFrameManifest  BackupFrame = 1
	BackupFrameHeads     BackupFrame = 2
	BackupFrameKey       BackupFrame = 3
	BackupFrameDocuments BackupFrame = 4
	BackupFrameFeed      BackupFrame = 5
	BackupFrameEpochs    BackupFrame = 6
	BackupFrameEntry     BackupFrame = 7
	BackupFrameMarks     BackupFrame = 8
	BackupFrameTrailer   BackupFrame = 9
)

// Limit bounds the bytes of a frame of type t; zero: the type is not known.
func (t BackupFrame) Limit() int {
	switch t {
	case BackupFrameManifest, BackupFrameKey:
		return MaxBackupHeadSize
	case BackupFrameHeads, BackupFrameDocuments, BackupFrameFeed, BackupFrameEpochs, BackupFrameEntry, BackupFrameMarks:
		return MaxBackupFrame
	case BackupFrameTrailer:
		return MaxBackupTrailerSize
	}
	return 0
}

// BackupFrameHead is the length of a frame's type and length, in bytes.
const BackupFrameHead = 5

// ParseBackupHead reads the bytes that begin a frame. The errors are of class ErrMalformed or
// ErrOversize.
func ParseBackupHead(head [BackupFrameHead]byte) (t BackupFrame, size int, err error) {
	t = BackupFrame(head[0])
	limit := t.Limit()
	if limit == 0 {
		return t, 0, malformed("backup holds a frame of unknown type %d; read it with the version of the program that made it, or a later one", head[0])
	}
	if n := binary.BigEndian.Uint32(head[1:]); uint64(n) <= uint64(limit) {
		return t, int(n), nil
	}
	return t, 0, oversize("backup holds a frame of %d bytes, at most %d are read", binary.BigEndian.Uint32(head[1:]), limit)
}

// BackupManifest says whose backup it is and what is in it.
//
// Growth: a new layout, of this or of any other frame, is a new Version, which programs that do
// not know it refuse; fields are never removed, reordered or given another meaning.
type BackupManifest struct {
	_         struct{}  `cbor:",toarray"`
	Version   uint8     // 1
	Network   NetworkID // zero: the node was in none
	Org       OrgID
	Node      NodeID // that was backed up
	Signing   SigningKey
	Created   uint64 // Unix milliseconds by that node's clock; informative
	Cursor    uint64 // the next place in the order of arrival of records
	Key       bool   // the operational key is in it
	Feeds     uint64
	Entries   uint64
	Documents uint64
	Records   uint64 // that can be read
}

// Validate checks ranges and bounds.
func (m *BackupManifest) Validate() error {
	switch {
	case m.Version != 1:
		return unknownVersion("backup", m.Version, 1)
	case m.Feeds > MaxBackupFeeds:
		return oversize("backup says that it holds %d feeds, at most %d", m.Feeds, MaxBackupFeeds)
	case m.Cursor == 0 || m.Records >= m.Cursor:
		return malformed("backup says that it holds %d records, and gives the next one place %d", m.Records, m.Cursor)
	case m.Network == NoNetwork && m.Feeds > 0:
		return malformed("backup of a node in no network holds feeds")
	}
	return nil
}

// BackupHeads lists feeds with their last entries; Hash of an empty one is zero.
type BackupHeads struct {
	_     struct{}   `cbor:",toarray"`
	Heads []FeedHead // by rising feed
}

// BackupKey is the organisation's operational key. It is secret.
type BackupKey struct {
	_  struct{} `cbor:",toarray"`
	Op [32]byte
}

// Format never shows the secret, whatever the verb.
func (BackupKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(secret)") }

// BackupDocuments are documents of the node, as they are stored.
type BackupDocuments struct {
	_    struct{} `cbor:",toarray"`
	List []BackupDocument
}

// BackupDocument is one of them.
type BackupDocument struct {
	_     struct{} `cbor:",toarray"`
	Kind  string
	ID    []byte
	Value []byte
}

// BackupFeed begins a feed.
type BackupFeed struct {
	_        struct{} `cbor:",toarray"`
	Origin   Origin
	Head     FeedHead
	Opened   uint64 // entries up to this one were gone through by the reader
	SealedAt uint64 // Unix milliseconds: the latest time that an opened entry states
	Frozen   uint64 // lowest seq known to be forked, 0 if none
}

// BackupEpochs are keys of the feed before them. They are secret.
type BackupEpochs struct {
	_    struct{} `cbor:",toarray"`
	List []BackupEpoch
}

// BackupEpoch is the key of an epoch, with what its publisher keeps about it.
type BackupEpoch struct {
	_        struct{} `cbor:",toarray"`
	Number   uint64
	Key      [32]byte
	Audience []OrgID // sorted; only of epochs that the organisation made
	Granted  []BackupGranted
	Created  uint64
	Used     uint64
	Retired  bool
	First    uint64
}

// Format never shows the secret, whatever the verb.
func (BackupEpoch) Format(f fmt.State, _ rune) { fmt.Fprint(f, "epoch (secret)") }

// BackupGranted says that a node was given the key, under which recipient.
type BackupGranted struct {
	_         struct{} `cbor:",toarray"`
	Node      NodeID
	Recipient Hash
}

// BackupEntry is an entry of the feed before it, with what became of it.
type BackupEntry struct {
	_      struct{} `cbor:",toarray"`
	Raw    []byte   // the envelope, or its skeleton where the body is not held
	State  uint8
	Reason string
	Tomb   []BackupTomb // one if the body was erased
	Absent uint8        // 0: the body is here or was erased; 1: lacking; 2: given up to make room
	Blocks []BackupBlock
}

// BackupTomb is what is kept of a body that was erased.
type BackupTomb struct {
	_         struct{} `cbor:",toarray"`
	Statement Hash     // of the SignedErase; zero: erased by the organisation for itself
	Reason    EraseReason
	At        uint64
}

// BackupBlock is a block of records that were opened of an entry, as package corpus keeps it.
type BackupBlock struct {
	_      struct{} `cbor:",toarray"`
	Cursor uint64
	Block  []byte
}

// BackupMarks are what is noted of records beside the records: withdrawals, tombstones, and
// when they are to be erased.
type BackupMarks struct {
	_    struct{} `cbor:",toarray"`
	List []BackupMark
}

// BackupMark is one of them, as package corpus keeps it.
type BackupMark struct {
	_     struct{} `cbor:",toarray"`
	Key   []byte
	Value []byte
}

// BackupTrailer ends a backup.
type BackupTrailer struct {
	_         struct{} `cbor:",toarray"`
	Frames    uint64   // before the trailer
	Feeds     uint64
	Entries   uint64
	Documents uint64
	Marks     uint64
	Sum       Hash // SHA-256 over all frames before the trailer, types and lengths included
	Sig       Signature
}

// BackupEncoder makes the frames of one backup. The zero value is ready.
type BackupEncoder struct {
	sum     hash.Hash
	trailer BackupTrailer
}

// Frame returns the frame of a structure.
func (e *BackupEncoder) Frame(v any) []byte {
	if e.sum == nil {
		e.sum = sha256.New()
	}
	e.trailer.count(v)
	f := backupFrame(backupFrameOf(v), Encode(v))
	e.sum.Write(f)
	return f
}

// Trailer returns the frame that ends the backup; sign signs its sum.
func (e *BackupEncoder) Trailer(sign func(sum Hash) Signature) []byte {
	e.trailer.Sum = Hash(e.sum.Sum(nil))
	e.trailer.Sig = sign(e.trailer.Sum)
	return backupFrame(BackupFrameTrailer, Encode(&e.trailer))
}

func backupFrame(t BackupFrame, b []byte) []byte {
	f := binary.BigEndian.AppendUint32(append(make([]byte, 0, BackupFrameHead+len(b)), byte(t)), uint32(len(b)))
	return append(f, b...)
}

func backupFrameOf(v any) BackupFrame {
	switch v.(type) {
	case *BackupManifest:
		return BackupFrameManifest
	case *BackupHeads:
		return BackupFrameHeads
	case *BackupKey:
		return BackupFrameKey
	case *BackupDocuments:
		return BackupFrameDocuments
	case *BackupFeed:
		return BackupFrameFeed
	case *BackupEpochs:
		return BackupFrameEpochs
	case *BackupEntry:
		return BackupFrameEntry
	case *BackupMarks:
		return BackupFrameMarks
	}
	panic("protocol: not a structure of a backup") // a programmer's error
}

func (t *BackupTrailer) count(v any) {
	t.Frames++
	switch v := v.(type) {
	case *BackupFeed:
		t.Feeds++
	case *BackupEntry:
		t.Entries++
	case *BackupDocuments:
		t.Documents += uint64(len(v.List))
	case *BackupMarks:
		t.Marks += uint64(len(v.List))
	}
}

// BackupDecoder takes the frames of one backup in order, and refuses what has no place there.
// The zero value is ready. After an error the rest is not to be read.
type BackupDecoder struct {
	sum      hash.Hash
	last     BackupFrame
	manifest BackupManifest
	trailer  BackupTrailer
	whole    bool
	heads    uint64
}

// Whole reports whether the trailer came and agrees with all that came before it.
func (d *BackupDecoder) Whole() bool { return d.whole }

// follows reports whether a frame of type t may come after one of type last.
func (t BackupFrame) follows(last BackupFrame) bool {
	switch {
	case last == 0:
		return t == BackupFrameManifest
	case t == BackupFrameFeed:
		return last != BackupFrameMarks
	case t == BackupFrameEpochs:
		return last == BackupFrameFeed || last == BackupFrameEpochs
	case t == BackupFrameEntry:
		return last >= BackupFrameFeed && last <= BackupFrameEntry
	case t == BackupFrameManifest, t == BackupFrameKey:
		return last < t
	}
	return last <= t
}

// Next takes a frame and returns a pointer to its structure: a *BackupTrailer, whose signature
// is still to be verified, at the end. Errors are of class ErrMalformed, ErrOversize or
// ErrWrongContext.
func (d *BackupDecoder) Next(t BackupFrame, b []byte) (any, error) {
	switch {
	case d.whole:
		return nil, malformed("backup goes on after its end")
	case t.Limit() == 0 || !t.follows(d.last):
		return nil, malformed("a frame of type %d has no place in a backup after one of type %d", t, d.last)
	case t == BackupFrameTrailer:
		return d.end(b)
	}
	if d.sum == nil {
		d.sum = sha256.New()
	}
	d.sum.Write(binary.BigEndian.AppendUint32([]byte{byte(t)}, uint32(len(b))))
	d.sum.Write(b)
	var v any
	switch t {
	case BackupFrameManifest:
		v = &d.manifest
	case BackupFrameHeads:
		v = new(BackupHeads)
	case BackupFrameKey:
		v = new(BackupKey)
	case BackupFrameDocuments:
		v = new(BackupDocuments)
	case BackupFrameFeed:
		v = new(BackupFeed)
	case BackupFrameEpochs:
		v = new(BackupEpochs)
	case BackupFrameEntry:
		v = new(BackupEntry)
	case BackupFrameMarks:
		v = new(BackupMarks)
	}
	if err := Decode(b, t.Limit(), v); err != nil {
		return nil, err
	}
	d.trailer.count(v)
	d.last = t
	return v, d.check(v)
}

// check holds a structure against its bounds and against what the manifest announced.
func (d *BackupDecoder) check(v any) error {
	items := 0
	switch v := v.(type) {
	case *BackupHeads:
		items = len(v.Heads)
		d.heads += uint64(items)
		if d.heads > d.manifest.Feeds {
			return malformed("backup lists more feeds than the %d that it announced", d.manifest.Feeds)
		}
	case *BackupKey:
		if !d.manifest.Key {
			return malformed("backup holds a key that it does not announce")
		}
	case *BackupDocuments:
		items = len(v.List)
	case *BackupFeed:
		return d.checkFeed(v)
	case *BackupEpochs:
		items = len(v.List)
		for i := range v.List {
			if !isSortedSet(v.List[i].Audience, OrgID.Compare) {
				return malformed("the audience of an epoch must be sorted and free of duplicates")
			}
		}
	case *BackupEntry:
		return checkBackupEntry(v)
	case *BackupMarks:
		items = len(v.List)
	default:
		return nil
	}
	if items > MaxBackupItems {
		return oversize("a frame of a backup holds %d items, at most %d", items, MaxBackupItems)
	}
	return nil
}

func (d *BackupDecoder) checkFeed(f *BackupFeed) error {
	switch {
	case d.heads != d.manifest.Feeds:
		return malformed("backup lists %d feeds, it announced %d", d.heads, d.manifest.Feeds)
	case d.trailer.Feeds > d.manifest.Feeds:
		return malformed("backup holds more feeds than the %d that it announced", d.manifest.Feeds)
	case f.Origin.FeedID(d.manifest.Network) != f.Head.Feed:
		return Errorf(ErrWrongContext, "a feed of the backup does not follow from its origin in its network")
	case f.Head.Seq > MaxSeq || f.Opened > f.Head.Seq || (f.Head.Seq == 0) != f.Head.Hash.IsZero():
		return malformed("head of a feed in the backup is out of range")
	}
	return nil
}

func checkBackupEntry(e *BackupEntry) error {
	switch {
	case len(e.Raw) > MaxEnvelopeSize:
		return oversize("entry has %d bytes, at most %d", len(e.Raw), MaxEnvelopeSize)
	case e.Absent > 2 || len(e.Tomb) > 1 || e.Absent != 0 && len(e.Tomb) > 0:
		return malformed("an entry of the backup is erased and absent at once, or neither in a known way")
	}
	return nil
}

func (d *BackupDecoder) end(b []byte) (any, error) {
	t := new(BackupTrailer)
	if err := Decode(b, MaxBackupTrailerSize, t); err != nil {
		return nil, err
	}
	d.trailer.Sum, d.trailer.Sig = Hash(d.sum.Sum(nil)), t.Sig
	m := &d.manifest
	if *t != d.trailer || m.Feeds != t.Feeds || m.Entries != t.Entries || m.Documents != t.Documents {
		return nil, malformed("backup is not what its beginning and end say: %d feeds, %d entries and %d documents came, %d, %d and %d were written, or their sum differs",
			d.trailer.Feeds, d.trailer.Entries, d.trailer.Documents, t.Feeds, t.Entries, t.Documents)
	}
	d.whole = true
	return t, nil
}
