package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// EraseRequest asks to erase records.
type EraseRequest struct {
	Records []protocol.RecordID
	Reason  protocol.EraseReason
}

// EraseReport says what an erasure reached, and what it cannot reach.
type EraseReport struct {
	Erased   int         `json:"erased"`   // records of which nothing is left here
	Resealed int         `json:"resealed"` // records that shared their envelopes, and stand in new ones now
	Entries  int         `json:"entries"`  // envelopes whose bodies were destroyed
	Signed   int         `json:"signed"`   // statements that tell every other node to do the same
	Local    int         `json:"local"`    // records of others, erased for this organisation only
	Siblings int         `json:"siblings"` // records that another node of this organisation published, and erases for everybody
	Told     []OrgRef    `json:"told"`     // organisations for which the records were sealed
	Beyond   []BeyondRow `json:"beyond"`   // copies that this could not reach
}

// BeyondRow is a copy that an erasure did not reach.
type BeyondRow struct {
	What string `json:"what"`
	Do   string `json:"do"`
}

// Erase destroys records. Of those that this node published every copy in the mesh is to be
// destroyed, on its signed word; those of others are destroyed here only. Records that share
// an envelope with them are first sealed anew, durably, so that nobody loses them.
func (n *Node) Erase(ctx context.Context, r EraseRequest) (*EraseReport, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	if r.Reason < protocol.EraseExpired || r.Reason > protocol.EraseError {
		return nil, protocol.Errorf(protocol.ErrMalformed, "an erasure needs a reason: request, legal or error")
	}
	rep := &EraseReport{Told: []OrgRef{}, Beyond: []BeyondRow{}}
	own, local, err := n.erasePlaces(r.Records)
	if err != nil {
		return nil, err
	}
	var taken copies
	if err := n.st.View(func(tx *store.Tx) error {
		for _, id := range r.Records {
			e, err := getEntry(tx, id)
			if err != nil {
				return err
			}
			taken.add(e)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	told := map[protocol.OrgID]bool{}
	for _, p := range own {
		if err := ctx.Err(); err != nil {
			return rep, err
		}
		if err := n.eraseOwn(p, r.Reason, rep, told); err != nil {
			return rep, err
		}
	}
	if len(local) > 0 {
		siblings, err := n.publishedBySiblings(local)
		if err != nil {
			return rep, err
		}
		count, err := n.eraseLocally(local, r.Reason)
		if err != nil {
			return rep, err
		}
		rep.Siblings, rep.Local, rep.Erased = siblings, count-siblings, rep.Erased+count
	}
	s := n.snap.Load()
	for org := range told {
		rep.Told = append(rep.Told, s.ref(org))
	}
	slices.SortFunc(rep.Told, func(a, b OrgRef) int { return a.ID.Compare(b.ID) })
	if rep.Beyond, err = taken.find(n, rep.Local > 0); err != nil {
		return rep, err
	}
	n.beyond(rep)
	return rep, nil
}

// beyond lists what no statement reaches.
func (n *Node) beyond(rep *EraseReport) {
	add := func(what, do string) { rep.Beyond = append(rep.Beyond, BeyondRow{what, do}) }
	add("copies of this node's disk or data directory that other tools made before now", "a node that is started on them applies this erasure before it shows anything"+whereKnown(rep.Local > 0)+"; destroy them where the law asks for it")
	add("what people copied by hand from 'entente search' and 'entente show'", "ask those who work with it")
	if len(n.snap.Load().siblings(n.org, n.ID())) > 0 {
		add("exports, streams and files that other nodes of this organisation handed out", "'entente handouts' lists them there")
	}
	if rep.Siblings > 0 {
		add("copies of records that another node of this organisation published", "that node destroys them everywhere as soon as it has compared with this one; if it never comes back, 'entente node remove' it where the operational key is: that node does it then")
	}
	if rep.Local > 0 {
		add("copies of records of others, at their publishers and at every other reader", "ask the publisher to erase them: only it can for everybody")
	}
	for _, o := range rep.Told {
		add(fmt.Sprintf("what people of %s took from their node: exports, reports, backups", o.Name), "ask for a confirmation under the agreement with them")
	}
	if rep.Signed > 0 {
		add("nodes that are off line now", "they apply it when they come back, before they serve anything of it")
	}
}

// erasePlace is the records of one own entry that are to be erased.
type erasePlace struct {
	origin  protocol.Origin
	feed    protocol.FeedID
	seq     uint64
	topic   string
	records []protocol.RecordID
}

func (n *Node) erasePlaces(records []protocol.RecordID) (own []*erasePlace, local []protocol.RecordID, err error) {
	at := map[string]*erasePlace{}
	s := n.snap.Load()
	err = n.st.View(func(tx *store.Tx) error {
		for _, id := range records {
			e, err := getEntry(tx, id)
			if err != nil {
				return err
			}
			f, err := tx.Feed(e.Feed)
			if err != nil {
				return err
			}
			if e.Publisher != n.org || f == nil || !n.answersFor(s, &f.Origin) {
				local = append(local, id)
				continue
			}
			place, ok, err := n.standsAt(tx, id, protocol.EntryRef{Feed: e.Feed, Seq: e.Seq}, false)
			if err == nil && !ok && f.Origin.Signing != n.keys.Signing.Public() {
				// What a removed node said of where it stands is not true.
				place = protocol.EntryRef{Feed: e.Feed, Seq: e.Seq}
				if ok, err = tx.Has(e.Feed, e.Seq); err == nil && !ok {
					local = append(local, id)
					continue
				}
			}
			if err == nil && !ok {
				err = fmt.Errorf("record %s is in no entry of this node any more", id.Short())
			}
			if err != nil {
				return err
			}
			if f, err = tx.Feed(place.Feed); err != nil {
				return err
			}
			if f == nil {
				return fmt.Errorf("record %s stands in feed %s, which is not held any more", id.Short(), place.Feed.Short())
			}
			key := string(entryKey(place.Feed, place.Seq))
			if at[key] == nil {
				at[key] = &erasePlace{origin: f.Origin, feed: place.Feed, seq: place.Seq, topic: e.Topic}
				own = append(own, at[key])
			}
			at[key].records = append(at[key].records, id)
		}
		return nil
	})
	return own, local, err
}

// standsAt follows a record of an own entry to where it stands now: its entry may have been
// sealed anew, in several parts. With look it opens the entry to see; ok is false if the
// record is not there.
func (n *Node) standsAt(tx *store.Tx, id protocol.RecordID, place protocol.EntryRef, look bool) (at protocol.EntryRef, ok bool, err error) {
	return n.follow(tx, id, place, look, map[protocol.EntryRef]bool{})
}

// follow does it. been holds where it was: what a sibling says of its feed may go in a circle.
func (n *Node) follow(tx *store.Tx, id protocol.RecordID, place protocol.EntryRef, look bool, been map[protocol.EntryRef]bool) (at protocol.EntryRef, ok bool, err error) {
	if been[place] {
		return place, false, nil
	}
	been[place] = true
	var doc publishedDoc
	if _, err := getDoc(tx, kindPublished, entryKey(place.Feed, place.Seq), &doc); err != nil {
		return place, false, err
	}
	for _, part := range doc.Moved {
		if at, ok, err = n.follow(tx, id, part, look || len(doc.Moved) > 1, been); ok || err != nil {
			return at, ok, err
		}
	}
	if len(doc.Moved) > 0 || !look {
		return place, len(doc.Moved) == 0, nil
	}
	if has, err := tx.Has(place.Feed, place.Seq); err != nil || !has {
		return place, false, err
	}
	body, _, _, err := n.ownBody(place.Feed, place.Seq)
	if err != nil {
		return place, false, err
	}
	_, left, err := n.without(body, func(r protocol.RecordID) bool { return r != id })
	return place, len(left) > 0, err
}

// moved notes in the transaction of an append that what stood at a place stands elsewhere.
func (a *appender) moved(feed protocol.FeedID, seq uint64, to []protocol.EntryRef, known publishedDoc) {
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error {
		var doc publishedDoc
		if held, err := getDoc(tx, kindPublished, entryKey(feed, seq), &doc); err != nil {
			return err
		} else if !held {
			doc = known
		}
		doc.Moved = to
		return putDoc(tx, kindPublished, entryKey(feed, seq), &doc)
	})
}

// resealAll is resealBody in as many entries as it takes: records that travel without the
// rest of their batch have paths of their own, and take more room.
func (a *appender) resealAll(body *protocol.Body, doc *publishedDoc, records []resealed) ([]protocol.EntryRef, error) {
	err := a.resealBody(body, doc, records)
	if err == nil {
		return []protocol.EntryRef{{Feed: a.feed.ID, Seq: a.nextSeq() - 1}}, nil
	}
	if !errors.Is(err, protocol.ErrOversize) || len(records) < 2 {
		return nil, err
	}
	half := len(records) / 2
	var out []protocol.EntryRef
	for _, r := range [][2]int{{0, half}, {half, len(records)}} {
		refs, err := a.resealAll(slice(body, r[0], r[1]), doc, records[r[0]:r[1]])
		if err != nil {
			return nil, err
		}
		out = append(out, refs...)
	}
	return out, nil
}

// slice returns a body of parts with some of its records.
func slice(body *protocol.Body, from, to int) *protocol.Body {
	out := &protocol.Body{Version: body.Version, RetentionDays: body.RetentionDays}
	at := map[uint16]uint16{}
	next := 0
	for _, b := range body.Batches {
		part := protocol.BatchPart{Statement: b.Statement, Sig: b.Sig}
		for _, it := range b.Items {
			if next++; next <= from || next > to {
				continue
			}
			if _, ok := at[it.Handling]; !ok {
				at[it.Handling] = uint16(len(out.Handlings))
				out.Handlings = append(out.Handlings, body.Handlings[it.Handling])
			}
			it.Handling = at[it.Handling]
			part.Items = append(part.Items, it)
		}
		if len(part.Items) > 0 {
			out.Batches = append(out.Batches, part)
		}
	}
	return out
}

// eraseOwn seals the survivors of one entry anew and signs the erase. Both are written in one
// transaction: from then on the erase will be applied, at the next start if not now, so that
// no record is ever left out of the survivors and not erased.
func (n *Node) eraseOwn(p *erasePlace, reason protocol.EraseReason, rep *EraseReport, told map[protocol.OrgID]bool) error {
	doc, survivors, statements, err := n.reseal(p, reason)
	if err != nil {
		return fmt.Errorf("sealing anew what shares an envelope with erased records: %w", err)
	}
	for i := range statements {
		if err := n.applyErase(&statements[i]); err != nil {
			return err
		}
		n.notice(&protocol.Notice{Version: 1, Erases: statements[i : i+1]})
		rep.Signed++
	}
	rep.Erased += len(p.records)
	rep.Resealed += survivors
	rep.Entries++
	for _, org := range doc.Orgs {
		told[org] = true
	}
	return nil
}

func (n *Node) signErase(e *protocol.Erase) error {
	signed, err := n.signEraseFor(e)
	if err != nil {
		return err
	}
	if err := n.applyErase(&signed); err != nil {
		return err
	}
	n.notice(&protocol.Notice{Version: 1, Erases: []protocol.SignedErase{signed}})
	return nil
}

// reseal seals those records of an own entry anew that are not to be erased: the same ids
// and proofs, for those of their readers that still may have them. It returns how many those
// are, and the signed erases of the others, which are still to be applied.
func (n *Node) reseal(p *erasePlace, reason protocol.EraseReason) (doc publishedDoc, survivors int, out []protocol.SignedErase, err error) {
	body, doc, hash, err := n.ownBody(p.feed, p.seq)
	if err != nil {
		return doc, 0, nil, err
	}
	gone := map[protocol.RecordID]bool{}
	for _, id := range p.records {
		gone[id] = true
	}
	rest, kinds, err := n.without(body, func(id protocol.RecordID) bool { return gone[id] })
	if err != nil {
		return doc, 0, nil, err
	}
	sign := func(refs ...protocol.EntryRef) error {
		out = nil
		for part := range slices.Chunk(p.records, protocol.MaxErasedRecords) {
			signed, err := n.signEraseFor(&protocol.Erase{Version: 1, Network: n.snap.Load().network, Origin: p.origin, Reason: reason, At: uint64(nowMillis()),
				Entries: []protocol.ErasedEntry{{Seq: p.seq, Hash: hash}}, Records: part, Survivors: refs})
			if err != nil {
				return err
			}
			out = append(out, signed)
		}
		return nil
	}
	if rest == nil {
		return doc, 0, out, sign()
	}
	err = n.append(p.topic, func(a *appender) error {
		refs, err := a.resealAll(rest, &doc, kinds)
		if err != nil {
			return err
		}
		a.moved(p.feed, p.seq, refs, doc)
		if err := sign(refs...); err != nil {
			return err
		}
		a.onCommit = append(a.onCommit, func(tx *store.Tx) error {
			for i := range out {
				h := out[i].Hash()
				if err := putDoc(tx, kindErase, h[:], &eraseDoc{Signed: out[i]}); err != nil {
					return err
				}
			}
			return nil
		})
		return nil
	})
	return doc, len(kinds), out, err
}

// ownBody opens an entry that this node published.
func (n *Node) ownBody(feed protocol.FeedID, seq uint64) (*protocol.Body, publishedDoc, protocol.Hash, error) {
	var doc publishedDoc
	var raw []byte
	var epochs []*store.Epoch
	s := n.snap.Load()
	err := n.st.View(func(tx *store.Tx) (err error) {
		if raw, err = tx.Envelope(feed, seq); err != nil {
			return err
		}
		if _, err = getDoc(tx, kindPublished, entryKey(feed, seq), &doc); err != nil {
			return err
		}
		epochs, err = tx.Epochs(feed)
		return err
	})
	if err != nil {
		return nil, doc, protocol.Hash{}, err
	}
	env, err := crypto.VerifyEnvelope(s.network, raw)
	if err != nil {
		return nil, doc, protocol.Hash{}, err
	}
	keys := make([]crypto.EpochKey, len(epochs))
	for i, ep := range epochs {
		keys[i] = crypto.EpochKeyOf(ep.Key)
	}
	plain, _, err := crypto.OpenBody(env.Header.SealContext(s.network), feed, seq, keys, env.Body)
	if err != nil {
		return nil, doc, env.Hash, err
	}
	var body protocol.Body
	err = protocol.Decode(plain, protocol.MaxPlainSize, &body)
	if err == nil && doc.Topic == "" { // a sibling that was removed never told for whom it published
		r := &reader{s: s, feed: &store.Feed{ID: feed}, epochs: epochs}
		doc.Topic = s.topics[env.Origin.Topic]
		if found := r.adopt(env, doc.Topic, &body); found != nil {
			found.Moved = doc.Moved
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
	records, err := crypto.VerifyBody(s.network, body, func(o protocol.OrgID) *crypto.Card { return s.cards[o] })
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

// resealBody appends a body of records that were published before. It goes to those of its
// readers that may have all of it today; one whose card is not fresh is given the key when a
// fresh one has come, as it would be for what it had before.
func (a *appender) resealBody(body *protocol.Body, doc *publishedDoc, records []resealed) error {
	now := uint64(nowMillis())
	state := a.snap.policy.AsIfFresh()
	var orgs []protocol.OrgID
	for _, org := range doc.Orgs {
		if _, ok := a.secretWith(org); !ok {
			continue
		}
		may := true
		for i := range records {
			r := &records[i].record
			kind := ""
			if o, err := stix.Parse(r.Object); err == nil {
				kind = o.Type
			}
			subject := &policy.Subject{Originator: r.Originator, Publisher: a.n.org, Handling: r.Handling, Topic: a.topic, Kind: kind, RecordedAt: doc.At}
			if !policy.Decide(state, a.n.org, org, subject, now).Allow {
				may = false
				break
			}
		}
		if may {
			orgs = append(orgs, org)
		}
	}
	keys, err := a.keysFor(orgs)
	if err != nil {
		return err
	}
	body.SealedAt = a.sealedAt
	if doc.RetentionDays > 0 { // what is left of it: a reader counts from when this was sealed
		left := (max(doc.end(), now+1) - now + dayMillis - 1) / dayMillis
		body.RetentionDays = min(body.RetentionDays, uint32(left))
	}
	h := a.header(protocol.EntryRecords)
	sealed, err := crypto.SealBody(h.SealContext(a.snap.network), h.Feed, h.Seq, keys, protocol.Encode(body))
	if err != nil {
		return err
	}
	next := publishedDoc{Orgs: orgs, Topic: a.topic, Generation: a.snap.generation, At: doc.At, RetentionDays: doc.RetentionDays}
	place := entryKey(a.feed.ID, a.nextSeq())
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error { return putDoc(tx, kindPublished, place, &next) })
	return a.add(protocol.EntryRecords, sealed)
}

// takeErases keeps and applies erases that a peer sent.
func (n *Node) takeErases(list []protocol.SignedErase) (out taken, err error) {
	for i := range list {
		if n.evidence.holds(list[i].Hash()) {
			continue
		}
		if _, err := n.verifyErase(&list[i]); err != nil {
			n.log.Debug("leaving out an erase", "err", err)
			out.left++
			continue
		}
		if err := n.applyErase(&list[i]); err != nil {
			return out, err
		}
		out.kept++
	}
	return out, nil
}

// verifyErase checks that an erase is signed by the node whose feed it is, or by its
// organisation.
func (n *Node) verifyErase(signed *protocol.SignedErase) (*protocol.Erase, error) {
	s := n.snap.Load()
	e, err := crypto.VerifyErase(s.network, signed, func(signing protocol.SigningKey, key protocol.OpKey) bool {
		c := s.cards[s.signers[signing].org]
		return c != nil && c.OpKeyValid(key)
	})
	if err != nil {
		return nil, err
	}
	sg, ok := s.signers[e.Origin.Signing]
	if !ok || !s.rostered(sg.org) {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "no card known here lists the node whose entries this erases")
	}
	return e, nil
}

// applyErase destroys what an erase names. It is safe to do it again, and goes on at the next
// start if the process ends before it is done.
func (n *Node) applyErase(signed *protocol.SignedErase) error { return n.applyOnce(signed, false) }

// applyOnce is applyErase; again says that the process ended before it was done.
func (n *Node) applyOnce(signed *protocol.SignedErase, again bool) error {
	var e protocol.Erase
	if err := protocol.Decode(signed.Statement, protocol.MaxStatementSize, &e); err != nil {
		return err
	}
	s := n.snap.Load()
	h, feed := signed.Hash(), e.Origin.FeedID(s.network)
	by := s.signers[e.Origin.Signing].org
	n.evidence.mu.Lock()
	_, held := n.evidence.erases[h]
	full := !held && n.evidence.count[feed] >= protocol.MaxErasesPerFeed
	if !held && !full {
		n.evidence.erases[h] = feed
		n.evidence.count[feed]++
	}
	n.evidence.mu.Unlock()
	if full {
		n.log.Warn("leaving out an erase: its feed has too many", "feed", feed)
		return nil
	}
	if n.anchor != nil && (!held || again) {
		if err := n.anchor.Append(anchor.Erasure{Signed: []protocol.SignedErase{*signed}}); err != nil {
			return err
		}
	}
	err := n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindErase, h[:], &eraseDoc{Signed: *signed}) })
	for part := range slices.Chunk(e.Records, 64) {
		if err == nil {
			err = n.st.Update(func(tx *store.Tx) error { return n.eraseRecords(tx, part, by, e.Reason) })
		}
	}
	if err == nil {
		var later bool
		if later, err = n.saveSurvivors(s, feed, &e); later {
			return err
		}
	}
	for _, x := range e.Entries {
		if err == nil {
			err = n.eraseEntry(feed, x, h, by, &e)
		}
	}
	if err == nil {
		err = n.st.Update(func(tx *store.Tx) error {
			if by == n.org {
				if err := followSurvivors(tx, feed, &e); err != nil {
					return err
				}
			}
			return putDoc(tx, kindErase, h[:], &eraseDoc{Signed: *signed, Applied: true})
		})
	}
	if err != nil {
		return fmt.Errorf("applying an erase: %w", err)
	}
	n.counters.erased.Add(1)
	n.changes.notify()
	return nil
}

// saveSurvivors seals the survivors of an erasure anew if this node, which answers for them,
// does not hold the entries in which they stood: its store went back in time after it erased,
// and what it erased comes back to it from others before what it sealed anew, if anybody has
// that. later says that this has to wait, and the destroying of the body with it: nothing is
// sealed before it is known what was erased since, nor while the node is being opened, and
// nothing is shown or served meanwhile.
func (n *Node) saveSurvivors(s *snapshot, feed protocol.FeedID, e *protocol.Erase) (later bool, err error) {
	if len(e.Survivors) == 0 || !n.answersFor(s, &e.Origin) {
		return false, nil
	}
	var due []uint64
	err = n.st.View(func(tx *store.Tx) error {
		lost := false
		for _, ref := range e.Survivors {
			skeleton, err := tx.Skeleton(ref.Feed, ref.Seq)
			if err != nil {
				return err
			}
			lost = lost || skeleton == nil
		}
		for _, x := range e.Entries {
			has, err := tx.Has(feed, x.Seq)
			if err != nil {
				return err
			}
			if hash, err := n.hashAt(tx, feed, x.Seq); err != nil {
				return err
			} else if lost && has && hash == x.Hash {
				due = append(due, x.Seq)
			}
		}
		return nil
	})
	topic, in := s.topics[e.Origin.Topic]
	if err != nil || len(due) == 0 || !in {
		return false, err
	}
	if !n.opened.Load() || n.usable() != nil && !n.waited.Load() {
		return true, nil
	}
	for _, seq := range due {
		if err := n.resealEntry(feed, seq, topic); err != nil && !errors.Is(err, ErrNotEnrolled) {
			n.log.Error("sealing anew what an erasure leaves failed; it is tried again", "err", err)
			n.counters.failed.Add(1)
			return true, nil
		}
	}
	return false, nil
}

// applyLater applies the erasures that had to wait.
func (n *Node) applyLater() error {
	if n.usable() != nil && !n.waited.Load() {
		return nil
	}
	var list []protocol.SignedErase
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindErase, func(_ []byte, d *eraseDoc) error {
			if !d.Applied {
				list = append(list, d.Signed)
			}
			return nil
		})
	})
	for i := range list {
		if err == nil {
			err = n.applyErase(&list[i])
		}
	}
	return err
}

func (n *Node) eraseEntry(feed protocol.FeedID, x protocol.ErasedEntry, statement protocol.Hash, by protocol.OrgID, e *protocol.Erase) error {
	return n.st.Update(func(tx *store.Tx) error {
		skeleton, err := tx.Skeleton(feed, x.Seq)
		if err != nil {
			return err
		}
		if skeleton != nil {
			var env protocol.Envelope
			if err := protocol.Decode(skeleton, protocol.MaxEnvelopeSize, &env); err != nil {
				return err
			}
			if protocol.EntryHash(env.Header) != x.Hash {
				return nil // another entry of a feed that was forked
			}
		}
		if _, err := tx.Erase(feed, x.Seq, &store.Tomb{Statement: statement, Reason: e.Reason, At: uint64(nowMillis())}); err != nil {
			return err
		}
		if err := clearQuarantine(tx, entryKey(feed, x.Seq)); err != nil {
			return err
		}
		if skeleton != nil {
			if err := tx.SetEntryState(feed, x.Seq, store.Erased, e.Reason.String()); err != nil {
				return err
			}
		}
		if len(e.Records) > 0 {
			return nil
		}
		// The whole entry goes, without naming what was in it.
		in, err := corpus.InEnvelope(tx, feed, x.Seq)
		if err != nil {
			return err
		}
		var ids []protocol.RecordID
		for i := range in {
			ids = append(ids, in[i].Record)
		}
		return n.eraseRecords(tx, ids, by, e.Reason)
	})
}

// eraseRecords takes records out of the corpus for ever. Where one came with another entry
// than the one erased, that entry's body goes too: the record must not be opened from it.
func (n *Node) eraseRecords(tx *store.Tx, ids []protocol.RecordID, by protocol.OrgID, reason protocol.EraseReason) error {
	gone, err := corpus.Erase(tx, ids, by, reason, uint64(nowMillis()))
	if err != nil {
		return err
	}
	for i := range gone {
		f, err := tx.Feed(gone[i].Feed)
		if err != nil {
			return err
		}
		if f != nil && (f.Origin.Signing == n.keys.Signing.Public() || by == corpus.Locally && reason != protocol.EraseExpired && n.snap.Load().signers[f.Origin.Signing].org == n.org) {
			continue // its publisher, or who answers for it, erases it by a statement
		}
		if _, err := tx.Erase(gone[i].Feed, gone[i].Seq, &store.Tomb{Reason: reason, At: uint64(nowMillis())}); err != nil {
			return err
		}
	}
	return nil
}

// publishedBySiblings counts the records that other nodes of this organisation published.
func (n *Node) publishedBySiblings(ids []protocol.RecordID) (count int, err error) {
	s := n.snap.Load()
	err = n.st.View(func(tx *store.Tx) error {
		for _, id := range ids {
			e, err := getEntry(tx, id)
			if err != nil {
				return err
			}
			f, err := tx.Feed(e.Feed)
			if err != nil {
				return err
			}
			if f != nil && s.signers[f.Origin.Signing].org == n.org {
				count++
			}
		}
		return nil
	})
	return count, err
}

// eraseLocally destroys records of others for this organisation alone, at all of its nodes.
func (n *Node) eraseLocally(ids []protocol.RecordID, reason protocol.EraseReason) (int, error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b protocol.RecordID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	now := uint64(nowMillis())
	if err := n.st.Update(func(tx *store.Tx) error {
		for part := range slices.Chunk(ids, protocol.MaxErasedRecords) {
			if err := noteErasure(tx, &protocol.SiblingErasure{Records: part, Reason: reason, At: now}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	err := n.carryOutErasures()
	if net := n.net.Load(); err == nil && net != nil {
		net.tellSiblings()
	}
	return len(ids), err
}

// carryOutErasures does what erasures by this organisation say that were not done here yet:
// asked for here, or at a sibling. Records that this node answers for are erased for
// everybody. It goes on at the next start if the process ends before it is done.
func (n *Node) carryOutErasures() error {
	n.erasing.Lock()
	defer n.erasing.Unlock()
	type due struct {
		id   []byte
		item protocol.SiblingErasure
		doc  erasureDoc
	}
	var list []due
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindErasure, func(id []byte, d *erasureDoc) error {
			if d.Done {
				return nil
			}
			x := due{id: slices.Clone(id), doc: *d}
			if err := protocol.Decode(d.Item, protocol.MaxSiblingItem, &x.item); err != nil {
				return err
			}
			list = append(list, x)
			return nil
		})
	})
	for i := range list {
		err = errors.Join(err, n.carryOut(list[i].id, &list[i].doc, &list[i].item)) // the others are not kept waiting
	}
	if len(list) > 0 {
		n.changes.notify()
	}
	return err
}

// tryErasures is carryOutErasures where nobody waits for it: what cannot be done now, as while
// the disk is full, is tried again, and keeps a node neither from starting nor from comparing.
func (n *Node) tryErasures() {
	if n.usable() != nil {
		return // it seals survivors anew, and which of them were erased since is not known yet
	}
	if err := n.carryOutErasures(); err != nil {
		n.log.Error("carrying out an erasure by this organisation failed; it is tried again", "err", err)
		n.counters.failed.Add(1)
	}
}

// carryOut does what one erasure says. What a sibling published is taken out of the corpus, and
// its sealed body stays until it is erased for everybody: whoever answers for the sibling, once
// it was removed, seals the survivors anew from it.
func (n *Node) carryOut(id []byte, doc *erasureDoc, e *protocol.SiblingErasure) error {
	own, pending, err := n.toErase(e.Records, doc.Places)
	if err != nil {
		return err
	}
	if !slices.Equal(pending, doc.Places) {
		doc.Places = pending
		if err := n.keepErasure(id, doc); err != nil {
			return err
		}
	}
	var rep EraseReport
	for _, p := range own {
		err := n.eraseOwn(p, e.Reason, &rep, map[protocol.OrgID]bool{})
		if err != nil && !errors.Is(err, ErrNotEnrolled) { // a node that was removed is answered for
			return err
		}
	}
	if !doc.Gone {
		// The journal comes after what only this node can do for everybody: at the next start it
		// takes the records out of the corpus, and nobody could tell then where they stand.
		if n.anchor != nil {
			if err := n.anchor.Append(anchor.Erasure{Local: []anchor.LocalErase{{Records: e.Records, Reason: e.Reason, At: e.At}}}); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(e.Records, 64) {
			if err := n.st.Update(func(tx *store.Tx) error { return n.eraseRecords(tx, part, corpus.Locally, e.Reason) }); err != nil {
				return err
			}
		}
	}
	// What was answered for a moment ago is not pending any more.
	if _, pending, err = n.toErase(nil, doc.Places); err != nil {
		return err
	}
	if done := len(pending) == 0; done != doc.Done || !doc.Gone || len(pending) != len(doc.Places) {
		doc.Done, doc.Gone, doc.Places = done, true, pending
		return n.keepErasure(id, doc)
	}
	return nil
}

// pendingErasures counts the records that were erased here, and wait for a sibling to erase
// them everywhere.
func (n *Node) pendingErasures() (count int, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindErasure, func(_ []byte, d *erasureDoc) error { count += len(d.Places); return nil })
	})
	return count, err
}

func (n *Node) keepErasure(id []byte, doc *erasureDoc) error {
	return n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindErasure, id, doc) })
}

// toErase tells of records that are here, and of places where records stood that are out of
// the corpus, which this node erases for everybody, and which wait for another to do so.
func (n *Node) toErase(records []protocol.RecordID, places []pendingPlace) (own []*erasePlace, pending []pendingPlace, err error) {
	s := n.snap.Load()
	at := map[string]*erasePlace{}
	seen := map[protocol.RecordID]bool{}
	take := func(tx *store.Tx, id protocol.RecordID, ref protocol.EntryRef) error {
		f, err := tx.Feed(ref.Feed)
		if err != nil || f == nil || seen[id] || s.signers[f.Origin.Signing].org != n.org {
			return err // of others: erased here, and that is all
		}
		seen[id] = true
		place, ok, err := n.standsAt(tx, id, ref, false)
		if err != nil {
			return err
		}
		if ok && place != ref {
			// It went there with what shared its entry, or was the one erased then.
			has, err := tx.Has(place.Feed, place.Seq)
			if err != nil {
				return err
			}
			if has {
				if place, ok, err = n.standsAt(tx, id, place, true); err != nil {
					return err
				}
			}
		}
		if !ok {
			place = ref // what a node says of where its records went may not be true
		}
		tomb, err := tx.Erased(place.Feed, place.Seq)
		if err != nil || tomb != nil && !tomb.Local() {
			return err // its publisher did it
		}
		if f, err = tx.Feed(place.Feed); err != nil || f == nil {
			return err
		}
		has, err := tx.Has(place.Feed, place.Seq)
		if err != nil {
			return err
		}
		if !n.answersFor(s, &f.Origin) || !has {
			pending = append(pending, pendingPlace{Record: id, Place: place})
			return nil
		}
		key := string(entryKey(place.Feed, place.Seq))
		if at[key] == nil {
			at[key] = &erasePlace{origin: f.Origin, feed: place.Feed, seq: place.Seq, topic: s.topics[f.Origin.Topic]}
			own = append(own, at[key])
		}
		at[key].records = append(at[key].records, id)
		return nil
	}
	err = n.st.View(func(tx *store.Tx) error {
		for _, id := range records {
			e, err := corpus.Get(tx, id)
			if err != nil {
				return err
			}
			if e != nil {
				if err := take(tx, id, protocol.EntryRef{Feed: e.Feed, Seq: e.Seq}); err != nil {
					return err
				}
			}
		}
		for _, p := range places {
			if err := take(tx, p.Record, p.Place); err != nil {
				return err
			}
		}
		return nil
	})
	return own, pending, err
}

// replayJournal applies those erasures of the journal beside the data directory that the
// store does not know.
func (n *Node) replayJournal() (bool, error) {
	var list []anchor.Erasure
	had, err := n.anchor.Erasures(func(e *anchor.Erasure) error { list = append(list, *e); return nil })
	for i := range list {
		for j := range list[i].Ended {
			if err == nil {
				err = n.replayEnd(&list[i].Ended[j])
			}
		}
		for j := range list[i].Signed {
			signed := &list[i].Signed[j]
			if err == nil && !n.evidence.holds(signed.Hash()) {
				if _, verr := n.verifyErase(signed); verr != nil {
					n.log.Warn("leaving out an erasure of the journal", "err", verr)
					continue
				}
				err = n.applyErase(signed)
			}
		}
		for j := range list[i].Local {
			l := &list[i].Local[j]
			known := true
			if err == nil {
				err = n.st.View(func(tx *store.Tx) error {
					for _, id := range l.Records {
						gone, err := corpus.Erased(tx, id)
						if known = known && gone; err != nil {
							return err
						}
					}
					return nil
				})
			}
			if known {
				continue
			}
			ids := slices.Clone(l.Records)
			slices.SortFunc(ids, func(a, b protocol.RecordID) int { return bytes.Compare(a[:], b[:]) })
			ids = slices.Compact(ids)
			for part := range slices.Chunk(ids, protocol.MaxErasedRecords) {
				if err == nil {
					err = n.st.Update(func(tx *store.Tx) error {
						return noteErasure(tx, &protocol.SiblingErasure{Records: part, Reason: l.Reason, At: l.At})
					})
				}
			}
			for part := range slices.Chunk(ids, 64) {
				if err == nil {
					err = n.st.Update(func(tx *store.Tx) error { return n.eraseRecords(tx, part, corpus.Locally, l.Reason) })
				}
			}
		}
	}
	return had, err
}

// expire erases what its retention says is over: own entries for everybody, by a signed
// statement, and records in the corpus here, by the agreement under which they are read.
func (n *Node) expire() error {
	now := uint64(nowMillis())
	for {
		count := 0
		err := n.st.Update(func(tx *store.Tx) error {
			ids, err := corpus.Expired(tx, now, 64)
			count = len(ids)
			if err != nil || count == 0 {
				return err
			}
			return n.eraseRecords(tx, ids, corpus.Locally, protocol.EraseExpired)
		})
		if err != nil {
			return err
		}
		if count == 0 {
			break
		}
	}
	return n.expireOwn(now)
}

func (n *Node) expireOwn(now uint64) error {
	type due struct {
		origin  protocol.Origin
		entries []protocol.ErasedEntry
		places  [][]byte
	}
	byFeed := map[protocol.FeedID]*due{}
	s := n.snap.Load()
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindPublished, func(id []byte, d *publishedDoc) error {
			if d.RetentionDays == 0 || d.Expired || d.end() > now || len(id) != 40 {
				return nil
			}
			feed, seq := protocol.FeedID(id[:32]), binary.BigEndian.Uint64(id[32:])
			f, err := tx.Feed(feed)
			if err != nil || f == nil || !n.answersFor(s, &f.Origin) {
				return err
			}
			skeleton, err := tx.Skeleton(feed, seq)
			if err != nil || skeleton == nil {
				return err
			}
			var env protocol.Envelope
			if err := protocol.Decode(skeleton, protocol.MaxEnvelopeSize, &env); err != nil {
				return err
			}
			if byFeed[feed] == nil {
				byFeed[feed] = &due{origin: f.Origin}
			}
			b := byFeed[feed]
			b.entries = append(b.entries, protocol.ErasedEntry{Seq: seq, Hash: protocol.EntryHash(env.Header)})
			b.places = append(b.places, slices.Clone(id))
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, feed := range slices.SortedFunc(maps.Keys(byFeed), func(a, b protocol.FeedID) int { return bytes.Compare(a[:], b[:]) }) {
		b := byFeed[feed]
		for part := range slices.Chunk(b.entries, protocol.MaxErasedEntries) {
			e := &protocol.Erase{Version: 1, Network: n.snap.Load().network, Origin: b.origin, Entries: part, Reason: protocol.EraseExpired, At: now}
			if err := n.signErase(e); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(b.places, 1000) {
			if err := n.st.Update(func(tx *store.Tx) error {
				for _, id := range part {
					var d publishedDoc
					if _, err := getDoc(tx, kindPublished, id, &d); err != nil {
						return err
					}
					d.Expired = true
					if err := putDoc(tx, kindPublished, id, &d); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// expiresAt returns when a record is to be erased here: by its own retention, and by that of
// the term under which it is read; 0 for never.
func expiresAt(received uint64, days ...uint32) (at uint64) {
	for _, d := range days {
		if t := received + uint64(d)*uint64(24*time.Hour/time.Millisecond); d != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	return at
}
