// Package anchor keeps what must not go back in time with the data directory: where the
// node's own feeds stood, and what was erased. It lives in a small directory beside the data
// directory, outside of it and of backups.
//
// A data directory that was restored from a backup, or copied to another machine, finds its
// anchor missing, of another place, or ahead of it, and knows by that, without waiting for
// any peer, that its feeds must not go on where it believes they stand (I7).
package anchor

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

// Mark is where an own feed stood when the last append was acknowledged, or about to be.
type Mark struct {
	_    struct{} `cbor:",toarray"`
	Feed protocol.FeedID
	Seq  uint64
	Hash protocol.Hash
}

// marks is the file of marks.
type marks struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Place   protocol.Hash
	Node    protocol.NodeID
	Feeds   []Mark
}

// State says whether what stands in the anchor can be relied on.
type State uint8

// The states.
const (
	Good    State = iota
	Missing       // there is none: the data directory may be a copy, or a restored one
	Foreign       // it was made elsewhere, and copied here or restored
)

// String tells a person what the state means.
func (s State) String() string {
	switch s {
	case Missing:
		return "there is no anchor beside the data directory"
	case Foreign:
		return "the anchor beside the data directory was made on another machine or in another place"
	}
	return "the anchor is good"
}

// ErrInUse is returned by Open where another process holds the anchor.
var ErrInUse = errors.New("in use by another process")

const (
	marksFile   = "anchor"
	madeFile    = "made" // its place, and when its directory was made, in Unix nanoseconds, as text
	lockFile    = "lock"
	journalFile = "erasures"
	maxMarks    = 1 << 20 // bytes of the file
)

// Anchor is an open anchor. Its methods may be called concurrently.
type Anchor struct {
	dir     string
	state   State
	fs      disk.Files
	lock    io.Closer
	journal disk.File
	of      protocol.NodeID // whose it was; zero: nobody's
	born    int64           // when the directory was made, Unix nanoseconds; 0: not known

	mu    sync.Mutex
	marks marks
}

// Open opens the anchor of a node in dir, and makes dir if it is not there. Nothing is
// written before Begin, but when the directory was made, where that is not noted yet and dir is this user's; the
// state tells whether the marks can be relied on.
func Open(dir string, node protocol.NodeID) (*Anchor, error) {
	if err := disk.OS.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("making the directory of the anchor: %w (it stands beside the data directory: who runs the node has to be able to write there, or has to own it already)", err)
	}
	held, err := lock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("anchor %s: %w", dir, err)
	}
	place, err := placeOf(dir)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return loadBorn(&Anchor{dir: dir, fs: disk.OS, lock: held, born: birth(dir)}, node, place)
}

// loadBorn is load that compares when the directory was made, too: whoever removes one and puts a copy in its
// place often gets its number again. File systems learn to say it, and one that did may not any more: what is not
// known differs from nothing, nor does what was noted in another place.
func loadBorn(a *Anchor, node protocol.NodeID, place protocol.Hash) (*Anchor, error) {
	a, err := load(a, node, place)
	if err != nil || a.state != Good || a.born == 0 {
		return a, err
	}
	b, err := a.fs.ReadFile(filepath.Join(a.dir, madeFile))
	said, ofPlace := strings.CutPrefix(string(b), place.String()+" ")
	switch {
	case err == nil && ofPlace && said != "0" && said != strconv.FormatInt(a.born, 10):
		a.state, a.marks.Feeds = Foreign, nil
	case err == nil && (!ofPlace || said == "0"), errors.Is(err, fs.ErrNotExist):
		if owned(a.dir) { // else who runs the node could not read it
			_ = a.noteBorn() // another time
		}
	}
	return a, nil
}

// noteBorn notes when the directory was made, or that it is not known.
func (a *Anchor) noteBorn() error {
	path := filepath.Join(a.dir, madeFile)
	if a.born == 0 {
		if _, err := a.fs.ReadFile(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return disk.Replace(a.fs, path, fmt.Appendf(nil, "%s %d", a.marks.Place, a.born))
}

// OpenSimulated is Open on a simulated disk; place stands for the machine and the directory.
func OpenSimulated(d *disk.Disk, dir string, node protocol.NodeID, place protocol.Hash) (*Anchor, error) {
	return load(&Anchor{dir: dir, fs: d, lock: io.NopCloser(nil)}, node, place)
}

func load(a *Anchor, node protocol.NodeID, place protocol.Hash) (*Anchor, error) {
	b, err := a.fs.ReadFile(filepath.Join(a.dir, marksFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.state = Missing
	case err != nil:
		return nil, errors.Join(fmt.Errorf("reading anchor: %w", err), a.Close())
	case protocol.LaterVersion(b, 1) != nil: // taken for missing, it would be written over
		return nil, errors.Join(fmt.Errorf("reading anchor %s: %w", a.dir, protocol.LaterVersion(b, 1)), a.Close())
	default:
		// A file that cannot be read is as good as none: it makes the feeds begin anew.
		if derr := protocol.Decode(b, maxMarks, &a.marks); derr != nil || a.marks.Version != 1 {
			a.state = Missing
		} else if a.marks.Place != place || a.marks.Node != node {
			a.state = Foreign
		}
	}
	if a.state != Missing {
		a.of = a.marks.Node
	}
	a.marks.Version, a.marks.Place, a.marks.Node = 1, place, node
	if a.state != Good {
		a.marks.Feeds = nil
	}
	return a, nil
}

// State tells whether what stood in the anchor can be relied on.
func (a *Anchor) State() State { return a.state }

// Of returns whose anchor it was when it was opened; ok is false if it was nobody's.
func (a *Anchor) Of() (node protocol.NodeID, ok bool) { return a.of, a.of != protocol.NodeID{} }

// Begin makes the anchor good, with no marks: for a node that has no feeds yet, or whose
// feeds begin anew.
func (a *Anchor) Begin() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.marks.Feeds = nil
	// In this order: marks of a copy beside the birth of what it is in would be good marks.
	if err := a.write(); err != nil {
		return err
	}
	if err := a.noteBorn(); err != nil {
		return fmt.Errorf("writing anchor: %w", err)
	}
	a.state = Good
	return nil
}

// Mark returns the mark of a feed; ok is false if there is none.
func (a *Anchor) Mark(feed protocol.FeedID) (m Mark, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.marks.Feeds {
		if m.Feed == feed {
			return m, true
		}
	}
	return Mark{}, false
}

// Set makes the marks of feeds durable. Marks never fall.
func (a *Anchor) Set(list ...Mark) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := slices.Clone(a.marks.Feeds)
	for _, m := range list {
		i := slices.IndexFunc(a.marks.Feeds, func(x Mark) bool { return x.Feed == m.Feed })
		switch {
		case i < 0:
			a.marks.Feeds = append(a.marks.Feeds, m)
		case a.marks.Feeds[i].Seq > m.Seq:
			a.marks.Feeds = old
			return fmt.Errorf("anchor stands at entry %d of feed %s, and does not go back to %d", a.marks.Feeds[i].Seq, m.Feed.Short(), m.Seq)
		default:
			a.marks.Feeds[i] = m
		}
	}
	if err := a.write(); err != nil {
		a.marks.Feeds = old
		return err
	}
	return nil
}

// TakeBack puts marks that Set made back to where they were: of an append of which nothing was committed.
func (a *Anchor) TakeBack(list ...Mark) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	feeds := slices.Clone(a.marks.Feeds)
	for _, m := range list {
		feeds = slices.DeleteFunc(feeds, func(x Mark) bool { return x.Feed == m.Feed })
		if m.Seq > 0 {
			feeds = append(feeds, m)
		}
	}
	a.marks.Feeds = feeds
	return a.write()
}

// Forget drops the mark of a feed to which nothing will be appended any more.
func (a *Anchor) Forget(feed protocol.FeedID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.marks.Feeds = slices.DeleteFunc(slices.Clone(a.marks.Feeds), func(m Mark) bool { return m.Feed == feed })
	return a.write()
}

func (a *Anchor) write() error {
	slices.SortFunc(a.marks.Feeds, func(x, y Mark) int { return bytes.Compare(x.Feed[:], y.Feed[:]) })
	if err := disk.Replace(a.fs, filepath.Join(a.dir, marksFile), protocol.Encode(&a.marks)); err != nil {
		return fmt.Errorf("writing anchor: %w", err)
	}
	return nil
}

// Close gives the anchor up.
func (a *Anchor) Close() error {
	var err error
	if a.journal != nil {
		err = a.journal.Close()
	}
	return errors.Join(err, a.lock.Close())
}

// placeOf names the place in which an anchor is: the machine, the path, and the directory
// itself by its number in the file system, which a copy beside it does not have. See loadBorn.
func placeOf(dir string) (protocol.Hash, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return protocol.Hash{}, err
	}
	number, err := inode(dir)
	if err != nil {
		return protocol.Hash{}, fmt.Errorf("looking at the directory of the anchor: %w", err)
	}
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		name, _ := os.Hostname()
		machine = []byte(name)
	}
	return sha256.Sum256(fmt.Appendf(nil, "entente/place/v1\x00%s\x00%s\x00%d", bytes.TrimSpace(machine), abs, number)), nil
}
