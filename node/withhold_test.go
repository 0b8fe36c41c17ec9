package node

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// withheldWorld is a hub that got a record of a vendor, which may be passed on to a unit and whose
// origin may be withheld; it waits for a person.
func withheldWorld(t *testing.T, list string, change func(*intake.Item)) (vendor, hub, unit *Node, number uint64) {
	t.Helper()
	nodes := chain(t, nil, "Vendor", "Hub", "Unit")
	vendor, hub, unit = nodes[0], nodes[1], nodes[2]
	if err := hub.SetRelease(context.Background(), ReleaseAsk, false); err != nil {
		t.Fatal(err)
	}
	items := readList(t, list)
	for i := range items {
		items[i].Handling.Onward, items[i].Handling.Origin = partners, protocol.OriginWithheld
		if change != nil {
			change(&items[i])
		}
	}
	if _, err := vendor.Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: amber()}); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	waits, err := hub.Releases(false)
	if err != nil || len(waits) != 1 {
		t.Fatalf("%+v, %v", waits, err)
	}
	return vendor, hub, unit, waits[0].Number
}

func releaseWithheld(t *testing.T, hub *Node, number uint64) {
	t.Helper()
	if r, err := hub.ApproveRelease(context.Background(), number, "A", true); err != nil || r.State != "passed on" || !r.Withheld {
		t.Fatalf("%+v, %v", r, err)
	}
}

// saysNothingOf fails if a record that a reader has says whose it is.
func saysNothingOf(t *testing.T, reader *Node, rec Record, vendor *Node, original Record) {
	t.Helper()
	e := ownEntry(t, reader, rec.ID)
	_, plain, _, err := reader.ownPlain(e.Feed, e.Seq)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"id": func() []byte { o := vendor.Org(); return o[:] }(), "name": []byte("Vendor"), "text of its id": []byte(vendor.Org().String()),
		"record": original.ID[:], "STIX id": []byte(original.StixID)} {
		if bytes.Contains(plain, b) {
			t.Errorf("what the reader opens holds the %s of its origin", what)
		}
	}
}

func ownEntry(t *testing.T, n *Node, id protocol.RecordID) (place protocol.EntryRef) {
	t.Helper()
	if err := n.viewIndex(func(tx *store.Tx) error {
		e, err := n.getEntry(tx, id)
		if err == nil {
			place = protocol.EntryRef{Feed: e.Feed, Seq: e.Seq}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return place
}

// TestOriginWithheld: a copy is the publisher's own, says that its origin is withheld and nothing of
// whose it was, and the publisher can prove it.
func TestOriginWithheld(t *testing.T) {
	vendor, hub, unit, number := withheldWorld(t, "198.51.100.1\n198.51.100.2\n", nil)
	plan, err := hub.PlanWithheld(number)
	if err != nil || plan.Records != 2 || len(plan.Refused) > 0 || len(plan.To) != 1 || plan.To[0].Name != "Unit" || !slices.Contains(plan.Removed, "name") {
		t.Fatalf("the plan is %+v, %v", plan, err)
	}
	releaseWithheld(t, hub, number)
	nodes := []*Node{vendor, hub, unit}
	along(t, nodes)
	original := heldRecord(t, vendor, "198.51.100.1")
	got := heldRecord(t, unit, "198.51.100.1")
	if got.Originator.Name != "Hub" || got.Publisher.Name != "Hub" || !got.Withheld || got.ID == original.ID || got.StixID == original.StixID || got.Handling.Onward != "nobody" {
		t.Errorf("it is read as %+v", got)
	}
	saysNothingOf(t, unit, got, vendor, original)
	if list, _, err := vendor.Search(Query{Value: "198.51.100.1"}); err != nil || len(list) != 1 {
		t.Errorf("its originator has %d of it, %v", len(list), err)
	}
	x, err := unit.Explain(got.ID, nil)
	if err != nil || !x.Record.Withheld || len(x.PassOn) > 0 || slices.ContainsFunc(x.Path, func(h Hop) bool { return h.Org.Name == "Vendor" }) {
		t.Errorf("it is explained as %+v, %v", x, err)
	}

	file, err := hub.ProveOrigin(context.Background(), got.ID)
	if err != nil {
		t.Fatal(err)
	}
	o, err := ReadOriginProof(file)
	if err != nil || o.Publisher.Name != "Hub" || o.Originator.ID != vendor.Org() || o.Record != got.ID.String() || o.Original != original.ID.String() || len(o.PassedOn) > 0 {
		t.Errorf("it is proven as %+v, %v", o, err)
	}
	if bytes.Contains(file, []byte("198.51.100.1")) {
		t.Error("the proof holds what the record says")
	}
	for i := 3; i < len(file); i += 97 {
		bad := slices.Clone(file)
		bad[i] ^= 1
		if again, err := ReadOriginProof(bad); err == nil && again.Originator.ID != vendor.Org() {
			t.Errorf("with byte %d altered it proves that %s made it", i, again.Originator.ID)
		}
	}
	if _, err := hub.ProveOrigin(context.Background(), original.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("of a record whose origin is not withheld: %v", err)
	}
	if _, err := unit.ProveOrigin(context.Background(), got.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("by its reader: %v", err)
	}
	// Once: who has a copy is given neither another nor the original.
	if err := hub.SetRelease(context.Background(), ReleaseAuto, true); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	if list, _, err := unit.Search(Query{Value: "198.51.100.1"}); err != nil || len(list) != 1 {
		t.Errorf("the reader has %d of it, %v", len(list), err)
	}
}

// TestI2OriginNotWithheld: without the originator's leave, and of what would tell whose it is, nothing
// is published with its origin withheld; openly it may be passed on.
func TestI2OriginNotWithheld(t *testing.T) {
	t.Parallel()
	bundle := func(properties string) string {
		return `{"type":"bundle","id":"bundle--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b10","objects":[{"type":"indicator","spec_version":"2.1","id":"indicator--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11",` +
			`"created":"2026-01-31T12:00:00.000Z","modified":"2026-01-31T12:00:00.000Z","valid_from":"2026-01-31T12:00:00.000Z","pattern_type":"stix",` + properties + `}]}`
	}
	for name, tc := range map[string]struct {
		list   string
		change func(*intake.Item)
		says   string
	}{
		"no leave":            {list: "198.51.100.1\n", change: func(i *intake.Item) { i.Handling.Origin = protocol.OriginUnset }, says: "does not let whose it is be withheld"},
		"to be named":         {list: "198.51.100.1\n", change: func(i *intake.Item) { i.Handling.Origin = protocol.OriginNamed }, says: "does not let whose it is be withheld"},
		"a pattern's name":    {list: bundle(`"pattern":"[url:value = 'https://ven-dor.example/1']"`), says: `holds the name "Vendor"`},
		"a comment":           {list: bundle(`"pattern":"[url:value = 'https://a.example/1'] /* ours */"`), says: "holds a comment"},
		"a type of one's own": {list: bundle(`"pattern":"[x-vend:id = '1']"`), says: "somebody's own"},
		"another type":        {list: strings.NewReplacer(`"indicator`, `"malware`, `"pattern_type":"stix",`, `"is_family":false`).Replace(bundle("")), says: "of type malware cannot be withheld"},
	} {
		t.Run(name, func(t *testing.T) {
			vendor, hub, unit, number := withheldWorld(t, tc.list, tc.change)
			_, err := hub.ApproveRelease(context.Background(), number, "A", true)
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("it says %v", err)
			}
			along(t, []*Node{vendor, hub, unit})
			if n := count(t, unit); n != 0 {
				t.Errorf("%d records came", n)
			}
			if r, err := hub.ApproveRelease(context.Background(), number, "A", false); err != nil || r.State != "passed on" || r.Withheld {
				t.Fatalf("openly: %+v, %v", r, err)
			}
		})
	}
}

func count(t *testing.T, n *Node) int {
	t.Helper()
	list, _, err := n.Search(Query{})
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestWithheldByTwo: all who approve a release want the same.
func TestWithheldByTwo(t *testing.T) {
	ctx := context.Background()
	_, hub, _, number := withheldWorld(t, "198.51.100.1\n", nil)
	loadRules(t, hub, `@persons("2") forbid (principal, action == Action::"passOn", resource);`)
	if r, err := hub.ApproveRelease(ctx, number, "A", true); err != nil || r.State != "waiting" || !r.Withheld {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := hub.ApproveRelease(ctx, number, "B", false); err == nil || !strings.Contains(err.Error(), "with its origin withheld") {
		t.Errorf("another form: %v", err)
	}
	if r, err := hub.ApproveRelease(ctx, number, "B", true); err != nil || r.State != "passed on" {
		t.Fatalf("%+v, %v", r, err)
	}
}

// TestOriginalTakenBack: what its originator says of the original counts for the copy, and is not told
// to who must not learn of it.
func TestOriginalTakenBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("withdrawn", func(t *testing.T) {
		vendor, hub, unit, number := withheldWorld(t, "198.51.100.1\n", nil)
		releaseWithheld(t, hub, number)
		nodes := []*Node{vendor, hub, unit}
		along(t, nodes)
		id := heldRecord(t, unit, "198.51.100.1").ID
		if err := vendor.Withdraw(ctx, []protocol.RecordID{heldRecord(t, vendor, "198.51.100.1").ID}, "false positive"); err != nil {
			t.Fatal(err)
		}
		along(t, nodes)
		x, err := unit.Explain(id, nil)
		if err != nil || !x.Record.Withdrawn || x.Record.WithdrawReason != "false positive" {
			t.Errorf("the copy is not withdrawn: %+v, %v", x, err)
		}
	})
	t.Run("erased", func(t *testing.T) {
		vendor, hub, unit, number := withheldWorld(t, "198.51.100.1\n198.51.100.2\n", nil)
		releaseWithheld(t, hub, number)
		nodes := []*Node{vendor, hub, unit}
		along(t, nodes)
		id := heldRecord(t, unit, "198.51.100.1").ID
		if _, err := vendor.Erase(ctx, EraseRequest{Records: []protocol.RecordID{heldRecord(t, vendor, "198.51.100.1").ID}, Reason: protocol.EraseLegal}); err != nil {
			t.Fatal(err)
		}
		for range nodes {
			for _, n := range nodes {
				n.tryErasures()
				if err := n.passDue(ctx); err != nil {
					t.Fatal(err)
				}
			}
			syncBoth(t, nodes...)
		}
		for _, n := range nodes {
			wantReads(t, n, "198.51.100.1", false)
			wantReads(t, n, "198.51.100.2", true)
		}
		file, err := hub.ProveOrigin(ctx, id) // which holds nothing that was erased
		if err != nil {
			t.Fatal(err)
		}
		if o, err := ReadOriginProof(file); err != nil || o.Originator.ID != vendor.Org() {
			t.Errorf("%+v, %v", o, err)
		}
	})
	t.Run("excluded", func(t *testing.T) {
		vendor, hub, unit, number := withheldWorld(t, "198.51.100.1\n", nil)
		releaseWithheld(t, hub, number)
		nodes := []*Node{vendor, hub, unit}
		along(t, nodes)
		id := heldRecord(t, unit, "198.51.100.1").ID
		if err := vendor.Exclude(ctx, []protocol.RecordID{heldRecord(t, vendor, "198.51.100.1").ID}, []protocol.OrgID{unit.Org()}); err != nil {
			t.Fatal(err)
		}
		along(t, nodes)
		if err := hub.viewIndex(func(tx *store.Tx) error {
			not, _, err := excludedFrom(tx, id, hub.Org(), protocol.OrgID{})
			if !slices.Contains(not, unit.Org()) {
				t.Error("the copy would be sealed for who is excluded")
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if list, err := unit.Exclusions(); err != nil || len(list) != 0 {
			t.Errorf("the excluded reader is told %+v, %v", list, err)
		}
	})
	t.Run("before it is released", func(t *testing.T) {
		vendor, hub, unit, number := withheldWorld(t, "198.51.100.1\n", nil)
		nodes := []*Node{vendor, hub, unit}
		if err := vendor.Exclude(ctx, []protocol.RecordID{heldRecord(t, vendor, "198.51.100.1").ID}, []protocol.OrgID{unit.Org()}); err != nil {
			t.Fatal(err)
		}
		along(t, nodes)
		if r, err := hub.ApproveRelease(ctx, number, "A", true); err != nil || r.State != "void" {
			t.Fatalf("%+v, %v", r, err)
		}
		along(t, nodes)
		wantReads(t, unit, "198.51.100.1", false)
	})
}

// TestWithheldOverAHop: of what came by way of another neither the originator nor that one gets a copy,
// and the proof names both.
func TestWithheldOverAHop(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	nodes := chain(t, nil, "Vendor", "First", "Hub", "Unit")
	vendor, first, hub, unit := nodes[0], nodes[1], nodes[2], nodes[3]
	for _, back := range []*Node{vendor, first} { // the hub publishes to them, too
		trustEachOther(t, hub, back)
		agreeOn(t, hub, back, testAgreement(hub, back, protocol.TLPAmber, "*"))
	}
	automatic(t, first)
	if err := hub.SetRelease(ctx, ReleaseAsk, false); err != nil {
		t.Fatal(err)
	}
	items := readList(t, "198.51.100.1\n")
	items[0].Handling.Onward, items[0].Handling.Origin, items[0].Handling.RetentionDays = partners, protocol.OriginWithheld, 9
	if _, err := vendor.Publish(ctx, PublishRequest{Topic: "c2", Items: items, Flags: amber()}); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	waits, err := hub.Releases(false)
	if err != nil || len(waits) != 1 || len(waits[0].To) != 1 || waits[0].To[0].Name != "Unit" {
		t.Fatalf("%+v, %v", waits, err)
	}
	releaseWithheld(t, hub, waits[0].Number)
	along(t, nodes)
	got := heldRecord(t, unit, "198.51.100.1")
	if got.Handling.RetentionDays == 0 || got.Handling.RetentionDays > 9 {
		t.Errorf("it may be kept for %d days", got.Handling.RetentionDays)
	}
	for _, n := range []*Node{vendor, first} {
		if list, _, err := n.Search(Query{Value: "198.51.100.1"}); err != nil || len(list) != 1 || list[0].Withheld {
			t.Errorf("%s has %+v, %v", n.OwnCard().Inception.Name, list, err)
		}
	}
	file, err := hub.ProveOrigin(ctx, got.ID)
	if err != nil {
		t.Fatal(err)
	}
	o, err := ReadOriginProof(file)
	if err != nil || o.Originator.Name != "Vendor" || len(o.PassedOn) != 1 || o.PassedOn[0].Name != "First" {
		t.Errorf("it is proven as %+v, %v", o, err)
	}
}

// TestWithheldIsNoHistory: a new partner whose term lets it read what was before is given no copy.
func TestWithheldIsNoHistory(t *testing.T) {
	vendor, hub, unit, number := withheldWorld(t, "198.51.100.1\n", nil)
	releaseWithheld(t, hub, number)
	publishList(t, hub, "198.51.100.9\n", amber())
	trustEachOther(t, hub, vendor)
	doc := testAgreement(hub, vendor, protocol.TLPAmber, "*")
	doc.Terms[0].HistoryDays = 30
	agreeOn(t, hub, vendor, doc)
	along(t, []*Node{vendor, hub, unit})
	wantReads(t, vendor, "198.51.100.9", true)
	if list, _, err := vendor.Search(Query{Value: "198.51.100.1"}); err != nil || len(list) != 1 {
		t.Errorf("its originator has %d of it, %v", len(list), err)
	}
}

// TestSiblingOriginJoins: a sibling takes where a copy came from if the copy commits to it, once.
func TestSiblingOriginJoins(t *testing.T) {
	vendor, hub, unit, number := withheldWorld(t, "198.51.100.1\n", nil)
	releaseWithheld(t, hub, number)
	along(t, []*Node{vendor, hub, unit})
	id := heldRecord(t, unit, "198.51.100.1").ID
	var o *protocol.SiblingOrigin
	read := func() *protocol.SiblingOrigin {
		t.Helper()
		var o *protocol.SiblingOrigin
		if err := hub.st.View(func(tx *store.Tx) (err error) { o, err = originOf(tx, id); return err }); err != nil {
			t.Fatal(err)
		}
		return o
	}
	if o = read(); o == nil {
		t.Fatal("nothing is kept of the origin")
	}
	if err := hub.st.Update(func(tx *store.Tx) error { return tx.Delete(append([]byte(kindOrigin), id[:]...)) }); err != nil {
		t.Fatal(err)
	}
	item := func(o *protocol.SiblingOrigin) []byte {
		return protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingOriginItem, Content: protocol.Encode(o)})
	}
	bad := *o
	bad.Salt[0] ^= 1
	if err := hub.takeSiblingItems([][]byte{item(&bad)}); err != nil || read() != nil {
		t.Errorf("what the copy does not commit to is taken: %v", err)
	}
	if err := hub.takeSiblingItems([][]byte{item(o), item(o)}); err != nil || read() == nil {
		t.Errorf("it is not taken: %v", err)
	}
	if _, err := hub.ProveOrigin(context.Background(), id); err != nil {
		t.Error(err)
	}
}
