package intake

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// publishing is one event on its way into STIX.
type publishing struct {
	*builder
	event    *mispEvent
	name     string // makes ids where the event has no UUID
	at       time.Time
	handling protocol.Handling // of the event; an attribute's tags may only narrow it
	org      string            // id of the identity that stands for the event's organisation
	refs     []string          // what the report refers to
	context  map[contextKey][]string
	order    []contextKey
	ownOnly  int // attributes whose distribution is "your organisation only"
}

// contextKey groups attributes that may go into one note: those with the same labels.
type contextKey struct {
	tlp protocol.TLP
	pap protocol.PAP
}

// publishEvent turns an event into an identity (its organisation), an indicator or an
// observed object for every attribute that can be observed, notes that carry every other
// attribute, and a report that holds all together.
func (b *builder) publishEvent(e *mispEvent) {
	p := &publishing{builder: b, event: e, context: map[contextKey][]string{}}
	p.name = string(e.UUID) + "\x00" + string(e.Info) + "\x00" + string(e.Date)
	fallback := epoch
	if t, err := time.Parse("2006-01-02", string(e.Date)); err == nil && t.Year() > 0 {
		fallback = t
	}
	p.at = e.Timestamp.when(fallback)
	if b.Title == "" {
		b.Title = string(e.Info)
	}
	h, err := tagHandling(e.tags)
	if err != nil {
		b.problem(e.line, "event %s: %v; nothing of it is published", shown(string(e.Info)), err)
		for _, a := range e.attributes {
			b.problem(a.line, "%s %s: its event cannot be judged", a.Type, shown(string(a.Value)))
		}
		return
	}
	p.handling = h
	if e.Distribution == "0" {
		b.note("event %s is marked \"your organisation only\" in MISP; think before you publish it", shown(string(e.Info)))
	}
	for _, what := range slices.Sorted(maps.Keys(e.skipped)) {
		b.note("event %s: %d of %s are not carried over", shown(string(e.Info)), e.skipped[what], what)
	}
	p.identity()
	for i := range e.attributes {
		p.attribute(&e.attributes[i])
	}
	if p.ownOnly > 0 {
		b.note("event %s: %d attributes are marked \"your organisation only\" in MISP", shown(string(e.Info)), p.ownOnly)
	}
	for _, r := range e.reports {
		p.addContext(h, r.line, "event report "+string(r.Name)+": "+string(r.Content))
	}
	p.reports()
}

// identity makes the organisation of the event (MISP "Orgc").
func (p *publishing) identity() {
	if p.event.orgName == "" {
		return
	}
	when := epoch.Format(stix.TimeFormat)
	id := ownUUID("identity", p.event.orgUUID, p.event.orgName)
	o, err := stix.Parse(encode(struct {
		Type     string `json:"type"`
		Spec     string `json:"spec_version"`
		ID       string `json:"id"`
		Created  string `json:"created"`
		Modified string `json:"modified"`
		Name     string `json:"name"`
		Class    string `json:"identity_class"`
	}{"identity", "2.1", id, when, when, p.event.orgName, "organization"}))
	if err != nil {
		p.problem(p.event.line, "organisation %s: %v", shown(p.event.orgName), err)
		return
	}
	p.org = id
	p.put(o, p.event.line, "", p.handling)
}

// put adds an item that the report will refer to.
func (p *publishing) put(o *stix.Object, line int, value string, h protocol.Handling) {
	p.add(Item{Object: o, Handling: h, Line: line, Value: value})
	p.refs = append(p.refs, o.ID)
}

func (p *publishing) attribute(a *mispAttribute) {
	if a.Gone.isTrue() {
		p.problem(a.line, "%s %s is deleted in MISP; left out", a.Type, shown(string(a.Value)))
		return
	}
	var tags []string
	for _, t := range a.Tag {
		tags = append(tags, string(t.Name))
	}
	h, err := tagHandling(tags)
	if err != nil {
		p.problem(a.line, "%s %s: %v", a.Type, shown(string(a.Value)), err)
		return
	}
	h.TLP, h.PAP = max(h.TLP, p.handling.TLP), max(h.PAP, p.handling.PAP)
	if a.Dist == "0" {
		p.ownOnly++
	}
	found, isContext, ok := a.observables()
	switch {
	case isContext:
		p.addContext(h, a.line, a.describe())
	case !ok:
		p.problem(a.line, "%s is not of the type %s", shown(string(a.Value)), shown(string(a.Type)))
	case a.IDs.isTrue():
		p.indicator(a, found, h)
	default:
		p.observed(a, found, h)
	}
}

// indicator makes an indicator of an attribute that MISP would alert on (to_ids).
func (p *publishing) indicator(a *mispAttribute, found []stix.Observable, h protocol.Handling) {
	when := a.Time.when(p.at).Format(stix.TimeFormat)
	o, err := stix.Indicator{
		ID:        ownUUID("indicator", string(a.UUID), p.name+"\x00"+string(a.Type)+"\x00"+string(a.Value)),
		CreatedBy: p.org, Created: when, Modified: when, ValidFrom: when,
		Name: string(a.Value), Description: string(a.Comment),
		Pattern: mispPattern(found), Labels: p.assessed(a.labels()), Markings: markingRefs(h),
	}.Object()
	if err != nil {
		p.problem(a.line, "%s %s: %v", a.Type, shown(string(a.Value)), err)
		return
	}
	p.put(o, a.line, found[len(found)-1].Value, h)
}

// observed makes the object that was seen; the words about it go into the notes.
func (p *publishing) observed(a *mispAttribute, found []stix.Observable, h protocol.Handling) {
	objects, err := observedObjects(found, markingRefs(h))
	if err != nil {
		p.problem(a.line, "%s %s: %v", a.Type, shown(string(a.Value)), err)
		return
	}
	for _, o := range objects {
		p.put(o, a.line, "", h)
	}
	if a.Comment != "" || len(a.labels()) > 0 || strings.HasSuffix(string(a.Type), "|port") {
		p.addContext(h, a.line, a.describe())
	}
}

// describe says an attribute in one line of a note.
func (a *mispAttribute) describe() string {
	s := string(a.Type) + ": " + string(a.Value)
	if a.object != "" {
		s = a.object + "/" + string(a.Rel) + " " + s
	}
	if a.Comment != "" {
		s += " (" + string(a.Comment) + ")"
	}
	if labels := a.labels(); len(labels) > 0 {
		s += " [" + strings.Join(labels, ", ") + "]"
	}
	if a.Data != "" {
		s += fmt.Sprintf(" (an attachment of %d bytes in base64 is left out)", len(a.Data))
	}
	return s
}

// labels returns the attribute's tags other than those of TLP and PAP.
func (a *mispAttribute) labels() (list []string) {
	for _, t := range a.Tag {
		if _, _, isHandling, _ := stix.ReadLabel(string(t.Name)); !isHandling && t.Name != "" {
			list = append(list, string(t.Name))
		}
	}
	return list
}

// assessed adds the event's tags that say how far it can be relied on to an attribute's that says
// nothing of the same kind: what is said of an event in MISP is said of all of it.
func (p *publishing) assessed(labels []string) []string {
	said := map[string]bool{}
	for _, l := range labels {
		said[stix.AssessmentTag(l)] = true
	}
	out := slices.Clone(labels)
	for _, l := range eventLabels(p.event.tags) {
		if kind := stix.AssessmentTag(l); kind != "" && !said[kind] {
			out = append(out, l)
		}
	}
	return out
}
