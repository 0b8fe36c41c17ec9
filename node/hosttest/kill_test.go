package hosttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// number reads a number from the environment.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// ledger is what is known of every record that the publisher tried to publish.
type ledger struct {
	acked  map[string]bool // acknowledged and not erased
	open   map[string]int  // neither acknowledged nor refused: there, or not; and of which list
	erased map[string]bool // erasure acknowledged
	fading map[string]bool // erasure begun and not acknowledged
	count  int
}

func newLedger() *ledger {
	return &ledger{acked: map[string]bool{}, open: map[string]int{}, erased: map[string]bool{}, fading: map[string]bool{}}
}

func (l *ledger) fresh() string {
	l.count++
	return fmt.Sprintf("host-%d.example.net", l.count)
}

// work is a kind of work that is in flight when a node is killed.
type work struct {
	name string
	do   func(h *host, l *ledger, rng *rand.Rand)
}

// writes are what a publisher does that has to be durable when it is acknowledged.
var writes = []work{
	{"publish", func(h *host, l *ledger, rng *rand.Rand) {
		var list []string
		text := ""
		for range 1 + rng.IntN(20) {
			v := l.fresh()
			list = append(list, v)
			text += v + "\n"
		}
		for _, v := range list {
			l.open[v] = l.count
		}
		if h.publish(text) == nil {
			for _, v := range list {
				delete(l.open, v)
				l.acked[v] = true
			}
		}
	}},
	{"erase", func(h *host, l *ledger, rng *rand.Rand) {
		for v := range l.acked {
			out, err := h.try("search", v, "--json")
			if err != nil {
				return
			}
			id := between(out, `"id": "`, `"`)
			if id == "" {
				return
			}
			delete(l.acked, v)
			l.fading[v] = true
			if _, err := h.try("erase", id, "--reason", "request"); err == nil {
				delete(l.fading, v)
				l.erased[v] = true
			}
			return
		}
	}},
}

func between(s, from, to string) string {
	for i := 0; i+len(from) <= len(s); i++ {
		if s[i:i+len(from)] == from {
			rest := s[i+len(from):]
			for j := 0; j+len(to) <= len(rest); j++ {
				if rest[j:j+len(to)] == to {
					return rest[:j]
				}
			}
		}
	}
	return ""
}

// TestKilledAtRandom: nodes are killed in the middle of publishing, erasing, catching up and
// admitting a newcomer; after each restart what was acknowledged is there, what was erased is
// not, and no feed has forked. ENTENTE_KILL_ROUNDS says how often, ENTENTE_KILL_SEED which.
func TestKilledAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes take their time; go test without -short runs it")
	}
	rounds := number("ENTENTE_KILL_ROUNDS", 1)
	seed := number("ENTENTE_KILL_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("ENTENTE_KILL_SEED=%d ENTENTE_KILL_ROUNDS=%d", seed, rounds)
	rng := rand.New(rand.NewPCG(uint64(seed), 7))
	w := newWorld(t)
	writes[0].do(w.pub, w.ledger, rng)
	count := map[string]int{}
	inTime, ran := 0, 0
	for round := range rounds {
		if end, ok := t.Deadline(); ok && time.Until(end) < time.Minute {
			t.Logf("the time that -timeout gives is up after %d of %d rounds", ran, rounds)
			break
		}
		kind := kinds[round%len(kinds)]
		r := kind.prepare(w, rng)
		after := time.Duration(rng.Int64N(int64(r.within)))
		stop, done := make(chan struct{}), make(chan struct{})
		own := rand.New(rand.NewPCG(uint64(seed), uint64(round)))
		go func() {
			defer close(done)
			r.do(own, stop)
		}()
		time.Sleep(after) // the moment of the kill, and nothing else, depends on the clock
		middle := false
		select {
		case <-done:
		default:
			middle = true
			inTime++
		}
		r.victim.kill()
		close(stop)
		<-done          // nobody asks a node that is not there for long
		if r.newcomer { // it may be in no network yet, and is not on line then
			r.victim.launch()
			r.victim.until("answers", func() bool { _, err := r.victim.try("id"); return err == nil })
		} else {
			r.victim.start()
		}
		if r.settle != nil {
			r.settle()
		}
		count[kind.name]++
		ran++
		t.Logf("round %d: killed %s %s after %v, in the middle: %v; %d acknowledged, %d erased", round, r.victim.name, kind.name, after.Round(time.Millisecond), middle, len(w.ledger.acked), len(w.ledger.erased))
		w.ledger.check(t, w.pub, w.readers)
		if t.Failed() {
			t.FailNow()
		}
	}
	var list []string
	for _, k := range kinds {
		list = append(list, fmt.Sprintf("%d %s", count[k.name], k.name))
	}
	summary("RAN %d kills: %s; %d of them before the work was done", ran, strings.Join(list, ", "), inTime)
}

// check holds what the nodes show against what was acknowledged.
func (l *ledger) check(t *testing.T, pub *host, readers []*host) {
	t.Helper()
	have := pub.values()
	for v := range l.acked {
		if !have[v] {
			t.Errorf("%s was acknowledged, and is not at its publisher after the restart", v)
		}
	}
	for v := range l.erased {
		if have[v] {
			t.Errorf("%s was erased, and is back at its publisher", v)
		}
	}
	// What was not acknowledged is there as a whole or not at all; now it is known which.
	there := map[int]bool{} // by list
	for v, list := range l.open {
		if was, ok := there[list]; ok && was != have[v] {
			t.Errorf("a list that was not acknowledged is there in part: %s is there: %v", v, have[v])
		}
		there[list] = have[v]
		if have[v] {
			l.acked[v] = true
		}
		delete(l.open, v)
	}
	for v := range l.fading {
		if have[v] {
			l.acked[v] = true
		} else {
			l.erased[v] = true
		}
		delete(l.fading, v)
	}
	for _, r := range readers {
		r.until("has everything that was acknowledged and nothing that was erased", func() bool {
			have := r.values()
			for v := range l.acked {
				if !have[v] {
					return false
				}
			}
			for v := range l.erased {
				if have[v] {
					return false
				}
			}
			return true
		})
	}
	for _, h := range append([]*host{pub}, readers...) {
		if st := h.status(); st.Forked > 0 {
			t.Errorf("%s knows of a fork: %+v", h.name, st.Problems)
		}
	}
}
