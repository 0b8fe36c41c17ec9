package simtest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// meshesEnv is set to run what takes too long for every go test: see long.
const meshesEnv = "ENTENTE_MESHES"

// summary notes that a job ran, or why not: on the screen, and in the file that
// ENTENTE_SUMMARY names.
func summary(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Println(line)
	path := os.Getenv("ENTENTE_SUMMARY")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// job is a test that is too long for every go test, and what it found out.
type job struct{ found string }

// long skips a test that takes more than about ten seconds, unless it is asked for, and notes
// whether it ran, with how many nodes, and what it found.
func long(t *testing.T, nodes int) *job {
	t.Helper()
	if os.Getenv(meshesEnv) == "" {
		summary("NOT RUN %s: %s is not set", t.Name(), meshesEnv)
		t.Skip(meshesEnv + " is not set")
	}
	t.Parallel()
	j, began := &job{}, time.Now()
	t.Cleanup(func() {
		if !t.Failed() {
			summary("RAN %s %d nodes: %s; %v of real time", t.Name(), nodes, j.found, time.Since(began).Round(time.Second))
		}
	})
	return j
}

func (j *job) note(format string, args ...any) { j.found = fmt.Sprintf(format, args...) }

// notShort skips a test with twenty nodes where the race detector makes it take minutes.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("twenty nodes under the race detector take minutes; the smaller scenarios run")
	}
	t.Parallel()
}

// crowd is how many honest nodes stand around what a scenario is about: twenty if the environment asks for
// large meshes, twelve in every go test.
func crowd() int {
	if os.Getenv(meshesEnv) != "" {
		return 20
	}
	return 12
}

// meshOf makes a network of organisations, all up and in topic c2.
func meshOf(t *testing.T, count int, more ...func(w *World)) *World {
	t.Helper()
	w := New(t)
	w.Settled = true
	for _, fn := range more {
		fn(w)
	}
	for i := range count {
		w.Add(fmt.Sprintf("Org %d", i), "cert", "")
	}
	w.Network()
	joinAll(t, w, "c2")
	return w
}

// traffic is what honest members publish while something else goes on: each author has an
// agreement with each reader.
type traffic struct {
	w                *World
	authors, readers []*Node
	values           []string
	seen             map[*Node]int // so many of the values were found already: asking again costs more than all else
}

func newTraffic(w *World, authors, readers []*Node) *traffic {
	for _, a := range authors {
		for _, r := range readers {
			if a != r {
				w.Agree(a, r, protocol.TLPAmber, "*")
			}
		}
	}
	return &traffic{w: w, authors: authors, readers: readers, seen: map[*Node]int{}}
}

// publish has every author that is up publish count records, each in an envelope of its own.
func (tr *traffic) publish(count int) {
	tr.w.T.Helper()
	for range count {
		for _, a := range tr.authors {
			n := len(tr.values)
			value := fmt.Sprintf("198.51.%d.%d", n/250, n%250)
			publish(tr.w.T, a, "c2", value+"\n", green)
			tr.values = append(tr.values, value)
		}
	}
}

// read reports whether the readers that are up found everything that was published.
func (tr *traffic) read() bool {
	tr.w.T.Helper()
	return everyNode(tr.readers, func(r *Node) bool { return !r.Online() || tr.readBy(r) })
}

// readBy reports whether one node found everything that was published.
func (tr *traffic) readBy(n *Node) bool {
	tr.w.T.Helper()
	for _, v := range tr.values[tr.seen[n]:] {
		if !finds(tr.w.T, n, v) {
			return false
		}
		tr.seen[n]++
	}
	return true
}

// same reports whether nodes hold the same entries of the same feeds, to the last that its
// author stated, of all authors that are among them.
func same(t *testing.T, nodes []*Node) bool {
	t.Helper()
	orgs := map[protocol.OrgID]bool{}
	for _, n := range nodes {
		orgs[n.Org()] = true
	}
	type state struct {
		held   uint64
		digest protocol.Hash
	}
	var want map[protocol.FeedID]state
	for _, n := range nodes {
		have := map[protocol.FeedID]state{}
		list, err := n.Feeds()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if !orgs[f.Org.ID] {
				continue
			}
			if !f.Own && !f.Complete {
				return false
			}
			have[f.Feed] = state{f.Held, f.Digest}
		}
		if want == nil {
			want = have
		}
		if len(have) != len(want) {
			return false
		}
		for id, s := range have {
			if want[id] != s {
				return false
			}
		}
	}
	return len(want) > 0
}

// soon waits until ok, at most so long in virtual time.
func (w *World) soon(within time.Duration, what string, ok func() bool) {
	w.T.Helper()
	for end := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			w.T.Fatalf("%v passed before %s", within, what)
		}
	}
}

// of returns what a node says of a feed.
func of(t *testing.T, n *Node, feed protocol.FeedID) (out node.FeedStatus) {
	t.Helper()
	list, err := n.Feeds()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Feed == feed {
			return f
		}
	}
	return out
}
