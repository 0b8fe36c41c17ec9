package node

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Publishing on behalf of another: an organisation that has no node, or whose node is down, gives
// one that has a mandate. What is published under it is the agent's own, by its agreements, and says
// on whose behalf. A mandate that is revoked covers nothing that is signed afterwards.

// mandateDoc is a mandate as it is kept, under its id and its principal: another's word about the
// same id fills no place of the principal's.
type mandateDoc struct {
	_       struct{}             `cbor:",toarray"`
	Mandate []protocol.OrgSigned // none if only its revocation is known
	Revoked []protocol.OrgSigned // none, or one
}

// mandateKey names a mandate and who gave it.
type mandateKey struct {
	id        protocol.MandateID
	principal protocol.OrgID
}

func (k mandateKey) bytes() []byte { return append(slices.Clone(k.id[:]), k.principal[:]...) }

// mandate is a mandate with its state, as known here.
type mandate struct {
	id      protocol.MandateID
	said    *protocol.Mandate   // nil: only its revocation is known, or it does not verify any more
	signed  *protocol.OrgSigned // nil with said
	revoked *protocol.MandateRevocation
	doc     mandateDoc
}

// maxMandatesOf bounds the mandates and revocations of one principal that are kept. One ends after
// MaxMandateDays; an honest principal has few.
const maxMandatesOf = 1000

// loadMandates reads them. A mandate whose signature counts no more, since the key of its principal
// was given up, covers nothing; a revocation was verified when it came, and goes on counting.
func (n *Node) loadMandates(tx *store.Tx, s *snapshot) error {
	s.mandates = map[mandateKey]*mandate{}
	return scanDocs(tx, kindMandate, func(id []byte, d *mandateDoc) error {
		if len(id) != 64 {
			return protocol.Errorf(protocol.ErrMalformed, "a mandate is kept under a key of %d bytes", len(id))
		}
		key := mandateKey{protocol.MandateID(id[:32]), protocol.OrgID(id[32:])}
		m := &mandate{id: key.id, doc: *d}
		if len(d.Mandate) > 0 {
			said, err := crypto.VerifyMandate(&d.Mandate[0], s.network, s.card)
			if err != nil {
				n.log.Debug("a mandate does not verify", "mandate", key.id, "err", err)
			} else {
				m.said, m.signed = said, &m.doc.Mandate[0]
			}
		}
		if len(d.Revoked) > 0 {
			m.revoked = new(protocol.MandateRevocation)
			if err := protocol.Decode(d.Revoked[0].Statement, maxDocument, m.revoked); err != nil {
				return err
			}
		}
		s.mandates[key] = m
		return nil
	})
}

func (s *snapshot) card(o protocol.OrgID) *crypto.Card { return s.cards[o] }

// refuses says why a mandate does not cover records in a topic that were signed at a time, Unix
// milliseconds; nil: it does.
func (s *snapshot) refuses(id protocol.MandateID, m *protocol.Mandate, topic string, tlp protocol.TLP, signed uint64) error {
	if err := m.Covers(topic, tlp, signed); err != nil {
		return err
	}
	if r, gone := s.removed[m.Principal]; gone && signed > r.At {
		return protocol.Errorf(protocol.ErrWrongContext, "%s, which gave the mandate, was removed from the network before", s.name(m.Principal))
	}
	if held := s.mandates[mandateKey{id, m.Principal}]; held != nil && held.revoked != nil && signed >= held.revoked.At {
		return protocol.Errorf(protocol.ErrWrongContext, "%s revoked the mandate before: %s", s.name(m.Principal), dashIfEmpty(held.revoked.Reason))
	}
	return nil
}

func dashIfEmpty(s string) string {
	if s == "" {
		return "no reason given"
	}
	return s
}

// mandateFor finds the mandate under which this organisation publishes in a topic on behalf of
// another: of several the one with the highest ceiling, then the one that lasts longest.
func (s *snapshot) mandateFor(self, principal protocol.OrgID, topic string, now uint64) (*mandate, error) {
	if principal == self {
		return nil, fmt.Errorf("%w: this organisation publishes for itself without --on-behalf", ErrRefused)
	}
	if !s.members[principal] {
		return nil, fmt.Errorf("%w: %s is no member of this network, so nobody could verify that it gave a mandate; invite it ('entente network invite'), or publish in your own name and say in the object where it comes from", ErrRefused, s.name(principal))
	}
	if err := s.checkPinned(self, principal); err != nil {
		return nil, err
	}
	var best *mandate
	var why error
	ceiling := func(m *mandate) protocol.TLP {
		if m.said.TLP == protocol.TLPUnset {
			return protocol.TLPRed
		}
		return m.said.TLP
	}
	for _, m := range s.mandates {
		if m.said == nil || m.said.Principal != principal || m.said.Agent != self {
			continue
		}
		if err := s.refuses(m.id, m.said, topic, protocol.TLPUnset, now); err != nil {
			why = err
			continue
		}
		if best == nil || ceiling(m) > ceiling(best) || ceiling(m) == ceiling(best) && (m.said.NotAfter > best.said.NotAfter ||
			m.said.NotAfter == best.said.NotAfter && bytes.Compare(m.id[:], best.id[:]) < 0) {
			best = m
		}
	}
	if best != nil {
		return best, nil
	}
	what := ""
	if why != nil {
		what = " (" + why.Error() + ")"
	}
	return nil, fmt.Errorf("%w: no mandate of %s lets this organisation publish on its behalf in topic %q%s; ask it for one ('entente mandate give' at its node), or take the file that it gave you ('entente mandate import')",
		ErrRefused, s.name(principal), topic, what)
}

// behalf is how crypto says under which mandate something is published.
func (m *mandate) behalf() *crypto.OnBehalf {
	if m == nil {
		return nil
	}
	return &crypto.OnBehalf{Mandate: *m.said, ID: m.id}
}

// principalOf is on whose behalf a record was published; zero: its originator's own.
func principalOf(b *crypto.OnBehalf) protocol.OrgID {
	if b == nil {
		return protocol.OrgID{}
	}
	return b.Principal
}

// GiveMandate signs a mandate for an agent, and sends it. With none of topics it is for all. from and
// until are Unix milliseconds; from 0: now.
func (n *Node) GiveMandate(agent protocol.OrgID, topics []string, tlp protocol.TLP, from, until uint64) (protocol.MandateID, error) {
	s := n.snap.Load()
	switch {
	case s.network == protocol.NoNetwork:
		return protocol.MandateID{}, ErrNoNetwork
	case n.op() == nil:
		return protocol.MandateID{}, ErrNoOperationalKey
	case !s.members[agent]:
		return protocol.MandateID{}, fmt.Errorf("%s is no member of this network", s.name(agent))
	}
	if err := s.checkPinned(n.org, agent); err != nil {
		return protocol.MandateID{}, err
	}
	if err := n.believeClock(); err != nil {
		return protocol.MandateID{}, err
	}
	if from == 0 {
		from = uint64(nowMillis())
	}
	topics = slices.Clone(topics)
	slices.Sort(topics)
	if topics = slices.Compact(topics); len(topics) == 0 {
		topics = []string{protocol.Any}
	}
	var number [8]byte
	rand.Read(number[:])
	m := &protocol.Mandate{Version: 1, Network: s.network, Principal: n.org, Agent: agent, Topics: topics, TLP: tlp, NotBefore: from, NotAfter: until,
		Number: binary.BigEndian.Uint64(number[:]) | 1}
	signed, err := crypto.SignMandate(m, n.op())
	if err != nil {
		return protocol.MandateID{}, err
	}
	id := protocol.NewMandateID(signed.Statement)
	letter := &pendingLetter{Parties: []protocol.OrgID{agent}, Kind: protocol.LetterMandate, Content: protocol.Encode(&signed)}
	if err := n.keepMandate(mandateKey{id, n.org}, &mandateDoc{Mandate: []protocol.OrgSigned{signed}}, letter); err != nil {
		return protocol.MandateID{}, err
	}
	n.sendDecided()
	return id, nil
}

// RevokeMandate ends a mandate that this organisation gave, for what is signed from now on. It goes to
// the agent and to all partners of this organisation; others go by the mandate's end, or by its file.
func (n *Node) RevokeMandate(id protocol.MandateID, reason string) error {
	s := n.snap.Load()
	m := s.mandates[mandateKey{id, n.org}]
	switch {
	case m == nil || m.said == nil:
		return fmt.Errorf("mandate %s: %w; 'entente mandate list' shows those that this organisation gave", id.Short(), ErrNotFound)
	case m.revoked != nil:
		return fmt.Errorf("mandate %s is revoked already", id.Short())
	case n.op() == nil:
		return ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return err
	}
	now := uint64(nowMillis())
	signed, err := crypto.SignMandateRevocation(&protocol.MandateRevocation{Version: 1, Network: s.network, Principal: n.org, Mandate: id, At: now, Reason: reason}, n.op())
	if err != nil {
		return err
	}
	parties := []protocol.OrgID{m.said.Agent}
	for org := range s.partners(n.org, now) {
		if org != m.said.Agent && org != n.org {
			parties = append(parties, org)
		}
	}
	slices.SortFunc(parties, protocol.OrgID.Compare)
	letter := &pendingLetter{Parties: parties, Kind: protocol.LetterMandateEnd, Content: protocol.Encode(&signed)}
	if err := n.keepMandate(mandateKey{id, n.org}, &mandateDoc{Revoked: []protocol.OrgSigned{signed}}, letter); err != nil {
		return err
	}
	n.sendDecided()
	return nil
}

// keepMandate joins what is known of a mandate, verified, with what is held, and with it the letter
// that has to be sent about it, if any.
func (n *Node) keepMandate(key mandateKey, d *mandateDoc, letter *pendingLetter) error {
	return n.changeIf(func(tx *store.Tx) (bool, error) {
		changed, err := n.joinMandate(tx, key, d)
		if err != nil || !changed {
			return false, err
		}
		return true, keepLetter(tx, letter)
	})
}

func (n *Node) joinMandate(tx *store.Tx, key mandateKey, d *mandateDoc) (changed bool, err error) {
	var held mandateDoc
	found, err := getDoc(tx, kindMandate, key.bytes(), &held)
	if err != nil {
		return false, err
	}
	if !found && key.principal != n.org {
		count := 0
		for k := range n.snap.Load().mandates {
			if k.principal == key.principal {
				count++
			}
		}
		if count >= maxMandatesOf {
			return false, protocol.Errorf(protocol.ErrOversize, "%d mandates of %s are held, and no more are kept", count, key.principal.Short())
		}
	}
	next := mandateDoc{Mandate: earlierSigned(held.Mandate, d.Mandate), Revoked: earlierSigned(held.Revoked, d.Revoked)}
	if found && bytes.Equal(protocol.Encode(&held), protocol.Encode(&next)) {
		return false, nil
	}
	return true, putDoc(tx, kindMandate, key.bytes(), &next)
}

// earlierSigned joins two lists of at most one statement: of two revocations the earlier counts, of
// two of one time, and of two signatures under one mandate, the one with the lower encoding.
func earlierSigned(a, b []protocol.OrgSigned) []protocol.OrgSigned {
	if len(a) == 0 || len(b) == 0 {
		return append(slices.Clone(a), b...)
	}
	at := func(o *protocol.OrgSigned) (t uint64) {
		var r protocol.MandateRevocation
		if protocol.Decode(o.Statement, maxDocument, &r) == nil {
			t = r.At
		}
		return t
	}
	x, y := at(&a[0]), at(&b[0])
	if y < x || y == x && bytes.Compare(protocol.Encode(&b[0]), protocol.Encode(&a[0])) < 0 {
		return b
	}
	return a
}

// receiveMandate takes a mandate, or its end, that a letter brings from its principal.
func (n *Node) receiveMandate(s *snapshot, l *protocol.Letter) error {
	var o protocol.OrgSigned
	if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &o); err != nil {
		return err
	}
	if o.Org != l.Sender {
		return protocol.Errorf(protocol.ErrWrongContext, "a mandate from %s is signed by another", l.Sender.Short())
	}
	f := &protocol.MandateFile{Version: 1}
	if l.Kind == protocol.LetterMandate {
		f.Mandate = o
	} else {
		f.Revoked = []protocol.OrgSigned{o}
	}
	_, err := n.takeMandate(s, f)
	return err
}

// takeMandate verifies what came of a mandate, by a letter or a file, and keeps what concerns this
// organisation: its own, those given to it, and every revocation.
func (n *Node) takeMandate(s *snapshot, f *protocol.MandateFile) (id protocol.MandateID, err error) {
	var d mandateDoc
	var principal protocol.OrgID
	if len(f.Mandate.Statement) > 0 {
		m, err := crypto.VerifyMandate(&f.Mandate, s.network, s.card)
		if err != nil {
			return id, err
		}
		id, principal = protocol.NewMandateID(f.Mandate.Statement), m.Principal
		if m.Agent == n.org || m.Principal == n.org {
			d.Mandate = []protocol.OrgSigned{f.Mandate}
		} else if len(f.Revoked) == 0 {
			return id, protocol.Errorf(protocol.ErrWrongContext, "the mandate is given by %s to %s, and neither is this organisation", s.name(m.Principal), s.name(m.Agent))
		}
	}
	if len(f.Revoked) > 0 {
		r, err := crypto.VerifyMandateRevocation(&f.Revoked[0], s.network, s.card)
		if err != nil {
			return id, err
		}
		if principal != (protocol.OrgID{}) && (r.Principal != principal || r.Mandate != id) {
			return id, protocol.Errorf(protocol.ErrWrongContext, "the revocation is of another mandate")
		}
		id, principal, d.Revoked = r.Mandate, r.Principal, f.Revoked
	}
	if principal == (protocol.OrgID{}) {
		return id, protocol.Errorf(protocol.ErrMalformed, "there is neither a mandate nor a revocation in it")
	}
	if !s.rostered(principal) {
		return id, fmt.Errorf("%s gives a mandate and is not known to be a member of this network: %w", s.name(principal), errEarly)
	}
	return id, n.keepMandate(mandateKey{id, principal}, &d, nil)
}

// ImportMandate takes a mandate, or its revocation, from a file.
func (n *Node) ImportMandate(data []byte) (protocol.MandateID, error) {
	var f protocol.MandateFile
	if err := protocol.Decode(data, protocol.MaxLetterSize, &f); err != nil {
		return protocol.MandateID{}, fmt.Errorf("reading a mandate: %w", err)
	}
	return n.takeMandate(n.snap.Load(), &f)
}

// MandateFile returns a mandate as a file to be carried by hand, with its revocation if there is one.
func (n *Node) MandateFile(id protocol.MandateID) ([]byte, error) {
	for key, m := range n.snap.Load().mandates {
		if key.id == id && m.said != nil {
			return protocol.Encode(&protocol.MandateFile{Version: 1, Mandate: *m.signed, Revoked: m.doc.Revoked}), nil
		}
	}
	return nil, fmt.Errorf("mandate %s: %w; 'entente mandate list' shows them", id.Short(), ErrNotFound)
}

// MandateInfo is a mandate as it is shown.
type MandateInfo struct {
	ID        protocol.MandateID `json:"id"`
	State     string             `json:"state"` // in force, not yet, ended, revoked, void
	Principal OrgRef             `json:"principal"`
	Agent     OrgRef             `json:"agent"`
	Topics    []string           `json:"topics"` // "*": all
	TLP       string             `json:"tlp,omitempty"`
	From      time.Time          `json:"from"`
	Until     time.Time          `json:"until"`
	Revoked   *time.Time         `json:"revoked,omitempty"`
	Reason    string             `json:"reason,omitempty"`
}

// Mandates lists the mandates that this organisation gave and has, the newest first.
func (n *Node) Mandates() []MandateInfo {
	s, now := n.snap.Load(), uint64(nowMillis())
	list := []MandateInfo{}
	for _, m := range s.mandates {
		said, void := m.said, m.said == nil
		if void && len(m.doc.Mandate) > 0 {
			said = new(protocol.Mandate)
			if protocol.Decode(m.doc.Mandate[0].Statement, maxDocument, said) != nil {
				continue
			}
		} else if void {
			continue
		}
		info := MandateInfo{ID: m.id, Principal: s.ref(said.Principal), Agent: s.ref(said.Agent), Topics: said.Topics, From: millis(said.NotBefore), Until: millis(said.NotAfter)}
		if said.TLP != protocol.TLPUnset {
			info.TLP = said.TLP.String()
		}
		switch {
		case m.revoked != nil:
			at := millis(m.revoked.At)
			info.State, info.Revoked, info.Reason = "revoked", &at, m.revoked.Reason
		case void, !s.members[said.Principal]:
			info.State = "void"
		case now < said.NotBefore:
			info.State = "not yet"
		case now >= said.NotAfter:
			info.State = "ended"
		default:
			info.State = "in force"
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b MandateInfo) int {
		if c := b.From.Compare(a.From); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return list
}

// siblingMandate is a mandate as siblings compare it.
func siblingMandate(tx *store.Tx, id []byte) (*protocol.SiblingMandate, bool, error) {
	var d mandateDoc
	ok, err := getDoc(tx, kindMandate, id, &d)
	if err != nil || !ok || len(id) != 64 {
		return nil, false, err
	}
	return &protocol.SiblingMandate{ID: protocol.MandateID(id[:32]), Mandate: d.Mandate, Revoked: d.Revoked}, true, nil
}

// joinSiblingMandate takes what a sibling holds of a mandate, as if it came from its principal.
func (n *Node) joinSiblingMandate(tx *store.Tx, m *protocol.SiblingMandate) (bool, error) {
	s := n.snap.Load()
	d := &mandateDoc{Mandate: m.Mandate, Revoked: m.Revoked}
	var principal protocol.OrgID
	for i := range m.Mandate {
		said, err := crypto.VerifyMandate(&m.Mandate[i], s.network, s.card)
		if err != nil || protocol.NewMandateID(m.Mandate[i].Statement) != m.ID || said.Agent != n.org && said.Principal != n.org {
			n.log.Debug("leaving out a mandate of a sibling", "mandate", m.ID, "err", err)
			return false, nil // a card is missing, perhaps
		}
		principal = said.Principal
	}
	for i := range m.Revoked {
		r, err := crypto.VerifyMandateRevocation(&m.Revoked[i], s.network, s.card)
		if err != nil || r.Mandate != m.ID || len(m.Mandate) > 0 && r.Principal != principal {
			n.log.Debug("leaving out the revocation of a mandate of a sibling", "mandate", m.ID, "err", err)
			return false, nil
		}
		principal = r.Principal
	}
	changed, err := n.joinMandate(tx, mandateKey{m.ID, principal}, d)
	if errors.Is(err, protocol.ErrOversize) {
		return false, nil
	}
	return changed, err
}

// BehalfView says on whose behalf a record was published.
type BehalfView struct {
	Principal OrgRef             `json:"principal"`
	Mandate   protocol.MandateID `json:"mandate"`
}

// may asks the local rules about somebody and a record. A rule that speaks of the originator is asked
// about the principal, too: both must be let.
func (s *snapshot) may(who *rules.Principal, action rules.Action, what rules.Resource, now uint64) rules.Verdict {
	who = s.people.who(who)
	v := s.rules.May(who, action, what, now)
	if !v.Allow || what.Subject == nil || what.Subject.Principal == (protocol.OrgID{}) {
		return v
	}
	what.Originator = s.policy.Org(what.Subject.Principal)
	also := s.rules.May(who, action, what, now)
	also.ValidUntil = min(also.ValidUntil, v.ValidUntil)
	return also
}
