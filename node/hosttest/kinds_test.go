package hosttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// world is a publisher with its readers, and what is known of what it published.
type world struct {
	t         *testing.T
	pub       *host
	readers   []*host
	ledger    *ledger
	newcomers int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, ledger: newLedger(), pub: newHost(t, "Publisher", "vendor", "127.0.0.1")}
	w.readers = []*host{newHost(t, "Reader One", "police", "127.0.0.1"), newHost(t, "Reader Two", "cert", "127.0.0.1")}
	network(t, append([]*host{w.pub}, w.readers...)...)
	for _, r := range w.readers {
		agree(t, w.pub, r)
	}
	return w
}

// anybody draws who is killed, the publisher mostly.
func (w *world) anybody(rng *rand.Rand) *host {
	if i := rng.IntN(6); i < len(w.readers) {
		return w.readers[i]
	}
	return w.pub
}

// round is one kill: work that is under way, and who is killed in it.
type round struct {
	victim   *host
	within   time.Duration // of the beginning of do, the kill comes
	do       func(rng *rand.Rand, stop <-chan struct{})
	newcomer bool   // the victim is
	settle   func() // nil, or what carries the work to its end after the restart, and looks at it
}

// kinds are the kinds of work that nodes are killed in; they take turns.
var kinds = []struct {
	name    string
	prepare func(w *world, rng *rand.Rand) round
}{
	{"while publishing", func(w *world, rng *rand.Rand) round { return w.writing(writes[0], rng) }},
	{"while erasing", func(w *world, rng *rand.Rand) round { return w.writing(writes[1], rng) }},
	{"while catching up", (*world).catchingUp},
	{"while admitting", (*world).admitting},
	{"while backing up", (*world).backingUp},
}

func (w *world) writing(kind work, rng *rand.Rand) round {
	return round{victim: w.anybody(rng), within: 250 * time.Millisecond, do: func(rng *rand.Rand, stop <-chan struct{}) {
		for range 3 {
			kind.do(w.pub, w.ledger, rng)
		}
	}}
}

// backingUp kills the node that is backed up: a backup that was acknowledged is there and
// verifies, and what else is there verifies too. TestKilledBackup kills restores.
func (w *world) backingUp(rng *rand.Rand) round {
	dir := w.t.TempDir()
	key, file := filepath.Join(dir, "key"), filepath.Join(dir, "node.backup")
	var made struct{ Recipient string }
	w.pub.json(&made, "backup", "keygen", "-o", key)
	acked := false
	return round{victim: w.pub, within: 150 * time.Millisecond, do: func(_ *rand.Rand, stop <-chan struct{}) {
		_, err := w.pub.try("backup", "create", "--recipient", made.Recipient, "-o", file)
		acked = err == nil
	}, settle: func() {
		w.t.Helper()
		_, err := os.Stat(file)
		if acked && err != nil {
			w.t.Errorf("a backup that was acknowledged is not there: %v", err)
		}
		if err == nil {
			w.pub.must("backup", "verify", file, "--identity", key)
		}
	}}
}

// backlog is how many lists a reader missed that comes back.
const backlog = 6

// catchingUp kills a reader that comes back after it missed much, or the one that it learns from.
func (w *world) catchingUp(rng *rand.Rand) round {
	r := w.readers[rng.IntN(len(w.readers))]
	r.kill()
	for range backlog {
		var list []string
		for range 100 {
			list = append(list, w.ledger.fresh())
		}
		if err := w.pub.publish(strings.Join(list, "\n") + "\n"); err != nil {
			w.t.Fatal(err)
		}
		for _, v := range list {
			w.ledger.acked[v] = true
		}
	}
	r.launch()
	out := round{victim: r, within: 1000 * time.Millisecond}
	if rng.IntN(4) == 0 {
		out.victim = w.pub
		out.settle = func() { r.until("is up", func() bool { return r.status().Online }) }
	}
	want := len(w.ledger.acked)
	out.do = func(_ *rand.Rand, stop <-chan struct{}) {
		untilStopped(stop, func() bool {
			text, err := r.try("export", "--format", "lines")
			return err == nil && strings.Count(text, "\n") >= want
		})
	}
	return out
}

func untilStopped(stop <-chan struct{}, ok func() bool) {
	for !ok() {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// admission is what makes a newcomer a partner: what was acknowledged is not done again.
type admission struct {
	w       *world
	n       *host
	inv, id string
	steps   []func() error
	done    int
}

// go on with what is not done, until stop.
func (a *admission) goOn(stop <-chan struct{}) (err error) {
	untilStopped(stop, func() bool {
		for a.done < len(a.steps) {
			if err = a.steps[a.done](); err != nil {
				return false
			}
			a.done++
		}
		return true
	})
	return err
}

// admitting kills a newcomer, or who admits it, between its invitation and its agreement: the
// statements, cards and letters of it are under way.
func (w *world) admitting(rng *rand.Rand) round {
	w.newcomers++
	name := fmt.Sprintf("Newcomer %d", w.newcomers)
	n := newHost(w.t, name, "cert", "127.0.0.1")
	n.launch()
	a := &admission{w: w, n: n}
	dir := w.t.TempDir()
	cards := map[*host]string{}
	words := map[*host]string{}
	for _, h := range []*host{w.pub, n} {
		cards[h] = filepath.Join(dir, fmt.Sprintf("card%d", len(cards)))
		h.until("shows its card", func() bool { _, err := h.try("id", "--card", cards[h]); return err == nil })
		var id struct{ Words []string }
		h.json(&id, "id")
		words[h] = strings.Join(id.Words, " ")
	}
	a.inv = filepath.Join(dir, "invitation")
	run := func(h *host, args ...string) func() error {
		return func() error {
			_, err := h.try(args...)
			if err != nil && strings.Contains(err.Error(), "already") {
				return nil // it was done, and the process ended before it said so
			}
			return err
		}
	}
	a.steps = []func() error{
		run(w.pub, "network", "invite", cards[n], "-o", a.inv),
		run(n, "network", "join", a.inv),
		run(n, "topic", "join", "c2"),
		run(w.pub, "trust", cards[n], "--words", words[n]),
		run(n, "trust", cards[w.pub], "--words", words[w.pub]),
		func() error {
			out, err := w.pub.try("agreement", "new", "--with", name)
			if err != nil {
				return err
			}
			draft := filepath.Join(dir, "draft.yaml")
			if err := os.WriteFile(draft, []byte(out), 0o600); err != nil {
				return err
			}
			out, err = w.pub.try("agreement", "propose", draft, "--json")
			a.id = between(out, `"agreement": "`, `"`)
			return err
		},
		// From here on the letters have to find their way, whoever was killed since.
		func() error { return a.state(n, "incoming", "in force") },
		run(n, "agreement", "countersign", "ID"),
		func() error { return a.state(w.pub, "in force") },
	}
	a.steps[7] = func() error { return run(n, "agreement", "countersign", a.id)() }
	out := round{victim: n, within: 800 * time.Millisecond}
	if rng.IntN(2) == 0 {
		out.victim = w.pub
	}
	out.newcomer = out.victim == n
	out.do = func(_ *rand.Rand, stop <-chan struct{}) { _ = a.goOn(stop) }
	out.settle = func() {
		w.t.Helper()
		if a.done > 7 { // acknowledged before the kill
			if err := a.state(n, "in force"); err != nil {
				w.t.Errorf("%s countersigned, and after the restart: %v", name, err)
			}
		}
		limit := make(chan struct{})
		timer := time.AfterFunc(3*time.Minute, func() { close(limit) })
		defer timer.Stop()
		if err := a.goOn(limit); err != nil || a.done < len(a.steps) {
			w.t.Fatalf("%s is not admitted: step %d of %d: %v", name, a.done+1, len(a.steps), err)
		}
		v := w.ledger.fresh()
		if err := w.pub.publish(v + "\n"); err != nil {
			w.t.Fatal(err)
		}
		w.ledger.acked[v] = true
		n.until("reads what was published for it", func() bool {
			out, err := n.try("search", v, "--json")
			return err == nil && between(out, `"id": "`, `"`) != ""
		})
		// It leaves again, so that hundreds of rounds do not need hundreds of processes.
		w.pub.must("agreement", "terminate", a.id, "--reason", "test")
		n.until("knows of the end", func() bool { return a.state(n, "terminated") == nil })
		n.kill()
		w.pub.must("network", "remove", name, "--reason", "test")
	}
	return out
}

// state wants the agreement to be in one of some states at a node.
func (a *admission) state(h *host, states ...string) error {
	out, err := h.try("agreement", "show", a.id)
	if err != nil {
		return err
	}
	for _, s := range states {
		if strings.Contains(out, "State: "+s) {
			return nil
		}
	}
	return fmt.Errorf("%s has the agreement as %q", h.name, between(out, "State: ", "\n"))
}
