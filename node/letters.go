package node

import (
	"encoding/binary"
	"fmt"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// pendingLetter is a letter that was decided and is not in the feed yet. It is stored in the
// transaction that stores the decision, so that no end of the process comes between them.
type pendingLetter struct {
	_       struct{}         `cbor:",toarray"`
	Parties []protocol.OrgID // whom it goes to, but for this organisation
	Kind    protocol.LetterKind
	Content []byte
}

// keepLetter puts a letter behind those that are to be sent. nil: nothing is to be sent.
func keepLetter(tx *store.Tx, l *pendingLetter) error {
	if l == nil {
		return nil
	}
	next := uint64(0)
	err := tx.Scan([]byte(kindLetter), nil, true, func(k, _ []byte) (bool, error) {
		next = binary.BigEndian.Uint64(k[len(kindLetter):]) + 1
		return false, nil
	})
	if err != nil {
		return err
	}
	return putDoc(tx, kindLetter, be64(next), l)
}

// sendLetters appends the letters that are to be sent, one for every node of every other
// party, to this node's feed in the control topic, and forgets them in the same transaction.
// Gossip and sync carry them like any entry, so neither side has to be on line when the
// other is. What could not be sent is sent when the node looks after its state again.
func (n *Node) sendLetters() error {
	var list []*pendingLetter
	var keys [][]byte
	read := func(tx *store.Tx) error {
		list, keys = nil, nil
		return scanDocs(tx, kindLetter, func(id []byte, l *pendingLetter) error {
			list, keys = append(list, l), append(keys, append([]byte(kindLetter), id...))
			return nil
		})
	}
	if err := n.st.View(read); err != nil || len(list) == 0 {
		return err
	}
	return n.append(protocol.ControlTopic, func(a *appender) error {
		// Again, now that nobody else appends: another caller may have sent them.
		if err := n.st.View(read); err != nil {
			return err
		}
		sent := keys
		a.onCommit = append(a.onCommit, func(tx *store.Tx) error {
			for _, k := range sent {
				if err := tx.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		for _, l := range list {
			if err := a.letter(l); err != nil {
				return err
			}
		}
		return nil
	})
}

// sendDecided sends letters of what is decided and durable already. That they cannot be sent
// now does not undo the decision.
func (n *Node) sendDecided() {
	if err := n.sendLetters(); err != nil {
		n.log.Error("letters to the other parties could not be sent; it is tried again", "err", err)
		n.counters.failed.Add(1)
	}
}

func (a *appender) letter(l *pendingLetter) error {
	for _, org := range l.Parties {
		card := a.snap.cards[org]
		if org == a.n.org || card == nil {
			continue
		}
		for _, e := range card.Nodes {
			plain := protocol.Encode(&protocol.Letter{Version: 1, Network: a.snap.network, Sender: a.n.org, Feed: a.feed.ID,
				Seq: a.nextSeq(), Recipient: e.Node, Kind: l.Kind, Content: l.Content})
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
}

// openLetter opens a letter if it is for this node. ErrNotInAudience says that it is not.
func (n *Node) openLetter(s *snapshot, sender protocol.OrgID, h *protocol.Header, body []byte) (*protocol.Letter, error) {
	for _, id := range n.identities() {
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
