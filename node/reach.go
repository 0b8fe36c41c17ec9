package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/outbound"
	"github.com/entente-mesh/entente/protocol"
)

// How a node is reached that nobody can call: by way of relays, whose addresses stand on its card.
const (
	relayGone = 10 * time.Minute // a relay stays on the card so long after the reservation at it ended
	// reachEvery is how often it is looked whether the card has to change.
	reachEvery = 20 * time.Second
	// addrsPerRelay bounds the addresses of one relay on the card of who is behind it.
	addrsPerRelay = 3
	maxOnCard     = 3 // relays
	// directEvery is how often a peer is called directly that is connected by way of a relay.
	directEvery = 10 * time.Minute
)

// ways is how this node is to be reached and to reach others. The first part is set when the
// node opens.
type ways struct {
	proxy  *outbound.Proxy
	relay  bool
	via    []mesh.Relay // at which the operator wants to be reachable
	listen []string
	public []string // announced addresses, in the form of a card

	mu     sync.Mutex
	onCard map[protocol.NodeID]time.Time // relays whose addresses are on the card; and when a reservation was last held
	addrs  []string                      // by way of them
}

// NoListen, as the only address to listen on, makes a node that only calls others.
const NoListen = "none"

// Proxy returns the HTTP proxy by way of which this node calls what is outside of its network; nil: there is none.
func (n *Node) Proxy() *outbound.Proxy { return n.ways.proxy }

// newWays reads what the configuration says of it.
func newWays(cfg *Config, self protocol.NodeID) (*ways, error) {
	r := &ways{relay: cfg.Relay, listen: cfg.Listen, onCard: map[protocol.NodeID]time.Time{}}
	if cfg.Proxy != "" {
		var err error
		if r.proxy, err = outbound.ReadProxy(cfg.Proxy); err != nil {
			return nil, fmt.Errorf("reading --proxy: %w", err)
		}
	}
	for _, s := range cfg.Via {
		relay, err := mesh.ReadRelay(s)
		if err != nil {
			return nil, fmt.Errorf("reading --via: %w", err)
		}
		if relay.Node == self {
			return nil, fmt.Errorf("reading --via: %s is this node itself", s)
		}
		if i := slices.IndexFunc(r.via, func(v mesh.Relay) bool { return v.Node == relay.Node }); i >= 0 {
			r.via[i].Addrs = append(r.via[i].Addrs, relay.Addrs...)
			continue
		}
		r.via = append(r.via, relay)
	}
	for _, s := range cfg.Announce {
		a, err := mesh.ReadAddr(self, s)
		if err != nil {
			return nil, fmt.Errorf("reading --announce: %w", err)
		}
		r.public = append(r.public, a)
	}
	switch {
	case len(r.listen) == 1 && r.listen[0] == NoListen:
		r.listen = nil
	case len(r.listen) == 0 && r.proxy == nil:
		r.listen = DefaultListen
	}
	if r.relay && len(r.listen) == 0 {
		return nil, fmt.Errorf("a relay has to listen; give --listen, as /ip4/0.0.0.0/tcp/443")
	}
	return r, nil
}

// own returns the direct addresses of this node: announced ones, or those listened on.
func (net *network) ownAddrs() []string {
	if r := net.n.ways; len(r.public) > 0 {
		return r.public
	}
	return net.mesh.Addrs()
}

// cardAddrs returns what this node's entry on the card is to hold: direct addresses, those by way
// of relays, and that it is a relay.
func (net *network) cardAddrs() []string {
	r := net.n.ways
	r.mu.Lock()
	relayed := slices.Clone(r.addrs)
	r.mu.Unlock()
	if r.relay {
		relayed = append(relayed, protocol.RelayHere)
	}
	direct := net.ownAddrs()
	return append(slices.Clone(direct[:min(len(direct), protocol.MaxAddrs-len(relayed))]), relayed...)
}

// needsRelay reports whether this node wants to be called by way of relays that the network has:
// none of its addresses is one that can be called from everywhere.
func (net *network) needsRelay() bool {
	return !net.n.ways.relay && !slices.ContainsFunc(net.ownAddrs(), mesh.IsPublic)
}

// relays returns the relays at which to be reachable, the best first: those that the operator
// named, then, where they are needed, those on the card already, those of the own organisation,
// and the others, of which each node begins with another.
func (net *network) relays() []mesh.Relay {
	r, s := net.n.ways, net.n.snap.Load()
	out := slices.Clone(r.via)
	if len(out) > 0 || !net.needsRelay() {
		for i := range out {
			out[i].Addrs = append(slices.Clone(out[i].Addrs), s.directAddrs(out[i].Node)...)
		}
		return out
	}
	self := net.n.ID()
	type ranked struct {
		mesh.Relay
		rank int
		hash [32]byte
	}
	var list []ranked
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, org := range s.nodes {
		if node == self || !s.isRelay(node) {
			continue
		}
		x := ranked{Relay: mesh.Relay{Node: node, Addrs: s.directAddrs(node)}, rank: 2, hash: sha256.Sum256(append(self[:], node[:]...))}
		if len(x.Addrs) == 0 {
			continue
		}
		if org == net.n.org {
			x.rank = 1
		}
		if _, ok := r.onCard[node]; ok {
			x.rank = 0
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), slices.Compare(a.hash[:], b.hash[:]))
	})
	for _, x := range list {
		out = append(out, x.Relay)
	}
	return out
}

// entryAddrs returns the addresses of a known node, as its card has them.
func (s *snapshot) entryAddrs(node protocol.NodeID) []string {
	c := s.cards[s.nodes[node]]
	if c == nil {
		return nil
	}
	if e := c.Node(node); e != nil {
		return e.Addrs
	}
	return nil
}

// isRelay reports whether a known node says that it relays.
func (s *snapshot) isRelay(node protocol.NodeID) bool {
	return slices.Contains(s.entryAddrs(node), protocol.RelayHere)
}

// directAddrs returns those of a known node's addresses that need no relay.
func (s *snapshot) directAddrs(node protocol.NodeID) (out []string) {
	for _, a := range s.entryAddrs(node) {
		if _, _, relayed := protocol.SplitRelayed(a); !relayed && a != protocol.RelayHere {
			out = append(out, a)
		}
	}
	return out
}

// keepReach keeps the addresses by way of relays, and looks for direct ways to peers.
func (net *network) keepReach(ctx context.Context) {
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	direct := time.Now()
	for {
		if net.noteReach(time.Now()) {
			net.wake()
		}
		if time.Since(direct) >= directEvery {
			direct = time.Now()
			net.callDirectly(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-net.reserved:
		}
	}
}

// rememberRelays takes the relays from the own card, so that a node that was restarted goes back
// to them and signs no new one. It is called before anything looks at the card.
func (net *network) rememberRelays() {
	net.n.ways.forget()
	own := net.n.OwnCard()
	if own == nil {
		return
	}
	e := own.Node(net.n.ID())
	if e == nil {
		return
	}
	r := net.n.ways
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range e.Addrs {
		if _, relay, ok := protocol.SplitRelayed(a); ok {
			r.onCard[relay] = time.Now()
			r.addrs = append(r.addrs, a)
		}
	}
}

func (r *ways) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.onCard)
	r.addrs = nil
}

// noteReach brings the addresses by way of relays up to date, and reports whether they changed. A
// new reservation is told at once; one that ended later, since most come back, and each change
// is a card that everybody has to be given.
func (net *network) noteReach(now time.Time) bool {
	r, s := net.n.ways, net.n.snap.Load()
	held := map[protocol.NodeID]bool{}
	for _, res := range net.mesh.Reservations() {
		held[res.Relay] = true
	}
	wanted := len(r.via) > 0 || net.needsRelay()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range held {
		r.onCard[id] = now
	}
	for id, at := range r.onCard {
		if _, known := s.nodes[id]; !wanted || !known || now.Sub(at) > relayGone {
			delete(r.onCard, id)
		}
	}
	for len(r.onCard) > maxOnCard {
		delete(r.onCard, slices.MinFunc(keys(r.onCard), func(a, b protocol.NodeID) int {
			return cmp.Or(r.onCard[a].Compare(r.onCard[b]), a.Compare(b))
		}))
	}
	var addrs []string
	for _, id := range keys(r.onCard) {
		addrs = append(addrs, r.addrsBy(s, id)...)
	}
	if slices.Equal(addrs, r.addrs) {
		return false
	}
	r.addrs = addrs
	return true
}

// addrsBy returns the addresses by way of a relay: at most a few of those that its card has, public
// ones first, or where the operator says that it is. The caller holds mu.
func (r *ways) addrsBy(s *snapshot, relay protocol.NodeID) (out []string) {
	var direct []string
	if i := slices.IndexFunc(r.via, func(v mesh.Relay) bool { return v.Node == relay }); i >= 0 {
		direct = append(direct, r.via[i].Addrs...)
	}
	direct = append(direct, s.directAddrs(relay)...)
	slices.SortStableFunc(direct, func(a, b string) int { return cmp.Compare(publicFirst(a), publicFirst(b)) })
	for _, a := range direct {
		if by := protocol.RelayedAddr(a, relay); len(by) <= protocol.MaxAddrSize && !slices.Contains(out, by) && len(out) < addrsPerRelay {
			out = append(out, by)
		}
	}
	return out
}

func publicFirst(a string) int {
	if mesh.IsPublic(a) {
		return 0
	}
	return 1
}

// keys returns the nodes of a map in order.
func keys(m map[protocol.NodeID]time.Time) (out []protocol.NodeID) {
	for id := range m {
		out = append(out, id)
	}
	slices.SortFunc(out, protocol.NodeID.Compare)
	return out
}

// callDirectly tries peers that are connected by way of a relay and have addresses of their own:
// what stood between may be gone.
func (net *network) callDirectly(ctx context.Context) {
	s := net.n.snap.Load()
	var wg sync.WaitGroup
	for _, p := range net.mesh.Peers() {
		addrs := s.directAddrs(p.Node)
		if p.Path != mesh.ByRelay || len(addrs) == 0 {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
			defer cancel()
			if err := net.mesh.CallDirectly(ctx, p.Node, addrs); err != nil && ctx.Err() == nil {
				net.n.log.Debug("peer cannot be reached without a relay", "node", p.Node, "err", err)
			}
		})
	}
	wg.Wait()
}

// ReachStatus is how a node reaches others and is reached.
type ReachStatus struct {
	Proxy        string        `json:"proxy,omitempty"`    // without its password
	Reservations []RelayStatus `json:"reservations"`       // relays by way of which it can be called
	Relaying     *RelayWork    `json:"relaying,omitempty"` // what it does for others, if it is a relay
	Via          []string      `json:"via,omitempty"`      // for '--via' of others, if it is a relay
	Direct       int           `json:"direct"`             // connected peers, by how they are reached
	ByProxy      int           `json:"by_proxy"`
	ByRelay      int           `json:"by_relay"`
	Resets       uint64        `json:"resets"`  // connections ended because the peer shared no topic, since the start
	Punched      uint64        `json:"punched"` // circuits that direct connections took the place of, since the start
}

// RelayWork is what a relay does for others now.
type RelayWork struct {
	Reservations int    `json:"reservations"` // nodes that can be called by way of it
	Circuits     int    `json:"circuits"`     // connections that it forwards
	Bytes        uint64 `json:"bytes"`        // forwarded since it came on line, both ways
}

// RelayStatus is a relay by way of which this node can be called.
type RelayStatus struct {
	Node  protocol.NodeID `json:"node"`
	Org   OrgRef          `json:"organisation"`
	Until time.Time       `json:"until"` // it is renewed before
}

// reachStatus tells how the node reaches others; nil if it is not up.
func (n *Node) reachStatus(s *snapshot) *ReachStatus {
	net := n.net.Load()
	if net == nil {
		return nil
	}
	st := &ReachStatus{Reservations: []RelayStatus{}, Resets: net.mesh.Resets(), Punched: net.mesh.Punched()}
	if n.ways.proxy != nil {
		st.Proxy = n.ways.proxy.String()
	}
	for _, r := range net.mesh.Reservations() {
		st.Reservations = append(st.Reservations, RelayStatus{r.Relay, s.ref(s.nodes[r.Relay]), r.Until.UTC().Truncate(time.Second)})
	}
	if w, ok := net.mesh.Relaying(); ok {
		st.Relaying = &RelayWork{w.Reservations, w.Circuits, w.Bytes}
		for _, a := range net.ownAddrs() {
			st.Via = append(st.Via, a+"/p2p/"+n.ID().String())
		}
	}
	for _, p := range net.mesh.Peers() {
		switch p.Path {
		case mesh.ByProxy:
			st.ByProxy++
		case mesh.ByRelay:
			st.ByRelay++
		default:
			st.Direct++
		}
	}
	return st
}

// noRelayFor is how long a node may be without a relay after it came up before that is a problem.
const noRelayFor = time.Minute

// reachProblems tells of what keeps this node from being reached, or makes it depend on others.
func (n *Node) reachProblems(s *snapshot, st *Status) {
	net := n.net.Load()
	if net == nil || st.Reach == nil {
		return
	}
	r := n.ways
	if wanted := net.relays(); len(wanted) > 0 && len(st.Reach.Reservations) == 0 && time.Since(net.since) > noRelayFor {
		why := ""
		failed := net.mesh.RelayFailures()
		for _, id := range wanted {
			if text := failed[id.Node]; text != "" {
				why = ": " + firstLine(text)
				break
			}
		}
		st.problem("relay-unusable", "warning", "check that this machine may open TCP connections to one of them; 'entente peers' shows their addresses, and --via names another", "none of %d relays can be used, so nobody can call this node%s", len(wanted), why)
	}
	if len(r.listen) == 0 && len(r.via) == 0 && len(net.relays()) == 0 && len(s.members) > 1 {
		st.problem("relay-none", "warning", "give --via with the address of a relay ('entente relay' shows it), or --listen", "this node listens nowhere and knows no relay: it can call others, and nobody can call it")
	}
	if st.Reach.ByRelay > 1 && st.Reach.ByRelay+len(st.Reach.Reservations) >= st.Connected {
		relays := map[protocol.NodeID]bool{}
		for _, p := range net.mesh.Peers() {
			if p.Path == mesh.ByRelay {
				relays[p.Relay] = true
			}
		}
		if len(relays) == 1 {
			for id := range relays {
				st.problem("relay-single", "warning", "let a second relay be set up, or open UDP 4401 so that peers reach one another directly", "all peers are reached by way of one relay, of %s: without it this node is alone", s.name(s.nodes[id]))
			}
		}
	}
	for _, p := range net.mesh.Peers() {
		if p.Resets >= 3 {
			st.problem("peer-shares-no-topic", "warning", "ask them whether their node is up to date and its log says anything of gossip; what they publish comes by comparison meanwhile", "node %s of %s is connected and shares no topic; it was reset %d times", p.Node, s.name(p.Org), p.Resets)
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	if len(line) > 200 {
		line = line[:200]
	}
	return strings.ToValidUTF8(line, "")
}
