package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
		Orgs: d.Orgs, Topic: d.Topic, At: d.At, RetentionDays: d.RetentionDays, Moved: d.Moved})}
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
		return wrap(&protocol.SiblingAgreement{Proposer: d.Proposer, Signed: d.Signed, Rejections: sortedSet(d.Rejections), Terminations: sortedSet(d.Terminations)}, ok, err)
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
			if err != nil && !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrOversize) {
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

// takeSiblingItems joins items of a sibling with what is held. What does not verify, or
// cannot be judged yet, is left out; the next comparison brings it again.
func (n *Node) takeSiblingItems(raws [][]byte) error {
	t := &siblingTaker{n: n}
	var bad error
	for _, raw := range raws {
		var item protocol.SiblingItem
		err := protocol.Decode(raw, protocol.MaxSiblingItem+1<<10, &item)
		if err == nil {
			err = t.sort(&item)
		}
		if err != nil && bad == nil {
			bad = fmt.Errorf("reading what a sibling holds: %w", err)
		}
	}
	return errors.Join(t.take(), bad)
}

// siblingTaker sorts items by how they are taken.
type siblingTaker struct {
	n          *Node
	agreements []*protocol.SiblingAgreement
	state      []func(tx *store.Tx) (bool, error) // changes of the snapshot
	plain      []func(tx *store.Tx) error         // everything else
	feeds      map[protocol.FeedID]bool           // that may open now
	erasures   bool
	addrs      bool
}

func (t *siblingTaker) sort(item *protocol.SiblingItem) error {
	v, err := item.Open()
	if err != nil {
		return err
	}
	n := t.n
	switch v := v.(type) {
	case *protocol.SiblingAgreement:
		t.agreements = append(t.agreements, v)
	case *protocol.SiblingPin:
		t.state = append(t.state, func(tx *store.Tx) (bool, error) { return joinPin(tx, v) })
	case *protocol.SiblingTopic:
		t.state = append(t.state, func(tx *store.Tx) (bool, error) { return joinTopic(tx, n.snap.Load().network, v) })
	case *protocol.SiblingTopicSecret:
		t.state = append(t.state, func(tx *store.Tx) (bool, error) { return joinSecret(tx, v) })
	case *protocol.SiblingKey:
		t.plain = append(t.plain, func(tx *store.Tx) error { return t.joinKey(tx, v) })
	case *protocol.SiblingPublication:
		t.plain = append(t.plain, func(tx *store.Tx) error { return n.joinPublication(tx, v) })
	case *protocol.SiblingErasure:
		t.erasures = true
		t.plain = append(t.plain, func(tx *store.Tx) error { return noteErasure(tx, v) })
	case *protocol.SiblingAddrs:
		t.addrs = true
		t.plain = append(t.plain, func(tx *store.Tx) error { return joinAddrs(tx, v) })
	}
	return nil // nil: of a kind that is not known here, a newer node's
}

// take applies what was sorted: what decisions are made from first, then the keys.
func (t *siblingTaker) take() error {
	n := t.n
	if len(t.state) > 0 {
		if err := n.changeIf(func(tx *store.Tx) (changed bool, err error) {
			for _, fn := range t.state {
				c, err := fn(tx)
				if err != nil {
					return false, err
				}
				changed = changed || c
			}
			return changed, nil
		}); err != nil {
			return err
		}
	}
	for _, a := range t.agreements {
		if err := n.joinAgreement(a); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(t.plain, 128) {
		t.feeds = map[protocol.FeedID]bool{}
		if err := n.st.Update(func(tx *store.Tx) error {
			clear(t.feeds)
			for _, fn := range part {
				if err := fn(tx); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for feed := range t.feeds {
			n.gate.reopenFeed(feed)
		}
	}
	if t.erasures {
		n.tryErasures()
	}
	if net := n.net.Load(); net != nil && t.addrs {
		net.wake()
	}
	return n.gate.drain()
}

// changeIf is change where fn says whether anything changes; if not, nothing is made anew.
func (n *Node) changeIf(fn func(tx *store.Tx) (bool, error)) error {
	err := n.change(func(tx *store.Tx) error {
		changed, err := fn(tx)
		if err == nil && !changed {
			err = errNothingNew
		}
		return err
	})
	if errors.Is(err, errNothingNew) {
		return nil
	}
	return err
}

// joinAgreement joins an agreement of a sibling: signatures, rejections and terminations.
func (n *Node) joinAgreement(item *protocol.SiblingAgreement) error {
	doc := &agreementDoc{Signed: item.Signed, Rejections: item.Rejections, Terminations: item.Terminations}
	a, err := readAgreement(n.snap.Load(), doc)
	if err != nil {
		n.log.Debug("leaving out an agreement of a sibling", "err", err)
		return nil // a card of a party is missing, perhaps
	}
	if !slices.Contains(a.Parties, n.org) || !a.endings() {
		n.log.Warn("leaving out an agreement of a sibling: it is not with this organisation, or is ended by what does not end it", "agreement", a.ID)
		return nil
	}
	before := n.snap.Load().agreements[a.ID]
	if err := n.journalEnds(a.ID, item.Terminations); err != nil {
		return err
	}
	if err := n.changeIf(func(tx *store.Tx) (bool, error) {
		joined := agreementDoc{FirstSeen: uint64(nowMillis()), Proposer: item.Proposer, Signed: item.Signed}
		held, err := getDoc(tx, kindAgreement, a.ID[:], &joined)
		if err != nil {
			return false, err
		}
		was := protocol.Encode(&joined)
		var signed protocol.SignedAgreement
		if err := protocol.Decode(joined.Signed, maxDocument, &signed); err != nil {
			return false, err
		}
		all := joinSignatures(&signed, &a.Signed)
		joined.Signed = protocol.Encode(all)
		if item.Proposer.Compare(joined.Proposer) < 0 {
			joined.Proposer = item.Proposer // whom it came from first is seen differently by each
		}
		joined.Rejections = joinEnds(joined.Rejections, item.Rejections)
		joined.Terminations = joinEnds(joinEnds(joined.Terminations, item.Terminations), n.ended[a.ID])
		if held && bytes.Equal(was, protocol.Encode(&joined)) {
			return false, nil
		}
		return true, errors.Join(n.markIfComplete(tx, all, before), putDoc(tx, kindAgreement, a.ID[:], &joined))
	}); err != nil {
		return err
	}
	return n.countersigned(a.ID, before)
}

func joinPin(tx *store.Tx, p *protocol.SiblingPin) (bool, error) {
	if tooLate(p.At) {
		return false, nil
	}
	var held pinDoc
	var gone goneDoc
	has, err := getDoc(tx, kindPin, p.Org[:], &held)
	if err != nil {
		return false, err
	}
	name := append([]byte("pin/"), p.Org[:]...)
	was, err := getDoc(tx, kindGone, name, &gone)
	switch {
	case err != nil:
		return false, err
	case has && (p.At < held.At || p.At == held.At && p.Trusted), was && p.At <= gone.At:
		return false, nil
	}
	return true, setPin(tx, p.Org, p.At, p.Trusted)
}

// tooLate reports whether a time is one that nobody's clock can say: what was said then could
// never be taken back.
func tooLate(at uint64) bool { return at > uint64(nowMillis())+protocol.MaxClockSkew }

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

// setPin notes trust, or that it was taken back.
func setPin(tx *store.Tx, org protocol.OrgID, at uint64, trusted bool) error {
	name := append([]byte("pin/"), org[:]...)
	if trusted {
		return errors.Join(putDoc(tx, kindPin, org[:], &pinDoc{At: at}), tx.Delete(append([]byte(kindGone), name...)))
	}
	return errors.Join(putDoc(tx, kindGone, name, &goneDoc{At: at}), tx.Delete(append([]byte(kindPin), org[:]...)))
}

func joinTopic(tx *store.Tx, network protocol.NetworkID, t *protocol.SiblingTopic) (bool, error) {
	if tooLate(t.At) || network == protocol.NoNetwork || !topicPattern.MatchString(t.Name) || t.Name == protocol.ControlTopic {
		return false, nil
	}
	id := protocol.NewTopicID(network, t.Name)
	var held topicDoc
	var gone goneDoc
	has, err := getDoc(tx, kindTopic, id[:], &held)
	if err != nil {
		return false, err
	}
	was, err := getDoc(tx, kindGone, append([]byte("topic/"), id[:]...), &gone)
	switch {
	case err != nil:
		return false, err
	case has && t.At <= held.At, was && (t.At < gone.At || t.At == gone.At && !t.In):
		return false, nil
	}
	return true, setTopic(tx, id, t.Name, t.At, t.In)
}

// setTopic notes that this node is in a topic, or left it.
func setTopic(tx *store.Tx, id protocol.TopicID, name string, at uint64, in bool) error {
	gone := append([]byte("topic/"), id[:]...)
	if in {
		return errors.Join(putDoc(tx, kindTopic, id[:], &topicDoc{Name: name, At: at}), tx.Delete(append([]byte(kindGone), gone...)))
	}
	return errors.Join(putDoc(tx, kindGone, gone, &goneDoc{Name: name, At: at}), tx.Delete(append([]byte(kindTopic), id[:]...)))
}

func joinSecret(tx *store.Tx, s *protocol.SiblingTopicSecret) (bool, error) {
	key := secretKey(s.Period, s.Secret)
	if held, err := tx.Get(append([]byte(kindSecret), key...)); err != nil || held != nil {
		return false, err
	}
	return true, putDoc(tx, kindSecret, key, &secretDoc{Period: s.Period, Secret: s.Secret})
}

// joinKey keeps an epoch key that is not held.
func (t *siblingTaker) joinKey(tx *store.Tx, k *protocol.SiblingKey) error {
	f, err := tx.Feed(k.Feed)
	if err != nil {
		return err
	}
	if own, err := t.n.appendsTo(tx, f); err != nil || own {
		return err // its epochs are this node's own
	}
	e, err := tx.Epoch(k.Feed, k.Number)
	switch {
	case err != nil:
		return err
	case e == nil:
		t.feeds[k.Feed] = true // it may be held already; if not, it opens when it comes
		return errors.Join(markAgain(tx, k.Feed), tx.PutEpoch(k.Feed, &store.Epoch{Number: k.Number, Key: k.Key, Audience: k.Audience, Created: uint64(nowMillis()), Retired: true}))
	case e.Key == k.Key && len(e.Audience) == 0 && len(k.Audience) > 0:
		e.Audience = k.Audience
		return tx.PutEpoch(k.Feed, e)
	}
	return nil
}

// appendsTo reports whether a feed, if it is known, is the own one that is appended to: of it
// no sibling knows anything that this node does not. What a store that went back in time lost
// of an earlier one comes back from siblings.
func (n *Node) appendsTo(tx *store.Tx, f *store.Feed) (bool, error) {
	if f == nil || f.Origin.Signing != n.keys.Signing.Public() {
		return false, nil
	}
	var inc incarnationDoc
	_, err := getDoc(tx, kindFeedNumber, f.Origin.Topic[:], &inc)
	return inc.Incarnation == f.Origin.Incarnation, err
}

func (n *Node) joinPublication(tx *store.Tx, p *protocol.SiblingPublication) error {
	place := entryKey(p.Feed, p.Seq)
	var d publishedDoc
	held, err := getDoc(tx, kindPublished, place, &d)
	if err != nil {
		return err
	}
	f, err := tx.Feed(p.Feed)
	if err != nil {
		return err
	}
	if own, err := n.appendsTo(tx, f); err != nil || own || held && f != nil && f.Origin.Signing == n.keys.Signing.Public() {
		return err // it says itself for whom it published, and where that stands
	}
	if held {
		// Of two accounts of one entry, all siblings keep the same: the one that knows where its
		// records went, then the older one. A restored node may have found another than its publisher
		// wrote (adopt).
		moved := bytes.Compare(protocol.Encode(p.Moved), protocol.Encode(d.Moved))
		if order := cmp.Or(moved, cmp.Compare(d.At, p.At), bytes.Compare(protocol.Encode(p.Orgs), protocol.Encode(d.Orgs))); order <= 0 {
			return nil
		}
	}
	d.Orgs, d.Topic, d.At, d.RetentionDays, d.Moved = p.Orgs, p.Topic, p.At, p.RetentionDays, p.Moved
	return putDoc(tx, kindPublished, place, &d)
}

func joinAddrs(tx *store.Tx, a *protocol.SiblingAddrs) error {
	var d addrsDoc
	held, err := getDoc(tx, kindAddrs, a.Node[:], &d)
	if err != nil || held && d.At >= a.At || tooLate(a.At) {
		return err
	}
	return putDoc(tx, kindAddrs, a.Node[:], &addrsDoc{At: a.At, Addrs: a.Addrs})
}

// noteErasure keeps an erasure by this organisation, to be carried out.
func noteErasure(tx *store.Tx, e *protocol.SiblingErasure) error {
	item := protocol.Encode(e)
	h := sha256.Sum256(item)
	if held, err := tx.Get(append([]byte(kindErasure), h[:]...)); err != nil || held != nil {
		return err
	}
	return putDoc(tx, kindErasure, h[:], &erasureDoc{Item: item})
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
