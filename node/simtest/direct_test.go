package simtest

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// agreeHolders is World.Agree for what only the parties and organisations of countries may hold.
func agreeHolders(w *World, from, to *Node, countries ...string) {
	w.T.Helper()
	for _, pair := range [][2]*Node{{from, to}, {to, from}} {
		card := pair[1].OwnCard()
		if _, err := pair[0].Trust(&card.Signed, strings.Join(crypto.Words(card.Org), " ")); err != nil {
			w.T.Fatal(err)
		}
	}
	now := uint64(time.Now().UnixMilli())
	doc := protocol.Agreement{Title: "Holders", Parties: []protocol.OrgID{from.Org(), to.Org()}, NotBefore: now, NotAfter: now + 300*24*3600*1000,
		Terms: []protocol.Term{{From: from.Org(), To: to.Org(), Topics: []string{"*"}, Kinds: []string{"*"}, TLP: protocol.TLPAmber, Countries: []string{"*"}, Personal: protocol.PersonalAll,
			Holders: protocol.Holders{Countries: countries}}}}
	slices.SortFunc(doc.Parties, protocol.OrgID.Compare)
	id, err := from.Propose(doc)
	if err != nil {
		w.T.Fatal(err)
	}
	w.Until(to.Name+" has the proposal", func() bool { _, err := to.Agreement(id); return err == nil })
	if err := to.Countersign(id); err != nil {
		w.T.Fatal(err)
	}
	w.Until(from.Name+" has the countersignature", func() bool {
		a, err := from.Agreement(id)
		return err == nil && a.State == node.AgreementInForce
	})
}

// TestDirectFeeds: records that only some may hold reach them at once and after they were away, heal
// gaps by each other, and are stored by nobody else, who is not told that there is anything.
func TestDirectFeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		vendor := w.Add("Vendor", "vendor", "DE")
		police := w.Add("Police", "police", "FR")
		bank := w.Add("Bank", "finance", "FR")
		abroad := w.Add("Abroad", "cert", "US")
		w.Network()
		agreeHolders(w, vendor, police, "DE", "FR")
		agreeHolders(w, vendor, bank, "DE", "FR")
		joinAll(t, w, "c2")

		began := time.Now()
		rec := publish(t, vendor, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		if len(rec.Parts) != 1 || len(rec.Parts[0].Roster) != 3 {
			t.Fatalf("it goes by %+v", rec.Parts)
		}
		w.Until("the partners read it", func() bool { return finds(t, police, "198.51.100.1") && finds(t, bank, "198.51.100.1") })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s, which is as long as until the next comparison by the clock", took)
		}

		// One that was away gets what it missed from the other, while the publisher is away.
		bank.Down()
		publish(t, vendor, "c2", "198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
		w.Until("the police read the second", func() bool { return finds(t, police, "198.51.100.2") })
		vendor.Down()
		bank.Up()
		w.Until("the bank reads the second", func() bool { return finds(t, bank, "198.51.100.2") })
		vendor.Up()
		w.Until("the publisher has receipts of both", func() bool {
			list, err := vendor.Deliveries(rec.Feed, rec.To)
			return err == nil && len(list) == 2
		})
		for _, n := range []*Node{police, bank} {
			feeds, err := n.Feeds()
			if err != nil || !slices.ContainsFunc(feeds, func(f node.FeedStatus) bool { return f.Feed == rec.Feed && f.Complete && f.Held == rec.To+1 }) {
				t.Errorf("%s: %+v, %v", n.Name, feeds, err)
			}
		}
		if seq, _ := abroad.Held(rec.Feed); seq > 0 || envelopes(t, abroad) > 0 {
			t.Error("somebody who may not hold it does")
		}
		if st, err := abroad.Status(); err != nil || st.Missing > 0 || st.Gossip.Rejected > 0 {
			t.Errorf("it is told of something: %+v, %v", st, err)
		}
	})
}
