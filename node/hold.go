package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// A legal hold keeps what would be erased. The erasure takes place all the same, as everywhere: the
// record leaves the corpus, its tombstone stays, sealed copies are destroyed, and so it is neither
// shown nor served nor passed on again (I5). Ahead of that what was read of it is copied aside, under
// a block key of its own, and is shown in two places only, to persons who may administer the node. When
// no hold keeps the copy any more, its key is destroyed at once.

// keptDoc is a record that was kept aside. It is kept under the record.
type keptDoc struct {
	_       struct{}       `cbor:",toarray"`
	At      uint64         // when it would have been erased, Unix milliseconds
	By      protocol.OrgID // on whose word; corpus.Locally: this organisation's, or its retention's
	Reason  protocol.EraseReason
	Wrapped []byte // encoded keptRecord, as Tx.Wrap makes it; in a backup not wrapped
}

// keptRecord is what was read of it.
type keptRecord struct {
	_          struct{} `cbor:",toarray"`
	Record     protocol.RecordID
	Feed       protocol.FeedID
	Seq        uint64
	Topic      string
	Originator protocol.OrgID
	Publisher  protocol.OrgID
	Path       []protocol.OrgID // who passed it on, as far as that was known
	Handling   protocol.Handling
	Object     []byte
	StixID     string
	Type       string
	Modified   uint64 // Unix milliseconds
	Received   uint64 // the same
	Cursor     uint64
	Withdrawn  bool
	Withdrew   string // why
	Agreement  protocol.AgreementID
	Term       uint32
	Text       string // why it was read
	SealedAt   uint64 // Unix milliseconds
	Form       corpus.Form
}

func (k *keptRecord) entry() *corpus.Entry {
	return &corpus.Entry{Record: k.Record, Feed: k.Feed, Seq: k.Seq, Topic: k.Topic, Originator: k.Originator, Publisher: k.Publisher, Handling: k.Handling,
		Object: k.Object, StixID: k.StixID, Type: k.Type, Modified: k.Modified, Received: k.Received, Cursor: k.Cursor,
		Withdrawn: k.Withdrawn, WithdrawReason: k.Withdrew, Agreement: k.Agreement, Term: int(k.Term), Text: k.Text, SealedAt: k.SealedAt, Form: k.Form}
}

func keptOf(e *corpus.Entry, path []protocol.OrgID) *keptRecord {
	return &keptRecord{Record: e.Record, Feed: e.Feed, Seq: e.Seq, Topic: e.Topic, Originator: e.Originator, Publisher: e.Publisher, Path: path, Handling: e.Handling,
		Object: e.Object, StixID: e.StixID, Type: e.Type, Modified: e.Modified, Received: e.Received, Cursor: e.Cursor,
		Withdrawn: e.Withdrawn, Withdrew: e.WithdrawReason, Agreement: e.Agreement, Term: uint32(e.Term), Text: e.Text, SealedAt: e.SealedAt, Form: e.Form}
}

func keptKey(id protocol.RecordID) []byte { return append([]byte(kindKept), id[:]...) }

// maxHolds bounds the holds that stand: every erasure looks at them all.
const maxHolds = 1000

// keptChunk is about how many bytes of records one transaction keeps aside.
const keptChunk = 1 << 20

// holds are those that stand.
type holds struct {
	list     []protocol.SiblingHold
	matchers []*corpus.Matcher // nil where the hold is not of a value
}

// readHolds reads the holds that stand at a time, Unix milliseconds.
func readHolds(tx *store.Tx, now uint64) (*holds, error) {
	h := new(holds)
	err := scanDocs(tx, kindHold, func(_ []byte, d *protocol.SiblingHold) error {
		if d.Ended != 0 || d.Until != 0 && d.Until <= now {
			return nil
		}
		var m *corpus.Matcher
		if d.Value != "" {
			m = corpus.NewMatcher(d.Value)
		}
		h.list, h.matchers = append(h.list, *d), append(h.matchers, m)
		return nil
	})
	return h, err
}

// of lists the holds that keep a record.
func (h *holds) of(e *corpus.Entry) (out []*protocol.SiblingHold, err error) {
	for i := range h.list {
		d := &h.list[i]
		keeps := false
		switch {
		case h.matchers[i] != nil:
			var how corpus.Mention
			if how, err = h.matchers[i].Match(e.Object); err != nil {
				return nil, err
			}
			keeps = how != corpus.NotMentioned
		case !d.From.IsZero():
			keeps = d.From == e.Originator || d.From == e.Publisher || d.From == e.Form.Principal
		default:
			keeps = d.Record == e.Record
		}
		if keeps {
			out = append(out, d)
		}
	}
	return out, nil
}

// toKeep returns those of some records that a hold keeps, that are here, and that an erasure on the word
// of an organisation takes.
func (n *Node) toKeep(tx *store.Tx, ids []protocol.RecordID, by protocol.OrgID) (out []*corpus.Entry, err error) {
	h, err := readHolds(tx, uint64(nowMillis()))
	if err != nil || len(h.list) == 0 {
		return nil, err
	}
	for _, id := range ids {
		if held, err := tx.Get(keptKey(id)); err != nil {
			return nil, err
		} else if held != nil {
			continue
		}
		e, err := n.index.Get(tx, id)
		if err != nil {
			return nil, err
		}
		if e == nil || by != corpus.Locally && by != e.Originator && by != e.Publisher {
			continue
		}
		by, err := h.of(e)
		if err != nil {
			return nil, err
		}
		if len(by) > 0 {
			out = append(out, e)
		}
	}
	return out, nil
}

// keepAside keeps aside what of some records is under a hold, before they are erased on the word of an
// organisation. If the process ends before they are, the erasure goes on at the next start.
func (n *Node) keepAside(ids []protocol.RecordID, by protocol.OrgID, reason protocol.EraseReason) error {
	var list []*corpus.Entry
	if err := n.viewIndex(func(tx *store.Tx) (err error) { list, err = n.toKeep(tx, ids, by); return err }); err != nil {
		return err
	}
	for len(list) > 0 {
		var part []*keptRecord
		for size := 0; len(list) > 0 && size < keptChunk; list = list[1:] {
			part = append(part, keptOf(list[0], n.pathOf(list[0])))
			size += len(list[0].Object)
		}
		if err := n.st.Update(func(tx *store.Tx) error { return n.putKept(tx, part, by, reason) }); err != nil {
			return fmt.Errorf("keeping aside what is under a legal hold: %w", err)
		}
	}
	return nil
}

// keepRest is keepAside in the transaction that erases: for a hold that was set a moment before it.
func (n *Node) keepRest(tx *store.Tx, ids []protocol.RecordID, by protocol.OrgID, reason protocol.EraseReason) error {
	list, err := n.toKeep(tx, ids, by)
	var part []*keptRecord
	for _, e := range list {
		part = append(part, keptOf(e, nil))
	}
	if err != nil || len(part) == 0 {
		return err
	}
	return n.putKept(tx, part, by, reason)
}

func (n *Node) putKept(tx *store.Tx, list []*keptRecord, by protocol.OrgID, reason protocol.EraseReason) error {
	var ids []protocol.RecordID
	now := uint64(nowMillis())
	for _, k := range list {
		wrapped, err := tx.Wrap(keptKey(k.Record), protocol.Encode(k))
		if err != nil {
			return err
		}
		if err := putDoc(tx, kindKept, k.Record[:], &keptDoc{At: now, By: by, Reason: reason, Wrapped: wrapped}); err != nil {
			return err
		}
		ids = append(ids, k.Record)
	}
	d := n.details("keep under a legal hold", Caller{})
	d.Reason, d.Records = reason.String(), audit.NewRecordSet(ids, true)
	if by != corpus.Locally {
		d.Orgs = []protocol.OrgID{by}
	}
	_, err := n.account.Append(tx, audit.Erase, d)
	return err
}

// eachKept calls fn with what was kept aside, and is not destroyed.
func eachKept(tx *store.Tx, fn func(*keptDoc, *keptRecord) error) error {
	return scanDocs(tx, kindKept, func(id []byte, d *keptDoc) error {
		k, err := d.open(tx, protocol.RecordID(id))
		if errors.Is(err, store.ErrDestroyed) {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(d, k)
	})
}

func (d *keptDoc) open(tx *store.Tx, id protocol.RecordID) (*keptRecord, error) {
	plain, err := tx.Unwrap(keptKey(id), d.Wrapped)
	if err != nil {
		return nil, err
	}
	k := new(keptRecord)
	return k, protocol.Decode(plain, maxDocument, k)
}

// dropUnheld destroys what no hold keeps any more.
func (n *Node) dropUnheld() error {
	for {
		var gone []protocol.RecordID
		read := func(tx *store.Tx) error {
			gone = nil
			h, err := readHolds(tx, uint64(nowMillis()))
			if err != nil {
				return err
			}
			return scanDocs(tx, kindKept, func(id []byte, d *keptDoc) error {
				if len(gone) >= 256 {
					return nil
				}
				k, err := d.open(tx, protocol.RecordID(id))
				if errors.Is(err, store.ErrDestroyed) { // the store is older than its keys
					gone = append(gone, protocol.RecordID(id))
					return nil
				}
				if err != nil {
					return err
				}
				by, err := h.of(k.entry())
				if err == nil && len(by) == 0 {
					gone = append(gone, k.Record)
				}
				return err
			})
		}
		if err := n.viewIndex(read); err != nil || len(gone) == 0 {
			return err
		}
		if err := n.st.Update(func(tx *store.Tx) error {
			if err := read(tx); err != nil || len(gone) == 0 { // holds may have changed
				return err
			}
			for _, id := range gone {
				var d keptDoc
				if _, err := getDoc(tx, kindKept, id[:], &d); err != nil {
					return err
				}
				if err := errors.Join(tx.Destroy(d.Wrapped), tx.Delete(keptKey(id))); err != nil {
					return err
				}
			}
			return n.auditErase(tx, Caller{}, n.org, "erase what was held", gone, protocol.EraseLegal, nil)
		}); err != nil {
			return err
		}
	}
}

// HoldRequest asks for a legal hold of one of a record, a value and an organisation.
type HoldRequest struct {
	Record    protocol.RecordID
	Value     string
	From      protocol.OrgID
	Authority string // on whose word: a court's order, a rule
	Reason    string
	Until     time.Time // zero: until it is released
}

// HoldInfo is a legal hold as it is shown.
type HoldInfo struct {
	ID        string     `json:"id"`
	Record    string     `json:"record,omitempty"`
	Value     string     `json:"value,omitempty"`
	From      *OrgRef    `json:"from,omitempty"`
	Authority string     `json:"authority"`
	Reason    string     `json:"reason"`
	Person    string     `json:"person,omitempty"`
	At        time.Time  `json:"at"`
	Until     *time.Time `json:"until,omitempty"`
	State     string     `json:"state"` // stands, released, over
	Ended     *time.Time `json:"ended,omitempty"`
	EndPerson string     `json:"released_by,omitempty"`
	EndReason string     `json:"release_reason,omitempty"`
	Kept      int        `json:"kept"` // records that would have been erased
}

// What says in words what a hold is of.
func (h *HoldInfo) What() string {
	switch {
	case h.From != nil:
		return "from " + h.From.Name
	case h.Value != "":
		return "about " + h.Value
	}
	return h.Record
}

// holdID is the text form of a hold's id.
func holdID(id [32]byte) string { return "hold:" + hex.EncodeToString(id[:8]) }

func (s *snapshot) holdInfo(d *protocol.SiblingHold, now uint64) HoldInfo {
	h := HoldInfo{ID: holdID(d.ID), Value: d.Value, Authority: d.Authority, Reason: d.Reason, Person: d.Person, At: millis(d.At), State: "stands",
		EndPerson: d.EndPerson, EndReason: d.EndReason}
	if d.Record != (protocol.RecordID{}) {
		h.Record = d.Record.String()
	}
	if !d.From.IsZero() {
		from := s.ref(d.From)
		h.From = &from
	}
	if d.Until != 0 {
		until := millis(d.Until)
		h.Until = &until
		if d.Until <= now {
			h.State = "over"
		}
	}
	if d.Ended != 0 {
		ended := millis(d.Ended)
		if h.Ended = &ended; d.EndPerson != "" || d.EndReason != "" {
			h.State = "released"
		} else {
			h.State = "over"
		}
	}
	return h
}

// AddHold sets a legal hold, durably: from then on nothing that it is of is erased without a copy of it
// being kept aside.
func (n *Node) AddHold(ctx context.Context, q HoldRequest) (*HoldInfo, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	now := uint64(nowMillis())
	c := CallerOf(ctx)
	d := &protocol.SiblingHold{Record: q.Record, Value: strings.TrimSpace(q.Value), From: q.From, Authority: q.Authority, Reason: q.Reason, Person: c.Person, At: now}
	if !q.Until.IsZero() {
		d.Until = uint64(max(q.Until.UnixMilli(), 0))
		if d.Until <= now {
			return nil, protocol.Errorf(protocol.ErrMalformed, "the hold would be over already; give a later --until, or none")
		}
	}
	if d.Reason == "" {
		return nil, protocol.Errorf(protocol.ErrMalformed, "say why it is held")
	}
	_, _ = rand.Read(d.ID[:])
	if err := d.Validate(); err != nil {
		return nil, err
	}
	err := n.st.Update(func(tx *store.Tx) error {
		h, err := readHolds(tx, now)
		if err != nil {
			return err
		}
		if len(h.list) >= maxHolds {
			return protocol.Errorf(protocol.ErrOversize, "%d legal holds stand, as many as there may be; release some, or hold an organisation or a value in place of records", len(h.list))
		}
		return errors.Join(n.auditHold(tx, c, "hold", d, d.Reason), putDoc(tx, kindHold, d.ID[:], d))
	})
	if err != nil {
		return nil, err
	}
	n.tellHolds()
	info := n.snap.Load().holdInfo(d, now)
	return &info, nil
}

// tellHolds has siblings compare.
func (n *Node) tellHolds() {
	if net := n.net.Load(); net != nil {
		net.tellSiblings()
	}
}

// auditHold notes that a hold was set or released, in the transaction that does it.
func (n *Node) auditHold(tx *store.Tx, c Caller, act string, d *protocol.SiblingHold, reason string) error {
	info := n.snap.Load().holdInfo(d, d.At)
	e := n.details(act, c)
	e.Reason = audit.Clip(reason, audit.MaxText)
	e.Text = audit.Clip(fmt.Sprintf("%s, %s, on the authority of %s", info.ID, info.What(), d.Authority), audit.MaxText)
	if !d.From.IsZero() {
		e.Orgs = []protocol.OrgID{d.From}
	}
	if d.Record != (protocol.RecordID{}) {
		e.Records = audit.NewRecordSet([]protocol.RecordID{d.Record}, true)
	}
	_, err := n.account.Append(tx, audit.Erase, e)
	return err
}

// findHold finds a hold by its id, or by how that begins.
func findHold(tx *store.Tx, text string) (*protocol.SiblingHold, error) {
	var found []protocol.SiblingHold
	err := scanDocs(tx, kindHold, func(_ []byte, d *protocol.SiblingHold) error {
		if len(text) > len("hold:")+5 && strings.HasPrefix(holdID(d.ID), text) {
			found = append(found, *d)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, fmt.Errorf("legal hold %q: %w; 'entente hold list' shows them", text, ErrNotFound)
	case len(found) > 1:
		return nil, fmt.Errorf("%d legal holds begin with %q; give more of the id", len(found), text)
	}
	return &found[0], nil
}

// ReleaseHold ends a legal hold. What only this hold kept is destroyed before it returns.
func (n *Node) ReleaseHold(ctx context.Context, id, reason string) (*HoldInfo, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	if reason == "" || len(reason) > protocol.MaxTextSize {
		return nil, protocol.Errorf(protocol.ErrMalformed, "say why it is released, in at most %d bytes", protocol.MaxTextSize)
	}
	var d *protocol.SiblingHold
	if err := n.st.View(func(tx *store.Tx) (err error) { d, err = findHold(tx, id); return err }); err != nil {
		return nil, err
	}
	now := uint64(nowMillis())
	if err := n.endHold(d, now, CallerOf(ctx), "release a hold", reason); err != nil {
		return nil, err
	}
	if err := errors.Join(n.dropUnheld(), n.dropUnheldDead()); err != nil {
		return nil, err
	}
	n.tellHolds()
	info := n.snap.Load().holdInfo(d, now)
	return &info, nil
}

// endHold notes that a hold ended: beside the data directory first, so that data that is put back does
// not show again what it kept.
func (n *Node) endHold(d *protocol.SiblingHold, at uint64, c Caller, act, reason string) error {
	if n.anchor != nil {
		if err := n.anchor.Append(anchor.Erasure{Released: []anchor.ReleasedHold{{ID: d.ID, At: at}}}); err != nil {
			return err
		}
	}
	return n.st.Update(func(tx *store.Tx) error {
		if ok, err := getDoc(tx, kindHold, d.ID[:], d); err != nil {
			return err
		} else if !ok || d.Ended != 0 {
			return fmt.Errorf("the legal hold %s ended already", holdID(d.ID))
		}
		d.Ended, d.EndPerson, d.EndReason = at, c.Person, reason
		return errors.Join(n.auditHold(tx, c, act, d, reason), putDoc(tx, kindHold, d.ID[:], d))
	})
}

// endHolds ends the holds whose time is over, and destroys what no hold keeps any more.
func (n *Node) endHolds() error {
	now := uint64(nowMillis())
	var over []protocol.SiblingHold
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindHold, func(_ []byte, d *protocol.SiblingHold) error {
			if d.Ended == 0 && d.Until != 0 && d.Until <= now {
				over = append(over, *d)
			}
			return nil
		})
	})
	for i := range over {
		if err == nil {
			err = n.endHold(&over[i], over[i].Until, Caller{}, "a hold is over", "")
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(n.dropUnheld(), n.dropUnheldDead())
}

// replayReleased ends a hold again that the journal says ended.
func (n *Node) replayReleased(r *anchor.ReleasedHold) error {
	return n.st.Update(func(tx *store.Tx) error {
		d := new(protocol.SiblingHold)
		if ok, err := getDoc(tx, kindHold, r.ID[:], d); err != nil || !ok || d.Ended != 0 {
			return err
		}
		d.Ended, d.EndReason = r.At, "as the journal says"
		return errors.Join(n.auditHold(tx, Caller{}, "release a hold again, as the journal says", d, ""), putDoc(tx, kindHold, d.ID[:], d))
	})
}

// joinHold joins a hold of a sibling with what is held of it.
func joinHold(tx *store.Tx, h *protocol.SiblingHold) error {
	var held protocol.SiblingHold
	ok, err := getDoc(tx, kindHold, h.ID[:], &held)
	if err != nil || tooLate(h.At) || ok && !endsBefore(h, &held) {
		return err
	}
	return putDoc(tx, kindHold, h.ID[:], h)
}

// endsBefore reports whether of two accounts of a hold the first counts.
func endsBefore(a, b *protocol.SiblingHold) bool {
	switch {
	case a.Ended == b.Ended:
		return bytes.Compare(protocol.Encode(a), protocol.Encode(b)) < 0
	case a.Ended == 0 || b.Ended == 0:
		return b.Ended == 0
	}
	return a.Ended < b.Ended
}

// Holds lists the legal holds, the oldest first: those that stand, and with all also those that ended.
func (n *Node) Holds(all bool) ([]HoldInfo, error) {
	s, now := n.snap.Load(), uint64(nowMillis())
	list := []HoldInfo{}
	err := n.viewIndex(func(tx *store.Tx) error {
		list = list[:0]
		h, err := readHolds(tx, now)
		if err != nil {
			return err
		}
		kept := map[[32]byte]int{}
		if err := eachKept(tx, func(_ *keptDoc, k *keptRecord) error {
			by, err := h.of(k.entry())
			for _, d := range by {
				kept[d.ID]++
			}
			return err
		}); err != nil {
			return err
		}
		return scanDocs(tx, kindHold, func(_ []byte, d *protocol.SiblingHold) error {
			if info := s.holdInfo(d, now); all || info.State == "stands" {
				info.Kept = kept[d.ID]
				list = append(list, info)
			}
			return nil
		})
	})
	slices.SortFunc(list, func(a, b HoldInfo) int { return a.At.Compare(b.At) })
	return list, err
}

// countHolds counts the holds that stand.
func (n *Node) countHolds() (count int, err error) {
	now := uint64(nowMillis())
	err = n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindHold, func(_ []byte, d *protocol.SiblingHold) error {
			if d.Ended == 0 && (d.Until == 0 || d.Until > now) {
				count++
			}
			return nil
		})
	})
	return count, err
}

// countKept counts the records that are kept aside. It reads them all.
func (n *Node) countKept() (count int, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		return tx.Scan([]byte(kindKept), nil, false, func(_, _ []byte) (bool, error) { count++; return true, nil })
	})
	return count, err
}

// KeptRecord is a record that would have been erased, and is under a legal hold.
type KeptRecord struct {
	Record
	Erased time.Time `json:"would_have_been_erased"`
	Why    string    `json:"erased_because"`
	Path   []OrgRef  `json:"path"` // who passed it on, as far as it was known when it was kept
	Held   []string  `json:"held_by"`
	Hold   string    `json:"notice"` // the two in a sentence
}

func (n *Node) keptView(s *snapshot, d *keptDoc, k *keptRecord, by []*protocol.SiblingHold) KeptRecord {
	out := KeptRecord{Record: n.record(s, k.entry()), Erased: millis(d.At), Path: []OrgRef{}, Held: []string{}}
	switch {
	case d.Reason == protocol.EraseExpired:
		out.Why = "its retention ended"
	case d.By == corpus.Locally:
		out.Why = "erased here, reason: " + d.Reason.String()
	case d.By == k.Originator:
		out.Why = fmt.Sprintf("erased by its originator %s, reason: %s", s.name(d.By), d.Reason)
	default:
		out.Why = fmt.Sprintf("erased by its publisher %s, reason: %s", s.name(d.By), d.Reason)
	}
	for _, o := range k.Path {
		out.Path = append(out.Path, s.ref(o))
	}
	for _, h := range by {
		out.Held = append(out.Held, holdID(h.ID))
	}
	out.Hold = fmt.Sprintf("under a legal hold; would have been erased on %s: %s", out.Erased.Format(time.DateOnly), out.Why)
	return out
}

// Kept lists what would have been erased of what the reader may read, and is under one hold; "": under
// any. That it was looked at is for the caller to note before it is shown.
func (r *Reader) Kept(hold string) ([]KeptRecord, error) {
	if err := r.n.usable(); err != nil {
		return nil, err
	}
	list := []KeptRecord{}
	s, see := r.n.snap.Load(), r.sees(rules.Read)
	err := r.n.viewIndex(func(tx *store.Tx) error {
		list = list[:0]
		var only *protocol.SiblingHold
		h, err := readHolds(tx, uint64(nowMillis()))
		if err == nil && hold != "" {
			only, err = findHold(tx, hold)
		}
		if err != nil {
			return err
		}
		return eachKept(tx, func(d *keptDoc, k *keptRecord) error {
			by, err := h.of(k.entry())
			if err != nil || only != nil && !slices.ContainsFunc(by, func(x *protocol.SiblingHold) bool { return x.ID == only.ID }) {
				return err
			}
			if v := r.n.keptView(s, d, k, by); len(by) > 0 && see(&v.Record) {
				list = append(list, v)
			}
			return nil
		})
	})
	return list, err
}

// keptUnderHold counts which of some records are kept aside.
func (n *Node) keptUnderHold(ids []protocol.RecordID) (out map[protocol.RecordID]bool, err error) {
	out = map[protocol.RecordID]bool{}
	err = n.st.View(func(tx *store.Tx) error {
		for _, id := range ids {
			v, err := tx.Get(keptKey(id))
			if err != nil {
				return err
			}
			if v != nil {
				out[id] = true
			}
		}
		return nil
	})
	return out, err
}

// dumpKept returns a kept record as it stands in a backup, which is sealed itself: not wrapped. One that
// was destroyed since the state that the backup is of is empty.
func dumpKept(tx *store.Tx, id, value []byte) ([]byte, error) {
	var d keptDoc
	err := protocol.Decode(value, maxDocument, &d)
	if err == nil {
		d.Wrapped, err = tx.Unwrap(append([]byte(kindKept), id...), d.Wrapped)
	}
	if errors.Is(err, store.ErrDestroyed) {
		d.Wrapped, err = nil, nil
	}
	return protocol.Encode(&d), err
}

// checkKept checks what dumpKept made.
func checkKept(id, value []byte) error {
	var d keptDoc
	if err := errors.Join(idOf(id, 32), protocol.Decode(value, maxDocument, &d)); err != nil || len(d.Wrapped) == 0 {
		return err
	}
	var k keptRecord
	if err := protocol.Decode(d.Wrapped, maxDocument, &k); err != nil {
		return err
	}
	if !bytes.Equal(k.Record[:], id) {
		return protocol.Errorf(protocol.ErrWrongContext, "what is under a legal hold is another record than it is kept as")
	}
	return nil
}

// loadKept puts back what dumpKept made.
func loadKept(tx *store.Tx, id, value []byte) error {
	var d keptDoc
	err := protocol.Decode(value, maxDocument, &d)
	if err != nil || len(d.Wrapped) == 0 {
		return err
	}
	if d.Wrapped, err = tx.Wrap(append([]byte(kindKept), id...), d.Wrapped); err != nil {
		return err
	}
	return putDoc(tx, kindKept, id, &d)
}
