package audit

import (
	"crypto/sha256"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/entente-mesh/entente/protocol"
)

// Kind is what sort of act an entry is about.
type Kind uint8

// The kinds. Their numbers stand in leaves, and never change their meaning.
const (
	Begin      Kind = 1  // a log begins; its details name the ones before it
	Decide     Kind = 2  // for whom records of one class are, and for whom not, with the reasons
	Publish    Kind = 3  // records were sealed under decisions
	Withdraw   Kind = 4  // records were retracted by their originator
	Release    Kind = 5  // a person approved or denied that records are passed on
	Disclose   Kind = 6  // records were shown to a person or a machine of this organisation, or left in a file
	Erase      Kind = 7  // records were destroyed
	Quarantine Kind = 8  // what arrived was set aside
	Trust      Kind = 9  // an organisation was pinned, or its pin taken back
	Agreement  Kind = 10 // an agreement was proposed, signed, rejected, ended
	Network    Kind = 11 // members and topics
	Keys       Kind = 12 // nodes and keys of organisations
	Grant      Kind = 13 // a key was handed out after what is sealed under it
	Forget     Kind = 14 // details of entries were erased
	Rules      Kind = 15 // local rules were put in force, or refused
	Refuse     Kind = 16 // a request of somebody here, or a letter of a partner, was refused
	Access     Kind = 17 // who comes in from outside, and what goes out and comes in by itself, was set
	People     Kind = 18 // who the people of the node are, and what they may do, was set
	Second     Kind = 19 // an act that two persons have to want was asked for, approved, denied
	OwnKeys    Kind = 20 // keys and roots of this organisation were made, replaced, ended by a person
	Migration  Kind = 21 // the data was brought to the format of another version of the program
	Clock      Kind = 22 // a person said that the clock is right
)

var kindNames = [...]string{"", "begin", "decide", "publish", "withdraw", "release", "disclose", "erase", "quarantine",
	"trust", "agreement", "network", "keys", "grant", "forget", "rules", "refuse", "access", "people", "second", "own-keys", "migration", "clock"}

// Kinds lists the names of the kinds, in the order of their numbers.
func Kinds() []string { return kindNames[1:] }

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) >= len(kindNames) || kindNames[k] == "" {
		return "unknown"
	}
	return kindNames[k]
}

// ParseKind reads a kind's name.
func ParseKind(s string) (Kind, error) {
	for i, name := range kindNames {
		if name != "" && name == s {
			return Kind(i), nil
		}
	}
	return 0, protocol.Errorf(protocol.ErrMalformed, "%q is no kind of entry; use one of %s", s, strings.Join(Kinds(), ", "))
}

// Leaf is what the tree is made of. It tells nobody what an entry is about.
//
// Growth: with Version.
type Leaf struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Kind       Kind
	Day        uint32        // since 1970-01-01, UTC
	Commitment protocol.Hash // SHA-256(salt || details)
}

// Validate checks what Decode cannot.
func (l *Leaf) Validate() error {
	if l.Version != 1 {
		return protocol.Errorf(protocol.ErrMalformed, "leaf has version %d; this program knows 1", l.Version)
	}
	if l.Kind.String() == "unknown" {
		return protocol.Errorf(protocol.ErrMalformed, "leaf is of unknown kind %d", l.Kind)
	}
	return nil
}

const dayMillis = 24 * 3600 * 1000

// commit returns the commitment to details. The salt has a fixed length, so the two cannot be
// divided in another way.
func commit(salt [32]byte, details []byte) protocol.Hash {
	h := sha256.New()
	h.Write(salt[:])
	h.Write(details)
	return protocol.Hash(h.Sum(nil))
}

// Details say what an entry is about. Fields that an act does not have are empty.
type Details struct {
	_          struct{} `cbor:",toarray"`
	At         uint64   // Unix milliseconds
	Act        string   // what was done, in a word or two
	Person     string   // who did it, as the caller stated; empty: the node by itself, or another organisation
	Purpose    string   // for what, as the caller stated
	By         protocol.OrgID
	Orgs       []protocol.OrgID       // whom it concerns
	Agreements []protocol.AgreementID // under which it was done, or that it is about
	Topic      string
	Reason     string // a code, or what its author wrote
	Text       string
	Records    RecordSet
	Class      Class     // Decide
	Verdicts   []Verdict // Decide, and what was sealed anew
	Parts      []Part    // Publish
	Entries    []uint64  // earlier entries of this log that it is about
	Logs       []Head    // Begin

	provided func(KV) error // not part of the entry
}

// Provided has an entry made only if a function returns no error in its transaction: else that fails, with the act.
func (d *Details) Provided(fn func(KV) error) { d.provided = fn }

// NamesAny reports whether the details name one of some records by its id. Of very many records at once
// no ids are given.
func (d *Details) NamesAny(ids map[protocol.RecordID]bool) bool {
	named := func(set *RecordSet) bool {
		return slices.ContainsFunc(set.IDs, func(id protocol.RecordID) bool { return ids[id] })
	}
	return named(&d.Records) || slices.ContainsFunc(d.Parts, func(p Part) bool { return named(&p.Records) })
}

// CoversAny reports whether the details are about one of some entries of feeds.
func (d *Details) CoversAny(entries map[protocol.FeedID]map[uint64]bool) bool {
	covers := func(set *RecordSet) bool {
		return slices.ContainsFunc(set.Places, func(p Place) bool {
			if p.To-p.From < uint64(len(entries[p.Feed])) {
				for seq := p.From; seq <= p.To; seq++ {
					if entries[p.Feed][seq] {
						return true
					}
				}
				return false
			}
			for seq := range entries[p.Feed] {
				if p.From <= seq && seq <= p.To {
					return true
				}
			}
			return false
		})
	}
	return covers(&d.Records) || slices.ContainsFunc(d.Parts, func(p Part) bool { return covers(&p.Records) })
}

// RecordSet says which records an entry is about. IDs are given up to MaxIDs, in the order of the
// act; of more, Root is the RFC 6962 tree hash over them in that order.
type RecordSet struct {
	_      struct{} `cbor:",toarray"`
	Count  uint64
	IDs    []protocol.RecordID
	Root   protocol.Hash
	Places []Place // envelopes that hold them, among others
	After  uint64  // cursors of what left the node: above After, up to To
	To     uint64
}

// Place is a range of entries of a feed.
type Place struct {
	_    struct{} `cbor:",toarray"`
	Feed protocol.FeedID
	From uint64
	To   uint64
}

// Class is what a decision was made about: records of one handling and kind.
type Class struct {
	_          struct{} `cbor:",toarray"`
	Originator protocol.OrgID
	Kind       string // STIX type
	Handling   []byte // encoded protocol.Handling; empty: no class
}

// Verdict is the decision about one organisation. Org counts in Details.Orgs, and Agreement in
// Details.Agreements from 1; 0 is none.
type Verdict struct {
	_         struct{} `cbor:",toarray"`
	Org       uint32
	Allow     bool
	Agreement uint32
	Term      uint32 // from 1; 0: none
	Reason    string // code of package policy
}

// Part is the records of a publication that one decision was about.
type Part struct {
	_        struct{} `cbor:",toarray"`
	Decision uint64   // number of its entry
	Records  RecordSet
}

// Head is where a log stood.
type Head struct {
	_    struct{} `cbor:",toarray"`
	Log  ID
	Size uint64
	Root protocol.Hash
}

// NewRecordSet names records: one by one with list, if there are at most MaxIDs of them, else by
// their root.
func NewRecordSet(ids []protocol.RecordID, list bool) RecordSet {
	r := RecordSet{Count: uint64(len(ids))}
	if list && len(ids) <= MaxIDs {
		r.IDs = ids
	} else {
		r.Root = RootOf(ids)
	}
	return r
}

// RootOf returns the RFC 6962 tree hash over record ids, as tlog.TreeHash does, but without keeping
// the tree: every record that is published passes here.
func RootOf(ids []protocol.RecordID) protocol.Hash {
	level := make([]tlog.Hash, len(ids))
	for i := range ids {
		level[i] = tlog.RecordHash(ids[i][:])
	}
	for len(level) > 1 {
		n := 0
		for ; 2*n+1 < len(level); n++ {
			level[n] = tlog.NodeHash(level[2*n], level[2*n+1])
		}
		if len(level)%2 == 1 { // the last goes up as it is
			level[n] = level[len(level)-1]
			n++
		}
		level = level[:n]
	}
	if len(level) == 0 {
		return protocol.Hash(sha256.Sum256(nil))
	}
	return protocol.Hash(level[0])
}

// Validate checks what Decode cannot: bounds, and that numbers refer to something.
func (d *Details) Validate() error {
	for _, t := range []struct {
		what, text string
		limit      int
	}{
		{"act", d.Act, MaxName}, {"person", d.Person, MaxName}, {"purpose", d.Purpose, MaxName}, {"topic", d.Topic, protocol.MaxNameSize},
		{"reason", d.Reason, MaxText}, {"text", d.Text, MaxText}, {"kind of object", d.Class.Kind, MaxName},
	} {
		if len(t.text) > t.limit {
			return protocol.Errorf(protocol.ErrOversize, "%s of an audit entry has %d bytes, at most %d", t.what, len(t.text), t.limit)
		}
	}
	for what, n := range map[string]int{"organisations": len(d.Orgs), "agreements": len(d.Agreements), "verdicts": len(d.Verdicts),
		"parts": len(d.Parts), "entries": len(d.Entries), "logs": len(d.Logs)} {
		if n > MaxList {
			return protocol.Errorf(protocol.ErrOversize, "an audit entry lists %d %s, at most %d", n, what, MaxList)
		}
	}
	for i := range d.Verdicts {
		if v := &d.Verdicts[i]; int(v.Org) >= len(d.Orgs) || int(v.Agreement) > len(d.Agreements) {
			return protocol.Errorf(protocol.ErrMalformed, "verdict %d of an audit entry refers to nothing", i)
		}
	}
	for i := range d.Parts {
		if err := d.Parts[i].Records.validate(); err != nil {
			return err
		}
	}
	return d.Records.validate()
}

func (r *RecordSet) validate() error {
	switch {
	case len(r.IDs) > MaxIDs || len(r.Places) > MaxList:
		return protocol.Errorf(protocol.ErrOversize, "an audit entry names %d records and %d places", len(r.IDs), len(r.Places))
	case len(r.IDs) > 0 && (uint64(len(r.IDs)) != r.Count || r.Root != protocol.Hash{}):
		return protocol.Errorf(protocol.ErrMalformed, "an audit entry names %d records, and says that there are %d", len(r.IDs), r.Count)
	}
	return nil
}

// Agreement returns the agreement of a verdict; zero for none.
func (d *Details) Agreement(v *Verdict) (id protocol.AgreementID) {
	if v.Agreement > 0 && int(v.Agreement) <= len(d.Agreements) {
		id = d.Agreements[v.Agreement-1]
	}
	return id
}

// Clip makes text from outside fit for an entry: without control characters, and cut at limit bytes.
func Clip(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
