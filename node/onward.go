package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Passing on: records that came from others are sealed anew, unchanged, with their originator's
// proof and the statements of who passed them on before, for those whom the originator's word, the
// terms that they came under and this organisation's own terms all admit. Either a rule does it, or
// a person who releases them.

// ReleaseMode says what is done with records that may be passed on.
type ReleaseMode uint8

// The modes. Whatever the mode, nothing is passed on that is not admitted, and what a term wants
// approved waits for approval.
const (
	ReleaseOff  ReleaseMode = iota // nothing is passed on
	ReleaseAsk                     // everything waits for a person
	ReleaseAuto                    // a rule: what needs no approval is passed on by itself
)

var releaseModes = [...]string{"off", "ask", "auto"}

// String returns the name of a mode.
func (m ReleaseMode) String() string {
	if int(m) < len(releaseModes) {
		return releaseModes[m]
	}
	return fmt.Sprintf("unknown(%d)", m)
}

// ParseReleaseMode reads the name of a mode.
func ParseReleaseMode(s string) (ReleaseMode, error) {
	if i := slices.Index(releaseModes[:], s); i >= 0 {
		return ReleaseMode(i), nil
	}
	return 0, fmt.Errorf("unknown mode %q; use off, ask or auto", s)
}

// releaseSetting is the mode, and up to where records were looked at.
type releaseSetting struct {
	_      struct{} `cbor:",toarray"`
	Mode   uint8
	Cursor uint64
}

const settingRelease = "release"

// Release returns the mode.
func (n *Node) Release() (mode ReleaseMode, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		var doc releaseSetting
		_, err := getDoc(tx, kindSetting, []byte(settingRelease), &doc)
		mode = ReleaseMode(doc.Mode)
		return err
	})
	return mode, err
}

// SetRelease sets the mode. What came while it was off is looked at only if all is set.
func (n *Node) SetRelease(ctx context.Context, mode ReleaseMode, all bool) error {
	if int(mode) >= len(releaseModes) {
		return fmt.Errorf("unknown mode %d", mode)
	}
	n.passing.Lock()
	err := n.st.Update(func(tx *store.Tx) error {
		var doc releaseSetting
		if _, err := getDoc(tx, kindSetting, []byte(settingRelease), &doc); err != nil {
			return err
		}
		next, err := corpus.Next(tx)
		if err != nil {
			return err
		}
		switch {
		case all: // what waits is put before persons again
			if err := voidReleases(tx); err != nil {
				return err
			}
			doc.Cursor = 0
		case ReleaseMode(doc.Mode) == ReleaseOff:
			doc.Cursor = next - min(next, 1)
		}
		doc.Mode = uint8(mode)
		if err := n.auditRelease(tx, CallerOf(ctx), "set mode "+mode.String(), 0, nil, ""); err != nil {
			return err
		}
		return putDoc(tx, kindSetting, []byte(settingRelease), &doc)
	})
	n.passing.Unlock()
	return errors.Join(err, n.passDue(ctx))
}

// onwardGroup are records of one entry that go to the same organisations under the same conditions.
type onwardGroup struct {
	place      protocol.EntryRef
	topic      string
	originator protocol.OrgID
	publisher  protocol.OrgID
	tlp        protocol.TLP
	kinds      map[string]int
	orgs       []protocol.OrgID
	days       uint32
	needs      uint8
	why        string               // persons are needed; "" where none is
	approved   int                  // persons who released it
	withhold   bool                 // the origin
	limited    []policy.OrgDecision // of orgs: those whose terms limit how much goes in a day
	volume     *volume              // that counted the records
	generation uint64               // of the state that it was decided under
	words      uint64               // how many withdrawals and exclusions had been stored by then
	records    []protocol.RecordID
}

// passWindow is how many records are looked at between two commits.
const passWindow = 2000

// passDue looks at the records that came since it last did: it passes on what needs nobody, and
// puts before people what needs them. It also tells those who had records from here that their
// originator took them back.
func (n *Node) passDue(ctx context.Context) error {
	if n.usable() != nil {
		return nil // what was erased since must not be sealed anew
	}
	n.passing.Lock()
	defer n.passing.Unlock()
	for {
		more, err := n.passSome(ctx)
		if err != nil || !more {
			return errors.Join(err, n.forwardOrigins(ctx), n.forward(ctx), n.sendAcks(), n.sendHistory(ctx))
		}
	}
}

// forward tells of withdrawals and exclusions who is to be told and was not. Those that wait for an
// agreement, perhaps for good, are looked at again when agreements may have changed. What is looked at
// stands among them until it is done, so that neither a crash nor what comes meanwhile is lost.
func (n *Node) forward(ctx context.Context) error {
	state := forwarded{generation: n.snap.Load().generation, hour: nowMillis() / 3600_000}
	records, exclusions := map[protocol.RecordID]*forwardDoc{}, map[protocol.Hash]bool{}
	look := func(tx *store.Tx) error {
		clear(records)
		clear(exclusions)
		for _, kind := range []string{kindForward, kindForwardWait} {
			if kind == kindForwardWait && state == n.forwarded {
				continue
			}
			if err := scanDocs(tx, kind, func(id []byte, d *forwardDoc) error {
				if len(id) == len(protocol.RecordID{}) {
					records[protocol.RecordID(id)] = d
				}
				return nil
			}); err != nil {
				return err
			}
		}
		for _, kind := range []string{kindExcludeDue, kindExcludeWait} {
			if kind == kindExcludeWait && state == n.forwarded {
				continue
			}
			if err := scanDocs(tx, kind, func(id []byte, _ *goneDoc) error {
				if len(id) == len(protocol.Hash{}) {
					exclusions[protocol.Hash(id)] = true
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := n.st.View(look); err != nil {
		return err
	}
	if len(records)+len(exclusions) > 0 {
		if err := n.st.Update(func(tx *store.Tx) error {
			if err := look(tx); err != nil {
				return err
			}
			for id := range records {
				var due, wait forwardDoc
				ok, err := getDoc(tx, kindForward, id[:], &due)
				if err == nil && ok {
					err = errors.Join(tx.Delete(append([]byte(kindForward), id[:]...)), tellLater(tx, kindForwardWait, []protocol.RecordID{id}, due.Reason, due.Orgs))
				}
				if err == nil {
					_, err = getDoc(tx, kindForwardWait, id[:], &wait)
				}
				if err != nil {
					return err
				}
				records[id] = &wait
			}
			for h := range exclusions {
				if err := errors.Join(tx.Delete(append([]byte(kindExcludeDue), h[:]...)), putDoc(tx, kindExcludeWait, h[:], &goneDoc{})); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	err := n.forwardWithdrawals(ctx, records)
	for h := range exclusions {
		if err == nil {
			err = n.forwardExclusion(ctx, h)
		}
	}
	if n.forwarded = state; err != nil {
		n.forwarded = forwarded{} // all of them again
		err = fmt.Errorf("telling what was taken back: %w", err)
	}
	return err
}

// forwarded is the state in which it was looked last at what waits to be told.
type forwarded struct {
	generation uint64
	hour       int64 // agreements begin by time alone
}

func (n *Node) passSome(ctx context.Context) (more bool, err error) {
	var doc releaseSetting
	var list []corpus.Entry
	next, words := uint64(0), n.words.Load() // before anything is read
	if err := n.viewIndex(func(tx *store.Tx) error {
		if _, err := getDoc(tx, kindSetting, []byte(settingRelease), &doc); err != nil || ReleaseMode(doc.Mode) == ReleaseOff {
			return err
		}
		list, next, err = corpus.Since(tx, doc.Cursor, passWindow)
		return err
	}); err != nil || ReleaseMode(doc.Mode) == ReleaseOff || next == doc.Cursor {
		return false, err
	}
	groups, looked, err := n.groupOnward(list, ReleaseMode(doc.Mode), words)
	if err != nil {
		return false, err
	}
	note, err := n.auditOnward(looked)
	if err != nil {
		return false, err
	}
	for _, topic := range topicsOf(groups) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if err := n.passGroups(topic, groups); errors.Is(err, errRegroup) {
			return true, nil
		} else if err != nil {
			return false, fmt.Errorf("passing on records of topic %q: %w", topic, err)
		}
	}
	return true, n.st.Update(func(tx *store.Tx) error {
		for _, g := range groups {
			if g.needs > 0 {
				if err := putRelease(tx, g); err != nil {
					return err
				}
			}
		}
		if err := note(tx); err != nil {
			return err
		}
		doc.Cursor = next
		return putDoc(tx, kindSetting, []byte(settingRelease), &doc)
	})
}

func topicsOf(groups []*onwardGroup) (topics []string) {
	for _, g := range groups {
		if g.needs == 0 && !slices.Contains(topics, g.topic) {
			topics = append(topics, g.topic)
		}
	}
	return topics
}

// groupOnward decides about records, once for each class, and groups them.
func (n *Node) groupOnward(list []corpus.Entry, mode ReleaseMode, words uint64) (out []*onwardGroup, looked []*onwardClass, err error) {
	s := n.snap.Load()
	partners := s.policy.Receivers(n.org)
	classes := map[string][]onwardGroup{}
	about := map[string]*onwardClass{}
	byKey := map[string]*onwardGroup{}
	counted := n.newVolume(uint64(nowMillis()))
	for i := range list {
		e := &list[i]
		if e.Publisher == n.org || e.Originator == n.org || e.Withdrawn {
			continue
		}
		subject := n.subjectOf(s, e)
		class := string(protocol.Encode(&e.Handling)) + string(e.Originator[:]) + string(e.Publisher[:]) + string(e.Form.Principal[:]) + e.Topic + "\x00" + e.Type + fmt.Sprint(subject.Confidence, subject.RecordedAt) + string(protocol.Encode(subject.Bounds))
		ways, ok := classes[class]
		if !ok {
			c := &onwardClass{topic: e.Topic, class: audit.Class{Originator: e.Originator, Kind: e.Type, Handling: protocol.Encode(&e.Handling)}}
			ways, c.verdicts = s.waysOnward(partners, subject, mode)
			classes[class], about[class] = ways, c
			looked = append(looked, c)
		}
		about[class].add(e)
		var not []protocol.OrgID
		if err := n.viewIndex(func(tx *store.Tx) (err error) { not, err = n.notFor(tx, e); return err }); err != nil {
			return nil, nil, err
		}
		for _, w := range ways {
			orgs := slices.DeleteFunc(slices.Clone(w.orgs), func(o protocol.OrgID) bool { return slices.Contains(not, o) })
			add := func(orgs []protocol.OrgID, needs uint8, why string) {
				if len(orgs) == 0 {
					return
				}
				key := string(entryKey(e.Feed, e.Seq)) + string(protocol.Encode(orgs)) + fmt.Sprint(w.days, needs, why)
				g := byKey[key]
				if g == nil {
					g = &onwardGroup{place: protocol.EntryRef{Feed: e.Feed, Seq: e.Seq}, topic: e.Topic, originator: e.Originator, publisher: e.Publisher,
						kinds: map[string]int{}, orgs: orgs, days: w.days, needs: needs, why: why, volume: counted,
						generation: s.generation, words: words}
					byKey[key] = g
					out = append(out, g)
				}
				g.records = append(g.records, e.Record)
				g.kinds[e.Type]++
				g.tlp = max(g.tlp, e.Handling.TLP)
			}
			// What is more than a term lets through today waits for a person, on another day.
			var over []protocol.OrgID
			if w.needs == 0 {
				limited := slices.DeleteFunc(slices.Clone(w.limited), func(d policy.OrgDecision) bool { return !slices.Contains(orgs, d.Org) })
				var err error
				if over, err = counted.over(limited); err != nil {
					return nil, nil, err
				}
			}
			add(slices.DeleteFunc(slices.Clone(orgs), func(o protocol.OrgID) bool { return slices.Contains(over, o) }), w.needs, w.why)
			add(over, 1, "the term lets no more through in a day")
		}
	}
	return out, looked, nil
}

// add adds a record of the class.
func (c *onwardClass) add(e *corpus.Entry) {
	c.records = append(c.records, e.Record)
	if k := len(c.places); k > 0 && c.places[k-1].Feed == e.Feed && c.places[k-1].To <= e.Seq && e.Seq <= c.places[k-1].To+1 {
		c.places[k-1].To = e.Seq
	} else {
		c.places = append(c.places, audit.Place{Feed: e.Feed, From: e.Seq, To: e.Seq})
	}
}

// sealedFor lists for whom a record was sealed by this organisation already.
func (n *Node) sealedFor(id protocol.RecordID) (orgs []protocol.OrgID, err error) {
	err = n.viewIndex(func(tx *store.Tx) error { orgs, err = n.readersOf(tx, id); return err })
	return orgs, err
}

// notFor lists those for whom a record must not be sealed: they have it from here, its originator
// excluded them since, or a person did not release it.
func (n *Node) notFor(tx *store.Tx, e *corpus.Entry) ([]protocol.OrgID, error) {
	had, err := n.readersOf(tx, e.Record)
	if err != nil {
		return nil, err
	}
	copies, err := copiesOf(tx, e.Record)
	if err != nil {
		return nil, err
	}
	for _, id := range copies { // with both it would know whose the copy is
		more, err := n.readersOf(tx, id)
		if err != nil {
			return nil, err
		}
		had = append(had, more...)
	}
	excluded, _, err := excludedFrom(tx, e.Record, e.Originator, e.Form.Principal)
	if err != nil {
		return nil, err
	}
	var denied deniedDoc
	_, err = getDoc(tx, kindDenied, e.Record[:], &denied)
	return slices.Concat(had, excluded, denied.Orgs), err
}

// subjectOf is what is decided about of a record that came.
func (n *Node) subjectOf(s *snapshot, e *corpus.Entry) *policy.Subject {
	subj := &policy.Subject{Originator: e.Originator, Publisher: e.Publisher, Handling: e.Handling, Topic: e.Topic, Kind: e.Type, RecordedAt: cmp.Or(e.SealedAt, e.Received), Principal: e.Form.Principal}
	if e.Publisher != n.org {
		subj.Bounds = n.boundsOf(s, e.Feed)
	}
	if s.policy.WantsConfidence() {
		if o, err := stix.Parse(e.Object); err == nil {
			subj.Confidence = s.policy.Confidence(o.Confidence())
		}
	}
	return subj
}

// waysOnward decides to whom a class of records may be passed on, by what it takes.
func (s *snapshot) waysOnward(partners []protocol.OrgID, subject *policy.Subject, mode ReleaseMode) (out []onwardGroup, all []policy.OrgDecision) {
	now := uint64(nowMillis())
	for _, org := range partners {
		if org == subject.Originator || org == subject.Publisher {
			continue
		}
		d := policy.DecideOnward(s.policy, org, subject, now)
		all = append(all, policy.OrgDecision{Org: org, Decision: d})
		if !d.Allow {
			continue
		}
		needs, why := d.Approval, d.ApprovalText
		if mode == ReleaseAsk && needs == 0 {
			needs, why = 1, "in mode ask everything waits for a person"
		}
		needs, why = s.personsOf(needs, why) // whoever sets the mode does not do without them
		i := slices.IndexFunc(out, func(g onwardGroup) bool { return g.days == d.Retention && g.needs == needs && g.why == why })
		if i < 0 {
			i = len(out)
			out = append(out, onwardGroup{days: d.Retention, needs: needs, why: why})
		}
		out[i].orgs = append(out[i].orgs, org)
		if d.PerDay > 0 {
			out[i].limited = append(out[i].limited, policy.OrgDecision{Org: org, Decision: d})
		}
	}
	return out, all
}

// errRegroup says that agreements, cards or rules changed since it was decided who gets what, or
// that an originator took something back: it is decided anew. It does not leave this package.
var errRegroup = errors.New("decided before something changed")

// passGroups seals those groups of a topic that need nobody, in one commit.
func (n *Node) passGroups(topic string, groups []*onwardGroup) error {
	return n.append(topic, func(a *appender) error {
		for _, g := range groups {
			if g.topic != topic || g.needs > 0 {
				continue
			}
			if g.generation != a.snap.generation {
				return errRegroup
			}
			a.onCommit = append(a.onCommit, func(*store.Tx) error {
				if n.words.Load() != g.words { // writers take turns: nothing comes in between any more
					return errRegroup
				}
				return nil
			})
			if err := a.passOn(g, Caller{}); err != nil {
				return err
			}
			if len(a.all()) > 0 {
				a.onCommit = append(a.onCommit, g.volume.commit)
			}
		}
		return nil
	})
}

// onwardBody is an entry that was opened to be passed on. The groups of one entry follow each other, and
// there may be as many as it has handlings.
type onwardBody struct {
	place   protocol.EntryRef
	body    *protocol.Body // nil: it does not open, or verify, any more
	records []crypto.VerifiedRecord
}

// openOnward opens and verifies an entry, once for all groups of it.
func (a *appender) openOnward(place protocol.EntryRef) (*protocol.Body, []crypto.VerifiedRecord) {
	if a.onward != nil && a.onward.place == place {
		return a.onward.body, a.onward.records
	}
	a.onward = &onwardBody{place: place}
	_, plain, _, err := a.n.ownPlain(place.Feed, place.Seq)
	var body protocol.Body
	if err == nil {
		err = protocol.Decode(plain, protocol.MaxPlainSize, &body)
	}
	var records []crypto.VerifiedRecord
	if err == nil {
		records, err = crypto.VerifyBody(a.snap.network, &body, a.snap.card)
	}
	if err != nil { // erased since, or a key left the card of who made it, or passed it on
		a.n.log.Warn("leaving out what does not open or verify any more to be passed on", "feed", place.Feed, "seq", place.Seq, "err", err)
		return nil, nil
	}
	a.onward.body, a.onward.records = &body, records
	return &body, records
}

// passOn seals the records of a group for its organisations, less those that they came by way of.
// What was erased, or does not open any more, is left out.
func (a *appender) passOn(g *onwardGroup, by Caller) error {
	body, records := a.openOnward(g.place)
	if body == nil {
		return nil
	}
	wanted := map[protocol.RecordID]bool{}
	for _, id := range g.records {
		wanted[id] = true
	}
	next := 0
	for b := range body.Batches {
		items := records[next : next+len(body.Batches[b].Items)]
		next += len(items)
		var keep []int
		var kept []crypto.VerifiedRecord
		for i := range items {
			if wanted[items[i].ID] {
				keep, kept = append(keep, i), append(kept, items[i])
			}
		}
		if len(keep) == 0 {
			continue
		}
		orgs := slices.DeleteFunc(slices.Clone(g.orgs), func(o protocol.OrgID) bool { return slices.Contains(items[0].Path, o) })
		if len(orgs) == 0 || slices.Contains(items[0].Path, a.n.org) || len(items[0].Path) >= protocol.MaxHops {
			continue
		}
		audience, days, err := a.asOfSealed(g, body, kept, orgs)
		if err != nil {
			return err
		}
		if len(audience) == 0 {
			continue
		}
		if err := a.n.st.View(func(tx *store.Tx) error {
			for _, i := range keep {
				_, by, err := excludedFrom(tx, items[i].ID, items[i].Originator, principalOf(items[i].Behalf))
				if err != nil {
					return err
				}
				a.excluding = append(a.excluding, by...)
			}
			return nil
		}); err != nil {
			return err
		}
		part := body.Batches[b]
		if len(keep) < len(part.Items) {
			var err error
			if part, err = crypto.PartOf(body, b, keep); err != nil {
				return err
			}
		}
		if items[0].Originator != a.n.org { // its own is published, and not passed on
			part.Hops = slices.Clone(part.Hops)
			if err := crypto.SignHop(a.snap.network, a.n.org, a.n.keys.Signing, a.sealedAt, &part); err != nil {
				return err
			}
		}
		routes, err := a.routes(audience, nil)
		if err != nil {
			return err
		}
		for _, r := range routes {
			from := r.nextSeq()
			if err := r.sealOnward(&protocol.Body{Version: 1, RetentionDays: days, Handlings: body.Handlings, Batches: []protocol.BatchPart{part}}, r.orgs); errors.Is(err, protocol.ErrOversize) {
				a.n.log.Warn("a record fills its envelope, and cannot be passed on with a statement beside it", "feed", g.place.Feed, "seq", g.place.Seq)
				continue
			} else if err != nil {
				return err
			}
			if err := r.auditPassOn(by, kept, r.orgs, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// asOfSealed decides anew, as of the time at which a body was sealed, for whom its records may be
// sealed, and how many days they may be kept: no longer than who passed them on before lets them be.
// Who may not have all of them gets none of them. Who may hold the records together follows from all
// of them. Of own records, which are published and not passed on, the rest was decided before. A rule
// that wants persons since a minute ago has it decided anew.
func (a *appender) asOfSealed(g *onwardGroup, body *protocol.Body, records []crypto.VerifiedRecord, orgs []protocol.OrgID) (may []policy.OrgDecision, days uint32, err error) {
	now := uint64(nowMillis())
	own := records[0].Originator == a.n.org
	least := func(d uint32) {
		if d != 0 && (days == 0 || d < days) {
			days = d
		}
	}
	least(g.days)
	if body.RetentionDays > 0 && !own {
		end := body.SealedAt + uint64(body.RetentionDays)*dayMillis
		if end <= now {
			return nil, 0, nil
		}
		least(uint32((end - now + dayMillis - 1) / dayMillis))
	}
	type class struct {
		org      protocol.OrgID
		behalf   protocol.OrgID
		path     string
		handling string
		kind     string
		level    uint8
	}
	known := map[class]policy.Decision{}
	came := a.n.boundsOf(a.snap, g.place.Feed)
	for _, org := range orgs {
		all := true
		var bounds []protocol.Bound
		for i := range records {
			r := &records[i]
			c := class{org: org, behalf: principalOf(r.Behalf), path: pathKey(r.Path), handling: string(r.HandlingBytes)}
			if o, err := stix.Parse(r.Object); err == nil {
				c.kind, c.level = o.Type, a.snap.policy.Confidence(o.Confidence())
			}
			d, ok := known[c]
			if !ok {
				subject := &policy.Subject{Originator: r.Originator, Publisher: g.publisher, Handling: r.Handling, Topic: a.topic,
					Kind: c.kind, Confidence: c.level, RecordedAt: body.SealedAt, Principal: c.behalf}
				switch {
				case own:
					subject.RecordedAt = now
					d = policy.Decide(a.snap.policy, a.n.org, org, subject, now)
				case g.withhold:
					subject.Bounds, subject.Path = came, r.Path
					d = policy.DecideWithheld(a.snap.policy, org, subject, now)
				default:
					subject.Bounds, subject.Path = came, r.Path
					d = policy.DecideOnward(a.snap.policy, org, subject, now)
				}
				known[c] = d
			}
			if all = all && d.Allow; !all {
				break
			}
			if !own && int(d.Approval) > g.approved {
				return nil, 0, errRegroup
			}
			bounds = policy.AddBounds(bounds, d.Bounds...)
			if !own {
				least(d.Retention)
			}
		}
		if all {
			may = append(may, policy.OrgDecision{Org: org, Decision: policy.Decision{Allow: true, Bounds: bounds}})
		}
	}
	return may, days, nil
}

// sealOnward seals a body of one batch, in two halves if it is too large: statements and paths take
// more room than the records had where they came from.
func (a *appender) sealOnward(body *protocol.Body, orgs []protocol.OrgID) error {
	body = slice(body, 0, len(body.Batches[0].Items)) // with the handlings that it needs
	keys, err := a.keysFor(orgs)
	if err != nil {
		return err
	}
	body.SealedAt = a.sealedAt
	h := a.header(protocol.EntryRecords)
	sealed, err := crypto.SealBody(h.SealContext(a.snap.network), h.Feed, h.Seq, keys, protocol.Encode(body))
	if count := len(body.Batches[0].Items); errors.Is(err, protocol.ErrOversize) && count > 1 {
		if len(body.Batches[0].Seed) > 0 { // halves are parts
			all := make([]int, count)
			for i := range all {
				all[i] = i
			}
			hops := body.Batches[0].Hops
			if body.Batches[0], err = crypto.PartOf(body, 0, all); err != nil {
				return err
			}
			body.Batches[0].Hops = hops
		}
		for _, half := range [][2]int{{0, count / 2}, {count / 2, count}} {
			if err := a.sealOnward(slice(body, half[0], half[1]), orgs); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	doc := publishedDoc{Orgs: orgs, Topic: a.topic, Generation: a.snap.generation, At: a.sealedAt, RetentionDays: body.RetentionDays}
	place := entryKey(a.feed.ID, a.nextSeq())
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error {
		// What its originator said since goes with it, to whom it may go on from there.
		for _, h := range a.root.excluding {
			if err := putDoc(tx, kindExcludeDue, h[:], &goneDoc{}); err != nil {
				return err
			}
		}
		return putPublished(tx, place, &doc)
	})
	return a.add(protocol.EntryRecords, sealed)
}

// pathOf returns who passed a record on, by the entry that it is kept from; nil if that does not
// open any more.
func (n *Node) pathOf(e *corpus.Entry) []protocol.OrgID {
	s := n.snap.Load()
	_, plain, _, err := n.ownPlain(e.Feed, e.Seq)
	if err != nil {
		return nil
	}
	var body protocol.Body
	if protocol.Decode(plain, protocol.MaxPlainSize, &body) != nil {
		return nil
	}
	records, err := crypto.VerifyBody(s.network, &body, s.card)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(records, func(r crypto.VerifiedRecord) bool { return r.ID == e.Record })
	if i < 0 {
		return nil
	}
	return records[i].Path
}

// pathKey is a path as part of a key.
func pathKey(path []protocol.OrgID) string {
	var b strings.Builder
	for _, o := range path {
		b.Write(o[:])
	}
	return b.String()
}

// keepPassing passes on what comes.
func (net *network) keepPassing(ctx context.Context) {
	tick := time.NewTicker(time.Hour) // what a term lets through in a day begins anew
	defer tick.Stop()
	for {
		changed := net.n.changes.wait()
		if err := net.n.passDue(ctx); err != nil && ctx.Err() == nil {
			net.n.log.Error("passing records on failed; it is tried again with the next", "err", err)
			net.n.counters.failed.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}
