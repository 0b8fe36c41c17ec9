package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Plan says what a publication would do.
type Plan struct {
	Format     string             `json:"format"`
	Topic      string             `json:"topic"`
	Generation uint64             `json:"policy_generation"`
	Records    int                `json:"records"`
	Duplicates int                `json:"duplicates"`
	Orgs       []node.PlanOrg     `json:"organisations"`
	Handling   []PlanHandling     `json:"handling"`
	Refused    []node.RefusedItem `json:"refused"`  // records that may not go out as they are
	Problems   []string           `json:"problems"` // file:line: what could not be read
	Notes      []string           `json:"notes"`
	// Assessments count the records by what they say of how far they can be relied on.
	Assessments []PlanAssessment   `json:"assessments"`
	OnBehalf    *PlanBehalf        `json:"on_behalf_of,omitempty"`
	Holders     []node.PlanHolders `json:"holders"` // who would store the records, sealed, apart from who reads them
}

// PlanBehalf is on whose behalf it would be published, and under which mandate.
type PlanBehalf struct {
	Principal string             `json:"principal"`
	Mandate   protocol.MandateID `json:"mandate"`
}

// PlanAssessment counts the records of one assessment.
type PlanAssessment struct {
	Text    string          `json:"text"`
	Records int             `json:"records"`
	Said    stix.Assessment `json:"said"`
}

// maxAssessments bounds how many assessments a plan tells apart.
const maxAssessments = 32

// PlanHandling counts the records of one handling.
type PlanHandling struct {
	TLP       string   `json:"tlp"`
	Countries []string `json:"countries,omitempty"`
	Records   int      `json:"records"`
	Readers   []string `json:"readers"`
}

// PublishEvent is one line of the answer to a publication.
type PublishEvent struct {
	Plan    *Plan    `json:"plan,omitempty"`
	Done    int      `json:"done,omitempty"`
	Total   int      `json:"total,omitempty"`
	Receipt *Receipt `json:"receipt,omitempty"`
	Waited  *Waited  `json:"waited,omitempty"` // after the receipt, if it was asked to wait
	Error   *Error   `json:"failed,omitempty"`
}

// Receipt acknowledges: what it counts is durable here.
type Receipt struct {
	Records   int                 `json:"records"`
	Envelopes int                 `json:"envelopes"` // feed entries, grants among them
	Feed      protocol.FeedID     `json:"feed"`
	From      uint64              `json:"from"`
	To        uint64              `json:"to"`
	IDs       []protocol.RecordID `json:"ids,omitempty"`
	Parts     []ReceiptPart       `json:"parts"` // all of it, by feed; the first is the one above
}

// ReceiptPart is what of a publication stands in one feed, and who may store it.
type ReceiptPart struct {
	Feed    protocol.FeedID `json:"feed"`
	From    uint64          `json:"from"`
	To      uint64          `json:"to"`
	Holders []string        `json:"holders"` // of a direct feed; none: every member
}

// Waited says whether what was to be waited for came.
type Waited struct {
	Came    bool   `json:"came"`
	Missing string `json:"missing,omitempty"` // what did not
}

// maxWait bounds how long a publication waits for copies and receipts.
const maxWait = time.Hour

// PublishQuery says how a file is to be published, besides what the file states itself.
type PublishQuery struct {
	Topic           string   `query:"topic" required:"true"`
	Format          string   `query:"format" doc:"auto, stix, misp or list; without it, auto"`
	Validation      string   `query:"validation" doc:"of STIX: lenient or strict; without it, lenient"`
	File            string   `query:"file" doc:"its name, for messages"`
	TLP             string   `query:"tlp" doc:"clear, green, amber, amber+strict or red"`
	PAP             string   `query:"pap" doc:"permissible actions: clear, green, amber or red"`
	Personal        string   `query:"personal" doc:"none, network (addresses of victims) or all; without it undetermined, which is treated as all"`
	PersonalChecked bool     `query:"personal_checked" doc:"a person looked at records that seem to hold more personal data than is stated"`
	Countries       []string `query:"country" doc:"ISO 3166-1 alpha-2 codes of the countries that it is about"`
	Purposes        []string `query:"purpose" doc:"what it may be used for"`
	To              []string `query:"to" doc:"only to these organisations"`
	Exclude         []string `query:"exclude" doc:"not to these organisations"`
	Origin          string   `query:"origin" doc:"named or withheld: whether who may pass it on may withhold whose it is; without it, named"`
	Onward          []string `query:"onward" doc:"to whom it may be passed on: nobody, partners, kind:police and the like, or organisations"`
	OnwardTLP       string   `query:"onward_tlp" doc:"up to which TLP it may be passed on"`
	Retention       uint64   `query:"retention" doc:"days that readers may keep it; 0: no bound of its own"`
	OnBehalf        string   `query:"on_behalf" doc:"the organisation on whose behalf it is published, under its mandate"`
	Reliability     string   `query:"reliability" doc:"of a list: reliability of its source on the Admiralty scale, A to F"`
	Credibility     string   `query:"credibility" doc:"of a list: credibility of what it says on the Admiralty scale, 1 to 6"`
	Evaluation      string   `query:"europol_evaluation" doc:"of a list: Europol's evaluation, as B2"`
	EuropolHandling []string `query:"europol_handling" doc:"of a list: Europol's handling codes, H0 to H3"`
	EuropolText     string   `query:"europol_text" doc:"of a list: what the handling codes restrict, in words; required with H3"`
	Generation      uint64   `query:"generation" doc:"of the plan that somebody agreed to; if the state changed since, nothing is published"`
	DryRun          bool     `query:"dry_run" doc:"only the plan"`
	IDs             bool     `query:"ids" doc:"the ids of all records in the receipt, however many"`
	Copies          uint64   `query:"copies" doc:"wait until as many other organisations hold it"`
	Received        []string `query:"received" doc:"wait until these organisations signed that they opened what is for them"`
	Wait            string   `query:"wait" doc:"how long to wait: 30s, 5m; without it, a minute"`
}

// await reads what a publication is to wait for; nil for nothing.
func (s *Server) await(q *PublishQuery) (*node.Await, time.Duration, error) {
	wait := time.Minute
	var err error
	if q.Wait != "" {
		if wait, err = time.ParseDuration(q.Wait); err != nil || wait <= 0 || wait > maxWait {
			return nil, 0, protocol.Errorf(protocol.ErrMalformed, "%q is not a time to wait; write 30s or 5m, at most %s", q.Wait, maxWait)
		}
	}
	w := &node.Await{Copies: int(min(q.Copies, 1<<20))}
	if w.Received, err = s.findOrgs(q.Received); err != nil {
		return nil, 0, err
	}
	if w.Copies == 0 && len(w.Received) == 0 {
		return nil, 0, nil
	}
	return w, wait, nil
}

// flags reads the handling that the request gives besides what the file states.
func (s *Server) flags(q *PublishQuery) (policy.Flags, error) {
	var f policy.Flags
	var err error
	if v := q.TLP; v != "" {
		if f.TLP, err = protocol.ParseTLP(v); err != nil {
			return f, err
		}
	}
	if v := q.PAP; v != "" {
		if f.PAP, err = protocol.ParsePAP(v); err != nil {
			return f, err
		}
	}
	if v := q.Personal; v != "" {
		if f.Personal, err = protocol.ParsePersonalData(v); err != nil {
			return f, err
		}
	}
	for _, c := range q.Countries {
		c = strings.ToUpper(c)
		if !protocol.IsCountry(c) {
			return f, protocol.Errorf(protocol.ErrMalformed, "%q is not a country code; use ISO 3166-1 alpha-2, as TH", c)
		}
		f.Countries = append(f.Countries, c)
	}
	f.Purposes = q.Purposes
	if f.To, err = s.findOrgs(q.To); err != nil {
		return f, err
	}
	if f.Exclude, err = s.findOrgs(q.Exclude); err != nil {
		return f, err
	}
	if v := q.Origin; v != "" {
		if f.Origin, err = protocol.ParseOriginRule(v); err != nil {
			return f, err
		}
	}
	if f.Onward, err = s.onwardRule(q.Onward, q.OnwardTLP); err != nil {
		return f, err
	}
	f.RetentionDays = uint32(min(q.Retention, 36500))
	return f, nil
}

// onwardRule reads to whom records may be passed on: nobody, partners, kinds of organisation
// (kind:police), or organisations.
func (s *Server) onwardRule(said []string, ceiling string) (o protocol.Onward, err error) {
	if ceiling != "" {
		if o.Ceiling, err = protocol.ParseTLP(ceiling); err != nil {
			return o, err
		}
	}
	if len(said) == 0 && ceiling != "" {
		return o, protocol.Errorf(protocol.ErrMalformed, "a ceiling for passing on needs to whom; give --onward too")
	}
	for _, v := range said {
		rule := protocol.OnwardNamed
		switch kind, isKind := strings.CutPrefix(v, "kind:"); {
		case v == protocol.OnwardNobody.String():
			rule = protocol.OnwardNobody
		case v == protocol.OnwardPartners.String():
			rule = protocol.OnwardPartners
		case isKind:
			rule = protocol.OnwardKinds
			k, err := protocol.ParseOrgKind(kind)
			if err != nil {
				return o, err
			}
			o.Kinds = append(o.Kinds, k)
		default:
			org, err := s.node.FindOrg(v)
			if err != nil {
				return o, err
			}
			o.Orgs = append(o.Orgs, org)
		}
		if len(said) > 1 && (rule != o.Rule && o.Rule != protocol.OnwardNobody || rule == protocol.OnwardNobody || rule == protocol.OnwardPartners) {
			return o, protocol.Errorf(protocol.ErrMalformed, "--onward takes nobody, partners, several kinds, or several organisations, not some of each")
		}
		o.Rule = rule
	}
	if o.Rule == protocol.OnwardNobody && len(said) > 0 && o.Ceiling == protocol.TLPUnset {
		o.Ceiling = protocol.TLPClear // said, and not left open
	}
	return o, nil
}

// assessment reads what a list's indicators are to say of how far they can be relied on; nil: nothing.
func assessment(q *PublishQuery) (*stix.Assessment, error) {
	a, err := stix.ParseAssessment(q.Reliability, q.Credibility, q.Evaluation, q.EuropolHandling, q.EuropolText)
	if err != nil || a.IsZero() {
		return nil, err
	}
	return &a, nil
}

// assessments counts items by what they say, the most first. Of very many kinds the rest is counted
// together.
func assessments(items []intake.Item) []PlanAssessment {
	definitions := map[string]*stix.Object{}
	for i := range items {
		if o := items[i].Object; o.Type == "marking-definition" {
			definitions[o.ID] = o
		}
	}
	define := func(id string) *stix.Object { return definitions[id] }
	out := []PlanAssessment{}
	at := map[string]int{}
	more := 0
	for i := range items {
		a := stix.Assess(items[i].Object, define)
		if a.IsZero() {
			continue
		}
		text := a.String()
		k, ok := at[text]
		switch {
		case ok:
			out[k].Records++
		case len(out) < maxAssessments:
			at[text] = len(out)
			out = append(out, PlanAssessment{Text: text, Records: 1, Said: a})
		default:
			more++
		}
	}
	slices.SortStableFunc(out, func(a, b PlanAssessment) int { return b.Records - a.Records })
	if more > 0 {
		out = append(out, PlanAssessment{Text: "others", Records: more})
	}
	return out
}

func (s *Server) publish(w http.ResponseWriter, r *http.Request, q *PublishQuery) {
	flags, err := s.flags(q)
	if err != nil {
		fail(w, err)
		return
	}
	format, err := intake.ParseFormat(q.Format)
	if err != nil {
		fail(w, err)
		return
	}
	want, wait, err := s.await(q)
	if err != nil {
		fail(w, err)
		return
	}
	name := q.File
	if name == "" {
		name = "-"
	}
	said, err := assessment(q)
	if err != nil {
		fail(w, err)
		return
	}
	mode, err := stix.ParseMode(q.Validation)
	if err != nil {
		fail(w, err)
		return
	}
	res, err := intake.Read(name, http.MaxBytesReader(w, r.Body, maxUpload), intake.Options{Format: format, Assessment: said, Validation: mode, Orgs: s.node.MISPOrg})
	if err != nil {
		fail(w, err)
		return
	}
	if err := s.node.KeepCreated(res.Items); err != nil {
		fail(w, err)
		return
	}
	req := node.PublishRequest{Topic: q.Topic, Items: res.Items, Flags: flags, PersonalChecked: q.PersonalChecked}
	if q.OnBehalf != "" {
		if req.OnBehalf, err = s.node.FindOrg(q.OnBehalf); err != nil {
			fail(w, err)
			return
		}
	}
	p, err := s.node.Plan(req)
	if err != nil {
		fail(w, err)
		return
	}
	if !q.DryRun {
		if err := s.narrow(r, rules.Publish); err != nil {
			fail(w, err)
			return
		}
	}
	if err := s.node.MayPublish(callerOf(r), p); err != nil {
		fail(w, err)
		return
	}
	plan := s.planOf(p, res)
	if q.Generation != 0 && q.Generation != p.Generation {
		fail(w, node.ErrStale)
		return
	}
	out := newStream(w)
	if out.send(PublishEvent{Plan: &plan}) != nil || q.DryRun {
		return
	}
	last := time.Now()
	req.Progress = func(done, total int) {
		if time.Since(last) > 50*time.Millisecond || done == total {
			last = time.Now()
			_ = out.send(PublishEvent{Done: done, Total: total})
		}
	}
	req.Generation = q.Generation
	rec, err := s.node.Publish(r.Context(), req)
	if err != nil {
		e := Error{Message: err.Error(), Class: protocol.Class(err)}
		if errors.Is(err, node.ErrStale) {
			e.Class = "stale"
		}
		_ = out.send(PublishEvent{Error: &e})
		return
	}
	receipt := Receipt{Records: len(rec.Records), Envelopes: rec.Envelopes, Feed: rec.Feed, From: rec.From, To: rec.To, Parts: []ReceiptPart{}}
	for _, p := range rec.Parts {
		part := ReceiptPart{Feed: p.Feed, From: p.From, To: p.To, Holders: []string{}}
		for _, o := range p.Roster {
			part.Holders = append(part.Holders, s.name(o))
		}
		receipt.Parts = append(receipt.Parts, part)
	}
	if q.IDs || len(rec.Records) <= 100 {
		receipt.IDs = rec.Records
	}
	if out.send(PublishEvent{Receipt: &receipt}) != nil || want == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	waited := Waited{Came: true}
	if err := s.node.WaitCopies(ctx, rec, *want); err != nil {
		waited = Waited{Missing: err.Error()}
	}
	_ = out.send(PublishEvent{Waited: &waited})
}

func (s *Server) planOf(p *node.Plan, res *intake.Result) Plan {
	plan := Plan{Format: string(res.Format), Topic: p.Topic, Generation: p.Generation, Records: p.Records, Duplicates: res.Duplicates,
		Orgs: p.Orgs, Refused: p.Refused, Holders: p.Holders, Problems: []string{}, Notes: append([]string{}, res.Notes...)}
	plan.Notes = append(plan.Notes, p.Warnings...)
	if principal, id, ok := p.OnBehalf(); ok {
		plan.OnBehalf = &PlanBehalf{Principal: s.name(principal), Mandate: id}
	}
	for _, what := range slices.Sorted(maps.Keys(p.Personal)) {
		plan.Notes = append(plan.Notes, fmt.Sprintf("%d records hold %s", p.Personal[what], what))
	}
	if plan.Orgs == nil {
		plan.Orgs = []node.PlanOrg{}
	}
	if plan.Refused == nil {
		plan.Refused = []node.RefusedItem{}
	}
	for _, pr := range res.Problems {
		plan.Problems = append(plan.Problems, pr.String())
	}
	merged := map[string]*PlanHandling{}
	for _, c := range p.Classes {
		readers := []string{}
		for _, d := range c.Readers {
			readers = append(readers, s.name(d.Org))
		}
		key := c.Handling.TLP.String() + "|" + strings.Join(c.Handling.Countries, ",") + "|" + strings.Join(readers, "|")
		if merged[key] == nil {
			merged[key] = &PlanHandling{TLP: c.Handling.TLP.String(), Countries: c.Handling.Countries, Readers: readers}
		}
		merged[key].Records += c.Records
	}
	plan.Handling = sortedHandling(merged)
	plan.Assessments = assessments(res.Items)
	return plan
}

func sortedHandling(m map[string]*PlanHandling) []PlanHandling {
	out := []PlanHandling{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, *m[key])
	}
	return out
}

// findOrgs finds organisations by their names or ids; none are nil.
func (s *Server) findOrgs(names []string) (orgs []protocol.OrgID, err error) {
	for _, v := range names {
		org, err := s.node.FindOrg(v)
		if err != nil {
			return nil, err
		}
		orgs = append(orgs, org)
	}
	return orgs, nil
}
