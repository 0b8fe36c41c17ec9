package node

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

var addressRE = regexp.MustCompile(`203\.\d+\.\d+\.\d+`)

// readable returns what a node shows.
func (w *scheduled) readable(m *member) map[string]Record {
	recs, _, err := m.n.Search(Query{Limit: MaxLimit, Withdrawn: true})
	if errors.Is(err, ErrRestored) {
		return nil
	}
	if err != nil {
		w.fail("%s cannot be searched: %v", m.name, err)
	}
	out := map[string]Record{}
	for _, r := range recs {
		out[addressRE.FindString(string(r.Object))] = r
	}
	return out
}

// check looks at a node for what must never be.
func (w *scheduled) check(m *member) {
	if m.n == nil {
		return
	}
	if m.checked == m.disk.Steps() {
		return
	}
	if w.spoilState(m); m.n == nil {
		return
	}
	m.checked = m.disk.Steps()
	w.learn(m)
	if w.life {
		w.noteTimes(m)
		w.noteSigned(m)
	}
	shown := w.readable(m)
	for v, r := range shown {
		f := w.facts[v]
		switch {
		case f == nil:
			w.fail("%s shows %s, which nobody published", m.name, v)
		case !f.to[m.org] && (!w.life || w.publisherOf(&r) == f.by):
			w.fail("I2: %s shows %s, which was not for it", m.name, v)
		case f.not[m] && !m.excused:
			w.fail("I2: %s shows %s, which %s published when it knew that it was removed", m.name, v, f.by.name)
		case m.gone[v]:
			w.fail("I5: %s shows %s, which was erased there", m.name, v)
		}
		if w.life {
			w.checkLife(m, f, &r)
		}
		if f.by == m && !f.moved {
			f.feed, f.seq = r.Feed, r.Seq
		}
	}
	for v, f := range w.facts {
		if _, ok := shown[v]; !ok && shown != nil && f.by == m && f.acked && f.erased == 0 && !f.away && !m.rolled && !m.hostile && m.place == onCard && !w.expired(f) {
			w.fail("I1: %s does not show %s, which it acknowledged", m.name, v)
		}
	}
	w.checkServed(m)
	w.checkComplete(m)
	w.checkRemoved(m, shown)
}

// checkServed looks for bodies of entries that were erased.
func (w *scheduled) checkServed(m *member) {
	hashes := m.n.evidence.hashes()
	err := m.n.st.View(func(tx *store.Tx) error {
		for _, h := range hashes {
			e, err := eraseOf(tx, h)
			if err != nil {
				return err
			}
			if e == nil {
				continue // a fork
			}
			feed := e.Origin.FeedID(e.Network)
			for _, x := range e.Entries {
				raw, err := tx.Envelope(feed, x.Seq)
				if err != nil || raw == nil {
					return err
				}
				var env protocol.Envelope
				if err := protocol.Decode(raw, protocol.MaxEnvelopeSize, &env); err != nil {
					return err
				}
				if protocol.EntryHash(env.Header) == x.Hash && len(env.Body) > 0 {
					w.fail("I5: %s serves entry %d, which was erased", m.name, x.Seq)
				}
			}
		}
		return nil
	})
	if err != nil {
		w.fail("%s cannot read what was erased: %v", m.name, err)
	}
}

// checkComplete looks for feeds that are called complete and are not.
func (w *scheduled) checkComplete(m *member) {
	list, err := m.n.Feeds()
	if err != nil {
		w.fail("%s cannot tell of its feeds: %v", m.name, err)
	}
	err = m.n.st.View(func(tx *store.Tx) error {
		for i := range list {
			f := &list[i]
			if !f.Complete {
				continue
			}
			if f.Held < m.seen[f.Feed] && f.Forked == 0 && !f.Removed {
				w.fail("I3: %s calls a feed of %s complete at %d and was told of %d", m.name, f.Org.Name, f.Held, m.seen[f.Feed])
			}
			for seq := uint64(1); seq <= f.Held; seq++ {
				has, err := tx.Has(f.Feed, seq)
				if err != nil || has {
					continue
				}
				if tomb, err := tx.Erased(f.Feed, seq); err == nil && tomb == nil && !m.gaveUp(tx, f.Feed, w.byNode(f.Node), seq) {
					w.fail("I3: %s calls a feed of %s complete and has no body of entry %d", m.name, f.Org.Name, seq)
				}
			}
		}
		return nil
	})
	if err != nil {
		w.fail("%s: %v", m.name, err)
	}
}

// heal ends the faults: everybody runs, and compares with everybody, or in one direction
// only. Then everything must be where it belongs.
func (w *scheduled) heal() {
	w.packets, w.compares = nil, nil
	for _, m := range w.members {
		m.disk.CutAfter(0)
	}
	hostileUp := w.rng.IntN(2) == 0
	for _, m := range w.members {
		if m.n == nil && (!m.hostile || hostileUp) {
			w.start(m)
		} else if m.hostile && !hostileUp && m.n != nil {
			w.down(m)
		}
	}
	w.settleNodes()
	asks := map[[2]int]bool{}
	oneWay := w.rng.IntN(3) == 0
	for i, a := range w.members {
		for j, b := range w.members {
			if i != j && a.n != nil && b.n != nil && a.place == onCard && b.place == onCard {
				asks[[2]int{i, j}] = !oneWay || a.org == b.org || w.rng.IntN(3) > 0
			}
		}
	}
	if oneWay {
		w.did["networks healed in one direction"]++
	}
	if !hostileUp {
		w.did["networks healed without the liar"]++
	}
	for _, m := range w.members {
		if m.n != nil {
			w.renew(m)
			w.lookAnew(m)
		}
	}
	w.logf("the faults stop; in one direction for ever: %v, the hostile one runs: %v", oneWay, hostileUp)
	w.converge(asks)
	for e := range asks {
		asks[e] = asks[e] && know(w.members[e[0]], w.members[e[1]]) // a card does not come by every way
	}
	w.checkArrived(asks)
	if w.life {
		w.lastWords(asks)
	}
	for _, m := range w.members {
		if m.n != nil {
			w.countFeeds(m)
			w.letExpire(m)
		}
	}
}

// converge has nodes compare until nothing changes any more.
func (w *scheduled) converge(asks map[[2]int]bool) {
	last := ""
	compared := map[[2]int][2]int{} // without anything changing
	for round := 0; ; round++ {
		if round > 20 {
			w.fail("I1: nodes go on changing after %d rounds", round)
		}
		w.wait(time.Minute)
		for i, a := range w.members {
			for j, b := range w.members {
				if !asks[[2]int{i, j}] || !know(a, b) {
					continue
				}
				// Nothing comes of comparing again what has not changed since.
				at := [2]int{a.disk.Steps(), b.disk.Steps()}
				if before, ok := compared[[2]int{i, j}]; ok && before == at {
					continue
				}
				c := w.comparisonOf(a, b)
				for {
					over, done := w.advance(c, false)
					if over && !done {
						w.fail("%s and %s cannot compare", a.name, b.name)
					}
					if over {
						break
					}
				}
				if at == [2]int{a.disk.Steps(), b.disk.Steps()} {
					compared[[2]int{i, j}] = at
				}
			}
			if a.n != nil && a.place == onCard {
				w.keepState(a)
				w.check(a)
			}
		}
		now := w.state()
		if now == last {
			break
		}
		last = now
	}
}

// countFeeds counts what became of feeds.
func (w *scheduled) countFeeds(m *member) {
	m.n.st.View(func(tx *store.Tx) error {
		err := tx.Feeds(func(f *store.Feed) error {
			if f.Frozen != 0 {
				w.did["feeds frozen by a proof"]++
			}
			return nil
		})
		return errors.Join(err, scanDocs(tx, kindFeedNumber, func(_ []byte, inc *incarnationDoc) error {
			w.did["own feeds closed"] += len(inc.Closed)
			return nil
		}))
	})
}

// byNode finds a member by its node.
func (w *scheduled) byNode(id protocol.NodeID) *member {
	for _, m := range w.members {
		if m.keys.Host.Public() == id {
			return m
		}
	}
	return nil
}

// bodiesReach reports whether a node can learn of what another published from nodes that
// gave none of it up.
func (w *scheduled) bodiesReach(asks map[[2]int]bool, from, to, author *member) bool {
	seen := map[*member]bool{from: true}
	for list := []*member{from}; len(list) > 0; {
		m := list[0]
		list = list[1:]
		if m == to {
			return true
		}
		if m != from && m.evicted[author] {
			continue
		}
		for _, o := range w.members {
			if !seen[o] && o.n != nil && asks[[2]int{m.index, o.index}] && !shownNothing(o) {
				seen[o] = true
				list = append(list, o)
			}
		}
	}
	return false
}

// state is where everybody stands.
func (w *scheduled) state() string {
	var b strings.Builder
	for _, m := range w.members {
		if m.n == nil || m.place != onCard {
			continue
		}
		front, err := (&view{n: m.n}).Frontier()
		if err != nil {
			w.fail("%v", err)
		}
		hashes, err := (&view{n: m.n}).SetHashes()
		if err != nil {
			w.fail("%v", err)
		}
		set, err := m.n.siblingSet()
		if err != nil {
			w.fail("%v", err)
		}
		fmt.Fprintf(&b, "%s %x %x %x %v %v\n", m.name, reconcile.DigestSets(set.parts), reconcile.DigestFeeds(reconcile.PartDigests(&view{n: m.n}, front)), reconcile.DigestSets(hashes), len(w.readable(m)), m.n.restored.Load() != nil)
	}
	return b.String()
}

func (w *scheduled) checkArrived(asks map[[2]int]bool) {
	reach := map[[2]int]bool{}
	for i := range w.members {
		reach[[2]int{i, i}] = true
	}
	for e, yes := range asks {
		reach[e] = yes && !shownNothing(w.members[e[1]]) // what is restored serves nothing before it has heard of erasures
	}
	for k := range w.members {
		for i := range w.members {
			for j := range w.members {
				if reach[[2]int{i, k}] && reach[[2]int{k, j}] {
					reach[[2]int{i, j}] = true
				}
			}
		}
	}
	shown := map[*member]map[string]Record{}
	for _, m := range w.members {
		if m.n != nil && m.place == onCard {
			shown[m] = w.readable(m)
		}
	}
	for _, v := range slices.Sorted(maps.Keys(w.facts)) {
		f := w.facts[v]
		for _, m := range w.members {
			r, ok := shown[m][v]
			src := w.source(f)
			switch {
			case m.n == nil || f.by.hostile || shown[m] == nil || !reach[[2]int{m.index, src.index}]:
			case f.erased == 2 && ok && !w.expired(f): // what is past its retention is looked for below
				w.fail("I5: %s shows %s at the end, which %s erased%s%s%s", m.name, v, f.by.name, w.states(m, f), w.states(src, f), w.erasures(src, f))
			case ok && f.locally[m.org] != nil && f.locally[m.org].place == onCard:
				w.fail("I5: %s shows %s at the end, which %s erased for the organisation", m.name, v, f.locally[m.org].name)
			case f.erased > 0 || w.expired(f) || !f.acked || f.lost || w.maybeGone(m, v) || !f.to[m.org] || f.by.rolled:
			case f.by == m && m.behind:
			case !w.bodiesReach(asks, m, src, f.by): // by way of those only who do not hold it any more
			case stale(src, m): // no key goes out against a card that is not fresh, or contradicted
			case f.keyless && m.org == f.by.org:
			case f.resealed && f.away && m.org != f.by.org && !w.toldReaders(src, f): // nobody knows for whom it was
			case f.late[m.org] && f.away: // its publisher lost the key that it had not handed out yet
			case f.by != m && (w.ended[[2]int{f.by.org, m.org}] || len(w.words[way{f.by.org, m.org}]) > 0):
			case f.doubted[m.org]: // excluded, perhaps
			case w.life && f.by != m && w.amended(way{f.by.org, m.org}):
			case !ok:
				w.fail("I1: %s does not show %s, which %s published for it%s%s%s%s", m.name, v, f.by.name, w.states(m, f), w.states(src, f), w.erasures(m, f), w.erasures(src, f))
			case f.retract && !r.Withdrawn:
				w.fail("I1: %s shows %s as good, which %s withdrew", m.name, v, f.by.name)
			}
		}
	}
	w.checkEqual(reach)
	w.checkSiblings(shown)
}

// checkEqual compares nodes that can learn from each other.
func (w *scheduled) checkEqual(reach map[[2]int]bool) {
	for _, a := range w.members {
		for _, b := range w.members {
			if a.index >= b.index || a.n == nil || b.n == nil || a.place != onCard || b.place != onCard || shownNothing(a) || shownNothing(b) || !reach[[2]int{a.index, b.index}] || !reach[[2]int{b.index, a.index}] {
				continue
			}
			fa, err := (&view{n: a.n}).Frontier()
			fb, berr := (&view{n: b.n}).Frontier()
			if err != nil || berr != nil {
				w.fail("%v, %v", err, berr)
			}
			if x, y := reconcile.PartDigests(&view{n: a.n}, fa), reconcile.PartDigests(&view{n: b.n}, fb); !slices.Equal(x, y) {
				w.fail("I4: %s and %s do not hold the same entries:\n%s\n%s", a.name, b.name, w.frontier(a), w.frontier(b))
			}
			ha, hb := a.n.evidence.hashes(), b.n.evidence.hashes()
			slices.SortFunc(ha, compareHash)
			slices.SortFunc(hb, compareHash)
			if !slices.Equal(ha, hb) {
				w.fail("I4: %s and %s do not hold the same proofs and erases", a.name, b.name)
			}
		}
	}
}

// states tells what became of the entries of a record's feed at a node.
func (w *scheduled) states(m *member, f *fact) string {
	var b strings.Builder
	fmt.Fprintf(&b, " (entry %d:", f.seq)
	m.n.st.View(func(tx *store.Tx) error {
		fd, err := tx.Feed(f.feed)
		if err != nil || fd == nil {
			return err
		}
		for seq := uint64(1); seq <= fd.Seq; seq++ {
			state, reason, _ := tx.EntryState(f.feed, seq)
			has, _ := tx.Has(f.feed, seq)
			kind, _ := entryKind(tx, f.feed, seq)
			fmt.Fprintf(&b, " %d kind %d %s %v %s;", seq, kind, state, has, reason)
		}
		fmt.Fprintf(&b, " frozen %d", fd.Frozen)
		eps, _ := tx.Epochs(f.feed)
		for _, e := range eps {
			fmt.Fprintf(&b, "; epoch %d %x first %d used %d retired %v granted %d audience %d", e.Number, e.Key[:2], e.First, e.Used, e.Retired, len(e.Granted), len(e.Audience))
		}
		q, _ := m.n.Quarantine("")
		for _, x := range q {
			fmt.Fprintf(&b, "; %s %s %s", x.ID, x.Reason, x.Text)
		}
		return nil
	})
	return b.String() + ")"
}

// toldReaders reports whether a node knows for whom a record was published.
func (w *scheduled) toldReaders(m *member, f *fact) (yes bool) {
	m.n.st.View(func(tx *store.Tx) (err error) {
		yes, err = getDoc(tx, kindPublished, entryKey(f.feed, f.seq), new(publishedDoc))
		return err
	})
	return yes
}

// erasures tells of what became, at a node, of what people erased.
func (w *scheduled) erasures(m *member, f *fact) string {
	var b strings.Builder
	err := m.n.st.View(func(tx *store.Tx) error {
		var doc publishedDoc
		ok, err := getDoc(tx, kindPublished, entryKey(f.feed, f.seq), &doc)
		fmt.Fprintf(&b, "\naccount of entry %d of %s: %v %+v", f.seq, f.feed.Short(), ok, doc)
		copies, cerr := m.n.index.Copies(tx, f.id)
		for _, c := range copies {
			has, _ := tx.Has(c.Feed, c.Seq)
			state, reason, _ := tx.EntryState(c.Feed, c.Seq)
			fmt.Fprintf(&b, "; a copy in entry %d of %s: %v %s %s", c.Seq, c.Feed.Short(), has, state, reason)
		}
		for _, fd := range heldFeeds(tx) {
			fmt.Fprintf(&b, "; feed %s of %s to %d", fd.ID.Short(), w.signers[fd.Origin.Signing].name, fd.Seq)
		}
		return errors.Join(err, cerr, scanDocs(tx, kindErasure, func(_ []byte, d *erasureDoc) error {
			var e protocol.SiblingErasure
			if err := protocol.Decode(d.Item, protocol.MaxSiblingItem, &e); err != nil {
				return err
			}
			if slices.Contains(e.Records, f.id) {
				fmt.Fprintf(&b, "; erasure, done %v", d.Done)
			}
			return nil
		}), eachDue(tx, func(d due) error {
			if d.record == f.id {
				what, err := m.n.judgeDue(tx, m.n.snap.Load(), &d)
				fmt.Fprintf(&b, "; due in entry %d of %s: %d, %v", d.place.Seq, d.place.Feed.Short(), what, err)
			}
			return nil
		}), scanDocs(tx, kindErase, func(_ []byte, d *eraseDoc) error {
			var e protocol.Erase
			if err := protocol.Decode(d.Signed.Statement, protocol.MaxStatementSize, &e); err != nil {
				return err
			}
			if e.Origin.FeedID(e.Network) == f.feed {
				named := slices.Contains(e.Records, f.id)
				for _, x := range e.Entries {
					fmt.Fprintf(&b, "; entry %d is erased, applied %v, survivors %v, named %v", x.Seq, d.Applied, e.Survivors, named)
				}
			}
			return nil
		}))
	})
	if err != nil {
		w.fail("%v", err)
	}
	return b.String()
}

func heldFeeds(tx *store.Tx) (out []*store.Feed) {
	tx.Feeds(func(f *store.Feed) error { out = append(out, f); return nil })
	return out
}

func shownNothing(m *member) bool { return m.n.usable() != nil }

func (w *scheduled) frontier(m *member) string {
	var b strings.Builder
	front, _ := (&view{n: m.n}).Frontier()
	for _, e := range front {
		fmt.Fprintf(&b, " %s/%d:%d", w.signers[e.Origin.Signing].name, e.Origin.Incarnation%1000, e.Seq)
	}
	return b.String()
}
