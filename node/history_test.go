package node

import (
	"context"
	"slices"
	"testing"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestHistoryForANewPartner: a new partner reads what was published before as far back as the term
// lets it, sealed anew with the same ids and under a key of its own; nothing that the term does not
// cover, nothing that was taken back, and all of it once.
func TestHistoryForANewPartner(t *testing.T) {
	ctx := context.Background()
	vendor, police, bank := testNode(t, "Vendor"), testNode(t, "Police"), testNode(t, "Bank")
	intoOneNetwork(t, []*Node{vendor, police, bank})
	agree(t, vendor, bank, protocol.TLPAmber, "*")
	publishList(t, vendor, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", amber())
	publishList(t, vendor, "198.51.100.4\n", policy.Flags{TLP: protocol.TLPAmberStrict})
	if err := vendor.Withdraw(ctx, []protocol.RecordID{heldRecord(t, vendor, "198.51.100.2").ID}, "wrong"); err != nil {
		t.Fatal(err)
	}
	if err := vendor.Exclude(ctx, []protocol.RecordID{heldRecord(t, vendor, "198.51.100.3").ID}, []protocol.OrgID{police.Org()}); err != nil {
		t.Fatal(err)
	}
	trustEachOther(t, vendor, police)
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	doc.Terms[0].HistoryDays = 30
	agreeOn(t, vendor, police, doc)
	for range 2 {
		if err := vendor.passDue(ctx); err != nil {
			t.Fatal(err)
		}
	}
	carryNew(t, vendor, police)
	for value, want := range map[string]bool{"198.51.100.1": true, "198.51.100.2": false, "198.51.100.3": false, "198.51.100.4": false} {
		wantReads(t, police, value, want)
	}
	if was, is := heldRecord(t, vendor, "198.51.100.1"), heldRecord(t, police, "198.51.100.1"); was.ID != is.ID || is.Publisher.ID != vendor.Org() {
		t.Errorf("%s became %s, of %s", was.ID, is.ID, is.Publisher.Name)
	}
	count := 0
	for _, e := range entries(t, vendor) {
		if e.Header.Kind == protocol.EntryRecords {
			count++
		}
	}
	if count != 3 {
		t.Errorf("%d envelopes of records, want 3: history is sealed once", count)
	}
	// The partner reads nothing of the envelope from before, whose key it never had.
	if err := police.st.View(func(tx *store.Tx) error {
		epochs, err := tx.Epochs(heldRecord(t, police, "198.51.100.1").Feed)
		if err == nil && len(epochs) != 1 {
			t.Errorf("the partner has %d keys", len(epochs))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestNoHistory: a term that says nothing of before gives nothing of before, and one of few days
// gives no more.
func TestNoHistory(t *testing.T) {
	ctx := context.Background()
	vendor, police := testNode(t, "Vendor"), testNode(t, "Police")
	intoOneNetwork(t, []*Node{vendor, police})
	publishList(t, vendor, "198.51.100.1\n", amber())
	agree(t, vendor, police, protocol.TLPAmber, "*")
	if err := vendor.passDue(ctx); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	wantReads(t, police, "198.51.100.1", false)
	subj := &policy.Subject{Originator: vendor.Org(), Publisher: vendor.Org(), Topic: "c2", Kind: "indicator", Handling: protocol.Handling{Version: 1, TLP: protocol.TLPAmber}}
	if days := policy.History(vendor.snap.Load().policy, police.Org(), subj, uint64(nowMillis())); days != 0 {
		t.Errorf("%d days", days)
	}
}

// TestHistoryWithinADaysVolume: what is more than a term lets through in a day goes on on the next.
func TestHistoryWithinADaysVolume(t *testing.T) {
	ctx := context.Background()
	vendor, police := testNode(t, "Vendor"), testNode(t, "Police")
	intoOneNetwork(t, []*Node{vendor, police})
	publishList(t, vendor, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", amber())
	trustEachOther(t, vendor, police)
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	doc.Terms[0].HistoryDays, doc.Terms[0].PerDay = 30, 2
	agreeOn(t, vendor, police, doc)
	got := func() (count int) {
		t.Helper()
		if err := vendor.passDue(ctx); err != nil {
			t.Fatal(err)
		}
		carryNew(t, vendor, police)
		for _, v := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
			if reads(t, police, v) {
				count++
			}
		}
		return count
	}
	if n := got(); n != 2 {
		t.Errorf("%d records on the first day", n)
	}
	if n := got(); n != 2 {
		t.Errorf("%d records, on the same day", n)
	}
	if err := vendor.st.Update(func(tx *store.Tx) error { // the counters are of yesterday
		v := vendor.newVolume(uint64(nowMillis()) + dayMillis)
		v.took["x"] = 1
		return v.commit(tx)
	}); err != nil {
		t.Fatal(err)
	}
	if n := got(); n != 3 {
		t.Errorf("%d records on the next day", n)
	}
}

// TestHistoryWaitsForNobodyElse: of three parties one leaves before the others were given what was before.
func TestHistoryWaitsForNobodyElse(t *testing.T) {
	vendor, police, cert := testNode(t, "Vendor"), testNode(t, "Police"), testNode(t, "Cert")
	nodes := []*Node{vendor, police, cert}
	intoOneNetwork(t, nodes)
	for _, to := range nodes[1:] {
		trustEachOther(t, vendor, to)
	}
	trustEachOther(t, police, cert)
	publishList(t, vendor, "198.51.100.1\n", amber())
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	doc.Parties = append(doc.Parties, cert.Org())
	slices.SortFunc(doc.Parties, protocol.OrgID.Compare)
	doc.Terms[0].HistoryDays = 30
	doc.Terms = append(doc.Terms, doc.Terms[0])
	doc.Terms[1].To = cert.Org()
	id, err := vendor.Propose(doc)
	if err != nil {
		t.Fatal(err)
	}
	carry(t, vendor, police, cert)
	for _, to := range nodes[1:] {
		if err := to.Countersign(id); err != nil {
			t.Fatal(err)
		}
		carry(t, to, vendor)
	}
	if err := cert.Terminate(id, "", 0); err != nil {
		t.Fatal(err)
	}
	carry(t, cert, vendor)
	if err := vendor.passDue(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, to := range nodes[1:] {
		carry(t, police, cert)
		carryNew(t, vendor, to)
	}
	wantReads(t, police, "198.51.100.1", true)
	wantReads(t, cert, "198.51.100.1", false)
}
