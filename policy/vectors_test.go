package policy

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// decisionVector is a decision in full, for whoever builds another implementation (SPEC 14, 25).
// Encodings are those of section 2, in hexadecimal digits; times are Unix milliseconds.
type decisionVector struct {
	Name       string            `json:"name"`
	Function   string            `json:"function"` // decide, onward
	Self       protocol.OrgID    `json:"self"`
	To         protocol.OrgID    `json:"to"`
	At         uint64            `json:"at"`
	Orgs       []vectorOrg       `json:"organisations"`
	Agreements []vectorAgreement `json:"agreements"`
	Subject    vectorSubject     `json:"subject"`
	Expect     vectorDecision    `json:"expect"`
}

type vectorOrg struct {
	ID        protocol.OrgID `json:"id"`
	Kind      string         `json:"kind"`
	Country   string         `json:"country,omitempty"`
	CardFresh bool           `json:"card_fresh"`
	Member    bool           `json:"member"`
}

type vectorAgreement struct {
	ID         protocol.AgreementID `json:"id"` // in a set of vectors a name, and not of the document
	Document   string               `json:"document"`
	Ends       []End                `json:"ends,omitempty"`
	Pauses     []Pause              `json:"pauses,omitempty"`
	Superseded uint64               `json:"superseded,omitempty"`
}

type vectorSubject struct {
	Originator protocol.OrgID   `json:"originator"`
	Publisher  protocol.OrgID   `json:"publisher"`
	Path       []protocol.OrgID `json:"path,omitempty"`
	Handling   string           `json:"handling"`
	Topic      string           `json:"topic"`
	Kind       string           `json:"kind"`
	Confidence uint8            `json:"confidence"`
	RecordedAt uint64           `json:"sealed_at"` // of what is passed on; 0: not known
}

type vectorDecision struct {
	Allow     bool                 `json:"allow"`
	Reason    Reason               `json:"reason"`
	Agreement protocol.AgreementID `json:"agreement"`
	Term      int                  `json:"term"`
	Retention uint32               `json:"retention_days"`
	Approval  uint8                `json:"approval"`
}

func vectorOf(name, function string, s *State, to protocol.OrgID, subj *Subject, at uint64, d Decision) (*decisionVector, bool) {
	v := &decisionVector{Name: name, Function: function, Self: s.Self, To: to, At: at, Agreements: []vectorAgreement{},
		Subject: vectorSubject{Originator: subj.Originator, Publisher: subj.Publisher, Path: subj.Path, Handling: hex.EncodeToString(protocol.Encode(&subj.Handling)), Topic: subj.Topic, Kind: subj.Kind,
			Confidence: subj.Confidence, RecordedAt: subj.RecordedAt},
		Expect: vectorDecision{Allow: d.Allow, Reason: d.Reason, Agreement: d.Agreement, Term: d.Term, Retention: d.Retention, Approval: d.Approval}}
	for _, id := range slices.SortedFunc(maps.Keys(s.Orgs), protocol.OrgID.Compare) {
		o := s.Orgs[id]
		v.Orgs = append(v.Orgs, vectorOrg{ID: id, Kind: string(o.Kind), Country: o.Country, CardFresh: o.CardFresh, Member: o.Rostered})
	}
	for i := range s.Agreements {
		a := &s.Agreements[i]
		doc := protocol.Encode(a.Doc)
		if protocol.Decode(doc, protocol.MaxAgreementSize, new(protocol.Agreement)) != nil {
			return nil, false // nobody signs such a document
		}
		v.Agreements = append(v.Agreements, vectorAgreement{ID: a.ID, Document: hex.EncodeToString(doc), Ends: a.Ends, Pauses: a.Pauses, Superseded: a.Superseded})
	}
	return v, protocol.Decode(protocol.Encode(&subj.Handling), protocol.MaxStatementSize, new(protocol.Handling)) == nil
}

func (v *decisionVector) decide(t *testing.T) Decision {
	t.Helper()
	fail := func(err error) {
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
	}
	orgs := map[protocol.OrgID]Org{}
	for _, o := range v.Orgs {
		orgs[o.ID] = Org{ID: o.ID, Name: orgName(o.ID), Kind: protocol.OrgKind(o.Kind), Country: o.Country, CardFresh: o.CardFresh, Rostered: o.Member}
	}
	var agreements []Agreement
	for _, a := range v.Agreements {
		raw, err := hex.DecodeString(a.Document)
		fail(err)
		doc := new(protocol.Agreement)
		fail(protocol.Decode(raw, protocol.MaxAgreementSize, doc))
		agreements = append(agreements, Agreement{ID: a.ID, Doc: doc, Ends: a.Ends, Pauses: a.Pauses, Superseded: a.Superseded})
	}
	raw, err := hex.DecodeString(v.Subject.Handling)
	fail(err)
	subj := &Subject{Originator: v.Subject.Originator, Publisher: v.Subject.Publisher, Path: v.Subject.Path, Topic: v.Subject.Topic, Kind: v.Subject.Kind, Confidence: v.Subject.Confidence,
		RecordedAt: v.Subject.RecordedAt}
	fail(protocol.Decode(raw, protocol.MaxStatementSize, &subj.Handling))
	s := NewState(v.Self, 1, orgs, agreements)
	if v.Function == "onward" {
		return DecideOnward(s, v.To, subj, v.At)
	}
	return Decide(s, v.Self, v.To, subj, v.At)
}

// TestDecisionVectors: the decisions in protocol/testdata/decisions.json are made from what stands there
// alone, and come out as stated; the file holds those of the tables of this package.
func TestDecisionVectors(t *testing.T) {
	path := filepath.Join("..", "protocol", "testdata", "decisions.json")
	if *update {
		var list []*decisionVector
		add := func(v *decisionVector, ok bool) {
			if ok {
				list = append(list, v)
			}
		}
		for i := range decideRows {
			if r := &decideRows[i]; r.local == nil {
				s, to, subj, at := r.inputs()
				add(vectorOf(r.name, "decide", s, to, subj, at, Decide(s, alice, to, subj, at)))
			}
		}
		for i := range onwardRows {
			r := &onwardRows[i]
			s, to, subj, at := r.inputs()
			if s.Local == nil {
				add(vectorOf(r.name, "onward", s, to, subj, at, DecideOnward(s, to, subj, at)))
			}
		}
		b, err := json.MarshalIndent(list, "", " ")
		if err == nil {
			err = os.WriteFile(path, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []*decisionVector
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	seen := map[Reason]bool{}
	for _, v := range list {
		d := v.decide(t)
		got := vectorDecision{Allow: d.Allow, Reason: d.Reason, Agreement: d.Agreement, Term: d.Term, Retention: d.Retention, Approval: d.Approval}
		if got != v.Expect {
			t.Errorf("%s, %s: %+v, want %+v", v.Function, v.Name, got, v.Expect)
		}
		seen[d.Reason] = true
	}
	if len(list) < 80 || len(seen) < 15 {
		t.Errorf("%d vectors with %d reasons", len(list), len(seen))
	}
}
