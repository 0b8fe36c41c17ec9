package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// chain are organisations of which each may pass on to the next what the one before sends.
func chain(t *testing.T, change func(i int, doc *protocol.Agreement), names ...string) []*Node {
	t.Helper()
	var nodes []*Node
	for _, name := range names {
		nodes = append(nodes, testNode(t, name))
	}
	intoOneNetwork(t, nodes)
	for i := range nodes[1:] {
		doc := testAgreement(nodes[i], nodes[i+1], protocol.TLPAmber, "*")
		doc.Terms[0].Onward.Rule = protocol.OnwardPartners
		if change != nil {
			change(i, &doc)
		}
		trustEachOther(t, nodes[i], nodes[i+1])
		agreeOn(t, nodes[i], nodes[i+1], doc)
	}
	return nodes
}

// publishOnward publishes values that may be passed on to partners.
func publishOnward(t *testing.T, n *Node, list string, o protocol.Onward) *Receipt {
	t.Helper()
	items := readList(t, list)
	for i := range items {
		items[i].Handling.Onward = o
	}
	rec, err := n.Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: amber()})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

var partners = protocol.Onward{Rule: protocol.OnwardPartners}

// along carries what each node of a chain wrote to all others, after each passed on what is due.
func along(t *testing.T, nodes []*Node) {
	t.Helper()
	for range nodes {
		for _, from := range nodes {
			if err := from.passDue(context.Background()); err != nil {
				t.Fatal(err)
			}
			for _, to := range nodes {
				if from != to {
					carryNew(t, from, to)
				}
			}
		}
	}
}

func automatic(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.SetRelease(context.Background(), ReleaseAuto, false); err != nil {
			t.Fatal(err)
		}
	}
}

func wantReads(t *testing.T, n *Node, value string, want bool) {
	t.Helper()
	if got := reads(t, n, value); got != want {
		t.Errorf("%s reads %s: %v, want %v", n.OwnCard().Inception.Name, value, got, want)
	}
}

func heldRecord(t *testing.T, n *Node, value string) Record {
	t.Helper()
	list, _, err := n.Search(Query{Value: value})
	if err != nil || len(list) != 1 {
		t.Fatalf("%d records of %s, %v", len(list), value, err)
	}
	return list[0]
}

// TestPassedOnOverThreeHops: a record goes from hop to hop, unchanged, under its originator's
// proof, and the last reader sees the whole way.
func TestPassedOnOverThreeHops(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Police", "Cert")
	automatic(t, nodes[1:3]...)
	rec := publishOnward(t, nodes[0], "198.51.100.1\n198.51.100.2\n", partners)
	publishList(t, nodes[0], "198.51.100.3\n", amber()) // its word lets it go no further
	along(t, nodes)
	last := nodes[3]
	wantReads(t, last, "198.51.100.1", true)
	wantReads(t, last, "198.51.100.3", false)
	wantReads(t, nodes[1], "198.51.100.3", true)
	got := heldRecord(t, last, "198.51.100.1")
	if !slices.Contains(rec.Records, got.ID) || got.Originator.Name != "Vendor" || got.Publisher.Name != "Police" {
		t.Errorf("it came as %s of %s by %s", got.ID, got.Originator.Name, got.Publisher.Name)
	}
	x, err := last.Explain(got.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	var way []string
	for _, h := range x.Path {
		way = append(way, h.Org.Name+" "+h.Role)
	}
	if want := []string{"Vendor originator", "Hub passed on", "Police publisher"}; !slices.Equal(way, want) {
		t.Errorf("its way is told as %q", way)
	}
	if x, err := nodes[1].Explain(got.ID, nil); err != nil || len(x.PassedTo) != 1 || x.PassedTo[0].Name != "Police" {
		t.Errorf("the hub tells of %+v, %v", x.PassedTo, err)
	}
	// Once: nothing is passed on again, however often it is looked at.
	before := len(entries(t, nodes[1]))
	if err := nodes[1].SetRelease(context.Background(), ReleaseAuto, true); err != nil {
		t.Fatal(err)
	}
	if after := len(entries(t, nodes[1])); after != before {
		t.Errorf("%d entries became %d", before, after)
	}
}

// TestI2OnwardBinds: the originator's word, the handling and every hop's agreement bind.
func TestI2OnwardBinds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		onward protocol.Onward
		term   func(i int, doc *protocol.Agreement)
		flags  policy.Flags
	}{
		"the originator says nobody": {onward: protocol.Onward{}},
		"the originator's ceiling":   {onward: protocol.Onward{Rule: protocol.OnwardPartners, Ceiling: protocol.TLPGreen}},
		"the term says nobody":       {onward: partners, term: func(i int, doc *protocol.Agreement) { doc.Terms[0].Onward = protocol.Onward{} }},
		"the term names a kind": {onward: partners, term: func(i int, doc *protocol.Agreement) {
			doc.Terms[0].Onward = protocol.Onward{Rule: protocol.OnwardKinds, Kinds: []protocol.OrgKind{protocol.KindPolice}}
		}},
		"the next term's ceiling":          {onward: partners, term: func(i int, doc *protocol.Agreement) { doc.Terms[0].TLP -= protocol.TLP(i) }},
		"the next term's countries":        {onward: partners, term: func(i int, doc *protocol.Agreement) { doc.Terms[0].Countries = [][]string{{"*"}, {"VN"}}[i] }},
		"the next term's personal data":    {onward: partners, term: func(i int, doc *protocol.Agreement) { doc.Terms[0].Personal -= protocol.PersonalData(i) }},
		"the next term wants a confidence": {onward: partners, term: func(i int, doc *protocol.Agreement) { doc.Terms[0].Confidence = uint8(50 * i) }},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := chain(t, tc.term, "Vendor", "Hub", "Cert")
			automatic(t, nodes[1])
			publishOnward(t, nodes[0], "198.51.100.1\n", tc.onward)
			along(t, nodes)
			wantReads(t, nodes[1], "198.51.100.1", true)
			wantReads(t, nodes[2], "198.51.100.1", false)
		})
	}
}

// TestVoteOfWhoLostTheRole: a vote that was on its way when its person left, or lost the role, is none.
func TestVoteOfWhoLostTheRole(t *testing.T) {
	nodes := chain(t, func(i int, doc *protocol.Agreement) { doc.Terms[0].Approval = 1 }, "Vendor", "Hub", "Cert")
	hub := nodes[1]
	automatic(t, hub)
	publishOnward(t, nodes[0], "198.51.100.1\n", partners)
	along(t, nodes)
	list, err := hub.Releases(false)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	addPerson(t, hub, "alice", rules.RoleAdmin, rules.RoleApprover)
	addPerson(t, hub, "bob", rules.RoleReader)
	for _, id := range []string{"bob", "carol"} {
		if _, err := hub.DenyRelease(as(t.Context(), id, rules.Release), list[0].Number, id, ""); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s denied it: %v", id, err)
		}
	}
	if r, err := hub.ReleaseOf(list[0].Number); err != nil || r.State != "waiting" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := hub.DenyRelease(as(t.Context(), "alice", rules.Release), list[0].Number, "alice", ""); err != nil || r.State != "denied" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestReleaseByPersons: what needs approval waits for as many persons as it needs, each another.
func TestReleaseByPersons(t *testing.T) {
	ctx := context.Background()
	nodes := chain(t, func(i int, doc *protocol.Agreement) { doc.Terms[0].Approval = 2 }, "Vendor", "Hub", "Cert")
	hub, last := nodes[1], nodes[2]
	automatic(t, hub)
	publishOnward(t, nodes[0], "198.51.100.1\n198.51.100.2\n", partners)
	along(t, nodes)
	wantReads(t, last, "198.51.100.1", false)
	list, err := hub.Releases(false)
	if err != nil || len(list) != 1 || list[0].Records != 2 || list[0].Needs != 2 || list[0].To[0].Name != "Cert" || list[0].Originator.Name != "Vendor" {
		t.Fatalf("what waits is %+v, %v", list, err)
	}
	number := list[0].Number
	if _, err := hub.ApproveRelease(ctx, number, " ", false); err == nil {
		t.Error("nobody approved")
	}
	if r, err := hub.ApproveRelease(ctx, number, "A", false); err != nil || r.State != "waiting" {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := hub.ApproveRelease(ctx, number, "a ", false); err == nil {
		t.Error("one person approved twice")
	}
	along(t, nodes)
	wantReads(t, last, "198.51.100.1", false)
	if r, err := hub.ApproveRelease(ctx, number, "B", false); err != nil || r.State != "passed on" || len(r.Approved) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	along(t, nodes)
	wantReads(t, last, "198.51.100.1", true)
	if _, err := hub.DenyRelease(t.Context(), number, "C", ""); err == nil {
		t.Error("what was passed on is denied")
	}

	publishOnward(t, nodes[0], "198.51.100.3\n", partners)
	along(t, nodes)
	list, err = hub.Releases(false)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if r, err := hub.DenyRelease(t.Context(), list[0].Number, "C", "not ours to give"); err != nil || r.State != "denied" {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := hub.ApproveRelease(ctx, list[0].Number, "A", false); err == nil {
		t.Error("what was denied is approved")
	}
	along(t, nodes)
	wantReads(t, last, "198.51.100.3", false)
	// What was denied is not put before anybody again; what waits is, once.
	publishOnward(t, nodes[0], "198.51.100.4\n", partners)
	along(t, nodes)
	if err := hub.SetRelease(ctx, ReleaseAuto, true); err != nil {
		t.Fatal(err)
	}
	if list, err := hub.Releases(false); err != nil || len(list) != 1 || list[0].Records != 1 {
		t.Errorf("after all was looked at again there wait %+v, %v", list, err)
	}
	if all, err := hub.Releases(true); err != nil || len(all) != 4 {
		t.Errorf("%d decided, %v", len(all), err)
	}
}

// TestReleaseByPersonsOfARule: a local rule has what it matches wait for persons, as the mode or a
// term does; of term and rule the larger number counts, and the rule that is in force when they
// approve.
func TestReleaseByPersonsOfARule(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	nodes := chain(t, func(i int, doc *protocol.Agreement) { doc.Terms[0].Approval = uint8(1 - i) }, "Vendor", "Hub", "Cert")
	hub, last := nodes[1], nodes[2]
	automatic(t, hub)
	const rule = "@id(%q) @reason(\"paragraph 4\") @persons(\"2\") forbid (principal, action == Action::\"passOn\", resource) when { resource.tlp == \"amber\" };"
	loadRules(t, hub, fmt.Sprintf(rule, "two"))
	publishOnward(t, nodes[0], "198.51.100.1\n", partners)
	along(t, nodes)
	list, err := hub.Releases(false)
	if err != nil || len(list) != 1 || list[0].Needs != 2 || list[0].Why != `local rule "two" wants the approval of 2 persons: paragraph 4` {
		t.Fatalf("what waits is %+v, %v", list, err)
	}
	x, err := hub.Explain(heldRecord(t, hub, "198.51.100.1").ID, nil)
	if err != nil || len(x.PassOn) != 1 || x.PassOn[0].Persons != 2 || x.PassOn[0].Approval != list[0].Why {
		t.Errorf("it is explained as %+v, %v", x, err)
	}
	if r, err := hub.ApproveRelease(ctx, list[0].Number, "A", false); err != nil || r.State != "waiting" {
		t.Fatalf("%+v, %v", r, err)
	}
	along(t, nodes)
	wantReads(t, last, "198.51.100.1", false)
	if r, err := hub.ApproveRelease(ctx, list[0].Number, "B", false); err != nil || r.State != "passed on" {
		t.Fatalf("%+v, %v", r, err)
	}
	along(t, nodes)
	wantReads(t, last, "198.51.100.1", true)

	// Without it one is enough, as the term says, until it is there again.
	loadRules(t, hub, "")
	publishOnward(t, nodes[0], "198.51.100.2\n", partners)
	along(t, nodes)
	if list, err = hub.Releases(false); err != nil || len(list) != 1 || list[0].Needs != 1 || !strings.Contains(list[0].Why, "wants the approval of one person") {
		t.Fatalf("what waits is %+v, %v", list, err)
	}
	loadRules(t, hub, fmt.Sprintf(rule, "later"))
	r, err := hub.ApproveRelease(ctx, list[0].Number, "A", false)
	if err != nil || r.State != "waiting" || r.Needs != 2 || !strings.Contains(r.Why, `"later"`) {
		t.Fatalf("%+v, %v", r, err)
	}
	along(t, nodes)
	wantReads(t, last, "198.51.100.2", false)
}

// TestI2ReleaseAfterTheEnd: what was approved when the agreement had ended is passed on to nobody.
func TestI2ReleaseAfterTheEnd(t *testing.T) {
	nodes := chain(t, nil, "Vendor", "Hub", "Cert")
	hub := nodes[1]
	if err := hub.SetRelease(context.Background(), ReleaseAsk, false); err != nil {
		t.Fatal(err)
	}
	publishOnward(t, nodes[0], "198.51.100.1\n", partners)
	along(t, nodes)
	list, err := hub.Releases(false)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, a := range hub.Agreements() {
		if slices.Contains(a.Doc.Parties, nodes[2].Org()) {
			if err := hub.Terminate(a.ID, "", 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r, err := hub.ApproveRelease(context.Background(), list[0].Number, "A", false); err != nil || r.State != "void" {
		t.Fatalf("%+v, %v", r, err)
	}
	along(t, nodes)
	wantReads(t, nodes[2], "198.51.100.1", false)
}

// TestReleaseOff: a node that was not told to passes nothing on, and what came before it was told
// to only if asked.
func TestReleaseOff(t *testing.T) {
	nodes := chain(t, nil, "Vendor", "Hub", "Cert")
	hub := nodes[1]
	publishOnward(t, nodes[0], "198.51.100.1\n", partners)
	along(t, nodes)
	wantReads(t, nodes[2], "198.51.100.1", false)
	automatic(t, hub)
	along(t, nodes)
	wantReads(t, nodes[2], "198.51.100.1", false)
	if err := hub.SetRelease(context.Background(), ReleaseAuto, true); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	wantReads(t, nodes[2], "198.51.100.1", true)
}

// TestWithdrawalFollowsEveryHop: what its originator withdraws is marked wherever it went.
func TestWithdrawalFollowsEveryHop(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Police", "Cert")
	automatic(t, nodes[1:3]...)
	rec := publishOnward(t, nodes[0], "198.51.100.1\n198.51.100.2\n", partners)
	along(t, nodes)
	id := heldRecord(t, nodes[0], "198.51.100.1").ID
	if err := nodes[0].Withdraw(context.Background(), []protocol.RecordID{id}, "false positive"); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	for _, n := range nodes {
		x, err := n.Explain(id, nil)
		if err != nil || !x.Record.Withdrawn || x.Record.WithdrawReason != "false positive" {
			t.Errorf("at %s it is not withdrawn: %+v, %v", n.OwnCard().Inception.Name, x, err)
		}
	}
	if r := heldRecord(t, nodes[3], "198.51.100.2"); r.Withdrawn || !slices.Contains(rec.Records, r.ID) {
		t.Error("another is withdrawn with it")
	}
}

// TestI5ErasureFollowsEveryHop: what its originator erases is gone wherever it went, and what
// shares an envelope with it stays.
func TestI5ErasureFollowsEveryHop(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Police", "Cert")
	automatic(t, nodes[1:3]...)
	publishOnward(t, nodes[0], "198.51.100.1\n198.51.100.2\n", partners)
	along(t, nodes)
	id := heldRecord(t, nodes[0], "198.51.100.1").ID
	if _, err := nodes[0].Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	for range nodes {
		for _, n := range nodes {
			n.tryErasures()
		}
		syncBoth(t, nodes...)
	}
	for _, n := range nodes {
		wantReads(t, n, "198.51.100.1", false)
		wantReads(t, n, "198.51.100.2", true)
		// No body that any of them holds opens to it.
		for _, e := range entries(t, n) {
			if e.Skeleton() || e.Header.Kind != protocol.EntryRecords {
				continue
			}
			_, plain, _, err := n.ownPlain(e.Header.Feed, e.Header.Seq)
			var body protocol.Body
			if err != nil || protocol.Decode(plain, protocol.MaxPlainSize, &body) != nil {
				continue
			}
			records, err := crypto.VerifyBody(n.snap.Load().network, &body, n.Card)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if r.ID == id {
					t.Errorf("at %s entry %d still holds it", n.OwnCard().Inception.Name, e.Header.Seq)
				}
			}
		}
	}
}

// TestI2PassedOnWithoutAWord: a member that seals what it had from another, and does not say so,
// or says it in another's name, is not believed.
func TestI2PassedOnWithoutAWord(t *testing.T) {
	nodes := chain(t, nil, "Vendor", "Hub", "Cert")
	vendor, hub, last := nodes[0], nodes[1], nodes[2]
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	along(t, nodes)
	body := bodyOf(t, vendor, heldRecord(t, vendor, "198.51.100.1").Feed, heldRecord(t, vendor, "198.51.100.1").Seq)
	forge := func(hops func(*protocol.BatchPart)) {
		t.Helper()
		b := *body
		b.Batches = slices.Clone(body.Batches)
		b.Batches[0].Hops = nil
		hops(&b.Batches[0])
		sealFor(t, hub, []*protocol.Body{&b}, last.Org())
		carryNew(t, hub, last)
		wantReads(t, last, "198.51.100.1", false)
	}
	forge(func(*protocol.BatchPart) {})
	forge(func(p *protocol.BatchPart) { // by another, and true
		if err := crypto.SignHop(hub.snap.Load().network, last.Org(), last.keys.Signing, 1, p); err != nil {
			t.Fatal(err)
		}
	})
	forge(func(p *protocol.BatchPart) { // by another, and false
		if err := crypto.SignHop(hub.snap.Load().network, last.Org(), hub.keys.Signing, 1, p); err != nil {
			t.Fatal(err)
		}
	})
	q, err := last.Quarantine("")
	if err != nil || len(q) != 2 { // the key of the third may stand on a card that has not come
		t.Fatalf("%d set aside, %v", len(q), err)
	}
	reasons := map[string]int{}
	for _, x := range q {
		reasons[x.Reason]++
	}
	if reasons[string(policy.ReasonProvenance)] != 2 {
		t.Errorf("reasons %v", reasons)
	}
}

// TestVolume: a term lets so much through in a day; what is more is refused, and what would be
// passed on waits.
func TestVolume(t *testing.T) {
	t.Parallel()
	nodes := chain(t, func(i int, doc *protocol.Agreement) { doc.Terms[0].PerDay = uint32(3 - i) }, "Vendor", "Hub", "Cert")
	vendor, hub, last := nodes[0], nodes[1], nodes[2]
	automatic(t, hub)
	publishOnward(t, vendor, "198.51.100.1\n198.51.100.2\n", partners)
	rec := publishOnward(t, vendor, "198.51.100.3\n198.51.100.4\n198.51.100.5\n", partners)
	if o := rec.Plan.Orgs[0]; o.Records != 1 || o.Refused[policy.ReasonVolume] != 2 {
		t.Errorf("the plan tells of %+v", o)
	}
	along(t, nodes)
	for value, want := range map[string]bool{"198.51.100.1": true, "198.51.100.2": true, "198.51.100.3": true, "198.51.100.4": false, "198.51.100.5": false} {
		wantReads(t, hub, value, want)
		wantReads(t, vendor, value, true)
	}
	wantReads(t, last, "198.51.100.1", true)
	wantReads(t, last, "198.51.100.2", true)
	wantReads(t, last, "198.51.100.3", false)
	list, err := hub.Releases(false)
	if err != nil || len(list) != 1 || list[0].Records != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := hub.ApproveRelease(context.Background(), list[0].Number, "A", false); err == nil {
		t.Error("a person lets more through than the term does")
	}
	// Another day, as the counters see it: they are of yesterday.
	if err := hub.st.Update(func(tx *store.Tx) error {
		v := hub.newVolume(uint64(nowMillis()) + dayMillis)
		v.took["x"] = 1
		return v.commit(tx)
	}); err != nil {
		t.Fatal(err)
	}
	if r, err := hub.ApproveRelease(context.Background(), list[0].Number, "A", false); err != nil || r.State != "passed on" {
		t.Fatalf("%+v, %v", r, err)
	}
	along(t, nodes)
	wantReads(t, last, "198.51.100.3", true)
}

// TestI2ExcludedLater: what an originator says after it published reaches who has the records, by
// every hop; from then on nobody seals them for whom it excluded, whatever the agreements say. Who
// acknowledged it is shown.
func TestI2ExcludedLater(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	nodes := chain(t, func(i int, doc *protocol.Agreement) { doc.Terms[0].Approval = uint8(i) }, "Vendor", "Hub", "Police", "Cert")
	vendor, hub, police, cert := nodes[0], nodes[1], nodes[2], nodes[3]
	automatic(t, hub, police)
	publishOnward(t, vendor, "198.51.100.1\n198.51.100.2\n", partners)
	along(t, nodes)
	wantReads(t, police, "198.51.100.1", true)
	list, err := police.Releases(false)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	id := heldRecord(t, vendor, "198.51.100.1").ID
	if err := police.Exclude(ctx, []protocol.RecordID{id}, []protocol.OrgID{cert.Org()}); err == nil {
		t.Error("who did not make a record excludes somebody from it")
	}
	if err := vendor.Exclude(ctx, []protocol.RecordID{id}, []protocol.OrgID{vendor.Org()}); err == nil {
		t.Error("an originator excludes itself")
	}
	if err := vendor.Exclude(ctx, []protocol.RecordID{id}, []protocol.OrgID{cert.Org()}); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	if _, err := police.ApproveRelease(ctx, list[0].Number, "A", false); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	wantReads(t, cert, "198.51.100.1", false)
	wantReads(t, cert, "198.51.100.2", true)
	for i, n := range nodes {
		known, err := n.Exclusions()
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 1, false: 0}[i < 3]; len(known) != want {
			t.Fatalf("%s knows of %d exclusions, want %d", n.OwnCard().Inception.Name, len(known), want)
		}
		if i == 0 && (len(known[0].Told) != 1 || known[0].Told[0].Org.Name != "Hub" || known[0].Excluded[0].Name != "Cert") {
			t.Errorf("the vendor told %+v", known[0])
		}
		if i == 1 && (len(known[0].Told) != 1 || known[0].Told[0].Org.Name != "Police") {
			t.Errorf("the hub told %+v", known[0])
		}
	}
}

// TestExcludedBeforeItIsPassedOn: an exclusion goes with the record, to whom it is passed on later.
func TestExcludedBeforeItIsPassedOn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	nodes := chain(t, nil, "Vendor", "Hub", "Police", "Cert")
	vendor, hub, police, cert := nodes[0], nodes[1], nodes[2], nodes[3]
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	along(t, nodes)
	if err := vendor.Exclude(ctx, []protocol.RecordID{heldRecord(t, vendor, "198.51.100.1").ID}, []protocol.OrgID{cert.Org()}); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	if err := hub.SetRelease(ctx, ReleaseAuto, true); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	wantReads(t, police, "198.51.100.1", true)
	if known, err := police.Exclusions(); err != nil || len(known) != 1 {
		t.Errorf("police knows of %d, %v", len(known), err)
	}
	if err := police.SetRelease(ctx, ReleaseAuto, true); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	wantReads(t, cert, "198.51.100.1", false)
}
