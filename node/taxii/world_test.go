package taxii

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/policy/rules"
)

// world is a node that serves TAXII over TLS, and a client of it that knows nothing but HTTP.
type world struct {
	t      testing.TB
	n      *node.Node
	srv    *httptest.Server
	tokens map[string]string // by consumer
}

const green = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"

func newWorld(t testing.TB, topics ...string) *world {
	t.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, n: n, tokens: map[string]string{}}
	for _, topic := range topics {
		if err := n.JoinTopic(topic); err != nil {
			t.Fatal(err)
		}
	}
	w.consumer("siem", node.ScopeRead)
	w.consumer("tip", node.Scopes()...)
	w.serve()
	return w
}

// serve begins to serve, as a node does that was started again.
func (w *world) serve() {
	w.t.Helper()
	s := serve.New(w.n, nil)
	if err := Mount(s, w.n, nil); err != nil {
		w.t.Fatal(err)
	}
	w.srv = httptest.NewTLSServer(s)
	w.t.Cleanup(w.srv.Close)
}

func (w *world) consumer(name string, scopes ...node.Scope) {
	w.t.Helper()
	token, err := w.n.AddConsumer(node.Consumer{Name: name, Scopes: scopes, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.tokens[name] = token
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// ask does a request as cti-taxii-client does it: HTTP Basic, Accept, a path that ends in "/".
func (w *world) ask(as, method, path string, body []byte, header ...string) *answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.srv.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Accept", mediaType)
	req.Header.Set("User-Agent", "TAXII2-Client/2.3.0")
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	if as != "" {
		req.SetBasicAuth(as, w.tokens[as])
	}
	for i := 0; i < len(header); i += 2 {
		if req.Header.Del(header[i]); header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := w.srv.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &answer{resp.StatusCode, resp.Header, b}
}

// get is a GET by "siem" that is answered with 200.
func (w *world) get(path string) *answer {
	w.t.Helper()
	a := w.ask("siem", "GET", path, nil)
	if a.code != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", path, a.code, a.body)
	}
	return a
}

func (a *answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

func (a *answer) envelope(t testing.TB) (e envelope) {
	t.Helper()
	if err := json.Unmarshal(a.body, &e); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return e
}

// ids are those of the objects, in their order.
func (a *answer) ids(t testing.TB) []string {
	t.Helper()
	var v struct{ Objects []struct{ ID string } }
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	list := []string{}
	for _, o := range v.Objects {
		list = append(list, o.ID)
	}
	return list
}

// collection is the path of that of a topic or a view.
func (w *world) collection(title string) string {
	w.t.Helper()
	return w.collectionFor("tip", title)
}

func (w *world) collectionFor(as, title string) string {
	w.t.Helper()
	var list collections
	a := w.ask(as, "GET", rootPath+"collections/", nil)
	if err := json.Unmarshal(a.body, &list); err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list.Collections {
		if c.Title == title {
			return rootPath + "collections/" + c.ID + "/"
		}
	}
	return ""
}

func id(n int) string { return fmt.Sprintf("indicator--00000000-0000-4000-8000-%012d", n) }

// indicator is the n-th, modified so many seconds after the start of 2026, with white space as its
// author likes it.
func indicator(n, second int, more ...string) string {
	when := time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC).Format("2006-01-02T15:04:05.000Z")
	return fmt.Sprintf(`{"type": "indicator", "spec_version": "2.1",  "id": %q, "created": "2026-01-01T00:00:00.000Z", "modified": %q, "pattern": "[ipv4-addr:value = '198.51.100.%d']", "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00Z", "object_marking_refs": [%q]%s}`,
		id(n), when, n%250+1, green, strings.Join(more, ""))
}

// observable is an object without a time, of the n-th address.
func observable(n int) string {
	return fmt.Sprintf(`{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--00000000-0000-5000-8000-%012d","value":"203.0.113.%d","object_marking_refs":[%q]}`, n, n, green)
}

// post adds objects to a collection, all of which are taken.
func (w *world) post(collection string, objects ...string) *status {
	w.t.Helper()
	a := w.ask("tip", "POST", collection+"objects/", []byte(`{"objects":[`+strings.Join(objects, ",\n")+`]}`))
	var st status
	if err := json.Unmarshal(a.body, &st); err != nil || a.code != http.StatusAccepted {
		w.t.Fatalf("POST: %d %s (%v)", a.code, a.body, err)
	}
	if st.SuccessCount != len(objects) {
		w.t.Fatalf("POST of %d objects: %s", len(objects), a.body)
	}
	return &st
}

const people = `[{"uid":{"type":"Machine","id":"siem"},"attrs":{"name":"SIEM"},"parents":[{"type":"Role","id":"sink"}]},
	{"uid":{"type":"Machine","id":"tip"},"attrs":{"name":"TIP"},"parents":[{"type":"Role","id":"officer"}]}]`

func (w *world) rules(text string) {
	w.t.Helper()
	if _, err := w.n.LoadRules(rules.Source{File: "own.cedar", Text: []byte(text), PeopleFile: "people.json", People: []byte(people)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) view(v node.View) {
	w.t.Helper()
	if err := w.n.SetView(&v); err != nil {
		w.t.Fatal(err)
	}
}

// all pages through a collection as taxii2client.as_pages does: the limit of the pages after the first
// is how many objects that one had.
func (w *world) all(as, path, query string, limit int) (ids []string, pages int) {
	w.t.Helper()
	q := query
	if limit > 0 {
		q += fmt.Sprintf("&limit=%d", limit)
	}
	for {
		a := w.ask(as, "GET", path+"?"+strings.TrimPrefix(q, "&"), nil)
		if a.code != http.StatusOK {
			w.t.Fatalf("GET %s?%s: %d %s", path, q, a.code, a.body)
		}
		list := a.ids(w.t)
		ids, pages = append(ids, list...), pages+1
		e := a.envelope(w.t)
		if !e.More {
			return ids, pages
		}
		if len(list) == 0 {
			w.t.Fatalf("an empty page, and more: %s", a.body)
		}
		if pages == 1 {
			limit = len(list)
		}
		q = fmt.Sprintf("%s&limit=%d&next=%s", query, limit, e.Next)
	}
}

func wantIDs(t testing.TB, what string, got []string, want ...int) {
	t.Helper()
	list := []string{}
	for _, n := range want {
		list = append(list, id(n))
	}
	if !slices.Equal(got, list) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
