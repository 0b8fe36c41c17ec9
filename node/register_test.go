package node

import (
	"bytes"
	"encoding/csv"
	"testing"
	"time"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestRegister: the register tells for each term on what basis who gets what, and counts what went
// under it by category.
func TestRegister(t *testing.T) {
	vendor, police := testNode(t, "Vendor"), testNode(t, "Police")
	intoOneNetwork(t, []*Node{vendor, police})
	trustEachOther(t, vendor, police)
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	doc.LegalBasis, doc.Terms[0].Purposes, doc.Terms[0].RetentionDays = "=section 4", []string{"investigation"}, 90
	back := testAgreement(police, vendor, protocol.TLPGreen, "*").Terms[0]
	doc.Terms = append(doc.Terms, back)
	id := agreeOn(t, vendor, police, doc)
	publishList(t, vendor, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalNone})
	publishList(t, vendor, "198.51.100.3\n", policy.Flags{TLP: protocol.TLPAmberStrict, Personal: protocol.PersonalNone})
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	r, err := vendor.Register(t.Context(), from, to)
	if err != nil || len(r.Entries) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	l := r.Entries[0]
	if l.Recipient.ID != police.Org() || l.Agreement != id.String() || l.Term != 1 || l.Retention != 90 || l.LegalBasis != "=section 4" || l.State != AgreementInForce {
		t.Errorf("%+v", l)
	}
	if len(l.Shared) != 1 || l.Shared[0] != (RegisterCount{Category: "indicator", PersonalData: "none", TLP: "amber", Records: 2}) || l.Withheld != 1 {
		t.Errorf("shared %+v, withheld %d", l.Shared, l.Withheld)
	}
	var b bytes.Buffer
	if err := r.Write(&b, "csv"); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "Police" || rows[1][22] != "2" || rows[1][23] != "1" {
		t.Errorf("%q, %v", rows, err)
	}
	if rows[1][7] == "=section 4" {
		t.Error("a cell of the table is a formula")
	}
	if _, err := vendor.Register(t.Context(), to, from); err == nil {
		t.Error("a time that ends before it begins")
	}
	if err := r.Write(&b, "docx"); err == nil {
		t.Error("a format that is none")
	}
	seen, err := vendor.Audit(t.Context(), AuditQuery{Kind: "disclose"})
	if err != nil || len(seen) == 0 {
		t.Errorf("that it was made is not noted: %+v, %v", seen, err)
	}
}
