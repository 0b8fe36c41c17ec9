package simtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"

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

	// Config, if not nil, changes what nodes to come are opened with.
	Config func(*node.Config)
	// Settled makes a network in which nothing of its founding has to spread: cards hold addresses
	// from the start, and every invitation tells of all members. It makes large worlds cheap.
	Settled bool
	// Bandwidth, in bits per second each way, of the links of nodes to come; 0: 100 Mbit/s.
	Bandwidth int

	net     *simnet.Simnet
	cut     atomic.Pointer[func(from, to string) bool]
	sent    atomic.Int64             // bytes
	invites map[int]*protocol.Invite // by the index of who was invited
	puppets []*Puppet

	mu       sync.Mutex
	captured func(b []byte)
	ended    map[[2]protocol.NodeID]int // connections that ended, by who saw it and with whom
}

// Node is one organisation's node in a world.
type Node struct {
	*node.Node
	Name   string
	Dir    string
	Keys   *node.Keys
	w      *World
	ip     string
	index  int
	config node.Config
	link   simnet.LinkSettings
	stop   context.CancelFunc
	done   chan error
}

// New makes a world without nodes. Close is due at the end of the bubble.
func New(t *testing.T) *World {
	w := &World{T: t, invites: map[int]*protocol.Invite{}, ended: map[[2]protocol.NodeID]int{}, net: &simnet.Simnet{LatencyFunc: simnet.StaticLatency(Latency), Logger: slog.New(slog.DiscardHandler)}}
	w.net.Start()
	return w
}

// Close stops all nodes and the network.
func (w *World) Close() {
	for _, p := range w.puppets {
		if err := p.Close(); err != nil {
			w.T.Errorf("closing the puppet of %s: %v", p.Name, err)
		}
	}
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

// Add founds an organisation with one node, which is not up yet.
func (w *World) Add(name string, kind protocol.OrgKind, country string) *Node {
	w.T.Helper()
	n := w.place(name)
	req := node.InitRequest{Name: name, Kind: kind, Country: country}
	if w.Settled {
		req.Addrs = []string{n.addr()}
	}
	ident, err := node.NewIdentity(req)
	if err != nil {
		w.T.Fatal(err)
	}
	n.begin(ident.Keys, &ident.Card)
	return n
}

// place finds a place on the network for a node to come.
func (w *World) place(name string) *Node {
	n := &Node{Name: name, w: w, index: len(w.Nodes), ip: simnet.IntToPublicIPv4(len(w.Nodes)).String()}
	if w.Dir != "" {
		n.Dir = filepath.Join(w.Dir, fmt.Sprint(n.index))
	}
	return n
}

// begin opens a node at its place with its keys, and with its first card if there is one.
func (n *Node) begin(keys *node.Keys, card *protocol.SignedCard) {
	w := n.w
	n.Keys, n.link = keys, w.link()
	n.config = node.Config{Dir: n.Dir, Keys: keys, Card: card, Log: w.log(n.Name), SyncEvery: 30 * time.Second,
		Listen:      []string{n.addr()},
		HostOptions: []mesh.HostOption{w.quic(n), w.watch(n)}}
	if w.Config != nil {
		w.Config(&n.config)
	}
	w.Nodes = append(w.Nodes, n)
	n.Open()
}

// link is that of a node to come.
func (w *World) link() simnet.LinkSettings {
	bits := w.Bandwidth
	if bits == 0 {
		bits = 100 * simlibp2p.OneMbps
	}
	return simnet.LinkSettings{BitsPerSecond: bits}
}

// Open opens a node anew that was closed, on the same data.
func (n *Node) Open() {
	n.w.T.Helper()
	var err error
	if n.Node, err = node.Open(n.config); err != nil {
		n.w.T.Fatal(err)
	}
}

// addr is where the node listens.
func (n *Node) addr() string { return fmt.Sprintf("/ip4/%s/udp/8000/quic-v1", n.ip) }

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
	if w.Settled {
		w.inviteAll()
	} else {
		for _, n := range w.Nodes[1:] {
			w.Invite(n)
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

// Invite makes a node a member, by an invitation of the founder.
func (w *World) Invite(n *Node) {
	w.T.Helper()
	inv, err := w.Nodes[0].Invite(&n.OwnCard().Signed, time.Hour)
	if err != nil {
		w.T.Fatal(err)
	}
	if _, err := n.Join(inv); err != nil {
		w.T.Fatal(err)
	}
	w.invites[n.index] = inv
}

// inviteAll is Invite for all nodes, each of which is told of all others.
func (w *World) inviteAll() {
	w.T.Helper()
	all := &protocol.Invite{}
	for _, n := range w.Nodes[1:] {
		inv, err := w.Nodes[0].Invite(&n.OwnCard().Signed, time.Hour)
		if err != nil {
			w.T.Fatal(err)
		}
		w.invites[n.index] = inv
		all.Cards = append(all.Cards, n.OwnCard().Signed)
		all.Statements = append(all.Statements, slices.DeleteFunc(slices.Clone(inv.Statements), func(st protocol.RosterStatement) bool { return st.Kind == protocol.StatementGenesis })...)
	}
	var joins sync.WaitGroup // to verify all of it is most of the work of a large world
	for _, n := range w.Nodes[1:] {
		joins.Go(func() {
			inv := *w.invites[n.index]
			inv.Cards = slices.Concat(inv.Cards, all.Cards)
			inv.Statements = slices.Concat(inv.Statements, all.Statements)
			if _, err := n.Join(&inv); err != nil {
				w.T.Error(err)
			}
		})
	}
	joins.Wait()
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
	pause := 100 * time.Millisecond
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(pause) {
		if ok() {
			return
		}
		// To look costs more than to wait, where there are many nodes.
		pause = min(pause+pause/10, 2*time.Second)
	}
	w.T.Fatalf("ten minutes passed before %s", what)
}

// everyNode reports whether ok holds at every node.
func everyNode(nodes []*Node, ok func(n *Node) bool) bool {
	return !slices.ContainsFunc(nodes, func(n *Node) bool { return !ok(n) })
}

// RandomText returns text that is found nowhere else.
func RandomText() string { return "canary-" + strings.ToLower(rand.Text()) }
