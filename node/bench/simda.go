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
	"sync"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

var simdaScenario = Scenario{
	Name: "simda", Unit: "observations", Size: 770_000,
	About: "a takedown: a sinkhole's victims, published for 190 countries, each of which may see its own only; 19 of them and the publisher run nodes, of the others there are keys, with which is looked at what they can open",
	run: func(ctx context.Context, o *Options, r *Result) error {
		return simda(ctx, o, r, 190, 19)
	},
}

// simdaLimit is how long it may take.
const simdaLimit = 30 * time.Second

// recipients are the organisations of a takedown: one of each country.
type recipients struct {
	files []slice     // by country
	nodes []*org      // nil: it is in keys
	keys  []*keysOnly // nil: it runs a node
}

// simda publishes victims for so many countries, so many of which run nodes.
func simda(ctx context.Context, o *Options, r *Result, count, nodes int) (err error) {
	r.Measured, r.Baseline = "observations", "the same objects in a bare Badger, once"
	r.Reach = fmt.Sprintf("below %.0f s, and every country has its own victims, and no other's", simdaLimit.Seconds())
	if o.Size < count {
		return fmt.Errorf("%d observations are too few for %d countries; give a larger --size", o.Size, count)
	}
	names := []string{"Sinkhole"}
	for i := range nodes {
		names = append(names, "CERT "+countries[i*count/nodes])
	}
	o.say("%d nodes", len(names))
	m, err := found(ctx, o, names...)
	defer func() { err = errors.Join(err, m.close()) }()
	if err != nil {
		return err
	}
	vendor := m.orgs[0]
	rs, network, err := simdaRecipients(ctx, o, m, count)
	if err != nil {
		return err
	}
	took, err := simdaMeasure(ctx, o, r, m, rs)
	if err != nil {
		return err
	}
	o.say("checking that every node has its own, and no other's")
	if err := simdaCheck(rs); err != nil {
		return err
	}
	if err := simdaOffline(ctx, o, r, m.orgs[1], vendor.node.OwnCard(), network, rs); err != nil {
		return err
	}
	for _, x := range m.orgs {
		if err := x.down(); err != nil {
			return err
		}
	}
	raw, err := filesIn(rs.files)
	if err != nil {
		return err
	}
	if r.Base, err = rawBadger(o, raw, r); err != nil {
		return err
	}
	r.Reached = took < simdaLimit
	return nil
}

// simdaRecipients makes the organisations without nodes, agreements with all, and the files: a day's
// findings grouped by country.
func simdaRecipients(ctx context.Context, o *Options, m *mesh, count int) (rs *recipients, network protocol.NetworkID, err error) {
	vendor, nodes := m.orgs[0], m.orgs[1:]
	rs = &recipients{nodes: make([]*org, count), keys: make([]*keysOnly, count)}
	for i, x := range nodes {
		rs.nodes[i*count/len(nodes)] = x
	}
	var join []*keysOnly
	for c, x := range rs.nodes {
		if x == nil {
			if rs.keys[c], err = newKeysOnly("CERT " + countries[c]); err != nil {
				return rs, network, err
			}
			join = append(join, rs.keys[c])
		}
	}
	o.say("%d organisations without nodes join", len(join))
	if err := vendor.enlist(ctx, join); err != nil {
		return rs, network, err
	}
	if network, err = vendor.network(); err != nil {
		return rs, network, err
	}
	var all []*protocol.SignedAgreement
	for c, x := range rs.nodes {
		keys := new(node.Keys)
		if x != nil {
			keys = x.cfg.Keys
		} else {
			keys = rs.keys[c].keys
		}
		a, err := sign(network, forCountry(vendor.node.Org(), keys.Org, countries[c]), vendor.cfg.Keys, keys)
		if err == nil && x != nil {
			err = x.take([]*protocol.SignedAgreement{a})
		}
		if err != nil {
			return rs, network, err
		}
		all = append(all, a)
	}
	if err := vendor.take(all); err != nil {
		return rs, network, err
	}
	for c := range count {
		var numbers []int
		for i := c * o.Size / count; i < (c+1)*o.Size/count; i++ {
			numbers = append(numbers, i)
		}
		s, err := writeSlice(o.Dir, "victims-"+countries[c]+".json", countries[c], numbers, writeVictim)
		if err != nil {
			return rs, network, err
		}
		rs.files = append(rs.files, s)
	}
	o.say("every node hears of all members")
	for _, x := range nodes {
		if err := x.wait(ctx, "knows all members", func() (bool, error) {
			met, err := x.node.Metrics()
			return met.Members == count+1, err
		}); err != nil {
			return rs, network, err
		}
	}
	return rs, network, nil
}

// simdaMeasure publishes, and waits until all has arrived at every node.
func simdaMeasure(ctx context.Context, o *Options, r *Result, m *mesh, rs *recipients) (time.Duration, error) {
	var nodes []*org
	var want []int
	for c, x := range rs.nodes {
		if x != nil {
			nodes, want = append(nodes, x), append(want, len(rs.files[c].numbers))
		}
	}
	o.say("publishing %d observations, in a file for each of %d countries", o.Size, len(rs.files))
	runtime.GC()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var rec published
	var alone time.Duration
	entries := make(chan uint64, 1)
	cpu, begun := cpuTime(), time.Now()
	go func() {
		var err error
		if alone, err = publishEach(ctx, m.orgs[0], publications(rs.files), rec.add); err != nil {
			cancel(err)
			return
		}
		o.say("published; waiting for %d nodes", len(nodes))
		entries <- rec.entries
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
	r.add("published", alone.Seconds(), "s", fmt.Sprintf("a file for each country, %d records or so: how a day's findings lie after grouping", o.Size/len(rs.files)))
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
		if err := x.hasExactly(len(rs.files[c].numbers)); err != nil {
			return err
		}
		for d, s := range rs.files {
			for k, i := range s.numbers {
				count := 0
				if c == d {
					count = 1
				}
				if k%100 != 0 { // some of each
					continue
				}
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
	keys    int
}

// simdaOffline reads with keys alone, out of what one relaying node packs, what each organisation
// without a node can open: exactly its own observations, with the one key that was granted to it.
func simdaOffline(ctx context.Context, o *Options, r *Result, relay *org, publisher *crypto.Card, network protocol.NetworkID, rs *recipients) error {
	var list []*offline
	for c, k := range rs.keys {
		if k == nil {
			continue
		}
		off := &offline{reader: reader{keysOnly: k}, country: countries[c], own: map[[sha256.Size]byte]bool{}, count: len(rs.files[c].numbers)}
		for _, i := range rs.files[c].numbers {
			var b bytes.Buffer
			writeVictim(&b, i)
			off.own[sha256.Sum256(b.Bytes())] = true
		}
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
