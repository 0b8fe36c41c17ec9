package node

import (
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// epochSet holds the epochs of one own feed while it is appended to.
type epochSet struct {
	feed  protocol.FeedID
	all   []*store.Epoch
	dirty map[uint64]bool
}

func loadEpochs(tx *store.Tx, feed protocol.FeedID) (*epochSet, error) {
	all, err := tx.Epochs(feed)
	return &epochSet{feed: feed, all: all, dirty: map[uint64]bool{}}, err
}

func (e *epochSet) store(tx *store.Tx) error {
	for _, ep := range e.all {
		if e.dirty[ep.Number] {
			if err := tx.PutEpoch(e.feed, ep); err != nil {
				return err
			}
		}
	}
	return nil
}

// cover returns at most MaxStanzas epochs whose audiences together are exactly orgs, making
// new ones where needed and adding their grants to the feed before anything that needs them.
// Organisations are grouped by what their terms cover, so that the epochs made for one
// record serve the next: worldwide partners, one group for each country, and so on.
//
// Most envelopes have the audience of the one ahead of them. They are covered by the same epochs,
// so that the cost of an envelope does not grow with its readers.
func (a *appender) cover(orgs []protocol.OrgID) ([]*store.Epoch, error) {
	a.retire()
	if len(a.covered) == 0 || !slices.Equal(a.coveredOrgs, orgs) || slices.ContainsFunc(a.covered, func(ep *store.Epoch) bool { return ep.Retired }) {
		use, err := a.coverAnew(orgs)
		if err != nil {
			return nil, err
		}
		a.coveredOrgs, a.covered = orgs, use
	}
	for _, ep := range a.covered {
		a.use(ep)
	}
	return slices.Clone(a.covered), nil
}

func (a *appender) coverAnew(orgs []protocol.OrgID) ([]*store.Epoch, error) {
	groups := map[string][]protocol.OrgID{}
	for _, o := range orgs {
		g := policy.Group(a.snap.policy, o)
		groups[g] = append(groups[g], o)
	}
	if len(groups) > protocol.MaxStanzas {
		groups = map[string][]protocol.OrgID{"": orgs}
	}
	var use []*store.Epoch
	for _, g := range slices.Sorted(maps.Keys(groups)) { // in one order, so that a schedule can be replayed
		set := groups[g]
		slices.SortFunc(set, protocol.OrgID.Compare)
		ep, err := a.epochFor(set)
		if err != nil {
			return nil, err
		}
		use = append(use, ep)
	}
	return use, nil
}

// use counts an envelope of an epoch. The first is noted for those who get the key later: they
// go through what they hold from there on again.
func (a *appender) use(ep *store.Epoch) {
	ep.Used++
	if ep.First == 0 {
		ep.First = a.nextSeq() // of the envelope, or of a grant ahead of it
	}
	a.epochs.dirty[ep.Number] = true
}

// epochFor returns the live epoch of exactly this set, granted to every node that it is due
// to, or makes one.
func (a *appender) epochFor(set []protocol.OrgID) (*store.Epoch, error) {
	for _, ep := range a.epochs.all {
		if !ep.Retired && slices.Equal(ep.Audience, set) {
			return ep, a.grant(ep)
		}
	}
	ep := &store.Epoch{Number: 1, Audience: set, Created: a.sealedAt, Removed: a.removedOf(set)}
	for _, old := range a.epochs.all {
		ep.Number = max(ep.Number, old.Number+1)
	}
	rand.Read(ep.Key[:])
	a.epochs.all = append(a.epochs.all, ep)
	a.epochs.dirty[ep.Number] = true
	return ep, a.grant(ep)
}

// retire ends the epochs that may not be used again: used up, too old, or known to a node
// or an organisation that is not due the next record.
func (a *appender) retire() {
	for _, ep := range a.epochs.all {
		if ep.Retired {
			continue
		}
		if ep.Used >= protocol.MaxEpochEnvelopes || a.sealedAt-ep.Created >= protocol.MaxEpochAge || a.mayNotUse(ep) {
			ep.Retired = true
			a.epochs.dirty[ep.Number] = true
		}
	}
}

// mayNotUse is overGranted, looked at once in an append: all of it is decided under one state.
func (a *appender) mayNotUse(ep *store.Epoch) bool {
	if a.sound[ep.Number] {
		return false
	}
	if a.overGranted(ep) {
		return true
	}
	a.sound[ep.Number] = true
	return false
}

// overGranted reports whether a key went to somebody who is no longer due it, or may have: a
// node has keys from its siblings too, and may have come and gone without being seen here.
func (a *appender) overGranted(ep *store.Epoch) bool {
	if ep.Removed != a.removedOf(ep.Audience) {
		return true
	}
	for _, org := range ep.Audience {
		if _, ok := a.secretWith(org); !ok {
			return true
		}
	}
	if len(ep.Granted) == 0 {
		return false
	}
	now := uint64(nowMillis())
	due := map[protocol.NodeID]*protocol.NodeEntry{}
	for _, org := range append(slices.Clone(ep.Audience), a.n.org) {
		if c := a.snap.cards[org]; c != nil {
			for i := range c.Nodes {
				due[c.Nodes[i].Node] = &c.Nodes[i]
			}
		}
	}
	return slices.ContainsFunc(ep.Granted, func(g store.Granted) bool {
		e := due[g.Node]
		// One whose time is over is let in no more, and may be lost or stolen.
		return e == nil || now >= e.NotAfter || recipientHash(e.Recipient) != g.Recipient && mustTurn(ep, e, now)
	})
}

// mustTurn reports whether an epoch that a node was given under another recipient than its present one
// has to end: at once where somebody else may have the former identity, and otherwise when it is a day
// old. Where many nodes turn over, each on a day of its own, every turnover would else cost a grant for
// every reader; so all of one day cost one.
func mustTurn(ep *store.Epoch, e *protocol.NodeEntry, now uint64) bool {
	return e.NotBefore+protocol.MaxClockSkew > ep.Created || now >= ep.Created+protocol.MaxTurnedEpochAge
}

// removedOf names the nodes that some organisations, and the own one, removed from their
// cards; zero for none.
func (a *appender) removedOf(orgs []protocol.OrgID) (out protocol.Hash) {
	sum := sha256.New()
	for _, org := range append(slices.Clone(orgs), a.n.org) {
		if c := a.snap.cards[org]; c != nil {
			for _, r := range c.Removed {
				sum.Write(r.Node[:])
				out = protocol.Hash(sum.Sum(nil))
			}
		}
	}
	return out
}

// grantedNow reports whether a node still has the recipient under which it was granted a key.
func (a *appender) grantedNow(g store.Granted) bool {
	c := a.snap.cards[a.snap.nodes[g.Node]]
	if c == nil {
		return false
	}
	e := c.Node(g.Node)
	return e != nil && recipientHash(e.Recipient) == g.Recipient
}

func recipientHash(recipient string) protocol.Hash { return sha256.Sum256([]byte(recipient)) }

// secretWith returns the secret of an agreement in force with org; it keys grant hints. With
// the own organisation there is always one.
func (a *appender) secretWith(org protocol.OrgID) ([32]byte, bool) {
	if org == a.n.org {
		return protocol.SiblingSecret(org), true
	}
	if a.partners == nil {
		a.partners = a.snap.partners(a.n.org, uint64(nowMillis()))
	}
	ag := a.partners[org]
	if ag == nil {
		return [32]byte{}, false
	}
	return ag.Secret, true
}

// partners returns of every organisation with which self has an agreement in force at a time, Unix
// milliseconds, the one with the lowest id.
func (s *snapshot) partners(self protocol.OrgID, at uint64) map[protocol.OrgID]*agreement {
	out := map[protocol.OrgID]*agreement{}
	for _, ag := range s.agreements {
		if len(ag.Missing) > 0 || !slices.Contains(ag.Parties, self) {
			continue
		}
		for _, org := range ag.Parties {
			if !s.lives[ag.ID].Between(self, org, at) {
				continue
			}
			if best := out[org]; best == nil || slices.Compare(ag.ID[:], best.ID[:]) < 0 {
				out[org] = ag
			}
		}
	}
	return out
}

// grant adds grant entries for the nodes that are due ep's key and do not have it. A stale
// card gets none: its nodes get theirs when a fresh one has come. The other nodes of this
// organisation are always due it. Once in an append is enough: all of it is decided under one
// state.
func (a *appender) grant(ep *store.Epoch) error {
	if a.granted[ep.Number] {
		return nil
	}
	a.granted[ep.Number] = true
	return a.grantTo(ep, append(slices.Clone(ep.Audience), a.n.org), anyNode, false)
}

func anyNode(protocol.NodeID) bool { return true }

// grantTo is grant for those nodes of orgs that pass; with again, also for those that were given the key
// under a recipient that they have no more.
func (a *appender) grantTo(ep *store.Epoch, orgs []protocol.OrgID, pass func(protocol.NodeID) bool, again bool) error {
	var to []crypto.GrantTo
	now := uint64(nowMillis())
	has := map[protocol.NodeID]bool{}
	for _, g := range ep.Granted {
		has[g.Node] = has[g.Node] || !again || a.grantedNow(g)
	}
	for _, org := range orgs {
		card := a.snap.cards[org]
		secret, ok := a.secretWith(org)
		if !ok || !a.snap.grantable(org, now) {
			continue
		}
		for _, e := range card.Nodes {
			if e.Node == a.n.ID() || now >= e.NotAfter || !pass(e.Node) || has[e.Node] {
				continue
			}
			has[e.Node] = true
			to = append(to, crypto.GrantTo{Secret: secret, Node: e.Node, Recipient: e.Recipient, First: ep.First})
			ep.Grant(org, store.Granted{Node: e.Node, Recipient: recipientHash(e.Recipient)})
		}
	}
	for part := range slices.Chunk(to, protocol.MaxGrantsPerEntry) {
		body, err := crypto.SealGrants(a.snap.network, a.n.org, a.feed.ID, a.nextSeq(), ep.Number, crypto.EpochKeyOf(ep.Key), part)
		if err != nil {
			return err
		}
		if err := a.add(protocol.EntryGrant, body); err != nil {
			return err
		}
		a.epochs.dirty[ep.Number] = true
	}
	return nil
}
