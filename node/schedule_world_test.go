package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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
	"github.com/entente-mesh/entente/protocol"
)

// member is a node of a world, and what is known of it from outside.
type member struct {
	w       *scheduled
	name    string
	index   int
	org     int // the first nodes of organisations have the same number
	keys    *Keys
	disk    *disk.Disk
	n       *Node // nil: not running
	hostile bool
	rolled  bool // its anchor went back too: nobody can know that its feeds did
	place   place
	entry   *crypto.NodeRequest
	card    *protocol.SignedCard // that it began with
	invite  *protocol.Invite
	since   int  // step at which it was enrolled
	excused bool // a sibling gave it keys that did not know that it was removed
	opener  bool // it holds its organisation's operational key
	behind  bool // it was restored, and may lack what it had
	backups []backup
	out     map[protocol.FeedID]uint64 // entries announced
	seen    map[protocol.FeedID]uint64 // what signed heads of honest authors told it
	gone    map[string]bool            // erased here, whatever happens
	evicted map[*member]bool           // authors of whose bodies it gave up some
	perhaps map[string]bool            // erased here or not: the power failed meanwhile
	noted   map[protocol.FeedID]uint64 // own entries whose times were noted
	knows   map[string]int64           // exclusions that it has: since when
	signed  map[protocol.AgreementID]int64
	told    int // steps of its disk when its news were announced
	checked int // and when it was looked at
}

type backup struct {
	data, anchor *disk.Disk
	at           int // step
}

// fact is a record as its publisher meant it.
type fact struct {
	value    string
	id       protocol.RecordID
	by       *member
	to       map[int]bool     // organisations
	not      map[*member]bool // nodes of these that were removed, as far as its publisher knew
	locally  map[int]*member  // the reader of an organisation who erased it there
	asked    *member          // the sibling who erased it
	touched  bool             // what it shares an entry with may be erased by others than its publisher
	acked    bool
	at       int // step
	sealed   int64
	days     int
	erased   int // 0, 1: perhaps, 2: acknowledged
	retract  bool
	feed     protocol.FeedID
	seq      uint64
	late     map[int]bool // organisations whose key waited for a fresh card
	moved    bool         // sealed anew, there
	resealed bool         // or perhaps sealed anew
	away     bool         // its publisher was restored from before it
	lost     bool         // and nobody else had it
	keyless  bool         // nor did another node of its organisation have the key

	tlp       protocol.TLP
	countries []string
	onward    bool          // partners may pass it on
	never     map[int]bool  // organisations that it excludes itself
	excluded  map[int]int64 // and later: when
	doubted   map[int]bool  // perhaps
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
	ended      map[[2]int]bool    // an end was begun
	over       map[[2]int]*member // and acknowledged, there
	orgs       int
	siblings   bool                       // organisations get more nodes
	life       bool                       // agreements are suspended, amended, and records passed on
	words      map[way][]*word            // of parties, about what goes a way
	times      map[entryTime]int64        // when entries were sealed, Unix milliseconds
	ends       map[protocol.FeedID]uint64 // where feeds of removed nodes end
	cardAt     map[int]int                // step at which the nodes of an organisation changed
	byID       map[protocol.RecordID]*fact
	files      []carried
	destroyed  map[int]map[*member]bool // by organisation: authors of whose bodies it erased some for itself
	late       []lateItems
	busy       *member                    // it waits for an answer
	told       map[protocol.Hash][]string // values that erases name
	said       map[saying]*said
	published  map[protocol.FeedID]map[uint64]protocol.Hash
	signers    map[protocol.SigningKey]*member
	old        [][]byte // entries seen, for replaying
	equivocals int
	values     int
	months     int // that passed
	did        tally
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

var templates = sync.OnceValue(func() map[templateKey]*template { return map[templateKey]*template{} })

// shapes says how often each of the topologies is drawn: what happens needs few nodes, and
// everybody compares with everybody at the end.
var shapes = []int{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3}

type templateKey struct {
	which    int
	fresh    bool // nobody has heard yet of what others signed
	anchored bool
	life     bool
}

// templateOf makes a network once; schedules work on copies of its disks.
func templateOf(t *testing.T, which int, fresh, life bool, bug defect) *template {
	key := templateKey{which, fresh, bug != noAnchor, life}
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
			from, to := nodes[e[0]], nodes[e[1]]
			trustEachOther(t, from, to)
			doc := testAgreement(from, to, protocol.TLPAmber, "*")
			doc.NotAfter += 1000 * 24 * 3600 * 1000 // months pass
			if life {
				lifeTerm(&doc, protocol.TLPAmber, protocol.Worldwide)
			}
			tp.edges[e] = agreeOn(t, from, to, doc)
		}
		if !fresh {
			for _, n := range nodes {
				carry(t, n, slices.DeleteFunc(slices.Clone(nodes), func(o *Node) bool { return o == n })...)
			}
		}
		for _, n := range nodes {
			if life {
				if err := n.SetRelease(context.Background(), ReleaseAuto, false); err != nil {
					t.Fatal(err)
				}
			}
			n.Close()
		}
	})
	templates()[key] = tp
	return tp
}

// newWorld makes a network of which nobody runs yet.
func newWorld(t *testing.T, tp *template, rng *rand.Rand, bug defect) *scheduled {
	w := &scheduled{t: t, rng: rng, defect: bug, facts: map[string]*fact{}, edges: tp.edges, ended: map[[2]int]bool{}, over: map[[2]int]*member{},
		orgs: len(tp.names), ends: map[protocol.FeedID]uint64{}, cardAt: map[int]int{}, destroyed: map[int]map[*member]bool{}, told: map[protocol.Hash][]string{}, byID: map[protocol.RecordID]*fact{}, said: map[saying]*said{},
		published: map[protocol.FeedID]map[uint64]protocol.Hash{}, signers: map[protocol.SigningKey]*member{}, did: tally{},
		words: map[way][]*word{}, times: map[entryTime]int64{}}
	for i := range tp.names {
		d := new(disk.Disk)
		d.Restore(tp.disks[i], "sim")
		d.Restore(tp.disks[i], simData)
		d.Restore(tp.disks[i], simAnchor)
		d.Torn = bug == torn
		d.Lazy = bug == unsynced
		d.Flush()
		m := w.addMember(tp.names[i], i, tp.keys[i], d)
		m.place, m.opener = onCard, true
		m.hostile = i == len(tp.names)-1
	}
	return w
}

// addMember adds a node of an organisation that does not run yet.
func (w *scheduled) addMember(name string, org int, keys *Keys, d *disk.Disk) *member {
	m := &member{w: w, name: name, index: len(w.members), org: org, keys: keys, disk: d, out: map[protocol.FeedID]uint64{}, seen: map[protocol.FeedID]uint64{},
		gone: map[string]bool{}, evicted: map[*member]bool{}, perhaps: map[string]bool{},
		noted: map[protocol.FeedID]uint64{}, knows: map[string]int64{}, signed: map[protocol.AgreementID]int64{}}
	maps.Copy(m.evicted, w.destroyed[org])
	w.members = append(w.members, m)
	w.signers[keys.Signing.Public()] = m
	return m
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
				w.did["power cuts while it "+verb(what, m)]++
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
	case strings.Contains(err.Error(), "not found"), strings.Contains(err.Error(), "terminated"), strings.Contains(err.Error(), "no record"), errors.Is(err, ErrRefused), errors.Is(err, ErrNotEnrolled):
		w.logf("%s: %v", what, err)
	case w.defect != none:
		w.logf("%s: %v", what, err)
	default:
		w.fail("%s: %v", what, err)
	}
	return false
}

// verb is what a node did, for counting: the word after its name.
func verb(what string, m *member) string {
	words := strings.Fields(strings.TrimSuffix(what, ":"))
	if len(words) > 1 && words[0] == m.name {
		return words[1]
	}
	if words[0] == "start" {
		return "starts"
	}
	return "hears" // what another sends
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
		c := simConfig(m.keys, m.disk, w.defect)
		c.Card = m.card
		n, err := Open(c)
		if err != nil {
			w.fail("%s does not start: %v", m.name, err)
		}
		m.n = n
		w.tellTime(m)
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

// wait lets time go by.
func (w *scheduled) wait(d time.Duration) {
	time.Sleep(d)
	for _, m := range w.members {
		w.tellTime(m)
	}
}

// tellTime has a node that runs hear what time it is elsewhere, as it does of whom it is connected with: clocks
// are right here, and a node that was off for months is to go on.
func (w *scheduled) tellTime(m *member) {
	for _, o := range w.members {
		if m.n != nil && o.org != m.org {
			m.n.hearClock(o.keys.Org, 0, 0)
		}
	}
}

func (w *scheduled) oneStep() {
	w.wait(time.Duration(1+w.rng.IntN(600)) * time.Second)
	m := w.any((*member).up)
	if m != nil && w.siblings && w.rng.IntN(2) == 0 {
		m = cmp.Or(w.any(func(m *member) bool { return m.up() && m.org == 0 }), m)
	}
	if m == nil {
		for _, m := range w.members {
			w.start(m)
		}
		return
	}
	if m.place != onCard && w.newNode(m) {
		w.check(m)
		return
	}
	type move struct {
		weight int
		do     func(*member)
	}
	moves := []move{
		{14, w.publish}, {4, w.withdraw}, {5, w.erase}, {2, w.eraseLocally}, {3, w.pass}, {12, w.beginComparison}, {40, w.goOn}, {30, w.deliver},
		{6, w.stateHeads}, {4, w.gossipSets}, {5, w.keep}, {7, w.powerFails}, {3, w.kill}, {8, w.startOne}, {4, w.backUp}, {2, w.restore}, {8, w.lie}, {1, w.endAgreement}, {1, w.newCard},
		{2, w.monthPasses}, {2, w.askWhy}, {4, w.evict},
	}
	if w.siblings {
		moves = append(moves, move{20, w.requestNode}, move{25, w.meet}, move{6, w.removeNode}, move{8, w.resealRemoved}, move{4, w.packFile}, move{8, w.applyFile},
			move{4, w.lateAnswer}, move{6, w.say}, move{8, w.eraseOfSibling})
	}
	if w.life {
		moves = append(moves, move{6, w.stopSharing}, move{8, w.goOnSharing}, move{14, w.amend}, move{6, w.excludeLater}, move{12, w.passOn}, move{10, w.publish})
	}
	if w.defect == noAnchor { // what brings it to light comes more often
		moves = append(moves, move{15, w.backUp}, move{15, w.restore})
	}
	if w.defect == keepsEpochs {
		moves = append(moves, move{10, w.removeNode}, move{30, w.publish}, move{80, w.deliver})
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

// network is the network that all members are in.
func (m *member) network() protocol.NetworkID {
	for _, o := range m.w.members {
		if o.n != nil && o.n.snap.Load().network != protocol.NoNetwork {
			return o.n.snap.Load().network
		}
	}
	return protocol.NoNetwork
}
