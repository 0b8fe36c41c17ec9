package node

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// as is the context of a request of one of the people.
func as(ctx context.Context, id string, right rules.Action) context.Context {
	return WithCaller(ctx, Caller{Person: id, User: id, Right: right})
}

// setUpAs has somebody set up a sink, a source and a view.
func setUpAs(t testing.TB, n *Node, id string) {
	t.Helper()
	ctx := as(t.Context(), id, rules.Administer)
	if _, err := n.SetSink(ctx, testSink(id), 0, false); err != nil {
		t.Fatal(err)
	}
	if err := n.SetSource(ctx, testSource(id)); err != nil {
		t.Fatal(err)
	}
	if err := n.Acting(CallerOf(ctx), func() error { return n.SetView(&View{Name: id}) }); err != nil {
		t.Fatal(err)
	}
}

// owns is what somebody owns, as text.
func owns(t testing.TB, n *Node, id string) string {
	t.Helper()
	p, err := n.Person(id)
	if err != nil {
		t.Fatal(err)
	}
	return ownedNames(p.SetUp)
}

func ownedNames(list []Owned) string {
	var out []string
	for i := range list {
		out = append(out, list[i].String()+" "+list[i].State)
	}
	return strings.Join(out, ", ")
}

func kindsOf(t testing.TB, n *Node) (kinds []string) {
	t.Helper()
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range st.Problems {
		kinds = append(kinds, p.Kind)
	}
	return kinds
}

// TestWhatALeaverSetUp stands still when they leave, at every node, and goes on as that of who lets it; what was handed
// over goes on.
func TestWhatALeaverSetUp(t *testing.T) {
	first, second, _ := siblingWorld(t)
	addPerson(t, first, "alice", rules.RoleAdmin)
	addPerson(t, first, "bob", rules.RoleAdmin)
	addPerson(t, first, "carol", rules.RoleReader)
	compareWith(t, second, first)
	for _, n := range []*Node{first, second} {
		setUpAs(t, n, "bob")
	}
	setUpAs(t, first, "alice")
	if got := owns(t, first, "bob"); got != "sink bob goes on, source bob goes on, view bob goes on" {
		t.Fatal(got)
	}
	// Whoever says where it goes answers for it, whoever had set it up.
	taken := testSink("alice")
	taken.URL = "https://elsewhere.example/hook"
	if _, err := first.SetSink(as(t.Context(), "bob", rules.Administer), taken, 0, true); err != nil {
		t.Fatal(err)
	}
	if err := handOverFails(t, first, "bob", "carol"); err == nil || !strings.Contains(err.Error(), "administers the node") {
		t.Errorf("to a reader: %v", err)
	}
	if _, err := first.RemovePerson(t.Context(), "bob", "carol"); err == nil || first.PersonOf("bob") == nil {
		t.Errorf("removed, and handed over to a reader: %v", err)
	}
	if _, err := first.HandOver(t.Context(), "bob", "bob"); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("to themselves: %v", err)
	}
	out, err := first.RemovePerson(as(t.Context(), "alice", rules.People), "bob", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := ownedNames(out.SetUp); got != "sink alice stands still, sink bob stands still, source bob stands still, view bob goes on" || len(out.Elsewhere) != 1 || out.Elsewhere[0] != second.ID() {
		t.Errorf("%s, elsewhere %v", got, out.Elsewhere)
	}
	if k := kindsOf(t, first); !slices.Contains(k, "sink-owner-left") || !slices.Contains(k, "source-owner-left") || slices.Contains(k, "set-up-nobodys") {
		t.Errorf("%v", k)
	}
	if s, err := first.Sink("bob"); err != nil || s.Stopped.IsZero() || !strings.Contains(s.Error, "bob, who set it up, left") {
		t.Errorf("%+v %v", s, err)
	}
	// It goes on as of who lets it.
	alice := as(t.Context(), "alice", rules.Administer)
	if err := errors.Join(first.ReplaySink(alice, "bob", 0), first.PauseSource(alice, "bob", false)); err != nil {
		t.Fatal(err)
	}
	if got := owns(t, first, "alice"); got != "sink bob goes on, source alice goes on, source bob goes on, view alice goes on" {
		t.Error(got)
	}
	// Another node is told that they left: what they set up there stands still, and its account says what.
	compareWith(t, second, first)
	if got := owns(t, second, "bob"); got != "sink bob stands still, source bob stands still, view bob goes on" {
		t.Error(got)
	}
	entries, err := second.Audit(t.Context(), AuditQuery{Kind: "people"})
	if err != nil || !slices.ContainsFunc(entries, func(e AuditEntry) bool {
		return e.Act == "end what was theirs" && strings.Contains(e.Text, "stands still: sink bob, source bob")
	}) {
		t.Errorf("%+v %v", entries, err)
	}
	handed, err := second.HandOver(as(t.Context(), "alice", rules.People), "bob", "alice")
	if err != nil || ownedNames(handed.SetUp) != "sink bob handed over, source bob handed over, view bob handed over" {
		t.Errorf("%+v %v", handed, err)
	}
	if got := owns(t, second, "alice"); got != "sink bob stands still, source bob stands still, view bob goes on" {
		t.Errorf("after it was handed over: %s", got)
	}
}

// TestWhatADemotedAdminSetUp stands still at every node, as that of who left: they could not set it up any more.
func TestWhatADemotedAdminSetUp(t *testing.T) {
	first, second, _ := siblingWorld(t)
	addPerson(t, first, "alice", rules.RoleAdmin)
	addPerson(t, first, "bob", rules.RoleAdmin, rules.RoleReader)
	compareWith(t, second, first)
	for _, n := range []*Node{first, second} {
		setUpAs(t, n, "bob")
	}
	if _, _, err := first.SetPerson(as(t.Context(), "alice", rules.People), PersonChange{ID: "bob", FullName: "Bob", Roles: []string{rules.RoleAdmin}, Only: true}); err != nil {
		t.Fatal(err)
	}
	if got := owns(t, first, "bob"); got != "sink bob goes on, source bob goes on, view bob goes on" {
		t.Errorf("who is an admin still: %s", got)
	}
	delivers, err := first.OpenSink(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := delivers.Changes(0, 0, 10); err != nil {
		t.Error(err)
	}
	if _, _, err := first.SetPerson(as(t.Context(), "alice", rules.People), PersonChange{ID: "bob", Roles: []string{rules.RoleReader}, Only: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := delivers.Changes(0, 0, 10); !errors.Is(err, ErrForbidden) {
		t.Errorf("a delivery that was going on goes on: %v", err)
	}
	if err := delivers.Close(); err != nil {
		t.Error(err)
	}
	compareWith(t, second, first)
	for _, n := range []*Node{first, second} {
		if got := owns(t, n, "bob"); got != "sink bob stands still, source bob stands still, view bob goes on" {
			t.Error(got)
		}
		if _, err := n.OpenSink(t.Context(), "bob"); !errors.Is(err, ErrForbidden) {
			t.Errorf("the sink delivers: %v", err)
		}
		src, err := n.Source("bob")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.PrincipalOf(src); !errors.Is(err, ErrForbidden) {
			t.Errorf("the source publishes: %v", err)
		}
		if k := kindsOf(t, n); !slices.Contains(k, "sink-owner-left") || !slices.Contains(k, "source-owner-left") {
			t.Errorf("%v", k)
		}
		account, err := n.Audit(t.Context(), AuditQuery{Kind: "people"})
		if err != nil || !slices.ContainsFunc(account, func(e AuditEntry) bool { return strings.Contains(e.Text, "stands still: sink bob, source bob") }) {
			t.Errorf("%+v %v", account, err)
		}
	}
	alice := as(t.Context(), "alice", rules.Administer)
	if err := errors.Join(first.ReplaySink(alice, "bob", 0), first.PauseSource(alice, "bob", false)); err != nil {
		t.Fatal(err)
	}
	if got := owns(t, first, "alice"); got != "sink bob goes on, source bob goes on" {
		t.Error(got)
	}
	// Who was never one, or comes back as one, has nothing stand still.
	for _, roles := range [][]string{{rules.RoleAdmin}, {rules.RoleAdmin, rules.RoleOfficer}} {
		if _, _, err := second.SetPerson(t.Context(), PersonChange{ID: "bob", Roles: roles, Only: true}); err != nil {
			t.Fatal(err)
		}
	}
	if k, got := kindsOf(t, second), owns(t, second, "bob"); slices.Contains(k, "sink-owner-left") || slices.Contains(k, "source-owner-left") ||
		got != "sink bob goes on, source bob goes on, view bob goes on" {
		t.Errorf("an admin again: %v, %s", k, got)
	}
	if run, err := second.OpenSink(t.Context(), "bob"); err != nil {
		t.Error(err)
	} else if err := run.Close(); err != nil {
		t.Error(err)
	}
}

// handOverFails is HandOver of which only the error counts.
func handOverFails(t testing.TB, n *Node, id, to string) error {
	t.Helper()
	_, err := n.HandOver(t.Context(), id, to)
	return err
}

// TestHandOver goes on without a stop, or ends.
func TestHandOver(t *testing.T) {
	n := testNode(t, "Police")
	if _, err := n.SetSink(t.Context(), testSink("old"), 0, false); err != nil {
		t.Fatal(err)
	}
	addPerson(t, n, "alice", rules.RoleAdmin, rules.RoleReader)
	for _, id := range []string{"bob", "carol"} {
		addPerson(t, n, id, rules.RoleAdmin, rules.RoleReader)
		setUpAs(t, n, id)
	}
	if k := kindsOf(t, n); !slices.Contains(k, "set-up-nobodys") {
		t.Errorf("a sink of before there were people: %v", k)
	}
	if err := n.OwnSink(t.Context(), "old", "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("owned by nobody: %v", err)
	}
	if err := errors.Join(n.OwnSink(t.Context(), "old", "alice"), n.OwnSource(t.Context(), "bob", "bob")); err != nil {
		t.Fatal(err)
	}
	if err := n.OwnSink(t.Context(), "none", "alice"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no sink: %v", err)
	}
	if k := kindsOf(t, n); slices.Contains(k, "set-up-nobodys") {
		t.Errorf("%v", k)
	}
	for _, c := range []Consumer{{Name: "feeder", As: "machine", Owner: "bob"}, {Name: "own", As: "bob", Owner: "bob"}} {
		c.Scopes, c.Expires = []Scope{ScopeRead}, time.Now().Add(time.Hour)
		if _, err := n.AddConsumer(c); err != nil {
			t.Fatal(err)
		}
	}
	out, err := n.RemovePerson(t.Context(), "bob", "alice")
	if err != nil || ownedNames(out.SetUp) != "sink bob handed over, source bob handed over, view bob handed over" || !slices.Equal(out.HandedOver, []string{"feeder"}) || !slices.Equal(out.Ended, []string{"own"}) {
		t.Fatalf("%+v %v", out, err)
	}
	if got := owns(t, n, "alice"); got != "sink bob goes on, sink old goes on, source bob goes on, view bob goes on" {
		t.Error(got)
	}
	if out, err = n.RemovePerson(t.Context(), "carol", ""); err == nil {
		err = n.EndSetUp(t.Context(), out)
	}
	if err != nil || ownedNames(out.SetUp) != "sink carol ended, source carol ended, view carol goes on" {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := n.Sink("carol"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := n.Source("carol"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestLeaverCommitsNothing: a request that was judged before who made it was removed, or lost the role, and that comes
// to its act after it, does nothing.
func TestLeaverCommitsNothing(t *testing.T) {
	n := testNode(t, "Police")
	addPerson(t, n, "alice", rules.RoleAdmin, rules.RoleReader)
	addPerson(t, n, "bob", rules.RoleAdmin, rules.RoleReader)
	addPerson(t, n, "carol", rules.RoleAdmin)
	addPerson(t, n, "dave", rules.RoleReader)
	bob, carol := as(t.Context(), "bob", rules.Administer), as(t.Context(), "carol", rules.Administer)
	if _, err := n.SetSink(bob, testSink("before"), 0, false); err != nil {
		t.Fatal(err)
	}
	removePerson(t, n, "bob")
	if _, _, err := n.SetPerson(t.Context(), PersonChange{ID: "carol", Roles: []string{rules.RoleReader}, Only: true}); err != nil {
		t.Fatal(err)
	}
	add := func() error {
		_, err := n.AddConsumer(Consumer{Name: "late", As: "machine", Owner: "dave", Scopes: []Scope{ScopeRead}, Expires: time.Now().Add(time.Hour)})
		return err
	}
	for _, ctx := range []context.Context{bob, carol} {
		for what, do := range map[string]func() error{
			"sink":     func() error { _, err := n.SetSink(ctx, testSink("late"), 0, false); return err },
			"replay":   func() error { return n.ReplaySink(ctx, "before", 0) },
			"source":   func() error { return n.SetSource(ctx, testSource("late")) },
			"consumer": func() error { return n.Acting(CallerOf(ctx), add) },
			"view":     func() error { return n.Acting(CallerOf(ctx), func() error { return n.SetView(&View{Name: "late"}) }) },
			"person": func() error {
				_, _, err := n.SetPerson(as(ctx, CallerOf(ctx).Person, rules.People), PersonChange{ID: "mallory", Roles: []string{rules.RoleAdmin}})
				return err
			},
			"remove": func() error {
				_, err := n.RemovePerson(as(ctx, CallerOf(ctx).Person, rules.People), "dave", "")
				return err
			},
			"rules": func() error {
				return n.Acting(CallerOf(ctx), func() error { _, err := n.LoadRules(rules.Source{File: "late.cedar"}); return err })
			},
			"rules for all": func() error {
				return n.Acting(CallerOf(ctx), func() error { _, err := n.LoadRulesEverywhere(rules.Source{File: "late.cedar"}); return err })
			},
			"disclose": func() error { return n.Disclose(ctx, Disclosure{Act: "search", Records: []protocol.RecordID{{1}}}) },
		} {
			if err := do(); !Forbidden(err) || !strings.Contains(err.Error(), "nothing was done") {
				t.Errorf("%s by %s: %v", what, CallerOf(ctx).Person, err)
			}
		}
	}
	sinks, err := n.Sinks()
	sources, err2 := n.Sources()
	consumers, err3 := n.Consumers()
	views, err4 := n.Views()
	if err := errors.Join(err, err2, err3, err4); err != nil || len(sinks) != 1 || sinks[0].Stopped.IsZero() || len(sources)+len(consumers)+len(views) != 0 || n.PersonOf("mallory") != nil || n.PersonOf("dave") == nil {
		t.Errorf("%+v %+v %+v %+v %v", sinks, sources, consumers, views, err)
	}
	if d := n.snap.Load().rulesDoc; d != nil {
		t.Errorf("rules of %s are in force", d.File)
	}
	// That it was refused is noted, and whoever removes themselves may.
	n.NoteRefused(CallerOf(bob), "POST /v1/sinks", ErrForbidden)
	entries, err := n.Audit(t.Context(), AuditQuery{Person: "bob"})
	if err != nil || !slices.ContainsFunc(entries, func(e AuditEntry) bool { return e.Act == "refuse request" }) {
		t.Errorf("%+v %v", entries, err)
	}
	addPerson(t, n, "erin", rules.RoleAdmin)
	if _, err := n.RemovePerson(as(t.Context(), "alice", rules.People), "alice", ""); err != nil {
		t.Error(err)
	}
}

// TestLeaverSignsNothing: a card that somebody had signed as they were removed is not in force, and does not come in force by the copy beside the
// data directory, at the next start.
func TestLeaverSignsNothing(t *testing.T) {
	t.Parallel()
	ident, err := NewIdentity(InitRequest{Name: "Police", Kind: "police"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: t.TempDir(), Keys: ident.Keys, Card: &ident.Card}
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { n.Close() }()
	addPerson(t, n, "alice", rules.RoleAdmin)
	addPerson(t, n, "bob", rules.RoleAdmin)
	removePerson(t, n, "bob")
	for _, before := range []string{"none was signed here", "one was"} {
		serial := n.OwnCard().Serial
		c := CallerOf(as(t.Context(), "bob", rules.Administer))
		if err := n.Acting(c, func() error { return n.RenewNode(c, n.ID()) }); !Forbidden(err) {
			t.Fatalf("%s: %v", before, err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err = Open(cfg); err != nil {
			t.Fatal(err)
		}
		if got := n.OwnCard().Serial; got != serial {
			t.Errorf("%s: card %d is in force, it was %d", before, got, serial)
		}
		c = CallerOf(as(t.Context(), "alice", rules.Administer))
		if err := n.Acting(c, func() error { return n.RenewNode(c, n.ID()) }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOwnerIsKept in a form of its own; what release 0.1 wrote is read, and what nobody owns is written as it did.
func TestOwnerIsKept(t *testing.T) {
	old := sinkDoc01{Run: 1, Created: 2, Kind: "webhook", URL: "https://siem.example", Reader: "siem", Format: "json", Batch: 3, Roots: []byte{}, Secret: []byte{4}, Progress: sinkProgressDoc{Cursor: 5}}
	b := protocol.Encode(&old)
	var d sinkDoc
	if err := protocol.Decode(b, maxDocument, &d); err != nil || d.Owner != "" || d.Progress.Cursor != 5 || !bytes.Equal(protocol.Encode(&d), b) {
		t.Errorf("%+v %v", d, err)
	}
	d.Owner = "alice"
	var back sinkDoc
	if err := protocol.Decode(protocol.Encode(&d), maxDocument, &back); err != nil || back.Owner != "alice" || back.Kind != "webhook" {
		t.Errorf("%+v %v", back, err)
	}
	if back.Owner = "no name"; checkSinkDoc("siem", &back) == nil {
		t.Error("an owner that is no name is taken")
	}
	oldView := view01{Name: "v", MinConfidence: 7}
	b = protocol.Encode(&oldView)
	var v View
	if err := protocol.Decode(b, maxDocument, &v); err != nil || v.Owner != "" || v.MinConfidence != 7 || !bytes.Equal(protocol.Encode(&v), b) {
		t.Errorf("%+v %v", v, err)
	}
	v.Owner = "alice"
	var backView View
	if err := protocol.Decode(protocol.Encode(&v), maxDocument, &backView); err != nil || backView.Owner != "alice" {
		t.Errorf("%+v %v", backView, err)
	}
	if backView.Owner = "no name"; backView.Validate() == nil {
		t.Error("an owner that is no name is taken")
	}
}
