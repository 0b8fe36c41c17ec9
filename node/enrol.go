package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// ErrNotEnrolled is returned where a node does something that its card does not let it do: it
// was not put on it yet, or was removed.
var ErrNotEnrolled = errors.New("this node is not on its organisation's card: run 'entente node enrol' with the file that 'entente node approve' made where the operational key is; if it was removed, set up a new one")

// RequestInit makes a new node of an organisation that exists.
type RequestInit struct {
	Dir        string               // data directory; must not hold keys yet
	Card       *protocol.SignedCard // of the organisation
	Addrs      []string             // announced multiaddrs; may be set later
	Passphrase []byte               // empty: a key file with mode 0600 in the data directory
}

// NewNode makes the keys of a new node, and the request to be put on its organisation's card.
func NewNode(org protocol.OrgID, addrs []string) (*Keys, *crypto.NodeRequest, error) {
	id, err := crypto.GenerateIdentity()
	if err != nil {
		return nil, nil, fmt.Errorf("generating age identity: %w", err)
	}
	k := &Keys{Org: org, Host: crypto.GenerateNode(), Signing: crypto.GenerateSigning(), Identities: []*crypto.Identity{id}, times: madeNow(id)}
	rand.Read(k.Store[:])
	r, err := k.request(addrs)
	return k, r, err
}

// request asks for a place on the card with the keys that there are.
func (k *Keys) request(addrs []string) (*crypto.NodeRequest, error) {
	now := uint64(nowMillis())
	signed, err := crypto.SignNodeRequest(&protocol.NodeRequest{Version: 1, Org: k.Org, Entry: protocol.NodeEntry{
		Node: k.Host.Public(), Signing: k.Signing.Public(), Recipient: k.Identities[0].Recipient(), NotBefore: now, NotAfter: now + nodeLife,
		Addrs: addrs, Binding: crypto.BindNode(k.Org, k.Host, k.Signing)}}, k.Signing)
	if err != nil {
		return nil, err
	}
	return crypto.VerifyNodeRequest(&signed)
}

// RequestNode makes a new node on disk. It does nothing before it is enrolled. Nothing is
// overwritten.
func RequestNode(r RequestInit) (*crypto.NodeRequest, error) {
	card, err := crypto.VerifyCard(r.Card)
	if err != nil {
		return nil, fmt.Errorf("reading the organisation's card: %w", err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, keyDir, nodeFile)); err == nil {
		return nil, fmt.Errorf("%s holds a node already; choose another --dir for the new one", r.Dir)
	}
	k, req, err := NewNode(card.Org, r.Addrs)
	if err != nil {
		return nil, err
	}
	lock, err := makeLock(r.Dir, r.Passphrase)
	if err != nil {
		return nil, err
	}
	if err := writeKeys(r.Dir, lock, k); err != nil {
		return nil, err
	}
	n, err := Open(Config{Dir: r.Dir, Keys: k})
	if err != nil {
		return nil, err
	}
	return req, errors.Join(n.putOwnCard(r.Card), n.Close())
}

// makeLock makes a data directory and what seals the keys in it.
func makeLock(dir string, passphrase []byte) (crypto.Lock, error) {
	if err := os.MkdirAll(filepath.Join(dir, keyDir), 0o700); err != nil {
		return nil, fmt.Errorf("making data directory: %w", err)
	}
	if len(passphrase) > 0 {
		return crypto.PassphraseLock(passphrase), nil
	}
	kf := crypto.NewKeyFile()
	if err := writeDurable(filepath.Join(dir, keyDir, lockFile), kf); err != nil {
		return nil, err
	}
	return crypto.KeyFileLock(kf)
}

// ApproveNode puts the node of a request on this organisation's card, and returns what the
// node needs to begin: the card, the network, the topic secrets sealed to it. words are those
// that the new machine shows: whoever approves compares them, since a request comes by any
// way. Approving twice is harmless.
func (n *Node) ApproveNode(signed *protocol.Signed, words string) (*protocol.Invite, error) {
	if n.op() == nil {
		return nil, ErrNoOperationalKey
	}
	r, err := crypto.VerifyNodeRequest(signed)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the request: %w", err)
	case r.Org != n.org:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the request is to %s, not to this organisation", r.Org.Short())
	case !r.MatchWords(words):
		return nil, protocol.Errorf(protocol.ErrBadSignature, "the words do not belong to this request; read them from the screen of the new machine")
	}
	if _, err := crypto.SealTo(r.Entry.Recipient, nil); err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "nothing can be sealed to the age recipient of the request: %v", err)
	}
	own := n.OwnCard()
	if slices.ContainsFunc(own.Removed, func(x protocol.RemovedNode) bool { return x.Node == r.Entry.Node || x.Signing == r.Entry.Signing }) {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "this node was removed, and a removed node does not come back; set up a new one with 'entente node request'")
	}
	if own.Node(r.Entry.Node) == nil {
		err = n.amendCard(func(c *protocol.Card) error {
			if len(c.Nodes) >= protocol.MaxNodes {
				return protocol.Errorf(protocol.ErrOversize, "the card lists %d nodes, at most %d fit; remove one first", len(c.Nodes), protocol.MaxNodes)
			}
			e := r.Entry
			e.NotBefore = uint64(nowMillis())
			e.NotAfter = e.NotBefore + nodeLife
			c.Nodes = append(slices.Clone(c.Nodes), e)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return n.enrolment(&r.Entry)
}

// amendCard signs the next version of the own card.
func (n *Node) amendCard(change func(c *protocol.Card) error) error {
	return n.amendCardWith(func(*store.Tx) error { return nil }, change)
}

// amendCardWith commits it together with what fn writes.
func (n *Node) amendCardWith(fn func(tx *store.Tx) error, change func(c *protocol.Card) error) error {
	if n.op() == nil {
		return ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return err
	}
	n.cardMu.Lock()
	defer n.cardMu.Unlock()
	c := n.OwnCard().Card
	if err := change(&c); err != nil {
		return err
	}
	now := uint64(nowMillis())
	c.Serial++
	c.Issued, c.FreshUntil = now, now+CardLife
	// Removing is never blocked by a size: what was removed longest ago goes first.
	for len(c.Removed) > protocol.MaxRemovedNodes || len(protocol.Encode(&c)) > protocol.MaxCardSize && len(c.Removed) > 1 {
		c.Removed = c.Removed[1:]
	}
	if len(protocol.Encode(&c)) > protocol.MaxCardSize {
		return protocol.Errorf(protocol.ErrOversize, "the card would have more than %d bytes; remove nodes, or addresses of nodes", protocol.MaxCardSize)
	}
	signed, err := crypto.SignCard(&c, n.op())
	if err != nil {
		return fmt.Errorf("signing card: %w", err)
	}
	return n.putOwnCardWith(&signed, fn)
}

// enrolment is what a node on the card needs to begin.
func (n *Node) enrolment(e *protocol.NodeEntry) (*protocol.Invite, error) {
	s := n.snap.Load()
	inv := n.invitation(n.org)
	if !slices.ContainsFunc(inv.Cards, func(c protocol.SignedCard) bool { return c.Hash() == n.OwnCard().Hash }) {
		inv.Cards = append(inv.Cards, n.OwnCard().Signed)
	}
	if s.genesis == nil {
		return inv, nil
	}
	only := &crypto.Card{Card: protocol.Card{Nodes: []protocol.NodeEntry{*e}}}
	for _, period := range sortedPeriods(s.secrets) {
		for _, secret := range s.secrets[period] {
			st, err := n.shareSecret(s.network, period, secret, only)
			if err != nil {
				return nil, err
			}
			inv.Statements = append(inv.Statements, *st)
		}
	}
	return inv, nil
}

// Enrol takes what ApproveNode returned: from now on this node is one of its organisation's.
func (n *Node) Enrol(inv *protocol.Invite) (protocol.NetworkID, error) {
	if inv.Invitee != n.org {
		return protocol.NoNetwork, protocol.Errorf(protocol.ErrWrongContext, "this enrolment is for %s, not for this organisation", inv.Invitee.Short())
	}
	var own *crypto.Card
	for i := range inv.Cards {
		if c, err := crypto.VerifyCard(&inv.Cards[i]); err == nil && c.Org == n.org {
			own = c
		}
	}
	if own == nil || own.Node(n.ID()) == nil {
		return protocol.NoNetwork, protocol.Errorf(protocol.ErrWrongContext, "the card in this enrolment does not list this node; it was made for another request")
	}
	if err := n.change(func(tx *store.Tx) error { return n.keepCard(tx, own) }); err != nil {
		return protocol.NoNetwork, err
	}
	if len(inv.Statements) == 0 {
		return protocol.NoNetwork, nil // the organisation is in no network yet
	}
	return n.Join(inv)
}

// enrolled refuses what only a node on the card may do.
func (s *snapshot) enrolled(org protocol.OrgID, self protocol.NodeID) error {
	if c := s.cards[org]; c == nil || c.Node(self) == nil {
		return ErrNotEnrolled
	}
	return nil
}

// Enrolled reports whether this node stands on its organisation's card.
func (n *Node) Enrolled() error { return n.snap.Load().enrolled(n.org, n.ID()) }

// RemoveNode takes a node off the card: it is not admitted any more, and gets no new key. The
// card says where its feeds end: what it wrote after that counts nowhere. So it is refused
// while this node knows that it lacks entries of it, unless now says that it has to be.
func (n *Node) RemoveNode(id protocol.NodeID, now bool) (*RemovedNodeReport, error) {
	return n.RevokeNode(RevokeRequest{Node: id, Reason: NodeRetired, Now: now})
}

// NodeReason says why a node's keys end. The audit log keeps it; the card does not tell.
type NodeReason string

// The reasons.
const (
	NodeRetired NodeReason = "retired" // it is not used any more, and its keys were in nobody else's hands
	NodeLost    NodeReason = "lost"    // it is gone, with its keys: nobody waits for what it may still have to say
	NodeStolen  NodeReason = "stolen"  // somebody else may have its keys: it ends at once
)

// RevokeRequest ends the keys of a node.
type RevokeRequest struct {
	Node   protocol.NodeID
	Reason NodeReason
	Now    bool // also while entries of it are missing here; so it is where it was stolen or lost
	By     Caller
}

// RevokeNode takes a node off the card, with a reason; see RemoveNode.
func (n *Node) RevokeNode(r RevokeRequest) (*RemovedNodeReport, error) {
	id, now := r.Node, r.Now
	switch r.Reason {
	case NodeStolen, NodeLost:
		now = true
	case NodeRetired:
	default:
		return nil, protocol.Errorf(protocol.ErrMalformed, "%q is no reason to revoke a node; use stolen, lost or retired", audit.Clip(string(r.Reason), audit.MaxName))
	}
	own := n.OwnCard()
	e := own.Node(id)
	switch {
	case n.op() == nil:
		return nil, ErrNoOperationalKey
	case e == nil:
		return nil, fmt.Errorf("node %s is not on the card; 'entente node list' shows those that are: %w", id, ErrNotFound)
	case id == n.ID():
		return nil, errors.New("a node does not remove itself: give another node the operational key with 'entente node promote', and run this there")
	}
	feeds, err := n.Feeds()
	if err != nil {
		return nil, err
	}
	rep := &RemovedNodeReport{Node: id, Reason: r.Reason}
	for i := range feeds {
		if feeds[i].Node == id {
			rep.Missing += feeds[i].Missing
		}
	}
	if rep.Missing > 0 && !now {
		return nil, fmt.Errorf("%d entries of that node are missing here, and would count nowhere; wait until 'entente feeds --missing' does not show them, or give --now", rep.Missing)
	}
	err = n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if f.Origin.Signing != e.Signing || f.Good() == 0 {
				return nil
			}
			h, err := n.hashAt(tx, f.ID, f.Good())
			rep.Heads = append(rep.Heads, protocol.FeedHead{Feed: f.ID, Seq: f.Good(), Hash: h})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rep.Heads, func(a, b protocol.FeedHead) int { return cmp.Compare(b.Seq, a.Seq) })
	if more := len(rep.Heads) - protocol.MaxFinalHeads; more > 0 {
		if !now {
			return nil, fmt.Errorf("that node has %d feeds, and a card says of %d where they end: what it published in the %d others would count nowhere until 'entente node reseal' seals it anew; give --now to do that", len(rep.Heads), protocol.MaxFinalHeads, more)
		}
		rep.Heads = rep.Heads[:protocol.MaxFinalHeads]
	}
	d := n.details("revoke node", r.By)
	d.Reason, d.Text = string(r.Reason), id.String()
	err = n.amendCardWith(func(tx *store.Tx) error {
		_, err := n.account.Append(tx, audit.OwnKeys, d)
		return err
	}, func(c *protocol.Card) error {
		c.Nodes = slices.DeleteFunc(slices.Clone(c.Nodes), func(x protocol.NodeEntry) bool { return x.Node == id })
		c.Removed = append(slices.Clone(c.Removed), protocol.RemovedNode{Node: id, Signing: e.Signing, At: uint64(nowMillis()), Heads: rep.Heads, Binding: e.Binding})
		return nil
	})
	if err == nil {
		n.tryErasures() // what waited for that node is this one's to do now
	}
	return rep, err
}

// Lapsed reports whether a node is on the card and its time has passed.
func (n *Node) Lapsed(id protocol.NodeID) bool {
	e := n.OwnCard().Node(id)
	return e != nil && uint64(nowMillis()) >= e.NotAfter
}

// RenewNode gives a node on the card another year, also one whose time has passed: after a
// restore, people say so of the nodes that live (SPEC 26).
func (n *Node) RenewNode(c Caller, id protocol.NodeID) error {
	if n.op() == nil {
		return ErrNoOperationalKey
	}
	e := n.OwnCard().Node(id)
	if e == nil {
		return fmt.Errorf("node %s is not on the card; 'entente node list' shows those that are: %w", id, ErrNotFound)
	}
	d := n.details("renew node", c)
	d.Text = id.String()
	if e.NotAfter <= uint64(nowMillis()) { // else it would have come by itself
		d.Reason = "its time had passed on " + millis(e.NotAfter).Format(time.RFC3339)
	}
	return n.amendCardWith(func(tx *store.Tx) error {
		_, err := n.account.Append(tx, audit.OwnKeys, d)
		return err
	}, func(c *protocol.Card) error {
		c.Nodes = slices.Clone(c.Nodes)
		for i := range c.Nodes {
			if c.Nodes[i].Node == id {
				c.Nodes[i].NotAfter = uint64(nowMillis()) + nodeLife
			}
		}
		return nil
	})
}

// RemovedNodeReport says where the feeds of a removed node end.
type RemovedNodeReport struct {
	Node    protocol.NodeID     `json:"node"`
	Heads   []protocol.FeedHead `json:"final_heads"`
	Missing uint64              `json:"missing"` // entries that were known to be and that count nowhere now
	Reason  NodeReason          `json:"reason"`
}

// ResealRemoved publishes again, in this node's feeds, what a removed node published after
// the last entry that counts, as far as it is held here: after people decided that it was
// genuine. It returns how many entries it sealed anew, withdrawals among them.
func (n *Node) ResealRemoved(ctx context.Context, id protocol.NodeID) (count int, err error) {
	if err := n.usable(); err != nil {
		return 0, err
	}
	s := n.snap.Load()
	var list []leftPart
	found := false
	err = n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			sg := s.signers[f.Origin.Signing]
			if sg.node != id || sg.org != n.org || !sg.removed {
				return nil
			}
			found = true
			topic, in := s.topics[f.Origin.Topic]
			if !in || topic == protocol.ControlTopic {
				return nil
			}
			left, err := leftOf(tx, f.ID, topic, s.lastOf(&f.Origin, f.ID)+1, f.Seq)
			list = append(list, left)
			return err
		})
	})
	if err == nil && !found {
		err = fmt.Errorf("no removed node %s of this organisation has entries here: %w", id, ErrNotFound)
	}
	if err != nil {
		return 0, err
	}
	count, err = n.sealAnew(ctx, list)
	n.tryErasures() // what was to be kept of these entries stands elsewhere now
	return count, err
}

// OwnNode is a node of this organisation.
type OwnNode struct {
	Node      protocol.NodeID `json:"node"`
	This      bool            `json:"this,omitempty"`
	Addrs     []string        `json:"addresses"`
	NotAfter  time.Time       `json:"not_after"`
	Connected bool            `json:"connected"`
	Compared  *time.Time      `json:"compared,omitempty"` // when this node last compared with it
	Same      bool            `json:"same"`               // it then held nothing that is lacking here
	Removed   *time.Time      `json:"removed,omitempty"`
}

// OwnNodes lists the nodes of this organisation, removed ones last.
func (n *Node) OwnNodes() []OwnNode {
	out := []OwnNode{}
	own := n.OwnCard()
	if own == nil {
		return out
	}
	connected := map[protocol.NodeID]bool{}
	marks := map[protocol.NodeID]siblingMark{}
	if net := n.net.Load(); net != nil {
		for _, p := range net.mesh.Peers() {
			connected[p.Node] = true
		}
		net.mu.Lock()
		for id, m := range net.siblings {
			marks[id] = m
		}
		net.mu.Unlock()
	}
	for _, e := range own.Nodes {
		o := OwnNode{Node: e.Node, This: e.Node == n.ID(), Addrs: append([]string{}, e.Addrs...), NotAfter: millis(e.NotAfter), Connected: connected[e.Node]}
		if m, ok := marks[e.Node]; ok {
			at := m.at.UTC()
			o.Compared, o.Same = &at, m.equal
		}
		out = append(out, o)
	}
	for _, r := range own.Removed {
		at := millis(r.At)
		out = append(out, OwnNode{Node: r.Node, This: r.Node == n.ID(), Addrs: []string{}, Removed: &at})
	}
	return out
}

// FindNode finds a node of this organisation by id, or by the end of its id.
func (n *Node) FindNode(text string) (protocol.NodeID, error) {
	var found []protocol.NodeID
	for _, o := range n.OwnNodes() {
		id := o.Node.String()
		if id == text || len(text) >= 6 && len(id) > len(text) && id[len(id)-len(text):] == text {
			found = append(found, o.Node)
		}
	}
	if len(found) != 1 {
		return protocol.NodeID{}, fmt.Errorf("%d nodes of this organisation are called %q; 'entente node list' shows them: %w", len(found), text, ErrNotFound)
	}
	return found[0], nil
}
