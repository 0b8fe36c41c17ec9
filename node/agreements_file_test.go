package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// signedAgreement is an agreement with the signatures of some nodes' organisations.
func signedAgreement(t testing.TB, network protocol.NetworkID, doc protocol.Agreement, nodes ...*Node) *protocol.SignedAgreement {
	t.Helper()
	doc.Version, doc.Network, doc.Secret = 1, network, [32]byte{1, 2, 3}
	out := &protocol.SignedAgreement{Statement: protocol.Encode(&doc)}
	for _, n := range nodes {
		sig, err := crypto.SignAgreement(out.Statement, network, n.org, n.op())
		if err != nil {
			t.Fatal(err)
		}
		out.Sigs = append(out.Sigs, sig)
	}
	slices.SortFunc(out.Sigs, func(a, b protocol.PartySignature) int { return a.Org.Compare(b.Org) })
	return out
}

func importOne(n *Node, signed *protocol.SignedAgreement) error {
	_, err := n.ImportAgreements([]*protocol.SignedAgreement{signed})
	return err
}

// TestAgreementByFile: an agreement is proposed, countersigned and in force on both sides without
// a letter that arrives; what was published before, and could not be read, opens with it.
func TestAgreementByFile(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	trustEachOther(t, vendor, police)
	id, err := vendor.Propose(testAgreement(vendor, police, protocol.TLPAmber, "*"))
	if err != nil {
		t.Fatal(err)
	}
	handOver := func(from, to *Node, want AgreementState, added int) {
		t.Helper()
		signed, err := from.SignedAgreement(id)
		if err != nil {
			t.Fatal(err)
		}
		done, err := to.ImportAgreements([]*protocol.SignedAgreement{signed})
		if err != nil || len(done) != 1 || done[0].State != want || done[0].Added != added {
			t.Fatalf("imported %+v, %v; want it %s with %d signatures more", done, err, want, added)
		}
	}
	handOver(vendor, police, AgreementIncoming, 1)
	publishList(t, vendor, "198.51.100.1\n", amber())
	if err := police.Countersign(id); err != nil {
		t.Fatal(err)
	}
	if a, err := vendor.Agreement(id); err != nil || a.State != AgreementProposed {
		t.Fatalf("before the vendor has the countersignature the agreement is %v, %v", a.State, err)
	}
	handOver(police, vendor, AgreementInForce, 1)
	handOver(police, vendor, AgreementInForce, 0)
	publishList(t, vendor, "198.51.100.2\n", amber())
	carryNew(t, vendor, police)
	if reads(t, police, "198.51.100.1") || !reads(t, police, "198.51.100.2") {
		t.Error("the police reads something else than what was published in force")
	}
}

// TestImportOpensWhatWaited: entries that came before the agreement open when it does.
func TestImportOpensWhatWaited(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	signed := signedAgreement(t, vendor.snap.Load().network, testAgreement(vendor, police, protocol.TLPAmber, "*"), vendor, police)
	if err := importOne(vendor, signed); err != nil {
		t.Fatal(err)
	}
	publishList(t, vendor, "198.51.100.1\n", amber())
	carryNew(t, vendor, police)
	if reads(t, police, "198.51.100.1") {
		t.Fatal("something is read without an agreement")
	}
	if err := importOne(police, signed); err != nil {
		t.Fatal(err)
	}
	if !reads(t, police, "198.51.100.1") {
		t.Error("what waited for the agreement is not read")
	}
}

// TestImportIsOneChange: many agreements are one generation, and one that is refused keeps all out.
func TestImportIsOneChange(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "A", "B", "C")
	vendor := nodes[0]
	network := vendor.snap.Load().network
	var list []*protocol.SignedAgreement
	for _, other := range nodes[1:] {
		list = append(list, signedAgreement(t, network, testAgreement(vendor, other, protocol.TLPAmber, "*"), vendor, other))
	}
	bad := *list[2]
	bad.Sigs = slices.Clone(bad.Sigs)
	bad.Sigs[0].Sig[7] ^= 1
	was := fingerprint(t, vendor)
	if _, err := vendor.ImportAgreements([]*protocol.SignedAgreement{list[0], list[1], &bad}); !errors.Is(err, protocol.ErrBadSignature) || !strings.Contains(err.Error(), "agreement 3 of 3") {
		t.Fatalf("a flipped signature: %v", err)
	}
	if fingerprint(t, vendor) != was {
		t.Error("an import that was refused changed something")
	}
	generation := vendor.snap.Load().generation
	// One comes in two halves.
	halves := []*protocol.SignedAgreement{{Statement: list[0].Statement, Sigs: list[0].Sigs[:1]}, {Statement: list[0].Statement, Sigs: list[0].Sigs[1:]}}
	done, err := vendor.ImportAgreements(append(halves, list[1:]...))
	if err != nil || len(done) != 3 {
		t.Fatalf("%d imported, %v", len(done), err)
	}
	for _, d := range done {
		if d.State != AgreementInForce || !d.New || d.Added != 2 {
			t.Errorf("imported %+v", d)
		}
	}
	if got := vendor.snap.Load().generation; got != generation+1 {
		t.Errorf("the import made %d changes", got-generation)
	}
}

// TestImportRefuses: what is not with us, not of this network, not signed or not verifiable is
// refused, and leaves nothing.
func TestImportRefuses(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police", "Third")
	vendor, police, third := nodes[0], nodes[1], nodes[2]
	stranger := testNode(t, "Stranger")
	network := vendor.snap.Load().network
	three := testAgreement(vendor, police, protocol.TLPAmber, "*")
	three.Parties = append(three.Parties, stranger.Org())
	slices.SortFunc(three.Parties, protocol.OrgID.Compare)
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	flipped := signedAgreement(t, network, doc, vendor, police)
	flipped.Sigs[1].Sig[0] ^= 0x80
	changed := signedAgreement(t, network, doc, vendor, police)
	changed.Statement = signedAgreement(t, network, testAgreement(vendor, police, protocol.TLPGreen, "*")).Statement
	for name, tc := range map[string]struct {
		signed *protocol.SignedAgreement
		want   error
		says   string
	}{
		"a flipped signature":             {flipped, protocol.ErrBadSignature, ""},
		"signatures of another agreement": {changed, protocol.ErrBadSignature, ""},
		"another network":                 {signedAgreement(t, protocol.NetworkID{9}, doc, vendor, police), protocol.ErrWrongContext, "another network"},
		"not a party":                     {signedAgreement(t, network, testAgreement(police, third, protocol.TLPAmber, "*"), police, third), protocol.ErrWrongContext, "not a party"},
		"signed by no party":              {signedAgreement(t, network, doc, vendor, third), protocol.ErrBadSignature, "no party"},
		"signed by nobody":                {signedAgreement(t, network, doc), protocol.ErrBadSignature, "no party signed"},
		"signed by a stranger":            {signedAgreement(t, network, three, vendor, police, stranger), protocol.ErrUnknownAuthor, "entente trust"},
		"with a stranger":                 {signedAgreement(t, network, three, vendor, police), protocol.ErrUnknownAuthor, "entente trust"},
	} {
		was := fingerprint(t, vendor)
		if err := importOne(vendor, tc.signed); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
		if fingerprint(t, vendor) != was {
			t.Errorf("%s: something was kept of it", name)
		}
	}
	if err := importOne(stranger, flipped); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("outside of any network: %v", err)
	}
}

// TestImportFillsNoInbox: files do not bring more proposals than letters do.
func TestImportFillsNoInbox(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	var list []*protocol.SignedAgreement
	for i := range maxInbox + 1 {
		doc.NotAfter += uint64(i)
		list = append(list, signedAgreement(t, vendor.snap.Load().network, doc, vendor))
	}
	if _, err := police.ImportAgreements(list); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("more than the inbox takes: %v", err)
	}
	if _, err := police.ImportAgreements(list[1:]); err != nil {
		t.Error(err)
	}
}

// TestI2ImportDoesNotRevive: an agreement that was terminated stays so, here and after its data
// went back to before it was known.
func TestI2ImportDoesNotRevive(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir, backup := filepath.Join(root, "data"), filepath.Join(root, "backup")
	ident, err := NewIdentity(InitRequest{Name: "Vendor", Kind: "vendor"})
	if err != nil {
		t.Fatal(err)
	}
	vendor, police := diskNode(t, dir, ident), testNode(t, "Police")
	intoOneNetwork(t, []*Node{vendor, police})
	if err := vendor.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", dir, backup)
	vendor = diskNode(t, dir, ident)
	signed := signedAgreement(t, vendor.snap.Load().network, testAgreement(vendor, police, protocol.TLPAmber, "*"), vendor, police)
	id := signed.ID()
	if err := importOne(vendor, signed); err != nil {
		t.Fatal(err)
	}
	if err := vendor.Terminate(id, "test", 0); err != nil {
		t.Fatal(err)
	}
	stays := func() {
		t.Helper()
		if err := importOne(vendor, signed); err != nil {
			t.Fatal(err)
		}
		if a, err := vendor.Agreement(id); err != nil || a.State != AgreementTerminated {
			t.Errorf("the agreement is %s, %v", a.State, err)
		}
		if r := publishList(t, vendor, "198.51.100.1\n", amber()); len(r.Plan.Orgs) > 0 && r.Plan.Orgs[0].Records > 0 {
			t.Error("something goes out under an agreement that was terminated")
		}
	}
	stays()
	if err := errors.Join(vendor.Close(), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", backup, dir)
	vendor = diskNode(t, dir, ident)
	shareSets(t, police, vendor)
	stays()
}

// TestAgreementsAreVerifiedAnewByNewCards: an agreement that nothing touched is taken over by the next
// state, and verified again when a party has another card.
func TestAgreementsAreVerifiedAnewByNewCards(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	agree(t, nodes[0], nodes[1], protocol.TLPAmber, "*")
	n := nodes[0]
	one := func() *agreement {
		list := n.snap.Load().agreements
		if len(list) != 1 {
			t.Fatalf("%d agreements", len(list))
		}
		for _, a := range list {
			return a
		}
		return nil
	}
	before := one()
	if err := n.JoinTopic("phishing"); err != nil {
		t.Fatal(err)
	}
	if one() != before {
		t.Error("another topic made it be verified anew")
	}
	if err := n.renewCard(func(*protocol.Card) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if a := one(); a == before || len(a.Missing) != 0 || a.ID != before.ID {
		t.Errorf("after another card of a party it is %+v", a)
	}
}

// TestRejectedAndSignedAllTheSame: two nodes of one organisation answered differently. What is shown is
// what counts: all have signed.
func TestRejectedAndSignedAllTheSame(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	agree(t, nodes[0], nodes[1], protocol.TLPAmber, "*")
	n := nodes[0]
	id := n.Agreements()[0].ID
	r := &protocol.Rejection{Version: 1, Network: n.snap.Load().network, Agreement: id, Org: nodes[1].org, At: uint64(nowMillis()), Reason: "no"}
	signed, err := crypto.SignRejection(r, nodes[1].op())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.keepEnd(id, &signed, protocol.LetterRejection, nil); err != nil {
		t.Fatal(err)
	}
	if a, err := n.Agreement(id); err != nil || a.Rejected == nil || a.State != AgreementInForce {
		t.Errorf("it is shown as %s, rejected: %v, %v", a.State, a.Rejected != nil, err)
	}
	if rec := publishList(t, n, "198.51.100.1\n", green); len(rec.Plan.Orgs) != 1 || rec.Plan.Orgs[0].Records != 1 {
		t.Errorf("the plan is %+v", rec.Plan.Orgs)
	}
}
