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
	helloProtocols  = []libp2pprotocol.ID{"/entente/hello/1"}
	syncProtocols   = []libp2pprotocol.ID{"/entente/sync/1"}
	gossipProtocols = []libp2pprotocol.ID{"/entente/gossip/1"}
)

// A peer with which this node shares no version of one of them is not let in: it would be
// connected, and nothing would come of it, which nobody would notice.

// mismatch says in which protocol a connected peer shares no version with this node; empty
// if in none. A peer that offers nothing of a protocol has not told yet what it speaks.
func (m *Mesh) mismatch(node protocol.NodeID) string {
	offered, err := m.host.Peerstore().GetProtocols(peerOf(node))
	if err != nil {
		return ""
	}
	return mismatchOf(offered)
}

func mismatchOf(offered []libp2pprotocol.ID) string {
	for _, own := range [][]libp2pprotocol.ID{helloProtocols, syncProtocols, gossipProtocols} {
		name := string(own[0][:strings.LastIndexByte(string(own[0]), '/')+1])
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
