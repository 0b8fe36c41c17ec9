package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Withholding an origin: a record of another that might be passed on is published as this
// organisation's own instead, without what tells whose it is. Readers hold this organisation
// answerable; the batch commits to where the record came from, which can be proven later. What its
// originator says of the original goes on counting for the copy.

// copiesDoc lists the copies of a record of another.
type copiesDoc struct {
	_      struct{} `cbor:",toarray"`
	Copies []protocol.RecordID
}

// originOf returns where a copy came from; nil if it is none.
func originOf(tx *store.Tx, record protocol.RecordID) (*protocol.SiblingOrigin, error) {
	o := new(protocol.SiblingOrigin)
	if ok, err := getDoc(tx, kindOrigin, record[:], o); err != nil || !ok {
		return nil, err
	}
	return o, nil
}

func copiesOf(tx *store.Tx, original protocol.RecordID) ([]protocol.RecordID, error) {
	var d copiesDoc
	_, err := getDoc(tx, kindCopies, original[:], &d)
	return d.Copies, err
}

// keepOrigin notes where a copy came from. Of two accounts the one with the lower encoding counts.
func keepOrigin(tx *store.Tx, o *protocol.SiblingOrigin) error {
	held, err := originOf(tx, o.Copy.Record)
	if err != nil || held != nil && bytes.Compare(protocol.Encode(held), protocol.Encode(o)) <= 0 {
		return err
	}
	list, err := copiesOf(tx, o.Origin.Record)
	if err != nil {
		return err
	}
	if !slices.Contains(list, o.Copy.Record) {
		list = append(list, o.Copy.Record)
		if err := putDoc(tx, kindCopies, o.Origin.Record[:], &copiesDoc{Copies: list}); err != nil {
			return err
		}
	}
	return putDoc(tx, kindOrigin, o.Copy.Record[:], o)
}

// joinOrigin takes a sibling's account of a copy. What became of the original meanwhile is looked at.
func (n *Node) joinOrigin(tx *store.Tx, o *protocol.SiblingOrigin) error {
	var st protocol.BatchStatement
	c := protocol.OriginCommitment(o.Salt, sha256.Sum256(o.Origin.Statement), o.Origin.Record)
	if err := protocol.Decode(o.Copy.Statement, protocol.MaxStatementSize, &st); err != nil || st.Originator != n.org || !slices.Equal(st.Origin, c[:]) {
		n.log.Warn("leaving out a sibling's account of an origin: the copy does not commit to it", "record", o.Copy.Record)
		return nil
	}
	return errors.Join(keepOrigin(tx, o), putDoc(tx, kindCopyDue, o.Copy.Record[:], &goneDoc{}))
}

// copiesFollow notes that copies of records are to follow what became of them.
func copiesFollow(tx *store.Tx, records []protocol.RecordID) error {
	for _, id := range records {
		list, err := copiesOf(tx, id)
		if err != nil {
			return err
		}
		for _, c := range list {
			if err := putDoc(tx, kindCopyDue, c[:], &goneDoc{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// forwardOrigins has copies follow what became of the originals: erased, withdrawn, excluded. Whoever
// made or passed on an original has no copy, and is told nothing.
func (n *Node) forwardOrigins(ctx context.Context) error {
	var due []protocol.RecordID
	if err := n.st.View(func(tx *store.Tx) error {
		due = nil
		return scanDocs(tx, kindCopyDue, func(id []byte, _ *goneDoc) error {
			if len(id) == len(protocol.RecordID{}) {
				due = append(due, protocol.RecordID(id))
			}
			return nil
		})
	}); err != nil {
		return err
	}
	for _, id := range due {
		if err := n.forwardOrigin(ctx, id); err != nil {
			return fmt.Errorf("having a copy follow its original: %w", err)
		}
	}
	return nil
}

func (n *Node) forwardOrigin(ctx context.Context, id protocol.RecordID) error {
	var origin *protocol.SiblingOrigin
	var held, original *corpus.Entry
	var erased bool
	var reason protocol.EraseReason
	var excluded []protocol.OrgID
	if err := n.viewIndex(func(tx *store.Tx) (err error) {
		if origin, err = originOf(tx, id); err != nil || origin == nil {
			return err
		}
		if held, err = n.index.Get(tx, id); err != nil || held == nil {
			return err
		}
		if original, err = n.index.Get(tx, origin.Origin.Record); err != nil {
			return err
		}
		if reason, erased, err = corpus.Erasure(tx, origin.Origin.Record, origin.Originator, lastOf(origin)); err != nil {
			return err
		}
		if excluded, _, err = excludedBy(tx, origin.Origin.Record, origin.Originator); err != nil {
			return err
		}
		said, _, err := excludedBy(tx, id, n.org)
		excluded = slices.DeleteFunc(excluded, func(o protocol.OrgID) bool { return o == n.org || slices.Contains(said, o) })
		return err
	}); err != nil {
		return err
	}
	if origin != nil && held != nil {
		var err error
		switch {
		case erased && reason != protocol.EraseExpired: // what expires does so by itself: no copy is kept longer
			_, err = n.Erase(ctx, EraseRequest{Records: []protocol.RecordID{id}, Reason: reason})
		case original != nil && original.Withdrawn && !held.Withdrawn:
			err = n.Withdraw(ctx, []protocol.RecordID{id}, original.WithdrawReason)
		case len(excluded) > 0:
			err = n.Exclude(ctx, []protocol.RecordID{id}, excluded)
		}
		if err != nil {
			return err
		}
	}
	return n.st.Update(func(tx *store.Tx) error { return tx.Delete(append([]byte(kindCopyDue), id[:]...)) })
}

// lastOf is by whom this organisation had the original.
func lastOf(o *protocol.SiblingOrigin) protocol.OrgID {
	if path := pathIn(o.Origin.Hops); len(path) > 0 {
		return path[len(path)-1]
	}
	return o.Originator
}

func pathIn(hops []protocol.Hop) (path []protocol.OrgID) {
	for i := range hops {
		var st protocol.HopStatement
		if protocol.Decode(hops[i].Statement, protocol.MaxStatementSize, &st) == nil {
			path = append(path, st.Org)
		}
	}
	return path
}

// withheldRecord is a copy to be sealed, with where it came from.
type withheldRecord struct {
	object   []byte
	handling []byte
	origin   protocol.SiblingOrigin
	removed  []string
}

// withholdGroup makes copies of the records of a group, to be sealed for an audience and kept for days: fewer
// than the group if some of it was erased, or does not open any more. A record that would tell whose
// it is fails all.
func (a *appender) withholdGroup(g *onwardGroup) (copies []withheldRecord, audience []policy.OrgDecision, days uint32, originals []crypto.VerifiedRecord, err error) {
	body, records := a.openOnward(g.place)
	if body == nil {
		return nil, nil, 0, nil, nil
	}
	var places [][2]int
	next := 0
	for b := range body.Batches {
		for i := range body.Batches[b].Items {
			if r := &records[next]; slices.Contains(g.records, r.ID) {
				places, originals = append(places, [2]int{b, i}), append(originals, *r)
			}
			next++
		}
	}
	if len(originals) == 0 {
		return nil, nil, 0, nil, nil
	}
	audience, days, err = a.asOfSealed(g, body, originals, g.orgs)
	if err != nil || len(audience) == 0 {
		return nil, nil, 0, nil, err
	}
	for i := range originals {
		c, err := a.withhold(&originals[i], days)
		if err != nil {
			return nil, nil, 0, nil, fmt.Errorf("record %s: %w", originals[i].ID.Short(), err)
		}
		if c.origin.Origin, err = crypto.ProveRecord(body, places[i][0], places[i][1]); err != nil {
			return nil, nil, 0, nil, err
		}
		copies = append(copies, *c)
	}
	return copies, audience, days, originals, nil
}

// withhold makes a copy of a record without what tells whose it is. Its readers may pass it on to
// nobody: so it comes neither to its originator nor to who passed it on, whom it must not name.
func (a *appender) withhold(r *crypto.VerifiedRecord, days uint32) (*withheldRecord, error) {
	o, err := stix.Parse(r.Object)
	if err != nil {
		return nil, err
	}
	h := r.Handling
	h.Onward, h.Origin = protocol.Onward{}, protocol.OriginUnset
	if h.Named = slices.DeleteFunc(slices.Clone(h.Named), func(o protocol.OrgID) bool { return o == a.n.org }); len(r.Handling.Named) > 0 && len(h.Named) == 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "it is for this organisation by name, and for nobody else")
	}
	for _, who := range append([]protocol.OrgID{r.Originator}, r.Path...) {
		if slices.Contains(h.Named, who) || slices.Contains(h.Excluded, who) {
			return nil, protocol.Errorf(protocol.ErrMalformed, "its handling names %s, and would tell by whom it came; pass it on with its origin", a.snap.name(who))
		}
	}
	if days != 0 && (h.RetentionDays == 0 || days < h.RetentionDays) {
		h.RetentionDays = days
	}
	h.Normalise()
	if err := h.Validate(); err != nil {
		return nil, err
	}
	var names []string
	for _, who := range append([]protocol.OrgID{r.Originator}, r.Path...) {
		if c := a.snap.cards[who]; c != nil {
			names = append(names, c.Inception.Name)
		}
		names = append(names, who.String())
	}
	c := &withheldRecord{handling: protocol.Encode(&h), origin: protocol.SiblingOrigin{Originator: r.Originator, Topic: a.topic}}
	if c.object, c.removed, err = stix.Withhold(o, o.Type+"--"+uuid.NewString(), h.TLP, millis(a.sealedAt), names); err != nil {
		return nil, err
	}
	rand.Read(c.origin.Salt[:])
	return c, nil
}

// sealWithheld seals copies for organisations, each as a batch of its own, in as many entries as they
// need, and notes where they came from.
func (a *appender) sealWithheld(copies []withheldRecord, orgs []protocol.OrgID, days uint32) ([]protocol.RecordID, error) {
	body := &protocol.Body{Version: 1, SealedAt: a.sealedAt, RetentionDays: days}
	var origins []protocol.SiblingOrigin
	var ids []protocol.RecordID
	card := a.snap.cards[a.n.org]
	for i := range copies {
		c := &copies[i]
		at := slices.IndexFunc(body.Handlings, func(h []byte) bool { return bytes.Equal(h, c.handling) })
		if at < 0 {
			at = len(body.Handlings)
			body.Handlings = append(body.Handlings, c.handling)
		}
		commitment := protocol.OriginCommitment(c.origin.Salt, sha256.Sum256(c.origin.Origin.Statement), c.origin.Origin.Record)
		part, made, err := crypto.SignBatchFor(a.snap.network, a.n.org, card.Order, a.n.keys.Signing, a.sealedAt, body.Handlings,
			[]protocol.Item{{Handling: uint16(at), Object: c.object}}, crypto.BatchForm{Origin: &commitment})
		if err != nil {
			return nil, err
		}
		body.Batches = append(body.Batches, part)
		o := c.origin
		if o.Copy, err = crypto.ProveRecord(body, i, 0); err != nil {
			return nil, err
		}
		origins, ids = append(origins, o), append(ids, made...)
	}
	if len(copies) > 1 && (len(body.Batches) > protocol.MaxBatchesPerBody || len(body.Handlings) > protocol.MaxHandlingsPerBody) {
		return a.halveWithheld(copies, orgs, days)
	}
	if err := body.Validate(); err != nil {
		return nil, err
	}
	keys, err := a.keysFor(orgs)
	if err != nil {
		return nil, err
	}
	h := a.header(protocol.EntryRecords)
	sealed, err := crypto.SealBody(h.SealContext(a.snap.network), h.Feed, h.Seq, keys, protocol.Encode(body))
	if errors.Is(err, protocol.ErrOversize) && len(copies) > 1 {
		return a.halveWithheld(copies, orgs, days)
	}
	if err != nil {
		return nil, err
	}
	doc := publishedDoc{Orgs: orgs, Topic: a.topic, Generation: a.snap.generation, At: a.sealedAt, RetentionDays: days}
	place := entryKey(a.feed.ID, a.nextSeq())
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error {
		for i := range origins {
			if err := keepOrigin(tx, &origins[i]); err != nil {
				return err
			}
		}
		return putPublished(tx, place, &doc)
	})
	return ids, a.add(protocol.EntryRecords, sealed)
}

func (a *appender) halveWithheld(copies []withheldRecord, orgs []protocol.OrgID, days uint32) (ids []protocol.RecordID, err error) {
	for _, half := range [][]withheldRecord{copies[:len(copies)/2], copies[len(copies)/2:]} {
		more, err := a.sealWithheld(half, orgs, days)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	return ids, nil
}

// passWithheld seals copies of the records of a group, their origin withheld, for its organisations.
// Those who may not hold them together get copies of their own.
func (a *appender) passWithheld(g *onwardGroup, by Caller) error {
	copies, audience, days, originals, err := a.withholdGroup(g)
	if err != nil || len(copies) == 0 {
		return err
	}
	routes, err := a.routes(audience, nil)
	if err != nil {
		return err
	}
	for i, r := range routes {
		if i > 0 {
			if copies, _, _, _, err = a.withholdGroup(g); err != nil {
				return err
			}
		}
		from := r.nextSeq()
		ids, err := r.sealWithheld(copies, r.orgs, days)
		if err != nil {
			return err
		}
		d := a.n.details("withhold the origin", by)
		d.Orgs, d.Records = r.orgs, audit.NewRecordSet(ids, true)
		r.auditAppend(audit.Publish, d)
		if err := r.auditPassOn(by, originals, r.orgs, from); err != nil {
			return err
		}
	}
	return nil
}

// WithheldPlan says what publishing a release with its origin withheld would leave out, or why it is
// refused.
type WithheldPlan struct {
	Records int      `json:"records"`
	Removed []string `json:"removed"` // properties that are left out of any of them, sorted
	To      []OrgRef `json:"to"`      // who may have the copies today
	Refused []string `json:"refused"` // why a record cannot be published so: then none is
}

// PlanWithheld says what approving a release with its origin withheld would do. It changes nothing.
func (n *Node) PlanWithheld(number uint64) (*WithheldPlan, error) {
	d, err := n.releaseOf(number)
	if err != nil {
		return nil, err
	}
	if releaseState(d.State) != releaseWaits {
		return nil, fmt.Errorf("release %d is %s already", number, releaseStates[d.State])
	}
	p := &WithheldPlan{Removed: []string{}, To: []OrgRef{}, Refused: []string{}}
	s, now := n.snap.Load(), uint64(nowMillis())
	a := &appender{n: n, snap: s, topic: d.Topic, sealedAt: now}
	_, body, _, err := n.ownPlain(d.Feed, d.Seq)
	if err != nil {
		return nil, err
	}
	var b protocol.Body
	if err := protocol.Decode(body, protocol.MaxPlainSize, &b); err != nil {
		return nil, err
	}
	records, err := crypto.VerifyBody(s.network, &b, s.card)
	if err != nil {
		return nil, err
	}
	for i := range records {
		r := &records[i]
		if !slices.Contains(d.Records, r.ID) {
			continue
		}
		subject, err := n.withheldSubject(s, r.ID)
		if err != nil {
			return nil, err
		}
		if subject == nil {
			continue // erased, or withdrawn
		}
		p.Records++
		for _, org := range d.Orgs {
			if v := policy.DecideWithheld(s.policy, org, subject, now); !v.Allow {
				p.Refused = append(p.Refused, fmt.Sprintf("%s: to %s: %s", r.ID.Short(), s.name(org), v.Text))
			} else if ref := s.ref(org); !slices.Contains(p.To, ref) {
				p.To = append(p.To, ref)
			}
		}
		c, err := a.withhold(r, 0)
		if err != nil {
			p.Refused = append(p.Refused, r.ID.Short()+": "+err.Error())
			continue
		}
		p.Removed = append(p.Removed, c.removed...)
	}
	slices.Sort(p.Removed)
	p.Removed = slices.Compact(p.Removed)
	return p, nil
}

// withheldSubject is what is decided about of a record whose origin is to be withheld, with the way
// that it came; nil if it is withdrawn, or gone.
func (n *Node) withheldSubject(s *snapshot, id protocol.RecordID) (*policy.Subject, error) {
	var e *corpus.Entry
	err := n.viewIndex(func(tx *store.Tx) (err error) { e, err = n.getEntry(tx, id); return err })
	if errors.Is(err, ErrNotFound) || err == nil && e.Withdrawn {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	subject := n.subjectOf(s, e)
	subject.Path = n.pathOf(e)
	return subject, nil
}

// ProveOrigin proves where a record came from whose origin this organisation withheld, to whoever is
// given it. It says nothing of what the record holds.
func (n *Node) ProveOrigin(ctx context.Context, id protocol.RecordID) ([]byte, error) {
	s := n.snap.Load()
	var o *protocol.SiblingOrigin
	if err := n.st.View(func(tx *store.Tx) (err error) { o, err = originOf(tx, id); return err }); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, fmt.Errorf("record %s was not published here with its origin withheld: %w", id.Short(), ErrNotFound)
	}
	p := &protocol.OriginProof{Version: 1, Network: s.network, Copy: o.Copy, Origin: o.Origin, Salt: o.Salt}
	orgs := append([]protocol.OrgID{n.org, o.Originator}, pathIn(o.Origin.Hops)...)
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	for _, org := range slices.Compact(orgs) {
		c := s.cards[org]
		if c == nil {
			return nil, fmt.Errorf("no card of %s is held any more, and nothing is proven without it", org.Short())
		}
		p.Cards = append(p.Cards, c.Signed)
	}
	if _, err := crypto.VerifyOriginProof(p); err != nil {
		return nil, fmt.Errorf("the proof does not hold: %w", err)
	}
	if err := n.Disclose(ctx, Disclosure{Act: "prove the origin", Query: id.String(), Records: []protocol.RecordID{id}}); err != nil {
		return nil, err
	}
	return protocol.Encode(p), nil
}

// OriginStatement is a verified proof of an origin, as it is shown.
type OriginStatement struct {
	Publisher  OriginParty   `json:"publisher"` // who withheld the origin
	Record     string        `json:"record"`    // as it was published
	Originator OriginParty   `json:"originator"`
	Original   string        `json:"original"` // as its originator signed it
	PassedOn   []OriginParty `json:"passed_on"`
	Published  string        `json:"published"`
	Signed     string        `json:"signed"`
}

// OriginParty is an organisation that a proof names: the words are to be compared with those that it
// says itself, by phone.
type OriginParty struct {
	ID    protocol.OrgID `json:"id"`
	Name  string         `json:"name"`
	Words string         `json:"words"`
}

// ReadOriginProof verifies a proof. It needs no node.
func ReadOriginProof(data []byte) (*OriginStatement, error) {
	var p protocol.OriginProof
	if err := protocol.Decode(data, protocol.MaxOriginProof, &p); err != nil {
		return nil, fmt.Errorf("reading the proof: %w", err)
	}
	o, err := crypto.VerifyOriginProof(&p)
	if err != nil {
		return nil, err
	}
	names := map[protocol.OrgID]string{}
	for i := range p.Cards {
		if c, err := crypto.VerifyCard(&p.Cards[i]); err == nil {
			names[c.Org] = c.Inception.Name
		}
	}
	party := func(id protocol.OrgID) OriginParty {
		return OriginParty{ID: id, Name: names[id], Words: strings.Join(crypto.Words(id), " ")}
	}
	const at = "2006-01-02T15:04:05Z"
	out := &OriginStatement{Publisher: party(o.Publisher), Record: o.Copy.String(), Originator: party(o.Originator), Original: o.Record.String(), PassedOn: []OriginParty{},
		Published: millis(o.Published).Format(at), Signed: millis(o.Signed).Format(at)}
	for _, org := range o.Path {
		out.PassedOn = append(out.PassedOn, party(org))
	}
	return out, nil
}
