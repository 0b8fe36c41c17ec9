package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/entente-mesh/entente/node"
)

// Run delivers to the sinks of a node until ctx ends; those that a person adds, changes or removes meanwhile
// are followed.
func Run(ctx context.Context, n *node.Node, log *slog.Logger) error {
	return run(ctx, n, log, func(s *node.Sink) (sender, error) { return newSender(s, n.Proxy()) })
}

func run(ctx context.Context, n *node.Node, log *slog.Logger, open func(*node.Sink) (sender, error)) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &supervisor{n: n, log: log, open: open, running: map[string]*running{}}
	defer s.stopAll()
	for {
		changed := n.Changed()
		if err := s.follow(ctx); err != nil {
			log.Warn("reading the sinks failed; it is tried again with the next change", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// supervisor runs one goroutine for each sink.
type supervisor struct {
	n       *node.Node
	log     *slog.Logger
	open    func(*node.Sink) (sender, error)
	running map[string]*running
}

type running struct {
	run    uint64
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *running) stop() { r.cancel(); <-r.done }

func (s *supervisor) stopAll() {
	for _, r := range s.running {
		r.cancel()
	}
	for _, r := range s.running {
		<-r.done
	}
}

func (s *supervisor) follow(ctx context.Context) error {
	sinks, err := s.n.Sinks()
	if err != nil {
		return err
	}
	stand := map[string]uint64{}
	for i := range sinks {
		stand[sinks[i].Name] = sinks[i].Run
	}
	for name, r := range s.running {
		if run, ok := stand[name]; !ok || run != r.run {
			r.stop()
			delete(s.running, name)
		}
	}
	for name, run := range stand {
		if s.running[name] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		r := &running{run, cancel, make(chan struct{})}
		s.running[name] = r
		go func() {
			defer close(r.done)
			s.deliver(ctx, name)
		}()
	}
	return nil
}

// deliver delivers to one sink until ctx ends or it is changed. What keeps it from beginning is tried
// again.
func (s *supervisor) deliver(ctx context.Context, name string) {
	log := s.log.With("sink", name)
	for wait := minBackoff; ctx.Err() == nil; wait = min(2*wait, maxBackoff) {
		err := s.deliverOnce(ctx, name, log)
		if err == nil {
			return
		}
		log.Warn("delivering to a sink cannot begin; it is tried again", "err", err, "in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (s *supervisor) deliverOnce(ctx context.Context, name string, log *slog.Logger) (err error) {
	info, err := s.n.Sink(name)
	if err != nil || !info.Stopped.IsZero() {
		if errors.Is(err, node.ErrNotFound) {
			err = nil
		}
		return err
	}
	r, err := s.n.OpenSink(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	to, err := s.open(&r.Sink)
	if err != nil {
		return err
	}
	defer to.close()
	d := &driver{n: s.n, r: r, to: to, log: log, m: NewMachine(r.SinkProgress, r.Batch, rand.Float64)}
	d.drive(ctx)
	return nil
}

// driver does what a machine wants.
type driver struct {
	n    *node.Node
	r    *node.SinkRun
	to   sender
	log  *slog.Logger
	m    *Machine
	list []node.Change // read last
}

func (d *driver) drive(ctx context.Context) {
	var changed <-chan struct{}
	for {
		e := d.m.Next()
		if _, last := e.(Store); ctx.Err() != nil && !last { // what was acknowledged is stored yet
			return
		}
		switch e := e.(type) {
		case Read:
			changed = d.n.Changed() // before it reads: what comes after that wakes it
			list, next, err := d.r.Changes(e.After, e.UpTo, e.Limit)
			if d.over() { // asked after reading: nothing that came after a sink was removed is delivered to it
				return
			}
			d.list = list
			cursors := make([]uint64, len(list))
			for i := range list {
				cursors[i] = list[i].Cursor
			}
			d.m.Read(time.Now(), cursors, next, err)
		case Send:
			acked, err := d.send(ctx)
			if err != nil && ctx.Err() != nil {
				return // not the receiver's fault
			}
			if err != nil {
				d.log.Warn("delivering to a sink failed; it is tried again", "err", err)
			}
			d.m.Sent(time.Now(), acked, err)
		case Store:
			err := d.r.Store(e.Progress)
			if err != nil && !errors.Is(err, node.ErrSinkChanged) {
				d.log.Error("storing how far a sink has come failed; what was delivered since is delivered again", "err", err)
			}
			d.m.Stored(time.Now(), err)
		case Wait:
			d.wait(ctx, e.Until, changed)
			d.m.Waited()
		case Stop:
			<-ctx.Done()
		}
	}
}

// over reports whether a person removed the sink, or did something else to it. Whoever follows the sinks ends this, and begins anew.
func (d *driver) over() bool {
	now, err := d.n.Sink(d.r.Name)
	return errors.Is(err, node.ErrNotFound) || err == nil && now.Run != d.r.Run
}

// wait waits until a time, or, if that is zero, for something new.
func (d *driver) wait(ctx context.Context, until time.Time, changed <-chan struct{}) {
	var at <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		at, changed = t.C, nil
	}
	select {
	case <-ctx.Done():
	case <-at:
	case <-changed:
	}
}

// send notes what is about to leave, and sends it.
func (d *driver) send(ctx context.Context) (int, error) {
	messages, err := d.messages()
	if err != nil {
		return 0, err
	}
	if err := d.r.Disclose(ctx, d.list); err != nil {
		return 0, err
	}
	return d.to.send(ctx, messages)
}

func (d *driver) messages() ([]message, error) {
	list := make([]message, len(d.list))
	for i := range d.list {
		m, err := newMessage(d.n, &d.r.Sink, &d.list[i])
		if err != nil {
			return nil, fmt.Errorf("writing record %s: %w", d.list[i].ID, err)
		}
		list[i] = *m
	}
	return list, nil
}

func newMessage(n *node.Node, s *node.Sink, c *node.Change) (*message, error) {
	body, err := encode(c, s.Kind, s.Format)
	if err != nil {
		return nil, err
	}
	m := &message{cursor: c.Cursor, kind: c.Kind, at: c.At, id: changeID(n.ID().String(), s.Name, c), record: c.ID.String(), body: body}
	if c.Record != nil {
		m.topic, m.typ = c.Record.Topic, c.Record.Type
	}
	return m, nil
}

// Test sends one message that says it is a test and is about no record, and tells whether the receiver
// took it. How far the sink has come does not change.
func Test(ctx context.Context, n *node.Node, name string) error {
	info, err := n.Sink(name)
	if err != nil {
		return err
	}
	to, err := newSender(&info.Sink, n.Proxy())
	if err != nil {
		return err
	}
	defer to.close()
	if err := n.Disclose(ctx, node.Disclosure{Act: "test sink", Query: name}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m, err := testMessage(n, &info.Sink, time.Now().UTC().Truncate(time.Microsecond))
	if err != nil {
		return err
	}
	_, err = to.send(ctx, []message{*m})
	return err
}

// KindTest is the kind of a change that a test sends; its cursor is 0.
const KindTest node.ChangeKind = "test"

func testMessage(n *node.Node, s *node.Sink, at time.Time) (*message, error) {
	m, err := newMessage(n, s, &node.Change{Kind: KindTest, At: at})
	if err != nil {
		return nil, err
	}
	m.id, m.record = fmt.Sprintf("test-%d", at.UnixNano()), ""
	return m, nil
}
