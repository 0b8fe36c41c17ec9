package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// A new partner reads what was published before, as far back as a term lets it: the records are
// sealed anew for it, with the same ids; an old key is never given. It is done once for each
// agreement, by the node that published them, or answers for who did.

// historyDoc says how far the history of an agreement was gone through.
type historyDoc struct {
	_      struct{} `cbor:",toarray"`
	Cursor uint64   // the last record looked at
	Done   bool
}

// sendHistory seals for new partners what they may read of before.
func (n *Node) sendHistory(ctx context.Context) error {
	s := n.snap.Load()
	now := uint64(nowMillis())
	for id, a := range s.agreements {
		to := policy.HistoryTo(&a.Agreement.Agreement, n.org)
		if len(to) == 0 || len(a.Missing) > 0 || !s.lives[id].InForce(now) {
			continue
		}
		for _, org := range sortedOrgs(to) { // nobody waits for another, who may have left, or be away
			if err := n.sendHistoryOf(ctx, id, org, to[org]); err != nil {
				return fmt.Errorf("sealing history for agreement %s: %w", id.Short(), err)
			}
		}
	}
	return nil
}

func (n *Node) sendHistoryOf(ctx context.Context, id protocol.AgreementID, org protocol.OrgID, days uint32) error {
	to := map[protocol.OrgID]uint32{org: days}
	key := slices.Concat(id[:], org[:])
again:
	for {
		s, at := n.snap.Load(), uint64(nowMillis())
		if o := s.policy.Orgs[org]; !o.CardFresh || !o.Rostered || !s.lives[id].Between(n.org, org, at) {
			return nil // who is not to be given anything now gets it when it is
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var doc historyDoc
		var list []corpus.Entry
		words := n.words.Load() // before anything is read
		now := uint64(nowMillis())
		if err := n.viewIndex(func(tx *store.Tx) (err error) {
			held, err := getDoc(tx, kindHistory, key, &doc)
			if err != nil || doc.Done {
				return err
			}
			if !held {
				first, err := corpus.FirstSince(tx, now-min(now, uint64(days)*dayMillis))
				if err != nil || first == 0 {
					return err
				}
				doc.Cursor = first - 1
			}
			list, _, err = corpus.Since(tx, doc.Cursor, passWindow)
			return err
		}); err != nil || doc.Done {
			return err
		}
		groups, counted, last, err := n.groupHistory(list, to, now, words)
		if err != nil {
			return err
		}
		for _, topic := range topicsOf(groups) {
			if err := n.passGroups(topic, groups); errors.Is(err, errRegroup) {
				continue again
			} else if err != nil {
				return err
			}
		}
		doc.Done = len(list) < passWindow && counted
		if last != 0 {
			doc.Cursor = last
		}
		if err := n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindHistory, key, &doc) }); err != nil || doc.Done || !counted {
			return err // what is more than a term lets through today goes on tomorrow
		}
	}
}

// groupHistory decides who of new partners may read own records that were published before, and
// groups them. whole is false if a term lets no more through today; last is the last record that
// was decided about.
func (n *Node) groupHistory(list []corpus.Entry, to map[protocol.OrgID]uint32, now, words uint64) (out []*onwardGroup, whole bool, last uint64, err error) {
	s := n.snap.Load()
	counted := n.newVolume(now)
	byKey := map[string]*onwardGroup{}
	answers := map[protocol.FeedID]bool{}
	for i := range list {
		e := &list[i]
		mine, known := answers[e.Feed]
		if !known {
			if err := n.st.View(func(tx *store.Tx) error {
				f, err := tx.Feed(e.Feed)
				mine = f != nil && n.answersFor(s, &f.Origin)
				return err
			}); err != nil {
				return nil, false, 0, err
			}
			answers[e.Feed] = mine
		}
		if !mine || e.Originator != n.org || e.Publisher != n.org || e.Withdrawn || e.Form.Withheld || s.topics[protocol.NewTopicID(s.network, e.Topic)] != e.Topic {
			last = e.Cursor
			continue
		}
		var not []protocol.OrgID
		published := publishedDoc{At: e.Received}
		if err := n.viewIndex(func(tx *store.Tx) (err error) {
			if _, err = getDoc(tx, kindPublished, entryKey(e.Feed, e.Seq), &published); err == nil {
				not, err = n.notFor(tx, e)
			}
			return err
		}); err != nil {
			return nil, false, 0, err
		}
		subject := n.subjectOf(s, e)
		var orgs []protocol.OrgID
		for org := range to {
			days := policy.History(s.policy, org, subject, now)
			if days == 0 || published.At+uint64(days)*dayMillis < now || slices.Contains(not, org) {
				continue
			}
			d := policy.Decide(s.policy, n.org, org, subject, now)
			ok, err := counted.take(&d)
			if err != nil {
				return nil, false, 0, err
			}
			if !ok {
				return out, false, last, nil
			}
			orgs = append(orgs, org)
		}
		last = e.Cursor
		left, over := uint32(0), false
		if days := e.Handling.RetentionDays; days > 0 {
			end := published.At + uint64(days)*dayMillis
			if over = end <= now; !over {
				left = uint32((end - now + dayMillis - 1) / dayMillis)
			}
		}
		if len(orgs) == 0 || over {
			continue
		}
		slices.SortFunc(orgs, protocol.OrgID.Compare)
		key := string(entryKey(e.Feed, e.Seq)) + string(protocol.Encode(orgs)) + fmt.Sprint(left)
		g := byKey[key]
		if g == nil {
			g = &onwardGroup{place: protocol.EntryRef{Feed: e.Feed, Seq: e.Seq}, topic: e.Topic, originator: e.Originator, publisher: e.Publisher,
				kinds: map[string]int{}, orgs: orgs, days: left, volume: counted,
				generation: s.generation, words: words}
			byKey[key] = g
			out = append(out, g)
		}
		g.records = append(g.records, e.Record)
	}
	return out, true, last, nil
}
