package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// What arrives under no agreement, or outside of its terms, is set aside. Its publisher cannot know,
// unless it is told: by a letter, when a person says so.

// refusalDoc is what a partner told.
type refusalDoc struct {
	_   struct{} `cbor:",toarray"`
	Org protocol.OrgID
	Raw []byte // encoded protocol.Refusal
}

// maxToldBy bounds what is kept of what one partner told.
const maxToldBy = 200

// TellRefused tells the publisher of something that is in quarantine, by its id there, that it was
// set aside, and why. Reasons that are this organisation's own business are not told.
func (n *Node) TellRefused(id string) (OrgRef, error) {
	list, err := n.quarantined(id)
	if err != nil {
		return OrgRef{}, err
	}
	if id == "" || len(list) == 0 {
		return OrgRef{}, fmt.Errorf("quarantine %q: %w", id, ErrNotFound)
	}
	s := n.snap.Load()
	for i := range list {
		q := &list[i]
		r := &protocol.Refusal{Version: 1, Feed: q.Feed, Seq: q.Seq, Record: q.Record, Reason: q.Reason, Text: q.Text, At: q.At}
		if !told[policy.Reason(q.Reason)] {
			r.Text = "it was set aside"
		}
		if err := r.Validate(); err != nil {
			return OrgRef{}, err
		}
		letter := &pendingLetter{Parties: []protocol.OrgID{q.Publisher}, Kind: protocol.LetterRefusal, Content: protocol.Encode(r)}
		if err := n.st.Update(func(tx *store.Tx) error { return keepLetter(tx, letter) }); err != nil {
			return OrgRef{}, err
		}
	}
	n.sendDecided()
	return s.ref(list[0].Publisher), nil
}

// told are the reasons whose text says nothing that both sides do not know: it stands in the
// agreement, or in the record.
var told = map[policy.Reason]bool{policy.ReasonNoAgreement: true, policy.ReasonNotInForce: true, policy.ReasonTopic: true, policy.ReasonKind: true,
	policy.ReasonTLP: true, policy.ReasonPAP: true, policy.ReasonCountry: true, policy.ReasonPersonalData: true, policy.ReasonPurpose: true,
	policy.ReasonConfidence: true, policy.ReasonNoTLP: true, policy.ReasonRedUnnamed: true, policy.ReasonOnward: true, policy.ReasonProvenance: true}

func (n *Node) receiveRefusal(s *snapshot, l *protocol.Letter) error {
	var r protocol.Refusal
	if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &r); err != nil {
		return err
	}
	key := append(append([]byte(nil), l.Sender[:]...), entryKey(r.Feed, r.Seq)...)
	key = append(key, r.Record[:]...)
	return n.st.Update(func(tx *store.Tx) error {
		f, err := tx.Feed(r.Feed)
		if err != nil {
			return err
		}
		if f == nil || s.signers[f.Origin.Signing].org != n.org || r.Seq == 0 || r.Seq > f.Seq {
			return protocol.Errorf(protocol.ErrWrongContext, "refusal is of an entry that this organisation did not publish")
		}
		count := 0
		err = tx.Scan(append([]byte(kindRefusal), l.Sender[:]...), nil, false, func(_, _ []byte) (bool, error) { count++; return count < maxToldBy, nil })
		if err != nil {
			return err
		}
		if held, err := tx.Get(append([]byte(kindRefusal), key...)); err != nil || held == nil && count >= maxToldBy {
			return err // what is known says enough
		}
		d := n.details("told that it was set aside", Caller{})
		d.By, d.Reason, d.Text = l.Sender, audit.Clip(r.Reason, audit.MaxText), audit.Clip(r.Text, audit.MaxText)
		d.Records.Places = []audit.Place{{Feed: r.Feed, From: r.Seq, To: r.Seq}}
		if r.Record != (protocol.RecordID{}) {
			d.Records = audit.NewRecordSet([]protocol.RecordID{r.Record}, true)
		}
		return errors.Join(n.account.AppendForeign(tx, audit.Refuse, d), putDoc(tx, kindRefusal, key, &refusalDoc{Org: l.Sender, Raw: protocol.Encode(&r)}))
	})
}

// RefusalInfo is what a partner set aside of what this organisation published.
type RefusalInfo struct {
	Org    OrgRef          `json:"organisation"`
	Feed   protocol.FeedID `json:"feed"`
	Seq    uint64          `json:"seq"`
	Record string          `json:"record,omitempty"`
	Reason string          `json:"reason"`
	Text   string          `json:"text"`
	At     time.Time       `json:"at"` // by the partner's clock
}

// Refusals lists what partners told that they set aside.
func (n *Node) Refusals() ([]RefusalInfo, error) {
	s := n.snap.Load()
	list := []RefusalInfo{}
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindRefusal, func(_ []byte, d *refusalDoc) error {
			var r protocol.Refusal
			if err := protocol.Decode(d.Raw, maxDocument, &r); err != nil {
				return err
			}
			info := RefusalInfo{Org: s.ref(d.Org), Feed: r.Feed, Seq: r.Seq, Reason: r.Reason, Text: r.Text, At: millis(r.At)}
			if r.Record != (protocol.RecordID{}) {
				info.Record = r.Record.String()
			}
			list = append(list, info)
			return nil
		})
	})
	return list, err
}
