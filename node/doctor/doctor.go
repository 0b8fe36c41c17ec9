// Package doctor judges facts about a node and the machine that it runs on, and names the repair of
// what is not as it should be. It does no I/O: package node gathers the facts.
package doctor

import (
	"slices"
	"time"
)

// State is what a check came to.
type State string

// The states. What cannot be known is said, with the reason; it is no reason to wake anybody.
const (
	OK      State = "ok"
	Warning State = "warning"
	Error   State = "error"
	Unknown State = "unknown"
)

// Finding is what a check found.
type Finding struct {
	Check string `json:"check"`
	State State  `json:"state"`          // ok, warning, error, unknown
	Kind  string `json:"kind,omitempty"` // a word that stays, of Kinds; none where it is ok
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"` // the repair: a command, or what a person does
}

// Bad reports whether somebody should see to it.
func (f *Finding) Bad() bool { return f.State == Warning || f.State == Error }

// Problem is what the node says of itself without being asked.
type Problem struct{ Kind, Severity, Text, Do string }

// Facts are all that is looked at. A part that is nil was not looked at; Why says why not, by check.
type Facts struct {
	Now      time.Time
	Online   bool
	Unopened string // why the data could not be opened; empty: it was
	Why      map[string]string
	Problems []Problem // of the node's status

	Clock       *Clock
	Disks       []Disk
	Room        *Room
	Speed       *Speed
	Files       *Files
	Keys        *Keys
	Ports       *Ports
	Reach       *Reach
	Peers       []Peer
	PeersSeen   bool // Peers was looked at
	Roster      *Roster
	Agreements  *Agreements
	Gaps        *Gaps
	Backup      *Backup
	Exchanges   map[string]string // check → what to say where nothing is wrong, of the checks that only forward problems
	StatusKnown bool              // Problems was looked at
}

// check looks at one matter. It returns nothing where nothing is wrong and nothing is to be said.
type check struct {
	name string
	look func(*Facts) []Finding
}

// The checks, in the order in which they are shown.
var checks = []check{
	{"node", lookAtNode},
	{"clock", lookAtClock},
	{"disk", lookAtDisk},
	{"permissions", lookAtFiles},
	{"keys", lookAtKeys},
	{"ports", lookAtPorts},
	{"reachability", lookAtReach},
	{"peers", lookAtPeers},
	{"roster", lookAtRoster},
	{"agreements", lookAtAgreements},
	{"gaps", lookAtGaps},
	{"backup", lookAtBackup},
	{"erasures", nil},
	{"requests", nil},
	{"rules", nil},
	{"consumers", nil},
	{"people", nil},
	{"sinks", nil},
	{"sources", nil},
	{"mirror", nil},
	{"audit", nil},
}

// Checks returns the names of the checks, in their order.
func Checks() (out []string) {
	for _, c := range checks {
		out = append(out, c.name)
	}
	return out
}

// Examine runs the checks that are named, all if none is. Each has one finding at least. A kind that a check
// found for itself is not repeated out of the node's own problems; those of kinds that are not known here are
// shown with the check "node", so that none is lost.
func Examine(f *Facts, only ...string) []Finding {
	out := []Finding{}
	for _, c := range checks {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		var list []Finding
		if c.look != nil {
			list = c.look(f)
		}
		for _, p := range f.Problems {
			own, ok := Kinds[p.Kind]
			if !ok {
				own = "node"
			}
			if own == c.name && !slices.ContainsFunc(list, func(x Finding) bool { return x.Kind == p.Kind }) {
				list = append(list, problems(f.Problems, p.Kind, own)...)
			}
		}
		if why := f.Why[c.name]; why != "" {
			list = append(list, Finding{State: Unknown, Kind: "not-checked", Text: why, Do: doOf(f, c.name)})
		}
		if len(list) == 0 {
			list = append(list, quiet(f, c.name))
		}
		if slices.ContainsFunc(list, func(x Finding) bool { return x.State != OK }) {
			// What is right beside what is not is noise, unless it says something of its own.
			list = slices.DeleteFunc(list, func(x Finding) bool { return x.State == OK && x.Text == "" })
		}
		for i := range list {
			list[i].Check = c.name
			out = append(out, list[i])
		}
	}
	return out
}

// doOf says how a check that was not made can be made.
func doOf(f *Facts, name string) string {
	switch {
	case f.Unopened != "":
		return "mend what the check 'node' names, and run 'entente doctor' again"
	case !f.Online:
		return "run 'entente up', and 'entente doctor' while it runs"
	}
	return "run 'entente doctor' again" + map[bool]string{true: " without --quick"}[name == "disk" || name == "reachability" || name == "clock"]
}

// quiet is a check that found nothing.
func quiet(f *Facts, name string) Finding {
	switch {
	case f.Exchanges[name] != "":
		return Finding{State: OK, Text: f.Exchanges[name]}
	case !f.StatusKnown:
		return Finding{State: Unknown, Kind: "not-checked", Text: "the node's data was not opened", Do: doOf(f, name)}
	}
	return Finding{State: OK, Text: "nothing to see to"}
}

// problems are those of one kind, as findings.
func problems(list []Problem, kind, check string) (out []Finding) {
	for _, p := range list {
		if p.Kind == kind {
			out = append(out, Finding{Check: check, State: State(p.Severity), Kind: kind, Text: p.Text, Do: p.Do})
		}
	}
	return out
}

// Passive returns what a node can know of itself at any time, without asking anybody or writing anything,
// and what somebody should see to at once: its status tells it too. Warnings about the machine are the
// doctor's alone: they hold from the day on which it was set up.
func Passive(f *Facts) (out []Finding) {
	for _, c := range checks {
		if c.look == nil {
			continue
		}
		for _, x := range c.look(f) {
			if x.State == Error || x.State == Warning && alsoWarned[x.Kind] {
				x.Check = c.name
				out = append(out, x)
			}
		}
	}
	return out
}

// alsoWarned are warnings that come with time, which monitoring is to hear of.
var alsoWarned = map[string]bool{"disk-space": true, "disk-inodes": true, "card-ending": true, "node-ending": true, "certificate-ending": true,
	"backup-never": true, "backup-old": true}

// Code returns the exit status: 0 where all is well, 2 where there is something to see to.
func Code(list []Finding) int {
	if slices.ContainsFunc(list, func(f Finding) bool { return f.Bad() }) {
		return 2
	}
	return 0
}
