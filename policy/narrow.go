package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// Flags are what a person says about the handling of a whole publication. Zero values say
// nothing.
type Flags struct {
	TLP           protocol.TLP
	PAP           protocol.PAP
	Countries     []string
	Personal      protocol.PersonalData
	Purposes      []string
	RetentionDays uint32
	To            []protocol.OrgID // named recipients
	Exclude       []protocol.OrgID
	// Onward is to whom readers may pass it on; the zero value says nothing. Nobody, where it is
	// said, has a ceiling.
	Onward protocol.Onward
	// Origin is whether who passes it on may withhold whose it is.
	Origin protocol.OriginRule
}

// Narrow applies flags to the handling that a source states. A flag fills in what is not
// stated, or narrows what is; one that would widen is an error, because the marking is its
// originator's word.
func Narrow(h protocol.Handling, f Flags) (protocol.Handling, error) {
	if f.TLP != protocol.TLPUnset {
		if h.TLP > f.TLP {
			return h, widens("--tlp "+f.TLP.String(), "it is marked TLP:"+upper(h.TLP))
		}
		h.TLP = f.TLP
	}
	if f.PAP != protocol.PAPUnset {
		if h.PAP > f.PAP {
			return h, widens("--pap "+f.PAP.String(), "it is marked PAP:"+strings.ToUpper(h.PAP.String()))
		}
		h.PAP = f.PAP
	}
	if f.Personal != protocol.PersonalUndetermined {
		// More personal data is the narrower statement: fewer may receive it.
		if h.Personal > f.Personal {
			return h, widens("--personal "+f.Personal.String(), fmt.Sprintf("it is stated to hold %q", h.Personal))
		}
		h.Personal = f.Personal
	}
	var err error
	if h.Countries, err = within("--country", h.Countries, f.Countries, "countries "); err != nil {
		return h, err
	}
	if h.Purposes, err = within("--purpose", h.Purposes, f.Purposes, "purposes "); err != nil {
		return h, err
	}
	if f.RetentionDays != 0 {
		if h.RetentionDays != 0 && f.RetentionDays > h.RetentionDays {
			return h, widens(fmt.Sprintf("--retention %d", f.RetentionDays), fmt.Sprintf("its originator allows %d days", h.RetentionDays))
		}
		h.RetentionDays = f.RetentionDays
	}
	if len(f.To) > 0 {
		if len(h.Named) > 0 {
			for _, o := range f.To {
				if !slices.Contains(h.Named, o) {
					return h, widens("--to "+o.Short(), "its originator named other recipients")
				}
			}
		}
		h.Named = slices.Clone(f.To)
	}
	if !isZero(&f.Onward) {
		if h.Onward, err = narrowOnward(&h.Onward, &f.Onward); err != nil {
			return h, err
		}
	}
	if f.Origin != protocol.OriginUnset {
		if f.Origin == protocol.OriginWithheld && h.Origin == protocol.OriginNamed {
			return h, widens("--origin withheld", "its originator wants to be named")
		}
		h.Origin = f.Origin
	}
	if len(f.Exclude) > 0 {
		h.Excluded = append(slices.Clone(h.Excluded), f.Exclude...)
	}
	h.Normalise()
	return h, nil
}

// isZero reports whether an onward rule says nothing: nobody may pass it on, and nobody said so.
func isZero(o *protocol.Onward) bool {
	return o.Rule == protocol.OnwardNobody && o.Ceiling == protocol.TLPUnset && len(o.Orgs)+len(o.Kinds) == 0
}

// narrowOnward applies what a flag says of passing on to what is stated: less, or what is open.
func narrowOnward(stated, given *protocol.Onward) (protocol.Onward, error) {
	out := *given
	switch {
	case isZero(stated), given.Rule == protocol.OnwardNobody:
		return out, nil
	case stated.Ceiling != protocol.TLPUnset && (given.Ceiling == protocol.TLPUnset || given.Ceiling > stated.Ceiling):
		out.Ceiling = stated.Ceiling
	}
	within := func(ok bool) (protocol.Onward, error) {
		if !ok {
			return *stated, widens("--onward", "its originator lets it be passed on to fewer")
		}
		return out, nil
	}
	switch {
	case stated.Rule == protocol.OnwardPartners:
		return out, nil
	case stated.Rule != given.Rule:
		return within(false)
	case given.Rule == protocol.OnwardNamed:
		return within(!slices.ContainsFunc(given.Orgs, func(o protocol.OrgID) bool { return !slices.Contains(stated.Orgs, o) }))
	}
	return within(!slices.ContainsFunc(given.Kinds, func(k protocol.OrgKind) bool { return !slices.Contains(stated.Kinds, k) }))
}

// within narrows a stated list to what a flag gives, all of which must be in it.
func within(flag string, stated, given []string, what string) ([]string, error) {
	if len(given) == 0 {
		return stated, nil
	}
	if len(stated) > 0 {
		for _, g := range given {
			if !slices.Contains(stated, g) {
				return stated, widens(flag+" "+g, "it is stated for "+what+strings.Join(stated, ", "))
			}
		}
	}
	return slices.Clone(given), nil
}

func widens(flag, because string) error {
	return fmt.Errorf("%s would widen its marking: %s; flags may only narrow", flag, because)
}
