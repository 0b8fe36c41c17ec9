package policy

import "testing"

// endedAt is the word of bob that he leaves, at once.
func endedAt(at uint64) []End { return []End{{Org: bob, Made: at, At: at}} }

func TestInForce(t *testing.T) {
	for _, row := range []struct {
		name         string
		terminatedAt uint64
		at           uint64
		want         bool
	}{
		{"before", 0, begins - 1, false},
		{"first moment", 0, begins, true},
		{"last moment", 0, ends - 1, true},
		{"end", 0, ends, false},
		{"before the termination", now, now - 1, true},
		{"termination", now, now, false},
		{"terminated before it began", begins - 1, begins, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := testAgreement(1, wideTerm(alice, bob))
			if row.terminatedAt != 0 {
				a.Ends = endedAt(row.terminatedAt)
			}
			if got := a.InForce(row.at); got != row.want {
				t.Errorf("in force = %v, want %v", got, row.want)
			}
		})
	}
}

func TestGroup(t *testing.T) {
	th, vn, all := wideTerm(alice, bob), wideTerm(alice, bob), wideTerm(alice, carol)
	th.Countries, vn.Countries = []string{"TH"}, []string{"SG", "VN"}
	back := wideTerm(dave, alice)
	s := testState(testAgreement(1, vn, all, back), testAgreement(2, th), testAgreement(3, th))
	for org, want := range map[string]string{"bob": "SG,VN;TH", "carol": "*", "dave": "", "mallory": ""} {
		id, err := resolveOrg(org)
		if err != nil {
			t.Fatal(err)
		}
		if got := Group(s, id); got != want {
			t.Errorf("group of %s = %q, want %q", org, got, want)
		}
	}
}
