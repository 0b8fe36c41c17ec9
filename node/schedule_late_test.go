package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// What comes late in schedules, or goes: cards that are not fresh and the keys that wait for
// them, records past their retention, bodies that make room.

// monthPasses lets all cards go stale. Some of those who run renew theirs, and some notice
// that those of others ended.
func (w *scheduled) monthPasses(*member) {
	if w.rng.IntN(2) == 0 {
		return
	}
	w.wait(29*24*time.Hour + time.Duration(w.rng.IntN(72))*time.Hour)
	w.logf("a month passes")
	w.months++
	for _, m := range w.members {
		if m.n != nil && w.rng.IntN(2) == 0 {
			w.renew(m)
		}
		if m.n != nil && w.rng.IntN(2) == 0 {
			w.lookAnew(m)
		}
	}
}

// renew signs the next card if the present one ends soon.
func (w *scheduled) renew(m *member) {
	before := m.n.OwnCard().Hash
	if w.do(m.name+" renews its card", func() error { return m.n.renewCard(func(*protocol.Card) bool { return false }) }) && m.n.OwnCard().Hash != before {
		w.did["cards renewed"]++
		if w.siblings {
			w.cardAt[m.org] = w.step
		}
	}
}

// lookAnew is what a node does every hour: cards go stale with time alone.
func (w *scheduled) lookAnew(m *member) {
	w.do(m.name+" looks at its state anew", func() error { return m.n.change(func(*store.Tx) error { return nil }) })
}

// stale reports whether a node grants nothing to another: it knows no fresh card of it, or two
// cards of one order, as of one that was restored and signed again.
func stale(m, of *member) bool { return !m.n.snap.Load().grantable(of.keys.Org, uint64(nowMillis())) }

// handOut appends the keys that have become due.
func (w *scheduled) handOut(m *member) error {
	seqs := func() (sum uint64) {
		for _, f := range m.ownHeads() {
			sum += f.Seq
		}
		return sum
	}
	before := seqs()
	err := m.n.grantLate()
	if seqs() > before {
		w.did["keys handed out late"]++
	}
	return err
}

// askWhy asks a publisher why what it published does not open, and notes the answer.
func (w *scheduled) askWhy(m *member) {
	b := w.any(func(o *member) bool { return o != m && o.n != nil && know(o, m) })
	if b == nil {
		return
	}
	for _, f := range b.ownHeads() {
		if w.rng.IntN(2) == 0 {
			continue
		}
		list, err := b.n.withheldFrom(keyRequest{node: m.n.ID(), org: m.n.org}, f.ID)
		if err != nil {
			w.fail("%s cannot tell what keys it withholds: %v", b.name, err)
		}
		for _, l := range list {
			w.did["keys withheld: "+l.Reason]++
		}
		w.do(fmt.Sprintf("%s asks %s for keys", m.name, b.name), func() error { return m.n.noteWithheld(f.ID, list) })
		if m.n == nil {
			return
		}
	}
}

// evict gives up bodies of others, for others, of one feed; witnesses are whoever runs.
func (w *scheduled) evict(m *member) {
	if m.hostile || m.place != onCard || m.n.usable() != nil {
		return
	}
	network := m.network()
	var feeds []*store.Feed
	m.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			a := w.signers[f.Origin.Signing]
			if a != nil && a != m && f.Origin.Topic == protocol.NewTopicID(network, "c2") {
				feeds = append(feeds, f)
			}
			return nil
		})
	})
	for _, f := range feeds {
		author := w.signers[f.Origin.Signing]
		var held []*protocol.Receipt
		var holders []*member
		for _, o := range w.members {
			if o == m || o == author || o.n == nil || o.place != onCard {
				continue
			}
			signed, err := o.n.receipt(f.ID, 1, false)
			if err != nil {
				w.fail("%s cannot give a receipt: %v", o.name, err)
			}
			if signed == nil {
				continue
			}
			r, err := crypto.VerifyReceipt(network, signed)
			if err != nil {
				w.fail("the receipt of %s: %v", o.name, err)
			}
			held, holders = append(held, r), append(holders, o)
		}
		if len(held) < witnesses {
			continue
		}
		before, shown, steps := w.bodies(m, f), w.readable(m), m.disk.Steps()
		m.evicted[author] = true
		w.do(fmt.Sprintf("%s makes room, of %s", m.name, author.name), func() error {
			_, err := m.n.evictFeed(f, held, int64(1+w.rng.IntN(8<<10)))
			return err
		})
		if m.n == nil {
			return
		}
		after := w.bodies(m, f)
		for seq := range before {
			if after[seq] {
				continue
			}
			w.did["bodies evicted"]++
			count := 0
			for _, o := range holders {
				if w.bodies(o, f)[seq] || erasedAt(o, f, seq) { // for everybody: nobody needs it any more
					count++
				}
			}
			if count < witnesses {
				w.fail("I6: %s gave up the body of entry %d of %s, which %d others hold", m.name, seq, author.name, count)
			}
		}
		left := shown
		if m.disk.Steps() != steps {
			left = w.readable(m)
		}
		for v := range shown {
			if _, ok := left[v]; !ok && !w.expired(w.facts[v]) {
				w.fail("I6: %s does not show %s any more after it made room", m.name, v)
			}
		}
	}
}

// bodies lists which entries of a feed a node holds with their bodies.
func (w *scheduled) bodies(m *member, f *store.Feed) map[uint64]bool {
	out := map[uint64]bool{}
	m.n.st.View(func(tx *store.Tx) error {
		for seq := uint64(1); seq <= f.Seq; seq++ {
			if has, err := tx.Has(f.ID, seq); err == nil && has {
				out[seq] = true
			}
		}
		return nil
	})
	return out
}

// erasedAt reports whether a node erased an entry.
func erasedAt(m *member, f *store.Feed, seq uint64) (yes bool) {
	m.n.st.View(func(tx *store.Tx) error {
		tomb, err := tx.Erased(f.ID, seq)
		yes = tomb != nil
		return err
	})
	return yes
}

// gaveUp reports whether a body that is not held went to make room: nobody here reads it,
// and it does not count as lacking.
func (m *member) gaveUp(tx *store.Tx, feed protocol.FeedID, author *member, seq uint64) bool {
	if !m.evicted[author] {
		return false
	}
	lacking, err := tx.Lacking(feed, 1<<16)
	if err != nil || slices.Contains(lacking, seq) {
		return false
	}
	absent, err := tx.Absent(feed, 1<<16)
	return err == nil && slices.Contains(absent, seq)
}

// pass lets time go by, and a node erase what is past its retention.
func (w *scheduled) pass(m *member) {
	w.wait(time.Duration(w.rng.IntN(12*60)) * time.Minute)
	w.letExpire(m)
}

func (w *scheduled) letExpire(m *member) {
	if !w.do(m.name+" lets records expire", func() error { return m.n.expire() }) || m.hostile {
		return
	}
	shown := w.readable(m)
	for v, f := range w.facts {
		if f.days == 0 || f.resealed || nowMillis() <= f.sealed+int64(f.days)*24*3600*1000 {
			continue
		}
		w.did["records past their retention"]++
		r, ok := shown[v]
		if ok && w.life && w.publisherOf(&r) != f.by && nowMillis() <= f.sealed+int64(f.days+w.orgs)*24*3600*1000 {
			continue // what is left is rounded up to a day at each hop
		}
		if ok && (r.Feed != f.feed || r.Seq != f.seq) && nowMillis() <= f.sealed+int64(f.days+1)*24*3600*1000 {
			continue // sealed anew, after a fork: what is left is rounded up to a day, too
		}
		if ok {
			w.fail("I5: %s shows %s after its retention of %d days", m.name, v, f.days)
		}
	}
}
