package policy

import (
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Org is what decisions need to know of an organisation.
type Org struct {
	ID        protocol.OrgID
	Name      string
	Kind      protocol.OrgKind
	Country   string
	CardFresh bool // its card is fresh: nothing is granted against a stale one
	Rostered  bool // it is a member of the network
}

// State is everything that decisions are made from, at one policy generation. It must not
// be changed after it was made.
type State struct {
	Self       protocol.OrgID
	Generation uint64
	Orgs       map[protocol.OrgID]Org
	Agreements []Agreement // sorted by id
	Local      Local       // the organisation's own prohibitions; nil: none

	// terms holds, for every direction, the terms that cover it.
	terms map[direction][]termRef
	// confident are the confidences that terms want, rising, each once.
	confident []uint8
	rosters   *rosters
}

// WantsConfidence reports whether any term wants a confidence.
func (s *State) WantsConfidence() bool { return len(s.confident) > 0 }

// Confidence returns what decisions need to know of a confidence: the greatest that a term wants
// and that it reaches, so that records of many confidences are of few classes.
func (s *State) Confidence(c uint8) uint8 {
	i, ok := slices.BinarySearch(s.confident, c)
	switch {
	case ok:
		return c
	case i == 0:
		return 0
	}
	return s.confident[i-1]
}

// AsIfFresh returns the state with every card fresh. What was published before and is sealed
// anew stays meant for its readers; a key is not granted against a stale card anyway, but
// waits for a fresh one.
func (s *State) AsIfFresh() *State {
	out := *s
	out.Orgs = make(map[protocol.OrgID]Org, len(s.Orgs))
	for id, o := range s.Orgs {
		o.CardFresh = true
		out.Orgs[id] = o
	}
	return &out
}

type direction struct{ from, to protocol.OrgID }

type termRef struct {
	agreement *Agreement
	number    int // from 1
	term      *protocol.Term
	bound     *protocol.Bound // who may hold what comes under the term; nil: every member
}

// NewState indexes agreements. It keeps orgs and agreements; the caller must not change them.
func NewState(self protocol.OrgID, generation uint64, orgs map[protocol.OrgID]Org, agreements []Agreement) *State {
	slices.SortFunc(agreements, func(a, b Agreement) int { return slices.Compare(a.ID[:], b.ID[:]) })
	s := &State{Self: self, Generation: generation, Orgs: orgs, Agreements: agreements, terms: map[direction][]termRef{}, rosters: &rosters{}}
	for i := range s.Agreements {
		a := &s.Agreements[i]
		for j := range a.Doc.Terms {
			t := &a.Doc.Terms[j]
			d := direction{t.From, t.To}
			ref := termRef{agreement: a, number: j + 1, term: t}
			if t.Holders.Restricted() {
				b := protocol.BoundOf(a.Doc.Parties, &t.Holders)
				ref.bound = &b
			}
			s.terms[d] = append(s.terms[d], ref)
			if i, held := slices.BinarySearch(s.confident, t.Confidence); t.Confidence > 0 && !held {
				s.confident = slices.Insert(s.confident, i, t.Confidence)
			}
		}
	}
	return s
}

// Receivers lists the organisations to which any term from org leads, sorted.
func (s *State) Receivers(org protocol.OrgID) []protocol.OrgID {
	var out []protocol.OrgID
	for d := range s.terms {
		if d.from == org {
			out = append(out, d.to)
		}
	}
	slices.SortFunc(out, protocol.OrgID.Compare)
	return slices.Compact(out)
}

func (s *State) name(org protocol.OrgID) string {
	if o, ok := s.Orgs[org]; ok && o.Name != "" {
		return o.Name
	}
	return org.Short()
}

// Subject is what a decision is about: one class of records.
type Subject struct {
	Originator protocol.OrgID
	Publisher  protocol.OrgID // whose feed carries it, or would
	Handling   protocol.Handling
	Topic      string
	Kind       string // STIX type
	Confidence uint8  // that the object states, 0 to 100; 0 also if it states none
	RecordedAt uint64 // Unix milliseconds: sealed-at; for a record to be published, now
	// Path is who passed the record on, from the first to its publisher; empty if the originator
	// published it.
	Path []protocol.OrgID
	// Principal is on whose behalf the originator published it, zero: on its own. It adds no right:
	// rules that speak of the originator are asked about either.
	Principal protocol.OrgID
	// Bounds are those of the direct topic in which the record came: they bind every hop after it.
	Bounds []protocol.Bound
}
