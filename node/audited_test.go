package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// account returns the entries of a node's log, and verifies it.
func account(t testing.TB, n *Node) (list []audit.Entry) {
	t.Helper()
	if err := n.st.View(func(tx *store.Tx) error {
		return n.account.Each(tx, 0, func(e *audit.Entry) (bool, error) { list = append(list, *e); return true, nil })
	}); err != nil {
		t.Fatal(err)
	}
	verifies(t, n)
	return list
}

func verifies(t testing.TB, n *Node, since ...[]byte) {
	t.Helper()
	checks, err := n.VerifyAudit(since)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if !c.Whole {
			t.Fatalf("log %s does not verify: %q", c.Log, c.Problems)
		}
	}
}

func acts(list []audit.Entry, kind audit.Kind) (out []*audit.Details) {
	for i := range list {
		if list[i].Leaf.Kind == kind {
			out = append(out, list[i].Details)
		}
	}
	return out
}

var asAlice = WithCaller(context.Background(), Caller{Person: "alice", Purpose: "case 17"})

// TestI8EveryActIsNoted: each act that I8 names leaves an entry that says who did what for whom
// and why, at those that it concerns.
func TestI8EveryActIsNoted(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Stranger")
	author, reader, stranger := nodes[0], nodes[1], nodes[2]
	id := agree(t, author, reader, protocol.TLPGreen, "*")
	trustEachOther(t, author, stranger)
	expect := func(n *Node, kind audit.Kind, what string, ok func(d *audit.Details) bool) {
		t.Helper()
		if list := acts(account(t, n), kind); !slices.ContainsFunc(list, ok) {
			t.Errorf("%s: no entry of kind %s says so, of %d", what, kind, len(list))
			for _, d := range list {
				t.Logf("  %+v", d)
			}
		}
	}
	both := []protocol.OrgID{author.org, reader.org}
	slices.SortFunc(both, protocol.OrgID.Compare)
	for _, n := range []*Node{author, reader} {
		expect(n, audit.Agreement, "proposed", func(d *audit.Details) bool {
			return d.Act == "proposed" && d.By == author.org && d.Agreements[0] == id && slices.Equal(d.Orgs, both)
		})
		expect(n, audit.Agreement, "countersigned", func(d *audit.Details) bool { return d.Act == "signed" && d.By == reader.org })
	}
	expect(author, audit.Trust, "pinned", func(d *audit.Details) bool { return d.Act == "pin" && d.Orgs[0] == reader.org && d.Person == "" })
	if err := author.Acting(Caller{Person: "alice"}, func() error { return author.Untrust(stranger.org) }); err != nil {
		t.Fatal(err)
	}
	expect(author, audit.Trust, "unpinned", func(d *audit.Details) bool {
		return d.Act == "unpin" && d.Orgs[0] == stranger.org && d.Person == "alice"
	})
	expect(author, audit.Network, "invited", func(d *audit.Details) bool { return d.Act == "invite" && d.Orgs[0] == reader.org })
	expect(reader, audit.Network, "a member", func(d *audit.Details) bool {
		return d.Act == "member" && d.Orgs[0] == stranger.org && d.By == author.org
	})
	expect(author, audit.Network, "a topic", func(d *audit.Details) bool { return d.Act == "join topic" && d.Topic == "c2" })

	// Shared with one and withheld from nobody else that has a term; then withheld.
	rec, err := author.Publish(asAlice, PublishRequest{Topic: "c2", Items: readList(t, "198.51.100.1\n198.51.100.2\n"), Flags: green})
	if err != nil {
		t.Fatal(err)
	}
	expect(author, audit.Publish, "sealed", func(d *audit.Details) bool {
		return d.Person == "alice" && d.Purpose == "case 17" && d.Topic == "c2" && len(d.Parts) == 1 && slices.Equal(d.Parts[0].Records.IDs, rec.Records)
	})
	expect(author, audit.Decide, "for whom", func(d *audit.Details) bool {
		return len(d.Verdicts) == 1 && d.Verdicts[0].Allow && d.Orgs[0] == reader.org && d.Agreements[0] == id && d.Verdicts[0].Term == 1
	})
	secret := publishList(t, author, "198.51.100.3\n", policy.Flags{TLP: protocol.TLPAmber})
	expect(author, audit.Decide, "withheld", func(d *audit.Details) bool {
		return len(d.Verdicts) == 1 && !d.Verdicts[0].Allow && d.Verdicts[0].Reason == string(policy.ReasonTLP)
	})
	carryNew(t, author, reader)

	// Disclosed, withdrawn, erased.
	if err := reader.Disclose(asAlice, Disclosure{Act: "search", Query: "198.51.100.1", Records: rec.Records[:1]}); err != nil {
		t.Fatal(err)
	}
	expect(reader, audit.Disclose, "searched", func(d *audit.Details) bool {
		return d.Act == "search" && d.Person == "alice" && d.Purpose == "case 17" && d.Records.IDs[0] == rec.Records[0]
	})
	if _, err := reader.Export(asAlice, new(bytes.Buffer), ExportCSV, 0); err != nil {
		t.Fatal(err)
	}
	expect(reader, audit.Disclose, "an export begins", func(d *audit.Details) bool { return d.Act == "export" && d.Reason == "begins" && d.Person == "alice" })
	expect(reader, audit.Disclose, "an export ends", func(d *audit.Details) bool { return d.Act == "export" && d.Reason == "ended" && d.Records.Count == 2 })
	if err := author.Withdraw(asAlice, rec.Records[:1], "wrong"); err != nil {
		t.Fatal(err)
	}
	expect(author, audit.Withdraw, "withdrawn", func(d *audit.Details) bool {
		return d.Person == "alice" && d.Reason == "wrong" && d.Orgs[0] == reader.org && d.Records.IDs[0] == rec.Records[0]
	})
	if _, err := author.Erase(asAlice, EraseRequest{Records: rec.Records[1:], Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	erased := func(d *audit.Details) bool {
		return d.Act == "erase everywhere" && d.By == author.org && d.Reason == "legal" && slices.Equal(d.Records.IDs, rec.Records[1:])
	}
	expect(author, audit.Erase, "erased", func(d *audit.Details) bool { return erased(d) && d.Person == "alice" })
	expect(author, audit.Publish, "survivors sealed anew", func(d *audit.Details) bool {
		return d.Act == "seal anew" && len(d.Verdicts) == 1 && d.Verdicts[0].Allow
	})
	if _, err := author.Erase(asAlice, EraseRequest{Records: secret.Records, Reason: protocol.EraseError}); err != nil {
		t.Fatal(err)
	}
	expect(author, audit.Erase, "erased alone", func(d *audit.Details) bool { return slices.Equal(d.Records.IDs, secret.Records) && d.Person == "alice" })
	shareErases(t, author, reader)
	expect(reader, audit.Erase, "erased by its author", func(d *audit.Details) bool { return erased(d) && d.Person == "" })
	kept := publishList(t, author, "198.51.100.4\n", green)
	carryNew(t, author, reader)
	if _, err := reader.Erase(asAlice, EraseRequest{Records: kept.Records, Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
	expect(reader, audit.Erase, "erased here", func(d *audit.Details) bool { return d.Act == "erase here" && d.By == reader.org && d.Person == "alice" })

	// The end: what arrives after it is set aside.
	if err := reader.Acting(Caller{Person: "bob"}, func() error { return reader.Terminate(id, "enough", 0) }); err != nil {
		t.Fatal(err)
	}
	expect(reader, audit.Agreement, "terminated", func(d *audit.Details) bool {
		return d.Act == "terminated" && d.By == reader.org && d.Person == "bob" && d.Reason == "enough"
	})
	publishList(t, author, "198.51.100.5\n", green)
	carryNew(t, author, reader)
	expect(reader, audit.Quarantine, "set aside", func(d *audit.Details) bool {
		return d.By == author.org && d.Reason == string(policy.ReasonNotInForce) || d.Reason == string(policy.ReasonNoAgreement)
	})
	before := len(acts(account(t, reader), audit.Quarantine))
	if err := reader.gate.open(kept.Feed, true); err != nil {
		t.Fatal(err)
	}
	if after := len(acts(account(t, reader), audit.Quarantine)); after != before {
		t.Errorf("what was set aside is noted again when it is gone through again: %d entries after %d", after, before)
	}
	if err := author.RemoveMember(stranger.org, "gone"); err != nil {
		t.Fatal(err)
	}
	expect(author, audit.Network, "removed", func(d *audit.Details) bool {
		return d.Act == "remove member" && d.Orgs[0] == stranger.org && d.Reason == "gone"
	})
}

// TestI8PublicationIsOneEntry: neither the number of records nor what was decided before costs
// entries, and the report names the records all the same.
func TestI8PublicationIsOneEntry(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	var list strings.Builder
	const count = 3000
	for i := range count {
		fmt.Fprintf(&list, "host-%d.example.net\n", i)
	}
	first := len(account(t, author))
	publishList(t, author, list.String(), green)
	if got := len(account(t, author)) - first; got != 2 {
		t.Errorf("the first publication costs %d entries, want a decision and a publication", got)
	}
	publishList(t, author, "198.51.100.1\n", green)
	if got := len(account(t, author)) - first; got != 3 {
		t.Errorf("both publications cost %d entries", got)
	}
	rep := reportOf(t, author, reader)
	if rep.Totals.Shared != count+1 || len(rep.Shared) != 2 || len(rep.Shared[0].Records) != count || rep.Shared[0].Gone != 0 {
		t.Errorf("%d shared, in %d parts, %d of the first named", rep.Totals.Shared, len(rep.Shared), len(rep.Shared[0].Records))
	}
	var ids []protocol.RecordID
	for _, r := range rep.Shared[0].Records {
		ids = append(ids, r.Record)
	}
	entry := account(t, author)[rep.Shared[0].Entry]
	if root := audit.RootOf(ids); entry.Details.Parts[0].Records.Root != root {
		t.Error("the records that the report names are not those that the entry commits to")
	}
}

func reportOf(t testing.TB, n, org *Node) *DisclosureReport {
	t.Helper()
	rep, err := n.Report(context.Background(), ReportQuery{Org: org.org, From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestI8Report: what was shared, with the receipts, what was withheld and why, what was retracted,
// and what cannot be said any more.
func TestI8Report(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Other <b>")
	author, reader, other := nodes[0], nodes[1], nodes[2]
	id := agree(t, author, reader, protocol.TLPGreen, "TH")
	agree(t, author, other, protocol.TLPAmber, "*")
	rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen, Countries: []string{"TH"}})
	publishList(t, author, "198.51.100.3\n", policy.Flags{TLP: protocol.TLPAmber, Countries: []string{"TH"}})
	carryNew(t, author, reader)
	signed, err := reader.receipt(rec.Feed, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := author.takeReceipt(reader.ID(), signed); err != nil {
		t.Fatal(err)
	}
	if err := author.Withdraw(asAlice, rec.Records[:1], "wrong <i>"); err != nil {
		t.Fatal(err)
	}
	only := publishList(t, author, "198.51.100.9\n", policy.Flags{TLP: protocol.TLPAmber, Countries: []string{"TH"}})
	for _, id := range []protocol.RecordID{only.Records[0], publishList(t, author, "198.51.100.8\n", policy.Flags{TLP: protocol.TLPGreen, Countries: []string{"TH"}}).Records[0]} {
		if _, err := author.Erase(asAlice, EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal}); err != nil {
			t.Fatal(err)
		}
	}
	rep := reportOf(t, author, reader)
	if len(rep.Shared) != 2 || rep.Totals.Shared != 3 || rep.Totals.Opened != 2 || rep.Shared[0].Agreement != id.String() || rep.Shared[0].Term != 1 ||
		rep.Shared[0].Handling.TLP != "green" || len(rep.Shared[0].Records[0].Receipts) != 1 || rep.Shared[0].Records[0].State != "withdrawn" || rep.Shared[0].Records[1].State != "held" {
		t.Errorf("shared: %+v", rep.Shared)
	}
	if rep.Shared[1].Records[0].State != stateGone || rep.Shared[1].Gone != 1 {
		t.Errorf("what was erased is shown as %+v", rep.Shared[1])
	}
	if len(rep.Withheld) != 2 || rep.Totals.Withheld != 2 || rep.Withheld[0].Reason != string(policy.ReasonTLP) || rep.Withheld[0].Text != reasonText[policy.ReasonTLP] {
		t.Errorf("withheld: %+v", rep.Withheld)
	}
	if len(rep.Retracted) != 2 || rep.Retracted[0].Reason != "wrong <i>" || rep.Retracted[1].Reason != "legal" {
		t.Errorf("retracted: %+v", rep.Retracted)
	}
	if to := reportOf(t, author, other); to.Totals.Shared != 5 || to.Totals.Opened != 0 || to.Totals.Withheld != 0 {
		t.Errorf("of the other: %+v", to.Totals)
	}
	for _, format := range ReportFormats() {
		var b bytes.Buffer
		if err := rep.Write(&b, format); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{rec.Records[1].String(), "Reader", id.String(), "the TLP is above the ceiling of the term"} {
			if format == "csv" && want == "Reader" {
				continue
			}
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s does not hold %q", format, want)
			}
		}
		if format == "html" && (strings.Contains(b.String(), "wrong <i>") || strings.Contains(b.String(), "<script")) {
			t.Error("text of people stands in the page as it is")
		}
	}
	if err := rep.Write(new(bytes.Buffer), "pdf"); protocol.Class(err) != "malformed" {
		t.Errorf("an unknown format: %v", err)
	}
	if _, err := author.Report(asAlice, ReportQuery{Org: reader.org, From: time.Now(), To: time.Now().Add(-time.Hour)}); protocol.Class(err) != "malformed" {
		t.Errorf("a report of no time: %v", err)
	}

	// Without its details an entry tells nothing, and the report says that it does not.
	if _, err := author.EraseAudit(asAlice, AuditErasure{Entries: []uint64{rep.Shared[0].Entry}, Authority: "the DPO"}); err != nil {
		t.Fatal(err)
	}
	after := reportOf(t, author, reader)
	if after.Totals.Shared != 1 || len(after.Forgotten) != 1 || !strings.Contains(after.Forgotten[0].Said, "by alice, on the authority of the DPO") {
		t.Errorf("after erasing: %+v, %+v", after.Totals, after.Forgotten)
	}
	verifies(t, author, []byte(rep.Checkpoint))
	for name, q := range map[string]AuditErasure{"no authority": {Entries: []uint64{1}}, "nothing named": {Authority: "x"}, "long": {Entries: []uint64{1}, Authority: strings.Repeat("x", 5000)}} {
		if _, err := author.EraseAudit(asAlice, q); err == nil {
			t.Errorf("erasing, %s: accepted", name)
		}
	}
	if out, err := author.EraseAudit(asAlice, AuditErasure{Before: time.Now().Add(time.Hour), Authority: "the DPO"}); err != nil || out.Erased < 10 {
		t.Errorf("erasing all: %+v, %v", out, err)
	}
	verifies(t, author, []byte(rep.Checkpoint), []byte(after.Checkpoint))
}

// TestI8Canaries plants strings in everything that a person writes, and looks for them in the
// leaves, the checkpoints and an export, and on the disk.
func TestI8Canaries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ident, err := NewIdentity(InitRequest{Name: "canary-org", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(Config{Dir: filepath.Join(dir, "a"), Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	b := testNode(t, "canary-partner")
	intoOneNetwork(t, []*Node{a, b})
	doc := testAgreement(a, b, protocol.TLPGreen, "*")
	doc.Title = "canary-title"
	trustEachOther(t, a, b)
	id := agreeOn(t, a, b, doc)
	const stixID = "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"
	bundle := `{"type":"bundle","id":"bundle--0f3ea1c5-7b1e-4d53-9f7b-0e6d1d2a9b10","objects":[{"type":"indicator","spec_version":"2.1","id":"` + stixID + `","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z",
		"name":"canary-name","pattern":"[domain-name:value = 'canary-value.example']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}]}`
	in, err := intake.Read("x.json", strings.NewReader(bundle), intake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	who := WithCaller(context.Background(), Caller{Person: "canary-person", Purpose: "canary-purpose"})
	rec, err := a.Publish(who, PublishRequest{Topic: "c2", Items: in.Items, Flags: green})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Disclose(who, Disclosure{Act: "search", Query: "canary-value.example", Records: rec.Records}); err != nil {
		t.Fatal(err)
	}
	if err := a.Withdraw(who, rec.Records, "canary-reason"); err != nil {
		t.Fatal(err)
	}
	c, err := a.AuditCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	canaries := []string{"canary", stixID, rec.Records[0].String(), b.org.String(), id.String(), string(rec.Records[0][:]), string(b.org[:]), string(id[:]), "c2"}
	look := func(where string, data []byte, less ...string) {
		t.Helper()
		for _, x := range canaries {
			if bytes.Contains(data, []byte(x)) && !slices.Contains(less, x) {
				t.Errorf("%q stands in %s", x, where)
			}
		}
	}
	look("a checkpoint", bytes.TrimPrefix(c.Note, []byte(originLine(c.Note))), "c2")
	var export bytes.Buffer
	if _, err := a.ExportAudit(who, &export, nil, false); err != nil {
		t.Fatal(err)
	}
	look("an export", export.Bytes(), "c2") // two letters of base64 and hexadecimal
	seen := 0
	if err := a.st.View(func(tx *store.Tx) error {
		return tx.Scan([]byte(audit.Prefix), nil, false, func(k, v []byte) (bool, error) {
			seen++
			look(fmt.Sprintf("the store under %q", k), v, "c2")
			look(fmt.Sprintf("the key %q", k), k, "c2")
			return true, nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Fatalf("looked at %d values", seen)
	}
	var full bytes.Buffer
	if _, err := a.ExportAudit(who, &full, nil, true); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]byte{export.Bytes(), full.Bytes()} {
		if x, err := audit.VerifyExport(bytes.NewReader(list), "", nil); err != nil || !x.Whole() {
			t.Errorf("%+v, %v", x, err)
		}
	}
	// The looking works: with details, decoded, they are found.
	found := false
	for _, e := range account(t, a) {
		found = found || bytes.Contains(e.Encoded, []byte("canary-value.example"))
	}
	if !found {
		t.Error("the details do not even hold what was searched for")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, x := range canaries[:1] {
			if bytes.Contains(b, []byte(x)) && filepath.Base(path) != "card" {
				t.Errorf("%q stands in %s", x, path)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func originLine(note []byte) string { line, _, _ := bytes.Cut(note, []byte("\n")); return string(line) }

// TestI8ActAndEntryTogether cuts the power at every step of acts, one after the other: after the
// restart the act and its entry are there, or neither is.
func TestI8ActAndEntryTogether(t *testing.T) {
	t.Parallel()
	a, d, c := onDisk(t, "A")
	b := testNode(t, "B")
	intoOneNetwork(t, []*Node{a, b})
	id := agree(t, a, b, protocol.TLPGreen, "*")
	publishList(t, a, "198.51.100.1\n198.51.100.2\n", green)
	items := readList(t, "198.51.100.9\n")
	victim := recordOf(t, a, "198.51.100.1")
	log := a.account.Log
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	count := func(n *Node, kind audit.Kind, act string) (k int) {
		for _, d := range acts(account(t, n), kind) {
			if d.Act == act {
				k++
			}
		}
		return k
	}
	both := map[string][2]int{}
	judge := func(name string, cut int, done, noted bool) {
		t.Helper()
		if done != noted {
			t.Errorf("%s, cut at step %d: done %v, noted %v", name, cut, done, noted)
		}
		x := both[name]
		if done {
			x[0]++
		} else {
			x[1]++
		}
		both[name] = x
	}
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	cutAtEveryStep(t, c, d, func(n *Node) {
		_, err := n.Publish(asAlice, PublishRequest{Topic: "c2", Items: items, Flags: green})
		must(err)
		_, err = n.AuditCheckpoint()
		must(err)
	}, func(n *Node, cut int) {
		judge("publish", cut, reads(t, n, "198.51.100.9"), count(n, audit.Publish, "seal") == 2)
		if n.account.Log != log {
			t.Errorf("cut at step %d: the node began another log", cut)
		}
	})
	cutAtEveryStep(t, c, d, func(n *Node) {
		_, err := n.Erase(asAlice, EraseRequest{Records: []protocol.RecordID{victim}, Reason: protocol.EraseLegal})
		must(err)
	}, func(n *Node, cut int) {
		judge("erase", cut, !reads(t, n, "198.51.100.1"), count(n, audit.Erase, "erase everywhere") == 1)
	})
	cutAtEveryStep(t, c, d, func(n *Node) { must(n.Terminate(id, "x", 0)) }, func(n *Node, cut int) {
		judge("terminate", cut, len(n.snap.Load().agreements[id].terminations) == 1, count(n, audit.Agreement, "terminated") == 1)
	})
	cutAtEveryStep(t, c, d, func(n *Node) { must(n.Untrust(b.org)) }, func(n *Node, cut int) {
		_, pinned := n.snap.Load().pins[b.org]
		judge("unpin", cut, !pinned, count(n, audit.Trust, "unpin") == 1)
	})
	for name, x := range both {
		if x[0] == 0 || x[1] == 0 {
			t.Errorf("%s: %d times done and %d times not: the power was not cut in it", name, x[0], x[1])
		}
	}
}

// TestI8RolledBack: data that is put back from before begins another log, and a checkpoint of the
// first that somebody kept shows that it was shortened.
func TestI8RolledBack(t *testing.T) {
	a, d, c := onDisk(t, "A")
	if _, err := a.AuditCheckpoint(); err != nil {
		t.Fatal(err)
	}
	first := a.account.Log
	old := d.Backup(simData)
	if err := a.Disclose(asAlice, Disclosure{Act: "search"}); err != nil {
		t.Fatal(err)
	}
	kept, err := a.AuditCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	d.Restore(old, simData)
	d.Restart()
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.account.Log == first {
		t.Fatal("it goes on with the log that went back in time")
	}
	list := account(t, n)
	if d := list[0].Details; len(d.Logs) != 1 || d.Logs[0].Log != first || !strings.Contains(d.Text, "older than its anchor") {
		t.Errorf("the new log begins with %+v", d)
	}
	checks, err := n.VerifyAudit([][]byte{kept.Note})
	if err != nil || len(checks) != 2 || checks[0].Whole || !checks[1].Whole || !strings.Contains(checks[0].Problems[0], "shortened") {
		t.Errorf("%+v, %v", checks, err)
	}
}

// TestI8BackupHoldsTheLog: a restored node begins a log of its own, and holds the one of before,
// which verifies there as it did.
func TestI8BackupHoldsTheLog(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n", green)
	if _, err := author.EraseAudit(asAlice, AuditErasure{Entries: []uint64{1}, Authority: "the DPO"}); err != nil {
		t.Fatal(err)
	}
	kept, err := author.AuditCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	key := newOffline(t)
	n, _ := restoreInto(t, filepath.Join(t.TempDir(), "d"), backupOf(t, author, key), key)
	verifies(t, n, kept.Note)
	if n.account.Log == author.account.Log {
		t.Fatal("the restored node goes on with the log of another")
	}
	list := account(t, n)
	if d := list[0].Details; len(d.Logs) != 1 || d.Logs[0].Log != author.account.Log || d.Logs[0].Size < kept.Size {
		t.Errorf("the new log begins with %+v", d)
	}
	hear(t, n, reader) // it shows nothing before it was told what was erased since
	rep := reportOf(t, n, reader)
	if rep.Totals.Shared != 1 || rep.Shared[0].Records[0].Record != rec.Records[0] || rep.Shared[0].Log != author.account.Log {
		t.Errorf("the report of the restored node: %+v", rep.Totals)
	}
}

// TestI8DisclosuresTogether: what many ask at once is noted for each, and the log is whole.
func TestI8DisclosuresTogether(t *testing.T) {
	n := testNode(t, "A")
	before := len(account(t, n))
	var wg sync.WaitGroup
	const askers, times = 16, 40
	errs := make(chan error, askers*times)
	for i := range askers {
		wg.Go(func() {
			for k := range times {
				errs <- n.Disclose(asAlice, Disclosure{Act: "search", Query: fmt.Sprint(i, " ", k)})
			}
		})
	}
	wg.Wait()
	for range askers * times {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, d := range acts(account(t, n)[before:], audit.Disclose) {
		seen[d.Text] = true
	}
	if len(seen) != askers*times {
		t.Errorf("%d of %d are noted", len(seen), askers*times)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Disclose(asAlice, Disclosure{Act: "search"}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("what cannot be noted: %v", err)
	}
}

// TestI8PassedOn: what is passed on, by a rule or by persons, and what is not and why, stands in the
// account and in the report of who passes it on.
func TestI8PassedOn(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Police")
	vendor, hub, police := nodes[0], nodes[1], nodes[2]
	automatic(t, hub)
	publishOnward(t, vendor, "198.51.100.1\n198.51.100.2\n", partners)
	kept := publishList(t, vendor, "198.51.100.3\n", amber())
	along(t, nodes)
	rep := reportOf(t, hub, police)
	if rep.Totals.Shared != 2 || len(rep.Shared) != 1 || rep.Shared[0].Act != "pass on" || rep.Shared[0].Agreement == "" || rep.Shared[0].Handling.TLP != "amber" || len(rep.Shared[0].Records) != 2 {
		t.Errorf("shared: %+v", rep.Shared)
	}
	if rep.Totals.Withheld != 1 || len(rep.Withheld) != 1 || rep.Withheld[0].Reason != string(policy.ReasonOnward) || rep.Withheld[0].Records[0].Record != kept.Records[0] {
		t.Errorf("withheld: %+v", rep.Withheld)
	}
	size := len(account(t, hub))
	if err := hub.passDue(context.Background()); err != nil || len(account(t, hub)) != size {
		t.Errorf("looking again, with nothing new, costs %d entries, %v", len(account(t, hub))-size, err)
	}
	if err := hub.SetRelease(asAlice, ReleaseAsk, false); err != nil {
		t.Fatal(err)
	}
	publishOnward(t, vendor, "198.51.100.4\n", partners)
	publishOnward(t, vendor, "198.51.100.5\n", partners)
	along(t, nodes)
	if got := reportOf(t, hub, police).Totals.Shared; got != 2 {
		t.Errorf("%d records are said to be shared before anybody released them", got)
	}
	list, err := hub.Releases(false)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d releases wait, %v", len(list), err)
	}
	if _, err := hub.ApproveRelease(asAlice, list[0].Number, "bob", false); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.DenyRelease(t.Context(), list[1].Number, "carol", "no"); err != nil {
		t.Fatal(err)
	}
	entries := account(t, hub)
	for _, want := range []audit.Details{{Act: "set mode ask", Person: "alice"}, {Act: "approve", Person: "bob", Purpose: "case 17"}, {Act: "deny", Person: "carol", Reason: "no"}} {
		if !slices.ContainsFunc(acts(entries, audit.Release), func(d *audit.Details) bool {
			return d.Act == want.Act && d.Person == want.Person && d.Purpose == want.Purpose || d.Act == want.Act && d.Person == want.Person && d.Reason == want.Reason && want.Purpose == ""
		}) {
			t.Errorf("no entry says %q by %s", want.Act, want.Person)
		}
	}
	rep = reportOf(t, hub, police)
	if rep.Totals.Shared != 3 || !slices.ContainsFunc(rep.Shared, func(p ReportPart) bool { return p.Act == "pass on" && p.Person == "bob" && p.Count == 1 }) {
		t.Errorf("shared after the release: %+v", rep.Shared)
	}
}

// TestI8EveryReasonHasWords: a report tells each reason in a sentence.
func TestI8EveryReasonHasWords(t *testing.T) {
	src, err := os.ReadFile("../policy/decide.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\tReason\w+ +Reason = "([a-z-]+)"`).FindAllSubmatch(src, -1)
	if len(found) < 18 {
		t.Fatalf("found %d reasons", len(found))
	}
	for _, m := range found {
		if reasonText[policy.Reason(m[1])] == "" {
			t.Errorf("reason %s has no words", m[1])
		}
	}
}

// TestI8Volume: what a term lets through no more today is withheld record by record, and so told.
func TestI8Volume(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	trustEachOther(t, author, reader)
	doc := testAgreement(author, reader, protocol.TLPGreen, "*")
	doc.Terms[0].PerDay = 2
	agreeOn(t, author, reader, doc)
	rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
	rep := reportOf(t, author, reader)
	if rep.Totals.Shared != 2 || len(rep.Shared) != 1 || rep.Totals.Withheld != 1 || len(rep.Withheld) != 1 ||
		rep.Withheld[0].Reason != string(policy.ReasonVolume) || rep.Withheld[0].Records[0].Record != rec.Records[2] {
		t.Errorf("shared %+v, withheld %+v", rep.Shared, rep.Withheld)
	}
	publishList(t, author, "198.51.100.4\n", green)
	if rep = reportOf(t, author, reader); rep.Totals.Shared != 2 || rep.Totals.Withheld != 2 {
		t.Errorf("%+v", rep.Totals)
	}
}

// TestI8Excluded: what an originator takes back from some stands in its account and in those of who
// passed it on.
func TestI8Excluded(t *testing.T) {
	nodes := chain(t, nil, "Vendor", "Hub", "Police")
	vendor, hub, police := nodes[0], nodes[1], nodes[2]
	automatic(t, hub)
	rec := publishOnward(t, vendor, "198.51.100.1\n", partners)
	along(t, nodes)
	if err := vendor.Acting(Caller{Person: "alice"}, func() error {
		return vendor.Exclude(context.Background(), rec.Records, []protocol.OrgID{police.org})
	}); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	for _, n := range []*Node{vendor, hub} {
		count := 0
		for _, d := range acts(account(t, n), audit.Withdraw) {
			if d.Act == "exclude" && d.By == vendor.org && slices.Equal(d.Orgs, []protocol.OrgID{police.org}) && slices.Equal(d.Records.IDs, rec.Records) && (d.Person == "alice") == (n == vendor) {
				count++
			}
		}
		if count != 1 {
			t.Errorf("%s notes it %d times", n.OwnCard().Inception.Name, count)
		}
	}
}
