package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// announce puts what a node appended since on the wire.
func (w *scheduled) announce(m *member) {
	for _, f := range m.ownHeads() {
		from := m.out[f.ID] + 1
		if m.out[f.ID] >= f.Seq {
			continue
		}
		m.out[f.ID] = f.Seq
		m.n.st.View(func(tx *store.Tx) error {
			return tx.Range(f.ID, from, 1000, 1<<30, func(raw []byte) error {
				raw = slices.Clone(raw)
				w.sent(raw)
				for _, to := range w.members {
					if to != m {
						w.send(&packet{to: to, topic: f.Origin.Topic, raw: raw})
					}
				}
				return nil
			})
		})
	}
}

func (w *scheduled) publish(m *member) {
	if m.hostile && w.rng.IntN(2) == 0 || !m.inTopic("c2") {
		return
	}
	f := policy.Flags{TLP: protocol.TLPGreen}
	if w.life {
		w.drawHandling(&f)
	}
	narrow := -1
	var readers []int
	for i := range w.orgs {
		if w.life {
			if w.sends(m, i, w.newFact(m, "", &f)) {
				readers = append(readers, i)
			}
			continue
		}
		if id, ok := w.edges[[2]int{m.org, i}]; ok && (m.behind || w.over[[2]int{m.org, i}] != m) { // a restored node does not know that it ended one
			if a, err := m.n.Agreement(id); err == nil && a.State == AgreementInForce {
				readers = append(readers, i)
			}
		}
	}
	if len(readers) > 1 && w.rng.IntN(3) == 0 {
		narrow = readers[w.rng.IntN(len(readers))]
		f.Exclude = []protocol.OrgID{w.members[narrow].keys.Org}
	}
	if w.rng.IntN(4) == 0 {
		f.RetentionDays = uint32(1 + w.rng.IntN(2))
	}
	var list strings.Builder
	var facts []*fact
	for range 1 + w.rng.IntN(5) {
		w.values++
		v := fmt.Sprintf("203.%d.%d.%d", m.index, w.values/200, 1+w.values%200)
		fmt.Fprintln(&list, v)
		fa := w.newFact(m, v, &f)
		for _, i := range readers {
			if i != narrow {
				fa.to[i] = true
			}
		}
		if narrow >= 0 {
			fa.never[narrow] = true
		}
		facts = append(facts, fa)
	}
	var doubtful []int // no fresh card of them is known: they may have to wait, or not be meant
	for _, i := range readers {
		if i != narrow && stale(m, w.members[i]) {
			doubtful = append(doubtful, i)
		}
	}
	if stale(m, m) { // a sibling gets no key against a card that is not fresh either
		for _, fa := range facts {
			fa.late[m.org] = true
		}
	}
	items := readList(w.t, list.String())
	w.do(fmt.Sprintf("%s publishes %s", m.name, strings.Join(strings.Fields(list.String()), " ")), func() error {
		rec, err := m.n.Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: f})
		if err != nil {
			return err
		}
		for i, fa := range facts {
			fa.acked, fa.id = true, rec.Records[i]
			fa.feed, fa.seq = rec.Feed, rec.To
			w.byID[fa.id] = fa
			if m.place == removedNode { // it counts nowhere
				fa.away, fa.lost = true, true
			}
			for _, i := range doubtful {
				meant := slices.ContainsFunc(rec.Plan.Orgs, func(o PlanOrg) bool { return o.Org == w.members[i].keys.Org && o.Records > 0 })
				if !meant {
					delete(fa.to, i)
					w.did["records not for who has no fresh card"]++
				} else {
					fa.late[i] = true
					w.did["records whose keys wait for a fresh card"]++
				}
			}
			w.did["records published"]++
		}
		return nil
	})
}

// newFact notes a record that a node is about to publish; one without a value is not kept.
func (w *scheduled) newFact(m *member, value string, f *policy.Flags) *fact {
	fa := &fact{value: value, by: m, to: map[int]bool{m.org: true}, not: w.removedFor(m), late: map[int]bool{}, locally: map[int]*member{}, at: w.step, days: int(f.RetentionDays), sealed: nowMillis(),
		tlp: f.TLP, countries: f.Countries, onward: f.Onward.Rule != protocol.OnwardNobody, never: map[int]bool{}, excluded: map[int]int64{}, doubted: map[int]bool{}}
	if value != "" {
		w.facts[value] = fa
	}
	return fa
}

// someFact draws a record.
func (w *scheduled) someFact(pick func(*fact) bool) *fact {
	var list []*fact
	for _, v := range slices.Sorted(maps.Keys(w.facts)) {
		if pick(w.facts[v]) {
			list = append(list, w.facts[v])
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[w.rng.IntN(len(list))]
}

func (w *scheduled) withdraw(m *member) {
	f := w.someFact(func(f *fact) bool {
		return f.by == m && f.acked && f.erased == 0 && !f.away && !f.retract && !w.expired(f)
	})
	if f == nil || m.behind {
		return
	}
	w.do(m.name+" withdraws "+f.value, func() error {
		err := m.n.Withdraw(context.Background(), []protocol.RecordID{f.id}, "wrong")
		if f.retract = err == nil; f.retract {
			w.did["records withdrawn"]++
		}
		return err
	})
}

func (w *scheduled) expired(f *fact) bool {
	return f.days > 0 && nowMillis() >= f.sealed+int64(f.days)*24*3600*1000-1000
}

func (w *scheduled) erase(m *member) {
	f := w.someFact(func(f *fact) bool { return f.by == m && f.acked && f.erased < 2 && !f.away && !w.expired(f) })
	if f == nil || m.behind || m.hostile || m.place == removedNode {
		return
	}
	f.erased = 1
	if w.defect == eraseFirst {
		w.eraseFirst(m, f)
		return
	}
	if w.do(m.name+" erases "+f.value, func() error {
		_, err := m.n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{f.id}, Reason: protocol.EraseLegal})
		return err
	}) {
		f.erased = 2
		w.did["records erased"]++
		m.gone[f.value] = true
		w.moveSurvivors(m, f, true)
	} else {
		w.moveSurvivors(m, f, false)
	}
}

// moveSurvivors notes that what shared an envelope with a record stands in a later one since
// now, and goes back with it.
func (w *scheduled) moveSurvivors(m *member, gone *fact, done bool) {
	for _, f := range w.facts {
		if f == gone || f.by != m || f.feed != gone.feed || f.seq != gone.seq {
			continue
		}
		f.at = w.step
		f.resealed = true
		for i := range w.orgs {
			if f.to[i] && (m.n == nil || stale(m, w.members[i])) {
				f.late[i] = true // the key under which it stands now waits
			}
		}
		if done {
			for _, h := range m.ownHeads() {
				if h.Origin.Topic == protocol.NewTopicID(m.network(), "c2") && h.Seq > 0 && m.appendsTo(h) {
					f.feed, f.seq, f.moved = h.ID, h.Seq, true
				}
			}
		}
	}
}

func (w *scheduled) eraseLocally(m *member) {
	f := w.someFact(func(f *fact) bool { return f.acked && f.by.org != m.org && f.to[m.org] && !m.gone[f.value] })
	if f == nil || m.hostile || m.place == removedNode {
		return
	}
	if recs, _, err := m.n.Search(Query{Value: f.value, Withdrawn: true}); err != nil || len(recs) == 0 {
		return
	}
	m.perhaps[f.value] = true
	for _, o := range w.members {
		if o.org == m.org { // the sealed body goes, at each of them: others do not get it from there
			o.evicted[f.by] = true
		}
	}
	if w.destroyed[m.org] == nil {
		w.destroyed[m.org] = map[*member]bool{}
	}
	w.destroyed[m.org][f.by] = true // nodes that are added later do not get it there either
	if w.do(m.name+" erases for itself "+f.value, func() error {
		_, err := m.n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{f.id}, Reason: protocol.EraseError})
		return err
	}) {
		m.gone[f.value] = true
		f.locally[m.org] = m
		w.did["records erased by a reader"]++
		for _, o := range w.facts { // the body that it shared with others went with it
			if o.by == f.by && o.feed == f.feed && o.seq == f.seq && o.away && !w.held(o) {
				o.lost = true
			}
		}
	}
}

// keep does what a running node does from time to time.
func (w *scheduled) keep(m *member) { w.keepState(m) }

func (w *scheduled) keepState(m *member) bool {
	return w.do(m.name+" looks after its state", func() error {
		err := errors.Join(m.n.sendLetters(), w.handOut(m), m.n.moveLate(context.Background()), m.n.resealForked(context.Background()))
		if err == nil {
			err = errors.Join(m.n.gate.reopenEarly(), m.n.gate.drain())
		}
		if m.n.due.Load() {
			m.n.tryErasures()
		}
		if w.life && err == nil {
			err = w.passDue(m)
		}
		return err
	})
}

func (w *scheduled) endAgreement(m *member) {
	if w.life {
		w.stopSharing(m)
		return
	}
	for i := range w.orgs {
		e := [2]int{m.org, i}
		id, ok := w.edges[e]
		if !ok || w.ended[e] || !m.opener {
			continue
		}
		w.ended[e] = true
		w.did["agreements ended"]++
		if w.do(fmt.Sprintf("%s ends its agreement with %s", m.name, w.members[i].name), func() error { return m.n.Terminate(id, "test", 0) }) {
			w.over[e] = m
		}
		return
	}
}

func (w *scheduled) newCard(m *member) {
	if w.siblings {
		w.cardAt[m.org] = w.step
	}
	w.do(m.name+" signs a new card", func() error { return m.n.renewCard(func(*protocol.Card) bool { return true }) })
}

func (w *scheduled) stateHeads(m *member) {
	w.do(m.name+" states its heads", func() error {
		heads, err := m.n.signHeads()
		if err != nil || len(heads) == 0 {
			return err
		}
		w.tell(m, &protocol.Notice{Version: 1, Heads: heads})
		return nil
	})
}

func (w *scheduled) gossipSets(m *member) {
	hashes := m.n.evidence.hashes()
	if len(hashes) == 0 {
		return
	}
	slices.SortFunc(hashes, compareHash)
	h := hashes[w.rng.IntN(len(hashes))]
	w.do(m.name+" tells of an erase or a fork", func() error {
		items, err := (&view{n: m.n}).Items([]protocol.Hash{h})
		if err != nil {
			return err
		}
		w.tell(m, &protocol.Notice{Version: 1, Forks: items.Forks, Erases: items.Erases})
		return nil
	})
}

func (w *scheduled) tell(from *member, notice *protocol.Notice) {
	raw := protocol.Encode(notice)
	for _, to := range w.members {
		if to != from {
			w.send(&packet{to: to, raw: raw, notice: true})
		}
	}
}

// deliver lets one packet arrive: any of them.
func (w *scheduled) deliver(*member) {
	if len(w.packets) == 0 {
		return
	}
	i := w.rng.IntN(len(w.packets))
	p := w.packets[i]
	w.packets = slices.Delete(w.packets, i, i+1)
	if p.to.n == nil || p.to.place < onCard {
		return
	}
	w.did["messages of gossip"]++
	n := p.to.n
	if p.notice {
		m, err := n.readNotice(p.raw)
		if err != nil {
			return
		}
		w.do("notice to "+p.to.name, func() error {
			if _, _, err := n.takeHeads(m.Heads); err != nil {
				return err
			}
			w.sawHeads(p.to, m.Heads)
			if _, err := n.takeForks(m.Forks); err != nil {
				return err
			}
			_, err := n.takeErases(m.Erases)
			return err
		})
		w.check(p.to)
		return
	}
	env, err := n.gate.validate(p.topic, p.raw)
	switch {
	case err == nil:
		w.do(fmt.Sprintf("entry %d to %s", env.Header.Seq, p.to.name), func() error {
			_, err := n.gate.admit([]*crypto.VerifiedEnvelope{env})
			return err
		})
	case errors.Is(err, errStale) && env != nil:
		w.do("stale entry to "+p.to.name, func() error { _, err := n.probe([][]byte{env.Raw}); return err })
	}
	w.check(p.to)
}

// sawHeads notes what a node was told by honest authors.
func (w *scheduled) sawHeads(m *member, list []protocol.Signed) {
	s := m.n.snap.Load()
	for i := range list {
		h, err := crypto.VerifyHead(s.network, &list[i])
		if err != nil {
			continue
		}
		if a := w.signers[h.Origin.Signing]; a != nil && !a.hostile && !a.rolled {
			id := h.Origin.FeedID(s.network)
			m.seen[id] = max(m.seen[id], h.Seq)
			m.checked = 0
		}
	}
}

func (w *scheduled) beginComparison(a *member) {
	b := w.any(func(m *member) bool { return m != a && m.n != nil && know(a, m) })
	if b == nil || len(w.compares) > 8 {
		return
	}
	w.compares = append(w.compares, w.comparisonOf(a, b))
}

func (w *scheduled) comparisonOf(a, b *member) *comparison {
	c := &comparison{a: a, b: b, an: a.n, started: w.step}
	w.do(fmt.Sprintf("%s begins to compare with %s", a.name, b.name), func() error {
		start, err := reconcile.Begin(&view{n: a.n}, w.rng.IntN(3) > 0)
		if err == nil {
			c.next = c.m.Step(reconcile.Event{Start: start})
		}
		return err
	})
	return c
}

// goOn takes one of the comparisons an effect further.
func (w *scheduled) goOn(*member) {
	if len(w.compares) == 0 {
		return
	}
	for range 1 + w.rng.IntN(4) {
		if len(w.compares) == 0 {
			return
		}
		c := w.compares[w.rng.IntN(len(w.compares))]
		if over, _ := w.advance(c, true); over {
			w.compares = slices.DeleteFunc(w.compares, func(x *comparison) bool { return x == c })
		}
		w.check(c.a)
	}
}

// advance brings one effect about: an answer is made in one step, and arrives in another.
func (w *scheduled) advance(c *comparison, faults bool) (over, done bool) {
	if c.a.n == nil || c.a.n != c.an || c.b.n != nil && !know(c.a, c.b) {
		return true, false
	}
	f := c.next
	if f.Err != nil || f.Done != nil {
		if f.Err != nil {
			w.logf("%s and %s: %v", c.a.name, c.b.name, f.Err)
			w.did["comparisons refused"]++
			return true, false
		}
		w.did["comparisons"]++
		if c.b.n == nil || c.a.org == c.b.org && !w.askSibling(c.a, c.b, faults) {
			return true, false
		}
		w.do(fmt.Sprintf("%s has compared with %s", c.a.name, c.b.name), func() error { return c.a.n.heardErasures(c.b.keys.Org) })
		return true, true
	}
	if f.Ask != nil && c.answer == nil {
		if c.b.n == nil || faults && w.rng.IntN(25) == 0 {
			w.logf("%s does not hear from %s", c.a.name, c.b.name)
			w.did["comparisons cut off"]++
			return true, false
		}
		times := 1
		if faults && w.rng.IntN(10) == 0 {
			times = 2 // the request comes twice
		}
		for range times {
			w.do(fmt.Sprintf("%s answers %s, kind %d", c.b.name, c.a.name, f.Ask.Kind), func() (err error) {
				req := new(protocol.SyncMessage)
				if err := protocol.Decode(protocol.Encode(f.Ask), protocol.MaxFrameSize, req); err != nil {
					return err
				}
				c.answer, err = reconcile.Answer(&view{n: c.b.n, serving: true}, req)
				return err
			})
			if c.answer == nil || c.b.n == nil {
				return true, false
			}
		}
		if c.b.hostile && faults {
			w.spoil(c.answer)
		}
		for _, raw := range c.answer.Envelopes {
			w.sent(raw)
		}
		return false, false
	}
	ok := w.do(fmt.Sprintf("%s takes from %s%s", c.a.name, c.b.name, effectName(f)), func() error {
		e, err := reconcile.Act(context.Background(), &view{n: c.a.n}, func(context.Context, *protocol.SyncMessage) (*protocol.SyncMessage, error) {
			a := new(protocol.SyncMessage)
			return a, protocol.Decode(protocol.Encode(c.answer), protocol.MaxFrameSize, a)
		}, f)
		c.answer = nil
		if err != nil && c.b.hostile {
			w.logf("%s refuses: %v", c.a.name, err)
			c.next = reconcile.Effect{Err: err}
			return nil
		}
		if err != nil {
			return err
		}
		if f.TakeHeads != nil {
			w.sawHeads(c.a, f.TakeHeads)
		}
		c.next = c.m.Step(e)
		return nil
	})
	return !ok, false
}

func effectName(f reconcile.Effect) string {
	switch {
	case f.Ask != nil:
		return fmt.Sprintf(" an answer of kind %d", f.Ask.Kind)
	case f.TakeEntries != nil:
		return fmt.Sprintf(" %d entries", len(f.TakeEntries))
	case f.TakeItems != nil:
		return " items"
	case f.TakeHeads != nil:
		return fmt.Sprintf(" %d heads", len(f.TakeHeads))
	case f.Probe != nil:
		return fmt.Sprintf(" %d entries to compare", len(f.Probe))
	}
	return ""
}
