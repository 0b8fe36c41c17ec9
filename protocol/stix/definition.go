package stix

import (
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// readDefinition reads a marking definition (STIX 7.2.1): the extension of TLP 2.0, TLP 1's
// own type, PAP as OpenCTI and others write it, and statements. A statement or a name that
// begins like a label is read as that label, for tools without the extension write
// TLP:AMBER+STRICT and PAP so.
func readDefinition(o *Object) marking {
	kind := strings.ToLower(o.Text("definition_type"))
	var labels []string
	understood := kind == "statement"
	if s, ok := inner(o, "extensions", tlpExtension, "tlp_2_0"); ok {
		labels, understood = append(labels, "tlp:"+s), true
	}
	for _, name := range []string{"tlp", "pap"} {
		s, ok := inner(o, "definition", strings.ToLower(name))
		if !ok {
			s, ok = inner(o, "definition", strings.ToUpper(name))
		}
		if ok && kind == name {
			labels, understood = append(labels, withPrefix(s, name+":")), true
		}
	}
	if s, ok := inner(o, "definition", "statement"); ok {
		labels = append(labels, s)
	}
	// Some writers put the label itself into definition_type.
	labels = append(labels, o.Text("name"), o.Text("definition_type"), o.Text("x_opencti_definition"))

	var m marking
	for _, s := range labels {
		switch label, ok := readLabel(s); {
		case !ok:
		case label.err != nil:
			m.err = label.err
		default:
			m.tlp, m.pap = max(m.tlp, label.tlp), max(m.pap, label.pap)
			understood = true
		}
	}
	if !understood && m.err == nil {
		m.err = malformed("markings of the type %q are not understood here", clip(o.Text("definition_type")))
	}
	return m
}

// ReadLabel reads "TLP:AMBER", "pap:red" and the like, as tags and statements carry them.
// ok is false if s is no such label. A label of either protocol that is not known is an
// error: what it forbids cannot be judged.
func ReadLabel(s string) (tlp protocol.TLP, pap protocol.PAP, ok bool, err error) {
	m, ok := readLabel(s)
	return m.tlp, m.pap, ok, m.err
}

// spellings are other people's ways to write a label.
var spellings = strings.NewReplacer("_", "+", "amber strict", "amber+strict", "amber-strict", "amber+strict", ": ", ":")

func readLabel(s string) (m marking, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	switch {
	case strings.HasPrefix(s, "tlp:"):
		m.tlp, m.err = protocol.ParseTLP(spellings.Replace(s))
	case strings.HasPrefix(s, "pap:"):
		m.pap, m.err = protocol.ParsePAP(spellings.Replace(s))
	default:
		return m, false
	}
	if m.err != nil {
		m.err = malformed("%v", m.err)
	}
	return m, true
}

func withPrefix(s, prefix string) string {
	if strings.HasPrefix(strings.ToLower(s), prefix) {
		return s
	}
	return prefix + s
}

// inner returns the string at a path of property names.
func inner(o *Object, path ...string) (string, bool) {
	v := o.property(path[0])
	for _, name := range path[1:] {
		if len(v) == 0 || v[0] != '{' {
			return "", false
		}
		members, err := splitMembers(v)
		if err != nil {
			return "", false
		}
		v = lookup(members, name)
	}
	return text(v)
}
