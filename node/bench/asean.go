package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

var aseanScenario = Scenario{
	Name: "asean", Unit: "servers and sites", Size: 9500,
	About: "an operation: C2 servers and compromised sites of ten countries, published by seven vendors, until each country's police has its own and no other's; all 17 run nodes",
	run: func(ctx context.Context, o *Options, r *Result) error {
		return asean(ctx, o, r, 7, aseanCountries)
	},
}

var aseanCountries = []string{"BN", "KH", "ID", "LA", "MY", "MM", "PH", "SG", "TH", "VN"}

// asean has so many vendors publish about countries.
func asean(ctx context.Context, o *Options, r *Result, vendors int, countries []string) (err error) {
	r.Measured, r.Baseline = "indicators", "the same objects in a bare Badger, once"
	r.Reach = "every police has its own country's, and no other's"
	var names []string
	for i := range vendors {
		names = append(names, fmt.Sprint("Vendor ", i+1))
	}
	for _, c := range countries {
		names = append(names, "Police "+c)
	}
	o.say("%d vendors and %d police units, each with its node", vendors, len(countries))
	m, err := found(ctx, o, names...)
	defer func() { err = errors.Join(err, m.close()) }()
	if err != nil {
		return err
	}
	from, to := m.orgs[:vendors], m.orgs[vendors:]
	agreed, err := aseanAgree(from, to, countries)
	if err != nil {
		return err
	}
	if o.Size < vendors*len(countries) {
		return fmt.Errorf("%d servers and sites are too few for %d vendors and %d countries; give a larger --size", o.Size, vendors, len(countries))
	}
	files, want, err := aseanFiles(o, vendors, countries)
	if err != nil {
		return err
	}
	o.say("one record of each vendor, for itself alone, so that all nodes hear of each other")
	if err := m.settle(ctx, from); err != nil {
		return err
	}
	o.say("publishing %d indicators under %d agreements", o.Size, agreed)
	runtime.GC()
	cpu, begun := cpuTime(), time.Now()
	rec, times, err := aseanPublish(ctx, begun, m.orgs, files, want)
	if err != nil {
		return err
	}
	cpu = cpuTime() - cpu
	o.say("checking that every police has its own, and no other's")
	if err := aseanCheck(o, to, want[vendors:], vendors); err != nil {
		return err
	}
	own, first := lastOf(times[vendors:], func(a arrival) time.Duration { return a.own })
	all, _ := lastOf(times, func(a arrival) time.Duration { return a.all })
	took := max(own, all)
	r.Rate = perSecond(o.Size, took)
	r.add("until all is done", took.Seconds(), "s", fmt.Sprintf("every police has its own, and each of the %d nodes holds every entry", len(m.orgs)))
	r.add("first police complete", first.Seconds(), "s", "its own records durable and searchable")
	r.add("last police complete", own.Seconds(), "s", "the same")
	if cpu > 0 {
		r.add("CPU", cpu.Seconds(), "s", fmt.Sprintf("of all cores, all %d nodes", len(m.orgs)))
	}
	r.add("a police's records", float64(want[vendors]), "", fmt.Sprintf("of %d; looked up one by one: what is its own is found, what is not is not", o.Size))
	r.add("agreements", float64(agreed), "", "from each vendor to each police, for that country only")
	r.add("entries", float64(rec.entries), "", "of which each node holds all")
	r.add("envelopes", float64(rec.entries-rec.grants), "", "of them, with records")
	r.add("grants", float64(rec.grants), "", "of them, that give a police a vendor's key")
	size, err := from[0].entryBytes(ctx, to[0])
	if err != nil {
		return err
	}
	r.add("bytes of all entries", float64(size), "B", fmt.Sprintf("%.0f an indicator; each node sends them on and stores them", float64(size)/float64(o.Size)))
	if err := m.badgerAfter(o, r, files); err != nil {
		return err
	}
	r.Reached = true // whatever else there is was an error
	return nil
}

// aseanAgree puts in force, between every vendor and every police, that the one may send the other
// what concerns its country.
func aseanAgree(from, to []*org, countries []string) (count int, err error) {
	network, err := from[0].network()
	if err != nil {
		return 0, err
	}
	byOrg := map[*org][]*protocol.SignedAgreement{}
	for _, v := range from {
		for c, p := range to {
			a, err := sign(network, forCountry(v.node.Org(), p.node.Org(), countries[c]), v.cfg.Keys, p.cfg.Keys)
			if err != nil {
				return 0, err
			}
			byOrg[v], byOrg[p] = append(byOrg[v], a), append(byOrg[p], a)
			count++
		}
	}
	for x, list := range byOrg {
		if err := x.take(list); err != nil {
			return 0, err
		}
	}
	return count, nil
}

// aseanFiles writes each vendor's file, and returns how many records each organisation is to have.
func aseanFiles(o *Options, vendors int, countries []string) (files []labelled, want []int, err error) {
	numbers := make([][]int, vendors)
	want = make([]int, vendors+len(countries))
	for v := range vendors {
		want[v] = 1 // it has one already, for itself alone
	}
	for i := range o.Size {
		v, c := aseanPlace(i, vendors, len(countries))
		numbers[v] = append(numbers[v], i)
		want[v]++
		want[vendors+c]++
	}
	for v := range numbers {
		l, err := writeLabelled(filepath.Join(o.Dir, fmt.Sprintf("vendor-%d.json", v+1)), numbers[v],
			func(i int) string { _, c := aseanPlace(i, vendors, len(countries)); return countries[c] },
			func(b *bytes.Buffer, i int) { writeFinding(b, i, o.Size) })
		if err != nil {
			return nil, nil, err
		}
		files = append(files, l)
	}
	return files, want, nil
}

// aseanPlace says which vendor found a server or site, and where it is.
func aseanPlace(i, vendors, countries int) (vendor, country int) {
	return i % vendors, i / vendors % countries
}

// aseanPublish has all vendors, which are the first of the nodes, publish at once, and waits until
// all has arrived everywhere.
func aseanPublish(ctx context.Context, begun time.Time, nodes []*org, files []labelled, want []int) (rec published, times []arrival, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	entries := make(chan uint64, 1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for v, l := range files {
		wg.Go(func() {
			_, err := publishEach(ctx, nodes[v], publications([]labelled{l}), func(r *node.Receipt) {
				mu.Lock()
				defer mu.Unlock()
				rec.add(r)
			})
			if err != nil {
				cancel(fmt.Errorf("%s publishing: %w", nodes[v].name, err))
			}
		})
	}
	go func() {
		wg.Wait()
		entries <- rec.entries + uint64(len(files)) // and those from before
	}()
	times, err = arrivals(ctx, begun, nodes, want, entries)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return rec, times, err
}

// aseanCheck looks every value up at every police.
func aseanCheck(o *Options, police []*org, want []int, vendors int) error {
	for c, x := range police {
		if err := x.hasExactly(want[c]); err != nil {
			return err
		}
		for i := range o.Size {
			count := 0
			if _, country := aseanPlace(i, vendors, len(police)); country == c {
				count = 1
			}
			_, value := finding(i, o.Size)
			if err := x.finds(value, count); err != nil {
				return err
			}
		}
	}
	return nil
}
