package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

const year = 365 * 24 * time.Hour

// TestClockMinority: whatever fewer than half of the organisations say of the time, and one of a few, a node goes on. Where more
// than half say that its clock is wrong, on one side, it does not; and it goes on as soon as that is set.
func TestClockMinority(t *testing.T) {
	n := testNode(t, "Author")
	beyond := func(t *rapid.T, label string) time.Duration {
		d := time.Duration(rapid.Int64Range(11, 1<<40).Draw(t, label)) * time.Minute / 1000
		return max(d, 11*time.Minute)
	}
	rapid.Check(t, func(t *rapid.T) {
		n.clock.said = map[protocol.OrgID]clockSaid{}
		honest, lying := rapid.IntRange(0, 12).Draw(t, "honest"), rapid.IntRange(0, 12).Draw(t, "lying")
		wrong := beyond(t, "ours is wrong by") + 10*time.Minute
		if rapid.Bool().Draw(t, "behind") {
			wrong = -wrong
		}
		say := func(off time.Duration) {
			for i := range honest {
				n.hearClock(protocol.OrgID{1, byte(i)}, off+time.Duration(rapid.Int64Range(-500, 500).Draw(t, "jitter"))*time.Second, 0)
			}
			for i := range lying {
				lie := beyond(t, "lie")
				if rapid.Bool().Draw(t, "lies behind") {
					lie = -lie
				}
				n.hearClock(protocol.OrgID{2, byte(i)}, lie, 0)
			}
		}
		say(0)
		if d := n.doubtClock(); d != nil && (lying <= honest+1 || lying < clockVoices) {
			t.Fatalf("%d of %d organisations stopped a node: %s", lying, honest+lying, d.text)
		}
		say(wrong)
		if d := n.doubtClock(); honest >= clockVoices && honest > lying+1 && (d == nil || !d.peers) {
			t.Fatalf("%d of %d organisations say that the clock is wrong by %s, and it is believed", honest, honest+lying, wrong)
		}
		if honest >= clockVoices && honest > lying+1 { // it is set: nobody has to be asked again
			n.cfg.ClockAhead = wrong
			d := n.doubtClock()
			n.cfg.ClockAhead = 0
			if d != nil && d.peers {
				t.Fatalf("set right, it is not believed: %s", d.text)
			}
		}
	})
}

// TestClockAlone: with nobody to ask a node goes by what it stated last, and by how much time passed since it was opened.
func TestClockAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNetwork(t, "Author")[0]
		publishList(t, n, "198.51.100.1\n", green)
		card := n.OwnCard().Serial
		time.Sleep(3 * year) // it was there all the time
		publishList(t, n, "198.51.100.2\n", green)
		for _, c := range []struct {
			ahead   time.Duration
			believe bool
		}{{clockAlone - time.Hour, true}, {clockAlone + time.Hour, false}, {year, false}, {0, true}} {
			n.cfg.ClockAhead = c.ahead
			if _, err := n.Publish(t.Context(), PublishRequest{Topic: "c2", Items: readList(t, "198.51.100.3\n"), Flags: green}); c.ahead > 0 && errors.Is(err, ErrClockDoubted) == c.believe {
				t.Errorf("%s ahead: %v", c.ahead, err)
			}
			if hasProblem(t, n, "clock-unconfirmed") == c.believe {
				t.Errorf("%s ahead: the status does not say so, or says it for nothing", c.ahead)
			}
			if c.believe {
				continue
			}
			for what, err := range map[string]error{
				"renewing the card":  n.renewCard(func(c *protocol.Card) bool { return true }),
				"an agreement":       func() error { _, err := n.Propose(testAgreement(n, n, protocol.TLPGreen)); return err }(),
				"an invitation":      func() error { _, err := n.Invite(&n.OwnCard().Signed, time.Hour); return err }(),
				"removing a node":    n.amendCardWith(nil, nil),
				"another age key":    n.newIdentity(Caller{}, false),
				"removing a member":  n.RemoveMember(protocol.OrgID{1}, ""),
				"rules for all":      func() error { _, err := n.LoadRulesEverywhere(rules.Source{}); return err }(),
				"asking for erasure": func() error { _, err := n.ask(Caller{}, nil, nil, protocol.Hash{}); return err }(),
			} {
				if what != "removing a member" && !errors.Is(err, ErrClockDoubted) {
					t.Errorf("%s ahead, %s: %v", c.ahead, what, err)
				}
			}
			if heads, err := n.signHeads(); err != nil || len(heads) > 0 {
				t.Errorf("%s ahead it states %d heads, %v", c.ahead, len(heads), err)
			}
			n.hearClock(protocol.OrgID{1}, 0, 0) // one partner agrees
			if err := n.believeClock(); err != nil {
				t.Errorf("%s ahead, and a partner agrees: %v", c.ahead, err)
			}
			n.clock.said = map[protocol.OrgID]clockSaid{}
		}
		if n.OwnCard().Serial != card {
			t.Error("a card was signed")
		}
	})
}

// TestClockOKIsAudited: who said that the clock is right stands in the account, by the account of the operating system
// where the node has people; and the node states the time then, also after another start.
func TestClockOKIsAudited(t *testing.T) {
	dir := t.TempDir()
	ident, err := NewIdentity(InitRequest{Name: "Author", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: dir, Keys: ident.Keys, Card: &ident.Card, ClockAhead: year}
	open := func() *Node {
		t.Helper()
		n, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := open()
	if err := n.believeClock(); !errors.Is(err, ErrClockDoubted) {
		t.Fatalf("a year after the card: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.ClockOK, cfg.ClockBy = true, Caller{Person: "whoever", User: "asmith"}
	n = open()
	if err := n.believeClock(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.SetPerson(context.Background(), PersonChange{ID: "alice", Roles: []string{"admin"}, User: "asmith"}); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.ClockBy.User = "service"
	n = open()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.ClockOK = false
	n = open()
	defer n.Close()
	if err := n.believeClock(); err != nil {
		t.Errorf("after another start: %v", err)
	}
	list, err := n.Audit(context.Background(), AuditQuery{Kind: "clock"})
	if err != nil {
		t.Fatal(err)
	}
	var who []string
	for _, e := range list {
		who = append(who, e.Person)
		if !strings.Contains(e.Text, "said on "+time.UnixMilli(int64(n.nowMillis())).UTC().Format("2006")) {
			t.Errorf("%q does not say when", e.Text)
		}
	}
	slices.Reverse(who)
	if got := fmt.Sprint(who); got != "[whoever alice account service]" && got != "[account service alice whoever]" {
		t.Errorf("said by %s", got)
	}
}

// TestClockComesLate: a machine that has no clock of its own starts in the past, and gets the time from the network a while later. Its
// node does not take that for a leap, also after another start.
func TestClockComesLate(t *testing.T) {
	n := testNode(t, "Author")
	for _, ahead := range []time.Duration{-20 * year, 0} {
		n.cfg.ClockAhead = ahead
		if err := errors.Join(n.keepClockTime(), n.believeClock()); err != nil {
			t.Fatalf("%s ahead: %v", ahead, err)
		}
	}
	n.cfg.ClockAhead = -20 * year
	if err := errors.Join(n.keepClockTime(), n.openClock()); err != nil {
		t.Fatal(err)
	}
	n.cfg.ClockAhead = 0
	if err := n.believeClock(); err != nil {
		t.Errorf("after another start: %v", err)
	}
	n.cfg.ClockAhead = -year
	n.hearClock(protocol.OrgID{1}, 0, 0)
	if err := n.keepClockTime(); err != nil {
		t.Fatal(err)
	}
	n.clock.said = map[protocol.OrgID]clockSaid{}
	if n.cfg.ClockAhead = 0; n.believeClock() == nil {
		t.Error("an organisation confirmed that it was a year earlier, and a leap back to before that is believed")
	}
}

// TestClockOfAReader: who publishes nothing goes by its card, which is renewed; nothing else says when it was there last.
func TestClockOfAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNetwork(t, "Reader")[0]
		publishList(t, n, "198.51.100.1\n", green)
		time.Sleep(100 * 24 * time.Hour)
		if err := n.renewCard(func(*protocol.Card) bool { return true }); err != nil {
			t.Fatal(err)
		}
		// As release 0.1 leaves it.
		if err := n.st.Update(func(tx *store.Tx) error { return tx.Delete([]byte(kindSetting + settingClock)) }); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(n.openClock(), n.believeClock()); err != nil {
			t.Error(err)
		}
	})
}

// TestClockSleeps: what was heard before a machine slept goes on through the sleep, and what it stated as well.
func TestClockSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNetwork(t, "Author")[0]
		var asleep time.Duration
		n.clock.slept = func() time.Duration { return asleep }
		hear := func() {
			for i := range 5 {
				n.hearClock(protocol.OrgID{byte(i)}, 0, 0)
			}
		}
		hear()
		for _, nap := range []time.Duration{time.Hour, 100 * 24 * time.Hour} {
			asleep += nap
			n.cfg.ClockAhead += nap // what the clock did, and the monotonic one did not
			if err := n.believeClock(); err != nil {
				t.Errorf("after a sleep of %s: %v", nap, err)
			}
		}
		hear()
		if n.cfg.ClockAhead += time.Hour; n.believeClock() == nil {
			t.Error("it did not sleep, and the clock was set")
		}
	})
	if a := slept(); a < 0 || slept()-a > time.Second {
		t.Errorf("the machine slept for %s, and then for %s", a, slept())
	}
}

// TestClockVoices: whom a member brought in speaks with it, unless a steward brought it in or it is pinned here.
func TestClockVoices(t *testing.T) {
	n := testNetwork(t, "Author", "Honest")[0]
	s := *n.snap.Load()
	s.sponsors = map[protocol.OrgID]protocol.OrgID{}
	s.pins = map[protocol.OrgID]uint64{}
	member := protocol.OrgID{9}
	s.sponsors[member] = s.genesis.Stewards[0]
	say := func(first byte, off time.Duration) {
		for i := range 5 {
			n.hearClock(protocol.OrgID{first, byte(i)}, off, 0)
		}
	}
	say(1, year)
	n.hearClock(protocol.OrgID{3}, 0, 0)
	n.snap.Store(&s)
	if n.believeClock() == nil {
		t.Fatal("five of six that stand for themselves say that it is wrong")
	}
	for i := range 5 { // each by the one before
		s.sponsors[protocol.OrgID{1, byte(i)}] = member
		if i > 0 {
			s.sponsors[protocol.OrgID{1, byte(i)}] = protocol.OrgID{1, byte(i - 1)}
		}
	}
	if err := n.believeClock(); err != nil {
		t.Errorf("a member stopped a node by those that it brought in: %v", err)
	}
	for i := range 5 {
		s.pins[protocol.OrgID{1, byte(i)}] = 1
	}
	if n.believeClock() == nil {
		t.Error("those that a person pinned have no voice")
	}
	delete(n.clock.said, protocol.OrgID{3})
	clear(s.pins)
	n.clock.newest -= uint64(year.Milliseconds())
	if n.believeClock() == nil {
		t.Error("one voice that disagrees confirmed a leap")
	}
}

// TestExpiryWaitsForNoClock: while the clock is not believed, what has ended by the time at which it was, and what passed since, is erased;
// and nothing that has ended by that clock alone.
func TestExpiryWaitsForNoClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNetwork(t, "Author")[0]
		for i, days := range []uint32{1, 100} {
			f := green
			f.RetentionDays = days
			publishList(t, n, fmt.Sprintf("198.51.100.%d\n", i+1), f)
		}
		time.Sleep(2 * 24 * time.Hour)
		if err := n.keepClockTime(); err != nil {
			t.Fatal(err)
		}
		SetClock(year)
		defer SetClock(0)
		if n.believeClock() == nil {
			t.Fatal("a year ahead it is believed")
		}
		if err := n.expire(); err != nil {
			t.Fatal(err)
		}
		wantReads(t, n, "198.51.100.1", false)
		wantReads(t, n, "198.51.100.2", true)
	})
}
