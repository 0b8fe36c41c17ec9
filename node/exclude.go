package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// An originator may say after it published that some organisations are to get a record no more. Its
// word travels as a withdrawal does, and to whom the records were passed on; whoever has it seals
// them for those organisations no more, whatever its own agreements say. What they read they have.

// exclusionDoc is an exclusion as it is kept.
type exclusionDoc struct {
	_    struct{}         `cbor:",toarray"`
	Raw  []byte           // encoded protocol.Exclusion
	At   uint64           // when it came
	Sent []sentTo         // entries of this organisation that tell of it
	From []protocol.OrgID // other organisations that told this one of it
}

// sentTo is an own entry, and for whom it was sealed.
type sentTo struct {
	_    struct{} `cbor:",toarray"`
	Feed protocol.FeedID
	Seq  uint64
	Orgs []protocol.OrgID
}

// excludedDoc lists the exclusions of a record.
type excludedDoc struct {
	_      struct{} `cbor:",toarray"`
	Hashes []protocol.Hash
}

// maxExclusionsOf bounds the exclusions of one record. Of more, the first count: an originator that
// excludes so often withdraws.
const maxExclusionsOf = 64

// Exclude says that own records are to go to some organisations no more.
func (n *Node) Exclude(ctx context.Context, records []protocol.RecordID, orgs []protocol.OrgID) error {
	records, orgs = slices.Clone(records), slices.Clone(orgs)
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	orgs = slices.Compact(orgs)
	slices.SortFunc(records, compareRecords)
	records = slices.Compact(records)
	if slices.Contains(orgs, n.org) {
		return errors.New("this organisation cannot be excluded from its own records; erase them instead")
	}
	byTopic, err := n.ownPlaces(records, false)
	if err == nil {
		err = n.st.View(func(tx *store.Tx) error {
			for _, id := range records {
				var of excludedDoc
				if _, err := getDoc(tx, kindExcluded, excludedKey(id, n.org), &of); err != nil {
					return err
				}
				if len(of.Hashes) >= maxExclusionsOf {
					return protocol.Errorf(protocol.ErrOversize, "organisations were excluded from record %s %d times; exclude several at once, or withdraw it", id.Short(), len(of.Hashes))
				}
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	for topic, places := range byTopic {
		err := n.append(topic, func(a *appender) error {
			for _, pl := range places {
				for part := range slices.Chunk(pl.records, protocol.MaxExcludedRecords) {
					slices.SortFunc(part, func(x, y protocol.RecordID) int { return slices.Compare(x[:], y[:]) })
					x, err := crypto.SignExclusion(&protocol.ExclusionStatement{Version: 1, Network: a.snap.network, Originator: n.org,
						Records: slices.Compact(part), Excluded: orgs, At: a.sealedAt}, n.keys.Signing)
					if err != nil {
						return err
					}
					if err := a.tellExclusion(&x, orgs, pl.reach); err != nil {
						return err
					}
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tellExclusion seals an exclusion for readers, less those that it excludes, and keeps it.
func (a *appender) tellExclusion(x *protocol.Exclusion, excluded []protocol.OrgID, readers []reach) error {
	routes, later, err := a.tellRoutes(readers, excluded)
	if err != nil {
		return err
	}
	if len(later) > 0 { // it is told when the agreement is resumed, or there is another
		h := x.Hash()
		a.onCommit = append(a.onCommit, func(tx *store.Tx) error { return putDoc(tx, kindExcludeDue, h[:], &goneDoc{}) })
	}
	for _, r := range routes {
		if err := r.sealExclusion(x, r.orgs); err != nil {
			return err
		}
	}
	return nil
}

// sealExclusion seals an exclusion in one feed, and keeps it.
func (a *appender) sealExclusion(x *protocol.Exclusion, orgs []protocol.OrgID) error {
	keys, err := a.keysFor(orgs)
	if err != nil {
		return err
	}
	body := &protocol.WithdrawBody{Version: 1, SealedAt: a.sealedAt, Records: []protocol.RecordID{}, Exclusions: []protocol.Exclusion{*x}}
	h := a.header(protocol.EntryWithdraw)
	sealed, err := crypto.SealBody(h.SealContext(a.snap.network), h.Feed, h.Seq, keys, protocol.Encode(body))
	if err != nil {
		return err
	}
	sent := sentTo{Feed: a.feed.ID, Seq: a.nextSeq(), Orgs: orgs}
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error { return a.n.keepExclusion(tx, x, a.n.org, &sent) })
	return a.add(protocol.EntryWithdraw, sealed)
}

// maxToldOf bounds the organisations that an exclusion is acknowledged to.
const maxToldOf = 64

// keepExclusion stores an exclusion that was verified, who told of it, and which records it is about.
func (n *Node) keepExclusion(tx *store.Tx, x *protocol.Exclusion, from protocol.OrgID, sent *sentTo) error {
	n.words.Add(1)
	h := x.Hash()
	doc := exclusionDoc{Raw: protocol.Encode(x), At: uint64(nowMillis())}
	held, err := getDoc(tx, kindExclusion, h[:], &doc)
	if err != nil {
		return err
	}
	if sent != nil {
		doc.Sent = append(doc.Sent, *sent)
	}
	told := from != n.org && !slices.Contains(doc.From, from) && len(doc.From) < maxToldOf
	if told {
		doc.From = append(doc.From, from)
	}
	if held && sent == nil {
		if !told {
			return nil
		}
		counts, err := excludes(tx, x)
		if err == nil && counts { // who told of it now is told all that others acknowledged, too
			err = errors.Join(ackDue(tx, h), acksAgain(tx, h))
		}
		return errors.Join(err, putDoc(tx, kindExclusion, h[:], &doc))
	}
	var st protocol.ExclusionStatement
	if err := protocol.Decode(x.Statement, protocol.MaxPlainSize, &st); err != nil {
		return err
	}
	if !held {
		if err := n.auditExclusion(tx, &st); err != nil {
			return err
		}
	}
	if err := copiesFollow(tx, st.Records); err != nil {
		return err
	}
	due, counts := false, false
	for _, id := range st.Records {
		var of excludedDoc
		key := excludedKey(id, st.Originator)
		if _, err := getDoc(tx, kindExcluded, key, &of); err != nil {
			return err
		}
		if slices.Contains(of.Hashes, h) {
			counts = true
			continue
		}
		if len(of.Hashes) >= maxExclusionsOf {
			continue
		}
		counts = true
		of.Hashes = append(of.Hashes, h)
		if err := putDoc(tx, kindExcluded, key, &of); err != nil {
			return err
		}
		if st.Originator != n.org && !due {
			orgs, err := n.readersOf(tx, id)
			if err != nil {
				return err
			}
			due = len(orgs) > 0
		}
	}
	if counts && (told || sent != nil && len(doc.From) > 0) { // what does not count here is not acknowledged
		if err := ackDue(tx, h); err != nil {
			return err
		}
	}
	if due {
		if err := putDoc(tx, kindExcludeDue, h[:], &goneDoc{}); err != nil {
			return err
		}
	}
	return putDoc(tx, kindExclusion, h[:], &doc)
}

// excludes reports whether an exclusion that is held counts for any of its records: of very many only the
// first do.
func excludes(tx *store.Tx, x *protocol.Exclusion) (counts bool, err error) {
	var st protocol.ExclusionStatement
	if err := protocol.Decode(x.Statement, protocol.MaxPlainSize, &st); err != nil {
		return false, err
	}
	for _, id := range st.Records {
		var of excludedDoc
		if _, err := getDoc(tx, kindExcluded, excludedKey(id, st.Originator), &of); err != nil {
			return false, err
		}
		counts = counts || slices.Contains(of.Hashes, x.Hash())
	}
	return counts, nil
}

// excludedKey names a record and whose word about it is meant: another's fills no place of the
// originator's.
func excludedKey(record protocol.RecordID, originator protocol.OrgID) []byte {
	return append(slices.Clone(record[:]), originator[:]...)
}

// excludedFrom lists who is to get a record of an originator no more, and by which statements: its
// own, those of the principal on whose behalf it was published, if not zero, and, of a record whose
// origin this organisation withheld, those of the origin.
func excludedFrom(tx *store.Tx, record protocol.RecordID, originator, principal protocol.OrgID) (orgs []protocol.OrgID, by []protocol.Hash, err error) {
	orgs, by, err = excludedBy(tx, record, originator)
	if err == nil && principal != (protocol.OrgID{}) {
		var more []protocol.OrgID
		var hashes []protocol.Hash
		more, hashes, err = excludedBy(tx, record, principal)
		orgs, by = append(orgs, more...), append(by, hashes...)
	}
	if err != nil {
		return nil, nil, err
	}
	origin, err := originOf(tx, record)
	if err != nil || origin == nil {
		return orgs, by, err
	}
	// What the origin said is not told to who must not learn whose it is.
	more, _, err := excludedBy(tx, origin.Origin.Record, origin.Originator)
	return append(orgs, more...), by, err
}

func excludedBy(tx *store.Tx, record protocol.RecordID, originator protocol.OrgID) (orgs []protocol.OrgID, by []protocol.Hash, err error) {
	var of excludedDoc
	if ok, err := getDoc(tx, kindExcluded, excludedKey(record, originator), &of); err != nil || !ok {
		return nil, nil, err
	}
	for _, h := range of.Hashes {
		st, _, err := exclusionOf(tx, h)
		if err != nil {
			return nil, nil, err
		}
		if st != nil && st.Originator == originator { // another cannot take it from anybody
			orgs, by = append(orgs, st.Excluded...), append(by, h)
		}
	}
	return orgs, by, nil
}

func exclusionOf(tx *store.Tx, h protocol.Hash) (*protocol.ExclusionStatement, *exclusionDoc, error) {
	var doc exclusionDoc
	if ok, err := getDoc(tx, kindExclusion, h[:], &doc); err != nil || !ok {
		return nil, nil, err
	}
	var x protocol.Exclusion
	st := new(protocol.ExclusionStatement)
	if err := errors.Join(protocol.Decode(doc.Raw, maxDocument, &x), protocol.Decode(x.Statement, maxDocument, st)); err != nil {
		return nil, nil, err
	}
	return st, &doc, nil
}

// forwardExclusion tells those who had records from here what their originator said since. It stands in
// the store as one that waits, and stays there if somebody has to be told later.
func (n *Node) forwardExclusion(ctx context.Context, h protocol.Hash) error {
	var st *protocol.ExclusionStatement
	var x protocol.Exclusion
	byTopic := map[string][]reach{}
	said := map[protocol.OrgID]bool{}
	s, later := n.snap.Load(), false
	partners := s.partners(n.org, uint64(nowMillis()))
	err := n.viewIndex(func(tx *store.Tx) error {
		clear(byTopic)
		clear(said)
		later = false
		var doc *exclusionDoc
		var err error
		if st, doc, err = exclusionOf(tx, h); err != nil || st == nil {
			return err
		}
		if err := protocol.Decode(doc.Raw, maxDocument, &x); err != nil {
			return err
		}
		for _, id := range st.Records {
			e, err := n.index.Get(tx, id)
			if err != nil {
				return err
			}
			if e == nil || e.Originator != st.Originator && e.Form.Principal != st.Originator {
				continue // not held here; others of the statement are
			}
			reached, err := n.reachOf(tx, id)
			if err != nil {
				return err
			}
			if st.Originator == n.org && e.Originator != n.org { // a principal's word goes to its agent, who tells the others
				reached = []reach{{before: n.directOf(s, e.Feed), orgs: []protocol.OrgID{e.Originator}}}
			}
			for _, r := range reached {
				for _, o := range r.orgs {
					told := slices.ContainsFunc(doc.Sent, func(s sentTo) bool { return slices.Contains(s.Orgs, o) })
					switch {
					case told || slices.Contains(st.Excluded, o) || said[o]:
					case partners[o] != nil:
						said[o] = true
						byTopic[e.Topic] = addReach(byTopic[e.Topic], r.before, []protocol.OrgID{o})
					default:
						later = later || s.toldLater(n.org, o)
					}
				}
			}
		}
		return nil
	})
	for topic, readers := range byTopic {
		if err == nil {
			err = n.append(topic, func(a *appender) error { return errors.Join(a.tellExclusion(&x, st.Excluded, readers), ctx.Err()) })
		}
	}
	if err != nil || later {
		return err
	}
	return n.st.Update(func(tx *store.Tx) error { return tx.Delete(append([]byte(kindExcludeWait), h[:]...)) })
}

// ExclusionInfo is an exclusion, with who acknowledged it.
type ExclusionInfo struct {
	Originator OrgRef         `json:"originator"`
	At         time.Time      `json:"at"`
	Records    []string       `json:"records"`
	Excluded   []OrgRef       `json:"excluded"`
	Told       []ExclusionAt  `json:"told"`         // those whom this organisation told
	Further    []ExclusionHop `json:"told_further"` // those whom they told, and so on
}

// ExclusionAt is what an organisation that was told made of it: it signed to have opened it, or it
// did not, and since a day ago that is overdue.
type ExclusionAt struct {
	Org     OrgRef     `json:"organisation"`
	Opened  *time.Time `json:"acknowledged,omitempty"`
	Overdue bool       `json:"overdue,omitempty"`
}

// Exclusions lists what is known here, of this organisation's records and of others'.
func (n *Node) Exclusions() ([]ExclusionInfo, error) {
	s := n.snap.Load()
	list := []ExclusionInfo{}
	now := uint64(nowMillis())
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindExclusion, func(id []byte, d *exclusionDoc) error {
			st, _, err := exclusionOf(tx, protocol.Hash(id))
			if err != nil || st == nil {
				return err
			}
			info := ExclusionInfo{Originator: s.ref(st.Originator), At: millis(st.At), Told: []ExclusionAt{}}
			for _, r := range st.Records {
				info.Records = append(info.Records, r.String())
			}
			for _, o := range st.Excluded {
				info.Excluded = append(info.Excluded, s.ref(o))
			}
			for _, sent := range d.Sent {
				got, err := n.deliveries(tx, sent.Feed, sent.Seq)
				if err != nil {
					return err
				}
				for _, o := range sent.Orgs {
					at := ExclusionAt{Org: s.ref(o)}
					for i := range got {
						if got[i].Org.ID == o && got[i].Opened {
							at.Opened = &got[i].At
						}
					}
					at.Overdue = at.Opened == nil && now > d.At+dayMillis
					info.Told = append(info.Told, at)
				}
			}
			if info.Further, err = n.hopsOf(tx, s, protocol.Hash(id), info.Told, now); err != nil {
				return err
			}
			list = append(list, info)
			return nil
		})
	})
	slices.SortFunc(list, func(a, b ExclusionInfo) int { return a.At.Compare(b.At) })
	return list, err
}

// tellAgain makes exclusions due again that stood in an entry that does not count any more.
func (n *Node) tellAgain(tx *store.Tx, list []protocol.Exclusion) error {
	for i := range list {
		h := list[i].Hash()
		var doc exclusionDoc
		ok, err := getDoc(tx, kindExclusion, h[:], &doc)
		if err != nil {
			return err
		}
		if !ok {
			if err := n.keepExclusion(tx, &list[i], n.org, nil); err != nil {
				return err
			}
			if _, err := getDoc(tx, kindExclusion, h[:], &doc); err != nil {
				return err
			}
		}
		doc.Sent = nil
		if err := errors.Join(putDoc(tx, kindExclusion, h[:], &doc), putDoc(tx, kindExcludeDue, h[:], &goneDoc{})); err != nil {
			return err
		}
	}
	return nil
}
