package stream

import (
	"errors"
	"fmt"
	"time"

	"github.com/entente-mesh/entente/node"
)

// Effect is what a Machine wants done. It gets to know the outcome by the method of the same name.
type Effect interface{ effect() }

// The effects.
type (
	// Read reads up to Limit changes after a cursor, none after UpTo if that is not 0.
	Read struct {
		After, UpTo uint64
		Limit       int
	}
	// Send sends the changes that were read last.
	Send struct{}
	// Store stores how far the sink has come.
	Store struct{ Progress node.SinkProgress }
	// Wait waits until there is something new, if Until is zero, or else until then.
	Wait struct{ Until time.Time }
	// Stop ends: the receiver wants nothing more, or a person changed the sink.
	Stop struct{}
)

func (Read) effect()  {}
func (Send) effect()  {}
func (Store) effect() {}
func (Wait) effect()  {}
func (Stop) effect()  {}

// ErrGone is what a receiver answers that wants nothing more.
var ErrGone = errors.New("the receiver wants nothing more")

// Later is an error of a receiver that says when to come again.
type Later struct {
	Err   error
	After time.Duration
}

// Error implements error.
func (l *Later) Error() string { return l.Err.Error() }

// Unwrap is for errors.Is.
func (l *Later) Unwrap() error { return l.Err }

// How long to wait after an attempt that failed: from minBackoff on, twice as long each time up to
// maxBackoff, of which a random part of up to a half is taken off, so that receivers that come back
// are not called by all at once. What a receiver asks for counts up to maxLater.
const (
	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
	maxLater   = time.Hour
)

type phase int

const (
	reading phase = iota
	sending
	storing
	waiting
	stopped
)

// Machine is one delivery to one sink as a state machine: it decides, others read, send and store. What
// it holds is as it was stored last, but for what it is about to store; whoever loses it makes another
// from what was stored.
type Machine struct {
	limit  int
	jitter func() float64 // in [0, 1)

	phase  phase
	p      node.SinkProgress // stored
	next   node.SinkProgress // to be stored
	batch  []uint64          // cursors of what was read
	end    uint64            // where to go on after it
	until  time.Time         // of waiting; zero: for something new
	behind time.Time         // since when there is more
	// unstored counts the failures to store, of which nothing can be stored.
	unstored uint32
}

// NewMachine makes a machine that goes on from what was stored, in batches of up to limit changes.
func NewMachine(p node.SinkProgress, limit int, jitter func() float64) *Machine {
	m := &Machine{limit: limit, jitter: jitter, p: p, behind: p.Behind}
	switch {
	case !p.Stopped.IsZero():
		m.phase = stopped
	case !p.Retry.IsZero():
		m.phase, m.until = waiting, p.Retry
	}
	return m
}

// Next returns what to do. It changes nothing.
func (m *Machine) Next() Effect {
	switch m.phase {
	case reading:
		return Read{After: m.p.Cursor, UpTo: m.p.UpTo, Limit: m.limit}
	case sending:
		return Send{}
	case storing:
		return Store{m.next}
	case waiting:
		return Wait{m.until}
	}
	return Stop{}
}

// Progress returns how far it has come, as stored.
func (m *Machine) Progress() node.SinkProgress { return m.p }

// Read tells of changes that were read, by their cursors, and where to go on after them.
func (m *Machine) Read(now time.Time, cursors []uint64, next uint64, err error) {
	switch {
	case err != nil:
		m.fail(now, 0, err)
	case len(cursors) > 0:
		m.phase, m.batch, m.end = sending, cursors, next
		if m.behind.IsZero() {
			m.behind = now
		}
	case next > m.p.Cursor: // nothing of it is for this sink
		if m.behind.IsZero() {
			m.behind = now
		}
		m.next = m.p
		m.arrived(next)
		m.phase = storing
	case m.p.UpTo > m.p.Cursor: // of the batch that is tried again nothing is left
		m.next = m.p
		m.next.UpTo = 0
		m.phase = storing
	case !m.p.Behind.IsZero() || !m.p.Failing.IsZero(): // up to date
		m.next = m.p
		m.next.Behind, m.behind = time.Time{}, time.Time{}
		m.clear()
		m.phase = storing
	default:
		m.phase, m.until, m.behind = waiting, time.Time{}, time.Time{}
	}
}

// arrived notes, to be stored, that everything up to a cursor has arrived.
func (m *Machine) arrived(cursor uint64) {
	m.next.Cursor, m.next.Behind = cursor, m.behind
	if m.next.UpTo <= cursor {
		m.next.UpTo = 0
	}
	m.clear()
}

func (m *Machine) clear() {
	m.next.Failing, m.next.Attempts, m.next.Retry, m.next.Error = time.Time{}, 0, time.Time{}, ""
}

// Sent tells how many of the changes, from the first on, the receiver acknowledged, and why not all.
func (m *Machine) Sent(now time.Time, acked int, err error) {
	acked = min(acked, len(m.batch))
	if err == nil && acked < len(m.batch) {
		err = fmt.Errorf("the receiver acknowledged %d of %d", acked, len(m.batch))
	}
	if err != nil {
		m.fail(now, acked, err)
		return
	}
	m.next = m.p
	m.arrived(m.end)
	m.next.Delivered += uint64(acked)
	m.next.Last = now
	m.phase = storing
}

func (m *Machine) fail(now time.Time, acked int, err error) {
	m.next = m.p
	if acked > 0 {
		m.arrived(m.batch[acked-1])
		m.next.Delivered += uint64(acked)
		m.next.Last = now
	}
	if m.phase == sending && m.end > m.next.Cursor {
		m.next.UpTo = m.end
	}
	if m.next.Failing.IsZero() {
		m.next.Failing = now
	}
	m.next.Behind = m.behind
	m.next.Attempts = min(m.next.Attempts+1, 1<<20)
	m.next.Error = err.Error()
	wait := m.backoff(m.next.Attempts)
	if later := (*Later)(nil); errors.As(err, &later) {
		wait = max(wait, min(later.After, maxLater))
	}
	m.next.Retry = now.Add(wait)
	if errors.Is(err, ErrGone) {
		m.next.Stopped, m.next.Retry = now, time.Time{}
	}
	m.phase = storing
}

func (m *Machine) backoff(attempts uint32) time.Duration {
	d := min(minBackoff<<min(attempts-1, 20), maxBackoff)
	return d - time.Duration(m.jitter()*float64(d/2))
}

// Stored tells whether it was stored. What was not stored was not delivered.
func (m *Machine) Stored(now time.Time, err error) {
	switch {
	case errors.Is(err, node.ErrSinkChanged):
		m.phase = stopped
	case err != nil:
		m.unstored = min(m.unstored+1, 1<<20)
		m.phase, m.until = waiting, now.Add(m.backoff(m.unstored))
	default:
		m.p, m.unstored = m.next, 0
		m.phase = reading
		if !m.p.Stopped.IsZero() {
			m.phase = stopped
		} else if !m.p.Retry.IsZero() {
			m.phase, m.until = waiting, m.p.Retry
		}
	}
}

// Waited tells that it waited.
func (m *Machine) Waited() {
	if m.phase == waiting {
		m.phase = reading
	}
}
