package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// CarryApplied says what applying a carried file did.
type CarryApplied struct {
	Carried
	New     CarryCounts    `json:"new"`     // what was not held before
	Held    CarryCounts    `json:"held"`    // already
	Records uint64         `json:"records"` // readable here now that were not
	LeftOut []CarryLeftOut `json:"left_out"`
	Missing []CarryMissing `json:"missing"`
}

// CarryCounts counts things.
type CarryCounts struct {
	Cards      int `json:"cards"`
	Statements int `json:"statements"`
	Envelopes  int `json:"envelopes"`
}

// CarryLeftOut counts the envelopes of a topic that this node is not in.
type CarryLeftOut struct {
	Topic     string `json:"topic"`
	Envelopes int    `json:"envelopes"`
}

// CarryMissing is a range of entries that the sender had and that is not held here.
type CarryMissing struct {
	Org   OrgRef          `json:"organisation"`
	Topic string          `json:"topic"`
	Feed  protocol.FeedID `json:"feed"`
	From  uint64          `json:"from"`
	To    uint64          `json:"to"`
	// Behind counts the entries of this file that come after the range and could not be
	// taken because of it: what brings the range first makes this file good.
	Behind uint64 `json:"behind"`
}

// Partial reports whether something of the file was not taken, or is missing.
func (a *CarryApplied) Partial() bool { return !a.Whole || len(a.Refused) > 0 || len(a.Missing) > 0 }

// maxCarryLater bounds the cards and statements, in bytes, that came before the ones that
// make them good and are tried again at the end of a file's sets.
const maxCarryLater = 32 << 20

// applier takes one carried file. It belongs to one goroutine.
type applier struct {
	*carriedFile
	v   *view
	out CarryApplied

	later      protocol.SyncMessage // cards and statements to be tried again
	laterBytes int
	leftOut    map[protocol.TopicID]int
}

// Apply takes a carried file: what it holds is verified and merged exactly as what a peer
// sends. It may be applied in any order and any number of times. What is refused is told and
// does not keep the rest from being taken. An error says that the file is not for this node,
// or cannot be read at all; or that storing failed, and then what was taken before it stays.
func (n *Node) Apply(ctx context.Context, r io.Reader) (*CarryApplied, error) {
	f, err := n.openCarried(ctx, r, protocol.CarryPack)
	if err != nil {
		return nil, err
	}
	a := &applier{carriedFile: f, v: &view{n: n, org: f.header.From}, leftOut: map[protocol.TopicID]int{}}
	before, err := n.readable()
	if err != nil {
		return nil, err
	}
	if err := a.run(); err != nil {
		return nil, err
	}
	after, err := n.readable()
	if err != nil {
		return nil, err
	}
	a.out.Records = max(after, before) - before
	return a.finish(), nil
}

// readable counts the records that can be read here.
func (n *Node) readable() (count uint64, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		c, err := corpus.Count(tx)
		count = c.Records
		return err
	})
	return count, err
}

func (a *applier) run() error {
	sets := true
	for {
		m, err := a.next()
		if err != nil {
			return err
		}
		if sets && (m == nil || m.Kind != protocol.SyncFrontier && m.Kind != protocol.SyncItems) {
			sets = false
			if err := a.takeLater(); err != nil {
				return err
			}
		}
		if m == nil {
			return nil
		}
		switch m.Kind {
		case protocol.SyncFrontier:
			err = a.frontier(m)
		case protocol.SyncItems:
			err = a.takeItems(m)
		case protocol.SyncSiblingItems:
			err = a.takeSiblings(m.Envelopes)
		case protocol.SyncEntries:
			err = a.takeEntries(m.Envelopes)
		}
		if err != nil {
			if err := a.broken(err); err != nil {
				return err
			}
			return nil
		}
	}
}

// takeSiblings takes what only nodes of this organisation hold, from one of them.
func (a *applier) takeSiblings(raws [][]byte) error {
	a.info.Siblings += len(raws)
	if a.header.From != a.n.org || !a.fromMember(a.n.snap.Load()) {
		a.refuse("sibling item", protocol.Errorf(protocol.ErrUnknownAuthor, "only a node on this organisation's card says what its nodes hold in common"))
		return nil
	}
	err := a.n.takeSiblingItems(raws)
	if errors.Is(err, protocol.ErrMalformed) || errors.Is(err, protocol.ErrOversize) || errors.Is(err, protocol.ErrLaterVersion) {
		a.refuse("sibling item", err)
		return nil
	}
	return err
}

// feedItems gives a message of the sets to a node, as a comparison does.
func feedItems(v reconcile.View, m *protocol.SyncMessage) error {
	return v.TakeItems(m)
}

// takeItems takes the cards and statements of one message that are not held yet, and
// whatever else the message brings.
func (a *applier) takeItems(m *protocol.SyncMessage) error {
	a.info.Cards += len(m.Cards)
	a.info.Statements += len(m.Roster)
	held, err := a.held()
	if err != nil {
		return err
	}
	lack := *m
	lack.Cards, lack.Roster = a.fresh(m, held)
	a.out.Held.Cards += len(m.Cards) - len(lack.Cards)
	a.out.Held.Statements += len(m.Roster) - len(lack.Roster)
	lack.Roster = a.refuseExpired(lack.Roster)
	left, err := a.offer(&lack)
	if err != nil || left == nil {
		return err
	}
	for i := range left.Cards {
		a.laterBytes += len(left.Cards[i].Statement)
	}
	for i := range left.Roster {
		a.laterBytes += len(left.Roster[i].Statement)
	}
	if a.laterBytes > maxCarryLater {
		again := protocol.Errorf(protocol.ErrUnknownAuthor, "came before what makes it good, and too much did; apply the file again")
		for range left.Cards {
			a.refuse("card", again)
		}
		for range left.Roster {
			a.refuse("statement", again)
		}
		return nil
	}
	a.later.Cards = append(a.later.Cards, left.Cards...)
	a.later.Roster = append(a.later.Roster, left.Roster...)
	return nil
}

// offer feeds a message and returns what of it is not held even then, nil if all is.
func (a *applier) offer(m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	nothing := protocol.SyncMessage{Version: m.Version, Kind: m.Kind, More: m.More}
	if bytes.Equal(protocol.Encode(m), protocol.Encode(&nothing)) {
		return nil, nil
	}
	if err := feedItems(a.v, m); err != nil {
		return nil, err
	}
	held, err := a.held()
	if err != nil {
		return nil, err
	}
	left := nothing
	left.Cards, left.Roster = a.fresh(m, held)
	a.out.New.Cards += len(m.Cards) - len(left.Cards)
	a.out.New.Statements += len(m.Roster) - len(left.Roster)
	if len(left.Cards)+len(left.Roster) == 0 {
		return nil, nil
	}
	return &left, nil
}

func (a *applier) held() (map[protocol.Hash]bool, error) {
	list, err := a.v.SetHashes()
	held := make(map[protocol.Hash]bool, len(list))
	for _, h := range list {
		held[h] = true
	}
	return held, err
}

// fresh returns the cards and statements of a message that are not held.
func (a *applier) fresh(m *protocol.SyncMessage, held map[protocol.Hash]bool) (cards []protocol.SignedCard, roster []protocol.RosterStatement) {
	for i := range m.Cards {
		if !held[m.Cards[i].Hash()] {
			cards = append(cards, m.Cards[i])
		}
	}
	for i := range m.Roster {
		if !held[m.Roster[i].Hash()] {
			roster = append(roster, m.Roster[i])
		}
	}
	return cards, roster
}

// refuseExpired refuses invitations that are past their end, unless a member packed the
// file. It is what a hello does: an invitation that nobody used in time is worth nothing,
// and only who was there before can say that somebody did.
func (a *applier) refuseExpired(list []protocol.RosterStatement) []protocol.RosterStatement {
	if a.fromMember(a.n.snap.Load()) {
		return list
	}
	return slices.DeleteFunc(list, func(st protocol.RosterStatement) bool {
		var sp protocol.Sponsorship
		if st.Kind != protocol.StatementSponsorship || protocol.Decode(st.Statement, protocol.MaxStatementSize, &sp) != nil || uint64(nowMillis()) < sp.Expires {
			return false
		}
		a.refuse("statement", protocol.Errorf(protocol.ErrExpired, "the invitation of %s has expired, and the file is not from a member; it needs a new one", a.n.snap.Load().name(sp.Invitee)))
		return true
	})
}

// takeLater tries again, as long as that helps, what came before the thing that makes it
// good, and says why the rest is refused.
func (a *applier) takeLater() error {
	for {
		last := len(a.later.Cards) + len(a.later.Roster)
		if last == 0 {
			return nil
		}
		round := a.later
		a.later = protocol.SyncMessage{}
		for part := range chunks(&round, 256) {
			left, err := a.offer(part)
			if err != nil {
				return err
			}
			if left != nil {
				a.later.Cards = append(a.later.Cards, left.Cards...)
				a.later.Roster = append(a.later.Roster, left.Roster...)
			}
		}
		if len(a.later.Cards)+len(a.later.Roster) == last {
			a.explain(&a.later)
			a.later = protocol.SyncMessage{}
			return nil
		}
	}
}

// chunks cuts a message of the sets into parts of at most size cards or statements.
func chunks(m *protocol.SyncMessage, size int) func(yield func(*protocol.SyncMessage) bool) {
	return func(yield func(*protocol.SyncMessage) bool) {
		for cards := range slices.Chunk(m.Cards, size) {
			if !yield(&protocol.SyncMessage{Version: 1, Kind: protocol.SyncItems, Cards: cards}) {
				return
			}
		}
		for roster := range slices.Chunk(m.Roster, size) {
			if !yield(&protocol.SyncMessage{Version: 1, Kind: protocol.SyncItems, Roster: roster}) {
				return
			}
		}
	}
}

// explain finds out why cards and statements are not held after they were given to the
// node: a newer card is, or they are refused.
func (a *applier) explain(m *protocol.SyncMessage) {
	s := a.n.snap.Load()
	for i := range m.Cards {
		c, err := a.n.verifyCard(&m.Cards[i])
		switch {
		case err != nil:
			a.refuse("card", err)
		case s.cards[c.Org] != nil && !s.cards[c.Org].Order.Less(c.Order) && s.rostered(c.Org):
			a.out.Held.Cards++
		default:
			a.refuse("card", protocol.Errorf(protocol.ErrUnknownAuthor, "%s is not a member of the network as far as is known here", c.Inception.Name))
		}
	}
	for i := range m.Roster {
		st := &m.Roster[i]
		_, err := a.n.verifyStatement(s, st)
		if err == nil {
			err = protocol.Errorf(protocol.ErrUnknownAuthor, "a roster statement is signed by %s, which is not a member of the network as far as is known here, or has signed too many", s.name(st.Signer))
		}
		a.refuse("statement", err)
	}
}

// takeEntries verifies and admits the entries of one message. One that is refused does not
// keep the others out.
func (a *applier) takeEntries(raws [][]byte) error {
	s := a.n.snap.Load()
	envs := make([]*crypto.VerifiedEnvelope, 0, len(raws))
	for _, raw := range raws {
		env, err := crypto.VerifyEntry(s.network, raw)
		if err != nil {
			a.refuse("envelope", err)
			continue
		}
		if _, err := a.entry(env); err != nil {
			return err
		}
		if _, ok := s.topics[env.Topic]; !ok && s.isMember(env.Signing) && !env.Topic.Direct() {
			a.leaveOut(env.Topic)
			continue
		}
		envs = append(envs, env)
	}
	if len(envs) == 0 {
		return nil
	}
	got, err := a.v.take(envs)
	if err != nil {
		return fmt.Errorf("storing what the carried file brought: %w", err)
	}
	a.out.New.Envelopes += got.Stored
	a.out.Held.Envelopes += got.Held
	for _, err := range got.Refusals {
		a.refuse("envelope", err)
	}
	return nil
}

func (s *snapshot) isMember(k protocol.SigningKey) bool {
	sg, ok := s.signers[k]
	return ok && s.members[sg.org]
}

// maxLeftOut bounds the topics that are told apart.
const maxLeftOut = 1024

func (a *applier) leaveOut(id protocol.TopicID) {
	if _, ok := a.leftOut[id]; !ok && len(a.leftOut) >= maxLeftOut {
		id = protocol.TopicID{}
	}
	a.leftOut[id]++
}

// finish makes the report.
func (a *applier) finish() *CarryApplied {
	s := a.n.snap.Load()
	a.out.Carried = *a.close()
	a.out.LeftOut, a.out.Missing = []CarryLeftOut{}, []CarryMissing{}
	for _, id := range slices.SortedFunc(maps.Keys(a.leftOut), compareTopics) {
		a.out.LeftOut = append(a.out.LeftOut, CarryLeftOut{Topic: s.topic(id), Envelopes: a.leftOut[id]})
	}
	slices.SortStableFunc(a.out.LeftOut, func(x, y CarryLeftOut) int { return strings.Compare(x.Topic, y.Topic) })
	for i := range a.out.Feeds {
		c := &a.out.Feeds[i]
		end := max(c.Head, c.To)
		if c.Here >= end || a.v.Wants(&c.origin) == 0 {
			continue
		}
		m := CarryMissing{Org: c.Org, Topic: c.Topic, Feed: c.Feed, From: c.Here + 1, To: end}
		if c.From > m.From {
			m.To, m.Behind = c.From-1, c.Envelopes
		}
		a.out.Missing = append(a.out.Missing, m)
	}
	return &a.out
}
