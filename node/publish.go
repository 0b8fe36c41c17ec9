package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// PublishRequest asks to publish objects in one topic.
type PublishRequest struct {
	Topic    string
	Items    []intake.Item
	Flags    policy.Flags
	Progress func(done, total int) // records sealed; may be nil
	// Generation, if not zero, is that of the plan that a person agreed to: what was decided
	// under another one is not published.
	Generation uint64
	// PersonalChecked says that a person looked at what the records hold of personal data, where
	// that seems more than is stated.
	PersonalChecked bool
	// OnBehalf, if not zero, is on whose behalf it is published: under a mandate of that organisation,
	// which the records then carry.
	OnBehalf protocol.OrgID
}

// ErrStale is returned where agreements, cards, roster or topics changed since the plan.
var ErrStale = errors.New("agreements, cards or roster changed since the plan was shown; look at the new plan")

// staleError is an ErrStale in words of its own, where no plan was shown.
type staleError string

// Error implements error.
func (e staleError) Error() string { return string(e) }

// Is is for errors.Is.
func (e staleError) Is(target error) bool { return target == ErrStale }

// ErrRefused is returned where a publication as a whole may not go out.
var ErrRefused = errors.New("publication refused")

// Plan says who would receive how much, and who would not and why. It is made by the same
// function that enforces.
type Plan struct {
	Topic      string
	Generation uint64
	Records    int
	Refused    []RefusedItem // records that may not be published at all
	Orgs       []PlanOrg
	Classes    []PlanClass
	Warnings   []string       // what somebody should know who publishes it all the same
	Holders    []PlanHolders  // who would store the records, apart from who reads them
	Personal   map[string]int // records that seem to hold personal data, by the most that they hold

	behalf  *mandate // under which it is published on behalf of another; nil: of nobody
	volume  *volume
	items   []plannedItem
	decided []*planClassState // in the order of their first record
}

// RefusedItem is an object that may not be published as it is.
type RefusedItem struct {
	Index  int    `json:"-"` // in the request
	StixID string `json:"stix_id"`
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// PlanOrg is what one organisation would receive.
type PlanOrg struct {
	Org     protocol.OrgID        `json:"id"`
	Name    string                `json:"name"`
	Records int                   `json:"records"`
	Refused map[policy.Reason]int `json:"refused,omitempty"` // records, by reason
	Rules   []string              `json:"rules,omitempty"`   // local rules that refuse any of them, sorted
}

// PlanClass is the decision about all records of one handling and kind.
type PlanClass struct {
	Handling protocol.Handling
	Kind     string
	Records  int
	Readers  []policy.OrgDecision
	Refused  []policy.OrgDecision
	Ways     []policy.Way // how it reaches the readers, and who stores it
}

type plannedItem struct {
	item     *intake.Item
	handling []byte
	ways     []policy.Way // to its readers; one without any: to nobody but the publisher
	audience int          // equal for items of equal ways
	class    int          // of Plan.decided
	days     uint32
}

// Plan decides about every object, and changes nothing.
func (n *Node) Plan(r PublishRequest) (*Plan, error) { return n.plan(n.snap.Load(), r) }

func (n *Node) plan(s *snapshot, r PublishRequest) (*Plan, error) {
	if err := n.checkTopic(s, r.Topic); err != nil {
		return nil, err
	}
	p := &Plan{Topic: r.Topic, Generation: s.generation}
	now := uint64(nowMillis())
	if r.OnBehalf != (protocol.OrgID{}) {
		m, err := s.mandateFor(n.org, r.OnBehalf, r.Topic, now)
		if err != nil {
			return nil, err
		}
		p.behalf = m
	}
	classes := map[string]*planClassState{}
	audiences := map[string]int{}
	totals := map[protocol.OrgID]*PlanOrg{}
	p.volume = n.newVolume(now)
	audienceOf := func(ways []policy.Way) int {
		ids := ""
		for i := range ways {
			w := &ways[i]
			ids += string(protocol.Encode(w.Orgs)) + string(protocol.Encode(w.Roster)) + string(protocol.Encode(w.Bounds))
		}
		if _, ok := audiences[ids]; !ok {
			audiences[ids] = len(audiences)
		}
		return audiences[ids]
	}
	faults, stale, err := n.versionFaults(r.Items)
	if err != nil {
		return nil, err
	}
	if stale > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d objects stand already, published by you, in a later version or in another one of the same time; give modified the time of the change", stale))
	}
	for i := range r.Items {
		it := &r.Items[i]
		h, err := policy.Narrow(it.Handling, r.Flags)
		if err == nil {
			h.Normalise()
			err = h.Validate()
		}
		level, what := stix.Personal(it.Object, it.Observables())
		if err == nil && h.Personal != protocol.PersonalUndetermined && h.Personal < level && !r.PersonalChecked {
			err = fmt.Errorf("it is stated to hold %q of personal data, and seems to hold %s; state %q, or say that a person checked it (--personal-checked)", h.Personal, what, level)
		}
		if what != "" {
			if p.Personal == nil {
				p.Personal = map[string]int{}
			}
			p.Personal[what]++
		}
		if err == nil {
			err = faults[i]
		}
		if err == nil && h.TLP == protocol.TLPUnset {
			err = errors.New("nothing says its TLP; give one with --tlp")
		}
		if err == nil && p.behalf != nil {
			err = p.behalf.said.Covers(r.Topic, h.TLP, now)
		}
		if err != nil {
			p.Refused = append(p.Refused, RefusedItem{Index: i, StixID: it.Object.ID, Line: it.Line, Reason: err.Error()})
			continue
		}
		enc := protocol.Encode(&h)
		confidence := uint8(0)
		if s.policy.WantsConfidence() {
			confidence = s.policy.Confidence(it.Object.Confidence())
		}
		key := it.Object.Type + "\x00" + string(confidence) + string(enc)
		c := classes[key]
		if c == nil {
			c = n.decideClass(s, p.principal(), r.Topic, it.Object.Type, h, enc, confidence, now)
			classes[key] = c
			// Audiences are compared once for a class, not for every record: they may be long.
			c.audience = audienceOf(c.Ways)
			c.index = len(p.decided)
			p.decided = append(p.decided, c)
		}
		ways, audience, class := c.Ways, c.audience, c.index
		over, err := p.volume.over(c.limited)
		if err != nil {
			return nil, err
		}
		if len(over) > 0 {
			for _, o := range over {
				t := n.planOrg(s, totals, o)
				t.Records--
				t.Refused[policy.ReasonVolume]++
			}
			class = p.without(s, c, over)
			ways = p.decided[class].Ways
			audience = audienceOf(ways)
		}
		c.Records++
		p.Records++
		p.items = append(p.items, plannedItem{item: it, handling: enc, ways: ways, audience: audience, class: class, days: h.RetentionDays})
	}
	for _, c := range classes {
		for _, d := range c.Readers {
			n.planOrg(s, totals, d.Org).Records += c.Records
		}
		for _, d := range c.Refused {
			t := n.planOrg(s, totals, d.Org)
			t.Refused[d.Decision.Reason] += c.Records
			if rule := d.Decision.Rule; rule != "" && !slices.Contains(t.Rules, rule) {
				t.Rules = append(t.Rules, rule)
				slices.Sort(t.Rules)
			}
		}
		p.Classes = append(p.Classes, c.PlanClass)
	}
	for _, t := range totals {
		p.Orgs = append(p.Orgs, *t)
	}
	slices.SortFunc(p.Orgs, func(a, b PlanOrg) int { return strings.Compare(a.Name+a.Org.String(), b.Name+b.Org.String()) })
	slices.SortFunc(p.Classes, func(a, b PlanClass) int { return b.Records - a.Records })
	p.Holders = s.planHolders(p.Classes)
	return p, nil
}

type planClassState struct {
	PlanClass
	limited  []policy.OrgDecision // of Readers: those whose terms limit how much goes in a day
	audience int
	index    int            // in Plan.decided
	less     map[string]int // there, too: the class less some organisations
}

// without returns the place in p.decided of a class less organisations whose terms let no more
// through today.
func (p *Plan) without(s *snapshot, c *planClassState, over []protocol.OrgID) int {
	key := string(protocol.Encode(over))
	if i, ok := c.less[key]; ok {
		return i
	}
	x := &planClassState{PlanClass: PlanClass{Handling: c.Handling, Kind: c.Kind, Refused: slices.Clone(c.Refused)}, index: len(p.decided)}
	for _, d := range c.Readers {
		if slices.Contains(over, d.Org) {
			d.Decision.Allow, d.Decision.Reason = false, policy.ReasonVolume
			x.Refused = append(x.Refused, d)
		} else {
			x.Readers = append(x.Readers, d)
		}
	}
	x.Ways = policy.Ways(s.policy, x.Readers)
	if c.less == nil {
		c.less = map[string]int{}
	}
	c.less[key] = x.index
	p.decided = append(p.decided, x)
	return x.index
}

// principal is on whose behalf it is published; zero: of nobody.
func (p *Plan) principal() protocol.OrgID { return principalOf(p.behalf.behalf()) }

// OnBehalf says on whose behalf the plan publishes, and under which mandate; ok is false if of nobody.
func (p *Plan) OnBehalf() (principal protocol.OrgID, id protocol.MandateID, ok bool) {
	if p.behalf == nil {
		return principal, id, false
	}
	return p.behalf.said.Principal, p.behalf.id, true
}

func (n *Node) planOrg(s *snapshot, totals map[protocol.OrgID]*PlanOrg, org protocol.OrgID) *PlanOrg {
	t := totals[org]
	if t == nil {
		t = &PlanOrg{Org: org, Name: s.name(org), Refused: map[policy.Reason]int{}}
		totals[org] = t
	}
	return t
}

func (n *Node) decideClass(s *snapshot, principal protocol.OrgID, topic, kind string, h protocol.Handling, handling []byte, confidence uint8, now uint64) *planClassState {
	c := &planClassState{PlanClass: PlanClass{Handling: h, Kind: kind}}
	subject := &policy.Subject{Originator: n.org, Publisher: n.org, Principal: principal, Handling: h, Topic: topic, Kind: kind, Confidence: confidence, RecordedAt: now}
	class := policy.CacheKey{Generation: s.generation, Publisher: n.org, Originator: n.org, Topic: topic, Kind: kind, Handling: string(handling), Confidence: confidence, Principal: principal}
	for _, d := range n.cache.Audience(s.policy, class, subject, now) {
		if d.Decision.Allow {
			c.Readers = append(c.Readers, d)
			if d.Decision.PerDay > 0 {
				c.limited = append(c.limited, d)
			}
		} else {
			c.Refused = append(c.Refused, d)
		}
	}
	c.Ways = policy.Ways(s.policy, c.Readers)
	return c
}

func (n *Node) checkTopic(s *snapshot, topic string) error {
	if s.network == protocol.NoNetwork {
		return ErrNoNetwork
	}
	if topic == protocol.ControlTopic || s.topics[protocol.NewTopicID(s.network, topic)] != topic || topic == "" {
		return fmt.Errorf("this node is not in topic %q; run 'entente topic join %s' first", topic, topic)
	}
	return nil
}

// Receipt acknowledges a publication: everything that it names is durable.
type Receipt struct {
	Plan      *Plan
	Envelopes int // entries, grants among them
	Grants    int
	Records   []protocol.RecordID // in the order of the accepted objects
	Feed      protocol.FeedID
	From, To  uint64        // seq
	Bytes     int           // of the envelopes, encoded
	Parts     []ReceiptPart // all of it, by feed; the first is the one above
}

// ReceiptPart is what of a publication stands in one feed, and who may hold it.
type ReceiptPart struct {
	Feed     protocol.FeedID
	From, To uint64
	Roster   []protocol.OrgID // of a direct feed; empty: every member
}

// Publish is the one gate out: it decides, packs, seals, signs and stores, and then lets
// the mesh gossip. When it returns without an error all records are durable; when it
// returns an error none of them will ever be seen by anybody.
func (n *Node) Publish(ctx context.Context, r PublishRequest) (*Receipt, error) {
	var rec *Receipt
	err := n.append(r.Topic, func(a *appender) error {
		if r.Generation != 0 && r.Generation != a.snap.generation {
			return ErrStale
		}
		p, err := n.plan(a.snap, r)
		if err != nil {
			return err
		}
		rec = &Receipt{Plan: p}
		if p.behalf != nil && !p.behalf.said.Lasts(a.sealedAt) {
			return fmt.Errorf("%w: the mandate is not given for the time at which this is signed; check the clock", ErrRefused)
		}
		if p.Records == 0 {
			return fmt.Errorf("%w: no record is left to publish", ErrRefused)
		}
		if err := a.pack(ctx, p, rec, r.Progress); err != nil {
			return err
		}
		a.onCommit = append(a.onCommit, p.volume.commit)
		for _, x := range a.all() {
			part := ReceiptPart{Feed: x.feed.ID, From: x.feed.Seq + 1, To: x.nextSeq() - 1}
			if d := a.snap.directs[x.id]; d != nil {
				part.Roster = d.Roster
			}
			rec.Parts = append(rec.Parts, part)
			rec.Envelopes += len(x.envs)
			for _, e := range x.envs {
				rec.Bytes += len(e.Raw)
				if e.Header.Kind == protocol.EntryGrant {
					rec.Grants++
				}
			}
		}
		rec.Feed, rec.From, rec.To = rec.Parts[0].Feed, rec.Parts[0].From, rec.Parts[0].To
		return a.auditPublish(ctx, p, rec)
	})
	if err != nil {
		return nil, err
	}
	n.counters.published.Add(uint64(len(rec.Records)))
	n.counters.appended.Add(uint64(rec.Envelopes))
	return rec, nil
}

// pack seals the planned records: those of one audience and one retention share envelopes. What goes
// to its readers by several ways is sealed for each, with one id.
func (a *appender) pack(ctx context.Context, p *Plan, rec *Receipt, progress func(done, total int)) error {
	type group struct {
		ways  []policy.Way
		days  uint32
		items []int
	}
	type groupKey struct {
		audience int
		days     uint32
	}
	groups := map[groupKey]*group{}
	var order []groupKey
	for i := range p.items {
		it := &p.items[i]
		key := groupKey{it.audience, it.days}
		g := groups[key]
		if g == nil {
			g = &group{ways: it.ways, days: it.days}
			groups[key] = g
			order = append(order, key)
		}
		g.items = append(g.items, i)
	}
	rec.Records = make([]protocol.RecordID, len(p.items))
	done := 0
	for _, key := range order {
		g := groups[key]
		routes := make([]route, len(g.ways))
		for i := range g.ways {
			sub, err := a.in(&g.ways[i])
			if err != nil {
				return err
			}
			routes[i] = route{sub, g.ways[i].Orgs}
		}
		for len(g.items) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			var took int
			var err error
			if len(routes) == 1 {
				took, err = routes[0].sealSome(p, rec, routes[0].orgs, g.days, g.items)
			} else {
				took, err = a.sealEach(p, rec, routes, g.days, g.items)
			}
			if err != nil {
				return err
			}
			g.items = g.items[took:]
			done += took
			if progress != nil {
				progress(done, len(p.items))
			}
		}
	}
	return nil
}

// rawTarget is how many bytes of objects are put into one envelope at first; compression
// makes about a tenth of them. What turns out too large is halved and tried again, and what
// comes after it in the publication begins with as little.
const rawTarget = 384 << 10

// sealedBody is the body of an envelope to be.
type sealedBody struct {
	items  []int
	raw    []byte
	opened *openedBody
	err    error
}

// sealSome seals the first of items into one envelope or a few, several at once, and returns how
// many it took.
func (a *appender) sealSome(p *Plan, rec *Receipt, orgs []protocol.OrgID, days uint32, items []int) (took int, err error) {
	epochs, err := a.epochsFor(orgs)
	if err != nil {
		return 0, err
	}
	list := make([]sealedBody, 0, maxAhead)
	for rest := items; len(rest) > 0 && len(list) < aheadWidth() && mayHold(epochs, len(list)); {
		count, _ := p.fitting(rest, a.target)
		list = append(list, sealedBody{items: rest[:count]})
		rest = rest[count:]
	}
	keys, first := keysOf(epochs), a.nextSeq()
	seal := func(i int) {
		b := &list[i]
		b.raw, b.opened, b.err = a.sealBody(p, days, first+uint64(i), b.items, keys)
	}
	each(len(list), seal)
	for b := &list[0]; errors.Is(b.err, protocol.ErrOversize) && len(b.items) > 1; seal(0) {
		list = list[:1] // what was begun beside it begins later in items
		b.items = b.items[:len(b.items)/2]
		_, a.target = p.fitting(b.items, a.target)
	}
	for i := range list {
		b := &list[i]
		switch {
		case b.err != nil && i > 0:
			return took, nil // the first of what is left
		case b.err != nil:
			it := p.items[b.items[0]].item
			return 0, fmt.Errorf("sealing %s (line %d): %w", it.Object.ID, it.Line, b.err)
		case i > 0:
			for _, ep := range epochs {
				a.use(ep)
			}
		}
		if err := a.addRecords(rec, orgs, days, b); err != nil {
			return 0, err
		}
		took += len(b.items)
	}
	return took, nil
}

// fitting is how many of items, which are not none, are put into one envelope at first, and how
// many bytes their objects have: no more than target, unless that is one object.
func (p *Plan) fitting(items []int, target int) (count, size int) {
	for _, i := range items {
		n := len(p.items[i].item.Object.Raw)
		if count > 0 && (size+n > target || count >= protocol.MaxRecordsPerBatch) {
			break
		}
		count, size = count+1, size+n
	}
	return count, size
}

// mayHold reports whether epochs that were counted for one envelope may be used for so many more.
func mayHold(epochs []*store.Epoch, more int) bool {
	return !slices.ContainsFunc(epochs, func(ep *store.Epoch) bool { return ep.Used+uint64(more) > protocol.MaxEpochEnvelopes })
}

// addRecords signs an envelope of records and notes for whom it is.
func (a *appender) addRecords(rec *Receipt, orgs []protocol.OrgID, days uint32, b *sealedBody) error {
	doc := publishedDoc{Orgs: orgs, Topic: a.topic, Generation: a.snap.generation, At: a.sealedAt, RetentionDays: days}
	place := entryKey(a.feed.ID, a.nextSeq())
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error { return putPublished(tx, place, &doc) })
	if err := a.add(protocol.EntryRecords, b.raw); err != nil {
		return err
	}
	for j, i := range b.items {
		rec.Records[i] = b.opened.records[j].ID
	}
	b.opened.hash = a.envs[len(a.envs)-1].Hash
	a.sealed[a.nextSeq()-1] = b.opened
	return nil
}

// keysFor returns the epoch keys that cover orgs, counted for one envelope.
func (a *appender) keysFor(orgs []protocol.OrgID) ([]crypto.EpochKey, error) {
	epochs, err := a.epochsFor(orgs)
	return keysOf(epochs), err
}

func keysOf(epochs []*store.Epoch) (keys []crypto.EpochKey) {
	for _, ep := range epochs {
		keys = append(keys, crypto.EpochKeyOf(ep.Key))
	}
	return keys
}

// epochsFor returns the epochs that cover orgs, counted for one envelope. Records that concern
// nobody else are sealed for the publisher alone, under an epoch without grants.
func (a *appender) epochsFor(orgs []protocol.OrgID) ([]*store.Epoch, error) {
	epochs, err := a.cover(orgs)
	if err != nil {
		return nil, err
	}
	if len(epochs) == 0 {
		ep, err := a.epochFor(nil) // for nobody but the nodes of this organisation
		if err != nil {
			return nil, err
		}
		a.use(ep)
		epochs = append(epochs, ep)
	}
	return epochs, nil
}

// sealEach seals the first of items for each of several routes, one envelope in each, and returns how
// many it took.
func (a *appender) sealEach(p *Plan, rec *Receipt, routes []route, days uint32, items []int) (int, error) {
	count, _ := p.fitting(items, a.target)
	for {
		sealed := make([]sealedBody, len(routes))
		body, opened, err := a.batchBody(p, days, items[:count])
		for i := range routes {
			r := &routes[i]
			var epochs []*store.Epoch
			if err == nil {
				epochs, err = r.epochsFor(r.orgs)
			}
			if err == nil {
				one := *opened
				sealed[i] = sealedBody{items: items[:count], opened: &one}
				sealed[i].raw, err = r.sealBatch(body, r.nextSeq(), keysOf(epochs))
				one.sealedAt = body.SealedAt
			}
		}
		if errors.Is(err, protocol.ErrOversize) && count > 1 {
			count /= 2
			_, a.target = p.fitting(items[:count], a.target)
			continue
		}
		if err != nil {
			it := p.items[items[0]].item
			return 0, fmt.Errorf("sealing %s (line %d): %w", it.Object.ID, it.Line, err)
		}
		for i := range routes {
			if err := routes[i].addRecords(rec, routes[i].orgs, days, &sealed[i]); err != nil {
				return 0, err
			}
		}
		return count, nil
	}
}

// sealBody seals records for an envelope of a seq. It changes nothing, and may be called for several
// at once.
func (a *appender) sealBody(p *Plan, days uint32, seq uint64, items []int, keys []crypto.EpochKey) ([]byte, *openedBody, error) {
	body, opened, err := a.batchBody(p, days, items)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := a.sealBatch(body, seq, keys)
	if err != nil {
		return nil, nil, err
	}
	return sealed, opened, nil
}

// sealBatch seals a body for an envelope of a seq.
func (a *appender) sealBatch(body *protocol.Body, seq uint64, keys []crypto.EpochKey) ([]byte, error) {
	body.SealedAt = a.sealedAt
	h := protocol.Header{Version: 1, Suite: protocol.Suite1, Kind: protocol.EntryRecords, Feed: a.feed.ID, Seq: seq}
	return crypto.SealBody(h.SealContext(a.snap.network), h.Feed, h.Seq, keys, protocol.Encode(body))
}

// batchBody signs records as one batch.
func (a *appender) batchBody(p *Plan, days uint32, items []int) (*protocol.Body, *openedBody, error) {
	body := &protocol.Body{Version: 1, SealedAt: a.sealedAt, RetentionDays: days}
	at := map[string]uint16{}
	batch := make([]protocol.Item, len(items))
	for j, i := range items {
		h := string(p.items[i].handling)
		k, ok := at[h]
		if !ok {
			k = uint16(len(body.Handlings))
			at[h] = k
			body.Handlings = append(body.Handlings, p.items[i].handling)
		}
		batch[j] = protocol.Item{Index: uint32(j), Handling: k, Object: p.items[i].item.Object.Raw}
	}
	card := a.snap.cards[a.n.org]
	var form crypto.BatchForm
	behalf := p.behalf.behalf()
	if behalf != nil {
		form.Behalf = p.behalf.signed
	}
	part, ids, err := crypto.SignBatchFor(a.snap.network, a.n.org, card.Order, a.n.keys.Signing, a.sealedAt, body.Handlings, batch, form)
	if err != nil {
		return nil, nil, err
	}
	body.Batches = []protocol.BatchPart{part}
	if err := body.Validate(); err != nil {
		return nil, nil, err
	}
	opened := &openedBody{sealedAt: body.SealedAt, retentionDays: days, records: make([]crypto.VerifiedRecord, len(items)), objects: make([]*stix.Object, len(items)), observables: make([][]stix.Observable, len(items))}
	handlings := make([]protocol.Handling, len(body.Handlings))
	for k, b := range body.Handlings { // as a reader reads them
		if err := protocol.Decode(b, protocol.MaxPlainSize, &handlings[k]); err != nil {
			return nil, nil, err
		}
	}
	for j, i := range items {
		k := batch[j].Handling
		opened.objects[j], opened.observables[j] = p.items[i].item.Object, p.items[i].item.Observables()
		opened.records[j] = crypto.VerifiedRecord{ID: ids[j], Originator: a.n.org, Handling: handlings[k], HandlingBytes: body.Handlings[k], Object: batch[j].Object, Signed: a.sealedAt, Behalf: behalf}
	}
	return body, opened, nil
}

// entryKey names an entry in the node's documents.
func entryKey(feed protocol.FeedID, seq uint64) []byte {
	return append(feed[:], be64(seq)...)
}

func be64(v uint64) []byte {
	return []byte{byte(v >> 56), byte(v >> 48), byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

// Withdraw retracts own records: everybody for whom they were sealed, and with whom an
// agreement is still in force, is told; the records are marked withdrawn here at once.
func (n *Node) Withdraw(ctx context.Context, records []protocol.RecordID, reason string) error {
	byFeed, err := n.ownPlaces(records, false)
	if err != nil {
		return err
	}
	return n.withdrawPlaces(ctx, byFeed, reason)
}

func (n *Node) withdrawPlaces(ctx context.Context, byFeed map[string][]*ownPlace, reason string) error {
	for topic, places := range byFeed {
		err := n.append(topic, func(a *appender) error {
			for _, pl := range places {
				routes, later, err := a.tellRoutes(pl.reach, nil)
				if err != nil {
					return err
				}
				if len(later) > 0 {
					a.onCommit = append(a.onCommit, func(tx *store.Tx) error { return tellLater(tx, kindForward, pl.records, reason, later) })
				}
				slices.SortFunc(pl.records, func(x, y protocol.RecordID) int { return slices.Compare(x[:], y[:]) })
				records := slices.Compact(pl.records)
				for _, r := range routes {
					if err := r.withdraw(ctx, records, reason, r.orgs); err != nil {
						return err
					}
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withdraw seals a withdrawal in one feed.
func (a *appender) withdraw(ctx context.Context, records []protocol.RecordID, reason string, orgs []protocol.OrgID) error {
	keys, err := a.keysFor(orgs)
	if err != nil {
		return err
	}
	w := &protocol.WithdrawBody{Version: 1, SealedAt: a.sealedAt, Reason: reason, Records: records}
	if err := w.Validate(); err != nil {
		return err
	}
	h := a.header(protocol.EntryWithdraw)
	sealed, err := crypto.SealBody(h.SealContext(a.snap.network), h.Feed, h.Seq, keys, protocol.Encode(w))
	if err != nil {
		return err
	}
	if err := a.add(protocol.EntryWithdraw, sealed); err != nil {
		return err
	}
	d := a.n.details("withdraw", CallerOf(ctx))
	d.Orgs, d.Reason, d.Records = orgs, audit.Clip(reason, audit.MaxText), audit.NewRecordSet(w.Records, true)
	a.auditAppend(audit.Withdraw, d)
	return nil
}

type ownPlace struct {
	reach   []reach
	records []protocol.RecordID
}

// reach is for whom records were sealed, in feeds of a direct topic or, if that is nil, others.
type reach struct {
	before *directTopic
	orgs   []protocol.OrgID // sorted
}

// addReach adds organisations to those that were reached by one way.
func addReach(list []reach, before *directTopic, orgs []protocol.OrgID) []reach {
	i := slices.IndexFunc(list, func(r reach) bool { return r.before == before })
	if i < 0 {
		i = len(list)
		list = append(list, reach{before: before})
	}
	list[i].orgs = append(list[i].orgs, orgs...)
	slices.SortFunc(list[i].orgs, protocol.OrgID.Compare)
	list[i].orgs = slices.Compact(list[i].orgs)
	return list
}

// tellRoutes divides those who had something from here by the feeds in which they are to be told of
// it, less some; later are those with whom that has to wait.
func (a *appender) tellRoutes(list []reach, less []protocol.OrgID) (out []route, later []protocol.OrgID, err error) {
	for _, re := range list {
		var orgs []protocol.OrgID
		for _, o := range re.orgs {
			switch _, ok := a.secretWith(o); {
			case slices.Contains(less, o):
			case ok:
				orgs = append(orgs, o)
			case a.snap.toldLater(a.n.org, o):
				later = append(later, o)
			}
		}
		routes, err := a.routesTo(orgs, re.before)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range routes {
			if i := slices.IndexFunc(out, func(o route) bool { return o.appender == r.appender }); i >= 0 {
				out[i].orgs = append(slices.Clone(out[i].orgs), r.orgs...)
				slices.SortFunc(out[i].orgs, protocol.OrgID.Compare)
				out[i].orgs = slices.Compact(out[i].orgs)
			} else {
				out = append(out, r)
			}
		}
	}
	return out, later, nil
}

// ownPlaces groups own records, or with others those that were passed on, by topic and by the
// envelope that carries them.
func (n *Node) ownPlaces(records []protocol.RecordID, others bool) (map[string][]*ownPlace, error) {
	var out map[string][]*ownPlace
	err := n.viewIndex(func(tx *store.Tx) error {
		out = map[string][]*ownPlace{}
		at := map[string]*ownPlace{}
		for _, id := range records {
			e, err := n.getEntry(tx, id)
			if err != nil {
				return err
			}
			asPrincipal := !others && e.Form.Principal == n.org
			if !others && !asPrincipal && (e.Originator != n.org || e.Publisher != n.org) {
				return fmt.Errorf("record %s was made by %s; only its originator, or on whose behalf it was published, can withdraw it", id.Short(), n.snap.Load().name(e.Originator))
			}
			reached, err := n.reachOf(tx, id)
			if err != nil {
				return err
			}
			if asPrincipal { // its agent knows who else has it, and tells them
				s := n.snap.Load()
				if s.partners(n.org, uint64(nowMillis()))[e.Originator] == nil {
					return fmt.Errorf("no agreement with %s, which published record %s on this organisation's behalf, is in force; ask it by other means to take the record back", s.name(e.Originator), id.Short())
				}
				reached = []reach{{before: n.directOf(s, e.Feed), orgs: []protocol.OrgID{e.Originator}}}
			}
			key := string(entryKey(e.Feed, e.Seq))
			for _, r := range reached {
				if r.before != nil {
					key += string(r.before.id[:])
				}
				key += string(protocol.Encode(r.orgs))
			}
			pl := at[key]
			if pl == nil || len(pl.records) >= protocol.MaxWithdrawals {
				pl = &ownPlace{reach: reached}
				at[key] = pl
				out[e.Topic] = append(out[e.Topic], pl)
			}
			pl.records = append(pl.records, id)
		}
		return nil
	})
	return out, err
}

// reachOf lists for whom a record was sealed, by the ways that its copies went. Somebody who had it in
// a direct feed is told in that.
func (n *Node) reachOf(tx *store.Tx, id protocol.RecordID) (out []reach, err error) {
	copies, err := n.index.Copies(tx, id)
	if err != nil {
		return nil, err
	}
	s := n.snap.Load()
	for _, c := range copies {
		var doc publishedDoc
		if ok, err := getDoc(tx, kindPublished, entryKey(c.Feed, c.Seq), &doc); err != nil {
			return nil, err
		} else if ok {
			out = addReach(out, n.directOf(s, c.Feed), doc.Orgs)
		}
	}
	slices.SortStableFunc(out, func(a, b reach) int {
		x, y := protocol.TopicID{}, protocol.TopicID{}
		if a.before != nil {
			x = a.before.id
		}
		if b.before != nil {
			y = b.before.id
		}
		return slices.Compare(y[:], x[:])
	})
	seen := map[protocol.OrgID]bool{}
	for i := range out {
		out[i].orgs = slices.DeleteFunc(out[i].orgs, func(o protocol.OrgID) bool { had := seen[o]; seen[o] = true; return had })
	}
	if all := out; len(all) > 1 {
		out = slices.DeleteFunc(slices.Clone(all), func(r reach) bool { return len(r.orgs) == 0 })
		if len(out) == 0 {
			out = all[:1]
		}
	}
	if len(out) == 0 {
		out = []reach{{}}
	}
	return out, nil
}

// readersOf lists for whom a record was sealed, in all entries of this organisation that hold it.
func (n *Node) readersOf(tx *store.Tx, id protocol.RecordID) (orgs []protocol.OrgID, err error) {
	copies, err := n.index.Copies(tx, id)
	if err != nil {
		return nil, err
	}
	for _, c := range copies {
		var doc publishedDoc
		if _, err := getDoc(tx, kindPublished, entryKey(c.Feed, c.Seq), &doc); err != nil {
			return nil, err
		}
		orgs = append(orgs, doc.Orgs...)
	}
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	return slices.Compact(orgs), nil
}
