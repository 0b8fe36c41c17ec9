package intake

import (
	"fmt"
	"strings"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Bounds that keep the objects about an event well below protocol.MaxObjectSize, 512 KiB,
// also with every byte escaped in JSON.
const (
	maxNoteText   = 64 << 10 // bytes of text in one note
	maxReportRefs = 4096     // objects that one report refers to
	maxLabels     = 512
)

// document is a report (STIX 4.16) or a note (STIX 4.13); it is written in this order.
type document struct {
	Type        string   `json:"type"`
	Spec        string   `json:"spec_version"`
	ID          string   `json:"id"`
	CreatedBy   string   `json:"created_by_ref,omitempty"`
	Created     string   `json:"created"`
	Modified    string   `json:"modified"`
	Name        string   `json:"name,omitempty"`
	Description string   `json:"description,omitempty"`
	Abstract    string   `json:"abstract,omitempty"`
	Content     string   `json:"content,omitempty"`
	Published   string   `json:"published,omitempty"`
	Refs        []string `json:"object_refs"`
	Labels      []string `json:"labels,omitempty"`
	Markings    []string `json:"object_marking_refs,omitempty"`
}

// addContext keeps a line for the event's notes. A line that is longer than a note is a
// problem: cut text would be mistaken for the whole.
func (p *publishing) addContext(h protocol.Handling, line int, text string) {
	if len(text) > maxNoteText {
		p.problem(line, "text of %d bytes, at most %d fit a note; left out", len(text), maxNoteText)
		return
	}
	key := contextKey{h.TLP, h.PAP}
	if _, ok := p.context[key]; !ok {
		p.order = append(p.order, key)
	}
	p.context[key] = append(p.context[key], text)
}

// reports writes the report on the event, in parts if it refers to very many objects, and
// the notes on it. The report itself carries the event's own labels.
func (p *publishing) reports() {
	e := p.event
	if len(p.refs) == 0 {
		p.problem(e.line, "event %s holds nothing observable and names no organisation (Orgc); nothing to refer to, left out",
			shown(string(e.Info)))
		return
	}
	when := p.at.Format(stix.TimeFormat)
	name := strings.TrimSpace(string(e.Info))
	if name == "" {
		name = "MISP event without a title"
	}
	refs, first := unique(p.refs), ""
	parts := (len(refs) + maxReportRefs - 1) / maxReportRefs
	for part := range parts {
		d := document{
			Type: "report", CreatedBy: p.org, Created: when, Modified: when, Published: when,
			Name:   name,
			Refs:   refs[part*maxReportRefs : min((part+1)*maxReportRefs, len(refs))],
			Labels: eventLabels(e.tags), Markings: markingRefs(p.handling),
		}
		d.ID = ownUUID("report", string(e.UUID), p.name)
		if part > 0 {
			d.ID = stix.NewID("report", fmt.Sprintf("misp\x00%s\x00%d", p.name, part))
			d.Name = fmt.Sprintf("%s (part %d of %d)", name, part+1, parts)
		}
		if p.document(d, p.handling) && first == "" {
			first = d.ID
		}
	}
	if first == "" { // the report was refused, with a problem: the notes hang on something else
		first = refs[0]
	}
	p.notes(when, first)
}

// notes writes the context, grouped by label, in pieces that fit an object.
func (p *publishing) notes(when, about string) {
	for _, key := range p.order {
		h := p.handling
		h.TLP, h.PAP = key.tlp, key.pap
		lines := p.context[key]
		for n := 0; len(lines) > 0; n++ {
			size, count := 0, 0
			for count < len(lines) && (count == 0 || size+len(lines[count])+1 <= maxNoteText) {
				size += len(lines[count]) + 1
				count++
			}
			p.document(document{
				Type: "note", CreatedBy: p.org, Created: when, Modified: when,
				ID:       stix.NewID("note", fmt.Sprintf("misp\x00%s\x00%d\x00%d\x00%d", p.name, key.tlp, key.pap, n)),
				Abstract: "context of a MISP event: attributes that are not observable, and comments",
				Content:  strings.Join(lines[:count], "\n"),
				Refs:     []string{about}, Markings: markingRefs(h),
			}, h)
			lines = lines[count:]
		}
	}
}

func (p *publishing) document(d document, h protocol.Handling) bool {
	d.Spec = "2.1"
	o, err := stix.Parse(encode(d))
	if err != nil {
		p.problem(p.event.line, "%s on event %s: %v", d.Type, shown(string(p.event.Info)), err)
		return false
	}
	p.add(Item{Object: o, Handling: h, Line: p.event.line})
	return true
}

func eventLabels(tags []string) (list []string) {
	for _, t := range unique(tags) {
		if _, _, isHandling, _ := stix.ReadLabel(t); !isHandling && t != "" && len(t) <= 256 && len(list) < maxLabels {
			list = append(list, t)
		}
	}
	return list
}

func unique(list []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
