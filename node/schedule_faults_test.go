package node

import (
	"slices"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// defect is something wrong that the simulator has to notice.
type defect int

const (
	none          defect = iota
	noAnchor             // nothing beside the data directory knows where the feeds stood
	unsynced             // what was acknowledged is not durable
	torn                 // marks become durable before what they mark
	forgetsTombs         // what was erased is taken in again
	eraseFirst           // bodies are erased before what shares them is sealed anew
	forgetsLacks         // a missing body is not noted
	ignoresForks         // fork proofs are thrown away
	keepsEpochs          // a removed node goes on with the keys that it has
	keepsErasures        // siblings do not tell what they erased
)

// send loses, doubles, or keeps a packet; which one arrives first is drawn later.
func (w *scheduled) send(p *packet) {
	switch w.rng.IntN(6) {
	case 0, 1: // lost
		w.did["messages lost"]++
	case 2:
		w.packets = append(w.packets, p, p)
		w.did["messages doubled"]++
	default:
		w.packets = append(w.packets, p)
	}
	for len(w.packets) > 60 {
		w.packets = w.packets[1:]
	}
}

// sent notes an entry that left a node: of a feed of an honest one there is one of each seq.
func (w *scheduled) sent(raw []byte) {
	var e protocol.Envelope
	var h protocol.Header
	if protocol.Decode(raw, protocol.MaxEnvelopeSize, &e) != nil || protocol.Decode(e.Header, protocol.MaxHeaderSize, &h) != nil {
		return
	}
	if len(w.old) < 200 {
		w.old = append(w.old, raw)
	}
	m := w.signers[e.Origin.Signing]
	if m == nil || m.hostile || m.rolled {
		return
	}
	if w.published[h.Feed] == nil {
		w.published[h.Feed] = map[uint64]protocol.Hash{}
	}
	hash := protocol.EntryHash(e.Header)
	if other, ok := w.published[h.Feed][h.Seq]; ok && other != hash {
		w.fail("I7: %s signed two entries %d of one feed", m.name, h.Seq)
	}
	w.published[h.Feed][h.Seq] = hash
}

// eraseFirst is the defect of that name.
func (w *scheduled) eraseFirst(m *member, f *fact) {
	w.do(m.name+" erases too early "+f.value, func() error {
		own, _, err := m.n.erasePlaces([]protocol.RecordID{f.id})
		if err != nil || len(own) != 1 {
			return err
		}
		p := own[0]
		body, doc, hash, err := m.n.ownBody(p.feed, p.seq)
		if err != nil {
			return err
		}
		rest, kinds, err := m.n.without(body, func(id protocol.RecordID) bool { return id == f.id })
		if err != nil {
			return err
		}
		e := &protocol.Erase{Version: 1, Network: m.n.snap.Load().network, Origin: p.origin, Reason: protocol.EraseLegal, At: uint64(nowMillis()),
			Entries: []protocol.ErasedEntry{{Seq: p.seq, Hash: hash}}, Records: p.records}
		if err := m.n.signErase(e); err != nil || rest == nil {
			return err
		}
		return m.n.append(p.topic, func(a *appender) error { _, err := a.resealBody(rest, &doc, kinds, nil); return err })
	})
}

func (w *scheduled) powerFails(m *member) {
	n := 1 + w.rng.IntN(40)
	m.disk.CutAfter(n)
	w.logf("the power of %s will fail after %d steps", m.name, n)
}

func (w *scheduled) kill(m *member) {
	w.logf("kill %s", m.name)
	w.did["kills"]++
	w.down(m)
}

func (w *scheduled) startOne(*member) {
	if m := w.any(func(m *member) bool { return m.n == nil }); m != nil {
		if w.rng.IntN(4) == 0 {
			m.disk.CutAfter(1 + w.rng.IntN(20))
		}
		w.start(m)
	}
}

func (w *scheduled) backUp(m *member) {
	w.logf("back up %s", m.name)
	m.backups = append(m.backups, backup{m.disk.Backup(simData), m.disk.Backup(simAnchor), w.step})
}

// restore puts an older state of a node back, mostly with an anchor that knows better.
func (w *scheduled) restore(m *member) {
	if len(m.backups) == 0 || m.hostile {
		return
	}
	b := m.backups[w.rng.IntN(len(m.backups))]
	anchored := w.rng.IntN(5) > 0 && w.defect != noAnchor
	if m.opener && !anchored && b.at < w.cardAt[m.org] {
		return // nothing knows of the last card: one is signed anew then that people have to mend
	}
	w.down(m)
	m.disk.Restore(b.data, simData)
	m.behind = true
	w.goBack(m, b.at)
	clear(m.seen)
	if !anchored {
		m.disk.Restore(b.anchor, simAnchor)
		if w.defect != noAnchor {
			m.rolled = true
		}
		clear(m.gone)
		for _, words := range w.words {
			for _, d := range words {
				d.sure = d.sure && d.by != m // it forgot, and others may not have heard of it
			}
		}
		for _, f := range w.facts {
			if f.locally[m.org] == m {
				delete(f.locally, m.org)
			}
			if (f.by == m || f.asked == m) && f.erased == 2 && f.at <= w.step {
				f.erased = 1 // whether the others heard of it in time is not known here
			}
		}
	}
	if m.rolled {
		// Its journal went back once, and may lack what later states of the data hold (SPEC 23).
		clear(m.gone)
		w.did["restores of data and anchor"]++
	} else {
		w.did["restores"]++
	}
	w.logf("restore %s to step %d, anchor too: %v", m.name, b.at, m.rolled)
	for _, f := range w.facts {
		if f.by == m && f.at > b.at || f.touched && f.by.org == m.org {
			f.away = true
		}
	}
	for _, f := range w.facts {
		if f.away && (f.resealed && !f.moved || !w.held(f)) { // where it stands now is not known
			f.lost = true
		}
		f.keyless = f.keyless || f.away && !w.opened(f, m.org)
		if f.by == m && f.retract {
			f.retract = false // perhaps
		}
	}
	w.start(m)
}

// held reports whether any other node has the body of a record's entry, durably.
func (w *scheduled) held(f *fact) (yes bool) {
	for _, m := range w.members {
		if m == f.by || m.n == nil || m.hostile || m.place != onCard {
			continue
		}
		m.n.st.View(func(tx *store.Tx) error {
			if has, err := tx.Has(f.feed, f.seq); err == nil && has {
				yes = true
			}
			return nil
		})
	}
	return yes
}

// opened reports whether another node of an organisation opened the entry of a record.
func (w *scheduled) opened(f *fact, org int) (yes bool) {
	for _, m := range w.members {
		if m == f.by || m.n == nil || m.org != org || m.place != onCard {
			continue
		}
		m.n.st.View(func(tx *store.Tx) error {
			state, _, err := tx.EntryState(f.feed, f.seq)
			yes = yes || err == nil && state == store.Applied
			return nil
		})
	}
	return yes
}

// spoil is what a hostile member does to its answers.
func (w *scheduled) spoil(a *protocol.SyncMessage) {
	which := w.rng.IntN(4)
	if w.defect == forgetsLacks {
		which = 1
	}
	switch which {
	case 0: // claims heads that it does not have
		w.did["heads claimed by a liar"]++
		for i := range a.Frontier {
			a.Frontier[i].Seq += uint64(1 + w.rng.IntN(3))
		}
	case 1: // serves headers instead of bodies
		w.did["bodies left out by a liar"]++
		for i, raw := range a.Envelopes {
			if env, err := crypto.VerifyEntry(w.members[0].network(), raw); err == nil {
				a.Envelopes[i] = env.Stripped().Raw
			}
		}
	case 2: // leaves out
		a.Envelopes = a.Envelopes[:len(a.Envelopes)/2]
		a.Erases, a.Forks = nil, nil
	}
}

// lie makes the hostile member sign two entries of one seq, or send old ones again.
func (w *scheduled) lie(*member) {
	m := w.members[w.orgs-1]
	if w.rng.IntN(2) == 0 && len(w.old) > 0 {
		raw := w.old[w.rng.IntN(len(w.old))]
		var e protocol.Envelope
		if protocol.Decode(raw, protocol.MaxEnvelopeSize, &e) == nil {
			w.packets = append(w.packets, &packet{to: w.members[w.rng.IntN(len(w.members))], topic: e.Origin.Topic, raw: raw})
			w.did["old messages again"]++
		}
		return
	}
	if m.n == nil || w.equivocals >= 3 {
		return
	}
	topic := protocol.NewTopicID(m.network(), "c2")
	heads := slices.DeleteFunc(m.ownHeads(), func(f *store.Feed) bool { return f.Origin.Topic != topic || f.Frozen != 0 })
	if len(heads) == 0 {
		return
	}
	w.equivocals++
	f := heads[len(heads)-1]
	for i := range 2 {
		seq, prev := f.Seq, f.Hash
		for range 1 + w.rng.IntN(2) {
			env, err := crypto.SignEnvelope(m.network(), f.Origin, protocol.EntryRecords, seq+1, prev, []byte{byte(i), byte(seq)}, m.keys.Signing)
			if err != nil {
				w.fail("%v", err)
			}
			seq, prev = env.Header.Seq, env.Hash
			for _, to := range w.members {
				if to != m && to.index%2 == i {
					w.packets = append(w.packets, &packet{to: to, topic: topic, raw: env.Raw})
				}
			}
		}
	}
	w.did["histories forked by a liar"]++
	w.logf("%s signs two entries %d", m.name, f.Seq+1)
}

// spoilState brings a defect about that stands in what a node holds.
func (w *scheduled) spoilState(m *member) {
	switch w.defect {
	case forgetsTombs:
		w.deleteKeys(m, func(k string) bool { return k[0] == 'x' || strings.HasPrefix(k, "u"+string(erasedPrefix)) })
	case forgetsLacks:
		w.deleteKeys(m, func(k string) bool { return k[0] == 'm' })
	case keepsEpochs:
		w.keepEpochs(m)
	case ignoresForks:
		m.n.evidence.mu.Lock()
		clear(m.n.evidence.forks)
		m.n.evidence.mu.Unlock()
	}
}

// erasedPrefix begins the keys of the tombstones of records in the corpus.
var erasedPrefix = []byte("cx")

func (w *scheduled) deleteKeys(m *member, which func(k string) bool) {
	const table = simData + "/store"
	var keys []string
	for c := m.disk.Table(table).Seek(nil, false); c.Valid(); c.Next() {
		if which(c.Key()) {
			keys = append(keys, c.Key())
		}
	}
	if len(keys) > 0 {
		w.do("a defect of "+m.name, func() error {
			m.disk.Commit(table, func(set func(string, []byte)) {
				for _, k := range keys {
					set(k, nil)
				}
			})
			return nil
		})
	}
}

// exercises is what a run of many schedules must have done.
var exercises = []string{"records published", "records withdrawn", "records erased", "records erased by a reader", "records past their retention",
	"agreements ended", "cards renewed", "messages of gossip", "messages lost", "messages doubled", "old messages again",
	"comparisons", "comparisons cut off", "kills", "restores", "restores of data and anchor",
	"power cuts while it starts", "power cuts while it publishes", "power cuts while it erases", "power cuts while it withdraws", "power cuts while it takes",
	"power cuts while it hears", "power cuts while it lets", "power cuts while it ends", "power cuts while it makes",
	"bodies left out by a liar", "heads claimed by a liar", "histories forked by a liar", "feeds frozen by a proof", "own feeds closed",
	"records not for who has no fresh card", "records whose keys wait for a fresh card", "keys handed out late",
	"keys withheld: stale-card", "bodies evicted",
	"networks healed in one direction", "networks healed without the liar"}

// siblingExercises is what they must have done besides where organisations have several nodes.
var siblingExercises = []string{
	"nodes enrolled", "nodes removed", "siblings compared", "siblings cut off", "old answers of siblings", "what happened between two messages of siblings",
	"records erased by a sibling", "records that do not count, of removed nodes",
	"files of siblings applied", "words of people of topics and trust", "siblings that hold the same at the end", "power cuts while it compares"}
