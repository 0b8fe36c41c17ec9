package mesh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

const (
	overQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
	overTCP  = "/ip4/127.0.0.1/tcp/0"

	testTopic = topicPrefix + "test"

	// soon is far longer than anything here takes, unless it is broken.
	soon = 20 * time.Second
)

// club is who is known to whom: the nodes of a test share one.
type club struct {
	mu      sync.Mutex
	members map[protocol.NodeID]protocol.OrgID
	cards   map[protocol.NodeID][]string // addresses that nodes announce
}

func newClub() *club {
	return &club{members: map[protocol.NodeID]protocol.OrgID{}, cards: map[protocol.NodeID][]string{}}
}

func (c *club) announced(n protocol.NodeID) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cards[n]
}

func (c *club) announce(n protocol.NodeID, addrs ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cards[n] = addrs
}

func (c *club) known(n protocol.NodeID) (protocol.OrgID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	org, ok := c.members[n]
	return org, ok
}

func (c *club) add(nodes ...protocol.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range nodes {
		c.members[n] = protocol.OrgID(n)
	}
}

// addOf adds nodes of one organisation.
func (c *club) addOf(org protocol.OrgID, nodes ...protocol.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range nodes {
		c.members[n] = org
	}
}

func (c *club) remove(n protocol.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, n)
}

// message is what a node's owner was given.
type message struct {
	from protocol.NodeID
	data string
}

// member is a mesh and what its owner was told.
type member struct {
	*Mesh
	got     chan message
	changes chan peerEvent
	dropped chan string
}

// newMember starts a mesh that knows whom club knows, which it is not in itself yet.
func newMember(t testing.TB, c *club, listen string, changes ...func(*Config)) *member {
	t.Helper()
	m := &member{got: make(chan message, 4096), changes: make(chan peerEvent, 4096), dropped: make(chan string, 4096)}
	cfg := Config{
		Key:       crypto.GenerateNode(),
		Known:     c.known,
		Announced: c.announced,
		OwnHello:  func() []byte { return []byte("hello") },
		Hello:     func(protocol.NodeID, []byte) error { return nil },
		Validate:  func(protocol.NodeID, string, []byte) (Verdict, any) { return Accept, nil },
		Deliver:   func(from protocol.NodeID, _ string, data []byte, _ any) { m.got <- message{from, string(data)} },
		Dropped: func(what string) {
			select {
			case m.dropped <- what:
			default:
			}
		},
		Serve: func(_ context.Context, _ protocol.NodeID, req *protocol.SyncMessage) (*protocol.SyncMessage, error) {
			return req, nil
		},
		PeerChanged: func(node protocol.NodeID, connected bool) { m.changes <- peerEvent{node, connected} },
	}
	if listen != "" {
		cfg.Listen = []string{listen}
	}
	for _, change := range changes {
		change(&cfg)
	}
	var err error
	if m.Mesh, err = New(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return m
}

// newMembers starts n meshes of one club, unconnected.
func newMembers(t testing.TB, n int, listen string, changes ...func(*Config)) (*club, []*member) {
	t.Helper()
	c := newClub()
	var all []*member
	for range n {
		m := newMember(t, c, listen, changes...)
		c.add(m.self)
		all = append(all, m)
	}
	return c, all
}

// connect makes a call b, and waits until both let each other in.
func connect(t testing.TB, a, b *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := a.Connect(ctx, b.self, b.Addrs()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the called let the caller in", func() bool { return b.admitted(a.self) })
}

// joinAll makes all join the test topic, and waits until each sees peers others in it.
func joinAll(t testing.TB, all []*member, peers func(i int) int) {
	t.Helper()
	for _, m := range all {
		if err := m.Join(testTopic); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range all {
		eventually(t, fmt.Sprintf("member %d sees its peers in the topic", i), func() bool { return m.TopicPeers(testTopic) == peers(i) })
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); !ok(); <-tick.C {
		if time.Since(begin) > soon {
			t.Fatalf("%v passed before %s", soon, what)
		}
	}
}

// next takes the next value of a channel.
func next[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(soon):
		t.Fatalf("%v passed before %s", soon, what)
		panic("unreachable")
	}
}

func (m *member) publish(t testing.TB, data string) {
	t.Helper()
	if err := m.Publish(context.Background(), testTopic, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// outsider is a bare libp2p host: what a peer may do that runs other code than ours.
type outsider struct {
	host.Host
	id protocol.NodeID
}

func newOutsider(t testing.TB, opts ...libp2p.Option) *outsider {
	t.Helper()
	key := crypto.GenerateNode()
	seed, id := key.UnsafeSeed(), key.Public()
	priv, err := libp2pcrypto.UnmarshalEd25519PrivateKey(append(seed[:], id[:]...))
	if err != nil {
		t.Fatal(err)
	}
	if opts == nil {
		opts = []libp2p.Option{libp2p.Security(libp2ptls.ID, libp2ptls.New)}
	}
	h, err := libp2p.New(append(opts, libp2p.Identity(priv), libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return &outsider{h, id}
}

// call connects to a member.
func (o *outsider) call(t testing.TB, m *member) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	return o.Connect(ctx, peer.AddrInfo{ID: peerOf(m.self), Addrs: multiaddrs(t, m.Addrs())})
}

// open opens a stream to a member, with deadlines. It is negotiated with the first write or
// read, so that refusal is an error of those.
func (o *outsider) open(t testing.TB, m *member, id libp2pprotocol.ID) network.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	s, err := o.NewStream(network.WithNoDial(ctx, "test"), peerOf(m.self), id)
	if err != nil {
		t.Fatalf("opening %s: %v", id, err)
	}
	if err := s.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Reset() })
	return s
}

// hello says hello in full, and returns the answer.
func (o *outsider) hello(t testing.TB, m *member, hello []byte) ([]byte, error) {
	t.Helper()
	s := o.open(t, m, helloV1)
	if err := writeFrame(s, append(make([]byte, 16), hello...)); err != nil {
		return nil, err
	}
	answer, err := readFrame(s, 1+16+protocol.MaxHelloSize)
	if err != nil {
		return nil, err
	}
	if answer[0] == helloWelcome {
		err = writeFrame(s, []byte{helloWelcome})
	}
	_ = s.Close()
	return answer, err
}

// gossip starts bare gossipsub with a mesh's protocol and rules of messages, but none of
// its bounds, in the test topic.
func (o *outsider) gossip(t testing.TB) (*pubsub.Topic, <-chan string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, o.Host,
		pubsub.WithGossipSubProtocols(gossipProtocols, features),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(msg *pb.Message) string { return protocol.GossipID(msg.GetTopic(), msg.GetData()) }),
		pubsub.WithMaxMessageSize(8<<20), pubsub.WithFloodPublish(true))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := ps.Join(testTopic)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 64)
	go func() {
		for {
			msg, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if msg.ReceivedFrom != o.ID() {
				got <- string(msg.GetData())
			}
		}
	}()
	return topic, got
}

func multiaddrs(t testing.TB, addrs []string) (out []ma.Multiaddr) {
	t.Helper()
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func randomText(size int) string {
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, "%016x", rand.Uint64())
	}
	return b.String()[:size]
}
