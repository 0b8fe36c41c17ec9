package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// The seeded simulator. A schedule is drawn from a seed: which nodes publish, compare, gossip,
// erase, crash, are restored, lie, and in which order; what is dropped, doubled, delayed. It
// drives the nodes themselves, without goroutines and without a network, on disks in memory
// whose power can be cut before and after every effect, in virtual time, with randomness that
// follows from the seed. After every step it looks at what must never happen (safety); then
// the faults stop, or stay in one direction for ever, and everything must arrive (liveness).
//
//	go test ./node -run TestSchedules                      some, within a time
//	go test ./node -run TestSchedules -schedules 100000    as many as that
//	go test ./node -run TestSchedules -seed 4711 -v        one again, with all that happened
var (
	scheduleCount = flag.Int("schedules", 0, "run so many schedules, however long it takes")
	scheduleFrom  = flag.Uint64("schedules.from", 1, "seed of the first schedule")
	scheduleSeed  = flag.Uint64("seed", 0, "run the schedule of this seed only")
)

// defect is something wrong that the simulator has to notice.
type defect int

const (
	none         defect = iota
	noAnchor            // nothing beside the data directory knows where the feeds stood
	unsynced            // what was acknowledged is not durable
	torn                // marks become durable before what they mark
	forgetsTombs        // what was erased is taken in again
	eraseFirst          // bodies are erased before what shares them is sealed anew
	forgetsLacks        // a missing body is not noted
	ignoresForks        // fork proofs are thrown away
)

// member is a node of a world, and what is known of it from outside.
type member struct {
	w       *scheduled
	name    string
	index   int
	keys    *Keys
	disk    *disk.Disk
	n       *Node // nil: not running
	hostile bool
	rolled  bool // its anchor went back too: nobody can know that its feeds did
	behind  bool // it was restored, and may lack what it had
	backups []backup
	out     map[protocol.FeedID]uint64 // entries announced
	seen    map[protocol.FeedID]uint64 // what signed heads of honest authors told it
	gone    map[string]bool            // erased here, whatever happens
	perhaps map[string]bool            // erased here or not: the power failed meanwhile
	told    int                        // steps of its disk when its news were announced
	checked int                        // and when it was looked at
}

type backup struct {
	data, anchor *disk.Disk
	at           int // step
}

// fact is a record as its publisher meant it.
type fact struct {
	value   string
	id      protocol.RecordID
	by      *member
	to      map[*member]bool
	acked   bool
	at      int // step
	sealed  int64
	days    int
	erased  int // 0, 1: perhaps, 2: acknowledged
	by2     []protocol.Hash
	retract bool
	feed    protocol.FeedID
	seq     uint64
	moved   bool // sealed anew, there
	away    bool // its publisher was restored from before it
	lost    bool // and nobody else had it
}

// packet is a message of gossip on its way.
type packet struct {
	to     *member
	topic  protocol.TopicID
	raw    []byte
	notice bool
}

// comparison is one reconcile.Machine on its way.
type comparison struct {
	a, b    *member
	an      *Node
	m       reconcile.Machine
	next    reconcile.Effect
	answer  *protocol.SyncMessage
	started int
}

type violation struct{ text string }

type scheduled struct {
	t          *testing.T
	rng        *rand.Rand
	defect     defect
	step       int
	log        []string
	members    []*member
	facts      map[string]*fact
	packets    []*packet
	compares   []*comparison
	edges      map[[2]int]protocol.AgreementID
	ended      map[[2]int]bool // an end was begun
	over       map[[2]int]bool // and acknowledged
	published  map[protocol.FeedID]map[uint64]protocol.Hash
	signers    map[protocol.SigningKey]*member
	old        [][]byte // entries seen, for replaying
	equivocals int
	values     int
}

func (w *scheduled) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%4d ", w.step)+fmt.Sprintf(format, args...))
}

func (w *scheduled) fail(format string, args ...any) {
	panic(violation{fmt.Sprintf(format, args...)})
}

// template is a network with its agreements, on disks, to begin schedules from.
type template struct {
	names []string
	keys  []*Keys
	disks []*disk.Disk
	edges map[[2]int]protocol.AgreementID
}

const simData, simAnchor = "sim/data", "sim/data.anchor"

func simConfig(keys *Keys, d *disk.Disk, bug defect) Config {
	c := Config{Dir: simData, Anchor: simAnchor, Keys: keys, Disk: d}
	if bug == noAnchor {
		c.Anchor = ""
	}
	return c
}

var topologies = []struct {
	count int
	edges [][2]int // from, to
}{
	{3, [][2]int{{0, 1}, {1, 0}, {2, 0}}},
	{4, [][2]int{{0, 1}, {0, 2}, {1, 2}, {2, 0}, {3, 1}}},
	{5, [][2]int{{0, 1}, {0, 2}, {1, 3}, {3, 0}, {2, 3}, {4, 0}}},
	{6, [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 0}, {5, 2}}},
}

// simEpoch is how long after the beginning of its bubble a schedule begins.
const simEpoch = 24 * time.Hour

var templates = sync.OnceValue(func() map[int]*template { return map[int]*template{} })

// templateOf makes a network once; schedules work on copies of its disks.
func templateOf(t *testing.T, which int, bug defect) *template {
	key := which
	if bug == noAnchor {
		key += 100
	}
	if tp := templates()[key]; tp != nil {
		return tp
	}
	tp := &template{edges: map[[2]int]protocol.AgreementID{}}
	cryptotest.SetGlobalRandom(t, uint64(which))
	synctest.Test(t, func(t *testing.T) {
		top := topologies[which]
		var nodes []*Node
		for i := range top.count {
			name := string(rune('A' + i))
			ident, err := NewIdentity(InitRequest{Name: name, Kind: "cert"})
			if err != nil {
				t.Fatal(err)
			}
			d := new(disk.Disk)
			c := simConfig(ident.Keys, d, bug)
			c.Card = &ident.Card
			n, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, n)
			tp.names, tp.keys, tp.disks = append(tp.names, name), append(tp.keys, ident.Keys), append(tp.disks, d)
		}
		intoOneNetwork(t, nodes)
		for _, e := range top.edges {
			tp.edges[e] = agree(t, nodes[e[0]], nodes[e[1]], protocol.TLPAmber, "*")
		}
		for _, n := range nodes {
			n.Close()
		}
	})
	templates()[key] = tp
	return tp
}

// schedule runs the schedule of a seed. It returns what went wrong, empty for nothing, and
// all that happened.
func schedule(t *testing.T, seed uint64, bug defect) (wrong string, log []string) {
	which := int(seed % uint64(len(topologies)))
	tp := templateOf(t, which, bug)
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(simEpoch)
		w := &scheduled{t: t, rng: rand.New(rand.NewPCG(seed, 3)), defect: bug, facts: map[string]*fact{}, edges: tp.edges, ended: map[[2]int]bool{}, over: map[[2]int]bool{},
			published: map[protocol.FeedID]map[uint64]protocol.Hash{}, signers: map[protocol.SigningKey]*member{}}
		defer func() {
			log = w.log
			if r := recover(); r != nil {
				v, ok := r.(violation)
				if !ok {
					v.text = fmt.Sprintf("panic: %v", r)
					if bug == none {
						w.logf("%v", r)
						for _, l := range w.log {
							t.Log(l)
						}
						panic(r)
					}
				}
				wrong = v.text
				w.logf("WRONG: %s", wrong)
				log = w.log
			}
		}()
		for i := range tp.names {
			d := new(disk.Disk)
			d.Restore(tp.disks[i], "sim")
			d.Restore(tp.disks[i], simData)
			d.Restore(tp.disks[i], simAnchor)
			d.Torn = bug == torn
			d.Lazy = bug == unsynced
			d.Flush()
			m := &member{w: w, name: tp.names[i], index: i, keys: tp.keys[i], disk: d, out: map[protocol.FeedID]uint64{}, seen: map[protocol.FeedID]uint64{}, gone: map[string]bool{}, perhaps: map[string]bool{}}
			m.hostile = i == len(tp.names)-1
			w.members = append(w.members, m)
			w.signers[m.keys.Signing.Public()] = m
		}
		for _, m := range w.members {
			w.start(m)
		}
		steps := 30 + w.rng.IntN(70)
		for w.step = 1; w.step <= steps; w.step++ {
			w.oneStep()
			if bug == unsynced && w.rng.IntN(4) == 0 {
				w.members[w.rng.IntN(len(w.members))].disk.Flush()
			}
		}
		w.heal()
	})
	return wrong, log
}

// do runs fn, and takes a node down whose power was cut in it. It reports whether fn ended,
// and without an error.
func (w *scheduled) do(what string, fn func() error) (ok bool) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		c, isCrash := r.(disk.Crash)
		if !isCrash {
			panic(r)
		}
		ok = false
		for _, m := range w.members {
			if m.disk.Dead() {
				w.logf("%s: %s crashed %s", what, m.name, c.Step)
				w.down(m)
			}
		}
	}()
	err := fn()
	switch {
	case err == nil:
		w.logf("%s", what)
		return true
	case errors.Is(err, ErrRestored):
		w.logf("%s: restored, waiting", what)
	case strings.Contains(err.Error(), "not found"), strings.Contains(err.Error(), "terminated"), strings.Contains(err.Error(), "no record"), errors.Is(err, ErrRefused):
		w.logf("%s: %v", what, err)
	case w.defect != none:
		w.logf("%s: %v", what, err)
	default:
		w.fail("%s: %v", what, err)
	}
	return false
}

// down ends a node without a word.
func (w *scheduled) down(m *member) {
	m.n = nil
	m.disk.Restart()
	w.compares = slices.DeleteFunc(w.compares, func(c *comparison) bool { return c.a == m })
}

// start opens a node on what is durable.
func (w *scheduled) start(m *member) {
	w.do("start "+m.name, func() error {
		n, err := Open(simConfig(m.keys, m.disk, w.defect))
		if err != nil {
			w.fail("%s does not start: %v", m.name, err)
		}
		m.n = n
		w.skipAnnounced(m)
		return nil
	})
	if m.n != nil {
		w.check(m)
	}
}

// ownHeads returns where the own feeds of a node stand.
func (m *member) ownHeads() (list []*store.Feed) {
	m.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if f.Origin.Signing == m.keys.Signing.Public() {
				list = append(list, f)
			}
			return nil
		})
	})
	return list
}

func (w *scheduled) skipAnnounced(m *member) {
	for _, f := range m.ownHeads() {
		m.out[f.ID] = f.Seq
	}
}

func (w *scheduled) any(pick func(*member) bool) *member {
	var list []*member
	for _, m := range w.members {
		if pick(m) {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[w.rng.IntN(len(list))]
}

func (m *member) up() bool { return m.n != nil }

func (w *scheduled) oneStep() {
	time.Sleep(time.Duration(1+w.rng.IntN(600)) * time.Second)
	m := w.any((*member).up)
	if m == nil {
		for _, m := range w.members {
			w.start(m)
		}
		return
	}
	type move struct {
		weight int
		do     func(*member)
	}
	moves := []move{
		{14, w.publish}, {4, w.withdraw}, {5, w.erase}, {2, w.eraseLocally}, {3, w.pass}, {12, w.beginComparison}, {40, w.goOn}, {30, w.deliver},
		{6, w.stateHeads}, {4, w.gossipSets}, {5, w.keep}, {7, w.powerFails}, {3, w.kill}, {8, w.startOne}, {4, w.backUp}, {2, w.restore}, {8, w.lie}, {1, w.endAgreement}, {1, w.newCard},
	}
	if w.defect == noAnchor { // what brings it to light comes more often
		moves = append(moves, move{15, w.backUp}, move{15, w.restore})
	}
	sum := 0
	for _, mv := range moves {
		sum += mv.weight
	}
	at := w.rng.IntN(sum)
	for _, mv := range moves {
		if at -= mv.weight; at < 0 {
			mv.do(m)
			break
		}
	}
	for _, m := range w.members {
		if at := m.disk.Steps(); m.n != nil && at != m.told {
			w.announce(m)
			m.told = at
		}
	}
	w.check(m)
}

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

// send loses, doubles, or keeps a packet; which one arrives first is drawn later.
func (w *scheduled) send(p *packet) {
	switch w.rng.IntN(6) {
	case 0, 1: // lost
	case 2:
		w.packets = append(w.packets, p, p)
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

func (w *scheduled) publish(m *member) {
	if m.hostile && w.rng.IntN(2) == 0 {
		return
	}
	f := policy.Flags{TLP: protocol.TLPGreen}
	narrow := -1
	var readers []int
	for i := range w.members {
		if id, ok := w.edges[[2]int{m.index, i}]; ok && (m.behind || !w.over[[2]int{m.index, i}]) { // a restored node does not know that it ended one
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
		fa := &fact{value: v, by: m, to: map[*member]bool{m: true}, at: w.step, days: int(f.RetentionDays), sealed: nowMillis()}
		for _, i := range readers {
			if i != narrow {
				fa.to[w.members[i]] = true
			}
		}
		w.facts[v] = fa
		facts = append(facts, fa)
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
		}
		return nil
	})
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
		f.retract = err == nil
		return err
	})
}

func (w *scheduled) expired(f *fact) bool {
	return f.days > 0 && nowMillis() >= f.sealed+int64(f.days)*24*3600*1000-1000
}

func (w *scheduled) erase(m *member) {
	f := w.someFact(func(f *fact) bool { return f.by == m && f.acked && f.erased < 2 && !f.away && !w.expired(f) })
	if f == nil || m.behind || m.hostile {
		return
	}
	before := m.n.evidence.hashes()
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
		m.gone[f.value] = true
		w.noteErase(m, f, before)
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
		if done {
			for _, h := range m.ownHeads() {
				if h.Origin.Topic == protocol.NewTopicID(m.network(), "c2") && h.Seq > 0 && m.appendsTo(h) {
					f.feed, f.seq, f.moved = h.ID, h.Seq, true
				}
			}
		}
	}
}

// appendsTo reports whether an own feed is the one in use.
func (m *member) appendsTo(f *store.Feed) (yes bool) {
	m.n.st.View(func(tx *store.Tx) error {
		var inc incarnationDoc
		_, err := getDoc(tx, kindFeedNumber, f.Origin.Topic[:], &inc)
		yes = inc.Incarnation == f.Origin.Incarnation
		return err
	})
	return yes
}

func (w *scheduled) noteErase(m *member, f *fact, before []protocol.Hash) {
	for _, h := range m.n.evidence.hashes() {
		if !slices.Contains(before, h) {
			f.by2 = append(f.by2, h)
		}
	}
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
		return m.n.append(p.topic, func(a *appender) error { return a.resealBody(rest, &doc, kinds) })
	})
}

func (w *scheduled) eraseLocally(m *member) {
	f := w.someFact(func(f *fact) bool { return f.acked && f.by != m && f.to[m] && !m.gone[f.value] })
	if f == nil || m.hostile {
		return
	}
	if recs, _, err := m.n.Search(Query{Value: f.value, Withdrawn: true}); err != nil || len(recs) == 0 {
		return
	}
	m.perhaps[f.value] = true
	if w.do(m.name+" erases for itself "+f.value, func() error {
		_, err := m.n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{f.id}, Reason: protocol.EraseError})
		return err
	}) {
		m.gone[f.value] = true
	}
}

// pass lets time go by, and a node erase what is past its retention.
func (w *scheduled) pass(m *member) {
	time.Sleep(time.Duration(w.rng.IntN(12*60)) * time.Minute)
	w.do(m.name+" lets records expire", func() error { return m.n.expire() })
}

// keep does what a running node does from time to time.
func (w *scheduled) keep(m *member) { w.keepState(m) }

func (w *scheduled) keepState(m *member) bool {
	return w.do(m.name+" looks after its state", func() error {
		err := errors.Join(m.n.grantLate(), m.n.resealForked(context.Background()))
		if err == nil {
			err = errors.Join(m.n.gate.reopenEarly(), m.n.gate.drain())
		}
		return err
	})
}

func (w *scheduled) powerFails(m *member) {
	n := 1 + w.rng.IntN(40)
	m.disk.CutAfter(n)
	w.logf("the power of %s will fail after %d steps", m.name, n)
}

func (w *scheduled) kill(m *member) {
	w.logf("kill %s", m.name)
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
	w.down(m)
	m.disk.Restore(b.data, simData)
	m.behind = true
	clear(m.seen)
	if w.rng.IntN(5) == 0 || w.defect == noAnchor {
		m.disk.Restore(b.anchor, simAnchor)
		if w.defect != noAnchor {
			m.rolled = true
		}
		clear(m.gone)
		for _, f := range w.facts {
			if f.by == m && f.erased == 2 && f.at <= w.step {
				f.erased = 1 // whether the others heard of it in time is not known here
			}
		}
	}
	w.logf("restore %s to step %d, anchor too: %v", m.name, b.at, m.rolled)
	for _, f := range w.facts {
		if f.by == m && f.at > b.at {
			f.away = true
		}
	}
	for _, f := range w.facts {
		if f.away && !w.held(f) {
			f.lost = true
		}
		if f.by == m && f.retract {
			f.retract = false // perhaps
		}
	}
	w.start(m)
}

// held reports whether any other node has the body of a record's entry, durably.
func (w *scheduled) held(f *fact) (yes bool) {
	for _, m := range w.members {
		if m == f.by || m.n == nil || m.hostile {
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

func (w *scheduled) endAgreement(m *member) {
	for i := range w.members {
		e := [2]int{m.index, i}
		id, ok := w.edges[e]
		if !ok || w.ended[e] {
			continue
		}
		w.ended[e] = true
		w.over[e] = w.do(fmt.Sprintf("%s ends its agreement with %s", m.name, w.members[i].name), func() error { return m.n.Terminate(id, "test") })
		return
	}
}

func (w *scheduled) newCard(m *member) {
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
	if p.to.n == nil {
		return
	}
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
	b := w.any(func(m *member) bool { return m != a && m.n != nil })
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
	if c.a.n == nil || c.a.n != c.an {
		return true, false
	}
	f := c.next
	if f.Err != nil || f.Done != nil {
		if f.Err != nil {
			w.logf("%s and %s: %v", c.a.name, c.b.name, f.Err)
			return true, false
		}
		w.do(fmt.Sprintf("%s has compared with %s", c.a.name, c.b.name), func() error { return c.a.n.heardErasures(c.b.keys.Org) })
		return true, true
	}
	if f.Ask != nil && c.answer == nil {
		if c.b.n == nil || faults && w.rng.IntN(25) == 0 {
			w.logf("%s does not hear from %s", c.a.name, c.b.name)
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

// spoil is what a hostile member does to its answers.
func (w *scheduled) spoil(a *protocol.SyncMessage) {
	which := w.rng.IntN(4)
	if w.defect == forgetsLacks {
		which = 1
	}
	switch which {
	case 0: // claims heads that it does not have
		for i := range a.Frontier {
			a.Frontier[i].Seq += uint64(1 + w.rng.IntN(3))
		}
	case 1: // serves headers instead of bodies
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

// network is the network that all members are in.
func (m *member) network() protocol.NetworkID {
	for _, o := range m.w.members {
		if o.n != nil {
			return o.n.snap.Load().network
		}
	}
	return protocol.NoNetwork
}

// lie makes the hostile member sign two entries of one seq, or send old ones again.
func (w *scheduled) lie(*member) {
	m := w.members[len(w.members)-1]
	if w.rng.IntN(2) == 0 && len(w.old) > 0 {
		raw := w.old[w.rng.IntN(len(w.old))]
		var e protocol.Envelope
		if protocol.Decode(raw, protocol.MaxEnvelopeSize, &e) == nil {
			w.packets = append(w.packets, &packet{to: w.members[w.rng.IntN(len(w.members))], topic: e.Origin.Topic, raw: raw})
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
	w.logf("%s signs two entries %d", m.name, f.Seq+1)
}

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
	w.spoilState(m)
	m.checked = m.disk.Steps()
	shown := w.readable(m)
	for v, r := range shown {
		f := w.facts[v]
		switch {
		case f == nil:
			w.fail("%s shows %s, which nobody published", m.name, v)
		case !f.to[m]:
			w.fail("I2: %s shows %s, which was not for it", m.name, v)
		case m.gone[v]:
			w.fail("I5: %s shows %s, which was erased there", m.name, v)
		}
		if f.by == m && !f.moved {
			f.feed, f.seq = r.Feed, r.Seq
		}
	}
	for v, f := range w.facts {
		for _, h := range f.by2 {
			if m.n.evidence.holds(h) {
				m.gone[v] = true
			}
		}
		if _, ok := shown[v]; !ok && shown != nil && f.by == m && f.acked && f.erased == 0 && !f.away && !m.rolled && !m.hostile && !w.expired(f) {
			w.fail("I1: %s does not show %s, which it acknowledged", m.name, v)
		}
	}
	w.checkServed(m)
	w.checkComplete(m)
}

// checkServed looks for bodies of entries that were erased.
func (w *scheduled) checkServed(m *member) {
	hashes := m.n.evidence.hashes()
	err := m.n.st.View(func(tx *store.Tx) error {
		for _, h := range hashes {
			var d eraseDoc
			var e protocol.Erase
			if ok, err := getDoc(tx, kindErase, h[:], &d); err != nil || !ok {
				continue
			}
			if err := protocol.Decode(d.Signed.Statement, protocol.MaxStatementSize, &e); err != nil {
				return err
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
			if f.Held < m.seen[f.Feed] && f.Forked == 0 {
				w.fail("I3: %s calls a feed of %s complete at %d and was told of %d", m.name, f.Org.Name, f.Held, m.seen[f.Feed])
			}
			for seq := uint64(1); seq <= f.Held; seq++ {
				has, err := tx.Has(f.Feed, seq)
				if err != nil || has {
					continue
				}
				if tomb, err := tx.Erased(f.Feed, seq); err == nil && tomb == nil {
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
	asks := map[[2]int]bool{}
	oneWay := w.rng.IntN(3) == 0
	for i, a := range w.members {
		for j, b := range w.members {
			if i != j && a.n != nil && b.n != nil {
				asks[[2]int{i, j}] = !oneWay || w.rng.IntN(3) > 0
			}
		}
	}
	w.logf("the faults stop; in one direction for ever: %v, the hostile one runs: %v", oneWay, hostileUp)
	last := ""
	for round := 0; ; round++ {
		if round > 20 {
			w.fail("I1: nodes go on changing after %d rounds", round)
		}
		time.Sleep(time.Minute)
		for i, a := range w.members {
			for j, b := range w.members {
				if !asks[[2]int{i, j}] {
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
			}
			if a.n != nil {
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
	w.checkArrived(asks)
}

// state is where everybody stands.
func (w *scheduled) state() string {
	var b strings.Builder
	for _, m := range w.members {
		if m.n == nil {
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
		fmt.Fprintf(&b, "%s %x %x %v %v\n", m.name, reconcile.DigestFeeds(reconcile.PartDigests(&view{n: m.n}, front)), reconcile.DigestSets(hashes), len(w.readable(m)), m.n.restored.Load() != nil)
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
		if m.n != nil {
			shown[m] = w.readable(m)
		}
	}
	for _, v := range slices.Sorted(maps.Keys(w.facts)) {
		f := w.facts[v]
		for _, m := range w.members {
			r, ok := shown[m][v]
			switch {
			case m.n == nil || f.by.hostile || shown[m] == nil || !reach[[2]int{m.index, f.by.index}]:
			case f.erased == 2 && ok:
				w.fail("I5: %s shows %s at the end, which %s erased", m.name, v, f.by.name)
			case f.erased > 0 || w.expired(f) || !f.acked || f.lost || m.gone[v] || m.perhaps[v] || !f.to[m] || f.by.rolled:
			case f.by == m && m.behind:
			case f.by != m && w.ended[[2]int{f.by.index, m.index}]:
			case !ok:
				w.fail("I1: %s does not show %s, which %s published for it%s", m.name, v, f.by.name, w.states(m, f))
			case f.retract && !r.Withdrawn:
				w.fail("I1: %s shows %s as good, which %s withdrew", m.name, v, f.by.name)
			}
		}
	}
	w.checkEqual(reach)
}

// checkEqual compares nodes that can learn from each other.
func (w *scheduled) checkEqual(reach map[[2]int]bool) {
	for _, a := range w.members {
		for _, b := range w.members {
			if a.index >= b.index || a.n == nil || b.n == nil || shownNothing(a) || shownNothing(b) || !reach[[2]int{a.index, b.index}] || !reach[[2]int{b.index, a.index}] {
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
			fmt.Fprintf(&b, " %d %s %v %s;", seq, state, has, reason)
		}
		fmt.Fprintf(&b, " frozen %d", fd.Frozen)
		return nil
	})
	return b.String() + ")"
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

// spoilState brings a defect about that stands in what a node holds.
func (w *scheduled) spoilState(m *member) {
	switch w.defect {
	case forgetsTombs:
		w.deleteKeys(m, func(k string) bool { return k[0] == 'x' || strings.HasPrefix(k, "u"+string(erasedPrefix)) })
	case forgetsLacks:
		w.deleteKeys(m, func(k string) bool { return k[0] == 'm' })
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

// TestSchedules runs schedules one after the other: what is random in the process is set by
// their seeds.
func TestSchedules(t *testing.T) {
	if *scheduleSeed != 0 {
		wrong, log := schedule(t, *scheduleSeed, none)
		for _, l := range log {
			t.Log(l)
		}
		if wrong != "" {
			t.Errorf("seed %d: %s", *scheduleSeed, wrong)
		}
		return
	}
	begin, limit := time.Now(), 15*time.Second
	if testing.Short() {
		limit = 2 * time.Second
	}
	ran := 0
	for seed := *scheduleFrom; ; seed++ {
		if *scheduleCount > 0 && ran >= *scheduleCount || *scheduleCount == 0 && time.Since(begin) > limit {
			break
		}
		if wrong, log := schedule(t, seed, none); wrong != "" {
			t.Errorf("seed %d: %s\nrun it again: go test ./node -run TestSchedules -seed %d -v\n%s", seed, wrong, seed, strings.Join(log[max(0, len(log)-30):], "\n"))
			if *scheduleCount == 0 {
				return
			}
		}
		ran++
	}
	t.Logf("RAN %d schedules in %v", ran, time.Since(begin).Round(time.Millisecond))
}

// TestSchedulesFindDefects: for each defect some schedule goes wrong, soon.
func TestSchedulesFindDefects(t *testing.T) {
	for bug, name := range map[defect]string{noAnchor: "no anchor", unsynced: "commits are not synced", torn: "marks are durable before what they mark",
		forgetsTombs: "tombs are forgotten", eraseFirst: "erased before the survivors are sealed anew", forgetsLacks: "missing bodies are not noted", ignoresForks: "fork proofs are thrown away"} {
		t.Run(name, func(t *testing.T) {
			const most = 300
			for seed := uint64(1); seed <= most; seed++ {
				if wrong, _ := schedule(t, seed, bug); wrong != "" {
					t.Logf("seed %d: %s", seed, wrong)
					return
				}
			}
			t.Errorf("not found in %d schedules", most)
		})
	}
}

// TestSchedulesReplay: a seed gives the same schedule again, to the step at which power fails.
func TestSchedulesReplay(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		_, first := schedule(t, seed, none)
		_, again := schedule(t, seed, none)
		for i := range min(len(first), len(again)) {
			if first[i] != again[i] {
				t.Fatalf("seed %d: line %d was %q, and then %q", seed, i, first[i], again[i])
			}
		}
		if len(first) != len(again) || len(first) < 20 {
			t.Fatalf("seed %d: %d lines, and then %d", seed, len(first), len(again))
		}
	}
}
