package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// sourceStateDoc says how far a source has come. It stands under the source's name; what the source gave
// stands under the name, '/' and a key of 16 bytes.
type sourceStateDoc struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8    // 1
	Key      [32]byte // of the hashes by which objects are known: nobody who writes for the source can find two of one hash
	Cursor   []byte   // where to go on from; who fetches says what it is
	Last     uint64   // when the last run ended, Unix milliseconds; 0: never
	Good     uint64   // when the last one ended that did not fail
	Next     uint64   // when the next is due; 0: at once
	Failures uint32   // one after the other
	Error    string   // of the last run; "": it went well
	Run      sourceCountsDoc
	All      sourceCountsDoc
	Evicted  uint64 // dead letters that went to make room
}

// never is a time at which nothing is due.
const never = 1<<63 - 1

// sourceCountsDoc counts.
type sourceCountsDoc struct {
	_                                                          struct{} `cbor:",toarray"`
	Documents, Known, Published, Held, Set, Withdrawn, Partial uint64
}

// SourceCounts count what a source gave.
type SourceCounts struct {
	Documents uint64 `json:"documents"`
	Known     uint64 `json:"known"`     // objects that the source gave before, and that cost nothing
	Published uint64 `json:"published"` // records
	Held      uint64 `json:"held"`      // objects that this organisation published already, by whatever way, or erased here
	SetAside  uint64 `json:"set_aside"` // objects and entries of documents that went into dead letters
	Withdrawn uint64 `json:"withdrawn"` // records that the source does not hold any more
	Left      uint64 `json:"left"`      // new objects over the limit of a run, for the next
}

// Add counts more.
func (c *SourceCounts) Add(o SourceCounts) {
	c.Documents, c.Known, c.Published, c.Held = c.Documents+o.Documents, c.Known+o.Known, c.Published+o.Published, c.Held+o.Held
	c.SetAside, c.Withdrawn, c.Left = c.SetAside+o.SetAside, c.Withdrawn+o.Withdrawn, c.Left+o.Left
}

func (c *SourceCounts) doc() sourceCountsDoc {
	return sourceCountsDoc{Documents: c.Documents, Known: c.Known, Published: c.Published, Held: c.Held, Set: c.SetAside, Withdrawn: c.Withdrawn, Partial: c.Left}
}

func (d *sourceCountsDoc) counts() SourceCounts {
	return SourceCounts{Documents: d.Documents, Known: d.Known, Published: d.Published, Held: d.Held, SetAside: d.Set, Withdrawn: d.Withdrawn, Left: d.Partial}
}

// SourceState is how far a source has come.
type SourceState struct {
	Last     *time.Time   `json:"last_run,omitempty"`
	Good     *time.Time   `json:"last_success,omitempty"`
	Next     *time.Time   `json:"next_run,omitempty"` // none: at once, unless Manual
	Manual   bool         `json:"manual,omitempty"`   // it is run when somebody asks only
	Running  bool         `json:"running"`
	Failures uint32       `json:"failures"` // one after the other
	Error    string       `json:"error,omitempty"`
	Run      SourceCounts `json:"run"` // of the last run
	All      SourceCounts `json:"total"`
	Dead     int          `json:"dead_letters"`         // that wait
	Evicted  uint64       `json:"dead_letters_evicted"` // that went to make room

	Cursor []byte   `json:"-"`
	Key    [32]byte `json:"-"`
}

// SourceState returns how far a source has come.
func (n *Node) SourceState(name string) (*SourceState, error) {
	out := new(SourceState)
	err := n.st.View(func(tx *store.Tx) error {
		if _, err := getSource(tx, name); err != nil {
			return err
		}
		var d sourceStateDoc
		if _, err := getDoc(tx, kindSourceState, []byte(name), &d); err != nil {
			return err
		}
		*out = SourceState{Failures: d.Failures, Error: d.Error, Run: d.Run.counts(), All: d.All.counts(), Evicted: d.Evicted, Cursor: d.Cursor, Key: d.Key}
		for _, t := range []struct {
			at uint64
			to **time.Time
		}{{d.Last, &out.Last}, {d.Good, &out.Good}, {d.Next, &out.Next}} {
			if t.at != 0 && t.at != never {
				at := millis(t.at)
				*t.to = &at
			}
		}
		if out.Manual = d.Next == never; out.Manual {
			out.Next = nil
		}
		var err error
		out.Dead, err = n.countDead(tx, name)
		return err
	})
	n.sources.mu.Lock()
	out.Running = n.sources.held[name] != nil
	n.sources.mu.Unlock()
	return out, err
}

// KnownKey names something that a source gave: a keyed hash.
type KnownKey [16]byte

// Known is something that a source gave already.
type Known struct {
	Key    KnownKey
	Record protocol.RecordID // zero: none came of it, it was set aside
	Ours   bool              // this source published the record; else it was there before
	Day    uint32            // when the source held it last, days since 1970, noted about once a week
}

const knownSize = 32 + 1 + 4

func knownKey(name string, key []byte) []byte {
	return slices.Concat([]byte(kindSourceState), []byte(name), []byte("/"), key)
}

func (k *Known) encode() []byte {
	flags := byte(0)
	if k.Ours {
		flags = 1
	}
	return binary.BigEndian.AppendUint32(append(slices.Clone(k.Record[:]), flags), k.Day)
}

func decodeKnown(key, value []byte) (k Known, err error) {
	if len(key) != len(k.Key) || len(value) != knownSize || value[32] > 1 {
		return k, protocol.Errorf(protocol.ErrMalformed, "what a source gave is kept in %d and %d bytes, and has %d and %d", len(k.Key), knownSize, len(key), len(value))
	}
	return Known{KnownKey(key), protocol.RecordID(value[:32]), value[32] == 1, binary.BigEndian.Uint32(value[33:])}, nil
}

// KnownSet is what a source gave already, by rising key.
type KnownSet []Known

// Find returns the place of a key; -1: it is not there.
func (s KnownSet) Find(key KnownKey) int {
	i, ok := slices.BinarySearchFunc(s, key, func(k Known, key KnownKey) int { return bytes.Compare(k.Key[:], key[:]) })
	if !ok {
		return -1
	}
	return i
}

// KnownOf reads what a source gave already: up to MaxSourceKnown, 56 bytes of memory each.
func (n *Node) KnownOf(name string) (set KnownSet, err error) {
	prefix := knownKey(name, nil)
	err = n.st.View(func(tx *store.Tx) error {
		set = nil
		return tx.Scan(prefix, nil, false, func(k, v []byte) (bool, error) {
			known, err := decodeKnown(k[len(prefix):], v)
			set = append(set, known)
			return true, err
		})
	})
	return set, err
}

// KnownElsewhere reports for each record whether a source of another name gave it, too.
func (n *Node) KnownElsewhere(name string, ids map[protocol.RecordID]bool) (found map[protocol.RecordID]bool, err error) {
	list, err := n.Sources()
	if err != nil {
		return nil, err
	}
	found = map[protocol.RecordID]bool{}
	for i := range list {
		if list[i].Name == name {
			continue
		}
		set, err := n.KnownOf(list[i].Name)
		if err != nil {
			return nil, err
		}
		for j := range set {
			if ids[set[j].Record] {
				found[set[j].Record] = true
			}
		}
	}
	return found, nil
}

// SourceCommit is what a run of a source writes in one transaction.
type SourceCommit struct {
	Cursor  []byte // nil: as it is
	Learn   []Known
	Forget  []KnownKey
	Letters []Letter
	// Resolved are dead letters that do not wait any more: what they were about went well, or stands in
	// one of Letters.
	Resolved []DeadID
	Counts   SourceCounts
	Run      SourceCounts
	End      *SourceEnd // the run is over
}

// SourceEnd says how a run ended.
type SourceEnd struct {
	Error string // "": well
	Next  time.Time
	Never bool // there is no next one, until somebody asks
}

// CommitSource writes what a run did. A source that was removed since is ErrNotFound.
func (n *Node) CommitSource(s *Source, c *SourceCommit) error {
	if len(c.Learn)+len(c.Forget) > maxSourceCommit || len(c.Cursor) > maxSourceCursor {
		return protocol.Errorf(protocol.ErrOversize, "a run of source %s commits too much at once", s.Name)
	}
	now := uint64(nowMillis())
	evicted := 0
	update := n.st.Update
	if len(c.Letters)+len(c.Resolved) > 0 {
		update = n.updateDead
	}
	err := update(func(tx *store.Tx) error {
		d, err := getSource(tx, s.Name)
		if err != nil {
			return err
		}
		if d.Born != s.born {
			return fmt.Errorf("source %q was removed, and another one added: %w", s.Name, ErrNotFound)
		}
		var st sourceStateDoc
		if _, err := getDoc(tx, kindSourceState, []byte(s.Name), &st); err != nil {
			return err
		}
		for i := range c.Learn {
			if err := tx.Set(knownKey(s.Name, c.Learn[i].Key[:]), c.Learn[i].encode()); err != nil {
				return err
			}
		}
		for _, k := range c.Forget {
			if err := tx.Delete(knownKey(s.Name, k[:])); err != nil {
				return err
			}
		}
		for _, id := range c.Resolved {
			if err := n.resolveDead(tx, s.Name, id); err != nil {
				return err
			}
		}
		for i := range c.Letters {
			if err := n.putDead(tx, s.Name, &c.Letters[i], now); err != nil {
				return err
			}
		}
		if len(c.Letters) > 0 {
			if evicted, err = n.evictDead(tx, s.Name); err != nil {
				return err
			}
			st.Evicted += uint64(evicted)
		}
		if c.Cursor != nil {
			st.Cursor = c.Cursor
		}
		total := st.All.counts()
		total.Add(c.Counts)
		st.All = total.doc()
		if c.End != nil {
			st.end(c.End, now)
			st.Run = c.Run.doc()
		}
		return putDoc(tx, kindSourceState, []byte(s.Name), &st)
	})
	if err == nil && evicted > 0 {
		n.log.Warn("dead letters went to make room", "source", s.Name, "letters", evicted)
	}
	if err == nil && c.End != nil {
		n.sources.changes.notify()
	}
	return err
}

func (st *sourceStateDoc) end(e *SourceEnd, now uint64) {
	st.Last, st.Error = now, audit.Clip(e.Error, protocol.MaxTextSize)
	if e.Error == "" {
		st.Good, st.Failures = now, 0
	} else {
		st.Failures++
	}
	st.Next = uint64(max(e.Next.UnixMilli(), 0))
	if e.Never {
		st.Next = never
	}
}

// SourceStatus counts sources, for monitoring.
type SourceStatus struct {
	Sources   int    `json:"sources"`
	Failing   int    `json:"failing"` // whose last run failed
	Dead      int    `json:"dead_letters"`
	Evicted   uint64 `json:"dead_letters_evicted"`
	Published uint64 `json:"published"` // records, by sources that there are
}

// failingAfter is how many failures one after the other are a problem for a person.
const failingAfter = 3

// sourceStatus counts, and tells of problems.
func (n *Node) sourceStatus(problem func(Problem)) (out SourceStatus, err error) {
	list, err := n.Sources()
	if err != nil {
		return out, err
	}
	if problem != nil {
		held, err := n.heldDead()
		if err != nil {
			return out, err
		}
		if held.count > 0 {
			problem(Problem{Kind: "dead-letters-held", Severity: "warning", Text: fmt.Sprintf("%d dead letters with %d KiB are kept under legal holds only", held.count, (held.bytes+1023)>>10),
				Do: "'entente source dead --held' shows them; they go with the holds"})
		}
	}
	for i := range list {
		st, err := n.SourceState(list[i].Name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return out, err
		}
		out.Sources++
		out.Dead += st.Dead
		out.Evicted += st.Evicted
		out.Published += st.All.Published
		if st.Failures > 0 {
			out.Failing++
		}
		if problem == nil {
			continue
		}
		if list[i].Unconfirmed {
			problem(Problem{Kind: "source-unconfirmed", Severity: "error", Text: fmt.Sprintf("source %s came from a backup, and may have been removed or paused since; it is paused", list[i].Name),
				Do: "'entente source resume " + list[i].Name + "', or 'entente source remove " + list[i].Name + "'"})
		}
		if why := n.Ownerless(list[i].Person); !list[i].Unconfirmed && why != "" {
			problem(Problem{Kind: "source-owner-left", Severity: "error", Text: fmt.Sprintf("source %s stands still: %s", list[i].Name, why),
				Do: "'entente source remove " + list[i].Name + "', or, if it is wanted, 'entente source resume " + list[i].Name + "' lets it go on, as yours"})
		}
		if st.Failures >= failingAfter && !list[i].Paused {
			problem(Problem{Kind: "source-failing", Severity: "error", Text: fmt.Sprintf("source %s failed %d times one after the other: %s", list[i].Name, st.Failures, st.Error),
				Do: "'entente source show " + list[i].Name + "' says more; mend it, or pause the source"})
		}
		if st.Dead > 0 {
			problem(Problem{Kind: "source-dead-letters", Severity: "warning", Text: fmt.Sprintf("%d dead letters of source %s wait", st.Dead, list[i].Name),
				Do: "'entente source dead " + list[i].Name + "' says why; try them again, or drop them"})
		}
		if st.Evicted > 0 {
			problem(Problem{Kind: "source-dead-letters-lost", Severity: "warning", Text: fmt.Sprintf("%d dead letters of source %s went to make room for later ones", st.Evicted, list[i].Name),
				Do: "see to the later ones with 'entente source dead " + list[i].Name + "'; the count goes with the source"})
		}
	}
	return out, nil
}

// WithdrawGone withdraws those of some records of this organisation which still stand, because the source
// that published them does not hold them any more. out are those that are withdrawn then, now or since
// before; the others are not here any more. now is how many it withdrew.
func (n *Node) WithdrawGone(ctx context.Context, s *Source, ids []protocol.RecordID) (out map[protocol.RecordID]bool, now int, err error) {
	if err := n.usable(); err != nil {
		return nil, 0, err
	}
	who, err := n.PrincipalOf(s)
	if err != nil {
		return nil, 0, err
	}
	var stand []protocol.RecordID
	var recs []Record
	if err := n.viewIndex(func(tx *store.Tx) error {
		out, stand, recs = map[protocol.RecordID]bool{}, nil, nil
		for _, id := range ids {
			e, err := n.index.Get(tx, id)
			if err != nil {
				return err
			}
			if e == nil || e.Originator != n.org || e.Publisher != n.org {
				continue
			}
			out[id] = true
			if !e.Withdrawn {
				stand, recs = append(stand, id), append(recs, n.record(n.snap.Load(), e))
			}
		}
		return nil
	}); err != nil || len(stand) == 0 {
		return out, 0, err
	}
	if err := n.Reader(who).MayWithdraw(recs); err != nil {
		return nil, 0, err
	}
	ctx = WithCaller(ctx, Caller{Person: who.ID, Purpose: "source " + s.Name})
	return out, len(stand), n.Withdraw(ctx, stand, "the source "+s.Name+" does not hold it any more")
}

func checkSourceState(id, value []byte) error {
	if name, key, ok := bytes.Cut(id, []byte("/")); ok {
		if !sourceName.Match(name) {
			return protocol.Errorf(protocol.ErrMalformed, "%q is not the name of a source", name)
		}
		_, err := decodeKnown(key, value)
		return err
	}
	if !sourceName.Match(id) {
		return protocol.Errorf(protocol.ErrMalformed, "%q is not the name of a source", id)
	}
	var d sourceStateDoc
	if err := protocol.Decode(value, maxDocument, &d); err != nil {
		return err
	}
	if d.Version != 1 || len(d.Cursor) > maxSourceCursor {
		return protocol.Errorf(protocol.ErrMalformed, "the state of a source has version %d and a cursor of %d bytes", d.Version, len(d.Cursor))
	}
	return nil
}

func checkSource(id, value []byte) error {
	var d sourceDoc
	if err := protocol.Decode(value, maxDocument, &d); err != nil {
		return err
	}
	return d.check(string(id))
}
