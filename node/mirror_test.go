package node

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// past is a mirror that shows what it was given once, whatever becomes of it: one that is told late.
type past struct {
	corpus.Reader
	list   []corpus.Entry
	behind bool
	err    error
	asked  int
}

func (p *past) Search(_ context.Context, q corpus.Query) (out []corpus.Entry, next uint64, err error) {
	p.asked++
	for i := range p.list {
		if q.Topic == "" || p.list[i].Topic == q.Topic {
			out = append(out, p.list[i])
		}
	}
	return out, 0, p.err
}

func (p *past) Get(_ context.Context, id protocol.RecordID) (*corpus.Entry, error) {
	p.asked++
	for i := range p.list {
		if p.list[i].Record == id {
			return &p.list[i], p.err
		}
	}
	return nil, p.err
}

func (p *past) Reached(context.Context, uint64) bool { return !p.behind }
func (p *past) Status() corpus.MirrorStatus {
	return corpus.MirrorStatus{Connected: !p.behind, Position: 7}
}
func (p *past) Forget(_ context.Context, _ protocol.NodeID) error { return p.err }

func entriesNow(t *testing.T, n *Node) (list []corpus.Entry) {
	t.Helper()
	err := n.st.View(func(tx *store.Tx) (err error) { list, _, err = corpus.Since(tx, 0, 100); return err })
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestMirrorShowsNothingErased: what a database still holds of what was erased is not shown, however late it is;
// nor is what local rules keep from somebody.
func TestMirrorShowsNothingErased(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, vendor, police, protocol.TLPRed, "*")
	rec := publishList(t, vendor, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPRed, Personal: protocol.PersonalNone, To: []protocol.OrgID{police.org}})
	green := publishList(t, vendor, "198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone})
	carryNew(t, vendor, police)
	loadRules(t, police, noRed)
	m := &past{list: entriesNow(t, police)}
	if len(m.list) != 2 {
		t.Fatalf("police holds %d records", len(m.list))
	}
	if err := police.UseMirror(m, "tester@db/ti", true); err != nil {
		t.Fatal(err)
	}
	eve, ann := police.Reader(&rules.Principal{ID: "eve"}), police.Reader(police.PersonOf("ann"))
	shown := func(r *Reader) (n int) {
		t.Helper()
		list, _, err := r.Search(Query{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if e, a := shown(eve), shown(ann); e != 2 || a != 1 {
		t.Errorf("shown are %d records, and %d to who may not read red", e, a)
	}
	if _, err := ann.Find(rec.Records[0].String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("who may not read a record finds it: %v", err)
	}
	if m.asked != 3 {
		t.Errorf("the mirror was asked %d times", m.asked)
	}
	if _, err := police.Erase(t.Context(), EraseRequest{Records: rec.Records, Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
	if e := shown(eve); e != 1 {
		t.Errorf("shown are %d records after one was erased", e)
	}
	if _, err := eve.Find(rec.Records[0].String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was erased is found: %v", err)
	}

	// The embedded corpus answers in the place of one that is behind, or fails.
	m.list, m.behind = nil, true
	if e := shown(eve); e != 1 {
		t.Errorf("shown are %d records while the mirror is behind", e)
	}
	m.behind, m.err = false, errors.New("torn")
	if e := shown(eve); e != 1 {
		t.Errorf("shown are %d records while the mirror fails", e)
	}
	if list, err := eve.Find(green.Records[0].String()); err != nil || len(list) != 1 {
		t.Errorf("found %v, %v while the mirror fails", list, err)
	}
	st, err := police.Status()
	if err != nil || st.Mirror == nil || st.Mirror.Answered == 0 || st.Mirror.Declined != 3 || !st.Mirror.Searched {
		t.Errorf("the mirror stands at %+v, %v", st.Mirror, err)
	}
	if err := police.UseMirror(m, "tester@db/ti", false); err != nil {
		t.Fatal(err)
	}
	before := m.asked
	if e := shown(eve); e != 1 || m.asked != before {
		t.Error("a mirror answers that is not to")
	}
}

// TestMirrorIdentity: a data directory knows its runs, and whether what a database has of it is of its own history.
func TestMirrorIdentity(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	publishList(t, n, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone})
	src := n.MirrorSource()
	first, err := src.Identity(false)
	if err != nil || len(first.Runs) != 1 || first.ID == [16]byte{} {
		t.Fatal(first, err)
	}
	again, err := src.Identity(false)
	if err != nil || again.ID != first.ID || len(again.Runs) != 1 {
		t.Errorf("asked twice it is %+v, %v", again, err)
	}
	head, err := src.Head()
	if err != nil || head != 1 {
		t.Fatal(head, err)
	}
	if list, next, err := src.Changes(0, 10); err != nil || next != 1 || len(list) != 1 || list[0].Entry == nil {
		t.Errorf("changes %v, %d, %v", list, next, err)
	}
	anew, err := src.Identity(true)
	if err != nil || anew.ID == first.ID || len(anew.Runs) != 1 {
		t.Errorf("with another id it is %+v, %v", anew, err)
	}
	a, b, c := [16]byte{1}, [16]byte{2}, [16]byte{3}
	m := corpus.MirrorIdentity{Runs: []corpus.MirrorRun{{Run: a, From: 0}, {Run: b, From: 5}}}
	for _, tc := range []struct {
		run      [16]byte
		position uint64
		want     bool
	}{
		{a, 5, true},   // the run after it began where it ended
		{a, 6, false},  // or earlier: the directory was put back
		{b, 100, true}, // the present run
		{c, 0, false},  // a run that is not known
	} {
		if got := m.Continues(tc.run, tc.position); got != tc.want {
			t.Errorf("run %d up to %d continues: %v", tc.run[0], tc.position, got)
		}
	}
}

// TestForgetMirrorIsNoted: who removes what a node wrote to the database is in the audit.
func TestForgetMirrorIsNoted(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	if err := n.ForgetMirror(t.Context(), protocol.NodeID{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a database: %v", err)
	}
	if err := n.UseMirror(&past{}, "tester@db/ti", false); err != nil {
		t.Fatal(err)
	}
	if err := n.ForgetMirror(t.Context(), protocol.NodeID{1}); err != nil {
		t.Fatal(err)
	}
	list, err := n.Audit(t.Context(), AuditQuery{})
	found := 0
	for i := range list {
		if strings.Contains(list[i].Text, protocol.NodeID{1}.String()) || list[i].Text == "tester@db/ti" {
			found++
		}
	}
	if err != nil || found != 2 {
		t.Errorf("it is not noted: %v", err)
	}
}

// TestErasureNamesTheDatabase: the report of an erasure says what is left in a database that follows, or did, and
// status tells of one that does not any more, until somebody says that it was dropped.
func TestErasureNamesTheDatabase(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	erase := func(value string) string {
		t.Helper()
		publishList(t, n, value+"\n", amber())
		rep, err := n.Erase(t.Context(), EraseRequest{Records: []protocol.RecordID{theRecord(t, n, value).ID}, Reason: protocol.EraseRequest})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range rep.Beyond {
			if strings.Contains(r.What, "PostgreSQL") {
				out = append(out, r.What+": "+r.Do)
			}
		}
		return strings.Join(out, "\n")
	}
	problem := func() bool {
		t.Helper()
		st, err := n.Status()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.Problems {
			if strings.Contains(p.Text, "PostgreSQL database followed") && strings.Contains(p.Do, "entente postgres forget "+n.ID().String()) {
				return true
			}
		}
		return false
	}
	if got := erase("198.51.100.1"); got != "" || problem() {
		t.Errorf("where there never was one: %s", got)
	}
	if err := n.ForgetMirror(t.Context(), n.ID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("dropped one that never was: %v", err)
	}
	if _, err := n.MirrorSource().Identity(false); err != nil { // as one does when it connects
		t.Fatal(err)
	}
	m := &past{}
	if err := n.UseMirror(m, "tester@db/ti", false); err != nil {
		t.Fatal(err)
	}
	if got := erase("198.51.100.2"); !strings.Contains(got, "the rows are deleted right after this") || problem() {
		t.Errorf("while it follows: %s", got)
	}
	m.behind = true
	if got := erase("198.51.100.3"); !strings.Contains(got, "is not connected now") {
		t.Errorf("while it is not connected: %s", got)
	}
	if err := n.UseMirror(nil, "", false); err != nil {
		t.Fatal(err)
	}
	if got := erase("198.51.100.4"); !strings.Contains(got, "run the node with --postgres") || !problem() {
		t.Errorf("after it followed: %s", got)
	}
	if err := n.ForgetMirror(t.Context(), n.ID()); err != nil {
		t.Fatal(err)
	}
	if got := erase("198.51.100.5"); got != "" || problem() {
		t.Errorf("after it was dropped: %s", got)
	}
}
