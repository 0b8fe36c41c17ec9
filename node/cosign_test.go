package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// askFor lets one node have its log cosigned by another, as it would on the network.
func askFor(t testing.TB, n, by *Node, mark cosignMark) (uint64, error) {
	t.Helper()
	return n.haveCosigned(context.Background(), by.ID(), mark, func(_ context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		return by.serveCosign(n.ID(), n.Org(), m)
	})
}

func cosignersOf(t testing.TB, n *Node) []AuditCosigner {
	t.Helper()
	checks, err := n.VerifyAudit(nil)
	if err != nil {
		t.Fatal(err)
	}
	last := checks[len(checks)-1]
	if !last.Whole {
		t.Fatalf("%q", last.Problems)
	}
	return last.Cosigners
}

// TestI8PartnersCosign: a partner cosigns a log as it grows, others do not, and who cosigned stays
// between the two.
func TestI8PartnersCosign(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Partner", "Second", "Stranger")
	author, partner, second, stranger := nodes[0], nodes[1], nodes[2], nodes[3]
	agree(t, author, partner, protocol.TLPGreen, "*")
	agree(t, author, second, protocol.TLPGreen, "*")
	first, err := askFor(t, author, partner, cosignMark{})
	if err != nil {
		t.Fatal(err)
	}
	if list := cosignersOf(t, author); len(list) != 1 || list[0].Org.ID != partner.org || list[0].Entries != first {
		t.Fatalf("%+v", list)
	}
	if err := author.Disclose(asAlice, Disclosure{Act: "search"}); err != nil {
		t.Fatal(err)
	}
	// Whether or not it remembers what the partner holds, and with another one besides.
	for _, mark := range []cosignMark{{log: author.account.Log, held: first}, {}, {log: author.account.Log, held: 1}} {
		if held, err := askFor(t, author, partner, mark); err != nil || held != first+1 {
			t.Errorf("asked as of %d: %d, %v", mark.held, held, err)
		}
	}
	if _, err := askFor(t, author, second, cosignMark{}); err != nil {
		t.Fatal(err)
	}
	list := cosignersOf(t, author)
	if len(list) != 2 || list[0].Entries != first+1 || list[1].Entries != first+1 {
		t.Errorf("%+v", list)
	}
	if _, err := askFor(t, author, stranger, cosignMark{}); protocol.Class(err) != "no-agreement" {
		t.Errorf("a stranger: %v", err)
	}
	c, err := author.AuditCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	var export strings.Builder
	if _, err := author.ExportAudit(asAlice, &export, nil, false); err != nil {
		t.Fatal(err)
	}
	for _, by := range []*Node{partner, second} {
		if strings.Contains(string(c.Note), by.ID().String()) || strings.Contains(export.String(), by.ID().String()) {
			t.Error("a checkpoint that is handed out says with whom its node has agreements")
		}
	}
	// It is in the form of C2SP tlog-cosignature.
	if err := author.st.View(func(tx *store.Tx) error {
		return author.account.EachCheckpoint(tx, func(size uint64, signed []byte) error {
			if size != first {
				return nil
			}
			n, err := note.Open(signed, note.VerifierList(crypto.CosignVerifier("entente/node/"+partner.ID().String(), partner.keys.Signing.Public())))
			if err != nil || len(n.Sigs) != 1 {
				t.Errorf("%+v, %v", n, err)
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
}

// TestI8PartnersSeeARewrittenLog: a log that was shortened, or continued otherwise from an earlier
// state, gets no cosignature; two checkpoints of one length are kept as the proof.
func TestI8PartnersSeeARewrittenLog(t *testing.T) {
	nodes := testNetwork(t, "Author", "Partner")
	author, partner := nodes[0], nodes[1]
	agree(t, author, partner, protocol.TLPGreen, "*")
	before := keepLog(t, author)
	search(t, author, "one")
	if _, err := askFor(t, author, partner, cosignMark{}); err != nil {
		t.Fatal(err)
	}
	putBackLog(t, author, before)
	if _, err := askFor(t, author, partner, cosignMark{}); protocol.Class(err) != "broken-chain" {
		t.Errorf("a log that was shortened: %v", err)
	}
	wantProblem(t, author, "cosigned another audit log of this node")
	wantVerified(t, author, "the log was shortened: it has")
	search(t, author, "other")
	if _, err := askFor(t, author, partner, cosignMark{}); protocol.Class(err) != "broken-chain" {
		t.Errorf("another log of the same length: %v", err)
	}
	wantProblem(t, partner, "of Author signed two accounts of one length")
	wantVerified(t, author, "are not those of the checkpoint that node")
	search(t, author, "more")
	if _, err := askFor(t, author, partner, cosignMark{}); protocol.Class(err) != "broken-chain" {
		t.Errorf("a longer log that continues another state: %v", err)
	}
	if list, err := partner.Cosigned(); err != nil || len(list) != 1 || !list[0].Forked {
		t.Errorf("the proof is gone: %+v, %v", list, err)
	}
}

// TestI8AnotherContinuationIsRemembered: of an account that is longer, and does not continue the one
// cosigned, both checkpoints are kept, and both nodes tell.
func TestI8AnotherContinuationIsRemembered(t *testing.T) {
	nodes := testNetwork(t, "Author", "Partner")
	author, partner := nodes[0], nodes[1]
	agree(t, author, partner, protocol.TLPGreen, "*")
	before := keepLog(t, author)
	search(t, author, "one")
	if _, err := askFor(t, author, partner, cosignMark{}); err != nil {
		t.Fatal(err)
	}
	putBackLog(t, author, before)
	for range 3 {
		search(t, author, "other")
	}
	if _, err := askFor(t, author, partner, cosignMark{}); protocol.Class(err) != "broken-chain" {
		t.Errorf("another account: %v", err)
	}
	wantProblem(t, author, "cosigned another audit log of this node")
	wantVerified(t, author, "is another continuation of an earlier state")
	wantProblem(t, partner, "of Author shows an audit log that does not continue the one cosigned here")
	list, err := partner.Cosigned()
	if err != nil || len(list) != 1 || list[0].Against == "" || list[0].Forked {
		t.Fatalf("%+v, %v", list, err)
	}
}

// TestI8TwoPartnersWereShownTwoAccounts: each of them cosigned a good account, and only together
// they see that these are two.
func TestI8TwoPartnersWereShownTwoAccounts(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Partner", "Second", "Third")
	author, partner, second, third := nodes[0], nodes[1], nodes[2], nodes[3]
	for _, n := range nodes[1:] {
		agree(t, author, n, protocol.TLPGreen, "*")
	}
	before := keepLog(t, author)
	search(t, author, "one")
	ask := func(by *Node) {
		t.Helper()
		if _, err := askFor(t, author, by, cosignMark{}); err != nil {
			t.Fatal(err)
		}
	}
	held := func(by *Node) []byte {
		t.Helper()
		list, err := by.Cosigned()
		if err != nil || len(list) != 1 || list[0].Org.Name != "Author" || list[0].Against != "" {
			t.Fatalf("%+v, %v", list, err)
		}
		return []byte(list[0].Checkpoint)
	}
	ask(partner)
	ask(third)
	theirs := held(partner)
	putBackLog(t, author, before)
	search(t, author, "other")
	ask(second)
	if _, told, forked, err := third.CompareCosigned(theirs); err != nil || !told || forked {
		t.Errorf("of one account: %v, %v, %v", told, forked, err)
	}
	log, told, forked, err := second.CompareCosigned(theirs)
	if err != nil || !told || !forked || log.Org.Name != "Author" {
		t.Fatalf("of two accounts: %+v, %v, %v, %v", log, told, forked, err)
	}
	wantProblem(t, second, "of Author signed two accounts of one length")
	// Of two lengths it needs the log, and to whichever that is one of them does not belong.
	search(t, author, "more")
	ask(second)
	if _, told, forked, err := partner.CompareCosigned([]byte(cosignedBy(t, second))); err != nil || told || forked {
		t.Errorf("of two lengths: %v, %v, %v", told, forked, err)
	}
	checks, err := author.VerifyAudit([][]byte{theirs, []byte(cosignedBy(t, second))})
	if err != nil || checks[len(checks)-1].Whole {
		t.Errorf("%+v, %v", checks, err)
	}
	for name, c := range map[string][]byte{
		"junk": []byte("junk"), "changed": append(slices.Clone(theirs[:len(theirs)-8]), "AAAAAAA\n"...), "long": make([]byte, protocol.MaxCheckpoint+1),
	} {
		if _, _, _, err := second.CompareCosigned(c); err == nil || protocol.Class(err) == "other" {
			t.Errorf("%s: %v", name, err)
		}
	}
	own, err := second.AuditCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := second.CompareCosigned(own.Note); !errors.Is(err, ErrNotFound) {
		t.Errorf("a log that was not cosigned: %v", err)
	}
}

func cosignedBy(t *testing.T, n *Node) string {
	t.Helper()
	list, err := n.Cosigned()
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0].Checkpoint
}

func search(t *testing.T, n *Node, what string) {
	t.Helper()
	if err := n.Disclose(asAlice, Disclosure{Act: "search", Query: what}); err != nil {
		t.Fatal(err)
	}
}

func wantProblem(t *testing.T, n *Node, text string) {
	t.Helper()
	st, err := n.Status()
	if err != nil || !slices.ContainsFunc(st.Problems, func(p Problem) bool { return strings.Contains(p.Text, text) }) {
		t.Errorf("%q is not told: %+v, %v", text, st.Problems, err)
	}
}

func wantVerified(t *testing.T, n *Node, problem string) {
	t.Helper()
	checks, err := n.VerifyAudit(nil)
	if err != nil {
		t.Fatal(err)
	}
	last := checks[len(checks)-1]
	if last.Whole || !slices.ContainsFunc(last.Problems, func(p string) bool { return strings.Contains(p, problem) }) {
		t.Errorf("%q is not found: %q", problem, last.Problems)
	}
}

// keepLog returns the audit logs of a node, as they are stored.
func keepLog(t *testing.T, n *Node) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	if err := n.st.View(func(tx *store.Tx) error {
		return tx.Scan([]byte(audit.Prefix), nil, false, func(k, v []byte) (bool, error) { out[string(k)] = slices.Clone(v); return true, nil })
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// putBackLog puts the audit logs back to an earlier state.
func putBackLog(t *testing.T, n *Node, to map[string][]byte) {
	t.Helper()
	now := keepLog(t, n)
	if err := n.st.Update(func(tx *store.Tx) error {
		for k := range now {
			if err := tx.Delete([]byte(k)); err != nil {
				return err
			}
		}
		for k, v := range to {
			if err := tx.Set([]byte(k), v); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestCosignRefused: what comes from a peer is judged before anything is kept of it.
func TestCosignRefused(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Partner", "Second")
	author, partner, second := nodes[0], nodes[1], nodes[2]
	agree(t, author, partner, protocol.TLPGreen, "*")
	agree(t, second, partner, protocol.TLPGreen, "*")
	c, err := author.AuditCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	before := fingerprint(t, partner)
	msg := func(parts ...[]byte) *protocol.SyncMessage {
		return &protocol.SyncMessage{Version: 1, Kind: protocol.SyncCosign, Envelopes: parts}
	}
	good := protocol.Encode(&protocol.CosignRequest{Checkpoint: c.Note})
	for name, m := range map[string]*protocol.SyncMessage{
		"none": msg(), "two": msg(good, good), "junk": msg([]byte("junk")),
		"no checkpoint": msg(protocol.Encode(&protocol.CosignRequest{})),
		"long":          msg(protocol.Encode(&protocol.CosignRequest{Checkpoint: make([]byte, protocol.MaxCheckpoint+1)})),
		"long proof":    msg(protocol.Encode(&protocol.CosignRequest{Proof: make([]protocol.Hash, protocol.MaxAuditProof+1), Checkpoint: c.Note})),
		"changed":       msg(protocol.Encode(&protocol.CosignRequest{Checkpoint: append(slices.Clone(c.Note), 'x')})),
	} {
		if _, err := partner.serveCosign(author.ID(), author.org, m); err == nil || protocol.Class(err) == "other" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := partner.serveCosign(second.ID(), second.org, msg(good)); protocol.Class(err) != "bad-signature" {
		t.Errorf("a checkpoint of another node: %v", err)
	}
	if fingerprint(t, partner) != before {
		t.Error("something of it was kept")
	}
	// One node does not fill the store with logs.
	for i := range maxCosignedLogs + 1 {
		if err := author.st.Update(func(tx *store.Tx) (err error) {
			author.account, err = audit.Start(tx, author.org, author.ID(), author.keys.Signing.Public(), uint64(nowMillis()), "test")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := askFor(t, author, partner, cosignMark{}); (err == nil) != (i < maxCosignedLogs) {
			t.Errorf("log %d: %v", i, err)
		}
	}
	// An answer that is none.
	for name, a := range map[string]*protocol.SyncMessage{
		"other kind": {Version: 1, Kind: protocol.SyncWithheld}, "junk": msg([]byte("junk")),
		"no signature":    msg(protocol.Encode(&protocol.CosignAnswer{Held: 1, Signature: []byte("— x AAAA\n")})),
		"long checkpoint": msg(protocol.Encode(&protocol.CosignAnswer{Checkpoint: make([]byte, protocol.MaxCheckpoint+1)})),
		"another's":       msg(protocol.Encode(&protocol.CosignAnswer{Held: 1, Checkpoint: checkpointOf(t, partner)})),
		"long signature":  msg(protocol.Encode(&protocol.CosignAnswer{Signature: make([]byte, protocol.MaxCosignature+1)})),
		"more held":       msg(protocol.Encode(&protocol.CosignAnswer{Held: 1 << 40})),
	} {
		if _, err := author.haveCosigned(context.Background(), partner.ID(), cosignMark{}, func(context.Context, *protocol.SyncMessage) (*protocol.SyncMessage, error) { return a, nil }); err == nil || protocol.Class(err) == "other" {
			t.Errorf("answer, %s: %v", name, err)
		}
	}
}

func checkpointOf(t *testing.T, n *Node) []byte {
	t.Helper()
	c, err := n.AuditCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	return c.Note
}
