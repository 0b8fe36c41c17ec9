package misp

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// sightingsOf is a bundle of sightings of the indicator of an attribute, from number from to before to.
func sightingsOf(t *testing.T, attribute string, from, to int) string {
	t.Helper()
	var list []map[string]any
	for i := from; i < to; i++ {
		at := time.Date(2026, 1, 3, 0, 0, i, 0, time.UTC).Format("2006-01-02T15:04:05.000Z")
		list = append(list, map[string]any{"type": "sighting", "spec_version": "2.1", "id": "sighting--" + core.NewUUID(fmt.Sprint("sighting", i)), "created": at, "modified": at,
			"last_seen": at, "sighting_of_ref": "indicator--" + attribute})
	}
	data, err := json.Marshal(map[string]any{"type": "bundle", "id": "bundle--" + core.NewUUID(fmt.Sprint("bundle", from)), "objects": list})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func seenIn(t *testing.T, event core.Fields) (times []string) {
	t.Helper()
	var list []struct{ Sighting []core.Fields }
	if err := json.Unmarshal(event["Attribute"], &list); err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		for _, s := range a.Sighting {
			times = append(times, s.Text("date_sighting"))
		}
	}
	return times
}

// Versions of one indicator in many events, and many sightings of it, make work for the sum of them: a
// sighting is kept once, and of one organisation so many are shown. What a consumer may not see takes no
// place among them.
func TestManySightings(t *testing.T) {
	n := alone(t)
	const events, made = 20, core.MaxOfOrg + 20
	var ids []string
	for e := range events {
		ids = append(ids, core.NewUUID(fmt.Sprint("many", e)))
		// Another time each, and one date: they are versions.
		file := eventFile(ids[e], "1700000001", strings.Replace(attribute(1, ""), "1700000000", fmt.Sprint(1700000000+e), 1))
		publish(t, n, strings.Replace(file, "2026-01-02", "2020-01-01", 1), policy.Flags{Personal: protocol.PersonalNone})
	}
	publish(t, n, sightingsOf(t, core.NewUUID("a1"), 0, made), green)
	i := newInstance(t, n, node.ScopeRead)
	latest := func(made int) string { return fmt.Sprint(time.Date(2026, 1, 3, 0, 0, made-1, 0, time.UTC).Unix()) }
	check := func(newest int) {
		t.Helper()
		for _, id := range ids[:3] {
			var e served
			i.get("GET", "/events/view/"+id, nil, &e)
			if times := seenIn(t, e.Event); len(times) != core.MaxOfOrg || times[len(times)-1] != latest(newest) {
				t.Errorf("event %s has %d sightings: %v", id, len(times), times)
			}
		}
	}
	check(made)
	recs, err := n.Records(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	shelf, kept := i.s.shelf(nil), 0
	for _, ev := range shelf.events {
		kept += len(ev.entries)
	}
	for _, p := range shelf.sightings {
		kept += len(p.entries)
	}
	if kept > len(recs) {
		t.Errorf("%d records are kept as %d", len(recs), kept)
	}
	load(t, n, "@id(\"no-amber\") forbid (principal in Role::\"sink\", action == Action::\"read\", resource) when { resource.tlp == \"amber\" };\n")
	publish(t, n, sightingsOf(t, core.NewUUID("a1"), made, 2*made), policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalNone})
	check(made)

	// The export is bound by the same, and says so.
	var out strings.Builder
	if _, err := n.Reader(nil).Export(t.Context(), &out, node.ExportMISP, 0); err != nil {
		t.Fatal(err)
	}
	var exported struct {
		Response []served
		Notes    []string
	}
	if err := json.Unmarshal([]byte(out.String()), &exported); err != nil || len(exported.Response) != events {
		t.Fatalf("%d events, %v", len(exported.Response), err)
	}
	for _, e := range exported.Response {
		if times := seenIn(t, e.Event); len(times) != core.MaxOfOrg || times[len(times)-1] != latest(2*made) {
			t.Errorf("exported event has %d sightings, the last of %s", len(times), times[len(times)-1])
		}
	}
	if said := strings.Join(exported.Notes, "\n"); strings.Count(said, fmt.Sprintf("%d sightings are left out", 2*made-core.MaxOfOrg)) != events {
		t.Errorf("notes %s", said)
	}
}

// Each topic and each view has a shelf of its own, as long as it is there.
func TestShelves(t *testing.T) {
	n := alone(t)
	if err := n.JoinTopic("other"); err != nil {
		t.Fatal(err)
	}
	if err := n.SetView(&node.View{Name: "c2", Labels: []string{"spring"}}); err != nil {
		t.Fatal(err)
	}
	i := newInstance(t, n, node.ScopeRead)
	feeds := []string{"topic:c2", "topic:other", "c2"}
	ask := func(names ...string) {
		for _, name := range names {
			if status, data, _ := i.call("GET", "/feed/"+name+"/manifest.json", nil); status != 200 {
				t.Errorf("%s: %d %s", name, status, data)
			}
		}
	}
	ask(feeds...)
	before := maps.Clone(i.s.shelves)
	ask(feeds...)
	for _, name := range feeds {
		if before[name] == nil || before[name] != i.s.shelves[name] {
			t.Errorf("the shelf of %s was thrown away", name)
		}
	}
	if status, data, _ := i.call("GET", "/feed/topic:nowhere/manifest.json", nil); status != 404 || len(i.s.shelves) != len(feeds) {
		t.Errorf("a topic that is not there: %d %s, %d shelves", status, data, len(i.s.shelves))
	}
	if err := n.SetView(&node.View{Name: "c2", Labels: []string{"winter"}}); err != nil {
		t.Fatal(err)
	}
	if ask("c2"); i.s.shelves["c2"] == before["c2"] || i.s.shelves["topic:c2"] != before["topic:c2"] {
		t.Error("a view that was set anew has the shelf of the former, or its topic a new one")
	}
	if err := n.RemoveView("c2"); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := i.call("GET", "/feed/c2/manifest.json", nil); status != 404 || i.s.shelves["c2"] != nil {
		t.Errorf("a view that was removed: %d, %d shelves", status, len(i.s.shelves))
	}
}

// When an event began, the order of events and who claimed a UUID first are told by what a consumer may
// see: nothing of them tells of what it may not.
func TestFirstSeen(t *testing.T) {
	vendor, police := pair(t)
	a, b, c := core.NewUUID("A"), core.NewUUID("B"), core.NewUUID("C")
	amber := func(file string) string { return strings.Replace(file, "tlp:green", "tlp:amber", 1) }
	stated := policy.Flags{Personal: protocol.PersonalNone, Countries: []string{"TH"}}
	publish(t, vendor, amber(eventFile(c, "1700000001", attribute(1, ""))), stated)
	carry(t, vendor, police)
	publish(t, police, amber(eventFile(a, "1700000001", attribute(2, ""))), stated)
	publish(t, police, eventFile(b, "1700000001", attribute(3, "")), stated)
	publish(t, police, eventFile(c, "1700000001", attribute(4, "")), stated)
	publish(t, police, eventFile(a, "1700000002", attribute(5, "")), stated)
	publish(t, vendor, eventFile(c, "1700000002", attribute(6, "")), stated)
	carry(t, vendor, police)
	i := newInstance(t, police, node.ScopeRead)
	order := func() (list []string) {
		var index []core.Fields
		i.get("POST", "/events/index", map[string]any{}, &index)
		for _, e := range index {
			list = append(list, e.Text("uuid"))
		}
		return list
	}
	own := core.Key{Originator: vendor.Org(), Name: c}.OwnUUID()
	ownOfPolice := core.Key{Originator: police.Org(), Name: c}.OwnUUID()
	if got, want := strings.Join(order(), " "), strings.Join([]string{c, a, b, ownOfPolice}, " "); got != want {
		t.Errorf("who sees everything is told %s, want %s", got, want)
	}
	load(t, police, "@id(\"no-amber\") forbid (principal in Role::\"sink\", action == Action::\"read\", resource) when { resource.tlp == \"amber\" };\n")
	if got, want := strings.Join(order(), " "), strings.Join([]string{b, c, a, own}, " "); got != want {
		t.Errorf("who sees no amber is told %s, want %s", got, want)
	}
	var e served
	i.get("GET", "/events/view/"+c, nil, &e)
	if live, _ := values(t, e.Event); strings.Join(live, " ") != "c4.example" {
		t.Errorf("the event that came first is said to hold %v", live)
	}
	at, err := i.s.shelf(nil).look(police.Reader(police.PersonOf("misp")), i.now)
	if err != nil {
		t.Fatal(err)
	}
	defer at.done()
	for _, o := range at.all() {
		for _, id := range o.entries {
			if came := at.records[id].came; came.Before(o.first) {
				t.Errorf("event %s began at %v, but holds what came at %v", o.uuid, o.first, came)
			}
		}
		if first := at.records[o.entries[0]]; !first.came.Equal(o.first) {
			t.Errorf("event %s is said to have begun at %v, and what is seen of it at %v", o.uuid, o.first, first.came)
		}
	}
}

// What is erased is forgotten, but for the time.
func TestErased(t *testing.T) {
	n := alone(t)
	rec := publish(t, n, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
	i := newInstance(t, n, node.ScopeRead)
	stamp := func() string {
		var index []core.Fields
		i.get("POST", "/events/index", map[string]any{"minimal": 1}, &index)
		if len(index) == 0 {
			return ""
		}
		return index[0].Text("timestamp")
	}
	if stamp() == "" {
		t.Fatal("no event")
	}
	for k := range rec.Records {
		if _, err := n.Erase(t.Context(), node.EraseRequest{Records: rec.Records[k : k+1], Reason: protocol.EraseRequest}); err != nil {
			t.Fatal(err)
		}
		if at := stamp(); (at == "") != (k == len(rec.Records)-1) {
			t.Errorf("after erasing %d the timestamp is %q", k+1, at)
		}
	}
	s := i.s.shelf(nil)
	if len(s.events)+len(s.own)+len(s.claims)+len(s.records) != 0 {
		t.Errorf("kept: %d events, %d records", len(s.events), len(s.records))
	}
}
