package node

import (
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Metrics are the numbers of a node for monitoring. They hold names of topics, which are
// local configuration, and nothing of a record or of another organisation. The cost does
// not grow with the number of entries or records.
type Metrics struct {
	Started    time.Time
	Online     bool
	Ready      bool
	IndexRead  bool // searches read what they find, and nothing in vain: a while after the node came up
	Connected  int
	Members    int
	Agreements int
	OwnNodes   int       // other nodes of this organisation
	OwnUp      int       // of them, connected now
	OwnSame    int       // of them, held nothing that is lacking here when they were last compared with
	CardEnds   time.Time // when the own card ceases to be fresh; zero if there is none
	Records    uint64    // readable
	OnlyHere   uint64    // own entries of which nobody else signed to hold a copy
	Erasures   AskCounts
	Holds      int // legal holds that stand
	Sources    SourceStatus
	Disk       DiskStatus
	Topics     map[string]TopicMetrics // letters are the topic "control"

	Rejected, Ignored, Dropped, Failed uint64 // gossip; storing
	Duplicates                         uint64 // gossiped entries that came once more
	Published, Appended, Erased        uint64 // own records, own entries with them, erases applied
	Decided                            uint64 // decisions made, about whom to send to and what came: those of classes not decided before
	Syncs, SyncFailed                  uint64
	Synced                             time.Time // the last comparison that was done to its end; zero: none yet

	Reach *ReachStatus // how peers are reached; nil: not on line

	Mirror *corpus.MirrorStatus // the database that follows the corpus; nil: there is none
}

// TopicMetrics are the numbers of one topic.
type TopicMetrics struct {
	Feeds, Gaps, Silent, Forked      int
	Held, Pending, Missing, Awaiting uint64
}

// Metrics reads the numbers.
func (n *Node) Metrics() (Metrics, error) {
	s := n.snap.Load()
	c := &n.counters
	m := Metrics{Started: time.UnixMilli(n.started), Online: n.Online(), Ready: len(n.Ready()) == 0, IndexRead: c.warm.Load(), Members: len(s.members), Disk: n.diskStatus(),
		Topics: map[string]TopicMetrics{}, Rejected: c.rejected.Load(), Ignored: c.ignored.Load(), Dropped: c.dropped.Load(), Failed: c.failed.Load(), Duplicates: c.duplicates.Load(),
		Published: c.published.Load(), Appended: c.appended.Load(), Erased: c.erased.Load(), Decided: n.cache.Made(), Syncs: c.syncs.Load(), SyncFailed: c.syncFailed.Load()}
	m.Mirror, m.Reach = n.mirrorStatus(), n.reachStatus(s)
	if at := c.synced.Load(); at != 0 {
		m.Synced = time.UnixMilli(at)
	}
	if net := n.net.Load(); net != nil {
		m.Connected = len(net.mesh.Peers())
	}
	for _, o := range n.OwnNodes() {
		if o.This || o.Removed != nil {
			continue
		}
		m.OwnNodes++
		if o.Connected {
			m.OwnUp++
		}
		if o.Same {
			m.OwnSame++
		}
	}
	if card := s.cards[n.org]; card != nil {
		m.CardEnds = time.UnixMilli(int64(card.FreshUntil))
	}
	for _, a := range s.agreements {
		if n.agreementInfo(s, a).State == AgreementInForce {
			m.Agreements++
		}
	}
	pending := map[string]uint64{}
	err := n.st.View(func(tx *store.Tx) error {
		count, err := corpus.Count(tx)
		m.Records = count.Records
		if err != nil {
			return err
		}
		return tx.Feeds(func(f *store.Feed) error {
			pending[metricTopic(s.topics[f.Origin.Topic])] += f.Seq - min(f.Opened, f.Seq)
			return nil
		})
	})
	if err != nil {
		return m, err
	}
	if m.OnlyHere, err = n.onlyHere(); err != nil {
		return m, err
	}
	if m.Erasures, err = n.askCounts(); err != nil {
		return m, err
	}
	if m.Holds, err = n.countHolds(); err != nil {
		return m, err
	}
	if m.Sources, err = n.sourceStatus(nil); err != nil {
		return m, err
	}
	feeds, err := n.Feeds()
	for i := range feeds {
		f := &feeds[i]
		name := metricTopic(f.Topic)
		t := m.Topics[name]
		t.Feeds++
		t.Held += f.Held
		t.Missing += f.Missing
		t.Awaiting += uint64(f.Awaiting + f.Unjudged)
		t.Pending = pending[name]
		if f.Missing > 0 {
			t.Gaps++
		}
		if f.Silent {
			t.Silent++
		}
		if f.Forked != 0 {
			t.Forked++
		}
		m.Topics[name] = t
	}
	return m, err
}

func metricTopic(name string) string {
	if name == protocol.ControlTopic {
		return "control"
	}
	return name
}

// Ready lists what keeps the node from serving; empty if it serves.
func (n *Node) Ready() []string {
	var reasons []string
	if n.snap.Load().network == protocol.NoNetwork {
		reasons = append(reasons, ErrNoNetwork.Error())
	} else if !n.Online() {
		reasons = append(reasons, "the node is not on the network")
	}
	if err := n.Enrolled(); err != nil {
		reasons = append(reasons, err.Error())
	}
	if err := n.usable(); err != nil {
		reasons = append(reasons, err.Error())
	}
	if err := n.room.check(); err != nil {
		reasons = append(reasons, err.Error())
	}
	return reasons
}

// Healthy returns an error if the store cannot be read.
func (n *Node) Healthy() error {
	return n.st.View(func(tx *store.Tx) error {
		_, err := corpus.Count(tx)
		return err
	})
}
