package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// ErrNoOperationalKey is returned where a signature of the organisation is needed and its
// operational key is not on this machine.
var ErrNoOperationalKey = errors.New("this needs the organisation's operational key, which is not on this machine")

// ErrNoNetwork is returned before a network was created or joined.
var ErrNoNetwork = errors.New("this node is in no network yet; run 'entente network create' or 'entente network join'")

// CreateNetwork founds a network of which this organisation is founder and steward.
func (n *Node) CreateNetwork(name string) (protocol.NetworkID, error) {
	if n.op() == nil {
		return protocol.NoNetwork, ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return protocol.NoNetwork, err
	}
	if id := n.snap.Load().network; id != protocol.NoNetwork {
		return id, fmt.Errorf("this node is in network %s already; a node is in one network", id)
	}
	g := &protocol.Genesis{Version: 1, Name: name, Founder: n.org, Stewards: []protocol.OrgID{n.org}, Created: uint64(nowMillis())}
	rand.Read(g.Nonce[:])
	if err := g.Validate(); err != nil {
		return protocol.NoNetwork, err
	}
	id := g.ID()
	genesis, err := crypto.SignStatement(protocol.StatementGenesis, protocol.Encode(g), protocol.NoNetwork, n.org, n.op())
	if err != nil {
		return id, err
	}
	var secret [32]byte
	rand.Read(secret[:])
	share, err := n.shareSecret(id, 1, secret, n.OwnCard())
	if err != nil {
		return id, err
	}
	return id, n.change(func(tx *store.Tx) error {
		return errors.Join(
			putDoc(tx, kindSetting, []byte("network"), &networkDoc{Network: id}),
			putStatement(tx, &genesis), putStatement(tx, share),
			putDoc(tx, kindSecret, secretKey(1, secret), &secretDoc{Period: 1, Secret: secret}))
	})
}

// shareSecret signs a statement that gives a topic secret to the nodes of one organisation.
func (n *Node) shareSecret(network protocol.NetworkID, period uint32, secret [32]byte, to *crypto.Card) (*protocol.RosterStatement, error) {
	ts := &protocol.TopicSecret{Version: 1, Network: network, Issuer: n.org, Period: period,
		Commitment: protocol.CommitTopicSecret(secret), Created: uint64(nowMillis())}
	for _, e := range to.Nodes {
		sealed, err := crypto.SealTo(e.Recipient, secret[:])
		if err != nil {
			return nil, fmt.Errorf("sealing topic secret: %w", err)
		}
		ts.Shares = append(ts.Shares, protocol.SecretShare{Node: e.Node, Sealed: sealed})
	}
	st, err := crypto.SignStatement(protocol.StatementTopicSecret, protocol.Encode(ts), network, n.org, n.op())
	return &st, err
}

func putStatement(tx *store.Tx, st *protocol.RosterStatement) error {
	h := st.Hash()
	return putDoc(tx, kindRoster, h[:], st)
}

func secretKey(period uint32, secret [32]byte) []byte {
	h := protocol.CommitTopicSecret(secret)
	return fmt.Appendf(nil, "%010d/%x", period, h[:8])
}

// Invite makes an invitation for the organisation of a card: a sponsorship bound to it, the
// topic secrets sealed to its nodes, the statements and cards of the network, and where to
// find this node. The invitation holds nothing secret in clear. The invitee becomes a member
// when it says hello to any member, before the invitation expires.
func (n *Node) Invite(signed *protocol.SignedCard, validFor time.Duration) (*protocol.Invite, error) {
	s := n.snap.Load()
	switch {
	case s.genesis == nil:
		return nil, ErrNoNetwork
	case n.op() == nil:
		return nil, ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return nil, err
	}
	card, err := crypto.VerifyCard(signed)
	if err != nil {
		return nil, fmt.Errorf("reading the invitee's card: %w", err)
	}
	if !card.Fresh(uint64(nowMillis())) {
		return nil, protocol.Errorf(protocol.ErrExpired, "the card of %s is no longer fresh; ask for a new one", card.Inception.Name)
	}
	if _, gone := s.removed[card.Org]; gone && !slices.Contains(s.genesis.Stewards, n.org) {
		return nil, fmt.Errorf("%s was removed from the network; only a steward may invite it again", card.Inception.Name)
	}
	now := uint64(nowMillis())
	sp := &protocol.Sponsorship{Version: 1, Network: s.network, Sponsor: n.org, Invitee: card.Org, Card: signed.Hash(),
		Issued: now, Expires: now + uint64(validFor.Milliseconds())}
	rand.Read(sp.Nonce[:])
	if err := sp.Validate(); err != nil {
		return nil, err
	}
	sponsorship, err := crypto.SignStatement(protocol.StatementSponsorship, protocol.Encode(sp), s.network, n.org, n.op())
	if err != nil {
		return nil, err
	}
	add := []*protocol.RosterStatement{&sponsorship}
	for period, secrets := range s.secrets {
		for _, secret := range secrets {
			st, err := n.shareSecret(s.network, period, secret, card)
			if err != nil {
				return nil, err
			}
			add = append(add, st)
		}
	}
	// None of it enters the roster here: an invitation that nobody uses leaves no trace, and
	// one that is used late is refused, because nobody knows it.
	if err := n.change(func(tx *store.Tx) error {
		return errors.Join(n.keepCard(tx, card), n.auditInvite(tx, card.Org, sp.Expires))
	}); err != nil {
		return nil, err
	}
	inv := n.invitation(card.Org)
	for _, st := range add {
		inv.Statements = append(inv.Statements, *st)
	}
	return inv, nil
}

func (n *Node) invitation(invitee protocol.OrgID) *protocol.Invite {
	s := n.snap.Load()
	inv := &protocol.Invite{Version: 1, Invitee: invitee}
	own := n.OwnCard()
	for _, e := range own.Nodes {
		addrs := e.Addrs
		if net := n.net.Load(); e.Node == n.ID() && net != nil && len(addrs) == 0 {
			addrs = net.cardAddrs()
		}
		inv.Bootstrap = append(inv.Bootstrap, protocol.Bootstrap{Node: e.Node, Addrs: addrs})
	}
	for _, b := range s.bootstrap {
		if len(inv.Bootstrap) < protocol.MaxAddrs {
			inv.Bootstrap = append(inv.Bootstrap, b)
		}
	}
	for _, c := range s.cards {
		if s.rostered(c.Org) {
			inv.Cards = append(inv.Cards, c.Signed)
		}
	}
	for _, st := range s.statements {
		inv.Statements = append(inv.Statements, *st)
	}
	return inv
}

// keepCard stores a card if it comes after the one that is held. Two cards of one order that
// differ are a sign of a stolen key: the earlier is kept, and nothing is granted against it
// until a later one comes.
func (n *Node) keepCard(tx *store.Tx, c *crypto.Card) error {
	var held protocol.SignedCard
	ok, err := getDoc(tx, kindCard, c.Org[:], &held)
	if err != nil {
		return err
	}
	if ok {
		old, err := n.verifyCard(&held)
		if err != nil {
			return err
		}
		if old.Order == c.Order && old.Hash != c.Hash {
			n.log.Error("two cards of one order; keeping the earlier: one of the organisation's keys may be stolen", "org", c.Org)
			if err := putDoc(tx, kindConflict, c.Org[:], &conflictDoc{Order: c.Order, At: uint64(nowMillis())}); err != nil {
				return err
			}
		}
		if !old.Order.Less(c.Order) {
			return nil
		}
	}
	return putDoc(tx, kindCard, c.Org[:], &c.Signed)
}

// Join enters the network of an invitation.
func (n *Node) Join(inv *protocol.Invite) (protocol.NetworkID, error) {
	if inv.Invitee != n.org {
		return protocol.NoNetwork, protocol.Errorf(protocol.ErrWrongContext, "this invitation is for %s, not for this organisation", inv.Invitee.Short())
	}
	var network protocol.NetworkID
	for i := range inv.Statements {
		if inv.Statements[i].Kind != protocol.StatementGenesis {
			continue
		}
		var g protocol.Genesis
		if err := protocol.Decode(inv.Statements[i].Statement, protocol.MaxStatementSize, &g); err != nil {
			return network, err
		}
		if network != protocol.NoNetwork {
			return network, protocol.Errorf(protocol.ErrMalformed, "the invitation holds two founding statements")
		}
		network = g.ID()
	}
	if network == protocol.NoNetwork {
		return network, protocol.Errorf(protocol.ErrMalformed, "the invitation holds no founding statement")
	}
	if held := n.snap.Load().network; held != protocol.NoNetwork && held != network {
		return network, fmt.Errorf("this node is in network %s already; a node is in one network", held)
	}
	err := n.change(func(tx *store.Tx) error {
		if err := putDoc(tx, kindSetting, []byte("network"), &networkDoc{Network: network, Bootstrap: inv.Bootstrap}); err != nil {
			return err
		}
		_, err := n.takeSets(tx, network, inv.Cards, inv.Statements)
		return err
	})
	if err != nil {
		return network, err
	}
	s := n.snap.Load()
	if !s.members[n.org] {
		return network, errors.Join(protocol.Errorf(protocol.ErrBadSignature, "the invitation does not make this organisation a member: its sponsorship is missing or not signed by a member"), n.leave())
	}
	return network, nil
}

// leave undoes a join that turned out not to be valid.
func (n *Node) leave() error {
	return n.change(func(tx *store.Tx) error { return tx.Delete([]byte(kindSetting + "network")) })
}

// taken says what became of cards and roster statements from outside.
type taken struct{ kept, left int }

// takeSets keeps cards and roster statements from outside: whatever verifies, belongs to the
// network, and is of a member, or makes one. The rest is left out; it does not spoil what is
// good, and it does not fill the store. Cards come first, since statements are verified with
// them.
func (n *Node) takeSets(tx *store.Tx, network protocol.NetworkID, cards []protocol.SignedCard, statements []protocol.RosterStatement) (taken, error) {
	var out taken
	strangers := map[protocol.OrgID]bool{}
	for i := range cards {
		c, err := n.verifyCard(&cards[i])
		if err != nil {
			n.log.Warn("leaving out a card", "err", err)
			out.left++
			continue
		}
		key := append([]byte(kindCard), c.Org[:]...)
		held, err := tx.Get(key)
		if err != nil {
			return out, err
		}
		if err := n.keepCard(tx, c); err != nil {
			return out, err
		}
		out.kept++
		strangers[c.Org] = held == nil
	}
	s := newSnapshot(0)
	s.network = network
	if err := n.loadCards(tx, s); err != nil {
		return out, err
	}
	var fresh []*protocol.RosterStatement
	for i := range statements {
		st := &statements[i]
		if _, err := n.verifyStatement(s, st); err != nil {
			n.log.Debug("leaving out a roster statement", "err", err)
			out.left++
			continue
		}
		h := st.Hash()
		if held, err := tx.Get(append([]byte(kindRoster), h[:]...)); err != nil {
			return out, err
		} else if held != nil {
			continue
		}
		if err := putStatement(tx, st); err != nil {
			return out, err
		}
		fresh = append(fresh, st)
	}
	return out, n.dropStrangers(tx, s, strangers, fresh, &out)
}

// dropStrangers takes out again what is of no member, and opens topic secrets of members.
func (n *Node) dropStrangers(tx *store.Tx, s *snapshot, strangers map[protocol.OrgID]bool, fresh []*protocol.RosterStatement, out *taken) error {
	if err := n.loadRoster(tx, s); err != nil {
		return err
	}
	bySigner := map[protocol.OrgID]int{}
	for _, st := range s.statements {
		bySigner[st.Signer]++
	}
	for _, st := range fresh {
		h := st.Hash()
		// What a member said before it was removed goes on counting: whom it sponsored stays.
		_, removed := s.removed[st.Signer]
		if !s.members[st.Signer] && !removed && st.Kind != protocol.StatementGenesis || bySigner[st.Signer] > protocol.MaxStatementsPerSigner {
			out.left++
			bySigner[st.Signer]--
			if err := tx.Delete(append([]byte(kindRoster), h[:]...)); err != nil {
				return err
			}
			continue
		}
		out.kept++
		if st.Kind != protocol.StatementTopicSecret {
			continue
		}
		body, err := n.verifyStatement(s, st)
		if err != nil {
			return err
		}
		if err := n.takeSecret(tx, body.(*protocol.TopicSecret)); err != nil {
			return err
		}
	}
	for org, stranger := range strangers {
		if _, removed := s.removed[org]; stranger && !s.members[org] && !removed {
			out.kept--
			out.left++
			if err := tx.Delete(append([]byte(kindCard), org[:]...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeSecret opens this node's share of a topic secret, if there is one.
func (n *Node) takeSecret(tx *store.Tx, ts *protocol.TopicSecret) error {
	for _, share := range ts.Shares {
		if share.Node != n.ID() {
			continue
		}
		for _, id := range n.identities() {
			plain, err := id.OpenSealed(share.Sealed)
			if err != nil || len(plain) != 32 {
				continue
			}
			secret := [32]byte(plain)
			if protocol.CommitTopicSecret(secret) != ts.Commitment {
				n.log.Warn("leaving out a topic secret that is not the one committed to", "issuer", ts.Issuer)
				return nil
			}
			return putDoc(tx, kindSecret, secretKey(ts.Period, secret), &secretDoc{Period: ts.Period, Secret: secret})
		}
	}
	return nil
}

// Trust pins an organisation: a person compared the words of its fingerprint with what its
// people say. It opens nothing by itself; an agreement does.
func (n *Node) Trust(signed *protocol.SignedCard, words string) (*crypto.Card, error) {
	c, err := crypto.VerifyCard(signed)
	if err != nil {
		return nil, fmt.Errorf("reading card: %w", err)
	}
	if !crypto.MatchWords(c.Org, words) {
		return nil, protocol.Errorf(protocol.ErrBadSignature, "the words do not belong to this card; ask %s by phone to read them out from 'entente id'", c.Inception.Name)
	}
	return c, n.change(func(tx *store.Tx) error {
		if err := n.keepCard(tx, c); err != nil {
			return err
		}
		at, err := nowAfter(tx, kindPin, c.Org[:])
		return errors.Join(err, setPin(tx, c.Org, at, true))
	})
}

// Untrust takes a pin back. Agreements with the organisation stay until they are terminated.
func (n *Node) Untrust(org protocol.OrgID) error {
	if _, ok := n.snap.Load().pins[org]; !ok {
		return fmt.Errorf("%s is not trusted", org.Short())
	}
	return n.change(func(tx *store.Tx) error {
		at, err := nowAfter(tx, kindPin, org[:])
		return errors.Join(err, setPin(tx, org, at, false))
	})
}

// RemoveMember takes a member out of the network. Only a steward can.
func (n *Node) RemoveMember(org protocol.OrgID, reason string) error {
	s := n.snap.Load()
	switch {
	case s.genesis == nil:
		return ErrNoNetwork
	case n.op() == nil:
		return ErrNoOperationalKey
	case !slices.Contains(s.genesis.Stewards, n.org):
		return errors.New("only a steward of the network may remove a member")
	case !s.members[org]:
		return fmt.Errorf("%s is not a member of the network", org.Short())
	case org == n.org:
		return errors.New("a steward does not remove itself; another steward has to")
	}
	if err := n.believeClock(); err != nil {
		return err
	}
	r := &protocol.Removal{Version: 1, Network: s.network, Steward: n.org, Removed: org, At: uint64(nowMillis()), Reason: reason}
	if err := r.Validate(); err != nil {
		return err
	}
	st, err := crypto.SignStatement(protocol.StatementRemoval, protocol.Encode(r), s.network, n.org, n.op())
	if err != nil {
		return err
	}
	var secret [32]byte
	rand.Read(secret[:])
	var period uint32 = 1
	for p := range s.secrets {
		period = max(period, p+1)
	}
	shares := []*protocol.RosterStatement{&st}
	for member := range s.members {
		if c := s.cards[member]; c != nil && member != org {
			share, err := n.shareSecret(s.network, period, secret, c)
			if err != nil {
				return err
			}
			shares = append(shares, share)
		}
	}
	return n.change(func(tx *store.Tx) error {
		for _, st := range shares {
			if err := putStatement(tx, st); err != nil {
				return err
			}
		}
		return putDoc(tx, kindSecret, secretKey(period, secret), &secretDoc{Period: period, Secret: secret})
	})
}
