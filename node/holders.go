package node

import (
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// Who reads a record and who stores it, sealed, are two questions: of what is gossiped every member
// may have a copy, of what is in a direct feed those on its roster.

// Holders says who may store a record, even if they cannot read it.
type Holders struct {
	EveryMember bool     `json:"every_member"`            // of the network, and whoever becomes one
	Orgs        []OrgRef `json:"organisations,omitempty"` // where not: those on the rosters of its feeds
	Signed      []OrgRef `json:"signed,omitempty"`        // a node of which signed to hold it
}

// holdersOf says who may store what stands in a feed.
func (n *Node) holdersOf(s *snapshot, feed protocol.FeedID) Holders {
	topic, direct := n.directFeeds.Load(feed)
	if !direct {
		return Holders{EveryMember: true}
	}
	var h Holders
	if d := s.directs[topic.(protocol.TopicID)]; d != nil {
		h.Orgs = s.refs(d.Roster)
	}
	return h
}

// add adds those who may store a copy of it in another feed.
func (h *Holders) add(o Holders) {
	h.Orgs, h.Signed = addRefs(h.Orgs, o.Orgs), addRefs(h.Signed, o.Signed)
	if h.EveryMember = h.EveryMember || o.EveryMember; h.EveryMember {
		h.Orgs = nil
	}
}

func addRefs(list, more []OrgRef) []OrgRef {
	out := append(slices.Clone(list), more...)
	slices.SortFunc(out, func(a, b OrgRef) int { return strings.Compare(a.Name+a.ID.String(), b.Name+b.ID.String()) })
	return slices.CompactFunc(out, func(a, b OrgRef) bool { return a.ID == b.ID })
}

func (s *snapshot) refs(orgs []protocol.OrgID) (out []OrgRef) {
	for _, o := range orgs {
		out = append(out, s.ref(o))
	}
	return addRefs(nil, out)
}

// String says it in words.
func (h *Holders) String() string {
	switch {
	case h.EveryMember:
		return "every member"
	case len(h.Orgs) == 0:
		return "not known"
	}
	return "only " + refNames(h.Orgs)
}

func refNames(list []OrgRef) string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.Name
	}
	return strings.Join(names, ", ")
}

// published reports whether an entry is one by which this organisation published.
func (n *Node) published(tx *store.Tx, at protocol.EntryRef) (bool, error) {
	return getDoc(tx, kindPublished, entryKey(at.Feed, at.Seq), &publishedDoc{})
}

// held says of an entry that this organisation published who may store it, and who signed what
// about it.
type held struct {
	Holders
	deliveries []Delivery
}

// heldAt looks at the entry at a place of an own feed.
func (n *Node) heldAt(tx *store.Tx, s *snapshot, at protocol.EntryRef) (*held, error) {
	h := &held{Holders: n.holdersOf(s, at.Feed)}
	var err error
	if h.deliveries, err = n.deliveries(tx, at.Feed, at.Seq); err != nil {
		return nil, err
	}
	for _, d := range h.deliveries {
		if d.Held {
			h.Signed = addRefs(h.Signed, []OrgRef{d.Org})
		}
	}
	return h, nil
}

// holdersIn says who may store what is published, by the ways that it goes.
func (s *snapshot) holdersIn(w *policy.Way) Holders {
	if !w.Direct() {
		return Holders{EveryMember: true}
	}
	return Holders{Orgs: s.refs(w.Roster)}
}

// PlanHolders is who would store records, apart from who reads them.
type PlanHolders struct {
	Holders
	Records int      `json:"records"`
	Readers []OrgRef `json:"readers"` // whom they reach in this way
}

// planHolders merges the ways of all classes by who stores what goes by them.
func (s *snapshot) planHolders(classes []PlanClass) []PlanHolders {
	out := []PlanHolders{}
	for i := range classes {
		for j := range classes[i].Ways {
			w := &classes[i].Ways[j]
			h := s.holdersIn(w)
			k := slices.IndexFunc(out, func(p PlanHolders) bool {
				return p.EveryMember == h.EveryMember && slices.EqualFunc(p.Orgs, h.Orgs, func(a, b OrgRef) bool { return a.ID == b.ID })
			})
			if k < 0 {
				k = len(out)
				out = append(out, PlanHolders{Holders: h, Readers: []OrgRef{}})
			}
			out[k].Records += classes[i].Records
			out[k].Readers = addRefs(out[k].Readers, s.refs(w.Orgs))
		}
	}
	slices.SortStableFunc(out, func(a, b PlanHolders) int {
		if a.EveryMember != b.EveryMember {
			return map[bool]int{true: -1, false: 1}[a.EveryMember]
		}
		return strings.Compare(a.String(), b.String())
	})
	return out
}
