package policy

import (
	"fmt"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// benchOrgs makes n organisations in good standing beside alice.
func benchOrgs(n int) ([]protocol.OrgID, map[protocol.OrgID]Org) {
	orgs := testOrgs()
	var ids []protocol.OrgID
	for i := range n {
		id := protocol.OrgID(testAgreementID(i + 1))
		orgs[id] = Org{ID: id, Name: id.Short(), Kind: protocol.KindCERT, Country: "TH", CardFresh: true, Rostered: true}
		ids = append(ids, id)
	}
	return ids, orgs
}

// benchState has an agreement of alice with each of 1,000 organisations, both ways.
func benchState() (*State, []protocol.OrgID) { return benchStateOf(1000) }

func benchStateOf(n int) (*State, []protocol.OrgID) {
	ids, orgs := benchOrgs(n)
	var agreements []Agreement
	for i, id := range ids {
		there := wideTerm(alice, id)
		there.Countries = []string{"TH", "VN"}
		agreements = append(agreements, testAgreement(i, there, wideTerm(id, alice)))
	}
	return NewState(alice, 1, orgs, agreements), ids
}

// benchSizes are numbers of agreements.
var benchSizes = []int{1, 10, 100, 1000}

func benchSubject() *Subject {
	s := openSubject()
	s.Handling.Countries = []string{"TH"}
	return s
}

// Design, part 12: below 200 ns.
func BenchmarkDecideCached(b *testing.B) {
	s, ids := benchState()
	subj := benchSubject()
	subj.Publisher, subj.Originator = ids[500], ids[500]
	handling := string(protocol.Encode(&subj.Handling))
	c := NewCache()
	key := func() CacheKey {
		return CacheKey{Generation: s.Generation, Publisher: subj.Publisher, Originator: subj.Originator, Topic: subj.Topic, Kind: subj.Kind, Handling: handling}
	}
	c.Put(key(), now, Ingress(s, subj.Publisher, subj, now))
	b.ReportAllocs()
	for b.Loop() {
		if d, ok := c.Get(key(), now); !ok || !d.Allow {
			b.Fatal(d.Text, ok)
		}
	}
}

// Design, part 12: below 1 ms, with 1,000 agreements.
func BenchmarkDecideCold(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("with=many/agreements=%d", n), func(b *testing.B) { // one with each partner
			s, ids := benchStateOf(n)
			subj := benchSubject()
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				if d := Decide(s, alice, ids[i%len(ids)], subj, now); !d.Allow {
					b.Fatal(d.Text)
				}
			}
		})
		// The worst: all with one partner, and none of them allows.
		b.Run(fmt.Sprintf("with=one/agreements=%d", n), func(b *testing.B) {
			_, orgs := benchOrgs(0)
			var agreements []Agreement
			for i := range n {
				term := wideTerm(alice, bob)
				term.Countries = []string{"SG", "VN"}
				agreements = append(agreements, testAgreement(i, term))
			}
			s, subj := NewState(alice, 1, orgs, agreements), benchSubject()
			b.ReportAllocs()
			for b.Loop() {
				if d := Decide(s, alice, bob, subj, now); d.Allow {
					b.Fatal(d.Text)
				}
			}
		})
	}
}

// A new class of handling is decided for everybody, one that was decided is looked up.
func BenchmarkAudience(b *testing.B) {
	for _, n := range benchSizes {
		s, ids := benchStateOf(n)
		subj := benchSubject()
		c, k := NewCache(), CacheKey{Generation: s.Generation, Publisher: alice, Originator: alice, Topic: subj.Topic, Kind: subj.Kind, Handling: string(protocol.Encode(&subj.Handling))}
		for name, fn := range map[string]func() []OrgDecision{
			"cold": func() []OrgDecision { return Audience(s, subj, now) }, "cached": func() []OrgDecision { return c.Audience(s, k, subj, now) }} {
			b.Run(fmt.Sprintf("class=%s/agreements=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if got := len(fn()); got != len(ids) {
						b.Fatal(got)
					}
				}
			})
		}
	}
}

func BenchmarkNewState1000Agreements(b *testing.B) {
	s, _ := benchState()
	b.ReportAllocs()
	for b.Loop() {
		NewState(alice, 1, s.Orgs, s.Agreements)
	}
}
