package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// reasonConstants reads the Reason constants from the source, so that a new one without a
// row is noticed.
func reasonConstants(t *testing.T) map[Reason]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "decide.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[Reason]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		out[Reason(value)] = spec.Names[0].Name
		return true
	})
	if len(out) < 10 {
		t.Fatalf("found only %d reasons", len(out))
	}
	return out
}

func TestEveryReasonHasARow(t *testing.T) {
	covered := map[Reason]bool{}
	for _, row := range decideRows {
		covered[row.decide().Reason] = true
	}
	if covered[ReasonOnward] {
		t.Error("Decide itself gave the onward reason")
	}
	for _, row := range onwardRows {
		covered[row.decide().Reason] = true
	}
	foreign := openSubject()
	foreign.Originator = dave
	covered[Ingress(testState(), bob, foreign, now).Reason] = true
	covered[ReasonVolume] = true  // by the node, which counts
	covered[ReasonMandate] = true // by the node, which knows revocations
	covered[withheldRows[1].decide().Reason] = true
	known := reasonConstants(t)
	for r, name := range known {
		if !covered[r] {
			t.Errorf("no row gives %s (%q)", name, r)
		}
	}
	for r := range covered {
		if known[r] == "" {
			t.Errorf("reason %q is not a constant", r)
		}
	}
}

// The refusals of terms are ranked; the first few of Reason never come from a term.
func TestEveryRefusalOfATermIsRanked(t *testing.T) {
	for _, row := range decideRows {
		if d := row.decide(); d.Term > 0 && !d.Allow && !slices.Contains(furthest, d.Reason) {
			t.Errorf("%s: %q is not ranked", row.name, d.Reason)
		}
	}
}

func TestRefusalThatGotFurthestIsTold(t *testing.T) {
	topic, tlp, country := wideTerm(alice, bob), wideTerm(alice, bob), wideTerm(alice, bob)
	topic.Topics = []string{"malware"}
	tlp.TLP = protocol.TLPClear
	country.Countries = []string{"VN"}
	for _, agreements := range [][]Agreement{
		{testAgreement(1, topic, country, tlp)},
		{testAgreement(1, country), testAgreement(2, tlp), testAgreement(3, topic)},
	} {
		d := Decide(testState(agreements...), alice, bob, openSubject(), now)
		wantReason(t, d, ReasonCountry)
	}
	d := Decide(testState(testAgreement(1, topic, country, tlp)), alice, bob, openSubject(), now)
	if d.Term != 2 {
		t.Errorf("term = %d, want 2", d.Term)
	}
}

func TestRetention(t *testing.T) {
	for _, row := range []struct {
		name       string
		record     uint32
		terms      []uint32
		want       uint32
		wantedTerm int
	}{
		{"nobody restricts", 0, []uint32{0}, 0, 1},
		{"the term's", 0, []uint32{30}, 30, 1},
		{"the originator's", 90, []uint32{0}, 90, 1},
		{"the shorter: term", 90, []uint32{30}, 30, 1},
		{"the shorter: originator", 10, []uint32{30}, 10, 1},
		{"of two terms the longer", 0, []uint32{30, 60}, 60, 2},
		{"unrestricted is longest", 0, []uint32{30, 0, 60}, 0, 2},
		{"of equal terms the first", 0, []uint32{30, 30}, 30, 1},
		{"the longer term, the originator's limit", 45, []uint32{30, 60}, 45, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			var terms []protocol.Term
			for _, days := range row.terms {
				term := wideTerm(alice, bob)
				term.RetentionDays = days
				terms = append(terms, term)
			}
			subj := openSubject()
			subj.Handling.RetentionDays = row.record
			d := Decide(testState(testAgreement(1, terms...)), alice, bob, subj, now)
			wantReason(t, d, ReasonOK)
			if d.Retention != row.want || d.Term != row.wantedTerm {
				t.Errorf("retention %d by term %d, want %d by term %d", d.Retention, d.Term, row.want, row.wantedTerm)
			}
		})
	}
}
