package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

func simulate(t testing.TB, n *Node, draft protocol.Agreement) *Simulation {
	t.Helper()
	out, err := n.Simulate(context.Background(), draft, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func simulatedOrg(t testing.TB, list []SimulatedOrg, n *Node) SimulatedOrg {
	t.Helper()
	for _, o := range list {
		if o.Org.ID == n.Org() {
			return o
		}
	}
	t.Fatalf("%s is not in %+v", n.OwnCard().Inception.Name, list)
	return SimulatedOrg{}
}

// What a simulation says is what comes about once the agreement is signed.
func TestSimulateSaysWhatComesAbout(t *testing.T) {
	nodes := testNetwork(t, "alice", "bob")
	a, b := nodes[0], nodes[1]
	trustEachOther(t, a, b)
	publishList(t, a, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen, Countries: []string{"TH"}})
	publishList(t, a, "198.51.100.3\n", policy.Flags{TLP: protocol.TLPRed, To: []protocol.OrgID{b.Org()}})
	publishList(t, a, "198.51.100.4\n", policy.Flags{TLP: protocol.TLPGreen, Countries: []string{"VN"}})
	before := fingerprint(t, a)
	draft := testAgreement(a, b, protocol.TLPAmber, "TH")
	out := simulate(t, a, draft)
	if out.Own != 4 || out.Received != 0 || out.Decided != 3 {
		t.Errorf("looked at %d own and %d received records of %d classes", out.Own, out.Received, out.Decided)
	}
	c := simulatedOrg(t, out.Sends, b)
	if c.Now != 0 || c.Planned != 2 || c.Gained != 2 || c.Lost != 0 || c.GainedBy[policy.ReasonNoAgreement] != 2 || len(c.Gains) != 2 || c.Gains[0].Text == "" {
		t.Errorf("%+v", c)
	}
	if fingerprint(t, a) != before {
		t.Error("something was written")
	}

	id := agreeOn(t, a, b, draft)
	if c := simulatedOrg(t, simulate(t, a, draft).Sends, b); c.Now != 2 || c.Planned != 2 || c.Gained != 0 || c.Lost != 0 {
		t.Errorf("a second one of the same: %+v", c)
	}
	// An amendment takes the place of what it amends.
	draft.Previous = id
	draft.Terms[0].Countries = []string{"VN"}
	out = simulate(t, a, draft)
	if c := simulatedOrg(t, out.Sends, b); out.Amends == nil || *out.Amends != id || c.Now != 2 || c.Planned != 1 || c.Gained != 1 || c.Lost != 2 ||
		c.LostBy[policy.ReasonCountry] != 2 || c.GainedBy[policy.ReasonCountry] != 1 || len(c.Losses) != 2 || !strings.Contains(c.Losses[0].Text, "concerns TH") {
		t.Errorf("%+v", c)
	}
	draft.Terms[0].Countries, draft.Terms[0].Confidence = []string{"TH"}, 1
	if c := simulatedOrg(t, simulate(t, a, draft).Sends, b); c.LostBy[policy.ReasonConfidence] != 2 {
		t.Errorf("records that state no confidence: %+v", c)
	}
}

// Of what was received: what could be passed on, and what could no longer come.
func TestSimulateReceived(t *testing.T) {
	nodes := testNetwork(t, "alice", "bob", "carol")
	a, b, c := nodes[0], nodes[1], nodes[2]
	trustEachOther(t, a, b)
	trustEachOther(t, b, c)
	comes := testAgreement(a, b, protocol.TLPAmber, "*")
	comes.Terms[0].Onward.Rule = protocol.OnwardPartners
	id := agreeOn(t, a, b, comes)
	items := readList(t, "198.51.100.1\n198.51.100.2\n")
	items[0].Handling.Onward.Rule = protocol.OnwardPartners // the originator lets only this one go on
	if _, err := a.Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: policy.Flags{TLP: protocol.TLPGreen}}); err != nil {
		t.Fatal(err)
	}
	carryNew(t, a, b)
	if !reads(t, b, "198.51.100.1") {
		t.Fatal("nothing came")
	}
	on := simulatedOrg(t, simulate(t, b, testAgreement(b, c, protocol.TLPGreen, "*")).PassOn, c)
	if on.Now != 0 || on.Planned != 1 || on.GainedBy[policy.ReasonNoAgreement] != 1 || len(on.Gains) != 1 {
		t.Errorf("to pass on: %+v", on)
	}
	agreeOn(t, b, c, testAgreement(b, c, protocol.TLPGreen, "*"))
	comes.Previous, comes.Terms[0].Onward.Rule = id, protocol.OnwardNobody
	out := simulate(t, b, comes)
	if on := simulatedOrg(t, out.PassOn, c); on.Now != 1 || on.Planned != 0 || on.LostBy[policy.ReasonOnward] != 1 {
		t.Errorf("no longer to pass on: %+v", on)
	}
	if in := simulatedOrg(t, out.Comes, a); out.Received != 2 || in.Now != 2 || in.Planned != 2 || in.Lost != 0 {
		t.Errorf("still to come: %+v", in)
	}
	comes.Terms[0].TLP = protocol.TLPClear
	if in := simulatedOrg(t, simulate(t, b, comes).Comes, a); in.Lost != 2 || in.LostBy[policy.ReasonTLP] != 2 {
		t.Errorf("no longer to come: %+v", in)
	}
}

func TestWhatIf(t *testing.T) {
	nodes := testNetwork(t, "alice", "bob", "carol")
	a, b, c := nodes[0], nodes[1], nodes[2]
	trustEachOther(t, a, b)
	trustEachOther(t, b, c)
	comes := testAgreement(a, b, protocol.TLPAmber, "*")
	comes.Terms[0].Onward.Rule = protocol.OnwardPartners
	agreeOn(t, a, b, comes)
	items := readList(t, "198.51.100.1\n")
	items[0].Handling.Onward.Rule = protocol.OnwardPartners
	rec, err := a.Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: policy.Flags{TLP: protocol.TLPGreen}})
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, a, b)
	now, draft := uint64(nowMillis()), testAgreement(b, c, protocol.TLPGreen, "*")
	draft.NotBefore = now + 1000 // it is asked about as if it were in force
	for _, row := range []struct {
		name     string
		n        *Node
		only     *Node
		at       uint64
		planned  *protocol.Agreement
		held, is string // what is said of only
	}{
		{"own, as it is", a, b, now, nil, "ok", ""},
		{"own, before", a, b, 1, nil, "not-in-force", ""},
		{"own, of another", a, c, now, nil, "no-agreement", ""},
		{"received, planned", b, c, now, &draft, "no-agreement", "ok"},
		{"received, not planned", b, c, now, nil, "no-agreement", ""},
	} {
		org := row.only.Org()
		x, err := row.n.WhatIf(rec.Records[0], &org, row.at, row.planned)
		if err != nil || len(x.Orgs) != 1 {
			t.Errorf("%s: %+v, %v", row.name, x, err)
			continue
		}
		is := ""
		if x.Orgs[0].Planned != nil {
			is = string(x.Orgs[0].Planned.Reason)
		}
		if string(x.Orgs[0].Held.Reason) != row.held || is != row.is {
			t.Errorf("%s: %+v, planned %q", row.name, x.Orgs[0].Held, is)
		}
	}
	if x, err := b.WhatIf(rec.Records[0], nil, now, &draft); err != nil || len(x.Orgs) != 1 || x.Orgs[0].Held.Org.ID != c.Org() {
		t.Errorf("of everybody: %+v, %v", x, err)
	}
	if _, err := a.WhatIf(rec.Records[0], nil, now, &draft); err == nil {
		t.Error("an agreement of others is planned")
	}
	if _, err := a.WhatIf(protocol.RecordID{1}, nil, now, nil); err == nil {
		t.Error("a record that is not there")
	}
}

func TestSimulateRefuses(t *testing.T) {
	nodes := testNetwork(t, "alice", "bob", "carol")
	a, b, c := nodes[0], nodes[1], nodes[2]
	over, foreign, unknown := testAgreement(a, b, protocol.TLPGreen, "*"), testAgreement(b, c, protocol.TLPGreen, "*"), testAgreement(a, b, protocol.TLPGreen, "*")
	over.NotAfter = uint64(nowMillis()) - 1
	unknown.Previous[0] = 1
	for want, draft := range map[string]protocol.Agreement{"has ended already": over, "not a party": foreign, "is not known here": unknown} {
		if _, err := a.Simulate(context.Background(), draft, time.Time{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	publishList(t, a, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Simulate(ctx, testAgreement(a, b, protocol.TLPGreen, "*"), time.Time{}); err == nil {
		t.Error("goes on after it was cancelled")
	}
	if out, err := a.Simulate(context.Background(), testAgreement(a, b, protocol.TLPGreen, "*"), time.Now().Add(time.Hour)); err != nil || out.Own != 0 {
		t.Errorf("since a time to come: %+v, %v", out, err)
	}
}

// However many classes there are, no more than a number are kept at once, and each record counts.
func TestSimulateManyClasses(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "alice", "bob")
	a, b := nodes[0], nodes[1]
	draft := testAgreement(a, b, protocol.TLPGreen, "*")
	m, err := a.newSimulator(a.snap.Load(), &draft, uint64(nowMillis()))
	if err != nil {
		t.Fatal(err)
	}
	e := corpus.Entry{Originator: a.Org(), Publisher: a.Org(), Topic: "c2", Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen}}
	const many = simulateClasses + 100
	for i := range many {
		e.Type = fmt.Sprint("x-", i)
		m.add(&e)
		if len(m.classes) > simulateClasses {
			t.Fatalf("%d classes are kept", len(m.classes))
		}
	}
	m.decide()
	if c := m.sends[b.Org()]; c.Gained != many || m.out.Decided != many || len(c.Gains) != simulateExamples {
		t.Errorf("%+v of %d classes", c, m.out.Decided)
	}
}

func TestRenewProposes(t *testing.T) {
	nodes := testNetwork(t, "alice", "bob")
	a, b := nodes[0], nodes[1]
	id := agree(t, a, b, protocol.TLPAmber, "*")
	held, _ := a.Agreement(id)
	if _, err := a.Renew(id, held.Doc.NotAfter); err == nil || !strings.Contains(err.Error(), "ends later") {
		t.Errorf("until its own end: %v", err)
	}
	if _, err := a.Renew(protocol.AgreementID{1}, held.Doc.NotAfter+1000); err == nil || !strings.Contains(err.Error(), "is known here") {
		t.Errorf("unknown: %v", err)
	}
	next, err := a.Renew(id, held.Doc.NotAfter+1000)
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, a, b)
	if err := b.Countersign(next); err != nil {
		t.Fatal(err)
	}
	carryNew(t, b, a)
	for _, n := range nodes {
		was, err := n.Agreement(id)
		is, err2 := n.Agreement(next)
		if err != nil || err2 != nil || was.State != AgreementInForce || is.State != AgreementNotYet || !was.Life.Renewal || was.Life.Superseded != held.Doc.NotAfter {
			t.Errorf("%s until %d, then %s; %v %v", was.State, was.Life.Superseded, is.State, err, err2)
		}
		if got := was.Life.Stage(n.Org(), held.Doc.NotAfter); got != policy.StageRenewed {
			t.Errorf("at its end it is %s", got)
		}
		if text, _ := was.Life.Warning(n.Org(), held.Doc.NotAfter-1); text != "" {
			t.Errorf("warned of its end: %s", text)
		}
		if got := policy.Diff(&was.Doc, &is.Doc, func(o protocol.OrgID) string { return o.Short() }); len(got) != 2 || got[0].Effect != policy.EffectNeither || got[1].Effect != policy.EffectWidens {
			t.Errorf("%+v", got)
		}
	}
}

func TestAmendmentDraft(t *testing.T) {
	nodes := testNetwork(t, "alice", "bob")
	a, b := nodes[0], nodes[1]
	id := agree(t, a, b, protocol.TLPAmber, "*")
	held, _ := a.Agreement(id)
	draft, err := a.Amendment(id)
	if err != nil || draft.Previous != id || draft.NotBefore < held.Doc.NotBefore || draft.NotBefore > uint64(nowMillis()) {
		t.Fatalf("%+v, %v", draft, err)
	}
	if got := policy.Diff(&held.Doc, draft, func(o protocol.OrgID) string { return o.Short() }); len(got) > 1 || len(got) == 1 && got[0].Effect != policy.EffectNeither {
		t.Errorf("changes %+v", got)
	}
	cannot := func(f policy.Finding) bool {
		return f.Severity == policy.SeverityError && strings.Contains(f.Text, "cannot amend")
	}
	if found := a.CheckDraft(draft); slices.ContainsFunc(found, cannot) {
		t.Errorf("found %+v", found)
	}
	if err := a.Terminate(id, "", 0); err != nil {
		t.Fatal(err)
	}
	if found := a.CheckDraft(draft); !slices.ContainsFunc(found, cannot) {
		t.Errorf("found %+v, of what is over", found)
	}
	if _, err := a.Amendment(id); err == nil || !strings.Contains(err.Error(), "amends nothing") {
		t.Errorf("of what is over: %v", err)
	}
	if _, err := a.Renew(id, held.Doc.NotAfter+1000); err == nil || !strings.Contains(err.Error(), "amends nothing") {
		t.Errorf("renewal of what is over: %v", err)
	}
}

// BenchmarkSimulate goes through a corpus of 20,000 records; its time is of one of them.
func BenchmarkSimulate(b *testing.B) {
	nodes := testNetwork(b, "alice", "bob")
	var list strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&list, "198.%d.%d.%d\n", 51+i/65536, i/256%256, i%256)
	}
	publishList(b, nodes[0], list.String(), policy.Flags{TLP: protocol.TLPGreen})
	for b.Loop() {
		simulate(b, nodes[0], testAgreement(nodes[0], nodes[1], protocol.TLPGreen, "*"))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20000, "ns/record")
}
