package simtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/protocol"
)

// World is a simulated network with its nodes. All methods are for the goroutine of the
// test, inside its bubble.
type World struct {
	T     *testing.T
	Nodes []*Node
	Log   *slog.Logger // of the nodes; nil: none
	Dir   string       // data directories of nodes to come; empty: in memory

	net *simnet.Simnet
	cut atomic.Pointer[func(from, to string) bool]

	mu       sync.Mutex
	captured func(b []byte)
}

// Node is one organisation's node in a world.
type Node struct {
	*node.Node
	Name  string
	Dir   string
	Keys  *node.Keys
	w     *World
	ip    string
	index int
	stop  context.CancelFunc
	done  chan error
}

// Latency between any two nodes, one way.
const Latency = 20 * time.Millisecond

// New makes a world without nodes. Close is due at the end of the bubble.
func New(t *testing.T) *World {
	w := &World{T: t, net: &simnet.Simnet{LatencyFunc: simnet.StaticLatency(Latency), Logger: slog.New(slog.DiscardHandler)}}
	w.net.Start()
	return w
}

// Close stops all nodes and the network.
func (w *World) Close() {
	for _, n := range w.Nodes {
		n.Down()
	}
	for _, n := range w.Nodes {
		if err := n.Node.Close(); err != nil {
			w.T.Errorf("closing %s: %v", n.Name, err)
		}
	}
	w.net.Close()
	// What libp2p ends by itself takes a moment of virtual time.
	time.Sleep(time.Minute)
}

// Capture hands fn the bytes of every packet that any node sends from now on.
func (w *World) Capture(fn func(b []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.captured = fn
}

// Cut drops packets from now on where fn says so, by the indexes of nodes. nil heals.
func (w *World) Cut(fn func(from, to int) bool) {
	if fn == nil {
		w.cut.Store(nil)
		return
	}
	index := map[string]int{}
	for _, n := range w.Nodes {
		index[n.ip] = n.index
	}
	byIP := func(from, to string) bool {
		a, okA := index[from]
		b, okB := index[to]
		return okA && okB && fn(a, b)
	}
	w.cut.Store(&byIP)
}

// Add founds an organisation with one node, which is not up yet.
func (w *World) Add(name string, kind protocol.OrgKind, country string) *Node {
	w.T.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: name, Kind: kind, Country: country})
	if err != nil {
		w.T.Fatal(err)
	}
	n := &Node{Name: name, w: w, Keys: ident.Keys, index: len(w.Nodes), ip: simnet.IntToPublicIPv4(len(w.Nodes)).String()}
	if w.Dir != "" {
		n.Dir = filepath.Join(w.Dir, fmt.Sprint(n.index))
	}
	n.Node, err = node.Open(node.Config{Dir: n.Dir, Keys: ident.Keys, Card: &ident.Card, Log: w.log(name), SyncEvery: 30 * time.Second,
		Listen:      []string{fmt.Sprintf("/ip4/%s/udp/8000/quic-v1", n.ip)},
		HostOptions: []mesh.HostOption{w.quic(n.ip)}})
	if err != nil {
		w.T.Fatal(err)
	}
	w.Nodes = append(w.Nodes, n)
	return n
}

func (w *World) log(name string) *slog.Logger {
	if w.Log == nil {
		return nil
	}
	return w.Log.With("node", name)
}

// Up brings a node onto the network.
func (n *Node) Up() {
	n.w.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n.stop, n.done = cancel, make(chan error, 1)
	ready := make(chan struct{})
	go func() { n.done <- n.Run(ctx, func([]string) { close(ready) }) }()
	select {
	case <-ready:
	case err := <-n.done:
		n.w.T.Fatalf("%s did not come up: %v", n.Name, err)
	}
	time.Sleep(time.Second)
}

// Down takes a node off the network; its store stays.
func (n *Node) Down() {
	if n.stop == nil {
		return
	}
	n.stop()
	if err := <-n.done; err != nil {
		n.w.T.Errorf("%s: %v", n.Name, err)
	}
	n.stop = nil
}

// Network makes all nodes members of one network, founded by the first, and brings all up.
func (w *World) Network() {
	w.T.Helper()
	founder := w.Nodes[0]
	if _, err := founder.CreateNetwork("simulation"); err != nil {
		w.T.Fatal(err)
	}
	founder.Up()
	for _, n := range w.Nodes[1:] {
		inv, err := founder.Invite(&n.OwnCard().Signed, time.Hour)
		if err != nil {
			w.T.Fatal(err)
		}
		if _, err := n.Join(inv); err != nil {
			w.T.Fatal(err)
		}
	}
	for _, n := range w.Nodes[1:] {
		n.Up()
	}
	w.Until("everybody knows everybody", func() bool {
		for _, n := range w.Nodes {
			if st, err := n.Status(); err != nil || st.Members != len(w.Nodes) || st.Connected == 0 {
				return false
			}
		}
		return true
	})
}

// Agree makes the two parties trust each other and sign an agreement by which from may
// send to, up to a TLP, what concerns countries.
func (w *World) Agree(from, to *Node, tlp protocol.TLP, countries ...string) protocol.AgreementID {
	w.T.Helper()
	return w.AgreeTitled(from.Name+" to "+to.Name, from, to, tlp, countries...)
}

// AgreeTitled is Agree with a title for the agreement.
func (w *World) AgreeTitled(title string, from, to *Node, tlp protocol.TLP, countries ...string) protocol.AgreementID {
	w.T.Helper()
	for _, pair := range [][2]*Node{{from, to}, {to, from}} {
		card := pair[1].OwnCard()
		if _, err := pair[0].Trust(&card.Signed, strings.Join(crypto.Words(card.Org), " ")); err != nil {
			w.T.Fatal(err)
		}
	}
	now := uint64(time.Now().UnixMilli())
	doc := protocol.Agreement{Title: title, Parties: []protocol.OrgID{from.Org(), to.Org()},
		NotBefore: now, NotAfter: now + 300*24*3600*1000,
		Terms: []protocol.Term{{From: from.Org(), To: to.Org(), Topics: []string{"*"}, Kinds: []string{"*"}, TLP: tlp, Countries: countries, Personal: protocol.PersonalAll}}}
	slices.SortFunc(doc.Parties, protocol.OrgID.Compare)
	id, err := from.Propose(doc)
	if err != nil {
		w.T.Fatal(err)
	}
	w.Until(to.Name+" has the proposal", func() bool { _, err := to.Agreement(id); return err == nil })
	if err := to.Countersign(id); err != nil {
		w.T.Fatal(err)
	}
	w.Until(from.Name+" has the countersignature", func() bool {
		a, err := from.Agreement(id)
		return err == nil && a.State == node.AgreementInForce
	})
	return id
}

// Until waits, in virtual time, until ok; ten minutes of it are too long.
func (w *World) Until(what string, ok func() bool) {
	w.T.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.T.Fatalf("ten minutes passed before %s", what)
}

// quic is x/simlibp2p's option with a connection of our own around the simulated one.
func (w *World) quic(ip string) libp2p.Option {
	self := net.ParseIP(ip)
	return libp2p.QUICReuse(
		func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
			cm, err := quicreuse.NewConnManager(reset, token, opts...)
			if err != nil {
				return nil, err
			}
			l.Append(fx.StopHook(cm.Close))
			return cm, nil
		},
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sourceIP{self}, nil }),
		quicreuse.OverrideListenUDP(func(_ string, address *net.UDPAddr) (net.PacketConn, error) {
			link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
			c := w.net.NewEndpoint(address, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link})
			return &conn{PacketConn: c, w: w, ip: ip}, nil
		}))
}

type sourceIP struct{ ip net.IP }

func (s sourceIP) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return s.ip, nil }

// conn drops what the world cuts.
type conn struct {
	net.PacketConn
	w  *World
	ip string
}

// WriteTo implements net.PacketConn. A dropped packet is sent, as far as the sender knows.
func (c *conn) WriteTo(b []byte, to net.Addr) (int, error) {
	if fn := c.w.cut.Load(); fn != nil {
		if a, ok := to.(*net.UDPAddr); ok && (*fn)(c.ip, a.IP.String()) {
			return len(b), nil
		}
	}
	c.w.mu.Lock()
	captured := c.w.captured
	c.w.mu.Unlock()
	if captured != nil {
		captured(slices.Clone(b))
	}
	return c.PacketConn.WriteTo(b, to)
}

// RandomText returns text that is found nowhere else.
func RandomText() string { return "canary-" + strings.ToLower(rand.Text()) }
