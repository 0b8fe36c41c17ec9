package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

// Puller fetches what a source holds. Pull calls fn with one document after the other, from where a cursor
// says, and ends when there is nothing more, or with the error of fn. A document's Next is a cursor for which
// everything up to that document is done.
type Puller interface {
	Pull(ctx context.Context, cursor []byte, fn func(*Document) error) error
}

// host is what a run does to the node: all of its effects but pulling.
type host interface {
	// submit puts objects through the gate out, durably: one result for each.
	submit(ctx context.Context, where string, items []intake.Item) ([]node.SubmitResult, error)
	commit(c *node.SourceCommit) error
	withdraw(ctx context.Context, ids []protocol.RecordID) (*Withdrawn, error)
	elsewhere(ids map[protocol.RecordID]bool) (map[protocol.RecordID]bool, error)
}

// errStop ends a pull: the run is over.
var errStop = errors.New("the run is over")

// run drives one machine.
type run struct {
	host host
	m    Machine
	sift *sifter
}

// pull makes a run of what a puller gives.
func (r *run) pull(ctx context.Context, start *Start, p Puller, cursor []byte) error {
	err := r.drive(ctx, Event{Start: start})
	if err == nil {
		err = p.Pull(ctx, cursor, func(d *Document) error { return r.drive(ctx, Event{Document: d}) })
	}
	if err == nil {
		err = r.drive(ctx, Event{End: true})
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// drive brings about what the machine wants, until it wants the next document.
func (r *run) drive(ctx context.Context, e Event) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		eff := r.m.Step(e)
		var err error
		e = Event{}
		switch {
		case eff.Err != nil:
			return eff.Err
		case eff.Stop:
			return errStop
		case eff.Pull:
			return nil
		case eff.Sift != nil:
			e.Sifted = r.sift.sift(eff.Sift)
		case eff.Submit != nil:
			items := make([]intake.Item, len(eff.Submit))
			for i := range items {
				items[i] = eff.Submit[i].Item
			}
			e.Submitted, err = r.submit(ctx, r.m.doc.Where, items)
		case eff.Commit != nil:
			if err = r.host.commit(eff.Commit); err == nil {
				r.sift.commit(eff.Commit)
			}
			e.Committed = true
		case eff.Compare != nil:
			e.Gone, err = r.sift.gone(r.host.elsewhere)
		case eff.Withdraw != nil:
			e.Withdrawn, err = r.host.withdraw(ctx, eff.Withdraw)
		case eff.Finish != nil:
			err = eff.Finish.Finish(r.m.whole)
			e.Finished = true
		}
		if err != nil {
			return err
		}
	}
}

// submit submits objects; where the gate refuses all of them for what may be the fault of one, each half by
// itself.
func (r *run) submit(ctx context.Context, where string, items []intake.Item) ([]node.SubmitResult, error) {
	out, err := r.host.submit(ctx, where, items)
	switch {
	case err == nil || !ofObjects(err):
		return out, err
	case len(items) == 1:
		return []node.SubmitResult{{State: node.SubmitRefused, Reason: err.Error()}}, nil
	}
	half := len(items) / 2
	first, err := r.submit(ctx, where, items[:half])
	if err != nil {
		return nil, err
	}
	second, err := r.submit(ctx, where, items[half:])
	return append(first, second...), err
}

// ofObjects reports whether an error is about what is published, and not about the node.
func ofObjects(err error) bool {
	return errors.Is(err, protocol.ErrOversize) || errors.Is(err, protocol.ErrMalformed) || errors.Is(err, node.ErrForbidden)
}

// Options say how a source is run when somebody asks for it.
type Options struct {
	AcceptMissing bool // withdraw what is gone, even if it is more than half; and fetch even what did not change
}

// Report says what a run did.
type Report struct {
	Source string            `json:"source"`
	Counts node.SourceCounts `json:"counts"`
	Error  string            `json:"error,omitempty"`
	Next   *time.Time        `json:"next_run,omitempty"`
}

// Run runs a source once. What goes wrong at the source is in the report; the error is for a source that could
// not be run at all.
func Run(ctx context.Context, n *node.Node, name string, o Options) (*Report, error) {
	return runSource(ctx, n, name, o, func(src *node.Source, st *node.SourceState, s *sifter) (Puller, error) {
		return newPuller(src, st, s, n.Proxy())
	})
}

// maxRun bounds a run, so that slow servers do not keep other sources waiting.
var maxRun = 30 * time.Minute

// again is a puller that has to be asked again soon.
type again interface{ Again() time.Duration }

func runSource(ctx context.Context, n *node.Node, name string, o Options, makePuller func(*node.Source, *node.SourceState, *sifter) (Puller, error)) (*Report, error) {
	release, err := n.HoldSource(name)
	if err != nil {
		return nil, err
	}
	defer release()
	src, err := n.Source(name)
	if err != nil {
		return nil, err
	}
	st, err := n.SourceState(name)
	if err != nil {
		return nil, err
	}
	schedule, err := ParseSchedule(src.Schedule)
	if err != nil {
		return nil, err
	}
	r, start, err := newRun(n, src, st)
	if err != nil {
		return nil, err
	}
	start.Missing, start.AllMissing = src.WithdrawMissing, o.AcceptMissing
	var p Puller
	if _, err = n.PrincipalOf(src); err == nil {
		p, err = makePuller(src, st, r.sift)
	}
	if err == nil {
		cursor := st.Cursor
		if o.AcceptMissing {
			cursor = nil
		}
		deadline, cancel := context.WithTimeout(ctx, maxRun)
		if err = r.pull(deadline, start, p, cursor); err != nil && deadline.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("the run was ended after %s; the next goes on behind what was taken: %w", maxRun, err)
		}
		cancel()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // the node goes down: it is as if the run had not been made
	}
	if errors.Is(err, node.ErrNotFound) {
		return nil, err
	}
	now := time.Now()
	end := &node.SourceEnd{}
	next, ok := schedule.Next(now)
	if end.Next = next; !ok {
		end.Never = true
	}
	if err != nil {
		failures := st.Failures + 1
		if r.m.Counts.Documents > 0 {
			failures = 1 // something was taken: the rest of it is not kept waiting
		}
		end.Error, end.Next, end.Never = err.Error(), now.Add(max(backoff(failures), retryAfter(err))), !ok
	} else if r.m.limited && ok {
		end.Next = now // the rest at once
	} else if a, isAgain := p.(again); isAgain && a.Again() > 0 && (!ok || now.Add(a.Again()).Before(next)) {
		end.Next = now.Add(a.Again())
	}
	report := &Report{Source: name, Counts: r.m.Counts, Error: end.Error}
	if !end.Never {
		report.Next = &end.Next
	}
	return report, n.CommitSource(src, &node.SourceCommit{End: end, Run: r.m.Counts})
}

func newRun(n *node.Node, src *node.Source, st *node.SourceState) (*run, *Start, error) {
	set, err := n.KnownOf(src.Name)
	if err != nil {
		return nil, nil, err
	}
	start := &Start{Key: st.Key, Day: uint32(time.Now().Unix() / (24 * 3600)), Limit: int(src.MaxRecords)}
	r := &run{host: &nodeHost{n: n, src: src}, sift: newSifter(start, set)}
	if r.sift.labels, err = labelsOf(src); err != nil {
		return nil, nil, err
	}
	if r.sift.said, err = src.Assessment.Parse(); err != nil {
		return nil, nil, err
	}
	return r, start, nil
}

// Retry tries a dead letter again. What is refused again is a dead letter again.
func Retry(ctx context.Context, n *node.Node, l *node.DeadLetter) (*Report, error) {
	if l.Letter == nil || l.Letter.Bytes == nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "%s keeps nothing that could be tried again: %s", l.ID, l.Do)
	}
	release, err := n.HoldSource(l.Source)
	if err != nil {
		return nil, err
	}
	defer release()
	src, err := n.Source(l.Source)
	if err != nil {
		return nil, err
	}
	st, err := n.SourceState(l.Source)
	if err != nil {
		return nil, err
	}
	r, start, err := newRun(n, src, st)
	if err != nil {
		return nil, err
	}
	start.Limit, start.Retry = node.MaxSourceKnown, &l.Key
	d := &Document{Where: l.Where, Bytes: l.Letter.Bytes, Format: l.Letter.Format, Handling: l.Letter.Handling, Again: true}
	if err := r.pull(ctx, start, one{d}, nil); err != nil {
		return nil, fmt.Errorf("trying %s again: %w", l.ID, err)
	}
	return &Report{Source: l.Source, Counts: r.m.Counts}, nil
}

// one gives one document.
type one struct{ d *Document }

// Pull implements Puller.
func (o one) Pull(_ context.Context, _ []byte, fn func(*Document) error) error { return fn(o.d) }
