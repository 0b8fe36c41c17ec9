package node

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// A node states where its own feeds stand, signed, also when nothing happens. So everybody
// knows what it lacks, of whom and since when, without believing anybody but the author; and
// an author that is silent is seen to be.

// headTable holds the newest signed head of every feed.
type headTable struct {
	mu    sync.RWMutex
	known map[protocol.FeedID]*knownHead
	have  map[protocol.FeedID]map[protocol.NodeID]uint64 // what peers said that they hold, where it is more than is held here
	since map[protocol.FeedID]int64                      // when it was first known that something is lacking
	mine  uint64                                         // counter of own heads
}

// knownHead is a signed head, and when it came.
type knownHead struct {
	protocol.Head
	signed protocol.Signed
	at     int64 // Unix milliseconds, by the clock here
	saved  uint64
	most   uint64 // the highest seq that any of its author's heads named
}

func newHeadTable() *headTable {
	return &headTable{known: map[protocol.FeedID]*knownHead{}, have: map[protocol.FeedID]map[protocol.NodeID]uint64{}, since: map[protocol.FeedID]int64{}}
}

func (t *headTable) get(feed protocol.FeedID) *knownHead {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.known[feed]
}

// all lists the heads of topics that may be told of.
func (t *headTable) all(shares func(protocol.TopicID) bool) (out []protocol.Signed) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, h := range t.known {
		if shares(h.Origin.Topic) {
			out = append(out, h.signed)
		}
	}
	return out
}

// claims notes what a peer says that it holds of feeds.
func (t *headTable) claims(peer protocol.NodeID, feed protocol.FeedID, seq, have uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq <= have {
		delete(t.have[feed], peer)
		return
	}
	if t.have[feed] == nil {
		t.have[feed] = map[protocol.NodeID]uint64{}
	}
	t.have[feed][peer] = seq
}

// loadHeads reads the heads that were kept because they said more than was held.
func (n *Node) loadHeads() error {
	network := n.snap.Load().network
	n.heads.mine = uint64(nowMillis()) // above every counter used before, by any process
	return n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindHead, func(_ []byte, s *protocol.Signed) error {
			h, err := crypto.VerifyHead(network, s)
			if err == nil {
				n.heads.known[h.Origin.FeedID(network)] = &knownHead{Head: *h, signed: *s, at: nowMillis(), saved: h.Seq, most: h.Seq}
			}
			return nil
		})
	})
}

// takeHeads keeps the heads that say more than those that are held. It returns how many did,
// and whether any of them tells of entries that are not held here.
func (n *Node) takeHeads(list []protocol.Signed) (fresh int, gap bool, err error) {
	s := n.snap.Load()
	for i := range list {
		if n.heads.stale(s.network, &list[i]) {
			continue // most of what a peer lists; to verify it all would be the cost of a comparison
		}
		h, err := crypto.VerifyHead(s.network, &list[i])
		if err != nil {
			return fresh, gap, err
		}
		sg, ok := s.signers[h.Origin.Signing]
		if _, in := s.topics[h.Origin.Topic]; !ok || !s.members[sg.org] || sg.removed || !in {
			continue
		}
		feed := h.Origin.FeedID(s.network)
		if !n.heads.take(feed, h, &list[i]) {
			continue
		}
		fresh++
		have := n.gate.head(feed)
		if h.Seq <= have {
			continue
		}
		gap = true
		if err := n.keepHead(feed, h, &list[i]); err != nil {
			return fresh, gap, err
		}
	}
	return fresh, gap, nil
}

// stale reports whether a head, true or not, says nothing that is not known of its feed.
func (t *headTable) stale(network protocol.NetworkID, signed *protocol.Signed) bool {
	var h protocol.Head
	if protocol.Decode(signed.Statement, protocol.MaxStatementSize, &h) != nil {
		return false
	}
	old := t.get(h.Origin.FeedID(network))
	return old != nil && !h.Newer(&old.Head) && h.Seq <= old.most
}

func (t *headTable) take(feed protocol.FeedID, h *protocol.Head, signed *protocol.Signed) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.known[feed]
	if old != nil && !h.Newer(&old.Head) {
		if h.Seq <= old.most {
			return false
		}
		// It came after a head that counts before it, of a feed that was closed below it: what
		// it tells of was there all the same.
		k := *old
		k.most = h.Seq
		t.known[feed] = &k
		return true
	}
	if old == nil {
		same := 0
		for _, k := range t.known {
			if k.Origin.Signing == h.Origin.Signing && k.Origin.Topic == h.Origin.Topic {
				same++
			}
		}
		if same >= protocol.MaxFeedsPerNode {
			return false
		}
	}
	k := &knownHead{Head: *h, signed: *signed, at: nowMillis(), most: h.Seq}
	if old != nil {
		// An author that was restored closes its feed where it finds it, below what it said
		// before: those entries were there, and are missing.
		k.saved, k.most = old.saved, max(old.most, h.Seq)
	}
	t.known[feed] = k
	return true
}

// keepHead stores a head that tells of entries that are not held, so that a restart does not
// forget the gap. If it is of an own feed, this node's store went back in time.
func (n *Node) keepHead(feed protocol.FeedID, h *protocol.Head, signed *protocol.Signed) error {
	n.heads.mu.Lock()
	k := n.heads.known[feed]
	due := k != nil && k.saved < h.Seq
	if due {
		k.saved = h.Seq
	}
	if n.heads.since[feed] == 0 {
		n.heads.since[feed] = nowMillis()
	}
	n.heads.mu.Unlock()
	if !due {
		return nil
	}
	return n.st.Update(func(tx *store.Tx) error {
		if h.Origin.Signing == n.keys.Signing.Public() {
			if err := n.sawOwn(tx, &h.Origin, feed, h.Seq); err != nil {
				return err
			}
		}
		return putDoc(tx, kindHead, feed[:], signed)
	})
}

// signHeads makes signed heads of all own feeds, or of one. Closed ones are stated as such.
func (n *Node) signHeads(of ...protocol.FeedID) ([]protocol.Signed, error) {
	s := n.snap.Load()
	if s.network == protocol.NoNetwork || n.restored.Load() != nil {
		return nil, nil
	}
	var feeds []*store.Feed
	closed := map[protocol.FeedID]bool{}
	err := n.st.View(func(tx *store.Tx) error {
		err := scanDocs(tx, kindFeedNumber, func(id []byte, inc *incarnationDoc) error {
			for _, c := range inc.Closed {
				o := n.origin(protocol.TopicID(id), c.Incarnation)
				closed[o.FeedID(s.network)] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Feeds(func(f *store.Feed) error {
			if _, ok := s.topics[f.Origin.Topic]; ok && f.Origin.Signing == n.keys.Signing.Public() && f.Good() == f.Seq && f.Seq > 0 &&
				(len(of) == 0 || slices.Contains(of, f.ID)) {
				feeds = append(feeds, f)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if n.believeClock() != nil {
		return nil, nil // the status says why
	}
	n.heads.mu.Lock()
	n.heads.mine = max(n.heads.mine+1, uint64(nowMillis()))
	counter := n.heads.mine
	n.heads.mu.Unlock()
	var out []protocol.Signed
	for _, f := range feeds {
		h := &protocol.Head{Version: 1, Network: s.network, Origin: f.Origin, Seq: f.Seq, Hash: f.Hash, Counter: counter,
			At: uint64(nowMillis()), Every: uint32(n.cfg.HeadEvery / time.Second), Closed: closed[f.ID]}
		signed, err := crypto.SignHead(h, n.keys.Signing)
		if err != nil {
			return nil, err
		}
		n.heads.take(f.ID, h, &signed)
		out = append(out, signed)
	}
	return out, nil
}

// How soon, and how often at most, the heads are stated anew because peers came: a part of
// Config.HeadEvery. Many come at once.
const (
	headSoon    = 60 // HeadEvery / headSoon after the first of them
	headSpacing = 6  // HeadEvery / headSpacing between two statements
)

// keepHeads states where the own feeds stand, until ctx ends: every Config.HeadEvery, and
// when a peer joined a topic. What was gossiped before it joined did not go to it, and what it
// compared was older; it would find out when it compares by the clock.
func (net *network) keepHeads(ctx context.Context) {
	every := net.n.cfg.HeadEvery
	var told time.Time // when somebody may have heard it
	for {
		net.stateHeads()
		if net.mesh.TopicPeers(net.n.snap.Load().wireName(protocol.NoticeTopic)) > 0 {
			told = time.Now()
		}
		tick := time.NewTimer(every - every/8 + rand.N(every/8))
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-net.subscriber:
			_ = sleep(ctx, max(every/headSoon, time.Until(told.Add(every/headSpacing))))
		}
		tick.Stop()
		if ctx.Err() != nil {
			return
		}
		select {
		case <-net.subscriber: // who came meanwhile hears this one
		default:
		}
	}
}

// stateHeads tells where the own feeds stand, or one of them: of direct ones, those on the roster.
func (net *network) stateHeads(of ...protocol.FeedID) {
	heads, err := net.n.signHeads(of...)
	if err != nil {
		net.n.log.Error("stating where the own feeds stand failed", "err", err)
	}
	for part := range slices.Chunk(heads, protocol.MaxNoticeItems) {
		net.n.notice(&protocol.Notice{Version: 1, Heads: part})
	}
}

// lacking sums up to where feeds go by the word of their authors of which less is held here, and would
// be admitted; 0: nothing is lacking. It changes when more is, and when something came.
func (n *Node) lacking() (sum uint64) {
	v := &view{n: n}
	n.heads.mu.RLock()
	known := maps.Clone(n.heads.known) // of what they point to only saved changes
	n.heads.mu.RUnlock()
	for feed, k := range known {
		if have := n.gate.head(feed); have < k.most && have < v.Wants(&k.Origin) {
			sum += k.most
		}
	}
	return sum
}

// subscribed notes that a peer joined a topic.
func (net *network) subscribed(protocol.NodeID, string) {
	select {
	case net.subscriber <- struct{}{}:
	default:
	}
}

// FeedStatus is what is held of one feed, and what is known of it.
type FeedStatus struct {
	Feed      protocol.FeedID `json:"feed"`
	Org       OrgRef          `json:"organisation"`
	Node      protocol.NodeID `json:"node"`
	Topic     string          `json:"topic"`
	Own       bool            `json:"own,omitempty"`
	Roster    []OrgRef        `json:"roster,omitempty"` // of a direct feed: who may hold it; none: every member
	Held      uint64          `json:"held"`             // entries, one after the other
	Head      uint64          `json:"head"`             // entries that there are, by its author's word or by an entry seen
	Missing   uint64          `json:"missing"`          // entries and bodies that are not held and were not erased
	Bodies    uint64          `json:"missing_bodies"`   // of them: entries held without their bodies
	Digest    protocol.Hash   `json:"digest"`           // hash of the last entry held: equal on two nodes that hold the same
	Complete  bool            `json:"complete"`         // nothing is missing of what its author says that there is
	Since     *time.Time      `json:"missing_since,omitempty"`
	HeldBy    []OrgRef        `json:"held_by,omitempty"` // connected peers that say that they have what is missing
	Stated    *time.Time      `json:"stated,omitempty"`  // when its author's last signed head came
	Silent    bool            `json:"silent,omitempty"`  // its author did not state its head when it said that it would
	Closed    bool            `json:"closed,omitempty"`  // its author appends nothing more
	Removed   bool            `json:"removed,omitempty"` // its organisation removed the node; its card says where the feed ends
	Forked    uint64          `json:"forked_at,omitempty"`
	Unknown   bool            `json:"unverified,omitempty"` // no signed head of it was ever seen: whether more exists is not known
	Awaiting  int             `json:"awaiting_key"`
	Unjudged  int             `json:"unjudged,omitempty"` // entries for which a card, an agreement or their time is missing
	Withheld  string          `json:"withheld,omitempty"` // why its publisher withholds keys
	Waiting   uint64          `json:"-"`
	publisher protocol.OrgID
	awaiting  int // of Awaiting: entries held here
}

// silentAfter is how many announced intervals may pass without a head before an author
// counts as silent.
const silentAfter = 3

// Feeds tells of every feed of the topics that this node is in what is held and what not.
func (n *Node) Feeds() ([]FeedStatus, error) {
	s := n.snap.Load()
	byID := map[protocol.FeedID]*FeedStatus{}
	start := n.started
	add := func(id protocol.FeedID, o *protocol.Origin) *FeedStatus {
		if f := byID[id]; f != nil {
			return f
		}
		sg := s.signers[o.Signing]
		f := &FeedStatus{Feed: id, Org: s.ref(sg.org), Node: sg.node, Topic: s.topics[o.Topic], Own: o.Signing == n.keys.Signing.Public(), publisher: sg.org}
		if d := s.directs[o.Topic]; d != nil {
			f.Roster = s.refs(d.Roster)
		}
		byID[id] = f
		return f
	}
	err := n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if _, ok := s.topics[f.Origin.Topic]; !ok {
				return nil
			}
			st := add(f.ID, &f.Origin)
			st.Held, st.Head, st.Digest, st.Bodies = f.Good(), f.Good(), f.Hash, f.Lacking
			if f.Frozen != 0 && n.evidence.fork(f.ID) != nil {
				st.Forked = f.Frozen
			}
			if last := s.lastOf(&f.Origin, f.ID); last != protocol.MaxSeq {
				st.Removed, st.Head = true, max(st.Head, last)
			}
			if f.Good() != f.Seq {
				h, err := n.hashAt(tx, f.ID, f.Good())
				if err != nil {
					return err
				}
				st.Digest = h
			}
			waiting, err := tx.EntriesIn(f.ID, store.AwaitingKey)
			if err != nil {
				return err
			}
			for _, seq := range waiting {
				_, reason, err := tx.EntryState(f.ID, seq)
				if err != nil {
					return err
				}
				if strings.HasPrefix(reason, keyReason) {
					st.Awaiting++
					st.awaiting++
				} else {
					st.Unjudged++
				}
			}
			var w withheldDoc
			if ok, err := getDoc(tx, kindWithheld, f.ID[:], &w); err != nil || !ok {
				return err
			}
			st.Awaiting += int(w.Envelopes)
			st.Withheld = w.Reason
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	peers := map[protocol.NodeID]protocol.OrgID{}
	if net := n.net.Load(); net != nil {
		for _, p := range net.mesh.Peers() {
			peers[p.Node] = p.Org
		}
	}
	n.heads.mu.Lock()
	defer n.heads.mu.Unlock()
	for id, k := range n.heads.known {
		if _, ok := s.topics[k.Origin.Topic]; !ok {
			continue
		}
		f := add(id, &k.Origin)
		if f.Forked == 0 && !f.Removed {
			f.Head = max(f.Head, k.most)
		}
		at := time.UnixMilli(k.at).UTC()
		f.Stated, f.Closed = &at, k.Closed
		silence := nowMillis() - max(k.at, start)
		f.Silent = !f.Removed && !k.Closed && !f.Own && k.Every > 0 && silence > silentAfter*int64(k.Every)*1000
	}
	list := []FeedStatus{}
	for id, f := range byID {
		f.Missing = f.Head - f.Held + f.Bodies
		f.Unknown = !f.Own && !f.Removed && f.Stated == nil
		f.Complete = f.Missing == 0 && !f.Unknown
		if f.Missing == 0 {
			delete(n.heads.since, id)
			delete(n.heads.have, id)
		} else {
			if n.heads.since[id] == 0 {
				n.heads.since[id] = nowMillis()
			}
			at := time.UnixMilli(n.heads.since[id]).UTC()
			f.Since = &at
			for peer, seq := range n.heads.have[id] {
				if org, ok := peers[peer]; ok && seq > f.Held && !slices.ContainsFunc(f.HeldBy, func(o OrgRef) bool { return o.ID == org }) {
					f.HeldBy = append(f.HeldBy, s.ref(org))
				}
			}
		}
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b FeedStatus) int {
		for _, c := range []int{bytes.Compare([]byte(a.Org.Name), []byte(b.Org.Name)), bytes.Compare([]byte(a.Topic), []byte(b.Topic))} {
			if c != 0 {
				return c
			}
		}
		return bytes.Compare(a.Feed[:], b.Feed[:])
	})
	return list, nil
}

// hashAt returns the hash of an entry that is held; zero for none.
func (n *Node) hashAt(tx *store.Tx, feed protocol.FeedID, seq uint64) (protocol.Hash, error) {
	if seq == 0 {
		return protocol.Hash{}, nil
	}
	raw, err := tx.Skeleton(feed, seq)
	if err != nil || raw == nil {
		return protocol.Hash{}, err
	}
	var e protocol.Envelope
	if err := protocol.Decode(raw, protocol.MaxEnvelopeSize, &e); err != nil {
		return protocol.Hash{}, err
	}
	return protocol.EntryHash(e.Header), nil
}
