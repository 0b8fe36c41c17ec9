// Package score says how far a value is to be acted on, from 0 to 100: by whom it was reported and
// how sure they were, how long ago, whether it was seen since, and who says that it is wrong. It is
// arithmetic of whole numbers, so that every node has the same score of the same evidence. It has
// no I/O and no clock.
//
// The curve is that of MISP's decaying models (app/Model/DecayingModelsFormulas/Polynomial.php; the
// paper is arXiv:1902.03914):
//
//	score = base * (1 - (age / lifetime)^(1/δ))
//
// with δ = 2, the default base 80, the threshold 30 and the lifetime 120 days of the model for network
// intrusion detection (MISP/misp-decaying-models, nids-simple-model.json).
package score

import (
	"math"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol/stix"
)

// Default is the least score of what is put out, where no other is asked for. It is the threshold of
// the model whose curve this is, and where "Med" begins in STIX's own scale (STIX 2.1, appendix A):
// what its author holds for low confidence is never put out.
const Default = 30

// unstated is the base of what states no confidence: MISP's default_base_score.
const unstated = 80

// full is a score of 100, as it is reckoned with.
const full = 1_000_000

// Bounds of what counts. More sources, or more who deny it, change nothing any more.
const (
	MaxSources  = 8
	MaxDisputes = 8
)

const day = 24 * 3600 * 1000 // in milliseconds

// Lifetime is how long after its last confirmation a value of a kind has score 0, in days: 120 for
// what is on the network (MISP's model), five years for hashes of files, which become nothing else,
// and half a year for other kinds (both of SEKOIA.IO's expiration rules).
func Lifetime(kind stix.Kind) int {
	switch kind {
	case stix.MD5, stix.SHA1, stix.SHA256, stix.SHA512:
		return 1825
	case stix.Email, stix.Filename:
		return 180
	}
	return 120
}

// Claim is what one object says of a value. Times are Unix milliseconds.
type Claim struct {
	Source uint32 // who says it
	Base   uint8  // 0 to 100
	Since  uint64 // when it was last confirmed: reported, or seen
	From   uint64 // valid from
	Until  uint64 // valid until, excluded; 0: no end
	Copy   bool   // its origin was withheld: it may be what another claim says, and confirms none
}

// Active reports whether the claim holds at a time.
func (c *Claim) Active(now uint64) bool { return c.From <= now && (c.Until == 0 || now < c.Until) }

// At returns the score of the claim alone, 0 to 100.
func (c *Claim) At(kind stix.Kind, now uint64) int { return c.at(kind, now) * 100 / full }

func (c *Claim) at(kind stix.Kind, now uint64) int {
	if !c.Active(now) {
		return 0
	}
	var age uint64
	if now > c.Since {
		age = now - c.Since
	}
	return int(min(c.Base, 100)) * Decay(kind, age) / 100
}

// Decay returns what is left of a value of a kind after an age in milliseconds, in millionths.
func Decay(kind stix.Kind, age uint64) int {
	life := uint64(Lifetime(kind)) * day
	if age >= life {
		return 0
	}
	return full - int(math.Sqrt(float64(age)/float64(life))*full) // the root is exact (IEEE 754)
}

// Dispute is an organisation's word that a value is wrong: opinion disagree, or strongly-disagree.
type Dispute struct {
	Source uint32
	Strong bool
	Own    bool // it is the organisation that this node is of
}

// Score is what became of evidence.
type Score struct {
	Value   int // 0 to 100
	Sources int // that count: independent originators, at most MaxSources
}

// Of returns the score of a value at a time. Of the claims of one source the best counts. The best
// source gives the score; each further one closes a fifth of what is missing to 100, times its own
// score, because lists copy each other and nobody can prove that two are independent. A claim whose
// origin was withheld adds nothing to others. Who disputes
// a value takes back what it claimed itself; each other one leaves three quarters of the score, or a
// half if it disagrees strongly; if it is this organisation that disagrees, nothing.
func Of(kind stix.Kind, claims []Claim, disputes []Dispute, now uint64) Score {
	type said struct {
		source uint32
		at     int
		copied bool
	}
	var buf [16]said
	list := buf[:0]
	for i := range claims {
		c := &claims[i]
		at := c.at(kind, now)
		if at == 0 || slices.ContainsFunc(disputes, func(d Dispute) bool { return d.Source == c.Source }) {
			continue
		}
		k := slices.IndexFunc(list, func(s said) bool { return s.source == c.Source })
		switch {
		case k < 0:
			list = append(list, said{c.Source, at, c.Copy})
		default:
			list[k].copied = list[k].copied && c.Copy
			list[k].at = max(list[k].at, at)
		}
	}
	slices.SortFunc(list, func(a, b said) int {
		switch {
		case a.at != b.at:
			return b.at - a.at
		case a.copied == b.copied:
			return 0
		case a.copied:
			return 1
		}
		return -1
	})
	var s Score
	sum, copied := 0, false // that the best is a copy: one of the others is what it was copied of
	for i, c := range list {
		switch {
		case i == 0:
			sum, copied = c.at, c.copied
		case c.copied || s.Sources >= MaxSources:
			continue
		case copied:
			copied = false
			continue
		default:
			sum += (full - sum) / 5 * (c.at / 100) / (full / 100)
		}
		s.Sources++
	}
	for i, d := range disputes {
		switch {
		case d.Own:
			sum = 0
		case i >= MaxDisputes:
		case d.Strong:
			sum /= 2
		default:
			sum = sum * 3 / 4
		}
	}
	s.Value = sum * 100 / full
	return s
}

// Base returns the score of an object that was just made: its confidence, or what an Admiralty
// credibility or words of estimative probability are as one (STIX 2.1, appendix A), or 80. The
// reliability of its source, and MISP's tags of the risk that it is a false positive, take from it.
// labels are those of the object; a may be nil.
func Base(a *stix.Assessment, labels []string) uint8 {
	base := unstated
	if a != nil {
		switch {
		case a.Confidence != nil:
			base = int(*a.Confidence)
		case a.Mapped.Confidence != nil:
			base = int(*a.Mapped.Confidence)
		case likelihood[a.Likelihood] > 0:
			base = likelihood[a.Likelihood]
		}
		reliability := a.Reliability
		if reliability == "" {
			reliability = a.Mapped.Reliability
		}
		if part, ok := reliabilityPart[reliability]; ok {
			base = base * part / 100
		}
	}
	for _, l := range labels {
		if part, ok := riskPart[strings.ToLower(l)]; ok {
			base = base * part / 100
		}
	}
	return uint8(min(max(base, 0), 100))
}

// likelihood are words of estimative probability as STIX's confidence.
var likelihood = map[string]int{"almost-no-chance": 10, "very-unlikely": 10, "unlikely": 30, "roughly-even-chance": 50,
	"likely": 70, "very-likely": 90, "almost-certain": 90}

// reliabilityPart is what is left, in percent, of what a source of a reliability says. A, B and F (not
// known) take nothing.
var reliabilityPart = map[string]int{"C": 90, "D": 60, "E": 30}

// riskPart is the same of MISP's taxonomy false-positive.
var riskPart = map[string]int{`false-positive:risk="medium"`: 75, `false-positive:risk="high"`: 40,
	`false-positive:confirmed="true"`: 0, "false-positive": 0}
