package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// signedBy signs the next card of an organisation after a change.
func signedBy(t testing.TB, c *crypto.Card, op crypto.OpSigner, change func(*protocol.Card)) *crypto.Card {
	t.Helper()
	next := c.Card
	next.Serial++
	change(&next)
	signed, err := crypto.SignCard(&next, op)
	if err != nil {
		t.Fatal(err)
	}
	out, err := crypto.VerifyCard(&signed)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRestoredCard: the first card of a restored node comes after any that the lost one signed;
// it keeps every node listed, lets none of them connect, and brings back no removal.
func TestRestoredCard(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Partner")
	author, partner := nodes[0], nodes[1]
	key := newOffline(t)
	publishList(t, author, "198.51.100.1\n", green)
	sibling := secondNode(t, author)
	data := backupOf(t, author, key)
	op := author.keys.Op
	held := author.OwnCard()

	n, out := restoreInto(t, filepath.Join(t.TempDir(), "d"), data, key)
	card := n.OwnCard()
	now := uint64(nowMillis())
	if card.Serial <= held.Serial+serialJump-1 || card.Serial > held.Serial+2*serialJump || card.Node(n.ID()) == nil {
		t.Errorf("serial %d follows %d", card.Serial, held.Serial)
	}
	for _, id := range []protocol.NodeID{author.ID(), sibling.ID()} {
		if e := card.Node(id); e == nil || e.NotAfter > now || !slices.Contains(out.Ended, id) {
			t.Errorf("a node that was listed is now %+v", e)
		}
	}
	if !card.Fresh(now) || !card.Lists(author.keys.Signing.Public()) {
		t.Error("the card is not fresh, or does not list the lost node any more")
	}
	// A partner takes it over any card of the lost node, and lets the lost one in no more.
	later := signedBy(t, held, op, func(c *protocol.Card) { c.Serial += 1000; c.Contact = "the lost node went on" })
	for _, c := range []*crypto.Card{card, later} {
		if err := (&view{n: partner}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{c.Signed}}); err != nil {
			t.Fatal(err)
		}
	}
	s := partner.snap.Load()
	if s.cards[n.Org()].Hash != card.Hash || s.nodes[n.ID()] != n.Org() || s.nodes[author.ID()] == n.Org() {
		t.Error("the partner does not follow the restored node's card")
	}
	if s.signers[author.keys.Signing.Public()].org != n.Org() {
		t.Error("entries of the lost node are of nobody any more")
	}

	// With the newest card what was removed after the backup stays removed.
	removed := signedBy(t, held, op, func(c *protocol.Card) {
		e := c.Nodes[1]
		c.Nodes = c.Nodes[:1]
		c.Removed = []protocol.RemovedNode{{Node: e.Node, Signing: e.Signing, At: now, Binding: e.Binding}}
	})
	older := signedBy(t, held, op, func(c *protocol.Card) { c.Serial = 1 })
	full := signedBy(t, held, op, func(c *protocol.Card) {
		for len(c.Nodes) < protocol.MaxNodes {
			id, err := crypto.GenerateIdentity()
			if err != nil {
				t.Fatal(err)
			}
			c.Nodes = append(c.Nodes, entryOf(t, &Keys{Org: held.Org, Host: crypto.GenerateNode(), Signing: crypto.GenerateSigning(), Identities: []*crypto.Identity{id}}))
		}
	})
	twin := signedBy(t, held, op, func(c *protocol.Card) { c.Serial--; c.Contact = "another" })
	restore := func(c *protocol.SignedCard) (*Node, *Restored, error) {
		dir := filepath.Join(t.TempDir(), "d")
		out, err := Restore(context.Background(), bytes.NewReader(data), RestoreRequest{Dir: dir, Identities: key.ids, Card: c})
		if err != nil {
			return nil, out, err
		}
		return openDir(t, dir, false), out, nil
	}
	if n, _, err := restore(&removed.Signed); err != nil || n.OwnCard().Node(sibling.ID()) != nil || len(n.OwnCard().Card.Removed) != 1 || n.OwnCard().Serial <= removed.Serial {
		t.Errorf("with the newest card: %v", err)
	}
	if n, _, err := restore(&older.Signed); err != nil || n.OwnCard().Serial <= held.Serial {
		t.Errorf("with an older card: %v", err)
	}
	for _, tc := range []struct {
		card *protocol.SignedCard
		want string
	}{
		{&partner.OwnCard().Signed, "the card given is of Partner"},
		{&twin.Signed, "two of one order"},
		{&full.Signed, "has no room for another one"},
		{&protocol.SignedCard{Statement: held.Signed.Statement}, "reading the card given"},
	} {
		if _, out, err := restore(tc.card); err == nil || !strings.Contains(err.Error(), tc.want) || out.Whole {
			t.Errorf("want %q: %v", tc.want, err)
		}
	}
}

// A node that cannot enrol itself leaves a request, and is on no card.
func TestRestoreWithoutTheOperationalKey(t *testing.T) {
	t.Parallel()
	author := testNetwork(t, "Author", "Partner")[0]
	key := newOffline(t)
	var without bytes.Buffer
	if info, err := author.Backup(context.Background(), &without, BackupRequest{Recipients: []string{key.recipient}, WithoutOpKey: true}); err != nil || info.OpKey {
		t.Fatal(info, err)
	}
	with := backupOf(t, author, key)
	for name, data := range map[string][]byte{"left out": without.Bytes(), "in": with} {
		dir := filepath.Join(t.TempDir(), "d")
		q := RestoreRequest{Dir: dir, Identities: key.ids}
		if name == "left out" {
			q.Passphrase = []byte("correct horse battery") // scrypt takes its time
		}
		out, err := Restore(context.Background(), bytes.NewReader(data), q)
		if err != nil {
			t.Fatal(name, err)
		}
		lock, err := OpenLock(dir, q.Passphrase)
		if err != nil {
			t.Fatal(err)
		}
		k, err := LoadKeys(dir, lock)
		if err != nil {
			t.Fatal(err)
		}
		if NeedsPassphrase(dir) != (q.Passphrase != nil) {
			t.Error("a key file was made beside the passphrase, or neither")
		}
		if enrolled := name == "in"; out.Enrolled != enrolled || (k.Op != nil) != enrolled || (out.Request == "") != enrolled {
			t.Errorf("the key %s: %+v", name, out)
		}
		if name == "in" {
			continue
		}
		n, err := Open(Config{Dir: dir, Keys: k})
		if err != nil {
			t.Fatal(err)
		}
		if n.OwnCard().Hash != author.OwnCard().Hash {
			t.Error("the card is another one")
		}
		// Where the operational key is it is approved, by its words.
		var asks protocol.Signed
		readFile(t, out.Request, &asks)
		enrolment, err := author.ApproveNode(&asks, strings.Join(out.Words, " "))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Enrol(enrolment); err != nil || n.Enrolled() != nil || author.OwnCard().Node(n.ID()) == nil {
			t.Errorf("enrolling: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A card under a newer root epoch: the operational key in the backup signs nothing any more, and
// is not written into the new node's keys.
func TestRestoreWithARetiredOperationalKey(t *testing.T) {
	t.Parallel()
	ident, err := NewIdentity(InitRequest{Name: "Author", Kind: protocol.KindVendor})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	key := newOffline(t)
	data := backupOf(t, n, key)
	op := crypto.GenerateOp()
	epoch := protocol.Encode(&protocol.RootEpoch{Version: 1, Org: n.Org(), Epoch: 2, Op: op.Public(), Issued: uint64(nowMillis()),
		Retired: []protocol.RetiredKey{{Key: ident.Keys.Op.Public(), Reason: protocol.RetiredCompromised, At: uint64(nowMillis())}}})
	sig, err := ident.Root.Sign(protocol.ContextRootEpoch, protocol.NoNetwork, epoch)
	if err != nil {
		t.Fatal(err)
	}
	next := signedBy(t, n.OwnCard(), op, func(c *protocol.Card) {
		c.RootEpoch = protocol.Signed{Statement: epoch, Sigs: []protocol.KeySignature{{Key: ident.Root.Public(), Sig: sig}}}
		c.Serial = 1
	})
	dir := filepath.Join(t.TempDir(), "d")
	out, err := Restore(context.Background(), bytes.NewReader(data), RestoreRequest{Dir: dir, Identities: key.ids, Card: &next.Signed})
	if err != nil || out.Enrolled || out.Request == "" {
		t.Fatalf("restored with a key that was compromised: %+v, %v", out, err)
	}
	// A node whose operational key is not in force any more backs up without it.
	if err := n.putOwnCard(&next.Signed); err != nil {
		t.Fatal(err)
	}
	if info, err := VerifyBackup(context.Background(), bytes.NewReader(backupOf(t, n, key)), key.ids); err != nil || info.OpKey {
		t.Errorf("backing up with a key that is not in force: %+v, %v", info, err)
	}
	m := openDir(t, dir, false)
	if m.keys.Op != nil || m.OwnCard().Hash != next.Hash {
		t.Error("a key that is not in force is there, or the newest card is not")
	}
}

func readFile(t testing.TB, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.Decode(b, 1<<16, v); err != nil {
		t.Fatal(err)
	}
}

// A node that was ended by a restore does not come back when the card is renewed.
func TestEndedNodesStayEnded(t *testing.T) {
	self, other := protocol.NodeID{1}, protocol.NodeID{2}
	const now = 10 * nodeLife
	for _, tc := range []struct {
		name string
		e    protocol.NodeEntry
		want uint64
	}{
		{"a sibling in its second half", protocol.NodeEntry{Node: other, NotAfter: now + 1}, now + nodeLife},
		{"a sibling in its first half", protocol.NodeEntry{Node: other, NotAfter: now + nodeLife*3/4}, now + nodeLife*3/4},
		{"a sibling that was ended", protocol.NodeEntry{Node: other, NotAfter: now}, now},
		{"this node, after a long time", protocol.NodeEntry{Node: self, NotAfter: now - 1}, now + nodeLife},
	} {
		e := tc.e
		if changed := prolong(&e, self, now); e.NotAfter != tc.want || changed != (tc.want != tc.e.NotAfter) {
			t.Errorf("%s: until %d, want %d", tc.name, e.NotAfter, tc.want)
		}
	}
}

// TestRenewNode: a node that was ended by a restore, and lives, comes back by a person's word.
func TestRenewNode(t *testing.T) {
	first, second, partner := siblingWorld(t)
	card := first.OwnCard().Card
	card.Serial++
	card.Nodes = slices.Clone(card.Nodes)
	for i := range card.Nodes {
		if card.Nodes[i].Node == second.ID() {
			card.Nodes[i].NotAfter = card.Nodes[i].NotBefore + 1
		}
	}
	resign(t, first, &card)
	shareSets(t, first, partner, second)
	publishList(t, partner, "198.51.100.1\n", amber())
	carryNew(t, partner, second)
	if reads(t, second, "198.51.100.1") || first.isSibling(second.ID()) {
		t.Error("a node whose time is over gets a key, or counts as a sibling")
	}
	if err := second.RenewNode(Caller{}, second.ID()); !errors.Is(err, ErrNoOperationalKey) {
		t.Errorf("renewing without the operational key: %v", err)
	}
	if err := first.RenewNode(Caller{Person: "ann"}, partner.ID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("renewing another organisation's node: %v", err)
	}
	if err := first.RenewNode(Caller{Person: "ann"}, second.ID()); err != nil {
		t.Fatal(err)
	}
	list, err := first.Audit(t.Context(), AuditQuery{Kind: "own-keys"})
	if err != nil || len(list) != 1 || list[0].Act != "renew node" || list[0].Person != "ann" || !strings.Contains(list[0].Reason, "passed") {
		t.Errorf("the account says of it, and of what was refused: %+v, %v", list, err)
	}
	shareSets(t, first, partner, second)
	if err := partner.grantLate(); err != nil {
		t.Fatal(err)
	}
	carryNew(t, partner, second)
	if !reads(t, second, "198.51.100.1") || !first.isSibling(second.ID()) {
		t.Error("a node that was renewed gets no key, or is no sibling")
	}
}
