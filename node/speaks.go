package node

import (
	"fmt"

	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/store"
)

// capabilities are what peers are told that this program can do and not every program can; sorted. One
// stays for as long as a release without it is supported.
var capabilities = []string{
	"later-version", // what is of a later version is passed over, and not taken for wrong
}

// formatRow is a format of what is signed, sealed or kept, with the version that is written and those that are
// read.
type formatRow struct {
	name             string
	writes           uint8
	reads, readsUpTo uint8
	travels          bool // to other nodes, directly or passed on
}

// formatsOf are the formats of each release, the present one first. A version that travels is read by two
// releases before one writes it (SPEC 43.3), so no node has to know which versions the others read.
// TestFormats holds the rows to that. A row never changes once its release is out.
var formatsOf = []struct {
	release string
	formats []formatRow
}{
	{"0.2", append([]formatRow{
		{"introduction", 1, 1, 1, true},
		{"backup notice", 1, 1, 1, false},
		{"store", store.Format, 3, store.Format, false},
	}, firstFormats...)},
	{"0.1", append([]formatRow{{"store", 3, 3, 3, false}}, firstFormats...)},
}

// firstFormats are those that did not change since release 0.1.
var firstFormats = []formatRow{
	{"card", 1, 1, 1, true}, {"roster statement", 1, 1, 1, true}, {"agreement", 1, 1, 1, true}, {"mandate", 1, 1, 1, true},
	{"envelope", 1, 1, 1, true}, {"body", 1, 1, 1, true}, {"batch", 1, 1, 1, true}, {"handling", 1, 1, 1, true}, {"grant", 1, 1, 1, true}, {"letter", 1, 1, 1, true},
	{"head", 1, 1, 1, true}, {"notice", 1, 1, 1, true}, {"fork proof", 1, 1, 1, true}, {"erase", 1, 1, 1, true}, {"receipt", 1, 1, 1, true}, {"direct topic", 1, 1, 1, true},
	{"hello", 1, 1, 1, true}, {"sync message", 1, 1, 1, true}, {"sibling item", 1, 1, 1, true}, {"carried file", 1, 1, 1, true},
	{"backup", 1, 1, 1, false}, {"key file", 1, 1, 1, false}, {"corpus block", 4, 4, 4, false}, {"block keys", 1, 1, 1, false},
	{"anchor", 1, 1, 1, false}, {"journal", 1, 1, 1, false}, {"account", 1, 1, 1, false},
}

// Speaks lists what this program speaks on the wire, of each protocol the best first, and the formats that
// it writes and reads.
func Speaks() []string {
	out := mesh.Speaks()
	for _, f := range formatsOf[0].formats {
		line := fmt.Sprintf("%s %d", f.name, f.writes)
		if f.reads != f.writes || f.readsUpTo != f.writes {
			line += fmt.Sprintf(" (reads %d to %d)", f.reads, f.readsUpTo)
		}
		out = append(out, line)
	}
	return out
}

// spoken fills in what is known of the program of a connected node.
func (n *Node) spoken(p *PeerNode) {
	if net := n.net.Load(); net != nil {
		s := net.mesh.Spoken(p.Node)
		p.Program, p.Capabilities, p.Speaks, p.Ends = s.Program, s.Capabilities, s.Speaks, s.Ends
	}
}

// versionProblems tells of peers that fall behind, and of what this node does not read.
func (n *Node) versionProblems(st *Status) {
	net := n.net.Load()
	if net == nil {
		return
	}
	s := n.snap.Load()
	for _, p := range net.mesh.Peers() {
		if why := net.mesh.Spoken(p.Node).Ends; why != "" {
			st.problem("peer-outdated", "warning",
				"ask its operator to bring it up to date before you install the next release here",
				"a node of %s runs a program of before the last two releases: %s", s.name(p.Org), why)
		}
	}
	if later := n.counters.later.Load(); later > 0 {
		st.problem("version-behind", "warning",
			"bring this node up to date: what it cannot read it neither holds nor passes on",
			"%d messages of a later version than this program reads came since the start", later)
	}
}
