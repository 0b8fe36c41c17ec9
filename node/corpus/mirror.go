package corpus

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
