package corpus

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// withdrawalDoc is what is kept of a withdrawal.
type withdrawalDoc struct {
	_      struct{} `cbor:",toarray"`
	Reason string
	At     uint64
	Feed   protocol.FeedID // of the entry that says so
	Seq    uint64
}

func withdrawalKey(record protocol.RecordID, by protocol.OrgID) []byte {
	return append(append([]byte(kWithdrawal), record[:]...), by[:]...)
}

// Withdrawal is what an entry says of a record.
type Withdrawal struct {
	Record protocol.RecordID
	By     protocol.OrgID
	Reason string
	At     uint64 // Unix milliseconds, by the clock of who says so
	Noted  uint64 // the same, by this node's
	Feed   protocol.FeedID
	Seq    uint64
}

// Withdraw notes that an organisation withdrew a record.
// The record need not be here yet; if it is, it stays and is marked. A withdrawal by
// somebody who neither made the record nor sent it, and on whose behalf it was not published, has no effect. The first one of each
// organisation counts; others are noted, in case that is taken back.
func (x *Index) Withdraw(kv KV, w Withdrawal) error {
	before, err := x.Get(kv, w.Record)
	if err == nil {
		err = withdraw(kv, w)
	}
	if err != nil || before == nil {
		return err
	}
	return x.marked(kv, before, w.Noted)
}

// marked notes that a record is withdrawn, or is not any more, if that is so now; and if another
// withdrawal counts, which gives another reason.
func (x *Index) marked(kv KV, before *Entry, at uint64) error {
	after := *before
	after.Withdrawn, after.WithdrawReason, after.WithdrawnAt = false, "", 0
	if err := x.reader(kv).withdrawal(&after); err != nil ||
		after.Withdrawn == before.Withdrawn && after.WithdrawReason == before.WithdrawReason && after.WithdrawnAt == before.WithdrawnAt {
		return err
	}
	kind := ChangeRestored
	if after.Withdrawn {
		kind = ChangeWithdrawn
	}
	return changer{kv, at}.note(kind, before.Record, nil)
}

func withdraw(kv KV, w Withdrawal) error {
	key := withdrawalKey(w.Record, w.By)
	held, err := kv.Get(key)
	if err != nil {
		return err
	}
	d := withdrawalDoc{Reason: w.Reason, At: w.At, Feed: w.Feed, Seq: w.Seq}
	if held != nil {
		var first withdrawalDoc
		if err := protocol.Decode(held, 2*protocol.MaxTextSize, &first); err != nil {
			return fmt.Errorf("reading withdrawal: %w", err)
		}
		if first.Feed == w.Feed && first.Seq == w.Seq {
			return nil
		}
		key = binary.BigEndian.AppendUint64(append(key, w.Feed[:]...), w.Seq)
	}
	if err := kv.Set(key, protocol.Encode(&d)); err != nil {
		return err
	}
	return kv.Set(withdrawsKey(w.Feed, w.Seq, w.Record, w.By), nil)
}

func withdrawsKey(feed protocol.FeedID, seq uint64, record protocol.RecordID, by protocol.OrgID) []byte {
	k := binary.BigEndian.AppendUint64(append([]byte(kWithdraws), feed[:]...), seq)
	return append(append(k, record[:]...), by[:]...)
}

// TakeBack forgets what an entry withdrew, because the entry does not count any more. What other
// entries say of the same records stays. At is the time, Unix milliseconds.
func (x *Index) TakeBack(kv KV, feed protocol.FeedID, seq, at uint64) error {
	prefix := binary.BigEndian.AppendUint64(append([]byte(kWithdraws), feed[:]...), seq)
	var keys [][]byte
	err := kv.Scan(prefix, nil, false, func(k, _ []byte) (bool, error) {
		if len(k) != len(prefix)+64 {
			return false, damaged("index of withdrawals")
		}
		keys = append(keys, slices.Clone(k))
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, k := range keys {
		before, err := x.Get(kv, protocol.RecordID(k[len(prefix):]))
		if err != nil {
			return err
		}
		if err := takeBack(kv, k[len(prefix):], k[len(kWithdraws):len(prefix)]); err != nil {
			return fmt.Errorf("taking a withdrawal back: %w", err)
		}
		if err := kv.Delete(k); err != nil {
			return err
		}
		if before != nil {
			if err := x.marked(kv, before, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeBack forgets what one entry says of one record: name is the record and the organisation,
// place the feed and the seq.
func takeBack(kv KV, name, place []byte) error {
	first := append([]byte(kWithdrawal), name...)
	if err := kv.Delete(append(slices.Clone(first), place...)); err != nil {
		return err
	}
	held, err := kv.Get(first)
	if err != nil || held == nil {
		return err
	}
	var d withdrawalDoc
	if err := protocol.Decode(held, 2*protocol.MaxTextSize, &d); err != nil {
		return err
	}
	if !slices.Equal(place, binary.BigEndian.AppendUint64(slices.Clone(d.Feed[:]), d.Seq)) {
		return nil
	}
	var next, value []byte
	if err := kv.Scan(first, append(slices.Clone(first), 0), false, func(k, v []byte) (bool, error) {
		next, value = slices.Clone(k), slices.Clone(v)
		return false, nil
	}); err != nil {
		return err
	}
	if next == nil {
		return kv.Delete(first)
	}
	if err := kv.Delete(next); err != nil {
		return err
	}
	return kv.Set(first, value)
}

// withdrawal marks e if it was withdrawn.
func (r *reader) withdrawal(e *Entry) error {
	for i, by := range []protocol.OrgID{e.Originator, e.Publisher, e.Form.Principal} {
		if i == 1 && by == e.Originator || by == (protocol.OrgID{}) {
			continue
		}
		v, err := r.kv.Get(withdrawalKey(e.Record, by))
		if err != nil {
			return fmt.Errorf("reading withdrawal: %w", err)
		}
		if v == nil {
			continue
		}
		var d withdrawalDoc
		if err := protocol.Decode(v, 2*protocol.MaxTextSize, &d); err != nil {
			return fmt.Errorf("reading withdrawal: %w", err)
		}
		e.Withdrawn, e.WithdrawReason, e.WithdrawnAt = true, d.Reason, d.At
		return nil
	}
	return nil
}

func cloneHandling(h *protocol.Handling) protocol.Handling {
	c := *h
	c.Countries = slices.Clone(h.Countries)
	c.Purposes = slices.Clone(h.Purposes)
	c.Excluded = slices.Clone(h.Excluded)
	c.Named = slices.Clone(h.Named)
	c.Onward.Orgs = slices.Clone(h.Onward.Orgs)
	c.Onward.Kinds = slices.Clone(h.Onward.Kinds)
	return c
}
