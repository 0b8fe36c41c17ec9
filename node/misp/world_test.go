package misp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func openNode(t *testing.T, name string) *node.Node {
	t.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: name, Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// alone is a node that is the only member of its network.
func alone(t *testing.T) *node.Node {
	t.Helper()
	n := openNode(t, "Alice")
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	return n
}

// carry gives what from holds to another node, in a file.
func carry(t *testing.T, from, to *node.Node) {
	t.Helper()
	var file bytes.Buffer
	if _, err := from.Pack(t.Context(), &file, node.PackRequest{To: to.Org()}); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Apply(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
}

// pair are two members; the first may send to the second.
func pair(t *testing.T) (from, to *node.Node) {
	t.Helper()
	from, to = alone(t), openNode(t, "Bob")
	inv, err := from.Invite(&to.OwnCard().Signed, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Join(inv); err != nil {
		t.Fatal(err)
	}
	if err := to.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	for _, p := range [][2]*node.Node{{from, to}, {to, from}} {
		card := p[1].OwnCard()
		if _, err := p[0].Trust(&card.Signed, strings.Join(crypto.Words(card.Org), " ")); err != nil {
			t.Fatal(err)
		}
	}
	carry(t, to, from)
	now := uint64(time.Now().UnixMilli())
	doc := protocol.Agreement{Title: "Test", Parties: []protocol.OrgID{from.Org(), to.Org()}, NotBefore: now - 1000, NotAfter: now + 1e9,
		Terms: []protocol.Term{{From: from.Org(), To: to.Org(), Topics: []string{"*"}, Kinds: []string{"*"}, TLP: protocol.TLPRed, Countries: []string{"*"}, Personal: protocol.PersonalAll}}}
	slices.SortFunc(doc.Parties, protocol.OrgID.Compare)
	id, err := from.Propose(doc)
	if err != nil {
		t.Fatal(err)
	}
	carry(t, from, to)
	if err := to.Countersign(id); err != nil {
		t.Fatal(err)
	}
	carry(t, to, from)
	return from, to
}

const people = `[{"uid":{"type":"Machine","id":"misp"},"attrs":{"name":"MISP"},"parents":[{"type":"Role","id":"sink"}]}]`

func load(t *testing.T, n *node.Node, text string) {
	t.Helper()
	if _, err := n.LoadRules(rules.Source{File: "own.cedar", Text: []byte(text), PeopleFile: "people.json", People: []byte(people)}); err != nil {
		t.Fatal(err)
	}
}

// green is how what states nothing is published here.
var green = policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}

func publish(t *testing.T, n *node.Node, data string, f policy.Flags) *node.Receipt {
	t.Helper()
	in, err := intake.Read("file", strings.NewReader(data), intake.Options{})
	if err != nil || len(in.Problems) > 0 {
		t.Fatal(err, in)
	}
	rec, err := n.Publish(t.Context(), node.PublishRequest{Topic: "c2", Items: in.Items, Flags: f, PersonalChecked: true})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// instance is a MISP instance, or a script that speaks as one: it sends what ServerSyncTool.php sends.
type instance struct {
	t     *testing.T
	srv   *httptest.Server
	token string
	agent string
	now   time.Time
	s     *server
	log   bytes.Buffer // to be read when nothing is being answered
}

func newInstance(t *testing.T, n *node.Node, scopes ...node.Scope) *instance {
	t.Helper()
	return newInstanceNamed(t, n, "misp", scopes...)
}

// newInstanceIn has a token for another topic than c2.
func newInstanceIn(t *testing.T, n *node.Node, name, topic string, scopes ...node.Scope) *instance {
	t.Helper()
	return newInstanceOf(t, n, node.Consumer{Name: name, Topics: []string{topic}, Scopes: scopes})
}

// call sends a request as MISP does, and returns the status and the body.
func (i *instance) call(method, path string, body any) (int, []byte, http.Header) {
	i.t.Helper()
	var in bytes.Buffer
	switch b := body.(type) {
	case nil:
	case string:
		in.WriteString(b)
	default:
		if err := json.NewEncoder(&in).Encode(b); err != nil {
			i.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, i.srv.URL+"/misp"+path, &in)
	if err != nil {
		i.t.Fatal(err)
	}
	req.Header.Set("Authorization", i.token)
	req.Header.Set("User-Agent", i.agent)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(resp.Body); err != nil {
		i.t.Fatal(err)
	}
	return resp.StatusCode, out.Bytes(), resp.Header
}

// get is a call that succeeds, decoded into v.
func (i *instance) get(method, path string, body, v any) {
	i.t.Helper()
	status, data, _ := i.call(method, path, body)
	if status != 200 {
		i.t.Fatalf("%s %s: %d %s", method, path, status, data)
	}
	if err := json.Unmarshal(data, v); err != nil {
		i.t.Fatalf("%s %s: %v in %s", method, path, err, data)
	}
}

// eventFile is an event of MISP as it is pushed.
func eventFile(uuid, at string, attributes ...string) string {
	return `{"Event":{"uuid":"` + uuid + `","info":"An operation","date":"2026-01-02","timestamp":"` + at + `","published":true,"distribution":"3","threat_level_id":"2","analysis":"1",` +
		`"Orgc":{"uuid":"` + core.NewUUID("orgc") + `","name":"Carol"},"Tag":[{"name":"tlp:green"},{"name":"spring"}],"Attribute":[` + strings.Join(attributes, ",") + `]}}`
}

func attribute(n int, more string) string {
	return fmt.Sprintf(`{"uuid":%q,"type":"domain","category":"Network activity","value":"c%d.example","to_ids":true,"timestamp":"1700000000","distribution":"5"%s}`, core.NewUUID(fmt.Sprint("a", n)), n, more)
}

func newInstanceNamed(t *testing.T, n *node.Node, name string, scopes ...node.Scope) *instance {
	t.Helper()
	return newInstanceOf(t, n, node.Consumer{Name: name, Topics: []string{"c2"}, Scopes: scopes})
}

func newInstanceOf(t *testing.T, n *node.Node, c node.Consumer) *instance {
	t.Helper()
	c.Expires = time.Now().Add(time.Hour)
	token, err := n.AddConsumer(c)
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, token: token, agent: "MISP 2.4.190 - #0123", now: time.Now().Add(3 * time.Second)}
	i.s = newServer(n, func() time.Time { return i.now }, slog.New(slog.NewTextHandler(&i.log, nil)))
	s := serve.New(n, nil)
	i.s.mount(s)
	i.srv = httptest.NewServer(s)
	t.Cleanup(i.srv.Close)
	return i
}

// newFeed serves files as a feed.
func newFeed(t *testing.T, files map[string]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
