package simtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// listener is a mesh with nothing behind it, and what came to it.
type listener struct {
	*Bare
	mu  sync.Mutex
	got map[string]bool
}

func (b *listener) has(message string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got[message]
}

func newListener(w *World, i int, topic string) *listener {
	w.T.Helper()
	b := &listener{got: map[string]bool{}}
	b.Bare = w.Bare(i, func(data []byte) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got[string(data)] = true
	}, nil)
	if err := b.Join(topic); err != nil {
		w.T.Fatal(err)
	}
	return b
}

// TestBaselineOfBareGossip measures, beside TestI1PartitionOfTwoMinutes, what gossip alone does in
// the same partition: why a node compares. It asserts that the measurement is one: what is said
// after the partition healed reaches everybody.
func TestBaselineOfBareGossip(t *testing.T) {
	j := long(t, 24)
	synctest.Test(t, func(t *testing.T) {
		const topic = "/entente/t/baseline"
		w := New(t)
		var nodes []*listener
		for i := range 24 {
			nodes = append(nodes, newListener(w, i, topic))
		}
		defer func() {
			for _, b := range nodes {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
			w.Close()
		}()
		connect := func() {
			var dials sync.WaitGroup
			for i, a := range nodes {
				for _, b := range nodes[:i] {
					dials.Go(func() { _ = a.Call(context.Background(), b.Bare) })
				}
			}
			dials.Wait()
			time.Sleep(10 * time.Second)
		}
		count := func(messages []string) (n int) {
			for _, b := range nodes {
				for _, m := range messages {
					if b.has(m) {
						n++
					}
				}
			}
			return n
		}
		said := 0
		say := func(from int) string {
			said++
			m := fmt.Sprintf("message %d of %d", said, from)
			if err := nodes[from].Publish(context.Background(), topic, []byte(m)); err != nil {
				t.Fatal(err)
			}
			return m
		}
		connect()
		left := map[string]bool{}
		for _, b := range nodes[:12] {
			left[b.node.ip] = true
		}
		cut := func(from, to string) bool { return left[from] != left[to] }
		w.cut.Store(&cut)
		var during, after []string
		for range 12 {
			during = append(during, say(1), say(22))
			time.Sleep(10 * time.Second)
		}
		w.cut.Store(nil)
		connect()
		time.Sleep(10 * time.Minute)
		for range 6 {
			after = append(after, say(1), say(22))
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		all := len(after) * (len(nodes) - 1) // its author is not told
		if got := count(after); got != all {
			t.Errorf("after the partition healed %d of %d deliveries were made: the network is not whole", got, all)
		}
		j.note("of what was said during a partition of two minutes %d of %d deliveries were made ten minutes after it healed; of what was said then %d of %d",
			count(during), len(during)*(len(nodes)-1), count(after), all)
	})
}
