package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// twoNodes are two that agreed.
func twoNodes(t *testing.T) (vendor, police *Node, id protocol.AgreementID) {
	t.Helper()
	vendor, police = testNode(t, "Vendor"), testNode(t, "Police")
	intoOneNetwork(t, []*Node{vendor, police})
	return vendor, police, agree(t, vendor, police, protocol.TLPAmber, "*")
}

func state(t *testing.T, n *Node, id protocol.AgreementID, want AgreementState) AgreementInfo {
	t.Helper()
	a, err := n.Agreement(id)
	if err != nil || a.State != want {
		t.Errorf("at %s the agreement is %q, %v; want %q", n.ID(), a.State, err, want)
	}
	return a
}

// TestI2Suspended: nothing published while either party suspends an agreement is read by the
// other, also not later; what is published after it was resumed is.
func TestI2Suspended(t *testing.T) {
	t.Parallel()
	for name, byReader := range map[string]bool{"by the publisher": false, "by the reader": true} {
		t.Run(name, func(t *testing.T) {
			vendor, police, id := twoNodes(t)
			publishList(t, vendor, "198.51.100.1\n", amber())
			carryNew(t, vendor, police)
			who, other := vendor, police
			if byReader {
				who, other = police, vendor
			}
			if err := who.Suspend(id, "under review"); err != nil {
				t.Fatal(err)
			}
			state(t, who, id, AgreementSuspended)
			if byReader {
				// The publisher does not know yet: the reader does not take what is after the heads.
				publishList(t, vendor, "198.51.100.2\n", amber())
				carryNew(t, vendor, police)
			}
			carryNew(t, who, other)
			state(t, other, id, AgreementSuspended)
			publishList(t, vendor, "198.51.100.3\n", amber())
			carryNew(t, vendor, police)
			if err := other.Resume(id, ""); err == nil {
				t.Error("who did not suspend it resumed it")
			}
			for _, gone := range []string{"198.51.100.2", "198.51.100.3"} {
				if reads(t, police, gone) {
					t.Errorf("%s is read while the agreement is suspended", gone)
				}
			}
			time.Sleep(2 * time.Millisecond) // times are in milliseconds
			if err := who.Resume(id, "done"); err != nil {
				t.Fatal(err)
			}
			carryNew(t, who, other)
			state(t, other, id, AgreementInForce)
			time.Sleep(2 * time.Millisecond)
			publishList(t, vendor, "198.51.100.4\n", amber())
			carryNew(t, vendor, police)
			for value, want := range map[string]bool{"198.51.100.1": true, "198.51.100.2": false, "198.51.100.3": false, "198.51.100.4": true} {
				if got := reads(t, police, value); got != want {
					t.Errorf("%s is read: %v, want %v", value, got, want)
				}
			}
			a := state(t, other, id, AgreementInForce)
			var life []string
			for _, e := range a.Events {
				life = append(life, e.What)
			}
			if len(life) != 4 || life[2] != "suspended" || life[3] != "resumed" {
				t.Errorf("its life is told as %q", life)
			}
		})
	}
}

// TestI2KeyAfterSuspension: the record after a suspension is under a key that the suspended
// partner never gets, and the one after it was resumed is under one that it has.
func TestI2KeyAfterSuspension(t *testing.T) {
	t.Parallel()
	vendor, police, bank := testNode(t, "Vendor"), testNode(t, "Police"), testNode(t, "Bank")
	intoOneNetwork(t, []*Node{vendor, police, bank})
	id := agree(t, vendor, police, protocol.TLPAmber, "*")
	agree(t, vendor, bank, protocol.TLPAmber, "*")
	publishList(t, vendor, "198.51.100.1\n", amber())
	if err := vendor.Suspend(id, ""); err != nil {
		t.Fatal(err)
	}
	publishList(t, vendor, "198.51.100.2\n", amber())
	carryNew(t, vendor, police)
	carryNew(t, vendor, bank)
	if !reads(t, bank, "198.51.100.2") || reads(t, police, "198.51.100.2") {
		t.Error("one agreement's suspension touches another, or does not touch its own")
	}
	keys := 0
	for _, e := range entries(t, vendor) {
		if e.Header.Kind == protocol.EntryGrant {
			keys++
		}
	}
	if keys < 2 {
		t.Errorf("%d grants: the record after the suspension used the key from before", keys)
	}
}

// TestAmendment: what all signed in an agreement's place narrows it from then on; what was sealed
// before is judged by what was in force then.
func TestAmendment(t *testing.T) {
	vendor, police, id := twoNodes(t)
	publishList(t, vendor, "198.51.100.1\n", amber())
	draft := testAgreement(vendor, police, protocol.TLPGreen, "*")
	draft.Previous = id
	next, err := vendor.Propose(draft)
	if err != nil {
		t.Fatal(err)
	}
	state(t, vendor, id, AgreementInForce)
	second := testAgreement(vendor, police, protocol.TLPClear, "*")
	second.Previous = id
	if _, err := vendor.Propose(second); err == nil {
		t.Error("two amendments of one agreement are signed by one party")
	}
	carryNew(t, vendor, police)
	if err := police.Countersign(next); err != nil {
		t.Fatal(err)
	}
	carryNew(t, police, vendor)
	for _, n := range []*Node{vendor, police} {
		if a := state(t, n, id, policy.StageAmended); a.SupersededBy != next {
			t.Errorf("amended by %s", a.SupersededBy)
		}
		state(t, n, next, AgreementInForce)
	}
	if !reads(t, police, "198.51.100.1") {
		t.Error("what was sealed under the agreement that was amended is not read")
	}
	publishList(t, vendor, "198.51.100.2\n", amber())
	publishList(t, vendor, "198.51.100.3\n", policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone})
	carryNew(t, vendor, police)
	if reads(t, police, "198.51.100.2") || !reads(t, police, "198.51.100.3") {
		t.Error("the amendment does not narrow, or narrows too much")
	}
	draft.Previous, draft.NotBefore = id, draft.NotBefore-1
	if _, err := vendor.Propose(draft); err == nil {
		t.Error("what was amended is amended again")
	}
	if err := vendor.Terminate(id, "", 0); err == nil {
		t.Error("what was amended is terminated in place of what took its place")
	}
}

// TestTerminationWinsOverAmendment: a party ends an agreement before it knows that all signed an
// amendment; the amendment ends with it.
func TestTerminationWinsOverAmendment(t *testing.T) {
	vendor, police, id := twoNodes(t)
	draft := testAgreement(vendor, police, protocol.TLPAmber, "*")
	draft.Previous = id
	next, err := vendor.Propose(draft)
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	if err := police.Countersign(next); err != nil {
		t.Fatal(err)
	}
	if err := vendor.Terminate(id, "over", 0); err != nil { // the countersignature has not come
		t.Fatal(err)
	}
	carryNew(t, police, vendor)
	carryNew(t, vendor, police)
	for _, n := range []*Node{vendor, police} {
		state(t, n, next, AgreementTerminated)
	}
	publishList(t, vendor, "198.51.100.2\n", amber())
	carryNew(t, vendor, police)
	if reads(t, police, "198.51.100.2") {
		t.Error("an amendment goes on after a party ended what it amends")
	}
}

// TestRenewal: the same terms with later dates are told as a renewal.
func TestRenewal(t *testing.T) {
	vendor, police, id := twoNodes(t)
	a := state(t, vendor, id, AgreementInForce)
	draft := a.Doc
	draft.Previous, draft.NotAfter = id, draft.NotAfter+1000
	next := agreeOn(t, vendor, police, draft)
	state(t, vendor, id, policy.StageRenewed)
	state(t, police, next, AgreementInForce)
}

// TestNotice: an agreement goes on until the day that was told; leaving at once stays possible.
func TestNotice(t *testing.T) {
	vendor, police, id := twoNodes(t)
	now := uint64(nowMillis())
	for _, on := range []uint64{now - 1, now + 2e9} {
		if err := vendor.Terminate(id, "", on); err == nil {
			t.Errorf("notice for %d is taken", on)
		}
	}
	if err := vendor.Terminate(id, "moving on", now+1e8); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	for _, n := range []*Node{vendor, police} {
		if a := state(t, n, id, AgreementInForce); a.Terminated == nil || a.Terminated.Effective != now+1e8 {
			t.Errorf("notice is %+v", a.Terminated)
		}
	}
	publishList(t, vendor, "198.51.100.1\n", amber())
	carryNew(t, vendor, police)
	if !reads(t, police, "198.51.100.1") {
		t.Error("under notice nothing is read")
	}
	status, err := police.Status()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range status.Problems {
		found = found || p.Severity == "warning" && len(p.Text) > 0 && p.Do == "renew it with 'entente agreement renew', or propose its successor"
	}
	if !found {
		t.Error("status does not warn of the end")
	}
	if err := vendor.Terminate(id, "", now+1e7); err == nil {
		t.Error("notice is given twice")
	}
	if err := police.Terminate(id, "now", 0); err != nil {
		t.Fatal(err)
	}
	carryNew(t, police, vendor)
	state(t, vendor, id, AgreementTerminated)
}

// TestBreachOfNotice: leaving at once where notice was agreed counts, and is told.
func TestBreachOfNotice(t *testing.T) {
	vendor, police := testNode(t, "Vendor"), testNode(t, "Police")
	intoOneNetwork(t, []*Node{vendor, police})
	trustEachOther(t, vendor, police)
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	doc.NoticeDays = 5
	id := agreeOn(t, vendor, police, doc)
	if err := police.Terminate(id, "", 0); err != nil {
		t.Fatal(err)
	}
	carryNew(t, police, vendor)
	a := state(t, vendor, id, AgreementTerminated)
	if last := a.Events[len(a.Events)-1]; last.What != "terminated in breach of the notice of 5 days" {
		t.Errorf("told as %q", last.What)
	}
}

// TestLeavingOfThreeNodes: the others stay with each other until fewer than two are left.
func TestLeavingOfThreeNodes(t *testing.T) {
	t.Parallel()
	vendor, police, bank := testNode(t, "Vendor"), testNode(t, "Police"), testNode(t, "Bank")
	all := []*Node{vendor, police, bank}
	intoOneNetwork(t, all)
	trustEachOther(t, vendor, police)
	trustEachOther(t, vendor, bank)
	trustEachOther(t, police, bank)
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	doc.Parties = append(doc.Parties, bank.Org())
	sortOrgs(doc.Parties)
	toBank := doc.Terms[0]
	toBank.To = bank.Org()
	doc.Terms = append(doc.Terms, toBank)
	id, err := vendor.Propose(doc)
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	carryNew(t, vendor, bank)
	for _, n := range all[1:] {
		if err := n.Countersign(id); err != nil {
			t.Fatal(err)
		}
	}
	spread := func() {
		t.Helper()
		for _, from := range all {
			for _, to := range all {
				if from != to {
					carryNew(t, from, to)
				}
			}
		}
	}
	spread()
	for _, n := range all {
		state(t, n, id, AgreementInForce)
	}
	if err := bank.Terminate(id, "", 0); err != nil {
		t.Fatal(err)
	}
	spread()
	state(t, bank, id, policy.StageLeft)
	state(t, vendor, id, AgreementInForce)
	publishList(t, vendor, "198.51.100.1\n", amber())
	spread()
	if !reads(t, police, "198.51.100.1") || reads(t, bank, "198.51.100.1") {
		t.Error("the others do not stay with each other, or who left reads on")
	}
	if err := police.Terminate(id, "", 0); err != nil {
		t.Fatal(err)
	}
	spread()
	state(t, vendor, id, AgreementTerminated)
}

// TestI2SuspendedStaysSuspendedAfterARestore: data from before a suspension finds beside it that
// there is one.
func TestI2SuspendedStaysSuspendedAfterARestore(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir, backup := filepath.Join(root, "data"), filepath.Join(root, "backup")
	ident, err := NewIdentity(InitRequest{Name: "Vendor", Kind: "vendor"})
	if err != nil {
		t.Fatal(err)
	}
	n := diskNode(t, dir, ident)
	partner := testNode(t, "Partner")
	intoOneNetwork(t, []*Node{n, partner})
	id := agree(t, n, partner, protocol.TLPAmber, "*")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", dir, backup)
	n = diskNode(t, dir, ident)
	if err := partner.Suspend(id, "test"); err != nil {
		t.Fatal(err)
	}
	carryNew(t, partner, n)
	state(t, n, id, AgreementSuspended)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", backup, dir)
	n = diskNode(t, dir, ident)
	state(t, n, id, AgreementSuspended)
	publishList(t, n, "198.51.100.2\n", amber())
	carryNew(t, n, partner)
	if reads(t, partner, "198.51.100.2") {
		t.Error("a restore took a suspension back")
	}
}

// TestSuspensionsJoin: siblings that hear different statements, in any order, end up with the same.
func TestSuspensionsJoin(t *testing.T) {
	op := crypto.GenerateOp()
	rapid.Check(t, func(t *rapid.T) {
		var all [][]byte
		for range rapid.IntRange(1, 6).Draw(t, "statements") {
			s := &protocol.Suspension{Version: 1, Network: protocol.NetworkID{1}, Agreement: protocol.AgreementID{2}, Org: protocol.OrgID{byte(rapid.IntRange(1, 2).Draw(t, "org"))},
				Number: rapid.Uint64Range(1, 3).Draw(t, "number"), At: 100, Pauses: []protocol.Pause{{From: rapid.Uint64Range(1, 9).Draw(t, "from"), Heads: []protocol.FeedHead{}}}}
			if rapid.Bool().Draw(t, "resumed") {
				s.Pauses[0].Until = rapid.Uint64Range(10, 12).Draw(t, "until")
			}
			signed, err := crypto.SignSuspension(s, op)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, protocol.Encode(&signed))
		}
		want := joinSuspensions(all)
		shuffled := rapid.Permutation(all).Draw(t, "order")
		cut := rapid.IntRange(0, len(all)).Draw(t, "cut")
		got := joinSuspensions(joinSuspensions(shuffled[:cut]), joinSuspensions(shuffled[cut:]))
		if len(got) != len(want) {
			t.Fatalf("%d and %d", len(got), len(want))
		}
		for i := range got {
			if string(got[i]) != string(want[i]) {
				t.Fatal("the order of hearing decides")
			}
		}
	})
}

func TestBoundPauses(t *testing.T) {
	var list []protocol.Pause
	for i := range uint64(2 * protocol.MaxPauses) {
		list = boundPauses(append(list, protocol.Pause{From: 10*i + 1, Until: 10*i + 5, Heads: make([]protocol.FeedHead, 20)}))
		s := protocol.Suspension{Version: 1, Number: 1, At: 10*i + 9, Pauses: list}
		if err := s.Validate(); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		if list[0].From != 1 || list[len(list)-1].Until != 10*i+5 {
			t.Fatalf("after %d the times reach from %d to %d", i, list[0].From, list[len(list)-1].Until)
		}
	}
}

// TestI2EndReachesWhatWasAmended: what a party leaves at once or suspends, it leaves by what it held
// then; an entry after that says in vain that it was sealed before the amendment.
func TestI2EndReachesWhatWasAmended(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*Node, protocol.AgreementID) error{
		"left":      func(n *Node, id protocol.AgreementID) error { return n.Terminate(id, "", 0) },
		"suspended": func(n *Node, id protocol.AgreementID) error { return n.Suspend(id, "") },
	} {
		t.Run(name, func(t *testing.T) {
			vendor, police, id := twoNodes(t)
			publishList(t, vendor, "198.51.100.1\n", amber())
			carryNew(t, vendor, police)
			publishList(t, vendor, "198.51.100.2\n", amber())   // it comes late
			for sealed := nowMillis(); nowMillis() == sealed; { // it was sealed before the amendment
			}
			draft := testAgreement(vendor, police, protocol.TLPAmber, "*")
			draft.Previous = id
			next, err := police.Propose(draft)
			if err != nil {
				t.Fatal(err)
			}
			carryControl(t, police, vendor)
			if err := vendor.Countersign(next); err != nil {
				t.Fatal(err)
			}
			carryControl(t, vendor, police)
			state(t, police, next, AgreementInForce)
			if err := act(police, next); err != nil {
				t.Fatal(err)
			}
			carryNew(t, vendor, police)
			if !reads(t, police, "198.51.100.1") || reads(t, police, "198.51.100.2") {
				t.Error("what came before is not read, or what came after is")
			}
		})
	}
}

// carryControl is carryNew for letters alone.
func carryControl(t *testing.T, from, to *Node) {
	t.Helper()
	control := protocol.NewTopicID(from.snap.Load().network, protocol.ControlTopic)
	for _, e := range entries(t, from) {
		if e.Origin.Topic == control {
			if _, err := to.gate.admit([]*crypto.VerifiedEnvelope{e}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
