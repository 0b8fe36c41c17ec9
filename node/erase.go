package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// EraseRequest asks to erase records.
type EraseRequest struct {
	Records []protocol.RecordID
	Reason  protocol.EraseReason
}

// EraseReport says what an erasure reached, and what it cannot reach.
type EraseReport struct {
	Erased   int         `json:"erased"`   // records of which nothing is left here
	Resealed int         `json:"resealed"` // records that shared their envelopes, and stand in new ones now
	Entries  int         `json:"entries"`  // envelopes whose bodies were destroyed
	Signed   int         `json:"signed"`   // statements that tell every other node to do the same
	Local    int         `json:"local"`    // records of others, erased for this organisation only
	Siblings int         `json:"siblings"` // records that another node of this organisation published, and erases for everybody
	Told     []OrgRef    `json:"told"`     // organisations for which the records were sealed
	Beyond   []BeyondRow `json:"beyond"`   // copies that this could not reach
	Held     int         `json:"held"`     // records of which a copy is kept under a legal hold
	unknown  int         // of Resealed those of which nobody here knows for whom they were
	caller   Caller      // on whose behalf
}

// BeyondRow is a copy that an erasure did not reach.
type BeyondRow struct {
	What string `json:"what"`
	Do   string `json:"do"`
}

// Erase destroys records. Of those that this node published every copy in the mesh is to be
// destroyed, on its signed word; those of others are destroyed here only. Records that share
// an envelope with them are first sealed anew, durably, so that nobody loses them.
func (n *Node) Erase(ctx context.Context, r EraseRequest) (*EraseReport, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	if r.Reason <= protocol.EraseExpired || r.Reason > protocol.EraseError { // what expires says so itself
		return nil, protocol.Errorf(protocol.ErrMalformed, "an erasure needs a reason: request, legal or error")
	}
	rep := &EraseReport{Told: []OrgRef{}, Beyond: []BeyondRow{}, caller: CallerOf(ctx)}
	own, local, err := n.erasePlaces(r.Records)
	if err != nil {
		return nil, err
	}
	var taken copies
	if err := n.viewIndex(func(tx *store.Tx) error {
		taken = copies{}
		for _, id := range r.Records {
			e, err := n.getEntry(tx, id)
			if err != nil {
				return err
			}
			taken.add(e)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	told := map[protocol.OrgID]bool{}
	if err := n.eraseAllOwn(ctx, own, r.Reason, rep, told); err != nil {
		return rep, err
	}
	if len(local) > 0 {
		siblings, err := n.publishedBySiblings(local)
		if err != nil {
			return rep, err
		}
		count, err := n.eraseLocally(local, r.Reason, rep.caller)
		if err != nil {
			return rep, err
		}
		rep.Siblings, rep.Local, rep.Erased = siblings, count-siblings, rep.Erased+count
	}
	held, err := n.keptUnderHold(r.Records)
	if err != nil {
		return rep, err
	}
	rep.Held = len(held)
	s := n.snap.Load()
	for org := range told {
		rep.Told = append(rep.Told, s.ref(org))
	}
	slices.SortFunc(rep.Told, func(a, b OrgRef) int { return a.ID.Compare(b.ID) })
	if rep.Beyond, err = taken.find(n, rep.Local > 0); err != nil {
		return rep, err
	}
	row, err := n.mirrorBeyond()
	if err != nil {
		return rep, err
	}
	if row != nil {
		rep.Beyond = append(rep.Beyond, *row)
	}
	n.beyond(rep)
	return rep, nil
}

// eraseAllOwn erases records of own entries for everybody.
func (n *Node) eraseAllOwn(ctx context.Context, own []*erasePlace, reason protocol.EraseReason, rep *EraseReport, told map[protocol.OrgID]bool) error {
	if len(own) == 0 {
		return nil
	}
	n.erasing.Lock()
	defer n.erasing.Unlock()
	erased := map[protocol.RecordID]bool{}
	for _, p := range own {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := n.eraseOwn(p, reason, rep, told); err != nil {
			return err
		}
		for _, id := range p.records {
			erased[id] = true
		}
		rep.Erased = len(erased)
	}
	// What was sealed anew meanwhile, and what counts nowhere.
	return n.settleDue(rep, told)
}

// beyond lists what no statement reaches.
func (n *Node) beyond(rep *EraseReport) {
	add := func(what, do string) { rep.Beyond = append(rep.Beyond, BeyondRow{what, do}) }
	add("copies of this node's disk or data directory that other tools made before now", "a node that is started on them applies this erasure before it shows anything"+whereKnown(rep.Local > 0)+"; destroy them where the law asks for it")
	add("what people copied by hand from 'entente search' and 'entente show'", "ask those who work with it")
	if len(n.snap.Load().siblings(n.org, n.ID())) > 0 {
		add("exports, streams and files that other nodes of this organisation handed out", "'entente handouts' lists them there")
	}
	if rep.Siblings > 0 {
		add("copies of records that another node of this organisation published", "that node destroys them everywhere as soon as it has compared with this one; if it never comes back, 'entente node revoke' it where the operational key is: that node does it then")
	}
	if rep.Local > 0 {
		add("copies of records of others, at their publishers and at every other reader", "ask the publisher to erase them: only it can for everybody")
	}
	for _, o := range rep.Told {
		add(fmt.Sprintf("what people of %s took from their node: exports, reports, backups", o.Name), "ask for a confirmation under the agreement with them")
	}
	if rep.unknown > 0 {
		add(fmt.Sprintf("%d records that shared envelopes with them, of a node that was removed before it told for whom it published them", rep.unknown), "they are sealed anew for this organisation only; who has read them keeps them, and for others publish them again")
	}
	if rep.Held > 0 {
		add(fmt.Sprintf("%d records of which a copy is kept aside under a legal hold", rep.Held), "'entente hold show' shows them to those who may; they are destroyed when no hold keeps them any more")
	}
	if rep.Signed > 0 {
		add("nodes that are off line now", "they apply it when they come back, before they serve anything of it")
	}
}

// erasePlace is the records of one own entry that are to be erased.
type erasePlace struct {
	origin  protocol.Origin
	feed    protocol.FeedID
	seq     uint64
	topic   string
	records []protocol.RecordID
	reason  protocol.EraseReason
	void    bool // the entry counts nowhere: nothing of it is sealed anew
}

// erasePlaces finds the entries that hold records and that this node answers for. Records that
// none of these holds are local.
func (n *Node) erasePlaces(records []protocol.RecordID) (own []*erasePlace, local []protocol.RecordID, err error) {
	s := n.snap.Load()
	err = n.viewIndex(func(tx *store.Tx) error {
		at := map[string]*erasePlace{}
		own, local = nil, nil
		for _, id := range records {
			e, err := n.getEntry(tx, id)
			if err != nil {
				return err
			}
			copies, err := n.index.Copies(tx, id)
			if err != nil {
				return err
			}
			found := false
			for _, c := range copies {
				f, err := tx.Feed(c.Feed)
				if err != nil {
					return err
				}
				if e.Publisher != n.org || f == nil || c.Seq > f.Good() || !n.answersFor(s, &f.Origin) {
					continue
				}
				has, err := tx.Has(c.Feed, c.Seq)
				if err != nil {
					return err
				}
				if !has {
					continue
				}
				found = true
				key := string(entryKey(c.Feed, c.Seq))
				if at[key] == nil {
					at[key] = &erasePlace{origin: f.Origin, feed: c.Feed, seq: c.Seq, topic: e.Topic}
					own = append(own, at[key])
				}
				at[key].records = append(at[key].records, id)
			}
			if !found {
				local = append(local, id)
			}
		}
		return nil
	})
	return own, local, err
}

// eraseOwn seals the survivors of one entry anew and signs the erase. Both are written in one
// transaction: from then on the erase will be applied, at the next start if not now, so that
// no record is ever left out of the survivors and not erased.
func (n *Node) eraseOwn(p *erasePlace, reason protocol.EraseReason, rep *EraseReport, told map[protocol.OrgID]bool) error {
	if err := n.roomForErases(p.feed, len(p.records)); err != nil {
		return err
	}
	doc, survivors, statements, err := n.reseal(p, reason, rep.caller)
	if err != nil {
		return fmt.Errorf("sealing anew what shares an envelope with erased records: %w", err)
	}
	for i := range statements {
		if err := n.applyBy(&statements[i], false, rep.caller); err != nil {
			return err
		}
		n.notice(&protocol.Notice{Version: 1, Erases: statements[i : i+1]})
		rep.Signed++
	}
	rep.Resealed += survivors
	rep.Entries++
	if survivors > 0 && doc.At == 0 { // no account of it is held: a removed node never told
		rep.unknown += survivors
	}
	for _, org := range doc.Orgs {
		told[org] = true
	}
	return nil
}

// roomForErases refuses to sign erases that nobody would keep: of a feed there are so many already.
func (n *Node) roomForErases(feed protocol.FeedID, records int) error {
	n.evidence.mu.Lock()
	defer n.evidence.mu.Unlock()
	if have := n.evidence.count[feed]; have+1+records/protocol.MaxErasedRecords > protocol.MaxErasesPerFeed {
		return protocol.Errorf(protocol.ErrOversize, "feed %s was erased from by %d statements, as many as every node keeps of one feed; nothing was erased: more records fit in one statement when they are erased at once", feed.Short(), have)
	}
	return nil
}

func (n *Node) signErase(e *protocol.Erase) error {
	if err := n.roomForErases(e.Origin.FeedID(e.Network), 0); err != nil {
		return err
	}
	signed, err := n.signEraseFor(e)
	if err != nil {
		return err
	}
	if err := n.applyErase(&signed); err != nil {
		return err
	}
	n.notice(&protocol.Notice{Version: 1, Erases: []protocol.SignedErase{signed}})
	return nil
}
