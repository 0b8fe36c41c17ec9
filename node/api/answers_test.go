package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/entente-mesh/entente/client"
	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outputs/format"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// contract holds requests and answers against their description, which is closed: an answer has no
// member that is not described.
type contract struct {
	t    *testing.T
	at   func(place string) *jsonschema.Schema
	seen map[string]bool // patterns that were answered with success

	as    int               // the account that asks; 0: that of the tests
	noted map[string]string // acting patterns without an entry in the account, with an act of theirs that was looked for
}

func newContract(t *testing.T) *contract {
	return &contract{t: t, at: schemas(t, document(t, true)), seen: map[string]bool{}, noted: map[string]string{}}
}

// ask makes a request, and holds it and its answer against the description. It returns the answer.
func (c *contract) ask(s *Server, method, path, body string) (int, []byte) {
	c.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	_, pattern := s.mux.Handler(r)
	rt := s.declared[pattern]
	if rt == nil {
		c.t.Fatalf("no route for %s %s", method, path)
	}
	if c.as != 0 {
		r = r.WithContext(context.WithValue(r.Context(), userKey, c.as))
	}
	var said []node.AuditEntry
	if method != "GET" {
		said = c.entries(s, 0)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if method != "GET" && w.Code == http.StatusOK {
		c.account(s, pattern, r, said)
	}
	_, where, _ := strings.Cut(pattern, " ")
	op := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(where) + "/" + strings.ToLower(method)
	media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	if w.Code != http.StatusOK {
		c.valid(c.at("/components/schemas/Error"), pattern, w.Body.Bytes())
		return w.Code, w.Body.Bytes()
	}
	c.seen[pattern] = true
	if rt.body != nil && rt.body.of != nil {
		c.valid(c.at(op+"/requestBody/content/application~1json/schema"), pattern, []byte(body))
	}
	described := false
	for _, m := range rt.answer.media {
		if bare, _, _ := strings.Cut(m, ";"); bare == media {
			described = true
			if rt.answer.of == nil {
				continue
			}
			schema := c.at(op + "/responses/200/content/" + strings.ReplaceAll(m, "/", "~1") + "/schema")
			dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
			for lines := 0; ; lines++ {
				var raw json.RawMessage
				if err := dec.Decode(&raw); err != nil {
					if lines == 0 || lines > 1 && !rt.answer.lines {
						c.t.Errorf("%s answers with %d values", pattern, lines)
					}
					break
				}
				c.valid(schema, pattern, raw)
				c.comesBack(rt, raw)
			}
		}
	}
	if !described {
		c.t.Errorf("%s answers with %q, and %v is described", pattern, media, rt.answer.media)
	}
	if rt.answer.trailer != "" && w.Header().Get(rt.answer.trailer) == "" {
		c.t.Errorf("%s answers without trailer %s", pattern, rt.answer.trailer)
	}
	return w.Code, w.Body.Bytes()
}

// entries returns how many entries the account of a node has, those of looking at it included, or the entries after a
// number.
func (c *contract) entries(s *Server, after uint64) []node.AuditEntry {
	c.t.Helper()
	limit := 1 // the last
	if after > 0 {
		limit = node.MaxLimit
	}
	list, err := s.node.Audit(c.t.Context(), node.AuditQuery{After: after, Limit: limit})
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// account looks for an entry that names who made a request that acts.
func (c *contract) account(s *Server, pattern string, r *http.Request, last []node.AuditEntry) {
	c.t.Helper()
	who, err := s.caller(r)
	if err != nil {
		who = nil // they removed themselves
	}
	var after uint64
	if len(last) > 0 {
		after = last[0].Number
	}
	for _, e := range c.entries(s, after) {
		if e.Number > after && who != nil && e.Person == who.ID {
			c.noted[pattern] = ""
			return
		}
	}
	if _, ok := c.noted[pattern]; !ok {
		c.noted[pattern] = "no entry"
	}
}

// comesBack holds an answer against what the method of package client returns: read into that and
// written again it is the same.
func (c *contract) comesBack(rt *route, raw []byte) {
	c.t.Helper()
	method, ok := reflect.TypeFor[*client.Client]().MethodByName(rt.name)
	if !ok {
		c.t.Fatalf("package client has no method %s", rt.name)
	}
	of := method.Type.Out(0)
	if rt.answer.lines { // an iterator over them
		of = of.In(0).In(0)
	}
	if rt.answer.of == reflect.TypeFor[none]() {
		return // it returns an error, or none
	}
	v := reflect.New(of)
	if err := json.Unmarshal(raw, v.Interface()); err != nil {
		c.t.Fatalf("%s: client.%s: %v", rt.name, of, err)
	}
	again, err := json.Marshal(v.Interface())
	if err != nil {
		c.t.Fatal(err)
	}
	var want, got any
	if err := errors.Join(json.Unmarshal(raw, &want), json.Unmarshal(again, &got)); err != nil {
		c.t.Fatal(err)
	}
	if !reflect.DeepEqual(want, got) {
		c.t.Errorf("%s: client.%s has %s of %s", rt.name, of, again, raw)
	}
}

func (c *contract) valid(schema *jsonschema.Schema, what string, b []byte) {
	c.t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		c.t.Fatalf("%s: %v: %s", what, err, b)
	}
	if err := schema.Validate(v); err != nil {
		c.t.Errorf("%s: %v\n%s", what, err, b)
	}
}

// do is a request that succeeds; with into, its answer is decoded.
func (c *contract) do(s *Server, pattern string, q url.Values, body, into any) []byte {
	c.t.Helper()
	text, isText := body.(string)
	if !isText && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(b)
	}
	method, path, _ := strings.Cut(pattern, " ")
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	code, b := c.ask(s, method, path, text)
	if code != http.StatusOK {
		c.t.Fatalf("%s: %d %s", pattern, code, b)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			c.t.Fatalf("%s: %v: %s", pattern, err, b)
		}
	}
	return b
}

func serverOf(t *testing.T, name string, kind protocol.OrgKind) *Server {
	t.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: name, Kind: kind, Country: "TH"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return New(n)
}

type m = map[string]any

// TestAnswersAreAsDescribed lets two organisations meet, agree and exchange by carried files, and holds
// every request and answer against the description. Every GET route is asked.
func TestAnswersAreAsDescribed(t *testing.T) {
	c := newContract(t)
	alice, bob := serverOf(t, "Example Vendor", "vendor"), serverOf(t, "Example Police", "police")

	people := `[{"uid":{"type":"Machine","id":"siem"},"attrs":{"name":"SIEM"},"parents":[{"type":"Role","id":"sink"}]}]`

	// They meet.
	var aliceID, bobID ID
	c.do(alice, "GET /v1/id", nil, nil, &aliceID)
	c.do(bob, "GET /v1/id", nil, nil, &bobID)
	c.do(alice, "GET /v1/topics", nil, nil, nil) // before there is any
	c.do(alice, "GET /v1/records", nil, nil, nil)
	c.do(alice, "GET /v1/quarantine", nil, nil, nil)
	c.do(alice, "POST /v1/network", nil, NetworkCreate{Name: "example"}, nil)
	c.do(alice, "POST /v1/trust", nil, Trust{bobID.Card, strings.Join(bobID.Words, " ")}, nil)
	c.do(bob, "POST /v1/trust", nil, Trust{aliceID.Card, strings.Join(aliceID.Words, " ")}, nil)
	var inv Invitation
	c.do(alice, "POST /v1/network/invite", nil, NetworkInvite{Card: bobID.Card, Hours: 1}, &inv)
	c.do(bob, "POST /v1/network/join", nil, NetworkJoin{inv.Invitation}, nil)
	for _, s := range []*Server{alice, bob} {
		c.do(s, "POST /v1/topics/c2", nil, nil, nil)
	}
	carry := func(from, to *Server, name string) []byte {
		t.Helper()
		file := c.do(from, "POST /v1/carry/pack", url.Values{"to": {name}}, nil, nil)
		c.do(to, "POST /v1/carry/inspect", nil, string(file), nil)
		c.do(to, "POST /v1/carry/apply", nil, string(file), nil)
		return file
	}
	carry(bob, alice, "Example Vendor")
	carry(alice, bob, "Example Police")

	// They agree.
	var draft Draft
	c.do(alice, "GET /v1/agreements/template", url.Values{"with": {"Example Police"}}, nil, &draft)
	c.do(alice, "POST /v1/agreements/check", nil, draft.YAML, nil)
	var proposed AgreementID
	c.do(alice, "POST /v1/agreements", nil, draft.YAML, &proposed)
	agr := "/v1/agreements/" + proposed.ID.String()
	var doc Document
	c.do(alice, "GET "+agr+"/document", nil, nil, &doc)
	c.do(bob, "POST /v1/agreements/import", nil, AgreementImport{[][]byte{doc.Document}}, nil)
	c.do(bob, "GET /v1/agreements", url.Values{"inbox": {"true"}}, nil, nil)
	c.do(bob, "POST "+agr+"/countersign", nil, nil, nil)
	c.do(bob, "GET "+agr+"/document", nil, nil, &doc)
	c.do(alice, "POST /v1/agreements/import", nil, AgreementImport{[][]byte{doc.Document}}, nil)
	c.do(alice, "GET "+agr, nil, nil, nil)
	c.do(alice, "GET /v1/agreements", nil, nil, nil)
	c.do(alice, "GET "+agr+"/iep", nil, nil, nil)
	iep := c.do(alice, "GET "+agr+"/iep", nil, nil, nil)
	c.do(alice, "POST /v1/agreements/iep", url.Values{"from": {"Example Vendor"}, "to": {"Example Police"}}, string(iep), nil)
	c.do(alice, "GET "+agr+"/amendment", nil, nil, &draft)
	c.do(alice, "POST /v1/agreements/diff", nil, m{"after": m{"yaml": draft.YAML}}, nil)
	again, err := node.NewIdentity(node.InitRequest{Name: "Example Vendor", Kind: "vendor"})
	if err != nil {
		t.Fatal(err)
	}
	c.do(alice, "POST /v1/agreements/anew", nil, AnewRequest{Card: protocol.Encode(&again.Card)}, nil)
	c.do(alice, "POST "+agr+"/suspend", nil, Reason{"a pause"}, nil)
	c.do(alice, "POST "+agr+"/resume", nil, Reason{"over"}, nil)

	// They exchange.
	list := "198.51.100.1\nc2.example.net\nhttp://203.0.113.9/gate.php\nmalware@example.org\n/scrap\n"
	published := c.do(alice, "POST /v1/publish", url.Values{"topic": {"c2"}, "tlp": {"amber"}, "country": {"TH"}, "personal": {"none"}, "file": {"list.txt"}, "reliability": {"B"}, "credibility": {"2"}}, list, nil)
	if !strings.Contains(string(published), `"receipt"`) {
		t.Fatalf("%s", published)
	}
	c.do(alice, "POST /v1/publish", url.Values{"topic": {"c2"}, "tlp": {"amber"}, "dry_run": {"true"}}, "198.51.100.9\n", nil)
	carry(alice, bob, "Example Police")
	carry(bob, alice, "Example Vendor") // receipts
	c.do(bob, "POST /v1/carry/request", url.Values{"to": {"Example Vendor"}}, nil, nil)
	var found SearchResult
	c.do(bob, "GET /v1/records", url.Values{"topic": {"c2"}, "limit": {"10"}}, nil, &found)
	if len(found.Records) < 3 {
		t.Fatalf("bob reads %d records", len(found.Records))
	}
	rec := found.Records[0].ID.String()
	for _, s := range []*Server{alice, bob} {
		c.do(s, "GET /v1/records/"+rec, nil, nil, nil)
		c.do(s, "GET /v1/records/"+rec+"/explain", nil, nil, nil)
		c.do(s, "GET /v1/watch", url.Values{"follow": {"false"}}, nil, nil)
		c.do(s, "POST /v1/match", nil, Match{[]string{"198.51.100.1"}}, nil)
		c.do(s, "GET /v1/match/open", nil, nil, nil)
		for _, format := range node.ExportFormats() {
			c.do(s, "GET /v1/export", url.Values{"format": {format}}, nil, nil)
		}
	}
	c.do(alice, "POST /v1/records/"+rec+"/what-if", nil, m{"with": m{"yaml": draft.YAML}}, nil)
	c.do(alice, "POST /v1/agreements/simulate", nil, m{"agreement": m{"yaml": draft.YAML}, "since": "7d"}, nil)

	// What consumers come for.
	c.do(bob, "PUT /v1/views/firewall", nil, m{"title": "For the firewall", "topics": []string{"c2"}, "max_tlp": "amber", "originators": []string{"Example Vendor"}}, nil)
	c.do(bob, "GET /v1/views", nil, nil, nil)
	c.do(bob, "GET /v1/changes", url.Values{"view": {"firewall"}, "limit": {"10"}}, nil, nil)
	c.do(bob, "POST /v1/rules", nil, RulesRequest{File: "x", Text: "@id(\"red\") forbid (principal, action == Action::\"export\", resource) when { resource.tlp == \"red\" };", PeopleFile: "people.json", People: &people}, nil)
	c.do(bob, "POST /v1/consumers", nil, ConsumerRequest{Name: "siem", Scopes: []node.Scope{node.ScopeRead}, Expires: time.Now().AddDate(0, 1, 0)}, nil)
	c.do(bob, "GET /v1/consumers", nil, nil, nil)
	c.do(bob, "POST /v1/consumers/siem/confirm", nil, nil, nil)
	c.do(bob, "DELETE /v1/consumers/siem", nil, nil, nil)
	c.do(bob, "PUT /v1/misp/tlp", nil, m{"tlp": "amber"}, nil)
	c.do(bob, "PUT /v1/misp/orgs/55f6ea5e-2c60-40e5-964f-47a8950d210f", nil, m{"org": "Example Vendor"}, nil)
	c.do(bob, "GET /v1/misp", nil, nil, nil)
	c.do(bob, "DELETE /v1/misp/orgs/55f6ea5e-2c60-40e5-964f-47a8950d210f", nil, nil, nil)
	c.do(bob, "DELETE /v1/views/firewall", nil, nil, nil)

	// Where it goes to.
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	c.do(bob, "POST /v1/sinks", nil, AddSink{Name: "hook", Kind: node.SinkWebhook, Reader: "siem", URL: receiver.URL, Private: true, Plain: true}, nil)
	c.do(bob, "GET /v1/sinks", nil, nil, nil)
	c.do(bob, "POST /v1/sinks/hook/test", nil, nil, nil)
	c.do(bob, "POST /v1/sinks/hook/replay", nil, ReplaySink{From: 1}, nil)
	c.do(bob, "DELETE /v1/sinks/hook", nil, nil, nil)

	// What machines get of it.
	c.do(bob, "POST /v1/warninglists", nil, `{"name":"own","description":"x","version":1,"type":"hostname","list":["intranet.example"],"matching_attributes":["domain"]}`, nil)
	c.do(bob, "POST /v1/warninglists/protected", nil, Protected{Values: []string{"192.0.2.0/24"}}, nil)
	c.do(bob, "GET /v1/warninglists", nil, nil, nil)
	for _, f := range format.Formats() {
		c.do(bob, "GET /v1/outputs/"+f, url.Values{"topic": {"c2"}, "min_score": {"1"}}, nil, nil)
	}
	c.do(bob, "GET /v1/outputs/explain", url.Values{"value": {"198.51.100.1"}, "view": {""}}, nil, nil)
	c.do(bob, "DELETE /v1/warninglists/own", nil, nil, nil)

	// Where it comes from.
	inbox := t.TempDir()
	path, old := filepath.Join(inbox, "list.txt"), time.Now().Add(-time.Hour) // as one that is written no more
	if err := errors.Join(os.WriteFile(path, []byte("198.51.100.50\nno address at all\n"), 0o600), os.Chtimes(path, old, old)); err != nil {
		t.Fatal(err)
	}
	c.do(bob, "POST /v1/sources", nil, SourceAdd{Name: "inbox", Kind: "folder", Where: inbox, Topic: "c2", Handling: SourceHandling{TLP: "green", Personal: "none"}, Principal: "siem"}, nil)
	c.do(bob, "GET /v1/sources", nil, nil, nil)
	c.do(bob, "POST /v1/sources/inbox/pause", nil, nil, nil)
	c.do(bob, "POST /v1/sources/inbox/resume", nil, nil, nil)
	c.do(bob, "POST /v1/sources/inbox/run", nil, SourceRun{}, nil)
	c.do(bob, "GET /v1/sources/inbox", nil, nil, nil)
	var dead []node.DeadLetter
	c.do(bob, "GET /v1/deadletters", nil, nil, &dead)
	if len(dead) != 1 {
		t.Fatalf("dead letters %+v", dead)
	}
	c.do(bob, "GET /v1/deadletters/"+dead[0].ID, nil, nil, nil)
	c.do(bob, "POST /v1/deadletters/retry", nil, DeadPick{IDs: []string{dead[0].ID}}, nil)
	c.do(bob, "POST /v1/deadletters/drop", nil, DeadPick{All: true}, nil)
	c.do(bob, "DELETE /v1/sources/inbox", nil, nil, nil)

	// They ask one another, and erase.
	c.do(bob, "POST /v1/requests", nil, Ask{Org: "Example Vendor", Text: "what of this?", Values: []string{"198.51.100.1"}}, nil)
	carry(bob, alice, "Example Vendor")
	var asked []node.RequestInfo
	c.do(alice, "GET /v1/requests", url.Values{"all": {"1"}}, nil, &asked)
	if len(asked) != 1 {
		t.Fatalf("alice is asked %d times", len(asked))
	}
	c.do(alice, "GET /v1/requests/"+asked[0].ID, nil, nil, nil)
	c.do(alice, "POST /v1/requests/"+asked[0].ID+"/reply", nil, Reply{Text: "known", Records: []string{rec}}, nil)
	c.do(alice, "GET /v1/about", url.Values{"value": {"198.51.100.1"}}, nil, nil)
	c.do(alice, "POST /v1/about/erase", nil, AboutErase{Value: "198.51.100.1", Reason: "request", DryRun: true}, nil)
	c.do(alice, "POST /v1/erasures/ask", nil, ErasureAsk{IDs: []string{rec}, Reason: "request", Due: "30d", Text: "please"}, nil)
	c.do(alice, "GET /v1/erasures/asked", nil, nil, nil)
	var hold node.HoldInfo
	c.do(bob, "POST /v1/holds", nil, HoldAdd{Value: "c2.example.net", Authority: "a court", Reason: "case 17"}, &hold)
	carry(alice, bob, "Example Police")
	var wanted []node.ErasureAsk
	c.do(bob, "GET /v1/erasures/requests", nil, nil, &wanted)
	if len(wanted) != 1 {
		t.Fatalf("bob is asked to erase %d times", len(wanted))
	}
	c.do(bob, "POST /v1/erasures/"+wanted[0].ID+"/answer", nil, ErasureAnswer{Erase: true, Exports: "none"}, nil)
	c.do(alice, "POST /v1/withdraw", nil, Withdraw{IDs: []string{rec}, Reason: "wrong"}, nil)
	c.do(alice, "POST /v1/erase", nil, Erase{IDs: []string{found.Records[1].ID.String()}, Reason: "error"}, nil)
	carry(alice, bob, "Example Police")
	c.do(bob, "GET /v1/holds", url.Values{"all": {"true"}}, nil, nil)
	c.do(bob, "GET /v1/holds/kept", nil, nil, nil)
	c.do(bob, "POST /v1/holds/"+hold.ID+"/release", nil, HoldRelease{"closed"}, nil)
	c.do(alice, "POST /v1/exclusions", nil, Exclude{[]string{found.Records[2].ID.String()}, []string{"Example Police"}}, nil)
	c.do(alice, "GET /v1/exclusions", nil, nil, nil)

	// Who may do what, on whose behalf, and who looked.
	c.do(bob, "POST /v1/release-mode", nil, ReleaseMode{Mode: "ask", All: true}, nil)
	c.do(bob, "GET /v1/release-mode", nil, nil, nil)
	c.do(bob, "GET /v1/releases", url.Values{"all": {"1"}}, nil, nil)
	var mandate MandateID
	c.do(alice, "POST /v1/mandates", nil, m{"agent": "Example Police", "topics": []string{"c2"}, "until": time.Now().AddDate(0, 1, 0)}, &mandate)
	var file FileBody
	c.do(alice, "GET /v1/mandates/"+mandate.Mandate.String()+"/file", nil, nil, &file)
	c.do(bob, "POST /v1/mandates/import", nil, file, nil)
	c.do(bob, "GET /v1/mandates", nil, nil, nil)
	c.do(bob, "POST /v1/publish", url.Values{"topic": {"c2"}, "tlp": {"green"}, "on_behalf": {"Example Vendor"}, "dry_run": {"1"}}, "198.51.100.77\n", nil)
	c.do(alice, "POST /v1/mandates/"+mandate.Mandate.String()+"/revoke", nil, Reason{"done"}, nil)
	c.do(alice, "POST /v1/rules/check", nil, RulesRequest{File: "x", Text: "forbid"}, nil)
	c.do(alice, "POST /v1/rules", nil, RulesRequest{File: "x", Text: "@id(\"red\") forbid (principal, action == Action::\"export\", resource) when { resource.tlp == \"red\" };"}, nil)
	c.do(alice, "GET /v1/rules/schema", nil, nil, nil)
	c.do(alice, "GET /v1/audit", nil, nil, nil)
	var check Checkpoint
	c.do(alice, "GET /v1/audit/checkpoint", nil, nil, &check)
	c.do(alice, "POST /v1/audit/verify", nil, AuditVerify{[]string{check.Checkpoint}}, nil)
	c.do(alice, "GET /v1/audit/proof/0", nil, nil, nil)
	c.do(alice, "GET /v1/audit/export", url.Values{"details": {"1"}}, nil, nil)
	for _, format := range node.ReportFormats() {
		c.do(alice, "GET /v1/audit/report", url.Values{"org": {"Example Police"}, "from": {"7d"}, "format": {format}}, nil, nil)
	}
	for _, format := range node.RegisterFormats() {
		c.do(alice, "GET /v1/audit/register", url.Values{"from": {"7d"}, "format": {format}}, nil, nil)
	}
	_, recipient, err := crypto.GenerateBackupIdentity()
	if err != nil {
		t.Fatal(err)
	}
	c.do(alice, "POST /v1/backup", nil, BackupRequest{Recipients: []string{recipient}}, nil)
	c.do(alice, "POST /v1/backup/verified", nil, BackupVerified{Node: alice.node.ID().String(), Made: time.Now().Add(-time.Second)}, nil)
	c.do(alice, "POST /v1/doctor", nil, Doctor{Quick: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"}}, nil)

	// A second node comes and goes.
	dir := t.TempDir()
	request, err := node.RequestNode(node.RequestInit{Dir: dir, Card: &alice.node.OwnCard().Signed})
	if err != nil {
		t.Fatal(err)
	}
	asks := NodeRequestOf(request)
	var enrolment Enrolment
	c.do(alice, "POST /v1/nodes/approve", nil, NodeApprove{asks.Bytes, strings.Join(asks.Words, " ")}, &enrolment)
	second := opened(t, dir)
	c.do(second, "POST /v1/nodes/enrol", nil, enrolment, nil)
	c.do(second, "GET /v1/nodes", nil, nil, nil)
	c.do(alice, "POST /v1/keys/age", nil, KeyRotateAge{}, nil)
	c.do(alice, "GET /v1/keys", nil, nil, nil)
	c.do(alice, "GET /v1/nodes", nil, nil, nil)
	c.do(alice, "POST /v1/nodes/renew", nil, NodeName{asks.Node.String()}, nil)
	c.do(alice, "POST /v1/nodes/remove", nil, NodeRemove{Node: asks.Node.String(), Now: true}, nil)
	c.do(alice, "GET /v1/nodes", nil, nil, nil)

	// The people of a node, and what takes two of them.
	own := bob.userName(os.Getuid())
	c.do(bob, "GET /v1/people", nil, nil, nil)
	c.do(bob, "GET /v1/me", nil, nil, nil)
	c.do(bob, "PUT /v1/people/boss", nil, PersonSet{Roles: rules.Roles(), User: own, FullName: "The Boss"}, nil)
	bob.account(firstUID, "os-second")
	c.do(bob, "PUT /v1/people/second", nil, PersonSet{Roles: []string{"admin", "officer"}, User: "os-second"}, nil)
	c.do(bob, "GET /v1/people/second", nil, nil, nil)
	c.do(bob, "POST /v1/people/second/confirm", nil, nil, nil)
	c.do(bob, "GET /v1/me", nil, nil, nil)
	c.do(bob, "POST /v1/consumers", nil, ConsumerRequest{Name: "siem", Scopes: []node.Scope{node.ScopeRead}, Expires: time.Now().AddDate(0, 1, 0)}, nil)
	c.do(bob, "POST /v1/consumers/siem/own", nil, ConsumerOwn{Owner: "boss"}, nil)
	c.do(bob, "POST /v1/sinks", nil, AddSink{Name: "out", Kind: node.SinkWebhook, Reader: "boss", URL: "https://siem.example.org/hook"}, nil)
	c.do(bob, "POST /v1/sources", nil, SourceAdd{Name: "in", Kind: "folder", Where: t.TempDir(), Topic: "c2", Handling: SourceHandling{TLP: "green", Personal: "none"}}, nil)
	c.do(bob, "POST /v1/sinks/out/own", nil, ConsumerOwn{Owner: "second"}, nil)
	c.do(bob, "POST /v1/sources/in/own", nil, ConsumerOwn{Owner: "second"}, nil)
	c.do(bob, "POST /v1/people/second/hand-over", nil, PersonHandOver{To: "boss"}, nil)
	c.do(bob, "POST /v1/requirements", nil, RequireTwo{Act: node.ActSignAgreement, Two: true}, nil)
	var bobs Draft
	c.do(bob, "GET /v1/agreements/template", url.Values{"with": {"Example Vendor"}}, nil, &bobs)
	bobsDraft := bobs.YAML
	for range 2 {
		if code, b := c.ask(bob, "POST", "/v1/agreements", bobsDraft); code != http.StatusAccepted {
			t.Fatalf("%d %s", code, b)
		}
	}
	var waiting []node.PendingAct
	c.do(bob, "GET /v1/acts", nil, nil, &waiting)
	if len(waiting) != 1 || !waiting[0].Own || !strings.Contains(waiting[0].Title, "Example Vendor") {
		t.Fatalf("%+v", waiting)
	}
	before := len(bob.node.Agreements())
	c.do(bob, "GET /v1/acts/"+waiting[0].ID, nil, nil, nil)
	c.as = firstUID
	c.do(bob, "POST /v1/acts/"+waiting[0].ID+"/approve", nil, nil, nil)
	c.as = 0
	if got := len(bob.node.Agreements()); got != before+1 {
		t.Fatalf("%d agreements, before it was approved %d", got, before)
	}
	if code, b := c.ask(bob, "POST", "/v1/agreements", bobsDraft+"\n# once more\n"); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, b)
	}
	c.do(bob, "GET /v1/acts", nil, nil, &waiting)
	c.do(bob, "POST /v1/acts/"+waiting[0].ID+"/deny", nil, ActDeny{"not now"}, nil)
	c.do(bob, "DELETE /v1/people/second", nil, nil, nil)
	c.do(bob, "GET /v1/people", url.Values{"all": {"true"}}, nil, nil)

	// They part.
	var renewed Renewed
	c.do(alice, "POST "+agr+"/renew", nil, RenewRequest{time.Now().AddDate(2, 0, 0)}, &renewed)
	c.do(bob, "POST "+agr+"/terminate", nil, Termination{Reason: "the end"}, nil)
	c.do(alice, "POST /v1/network/remove", nil, NetworkRemove{Org: "Example Police", Reason: "left"}, nil)
	c.do(alice, "POST /v1/untrust", nil, Untrust{"Example Police"}, nil)
	c.do(alice, "DELETE /v1/topics/c2", nil, nil, nil)

	// Whatever can be looked at, once more.
	for _, pattern := range alice.mux.patterns {
		if path, ok := strings.CutPrefix(pattern, "GET "); ok && !strings.Contains(path, "{") && !strings.HasSuffix(path, "z") {
			q := url.Values{}
			for f := range parameters(alice.declared[pattern].query) {
				if f.Tag.Get("required") == "true" {
					q.Set(f.Tag.Get("query"), map[string]string{"with": "Example Police", "org": "Example Police", "from": "7d", "value": "198.51.100.1"}[f.Tag.Get("query")])
				}
			}
			if path == "/v1/watch" {
				q.Set("follow", "0")
			}
			c.do(alice, pattern, q, nil, nil)
			c.do(bob, pattern, q, nil, nil)
		}
	}
	c.do(alice, "GET /healthz", nil, nil, nil)

	// What no two nodes that meet by carried files bring about; the reason stands beside it.
	unseen := map[string]string{
		"GET /readyz":               "no node here is on line: 503, below",
		"GET /v1/releases/{number}": "needs three organisations", "GET /v1/releases/{number}/withheld": "the same",
		"POST /v1/releases/{number}/approve": "the same", "POST /v1/releases/{number}/deny": "the same",
		"POST /v1/origins/{id}/prove": "the same", "POST /v1/agreements/{id}/reject": "the answer is that of suspend",
		"POST /v1/audit/cosigned": "needs a cosigner that is connected", "POST /v1/audit/erase": "needs entries that are old enough",
		"DELETE /v1/mirror/{node}": "needs a database that follows; the script postgres.txtar asks it", "POST /v1/nodes/reseal": "needs entries of a removed node", "POST /v1/quarantine/tell": "needs something in quarantine", "POST /v1/rules/confirm": "needs rules that are in doubt",
	}
	for _, pattern := range alice.mux.patterns {
		switch reason := unseen[pattern]; {
		case c.seen[pattern] && reason != "":
			t.Errorf("%s is answered after all", pattern)
		case !c.seen[pattern] && reason == "":
			t.Errorf("%s was not asked", pattern)
		}
	}
	// What is asked with another method than GET and changes nothing; all else names who did it.
	looks := map[string]bool{"POST /v1/agreements/diff": true, "POST /v1/agreements/anew": true, "POST /v1/rules/check": true, "POST /v1/agreements/check": true, "POST /v1/agreements/simulate": true,
		"POST /v1/agreements/iep": true, "POST /v1/carry/inspect": true, "POST /v1/audit/verify": true, "POST /v1/doctor": true,
		"POST /v1/people/{name}/confirm": true, "POST /v1/consumers/{name}/confirm": true} // these were confirmed already
	for pattern, how := range c.noted {
		if how != "" && !looks[pattern] {
			t.Errorf("%s: %s in the account names who asked for it", pattern, how)
		}
	}
	code, b := get(t, alice, "/readyz")
	if code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", code, b)
	}
	c.valid(c.at("/paths/~1readyz/get/responses/503/content/application~1json/schema"), "GET /readyz", []byte(b))
}

func opened(t *testing.T, dir string) *Server {
	t.Helper()
	lock, err := node.OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := node.LoadKeys(dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Dir: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return New(n)
}
