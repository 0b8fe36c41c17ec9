package node

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

// The seeded simulator. A schedule is drawn from a seed: which nodes publish, compare, gossip,
// erase, crash, are restored, lie, and in which order; what is dropped, doubled, delayed. It
// drives the nodes themselves, without goroutines and without a network, on disks in memory
// whose power can be cut before and after every effect, in virtual time, with randomness that
// follows from the seed. After every step it looks at what must never happen (safety); then
// the faults stop, or stay in one direction for ever, and everything must arrive (liveness).
//
//	go test ./node -run TestSchedules                      some, within a time
//	go test ./node -run TestSchedules -schedules 100000    as many as that
//	go test ./node -run TestSchedules -seed 4711 -v        one again, with all that happened
var (
	scheduleCount = flag.Int("schedules", 0, "run so many schedules, however long it takes")
	scheduleFrom  = flag.Uint64("schedules.from", 1, "seed of the first schedule")
	scheduleSeed  = flag.Uint64("seed", 0, "run the schedule of this seed only")
)

// schedule runs the schedule of a seed. It returns what went wrong, empty for nothing, and
// all that happened.
func schedule(t *testing.T, seed uint64, bug defect) (wrong string, log []string) {
	which := int(seed % uint64(len(topologies)))
	crypto.KeepVerified(1 << 16)
	tp := templateOf(t, which, bug)
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(simEpoch)
		w := &scheduled{t: t, rng: rand.New(rand.NewPCG(seed, 3)), defect: bug, facts: map[string]*fact{}, edges: tp.edges, ended: map[[2]int]bool{}, over: map[[2]int]bool{},
			published: map[protocol.FeedID]map[uint64]protocol.Hash{}, signers: map[protocol.SigningKey]*member{}}
		defer func() {
			log = w.log
			if r := recover(); r != nil {
				v, ok := r.(violation)
				if !ok {
					v.text = fmt.Sprintf("panic: %v", r)
					if bug == none {
						w.logf("%v", r)
						for _, l := range w.log {
							t.Log(l)
						}
						panic(r)
					}
				}
				wrong = v.text
				w.logf("WRONG: %s", wrong)
				log = w.log
			}
		}()
		for i := range tp.names {
			d := new(disk.Disk)
			d.Restore(tp.disks[i], "sim")
			d.Restore(tp.disks[i], simData)
			d.Restore(tp.disks[i], simAnchor)
			d.Torn = bug == torn
			d.Lazy = bug == unsynced
			d.Flush()
			m := &member{w: w, name: tp.names[i], index: i, keys: tp.keys[i], disk: d, out: map[protocol.FeedID]uint64{}, seen: map[protocol.FeedID]uint64{}, gone: map[string]bool{}, perhaps: map[string]bool{}}
			m.hostile = i == len(tp.names)-1
			w.members = append(w.members, m)
			w.signers[m.keys.Signing.Public()] = m
		}
		for _, m := range w.members {
			w.start(m)
		}
		steps := 30 + w.rng.IntN(70)
		for w.step = 1; w.step <= steps; w.step++ {
			w.oneStep()
			if bug == unsynced && w.rng.IntN(4) == 0 {
				w.members[w.rng.IntN(len(w.members))].disk.Flush()
			}
		}
		w.heal()
	})
	return wrong, log
}

// TestSchedules runs schedules one after the other: what is random in the process is set by
// their seeds.
func TestSchedules(t *testing.T) {
	if *scheduleSeed != 0 {
		wrong, log := schedule(t, *scheduleSeed, none)
		for _, l := range log {
			t.Log(l)
		}
		if wrong != "" {
			t.Errorf("seed %d: %s", *scheduleSeed, wrong)
		}
		return
	}
	begin, limit := time.Now(), 15*time.Second
	if testing.Short() {
		limit = 2 * time.Second
	}
	ran := 0
	for seed := *scheduleFrom; ; seed++ {
		if *scheduleCount > 0 && ran >= *scheduleCount || *scheduleCount == 0 && time.Since(begin) > limit {
			break
		}
		if wrong, log := schedule(t, seed, none); wrong != "" {
			t.Errorf("seed %d: %s\nrun it again: go test ./node -run TestSchedules -seed %d -v\n%s", seed, wrong, seed, strings.Join(log[max(0, len(log)-30):], "\n"))
			if *scheduleCount == 0 {
				return
			}
		}
		ran++
	}
	t.Logf("RAN %d schedules in %v", ran, time.Since(begin).Round(time.Millisecond))
}

// TestSchedulesFindDefects: for each defect some schedule goes wrong, soon.
func TestSchedulesFindDefects(t *testing.T) {
	for bug, name := range map[defect]string{noAnchor: "no anchor", unsynced: "commits are not synced", torn: "marks are durable before what they mark",
		forgetsTombs: "tombs are forgotten", eraseFirst: "erased before the survivors are sealed anew", forgetsLacks: "missing bodies are not noted", ignoresForks: "fork proofs are thrown away"} {
		t.Run(name, func(t *testing.T) {
			const most = 300
			for seed := uint64(1); seed <= most; seed++ {
				if wrong, _ := schedule(t, seed, bug); wrong != "" {
					t.Logf("seed %d: %s", seed, wrong)
					return
				}
			}
			t.Errorf("not found in %d schedules", most)
		})
	}
}

// TestSchedulesReplay: a seed gives the same schedule again, to the step at which power fails.
func TestSchedulesReplay(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		_, first := schedule(t, seed, none)
		_, again := schedule(t, seed, none)
		for i := range min(len(first), len(again)) {
			if first[i] != again[i] {
				t.Fatalf("seed %d: line %d was %q, and then %q", seed, i, first[i], again[i])
			}
		}
		if len(first) != len(again) || len(first) < 20 {
			t.Fatalf("seed %d: %d lines, and then %d", seed, len(first), len(again))
		}
	}
}
