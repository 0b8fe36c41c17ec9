package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// BackupRequest says for whom to make a backup, and what to leave out.
type BackupRequest struct {
	Recipients []string // age recipients whose secret keys are kept off this machine
	// WithoutOpKey leaves the operational key out: the restored node has then to be approved by
	// another node of the organisation.
	WithoutOpKey bool
}

// BackupInfo says what is in a backup.
type BackupInfo struct {
	Version     int                `json:"version"`
	Network     protocol.NetworkID `json:"network"`
	Org         OrgRef             `json:"organisation"`
	Node        protocol.NodeID    `json:"node"` // that was backed up
	Created     time.Time          `json:"created"`
	OpKey       bool               `json:"operational_key"` // is in it
	PostQuantum bool               `json:"post_quantum"`    // all of its recipients are: it is safe against a future quantum computer
	Feeds       uint64             `json:"feeds"`
	Entries     uint64             `json:"entries"`
	Erased      uint64             `json:"erased"` // of them: bodies that were erased
	Absent      uint64             `json:"absent"` // of them: bodies that were not held
	Documents   uint64             `json:"documents"`
	Records     uint64             `json:"records"` // that can be read
	Proven      uint64             `json:"proven"`  // of them: found, by their author's signature, in the entries of the backup
	Bytes       uint64             `json:"bytes"`   // before sealing
	LeftOut     []BackupLeftOut    `json:"left_out"`
	Whole       bool               `json:"whole"`
	Problem     string             `json:"problem,omitempty"`
}

// BackupLeftOut is what does not verify with the cards that are in the backup. A node leaves
// it out, too, where it meets it; it spoils nothing else.
type BackupLeftOut struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// The kinds of documents that a backup holds, in the order in which it does: cards first, by
// which the others are verified. What is not named here is the node's own, and begins anew with
// another node: where its feeds stood, what it was told about keys, whether it was restored.
var (
	backupKinds = []string{kindCard, kindRoster, kindSetting, kindAddrs, kindDirect, kindAgain, kindAgreement, kindAudit, kindConflict, kindCosigned, kindOtherwise, kindDue, kindErase, kindErasure, kindFork, kindGone,
		kindHandout, kindHead, kindLate, kindLetter, kindPin, kindPublished, kindQuarantine, kindReceipt, kindRelease, kindDenied, kindForward, kindForwardWait, kindVolume, kindHistory, kindRules, kindExclusion, kindExcluded, kindExcludeDue, kindExcludeWait, kindExclusionAck, kindAckDue, kindRefusal, kindHold, kindKept, kindErasureAsk, kindRequest, kindSecret, kindTopic, kindMandate, kindOrigin, kindCopies, kindCopyDue, kindView, kindConsumer, kindMisp, kindSource, kindSourceState, kindDeadLetter, kindErasedHere, kindTaxii, kindOutput, kindSink, kindPerson, kindSecond}
	backupLeft     = []string{kindFeedNumber, kindWithheld, kindRulesOf, kindMirror, kindOutputState, kindPending, kindPublishedEnd, kindMigration, kindRecipient, kindLostGrant}
	backupSettings = []string{"network", settingRelease}
	leftSettings   = []string{"restored", settingRules, settingServe, settingBackup, settingClock}
)

// backupChunk is about how many bytes of documents or marks go in one frame, backupWindow how
// many entries of a feed are looked at at a time.
const (
	backupChunk  = 256 << 10
	backupWindow = 512
)

// Backup writes all that has to survive this machine, as of one moment, sealed to keys that do
// not live on it. The node goes on working meanwhile; memory does not grow with the backup. A
// file of which Backup returned an error has no end, and its reader says so.
func (n *Node) Backup(ctx context.Context, w io.Writer, q BackupRequest) (*BackupInfo, error) {
	// What is not known to be erased is not handed on: whoever restores the copy would take the
	// journal beside this node, which says nothing of the time before it, for the whole of it.
	if err := n.usable(); err != nil {
		return nil, err
	}
	recipients, op, err := n.backupKeys(&q)
	if err != nil {
		return nil, err
	}
	// Noted first: an erasure names the copies that it does not reach.
	h, err := n.handOut(ctx, handoutBackup, sealedFor(len(recipients)), 0, true)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	info, err := n.backup(ctx, io.MultiWriter(w, sum), recipients, op)
	if info == nil {
		info = new(BackupInfo)
	}
	if err = errors.Join(err, h.end(math.MaxInt64, info.Records)); err != nil {
		return nil, err
	}
	n.noticeBackup(backupNotice{At: h.doc.At, Sum: protocol.Hash(sum.Sum(nil)), Records: info.Records, Detail: h.doc.Detail, Noted: true})
	return info, nil
}

// backupKeys returns for whom a backup is sealed, and the operational key if it goes with it.
func (n *Node) backupKeys(q *BackupRequest) (recipients []crypto.BackupRecipient, op *protocol.BackupKey, err error) {
	if recipients, err = n.backupRecipients(q.Recipients); err != nil {
		return nil, nil, err
	}
	if signer := n.op(); !q.WithoutOpKey && signer != nil {
		key, ok := signer.(crypto.OpPrivate)
		if !ok {
			return nil, nil, errors.New("the operational key is kept in hardware and cannot be backed up; leave it out with --without-op-key, and another node of the organisation has to approve the restored one")
		}
		op = &protocol.BackupKey{Op: key.UnsafeSeed()}
	}
	return recipients, op, nil
}

// settingBackup is which backup of this node was verified last. A restored node begins anew.
const settingBackup = "backup"

// backupDoc is what is known of backups of this node; times are Unix milliseconds, 0 if there is none.
type backupDoc struct {
	_        struct{} `cbor:",toarray"`
	Was      uint64   // when the last one was made, until LastBackup alone knew that
	Verified uint64   // when one was verified last, as far as this node was told
	Of       uint64   // of the state that that one holds
}

func (n *Node) noteBackup(change func(*store.Tx, *backupDoc) error) error {
	return n.st.Update(func(tx *store.Tx) error {
		var d backupDoc
		if _, err := getDoc(tx, kindSetting, []byte(settingBackup), &d); err != nil {
			return err
		}
		return errors.Join(change(tx, &d), putDoc(tx, kindSetting, []byte(settingBackup), &d))
	})
}

// NoteVerified notes that a backup of this node, made at a time, was verified and is whole.
func (n *Node) NoteVerified(node protocol.NodeID, made time.Time) error {
	now := nowMillis()
	switch {
	case node != n.ID():
		return fmt.Errorf("the backup is of node %s, this is %s: %w", node, n.ID(), protocol.ErrWrongContext)
	case made.UnixMilli() <= 0 || made.UnixMilli() > now:
		return protocol.Errorf(protocol.ErrMalformed, "a backup made at %s cannot have been verified; check the clock", made.UTC().Format(time.RFC3339))
	}
	return n.noteBackup(func(tx *store.Tx, d *backupDoc) error {
		if of := uint64(made.UnixMilli()); of >= d.Of {
			d.Verified, d.Of = uint64(now), of
		}
		return n.auditAccess(tx, "note that a backup was verified", made.UTC().Format(time.RFC3339))
	})
}

func sealedFor(keys int) string {
	if keys == 1 {
		return "sealed for 1 key kept off line"
	}
	return fmt.Sprintf("sealed for %d keys kept off line", keys)
}

func (n *Node) backup(ctx context.Context, w io.Writer, recipients []crypto.BackupRecipient, op *protocol.BackupKey) (*BackupInfo, error) {
	sealed, err := crypto.SealBackup(w, recipients)
	if err != nil {
		return nil, err
	}
	b := &backupWriter{ctx: ctx, n: n, out: sealed, s: n.snap.Load()}
	b.info.PostQuantum = recipients[0].PostQuantum
	if err := n.st.View(func(tx *store.Tx) error { b.tx = tx; return b.write(op) }); err != nil {
		return nil, fmt.Errorf("writing backup: %w", err)
	}
	if err := sealed.Close(); err != nil {
		return nil, fmt.Errorf("writing backup: %w", err)
	}
	b.info.Whole = true
	return &b.info, nil
}

// backupRecipients refuses recipients whose keys are lost with this machine, or with the nodes
// of the organisation.
func (n *Node) backupRecipients(texts []string) ([]crypto.BackupRecipient, error) {
	const instead = "make a key with 'entente backup keygen', keep its file off line, and give the recipient that it prints"
	if len(texts) == 0 {
		return nil, fmt.Errorf("a backup needs at least one recipient: %s", instead)
	}
	var out []crypto.BackupRecipient
	for _, text := range texts {
		r, err := crypto.ParseBackupRecipient(text)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(n.identities(), func(id *crypto.Identity) bool { return id.Recipient() == r.Text }) {
			return nil, fmt.Errorf("this recipient's key lives on this node only, and would be lost with it: %s", instead)
		}
		if card := n.OwnCard(); card != nil && slices.ContainsFunc(card.Nodes, func(e protocol.NodeEntry) bool { return e.Recipient == r.Text }) {
			return nil, fmt.Errorf("this recipient is a node of this organisation; nodes' keys are not kept, and a backup must outlive them: %s", instead)
		}
		if n.cfg.Dir != "" && n.cfg.Disk == nil {
			if lock, err := os.ReadFile(filepath.Join(n.cfg.Dir, keyDir, lockFile)); err == nil {
				if own, err := crypto.KeyFileRecipient(lock); err == nil && own == r.Text {
					return nil, fmt.Errorf("this recipient's key is the key file in this node's data directory, and would be lost with it: %s", instead)
				}
			}
		}
		out = append(out, r)
	}
	_, err := crypto.SealBackup(io.Discard, out) // whether they go together
	return out, err
}

// backupWriter writes one backup, from one state of the store.
type backupWriter struct {
	ctx  context.Context
	n    *Node
	s    *snapshot
	tx   *store.Tx
	out  io.Writer
	enc  protocol.BackupEncoder
	info BackupInfo
}

func (b *backupWriter) put(frame []byte) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	b.info.Bytes += uint64(len(frame))
	_, err := b.out.Write(frame)
	return err
}

func (b *backupWriter) frame(v any) error { return b.put(b.enc.Frame(v)) }

func (b *backupWriter) write(op *protocol.BackupKey) error {
	var network networkDoc
	if _, err := getDoc(b.tx, kindSetting, []byte("network"), &network); err != nil {
		return err
	}
	if op != nil {
		// The key goes with the card of the same moment: another node may have been given one since.
		var signed protocol.SignedCard
		if _, err := getDoc(b.tx, kindCard, b.n.org[:], &signed); err != nil {
			return err
		}
		if card, err := b.n.verifyCard(&signed); err != nil || card.RootEpoch.Op != crypto.OpFromSeed(op.Op).Public() {
			op = nil
		}
	}
	m := &protocol.BackupManifest{Version: 1, Network: network.Network, Org: b.n.org, Node: b.n.ID(), Signing: b.n.keys.Signing.Public(),
		Created: uint64(nowMillis()), Key: op != nil}
	var heads []protocol.FeedHead
	err := b.tx.Feeds(func(f *store.Feed) error {
		heads = append(heads, protocol.FeedHead{Feed: f.ID, Seq: f.Seq, Hash: f.Hash})
		m.Entries += f.Seq
		return nil
	})
	if err != nil {
		return err
	}
	m.Feeds = uint64(len(heads))
	if err := b.documents(func(string, []byte, []byte) error { m.Documents++; return nil }); err != nil {
		return err
	}
	counts, err := corpus.Count(b.tx)
	if err != nil {
		return err
	}
	m.Records = counts.Records
	if m.Cursor, err = corpus.Next(b.tx); err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return err
	}
	b.info = BackupInfo{Version: int(m.Version), Network: m.Network, Org: b.s.ref(m.Org), Node: m.Node, Created: millis(m.Created), OpKey: m.Key,
		PostQuantum: b.info.PostQuantum, Feeds: m.Feeds, Entries: m.Entries, Documents: m.Documents, Records: m.Records, LeftOut: []BackupLeftOut{}}
	if err := b.frame(m); err != nil {
		return err
	}
	for part := range slices.Chunk(heads, protocol.MaxBackupItems) {
		if err := b.frame(&protocol.BackupHeads{Heads: part}); err != nil {
			return err
		}
	}
	if op != nil {
		if err := b.frame(op); err != nil {
			return err
		}
	}
	if err := b.writeDocuments(); err != nil {
		return err
	}
	for _, h := range heads {
		if err := b.writeFeed(h); err != nil {
			return err
		}
	}
	if err := b.writeMarks(); err != nil {
		return err
	}
	return b.put(b.enc.Trailer(func(sum protocol.Hash) protocol.Signature { return crypto.SignBackup(m.Network, sum, b.n.keys.Signing) }))
}

// documents calls fn with the documents that a backup holds, in its order. A kind that is
// neither to be held nor to be left out is an error: it would be lost without a word.
func (b *backupWriter) documents(fn func(kind string, id, value []byte) error) error {
	err := b.knownKinds()
	for _, kind := range backupKinds {
		if err != nil {
			return err
		}
		if kind == kindAudit {
			err = audit.Dump(b.tx, b.audited, func(id, value []byte) error { return fn(kind, id, value) })
			continue
		}
		err = b.tx.Scan([]byte(kind), nil, false, func(k, v []byte) (bool, error) {
			id := k[len(kind):]
			if kind == kindSetting && !slices.Contains(backupSettings, string(id)) {
				if !slices.Contains(leftSettings, string(id)) {
					return false, fmt.Errorf("this store holds a setting %q, of which this version of backups does not know", id)
				}
				return true, nil
			}
			if kind == kindKept {
				var err error
				if v, err = dumpKept(b.tx, id, v); err != nil {
					return false, err
				}
			}
			if kind == kindDeadLetter {
				var err error
				if v, err = dumpDead(b.tx, id, v); err != nil {
					return false, err
				}
			}
			return true, fn(kind, id, v)
		})
	}
	return err
}

// audited reads a part of the audit log that was erased since the state that the backup is of.
func (b *backupWriter) audited(id []byte) (value []byte, err error) {
	err = b.n.st.View(func(tx *store.Tx) error { value, err = audit.Dumped(tx, id); return err })
	return value, err
}

func (b *backupWriter) knownKinds() error {
	const all = "n/"
	for from := []byte(all); from != nil; {
		start := from
		from = nil
		err := b.tx.Scan([]byte(all), start, false, func(k, _ []byte) (bool, error) {
			kind := kindOf(k)
			if !slices.Contains(backupKinds, kind) && !slices.Contains(backupLeft, kind) {
				return false, fmt.Errorf("this store holds documents %q, of which this version of backups does not know", kind)
			}
			from = append(k[:len(kind)-1:len(kind)-1], '/'+1) // after all of this kind
			return false, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// kindOf returns the kind of a document by its key: up to the second slash.
func kindOf(key []byte) string {
	if i := bytes.IndexByte(key[2:], '/'); i >= 0 {
		return string(key[:2+i+1])
	}
	return string(key)
}

// kindName is a kind as it stands in a backup.
func kindName(kind string) string { return strings.TrimSuffix(strings.TrimPrefix(kind, "n/"), "/") }

func (b *backupWriter) writeDocuments() error {
	part := &protocol.BackupDocuments{}
	size := 0
	flush := func() error {
		if len(part.List) == 0 {
			return nil
		}
		err := b.frame(part)
		part.List, size = nil, 0
		return err
	}
	err := b.documents(func(kind string, id, value []byte) error {
		part.List = append(part.List, protocol.BackupDocument{Kind: kindName(kind), ID: bytes.Clone(id), Value: bytes.Clone(value)})
		if size += len(id) + len(value); size >= backupChunk || len(part.List) >= protocol.MaxBackupItems {
			return flush()
		}
		return nil
	})
	return errors.Join(err, flush())
}

func (b *backupWriter) writeFeed(h protocol.FeedHead) error {
	f, err := b.tx.Feed(h.Feed)
	if err != nil {
		return err
	}
	if err := b.frame(&protocol.BackupFeed{Origin: f.Origin, Head: h, Opened: f.Opened, SealedAt: f.SealedAt, Frozen: f.Frozen}); err != nil {
		return err
	}
	epochs, err := b.tx.Epochs(h.Feed)
	if err != nil {
		return err
	}
	for _, ep := range epochs { // one a frame: an audience may be large
		e := protocol.BackupEpoch{Number: ep.Number, Key: ep.Key, Audience: ep.Audience, Created: ep.Created, Used: ep.Used, Retired: ep.Retired, First: ep.First}
		for _, g := range ep.Granted {
			e.Granted = append(e.Granted, protocol.BackupGranted{Node: g.Node, Recipient: g.Recipient})
		}
		if err := b.frame(&protocol.BackupEpochs{List: []protocol.BackupEpoch{e}}); err != nil {
			return err
		}
	}
	for from := uint64(1); from <= h.Seq; from += backupWindow {
		if err := b.writeEntries(h.Feed, from, min(from+backupWindow-1, h.Seq)); err != nil {
			return err
		}
	}
	return nil
}

func (b *backupWriter) writeEntries(feed protocol.FeedID, from, to uint64) error {
	blocks := map[uint64][]uint64{}
	if err := corpus.BlocksOf(b.tx, feed, from, to, func(seq, cursor uint64) error {
		blocks[seq] = append(blocks[seq], cursor)
		return nil
	}); err != nil {
		return err
	}
	return b.tx.Dump(feed, from, to, func(d *store.Dumped) error {
		if d.Shredded {
			var err error
			if d, err = b.shredded(feed, d); err != nil {
				return err
			}
		}
		e := &protocol.BackupEntry{Raw: d.Raw, State: uint8(d.State), Reason: d.Reason, Absent: uint8(d.Absent)}
		if d.Tomb != nil {
			e.Tomb = []protocol.BackupTomb{{Statement: d.Tomb.Statement, Reason: d.Tomb.Reason, At: d.Tomb.At}}
			b.info.Erased++
		}
		if d.Absent != store.Present {
			b.info.Absent++
		}
		for _, cursor := range blocks[d.Seq] {
			block, err := b.block(cursor)
			if err != nil {
				return err
			}
			e.Blocks = append(e.Blocks, protocol.BackupBlock{Cursor: cursor, Block: block})
		}
		return b.frame(e)
	})
}

// shredded reads an entry whose body was destroyed since the state that the backup is of, as
// it stands now: erased, or given up to make room.
func (b *backupWriter) shredded(feed protocol.FeedID, old *store.Dumped) (d *store.Dumped, err error) {
	err = b.n.st.View(func(tx *store.Tx) error {
		return tx.Dump(feed, old.Seq, old.Seq, func(now *store.Dumped) error { d = now; return nil })
	})
	if err == nil && d.Shredded {
		err = protocol.Errorf(protocol.ErrMalformed, "store is damaged: the key of entry %d of feed %s is destroyed, and nothing says why", old.Seq, feed.Short())
	}
	return d, err
}

// block reads a block of records; if one of them was erased since the state that the backup is
// of, what is left of it now.
func (b *backupWriter) block(cursor uint64) ([]byte, error) {
	block, err := corpus.DumpBlock(b.tx, cursor)
	for try := 0; errors.Is(err, store.ErrDestroyed) && try < 100; try++ {
		err = b.n.st.View(func(tx *store.Tx) (err error) { block, err = corpus.DumpBlock(tx, cursor); return err })
	}
	return block, err
}

func (b *backupWriter) writeMarks() error {
	part := &protocol.BackupMarks{}
	size := 0
	flush := func() error {
		if len(part.List) == 0 {
			return nil
		}
		err := b.frame(part)
		part.List, size = nil, 0
		return err
	}
	err := corpus.EachMark(b.tx, func(k, v []byte) error {
		part.List = append(part.List, protocol.BackupMark{Key: bytes.Clone(k), Value: bytes.Clone(v)})
		if size += len(k) + len(v); size >= backupChunk || len(part.List) >= protocol.MaxBackupItems {
			return flush()
		}
		return nil
	})
	return errors.Join(err, flush())
}
