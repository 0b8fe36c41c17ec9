package simtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// Propagation says what to simulate: a mesh in which some nodes publish in turn.
type Propagation struct {
	Nodes   int
	Authors int           // so many of the nodes; at least 2
	Every   time.Duration // between two publications
	Files   [][]byte      // STIX, each of them a publication; the first of each author come before the clock runs

	// Without nodes: gossip alone, of messages of these sizes, between nodes that are connected so.
	Bare  bool
	Sizes []int
	Links [][2]int
}

// Propagated is what was measured.
type Propagated struct {
	Times
	Sizes      []int    // of the messages, in bytes
	Links      [][2]int // connections, by the numbers of nodes
	Sent       int64    // bytes of packets, of all nodes, while they published
	Idle       int64    // of that, what they would have sent if none had published, from a minute before
	Duplicates uint64   // messages that came to a node once more
}

// settle is how long a mesh is left alone before it is measured: its topology is made in
// heartbeats, of a second each.
const settle = 15 * time.Second

// Main simulates the mesh that in describes, and writes what it measured to out, both in JSON. It
// ends the process, with status 0 if that went well: virtual time (testing/synctest) is there for
// tests alone, so that a process becomes one of a single test. What a test prints goes to standard
// error.
func Main(in io.Reader, out io.Writer) {
	os.Stdout = os.Stderr
	os.Args = os.Args[:1] // flags are for tests
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "Propagation", F: func(t *testing.T) {
		var p Propagation
		if err := json.NewDecoder(in).Decode(&p); err != nil {
			t.Fatalf("reading what to simulate: %v", err)
		}
		r := p.Simulate(t)
		if err := json.NewEncoder(out).Encode(r); err != nil {
			t.Fatal(err)
		}
	}}}, nil, nil)
}

// Simulate runs it, in a bubble of its own.
func (p *Propagation) Simulate(t *testing.T) (r Propagated) {
	t.Helper()
	if p.Authors < 2 || p.Authors > p.Nodes || p.messages() <= 0 {
		t.Fatalf("%d nodes, of which %d are authors, and %d messages cannot be simulated", p.Nodes, p.Authors, p.messages())
	}
	synctest.Test(t, func(t *testing.T) {
		if p.Bare {
			p.ofGossip(t, &r)
		} else {
			p.ofNodes(t, &r)
		}
	})
	return r
}

// authors are spread over the nodes.
func (p *Propagation) authors() (list []int) {
	for i := range p.Authors {
		list = append(list, i*p.Nodes/p.Authors)
	}
	return list
}

// messages is how many are measured.
func (p *Propagation) messages() int {
	if p.Bare {
		return len(p.Sizes)
	}
	return len(p.Files) - p.Authors
}

// ofNodes publishes among nodes. Each author sends to the next.
func (p *Propagation) ofNodes(t *testing.T, r *Propagated) {
	w := New(t)
	defer w.Close()
	w.Settled = true
	w.Config = func(c *node.Config) { c.SyncEvery = 0 } // as in production
	for i := range p.Nodes {
		w.Add(fmt.Sprintf("Org %d", i), "cert", "")
	}
	w.Network()
	for _, n := range w.Nodes {
		if err := n.JoinTopic("c2"); err != nil {
			t.Fatal(err)
		}
	}
	authors := p.authors()
	for k, a := range authors {
		w.Agree(w.Nodes[a], w.Nodes[authors[(k+1)%len(authors)]], protocol.TLPAmber, "*")
	}
	feeds := make([]protocol.FeedID, len(authors))
	records := map[int]uint64{} // by author
	publish := func(author int, file []byte) (*node.Receipt, error) {
		in, err := intake.Read("file", bytes.NewReader(file), intake.Options{Format: intake.STIX})
		if err != nil {
			return nil, err
		}
		records[author] += uint64(len(in.Items))
		return w.Nodes[author].Publish(context.Background(), node.PublishRequest{Topic: "c2", Items: in.Items, Flags: policy.Flags{TLP: protocol.TLPGreen}})
	}
	for k, a := range authors { // keys are granted with the first
		rec, err := publish(a, p.Files[k])
		if err != nil {
			t.Fatal(err)
		}
		feeds[k] = rec.Feed
		w.Until("the first publications are everywhere", func() bool {
			return everyNode(w.Nodes, func(n *Node) bool { seq, _ := n.Held(rec.Feed); return seq >= rec.To })
		})
	}
	time.Sleep(settle)
	w.idle(p, r)
	r.Links = w.links()
	s := NewSpread(p.Nodes)
	ctx, cancel := context.WithCancel(context.Background())
	var watches sync.WaitGroup
	defer func() { cancel(); watches.Wait() }()
	for i, n := range w.Nodes {
		watches.Go(func() { s.Watch(ctx, i, n.Node, feeds) })
	}
	before := w.duplicates()
	var err error
	sent := w.Sent()
	r.Times, err = s.Publish(ctx, p.messages(), p.Every, authors, func(author, message int) (string, error) {
		rec, err := publish(author, p.Files[len(authors)+message])
		if err != nil {
			return "", err
		}
		if rec.Envelopes != 1 {
			return "", fmt.Errorf("a publication has %d envelopes; one was meant", rec.Envelopes)
		}
		r.Sizes = append(r.Sizes, rec.Bytes)
		return EntryName(rec.Feed, rec.To), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Sent = w.Sent() - sent
	r.Duplicates = w.duplicates() - before
	// It was a publication, and not only bytes: who may read it does.
	for k, a := range authors {
		reader := authors[(k+1)%len(authors)]
		w.Until("all records are read", func() bool {
			m, err := w.Nodes[reader].Metrics()
			if err != nil {
				t.Fatal(err)
			}
			return m.Records == records[a]+records[reader]
		})
	}
}

// ofGossip does the same without nodes.
func (p *Propagation) ofGossip(t *testing.T, r *Propagated) {
	const topic = "/entente/t/baseline"
	w := New(t)
	defer w.Close()
	s := NewSpread(p.Nodes)
	var duplicates atomic.Uint64
	var all []*Bare
	defer func() {
		for _, b := range all {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range p.Nodes {
		b := w.Bare(i, func(data []byte) { s.Arrived(i, BareName(data)) }, func(string) { duplicates.Add(1) })
		all = append(all, b)
	}
	var calls sync.WaitGroup
	for _, l := range p.Links {
		calls.Go(func() {
			if err := all[l[0]].Call(context.Background(), all[l[1]]); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	// As the nodes do: who joins a topic chooses among those with whom it is connected, and others
	// choose it. Meshes that grow with the connections have fewer links.
	time.Sleep(time.Second)
	for _, b := range all {
		if err := b.Join(topic); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(settle)
	w.idle(p, r)
	before := duplicates.Load()
	var err error
	sent := w.Sent()
	r.Times, err = s.Publish(context.Background(), p.messages(), p.Every, p.authors(), func(author, message int) (string, error) {
		data := BareMessage(p.Sizes[message])
		r.Sizes = append(r.Sizes, len(data))
		return BareName(data), all[author].Publish(context.Background(), topic, data)
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Sent, r.Links = w.Sent()-sent, p.Links
	r.Duplicates = duplicates.Load() - before
}

// bareName is how many bytes at the beginning of a message name it.
const bareName = 16

// BareMessage makes a message for gossip alone, of a size in bytes.
func BareMessage(size int) []byte {
	data := make([]byte, max(size, bareName))
	rand.Read(data)
	return data
}

// BareName names such a message.
func BareName(data []byte) string { return string(data[:min(len(data), bareName)]) }

// idle measures what is sent when nothing is published, for as long as it takes until every node
// has stated its heads and compared itself once: they all do so at about the same time.
func (w *World) idle(p *Propagation, r *Propagated) {
	const round = max(node.DefaultHeadEvery, node.DefaultSyncEvery)
	sent := w.Sent()
	time.Sleep(round)
	r.Idle = (w.Sent() - sent) * int64(time.Duration(p.messages())*p.Every/time.Millisecond) / int64(round/time.Millisecond)
}

// links lists who is connected with whom.
func (w *World) links() (list [][2]int) {
	index := map[protocol.NodeID]int{}
	for _, n := range w.Nodes {
		index[n.ID()] = n.index
	}
	for _, n := range w.Nodes {
		for _, p := range n.Peers() {
			for _, e := range p.Nodes {
				if i, ok := index[e.Node]; ok && e.Connected {
					list = append(list, [2]int{min(i, n.index), max(i, n.index)})
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(list)
}

// duplicates counts entries that came to a node once more.
func (w *World) duplicates() (count uint64) {
	for _, n := range w.Nodes {
		m, err := n.Metrics()
		if err != nil {
			w.T.Fatal(err)
		}
		count += m.Duplicates
	}
	return count
}
