package corpus

import "time"

// MirrorIdentity is what a data directory is known by in a database that follows its corpus.
type MirrorIdentity struct {
	ID   [16]byte    // random, of the data directory; in no backup
	Runs []MirrorRun // of the node, the latest last
}

// MirrorRun is one run of a node.
type MirrorRun struct {
	_    struct{} `cbor:",toarray"`
	Run  [16]byte // random
	From uint64   // cursor of the last change when it began
}

// MaxMirrorRuns bounds the runs that are remembered. A database that was not written to in so many of them
// is begun anew.
const MaxMirrorRuns = 256

// Continues reports whether a history in which run wrote changes up to position is the one of this data
// directory. It is not if the directory was put back to a state before that: then the run is not known, or
// the one after it began earlier, and cursors may have been given to other changes since.
func (m *MirrorIdentity) Continues(run [16]byte, position uint64) bool {
	for i := range m.Runs {
		if m.Runs[i].Run == run {
			return i == len(m.Runs)-1 || position <= m.Runs[i+1].From
		}
	}
	return false
}

// MirrorStatus is how a mirror stands.
type MirrorStatus struct {
	Connected bool      `json:"connected"`
	Whole     bool      `json:"whole"`            // it was up with the node once
	Position  uint64    `json:"position"`         // cursor of the last change that is written
	Erased    uint64    `json:"erased"`           // cursor of the last change of which the erasures are written
	Behind    uint64    `json:"behind"`           // changes that are not written, about
	UpTo      time.Time `json:"up_to"`            // when it was last up with the node; zero: not since the start
	Written   uint64    `json:"written"`          // records, since the start
	Failures  uint64    `json:"failures"`         // since the start
	Error     string    `json:"error,omitempty"`  // why it is not connected
	NoReader  bool      `json:"no_reader"`        // there is no role for analysts, and the node may not make it
	Server    string    `json:"server,omitempty"` // what it says of itself
	Searched  bool      `json:"searched"`         // searches are answered by it
	Answered  uint64    `json:"answered"`         // searches that it answered, since the start
	Declined  uint64    `json:"declined"`         // searches that the embedded corpus answered in its place
}
