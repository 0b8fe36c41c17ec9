package node

import (
	"slices"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// A grant may come after the age identity was destroyed that it is sealed to: by a carried file, or out
// of a partition of months. The node knows it by its hint, and asks its publisher for the keys that it
// does not hold; they are granted to the recipient that its card names now. Until the publisher says that
// nothing is left, what does not open behind such a grant waits for a key.

// lostGrantDoc says which grants of a feed are so; zero: none.
type lostGrantDoc struct {
	_       struct{} `cbor:",toarray"`
	First   uint64   // the first that its publisher was not asked about to the end; 0: none
	Last    uint64   // the last that was met
	Settled uint64   // up to here it was
}

// add notes one, and reports whether it is to be asked about.
func (d *lostGrantDoc) add(seq uint64) bool {
	d.Last = max(d.Last, seq)
	if seq <= d.Settled {
		return false
	}
	if d.First == 0 || seq < d.First {
		d.First = seq
	}
	return true
}

func noteLostGrant(tx *store.Tx, feed protocol.FeedID, seq uint64) error {
	var d lostGrantDoc
	if _, err := getDoc(tx, kindLostGrant, feed[:], &d); err != nil || !d.add(seq) {
		return err
	}
	return putDoc(tx, kindLostGrant, feed[:], &d)
}

// maxHeldRanges bounds the ranges of epochs that a request for lost keys names. Who has keys of more is
// granted some that it has.
const maxHeldRanges = 1024

// keyQuestion asks why a feed does not open.
func keyQuestion(feed protocol.FeedID) *protocol.SyncMessage {
	return &protocol.SyncMessage{Version: 1, Kind: protocol.SyncKeys, Hashes: []protocol.Hash{protocol.Hash(feed)}}
}

// askFor makes the request for the keys of a feed that this node lacks. lost is the last grant that it
// asks about which cannot be opened here any more; 0: none.
func (n *Node) askFor(feed protocol.FeedID) (m *protocol.SyncMessage, lost uint64, err error) {
	m = keyQuestion(feed)
	err = n.st.View(func(tx *store.Tx) error {
		var d lostGrantDoc
		if _, err := getDoc(tx, kindLostGrant, feed[:], &d); err != nil || d.First == 0 {
			return err
		}
		epochs, err := tx.Epochs(feed)
		if err != nil {
			return err
		}
		m.Kind, lost = protocol.SyncKeysAgain, d.Last
		var numbers []uint64
		for _, ep := range epochs {
			numbers = append(numbers, ep.Number)
		}
		m.Pull = epochRanges(feed, numbers)
		return nil
	})
	return m, lost, err
}

// epochRanges says numbers as ranges; of more than fit, the last ones.
func epochRanges(feed protocol.FeedID, numbers []uint64) (out []protocol.PullRange) {
	slices.Sort(numbers)
	for _, number := range slices.Compact(numbers) {
		if l := len(out) - 1; number == 0 || number > protocol.MaxSeq {
			continue
		} else if l >= 0 && out[l].From+uint64(out[l].Count) == number && out[l].Count < protocol.MaxPullEntries {
			out[l].Count++
		} else {
			out = append(out, protocol.PullRange{Feed: feed, From: number, Count: 1})
		}
	}
	return out[max(0, len(out)-maxHeldRanges):]
}

// settleLost takes a publisher's answer: where it hands out and withholds nothing more, what does not
// open behind the lost grants is not for this node.
func (n *Node) settleLost(feed protocol.FeedID, lost uint64, withheld []protocol.Withheld) error {
	if lost == 0 || len(withheld) > 0 {
		return nil
	}
	err := n.st.Update(func(tx *store.Tx) error {
		var d lostGrantDoc
		if ok, err := getDoc(tx, kindLostGrant, feed[:], &d); err != nil || !ok {
			return err
		}
		if d.Settled = max(d.Settled, lost); d.Last > lost {
			d.First = lost + 1 // more came while it was asked
		} else {
			d.First = 0
		}
		return putDoc(tx, kindLostGrant, feed[:], &d)
	})
	if err == nil {
		n.gate.reopenFeed(feed)
	}
	return err
}
