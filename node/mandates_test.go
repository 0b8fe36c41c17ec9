package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// behalfWorld is an agency that has others publish for it: Agent publishes to Reader, and to the
// agency itself.
func behalfWorld(t *testing.T) (agency, agent, reader *Node) {
	t.Helper()
	nodes := testNetwork(t, "Agency", "Agent", "Reader")
	shareSets(t, nodes[0], nodes[1:]...)
	agency, agent, reader = nodes[0], nodes[1], nodes[2]
	agree(t, agent, reader, protocol.TLPAmber, "*")
	agree(t, agent, agency, protocol.TLPAmber, "*")
	return agency, agent, reader
}

func onBehalf(agent, principal *Node, t *testing.T, list string, f policy.Flags) (*Receipt, error) {
	t.Helper()
	return agent.Publish(context.Background(), PublishRequest{Topic: "c2", Items: readList(t, list), Flags: f, OnBehalf: principal.Org()})
}

func give(t *testing.T, principal, agent *Node, topics []string, tlp protocol.TLP) protocol.MandateID {
	t.Helper()
	id, err := principal.GiveMandate(agent.Org(), topics, tlp, 0, uint64(nowMillis())+30*dayMillis)
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, principal, agent)
	return id
}

// TestOnBehalf: what an agent publishes under a mandate is its own, goes by its own agreements, and
// says on whose behalf it is.
func TestOnBehalf(t *testing.T) {
	agency, agent, reader := behalfWorld(t)
	if _, err := onBehalf(agent, agency, t, "198.51.100.1\n", amber()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "entente mandate give") {
		t.Fatalf("without a mandate: %v", err)
	}
	id := give(t, agency, agent, []string{"c2"}, protocol.TLPAmber)
	if _, err := onBehalf(agent, agency, t, "198.51.100.1\n", amber()); err != nil {
		t.Fatal(err)
	}
	publishList(t, agent, "198.51.100.2\n", amber())
	carryNew(t, agent, reader)
	got := heldRecord(t, reader, "198.51.100.1")
	if got.Originator.Name != "Agent" || got.OnBehalf == nil || got.OnBehalf.Principal.Name != "Agency" || got.OnBehalf.Mandate != id {
		t.Errorf("it is read as %+v on behalf of %+v", got.Originator, got.OnBehalf)
	}
	if got := heldRecord(t, reader, "198.51.100.2"); got.OnBehalf != nil {
		t.Errorf("what the agent publishes for itself is on behalf of %+v", got.OnBehalf)
	}
	for what, f := range map[string]policy.Flags{"above the ceiling": {TLP: protocol.TLPAmberStrict}} {
		if _, err := onBehalf(agent, agency, t, "198.51.100.3\n", f); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := onBehalf(agency, agency, t, "198.51.100.3\n", amber()); !errors.Is(err, ErrRefused) {
		t.Errorf("on one's own behalf: %v", err)
	}
	if _, err := onBehalf(reader, agency, t, "198.51.100.3\n", amber()); err == nil {
		t.Error("who has no mandate publishes under another's")
	}
	if list := agent.Mandates(); len(list) != 1 || list[0].ID != id || list[0].State != "in force" || list[0].Principal.Name != "Agency" {
		t.Errorf("the agent has %+v", list)
	}
	if list := reader.Mandates(); len(list) != 0 {
		t.Errorf("the reader has %+v", list)
	}
}

// TestI2MandateWidensNothing: a mandate lets nothing through that the agent's agreements do not, and
// another topic is not its own.
func TestI2MandateWidensNothing(t *testing.T) {
	nodes := testNetwork(t, "Agency", "Agent", "Reader")
	shareSets(t, nodes[0], nodes[1:]...)
	agency, agent, reader := nodes[0], nodes[1], nodes[2]
	agree(t, agency, reader, protocol.TLPRed, "*") // the principal's own agreement, which is not the agent's
	trustEachOther(t, agency, agent)
	give(t, agency, agent, []string{"malware"}, protocol.TLPUnset)
	if _, err := onBehalf(agent, agency, t, "198.51.100.1\n", amber()); !errors.Is(err, ErrRefused) {
		t.Fatalf("in another topic: %v", err)
	}
	give(t, agency, agent, nil, protocol.TLPUnset)
	if _, err := onBehalf(agent, agency, t, "198.51.100.1\n", amber()); err != nil {
		t.Fatal(err)
	}
	carryNew(t, agent, reader)
	wantReads(t, reader, "198.51.100.1", false)
}

// TestMandateRevoked: from when it is revoked nothing is published under it, here or by who goes on
// all the same; what was published before stays.
func TestMandateRevoked(t *testing.T) {
	t.Parallel()
	agency, agent, reader := behalfWorld(t)
	agree(t, agency, reader, protocol.TLPGreen, "*") // so that the reader is told
	id := give(t, agency, agent, nil, protocol.TLPUnset)
	if _, err := onBehalf(agent, agency, t, "198.51.100.1\n", amber()); err != nil {
		t.Fatal(err)
	}
	carryNew(t, agent, reader)
	if err := agent.RevokeMandate(id, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("the agent revokes it: %v", err)
	}
	if err := agency.RevokeMandate(id, "our node is back"); err != nil {
		t.Fatal(err)
	}
	if err := agency.RevokeMandate(id, ""); err == nil {
		t.Error("it is revoked twice")
	}
	carryNew(t, agency, reader)
	if _, err := onBehalf(agent, agency, t, "198.51.100.2\n", amber()); err != nil { // it has not heard of it
		t.Fatal(err)
	}
	carryNew(t, agent, reader)
	wantReads(t, reader, "198.51.100.1", true)
	wantReads(t, reader, "198.51.100.2", false)
	q, err := reader.Quarantine("")
	if err != nil || len(q) != 1 || q[0].Reason != string(policy.ReasonMandate) || !strings.Contains(q[0].Text, "revoked the mandate before: our node is back") {
		t.Errorf("set aside: %+v, %v", q, err)
	}
	carryNew(t, agency, agent)
	if _, err := onBehalf(agent, agency, t, "198.51.100.3\n", amber()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("after it heard: %v", err)
	}
}

// TestMandateByHand: a mandate, and its end, come as files where no letter does.
func TestMandateByHand(t *testing.T) {
	agency, agent, reader := behalfWorld(t)
	id, err := agency.GiveMandate(agent.Org(), nil, protocol.TLPUnset, 0, uint64(nowMillis())+dayMillis)
	if err != nil {
		t.Fatal(err)
	}
	file, err := agency.MandateFile(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.ImportMandate(file); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("another takes it: %v", err)
	}
	altered := slices.Clone(file)
	altered[len(altered)-10] ^= 1
	if _, err := agent.ImportMandate(altered); err == nil {
		t.Error("an altered one is taken")
	}
	for range 2 { // twice is once
		if got, err := agent.ImportMandate(file); err != nil || got != id {
			t.Fatalf("%s, %v", got, err)
		}
	}
	if _, err := onBehalf(agent, agency, t, "198.51.100.1\n", amber()); err != nil {
		t.Fatal(err)
	}
	if err := agency.RevokeMandate(id, ""); err != nil {
		t.Fatal(err)
	}
	if file, err = agency.MandateFile(id); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{agent, reader} {
		if _, err := n.ImportMandate(file); err != nil {
			t.Fatal(err)
		}
	}
	if list := agent.Mandates(); len(list) != 1 || list[0].State != "revoked" {
		t.Errorf("the agent has %+v", list)
	}
}

// TestGiveMandateRefuses: what a principal cannot give.
func TestGiveMandateRefuses(t *testing.T) {
	agency, agent, _ := behalfWorld(t)
	now := uint64(nowMillis())
	stranger := testNode(t, "Stranger")
	for name, give := range map[string]func() (protocol.MandateID, error){
		"to itself": func() (protocol.MandateID, error) { return agency.GiveMandate(agency.Org(), nil, 0, 0, now+dayMillis) },
		"to nobody of the network": func() (protocol.MandateID, error) {
			return agency.GiveMandate(stranger.Org(), nil, 0, 0, now+dayMillis)
		},
		"that ended": func() (protocol.MandateID, error) { return agency.GiveMandate(agent.Org(), nil, 0, 0, now-1) },
		"for too long": func() (protocol.MandateID, error) {
			return agency.GiveMandate(agent.Org(), nil, 0, 0, now+400*dayMillis)
		},
		"in no topic": func() (protocol.MandateID, error) {
			return agency.GiveMandate(agent.Org(), []string{"No Topic"}, 0, 0, now+dayMillis)
		},
	} {
		if _, err := give(); err == nil {
			t.Errorf("%s: it is given", name)
		}
	}
	if _, err := agent.Plan(PublishRequest{Topic: "c2", Items: readList(t, "198.51.100.1\n"), Flags: amber(), OnBehalf: stranger.Org()}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no member of this network") {
		t.Errorf("on behalf of who is no member: %v", err)
	}
}

// TestPrincipalTakesBack: what was published on its behalf a principal withdraws, and excludes others
// from, by its own word to the agent, which tells all who have it.
func TestPrincipalTakesBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	agency, agent, reader := behalfWorld(t)
	give(t, agency, agent, nil, protocol.TLPUnset)
	if _, err := onBehalf(agent, agency, t, "198.51.100.1\n198.51.100.2\n", amber()); err != nil {
		t.Fatal(err)
	}
	nodes := []*Node{agency, agent, reader}
	along(t, nodes)
	first, second := heldRecord(t, agency, "198.51.100.1"), heldRecord(t, agency, "198.51.100.2")
	if err := reader.Withdraw(ctx, []protocol.RecordID{first.ID}, ""); err == nil {
		t.Error("a reader withdraws it")
	}
	if err := agency.Withdraw(ctx, []protocol.RecordID{first.ID}, "false positive"); err != nil {
		t.Fatal(err)
	}
	if err := agency.Exclude(ctx, []protocol.RecordID{second.ID}, []protocol.OrgID{reader.Org()}); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	for _, n := range nodes {
		x, err := n.Explain(first.ID, nil)
		if err != nil || !x.Record.Withdrawn || x.Record.WithdrawReason != "false positive" {
			t.Errorf("at %s it is not withdrawn: %+v, %v", n.OwnCard().Inception.Name, x, err)
		}
	}
	if list, err := agent.Exclusions(); err != nil || len(list) != 1 || list[0].Originator.Name != "Agency" {
		t.Errorf("the agent knows of %+v, %v", list, err)
	}
	err := agent.viewIndex(func(tx *store.Tx) error {
		e, err := agent.getEntry(tx, second.ID)
		if err != nil {
			return err
		}
		not, err := agent.notFor(tx, e)
		if !slices.Contains(not, reader.Org()) {
			t.Error("the agent would seal it for who is excluded")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRulesSeeThePrincipal: a local rule about the originator binds what is published on its behalf.
func TestRulesSeeThePrincipal(t *testing.T) {
	agency, agent, reader := behalfWorld(t)
	give(t, agency, agent, nil, protocol.TLPUnset)
	loadRules(t, reader, `@id("not-theirs") forbid (principal, action == Action::"receive", resource) when { resource.originator == Organisation::"`+agency.Org().String()+`" };`)
	if _, err := onBehalf(agent, agency, t, "198.51.100.1\n", amber()); err != nil {
		t.Fatal(err)
	}
	publishList(t, agent, "198.51.100.2\n", amber())
	carryNew(t, agent, reader)
	wantReads(t, reader, "198.51.100.1", false)
	wantReads(t, reader, "198.51.100.2", true)
	loadRules(t, agent, `@id("not-theirs-out") forbid (principal, action == Action::"share", resource) when { resource.originator == Organisation::"`+agency.Org().String()+`" };`)
	p, err := agent.Plan(PublishRequest{Topic: "c2", Items: readList(t, "198.51.100.3\n"), Flags: amber(), OnBehalf: agency.Org()})
	if err != nil || slices.ContainsFunc(p.Orgs, func(o PlanOrg) bool { return o.Records > 0 }) {
		t.Errorf("the plan is %+v, %v", p, err)
	}
}

// TestSiblingMandatesJoin: whatever the order in which they come, siblings end with the same.
func TestSiblingMandatesJoin(t *testing.T) {
	agency, agent, _ := behalfWorld(t)
	s := agency.snap.Load()
	m := &protocol.Mandate{Version: 1, Network: s.network, Principal: agency.Org(), Agent: agent.Org(), Topics: []string{protocol.Any}, NotBefore: 1, NotAfter: 2, Number: 1}
	given, err := crypto.SignMandate(m, agency.op())
	if err != nil {
		t.Fatal(err)
	}
	id := protocol.NewMandateID(given.Statement)
	items := []*protocol.SiblingMandate{{ID: id, Mandate: []protocol.OrgSigned{given}}}
	for _, at := range []uint64{9, 7, 8} {
		end, err := crypto.SignMandateRevocation(&protocol.MandateRevocation{Version: 1, Network: s.network, Principal: agency.Org(), Mandate: id, At: at}, agency.op())
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, &protocol.SiblingMandate{ID: id, Revoked: []protocol.OrgSigned{end}})
	}
	foreign := *items[0]
	foreign.ID[0] ^= 1
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}} {
		clearMandates(t, agent)
		for _, i := range order {
			if err := agent.takeSiblingItems([][]byte{protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingMandateItem, Content: protocol.Encode(items[i])}),
				protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingMandateItem, Content: protocol.Encode(&foreign)})}); err != nil {
				t.Fatal(err)
			}
		}
		held := agent.snap.Load().mandates
		if len(held) != 1 || held[mandateKey{id, agency.Org()}].revoked.At != 7 || held[mandateKey{id, agency.Org()}].said == nil {
			t.Errorf("in order %v: %+v", order, held)
		}
	}
}

func clearMandates(t *testing.T, n *Node) {
	t.Helper()
	if err := n.change(func(tx *store.Tx) error {
		for key := range n.snap.Load().mandates {
			if err := tx.Delete(append([]byte(kindMandate), key.bytes()...)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
