package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// otherSets returns how many of the organisation's nodes status says to have other rules.
func otherSets(t testing.TB, n *Node) (count int) {
	t.Helper()
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range st.Problems {
		if strings.Contains(p.Text, "has other local rules in force") && strings.Contains(p.Do, "--all-nodes") {
			count++
		}
	}
	return count
}

func loadEverywhere(t testing.TB, n *Node, text string) {
	t.Helper()
	if _, err := n.LoadRulesEverywhere(rules.Source{File: "all.cedar", Text: []byte(text)}); err != nil {
		t.Fatal(err)
	}
}

func ruleOf(n *Node) string {
	if list := n.Rules().Rules; len(list) > 0 {
		return list[0].Name
	}
	return ""
}

// TestSiblingsTellTheirRules: status warns where nodes of one organisation have different rules, and
// of nothing else.
func TestSiblingsTellTheirRules(t *testing.T) {
	first := testNetwork(t, "Vendor")[0]
	second := enrolledNode(t, first)
	meet(t, first, second)
	if otherSets(t, first) != 0 || otherSets(t, second) != 0 {
		t.Error("nodes without rules are said to differ")
	}
	loadRules(t, first, noRed)
	if otherSets(t, first) != 1 {
		t.Error("the node that loaded rules does not say that the other has none")
	}
	meet(t, first, second)
	if otherSets(t, first) != 1 || otherSets(t, second) != 1 || ruleOf(second) != "" {
		t.Errorf("%d and %d differ; a sibling's word puts %q in force", otherSets(t, first), otherSets(t, second), ruleOf(second))
	}
	loadRules(t, second, noRed)
	meet(t, first, second)
	if otherSets(t, first) != 0 || otherSets(t, second) != 0 {
		t.Error("nodes with the same rules are said to differ")
	}
}

// TestRulesForAllNodes: a set that is signed with the operational key is taken by every node, also by
// one that hears of it from another, once; what a person loads after it stays until there is a later.
func TestRulesForAllNodes(t *testing.T) {
	first := testNetwork(t, "Vendor")[0]
	second, third := enrolledNode(t, first), enrolledNode(t, first)
	shareSets(t, first, second, third)
	meet(t, first, second)
	meet(t, first, third)
	if _, err := second.LoadRulesEverywhere(rules.Source{File: "x", Text: []byte(noRed)}); !errors.Is(err, ErrNoOperationalKey) {
		t.Errorf("without the operational key: %v", err)
	}
	loadEverywhere(t, first, noShare)
	meet(t, first, second)
	meet(t, second, third)
	for i, n := range []*Node{first, second, third} {
		if ruleOf(n) != "no-share" || n.Rules().State != RulesInForce || otherSets(t, n) != 0 && n != first {
			t.Errorf("node %d: %+v", i, n.Rules())
		}
	}
	if list := acts(account(t, third), audit.Rules); len(list) != 1 || list[0].Act != "take rules for all nodes" {
		t.Errorf("%+v", list)
	}
	loadRules(t, third, noReceive)
	meet(t, second, third)
	meet(t, first, third)
	if err := third.openRulesOf(); err != nil || ruleOf(third) != "no-receive" {
		t.Errorf("what a person loaded was replaced by %q, %v", ruleOf(third), err)
	}
	loadEverywhere(t, first, noReceive+noShare)
	meet(t, first, third)
	if got := third.Rules().Rules; len(got) != 2 {
		t.Errorf("a later set was not taken: %+v", got)
	}
	// A local set of the node that signed does not take back what it signed for the others.
	loadRules(t, first, noRed)
	meet(t, first, second)
	if got := second.Rules().Rules; len(got) != 2 || ruleOf(first) != "no-red" || otherSets(t, second) == 0 {
		t.Errorf("%+v", got)
	}
}

// TestForgedRules: what is not signed with the operational key in force, is older, or cannot be read
// puts nothing in force, and nothing is taken while the rules are in doubt.
func TestForgedRules(t *testing.T) {
	first := testNetwork(t, "Vendor")[0]
	second := enrolledNode(t, first)
	meet(t, first, second)
	offer := func(number uint64, text string, op crypto.OpSigner) error {
		t.Helper()
		s, err := crypto.SignRules(&protocol.RulesOffer{Version: 1, Org: first.org, Number: number, File: "x.cedar", Text: []byte(text)}, op)
		if err != nil {
			t.Fatal(err)
		}
		item := &protocol.SiblingItem{Kind: protocol.SiblingRulesItem, Content: protocol.Encode(&protocol.SiblingRules{Node: first.ID(), At: nextAt(t, second, first.ID()), Offer: []protocol.OrgSigned{s}})}
		return second.takeSiblingItems([][]byte{protocol.Encode(item)})
	}
	now := uint64(nowMillis())
	if err := offer(now, noShare, crypto.GenerateOp()); err != nil || ruleOf(second) != "" {
		t.Errorf("another key puts %q in force, %v", ruleOf(second), err)
	}
	if err := offer(now, noShare, first.op()); err != nil || ruleOf(second) != "no-share" {
		t.Fatalf("the operational key puts %q in force, %v", ruleOf(second), err)
	}
	if err := offer(now-1, noRed, first.op()); err != nil || ruleOf(second) != "no-share" {
		t.Errorf("an older set puts %q in force, %v", ruleOf(second), err)
	}
	for range 3 {
		if err := offer(now+1, badRules, first.op()); err != nil || ruleOf(second) != "no-share" {
			t.Errorf("a broken set puts %q in force, %v", ruleOf(second), err)
		}
	}
	refused := 0
	for _, d := range acts(account(t, second), audit.Rules) {
		if d.Act == "refuse rules" {
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("a broken set was noted %d times", refused)
	}
	second.rulesDoubt.Store(&rulesDoubt{why: "test", held: second.snap.Load().rulesDoc.mark()})
	if err := offer(now+2, noReceive, first.op()); err != nil || ruleOf(second) != "no-share" {
		t.Errorf("in doubt, %q is in force, %v", ruleOf(second), err)
	}
	if _, err := second.ConfirmRules(second.Rules().Set); err != nil || ruleOf(second) != "no-receive" {
		t.Errorf("confirmed, %q is in force, %v", ruleOf(second), err)
	}
	// Of this node nobody else says anything, and nothing is said that nobody's clock can say.
	for _, r := range []*protocol.SiblingRules{{Node: second.ID(), At: now + 1000}, {Node: first.ID(), At: now + 2*protocol.MaxClockSkew}} {
		r.Set, r.Offer = protocol.Hash{7}, []protocol.OrgSigned{}
		item := &protocol.SiblingItem{Kind: protocol.SiblingRulesItem, Content: protocol.Encode(r)}
		if err := second.takeSiblingItems([][]byte{protocol.Encode(item)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindRulesOf, func(_ []byte, d *rulesOfDoc) error {
			if d.Set == (protocol.Hash{7}) {
				t.Error("it was kept")
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
}

// nextAt is a time after what a node holds of another.
func nextAt(t testing.TB, n *Node, of protocol.NodeID) uint64 {
	t.Helper()
	var d rulesOfDoc
	if err := n.st.View(func(tx *store.Tx) error { _, err := getDoc(tx, kindRulesOf, of[:], &d); return err }); err != nil {
		t.Fatal(err)
	}
	return d.At + 1
}

// TestOfferedRulesNameNobodyTwice: a people file for all nodes that names one of a node's people is not taken there, and
// none is signed.
func TestOfferedRulesNameNobodyTwice(t *testing.T) {
	first := testNetwork(t, "Vendor")[0]
	second := enrolledNode(t, first)
	src := rules.Source{File: "all.cedar", Text: []byte(noRed), PeopleFile: "people.json", People: []byte(strings.ReplaceAll(annOnly, `"ann"`, `"bob"`))}
	addPerson(t, second, "alice", rules.RoleAdmin)
	addPerson(t, second, "bob", rules.RoleReader)
	if _, err := first.LoadRulesEverywhere(src); err != nil { // it has not heard of bob
		t.Fatal(err)
	}
	meet(t, first, second)
	if ruleOf(second) != "" {
		t.Errorf("%q is in force", ruleOf(second))
	}
	if who := second.PersonOf("bob"); who == nil || !who.Account {
		t.Errorf("%+v", who)
	}
	if who := first.AccountOf("bob"); who.Roles == nil || len(who.Roles) != 1 {
		t.Fatalf("%+v", who)
	}
	if _, err := first.LoadRulesEverywhere(src); err == nil || !strings.Contains(err.Error(), "one of this node's people") {
		t.Errorf("signed for all nodes: %v", err)
	}
	if _, err := first.CheckRules(src); err == nil || !strings.Contains(err.Error(), "one of this node's people") {
		t.Errorf("checked: %v", err)
	}
}
