package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

var simdaScenario = Scenario{
	Name: "simda", Unit: "observations", Size: simdaSize,
	About: "a takedown: a sinkhole's victims, published for 190 countries, each of which may see its own only; 19 of them and the publisher run nodes, of the others there are keys, with which is looked at what they can open",
	run: func(ctx context.Context, o *Options, r *Result) error {
		return simda(ctx, o, r, 190, 19)
	},
}

// simdaLimit is how long it may take with simdaSize observations.
const (
	simdaSize  = 770_000
	simdaLimit = 30 * time.Second
)

// recipients are the organisations of a takedown, one of each country, and where the victims are.
type recipients struct {
	nodes []*org      // nil: it is in keys
	keys  []*keysOnly // nil: it runs a node
	size  int         // victims of all countries
}

// of returns the numbers of the victims of a country, from one up to, and without, the other.
func (rs *recipients) of(country int) (from, to int) {
	n := len(rs.nodes)
	return country * rs.size / n, (country + 1) * rs.size / n
}

// countryOf returns where a victim is.
func (rs *recipients) countryOf(i int) string {
	c := i * len(rs.nodes) / rs.size
	for _, to := rs.of(c); i >= to; _, to = rs.of(c) {
		c++
	}
	return countries[c]
}

// simda publishes victims for so many countries, so many of which run nodes.
func simda(ctx context.Context, o *Options, r *Result, count, nodes int) (err error) {
	r.Measured, r.Baseline = "observations", "the same objects in a bare Badger, once"
	r.Reach = fmt.Sprintf("%d below %.0f s, and every country has its own victims, and no other's", simdaSize, simdaLimit.Seconds())
	if o.Size < count {
		return fmt.Errorf("%d observations are too few for %d countries; give a larger --size", o.Size, count)
	}
	m, rs, agreements, err := simdaMesh(ctx, o, count, nodes)
	defer func() { err = errors.Join(err, m.close()) }()
	if err != nil {
		return err
	}
	vendor := m.orgs[0]
	o.say("%d agreements, and the files", count)
	for c, x := range rs.nodes {
		if x != nil {
			if err := x.take(agreements[c : c+1]); err != nil {
				return err
			}
		}
	}
	if err := vendor.take(agreements); err != nil {
		return err
	}
	files, err := simdaFiles(o, rs)
	if err != nil {
		return err
	}
	o.say("one record of the publisher, for itself alone, so that all nodes hear of it")
	if err := m.settle(ctx, m.orgs[:1]); err != nil {
		return err
	}
	took, err := simdaMeasure(ctx, o, r, m, rs, files)
	if err != nil {
		return err
	}
	o.say("checking that every node has its own, and no other's")
	if err := simdaCheck(rs); err != nil {
		return err
	}
	network, err := vendor.network()
	if err != nil {
		return err
	}
	if err := simdaOffline(ctx, o, r, m.orgs[1], vendor.node.OwnCard(), network, rs); err != nil {
		return err
	}
	if err := m.badgerAfter(o, r, files); err != nil {
		return err
	}
	r.Reached = took < simdaLimit && o.Size >= simdaSize
	return nil
}

// simdaMesh makes the publisher, the recipients and their agreements with it. The organisations
// without nodes join first, so that the others find them in their invitations.
func simdaMesh(ctx context.Context, o *Options, count, nodes int) (*mesh, *recipients, []*protocol.SignedAgreement, error) {
	rs := &recipients{nodes: make([]*org, count), keys: make([]*keysOnly, count), size: o.Size}
	m, err := found(ctx, o, "Sinkhole")
	if err != nil {
		return m, rs, nil, err
	}
	vendor := m.orgs[0]
	var places []int // in rs of those with nodes
	for i := range nodes {
		places = append(places, i*count/nodes)
	}
	var names []string
	var join []*keysOnly
	for c := range count {
		name := "CERT " + countries[c]
		if slices.Contains(places, c) {
			names = append(names, name)
			continue
		}
		if rs.keys[c], err = newKeysOnly(name); err != nil {
			return m, rs, nil, err
		}
		join = append(join, rs.keys[c])
	}
	o.say("%d organisations without nodes join", len(join))
	if err := vendor.enlist(ctx, join); err != nil {
		return m, rs, nil, err
	}
	m.members += len(join)
	o.say("%d with nodes", len(names))
	if err := m.add(ctx, o, names...); err != nil {
		return m, rs, nil, err
	}
	network, err := vendor.network()
	if err != nil {
		return m, rs, nil, err
	}
	var agreements []*protocol.SignedAgreement
	for c := range count {
		var keys *node.Keys
		if at := slices.Index(places, c); at >= 0 {
			rs.nodes[c] = m.orgs[1+at]
			keys = rs.nodes[c].cfg.Keys
		} else {
			keys = rs.keys[c].keys
		}
		a, err := sign(network, forCountry(vendor.node.Org(), keys.Org, countries[c]), vendor.cfg.Keys, keys)
		if err != nil {
			return m, rs, nil, err
		}
		agreements = append(agreements, a)
	}
	return m, rs, agreements, nil
}

// simdaFiles writes a day's findings as they lie after they were grouped by country.
func simdaFiles(o *Options, rs *recipients) (files []labelled, err error) {
	for at := 0; at < o.Size; at += batch {
		var numbers []int
		for i := at; i < min(at+batch, o.Size); i++ {
			numbers = append(numbers, i)
		}
		l, err := writeLabelled(filepath.Join(o.Dir, fmt.Sprintf("victims-%03d.json", at/batch)), numbers, rs.countryOf, writeVictim)
		if err != nil {
			return nil, err
		}
		files = append(files, l)
	}
	return files, nil
}

// simdaMeasure publishes, and waits until all has arrived at every node.
func simdaMeasure(ctx context.Context, o *Options, r *Result, m *mesh, rs *recipients, files []labelled) (time.Duration, error) {
	var nodes []*org
	var want []int
	for c, x := range rs.nodes {
		if x != nil {
			from, to := rs.of(c)
			nodes, want = append(nodes, x), append(want, to-from)
		}
	}
	o.say("publishing %d observations, in files of %d, grouped by country", o.Size, batch)
	runtime.GC()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var rec published
	var alone time.Duration
	entries := make(chan uint64, 1)
	cpu, begun := cpuTime(), time.Now()
	go func() {
		var err error
		if alone, err = publishEach(ctx, m.orgs[0], publications(files), rec.add); err != nil {
			cancel(err)
			return
		}
		o.say("published; waiting for %d nodes", len(nodes))
		entries <- rec.entries + 1 // and the one from before
	}()
	times, err := arrivals(ctx, begun, nodes, want, entries)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		return 0, err
	}
	took, _ := lastOf(times, func(a arrival) time.Duration { return a.all })
	last, first := lastOf(times, func(a arrival) time.Duration { return a.own })
	cpu = cpuTime() - cpu
	rss, err := resident()
	if err != nil {
		return 0, err
	}
	r.Rate = perSecond(o.Size, took)
	r.add("end to end", took.Seconds(), "s", fmt.Sprintf("from the first file to every entry held, and its own records durable and searchable, at each of %d nodes", len(nodes)))
	r.add("published", alone.Seconds(), "s", fmt.Sprintf("%d files of up to %d, grouped by country: mixed, an envelope would hold about a hundred", len(files), batch))
	r.add("first node has its own", first.Seconds(), "s", "")
	r.add("last node has its own", last.Seconds(), "s", "")
	r.add("entries", float64(rec.entries), "", fmt.Sprintf("%d of them grants; each node relays and holds all", rec.grants))
	if cpu > 0 {
		r.add("CPU", cpu.Seconds(), "s", fmt.Sprintf("of all cores, all %d nodes", len(nodes)+1))
	}
	r.add("resident", float64(rss)/1e6, "MB", fmt.Sprintf("this process at the end, all %d nodes", len(nodes)+1))
	return took, nil
}

// simdaCheck wants each node to find its own victims, and of every other country none.
func simdaCheck(rs *recipients) error {
	for c, x := range rs.nodes {
		if x == nil {
			continue
		}
		from, to := rs.of(c)
		if err := x.hasExactly(to - from); err != nil {
			return err
		}
		for d := range rs.nodes {
			from, to := rs.of(d)
			count := 0
			if d == c {
				count = 1
			}
			for i := from; i < to; i += 100 { // some of each
				if err := x.finds(address(i), count); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// offline reads for one organisation, and ticks off what it is to find.
type offline struct {
	reader
	country string
	own     map[[sha256.Size]byte]bool // hashes of its objects that were not found yet
	count   int
}

// simdaOffline reads with keys alone, out of what one relaying node packs, what each organisation
// without a node can open: exactly its own observations, with the one key that was granted to it.
func simdaOffline(ctx context.Context, o *Options, r *Result, relay *org, publisher *crypto.Card, network protocol.NetworkID, rs *recipients) error {
	var list []*offline
	for c, k := range rs.keys {
		if k == nil {
			continue
		}
		off := &offline{reader: reader{keysOnly: k}, country: countries[c], own: map[[sha256.Size]byte]bool{}}
		from, to := rs.of(c)
		for i := from; i < to; i++ {
			var b bytes.Buffer
			writeVictim(&b, i)
			off.own[sha256.Sum256(b.Bytes())] = true
		}
		off.count = len(off.own)
		list = append(list, off)
	}
	if len(list) == 0 {
		return nil
	}
	o.say("reading what a node relayed, with the keys of %d organisations", len(list))
	path := filepath.Join(o.Dir, "relayed.carry")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := relay.pack(ctx, list[0].keysOnly, f); err != nil {
		return err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	var bytes, grants int
	err = list[0].readPack(f, network, func(env *crypto.VerifiedEnvelope) error {
		bytes += len(env.Raw)
		if env.Header.Kind == protocol.EntryGrant {
			grants += len(env.Raw)
		}
		return each(list, func(off *offline) error { return off.tick(network, env, publisher) })
	})
	if err != nil {
		return err
	}
	for _, off := range list {
		if len(off.own) > 0 || len(off.epochs) != 1 {
			return fmt.Errorf("%s opens %d of its %d observations, with %d keys", off.name, off.count-len(off.own), off.count, len(off.epochs))
		}
	}
	r.add("bytes of all entries", float64(bytes), "B", fmt.Sprintf("%.0f an observation", float64(bytes)/float64(o.Size)))
	r.add("bytes of grants", float64(grants), "B", "of them")
	r.add("read with keys alone", float64(len(list)), "", "organisations without nodes, each of which tried every grant and every envelope: each opens exactly its own")
	return nil
}

// tick opens an entry; whatever it holds must be this organisation's, and new.
func (off *offline) tick(network protocol.NetworkID, env *crypto.VerifiedEnvelope, publisher *crypto.Card) error {
	objects, err := off.entry(network, env, publisher)
	if err != nil {
		return fmt.Errorf("%s reading entry %d: %w", off.name, env.Header.Seq, err)
	}
	for _, b := range objects {
		h := sha256.Sum256(b)
		if !off.own[h] {
			return fmt.Errorf("%s opens an observation that is not its own, or comes twice: %.200s", off.name, b)
		}
		delete(off.own, h)
	}
	return nil
}

// each calls fn with every organisation, on all cores.
func each(list []*offline, fn func(*offline) error) error {
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(list) && errs[w] == nil; i += workers {
				errs[w] = fn(list[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
