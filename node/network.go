package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// network is the node while it is online: it owns the mesh and the goroutines around it.
type network struct {
	n    *Node
	mesh *mesh.Mesh

	clocks     chan protocol.NodeID // peers that were let in, and are asked for the time
	woken      chan struct{}        // state changed: topics, peers, card
	syncs      chan protocol.NodeID
	inbox      chan *crypto.VerifiedEnvelope
	outbox     chan announcement
	notices    chan heard
	tells      chan directNotice
	suspects   chan *crypto.VerifiedEnvelope // stale entries that may contradict what is held
	dirty      chan struct{}
	subscriber chan struct{} // a peer joined a topic
	reserved   chan struct{} // reservations at relays changed
	since      time.Time     // it is on line

	joined sync.Map                        // string, wire name of every joined topic → protocol.TopicID; joinTopics alone changes it
	teller atomic.Pointer[protocol.NodeID] // who told last of entries that are not held

	toldCard   protocol.Hash // the own card that peers were told of; keepState alone has it
	directTurn atomic.Uint64 // counts comparisons with those with whom direct feeds are shared

	mu        sync.Mutex
	last      map[protocol.NodeID]time.Time
	syncing   map[protocol.NodeID]bool
	inSync    map[protocol.NodeID]time.Time
	askedKeys map[protocol.FeedID]time.Time
	cosigned  map[protocol.NodeID]cosignMark // who cosigned the audit log, by peer
	tellers   map[protocol.NodeID]bool       // who told of entries that are not held, since it was last looked
	stalled   map[protocol.NodeID]time.Time  // peers with which a comparison took long for nothing, and when
	heard     map[protocol.NodeID]bool       // peers that gossiped something here since they connected
	siblings  map[protocol.NodeID]siblingMark
	differed  map[protocol.NodeID]protocol.Hash // how a sibling's set differed when it last asked
	refused   map[protocol.NodeID]string
	failed    map[protocol.NodeID]unreached // peers that could not be called
}

// heard is a notice, and who passed it on.
type heard struct {
	from   protocol.NodeID
	notice *protocol.Notice
}

type announcement struct {
	topic string
	raw   [][]byte
}

// Bounds on what waits inside the node. What finds no room is dropped and left to the sync.
const (
	inboxEntries  = 1024
	outboxEntries = 64
	noticeEntries = 256
	maxDegree     = 12 // peers that this node dials when the network is large
	redialAfter   = 10 * time.Second
	admitBatch    = 256
)

// Run brings the node onto the network and keeps it there until ctx ends. It returns when
// everything that it started has stopped. ready, if not nil, is called once the node
// listens, with its addresses.
func (n *Node) Run(ctx context.Context, ready func(addrs []string)) error {
	if !n.mayConnect() {
		if ready != nil {
			ready(nil)
		}
		return n.waitForNetwork(ctx, ready)
	}
	return n.online(ctx, ready)
}

// mayConnect reports whether anybody would admit this node.
func (n *Node) mayConnect() bool {
	return n.snap.Load().network != protocol.NoNetwork && n.Enrolled() == nil
}

// waitForNetwork waits until this node was told of a network, and enrolled, by way of its API.
func (n *Node) waitForNetwork(ctx context.Context, ready func([]string)) error {
	for {
		changed := n.Changed()
		if n.mayConnect() {
			return n.online(ctx, ready)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (n *Node) online(ctx context.Context, ready func(addrs []string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	net := &network{n: n, clocks: make(chan protocol.NodeID, 64), woken: make(chan struct{}, 1), syncs: make(chan protocol.NodeID, 64),
		inbox: make(chan *crypto.VerifiedEnvelope, inboxEntries), outbox: make(chan announcement, outboxEntries),
		notices: make(chan heard, noticeEntries), tells: make(chan directNotice, noticeEntries), tellers: map[protocol.NodeID]bool{}, stalled: map[protocol.NodeID]time.Time{}, suspects: make(chan *crypto.VerifiedEnvelope, noticeEntries),
		cosigned: map[protocol.NodeID]cosignMark{}, askedKeys: map[protocol.FeedID]time.Time{}, dirty: make(chan struct{}, 1), subscriber: make(chan struct{}, 1), last: map[protocol.NodeID]time.Time{},
		heard: map[protocol.NodeID]bool{}, siblings: map[protocol.NodeID]siblingMark{}, refused: map[protocol.NodeID]string{}, failed: map[protocol.NodeID]unreached{},
		syncing: map[protocol.NodeID]bool{}, inSync: map[protocol.NodeID]time.Time{}, reserved: make(chan struct{}, 1), since: time.Now()}
	if own := n.OwnCard(); own != nil {
		net.toldCard = own.Signed.Hash()
	}
	meshed := make(chan struct{})
	m, err := mesh.New(ctx, mesh.Config{
		Key: n.keys.Host, Listen: n.ways.listen, Proxy: n.ways.proxy, Relay: n.ways.relay, Network: n.snap.Load().network, Log: n.log,
		Known:       net.known,
		OwnHello:    net.ownHello,
		Hello:       net.hello,
		Validate:    net.validate,
		Deliver:     net.deliver,
		Dropped:     net.dropped,
		Duplicate:   net.duplicate,
		Serve:       net.serve,
		Announced:   net.announced,
		Subscribed:  net.subscribed,
		PeerChanged: net.peerChanged,
		HostOptions: n.cfg.HostOptions,
		Relays: func() []mesh.Relay {
			select {
			case <-meshed:
				return net.relays()
			default:
				return nil // it asks as soon as it began
			}
		},
		Reserved: func() {
			select {
			case net.reserved <- struct{}{}:
			default:
			}
		},
		Now:     func() time.Time { return time.Now().Add(n.clockAhead()) },
		Program: n.cfg.Program, Capabilities: capabilities, Wire: n.cfg.Wire, Trace: n.cfg.Trace,
	})
	if err != nil {
		return fmt.Errorf("starting mesh: %w", err)
	}
	net.mesh = m
	net.rememberRelays()
	close(meshed)
	m.LookForRelays()
	n.net.Store(net)
	net.wake()
	if ready != nil {
		ready(append([]string{}, m.Addrs()...)) // not nil: it is on the network, though it may listen nowhere
	}
	var wg sync.WaitGroup
	for _, run := range []func(context.Context){net.keepState, net.keepPeers, net.keepSynced, net.keepHeads, net.admitLoop, net.noticeLoop, net.tellLoop, net.keepRoom, net.publishLoop, net.keepPassing, net.keepToken, net.keepReach, net.keepClock, n.warmIndex} {
		wg.Go(func() { run(ctx) })
	}
	<-ctx.Done()
	n.net.Store(nil)
	err = m.Close()
	cancel()
	wg.Wait()
	return err
}

// wake makes the node look at its state again. It never blocks.
func (net *network) wake() {
	select {
	case net.woken <- struct{}{}:
	default:
	}
}

func (net *network) markDirty() {
	select {
	case net.dirty <- struct{}{}:
	default:
	}
}

func (net *network) known(id protocol.NodeID) (protocol.OrgID, bool) {
	org, ok := net.n.snap.Load().nodes[id]
	return org, ok
}

// validate is the validator of gossip: inline, from memory, three-valued.
// What it made of a message that it accepts is a *protocol.Notice or a *crypto.VerifiedEnvelope.
func (net *network) validate(_ protocol.NodeID, name string, data []byte) (v mesh.Verdict, made any) {
	topic, ok := net.topicOf(name)
	if !ok {
		return mesh.Ignore, nil
	}
	var err error
	if topic == net.noticeTopic() {
		made, err = net.n.readNotice(data)
	} else {
		var env *crypto.VerifiedEnvelope
		env, err = net.n.gate.validate(topic, data)
		made = env
		if errors.Is(err, errStale) && env != nil {
			select {
			case net.suspects <- env:
			default: // the next comparison finds it too
			}
		}
	}
	switch {
	case err == nil:
		return mesh.Accept, made
	case errors.Is(err, protocol.ErrLaterVersion):
		net.n.counters.later.Add(1) // nobody's fault, and no comparison helps
		return mesh.Ignore, nil
	case errors.Is(err, protocol.ErrMalformed), errors.Is(err, protocol.ErrOversize),
		errors.Is(err, protocol.ErrBadSignature), errors.Is(err, protocol.ErrWrongContext):
		net.n.counters.rejected.Add(1)
		return mesh.Reject, nil
	default:
		if !errors.Is(err, errStale) {
			net.n.counters.ignored.Add(1)
			net.markDirty() // its author's card may have to come first
		}
		return mesh.Ignore, nil
	}
}

func (net *network) noticeTopic() protocol.TopicID {
	return protocol.NewTopicID(net.n.snap.Load().network, protocol.NoticeTopic)
}

// deliver takes an accepted message from gossip. The first from a peer says that it knows of a
// subscription here: what it gossiped before that, and after the comparison on connecting, went
// elsewhere, and is fetched.
func (net *network) deliver(from protocol.NodeID, _ string, _ []byte, made any) {
	net.mu.Lock()
	first := !net.heard[from]
	net.heard[from] = true
	net.mu.Unlock()
	if first {
		net.syncSoon(from)
	}
	dropped := false
	switch m := made.(type) {
	case *protocol.Notice:
		select {
		case net.notices <- heard{from, m}:
		default:
			dropped = true
		}
	case *crypto.VerifiedEnvelope: // the network, for which it was verified, cannot change
		select {
		case net.inbox <- m:
		default:
			dropped = true
		}
	}
	if dropped {
		net.n.counters.dropped.Add(1)
		net.markDirty()
	}
}

func (net *network) dropped(what string) {
	net.n.counters.dropped.Add(1)
	net.n.log.Debug("gossip dropped something; the sync will bring it", "what", what)
	net.markDirty()
}

// duplicate counts entries that gossip brought once more. Heads are not counted with them.
func (net *network) duplicate(name string) {
	topic, ok := net.topicOf(name)
	if ok && topic != net.noticeTopic() {
		net.n.counters.duplicates.Add(1)
	}
}

// admitLoop takes what gossip brings, many at a time, since each commit costs a disk sync.
func (net *network) admitLoop(ctx context.Context) {
	for {
		var batch []*crypto.VerifiedEnvelope
		select {
		case <-ctx.Done():
			return
		case env := <-net.inbox:
			batch = append(batch, env)
		}
	more:
		for len(batch) < admitBatch {
			select {
			case env := <-net.inbox:
				batch = append(batch, env)
			default:
				break more
			}
		}
		a, err := net.n.gate.admit(batch)
		switch {
		case noRoom(err): // 'status' says so, and a log that grew with every entry would not help
			net.n.log.Debug("what gossip brought was not taken", "err", err)
		case err != nil:
			net.n.log.Error("storing what gossip brought failed; the sync will try again", "err", err)
			net.n.counters.failed.Add(1)
		}
		if a.Gaps || a.Refused != nil || err != nil {
			net.markDirty()
		}
	}
}

// eagerBytes is how many bytes of entries that were appended together are gossiped. Of more only
// the head is, and peers fetch them: gossip brings every entry to every node several times, and
// an author's own to all its peers at once.
const eagerBytes = 128 << 10

// announce tells of committed entries of an own feed. It never blocks: entries are durable already,
// and whoever misses them gets them by sync.
func (net *network) announce(topic string, feed protocol.FeedID, envs []*crypto.VerifiedEnvelope) {
	a := announcement{topic: topic}
	size := 0
	for _, e := range envs {
		a.raw = append(a.raw, e.Raw)
		size += len(e.Raw)
	}
	if size > eagerBytes {
		net.stateHeads(feed)
		return
	}
	select {
	case net.outbox <- a:
	default:
		net.n.counters.dropped.Add(1)
	}
}

func (net *network) publishLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-net.outbox:
			name := net.n.snap.Load().wireName(a.topic)
			for i, raw := range a.raw {
				if err := net.mesh.Publish(ctx, name, raw); err != nil && ctx.Err() == nil {
					net.n.log.Debug("gossiping failed; the sync will bring it", "topic", a.topic, "err", err)
					break
				}
				// A long burst would overrun the queues of peers, which drop silently.
				if i%32 == 31 && sleep(ctx, 5*time.Millisecond) != nil {
					return
				}
			}
		}
	}
}

// wireName returns the name under which a topic is gossiped in the newest period.
func (s *snapshot) wireName(topic string) string {
	names := s.wireNames(topic)
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

// wireNames returns the names of a topic in all periods whose secret is held, oldest first.
func (s *snapshot) wireNames(topic string) (names []string) {
	id := protocol.NewTopicID(s.network, topic)
	for _, p := range sortedPeriods(s.secrets) {
		for _, secret := range s.secrets[p] {
			names = append(names, crypto.TopicName(secret, id, p))
		}
	}
	return names
}

func sortedPeriods(secrets map[uint32][][32]byte) []uint32 {
	return slices.Sorted(maps.Keys(secrets))
}

// keepState keeps topics joined, strangers out and the own card fresh.
func (net *network) keepState(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	var seen uint64
	for {
		if g := net.n.snap.Load().generation; g != seen {
			// They look here for what changed, when they are told that the two differ.
			seen = g
			net.tellSiblings()
		}
		net.joinTopics()
		net.mesh.Recheck()
		if err := net.n.keepRecipient(); err != nil {
			net.n.log.Error("turning over the age identity failed", "err", err)
		}
		if err := net.renewCard(); err != nil {
			net.n.log.Error("renewing the own card failed", "err", err)
		}
		net.tellCard()
		if net.n.asking.Load() {
			net.n.confirmErased()
		}
		if err := errors.Join(net.n.sendLetters(), net.n.grantLate(), net.n.moveLate(ctx), net.n.resealForked(ctx)); err != nil && ctx.Err() == nil {
			net.n.log.Error("sending letters, handing out keys, or sealing anew what a fork made void, failed", "err", err)
		}
		if net.n.due.Load() {
			net.n.tryErasures()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// Cards go stale and node entries end with time alone.
			if err := net.n.change(func(*store.Tx) error { return nil }); err != nil {
				net.n.log.Error("looking at the state anew failed", "err", err)
			}
			net.n.tryErasures()
			net.n.stateAudit()
			net.n.mergeIndex(idleMergeSteps)
			if err := errors.Join(net.n.applyLater(), net.n.expire()); err != nil {
				net.n.log.Error("erasing what is past its retention failed", "err", err)
			}
			if err := errors.Join(net.n.gate.reopenEarly(), net.n.gate.drain()); err != nil {
				net.n.log.Error("opening entries that came too early failed", "err", err)
			}
		case <-net.woken:
		}
	}
}

func (net *network) joinTopics() {
	s := net.n.snap.Load()
	want := map[string]protocol.TopicID{}
	for id, topic := range s.topics {
		if id.Direct() {
			continue
		}
		for _, name := range s.wireNames(topic) {
			want[name] = id
		}
	}
	for _, name := range s.wireNames(protocol.NoticeTopic) {
		want[name] = net.noticeTopic()
	}
	for key := range net.joined.Range {
		name := key.(string)
		if _, in := want[name]; !in {
			net.mesh.Leave(name)
			net.joined.Delete(name)
		}
	}
	for name, id := range want {
		if _, ok := net.joined.LoadOrStore(name, id); ok { // before messages come
			continue
		}
		if err := net.mesh.Join(name); err != nil {
			net.n.log.Error("joining topic failed", "topic", s.topics[id], "err", err)
			net.joined.Delete(name)
			continue
		}
		net.markDirty()
	}
}

// topicOf returns the topic of a name on the wire, if this node is in it. It takes no lock: gossip
// asks while a topic is being joined, and joining waits for gossip.
func (net *network) topicOf(name string) (id protocol.TopicID, ok bool) {
	v, ok := net.joined.Load(name)
	if ok {
		id = v.(protocol.TopicID)
	}
	return id, ok
}

// renewCard signs a new card if this node's addresses changed or its end is near.
func (net *network) renewCard() error {
	addrs := net.cardAddrs()
	if net.n.op() == nil {
		return net.n.noteAddrs(addrs)
	}
	now := uint64(nowMillis())
	listens, err := net.n.siblingAddrs()
	if err != nil {
		return err
	}
	listens[net.n.ID()] = addrs
	wanted, err := net.n.wantedRecipients()
	if err != nil {
		return err
	}
	return net.n.renewCard(func(c *protocol.Card) (changed bool) {
		c.Nodes = slices.Clone(c.Nodes)
		for i := range c.Nodes {
			e := &c.Nodes[i]
			if a, ok := listens[e.Node]; ok && !slices.Equal(e.Addrs, a) {
				e.Addrs, changed = a, true
			}
			changed = prolong(e, net.n.ID(), now) || changed
		}
		return wanted.put(c, now) || changed
	})
}

// prolong gives a node on the card another year when half of its time is over. One whose time
// has passed stays as it is: it was ended, when a node was restored in its place, and is not to
// come back by itself.
func prolong(e *protocol.NodeEntry, self protocol.NodeID, now uint64) bool {
	if e.NotAfter >= now+nodeLife/2 || e.NotAfter <= now && e.Node != self {
		return false
	}
	e.NotAfter = now + nodeLife
	return true
}

// noteAddrs tells the sibling that signs the card where this node listens.
func (n *Node) noteAddrs(addrs []string) error {
	own := n.OwnCard()
	if own == nil {
		return nil
	}
	e := own.Node(n.ID())
	if e == nil {
		return nil
	}
	id := n.ID()
	return n.st.Update(func(tx *store.Tx) error {
		var d addrsDoc
		held, err := getDoc(tx, kindAddrs, id[:], &d)
		if err != nil || held && slices.Equal(d.Addrs, addrs) || !held && slices.Equal(e.Addrs, addrs) {
			return err
		}
		return putDoc(tx, kindAddrs, id[:], &addrsDoc{At: max(uint64(nowMillis()), d.At+1), Addrs: addrs})
	})
}

// siblingAddrs returns where the siblings say that they listen.
func (n *Node) siblingAddrs() (map[protocol.NodeID][]string, error) {
	out := map[protocol.NodeID][]string{}
	return out, n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindAddrs, func(id []byte, d *addrsDoc) error {
			out[protocol.NodeID(id)] = d.Addrs
			return nil
		})
	})
}

// keepPeers keeps this node connected: to everybody in a small network, to some in a large one.
func (net *network) keepPeers(ctx context.Context) {
	for {
		changed := net.n.Changed()
		net.dial(ctx)
		wait, cancel := context.WithTimeout(ctx, redialAfter)
		select {
		case <-wait.Done():
		case <-changed:
			// Changes come in bursts; one look is enough for many.
			_ = sleep(ctx, 200*time.Millisecond)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
}

type candidate struct {
	node  protocol.NodeID
	addrs []string
}

func (net *network) candidates() []candidate {
	s := net.n.snap.Load()
	connected := map[protocol.NodeID]bool{net.n.ID(): true}
	for _, p := range net.mesh.Peers() {
		connected[p.Node] = true
	}
	addrs := map[protocol.NodeID][]string{}
	for _, b := range s.bootstrap {
		addrs[b.Node] = append(addrs[b.Node], b.Addrs...)
	}
	for org := range s.members {
		if c := s.cards[org]; c != nil {
			for _, e := range c.Nodes {
				if s.nodes[e.Node] == org {
					addrs[e.Node] = append(slices.Clone(e.Addrs), addrs[e.Node]...)
				}
			}
		}
	}
	degree := len(connected) - 1
	direct := s.directOrgs(net.n.org)
	for id := range connected {
		delete(direct, s.nodes[id]) // the others of its nodes have what it has
	}
	var list, must []candidate
	net.mu.Lock()
	defer net.mu.Unlock()
	for id, a := range addrs {
		if !connected[id] && len(a) > 0 && time.Since(net.last[id]) >= redialAfter {
			if direct[s.nodes[id]] {
				must = append(must, candidate{node: id, addrs: a})
			} else {
				list = append(list, candidate{node: id, addrs: a})
			}
		}
	}
	for _, l := range [][]candidate{list, must} {
		rand.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
	}
	must = must[:min(len(must), maxDirectPeers)]
	if room := maxDegree - degree - len(must); len(list) > room {
		list = list[:max(room, 0)]
	}
	list = append(list, must...)
	for _, c := range list {
		net.last[c.node] = time.Now()
	}
	return list
}

func (net *network) dial(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range net.candidates() {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
			defer cancel()
			err := net.mesh.Connect(ctx, c.node, c.addrs)
			net.noteRefusal(c.node, err)
			if !errors.Is(ctx.Err(), context.Canceled) { // the node goes down
				net.noteFailure(c.node, err)
			}
			if err != nil && ctx.Err() == nil {
				net.n.log.Debug("peer cannot be reached", "node", c.node, "err", err)
			}
		})
	}
	wg.Wait()
}

// noteRefusal remembers which peers answer and do not let this node in.
func (net *network) noteRefusal(peer protocol.NodeID, err error) {
	net.mu.Lock()
	defer net.mu.Unlock()
	delete(net.refused, peer)
	if errors.Is(err, mesh.ErrRefused) {
		net.refused[peer] = err.Error()
	}
}

// refusals counts the peers that did not let this node in when they were last called, with
// what one of them said.
func (net *network) refusals() (count int, said string) {
	net.mu.Lock()
	defer net.mu.Unlock()
	for _, peer := range slices.SortedFunc(maps.Keys(net.refused), protocol.NodeID.Compare) {
		count, said = count+1, net.refused[peer]
	}
	return count, said
}

func (net *network) peerChanged(id protocol.NodeID, connected bool) {
	net.mu.Lock()
	delete(net.heard, id)
	net.mu.Unlock()
	if connected {
		net.syncSoon(id)
		select {
		case net.clocks <- id:
		default: // it is asked within the hour
		}
	}
	net.n.changes.notify()
}
