package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Receipts say, signed by the nodes that have them, where copies of an entry are and who
// opened it. They are asked for on a direct stream; what a reader opened is told to its
// publisher only.

// receiptDoc is the newest receipt of one node for one own feed, and what all of its
// receipts together say that it opened.
type receiptDoc struct {
	_      struct{} `cbor:",toarray"`
	Signed protocol.Signed
	Opened []protocol.SeqRange
	Proofs []protocol.Signed // older receipts that prove what the newest does not say any more
}

// receiptFeeds bounds the feeds of one request for receipts.
const receiptFeeds = 64

// receipt says what this node holds of a feed, and what it opened from an entry on if
// opened is set.
func (n *Node) receipt(feed protocol.FeedID, from uint64, opened bool) (*protocol.Signed, error) {
	if n.usable() != nil {
		return nil, nil
	}
	s := n.snap.Load()
	r := &protocol.Receipt{Version: 1, Network: s.network, Holder: n.keys.Signing.Public(), At: uint64(nowMillis())}
	err := n.st.View(func(tx *store.Tx) error {
		f, err := tx.Feed(feed)
		if err != nil || f == nil {
			return err
		}
		r.Origin, r.Seq = f.Origin, f.Good()
		if r.Lacking, err = tx.Absent(feed, protocol.MaxReceiptLacking+1); err != nil {
			return err
		}
		if len(r.Lacking) > protocol.MaxReceiptLacking {
			r.Seq = min(r.Seq, r.Lacking[protocol.MaxReceiptLacking]-1)
			r.Lacking = r.Lacking[:protocol.MaxReceiptLacking]
		}
		r.Lacking = slices.DeleteFunc(r.Lacking, func(l uint64) bool { return l > r.Seq })
		if opened {
			if r.Opened, err = openedRanges(tx, f, from, r.Seq); err != nil {
				return err
			}
			if len(r.Opened) > protocol.MaxReceiptRanges {
				r.Opened = r.Opened[:protocol.MaxReceiptRanges]
				r.Seq = r.Opened[len(r.Opened)-1].To
				r.Lacking = slices.DeleteFunc(r.Lacking, func(l uint64) bool { return l > r.Seq })
			}
		}
		r.Hash, err = n.hashAt(tx, feed, r.Seq)
		return err
	})
	if err != nil || r.Seq == 0 {
		return nil, err
	}
	signed, err := crypto.SignReceipt(r, n.keys.Signing)
	return &signed, err
}

// receiptWindow is how many entries one receipt looks through for what was opened.
const receiptWindow = 16 << 10

// openedRanges lists what was opened of a feed, from one entry to another.
func openedRanges(tx *store.Tx, f *store.Feed, from, to uint64) (out []protocol.SeqRange, err error) {
	to = min(to, f.Opened, from+receiptWindow)
	err = tx.States(f.ID, max(from, 1), to, func(seq uint64, state store.EntryState) {
		if state != store.Applied && state != store.Quarantined {
			return
		}
		if k := len(out); k > 0 && out[k-1].To+1 == seq {
			out[k-1].To = seq
		} else {
			out = append(out, protocol.SeqRange{From: seq, To: seq})
		}
	})
	return out, err
}

// serveReceipts answers a request for receipts.
func (n *Node) serveReceipts(org protocol.OrgID, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if len(m.Pull) > receiptFeeds {
		return nil, protocol.Errorf(protocol.ErrOversize, "request asks for receipts of %d feeds, at most %d at a time", len(m.Pull), receiptFeeds)
	}
	s := n.snap.Load()
	a := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncReceipts}
	for _, p := range m.Pull {
		var publisher protocol.OrgID
		var in bool
		err := n.st.View(func(tx *store.Tx) error {
			f, err := tx.Feed(p.Feed)
			if err == nil && f != nil {
				publisher = s.signers[f.Origin.Signing].org
				_, in = s.topics[f.Origin.Topic]
				in = in && s.shares(f.Origin.Topic, org)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if !in {
			continue
		}
		r, err := n.receipt(p.Feed, p.From, publisher == org)
		if err != nil {
			return nil, err
		}
		if r != nil {
			a.Receipts = append(a.Receipts, *r)
		}
	}
	return a, nil
}

// ownFeeds lists the feeds of this node that hold something, letters left out.
func (n *Node) ownFeeds() (out []*store.Feed, err error) {
	s := n.snap.Load()
	err = n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if f.Origin.Signing == n.keys.Signing.Public() && f.Good() > 0 && s.topics[f.Origin.Topic] != protocol.ControlTopic {
				out = append(out, f)
			}
			return nil
		})
	})
	return out, err
}

// askReceipts asks a peer what it holds of this node's feeds, and keeps what it says.
func (net *network) askReceipts(ctx context.Context, peer protocol.NodeID, org protocol.OrgID) error {
	n := net.n
	s := n.snap.Load()
	feeds, err := n.ownFeeds()
	if err != nil {
		return err
	}
	req := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncReceipts}
	err = n.st.View(func(tx *store.Tx) error {
		for _, f := range feeds {
			if !s.shares(f.Origin.Topic, org) {
				continue
			}
			var d receiptDoc
			ok, err := getDoc(tx, kindReceipt, receiptKey(f.ID, peer), &d)
			if err != nil {
				return err
			}
			from := uint64(1)
			if ok {
				r, err := readReceipt(&d.Signed)
				if err != nil {
					return err
				}
				if r.Seq >= f.Good() && len(r.Lacking) == 0 {
					continue
				}
				from = r.Seq + 1
			}
			if len(req.Pull) < receiptFeeds {
				req.Pull = append(req.Pull, protocol.PullRange{Feed: f.ID, From: from, Count: 1})
			}
		}
		return nil
	})
	if err != nil || len(req.Pull) == 0 {
		return err
	}
	a, err := net.mesh.Ask(ctx, peer, req)
	if err != nil {
		return err
	}
	if a.Kind != protocol.SyncReceipts || len(a.Receipts) > len(req.Pull) {
		return protocol.Errorf(protocol.ErrMalformed, "peer answered a request for receipts with a message of kind %d", a.Kind)
	}
	for i := range a.Receipts {
		if err := n.takeReceipt(peer, &a.Receipts[i]); err != nil {
			return err
		}
	}
	if len(a.Receipts) > 0 {
		n.changes.notify()
	}
	return nil
}

func receiptKey(feed protocol.FeedID, node protocol.NodeID) []byte {
	return append(slices.Clone(feed[:]), node[:]...)
}

func readReceipt(s *protocol.Signed) (*protocol.Receipt, error) {
	var r protocol.Receipt
	return &r, protocol.Decode(s.Statement, protocol.MaxStatementSize, &r)
}

// takeReceipt verifies a peer's receipt for an own feed and keeps it. A receipt for another
// entry than the one that stands here contradicts this node's history.
func (n *Node) takeReceipt(peer protocol.NodeID, signed *protocol.Signed) error {
	s := n.snap.Load()
	r, err := crypto.VerifyReceipt(s.network, signed)
	if err != nil {
		return err
	}
	sg, ok := s.signers[r.Holder]
	feed := r.Origin.FeedID(s.network)
	switch {
	case !ok || sg.node != peer:
		return protocol.Errorf(protocol.ErrBadSignature, "receipt is signed by another node than the one that sent it")
	case r.Origin.Signing != n.keys.Signing.Public():
		return protocol.Errorf(protocol.ErrWrongContext, "receipt is for a feed of another node")
	}
	return n.st.Update(func(tx *store.Tx) error {
		h, err := n.hashAt(tx, feed, r.Seq)
		if err != nil {
			return err
		}
		if h != r.Hash {
			return protocol.Errorf(protocol.ErrBrokenChain, "receipt is for another entry %d than the one that this node appended", r.Seq)
		}
		var d receiptDoc
		ok, err := getDoc(tx, kindReceipt, receiptKey(feed, peer), &d)
		if err != nil {
			return err
		}
		if ok {
			old, err := readReceipt(&d.Signed)
			if err != nil || old.At > r.At {
				return err
			}
			// What was proven stays proven, by the receipts that say it.
			if len(old.Opened) > 0 && len(d.Proofs) < maxReceiptProofs {
				d.Proofs = append(d.Proofs, d.Signed)
			}
		}
		d.Signed = *signed
		d.Opened = mergeRanges(append(d.Opened, r.Opened...))
		return putDoc(tx, kindReceipt, receiptKey(feed, peer), &d)
	})
}

// maxReceiptProofs bounds the older receipts of one node for one feed that are kept.
const maxReceiptProofs = 1024

func mergeRanges(list []protocol.SeqRange) (out []protocol.SeqRange) {
	slices.SortFunc(list, func(a, b protocol.SeqRange) int { return cmp.Compare(a.From, b.From) })
	for _, r := range list {
		if k := len(out); k > 0 && r.From <= out[k-1].To+1 {
			out[k-1].To = max(out[k-1].To, r.To)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// Delivery says where a copy of an own record is, by the signed word of the node that has it.
type Delivery struct {
	Org    OrgRef          `json:"organisation"`
	Node   protocol.NodeID `json:"node"`
	Held   bool            `json:"held"`   // the envelope, sealed
	Opened bool            `json:"opened"` // and read
	At     time.Time       `json:"at"`     // by the clock of that node
}

// deliveries lists the receipts for one entry of an own feed.
func (n *Node) deliveries(tx *store.Tx, feed protocol.FeedID, seq uint64) (out []Delivery, err error) {
	s := n.snap.Load()
	err = tx.Scan(append([]byte(kindReceipt), feed[:]...), nil, false, func(k, v []byte) (bool, error) {
		var d receiptDoc
		if err := protocol.Decode(v, maxDocument, &d); err != nil {
			return false, err
		}
		r, err := readReceipt(&d.Signed)
		if err != nil {
			return false, err
		}
		opened := slices.ContainsFunc(d.Opened, func(o protocol.SeqRange) bool { return o.From <= seq && seq <= o.To })
		if !r.Holds(seq) && !opened {
			return true, nil
		}
		sg := s.signers[r.Holder]
		out = append(out, Delivery{Org: s.ref(sg.org), Node: sg.node, Held: r.Holds(seq), Opened: opened, At: time.UnixMilli(int64(r.At)).UTC()})
		return true, nil
	})
	slices.SortFunc(out, func(a, b Delivery) int {
		return cmp.Or(cmp.Compare(a.Org.Name, b.Org.Name), slices.Compare(a.Node[:], b.Node[:]))
	})
	return out, err
}

// mergeDeliveries makes one line for each node of what several entries with a record were said to be.
func mergeDeliveries(list []Delivery) (out []Delivery) {
	slices.SortStableFunc(list, func(a, b Delivery) int {
		return cmp.Or(cmp.Compare(a.Org.Name, b.Org.Name), slices.Compare(a.Node[:], b.Node[:]))
	})
	for _, d := range list {
		if k := len(out); k > 0 && out[k-1].Node == d.Node {
			last := &out[k-1]
			last.Held, last.Opened = last.Held || d.Held, last.Opened || d.Opened
			if d.At.After(last.At) {
				last.At = d.At
			}
		} else {
			out = append(out, d)
		}
	}
	return out
}

// Deliveries lists the nodes that hold the entry at a place of an own feed, and those that
// opened it.
func (n *Node) Deliveries(feed protocol.FeedID, seq uint64) (out []Delivery, err error) {
	err = n.st.View(func(tx *store.Tx) (err error) { out, err = n.deliveries(tx, feed, seq); return err })
	return out, err
}

// onlyHere counts the own entries of which no other node has said that it holds a copy.
func (n *Node) onlyHere() (count uint64, err error) {
	feeds, err := n.ownFeeds()
	if err != nil {
		return 0, err
	}
	err = n.st.View(func(tx *store.Tx) error {
		for _, f := range feeds {
			best := uint64(0)
			err := tx.Scan(append([]byte(kindReceipt), f.ID[:]...), nil, false, func(_, v []byte) (bool, error) {
				var d receiptDoc
				if err := protocol.Decode(v, maxDocument, &d); err != nil {
					return false, err
				}
				r, err := readReceipt(&d.Signed)
				if err == nil && len(r.Lacking) == 0 {
					best = max(best, r.Seq)
				}
				return true, err
			})
			if err != nil {
				return err
			}
			count += f.Good() - min(best, f.Good())
		}
		return nil
	})
	return count, err
}

// Await says for what a publisher waits after its records are durable here.
type Await struct {
	Copies   int              // so many other nodes hold all of it
	Received []protocol.OrgID // a node of each of these opened what of it is for that organisation
}

// ErrNotYet is returned where a publication is durable here, and what was waited for did not
// come in time.
var ErrNotYet = errors.New("published, and durable on this node; what was asked for beyond that did not come in time")

// WaitCopies waits until ctx ends for what a publisher wants beyond its own disk, asking all
// connected peers.
func (n *Node) WaitCopies(ctx context.Context, rec *Receipt, want Await) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		missing, err := n.awaited(rec, want)
		if err != nil || missing == "" {
			return err
		}
		if net := n.net.Load(); net != nil {
			for _, p := range net.mesh.Peers() {
				if err := net.askReceipts(ctx, p.Node, p.Org); err != nil && ctx.Err() == nil {
					n.log.Debug("asking for a receipt failed", "node", p.Node, "err", err)
				}
			}
			if missing, err = n.awaited(rec, want); err != nil || missing == "" {
				return err
			}
		}
		if sleep(ctx, pause) != nil {
			return fmt.Errorf("%w: %s", ErrNotYet, missing)
		}
	}
}

// entries goes through all entries of a publication.
func (rec *Receipt) entries() iter.Seq2[protocol.FeedID, uint64] {
	return func(yield func(protocol.FeedID, uint64) bool) {
		for _, p := range rec.Parts {
			for seq := p.From; seq <= p.To; seq++ {
				if !yield(p.Feed, seq) {
					return
				}
			}
		}
	}
}

// awaited tells what is still missing; empty if nothing is.
func (n *Node) awaited(rec *Receipt, want Await) (string, error) {
	s := n.snap.Load()
	copies := -1
	received := map[protocol.OrgID]bool{}
	for _, o := range want.Received {
		received[o] = true
	}
	err := n.st.View(func(tx *store.Tx) error {
		for feed, seq := range rec.entries() {
			list, err := n.deliveries(tx, feed, seq)
			if err != nil {
				return err
			}
			held := 0
			opened := map[protocol.OrgID]bool{}
			for _, d := range list {
				if d.Held {
					held++
				}
				opened[d.Org.ID] = opened[d.Org.ID] || d.Opened
			}
			if copies < 0 || held < copies {
				copies = held
			}
			var doc publishedDoc
			if ok, err := getDoc(tx, kindPublished, entryKey(feed, seq), &doc); err != nil {
				return err
			} else if !ok {
				continue // a grant
			}
			for _, o := range want.Received {
				if slices.Contains(doc.Orgs, o) && !opened[o] {
					received[o] = false
				}
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if copies < want.Copies {
		return fmt.Sprintf("%d of %d copies", max(copies, 0), want.Copies), nil
	}
	for _, o := range want.Received {
		if !received[o] {
			return fmt.Sprintf("no receipt of %s yet", s.name(o)), nil
		}
	}
	return "", nil
}
