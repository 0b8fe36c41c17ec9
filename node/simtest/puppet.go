package simtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// Puppet is a member of the network that does nothing by itself: the test decides every byte
// that it says. It is rostered, has a card, and holds the keys and topic secrets of the node
// whose place it takes. It speaks the wire as SPEC.md describes it and uses none of
// package mesh, so that nothing keeps it from breaking a rule.
type Puppet struct {
	*Node   // whose place it has; its store is at rest
	Network protocol.NetworkID

	// Answer, if set, answers a request on a sync stream; nil: AnswerHonestly does. A nil
	// answer closes the stream without one.
	Answer func(from *Node, m *protocol.SyncMessage) *protocol.SyncMessage
	// Show says which logs a peer is shown on a sync stream; nil: all of them.
	Show func(to *Node) []*Log

	host     host.Host
	versions []int
	secrets  map[uint32][32]byte
	logs     []*Log

	mu    sync.Mutex // guards what follows; never held across I/O
	out   map[*Node]network.Stream
	heard []Heard
	asked map[protocol.SyncKind]int
}

// Heard is a message that a peer gossiped to a puppet.
type Heard struct {
	From  *Node
	Topic string // as on the wire
	Data  []byte
}

// Puppet takes a node down and puts a puppet in its place, which speaks these versions of the
// protocols, the best first; none: version 1. It calls nobody: see Dial.
func (w *World) Puppet(n *Node, versions ...int) *Puppet {
	w.T.Helper()
	n.Down()
	if len(versions) == 0 {
		versions = []int{1}
	}
	st, err := n.Status()
	if err != nil {
		w.T.Fatal(err)
	}
	p := &Puppet{Node: n, Network: st.Network, versions: versions, secrets: map[uint32][32]byte{}, out: map[*Node]network.Stream{}, asked: map[protocol.SyncKind]int{}}
	p.openSecrets(w.invites[n.index])
	seed, id := n.Keys.Host.UnsafeSeed(), n.Keys.Host.Public()
	key, err := libp2pcrypto.UnmarshalEd25519PrivateKey(append(seed[:], id[:]...))
	if err != nil {
		w.T.Fatal(err)
	}
	p.host, err = libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings(n.addr()), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.Security(libp2ptls.ID, libp2ptls.New), libp2p.Muxer(yamux.ID, yamux.DefaultTransport), libp2p.Transport(libp2pquic.NewTransport), w.quic(n))
	if err != nil {
		w.T.Fatal(err)
	}
	for _, v := range p.versions {
		p.host.SetStreamHandler(protocolID("hello", v), p.answerHello)
		p.host.SetStreamHandler(protocolID("gossip", v), p.hear)
		p.host.SetStreamHandler(protocolID("sync", v), p.answerSync)
	}
	w.puppets = append(w.puppets, p)
	return p
}

func protocolID(what string, version int) libp2pprotocol.ID {
	return libp2pprotocol.ID(fmt.Sprintf("/entente/%s/%d", what, version))
}

func (p *Puppet) protocolIDs(what string) (out []libp2pprotocol.ID) {
	for _, v := range p.versions {
		out = append(out, protocolID(what, v))
	}
	return out
}

// Close takes the puppet off the network.
func (p *Puppet) Close() error { return p.host.Close() }

// openSecrets reads the names of topics on the wire from the puppet's invitation.
func (p *Puppet) openSecrets(inv *protocol.Invite) {
	if inv == nil {
		p.w.T.Fatalf("%s was not invited, so a puppet of it knows no topics", p.Name)
	}
	for i := range inv.Statements {
		var ts protocol.TopicSecret
		if inv.Statements[i].Kind != protocol.StatementTopicSecret || protocol.Decode(inv.Statements[i].Statement, protocol.MaxStatementSize, &ts) != nil {
			continue
		}
		for _, share := range ts.Shares {
			// An identity that turned since the invitation is still among those kept.
			for _, id := range p.Keys.Identities {
				if plain, err := id.OpenSealed(share.Sealed); err == nil {
					p.secrets[ts.Period] = [32]byte(plain)
				}
			}
		}
	}
	if len(p.secrets) == 0 {
		p.w.T.Fatalf("the invitation of %s holds no topic secret", p.Name)
	}
}

// Wire returns the name of a topic on the wire, in the newest period that the puppet was told of.
func (p *Puppet) Wire(topic string) string {
	newest := uint32(0)
	for period := range p.secrets {
		newest = max(newest, period)
	}
	return crypto.TopicName(p.secrets[newest], protocol.NewTopicID(p.Network, topic), newest)
}

func (n *Node) peerID() peer.ID {
	id := n.Keys.Host.Public()
	key, err := libp2pcrypto.UnmarshalEd25519PublicKey(id[:])
	if err != nil {
		panic(err) // a key of 32 bytes that was just made
	}
	out, err := peer.IDFromPublicKey(key)
	if err != nil {
		panic(err)
	}
	return out
}

func (p *Puppet) node(id peer.ID) *Node {
	for _, n := range p.w.Nodes {
		if n.peerID() == id {
			return n
		}
	}
	return nil
}

// Dial connects with a node and says hello.
func (p *Puppet) Dial(to *Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Connect(to); err != nil {
		return err
	}
	s, err := p.host.NewStream(ctx, to.peerID(), p.protocolIDs("hello")...)
	if err != nil {
		return err
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	if err := writeFrame(s, p.hello()); err != nil {
		return err
	}
	answer, err := readFrame(s)
	if err != nil {
		return err
	}
	if len(answer) == 0 || answer[0] != 0 {
		return fmt.Errorf("%s refused: %q", to.Name, answer)
	}
	return writeFrame(s, []byte{0})
}

// Connect connects with a node and says nothing.
func (p *Puppet) Connect(to *Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	a, err := ma.NewMultiaddr(to.addr())
	if err != nil {
		return err
	}
	return p.host.Connect(ctx, peer.AddrInfo{ID: to.peerID(), Addrs: []ma.Multiaddr{a}})
}

// DialAll dials nodes, which have to let the puppet in.
func (p *Puppet) DialAll(nodes []*Node) {
	p.w.T.Helper()
	for _, n := range nodes {
		if err := p.Dial(n); err != nil {
			p.w.T.Fatalf("%s dials %s: %v", p.Name, n.Name, err)
		}
	}
}

// hello is the frame of a hello: 16 bytes that name the process, and who it is.
func (p *Puppet) hello() []byte {
	return append([]byte("puppet of a node"), protocol.Encode(&protocol.Hello{Version: 1, Network: p.Network, Card: p.OwnCard().Signed})...)
}

func (p *Puppet) answerHello(s network.Stream) {
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := readFrame(s); err == nil && writeFrame(s, append([]byte{0}, p.hello()...)) == nil {
		_, _ = readFrame(s)
	}
}
