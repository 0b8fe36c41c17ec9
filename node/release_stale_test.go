package node

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// renewed has a node renew its card, and tells others.
func renewed(t *testing.T, n *Node, nodes []*Node) {
	t.Helper()
	if err := n.renewCard(func(*protocol.Card) bool { return true }); err != nil {
		t.Fatal(err)
	}
	for _, o := range nodes {
		if err := o.learn(func(tx *store.Tx) error {
			_, err := o.takeSets(tx, o.snap.Load().network, []protocol.SignedCard{n.OwnCard().Signed}, nil)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReleaseWaitsForAFreshCard: what persons release for an organisation whose card is not fresh is not
// lost: it goes to the others, and waits for that one, to be approved again.
func TestReleaseWaitsForAFreshCard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		vendor, hub, police, cert := testNode(t, "Vendor"), testNode(t, "Hub"), testNode(t, "Police"), testNode(t, "Cert")
		nodes := []*Node{vendor, hub, police, cert}
		intoOneNetwork(t, nodes)
		for _, p := range [][2]*Node{{vendor, hub}, {hub, police}, {hub, cert}} {
			doc := testAgreement(p[0], p[1], protocol.TLPAmber, "*")
			doc.NotAfter = doc.NotBefore + 1000*dayMillis
			doc.Terms[0].Onward.Rule = protocol.OnwardPartners
			trustEachOther(t, p[0], p[1])
			agreeOn(t, p[0], p[1], doc)
		}
		if err := hub.SetRelease(ctx, ReleaseAsk, false); err != nil {
			t.Fatal(err)
		}
		publishOnward(t, vendor, "198.51.100.1\n", partners)
		along(t, nodes)
		list, err := hub.Releases(false)
		if err != nil || len(list) != 1 || len(list[0].To) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		time.Sleep(CardLife*time.Millisecond + time.Hour)
		for _, n := range []*Node{vendor, hub, police} { // the CERT is away
			renewed(t, n, nodes)
		}
		if r, err := hub.ApproveRelease(ctx, list[0].Number, "A", false); err != nil || r.State != "passed on" {
			t.Fatalf("%+v, %v", r, err)
		}
		along(t, nodes)
		wantReads(t, police, "198.51.100.1", true)
		wantReads(t, cert, "198.51.100.1", false)
		left, err := hub.Releases(false)
		if err != nil || len(left) != 1 || len(left[0].To) != 1 || left[0].To[0].ID != cert.Org() || len(left[0].Approved) != 0 || left[0].Records != 1 {
			t.Fatalf("left: %+v, %v", left, err)
		}
		if _, err := hub.ApproveRelease(ctx, left[0].Number, "A", false); err == nil || !strings.Contains(err.Error(), "is not fresh") {
			t.Errorf("approved while it is away: %v", err)
		}
		renewed(t, cert, nodes)
		if r, err := hub.ApproveRelease(ctx, left[0].Number, "A", false); err != nil || r.State != "passed on" {
			t.Fatalf("%+v, %v", r, err)
		}
		along(t, nodes)
		wantReads(t, cert, "198.51.100.1", true)
	})
}
