package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// The lives of agreements in schedules, and what is passed on: parties suspend, resume, narrow,
// widen and end what they signed, hubs pass on what they may, and originators exclude later.

// way is from one organisation to another.
type way = [2]int

// word is what a party said of the agreement that covers a way, that it suspends or leaves it.
type word struct {
	by    *member
	from  int64 // Unix milliseconds
	until int64 // 0: open
	sure  bool  // it was acknowledged, and its signer remembers
	held  map[protocol.FeedID]uint64
	end   bool
	start int // step
}

// covers reports whether it forbids what was sealed at a time: what was done in one millisecond
// has no order.
func (d *word) covers(sealed int64) bool {
	return d.from < sealed && (d.until == 0 || sealed < d.until)
}

// entryTime is when one of a node's own entries was sealed.
type entryTime struct {
	feed protocol.FeedID
	seq  uint64
}

// lifeTerm is the one term of the agreements here.
func lifeTerm(doc *protocol.Agreement, tlp protocol.TLP, countries ...string) {
	doc.Terms[0].TLP, doc.Terms[0].Countries = tlp, countries
	doc.Terms[0].Onward.Rule = protocol.OnwardPartners
}

// covering returns the agreements that a node knows for a way, less what was never signed by all.
func (m *member) covering(e way) (list []AgreementInfo) {
	from, to := m.w.members[e[0]].keys.Org, m.w.members[e[1]].keys.Org
	for _, a := range m.n.Agreements() {
		if len(a.Missing) == 0 && a.Doc.Terms[0].From == from && a.Doc.Terms[0].To == to {
			list = append(list, a)
		}
	}
	return list
}

// present returns the agreement for a way that is in force, or suspended, as a node sees it.
func (m *member) present(e way, states ...AgreementState) *AgreementInfo {
	for _, a := range m.covering(e) {
		if slices.Contains(states, a.State) {
			return &a
		}
	}
	return nil
}

// lets says, without the policy, whether a term lets a record through.
func lets(doc *protocol.Agreement, f *fact) bool {
	t := &doc.Terms[0]
	concerns := slices.Equal(t.Countries, []string{protocol.Worldwide})
	for _, c := range f.countries {
		concerns = concerns || slices.Contains(t.Countries, c)
	}
	return f.tlp <= t.TLP && concerns
}

// sends says, without the policy, whether a node may send a record to an organisation now, by what
// it knows of agreements, and by what its people said for sure.
func (w *scheduled) sends(m *member, to int, f *fact) bool {
	e := way{m.org, to}
	if _, ok := w.edges[e]; !ok || f.excluded[to] != 0 {
		return false
	}
	a := m.present(e, AgreementInForce)
	return a != nil && lets(&a.Doc, f) && !w.forbidden(e, m, nowMillis(), 1)
}

// forbidden reports whether a party said for sure that nothing goes on a way at a time. margin is
// how much earlier it said so, milliseconds.
func (w *scheduled) forbidden(e way, by *member, at, margin int64) bool {
	return slices.ContainsFunc(w.words[e], func(d *word) bool {
		return d.sure && (by == nil || d.by == by) && d.covers(at) && d.from+margin <= at
	})
}

// someWay draws a way of which a node's organisation is a party.
func (w *scheduled) someWay(m *member) (e way, ok bool) {
	list := w.waysOf(m)
	if len(list) == 0 || m.hostile {
		return e, false
	}
	return list[w.rng.IntN(len(list))], true
}

// waysOf are the ways of which a node's organisation is a party, in an order that follows from them.
func (w *scheduled) waysOf(m *member) (list []way) {
	for e := range w.edges {
		if e[0] == m.org || e[1] == m.org {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b way) int { return slices.Compare(a[:], b[:]) })
	return list
}

// refused marks what people are told cannot be done.
func refused(err error) error {
	if err == nil || errors.Is(err, ErrRestored) {
		return err
	}
	return fmt.Errorf("%w: %v", ErrRefused, err)
}

func (w *scheduled) wayName(e way) string {
	return w.members[e[0]].name + " to " + w.members[e[1]].name
}

// stopSharing has a party suspend, or leave at once or with notice, the agreement for a way.
func (w *scheduled) stopSharing(m *member) {
	e, ok := w.someWay(m)
	if !ok {
		return
	}
	a := m.present(e, AgreementInForce)
	if a == nil {
		return
	}
	now := nowMillis()
	d := &word{by: m, from: now, start: w.step}
	what, act := "suspends", func() error { return m.n.Suspend(a.ID, "test") }
	switch w.rng.IntN(12) {
	case 0:
		what, d.end = "leaves", true
		act = func() error { return m.n.Terminate(a.ID, "test", 0) }
	case 1:
		what, d.end = "gives notice of", true
		d.from = now + int64(1+w.rng.IntN(48))*3600_000
		act = func() error { return m.n.Terminate(a.ID, "test", uint64(d.from)) }
	}
	w.words[e] = append(w.words[e], d)
	d.held = m.heads()
	d.sure = w.do(fmt.Sprintf("%s %s what goes from %s", m.name, what, w.wayName(e)), func() error { return refused(act()) })
	if d.sure {
		w.did["agreements: "+what]++
	}
}

// heads are where a node's feeds stand.
func (m *member) heads() map[protocol.FeedID]uint64 {
	v := &view{n: m.n}
	front, err := v.Frontier()
	if err != nil {
		m.w.fail("%s: %v", m.name, err)
	}
	out := map[protocol.FeedID]uint64{}
	for i := range front {
		out[v.FeedOf(&front[i].Origin)] = front[i].Seq
	}
	return out
}

// goOnSharing has a party resume what it suspended.
func (w *scheduled) goOnSharing(m *member) {
	for _, e := range w.waysOf(m) {
		if w.rng.IntN(2) == 0 {
			continue
		}
		w.resume(m, e)
		if m.n == nil {
			return
		}
	}
}

func (w *scheduled) resume(m *member, e way) {
	a := m.present(e, AgreementSuspended)
	if a == nil {
		return
	}
	now := nowMillis()
	// Whether or not the power fails in it: it may have been taken back.
	for _, d := range w.words[e] {
		if d.by.org == m.org && !d.end && d.until == 0 {
			d.until = now
		}
	}
	if w.do(fmt.Sprintf("%s resumes what goes from %s", m.name, w.wayName(e)), func() error { return refused(m.n.Resume(a.ID, "test")) }) {
		w.did["agreements: resumes"]++
	}
}

// amend has a party propose other terms, or sign those that another proposed.
func (w *scheduled) amend(m *member) {
	e, ok := w.someWay(m)
	if !ok {
		return
	}
	if w.countersign(m) {
		return
	}
	a := m.present(e, AgreementInForce, AgreementSuspended)
	if a == nil {
		return
	}
	doc := a.Doc
	doc.Previous, doc.Secret, doc.NotBefore = a.ID, protocol.Hash{}, uint64(nowMillis())-1000
	doc.Terms = slices.Clone(doc.Terms)
	countries := [][]string{{"*"}, {"*"}, {"VN"}, {"TH", "VN"}}[w.rng.IntN(4)]
	lifeTerm(&doc, []protocol.TLP{protocol.TLPGreen, protocol.TLPAmber}[w.rng.IntN(2)], countries...)
	if w.do(fmt.Sprintf("%s proposes TLP:%s and %v for %s", m.name, doc.Terms[0].TLP, countries, w.wayName(e)), func() error {
		_, err := m.n.Propose(doc)
		return refused(err)
	}) {
		w.did["agreements: amendments proposed"]++
	}
}

// countersign has a party sign what another proposed.
func (w *scheduled) countersign(m *member) bool {
	for _, a := range m.n.Agreements() {
		if a.State == AgreementIncoming {
			if w.do(fmt.Sprintf("%s countersigns TLP:%s and %v", m.name, a.Doc.Terms[0].TLP, a.Doc.Terms[0].Countries), func() error { return refused(m.n.Countersign(a.ID)) }) {
				w.did["agreements: amended"]++
				return true
			}
			return m.n == nil
		}
	}
	return false
}

// excludeLater has an originator exclude an organisation from what it published.
func (w *scheduled) excludeLater(m *member) {
	f := w.someFact(func(f *fact) bool {
		return f.by == m && f.acked && f.erased == 0 && !f.away && f.onward && !f.retract && !w.expired(f)
	})
	if f == nil || m.behind || m.hostile {
		return
	}
	to := w.rng.IntN(w.orgs)
	if to == m.org {
		return
	}
	f.doubted[to] = true
	if w.do(fmt.Sprintf("%s excludes %s from %s", m.name, w.members[to].name, f.value), func() error {
		return m.n.Exclude(context.Background(), []protocol.RecordID{f.id}, []protocol.OrgID{w.members[to].keys.Org})
	}) {
		f.excluded[to] = nowMillis()
		w.did["exclusions made later"]++
	}
}

// passOn has a hub pass on what is due.
func (w *scheduled) passOn(m *member) {
	w.do(m.name+" passes on", func() error { return w.passDue(m) })
}

func (w *scheduled) passDue(m *member) error {
	before := m.heads()
	err := m.n.passDue(context.Background())
	if err == nil && !maps.Equal(before, m.heads()) {
		w.did["records passed on"]++
	}
	return err
}

// drawHandling draws what a record says of itself.
func (w *scheduled) drawHandling(f *policy.Flags) {
	f.TLP = []protocol.TLP{protocol.TLPGreen, protocol.TLPAmber}[w.rng.IntN(2)]
	f.Countries = [][]string{nil, {"VN"}, {"TH"}, {"SG", "VN"}}[w.rng.IntN(4)]
	if w.rng.IntN(3) > 0 {
		f.Onward = protocol.Onward{Rule: protocol.OnwardPartners}
	}
}

// noteTimes notes when a node's own entries were sealed, and what it knows of exclusions.
func (w *scheduled) noteTimes(m *member) {
	for _, f := range m.ownHeads() {
		for seq := m.noted[f.ID] + 1; seq <= f.Seq; seq++ {
			if _, plain, _, err := m.n.ownPlain(f.ID, seq); err == nil {
				var body protocol.Body
				if protocol.Decode(plain, protocol.MaxPlainSize, &body) == nil {
					w.times[entryTime{f.ID, seq}] = int64(body.SealedAt)
				}
			}
		}
		m.noted[f.ID] = f.Seq
	}
	list, err := m.n.Exclusions()
	if err != nil {
		w.fail("%s cannot tell of exclusions: %v", m.name, err)
	}
	for _, x := range list {
		for _, id := range x.Records {
			for _, o := range x.Excluded {
				key := id + " " + o.ID.String()
				if _, ok := m.knows[key]; !ok {
					m.knows[key] = nowMillis()
				}
			}
		}
	}
}

// checkLife looks whether what a node shows may have come to it: by the words of parties and of
// the originator, and by the way that it came.
func (w *scheduled) checkLife(m *member, f *fact, r *Record) {
	p := w.publisherOf(r)
	if p == nil || p.org == m.org || f.by.org == m.org {
		return
	}
	e := way{p.org, m.org}
	if _, ok := w.edges[e]; !ok {
		w.fail("I2: %s shows %s by way of %s, with whom it has no agreement", m.name, f.value, p.name)
	}
	sealed, known := w.times[entryTime{r.Feed, r.Seq}]
	if p.org != f.by.org {
		switch {
		case !f.onward:
			w.fail("I2: %s shows %s, which %s passed on and %s let nobody pass on", m.name, f.value, p.name, f.by.name)
		case f.never[m.org]:
			w.fail("I2: %s shows %s, from which %s excluded it, by way of %s", m.name, f.value, f.by.name, p.name)
		}
		at, ok := p.knows[f.id.String()+" "+m.keys.Org.String()]
		if ok && known && at < sealed && !p.behind {
			w.fail("I2: %s shows %s, which %s passed on when it had the word that excludes it", m.name, f.value, p.name)
		}
	}
	if !known {
		return
	}
	for _, d := range w.words[e] {
		if !d.sure || d.by.rolled || m.rolled || p.rolled {
			continue
		}
		if d.covers(sealed) {
			w.fail("I2: %s shows %s of %s, sealed when %s did not share or take it (%d: %d to %d)%s", m.name, f.value, p.name, d.by.name, sealed, d.from, d.until, w.lives(m, e))
		}
		if d.by == m && d.start > 0 && d.from <= nowMillis() && d.until == 0 && !d.end && r.Seq > d.held[r.Feed] && !f.moved && !f.resealed {
			w.fail("I2: %s shows %s of %s, entry %d, and held %d when it suspended", m.name, f.value, p.name, r.Seq, d.held[r.Feed])
		}
	}
	// Under which agreement it is read: one that lets it through and was in force, here, then.
	if m.behind {
		return
	}
	for _, a := range m.covering(e) {
		if a.ID != r.Agreement {
			continue
		}
		if !lets(&a.Doc, f) {
			w.fail("I2: %s shows %s of %s under TLP:%s and %v", m.name, f.value, p.name, a.Doc.Terms[0].TLP, a.Doc.Terms[0].Countries)
		}
		// Once an amendment was seen to be signed by all, what is sealed later is under it.
		for _, next := range m.covering(e) {
			if at, ok := m.signed[next.ID]; ok && next.Doc.Previous == a.ID && next.ID == a.SupersededBy && at < sealed {
				w.fail("I2: %s shows %s of %s under an agreement that another had replaced", m.name, f.value, p.name)
			}
		}
	}
}

// noteSigned notes since when a node knows that agreements are signed by all.
func (w *scheduled) noteSigned(m *member) {
	for _, a := range m.n.Agreements() {
		if _, ok := m.signed[a.ID]; !ok && len(a.Missing) == 0 {
			m.signed[a.ID] = nowMillis()
		}
	}
}

// publisherOf is in whose feed a record stands.
func (w *scheduled) publisherOf(r *Record) *member {
	for _, m := range w.members {
		if m.keys.Org == r.Publisher.ID {
			return m
		}
	}
	return nil
}

// lives tells what a node knows of a way.
func (w *scheduled) lives(m *member, e way) string {
	var b strings.Builder
	for _, a := range m.covering(e) {
		fmt.Fprintf(&b, "\n%s %s TLP:%s %v, ends %v, pauses %v, superseded %d", a.ID.Short(), a.State, a.Doc.Terms[0].TLP, a.Doc.Terms[0].Countries, a.Life.Ends, a.Life.Pauses, a.Life.Superseded)
	}
	return b.String()
}

// lastWords ends a schedule of lives: parties resume what they suspended, mostly, and everybody
// publishes something of each kind. When all of it has been compared, exactly those show it whom
// the agreements as they are then let have it, over any number of hops.
func (w *scheduled) lastWords(asks map[[2]int]bool) {
	for _, m := range w.members {
		if m.n == nil || m.hostile || m.n.usable() != nil {
			continue
		}
		for _, e := range w.waysOf(m) {
			if w.rng.IntN(4) > 0 {
				w.resume(m, e)
			}
		}
		if w.rng.IntN(4) > 0 {
			w.countersign(m)
		}
	}
	w.converge(asks)
	w.wait(time.Minute)
	var facts []*fact
	for _, m := range w.members {
		if m.n == nil || m.hostile || m.n.usable() != nil {
			continue
		}
		for range 2 {
			if f := w.publishOne(m); f != nil {
				facts = append(facts, f)
			}
		}
	}
	w.converge(asks)
	for _, f := range facts {
		w.checkExact(f, asks)
	}
}

// publishOne publishes one record.
func (w *scheduled) publishOne(m *member) (f *fact) {
	fl := policy.Flags{}
	w.drawHandling(&fl)
	w.values++
	f = w.newFact(m, fmt.Sprintf("203.%d.%d.%d", m.index, w.values/200, 1+w.values%200), &fl)
	for i := range w.orgs {
		if w.sends(m, i, f) {
			f.to[i] = true
		}
	}
	items := readList(w.t, f.value+"\n")
	if !w.do(fmt.Sprintf("%s publishes %s at the end", m.name, f.value), func() error {
		rec, err := m.n.Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: fl})
		if err != nil {
			return err
		}
		f.acked, f.id, f.feed, f.seq = true, rec.Records[0], rec.Feed, rec.To
		w.byID[f.id] = f
		return nil
	}) {
		return nil
	}
	return f
}

// checkExact compares who shows a record with who may have it.
func (w *scheduled) checkExact(f *fact, asks map[[2]int]bool) {
	for _, m := range w.members { // of what not all can learn from each other nothing is expected
		if m.n == nil || m.hostile || m.n.usable() != nil {
			if !m.hostile {
				return
			}
			continue
		}
		for _, o := range w.members {
			if o != m && o.n != nil && !o.hostile && (!asks[[2]int{m.index, o.index}] || stale(m, o) || m.rolled || m.behind) {
				return
			}
		}
	}
	may := map[int]bool{f.by.org: true}
	for again := true; again; {
		again = false
		for i := range may {
			p := w.members[i]
			if p.n == nil || p.hostile || p != f.by && !f.onward {
				continue
			}
			for j := range w.orgs {
				if !may[j] && w.sends(p, j, f) {
					may[j], again = true, true
				}
			}
		}
	}
	for _, m := range w.members {
		if m.n == nil || m.hostile {
			continue
		}
		_, shows := w.readable(m)[f.value]
		switch {
		case shows && !may[m.org]:
			w.fail("I2: %s shows %s of %s at the end, which is not for it", m.name, f.value, f.by.name)
		case !shows && may[m.org]:
			w.fail("I1: %s does not show %s of %s at the end%s%s", m.name, f.value, f.by.name, w.states(m, f), w.states(f.by, f))
		}
	}
	w.did["records whose readers at the end are known"]++
	if f.onward {
		w.did["records passed on, whose readers at the end are known"]++
	}
}

// lifeExercises is what schedules must have done besides where agreements have lives.
var lifeExercises = []string{"agreements: suspends", "agreements: leaves", "agreements: gives notice of", "agreements: resumes", "agreements: amendments proposed",
	"agreements: amended", "exclusions made later", "records passed on", "records whose readers at the end are known", "records passed on, whose readers at the end are known"}

// amended reports whether any node knows another agreement for a way than the first.
func (w *scheduled) amended(e way) bool {
	return slices.ContainsFunc(w.members, func(m *member) bool { return m.n != nil && len(m.covering(e)) > 1 })
}
