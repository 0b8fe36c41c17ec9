package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// backupTaker takes what a backup holds, as it is read and after it was checked. What it took
// counts only if the backup turns out to be whole.
type backupTaker interface {
	key(op crypto.OpPrivate) error
	document(kind string, id, value []byte) error
	feed(f *protocol.BackupFeed) error
	epoch(ep *store.Epoch) error
	entry(env *crypto.VerifiedEnvelope, e *protocol.BackupEntry) error
	feedEnd() error
	mark(k, v []byte) error
}

// checked is a taker that takes nothing.
type checked struct{}

func (checked) key(crypto.OpPrivate) error                                  { return nil }
func (checked) document(string, []byte, []byte) error                       { return nil }
func (checked) feed(*protocol.BackupFeed) error                             { return nil }
func (checked) epoch(*store.Epoch) error                                    { return nil }
func (checked) entry(*crypto.VerifiedEnvelope, *protocol.BackupEntry) error { return nil }
func (checked) feedEnd() error                                              { return nil }
func (checked) mark([]byte, []byte) error                                   { return nil }

// VerifyBackup reads a whole backup and checks everything in it: that it is whole, that it holds
// nothing unknown, every signature, every body's hash, the chain of every feed, and that the
// records that it shows are the ones that their authors signed. It needs no node. With an error
// comes what is known of the backup, in which Problem says the same.
func VerifyBackup(ctx context.Context, r io.Reader, ids []crypto.BackupIdentity) (*BackupInfo, error) {
	b, err := openBackup(ctx, r, ids)
	if err == nil {
		err = b.read(checked{})
	}
	return b.done(err)
}

// backupReader reads one backup, in one pass. Its memory grows with cards and heads, not with
// entries.
type backupReader struct {
	ctx  context.Context
	in   io.Reader
	dec  protocol.BackupDecoder
	info BackupInfo
	buf  []byte

	manifest protocol.BackupManifest
	op       *crypto.OpPrivate
	heads    []protocol.FeedHead
	own      []protocol.FeedHead // of the node that was backed up
	cards    map[protocol.OrgID]*crypto.Card
	signers  map[protocol.SigningKey]protocol.OrgID
	kind     int    // place of the last document's kind in backupKinds
	lastID   []byte // of the last document
	lastMark []byte
	feeds    int // begun
	seq      uint64
	hash     protocol.Hash
	at       *protocol.BackupFeed
	epochs   []crypto.EpochKey
	numbers  uint64 // of the last epoch
	records  uint64
}

// openBackup unseals a backup and reads its manifest. It always returns a reader.
func openBackup(ctx context.Context, r io.Reader, ids []crypto.BackupIdentity) (*backupReader, error) {
	b := &backupReader{ctx: ctx, cards: map[protocol.OrgID]*crypto.Card{}, signers: map[protocol.SigningKey]protocol.OrgID{}}
	b.info.LeftOut = []BackupLeftOut{}
	in, postQuantum, err := crypto.OpenBackup(r, ids)
	if errors.Is(err, protocol.ErrNotInAudience) {
		return b, protocol.Errorf(protocol.ErrNotInAudience, "this backup is sealed for other keys than those of the identity given; use the identity whose recipient it was made for")
	}
	if err != nil {
		return b, fmt.Errorf("this is not a backup, or it is damaged at its very beginning: %w", err)
	}
	b.in = in
	v, err := b.next()
	if err != nil {
		return b, err
	}
	m, ok := v.(*protocol.BackupManifest)
	if !ok {
		return b, protocol.Errorf(protocol.ErrMalformed, "backup does not begin with its manifest")
	}
	b.manifest = *m
	b.info = BackupInfo{Version: int(m.Version), Network: m.Network, Org: OrgRef{ID: m.Org}, Node: m.Node, Created: millis(m.Created), OpKey: m.Key, PostQuantum: postQuantum,
		Feeds: m.Feeds, Entries: m.Entries, Documents: m.Documents, Records: m.Records, Bytes: b.info.Bytes, LeftOut: []BackupLeftOut{}}
	return b, nil
}

func (b *backupReader) done(err error) (*BackupInfo, error) {
	if err != nil {
		b.info.Problem = err.Error()
	} else {
		b.info.Whole = true
	}
	return &b.info, err
}

// next reads one frame. It allocates as bytes arrive, not by what was promised.
func (b *backupReader) next() (any, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	var head [protocol.BackupFrameHead]byte
	if _, err := io.ReadFull(b.in, head[:]); err != nil {
		return nil, brokenOff(err)
	}
	t, size, err := protocol.ParseBackupHead(head)
	if err != nil {
		return nil, err
	}
	frame := bytes.NewBuffer(b.buf[:0])
	if _, err := io.CopyN(frame, b.in, int64(size)); err != nil {
		return nil, brokenOff(err)
	}
	b.buf = frame.Bytes()
	b.info.Bytes += uint64(len(head) + size)
	return b.dec.Next(t, b.buf)
}

func brokenOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return protocol.Errorf(protocol.ErrMalformed, "backup breaks off before its end; use another copy, or another backup")
	}
	if errors.Is(err, protocol.ErrMalformed) {
		return fmt.Errorf("backup breaks off or is damaged; use another copy, or another backup: %w", err)
	}
	return fmt.Errorf("reading backup: %w", err)
}

// leave notes something that does not verify, and spoils nothing else.
func (b *backupReader) leave(what string, err error) {
	reason := err.Error()
	for i := range b.info.LeftOut {
		if l := &b.info.LeftOut[i]; l.What == what && (l.Reason == reason || len(b.info.LeftOut) > 32) {
			l.Count++
			return
		}
	}
	b.info.LeftOut = append(b.info.LeftOut, BackupLeftOut{What: what, Reason: reason, Count: 1})
}

func (b *backupReader) read(t backupTaker) error {
	for {
		v, err := b.next()
		if err != nil {
			return err
		}
		switch v := v.(type) {
		case *protocol.BackupHeads:
			err = b.takeHeads(v)
		case *protocol.BackupKey:
			op := crypto.OpFromSeed(v.Op)
			b.op = &op
			err = t.key(op)
		case *protocol.BackupDocuments:
			for i := range v.List {
				if err == nil {
					err = b.document(t, &v.List[i])
				}
			}
		case *protocol.BackupFeed:
			err = b.beginFeed(t, v)
		case *protocol.BackupEpochs:
			err = b.takeEpochs(t, v)
		case *protocol.BackupEntry:
			err = b.takeEntry(t, v)
		case *protocol.BackupMarks:
			err = b.takeMarks(t, v)
		case *protocol.BackupTrailer:
			return b.end(t, v)
		}
		if err != nil {
			return err
		}
	}
}
