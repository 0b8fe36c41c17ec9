package node

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// What was published ends by its retention. The envelopes stand in the order of their ends besides, so
// that who looks for those that are over reads these, and not all that was ever published.

func publishedEndKey(d *publishedDoc, place []byte) []byte {
	return append(append([]byte(kindPublishedEnd), be64(d.end())...), place...)
}

// placeSize is of the place of an entry: its feed and seq.
const placeSize = len(protocol.FeedID{}) + 8

// ends reports whether the retention of its records ends and was not acted on yet.
func (d *publishedDoc) ends() bool { return d.RetentionDays != 0 && !d.Expired }

// putPublished stores for whom an envelope was sealed. Nothing else writes such documents.
func putPublished(tx *store.Tx, place []byte, d *publishedDoc) error {
	var old publishedDoc
	held, err := getDoc(tx, kindPublished, place, &old)
	if err != nil {
		return err
	}
	if held && old.ends() {
		if err := tx.Delete(publishedEndKey(&old, place)); err != nil {
			return err
		}
	}
	if d.ends() && len(place) == placeSize {
		if err := tx.Set(publishedEndKey(d, place), []byte{}); err != nil {
			return err
		}
	}
	return putDoc(tx, kindPublished, place, d)
}

// endedPublished calls fn with the places of envelopes whose retention is over, from the one that ended
// first.
func endedPublished(tx *store.Tx, now uint64, fn func(place []byte) error) error {
	return tx.Scan([]byte(kindPublishedEnd), nil, false, func(k, _ []byte) (bool, error) {
		k = k[len(kindPublishedEnd):]
		if len(k) != 8+placeSize {
			return false, protocol.Errorf(protocol.ErrMalformed, "store is damaged: the end of a publication has %d bytes", len(k))
		}
		if binary.BigEndian.Uint64(k) > now {
			return false, nil
		}
		return true, fn(k[8:])
	})
}

// indexEndsPart is how many documents a step of indexEnds reads: of the largest audience that is 2 MiB.
const indexEndsPart = 256

// indexEnds is a step of the migration to format 4: it enters what was published into the order of ends.
func indexEnds(tx *store.Tx, cursor []byte) (next []byte, done uint64, err error) {
	from := append([]byte(kindPublished), cursor...)
	var last []byte
	var places [][]byte
	var docs []*publishedDoc
	err = tx.Scan([]byte(kindPublished), from, false, func(k, v []byte) (bool, error) {
		place := k[len(kindPublished):]
		if bytes.Equal(place, cursor) {
			return true, nil // done by the step before
		}
		if done == indexEndsPart {
			return false, nil
		}
		d := new(publishedDoc)
		if err := protocol.Decode(v, maxDocument, d); err != nil {
			return false, err
		}
		last, done = slices.Clone(place), done+1
		if d.ends() && len(place) == placeSize {
			places, docs = append(places, last), append(docs, d)
		}
		return true, nil
	})
	for i, d := range docs {
		if err == nil {
			err = tx.Set(publishedEndKey(d, places[i]), []byte{})
		}
	}
	if done < indexEndsPart {
		last = nil
	}
	return last, done, err
}

// countPublished counts what indexEnds is to go through.
func countPublished(tx *store.Tx) (n uint64, err error) {
	err = tx.Scan([]byte(kindPublished), nil, false, func(_, _ []byte) (bool, error) { n++; return true, nil })
	return n, err
}
