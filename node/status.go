package node

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// counters count since the node started.
type counters struct {
	rejected atomic.Uint64 // gossip: the sender's fault
	ignored  atomic.Uint64 // gossip: nobody's fault
	later    atomic.Uint64 // gossip: of a later version than this program reads
	dropped  atomic.Uint64 // gossip: no room; left to the sync
	failed   atomic.Uint64 // storing failed

	duplicates atomic.Uint64 // gossip: entries that came once more
	published  atomic.Uint64 // own records
	appended   atomic.Uint64 // own entries with them
	erased     atomic.Uint64 // erases applied, own and received
	syncs      atomic.Uint64 // comparisons begun
	syncFailed atomic.Uint64
	synced     atomic.Int64 // Unix milliseconds of the last one that was done to its end
	warm       atomic.Bool  // the index was read; see warmIndex
}

// OrgRef names an organisation: by id, and by what it calls itself.
type OrgRef struct {
	ID   protocol.OrgID `json:"id"`
	Name string         `json:"name"`
}

func (s *snapshot) ref(id protocol.OrgID) OrgRef { return OrgRef{ID: id, Name: s.name(id)} }

// Status is how a node stands.
type Status struct {
	Org         OrgRef             `json:"organisation"`
	Node        protocol.NodeID    `json:"node"`
	Network     protocol.NetworkID `json:"network"`
	NetworkName string             `json:"network_name,omitempty"`
	Online      bool               `json:"online"`
	Addrs       []string           `json:"addresses"`
	Started     time.Time          `json:"started"`
	Generation  uint64             `json:"policy_generation"`
	CardFresh   time.Time          `json:"card_fresh_until"`
	Members     int                `json:"members"`
	Connected   int                `json:"connected"`
	Topics      int                `json:"topics"`
	Envelopes   uint64             `json:"envelopes"` // of topics, control entries left out
	Control     uint64             `json:"control_entries"`
	Pending     uint64             `json:"pending"` // entries stored and not gone through yet
	Waiting     int                `json:"waiting"` // entries that cannot be judged yet: a card, an agreement or their time is missing
	Records     uint64             `json:"records"`
	Quarantined int                `json:"quarantined"`
	Agreements  int                `json:"agreements_in_force"`
	Inbox       int                `json:"proposals_waiting"`
	Gossip      GossipStatus       `json:"gossip"`
	Missing     uint64             `json:"missing"` // entries and bodies that there are, and that are not held
	Gaps        int                `json:"gaps"`    // feeds that lack something
	Silent      int                `json:"silent"`  // feeds whose authors did not state their heads when they said that they would
	Forked      int                `json:"forked"`  // feeds that their authors forked
	Awaiting    int                `json:"awaiting_key"`
	OnlyHere    uint64             `json:"only_here"` // own entries of which no other node has signed that it holds a copy
	Disk        DiskStatus         `json:"disk"`
	Nodes       []OwnNode          `json:"nodes"`              // of this organisation
	Restored    string             `json:"restored,omitempty"` // why nothing is shown or served
	Rules       int                `json:"local_rules"`
	Problems    []Problem          `json:"problems"`

	// Erasures counts requests to erase; Holds the legal holds that stand, and Kept the records that would
	// have been erased without them.
	Erasures AskCounts `json:"erasure_requests"`
	Holds    int       `json:"holds"`
	Kept     int       `json:"kept_under_hold"`

	// CountsHidden says that the caller may not be told how many records there are: Records and
	// Quarantined are left out.
	CountsHidden bool `json:"counts_hidden,omitempty"`
	// ProblemsHidden says that the caller, who is nobody of the node's people, may not be told of problems: that
	// Problems is empty says nothing.
	ProblemsHidden bool `json:"problems_hidden,omitempty"`

	// Incompatible counts the nodes that were met and share no version of the protocols with this one.
	Incompatible int `json:"incompatible,omitempty"`

	// Reach is how the node reaches others and is reached; nil: it is not up.
	Reach *ReachStatus `json:"reach,omitempty"`

	// Mirror is how the database stands that follows the corpus; nil: there is none.
	Mirror *corpus.MirrorStatus `json:"mirror,omitempty"`

	awaiting int // of Waiting: those whose keys are missing
}

// GossipStatus counts what gossip did since the start.
type GossipStatus struct {
	Rejected uint64 `json:"rejected"`
	Ignored  uint64 `json:"ignored"`
	Dropped  uint64 `json:"dropped"`
	Later    uint64 `json:"later,omitempty"` // of a later version than this program reads
}

// Problem is something that a person should see to, and what to do.
type Problem struct {
	Kind     string `json:"kind"`     // a word that stays, for monitoring; docs/problems.md lists them
	Severity string `json:"severity"` // "error" or "warning"
	Text     string `json:"text"`
	Do       string `json:"do"`
}

// problem adds one.
func (st *Status) problem(kind, severity, do, format string, args ...any) {
	st.Problems = append(st.Problems, Problem{Kind: kind, Severity: severity, Text: fmt.Sprintf(format, args...), Do: do})
}

// Pulse is the status that is for everybody: that the node is up, and whose it is. It costs no look at the store,
// since whoever may have it may ask for it as often as they like.
func (n *Node) Pulse() *Status {
	return &Status{Org: n.snap.Load().ref(n.org), Node: n.ID(), Online: n.net.Load() != nil, Started: time.UnixMilli(n.started).UTC(),
		Addrs: []string{}, Nodes: []OwnNode{}, Problems: []Problem{}, CountsHidden: true, ProblemsHidden: true}
}

// Status reports how the node stands.
func (n *Node) Status() (*Status, error) {
	s := n.snap.Load()
	st := &Status{Org: s.ref(n.org), Node: n.ID(), Network: s.network, Started: time.UnixMilli(n.started).UTC(), Generation: s.generation,
		Addrs: []string{}, Problems: []Problem{}, Members: len(s.members), Topics: s.joined(),
		Gossip: GossipStatus{n.counters.rejected.Load(), n.counters.ignored.Load(), n.counters.dropped.Load(), n.counters.later.Load()}}
	if s.genesis != nil {
		st.NetworkName = s.genesis.Name
	}
	if c := s.cards[n.org]; c != nil {
		st.CardFresh = time.UnixMilli(int64(c.FreshUntil)).UTC()
	}
	n.versionProblems(st)
	if net := n.net.Load(); net != nil {
		st.Online, st.Addrs, st.Connected = true, net.mesh.Addrs(), len(net.mesh.Peers())
		for node, why := range net.mesh.Incompatible() {
			if _, ok := s.nodes[node]; !ok {
				continue // removed since
			}
			st.Incompatible++
			st.problem("peer-incompatible", "error", "bring the older of the two up to date", "a node of %s cannot be talked to: %s", s.name(s.nodes[node]), why)
		}
	}
	st.Reach = n.reachStatus(s)
	for _, a := range s.agreements {
		switch n.agreementInfo(s, a).State {
		case AgreementInForce:
			st.Agreements++
		case AgreementIncoming:
			st.Inbox++
		}
	}
	control := protocol.NewTopicID(s.network, protocol.ControlTopic)
	err := n.st.View(func(tx *store.Tx) error {
		count, err := corpus.Count(tx)
		if err != nil {
			return err
		}
		st.Records = count.Records
		if err := scanDocs(tx, kindQuarantine, func([]byte, *quarantineDoc) error { st.Quarantined++; return nil }); err != nil {
			return err
		}
		return tx.Feeds(func(f *store.Feed) error {
			st.Pending += f.Seq - f.Opened
			early, err := tx.EntriesIn(f.ID, store.AwaitingKey)
			if err != nil {
				return err
			}
			st.Waiting += len(early)
			if f.Origin.Topic == control {
				st.Control += f.Seq
			} else {
				st.Envelopes += f.Seq
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if st.OnlyHere, err = n.onlyHere(); err != nil {
		return nil, err
	}
	st.Disk, st.Nodes = n.diskStatus(), n.OwnNodes()
	feeds, err := n.Feeds()
	if err != nil {
		return nil, err
	}
	if d := n.restored.Load(); d != nil {
		st.Restored = d.Why
		st.problem("restored", "error", "keep the node up until it has compared with two other organisations, or run 'entente up --accept-restored'",
			"this data went back in time (%s); nothing is shown or served until it is known what was erased since", d.Why)
	}
	if st.Erasures, err = n.askCounts(); err != nil {
		return nil, err
	}
	if st.Holds, err = n.countHolds(); err != nil {
		return nil, err
	}
	if st.Kept, err = n.countKept(); err != nil {
		return nil, err
	}
	n.peopleProblems(st)
	if err := n.consumerProblems(st); err != nil {
		return nil, err
	}
	if err := n.sinkProblems(st); err != nil {
		return nil, err
	}
	if _, err = n.sourceStatus(func(p Problem) { st.Problems = append(st.Problems, p) }); err != nil {
		return nil, err
	}
	n.findRulesProblems(st)
	if err := n.mirrorProblems(st); err != nil {
		return nil, err
	}
	n.requestProblems(st)
	n.tokenProblems(st)
	n.expiryProblems(st)
	n.feedProblems(st, feeds)
	n.reachProblems(s, st)
	n.findProblems(s, st)
	n.machineProblems(s, st)
	return st, nil
}

// feedProblems tells of feeds that are not as they should be.
func (n *Node) feedProblems(st *Status, feeds []FeedStatus) {
	add := st.problem
	for i := range feeds {
		f := &feeds[i]
		where := f.Topic
		if f.Topic == protocol.ControlTopic {
			where = "its letters"
		}
		if f.Missing > 0 {
			st.Missing += f.Missing
			st.Gaps++
			add("entries-missing", "warning", "'entente feeds --missing' shows who has them; they come when one of those is connected", "%d entries of %s in %s are missing here", f.Missing, f.Org.Name, where)
		}
		if f.Silent {
			st.Silent++
			add("feed-silent", "warning", "ask them whether their node is up", "%s has not said since %s where its feed in %s stands", f.Org.Name, f.Stated.Format("2006-01-02 15:04"), where)
		}
		if f.Forked != 0 {
			st.Forked++
			do := "ask them: a restored backup or a copied node looks like this, and so does a stolen key; what they seal again comes by itself"
			if f.Own {
				do = "find out whether another machine runs with this node's keys; what this node acknowledged is sealed anew in a new feed"
			}
			add("feed-forked", "error", do, "a feed of %s in %s was forked at entry %d; what comes from there on is set aside", f.Org.Name, where, f.Forked)
		}
		st.Awaiting += f.Awaiting
		st.awaiting += f.awaiting
		if f.Awaiting > 0 && f.Withheld == "" {
			add("key-awaited", "warning", "they open by themselves when it comes; it is asked for every few minutes while the publisher is connected", "%d envelopes await a key from %s", f.Awaiting, f.Org.Name)
		}
		if f.Withheld != "" {
			add("key-withheld", "warning", withheldAdvice(f.Withheld), "%d envelopes await a key from %s, which withholds it: %s", f.Awaiting, f.Org.Name, f.Withheld)
		}
	}
}

func withheldAdvice(reason string) string {
	switch reason {
	case protocol.WithheldStaleCard:
		return "renew this organisation's card: run 'entente up' where the operational key is"
	case protocol.WithheldNoAgreement:
		return "no agreement with them is in force any more; propose a new one if it should be"
	case protocol.WithheldSoon:
		return "nothing: the key is on its way"
	case protocol.WithheldClosed:
		return "ask them to publish again what still matters: keys of a feed that was closed are granted to nobody any more"
	case protocol.WithheldNodes:
		return "ask them: this organisation listed too many nodes one after the other, and keys of the past go to no more of them"
	}
	return "ask them"
}

func (n *Node) findProblems(s *snapshot, st *Status) {
	add := st.problem
	now := uint64(nowMillis())
	if s.network == protocol.NoNetwork {
		add("no-network", "warning", "run 'entente network create NAME', or 'entente network join FILE' with an invitation", "this node is in no network")
	}
	if c := s.cards[n.org]; c != nil && !c.Fresh(now) {
		add("card-stale", "error", "run 'entente up' where the operational key is, so that the card is renewed", "the own card is no longer fresh; partners grant nothing against it")
	}
	if n.op() == nil && len(s.siblings(n.org, n.ID())) == 0 {
		add("op-key-elsewhere", "warning", "renew the card and sign agreements on the machine that has the key", "the operational key is not on this machine")
	}
	if c := s.cards[n.org]; c != nil && c.Node(n.ID()) == nil {
		add("node-not-on-card", "error", "run 'entente node enrol' with the file from 'entente node approve'; a node that was removed is replaced by a new one", "this node is not on its organisation's card: nobody admits it, and it publishes nothing")
	}
	for org, at := range s.conflicts {
		add("card-conflict", "error", "call them: one of their keys may be stolen, or a restored node signed a card; they have to sign a later one. Until then their nodes get no new key", "since %s there are two cards of %s that say different things", millis(at).Format("2006-01-02 15:04"), s.name(org))
	}
	for _, a := range s.agreements {
		info := n.agreementInfo(s, a)
		if info.State == AgreementIncoming {
			add("agreement-proposed", "warning", "read it with 'entente agreement show', then countersign or reject it", "agreement %s of %s waits for an answer", a.ID.Short(), s.name(a.doc.Proposer))
		}
		if text, _ := info.Life.Warning(n.org, now); text != "" {
			add("agreement-ending", "warning", "renew it with 'entente agreement renew', or propose its successor", "agreement %s: %s", a.ID.Short(), text)
		}
		if info.State == AgreementSuspended {
			add("agreement-suspended", "warning", "'entente agreement show' says by whom; who suspended it can resume it", "agreement %s is suspended: nothing is shared under it", a.ID.Short())
		}
		if info.State != AgreementInForce {
			continue
		}
		for _, p := range a.Parties {
			if c := s.cards[p]; p != n.org && (c == nil || !c.Fresh(now)) {
				add("partner-card-stale", "warning", "ask them to bring their node up", "the card of %s is no longer fresh; nothing is granted to it", s.name(p))
			}
		}
	}
	if st.Quarantined > 0 {
		add("quarantine", "warning", "see 'entente quarantine list'", "%d records or entries are in quarantine", st.Quarantined)
	}
	if unjudged := st.Waiting - st.awaiting; unjudged > 0 {
		add("entries-unjudged", "warning", "they are looked at again when cards or agreements come, and every hour; check the clocks of all nodes", "%d entries cannot be judged yet", unjudged)
	}
	if st.Online && st.Connected == 0 && len(s.members) > 1 {
		add("no-peer", "warning", "check addresses and firewalls: 'entente peers' shows where others are expected", "no peer is connected")
	}
	if net := n.net.Load(); net != nil {
		if count, said := net.refusals(); count > 0 {
			add("peer-refuses", "warning", "if this node was removed from its organisation's card, set up a new one; if it was enrolled a moment ago, wait until they know the new card", "%d peers do not let this node in: %s", count, said)
		}
	}
	if waiting, err := n.pendingErasures(); err == nil && waiting > 0 {
		add("erasure-pending", "warning", "bring the node up that published them; if it never comes back, 'entente node revoke' it where the operational key is", "%d records that another node of this organisation published are erased here, and not yet everywhere", waiting)
	}
	if e := &st.Erasures; e.Overdue > 0 {
		add("erasure-overdue", "warning", "'entente erase asked' shows whom; remind them", "%d requests to erase that this organisation made are overdue", e.Overdue)
	}
	if e := &st.Erasures; e.Waiting > 0 {
		add("erasure-waiting", "warning", "'entente erase requests' shows them; answer with 'entente erase answer'", "%d requests to erase wait for an answer, %d of them are past the day they are due", e.Waiting, e.Late)
	}
	if st.OnlyHere > 0 && len(s.members) > 1 {
		add("only-here", "warning", "they are copied as soon as a peer is connected; until then this disk is the only one that has them", "%d own entries are only on this disk", st.OnlyHere)
	}
	if st.Disk.Full {
		add("disk-full", "error", "make room, or raise --disk-limit; until then nothing can be published, and nothing is taken from peers", "the disk limit of %d MiB is reached, and nothing that may go can go", st.Disk.Limit>>20)
	}
	for _, share := range n.shares(s) {
		add("share-nearly-used", "warning", "ask them what they publish so much ('entente peers' has their contact), or raise --quota or --partner-quota; what does not fit is not taken, and is shown as missing", "%s", share)
	}
	if st.Disk.OverQuota > 0 {
		add("share-used", "warning", "ask them what they publish so much; 'entente peers' has their contact", "%d entries of organisations that have used up their share were not taken", st.Disk.OverQuota)
	}
	others, own := n.contradictions()
	for _, x := range others {
		if x.Forked {
			add("audit-forked", "error", "ask them which account is true; both checkpoints are kept, signed by that node ('entente audit cosigned')", "node %s of %s signed two accounts of one length: its audit log was rewritten", x.Node, x.Org.Name)
		} else {
			add("audit-discontinued", "error", "ask them what happened to it; both checkpoints are kept, signed by that node ('entente audit cosigned')", "node %s of %s shows an audit log that does not continue the one cosigned here", x.Node, x.Org.Name)
		}
	}
	for _, id := range own {
		add("audit-contradicted", "error", "'entente audit verify' says more; find out whether this data was put back from before, or is used by two nodes", "node %s of %s cosigned another audit log of this node than there is", id, s.name(s.nodeOrg(id)))
	}
	if n.counters.failed.Load() > 0 {
		add("storing-failed", "error", "check the disk and the log", "storing failed %d times since the start", n.counters.failed.Load())
	}
	slices.SortStableFunc(st.Problems, func(a, b Problem) int { return strings.Compare(a.Severity, b.Severity) })
}

// PeerStatus is an organisation that is known here.
type PeerStatus struct {
	Org       OrgRef           `json:"organisation"`
	Kind      protocol.OrgKind `json:"kind"`
	Country   string           `json:"country,omitempty"`
	Contact   string           `json:"contact,omitempty"`
	Member    bool             `json:"member"`      // may connect and relay
	Trusted   bool             `json:"trusted"`     // its words were compared
	Card      string           `json:"card"`        // root epoch.version
	Signed    []byte           `json:"signed_card"` // base64 in JSON: what 'entente trust' and 'node request' take
	Fresh     time.Time        `json:"fresh_until"`
	Agreement bool             `json:"agreement_in_force"`
	Sponsor   *OrgRef          `json:"sponsor,omitempty"`
	Nodes     []PeerNode       `json:"nodes"`
}

// PeerNode is a node of a peer.
type PeerNode struct {
	Node      protocol.NodeID `json:"node"`
	Addrs     []string        `json:"addresses"`
	Connected bool            `json:"connected"`
	Problem   string          `json:"problem,omitempty"` // why it is not connected although it was met

	Path   mesh.Path `json:"path,omitempty"` // how it is reached, if it is connected: direct, proxy or relay
	By     *OrgRef   `json:"by,omitempty"`   // whose relay forwards
	Relays bool      `json:"relays"`         // it relays for others
	Resets int       `json:"resets,omitempty"`
	// Of a connected one: its program and what that can do, as it says; its protocols; and why the next
	// release of this program will not talk with it, if that is so.
	Program      string   `json:"program,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
	Speaks       []string `json:"speaks,omitempty"`
	Ends         string   `json:"ends,omitempty"`
}

// Peers lists the organisations of which a card is known, one's own left out.
func (n *Node) Peers() []PeerStatus {
	s := n.snap.Load()
	connected, foreign := map[protocol.NodeID]mesh.PeerInfo{}, map[protocol.NodeID]string{}
	if net := n.net.Load(); net != nil {
		foreign = net.mesh.Incompatible()
		for _, p := range net.mesh.Peers() {
			connected[p.Node] = p
		}
	}
	list := []PeerStatus{}
	for id, c := range s.cards {
		if id == n.org {
			continue
		}
		_, pinned := s.pins[id]
		p := PeerStatus{Org: s.ref(id), Kind: c.Inception.Kind, Country: c.Inception.Country, Contact: c.Contact, Member: s.members[id],
			Trusted: pinned, Card: fmt.Sprintf("%d.%d", c.Order.Epoch, c.Order.Serial), Signed: protocol.Encode(&c.Signed), Fresh: time.UnixMilli(int64(c.FreshUntil)).UTC()}
		if sp, ok := s.sponsors[id]; ok {
			ref := s.ref(sp)
			p.Sponsor = &ref
		}
		for _, a := range s.agreements {
			p.Agreement = p.Agreement || slices.Contains(a.Parties, id) && n.agreementInfo(s, a).State == AgreementInForce
		}
		for _, e := range c.Nodes {
			at, up := connected[e.Node]
			pn := PeerNode{Node: e.Node, Addrs: append([]string{}, e.Addrs...), Connected: up, Problem: foreign[e.Node],
				Path: at.Path, Relays: slices.Contains(e.Addrs, protocol.RelayHere), Resets: at.Resets}
			if at.Path == mesh.ByRelay {
				by := s.ref(s.nodes[at.Relay])
				pn.By = &by
			}
			if up {
				n.spoken(&pn)
			}
			p.Nodes = append(p.Nodes, pn)
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b PeerStatus) int {
		return strings.Compare(a.Org.Name+a.Org.ID.String(), b.Org.Name+b.Org.ID.String())
	})
	return list
}

// FindOrg finds an organisation by id, by the beginning of its id, or by name.
func (n *Node) FindOrg(text string) (protocol.OrgID, error) {
	if id, err := protocol.ParseOrgID(text); err == nil {
		return id, nil
	}
	s := n.snap.Load()
	var found []*crypto.Card
	for id, c := range s.cards {
		if strings.EqualFold(c.Inception.Name, text) || len(text) >= 8 && strings.HasPrefix(id.String(), text) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return protocol.OrgID{}, fmt.Errorf("no organisation %q is known here; 'entente peers' lists those that are", text)
	case 1:
		return found[0].Org, nil
	}
	return protocol.OrgID{}, fmt.Errorf("%d organisations are called %q; give the id", len(found), text)
}
