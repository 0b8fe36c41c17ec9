package node

import (
	"bytes"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Who is told of an exclusion signs that it has it, and to whom it told it in turn. Receipts show
// that to who told it, and no further; an acknowledgement goes back the way that the exclusion came,
// from each to whoever told it, so that its originator sees every hop, and what is missing.

// ackDoc is an acknowledgement as it is kept, by exclusion, organisation and key.
type ackDoc struct {
	_    struct{} `cbor:",toarray"`
	Raw  []byte   // encoded protocol.ExclusionAck
	Came uint64   // Unix milliseconds
	Sent bool     // it was told to who told this organisation, or nobody is to be
}

// maxAcksOf bounds the acknowledgements that are kept of one exclusion: what does not fit is not
// shown, and overdue.
const maxAcksOf = 4096

// ackBytes bounds the acknowledgements in one letter; the letter itself is bounded by MaxLetterSize.
const ackBytes = 24 << 10

func ackKey(h protocol.Hash, org protocol.OrgID, key protocol.SigningKey) []byte {
	return slices.Concat(h[:], org[:], key[:])
}

// ackDue has the acknowledgement of an exclusion, and of those who were told of it, sent.
func ackDue(tx *store.Tx, h protocol.Hash) error { return putDoc(tx, kindAckDue, h[:], &goneDoc{}) }

// acksAgain has the acknowledgements of an exclusion told again.
func acksAgain(tx *store.Tx, h protocol.Hash) error {
	keys, docs, err := acksOf(tx, h)
	for i := range docs {
		if docs[i].Sent = false; err == nil {
			err = putDoc(tx, kindExclusionAck, keys[i], &docs[i])
		}
	}
	return err
}

// receiveAcks takes what an organisation that was told of exclusions acknowledges.
func (n *Node) receiveAcks(s *snapshot, l *protocol.Letter) error {
	var list protocol.ExclusionAcks
	if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &list); err != nil {
		return err
	}
	var statements []*protocol.ExclusionAckStatement
	for i := range list.Acks {
		st, err := crypto.VerifyExclusionAck(s.network, &list.Acks[i], s.card)
		if err != nil {
			return err
		}
		statements = append(statements, st)
	}
	return n.st.Update(func(tx *store.Tx) error {
		for i, st := range statements {
			if err := n.keepAck(tx, l.Sender, &list.Acks[i], st); err != nil {
				return err
			}
		}
		return nil
	})
}

func (n *Node) keepAck(tx *store.Tx, sender protocol.OrgID, ack *protocol.ExclusionAck, st *protocol.ExclusionAckStatement) error {
	x, doc, err := exclusionOf(tx, st.Exclusion)
	if err != nil {
		return err
	}
	if x == nil || st.Org == n.org {
		return protocol.Errorf(protocol.ErrWrongContext, "acknowledgement is of an exclusion that is not known here")
	}
	if !slices.Contains(doc.told(), sender) {
		return nil // another node of this organisation told it, and gets the same letter
	}
	key := ackKey(st.Exclusion, st.Org, st.Signing)
	var held ackDoc
	ok, err := getDoc(tx, kindExclusionAck, key, &held)
	if err != nil {
		return err
	}
	if ok {
		before, err := held.statement()
		if err != nil || before.At >= st.At {
			return err
		}
	} else {
		count := 0
		err := tx.Scan(append([]byte(kindExclusionAck), st.Exclusion[:]...), nil, false, func(_, _ []byte) (bool, error) {
			count++
			return count < maxAcksOf, nil
		})
		if err != nil || count >= maxAcksOf {
			return err
		}
	}
	last := x.Originator == n.org || len(doc.From) == 0
	if !last {
		if err := ackDue(tx, st.Exclusion); err != nil {
			return err
		}
	}
	return putDoc(tx, kindExclusionAck, key, &ackDoc{Raw: protocol.Encode(ack), Came: uint64(nowMillis()), Sent: last})
}

func (d *ackDoc) statement() (*protocol.ExclusionAckStatement, error) {
	var a protocol.ExclusionAck
	if err := protocol.Decode(d.Raw, maxDocument, &a); err != nil {
		return nil, err
	}
	st := new(protocol.ExclusionAckStatement)
	return st, protocol.Decode(a.Statement, maxDocument, st)
}

// told lists for whom this node sealed an exclusion, sorted.
func (d *exclusionDoc) told() (list []protocol.OrgID) {
	for i := range d.Sent {
		list = append(list, d.Sent[i].Orgs...)
	}
	slices.SortFunc(list, protocol.OrgID.Compare)
	return slices.Compact(list)
}

// acksOf lists the acknowledgements of an exclusion.
func acksOf(tx *store.Tx, h protocol.Hash) (keys [][]byte, docs []ackDoc, err error) {
	err = scanDocs(tx, kindExclusionAck+string(h[:]), func(id []byte, d *ackDoc) error {
		keys, docs = append(keys, append(h[:len(h):len(h)], id...)), append(docs, *d)
		return nil
	})
	return keys, docs, err
}

// sendAcks signs what is due, and puts it into letters to who told.
func (n *Node) sendAcks() error {
	s := n.snap.Load()
	waiting, sent := false, false
	err := n.st.View(func(tx *store.Tx) error {
		return tx.Scan([]byte(kindAckDue), nil, false, func(_, _ []byte) (bool, error) { waiting = true; return false, nil })
	})
	if err != nil || !waiting {
		return err
	}
	err = n.st.Update(func(tx *store.Tx) error {
		sent = false
		var due []protocol.Hash
		if err := scanDocs(tx, kindAckDue, func(id []byte, _ *goneDoc) error {
			if len(id) == len(protocol.Hash{}) {
				due = append(due, protocol.Hash(id))
			}
			return nil
		}); err != nil {
			return err
		}
		to := map[protocol.OrgID][]protocol.ExclusionAck{}
		for _, h := range due {
			if err := n.acksDue(tx, s, h, to); err != nil {
				return err
			}
			if err := tx.Delete(append([]byte(kindAckDue), h[:]...)); err != nil {
				return err
			}
		}
		for _, org := range sortedOrgs(to) {
			for _, part := range ackLetters(to[org]) {
				sent = true
				if err := keepLetter(tx, &pendingLetter{Parties: []protocol.OrgID{org}, Kind: protocol.LetterExclusionAcks, Content: protocol.Encode(part)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && sent {
		n.sendDecided()
	}
	return err
}

// acksDue adds what is to be said of an exclusion to what each of those who told of it is sent: this
// node's own word, and what others sent since.
func (n *Node) acksDue(tx *store.Tx, s *snapshot, h protocol.Hash, to map[protocol.OrgID][]protocol.ExclusionAck) error {
	st, doc, err := exclusionOf(tx, h)
	if err != nil || st == nil || st.Originator == n.org || len(doc.From) == 0 {
		return err
	}
	told := doc.told()
	own := &protocol.ExclusionAckStatement{Version: 1, Network: s.network, Exclusion: h, Org: n.org, At: uint64(nowMillis()),
		Told: append([]protocol.OrgID{}, told[:min(len(told), protocol.MaxAckTold)]...)}
	own.More = uint32(len(told) - len(own.Told))
	signed, err := crypto.SignExclusionAck(own, n.keys.Signing)
	if err != nil {
		return err
	}
	for _, org := range doc.From {
		to[org] = append(to[org], signed)
	}
	keys, docs, err := acksOf(tx, h)
	if err != nil {
		return err
	}
	for i := range docs {
		if docs[i].Sent {
			continue
		}
		var ack protocol.ExclusionAck
		if err := protocol.Decode(docs[i].Raw, maxDocument, &ack); err != nil {
			return err
		}
		org := protocol.OrgID(keys[i][len(h):][:len(protocol.OrgID{})])
		for _, parent := range doc.From {
			if parent != org {
				to[parent] = append(to[parent], ack)
			}
		}
		docs[i].Sent = true
		if err := putDoc(tx, kindExclusionAck, keys[i], &docs[i]); err != nil {
			return err
		}
	}
	return nil
}

// ackLetters puts acknowledgements into as many letters as they need.
func ackLetters(list []protocol.ExclusionAck) (letters []*protocol.ExclusionAcks) {
	size := 0
	for i := range list {
		last := len(letters) - 1
		if last < 0 || len(letters[last].Acks) == protocol.MaxExclusionAcks || size+len(list[i].Statement)+100 > ackBytes {
			letters, size = append(letters, &protocol.ExclusionAcks{Version: 1}), 0
			last++
		}
		letters[last].Acks = append(letters[last].Acks, list[i])
		size += len(list[i].Statement) + 100
	}
	return letters
}

// ExclusionHop is what an organisation that heard of an exclusion from another one made of it.
type ExclusionHop struct {
	By OrgRef `json:"told_by"`
	ExclusionAt
}

// hopsOf lists who was told of an exclusion by those whom this organisation told, by their signed
// words, and adds to told what they acknowledged so.
func (n *Node) hopsOf(tx *store.Tx, s *snapshot, h protocol.Hash, told []ExclusionAt, now uint64) ([]ExclusionHop, error) {
	_, docs, err := acksOf(tx, h)
	if err != nil {
		return nil, err
	}
	type step struct{ by, to protocol.OrgID }
	acked := map[protocol.OrgID]uint64{}
	said := map[step]uint64{}
	for i := range docs {
		st, err := docs[i].statement()
		if err != nil {
			return nil, err
		}
		if at, ok := acked[st.Org]; !ok || st.At < at {
			acked[st.Org] = st.At
		}
		for _, o := range st.Told {
			if at, ok := said[step{st.Org, o}]; !ok || docs[i].Came < at {
				said[step{st.Org, o}] = docs[i].Came
			}
		}
	}
	for i := range told {
		if at, ok := acked[told[i].Org.ID]; ok && told[i].Opened == nil {
			t := millis(at)
			told[i].Opened, told[i].Overdue = &t, false
		}
	}
	list := []ExclusionHop{}
	for st, came := range said {
		hop := ExclusionHop{By: s.ref(st.by), ExclusionAt: ExclusionAt{Org: s.ref(st.to)}}
		if at, ok := acked[st.to]; ok {
			t := millis(at)
			hop.Opened = &t
		}
		hop.Overdue = hop.Opened == nil && now > came+dayMillis
		list = append(list, hop)
	}
	slices.SortFunc(list, func(a, b ExclusionHop) int {
		if c := bytes.Compare(a.By.ID[:], b.By.ID[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.Org.ID[:], b.Org.ID[:])
	})
	return list, nil
}
