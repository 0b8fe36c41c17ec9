package stix

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// tlpExtension is the extension definition of TLP 2.0 (OASIS cti-stix-common-objects).
const tlpExtension = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"

const markingPrefix = "marking-definition--"

// tlpIDs are the marking definitions known by their id alone. Two encodings of TLP 2.0 are
// in use: OASIS's extension, and TLP 1's ids (STIX 7.2.1.4) with an id of OpenCTI's for
// AMBER+STRICT, which TLP 1 did not have. Both are read, OASIS's is written.
var tlpIDs = map[string]protocol.TLP{
	markingPrefix + "94868c89-83c2-464b-929b-a1a8aa3c8487": protocol.TLPClear,
	markingPrefix + "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": protocol.TLPGreen,
	markingPrefix + "55d920b0-5e8b-4f79-9ee9-91f868d9b421": protocol.TLPAmber,
	markingPrefix + "939a9414-2ddd-4d32-a0cd-375ea402b003": protocol.TLPAmberStrict,
	markingPrefix + "e828b379-4e03-4974-9ac4-e53a884c97c1": protocol.TLPRed,

	markingPrefix + "613f2e26-407d-48c7-9eca-b8e91df99dc9": protocol.TLPClear, // WHITE
	markingPrefix + "34098fce-860f-48ae-8e50-ebd3cc5e41da": protocol.TLPGreen,
	markingPrefix + "f88d31f6-486f-44da-b317-01333bde0b82": protocol.TLPAmber,
	markingPrefix + "826578e1-40ad-459f-bc73-ede076f81f37": protocol.TLPAmberStrict, // OpenCTI
	markingPrefix + "5e57c739-391a-4eb3-b6be-7d15ca92d5ed": protocol.TLPRed,
}

// tlpMarkingIDs are OASIS's ids, by label.
var tlpMarkingIDs = [...]string{
	protocol.TLPClear:       "94868c89-83c2-464b-929b-a1a8aa3c8487",
	protocol.TLPGreen:       "bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
	protocol.TLPAmber:       "55d920b0-5e8b-4f79-9ee9-91f868d9b421",
	protocol.TLPAmberStrict: "939a9414-2ddd-4d32-a0cd-375ea402b003",
	protocol.TLPRed:         "e828b379-4e03-4974-9ac4-e53a884c97c1",
}

// TLPMarkingID returns the id of OASIS's marking definition for a label, "" for TLPUnset.
func TLPMarkingID(t protocol.TLP) string {
	if int(t) >= len(tlpMarkingIDs) || tlpMarkingIDs[t] == "" {
		return ""
	}
	return markingPrefix + tlpMarkingIDs[t]
}

// IsTLPMarking reports whether id is one of the marking definitions of TLP itself, which
// are the same everywhere and need not be passed round.
func IsTLPMarking(id string) bool {
	return strings.HasPrefix(id, markingPrefix) && tlpOf(id) != protocol.TLPUnset
}

// MarkingTLP returns the label that a marking definition of TLP stands for; TLPUnset for others.
func MarkingTLP(id string) protocol.TLP { return tlpOf(id) }

// WithMarking returns the bytes of an object with one marking more behind those that it has; nothing
// else of them is changed.
func WithMarking(o *Object, id string) []byte {
	added := appendString(nil, id)
	v := o.property("object_marking_refs")
	if v == nil {
		end := bytes.LastIndexByte(o.source, '}')
		out := append(slices.Clone(o.source[:end]), `,"object_marking_refs":[`...)
		return append(append(out, added...), "]}"...)
	}
	for _, s := range o.spans {
		if string(s.nameIn(o.source)) != "object_marking_refs" {
			continue
		}
		end := int(s.end) - 1 // of the list
		out := slices.Clone(o.source[:end])
		if len(bytes.TrimSpace(v[1:len(v)-1])) > 0 {
			out = append(out, ',')
		}
		out = append(out, added...)
		return append(out, o.source[end:]...)
	}
	return o.source
}

// WithCreated returns the bytes of an object that was created at another time, written as text; every
// other byte stays. An object that states no time of its creation stays as it is.
func WithCreated(o *Object, text string) []byte {
	for _, s := range o.spans {
		if string(s.nameIn(o.source)) == "created" {
			out := append(slices.Clone(o.source[:s.value]), appendString(nil, text)...)
			return append(out, o.source[s.end:]...)
		}
	}
	return o.source
}

// tlpOf returns the label that a marking stands for by its id alone. A UUID may be written in
// either case; most are written in lower case.
func tlpOf(id string) protocol.TLP {
	if t, ok := tlpIDs[id]; ok {
		return t
	}
	return tlpIDs[strings.ToLower(id)]
}

// TLPMarkingDefinition returns OASIS's marking definition for a label as a STIX object, nil
// for TLPUnset.
func TLPMarkingDefinition(t protocol.TLP) []byte {
	id := TLPMarkingID(t)
	if id == "" {
		return nil
	}
	return fmt.Appendf(nil, `{"type":"marking-definition","spec_version":"2.1","id":%q,`+
		`"created":"2022-10-01T00:00:00.000Z","name":"TLP:%s","extensions":{%q:`+
		`{"extension_type":"property-extension","tlp_2_0":%q}}}`,
		id, strings.ToUpper(t.String()), tlpExtension, t.String())
}

// Markings judges what the markings on an object mean, by the marking definitions given to
// [NewMarkings] and those of TLP, which are known without being given.
type Markings struct {
	defs map[string]marking
}

// marking is what one definition asks for. A statement (a copyright, say) asks for nothing.
type marking struct {
	tlp protocol.TLP
	pap protocol.PAP
	err error // cannot be judged
}

// NewMarkings learns the marking definitions among objects; others are passed over. The
// meaning of a TLP id that is known by itself cannot be changed by a definition. Of two
// definitions with one id the stricter reading holds.
func NewMarkings(objects []*Object) *Markings {
	m := &Markings{defs: map[string]marking{}}
	for _, o := range objects {
		if o.Type != "marking-definition" {
			continue
		}
		def := readDefinition(o)
		if old, ok := m.defs[o.ID]; ok {
			def.tlp, def.pap = max(def.tlp, old.tlp), max(def.pap, old.pap)
			if def.err == nil {
				def.err = old.err
			}
		}
		m.defs[o.ID] = def
	}
	return m
}

// Handling returns what the object's markings and its handling extension ask for; what they
// leave open is zero. Where several labels apply, also by granular markings to a part of the
// object, the strictest counts for the whole.
//
// An error means that a marking cannot be judged: its definition is missing or of a kind
// unknown here. Such an object must not be shared, for nobody can say with whom.
func (m *Markings) Handling(o *Object) (h protocol.Handling, notes []string, err error) {
	h.Version = 1
	if err := readExtension(o, &h); err != nil {
		return protocol.Handling{Version: 1}, nil, err
	}
	for _, id := range o.Markings {
		got, known := marking{tlp: tlpOf(id)}, true
		if got.tlp == protocol.TLPUnset {
			got, known = m.defs[id]
		}
		switch {
		case !known:
			return h, nil, malformed("marking %s is not defined in the file; include its marking-definition", id)
		case got.err != nil:
			return h, nil, fmt.Errorf("judging marking %s: %w", id, got.err)
		}
		if h.TLP != protocol.TLPUnset && got.tlp != protocol.TLPUnset && got.tlp != h.TLP {
			notes = append(notes, fmt.Sprintf("marked both TLP %s and %s; the stricter counts", h.TLP, got.tlp))
		}
		h.TLP, h.PAP = max(h.TLP, got.tlp), max(h.PAP, got.pap)
	}
	if IsTLPMarking(o.ID) {
		h.TLP = max(h.TLP, protocol.TLPClear) // the definition of RED is itself public
	}
	h.Normalise()
	if err := h.Validate(); err != nil {
		return h, nil, fmt.Errorf("reading handling: %w", err)
	}
	return h, notes, nil
}

// readMarkings gathers the markings on the object and on parts of it (STIX 7.2.2, 7.2.3).
func (o *Object) readMarkings() error {
	if err := o.readObjectMarkings(); err != nil {
		return err
	}
	if err := o.readGranularMarkings(); err != nil {
		return err
	}
	o.Markings = distinct(o.Markings)
	return nil
}

func (o *Object) readObjectMarkings() error {
	v := o.property("object_marking_refs")
	if v == nil {
		return nil
	}
	var bad error
	allText := true
	err := splitElements(v, func(_ int, e []byte) {
		id, ok := content(e)
		allText = allText && ok
		if bad == nil {
			bad = o.addMarking(id)
		}
	})
	if err != nil || !allText {
		return malformed("property object_marking_refs must be a list of ids")
	}
	return bad
}

func (o *Object) readGranularMarkings() error {
	v := o.property("granular_markings")
	if v == nil {
		return nil
	}
	var bad error
	err := splitElements(v, func(_ int, e []byte) {
		members, err := splitMembers(e)
		ref, isRef := content(lookup(members, "marking_ref"))
		if err == nil && !isRef {
			if lookup(members, "lang") != nil {
				return // says a language, not a handling (STIX 7.2.3.1)
			}
			err = malformed("a granular marking lacks marking_ref")
		} else if err == nil {
			err = o.addMarking(ref)
		}
		if bad == nil {
			bad = err
		}
	})
	if err != nil {
		return malformed("property granular_markings must be a list")
	}
	return bad
}

// addMarking adds an id to the markings.
func (o *Object) addMarking(id []byte) error {
	if !isID(id) || !bytes.HasPrefix(id, []byte(markingPrefix)) {
		return malformed("marking %q must be the id of a marking-definition", clip(string(id)))
	}
	o.Markings = append(o.Markings, string(id))
	return nil
}

// distinct removes from list, in place, what occurs in it before. It takes linear time: a
// hostile object can carry 8,000 markings.
func distinct(list []string) []string {
	kept := list[:0]
	if len(list) <= 16 {
		for _, s := range list {
			if !slices.Contains(kept, s) {
				kept = append(kept, s)
			}
		}
		return kept
	}
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	return kept
}
