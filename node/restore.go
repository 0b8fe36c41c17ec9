package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// A restored node is a new node of its organisation: it has keys of its own, and feeds of its
// own. Those of the node that was backed up are to it what a sibling's are, so none can fork.

// RestoreRequest says where to restore a backup.
type RestoreRequest struct {
	Dir        string // data directory; must be empty, but for a restore that did not finish
	Passphrase []byte // seals the new keys; empty: a key file with mode 0600 in the data directory
	Identities []crypto.BackupIdentity
	// Armour, if not nil, is how the request of a node that cannot enrol itself is written down.
	Armour func([]byte) []byte
	// Card is the newest card of the organisation, if somebody has one that is newer than that in
	// the backup: a partner, or another node of the organisation. nil: that in the backup.
	Card *protocol.SignedCard
}

// Restored says what a restore made.
type Restored struct {
	BackupInfo
	Dir     string          `json:"dir"`
	NewNode protocol.NodeID `json:"new_node"`
	// Enrolled says that the organisation's operational key signed a card that lists the new
	// node; else Request is the file with its request to be put on it, and Words are those that
	// whoever approves it compares.
	Enrolled bool     `json:"enrolled"`
	Request  string   `json:"request,omitempty"`
	Words    []string `json:"words,omitempty"`
	// Ended are nodes that are still listed, and that this card lets connect no more.
	Ended []protocol.NodeID `json:"ended"`
	// Journal says that a complete journal of erasures stood beside the data directory.
	Journal bool `json:"journal"`
	// Rules says why the local rules in the backup have to be confirmed before anything is shared or
	// shown; "": they need not be. RulesSet names the set.
	Rules    string `json:"rules,omitempty"`
	RulesSet string `json:"rules_set,omitempty"`
}

// unfinishedFile stands in a data directory while a restore fills it. Its removal, as the last
// thing, makes the directory that of a node.
const unfinishedFile = "restore.unfinished"

// requestFile is where a restored node that could not enrol leaves what is to be approved.
const requestFile = "node-request.pem"

// ErrUnfinishedRestore is returned where a restore into a data directory did not finish.
var ErrUnfinishedRestore = errors.New("a restore into this data directory did not finish; run 'entente backup restore' again, with the same backup or another one")

// CheckRestored returns ErrUnfinishedRestore if a restore into dir did not finish.
func CheckRestored(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, unfinishedFile)); err == nil {
		return fmt.Errorf("%s: %w", dir, ErrUnfinishedRestore)
	}
	return nil
}

// Restore makes a data directory of a backup, all or nothing: the whole of it is checked while
// it is read, and only at its end does the directory become one that a node starts from.
func Restore(ctx context.Context, r io.Reader, q RestoreRequest) (*Restored, error) {
	out := &Restored{Dir: q.Dir, Ended: []protocol.NodeID{}}
	b, err := openBackup(ctx, r, q.Identities)
	if err == nil {
		var held io.Closer // two at once would each clear away what the other writes
		if held, err = takeForRestore(q.Dir); err == nil {
			defer held.Close()
			err = clearForRestore(q.Dir)
		}
	}
	if err == nil {
		_, err = journalBeside(q.Dir, &b.manifest, nil) // before the work rather than after it
	}
	if err == nil {
		err = b.restore(q, out)
	}
	info, err := b.done(err)
	out.BackupInfo = *info
	return out, err
}

// takeForRestore makes a directory, and keeps other restores out of it.
func takeForRestore(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making data directory: %w", err)
	}
	return lockDir(dir)
}

// clearForRestore puts the mark of an unfinished restore into an empty directory. Nothing is
// removed but what an unfinished one left.
func clearForRestore(dir string) error {
	mark := filepath.Join(dir, unfinishedFile)
	if _, err := os.Stat(mark); err == nil {
		for _, name := range []string{keyDir, storeDir, requestFile} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("clearing away an unfinished restore: %w", err)
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if name := e.Name(); name != "lost+found" && !strings.HasPrefix(name, unfinishedFile) {
			return fmt.Errorf("%s is not empty: it holds %q; a backup is restored into an empty directory, choose another --dir or move what is there away", dir, name)
		}
	}
	return writeDurable(mark, []byte("A restore of a backup fills this directory. If no restore runs, it did not finish: run it again.\n"))
}

// journalBeside looks for the anchor of the node that was backed up beside the data directory.
// Its journal of erasures is complete only if it stayed where it was made, and is not older
// than the backup. An incomplete one is applied all the same, and ends no wait.
// heads are those of the node's own feeds.
func journalBeside(dir string, m *protocol.BackupManifest, heads []protocol.FeedHead) (bool, error) {
	path := anchorOf(dir)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	a, err := anchor.Open(path, m.Node)
	if err != nil {
		return false, err
	}
	defer a.Close()
	if of, ok := a.Of(); ok && of != m.Node {
		return false, fmt.Errorf("%s belongs to another node than the one that was backed up; move it away, or remove its file \"anchor\" to use its journal of erasures only", path)
	}
	if a.State() != anchor.Good {
		return false, nil
	}
	known := 0
	for _, h := range heads {
		m, ok := a.Mark(h.Feed)
		if ok && m.Seq < h.Seq {
			return false, nil // the anchor is older than the backup
		}
		if ok {
			known++
		}
	}
	if known == 0 {
		return false, nil // nothing says that it was there before the backup
	}
	return a.Erasures(func(*anchor.Erasure) error { return nil })
}

// judgedRules is what a restore found out of the rules in the backup; nil: there are none, and nothing
// says that there were any.
type judgedRules struct {
	doc restoredRules
	set string
}

func (j *judgedRules) put(tx *store.Tx) error {
	if j == nil {
		return nil
	}
	return putDoc(tx, kindSetting, []byte(settingRules), &j.doc)
}

// judgeRules holds the rules in a backup against what stands beside the data directory. It may know of
// later ones; where it knows none, because it is not there, somebody has to look at them.
func judgeRules(st *store.Store, dir string, m *protocol.BackupManifest) (*judgedRules, error) {
	var held *rulesDoc
	if err := st.View(func(tx *store.Tx) error {
		var d rulesDoc
		found, err := getDoc(tx, kindRules, rulesID, &d)
		if found {
			held = &d
		}
		return err
	}); err != nil {
		return nil, err
	}
	var newest anchor.RulesMark
	var before *anchor.RulesMark
	here, ok := false, false
	path := anchorOf(dir)
	if _, err := os.Stat(path); err == nil {
		a, err := anchor.Open(path, m.Node)
		if err != nil {
			return nil, err
		}
		defer a.Close()
		if newest, before, here, ok, err = a.Rules(); err != nil {
			return nil, err
		}
		here = here && a.State() == anchor.Good
	}
	why := doubtOf(held, newest, before, here, ok)
	if why == "" && !ok {
		return nil, nil
	}
	return &judgedRules{restoredRules{Why: why, Newest: newest}, held.hash().Short()}, nil
}

// restore fills the directory.
func (b *backupReader) restore(q RestoreRequest, out *Restored) error {
	k, asks, err := NewNode(b.manifest.Org, nil)
	if err != nil {
		return err
	}
	out.NewNode = k.Host.Public()
	st, err := store.Open(store.Config{Dir: filepath.Join(q.Dir, storeDir), Key: k.Store})
	if err != nil {
		return fmt.Errorf("opening store: %w", err)
	}
	defer st.Close()
	t := &restorer{st: st}
	if err := st.Update(func(tx *store.Tx) (err error) { t.index, err = corpus.Open(tx, corpus.Limits{}); return err }); err != nil {
		return fmt.Errorf("making the index: %w", err)
	}
	if err := b.read(t); err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	if out.Journal, err = journalBeside(q.Dir, &b.manifest, b.own); err != nil {
		return err
	}
	judged, err := judgeRules(st, q.Dir, &b.manifest)
	if err != nil {
		return err
	}
	if judged != nil && judged.doc.Why != "" {
		out.Rules, out.RulesSet = judged.doc.Why, judged.set
	}
	base, err := newestCard(b.cards[k.Org], q.Card)
	if err != nil {
		return err
	}
	before := listed(base)
	var request []byte
	if b.op != nil && b.op.Public() == base.RootEpoch.Op {
		k.Op = *b.op
		signed, ended, err := enrol(base, *b.op, asks.Entry)
		if err != nil {
			return err
		}
		out.Enrolled, out.Ended = true, ended
		base.Signed = signed
	} else {
		request, out.Words = protocol.Encode(&asks.Signed), asks.Words()
	}
	err = st.Update(func(tx *store.Tx) error {
		why := fmt.Sprintf("it was restored from a backup of %s", millis(b.manifest.Created).Format(time.RFC3339))
		return errors.Join(
			putDoc(tx, kindCard, k.Org[:], &base.Signed),
			putDoc(tx, kindSetting, []byte("restored"), &restoredDoc{At: uint64(nowMillis()), Why: why, Anchored: out.Journal, Listed: before}),
			judged.put(tx), corpus.SetNext(tx, cursorAfter(b.manifest.Cursor)))
	})
	if err = errors.Join(err, st.Close()); err != nil {
		return err
	}
	return finishRestore(q, k, request, out)
}

// cursorJump is how far the cursors of a restored node go beyond those of the backup, and at most twice
// that: the lost node may have given some after it, which consumers hold, and two restores of one backup
// are not to give the same. 2^47 of them have room for some ten thousand restores.
const cursorJump = 1 << 32

func cursorAfter(next uint64) uint64 {
	var random [8]byte
	_, _ = rand.Read(random[:4])
	return next + cursorJump + binary.LittleEndian.Uint64(random[:])
}

// finishRestore writes the keys, and then makes the directory that of a node.
func finishRestore(q RestoreRequest, k *Keys, request []byte, out *Restored) error {
	lock, err := makeLock(q.Dir, q.Passphrase)
	if err != nil {
		return err
	}
	if err := writeKeys(q.Dir, lock, k); err != nil {
		return err
	}
	if request != nil {
		if out.Request = filepath.Join(q.Dir, requestFile); q.Armour != nil {
			request = q.Armour(request)
		}
		if err := writeDurable(out.Request, request); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(q.Dir, unfinishedFile)); err != nil {
		return err
	}
	d, err := os.Open(q.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newestCard chooses the card that the next one follows.
func newestCard(held *crypto.Card, given *protocol.SignedCard) (*crypto.Card, error) {
	c := *held
	if given == nil {
		return &c, nil
	}
	other, err := crypto.VerifyCard(given)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the card given: %w", err)
	case other.Org != held.Org:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the card given is of %s, and the backup of %s", other.Inception.Name, held.Inception.Name)
	case other.Order == held.Order && other.Hash != held.Hash:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the card given and the one in the backup are two of one order: one of the organisation's keys may be stolen; begin a new root epoch before anything else")
	case held.Order.Less(other.Order):
		return other, nil
	}
	return &c, nil
}

// serialJump is how far a restored node's first card goes beyond the one that it follows, and
// by how much more at random. The node that was lost signed cards after its backup, one at
// each start, and its partners keep the highest order: the next serial was used already, with
// other content, which is a sign of a stolen key (SPEC 5.2). No node starts 2^32 times; and two
// restores of one backup make two serials.
const serialJump = 1 << 32

// enrol signs a card that lists a new node. All others stay on it, because their entries, also
// those after the backup, must go on counting; a removal would have to state final heads that
// nobody here knows. But whoever is listed in the backup may have been lost, stolen or removed
// since, so their time ends now: they neither connect nor get keys any more. A node that lives
// is listed anew by its organisation.
func enrol(base *crypto.Card, op crypto.OpSigner, entry protocol.NodeEntry) (protocol.SignedCard, []protocol.NodeID, error) {
	var random [4]byte
	rand.Read(random[:])
	c := base.Card
	if len(c.Nodes) >= protocol.MaxNodes {
		return protocol.SignedCard{}, nil, protocol.Errorf(protocol.ErrOversize, "the organisation's card lists %d nodes, and has no room for another one; remove one at another node, and give the new card with --card", len(c.Nodes))
	}
	now := uint64(nowMillis())
	ended := []protocol.NodeID{}
	c.Nodes = slices.Clone(c.Nodes)
	for i := range c.Nodes {
		e := &c.Nodes[i]
		if e.NotAfter > now {
			e.NotAfter = max(now, e.NotBefore+1)
		}
		ended = append(ended, e.Node)
	}
	c.Nodes = append(c.Nodes, entry)
	c.Serial += serialJump + uint64(random[0])<<24 + uint64(random[1])<<16 + uint64(random[2])<<8 + uint64(random[3])
	if c.Serial < base.Serial {
		return protocol.SignedCard{}, nil, errors.New("the serials of this root epoch are used up; begin a new one")
	}
	c.Issued, c.FreshUntil = now, now+CardLife
	signed, err := crypto.SignCard(&c, op)
	if err == nil {
		_, err = crypto.VerifyCard(&signed)
	}
	return signed, ended, err
}

// restorer writes what a backup holds into a store, many things in one transaction.
type restorer struct {
	st    *store.Store
	index *corpus.Index
	todo  []func(tx *store.Tx) error
	bytes int
	keys  int
	at    *protocol.BackupFeed
}

// Bounds of one transaction: below what the store takes.
const (
	restoreBytes = 2 << 20
	restoreKeys  = 20_000
)

func (t *restorer) do(bytes, keys int, fn func(tx *store.Tx) error) error {
	t.todo = append(t.todo, fn)
	t.bytes, t.keys = t.bytes+bytes, t.keys+keys
	if t.bytes < restoreBytes && t.keys < restoreKeys {
		return nil
	}
	return t.flush()
}

func (t *restorer) flush() error {
	todo := t.todo
	t.todo, t.bytes, t.keys = nil, 0, 0
	if len(todo) == 0 {
		return nil
	}
	err := t.st.Update(func(tx *store.Tx) error {
		for _, fn := range todo {
			if err := fn(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return mergeIndex(t.st, t.index, mergeSteps)
}

func (t *restorer) key(crypto.OpPrivate) error { return nil } // it goes into the key file

func (t *restorer) document(kind string, id, value []byte) error {
	if kind == kindAudit {
		id, value := slices.Clone(id), slices.Clone(value)
		return t.do(len(id)+len(value), 2, func(tx *store.Tx) error { return audit.Load(tx, id, value) })
	}
	if kind == kindKept {
		id, value := slices.Clone(id), slices.Clone(value)
		return t.do(len(id)+len(value), 2, func(tx *store.Tx) error { return loadKept(tx, id, value) })
	}
	if kind == kindDeadLetter {
		id, value := slices.Clone(id), slices.Clone(value)
		return t.do(len(id)+len(value), 2, func(tx *store.Tx) error { return loadDead(tx, id, value) })
	}
	if kind == kindPublished {
		d := new(publishedDoc)
		if err := protocol.Decode(value, maxDocument, d); err != nil {
			return fmt.Errorf("reading %s document: %w", kind, err)
		}
		id, size := slices.Clone(id), len(value)
		return t.do(size, 2, func(tx *store.Tx) error { return putPublished(tx, id, d) })
	}
	value, err := t.doubt(kind, value)
	if err != nil {
		return err
	}
	key, value := append([]byte(kind), id...), slices.Clone(value)
	return t.do(len(key)+len(value), 1, func(tx *store.Tx) error { return tx.Set(key, value) })
}

// doubtRestored is why a sink stands still after a restore.
const doubtRestored = "the node was restored from a backup, and nobody has said since that this sink still stands"

// doubt has what gives to others, or publishes by itself, stand still until somebody says that it still stands:
// it may have been removed after the backup was made, and nothing tells.
func (t *restorer) doubt(kind string, value []byte) ([]byte, error) {
	switch kind {
	case kindConsumer:
		var d consumerDoc
		err := protocol.Decode(value, maxDocument, &d)
		d.Doubted = true
		return protocol.Encode(&d), err
	case kindPerson:
		var d personDoc
		err := protocol.Decode(value, maxDocument, &d)
		d.Doubted = d.present()
		return protocol.Encode(&d), err
	case kindSink:
		var d sinkDoc
		err := protocol.Decode(value, maxDocument, &d)
		if d.Progress.Stopped == 0 {
			d.Progress.Stopped, d.Progress.Error = uint64(nowMillis()), doubtRestored
		}
		return protocol.Encode(&d), err
	case kindSource:
		var d sourceDoc
		err := protocol.Decode(value, maxDocument, &d)
		if !d.Paused {
			d.Paused, d.Doubted = true, true
		}
		return protocol.Encode(&d), err
	}
	return value, nil
}

func (t *restorer) feed(f *protocol.BackupFeed) error {
	t.at = f
	return t.do(256, 1, func(tx *store.Tx) error { return tx.PutFeed(&store.Feed{ID: f.Head.Feed, Origin: f.Origin}) })
}

func (t *restorer) epoch(ep *store.Epoch) error {
	feed := t.at.Head.Feed
	return t.do(256+len(ep.Audience)*32+len(ep.Granted)*64, 1, func(tx *store.Tx) error { return tx.PutEpoch(feed, ep) })
}

func (t *restorer) entry(env *crypto.VerifiedEnvelope, e *protocol.BackupEntry) error {
	if err := t.do(len(env.Raw)+256, 6, func(tx *store.Tx) error { return loadEntry(tx, env, e) }); err != nil {
		return err
	}
	for _, b := range e.Blocks {
		// What its records are found by takes less than the block, mostly.
		if err := t.do(2*len(b.Block)+4096, 16, func(tx *store.Tx) error { return t.index.LoadBlock(tx, b.Cursor, b.Block) }); err != nil {
			return err
		}
	}
	return nil
}

func loadEntry(tx *store.Tx, env *crypto.VerifiedEnvelope, e *protocol.BackupEntry) error {
	feed, seq := env.Header.Feed, env.Header.Seq
	for _, tomb := range e.Tomb {
		if _, err := tx.Erase(feed, seq, &store.Tomb{Statement: tomb.Statement, Reason: tomb.Reason, At: tomb.At}); err != nil {
			return err
		}
	}
	if _, err := tx.Append(env); err != nil {
		return err
	}
	if e.Absent == uint8(store.Evicted) {
		if err := tx.MarkEvicted(feed, seq); err != nil {
			return err
		}
	}
	return tx.SetEntryState(feed, seq, store.EntryState(e.State), e.Reason)
}

func (t *restorer) feedEnd() error {
	f := t.at
	return t.do(256, 1, func(tx *store.Tx) error {
		have, err := tx.Feed(f.Head.Feed)
		if err != nil || have == nil {
			return err
		}
		have.Opened, have.SealedAt, have.Frozen = f.Opened, f.SealedAt, f.Frozen
		return tx.PutFeed(have)
	})
}

func (t *restorer) mark(k, v []byte) error {
	k, v = slices.Clone(k), slices.Clone(v)
	return t.do(len(k)+len(v), 1, func(tx *store.Tx) error { return t.index.LoadMark(tx, k, v) })
}
