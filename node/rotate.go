package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// The root keys never come to a node. It asks in a file for what they have to sign, that file goes to a
// machine without network and from holder to holder, and the node takes over what comes back
// (SPEC 40.3). It must not be running, since it has its keys in memory.

// pendingFile holds the operational key that a rotation was asked for with. It is in no backup: who
// lost it asks again. It is as op.key: where the key is in a token, it says where.
const pendingFile = "op.next"

// RotationInit asks for other keys.
type RotationInit struct {
	Dir  string
	Lock crypto.Lock // of the keys in Dir
	Kind protocol.RotationKind
	// NewOp asks for another operational key with the other root keys. Without it the key stays where
	// this node has the one in force.
	NewOp bool
	// Op is the new operational key, where it is in a token; nil: one is made, and kept with the others.
	// Where the one so far is in a token, that has to be wanted: ToFile.
	Op     crypto.OpSigner
	ToFile bool
	// Compromised says that somebody else may have the operational key so far: what it signed does
	// not stand any more.
	Compromised bool
	// RootStolen says that a thief of the root keys signed root epochs: what they say, and the card
	// that followed from it, is left out.
	RootStolen bool
	By         Caller
}

// RequestRotation makes the request, and where it asks for one a new operational key, which waits on
// this node until the rotation comes back. An earlier request that was not answered is void then.
func (n *Node) RequestRotation(r RotationInit) (*crypto.RotationRequest, error) {
	op := n.keys.Op
	own := n.OwnCard()
	if own == nil {
		return nil, ErrNotEnrolled
	}
	stays := r.Kind == protocol.RotateRoot && !r.NewOp && r.Op == nil && !r.Compromised && op != nil && (n.op() != nil || r.RootStolen)
	if !stays {
		var err error
		if op, err = n.newOp(r.Op, r.ToFile); err != nil {
			return nil, err
		}
	}
	req, err := n.rotationRequest(r, op)
	if err != nil {
		return nil, err
	}
	if !stays {
		if err := writeOpTo(filepath.Join(r.Dir, keyDir, pendingFile), r.Lock, n.org, op); err != nil {
			return nil, err
		}
	}
	d := n.details("ask for another operational key", r.By)
	if r.Kind == protocol.RotateRoot {
		d.Act = "ask for other root keys"
	}
	d.Reason, d.Text = reasonOf(req.Reason), "request "+req.Name.String()
	return req, n.st.Update(func(tx *store.Tx) error {
		_, err := n.account.Append(tx, audit.OwnKeys, d)
		return err
	})
}

// newOp returns the key to be in force next: the one that is given, or a new one in a file. An
// organisation that has its key in a token would not notice that it has it in a file from then on.
func (n *Node) newOp(given crypto.OpSigner, toFile bool) (crypto.OpSigner, error) {
	switch {
	case given != nil && toFile:
		return nil, errors.New("the new operational key is in a token, or in a file: give --op-hsm or --to-file, not both")
	case given != nil:
		return given, nil
	case n.token() != nil && !toFile:
		return nil, errors.New("the operational key is in a token, and the new one would be in a file: make one with 'entente key hsm create' and give --op-hsm, or --to-file if a file is meant")
	}
	return crypto.GenerateOp(), nil
}

func reasonOf(r protocol.RetireReason) string {
	switch r {
	case protocol.RetiredRotated:
		return "rotated"
	case protocol.RetiredCompromised:
		return "compromised"
	}
	return ""
}

// rotationRequest asks for op to be in force.
func (n *Node) rotationRequest(r RotationInit, op crypto.OpSigner) (*crypto.RotationRequest, error) {
	base := n.OwnCard()
	if base == nil {
		return nil, ErrNotEnrolled
	}
	switch {
	case r.RootStolen:
		var err error
		if base, err = n.cardBeforeTheft(base); err != nil {
			return nil, err
		}
	case r.Compromised:
		var err error
		if base, err = n.signedHere(base); err != nil {
			return nil, err
		}
	}
	q := &protocol.RotationRequest{Version: 1, Kind: r.Kind, Card: protocol.Encode(&base.Signed), Op: op.Public(), Made: uint64(nowMillis())}
	switch {
	case op.Public() == base.RootEpoch.Op:
	case r.Compromised:
		q.Reason = protocol.RetiredCompromised
	default:
		q.Reason = protocol.RetiredRotated
	}
	signed, err := crypto.SignRotationRequest(q, op)
	if err != nil {
		return nil, err
	}
	return crypto.VerifyRotationRequest(&signed)
}

// signedHere returns the last card that this node signed with the operational key of another, as far as its
// anchor knows, else that one. Where somebody else may have the key, newer ones are the thief's: they may
// list nodes of the thief, and remove those of the organisation, which then could not come back.
func (n *Node) signedHere(held *crypto.Card) (*crypto.Card, error) {
	if n.anchor == nil {
		return held, nil
	}
	signed, err := n.anchor.Card()
	if err != nil || signed == nil {
		return held, err
	}
	c, err := crypto.VerifyCard(signed)
	if err != nil || c.Org != n.org || string(c.Card.RootEpoch.Statement) != string(held.Card.RootEpoch.Statement) {
		return held, nil
	}
	return c, nil
}

// cardBeforeTheft returns the last card that was signed here with the operational key of this node.
func (n *Node) cardBeforeTheft(held *crypto.Card) (*crypto.Card, error) {
	none := errors.New("there is no card of before beside the data directory: this is for the node that had the operational key when the root was stolen; without it, leave the option out, and remove the nodes that are not yours afterwards")
	if n.anchor == nil || n.keys.Op == nil {
		return nil, none
	}
	signed, err := n.anchor.Card()
	if err != nil {
		return nil, err
	}
	if signed == nil {
		return nil, none
	}
	c, err := crypto.VerifyCard(signed)
	switch {
	case err != nil || c.Org != n.org || c.RootEpoch.Op != n.keys.Op.Public():
		return nil, none
	case len(c.Rotations) != len(held.Rotations):
		return nil, errors.New("the root was rotated since the last card that was signed here; ask without this option")
	}
	return c, nil
}

// RotationApply gives a node what the holders of root shares signed.
type RotationApply struct {
	Dir      string
	Lock     crypto.Lock // of the keys in Dir
	Rotation *crypto.Rotation
	By       Caller
}

// RotationReport says what a rotation did.
type RotationReport struct {
	Node  protocol.NodeID `json:"node"`
	Epoch string          `json:"root_epoch"`
	// Rotations counts root rotations since the founding.
	Rotations int `json:"root_rotations"`
	// Void are the agreements that do not stand any more, since a compromised key signed them for this
	// organisation; Members those that fell out of the network for the same reason, since only it had
	// sponsored them.
	Void    []VoidAgreement   `json:"void_agreements,omitempty"`
	Members []OrgRef          `json:"lost_members,omitempty"`
	Nodes   []protocol.NodeID `json:"nodes"` // on the card; a thief of the key may have put others there
	// Back are nodes that the card before had removed, Gone those that it listed and this one does not: where the key was stolen the card goes on
	// from the last one that was signed here, and whether the newer ones were the thief's or another node's of the organisation, people have to say.
	Back []protocol.NodeID `json:"nodes_back,omitempty"`
	Gone []protocol.NodeID `json:"nodes_gone,omitempty"`
}

// VoidAgreement is an agreement that a compromised key signed.
type VoidAgreement struct {
	ID      protocol.AgreementID `json:"id"`
	Title   string               `json:"title"`
	Parties []OrgRef             `json:"parties"` // the others
}

// ApplyRotation puts a rotation in force. It may be called again after it broke off.
func (n *Node) ApplyRotation(r RotationApply) (*RotationReport, error) {
	want := r.Rotation.Epoch.Op
	if n.keys.Op != nil && n.keys.Op.Public() == want {
		return n.applyRotation(r, n.keys.Op)
	}
	op, err := loadOp(filepath.Join(r.Dir, keyDir, pendingFile), r.Lock, n.org)
	if err != nil {
		return nil, err
	}
	if op == nil || op.Public() != want {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the rotation is of another request than the last one of this node; apply it where it was asked for, or ask again")
	}
	return n.applyRotation(r, op)
}

func (n *Node) applyRotation(r RotationApply, op crypto.OpSigner) (*RotationReport, error) {
	rot := r.Rotation
	own := n.OwnCard()
	if own == nil {
		return nil, ErrNotEnrolled
	}
	if rot.Request.Card.Org != n.org {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the rotation is of %s, not of this organisation", rot.Request.Card.Org.Short())
	}
	if m := rot.Missing(); len(m) > 0 {
		return nil, protocol.Errorf(protocol.ErrBadSignature, "%s is signed by %d root keys of its set, %d are needed; 'entente ceremony sign' adds those of other holders", m[0].What, m[0].Have, m[0].Need)
	}
	n.cardMu.Lock()
	defer n.cardMu.Unlock()
	base := rot.Request.Card
	switch {
	case string(own.Card.RootEpoch.Statement) == string(base.Card.RootEpoch.Statement):
		last := own
		if rot.Request.Reason == protocol.RetiredCompromised {
			var err error
			if last, err = n.signedHere(own); err != nil {
				return nil, err
			}
		}
		if base.Order.Less(last.Order) {
			base = last // nodes came and went meanwhile
		}
	case rot.Request.Kind == protocol.RotateOp:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "another root epoch came in force since this rotation was asked for, or it was applied already; 'entente key list' shows it")
	}
	c := base.Card
	if err := n.listSelf(&c); err != nil {
		return nil, err
	}
	c.Rotations = append(slices.Clone(c.Rotations), rot.File.Rotations...)
	now := uint64(nowMillis())
	c.RootEpoch, c.Serial, c.Issued, c.FreshUntil = rot.File.RootEpoch, 1, now, now+CardLife
	card, err := crypto.SignCard(&c, op)
	if err != nil {
		return nil, fmt.Errorf("signing card: %w", err)
	}
	// Nothing is written before it is known that everybody will take it.
	after, err := crypto.VerifyCard(&card)
	switch {
	case err != nil:
		return nil, fmt.Errorf("what the root keys signed does not hold: %w", err)
	case !own.Order.Less(after.Order):
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the card held here comes after this rotation: it was applied already, or others came; 'entente key list' shows what is in force, 'entente agreement list' the agreements that ended with the key before")
	case len(protocol.Encode(&c)) > protocol.MaxCardSize:
		return nil, protocol.Errorf(protocol.ErrOversize, "the card would have more than %d bytes; remove nodes, or addresses of nodes, and ask again", protocol.MaxCardSize)
	}
	before := n.snap.Load()
	// The key first: a card that names a key that nobody has could not be followed by another.
	if n.keys.Op == nil || n.keys.Op.Public() != op.Public() {
		if err := writeOp(r.Dir, r.Lock, n.org, op); err != nil {
			return nil, err
		}
	}
	n.keys.Op = op
	err = n.putOwnCardWith(&card, func(tx *store.Tx) error {
		d := n.details("another operational key in force", r.By)
		if rot.Request.Kind == protocol.RotateRoot {
			d.Act = "other root keys in force"
		}
		d.Reason, d.Text = reasonOf(rot.Request.Reason), fmt.Sprintf("request %s, root epoch %s, signed by %d root keys", rot.Request.Name, protocol.EpochText(rot.Epoch.Epoch), len(rot.File.RootEpoch.Sigs))
		_, err := n.account.Append(tx, audit.OwnKeys, d)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, errors.New("the new key is written, and the card is not: run the same again"))
	}
	if err := os.Remove(filepath.Join(r.Dir, keyDir, pendingFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return n.rotationReport(before, after), nil
}

// listSelf puts this node on a card that does not list it. The root says which node has the operational
// key, and that may put any node on the card: so it is where the only other one is gone.
func (n *Node) listSelf(c *protocol.Card) error {
	for i := range c.Nodes {
		if c.Nodes[i].Node == n.ID() {
			return nil
		}
	}
	if slices.ContainsFunc(c.Removed, func(r protocol.RemovedNode) bool { return r.Node == n.ID() }) {
		return protocol.Errorf(protocol.ErrWrongContext, "this node was revoked, and a revoked node does not come back; set up a new one with 'entente node request', and ask there")
	}
	if len(c.Nodes) >= protocol.MaxNodes {
		return protocol.Errorf(protocol.ErrOversize, "the card lists %d nodes, at most %d fit: give the operational key to one of them", len(c.Nodes), protocol.MaxNodes)
	}
	req, err := n.keys.request(nil)
	if err != nil {
		return err
	}
	c.Nodes = append(slices.Clone(c.Nodes), req.Entry)
	return nil
}

func (n *Node) rotationReport(before *snapshot, card *crypto.Card) *RotationReport {
	out := &RotationReport{Node: n.ID(), Epoch: protocol.EpochText(card.RootEpoch.Epoch), Rotations: len(card.Rotations), Nodes: []protocol.NodeID{}}
	for _, e := range card.Nodes {
		out.Nodes = append(out.Nodes, e.Node)
	}
	if was := before.cards[n.org]; was != nil {
		for _, r := range was.Removed {
			if card.Node(r.Node) != nil {
				out.Back = append(out.Back, r.Node)
			}
		}
		for _, e := range was.Nodes {
			if card.Node(e.Node) == nil {
				out.Gone = append(out.Gone, e.Node)
			}
		}
	}
	for _, a := range before.agreements {
		switch before.lives[a.ID].Stage(n.org, uint64(nowMillis())) {
		case AgreementRejected, AgreementTerminated, AgreementExpired:
			continue
		}
		if !slices.ContainsFunc(a.Signed.Sigs, func(s protocol.PartySignature) bool { return s.Org == n.org && !card.OpKeyValid(s.Key) }) {
			continue
		}
		v := VoidAgreement{ID: a.ID, Title: a.Title}
		for _, p := range a.Parties {
			if p != n.org {
				v.Parties = append(v.Parties, before.ref(p))
			}
		}
		out.Void = append(out.Void, v)
	}
	slices.SortFunc(out.Void, func(a, b VoidAgreement) int {
		return cmp.Or(cmp.Compare(a.Title, b.Title), slices.Compare(a.ID[:], b.ID[:]))
	})
	now := n.snap.Load()
	for _, org := range sortedOrgs(before.members) {
		if !now.members[org] {
			out.Members = append(out.Members, before.ref(org))
		}
	}
	return out
}
