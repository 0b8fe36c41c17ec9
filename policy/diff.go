package policy

import (
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Effect says what a change does to what may be shared.
type Effect string

// The effects. What changes more than it is known to narrow, widens.
const (
	EffectWidens  Effect = "widens"
	EffectNarrows Effect = "narrows"
	EffectNeither Effect = "neither" // a duty, a name, a text
)

// Change is one thing that an agreement says otherwise than another.
type Change struct {
	Effect Effect
	Term   int    // of the new agreement, from 1; 0: of the whole, or of a term that it no longer has
	Was    int    // the term of the old agreement, from 1; 0: none
	Text   string // a sentence without its full stop
}

// differ collects the changes from an agreement to another.
type differ struct {
	old, new *protocol.Agreement
	name     func(protocol.OrgID) string
	out      []Change
}

// Diff says what b changes of a, and whether that widens or narrows what may be shared: what a
// lawyer reads before signing an amendment. Terms are compared with those of the same direction
// that are most like them, wherever they stand. If no change widens, then b allows nothing at any
// time that a does not allow then. Agreements that differ in their secrets, networks or in what
// they amend only, do not differ. Both must be valid.
func Diff(a, b *protocol.Agreement, name func(protocol.OrgID) string) []Change {
	d := &differ{old: a, new: b, name: func(o protocol.OrgID) string { return oneLine(name(o)) }}
	d.whole()
	pairs := matchTerms(a.Terms, b.Terms)
	for j := range b.Terms {
		if i := pairs[j]; i >= 0 {
			d.term(i, j)
		} else {
			d.added(j)
		}
	}
	for i := range a.Terms {
		if !slices.Contains(pairs, i) {
			d.removed(i)
		}
	}
	return d.out
}

func (d *differ) whole() {
	a, b := d.old, d.new
	add := func(e Effect, format string, args ...any) {
		d.out = append(d.out, Change{Effect: e, Text: fmt.Sprintf(format, args...)})
	}
	if a.Title != b.Title {
		add(EffectNeither, "the title is %q instead of %q", oneLine(b.Title), oneLine(a.Title))
	}
	for _, p := range b.Parties {
		if !slices.Contains(a.Parties, p) {
			add(EffectNeither, "%s becomes a party", d.name(p))
		}
	}
	for _, p := range a.Parties {
		if !slices.Contains(b.Parties, p) {
			add(EffectNeither, "%s is no longer a party", d.name(p))
		}
	}
	amends := !b.Previous.IsZero() && b.Previous == NewID(a)
	switch {
	case b.NotBefore > a.NotBefore && amends:
		add(EffectNeither, "it takes the place of the agreement that it amends on %s at the earliest", writeTime(b.NotBefore))
	case b.NotBefore != a.NotBefore:
		add(rises(a.NotBefore, b.NotBefore, EffectNarrows), "it begins on %s instead of %s", writeTime(b.NotBefore), writeTime(a.NotBefore))
	}
	if a.NotAfter != b.NotAfter {
		add(rises(a.NotAfter, b.NotAfter, EffectWidens), "it ends on %s instead of %s", writeTime(b.NotAfter), writeTime(a.NotAfter))
	}
	if a.LegalBasis != b.LegalBasis {
		add(EffectNeither, "the legal basis is %q instead of %q", oneLine(b.LegalBasis), oneLine(a.LegalBasis))
	}
	if a.PaperSHA256 != b.PaperSHA256 {
		add(EffectNeither, "the signed paper is another (SHA-256 %s instead of %s)", paper(b.PaperSHA256), paper(a.PaperSHA256))
	}
	if a.NoticeDays != b.NoticeDays {
		add(EffectNeither, "notice is %s instead of %s", days(b.NoticeDays, "none"), days(a.NoticeDays, "none"))
	}
}

// NewID is the id that an agreement has if it is signed with the secret that it holds.
func NewID(a *protocol.Agreement) protocol.AgreementID {
	return protocol.NewAgreementID(protocol.Encode(a))
}

func paper(h protocol.Hash) string {
	if h.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%x", h[:])
}

func days(n uint32, none string) string {
	switch n {
	case 0:
		return none
	case 1:
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

// rises is the effect of a value that changes, if that of a rise is known.
func rises[T ~uint8 | ~uint32 | ~uint64](was, is T, rise Effect) Effect {
	if is > was {
		return rise
	}
	return opposite(rise)
}

func opposite(e Effect) Effect {
	switch e {
	case EffectWidens:
		return EffectNarrows
	case EffectNarrows:
		return EffectWidens
	}
	return e
}

// matchTerms finds for each term of b the one of a to compare it with, -1 if there is none: equal
// ones first, then those most alike, each only once.
func matchTerms(a, b []protocol.Term) []int {
	type pair struct{ i, j, likeness int }
	var pairs []pair
	for j := range b {
		for i := range a {
			if n := likeness(&a[i], &b[j]); n > 0 {
				pairs = append(pairs, pair{i, j, n})
			}
		}
	}
	slices.SortStableFunc(pairs, func(x, y pair) int { return y.likeness - x.likeness })
	out, taken := make([]int, len(b)), make([]bool, len(a))
	for j := range out {
		out[j] = -1
	}
	for _, p := range pairs {
		if out[p.j] < 0 && !taken[p.i] {
			out[p.j], taken[p.i] = p.i, true
		}
	}
	return out
}

// likeness is how much two terms have in common: 0 for another direction, or other topics, kinds
// or countries altogether.
func likeness(a, b *protocol.Term) int {
	if a.From != b.From || a.To != b.To {
		return 0
	}
	if sameTerm(a, b) {
		return 1 << 20
	}
	n := 1
	for _, l := range [][2][]string{{a.Topics, b.Topics}, {a.Kinds, b.Kinds}, {a.Countries, b.Countries}} {
		switch shared := len(inBoth(l[0], l[1])); {
		case shared > 0:
			n += 1000 * 2 * shared / (len(l[0]) + len(l[1]))
		case isAll(l[0]) || isAll(l[1]):
			n += 100
		default:
			return 0
		}
	}
	for _, same := range []bool{
		a.TLP == b.TLP, a.PAP == b.PAP, a.Personal == b.Personal, slices.Equal(a.Purposes, b.Purposes), a.RetentionDays == b.RetentionDays,
		a.HistoryDays == b.HistoryDays, sameOnward(&a.Onward, &b.Onward), a.Approval == b.Approval, a.Confidence == b.Confidence,
		a.PerDay == b.PerDay, sameHolders(&a.Holders, &b.Holders), a.ReplyHours == b.ReplyHours, a.Notify == b.Notify,
		a.Attribution == b.Attribution, a.Resale == b.Resale,
	} {
		if same {
			n += 100
		}
	}
	return n
}

func (d *differ) added(j int) {
	t := &d.new.Terms[j]
	c := Change{Effect: EffectWidens, Term: j + 1, Text: "a new term: " + d.sentence(t)}
	for i := range d.old.Terms {
		if shadows(&d.old.Terms[i], t) {
			c.Effect, c.Text = EffectNeither, c.Text+fmt.Sprintf(" (which term %d allowed before)", i+1)
			break
		}
	}
	d.out = append(d.out, c)
}

func (d *differ) removed(i int) {
	t := &d.old.Terms[i]
	c := Change{Effect: EffectNarrows, Was: i + 1, Text: "a term is gone: " + d.sentence(t)}
	for j := range d.new.Terms {
		if shadows(&d.new.Terms[j], t) {
			c.Effect, c.Text = EffectNeither, c.Text+fmt.Sprintf(" (which term %d allows)", j+1)
			break
		}
	}
	d.out = append(d.out, c)
}

// sentence says in short what a term allows.
func (d *differ) sentence(t *protocol.Term) string {
	return fmt.Sprintf("%s may send %s %s in %s, %s, up to TLP:%s", d.name(t.From), d.name(t.To),
		list(t.Kinds, "objects of every kind", "objects of kind "), list(t.Topics, "every topic", "topic "),
		list(t.Countries, "worldwide", "as far as it concerns "), upper(t.TLP))
}

// DescribeDiff writes changes from a to b for a person: what widens first.
func DescribeDiff(a, b *protocol.Agreement, changes []Change, name func(protocol.OrgID) string) string {
	if len(changes) == 0 {
		return "Nothing changes.\n"
	}
	out := ""
	for _, e := range []struct {
		effect Effect
		head   string
	}{{EffectWidens, "Widens what may be shared:"}, {EffectNarrows, "Narrows what may be shared:"}, {EffectNeither, "Changes neither:"}} {
		head := e.head + "\n"
		for _, c := range changes {
			if c.Effect != e.effect {
				continue
			}
			out += head + "  " + where(a, b, &c, name) + c.Text + ".\n"
			head = ""
		}
	}
	return out
}

func where(a, b *protocol.Agreement, c *Change, name func(protocol.OrgID) string) string {
	var t *protocol.Term
	number := ""
	switch {
	case c.Term > 0:
		t, number = &b.Terms[c.Term-1], fmt.Sprintf("term %d", c.Term)
		if c.Was > 0 && c.Was != c.Term {
			number += fmt.Sprintf(" (was %d)", c.Was)
		}
	case c.Was > 0:
		t, number = &a.Terms[c.Was-1], fmt.Sprintf("was term %d", c.Was)
	default:
		return ""
	}
	return fmt.Sprintf("%s, %s to %s: ", number, oneLine(name(t.From)), oneLine(name(t.To)))
}
