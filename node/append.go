package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// errGeneration is returned by a commit if agreements, cards or roster changed since the
// decision; the append is then decided anew.
var errGeneration = errors.New("decided under an older state")

// appender collects the entries of one publication in one own feed. Nothing of it is
// visible, to peers or to this node, before commit.
type appender struct {
	n        *Node
	snap     *snapshot
	topic    string
	id       protocol.TopicID // of topic, or of the direct topic
	root     *appender        // of the publication: the append to the feed that every member holds; itself
	subs     []*appender      // of the root: those to direct feeds
	feed     *store.Feed
	sealedAt uint64
	epochs   *epochSet
	envs     []*crypto.VerifiedEnvelope
	sealed   map[uint64]*openedBody // what some of them hold, by seq
	target   int                    // bytes of objects that are put into one envelope at first

	// What was found out under snap holds to the end of the append.
	partners    map[protocol.OrgID]*agreement // in force; nil: not looked yet
	sound       map[uint64]bool               // epochs whose key went to nobody who is not due it
	granted     map[uint64]bool               // epochs whose key went to everybody who is
	coveredOrgs []protocol.OrgID              // the last audience
	covered     []*store.Epoch                // what it was covered by

	caller    Caller          // of the root: who has it sealed anew; zero: the node does by itself
	excluding []protocol.Hash // exclusions of records that are passed on
	onward    *onwardBody     // what was opened last to be passed on

	// onCommit run in the committing transaction.
	onCommit []func(tx *store.Tx) error
}

// all lists the appends of the publication that added entries.
func (a *appender) all() (out []*appender) {
	for _, x := range append([]*appender{a.root}, a.root.subs...) {
		if len(x.envs) > 0 {
			out = append(out, x)
		}
	}
	return out
}

// append runs build on this node's feed in topic and commits what it added, there and in direct
// feeds: all or nothing. If the state that build decided from changed meanwhile, build runs again.
func (n *Node) append(topic string, build func(*appender) error) error {
	return n.appendIn(topic, protocol.TopicID{}, build)
}

// appendIn is append, for a feed of a direct topic of that name if id is not zero.
func (n *Node) appendIn(topic string, id protocol.TopicID, build func(*appender) error) error {
	if err := n.room.check(); err != nil {
		return err
	}
	n.appendMu.Lock()
	defer n.appendMu.Unlock()
	for {
		err := n.appendOnce(topic, id, build)
		if need := needsDirect(err); need != nil {
			if err := n.makeDirect(need); err != nil {
				return fmt.Errorf("stating a direct topic: %w", err)
			}
			continue
		}
		if !errors.Is(err, errGeneration) {
			return err
		}
	}
}

func (n *Node) appendOnce(topic string, id protocol.TopicID, build func(*appender) error) error {
	s := n.snap.Load()
	if s.network == protocol.NoNetwork {
		return ErrNoNetwork
	}
	if err := s.enrolled(n.org, n.ID()); err != nil {
		return err
	}
	if id == (protocol.TopicID{}) {
		id = protocol.NewTopicID(s.network, topic)
	}
	a, err := n.newAppender(s, topic, id)
	if err != nil {
		return err
	}
	if err := build(a); err != nil || len(a.all()) == 0 {
		return err
	}
	return a.commit()
}

func (n *Node) newAppender(s *snapshot, topic string, id protocol.TopicID) (*appender, error) {
	a := &appender{n: n, snap: s, topic: topic, id: id, target: rawTarget, sealed: map[uint64]*openedBody{}, sound: map[uint64]bool{}, granted: map[uint64]bool{}}
	a.root = a
	err := n.st.Update(func(tx *store.Tx) (err error) {
		if a.feed, err = n.ownFeed(tx, s.network, id); err == nil {
			a.epochs, err = loadEpochs(tx, a.feed.ID)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading own feed: %w", err)
	}
	n.noteDirect(a.feed)
	if err := n.checkAnchor(a.feed); err != nil {
		return nil, err
	}
	// Never falls within a feed, whatever the clock does.
	now := n.nowMillis()
	if a.feed.SealedAt > now+protocol.MaxClockSkew {
		return nil, fmt.Errorf("%w: it is %s, and this node stated %s in topic %s", ErrClock, millis(now).Format(time.RFC3339), millis(a.feed.SealedAt).Format(time.RFC3339), topic)
	}
	if err := n.believeClock(); err != nil {
		return nil, err
	}
	a.sealedAt = max(now, a.feed.SealedAt)
	return a, nil
}

// nextSeq returns the seq that the next added entry will have.
func (a *appender) nextSeq() uint64 { return a.feed.Seq + uint64(len(a.envs)) + 1 }

// header returns what the next entry of a kind will be bound to, for sealing its body.
func (a *appender) header(kind protocol.EntryKind) *protocol.Header {
	return &protocol.Header{Version: 1, Suite: protocol.Suite1, Kind: kind, Feed: a.feed.ID, Seq: a.nextSeq()}
}

// add signs the next entry.
func (a *appender) add(kind protocol.EntryKind, body []byte) error {
	prev := a.feed.Hash
	if len(a.envs) > 0 {
		prev = a.envs[len(a.envs)-1].Hash
	}
	env, err := crypto.SignEnvelope(a.snap.network, a.feed.Origin, kind, a.nextSeq(), prev, body, a.n.keys.Signing)
	if err != nil {
		return fmt.Errorf("signing entry: %w", err)
	}
	a.envs = append(a.envs, env)
	return nil
}

// commit makes the publication durable, in all of its feeds at once, then visible, then announces
// it. It returns errGeneration, and leaves nothing, if the state changed since it was decided.
func (a *appender) commit() error {
	n := a.n
	parts := a.all()
	for _, p := range parts {
		if err := n.st.Stage(p.feed.ID, p.envs); err != nil {
			return errors.Join(fmt.Errorf("storing entries: %w", err), n.st.DropStaged())
		}
	}
	n.stateMu.RLock()
	current := n.snap.Load().generation == a.snap.generation
	var err error
	if current {
		certain := true // that nothing was committed, if it fails
		heads := make([]store.Feed, len(parts))
		for i, p := range parts {
			last := p.envs[len(p.envs)-1]
			heads[i] = *p.feed
			heads[i].Seq, heads[i].Hash, heads[i].SealedAt = last.Header.Seq, last.Hash, p.sealedAt
			// First the anchor, then the store: if the process ends in between, the feed is closed
			// at the next start, because nobody can know that nobody saw the entries.
			if err == nil {
				err = n.setAnchor(&heads[i])
			}
		}
		if err == nil {
			err = n.st.Update(func(tx *store.Tx) error {
				certain = true
				for _, p := range append([]*appender{a}, a.subs...) {
					for _, fn := range p.onCommit {
						if err := fn(tx); err != nil {
							return err
						}
					}
				}
				for i, p := range parts {
					if err := p.write(tx, &heads[i]); err != nil {
						return err
					}
				}
				certain = false
				return nil
			})
		}
		if err != nil && certain {
			err = errors.Join(err, n.takeBackAnchor(parts))
		}
	}
	n.stateMu.RUnlock()
	if !current || err != nil {
		if derr := n.st.DropStaged(); derr != nil {
			return derr
		}
		if err == nil {
			err = errGeneration
		}
		return err
	}
	for _, p := range parts {
		if net := n.net.Load(); net != nil {
			if p.id.Direct() {
				net.stateHeads(p.feed.ID)
			} else {
				net.announce(p.topic, p.feed.ID, p.envs)
			}
		}
		// It is durable and acknowledged whatever happens now; an opening that fails stays due.
		if err := n.gate.openSealed(p.feed.ID, p.nextSeq()-1, p.sealed); err != nil {
			n.log.Error("indexing own records failed; it is tried again", "err", err)
			n.counters.failed.Add(1)
		}
	}
	return nil
}

// takeBackAnchor puts the marks of an append back of which it is certain that nobody saw anything: its commit was
// refused, or failed, before it began. Else the feed would be closed, and a node may have few.
func (n *Node) takeBackAnchor(parts []*appender) error {
	if n.anchor == nil {
		return nil
	}
	var marks []anchor.Mark
	for _, p := range parts {
		marks = append(marks, anchor.Mark{Feed: p.feed.ID, Seq: p.feed.Seq, Hash: p.feed.Hash})
	}
	return n.anchor.TakeBack(marks...)
}

// write moves the head of one feed, with the epochs that go with it.
func (a *appender) write(tx *store.Tx, f *store.Feed) error {
	var inc incarnationDoc
	if _, err := getDoc(tx, kindFeedNumber, f.Origin.Topic[:], &inc); err != nil {
		return err
	}
	if inc.Incarnation != f.Origin.Incarnation {
		return errClosed
	}
	if err := a.epochs.store(tx); err != nil {
		return err
	}
	return tx.CommitStaged(f)
}
