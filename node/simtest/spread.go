package simtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// Spread measures how long what is published takes to arrive at nodes, by the clock: a virtual
// one in a bubble.
type Spread struct {
	mu      sync.Mutex
	arrived []map[string]time.Time // by node, then by the name of a message
}

// spreadWithin is how long the last message may take.
const spreadWithin = 2 * time.Minute

// NewSpread is for so many nodes, which are numbers from 0.
func NewSpread(nodes int) *Spread {
	s := &Spread{arrived: make([]map[string]time.Time, nodes)}
	for i := range s.arrived {
		s.arrived[i] = map[string]time.Time{}
	}
	return s
}

// Arrived notes that a message, by whatever name it has, is now at a node.
func (s *Spread) Arrived(node int, name string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.arrived[node][name]; !ok {
		s.arrived[node][name] = now
	}
}

// EntryName names an entry.
func EntryName(feed protocol.FeedID, seq uint64) string { return fmt.Sprintf("%s/%d", feed, seq) }

// Watch has new entries of feeds arrive when they are durable at a node, until ctx ends.
func (s *Spread) Watch(ctx context.Context, i int, n *node.Node, feeds []protocol.FeedID) {
	seen := make([]uint64, len(feeds))
	for k, feed := range feeds {
		seen[k], _ = n.Held(feed)
	}
	for {
		_, more := n.Held(protocol.FeedID{}) // before they are looked at, so that no change is missed
		for k, feed := range feeds {
			seq, _ := n.Held(feed)
			for ; seen[k] < seq; seen[k]++ {
				s.Arrived(i, EntryName(feed, seen[k]+1))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		}
	}
}

// Times are what Publish measured.
type Times struct {
	Delays []time.Duration // from the call that published to the arrival: of each message at each node but its author
	Calls  []time.Duration // until that call returned: of each message
}

// Publish has authors publish messages in turn, at fixed times, and waits until all of them are
// everywhere. publish returns the name under which the message arrives.
func (s *Spread) Publish(ctx context.Context, messages int, every time.Duration, authors []int, publish func(author, message int) (string, error)) (Times, error) {
	type sent struct {
		author int
		at     time.Time
		name   string
	}
	var out Times
	var all []sent
	begun := time.Now()
	for k := range messages {
		if err := Pause(ctx, time.Until(begun.Add(time.Duration(k)*every))); err != nil {
			return out, err
		}
		m := sent{author: authors[k%len(authors)], at: time.Now()}
		var err error
		if m.name, err = publish(m.author, k); err != nil {
			return out, err
		}
		out.Calls = append(out.Calls, time.Since(m.at))
		all = append(all, m)
	}
	for end := time.Now().Add(spreadWithin); ; {
		out.Delays = out.Delays[:0]
		s.mu.Lock()
		for _, m := range all {
			for i, arrived := range s.arrived {
				if at, ok := arrived[m.name]; ok && i != m.author {
					out.Delays = append(out.Delays, at.Sub(m.at))
				}
			}
		}
		s.mu.Unlock()
		want := messages * (len(s.arrived) - 1)
		if len(out.Delays) == want {
			return out, nil
		}
		if time.Now().After(end) {
			return out, fmt.Errorf("%v after the last message, %d of %d deliveries were made", spreadWithin, len(out.Delays), want)
		}
		if err := Pause(ctx, 50*time.Millisecond); err != nil {
			return out, err
		}
	}
}

// Pause waits for a time, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
