package score

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol/stix"
)

const now = 1_800_000_000_000

func days(n float64) uint64 { return now - uint64(n*day) }

// The curve is MISP's: base * (1 - (age/120)^(1/2)).
func TestCurveOfMISP(t *testing.T) {
	for age, want := range map[float64]int{0: 80, 1: 72, 10: 56, 30: 40, 46: 30, 47: 29, 119: 0, 120: 0, 400: 0} {
		c := Claim{Base: 80, Since: days(age)}
		if got := c.At(stix.IPv4, now); got != want {
			t.Errorf("80 after %v days is %d, want %d", age, got, want)
		}
	}
	if c := (Claim{Base: 80, Since: days(365)}); c.At(stix.SHA256, now) < Default {
		t.Error("a hash of a year is not put out")
	}
	for age := range 120 {
		got := Decay(stix.Domain, uint64(age)*day)
		if want := 1e6 * (1 - math.Pow(float64(age)/120, 0.5)); math.Abs(float64(got)-want) > 1 {
			t.Errorf("decay after %d days is %d, want %v", age, got, want)
		}
	}
}

func TestValidity(t *testing.T) {
	for _, tt := range []struct {
		from, until uint64
		want        int
	}{
		{0, 0, 80}, {now, 0, 80}, {now + 1, 0, 0}, {0, now + 1, 80}, {0, now, 0},
	} {
		c := Claim{Base: 80, Since: now, From: tt.from, Until: tt.until}
		if got := Of(stix.Domain, []Claim{c}, nil, now).Value; got != tt.want {
			t.Errorf("valid from %d until %d at %d: score %d, want %d", tt.from, tt.until, uint64(now), got, tt.want)
		}
	}
}

func TestSourcesAndDisputes(t *testing.T) {
	claim := func(source uint32, base uint8, copied bool) Claim {
		return Claim{Source: source, Base: base, Since: now, Copy: copied}
	}
	for _, tt := range []struct {
		name     string
		claims   []Claim
		disputes []Dispute
		want     Score
	}{
		{"nobody", nil, nil, Score{}},
		{"one", []Claim{claim(1, 80, false)}, nil, Score{80, 1}},
		{"one, three times", []Claim{claim(1, 50, false), claim(1, 80, false), claim(1, 70, false)}, nil, Score{80, 1}},
		{"two", []Claim{claim(1, 80, false), claim(2, 80, false)}, nil, Score{83, 2}},
		{"two, the order does not matter", []Claim{claim(2, 50, false), claim(1, 80, false)}, nil, Score{82, 2}},
		{"a copy confirms nothing", []Claim{claim(1, 80, false), claim(2, 80, true)}, nil, Score{80, 1}},
		{"a better copy confirms nothing", []Claim{claim(1, 80, false), claim(2, 90, true)}, nil, Score{90, 1}},
		{"a copy and two others", []Claim{claim(1, 80, false), claim(2, 80, true), claim(3, 80, false)}, nil, Score{83, 2}},
		{"a copy alone counts", []Claim{claim(2, 80, true)}, nil, Score{80, 1}},
		{"disagree", []Claim{claim(1, 80, false)}, []Dispute{{Source: 2}}, Score{60, 1}},
		{"strongly disagree", []Claim{claim(1, 80, false)}, []Dispute{{Source: 2, Strong: true}}, Score{40, 1}},
		{"two disagree strongly", []Claim{claim(1, 80, false)}, []Dispute{{Source: 2, Strong: true}, {Source: 3, Strong: true}}, Score{20, 1}},
		{"who said it takes it back", []Claim{claim(1, 80, false)}, []Dispute{{Source: 1}}, Score{}},
		{"one of two takes it back", []Claim{claim(1, 90, false), claim(2, 80, false)}, []Dispute{{Source: 1}}, Score{60, 1}},
		{"we disagree", []Claim{claim(1, 100, false), claim(2, 100, false)}, []Dispute{{Source: 9, Own: true}}, Score{0, 2}},
	} {
		if got := Of(stix.Domain, tt.claims, tt.disputes, now); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestBase(t *testing.T) {
	conf := func(n uint8) *uint8 { return &n }
	for _, tt := range []struct {
		name   string
		a      *stix.Assessment
		labels []string
		want   uint8
	}{
		{"nothing said", nil, nil, 80},
		{"confidence", &stix.Assessment{Confidence: conf(35)}, nil, 35},
		{"confidence 0", &stix.Assessment{Confidence: conf(0)}, nil, 0},
		{"credibility", &stix.Assessment{Credibility: 2, Mapped: stix.Mapped{Confidence: conf(70)}}, nil, 70},
		{"likelihood", &stix.Assessment{Likelihood: "unlikely"}, nil, 30},
		{"unreliable", &stix.Assessment{Reliability: "E"}, nil, 24},
		{"reliability unknown", &stix.Assessment{Reliability: "F"}, nil, 80},
		{"risk", nil, []string{`false-positive:risk="high"`}, 32},
		{"confirmed false positive", nil, []string{`false-positive:confirmed="true"`}, 0},
		{"another label", nil, []string{"botnet"}, 80},
	} {
		if got := Base(tt.a, tt.labels); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func draw(t *rapid.T) (claims []Claim, disputes []Dispute) {
	claims = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Claim {
		return Claim{Source: rapid.Uint32Range(0, 12).Draw(t, "source"), Base: rapid.Uint8Range(0, 120).Draw(t, "base"),
			Since: days(rapid.Float64Range(0, 200).Draw(t, "days")), Copy: rapid.Bool().Draw(t, "copy"),
			Until: rapid.SampledFrom([]uint64{0, now - 1, now + day}).Draw(t, "until")}
	}), 0, 20).Draw(t, "claims")
	disputes = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Dispute {
		return Dispute{Source: rapid.Uint32Range(0, 20).Draw(t, "source"), Strong: rapid.Bool().Draw(t, "strong")}
	}), 0, 6, func(d Dispute) uint32 { return d.Source }).Draw(t, "disputes")
	return claims, disputes
}

// A score is between 0 and 100, never rises by itself as time passes, never by a dispute, and does
// not depend on the order of evidence.
func TestScoreProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claims, disputes := draw(t)
		s := Of(stix.Domain, claims, disputes, now)
		if s.Value < 0 || s.Value > 100 || s.Sources > MaxSources {
			t.Fatalf("score %+v", s)
		}
		if later := Of(stix.Domain, claims, disputes, now+uint64(rapid.Uint64Range(0, 300*day).Draw(t, "later"))); later.Value > s.Value {
			t.Fatalf("rose from %d to %d", s.Value, later.Value)
		}
		if without := Of(stix.Domain, claims, nil, now); without.Value < s.Value {
			t.Fatalf("disputes raised it from %d to %d", without.Value, s.Value)
		}
		if turned := Of(stix.Domain, rapid.Permutation(claims).Draw(t, "turned"), disputes, now); turned.Value != s.Value {
			t.Fatalf("another order: %d, not %d", turned.Value, s.Value)
		}
	})
}
