package outputs

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/outputs/format"
	"github.com/entente-mesh/entente/node/outputs/gather"
	"github.com/entente-mesh/entente/node/outputs/score"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// world is a node with a listener, and two consumers: siem sees everything, fw what the rules let it.
type world struct {
	mayEnd bool // objects that were revoked are published again, in vain
	t      *testing.T
	n      *node.Node
	s      *serve.Server
	tokens map[string]string
}

const people = `[{"uid": {"type": "Machine", "id": "fw"}, "attrs": {"name": "fw"}, "parents": [{"type": "Role", "id": "sink"}]},
 {"uid": {"type": "Machine", "id": "siem"}, "attrs": {"name": "siem"}, "parents": []}]`

const noAmber = `@id("no-amber") forbid (principal in Role::"sink", action == Action::"read", resource) when { resource.tlp == "amber" };` + "\n"

func newWorld(t *testing.T) *world {
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
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, n: n, s: serve.New(n, nil), tokens: map[string]string{}}
	if err := Mount(w.s, n); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) rules(text string) {
	w.t.Helper()
	if _, err := w.n.LoadRules(rules.Source{File: "own.cedar", Text: []byte(text), PeopleFile: "people.json", People: []byte(people)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) consumer(name string, scopes ...node.Scope) {
	w.t.Helper()
	token, err := w.n.AddConsumer(node.Consumer{Name: name, Scopes: scopes, Expires: time.Now().Add(24 * 365 * time.Hour)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.tokens[name] = token
}

func (w *world) get(who, path string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do("GET", who, path, header...)
}

func (w *world) do(method, who, path string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.SetBasicAuth(who, w.tokens[who])
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	out := httptest.NewRecorder()
	w.s.ServeHTTP(out, r)
	return out
}

// publish publishes objects, and returns their records.
func (w *world) publish(tlp protocol.TLP, objects ...string) []protocol.RecordID {
	w.t.Helper()
	var items []intake.Item
	for _, text := range objects {
		o, err := stix.Parse([]byte(text))
		if err != nil {
			w.t.Fatal(err)
		}
		items = append(items, intake.Item{Object: o})
	}
	done, err := w.n.Submit(w.t.Context(), nil, node.Submission{Topic: "c2", Items: items, Flags: policy.Flags{TLP: tlp, Personal: protocol.PersonalNone}})
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []protocol.RecordID
	for _, r := range done.Results {
		if strings.Contains(r.Reason, "it was revoked") && w.mayEnd {
			continue
		}
		if r.State != node.SubmitPublished {
			w.t.Fatalf("%s is %s: %s", r.StixID, r.State, r.Reason)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

func idOf(typ, name string) string {
	return typ + "--" + uuid.NewSHA1(uuid.Nil, []byte(name)).String()
}

func object(typ, name string, more map[string]any) string {
	at := time.Now().UTC().Format(stix.TimeFormat)
	doc := map[string]any{"type": typ, "spec_version": "2.1", "id": idOf(typ, name), "created": "2000-01-01T00:00:00.000Z", "modified": at}
	for k, v := range more {
		doc[k] = v
	}
	b, _ := json.Marshal(doc)
	return string(b)
}

func report(name, pattern string, more ...any) string {
	doc := map[string]any{"pattern": pattern, "pattern_type": "stix", "valid_from": time.Now().UTC().Format(stix.TimeFormat)}
	for i := 0; i+1 < len(more); i += 2 {
		doc[more[i].(string)] = more[i+1]
	}
	return object("indicator", name, doc)
}

func domain(name string) string { return report(name, "[domain-name:value = '"+name+"']") }

func TestServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.consumer("siem", node.ScopeRead)
		w.consumer("misp", node.ScopePublish)
		w.publish(protocol.TLPGreen, domain("evil.example"), report("ip", "[ipv4-addr:value = '45.1.2.3']"), report("resolver", "[ipv4-addr:value = '8.8.8.8']"))
		if err := w.n.SetView(&node.View{Name: "firewall", Kinds: []stix.Kind{stix.IPv4}}); err != nil {
			t.Fatal(err)
		}
		first := w.get("siem", "/feeds/firewall/list")
		etag := first.Header().Get("ETag")
		if first.Code != 200 || first.Body.String() != "45.1.2.3\n" || first.Header().Get("Content-Length") != "9" || len(etag) != 34 || first.Header().Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%d %q %v", first.Code, first.Body, first.Header())
		}
		for _, tt := range []struct {
			method, who, path string
			header            []string
			status            int
			body              string // "": anything
		}{
			{"GET", "siem", "/feeds/firewall/list", []string{"If-None-Match", etag}, 304, ""},
			{"GET", "siem", "/feeds/firewall/list", []string{"If-None-Match", `"x", W/` + etag}, 304, ""},
			{"GET", "siem", "/feeds/firewall/list", []string{"If-None-Match", "*"}, 304, ""},
			{"GET", "siem", "/feeds/firewall/list", []string{"If-None-Match", `"x"`}, 200, "45.1.2.3\n"},
			{"HEAD", "siem", "/feeds/firewall/list", nil, 200, ""},
			{"GET", "siem", "/feeds/-/list", nil, 200, "evil.example\n45.1.2.3\n"},
			{"GET", "siem", "/feeds/-/list?topic=c2", nil, 200, "evil.example\n45.1.2.3\n"},
			{"GET", "siem", "/feeds/-/list?topic=other", nil, 200, ""},
			{"GET", "siem", "/feeds/-/list?min_score=81", nil, 200, ""},
			{"GET", "siem", "/feeds/-/list?min_score=101", nil, 400, "a least score is 1 to 100, not 101\n"},
			{"GET", "siem", "/feeds/-/list?min_score=x", nil, 400, ""},
			{"GET", "siem", "/feeds/-/list?min_score=1&min_score=2", nil, 400, ""},
			{"GET", "siem", "/feeds/-/list?score=1", nil, 400, ""},
			{"GET", "siem", "/feeds/firewall/list?topic=c2", nil, 400, ""},
			{"GET", "siem", "/feeds/other/list", nil, 404, ""},
			{"GET", "siem", "/feeds/-/pdf", nil, 404, ""},
			{"GET", "misp", "/feeds/-/list", nil, 403, ""},
			{"POST", "siem", "/feeds/-/list", nil, 405, ""},
			{"GET", "nobody", "/feeds/-/list", nil, 401, ""},
		} {
			got := w.do(tt.method, tt.who, tt.path, tt.header...)
			if got.Code != tt.status || tt.body != "" && got.Body.String() != tt.body || tt.status == 304 && got.Header().Get("ETag") != etag || (tt.method == "HEAD" || tt.status == 304) && got.Body.Len() > 0 {
				t.Errorf("%s %s %v: %d %q", tt.method, tt.path, tt.header, got.Code, got.Body)
			}
		}
		if head := w.do("HEAD", "siem", "/feeds/firewall/list"); head.Header().Get("ETag") != etag || head.Header().Get("Content-Length") != "9" {
			t.Errorf("HEAD: %v", head.Header())
		}
		zipped := w.get("siem", "/feeds/-/rpz", "Accept-Encoding", "br, gzip;q=0.5")
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		plain := w.get("siem", "/feeds/-/rpz", "Accept-Encoding", "gzip;q=0")
		if err != nil || !bytes.Equal(text, plain.Body.Bytes()) || zipped.Header().Get("ETag") == plain.Header().Get("ETag") || plain.Header().Get("Content-Length") != fmt.Sprint(len(text)) {
			t.Errorf("zipped %q %v, plain %q %v, %v", text, zipped.Header(), plain.Body, plain.Header(), err)
		}
		if got := w.get("siem", "/feeds/-/rpz", "Accept-Encoding", "gzip", "If-None-Match", zipped.Header().Get("ETag")); got.Code != 304 {
			t.Errorf("zipped, again: %d", got.Code)
		}
		list, err := w.n.Handouts()
		if err != nil || len(list) == 0 || list[0].Records == 0 || list[0].Kind != "list" {
			t.Errorf("handouts %+v, %v", list, err)
		}
	})
}

// The same state gives the same bytes and ETag, after a restart of the engine too; a change of what is in
// it, and nothing else, gives others; the serial rises with it.
func TestStateAndETag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.consumer("siem", node.ScopeRead)
		ids := w.publish(protocol.TLPGreen, domain("evil.example"), domain("bad.example"))
		zone := func() (etag, serial string) {
			t.Helper()
			r := w.get("siem", "/feeds/-/rpz")
			if r.Code != 200 {
				t.Fatal(r.Code, r.Body)
			}
			return r.Header().Get("ETag"), strings.Fields(strings.Split(r.Body.String(), "\n")[2])[4]
		}
		etag, serial := zone()
		time.Sleep(time.Hour)
		w.publish(protocol.TLPGreen, object("malware", "m", map[string]any{"is_family": false, "name": "x"}))
		if e, s := zone(); e != etag || s != serial {
			t.Errorf("what is no value changed %s %s to %s %s", etag, serial, e, s)
		}
		other := serve.New(w.n, nil)
		if err := Mount(other, w.n); err != nil {
			t.Fatal(err)
		}
		w.s = other
		if e, s := zone(); e != etag || s != serial {
			t.Errorf("another engine changed %s %s to %s %s", etag, serial, e, s)
		}
		if err := w.n.Withdraw(t.Context(), ids[1:], "wrong"); err != nil {
			t.Fatal(err)
		}
		e, s := zone()
		if e == etag || s <= serial || strings.Contains(w.get("siem", "/feeds/-/list").Body.String(), "bad.example") {
			t.Errorf("after a withdrawal: %s %s", e, s)
		}
		if _, err := w.n.Erase(t.Context(), node.EraseRequest{Records: ids[:1], Reason: protocol.EraseRequest}); err != nil {
			t.Fatal(err)
		}
		if got := w.get("siem", "/feeds/-/list").Body.String(); got != "" {
			t.Errorf("what was erased is served: %q", got)
		}
		w.publish(protocol.TLPGreen, domain("new.example"))
		if got := w.get("siem", "/feeds/-/list").Body.String(); got != "new.example\n" {
			t.Errorf("what came is not served: %q", got)
		}
		if err := w.n.SetWarninglist(&warninglist.List{Name: "own", Type: "hostname", Entries: []string{"new.example"}}); err != nil {
			t.Fatal(err)
		}
		if got := w.get("siem", "/feeds/-/list").Body.String(); got != "" {
			t.Errorf("what is on a warninglist is served: %q", got)
		}
		if got := w.get("siem", "/feeds/-/jsonl").Body.String(); !strings.Contains(got, `"block":false`) || !strings.Contains(got, `"warninglist":"own"`) {
			t.Errorf("what is on a warninglist is not marked: %q", got)
		}
		if err := w.n.RemoveWarninglist("own"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * 24 * time.Hour) // below 30 after 47 days
		if got := w.get("siem", "/feeds/-/list").Body.String(); got != "" {
			t.Errorf("what is old is served: %q", got)
		}
		w.publish(protocol.TLPGreen, object("sighting", "s", map[string]any{"sighting_of_ref": idOf("indicator", "new.example"), "last_seen": time.Now().UTC().Format(stix.TimeFormat)}))
		if got := w.get("siem", "/feeds/-/list").Body.String(); got != "new.example\n" {
			t.Errorf("what was seen again is not served: %q", got)
		}
	})
}

// What a consumer may not read is in none of its outputs: no value, no score, no count, no ETag, no
// serial, no error.
func TestHiddenIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.rules(noAmber)
		w.consumer("fw", node.ScopeRead)
		w.consumer("siem", node.ScopeRead)
		w.publish(protocol.TLPGreen, domain("evil.example"), domain("bad.example"), report("hash", "[file:hashes.MD5 = '"+strings.Repeat("ab", 16)+"']"), report("ip", "[ipv4-addr:value = '45.1.2.3']"), report("url", "[url:value = 'http://evil.example/x']"))
		if err := w.n.SetView(&node.View{Name: "all"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * 24 * time.Hour)
		engine := New(w.n, false)
		all := func(who string) string {
			t.Helper()
			var b strings.Builder
			for _, f := range format.Formats() {
				for _, path := range []string{"/feeds/-/" + f, "/feeds/all/" + f, "/feeds/-/" + f + "?topic=c2&min_score=10", "/feeds/-/" + f + "?min_score=100"} {
					r, head := w.get(who, path), w.do("HEAD", who, path)
					if r.Code != 200 {
						t.Fatal(path, r.Code, r.Body)
					}
					fmt.Fprintln(&b, path, r.Code, r.Header().Get("ETag"), r.Header().Get("Content-Length"), head.Header(), r.Body)
				}
			}
			for _, value := range []string{"evil.example", "bad.example", "hidden.example", "45.1.2.3", "45.9.9.9"} {
				x, err := engine.Explain(t.Context(), w.n.Reader(w.n.PersonOf(who)), nil, value, score.Default, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				text, _ := json.Marshal(x)
				fmt.Fprintln(&b, string(text))
			}
			return b.String()
		}
		before, open := all("fw"), all("siem")
		w.publish(protocol.TLPAmber,
			domain("hidden.example"),
			report("hidden ip", "[ipv4-addr:value = '45.9.9.9']", "confidence", 90),
			report("hidden report", "[domain-name:value IN ('evil.example', 'bad.example')]", "confidence", 95),
			object("sighting", "s", map[string]any{"sighting_of_ref": idOf("indicator", "evil.example")}),
			object("opinion", "o", map[string]any{"opinion": "strongly-disagree", "object_refs": []string{idOf("indicator", "bad.example"), idOf("indicator", "url")}}))
		if after := all("fw"); after != before {
			t.Errorf("what it may not read changed what it is served:\n%s\nwas\n%s", after, before)
		}
		if after := all("siem"); after == open || !strings.Contains(after, "hidden.example") || strings.Contains(before, "hidden.example\n") {
			t.Errorf("who may read it is not served it:\n%s", after)
		}
		// The rules of the moment count, whatever was gathered before.
		w.rules("")
		if got := w.get("fw", "/feeds/-/list").Body.String(); !strings.Contains(got, "hidden.example") {
			t.Errorf("without the rule: %q", got)
		}
		w.rules(strings.Replace(noAmber, "amber\" };", "red\" };", 1)) // narrows, and lets amber through
		if got := w.get("fw", "/feeds/-/list").Body.String(); !strings.Contains(got, "hidden.example") {
			t.Errorf("with a rule about red: %q", got)
		}
		w.rules(noAmber)
		if got := w.get("fw", "/feeds/-/list").Body.String(); strings.Contains(got, "hidden.example") {
			t.Errorf("with the rule again: %q", got)
		}
	})
}

func TestListsStateNoTime(t *testing.T) {
	if intake.Epoch().UnixMilli() != gather.NoTime {
		t.Error("package intake gives another time to what states none")
	}
}

func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ids := w.publish(protocol.TLPGreen, domain("evil.example"), report("b", "[domain-name:value = 'evil.example']", "confidence", 20), domain("co.uk"), report("not", "[domain-name:value != 'good.example']"))
		engine, reader := New(w.n, false), w.n.Reader(nil)
		explain := func(value string) *Explanation {
			t.Helper()
			x, err := engine.Explain(t.Context(), reader, nil, value, score.Default, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		verdict := func(x *Explanation, f format.Format) Verdict {
			for _, v := range x.Formats {
				if v.Format == f {
					return v
				}
			}
			t.Fatalf("%s says nothing of %s", x.Value, f)
			return Verdict{}
		}
		x := explain("hxxp://evil[.]example")
		if x.Kind != stix.URL || len(x.Reports) != 0 || verdict(x, format.List).In {
			t.Errorf("a URL that nobody reports: %+v", x)
		}
		x = explain("EVIL[.]example")
		if x.Score != 80 || x.Sources != 1 || len(x.Reports) != 2 || x.Reports[0].Record != ids[0] || x.Reports[0].Base != 80 || x.Reports[1].Score != 20 || x.Reports[1].Record != ids[1] {
			t.Errorf("%+v", x)
		}
		if !verdict(x, format.RPZ).In || verdict(x, format.NFTables).In || verdict(x, format.NFTables).Reason != "kind" {
			t.Errorf("%+v", x.Formats)
		}
		if x = explain("co.uk"); x.Listed == nil || verdict(x, format.RPZ).Reason != "listed" || !verdict(x, format.CSV).In {
			t.Errorf("%+v", x)
		}
		if x = explain("good.example"); len(x.Reports) != 0 {
			t.Errorf("a value that is negated is reported: %+v", x)
		}
		if _, err := engine.Explain(t.Context(), reader, nil, "no value", 30, time.Now()); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("what is no observable: %v", err)
		}
	})
}

// A list that is kept and catches up is the list that is made anew, whatever happened in between.
func TestCatchingUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.mayEnd = true
			kept, reader := New(w.n, true), w.n.Reader(nil)
			var ids []protocol.RecordID
			write := func(e *Engine) string {
				l, err := e.Open(t.Context(), reader, Query{Format: format.CSV, Least: 1}, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				var b bytes.Buffer
				if _, err := l.WriteTo(&b); err != nil || int64(b.Len()) != l.Size {
					t.Fatal(err, b.Len(), l.Size)
				}
				return l.ETag + b.String()
			}
			for i := range rapid.IntRange(1, 6).Draw(rt, "steps") {
				name := rapid.SampledFrom([]string{"a.example", "b.example", "c.example"}).Draw(rt, "name")
				switch what := rapid.IntRange(0, 5).Draw(rt, "what"); {
				case what < 2:
					ids = append(ids, w.publish(protocol.TLPGreen, report(fmt.Sprint(i), "[domain-name:value = '"+name+"']"))...)
				case what == 2:
					ids = append(ids, w.publish(protocol.TLPGreen, object("sighting", fmt.Sprint("s", i%2), map[string]any{"sighting_of_ref": idOf("indicator", fmt.Sprint(i/2)), "revoked": i%3 == 2}))...)
				case what == 3:
					ids = append(ids, w.publish(protocol.TLPGreen, object("indicator", fmt.Sprint(i/2), map[string]any{"pattern": "[domain-name:value = 'a.example']", "pattern_type": "stix", "valid_from": "2000-01-01T00:00:00Z", "revoked": true}))...)
				case what == 4 && len(ids) > 0:
					if err := w.n.Withdraw(t.Context(), ids[:1], "x"); err != nil {
						t.Fatal(err)
					}
					ids = ids[1:]
				case len(ids) > 0:
					if _, err := w.n.Erase(t.Context(), node.EraseRequest{Records: ids[:1], Reason: protocol.EraseRequest}); err != nil {
						t.Fatal(err)
					}
					ids = ids[1:]
				}
				time.Sleep(time.Hour)
				if got, want := write(kept), write(New(w.n, false)); got != want {
					t.Fatalf("caught up:\n%s\nanew:\n%s", got, want)
				}
			}
		})
	})
}

// What is kept is bounded, and forgotten when nobody asks.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish(protocol.TLPGreen, domain("evil.example"))
		e := New(w.n, true)
		open := func(topic string) {
			l, err := e.Open(t.Context(), w.n.Reader(nil), Query{View: node.TopicView(topic), Format: format.List, Least: 30}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
		kept := func() (sets, used int) {
			e.mu.Lock()
			defer e.mu.Unlock()
			return len(e.sets), len(e.used)
		}
		for i := range 2 * maxKept {
			open(fmt.Sprint("topic", i))
		}
		if sets, used := kept(); sets != maxKept || used != maxKept {
			t.Errorf("%d sets are kept, %d in order", sets, used)
		}
		time.Sleep(keepFor + time.Second)
		synctest.Wait()
		if sets, _ := kept(); sets != 0 {
			t.Errorf("%d sets are kept that nobody asks for", sets)
		}
		e.mu.Lock()
		e.keep = 100 // bytes
		e.mu.Unlock()
		open("c2")
		if sets, _ := kept(); sets != 0 {
			t.Error("a set is kept that is larger than what may be kept")
		}
		open("c2")
	})
}

// Nobody who asks waits for somebody who reads slowly, and a list does not change while it is read.
func TestSlowReader(t *testing.T) {
	w := newWorld(t)
	w.publish(protocol.TLPGreen, domain("evil.example"))
	e, reader := New(w.n, true), w.n.Reader(nil)
	open := func() *List {
		l, err := e.Open(t.Context(), reader, Query{Format: format.List, Least: 30}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	slow := open()
	w.publish(protocol.TLPGreen, domain("new.example"))
	other := open()
	var a, b bytes.Buffer
	if _, err := other.WriteTo(&b); err != nil || b.String() != "evil.example\nnew.example\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if _, err := slow.WriteTo(&a); err != nil || a.String() != "evil.example\n" {
		t.Errorf("%q, %v", a.String(), err)
	}
	slow.Close()
	other.Close()
}

// What others withdraw does not make lists anew, unless it is what cannot be taken out again; and then
// who asked before is given what there was, and who asks later is not.
func TestWithdrawnIsTakenOut(t *testing.T) {
	w := newWorld(t)
	ids := w.publish(protocol.TLPGreen, domain("evil.example"), domain("bad.example"), object("malware", "m", map[string]any{"is_family": false, "name": "x"}),
		object("sighting", "s", map[string]any{"sighting_of_ref": idOf("indicator", "bad.example")}), domain("old.example"))
	e, reader := New(w.n, true), w.n.Reader(nil)
	open := func() string {
		t.Helper()
		l, err := e.Open(t.Context(), reader, Query{Format: format.List, Least: 30}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var b strings.Builder
		if _, err := l.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	set := func() *gathered {
		for _, g := range e.sets {
			return g
		}
		return nil
	}
	open()
	g := set()
	for i, want := range []string{"bad.example\nold.example\n", "old.example\n", "old.example\n", "old.example\n"} {
		if err := w.n.Withdraw(t.Context(), ids[i:i+1], "x"); err != nil {
			t.Fatal(err)
		}
		if got := open(); got != want || set() != g {
			t.Errorf("after withdrawal %d: %q; the set is the same: %v", i, got, set() == g)
		}
	}
	if _, err := w.n.Erase(t.Context(), node.EraseRequest{Records: ids[4:], Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
	if got := open(); got != "" || set() != g || g.set.Len() != 0 {
		t.Errorf("after an erasure: %q, %d values; the set is the same: %v", got, g.set.Len(), set() == g)
	}
	// Of two versions one went: the set does not know the other.
	w.publish(protocol.TLPGreen, object("indicator", "v", map[string]any{"pattern": "[domain-name:value = 'one.example']", "pattern_type": "stix", "valid_from": "2000-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00.000Z", "confidence": 90}))
	time.Sleep(2 * time.Millisecond)
	v2 := w.publish(protocol.TLPGreen, report("v", "[domain-name:value = 'two.example']"))
	g = &gathered{sight: reader.Sight(), tags: map[tagKey]tag{}, set: gather.New(w.n.Org(), nil, nil)}
	var err error
	if g.begun, err = e.end(); err != nil {
		t.Fatal(err)
	}
	if whole, err := g.follow(t.Context(), reader, g.begun); err != nil || !whole {
		t.Fatal(whole, err)
	}
	if err := w.n.Withdraw(t.Context(), v2, "x"); err != nil {
		t.Fatal(err)
	}
	if whole, err := g.follow(t.Context(), reader, g.begun); err != nil || whole || g.set.Len() != 2 {
		t.Errorf("what cannot be taken out: whole %v, %d values, %v", whole, g.set.Len(), err)
	}
	g.frozen = true
	key := string(protocol.Encode(viewOf(nil)))
	e.put(key, g)
	if got, err := e.ready(key, reader, g.begun); got != g || err != nil {
		t.Errorf("who asked before is given %v, %v", got, err)
	}
	e.release(g)
	end, _ := e.end()
	if got, err := e.ready(key, reader, end); got != nil || err != nil || set() != nil {
		t.Errorf("who asked later is given %v, %v", got, err)
	}
	if got := open(); strings.Contains(got, "two.example") {
		t.Errorf("after all %q", got)
	}
}

// What could not be brought up to date is not kept, whether or not another was made.
func TestStaleIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.publish(protocol.TLPGreen, domain("evil.example"))
	e, reader := New(w.n, true), w.n.Reader(nil)
	q := Query{Format: format.List, Least: 30}
	l, err := e.Open(t.Context(), reader, q, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	v := report("evil.example", "[domain-name:value = 'other.example']", "modified", time.Now().Add(time.Hour).UTC().Format(stix.TimeFormat))
	ids := w.publish(protocol.TLPGreen, v)
	if err := w.n.Withdraw(t.Context(), ids, "x"); err != nil {
		t.Fatal(err)
	}
	w.rules(strings.Replace(noAmber, "amber\" };", "red\" };", 1))
	w.rules("")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.building <- struct{}{} // another has the turn
	if _, err := e.Open(ctx, reader, q, time.Now()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(e.sets) != 0 || len(e.used) != 0 {
		t.Error("a set is kept that is stale")
	}
	<-e.building
}

// Who reads slowly holds what is not kept any more, and only so many may.
func TestHeldIsBounded(t *testing.T) {
	w := newWorld(t)
	e, reader := New(w.n, true), w.n.Reader(nil)
	var slow []*List
	open := func() error {
		w.publish(protocol.TLPGreen, domain(fmt.Sprintf("evil%d.example", len(slow))+strings.Repeat("x", len(slow))))
		l, err := e.Open(t.Context(), reader, Query{Format: format.List, Least: 30}, time.Now())
		if err == nil {
			slow = append(slow, l)
		}
		return err
	}
	for range maxHeld + 1 { // the last is kept
		if err := open(); err != nil {
			t.Fatal(len(slow), err)
		}
	}
	if err := open(); err != nil { // all but one are held, and not kept
		if !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	} else {
		t.Errorf("%d sets are held", len(slow))
	}
	rec := httptest.NewRecorder()
	failWith(rec, httptest.NewRequest("GET", "/", nil), ErrFull)
	if rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("answered with %d %v", rec.Code, rec.Header())
	}
	slow[0].Close()
	slow = slow[1:]
	if l, err := e.Open(t.Context(), reader, Query{Format: format.List, Least: 30}, time.Now()); err != nil {
		t.Errorf("after one has read: %v", err)
	} else {
		l.Close()
	}
	for _, l := range slow {
		l.Close()
	}
	if len(e.held) != 0 {
		t.Errorf("%d sets are held by nobody", len(e.held))
	}
}
