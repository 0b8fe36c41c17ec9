package source

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol/stix"
)

// remote adds a source at a server, by TLS that is trusted.
func remote(t *testing.T, n *node.Node, src node.Source, h http.Handler) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	src.Where, src.Private, src.Flags = srv.URL+src.Where, true, green
	src.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	add(t, n, src)
}

func runReal(t *testing.T, n *node.Node, name string) *Report {
	t.Helper()
	rep, err := Run(context.Background(), n, name, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func indicatorOf(t *testing.T, value string) json.RawMessage {
	t.Helper()
	o, ok := stix.Canonical(value)
	if !ok {
		t.Fatal(value)
	}
	return stix.NewIndicator(o, intake.Epoch()).Raw
}

// TestTAXIISourceGoesOn: pages are taken one by one, each with the cursor after it; a server that breaks off in
// the middle is gone on with from there, and one that wants to be left alone is.
func TestTAXIISourceGoesOn(t *testing.T) {
	n := testNode(t)
	pages := [][]json.RawMessage{{indicatorOf(t, "198.51.100.1")}, {indicatorOf(t, "198.51.100.2"), json.RawMessage(`{"type": "indicator"}`)}, {indicatorOf(t, "198.51.100.3")}}
	var asked []string
	broken := true
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/taxii+json;version=2.1")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /api/{$}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"title": "x", "versions": []string{"application/taxii+json;version=2.1"}, "max_content_length": 1 << 20})
	})
	mux.HandleFunc("GET /api/collections/{$}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"collections": []any{map[string]any{"id": "c", "title": "C", "can_read": true, "can_write": false}}})
	})
	mux.HandleFunc("GET /api/collections/c/objects/{$}", func(w http.ResponseWriter, r *http.Request) {
		if user, pass, ok := r.BasicAuth(); !ok || user != "reader" || pass != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next := r.URL.Query().Get("next")
		asked = append(asked, next)
		i := 0
		_, _ = fmt.Sscan(next, &i)
		if i == 2 && broken {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-TAXII-Date-Added-Last", fmt.Sprintf("2026-01-01T00:00:%02d.000000Z", i))
		if i < len(pages)-1 {
			answer(w, map[string]any{"more": true, "next": fmt.Sprint(i + 1), "objects": pages[i]})
			return
		}
		answer(w, map[string]any{"more": false, "objects": pages[i]})
	})
	remote(t, n, node.Source{Name: "t", Kind: node.SourceTAXII, Where: "/api/", Collection: "c", Secret: node.SourceSecret{User: "reader", Password: "s3cret"}}, mux)
	rep := runReal(t, n, "t")
	if rep.Counts.Published != 2 || rep.Counts.SetAside != 1 || !strings.Contains(rep.Error, "503") {
		t.Errorf("broken off: %+v", rep)
	}
	if st, err := n.SourceState("t"); err != nil || st.Next.Sub(*st.Last).Minutes() < 59 {
		t.Errorf("it asked for an hour, and is due at %s after %s (%v)", st.Next, st.Last, err)
	}
	if list := dead(t, n, "t"); len(list) != 1 || !strings.Contains(list[0].Where, "collection c after the beginning, page 2") {
		t.Errorf("dead letters %+v", list)
	}
	broken, asked = false, nil
	if rep := runReal(t, n, "t"); rep.Counts.Published != 1 || rep.Error != "" || len(asked) != 1 || asked[0] != "2" {
		t.Errorf("gone on: %+v, asked for %q", rep, asked)
	}
	wantStanding(t, n, "198.51.100.1", "198.51.100.2", "198.51.100.3")
}

// TestMISPSourceTakesWhatIsNewer: events of a feed are taken once, and again where they changed.
func TestMISPSourceTakesWhatIsNewer(t *testing.T) {
	n := testNode(t)
	const one, two = "5d0092c5-5f74-4287-9642-33f4c354e501", "5d0092c5-5f74-4287-9642-33f4c354e502"
	event := func(id string, values ...string) string {
		var attributes []string
		for i, v := range values {
			attributes = append(attributes, fmt.Sprintf(`{"uuid": "%s%d", "type": "ip-dst", "category": "Network activity", "to_ids": true, "value": "%s", "timestamp": "1767225600"}`, id[:35], i+3, v))
		}
		return fmt.Sprintf(`{"Event": {"uuid": %q, "info": "x", "date": "2026-01-01", "timestamp": "1767225600", "Tag": [{"name": "tlp:green"}], "Attribute": [%s]}}`, id, strings.Join(attributes, ","))
	}
	files := map[string]string{"/manifest.json": fmt.Sprintf(`{%q: {"timestamp": "10", "info": "x"}, %q: {"timestamp": "11", "info": "x"}}`, one, two),
		"/" + one + ".json": event(one, "198.51.100.1"), "/" + two + ".json": event(two, "198.51.100.2")}
	etag, none := `"1"`, http.StatusNotFound
	asked := map[string]int{}
	remote(t, n, node.Source{Name: "m", Kind: node.SourceMISP, Secret: node.SourceSecret{Token: "s3cret"}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		text, ok := files[r.URL.Path]
		switch {
		case r.Header.Get("Authorization") != "s3cret":
			w.WriteHeader(http.StatusForbidden)
		case !ok:
			w.WriteHeader(none)
		case r.URL.Path == "/manifest.json" && r.Header.Get("If-None-Match") == etag:
			w.WriteHeader(http.StatusNotModified)
		default:
			if r.URL.Path == "/manifest.json" {
				w.Header().Set("ETag", etag)
			}
			fmt.Fprint(w, text)
		}
	}))
	has := func(values ...string) {
		t.Helper()
		for _, v := range values {
			if recs, _, err := n.Search(node.Query{Value: v}); err != nil || len(recs) == 0 {
				t.Errorf("%s is not there (%v)", v, err)
			}
		}
	}
	if rep := runReal(t, n, "m"); rep.Error != "" || rep.Counts.Documents != 2 {
		t.Fatalf("%+v", rep)
	}
	has("198.51.100.1", "198.51.100.2")
	if rep := runReal(t, n, "m"); rep.Counts.Documents != 0 {
		t.Errorf("unchanged: %+v", rep)
	}
	files["/manifest.json"] = fmt.Sprintf(`{%q: {"timestamp": "10", "info": "x"}, %q: {"timestamp": "12", "info": "x"}}`, one, two)
	files["/"+two+".json"] = event(two, "198.51.100.2", "198.51.100.3")
	etag = `"2"`
	if rep := runReal(t, n, "m"); rep.Counts.Documents != 1 || rep.Counts.Known == 0 {
		t.Errorf("one event changed: %+v", rep)
	}
	has("198.51.100.3")
	// An event that is not there is a dead letter, fails nothing, and is not asked for again at once.
	const gone = "5d0092c5-5f74-4287-9642-33f4c354e503"
	files["/manifest.json"] = fmt.Sprintf(`{%q: {"timestamp": "10", "info": "x"}, %q: {"timestamp": "12", "info": "x"}, %q: {"timestamp": "1", "info": "x"}}`, one, two, gone)
	etag = `"3"`
	if rep := runReal(t, n, "m"); rep.Error != "" || rep.Counts.SetAside != 1 {
		t.Errorf("one event is missing: %+v", rep)
	}
	if list := dead(t, n, "m"); len(list) != 1 || !strings.Contains(list[0].Where, gone) || !strings.Contains(list[0].Reason, "404") {
		t.Errorf("dead letters %+v", list)
	}
	if rep := runReal(t, n, "m"); rep.Error != "" || rep.Counts.Documents != 0 {
		t.Errorf("unchanged: %+v", rep)
	}
	if st, err := n.SourceState("m"); err != nil || string(st.Cursor) != etag {
		t.Errorf("the cursor is %q, %v", st.Cursor, err)
	}
	etag = `"4"`
	runReal(t, n, "m")
	if asked["/"+gone+".json"] != 1 {
		t.Errorf("asked %d times for what is not there", asked["/"+gone+".json"])
	}
	if asked["/"+one+".json"] != 1 || asked["/"+two+".json"] != 2 {
		t.Errorf("asked: %v", asked)
	}
	// One that the server fails to give fails the run, and is asked for again.
	files["/manifest.json"] = fmt.Sprintf(`{%q: {"timestamp": "13", "info": "x"}}`, one)
	delete(files, "/"+one+".json")
	etag, none = `"5"`, http.StatusInternalServerError
	if rep := runReal(t, n, "m"); !strings.Contains(rep.Error, "500") {
		t.Errorf("an event is missing: %+v", rep)
	}
	files["/"+one+".json"] = event(one, "198.51.100.1", "198.51.100.4")
	if rep := runReal(t, n, "m"); rep.Error != "" {
		t.Errorf("it is back: %+v", rep)
	}
	has("198.51.100.4")
}
