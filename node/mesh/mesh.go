package mesh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/outbound"
	"github.com/entente-mesh/entente/protocol"
)

// HostOption configures the libp2p host of a simulated node.
type HostOption = libp2p.Option

// Verdict is what a validator says of a gossiped message.
type Verdict uint8

// The verdicts. The zero value is Ignore, so that what is not judged is not passed on.
const (
	Ignore Verdict = iota // nobody's fault: neither delivered nor passed on
	Accept                // delivered, and passed on to others
	Reject                // malformed or badly signed; its sender misbehaved
)

// Config says who this node is and what it does with what peers send. All fields must be
// set but those that say otherwise. Every function is called concurrently.
type Config struct {
	Key     crypto.NodePrivate
	Listen  []string // multiaddresses: /ip4/0.0.0.0/udp/4001/quic-v1, /ip4/0.0.0.0/tcp/4001; empty: dials only
	Network protocol.NetworkID
	Log     *slog.Logger // nil: nothing is logged

	// Known says whether a node belongs to a member, and which. It is asked for every
	// stream and every gossiped message: it answers from memory.
	Known func(protocol.NodeID) (protocol.OrgID, bool)
	// OwnHello returns what this node says of itself, at most protocol.MaxHelloSize.
	OwnHello func() []byte
	// Hello judges what a peer says of itself. A peer that is Known afterwards is let in,
	// whatever it returns; the error is the reason that a refused peer is told.
	Hello func(remote protocol.NodeID, hello []byte) error
	// Validate judges a gossiped message before it is delivered or passed on. It runs
	// inline on one of a few workers: it does not block, write or decrypt. What it made of the
	// message goes to Deliver with it, so that nothing is read and verified twice.
	Validate func(from protocol.NodeID, topic string, data []byte) (v Verdict, made any)
	// Deliver takes an accepted message, and what Validate made of it; from is who passed it
	// on, not who wrote it. It is called from one goroutine per topic. While it blocks,
	// messages of its topic queue up, then are dropped.
	Deliver func(from protocol.NodeID, topic string, data []byte, made any)
	// Subscribed is told when a peer joined a topic that this node is in: what was published
	// there before did not go to it. It does not block. May be nil.
	Subscribed func(node protocol.NodeID, topic string)
	// Dropped is told of every message that was lost in a full queue, with the queue's
	// name. It does not block. May be nil.
	Dropped func(what string)
	// Duplicate is told of every gossiped message of a topic that came once more. It does
	// not block. May be nil.
	Duplicate func(topic string)
	// Serve answers one request of a known peer. An error of a class of package protocol
	// is told to the peer as text; of any other error only that there was one.
	Serve func(ctx context.Context, remote protocol.NodeID, m *protocol.SyncMessage) (*protocol.SyncMessage, error)
	// Announced returns the addresses that stand on a known node's card. May be nil: then only those are
	// called back that a peer's connection comes from.
	Announced func(protocol.NodeID) []string
	// PeerChanged is told, in order and from one goroutine, when a peer was let in and
	// when the last connection with it ended. May be nil.
	PeerChanged func(node protocol.NodeID, connected bool)

	// Proxy, if not nil, is an HTTP proxy by way of which all peers are called; nothing is called
	// by QUIC then.
	Proxy *outbound.Proxy
	// Relay makes this node relay for the peers that are Known.
	Relay bool
	// Relays returns the relays at which this node should be reachable, the best first; none if
	// it needs none. It is asked every few seconds. May be nil.
	Relays func() []Relay
	// Reserved is told when Reservations changed. It does not block. May be nil.
	Reserved func()

	// HostOptions, if not nil, replace the transports and limits of the host, for
	// simulation: QUIC is the only transport, and runs over what the options say.
	HostOptions []HostOption

	// Program and Capabilities are what peers are told of this program; both may be empty.
	Program      string
	Capabilities []string
	Wire         Wire // simulation only
	// Now is the node's clock; nil: that of the machine.
	Now func() time.Time
	// Trace, if not nil, is told of every frame of hello and sync streams, and of gossip that is taken: for
	// recording what a release says on the wire (CONTRIBUTING). what is hello, gossip, asked (a request of
	// the peer), ask (one to it) or answer (of the peer). It does not block.
	Trace func(node protocol.NodeID, id, what string, frame []byte)
}

// Mesh is one node's place among its peers. Its methods may be called concurrently.
type Mesh struct {
	cfg    Config
	log    *slog.Logger
	self   protocol.NodeID
	wire   wire
	host   host.Host
	pubsub *pubsub.PubSub
	identd event.Emitter // tells pubsub of a peer once it was let in
	filter *subscriptions

	instance instance // names this run
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	relaying     atomic.Pointer[relaying] // nil: this node is no relay
	seen         seen
	resets       atomic.Uint64 // connections that the watchdog ended
	punched      atomic.Uint64 // peers that were connected by way of a relay, then directly
	stopRelay    func() error
	stopPunching func() error
	dialBacks    dialBacks

	joining  sync.Mutex // held by Join and Leave, so that pubsub has the topics that m.topics has
	greetAll sync.Mutex // held by GreetAll while it greets

	greetsNext atomic.Bool // a GreetAll waits

	mu         sync.Mutex // guards what follows; never held across a call that may wait
	closed     bool
	peers      map[protocol.NodeID]*peerState // connected ones, let in or not
	backoffs   map[protocol.NodeID]backoff
	foreign    map[protocol.NodeID]foreigner
	topics     map[string]*joined
	serving    map[protocol.NodeID]int // sync streams being served
	greeting   map[protocol.NodeID]bool
	reserved   map[protocol.NodeID]time.Time // relays, and until when
	reservedAt map[protocol.NodeID]time.Time // since when, across renewals
	relayTries map[protocol.NodeID]relayTry
	alone      map[protocol.NodeID]*lonely // peers that share no topic
	unreserved chan struct{}               // capacity 1: a relay in reserved is gone
	events     []peerEvent
	wake       chan struct{} // capacity 1: events is not empty
}

// New starts a node's part of the mesh. It runs until Close is called or ctx ends; Close
// is due in either case.
func New(ctx context.Context, cfg Config) (*Mesh, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &Mesh{cfg: cfg, log: cfg.Log, self: cfg.Key.Public(), wire: cfg.Wire.resolve(), ctx: ctx, cancel: cancel,
		peers: map[protocol.NodeID]*peerState{}, backoffs: map[protocol.NodeID]backoff{}, foreign: map[protocol.NodeID]foreigner{},
		topics: map[string]*joined{}, serving: map[protocol.NodeID]int{},
		greeting: map[protocol.NodeID]bool{}, wake: make(chan struct{}, 1), unreserved: make(chan struct{}, 1),
		seen: seen{addrs: map[peer.ID][]ma.Multiaddr{}}, reserved: map[protocol.NodeID]time.Time{}, reservedAt: map[protocol.NodeID]time.Time{},
		relayTries: map[protocol.NodeID]relayTry{}, alone: map[protocol.NodeID]*lonely{}}
	rand.Read(m.instance[:])
	if err := m.start(); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

func (c *Config) check() error {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dropped == nil {
		c.Dropped = func(string) {}
	}
	if c.Duplicate == nil {
		c.Duplicate = func(string) {}
	}
	if c.Relays == nil {
		c.Relays = func() []Relay { return nil }
	}
	if c.Reserved == nil {
		c.Reserved = func() {}
	}
	if c.Trace == nil {
		c.Trace = func(protocol.NodeID, string, string, []byte) {}
	}
	if c.PeerChanged == nil {
		c.PeerChanged = func(protocol.NodeID, bool) {}
	}
	if c.Known == nil || c.OwnHello == nil || c.Hello == nil || c.Validate == nil || c.Deliver == nil || c.Serve == nil {
		return errors.New("mesh configuration lacks one of Known, OwnHello, Hello, Validate, Deliver, Serve")
	}
	if err := c.introduction().Validate(); err != nil {
		return fmt.Errorf("mesh configuration: %w", err)
	}
	return nil
}

func (c *Config) introduction() *protocol.Introduction {
	return &protocol.Introduction{Version: 1, Program: c.Program, Capabilities: c.Capabilities}
}

func (m *Mesh) start() (err error) {
	if m.host, err = m.newHost(); err != nil {
		return fmt.Errorf("starting host: %w", err)
	}
	m.host.Network().Notify(notifiee{m})
	for _, id := range m.wire.hello {
		m.host.SetStreamHandler(id, m.handleHello)
	}
	for _, id := range m.wire.sync {
		m.host.SetStreamHandler(id, m.gated(m.handleSync))
	}
	// A simulated node has no other host to call from, and one that calls by way of a proxy may call no other way.
	if m.cfg.HostOptions == nil && m.cfg.Proxy == nil {
		m.host.SetStreamHandler(dialBackProtocol, m.gated(m.handleDialBack))
	}
	if slices.Contains(m.wire.hello, helloV2) { // of the same release
		m.host.SetStreamHandler(clockProtocol, m.gated(m.handleClock))
	}
	m.identd, err = m.host.EventBus().Emitter(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return fmt.Errorf("starting host: %w", err)
	}
	if m.pubsub, err = m.newPubSub(); err != nil {
		return fmt.Errorf("starting gossip: %w", err)
	}
	if m.cfg.Relay {
		if err := m.serveRelay(); err != nil {
			return fmt.Errorf("starting to relay: %w", err)
		}
	}
	if m.cfg.Proxy == nil && len(m.cfg.Listen) > 0 {
		if err := m.startPunching(); err != nil {
			return fmt.Errorf("starting hole punching: %w", err)
		}
	}
	m.wg.Go(m.tellEvents)
	m.wg.Go(m.watch)
	m.wg.Go(m.keepReserved)
	return nil
}

// Close ends all connections, and returns when nothing that belongs to the mesh calls its
// owner any more.
func (m *Mesh) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	for _, p := range m.peers {
		p.timer.Stop()
	}
	m.mu.Unlock()
	m.cancel()
	var err error
	for _, stop := range []func() error{m.stopPunching, m.stopRelay} {
		if stop != nil {
			err = errors.Join(err, stop())
		}
	}
	if m.host != nil {
		err = errors.Join(err, m.host.Close())
	}
	m.wg.Wait()
	if m.identd != nil {
		err = errors.Join(err, m.identd.Close())
	}
	if err != nil {
		return fmt.Errorf("closing mesh: %w", err)
	}
	return nil
}

// spawn runs fn in a goroutine that Close waits for, unless the mesh is closed.
func (m *Mesh) spawn(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.wg.Go(fn)
	}
}

// watchEvery is how often watch looks.
const watchEvery = 30 * time.Second

// watch tells pubsub again of peers that are connected but that it has given up, as it
// does after a few streams that ended early. Peers that turn out to speak other versions of
// the protocols go. Where that does not help, see watchTopics.
func (m *Mesh) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		}
		gossips := map[protocol.NodeID]bool{}
		for _, p := range m.pubsub.ListPeers("") {
			if id, ok := nodeOf(p); ok {
				gossips[id] = true
			}
		}
		for _, p := range m.Peers() {
			if !gossips[p.Node] && !m.incompatible(p.Node) {
				m.announcePeer(p.Node)
			}
		}
		m.watchTopics(time.Now())
		m.endCircuits(time.Now())
	}
}
