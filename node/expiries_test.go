package node

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// TestExpiryWarnings is the table of what is told when: 30 days, 7 days and one day before the end, of
// what renews itself only once it should have.
func TestExpiryWarnings(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	card := Expiry{What: ExpiryCard, Before: 15 * day}
	node := Expiry{What: ExpiryNode, Before: 183 * day}
	file := Expiry{What: ExpiryCertificate}
	own := Expiry{What: ExpiryCertificate, Before: 30 * day}
	age := Expiry{What: ExpiryIdentity, Before: 3 * day}
	for _, c := range []struct {
		e        Expiry
		left     time.Duration
		severity string
		within   string
	}{
		{card, 30 * day, "", ""}, {card, 15 * day, "", ""}, {card, 14*day + 1, "", ""}, {card, 14 * day, "warning", "30 days"},
		{card, 7 * day, "warning", "7 days"}, {card, day, "error", "a day"}, {card, 0, "error", "has ended"}, {card, -day, "error", "has ended"},
		{node, 182 * day, "", ""}, {node, 30*day + 1, "", ""}, {node, 30 * day, "warning", "30 days"}, {node, 7 * day, "warning", "7 days"}, {node, day, "error", "a day"}, {node, -1, "error", "has ended"},
		{file, 31 * day, "", ""}, {file, 30 * day, "warning", "30 days"}, {file, 7*day + 1, "warning", "30 days"}, {file, 7 * day, "warning", "7 days"}, {file, day, "error", "a day"},
		{own, 30 * day, "", ""}, {own, 29 * day, "warning", "30 days"}, {own, day, "error", "a day"},
		{age, day, "", ""}, {age, 0, "", ""}, {age, 1 - day, "", ""}, {age, -day, "warning", "1 days overdue"}, {age, -40 * day, "warning", "40 days overdue"},
	} {
		c.e.At = now.Add(c.left)
		severity, within := c.e.warning(now)
		if severity != c.severity || !strings.Contains(within, c.within) || (within == "") != (c.severity == "") {
			t.Errorf("%s, %s before the end: %q, %q", c.e.What, c.left, severity, within)
		}
	}
}

// TestStatusWarnsOfWhatWasNotRenewed: a node without the operational key, whose sibling that has it is
// down, tells so before its card is stale; the sibling, back, renews all of it.
func TestStatusWarnsOfWhatWasNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, _ := siblingWorld(t)
		tells := func(n *Node, text, severity string) bool {
			t.Helper()
			st, err := n.Status()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range st.Problems {
				if strings.Contains(p.Text, text) {
					return p.Severity == severity
				}
			}
			return severity == ""
		}
		wait := func(d time.Duration) {
			t.Helper()
			time.Sleep(d)
			if err := second.change(func(*store.Tx) error { return nil }); err != nil {
				t.Fatal(err)
			}
			keepKeys(t, second)
		}
		if !tells(second, "the card of", "") {
			t.Error("a fresh card is warned of")
		}
		wait(15 * day)
		if !tells(second, "the card of", "") {
			t.Error("a card that is to be renewed today is warned of")
		}
		wait(2 * day)
		if !tells(second, "the card of Police ends within 30 days", "warning") {
			t.Error("it is not told that the card was not renewed")
		}
		wait(12*day + 12*time.Hour)
		if !tells(second, "the card of Police ends within a day", "error") {
			t.Error("it is not told that the card ends within a day")
		}
		wait(5 * day)
		if !tells(second, "age identity", "warning") {
			t.Error("it is not told that the recipient waits for the card")
		}
		for _, e := range second.Expiries() {
			if e.Renews != (e.What == ExpiryIdentity) {
				t.Errorf("without the operational key %s is said to renew itself: %v", e.What, e.Renews)
			}
		}
		compareWith(t, first, second)
		keepKeys(t, first)
		shareSets(t, first, second)
		wait(time.Hour)
		for _, n := range []*Node{first, second} {
			st, err := n.Status()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range st.Problems {
				if strings.Contains(p.Text, "ends within") || strings.Contains(p.Text, "overdue") || strings.Contains(p.Text, "fresh") && strings.Contains(p.Text, "own") {
					t.Errorf("after it was renewed: %s", p.Text)
				}
			}
		}
		first.ServesUnder("in cert.pem", false, 0, func() (time.Time, bool) { return time.Now().Add(5 * day), true })
		if !tells(first, "the certificate in cert.pem ends within 7 days", "warning") {
			t.Error("it is not told that a certificate ends")
		}
		time.Sleep(200 * day)
		keepKeys(t, first)
		for _, e := range first.Expiries() {
			if e.What == ExpiryNode && e.Who == first.ID().String() && time.Until(e.At) < 365*day {
				t.Errorf("the node's time was not prolonged: it ends in %s", time.Until(e.At))
			}
		}
		if own := first.OwnCard(); !own.Fresh(uint64(nowMillis())) || own.FreshUntil-own.Issued > protocol.MaxCardLife {
			t.Error("the card was not renewed")
		}
	})
}
