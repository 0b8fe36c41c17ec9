package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Keys may arrive late: a card that was not fresh, a node that was added. What is sealed under
// them waits, its reader asks its publisher why, and it opens by itself when the key comes.

// grantLate appends the grants that have become due since their epochs were made: to nodes
// added to organisations that are in, and to organisations none of whose nodes could be
// given a key at the time.
func (n *Node) grantLate() error {
	s := n.snap.Load()
	if s.network == protocol.NoNetwork {
		return nil
	}
	for id, topic := range s.topics {
		if topic == protocol.ControlTopic || !n.hasFeed(id) {
			continue
		}
		var feed protocol.FeedID
		err := n.appendIn(topic, id, func(a *appender) error {
			feed = a.feed.ID
			for _, ep := range a.epochs.all {
				before := len(ep.Granted)
				if orgs := a.dueLate(ep); len(orgs) > 0 {
					if err := a.grantTo(ep, orgs, anyNode, false); err != nil {
						return err
					}
				}
				for _, q := range n.asked.of(a.feed.ID) {
					again := a.dueAgain(ep, q)
					if again || a.dueAsked(ep, q.node, q.org) {
						if err := a.grantTo(ep, []protocol.OrgID{q.org}, func(id protocol.NodeID) bool { return id == q.node }, again); err != nil {
							return err
						}
					}
				}
				if late := ep.Granted[before:]; len(late) > 0 {
					a.auditGrant(ep, ep.First, late)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		n.asked.servedAgain(feed)
	}
	return nil
}

// keyRequests are the nodes that asked for the keys of own feeds, in memory: who does not get
// an answer asks again.
type keyRequests struct {
	mu    sync.Mutex
	feeds map[protocol.FeedID]map[protocol.NodeID]keyRequest
}

// add notes that a node asked. It is called for nodes on the cards of members alone, and for
// own feeds, so there are not many.
func (k *keyRequests) add(feed protocol.FeedID, q keyRequest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.feeds == nil {
		k.feeds = map[protocol.FeedID]map[protocol.NodeID]keyRequest{}
	}
	if k.feeds[feed] == nil {
		k.feeds[feed] = map[protocol.NodeID]keyRequest{}
	}
	k.feeds[feed][q.node] = q
}

// servedAgain forgets what keys nodes lacked that they had been granted before: that is answered
// once, since they hold others by then.
func (k *keyRequests) servedAgain(feed protocol.FeedID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for node, q := range k.feeds[feed] {
		q.again, q.has = false, nil
		k.feeds[feed][node] = q
	}
}

type keyRequest struct {
	node  protocol.NodeID
	org   protocol.OrgID
	again bool       // keys that it was granted before are lost to it,
	has   heldEpochs // but for these
}

// heldEpochs are numbers of epochs of one feed whose keys a reader has.
type heldEpochs []protocol.PullRange

func (h heldEpochs) has(number uint64) bool {
	return slices.ContainsFunc(h, func(r protocol.PullRange) bool { return r.From <= number && number-r.From < uint64(r.Count) })
}

// of returns the nodes that asked about a feed, in one order.
func (k *keyRequests) of(feed protocol.FeedID) (out []keyRequest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, q := range k.feeds[feed] {
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b keyRequest) int { return bytes.Compare(a.node[:], b.node[:]) })
	return out
}

// maxAskedGrants is how many nodes of an organisation of its audience an epoch that is not used
// any more is handed out to on request: who puts one node after the other on its card must not make
// a feed grow without end, nor take what is left to others.
const maxAskedGrants = 2 * protocol.MaxNodes

// dueAsked reports whether a node that asked for it is due the key of an epoch that holds
// something and goes to nobody by itself any more: its organisation was in the audience, and
// may have given it to other nodes than this one. A node that was restored from a backup, or
// is the only one left, has no sibling to ask.
func (a *appender) dueAsked(ep *store.Epoch, node protocol.NodeID, org protocol.OrgID) bool {
	card := a.snap.cards[org]
	return ep.Used > 0 && (ep.Retired || a.overGranted(ep)) && slices.Contains(ep.Audience, org) && card != nil && card.Node(node) != nil && roomToAsk(ep, org)
}

// dueAgain reports whether a node is due a key once more: it was granted it under a recipient that it
// has no more, and says that it could not open that. Its identity was destroyed before the grant came.
func (a *appender) dueAgain(ep *store.Epoch, q keyRequest) bool {
	return q.again && ep.Used > 0 && !q.has.has(ep.Number) && a.grantedBefore(ep, q.node) && slices.Contains(ep.Audience, q.org) && roomToAsk(ep, q.org)
}

// grantedBefore reports whether a node was given a key, and not under its present recipient.
func (a *appender) grantedBefore(ep *store.Epoch, node protocol.NodeID) bool {
	before := false
	for _, g := range ep.Granted {
		if g.Node == node {
			if a.grantedNow(g) {
				return false
			}
			before = true
		}
	}
	return before
}

func roomToAsk(ep *store.Epoch, org protocol.OrgID) bool { return ep.Count(org) < maxAskedGrants }

// hasFeed reports whether this node appended anything in a topic.
func (n *Node) hasFeed(id protocol.TopicID) (has bool) {
	err := n.st.View(func(tx *store.Tx) (err error) {
		has, err = getDoc(tx, kindFeedNumber, id[:], &incarnationDoc{})
		return err
	})
	return has && err == nil
}

// dueLate lists the organisations that are due the key of an epoch that holds something. A
// key that is not used any more goes to those that never got it; what a node added later
// needs of old keys, its siblings give it, or it asks for it (dueAsked).
func (a *appender) dueLate(ep *store.Epoch) (orgs []protocol.OrgID) {
	if ep.Used == 0 {
		return nil
	}
	retired := ep.Retired || a.overGranted(ep) // as it will be before it is used again
	for _, org := range append(slices.Clone(ep.Audience), a.n.org) {
		card := a.snap.cards[org]
		if card == nil {
			continue
		}
		if org == a.n.org && (retired || len(card.Nodes) < 2) {
			continue // siblings have it from the comparison with this node
		}
		got := slices.ContainsFunc(ep.Granted, func(g store.Granted) bool { return card.Node(g.Node) != nil })
		if !retired || !got {
			orgs = append(orgs, org)
		}
	}
	return orgs
}

// withheldFrom says what keys of a feed of this node the node that asks does not have, and why.
func (n *Node) withheldFrom(q keyRequest, feed protocol.FeedID) ([]protocol.Withheld, error) {
	node, org := q.node, q.org
	s := n.snap.Load()
	var set *epochSet
	var own bool
	var origin protocol.Origin
	var inUse incarnationDoc
	err := n.st.View(func(tx *store.Tx) error {
		f, err := tx.Feed(feed)
		if err != nil || f == nil {
			return err
		}
		own, origin = f.Origin.Signing == n.keys.Signing.Public() && s.shares(f.Origin.Topic, org), f.Origin
		if _, err := getDoc(tx, kindFeedNumber, origin.Topic[:], &inUse); err != nil {
			return err
		}
		set, err = loadEpochs(tx, feed)
		return err
	})
	if err != nil || !own {
		return nil, err
	}
	a := &appender{n: n, snap: s, epochs: set}
	count := map[string]uint64{}
	for _, ep := range set.all {
		granted := slices.ContainsFunc(ep.Granted, func(g store.Granted) bool { return g.Node == node })
		if !slices.Contains(ep.Audience, org) || granted && !(q.again && a.grantedBefore(ep, node)) || q.again && q.has.has(ep.Number) {
			continue
		}
		reason := protocol.WithheldSoon
		if inUse.Incarnation != origin.Incarnation {
			reason = protocol.WithheldClosed
		} else if _, ok := a.secretWith(org); !ok {
			reason = protocol.WithheldNoAgreement
		} else if !s.grantable(org, uint64(nowMillis())) {
			reason = protocol.WithheldStaleCard
		} else if (ep.Retired || granted) && !roomToAsk(ep, org) {
			reason = protocol.WithheldNodes
		}
		count[reason] += ep.Used
	}
	var out []protocol.Withheld
	for _, reason := range []string{protocol.WithheldClosed, protocol.WithheldNodes, protocol.WithheldNoAgreement, protocol.WithheldSoon, protocol.WithheldStaleCard} {
		if c := count[reason]; c > 0 {
			out = append(out, protocol.Withheld{Envelopes: c, Reason: reason})
		}
	}
	return out, nil
}

// serveKeys answers a reader that asks for keys that it lacks, and hands out those that are
// due.
func (n *Node) serveKeys(remote protocol.NodeID, org protocol.OrgID, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if len(m.Hashes) != 1 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "request for keys names %d feeds, one is allowed", len(m.Hashes))
	}
	q := keyRequest{node: remote, org: org, again: m.Kind == protocol.SyncKeysAgain}
	if q.again {
		q.has = m.Pull
		if len(q.has) > maxHeldRanges {
			return nil, protocol.Errorf(protocol.ErrOversize, "request for keys names %d ranges of epochs, at most %d", len(q.has), maxHeldRanges)
		}
		if slices.ContainsFunc(q.has, func(r protocol.PullRange) bool { return r.Feed != protocol.FeedID(m.Hashes[0]) }) {
			return nil, protocol.Errorf(protocol.ErrMalformed, "request for keys of one feed names epochs of another")
		}
	}
	list, err := n.withheldFrom(q, protocol.FeedID(m.Hashes[0]))
	if err != nil {
		return nil, err
	}
	for _, w := range list {
		if w.Reason == protocol.WithheldSoon {
			n.asked.add(protocol.FeedID(m.Hashes[0]), q)
			if net := n.net.Load(); net != nil {
				net.wake() // grants what is due
			}
		}
	}
	return &protocol.SyncMessage{Version: 1, Kind: protocol.SyncWithheld, Withheld: list}, nil
}

// askKeysEvery is how often one publisher is asked for missing keys of one feed; soonKeys is
// when it is compared with after it said that it hands them out now. Gossip may lose them.
const (
	askKeysEvery = 5 * time.Minute
	soonKeys     = 2 * time.Second
)

// askKeys asks a publisher's node why what it published does not open here, and notes the
// answer. Entries for others look the same as those whose key is missing, so it asks about
// every feed of a partner in which something did not open.
func (net *network) askKeys(ctx context.Context, peer protocol.NodeID) error {
	n := net.n
	s := n.snap.Load()
	var feeds []protocol.FeedID
	err := n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			sg := s.signers[f.Origin.Signing]
			if sg.node != peer || sg.org == n.org || s.topics[f.Origin.Topic] == protocol.ControlTopic || !s.agreed(n.org, sg.org) {
				return nil
			}
			unopened := false
			for _, state := range []store.EntryState{store.NotForUs, store.AwaitingKey} {
				seqs, err := tx.EntriesIn(f.ID, state)
				if err != nil {
					return err
				}
				unopened = unopened || len(seqs) > 0
			}
			if unopened {
				feeds = append(feeds, f.ID)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	soon, err := net.askOf(feeds, func(m *protocol.SyncMessage) (*protocol.SyncMessage, error) { return net.mesh.Ask(ctx, peer, m) })
	if soon {
		time.AfterFunc(soonKeys, func() { net.syncSoon(peer) })
	}
	return err
}

// askOf asks a publisher about those feeds of it that are due, and reports whether it hands out keys now.
// What fails of one keeps no other from being asked about.
func (net *network) askOf(feeds []protocol.FeedID, ask func(*protocol.SyncMessage) (*protocol.SyncMessage, error)) (soon bool, err error) {
	for _, feed := range feeds {
		net.mu.Lock()
		due := time.Since(net.askedKeys[feed]) >= askKeysEvery
		if due {
			net.askedKeys[feed] = time.Now()
		}
		net.mu.Unlock()
		if !due {
			continue
		}
		one, e := net.n.askPublisher(feed, ask)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("asking for keys of %s: %w", feed.Short(), e))
		}
		soon = soon || one
	}
	return soon, err
}

// askPublisher asks why a feed does not open, and reports whether what lacks is handed out now.
func (n *Node) askPublisher(feed protocol.FeedID, ask func(*protocol.SyncMessage) (*protocol.SyncMessage, error)) (soon bool, err error) {
	m, lost, err := n.askFor(feed)
	if err != nil {
		return false, err
	}
	a, err := ask(m)
	if lost != 0 && errors.Is(err, mesh.ErrNotUnderstood) {
		// A publisher of release 0.1 grants nothing a second time. It still says what else it withholds;
		// what is lost goes on waiting until it was brought up to date.
		lost = 0
		a, err = ask(keyQuestion(feed))
	}
	if err != nil {
		return false, err
	}
	if a.Kind != protocol.SyncWithheld {
		return false, protocol.Errorf(protocol.ErrMalformed, "peer answered a request for keys with a message of kind %d", a.Kind)
	}
	soon = slices.ContainsFunc(a.Withheld, func(w protocol.Withheld) bool { return w.Reason == protocol.WithheldSoon })
	return soon, errors.Join(n.noteWithheld(feed, a.Withheld), n.settleLost(feed, lost, a.Withheld))
}

func (n *Node) noteWithheld(feed protocol.FeedID, list []protocol.Withheld) error {
	return n.st.Update(func(tx *store.Tx) error {
		if len(list) == 0 {
			return tx.Delete(append([]byte(kindWithheld), feed[:]...))
		}
		d := withheldDoc{At: uint64(nowMillis())}
		for _, w := range list {
			d.Envelopes += w.Envelopes
			if d.Reason == "" || w.Reason != protocol.WithheldSoon {
				d.Reason = w.Reason
			}
		}
		d.Envelopes = min(d.Envelopes, 1<<32)
		return putDoc(tx, kindWithheld, feed[:], &d)
	})
}

// agreed reports whether an agreement between two organisations was ever countersigned.
func (s *snapshot) agreed(a, b protocol.OrgID) bool {
	for _, ag := range s.agreements {
		if len(ag.Missing) == 0 && slices.Contains(ag.Parties, a) && slices.Contains(ag.Parties, b) {
			return true
		}
	}
	return false
}
