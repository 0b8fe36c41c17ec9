package core

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Distributions of MISP.
const (
	distOwn       = "0" // your organisation only
	distCommunity = "1" // this community only
	distConnected = "2" // connected communities
	distAll       = "3" // all communities
	distGroup     = "4" // sharing group
	distInherit   = "5" // as the event
)

// tagSpace is the namespace of the machine tags that say what of a handling MISP has no word for.
const tagSpace = "entente:"

// Names of the tags in tagSpace. originator says who published a record, and restricts nothing.
const (
	tagCountry    = "country"
	tagPurpose    = "purpose"
	tagRetention  = "retention-days"
	tagPersonal   = "personal-data"
	tagOriginator = "originator"
)

// machineTag splits namespace:predicate="value" of this package's namespace.
func machineTag(s string) (name, value string, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) < len(tagSpace) || !strings.EqualFold(s[:len(tagSpace)], tagSpace) {
		return "", "", false
	}
	name, value, _ = strings.Cut(s[len(tagSpace):], "=")
	return strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`), true
}

// isHandling reports whether a tag says how something is to be handled, and is no label.
func isHandling(tag string) bool {
	if _, _, ok := machineTag(tag); ok {
		return true
	}
	_, _, ok, _ := stix.ReadLabel(strings.Trim(tag, `"`))
	return ok
}

// tagHandling reads TLP, PAP and the tags of this package's namespace; the strictest wins. One of
// them that is not understood is an error: nobody can say with whom to share.
func tagHandling(tags []Fields) (h protocol.Handling, err error) {
	for _, t := range tags {
		tag := t.Text("name")
		tlp, pap, ok, err := stix.ReadLabel(strings.Trim(tag, `"`))
		if ok && err != nil {
			return h, err
		}
		h.TLP, h.PAP = max(h.TLP, tlp), max(h.PAP, pap)
		name, value, ok := machineTag(tag)
		if !ok {
			continue
		}
		bad := protocol.Errorf(protocol.ErrMalformed, "tag %s is not understood", shown(tag))
		switch name {
		case tagCountry:
			if value = strings.ToUpper(value); !protocol.IsCountry(value) {
				return h, bad
			}
			h.Countries = append(h.Countries, value)
		case tagPurpose:
			if value == "" || len(value) > 64 {
				return h, bad
			}
			h.Purposes = append(h.Purposes, value)
		case tagRetention:
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil || n == 0 {
				return h, bad
			}
			if h.RetentionDays == 0 || uint32(n) < h.RetentionDays {
				h.RetentionDays = uint32(n)
			}
		case tagPersonal:
			p, err := protocol.ParsePersonalData(value)
			if err != nil || p == protocol.PersonalUndetermined {
				return h, bad
			}
			h.Personal = max(h.Personal, p)
		case tagOriginator:
		default:
			return h, bad
		}
	}
	return h, nil
}

// narrow returns what both say: the stricter label, and of lists what is in both, if both have one.
func narrow(outer, inner protocol.Handling) (protocol.Handling, error) {
	h := outer
	h.TLP, h.PAP, h.Personal = max(h.TLP, inner.TLP), max(h.PAP, inner.PAP), max(h.Personal, inner.Personal)
	var err error
	if h.Countries, err = both("countries", outer.Countries, inner.Countries); err != nil {
		return h, err
	}
	if h.Purposes, err = both("purposes", outer.Purposes, inner.Purposes); err != nil {
		return h, err
	}
	if inner.RetentionDays > 0 && (h.RetentionDays == 0 || inner.RetentionDays < h.RetentionDays) {
		h.RetentionDays = inner.RetentionDays
	}
	if len(outer.Named) > 0 && len(inner.Named) > 0 {
		h.Named = slices.DeleteFunc(slices.Clone(outer.Named), func(o protocol.OrgID) bool { return !slices.Contains(inner.Named, o) })
		if len(h.Named) == 0 {
			return h, protocol.Errorf(protocol.ErrMalformed, "its sharing group has nobody in common with that of its event")
		}
	} else if len(inner.Named) > 0 {
		h.Named = inner.Named
	}
	// Nobody, where it is said, is narrower than partners, and partners than nothing said: what is not
	// said may yet be opened by a person.
	switch {
	case isNobody(&outer.Onward) || isNobody(&inner.Onward):
		h.Onward = nobody
	case inner.Onward.Rule == protocol.OnwardPartners:
		h.Onward = inner.Onward
	}
	return h, nil
}

func both(what string, a, b []string) ([]string, error) {
	if len(a) == 0 || len(b) == 0 {
		return append(slices.Clone(a), b...), nil
	}
	out := slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
	if len(out) == 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "its %s have nothing in common with those of its event", what)
	}
	return out, nil
}

var (
	nobody   = protocol.Onward{Rule: protocol.OnwardNobody, Ceiling: protocol.TLPClear} // said, not left open
	partners = protocol.Onward{Rule: protocol.OnwardPartners}
)

func isNobody(o *protocol.Onward) bool {
	return o.Rule == protocol.OnwardNobody && o.Ceiling != protocol.TLPUnset
}

// Orgs says which member of the mesh an organisation of MISP is.
type Orgs func(uuid string) (protocol.OrgID, bool)

// distribution turns MISP's distribution into a handling.
//
//	0 your organisation only   may not be passed on; a note says so, for who publishes it means to share it
//	1 this community only      may not be passed on
//	2 connected communities    may not be passed on: "one step" cannot be said
//	3 all communities          may be passed on to whoever has an agreement with the reader
//	4 sharing group            to its organisations by name, as far as orgs knows them
//	5 as the event, or none    nothing
func distribution(f Fields, orgs Orgs) (h protocol.Handling, notes []string, err error) {
	switch d := f.Text("distribution"); d {
	case distOwn, distCommunity, distConnected:
		h.Onward = nobody
	case distAll:
		h.Onward = partners
	case distGroup:
		return sharingGroup(f, orgs)
	case distInherit, "":
	default:
		return h, nil, protocol.Errorf(protocol.ErrMalformed, "distribution %s is not known", shown(d))
	}
	return h, nil, nil
}

func sharingGroup(f Fields, orgs Orgs) (h protocol.Handling, notes []string, err error) {
	g := f.object("SharingGroup")
	name := g.Text("name")
	members, err := g.list("SharingGroupOrg")
	if err != nil {
		return h, nil, protocol.Errorf(protocol.ErrMalformed, "sharing group %s: %v", shown(name), err)
	}
	unknown := 0
	for _, m := range members {
		id, ok := protocol.OrgID{}, false
		if orgs != nil {
			id, ok = orgs(strings.ToLower(m.object("Organisation").Text("uuid")))
		}
		if ok {
			h.Named = append(h.Named, id)
		} else {
			unknown++
		}
	}
	if len(h.Named) == 0 {
		return h, nil, protocol.Errorf(protocol.ErrMalformed, "it is for the sharing group %s, of whose %d organisations none is known here; say which members of the mesh they are with 'entente misp org add', or give it another distribution", shown(name), len(members))
	}
	if unknown > 0 {
		notes = append(notes, fmt.Sprintf("of sharing group %s, %d organisations are not known here, and get nothing", shown(name), unknown))
	}
	h.Onward = nobody
	h.Normalise()
	return h, notes, nil
}

// Marks is what a record's handling says that MISP may have a word for.
type Marks struct {
	TLP           protocol.TLP
	PAP           protocol.PAP
	Countries     []string
	Personal      protocol.PersonalData
	Purposes      []string
	RetentionDays uint32
	Onward        protocol.OnwardRule
	Named         int // how many may receive it by name
}

// MarksOf returns the marks of a handling.
func MarksOf(h *protocol.Handling) Marks {
	return Marks{TLP: h.TLP, PAP: h.PAP, Countries: h.Countries, Personal: h.Personal, Purposes: h.Purposes,
		RetentionDays: h.RetentionDays, Onward: h.Onward.Rule, Named: len(h.Named)}
}

// distribution is the widest that a MISP instance may give what it pulled.
func (m *Marks) distribution() string {
	switch {
	case m.Named > 0 || m.TLP == protocol.TLPRed:
		return distOwn
	case m.Onward == protocol.OnwardNobody:
		return distCommunity // which an instance that pulls turns into 0
	case m.Onward == protocol.OnwardPartners:
		return distAll
	}
	return distCommunity // some may have it, by kind or name, which MISP cannot say
}

// tags returns the tags that say the marks.
func (m *Marks) tags() (list []string) {
	if m.TLP != protocol.TLPUnset {
		list = append(list, "tlp:"+m.TLP.String())
	}
	if m.PAP != protocol.PAPUnset {
		list = append(list, "PAP:"+strings.ToUpper(m.PAP.String()))
	}
	for _, c := range m.Countries {
		list = append(list, tagSpace+tagCountry+`="`+c+`"`)
	}
	for _, p := range m.Purposes {
		list = append(list, tagSpace+tagPurpose+`="`+p+`"`)
	}
	if m.RetentionDays > 0 {
		list = append(list, fmt.Sprintf(`%s%s="%d"`, tagSpace, tagRetention, m.RetentionDays))
	}
	if m.Personal != protocol.PersonalUndetermined {
		list = append(list, tagSpace+tagPersonal+`="`+m.Personal.String()+`"`)
	}
	return list
}
