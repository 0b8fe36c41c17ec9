package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// Config is what a node is opened with.
type Config struct {
	Dir         string               // data directory; empty: in memory, for tests and simulation
	Keys        *Keys                // must be set
	Card        *protocol.SignedCard // first card, kept if the store holds none; Init stores it on disk
	Listen      []string             // multiaddrs; empty: DefaultListen, or none beside a proxy; NoListen alone: none
	Announce    []string             // multiaddrs on the card; empty: those listened on
	Via         []string             // relays by way of which to be reachable, as multiaddrs with /p2p/ at the end
	Proxy       string               // URL of an HTTP proxy by way of which peers are called; empty: none
	Relay       bool                 // relay for the members of the network
	Log         *slog.Logger         // nil: nothing is logged
	HostOptions []mesh.HostOption    // simulation only
	Program     string               // name and version of the program, as peers are told; may be empty
	Wire        mesh.Wire            // simulation only: what it speaks
	// Trace records what is said on the wire; nil: nothing is. See mesh.Config.
	Trace     func(node protocol.NodeID, id, what string, frame []byte)
	SyncEvery time.Duration // 0: DefaultSyncEvery
	HeadEvery time.Duration // 0: DefaultHeadEvery
	// Anchor is the directory that must not go back in time with Dir (see package anchor);
	// empty: Dir with ".anchor" added, or none if Dir is empty.
	Anchor       string
	DiskLimit    int64 // bytes that the data directory may take; 0: no limit
	OrgQuota     int64 // bytes of entries held of one organisation with which no agreement was signed; 0: DefaultOrgQuota
	PartnerQuota int64 // bytes of entries held of one organisation with which one was signed; 0: DefaultPartnerQuota
	// Disk, in a simulation, is what Dir and Anchor are on; without Anchor there is none then.
	Disk *disk.Disk
	// AcceptRestored shows and serves a store that went back in time although it is not known
	// what was erased since.
	AcceptRestored bool

	// ClockOK says that the clock is right, whatever this node stated before and peers say. ClockBy is who said so.
	ClockOK bool
	ClockBy Caller
	// ClockAhead, in a simulation, is by how much this node's clock is ahead of that of the others.
	ClockAhead time.Duration
	// Rules and People are the files of the local rules; empty: RulesFile in Dir, if it is there,
	// and PeopleFile beside the rules.
	Rules, People string
	// Migrate says whether a store of an earlier version is brought to the format of this one; who it
	// is for is noted. Progress, if not nil, is told how far that has come.
	Migrate   Migrate
	MigrateBy Caller
	Progress  func(what string, done, total uint64)
}

// DefaultListen are the addresses listened on where none are given.
var DefaultListen = []string{"/ip4/0.0.0.0/udp/4401/quic-v1", "/ip4/0.0.0.0/tcp/4401"}

// DefaultSyncEvery is how often a node compares itself with a peer when nothing else makes
// it do so.
const DefaultSyncEvery = time.Minute

// DefaultHeadEvery is how often a node states where its feeds stand, also when idle.
const DefaultHeadEvery = time.Minute

// Node is one member's node. Its methods may be called concurrently.
type Node struct {
	cfg Config
	log *slog.Logger
	// ways is how the node is reached and reaches others.
	ways *ways
	org  protocol.OrgID
	keys *Keys
	st   *store.Store
	// index finds the records of the corpus in st.
	index *corpus.Index
	// warnings are the warninglists, under their own mutex.
	warnings warninglists

	// mirroring is what a database that follows the corpus is told.
	mirroring mirroring
	// handouts are those that are gone on with.
	handouts standings

	// verified caches verified cards by hash; it only ever holds what verified.
	verified sync.Map

	// snap is the present snapshot. stateMu serialises its changes, and is held by an
	// append from the comparison of generations to its commit.
	snap    atomic.Pointer[snapshot]
	stateMu sync.RWMutex

	// appendMu serialises the gate out: all appends to own feeds.
	appendMu sync.Mutex

	// cardMu serialises what signs the own card: each makes the version after the one it read.
	cardMu sync.Mutex

	// ended holds the terminations of the journal, by agreement: one that comes back after a
	// restore comes back ended. It does not change after Open.
	ended map[protocol.AgreementID][][]byte

	opened atomic.Bool // Open is done
	waited atomic.Bool // it is known what was erased since the store went back in time; it is about to be shown

	// erasing serialises the carrying out of erasures by this organisation; due says that
	// something became due since it was looked at.
	erasing sync.Mutex
	due     atomic.Bool
	asking  atomic.Bool // requests to erase came that are not answered

	// listed is the set that was last listed to a sibling; nil while there is none.
	listed atomic.Pointer[siblingListed]

	// rulesProblem is why the rules on disk are not in force; nil: they are, or there are none.
	rulesProblem atomic.Pointer[string]
	// rulesDoubt is why it is not known whether the rules in the store are the newest; nil: they are.
	// rulesMu is held while a set is put in force.
	rulesDoubt atomic.Pointer[rulesDoubt]
	rulesMu    sync.Mutex
	// refusedOffer is the number of rules for all nodes that were noted as refused last.
	refusedOffer atomic.Uint64

	anchor   *anchor.Anchor // nil: in memory
	room     *room
	restored atomic.Pointer[restoredDoc]
	evidence *evidence
	heads    *headTable

	cache *policy.Cache

	passing   sync.Mutex // held while records are passed on
	forwarded forwarded  // under passing
	// words counts the withdrawals and exclusions that were stored: what is sealed for who was
	// chosen before one of them is chosen again.
	words atomic.Uint64

	// account is the audit log; it does not change after Open. auditing are entries that wait to be
	// written together, under auditMu; who holds the token of auditTurn writes them. statingMu
	// serialises the statement of checkpoints.
	account   *audit.Log
	auditMu   sync.Mutex
	auditing  []*auditEntry
	auditTurn chan struct{}
	statingMu sync.Mutex
	// noticing serialises the writing of the notice of backups.
	noticing sync.Mutex
	backedUp atomic.Uint64 // when the last whole backup was begun, Unix milliseconds; 0: none is known
	actingMu sync.Mutex    // see Acting
	peopleMu sync.Mutex    // held while the people are changed; judgesMu guards who is called then
	judgesMu sync.Mutex
	judges   []Judge
	actor    atomic.Pointer[Caller] // on whose behalf state changes; nil: nobody's

	asked keyRequests

	// ages are the age identities, the present one first; turnMu is held while they change.
	ages   atomic.Pointer[[]*crypto.Identity]
	turnMu sync.Mutex

	// certificates are those that this node serves under, under certMu.
	certificates []certificate
	certMu       sync.Mutex

	// directFeeds holds of which topic the feeds of direct topics are, by their ids.
	directFeeds sync.Map

	// gate is the gate in; run while the node is online, or called directly.
	gate *gate

	// net is set while Run runs.
	net atomic.Pointer[network]

	// sources keeps two runs of one source apart.
	sources sourceTable

	// certificateEnds tells until when the certificate is valid under which consumers are served; nil: none
	// are, or without one.
	certificateEnds atomic.Pointer[func() time.Time]

	clock    clockWatch
	counters counters
	changes  broadcast // something was indexed, or state changed
	started  int64
}

// Open opens a node on its data directory. It does not touch the network.
func Open(cfg Config) (*Node, error) {
	if cfg.Keys == nil {
		return nil, errors.New("opening node: keys must be set")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.SyncEvery == 0 {
		cfg.SyncEvery = DefaultSyncEvery
	}
	if cfg.OrgQuota == 0 {
		cfg.OrgQuota = DefaultOrgQuota
	}
	if cfg.PartnerQuota == 0 {
		cfg.PartnerQuota = DefaultPartnerQuota
	}
	if cfg.HeadEvery == 0 {
		cfg.HeadEvery = DefaultHeadEvery
	}
	way, err := newWays(&cfg, cfg.Keys.Host.Public())
	if err != nil {
		return nil, fmt.Errorf("opening node: %w", err)
	}
	dir := cfg.Dir
	if dir != "" {
		if err := CheckRestored(dir); err != nil && cfg.Disk == nil {
			return nil, err
		}
		dir = filepath.Join(dir, storeDir)
	}
	st, err := store.Open(store.Config{Dir: dir, Key: cfg.Keys.Store, Log: cfg.Log, Disk: cfg.Disk, Older: true})
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	if err := cfg.Keys.again(); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err := migrateStore(&cfg, st); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	n := newNode(cfg, st)
	n.ways = way
	n.gate = newGate(n)
	n.evidence, n.heads, n.room = newEvidence(), newHeadTable(), newRoom()
	err = st.DropStaged()
	if err == nil {
		err = n.openIndex()
	}
	if err == nil {
		err = n.openAudit()
	}
	if err == nil {
		err = st.View(func(tx *store.Tx) error {
			// Generations do not repeat across restarts, so that no plan outlives its state.
			s, err := n.loadSnapshot(tx, uint64(nowMillis()))
			n.snap.Store(s)
			return err
		})
	}
	if err == nil && cfg.Card != nil && n.OwnCard() == nil {
		err = n.putOwnCard(cfg.Card)
	}
	if cfg.Anchor == "" && cfg.Dir != "" && cfg.Disk == nil {
		cfg.Anchor = anchorOf(cfg.Dir)
	}
	if cfg.onDisk() {
		n.room.dirs = []string{cfg.Dir, cfg.Anchor}
	}
	for _, step := range []func() error{
		func() error {
			if cfg.Anchor == "" {
				return nil
			}
			return n.openAnchor(cfg.Anchor)
		},
		func() error {
			if !cfg.ClockOK {
				return nil
			}
			return n.leaveAhead()
		},
		n.openClock,
		n.checkRules, n.checkAudit, n.takeAnchoredCard, n.takeRulesFile, n.openRulesOf,
		n.noteMigrations, n.loadEvidence, n.endRemoved, n.closeHandouts, n.noteBackups, n.loadLastBackup, n.loadRestored, n.loadHeads, n.loadRoom, n.gate.openAll,
		func() error { n.tryErasures(); n.opened.Store(true); n.forgetIndex(); return n.applyLater() },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// storeDir is where the store is in a data directory.
const storeDir = "store"

// anchorOf returns where the anchor of a data directory is, if nobody says otherwise.
func anchorOf(dir string) string {
	return strings.TrimRight(dir, string(filepath.Separator)) + ".anchor"
}

// Close closes the store and the anchor. Run must have returned.
func (n *Node) Close() error {
	n.stateAudit()
	if err := n.keepClockTime(); err != nil && !errors.Is(err, store.ErrClosed) {
		n.log.Warn("noting the time failed; the next start goes by what was stated last", "err", err)
	}
	err := n.keepHandouts()
	if errors.Is(err, store.ErrClosed) { // closed before
		err = nil
	}
	err = errors.Join(err, n.st.Close())
	if n.anchor != nil {
		err = errors.Join(err, n.anchor.Close())
	}
	if t := n.token(); t != nil {
		err = errors.Join(err, t.Close())
	}
	return err
}

// Org returns the node's organisation.
func (n *Node) Org() protocol.OrgID { return n.org }

// ID returns the node's own id.
func (n *Node) ID() protocol.NodeID { return n.keys.Host.Public() }

// change applies fn to the store and makes a new snapshot with the next generation. It is
// the only way in which cards, roster, trust, agreements and topics change.
func (n *Node) change(fn func(tx *store.Tx) error) error {
	removes, err := n.changeState(fn)
	if err == nil && removes {
		err = n.endRemoved()
	}
	return err
}

// learn stores what decisions are not made from, as direct topics: what was decided stays decided.
func (n *Node) learn(fn func(tx *store.Tx) error) error {
	_, err := n.changeTo(fn, 0)
	return err
}

// changeState does it; removes says that a card removes nodes that stood on it before.
func (n *Node) changeState(fn func(tx *store.Tx) error) (removes bool, err error) {
	return n.changeTo(fn, 1)
}

// changeTo counts the generation up by so many.
func (n *Node) changeTo(fn func(tx *store.Tx) error, up uint64) (removes bool, err error) {
	n.stateMu.Lock()
	defer n.stateMu.Unlock()
	var next *snapshot
	err = n.st.Update(func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		var err error
		if next, err = n.loadSnapshot(tx, n.snap.Load().generation+up); err != nil {
			return err
		}
		return n.auditChange(tx, n.snap.Load(), next)
	})
	if err != nil {
		return false, err
	}
	removes = next.removesMore(n.snap.Load())
	n.snap.Store(next)
	n.changes.notify()
	if net := n.net.Load(); net != nil {
		net.wake()
	}
	return removes, nil
}

// putOwnCard stores this organisation's card.
func (n *Node) putOwnCard(signed *protocol.SignedCard) error {
	return n.putOwnCardWith(signed, func(*store.Tx) error { return nil })
}

// putOwnCardWith stores it together with what fn writes.
func (n *Node) putOwnCardWith(signed *protocol.SignedCard, fn func(tx *store.Tx) error) error {
	card, err := crypto.VerifyCard(signed)
	if err != nil {
		return err
	}
	if card.Org != n.org {
		return protocol.Errorf(protocol.ErrWrongContext, "card is of %s, not of this organisation", card.Org.Short())
	}
	var before *protocol.SignedCard
	if n.anchor != nil {
		if before, err = n.anchor.Card(); err != nil {
			return err
		}
		if err := n.anchor.SetCard(signed); err != nil {
			return err
		}
	}
	err = n.change(func(tx *store.Tx) error {
		return errors.Join(putDoc(tx, kindCard, n.org[:], signed), fn(tx))
	})
	if n.anchor != nil && errors.Is(err, ErrForbidden) { // whoever asked for it left: it is not to come in force at the next start
		if own := n.OwnCard(); before == nil && own != nil {
			before = &own.Signed
		}
		if before != nil {
			err = errors.Join(err, n.anchor.SetCard(before))
		}
	}
	return err
}

// takeAnchoredCard takes the card that was signed here last, if the store went back to before it.
// What cannot be used of it is as good as none.
func (n *Node) takeAnchoredCard() error {
	own := n.OwnCard()
	if n.anchor == nil || own == nil {
		return nil
	}
	signed, err := n.anchor.Card()
	if err != nil || signed == nil {
		return err
	}
	card, err := crypto.VerifyCard(signed)
	if err != nil || card.Org != n.org || !own.Order.Less(card.Order) {
		return nil
	}
	n.log.Warn("this data directory went back to before the last card that was signed in it; that is taken from beside it", "serial", card.Serial)
	return n.change(func(tx *store.Tx) error { return n.keepCard(tx, card) })
}

// Card returns the newest card known of an organisation, or nil.
func (n *Node) Card(org protocol.OrgID) *crypto.Card { return n.snap.Load().cards[org] }

// OwnCard returns this organisation's card, or nil before Init.
func (n *Node) OwnCard() *crypto.Card { return n.Card(n.org) }

// renewCard signs the next version of the own card if change says that something differs,
// or if the card ends soon. Without the operational key, or while its token does not answer, it does nothing; nor
// where the card does not list this node: a thief of the key removed it, and a person ends that.
func (n *Node) renewCard(change func(c *protocol.Card) bool) error {
	n.cardMu.Lock()
	defer n.cardMu.Unlock()
	own := n.OwnCard()
	if own == nil || own.Node(n.ID()) == nil || !n.opAnswers() {
		return nil
	}
	c := own.Card
	now := n.nowMillis()
	ahead := n.cfg.ClockOK && c.Issued > now+protocol.MaxClockSkew // signed while the clock was wrong: fresh nowhere
	if !change(&c) && !ahead && c.FreshUntil > now+cardRenewal {
		return nil
	}
	if err := n.believeClock(); err != nil {
		return err
	}
	c.Serial++
	c.Issued, c.FreshUntil = now, now+CardLife
	signed, err := crypto.SignCard(&c, n.op())
	if err != nil {
		return fmt.Errorf("signing card: %w", err)
	}
	return n.putOwnCard(&signed)
}

// clockAhead is by how many milliseconds the node's clock is ahead of the machine's; 0 but in tests.
var clockAhead atomic.Int64

// SetClock sets the clock of all nodes of this process ahead of the machine's, or behind it. It is for tests of
// what a wrong clock does; no program calls it.
func SetClock(ahead time.Duration) { clockAhead.Store(ahead.Milliseconds()) }

// nowMillis is the node's clock: Unix milliseconds. In a synctest bubble it is virtual.
func nowMillis() int64 { return time.Now().UnixMilli() + clockAhead.Load() }

// nowMillis is the clock of this node, which in a simulation may differ from that of others.
func (n *Node) nowMillis() uint64 { return uint64(nowMillis() + n.cfg.ClockAhead.Milliseconds()) }

// clockAhead is by how much this node's clock is ahead of the machine's: 0 but in tests.
func (n *Node) clockAhead() time.Duration {
	return time.Duration(clockAhead.Load())*time.Millisecond + n.cfg.ClockAhead
}

// broadcast wakes everybody who waits for a change.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that is closed at the next notify.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// Changed returns a channel that is closed when something was indexed or decided anew.
func (n *Node) Changed() <-chan struct{} { return n.changes.wait() }

// Held returns how many entries of a feed are durable here, one after the other, and a channel
// that is closed when there are more of any feed. It reads memory only, and does not wait until
// entries are opened.
func (n *Node) Held(feed protocol.FeedID) (seq uint64, more <-chan struct{}) {
	more = n.gate.grown.wait()
	return n.gate.head(feed), more
}

// sleep waits for d or for ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Online reports whether Run runs, and the node is on the network.
func (n *Node) Online() bool { return n.net.Load() != nil }
