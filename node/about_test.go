package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func aboutOf(t testing.TB, n *Node, value string) *About {
	t.Helper()
	a, err := n.Reader(nil).About(context.Background(), AboutQuery{Value: value})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// someone is an identity with a name and a description.
func someone(t testing.TB, number int, name, description string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"type": "identity", "spec_version": "2.1", "id": fmt.Sprintf("identity--311b2d2d-f010-4473-83ec-%012d", number),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "name": name, "description": description, "identity_class": "individual"})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func publishObjects(t testing.TB, n *Node, o protocol.Onward, f policy.Flags, objects ...string) *Receipt {
	t.Helper()
	in, err := intake.Read("stix", strings.NewReader(`{"type":"bundle","id":"bundle--5d0092c5-5f74-4287-9642-33f4c354e56d","objects":[`+strings.Join(objects, ",")+`]}`), intake.Options{})
	if err != nil || len(in.Problems) > 0 {
		t.Fatal(err, in.Problems)
	}
	for i := range in.Items {
		in.Items[i].Handling.Onward = o
	}
	rec, err := n.Publish(context.Background(), PublishRequest{Topic: "c2", Items: in.Items, Flags: f})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestAbout: whatever is held about a value is found, with the way that it came, why it is here, how long,
// who has it and what else concerns it; what cannot be looked into is counted.
func TestAbout(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Unit")
	vendor, hub, unit := nodes[0], nodes[1], nodes[2]
	automatic(t, nodes...)
	days := policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalAll, RetentionDays: 30}
	publishObjects(t, vendor, partners, days, someone(t, 1, "Example Person", "seen with e.person@example.org"), someone(t, 2, "Somebody Else", "nothing"))
	publishObjects(t, vendor, protocol.Onward{}, policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalAll, Exclude: []protocol.OrgID{hub.Org()}}, someone(t, 3, "Example Person", "for the vendor only"))
	along(t, nodes)
	var out strings.Builder
	if _, err := hub.Export(context.Background(), &out, ExportJSONL, 0); err != nil {
		t.Fatal(err)
	}
	receiptsFrom(t, hub, unit)
	id := aboutOf(t, hub, "example  PERSON").Records[0].ID
	holdOn(t, hub, HoldRequest{Value: "e.person@example.org"})
	if _, err := hub.AskErasure(context.Background(), AskRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal, Due: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	a := aboutOf(t, hub, "example  PERSON")
	if len(a.Records) != 1 || a.More || a.Scanned != 2 {
		t.Fatalf("%d records of %d that were gone through", len(a.Records), a.Scanned)
	}
	r := &a.Records[0]
	var way, gave []string
	for _, h := range r.Path {
		way = append(way, h.Org.Name+" "+h.Role)
	}
	for _, x := range r.Recipients {
		gave = append(gave, fmt.Sprint(x.Org.Name, " ", x.Opened != nil))
	}
	left := time.Until(*r.Ends)
	if r.Match != "text" || r.Own || r.Why == nil || r.Why.Term != 1 || r.Why.Agreement == "" || r.Personal == "" || !slices.Equal(way, []string{"Vendor originator", "Vendor publisher"}) ||
		!slices.Equal(gave, []string{"Unit true"}) || left < 29*24*time.Hour || left > 31*24*time.Hour || len(r.Holds) != 1 || len(r.Asked) != 2 {
		t.Errorf("record: way %v, given to %v, left %s, %+v", way, gave, left, r)
	}
	if len(a.Holds) != 1 || len(a.Asks) != 2 || len(a.Handouts) != 1 || a.Closed.ForOthers != 1 {
		t.Errorf("%d holds, %d requests, %d handouts, not looked into %+v", len(a.Holds), len(a.Asks), len(a.Handouts), a.Closed)
	}
	names := map[string]bool{}
	for _, e := range a.Audit {
		names[e.Act+" by "+e.Names] = true
	}
	for _, want := range []string{"find all about by record", "ask to erase by record", "pass on by record"} {
		if !names[want] {
			t.Errorf("audit: no %q in %v", want, names)
		}
	}
	if b := aboutOf(t, unit, "e.person@example.org"); len(b.Records) != 1 || len(b.Records[0].Path) != 2 || b.Records[0].Path[1].Org.Name != "Hub" {
		t.Errorf("at the unit: %+v", b.Records)
	}
	if b, err := hub.Reader(nil).About(context.Background(), AboutQuery{Value: "Example Person", Exact: true}); err != nil || len(b.Records) != 0 || b.Scanned != 0 {
		t.Errorf("by the index alone: %+v, %v", b, err)
	}
	for _, bad := range []string{"", strings.Repeat("x", protocol.MaxTextSize+1)} {
		if _, err := hub.Reader(nil).About(context.Background(), AboutQuery{Value: bad}); protocol.Class(err) != "malformed" {
			t.Errorf("about %d bytes: %v", len(bad), err)
		}
	}
	if d := acts(account(t, hub), audit.Disclose); d[len(d)-1].Act != "find all about" {
		t.Errorf("what was shown is noted as %q", d[len(d)-1].Act)
	}
}

// TestAboutSetAside: what waits for release and what was set aside is found, as far as it opens.
func TestAboutSetAside(t *testing.T) {
	nodes := chain(t, func(i int, doc *protocol.Agreement) {
		if i == 0 {
			doc.Terms[0].Kinds = []string{"identity"}
		}
	}, "Vendor", "Hub", "Unit")
	vendor, hub := nodes[0], nodes[1]
	if err := hub.SetRelease(context.Background(), ReleaseAsk, false); err != nil {
		t.Fatal(err)
	}
	publishObjects(t, vendor, partners, policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalAll}, someone(t, 1, "Example Person", ""))
	along(t, nodes)
	if a := aboutOf(t, hub, "Example Person"); len(a.Records) != 1 || len(a.Releases) != 1 || len(a.Quarantine) != 0 {
		t.Errorf("%d records, %d releases, %d set aside", len(a.Records), len(a.Releases), len(a.Quarantine))
	}
	loadRules(t, hub, "@id(\"no-receive\") forbid (principal, action == Action::\"receive\", resource);")
	publishObjects(t, vendor, partners, policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalAll}, someone(t, 2, "Another Person", ""), someone(t, 3, "Third Person", ""))
	carryNew(t, vendor, hub)
	a := aboutOf(t, hub, "Another Person")
	if len(a.Records) != 0 || len(a.Quarantine) != 1 || a.Quarantine[0].Match != "text" || !strings.HasSuffix(a.Quarantine[0].StixID, "02") {
		t.Errorf("%d records, set aside %+v", len(a.Records), a.Quarantine)
	}
	docs, err := hub.quarantined("")
	if err != nil || len(docs) != 2 {
		t.Fatalf("%d set aside, %v", len(docs), err)
	}
	place := protocol.EntryRef{Feed: docs[0].Feed, Seq: docs[0].Seq}
	out, err := hub.Reader(nil).EraseAbout(context.Background(), EraseAbout{Value: "Another Person", Reason: protocol.EraseLegal})
	if err != nil || out.Set != 1 || bodyHeld(t, hub, place) {
		t.Errorf("%+v, %v; the body is held: %v", out, err, bodyHeld(t, hub, place))
	}
	if a := aboutOf(t, hub, "Another Person"); len(a.Quarantine) != 0 {
		t.Errorf("set aside still: %+v", a.Quarantine)
	}
	loadRules(t, hub, "")
	carryNew(t, vendor, hub)
	if a := aboutOf(t, hub, "Another Person"); len(a.Records) != 0 {
		t.Error("what was erased came back when the rule went")
	}
}

// TestAboutSeesWhatMayBeRead: what a person may not read is not there for them, whichever way it is found,
// and is not erased by them.
func TestAboutSeesWhatMayBeRead(t *testing.T) {
	n := testNetwork(t, "Author")[0]
	publishList(t, n, "198.51.100.1\n", green)
	publishList(t, n, "198.51.100.1/32\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPRed, Personal: protocol.PersonalNone, To: []protocol.OrgID{n.Org()}})
	holdOn(t, n, HoldRequest{Value: "198.51.100.2"})
	eraseValue(t, n, "198.51.100.2")
	loadRules(t, n, noRed)
	ann := n.PersonOf("ann")
	for who, want := range map[*rules.Principal][2]int{ann: {1, 0}, {ID: "root", Roles: []string{}}: {2, 1}} {
		r := n.Reader(who)
		a, err := r.About(context.Background(), AboutQuery{Value: "198.51.100.1"})
		if err != nil || len(a.Records) != want[0] {
			t.Errorf("%s: %d records, %v", who.ID, len(a.Records), err)
		}
		if a, err := r.About(context.Background(), AboutQuery{Value: "198.51.100.2"}); err != nil || len(a.Kept) != want[1] {
			t.Errorf("%s: %d kept, %v", who.ID, len(a.Kept), err)
		}
	}
	out, err := n.Reader(ann).EraseAbout(context.Background(), EraseAbout{Value: "198.51.100.1", Reason: protocol.EraseLegal})
	if err != nil || out.Report == nil || out.Report.Erased != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	loadRules(t, n, "")
	if a := aboutOf(t, n, "198.51.100.1"); len(a.Records) != 1 || a.Records[0].Handling.TLP != "red" {
		t.Errorf("left are %+v", a.Records)
	}
}

// TestEraseAbout: a dry run changes nothing and says what the erasure then does; those who have it are
// asked first.
func TestEraseAbout(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Partner")
	author, reader, partner := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	agree(t, reader, partner, protocol.TLPGreen, "*")
	publishObjects(t, author, protocol.Onward{}, policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalAll}, someone(t, 1, "Example Person", ""), someone(t, 2, "Somebody Else", ""))
	publishObjects(t, reader, protocol.Onward{}, policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalAll}, someone(t, 3, "Example Person", "known here"))
	syncBoth(t, nodes...)
	q := EraseAbout{Value: "Example Person", Reason: protocol.EraseLegal, DryRun: true, Ask: true, Due: time.Now().Add(time.Hour), Onward: true}
	out, err := reader.Reader(nil).EraseAbout(context.Background(), q)
	if err != nil || len(out.Records) != 2 || out.Others != 1 || out.Here != 1 || len(out.WouldAsk) != 2 || out.Report != nil || len(out.Asked) != 0 {
		t.Fatalf("dry run: %+v, %v", out, err)
	}
	if a := aboutOf(t, reader, "Example Person"); len(a.Records) != 2 {
		t.Fatal("the dry run erased something")
	}
	askedBy(t, reader, 0)
	q.DryRun = false
	if out, err = reader.Reader(nil).EraseAbout(context.Background(), q); err != nil || out.Report.Erased != 2 || out.Report.Local != 1 || len(out.Asked) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	syncBoth(t, nodes...)
	if a := aboutOf(t, reader, "Example Person"); len(a.Records) != 0 {
		t.Errorf("%d records are left", len(a.Records))
	}
	if a := aboutOf(t, reader, "Somebody Else"); len(a.Records) != 1 {
		t.Error("what was not meant is erased")
	}
	requestsAt(t, author, 1)
	requestsAt(t, partner, 1)
	if a := aboutOf(t, partner, "Example Person"); len(a.Records) != 0 {
		t.Error("the partner shows what its publisher erased")
	}
}

// TestPropsAboutFindsAll: what is found is what the objects mention, whatever was published and whatever
// was erased of it.
func TestPropsAboutFindsAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := testNetwork(t, "Author")[0]
		defer n.Close()
		var objects, names []string
		for i := range rapid.IntRange(1, 12).Draw(rt, "objects") {
			name := rapid.SampledFrom([]string{"Anna", "anna b", "Annabel", "hanna", "B ANNA", "other"}).Draw(rt, "name")
			names, objects = append(names, name), append(objects, someone(t, i, name, ""))
		}
		rec := publishObjects(t, n, protocol.Onward{}, policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalAll}, objects...)
		want := map[protocol.RecordID]bool{}
		for i, id := range rec.Records {
			want[id] = slices.Contains(strings.Fields(strings.ToLower(names[i])), "anna")
		}
		if gone := rec.Records[0]; rapid.Bool().Draw(rt, "erase") {
			if _, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{gone}, Reason: protocol.EraseLegal}); err != nil {
				rt.Fatal(err)
			}
			want[gone] = false
		}
		found := map[protocol.RecordID]bool{}
		for _, r := range aboutOf(t, n, "ANNA").Records {
			found[r.ID] = true
		}
		for i, id := range rec.Records {
			if found[id] != want[id] {
				rt.Errorf("%q: found %v", names[i], found[id])
			}
		}
	})
}
