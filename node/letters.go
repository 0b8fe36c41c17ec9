package node

import (
	"fmt"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// sendLetters appends a letter for every node of every other party to this node's feed in
// the control topic. Gossip and sync carry it like any entry, so neither side has to be on
// line when the other is.
func (n *Node) sendLetters(parties []protocol.OrgID, kind protocol.LetterKind, content []byte) error {
	s := n.snap.Load()
	return n.append(protocol.ControlTopic, func(a *appender) error {
		for _, org := range parties {
			card := s.cards[org]
			if org == n.org || card == nil {
				continue
			}
			for _, e := range card.Nodes {
				plain := protocol.Encode(&protocol.Letter{Version: 1, Network: s.network, Sender: n.org, Feed: a.feed.ID,
					Seq: a.nextSeq(), Recipient: e.Node, Kind: kind, Content: content})
				sealed, err := crypto.SealTo(e.Recipient, plain)
				if err != nil {
					return fmt.Errorf("sealing letter: %w", err)
				}
				if err := a.add(protocol.EntryLetter, sealed); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// openLetter opens a letter if it is for this node. ErrNotInAudience says that it is not.
func (n *Node) openLetter(s *snapshot, sender protocol.OrgID, h *protocol.Header, body []byte) (*protocol.Letter, error) {
	for _, id := range n.keys.Identities {
		plain, err := id.OpenSealed(body)
		if err != nil {
			continue
		}
		var l protocol.Letter
		if err := protocol.Decode(plain, protocol.MaxLetterSize+1<<10, &l); err != nil {
			return nil, err
		}
		if l.Network != s.network || l.Sender != sender || l.Feed != h.Feed || l.Seq != h.Seq || l.Recipient != n.ID() {
			return nil, protocol.Errorf(protocol.ErrWrongContext, "letter was lifted from another place")
		}
		return &l, nil
	}
	return nil, protocol.ErrNotInAudience
}
