package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// A transaction takes no more entries when it has so many records, or so many bytes of them. What
// is sealed in one entry may repeat itself, and take much more where records stand in blocks: a
// store takes 9 MiB at once, and an entry at most about two, of which maxAhead are begun together.
const (
	openRecords = 10_000
	openBytes   = 5 << 19
)

// reader opens the entries of one feed, in order.
type reader struct {
	n         *Node
	s         *snapshot
	feed      *store.Feed
	publisher protocol.OrgID
	own       bool // the feed is this node's
	epochs    []*store.Epoch
	secrets   [][32]byte
	sealedAt  uint64
	out       []outcome
	records   int
	bytes     int             // that the records take in the corpus
	lacking   uint64          // first grant entry whose body is not held; 0: none
	tombs     map[uint64]bool // entries whose bodies were erased
	lost      lostGrantDoc    // grants that were sealed to an identity that is gone
	late      uint64          // first entry that may open now, with a key that came after it
}

// outcome is what became of one entry.
type outcome struct {
	seq         uint64
	state       store.EntryState
	reason      string
	epoch       *store.Epoch
	block       corpus.Block // until it is packed
	packed      *corpus.Prepared
	records     int // in it
	quarantined []quarantineDoc
	withdraw    *protocol.WithdrawBody
	lost        bool          // it is a grant for this node that it cannot open any more
	published   *publishedDoc // of an entry that another node of this organisation published
}

// open goes on with a feed from where it was opened to. With again it first goes through
// the entries that did not open before.
func (g *gate) open(feed protocol.FeedID, again bool) error {
	if again {
		seqs, err := g.unopened(feed)
		if err != nil {
			return err
		}
		for len(seqs) > 0 {
			took, _, err := g.openSome(feed, seqs, false)
			if err != nil {
				return err
			}
			seqs = seqs[took:]
		}
	}
	for {
		took, more, err := g.openSome(feed, nil, true)
		if err != nil || took == 0 && !more {
			return err
		}
	}
}

// unopened lists the entries of a feed that were gone through and did not open.
func (g *gate) unopened(feed protocol.FeedID) (seqs []uint64, err error) {
	err = g.n.st.View(func(tx *store.Tx) error {
		f, err := tx.Feed(feed)
		if err != nil || f == nil {
			return err
		}
		// What was set aside after a fork stays so.
		defer func() { seqs = slices.DeleteFunc(seqs, func(seq uint64) bool { return seq > f.Good() }) }()
		for _, st := range []store.EntryState{store.NotForUs, store.AwaitingKey, store.AwaitingBody, store.Quarantined} {
			list, err := tx.EntriesIn(feed, st)
			if err != nil {
				return err
			}
			seqs = append(seqs, list...)
		}
		return nil
	})
	slices.Sort(seqs)
	return seqs, err
}

// firstLackingGrant returns the first grant entry of a feed whose body is not held; 0: none.
func firstLackingGrant(tx *store.Tx, f *store.Feed) (uint64, error) {
	if f.Lacking == 0 {
		return 0, nil
	}
	seqs, err := tx.Lacking(f.ID, 1<<16)
	for _, seq := range seqs {
		raw, err := tx.Skeleton(f.ID, seq)
		if err != nil || raw == nil {
			return 0, err
		}
		var e protocol.Envelope
		var h protocol.Header
		if err := errors.Join(protocol.Decode(raw, protocol.MaxEnvelopeSize, &e), protocol.Decode(e.Header, protocol.MaxHeaderSize, &h)); err != nil {
			return 0, err
		}
		if h.Kind == protocol.EntryGrant {
			return seq, nil
		}
	}
	return 0, err
}

// openSome opens entries until enough records have come together, and commits. Either seqs
// are given, or the entries after the feed's mark are taken, and the mark moves.
func (g *gate) openSome(feed protocol.FeedID, seqs []uint64, move bool) (took int, more bool, err error) {
	n := g.n
	n.stateMu.RLock()
	r, raws, err := n.newReader(feed, seqs)
	if err != nil || r == nil {
		n.stateMu.RUnlock()
		return 0, false, err
	}
	for full := false; len(raws) > 0 && !full; full = full || r.records >= openRecords || r.bytes >= openBytes {
		some := r.ahead(raws[:min(len(raws), aheadWidth())])
		raws = raws[len(some):]
		from := len(r.out)
		for i := range some {
			e := &some[i]
			if e.err != nil {
				n.stateMu.RUnlock()
				return 0, false, fmt.Errorf("reading stored entry of feed %s: %w", feed.Short(), e.err)
			}
			if e.env.Header.Kind == protocol.EntryLetter && !r.own && !e.env.Skeleton() {
				full = true
				if took > 0 {
					break // what came before is committed first
				}
				s := r.s
				n.stateMu.RUnlock()
				o := g.takeLetter(s, r.publisher, e.env)
				n.stateMu.RLock()
				took++
				r.s = n.snap.Load()
				r.out = append(r.out, o)
				break
			}
			took++
			r.out = append(r.out, r.entry(e))
		}
		r.prepare(from)
	}
	err = n.st.Update(func(tx *store.Tx) error { return r.commit(tx, move) })
	n.stateMu.RUnlock()
	if err == nil && r.records > 0 {
		n.mergeIndex(mergeSteps)
	}
	if err == nil && r.late != 0 {
		g.reopenFeed(feed) // a key came after what is sealed under it
	}
	return took, took > 0, err
}

// takeLetter opens a letter and does what it says. Doing it twice changes nothing, so it is
// done before the mark moves. A letter that cannot be judged yet is kept for later.
func (g *gate) takeLetter(s *snapshot, sender protocol.OrgID, env *crypto.VerifiedEnvelope) outcome {
	o := outcome{seq: env.Header.Seq, state: store.Applied}
	l, err := g.n.openLetter(s, sender, &env.Header, env.Body)
	if err == nil {
		err = g.n.receiveLetter(l)
	}
	switch {
	case err == nil || errors.Is(err, protocol.ErrNotInAudience):
	case early(err):
		o.state, o.reason = store.AwaitingKey, protocol.Class(err)+": "+err.Error()
	default:
		g.n.log.Warn("setting a letter aside", "from", sender, "err", err)
		g.n.noteRefusedLetter(sender, &env.Header, err)
	}
	return o
}

// keyReason begins the reason noted for entries whose key is not held.
const keyReason = "key:"

// errEarly is what an entry fails with that may turn out good later.
var errEarly = errors.New("not to be judged yet")

// early reports whether an entry may be judged otherwise later: when a card or an agreement
// has come, when the time has come, when a disk works again, or by a later version of the program.
func early(err error) bool {
	return errors.Is(err, errEarly) || errors.Is(err, protocol.ErrLaterVersion) || errors.Is(err, protocol.ErrUnknownAuthor) || protocol.Class(err) == "other"
}

func (n *Node) newReader(id protocol.FeedID, seqs []uint64) (*reader, [][]byte, error) {
	r := &reader{n: n, s: n.snap.Load()}
	var raws [][]byte
	err := n.st.View(func(tx *store.Tx) (err error) {
		if r.feed, err = tx.Feed(id); err != nil || r.feed == nil {
			return err
		}
		if r.epochs, err = tx.Epochs(id); err != nil {
			return err
		}
		if r.lacking, err = firstLackingGrant(tx, r.feed); err != nil {
			return err
		}
		if _, err := getDoc(tx, kindLostGrant, id[:], &r.lost); err != nil {
			return err
		}
		if seqs == nil {
			count := min(64, r.feed.Good()-min(r.feed.Opened, r.feed.Good()))
			return tx.Range(id, r.feed.Opened+1, int(count), admitBytes, func(raw []byte) error {
				raws = append(raws, slices.Clone(raw))
				return nil
			})
		}
		size := 0
		for _, seq := range seqs {
			if seq > r.feed.Good() {
				continue // after a fork
			}
			raw, err := tx.Envelope(id, seq)
			if err != nil {
				return err
			}
			if size += len(raw); size > admitBytes && len(raws) > 0 {
				break
			}
			raws = append(raws, raw)
		}
		return nil
	})
	if err != nil || r.feed == nil || len(raws) == 0 {
		return nil, nil, err
	}
	if r.tombs, err = n.tombsOf(id, raws); err != nil {
		return nil, nil, err
	}
	sg := r.s.signers[r.feed.Origin.Signing]
	r.publisher, r.own = sg.org, r.feed.Origin.Signing == n.keys.Signing.Public()
	r.sealedAt = r.feed.SealedAt
	if seqs != nil {
		r.sealedAt = 0
	}
	if r.publisher == n.org {
		r.secrets = append(r.secrets, protocol.SiblingSecret(n.org))
	}
	for _, a := range r.s.agreements {
		if len(a.Missing) == 0 && slices.Contains(a.Parties, r.publisher) && slices.Contains(a.Parties, n.org) {
			r.secrets = append(r.secrets, a.Secret)
		}
	}
	return r, raws, nil
}

// tombsOf tells which of some entries were erased.
func (n *Node) tombsOf(feed protocol.FeedID, raws [][]byte) (map[uint64]bool, error) {
	out := map[uint64]bool{}
	network := n.snap.Load().network
	return out, n.st.View(func(tx *store.Tx) error {
		for _, raw := range raws {
			_, h, err := protocol.DecodeSkeleton(network, raw)
			if err != nil {
				continue // it has its body
			}
			tomb, err := tx.Erased(feed, h.Seq)
			if err != nil {
				return err
			}
			out[h.Seq] = tomb != nil
		}
		return nil
	})
}

// entry opens one entry. It changes nothing but the reader.
func (r *reader) entry(e *readEntry) outcome {
	env := e.env
	o := outcome{seq: env.Header.Seq, state: store.NotForUs}
	if env.Skeleton() {
		o.state = store.AwaitingBody
		if tomb := r.tombs[env.Header.Seq]; tomb {
			o.state = store.Erased
		}
		return o
	}
	var err error
	switch env.Header.Kind {
	case protocol.EntryGrant:
		err = r.grant(env, &o)
	case protocol.EntryRecords:
		err = r.openRecords(env, e.body, &o)
	case protocol.EntryWithdraw:
		err = r.openWithdraw(env, &o)
	case protocol.EntryLetter:
		o.state = store.Applied // an own letter
	}
	if err != nil {
		r.refuse(&o, env.Header.Kind, err)
	}
	return o
}

// refuse says of an entry that it did not open, and why.
func (r *reader) refuse(o *outcome, kind protocol.EntryKind, err error) {
	switch {
	case errors.Is(err, protocol.ErrNotInAudience) && r.lacking != 0 && r.lacking < o.seq && kind != protocol.EntryGrant:
		// Only who holds all grants before an entry knows that it is not for it.
		o.state, o.reason = store.AwaitingKey, fmt.Sprintf(keyReason+" the grant in entry %d of this feed is not held", r.lacking)
	case errors.Is(err, protocol.ErrNotInAudience) && r.lost.First != 0 && r.lost.First < o.seq && kind != protocol.EntryGrant:
		o.state, o.reason = store.AwaitingKey, fmt.Sprintf(keyReason+" the grant in entry %d came after the age identity was destroyed that it is sealed to; its publisher is asked for it again", r.lost.First)
	case errors.Is(err, protocol.ErrNotInAudience):
		o.state = store.NotForUs
	case early(err):
		o.state, o.reason = store.AwaitingKey, protocol.Class(err)+": "+err.Error()
	default:
		o.state, o.reason = store.Quarantined, protocol.Class(err)+": "+err.Error()
		o.quarantined = append(o.quarantined, r.quarantine(o, 0, protocol.RecordID{}, nil, protocol.Class(err), err.Error()))
	}
}

func (r *reader) grant(env *crypto.VerifiedEnvelope, o *outcome) error {
	if r.own {
		o.state = store.Applied
		return nil
	}
	var body protocol.GrantBody
	if err := protocol.Decode(env.Body, protocol.MaxBodySize, &body); err != nil {
		return err
	}
	ep, err := crypto.OpenGrant(r.s.network, r.publisher, r.feed.ID, env.Header.Seq, r.n.ID(), r.n.identities(), r.secrets, &body)
	if errors.Is(err, crypto.ErrIdentityGone) {
		o.lost = r.lost.add(env.Header.Seq)
	}
	if err != nil {
		return err
	}
	for _, have := range r.epochs {
		if have.Number == ep.Number && have.Key != ep.Key.UnsafeBytes() {
			return protocol.Errorf(protocol.ErrWrongContext, "grant gives another key for epoch %d than an earlier one", ep.Number)
		}
	}
	o.epoch = &store.Epoch{Number: ep.Number, Key: ep.Key.UnsafeBytes(), Created: uint64(nowMillis()), First: ep.First}
	known := slices.ContainsFunc(r.epochs, func(e *store.Epoch) bool { return e.Number == ep.Number })
	if !known && ep.First != 0 && ep.First < env.Header.Seq && (r.late == 0 || ep.First < r.late) {
		r.late = ep.First
	}
	o.state = store.Applied
	r.epochs = append(r.epochs, o.epoch)
	return nil
}

// plain opens a body sealed under an epoch key.
func (r *reader) plain(env *crypto.VerifiedEnvelope) ([]byte, error) {
	keys := make([]crypto.EpochKey, len(r.epochs))
	for i, ep := range r.epochs {
		keys[i] = crypto.EpochKeyOf(ep.Key)
	}
	plain, _, err := crypto.OpenBody(env.Header.SealContext(r.s.network), r.feed.ID, env.Header.Seq, keys, env.Body)
	return plain, err
}

// sealed checks and takes over the time at which a body says it was sealed.
func (r *reader) sealed(at uint64) error {
	switch {
	case at < r.sealedAt:
		return protocol.Errorf(protocol.ErrWrongContext, "entry says it was sealed before the one ahead of it in its feed")
	case at > uint64(nowMillis())+protocol.MaxClockSkew:
		return fmt.Errorf("entry says it was sealed in the future; check the clocks of both nodes: %w", errEarly)
	}
	r.sealedAt = at
	return nil
}

// openedBody is what an entry of records holds, verified. Of an entry that was sealed here a moment
// ago it is known, and neither decrypted nor parsed again.
type openedBody struct {
	hash          protocol.Hash // of the entry
	sealedAt      uint64
	retentionDays uint32
	records       []crypto.VerifiedRecord
	objects       []*stix.Object // of the records; nil: not parsed yet; one that is nil did not parse
	observables   [][]stix.Observable
	sealed        *protocol.Body // nil if it was sealed here
}

func (r *reader) openBody(env *crypto.VerifiedEnvelope) (*openedBody, error) {
	if b := r.n.gate.sealedHere(env); b != nil {
		return b, nil
	}
	plain, err := r.plain(env)
	if err != nil {
		return nil, err
	}
	body := new(protocol.Body)
	if err := protocol.Decode(plain, protocol.MaxPlainSize, body); err != nil {
		return nil, err
	}
	return &openedBody{sealedAt: body.SealedAt, retentionDays: body.RetentionDays, sealed: body}, nil
}

// openRecords opens an entry of records; b is what was read of it ahead, nil if nothing was.
func (r *reader) openRecords(env *crypto.VerifiedEnvelope, b *openedBody, o *outcome) (err error) {
	if b == nil {
		if b, err = r.openBody(env); err != nil {
			return err
		}
	}
	if err := r.sealed(b.sealedAt); err != nil {
		return err
	}
	if err := r.verifyBody(b); err != nil {
		return err
	}
	for i := range b.records {
		if p := principalOf(b.records[i].Behalf); p != (protocol.OrgID{}) && !r.s.rostered(p) {
			return fmt.Errorf("it is published on behalf of %s, which is not known to be a member: %w", r.s.name(p), errEarly)
		}
	}
	b.parse()
	topic := r.s.topics[r.feed.Origin.Topic]
	o.state = store.Applied
	block := corpus.Block{Feed: r.feed.ID, Seq: env.Header.Seq, Topic: topic, Publisher: r.publisher, Received: uint64(nowMillis()), SealedAt: b.sealedAt,
		Records: make([]corpus.NewRecord, 0, len(b.records))}
	for i := range b.records {
		rec, obj := &b.records[i], b.objects[i]
		var observables []stix.Observable // nil: not known
		if b.observables != nil {
			observables = b.observables[i]
		}
		if obj == nil {
			_, err := stix.Parse(rec.Object) // why not
			o.quarantined = append(o.quarantined, r.quarantine(o, i, rec.ID, nil, protocol.Class(protocol.ErrMalformed), err.Error()))
			continue
		}
		if rec.Behalf != nil {
			if err := r.s.refuses(rec.Behalf.ID, &rec.Behalf.Mandate, topic, rec.Handling.TLP, rec.Signed); err != nil {
				o.quarantined = append(o.quarantined, r.quarantine(o, i, rec.ID, obj, string(policy.ReasonMandate), err.Error()))
				continue
			}
		}
		d := r.ingress(topic, obj, rec, b.sealedAt, env.Header.Seq)
		if !d.Allow {
			o.quarantined = append(o.quarantined, r.quarantine(o, i, rec.ID, obj, string(d.Reason), d.Text))
			continue
		}
		block.Records = append(block.Records, corpus.NewRecord{Record: rec.ID, Originator: rec.Originator, Handling: rec.Handling,
			Object: obj, Observables: observables, Agreement: d.Agreement, Term: d.Term, Text: d.Text, Form: formOf(rec),
			Expires: expiresAt(b.sealedAt, b.retentionDays, rec.Handling.RetentionDays, d.Retention)})
	}
	o.block, o.records = block, len(block.Records)
	if r.publisher == r.n.org && !r.own && r.n.answersFor(r.s, &r.feed.Origin) {
		o.published = r.adopt(env, topic, b.sealed)
	}
	return nil
}

// formOf is how a record was published, as the corpus keeps it.
func formOf(rec *crypto.VerifiedRecord) corpus.Form {
	f := corpus.Form{Withheld: rec.Withheld}
	if rec.Behalf != nil {
		f.Principal, f.Mandate = rec.Behalf.Principal, rec.Behalf.ID
	}
	return f
}

// ingress decides whether the publisher may send this here, by the agreement in force when
// it was sealed. A termination that this organisation signed also ends by position: nothing
// after the heads that it named is read under that agreement.
func (r *reader) ingress(topic string, obj *stix.Object, rec *crypto.VerifiedRecord, sealedAt, seq uint64) policy.Decision {
	subject := &policy.Subject{Originator: rec.Originator, Publisher: r.publisher, Handling: rec.Handling, Topic: topic, Kind: obj.Type, RecordedAt: sealedAt, Path: rec.Path, Principal: principalOf(rec.Behalf)}
	if r.s.policy.WantsConfidence() {
		subject.Confidence = r.s.policy.Confidence(obj.Confidence())
	}
	if r.publisher == r.n.org { // that is decided without looking at agreements, and not worth keeping
		return policy.Ingress(r.s.policy, r.publisher, subject, sealedAt)
	}
	state := r.s.policy
	if ended := r.s.endedBy(r.n.org, r.feed.ID, seq, sealedAt); len(ended) > 0 {
		state = r.s.without(r.n.org, ended)
	}
	key := policy.CacheKey{Generation: r.s.generation, Publisher: r.publisher, Originator: rec.Originator, Topic: topic, Kind: obj.Type, Handling: string(rec.HandlingBytes),
		Confidence: subject.Confidence, Path: pathKey(rec.Path), Principal: subject.Principal}
	if state == r.s.policy {
		if d, ok := r.n.cache.Get(key, sealedAt); ok {
			return d
		}
	}
	d := policy.Ingress(state, r.publisher, subject, sealedAt)
	if state == r.s.policy {
		r.n.cache.Put(key, sealedAt, d)
	}
	return d
}

func (r *reader) openWithdraw(env *crypto.VerifiedEnvelope, o *outcome) error {
	plain, err := r.plain(env)
	if err != nil {
		return err
	}
	var body protocol.WithdrawBody
	if err := protocol.Decode(plain, protocol.MaxPlainSize, &body); err != nil {
		return err
	}
	if err := r.sealed(body.SealedAt); err != nil {
		return err
	}
	for i := range body.Exclusions {
		if _, err := crypto.VerifyExclusion(r.s.network, &body.Exclusions[i], r.s.card); err != nil {
			return err
		}
	}
	o.state, o.withdraw = store.Applied, &body
	return nil
}

func (r *reader) quarantine(o *outcome, index int, id protocol.RecordID, obj *stix.Object, reason, text string) quarantineDoc {
	q := quarantineDoc{Feed: r.feed.ID, Seq: o.seq, Index: uint32(index), Record: id, Publisher: r.publisher,
		Topic: r.s.topics[r.feed.Origin.Topic], Reason: reason, Text: text, At: uint64(nowMillis())}
	if obj != nil {
		q.StixID, q.Type = obj.ID, obj.Type
	}
	return q
}

// commit writes what became of the entries, and moves the mark, in one transaction.
func (r *reader) commit(tx *store.Tx, move bool) error {
	f, err := tx.Feed(r.feed.ID)
	if err != nil {
		return err
	}
	good := f.Good() // the feed may have been ended since it was read
	var setAside []quarantineDoc
	for i := range r.out {
		o := &r.out[i]
		if o.seq > good {
			continue
		}
		place := entryKey(r.feed.ID, o.seq)
		aside, err := fresh(tx, place, o.quarantined)
		if err == nil {
			err = clearQuarantine(tx, place)
		}
		if err != nil {
			return err
		}
		setAside = append(setAside, aside...)
		if o.lost {
			if err := noteLostGrant(tx, r.feed.ID, o.seq); err != nil {
				return err
			}
		}
		if o.epoch != nil {
			if err := tx.PutEpoch(r.feed.ID, o.epoch); err != nil {
				return err
			}
		}
		if o.records > 0 {
			added, err := r.n.index.Add(tx, o.packed)
			if err != nil {
				return err
			}
			if err := r.erasedBefore(tx, o.seq, added.Erased); err != nil {
				return err
			}
		}
		if o.withdraw != nil {
			for i := range o.withdraw.Exclusions {
				if err := r.n.keepExclusion(tx, &o.withdraw.Exclusions[i], r.publisher, nil); err != nil {
					return err
				}
			}
			r.n.words.Add(1)
			for _, id := range o.withdraw.Records {
				if err := r.n.index.Withdraw(tx, corpus.Withdrawal{Record: id, By: r.publisher, Reason: o.withdraw.Reason, At: o.withdraw.SealedAt, Noted: uint64(nowMillis()), Feed: r.feed.ID, Seq: o.seq}); err != nil {
					return err
				}
				if r.publisher != r.n.org {
					if err := errors.Join(r.n.noteForward(tx, id, o.withdraw.Reason), copiesFollow(tx, []protocol.RecordID{id})); err != nil {
						return err
					}
				}
			}
		}
		if err := keepAdopted(tx, place, o.published); err != nil {
			return err
		}
		for _, q := range o.quarantined {
			if err := putDoc(tx, kindQuarantine, append(place, be64(uint64(q.Index))...), &q); err != nil {
				return err
			}
		}
		state := o.state
		if state == store.Applied && len(o.quarantined) > 0 {
			state = store.Quarantined
		}
		if state == store.AwaitingBody {
			if err := tx.Want(r.feed.ID, o.seq); err != nil {
				return err
			}
		}
		if err := tx.SetEntryState(r.feed.ID, o.seq, state, o.reason); err != nil {
			return err
		}
	}
	if err := r.n.auditQuarantine(tx, r.publisher, setAside); err != nil || !move {
		return err
	}
	if f, err = tx.Feed(r.feed.ID); err != nil { // what was committed above changed it
		return err
	}
	f.Opened = max(f.Opened, min(r.out[len(r.out)-1].seq, good))
	f.SealedAt = max(f.SealedAt, r.sealedAt)
	return tx.PutFeed(f)
}

// erasedBefore has the sealed copies of records go that were erased before they came. What shares
// the entry with them was taken over. Of an entry of this organisation they are due.
func (r *reader) erasedBefore(tx *store.Tx, seq uint64, erased []corpus.Gone) error {
	if len(erased) > 0 && r.publisher != r.n.org {
		_, err := tx.Erase(r.feed.ID, seq, &store.Tomb{Reason: protocol.EraseRequest, At: uint64(nowMillis())})
		return err
	}
	for _, g := range erased {
		if g.Reason == protocol.EraseExpired {
			continue // the entry expires by itself
		}
		if err := r.n.putDue(tx, g.Record, r.feed.ID, seq, g.Reason); err != nil {
			return err
		}
	}
	return nil
}

// fresh returns what of an entry was not set aside before for the same reason: it is gone through
// again, and nothing is decided anew.
func fresh(tx *store.Tx, place []byte, list []quarantineDoc) (out []quarantineDoc, err error) {
	for _, q := range list {
		var before quarantineDoc
		ok, err := getDoc(tx, kindQuarantine, append(slices.Clone(place), be64(uint64(q.Index))...), &before)
		if err != nil {
			return nil, err
		}
		if !ok || before.Reason != q.Reason {
			out = append(out, q)
		}
	}
	return out, nil
}

func clearQuarantine(tx *store.Tx, place []byte) error {
	var keys [][]byte
	err := tx.Scan(append([]byte(kindQuarantine), place...), nil, false, func(k, _ []byte) (bool, error) {
		keys = append(keys, slices.Clone(k))
		return true, nil
	})
	for _, k := range keys {
		err = errors.Join(err, tx.Delete(k))
	}
	return err
}

// without returns the policy state less some agreements.
func (s *snapshot) without(self protocol.OrgID, ended []protocol.AgreementID) *policy.State {
	var rest []policy.Agreement
	for _, a := range s.policy.Agreements {
		if !slices.Contains(ended, a.ID) {
			rest = append(rest, a)
		}
	}
	return policy.NewState(self, s.generation, s.policy.Orgs, rest).WithLocal(s.policy.Local)
}
