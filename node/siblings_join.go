package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Items of siblings are joined with what is held: two of one name become one, whatever the order.

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
	rules      bool
	people     bool
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
	case *protocol.SiblingMandate:
		t.state = append(t.state, func(tx *store.Tx) (bool, error) { return n.joinSiblingMandate(tx, v) })
	case *protocol.SiblingOrigin:
		t.plain = append(t.plain, func(tx *store.Tx) error { return n.joinOrigin(tx, v) })
	case *protocol.SiblingKey:
		t.plain = append(t.plain, func(tx *store.Tx) error { return t.joinKey(tx, v) })
	case *protocol.SiblingPublication:
		t.plain = append(t.plain, func(tx *store.Tx) error { return n.joinPublication(tx, v) })
	case *protocol.SiblingErasure:
		t.erasures = true
		t.plain = append(t.plain, func(tx *store.Tx) error { return noteErasure(tx, v) })
	case *protocol.SiblingRequest:
		t.plain = append(t.plain, func(tx *store.Tx) error { return joinRequest(tx, v) })
	case *protocol.SiblingHold:
		t.erasures = true
		t.plain = append(t.plain, func(tx *store.Tx) error { return joinHold(tx, v) })
	case *protocol.SiblingErasureAsk:
		t.plain = append(t.plain, func(tx *store.Tx) error { return n.joinErasureAsk(tx, v) })
	case *protocol.SiblingAddrs:
		t.addrs = true
		t.plain = append(t.plain, func(tx *store.Tx) error { return joinAddrs(tx, v) })
	case *protocol.SiblingRecipient:
		t.addrs = true
		t.plain = append(t.plain, func(tx *store.Tx) error { return n.joinRecipient(tx, v) })
	case *protocol.SiblingPerson:
		t.people = true
		t.state = append(t.state, func(tx *store.Tx) (bool, error) { return n.joinPerson(tx, v) })
	case *protocol.SiblingSecond:
		t.state = append(t.state, func(tx *store.Tx) (bool, error) { return joinSecond(tx, v) })
	case *protocol.SiblingRules:
		t.rules = true
		t.plain = append(t.plain, func(tx *store.Tx) error { return n.joinRules(tx, v) })
	}
	return nil // nil: of a kind that is not known here, a newer node's
}

// take applies what was sorted: what decisions are made from first, then the keys.
func (t *siblingTaker) take() error {
	n := t.n
	if len(t.state) > 0 {
		n.passing.Lock() // votes are counted under it
		err := n.changeIf(func(tx *store.Tx) (changed bool, err error) {
			for _, fn := range t.state {
				c, err := fn(tx)
				if err != nil {
					return false, err
				}
				changed = changed || c
			}
			return changed, nil
		})
		n.passing.Unlock()
		if err != nil {
			return err
		}
	}
	if t.people {
		if n.judgeOpen(context.Background()) > 0 {
			n.log.Warn("requests of people who left have not ended yet")
		}
		if err := n.endVotesOfThoseGone(); err != nil {
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
	if t.rules {
		if err := n.takeOfferedRules(); err != nil {
			return err
		}
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

// joinAgreement joins an agreement of a sibling: signatures, rejections, terminations and suspensions.
func (n *Node) joinAgreement(item *protocol.SiblingAgreement) error {
	doc := &agreementDoc{Signed: item.Signed, Rejections: item.Rejections, Terminations: item.Terminations, Suspensions: item.Suspensions}
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
	if err := n.journalEnds(a.ID, slices.Concat(item.Terminations, item.Suspensions)); err != nil {
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
		joined.Terminations = joinEnds(joined.Terminations, item.Terminations, n.ended[a.ID])
		joined.Suspensions = joinSuspensions(joined.Suspensions, item.Suspensions, n.ended[a.ID])
		if err := joined.noteComplete(); err != nil {
			return false, err
		}
		if item.Complete != 0 && joined.Complete != 0 { // one node of the organisation knew it first
			joined.Complete = min(joined.Complete, item.Complete)
		}
		if held && bytes.Equal(was, protocol.Encode(&joined)) {
			return false, nil
		}
		if before != nil && len(joined.Suspensions) > 0 {
			if err := n.markParties(tx, a.Parties); err != nil {
				return false, err
			}
		}
		return true, errors.Join(n.markIfComplete(tx, all, before), putDoc(tx, kindAgreement, a.ID[:], &joined))
	}); err != nil {
		return err
	}
	if err := n.gate.reopenMarked(); err != nil {
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
	if own, err := n.appendsTo(tx, f); err != nil || own {
		return err // it says itself for whom it published
	}
	if held {
		// Of two accounts of one entry, all siblings keep the same: the older one. A restored node
		// may have found another than its publisher wrote (adopt).
		if order := cmp.Or(cmp.Compare(d.At, p.At), bytes.Compare(protocol.Encode(p.Orgs), protocol.Encode(d.Orgs)),
			cmp.Compare(p.Topic, d.Topic), cmp.Compare(p.RetentionDays, d.RetentionDays)); order <= 0 {
			return nil
		}
		mine := f != nil && f.Origin.Signing == n.keys.Signing.Public()
		fewer := slices.ContainsFunc(d.Orgs, func(o protocol.OrgID) bool { return !slices.Contains(p.Orgs, o) })
		if mine && (fewer || endsEarlier(p, &d)) {
			return nil // no other node takes readers from an own entry, nor has it expire before its time
		}
	}
	d.Orgs, d.Topic, d.At, d.RetentionDays = p.Orgs, p.Topic, p.At, p.RetentionDays
	return putPublished(tx, place, &d)
}

// endsEarlier reports whether an account of a publication has it expire more than a day before
// another: what is left of a retention is rounded up to days when it is sealed anew.
func endsEarlier(p *protocol.SiblingPublication, d *publishedDoc) bool {
	other := publishedDoc{At: p.At, RetentionDays: p.RetentionDays}
	return p.RetentionDays != 0 && (d.RetentionDays == 0 || other.end()+dayMillis < d.end())
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
