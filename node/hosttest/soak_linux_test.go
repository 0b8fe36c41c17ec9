package hosttest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The soak keeps this much published at any time: lists of soakList values, each erased after
// soakLists others.
const (
	soakList  = 50
	soakLists = 20
	soakPause = 500 * time.Millisecond // between two lists
	soakEvery = 10 * time.Second       // a sample
)

// What may grow in a soak, from its second quarter to its last. Badger fills a memtable of 64 MiB, and
// some files of level 0, before it compacts: memory, files and disk rise and fall with that, in about
// three quarters of an hour here. An erased record leaves its tombstone, its headers and its leaves in the
// audit log behind, for ever: that is what I5 and I8 promise, so the disk is held against what was erased
// meanwhile, and not against a constant.
const (
	soakMemory     = 1.2 // times, of resident memory
	soakMemorySlop = 96 << 20
	soakGoroutines = 24
	soakFiles      = 64
	soakPerRecord  = 512 // bytes on disk for each record that was published and erased
	soakDiskSlop   = 96 << 20
)

// sample is how one node stands at one time.
type sample struct {
	after                      time.Duration
	memory, goroutines, files  float64
	disk                       float64
	published, erased, records int
}

// soaked is a node that is looked at.
type soaked struct {
	*host
	samples []sample
}

// TestSoak publishes and erases for the time that ENTENTE_SOAK gives (as 1h), while one of two readers
// comes and goes. Memory, goroutines, files and disk of the two that stay have to be flat; at the
// end all three hold the same. ENTENTE_SOAK_OUT names a file for the samples, as CSV.
func TestSoak(t *testing.T) {
	wanted := os.Getenv("ENTENTE_SOAK")
	if wanted == "" {
		t.Skip("ENTENTE_SOAK=1h runs it for an hour")
	}
	span, err := time.ParseDuration(wanted)
	if err != nil || span < time.Minute {
		t.Fatalf("ENTENTE_SOAK=%s is no duration of a minute or more", wanted)
	}
	seed := number("ENTENTE_SOAK_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("ENTENTE_SOAK_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 11))
	pub := &soaked{host: newHost(t, "Publisher", "vendor", "127.0.0.1")}
	stays := &soaked{host: newHost(t, "Reader Who Stays", "police", "127.0.0.1")}
	churns := &soaked{host: newHost(t, "Reader Who Churns", "cert", "127.0.0.1")}
	for _, h := range []*soaked{pub, stays, churns} {
		h.flags = []string{"--metrics", "127.0.0.1:0"}
	}
	network(t, pub.host, stays.host, churns.host)
	agree(t, pub.host, stays.host)
	agree(t, pub.host, churns.host)

	var lists [][]string // of record ids, the oldest first
	var live []string    // the values of the lists that stand
	values := map[string][]string{}
	published, erased, restarts, next := 0, 0, 0, 0
	down := time.Time{} // until when the reader who churns is away; zero: it is up
	began := time.Now()
	flip, look := began.Add(span/20), began
	for time.Since(began) < span {
		var list []string
		for range soakList {
			next++
			list = append(list, fmt.Sprintf("soak-%d-%d.example.net", seed, next))
		}
		ids, err := pub.publishIDs(strings.Join(list, "\n") + "\n")
		if err != nil {
			t.Fatal(err)
		}
		published += len(ids)
		lists = append(lists, ids)
		values[ids[0]] = list
		if len(lists) > soakLists {
			gone := lists[0]
			lists = lists[1:]
			pub.must(append([]string{"erase", "--reason", "request"}, gone...)...)
			erased += len(gone)
			delete(values, gone[0])
		}
		now := time.Now()
		switch {
		case churns.proc != nil && now.After(flip):
			if rng.IntN(2) == 0 {
				churns.kill()
			} else {
				churns.stop()
			}
			down = now.Add(time.Duration(rng.Int64N(int64(span / 20))))
		case churns.proc == nil && now.After(down):
			churns.start()
			restarts++
			flip = time.Now().Add(span/60 + time.Duration(rng.Int64N(int64(span/20))))
		}
		if now.After(look) {
			look = now.Add(soakEvery)
			for _, h := range []*soaked{pub, stays} {
				h.look(time.Since(began), published, erased)
			}
		}
		time.Sleep(soakPause)
	}
	if churns.proc == nil {
		churns.start()
	}
	for _, ids := range lists {
		live = append(live, values[ids[0]]...)
	}
	slices.Sort(live)
	for _, h := range []*soaked{pub, stays, churns} {
		h.until("holds what stands and nothing else", func() bool {
			var have []string
			for v := range h.values() {
				have = append(have, v)
			}
			slices.Sort(have)
			return slices.Equal(have, live)
		})
		if st := h.status(); st.Forked > 0 || st.Missing > 0 {
			t.Errorf("%s: %d feeds forked, %d entries missing", h.name, st.Forked, st.Missing)
		}
	}
	if name := os.Getenv("ENTENTE_SOAK_OUT"); name != "" {
		if err := os.WriteFile(name, []byte(soakCSV(pub, stays)), 0o644); err != nil {
			t.Error(err)
		}
	}
	for _, h := range []*soaked{pub, stays} {
		h.flat()
	}
	summary("RAN a soak of %v: %d records published, %d erased, one reader restarted %d times", span, published, erased, restarts)
}

// publishIDs publishes a list and returns the ids of its records.
func (h *soaked) publishIDs(lines string) ([]string, error) {
	file := filepath.Join(h.t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(file)
	out, err := h.try("publish", file, "--topic", "c2", "--tlp", "amber", "--country", "TH", "--personal", "none", "--yes", "--json")
	if err != nil {
		return nil, err
	}
	var r struct {
		Receipt struct {
			IDs []string `json:"ids"`
		} `json:"receipt"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Receipt.IDs) == 0 {
		return nil, fmt.Errorf("publish printed no record ids (%v): %s", err, out)
	}
	return r.Receipt.IDs, nil
}

// stop ends the node as systemd does.
func (h *host) stop() {
	_ = h.proc.Process.Signal(syscall.SIGTERM)
	_ = h.proc.Wait()
	h.proc = nil
}

// look takes a sample of a node that runs.
func (h *soaked) look(after time.Duration, published, erased int) {
	h.t.Helper()
	m := h.metrics()
	s := sample{after: after, memory: m["process_resident_memory_bytes"], goroutines: m["go_goroutines"], files: m["process_open_fds"],
		records: int(m["entente_records"]), published: published, erased: erased}
	if s.memory == 0 || s.goroutines == 0 || s.files == 0 {
		h.t.Fatalf("%s: its metrics say nothing of memory, goroutines or files: %v", h.name, m)
	}
	_ = filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go
		}
		if info, err := d.Info(); err == nil {
			// Blocks that are in use: Badger makes files longer than what is in them.
			s.disk += float64(info.Sys().(*syscall.Stat_t).Blocks * 512)
		}
		return nil
	})
	h.samples = append(h.samples, s)
}

// metrics reads what the node offers to monitoring.
func (h *host) metrics() map[string]float64 {
	h.t.Helper()
	log := h.log.String()
	at := strings.LastIndex(log, "metrics on http://")
	if at < 0 {
		h.t.Fatalf("%s offers no metrics: %s", h.name, tail(log, 500))
	}
	url, _, _ := strings.Cut(log[at+len("metrics on "):], "\n")
	r, err := http.Get(url)
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = v
		}
	}
	return out
}

// flat holds the last quarter of the samples against the second.
func (h *soaked) flat() {
	h.t.Helper()
	n := len(h.samples)
	if n < 4 {
		h.t.Fatalf("%s: %d samples say nothing", h.name, n)
	}
	early, late := h.samples[n/4:n/2], h.samples[n-n/4:]
	middle := func(list []sample, of func(sample) float64) float64 {
		var all []float64
		for _, s := range list {
			all = append(all, of(s))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	done := float64(late[len(late)/2].erased - early[len(early)/2].erased)
	for _, c := range []struct {
		what string
		of   func(sample) float64
		most func(float64) float64
	}{
		{"resident memory", func(s sample) float64 { return s.memory }, func(v float64) float64 { return v*soakMemory + soakMemorySlop }},
		{"goroutines", func(s sample) float64 { return s.goroutines }, func(v float64) float64 { return v + soakGoroutines }},
		{"open files", func(s sample) float64 { return s.files }, func(v float64) float64 { return v + soakFiles }},
		{"disk", func(s sample) float64 { return s.disk }, func(v float64) float64 { return v + soakDiskSlop + done*soakPerRecord }},
	} {
		a, b := middle(early, c.of), middle(late, c.of)
		line := fmt.Sprintf("%s: %s %.0f in the second quarter, %.0f in the last (%.0f records erased between)", h.name, c.what, a, b, done)
		summary("%s", line)
		if b > c.most(a) {
			h.t.Errorf("%s; at most %.0f", line, c.most(a))
		}
	}
}

func soakCSV(nodes ...*soaked) string {
	var b strings.Builder
	b.WriteString("node,seconds,memory,goroutines,files,disk,published,erased,records\n")
	for _, h := range nodes {
		for _, s := range h.samples {
			fmt.Fprintf(&b, "%s,%.0f,%.0f,%.0f,%.0f,%.0f,%d,%d,%d\n", h.name, s.after.Seconds(), s.memory, s.goroutines, s.files, s.disk, s.published, s.erased, s.records)
		}
	}
	return b.String()
}
