package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

// The seeded simulator. A schedule is drawn from a seed: which nodes publish, compare, gossip,
// erase, crash, are restored, lie, and in which order; what is dropped, doubled, delayed. It
// drives the nodes themselves, without goroutines and without a network, on disks in memory
// whose power can be cut before and after every effect, in virtual time, with randomness that
// follows from the seed. After every step it looks at what must never happen (safety); then
// the faults stop, or stay in one direction for ever, and everything must arrive (liveness).
//
//	go test ./node -run TestSchedules                      2,000 of them
//	go test ./node -run TestSchedules -schedules 100000    as many as that
//	go test ./node -run TestSchedules -seed 4711 -v        one again, with all that happened
//
// This file runs schedules; schedule_world_test.go holds what they are about, _steps_ what
// nodes do, _faults_ what befalls them, _checks_ what is asserted.
var (
	scheduleCount   = flag.Int("schedules", 60, "run so many schedules")
	scheduleFrom    = flag.Uint64("schedules.from", 1, "seed of the first schedule")
	scheduleWorkers = flag.Int("schedules.workers", min(2, runtime.NumCPU()), "in so many processes; 1: in this one")
	scheduleSeed    = flag.Uint64("seed", 0, "run the schedule of this seed only")
	scheduleStride  = flag.Uint64("schedules.stride", 0, "what a worker adds to a seed for the next; set by the test itself")
	scheduleResult  = flag.String("schedules.result", "", "where a worker writes what came of them; set by the test itself")
)

// schedule runs the schedule of a seed. It returns what went wrong, empty for nothing, and
// all that happened.
func schedule(t *testing.T, seed uint64, bug defect) (wrong string, log []string) {
	wrong, log, _ = scheduleCounted(t, seed, bug)
	return wrong, log
}

// scheduleCounted also counts what was exercised.
func scheduleCounted(t *testing.T, seed uint64, bug defect) (wrong string, log []string, counts tally) {
	rng := rand.New(rand.NewPCG(seed, 3))
	siblings := rng.IntN(4) == 0 || bug == keepsEpochs || bug == keepsErasures
	which := shapes[rng.IntN(len(shapes))]
	if siblings {
		which = rng.IntN(6) / 5 // there will be more nodes
	}
	life := !siblings && bug == none && rng.IntN(6) == 0
	if life && which == 0 && rng.IntN(3) > 0 {
		which = 1 // what is passed on needs hops
	}
	tp := templateOf(t, which, rng.IntN(8) == 0, life, bug)
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(simEpoch)
		w := newWorld(t, tp, rng, bug)
		w.siblings, w.life = siblings, life
		counts = w.did
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
		for _, m := range w.members {
			w.start(m)
		}
		steps := stepsOf(rng)
		if siblings {
			steps += w.beginSiblings()
		}
		for w.step = 1; w.step <= steps; w.step++ {
			w.oneStep()
			if bug == unsynced && w.rng.IntN(4) == 0 {
				w.members[w.rng.IntN(len(w.members))].disk.Flush()
			}
		}
		w.heal()
	})
	return wrong, log, counts
}

// stepsOf draws how long a schedule is: most defects need few steps, some need many.
func stepsOf(rng *rand.Rand) int {
	switch rng.IntN(16) {
	case 0:
		return 100 + rng.IntN(150)
	case 1, 2, 3, 4:
		return 50 + rng.IntN(50)
	}
	return 15 + rng.IntN(35)
}

// tally counts what schedules exercised.
type tally map[string]int

func (c tally) add(o tally) {
	for k, n := range o {
		c[k] += n
	}
}

// String lists the counts, the most frequent first.
func (c tally) String() string {
	keys := slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		if c[a] != c[b] {
			return c[b] - c[a]
		}
		return strings.Compare(a, b)
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%d %s", c[k], k)
	}
	return strings.Join(keys, ", ")
}

// result is what came of the schedules of one process.
type result struct {
	Ran    int
	Did    tally
	Failed []failure
}

type failure struct {
	Seed  uint64
	Wrong string
	Log   []string // the end of it
}

// mostFailures is how many failing seeds end a run.
const mostFailures = 20

// runSchedules runs the schedules of every stride-th seed of a range in this process.
func runSchedules(t *testing.T, from, to, stride uint64, until time.Time) result {
	r := result{Did: tally{}}
	for seed := from; seed < to && len(r.Failed) < mostFailures; seed += stride {
		if !until.IsZero() && time.Now().After(until) {
			break
		}
		wrong, log, did := scheduleCounted(t, seed, none)
		if wrong != "" {
			r.Failed = append(r.Failed, failure{seed, wrong, log[max(0, len(log)-30):]})
		}
		r.Did.add(did)
		r.Ran++
	}
	return r
}

// runWorkers runs the schedules of a range in processes of their own: what is random in a
// process is set by the seed of the one schedule that it runs.
func runWorkers(t *testing.T, from, to uint64, workers int) result {
	all := result{Did: tally{}}
	dir := t.TempDir()
	type process struct {
		cmd  *exec.Cmd
		out  bytes.Buffer
		file string
	}
	var list []*process
	for i := range workers {
		p := &process{file: filepath.Join(dir, fmt.Sprint(i))}
		p.cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSchedules$", "-test.timeout=0",
			fmt.Sprintf("-schedules.from=%d", from+uint64(i)), fmt.Sprintf("-schedules=%d", to-from-uint64(i)),
			fmt.Sprintf("-schedules.stride=%d", workers), "-schedules.result="+p.file)
		p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
		p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	for _, p := range list {
		err := p.cmd.Wait()
		var r result
		b, rerr := os.ReadFile(p.file)
		if err := errors.Join(err, rerr); err != nil {
			t.Errorf("a worker ended: %v\n%s", err, p.out.String())
			continue
		}
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		all.Ran += r.Ran
		all.Did.add(r.Did)
		all.Failed = append(all.Failed, r.Failed...)
	}
	return all
}

// TestSchedules runs schedules, and shows what they exercised.
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
	from, to := *scheduleFrom, *scheduleFrom+uint64(*scheduleCount)
	if *scheduleResult != "" {
		b, err := json.Marshal(runSchedules(t, from, to, *scheduleStride, time.Time{}))
		if err == nil {
			err = os.WriteFile(*scheduleResult, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	begin := time.Now()
	var r result
	switch {
	case testing.Short():
		r = runSchedules(t, from, to, 1, begin.Add(2*time.Second))
	case *scheduleWorkers > 1:
		r = runWorkers(t, from, to, *scheduleWorkers)
	default:
		r = runSchedules(t, from, to, 1, time.Time{})
	}
	for _, f := range r.Failed {
		t.Errorf("seed %d: %s\nrun it again: go test ./node -run TestSchedules -seed %d -v\n%s", f.Seed, f.Wrong, f.Seed, strings.Join(f.Log, "\n"))
	}
	if !testing.Short() && r.Ran >= 2000 {
		for _, k := range slices.Concat(exercises, siblingExercises, lifeExercises) {
			if r.Did[k] == 0 {
				t.Errorf("no schedule exercised: %s", k)
			}
		}
	}
	fmt.Printf("RAN %d schedules in %v: %v\n", r.Ran, time.Since(begin).Round(time.Millisecond), r.Did)
}

// TestSchedulesFindDefects: for each defect some schedule goes wrong, soon.
func TestSchedulesFindDefects(t *testing.T) {
	if testing.Short() || *scheduleCount < 500 {
		t.Skip("takes long; -schedules 500 runs it, as .ci/run does")
	}
	for bug, name := range map[defect]string{noAnchor: "no anchor", unsynced: "commits are not synced", torn: "marks are durable before what they mark",
		forgetsTombs: "tombs are forgotten", eraseFirst: "erased before the survivors are sealed anew", forgetsLacks: "missing bodies are not noted", ignoresForks: "fork proofs are thrown away",
		keepsEpochs: "an epoch goes on after a node was removed that has its key", keepsErasures: "siblings do not tell what they erased"} {
		t.Run(name, func(t *testing.T) {
			const most = 1000
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
