package corpus

import (
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// withdrawalDoc is what is kept of a withdrawal.
type withdrawalDoc struct {
	_      struct{} `cbor:",toarray"`
	Reason string
	At     uint64
}

func withdrawalKey(record protocol.RecordID, by protocol.OrgID) []byte {
	return append(append([]byte(kWithdrawal), record[:]...), by[:]...)
}

// Withdraw notes that an organisation withdrew a record, at a time in Unix milliseconds.
// The record need not be here yet; if it is, it stays and is marked. A withdrawal by
// somebody who neither made the record nor sent it has no effect. The first one of each
// organisation counts.
func Withdraw(kv KV, record protocol.RecordID, by protocol.OrgID, reason string, at uint64) error {
	key := withdrawalKey(record, by)
	held, err := kv.Get(key)
	if err != nil || held != nil {
		return err
	}
	return kv.Set(key, protocol.Encode(&withdrawalDoc{Reason: reason, At: at}))
}

// withdrawal marks e if it was withdrawn.
func (r *reader) withdrawal(e *Entry) error {
	for i, by := range []protocol.OrgID{e.Originator, e.Publisher} {
		if i == 1 && by == e.Originator {
			break
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
