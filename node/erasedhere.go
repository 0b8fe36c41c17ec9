package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// What this organisation erased is remembered by keyed hashes of STIX ids, and of the value where it was erased
// by value, so that no source of this node brings it back. Who has the store without its key can look nothing up in it; who has
// both can only ask for a value that they know already.

// maxErasedHere bounds what is remembered of erasures: about 60 bytes each on disk. Beyond, the oldest go.
var maxErasedHere = 1 << 20

// erasedEvict is how many of the oldest go at once.
const erasedEvict = 4096

// erasedKeyDoc stands under the empty id.
type erasedKeyDoc struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Key     [32]byte
	Count   uint64
}

// erasedDoc stands under a hash of 16 bytes.
type erasedDoc struct {
	_  struct{} `cbor:",toarray"`
	At uint64   // Unix milliseconds
}

// Kinds of what is hashed.
const (
	erasedID    = "id"
	erasedValue = "value"
)

func (d *erasedKeyDoc) hash(what, text string) []byte {
	h := sha256.New()
	h.Write(d.Key[:])
	h.Write([]byte(what))
	h.Write([]byte{0})
	h.Write([]byte(text))
	return h.Sum(nil)[:16]
}

// noteErased remembers what is being erased by this organisation.
func (n *Node) noteErased(tx *store.Tx, what string, texts ...string) error {
	if len(texts) == 0 {
		return nil
	}
	head := erasedKeyDoc{Version: 1}
	if found, err := getDoc(tx, kindErasedHere, nil, &head); err != nil {
		return err
	} else if !found {
		_, _ = rand.Read(head.Key[:])
	}
	now := uint64(nowMillis())
	for _, text := range texts {
		id := head.hash(what, text)
		var was erasedDoc
		held, err := getDoc(tx, kindErasedHere, id, &was)
		if err != nil {
			return err
		}
		if !held {
			head.Count++
		}
		if err := putDoc(tx, kindErasedHere, id, &erasedDoc{At: now}); err != nil {
			return err
		}
	}
	if head.Count > uint64(maxErasedHere) {
		if err := evictErased(tx, &head); err != nil {
			return err
		}
	}
	return putDoc(tx, kindErasedHere, nil, &head)
}

func evictErased(tx *store.Tx, head *erasedKeyDoc) error {
	type old struct {
		id [16]byte
		at uint64
	}
	var list []old
	if err := tx.Scan([]byte(kindErasedHere), nil, false, func(k, v []byte) (bool, error) {
		id := k[len(kindErasedHere):]
		if len(id) == 0 {
			return true, nil
		}
		var d erasedDoc
		if err := protocol.Decode(v, maxDocument, &d); err != nil {
			return false, err
		}
		list = append(list, old{[16]byte(id), d.At})
		return true, nil
	}); err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b old) int { return int(int64(a.at) - int64(b.at)) })
	for _, o := range list[:min(len(list), max(len(list)-maxErasedHere, min(erasedEvict, maxErasedHere/4)))] {
		if err := tx.Delete(append([]byte(kindErasedHere), o.id[:]...)); err != nil {
			return err
		}
		head.Count--
	}
	return nil
}

// noteErasedRecords remembers records that are about to go, if it is this organisation that erases them.
func (n *Node) noteErasedRecords(tx *store.Tx, ids []protocol.RecordID) error {
	var texts []string
	for _, id := range ids {
		e, err := n.index.Get(tx, id)
		if err != nil {
			return err
		}
		if e != nil && !slices.Contains(texts, e.StixID) {
			texts = append(texts, e.StixID)
		}
	}
	return n.noteErased(tx, erasedID, texts...)
}

// noteErasedValue remembers a value that is erased by this organisation. Words that are no observable are not: nothing
// that a source gives could be found by their hash.
func (n *Node) noteErasedValue(value string) error {
	o, ok := stix.Canonical(strings.TrimSpace(value))
	if !ok {
		return nil
	}
	return n.st.Update(func(tx *store.Tx) error { return n.noteErased(tx, erasedValue, o.Value) })
}

// ErasedHere reports which objects this organisation erased here: by their STIX ids, or a value in them.
func (n *Node) ErasedHere(ctx context.Context, items []intake.Item) (erased []bool, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		erased = make([]bool, len(items))
		var head erasedKeyDoc
		if found, err := getDoc(tx, kindErasedHere, nil, &head); err != nil || !found {
			return err
		}
		has := func(what, text string) (bool, error) {
			b, err := tx.Get(append([]byte(kindErasedHere), head.hash(what, text)...))
			return b != nil, err
		}
		for i := range items {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			erased[i], err = has(erasedID, items[i].Object.ID)
			for _, o := range items[i].Observables() {
				if err != nil || erased[i] {
					break
				}
				erased[i], err = has(erasedValue, o.Value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return erased, err
}

func checkErasedHere(id, value []byte) error {
	if len(id) == 0 {
		var d erasedKeyDoc
		if err := protocol.Decode(value, maxDocument, &d); err != nil {
			return err
		}
		if d.Version != 1 {
			return protocol.Errorf(protocol.ErrMalformed, "what was erased is remembered in version %d; this program knows 1", d.Version)
		}
		return nil
	}
	if len(id) != 16 {
		return protocol.Errorf(protocol.ErrMalformed, "what was erased is remembered by 16 bytes, not %d", len(id))
	}
	return protocol.Decode(value, maxDocument, new(erasedDoc))
}
