package node

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/hosttest"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// fixture is what a release left (see package hosttest).
type fixture struct{ *hosttest.Fixture }

// config opens the fixture as if it had never been elsewhere: its anchor is of another machine, and what was
// erased since is not known.
func (f fixture) config(t *testing.T) Config {
	t.Helper()
	lock, err := OpenLock(f.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := LoadKeys(f.Dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Dir: f.Dir, Keys: keys, AcceptRestored: true, Log: slog.New(slog.DiscardHandler)}
}

// shows compares what a node shows with what the release's program showed.
func (f fixture) shows(t *testing.T, n *Node) {
	t.Helper()
	var text bytes.Buffer
	if _, err := n.Export(t.Context(), &text, ExportLines, 0); err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(text.String())
	slices.Sort(got)
	if !slices.Equal(got, f.Values) {
		t.Errorf("release %s showed %v, and this program shows %v", f.Release, f.Values, got)
	}
	for _, v := range f.Gone {
		if list, _, err := n.Search(Query{Value: v}); err != nil || len(list) > 0 {
			t.Errorf("%s is back: %v, %v", v, list, err)
		}
	}
	feeds, err := n.Feeds()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range f.Feeds {
		if !slices.ContainsFunc(feeds, func(s FeedStatus) bool {
			return s.Feed.String() == want.Feed && s.Held == want.Held && s.Digest == want.Digest
		}) {
			t.Errorf("feed %s does not stand at %d any more", want.Feed, want.Held)
		}
	}
	aside, err := n.Quarantine("")
	if err != nil || len(aside) != f.Quarantine {
		t.Errorf("%d records are set aside, there were %d; %v", len(aside), f.Quarantine, err)
	}
	var agreements, consumers, views, topics []hosttest.Named
	for _, a := range n.Agreements() {
		agreements = append(agreements, hosttest.Named{ID: a.ID.String()})
	}
	c, err1 := n.Consumers()
	v, err2 := n.Views()
	p, err3 := n.Topics()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for i := range c {
		consumers = append(consumers, hosttest.Named{Name: c[i].Name})
	}
	for i := range v {
		views = append(views, hosttest.Named{Name: v[i].Name})
	}
	for i := range p {
		topics = append(topics, hosttest.Named{Name: p[i].Name})
	}
	for what, pair := range map[string][2][]string{"agreements": {hosttest.Names(agreements), f.Agreements}, "consumers": {hosttest.Names(consumers), f.Consumers}, "views": {hosttest.Names(views), f.Views}, "topics": {hosttest.Names(topics), f.Topics}} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s are %v, they were %v", what, pair[0], pair[1])
		}
	}
	account, err := n.Audit(t.Context(), AuditQuery{})
	if err != nil || len(account) < f.Account {
		t.Errorf("the account has %d entries, it had %d; %v", len(account), f.Account, err)
	}
}

// TestFixtures: what the program of each release left opens, after it was migrated where it has to be, shows
// what it showed, and is gone on with.
func TestFixtures(t *testing.T) {
	for _, release := range hosttest.Fixtures(t) {
		t.Run(release, func(t *testing.T) {
			f := fixture{hosttest.Unpack(t, release)}
			SetClock(time.Until(f.Made)) // what ends, a node's entry after a year, is not over for who comes then
			defer SetClock(0)
			cfg := f.config(t)
			n, err := Open(cfg)
			if f.Format < store.Format {
				if !errors.Is(err, ErrMigrate) {
					t.Fatalf("opening the data of release %s: %v", release, err)
				}
				cfg.Migrate = MigrateForced
				n, err = Open(cfg)
			}
			if err != nil {
				t.Fatal(err)
			}
			f.shows(t, n)
			f.replay(t, n)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			cfg.Migrate = MigrateNo
			if n, err = Open(cfg); err != nil {
				t.Fatal(err)
			}
			f.shows(t, n)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// replay says to a node what was said to, and by, the release's program: every frame of it is understood, and
// what was asked is answered as it was. It reads the wire as SPEC describes it, and not by way of package mesh.
func (f fixture) replay(t *testing.T, n *Node) {
	t.Helper()
	network := n.snap.Load().network
	var asked []*protocol.SyncMessage
	count := map[string]int{}
	pulled := 0
	for i, line := range f.Lines {
		part := strings.Fields(line)
		if len(part) != 3 {
			t.Fatalf("line %d of the transcript has %d parts", i+1, len(part))
		}
		frame, err := base64.StdEncoding.DecodeString(part[2])
		if err != nil {
			t.Fatal(err)
		}
		id, what := part[0], part[1]
		count[id+" "+part[1]]++
		switch {
		case strings.HasPrefix(id, "/entente/gossip/"):
			_, err := crypto.VerifyEnvelope(network, frame)
			var notice protocol.Notice
			if err != nil && protocol.Decode(frame, protocol.MaxGossipSize, &notice) != nil {
				t.Errorf("line %d: what it gossiped is not understood: %v", i+1, err)
			}
		case strings.HasPrefix(id, "/entente/hello/"):
			h, err := readHello(id, frame)
			if err == nil {
				_, err = crypto.VerifyCard(&h.Card)
			}
			if err != nil || h.Network != network {
				t.Errorf("line %d: its hello is not understood: %v", i+1, err)
			}
		default:
			m, err := readSync(id, what, frame)
			if err != nil {
				t.Errorf("line %d: what it said on %s is not understood: %v", i+1, id, err)
				continue
			}
			if what == "ask" {
				asked = append(asked, m)
			}
			if i := slices.IndexFunc(asked, func(q *protocol.SyncMessage) bool { return m != nil && answerKinds[q.Kind] == m.Kind }); what == "answer" && i >= 0 {
				pulled += f.answers(t, n, asked[i], m)
				asked = slices.Delete(asked, i, i+1)
			}
		}
	}
	best := func(name string) string {
		return f.Wire[slices.IndexFunc(f.Wire, func(id string) bool { return strings.HasPrefix(id, "/entente/"+name+"/") })]
	}
	for _, what := range []string{best("hello") + " hello", best("gossip") + " gossip", best("sync") + " asked", best("sync") + " answer"} {
		if count[what] == 0 {
			t.Errorf("the transcript holds no %s: %v", what, count)
		}
	}
	if pulled == 0 {
		t.Errorf("the transcript holds no entries that were served: %v", count)
	}
}

// readHello reads a hello, which stands behind a status where it is an answer.
func readHello(id string, frame []byte) (*protocol.Hello, error) {
	var errs error
	for _, at := range []int{0, 1} {
		if len(frame) < at+16 {
			break
		}
		b := frame[at+16:]
		if id != "/entente/hello/1" {
			var in protocol.Introduction
			if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
				continue
			}
			size := int(binary.BigEndian.Uint16(b))
			if errs = protocol.Decode(b[2:2+size], protocol.MaxIntroductionSize, &in); errs != nil {
				continue
			}
			b = b[2+size:]
		}
		h := new(protocol.Hello)
		if errs = protocol.Decode(b, protocol.MaxHelloSize, h); errs == nil {
			return h, nil
		}
	}
	return nil, errs
}

// answerKinds are the kinds by which requests are answered.
var answerKinds = map[protocol.SyncKind]protocol.SyncKind{protocol.SyncDigest: protocol.SyncDigest, protocol.SyncList: protocol.SyncList, protocol.SyncFetch: protocol.SyncItems,
	protocol.SyncFrontier: protocol.SyncFrontier, protocol.SyncPull: protocol.SyncEntries}

// readSync reads a frame of a sync stream: a request of either side, or an answer, which has a status from version
// 2 on; nil if that is a refusal.
func readSync(id, what string, frame []byte) (*protocol.SyncMessage, error) {
	if what == "answer" && id != "/entente/sync/1" && len(frame) > 0 {
		switch frame[0] {
		case 0:
			frame = frame[1:]
		case 1:
			return nil, protocol.Decode(frame[1:], protocol.MaxFrameSize, new(protocol.SyncRefusal))
		}
	}
	m := new(protocol.SyncMessage)
	return m, protocol.Decode(frame, protocol.MaxFrameSize, m)
}

// answers asks a node what the release's program was asked, and compares: entries are the same to the byte. It
// returns how many entries were compared.
func (f fixture) answers(t *testing.T, n *Node, asked, answer *protocol.SyncMessage) int {
	t.Helper()
	var org protocol.OrgID
	for id, ref := range n.snap.Load().nodes {
		if id.String() == f.Recorder {
			org = ref
		}
	}
	if org == (protocol.OrgID{}) {
		t.Fatalf("the recorder %s is not known", f.Recorder)
	}
	got, err := reconcile.Answer(&view{n: n, org: org, serving: true}, asked)
	if err != nil {
		t.Errorf("a request of kind %d: %v", asked.Kind, err)
		return 0
	}
	if got.Kind != answer.Kind {
		t.Errorf("a request of kind %d is answered with kind %d, it was with %d", asked.Kind, got.Kind, answer.Kind)
	}
	if asked.Kind == protocol.SyncFetch && len(got.Roster) < len(answer.Roster) {
		t.Errorf("of %d statements that were served %d are", len(answer.Roster), len(got.Roster))
	}
	if asked.Kind != protocol.SyncPull {
		return 0
	}
	if len(got.Envelopes) < len(answer.Envelopes) || !slices.EqualFunc(got.Envelopes[:len(answer.Envelopes)], answer.Envelopes, sameEntry) {
		t.Errorf("of %d entries that were served %d are, or others", len(answer.Envelopes), len(got.Envelopes))
	}
	return len(answer.Envelopes)
}

// sameEntry compares entries: the body of one may have been erased since.
func sameEntry(a, b []byte) bool {
	var x, y protocol.Envelope
	return protocol.Decode(a, protocol.MaxEnvelopeSize, &x) == nil && protocol.Decode(b, protocol.MaxEnvelopeSize, &y) == nil &&
		bytes.Equal(x.Header, y.Header) && x.Sig == y.Sig && (len(x.Body) == 0 || bytes.Equal(x.Body, y.Body))
}
