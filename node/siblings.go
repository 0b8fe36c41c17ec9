package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Nodes of one organisation, siblings, hold the same. What they read of the mesh they get
// from it like everybody; what only they may know, agreements, trust, topics, keys, for whom
// was published, what was erased here, is a set of items that they compare and join. Every
// item has a rule by which two of its name become one, whatever the order, so that siblings
// end up with the same set without anybody leading.

// siblingRef names an item in the store.
type siblingRef struct {
	kind protocol.SiblingKind
	id   string
}

// siblingSet is the set as it is held at a moment.
type siblingSet struct {
	refs  map[protocol.Hash]siblingRef
	parts []protocol.Hash // digests of the parts, by the first byte of the hash
}

// siblingParts is into how many parts the set is divided, so that only what differs is listed.
const siblingParts = 256

// siblingSet reads the items that this node holds.
func (n *Node) siblingSet() (*siblingSet, error) {
	set := &siblingSet{refs: map[protocol.Hash]siblingRef{}}
	err := n.st.View(func(tx *store.Tx) error {
		return eachSiblingItem(tx, func(ref siblingRef, item *protocol.SiblingItem) { set.refs[item.Hash()] = ref })
	})
	byPart := make([][]protocol.Hash, siblingParts)
	for h := range set.refs {
		byPart[h[0]] = append(byPart[h[0]], h)
	}
	for _, list := range byPart {
		var d protocol.Hash
		if len(list) > 0 {
			slices.SortFunc(list, compareHash)
			sum := sha256.New()
			sum.Write([]byte("entente/sibling-part/v1"))
			for _, h := range list {
				sum.Write(h[:])
			}
			d = protocol.Hash(sum.Sum(nil))
		}
		set.parts = append(set.parts, d)
	}
	return set, err
}

// eachSiblingItem calls fn with every item. Publications and keys, of which there are many,
// are made of what the scan reads anyway.
func eachSiblingItem(tx *store.Tx, fn func(ref siblingRef, item *protocol.SiblingItem)) error {
	for _, from := range []struct {
		prefix string
		kind   protocol.SiblingKind
	}{
		{kindAgreement, protocol.SiblingAgreementItem}, {kindPin, protocol.SiblingPinItem}, {kindGone + "pin/", protocol.SiblingPinItem},
		{kindTopic, protocol.SiblingTopicItem}, {kindGone + "topic/", protocol.SiblingTopicItem}, {kindSecret, protocol.SiblingSecretItem},
		{kindErasure, protocol.SiblingErasureItem}, {kindPublished, protocol.SiblingPublicationItem}, {kindAddrs, protocol.SiblingAddrsItem},
		{kindRequest, protocol.SiblingRequestItem},
		{kindHold, protocol.SiblingHoldItem}, {kindErasureAsk, protocol.SiblingErasureAsks},
		{kindMandate, protocol.SiblingMandateItem}, {kindOrigin, protocol.SiblingOriginItem},
		{kindRulesOf, protocol.SiblingRulesItem}, {kindRecipient, protocol.SiblingRecipients},
		{kindPerson, protocol.SiblingPersonItem}, {kindSecond, protocol.SiblingSecondItem},
	} {
		if err := tx.Scan([]byte(from.prefix), nil, false, func(k, v []byte) (bool, error) {
			ref := siblingRef{from.kind, string(k[len(from.prefix):])}
			var item *protocol.SiblingItem
			var err error
			if from.kind == protocol.SiblingPublicationItem {
				var d publishedDoc
				if err = protocol.DecodeOwn(v, &d); err == nil {
					item = publicationItem(k[len(from.prefix):], &d)
				}
			} else {
				item, err = siblingItem(tx, ref)
			}
			if err == nil && item != nil {
				fn(ref, item)
			}
			return true, err
		}); err != nil {
			return err
		}
	}
	return tx.EachEpoch(func(feed protocol.FeedID, e *store.Epoch) error {
		fn(siblingRef{protocol.SiblingKeyItem, string(entryKey(feed, e.Number))}, keyItem(feed, e))
		return nil
	})
}

func publicationItem(id []byte, d *publishedDoc) *protocol.SiblingItem {
	if len(id) != 40 {
		return nil
	}
	feed, seq := splitEntryKey(id)
	return &protocol.SiblingItem{Kind: protocol.SiblingPublicationItem, Content: protocol.Encode(&protocol.SiblingPublication{Feed: feed, Seq: seq,
		Orgs: d.Orgs, Topic: d.Topic, At: d.At, RetentionDays: d.RetentionDays})}
}

func keyItem(feed protocol.FeedID, e *store.Epoch) *protocol.SiblingItem {
	return &protocol.SiblingItem{Kind: protocol.SiblingKeyItem, Content: protocol.Encode(&protocol.SiblingKey{Feed: feed, Number: e.Number, Key: e.Key, Audience: e.Audience})}
}

// siblingItem reads an item; nil if it is not there any more.
func siblingItem(tx *store.Tx, ref siblingRef) (*protocol.SiblingItem, error) {
	id := []byte(ref.id)
	wrap := func(v any, ok bool, err error) (*protocol.SiblingItem, error) {
		if err != nil || !ok {
			return nil, err
		}
		return &protocol.SiblingItem{Kind: ref.kind, Content: protocol.Encode(v)}, nil
	}
	var gone goneDoc
	switch ref.kind {
	case protocol.SiblingAgreementItem:
		var d agreementDoc
		ok, err := getDoc(tx, kindAgreement, id, &d)
		return wrap(&protocol.SiblingAgreement{Proposer: d.Proposer, Signed: d.Signed, Rejections: sortedSet(d.Rejections), Terminations: sortedSet(d.Terminations),
			Suspensions: sortedSet(d.Suspensions), Complete: d.Complete}, ok, err)
	case protocol.SiblingPinItem:
		var d pinDoc
		ok, err := getDoc(tx, kindPin, id, &d)
		if err == nil && !ok {
			ok, err = getDoc(tx, kindGone, append([]byte("pin/"), id...), &gone)
			return wrap(&protocol.SiblingPin{Org: protocol.OrgID(id), At: gone.At}, ok, err)
		}
		return wrap(&protocol.SiblingPin{Org: protocol.OrgID(id), At: d.At, Trusted: true}, ok, err)
	case protocol.SiblingTopicItem:
		var d topicDoc
		ok, err := getDoc(tx, kindTopic, id, &d)
		if err == nil && !ok {
			ok, err = getDoc(tx, kindGone, append([]byte("topic/"), id...), &gone)
			return wrap(&protocol.SiblingTopic{Name: gone.Name, At: gone.At}, ok, err)
		}
		return wrap(&protocol.SiblingTopic{Name: d.Name, At: d.At, In: true}, ok, err)
	case protocol.SiblingSecretItem:
		var d secretDoc
		ok, err := getDoc(tx, kindSecret, id, &d)
		return wrap(&protocol.SiblingTopicSecret{Period: d.Period, Secret: d.Secret}, ok, err)
	case protocol.SiblingErasureItem:
		var d erasureDoc
		ok, err := getDoc(tx, kindErasure, id, &d)
		if err != nil || !ok {
			return nil, err
		}
		return &protocol.SiblingItem{Kind: ref.kind, Content: d.Item}, nil
	case protocol.SiblingPublicationItem:
		var d publishedDoc
		ok, err := getDoc(tx, kindPublished, id, &d)
		if err != nil || !ok {
			return nil, err
		}
		return publicationItem(id, &d), nil
	case protocol.SiblingAddrsItem:
		var d addrsDoc
		ok, err := getDoc(tx, kindAddrs, id, &d)
		return wrap(&protocol.SiblingAddrs{Node: protocol.NodeID(id), At: d.At, Addrs: d.Addrs}, ok, err)
	case protocol.SiblingRequestItem:
		var d protocol.SiblingRequest
		ok, err := getDoc(tx, kindRequest, id, &d)
		return wrap(&d, ok, err)
	case protocol.SiblingHoldItem:
		var d protocol.SiblingHold
		ok, err := getDoc(tx, kindHold, id, &d)
		return wrap(&d, ok, err)
	case protocol.SiblingErasureAsks:
		var d protocol.SiblingErasureAsk
		ok, err := getDoc(tx, kindErasureAsk, id, &d)
		return wrap(&d, ok, err)
	case protocol.SiblingMandateItem:
		m, ok, err := siblingMandate(tx, id)
		return wrap(m, ok, err)
	case protocol.SiblingOriginItem:
		var d protocol.SiblingOrigin
		ok, err := getDoc(tx, kindOrigin, id, &d)
		return wrap(&d, ok, err)
	case protocol.SiblingRulesItem:
		var d rulesOfDoc
		ok, err := getDoc(tx, kindRulesOf, id, &d)
		return wrap(&protocol.SiblingRules{Node: protocol.NodeID(id), At: d.At, Set: d.Set, Offer: d.Offer}, ok, err)
	case protocol.SiblingRecipients:
		var d protocol.SiblingRecipient
		ok, err := getDoc(tx, kindRecipient, id, &d)
		return wrap(&d, ok, err)
	case protocol.SiblingPersonItem:
		var d personDoc
		ok, err := getDoc(tx, kindPerson, id, &d)
		return wrap(&d.Said, ok && !d.Doubted, err)
	case protocol.SiblingSecondItem:
		var d protocol.SiblingSecond
		ok, err := getDoc(tx, kindSecond, id, &d)
		return wrap(&d, ok, err)
	case protocol.SiblingKeyItem:
		feed, number := splitEntryKey(id)
		e, err := tx.Epoch(feed, number)
		if err != nil || e == nil {
			return nil, err
		}
		return keyItem(feed, e), nil
	}
	return nil, nil
}

func sortedSet(list [][]byte) [][]byte {
	out := slices.SortedFunc(slices.Values(list), bytes.Compare)
	return slices.CompactFunc(out, bytes.Equal)
}

// siblings lists the other nodes on the own card.
func (s *snapshot) siblings(org protocol.OrgID, self protocol.NodeID) (out []protocol.NodeID) {
	if c := s.cards[org]; c != nil {
		for _, e := range c.Nodes {
			if e.Node != self {
				out = append(out, e.Node)
			}
		}
	}
	return out
}

// isSibling reports whether a node stands on the own card today.
func (n *Node) isSibling(id protocol.NodeID) bool {
	s := n.snap.Load()
	return id != n.ID() && s.nodes[id] == n.org
}

// serveSiblings answers a sibling. It names how the two sets differ; zero: not at all.
func (n *Node) serveSiblings(remote protocol.NodeID, m *protocol.SyncMessage) (a *protocol.SyncMessage, differ protocol.Hash, err error) {
	if !n.isSibling(remote) {
		return nil, differ, protocol.Errorf(protocol.ErrUnknownAuthor, "only a node of this organisation is answered that; its card has to list both")
	}
	if err := n.usable(); err != nil {
		return nil, differ, err // two that wait would each take the other's set for all there is
	}
	if m.Kind == protocol.SyncSiblingFetch {
		set, err := n.siblingSetAgain(remote)
		if err != nil {
			return nil, differ, err
		}
		a, err = n.siblingItems(set, m.Hashes)
		return a, differ, err
	}
	if len(m.Hashes) != siblingParts && len(m.Hashes) != siblingParts+1 {
		return nil, differ, protocol.Errorf(protocol.ErrMalformed, "sibling names %d hashes, %d digests and at most one to go on from are allowed", len(m.Hashes), siblingParts)
	}
	read := n.siblingSet
	if len(m.Hashes) > siblingParts {
		read = func() (*siblingSet, error) { return n.siblingSetAgain(remote) }
	}
	set, err := read()
	if err != nil {
		return nil, differ, err
	}
	n.listed.Store(&siblingListed{to: remote, set: set})
	var list []protocol.Hash
	for h := range set.refs {
		if set.parts[h[0]] != m.Hashes[h[0]] && (len(m.Hashes) == siblingParts || compareHash(m.Hashes[siblingParts], h) < 0) {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, compareHash)
	a = &protocol.SyncMessage{Version: 1, Kind: protocol.SyncSiblings, Hashes: list}
	if len(list) > protocol.MaxSetItems {
		a.Hashes, a.More = list[:protocol.MaxSetItems], true
	}
	if parts := m.Hashes[:siblingParts]; !slices.Equal(set.parts, parts) {
		sum := sha256.New()
		for _, h := range slices.Concat(set.parts, parts) {
			sum.Write(h[:])
		}
		differ = protocol.Hash(sum.Sum(nil))
	} else {
		n.listed.Store(nil) // nothing will be fetched
	}
	return a, differ, nil
}

// siblingListed is the set that was last listed to a sibling, which fetches from it: to read
// it anew for every message would cost more than all else.
type siblingListed struct {
	to  protocol.NodeID
	set *siblingSet
}

func (n *Node) siblingSetAgain(remote protocol.NodeID) (*siblingSet, error) {
	if l := n.listed.Load(); l != nil && l.to == remote {
		return l.set, nil
	}
	set, err := n.siblingSet()
	if err == nil {
		n.listed.Store(&siblingListed{to: remote, set: set})
	}
	return set, err
}

// siblingFetch is how many items are asked for at a time.
const siblingFetch = 256

func (n *Node) siblingItems(set *siblingSet, hashes []protocol.Hash) (*protocol.SyncMessage, error) {
	if len(hashes) > siblingFetch {
		return nil, protocol.Errorf(protocol.ErrOversize, "request fetches %d items, at most %d at a time", len(hashes), siblingFetch)
	}
	a := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncSiblingItems}
	size := 0
	err := n.st.View(func(tx *store.Tx) error {
		for _, h := range hashes {
			ref, ok := set.refs[h]
			if !ok {
				continue
			}
			item, err := siblingItem(tx, ref)
			if err != nil {
				return err
			}
			if item == nil {
				continue
			}
			b := protocol.Encode(item)
			if size += len(b); size > protocol.MaxPullBytes && len(a.Envelopes) > 0 {
				a.More = true // the rest is asked for again
				return nil
			}
			a.Envelopes = append(a.Envelopes, b)
		}
		return nil
	})
	return a, err
}

// compareSiblings takes from a sibling what it holds and this node does not. It reports
// whether both held the same to begin with.
func (n *Node) compareSiblings(ctx context.Context, ask func(context.Context, *protocol.SyncMessage) (*protocol.SyncMessage, error)) (equal bool, err error) {
	set, err := n.siblingSet()
	if err != nil {
		return false, err
	}
	after := []protocol.Hash{}
	var bad error
	for page := 0; ; page++ {
		a, err := ask(ctx, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncSiblings, Hashes: slices.Concat(set.parts, after)})
		if err != nil {
			return false, err
		}
		if a.Kind != protocol.SyncSiblings || a.More && len(a.Hashes) == 0 {
			return false, protocol.Errorf(protocol.ErrMalformed, "sibling answered a comparison with a message of kind %d", a.Kind)
		}
		var lacking []protocol.Hash
		for _, h := range a.Hashes {
			if _, ok := set.refs[h]; !ok {
				lacking = append(lacking, h)
			}
		}
		if page == 0 && len(a.Hashes) == 0 {
			return true, nil // it holds nothing where they differ, if they do
		}
		for part := range slices.Chunk(lacking, siblingFetch) {
			err := n.fetchSiblings(ctx, part, ask)
			if err != nil && !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrOversize) && !errors.Is(err, protocol.ErrLaterVersion) {
				return false, err
			}
			bad = errors.Join(bad, err) // one item that does not decode keeps no other out
		}
		if !a.More {
			return false, bad
		}
		after = a.Hashes[len(a.Hashes)-1:]
	}
}

func (n *Node) fetchSiblings(ctx context.Context, hashes []protocol.Hash, ask func(context.Context, *protocol.SyncMessage) (*protocol.SyncMessage, error)) error {
	a, err := ask(ctx, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncSiblingFetch, Hashes: hashes})
	if err != nil {
		return err
	}
	if a.Kind != protocol.SyncSiblingItems {
		return protocol.Errorf(protocol.ErrMalformed, "sibling answered a request for items with a message of kind %d", a.Kind)
	}
	return n.takeSiblingItems(a.Envelopes)
}

// nowAfter is the time of what a person says now: after what was said of it before, whoever's
// clock that was by.
func nowAfter(tx *store.Tx, kind string, id []byte) (uint64, error) {
	var gone goneDoc
	at := uint64(nowMillis())
	if ok, err := getDoc(tx, kindGone, append([]byte(kind[len("n/"):]), id...), &gone); err != nil {
		return 0, err
	} else if ok {
		at = max(at, gone.At+1)
	}
	var pin pinDoc
	var topic topicDoc
	var err error
	if kind == kindPin {
		_, err = getDoc(tx, kind, id, &pin)
	} else {
		_, err = getDoc(tx, kind, id, &topic)
	}
	return max(at, max(pin.At, topic.At)+1), err
}

// splitEntryKey undoes entryKey.
func splitEntryKey(b []byte) (feed protocol.FeedID, at uint64) {
	if len(b) != 40 {
		return feed, 0
	}
	copy(feed[:], b)
	for _, x := range b[32:] {
		at = at<<8 | uint64(x)
	}
	return feed, at
}

// answersFor reports whether this node says what becomes of the entries of a feed: it does of
// its own, and, where it has the operational key, of those of siblings that were removed, or
// whose time on the card is over, as that of a node that was lost and restored as another.
func (n *Node) answersFor(s *snapshot, o *protocol.Origin) bool {
	sg := s.signers[o.Signing]
	return o.Signing == n.keys.Signing.Public() || sg.org == n.org && (sg.removed || s.over(sg)) && n.op() != nil
}

// over reports whether the time of a node on its organisation's card has passed.
func (s *snapshot) over(sg signer) bool {
	c := s.cards[sg.org]
	if c == nil {
		return false
	}
	e := c.Node(sg.node)
	return e != nil && uint64(nowMillis()) >= e.NotAfter
}

// signEraseFor signs an erase of entries for which this node answers.
func (n *Node) signEraseFor(e *protocol.Erase) (protocol.SignedErase, error) {
	if e.Origin.Signing == n.keys.Signing.Public() {
		return crypto.SignErase(e, n.keys.Signing)
	}
	if n.op() == nil {
		return protocol.SignedErase{}, ErrNoOperationalKey
	}
	return crypto.SignEraseByOrg(e, n.op())
}
