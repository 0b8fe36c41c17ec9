package node

import (
	"fmt"
	"maps"
	"slices"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// What must hold of organisations of several nodes.

// learn notes what a node heard of: removals by its own card, erasures and erases.
func (w *scheduled) learn(m *member) {
	if c := m.n.OwnCard(); m.opener && c != nil {
		for i := range c.Removed {
			r := &c.Removed[i]
			if v := w.byNode(r.Node); v != nil && v.place != removedNode {
				w.noteRemoval(m, v, r)
			}
		}
	}
	if m.place == onCard {
		if err := m.n.Enrolled(); err != nil {
			w.fail("%s stands on the card: %v", m.name, err)
		}
	}
	note := func(name protocol.Hash, records func() []protocol.RecordID) {
		list, ok := w.told[name]
		if !ok {
			for _, id := range records() {
				if f := w.byID[id]; f != nil {
					list = append(list, f.value)
				}
			}
			w.told[name] = list
		}
		for _, v := range list {
			m.gone[v] = true
		}
	}
	hashes := m.n.evidence.hashes()
	err := m.n.st.View(func(tx *store.Tx) error {
		for _, h := range hashes {
			var e *protocol.Erase
			if _, known := w.told[h]; !known {
				var err error
				if e, err = eraseOf(tx, h); err != nil {
					return err
				}
				if e == nil {
					continue // a fork
				}
			}
			note(h, func() []protocol.RecordID {
				by := w.signers[e.Origin.Signing]
				return slices.DeleteFunc(slices.Clone(e.Records), func(id protocol.RecordID) bool { // a hub erases what it passed on
					f := w.byID[id]
					return f != nil && by != nil && f.by.org != by.org
				})
			})
		}
		return scanDocs(tx, kindErasure, func(id []byte, d *erasureDoc) error {
			note(protocol.Hash(id), func() []protocol.RecordID {
				var e protocol.SiblingErasure
				if err := protocol.Decode(d.Item, protocol.MaxSiblingItem, &e); err != nil {
					w.fail("%v", err)
				}
				return e.Records
			})
			return nil
		})
	})
	if err != nil {
		w.fail("%s cannot read what was erased: %v", m.name, err)
	}
}

// noteRemoval notes which records of a removed node count: those that its organisation held.
func (w *scheduled) noteRemoval(by, v *member, r *protocol.RemovedNode) {
	v.place = removedNode
	w.did["nodes removed"]++
	w.logf("%s removed %s", by.name, v.name)
	for _, h := range r.Heads {
		w.ends[h.Feed] = h.Seq
	}
	for _, f := range w.facts {
		if f.locally[v.org] == v {
			delete(f.locally, v.org) // nobody may have heard of it
		}
		if f.erased == 2 && (f.asked == v || f.by == v && f.asked == nil) {
			f.erased = 1
		}
		if f.by != v {
			continue
		}
		f.away, f.retract = true, false
		has := false
		by.n.st.View(func(tx *store.Tx) (err error) { has, err = tx.Has(f.feed, f.seq); return err })
		if f.resealed && !f.moved || f.seq > w.ends[f.feed] || !has {
			f.lost = true
		}
		f.keyless = f.keyless || !w.opened(f, v.org)
		if f.acked && f.seq > w.ends[f.feed] {
			w.did["records that do not count, of removed nodes"]++
		}
	}
	for _, f := range w.facts { // it may have been the last that held what another node lost
		f.lost = f.lost || f.away && !w.held(f)
	}
}

// checkRemoved: whoever holds the card that removes a node ends its feeds where that says.
func (w *scheduled) checkRemoved(m *member, shown map[string]Record) {
	gone := map[protocol.SigningKey]*member{}
	for _, v := range w.members {
		if v.place == removedNode && m.knowsRemoved(v) {
			gone[v.keys.Signing.Public()] = v
		}
	}
	if len(gone) == 0 {
		return
	}
	feeds := map[protocol.FeedID]*member{}
	m.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			v := gone[f.Origin.Signing]
			if v == nil {
				return nil
			}
			feeds[f.ID] = v
			if f.Good() > w.ends[f.ID] {
				w.fail("I4: %s counts entry %d of a feed of %s, which ends at %d", m.name, f.Good(), v.name, w.ends[f.ID])
			}
			return nil
		})
	})
	for value, r := range shown {
		if v := feeds[r.Feed]; v != nil && r.Seq > w.ends[r.Feed] {
			w.fail("I4: %s shows %s of entry %d of a feed of %s, which ends at %d", m.name, value, r.Seq, v.name, w.ends[r.Feed])
		}
	}
}

// settleNodes lets nodes that were approved be enrolled when the faults stop.
func (w *scheduled) settleNodes() {
	for _, m := range w.members {
		if m.place == approved && m.n != nil {
			w.newNode(m)
		}
	}
}

// source is who has to have a record: its publisher, or who answers for that.
func (w *scheduled) source(f *fact) *member {
	if f.by.place == removedNode {
		return w.members[f.by.org]
	}
	return f.by
}

// maybeGone reports whether any node of an organisation erased a record, perhaps.
func (w *scheduled) maybeGone(m *member, v string) bool {
	return slices.ContainsFunc(w.members, func(o *member) bool { return o.org == m.org && (o.gone[v] || o.perhaps[v]) })
}

// checkSiblings: the nodes of an organisation hold and show the same, and do what people said
// last.
func (w *scheduled) checkSiblings(shown map[*member]map[string]Record) {
	for _, a := range w.members {
		if a.n == nil || a.place != onCard || shownNothing(a) {
			continue
		}
		for of := -1; of < w.orgs; of++ {
			s := w.said[saying{a.org, of}]
			if s == nil || !s.sure || s.by.place == removedNode {
				continue
			}
			yes := a.inTopic("x")
			if of >= 0 {
				_, yes = a.n.snap.Load().pins[w.members[of].keys.Org]
			}
			if yes != s.yes {
				w.fail("%s does not do what people said at %s: of %d, %v", a.name, s.by.name, of, s.yes)
			}
		}
		b := w.members[a.org]
		if a == b || b.n == nil || shownNothing(b) {
			continue
		}
		w.did["siblings that hold the same at the end"]++
		x, err := a.n.siblingSet()
		y, berr := b.n.siblingSet()
		if err != nil || berr != nil {
			w.fail("%v, %v", err, berr)
		}
		// Who publishes in a feed that forked, because the anchor went back too, has another account
		// of it than its siblings were told.
		forked := slices.ContainsFunc(w.members, func(m *member) bool { return m.org == a.org && m.rolled })
		if !slices.Equal(x.parts, y.parts) && !forked {
			w.fail("%s and %s do not hold the same: %v", a.name, b.name, w.differ(a, b, x, y))
		}
		for _, v := range slices.Sorted(maps.Keys(w.facts)) {
			f := w.facts[v]
			if w.ended[[2]int{f.by.org, a.org}] || f.lost || f.keyless || w.expired(f) || f.by.hostile || a.evicted[f.by] || f.resealed && f.by.org != a.org {
				continue // one read it before it heard of the end, or before all sealed copies for it went
			}
			r, ok := shown[a][v]
			o, has := shown[b][v]
			if ok != has || r.Withdrawn != o.Withdrawn {
				w.fail("I1: of %s, %s shows %v, withdrawn %v; %s shows %v, withdrawn %v%s%s", v, a.name, ok, r.Withdrawn, b.name, has, o.Withdrawn, w.states(a, w.facts[v]), w.states(b, w.facts[v]))
			}
		}
	}
}

// differ names what one of two siblings holds and the other does not.
func (w *scheduled) differ(a, b *member, x, y *siblingSet) (out []string) {
	for _, p := range []struct {
		m        *member
		own, not *siblingSet
	}{{a, x, y}, {b, y, x}} {
		for h, ref := range p.own.refs {
			if _, ok := p.not.refs[h]; !ok {
				out = append(out, p.m.name+" has "+w.itemText(p.m, ref))
			}
		}
	}
	slices.Sort(out)
	return out
}

// itemText tells of an item that siblings compare.
func (w *scheduled) itemText(m *member, ref siblingRef) (text string) {
	err := m.n.st.View(func(tx *store.Tx) error {
		text = fmt.Sprintf("kind %d", ref.kind)
		if ref.kind != protocol.SiblingPublicationItem {
			return nil
		}
		feed, seq := splitEntryKey([]byte(ref.id))
		f, err := tx.Feed(feed)
		if err != nil {
			return err
		}
		var d publishedDoc
		_, err = getDoc(tx, kindPublished, []byte(ref.id), &d)
		author := "unknown"
		if f != nil {
			author = w.signers[f.Origin.Signing].name
		}
		text = fmt.Sprintf("the account of entry %d of a feed %s of %s: %+v", seq, feed.Short(), author, d)
		return err
	})
	if err != nil {
		w.fail("%v", err)
	}
	return text
}

// keepEpochs is the defect that keys are not changed for a node that was removed.
func (w *scheduled) keepEpochs(m *member) {
	w.do("a defect of "+m.name, func() error {
		return m.n.st.Update(func(tx *store.Tx) error {
			a := &appender{n: m.n, snap: m.n.snap.Load()}
			for _, f := range m.ownHeads() {
				list, err := tx.Epochs(f.ID)
				if err != nil {
					return err
				}
				for _, ep := range list {
					ep.Removed = a.removedOf(ep.Audience)
					ep.Granted = slices.DeleteFunc(ep.Granted, func(g store.Granted) bool { v := w.byNode(g.Node); return v != nil && m.knowsRemoved(v) })
					if err := tx.PutEpoch(f.ID, ep); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}
