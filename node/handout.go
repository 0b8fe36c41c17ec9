package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
)

// What leaves a node in a file or a stream is noted, so that an erasure can say which copies
// it did not reach: by whom and when they were taken, never what they say.

// Handout is something that left this node.
type Handout struct {
	ID      uint64    `json:"id"`
	Kind    string    `json:"kind"`   // export, watch, stream, carried file, backup
	Detail  string    `json:"detail"` // its format, or for whom it was
	At      time.Time `json:"at"`
	Records uint64    `json:"records,omitempty"` // of exports and streams
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
}

// Kinds of handouts.
const (
	handoutExport = "export"
	handoutWatch  = "watch"
	handoutCarry  = "carried file"
	handoutBackup = "backup"
	handoutStream = "stream"
)

// maxHandouts bounds the handouts that are remembered; the oldest go first.
const maxHandouts = 10000

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
	err := n.st.Update(func(tx *store.Tx) error {
		var last uint64
		count := 0
		var first []byte
		err := tx.Scan([]byte(kindHandout), nil, false, func(k, _ []byte) (bool, error) {
			if id := k[len(kindHandout):]; len(id) == 8 {
				_, last = splitEntryKey(append(make([]byte, 32), id...))
				if count++; first == nil {
					first = slices.Clone(k)
				}
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		if count >= maxHandouts {
			if err := tx.Delete(first); err != nil {
				return err
			}
		}
		h.id = be64(last + 1)
		return errors.Join(n.auditHandout(tx, h.caller, &h.doc), putDoc(tx, kindHandout, h.id, &h.doc))
	})
	if err != nil {
		return nil, fmt.Errorf("noting what leaves this node: %w", err)
	}
	return h, nil
}

// end notes up to which cursor it went. What left nothing is forgotten.
func (h *handout) end(to, records uint64) error {
	h.doc.To, h.doc.Records, h.doc.Open = to, records, false
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
	open := map[string]handoutDoc{}
	return n.st.Update(func(tx *store.Tx) error {
		err := scanDocs(tx, kindHandout, func(id []byte, d *handoutDoc) error {
			if d.Open {
				open[string(id)] = *d
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
			d.Open, d.To = false, c.Cursor
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
			list = append(list, Handout{ID: number, Kind: d.Kind, Detail: d.Detail, At: millis(d.At), Records: d.Records, Open: d.Open})
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
				found = append(found, *d)
			}
			return nil
		})
	})
	slices.Reverse(found)
	for i, d := range found {
		if i == maxCopies {
			rows = append(rows, BeyondRow{fmt.Sprintf("%d more exports, streams, carried files and backups, made before these", len(found)-i), "'entente handouts' lists them"})
			break
		}
		rows = append(rows, d.row(local))
	}
	return rows, err
}

func (d *handoutDoc) row(local bool) BeyondRow {
	when := millis(d.At).Format("2006-01-02 15:04 MST")
	switch d.Kind {
	case handoutExport:
		return BeyondRow{fmt.Sprintf("the export as %s of %s, %d records", d.Detail, when, d.Records), "erase it where it was taken to, and in the systems that read it"}
	case handoutWatch:
		return BeyondRow{fmt.Sprintf("the stream that was read since %s, %d records", when, d.Records), "erase it in the system that read it; it is told of withdrawals only"}
	case handoutStream:
		return BeyondRow{fmt.Sprintf("the stream %s that was read since %s, %d records", d.Detail, when, d.Records), "who reads it was told of the erasure, or will be when it reads on; erase it in the system that read it if it does not act on that"}
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
