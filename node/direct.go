package node

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// What not every member may store, not even sealed, travels in direct feeds: their topic states who
// may, and they are gossiped to nobody. A node tells of them, and serves them, to nodes of the
// organisations on the roster alone, whatever it is asked; it takes none of which its own
// organisation is not on the roster. Otherwise they are feeds like any.

// directTopic is a direct topic that is held, verified.
type directTopic struct {
	protocol.DirectTopic
	id     protocol.TopicID
	hash   protocol.Hash // of the statement, its name in the sets
	signed protocol.Signed
}

func newDirectTopic(d *protocol.DirectTopic, signed *protocol.Signed) *directTopic {
	return &directTopic{DirectTopic: *d, id: d.ID(), hash: signed.Hash(), signed: *signed}
}

// loadDirects reads the direct topics. Cards, members and topics must have been read before.
func (n *Node) loadDirects(tx *store.Tx, s *snapshot) error {
	return scanDocs(tx, kindDirect, func(_ []byte, signed *protocol.Signed) error {
		var d protocol.DirectTopic
		if err := protocol.Decode(signed.Statement, protocol.MaxDirectSize, &d); err != nil {
			return err
		}
		t := newDirectTopic(&d, signed) // verified when it came
		s.directs[t.id] = t
		if _, in := s.topics[protocol.NewTopicID(s.network, d.Name)]; in && s.shares(t.id, n.org) {
			s.topics[t.id] = d.Name
		}
		return nil
	})
}

// shares reports whether an organisation may be told of the feeds of a topic, and be given them: of
// a direct one only who is on its roster, is a member, and satisfies the bounds by the card that is
// known here.
func (s *snapshot) shares(topic protocol.TopicID, org protocol.OrgID) bool {
	if !topic.Direct() {
		return true
	}
	d := s.directs[topic]
	if d == nil || !slices.Contains(d.Roster, org) || !s.members[org] {
		return false
	}
	country := ""
	if c := s.cards[org]; c != nil {
		country = c.Inception.Country
	}
	return policy.MayHold(d.Bounds, org, country)
}

// whole reports whether everybody on a roster may still hold what is appended: then it is used on.
func (s *snapshot) whole(d *directTopic) bool {
	return !slices.ContainsFunc(d.Roster, func(o protocol.OrgID) bool { return !s.shares(d.id, o) })
}

// takeDirects keeps direct topics that a peer sent: those on whose roster this organisation is. What
// is not for it is not kept, whoever sends it.
func (n *Node) takeDirects(list []protocol.Signed) (out taken, err error) {
	var fresh []*directTopic
	s := n.snap.Load()
	for i := range list {
		d, err := crypto.VerifyDirectTopic(s.network, &list[i])
		if err != nil {
			n.log.Warn("leaving out a direct topic", "err", err)
			out.left++
			continue
		}
		t := newDirectTopic(d, &list[i])
		sg, known := s.signers[d.Author]
		switch {
		case s.directs[t.id] != nil:
		case !slices.Contains(d.Roster, n.org):
			n.log.Warn("leaving out a direct topic: this organisation is not on its roster", "topic", t.id)
		case !known || !s.members[sg.org] || !slices.Contains(d.Roster, sg.org):
			out.left++ // its author's card may still come
		default:
			fresh = append(fresh, t)
		}
	}
	if len(fresh) == 0 {
		return out, nil
	}
	err = n.learn(func(tx *store.Tx) error {
		out.kept = 0
		count := map[protocol.SigningKey]int{}
		if err := scanDocs(tx, kindDirect, func(_ []byte, signed *protocol.Signed) error {
			for _, sig := range signed.Sigs {
				count[sig.Key]++
			}
			return nil
		}); err != nil {
			return err
		}
		for _, t := range fresh {
			if count[t.Author]++; count[t.Author] > protocol.MaxDirectTopics {
				n.log.Warn("leaving out a direct topic: its author has as many as are held of one node", "topic", t.id)
				continue
			}
			if err := putDoc(tx, kindDirect, t.id[:], &t.signed); err != nil {
				return err
			}
			out.kept++
		}
		return nil
	})
	return out, err
}

// errNoDirect says that an append needs a direct topic that this node has not stated yet.
type errNoDirect struct {
	name string
	way  policy.Way
}

func (e *errNoDirect) Error() string { return "a direct topic is to be stated first" }

// makeDirect states a direct topic. It is durable before anything is appended to it, and means
// nothing until something is.
func (n *Node) makeDirect(e *errNoDirect) error {
	s := n.snap.Load()
	d := &protocol.DirectTopic{Version: 1, Network: s.network, Author: n.keys.Signing.Public(), Name: e.name, Roster: e.way.Roster, Bounds: e.way.Bounds}
	rand.Read(d.Nonce[:])
	signed, err := crypto.SignDirectTopic(d, n.keys.Signing)
	if err != nil {
		return err
	}
	out, err := n.takeDirects([]protocol.Signed{signed})
	if err == nil && out.kept == 0 {
		err = protocol.Errorf(protocol.ErrOversize, "this node has stated %d direct topics, as many as others hold of one node; take restrictions of holders out of agreements that no longer need them, or publish by another node", protocol.MaxDirectTopics)
	}
	return err
}

// ownDirect finds the direct topic of this node for a way; nil if there is none.
func (s *snapshot) ownDirect(author protocol.SigningKey, name string, w *policy.Way) (found *directTopic) {
	for _, d := range s.directs {
		if d.Author == author && d.Name == name && slices.Equal(d.Roster, w.Roster) && slices.EqualFunc(d.Bounds, w.Bounds, sameBound) &&
			(found == nil || slices.Compare(d.id[:], found.id[:]) < 0) {
			found = d
		}
	}
	return found
}

func sameBound(a, b protocol.Bound) bool { return protocol.CompareBounds(a, b) == 0 }

// route is an append to one feed of those that one publication goes to, and for whom.
type route struct {
	*appender
	orgs []protocol.OrgID
}

// routes divides an audience by the feeds that it is reached in. What was in a direct feed before,
// of the topic given, if any, stays in it as long as everybody on its roster may hold it.
func (a *appender) routes(audience []policy.OrgDecision, before *directTopic) (out []route, err error) {
	if before != nil && !slices.ContainsFunc(audience, func(d policy.OrgDecision) bool { return d.Decision.Allow }) {
		r, err := a.alone(before)
		return []route{r}, err
	}
	if before != nil && before.Author == a.n.keys.Signing.Public() && before.Name == a.topic && a.snap.whole(before) {
		stays, rest := policy.Way{Roster: before.Roster, Bounds: before.Bounds}, []policy.OrgDecision{}
		for _, d := range audience {
			if d.Decision.Allow && len(d.Decision.Bounds) > 0 && slices.Contains(before.Roster, d.Org) && within(d.Decision.Bounds, before.Bounds) {
				stays.Orgs = append(stays.Orgs, d.Org)
			} else {
				rest = append(rest, d)
			}
		}
		if len(stays.Orgs) > 0 {
			slices.SortFunc(stays.Orgs, protocol.OrgID.Compare)
			sub, err := a.in(&stays)
			if err != nil {
				return nil, err
			}
			out = append(out, route{sub, stays.Orgs})
			if !slices.ContainsFunc(rest, func(d policy.OrgDecision) bool { return d.Decision.Allow }) {
				return out, nil
			}
		}
		audience = rest
	}
	for _, w := range policy.Ways(a.snap.policy, audience) {
		sub, err := a.in(&w)
		if err != nil {
			return nil, err
		}
		out = append(out, route{sub, w.Orgs})
	}
	return out, nil
}

// within reports whether all of some bounds are among others.
func within(some, all []protocol.Bound) bool {
	return !slices.ContainsFunc(some, func(b protocol.Bound) bool {
		return !slices.ContainsFunc(all, func(o protocol.Bound) bool { return sameBound(o, b) })
	})
}

// routesTo is routes for organisations that had something from here, in a feed of a topic, and are
// to be told of it. Who may not hold it any more, or is no member, is told in the feed that every
// member holds: what is told names records, and holds none.
func (a *appender) routesTo(orgs []protocol.OrgID, before *directTopic) ([]route, error) {
	var list []policy.OrgDecision
	for _, o := range orgs {
		d := policy.OrgDecision{Org: o, Decision: policy.Decision{Allow: true}}
		if before != nil && a.snap.shares(before.id, o) && a.snap.policy.MayHold(before.Bounds, a.n.org) {
			d.Decision.Bounds = before.Bounds
		}
		list = append(list, d)
	}
	return a.routes(list, before)
}

// alone is the route for what nobody but this organisation reads, of what was in a direct feed.
func (a *appender) alone(before *directTopic) (route, error) {
	way := policy.Way{Roster: []protocol.OrgID{a.n.org}, Bounds: before.Bounds}
	if before.Author == a.n.keys.Signing.Public() && before.Name == a.topic && a.snap.whole(before) {
		way.Roster = before.Roster
	}
	sub, err := a.in(&way)
	return route{sub, nil}, err
}

// in returns the append to the feed for a way, of the same publication.
func (a *appender) in(w *policy.Way) (*appender, error) {
	if !w.Direct() {
		return a.root, nil
	}
	d := a.snap.ownDirect(a.n.keys.Signing.Public(), a.topic, w)
	if d == nil {
		return nil, &errNoDirect{a.topic, *w}
	}
	for _, sub := range a.root.subs {
		if sub.id == d.id {
			return sub, nil
		}
	}
	sub, err := a.n.newAppender(a.snap, a.topic, d.id)
	if err != nil {
		return nil, err
	}
	sub.root, sub.target = a.root, a.root.target
	a.root.subs = append(a.root.subs, sub)
	return sub, nil
}

// directOf returns the direct topic of a feed; nil if it is none, or not known.
func (n *Node) directOf(s *snapshot, feed protocol.FeedID) *directTopic {
	if topic, ok := n.directFeeds.Load(feed); ok {
		return s.directs[topic.(protocol.TopicID)]
	}
	return nil
}

// boundsOf returns what binds everybody who holds what stands in a feed.
func (n *Node) boundsOf(s *snapshot, feed protocol.FeedID) []protocol.Bound {
	if d := n.directOf(s, feed); d != nil {
		return d.Bounds
	}
	return nil
}

// noteDirect remembers of which topic a feed is, if that is a direct one. It follows from the feed,
// so that it does not matter what becomes of the transaction.
func (n *Node) noteDirect(f *store.Feed) {
	if f.Origin.Topic.Direct() {
		n.directFeeds.Store(f.ID, f.Origin.Topic)
	}
}

// directNotice is what is told of the feeds of a direct topic, to those on its roster alone.
type directNotice struct {
	topic  protocol.TopicID
	notice protocol.Notice
}

// split takes out of a notice what is about direct topics.
func split(m *protocol.Notice) (public *protocol.Notice, direct []directNotice) {
	public = &protocol.Notice{Version: m.Version}
	of := func(topic protocol.TopicID) *protocol.Notice {
		if !topic.Direct() {
			return public
		}
		for i := range direct {
			if direct[i].topic == topic {
				return &direct[i].notice
			}
		}
		direct = append(direct, directNotice{topic: topic})
		return &direct[len(direct)-1].notice
	}
	for i := range m.Heads {
		var h protocol.Head
		if protocol.Decode(m.Heads[i].Statement, protocol.MaxStatementSize, &h) == nil {
			to := of(h.Origin.Topic)
			to.Heads = append(to.Heads, m.Heads[i])
		}
	}
	for i := range m.Forks {
		to := of(m.Forks[i].Origin.Topic)
		to.Forks = append(to.Forks, m.Forks[i])
	}
	for i := range m.Erases {
		var e protocol.Erase
		if protocol.Decode(m.Erases[i].Statement, protocol.MaxStatementSize, &e) == nil {
			to := of(e.Origin.Topic)
			to.Erases = append(to.Erases, m.Erases[i])
		}
	}
	return public, direct
}

// inOrder puts items of the sets in the order in which a file that cannot be asked again has to bring
// them: direct topics after the cards of their authors, and what is about them after the topics.
func (n *Node) inOrder(hashes []protocol.Hash) []protocol.Hash {
	place := map[protocol.Hash]int{}
	for _, d := range n.snap.Load().directs {
		place[d.hash] = 1
	}
	for _, h := range n.evidence.hashesOf(protocol.TopicID.Direct) {
		place[h] = 2
	}
	out := slices.Clone(hashes)
	slices.SortStableFunc(out, func(a, b protocol.Hash) int { return place[a] - place[b] })
	return out
}

// tellTimeout bounds how long one peer is told of a direct feed, and tellAtOnce for how many topics
// peers are told at a time: one that does not answer must not keep others from being told.
const (
	tellTimeout = 10 * time.Second
	tellAtOnce  = 16
)

// tellLoop tells connected peers on the rosters of direct topics what happened in their feeds. Whoever
// is not told finds it out by comparing.
func (net *network) tellLoop(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, tellAtOnce)
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-net.tells:
			room <- struct{}{}
			wg.Go(func() {
				net.tell(ctx, &d)
				<-room
			})
		}
	}
}

func (net *network) tell(ctx context.Context, d *directNotice) {
	s := net.n.snap.Load()
	topic := s.directs[d.topic]
	if topic == nil {
		return
	}
	var wg sync.WaitGroup
	for _, p := range net.mesh.Peers() {
		if !s.shares(d.topic, p.Org) {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, tellTimeout)
			defer cancel()
			_, err := net.mesh.Ask(ctx, p.Node, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncDirect, Directs: []protocol.Signed{topic.signed},
				Heads: d.notice.Heads, Forks: d.notice.Forks, Erases: d.notice.Erases})
			if err != nil && ctx.Err() == nil {
				net.n.log.Debug("telling a peer of a direct feed failed; it finds out when it compares", "node", p.Node, "err", err)
			}
		})
	}
	wg.Wait()
}

// serveDirect takes what a peer tells of direct feeds, and has it compared with.
func (net *network) serveDirect(remote protocol.NodeID, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	n := net.n
	if len(m.Directs) > protocol.MaxNoticeItems || len(m.Heads) > protocol.MaxNoticeItems || len(m.Forks) > protocol.MaxNoticeItems || len(m.Erases) > protocol.MaxNoticeItems {
		return nil, protocol.Errorf(protocol.ErrOversize, "message tells more than %d things of a kind of direct feeds", protocol.MaxNoticeItems)
	}
	got, err := n.takeDirects(m.Directs)
	if err != nil {
		return nil, err
	}
	_, gap, err := n.takeHeads(m.Heads)
	if err == nil && len(m.Forks) > 0 {
		_, err = n.takeForks(m.Forks)
	}
	if err == nil && len(m.Erases) > 0 {
		_, err = n.takeErases(m.Erases)
	}
	if err != nil {
		return nil, err
	}
	if gap || got.kept+got.left > 0 { // what is left out may come with a card that the other has
		net.told(remote)
	}
	return &protocol.SyncMessage{Version: 1, Kind: protocol.SyncDirect}, nil
}

// maxDirectPeers is how many nodes beyond maxDegree are dialled because only they, or others of
// their organisations, have direct feeds for this node, or are to have those of this node.
const maxDirectPeers = 32

// directOrgs lists the other organisations with which this one shares a direct topic.
func (s *snapshot) directOrgs(self protocol.OrgID) map[protocol.OrgID]bool {
	out := map[protocol.OrgID]bool{}
	for id, d := range s.directs {
		if s.topics[id] == "" {
			continue
		}
		for _, o := range d.Roster {
			if o != self && !out[o] && s.shares(id, o) {
				out[o] = true
			}
		}
	}
	return out
}

// directPeer chooses a connected peer with which a direct topic is shared.
func (net *network) directPeer() (out []protocol.NodeID) {
	shared := net.n.snap.Load().directOrgs(net.n.org)
	if len(shared) == 0 {
		return nil
	}
	peers := slices.DeleteFunc(net.mesh.Peers(), func(p mesh.PeerInfo) bool { return !shared[p.Org] })
	if len(peers) == 0 {
		return nil
	}
	return []protocol.NodeID{peers[net.directTurn.Add(1)%uint64(len(peers))].Node}
}

// notInDirect is why an entry of a direct topic is not stored.
func (s *snapshot) notInDirect(topic protocol.TopicID) error {
	if d := s.directs[topic]; d != nil {
		return protocol.Errorf(protocol.ErrNoAgreement, "entry of a direct feed: this node is not in topic %q, or its organisation may not hold it any more", d.Name)
	}
	return protocol.Errorf(protocol.ErrNoAgreement, "entry of a direct feed: this organisation is not on the roster of its topic %s, or was not told of it", topic)
}

// needsDirect returns the direct topic that an append asks for.
func needsDirect(err error) *errNoDirect {
	var e *errNoDirect
	if errors.As(err, &e) {
		return e
	}
	return nil
}
