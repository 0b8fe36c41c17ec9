package node

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// noteComplete notes when an agreement was first seen signed by all: what it amends ends then at
// the earliest, for nobody is bound before.
func (d *agreementDoc) noteComplete() error {
	if d.Complete != 0 {
		return nil
	}
	var signed protocol.SignedAgreement
	if err := protocol.Decode(d.Signed, maxDocument, &signed); err != nil {
		return err
	}
	var a protocol.Agreement
	if err := protocol.Decode(signed.Statement, maxDocument, &a); err != nil {
		return err
	}
	if len(signed.Sigs) == len(a.Parties) {
		d.Complete = uint64(nowMillis())
	}
	return nil
}

// readLives says of every agreement what became of it, as of now, Unix milliseconds.
func (s *snapshot) readLives(now uint64) map[protocol.AgreementID]*policy.Life {
	s.heirs = map[protocol.AgreementID][]*agreement{}
	for _, a := range s.agreements {
		if !a.Previous.IsZero() {
			s.heirs[a.Previous] = append(s.heirs[a.Previous], a)
		}
	}
	lives := make(map[protocol.AgreementID]*policy.Life, len(s.agreements))
	for id, a := range s.agreements {
		l := &policy.Life{Agreement: policy.Agreement{ID: id, Doc: &a.Agreement.Agreement}, Rejected: len(a.rejections) > 0}
		for _, sig := range a.Signed.Sigs {
			l.Signed = append(l.Signed, sig.Org)
		}
		l.Ends, l.Pauses = a.ends(now), a.pauses()
		lives[id] = l
	}
	for id, a := range s.agreements {
		before := s.agreements[a.Previous]
		if before == nil || len(a.Missing) > 0 {
			continue
		}
		// What a party said of an agreement goes for what amends it: it may have said so before it
		// knew that the amendment is signed by all.
		l := lives[id]
		for depth := 0; before != nil && depth < len(s.agreements); depth++ {
			l.Ends = append(l.Ends, before.ends(now)...)
			l.Pauses = append(l.Pauses, before.pauses()...)
			before = s.agreements[before.Previous]
		}
	}
	for id, a := range s.agreements {
		next := s.successor(a)
		if next == nil {
			continue
		}
		l := lives[id]
		l.Superseded = max(next.NotBefore, next.doc.Complete)
		l.Renewal = renews(&a.Agreement.Agreement, &next.Agreement.Agreement)
	}
	for _, a := range s.agreements {
		if next := s.successor(a); next != nil {
			for _, other := range s.amendments(a) {
				if other != next {
					s.lose(lives, other, 0)
				}
			}
		}
	}
	return lives
}

// lose takes an amendment out of force that is not the one that counts, and what amends it.
func (s *snapshot) lose(lives map[protocol.AgreementID]*policy.Life, a *agreement, depth int) {
	lives[a.ID].Superseded = 1
	if depth < len(s.agreements) {
		for _, heir := range s.heirs[a.ID] {
			s.lose(lives, heir, depth+1)
		}
	}
}

// amendments are the agreements that all signed and that amend one: none, if not all signed it.
// Whoever is still a party of it must be one of theirs: nobody's rights end without its word.
func (s *snapshot) amendments(a *agreement) (out []*agreement) {
	if len(a.Missing) > 0 {
		return nil
	}
	for _, next := range s.heirs[a.ID] {
		if len(next.Missing) == 0 && a.stays(next.Parties, max(next.NotBefore, next.doc.Complete)) {
			out = append(out, next)
		}
	}
	return out
}

// stays reports whether all who have not left the agreement at a time are among orgs: one that gave
// notice is a party until then.
func (a *agreement) stays(orgs []protocol.OrgID, at uint64) bool {
	for _, p := range a.Parties {
		if !slices.Contains(orgs, p) && !slices.ContainsFunc(a.terminations, func(t protocol.Termination) bool { return t.Org == p && t.Effective <= at }) {
			return false
		}
	}
	return true
}

// successor is the agreement that took the place of one: of several the one with the lowest id,
// so that all nodes that know the same agree.
func (s *snapshot) successor(a *agreement) (next *agreement) {
	for _, c := range s.amendments(a) {
		if next == nil || slices.Compare(c.ID[:], next.ID[:]) < 0 {
			next = c
		}
	}
	return next
}

// renews reports whether an agreement differs from the one that it amends in its dates only.
func renews(a, next *protocol.Agreement) bool {
	was := *a
	was.Secret, was.Previous, was.NotBefore, was.NotAfter = next.Secret, next.Previous, next.NotBefore, next.NotAfter
	return bytes.Equal(protocol.Encode(&was), protocol.Encode(next))
}

// ends are the words of parties that they leave. One that counts at once counts from now at the
// latest: the clock of its signer may be ahead.
func (a *agreement) ends(now uint64) []policy.End {
	var out []policy.End
	for _, t := range a.terminations {
		e := policy.End{Org: t.Org, Made: t.At, At: t.Effective}
		if t.Effective == t.At {
			e.At = min(t.At, now)
		}
		out = append(out, e)
	}
	return out
}

func (a *agreement) pauses() []policy.Pause {
	var out []policy.Pause
	for _, s := range a.suspensions {
		for i, p := range s.Pauses {
			from := p.From
			if i == len(s.Pauses)-1 && p.Until == 0 {
				from = min(from, uint64(nowMillis())) // as for ends
			}
			out = append(out, policy.Pause{Org: s.Org, From: from, Until: p.Until})
		}
	}
	return out
}

// endedBy lists the agreements that org ended or suspended before an entry, those that amend them,
// and those that they amend: by what it held of the feed when it did, since the entry's author could
// have dated it back, also to before an amendment.
func (s *snapshot) endedBy(org protocol.OrgID, feed protocol.FeedID, seq, sealedAt uint64) (ended []protocol.AgreementID) {
	after := func(heads []protocol.FeedHead) bool {
		i := slices.IndexFunc(heads, func(h protocol.FeedHead) bool { return h.Feed == feed })
		return i < 0 || seq > heads[i].Seq
	}
	for _, a := range s.halted {
		over := slices.ContainsFunc(a.terminations, func(t protocol.Termination) bool {
			return t.Org == org && t.Effective == t.At && after(t.Heads)
		})
		for _, p := range a.suspensions {
			if p.Org == org && !over {
				over = slices.ContainsFunc(p.Pauses, func(p protocol.Pause) bool {
					return (p.Until == 0 || sealedAt < p.Until) && after(p.Heads)
				})
			}
		}
		if over {
			ended = append(ended, a.ID)
		}
	}
	add := func(a *agreement) {
		if a != nil && !slices.Contains(ended, a.ID) {
			ended = append(ended, a.ID)
		}
	}
	for i := 0; i < len(ended); i++ {
		for _, next := range s.heirs[ended[i]] {
			add(next)
		}
		if a := s.agreements[ended[i]]; a != nil {
			add(s.agreements[a.Previous])
		}
	}
	return ended
}

// haltedWith reports whether an agreement with a partner is only suspended: it is told what there is
// to be told when it is resumed.
func (s *snapshot) haltedWith(self, org protocol.OrgID) bool {
	now := uint64(nowMillis())
	for _, l := range s.lives {
		if l.Complete() && slices.Contains(l.Doc.Parties, self) && slices.Contains(l.Doc.Parties, org) && l.Halted(self, org, now) {
			return true
		}
	}
	return false
}

// toldLater reports whether an organisation that has records from here, and with which no agreement is in
// force, may still be told what was said of them: when one is resumed, or if there is another one.
func (s *snapshot) toldLater(self, org protocol.OrgID) bool {
	return s.members[org] || s.haltedWith(self, org)
}

// mayAmend returns nil if this organisation may sign an agreement that amends another, or if it
// amends none.
func (n *Node) mayAmend(s *snapshot, draft *protocol.Agreement, proposes bool) error {
	if draft.Previous.IsZero() {
		return nil
	}
	a := s.agreements[draft.Previous]
	if !proposes && (a == nil || !slices.Contains(a.Parties, n.org)) {
		return nil // a new party: what is amended is not its own
	}
	if a == nil {
		return fmt.Errorf("the agreement %s, which this one amends, is not known here; 'entente agreement import' takes it from a file", draft.Previous.Short())
	}
	if err := s.lives[a.ID].May(policy.ActAmend, n.org, uint64(nowMillis())); err != nil {
		return err
	}
	if !a.stays(draft.Parties, max(draft.NotBefore, uint64(nowMillis()))) {
		return fmt.Errorf("an amendment of %s must name all who are still parties of it; to leave one out, it has to leave first", a.ID.Short())
	}
	for _, other := range s.heirs[a.ID] {
		if bytes.Equal(protocol.Encode(&other.Agreement.Agreement), protocol.Encode(draft)) || len(other.rejections) > 0 {
			continue
		}
		if !slices.Contains(other.Missing, n.org) && uint64(nowMillis()) < other.NotAfter {
			return fmt.Errorf("this organisation signed another amendment of it, %s; reject that first, for only one can count", other.ID.Short())
		}
	}
	return nil
}

// AgreementEvent is one step of an agreement's life.
type AgreementEvent struct {
	At   uint64 // Unix milliseconds: when it counts, or was first seen here
	Org  protocol.OrgID
	What string // a verb: proposed, signed by all, suspended, …
	Text string // what the party said, or what follows
}

// events tells the life of an agreement, in the order of time.
func (s *snapshot) events(a *agreement) []AgreementEvent {
	l := s.lives[a.ID]
	out := []AgreementEvent{{At: a.doc.FirstSeen, Org: a.doc.Proposer, What: "proposed"}}
	if a.doc.Complete != 0 {
		out = append(out, AgreementEvent{At: a.doc.Complete, What: "signed by all"})
	}
	for _, r := range a.rejections {
		out = append(out, AgreementEvent{At: r.At, Org: r.Org, What: "rejected", Text: r.Reason})
	}
	for _, p := range a.suspensions {
		for i, pause := range p.Pauses {
			text := ""
			if i == len(p.Pauses)-1 {
				text = p.Reason
			}
			out = append(out, AgreementEvent{At: pause.From, Org: p.Org, What: "suspended", Text: text})
			if pause.Until != 0 {
				out = append(out, AgreementEvent{At: pause.Until, Org: p.Org, What: "resumed", Text: text})
				out[len(out)-2].Text = ""
			}
		}
	}
	for _, t := range a.terminations {
		e := AgreementEvent{At: t.Effective, Org: t.Org, What: "terminated", Text: t.Reason}
		if len(a.Parties) > 2 {
			e.What = "left"
		}
		if l.Breach(policy.End{Org: t.Org, Made: t.At, At: t.Effective}) {
			e.What += fmt.Sprintf(" in breach of the notice of %d days", a.NoticeDays)
		}
		if t.Effective > t.At {
			out = append(out, AgreementEvent{At: t.At, Org: t.Org, What: "gave notice", Text: t.Reason})
			e.Text = ""
		}
		out = append(out, e)
	}
	if next := s.successor(a); next != nil {
		what := "amended by " + next.ID.Short()
		if l.Renewal {
			what = "renewed by " + next.ID.Short()
		}
		out = append(out, AgreementEvent{At: l.Superseded, What: what})
	}
	slices.SortStableFunc(out, func(x, y AgreementEvent) int { return cmp.Compare(x.At, y.At) })
	return out
}

// mayAct finds an agreement that this node may do something with.
func (n *Node) mayAct(id protocol.AgreementID, act policy.Act) (*snapshot, *agreement, error) {
	s := n.snap.Load()
	a := s.agreements[id]
	switch {
	case a == nil:
		return nil, nil, fmt.Errorf("no agreement %s is known here", id.Short())
	case n.op() == nil:
		return nil, nil, ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return nil, nil, err
	}
	return s, a, s.lives[id].May(act, n.org, uint64(nowMillis()))
}

// headsOf are the last entries that are held of the other parties' feeds.
func (n *Node) headsOf(s *snapshot, parties []protocol.OrgID) (heads []protocol.FeedHead, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			sg, ok := s.signers[f.Origin.Signing]
			if ok && sg.org != n.org && slices.Contains(parties, sg.org) && len(heads) < protocol.MaxTerminationHeads {
				heads = append(heads, protocol.FeedHead{Feed: f.ID, Seq: f.Seq, Hash: f.Hash})
			}
			return nil
		})
	})
	return heads, err
}

// Terminate ends an agreement for this party, by its word alone: at once if on is zero, and else
// with notice, at that time, Unix milliseconds. At once means that from the commit on nothing is
// sealed under the agreement; the other parties' entries after the heads held now are not read
// under it. Of more than two parties the others stay with each other.
func (n *Node) Terminate(id protocol.AgreementID, reason string, on uint64) error {
	act := policy.ActTerminate
	if on != 0 {
		act = policy.ActNotice
	}
	s, a, err := n.mayAct(id, act)
	if err != nil {
		return err
	}
	now := uint64(nowMillis())
	t := &protocol.Termination{Version: 1, Network: s.network, Agreement: id, Org: n.org, At: now, Effective: now, Reason: reason}
	switch {
	case on == 0:
		if t.Heads, err = n.headsOf(s, a.Parties); err != nil {
			return err
		}
	case on <= now:
		return fmt.Errorf("notice is for a time to come; terminate without a date to end the agreement at once")
	case on >= a.NotAfter:
		return fmt.Errorf("the agreement ends before, on %s", millis(a.NotAfter).Format("2006-01-02"))
	default:
		t.Effective = on
	}
	if err := t.Validate(); err != nil {
		return err
	}
	signed, err := crypto.SignTermination(t, n.op())
	if err != nil {
		return err
	}
	if err := n.keepEnd(id, &signed, protocol.LetterTermination, a.Parties); err != nil {
		return err
	}
	n.sendDecided()
	return nil
}

// Suspend stops an agreement for this party, by its word alone and at once, until it resumes it.
func (n *Node) Suspend(id protocol.AgreementID, reason string) error {
	s, a, err := n.mayAct(id, policy.ActSuspend)
	if err != nil {
		return err
	}
	heads, err := n.headsOf(s, a.Parties)
	if err != nil {
		return err
	}
	return n.suspend(s, a, reason, func(list []protocol.Pause, now uint64) []protocol.Pause {
		return append(list, protocol.Pause{From: now, Heads: heads})
	})
}

// Resume takes this party's suspension of an agreement back, and of those that it amends.
func (n *Node) Resume(id protocol.AgreementID, reason string) error {
	s, a, err := n.mayAct(id, policy.ActResume)
	if err != nil {
		return err
	}
	for depth := 0; a != nil && depth <= len(s.agreements); depth++ {
		if own := a.suspensionOf(n.org); own != nil && own.Suspended() {
			if err := n.suspend(s, a, reason, func(list []protocol.Pause, now uint64) []protocol.Pause {
				last := &list[len(list)-1]
				last.Until = max(now, last.From)
				return list
			}); err != nil {
				return err
			}
		}
		a = s.agreements[a.Previous]
	}
	return nil
}

func (a *agreement) suspensionOf(org protocol.OrgID) *protocol.Suspension {
	i := slices.IndexFunc(a.suspensions, func(s protocol.Suspension) bool { return s.Org == org })
	if i < 0 {
		return nil
	}
	return &a.suspensions[i]
}

// suspend signs the next statement of this party about when the agreement was suspended.
func (n *Node) suspend(s *snapshot, a *agreement, reason string, change func([]protocol.Pause, uint64) []protocol.Pause) error {
	now := uint64(nowMillis())
	next := &protocol.Suspension{Version: 1, Network: s.network, Agreement: a.ID, Org: n.org, Number: now, At: now, Reason: reason}
	if own := a.suspensionOf(n.org); own != nil {
		next.Pauses = slices.Clone(own.Pauses)
		next.At = max(now, own.At)
		next.Number = max(own.Number+1, now) // partners may hold more than a node that was restored
	}
	next.Pauses = boundPauses(change(next.Pauses, next.At))
	if err := next.Validate(); err != nil {
		return err
	}
	signed, err := crypto.SignSuspension(next, n.op())
	if err != nil {
		return err
	}
	if err := n.keepEnd(a.ID, &signed, protocol.LetterSuspension, a.Parties); err != nil {
		return err
	}
	n.sendDecided()
	return n.gate.drain()
}

// boundPauses keeps a list within its limits: the oldest two become one, which is longer and begins
// with fewer heads, and so lets less through.
func boundPauses(list []protocol.Pause) []protocol.Pause {
	heads := 0
	for i := range list {
		heads += len(list[i].Heads)
	}
	for len(list) > 1 && (len(list) > protocol.MaxPauses || heads > protocol.MaxTerminationHeads) {
		heads -= len(list[1].Heads)
		list[1].From, list[1].Heads = list[0].From, list[0].Heads
		list = list[1:]
	}
	return list
}

// joinSuspensions joins suspensions of one agreement: of each party the one with the highest
// number counts, of two of one number the one that suspends, then the one with the lower encoding.
// What is no suspension is left out.
func joinSuspensions(lists ...[][]byte) (out [][]byte) {
	type held struct {
		protocol.Suspension
		raw []byte
	}
	best := map[protocol.OrgID]held{}
	for _, raw := range slices.Concat(lists...) {
		var o protocol.OrgSigned
		h := held{raw: raw}
		if protocol.Decode(raw, maxDocument, &o) != nil || protocol.Decode(o.Statement, maxDocument, &h.Suspension) != nil {
			continue
		}
		b, ok := best[o.Org]
		switch {
		case !ok, h.Number > b.Number:
		case h.Number < b.Number:
			continue
		case h.Suspended() != b.Suspended():
			if b.Suspended() {
				continue
			}
		case bytes.Compare(raw, b.raw) >= 0:
			continue
		}
		best[o.Org] = h
	}
	for _, b := range best {
		out = append(out, b.raw)
	}
	return sortedSet(out)
}
