package node

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// tellOf has a member seal an exclusion in its own name, of records that may be another's.
func tellOf(t *testing.T, from *Node, records []protocol.RecordID, excluded []protocol.OrgID, readers []protocol.OrgID, at uint64) {
	t.Helper()
	if err := from.append("c2", func(a *appender) error {
		x, err := crypto.SignExclusion(&protocol.ExclusionStatement{Version: 1, Network: a.snap.network, Originator: from.Org(), Records: records, Excluded: excluded, At: at}, from.keys.Signing)
		if err != nil {
			return err
		}
		return a.tellExclusion(&x, excluded, []reach{{orgs: readers}})
	}); err != nil {
		t.Fatal(err)
	}
}

func recordsOf(t *testing.T, n *Node) (list []corpus.Entry) {
	t.Helper()
	if err := n.viewIndex(func(tx *store.Tx) (err error) { list, _, err = corpus.Since(tx, 0, 100); return err }); err != nil {
		t.Fatal(err)
	}
	return list
}

// decided is what a hub would pass on, as of now.
func decided(t *testing.T, hub *Node) []*onwardGroup {
	t.Helper()
	groups, _, err := hub.groupOnward(recordsOf(t, hub), ReleaseAuto, hub.words.Load())
	if err != nil || len(groups) == 0 {
		t.Fatal(groups, err)
	}
	return groups
}

// TestI2ExclusionOfWhatIsNotHeldToo: an exclusion that names a record which a hop does not hold is passed on
// for those that it holds.
func TestI2ExclusionOfWhatIsNotHeldToo(t *testing.T) {
	t.Parallel()
	nodes := chain(t, func(i int, doc *protocol.Agreement) { doc.Terms[0].Approval = uint8(i) }, "Vendor", "Hub", "Police", "Cert")
	vendor, hub, police := nodes[0], nodes[1], nodes[2]
	automatic(t, hub, police)
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	along(t, nodes)
	wantReads(t, police, "198.51.100.1", true)
	id := heldRecord(t, vendor, "198.51.100.1").ID
	tellOf(t, vendor, []protocol.RecordID{{}, id}, []protocol.OrgID{nodes[3].Org()}, []protocol.OrgID{hub.Org()}, 1)
	along(t, nodes)
	if l, err := police.Exclusions(); err != nil || len(l) != 1 {
		t.Errorf("police knows of %d, %v", len(l), err)
	}
	list, err := police.Releases(false)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := police.ApproveRelease(context.Background(), list[0].Number, "A", false); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	wantReads(t, nodes[3], "198.51.100.1", false)
}

// TestI2OthersExclusionsTakeNoPlace: whoever excludes anybody from what it did not make fills no place of the
// originator's word.
func TestI2OthersExclusionsTakeNoPlace(t *testing.T) {
	t.Parallel()
	vendor, hub, cert, mallory := testNode(t, "Vendor"), testNode(t, "Hub"), testNode(t, "Cert"), testNode(t, "Mallory")
	intoOneNetwork(t, []*Node{vendor, hub, cert, mallory})
	for _, p := range [][2]*Node{{vendor, hub}, {hub, cert}} {
		doc := testAgreement(p[0], p[1], protocol.TLPAmber, "*")
		doc.Terms[0].Onward.Rule = protocol.OnwardPartners
		trustEachOther(t, p[0], p[1])
		agreeOn(t, p[0], p[1], doc)
	}
	agree(t, mallory, hub, protocol.TLPAmber, "*")
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	carryNew(t, vendor, hub)
	id := heldRecord(t, vendor, "198.51.100.1").ID
	for i := range 64 {
		tellOf(t, mallory, []protocol.RecordID{id}, []protocol.OrgID{vendor.Org()}, []protocol.OrgID{hub.Org()}, uint64(i+1))
	}
	carryNew(t, mallory, hub)
	if err := vendor.Exclude(context.Background(), []protocol.RecordID{id}, []protocol.OrgID{cert.Org()}); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, hub)
	if err := hub.SetRelease(context.Background(), ReleaseAuto, true); err != nil {
		t.Fatal(err)
	}
	carryNew(t, hub, cert)
	wantReads(t, cert, "198.51.100.1", false)
}

// TestI2EndedBetweenDecisionAndSealing: what was decided before an agreement ended is not sealed after it.
func TestI2EndedBetweenDecisionAndSealing(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Cert")
	vendor, hub, cert := nodes[0], nodes[1], nodes[2]
	var first protocol.AgreementID
	for _, a := range hub.Agreements() {
		for _, p := range a.Doc.Parties {
			if p == cert.Org() {
				first = a.ID
			}
		}
	}
	agreeOn(t, hub, cert, testAgreement(hub, cert, protocol.TLPClear, "*"))
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	carryNew(t, vendor, hub)
	groups := decided(t, hub)
	if err := hub.Terminate(first, "", 0); err != nil {
		t.Fatal(err)
	}
	if err := hub.passGroups("c2", groups); !errors.Is(err, errRegroup) {
		t.Errorf("what was decided before is sealed: %v", err)
	}
	carryNew(t, hub, cert)
	for _, e := range entries(t, hub) {
		if e.Header.Kind == protocol.EntryRecords {
			_, plain, _, err := cert.ownPlain(e.Header.Feed, e.Header.Seq)
			if err == nil && len(plain) > 0 {
				t.Error("cert opens what was sealed after the termination was committed")
			}
		}
	}
}

// TestI2ExcludedBetweenDecisionAndSealing: nor what was decided before its originator excluded somebody.
func TestI2ExcludedBetweenDecisionAndSealing(t *testing.T) {
	nodes := chain(t, nil, "Vendor", "Hub", "Cert")
	vendor, hub, cert := nodes[0], nodes[1], nodes[2]
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	carryNew(t, vendor, hub)
	groups := decided(t, hub)
	id := heldRecord(t, vendor, "198.51.100.1").ID
	if err := vendor.Exclude(context.Background(), []protocol.RecordID{id}, []protocol.OrgID{cert.Org()}); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, hub)
	if err := hub.passGroups("c2", groups); !errors.Is(err, errRegroup) {
		t.Errorf("what was decided before is sealed: %v", err)
	}
	carryNew(t, hub, cert)
	wantReads(t, cert, "198.51.100.1", false)
}

// TestWithdrawnBetweenDecisionAndSealing: nor what was decided before it was withdrawn: who would get it then would
// never hear of that.
func TestWithdrawnBetweenDecisionAndSealing(t *testing.T) {
	nodes := chain(t, nil, "Vendor", "Hub", "Cert")
	vendor, hub, cert := nodes[0], nodes[1], nodes[2]
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	carryNew(t, vendor, hub)
	groups := decided(t, hub)
	id := heldRecord(t, vendor, "198.51.100.1").ID
	if err := vendor.Withdraw(context.Background(), []protocol.RecordID{id}, "x"); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, hub)
	if err := hub.passGroups("c2", groups); !errors.Is(err, errRegroup) {
		t.Errorf("what was decided before is sealed: %v", err)
	}
	automatic(t, hub)
	along(t, nodes)
	along(t, nodes)
	recs, _, _ := cert.Search(Query{Value: "198.51.100.1"})
	if len(recs) == 1 && !recs[0].Withdrawn {
		t.Error("cert never learns of the withdrawal")
	}
}

// TestI1RecordBeforeTheWordThatItIsResumed: what is published after an agreement was resumed is read, also if
// it comes before the word that it was.
func TestI1RecordBeforeTheWordThatItIsResumed(t *testing.T) {
	vendor, police, id := twoNodes(t)
	publishList(t, vendor, "198.51.100.9\n", amber())
	if err := vendor.Suspend(id, ""); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	time.Sleep(3 * time.Millisecond)
	if err := vendor.Resume(id, ""); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Millisecond)
	publishList(t, vendor, "198.51.100.1\n", amber())
	topic := protocol.NewTopicID(vendor.snap.Load().network, "c2")
	theirs, _ := (&view{n: vendor}).Frontier()
	for i := range theirs {
		if theirs[i].Origin.Topic != topic {
			continue
		}
		feed := (&view{n: vendor}).FeedOf(&theirs[i].Origin)
		raws, err := (&view{n: vendor}).Range(feed, 1, 1<<20, 1<<30)
		if err == nil {
			_, err = (&view{n: police}).TakeEntries(raws)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	carryNew(t, vendor, police)
	state(t, police, id, AgreementInForce)
	police.gate.drain()
	wantReads(t, police, "198.51.100.1", true)
}

// TestWithdrawalInASuspension: a partner hears of what was withdrawn while its agreement was suspended.
func TestWithdrawalInASuspension(t *testing.T) {
	vendor, police, id := twoNodes(t)
	publishList(t, vendor, "198.51.100.1\n", amber())
	carryNew(t, vendor, police)
	if err := vendor.Suspend(id, ""); err != nil {
		t.Fatal(err)
	}
	if err := vendor.Withdraw(context.Background(), []protocol.RecordID{heldRecord(t, vendor, "198.51.100.1").ID}, "x"); err != nil {
		t.Fatal(err)
	}
	if err := vendor.Resume(id, ""); err != nil {
		t.Fatal(err)
	}
	if err := vendor.passDue(context.Background()); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	if reads(t, police, "198.51.100.1") { // withdrawn ones are left out
		t.Error("never told")
	}
}

// TestI2ExclusionInASuspension: and of exclusions.
func TestI2ExclusionInASuspension(t *testing.T) {
	t.Parallel()
	nodes := chain(t, func(i int, doc *protocol.Agreement) { doc.Terms[0].Approval = uint8(i / 2) }, "Vendor", "Hub", "Police", "Cert")
	vendor, hub, police, cert := nodes[0], nodes[1], nodes[2], nodes[3]
	automatic(t, hub, police)
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	along(t, nodes[:3])
	var mid protocol.AgreementID
	for _, a := range hub.Agreements() {
		for _, p := range a.Doc.Parties {
			if p == police.Org() {
				mid = a.ID
			}
		}
	}
	if err := hub.Suspend(mid, ""); err != nil {
		t.Fatal(err)
	}
	if err := vendor.Exclude(context.Background(), []protocol.RecordID{heldRecord(t, vendor, "198.51.100.1").ID}, []protocol.OrgID{cert.Org()}); err != nil {
		t.Fatal(err)
	}
	along(t, nodes[:2])
	if err := hub.Resume(mid, ""); err != nil {
		t.Fatal(err)
	}
	along(t, nodes[:3])
	along(t, nodes[:3])
	if l, _ := police.Exclusions(); len(l) == 0 {
		t.Error("police is never told")
	}
}

// TestRetentionOverTwoHops: what may be kept for some days may be kept for no more by the next hop, and the one after.
func TestRetentionOverTwoHops(t *testing.T) {
	t.Parallel()
	nodes := chain(t, func(i int, doc *protocol.Agreement) {
		if i == 0 {
			doc.Terms[0].RetentionDays = 5
		}
	}, "Vendor", "Hub", "Police", "Cert")
	automatic(t, nodes[1:3]...)
	publishOnward(t, nodes[0], "198.51.100.1\n", partners)
	along(t, nodes)
	for _, n := range nodes[1:3] {
		for _, e := range entries(t, n) {
			if e.Header.Kind != protocol.EntryRecords {
				continue
			}
			var doc publishedDoc
			if err := n.st.View(func(tx *store.Tx) error {
				_, err := getDoc(tx, kindPublished, entryKey(e.Header.Feed, e.Header.Seq), &doc)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if doc.RetentionDays == 0 {
				t.Error("for ever")
			}
		}
	}
}

// TestARecordThatFillsItsEnvelope: a record that does not fit an envelope with a statement beside it keeps no other
// from being passed on.
func TestARecordThatFillsItsEnvelope(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Cert")
	vendor, hub, cert := nodes[0], nodes[1], nodes[2]
	automatic(t, hub)
	pub := func(size int) error {
		b := make([]byte, size)
		rand.Read(b)
		obj := fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f","created":"2024-01-01T00:00:00.000Z","modified":"2024-01-01T00:00:00.000Z","pattern_type":"stix","valid_from":"2024-01-01T00:00:00Z","pattern":"[ipv4-addr:value = '198.51.100.7']","description":"%s"}`, base64.StdEncoding.EncodeToString(b))
		in, err := intake.Read("x.json", strings.NewReader(obj), intake.Options{})
		if err != nil || len(in.Problems) > 0 {
			t.Fatal(err, in.Problems)
		}
		items := in.Items
		for i := range items {
			items[i].Handling.Onward = partners
		}
		_, err = vendor.Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: amber()})
		return err
	}
	lo, hi := 40000, 66000
	for hi-lo > 20 {
		mid := (lo + hi) / 2
		if err := pub(mid); err == nil {
			lo = mid
		} else {
			if !errors.Is(err, protocol.ErrOversize) {
			}
			hi = mid
		}
	}
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	carryNew(t, vendor, hub)
	if err := hub.passDue(context.Background()); err != nil {
		t.Error("stuck: ", err)
	}
	carryNew(t, hub, cert)
	wantReads(t, cert, "198.51.100.1", true)
}

// TestNobodyIsCutOffInItsNotice: a party that gave notice is one until then: the others do not amend the agreement
// without it.
func TestNobodyIsCutOffInItsNotice(t *testing.T) {
	a, b, c := protocol.OrgID{1}, protocol.OrgID{2}, protocol.OrgID{3}
	ag := &agreement{Agreement: &crypto.Agreement{}}
	ag.Parties = []protocol.OrgID{a, b, c}
	ag.terminations = []protocol.Termination{{Org: c, At: 1, Effective: uint64(nowMillis()) + 90*dayMillis}}
	if ag.stays([]protocol.OrgID{a, b}, uint64(nowMillis())) {
		t.Error("two end the rights of a third in its time of notice")
	}
}

// TestSaidBetweenTwoAgreements: what was withdrawn, and who was excluded, while no agreement with a
// partner was in force is told when there is one again. It has the records all the while.
func TestSaidBetweenTwoAgreements(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	vendor, police, third := testNode(t, "Vendor"), testNode(t, "Police"), testNode(t, "Third")
	intoOneNetwork(t, []*Node{vendor, police, third})
	id := agree(t, vendor, police, protocol.TLPAmber, "*")
	publishList(t, vendor, "198.51.100.1\n198.51.100.2\n", amber())
	carryNew(t, vendor, police)
	if err := vendor.Terminate(id, "", 0); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	if err := vendor.Withdraw(ctx, []protocol.RecordID{heldRecord(t, vendor, "198.51.100.1").ID}, "x"); err != nil {
		t.Fatal(err)
	}
	if err := vendor.Exclude(ctx, []protocol.RecordID{heldRecord(t, vendor, "198.51.100.2").ID}, []protocol.OrgID{third.Org()}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := vendor.passDue(ctx); err != nil {
			t.Fatal(err)
		}
	}
	carryNew(t, vendor, police)
	wantReads(t, police, "198.51.100.1", true)
	if l, _ := police.Exclusions(); len(l) != 0 {
		t.Error("an exclusion is told to who is no partner")
	}
	time.Sleep(2 * time.Millisecond)
	agree(t, vendor, police, protocol.TLPAmber, "*")
	if err := vendor.passDue(ctx); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	wantReads(t, police, "198.51.100.1", false)
	wantReads(t, police, "198.51.100.2", true)
	if l, err := police.Exclusions(); err != nil || len(l) != 1 || l[0].Excluded[0].ID != third.Org() {
		t.Errorf("the exclusion: %+v, %v", l, err)
	}
	for _, kind := range []string{kindForward, kindForwardWait, kindExcludeDue, kindExcludeWait} {
		if err := vendor.st.View(func(tx *store.Tx) error {
			return tx.Scan([]byte(kind), nil, false, func(k, _ []byte) (bool, error) { t.Errorf("%q is left", k); return true, nil })
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestI2LateRecordAsksWhatItsTermWanted: a record that comes after an amendment is passed on as the term wants
// that was in force when it was sealed: with the approval of two persons.
func TestI2LateRecordAsksWhatItsTermWanted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	vendor, hub, police := testNode(t, "Vendor"), testNode(t, "Hub"), testNode(t, "Police")
	nodes := []*Node{vendor, hub, police}
	intoOneNetwork(t, nodes)
	trustEachOther(t, vendor, hub)
	trustEachOther(t, hub, police)
	first := testAgreement(vendor, hub, protocol.TLPAmber, "*")
	first.Terms[0].Onward.Rule, first.Terms[0].Approval = protocol.OnwardPartners, 2
	id := agreeOn(t, vendor, hub, first)
	agreeOn(t, hub, police, testAgreement(hub, police, protocol.TLPAmber, "*"))
	automatic(t, hub)
	time.Sleep(3 * time.Millisecond)
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	time.Sleep(3 * time.Millisecond)
	draft := testAgreement(vendor, hub, protocol.TLPAmber, "*")
	draft.Previous, draft.NotBefore, draft.Terms[0].Onward.Rule = id, uint64(nowMillis()), protocol.OnwardPartners
	next, err := vendor.Propose(draft)
	if err != nil {
		t.Fatal(err)
	}
	carryControl(t, vendor, hub)
	if err := hub.Countersign(next); err != nil {
		t.Fatal(err)
	}
	carryControl(t, hub, vendor)
	time.Sleep(3 * time.Millisecond)
	publishOnward(t, vendor, "198.51.100.2\n", partners)
	along(t, nodes)
	wantReads(t, hub, "198.51.100.1", true)
	wantReads(t, police, "198.51.100.1", false)
	wantReads(t, police, "198.51.100.2", true)
	list, err := hub.Releases(false)
	if err != nil || len(list) != 1 || list[0].Needs != 2 {
		t.Fatalf("waiting: %+v, %v", list, err)
	}
	for _, who := range []string{"A", "B"} {
		if _, err := hub.ApproveRelease(ctx, list[0].Number, who, false); err != nil {
			t.Fatal(err)
		}
	}
	along(t, nodes)
	wantReads(t, police, "198.51.100.1", true)
}

// TestI1LateRecordUnderAnEndedAgreementIsPassedOn: what was sealed under an agreement is passed on though
// it comes when that has ended.
func TestI1LateRecordUnderAnEndedAgreementIsPassedOn(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Police")
	vendor, hub, police := nodes[0], nodes[1], nodes[2]
	automatic(t, hub)
	time.Sleep(3 * time.Millisecond)
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	time.Sleep(3 * time.Millisecond)
	for _, a := range vendor.Agreements() {
		if err := vendor.Terminate(a.ID, "", 0); err != nil {
			t.Fatal(err)
		}
	}
	carryControl(t, vendor, hub)
	along(t, nodes)
	wantReads(t, hub, "198.51.100.1", true)
	wantReads(t, police, "198.51.100.1", true)
}
