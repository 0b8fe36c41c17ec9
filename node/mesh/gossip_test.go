package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

func TestGossipReachesAll(t *testing.T) {
	for name, listen := range map[string]string{"QUIC": overQUIC, "TCP": overTCP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 4
			_, all := newMembers(t, n, listen)
			for i, a := range all {
				for _, b := range all[:i] {
					connect(t, a, b)
				}
			}
			joinAll(t, all, func(int) int { return n - 1 })
			for i, m := range all {
				m.publish(t, fmt.Sprint("from ", i))
			}
			for i, m := range all {
				var got []string
				for range n - 1 {
					got = append(got, next(t, "a message comes", m.got).data)
				}
				slices.Sort(got)
				want := []string{"from 0", "from 1", "from 2", "from 3"}
				want = slices.Delete(want, i, i+1)
				if !slices.Equal(got, want) {
					t.Errorf("member %d got %q, want %q", i, got, want)
				}
				for _, p := range m.Peers() {
					transport := map[bool]string{true: "/quic-v1", false: "/tcp/"}[listen == overQUIC]
					if len(p.Addrs) == 0 || !strings.Contains(p.Addrs[0], transport) {
						t.Errorf("peer is connected by %q, want %s", p.Addrs, transport)
					}
				}
			}
			// A message comes once.
			for i, m := range all {
				select {
				case extra := <-m.got:
					t.Errorf("member %d got %q once more", i, extra.data)
				default:
				}
			}
		})
	}
}

// TestVerdicts: a message that the middle of a line does not accept ends there.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	verdicts := map[string]Verdict{"accept": Accept, "ignore": Ignore, "reject": Reject, "unheard of": Verdict(77)}
	judge := func(c *Config) {
		c.Validate = func(_ protocol.NodeID, _ string, data []byte) (Verdict, any) {
			kind, _, _ := strings.Cut(string(data), "/")
			return verdicts[kind], nil
		}
	}
	c, all := newMembers(t, 2, overQUIC, judge)
	// The last judges nothing, so that what it gets is what the middle passed on.
	last := newMember(t, c, overQUIC)
	c.add(last.self)
	first, middle := all[0], all[1]
	connect(t, first, middle)
	connect(t, middle, last)
	joinAll(t, []*member{first, middle, last}, func(i int) int { return []int{1, 2, 1}[i] })
	// What is published before the middle has taken the last into its mesh, at a heartbeat,
	// is not passed on, so it goes on until the last has something.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i, begin := 0, time.Now(); len(last.got) < 3; i++ {
		if time.Since(begin) > soon {
			t.Fatalf("nothing comes to the last in %v", soon)
		}
		for _, kind := range []string{"ignore", "reject", "unheard of", "accept"} {
			first.publish(t, fmt.Sprintf("%s/%d", kind, i))
		}
		<-tick.C
	}
	for name, from := range map[string]protocol.NodeID{"middle": first.self, "last": middle.self} {
		m := map[string]*member{"middle": middle, "last": last}[name]
		for i := range 3 {
			got := next(t, fmt.Sprintf("accepted message %d comes to the %s", i, name), m.got)
			if !strings.HasPrefix(got.data, "accept/") || got.from != from {
				t.Errorf("the %s got %q from %s, want an accepted one from %s", name, got.data, got.from, from)
			}
		}
	}
}

// TestMadeAndDuplicates: what Validate made of a message comes to Deliver with it, and a message
// that several peers bring is judged once and told of each other time.
func TestMadeAndDuplicates(t *testing.T) {
	t.Parallel()
	const n = 4
	made, judged, twice := make(chan any, 64), make(chan string, 64), make(chan string, 64)
	c, all := newMembers(t, n-1, overQUIC)
	last := newMember(t, c, overQUIC, func(c *Config) {
		c.Validate = func(_ protocol.NodeID, _ string, data []byte) (Verdict, any) {
			judged <- string(data)
			return Accept, len(data)
		}
		c.Deliver = func(_ protocol.NodeID, _ string, _ []byte, m any) { made <- m }
		c.Duplicate = func(topic string) { twice <- topic }
	})
	c.add(last.self)
	all = append(all, last)
	for i, a := range all {
		for _, b := range all[:i] {
			connect(t, a, b)
		}
	}
	joinAll(t, all, func(int) int { return n - 1 })
	// Who takes it on from its author does so once it has the last in its mesh, at a heartbeat.
	sent := 0
	for begin := time.Now(); len(twice) == 0; sent++ {
		if time.Since(begin) > soon {
			t.Fatalf("nothing comes twice in %v", soon)
		}
		all[0].publish(t, strings.Repeat("x", sent+1))
		time.Sleep(50 * time.Millisecond)
	}
	if topic := <-twice; topic != testTopic {
		t.Errorf("something came twice in topic %q", topic)
	}
	seen := map[any]bool{}
	for range sent {
		m := next(t, "what was made of a message comes", made)
		if size, ok := m.(int); !ok || size < 1 || size > sent || seen[m] {
			t.Fatalf("what was made of a message is %v", m)
		}
		seen[m] = true
	}
	if got := len(judged); got != sent {
		t.Errorf("%d messages were judged %d times", sent, got)
	}
}

// TestSubscribers: a node is told who joins a topic that it is in, before or after it does,
// and nothing of topics that it left.
func TestSubscribers(t *testing.T) {
	t.Parallel()
	type joined struct {
		node protocol.NodeID
		name string
	}
	told := make(chan joined, 16)
	c, all := newMembers(t, 1, overQUIC, func(cfg *Config) {
		cfg.Subscribed = func(node protocol.NodeID, name string) { told <- joined{node, name} }
	})
	other := newMember(t, c, overQUIC)
	c.add(other.self)
	m := all[0]
	connect(t, m, other)
	for i := range 2 {
		name := fmt.Sprint("topic ", i)
		order := []*member{m, other}
		if i == 1 {
			slices.Reverse(order)
		}
		for _, x := range order {
			if err := x.Join(name); err != nil {
				t.Fatal(err)
			}
		}
		if got := next(t, "a subscriber", told); got != (joined{other.self, name}) {
			t.Errorf("told of %v, want of the other in %q", got, name)
		}
	}
	m.Leave("topic 0")
	for i := range 2 {
		other.Leave(fmt.Sprint("topic ", i))
	}
	eventually(t, "the other is seen to leave", func() bool { return m.TopicPeers("topic 1") == 0 })
	for i := range 2 {
		if err := other.Join(fmt.Sprint("topic ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := next(t, "a subscriber", told); got != (joined{other.self, "topic 1"}) || len(told) > 0 {
		t.Errorf("told of %v and %d more, want of topic 1 alone", got, len(told))
	}
}

// TestOwnMessagesAreNotJudged: what a node publishes is stored already, and its own
// validator calls that stale.
func TestOwnMessagesAreNotJudged(t *testing.T) {
	t.Parallel()
	c := newClub()
	a := newMember(t, c, overQUIC, func(c *Config) {
		c.Validate = func(protocol.NodeID, string, []byte) (Verdict, any) { return Reject, nil }
	})
	b := newMember(t, c, overQUIC)
	c.add(a.self, b.self)
	connect(t, a, b)
	joinAll(t, []*member{a, b}, func(int) int { return 1 })
	a.publish(t, "mine")
	if got := next(t, "the message comes", b.got); got.data != "mine" {
		t.Errorf("got %q", got.data)
	}
	select {
	case got := <-a.got:
		t.Errorf("own message %q was delivered to its publisher", got.data)
	default:
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	_, all := newMembers(t, 1, overQUIC)
	m := all[0]
	if err := m.Publish(context.Background(), testTopic, []byte("x")); err == nil || !strings.Contains(err.Error(), "join it first") {
		t.Errorf("publishing in a topic that was not joined: %v", err)
	}
	if err := m.Join(testTopic); err != nil {
		t.Fatal(err)
	}
	if err := m.Join(testTopic); err != nil {
		t.Errorf("joining again: %v", err)
	}
	if got := m.Topics(); !slices.Equal(got, []string{testTopic}) {
		t.Errorf("got topics %q", got)
	}
	if err := m.Publish(context.Background(), testTopic, make([]byte, protocol.MaxEnvelopeSize)); err != nil {
		t.Errorf("publishing the largest envelope: %v", err)
	}
	err := m.Publish(context.Background(), testTopic, make([]byte, protocol.MaxEnvelopeSize+1))
	if !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("publishing one byte more: %v, want oversize", err)
	}
	m.Leave(testTopic)
	m.Leave(testTopic)
	if got := m.Topics(); len(got) != 0 {
		t.Errorf("got topics %q after leaving", got)
	}
	if err := m.Publish(context.Background(), testTopic, []byte("x")); err == nil {
		t.Error("published in a topic that was left")
	}
}

// TestJoinAndLeaveAtOnce: methods may be called concurrently.
func TestJoinAndLeaveAtOnce(t *testing.T) {
	t.Parallel()
	_, all := newMembers(t, 1, overQUIC)
	m := all[0]
	for range 50 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := m.Join(testTopic); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for range 2 {
			wg.Go(func() { m.Leave(testTopic) })
			wg.Go(func() {
				if err := m.Join(testTopic); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		m.Leave(testTopic)
	}
}

func TestLeaveEndsDelivery(t *testing.T) {
	t.Parallel()
	_, all := newMembers(t, 2, overQUIC)
	a, b := all[0], all[1]
	connect(t, a, b)
	joinAll(t, all, func(int) int { return 1 })
	a.publish(t, "one")
	if got := next(t, "the message comes", b.got); got.data != "one" {
		t.Errorf("got %q, want one", got.data)
	}
	b.Leave(testTopic)
	eventually(t, "the other saw it leave", func() bool { return a.TopicPeers(testTopic) == 0 })
	a.publish(t, "two")
	joinAll(t, all, func(int) int { return 1 })
	a.publish(t, "three")
	// Gossip may bring what was missed: it does not promise not to.
	for got := next(t, "the message comes", b.got); got.data != "three"; got = next(t, "the message comes", b.got) {
		if got.data != "two" {
			t.Errorf("got %q", got.data)
		}
	}
}

// TestOversizeGossip: a known peer that runs other code sends what ours would not.
func TestOversizeGossip(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		size int
	}{
		{"message above MaxGossipSize", protocol.MaxGossipSize + 1},
		{"message far above MaxGossipSize", 4 << 20},
		{"message above MaxEnvelopeSize", protocol.MaxEnvelopeSize + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClub()
			judged := make(chan int, 1024)
			m := newMember(t, c, overQUIC, func(c *Config) {
				c.Validate = func(_ protocol.NodeID, _ string, data []byte) (Verdict, any) {
					judged <- len(data)
					return Accept, nil
				}
			})
			o := newOutsider(t)
			c.add(m.self, o.id)
			topic, _ := o.gossip(t)
			if err := m.Join(testTopic); err != nil {
				t.Fatal(err)
			}
			if err := o.call(t, m); err != nil {
				t.Fatal(err)
			}
			if _, err := o.hello(t, m, nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the peer is in the topic", func() bool { return m.TopicPeers(testTopic) == 1 && len(topic.ListPeers()) == 1 })
			if err := topic.Publish(context.Background(), []byte(randomText(tt.size))); err != nil {
				t.Fatal(err)
			}
			// The stream may be a casualty of what no message may have.
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for i, begin := 0, time.Now(); len(m.got) == 0; i++ {
				if tt.size > protocol.MaxGossipSize && i > 20 {
					break // the stream was a casualty, and the peer does not open another
				}
				if time.Since(begin) > soon {
					t.Fatalf("no gossip in %v after the message", soon)
				}
				if err := topic.Publish(context.Background(), fmt.Appendf(nil, "small %d", i)); err != nil {
					t.Fatal(err)
				}
				<-tick.C
			}
			for len(m.got) > 0 {
				if got := <-m.got; len(got.data) > protocol.MaxEnvelopeSize {
					t.Errorf("message of %d bytes was delivered", len(got.data))
				}
			}
			for len(judged) > 0 {
				if size := <-judged; size > protocol.MaxEnvelopeSize {
					t.Errorf("the owner was asked to judge %d bytes", size)
				}
			}
		})
	}
}

// TestSlowDelivery: what the owner is too slow for is lost, and it is told.
func TestSlowDelivery(t *testing.T) {
	t.Parallel()
	_, all := newMembers(t, 1, overQUIC)
	a := all[0]
	release := make(chan struct{})
	c := newClub()
	slow := newMember(t, c, overQUIC, func(c *Config) {
		c.Deliver = func(protocol.NodeID, string, []byte, any) { <-release }
	})
	defer close(release)
	c.add(a.self)
	a.cfg.Known(a.self)
	for _, m := range []*member{slow} {
		c.add(m.self)
	}
	b := newMember(t, c, overQUIC)
	c.add(b.self)
	connect(t, b, slow)
	joinAll(t, []*member{b, slow}, func(int) int { return 1 })
	for i := range deliverQueue + outboundQueue + 64 {
		b.publish(t, fmt.Sprint(i))
	}
	got := next(t, "the owner is told of a loss", merge(slow.dropped, b.dropped))
	if got != "delivery queue" && got != "outbound queue" {
		t.Errorf("got %q", got)
	}
}

func merge(a, b <-chan string) <-chan string {
	out := make(chan string, 1)
	go func() {
		select {
		case s := <-a:
			out <- s
		case s := <-b:
			out <- s
		}
	}()
	return out
}

func TestSubscriptionBounds(t *testing.T) {
	f := newSubscriptions()
	subs := func(names ...string) (out []*pb.RPC_SubOpts) {
		for _, n := range names {
			in := true
			out = append(out, &pb.RPC_SubOpts{Topicid: &n, Subscribe: &in})
		}
		return out
	}
	a, b := peerOf(crypto.GenerateNode().Public()), peerOf(crypto.GenerateNode().Public())
	take := func(names ...string) int {
		t.Helper()
		got, err := f.FilterIncomingSubscriptions(a, subs(names...))
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	if got := take("/other/topic", topicPrefix+strings.Repeat("x", maxTopicName), topicPrefix+"x"); got != 1 {
		t.Errorf("took %d of a foreign, an overlong and a good name", got)
	}
	f.own("/other/topic", true)
	if got := take("/other/topic"); got != 1 {
		t.Error("refused the name of a topic that this node is in")
	}
	f.own("/other/topic", false)
	if got := take("/other/topic"); got != 0 {
		t.Error("took the foreign name of a topic that was left")
	}
	var many []string
	for i := range maxTopicsPerPeer {
		many = append(many, fmt.Sprint(topicPrefix, i))
	}
	taken := take(many...)
	if got := take(topicPrefix + "one more"); got != 0 || taken > maxTopicsPerPeer {
		t.Errorf("took %d topics and then %d more, want at most %d", taken, got, maxTopicsPerPeer)
	}
	if got := take(many[0]); got != 1 {
		t.Error("refused a name that was taken before")
	}
	if _, err := f.FilterIncomingSubscriptions(b, subs(append(many, "/one/more")...)); err == nil {
		t.Errorf("%d subscriptions in one message are no error", len(many)+1)
	}
	if got, _ := f.FilterIncomingSubscriptions(b, subs(many[0])); len(got) != 1 {
		t.Error("the bound of one peer counts for another")
	}
	f.forget(a)
	if got := take(topicPrefix + "one more"); got != 1 {
		t.Error("a peer that went is still counted")
	}
}
