package mesh

import (
	"fmt"
	"slices"
	"strings"
	"time"

	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/entente-mesh/entente/protocol"
)

// The protocols of a node. The id of a protocol ends in its version; what is said on it is
// of that version. A node offers all versions that it knows, the best first, and libp2p
// agrees on the best one that both sides know, for each stream. The prefix is our own, so that a
// node never meets another network's gossip.
var (
	helloProtocols  = []libp2pprotocol.ID{helloV2, helloV1}
	syncProtocols   = []libp2pprotocol.ID{syncV2, syncV1}
	gossipProtocols = []libp2pprotocol.ID{"/entente/gossip/1"}
)

const (
	helloV1 = "/entente/hello/1"
	helloV2 = "/entente/hello/2" // begins with an introduction
	syncV1  = "/entente/sync/1"
	syncV2  = "/entente/sync/2" // an answer begins with a status, so that what is not understood can be told
)

// release is what a release speaks. A version of a protocol is spoken until two releases after the last
// one that spoke nothing better (SPEC 43.2); TestReleases holds what is above against these rows.
type release struct {
	name   string
	speaks []string // of each protocol the best first
}

// releases are all of them, the present one first. A row never changes once its release is out.
var releases = []release{
	{"0.2", []string{helloV2, helloV1, syncV2, syncV1, "/entente/gossip/1"}},
	{"0.1", []string{helloV1, syncV1, "/entente/gossip/1"}},
}

// Speaks lists the protocols that this program speaks, of each the best first.
func Speaks() (out []string) {
	for _, ids := range [][]libp2pprotocol.ID{helloProtocols, syncProtocols, gossipProtocols} {
		for _, id := range ids {
			out = append(out, string(id))
		}
	}
	return out
}

// nameOf returns a protocol's id up to its version.
func nameOf(id string) string { return id[:strings.LastIndexByte(id, '/')+1] }

// keepsNext lists what the release after the first of list has to go on speaking: the best that each of
// the last two releases speaks.
func keepsNext(list []release) (out []string) {
	for _, r := range list[:min(2, len(list))] {
		best := map[string]bool{}
		for _, id := range r.speaks {
			if !best[nameOf(id)] {
				best[nameOf(id)] = true
				out = append(out, id)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Wire, in a simulation, is what a node speaks in the place of what this program does. Empty fields are as
// released.
type Wire struct {
	Speaks []string // ids of protocols, of each the best first
	Keeps  []string // ids that the next release goes on speaking
}

// wire is what a node speaks.
type wire struct {
	hello, sync, gossip []libp2pprotocol.ID
	keeps               []string
}

func (w *Wire) resolve() wire {
	if len(w.Speaks) == 0 {
		w.Speaks = Speaks()
	}
	if len(w.Keeps) == 0 {
		w.Keeps = keepsNext(releases)
	}
	out := wire{keeps: w.Keeps}
	for _, id := range w.Speaks {
		switch nameOf(id) {
		case nameOf(helloV1):
			out.hello = append(out.hello, libp2pprotocol.ID(id))
		case nameOf(syncV1):
			out.sync = append(out.sync, libp2pprotocol.ID(id))
		default:
			out.gossip = append(out.gossip, libp2pprotocol.ID(id))
		}
	}
	return out
}

// Spoken is what is known of the program of a connected peer.
type Spoken struct {
	Program      string   // as it says; empty: it does not, as release 0.1
	Capabilities []string // the same
	Speaks       []string // its protocols that are ours, sorted
	Ends         string   // why the next release will not talk with it; empty: it will
}

// Spoken tells what a connected peer speaks.
func (m *Mesh) Spoken(node protocol.NodeID) (out Spoken) {
	m.mu.Lock()
	if p := m.peers[node]; p != nil && p.said != nil {
		out.Program, out.Capabilities = printable(p.said.Program), slices.Clone(p.said.Capabilities)
	}
	m.mu.Unlock()
	offered, err := m.host.Peerstore().GetProtocols(peerOf(node))
	if err != nil {
		return out
	}
	for _, id := range offered {
		if s := string(id); strings.HasPrefix(s, "/entente/") && len(out.Speaks) < maxSpoken {
			out.Speaks = append(out.Speaks, printable(s))
		}
	}
	slices.Sort(out.Speaks)
	out.Ends = endsWith(out.Speaks, m.wire.keeps)
	return out
}

// maxSpoken bounds the protocols of a peer that are told.
const maxSpoken = 32

// endsWith says in which protocol of those offered nothing is kept.
func endsWith(offered, keeps []string) string {
	for _, kept := range keeps {
		name, theirs, common := nameOf(kept), 0, false
		for _, id := range offered {
			if strings.HasPrefix(id, name) {
				theirs++
				common = common || slices.Contains(keeps, id)
			}
		}
		if theirs > 0 && !common {
			return "it speaks no version of " + strings.Trim(name, "/") + " that the next release speaks"
		}
	}
	return ""
}

// Capable reports whether a connected peer said that it can do something.
func (m *Mesh) Capable(node protocol.NodeID, token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[node]
	return p != nil && p.said != nil && slices.Contains(p.said.Capabilities, token)
}

// A peer with which this node shares no version of one of them is not let in: it would be
// connected, and nothing would come of it, which nobody would notice.

// mismatch says in which protocol a connected peer shares no version with this node; empty
// if in none. A peer that offers nothing of a protocol has not told yet what it speaks.
func (m *Mesh) mismatch(node protocol.NodeID) string {
	offered, err := m.host.Peerstore().GetProtocols(peerOf(node))
	if err != nil {
		return ""
	}
	return m.wire.mismatchOf(offered)
}

func (w *wire) mismatchOf(offered []libp2pprotocol.ID) string {
	for _, own := range [][]libp2pprotocol.ID{w.hello, w.sync, w.gossip} {
		name := nameOf(string(own[0]))
		var theirs []string
		common := false
		for _, id := range offered {
			if version, ok := strings.CutPrefix(string(id), name); ok {
				theirs = append(theirs, printable(version))
				common = common || slices.Contains(own, id)
			}
		}
		if len(theirs) > 0 && !common {
			slices.Sort(theirs)
			theirs = theirs[:min(len(theirs), 8)]
			var ours []string
			for _, id := range own {
				ours = append(ours, strings.TrimPrefix(string(id), name))
			}
			return fmt.Sprintf("it speaks version %s of %s, this node %s", strings.Join(theirs, ", "), strings.Trim(name, "/"), strings.Join(ours, ", "))
		}
	}
	return ""
}

// incompatible notes that a connected peer shares no version of a protocol with this node, and
// ends its connections. It reports whether that is so.
func (m *Mesh) incompatible(node protocol.NodeID) bool {
	why := m.mismatch(node)
	if why == "" {
		return false
	}
	m.log.Info("disconnecting a peer that speaks other versions of the protocols", "node", node, "why", why)
	m.mu.Lock()
	m.foreign[node] = foreigner{why, time.Now()} // of known nodes only, so it is bounded by the roster
	m.mu.Unlock()
	m.refuse(node)
	return true
}

// foreigner is a known peer that shares no version of a protocol with this node.
type foreigner struct {
	why string
	met time.Time
}

// foreignFor is how long it is told of a peer that it was not understood. It may be up to date
// by then, and connected to others.
const foreignFor = time.Hour

// Incompatible tells of known peers that were met within the last hour and share no version of
// a protocol with this node, and why.
func (m *Mesh) Incompatible() map[protocol.NodeID]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[protocol.NodeID]string{}
	for node, f := range m.foreign {
		if time.Since(f.met) > foreignFor {
			delete(m.foreign, node)
			continue
		}
		out[node] = f.why
	}
	return out
}

// waits reports whether a peer that shared no version with this node has to wait before it is
// tried again: it may have been brought up to date meanwhile.
func (m *Mesh) waits(node protocol.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.foreign[node]
	return ok && !time.Now().After(m.backoffs[node].until)
}
