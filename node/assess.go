package node

import (
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// What an object says of how far it can be relied on is read when it is shown, of the object and of
// the marking definitions that came with it from the same originator. It is kept nowhere, and decides
// nothing.

// maxDefinitions bounds the marking definitions that are looked for for one record.
const maxDefinitions = 8

// recordReader makes records of entries in one state of the store.
type recordReader struct {
	n    *Node
	s    *snapshot
	tx   *store.Tx
	defs map[definitionKey]*Record // nil: there is none
}

type definitionKey struct {
	originator protocol.OrgID
	id         string
}

func (n *Node) recordReader(tx *store.Tx, s *snapshot) *recordReader {
	return &recordReader{n: n, s: s, tx: tx, defs: map[definitionKey]*Record{}}
}

// all appends the records of entries.
func (r *recordReader) all(out []Record, entries []corpus.Entry) ([]Record, error) {
	for i := range entries {
		rec, err := r.record(&entries[i])
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

func (r *recordReader) record(e *corpus.Entry) (Record, error) {
	rec := r.n.record(r.s, e)
	o, err := stix.Parse(e.Object)
	if err != nil {
		return rec, nil // it is shown as it is
	}
	looked := 0
	for _, id := range o.Markings {
		if stix.IsTLPMarking(id) {
			continue
		}
		if looked++; looked > maxDefinitions {
			break
		}
		d, err := r.definition(definitionKey{e.Originator, id})
		if err != nil {
			return rec, err
		}
		if d != nil {
			rec.definitions = append(rec.definitions, d)
		}
	}
	rec.assess(o)
	return rec, nil
}

// definition returns the newest definition of a marking by an originator. Another's of the same id
// says nothing of this one's records.
func (r *recordReader) definition(key definitionKey) (*Record, error) {
	if d, ok := r.defs[key]; ok {
		return d, nil
	}
	var out *Record
	list, err := r.n.index.ByStixID(r.tx, key.id)
	for i := range list {
		if e := &list[i]; out == nil && e.Originator == key.originator && !e.Withdrawn {
			rec := r.n.record(r.s, e)
			out = &rec
		}
	}
	r.defs[key] = out
	return out, err
}

// assess reads the assessment of an object and of the definitions that were found of its markings.
func (r *Record) assess(o *stix.Object) {
	define := func(id string) *stix.Object {
		for _, d := range r.definitions {
			if d.StixID == id {
				def, _ := stix.Parse(d.Object) // nil if it is none
				return def
			}
		}
		return nil
	}
	r.Assessment = nil
	if a := stix.Assess(o, define); !a.IsZero() {
		r.Assessment = &a
	}
}

// withoutHidden takes from a record's assessment what stands in definitions that see does not let
// somebody read.
func (r *Record) withoutHidden(see func(*Record) bool) {
	seen := r.definitions[:0:0]
	for _, d := range r.definitions {
		if see(d) {
			seen = append(seen, d)
		}
	}
	if len(seen) == len(r.definitions) {
		return
	}
	r.definitions = seen
	if o, err := stix.Parse(r.Object); err == nil {
		r.assess(o)
	}
}
