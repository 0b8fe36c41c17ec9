package node

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// The register of processing: for each agreement of this organisation, on what basis who may get
// which categories of data for what purpose and how long it may be kept, and what was shared of them
// in a time, by the account (as a controller keeps it by Article 30 of the GDPR).

// Register is the register of processing of an organisation, for a time.
type Register struct {
	By      OrgRef         `json:"by"`
	From    time.Time      `json:"from"`
	To      time.Time      `json:"to"` // not included
	Made    time.Time      `json:"made"`
	Entries []RegisterLine `json:"entries"`
}

// RegisterLine is one term under which this organisation gives, with what went under it.
type RegisterLine struct {
	Recipient    OrgRef           `json:"recipient"`
	Kind         protocol.OrgKind `json:"recipient_kind"`
	Country      string           `json:"recipient_country"` // "": international, or not known
	Agreement    string           `json:"agreement"`
	Title        string           `json:"agreement_title"`
	State        AgreementState   `json:"state"`
	LegalBasis   string           `json:"legal_basis"`
	Paper        string           `json:"paper_sha256,omitempty"`
	Term         int              `json:"term"` // from 1
	Topics       []string         `json:"topics"`
	Categories   []string         `json:"categories"` // STIX types; * for all
	PersonalData string           `json:"personal_data"`
	TLP          string           `json:"tlp_ceiling"`
	Countries    []string         `json:"countries"`
	Purposes     []string         `json:"purposes"`       // none: not restricted
	Retention    uint32           `json:"retention_days"` // 0: not restricted
	Onward       string           `json:"onward"`
	Holders      []string         `json:"holders,omitempty"`   // who may hold sealed copies beside the parties; none: every member
	StoredBy     *Holders         `json:"stored_by,omitempty"` // who may have stored what was shared, sealed; none: nothing was
	Shared       []RegisterCount  `json:"shared"`
	Withheld     uint64           `json:"withheld"` // records that the term came nearest to letting through
}

// RegisterCount counts the records of one category that were shared.
type RegisterCount struct {
	Category     string `json:"category"`
	PersonalData string `json:"personal_data"`
	TLP          string `json:"tlp"`
	Records      uint64 `json:"records"`
}

// Register makes the register of processing. That it was made is noted.
func (n *Node) Register(ctx context.Context, from, to time.Time) (*Register, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	if !from.Before(to) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "a register is about the time from one day to a later one")
	}
	if err := n.Disclose(ctx, Disclosure{Act: "register of processing", Query: from.Format(time.RFC3339) + " to " + to.Format(time.RFC3339)}); err != nil {
		return nil, err
	}
	s := n.snap.Load()
	out := &Register{By: s.ref(n.org), From: from.UTC(), To: to.UTC(), Made: millis(uint64(nowMillis())), Entries: []RegisterLine{}}
	reports := map[protocol.OrgID]*DisclosureReport{}
	for id, a := range s.agreements {
		if len(a.Missing) > 0 {
			continue
		}
		for i := range a.Terms {
			t := &a.Terms[i]
			if t.From != n.org {
				continue
			}
			rep := reports[t.To]
			if rep == nil {
				var err error
				if rep, err = n.reportOf(ReportQuery{Org: t.To, From: from, To: to}); err != nil {
					return nil, err
				}
				reports[t.To] = rep
			}
			line := s.registerLine(n.org, id, a, i)
			line.count(rep)
			out.Entries = append(out.Entries, line)
		}
	}
	slices.SortFunc(out.Entries, func(a, b RegisterLine) int {
		return cmp.Or(strings.Compare(a.Recipient.Name, b.Recipient.Name), strings.Compare(a.Agreement, b.Agreement), a.Term-b.Term)
	})
	return out, nil
}

func (s *snapshot) registerLine(self protocol.OrgID, id protocol.AgreementID, a *agreement, i int) RegisterLine {
	t := &a.Terms[i]
	l := RegisterLine{Recipient: s.ref(t.To), Agreement: id.String(), Title: a.Title, State: s.lives[id].Stage(self, uint64(nowMillis())), LegalBasis: a.LegalBasis,
		Term: i + 1, Topics: t.Topics, Categories: t.Kinds, PersonalData: t.Personal.String(), TLP: t.TLP.String(), Countries: t.Countries,
		Purposes: append([]string{}, t.Purposes...), Retention: t.RetentionDays, Onward: t.Onward.Rule.String(), Shared: []RegisterCount{}}
	if c := s.cards[t.To]; c != nil {
		l.Kind, l.Country = c.Inception.Kind, c.Inception.Country
	}
	if !a.PaperSHA256.IsZero() {
		l.Paper = fmt.Sprintf("%x", a.PaperSHA256[:])
	}
	for _, o := range t.Holders.Orgs {
		l.Holders = append(l.Holders, s.name(o))
	}
	l.Holders = append(l.Holders, t.Holders.Countries...)
	return l
}

// count adds what a report says went under the term, or did not.
func (l *RegisterLine) count(rep *DisclosureReport) {
	counts := map[RegisterCount]uint64{}
	for i := range rep.Shared {
		p := &rep.Shared[i]
		if p.Agreement != l.Agreement || int(p.Term) != l.Term {
			continue
		}
		c := RegisterCount{Category: p.Type}
		if p.Handling != nil {
			c.PersonalData, c.TLP = p.Handling.PersonalData, p.Handling.TLP
		}
		counts[c] += p.Count
		for k := range p.Records {
			if h := p.Records[k].Holders; h != nil {
				if l.StoredBy == nil {
					l.StoredBy = &Holders{}
				}
				l.StoredBy.add(*h)
			}
		}
	}
	for c, n := range counts {
		c.Records = n
		l.Shared = append(l.Shared, c)
	}
	slices.SortFunc(l.Shared, func(a, b RegisterCount) int {
		return cmp.Or(strings.Compare(a.Category, b.Category), strings.Compare(a.PersonalData, b.PersonalData), strings.Compare(a.TLP, b.TLP))
	})
	for i := range rep.Withheld {
		if p := &rep.Withheld[i]; p.Agreement == l.Agreement && int(p.Term) == l.Term {
			l.Withheld += p.Count
		}
	}
}

// RegisterFormats lists the formats of registers.
func RegisterFormats() []string { return []string{"json", "csv"} }

// Write writes the register in a format; in the table a term has a line for each category.
func (r *Register) Write(w io.Writer, format string) error {
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	case "csv":
		return r.writeCSV(w)
	}
	return protocol.Errorf(protocol.ErrMalformed, "format %q is not known; use one of %s", format, strings.Join(RegisterFormats(), ", "))
}

func (r *Register) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"recipient", "recipient_id", "recipient_kind", "recipient_country", "agreement", "agreement_title", "state", "legal_basis", "paper_sha256", "term",
		"topics", "categories", "personal_data", "tlp_ceiling", "countries", "purposes", "retention_days", "onward", "holders",
		"shared_category", "shared_personal_data", "shared_tlp", "shared_records", "withheld_records", "stored_by"})
	for i := range r.Entries {
		l := &r.Entries[i]
		join := func(list []string) string { return inert(strings.Join(list, " ")) }
		row := []string{inert(l.Recipient.Name), l.Recipient.ID.String(), string(l.Kind), l.Country, l.Agreement, inert(l.Title), string(l.State), inert(l.LegalBasis), l.Paper, strconv.Itoa(l.Term),
			join(l.Topics), join(l.Categories), l.PersonalData, l.TLP, join(l.Countries), join(l.Purposes), strconv.FormatUint(uint64(l.Retention), 10), l.Onward, join(l.Holders)}
		shared := l.Shared
		if len(shared) == 0 {
			shared = []RegisterCount{{}}
		}
		stored := ""
		if l.StoredBy != nil {
			stored = inert(l.StoredBy.String())
		}
		for k, c := range shared {
			withheld := ""
			if k == 0 {
				withheld = strconv.FormatUint(l.Withheld, 10)
			}
			_ = out.Write(slices.Concat(row, []string{inert(c.Category), c.PersonalData, c.TLP, strconv.FormatUint(c.Records, 10), withheld, stored}))
		}
	}
	out.Flush()
	return out.Error()
}
