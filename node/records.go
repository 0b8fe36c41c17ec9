package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// ErrNotFound is returned for records that are not held, or not for this organisation: the
// two are not told apart.
var ErrNotFound = errors.New("not found")

// Record is a record as this organisation may see it.
type Record struct {
	ID             protocol.RecordID    `json:"id"`
	StixID         string               `json:"stix_id"`
	Type           string               `json:"type"`
	Topic          string               `json:"topic"`
	Originator     OrgRef               `json:"originator"`
	Publisher      OrgRef               `json:"publisher"`
	Handling       HandlingView         `json:"handling"`
	Modified       *time.Time           `json:"modified,omitempty"`
	Received       time.Time            `json:"received"`
	Added          time.Time            `json:"added,omitzero"` // when it came here, in microseconds: rises with the cursor, whatever the clock does
	Cursor         uint64               `json:"cursor"`
	Withdrawn      bool                 `json:"withdrawn,omitempty"`
	WithdrawReason string               `json:"withdraw_reason,omitempty"`
	Feed           protocol.FeedID      `json:"feed"`
	Seq            uint64               `json:"seq"`
	Agreement      protocol.AgreementID `json:"-"`
	OnBehalf       *BehalfView          `json:"on_behalf_of,omitempty"`    // its originator published it for another, which did not sign it
	Withheld       bool                 `json:"origin_withheld,omitempty"` // its originator had it of another, which it does not name
	Assessment     *stix.Assessment     `json:"assessment,omitempty"`      // what the object says of how far it can be relied on
	Object         json.RawMessage      `json:"object"`

	handling    *protocol.Handling
	definitions []*Record // of its markings, that say something of the assessment
}

// HandlingView is a handling in words.
type HandlingView struct {
	TLP           string   `json:"tlp"`
	PAP           string   `json:"pap,omitempty"`
	Countries     []string `json:"countries,omitempty"`
	PersonalData  string   `json:"personal_data"`
	Purposes      []string `json:"purposes,omitempty"`
	RetentionDays uint32   `json:"retention_days,omitempty"`
	Onward        string   `json:"onward"`
	Excluded      []OrgRef `json:"excluded,omitempty"`
	Named         int      `json:"named,omitempty"` // how many may receive it by name; who they are is theirs
}

func (s *snapshot) handlingView(h *protocol.Handling, own bool) HandlingView {
	v := HandlingView{TLP: h.TLP.String(), Countries: h.Countries, PersonalData: h.Personal.String(), Purposes: h.Purposes,
		RetentionDays: h.RetentionDays, Onward: h.Onward.Rule.String(), Named: len(h.Named)}
	if h.PAP != protocol.PAPUnset {
		v.PAP = h.PAP.String()
	}
	if h.Personal == protocol.PersonalUndetermined {
		v.PersonalData = "undetermined" // treated as all
	}
	if own {
		for _, o := range h.Excluded {
			v.Excluded = append(v.Excluded, s.ref(o))
		}
	}
	return v
}

func (n *Node) record(s *snapshot, e *corpus.Entry) Record {
	r := Record{ID: e.Record, StixID: e.StixID, Type: e.Type, Topic: e.Topic, Originator: s.ref(e.Originator), Publisher: s.ref(e.Publisher),
		Handling: s.handlingView(&e.Handling, e.Originator == n.org), Received: time.UnixMilli(int64(e.Received)).UTC(), Added: stampTime(e.Stamp), Cursor: e.Cursor,
		Withdrawn: e.Withdrawn, WithdrawReason: e.WithdrawReason, Feed: e.Feed, Seq: e.Seq, Agreement: e.Agreement, Object: json.RawMessage(e.Object), handling: &e.Handling}
	if e.Form.Principal != (protocol.OrgID{}) {
		r.OnBehalf = &BehalfView{Principal: s.ref(e.Form.Principal), Mandate: e.Form.Mandate}
	}
	r.Withheld = e.Form.Withheld
	if e.Modified > 0 {
		t := time.UnixMilli(int64(e.Modified)).UTC()
		r.Modified = &t
	}
	return r
}

// Query selects records. Conditions that are set must all hold.
type Query struct {
	Value     string // observable in any of the ways it is written; or text of it
	Type      string // STIX type
	Topic     string
	Since     time.Time // received at or after
	After     uint64    // cursor: received after that record
	Limit     int       // 0: DefaultLimit
	Withdrawn bool      // withdrawn records too
	Versions  bool      // all versions of an object, not only the newest
}

// DefaultLimit and MaxLimit bound the records of one answer.
const (
	DefaultLimit = 100
	MaxLimit     = 10000
)

// Search returns the records that match, and the cursor to go on from; zero at the end.
func (n *Node) Search(q Query) ([]Record, uint64, error) {
	if err := n.usable(); err != nil {
		return nil, 0, err
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	s := n.snap.Load()
	cq := corpus.Query{Value: q.Value, Type: q.Type, Topic: q.Topic, After: q.After, Limit: q.Limit, All: q.Versions, IncludeWithdrawn: q.Withdrawn}
	if !q.Since.IsZero() {
		cq.Since = uint64(max(q.Since.UnixMilli(), 0))
	}
	if out, next, ok := n.searchMirror(s, cq); ok {
		return out, next, nil
	}
	out := []Record{}
	var next uint64
	err := n.viewIndex(func(tx *store.Tx) error {
		entries, at, err := n.index.Search(tx, cq)
		if err != nil {
			return err
		}
		next = at
		out, err = n.recordReader(tx, s).all(out[:0], entries)
		return err
	})
	return out, next, err
}

// Records returns records in the order of their arrival, from after a cursor on: all that
// can be read, withdrawn ones marked. A record does not come again when it is withdrawn
// after it was handed out.
func (n *Node) Records(after uint64, limit int) ([]Record, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	s := n.snap.Load()
	var out []Record
	err := n.viewIndex(func(tx *store.Tx) error {
		entries, _, err := corpus.Since(tx, after, limit)
		if err != nil {
			return err
		}
		out, err = n.recordReader(tx, s).all(nil, entries)
		return err
	})
	return out, err
}

// Find returns the records that text names: a record id, the beginning of one, or a STIX id
// (all its versions, the newest first).
func (n *Node) Find(text string) ([]Record, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	s := n.snap.Load()
	if out, ok := n.findMirror(s, text); ok && len(out) > 0 {
		return out, nil
	}
	var out []Record
	err := n.viewIndex(func(tx *store.Tx) error {
		out = nil
		if strings.Contains(text, "--") {
			entries, err := n.index.ByStixID(tx, text)
			if err != nil {
				return err
			}
			out, err = n.recordReader(tx, s).all(nil, entries)
			return err
		}
		id, err := protocol.ParseRecordID(text)
		if err != nil {
			return fmt.Errorf("%q is neither a record id (rec:…) nor a STIX id (type--UUID)", text)
		}
		e, err := n.index.Get(tx, id)
		if err != nil || e == nil {
			return err
		}
		out, err = n.recordReader(tx, s).all(nil, []corpus.Entry{*e})
		return err
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("record %s: %w", text, ErrNotFound)
	}
	return out, err
}

// getEntry returns a record's entry; it is an error if there is none.
func (n *Node) getEntry(tx *store.Tx, id protocol.RecordID) (*corpus.Entry, error) {
	e, err := n.index.Get(tx, id)
	if err == nil && e == nil {
		err = fmt.Errorf("record %s: %w", id.Short(), ErrNotFound)
	}
	return e, err
}
