package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/store"
)

var lookupScenario = Scenario{
	Name: "lookup", Unit: "indicators", Size: 1_000_000,
	About: "searching an address in a corpus, its memory at rest, and how long it takes to open",
	run:   lookup,
}

// lookups is how many are timed.
const lookups = 20_000

func lookup(ctx context.Context, o *Options, r *Result) (err error) {
	size := o.Size
	r.Measured, r.Baseline, r.Reach = "lookups", "a Badger get of the same objects", "p99 below 1 ms, open within 1 s, resident below 300 MB with 1 M"
	m, err := found(ctx, o, "Vendor")
	defer func() { err = errors.Join(err, m.close()) }()
	if err != nil {
		return err
	}
	x := m.orgs[0]
	o.say("publishing %d indicators, to be searched", size)
	for at := 0; at < size; at += 10 * batch {
		var files [][]byte
		for from := at; from < min(size, at+10*batch); from += batch {
			files = append(files, bundle(from, min(from+batch, size)))
		}
		if _, err := publishAll(ctx, x, files); err != nil {
			return err
		}
		o.say("%d", min(size, at+10*batch))
	}
	opened, err := x.again()
	if err != nil {
		return err
	}
	r.add("open", opened.Seconds(), "s", "")
	debug.FreeOSMemory()
	rss, err := resident()
	if err != nil {
		return err
	}
	r.add("resident", float64(rss)/1e6, "MB", "this process, the node opened")
	// The pages of the index are not read when a node opens, but afterwards; searches do not wait for that.
	rng := rand.New(rand.NewPCG(5, 6))
	begun := time.Now()
	if err := x.up(ctx); err != nil {
		return err
	}
	first := make([]time.Duration, lookups/20)
	for i := range first {
		if first[i], err = x.search(address(rng.IntN(size)), 1); err != nil {
			return err
		}
	}
	r.add("the first, p50", float64(quantile(first, 0.5).Microseconds()), "µs", fmt.Sprintf("%d, while the index is read", len(first)))
	r.add("the first, p99", float64(quantile(first, 0.99).Microseconds()), "µs", "")
	for read := false; !read; {
		met, err := x.node.Metrics()
		if err != nil {
			return err
		}
		if read = met.IndexRead; !read {
			time.Sleep(20 * time.Millisecond)
		}
	}
	r.add("index read", time.Since(begun).Seconds(), "s", "in the background, after opening")
	debug.FreeOSMemory()
	after, err := resident()
	if err != nil {
		return err
	}
	r.add("resident, idle", float64(after)/1e6, "MB", "this process, the index read")
	rss = max(rss, after)
	for _, kind := range []struct {
		name  string
		value func() string
		want  int
	}{
		{"found", func() string { return address(rng.IntN(size)) }, 1},
		{"not there", func() string {
			return fmt.Sprintf("192.%d.%d.%d", byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()))
		}, 0},
	} {
		times := make([]time.Duration, lookups)
		begun := time.Now()
		for i := range times {
			if times[i], err = x.search(kind.value(), kind.want); err != nil {
				return err
			}
		}
		took := time.Since(begun)
		p99 := quantile(times, 0.99)
		r.add(kind.name+", p50", float64(quantile(times, 0.5).Microseconds()), "µs", "")
		r.add(kind.name+", p99", float64(p99.Microseconds()), "µs", "")
		if kind.want == 1 {
			r.Rate = perSecond(lookups, took)
			r.Reached = p99 < time.Millisecond && (rss < 300e6 || size > 1_000_000) && opened < time.Second
		}
	}
	if err := x.down(); err != nil {
		return err
	}
	return rawGet(o, size, r)
}

// search says how long a search takes, and fails if it does not find what is wanted.
func (x *org) search(value string, want int) (time.Duration, error) {
	at := time.Now()
	recs, _, err := x.node.Search(node.Query{Value: value})
	took := time.Since(at)
	if err == nil && len(recs) != want {
		err = errors.New("not what was published")
	}
	if err != nil {
		return 0, fmt.Errorf("%d records of %s: %w", len(recs), value, err)
	}
	return took, nil
}

// rawGet writes the same objects to a bare Badger and gets some by key.
func rawGet(o *Options, size int, r *Result) error {
	o.say("the same objects in a bare Badger")
	dir := filepath.Join(o.Dir, "badger")
	const part = 500_000 // opening and closing it again and again is most of what it takes
	for at := 0; at < size; at += part {
		list, err := read(bundle(at, min(at+part, size)))
		if err != nil {
			return err
		}
		objects := make([]store.RawObject, len(list))
		for i := range list {
			objects[i] = store.RawObject{Key: []byte(address(at + i)), Value: list[i].Object.Raw}
		}
		if _, _, err := store.WriteRaw(dir, objects, 1000, 1); err != nil {
			return err
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	keys := make([][]byte, lookups)
	for i := range keys {
		keys[i] = []byte(address(rng.IntN(size)))
	}
	times, err := store.GetRaw(dir, keys)
	if err != nil {
		return err
	}
	sum := time.Duration(0)
	for _, t := range times {
		sum += t
	}
	r.Base = perSecond(len(times), sum)
	r.add("bare Badger, p50", float64(quantile(times, 0.5).Microseconds()), "µs", "one key")
	r.add("bare Badger, p99", float64(quantile(times, 0.99).Microseconds()), "µs", "one key")
	return nil
}

// resident returns the resident memory of this process in bytes, that of mapped files left out:
// the system takes that back as it pleases.
func resident() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		var ms runtime.MemStats // not Linux
		runtime.ReadMemStats(&ms)
		return int64(ms.Sys - ms.HeapReleased), nil
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("/proc/self/status names no RssAnon")
}
