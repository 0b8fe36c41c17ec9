package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// Explanation accounts for one record. Of own records it names all readers and all who were
// refused; of received ones why we may read it and to whom we may pass it on, and never its
// other recipients, which are nobody's business but the publisher's.
type Explanation struct {
	Record    Record     `json:"record"`
	Own       bool       `json:"own"`
	SealedAt  *time.Time `json:"sealed_at,omitempty"`
	Readers   []Verdict  `json:"readers,omitempty"`     // own records
	Refused   []Verdict  `json:"refused,omitempty"`     // own records
	Why       *Verdict   `json:"why,omitempty"`         // received records: why we may read it
	PassOn    []Verdict  `json:"pass_on,omitempty"`     // received records: to whom we may pass it on
	DoNotPass []Verdict  `json:"not_pass_on,omitempty"` // received records: to whom not, and why
	PassedTo  []OrgRef   `json:"passed_to,omitempty"`   // received records: for whom it was sealed here
	Path      []Hop      `json:"provenance"`
	Holders   Holders    `json:"holders"`             // who may store it, sealed, whether they read it or not
	Delivered []Delivery `json:"delivered,omitempty"` // own records: who has signed to hold it, and to have opened it
}

// Verdict is one decision in words.
type Verdict struct {
	Org       OrgRef        `json:"organisation"`
	Allowed   bool          `json:"allowed"`
	Reason    policy.Reason `json:"reason"`
	Text      string        `json:"text"`
	Agreement string        `json:"agreement,omitempty"`
	Title     string        `json:"agreement_title,omitempty"`
	Term      int           `json:"term,omitempty"`     // from 1
	Persons   int           `json:"persons,omitempty"`  // who must approve before it is passed on
	Approval  string        `json:"approval,omitempty"` // why: the term or the local rule that wants it
}

// Hop is one step on a record's way here.
type Hop struct {
	Org  OrgRef `json:"organisation"`
	Role string `json:"role"`
	Feed string `json:"feed,omitempty"`
	Seq  uint64 `json:"seq,omitempty"`
}

func (s *snapshot) verdict(org protocol.OrgID, d policy.Decision) Verdict {
	v := Verdict{Org: s.ref(org), Allowed: d.Allow, Reason: d.Reason, Text: d.Text, Term: d.Term, Persons: int(d.Approval), Approval: d.ApprovalText}
	if !d.Agreement.IsZero() {
		v.Agreement = d.Agreement.String()
		if a := s.agreements[d.Agreement]; a != nil {
			v.Title = a.Title
		}
	}
	return v
}

// Explain accounts for a record. With org set, only what concerns that organisation is told.
func (n *Node) Explain(id protocol.RecordID, only *protocol.OrgID) (*Explanation, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	s := n.snap.Load()
	var e *corpus.Entry
	var doc publishedDoc
	var delivered []Delivery
	var rec Record
	var holders Holders
	err := n.viewIndex(func(tx *store.Tx) (err error) {
		delivered, holders = nil, Holders{}
		if e, err = n.getEntry(tx, id); err != nil {
			return err
		}
		if rec, err = n.recordReader(tx, s).record(e); err != nil {
			return err
		}
		if _, err = getDoc(tx, kindPublished, entryKey(e.Feed, e.Seq), &doc); err != nil {
			return err
		}
		copies, err := n.index.Copies(tx, id)
		if err != nil {
			return err
		}
		own := e.Publisher == n.org
		for _, c := range copies {
			var of publishedDoc
			if ok, err := getDoc(tx, kindPublished, entryKey(c.Feed, c.Seq), &of); err != nil {
				return err
			} else if own && !ok {
				continue // a sibling has not told yet for whom
			}
			h, err := n.heldAt(tx, s, protocol.EntryRef{Feed: c.Feed, Seq: c.Seq})
			if err != nil {
				return err
			}
			holders.add(h.Holders)
			if own {
				doc.Orgs = append(doc.Orgs, of.Orgs...)
				delivered = append(delivered, h.deliveries...)
			}
		}
		slices.SortFunc(doc.Orgs, protocol.OrgID.Compare)
		doc.Orgs = slices.Compact(doc.Orgs)
		delivered = mergeDeliveries(delivered)
		return nil
	})
	if err != nil {
		return nil, err
	}
	x := &Explanation{Record: rec, Own: e.Publisher == n.org, Holders: holders}
	x.Path = append(x.Path, Hop{Org: s.ref(e.Originator), Role: "originator"})
	if path := n.pathOf(e); len(path) > 1 {
		for _, org := range path[:len(path)-1] {
			x.Path = append(x.Path, Hop{Org: s.ref(org), Role: "passed on"})
		}
	}
	x.Path = append(x.Path, Hop{Org: s.ref(e.Publisher), Role: "publisher", Feed: e.Feed.String(), Seq: e.Seq})
	subject := n.subjectOf(s, e)
	if x.Own {
		at := time.UnixMilli(int64(doc.At)).UTC()
		x.SealedAt, x.Delivered = &at, delivered
		n.explainOwn(s, x, subject, &doc, only)
	} else {
		n.explainReceived(s, x, e, subject, only)
	}
	return x, nil
}

func (n *Node) explainOwn(s *snapshot, x *Explanation, subject *policy.Subject, doc *publishedDoc, only *protocol.OrgID) {
	subject.RecordedAt = doc.At
	seen := map[protocol.OrgID]bool{n.org: true}
	tell := func(org protocol.OrgID, d policy.Decision) {
		seen[org] = true
		if only != nil && *only != org {
			return
		}
		v := s.verdict(org, d)
		// What counts is for whom it was sealed; agreements may have changed since.
		sealed := slices.Contains(doc.Orgs, org)
		switch {
		case sealed && !d.Allow:
			v.Allowed = true
			v.Text = "it was sealed for this organisation then; today it would not be: " + d.Text
		case !sealed && d.Allow:
			v.Allowed = false
			v.Text = "it was not sealed for this organisation then; today it would be: " + d.Text
		}
		if v.Allowed {
			x.Readers = append(x.Readers, v)
		} else {
			x.Refused = append(x.Refused, v)
		}
	}
	for _, od := range policy.Audience(s.policy, subject, doc.At) {
		tell(od.Org, od.Decision)
	}
	for _, org := range doc.Orgs {
		if !seen[org] {
			tell(org, policy.Decide(s.policy, n.org, org, subject, doc.At))
		}
	}
	for org := range s.members {
		if !seen[org] {
			tell(org, policy.Decide(s.policy, n.org, org, subject, doc.At))
		}
	}
	if only != nil && !seen[*only] {
		tell(*only, policy.Decide(s.policy, n.org, *only, subject, doc.At))
	}
	sortVerdicts(x.Readers)
	sortVerdicts(x.Refused)
}

func (n *Node) explainReceived(s *snapshot, x *Explanation, e *corpus.Entry, subject *policy.Subject, only *protocol.OrgID) {
	why := s.verdict(n.org, policy.Decision{Allow: true, Reason: policy.ReasonOK, Agreement: e.Agreement, Term: e.Term, Text: e.Text})
	x.Why = &why
	now := uint64(nowMillis())
	for org := range s.cards {
		if org == n.org || org == e.Originator || org == e.Publisher || only != nil && *only != org {
			continue
		}
		d := policy.DecideOnward(s.policy, org, subject, now)
		v := s.verdict(org, d)
		if d.Allow {
			x.PassOn = append(x.PassOn, v)
		} else {
			x.DoNotPass = append(x.DoNotPass, v)
		}
	}
	if had, err := n.sealedFor(e.Record); err == nil {
		for _, org := range had {
			if only == nil || *only == org {
				x.PassedTo = append(x.PassedTo, s.ref(org))
			}
		}
	}
	sortVerdicts(x.PassOn)
	sortVerdicts(x.DoNotPass)
}

func sortVerdicts(v []Verdict) {
	slices.SortFunc(v, func(a, b Verdict) int {
		return strings.Compare(a.Org.Name+a.Org.ID.String(), b.Org.Name+b.Org.ID.String())
	})
}

// Quarantined is something that arrived and is not used, with the reason.
type Quarantined struct {
	ID        string    `json:"id"` // of the quarantine: feed/seq/index
	Publisher OrgRef    `json:"publisher"`
	Topic     string    `json:"topic"`
	Record    string    `json:"record,omitempty"`
	StixID    string    `json:"stix_id,omitempty"`
	Type      string    `json:"type,omitempty"`
	Reason    string    `json:"reason"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"`
}

// Quarantine lists what is in quarantine; with id, only that.
func (n *Node) Quarantine(id string) ([]Quarantined, error) {
	docs, err := n.quarantined(id)
	if err != nil {
		return nil, err
	}
	s := n.snap.Load()
	list := []Quarantined{}
	for i := range docs {
		list = append(list, s.quarantineView(&docs[i]))
	}
	return list, nil
}

func (s *snapshot) quarantineView(q *quarantineDoc) Quarantined {
	out := Quarantined{ID: q.id(), Publisher: s.ref(q.Publisher), Topic: q.Topic,
		StixID: q.StixID, Type: q.Type, Reason: q.Reason, Text: q.Text, At: time.UnixMilli(int64(q.At)).UTC()}
	if q.Record != (protocol.RecordID{}) {
		out.Record = q.Record.String()
	}
	return out
}

func (q *quarantineDoc) id() string { return fmt.Sprintf("%s/%d/%d", q.Feed.Short(), q.Seq, q.Index) }

// quarantined lists what is in quarantine; with id, only that, which must be there.
func (n *Node) quarantined(id string) (list []quarantineDoc, err error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	err = n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindQuarantine, func(_ []byte, q *quarantineDoc) error {
			if id == "" || id == q.id() || q.Record != (protocol.RecordID{}) && id == q.Record.String() {
				list = append(list, *q)
			}
			return nil
		})
	})
	if err == nil && id != "" && len(list) == 0 {
		err = fmt.Errorf("quarantine %s: %w", id, ErrNotFound)
	}
	return list, err
}
