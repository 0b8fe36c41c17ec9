package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// resign puts a card of one's own making in place of the own one.
func resign(t testing.TB, n *Node, c *protocol.Card) {
	t.Helper()
	signed, err := crypto.SignCard(c, n.keys.Op)
	if err == nil {
		err = n.putOwnCard(&signed)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func requestOf(t testing.TB, org protocol.OrgID) *crypto.NodeRequest {
	t.Helper()
	_, req, err := NewNode(org, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestApproveRefuses(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	good := requestOf(t, first.Org())
	words := strings.Join(good.Words(), " ")
	forged := good.Signed
	forged.Sigs = []protocol.KeySignature{{Key: good.Signed.Sigs[0].Key}}
	lifted := good.NodeRequest
	lifted.Entry.Recipient = requestOf(t, first.Org()).Entry.Recipient // another reader under this node's name
	swapped := protocol.Signed{Statement: protocol.Encode(&lifted), Sigs: good.Signed.Sigs}
	unbound := good.NodeRequest
	unbound.Entry.Node = requestOf(t, first.Org()).Entry.Node
	keys, own, err := NewNode(first.Org(), nil)
	if err != nil {
		t.Fatal(err)
	}
	unbound = own.NodeRequest
	unbound.Entry.Node = good.Entry.Node
	other, err := crypto.SignNodeRequest(&unbound, keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	removed := requestOf(t, first.Org())
	if _, err := first.ApproveNode(&removed.Signed, strings.Join(removed.Words(), " ")); err != nil {
		t.Fatal(err)
	}
	if _, err := first.RemoveNode(removed.Entry.Node, false); err != nil {
		t.Fatal(err)
	}
	wordsOf := func(s *protocol.Signed) string {
		return strings.Join(crypto.Words(protocol.OrgID(protocol.NodeRequestName(s.Statement))), " ")
	}
	for name, c := range map[string]struct {
		at     *Node
		signed protocol.Signed
		words  string
		want   error
	}{
		"without the operational key":      {second, good.Signed, words, ErrNoOperationalKey},
		"of another organisation":          {partner, good.Signed, words, protocol.ErrWrongContext},
		"other words":                      {first, good.Signed, strings.Join(removed.Words(), " "), protocol.ErrBadSignature},
		"no words":                         {first, good.Signed, "", protocol.ErrBadSignature},
		"a signature that is none":         {first, forged, words, protocol.ErrBadSignature},
		"another recipient put in":         {first, swapped, wordsOf(&swapped), protocol.ErrBadSignature},
		"a peer key that did not sign":     {first, other, wordsOf(&other), protocol.ErrBadSignature},
		"a node that was removed":          {first, removed.Signed, strings.Join(removed.Words(), " "), protocol.ErrWrongContext},
		"bytes that are none":              {first, protocol.Signed{Statement: []byte{1}}, words, protocol.ErrMalformed},
		"no signature":                     {first, protocol.Signed{Statement: good.Signed.Statement}, words, protocol.ErrBadSignature},
		"a statement with something after": {first, protocol.Signed{Statement: append(append([]byte{}, good.Signed.Statement...), 0), Sigs: good.Signed.Sigs}, words, protocol.ErrMalformed},
	} {
		before := c.at.OwnCard().Hash
		if _, err := c.at.ApproveNode(&c.signed, c.words); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.at.OwnCard().Hash != before {
			t.Errorf("%s: the card changed", name)
		}
	}
	if _, err := first.ApproveNode(&good.Signed, strings.ToUpper(words)); err != nil {
		t.Fatal(err)
	}
	order := first.OwnCard().Order
	if _, err := first.ApproveNode(&good.Signed, words); err != nil || first.OwnCard().Order != order {
		t.Errorf("approving twice makes another card, or fails: %v", err)
	}
	for len(first.OwnCard().Nodes) < protocol.MaxNodes {
		r := requestOf(t, first.Org())
		if _, err := first.ApproveNode(&r.Signed, strings.Join(r.Words(), " ")); err != nil {
			t.Fatal(err)
		}
	}
	r := requestOf(t, first.Org())
	if _, err := first.ApproveNode(&r.Signed, strings.Join(r.Words(), " ")); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("a card with %d nodes takes one more: %v", protocol.MaxNodes, err)
	}
	// The full card is the most that a hello carries.
	if n := len(protocol.Encode(&protocol.Hello{Version: 1, Card: first.OwnCard().Signed})); n > protocol.MaxHelloSize {
		t.Errorf("a hello with %d nodes has %d bytes, peers read %d", protocol.MaxNodes, n, protocol.MaxHelloSize)
	}
}

func TestEnrolRefuses(t *testing.T) {
	first, _, partner := siblingWorld(t)
	keys, req, err := NewNode(first.Org(), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Enrolled(); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("a node without a card counts as enrolled: %v", err)
	}
	other := requestOf(t, first.Org())
	forOther, err := first.ApproveNode(&other.Signed, strings.Join(other.Words(), " "))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Enrol(forOther); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("the enrolment of another node is taken: %v", err)
	}
	foreign, err := first.Invite(&partner.OwnCard().Signed, 3600e9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Enrol(foreign); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("an invitation of another organisation is taken: %v", err)
	}
	inv, err := first.ApproveNode(&req.Signed, strings.Join(req.Words(), " "))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second time changes nothing
		if _, err := n.Enrol(inv); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Enrolled(); err != nil {
		t.Error(err)
	}
}

// TestRemovalIsNeverBlockedBySize: a card that lists as many removed nodes as fit lets the
// oldest go.
func TestRemovalIsNeverBlockedBySize(t *testing.T) {
	t.Parallel()
	n := testNode(t, "Police")
	card := n.OwnCard().Card
	for range protocol.MaxRemovedNodes {
		r := requestOf(t, n.Org())
		x := protocol.RemovedNode{Node: r.Entry.Node, Signing: r.Entry.Signing, Binding: r.Entry.Binding}
		for i := range 10 {
			x.Heads = append(x.Heads, protocol.FeedHead{Seq: uint64(i + 1)})
		}
		card.Removed = append(card.Removed, x)
	}
	card.Serial++
	resign(t, n, &card)
	for range 20 {
		r := requestOf(t, n.Org())
		if _, err := n.ApproveNode(&r.Signed, strings.Join(r.Words(), " ")); err != nil {
			t.Fatal(err)
		}
		if _, err := n.RemoveNode(r.Entry.Node, false); err != nil {
			t.Fatal(err)
		}
		own := n.OwnCard()
		if len(own.Signed.Statement) > protocol.MaxCardSize || own.Removed[len(own.Removed)-1].Node != r.Entry.Node {
			t.Fatalf("the card has %d bytes, and %d removed nodes", len(own.Signed.Statement), len(own.Removed))
		}
	}
}

// TestI2TwoCardsOfOneOrder: while an organisation has two cards of one order, its nodes get no
// new key; a later card ends that.
func TestI2TwoCardsOfOneOrder(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, vendor, police, protocol.TLPAmber, "*")
	other := police.OwnCard().Card
	other.Contact = "somebody who has the key too"
	signed, err := crypto.SignCard(&other, police.keys.Op)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&view{n: vendor}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{signed}}); err != nil {
		t.Fatal(err)
	}
	publishList(t, vendor, "198.51.100.1\n", amber())
	carryNew(t, vendor, police)
	if reads(t, police, "198.51.100.1") {
		t.Error("a key is granted against a card of which there are two")
	}
	conflicts := func() (count int) {
		st, err := vendor.Status()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.Problems {
			if strings.Contains(p.Text, "two cards of Police") {
				count++
			}
		}
		return count
	}
	if conflicts() != 1 {
		t.Error("nobody is told of two cards of one order")
	}
	later := police.OwnCard().Card
	later.Serial++
	resign(t, police, &later)
	shareSets(t, police, vendor)
	if err := vendor.grantLate(); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	if !reads(t, police, "198.51.100.1") || conflicts() != 0 {
		t.Error("a later card does not end what two of one order began")
	}
}

// TestPromote: where the node with the operational key is lost, the root key gives it to
// another node; the key so far is worth nothing more, wherever it is.
func TestPromote(t *testing.T) {
	t.Parallel()
	ident, err := NewIdentity(InitRequest{Name: "Police", Kind: "police"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := Open(Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	partner := testNode(t, "Partner")
	intoOneNetwork(t, []*Node{first, partner})
	agree(t, partner, first, protocol.TLPAmber, "*")
	second := testSibling(t, first)
	shareSets(t, first, second, partner)
	shareSets(t, partner, second)
	compareWith(t, second, first)

	dir := t.TempDir()
	lock, err := makeLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := second.OwnCard().Order
	if _, err := second.Promote(PromoteRequest{Dir: dir, Lock: lock, Root: []crypto.RootPrivate{crypto.GenerateRoot()}}); !errors.Is(err, protocol.ErrBadSignature) {
		t.Errorf("another root key: %v", err)
	}
	if _, err := ParseRootFile("next: entente-root-secret:00\n"); err == nil {
		t.Error("a file without a root key is read")
	}
	keys, err := ParseRootFile(string(rootFileText(InitRequest{Name: "Police"}, ident)))
	if err != nil || second.OwnCard().Order != before || second.op() != nil {
		t.Fatalf("a refused promotion changed something: %v", err)
	}
	if _, err := second.Promote(PromoteRequest{Dir: dir, Lock: lock, Root: keys}); err != nil {
		t.Fatal(err)
	}
	shareSets(t, second, first, partner)
	if first.op() != nil || second.op() == nil {
		t.Fatal("the operational key is not where it was given to")
	}
	if err := first.renewCard(func(*protocol.Card) bool { return true }); err != nil || first.OwnCard().Order != second.OwnCard().Order {
		t.Errorf("the node that had the key still signs cards: %v", err)
	}
	if a := partner.Agreements(); len(a) != 1 || a[0].State != AgreementInForce {
		t.Error("an agreement that the key so far signed does not stand any more")
	}
	if _, err := second.RemoveNode(first.ID(), false); err != nil {
		t.Fatal(err)
	}
	shareSets(t, second, first, partner)
	publishList(t, partner, "198.51.100.1\n", amber())
	carryNew(t, partner, second)
	carryNew(t, partner, first)
	if !reads(t, second, "198.51.100.1") || reads(t, first, "198.51.100.1") {
		t.Error("the organisation does not go on with its other node, and with it alone")
	}
	written := Keys{Org: second.org, Host: second.keys.Host, Signing: second.keys.Signing, Identities: second.keys.Identities, Store: second.keys.Store}
	if err := writeKeys(dir, lock, &written); err != nil {
		t.Fatal(err)
	}
	if k, err := LoadKeys(dir, lock); err != nil || k.Op == nil || k.Op.Public() != second.op().Public() {
		t.Errorf("the new key is not on disk: %v", err)
	}
	signedByIt := agree(t, partner, second, protocol.TLPGreen, "*")
	if _, err := second.Promote(PromoteRequest{Dir: dir, Lock: lock, Root: keys, Compromised: true}); err != nil {
		t.Fatal(err)
	}
	shareSets(t, second, partner)
	for _, a := range partner.Agreements() {
		if a.State == AgreementInForce && a.ID == signedByIt {
			t.Error("what a compromised key signed stands")
		}
	}
}
