package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

var decideScenario = Scenario{
	Name: "decide", Unit: "agreements", Size: 1000,
	About: "one decision: of a class that was decided before, and the first of a class; and whom a record is for, of all partners",
	run:   decide,
}

func benchOrg(i int) (o protocol.OrgID) {
	binary.BigEndian.PutUint64(o[:], uint64(i)+1)
	return o
}

func decide(_ context.Context, o *Options, r *Result) error {
	size := o.Size
	r.Measured, r.Baseline, r.Reach = "decisions of a known class", "the first decision of a class", "below 200 ns and below 1 ms"
	self := benchOrg(1 << 20)
	now := uint64(time.Now().UnixMilli())
	orgs := map[protocol.OrgID]policy.Org{self: {ID: self, Name: "self", Kind: protocol.KindCERT, Country: "DE", CardFresh: true, Rostered: true}}
	var agreements []policy.Agreement
	for i := range size {
		other := benchOrg(i)
		orgs[other] = policy.Org{ID: other, Name: fmt.Sprint("org ", i), Kind: protocol.KindCERT, Country: "TH", CardFresh: true, Rostered: true}
		doc := agreement(self, other)
		doc.Terms[0].Countries = []string{"TH", "VN"}
		back := doc.Terms[0]
		back.From, back.To = other, self
		doc.Terms = append(doc.Terms, back)
		agreements = append(agreements, policy.Agreement{ID: protocol.AgreementID(other), Doc: &doc})
	}
	s := policy.NewState(self, 1, orgs, agreements)
	subject := func(i int) *policy.Subject {
		h := protocol.Handling{TLP: protocol.TLPGreen, Countries: []string{"TH"}}
		return &policy.Subject{Originator: benchOrg(i % size), Publisher: benchOrg(i % size), Handling: h, Topic: topic, Kind: "indicator", RecordedAt: now}
	}
	const rounds = 200_000
	cold := 0
	begun := time.Now()
	for i := range rounds {
		sub := subject(i)
		if policy.Ingress(s, sub.Publisher, sub, now).Allow {
			cold++
		}
	}
	first := time.Since(begun)
	if cold != rounds {
		return fmt.Errorf("%d of %d are allowed: what is measured is not what is meant", cold, rounds)
	}
	sub := subject(0)
	cache := policy.NewCache()
	handling := string(protocol.Encode(&sub.Handling))
	key := policy.CacheKey{Generation: 1, Publisher: sub.Publisher, Originator: sub.Originator, Topic: topic, Kind: "indicator", Handling: handling}
	cache.Put(key, now, policy.Ingress(s, sub.Publisher, sub, now))
	begun = time.Now()
	const known = 5_000_000
	for range known {
		if d, ok := cache.Get(key, now); !ok || !d.Allow {
			return fmt.Errorf("a decision that was made is not known")
		}
	}
	again := time.Since(begun)
	r.Rate, r.Base = perSecond(known, again), perSecond(rounds, first)
	r.add("known class", float64(again.Nanoseconds())/known, "ns", "")
	r.add("first of a class", float64(first.Nanoseconds())/rounds, "ns", fmt.Sprintf("%d agreements", size))
	if err := decideAudience(r, s, sub, now, size); err != nil {
		return err
	}
	r.Reached = again/known < 200*time.Nanosecond && first/rounds < time.Millisecond
	return nil
}

// decideAudience measures what it takes to know for whom of so many partners a record is.
func decideAudience(r *Result, s *policy.State, like *policy.Subject, now uint64, size int) error {
	sub := *like
	sub.Originator, sub.Publisher = s.Self, s.Self
	cache := policy.NewCache()
	key := policy.CacheKey{Generation: 1, Publisher: s.Self, Originator: s.Self, Topic: topic, Kind: sub.Kind, Handling: string(protocol.Encode(&sub.Handling))}
	took := func(rounds int) (time.Duration, error) {
		begun := time.Now()
		for range rounds {
			if got := len(cache.Audience(s, key, &sub, now)); got != size {
				return 0, fmt.Errorf("it was decided about %d organisations, not about %d", got, size)
			}
		}
		return time.Since(begun), nil
	}
	first, err := took(1)
	if err != nil {
		return err
	}
	const known = 1_000_000
	again, err := took(known)
	if err != nil {
		return err
	}
	if cache.Made() != uint64(size) {
		return fmt.Errorf("%d decisions were made where %d were needed", cache.Made(), size)
	}
	r.add("readers of a known class", float64(again.Nanoseconds())/known, "ns", fmt.Sprintf("%d agreements", size))
	r.add("readers of a new class", float64(first.Microseconds()), "µs", "once")
	return nil
}
