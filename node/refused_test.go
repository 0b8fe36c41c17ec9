package node

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// TestI8RefusalsAreNoted: rules that were put in force, rules that were refused and where they are
// wrong, and requests that rules did not allow, each with who it was.
func TestI8RefusalsAreNoted(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	load := func(text string) error {
		return author.Acting(Caller{Person: "alice"}, func() error {
			_, err := author.LoadRules(rules.Source{File: "own.cedar", Text: []byte(text)})
			return err
		})
	}
	if err := load(noShare); err != nil {
		t.Fatal(err)
	}
	if err := load("forbid (principal, action, resource"); err == nil {
		t.Fatal("broken rules were taken")
	}
	list := acts(account(t, author), audit.Rules)
	if len(list) != 2 || list[0].Act != "load rules" || list[1].Act != "refuse rules" || list[0].Person != "alice" || list[1].Person != "alice" ||
		!strings.Contains(list[1].Reason, "own.cedar:1:") || !strings.Contains(list[0].Text, author.snap.Load().rulesDoc.hash().String()) {
		t.Fatalf("%+v", list)
	}
	for range audit.MaxForeign + 300 {
		author.NoteRefused(Caller{Person: "b.17x"}, "POST /v1/publish", verdictError(rules.Verdict{Text: "no rule permits it"}))
	}
	list = acts(account(t, author), audit.Refuse)
	if n := len(list); n < audit.MaxForeign || n > audit.MaxForeign+2 || list[0].Person != "b.17x" || !strings.Contains(list[0].Reason, "no rule permits it") {
		t.Errorf("%d entries", n)
	}

	// In the report are the acts, and nothing of what the rules say or of who it was.
	var page bytes.Buffer
	rep, err := author.Report(context.Background(), ReportQuery{Org: reader.org, From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Rules) != 2 || len(rep.Refused) < audit.MaxForeign {
		t.Errorf("%d sets of rules and %d refusals in the report", len(rep.Rules), len(rep.Refused))
	}
	for _, format := range ReportFormats() {
		if err := rep.Write(&page, format); err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range []string{"b.17x", "alice", "own.cedar", "no rule permits"} {
		if strings.Contains(page.String(), secret) {
			t.Errorf("%q stands in the report", secret)
		}
	}
}

// TestI8RefusedLetter: a letter that is worthless is accounted for, by whom it was and why.
func TestI8RefusedLetter(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	trustEachOther(t, author, reader)
	if err := author.st.Update(func(tx *store.Tx) error {
		return keepLetter(tx, &pendingLetter{Parties: []protocol.OrgID{reader.org}, Kind: protocol.LetterRefusal, Content: []byte("no refusal")})
	}); err != nil {
		t.Fatal(err)
	}
	if err := author.sendLetters(); err != nil {
		t.Fatal(err)
	}
	carryNew(t, author, reader)
	list := acts(account(t, reader), audit.Refuse)
	if len(list) != 1 || list[0].Act != "refuse letter" || list[0].By != author.org || list[0].Reason != "malformed" {
		t.Errorf("%+v", list)
	}
}

// TestHiddenIsNotFound: who may not read a record is told what is told of one that is not there.
func TestHiddenIsNotFound(t *testing.T) {
	hidden := &hiddenError{text: "record x: not found", why: "rule 7"}
	if !errors.Is(hidden, ErrNotFound) || errors.Is(hidden, ErrForbidden) || !Forbidden(hidden) || strings.Contains(hidden.Error(), "rule") {
		t.Error("it says that it is hidden")
	}
	if Forbidden(ErrNotFound) {
		t.Error("what is not there is taken for forbidden")
	}
}

// TestAuditIndexComesBack: a restored node finds the entries of the log that came with the backup, and
// an index that does not agree with its log is told and made anew.
func TestAuditIndexComesBack(t *testing.T) {
	n := testNode(t, "Author")
	for range 3 {
		if err := n.Disclose(asAlice, Disclosure{Act: "search"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.st.Update(func(tx *store.Tx) error {
		var gone [][]byte
		err := tx.Scan([]byte(audit.Prefix+"x"), nil, false, func(k, _ []byte) (bool, error) { gone = append(gone, slices.Clone(k)); return true, nil })
		for _, k := range gone {
			err = errors.Join(err, tx.Delete(k))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	found := func() int {
		t.Helper()
		list, err := n.Audit(context.Background(), AuditQuery{Person: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if got := found(); got != 0 {
		t.Fatalf("%d entries are found without an index", got)
	}
	checks, err := n.VerifyAudit(nil)
	if err != nil || len(checks) != 1 || !checks[0].Whole || checks[0].Index == "" {
		t.Fatalf("%+v, %v", checks, err)
	}
	if got := found(); got != 3 {
		t.Errorf("%d entries are found, of 3", got)
	}
	checks, err = n.VerifyAudit(nil)
	if err != nil || checks[0].Index != "" {
		t.Errorf("%+v, %v", checks, err)
	}
}
