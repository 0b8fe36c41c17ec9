package node

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

// toolVersion is an object as it was changed on a day of January 2026.
func toolVersion(day int, more string) string {
	return fmt.Sprintf(`{"type":"tool","spec_version":"2.1","id":"tool--1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-%02dT00:00:00.000Z","name":"T"%s}`, day, more)
}

func toolItems(t *testing.T, raw ...string) []intake.Item {
	t.Helper()
	in, err := intake.Read("tools.json", strings.NewReader("["+strings.Join(raw, ",")+"]"), intake.Options{})
	if err != nil || len(in.Problems) > 0 {
		t.Fatal(err, in.Problems)
	}
	return in.Items
}

// TestVersionsOfOurs: a later version is published, what is not later too, and said; what is no version
// of what stands is refused. What was withdrawn does not stand, and another's object is no version.
func TestVersionsOfOurs(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, police, vendor, protocol.TLPAmber, "*")
	plan := func(raw string) (refused string, warned bool) {
		t.Helper()
		p, err := vendor.Plan(PublishRequest{Topic: "c2", Items: toolItems(t, raw), Flags: amber()})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Refused {
			refused += r.Reason
		}
		return refused, len(p.Warnings) > 0
	}
	publish := func(n *Node, raw string) protocol.RecordID {
		t.Helper()
		rec, err := n.Publish(context.Background(), PublishRequest{Topic: "c2", Items: toolItems(t, raw), Flags: amber()})
		if err != nil || len(rec.Records) != 1 {
			t.Fatal(err)
		}
		return rec.Records[0]
	}
	want := func(raw, reason string, warn bool) {
		t.Helper()
		if refused, warned := plan(raw); reason == "" && refused != "" || !strings.Contains(refused, reason) || warned != warn {
			t.Errorf("%s\nis refused %q, warned %v; want %q, %v", raw, refused, warned, reason, warn)
		}
	}
	publish(police, toolVersion(9, `,"revoked":true`))
	carryNew(t, police, vendor)
	want(toolVersion(2, ""), "", false) // the other's revoked version is beside ours
	publish(vendor, toolVersion(2, ""))
	want(toolVersion(2, ""), "", false) // the same
	want(toolVersion(2, `,"labels":["x"]`), "", true)
	want(toolVersion(1, ""), "", true)
	want(toolVersion(3, `,"labels":["x"]`), "", false)
	want(strings.Replace(toolVersion(3, ""), `"created":"2026`, `"created":"2025`, 1), "created was 2026-01-01", false)
	want(toolVersion(3, `,"created_by_ref":"identity--6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b"`), "created_by_ref was not there", false)
	revoked := publish(vendor, toolVersion(4, `,"revoked":true`))
	want(toolVersion(5, ""), "it was revoked", false)
	if _, err := vendor.Publish(context.Background(), PublishRequest{Topic: "c2", Items: toolItems(t, toolVersion(5, "")), Flags: amber()}); err == nil {
		t.Error("a version after one that was revoked is published")
	}
	if err := vendor.Withdraw(context.Background(), []protocol.RecordID{revoked}, "a mistake"); err != nil {
		t.Fatal(err)
	}
	want(toolVersion(5, ""), "", false)
}
