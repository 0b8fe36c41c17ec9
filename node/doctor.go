package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node/doctor"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// DoctorRequest says what to look at.
type DoctorRequest struct {
	Checks []string // names of doctor.Checks; none: all
	Quick  bool     // write nothing to the disk to measure it, and ask no peer
	Listen []string // of a node that is down: multiaddrs that it is to listen on; none: DefaultListen
	// DiskLimit is that of a node that cannot be opened, bytes; 0: none.
	DiskLimit int64
}

// DoctorReport is what the doctor found.
type DoctorReport struct {
	At       time.Time        `json:"at"`
	Online   bool             `json:"online"` // the node was on the network
	Findings []doctor.Finding `json:"findings"`
}

// maxAskedClocks is how many peers, one of each organisation, are asked for their clock and to dial back.
const maxAskedClocks = 5

func (q *DoctorRequest) check() error {
	for _, name := range q.Checks {
		if !slices.Contains(doctor.Checks(), name) {
			return protocol.Errorf(protocol.ErrMalformed, "there is no check %q; there are %s", name, strings.Join(doctor.Checks(), ", "))
		}
	}
	return nil
}

func (q *DoctorRequest) wants(names ...string) bool {
	return len(q.Checks) == 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(q.Checks, name) })
}

// Doctor looks at the node, at the machine that it runs on, and asks peers whether it can be reached. It
// takes up to about 15 seconds.
func (n *Node) Doctor(ctx context.Context, q DoctorRequest) (*DoctorReport, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	st, err := n.Status()
	if err != nil {
		return nil, err
	}
	s := n.snap.Load()
	f := n.facts(s)
	f.StatusKnown = true
	for _, p := range st.Problems {
		f.Problems = append(f.Problems, doctor.Problem(p))
	}
	n.statusFacts(f, s, st)
	net := n.net.Load()
	if !n.simulated() {
		f.Clock.Synchronised, f.Clock.Why = clockSynchronised()
	}
	var wg sync.WaitGroup
	var speedErr error
	switch {
	case n.simulated():
		f.Why["disk"] = "this node keeps its data in memory"
	case q.Quick:
		f.Why["disk"] = "how fast it is was not measured: --quick"
	case q.wants("disk"):
		wg.Go(func() { f.Speed, speedErr = diskSpeed(ctx, n.cfg.Dir) })
	}
	switch {
	case net == nil:
		f.Ports = &doctor.Ports{List: bindPorts(q.Listen)}
		machinePorts(f.Ports, false)
		f.Why["reachability"] = "the node is not on the network"
	case q.Quick:
		f.Why["reachability"] = "no peer was asked: --quick"
	default:
		if q.wants("ports") && f.Ports != nil {
			wg.Go(func() { net.callSelf(ctx, f.Ports) })
		}
		if q.wants("reachability", "clock") {
			f.Reach = &doctor.Reach{}
			wg.Go(func() { net.askPeers(ctx, s, f.Clock, f.Reach) })
		}
	}
	wg.Wait()
	if speedErr != nil {
		f.Why["disk"] = "how fast it is was not measured: " + speedErr.Error()
	}
	if f.Ports != nil && net != nil {
		machinePorts(f.Ports, true)
	}
	return &DoctorReport{At: time.UnixMilli(nowMillis()).UTC(), Online: net != nil, Findings: doctor.Examine(f, q.Checks...)}, nil
}

// simulated reports whether the node's files are not on a disk of this machine.
func (n *Node) simulated() bool { return n.cfg.Dir == "" || n.cfg.Disk != nil }

// facts are what the node knows at any time without asking anybody or writing anything.
func (n *Node) facts(s *snapshot) *doctor.Facts {
	f := &doctor.Facts{Now: time.UnixMilli(nowMillis()), Online: n.Online(), Why: map[string]string{}, Clock: &doctor.Clock{}, Keys: n.keyFacts(s), Roster: n.rosterFacts(s)}
	if d := n.doubtClock(); d != nil {
		f.Clock.Doubt, f.Clock.ByPeers = d.text, d.peers
	}
	f.Backup = &doctor.Backup{}
	f.Backup.Last, _ = n.LastBackup()
	control := protocol.NewTopicID(s.network, protocol.ControlTopic)
	err := n.st.View(func(tx *store.Tx) error {
		var d backupDoc
		if _, err := getDoc(tx, kindSetting, []byte(settingBackup), &d); err != nil {
			return err
		}
		f.Backup.Verified, f.Backup.Of = timeOf(d.Verified), timeOf(d.Of)
		return tx.Feeds(func(feed *store.Feed) error {
			if feed.Origin.Signing != n.keys.Signing.Public() {
				return nil
			}
			left, err := n.leftAhead(tx, &feed.Origin)
			if err != nil {
				return err
			}
			if at := timeOf(feed.SealedAt); at.After(f.Clock.Newest) && !left {
				f.Clock.Newest = at
			}
			f.Backup.Wrote = f.Backup.Wrote || feed.Origin.Topic != control && feed.Seq > 0
			return nil
		})
	})
	if err != nil {
		f.Why["clock"], f.Why["backup"] = err.Error(), err.Error()
	}
	if c := s.cards[n.org]; c != nil {
		if e := c.Node(n.ID()); e != nil {
			f.Backup.Since = timeOf(e.NotBefore)
		}
	}
	if !n.simulated() {
		room := n.diskStatus()
		f.Room = &doctor.Room{Used: uint64(max(room.Used, 0)), Limit: uint64(max(room.Limit, 0))}
		f.Disks = disks(n.cfg.Dir, n.anchorDir())
		f.Files = files(n.cfg.Dir, n.anchorDir(), n.cfg.Rules, n.cfg.People, os.Geteuid())
	}
	if net := n.net.Load(); net != nil && n.cfg.HostOptions == nil { // a simulated network has no ports
		f.Ports = &doctor.Ports{List: configuredPorts(n.ways.listen, net.mesh.Listening())}
	}
	return f
}

func (n *Node) anchorDir() string { return cmp.Or(n.cfg.Anchor, anchorOf(n.cfg.Dir)) }

// machineProblems adds to a status what the doctor would say without asking or measuring anything.
func (n *Node) machineProblems(s *snapshot, st *Status) {
	told := map[string]bool{} // by who knows more; of what is found here, several may be of one kind
	for _, p := range st.Problems {
		told[p.Kind] = true
	}
	for _, x := range doctor.Passive(n.facts(s)) {
		if !told[x.Kind] {
			st.problem(x.Kind, string(x.State), x.Do, "%s", x.Text)
		}
	}
	slices.SortStableFunc(st.Problems, func(a, b Problem) int { return strings.Compare(a.Severity, b.Severity) })
}

func (n *Node) keyFacts(s *snapshot) *doctor.Keys {
	own := s.cards[n.org]
	if own == nil {
		return nil
	}
	k := &doctor.Keys{OpHere: n.op() != nil, Sibling: len(s.siblings(n.org, n.ID())) > 0, Epoch: uint64(own.Order.Epoch), Fresh: millis(own.FreshUntil)}
	if ends := n.certificateEnds.Load(); ends != nil {
		k.Certificate = (*ends)()
	}
	if e := own.Node(n.ID()); e != nil {
		k.OnCard, k.NodeEnds = true, millis(e.NotAfter)
	}
	if !n.simulated() {
		if info, err := os.Stat(filepath.Join(n.cfg.Dir, keyDir, nodeFile)); err == nil {
			k.AgeWritten = info.ModTime()
		}
		k.Lock = lockOf(n.cfg.Dir)
	}
	return k
}

func lockOf(dir string) string {
	if NeedsPassphrase(dir) {
		return "passphrase"
	}
	return "key file beside them"
}

func (n *Node) rosterFacts(s *snapshot) *doctor.Roster {
	r := &doctor.Roster{Members: len(s.members)}
	if s.genesis == nil {
		return r
	}
	r.Network = s.genesis.Name
	now := uint64(nowMillis())
	fresh := func(org protocol.OrgID) bool { c := s.cards[org]; return c != nil && c.Fresh(now) }
	for _, org := range s.genesis.Stewards {
		if s.members[org] {
			r.Stewards = append(r.Stewards, doctor.Member{Org: s.name(org), Own: org == n.org, Fresh: fresh(org)})
		}
	}
	for org := range s.members {
		if org != n.org && !fresh(org) {
			r.Stale = append(r.Stale, s.name(org))
		}
	}
	slices.Sort(r.Stale)
	if x, ok := s.removed[n.org]; ok && !s.members[n.org] {
		r.Removed, r.Why = millis(x.At), x.Reason
	}
	return r
}

// statusFacts are what a status says where nothing is wrong.
func (n *Node) statusFacts(f *doctor.Facts, s *snapshot, st *Status) {
	f.Agreements = &doctor.Agreements{InForce: st.Agreements, Waiting: st.Inbox}
	f.Gaps = &doctor.Gaps{Feeds: n.gate.feeds(), Entries: st.Envelopes + st.Control}
	f.Exchanges = map[string]string{
		"erasures": fmt.Sprintf("%d requests to erase asked, %d to answer, none overdue", st.Erasures.Asked, st.Erasures.Waiting),
		"rules":    fmt.Sprintf("%d local rules in force", st.Rules),
		"audit":    "nobody contradicts this node's audit log",
	}
	if sinks, err := n.Sinks(); err == nil {
		f.Exchanges["sinks"] = fmt.Sprintf("%d, none stopped or behind", len(sinks))
	}
	if sources, err := n.Sources(); err == nil {
		f.Exchanges["sources"] = fmt.Sprintf("%d, none failing", len(sources))
	}
	if consumers, err := n.Consumers(); err == nil {
		f.Exchanges["consumers"] = fmt.Sprintf("%d, all confirmed", len(consumers))
	}
	f.Exchanges["mirror"] = "no database follows the corpus"
	if st.Mirror != nil {
		f.Exchanges["mirror"] = "the database follows the corpus"
	}
	net := n.net.Load()
	if net == nil {
		f.Why["peers"] = "the node is not on the network"
		return
	}
	f.PeersSeen = true
	failed := net.failures()
	for _, p := range n.Peers() {
		if !p.Member {
			continue
		}
		for _, e := range p.Nodes {
			x := doctor.Peer{Org: p.Org.Name, Node: e.Node.String(), Partner: p.Agreement, Connected: e.Connected}
			if why, ok := failed[e.Node]; ok && !e.Connected {
				x.Since, x.Error = why.since, why.text
			}
			f.Peers = append(f.Peers, x)
		}
	}
}

// unreached is how calling a peer failed, and since when it does.
type unreached struct {
	since time.Time
	text  string
}

// maxFailure bounds what is kept of how a call failed; libp2p names every address.
const maxFailure = 400

// noteFailure remembers how calling a peer failed last. Peers are of the roster, and so bounded by it.
func (net *network) noteFailure(peer protocol.NodeID, err error) {
	net.mu.Lock()
	defer net.mu.Unlock()
	if err == nil {
		delete(net.failed, peer)
		return
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxFailure {
		text = strings.ToValidUTF8(text[:maxFailure], "") + "…"
	}
	was, ok := net.failed[peer]
	if !ok {
		was.since = time.UnixMilli(nowMillis())
	}
	was.text = text
	net.failed[peer] = was
}

// failures returns them, without those of peers that are connected meanwhile.
func (net *network) failures() map[protocol.NodeID]unreached {
	connected := map[protocol.NodeID]bool{}
	for _, p := range net.mesh.Peers() {
		connected[p.Node] = true
	}
	net.mu.Lock()
	defer net.mu.Unlock()
	out := map[protocol.NodeID]unreached{}
	for node, f := range net.failed {
		if connected[node] {
			delete(net.failed, node)
			continue
		}
		out[node] = f
	}
	return out
}

// announced are the addresses on a node's card, as it is known here: what peers may have called back.
func (net *network) announced(node protocol.NodeID) []string {
	s := net.n.snap.Load()
	if c := s.cards[s.nodes[node]]; c != nil {
		if e := c.Node(node); e != nil {
			return e.Addrs
		}
	}
	return nil
}

// askPeers asks peers of other organisations, one of each, what time it is there, and to call the addresses
// on this node's card.
func (net *network) askPeers(ctx context.Context, s *snapshot, clock *doctor.Clock, reach *doctor.Reach) {
	reach.Announced = callable(net.announced(net.n.ID()))
	var ask []mesh.PeerInfo
	seen := map[protocol.OrgID]bool{net.n.org: true}
	for _, p := range net.mesh.Peers() {
		if p.Inbound {
			reach.Inbound++
		}
		if !seen[p.Org] && len(ask) < maxAskedClocks {
			seen[p.Org] = true
			ask = append(ask, p)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range ask {
		wg.Go(func() {
			got, err := net.mesh.AskDialBack(ctx, p.Node, reach.Announced)
			mu.Lock()
			defer mu.Unlock()
			a := doctor.Asked{Org: s.name(p.Org)}
			if err != nil {
				a.Why = err.Error()
				if errors.Is(err, mesh.ErrNoDialBack) {
					a.Why = "it runs an older version"
				}
			} else {
				for _, o := range got.Outcomes {
					a.Outcomes = append(a.Outcomes, o.String())
				}
				clock.Peers = append(clock.Peers, doctor.PeerClock{Org: a.Org, Offset: got.Offset, Within: got.Within})
			}
			reach.Asked = append(reach.Asked, a)
		})
	}
	wg.Wait()
	slices.SortFunc(reach.Asked, func(a, b doctor.Asked) int { return strings.Compare(a.Org, b.Org) })
}

// callable returns what is an address among those of a card: that the node relays is none, and says nothing of
// whether anybody reaches it.
func callable(card []string) []string {
	return slices.DeleteFunc(slices.Clone(card), func(a string) bool { return a == protocol.RelayHere })
}

// callSelf calls every address that is listened on.
func (net *network) callSelf(ctx context.Context, ports *doctor.Ports) {
	addrs := net.mesh.Addrs()
	for i, o := range net.mesh.CallSelf(ctx, addrs) {
		p := doctor.Port{Addr: addrs[i], UDP: isUDP(addrs[i])}
		if o != protocol.DialReached {
			p.Unanswered = o.String()
		}
		ports.List = append(ports.List, p)
	}
	// What was called says more than what was configured, unless that is closed.
	if len(addrs) > 0 {
		ports.List = slices.DeleteFunc(ports.List, func(p doctor.Port) bool { return !p.Closed && !slices.Contains(addrs, p.Addr) })
	}
}

// DoctorOffline looks at what can be seen of a node that cannot be opened here: unopened says why.
func DoctorOffline(ctx context.Context, dir string, q DoctorRequest, unopened error) (*DoctorReport, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	const closed = "the node's data was not opened"
	anchor := anchorOf(dir)
	f := &doctor.Facts{Now: time.UnixMilli(nowMillis()), Unopened: unopened.Error(), Clock: &doctor.Clock{},
		Why: map[string]string{"keys": closed, "peers": closed, "roster": closed, "agreements": closed, "gaps": closed, "backup": closed, "reachability": "the node is not on the network"}}
	f.Clock.Synchronised, f.Clock.Why = clockSynchronised()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		f.Why["disk"], f.Why["permissions"] = "there is no "+dir, "there is no "+dir
	} else {
		f.Disks = disks(dir, anchor)
		f.Room = &doctor.Room{Used: uint64(max(diskUsed(dir), 0)), Limit: uint64(max(q.DiskLimit, 0))}
		f.Files = files(dir, anchor, "", "", ownerOf(dir))
		switch {
		case q.Quick:
			f.Why["disk"] = "how fast it is was not measured: --quick"
		case os.Geteuid() != ownerOf(dir):
			f.Why["disk"] = "how fast it is was not measured: that writes files, which are to be those of the node's user"
		case q.wants("disk"):
			if f.Speed, err = diskSpeed(ctx, dir); err != nil {
				f.Why["disk"] = "how fast it is was not measured: " + err.Error()
			}
		}
	}
	f.Ports = &doctor.Ports{List: bindPorts(q.Listen)}
	machinePorts(f.Ports, false)
	return &DoctorReport{At: f.Now.UTC(), Findings: doctor.Examine(f, q.Checks...)}, nil
}
