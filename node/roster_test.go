package node

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestRemovedSponsor: whom a member brought in stays when it is removed, and whoever joins
// later sees the same roster.
func TestRemovedSponsor(t *testing.T) {
	nodes := testNetwork(t, "Founder", "Sponsor")
	invite := func(by *Node, guest *Node) {
		t.Helper()
		inv, err := by.Invite(&guest.OwnCard().Signed, time.Hour)
		if err == nil {
			_, err = guest.Join(inv)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	guest := testNode(t, "Guest")
	invite(nodes[1], guest)
	shareSets(t, guest, nodes...)
	if err := nodes[0].RemoveMember(nodes[1].Org(), "test"); err != nil {
		t.Fatal(err)
	}
	late := testNode(t, "Late")
	invite(nodes[0], late)
	shareSets(t, late, nodes[0])
	shareSets(t, nodes[0], late, guest)
	want := slices.SortedFunc(maps.Keys(nodes[0].snap.Load().members), protocol.OrgID.Compare)
	if len(want) != 3 {
		t.Errorf("founder knows %d members, want 3", len(want))
	}
	for _, n := range []*Node{guest, late} {
		if got := slices.SortedFunc(maps.Keys(n.snap.Load().members), protocol.OrgID.Compare); !slices.Equal(got, want) {
			t.Errorf("%s knows %d members, want %d", n.OwnCard().Inception.Name, len(got), len(want))
		}
	}
	if err := nodes[0].RemoveMember(nodes[0].Org(), "test"); err == nil {
		t.Error("the only steward removed itself")
	}
}

// TestTerminationFromTheFuture: the end of an agreement counts at once, whatever clock its
// signer has.
func TestTerminationFromTheFuture(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	id := agree(t, author, reader, protocol.TLPAmber, "*")
	end := &protocol.Termination{Version: 1, Network: author.snap.Load().network, Agreement: id, Org: reader.Org(), At: uint64(nowMillis()) + 3600_000, Effective: uint64(nowMillis()) + 3600_000}
	signed, err := crypto.SignTermination(end, reader.keys.Op)
	if err == nil {
		err = author.keepEnd(id, &signed, protocol.LetterTermination, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	rec := publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
	carry(t, author, reader)
	if reads(t, reader, "198.51.100.1") || rec.Plan.Orgs[0].Records != 0 {
		t.Error("a record was sealed under an agreement that its reader ended")
	}
}

// TestLetterComesEarly: a termination that arrives before its agreement is not lost.
func TestLetterComesEarly(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	id := agree(t, author, reader, protocol.TLPAmber, "*")
	// The reader forgets the agreement, as if the termination came by a shorter way.
	var doc agreementDoc
	if err := reader.change(func(tx *store.Tx) error {
		if _, err := getDoc(tx, kindAgreement, id[:], &doc); err != nil {
			return err
		}
		return tx.Delete(append([]byte(kindAgreement), id[:]...))
	}); err != nil {
		t.Fatal(err)
	}
	if err := author.Terminate(id, "test", 0); err != nil {
		t.Fatal(err)
	}
	carryNew(t, author, reader)
	if st, err := reader.Status(); err != nil || st.Waiting != 1 || len(st.Problems) == 0 {
		t.Errorf("status says %d wait, %v", st.Waiting, err)
	}
	if err := reader.change(func(tx *store.Tx) error { return putDoc(tx, kindAgreement, id[:], &doc) }); err != nil {
		t.Fatal(err)
	}
	if err := reader.gate.reopenEarly(); err != nil {
		t.Fatal(err)
	}
	if err := reader.gate.drain(); err != nil {
		t.Fatal(err)
	}
	if a, err := reader.Agreement(id); err != nil || a.State != AgreementTerminated {
		t.Errorf("state is %s, %v", a.State, err)
	}
}
