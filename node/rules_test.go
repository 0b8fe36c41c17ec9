package node

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

const (
	noShare   = "@id(\"no-share\") forbid (principal, action == Action::\"share\", resource);\n"
	noReceive = "@id(\"no-receive\") forbid (principal, action == Action::\"receive\", resource);\n"
	noRed     = "@id(\"no-red\") forbid (principal in Role::\"analyst\", action == Action::\"read\", resource) when { resource.tlp == \"red\" };\n"
	badRules  = "forbid (principal, action == Action::\"share\", resource) when { resource.tpl == \"red\" };\n"
	annOnly   = `[{"uid": {"type": "Person", "id": "ann"}, "attrs": {"name": "Ann"}, "parents": [{"type": "Role", "id": "analyst"}]}]`
)

func loadRules(t testing.TB, n *Node, text string) {
	t.Helper()
	if _, err := n.LoadRules(rules.Source{File: "own.cedar", Text: []byte(text), PeopleFile: "people.json", People: []byte(annOnly)}); err != nil {
		t.Fatal(err)
	}
}

func found(t testing.TB, n *Node, value string) int {
	t.Helper()
	recs, _, err := n.Search(Query{Value: value})
	if err != nil {
		t.Fatal(err)
	}
	return len(recs)
}

// TestRulesAtRunTime: a set that is loaded counts for the next record, on the way out and on the
// way in, and what an earlier one kept out is looked at again.
func TestRulesAtRunTime(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, vendor, police, protocol.TLPGreen, "*")
	flags := policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}
	next := func(value string) {
		t.Helper()
		publishList(t, vendor, value+"\n", flags)
		carryNew(t, vendor, police)
	}
	next("198.51.100.1")
	was := vendor.snap.Load().generation
	loadRules(t, vendor, noShare)
	if is := vendor.snap.Load().generation; is <= was {
		t.Errorf("generation %d after %d", is, was)
	}
	next("198.51.100.2")
	loadRules(t, vendor, "")
	next("198.51.100.3")
	loadRules(t, police, noReceive)
	next("198.51.100.4")
	for value, want := range map[string]int{"198.51.100.1": 1, "198.51.100.2": 0, "198.51.100.3": 1, "198.51.100.4": 0} {
		if got := found(t, police, value); got != want {
			t.Errorf("%s: %d records, want %d", value, got, want)
		}
	}
	list, err := police.Quarantine("")
	if err != nil || len(list) != 1 || list[0].Reason != string(policy.ReasonLocalRule) || !strings.Contains(list[0].Text, `"no-receive"`) {
		t.Fatalf("quarantine %+v, %v", list, err)
	}
	loadRules(t, police, "")
	if list, err := police.Quarantine(""); err != nil || len(list) != 0 || found(t, police, "198.51.100.4") != 1 {
		t.Errorf("without the rule: quarantine %+v, %v", list, err)
	}
}

// TestRulesBindBesideATermination: the state that leaves ended agreements out has the rules, too.
func TestRulesBindBesideATermination(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, vendor, police, protocol.TLPGreen, "*")
	loadRules(t, police, noReceive)
	s := police.snap.Load()
	rest := s.without(police.org, nil)
	subject := &policy.Subject{Originator: vendor.org, Publisher: vendor.org, Topic: "c2", Kind: "indicator",
		Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}}
	for name, state := range map[string]*policy.State{"all": s.policy, "less some": rest} {
		if d := policy.Ingress(state, vendor.org, subject, uint64(nowMillis())); d.Reason != policy.ReasonLocalRule {
			t.Errorf("%s: %s: %s", name, d.Reason, d.Text)
		}
	}
}

func TestPlanNamesTheRule(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	agree(t, nodes[0], nodes[1], protocol.TLPGreen, "*")
	loadRules(t, nodes[0], noShare)
	p, err := nodes[0].Plan(PublishRequest{Topic: "c2", Items: readList(t, "198.51.100.1\n198.51.100.2\n"), Flags: policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}})
	if err != nil || len(p.Orgs) != 1 || p.Orgs[0].Refused[policy.ReasonLocalRule] != 2 || len(p.Orgs[0].Rules) != 1 || p.Orgs[0].Rules[0] != "no-share" {
		t.Errorf("plan %+v, %v", p, err)
	}
}

// nodeDir opens a node in a directory, again and again.
func nodeDir(t testing.TB, name string) (dir string, open func(func(*Config)) *Node) {
	t.Helper()
	ident, err := NewIdentity(InitRequest{Name: name, Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, func(change func(*Config)) *Node {
		t.Helper()
		c := Config{Dir: dir, Keys: ident.Keys, Card: &ident.Card}
		if change != nil {
			change(&c)
		}
		n, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// TestRulesOnDisk: a file is taken when it is new or changed, a broken one never, and what was
// loaded since stays.
func TestRulesOnDisk(t *testing.T) {
	t.Parallel()
	dir, open := nodeDir(t, "Vendor")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, change func(*Config), act func(*Node), state RulesState, rule, problem string) {
		t.Helper()
		n := open(change)
		if act != nil {
			act(n)
		}
		info, names := n.Rules(), ""
		for _, r := range info.Rules {
			names += r.Name
		}
		if info.State != state || names != rule || (problem == "") != (info.Problem == "") || !strings.Contains(info.Problem, problem) {
			t.Errorf("%s: %+v", what, info)
		}
		st, err := n.Status()
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, p := range st.Problems {
			told = told || problem != "" && strings.Contains(p.Text, problem)
		}
		if told != (problem != "") || st.Rules != len(info.Rules) {
			t.Errorf("%s: status says %d rules, problems %+v", what, st.Rules, st.Problems)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	check("no file", nil, nil, RulesNone, "", "")
	write(RulesFile, badRules)
	check("a broken one, and none before it", nil, nil, RulesLocked, "", "rules.cedar:1:73: ")
	write(RulesFile, noShare)
	check("a good one", nil, nil, RulesInForce, "no-share", "")
	write(RulesFile, badRules)
	check("broken later", nil, nil, RulesInForce, "no-share", "rules.cedar:1:73: ")
	check("broken still", nil, nil, RulesInForce, "no-share", "rules.cedar:1:73: ")
	if err := os.Remove(filepath.Join(dir, RulesFile)); err != nil {
		t.Fatal(err)
	}
	check("removed", nil, nil, RulesInForce, "no-share", "")
	write(RulesFile, noShare)
	check("loaded", nil, func(n *Node) { loadRules(t, n, noReceive) }, RulesInForce, "no-receive", "")
	check("loaded, opened again", nil, nil, RulesInForce, "no-receive", "")
	write(RulesFile, noRed)
	write(PeopleFile, annOnly)
	check("changed on disk", nil, func(n *Node) {
		if n.PersonOf("ann") == nil {
			t.Error("people are not taken")
		}
	}, RulesInForce, "no-red", "")
	write(PeopleFile, "{")
	check("broken people", nil, nil, RulesInForce, "no-red", "people.json:1:")
	check("with people of its own", nil, func(n *Node) { addPerson(t, n, "alice", rules.RoleAdmin); addPerson(t, n, "bob", rules.RoleReader) }, RulesInForce, "no-red", "people.json:1:")
	write(PeopleFile, strings.ReplaceAll(annOnly, `"ann"`, `"bob"`))
	check("a file that names one of them", nil, func(n *Node) {
		if who := n.PersonOf("bob"); who == nil || !who.Account {
			t.Errorf("%+v", who)
		}
	}, RulesInForce, "no-red", "one of this node's people")
	named := func(c *Config) { c.Rules = filepath.Join(dir, "nowhere.cedar") }
	check("a file that is named and not there", named, nil, RulesInForce, "no-red", "nowhere.cedar")
	write("nowhere.cedar", strings.Repeat(" ", rules.MaxText+1))
	check("too long", named, nil, RulesInForce, "no-red", "at most")
}

// TestRulesThatCannotBeReadAnyMore: what a later version would not take lets nothing through.
func TestRulesThatCannotBeReadAnyMore(t *testing.T) {
	t.Parallel()
	_, open := nodeDir(t, "Vendor")
	n := open(nil)
	err := n.st.Update(func(tx *store.Tx) error {
		return putDoc(tx, kindRules, rulesID, &rulesDoc{File: "old.cedar", Text: []byte(badRules)})
	})
	if err := errors.Join(err, n.Close()); err != nil {
		t.Fatal(err)
	}
	n = open(nil)
	defer n.Close()
	if info := n.Rules(); info.State != RulesLocked || !strings.Contains(info.Problem, "old.cedar:1:") {
		t.Errorf("%+v", info)
	}
	who := &rules.Principal{ID: "x"}
	if err := n.May(who, rules.Sign); !errors.Is(err, ErrForbidden) {
		t.Errorf("signing: %v", err)
	}
	if err := n.May(who, rules.Administer); err != nil {
		t.Errorf("mending it: %v", err)
	}
	loadRules(t, n, "")
	if info := n.Rules(); info.State != RulesInForce || n.May(who, rules.Sign) != nil {
		t.Errorf("mended: %+v", info)
	}
}

func TestLoadRefusesAndKeeps(t *testing.T) {
	n := testNode(t, "Vendor")
	loadRules(t, n, noRed)
	was := n.snap.Load()
	for _, src := range []rules.Source{
		{File: "x", Text: []byte(badRules)},
		{File: "x", Text: []byte("permit (principal, action == Action::\"share\", resource);")},
		{File: "x", Text: []byte(noRed), PeopleFile: "p", People: []byte("{")},
	} {
		var errs rules.Errors
		if _, err := n.LoadRules(src); !errors.As(err, &errs) {
			t.Errorf("%s: %v", src.Text, err)
		}
		if _, err := n.CheckRules(src); !errors.As(err, &errs) {
			t.Errorf("%s: %v", src.Text, err)
		}
	}
	if info, err := n.CheckRules(rules.Source{File: "x", Text: []byte(noShare)}); err != nil || info.State != RulesChecked || len(info.Rules) != 1 {
		t.Errorf("checked %+v, %v", info, err)
	}
	if n.snap.Load() != was {
		t.Error("something changed")
	}
	// Without people those in force stay.
	if _, err := n.LoadRules(rules.Source{File: "x", Text: []byte(noShare)}); err != nil || n.PersonOf("ann") == nil {
		t.Errorf("people are gone: %v", err)
	}
}

// TestReaderSeesLess: what somebody may not read is neither found, shown, exported nor streamed,
// and leaves no place where it would be.
func TestReaderSeesLess(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	for i, tlp := range []protocol.TLP{protocol.TLPGreen, protocol.TLPRed, protocol.TLPRed, protocol.TLPGreen, protocol.TLPGreen, protocol.TLPRed} {
		flags := policy.Flags{TLP: tlp, Personal: protocol.PersonalNone}
		if tlp == protocol.TLPRed {
			flags.To = []protocol.OrgID{n.org}
		}
		publishList(t, n, "198.51.100."+string(rune('1'+i))+"\n", flags)
	}
	loadRules(t, n, noRed)
	ann, boss := n.Reader(n.PersonOf("ann")), n.Reader(&rules.Principal{ID: "boss"})
	pages := func(r *Reader, limit int) (count, calls int) {
		q := Query{Topic: "c2", Limit: limit}
		for {
			recs, next, err := r.Search(q)
			if err != nil {
				t.Fatal(err)
			}
			calls++
			for i := range recs {
				if r == ann && recs[i].Handling.TLP == "red" {
					t.Fatal("an analyst finds RED")
				}
			}
			if count += len(recs); next == 0 {
				return count, calls
			}
			q.After = next
		}
	}
	for _, limit := range []int{1, 2, 3, 100} {
		wantCalls := (3 + limit - 1) / limit // full pages, and no empty one at the end
		if count, calls := pages(ann, limit); count != 3 || calls != wantCalls {
			t.Errorf("by %d: %d records in %d calls, want 3 in %d", limit, count, calls, wantCalls)
		}
		if count, _ := pages(boss, limit); count != 6 {
			t.Errorf("by %d: %d records", limit, count)
		}
	}
	all, _, err := n.Search(Query{Topic: "c2"})
	if err != nil || len(all) != 6 {
		t.Fatal(len(all), err)
	}
	for i := range all {
		_, annErr := ann.Find(all[i].ID.String())
		_, bossErr := boss.Find(all[i].ID.String())
		red := all[i].Handling.TLP == "red"
		if red != errors.Is(annErr, ErrNotFound) || bossErr != nil {
			t.Errorf("%s: %v, %v", all[i].Handling.TLP, annErr, bossErr)
		}
	}
	var out bytes.Buffer
	if _, err := ann.Export(t.Context(), &out, ExportLines, 0); err != nil || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("exported %q, %v", &out, err)
	}
	count := 0
	err = ann.Stream(t.Context(), 0, false, func(r *Record) error { count++; return nil }, func() {})
	if err != nil || count != 3 {
		t.Errorf("streamed %d, %v", count, err)
	}
	list, err := n.Handouts()
	if err != nil || len(list) != 2 || list[0].Records != 3 || list[1].Records != 3 {
		t.Errorf("handouts %+v, %v", list, err)
	}
	// A set that is loaded counts for readers that there are.
	loadRules(t, n, "")
	if found, err := ann.Find(all[1].ID.String()); err != nil || len(found) != 1 {
		t.Errorf("without rules: %v", err)
	}
}
