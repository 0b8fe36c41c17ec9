package node

import (
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// ownHello is what this node says to a peer that may not know it: its card, and the chain
// of sponsorships from itself up to the founder.
func (net *network) ownHello() []byte {
	n := net.n
	s := n.snap.Load()
	own := s.cards[n.org]
	h := &protocol.Hello{Version: 1, Network: s.network, Card: own.Signed}
	for org, steps := n.org, 0; steps < 16; steps++ {
		sponsor, ok := s.sponsors[org]
		if !ok {
			break
		}
		if st := s.sponsorship(sponsor, org); st != nil {
			h.Statements = append(h.Statements, *st)
		}
		org = sponsor
	}
	return protocol.Encode(h)
}

// tellCard says hello again to all peers if the own card is another than when it last did. Where a node is
// reached stands on its card, and peers would learn of it a minute later by the sync. It never waits.
func (net *network) tellCard() {
	if own := net.n.OwnCard(); own != nil && own.Signed.Hash() != net.toldCard {
		net.toldCard = own.Signed.Hash()
		net.mesh.GreetAll()
	}
}

// sponsorship finds the statement by which sponsor brought invitee in.
func (s *snapshot) sponsorship(sponsor, invitee protocol.OrgID) *protocol.RosterStatement {
	for _, st := range s.statements {
		if st.Kind != protocol.StatementSponsorship || st.Signer != sponsor {
			continue
		}
		var sp protocol.Sponsorship
		if protocol.Decode(st.Statement, protocol.MaxStatementSize, &sp) == nil && sp.Invitee == invitee {
			return st
		}
	}
	return nil
}

// hello judges what a peer said of itself. Whoever presents a card that lists its node, and
// a sponsorship by a member that is known here or not yet expired, becomes known.
func (net *network) hello(remote protocol.NodeID, data []byte) error {
	n := net.n
	var h protocol.Hello
	if err := protocol.Decode(data, protocol.MaxHelloSize, &h); err != nil {
		return err
	}
	s := n.snap.Load()
	if h.Network != s.network {
		return protocol.Errorf(protocol.ErrWrongContext, "peer is of another network")
	}
	card, err := n.verifyCard(&h.Card)
	if err != nil {
		return err
	}
	if card.Node(remote) == nil {
		return protocol.Errorf(protocol.ErrUnknownAuthor, "peer's node is not on the card of %s that it presents", card.Inception.Name)
	}
	if !card.Fresh(uint64(nowMillis())) {
		return protocol.Errorf(protocol.ErrExpired, "the card of %s is no longer fresh; it has to renew it", card.Inception.Name)
	}
	held := s.cards[card.Org]
	if s.members[card.Org] && held != nil && !held.Order.Less(card.Order) {
		if held.Node(remote) == nil {
			return protocol.Errorf(protocol.ErrUnknownAuthor, "the newest card of %s does not list this node; was it removed?", card.Inception.Name)
		}
		return nil
	}
	var fresh []protocol.RosterStatement
	for i := range h.Statements {
		st := &h.Statements[i]
		if st.Kind != protocol.StatementSponsorship {
			return protocol.Errorf(protocol.ErrMalformed, "a hello holds sponsorships only")
		}
		if s.statements[st.Hash()] != nil {
			continue
		}
		var sp protocol.Sponsorship
		if err := protocol.Decode(st.Statement, protocol.MaxStatementSize, &sp); err != nil {
			return err
		}
		if uint64(nowMillis()) >= sp.Expires {
			if sp.Invitee != card.Org {
				continue // how its sponsor came in is told by the sync
			}
			return protocol.Errorf(protocol.ErrExpired, "the invitation of %s has expired; it needs a new one", card.Inception.Name)
		}
		if !s.members[sp.Sponsor] && sp.Invitee != card.Org {
			continue
		}
		fresh = append(fresh, *st)
	}
	if !s.members[card.Org] {
		// Nothing is stored for a stranger: its sponsor must be a member already.
		vouched := false
		for i := range fresh {
			if c := s.cards[fresh[i].Signer]; c != nil && s.members[fresh[i].Signer] {
				_, err := n.verifyStatement(s, &fresh[i])
				vouched = vouched || err == nil
			}
		}
		if !vouched {
			return protocol.Errorf(protocol.ErrUnknownAuthor, "%s is not a member of this network, and presents no invitation by a member known here", card.Inception.Name)
		}
	}
	err = n.change(func(tx *store.Tx) error {
		_, err := n.takeSets(tx, s.network, []protocol.SignedCard{h.Card}, fresh)
		return err
	})
	if err != nil {
		return err
	}
	if _, ok := net.known(remote); !ok {
		return protocol.Errorf(protocol.ErrUnknownAuthor, "%s is not a member of this network", card.Inception.Name)
	}
	return nil
}
