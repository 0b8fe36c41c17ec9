package protocol

import (
	"cmp"
	"strings"
)

// SiblingPerson says who somebody of the organisation's people is. Terms count how often they came
// and went: in an odd one they are there, in an even one they are gone. The higher term counts, so that
// who was removed stays removed whatever else was said of them meanwhile. Within a term, each
// role is counted likewise, and the higher count counts; of the rest the higher version, and of two
// of one version the greater by Name, User and Purpose.
type SiblingPerson struct {
	_       struct{} `cbor:",toarray"`
	ID      string   // by which the nodes know them
	Term    uint64
	Roles   []PersonRole // sorted by role
	Version uint64
	Name    string // in full
	User    string // of the operating system, on every node's machine
	Purpose string
}

// PersonRole is a role that a person has, if the count is odd, or had.
type PersonRole struct {
	_     struct{} `cbor:",toarray"`
	Role  string
	Count uint64
}

// Validate checks bounds.
func (p *SiblingPerson) Validate() error {
	switch {
	case !IsPersonName(p.ID):
		return malformed("a person is named by 1 to %d letters, digits, and . _ @ -; %q is not", MaxPersonName, clip(p.ID))
	case p.Term == 0 || p.Term > MaxPersonCount || p.Version > MaxPersonCount:
		return malformed("term %d or version %d of a person is out of bounds", p.Term, p.Version)
	case len(p.Roles) > MaxPersonRoles:
		return oversize("a person has %d roles, at most %d", len(p.Roles), MaxPersonRoles)
	case len(p.Name) > MaxNameSize || len(p.User) > MaxNameSize || len(p.Purpose) > MaxNameSize:
		return oversize("name, user and purpose of a person have at most %d bytes each", MaxNameSize)
	case !isSortedSet(p.Roles, func(a, b PersonRole) int { return cmp.Compare(a.Role, b.Role) }):
		return malformed("the roles of a person must be sorted and free of duplicates")
	}
	for _, r := range p.Roles {
		if !IsPersonName(r.Role) || r.Count == 0 || r.Count > MaxPersonCount {
			return malformed("role %q of a person is no name, or its count %d is out of bounds", clip(r.Role), r.Count)
		}
	}
	return nil
}

// SiblingSecond says whether an act needs a second person, and of which role. The higher version
// counts; of two of one version the one that needs two, and of those the greater role.
type SiblingSecond struct {
	_       struct{} `cbor:",toarray"`
	Act     string
	Version uint64
	Two     bool
	Role    string
}

// Validate checks bounds.
func (s *SiblingSecond) Validate() error {
	if !IsPersonName(s.Act) || !IsPersonName(s.Role) || s.Version == 0 || s.Version > MaxPersonCount {
		return malformed("act %q, role %q or version %d is out of bounds", clip(s.Act), clip(s.Role), s.Version)
	}
	return nil
}

// IsPersonName reports whether a person, a role or an act can be named so.
func IsPersonName(s string) bool {
	return s != "" && len(s) <= MaxPersonName && strings.Trim(s, personNameBytes) == ""
}

const personNameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-"
