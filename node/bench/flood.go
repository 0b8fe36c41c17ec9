package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
)

// batch is how many indicators are published at a time, as of one file.
const batch = 20_000

var floodScenario = Scenario{
	Name: "flood", Unit: "indicators", Size: 400_000,
	About: "as many indicators a second as two nodes on this machine can move: from the STIX file to durable and searchable at the partner",
	run:   flood,
}

func flood(ctx context.Context, o *Options, r *Result) (err error) {
	size := o.Size
	r.Measured, r.Baseline = "indicators", "the same objects in a bare Badger"
	r.Reach = "100,000 a second, and half of the baseline"
	m, err := found(ctx, o, "Vendor", "Partner")
	defer func() { err = errors.Join(err, m.close()) }()
	if err == nil {
		err = warmUp(ctx, m)
	}
	if err != nil {
		return err
	}
	vendor, partner := m.orgs[0], m.orgs[1]
	files := filesOf(size)
	o.say("publishing %d indicators, in files of %d", size, batch)
	runtime.GC()
	begun := time.Now()
	published, err := publishAll(ctx, vendor, files)
	if err != nil {
		return err
	}
	if err := partner.hasRecords(ctx, size+warm); err != nil {
		return err
	}
	took := time.Since(begun)
	if err := spotCheck(partner, size); err != nil {
		return err
	}
	r.Rate = perSecond(size, took)
	r.add("publisher alone", perSecond(size, published), "1/s", "until its own records are durable and acknowledged")
	met, err := partner.node.Metrics()
	if err != nil {
		return err
	}
	r.add("gossip dropped", float64(met.Dropped), "", "and fetched by comparison")
	if r.Base, err = rawBadger(o, files, r); err != nil {
		return err
	}
	r.Reached = r.Rate >= 100_000 && r.Rate >= r.Base/2
	return nil
}

// warm is how many indicators are published before the clock runs: epochs are made, and keys
// granted, with the first.
const warm = 1000

// warmUp has the first of two organisations agree with the second, and send it something.
func warmUp(ctx context.Context, m *mesh) error {
	from, to := m.orgs[0], m.orgs[1]
	if err := m.agree(ctx, from, to); err != nil {
		return err
	}
	if _, err := publishAll(ctx, from, [][]byte{bundle(1<<24-warm, 1<<24)}); err != nil {
		return err
	}
	return to.hasRecords(ctx, warm)
}

// filesOf makes so many indicators, in files.
func filesOf(size int) (files [][]byte) {
	for at := 0; at < size; at += batch {
		files = append(files, bundle(at, min(at+batch, size)))
	}
	return files
}

// publishAll publishes files; while one is being published the next is being read. It returns how
// long that took.
func publishAll(ctx context.Context, x *org, files [][]byte) (time.Duration, error) {
	list := make([]publication, len(files))
	for i, f := range files {
		list[i] = publication{file: func() ([]byte, error) { return f, nil }, flags: green}
	}
	return publishEach(ctx, x, list, func(*node.Receipt) {})
}

// publication is a file, and what is said about the handling of what is in it.
type publication struct {
	file  func() ([]byte, error)
	flags policy.Flags
	label func([]intake.Item) // says more about each; may be nil
}

// publishEach is publishAll where not all files are handled alike. Each receipt is given to done.
func publishEach(ctx context.Context, x *org, list []publication, done func(*node.Receipt)) (time.Duration, error) {
	begun := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	items := make(chan []intake.Item, 1)
	failed := make(chan error, 1)
	go func() {
		defer close(items)
		for _, p := range list {
			data, err := p.file()
			var it []intake.Item
			if err == nil {
				it, err = read(data)
			}
			if err != nil {
				failed <- err
				return
			}
			if p.label != nil {
				p.label(it)
			}
			select {
			case items <- it:
			case <-ctx.Done():
				return
			}
		}
	}()
	for i := 0; ; i++ {
		it, ok := <-items
		if !ok {
			break
		}
		rec, err := x.node.Publish(ctx, node.PublishRequest{Topic: topic, Items: it, Flags: list[i].flags})
		if err != nil {
			return 0, err
		}
		done(rec)
	}
	select {
	case err := <-failed:
		return 0, err
	default:
		return time.Since(begun), ctx.Err()
	}
}

// spotCheck searches for some of what was published.
func spotCheck(x *org, size int) error {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		v := address(rng.IntN(size))
		if recs, _, err := x.node.Search(node.Query{Value: v}); err != nil || len(recs) != 1 {
			return fmt.Errorf("%s finds %d records of %s: %w", x.name, len(recs), v, err)
		}
	}
	return nil
}

// rawBadger writes the objects of files to a bare Badger, one key each, 1,000 in a commit, as the
// nodes' own stores are tuned: with one writer, and with two. It returns the higher rate.
func rawBadger(o *Options, files [][]byte, r *Result) (best float64, err error) {
	var objects []store.RawObject
	for _, f := range files {
		list, err := read(f)
		if err != nil {
			return 0, err
		}
		for i := range list {
			objects = append(objects, store.RawObject{Key: []byte(list[i].Object.ID), Value: list[i].Object.Raw})
		}
	}
	for _, writers := range []int{1, 2} {
		o.say("the same objects in a bare Badger, %d writing", writers)
		runtime.GC()
		took, tuning, err := store.WriteRaw(filepath.Join(o.Dir, fmt.Sprint("badger-", writers)), objects, 1000, writers)
		if err != nil {
			return 0, err
		}
		rate := perSecond(len(objects), took)
		r.add(fmt.Sprintf("bare Badger, %d writing", writers), rate, "1/s", tuning)
		best = max(best, rate)
	}
	return best, nil
}
