package node

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func seeAll(*Record) bool { return true }

// Reader shows what a person or a machine of this organisation may see. What it may not read is
// not there. It is for one request at a time.
type Reader struct {
	n   *Node
	who *rules.Principal
	// said keeps verdicts by class, as long as they are of these rules.
	said   map[readClass]rules.Verdict
	set    *rules.Set
	people *people
	// until is when the first of all verdicts by these rules ends, Unix milliseconds.
	until uint64
}

type readClass struct {
	action                rules.Action
	originator, publisher protocol.OrgID
	principal             protocol.OrgID
	topic, kind, handling string
}

// Reader returns what somebody sees of the node.
func (n *Node) Reader(who *rules.Principal) *Reader { return &Reader{n: n, who: who} }

// PersonOf returns one of the people, or somebody that the people file in force names; nil if it is neither, or
// one of the people who may not come.
func (n *Node) PersonOf(id string) *rules.Principal {
	s := n.snap.Load()
	if who, known := s.people.of(id); known {
		return who
	}
	return s.rules.Person(id)
}

// HasPeople reports whether there is a people file: names that it does not hold are nobody's then.
func (n *Node) HasPeople() bool { return n.snap.Load().rules.HasPeople() }

// RulesAbout reports whether any local rule is about an action.
func (n *Node) RulesAbout(action rules.Action) bool { return n.snap.Load().rules.About(action) }

// May returns an ErrForbidden if local rules do not let somebody do something with this node.
func (n *Node) May(who *rules.Principal, action rules.Action) error {
	s := n.snap.Load()
	return verdictError(s.rules.May(s.people.who(who), action, rules.Resource{}, uint64(nowMillis())))
}

func verdictError(v rules.Verdict) error {
	if v.Allow {
		return nil
	}
	return fmt.Errorf("%s: %w", v.Text, ErrForbidden)
}

func (s *snapshot) resource(subject *policy.Subject) rules.Resource {
	return rules.Resource{Subject: subject, Originator: s.policy.Org(subject.Originator), Publisher: s.policy.Org(subject.Publisher)}
}

// MayPublish returns an ErrForbidden if somebody may not publish what a plan is about.
func (n *Node) MayPublish(who *rules.Principal, p *Plan) error {
	s := n.snap.Load()
	now := uint64(nowMillis())
	for i := range p.Classes {
		c := &p.Classes[i]
		subject := &policy.Subject{Originator: n.org, Publisher: n.org, Principal: p.principal(), Handling: c.Handling, Topic: p.Topic, Kind: c.Kind, RecordedAt: now}
		if err := verdictError(s.may(who, rules.Publish, s.resource(subject), now)); err != nil {
			return fmt.Errorf("%d records of type %s, TLP:%s: %w", c.Records, c.Kind, c.Handling.TLP, err)
		}
	}
	return nil
}

// verdict says whether the reader may do something with a record.
func (r *Reader) verdict(action rules.Action, rec *Record) rules.Verdict {
	s := r.n.snap.Load()
	if !s.rules.About(action) && !r.account() {
		return rules.Verdict{Allow: true}
	}
	if r.set != s.rules || r.people != s.people {
		r.until = math.MaxUint64
	}
	if r.set != s.rules || r.people != s.people || r.said == nil || len(r.said) > maxClasses {
		r.set, r.people, r.said = s.rules, s.people, map[readClass]rules.Verdict{}
	}
	now := uint64(nowMillis())
	var principal protocol.OrgID
	if rec.OnBehalf != nil {
		principal = rec.OnBehalf.Principal.ID
	}
	class := readClass{action, rec.Originator.ID, rec.Publisher.ID, principal, rec.Topic, rec.Type, string(protocol.Encode(rec.handling))}
	if v, ok := r.said[class]; ok && now < v.ValidUntil {
		return v
	}
	subject := &policy.Subject{Originator: rec.Originator.ID, Publisher: rec.Publisher.ID, Principal: principal, Handling: *rec.handling, Topic: rec.Topic, Kind: rec.Type}
	v := s.may(r.who, action, s.resource(subject), now)
	r.said[class], r.until = v, min(r.until, v.ValidUntil)
	return v
}

// maxClasses bounds the verdicts that a reader keeps.
const maxClasses = 1 << 12

// sees returns a function that tells whether a record may be read, and acted on.
func (r *Reader) sees(action rules.Action) func(*Record) bool {
	return func(rec *Record) bool {
		if !r.verdict(rules.Read, rec).Allow || action != rules.Read && !r.verdict(action, rec).Allow {
			return false
		}
		rec.withoutHidden(func(d *Record) bool { return r.verdict(rules.Read, d).Allow })
		return true
	}
}

// Search is Node.Search of what the reader may read and search.
func (r *Reader) Search(q Query) ([]Record, uint64, error) {
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	see, out := r.sees(rules.Search), []Record{}
	for {
		page, next, err := r.n.Search(q)
		if err != nil {
			return nil, 0, err
		}
		for i := range page {
			if !see(&page[i]) {
				continue
			}
			if len(out) == q.Limit {
				return out, out[len(out)-1].Cursor, nil
			}
			out = append(out, page[i])
		}
		if next == 0 {
			return out, 0, nil
		}
		if len(out) == q.Limit && !r.narrowed() {
			return out, next, nil // there is more, for it sees everything
		}
		q.After = next
	}
}

// narrowed reports whether any rule is about what is read and found.
func (r *Reader) narrowed() bool {
	set := r.n.snap.Load().rules
	return set.About(rules.Read) || set.About(rules.Search) || r.account()
}

// account reports whether what the reader sees follows from roles that may change at any time.
func (r *Reader) account() bool { return r.who != nil && r.who.Account }

// Find is Node.Find of what the reader may read. What it may not read is ErrNotFound.
func (r *Reader) Find(text string) ([]Record, error) {
	found, err := r.n.Find(text)
	if err != nil {
		return nil, err
	}
	see, out := r.sees(rules.Read), []Record{}
	hidden := &hiddenError{text: fmt.Sprintf("record %s: %s", text, ErrNotFound)}
	for i := range found {
		if see(&found[i]) {
			out = append(out, found[i])
			continue
		}
		hidden.records = append(hidden.records, found[i].ID)
		hidden.why = r.verdict(rules.Read, &found[i]).Text
	}
	if len(out) == 0 {
		return nil, hidden
	}
	return out, nil
}

// MayWithdraw returns an ErrForbidden if the reader may not publish one of some records.
func (r *Reader) MayWithdraw(recs []Record) error {
	for i := range recs {
		if err := verdictError(r.verdict(rules.Publish, &recs[i])); err != nil {
			return fmt.Errorf("record %s: %w", recs[i].ID.Short(), err)
		}
	}
	return nil
}

// Export is Node.Export of what the reader may read and export.
func (r *Reader) Export(ctx context.Context, w io.Writer, format ExportFormat, after uint64) (uint64, error) {
	return r.n.exportSeen(ctx, w, format, after, r.sees(rules.Export))
}

// ExportOwn is Export of what this organisation made and published itself, in a topic, or in all if that is empty.
func (r *Reader) ExportOwn(ctx context.Context, w io.Writer, format ExportFormat, topic string, after uint64) (uint64, error) {
	see := r.sees(rules.Export)
	return r.n.exportSeen(ctx, w, format, after, func(rec *Record) bool {
		return rec.Originator.ID == r.n.org && rec.OnBehalf == nil && !rec.Withheld && (topic == "" || rec.Topic == topic) && see(rec)
	})
}

// Stream is Node.Stream of what the reader may read and export.
func (r *Reader) Stream(ctx context.Context, from uint64, follow bool, send func(*Record) error, idle func()) error {
	return r.n.streamSeen(ctx, from, follow, r.sees(rules.Export), send, idle)
}
