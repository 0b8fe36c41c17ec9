package protocol

import "bytes"

// Records that not every member may store, not even sealed, travel in direct feeds: feeds of a
// direct topic, which its author states once, with the organisations that may hold it.

// directMark begins the id of every direct topic, so that whoever meets a feed of one knows it for
// one that is not to be told of, whether it was told what the topic says or not.
var directMark = [8]byte{'!', 'd', 'i', 'r', 'e', 'c', 't', 0}

// DirectTopic is a topic of one author whose feeds go to the nodes of the organisations on its
// roster and to nobody else. Its id follows from all of it, and with it the id of the feed that
// every entry names: who signs an entry signs the roster.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type DirectTopic struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Author  SigningKey // of the one node that appends
	Name    string     // of the topic in which its records count
	Roster  []OrgID    // sorted; who may hold it, the author's organisation among them
	Bounds  []Bound    // sorted by encoding; by which terms: whoever holds it has to satisfy each of them
	Nonce   [32]byte   // random: nobody finds out from the id of a feed who is on the roster
}

// Bound is who may hold what came under a term that restricts holders: its agreement's parties and
// the organisations that it names, and those of the countries that it names.
//
// Growth: with DirectTopic, of which it is a part; it has no version of its own.
type Bound struct {
	_         struct{} `cbor:",toarray"`
	Orgs      []OrgID  // sorted
	Countries []string // ISO codes, sorted
}

// BoundOf returns the bound that a term of an agreement sets, by its holders, which restrict.
func BoundOf(parties []OrgID, h *Holders) Bound {
	orgs := append(append([]OrgID{}, parties...), h.Orgs...)
	return Bound{Orgs: sortedSet(orgs, OrgID.Compare), Countries: append([]string{}, h.Countries...)}
}

// CompareBounds orders bounds by their encoding.
func CompareBounds(a, b Bound) int { return bytes.Compare(Encode(&a), Encode(&b)) }

// Direct reports whether the id is that of a direct topic.
func (id TopicID) Direct() bool { return [8]byte(id[:8]) == directMark }

// ID returns the id of the topic: 8 bytes that mark it, and the first 24 of
// SHA-256("entente/direct-topic/v1" || 0x00 || encoded statement).
func (d *DirectTopic) ID() TopicID {
	id := digest("entente/direct-topic/v1", Encode(d))
	return TopicID(append(directMark[:len(directMark):len(directMark)], id[:24]...))
}

// Validate checks ranges, order and bounds.
func (d *DirectTopic) Validate() error {
	switch {
	case d.Version != 1:
		return unknownVersion("direct topic", d.Version, 1)
	case len(d.Roster) == 0 || len(d.Roster) > MaxDirectRoster:
		return oversize("direct topic has %d organisations on its roster, 1 to %d are allowed", len(d.Roster), MaxDirectRoster)
	case len(d.Bounds) == 0 || len(d.Bounds) > MaxDirectBounds:
		return oversize("direct topic states %d bounds, 1 to %d are allowed", len(d.Bounds), MaxDirectBounds)
	case !isSortedSet(d.Roster, OrgID.Compare) || !isSortedSet(d.Bounds, CompareBounds):
		return malformed("roster and bounds of a direct topic must be sorted and free of duplicates")
	}
	for i := range d.Bounds {
		b := &d.Bounds[i]
		if len(b.Orgs) > MaxNamedOrgs+MaxParties {
			return oversize("bound names %d organisations, at most %d", len(b.Orgs), MaxNamedOrgs+MaxParties)
		}
		if !isSortedSet(b.Orgs, OrgID.Compare) {
			return malformed("organisations of a bound must be sorted and free of duplicates")
		}
		if len(b.Countries) > 0 {
			if b.Countries[0] == Worldwide {
				return malformed("a bound that every country satisfies is none")
			}
			if err := checkList("countries of a bound", b.Countries, MaxCountries, checkCountry); err != nil {
				return err
			}
		}
	}
	return checkToken("topic", d.Name)
}
