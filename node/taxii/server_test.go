package taxii

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

func TestBytesAreTheAuthors(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	odd := indicator(1, 0, `, "description": "<b>&\u2028</b> é \"", "x_custom": 1.0e+2, "confidence":  50`)
	w.post(c, odd)
	a := w.get(c + "objects/")
	if !strings.Contains(string(a.body), `"objects":[`+odd+`]`) {
		t.Errorf("got %s\nwant %s", a.body, odd)
	}
	e := a.envelope(t)
	if len(e.Handling) != 1 || e.Handling[0].ID != id(1) || e.Handling[0].TLP != "green" || a.header.Get("X-Entente-TLP") != "green" {
		t.Errorf("handling %+v, header %q", e.Handling, a.header.Get("X-Entente-TLP"))
	}
	var m manifest
	if err := json.Unmarshal(w.get(c+"manifest/").body, &m); err != nil || len(m.Objects) != 1 || m.Objects[0].Handling.TLP != "green" {
		t.Errorf("manifest %+v, %v", m, err)
	}
	if list, err := w.n.Handouts(); err != nil || len(list) != 1 || list[0].Kind != node.HandoutTAXII || list[0].Records != 2 || !strings.HasSuffix(list[0].Detail, "for siem") {
		t.Errorf("hand-outs %+v, %v", list, err)
	}
}

// TestWithdrawnVanishes: what was withdrawn is served no more; the version before it is the last again.
func TestWithdrawnVanishes(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	w.post(c, indicator(1, 0), indicator(2, 0))
	w.post(c, indicator(1, 5))
	got, _ := w.all("siem", c+"objects/", "", 0)
	wantIDs(t, "before", got, 2, 1)
	recs, _, err := w.n.Search(node.Query{Topic: "c2"})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		if rec.StixID == id(1) {
			if err := w.n.Withdraw(t.Context(), recordIDs(rec), "mistake"); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, _ = w.all("siem", c+"objects/", "", 0)
	wantIDs(t, "after", got, 1, 2) // its first version, which came first
	if a := w.get(c + "objects/" + id(1) + "/versions/"); strings.Contains(string(a.body), "00:05") {
		t.Errorf("versions %s", a.body)
	}
}

// TestRightsOfConsumers: what local rules forbid a consumer is in no output, count, manifest, header or
// error that it gets.
// TestSameTwice: what stands in an envelope twice has one result, which is told of both.
func TestSameTwice(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	unmarked := strings.Replace(indicator(1, 0), green, "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed", 1)
	unmarked = strings.Replace(unmarked, `, "object_marking_refs": ["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]`, "", 1)
	a := w.ask("tip", "POST", c+"objects/", []byte(`{"objects":[`+unmarked+","+indicator(2, 0)+","+unmarked+","+indicator(2, 0)+`]}`))
	var st status
	if err := json.Unmarshal(a.body, &st); err != nil || st.SuccessCount != 2 || st.FailureCount != 2 || len(st.Failures) != 2 || st.Failures[1].ID != id(1) || st.Failures[1].Message == "" {
		t.Errorf("%d %s", a.code, a.body)
	}
	w.post(c, observable(1), observable(1))
}

func TestRightsOfConsumers(t *testing.T) {
	w := newWorld(t, "c2", "secret")
	open, closed := w.collection("c2"), w.collection("secret")
	w.view(node.View{Name: "all"})
	w.view(node.View{Name: "closed", Topics: []string{"secret"}})
	view := w.collection("all")
	hidden := []string{}
	for i := 1; i <= 40; i++ {
		if i%4 == 0 {
			w.post(open, indicator(i, 0))
			continue
		}
		hidden = append(hidden, fmt.Sprintf("ipv4-addr--00000000-0000-5000-8000-%012d", i))
		w.post(open, observable(i))
	}
	w.post(closed, indicator(100, 0))
	// An object whose last version may not be seen: the one before it is the last.
	w.post(open, indicator(4, 7, `, "labels": ["x"]`))
	w.rules(`@id("no-observables") forbid (principal in Role::"sink", action == Action::"export", resource) when { resource.kind == "ipv4-addr" };
@id("no-secret") forbid (principal in Role::"sink", action == Action::"read", resource) when { resource.topic == "secret" };`)
	before := w.get(open + "objects/?limit=3")
	wantIDs(t, "a page", before.ids(t), 8, 12, 16)
	if e := before.envelope(t); !e.More || len(e.Handling) != 3 {
		t.Errorf("a page of what may be seen: %s", before.body)
	}
	for _, path := range []string{open, view} {
		got, pages := w.all("siem", path+"objects/", "", 3)
		wantIDs(t, path, got, 8, 12, 16, 20, 24, 28, 32, 36, 40, 4)
		if pages != 4 {
			t.Errorf("%s: %d pages", path, pages)
		}
		if got, _ := w.all("siem", path+"manifest/", "", 3); len(got) != 10 {
			t.Errorf("%s: manifest of %d", path, len(got))
		}
	}
	if got, _ := w.all("tip", view+"objects/", "", 7); len(got) != 41 { // and so it is all there
		t.Errorf("the other consumer sees %d", len(got))
	}
	for _, q := range []string{"?match[type]=ipv4-addr", "?match[id]=" + hidden[0], "?match[id]=" + strings.Join(hidden, ","), "?match[type]=ipv4-addr&match[version]=all"} {
		a := w.get(open + "objects/" + q)
		if string(a.body) != "{\"more\":false,\"objects\":[]}\n" || a.header.Get("X-TAXII-Date-Added-Last") != "1970-01-01T00:00:00.000000Z" || a.header.Get("X-Entente-TLP") != "" {
			t.Errorf("%s: %v %s", q, a.header, a.body)
		}
		if a := w.get(open + "manifest/" + q); string(a.body) != "{\"more\":false,\"objects\":[]}\n" {
			t.Errorf("manifest %s: %s", q, a.body)
		}
	}
	nothing := w.ask("siem", "GET", open+"objects/"+id(999)+"/", nil)
	for _, path := range []string{
		open + "objects/" + hidden[0] + "/", open + "objects/" + hidden[0] + "/versions/",
		closed, closed + "objects/", closed + "manifest/", closed + "objects/" + id(100) + "/", rootPath + "collections/topic-secret/", rootPath + "collections/view-closed/objects/",
	} {
		a := w.ask("siem", "GET", path, nil)
		if a.code != 404 || string(a.body) != string(nothing.body) {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
	}
	if a := w.ask("siem", "GET", rootPath+"collections/", nil); strings.Contains(string(a.body), "secret") || strings.Contains(string(a.body), "closed") || !strings.Contains(string(a.body), `"c2"`) {
		t.Errorf("collections: %s", a.body)
	}
	// The headers and next of a page say nothing of what stands between its objects.
	if next := before.envelope(t).Next; len(next) != len(w.get(open+"objects/?limit=1").envelope(t).Next) {
		t.Errorf("next %q", next)
	}
	if a := w.get(open + "objects/?limit=10"); a.envelope(t).More {
		t.Errorf("more, and nothing that may be seen: %s", a.body)
	}
}

func TestNextIsBound(t *testing.T) {
	w := newWorld(t, "c2", "other")
	c, other := w.collection("c2"), w.collection("other")
	w.post(c, indicator(1, 0), indicator(2, 0), indicator(3, 0))
	w.post(other, indicator(4, 0), indicator(5, 0))
	next := w.get(c + "objects/?limit=1").envelope(t).Next
	for _, tc := range []struct {
		path string
		code int
	}{
		{c + "objects/?limit=2&next=" + next, 200},
		{c + "objects/?next=" + next, 200},
		{c + "manifest/?next=" + next, 200},                                        // the same objects
		{c + "objects/?added_after=2026-01-01T00:00:00.000000Z&next=" + next, 200}, // it only narrows
		{c + "objects/?match[type]=indicator&next=" + next, 400},
		{c + "objects/" + id(1) + "/?next=" + next, 400},
		{other + "objects/?next=" + next, 400},
		{c + "objects/?next=" + next + "A", 400},
		{c + "objects/?next=" + strings.ToLower(next), 400},
		{c + "objects/?next=1", 400},
		{c + "objects/?next=2026-01-01T00:00:00Z", 400},
		{c + "objects/?next=" + strings.Repeat("A", 5000), 400},
	} {
		if a := w.ask("siem", "GET", tc.path, nil); a.code != tc.code {
			t.Errorf("%s: %d %s", tc.path, a.code, a.body)
		}
	}
	w.serve() // the key is kept
	got := w.get(c + "objects/?next=" + next).ids(t)
	wantIDs(t, "after a restart", got, 2, 3)
}

// TestOrderOfMatches: values of a match field are a set.
func TestOrderOfMatches(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	w.post(c, indicator(1, 0), indicator(2, 0), observable(3))
	next := w.get(c + "objects/?limit=1&match[type]=indicator,ipv4-addr&match[version]=last,first").envelope(t).Next
	a := w.get(c + "objects/?match[version]=first,last&match[type]=ipv4-addr,indicator,indicator&next=" + next)
	if len(a.ids(t)) != 2 {
		t.Errorf("got %s", a.body)
	}
}

func TestViewsAreCollections(t *testing.T) {
	w := newWorld(t, "c2", "other")
	w.view(node.View{Name: "addresses", Title: "Addresses", Types: []string{"ipv4-addr"}})
	w.view(node.View{Name: "upto", MaxTLP: protocol.TLPAmber})
	if a := w.get(w.collection("upto")); !strings.Contains(string(a.body), "Nothing in it is above TLP:AMBER.") {
		t.Errorf("a view with a ceiling: %s", a.body)
	}
	w.view(node.View{Name: "one", Topics: []string{"c2"}, Types: []string{"indicator"}})
	c := w.collection("c2")
	w.post(c, indicator(1, 0), observable(2))
	w.post(w.collection("other"), observable(3))
	if got, _ := w.all("siem", w.collection("Addresses")+"objects/", "", 1); len(got) != 2 || !strings.HasPrefix(got[0], "ipv4-addr") {
		t.Errorf("view: %v", got)
	}
	if a := w.ask("tip", "POST", w.collection("Addresses")+"objects/", []byte(`{"objects":[`+indicator(9, 0)+`]}`)); a.code != 403 {
		t.Errorf("adding to a view of all topics: %d %s", a.code, a.body)
	}
	w.post(w.collection("one"), indicator(4, 0)) // of one topic: there it goes
	got, _ := w.all("siem", w.collection("one")+"objects/", "", 0)
	wantIDs(t, "view of one topic", got, 1, 4)
	w.view(node.View{Name: "one", Topics: []string{"c2"}, Types: []string{"ipv4-addr"}}) // it is another one now
	if got, _ := w.all("siem", w.collection("one")+"objects/", "", 0); len(got) != 1 || !strings.HasPrefix(got[0], "ipv4-addr") {
		t.Errorf("changed view: %v", got)
	}
	if err := w.n.RemoveView("one"); err != nil {
		t.Fatal(err)
	}
	if got := w.collection("one"); got != "" {
		t.Errorf("a removed view is there: %s", got)
	}
}

// TestShownIsAudited: what a page shows is noted, with who was shown it.
func TestShownIsAudited(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	w.post(c, indicator(1, 0))
	for _, path := range []string{"objects/", "manifest/", "objects/" + id(1) + "/", "objects/" + id(1) + "/versions/"} {
		w.get(c + path)
	}
	w.get(c + "objects/?match[type]=malware") // shows nothing
	entries, err := w.n.Audit(t.Context(), node.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, act := range []string{"taxii objects", "taxii manifest", "taxii object", "taxii versions"} {
		count := 0
		for _, e := range entries {
			if e.Act == act {
				count++
				if e.Person != "siem" || e.Records != 1 || !strings.Contains(e.Text, "collection c2 for siem") {
					t.Errorf("%s: %+v", act, e)
				}
			}
		}
		if count != 1 {
			t.Errorf("%q is there %d times", act, count)
		}
	}
}

func recordIDs(recs ...node.Record) (ids []protocol.RecordID) {
	for _, r := range recs {
		ids = append(ids, r.ID)
	}
	return ids
}

// TestPagingUnderLoad: a client that pages through a collection while objects arrive sees each exactly
// once. ENTENTE_LOAD=1 takes ten times as many.
func TestPagingUnderLoad(t *testing.T) {
	there, arrive := 20000, 5000
	if os.Getenv("ENTENTE_LOAD") != "" {
		there, arrive = 200000, 50000
	}
	if testing.Short() {
		there, arrive = 2000, 500
	}
	w := newWorld(t, "c2")
	w.consumer("filler", node.ScopePublish)
	c := w.collection("c2")
	add := func(from, to int) {
		for from < to {
			end := min(from+2500, to)
			var b strings.Builder
			for i := from; i < end; i++ {
				if i > from {
					b.WriteByte(',')
				}
				b.WriteString(indicator(i, 0))
			}
			if a := w.ask("filler", "POST", c+"objects/", []byte(`{"objects":[`+b.String()+`]}`)); a.code != 202 {
				t.Errorf("POST: %d %s", a.code, a.body)
				return
			}
			from = end
		}
	}
	add(0, there)
	var wg sync.WaitGroup
	wg.Go(func() { add(there, there+arrive) })
	begin := time.Now()
	seen := map[string]int{}
	count := func(ids []string) {
		for _, id := range ids {
			seen[id]++
		}
	}
	got, pages := w.all("siem", c+"objects/", "", 1000)
	count(got)
	took := time.Since(begin)
	wg.Wait()
	// What came after the last page is read on from its time, as pollers do.
	rest, _ := w.all("siem", c+"objects/", "added_after="+w.lastAdded(c, got), 1000)
	count(rest)
	if len(seen) != there+arrive || len(got)+len(rest) != there+arrive {
		t.Errorf("saw %d objects, %d different ones, of %d", len(got)+len(rest), len(seen), there+arrive)
	}
	t.Logf("%d objects in %d pages in %v, and %d after", len(got), pages, took.Round(time.Millisecond), len(rest))
}

// lastAdded is when the last of some objects was added.
func (w *world) lastAdded(c string, ids []string) string {
	w.t.Helper()
	return w.get(c + "objects/" + ids[len(ids)-1] + "/").header.Get("X-TAXII-Date-Added-Last")
}

// TestClientReadsServer: the client of this package reads its server, and goes on where it was.
func TestClientReadsServer(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	w.post(c, indicator(1, 0), indicator(2, 0), indicator(3, 0))
	client := &Client{URL: w.srv.URL + "/taxii2/", User: "siem", Password: w.tokens["siem"], HTTP: w.srv.Client(), Limit: 2}
	var state State
	poll := func() (ids []string) {
		err := client.Poll(t.Context(), "topic-c2", state, func(objects []json.RawMessage, next State) error {
			for _, o := range objects {
				var v struct{ ID string }
				if err := json.Unmarshal(o, &v); err != nil {
					return err
				}
				ids = append(ids, v.ID)
			}
			state = next
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	wantIDs(t, "first", poll(), 1, 2, 3)
	w.post(c, indicator(4, 0))
	if again := poll(); !slices.Contains(again, id(4)) {
		t.Errorf("second: %v", again)
	}
	client.User, client.Password, client.Token = "", "", w.tokens["siem"]
	if list, err := client.Collections(t.Context()); err != nil || len(list) != 1 || !list[0].CanRead || list[0].CanWrite {
		t.Errorf("collections %+v, %v", list, err)
	}
}

// TestStatusFits: a status of many objects is kept, with its counts.
func TestStatusFits(t *testing.T) {
	many := make([]statusDetail, maxPosted)
	for i := range many {
		many[i] = statusDetail{ID: id(i), Version: timestamp(time.Now()), Message: strings.Repeat("x", maxMessage)}
	}
	for _, st := range []status{{Failures: many[:10]}, {Successes: many, Failures: many[:10]}, {Failures: many}, {Successes: many, Failures: many}} {
		st.ID, st.SuccessCount, st.FailureCount = "x", len(st.Successes), len(st.Failures)
		enc, err := fit(st)
		var got status
		if err != nil || len(enc) > node.MaxTaxiiStatus || json.Unmarshal(enc, &got) != nil {
			t.Fatalf("%d bytes, %v", len(enc), err)
		}
		if got.SuccessCount != st.SuccessCount || got.FailureCount != st.FailureCount || len(got.Failures) != len(st.Failures) && len(st.Failures) < 1000 ||
			got.Successes != nil && len(got.Successes) != got.SuccessCount {
			t.Errorf("%d and %d became %d and %d", st.SuccessCount, st.FailureCount, len(got.Successes), len(got.Failures))
		}
	}
}

// TestAsOpenCTIReads: OpenCTI keeps next and added_after, asks for both, and cuts the time of the last
// object to milliseconds. It is given everything that way, too.
func TestAsOpenCTIReads(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	seen := map[string]bool{}
	next, after := "", ""
	run := func() (size int) { // one run of its ingestion manager: one request
		t.Helper()
		q := []string{"limit=3"}
		if next != "" {
			q = append(q, "next="+next)
		}
		if after != "" {
			q = append(q, "added_after="+after)
		}
		a := w.get(c + "objects/?" + strings.Join(q, "&"))
		for _, id := range a.ids(t) {
			seen[id] = true
		}
		e := a.envelope(t)
		if len(e.Objects) == 0 {
			return 0 // it keeps what it has, and asks the same again
		}
		if next = e.Next; !e.More || next == "" {
			last, err := parseTime(a.header.Get("X-TAXII-Date-Added-Last"))
			if err != nil {
				t.Fatal(err)
			}
			next, after = "", last.Format("2006-01-02T15:04:05.000Z")
		}
		return len(e.Objects)
	}
	if run() != 0 {
		t.Error("something of nothing")
	}
	for i := range 10 {
		for j := range 5 {
			w.post(c, indicator(i*5+j, 0))
		}
		for range 4 {
			run()
		}
		if len(seen) != 5*(i+1) {
			t.Fatalf("after %d objects it saw %d", 5*(i+1), len(seen))
		}
	}
}
