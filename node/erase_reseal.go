package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// What shares an envelope with erased records is sealed anew, with the same ids and proofs, before
// the envelope goes.

// maxResealParts bounds the entries that survivors are sealed into because not all of their readers
// may have all of them. Where there are more, the last goes to those who may have all that is in it.
const maxResealParts = protocol.MaxSurvivors / 8

// resealAll seals a body of records that were published before anew, in as many entries as it
// takes: what a reader may have today does not wait for what it may not have, by an amendment or an
// exclusion that came since. before is the direct topic in whose feed they stood; nil: none.
func (a *appender) resealAll(body *protocol.Body, doc *publishedDoc, records []resealed, before *directTopic) ([]protocol.EntryRef, error) {
	parts, err := a.byReaders(doc, records, before)
	if err != nil {
		return nil, err
	}
	var out []protocol.EntryRef
	for _, part := range parts {
		some := make([]resealed, len(part))
		in := map[int]bool{}
		for i, n := range part {
			some[i], in[n] = records[n], true
		}
		refs, err := a.resealPart(pick(body, func(i int) bool { return in[i] }), doc, some, before)
		if err != nil {
			return nil, err
		}
		out = append(out, refs...)
	}
	return out, nil
}

// byReaders divides records by which of their readers may have them today, in the order of the first
// of each.
func (a *appender) byReaders(doc *publishedDoc, records []resealed, before *directTopic) (parts [][]int, err error) {
	state, now := a.snap.policy.AsIfFresh(), uint64(nowMillis())
	place := map[string]int{}
	type class struct{ handling, kind, path string }
	known := map[class][]protocol.OrgID{}
	for i := range records {
		r := &records[i].record
		subject, path := a.resealSubject(state, doc, r, before)
		k := class{string(r.HandlingBytes) + string(r.Originator[:]) + string(subject.Principal[:]), fmt.Sprint(subject.Kind, subject.Confidence, subject.RecordedAt), pathKey(path)}
		may, ok := known[k]
		for _, org := range doc.Orgs {
			if !ok && mayHaveAgain(state, org, subject, path, now).Allow {
				may = append(may, org)
			}
		}
		known[k] = may
		not, err := a.excluded(r)
		if err != nil {
			return nil, err
		}
		key := string(protocol.Encode(slices.DeleteFunc(slices.Clone(may), func(o protocol.OrgID) bool { return slices.Contains(not, o) })))
		p, ok := place[key]
		if !ok {
			p = min(len(parts), maxResealParts-1)
			place[key] = p
			if p == len(parts) {
				parts = append(parts, nil)
			}
		}
		parts[p] = append(parts[p], i)
	}
	return parts, nil
}

// resealSubject is what is decided about of a record that is sealed anew, and who passed it on.
func (a *appender) resealSubject(state *policy.State, doc *publishedDoc, r *crypto.VerifiedRecord, before *directTopic) (*policy.Subject, []protocol.OrgID) {
	kind, level := "", uint8(0)
	if o, err := stix.Parse(r.Object); err == nil {
		kind, level = o.Type, state.Confidence(o.Confidence())
	}
	subject := &policy.Subject{Originator: r.Originator, Publisher: a.n.org, Handling: r.Handling, Topic: a.topic, Kind: kind, Confidence: level, RecordedAt: doc.At, Principal: principalOf(r.Behalf)}
	if len(r.Path) == 0 {
		return subject, nil
	}
	if before != nil {
		subject.Bounds = before.Bounds // those under which it came are among them
	}
	// The end of the agreement under which it came frees nothing, and takes nothing back.
	if err := a.n.viewIndex(func(tx *store.Tx) error {
		e, err := a.n.index.Get(tx, r.ID)
		if err == nil && e != nil && e.Publisher != a.n.org && e.SealedAt != 0 {
			subject.RecordedAt = e.SealedAt
		}
		return err
	}); err != nil {
		a.n.log.Warn("reading when a record came failed", "err", err)
	}
	return subject, r.Path
}

// excluded lists who is to get a record no more.
func (a *appender) excluded(r *crypto.VerifiedRecord) (not []protocol.OrgID, err error) {
	err = a.n.st.View(func(tx *store.Tx) (err error) {
		not, _, err = excludedFrom(tx, r.ID, r.Originator, principalOf(r.Behalf))
		return err
	})
	return not, err
}

// resealPart is resealBody in as many entries as it takes: records that travel without the
// rest of their batch have paths of their own, and take more room.
func (a *appender) resealPart(body *protocol.Body, doc *publishedDoc, records []resealed, before *directTopic) ([]protocol.EntryRef, error) {
	refs, err := a.resealBody(body, doc, records, before)
	if err == nil {
		return refs, nil
	}
	if !errors.Is(err, protocol.ErrOversize) || len(records) < 2 {
		return nil, err
	}
	half := len(records) / 2
	var out []protocol.EntryRef
	for _, r := range [][2]int{{0, half}, {half, len(records)}} {
		refs, err := a.resealPart(slice(body, r[0], r[1]), doc, records[r[0]:r[1]], before)
		if err != nil {
			return nil, err
		}
		out = append(out, refs...)
	}
	return out, nil
}

// slice returns a body with the records from one up to, and without, another.
func slice(body *protocol.Body, from, to int) *protocol.Body {
	return pick(body, func(i int) bool { return from <= i && i < to })
}

// pick returns a body with some of its records, of parts, or whole batches where all of one is
// among them, and with no handling that they do not need.
func pick(body *protocol.Body, wanted func(int) bool) *protocol.Body {
	out := &protocol.Body{Version: body.Version, RetentionDays: body.RetentionDays}
	at := map[uint16]uint16{}
	next := 0
	for _, b := range body.Batches {
		part := protocol.BatchPart{Statement: b.Statement, Sig: b.Sig, Hops: b.Hops}
		for _, it := range b.Items {
			if next++; !wanted(next - 1) {
				continue
			}
			if _, ok := at[it.Handling]; !ok {
				at[it.Handling] = uint16(len(out.Handlings))
				out.Handlings = append(out.Handlings, body.Handlings[it.Handling])
			}
			it.Handling = at[it.Handling]
			part.Items = append(part.Items, it)
		}
		if len(part.Items) == len(b.Items) {
			part.Seed = b.Seed
		}
		if len(part.Items) > 0 {
			out.Batches = append(out.Batches, part)
		}
	}
	return out
}

// reseal seals those records of an own entry anew that are not to be erased and stand nowhere
// else: the same ids and proofs, for those of their readers that still may have them. It returns
// how many those are, and the signed erases of the others, which are still to be applied.
func (n *Node) reseal(p *erasePlace, reason protocol.EraseReason, by Caller) (doc publishedDoc, survivors int, out []protocol.SignedErase, err error) {
	body, doc, hash, err := n.ownBody(p.feed, p.seq)
	if err != nil {
		return doc, 0, nil, err
	}
	gone := map[protocol.RecordID]bool{}
	for _, id := range p.records {
		gone[id] = true
	}
	var elsewhere []protocol.EntryRef
	var failed error
	rest, kinds, err := n.without(body, func(id protocol.RecordID) bool {
		if gone[id] || p.void {
			return true
		}
		failed = errors.Join(failed, n.viewIndex(func(tx *store.Tx) error {
			at, yes, err := n.standsElsewhere(tx, id, p, &doc)
			known := slices.Contains(elsewhere, at)
			if err != nil || !yes || !known && len(elsewhere) >= protocol.MaxSurvivors/2 {
				return err
			}
			if gone[id] = true; !known {
				elsewhere = append(elsewhere, at)
			}
			return nil
		}))
		return gone[id]
	})
	if err = errors.Join(err, failed); err != nil {
		return doc, 0, nil, err
	}
	sign := func(refs ...protocol.EntryRef) error {
		out = nil
		for part := range slices.Chunk(p.records, protocol.MaxErasedRecords) {
			signed, err := n.signEraseFor(&protocol.Erase{Version: 1, Network: n.snap.Load().network, Origin: p.origin, Reason: reason, At: uint64(nowMillis()),
				Entries: []protocol.ErasedEntry{{Seq: p.seq, Hash: hash}}, Records: part, Survivors: slices.Concat(refs, elsewhere)})
			if err != nil {
				return err
			}
			out = append(out, signed)
		}
		return nil
	}
	if rest == nil {
		err = sign() // not in an operand beside out, which it sets
		return doc, 0, out, err
	}
	err = n.append(p.topic, func(a *appender) error {
		refs, err := a.resealAll(rest, &doc, kinds, n.directOf(a.snap, p.feed))
		if err != nil {
			return err
		}
		if err := sign(refs...); err != nil {
			return err
		}
		a.onCommit = append(a.onCommit, func(tx *store.Tx) error {
			for i := range out {
				if err := n.putErase(tx, by, &out[i]); err != nil {
					return err
				}
			}
			return nil
		})
		return nil
	})
	return doc, len(kinds), out, err
}

// ownPlain opens an entry of this organisation, by the keys that are held of its feed. What it
// returns besides is set where the error is of class not-in-audience, too.
func (n *Node) ownPlain(feed protocol.FeedID, seq uint64) (env *crypto.VerifiedEnvelope, plain []byte, epochs []*store.Epoch, err error) {
	var raw []byte
	s := n.snap.Load()
	err = n.st.View(func(tx *store.Tx) (err error) {
		if raw, err = tx.Envelope(feed, seq); err != nil {
			return err
		}
		epochs, err = tx.Epochs(feed)
		return err
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if env, err = crypto.VerifyEnvelope(s.network, raw); err != nil {
		return nil, nil, nil, err
	}
	keys := make([]crypto.EpochKey, len(epochs))
	for i, ep := range epochs {
		keys[i] = crypto.EpochKeyOf(ep.Key)
	}
	plain, _, err = crypto.OpenBody(env.Header.SealContext(s.network), feed, seq, keys, env.Body)
	return env, plain, epochs, err
}

// ownBody opens an entry that this node published.
func (n *Node) ownBody(feed protocol.FeedID, seq uint64) (*protocol.Body, publishedDoc, protocol.Hash, error) {
	var doc publishedDoc
	env, plain, epochs, err := n.ownPlain(feed, seq)
	if err == nil {
		err = n.st.View(func(tx *store.Tx) error {
			_, err := getDoc(tx, kindPublished, entryKey(feed, seq), &doc)
			return err
		})
	}
	if err != nil {
		return nil, doc, protocol.Hash{}, err
	}
	var body protocol.Body
	err = protocol.Decode(plain, protocol.MaxPlainSize, &body)
	if err == nil && doc.Topic == "" { // a sibling that was removed never told for whom it published
		s := n.snap.Load()
		r := &reader{s: s, feed: &store.Feed{ID: feed}, epochs: epochs}
		doc.Topic = s.topics[env.Origin.Topic]
		if found := r.adopt(env, doc.Topic, &body); found != nil {
			doc = *found
		}
	}
	return &body, doc, env.Hash, err
}

// record in a body that is sealed anew.
type resealed struct {
	record crypto.VerifiedRecord
}

// without takes records out of a body. It returns nil if none is left.
func (n *Node) without(body *protocol.Body, gone func(protocol.RecordID) bool) (*protocol.Body, []resealed, error) {
	s := n.snap.Load()
	records, err := crypto.VerifyBody(s.network, body, s.card)
	if err != nil {
		return nil, nil, err
	}
	out := &protocol.Body{Version: 1, RetentionDays: body.RetentionDays}
	at := map[uint16]uint16{}
	var kept []resealed
	next := 0
	for b := range body.Batches {
		var keep []int
		for i := range body.Batches[b].Items {
			if rec := &records[next+i]; !gone(rec.ID) {
				keep = append(keep, i)
				kept = append(kept, resealed{*rec})
			}
		}
		next += len(body.Batches[b].Items)
		if len(keep) == 0 {
			continue
		}
		part, err := crypto.PartOf(body, b, keep)
		if err != nil {
			return nil, nil, err
		}
		for i := range part.Items {
			h := part.Items[i].Handling
			if _, ok := at[h]; !ok {
				at[h] = uint16(len(out.Handlings))
				out.Handlings = append(out.Handlings, body.Handlings[h])
			}
			part.Items[i].Handling = at[h]
		}
		out.Batches = append(out.Batches, part)
	}
	if len(kept) == 0 {
		return nil, nil, nil
	}
	return out, kept, nil
}

// mayHaveAgain decides whether a record that was sealed for an organisation may be sealed for it
// anew. What was passed on came from who stands before this organisation on its way.
func mayHaveAgain(state *policy.State, org protocol.OrgID, subject *policy.Subject, path []protocol.OrgID, now uint64) policy.Decision {
	if len(path) == 0 {
		return policy.Decide(state, state.Self, org, subject, now)
	}
	subject.Publisher = subject.Originator
	if len(path) > 1 {
		subject.Publisher = path[len(path)-2]
	}
	return policy.DecideOnward(state, org, subject, now)
}

// resealBody appends a body of records that were published before. It goes to those of its
// readers that may have all of it today; one whose card is not fresh is given the key when a
// fresh one has come, as it would be for what it had before. It returns where it stands now.
func (a *appender) resealBody(body *protocol.Body, doc *publishedDoc, records []resealed, before *directTopic) ([]protocol.EntryRef, error) {
	now := uint64(nowMillis())
	state := a.snap.policy.AsIfFresh()
	var verdicts []policy.OrgDecision
	for _, org := range doc.Orgs {
		verdict := policy.Decision{Reason: policy.ReasonNotInForce}
		var bounds []protocol.Bound
		_, may := a.secretWith(org)
		for i := 0; i < len(records) && may; i++ {
			subject, path := a.resealSubject(state, doc, &records[i].record, before)
			verdict = mayHaveAgain(state, org, subject, path, now)
			may = verdict.Allow
			bounds = policy.AddBounds(bounds, verdict.Bounds...)
		}
		verdict.Allow, verdict.Bounds = may, bounds
		verdicts = append(verdicts, policy.OrgDecision{Org: org, Decision: verdict})
	}
	for i := range records {
		not, err := a.excluded(&records[i].record)
		if err != nil {
			return nil, err
		}
		for k := range verdicts {
			if v := &verdicts[k]; v.Decision.Allow && slices.Contains(not, v.Org) {
				v.Decision.Allow, v.Decision.Reason, v.Decision.Text = false, policy.ReasonExcluded, "the originator excluded it since"
			}
		}
	}
	if doc.RetentionDays > 0 { // what is left of it: a reader counts from when this was sealed
		left := (max(doc.end(), now+1) - now + dayMillis - 1) / dayMillis
		body.RetentionDays = min(body.RetentionDays, uint32(left))
	}
	routes, err := a.routes(verdicts, before)
	if err != nil {
		return nil, err
	}
	sealed := make([][]byte, len(routes)) // all of them, before any is added: it may be too large
	for i, r := range routes {
		keys, err := r.keysFor(r.orgs)
		if err == nil {
			sealed[i], err = r.sealBatch(body, r.nextSeq(), keys)
		}
		if err != nil {
			return nil, err
		}
	}
	var refs []protocol.EntryRef
	for i, r := range routes {
		next := publishedDoc{Orgs: r.orgs, Topic: a.topic, Generation: a.snap.generation, At: doc.At, RetentionDays: doc.RetentionDays}
		ref := protocol.EntryRef{Feed: r.feed.ID, Seq: r.nextSeq()}
		a.onCommit = append(a.onCommit, func(tx *store.Tx) error { return putPublished(tx, entryKey(ref.Feed, ref.Seq), &next) })
		if err := r.add(protocol.EntryRecords, sealed[i]); err != nil {
			return nil, err
		}
		refs = append(refs, ref)
		r.auditReseal(slices.DeleteFunc(slices.Clone(verdicts), func(v policy.OrgDecision) bool {
			return i > 0 && !v.Decision.Allow || v.Decision.Allow && !slices.Contains(r.orgs, v.Org)
		}), records)
	}
	return refs, nil
}
