package node

import (
	"encoding/binary"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// volume counts what is sent under terms that limit how much goes in a day. It is made for one
// plan; what it counted is stored with the publication, or not at all. Each node of an organisation
// counts what it publishes itself.
type volume struct {
	n    *Node
	day  uint64
	used map[string]uint32
	took map[string]uint32 // of used: what this plan added
}

// volumeDoc is how many records went under a term in a day.
type volumeDoc struct {
	_     struct{} `cbor:",toarray"`
	Count uint32
}

func (n *Node) newVolume(now uint64) *volume {
	return &volume{n: n, day: now / dayMillis, used: map[string]uint32{}, took: map[string]uint32{}}
}

// key names a term on a day; the days stand in order.
func (v *volume) key(agreement protocol.AgreementID, term int) []byte {
	k := append(be64(v.day), agreement[:]...)
	return binary.BigEndian.AppendUint16(k, uint16(term))
}

// take counts one record more under the term that allows it, unless that was reached.
func (v *volume) take(d *policy.Decision) (bool, error) {
	if d.PerDay == 0 {
		return true, nil
	}
	key := string(v.key(d.Agreement, d.Term))
	used, ok := v.used[key]
	if !ok {
		var doc volumeDoc
		if err := v.n.st.View(func(tx *store.Tx) error { _, err := getDoc(tx, kindVolume, []byte(key), &doc); return err }); err != nil {
			return false, err
		}
		used = doc.Count
		v.used[key] = used
	}
	if used >= d.PerDay {
		return false, nil
	}
	v.used[key], v.took[key] = used+1, v.took[key]+1
	return true, nil
}

// commit stores what was counted, and forgets other days.
func (v *volume) commit(tx *store.Tx) error {
	if len(v.took) == 0 {
		return nil
	}
	var old [][]byte
	if err := scanDocs(tx, kindVolume, func(id []byte, _ *volumeDoc) error {
		if len(id) < 8 || binary.BigEndian.Uint64(id) < v.day {
			old = append(old, append([]byte(kindVolume), id...))
		}
		return nil
	}); err != nil {
		return err
	}
	for _, k := range old {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	for key, count := range v.took {
		var doc volumeDoc // another publication may have counted meanwhile
		if _, err := getDoc(tx, kindVolume, []byte(key), &doc); err != nil {
			return err
		}
		doc.Count += count
		if err := putDoc(tx, kindVolume, []byte(key), &doc); err != nil {
			return err
		}
	}
	clear(v.took) // of several groups in one commit, or several, each is counted once
	return nil
}

// over lists the readers of a record for whom a term lets no more through today, and counts the
// record for the others.
func (v *volume) over(readers []policy.OrgDecision) (over []protocol.OrgID, err error) {
	for i := range readers {
		ok, err := v.take(&readers[i].Decision)
		if err != nil {
			return nil, err
		}
		if !ok {
			over = append(over, readers[i].Org)
		}
	}
	return over, nil
}
