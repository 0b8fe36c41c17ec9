package node

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// addPerson adds one of the people, by an account of the same name.
func addPerson(t testing.TB, n *Node, id string, roles ...string) {
	t.Helper()
	if _, _, err := n.SetPerson(t.Context(), PersonChange{ID: id, Roles: roles}); err != nil {
		t.Fatal(err)
	}
}

func removePerson(t testing.TB, n *Node, id string) {
	t.Helper()
	if _, err := n.RemovePerson(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
}

// drawPerson draws a word about somebody.
func drawPerson(t *rapid.T) protocol.SiblingPerson {
	p := protocol.SiblingPerson{ID: "p", Term: rapid.Uint64Range(1, 4).Draw(t, "term"), Version: rapid.Uint64Range(0, 3).Draw(t, "version"), Roles: []protocol.PersonRole{}}
	text := rapid.SampledFrom([]string{"", "a", "b"})
	p.Name, p.User, p.Purpose = text.Draw(t, "name"), text.Draw(t, "user"), text.Draw(t, "purpose")
	for _, role := range []string{"admin", "officer", "reader"} {
		if count := rapid.Uint64Range(0, 3).Draw(t, role); count > 0 {
			p.Roles = append(p.Roles, protocol.PersonRole{Role: role, Count: count})
		}
	}
	return p
}

func same(a, b protocol.SiblingPerson) bool {
	return bytes.Equal(protocol.Encode(&a), protocol.Encode(&b))
}

// TestPropsPeopleJoin: whatever the order, the same remains; a removal is not undone by what was said in its
// term, and a role that was taken does not come back by another word of its count or a lower one.
func TestPropsPeopleJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawPerson(t), drawPerson(t), drawPerson(t)
		ab := joinPeople(a, b)
		switch {
		case !same(ab, joinPeople(b, a)):
			t.Fatalf("order matters: %+v, %+v", a, b)
		case !same(joinPeople(ab, c), joinPeople(a, joinPeople(b, c))):
			t.Fatalf("grouping matters: %+v, %+v, %+v", a, b, c)
		case !same(joinPeople(ab, a), ab) || !same(joinPeople(a, a), a):
			t.Fatalf("twice matters: %+v, %+v", a, b)
		case ab.Validate() != nil:
			t.Fatalf("%+v: %v", ab, ab.Validate())
		case ab.Term != max(a.Term, b.Term):
			t.Fatalf("term %d of %d and %d", ab.Term, a.Term, b.Term)
		}
		d, e := personDoc{Said: a}, PersonChange{ID: "p", Roles: []string{"reader"}, Only: true}
		changed, _, err := e.next(&d)
		if err != nil {
			t.Fatal(err)
		}
		removed := a
		if removed.Term%2 == 1 {
			removed.Term++
			// Who changed them without knowing of the removal brings nobody back.
			if got := (&personDoc{Said: joinPeople(removed, changed.Said)}); got.present() {
				t.Fatalf("%+v and %+v: there again", removed, changed.Said)
			}
		}
		// A role that one node takes and another leaves is taken.
		if both := (&personDoc{Said: joinPeople(a, changed.Said)}); changed.Said.Term > a.Term || a.Term%2 == 1 {
			if got := both.roles(); !slices.Equal(got, []string{"reader"}) {
				t.Fatalf("%+v: %v", a, got)
			}
		}
	})
}

// TestPropsSecondJoin: of two words about an act the same one remains.
func TestPropsSecondJoin(t *testing.T) {
	draw := func(t *rapid.T) protocol.SiblingSecond {
		return protocol.SiblingSecond{Act: "people", Version: rapid.Uint64Range(1, 3).Draw(t, "version"), Two: rapid.Bool().Draw(t, "two"), Role: rapid.SampledFrom([]string{"admin", "officer"}).Draw(t, "role")}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t), draw(t)
		if a != b && laterSecond(&a, &b) == laterSecond(&b, &a) {
			t.Fatalf("%+v and %+v", a, b)
		}
		if a.Version == b.Version && a.Two && !b.Two && !laterSecond(&a, &b) {
			t.Fatal("one person is enough of two words of one version")
		}
	})
}

// TestWhoLeavesIsOutEverywhere: a removal at one node ends votes and tokens at another, and a change that
// another made without knowing brings nobody back.
func TestWhoLeavesIsOutEverywhere(t *testing.T) {
	first, second, _ := siblingWorld(t)
	addPerson(t, first, "alice", rules.RoleAdmin, rules.RoleReader)
	addPerson(t, first, "bob", rules.RoleReader, rules.RoleApprover)
	if _, err := first.Require(t.Context(), Requirement{Act: ActRelease, Two: true}); err == nil {
		t.Fatal("two who release, of one approver")
	}
	addPerson(t, first, "carol", rules.RoleApprover)
	if _, err := first.Require(t.Context(), Requirement{Act: ActRelease, Two: true}); err != nil {
		t.Fatal(err)
	}
	compareWith(t, second, first)
	if !second.HasAccounts() || second.AccountOf("bob").ID != "bob" || len(second.AccountOf("bob").Roles) != 2 || !second.snap.Load().second[ActRelease].Two {
		t.Fatalf("%+v", second.AccountOf("bob"))
	}
	token, err := second.AddConsumer(Consumer{Name: "siem", Owner: "bob", Scopes: []Scope{ScopeRead}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.st.Update(func(tx *store.Tx) error {
		return putDoc(tx, kindRelease, be64(1), &releaseDoc{Needs: 2, Form: uint8(formOpen), Approvals: []releaseVote{{Person: "bob", User: "bob"}}})
	}); err != nil {
		t.Fatal(err)
	}
	judged := 0
	second.OnPeople(func(context.Context) int { judged++; return 0 })

	removePerson(t, first, "bob")
	if _, _, err := second.SetPerson(t.Context(), PersonChange{ID: "bob", Roles: []string{rules.RolePublisher}, FullName: "Bob Example"}); err != nil {
		t.Fatal(err)
	}
	if _, err := second.ConsumerOf("", token); err != nil {
		t.Fatalf("before the nodes met: %v", err)
	}
	compareWith(t, second, first)
	compareWith(t, first, second)
	for i, n := range []*Node{first, second} {
		if who := n.AccountOf("bob"); len(who.Roles) != 0 || n.PersonOf("bob") != nil {
			t.Errorf("node %d: %+v", i, who)
		}
	}
	if judged < 2 {
		t.Error("what was open was not judged again")
	}
	if _, err := second.ConsumerOf("", token); !errors.Is(err, ErrUnauthorised) {
		t.Errorf("the token of who left: %v", err)
	}
	if d, err := second.releaseOf(1); err != nil || len(d.Approvals) != 0 || releaseForm(d.Form) != formUndecided {
		t.Errorf("the vote of who left: %+v %v", d, err)
	}
	if !sameSiblings(t, first, second) {
		t.Error("they hold different people")
	}
	// Added again, they are somebody new: nothing of before comes back.
	addPerson(t, second, "bob", rules.RoleReader)
	compareWith(t, first, second)
	if who := first.PersonOf("bob"); who == nil || !slices.Equal(who.Roles, []string{rules.RoleReader}) {
		t.Errorf("%+v", who)
	}
	// Two that were told apart from each other have one account: nobody comes by it.
	addPerson(t, first, "dave", rules.RoleReader)
	if _, _, err := second.SetPerson(t.Context(), PersonChange{ID: "erin", Roles: []string{rules.RoleReader}, User: "dave"}); err != nil {
		t.Fatal(err)
	}
	compareWith(t, first, second)
	if who := first.AccountOf("dave"); len(who.Roles) != 0 {
		t.Errorf("an account of two: %+v", who)
	}
	st, err := first.Status()
	if err != nil || !slices.ContainsFunc(st.Problems, func(p Problem) bool { return strings.Contains(p.Text, "dave and erin have one account") }) {
		t.Errorf("%+v %v", st.Problems, err)
	}
}

// TestHostilePeople: what a sibling says that no node would leaves everything as it was.
func TestHostilePeople(t *testing.T) {
	n := testNode(t, "Police")
	addPerson(t, n, "alice", rules.RoleAdmin)
	take := func(kind protocol.SiblingKind, v any) error {
		return n.takeSiblingItems([][]byte{protocol.Encode(&protocol.SiblingItem{Kind: kind, Content: protocol.Encode(v)})})
	}
	for name, p := range map[string]*protocol.SiblingPerson{
		"for ever":     {ID: "x", Term: protocol.MaxPersonCount + 1},
		"no term":      {ID: "x"},
		"no name":      {ID: "a b", Term: 1},
		"role":         {ID: "x", Term: 1, Roles: []protocol.PersonRole{{Role: "a b", Count: 1}}},
		"role, 0":      {ID: "x", Term: 1, Roles: []protocol.PersonRole{{Role: "reader"}}},
		"roles, twice": {ID: "x", Term: 1, Roles: []protocol.PersonRole{{Role: "reader", Count: 1}, {Role: "reader", Count: 2}}},
		"long":         {ID: "x", Term: 1, Name: strings.Repeat("x", protocol.MaxNameSize+1)},
	} {
		if err := take(protocol.SiblingPersonItem, p); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := take(protocol.SiblingPersonItem, &protocol.SiblingPerson{ID: NodePerson, Term: 1}); err != nil {
		t.Error(err)
	}
	if err := take(protocol.SiblingSecondItem, &protocol.SiblingSecond{Act: "everything", Version: 1, Two: true, Role: "admin"}); err != nil {
		t.Error(err)
	}
	if list, err := n.People(true); err != nil || len(list) != 1 || len(n.snap.Load().second) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	// The greatest term is one of somebody who can be removed.
	if err := take(protocol.SiblingPersonItem, &protocol.SiblingPerson{ID: "x", Term: protocol.MaxPersonCount - 1, User: "x", Roles: []protocol.PersonRole{{Role: "reader", Count: 1}}}); err != nil {
		t.Fatal(err)
	}
	removePerson(t, n, "x")
	if n.PersonOf("x") != nil {
		t.Error("cannot be removed")
	}
}

// TestRestoredPeopleWait: a backup brings back nobody who left meanwhile, and until somebody says who still
// is, nobody may come; a node that knows says it.
func TestRestoredPeopleWait(t *testing.T) {
	t.Parallel()
	n := testNode(t, "Police")
	addPerson(t, n, "alice", rules.RoleAdmin)
	addPerson(t, n, "bob", rules.RoleReader)
	addPerson(t, n, "carol", rules.RoleReader)
	removePerson(t, n, "carol")
	if _, err := n.Require(t.Context(), Requirement{Act: ActPeople, Two: true}); err == nil {
		t.Fatal("one admin is not two")
	}
	key := newOffline(t)
	data := backupOf(t, n, key)
	removePerson(t, n, "bob")
	back, _ := restoreInto(t, filepath.Join(t.TempDir(), "back"), data, key)
	if !back.HasAccounts() || len(back.AccountOf("alice").Roles) != 0 || len(back.AccountOf("bob").Roles) != 0 {
		t.Fatalf("%+v %+v", back.AccountOf("alice"), back.AccountOf("bob"))
	}
	st, err := back.Status()
	if err != nil || !slices.ContainsFunc(st.Problems, func(p Problem) bool { return strings.Contains(p.Text, "2 people came from a backup") }) {
		t.Errorf("%+v %v", st.Problems, err)
	}
	set, err := back.siblingSet()
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range set.refs {
		if ref.kind == protocol.SiblingPersonItem && ref.id != "carol" {
			t.Errorf("a restored node tells of %s", ref.id)
		}
	}
	if err := back.ConfirmPerson(WithOffline(t.Context()), "alice"); err != nil {
		t.Fatal(err)
	}
	if who := back.AccountOf("alice"); !slices.Equal(who.Roles, []string{rules.RoleAdmin}) {
		t.Errorf("%+v", who)
	}
	if back.PersonOf("bob") != nil {
		t.Fatal("bob may come, whom nobody confirmed")
	}
	var items [][]byte
	if err := n.st.View(func(tx *store.Tx) error {
		return eachSiblingItem(tx, func(ref siblingRef, item *protocol.SiblingItem) {
			if ref.kind == protocol.SiblingPersonItem {
				items = append(items, protocol.Encode(item))
			}
		})
	}); err != nil || len(items) != 3 {
		t.Fatal(len(items), err)
	}
	if err := back.takeSiblingItems(items); err != nil {
		t.Fatal(err)
	}
	if back.PersonOf("bob") != nil {
		t.Error("who left came back")
	}
	list, err := back.People(false)
	if err != nil || len(list) != 1 || list[0].Unconfirmed {
		t.Errorf("%+v %v", list, err)
	}
	if err := back.ConfirmPerson(t.Context(), "carol"); !errors.Is(err, ErrNotFound) {
		t.Errorf("confirming who left: %v", err)
	}
}

// TestReleasesNeedTwo: what is wanted of every release counts beside what terms want, votes of one account
// are one, and those of who left none.
func TestReleasesNeedTwo(t *testing.T) {
	n := testNode(t, "Police")
	addPerson(t, n, "alice", rules.RoleAdmin, rules.RoleApprover)
	addPerson(t, n, "bob", rules.RoleApprover)
	addPerson(t, n, "carol", rules.RoleApprover)
	if _, err := n.Require(t.Context(), Requirement{Act: ActRelease, Two: true, Role: rules.RoleOfficer}); err == nil {
		t.Error("an officer as the second of a release")
	}
	if _, err := n.Require(t.Context(), Requirement{Act: ActRelease, Two: true}); err != nil {
		t.Fatal(err)
	}
	if err := n.st.Update(func(tx *store.Tx) error {
		return putDoc(tx, kindRelease, be64(1), &releaseDoc{Topic: "c2", Needs: 1})
	}); err != nil {
		t.Fatal(err)
	}
	as := func(id, user string) context.Context { return WithCaller(t.Context(), Caller{Person: id, User: user}) }
	r, err := n.ApproveRelease(as("alice", "alice"), 1, "alice", false)
	if err != nil || r.State != "waiting" || r.Needs != 2 || !strings.Contains(r.Why, "two persons") {
		t.Fatalf("%+v %v", r, err)
	}
	if _, err := n.ApproveRelease(as("bob", "alice"), 1, "bob", false); err == nil {
		t.Error("one account is two persons")
	}
	removed, err := n.RemovePerson(t.Context(), "bob", "")
	if err != nil || removed.Votes != 0 {
		t.Fatalf("%+v %v", removed, err)
	}
	addPerson(t, n, "dave", rules.RoleAdmin)
	if removed, err = n.RemovePerson(t.Context(), "alice", ""); err != nil || removed.Votes != 1 {
		t.Fatalf("%+v %v", removed, err)
	}
	if r, err = n.ApproveRelease(as("carol", "carol"), 1, "carol", false); err != nil || r.State != "waiting" || len(r.Approved) != 1 {
		t.Errorf("with the vote of who left: %+v %v", r, err)
	}
	gone, cancel := context.WithCancel(as("dave", "dave"))
	cancel()
	if _, err := n.ApproveRelease(gone, 1, "dave", false); !errors.Is(err, context.Canceled) {
		t.Errorf("a vote that was cut off: %v", err)
	}
}

// TestAutoNeedsTwo: where every release needs two persons, whoever administers cannot have records passed on by nobody.
func TestAutoNeedsTwo(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Police")
	hub := nodes[1]
	addPerson(t, hub, "alice", rules.RoleAdmin, rules.RoleApprover)
	addPerson(t, hub, "bob", rules.RoleApprover)
	if _, err := hub.Require(t.Context(), Requirement{Act: ActRelease, Two: true}); err != nil {
		t.Fatal(err)
	}
	automatic(t, hub)
	publishOnward(t, nodes[0], "198.51.100.1\n", partners)
	along(t, nodes)
	wantReads(t, hub, "198.51.100.1", true)
	wantReads(t, nodes[2], "198.51.100.1", false)
	list, err := hub.Releases(false)
	if err != nil || len(list) != 1 || list[0].Needs != 2 || !strings.Contains(list[0].Why, "two persons") {
		t.Fatalf("%+v %v", list, err)
	}
	for _, id := range []string{"alice", "bob"} {
		wantReads(t, nodes[2], "198.51.100.1", false)
		if _, err := hub.ApproveRelease(WithCaller(t.Context(), Caller{Person: id, User: id}), list[0].Number, id, false); err != nil {
			t.Fatal(err)
		}
		along(t, nodes)
	}
	wantReads(t, nodes[2], "198.51.100.1", true)
}

// TestOwnersBindTokens: a token may no more than who answers for it.
func TestOwnersBindTokens(t *testing.T) {
	n := testNode(t, "Police")
	soon := time.Now().Add(time.Hour)
	if _, err := n.AddConsumer(Consumer{Name: "x", Owner: "alice", Scopes: []Scope{ScopeRead}, Expires: soon}); err == nil {
		t.Error("an owner where there are no people")
	}
	before, err := n.AddConsumer(Consumer{Name: "old", Scopes: []Scope{ScopeRead}, Expires: soon})
	if err != nil {
		t.Fatal(err)
	}
	addPerson(t, n, "alice", rules.RoleAdmin)
	addPerson(t, n, "bob", rules.RolePublisher)
	addPerson(t, n, "carol", rules.RoleReader)
	for name, c := range map[string]Consumer{
		"nobody's":         {Name: "x", Scopes: []Scope{ScopeRead}},
		"of nobody here":   {Name: "x", Owner: "mallory", Scopes: []Scope{ScopeRead}},
		"of an admin":      {Name: "x", Owner: "alice", Scopes: []Scope{ScopeRead}},
		"of a reader":      {Name: "x", Owner: "carol", Scopes: []Scope{ScopeRead, ScopePublish}},
		"as somebody else": {Name: "x", As: "bob", Owner: "carol", Scopes: []Scope{ScopeRead}},
	} {
		c.Expires = soon
		if _, err := n.AddConsumer(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	token, err := n.AddConsumer(Consumer{Name: "siem", Owner: "bob", Scopes: []Scope{ScopeRead, ScopePublish}, Expires: soon})
	if err != nil {
		t.Fatal(err)
	}
	own, err := n.AddConsumer(Consumer{Name: "bob", Scopes: []Scope{ScopeRead}, Expires: soon})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := n.ConsumerOf("", own); err != nil || c.Owner != "bob" || !c.Principal.Account {
		t.Fatalf("%+v %v", c, err)
	}
	if _, _, err := n.SetPerson(t.Context(), PersonChange{ID: "bob", Roles: []string{rules.RoleReader}, Only: true}); err != nil {
		t.Fatal(err)
	}
	if c, err := n.ConsumerOf("", token); err != nil || !slices.Equal(c.Scopes, []Scope{ScopeRead}) {
		t.Errorf("what its owner may not do any more: %+v %v", c, err)
	}
	removed, err := n.RemovePerson(t.Context(), "bob", "carol")
	if err == nil || !strings.Contains(err.Error(), "handing over siem") {
		t.Fatalf("handed over to who may not publish: %+v %v", removed, err)
	}
	if n.PersonOf("bob") == nil {
		t.Fatal("half of a removal was done")
	}
	addPerson(t, n, "carol", rules.RolePublisher)
	if removed, err = n.RemovePerson(t.Context(), "bob", "carol"); err != nil || !slices.Equal(removed.HandedOver, []string{"siem"}) || !slices.Equal(removed.Ended, []string{"bob"}) {
		t.Fatalf("%+v %v", removed, err)
	}
	if c, err := n.ConsumerOf("", token); err != nil || c.Owner != "carol" {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := n.ConsumerOf("", own); !errors.Is(err, ErrUnauthorised) {
		t.Errorf("%v", err)
	}
	if _, err := n.ConsumerOf("", before); err != nil {
		t.Errorf("one of before: %v", err)
	}
	if err := n.OwnConsumer("old", "carol"); err != nil {
		t.Fatal(err)
	}
	removePerson(t, n, "carol")
	for _, text := range []string{before, token} {
		if _, err := n.ConsumerOf("", text); !errors.Is(err, ErrUnauthorised) {
			t.Errorf("%v", err)
		}
	}
	// Nothing comes, is delivered or fetched as somebody who left.
	if _, err := n.AddConsumer(Consumer{Name: "x", As: "carol", Owner: "alice", Scopes: []Scope{ScopeRead}, Expires: soon}); err == nil {
		t.Error("a consumer that comes as who left")
	}
	if _, err := n.sinkReader("carol"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a sink: %v", err)
	}
	if _, err := n.PrincipalOf(&Source{Name: "s", Principal: "carol"}); !errors.Is(err, ErrForbidden) {
		t.Errorf("a source: %v", err)
	}
}

// TestWhoCameBackIsSomebodyNew: a node that was away when somebody was removed and added again takes it for a removal,
// too: what was theirs ends there.
func TestWhoCameBackIsSomebodyNew(t *testing.T) {
	first, second, _ := siblingWorld(t)
	addPerson(t, first, "alice", rules.RoleAdmin)
	addPerson(t, first, "bob", rules.RoleReader, rules.RoleApprover)
	compareWith(t, second, first)
	token, err := second.AddConsumer(Consumer{Name: "siem", Owner: "bob", Scopes: []Scope{ScopeRead}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	const act = "aaaaaaaa"
	if err := second.st.Update(func(tx *store.Tx) error {
		return errors.Join(putDoc(tx, kindRelease, be64(1), &releaseDoc{Needs: 2, Form: uint8(formOpen), Approvals: []releaseVote{{Person: "bob", User: "bob"}}}),
			putDoc(tx, kindPending, []byte(act), &pendingDoc{Act: string(ActPeople), By: "bob", User: "bob", At: uint64(nowMillis())}))
	}); err != nil {
		t.Fatal(err)
	}
	removePerson(t, first, "bob")
	addPerson(t, first, "bob", rules.RoleReader, rules.RoleApprover)
	compareWith(t, second, first)
	if who := second.PersonOf("bob"); who == nil {
		t.Fatal("who came back is not there")
	}
	if _, err := second.ConsumerOf("", token); !errors.Is(err, ErrUnauthorised) {
		t.Errorf("the token of before: %v", err)
	}
	if d, err := second.releaseOf(1); err != nil || len(d.Approvals) != 0 {
		t.Errorf("the vote of before: %+v %v", d, err)
	}
	if _, _, err := second.pendingOf(act); !errors.Is(err, ErrNotFound) {
		t.Errorf("the act of before: %v", err)
	}
}

// TestVotesCountToday: where the node has people, only votes count of those who may release today, by an account.
func TestVotesCountToday(t *testing.T) {
	n := testNode(t, "Police")
	addPerson(t, n, "alice", rules.RoleAdmin)
	addPerson(t, n, "bob", rules.RoleApprover)
	addPerson(t, n, "carol", rules.RoleApprover)
	addPerson(t, n, "dave", rules.RoleReader)
	if err := n.st.Update(func(tx *store.Tx) error {
		return putDoc(tx, kindRelease, be64(1), &releaseDoc{Topic: "c2", Needs: 2, Form: uint8(formOpen), Approvals: []releaseVote{{Person: "carol"}, {Person: "bob", User: "bob"}}})
	}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.SetPerson(t.Context(), PersonChange{ID: "bob", Roles: []string{rules.RoleReader}, Only: true}); err != nil {
		t.Fatal(err)
	}
	as := func(id string) context.Context { return WithCaller(t.Context(), Caller{Person: id, User: id}) }
	if _, err := n.ApproveRelease(as("dave"), 1, "dave", false); !errors.Is(err, ErrForbidden) {
		t.Errorf("the vote of a reader: %v", err)
	}
	// carol's word of before there were people is none, so that she may vote; bob is no approver any more.
	r, err := n.ApproveRelease(as("carol"), 1, "carol", false)
	if err != nil || r.State != "waiting" || len(r.Approved) != 1 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestPeopleAreReadAnew: what a sibling said between the look at the people and the change of them is not written
// over.
func TestPeopleAreReadAnew(t *testing.T) {
	n := testNode(t, "Police")
	addPerson(t, n, "alice", rules.RoleAdmin)
	addPerson(t, n, "bob", rules.RoleReader)
	held := *n.snap.Load().people.byID["bob"]
	held.Said.Term, held.Doubted = held.Said.Term+1, true // removed elsewhere, and the snapshot does not have it yet
	put := func(d personDoc) {
		t.Helper()
		if err := n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindPerson, []byte("bob"), &d) }); err != nil {
			t.Fatal(err)
		}
	}
	put(held)
	if _, _, err := n.SetPerson(t.Context(), PersonChange{ID: "bob", Roles: []string{rules.RoleOfficer}}); !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "do it again") {
		t.Errorf("%v", err)
	}
	if _, _, err := n.SetPerson(t.Context(), PersonChange{ID: "carol", Roles: []string{rules.RoleReader}}); !errors.Is(err, ErrStale) {
		t.Errorf("somebody else: %v", err)
	}
	var now personDoc
	read := func() {
		t.Helper()
		if err := n.st.View(func(tx *store.Tx) error { _, err := getDoc(tx, kindPerson, []byte("bob"), &now); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if read(); !same(now.Said, held.Said) {
		t.Errorf("written over: %+v", now)
	}
	doubted := *n.snap.Load().people.byID["bob"]
	doubted.Doubted = true
	put(doubted)
	if err := n.learn(func(*store.Tx) error { return nil }); err != nil { // as it is after a restore
		t.Fatal(err)
	}
	put(held)
	if err := n.ConfirmPerson(t.Context(), "bob"); !errors.Is(err, ErrStale) {
		t.Errorf("confirming: %v", err)
	}
	if read(); !same(now.Said, held.Said) {
		t.Errorf("written over: %+v", now)
	}
}
