package node

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// What package taxii needs of a node, and keeps in it.

// At returns the records with some cursors, which rise, as the reader may read and export them. It is
// nil where one is gone, or nothing for the reader: the two are not told apart.
func (r *Reader) At(cursors []uint64) ([]*Record, error) {
	if err := r.n.usable(); err != nil {
		return nil, err
	}
	out := make([]*Record, len(cursors))
	see := r.sees(rules.Export)
	s := r.n.snap.Load()
	err := r.n.viewIndex(func(tx *store.Tx) error {
		clear(out)
		entries, err := r.n.index.At(tx, cursors)
		if err != nil {
			return err
		}
		reader := r.n.recordReader(tx, s)
		for i, e := range entries {
			if e == nil {
				continue
			}
			rec, err := reader.record(e)
			if err != nil {
				return err
			}
			if see(&rec) {
				out[i] = &rec
			}
		}
		return nil
	})
	return out, err
}

// Sees reports whether the reader may read and export a record.
func (r *Reader) Sees(rec *Record) bool { return r.sees(rules.Export)(rec) }

// Class names what local rules look at in a record: they say the same of all of one class.
func (r *Record) Class() string {
	var behalf protocol.OrgID
	if r.OnBehalf != nil {
		behalf = r.OnBehalf.Principal.ID
	}
	return fmt.Sprintf("%s %s %s %q %q %s", r.Originator.ID[:], r.Publisher.ID[:], behalf[:], r.Topic, r.Type, protocol.Encode(r.handling))
}

// Outline returns the record without its object: what a rule looks at, and a list can keep.
func (r *Record) Outline() *Record {
	o := *r
	o.Object, o.definitions, o.Assessment = nil, nil, nil
	return &o
}

// MayInTopic reports whether the reader may do something with what this organisation publishes in a
// topic, as far as rules say so for the topic as a whole.
func (r *Reader) MayInTopic(action rules.Action, topic string) bool {
	now := uint64(nowMillis())
	s := r.n.snap.Load()
	subject := &policy.Subject{Originator: r.n.org, Publisher: r.n.org, Topic: topic, Handling: protocol.Handling{Version: 1, TLP: protocol.TLPClear}, RecordedAt: now}
	return s.may(r.who, action, s.resource(subject), now).Allow
}

// CollectionSpace names the network, in which the names of topics and views mean what they mean here.
func (n *Node) CollectionSpace() string { return n.snap.Load().network.String() }

// TopicNames lists the topics that this node is in, by name, the control topic left out.
func (n *Node) TopicNames() []string {
	list := []string{}
	for id, name := range n.snap.Load().topics {
		if name != protocol.ControlTopic && !id.Direct() {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// taxiiDoc is what package taxii keeps: under "key" the key of its paging, and under the id of a
// status resource who made the request, and what became of it.
type taxiiDoc struct {
	_     struct{} `cbor:",toarray"`
	At    uint64   // Unix milliseconds
	Owner string   // the consumer; "" of the key
	Body  []byte   // the key, 32 bytes; or the resource, JSON
}

const (
	taxiiKeyID   = "key"
	taxiiKeySize = 32
	taxiiIDSize  = 36
	// MaxTaxiiStatus bounds a status resource, in bytes: a value of the store has no more.
	MaxTaxiiStatus = 1000 << 10
	maxTaxiiHeld   = 1000           // status resources
	maxTaxiiBytes  = 32 << 20       // of all of them
	taxiiLife      = 48 * time.Hour // the standard asks for 24 (4.3)
)

func checkTaxii(id, value []byte) error {
	var d taxiiDoc
	if err := protocol.Decode(value, maxDocument, &d); err != nil {
		return err
	}
	isKey := string(id) == taxiiKeyID
	if isKey && (len(d.Body) != taxiiKeySize || d.Owner != "") || !isKey && (len(id) != taxiiIDSize || len(d.Body) > MaxTaxiiStatus || d.Owner == "") {
		return protocol.Errorf(protocol.ErrMalformed, "it is neither a key of paging nor a status resource")
	}
	return nil
}

// TaxiiKey returns the key under which a TAXII server seals where its pages go on. It is made once, and
// goes into backups: clients hold what it sealed.
func (n *Node) TaxiiKey() (key []byte, err error) {
	err = n.st.Update(func(tx *store.Tx) error {
		var d taxiiDoc
		ok, err := getDoc(tx, kindTaxii, []byte(taxiiKeyID), &d)
		if err == nil && !ok {
			d = taxiiDoc{At: uint64(nowMillis()), Body: make([]byte, taxiiKeySize)}
			rand.Read(d.Body)
			err = putDoc(tx, kindTaxii, []byte(taxiiKeyID), &d)
		}
		key = d.Body
		return err
	})
	return key, err
}

// SetTaxiiStatus keeps a status resource of a consumer, for two days. Those that are older go, and the
// oldest where there are too many.
func (n *Node) SetTaxiiStatus(id, owner string, body []byte) error {
	if len(id) != taxiiIDSize || owner == "" || len(body) > MaxTaxiiStatus {
		return protocol.Errorf(protocol.ErrMalformed, "a status resource of %d bytes, or without an owner", len(body))
	}
	type held struct {
		id   string
		at   uint64
		size int
	}
	return n.st.Update(func(tx *store.Tx) error {
		now := uint64(nowMillis())
		var list []held
		err := scanDocs(tx, kindTaxii, func(k []byte, d *taxiiDoc) error {
			if string(k) != taxiiKeyID && string(k) != id {
				list = append(list, held{string(k), d.At, len(d.Body)})
			}
			return nil
		})
		if err != nil {
			return err
		}
		slices.SortFunc(list, func(a, b held) int { return strings.Compare(string(be64(b.at))+b.id, string(be64(a.at))+a.id) })
		size := len(body)
		for i, h := range list {
			size += h.size
			if i < maxTaxiiHeld-1 && size <= maxTaxiiBytes && h.at+uint64(taxiiLife.Milliseconds()) > now {
				continue
			}
			if err := tx.Delete([]byte(kindTaxii + h.id)); err != nil {
				return err
			}
		}
		return putDoc(tx, kindTaxii, []byte(id), &taxiiDoc{At: now, Owner: owner, Body: body})
	})
}

// TaxiiStatus returns a status resource of a consumer; ErrNotFound if there is none, or it is another's.
func (n *Node) TaxiiStatus(id, owner string) ([]byte, error) {
	var d taxiiDoc
	ok := false
	err := n.st.View(func(tx *store.Tx) (err error) { ok, err = getDoc(tx, kindTaxii, []byte(id), &d); return err })
	if err == nil && (!ok || id == taxiiKeyID || d.Owner != owner || d.At+uint64(taxiiLife.Milliseconds()) <= uint64(nowMillis())) {
		err = fmt.Errorf("status %s: %w", id, ErrNotFound)
	}
	return d.Body, err
}
