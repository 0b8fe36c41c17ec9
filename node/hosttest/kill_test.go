package hosttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
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

var kinds = []work{
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

// TestKilledAtRandom: nodes are killed in the middle of publishing, erasing, admitting and
// syncing; after each restart what was acknowledged is there, what was erased is not, and
// no feed has forked. ENTENTE_KILL_ROUNDS says how often, ENTENTE_KILL_SEED which.
func TestKilledAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes take their time; go test without -short runs it")
	}
	rounds := number("ENTENTE_KILL_ROUNDS", 4)
	seed := number("ENTENTE_KILL_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("ENTENTE_KILL_SEED=%d ENTENTE_KILL_ROUNDS=%d", seed, rounds)
	rng := rand.New(rand.NewPCG(uint64(seed), 7))
	pub := newHost(t, "Publisher", "vendor", "127.0.0.1")
	readers := []*host{newHost(t, "Reader One", "police", "127.0.0.1"), newHost(t, "Reader Two", "cert", "127.0.0.1")}
	all := append([]*host{pub}, readers...)
	network(t, all...)
	for _, r := range readers {
		agree(t, pub, r)
	}
	l := newLedger()
	kinds[0].do(pub, l, rng)
	for round := range rounds {
		victim := all[0]
		if rng.IntN(3) == 0 {
			victim = all[rng.IntN(len(all))]
		}
		kind := kinds[rng.IntN(len(kinds))]
		after := time.Duration(rng.IntN(250)) * time.Millisecond
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3 {
				kind.do(pub, l, rng)
			}
		}()
		time.Sleep(after) // the moment of the kill, and nothing else, depends on the clock
		victim.kill()
		if victim == pub {
			<-done
		}
		victim.start()
		<-done
		t.Logf("round %d: killed %s in the middle of %s after %v; %d acknowledged, %d erased", round, victim.name, kind.name, after, len(l.acked), len(l.erased))
		l.check(t, pub, readers)
		if t.Failed() {
			t.FailNow()
		}
	}
	summary("RAN kill %d", rounds)
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
