package policy

import (
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func testKey(generation uint64) CacheKey {
	return CacheKey{Generation: generation, Publisher: alice, Originator: alice, Topic: "c2", Kind: "indicator", Handling: "h"}
}

func TestCacheHoldsFromDecisionToChange(t *testing.T) {
	d := Decision{Allow: true, Reason: ReasonOK, Text: "yes", ValidUntil: 200}
	for _, row := range []struct {
		name  string
		until uint64
		at    uint64
		want  bool
	}{
		{"before it was made", 200, 99, false},
		{"when it was made", 200, 100, true},
		{"just before it may change", 200, 199, true},
		{"when it may change", 200, 200, false},
		{"after", 200, 201, false},
		{"never changes", math.MaxUint64, math.MaxUint64 - 1, true},
		{"never changes, at the end of time", math.MaxUint64, math.MaxUint64, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := NewCache()
			d.ValidUntil = row.until
			c.Put(testKey(1), 100, d)
			got, ok := c.Get(testKey(1), row.at)
			if ok != row.want || ok && !reflect.DeepEqual(got, d) || !ok && !reflect.DeepEqual(got, Decision{}) {
				t.Errorf("got %+v, %v, want %v", got, ok, row.want)
			}
		})
	}
}

func TestCacheKeepsClassesApart(t *testing.T) {
	c := NewCache()
	c.Put(testKey(1), 100, Decision{Text: "yes", ValidUntil: math.MaxUint64})
	for name, change := range map[string]func(*CacheKey){
		"generation": func(k *CacheKey) { k.Generation++ },
		"publisher":  func(k *CacheKey) { k.Publisher = bob },
		"originator": func(k *CacheKey) { k.Originator = bob },
		"topic":      func(k *CacheKey) { k.Topic = "malware" },
		"kind":       func(k *CacheKey) { k.Kind = "malware" },
		"handling":   func(k *CacheKey) { k.Handling = "g" },
	} {
		k := testKey(1)
		change(&k)
		if _, ok := c.Get(k, 100); ok {
			t.Errorf("a decision of another %s was returned", name)
		}
	}
}

func TestCacheForgetsOlderGenerations(t *testing.T) {
	c := NewCache()
	d := Decision{ValidUntil: math.MaxUint64}
	c.Put(testKey(5), 100, d)
	c.Put(testKey(6), 100, d)
	if _, ok := c.Get(testKey(5), 100); ok {
		t.Error("a decision of generation 5 outlived generation 6")
	}
	c.Put(testKey(5), 100, d) // by somebody who began before the change
	if _, ok := c.Get(testKey(5), 100); ok {
		t.Error("a decision of generation 5 was kept in generation 6")
	}
	if _, ok := c.Get(testKey(6), 100); !ok {
		t.Error("a late decision of generation 5 pushed out one of generation 6")
	}
}

func TestCacheReplacesAnExpiredDecision(t *testing.T) {
	c := NewCache()
	c.Put(testKey(1), 100, Decision{Text: "first", ValidUntil: 200})
	c.Put(testKey(1), 200, Decision{Text: "second", ValidUntil: 300})
	if d, ok := c.Get(testKey(1), 250); !ok || d.Text != "second" {
		t.Errorf("got %q, %v", d.Text, ok)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := NewCache()
	for i := range maxCached + 10 {
		k := testKey(1)
		k.Handling = fmt.Sprint(i)
		c.Put(k, 100, Decision{ValidUntil: math.MaxUint64})
		if len(c.m) > maxCached {
			t.Fatalf("holds %d decisions", len(c.m))
		}
		if _, ok := c.Get(k, 100); !ok {
			t.Fatalf("lost decision %d at once", i)
		}
	}
}

func TestCacheConcurrently(t *testing.T) {
	c := NewCache()
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for i := range uint64(500) {
				k := testKey(i/100 + g%2)
				c.Put(k, i, Decision{Term: int(k.Generation), ValidUntil: i + 100})
				if d, ok := c.Get(k, i); ok && d.Term != int(k.Generation) {
					t.Errorf("generation %d got a decision of %d", k.Generation, d.Term)
				}
			}
		})
	}
	wg.Wait()
}

// Whatever is asked for in whatever order, through the cache comes what Ingress says.
func TestCacheChangesNoDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewCache()
		states := []*State{drawState(t), drawState(t)}
		states[1].Generation++
		subjects := []*Subject{drawSubject(t), drawSubject(t)}
		for range 30 {
			s := rapid.SampledFrom(states).Draw(t, "state")
			subj := rapid.SampledFrom(subjects).Draw(t, "subject")
			at := rapid.SampledFrom(moments).Draw(t, "sealed at")
			k := CacheKey{s.Generation, subj.Publisher, subj.Originator, subj.Topic, subj.Kind, string(protocol.Encode(&subj.Handling)), subj.Confidence, "", subj.Principal}
			want := Ingress(s, subj.Publisher, subj, at)
			if got, ok := c.Get(k, at); ok && !reflect.DeepEqual(got, want) {
				t.Fatalf("cached %+v, decided %+v", got, want)
			}
			c.Put(k, at, want)
		}
	})
}

// TestCachedAudienceEqualsAudience: at any time, and after any number of questions, it is what
// would be decided anew, but for the sentences.
func TestCachedAudienceEqualsAudience(t *testing.T) {
	var again int
	rapid.Check(t, func(t *rapid.T) {
		s, c := drawState(t), NewCache()
		subjects := []*Subject{drawSubject(t), drawSubject(t)}
		for range rapid.IntRange(1, 8).Draw(t, "questions") {
			subj, at := subjects[rapid.IntRange(0, 1).Draw(t, "subject")], drawTime(t)
			want := Audience(s, subj, at)
			for i := range want {
				want[i].Decision.Text = ""
			}
			k := CacheKey{Generation: s.Generation, Publisher: subj.Publisher, Originator: subj.Originator, Topic: subj.Topic, Kind: subj.Kind,
				Handling: string(protocol.Encode(&subj.Handling)), Confidence: subj.Confidence}
			before := c.Made()
			got := c.Audience(s, k, subj, at)
			if c.Made() == before && len(want) > 0 {
				again++
			}
			for i := range max(len(got), len(want)) {
				if len(got) != len(want) || got[i].Org != want[i].Org || !sameAt(got[i].Decision, want[i].Decision) {
					t.Fatalf("cached: %+v, decided: %+v", got, want)
				}
			}
		}
	})
	if again == 0 {
		t.Error("nothing was ever found in the cache")
	}
}

// sameAt compares decisions, but for how long they hold: one made earlier may have been made
// before other ends that have passed.
func sameAt(a, b Decision) bool {
	a.ValidUntil, b.ValidUntil = 0, 0
	return reflect.DeepEqual(a, b)
}

// TestCachedAudiencesAreBounded: a class is decided once, another generation empties the cache, one
// that is over does not, and no more is kept than may be.
func TestCachedAudiencesAreBounded(t *testing.T) {
	s, ids := benchState()
	subj := benchSubject()
	c := NewCache()
	ask := func(generation uint64, handling string) {
		c.Audience(s, CacheKey{Generation: generation, Handling: handling}, subj, now)
	}
	want := func(what string, made int) {
		t.Helper()
		if got := c.Made(); got != uint64(made*len(ids)) {
			t.Errorf("%s: %d decisions were made, want %d", what, got, made*len(ids))
		}
	}
	ask(2, "a")
	want("first", 1)
	ask(2, "a")
	want("again", 1)
	ask(1, "a")
	want("an earlier generation", 2)
	ask(2, "a")
	want("after an earlier one", 2)
	ask(3, "a")
	ask(3, "a")
	want("the next generation", 3)
	for i := range 2 * maxCachedAudience / len(ids) {
		ask(3, fmt.Sprint(i))
		if c.held > maxCachedAudience || c.held != len(c.audiences)*len(ids) {
			t.Fatalf("%d decisions of %d audiences are held", c.held, len(c.audiences))
		}
	}
}
