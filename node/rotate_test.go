package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// rootWorld is an organisation whose root keys the test has, with a partner and an agreement.
type rootWorld struct {
	node, partner *Node
	ident         *Identity
	dir           string
	lock          crypto.Lock
}

func newRootWorld(t *testing.T) *rootWorld {
	t.Helper()
	w := &rootWorld{dir: filepath.Join(t.TempDir(), "d")}
	lock, err := makeLock(w.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.lock = lock
	if w.ident, err = NewIdentity(InitRequest{Name: "Vendor", Kind: "vendor"}); err != nil {
		t.Fatal(err)
	}
	if w.node, err = Open(Config{Dir: w.dir, Keys: w.ident.Keys}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.node.Close() })
	if err := w.node.putOwnCard(&w.ident.Card); err != nil {
		t.Fatal(err)
	}
	w.partner = testNode(t, "Partner")
	intoOneNetwork(t, []*Node{w.node, w.partner})
	agree(t, w.partner, w.node, protocol.TLPAmber, "*")
	return w
}

func oneKey(k crypto.RootPrivate) protocol.RootSet {
	return protocol.RootSet{Keys: []protocol.RootKey{k.Public()}, Threshold: 1}
}

// rotateRoot has the committed set take over, and commits to another.
func (w *rootWorld) rotateRoot(t *testing.T, init RotationInit) (*crypto.Rotation, crypto.RootPrivate) {
	t.Helper()
	init.Dir, init.Lock, init.Kind, init.By = w.dir, w.lock, protocol.RotateRoot, Caller{Person: "kim"}
	req, err := w.node.RequestRotation(init)
	if err != nil {
		t.Fatal(err)
	}
	after := crypto.GenerateRoot()
	set := oneKey(after)
	rot, err := crypto.NewRotation(req, crypto.RootStep{Root: oneKey(w.ident.Next), Next: set.Hash()})
	if err != nil {
		t.Fatal(err)
	}
	if len(rot.Missing()) != 2 || !rot.Sign(w.ident.Next) || len(rot.Missing()) != 0 {
		t.Fatal("the next root set does not suffice to rotate")
	}
	return rot, after
}

func (w *rootWorld) apply(rot *crypto.Rotation) (*RotationReport, error) {
	return w.node.ApplyRotation(RotationApply{Dir: w.dir, Lock: w.lock, Rotation: rot, By: Caller{Person: "kim"}})
}

// thiefCard is what a thief of the root in force signs: the highest epoch that there is, with a key of
// the thief's, and no node but the ones that are there.
func (w *rootWorld) thiefCard(t *testing.T, epoch uint32) (*protocol.SignedCard, error) {
	t.Helper()
	op := crypto.GenerateOp()
	c := w.node.OwnCard().Card
	e := protocol.RootEpoch{Version: 1, Org: w.node.Org(), Epoch: epoch, Op: op.Public(), Issued: uint64(nowMillis())}
	b := protocol.Encode(&e)
	sig, err := w.ident.Root.Sign(protocol.ContextRootEpoch, protocol.NoNetwork, b)
	if err != nil {
		t.Fatal(err)
	}
	c.RootEpoch = protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{{Key: w.ident.Root.Public(), Sig: sig}}}
	c.Serial = 1
	signed, err := crypto.SignCard(&c, op)
	if err != nil {
		t.Fatal(err)
	}
	_, err = crypto.VerifyCard(&signed)
	return &signed, err
}

// TestRootStolen: whoever steals the root keys in force signs as high an epoch as there is; the set that
// was committed to ends that, everywhere, and the thief cannot go ahead of it.
func TestRootStolen(t *testing.T) {
	t.Parallel()
	w := newRootWorld(t)
	if err := w.node.renewCard(func(*protocol.Card) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if _, err := w.thiefCard(t, protocol.EpochNumber(1, 1)); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("an epoch of a root set to come, signed by the one in force: %v", err)
	}
	stolen, err := w.thiefCard(t, protocol.EpochNumber(0, protocol.MaxEpochs))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{w.partner, w.node} {
		if err := (&view{n: n}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{*stolen}}); err != nil {
			t.Fatal(err)
		}
		if n.Card(w.node.Org()).Hash != stolen.Hash() {
			t.Fatal("the thief's card was not taken, which this is about")
		}
	}
	if w.node.op() != nil {
		t.Fatal("the node does not see that its operational key is not in force")
	}
	// One epoch more is not to be had in that root set.
	if _, err := w.node.Promote(PromoteRequest{Dir: w.dir, Lock: w.lock, Root: []crypto.RootPrivate{w.ident.Root}}); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("an epoch after the last: %v", err)
	}

	rot, _ := w.rotateRoot(t, RotationInit{RootStolen: true})
	rep, err := w.apply(rot)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Rotations != 1 || len(rep.Void) != 0 || len(rep.Members) != 0 || rep.Epoch != "1 of root set 1" {
		t.Errorf("rotating the root reports %+v", rep)
	}
	if w.node.op() == nil || w.node.op().Public() != w.ident.Keys.Op.Public() {
		t.Error("the operational key does not stay")
	}
	shareSets(t, w.node, w.partner)
	if w.partner.Card(w.node.Org()).Order != w.node.OwnCard().Order {
		t.Error("the partner keeps the thief's card")
	}
	if a := w.partner.Agreements(); len(a) != 1 || a[0].State != AgreementInForce {
		t.Error("an agreement of before does not stand any more")
	}
	if err := (&view{n: w.partner}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{*stolen}}); err != nil {
		t.Fatal(err)
	}
	if w.partner.Card(w.node.Org()).Hash == stolen.Hash() {
		t.Error("the thief's card comes back")
	}
	publishList(t, w.node, "198.51.100.1\n", amber())
	if _, err := w.apply(rot); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("applying a rotation twice: %v", err)
	}
	// The set of before signs nothing any more, the one that took over does.
	if _, err := w.node.Promote(PromoteRequest{Dir: w.dir, Lock: w.lock, Root: []crypto.RootPrivate{w.ident.Root}}); !errors.Is(err, protocol.ErrBadSignature) {
		t.Errorf("the root of before signs an operational key: %v", err)
	}
	if _, err := w.node.Promote(PromoteRequest{Dir: w.dir, Lock: w.lock, Root: []crypto.RootPrivate{w.ident.Next}}); err != nil {
		t.Errorf("the root in force does not sign an operational key: %v", err)
	}
}

// TestThiefOfTheOperationalKey: who has it lists a node of their own and removes the organisation's. The root ends
// that on the node that was removed, which goes on from the card that it signed last; what it published stays.
func TestThiefOfTheOperationalKey(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} { // the thief's card comes between the request and what the root signed
		w := newRootWorld(t)
		publishList(t, w.node, "198.51.100.1\n", amber())
		if err := w.node.renewCard(func(*protocol.Card) bool { return true }); err != nil {
			t.Fatal(err)
		}
		theirs, asks, err := NewNode(w.node.Org(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := w.node.OwnCard().Card
		e := c.Nodes[0]
		c.Serial += 1000
		c.Nodes = []protocol.NodeEntry{asks.Entry}
		c.Removed = []protocol.RemovedNode{{Node: e.Node, Signing: e.Signing, At: uint64(nowMillis()), Heads: []protocol.FeedHead{}, Binding: e.Binding}}
		stolen, err := crypto.SignCard(&c, w.ident.Keys.Op)
		if err != nil {
			t.Fatal(err)
		}
		steal := func() {
			t.Helper()
			for _, n := range []*Node{w.partner, w.node} {
				if err := (&view{n: n}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{stolen}}); err != nil {
					t.Fatal(err)
				}
			}
			if w.node.Enrolled() == nil || w.partner.Card(w.node.Org()).Node(theirs.Host.Public()) == nil {
				t.Fatal("the thief's card was not taken, which this is about")
			}
			if err := w.node.renewCard(func(*protocol.Card) bool { return true }); err != nil || w.node.OwnCard().Hash != stolen.Hash() {
				t.Errorf("a node that was removed signs a card that removes it: %v", err)
			}
		}
		if !late {
			steal()
		}
		req, err := w.node.RequestRotation(RotationInit{Dir: w.dir, Lock: w.lock, Kind: protocol.RotateOp, Compromised: true})
		if err != nil {
			t.Fatal(err)
		}
		if late {
			steal()
		}
		rot, err := crypto.NewRotation(req)
		if err != nil {
			t.Fatal(err)
		}
		rot.Sign(w.ident.Root)
		rep, err := w.apply(rot)
		if err != nil {
			t.Fatal(err)
		}
		if len(rep.Nodes) != 1 || rep.Nodes[0] != w.node.ID() || len(w.node.OwnCard().Removed) != 0 || w.node.op() == nil {
			t.Errorf("late %v: on the card are %v", late, rep.Nodes)
		}
		// Another node of the organisation that had the key could have removed and added them as well: it is said.
		if len(rep.Back) != 1 || rep.Back[0] != w.node.ID() || len(rep.Gone) != 1 || rep.Gone[0] != theirs.Host.Public() {
			t.Errorf("late %v: back are %v, gone %v", late, rep.Back, rep.Gone)
		}
		shareSets(t, w.node, w.partner)
		if err := (&view{n: w.partner}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{stolen}}); err != nil {
			t.Fatal(err)
		}
		if card := w.partner.Card(w.node.Org()); card.Node(w.node.ID()) == nil || card.Node(theirs.Host.Public()) != nil {
			t.Errorf("late %v: the partner goes by the thief's card", late)
		}
		publishList(t, w.node, "198.51.100.2\n", amber())
	}
}

// TestRotationRefuses: a rotation that is not whole, of another request, or late, changes nothing.
func TestRotationRefuses(t *testing.T) {
	t.Parallel()
	w := newRootWorld(t)
	ask := func(init RotationInit) *crypto.RotationRequest {
		t.Helper()
		init.Dir, init.Lock, init.Kind = w.dir, w.lock, protocol.RotateOp
		req, err := w.node.RequestRotation(init)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	rotation := func(req *crypto.RotationRequest, keys ...crypto.RootPrivate) *crypto.Rotation {
		t.Helper()
		rot, err := crypto.NewRotation(req)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			rot.Sign(k)
		}
		return rot
	}
	before := w.node.OwnCard().Hash
	first := ask(RotationInit{})
	refuse := func(what string, rot *crypto.Rotation, class error) {
		t.Helper()
		if _, err := w.apply(rot); !errors.Is(err, class) {
			t.Errorf("%s: %v", what, err)
		}
		if w.node.OwnCard().Hash != before {
			t.Fatalf("%s changes the card", what)
		}
	}
	refuse("a rotation that nobody signed", rotation(first), protocol.ErrBadSignature)
	refuse("one that the next root signed", rotation(first, w.ident.Next), protocol.ErrBadSignature)
	second := ask(RotationInit{})
	refuse("one of a request that another took the place of", rotation(first, w.ident.Root), protocol.ErrWrongContext)
	other, err := w.partner.rotationRequest(RotationInit{Kind: protocol.RotateOp}, crypto.GenerateOp())
	if err != nil {
		t.Fatal(err)
	}
	refuse("one of another organisation", rotation(other), protocol.ErrWrongContext)
	if _, err := crypto.NewRotation(second, crypto.RootStep{Root: oneKey(w.ident.Next)}); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("root keys where an operational key was asked for: %v", err)
	}
	if _, err := w.node.RequestRotation(RotationInit{Dir: w.dir, Lock: w.lock, Kind: protocol.RotateRoot, RootStolen: true, NewOp: true}); err != nil {
		t.Errorf("the card of before is the one that is held: %v", err)
	}
	second = ask(RotationInit{})

	// The card goes on while the file goes round; the rotation does not undo that.
	rot := rotation(second, w.ident.Root)
	sibling := testSibling(t, w.node)
	before = w.node.OwnCard().Hash
	rep, err := w.apply(rot)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Nodes) != 2 || w.node.OwnCard().Node(sibling.ID()) == nil {
		t.Error("a node that was added while a rotation went round is not on the card any more")
	}
	if _, err := os.Stat(filepath.Join(w.dir, keyDir, pendingFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key that waited is still there: %v", err)
	}
	before = w.node.OwnCard().Hash
	refuse("one that was applied", rot, protocol.ErrWrongContext)
	l, err := w.node.KeyList()
	if err != nil || !l.Op.Here || len(l.Retired) != 1 || l.Retired[0].Reason != "rotated" {
		t.Errorf("listing keys gives %+v, %v", l, err)
	}
}

// TestRotationBreaksOff: power fails after the new key is on disk and before the card is; the same
// again ends it.
func TestRotationBreaksOff(t *testing.T) {
	t.Parallel()
	w := newRootWorld(t)
	req, err := w.node.RequestRotation(RotationInit{Dir: w.dir, Lock: w.lock, Kind: protocol.RotateOp})
	if err != nil {
		t.Fatal(err)
	}
	rot, err := crypto.NewRotation(req)
	if err != nil {
		t.Fatal(err)
	}
	rot.Sign(w.ident.Root)
	var s opSecrets
	if err := readSealed(filepath.Join(w.dir, keyDir, pendingFile), w.lock, &s); err != nil {
		t.Fatal(err)
	}
	if err := writeSealed(filepath.Join(w.dir, keyDir, opFile), w.lock, &s); err != nil {
		t.Fatal(err)
	}
	w.node.keys.Op = crypto.OpFromSeed(s.Op)
	if w.node.op() != nil {
		t.Fatal("a key that no card names signs")
	}
	if _, err := w.apply(rot); err != nil || w.node.op() == nil {
		t.Errorf("applying it again: %v", err)
	}
}

// TestTheOnlyNodeIsGone: a new node, which nobody can approve, gets the operational key from the root and
// so comes on the card; one that was revoked does not come back that way.
func TestTheOnlyNodeIsGone(t *testing.T) {
	t.Parallel()
	w := newRootWorld(t)
	dir := filepath.Join(t.TempDir(), "d")
	card := w.node.OwnCard().Signed
	if _, err := RequestNode(RequestInit{Dir: dir, Card: &card}); err != nil {
		t.Fatal(err)
	}
	lock, err := OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := LoadKeys(dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Dir: dir, Keys: k})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.Enrolled() == nil {
		t.Fatal("the node is on the card before")
	}
	if _, err := n.Promote(PromoteRequest{Dir: dir, Lock: lock, Root: []crypto.RootPrivate{w.ident.Next}}); !errors.Is(err, protocol.ErrBadSignature) || n.Enrolled() == nil {
		t.Errorf("a key that is not of the root in force puts a node on the card: %v", err)
	}
	rep, err := n.Promote(PromoteRequest{Dir: dir, Lock: lock, Root: []crypto.RootPrivate{w.ident.Root}})
	if err != nil || n.Enrolled() != nil || n.op() == nil || len(rep.Nodes) != 2 {
		t.Fatalf("promoting a new node: %+v, %v", rep, err)
	}
	if _, err := n.RevokeNode(RevokeRequest{Node: w.node.ID(), Reason: NodeLost}); err != nil {
		t.Fatal(err)
	}
	shareSets(t, n, w.partner, w.node)
	if c := w.partner.Card(n.Org()); c.Node(n.ID()) == nil || c.Node(w.node.ID()) != nil {
		t.Error("the partner does not know the new node in the place of the lost one")
	}
	if _, err := w.node.Promote(PromoteRequest{Dir: w.dir, Lock: w.lock, Root: []crypto.RootPrivate{w.ident.Root}}); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("promoting a node that was revoked: %v", err)
	}
	if _, err := n.RevokeNode(RevokeRequest{Node: w.partner.ID(), Reason: "mislaid"}); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("revoking for no reason that there is: %v", err)
	}
}

// TestGenesisOutlivesItsKey: the founder of a network has its operational key stolen. The network stays,
// since its id is the hash of its genesis; who was sponsored with the key has to be sponsored again.
func TestGenesisOutlivesItsKey(t *testing.T) {
	t.Parallel()
	w := newRootWorld(t)
	third := testNode(t, "Third")
	inv, err := w.partner.Invite(&third.OwnCard().Signed, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := third.Join(inv); err != nil {
		t.Fatal(err)
	}
	shareSets(t, third, w.node, w.partner)
	signedByIt := agree(t, w.node, w.partner, protocol.TLPGreen, "*")
	rep, err := w.node.Promote(PromoteRequest{Dir: w.dir, Lock: w.lock, Root: []crypto.RootPrivate{w.ident.Root}, Compromised: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(rep.Void, func(v VoidAgreement) bool { return v.ID == signedByIt && len(v.Parties) == 1 }) || len(rep.Void) != 2 {
		t.Errorf("agreements that do not stand: %+v", rep.Void)
	}
	// The partner was sponsored by the founder, the third by the partner: both fell out.
	if len(rep.Members) != 2 {
		t.Errorf("lost members: %+v", rep.Members)
	}
	if s := w.node.snap.Load(); s.genesis == nil || !s.members[w.node.Org()] {
		t.Fatal("the network is gone with its founder's key")
	}
	again, err := w.node.Invite(&w.partner.OwnCard().Signed, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.partner.Join(again); err != nil {
		t.Fatal(err)
	}
	shareSets(t, w.partner, w.node)
	if s := w.node.snap.Load(); !s.members[w.partner.Org()] || !s.members[third.Org()] {
		t.Error("a member that was invited again does not bring back those whom it sponsored")
	}
}

// TestFoundingGoesOn: a founding that broke off goes on with the keys that were written, wherever it did.
func TestFoundingGoesOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	req, err := RequestFounding(FoundingInit{Dir: dir, Name: "Vendor", Kind: "vendor"})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, set, err := crypto.NewRootKeys(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := crypto.Found(req, set, keys, protocol.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	waits := filepath.Join(dir, keyDir, foundingFile)
	request, err := os.ReadFile(waits)
	if err != nil {
		t.Fatal(err)
	}
	op, err := loadFounding(waits, lock)
	if err != nil {
		t.Fatal(err)
	}
	// It broke off when the keys were written, and the card was not.
	begun, err := newIdentity(f.Inception, f.File.RootEpoch, op, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeKeys(dir, lock, begun.Keys); err != nil {
		t.Fatal(err)
	}
	first, err := InitFounded(FoundedInit{Dir: dir, Lock: lock, Founding: &f.File})
	if err != nil {
		t.Fatal(err)
	}
	if first.Keys.Host.Public() != begun.Keys.Host.Public() || FoundingWaits(dir) {
		t.Error("a founding that goes on makes another node, or does not end")
	}
	// It broke off when the card was written too.
	if err := os.WriteFile(waits, request, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := InitFounded(FoundedInit{Dir: dir, Lock: lock, Founding: &f.File})
	if err != nil || string(protocol.Encode(&again.Card)) != string(protocol.Encode(&first.Card)) || FoundingWaits(dir) {
		t.Errorf("after the card was written: %v", err)
	}
	// The keys of another organisation are not taken over.
	if err := os.WriteFile(waits, request, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := NewIdentity(InitRequest{Name: "Other", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeKeys(dir, lock, other.Keys); err != nil {
		t.Fatal(err)
	}
	if _, err := InitFounded(FoundedInit{Dir: dir, Lock: lock, Founding: &f.File}); err == nil || !FoundingWaits(dir) {
		t.Errorf("a founding over the node of another organisation: %v", err)
	}
}

// TestFounding: an organisation of two of three root keys, founded in two steps.
func TestFounding(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	req, err := RequestFounding(FoundingInit{Dir: dir, Name: "Vendor", Kind: "vendor", Country: "DE"})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(dir, lock); !errors.Is(err, ErrNotFounded) {
		t.Errorf("loading keys before the founding: %v", err)
	}
	if _, err := Init(InitRequest{Dir: dir, RootFile: filepath.Join(t.TempDir(), "r"), Name: "Vendor", Kind: "vendor"}); err == nil {
		t.Error("founding at once where a request waits")
	}
	keys, set, err := crypto.NewRootKeys(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	f, err := crypto.Found(req, set, keys, protocol.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	short := f.File
	short.RootEpoch.Sigs = short.RootEpoch.Sigs[:1]
	if _, err := InitFounded(FoundedInit{Dir: dir, Lock: lock, Founding: &short}); !errors.Is(err, protocol.ErrBadSignature) {
		t.Errorf("a founding that one of two signed: %v", err)
	}
	if _, err := InitFounded(FoundedInit{Dir: dir, Lock: lock, Founding: &f.File, Contact: "line\u202e"}); err == nil {
		t.Error("a card with a contact that turns text round")
	}
	if !AwaitsFounding(dir) {
		t.Fatal("a refused founding ends the request")
	}
	ident, err := InitFounded(FoundedInit{Dir: dir, Lock: lock, Founding: &f.File, By: Caller{Person: "kim"}})
	if err != nil {
		t.Fatal(err)
	}
	card, err := crypto.VerifyCard(&ident.Card)
	if err != nil || card.Org != f.Org || card.Root.Threshold != 2 || card.Next != (protocol.Hash{1}) {
		t.Errorf("the first card: %+v, %v", card, err)
	}
	k, err := LoadKeys(dir, lock)
	if err != nil || k.Op.Public() != req.Op {
		t.Fatalf("keys after the founding: %v", err)
	}
	n, err := Open(Config{Dir: dir, Keys: k})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if l, err := n.KeyList(); err != nil || l.Root.Threshold != 2 || len(l.Root.Keys) != 3 || !l.Op.Here {
		t.Errorf("listing keys gives %+v, %v", l, err)
	}
	// k of n replace the operational key, k - 1 do not.
	for want, keys := range map[bool][]crypto.RootPrivate{false: keys[1:2], true: keys[1:]} {
		if _, err := n.Promote(PromoteRequest{Dir: dir, Lock: lock, Root: keys}); (err == nil) != want {
			t.Errorf("%d root keys of which 2 sign: %v", len(keys), err)
		}
	}
}
