package stix

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/protocol"
)

// namespace is the UUID namespace of every deterministic id that this project makes.
var namespace = uuid.MustParse("4b6f5c0e-9d1a-4e57-8a43-6d2f0b7c91e5")

// HandlingExtension is the id of our extension definition. It adds to an object what TLP and
// PAP cannot say. All keys are optional; an unknown key is an error, because a restriction
// that is not understood must not be dropped.
//
//	"extensions": {
//	  "extension-definition--<id>": {
//	    "extension_type": "property-extension",
//	    "countries":      ["TH", "VN"],           ISO 3166-1 alpha-2, upper case
//	    "pap":            "amber",                clear, green, amber, red
//	    "personal_data":  "network",              none, network, all
//	    "purposes":       ["investigation"],
//	    "retention_days": 90,
//	    "onward":         {"rule": "named", "orgs": ["org:…"], "kinds": ["cert"], "ceiling": "green"},
//	    "excluded":       ["org:…"],
//	    "named":          ["org:…"],
//	    "origin":         "withheld"              named, withheld: whether who passes it on may withhold whose it is
//	    "reliability":        "B",                    what follows is read by [Assess] and restricts nothing
//	    "credibility":        2,
//	    "europol_evaluation": "B2",
//	    "europol_handling":   ["H1"],
//	    "europol_text":       "…"
//	  }
//	}
const HandlingExtension = "extension-definition--4e244230-b77e-5930-943e-c1ec92cead7f"

// extensionForm is the extension as JSON; the order of the fields is the order of writing.
type extensionForm struct {
	ExtensionType string           `json:"extension_type"`
	Countries     []string         `json:"countries,omitempty"`
	PAP           string           `json:"pap,omitempty"`
	Personal      string           `json:"personal_data,omitempty"`
	Purposes      []string         `json:"purposes,omitempty"`
	RetentionDays uint32           `json:"retention_days,omitempty"`
	Onward        *onwardForm      `json:"onward,omitempty"`
	Excluded      []protocol.OrgID `json:"excluded,omitempty"`
	Named         []protocol.OrgID `json:"named,omitempty"`
	Origin        string           `json:"origin,omitempty"`

	// Codes are shown as they are, and whatever they hold: Assess reads them.
	Reliability json.RawMessage `json:"reliability,omitempty"`
	Credibility json.RawMessage `json:"credibility,omitempty"`
	Evaluation  json.RawMessage `json:"europol_evaluation,omitempty"`
	Codes       json.RawMessage `json:"europol_handling,omitempty"`
	Text        json.RawMessage `json:"europol_text,omitempty"`
}

type onwardForm struct {
	Rule    string             `json:"rule"`
	Orgs    []protocol.OrgID   `json:"orgs,omitempty"`
	Kinds   []protocol.OrgKind `json:"kinds,omitempty"`
	Ceiling string             `json:"ceiling,omitempty"`
}

var extensionKeys = map[string]bool{"extension_type": true, "countries": true, "pap": true,
	"personal_data": true, "purposes": true, "retention_days": true, "onward": true,
	"excluded": true, "named": true, "origin": true, "reliability": true, "credibility": true, "europol_evaluation": true,
	"europol_handling": true, "europol_text": true}

var onwardKeys = map[string]bool{"rule": true, "orgs": true, "kinds": true, "ceiling": true}

// WriteExtension returns the value of an object's "extensions" property that says what h
// says beyond its TLP, which belongs into object_marking_refs ([TLPMarkingID]). It returns
// nil if h says nothing beyond.
func WriteExtension(h protocol.Handling) []byte {
	form := extensionForm{
		ExtensionType: "property-extension",
		Countries:     h.Countries, Purposes: h.Purposes, RetentionDays: h.RetentionDays,
		Excluded: h.Excluded, Named: h.Named,
	}
	if h.PAP != protocol.PAPUnset {
		form.PAP = h.PAP.String()
	}
	if h.Personal != protocol.PersonalUndetermined {
		form.Personal = h.Personal.String()
	}
	if h.Origin != protocol.OriginUnset {
		form.Origin = h.Origin.String()
	}
	if w := h.Onward; w.Rule != protocol.OnwardNobody || w.Ceiling != protocol.TLPUnset || len(w.Orgs)+len(w.Kinds) > 0 {
		form.Onward = &onwardForm{Rule: w.Rule.String(), Orgs: w.Orgs, Kinds: w.Kinds}
		if w.Ceiling != protocol.TLPUnset {
			form.Onward.Ceiling = w.Ceiling.String()
		}
	}
	said := marshal(form)
	if string(said) == `{"extension_type":"property-extension"}` {
		return nil
	}
	return marshal(map[string]json.RawMessage{HandlingExtension: said})
}

// readExtension adds what the object's handling extension says to h.
func readExtension(o *Object, h *protocol.Handling) error {
	v := o.property("extensions")
	if v == nil {
		return nil
	}
	members, err := splitMembers(v)
	if err != nil {
		return fmt.Errorf("reading extensions: %w", err)
	}
	for _, m := range members {
		if string(m.name) != HandlingExtension {
			continue
		}
		if err := readForm(m.value, h); err != nil {
			return fmt.Errorf("reading handling extension: %w", err)
		}
	}
	return nil
}

func readForm(v json.RawMessage, h *protocol.Handling) error {
	members, err := checkKeys(v, extensionKeys)
	if err != nil {
		return err
	}
	for _, m := range members {
		if string(m.name) == "onward" {
			if _, err := checkKeys(m.value, onwardKeys); err != nil {
				return fmt.Errorf("onward: %w", err)
			}
		}
	}
	var form extensionForm
	if err := json.Unmarshal(v, &form); err != nil {
		return malformed("%v", err)
	}
	if form.ExtensionType != "property-extension" {
		return malformed("extension_type must be \"property-extension\"")
	}
	h.Countries, h.Purposes, h.RetentionDays = form.Countries, form.Purposes, form.RetentionDays
	h.Excluded, h.Named = form.Excluded, form.Named
	if form.PAP != "" {
		if h.PAP, err = protocol.ParsePAP(form.PAP); err != nil {
			return malformed("%v", err)
		}
	}
	if form.Personal != "" {
		if h.Personal, err = protocol.ParsePersonalData(form.Personal); err != nil {
			return malformed("%v", err)
		}
	}
	if form.Origin != "" {
		if h.Origin, err = protocol.ParseOriginRule(form.Origin); err != nil {
			return malformed("%v", err)
		}
	}
	if form.Onward != nil {
		return form.Onward.read(&h.Onward)
	}
	return nil
}

func (f *onwardForm) read(o *protocol.Onward) (err error) {
	if o.Rule, err = protocol.ParseOnwardRule(f.Rule); err != nil {
		return malformed("%v", err)
	}
	o.Orgs, o.Kinds = f.Orgs, f.Kinds
	if o.Rule == protocol.OnwardNobody && f.Ceiling == "" && len(o.Orgs)+len(o.Kinds) == 0 {
		o.Ceiling = protocol.TLPClear // it is said, and not left open: no flag may fill it in
	}
	if f.Ceiling != "" {
		if o.Ceiling, err = protocol.ParseTLP(f.Ceiling); err != nil {
			return malformed("%v", err)
		}
	}
	return nil
}

// checkKeys refuses keys that are not in known, compared exactly.
func checkKeys(v json.RawMessage, known map[string]bool) ([]member, error) {
	members, err := splitMembers(v)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if !known[string(m.name)] {
			return nil, malformed("unknown key %q; this node may be too old to read it", clip(string(m.name)))
		}
		if string(m.value) == "null" {
			return nil, malformed("key %q is null; leave it out instead", m.name)
		}
	}
	return members, nil
}
