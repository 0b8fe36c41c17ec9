package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

// Organisations of several nodes in schedules: nodes are asked for, put on the card, enrolled,
// and removed; siblings compare, and carry files to each other.

// place is where a node stands on its organisation's card.
type place int

const (
	requested   place = iota // its keys are made
	approved                 // its organisation's card lists it, and it does not know yet
	onCard                   // it was enrolled
	removedNode              // its organisation's newest card says where its feeds end
)

// carried is a file that one node packed for the others of its organisation.
type carried struct {
	org   int
	bytes []byte
}

// lateItems is an answer of a sibling that comes once more, much later.
type lateItems struct {
	to    *member
	items [][]byte
}

// saying is what people of one organisation say of a topic, or of another organisation.
type saying struct {
	org, of int // of: -1 is the topic
}

type said struct {
	yes  bool
	by   *member
	sure bool // it was acknowledged, and not lost since
}

var errCutOff = errors.New("cut off")

// know reports whether two nodes answer each other: the cards that each holds list the other.
func know(a, b *member) bool {
	_, x := a.n.snap.Load().nodes[b.n.ID()]
	_, y := b.n.snap.Load().nodes[a.n.ID()]
	return x && y
}

// knowsRemoved reports whether a node holds the card that removes another.
func (m *member) knowsRemoved(of *member) bool {
	c := m.n.Card(of.keys.Org)
	return c != nil && slices.ContainsFunc(c.Removed, func(r protocol.RemovedNode) bool { return r.Node == of.keys.Host.Public() })
}

// removedFor lists the nodes that must not open what m publishes now.
func (w *scheduled) removedFor(m *member) map[*member]bool {
	var out map[*member]bool
	for _, r := range w.members {
		if r != m && r.place == removedNode && m.knowsRemoved(r) {
			if out == nil {
				out = map[*member]bool{}
			}
			out[r] = true
		}
	}
	return out
}

func (m *member) inTopic(name string) bool {
	s := m.n.snap.Load()
	_, ok := s.topics[protocol.NewTopicID(s.network, name)]
	return ok
}

// sibling draws another node of an organisation.
func (w *scheduled) sibling(m *member, pick func(*member) bool) *member {
	return w.any(func(o *member) bool { return o != m && o.org == m.org && pick(o) })
}

// requestNode makes the keys of a new node: mostly of the second, at times of a third.
func (w *scheduled) requestNode(m *member) {
	o := w.members[m.org]
	if w.rng.IntN(4) > 0 {
		o = w.members[0] // what happens needs several nodes of one organisation rather than of several
	}
	count, all := 0, 0
	for _, x := range w.members {
		if x.org == o.org {
			all++
			if x.place != removedNode {
				count++
			}
		}
	}
	if o.n == nil || o.hostile || all >= 4 || count >= 3 || count == 2 && w.rng.IntN(8) > 0 {
		return
	}
	keys, req, err := NewNode(o.keys.Org, nil)
	if err != nil {
		w.fail("%v", err)
	}
	d := &disk.Disk{Torn: w.defect == torn, Lazy: w.defect == unsynced}
	x := w.addMember(fmt.Sprintf("%s%d", o.name, all+1), o.org, keys, d)
	x.entry, x.card = req, &o.n.OwnCard().Signed
	w.did["nodes requested"]++
	w.start(x)
}

// beginSiblings gives an organisation a second node from the beginning, mostly. It returns how
// many steps more a schedule takes in which nodes come and go.
func (w *scheduled) beginSiblings() int {
	if w.rng.IntN(4) > 0 {
		w.requestNode(w.members[0])
		for m := w.members[len(w.members)-1]; m.place != onCard && w.newNode(m); {
		}
	}
	return 40
}

// newNode takes a node that is not on the card a step nearer to it. It reports whether it was
// such a node.
func (w *scheduled) newNode(m *member) bool {
	o := w.members[m.org]
	switch {
	case m.place == removedNode:
		return false
	case m.place == requested && o.n != nil:
		w.cardAt[o.org] = w.step
		w.do(o.name+" approves "+m.name, func() (err error) {
			m.invite, err = o.n.ApproveNode(&m.entry.Signed, strings.Join(m.entry.Words(), " "))
			if err == nil {
				m.place = approved
			}
			return err
		})
	case m.place == approved && m.n != nil:
		if w.do(m.name+" enrols", func() error { _, err := m.n.Enrol(m.invite); return err }) {
			m.place, m.since = onCard, w.step
			w.did["nodes enrolled"]++
		}
	}
	return true
}

// goBack notes what a node that is restored to an earlier step may not know any more.
func (w *scheduled) goBack(m *member, at int) {
	if m.place == onCard && at < m.since {
		m.place = approved
	}
	for _, s := range w.said {
		if s.by == m {
			s.sure = false
		}
	}
}

// meet lets a node compare with a sibling: everything, or what only siblings hold.
func (w *scheduled) meet(m *member) {
	b := w.sibling(m, func(o *member) bool { return o.n != nil && know(o, m) })
	if b == nil {
		return
	}
	if w.rng.IntN(3) == 0 {
		w.askSibling(m, b, true)
		w.check(b)
		return
	}
	for c := w.comparisonOf(m, b); ; { // at once: others are cut in pieces already
		if over, _ := w.advance(c, true); over {
			break
		}
		w.check(m)
	}
}

// askSibling takes from a sibling what it holds. In between either may be cut off, and the
// other goes on with its work. It reports whether the comparison came to its end.
func (w *scheduled) askSibling(a, b *member, faults bool) bool {
	if a.place == removedNode && !b.knowsRemoved(a) {
		a.excused = true // its keys may come to it by a sibling that nobody told
	}
	whole := true
	ok := w.do(fmt.Sprintf("%s compares items with %s", a.name, b.name), func() error {
		_, err := a.n.compareSiblings(context.Background(), func(_ context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
			if b.n == nil || faults && w.rng.IntN(15) == 0 {
				w.did["siblings cut off"]++
				return nil, errCutOff
			}
			return w.serveItems(a, b, m, faults)
		})
		if errors.Is(err, errCutOff) || errors.Is(err, protocol.ErrUnknownAuthor) { // removed meanwhile
			whole = false
			return nil
		}
		return err
	})
	if ok && whole {
		w.did["siblings compared"]++
	}
	return ok && whole
}

func (w *scheduled) serveItems(a, b *member, m *protocol.SyncMessage, faults bool) (*protocol.SyncMessage, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if faults && w.rng.IntN(10) == 0 { // the request comes twice
		if _, _, err := b.n.serveSiblings(a.n.ID(), m); err != nil {
			return nil, err
		}
	}
	ans, _, err := b.n.serveSiblings(a.n.ID(), m)
	if err == nil {
		err = ans.Validate()
	}
	if err != nil {
		return nil, err
	}
	if w.defect == keepsErasures {
		ans.Envelopes = slices.DeleteFunc(ans.Envelopes, func(raw []byte) bool {
			var item protocol.SiblingItem
			return protocol.Decode(raw, protocol.MaxSiblingItem+1<<10, &item) == nil && item.Kind == protocol.SiblingErasureItem
		})
	}
	if faults && len(ans.Envelopes) > 0 && w.rng.IntN(4) == 0 {
		w.late = append(w.late, lateItems{a, slices.Clone(ans.Envelopes)})
		w.late = w.late[max(0, len(w.late)-10):]
	}
	if faults && w.rng.IntN(6) == 0 {
		moves := []func(*member){w.publish, w.erase, w.eraseOfSibling, w.eraseLocally, w.say, w.withdraw}
		w.busy = a
		moves[w.rng.IntN(len(moves))](b)
		w.busy = nil
		w.did["what happened between two messages of siblings"]++
		w.check(b)
	}
	return ans, nil
}

// lateAnswer brings an old answer of a sibling once more.
func (w *scheduled) lateAnswer(*member) {
	if len(w.late) == 0 {
		return
	}
	l := w.late[w.rng.IntN(len(w.late))]
	if l.to.n == nil || l.to.place < onCard {
		return
	}
	w.did["old answers of siblings"]++
	w.do(l.to.name+" compares with an old answer", func() error { return l.to.n.takeSiblingItems(l.items) })
	w.check(l.to)
}

// removeNode takes a sibling off the card.
func (w *scheduled) removeNode(m *member) {
	o := w.members[m.org]
	v := w.sibling(o, func(v *member) bool { return v.place == onCard })
	if o.n == nil || v == nil || w.rng.IntN(2) == 0 {
		return
	}
	w.cardAt[o.org] = w.step
	now := w.rng.IntN(2) == 0
	w.do(fmt.Sprintf("%s removes %s, now: %v", o.name, v.name, now), func() error {
		_, err := o.n.RemoveNode(v.keys.Host.Public(), now)
		if err != nil && strings.Contains(err.Error(), "are missing here") && !now {
			w.did["removals refused"]++
			w.logf("%v", err)
			return nil
		}
		return err
	})
	if o.n != nil {
		o.checked = 0
		w.check(o)
	}
}

// resealRemoved seals anew what a removed node published after the end of its feeds, where
// that is held: mostly not where the removal was signed.
func (w *scheduled) resealRemoved(m *member) {
	v := w.sibling(m, func(v *member) bool { return v.place == removedNode && m.knowsRemoved(v) })
	if m.place != onCard || v == nil {
		return
	}
	w.do(fmt.Sprintf("%s reseals what %s published", m.name, v.name), func() error {
		count, err := m.n.ResealRemoved(context.Background(), v.keys.Host.Public())
		if count > 0 {
			w.did["entries of removed nodes sealed anew"] += count
		}
		return err
	})
}

// packFile makes a file for the other nodes of an organisation.
func (w *scheduled) packFile(m *member) {
	if m.place != onCard || w.sibling(m, func(*member) bool { return true }) == nil {
		return
	}
	var b bytes.Buffer
	if w.do(m.name+" packs for its siblings", func() error {
		_, err := m.n.Pack(context.Background(), &b, PackRequest{To: m.keys.Org})
		return err
	}) {
		w.files = append(w.files, carried{m.org, b.Bytes()})
		w.files = w.files[max(0, len(w.files)-4):]
		w.did["files packed for siblings"]++
	}
}

// applyFile takes a file of a sibling, at times a part of it, at times again.
func (w *scheduled) applyFile(m *member) {
	var list []carried
	for _, f := range w.files {
		if f.org == m.org && m.place >= onCard {
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		return
	}
	b := list[w.rng.IntN(len(list))].bytes
	if w.rng.IntN(8) == 0 {
		b = b[:w.rng.IntN(len(b))]
	}
	m.excused = m.excused || m.place == removedNode
	w.do(m.name+" applies a file of a sibling", func() error {
		got, err := m.n.Apply(context.Background(), bytes.NewReader(b))
		if err != nil { // it may have been packed before this node was on the card, or be cut off
			w.logf("%v", err)
			return nil
		}
		for _, r := range got.Refused {
			w.logf("refused: %s %s", r.What, r.Class)
		}
		w.did["files of siblings applied"]++
		return nil
	})
}

// say is what people say at one node, of a topic or of another organisation.
func (w *scheduled) say(m *member) {
	if m.place != onCard || m.hostile {
		return
	}
	key := saying{m.org, w.rng.IntN(w.orgs+1) - 1}
	if key.of == m.org {
		return
	}
	s := &said{yes: w.rng.IntN(2) == 0, by: m}
	what, do := "joins a topic", func() error { return m.n.JoinTopic("x") }
	switch {
	case key.of >= 0 && s.yes:
		card := m.n.Card(w.members[key.of].keys.Org)
		if card == nil {
			return
		}
		what, do = "trusts "+w.members[key.of].name, func() error { _, err := m.n.Trust(&card.Signed, strings.Join(crypto.Words(card.Org), " ")); return err }
	case key.of >= 0:
		org := w.members[key.of].keys.Org
		if _, ok := m.n.snap.Load().pins[org]; !ok {
			return
		}
		what, do = "distrusts "+w.members[key.of].name, func() error { return m.n.Untrust(org) }
	case !s.yes && !m.inTopic("x"):
		return
	case !s.yes:
		what, do = "leaves a topic", func() error { return m.n.LeaveTopic("x") }
	}
	w.said[key] = s
	s.sure = w.do(m.name+" "+what, do)
	if s.sure {
		w.did["words of people of topics and trust"]++
	}
}

// eraseOfSibling erases, at one node, what another of its organisation published.
func (w *scheduled) eraseOfSibling(m *member) {
	f := w.someFact(func(f *fact) bool {
		return (f.by != m || len(w.members) > w.orgs) && f.by.org == m.org && f.acked && f.erased < 2 && !m.gone[f.value] && !w.expired(f)
	})
	if f == nil {
		return
	}
	if f.by == m { // then at any of the others
		m = w.sibling(m, func(o *member) bool { return o.up() && o != w.busy })
	}
	if m == nil || m.n == nil || m.place != onCard {
		return
	}
	if recs, _, err := m.n.Search(Query{Value: f.value, Withdrawn: true}); err != nil || len(recs) == 0 {
		return
	}
	f.erased = max(f.erased, 1)
	for _, o := range w.facts { // its publisher seals them anew, or who answers for it, at some time
		if o.by == f.by && o.feed == f.feed && o.seq == f.seq {
			o.touched, o.resealed = true, true
			for i := range w.orgs { // when, and whose cards are fresh then, is not known here
				o.late[i] = true
			}
		}
	}
	if w.do(m.name+" erases of a sibling "+f.value, func() error {
		_, err := m.n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{f.id}, Reason: protocol.EraseLegal})
		return err
	}) {
		f.erased, f.asked = 2, m
		m.gone[f.value] = true
		w.did["records erased by a sibling"]++
		if f.by.place == removedNode {
			w.did["records of a removed node erased by a sibling"]++
		}
	}
	w.check(m)
}
