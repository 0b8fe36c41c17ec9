package node

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// AgreementState is where an agreement stands in its life.
type AgreementState = policy.Stage

// The states.
const (
	AgreementProposed   = policy.StageProposed
	AgreementIncoming   = policy.StageIncoming
	AgreementInForce    = policy.StageInForce
	AgreementNotYet     = policy.StageNotYet
	AgreementSuspended  = policy.StageSuspended
	AgreementRejected   = policy.StageRejected
	AgreementTerminated = policy.StageTerminated
	AgreementExpired    = policy.StageExpired
)

// AgreementInfo is an agreement as it is shown.
type AgreementInfo struct {
	ID         protocol.AgreementID
	State      AgreementState
	Doc        protocol.Agreement
	Signed     []protocol.OrgID
	Missing    []protocol.OrgID
	FirstSeen  uint64
	Terminated *protocol.Termination // the first that counts
	Rejected   *protocol.Rejection
	Life       *policy.Life
	// SupersededBy amends it; zero: none does.
	SupersededBy protocol.AgreementID
	// Events is its life so far, in the order of time.
	Events []AgreementEvent
}

func (n *Node) agreementInfo(s *snapshot, a *agreement) AgreementInfo {
	info := AgreementInfo{ID: a.ID, Doc: a.Agreement.Agreement, Missing: a.Missing, FirstSeen: a.doc.FirstSeen, Life: s.lives[a.ID]}
	for _, sig := range a.Signed.Sigs {
		info.Signed = append(info.Signed, sig.Org)
	}
	for i := range a.terminations {
		if t := &a.terminations[i]; info.Terminated == nil || t.Effective < info.Terminated.Effective {
			info.Terminated = t
		}
	}
	if len(a.rejections) > 0 {
		info.Rejected = &a.rejections[0]
	}
	info.State = info.Life.Stage(n.org, uint64(nowMillis()))
	if by := s.successor(a); by != nil {
		info.SupersededBy = by.ID
	}
	info.Events = s.events(a)
	return info
}

// Agreements lists all agreements known, the newest first.
func (n *Node) Agreements() []AgreementInfo {
	var list []AgreementInfo
	s := n.snap.Load()
	for _, a := range s.agreements {
		list = append(list, n.agreementInfo(s, a))
	}
	slices.SortFunc(list, func(a, b AgreementInfo) int {
		if a.FirstSeen != b.FirstSeen {
			return -compareUint(a.FirstSeen, b.FirstSeen)
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	return list
}

func compareUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Agreement returns one agreement.
func (n *Node) Agreement(id protocol.AgreementID) (AgreementInfo, error) {
	s := n.snap.Load()
	a := s.agreements[id]
	if a == nil {
		return AgreementInfo{}, fmt.Errorf("no agreement %s is known here; 'entente agreement list' shows those that are", id.Short())
	}
	return n.agreementInfo(s, a), nil
}

// FindAgreement finds an agreement by id, or by the beginning of its id.
func (n *Node) FindAgreement(text string) (protocol.AgreementID, error) {
	if id, err := protocol.ParseAgreementID(text); err == nil {
		return id, nil
	}
	var found []protocol.AgreementID
	for id := range n.snap.Load().agreements {
		if len(text) >= 8 && strings.HasPrefix(id.String(), strings.TrimSuffix(text, "…")) {
			found = append(found, id)
		}
	}
	if len(found) != 1 {
		return protocol.AgreementID{}, fmt.Errorf("%d agreements begin with %q; 'entente agreement list' shows their ids: %w", len(found), text, ErrNotFound)
	}
	return found[0], nil
}

// Propose signs a drafted agreement and sends it to the other parties. The draft's network
// and secret are filled in here. Every other party must have been trusted by hand.
func (n *Node) Propose(draft protocol.Agreement) (protocol.AgreementID, error) {
	s := n.snap.Load()
	switch {
	case s.network == protocol.NoNetwork:
		return protocol.AgreementID{}, ErrNoNetwork
	case n.op() == nil:
		return protocol.AgreementID{}, ErrNoOperationalKey
	case !slices.Contains(draft.Parties, n.org):
		return protocol.AgreementID{}, errors.New("this organisation is not a party of the draft")
	}
	if err := n.believeClock(); err != nil {
		return protocol.AgreementID{}, err
	}
	for _, p := range draft.Parties {
		if err := s.checkPinned(n.org, p); err != nil {
			return protocol.AgreementID{}, err
		}
	}
	if err := n.mayAmend(s, &draft, true); err != nil {
		return protocol.AgreementID{}, err
	}
	draft.Version, draft.Network = 1, s.network
	rand.Read(draft.Secret[:])
	if err := draft.Validate(); err != nil {
		return protocol.AgreementID{}, err
	}
	canonical := protocol.Encode(&draft)
	sig, err := crypto.SignAgreement(canonical, s.network, n.org, n.op())
	if err != nil {
		return protocol.AgreementID{}, err
	}
	signed := &protocol.SignedAgreement{Statement: canonical, Sigs: []protocol.PartySignature{sig}}
	if err := signed.Validate(); err != nil {
		return protocol.AgreementID{}, err
	}
	id := signed.ID()
	if err := n.keepAgreement(signed, n.org, &pendingLetter{Parties: draft.Parties, Kind: protocol.LetterProposal, Content: protocol.Encode(signed)}); err != nil {
		return id, err
	}
	n.sendDecided()
	return id, nil
}

// checkPinned wants a party to have been checked by hand, and its card to be known.
func (s *snapshot) checkPinned(self, party protocol.OrgID) error {
	if party == self {
		return nil
	}
	if s.cards[party] == nil {
		return fmt.Errorf("no card of %s is known here; run 'entente trust' with its card file first", party.Short())
	}
	if _, ok := s.pins[party]; !ok {
		return fmt.Errorf("%s is not trusted yet; compare its words by phone and run 'entente trust'", s.name(party))
	}
	return nil
}

// keepAgreement stores an agreement, joining signatures with those that are held, and with it
// the letter that has to be sent about it, if any.
func (n *Node) keepAgreement(signed *protocol.SignedAgreement, proposer protocol.OrgID, letter *pendingLetter) error {
	id := signed.ID()
	before := n.snap.Load().agreements[id]
	err := n.change(func(tx *store.Tx) error {
		joined, err := n.storeAgreement(tx, signed, proposer)
		if err != nil {
			return err
		}
		return errors.Join(n.markIfComplete(tx, joined, before), keepLetter(tx, letter))
	})
	if err != nil {
		return err
	}
	return n.countersigned(id, before)
}

// storeAgreement stores an agreement, joining signatures with those that are held, and returns it
// with all of them. What ended it goes on counting.
func (n *Node) storeAgreement(tx *store.Tx, signed *protocol.SignedAgreement, proposer protocol.OrgID) (*protocol.SignedAgreement, error) {
	id := signed.ID()
	doc := agreementDoc{FirstSeen: uint64(nowMillis()), Proposer: proposer}
	if _, err := getDoc(tx, kindAgreement, id[:], &doc); err != nil {
		return nil, err
	}
	if len(doc.Signed) > 0 {
		var held protocol.SignedAgreement
		if err := protocol.Decode(doc.Signed, maxDocument, &held); err != nil {
			return nil, err
		}
		signed = joinSignatures(&held, signed)
	}
	doc.Signed = protocol.Encode(signed)
	doc.Terminations = joinEnds(doc.Terminations, n.ended[id])
	doc.Suspensions = joinSuspensions(doc.Suspensions, n.ended[id])
	return signed, errors.Join(doc.noteComplete(), putDoc(tx, kindAgreement, id[:], &doc))
}

// countersigned looks again at what the parties sent if an agreement is signed by all of them
// now and was not before.
func (n *Node) countersigned(id protocol.AgreementID, before *agreement) error {
	after := n.snap.Load().agreements[id]
	if after != nil && len(after.Missing) == 0 && (before == nil || len(before.Missing) > 0) {
		n.log.Info("agreement countersigned by all", "agreement", id)
		return n.gate.reopenMarked()
	}
	return nil
}

// markIfComplete marks the feeds of the parties if an agreement has all signatures now and had
// not before.
func (n *Node) markIfComplete(tx *store.Tx, signed *protocol.SignedAgreement, before *agreement) error {
	var a protocol.Agreement
	if err := protocol.Decode(signed.Statement, maxDocument, &a); err != nil {
		return err
	}
	if len(signed.Sigs) < len(a.Parties) || before != nil && len(before.Missing) == 0 {
		return nil
	}
	return n.markParties(tx, a.Parties)
}

func joinSignatures(a, b *protocol.SignedAgreement) *protocol.SignedAgreement {
	out := &protocol.SignedAgreement{Statement: a.Statement, Sigs: slices.Clone(a.Sigs)}
	for _, sig := range b.Sigs {
		if !slices.ContainsFunc(out.Sigs, func(p protocol.PartySignature) bool { return p.Org == sig.Org }) {
			out.Sigs = append(out.Sigs, sig)
		}
	}
	slices.SortFunc(out.Sigs, func(x, y protocol.PartySignature) int { return x.Org.Compare(y.Org) })
	return out
}

// Countersign signs an agreement that was proposed to this organisation.
func (n *Node) Countersign(id protocol.AgreementID) error {
	s := n.snap.Load()
	a := s.agreements[id]
	switch {
	case a == nil:
		return fmt.Errorf("no agreement %s was proposed; 'entente agreement inbox' shows those that were", id.Short())
	case n.op() == nil:
		return ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return err
	}
	if err := s.lives[id].May(policy.ActCountersign, n.org, uint64(nowMillis())); err != nil {
		return err
	}
	if err := n.mayAmend(s, &a.Agreement.Agreement, false); err != nil {
		return err
	}
	for _, p := range a.Parties {
		if err := s.checkPinned(n.org, p); err != nil {
			return err
		}
	}
	sig, err := crypto.SignAgreement(a.Signed.Statement, s.network, n.org, n.op())
	if err != nil {
		return err
	}
	signed := joinSignatures(&a.Signed, &protocol.SignedAgreement{Sigs: []protocol.PartySignature{sig}})
	if err := n.keepAgreement(signed, a.doc.Proposer, &pendingLetter{Parties: a.Parties, Kind: protocol.LetterCountersign, Content: protocol.Encode(signed)}); err != nil {
		return err
	}
	n.sendDecided()
	return n.gate.drain()
}

// Reject answers a proposal with no.
func (n *Node) Reject(id protocol.AgreementID, reason string) error {
	s := n.snap.Load()
	a := s.agreements[id]
	switch {
	case a == nil:
		return fmt.Errorf("no agreement %s was proposed", id.Short())
	case n.op() == nil:
		return ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return err
	}
	if err := s.lives[id].May(policy.ActReject, n.org, uint64(nowMillis())); err != nil {
		return err
	}
	r := &protocol.Rejection{Version: 1, Network: s.network, Agreement: id, Org: n.org, At: uint64(nowMillis()), Reason: reason}
	if err := r.Validate(); err != nil {
		return err
	}
	signed, err := crypto.SignRejection(r, n.op())
	if err != nil {
		return err
	}
	if err := n.keepEnd(id, &signed, protocol.LetterRejection, a.Parties); err != nil {
		return err
	}
	n.sendDecided()
	return nil
}

// keepEnd stores a termination, a suspension or a rejection of an agreement that is known, and with it the
// letter to those who have to be told, if any.
func (n *Node) keepEnd(id protocol.AgreementID, signed *protocol.OrgSigned, kind protocol.LetterKind, tell []protocol.OrgID) error {
	if known, err := n.saysNothingNew(id, signed, kind); err != nil || known {
		return err
	}
	if kind != protocol.LetterRejection {
		if err := n.journalEnds(id, [][]byte{protocol.Encode(signed)}); err != nil {
			return err
		}
	}
	err := n.change(func(tx *store.Tx) error {
		var doc agreementDoc
		ok, err := getDoc(tx, kindAgreement, id[:], &doc)
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("no agreement %s is known here", id.Short()))
		}
		raw := protocol.Encode(signed)
		switch kind {
		case protocol.LetterRejection:
			doc.Rejections = joinEnds(doc.Rejections, [][]byte{raw})
		case protocol.LetterSuspension:
			doc.Suspensions = joinSuspensions(doc.Suspensions, [][]byte{raw})
		default:
			doc.Terminations = joinEnds(doc.Terminations, [][]byte{raw})
		}
		var letter *pendingLetter
		if len(tell) > 0 {
			letter = &pendingLetter{Parties: tell, Kind: kind, Content: raw}
		}
		if kind == protocol.LetterSuspension { // what came before the word that it is resumed is looked at again
			if a := n.snap.Load().agreements[id]; a != nil {
				err = n.markParties(tx, a.Parties)
			}
		}
		return errors.Join(err, putDoc(tx, kindAgreement, id[:], &doc), keepLetter(tx, letter))
	})
	if err == nil && kind == protocol.LetterSuspension {
		err = n.gate.reopenMarked()
	}
	return err
}

// saysNothingNew reports whether a termination, suspension or rejection changes nothing of what is
// held: then it makes no new state, and no line of the journal, however often it is sent.
func (n *Node) saysNothingNew(id protocol.AgreementID, signed *protocol.OrgSigned, kind protocol.LetterKind) (known bool, err error) {
	raw := protocol.Encode(signed)
	err = n.st.View(func(tx *store.Tx) error {
		var doc agreementDoc
		if ok, err := getDoc(tx, kindAgreement, id[:], &doc); err != nil || !ok {
			return err // the caller says so
		}
		var joined [][]byte
		switch kind {
		case protocol.LetterRejection:
			joined = joinEnds(doc.Rejections, [][]byte{raw})
		case protocol.LetterSuspension:
			joined = joinSuspensions(doc.Suspensions, [][]byte{raw})
		default:
			joined = joinEnds(doc.Terminations, [][]byte{raw})
		}
		held := slices.Concat(doc.Rejections, doc.Suspensions, doc.Terminations)
		same := func(b []byte) bool { return bytes.Equal(b, raw) }
		known = slices.ContainsFunc(held, same) || !slices.ContainsFunc(joined, same)
		return nil
	})
	return known, err
}

// journalEnds writes terminations and suspensions that are not held yet beside the data directory, before the
// store: data that is put back from an earlier state must not go on under an agreement that was
// ended since (I2).
func (n *Node) journalEnds(id protocol.AgreementID, raws [][]byte) error {
	if n.anchor == nil {
		return nil
	}
	var doc agreementDoc
	if err := n.st.View(func(tx *store.Tx) error { _, err := getDoc(tx, kindAgreement, id[:], &doc); return err }); err != nil {
		return err
	}
	for _, raw := range raws {
		if same := func(b []byte) bool { return bytes.Equal(b, raw) }; slices.ContainsFunc(doc.Terminations, same) || slices.ContainsFunc(doc.Suspensions, same) {
			continue
		}
		var o protocol.OrgSigned
		if err := protocol.Decode(raw, maxDocument, &o); err != nil {
			return err
		}
		if err := n.anchor.Append(anchor.Erasure{Ended: []protocol.OrgSigned{o}}); err != nil {
			return err
		}
	}
	return nil
}

// replayEnd ends or suspends an agreement again that the journal says was, or remembers that for
// when the agreement comes back.
func (n *Node) replayEnd(o *protocol.OrgSigned) error {
	s := n.snap.Load()
	var t protocol.Termination
	var p protocol.Suspension
	id, kind := protocol.AgreementID{}, protocol.LetterTermination
	if err := protocol.Decode(o.Statement, protocol.MaxStatementSize, &t); err == nil {
		id = t.Agreement
	} else if err := protocol.Decode(o.Statement, protocol.MaxStatementSize, &p); err == nil {
		id, kind = p.Agreement, protocol.LetterSuspension
	} else {
		return err
	}
	raw := protocol.Encode(o)
	if n.ended == nil {
		n.ended = map[protocol.AgreementID][][]byte{}
	}
	n.ended[id] = append(n.ended[id], raw)
	if s.agreements[id] == nil {
		return nil
	}
	card := func(org protocol.OrgID) *crypto.Card { return s.cards[org] }
	var err error
	if kind == protocol.LetterSuspension {
		_, err = crypto.VerifySuspension(o, s.network, card)
	} else {
		_, err = crypto.VerifyTermination(o, s.network, card)
	}
	if err != nil {
		n.log.Warn("leaving out a termination or suspension of the journal", "agreement", id, "err", err)
		return nil
	}
	return n.changeIf(func(tx *store.Tx) (bool, error) {
		var doc agreementDoc
		ok, err := getDoc(tx, kindAgreement, id[:], &doc)
		if err != nil || !ok {
			return false, err
		}
		was := protocol.Encode(&doc)
		doc.Terminations = joinEnds(doc.Terminations, n.ended[id])
		doc.Suspensions = joinSuspensions(doc.Suspensions, n.ended[id])
		if slices.Equal(was, protocol.Encode(&doc)) {
			return false, nil
		}
		var letter *pendingLetter
		if o.Org == n.org { // whoever has to be told may not have been, before the process ended
			letter = &pendingLetter{Parties: s.agreements[id].Parties, Kind: kind, Content: raw}
		}
		return true, errors.Join(putDoc(tx, kindAgreement, id[:], &doc), keepLetter(tx, letter))
	})
}

// joinEnds joins rejections or terminations of one agreement: of each party the one that counts
// earliest, of two of one time the one with the lower encoding, so that nodes to which a party
// says it differently end up with the same. What is neither is left out.
func joinEnds(lists ...[][]byte) (out [][]byte) {
	type end struct {
		at  uint64
		raw []byte
	}
	best := map[protocol.OrgID]end{}
	for _, raw := range slices.Concat(lists...) {
		var o protocol.OrgSigned
		var t protocol.Termination
		var r protocol.Rejection
		if protocol.Decode(raw, maxDocument, &o) != nil {
			continue
		}
		var at uint64
		if protocol.Decode(o.Statement, maxDocument, &t) == nil {
			at = t.Effective
		} else if protocol.Decode(o.Statement, maxDocument, &r) == nil {
			at = r.At
		} else {
			continue
		}
		if b, ok := best[o.Org]; !ok || at < b.at || at == b.at && bytes.Compare(raw, b.raw) < 0 {
			best[o.Org] = end{at, raw}
		}
	}
	for _, b := range best {
		out = append(out, b.raw)
	}
	return sortedSet(out)
}

// endings reports whether what ends an agreement ends this one, by parties of it.
func (a *agreement) endings() bool {
	for _, t := range a.terminations {
		if t.Agreement != a.ID || !slices.Contains(a.Parties, t.Org) {
			return false
		}
	}
	for _, r := range a.rejections {
		if r.Agreement != a.ID || !slices.Contains(a.Parties, r.Org) {
			return false
		}
	}
	for _, p := range a.suspensions {
		if p.Agreement != a.ID || !slices.Contains(a.Parties, p.Org) {
			return false
		}
	}
	return true
}

// receiveLetter takes what a letter brings. It is called by the gate after the letter's
// place and sender were verified. An error means that the letter is worthless, not that
// anything is wrong here.
func (n *Node) receiveLetter(l *protocol.Letter) error {
	s := n.snap.Load()
	card := s.card
	switch l.Kind {
	case protocol.LetterProposal, protocol.LetterCountersign:
		var signed protocol.SignedAgreement
		if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &signed); err != nil {
			return err
		}
		a, err := crypto.VerifyAgreement(&signed, s.network, card)
		if err != nil {
			return err
		}
		if !slices.Contains(a.Parties, n.org) || !slices.Contains(a.Parties, l.Sender) || slices.Contains(a.Missing, l.Sender) {
			return protocol.Errorf(protocol.ErrWrongContext, "agreement from %s is not signed by it, or not with us", l.Sender.Short())
		}
		if s.agreements[a.ID] == nil && (n.inboxFull(s) || s.unfinished(l.Sender) >= maxUnfinished) {
			return protocol.Errorf(protocol.ErrOversize, "the inbox of proposals is full; reject some")
		}
		return n.keepAgreement(&signed, l.Sender, nil)
	case protocol.LetterTermination:
		var o protocol.OrgSigned
		if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &o); err != nil {
			return err
		}
		t, err := crypto.VerifyTermination(&o, s.network, card)
		if err != nil {
			return err
		}
		a := s.agreements[t.Agreement]
		if a == nil {
			return fmt.Errorf("termination of an agreement that is not known: %w", errEarly)
		}
		if t.Org != l.Sender || !slices.Contains(a.Parties, l.Sender) {
			return protocol.Errorf(protocol.ErrWrongContext, "termination is not by a party of an agreement known here")
		}
		return n.keepEnd(t.Agreement, &o, l.Kind, nil)
	case protocol.LetterSuspension:
		var o protocol.OrgSigned
		if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &o); err != nil {
			return err
		}
		p, err := crypto.VerifySuspension(&o, s.network, card)
		if err != nil {
			return err
		}
		a := s.agreements[p.Agreement]
		if a == nil {
			return fmt.Errorf("suspension of an agreement that is not known: %w", errEarly)
		}
		if p.Org != l.Sender || !slices.Contains(a.Parties, l.Sender) {
			return protocol.Errorf(protocol.ErrWrongContext, "suspension is not by a party of an agreement known here")
		}
		return n.keepEnd(p.Agreement, &o, l.Kind, nil)
	case protocol.LetterRejection:
		var o protocol.OrgSigned
		if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &o); err != nil {
			return err
		}
		r, err := crypto.VerifyRejection(&o, s.network, card)
		if err != nil {
			return err
		}
		a := s.agreements[r.Agreement]
		if a == nil || r.Org != l.Sender || !slices.Contains(a.Parties, l.Sender) || len(a.Missing) == 0 {
			return protocol.Errorf(protocol.ErrWrongContext, "rejection is not by a party of a proposal known here")
		}
		return n.keepEnd(r.Agreement, &o, l.Kind, nil)
	}
	switch l.Kind {
	case protocol.LetterMandate, protocol.LetterMandateEnd:
		return n.receiveMandate(s, l)
	case protocol.LetterRefusal:
		return n.receiveRefusal(s, l)
	case protocol.LetterExclusionAcks:
		return n.receiveAcks(s, l)
	case protocol.LetterRequest:
		return n.receiveRequest(s, l)
	case protocol.LetterReply:
		return n.receiveReply(s, l)
	case protocol.LetterErasureRequest:
		return n.receiveErasureRequest(s, l)
	case protocol.LetterErasureAnswer:
		return n.receiveErasureAnswer(s, l)
	}
	return protocol.Errorf(protocol.ErrMalformed, "letter of unknown kind %d", l.Kind)
}

// maxUnfinished bounds the agreements of one proposer that not all have signed, answered or not.
const maxUnfinished = 100

// unfinished counts them.
func (s *snapshot) unfinished(proposer protocol.OrgID) (count int) {
	for _, a := range s.agreements {
		if a.doc.Proposer == proposer && len(a.Missing) > 0 {
			count++
		}
	}
	return count
}

// maxInbox bounds the proposals that wait for an answer.
const maxInbox = 500

func (n *Node) inboxFull(s *snapshot) bool { return n.waiting(s) >= maxInbox }

// waiting counts the proposals that wait for this organisation's answer.
func (n *Node) waiting(s *snapshot) (waiting int) {
	for _, a := range s.agreements {
		if slices.Contains(a.Missing, n.org) && len(a.rejections) == 0 {
			waiting++
		}
	}
	return waiting
}
