package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func changeWords(list []Change) (out []string) {
	for i := range list {
		text := fmt.Sprintf("%s %v", list[i].Kind, list[i].Record != nil)
		out = append(out, text)
	}
	return out
}

// TestChangesTellEachWhatItMaySee: a partner's record comes, is withdrawn and erased; who may not read
// it learns of none of that.
func TestChangesTellEachWhatItMaySee(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, vendor, police, protocol.TLPRed, "*")
	red := policy.Flags{TLP: protocol.TLPRed, Personal: protocol.PersonalNone, To: []protocol.OrgID{police.org}}
	rec := publishList(t, vendor, "198.51.100.1\n", red)
	publishList(t, vendor, "198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone})
	carryNew(t, vendor, police)
	if err := vendor.Withdraw(t.Context(), rec.Records, "no longer"); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	if _, err := police.Erase(t.Context(), EraseRequest{Records: rec.Records, Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
	loadRules(t, police, noRed)
	all := police.Reader(&rules.Principal{ID: "eve"})
	ann := police.Reader(police.PersonOf("ann"))
	list, next, err := all.Changes(nil, 0, 100)
	if want := []string{"added true", "erased false"}; err != nil || !slices.Equal(changeWords(list), want) {
		t.Errorf("who may read everything is told %q (%v), want %q", changeWords(list), err, want)
	}
	if list, n, err := all.Changes(nil, next, 100); err != nil || len(list) != 0 || n != next {
		t.Errorf("at the end there is %v, %d, %v", list, n, err)
	}
	list, _, err = ann.Changes(nil, 0, 100)
	if want := []string{"added true"}; err != nil || !slices.Equal(changeWords(list), want) || list[0].Record.Handling.TLP != "green" {
		t.Errorf("who may not read red is told %q (%v), want %q", changeWords(list), err, want)
	}
	if list, _, err = all.Changes(TopicView("other"), 0, 100); err != nil || len(list) != 0 {
		t.Errorf("in a view of another topic: %q, %v", changeWords(list), err)
	}
	if at, err := police.CursorAt(time.Now()); err != nil || at != next {
		t.Errorf("the cursor of now is %d (%v), want %d", at, err, next)
	}
}

// TestFollowGoesOn: a stream gives what there is, and then what comes.
func TestFollowGoesOn(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	flags := policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}
	publishList(t, n, "198.51.100.1\n198.51.100.2\n", flags)
	ctx, cancel := context.WithCancel(t.Context())
	var got []uint64
	err := n.Reader(nil).Follow(ctx, nil, 0, "test", func(c *Change) error { got = append(got, c.Cursor); return nil }, func() {
		switch len(got) {
		case 2:
			publishList(t, n, "198.51.100.3\n", flags)
		case 3:
			cancel()
		}
	})
	if err != nil || !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("followed %v, %v", got, err)
	}
	list, err := n.Handouts()
	if err != nil || len(list) != 1 || list[0].Kind != "stream" || list[0].Records != 3 || list[0].Open {
		t.Errorf("handouts %+v, %v", list, err)
	}
}

func TestViews(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	publishList(t, n, "198.51.100.1\nc2.example\n", policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalNone, Countries: []string{"TH"}})
	recs, err := n.Records(0, 10)
	if err != nil || len(recs) != 2 {
		t.Fatal(recs, err)
	}
	for _, tc := range []struct {
		view View
		want int
	}{
		{View{}, 2},
		{View{Kinds: []stix.Kind{stix.IPv4}}, 1},
		{View{Kinds: []stix.Kind{stix.IPv4, stix.Domain}}, 2},
		{View{Topics: []string{"other"}}, 0},
		{View{Topics: []string{"other", "c2"}}, 2},
		{View{Types: []string{"malware"}}, 0},
		{View{Originators: []protocol.OrgID{n.org}}, 2},
		{View{Originators: []protocol.OrgID{{1}}}, 0},
		{View{MaxTLP: protocol.TLPGreen}, 0},
		{View{MaxTLP: protocol.TLPAmber}, 2},
		{View{Countries: []string{"VN", "TH"}}, 2},
		{View{Countries: []string{"VN"}}, 0},
		{View{MinConfidence: 50}, 0},
		{View{Labels: []string{"x"}}, 0},
	} {
		got := 0
		for i := range recs {
			if tc.view.Holds(&recs[i]) {
				got++
			}
		}
		if got != tc.want {
			t.Errorf("%+v holds %d, want %d", tc.view, got, tc.want)
		}
	}
	for text, v := range map[string]View{
		"no name for a view":   {Name: "Firewall List"},
		"no kind":              {Name: "a", Kinds: []stix.Kind{"ip"}},
		"not a country code":   {Name: "a", Countries: []string{"Thailand"}},
		"confidence":           {Name: "a", MinConfidence: 101},
		"at most 256":          {Name: "a", Topics: make([]string, 257)},
		"is empty or too long": {Name: "a", Labels: []string{""}},
	} {
		if err := n.SetView(&v); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", v, err, text)
		}
	}
	for _, name := range []string{"b", "a", "b"} {
		if err := n.SetView(&View{Name: name, Title: "of " + name}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := n.Views()
	if err != nil || len(list) != 2 || list[0].Name != "a" {
		t.Errorf("views %+v, %v", list, err)
	}
	if err := n.RemoveView("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.View("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a removed view: %v", err)
	}
	if v, err := n.View("b"); err != nil || v.Title != "of b" {
		t.Errorf("view b: %+v, %v", v, err)
	}
}

func TestConsumers(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	soon := time.Now().Add(time.Hour)
	for text, c := range map[string]Consumer{
		"no name for":        {Name: "two words", Scopes: Scopes(), Expires: soon},
		"may do":             {Name: "siem", Expires: soon},
		"nothing that":       {Name: "siem", Scopes: []Scope{"administer"}, Expires: soon},
		"a day to come":      {Name: "siem", Scopes: Scopes(), Expires: time.Now().Add(-time.Hour)},
		"at most five years": {Name: "siem", Scopes: Scopes(), Expires: time.Now().AddDate(6, 0, 0)},
	} {
		if _, err := n.AddConsumer(c); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", c, err, text)
		}
	}
	token, err := n.AddConsumer(Consumer{Name: "siem", As: "ann", Scopes: []Scope{ScopeRead}, Expires: soon})
	if err != nil || len(token) != 40 {
		t.Fatalf("token %q, %v", token, err)
	}
	if _, err := n.AddConsumer(Consumer{Name: "siem", Scopes: Scopes(), Expires: soon}); err == nil {
		t.Error("a name was given twice")
	}
	c, err := n.ConsumerOf("siem", token)
	if err != nil || c.Principal.ID != "ann" || !c.Principal.Machine || !c.May(ScopeRead) || c.May(ScopePublish) {
		t.Fatalf("consumer %+v, %v", c, err)
	}
	for _, tc := range [][2]string{{"siem", ""}, {"siem", strings.ToUpper(token)}, {"soc", token}, {"", token[:39]}} {
		if _, err := n.ConsumerOf(tc[0], tc[1]); !errors.Is(err, ErrUnauthorised) {
			t.Errorf("%q: %v", tc, err)
		}
	}
	loadRules(t, n, noRed) // with people: Ann is one
	if c, err := n.Renewed(c); err != nil || c.Principal.Machine || !slices.Equal(c.Principal.Roles, []string{"analyst"}) {
		t.Errorf("with a people file: %+v, %v", c, err)
	}
	if _, err := n.AddConsumer(Consumer{Name: "bob", Scopes: Scopes(), Expires: soon}); !errors.Is(err, ErrNotFound) {
		t.Errorf("somebody whom the people file does not name: %v", err)
	}
	if err := n.RemoveConsumer("siem"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Renewed(c); !errors.Is(err, ErrUnauthorised) {
		t.Errorf("after it was removed: %v", err)
	}
	if err := n.RemoveConsumer("siem"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
}

// TestConsumerGoesWithThePerson: a token does not outlive its person in the people file.
func TestConsumerGoesWithThePerson(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	loadRules(t, n, noRed)
	token, err := n.AddConsumer(Consumer{Name: "ann", Scopes: Scopes(), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	others := strings.ReplaceAll(annOnly, `"ann"`, `"bob"`)
	if _, err := n.LoadRules(rules.Source{File: "own.cedar", Text: []byte(noRed), PeopleFile: "people.json", People: []byte(others)}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ConsumerOf("", token); !errors.Is(err, ErrUnauthorised) {
		t.Errorf("the token of somebody who left: %v", err)
	}
}

func TestSubmit(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	states := func(items []intake.Item, flags policy.Flags) string {
		t.Helper()
		out, err := n.Submit(t.Context(), nil, Submission{Topic: "c2", Items: items, Flags: flags, Source: "test"})
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, r := range out.Results {
			if (r.State == SubmitRefused) != (r.ID == protocol.RecordID{} && r.Reason != "") && r.State != SubmitHeld {
				t.Errorf("result %+v", r)
			}
			text = append(text, string(r.State))
		}
		return strings.Join(text, " ")
	}
	green := policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}
	two := readList(t, "198.51.100.1\n198.51.100.2\n")
	if got := states(two, policy.Flags{}); got != "refused refused" {
		t.Errorf("without a TLP: %s", got)
	}
	if got := states(two[:1], green); got != "published" {
		t.Errorf("the first: %s", got)
	}
	mail := readList(t, "ann@mail.example\n")
	if got := states([]intake.Item{two[0], mail[0], two[1], two[1]}, green); got != "held refused published held" {
		t.Errorf("mixed: %s", got)
	}
	if got := states([]intake.Item{mail[0], mail[0]}, green); got != "refused refused" {
		t.Errorf("what is refused, twice: %s", got)
	}
	clear := readList(t, "198.51.100.7\n")[0]
	red := clear
	red.Handling.TLP, clear.Handling.TLP = protocol.TLPRed, protocol.TLPClear
	if got := states([]intake.Item{red, clear, red}, policy.Flags{Personal: protocol.PersonalNone}); got != "published published held" {
		t.Errorf("with two handlings: %s", got)
	}
	if got := states(two, policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalNone}); got != "published published" {
		t.Errorf("with another handling: %s", got)
	}
	if got := states(two, green); got != "held held" {
		t.Errorf("again: %s", got)
	}
	rec, err := n.Find(two[0].Object.ID)
	if err != nil || len(rec) != 2 {
		t.Fatal(rec, err)
	}
	if err := n.Withdraw(t.Context(), []protocol.RecordID{rec[0].ID, rec[1].ID}, "gone"); err != nil {
		t.Fatal(err)
	}
	if got := states(two, green); got != "published held" {
		t.Errorf("after it was withdrawn: %s", got)
	}
	loadRules(t, n, "forbid (principal, action == Action::\"publish\", resource);\n")
	if _, err := n.Submit(t.Context(), &rules.Principal{ID: "ann"}, Submission{Topic: "c2", Items: readList(t, "198.51.100.9\n"), Flags: green}); !Forbidden(err) {
		t.Errorf("who may not publish: %v", err)
	}
	if _, err := n.Submit(t.Context(), nil, Submission{Topic: "other", Items: two[:0], Flags: green}); err == nil {
		t.Error("a topic that this node is not in")
	}
}
