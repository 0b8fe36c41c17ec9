package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/simtest"
	"github.com/entente-mesh/entente/protocol"
)

var scaleScenario = Scenario{
	Name: "scale", Unit: "simulated nodes", Size: simulatedNodes,
	About: "how long a publication takes until it is durable at every node, in simulated meshes of 20 nodes and more, and with 10 real ones; the baseline is gossip alone",
	run:   scale,
}

// SimulateCommand is the only argument with which this program is to call simtest.Main, on its
// standard input and output: virtual time is to be had in a process of its own only.
const SimulateCommand = "simulate-mesh"

const (
	scaleReach     = 1.15 // p99 by that of the baseline
	scaleAuthors   = 4
	simulatedNodes = 200
	simulatedTotal = 60 // publications
	simulatedEvery = time.Second
	realNodes      = 10
)

// realRun says how to measure nodes by the clock on the wall.
type realRun struct {
	nodes  int
	total  int           // publications
	every  time.Duration // between two
	settle time.Duration // before the first: gossip finds its topology in heartbeats of a second
}

// authors are spread over the nodes.
func (run *realRun) authors() (list []int) {
	for i := range scaleAuthors {
		list = append(list, i*run.nodes/scaleAuthors)
	}
	return list
}

func scale(ctx context.Context, o *Options, r *Result) error {
	r.Reach = fmt.Sprintf("p99 within %.2f of the baseline's, with %d simulated nodes and with %d real ones", scaleReach, simulatedNodes, realNodes)
	if o.Size < scaleAuthors {
		return fmt.Errorf("%d nodes are too few, since %d of them publish; --size is at least %d", o.Size, scaleAuthors, scaleAuthors)
	}
	var sizes []int
	for _, n := range []int{20, 50, 100, simulatedNodes} {
		if n < o.Size {
			sizes = append(sizes, n)
		}
	}
	sizes = append(sizes, o.Size)
	simulated := 0.0
	for _, n := range sizes {
		ours, bare, err := simulate(ctx, o, n)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d simulated", n)
		simulated = r.addDelays(name, ours.Delays, bare.Delays)
		r.addTraffic(name, ours, bare, n)
		if n == o.Size {
			r.Measured = fmt.Sprintf("1 / p99, until it is durable at each of %d simulated nodes", n)
			r.Baseline = "1 / p99 of gossip alone in the same simulated network"
			r.Rate, r.Base = 1/quantile(ours.Delays, 0.99).Seconds(), 1/quantile(bare.Delays, 0.99).Seconds()
		}
	}
	atHand, err := loopback(ctx, o, r, realRun{nodes: realNodes, total: 100, every: 200 * time.Millisecond, settle: 5 * time.Second})
	if err != nil {
		return err
	}
	r.Reached = o.Size >= simulatedNodes && simulated <= scaleReach && atHand <= scaleReach
	return nil
}

// addDelays adds figures of delays, and returns the ratio of the two p99.
func (r *Result) addDelays(name string, ours, bare []time.Duration) (ratio float64) {
	for _, q := range []float64{0.5, 0.99} {
		a, b := quantile(ours, q), quantile(bare, q)
		what := fmt.Sprintf("%s, p%.0f", name, 100*q)
		ratio = a.Seconds() / b.Seconds()
		r.add(what, milliseconds(a), "ms", "")
		r.add(what+", gossip alone", milliseconds(b), "ms", "")
		r.add(what+", ratio", ratio, "", "")
	}
	return ratio
}

func (r *Result) addTraffic(name string, ours, bare *simtest.Propagated, nodes int) {
	each := float64(nodes * len(ours.Calls))
	size := 0
	for _, s := range ours.Sizes {
		size += s
	}
	r.add(name+", bytes sent", float64(ours.Sent)/each, "B", fmt.Sprintf("by each node for each message of %d; %.0f when idle", size/len(ours.Sizes), float64(ours.Idle)/each))
	r.add(name+", bytes sent, gossip alone", float64(bare.Sent)/each, "B", fmt.Sprintf("%.0f when idle", float64(bare.Idle)/each))
	r.add(name+", duplicates", float64(ours.Duplicates)/float64(len(ours.Delays)), "", "for each delivery")
	r.add(name+", duplicates, gossip alone", float64(bare.Duplicates)/float64(len(bare.Delays)), "", fmt.Sprintf("%d connections in both", len(bare.Links)))
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// single are publications of one indicator each.
func single(count int) (files [][]byte) {
	for i := range count {
		files = append(files, bundle(i, i+1))
	}
	return files
}

// simulate measures a mesh of nodes in virtual time, and gossip alone between the same places.
func simulate(ctx context.Context, o *Options, nodes int) (ours, bare *simtest.Propagated, err error) {
	p := simtest.Propagation{Nodes: nodes, Authors: scaleAuthors, Every: simulatedEvery, Files: single(scaleAuthors + simulatedTotal)}
	o.say("simulating %d nodes", nodes)
	if ours, err = child(ctx, &p); err != nil {
		return nil, nil, err
	}
	o.say("gossip alone between %d places", nodes)
	p.Bare, p.Sizes, p.Links = true, ours.Sizes, ours.Links
	bare, err = child(ctx, &p)
	return ours, bare, err
}

// child simulates in a process of its own.
func child(ctx context.Context, p *simtest.Propagation) (*simtest.Propagated, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, SimulateCommand)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("simulating %d nodes: %w; it said:\n%s", p.Nodes, errors.Join(err, ctx.Err()), bytes.TrimSpace(said.Bytes()))
	}
	var r simtest.Propagated
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("simulating %d nodes: what it measured cannot be read: %w", p.Nodes, err)
	}
	return &r, nil
}

// loopback measures nodes of this process, by the clock on the wall, and returns the ratio of p99.
// Each of the meshes is alone while it is measured.
func loopback(ctx context.Context, o *Options, r *Result, run realRun) (float64, error) {
	name := fmt.Sprintf("%d real", run.nodes)
	o.say("%d nodes over loopback", run.nodes)
	ours, sizes, err := run.mesh(ctx, o, found)
	if err != nil {
		return 0, err
	}
	o.say("%d nodes over loopback, their stores in memory", run.nodes)
	memory, _, err := run.mesh(ctx, o, foundInMemory)
	if err != nil {
		return 0, err
	}
	o.say("gossip alone between %d places over loopback", run.nodes)
	bare, err := run.gossip(ctx, "", sizes)
	if err != nil {
		return 0, err
	}
	o.say("the same, each message synced to a file before it is sent and when it comes")
	synced, err := run.gossip(ctx, o.Dir, sizes)
	if err != nil {
		return 0, err
	}
	ratio := r.addDelays(name, ours.Delays, bare.Delays)
	more := func(what, note string, list []time.Duration) {
		r.add(name+", "+what+", p50", milliseconds(quantile(list, 0.5)), "ms", note)
		r.add(name+", "+what+", p99", milliseconds(quantile(list, 0.99)), "ms", "")
	}
	more("acknowledged", "until Publish returned: durable at its author, handed to gossip, and searchable there", ours.Calls)
	more("stores in memory", "verified and stored, with no disk", memory.Delays)
	more("stores in memory, acknowledged", "", memory.Calls)
	more("gossip alone, each message synced", "to a file, by its author before it is sent and by each receiver", synced.Delays)
	r.add(name+", p99, ratio without a disk", quantile(memory.Delays, 0.99).Seconds()/quantile(bare.Delays, 0.99).Seconds(), "", "stores in memory, by gossip alone")
	r.add(name+", p99, ratio with syncs in both", quantile(ours.Delays, 0.99).Seconds()/quantile(synced.Delays, 0.99).Seconds(), "", "on disk, by gossip alone with each message synced")
	sync, err := syncTimes(o.Dir, sizes[0])
	if err != nil {
		return 0, err
	}
	r.add("one sync of this disk, p50", milliseconds(quantile(sync, 0.5)), "ms", fmt.Sprintf("%d bytes appended to a file; nothing else runs", sizes[0]))
	r.add("one sync of this disk, p99", milliseconds(quantile(sync, 0.99)), "ms", "")
	return ratio, nil
}

// mesh measures nodes, which begin founds.
func (run *realRun) mesh(ctx context.Context, o *Options, begin func(context.Context, *Options, ...string) (*mesh, error)) (t simtest.Times, sizes []int, err error) {
	authors, files := run.authors(), single(scaleAuthors+run.total)
	var names []string
	for i := range run.nodes {
		names = append(names, fmt.Sprintf("Org %d", i))
	}
	m, err := begin(ctx, o, names...)
	defer func() { err = errors.Join(err, m.close()) }()
	if err != nil {
		return t, nil, err
	}
	publish := func(author int, file []byte) (*node.Receipt, error) {
		items, err := read(file)
		if err != nil {
			return nil, err
		}
		return m.orgs[author].node.Publish(ctx, node.PublishRequest{Topic: topic, Items: items, Flags: green})
	}
	for k, a := range authors {
		if err := m.agree(ctx, m.orgs[a], m.orgs[authors[(k+1)%len(authors)]]); err != nil {
			return t, nil, err
		}
	}
	var feeds []protocol.FeedID
	for k, a := range authors { // keys are granted with the first
		rec, err := publish(a, files[k])
		if err != nil {
			return t, nil, err
		}
		feeds = append(feeds, rec.Feed)
		for _, x := range m.orgs {
			if err := x.holds(ctx, rec.Feed, rec.To); err != nil {
				return t, nil, err
			}
		}
	}
	if err := simtest.Pause(ctx, run.settle); err != nil {
		return t, nil, err
	}
	s := simtest.NewSpread(len(m.orgs))
	watch, cancel := context.WithCancel(ctx)
	var watches sync.WaitGroup
	defer func() { cancel(); watches.Wait() }()
	for i, x := range m.orgs {
		watches.Go(func() { s.Watch(watch, i, x.node, feeds) })
	}
	records := map[int]int{} // the first of each author is one of them
	t, err = s.Publish(ctx, run.total, run.every, authors, func(author, message int) (string, error) {
		rec, err := publish(author, files[len(authors)+message])
		if err != nil {
			return "", err
		}
		if rec.Envelopes != 1 {
			return "", fmt.Errorf("a publication has %d envelopes; one was meant", rec.Envelopes)
		}
		sizes = append(sizes, rec.Bytes)
		records[author]++
		return simtest.EntryName(rec.Feed, rec.To), nil
	})
	if err != nil {
		return t, nil, err
	}
	for k, a := range authors {
		reader := authors[(k+1)%len(authors)]
		if err := m.orgs[reader].hasRecords(ctx, records[a]+records[reader]+2); err != nil {
			return t, nil, err
		}
	}
	return t, sizes, nil
}

// holds waits until a node has an entry.
func (x *org) holds(ctx context.Context, feed protocol.FeedID, seq uint64) error {
	for {
		_, more := x.node.Held(feed)
		if held, _ := x.node.Held(feed); held >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s holds entry %d: %w", x.name, seq, ctx.Err())
		case <-more:
		}
	}
}

// foundInMemory is found with stores that no disk is under.
func foundInMemory(ctx context.Context, _ *Options, names ...string) (*mesh, error) {
	m := &mesh{}
	for _, name := range names {
		ident, err := node.NewIdentity(node.InitRequest{Name: name, Kind: "cert"})
		if err != nil {
			return m, err
		}
		x := &org{name: name, cfg: node.Config{Keys: ident.Keys, Card: &ident.Card, Log: slog.New(slog.DiscardHandler), OrgQuota: noQuota, PartnerQuota: noQuota,
			Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}}
		if x.node, err = node.Open(x.cfg); err != nil {
			return m, err
		}
		m.orgs = append(m.orgs, x)
	}
	return m, m.connect(ctx, 0)
}

// gossip measures gossip alone, of messages of these sizes. With a directory, each message is
// synced to a file there.
func (run *realRun) gossip(ctx context.Context, dir string, sizes []int) (t simtest.Times, err error) {
	const topic = "/entente/t/baseline"
	s := simtest.NewSpread(run.nodes)
	var all []*simtest.Bare
	var keeps []*keeper
	defer func() {
		for _, b := range all {
			err = errors.Join(err, b.Close())
		}
		for _, k := range keeps {
			err = errors.Join(err, k.close())
		}
	}()
	for i := range run.nodes {
		keep := &keeper{}
		if dir != "" {
			if keep.f, err = os.Create(filepath.Join(dir, fmt.Sprint("gossip-", i))); err != nil {
				return t, err
			}
		}
		keeps = append(keeps, keep)
		b, err := simtest.NewBare("/ip4/127.0.0.1/udp/0/quic-v1", func(data []byte) {
			if keep.keep(data) == nil { // what is not kept does not arrive, which is an error in the end
				s.Arrived(i, simtest.BareName(data))
			}
		}, nil)
		if err != nil {
			return t, err
		}
		all = append(all, b)
		if err := b.Join(topic); err != nil {
			return t, err
		}
		for _, other := range all[:i] {
			if err := b.Call(ctx, other); err != nil {
				return t, err
			}
		}
	}
	if err := simtest.Pause(ctx, run.settle); err != nil {
		return t, err
	}
	return s.Publish(ctx, run.total, run.every, run.authors(), func(author, message int) (string, error) {
		data := simtest.BareMessage(sizes[message])
		if err := keeps[author].keep(data); err != nil {
			return "", err
		}
		return simtest.BareName(data), all[author].Publish(ctx, topic, data)
	})
}

// keeper appends to a file, and syncs it.
type keeper struct {
	mu sync.Mutex
	f  *os.File // nil: nothing is kept
}

func (k *keeper) keep(data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.f == nil {
		return nil
	}
	if _, err := k.f.Write(data); err != nil {
		return err
	}
	return k.f.Sync()
}

func (k *keeper) close() error {
	if k.f == nil {
		return nil
	}
	return k.f.Close()
}

// syncTimes measures how long a write of some bytes takes until it is on the disk of dir.
func syncTimes(dir string, size int) (list []time.Duration, err error) {
	k := &keeper{}
	if k.f, err = os.Create(filepath.Join(dir, "sync")); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	data := simtest.BareMessage(size)
	for range 200 {
		at := time.Now()
		if err := k.keep(data); err != nil {
			return nil, err
		}
		list = append(list, time.Since(at))
	}
	return list, nil
}
