package node

import (
	"context"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestPersonalDataIsNoticed: what is stated to hold less personal data than it seems to is not
// published before a person looked at it; what nobody determined counts as all, and goes only where
// a term lets all through.
func TestPersonalDataIsNoticed(t *testing.T) {
	vendor, police := testNode(t, "Vendor"), testNode(t, "Police")
	intoOneNetwork(t, []*Node{vendor, police})
	trustEachOther(t, vendor, police)
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	doc.Terms[0].Personal = protocol.PersonalNetwork
	agreeOn(t, vendor, police, doc)
	ask := func(personal protocol.PersonalData, checked bool) *Plan {
		t.Helper()
		rec, err := vendor.Publish(context.Background(), PublishRequest{Topic: "c2", Items: readList(t, "ann@example.org\n198.51.100.1\n"),
			Flags: policy.Flags{TLP: protocol.TLPAmber, Personal: personal}, PersonalChecked: checked})
		if err != nil {
			t.Fatal(err)
		}
		return rec.Plan
	}
	p := ask(protocol.PersonalNone, false)
	if len(p.Refused) != 1 || !strings.Contains(p.Refused[0].Reason, "an e-mail address in its pattern; state \"all\"") || p.Records != 1 || p.Orgs[0].Records != 1 {
		t.Errorf("%+v", p.Refused)
	}
	if p := ask(protocol.PersonalNone, true); len(p.Refused) != 0 || p.Orgs[0].Records != 2 {
		t.Errorf("after a person looked: %+v", p.Refused)
	}
	if p := ask(protocol.PersonalAll, false); len(p.Refused) != 0 || p.Orgs[0].Records != 0 || p.Orgs[0].Refused[policy.ReasonPersonalData] != 2 || len(p.Personal) != 1 {
		t.Errorf("stated as all: %+v", p.Orgs[0])
	}
	if p := ask(protocol.PersonalUndetermined, false); len(p.Refused) != 0 || p.Orgs[0].Records != 0 {
		t.Errorf("undetermined: %+v", p.Orgs[0])
	}
}
