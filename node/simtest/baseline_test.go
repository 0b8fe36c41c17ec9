package simtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/marcopolo/simnet"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/protocol"
)

// bare is a node's mesh with nothing behind it: it takes what gossip brings.
type bare struct {
	*mesh.Mesh
	key  crypto.NodePrivate
	node *Node // its place on the wire

	mu  sync.Mutex
	got map[string]bool
}

func (b *bare) has(message string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got[message]
}

func newBare(w *World, i int, topic string) *bare {
	w.T.Helper()
	b := &bare{key: crypto.GenerateNode(), got: map[string]bool{}, node: &Node{w: w, index: i, ip: simnet.IntToPublicIPv4(i).String(), link: simnet.LinkSettings{BitsPerSecond: 100e6}}}
	var err error
	b.Mesh, err = mesh.New(context.Background(), mesh.Config{Key: b.key, Listen: []string{b.node.addr()}, HostOptions: []mesh.HostOption{w.quic(b.node)},
		Known:    func(protocol.NodeID) (protocol.OrgID, bool) { return protocol.OrgID{}, true },
		OwnHello: func() []byte { return []byte("hello") },
		Hello:    func(protocol.NodeID, []byte) error { return nil },
		Validate: func(protocol.NodeID, string, []byte) mesh.Verdict { return mesh.Accept },
		Deliver: func(_ protocol.NodeID, _ string, data []byte) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.got[string(data)] = true
		},
		Serve: func(context.Context, protocol.NodeID, *protocol.SyncMessage) (*protocol.SyncMessage, error) {
			return nil, errors.New("there is nothing behind this mesh")
		}})
	if err != nil {
		w.T.Fatal(err)
	}
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
		var nodes []*bare
		for i := range 24 {
			nodes = append(nodes, newBare(w, i, topic))
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
					dials.Go(func() { _ = a.Connect(context.Background(), b.key.Public(), []string{b.node.addr()}) })
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
