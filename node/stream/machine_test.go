package stream

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node"
)

// TestDeliveryLosesNothing: whatever fails, and wherever the node dies, every change that is for the sink
// arrives at least once, for the first time in order, and none that is not for it.
func TestDeliveryLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newDelivery(t)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1:
				w.grow()
			case 2:
				w.forbid()
			case 3:
				w.crash()
			default:
				w.step(true)
			}
		}
		for range 100000 {
			if !w.step(false) {
				w.check()
				return
			}
		}
		t.Fatal("it never came to an end")
	})
}

// delivery is a machine, what it delivers from and whom it delivers to.
type delivery struct {
	t       *rapid.T
	m       *Machine
	now     time.Time
	stored  node.SinkProgress
	head    uint64
	hidden  map[uint64]bool // cursors that are not for the sink, or not any more
	read    []uint64
	got     []uint64 // at the receiver, with what came more than once
	offered map[uint64]bool
	limit   int
}

func newDelivery(t *rapid.T) *delivery {
	w := &delivery{t: t, now: time.Unix(1e9, 0), hidden: map[uint64]bool{}, offered: map[uint64]bool{}, limit: rapid.IntRange(1, 5).Draw(t, "limit")}
	w.crash()
	return w
}

func (w *delivery) crash() { w.m = NewMachine(w.stored, w.limit, func() float64 { return 0.5 }) }

func (w *delivery) grow() {
	for range rapid.IntRange(1, 8).Draw(w.t, "new") {
		w.head++
		if rapid.IntRange(0, 3).Draw(w.t, "hidden") == 0 {
			w.hidden[w.head] = true
		}
	}
}

// forbid takes a change away that was there: it was erased, or a rule forbids it now.
func (w *delivery) forbid() {
	if w.head > 0 {
		w.hidden[rapid.Uint64Range(1, w.head).Draw(w.t, "forbidden")] = true
	}
}

// step does what the machine wants next; false: it waits for something new. With faults, anything may
// fail, before or after it was done, and the node may die before or after it.
func (w *delivery) step(faults bool) bool {
	fault := func(what string) bool { return faults && rapid.IntRange(0, 4).Draw(w.t, what) == 0 }
	if fault("dies before") {
		w.crash()
		return true
	}
	w.now = w.now.Add(time.Millisecond)
	switch e := w.m.Next().(type) {
	case Read:
		if fault("reading fails") {
			w.m.Read(w.now, nil, e.After, errors.New("reading failed"))
			return true
		}
		w.read = nil
		next := e.After
		for c := e.After + 1; c <= w.head && len(w.read) < e.Limit && (e.UpTo == 0 || c <= e.UpTo); c++ {
			if next = c; !w.hidden[c] {
				w.read = append(w.read, c)
			}
		}
		w.m.Read(w.now, w.read, next, nil)
	case Send:
		for _, c := range w.read {
			if w.hidden[c] {
				return w.resend() // forbidden between reading and sending: the driver reads and sends in one
			}
		}
		acked, arrived := len(w.read), len(w.read)
		var err error
		if fault("sending fails") {
			arrived = rapid.IntRange(0, len(w.read)).Draw(w.t, "arrived")
			acked = rapid.IntRange(0, arrived).Draw(w.t, "acknowledged")
			err = errors.New("the line is cut")
		}
		w.got = append(w.got, w.read[:arrived]...)
		if fault("dies after sending") {
			w.crash()
			return true
		}
		w.m.Sent(w.now, acked, err)
	case Store:
		if fault("storing fails") {
			w.m.Stored(w.now, errors.New("disk full"))
			return true
		}
		if e.Progress.Cursor < w.stored.Cursor {
			w.t.Fatalf("goes back from %d to %d", w.stored.Cursor, e.Progress.Cursor)
		}
		w.stored = e.Progress
		if fault("dies after storing") {
			w.crash()
			return true
		}
		w.m.Stored(w.now, nil)
	case Wait:
		if e.Until.IsZero() && w.stored.Cursor >= w.head {
			return faults
		}
		if e.Until.After(w.now) {
			if e.Until.Sub(w.now) > maxBackoff {
				w.t.Fatalf("waits for %v", e.Until.Sub(w.now))
			}
			w.now = e.Until
		}
		w.m.Waited()
	case Stop:
		w.t.Fatal("it stopped")
	}
	return true
}

// resend is an attempt that never began.
func (w *delivery) resend() bool {
	w.m.Sent(w.now, 0, errors.New("read again"))
	return true
}

func (w *delivery) check() {
	var first []uint64
	for _, c := range w.got {
		if !slices.Contains(first, c) {
			first = append(first, c)
		}
	}
	if !slices.IsSorted(first) {
		w.t.Fatalf("first deliveries out of order: %v", first)
	}
	for c := uint64(1); c <= w.head; c++ {
		if !w.hidden[c] && !slices.Contains(first, c) {
			w.t.Fatalf("change %d never arrived; %v did", c, first)
		}
	}
	if p := w.stored; p.Cursor != w.head || !p.Failing.IsZero() || !p.Behind.IsZero() || p.UpTo != 0 || p.Error != "" {
		w.t.Fatalf("up to date at %d, and says %+v", w.head, p)
	}
}

// TestBatchStays: what is tried again is the same batch, so that its receiver knows it again, although more
// came meanwhile, and after a restart.
func TestBatchStays(t *testing.T) {
	now := time.Unix(1e9, 0)
	m := NewMachine(node.SinkProgress{Cursor: 4}, 10, func() float64 { return 0 })
	m.Read(now, []uint64{5, 6}, 6, nil)
	m.Sent(now, 0, errors.New("no route"))
	s := m.Next().(Store)
	for _, m := range []*Machine{m, NewMachine(s.Progress, 10, func() float64 { return 0 })} {
		if m.Next() == Effect(s) {
			m.Stored(now, nil)
		}
		if e := m.Next(); e != (Wait{now.Add(time.Second)}) {
			t.Fatalf("wants %+v", e)
		}
		m.Waited()
		if e := m.Next(); e != (Read{After: 4, UpTo: 6, Limit: 10}) {
			t.Fatalf("wants %+v", e)
		}
		m.Read(now, []uint64{5, 6}, 6, nil)
		m.Sent(now, 2, nil)
		m.Stored(now, nil)
		if e := m.Next(); e != (Read{After: 6, Limit: 10}) {
			t.Fatalf("wants %+v", e)
		}
	}
}

// TestBackoff: attempts come ever more seldom, at least every five minutes; what a receiver asks for
// counts, and is bounded.
func TestBackoff(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		attempts uint32
		jitter   float64
		err      error
		want     time.Duration
	}{
		{0, 0, errors.New("x"), time.Second},
		{0, 0.999999, errors.New("x"), 500 * time.Millisecond},
		{3, 0, errors.New("x"), 8 * time.Second},
		{1 << 20, 0, errors.New("x"), maxBackoff},
		{0, 0, fmt.Errorf("said: %w", &Later{errors.New("busy"), time.Minute}), time.Minute},
		{0, 0, &Later{errors.New("busy"), 1000 * time.Hour}, maxLater},
		{5, 0, &Later{errors.New("busy"), -time.Hour}, 32 * time.Second},
	} {
		m := NewMachine(node.SinkProgress{Attempts: c.attempts}, 10, func() float64 { return c.jitter })
		m.Read(now, []uint64{1}, 1, nil)
		m.Sent(now, 0, c.err)
		p := m.Next().(Store).Progress
		if got := p.Retry.Sub(now).Round(10 * time.Millisecond); got != c.want || p.Failing != now || p.Error == "" {
			t.Errorf("after %d attempts and %v: waits %v, not %v (%+v)", c.attempts, c.err, got, c.want, p)
		}
	}
}

// TestGone: a receiver that wants nothing more gets nothing more, also after a restart.
func TestGone(t *testing.T) {
	now := time.Unix(1e9, 0)
	m := NewMachine(node.SinkProgress{}, 10, func() float64 { return 0 })
	m.Read(now, []uint64{1}, 1, nil)
	m.Sent(now, 0, fmt.Errorf("410: %w", ErrGone))
	p := m.Next().(Store).Progress
	m.Stored(now, nil)
	for _, m := range []*Machine{m, NewMachine(p, 10, func() float64 { return 0 })} {
		if e := m.Next(); e != (Stop{}) || p.Cursor != 0 || p.Stopped != now {
			t.Errorf("wants %+v after %+v", e, p)
		}
	}
}

// TestChangedSink: a person's change ends a delivery, and what it was about to store does not count.
func TestChangedSink(t *testing.T) {
	now := time.Unix(1e9, 0)
	m := NewMachine(node.SinkProgress{}, 10, func() float64 { return 0 })
	m.Read(now, []uint64{1}, 1, nil)
	m.Sent(now, 1, nil)
	m.Stored(now, fmt.Errorf("storing: %w", node.ErrSinkChanged))
	if e := m.Next(); e != (Stop{}) || m.Progress().Cursor != 0 {
		t.Errorf("wants %+v", e)
	}
}
