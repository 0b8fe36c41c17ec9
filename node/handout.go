package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
)

// What leaves a node in a file or a stream is noted, so that an erasure can say which copies
// it did not reach: by whom and when they were taken, never what they say.

// Handout is something that left this node.
type Handout struct {
	ID      uint64    `json:"id"`
	Kind    string    `json:"kind"`   // export, watch, stream, sink, list, taxii, misp, carried file, backup
	Detail  string    `json:"detail"` // its format, or for whom it was
	At      time.Time `json:"at"`
	Last    time.Time `json:"last,omitzero"`     // when it was gone on with, of those that are: stream, list, taxii, misp
	Records uint64    `json:"records,omitempty"` // not of sealed ones; of lists values; all that were given, the same ones again too
	Open    bool      `json:"open,omitempty"`    // it is being taken now
}

// handoutDoc is a Handout as it is kept. It covers the records with cursors above From, up to
// To; sealed ones, as carried files and backups, all that was held at the time.
type handoutDoc struct {
	_       struct{} `cbor:",toarray"`
	Kind    string
	Detail  string
	At      uint64 // Unix milliseconds
	From    uint64
	To      uint64
	Records uint64
	Sealed  bool
	Open    bool
	// Standing is one of a kind and a detail, which all that the same reader takes goes into; Last is
	// when that was, Unix milliseconds.
	Standing bool
	Last     uint64
}

// Kinds of handouts.
const (
	handoutExport = "export"
	handoutWatch  = "watch"
	handoutCarry  = "carried file"
	handoutBackup = "backup"
	handoutStream = "stream"
	handoutSink   = "sink"
	handoutList   = "list"

	HandoutTAXII = "taxii"
	HandoutMISP  = "misp"
)

// maxHandouts bounds the handouts that are remembered, of sealed ones, of exports and of all others each: of
// a group that is full the one goes that was gone on with the longest ago, so that none goes for a stream or
// a list but another such.
const maxHandouts = 10000

// group returns which ones a handout may make go.
func (d *handoutDoc) group() int {
	switch {
	case d.Sealed:
		return 0
	case d.Kind == handoutExport:
		return 1
	}
	return 2
}

// touched returns when a handout was gone on with last, Unix milliseconds.
func (d *handoutDoc) touched() uint64 { return max(d.At, d.Last) }

// standings are the handouts that are gone on with, by kind and detail.
type standings struct {
	mu  sync.Mutex
	all map[string]*standing
}

type standing struct {
	id   []byte
	doc  handoutDoc // To is how far what has ended went
	open int        // how many go on now
	kept uint64     // when it was stored last, Unix milliseconds
}

// standingLag is how old times and counts may be in the store, in milliseconds; what a handout covers is there
// before it leaves.
const standingLag = 60_000

// stored is the handout as it is kept: an open one may hold all that comes.
func (s *standing) stored() *handoutDoc {
	d := s.doc
	if d.Open = s.open > 0; d.Open {
		d.To = math.MaxInt64
	}
	return &d
}

func standingKey(kind, detail string) string { return kind + "\x00" + detail }

// goOn notes that the standing handout of a kind and a detail covers what is above from, up to to, and has so
// many more records; opens is 1 if it is being taken from now on, and -1 if it is no more.
func (n *Node) goOn(kind, detail string, from, to, records uint64, opens int) error {
	h := &n.handouts
	h.mu.Lock()
	defer h.mu.Unlock()
	now := uint64(nowMillis())
	key := standingKey(kind, detail)
	was := h.all[key]
	next := standing{doc: handoutDoc{Kind: kind, Detail: detail, At: now, From: from, To: to, Standing: true}}
	if was != nil {
		next = *was
	}
	next.doc.From, next.doc.To = min(next.doc.From, from), max(next.doc.To, to)
	next.doc.Records, next.doc.Last, next.open = next.doc.Records+records, now, next.open+opens
	if was != nil && next.open > 0 == (was.open > 0) && next.doc.From == was.doc.From && (next.open > 0 || next.doc.To == was.doc.To) && now-was.kept < standingLag {
		*was = next
		return nil
	}
	empty := next.open == 0 && next.doc.Records == 0
	var gone string
	err := n.st.Update(func(tx *store.Tx) (err error) {
		gone = ""
		switch {
		case empty && was == nil:
			return nil
		case empty:
			return tx.Delete(append([]byte(kindHandout), was.id...))
		case was == nil:
			if next.id, gone, err = n.newHandout(tx, &next.doc); err != nil {
				return err
			}
		}
		return putDoc(tx, kindHandout, next.id, next.stored())
	})
	if err != nil {
		return fmt.Errorf("noting what leaves this node: %w", err)
	}
	if next.kept = now; h.all == nil {
		h.all = map[string]*standing{}
	}
	delete(h.all, gone)
	if h.all[key] = &next; empty {
		delete(h.all, key)
	}
	return nil
}

// keepHandouts stores the counts of those that are gone on with, before the node ends.
func (n *Node) keepHandouts() error {
	h := &n.handouts
	h.mu.Lock()
	defer h.mu.Unlock()
	late := slices.DeleteFunc(slices.Collect(maps.Values(h.all)), func(s *standing) bool { return s.doc.Last == s.kept })
	if len(late) == 0 {
		return nil
	}
	return n.st.Update(func(tx *store.Tx) error {
		for _, s := range late {
			if err := putDoc(tx, kindHandout, s.id, s.stored()); err != nil {
				return err
			}
		}
		return nil
	})
}

// handoutNow returns a handout with what is not stored yet of its times and counts.
func (n *Node) handoutNow(d *handoutDoc) handoutDoc {
	if d.Standing {
		n.handouts.mu.Lock()
		defer n.handouts.mu.Unlock()
		if s := n.handouts.all[standingKey(d.Kind, d.Detail)]; s != nil {
			return *s.stored()
		}
	}
	return *d
}

// newHandout returns the id of a handout that is new, and makes room for it; gone is the key of a standing one
// that went for that.
func (n *Node) newHandout(tx *store.Tx, d *handoutDoc) (id []byte, gone string, err error) {
	var last uint64
	count := 0
	var first []byte
	var oldest handoutDoc
	err = scanDocs(tx, kindHandout, func(k []byte, o *handoutDoc) error {
		if len(k) != 8 {
			return nil
		}
		_, last = splitEntryKey(append(make([]byte, 32), k...))
		if o.group() != d.group() {
			return nil
		}
		count++
		if !o.Open && (first == nil || o.touched() < oldest.touched()) {
			first, oldest = slices.Clone(k), *o
		}
		return nil
	})
	if err == nil && count >= maxHandouts && first != nil {
		if err = tx.Delete(append([]byte(kindHandout), first...)); oldest.Standing {
			gone = standingKey(oldest.Kind, oldest.Detail)
		}
	}
	return be64(last + 1), gone, err
}

// handout is one that is being made. A nil one notes nothing.
type handout struct {
	n      *Node
	caller Caller
	id     []byte
	doc    handoutDoc
}

// handOut notes, durably, that something is about to leave this node. Until end is called,
// and if the process ends before, it counts as holding all that it might.
func (n *Node) handOut(ctx context.Context, kind, detail string, from uint64, sealed bool) (*handout, error) {
	h := &handout{n: n, caller: CallerOf(ctx), doc: handoutDoc{Kind: kind, Detail: detail, At: uint64(nowMillis()), From: from, To: math.MaxInt64, Sealed: sealed, Open: true}}
	n.handouts.mu.Lock() // a standing one that goes for it is known
	defer n.handouts.mu.Unlock()
	var gone string
	err := n.st.Update(func(tx *store.Tx) (err error) {
		if h.id, gone, err = n.newHandout(tx, &h.doc); err != nil {
			return err
		}
		return errors.Join(n.auditHandout(tx, h.caller, &h.doc), putDoc(tx, kindHandout, h.id, &h.doc))
	})
	if err != nil {
		return nil, fmt.Errorf("noting what leaves this node: %w", err)
	}
	delete(n.handouts.all, gone)
	return h, nil
}

// handOn is handOut of what the same reader takes again and again: it goes on with the one that there is.
func (n *Node) handOn(ctx context.Context, kind, detail string, from uint64) (*handout, error) {
	h := &handout{n: n, caller: CallerOf(ctx), doc: handoutDoc{Kind: kind, Detail: detail, From: from, To: math.MaxInt64, Open: true, Standing: true}}
	if err := n.auditNow(audit.Disclose, n.handoutDetails(h.caller, &h.doc)); err != nil {
		return nil, err
	}
	return h, n.goOn(kind, detail, from, 0, 0, 1)
}

// HandList is HandOut of a list of so many values, which a consumer reads again and again, made of all records
// up to a cursor; end is to be called when it was written, or as much of it as could be.
func (n *Node) HandList(ctx context.Context, what string, to, values uint64) (end func() error, err error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	caller, doc := CallerOf(ctx), handoutDoc{Kind: handoutList, Detail: what, Open: true}
	if err := n.auditNow(audit.Disclose, n.handoutDetails(caller, &doc)); err != nil {
		return nil, err
	}
	if values > 0 {
		if err := n.goOn(handoutList, what, 0, to, values, 0); err != nil {
			return nil, err
		}
	}
	return func() error {
		doc.Open, doc.To, doc.Records = false, to, values
		return n.auditNow(audit.Disclose, n.handoutDetails(caller, &doc))
	}, nil
}

// HandRecords is Disclose of records that a consumer keeps: they are noted as handed out too, under a kind and
// for whom.
func (n *Node) HandRecords(ctx context.Context, kind, detail string, what Disclosure) error {
	if err := n.Disclose(ctx, what); err != nil {
		return err
	}
	from, to := uint64(math.MaxUint64), uint64(0)
	err := n.viewIndex(func(tx *store.Tx) error {
		from, to = math.MaxUint64, 0
		for _, id := range what.Records {
			e, err := n.index.Get(tx, id)
			if err != nil {
				return err
			}
			if e != nil && e.Cursor > 0 {
				from, to = min(from, e.Cursor-1), max(to, e.Cursor)
			}
		}
		return nil
	})
	if err != nil || to == 0 {
		return err
	}
	return n.goOn(kind, detail, from, to, uint64(len(what.Records)), 0)
}

// reach notes that the hand-out may hold records that came before it begins: what became of an old
// record is told with the record. It comes before they leave.
func (h *handout) reach(list []Change) error {
	from := h.doc.From
	for i := range list {
		if r := list[i].Record; r != nil && r.Cursor > 0 {
			from = min(from, r.Cursor-1)
		}
	}
	if from == h.doc.From {
		return nil
	}
	if h.doc.From = from; h.doc.Standing {
		return h.n.goOn(h.doc.Kind, h.doc.Detail, from, 0, 0, 0)
	}
	return h.n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindHandout, h.id, &h.doc) })
}

// end notes up to which cursor it went. What left nothing is forgotten.
func (h *handout) end(to, records uint64) error {
	h.doc.To, h.doc.Records, h.doc.Open = to, records, false
	if h.doc.Standing {
		if records == 0 {
			to = 0
		}
		return errors.Join(h.n.goOn(h.doc.Kind, h.doc.Detail, h.doc.From, to, records, -1), h.n.auditNow(audit.Disclose, h.n.handoutDetails(h.caller, &h.doc)))
	}
	return h.n.st.Update(func(tx *store.Tx) error {
		if err := h.n.auditHandout(tx, h.caller, &h.doc); err != nil {
			return err
		}
		if !h.doc.Sealed && records == 0 {
			return tx.Delete(append([]byte(kindHandout), h.id...))
		}
		return putDoc(tx, kindHandout, h.id, &h.doc)
	})
}

// closeHandouts ends those that were open when the process ended: they may hold all that
// there was.
func (n *Node) closeHandouts() error {
	n.handouts.mu.Lock()
	defer n.handouts.mu.Unlock()
	return n.st.Update(func(tx *store.Tx) error {
		open := map[string]handoutDoc{}
		n.handouts.all = map[string]*standing{}
		err := scanDocs(tx, kindHandout, func(id []byte, d *handoutDoc) error {
			if d.Open {
				open[string(id)] = *d
			} else if d.Standing {
				n.handouts.all[standingKey(d.Kind, d.Detail)] = &standing{id: slices.Clone(id), doc: *d, kept: d.Last}
			}
			return nil
		})
		if err != nil || len(open) == 0 {
			return err
		}
		c, err := corpus.Count(tx)
		if err != nil {
			return err
		}
		for id, d := range open {
			if d.Open, d.To = false, c.Cursor; d.Standing {
				n.handouts.all[standingKey(d.Kind, d.Detail)] = &standing{id: []byte(id), doc: d, kept: d.Last}
			}
			if err := errors.Join(n.auditHandout(tx, Caller{}, &d), putDoc(tx, kindHandout, []byte(id), &d)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Handouts lists what left this node, the newest first.
func (n *Node) Handouts() ([]Handout, error) {
	list := []Handout{}
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindHandout, func(id []byte, d *handoutDoc) error {
			_, number := splitEntryKey(append(make([]byte, 32), id...))
			x := n.handoutNow(d)
			h := Handout{ID: number, Kind: x.Kind, Detail: x.Detail, At: millis(x.At), Records: x.Records, Open: x.Open}
			if x.Last > 0 {
				h.Last = millis(x.Last)
			}
			list = append(list, h)
			return nil
		})
	})
	slices.Reverse(list)
	return list, err
}

// copies finds the handouts that may hold any of some records.
type copies struct {
	cursors  []uint64 // sorted
	received uint64   // when the first of them came; Unix milliseconds
}

func (c *copies) add(e *corpus.Entry) {
	c.cursors = append(c.cursors, e.Cursor)
	if c.received == 0 || e.Received < c.received {
		c.received = e.Received
	}
}

func (c *copies) in(d *handoutDoc) bool {
	if d.Sealed {
		return len(c.cursors) > 0 && d.At >= c.received
	}
	i, _ := slices.BinarySearch(c.cursors, d.From+1)
	return i < len(c.cursors) && c.cursors[i] <= d.To
}

// maxCopies bounds the handouts that one report names.
const maxCopies = 100

// find lists them as rows of a report of erasure; local says that it is of records of others,
// of which nobody else is told.
func (c *copies) find(n *Node, local bool) (rows []BeyondRow, err error) {
	slices.Sort(c.cursors)
	var found []handoutDoc
	err = n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindHandout, func(_ []byte, d *handoutDoc) error {
			if c.in(d) {
				found = append(found, n.handoutNow(d))
			}
			return nil
		})
	})
	slices.SortStableFunc(found, func(a, b handoutDoc) int { return cmp.Compare(b.touched(), a.touched()) })
	for i, d := range found {
		if i == maxCopies {
			rows = append(rows, BeyondRow{fmt.Sprintf("%d more exports, streams, lists, carried files and backups, made before these", len(found)-i), "'entente handouts' lists them"})
			break
		}
		rows = append(rows, d.row(local))
	}
	return rows, err
}

func (d *handoutDoc) row(local bool) BeyondRow {
	when := millis(d.At).Format("2006-01-02 15:04 MST")
	last := millis(d.touched()).Format("2006-01-02 15:04 MST")
	switch d.Kind {
	case handoutExport:
		return BeyondRow{fmt.Sprintf("the export as %s of %s, %d records", d.Detail, when, d.Records), "erase it where it was taken to, and in the systems that read it"}
	case handoutWatch:
		return BeyondRow{fmt.Sprintf("the stream that was read since %s, %d records", when, d.Records), "erase it in the system that read it; it is told of withdrawals only"}
	case handoutList:
		return BeyondRow{fmt.Sprintf("the list as %s, read from %s to %s", d.Detail, when, last), "it is not in what is read from now on; erase it in the system that read it if that does not read it again"}
	case HandoutTAXII:
		return BeyondRow{fmt.Sprintf("what was read by TAXII of %s, from %s to %s, %d objects", d.Detail, when, last, d.Records), "erase it in the system that read it: TAXII has no way to tell it"}
	case HandoutMISP:
		return BeyondRow{fmt.Sprintf("what MISP read %s, from %s to %s, %d records", d.Detail, when, last, d.Records), "erase it in the instance that read it, and where that sent it: it is not told"}
	case handoutStream:
		return BeyondRow{fmt.Sprintf("the stream %s that was read from %s to %s, %d records", d.Detail, when, last, d.Records), "who reads it was told of the erasure, or will be when it reads on; erase it in the system that read it if it does not act on that"}
	case handoutSink:
		return BeyondRow{fmt.Sprintf("what was delivered to %s since %s, %d records", d.Detail, when, d.Records), "erase it in the system that took it; it is told of the erasure by itself while the sink stands"}
	case handoutCarry:
		return BeyondRow{fmt.Sprintf("sealed copies in the file that was packed for %s at %s", d.Detail, when), "who applies it applies this erasure too, once it has compared with anybody; destroy the file"}
	}
	return BeyondRow{fmt.Sprintf("the %s of %s, %s", d.Kind, when, d.Detail), "a restore of it applies this erasure before it shows anything" + whereKnown(local) + "; destroy it where the law asks for it"}
}

// whereKnown says of what went back in time where it is told of an erasure.
func whereKnown(local bool) string {
	if local {
		return " where the anchor is still beside it or another node of this organisation tells of it, and else shows records of others again: erase them again then"
	}
	return ""
}

// Stream gives send all records after a cursor, in the order of their arrival, and, with
// follow, goes on with those that arrive until ctx ends. idle is called whenever there are no
// more for now. What it gives is noted as a handout.
func (n *Node) Stream(ctx context.Context, from uint64, follow bool, send func(*Record) error, idle func()) error {
	return n.streamSeen(ctx, from, follow, seeAll, send, idle)
}

// streamSeen streams what see lets through.
func (n *Node) streamSeen(ctx context.Context, from uint64, follow bool, see func(*Record) bool, send func(*Record) error, idle func()) error {
	if err := n.usable(); err != nil {
		return err
	}
	h, err := n.handOut(ctx, handoutWatch, "", from, false)
	if err != nil {
		return err
	}
	sent := uint64(0)
	for {
		changed := n.Changed()
		var page []Record
		for page, err = n.Records(from, 256); err == nil && len(page) > 0; page, err = n.Records(from, 256) {
			for i := range page {
				if !see(&page[i]) {
					from = page[i].Cursor
					continue
				}
				if err = send(&page[i]); err != nil {
					return errors.Join(err, h.end(page[i].Cursor, sent+1))
				}
				from = page[i].Cursor
				sent++
			}
		}
		if err != nil || !follow {
			return errors.Join(err, h.end(from, sent))
		}
		idle()
		select {
		case <-ctx.Done():
			return h.end(from, sent)
		case <-changed:
		}
	}
}
