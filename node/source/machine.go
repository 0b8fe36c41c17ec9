package source

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

// Document is one thing that a source gave.
type Document struct {
	Where  string // a file's name, a URL, an id: for messages
	Bytes  []byte // nil: nothing but a cursor
	Format intake.Format
	Next   []byte // where to go on from once it is done; nil: as before
	Full   bool   // it is all that the source holds
	Key    node.KnownKey
	HasKey bool              // it is known by Key once it is done
	Mark   protocol.RecordID // kept with Key; if it is not zero, that Key is known is no reason not to read it
	Reason string            // why it cannot be taken at all; "": it can
	Do     string            // with Reason: what somebody can do
	// Handling, if not nil, is what was stated of each of the STIX objects of which Bytes is a JSON array.
	Handling *protocol.Handling
	Again    bool                   // what is known of it is gone through as well: somebody asked for that
	Finish   func(whole bool) error // what is to be done with it when it was committed; whole: nothing of it is only there. May be nil
}

// Item is an object of a document that is not known.
type Item struct {
	Key  node.KnownKey
	Item intake.Item
	Raw  []byte // as it is kept in a dead letter
}

// Sifted is what of a document is not known.
type Sifted struct {
	Items   []Item
	Letters []node.Letter
	Learn   []node.Known    // what was set aside with Letters, and what was known and is to be noted again
	Forget  []node.KnownKey // what has to go so that the rest has room
	Known   int
	Set     int // objects and entries in Letters
	// NotWhole: it is known, and something of it was set aside that no dead letter could keep.
	NotWhole bool
	Partial  bool // what could not be read may be anything: nothing is known to be gone
}

// Gone is what the source gave, and does not hold any more.
type Gone struct {
	Known []node.Known // published by this source, and given by no other
	Live  int          // how many this source published: those among them
}

// notWhole stands where a record would for a document of which something is only where it came from.
var notWhole = protocol.RecordID([]byte("source document, not kept whole\x00"))

// Withdrawn is what became of records that were to be withdrawn.
type Withdrawn struct {
	Out map[protocol.RecordID]bool // they are withdrawn, now or since before; the others do not stand
	Now int
}

// Event is what happened: exactly one field is set.
type Event struct {
	Start     *Start
	Document  *Document // after Effect.Pull
	End       bool      // after Effect.Pull: there is nothing more
	Sifted    *Sifted
	Submitted []node.SubmitResult // after Effect.Submit, one for each item
	Committed bool
	Gone      *Gone      // after Effect.Compare
	Withdrawn *Withdrawn // after Effect.Withdraw
	Finished  bool
}

// Start says how a run is made.
type Start struct {
	Key        [32]byte
	Day        uint32 // today, since 1970
	Limit      int    // records to publish
	Missing    bool   // withdraw what is not there any more
	AllMissing bool   // even if that is more than half
	Retry      *node.DeadID
}

// Effect is what to do: exactly one field is set.
type Effect struct {
	Pull     bool
	Sift     *Document
	Submit   []Item
	Commit   *node.SourceCommit
	Compare  *Document
	Withdraw []protocol.RecordID
	Finish   *Document
	Stop     bool // the run is over: there is nothing more, or the limit is reached
	Err      error
}

type phase uint8

const (
	starting phase = iota
	pulling
	sifting
	submitting
	committing
	comparing
	withdrawing
	forgetting
	closing
	finishing
	done
)

// Bounds on one effect.
const (
	submitItems   = 5_000
	commitKnown   = 5_000
	commitLetters = 4
	withdrawItems = 5_000
)

// Machine is one run. The zero value is ready. It is not safe for concurrent use.
type Machine struct {
	phase   phase
	start   Start
	count   int // records published in this run
	doc     *Document
	items   []Item // not submitted yet
	asked   int
	left    int // items over the limit
	closing node.SourceCommit
	queue   []node.SourceCommit
	gone    []node.Known
	made    map[node.DeadID]bool
	whole   bool
	partial bool // not all of the document could be read
	limited bool // the run stopped at the limit
	Counts  node.SourceCounts
}

// Step takes an event and returns the effect to bring about next.
func (m *Machine) Step(e Event) Effect {
	switch m.phase {
	case starting:
		if e.Start == nil {
			return m.fail("the run was not started")
		}
		m.start = *e.Start
		return m.pull()
	case pulling:
		switch {
		case e.End:
			m.phase = done
			return Effect{Stop: true}
		case e.Document == nil:
			return m.fail("pulling gave nothing")
		}
		return m.document(e.Document)
	case sifting:
		if e.Sifted == nil {
			return m.fail("sifting gave nothing")
		}
		return m.sifted(e.Sifted)
	case submitting:
		if len(e.Submitted) != m.asked {
			return m.fail("%d objects were submitted, and there are results of %d", m.asked, len(e.Submitted))
		}
		return m.submitted(e.Submitted)
	case committing, forgetting, closing:
		if !e.Committed {
			return m.fail("a commit was not made")
		}
		return m.write()
	case comparing:
		if e.Gone == nil {
			return m.fail("comparing gave nothing")
		}
		return m.compared(e.Gone)
	case withdrawing:
		if e.Withdrawn == nil {
			return m.fail("withdrawing gave nothing")
		}
		return m.withdrawn(e.Withdrawn)
	case finishing:
		if !e.Finished {
			return m.fail("a document was not finished")
		}
		return m.pull()
	}
	return m.fail("the run is over")
}

func (m *Machine) fail(format string, args ...any) Effect {
	m.phase = done
	return Effect{Err: fmt.Errorf(format, args...)}
}

func (m *Machine) pull() Effect {
	if m.count >= m.start.Limit {
		m.phase, m.limited = done, true
		return Effect{Stop: true}
	}
	m.phase = pulling
	return Effect{Pull: true}
}

func (m *Machine) document(d *Document) Effect {
	m.doc, m.closing, m.left, m.whole = d, node.SourceCommit{Cursor: d.Next}, 0, true
	m.made = map[node.DeadID]bool{}
	switch {
	case d.Reason != "":
		m.closing.Counts.Documents, m.closing.Counts.SetAside = 1, 1
		m.set(Letter(m.start.Key, d, "document", d.Reason, d.Do, 1))
		return m.close()
	case d.Bytes == nil:
		return m.close()
	}
	m.closing.Counts.Documents = 1
	m.phase = sifting
	return Effect{Sift: d}
}

// Letter makes the dead letter about a whole document. A later one about the same bytes takes its place.
func Letter(key [32]byte, d *Document, what, reason, do string, count int) node.Letter {
	sum := sha256.Sum256(d.Bytes)
	l := node.Letter{ID: node.DeadID(hashOf(key, what, append(sum[:], d.Where...))), Where: d.Where, Count: count, Reason: reason, Do: do, Format: d.Format, Handling: d.Handling}
	if d.Bytes != nil && len(d.Bytes) <= node.MaxDeadLetter/2 {
		l.Bytes = d.Bytes
	}
	return l
}

// hashOf names something of a source: nobody who does not know its key can find another of the same name.
func hashOf(key [32]byte, what string, data []byte) node.KnownKey {
	h := sha256.New()
	h.Write(key[:])
	h.Write([]byte(what))
	h.Write([]byte{0})
	h.Write(data)
	return node.KnownKey(h.Sum(nil)[:16])
}

// set puts a dead letter into the last commit of a document.
func (m *Machine) set(l node.Letter) {
	m.whole = m.whole && l.Bytes != nil
	m.made[l.ID] = true
	m.closing.Letters = append(m.closing.Letters, l)
}

func (m *Machine) sifted(s *Sifted) Effect {
	m.closing.Learn, m.closing.Forget, m.partial = s.Learn, s.Forget, s.Partial
	m.closing.Counts.Known, m.closing.Counts.SetAside = uint64(s.Known), uint64(s.Set)
	for _, l := range s.Letters {
		m.set(l)
	}
	m.whole = m.whole && !s.NotWhole
	m.items = s.Items
	if room := m.start.Limit - m.count; len(m.items) > room {
		m.left = len(m.items) - room
		m.items = m.items[:room]
	}
	return m.submit()
}

func (m *Machine) submit() Effect {
	if len(m.items) > 0 {
		m.phase, m.asked = submitting, min(len(m.items), submitItems)
		return Effect{Submit: m.items[:m.asked]}
	}
	if m.left == 0 && m.doc.Full && m.start.Missing && !m.partial {
		m.phase = comparing
		return Effect{Compare: m.doc}
	}
	return m.close()
}

// submitted notes what became of a part, before the next is submitted: what is known then costs nothing if
// the run breaks off.
func (m *Machine) submitted(results []node.SubmitResult) Effect {
	c := node.SourceCommit{}
	type class struct{ reason, handling string }
	refused := map[class][]*Item{}
	var order []class
	for i := range results {
		it, r := &m.items[i], &results[i]
		k := node.Known{Key: it.Key, Day: m.start.Day}
		switch r.State {
		case node.SubmitPublished:
			c.Counts.Published++
			k.Record, k.Ours = r.ID, true
		case node.SubmitHeld:
			c.Counts.Held++
			k.Record = r.ID
		default:
			c.Counts.SetAside++
			cl := class{reason: r.Reason}
			if m.doc.Format != intake.List {
				cl.handling = string(protocol.Encode(&it.Item.Handling))
			}
			if refused[cl] == nil {
				order = append(order, cl)
			}
			refused[cl] = append(refused[cl], it)
		}
		c.Learn = append(c.Learn, k)
	}
	m.count += m.asked
	m.items = m.items[m.asked:]
	for _, cl := range order {
		c.Letters = append(c.Letters, m.refused(cl.reason, refused[cl])...)
	}
	for i := range c.Letters {
		m.whole = m.whole && c.Letters[i].Bytes != nil
		m.made[c.Letters[i].ID] = true
	}
	return m.commit(c, committing)
}

// refused makes dead letters of objects that were refused for one reason and state one handling.
func (m *Machine) refused(reason string, items []*Item) (out []node.Letter) {
	for len(items) > 0 {
		first := &items[0].Item
		l := node.Letter{Where: m.doc.Where, Line: first.Line, Reason: reason, Do: doRefused(reason), Format: m.doc.Format}
		var raws [][]byte
		var keys bytes.Buffer
		size := 0
		for len(items) > 0 && (len(raws) == 0 || size+len(items[0].Raw) < node.MaxDeadLetter-64<<10) {
			size += len(items[0].Raw) + 1
			raws = append(raws, items[0].Raw)
			keys.Write(items[0].Key[:])
			items = items[1:]
		}
		l.Count, l.ID = len(raws), node.DeadID(hashOf(m.start.Key, "refused", keys.Bytes()))
		if m.doc.Format == intake.List {
			l.Bytes = append(bytes.Join(raws, []byte("\n")), '\n')
		} else {
			l.Format = intake.STIX
			l.Bytes = slices.Concat([]byte("["), bytes.Join(raws, []byte(",")), []byte("]"))
			l.Handling = &first.Handling
		}
		if len(l.Bytes) > node.MaxDeadLetter { // one large object
			l.Bytes, l.Do = nil, "see to the reason where it comes from; it is too large to be kept here"
		}
		out = append(out, l)
	}
	return out
}

func doRefused(reason string) string {
	if strings.Contains(reason, "--tlp") {
		return "give the source a TLP (source add --replace --tlp), or have the document state one; then try it again"
	}
	return "see to the reason; then try it again, or drop it"
}

// compared decides whether what is gone is withdrawn.
func (m *Machine) compared(g *Gone) Effect {
	m.gone = g.Known
	missing := Letter(m.start.Key, &Document{Where: m.doc.Where}, "missing", "", "", len(g.Known))
	if n := len(g.Known); n*2 > g.Live && !m.start.AllMissing {
		m.gone = nil
		missing.Reason = fmt.Sprintf("%d of %d records that this source published are not in it any more; that is more than half at once, and none of them was withdrawn", n, g.Live)
		missing.Do = "look at the source; if that is right, 'entente source run NAME --accept-missing' withdraws them"
		m.made[missing.ID] = true
		m.closing.Letters = append(m.closing.Letters, missing)
	} else {
		m.closing.Resolved = append(m.closing.Resolved, missing.ID)
	}
	return m.withdraw()
}

func (m *Machine) withdraw() Effect {
	if len(m.gone) == 0 {
		return m.close()
	}
	m.phase, m.asked = withdrawing, min(len(m.gone), withdrawItems)
	var ids []protocol.RecordID
	for _, k := range m.gone[:m.asked] {
		ids = append(ids, k.Record)
	}
	slices.SortFunc(ids, func(a, b protocol.RecordID) int { return bytes.Compare(a[:], b[:]) })
	return Effect{Withdraw: slices.Compact(ids)}
}

// withdrawn forgets what was withdrawn, so that it is published again if it comes back. What does not stand
// for another reason, as erased, stays known.
func (m *Machine) withdrawn(w *Withdrawn) Effect {
	c := node.SourceCommit{Counts: node.SourceCounts{Withdrawn: uint64(w.Now)}}
	for _, k := range m.gone[:m.asked] {
		if w.Out[k.Record] {
			c.Forget = append(c.Forget, k.Key)
		} else {
			k.Ours = false
			c.Learn = append(c.Learn, k)
		}
	}
	m.gone = m.gone[m.asked:]
	return m.commit(c, forgetting)
}

// close writes the last commits of a document: with the cursor, if all of it was submitted.
func (m *Machine) close() Effect {
	c := m.closing
	if m.left > 0 {
		c.Cursor, c.Counts.Left = nil, uint64(m.left)
	} else if m.doc.HasKey {
		mark := m.doc.Mark
		if !m.whole && mark == (protocol.RecordID{}) {
			mark = notWhole
		}
		c.Learn = append(c.Learn, node.Known{Key: m.doc.Key, Record: mark, Day: m.start.Day})
	}
	if m.start.Retry != nil && !m.made[*m.start.Retry] {
		c.Resolved = append(c.Resolved, *m.start.Retry)
	}
	return m.commit(c, closing)
}

// commit queues a commit, in parts of a bounded size; the cursor goes with the last.
func (m *Machine) commit(c node.SourceCommit, as phase) Effect {
	m.Counts.Add(c.Counts)
	last := c
	for len(last.Letters) > commitLetters || len(last.Letters) > 0 && len(last.Learn) > commitKnown { // before what they make known
		part := min(len(last.Letters), commitLetters)
		m.queue = append(m.queue, node.SourceCommit{Letters: last.Letters[:part]})
		last.Letters = last.Letters[part:]
	}
	for len(last.Learn) > commitKnown {
		m.queue = append(m.queue, node.SourceCommit{Learn: last.Learn[:commitKnown]})
		last.Learn = last.Learn[commitKnown:]
	}
	for len(last.Forget) > commitKnown {
		m.queue = append(m.queue, node.SourceCommit{Forget: last.Forget[:commitKnown]})
		last.Forget = last.Forget[commitKnown:]
	}
	m.queue = append(m.queue, last)
	m.phase = as
	return m.write()
}

// write brings about the next of the commits in the queue, and goes on when there is none.
func (m *Machine) write() Effect {
	for len(m.queue) > 0 {
		c := m.queue[0]
		m.queue = m.queue[1:]
		if c.Cursor == nil && len(c.Learn)+len(c.Forget)+len(c.Letters)+len(c.Resolved) == 0 && c.Counts == (node.SourceCounts{}) {
			continue
		}
		return Effect{Commit: &c}
	}
	switch m.phase {
	case committing:
		return m.submit()
	case forgetting:
		return m.withdraw()
	}
	if m.left > 0 {
		m.phase, m.limited = done, true
		return Effect{Stop: true}
	}
	if m.doc.Finish != nil {
		m.phase = finishing
		return Effect{Finish: m.doc}
	}
	return m.pull()
}
