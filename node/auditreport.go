package node

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	pages "html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// The disclosure report is what an organisation, its data-protection officer or a court asks for:
// what was shared with a partner between two days, under which agreement, what was withheld and why,
// and what the partner signed to have. It is made of the audit log, and of what is held of the
// records now.

// ReportQuery says what a report is about.
type ReportQuery struct {
	Org       protocol.OrgID
	Agreement protocol.AgreementID // zero: all
	From, To  time.Time            // From on, before To
}

// maxReport bounds the records that one report names.
const maxReport = 1 << 20

// DisclosureReport is what was shared with an organisation, and what was withheld from it.
type DisclosureReport struct {
	By        OrgRef       `json:"by"`
	Org       OrgRef       `json:"organisation"`
	Agreement string       `json:"agreement,omitempty"` // only what was decided under it
	Title     string       `json:"agreement_title,omitempty"`
	From      time.Time    `json:"from"`
	To        time.Time    `json:"to"` // not included
	Made      time.Time    `json:"made"`
	Shared    []ReportPart `json:"shared"`
	Withheld  []ReportPart `json:"withheld"`
	Retracted []ReportAct  `json:"retracted"`   // withdrawals and erasures of what was sealed for the organisation
	Asked     []ErasureAsk `json:"asked_erase"` // what it was asked to erase in these days, and what it confirmed
	// Rules are the sets of local rules that were put in force, or refused, in this time: they decide
	// what is withheld for the reason local-rule. What they say is not told.
	Rules []ReportNote `json:"rules"`
	// Refused are letters of the organisation that were refused, what it told that it set aside, and
	// requests of this organisation's own people and machines that its rules did not allow.
	Refused []ReportNote `json:"refused"`
	// Forgotten are entries of these days whose details were erased: they may have concerned the
	// organisation, and this report cannot say.
	Forgotten []ReportGap `json:"forgotten"`
	Totals    struct {
		Shared   uint64 `json:"shared"`   // records
		Opened   uint64 `json:"opened"`   // of them: that a node of the organisation signed to have opened
		Held     uint64 `json:"held"`     // of them: whose sealed envelope one of its nodes signed to hold
		Withheld uint64 `json:"withheld"` // records
	} `json:"totals"`
	Log        audit.ID `json:"log"`
	Checkpoint string   `json:"checkpoint"` // of the log as of this report, signed
}

// ReportPart is the records of one class in one publication.
type ReportPart struct {
	At        time.Time      `json:"at"`
	Entry     uint64         `json:"entry"` // of the audit log
	Log       audit.ID       `json:"log"`
	Act       string         `json:"act"`
	Person    string         `json:"person,omitempty"`
	Purpose   string         `json:"purpose,omitempty"`
	Topic     string         `json:"topic"`
	Type      string         `json:"type,omitempty"`
	Handling  *HandlingView  `json:"handling,omitempty"`
	Agreement string         `json:"agreement,omitempty"`
	Title     string         `json:"agreement_title,omitempty"`
	Term      uint32         `json:"term,omitempty"`
	Reason    string         `json:"reason"`
	Text      string         `json:"text"`
	Count     uint64         `json:"count"`
	Records   []ReportRecord `json:"records"`
	Gone      uint64         `json:"not_held"` // of Count: erased since, or not named one by one and not held any more
}

// ReportRecord is one record in a report.
type ReportRecord struct {
	Record    protocol.RecordID `json:"record"`
	StixID    string            `json:"stix_id,omitempty"`
	State     string            `json:"state"`    // held, withdrawn, or not held
	Receipts  []Delivery        `json:"receipts"` // of the organisation's nodes
	Holders   *Holders          `json:"holders,omitempty"`
	delivered bool
	opened    bool
}

// ReportAct is a withdrawal or an erasure.
type ReportAct struct {
	At      time.Time `json:"at"`
	Entry   uint64    `json:"entry"`
	Act     string    `json:"act"`
	Reason  string    `json:"reason"`
	Records []string  `json:"records"`
	Count   uint64    `json:"count"`
}

// ReportNote is something that was done or refused in the time of a report. Who did it, and what local
// rules say, is not told: 'entente audit show' does.
type ReportNote struct {
	At     time.Time `json:"at"`
	Entry  uint64    `json:"entry"`
	Act    string    `json:"act"`
	By     OrgRef    `json:"by"`
	Reason string    `json:"reason,omitempty"` // a code; of what the organisation itself wrote
}

// ReportGap is an entry whose details were erased.
type ReportGap struct {
	Entry uint64 `json:"entry"`
	Kind  string `json:"kind"`
	Day   string `json:"day"`
	Said  string `json:"said"` // when, by whom and on whose authority
}

// reasonText says in a sentence what a reason means. The facts stand beside it.
var reasonText = map[policy.Reason]string{
	policy.ReasonOK:           "the term allows it",
	policy.ReasonOwn:          "it is its own record",
	policy.ReasonNotMember:    "it was not a member of the network",
	policy.ReasonStaleCard:    "its card was no longer fresh, and nothing is granted against it",
	policy.ReasonExcluded:     "the originator excluded it by name",
	policy.ReasonNotNamed:     "the record is for named recipients, and it was none of them",
	policy.ReasonRedUnnamed:   "TLP:RED is for named recipients, and the record names nobody",
	policy.ReasonNoTLP:        "nothing states the TLP",
	policy.ReasonNoAgreement:  "no agreement has a term in this direction",
	policy.ReasonNotInForce:   "the agreement was not in force",
	policy.ReasonTopic:        "the term does not cover the topic",
	policy.ReasonKind:         "the term does not cover objects of this type",
	policy.ReasonTLP:          "the TLP is above the ceiling of the term",
	policy.ReasonPAP:          "the PAP is above the ceiling of the term",
	policy.ReasonCountry:      "the record concerns none of the countries of the term",
	policy.ReasonPersonalData: "the record holds more personal data than the term lets through",
	policy.ReasonConfidence:   "the confidence of the record is below what the term wants",
	policy.ReasonHolders:      "a term that the record came under does not let it hold even sealed copies",
	policy.ReasonProvenance:   "who passed it on did not say so, or was not allowed to have it",
	policy.ReasonVolume:       "the term lets no more through in a day",
	policy.ReasonLocalRule:    "a rule of this organisation's own forbids it",
	policy.ReasonMandate:      "it is published on behalf of another, and the mandate does not cover it, or was revoked",
	policy.ReasonOrigin:       "it may be passed on, and whose it is may not be withheld",
	policy.ReasonPurpose:      "none of the purposes of the term is one that the originator allows",
	policy.ReasonOnward:       "the originator does not let it be passed on",
}

func textOfReason(r string) string {
	if t := reasonText[policy.Reason(r)]; t != "" {
		return t
	}
	return "for the reason " + r
}

// Report makes a disclosure report. That it was made is noted, on whose behalf and for what.
func (n *Node) Report(ctx context.Context, q ReportQuery) (*DisclosureReport, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	if !q.From.Before(q.To) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "a report is about the time from one day to a later one")
	}
	if err := n.Disclose(ctx, Disclosure{Act: "disclosure report", Query: fmt.Sprintf("%s from %s to %s", q.Org, q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))}); err != nil {
		return nil, err
	}
	c, err := n.AuditCheckpoint()
	if err != nil {
		return nil, err
	}
	out, err := n.reportOf(q)
	if err == nil {
		out.Checkpoint = string(c.Note)
	}
	return out, err
}

// reportOf makes a report; that it is made is for the caller to note.
func (n *Node) reportOf(q ReportQuery) (*DisclosureReport, error) {
	var w *reportWriter
	err := n.viewIndex(func(tx *store.Tx) error {
		w = &reportWriter{n: n, s: n.snap.Load(), tx: tx, q: q, held: map[protocol.EntryRef]*held{}}
		w.out = &DisclosureReport{By: w.s.ref(n.org), Org: w.s.ref(q.Org), From: q.From.UTC(), To: q.To.UTC(), Made: millis(uint64(nowMillis())),
			Shared: []ReportPart{}, Withheld: []ReportPart{}, Retracted: []ReportAct{}, Asked: []ErasureAsk{}, Rules: []ReportNote{}, Refused: []ReportNote{}, Forgotten: []ReportGap{}, Log: n.account.Log}
		w.out.Agreement, w.out.Title = w.agreement(q.Agreement)
		logs, err := audit.Logs(tx)
		for _, l := range logs {
			if err == nil {
				w.log, w.decisions = l, map[uint64]*audit.Details{}
				err = w.read()
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	asked, err := n.asks(func(a *ask) bool {
		at := millis(a.request.At)
		return a.request.Org == n.org && a.request.To == q.Org && !at.Before(q.From) && at.Before(q.To)
	})
	w.out.Asked = append(w.out.Asked, asked...)
	return w.out, err
}

// reportWriter makes a report in one state of the store.
type reportWriter struct {
	n         *Node
	s         *snapshot
	tx        *store.Tx
	q         ReportQuery
	out       *DisclosureReport
	log       *audit.Log
	decisions map[uint64]*audit.Details // nil: erased
	held      map[protocol.EntryRef]*held
	named     int
}

func (w *reportWriter) agreement(id protocol.AgreementID) (text, title string) {
	if id.IsZero() {
		return "", ""
	}
	if a := w.s.agreements[id]; a != nil {
		title = a.Title
	}
	return id.String(), title
}

// read goes through what one log says of the organisation and the time. It finds the entries by the
// index: what is decided about the organisation, whenever that was, the publications that refer to it,
// and what concerns it by itself.
func (w *reportWriter) read() error {
	from, to := unixMillis(w.q.From), unixMillis(w.q.To)
	numbers := map[uint64]bool{}
	find := func(q audit.Query, fn func(*audit.Entry)) error {
		return w.log.Select(w.tx, &q, func(e *audit.Entry) (bool, error) { fn(e); return true, nil })
	}
	note := func(e *audit.Entry) { numbers[e.Number] = true }
	decided := map[uint64]bool{}
	decision := func(e *audit.Entry) { decided[e.Number] = true }
	err := errors.Join(find(audit.Query{Org: w.q.Org, Kind: audit.Decide}, decision), find(audit.Query{Erased: true, Kind: audit.Decide}, decision))
	for n := range decided {
		if err == nil {
			err = find(audit.Query{Decision: &n, Kind: audit.Publish, From: from, To: to}, note)
		}
	}
	for _, q := range []audit.Query{{Org: w.q.Org, Kind: audit.Publish}, {Org: w.q.Org, Kind: audit.Withdraw}, {Kind: audit.Erase}, {Kind: audit.Rules},
		{Kind: audit.Refuse}, {Erased: true}} {
		if q.From, q.To = from, to; err == nil {
			err = find(q, note)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		var e *audit.Entry
		if err == nil {
			e, err = w.log.Entry(w.tx, n)
		}
		if err == nil {
			err = w.entry(e, decided)
		}
	}
	return err
}

// entry adds what an entry of the time says; decided are the decisions that are looked at.
func (w *reportWriter) entry(e *audit.Entry, decided map[uint64]bool) error {
	d := e.Details
	switch {
	case d == nil:
		return w.forgotten(e)
	case e.Leaf.Kind == audit.Withdraw:
		if !slices.Contains(d.Orgs, w.q.Org) {
			return nil // its own act
		}
		return w.retracted(e)
	case e.Leaf.Kind == audit.Erase:
		had, err := w.sealedIn(d.Records.Places)
		if err == nil && had {
			err = w.retracted(e)
		}
		return err
	case e.Leaf.Kind == audit.Rules:
		w.out.Rules = append(w.out.Rules, w.note(e))
		return nil
	case e.Leaf.Kind == audit.Refuse:
		if d.By == w.n.org || d.By == w.q.Org {
			w.out.Refused = append(w.out.Refused, w.note(e))
		}
		return nil
	}
	for i := range d.Parts {
		p := &d.Parts[i]
		if !decided[p.Decision] {
			continue // about others
		}
		by, err := w.decision(p.Decision)
		if err != nil {
			return err
		}
		if by == nil {
			continue // its own entry says that its details were erased
		}
		places := p.Records.Places
		if len(places) == 0 {
			places = d.Records.Places
		}
		if err := w.part(e, by, &p.Records, places); err != nil {
			return err
		}
	}
	return w.part(e, d, &d.Records, d.Records.Places) // sealed anew, or passed on: the verdicts stand in the entry itself
}

func (w *reportWriter) note(e *audit.Entry) ReportNote {
	d := e.Details
	out := ReportNote{At: millis(d.At), Entry: e.Number, Act: d.Act, By: w.s.ref(d.By)}
	if d.By == w.q.Org {
		out.Reason = d.Reason
	}
	return out
}

func (w *reportWriter) decision(number uint64) (*audit.Details, error) {
	if d, ok := w.decisions[number]; ok {
		return d, nil
	}
	e, err := w.log.Entry(w.tx, number)
	if err != nil {
		return nil, err
	}
	if e.Details == nil {
		if err := w.forgotten(e); err != nil {
			return nil, err
		}
	}
	w.decisions[number] = e.Details
	return e.Details, nil
}

func (w *reportWriter) forgotten(e *audit.Entry) error {
	if slices.ContainsFunc(w.out.Forgotten, func(g ReportGap) bool { return g.Entry == e.Number }) {
		return nil
	}
	gap := ReportGap{Entry: e.Number, Kind: e.Leaf.Kind.String(), Day: millis(uint64(e.Leaf.Day) * dayMillis).Format(time.DateOnly)}
	by, err := w.log.Entry(w.tx, e.Erased)
	if err == nil && by.Details != nil {
		gap.Said = fmt.Sprintf("erased on %s by %s, %s", millis(by.Details.At).Format(time.DateOnly), orNobody(by.Details.Person), by.Details.Text)
		if by.Details.Reason != "" {
			gap.Said += ": " + by.Details.Reason
		}
	}
	w.out.Forgotten = append(w.out.Forgotten, gap)
	return err
}

func orNobody(person string) string {
	if person == "" {
		return "a person who is not named"
	}
	return person
}

// sealedIn reports whether any of some entries was sealed for the organisation: the other records
// that were erased are not its business.
func (w *reportWriter) sealedIn(places []audit.Place) (bool, error) {
	for _, p := range places {
		for seq := p.From; seq <= p.To; seq++ {
			var doc publishedDoc
			if _, err := getDoc(w.tx, kindPublished, entryKey(p.Feed, seq), &doc); err != nil || slices.Contains(doc.Orgs, w.q.Org) {
				return err == nil, err
			}
		}
	}
	return false, nil
}

func (w *reportWriter) retracted(e *audit.Entry) error {
	d := e.Details
	a := ReportAct{At: millis(d.At), Entry: e.Number, Act: d.Act, Reason: d.Reason, Count: d.Records.Count, Records: []string{}}
	for _, id := range d.Records.IDs {
		a.Records = append(a.Records, id.String())
	}
	w.out.Retracted = append(w.out.Retracted, a)
	return nil
}

// part adds what a decision says about the organisation.
func (w *reportWriter) part(e *audit.Entry, by *audit.Details, records *audit.RecordSet, places []audit.Place) error {
	i := slices.IndexFunc(by.Verdicts, func(v audit.Verdict) bool { return by.Orgs[v.Org] == w.q.Org })
	if i < 0 {
		return nil
	}
	v := &by.Verdicts[i]
	if v.Allow && by.Act == actOnward {
		return nil // when it is given it, an entry of its own says so
	}
	under := by.Agreement(v)
	if !w.q.Agreement.IsZero() && under != w.q.Agreement && (v.Allow || !under.IsZero()) {
		return nil
	}
	d := e.Details
	p := ReportPart{At: millis(d.At), Entry: e.Number, Log: w.log.Log, Act: d.Act, Person: d.Person, Purpose: d.Purpose, Topic: d.Topic, Type: by.Class.Kind,
		Term: v.Term, Reason: v.Reason, Text: textOfReason(v.Reason), Count: records.Count}
	p.Agreement, p.Title = w.agreement(under)
	var h protocol.Handling
	if len(by.Class.Handling) > 0 {
		if err := protocol.Decode(by.Class.Handling, protocol.MaxPlainSize, &h); err != nil {
			return err
		}
		view := w.s.handlingView(&h, by.Class.Originator == w.n.org)
		p.Handling = &view
	}
	var err error
	if p.Records, err = w.records(records, by, places, v.Allow); err != nil {
		return err
	}
	held := uint64(0)
	for i := range p.Records {
		r := &p.Records[i]
		if r.State != stateGone {
			held++
		}
		if v.Allow && r.opened {
			w.out.Totals.Opened++
		}
		if v.Allow && (r.delivered || r.opened) {
			w.out.Totals.Held++
		}
	}
	p.Gone = p.Count - min(held, p.Count)
	if v.Allow {
		w.out.Shared, w.out.Totals.Shared = append(w.out.Shared, p), w.out.Totals.Shared+p.Count
	} else {
		w.out.Withheld, w.out.Totals.Withheld = append(w.out.Withheld, p), w.out.Totals.Withheld+p.Count
	}
	return nil
}

const stateGone = "not held any more"

// records names the records of a set, with what is held of them now. Of more than an entry names,
// those of the class that its envelopes hold are named.
func (w *reportWriter) records(set *audit.RecordSet, by *audit.Details, places []audit.Place, receipts bool) ([]ReportRecord, error) {
	out := []ReportRecord{}
	add := func(id protocol.RecordID, e *corpus.Entry) error {
		if w.named++; w.named > maxReport {
			return protocol.Errorf(protocol.ErrOversize, "the report would name more than %d records; make one for a shorter time", maxReport)
		}
		r := ReportRecord{Record: id, State: stateGone, Receipts: []Delivery{}}
		if e != nil {
			if r.StixID, r.State = e.StixID, "held"; e.Withdrawn {
				r.State = "withdrawn"
			}
			if receipts {
				if err := w.receipts(&r); err != nil {
					return err
				}
			}
		}
		out = append(out, r)
		return nil
	}
	for _, id := range set.IDs {
		e, err := w.n.index.Get(w.tx, id)
		if err == nil {
			err = add(id, e)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(set.IDs) > 0 || set.Count == 0 {
		return out, nil
	}
	for _, p := range places {
		for seq := p.From; seq <= p.To; seq++ {
			in, err := corpus.InEnvelope(w.tx, p.Feed, seq)
			if err != nil {
				return nil, err
			}
			for i := range in {
				if in[i].Type != by.Class.Kind || !bytes.Equal(protocol.Encode(&in[i].Handling), by.Class.Handling) {
					continue
				}
				if err := add(in[i].Record, &in[i]); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

// receipts adds who may store the envelopes of a record, and what nodes of the organisation signed
// about them.
func (w *reportWriter) receipts(r *ReportRecord) error {
	copies, err := w.n.index.Copies(w.tx, r.Record)
	if err != nil {
		return err
	}
	r.Holders = &Holders{}
	for _, c := range copies {
		at := protocol.EntryRef{Feed: c.Feed, Seq: c.Seq}
		h, ok := w.held[at]
		if !ok {
			if had, err := w.n.published(w.tx, at); err != nil {
				return err
			} else if had {
				if h, err = w.n.heldAt(w.tx, w.s, at); err != nil {
					return err
				}
			}
			w.held[at] = h
		}
		if h == nil {
			continue // of another publisher
		}
		r.Holders.add(h.Holders)
		for _, d := range h.deliveries {
			if d.Org.ID == w.q.Org {
				r.Receipts = append(r.Receipts, d)
				r.delivered, r.opened = r.delivered || d.Held, r.opened || d.Opened
			}
		}
	}
	r.Receipts = append([]Delivery{}, mergeDeliveries(r.Receipts)...)
	return nil
}

// StoredBy says who may store a record, and how many of them signed to.
func (r *ReportRecord) StoredBy() string {
	if r.Holders == nil {
		return ""
	}
	text := r.Holders.String()
	if n := len(r.Holders.Signed); n > 0 {
		text += fmt.Sprintf("; %d signed to", n)
	}
	return text
}

// Received says in a word what the organisation signed about a record.
func (r *ReportRecord) Received() string {
	for _, d := range r.Receipts {
		if d.Opened {
			return "opened " + d.At.Format("2006-01-02 15:04")
		}
	}
	for _, d := range r.Receipts {
		if d.Held {
			return "held sealed " + d.At.Format("2006-01-02 15:04")
		}
	}
	return "no receipt"
}

// ReportFormats lists the formats of reports.
func ReportFormats() []string { return []string{"json", "csv", "html"} }

// Write writes the report in a format, the table being for spreadsheets and the page for people.
func (r *DisclosureReport) Write(w io.Writer, format string) error {
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	case "csv":
		return r.writeCSV(w)
	case "html":
		return reportPage.Execute(w, r)
	}
	return protocol.Errorf(protocol.ErrMalformed, "format %q is not known; use one of %s", format, strings.Join(ReportFormats(), ", "))
}

//go:embed auditreport.html
var reportHTML string

var reportPage = pages.Must(pages.New("report").Funcs(pages.FuncMap{
	"time":  func(t time.Time) string { return t.Format("2006-01-02 15:04 MST") },
	"upper": strings.ToUpper,
	"join":  func(list []string) string { return strings.Join(list, ", ") },
}).Parse(reportHTML))

func (r *DisclosureReport) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"decision", "at", "entry", "act", "person", "purpose", "topic", "type", "tlp", "pap", "countries", "personal_data",
		"agreement", "agreement_title", "term", "reason", "text", "record", "stix_id", "state", "receipt", "count", "holders", "holders_signed"})
	for _, part := range []struct {
		decision string
		list     []ReportPart
	}{{"shared", r.Shared}, {"withheld", r.Withheld}} {
		for i := range part.list {
			p := &part.list[i]
			row := []string{part.decision, p.At.Format(time.RFC3339), strconv.FormatUint(p.Entry, 10), p.Act, inert(p.Person), inert(p.Purpose), p.Topic, inert(p.Type), "", "", "", "",
				p.Agreement, inert(p.Title), strconv.FormatUint(uint64(p.Term), 10), p.Reason, inert(p.Text)}
			if h := p.Handling; h != nil {
				row[8], row[9], row[10], row[11] = h.TLP, h.PAP, strings.Join(h.Countries, " "), h.PersonalData
			}
			for k := range p.Records {
				x := &p.Records[k]
				receipt := ""
				if part.decision == "shared" {
					receipt = x.Received()
				}
				holders, signed := "", ""
				if x.Holders != nil {
					holders, signed = inert(x.Holders.String()), inert(refNames(x.Holders.Signed))
				}
				_ = out.Write(slices.Concat(row, []string{x.Record.String(), inert(x.StixID), x.State, receipt, "1", holders, signed}))
			}
			if rest := p.Count - min(p.Count, uint64(len(p.Records))); rest > 0 {
				_ = out.Write(slices.Concat(row, []string{"", "", stateGone, "", strconv.FormatUint(rest, 10), "", ""}))
			}
		}
	}
	for _, a := range r.Retracted {
		row := make([]string, 24)
		row[0], row[1], row[2], row[3], row[15], row[17], row[21] = "retracted", a.At.Format(time.RFC3339), strconv.FormatUint(a.Entry, 10), a.Act, inert(a.Reason), strings.Join(a.Records, " "), strconv.FormatUint(a.Count, 10)
		_ = out.Write(row)
	}
	for i := range r.Asked {
		x := &r.Asked[i]
		said := "no answer yet, due " + x.Due.Format(time.RFC3339)
		if x.Answer != nil {
			said = x.Answer.Summary
		}
		row := make([]string, 22)
		row[0], row[1], row[3], row[15], row[16], row[17], row[21] = "asked to erase", x.At.Format(time.RFC3339), x.ID+" "+x.State, x.Reason, inert(said), strings.Join(x.Records, " "), strconv.Itoa(len(x.Records))
		_ = out.Write(row)
	}
	for _, part := range []struct {
		what string
		list []ReportNote
	}{{"rules", r.Rules}, {"refused", r.Refused}} {
		for _, x := range part.list {
			row := make([]string, 22)
			row[0], row[1], row[2], row[3], row[15], row[16] = part.what, x.At.Format(time.RFC3339), strconv.FormatUint(x.Entry, 10), x.Act, inert(x.Reason), inert("by "+x.By.Name)
			_ = out.Write(row)
		}
	}
	for _, g := range r.Forgotten {
		row := make([]string, 24)
		row[0], row[1], row[2], row[3], row[16] = "details erased", g.Day, strconv.FormatUint(g.Entry, 10), g.Kind, inert(g.Said)
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}
