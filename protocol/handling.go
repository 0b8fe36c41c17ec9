package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// TLP is a Traffic Light Protocol 2.0 label (FIRST, TLP version 2.0), ordered so that a
// greater value is more restrictive. The zero value means "no label was given".
type TLP uint8

// The labels of TLP 2.0.
const (
	TLPUnset TLP = iota
	TLPClear
	TLPGreen
	TLPAmber
	TLPAmberStrict
	TLPRed
)

var tlpNames = [...]string{"", "clear", "green", "amber", "amber+strict", "red"}

// String returns the lower-case name of the label, "unset" for the zero value.
func (t TLP) String() string { return enumName(tlpNames[:], uint8(t)) }

// ParseTLP reads a label in any case, with or without the prefix "TLP:". TLP 1's WHITE is
// read as CLEAR (FIRST: TLP:CLEAR replaces TLP:WHITE).
func ParseTLP(s string) (TLP, error) {
	name := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "tlp:")
	if name == "white" {
		name = "clear"
	}
	v, err := parseEnum("TLP label", tlpNames[:], name)
	return TLP(v), err
}

// PAP is a Permissible Actions Protocol label (MISP taxonomy "PAP"), ordered like TLP.
// The zero value means "no label was given".
type PAP uint8

// The labels of PAP.
const (
	PAPUnset PAP = iota
	PAPClear
	PAPGreen
	PAPAmber
	PAPRed
)

var papNames = [...]string{"", "clear", "green", "amber", "red"}

// String returns the lower-case name of the label, "unset" for the zero value.
func (p PAP) String() string { return enumName(papNames[:], uint8(p)) }

// ParsePAP reads a label in any case, with or without the prefix "PAP:"; WHITE is CLEAR.
func ParsePAP(s string) (PAP, error) {
	name := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "pap:")
	if name == "white" {
		name = "clear"
	}
	v, err := parseEnum("PAP label", papNames[:], name)
	return PAP(v), err
}

// PersonalData says what personal data a record holds, or how much an agreement lets
// through. Greater means more. The zero value, undetermined, is treated as PersonalAll
// wherever a decision is made (SPEC "Handling", defaults).
type PersonalData uint8

// The degrees of personal data.
const (
	PersonalUndetermined PersonalData = iota
	PersonalNone
	PersonalNetwork // network identifiers only: addresses, domains, URLs
	PersonalAll
)

var personalNames = [...]string{"", "none", "network", "all"}

// String returns the lower-case name, "unset" for the zero value.
func (p PersonalData) String() string { return enumName(personalNames[:], uint8(p)) }

// ParsePersonalData reads "none", "network" or "all".
func ParsePersonalData(s string) (PersonalData, error) {
	v, err := parseEnum("degree of personal data", personalNames[:], strings.ToLower(s))
	return PersonalData(v), err
}

// Effective returns p with the default applied: undetermined counts as all.
func (p PersonalData) Effective() PersonalData {
	if p == PersonalUndetermined {
		return PersonalAll
	}
	return p
}

// OnwardRule says to whom a reader may pass a record on. The zero value means nobody.
type OnwardRule uint8

// The onward rules.
const (
	OnwardNobody   OnwardRule = iota
	OnwardNamed               // the organisations in Onward.Orgs
	OnwardKinds               // organisations of a kind in Onward.Kinds
	OnwardPartners            // anybody with whom the reader has an agreement that covers it
)

var onwardNames = [...]string{"nobody", "named", "kinds", "partners"}

// String returns the lower-case name of the rule.
func (o OnwardRule) String() string { return enumName(onwardNames[:], uint8(o)) }

// ParseOnwardRule reads "nobody", "named", "kinds" or "partners".
func ParseOnwardRule(s string) (OnwardRule, error) {
	i := slices.Index(onwardNames[:], strings.ToLower(s))
	if i < 0 {
		return 0, malformed("unknown onward rule %q; use nobody, named, kinds or partners", s)
	}
	return OnwardRule(i), nil
}

// Onward is a rule for passing records on. Growth: a new rule is a new OnwardRule value;
// the meaning of an existing one never changes. A ceiling of zero means "the record's own
// label"; Orgs and Kinds are sorted and without duplicates.
type Onward struct {
	_       struct{} `cbor:",toarray"`
	Rule    OnwardRule
	Orgs    []OrgID
	Kinds   []OrgKind
	Ceiling TLP
}

// Handling is what the originator says about how a record is to be treated. It travels
// inside the record, under the originator's signature, beside the object's bytes.
//
// Growth: fields are never removed, reordered or given another meaning; a change is a new
// version number, and a reader refuses a version it does not know. All lists are sorted
// and free of duplicates, so that one handling has one encoding. See SPEC "Handling".
type Handling struct {
	_             struct{} `cbor:",toarray"`
	Version       uint8    // 1
	TLP           TLP      // must be set
	PAP           PAP      // may be unset
	Countries     []string // ISO 3166-1 alpha-2, upper case; empty: only partners with the worldwide term
	Personal      PersonalData
	Purposes      []string // empty: not restricted by the originator
	RetentionDays uint32   // 0: the agreement's
	Onward        Onward
	Excluded      []OrgID // organisations that must never receive the record, by any path
	Named         []OrgID // if not empty, nobody else may receive it; RED requires it
	Origin        OriginRule
}

// OriginRule says whether who passes a record on may withhold from the readers whose it is.
type OriginRule uint8

// The rules.
const (
	OriginUnset    OriginRule = iota // nothing is said: as named
	OriginNamed                      // whoever reads it learns who made it
	OriginWithheld                   // who may pass it on may publish it as its own, and not say whose it is
)

var originNames = []string{"", "named", "withheld"}

// String returns the name of the rule; "unset" for none.
func (r OriginRule) String() string { return enumName(originNames, uint8(r)) }

// ParseOriginRule reads the name of a rule.
func ParseOriginRule(s string) (OriginRule, error) {
	v, err := parseEnum("origin", originNames, s)
	return OriginRule(v), err
}

// Normalise sorts and deduplicates the lists, so that equal handlings encode alike.
func (h *Handling) Normalise() {
	h.Version = 1
	h.Countries = sortedSet(h.Countries, strings.Compare)
	h.Purposes = sortedSet(h.Purposes, strings.Compare)
	h.Excluded = sortedSet(h.Excluded, OrgID.Compare)
	h.Named = sortedSet(h.Named, OrgID.Compare)
	h.Onward.normalise()
}

func (o *Onward) normalise() {
	o.Orgs = sortedSet(o.Orgs, OrgID.Compare)
	o.Kinds = sortedSet(o.Kinds, func(a, b OrgKind) int { return strings.Compare(string(a), string(b)) })
}

// Validate checks ranges, order and bounds. It does not require a TLP: a handling under
// construction may lack one; Encode of a record does.
func (h *Handling) Validate() error {
	switch {
	case h.Version != 1:
		return unknownVersion("handling", h.Version, 1)
	case h.TLP > TLPRed || h.PAP > PAPRed || h.Personal > PersonalAll || h.Origin > OriginWithheld:
		return malformed("handling holds a label out of range")
	case len(h.Countries) > MaxCountries:
		return oversize("handling names %d countries, at most %d", len(h.Countries), MaxCountries)
	case len(h.Purposes) > MaxPurposes:
		return oversize("handling names %d purposes, at most %d", len(h.Purposes), MaxPurposes)
	case len(h.Excluded) > MaxNamedOrgs || len(h.Named) > MaxNamedOrgs:
		return oversize("handling names more than %d organisations", MaxNamedOrgs)
	}
	for _, c := range h.Countries {
		if !IsCountry(c) {
			return malformed("handling names country %q; use ISO 3166-1 alpha-2 in upper case", c)
		}
	}
	for _, p := range h.Purposes {
		if err := checkToken("purpose", p); err != nil {
			return err
		}
	}
	if !isSortedSet(h.Countries, strings.Compare) || !isSortedSet(h.Purposes, strings.Compare) ||
		!isSortedSet(h.Excluded, OrgID.Compare) || !isSortedSet(h.Named, OrgID.Compare) {
		return malformed("handling lists must be sorted and free of duplicates")
	}
	return h.Onward.Validate()
}

// Validate checks ranges, order and bounds.
func (o *Onward) Validate() error {
	switch {
	case o.Rule > OnwardPartners || o.Ceiling > TLPRed:
		return malformed("onward rule holds a value out of range")
	case len(o.Orgs) > MaxNamedOrgs || len(o.Kinds) > len(orgKinds):
		return oversize("onward rule names too many organisations or kinds")
	case !isSortedSet(o.Orgs, OrgID.Compare),
		!isSortedSet(o.Kinds, func(a, b OrgKind) int { return strings.Compare(string(a), string(b)) }):
		return malformed("onward lists must be sorted and free of duplicates")
	}
	for _, k := range o.Kinds {
		if !k.Valid() {
			return malformed("onward rule names unknown kind of organisation %q", k)
		}
	}
	return nil
}

// IsCountry reports whether c has the form of an ISO 3166-1 alpha-2 code in upper case.
func IsCountry(c string) bool {
	return len(c) == 2 && c[0] >= 'A' && c[0] <= 'Z' && c[1] >= 'A' && c[1] <= 'Z'
}

func enumName(names []string, v uint8) string {
	if int(v) >= len(names) {
		return fmt.Sprintf("unknown(%d)", v)
	}
	if names[v] == "" {
		return "unset"
	}
	return names[v]
}

func parseEnum(what string, names []string, s string) (uint8, error) {
	if s != "" {
		if i := slices.Index(names, s); i > 0 {
			return uint8(i), nil
		}
	}
	return 0, malformed("unknown %s %q; use one of %s", what, s, strings.Join(names[1:], ", "))
}
