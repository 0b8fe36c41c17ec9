package policy

import (
	"slices"
	"sync"

	"github.com/entente-mesh/entente/protocol"
)

// Terms may say who may store even sealed envelopes. What goes under them travels in direct feeds,
// which only those on a roster hold; this file says on which.

// MayHold reports whether an organisation satisfies bounds: each names it, or its country.
func (s *State) MayHold(bounds []protocol.Bound, org protocol.OrgID) bool {
	return MayHold(bounds, org, s.Orgs[org].Country)
}

// MayHold reports whether an organisation of a country satisfies bounds.
func MayHold(bounds []protocol.Bound, org protocol.OrgID, country string) bool {
	for i := range bounds {
		if b := &bounds[i]; !slices.Contains(b.Orgs, org) && !slices.Contains(b.Countries, country) {
			return false
		}
	}
	return true
}

// AddBounds returns bounds, in order, with more.
func AddBounds(list []protocol.Bound, more ...protocol.Bound) []protocol.Bound {
	out := slices.Clone(list)
	for _, b := range more {
		if i, held := slices.BinarySearchFunc(out, b, protocol.CompareBounds); !held {
			out = slices.Insert(out, i, b)
		}
	}
	return out
}

// Way is how records go to some of their audience.
type Way struct {
	Orgs   []protocol.OrgID // the readers, sorted
	Roster []protocol.OrgID // who stores it, sorted, the publisher among them; empty: every member
	Bounds []protocol.Bound // that each on the roster satisfies
}

// Direct reports whether the way is a direct feed.
func (w *Way) Direct() bool { return len(w.Roster) > 0 }

// Ways divides an audience by how records reach it: the one way that every member stores, first, and
// direct feeds. The rosters follow from the terms of all partners and not from the audience, so that
// the feeds, and what a record costs, do not grow with the audiences that there are: partners who may
// each hold what is for the others share one. Who is not allowed is in none.
func Ways(s *State, audience []OrgDecision) (out []Way) {
	byRoster := map[string]int{}
	var public Way
	for i := range audience {
		org, d := audience[i].Org, &audience[i].Decision
		if !d.Allow {
			continue
		}
		if len(d.Bounds) == 0 {
			public.Orgs = append(public.Orgs, org)
			continue
		}
		r := s.rosterOf(org, d)
		key := string(protocol.Encode(r.members)) + string(protocol.Encode(r.bounds))
		at, ok := byRoster[key]
		if !ok {
			at = len(out)
			byRoster[key] = at
			out = append(out, Way{Roster: r.members, Bounds: r.bounds})
		}
		out[at].Orgs = append(out[at].Orgs, org)
	}
	if len(public.Orgs) > 0 || len(out) == 0 {
		out = slices.Insert(out, 0, public)
	}
	for i := range out {
		slices.SortFunc(out[i].Orgs, protocol.OrgID.Compare)
	}
	return out
}

// roster is who may hold something together, and why.
type roster struct {
	members []protocol.OrgID // sorted, self among them
	bounds  []protocol.Bound
}

// rosters keeps, for the bounds that records came under, how the partners are divided. Partners of
// whom none is kept from holding what is for another share a roster.
type rosters struct {
	mu sync.Mutex
	m  map[string][]roster // by the bounds, encoded
}

// rosterOf returns the roster for what goes to an organisation under a decision.
func (s *State) rosterOf(org protocol.OrgID, d *Decision) roster {
	own := s.boundsTo(org)
	var came []protocol.Bound // not by a term with org, but under what the record came before
	for _, b := range d.Bounds {
		if _, mine := slices.BinarySearchFunc(own, b, protocol.CompareBounds); !mine {
			came = append(came, b)
		}
	}
	for _, r := range s.divided(came) {
		if slices.Contains(r.members, org) {
			return r
		}
	}
	// It has more bounds than a roster may state, or is no member any more.
	pair := []protocol.OrgID{s.Self, org}
	slices.SortFunc(pair, protocol.OrgID.Compare)
	return roster{pair, d.Bounds}
}

// boundsTo lists the bounds of all terms from self to an organisation, those that do not count now
// among them: what goes to it shares one feed.
func (s *State) boundsTo(org protocol.OrgID) (out []protocol.Bound) {
	for _, t := range s.terms[direction{s.Self, org}] {
		if t.bound != nil {
			out = AddBounds(out, *t.bound)
		}
	}
	return out
}

// divided divides the partners that may hold what came under bounds into rosters, each as large as
// the order of ids makes it.
func (s *State) divided(came []protocol.Bound) []roster {
	s.rosters.mu.Lock()
	defer s.rosters.mu.Unlock()
	key := string(protocol.Encode(came))
	if list, ok := s.rosters.m[key]; ok {
		return list
	}
	var list []roster
	for _, org := range s.Receivers(s.Self) {
		own := s.boundsTo(org)
		bounds := AddBounds(came, own...)
		if !s.Orgs[org].Rostered || len(bounds) == 0 || len(bounds) > protocol.MaxDirectBounds || !s.MayHold(bounds, org) || !s.MayHold(bounds, s.Self) {
			continue
		}
		i := slices.IndexFunc(list, func(r roster) bool {
			return len(r.members) < protocol.MaxDirectRoster && s.MayHold(r.bounds, org) && s.boundable(AddBounds(r.bounds, own...)) &&
				!slices.ContainsFunc(r.members, func(o protocol.OrgID) bool { return !s.MayHold(own, o) })
		})
		if i < 0 {
			i = len(list)
			list = append(list, roster{[]protocol.OrgID{s.Self}, bounds})
		}
		list[i].members, list[i].bounds = append(list[i].members, org), AddBounds(list[i].bounds, own...)
	}
	for i := range list {
		slices.SortFunc(list[i].members, protocol.OrgID.Compare)
	}
	if s.rosters.m == nil {
		s.rosters.m = map[string][]roster{}
	}
	s.rosters.m[key] = list
	return list
}

// boundable reports whether a direct topic may state bounds, whoever is on its roster.
func (s *State) boundable(bounds []protocol.Bound) bool {
	return len(bounds) <= protocol.MaxDirectBounds && len(protocol.Encode(bounds)) <= protocol.MaxDirectSize/2
}
