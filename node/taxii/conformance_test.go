package taxii

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/serve"
)

// The tests here are named after the sections of TAXII 2.1 (OASIS Standard, 10 June 2021) whose MUSTs
// for servers they show. docs/taxii-conformance.md lists the sentences.

var (
	uuid4     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	stampText = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
)

// filled is a world with objects in the collection c2: indicators 1 to 5 in that order, of which the
// second has three versions, and an observable.
func filled(t testing.TB) (*world, string) {
	t.Helper()
	w := newWorld(t, "c2", "other")
	c := w.collection("c2")
	w.post(c, indicator(1, 0), indicator(2, 10))
	w.post(c, indicator(2, 30), indicator(3, 0))
	w.post(c, indicator(2, 20), observable(1), indicator(4, 0), indicator(5, 0))
	return w, c
}

// endpoints are all that the standard defines, of a world as filled makes it.
func endpoints(c string, st *status) []string {
	return []string{"/taxii2/", rootPath, rootPath + "collections/", c, c + "manifest/", c + "objects/", c + "objects/" + id(2) + "/", c + "objects/" + id(2) + "/versions/",
		rootPath + "status/" + st.ID + "/"}
}

func TestMust2Identifiers(t *testing.T) {
	w, c := filled(t)
	var list collections
	if err := json.Unmarshal(w.get(rootPath+"collections/").body, &list); err != nil || len(list.Collections) != 2 {
		t.Fatalf("collections %+v, %v", list, err)
	}
	st := w.post(c, indicator(9, 0))
	for _, id := range []string{list.Collections[0].ID, list.Collections[1].ID, st.ID} {
		if !uuid4.MatchString(id) {
			t.Errorf("%s is no UUID of version 4", id)
		}
	}
	if a, b := identifier("n", "topic", "c2"), identifier("n", "topic", "c2"); a != b || a == identifier("n", "view", "c2") || a == identifier("n", "topicc2") {
		t.Errorf("ids of collections: %s %s", a, b)
	}
}

func TestMust2NoEmptyLists(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	for _, path := range []string{"/taxii2/", rootPath, rootPath + "collections/", c} {
		if a := w.get(path); strings.Contains(string(a.body), "[]") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	a := w.ask("tip", "POST", c+"objects/", []byte(`{"objects":[{"type":"indicator"}]}`))
	if strings.Contains(string(a.body), "[]") || strings.Contains(string(a.body), "successes") {
		t.Errorf("status: %s", a.body)
	}
}

func TestMust2Timestamps(t *testing.T) {
	w, c := filled(t)
	a := w.get(c + "manifest/")
	var m manifest
	if err := json.Unmarshal(a.body, &m); err != nil || len(m.Objects) == 0 {
		t.Fatalf("%s, %v", a.body, err)
	}
	list := []string{a.header.Get("X-TAXII-Date-Added-First"), a.header.Get("X-TAXII-Date-Added-Last"), w.post(c, indicator(9, 0)).At}
	for _, o := range m.Objects {
		list = append(list, o.DateAdded)
	}
	for _, s := range list {
		if !stampText.MatchString(s) {
			t.Errorf("timestamp %q", s)
		}
	}
}

func TestMust31Bodies(t *testing.T) {
	w, c := filled(t)
	st := w.post(c, indicator(9, 0))
	for _, path := range endpoints(c, st) {
		a := w.ask("tip", "GET", path, nil)
		if a.code != 200 || len(a.json(t)) == 0 {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
		if again := w.ask("tip", "GET", strings.TrimSuffix(path, "/"), nil); again.code != 200 {
			t.Errorf("%s without the slash: %d", path, again.code)
		}
	}
}

func TestMust31ContentType(t *testing.T) {
	w, c := filled(t)
	st := w.post(c, indicator(9, 0))
	check := func(what string, a *answer) {
		t.Helper()
		if got := a.header.Get("Content-Type"); got != mediaType {
			t.Errorf("%s: %d, Content-Type %q", what, a.code, got)
		}
	}
	for _, path := range append(endpoints(c, st), "/taxii2/nothing/", "/taxii2/root/collections/x/", c+"objects/?limit=0") {
		check(path, w.ask("tip", "GET", path, nil))
		check(path+" for nobody", w.ask("", "GET", path, nil))
		check(path+" of another type", w.ask("tip", "GET", path, nil, "Accept", "text/html"))
		check(path+" by PATCH", w.ask("tip", "PATCH", path, nil))
	}
	check("POST", w.ask("tip", "POST", c+"objects/", []byte(`{"objects":[`+indicator(9, 0)+`]}`)))
	check("POST of nonsense", w.ask("tip", "POST", c+"objects/", []byte(`nonsense`)))
	check("DELETE", w.ask("tip", "DELETE", c+"objects/"+id(9)+"/", nil))
}

func TestMust31Accept(t *testing.T) {
	w, c := filled(t)
	st := w.post(c, indicator(9, 0))
	for accept, code := range map[string]int{
		"application/taxii+json;version=2.1":                                   200,
		"application/taxii+json; version=2.1":                                  200,
		"application/taxii+json;version=\"2.1\"":                               200,
		"application/taxii+json":                                               200,
		"Application/TAXII+json":                                               200,
		"application/taxii+json;version=2.1,application/stix+json;version=2.1": 200, // as 5.3 has it
		"application/taxii+json;version=2.0, application/taxii+json;q=0.5":     200,
		"text/html, */*;q=0.1":                                                 200,
		"application/*":                                                        200,
		"":                                                                     200,
		"application/taxii+json;version=2.0":                                   406,
		"application/taxii+json;version=2.2":                                   406,
		"application/vnd.oasis.taxii+json":                                     406,
		"application/vnd.oasis.taxii+json; version=2.0":                        406,
		"application/json":                                                     406,
		"text/html":                                                            406,
		"application/taxii+json;version=2.1;q=0":                               406,
		"nonsense":                                                             406,
		"application/taxii+json;version=2.0,application/vnd.oasis.stix+json":    406,
		"application/xml,application/taxii+json;version=2.1;q=0.9;charset=utf8": 200,
	} {
		for _, path := range endpoints(c, st) {
			if a := w.ask("tip", "GET", path, nil, "Accept", accept); a.code != code {
				t.Errorf("%s with Accept %q: %d, want %d", path, accept, a.code, code)
			}
		}
	}
}

func TestMust31PostedType(t *testing.T) {
	w, c := filled(t)
	body := []byte(`{"objects":[` + indicator(9, 0) + `]}`)
	for typ, code := range map[string]int{
		mediaType:                                 202,
		"application/taxii+json":                  202,
		"application/taxii+json; version=2.1":     202,
		"application/taxii+json; charset=utf-8":   202,
		"application/taxii+json;version=2.0":      415,
		"application/stix+json;version=2.1":       415,
		"application/vnd.oasis.stix+json":         415,
		"application/json":                        415,
		"":                                        415,
		"nonsense/;":                              415,
		"application/vnd.oasis.taxii+json; a=2.1": 415,
	} {
		if a := w.ask("tip", "POST", c+"objects/", body, "Content-Type", typ); a.code != code {
			t.Errorf("Content-Type %q: %d, want %d", typ, a.code, code)
		}
	}
}

func TestMust32DateHeaders(t *testing.T) {
	w, c := filled(t)
	var m manifest
	if err := json.Unmarshal(w.get(c+"manifest/?match[version]=all").body, &m); err != nil {
		t.Fatal(err)
	}
	first, end := m.Objects[0].DateAdded, m.Objects[len(m.Objects)-1].DateAdded
	for _, path := range []string{"manifest/?match[version]=all", "objects/?match[version]=all"} {
		h := w.get(c + path).header
		if h.Get("X-TAXII-Date-Added-First") != first || h.Get("X-TAXII-Date-Added-Last") != end {
			t.Errorf("%s: %v, want %s and %s", path, h, first, end)
		}
	}
	for _, path := range []string{"objects/" + id(2) + "/", "objects/" + id(2) + "/versions/", "objects/?match[type]=malware", "manifest/?match[type]=malware", "objects/?added_after=2099-01-01T00:00:00Z"} {
		h := w.get(c + path).header
		if !stampText.MatchString(h.Get("X-TAXII-Date-Added-First")) || !stampText.MatchString(h.Get("X-TAXII-Date-Added-Last")) {
			t.Errorf("%s: %v", path, h)
		}
	}
	// Whoever goes on from an empty answer misses nothing.
	if got := w.get(c + "objects/?added_after=" + end).header.Get("X-TAXII-Date-Added-Last"); got != end {
		t.Errorf("after the last: %s, want %s", got, end)
	}
}

func TestMust33Sorted(t *testing.T) {
	w, c := filled(t)
	var m manifest
	if err := json.Unmarshal(w.get(c+"manifest/?match[version]=all").body, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Objects) != 8 || !slices.IsSortedFunc(m.Objects, func(a, b manifestRecord) int { return strings.Compare(a.DateAdded, b.DateAdded) }) {
		t.Errorf("manifest of %d: %+v", len(m.Objects), m.Objects)
	}
	var order []string
	for _, o := range m.Objects {
		order = append(order, o.ID)
	}
	if got := w.get(c + "objects/?match[version]=all").ids(t); !slices.Equal(got, order) {
		t.Errorf("objects %v, manifest %v", got, order)
	}
	dates := map[string]bool{}
	for _, o := range m.Objects {
		dates[o.DateAdded] = true
	}
	if len(dates) != 8 {
		t.Errorf("%d dates of 8 versions", len(dates))
	}
}

func TestMust33CollectionsInOrder(t *testing.T) {
	w := newWorld(t, "e", "b", "d", "a", "c")
	w.view(node.View{Name: "z"})
	w.view(node.View{Name: "y"})
	first := w.get(rootPath + "collections/")
	for range 10 {
		if again := w.get(rootPath + "collections/"); string(again.body) != string(first.body) {
			t.Fatalf("once %s, then %s", first.body, again.body)
		}
	}
}

func TestMust34Malformed(t *testing.T) {
	w, c := filled(t)
	for _, q := range []string{
		"added_after=yesterday", "added_after=2026-01-01", "added_after=", "added_after=2026-01-01T00:00:00.000000Z,2026-01-02T00:00:00.000000Z",
		"limit=0", "limit=-1", "limit=x", "limit=1.5", "limit=", "limit=+1", "limit=00", "next=x",
		"match[id]=", "match[type]=a,,b", "match[version]=", "match[version]=newest", "match[version]=2016-01-01", "match[version]=all,last",
		"match[version]=last,last", "match[version]=2016-01-01T01:01:01.000Z,2016-01-01T01:01:01Z", "%zz", "match[type]=" + strings.Repeat("a,", 200) + "a", "match[id]=" + strings.Repeat("a", 40000),
	} {
		for _, path := range []string{"objects/", "manifest/"} {
			if a := w.ask("siem", "GET", c+path+"?"+q, nil); a.code != 400 {
				t.Errorf("%s?%.60s: %d %s", path, q, a.code, a.body)
			}
		}
	}
}

func TestMust34Once(t *testing.T) {
	w, c := filled(t)
	now := timestamp(time.Now())
	for _, q := range []string{"added_after=" + now + "&added_after=" + now, "limit=1&limit=1", "next=a&next=b", "match[type]=indicator&match[type]=malware", "match[version]=first&match[version]=last", "match[id]=" + id(1) + "&match[id]=" + id(1)} {
		if a := w.ask("siem", "GET", c+"objects/?"+q, nil); a.code != 400 {
			t.Errorf("%s: %d", q, a.code)
		}
	}
}

func TestMust34AddedAfter(t *testing.T) {
	w, c := filled(t)
	var m manifest
	if err := json.Unmarshal(w.get(c+"manifest/?match[version]=all").body, &m); err != nil {
		t.Fatal(err)
	}
	for i, o := range m.Objects {
		var want []string
		for _, later := range m.Objects[i+1:] {
			want = append(want, later.ID)
		}
		if got := w.get(c + "objects/?match[version]=all&added_after=" + o.DateAdded).ids(t); len(got) != len(want) || len(want) > 0 && !slices.Equal(got, want) {
			t.Errorf("after %s: %v, want %v", o.DateAdded, got, want)
		}
	}
	if got := w.get(c + "objects/?limit=1").ids(t); got[0] != id(1) {
		t.Errorf("without added_after, first %v", got)
	}
	if got := w.get(c + "objects/?match[version]=all&added_after=2016-02-03T04:05:06Z").ids(t); len(got) != 8 {
		t.Errorf("after a time in seconds: %v", got)
	}
}

func TestMust34Limit(t *testing.T) {
	w, c := filled(t)
	for limit := 1; limit <= 10; limit++ {
		for _, path := range []string{"objects/", "manifest/"} {
			a := w.get(fmt.Sprintf("%s%s?limit=%d", c, path, limit))
			got := a.ids(t)
			if len(got) != min(limit, 6) {
				t.Errorf("%s, limit %d: %d objects", path, limit, len(got))
			}
			if more := a.envelope(t).More; more != (limit < 6) {
				t.Errorf("%s, limit %d: more is %v", path, limit, more)
			}
		}
	}
	if got := w.get(c + "objects/?limit=99999999999999999999").ids(t); len(got) != 6 {
		t.Errorf("a limit that is out of all bounds: %v", got)
	}
}

func TestMust34MatchIsAnd(t *testing.T) {
	w, c := filled(t)
	for q, want := range map[string]int{
		"match[type]=indicator":                                            5,
		"match[type]=indicator,ipv4-addr":                                  6,
		"match[type]=ipv4-addr&match[id]=" + id(1):                         0,
		"match[type]=indicator&match[id]=" + id(1) + "," + id(3):           2,
		"match[id]=" + id(2) + "&match[version]=all":                       3,
		"match[id]=" + id(2) + "&match[version]=all&match[type]=malware":   0,
		"match[id]=" + id(2) + ",nonsense":                                 1,
		"match[type]=indicator&match[spec_version]=2.0":                    0,
		"match[type]=indicator&match[spec_version]=2.1,2.0&match[x_own]=a": 5, // of which this server knows nothing
	} {
		for _, path := range []string{"objects/", "manifest/"} {
			if got := w.get(c + path + "?" + q).ids(t); len(got) != want {
				t.Errorf("%s?%s: %d, want %d", path, q, len(got), want)
			}
		}
	}
}

func TestMust341SpecVersion(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	w.post(c, indicator(1, 0), observable(3), strings.Replace(observable(4), `"spec_version":"2.1",`, "", 1))
	w.post(c, indicator(1, 9))
	for q, want := range map[string]int{
		"match[spec_version]=2.1": 3, "match[spec_version]=2.0": 0, "match[spec_version]=2.0,2.1": 3, "match[spec_version]=3.0": 0, "": 3,
		"match[spec_version]=2.1&match[version]=all": 4, "match[spec_version]=2.1&match[version]=first": 3,
	} {
		if got := w.get(c + "objects/?" + q).ids(t); len(got) != want {
			t.Errorf("%q: %v, want %d", q, got, want)
		}
	}
	// There is nothing of 2.0: it is not taken.
	a := w.ask("tip", "POST", c+"objects/", []byte(`{"objects":[`+strings.Replace(indicator(2, 0), `"spec_version": "2.1",`, "", 1)+`]}`))
	if a.code != 202 || !strings.Contains(string(a.body), `"failure_count":1`) {
		t.Errorf("an object of 2.0: %d %s", a.code, a.body)
	}
}

// stixTypes are those of STIX 2.1, parts 4 to 7.
var stixTypes = strings.Fields(`attack-pattern campaign course-of-action grouping identity indicator infrastructure intrusion-set location malware
	malware-analysis note observed-data opinion report threat-actor tool vulnerability relationship sighting artifact autonomous-system directory
	domain-name email-addr email-message file ipv4-addr ipv6-addr mac-addr mutex network-traffic process software url user-account
	windows-registry-key x509-certificate extension-definition language-content marking-definition`)

func TestMust341Types(t *testing.T) {
	w, c := filled(t)
	for _, typ := range append(stixTypes, "x-own", "bundle") {
		a := w.ask("siem", "GET", c+"objects/?match[type]="+typ, nil)
		want := map[string]int{"indicator": 5, "ipv4-addr": 1}[typ]
		if a.code != 200 || len(a.ids(t)) != want {
			t.Errorf("%s: %d %s", typ, a.code, a.body)
		}
	}
}

func TestMust341Version(t *testing.T) {
	w, c := filled(t) // 2 was modified at 10, then came 30, then 20
	at := func(s int) string { return fmt.Sprintf("2026-01-01T00:00:%02d.000Z", s) }
	for q, want := range map[string]string{
		"":                                                  at(30),
		"match[version]=last":                               at(30),
		"match[version]=first":                              at(10),
		"match[version]=all":                                at(10) + at(30) + at(20),
		"match[version]=first,last":                         at(10) + at(30),
		"match[version]=last," + at(20):                     at(30) + at(20),
		"match[version]=" + at(20):                          at(20),
		"match[version]=2026-01-01T00:00:20Z":               at(20), // the same moment
		"match[version]=2026-01-01T00:00:20.001Z":           "",
		"match[version]=" + at(10) + "," + at(20):           at(10) + at(20),
		"match[version]=first," + at(20) + ",last":          at(10) + at(30) + at(20),
		"match[version]=first,2018-03-02T01:01:01.123Z":     at(10),
		"match[version]=all&match[type]=indicator&limit=99": at(10) + at(30) + at(20),
	} {
		var m manifest
		if err := json.Unmarshal(w.get(c+"manifest/?match[id]="+id(2)+"&"+q).body, &m); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, o := range m.Objects {
			got += o.Version
		}
		if got != want {
			t.Errorf("%q by id: %s, want %s", q, got, want)
		}
		m = manifest{}
		if err := json.Unmarshal(w.get(c+"manifest/?"+q).body, &m); err != nil {
			t.Fatal(err)
		}
		got = ""
		for _, o := range m.Objects {
			if o.ID == id(2) {
				got += o.Version
			}
		}
		if got != want {
			t.Errorf("%q among all: %s, want %s", q, got, want)
		}
	}
}

func TestMust341Unversioned(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	def := `{"type":"marking-definition","spec_version":"2.1","id":"marking-definition--00000000-0000-4000-8000-000000000001","created":"2026-02-03T04:05:06.000Z","definition_type":"statement","definition":{"statement":"ours"},"object_marking_refs":["` + green + `"]}`
	st := w.post(c, def, observable(1))
	var m manifest
	if err := json.Unmarshal(w.get(c+"manifest/").body, &m); err != nil || len(m.Objects) != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	if m.Objects[0].Version != "2026-02-03T04:05:06.000Z" || m.Objects[1].Version != m.Objects[1].DateAdded {
		t.Errorf("versions %+v", m.Objects)
	}
	if again := w.post(c, observable(1)); st.Successes[0].Version != m.Objects[0].Version || st.Successes[1].Version != m.Objects[1].Version || again.Successes[0].Version != m.Objects[1].Version {
		t.Errorf("the status says %+v and %+v, the manifest %+v", st.Successes, again.Successes, m.Objects)
	}
	for _, o := range m.Objects {
		if got := w.get(c + "objects/?match[version]=" + o.Version).ids(t); len(got) != 1 || got[0] != o.ID {
			t.Errorf("%s by its version: %v", o.ID, got)
		}
		if a := w.get(c + "objects/" + o.ID + "/versions/"); !strings.Contains(string(a.body), o.Version) {
			t.Errorf("%s: versions %s", o.ID, a.body)
		}
	}
}

func TestMust35More(t *testing.T) {
	w, c := filled(t)
	for limit := 1; limit <= 7; limit++ {
		got, pages := w.all("siem", c+"objects/", "", limit)
		wantIDs(t, "without the observable", slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "ipv4") }), 1, 2, 3, 4, 5)
		if want := (6 + limit - 1) / limit; pages != want {
			t.Errorf("limit %d: %d pages, want %d", limit, pages, want)
		}
	}
	// The same by added_after, as OpenCTI does it with servers that give no next.
	got, after := []string{}, ""
	for range 20 {
		a := w.get(c + "objects/?limit=2" + after)
		got = append(got, a.ids(t)...)
		if !a.envelope(t).More {
			break
		}
		after = "&added_after=" + a.header.Get("X-TAXII-Date-Added-Last")
	}
	if len(got) != 6 {
		t.Errorf("by added_after: %v", got)
	}
}

func TestMust361Errors(t *testing.T) {
	w, c := filled(t)
	for path, code := range map[string]int{"/taxii2/nothing/": 404, c + "objects/?limit=0": 400, c + "objects/x/": 404, rootPath + "status/" + id(1) + "/": 404} {
		a := w.ask("siem", "GET", path, nil)
		v := a.json(t)
		if a.code != code || v["http_status"] != strconv.Itoa(code) || v["title"] == "" || v["title"] == nil {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
	}
}

func TestMust37Envelope(t *testing.T) {
	w, c := filled(t)
	for _, path := range []string{"objects/", "objects/" + id(1) + "/", "objects/?match[type]=malware"} {
		v := w.get(c + path).json(t)
		objects, ok := v["objects"].([]any)
		if _, more := v["more"].(bool); !ok || !more {
			t.Errorf("%s: %v", path, v)
		}
		for _, o := range objects {
			if m, ok := o.(map[string]any); !ok || m["type"] == nil || m["id"] == nil {
				t.Errorf("%s: %v", path, o)
			}
		}
	}
}

// TestMust38Names: resources have the properties of the standard's tables, all that are required, and
// none else but custom ones.
func TestMust38Names(t *testing.T) {
	w, c := filled(t)
	st := w.post(c, indicator(9, 0))
	for path, want := range map[string]struct{ required, optional string }{
		"/taxii2/":                   {"title", "description contact default api_roots"},
		rootPath:                     {"title versions max_content_length", "description"},
		rootPath + "collections/":    {"", "collections"},
		c:                            {"id title can_read can_write", "description alias media_types"},
		c + "manifest/?limit=1":      {"", "more next objects"},
		c + "objects/?limit=1":       {"", "more next objects"},
		c + "objects/" + id(2) + "/": {"", "more next objects"},
		rootPath + "status/" + st.ID: {"id status total_count success_count failure_count pending_count", "request_timestamp successes failures pendings"},
		c + "objects/" + id(2) + "/versions/?limit=1": {"", "more next versions"},
		"/taxii2/nothing/":                            {"title", "description error_id error_code http_status external_details details"},
	} {
		v := w.ask("tip", "GET", path, nil).json(t)
		for _, name := range strings.Fields(want.required) {
			if _, ok := v[name]; !ok {
				t.Errorf("%s has no %s: %v", path, name, v)
			}
		}
		for name := range v {
			if !slices.Contains(strings.Fields(want.required+" "+want.optional), name) && !strings.HasPrefix(name, "x_entente_") {
				t.Errorf("%s has %s", path, name)
			}
		}
	}
	var m struct{ Objects []map[string]any }
	if err := json.Unmarshal(w.get(c+"manifest/").body, &m); err != nil {
		t.Fatal(err)
	}
	for _, o := range m.Objects {
		if o["id"] == nil || o["date_added"] == nil || o["version"] == nil {
			t.Errorf("manifest record %v", o)
		}
	}
}

func TestMust411APIRoots(t *testing.T) {
	w := newWorld(t, "c2")
	var d discovery
	if err := json.Unmarshal(w.get("/taxii2/").body, &d); err != nil || len(d.Roots) == 0 || !slices.Contains(d.Roots, d.Default) {
		t.Fatalf("%+v, %v", d, err)
	}
	seen := map[string]bool{}
	for _, u := range d.Roots {
		if !strings.HasPrefix(u, "/") || strings.HasPrefix(u, "//") || strings.ContainsAny(u, "?#") || seen[u] {
			t.Errorf("API root %q", u)
		}
		seen[u] = true
		w.get(u)
	}
}

func TestMust421APIRoot(t *testing.T) {
	w, c := filled(t)
	var root apiRoot
	if err := json.Unmarshal(w.get(rootPath).body, &root); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(root.Versions, "application/taxii+json;version=2.1") || root.MaxContent < 1 || root.MaxContent >= 1<<53 {
		t.Errorf("%+v", root)
	}
	body := func(size int64) []byte {
		b := []byte(`{"objects":[` + indicator(9, 0) + `]`)
		return append(append(b, []byte(strings.Repeat(" ", int(size)-len(b)-1))...), '}')
	}
	if a := w.ask("tip", "POST", c+"objects/", body(root.MaxContent-1)); a.code != 202 {
		t.Errorf("just below: %d %s", a.code, a.body)
	}
	if a := w.ask("tip", "POST", c+"objects/", body(root.MaxContent+1)); a.code != 413 {
		t.Errorf("above: %d %s", a.code, a.body)
	}
}

func TestMust43Status(t *testing.T) {
	w, c := filled(t)
	st := w.post(c, indicator(9, 0), observable(9))
	again := w.ask("tip", "GET", rootPath+"status/"+st.ID+"/", nil)
	var got status
	if err := json.Unmarshal(again.body, &got); err != nil || !reflect.DeepEqual(&got, st) {
		t.Errorf("got %s, want %+v", again.body, st)
	}
	w.serve()
	if a := w.ask("tip", "GET", rootPath+"status/"+st.ID+"/", nil); a.code != 200 {
		t.Errorf("after a restart: %d", a.code)
	}
	for as, id := range map[string]string{"siem": st.ID, "tip": "00000000-0000-4000-8000-000000000000"} {
		if a := w.ask(as, "GET", rootPath+"status/"+id+"/", nil); a.code != 404 {
			t.Errorf("%s asks for %s: %d %s", as, id, a.code, a.body)
		}
	}
	if a := w.ask("tip", "GET", rootPath+"status/key/", nil); a.code != 404 {
		t.Errorf("the key as a status: %d %s", a.code, a.body)
	}
}

func TestMust431StatusResource(t *testing.T) {
	w, c := filled(t)
	body := `{"objects":[` + strings.Join([]string{indicator(9, 7), observable(9),
		strings.Replace(indicator(10, 0), green, "marking-definition--00000000-0000-4000-8000-00000000000f", 1), // states no TLP
		`{"type":"indicator","id":"indicator--x"}`, `7`, indicator(9, 7)}, ",") + `]}`
	a := w.ask("tip", "POST", c+"objects/", []byte(body))
	var st status
	if err := json.Unmarshal(a.body, &st); err != nil || a.code != 202 {
		t.Fatalf("%d %s, %v", a.code, a.body, err)
	}
	if st.Status != "complete" || st.Total != 6 || st.SuccessCount != 3 || st.FailureCount != 3 || st.PendingCount != 0 ||
		len(st.Successes) != st.SuccessCount || len(st.Failures) != st.FailureCount || st.SuccessCount+st.FailureCount+st.PendingCount != st.Total {
		t.Fatalf("status %s", a.body)
	}
	if s := st.Successes[0]; s.ID != id(9) || s.Version != "2026-01-01T00:00:07.000Z" {
		t.Errorf("success %+v", s)
	}
	if f := st.Failures[0]; f.ID != id(10) || f.Version == "" || f.Message == "" {
		t.Errorf("failure %+v", f)
	}
	if f := st.Failures[2]; f.ID == "" || f.Version == "" || f.Message == "" {
		t.Errorf("failure of what is no object: %+v", f)
	}
	if got := w.get(c + "objects/?match[id]=" + id(9) + "," + id(10)).ids(t); len(got) != 1 {
		t.Errorf("published %v", got)
	}
}

func TestMust5Unauthorised(t *testing.T) {
	w, c := filled(t)
	st := w.post(c, indicator(9, 0))
	for _, path := range endpoints(c, st) {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			for _, auth := range []string{"", "Basic c2llbTp3cm9uZw==", "Bearer wrong", "Bearer "} {
				a := w.ask("", method, path, nil, "Authorization", auth)
				if a.code != 401 || len(a.header.Values("WWW-Authenticate")) == 0 || a.json(t)["http_status"] != "401" {
					t.Errorf("%s %s with %q: %d %s", method, path, auth, a.code, a.body)
				}
			}
		}
		if a := w.ask("", "GET", path, nil, "Authorization", "Bearer "+w.tokens["tip"]); a.code != 200 {
			t.Errorf("%s by bearer: %d", path, a.code)
		}
	}
}

func TestMust511NoCollections(t *testing.T) {
	w := newWorld(t)
	if a := w.get(rootPath + "collections/"); strings.TrimSpace(string(a.body)) != "{}" {
		t.Errorf("no collections: %s", a.body)
	}
}

func TestMust521Collection(t *testing.T) {
	w, c := filled(t)
	w.view(node.View{Name: "c2", Title: "c2"}) // called as the topic is
	var list collections
	if err := json.Unmarshal(w.get(rootPath+"collections/").body, &list); err != nil {
		t.Fatal(err)
	}
	aliases := map[string]bool{}
	for _, col := range list.Collections {
		if aliases[col.Alias] || col.Alias == "" {
			t.Errorf("alias %q", col.Alias)
		}
		aliases[col.Alias] = true
		if a := w.get(rootPath + "collections/" + col.Alias + "/"); a.json(t)["id"] != col.ID {
			t.Errorf("by alias %s: %s", col.Alias, a.body)
		}
		if !slices.Equal(col.MediaTypes, []string{stix21}) {
			t.Errorf("media types %v", col.MediaTypes)
		}
	}
	for as, want := range map[string][2]bool{"siem": {true, false}, "tip": {true, true}} {
		v := w.ask(as, "GET", c, nil).json(t)
		if v["can_read"] != want[0] || v["can_write"] != want[1] {
			t.Errorf("%s: %v", as, v)
		}
	}
}

func TestMust53To58CannotRead(t *testing.T) {
	w, c := filled(t)
	w.consumer("writer", node.ScopePublish)
	for _, path := range []string{"manifest/", "objects/", "objects/" + id(1) + "/", "objects/" + id(1) + "/versions/"} {
		if a := w.ask("writer", "GET", c+path, nil); a.code != 403 && a.code != 404 {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
	}
	if v := w.ask("writer", "GET", c, nil).json(t); v["can_read"] != false || v["can_write"] != true {
		t.Errorf("collection %v", v)
	}
}

func TestMust53Manifest(t *testing.T) {
	w, c := filled(t)
	var m manifest
	if err := json.Unmarshal(w.get(c+"manifest/").body, &m); err != nil {
		t.Fatal(err)
	}
	objects := w.get(c + "objects/").envelope(t).Objects
	for i, o := range m.Objects {
		var v struct{ ID, Modified string }
		if err := json.Unmarshal(objects[i], &v); err != nil {
			t.Fatal(err)
		}
		if o.ID != v.ID || v.Modified != "" && o.Version != v.Modified || o.MediaType != stix21 {
			t.Errorf("manifest %+v of %+v", o, v)
		}
	}
	if a := w.get(c + "manifest/?match[type]=malware"); strings.TrimSpace(string(a.body)) != `{"more":false,"objects":[]}` {
		t.Errorf("an empty manifest: %s", a.body)
	}
}

func TestMust54EmptyEnvelope(t *testing.T) {
	w := newWorld(t, "c2")
	if a := w.get(w.collection("c2") + "objects/"); string(a.body) != "{\"more\":false,\"objects\":[]}\n" {
		t.Errorf("got %s", a.body)
	}
}

func TestMust55CannotWrite(t *testing.T) {
	w, c := filled(t)
	body := []byte(`{"objects":[` + indicator(9, 0) + `]}`)
	if a := w.ask("siem", "POST", c+"objects/", body); a.code != 403 {
		t.Errorf("without the scope: %d %s", a.code, a.body)
	}
	w.rules(`@id("no-publish") forbid (principal in Role::"officer", action == Action::"publish", resource);`)
	if a := w.ask("tip", "POST", c+"objects/", body); a.code != 403 {
		t.Errorf("against a rule: %d %s", a.code, a.body)
	}
	if got := w.get(c + "objects/?match[id]=" + id(9)).ids(t); len(got) != 0 {
		t.Errorf("published %v", got)
	}
}

func TestMust55Duplicates(t *testing.T) {
	w, c := filled(t)
	for range 2 {
		w.post(c, indicator(9, 0))
	}
	w.post(c, indicator(9, 0), indicator(9, 0))
	if got := w.get(c + "objects/?match[version]=all&match[id]=" + id(9)).ids(t); len(got) != 1 {
		t.Errorf("held %d times", len(got))
	}
}

func TestMust55Unprocessable(t *testing.T) {
	w, c := filled(t)
	for _, body := range []string{``, `nonsense`, `[]`, `{}`, `{"objects":[]}`, `{"objects":{}}`, `{"objects":[` + strings.Repeat("7,", maxPosted) + `7]}`} {
		if a := w.ask("tip", "POST", c+"objects/", append([]byte{}, body...)); a.code != 422 {
			t.Errorf("%.40q: %d %s", body, a.code, a.body)
		}
	}
}

func TestMust56Object(t *testing.T) {
	w, c := filled(t)
	for path, want := range map[string]int{
		id(1) + "/": 200, id(2) + "/?match[version]=2026-01-01T00:00:20.000Z": 200, id(2) + "/?match[spec_version]=2.1": 200,
		id(99) + "/": 404, "x/": 404, "indicator--/": 404, id(2) + "/?match[version]=2026-01-01T00:00:21.000Z": 404,
		id(1) + "/?match[type]=indicator": 400, id(1) + "/?match[id]=" + id(1): 400, id(1) + "/versions/?match[version]=all": 400,
	} {
		a := w.ask("siem", "GET", c+"objects/"+path, nil)
		if a.code != want {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
		if want == 200 && len(a.ids(t)) != 1 {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if a := w.get(c + "objects/" + id(1) + "/?added_after=2099-01-01T00:00:00.000000Z"); len(a.ids(t)) != 0 {
		t.Errorf("added after it was: %s", a.body)
	}
}

func TestMust57Delete(t *testing.T) {
	w, c := filled(t)
	if a := w.ask("tip", "DELETE", c+"objects/"+id(2)+"/?match[version]=2026-01-01T00:00:30.000Z", nil); a.code != 200 || len(a.body) != 0 {
		t.Fatalf("one version: %d %s", a.code, a.body)
	}
	if a := w.ask("siem", "GET", c+"objects/"+id(2)+"/?match[version]=2026-01-01T00:00:30.000Z", nil); a.code != 404 {
		t.Errorf("that version: %d %s", a.code, a.body)
	}
	if a := w.get(c + "objects/" + id(2) + "/?match[version]=all"); len(a.ids(t)) != 2 {
		t.Errorf("the others: %s", a.body)
	}
	if a := w.ask("tip", "DELETE", c+"objects/"+id(2)+"/", nil); a.code != 200 {
		t.Fatalf("all: %d %s", a.code, a.body)
	}
	for _, path := range []string{"", "?match[version]=all", "versions/"} {
		if a := w.ask("siem", "GET", c+"objects/"+id(2)+"/"+path, nil); a.code != 404 {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
	}
	for _, path := range []string{"objects/?match[version]=all", "manifest/?match[version]=all", "objects/?match[id]=" + id(2), "manifest/?match[id]=" + id(2)} {
		if got := w.get(c + path).ids(t); slices.Contains(got, id(2)) {
			t.Errorf("%s: %v", path, got)
		}
	}
	if a := w.ask("tip", "DELETE", c+"objects/"+id(2)+"/", nil); a.code != 404 {
		t.Errorf("again: %d %s", a.code, a.body)
	}
	w.post(c, indicator(2, 40)) // and it may come again
	if a := w.get(c + "objects/" + id(2) + "/?match[version]=all"); len(a.ids(t)) != 1 {
		t.Errorf("published anew: %s", a.body)
	}
}

func TestMust57Permissions(t *testing.T) {
	w, c := filled(t)
	w.consumer("neither", node.ScopeWithdraw)
	w.consumer("writer", node.ScopePublish, node.ScopeWithdraw)
	w.consumer("both", node.ScopeRead, node.ScopePublish)
	w.rules(`@id("nothing") forbid (principal in Role::"sink", action in [Action::"read", Action::"publish"], resource) when { resource.topic == "c2" };`)
	for as, want := range map[string]int{"siem": 404, "tip": 200} {
		if a := w.ask(as, "DELETE", c+"objects/"+id(1)+"/", nil); a.code != want {
			t.Errorf("%s: %d %s", as, a.code, a.body)
		}
	}
	w2, c := filled(t)
	w2.consumer("neither", node.ScopeWithdraw)
	w2.consumer("writer", node.ScopePublish, node.ScopeWithdraw)
	w2.consumer("both", node.ScopeRead, node.ScopePublish)
	for as, want := range map[string]int{"neither": 404, "siem": 403, "writer": 403, "both": 403} {
		if a := w2.ask(as, "DELETE", c+"objects/"+id(1)+"/", nil); a.code != want {
			t.Errorf("%s: %d %s", as, a.code, a.body)
		}
	}
	if a := w2.get(c + "objects/" + id(1) + "/"); len(a.ids(t)) != 1 {
		t.Errorf("it is gone")
	}
}

func TestMust58Versions(t *testing.T) {
	w, c := filled(t)
	a := w.get(c + "objects/" + id(2) + "/versions/")
	var v versions
	if err := json.Unmarshal(a.body, &v); err != nil || !slices.Equal(v.Versions, []string{"2026-01-01T00:00:10.000Z", "2026-01-01T00:00:30.000Z", "2026-01-01T00:00:20.000Z"}) {
		t.Errorf("%s, %v", a.body, err)
	}
	if a := w.get(c + "objects/" + id(2) + "/versions/?added_after=2099-01-01T00:00:00.000000Z"); strings.TrimSpace(string(a.body)) != `{"more":false,"versions":[]}` {
		t.Errorf("none: %s", a.body)
	}
	a = w.get(c + "objects/" + id(2) + "/versions/?limit=2")
	if err := json.Unmarshal(a.body, &v); err != nil || len(v.Versions) != 2 || !v.More {
		t.Errorf("%s, %v", a.body, err)
	}
	v = versions{}
	if err := json.Unmarshal(w.get(c+"objects/"+id(2)+"/versions/?limit=2&next="+w.get(c + "objects/" + id(2) + "/versions/?limit=2").json(t)["next"].(string)).body, &v); err != nil || len(v.Versions) != 1 || v.More {
		t.Errorf("the second page: %+v, %v", v, err)
	}
}

func TestMust711CustomProperties(t *testing.T) {
	w, c := filled(t)
	for _, path := range []string{"objects/", "manifest/?limit=1"} {
		for name := range w.get(c + path).json(t) {
			if strings.HasPrefix(name, "x") && !regexp.MustCompile(`^x_[a-z0-9_]{1,248}$`).MatchString(name) {
				t.Errorf("%s: custom property %q", path, name)
			}
		}
	}
	body := []byte(`{"x_other_thing":{"a":1},"objects":[` + indicator(9, 0) + `]}`)
	if a := w.ask("tip", "POST", c+"objects/", body); a.code != 202 {
		t.Errorf("a custom property: %d %s", a.code, a.body)
	}
}

func TestMust821Server(t *testing.T) {
	w := newWorld(t, "c2")
	w.get("/taxii2/")
	if a := w.ask("siem", "GET", "/taxii2/", nil, "User-Agent", ""); a.code != 200 {
		t.Errorf("without User-Agent: %d", a.code)
	}
	if a := w.ask("siem", "HEAD", "/taxii2/", nil); a.code != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: %d %s", a.code, a.body)
	}
	if a := w.ask("siem", "PUT", "/taxii2/", nil); a.code != 405 || a.header.Get("Allow") != "GET" {
		t.Errorf("PUT: %d %v", a.code, a.header)
	}
}

// TestMust822TLS is of the listener that 'entente up --serve' opens.
func TestMust822TLS(t *testing.T) {
	w := newWorld(t, "c2")
	config, _, err := serve.OwnConfig(w.n, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	w.srv.Close()
	s := serve.New(w.n, nil)
	if err := Mount(s, w.n, nil); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(l)
	defer srv.Close()
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conf := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version} // a test of versions, not of trust
		conn, err := tls.Dial("tcp", l.Addr().String(), conf)
		if (err == nil) != ok {
			t.Errorf("TLS version %x: %v", version, err)
		}
		if err != nil {
			continue
		}
		if slices.ContainsFunc(tls.InsecureCipherSuites(), func(c *tls.CipherSuite) bool { return c.ID == conn.ConnectionState().CipherSuite }) {
			t.Errorf("cipher suite %x", conn.ConnectionState().CipherSuite)
		}
		conn.Close()
	}
}

// TestConformanceTable holds docs/taxii-conformance.md and the tests here in step.
func TestConformanceTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/taxii-conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") {
				have[fn.Name.Name] = true
			}
		}
	}
	listed, rows := map[string]bool{}, 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 5 || strings.HasPrefix(line, "| section") || strings.HasPrefix(line, "|---") {
			continue
		}
		rows++
		names := regexp.MustCompile(`Test\w+`).FindAllString(cells[3], -1)
		if len(names) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, name := range names {
			if listed[name] = true; !have[name] {
				t.Errorf("there is no %s: %s", name, line)
			}
		}
	}
	for name := range have {
		if strings.HasPrefix(name, "TestMust") && !listed[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
	if rows < 50 {
		t.Errorf("read %d rows", rows)
	}
}
