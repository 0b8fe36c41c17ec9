package misp

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

type served struct{ Event core.Fields }

func values(t *testing.T, e core.Fields) (live, deleted []string) {
	t.Helper()
	var list []core.Fields
	if err := json.Unmarshal(e["Attribute"], &list); err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.True("deleted") {
			deleted = append(deleted, a.Text("value"))
		} else {
			live = append(live, a.Text("value"))
		}
	}
	slices.Sort(live)
	slices.Sort(deleted)
	return live, deleted
}

// TestPull makes the calls of a pull: test the connection, index, fetch what is new, sightings.
func TestPull(t *testing.T) {
	n := alone(t)
	uuid := core.NewUUID("e1")
	publish(t, n, eventFile(uuid, "1700000001", attribute(1, ""), attribute(2, `,"Sighting":[{"uuid":"`+core.NewUUID("s1")+`","type":"0","date_sighting":"1700000002","source":"x"}]`)), policy.Flags{Personal: protocol.PersonalNone})
	list := publish(t, n, "198.51.100.1\nhttp://bad.example/x\n", green)
	i := newInstance(t, n, node.ScopeRead)

	var version struct {
		Version          string
		Sync             bool     `json:"perm_sync"`
		Encoding         []string `json:"request_encoding"`
		FiltersSightings bool     `json:"filter_sightings"`
	}
	i.get("GET", "/servers/getVersion", nil, &version)
	if version.Version != "2.4.190" || version.Sync || version.Encoding == nil || !version.FiltersSightings {
		t.Errorf("version %+v", version)
	}
	var tested struct {
		Body    struct{ TestString string }
		Headers map[string]string
	}
	i.get("POST", "/servers/postTest", map[string]string{"testString": "Test with some ♥"}, &tested)
	if tested.Body.TestString != "Test with some ♥" || tested.Headers["Accept"] != "application/json" || tested.Headers["Content-type"] != "application/json" {
		t.Errorf("tested %+v", tested)
	}
	var me struct{ User, Role, Organisation core.Fields }
	i.get("GET", "/users/view/me.json", nil, &me)
	if me.User.Text("email") != "misp" || me.Role.True("perm_sync") || me.Organisation.Text("name") != "Alice" {
		t.Errorf("me %v", me)
	}

	var index []core.Fields
	i.get("POST", "/events/index", map[string]any{"minimal": 1, "published": 1}, &index)
	if len(index) != 2 {
		t.Fatalf("index %v", index)
	}
	stamps := map[string]string{}
	for _, e := range index {
		if !e.True("published") || e.Text("orgc_uuid") == "" || e.Text("timestamp") == "" {
			t.Errorf("entry %v", e)
		}
		stamps[e.Text("uuid")] = e.Text("timestamp")
	}
	if stamps[uuid] == "" {
		t.Fatalf("event is not in the index: %v", stamps)
	}
	pulled := "/deleted%5B%5D:0/deleted%5B%5D:1/excludeGalaxy:1/includeEventCorrelations:0/includeFeedCorrelations:0/includeWarninglistHits:0/excludeLocalTags:1"
	for id, at := range stamps {
		var e served
		i.get("GET", "/events/view/"+id+pulled, nil, &e)
		if e.Event.Text("uuid") != id || e.Event.Text("timestamp") != at || !e.Event.True("published") || e.Event.Text("publish_timestamp") != at {
			t.Errorf("event %s is of %s, the index says %s", e.Event.Text("uuid"), e.Event.Text("timestamp"), at)
		}
		live, _ := values(t, e.Event)
		want := []string{"198.51.100.1", "http://bad.example/x"}
		if id == uuid {
			want = []string{"c1.example", "c2.example"}
		}
		if !slices.Equal(live, want) {
			t.Errorf("event %s has %v", id, live)
		}
	}
	var sightings struct {
		Response []struct{ Sighting core.Fields }
	}
	i.get("POST", "/sightings/restSearch/event", map[string]any{"returnFormat": "json", "last": 0, "includeUuid": true, "uuid": []string{uuid}}, &sightings)
	if len(sightings.Response) != 1 || sightings.Response[0].Sighting.Text("attribute_uuid") != core.NewUUID("a2") || sightings.Response[0].Sighting.Text("date_sighting") != "1700000002" {
		t.Errorf("sightings %v", sightings)
	}

	// A withdrawal propagates: the timestamp grows, the attribute comes as deleted, by default it does not.
	before := stamps
	i.now = i.now.Add(time.Minute)
	if err := n.Withdraw(t.Context(), list.Records[:1], "no longer"); err != nil {
		t.Fatal(err)
	}
	i.get("POST", "/events/index", map[string]any{"minimal": 1, "published": 1}, &index)
	for _, e := range index {
		id := e.Text("uuid")
		if (e.Text("timestamp") > before[id]) != (id != uuid) && id == uuid {
			t.Errorf("timestamp of %s went from %s to %s", id, before[id], e.Text("timestamp"))
		}
		if id == uuid {
			continue
		}
		var all, some served
		i.get("GET", "/events/view/"+id+pulled, nil, &all)
		i.get("GET", "/events/view/"+id, nil, &some)
		live, gone := values(t, all.Event)
		if len(live) != 1 || len(gone) != 1 {
			t.Errorf("after the withdrawal: %v, deleted %v", live, gone)
		}
		if live, gone := values(t, some.Event); len(live) != 1 || len(gone) != 0 {
			t.Errorf("without deleted: %v, deleted %v", live, gone)
		}
		// All of it withdrawn: an instance passes over empty events, so something stays.
		if err := n.Withdraw(t.Context(), list.Records[1:], "no longer"); err != nil {
			t.Fatal(err)
		}
		i.get("GET", "/events/view/"+id+pulled, nil, &all)
		if live, gone := values(t, all.Event); !slices.Equal(live, []string{"withdrawn by its originator"}) || len(gone) != 2 {
			t.Errorf("all withdrawn: %v, deleted %v", live, gone)
		}
	}
	for _, path := range []string{"/events/view/" + core.NewUUID("none"), "/events/view/1", "/nothing", "/events/view/" + strings.Repeat("x", 5000)} {
		status, data, _ := i.call("GET", path, nil)
		var e struct{ Name, Message, URL string }
		if err := json.Unmarshal(data, &e); status != 404 || err != nil || e.Name == "" || e.Message == "" || e.URL == "" {
			t.Errorf("%.40s: %d %s", path, status, data)
		}
	}
	if list, err := n.Handouts(); err != nil || len(list) != 1 || list[0].Kind != node.HandoutMISP || list[0].Records == 0 || !strings.HasPrefix(list[0].Detail, "for ") {
		t.Errorf("hand-outs %+v, %v", list, err)
	}
}

// TestPush makes the calls of a push: what is wanted, new events, edits, deletions, sightings.
func TestPush(t *testing.T) {
	n := alone(t)
	i := newInstance(t, n, node.ScopeRead, node.ScopePublish, node.ScopeWithdraw)
	uuid := core.NewUUID("e1")
	push := func(uuid, file string) (int, []byte) {
		status, _, _ := i.call("HEAD", "/events/view/"+uuid, nil)
		path := "/events/add/metadata:1"
		if status == 200 {
			path = "/events/edit/" + uuid + "/metadata:1"
		}
		status, data, _ := i.call("POST", path, file)
		return status, data
	}
	wanted := func(at string) []string {
		var ids []string
		i.get("POST", "/events/filterEventIdsForPush", []any{map[string]any{"Event": map[string]any{"id": "7", "uuid": uuid, "timestamp": at, "sighting_timestamp": "0", "orgc_id": "1"}}}, &ids)
		return ids
	}
	if got := wanted("1700000001"); !slices.Equal(got, []string{uuid}) {
		t.Errorf("a new event is wanted: %v", got)
	}
	var described struct{ Description string } // an instance leaves reports out if this says nothing
	if i.get("GET", "/eventReports/add", nil, &described); described.Description == "" {
		t.Error("whether reports are taken is not said")
	}
	seenOnly := fmt.Sprintf(`{"uuid":%q,"type":"ip-dst","category":"Network activity","value":"203.0.113.9","to_ids":false,"timestamp":"1700000000"}`, core.NewUUID("seen"))
	if status, data := push(uuid, eventFile(uuid, "1700000001", attribute(1, ""), attribute(2, ""), seenOnly)); status != 200 || !strings.Contains(string(data), uuid) {
		t.Fatalf("%d %s", status, data)
	}
	if got := wanted("1700000001"); len(got) != 0 {
		t.Errorf("an event of the same time is wanted: %v", got)
	}
	if got := wanted("1700000009"); len(got) != 1 {
		t.Error("a newer event is not wanted")
	}
	var ids []string // an event named twice is looked up once, by the newest
	named := func(at string) map[string]any {
		return map[string]any{"Event": map[string]any{"uuid": uuid, "timestamp": at}}
	}
	i.get("POST", "/events/filterEventIdsForPush", []any{named("1700000009"), named("1700000001"), named("1700000008")}, &ids)
	if !slices.Equal(ids, []string{uuid}) {
		t.Errorf("named three times, wanted %v", ids)
	}
	if status, data := push(uuid, eventFile(uuid, "1700000001", attribute(1, ""))); status != 403 || !strings.Contains(string(data), "not newer") {
		t.Errorf("the same again: %d %s", status, data)
	}
	status, data, header := i.call("POST", "/events/add", eventFile(uuid, "1700000009", attribute(1, "")))
	if status != 404 || !strings.HasSuffix(header.Get("Location"), uuid) {
		t.Errorf("adding what is there: %d %s", status, data)
	}
	// An edit: one attribute is changed, two are deleted.
	edited := eventFile(uuid, "1700000020", strings.NewReplacer("1700000000", "1700000019", `"timestamp"`, `"comment":"C2","timestamp"`).Replace(attribute(1, "")),
		attribute(2, `,"deleted":true`), strings.Replace(seenOnly, `"timestamp"`, `"deleted":"1","timestamp"`, 1))
	if status, data := push(uuid, edited); status != 200 {
		t.Fatalf("edit: %d %s", status, data)
	}
	var e served
	i.get("GET", "/events/view/"+uuid+"/deleted:1", nil, &e)
	if live, gone := values(t, e.Event); !slices.Equal(live, []string{"c1.example"}) || !slices.Equal(gone, []string{"203.0.113.9", "c2.example"}) || !strings.Contains(string(e.Event["Attribute"]), `"C2"`) {
		t.Errorf("edited: %v, deleted %v", live, gone)
	}
	recs, _, err := n.Search(node.Query{Value: "203.0.113.9"})
	if err != nil || len(recs) != 0 {
		t.Errorf("the observable of a deleted attribute stays: %v, %v", recs, err)
	}
	if recs, _, err = n.Search(node.Query{Value: "c1.example", Versions: true}); err != nil || len(recs) != 2 || recs[0].StixID != "indicator--"+core.NewUUID("a1") {
		t.Errorf("versions %v, %v", recs, err)
	}

	// Sightings: pushed once, known afterwards.
	s1, s2 := core.NewUUID("s1"), core.NewUUID("s2")
	bulk := []map[string]any{
		{"uuid": s1, "attribute_uuid": core.NewUUID("a1"), "date_sighting": "1700000030", "type": "0", "source": "", "org_id": "3", "Organisation": map[string]any{"name": "Dan", "uuid": core.NewUUID("dan")}},
		{"uuid": s2, "attribute_uuid": core.NewUUID("a1"), "date_sighting": "1700000031", "type": "1", "source": "", "org_id": "0"},
		{"uuid": core.NewUUID("s3"), "attribute_uuid": core.NewUUID("nobody"), "date_sighting": "1700000031", "type": "0"},
	}
	var saved struct {
		Saved   bool
		Success string
	}
	i.get("POST", "/sightings/bulkSaveSightings/"+uuid, bulk, &saved)
	if !saved.Saved || saved.Success != "2 sightings added." {
		t.Errorf("saved %+v", saved)
	}
	i.get("POST", "/sightings/bulkSaveSightings/"+uuid, bulk, &saved)
	if saved.Saved {
		t.Errorf("saved again %+v", saved)
	}
	var known []string
	i.get("POST", "/sightings/filterSightingUuidsForPush/"+uuid, []string{s1, s2, core.NewUUID("s3")}, &known)
	if slices.Sort(known); len(known) != 2 {
		t.Errorf("known %v", known)
	}
	i.get("POST", "/sightings/add/"+core.NewUUID("a1"), map[string]any{"type": "0", "source": "sensor"}, &saved)
	if !saved.Saved {
		t.Error("a sighting by UUID was not saved")
	}
	i.get("POST", "/sightings/add", map[string]any{"values": []string{"c1.example"}, "timestamp": 1700000050}, &saved)
	if !saved.Saved {
		t.Error("a sighting by value was not saved")
	}
	list, _, err := n.Search(node.Query{Type: "sighting"})
	if err != nil || len(list) != 3 || list[0].Handling.TLP != "green" || list[0].Handling.Onward != "nobody" {
		t.Errorf("%d sightings, %v", len(list), err)
	}

	// Deleting the event withdraws what is left.
	i.get("POST", "/events/delete/"+uuid, nil, &saved)
	if recs, _, err = n.Search(node.Query{Value: "c1.example"}); err != nil || len(recs) != 0 {
		t.Errorf("deleted, and still there: %v, %v", recs, err)
	}
}

// What may not be published is refused, in words that an operator of MISP can act on.
func TestPushRefused(t *testing.T) {
	n := alone(t)
	i := newInstance(t, n, node.ScopeRead, node.ScopePublish)
	uuid := core.NewUUID("e1")
	plain := eventFile(uuid, "1700000001", attribute(1, ""))
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	for _, tt := range []struct {
		name, path, body string
		status           int
		says             string
	}{
		{"no TLP", "/events/add", strings.Replace(plain, "tlp:green", "x", 1), 403, "nothing says its TLP"},
		{"unknown TLP", "/events/add", strings.Replace(plain, "tlp:green", "tlp:mauve", 1), 403, "unknown TLP"},
		{"own only", "/events/add", strings.Replace(plain, `"distribution":"3"`, `"distribution":"0"`, 1), 403, "your organisation only"},
		{"draft", "/events/add", strings.Replace(plain, `"published":true`, `"published":false`, 1), 403, "not published"},
		{"says not whether it is published", "/events/add", strings.Replace(plain, `"published":true,`, "", 1), 403, "not published"},
		{"published is null", "/events/add", strings.Replace(plain, `"published":true`, `"published":null`, 1), 403, "not published"},
		{"sharing group", "/events/add", strings.Replace(plain, `"distribution":"3"`, `"distribution":"4","SharingGroup":{"name":"G","SharingGroupOrg":[{"Organisation":{"name":"x","uuid":"y"}}]}`, 1), 403, "entente misp org add"},
		{"no uuid", "/events/add", strings.Replace(plain, `"uuid":"`+uuid+`",`, "", 1), 403, "no uuid"},
		{"other event", "/events/edit/" + core.NewUUID("other"), plain, 400, "another one than its address"},
		{"not there", "/events/edit/" + uuid, plain, 404, "Invalid event"},
		{"topic", "/events/add?topic=other", plain, 403, "does not allow to publish in topic"},
		{"nothing", "/events/add", "", 400, ""},
		{"no JSON", "/events/add", "<xml/>", 400, ""},
		{"two events", "/events/add", "[" + plain + "," + plain + "]", 400, "2 events"},
		{"half", "/events/add", plain[:200], 400, ""},
		{"attribute of the wrong form", "/events/add", strings.Replace(plain, `"type":"domain"`, `"type":["domain"]`, 1), 400, "reading attribute"},
		{"deep", "/events/add", strings.Replace(plain, `"info"`, `"SharingGroup":`+deep+`,"info"`, 1), 403, "Could not add Event"},
		{"delete", "/events/delete/" + uuid, "", 403, "does not allow to withdraw"},
		{"sighting of nothing", "/sightings/add/" + core.NewUUID("a9"), "{}", 404, "Invalid attribute"},
		{"sightings of nothing", "/sightings/bulkSaveSightings/" + uuid, `[]`, 404, "Invalid event"},
		{"sightings of the wrong form", "/sightings/bulkSaveSightings/" + uuid, `7`, 400, "no list of sightings"},
		{"filter of the wrong form", "/events/filterEventIdsForPush", `{"a":1}`, 400, "not the JSON"},
		{"unknown filter", "/events/index", `{"moon":"1"}`, 400, "is not understood"},
		{"a switch", "/attributes/restSearch", `{"searchall":true}`, 400, "not understood"},
		{"drafts only", "/events/index", `{"published":0}`, 400, "not understood"},
		{"drafts only, in words", "/attributes/restSearch", `{"published":false}`, 400, "not understood"},
		{"drafts only, as a list", "/events/restSearch", `{"published":["0"]}`, 400, "not understood"},
		{"filter without meaning", "/attributes/restSearch", `{"tags":{"AND":["a"]}}`, 400, "not understood"},
	} {
		status, data, _ := i.call("POST", tt.path, tt.body)
		if status != tt.status || !strings.Contains(string(data), tt.says) || !strings.Contains(string(data), `"message"`) {
			t.Errorf("%s: %d %s", tt.name, status, data)
		}
	}
	if recs, err := n.Records(0, 10); err != nil || len(recs) != 0 {
		t.Errorf("published %d, %v", len(recs), err)
	}
	if err := n.SetMISPTLP(protocol.TLPAmber); err != nil {
		t.Fatal(err)
	}
	if status, data, _ := i.call("POST", "/events/add", strings.Replace(plain, "tlp:green", "x", 1)); status != 200 {
		t.Errorf("with a label for what states none: %d %s", status, data)
	}
	if recs, err := n.Records(0, 10); err != nil || len(recs) == 0 || recs[0].Handling.TLP != "amber" {
		t.Errorf("published %d, %v", len(recs), err)
	}
	reader := newInstanceNamed(t, n, "reader", node.ScopeRead)
	for _, path := range []string{"/events/add", "/events/filterEventIdsForPush", "/sightings/add"} {
		if status, data, _ := reader.call("POST", path, "{}"); status != 403 || !strings.Contains(string(data), `"name"`) {
			t.Errorf("%s without the scope: %d %s", path, status, data)
		}
	}
	reader.token = "nobody"
	if status, data, _ := reader.call("GET", "/servers/getVersion", nil); status != 401 || !strings.Contains(string(data), `"message"`) {
		t.Errorf("unknown token: %d %s", status, data)
	}
}

// A token withdraws in its own topics only, neither by deleting an event nor by an edit in which something is
// deleted.
func TestWithdrawInTopic(t *testing.T) {
	n := alone(t)
	if err := n.JoinTopic("other"); err != nil {
		t.Fatal(err)
	}
	uuid := core.NewUUID("e1")
	publish(t, n, eventFile(uuid, "1700000001", attribute(1, ""), attribute(2, "")), policy.Flags{Personal: protocol.PersonalNone})
	there := func() int {
		t.Helper()
		recs, _, err := n.Search(node.Query{Type: "indicator", Topic: "c2"})
		if err != nil {
			t.Fatal(err)
		}
		return len(recs)
	}
	i := newInstanceIn(t, n, "elsewhere", "other", node.ScopeRead, node.ScopePublish, node.ScopeWithdraw)
	for _, method := range []string{"POST", "DELETE"} {
		if status, data, _ := i.call(method, "/events/delete/"+uuid, nil); status != 403 || !strings.Contains(string(data), `in topic \"c2\", in which this token does not allow to withdraw`) {
			t.Errorf("%s: %d %s", method, status, data)
		}
	}
	status, data, _ := i.call("POST", "/events/edit/"+uuid, eventFile(uuid, "1700000009", attribute(1, `,"deleted":true`), attribute(3, "")))
	if status != 200 || !strings.Contains(string(data), "1 records would be withdrawn, which this token does not allow") {
		t.Errorf("edit: %d %s", status, data)
	}
	if got := there(); got != 2 {
		t.Errorf("%d of 2 indicators are left in c2", got)
	}
	// The token of the topic does withdraw them, but not the event as long as some of it is elsewhere.
	i = newInstance(t, n, node.ScopeRead, node.ScopePublish, node.ScopeWithdraw)
	if status, data, _ := i.call("POST", "/events/edit/"+uuid, eventFile(uuid, "1700000010", attribute(1, `,"deleted":true`))); status != 200 || there() != 1 {
		t.Errorf("edit: %d %s, %d are left", status, data, there())
	}
	if status, data, _ := i.call("POST", "/events/delete/"+uuid, nil); status != 403 || there() != 1 {
		t.Errorf("delete: %d %s, %d are left", status, data, there())
	}
}

// What came from others is neither wanted nor taken, and nobody writes into somebody else's event.
func TestForeign(t *testing.T) {
	vendor, police := pair(t)
	uuid := core.NewUUID("e1")
	publish(t, vendor, eventFile(uuid, "1700000001", attribute(1, "")), policy.Flags{Personal: protocol.PersonalNone, Countries: []string{"TH"}})
	carry(t, vendor, police)
	i := newInstance(t, police, node.ScopeRead, node.ScopePublish)
	var ids []string
	i.get("POST", "/events/filterEventIdsForPush", []any{map[string]any{"Event": map[string]any{"uuid": uuid, "timestamp": "1800000000"}}}, &ids)
	if len(ids) != 0 {
		t.Errorf("wanted %v", ids)
	}
	for _, path := range []string{"/events/add", "/events/edit/" + uuid} {
		if status, data, _ := i.call("POST", path, eventFile(uuid, "1800000000", attribute(2, ""))); status != 403 || !strings.Contains(string(data), "the event is of Alice") {
			t.Errorf("%s: %d %s", path, status, data)
		}
	}
	// Somebody here claims the same UUID by another way: it is an event of its own.
	publish(t, police, eventFile(uuid, "1700000009", attribute(3, "")), policy.Flags{Personal: protocol.PersonalNone})
	var e served
	i.get("GET", "/events/view/"+uuid, nil, &e)
	if live, _ := values(t, e.Event); !slices.Equal(live, []string{"c1.example"}) || !strings.Contains(string(e.Event["Tag"]), `entente:originator=\"Alice\"`) {
		t.Errorf("the event holds %v, %s", live, e.Event["Tag"])
	}
	var index []core.Fields
	i.get("POST", "/events/index", map[string]any{"minimal": 1}, &index)
	if len(index) != 2 || index[0].Text("uuid") == index[1].Text("uuid") {
		t.Errorf("index %v", index)
	}
	// A sighting goes back with the record's handling, to nobody else.
	var saved struct{ Saved bool }
	i.get("POST", "/sightings/add/"+core.NewUUID("a1"), map[string]any{"type": "1"}, &saved)
	i.get("GET", "/events/view/"+uuid, nil, &e)
	if !strings.Contains(string(e.Event["Attribute"]), `"Sighting"`) {
		t.Errorf("the sighting does not stand with what it is of: %s", e.Event["Attribute"])
	}
}

// Feed: manifest, hashes and events, by view and topic, with ETags; what the client pulls is all.
func TestFeed(t *testing.T) {
	n := alone(t)
	uuid := core.NewUUID("e1")
	publish(t, n, eventFile(uuid, "1700000001", attribute(1, ""), attribute(2, "")), policy.Flags{Personal: protocol.PersonalNone})
	publish(t, n, "198.51.100.1\n", green)
	if err := n.SetView(&node.View{Name: "ops", Labels: []string{"spring"}}); err != nil {
		t.Fatal(err)
	}
	if err := n.JoinTopic("empty"); err != nil {
		t.Fatal(err)
	}
	i := newInstance(t, n, node.ScopeRead)
	var manifest map[string]core.Fields
	i.get("GET", "/feed/topic:c2/manifest.json", nil, &manifest)
	if len(manifest) != 2 || manifest[uuid].Text("info") != "An operation" || manifest[uuid].Text("threat_level_id") != "2" {
		t.Errorf("manifest %v", manifest)
	}
	status, csv, header := i.call("GET", "/feed/topic:c2/hashes.csv", nil)
	if sum := fmt.Sprintf("%x,%s\n", md5.Sum([]byte("c1.example")), uuid); status != 200 || strings.Count(string(csv), uuid) != 2 || strings.Count(string(csv), "\n") != 3 || !strings.Contains(string(csv), sum) {
		t.Errorf("hashes %d %s, want %s among them", status, csv, sum)
	}
	if header.Get("ETag") == "" {
		t.Error("hashes have no ETag")
	}
	for path, want := range map[string]int{"/feed/none/manifest.json": 404, "/feed/topic:other/manifest.json": 404, "/feed/topic:empty/manifest.json": 200, "/feed/topic:c2/x": 404, "/feed/topic:c2/" + core.NewUUID("x") + ".json": 404, "/feed/topic:other/" + uuid + ".json": 404} {
		if status, data, _ := i.call("GET", path, nil); status != want || want == 200 && string(data) != "{}" {
			t.Errorf("%s: %d %s", path, status, data)
		}
	}
	i.now = time.Now()
	client := &FeedClient{URL: i.srv.URL + "/misp/feed/topic:c2/", Header: http.Header{"Authorization": {i.token}}}
	poll := func(state FeedState) (FeedState, []string) {
		var got []string
		err := client.Poll(t.Context(), state, func(event json.RawMessage, next FeedState) error {
			kept, err := json.Marshal(next)
			if err != nil {
				return err
			}
			state = FeedState{}
			if event == nil {
				return json.Unmarshal(kept, &state)
			}
			var e served
			if err := json.Unmarshal(event, &e); err != nil {
				return err
			}
			got = append(got, e.Event.Text("uuid"))
			return json.Unmarshal(kept, &state)
		})
		if err != nil {
			t.Fatal(err)
		}
		return state, got
	}
	state, got := poll(FeedState{})
	if len(got) != 2 || state.ETag == "" {
		t.Errorf("pulled %v, %+v", got, state)
	}
	if state, got = poll(state); len(got) != 0 {
		t.Errorf("pulled again %v", got)
	}
	// Within the second that is not over an event may change again: its time is not yet that second.
	i.now = time.Now()
	publish(t, n, "198.51.100.2\n", green)
	i.get("GET", "/feed/topic:c2/manifest.json", nil, &manifest)
	for id, e := range manifest {
		if at := e.Time("timestamp", time.Time{}); id != uuid && !at.Before(i.now.Truncate(time.Second)) {
			t.Errorf("event of now has the timestamp %v at %v", at, i.now)
		}
	}
	i.now = i.now.Add(3 * time.Second)
	if _, got = poll(state); !slices.ContainsFunc(got, func(id string) bool { return id != uuid }) {
		t.Errorf("pulled %v after one more record came", got)
	}
	manifest = nil
	i.get("GET", "/feed/ops/manifest.json", nil, &manifest)
	if len(manifest) != 0 { // the label is on the report only, and a view of it holds nothing that an event can hold
		t.Errorf("view: %v", manifest)
	}
}

// A feed of somebody else is hostile.
func TestFeedClientHostile(t *testing.T) {
	uuid, other := core.NewUUID("x"), core.NewUUID("y")
	for _, tt := range []struct{ manifest, event, says string }{
		{`[]`, "", "no manifest"},
		{`{"../../x":{"timestamp":"1"}}`, "", "without a UUID"},
		{`{"` + uuid + `":{"timestamp":[]}}`, "", "without a UUID or a timestamp"},
		{`{"` + uuid + `":{"timestamp":"1"}}`, `{"Event":{"uuid":"` + other + `"}}`, "says that it is"},
		{`{"` + uuid + `":{"timestamp":"1"}}`, `x`, "no JSON"},
	} {
		srv := newFeed(t, map[string]string{"manifest.json": tt.manifest, uuid + ".json": tt.event})
		err := (&FeedClient{URL: srv}).Poll(t.Context(), FeedState{}, func(event json.RawMessage, _ FeedState) error {
			t.Errorf("%s: took %s", tt.manifest, event)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.manifest, err)
		}
	}
	srv := newFeed(t, map[string]string{"manifest.json": `{"` + uuid + `":{"timestamp":"1"},"` + other + `":{"timestamp":"2"}}`, other + ".json": `{"Event":{"uuid":"` + other + `"}}`})
	var last FeedState
	err := (&FeedClient{URL: srv}).Poll(t.Context(), FeedState{}, func(_ json.RawMessage, next FeedState) error { last = next; return nil })
	if err == nil || last.ETag != "" || last.Events[other] != 2 || len(last.Events) != 1 {
		t.Errorf("one event that cannot be had: %v, %+v", err, last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&FeedClient{URL: srv}).Poll(ctx, FeedState{}, nil); err == nil {
		t.Error("a poll went on after its end")
	}
}

// Everything that is served has passed the decision for whoever asks: a rule hides records of one
// sort, and no output, count, manifest, ETag or error of any call tells of them.
func TestHidden(t *testing.T) {
	n := alone(t)
	uuid, secret := core.NewUUID("e1"), core.NewUUID("e2")
	publish(t, n, eventFile(uuid, "1700000001", attribute(1, ""), attribute(2, `,"Tag":[{"name":"tlp:amber"}],"Sighting":[{"type":"0","date_sighting":"1700000002"}]`)), policy.Flags{Personal: protocol.PersonalNone})
	i := newInstance(t, n, node.ScopeRead, node.ScopePublish, node.ScopeWithdraw)
	load(t, n, "@id(\"no-amber\") forbid (principal in Role::\"sink\", action == Action::\"read\", resource) when { resource.tlp == \"amber\" };\n")
	ask := func() string {
		var all strings.Builder
		for _, c := range []struct {
			method, path string
			body         any
		}{
			{"GET", "/feed/topic:c2/manifest.json", nil}, {"GET", "/feed/topic:c2/hashes.csv", nil}, {"GET", "/feed/topic:c2/" + uuid + ".json", nil}, {"GET", "/feed/topic:c2/" + secret + ".json", nil},
			{"POST", "/events/index", map[string]any{"minimal": 1}}, {"POST", "/events/index", map[string]any{}}, {"GET", "/events/view/" + uuid + "/deleted:1", nil}, {"GET", "/events/view/" + secret, nil},
			{"HEAD", "/events/view/" + secret, nil}, {"POST", "/events/restSearch", map[string]any{"value": "c2.example"}}, {"POST", "/events/restSearch", map[string]any{}},
			{"POST", "/attributes/restSearch", map[string]any{"value": "c9.example"}}, {"POST", "/attributes/restSearch", map[string]any{}}, {"POST", "/sightings/restSearch/event", map[string]any{"uuid": []string{uuid, secret}}},
			{"POST", "/sightings/filterSightingUuidsForPush/" + secret, []string{}}, {"POST", "/sightings/add/" + core.NewUUID("a9"), "{}"}, {"POST", "/sightings/bulkSaveSightings/" + secret, "[]"},
			{"POST", "/events/filterEventIdsForPush", []any{map[string]any{"Event": map[string]any{"uuid": secret, "timestamp": "1"}}}}, {"POST", "/events/delete/" + secret, nil}, {"POST", "/events/publish/" + secret, nil},
		} {
			status, data, header := i.call(c.method, c.path, c.body)
			fmt.Fprintf(&all, "%s %s: %d %s %s\n", c.method, c.path, status, data, header.Get("ETag"))
		}
		return all.String()
	}
	i.now = time.Now().Add(time.Hour)
	before := ask()
	for _, word := range []string{"c2.example", core.NewUUID("a2"), "1700000002"} {
		if strings.Contains(strings.ReplaceAll(before, "%2F", ""), word) {
			t.Errorf("what is hidden is told: %q in\n%s", word, before)
		}
	}
	if !strings.Contains(before, "c1.example") {
		t.Fatalf("what is not hidden is not told:\n%s", before)
	}
	// Whatever else comes that it may not see, it is told the same.
	publish(t, n, strings.Replace(eventFile(secret, "1700000001", attribute(9, "")), "tlp:green", "tlp:amber", 1), policy.Flags{Personal: protocol.PersonalNone})
	publish(t, n, strings.Replace(eventFile(uuid, "1700000099", attribute(8, "")), "tlp:green", "tlp:amber", 1), policy.Flags{Personal: protocol.PersonalNone})
	publish(t, n, "203.0.113.7\n", policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalNone})
	if after := ask(); after != before {
		t.Errorf("what it may not see changes what it is told:\n%s\nbecame\n%s", before, after)
	}
}

// Requests that go through every event are few at once, end with who asked, and their answers are bounded.
func TestSearchBounds(t *testing.T) {
	n := alone(t)
	publish(t, n, eventFile(core.NewUUID("e1"), "1700000001", attribute(1, "")), policy.Flags{Personal: protocol.PersonalNone})
	i := newInstance(t, n, node.ScopeRead)
	other := newInstanceNamed(t, n, "other", node.ScopeRead)
	every := []struct{ method, path, body string }{
		{"POST", "/attributes/restSearch", `{"type":"domain"}`}, {"POST", "/events/restSearch", `{"value":"%c1%"}`}, {"POST", "/events/restSearch", ""},
		{"POST", "/sightings/restSearch/event", `{"uuid":["` + core.NewUUID("e1") + `"]}`}, {"GET", "/feed/topic:c2/hashes.csv", ""},
	}
	i.s.busy["misp"] = maxBuilding
	for _, c := range every {
		if status, data, header := i.call(c.method, c.path, c.body); status != 429 || header.Get("Retry-After") == "" || !strings.Contains(string(data), "ask again") {
			t.Errorf("%s %s with %d under way: %d %s", c.path, c.body, maxBuilding, status, data)
		}
		if status, data, _ := other.call(c.method, c.path, c.body); status != 200 {
			t.Errorf("%s %s of another: %d %s", c.path, c.body, status, data)
		}
	}
	for _, path := range []string{"/attributes/restSearch", "/events/restSearch"} {
		if status, data, _ := i.call("POST", path, `{"value":"c1.example"}`); status != 200 || !strings.Contains(string(data), "c1.example") {
			t.Errorf("%s for a value: %d %s", path, status, data)
		}
	}
	delete(i.s.busy, "misp")
	for _, c := range every {
		if status, data, _ := i.call(c.method, c.path, c.body); status != 200 || len(i.s.busy) != 0 {
			t.Errorf("%s %s: %d %s, %v", c.path, c.body, status, data, i.s.busy)
		}
	}
	if err := bounded(maxRecords); err != nil {
		t.Error(err)
	}
	if err := bounded(maxRecords + 1); !errors.Is(err, protocol.ErrOversize) || !strings.Contains(err.Error(), "limit and page") {
		t.Errorf("more than the bound: %v", err)
	}
	// Who asked is gone.
	s := serve.New(n, nil)
	i.s.mount(s)
	for _, c := range every {
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, c.method, "/misp"+c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", i.token)
		cancel()
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 503 {
			t.Errorf("%s, and who asked is gone: %d %s", c.path, w.Code, w.Body)
		}
	}
}

// What fails inside is for the log.
func TestInternalError(t *testing.T) {
	n := alone(t)
	i := newInstance(t, n, node.ScopeRead)
	w := httptest.NewRecorder()
	i.s.handler(func(http.ResponseWriter, *http.Request) error { return errors.New("reading /var/lib/x: broken") }).ServeHTTP(w, httptest.NewRequest("GET", "/misp/events/view/x", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "broken") || !strings.Contains(w.Body.String(), "its log says why") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(i.log.String(), "broken") || !strings.Contains(i.log.String(), "/misp/events/view/x") {
		t.Errorf("the log says %q", &i.log)
	}
}

// Of several times the latest counts, in whatever order they are read.
func TestSince(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	q := map[string]json.RawMessage{"timestamp": json.RawMessage(`"1700000000"`), "last": json.RawMessage(`"1d"`), "attribute_timestamp": json.RawMessage(`1600000000`)}
	for range 50 { // maps are read in another order each time
		if s, err := readSearch(q, now); err != nil || s.since != now.Unix()-86400 {
			t.Fatalf("since %d, %v", s.since, err)
		}
	}
}

// PyMISP searches by value, type, tag and time; what is not understood is an error, not everything.
func TestSearch(t *testing.T) {
	n := alone(t)
	uuid := core.NewUUID("e1")
	publish(t, n, eventFile(uuid, "1700000001", attribute(1, `,"Tag":[{"name":"winter"}]`), attribute(2, ""),
		fmt.Sprintf(`{"uuid":%q,"type":"link","category":"External analysis","value":"https://good.example/","to_ids":false}`, core.NewUUID("l"))), policy.Flags{Personal: protocol.PersonalNone})
	publish(t, n, "198.51.100.1\n", green)
	i := newInstance(t, n, node.ScopeRead)
	for _, tt := range []struct {
		query string
		want  string
	}{
		{`{"returnFormat":"json"}`, "198.51.100.1 c1.example c2.example https://good.example/"},
		{`{"value":"c1.example"}`, "c1.example"},
		{`{"value":"hxxp://nothing.example"}`, ""},
		{`{"value":"https://good.example/"}`, "https://good.example/"},
		{`{"value":"%.example%","type":"domain"}`, "c1.example c2.example"},
		{`{"value":["c1.example","198.51.100.1"]}`, "198.51.100.1 c1.example"},
		{`{"value":"!c1.example","type":["domain"]}`, "c2.example"},
		{`{"tags":"winter"}`, "c1.example"},
		{`{"tags":["spring","!winter"]}`, "c2.example https://good.example/"},
		{`{"tags":{"OR":["spring"],"NOT":["winter"]},"to_ids":1}`, "c2.example"},
		{`{"uuid":"` + core.NewUUID("a2") + `"}`, "c2.example"},
		{`{"eventid":"` + uuid + `","to_ids":"0"}`, "https://good.example/"},
		{`{"category":"External analysis"}`, "https://good.example/"},
		{`{"org":"Carol","type":"domain"}`, "c1.example c2.example"},
		{`{"last":"1d","type":"ip-dst"}`, "198.51.100.1"},
		{`{"timestamp":"2000000000000"}`, ""},
		{`{"limit":1,"page":2,"type":"domain"}`, "c2.example"},
		{`{"published":[0,1],"value":"c1.example"}`, "c1.example"},
		{`{"published":true,"value":"c1.example"}`, "c1.example"},
		{`{"request":{"value":"c1.example"}}`, "c1.example"},
	} {
		var got struct {
			Response struct{ Attribute []core.Fields }
		}
		i.get("POST", "/attributes/restSearch", tt.query, &got)
		var found []string
		for _, a := range got.Response.Attribute {
			found = append(found, a.Text("value"))
		}
		if slices.Sort(found); strings.Join(found, " ") != tt.want {
			t.Errorf("%s finds %v, want %s", tt.query, found, tt.want)
		}
	}
	recs, _, err := n.Search(node.Query{Value: "c2.example"})
	if err != nil || len(recs) != 1 {
		t.Fatal(err, recs)
	}
	if err := n.Withdraw(t.Context(), []protocol.RecordID{recs[0].ID}, "no longer"); err != nil {
		t.Fatal(err)
	}
	for deleted, want := range map[string]string{`null`: "c1.example", `0`: "c1.example", `1`: "c2.example", `"only"`: "c2.example", `["0","1"]`: "c1.example c2.example"} {
		var got struct {
			Response struct{ Attribute []core.Fields }
		}
		i.get("POST", "/attributes/restSearch", `{"type":"domain","deleted":`+deleted+`}`, &got)
		var found []string
		for _, a := range got.Response.Attribute {
			found = append(found, a.Text("value"))
		}
		if slices.Sort(found); strings.Join(found, " ") != want {
			t.Errorf("deleted %s finds %v, want %s", deleted, found, want)
		}
	}
	var events struct{ Response []served }
	i.get("POST", "/events/restSearch", `{"value":"c1.example"}`, &events)
	if len(events.Response) != 1 || events.Response[0].Event.Text("uuid") != uuid {
		t.Errorf("events %v", events)
	}
	var types struct {
		Result struct {
			Types, Categories []string
			Defaults          map[string]any `json:"sane_defaults"`
		}
	}
	i.get("GET", "/attributes/describeTypes.json", nil, &types)
	if !slices.Contains(types.Result.Types, "ip-dst") || len(types.Result.Defaults) != len(types.Result.Types) || len(types.Result.Categories) < 4 {
		t.Errorf("types %+v", types)
	}
}
