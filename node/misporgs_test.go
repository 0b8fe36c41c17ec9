package node

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func TestMISPSettings(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	id := core.NewUUID("carol")
	if err := n.SetMISPOrg(strings.ToUpper(id), n.org); err != nil {
		t.Fatal(err)
	}
	if err := n.SetMISPTLP(protocol.TLPAmber); err != nil {
		t.Fatal(err)
	}
	if got, err := n.MISP(); err != nil || got.TLP != protocol.TLPAmber || len(got.Orgs) != 1 || got.Orgs[0].UUID != id || got.Orgs[0].Org.Name != "Vendor" {
		t.Errorf("settings %+v, %v", got, err)
	}
	if org, ok := n.MISPOrg(id); !ok || org != n.org {
		t.Errorf("%s is %v, %v", id, org, ok)
	}
	for _, other := range []string{"", core.NewUUID("dan")} {
		if _, ok := n.MISPOrg(other); ok {
			t.Errorf("%q is known", other)
		}
	}
	for _, bad := range []string{"", "x", "{" + id + "}", "urn:uuid:" + id} {
		if err := n.SetMISPOrg(bad, n.org); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%q was taken: %v", bad, err)
		}
	}
	if err := n.SetMISPOrg(core.NewUUID("dan"), protocol.OrgID{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed what is not there: %v", err)
	}
	if err := errors.Join(n.SetMISPOrg(id, protocol.OrgID{}), n.SetMISPTLP(protocol.TLPUnset), n.SetMISPTLP(protocol.TLPUnset)); err != nil {
		t.Error(err)
	}
	if got, err := n.MISP(); err != nil || got.TLP != protocol.TLPUnset || len(got.Orgs) != 0 {
		t.Errorf("after all was removed: %+v, %v", got, err)
	}
	for id, d := range map[string]mispDoc{core.NewUUID("x"): {UUID: core.NewUUID("y")}, "": {TLP: 99}, "z": {UUID: "z"}} {
		if err := checkMISP([]byte(id), protocol.Encode(&d)); err == nil {
			t.Errorf("a backup with %+v as %q was taken", d, id)
		}
	}
}

// An export of events holds what the reader may read, and nothing that was withdrawn.
func TestExportMISP(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	rec := publishList(t, n, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone})
	publishList(t, n, "198.51.100.3\n", policy.Flags{TLP: protocol.TLPRed, Personal: protocol.PersonalNone, To: []protocol.OrgID{{1}}})
	if err := n.Withdraw(t.Context(), rec.Records[1:], "no longer"); err != nil {
		t.Fatal(err)
	}
	loadRules(t, n, noRed)
	export := func(who *rules.Principal) string {
		var out bytes.Buffer
		if _, err := n.Reader(who).Export(t.Context(), &out, ExportMISP, 0); err != nil {
			t.Fatal(err)
		}
		var events []*core.Event
		if err := core.Read(out.Bytes(), func(e *core.Event) { events = append(events, e) }, func(p core.Problem) { t.Error(p) }); err != nil {
			t.Fatal(err)
		}
		var values []string
		for _, e := range events {
			for _, a := range e.All() {
				values = append(values, a.Fields.Text("value"))
			}
		}
		return strings.Join(values, " ")
	}
	if got := export(&rules.Principal{ID: "eve"}); got != "198.51.100.1 198.51.100.3" {
		t.Errorf("who may read everything gets %s", got)
	}
	if got := export(n.PersonOf("ann")); got != "198.51.100.1" {
		t.Errorf("who may not read red gets %s", got)
	}
}
