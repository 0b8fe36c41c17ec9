package node

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// TestHello: who becomes known by what it says of itself, and who does not.
func TestHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		founder, guest := testNode(t, "Founder"), testNode(t, "Guest")
		if _, err := founder.CreateNetwork("test"); err != nil {
			t.Fatal(err)
		}
		inv, err := founder.Invite(&guest.OwnCard().Signed, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := guest.Join(inv); err != nil {
			t.Fatal(err)
		}
		if founder.snap.Load().members[guest.Org()] {
			t.Error("an invitation made a member before anybody used it")
		}
		net := &network{n: founder}
		said := (&network{n: guest}).ownHello()
		refused := func(name string, remote *Node, hello []byte, want error) {
			t.Helper()
			before := fingerprint(t, founder)
			if err := net.hello(remote.ID(), hello); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if fingerprint(t, founder) != before {
				t.Errorf("%s: the store changed", name)
			}
		}
		stranger := testNode(t, "Stranger")
		refused("no hello", stranger, []byte("hello"), protocol.ErrMalformed)
		refused("somebody else's hello", stranger, said, protocol.ErrUnknownAuthor)
		alone := &protocol.Hello{Version: 1, Network: founder.snap.Load().network, Card: stranger.OwnCard().Signed}
		refused("no invitation", stranger, protocol.Encode(alone), protocol.ErrUnknownAuthor)
		elsewhere := &protocol.Hello{Version: 1, Network: protocol.NetworkID{1}, Card: guest.OwnCard().Signed}
		refused("another network", guest, protocol.Encode(elsewhere), protocol.ErrWrongContext)
		forged := *alone
		sp := &protocol.Sponsorship{Version: 1, Network: alone.Network, Sponsor: founder.Org(), Invitee: stranger.Org(), Card: alone.Card.Hash(),
			Issued: uint64(nowMillis()), Expires: uint64(nowMillis()) + 1000}
		st, err := crypto.SignStatement(protocol.StatementSponsorship, protocol.Encode(sp), alone.Network, founder.Org(), stranger.keys.Op)
		if err != nil {
			t.Fatal(err)
		}
		forged.Statements = []protocol.RosterStatement{st}
		refused("an invitation that it signed itself", stranger, protocol.Encode(&forged), protocol.ErrUnknownAuthor)

		late := founder.snap.Load()
		time.Sleep(2 * time.Hour)
		refused("an invitation used late", guest, said, protocol.ErrExpired)
		if founder.snap.Load() != late {
			t.Error("the state changed")
		}
		again, err := founder.Invite(&guest.OwnCard().Signed, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := guest.Join(again); err != nil {
			t.Fatal(err)
		}
		h := &protocol.Hello{Version: 1, Network: alone.Network, Card: guest.OwnCard().Signed}
		for _, st := range again.Statements {
			if st.Kind == protocol.StatementSponsorship {
				h.Statements = append(h.Statements, st)
			}
		}
		if err := net.hello(guest.ID(), protocol.Encode(h)); err != nil {
			t.Fatal(err)
		}
		if !founder.snap.Load().members[guest.Org()] {
			t.Error("the guest did not become a member")
		}
		time.Sleep(time.Hour + time.Minute)
		if err := net.hello(guest.ID(), protocol.Encode(h)); err != nil {
			t.Errorf("a member is refused when its invitation has expired: %v", err)
		}
	})
}

// TestStrangersAreNotKept: cards and statements of organisations that nobody sponsored do
// not fill the store.
func TestStrangersAreNotKept(t *testing.T) {
	nodes := testNetwork(t, "Founder", "Member")
	stranger, other := testNode(t, "Stranger"), testNode(t, "Other")
	network := nodes[0].snap.Load().network
	sp := &protocol.Sponsorship{Version: 1, Network: network, Sponsor: stranger.Org(), Invitee: other.Org(), Card: other.OwnCard().Hash,
		Issued: uint64(nowMillis()), Expires: uint64(nowMillis()) + 1000}
	st, err := crypto.SignStatement(protocol.StatementSponsorship, protocol.Encode(sp), network, stranger.Org(), stranger.keys.Op)
	if err != nil {
		t.Fatal(err)
	}
	before := fingerprint(t, nodes[0])
	err = (&view{n: nodes[0]}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{stranger.OwnCard().Signed, other.OwnCard().Signed}, Roster: []protocol.RosterStatement{st}})
	if err != nil {
		t.Fatal(err)
	}
	if fingerprint(t, nodes[0]) != before {
		t.Error("the store changed")
	}
}

// TestGossipWaitsForNoLock: what gossip asks from within its own loop takes no lock that is held
// while gossip is waited for, as when a topic is joined.
func TestGossipWaitsForNoLock(t *testing.T) {
	net := &network{n: testNode(t, "Author"), dirty: make(chan struct{}, 1), subscriber: make(chan struct{}, 1)}
	net.joined.Store("a topic", protocol.TopicID{1})
	net.mu.Lock()
	defer net.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		net.duplicate("a topic")
		net.dropped("a queue")
		net.subscribed(protocol.NodeID{}, "a topic")
		net.validate(protocol.NodeID{}, "a topic", []byte("no envelope"))
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
	if n := net.n.counters.duplicates.Load(); n != 1 {
		t.Errorf("%d duplicates are counted", n)
	}
}

// TestStallingPeersTellNothing: a peer that says that it has more, and lets this node wait when it is
// asked, is asked because of that once an hour.
func TestStallingPeersTellNothing(t *testing.T) {
	for _, tc := range []struct {
		what    string
		took    time.Duration
		bytes   int
		stalled bool
	}{
		{"nothing, at once", time.Second, 0, false},
		{"nothing, after long", 11 * time.Second, 0, true},
		{"a little, after long", 30 * time.Second, 64 << 10, true},
		{"much, in long", 30 * time.Second, 256 << 10, false},
	} {
		var w waitedFor
		w.add(tc.took, &protocol.SyncMessage{Envelopes: [][]byte{make([]byte, tc.bytes)}})
		w.add(0, nil) // it failed
		if w.stalled() != tc.stalled {
			t.Errorf("%s: stalled is %v", tc.what, w.stalled())
		}
	}
	synctest.Test(t, func(t *testing.T) {
		net := &network{dirty: make(chan struct{}, 1), tellers: map[protocol.NodeID]bool{}, stalled: map[protocol.NodeID]time.Time{}}
		slow, quick := protocol.NodeID{1}, protocol.NodeID{2}
		net.noteStalled(slow)
		for _, after := range []time.Duration{0, stalledFor + time.Second} {
			time.Sleep(after)
			net.told(slow)
			net.told(quick)
			want := 1
			if after > 0 {
				want = 2
			}
			if got := net.takeTellers(); len(got) != want || len(net.dirty) != 1 {
				t.Errorf("after %v it compares with %d that told of entries, want %d", after, len(got), want)
			}
		}
	})
}
