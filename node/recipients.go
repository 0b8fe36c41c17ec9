package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// A node's age identity turns over: a new one is written first, then its recipient goes on the card,
// then partners grant to it, and when no grant to the former can be on its way any more that is
// destroyed. Each step is found again in what is durable, so that a crash between two changes nothing.

// How long an age identity stands on the card, and is kept after that; milliseconds.
const (
	// RecipientLife is when an identity is replaced at the latest. Each node takes up to recipientSpread
	// off it, another time at every turn, so that not all nodes founded on one day turn over at once.
	RecipientLife   = 30 * dayMillis
	recipientSpread = 3 * dayMillis
	// recipientWindow is how long one is kept after the last card that named it went stale: from then on
	// nobody grants to it.
	recipientWindow = 30 * dayMillis
	// recipientLate is how much longer it is kept while somebody's letters may be on their way: those are
	// not sealed a second time.
	recipientLate = 150 * dayMillis
)

// maxHeldIdentities bounds the identities of a node: each is tried on every letter.
const maxHeldIdentities = 16

// madeNow is how an identity stands that was made just now.
func madeNow(id *crypto.Identity) map[string]identityTimes {
	return map[string]identityTimes{id.Recipient(): {Made: uint64(nowMillis())}}
}

// identities returns this node's age identities, the present one first.
func (n *Node) identities() []*crypto.Identity { return *n.ages.Load() }

// ownEntry returns this node's entry on the card that is held, nil if there is none.
func (n *Node) ownEntry() (*crypto.Card, *protocol.NodeEntry) {
	own := n.OwnCard()
	if own == nil {
		return nil, nil
	}
	return own, own.Node(n.ID())
}

// turnsAt returns when an identity is due to be replaced, Unix milliseconds.
func (n *Node) turnsAt(made uint64) uint64 {
	id := n.ID()
	sum := sha256.Sum256(append(id[:], be64(made)...))
	return made + RecipientLife - binary.BigEndian.Uint64(sum[:])%recipientSpread
}

// presentMade returns when the present identity was made. turnMu must be held.
func (n *Node) presentMade(e *protocol.NodeEntry) uint64 {
	if made := n.keys.times[n.keys.Identities[0].Recipient()].Made; made != 0 {
		return made
	}
	return e.NotBefore // of a node made before identities turned over
}

// keepRecipient takes the steps that are due. A node that is not on the card takes none: the identity
// that its request names is the one that it needs.
func (n *Node) keepRecipient() error {
	n.turnMu.Lock()
	defer n.turnMu.Unlock()
	own, e := n.ownEntry()
	if e == nil {
		return nil
	}
	if n.believeClock() != nil {
		return nil // what a wrong clock destroys does not come back
	}
	now := uint64(nowMillis())
	// What ends goes first: where there are as many identities as may be, it makes the room for the next.
	err := errors.Join(n.forgetRecipients(own), n.dateReplaced(), n.destroyReplaced(now))
	if e.Recipient == n.keys.Identities[0].Recipient() && now >= n.turnsAt(n.presentMade(e)) {
		err = errors.Join(err, n.newIdentity(Caller{}, false))
	}
	return errors.Join(err, n.tellRecipient(e))
}

// newIdentity makes an identity and puts it before the others. turnMu must be held.
func (n *Node) newIdentity(c Caller, suspected bool) error {
	if len(n.keys.Identities) >= maxHeldIdentities {
		return fmt.Errorf("this node holds %d age identities, at most %d; the oldest goes when nothing sealed to it can be on its way any more, see 'entente key list'", len(n.keys.Identities), maxHeldIdentities)
	}
	if err := n.believeClock(); err != nil {
		return err
	}
	id, err := crypto.GenerateIdentity()
	if err != nil {
		return err
	}
	d := n.details("new age identity", c)
	d.Text = recipientName(id.Recipient())
	if suspected {
		d.Reason = "suspected"
	}
	if err := n.auditNow(audit.Keys, d); err != nil {
		return err
	}
	times := maps.Clone(n.keys.times)
	if times == nil {
		times = map[string]identityTimes{}
	}
	times[id.Recipient()] = identityTimes{Made: uint64(nowMillis()), Suspected: suspected}
	return n.setIdentities(slices.Concat([]*crypto.Identity{id}, n.keys.Identities), times)
}

func (n *Node) setIdentities(list []*crypto.Identity, times map[string]identityTimes) error {
	if err := n.keys.setIdentities(list, times); err != nil {
		return fmt.Errorf("keeping age identities: %w", err)
	}
	list = slices.Clone(list)
	n.ages.Store(&list)
	return nil
}

// recipientName is how a recipient is told from others: what is in it is too long to show.
func recipientName(recipient string) string {
	h := recipientHash(recipient)
	return fmt.Sprintf("age1pq1…%x", h[:6])
}

// tellRecipient tells siblings which recipient is to stand on the card. So does the node that signs it: what
// it said before it had the operational key would come back on the card when another has that. turnMu must
// be held.
func (n *Node) tellRecipient(e *protocol.NodeEntry) error {
	recipient := n.keys.Identities[0].Recipient()
	sole := n.op() != nil
	if e.Recipient == recipient && !sole {
		return nil
	}
	id := n.ID()
	return n.st.Update(func(tx *store.Tx) error {
		var d protocol.SiblingRecipient
		var said protocol.Recipient
		held, err := getDoc(tx, kindRecipient, id[:], &d)
		if err == nil && held {
			err = protocol.DecodeOwn(d.Statement, &said)
		}
		if err != nil || said.Recipient == recipient || sole && !held {
			return err // what was never said needs no correction
		}
		item, err := crypto.SignRecipient(&protocol.Recipient{Version: 1, Org: n.org, Node: id, At: max(uint64(nowMillis()), said.At+1), Recipient: recipient,
			Suspected: n.keys.times[recipient].Suspected}, n.keys.Signing)
		if err != nil {
			return err
		}
		return putDoc(tx, kindRecipient, id[:], item)
	})
}

// joinRecipient takes what a sibling says of its own recipient.
func (n *Node) joinRecipient(tx *store.Tx, item *protocol.SiblingRecipient) error {
	own := n.OwnCard()
	if own == nil {
		return nil
	}
	e := own.Node(item.Node)
	if e == nil || item.Node == n.ID() {
		return nil // of a node that is not known yet, or was removed; or this node's own to say
	}
	said, err := crypto.VerifyRecipient(item, n.org, e.Signing)
	if err != nil {
		n.log.Warn("leaving out the age recipient of a node of this organisation", "node", item.Node, "err", err)
		return nil
	}
	var held protocol.SiblingRecipient
	var before protocol.Recipient
	ok, err := getDoc(tx, kindRecipient, item.Node[:], &held)
	if err == nil && ok {
		err = protocol.DecodeOwn(held.Statement, &before)
	}
	if err != nil || tooLate(said.At) || ok && (before.At > said.At || before.At == said.At && bytes.Compare(held.Statement, item.Statement) <= 0) {
		return err
	}
	return putDoc(tx, kindRecipient, item.Node[:], item)
}

// forgetRecipients forgets what nodes said that are on the card no more. A sibling that came after does not
// take it, and the two would differ for ever.
func (n *Node) forgetRecipients(own *crypto.Card) error {
	var gone [][]byte
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindRecipient, func(id []byte, _ *protocol.SiblingRecipient) error {
			if own.Node(protocol.NodeID(id)) == nil {
				gone = append(gone, append([]byte(kindRecipient), id...))
			}
			return nil
		})
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return n.st.Update(func(tx *store.Tx) error {
		for _, k := range gone {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// recipients are those that nodes want on the card.
type recipients map[protocol.NodeID]wantedRecipient

type wantedRecipient struct {
	recipient string
	suspected bool
	item      *protocol.SiblingRecipient // nil: of this node
}

// wantedRecipients returns what this node and its siblings want on the card.
func (n *Node) wantedRecipients() (recipients, error) {
	n.turnMu.Lock()
	present := n.keys.Identities[0].Recipient()
	out := recipients{n.ID(): {recipient: present, suspected: n.keys.times[present].Suspected}}
	n.turnMu.Unlock()
	return out, n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindRecipient, func(id []byte, d *protocol.SiblingRecipient) error {
			var said protocol.Recipient
			if err := protocol.DecodeOwn(d.Statement, &said); err != nil {
				return err
			}
			if node := protocol.NodeID(id); node != n.ID() {
				out[node] = wantedRecipient{said.Recipient, said.Suspected, d}
			}
			return nil
		})
	})
}

// put puts them on a card and reports whether that changes it. Where somebody else may have the identity
// so far, the entry begins anew, so that no epoch goes on that was given to it (SPEC "Turnover of keys").
func (r recipients) put(c *protocol.Card, now uint64) (changed bool) {
	for i := range c.Nodes {
		e := &c.Nodes[i]
		w, ok := r[e.Node]
		if !ok || w.recipient == e.Recipient {
			continue
		}
		e.Recipient, changed = w.recipient, true
		if w.suspected && now < e.NotAfter {
			e.NotBefore = now
		}
	}
	return changed
}

// dateReplaced notes until when identities are kept that were replaced on the card. Whatever card named
// one was issued before the first that names the next, and nobody grants against one that is not fresh.
// turnMu must be held.
func (n *Node) dateReplaced() error {
	own, e := n.ownEntry()
	if e == nil {
		return nil
	}
	named := slices.IndexFunc(n.keys.Identities, func(id *crypto.Identity) bool { return id.Recipient() == e.Recipient })
	if named < 0 {
		return nil // of a node.key that is not here any more; the present one is on its way to the card
	}
	times := maps.Clone(n.keys.times)
	changed := false
	for i, id := range n.keys.Identities {
		r := id.Recipient()
		t := times[r]
		switch {
		case i > named && t.Until == 0:
			t.Until = own.Issued + protocol.MaxCardLife + protocol.MaxClockSkew + recipientWindow
		case i <= named && t.Until != 0: // a card names it again
			t.Until = 0
		default:
			continue
		}
		times[r], changed = t, true
	}
	if !changed {
		return nil
	}
	return n.setIdentities(n.keys.Identities, times)
}

// destroyReplaced destroys the identities whose time is over. turnMu must be held.
func (n *Node) destroyReplaced(now uint64) error {
	var gone []*crypto.Identity
	for _, id := range n.keys.Identities[1:] {
		until := n.keys.times[id.Recipient()].Until
		if until == 0 || now < until {
			continue
		}
		if now < until+recipientLate {
			heard, err := n.lettersHeard(until - recipientWindow)
			if err != nil {
				return err
			}
			if !heard {
				continue
			}
		}
		gone = append(gone, id)
	}
	if len(gone) == 0 {
		return nil
	}
	times := maps.Clone(n.keys.times)
	for _, id := range gone {
		d := n.details("destroy age identity", Caller{})
		d.Text = recipientName(id.Recipient())
		if err := n.auditNow(audit.Keys, d); err != nil {
			return err
		}
		delete(times, id.Recipient())
	}
	return n.setIdentities(slices.DeleteFunc(slices.Clone(n.keys.Identities), func(id *crypto.Identity) bool { return slices.Contains(gone, id) }), times)
}

// lettersHeard reports whether all letters are here that partners wrote until a time, Unix milliseconds,
// as far as their nodes said since how many there are.
func (n *Node) lettersHeard(until uint64) (bool, error) {
	feeds, err := n.Feeds()
	if err != nil {
		return false, err
	}
	s := n.snap.Load()
	for i := range feeds {
		f := &feeds[i]
		_, pinned := s.pins[f.publisher]
		if f.Topic != protocol.ControlTopic || f.Own || f.Removed || f.publisher == n.org || !pinned && !s.agreed(n.org, f.publisher) {
			continue
		}
		if f.Missing > 0 || f.Unjudged > 0 || !f.Closed && (f.Stated == nil || uint64(f.Stated.UnixMilli()) < until) {
			return false, nil
		}
	}
	return true, nil
}

// RotateRecipient has this node's age identity turn over now. suspected says that somebody else may have
// the present one: partners then make new epochs at once. Until the recipient stands on the card, partners
// go on granting to the one before, which is kept meanwhile and for the window after.
func (n *Node) RotateRecipient(ctx context.Context, suspected bool) (*IdentityInfo, error) {
	if err := n.turnByHand(CallerOf(ctx), suspected); err != nil {
		return nil, err
	}
	if n.opAnswers() {
		wanted, err := n.wantedRecipients()
		if err == nil {
			err = n.renewCard(func(c *protocol.Card) bool {
				c.Nodes = slices.Clone(c.Nodes)
				return wanted.put(c, uint64(nowMillis()))
			})
		}
		if err != nil {
			return nil, fmt.Errorf("the new identity is made, and its recipient is not on the card yet, which 'entente up' tries again: %w", err)
		}
	}
	if net := n.net.Load(); net != nil {
		net.wake()
	}
	list := n.Identities()
	return &list[0], nil
}

func (n *Node) turnByHand(c Caller, suspected bool) error {
	n.turnMu.Lock()
	defer n.turnMu.Unlock()
	_, e := n.ownEntry()
	switch {
	case e == nil:
		return ErrNotEnrolled
	case e.Recipient != n.keys.Identities[0].Recipient() && suspected && !n.keys.times[n.keys.Identities[0].Recipient()].Suspected:
		return errors.New("the recipient that was made last is not on the card yet; bring the node with the operational key up, then run this again")
	case e.Recipient != n.keys.Identities[0].Recipient():
		return n.tellRecipient(e) // the last turn is not done yet
	}
	if err := n.newIdentity(c, suspected); err != nil {
		return err
	}
	return n.tellRecipient(e)
}

// IdentityInfo is an age identity of this node as it is shown.
type IdentityInfo struct {
	Recipient string     `json:"recipient"`       // its name: the SHA-256 of the recipient, cut
	State     string     `json:"state"`           // "on the card", "not on the card yet" or "replaced"
	Made      *time.Time `json:"made,omitempty"`  // not known of a node made before identities turned over
	Until     *time.Time `json:"until,omitempty"` // of the one on the card: when it is replaced; of one that was: when it is destroyed, if all letters came
}

// The states of identities.
const (
	IdentityOnCard   = "on the card"
	IdentityWaits    = "not on the card yet"
	IdentityReplaced = "replaced"
)

// Identities lists the age identities of this node, the present one first.
func (n *Node) Identities() []IdentityInfo {
	n.turnMu.Lock()
	defer n.turnMu.Unlock()
	_, e := n.ownEntry()
	named := len(n.keys.Identities)
	var out []IdentityInfo
	for i, id := range n.keys.Identities {
		t := n.keys.times[id.Recipient()]
		info := IdentityInfo{Recipient: recipientName(id.Recipient()), State: IdentityWaits}
		if e != nil && e.Recipient == id.Recipient() {
			named, info.State = i, IdentityOnCard
			if t.Made == 0 {
				t.Made = e.NotBefore
			}
			at := millis(n.turnsAt(t.Made))
			info.Until = &at
		} else if i > named || t.Until != 0 {
			info.State = IdentityReplaced
		}
		if t.Made != 0 {
			at := millis(t.Made)
			info.Made = &at
		}
		if t.Until != 0 {
			at := millis(t.Until)
			info.Until = &at
		}
		out = append(out, info)
	}
	return out
}
