package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// TestDoubtOf: what stands in the store and what stands beside it, one deviation a row.
func TestDoubtOf(t *testing.T) {
	set := func(number uint64, text string) *rulesDoc { return &rulesDoc{Number: number, Text: []byte(text)} }
	older, held, empty := set(1, noReceive), set(2, noShare), set(2, "// nothing\n")
	for _, tt := range []struct {
		name     string
		held     *rulesDoc
		newest   *rulesDoc
		before   *rulesDoc
		pending  bool
		here, ok bool
		want     string
	}{
		{"no rules, and nothing known", nil, nil, nil, false, false, false, ""},
		{"an empty set, and nothing known", empty, nil, nil, false, false, false, ""},
		{"rules, and nothing known", held, nil, nil, false, false, false, "nothing beside"},
		{"rules that are the newest", held, held, nil, false, true, true, ""},
		{"the same, told by a copy", held, held, nil, false, false, true, "another machine"},
		{"an empty set, told by a copy", empty, empty, nil, false, false, true, ""},
		{"older rules", older, held, nil, false, true, true, "was put in force after it"},
		{"older rules, told by a copy", older, held, nil, false, false, true, "was put in force after it"},
		{"no rules, and there were some", nil, held, nil, false, true, true, "holds set none"},
		{"no rules, and a copy tells of some", nil, held, nil, false, false, true, "holds set none"},
		{"newer rules than are known", held, older, nil, false, true, true, "was put in force last"},
		{"other rules of the number", set(2, noRed), held, nil, false, true, true, "was put in force last"},
		{"the set before, while one was put in force", older, held, older, true, true, true, ""},
		{"the same, told by a copy", older, held, older, true, false, true, "was put in force after it"},
		{"no rules, while the first were put in force", nil, held, nil, true, true, true, ""},
		{"rules that one was put in force after", older, set(3, noRed), held, true, true, true, "was put in force after it"},
	} {
		var before *anchor.RulesMark
		if tt.pending {
			m := tt.before.mark()
			before = &m
		}
		got := doubtOf(tt.held, tt.newest.mark(), before, tt.here, tt.ok)
		if tt.want == "" && got != "" || tt.want != "" && !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// locked fails the test unless nothing is let through for a doubt about the rules.
func locked(t testing.TB, n *Node, why string) {
	t.Helper()
	info := n.Rules()
	if info.State != RulesLocked || !info.Confirm || !strings.Contains(info.Problem, why) {
		t.Fatalf("rules are %+v, want them locked: %s", info, why)
	}
	s := n.snap.Load()
	for _, act := range []policy.LocalAct{policy.ActShare, policy.ActReceive, policy.ActPassOn} {
		if a := s.rules.Forbids(&policy.LocalQuery{Act: act}); a.Rule == "" {
			t.Errorf("%s is let through", act)
		}
	}
	for _, action := range []rules.Action{rules.Read, rules.Search, rules.Export, rules.Publish, rules.Release, rules.Sign} {
		if n.May(&rules.Principal{ID: "boss"}, action) == nil {
			t.Errorf("somebody may %s", action)
		}
	}
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range st.Problems {
		found = found || strings.Contains(p.Text, why) && strings.Contains(p.Do, "entente rules confirm")
	}
	if !found {
		t.Error("status does not say so")
	}
}

const onlyBoss = "permit (principal == Person::\"boss\", action == Action::\"administer\", resource);\n"

// TestRulesThatWentBack: a data directory that was put back from before holds older rules; nothing is
// let through until who may administer by them says so, or loads the newest.
func TestRulesThatWentBack(t *testing.T) {
	t.Parallel()
	dir, open := nodeDir(t, "Vendor")
	n := open(nil)
	loadRules(t, n, onlyBoss)
	old := n.Rules().Set
	n.Close()
	if err := os.CopyFS(dir+".before", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	n = open(nil)
	if n.Rules().State != RulesInForce {
		t.Fatalf("%+v", n.Rules())
	}
	loadRules(t, n, onlyBoss+noShare)
	newest := n.Rules().Set
	n.Close()
	back := func() {
		t.Helper()
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(dir+".before"))); err != nil {
			t.Fatal(err)
		}
	}
	back()
	n = open(nil)
	locked(t, n, "was put in force after it")
	if n.Rules().Set != old || len(n.Rules().Rules) != 1 {
		t.Errorf("the rules that are here are not shown: %+v", n.Rules())
	}
	if n.May(&rules.Principal{ID: "ann"}, rules.Administer) == nil || n.May(&rules.Principal{ID: "boss"}, rules.Administer) != nil || n.PersonOf("ann") == nil {
		t.Error("who may administer is not who did")
	}
	if _, err := n.ConfirmRules(newest); !errors.Is(err, ErrOtherRules) {
		t.Errorf("another set was confirmed: %v", err)
	}
	if _, err := n.ConfirmRules(""); !errors.Is(err, ErrOtherRules) {
		t.Errorf("no set was confirmed: %v", err)
	}
	n.Close()
	n = open(nil) // it does not go by itself
	locked(t, n, "was put in force after it")
	n.Close()

	// Rules on disk that are not the newest are not taken; the newest are.
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(filepath.Join(dir, RulesFile), []byte(text), 0o600), os.WriteFile(filepath.Join(dir, PeopleFile), []byte(annOnly), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("// all is allowed\n")
	n = open(nil)
	locked(t, n, "was put in force after it")
	n.Close()
	write(onlyBoss + noShare)
	n = open(nil)
	if info := n.Rules(); info.State != RulesInForce || info.Set != newest {
		t.Errorf("the newest rules were not taken from disk: %+v", info)
	}
	n.Close()

	// Confirmed, they are in force, for good, and the account says by whom.
	back()
	n = open(nil)
	if err := n.Acting(Caller{Person: "boss"}, func() error { _, err := n.ConfirmRules(old); return err }); err != nil {
		t.Fatal(err)
	}
	if info := n.Rules(); info.State != RulesInForce || info.Set != old || info.Confirm {
		t.Errorf("%+v", info)
	}
	list := acts(account(t, n), audit.Rules)
	if d := list[len(list)-1]; d.Act != "confirm rules" || d.Person != "boss" {
		t.Errorf("%+v", d)
	}
	if _, err := n.ConfirmRules(old); err == nil {
		t.Error("what is in no doubt was confirmed")
	}
	n.Close()
	n = open(nil)
	defer n.Close()
	if n.Rules().State != RulesInForce {
		t.Errorf("%+v", n.Rules())
	}
	if err := os.Remove(filepath.Join(anchorOf(dir), "rules")); err != nil {
		t.Fatal(err)
	}
	n.Close()
	n = open(nil)
	locked(t, n, "nothing beside the data directory")
	loadRules(t, n, "")
	if info := n.Rules(); info.State != RulesInForce || len(info.Rules) != 0 {
		t.Errorf("loaded: %+v", info)
	}
	n.Close()
	n = open(nil)
	if n.Rules().State != RulesInForce {
		t.Errorf("%+v", n.Rules())
	}
}

// TestRestoredRules: what a restore says of the rules in the backup, and what it takes until they
// are in force.
func TestRestoredRules(t *testing.T) {
	t.Parallel()
	key := newOffline(t)
	dir, open := nodeDir(t, "Vendor")
	n := open(nil)
	before := backupOf(t, n, key)
	loadRules(t, n, noReceive)
	old := backupOf(t, n, key)
	n.Close()
	n = open(nil)
	loadRules(t, n, noShare)
	newest := backupOf(t, n, key)
	n.Close()

	// On another machine nobody knows, unless there were none.
	elsewhere := filepath.Join(t.TempDir(), "data")
	r, out := restoreInto(t, elsewhere, newest, key)
	locked(t, r, "nothing beside the data directory")
	if out.Rules == "" || out.RulesSet != r.Rules().Set {
		t.Errorf("the restore says %q of set %s", out.Rules, out.RulesSet)
	}
	if _, err := r.ConfirmRules(out.RulesSet); err != nil {
		t.Fatal(err)
	}
	if info := r.Rules(); info.State != RulesInForce || info.Rules[0].Name != "no-share" {
		t.Errorf("%+v", info)
	}
	r.Close()
	r = openDir(t, elsewhere, false)
	if r.Rules().State != RulesInForce {
		t.Errorf("opened again: %+v", r.Rules())
	}
	r.Close()
	r, out = restoreInto(t, filepath.Join(t.TempDir(), "data"), before, key)
	if out.Rules != "" || r.Rules().State != RulesNone {
		t.Errorf("without rules: %q, %+v", out.Rules, r.Rules())
	}
	r.Close()

	// Where the journal stands beside the directory it tells: older ones from the newest, and that
	// there were some where the backup has none.
	for _, tt := range []struct {
		data []byte
		want string
	}{{old, "was put in force after it"}, {before, "holds set none"}, {newest, ""}} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(t.TempDir(), "anchor")
		if err := os.CopyFS(at, os.DirFS(anchorOf(dir))); err != nil {
			t.Fatal(err)
		}
		r, out := restoreInto(t, dir, tt.data, key)
		switch {
		case tt.want != "":
			locked(t, r, tt.want)
			if !strings.Contains(out.Rules, tt.want) {
				t.Errorf("the restore says %q, want %q", out.Rules, tt.want)
			}
		case out.Rules != "" || r.Rules().State != RulesInForce:
			t.Errorf("the newest rules: %q, %+v", out.Rules, r.Rules())
		}
		r.Close()
		if tt.want == "" {
			r = openDir(t, dir, false) // as its own now
			if r.Rules().State != RulesInForce {
				t.Errorf("opened again: %+v", r.Rules())
			}
			r.Close()
		}
		for _, name := range []string{"anchor", "rules"} { // as it was, in the same place
			b, err := os.ReadFile(filepath.Join(at, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(anchorOf(dir), name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRulesOutliveACrash cuts the power at every step of loading rules: the node comes up with the
// set before or with the new one, with the new one if it was acknowledged, and in no doubt.
func TestRulesOutliveACrash(t *testing.T) {
	n, disks, c := onDisk(t, "Vendor")
	loadRules(t, n, noReceive)
	was := n.Rules().Set
	n.Close()
	sets := map[string]int{}
	cutAtEveryStep(t, c, disks, func(n *Node) { loadRules(t, n, noShare) }, func(n *Node, cut int) {
		info := n.Rules()
		if info.State != RulesInForce {
			t.Fatalf("cut at step %d: %+v", cut, info)
		}
		sets[info.Rules[0].Name]++
		// What comes after goes on from there.
		loadRules(t, n, noRed)
		if info := n.Rules(); info.State != RulesInForce || info.Set == was {
			t.Fatalf("cut at step %d, loaded again: %+v", cut, info)
		}
	})
	if sets["no-receive"] == 0 || sets["no-share"] == 0 {
		t.Errorf("the power failed always before or always after: %v", sets)
	}
}

// TestDoubtfulRulesShareNothing: a publication under rules that are in doubt goes to nobody, and what
// comes in is set aside and opens when they are confirmed.
func TestDoubtfulRulesShareNothing(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, vendor, police, protocol.TLPGreen, "*")
	for _, n := range nodes {
		loadRules(t, n, noRed)
		n.rulesDoubt.Store(&rulesDoubt{why: "test", held: n.snap.Load().rulesDoc.mark()})
		if err := n.changeIf(func(*store.Tx) (bool, error) { return true, nil }); err != nil {
			t.Fatal(err)
		}
	}
	flags := policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}
	publishList(t, vendor, "198.51.100.1\n", flags)
	syncBoth(t, vendor, police)
	if _, err := vendor.ConfirmRules(vendor.Rules().Set); err != nil {
		t.Fatal(err)
	}
	publishList(t, vendor, "198.51.100.2\n", flags)
	syncBoth(t, vendor, police)
	if found(t, police, "198.51.100.1") != 0 || found(t, police, "198.51.100.2") != 0 {
		t.Error("something opened under rules that are in doubt")
	}
	list, err := police.Quarantine("")
	if err != nil || len(list) != 1 || list[0].Reason != string(policy.ReasonLocalRule) {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := police.ConfirmRules(police.Rules().Set); err != nil {
		t.Fatal(err)
	}
	if found(t, police, "198.51.100.2") != 1 || found(t, police, "198.51.100.1") != 0 {
		t.Error("what was kept out does not open, or what was never shared does")
	}
	if err := police.Disclose(context.Background(), Disclosure{Act: "search"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := police.Export(t.Context(), &out, ExportLines, 0); err != nil || !strings.Contains(out.String(), "198.51.100.2") {
		t.Errorf("%q, %v", &out, err)
	}
}
