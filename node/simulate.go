package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Bounds of a simulation: how many records are read in one transaction, how many classes of them
// are kept before they are decided, and how many examples are shown of each change.
const (
	simulatePage     = 2048
	simulateClasses  = 1 << 14
	simulateExamples = 3
)

// Simulation says what an agreement would have changed, had it been signed: of what was published
// and received since a time, who would have got it under it, and who under the agreements of now.
// Both answers are those of the function that enforces, for now. How many records a term lets
// through in a day is not counted. Nothing is written.
type Simulation struct {
	Title    string                `json:"title"`
	Amends   *protocol.AgreementID `json:"amends,omitempty"` // in whose place it was put
	Since    time.Time             `json:"since"`
	At       time.Time             `json:"at"`
	Own      int                   `json:"own"`      // records published by this organisation
	Received int                   `json:"received"` // records received
	Decided  int                   `json:"classes"`  // classes of them that were decided about
	Sends    []SimulatedOrg        `json:"sends"`    // own records: who would get them
	Comes    []SimulatedOrg        `json:"comes"`    // received ones: from whom they could come
	PassOn   []SimulatedOrg        `json:"pass_on"`  // received ones: to whom they could be passed on
}

// SimulatedOrg is what would change for one organisation, in records.
type SimulatedOrg struct {
	Org      OrgRef                `json:"organisation"`
	Now      int                   `json:"now"`     // under the agreements of now
	Planned  int                   `json:"planned"` // with the planned one
	Gained   int                   `json:"gained"`
	Lost     int                   `json:"lost"`
	GainedBy map[policy.Reason]int `json:"gained_by,omitempty"` // why they are refused now
	LostBy   map[policy.Reason]int `json:"lost_by,omitempty"`   // why they would be refused
	Gains    []SimulatedRecord     `json:"gains,omitempty"`     // examples
	Losses   []SimulatedRecord     `json:"losses,omitempty"`
	// Quarantined is how many records of this publisher lie in quarantine. They are judged anew once
	// an agreement with it is signed, and not before: what they say is not kept.
	Quarantined int `json:"quarantined,omitempty"`
}

// SimulatedRecord is an example of a change.
type SimulatedRecord struct {
	Record    protocol.RecordID `json:"record"`
	StixID    string            `json:"stix_id"`
	Type      string            `json:"type"`
	Topic     string            `json:"topic"`
	TLP       string            `json:"tlp"`
	Countries []string          `json:"countries,omitempty"`
	Text      string            `json:"text"` // why it is refused now, or would be
}

// Simulate answers what would be if an agreement were signed, by the records of the time since
// then. The draft may be one that is not signed by all yet; its network and secret may be missing.
func (n *Node) Simulate(ctx context.Context, draft protocol.Agreement, since time.Time) (*Simulation, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	s := n.snap.Load()
	if !slices.Contains(draft.Parties, n.org) {
		return nil, errors.New("this organisation is not a party of the draft")
	}
	now := uint64(nowMillis())
	if draft.NotAfter <= now {
		return nil, protocol.Errorf(protocol.ErrExpired, "the draft has ended already; correct not_after")
	}
	m, err := n.newSimulator(s, &draft, now)
	if err != nil {
		return nil, err
	}
	m.out.Since = since.UTC()
	if err := m.read(ctx, uint64(max(since.UnixMilli(), 0))); err != nil {
		return nil, err
	}
	return m.result()
}

// simulator gathers records by class, and decides about the classes.
type simulator struct {
	n                *Node
	s                *snapshot
	now, planned     *policy.State
	at               uint64
	to, from         []protocol.OrgID // whose answers may differ: to whom we send, from whom we receive
	partners         []protocol.OrgID
	confidence       bool // a term asks for it
	classes          map[simulatedClass]*simulatedGroup
	sends, comes, on map[protocol.OrgID]*SimulatedOrg
	out              *Simulation
}

// simulatedClass is what decisions are made from, and simulatedGroup the records of one class.
type simulatedClass struct {
	originator, publisher protocol.OrgID
	principal             protocol.OrgID
	topic, kind, handling string
	confidence            uint8
	direct                protocol.TopicID // in which it came
}

type simulatedGroup struct {
	handling protocol.Handling
	bounds   []protocol.Bound
	records  int
	examples []SimulatedRecord
}

func (n *Node) newSimulator(s *snapshot, draft *protocol.Agreement, at uint64) (*simulator, error) {
	m := &simulator{n: n, s: s, now: s.policy, planned: s.policy.Planned(draft, at), at: at, classes: map[simulatedClass]*simulatedGroup{},
		sends: map[protocol.OrgID]*SimulatedOrg{}, comes: map[protocol.OrgID]*SimulatedOrg{}, on: map[protocol.OrgID]*SimulatedOrg{},
		out: &Simulation{Title: draft.Title, At: millis(at)}}
	m.to, m.from = policy.Concerned(draft, n.org)
	if !draft.Previous.IsZero() {
		before := s.agreements[draft.Previous]
		if before == nil {
			return nil, fmt.Errorf("the agreement %s, which this one amends, is not known here; 'entente agreement import' takes it from a file", draft.Previous.Short())
		}
		m.out.Amends = &before.ID
		to, from := policy.Concerned(&before.Agreement.Agreement, n.org)
		m.to, m.from = append(m.to, to...), append(m.from, from...)
	}
	for _, list := range []*[]protocol.OrgID{&m.to, &m.from} {
		slices.SortFunc(*list, protocol.OrgID.Compare)
		*list = slices.Compact(*list)
	}
	m.partners = m.planned.Receivers(n.org)
	for _, o := range m.now.Receivers(n.org) {
		if !slices.Contains(m.partners, o) {
			m.partners = append(m.partners, o)
		}
	}
	m.confidence = m.now.WantsConfidence() || m.planned.WantsConfidence()
	return m, nil
}

// read goes through the corpus, a page at a time, so that nobody waits for it.
func (m *simulator) read(ctx context.Context, since uint64) error {
	cursor := uint64(0)
	err := m.n.viewIndex(func(tx *store.Tx) error {
		first, _, err := m.n.index.Search(tx, corpus.Query{Since: since, Limit: 1, All: true, IncludeWithdrawn: true})
		if len(first) == 0 {
			cursor = ^uint64(0)
		} else {
			cursor = first[0].Cursor - 1
		}
		return err
	})
	for more := cursor != ^uint64(0); more && err == nil; {
		if err = ctx.Err(); err != nil {
			break
		}
		var page []corpus.Entry
		err = m.n.viewIndex(func(tx *store.Tx) (err error) { page, _, err = corpus.Since(tx, cursor, simulatePage); return err })
		for i := range page {
			if e := &page[i]; e.Received >= since && !e.Withdrawn {
				m.add(e)
			}
			cursor = page[i].Cursor
		}
		more = len(page) == simulatePage
	}
	if err != nil {
		return fmt.Errorf("reading records: %w", err)
	}
	m.decide()
	return nil
}

func (m *simulator) add(e *corpus.Entry) {
	switch {
	case e.Publisher != m.n.org:
		m.out.Received++
	case e.Originator == m.n.org:
		m.out.Own++
	default:
		return // passed on from here; by which term it came is not known any more
	}
	key := simulatedClass{originator: e.Originator, publisher: e.Publisher, topic: e.Topic, kind: e.Type, principal: e.Form.Principal, handling: string(protocol.Encode(&e.Handling))}
	if m.confidence {
		key.confidence = confidenceOf(e.Object)
	}
	var bounds []protocol.Bound
	if d := m.n.directOf(m.s, e.Feed); d != nil && e.Publisher != m.n.org {
		key.direct, bounds = d.id, d.Bounds
	}
	g := m.classes[key]
	if g == nil {
		if len(m.classes) >= simulateClasses {
			m.decide()
		}
		g = &simulatedGroup{handling: e.Handling, bounds: bounds}
		m.classes[key] = g
	}
	g.records++
	if len(g.examples) < simulateExamples {
		g.examples = append(g.examples, SimulatedRecord{Record: e.Record, StixID: e.StixID, Type: e.Type, Topic: e.Topic, TLP: e.Handling.TLP.String(), Countries: e.Handling.Countries})
	}
}

// confidenceOf reads what confidence an object states, 0 if it states none.
func confidenceOf(object []byte) uint8 {
	o, err := stix.Parse(object)
	if err != nil {
		return 0
	}
	return o.Confidence()
}

// decide decides about the classes gathered, and forgets them.
func (m *simulator) decide() {
	m.out.Decided += len(m.classes)
	for k, g := range m.classes {
		subj := &policy.Subject{Originator: k.originator, Publisher: k.publisher, Handling: g.handling, Topic: k.topic, Kind: k.kind, Confidence: k.confidence, Bounds: g.bounds, Principal: k.principal}
		if k.publisher == m.n.org {
			subj.RecordedAt = m.at
			for _, o := range m.to {
				m.count(m.sends, o, g, func(s *policy.State) policy.Decision { return policy.Decide(s, m.n.org, o, subj, m.at) })
			}
			continue
		}
		// RecordedAt is not given: the question is under which terms it would come now.
		reach := m.to
		if slices.Contains(m.from, k.publisher) {
			// Ingress looks at the way that it came as well, which no agreement of ours changes.
			m.count(m.comes, k.publisher, g, func(s *policy.State) policy.Decision { return policy.Decide(s, k.publisher, m.n.org, subj, m.at) })
			reach = m.partners
		}
		for _, o := range reach {
			if o != k.publisher && o != k.originator {
				m.count(m.on, o, g, func(s *policy.State) policy.Decision { return policy.DecideOnward(s, o, subj, m.at) })
			}
		}
	}
	clear(m.classes)
}

// count notes for an organisation what a decision about a class is now, and would be.
func (m *simulator) count(in map[protocol.OrgID]*SimulatedOrg, org protocol.OrgID, g *simulatedGroup, decide func(*policy.State) policy.Decision) {
	c := in[org]
	if c == nil {
		c = &SimulatedOrg{Org: m.s.ref(org), GainedBy: map[policy.Reason]int{}, LostBy: map[policy.Reason]int{}}
		in[org] = c
	}
	was, is := decide(m.now), decide(m.planned)
	if was.Allow {
		c.Now += g.records
	}
	if is.Allow {
		c.Planned += g.records
	}
	example := func(list []SimulatedRecord, text string) []SimulatedRecord {
		for _, e := range g.examples {
			if len(list) < simulateExamples {
				e.Text = text
				list = append(list, e)
			}
		}
		return list
	}
	switch {
	case is.Allow && !was.Allow:
		c.Gained += g.records
		c.GainedBy[was.Reason] += g.records
		c.Gains = example(c.Gains, was.Text)
	case was.Allow && !is.Allow:
		c.Lost += g.records
		c.LostBy[is.Reason] += g.records
		c.Losses = example(c.Losses, is.Text)
	}
}

func (m *simulator) result() (*Simulation, error) {
	for _, o := range m.to {
		if m.sends[o] == nil {
			m.sends[o] = &SimulatedOrg{Org: m.s.ref(o)}
		}
	}
	for _, o := range m.from {
		if m.comes[o] == nil {
			m.comes[o] = &SimulatedOrg{Org: m.s.ref(o)}
		}
	}
	err := m.n.st.View(func(tx *store.Tx) error {
		for _, c := range m.comes {
			c.Quarantined = 0
		}
		return scanDocs(tx, kindQuarantine, func(_ []byte, q *quarantineDoc) error {
			if c := m.comes[q.Publisher]; c != nil {
				c.Quarantined++
			}
			return nil
		})
	})
	m.out.Sends, m.out.Comes, m.out.PassOn = sortedSimulated(m.sends), sortedSimulated(m.comes), sortedSimulated(m.on)
	return m.out, err
}

func sortedSimulated(in map[protocol.OrgID]*SimulatedOrg) []SimulatedOrg {
	out := []SimulatedOrg{}
	for _, c := range in {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b SimulatedOrg) int {
		return strings.Compare(a.Org.Name+a.Org.ID.String(), b.Org.Name+b.Org.ID.String())
	})
	return out
}
