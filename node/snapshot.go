package node

import (
	"bytes"
	"maps"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// snapshot is all that decisions are made from, at one generation: cards, roster, trust,
// agreements, topics. It is immutable; a change makes a new one with a higher generation.
type snapshot struct {
	generation uint64
	network    protocol.NetworkID
	bootstrap  []protocol.Bootstrap
	genesis    *protocol.Genesis
	statements map[protocol.Hash]*protocol.RosterStatement
	bodies     map[statementKey]any // verified statements; later snapshots take them over
	cards      map[protocol.OrgID]*crypto.Card
	conflicts  map[protocol.OrgID]uint64 // whose card is one of two of its order
	members    map[protocol.OrgID]bool
	sponsors   map[protocol.OrgID]protocol.OrgID
	removed    map[protocol.OrgID]protocol.Removal
	pins       map[protocol.OrgID]uint64
	nodes      map[protocol.NodeID]protocol.OrgID
	signers    map[protocol.SigningKey]signer
	agreements map[protocol.AgreementID]*agreement
	halted     []*agreement                // of agreements: those that a party ended or suspended, at any time
	topics     map[protocol.TopicID]string // those that this node is in, direct ones among them
	directs    map[protocol.TopicID]*directTopic
	secrets    map[uint32][][32]byte
	heirs      map[protocol.AgreementID][]*agreement // those that amend one
	lives      map[protocol.AgreementID]*policy.Life
	mandates   map[mandateKey]*mandate
	rules      *rules.Set // nil: none
	readRules  *rules.Set // as they were read; rules is another where they are in doubt
	rulesDoubt bool
	rulesDoc   *rulesDoc // nil: none
	people     *people   // nil: none
	second     map[Act]protocol.SiblingSecond
	policy     *policy.State
}

// signer is the organisation behind a signing key, and where the key's feeds end if its
// node was removed.
type signer struct {
	org     protocol.OrgID
	node    protocol.NodeID
	removed bool
	heads   []protocol.FeedHead
}

// agreement is an agreement with its state, as known here.
type agreement struct {
	*crypto.Agreement
	doc          agreementDoc
	rejections   []protocol.Rejection
	terminations []protocol.Termination
	suspensions  []protocol.Suspension
}

func newSnapshot(generation uint64) *snapshot {
	return &snapshot{
		generation: generation,
		statements: map[protocol.Hash]*protocol.RosterStatement{},
		bodies:     map[statementKey]any{},
		cards:      map[protocol.OrgID]*crypto.Card{},
		conflicts:  map[protocol.OrgID]uint64{},
		members:    map[protocol.OrgID]bool{},
		sponsors:   map[protocol.OrgID]protocol.OrgID{},
		removed:    map[protocol.OrgID]protocol.Removal{},
		pins:       map[protocol.OrgID]uint64{},
		nodes:      map[protocol.NodeID]protocol.OrgID{},
		signers:    map[protocol.SigningKey]signer{},
		agreements: map[protocol.AgreementID]*agreement{},
		topics:     map[protocol.TopicID]string{},
		directs:    map[protocol.TopicID]*directTopic{},
		secrets:    map[uint32][][32]byte{},
	}
}

// loadSnapshot reads everything from the store. verified caches cards across loads, because
// verifying is most of the cost.
func (n *Node) loadSnapshot(tx *store.Tx, generation uint64) (*snapshot, error) {
	s := newSnapshot(generation)
	for _, load := range []func(*store.Tx, *snapshot) error{
		n.loadNetwork, n.loadCards, n.loadRoster, n.loadTopics, n.loadAgreements, n.loadMandates, n.loadRules, n.loadPeople,
		n.loadNetwork, n.loadCards, n.loadRoster, n.loadTopics, n.loadDirects, n.loadAgreements, n.loadRules,
	} {
		if err := load(tx, s); err != nil {
			return nil, err
		}
	}
	s.policy = n.policyState(s)
	return s, nil
}

func (n *Node) loadNetwork(tx *store.Tx, s *snapshot) error {
	var doc networkDoc
	if _, err := getDoc(tx, kindSetting, []byte("network"), &doc); err != nil {
		return err
	}
	s.network, s.bootstrap = doc.Network, doc.Bootstrap
	return scanDocs(tx, kindPin, func(id []byte, d *pinDoc) error {
		s.pins[protocol.OrgID(id)] = d.At
		return nil
	})
}

func (n *Node) loadCards(tx *store.Tx, s *snapshot) error {
	err := scanDocs(tx, kindCard, func(id []byte, d *protocol.SignedCard) error {
		card, err := n.verifyCard(d)
		if err != nil {
			return err
		}
		s.cards[card.Org] = card
		return nil
	})
	if err == nil {
		err = scanDocs(tx, kindConflict, func(id []byte, d *conflictDoc) error {
			if c := s.cards[protocol.OrgID(id)]; c != nil && c.Order == d.Order {
				s.conflicts[c.Org] = d.At
			}
			return nil
		})
	}
	for _, c := range s.cards {
		for _, r := range c.Card.Removed {
			s.signers[r.Signing] = signer{org: c.Org, node: r.Node, removed: true, heads: r.Heads}
		}
		for _, e := range c.Nodes {
			if _, taken := s.signers[e.Signing]; !taken {
				s.signers[e.Signing] = signer{org: c.Org, node: e.Node}
			}
		}
	}
	return err
}

// verifyCard verifies a card, once for each.
func (n *Node) verifyCard(signed *protocol.SignedCard) (*crypto.Card, error) {
	h := signed.Hash()
	if c, ok := n.verified.Load(h); ok && c.(*crypto.Card).Signed.Sig == signed.Sig {
		return c.(*crypto.Card), nil
	}
	c, err := crypto.VerifyCard(signed)
	if err == nil {
		n.verified.Store(h, c)
	}
	return c, err
}

// loadRoster finds the members: the founder, and whoever a member sponsored, less those
// that a steward removed. The statements are a set, so it goes on until nothing changes.
func (n *Node) loadRoster(tx *store.Tx, s *snapshot) error {
	err := scanDocs(tx, kindRoster, func(id []byte, st *protocol.RosterStatement) error {
		s.statements[protocol.Hash(id)] = st
		return nil
	})
	if err != nil || s.network == protocol.NoNetwork {
		return err
	}
	var sponsorships []*protocol.Sponsorship
	var removals []*protocol.Removal
	for _, h := range slices.SortedFunc(maps.Keys(s.statements), compareHash) {
		st := s.statements[h]
		body, err := n.verifyStatement(s, st)
		if err != nil {
			continue // its signer's card has not come yet, or never will
		}
		s.bodies[keyOf(st, s.cards[st.Signer])] = body
		switch b := body.(type) {
		case *protocol.Genesis:
			if b.ID() == s.network {
				s.genesis = b
			}
		case *protocol.Sponsorship:
			sponsorships = append(sponsorships, b)
		case *protocol.Removal:
			removals = append(removals, b)
		}
	}
	if s.genesis == nil {
		return nil
	}
	s.members[s.genesis.Founder] = true
	for _, o := range s.genesis.Stewards {
		s.members[o] = true
	}
	for changed := true; changed; {
		changed = false
		for _, sp := range sponsorships {
			if s.members[sp.Sponsor] && !s.members[sp.Invitee] {
				s.members[sp.Invitee], changed = true, true
				s.sponsors[sp.Invitee] = sp.Sponsor
			}
		}
	}
	for _, r := range removals {
		if !slices.Contains(s.genesis.Stewards, r.Steward) {
			continue
		}
		readmitted := slices.ContainsFunc(sponsorships, func(sp *protocol.Sponsorship) bool {
			return sp.Invitee == r.Removed && sp.Issued > r.At && slices.Contains(s.genesis.Stewards, sp.Sponsor)
		})
		if !readmitted {
			delete(s.members, r.Removed)
			s.removed[r.Removed] = *r
		}
	}
	now := uint64(nowMillis())
	for org := range s.members {
		c := s.cards[org]
		if c == nil {
			continue
		}
		for _, e := range c.Nodes {
			if now < e.NotAfter {
				s.nodes[e.Node] = org
			}
		}
	}
	return nil
}

// rostered reports whether an organisation is a member, or was one: what it said then goes on
// counting, and needs its card to be verified.
func (s *snapshot) rostered(org protocol.OrgID) bool {
	_, removed := s.removed[org]
	return removed || s.members[org]
}

func compareHash(a, b protocol.Hash) int { return protocol.OrgID(a).Compare(protocol.OrgID(b)) }

// statementKey names a statement with its signature, verified with one card.
type statementKey struct {
	statement protocol.Hash
	key       protocol.OpKey
	sig       protocol.Signature
	card      protocol.Hash
}

func keyOf(st *protocol.RosterStatement, card *crypto.Card) statementKey {
	return statementKey{st.Hash(), st.Key, st.Sig, card.Hash}
}

// verifyStatement verifies a statement with the card of its signer, once for each.
func (n *Node) verifyStatement(s *snapshot, st *protocol.RosterStatement) (any, error) {
	card := s.cards[st.Signer]
	if card == nil {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "roster statement is signed by %s, of which no card is known", st.Signer.Short())
	}
	var body any
	if before := n.snap.Load(); before != nil {
		body = before.bodies[keyOf(st, card)]
	}
	if body == nil {
		var err error
		if body, err = crypto.VerifyStatement(st, card); err != nil {
			return nil, err
		}
	}
	var network protocol.NetworkID
	switch b := body.(type) {
	case *protocol.Genesis:
		network = b.ID()
	case *protocol.Sponsorship:
		network = b.Network
	case *protocol.Removal:
		network = b.Network
	case *protocol.TopicSecret:
		network = b.Network
	}
	if network != s.network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "roster statement belongs to another network")
	}
	return body, nil
}

func (n *Node) loadTopics(tx *store.Tx, s *snapshot) error {
	s.topics[protocol.NewTopicID(s.network, protocol.ControlTopic)] = protocol.ControlTopic
	if err := scanDocs(tx, kindTopic, func(_ []byte, d *topicDoc) error {
		s.topics[protocol.NewTopicID(s.network, d.Name)] = d.Name
		return nil
	}); err != nil {
		return err
	}
	return scanDocs(tx, kindSecret, func(_ []byte, d *secretDoc) error {
		s.secrets[d.Period] = append(s.secrets[d.Period], d.Secret)
		return nil
	})
}

func (n *Node) loadAgreements(tx *store.Tx, s *snapshot) error {
	before := n.snap.Load()
	return scanDocs(tx, kindAgreement, func(id []byte, d *agreementDoc) error {
		a := before.stillHolds(s, protocol.AgreementID(id), d)
		if a == nil {
			var err error
			if a, err = readAgreement(s, d); err != nil {
				n.log.Warn("leaving an agreement out", "agreement", protocol.AgreementID(id), "err", err)
				return nil
			}
		}
		s.agreements[a.ID] = a
		if len(a.terminations)+len(a.suspensions) > 0 {
			s.halted = append(s.halted, a)
		}
		return nil
	})
}

// stillHolds returns an agreement of a snapshot, which may be nil, if nothing that it was verified
// by is otherwise in the next one: what was signed, what ended it, and the cards of its parties.
func (s *snapshot) stillHolds(next *snapshot, id protocol.AgreementID, d *agreementDoc) *agreement {
	if s == nil || s.network != next.network {
		return nil
	}
	a := s.agreements[id]
	if a == nil || !bytes.Equal(a.doc.Signed, d.Signed) || a.doc.FirstSeen != d.FirstSeen || a.doc.Proposer != d.Proposer ||
		!slices.EqualFunc(a.doc.Terminations, d.Terminations, bytes.Equal) || !slices.EqualFunc(a.doc.Rejections, d.Rejections, bytes.Equal) ||
		!slices.EqualFunc(a.doc.Suspensions, d.Suspensions, bytes.Equal) || a.doc.Complete != d.Complete {
		return nil
	}
	for _, p := range a.Parties {
		if was, is := s.cards[p], next.cards[p]; was == nil || is == nil || was.Hash != is.Hash {
			return nil
		}
	}
	return a
}

func readAgreement(s *snapshot, d *agreementDoc) (*agreement, error) {
	var signed protocol.SignedAgreement
	if err := protocol.Decode(d.Signed, maxDocument, &signed); err != nil {
		return nil, err
	}
	card := s.card
	v, err := crypto.VerifyAgreement(&signed, s.network, card)
	if err != nil {
		return nil, err
	}
	a := &agreement{Agreement: v, doc: *d}
	for _, raw := range d.Terminations {
		var o protocol.OrgSigned
		if err := protocol.Decode(raw, maxDocument, &o); err != nil {
			return nil, err
		}
		t, err := crypto.VerifyTermination(&o, s.network, card)
		if err != nil {
			return nil, err
		}
		a.terminations = append(a.terminations, *t)
	}
	for _, raw := range d.Suspensions {
		var o protocol.OrgSigned
		if err := protocol.Decode(raw, maxDocument, &o); err != nil {
			return nil, err
		}
		p, err := crypto.VerifySuspension(&o, s.network, card)
		if err != nil {
			return nil, err
		}
		a.suspensions = append(a.suspensions, *p)
	}
	for _, raw := range d.Rejections {
		var o protocol.OrgSigned
		if err := protocol.Decode(raw, maxDocument, &o); err != nil {
			return nil, err
		}
		r, err := crypto.VerifyRejection(&o, s.network, card)
		if err != nil {
			return nil, err
		}
		a.rejections = append(a.rejections, *r)
	}
	return a, nil
}

// policyState turns the snapshot into the values that package policy decides from.
func (n *Node) policyState(s *snapshot) *policy.State {
	now := uint64(nowMillis())
	orgs := map[protocol.OrgID]policy.Org{}
	for id, c := range s.cards {
		orgs[id] = policy.Org{ID: id, Name: c.Inception.Name, Kind: c.Inception.Kind, Country: c.Inception.Country,
			CardFresh: c.Fresh(now), Rostered: s.members[id]}
	}
	var agreements []policy.Agreement
	s.lives = s.readLives(now)
	for id, a := range s.agreements {
		if len(a.Missing) == 0 {
			agreements = append(agreements, s.lives[id].Agreement)
		}
	}
	state := policy.NewState(n.org, s.generation, orgs, agreements)
	if s.rules == nil {
		return state
	}
	return state.WithLocal(s.rules)
}

// grantable reports whether keys may be given to the nodes on an organisation's card: it is
// fresh, and the only one of its order.
func (s *snapshot) grantable(org protocol.OrgID, now uint64) bool {
	c := s.cards[org]
	return c != nil && c.Fresh(now) && s.conflicts[org] == 0
}

// name returns what an organisation calls itself, or its short id.
func (s *snapshot) name(org protocol.OrgID) string {
	if c := s.cards[org]; c != nil {
		return c.Inception.Name
	}
	return org.Short()
}
