package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func testNode(t testing.TB) *node.Node {
	t.Helper()
	return testNodeBy(t, "")
}

// testNodeBy makes a node that calls by way of a proxy.
func testNodeBy(t testing.TB, proxy string) *node.Node {
	t.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: "Author", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card, Proxy: proxy})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	return n
}

var green = policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}

// add adds a source; its place is not gone to, tests give documents.
func add(t testing.TB, n *node.Node, src node.Source) {
	t.Helper()
	if src.Kind == "" {
		src.Kind, src.Where = node.SourceURL, "https://lists.example/"+src.Name
	}
	src.Schedule, src.Topic, src.MaxBytes = "every 1h", "c2", node.DefSourceBytes
	if src.MaxRecords == 0 {
		src.MaxRecords = node.DefSourceRecords
	}
	if src.Format == "" {
		src.Format = intake.Auto
	}
	if err := errors.Join(Check(&src), n.SetSource(context.Background(), src)); err != nil {
		t.Fatal(err)
	}
}

// runWith runs a source that gives documents.
func runWith(t testing.TB, n *node.Node, name string, o Options, docs ...*Document) *Report {
	t.Helper()
	rep, err := runSource(context.Background(), n, name, o, func(*node.Source, *node.SourceState, *sifter) (Puller, error) { return documents(docs), nil })
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func standing(t testing.TB, n *node.Node) []string {
	t.Helper()
	recs, _, err := n.Search(node.Query{Limit: node.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for i := range recs {
		_, v, _ := strings.Cut(string(recs[i].Object), "value = '")
		v, _, _ = strings.Cut(v, "'")
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

func wantStanding(t testing.TB, n *node.Node, want ...string) {
	t.Helper()
	if got := standing(t, n); !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("there stand %q, want %q", got, want)
	}
}

func dead(t testing.TB, n *node.Node, name string) []node.DeadLetter {
	t.Helper()
	list, err := n.Reader(nil).DeadLetters(name, false)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSourcesShareRecords: an object that two sources give is one record, and is withdrawn only when neither
// holds it.
func TestSourcesShareRecords(t *testing.T) {
	n := testNode(t)
	add(t, n, node.Source{Name: "one", Flags: green, WithdrawMissing: true})
	add(t, n, node.Source{Name: "two", Flags: green, WithdrawMissing: true})
	if rep := runWith(t, n, "one", Options{}, listOf(1, true, "198.51.100.1", "198.51.100.2", "198.51.100.3", "198[.]51[.]100[.]3")); rep.Counts.Published != 3 {
		t.Errorf("%+v", rep)
	}
	if rep := runWith(t, n, "two", Options{}, listOf(1, true, "198.51.100.1", "198.51.100.9")); rep.Counts.Published != 1 || rep.Counts.Held != 1 {
		t.Errorf("%+v", rep)
	}
	if rep := runWith(t, n, "one", Options{AcceptMissing: true}, listOf(2, true, "198[.]51[.]100[.]3")); rep.Counts.Withdrawn != 1 {
		t.Errorf("%+v", rep)
	}
	wantStanding(t, n, "198.51.100.1", "198.51.100.3", "198.51.100.9")
	// What the source did not publish it does not withdraw.
	if rep := runWith(t, n, "two", Options{AcceptMissing: true}, listOf(2, true, "198.51.100.9")); rep.Counts.Withdrawn != 0 {
		t.Errorf("%+v", rep)
	}
	// Nobody gives it any more, and the one that published it takes it back.
	add(t, n, node.Source{Name: "three", Flags: green})
	if err := n.RemoveSource(context.Background(), "two", false); err != nil {
		t.Fatal(err)
	}
	if rep := runWith(t, n, "one", Options{AcceptMissing: true}, listOf(3, true, "198.51.100.3")); rep.Counts.Withdrawn != 1 {
		t.Errorf("%+v", rep)
	}
	wantStanding(t, n, "198.51.100.3", "198.51.100.9")
}

// TestErasedIsNotGivenAgain: what was erased or withdrawn by people stays so while a source goes on giving it.
func TestErasedIsNotGivenAgain(t *testing.T) {
	n := testNode(t)
	add(t, n, node.Source{Name: "one", Flags: green})
	list := []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"}
	runWith(t, n, "one", Options{}, listOf(1, true, list...))
	for _, v := range list[:2] {
		recs, _, err := n.Search(node.Query{Value: v})
		if err != nil || len(recs) != 1 {
			t.Fatal(recs, err)
		}
		ids := []protocol.RecordID{recs[0].ID}
		if v == list[0] {
			_, err = n.Erase(context.Background(), node.EraseRequest{Records: ids, Reason: protocol.EraseRequest})
		} else {
			err = n.Withdraw(context.Background(), ids, "wrong")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if rep := runWith(t, n, "one", Options{}, listOf(2, true, append(list, "198.51.100.4")...)); rep.Counts.Published != 1 || rep.Counts.Known != 3 {
		t.Errorf("%+v", rep)
	}
	wantStanding(t, n, "198.51.100.3", "198.51.100.4")
}

// TestI5NoSourceBringsBackWhatWasErased: neither another one, nor one of the same name that was added anew, by its STIX id,
// or under another by the value that was erased; nothing of it is kept in a dead letter. A person may.
func TestI5NoSourceBringsBackWhatWasErased(t *testing.T) {
	n := testNode(t)
	add(t, n, node.Source{Name: "one", Flags: green})
	runWith(t, n, "one", Options{}, listOf(1, true, "198.51.100.1", "198.51.100.2", "198.51.100.3"))
	recs, _, err := n.Search(node.Query{Value: "198.51.100.1"})
	if err != nil || len(recs) != 1 {
		t.Fatal(recs, err)
	}
	if _, err := n.Erase(context.Background(), node.EraseRequest{Records: []protocol.RecordID{recs[0].ID}, Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Reader(nil).EraseAbout(context.Background(), node.EraseAbout{Value: "198.51.100.2", Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
	if err := n.RemoveSource(context.Background(), "one", false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		add(t, n, node.Source{Name: name, Flags: green})
		if rep := runWith(t, n, name, Options{}, listOf(1, true, "198.51.100.1", "198.51.100.2", "198.51.100.3")); rep.Counts.Published != 0 || rep.Counts.Held != 3 || rep.Error != "" {
			t.Errorf("%s: %+v", name, rep)
		}
		if list := dead(t, n, name); len(list) != 0 {
			t.Errorf("%s: dead letters %+v", name, list)
		}
	}
	other := func(name, value string) *Document {
		return &Document{Where: name, Format: intake.STIX, Next: []byte(name), Bytes: fmt.Appendf(nil, `[{"type": "indicator", "spec_version": "2.1", "id": "indicator--5d0092c5-5f74-4287-9642-33f4c354e56%s", "created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z", "pattern": "[ipv4-addr:value = '%s']", "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00Z"}]`, name, value)}
	}
	add(t, n, node.Source{Name: "three", Flags: green})
	if rep := runWith(t, n, "three", Options{}, other("1", "198.51.100.2"), other("2", "198.51.100.4")); rep.Counts.Published != 1 || rep.Counts.Held != 1 {
		t.Errorf("another object of the value: %+v", rep)
	}
	wantStanding(t, n, "198.51.100.3", "198.51.100.4")
	res, err := intake.Read("by hand", strings.NewReader("198.51.100.1\n"), intake.Options{Format: intake.List})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := n.Submit(context.Background(), nil, node.Submission{Topic: "c2", Items: res.Items, Flags: green}); err != nil || out.Results[0].State != node.SubmitPublished {
		t.Errorf("by hand: %+v, %v", out, err)
	}
}

// TestLocalRulesBindSources: what the source's principal may not publish is a dead letter with the rule's name;
// once the rule is gone it goes through.
func TestLocalRulesBindSources(t *testing.T) {
	n := testNode(t)
	load := func(text string) {
		people := `[{"uid": {"type": "Machine", "id": "feeder"}, "attrs": {"name": "Feeder"}, "parents": [{"type": "Role", "id": "sink"}]}]`
		if _, err := n.LoadRules(rules.Source{File: "r.cedar", Text: []byte(text), PeopleFile: "people.json", People: []byte(people)}); err != nil {
			t.Fatal(err)
		}
	}
	load(`@id("sinks-publish-nothing-green")
forbid (principal in Role::"sink", action == Action::"publish", resource) when { resource.tlp == "green" };`)
	if err := n.SetSource(context.Background(), node.Source{Name: "x", Kind: node.SourceURL, Where: "https://lists.example/", Principal: "nobody", Topic: "c2", MaxBytes: 1 << 20, MaxRecords: 1, Format: intake.Auto}); !errors.Is(err, node.ErrForbidden) {
		t.Errorf("a principal of whom the people file does not know: %v", err)
	}
	add(t, n, node.Source{Name: "one", Flags: green, Principal: "feeder"})
	if rep := runWith(t, n, "one", Options{}, listOf(1, true, "198.51.100.1", "198.51.100.2")); rep.Counts.Published != 0 || rep.Counts.SetAside != 2 || rep.Error != "" {
		t.Errorf("%+v", rep)
	}
	wantStanding(t, n)
	list := dead(t, n, "one")
	total := 0
	for i := range list {
		total += list[i].Count
		if !strings.Contains(list[i].Reason, "sinks-publish-nothing-green") {
			t.Errorf("it says %q", list[i].Reason)
		}
	}
	if total != 2 {
		t.Errorf("%d set aside in %d letters", total, len(list))
	}
	load("")
	for i := range list {
		if _, err := Retry(context.Background(), n, &list[i]); err != nil {
			t.Fatal(err)
		}
	}
	wantStanding(t, n, "198.51.100.1", "198.51.100.2")
	if list := dead(t, n, "one"); len(list) != 0 {
		t.Errorf("%d letters wait", len(list))
	}
	// Somebody whom the file does not name any more publishes nothing, and nothing is set aside for it.
	if _, err := n.LoadRules(rules.Source{File: "r.cedar", Text: []byte(""), PeopleFile: "people.json", People: []byte(`[{"uid": {"type": "Person", "id": "ann"}, "attrs": {"name": "Ann"}, "parents": []}]`)}); err != nil {
		t.Fatal(err)
	}
	if rep := runWith(t, n, "one", Options{}, listOf(2, true, "198.51.100.7")); !strings.Contains(rep.Error, "names nobody") || rep.Counts.SetAside != 0 {
		t.Errorf("%+v", rep)
	}
}

// TestDeadLettersKeepWhatWasStated: an object that was refused is tried again with the handling that its
// document stated, not with less.
func TestDeadLettersKeepWhatWasStated(t *testing.T) {
	n := testNode(t)
	add(t, n, node.Source{Name: "misp", Flags: policy.Flags{TLP: protocol.TLPGreen}})
	event := `{"Event": {"uuid": "5d0092c5-5f74-4287-9642-33f4c354e56d", "info": "x", "date": "2026-01-01", "timestamp": "1767225600", "Tag": [{"name": "tlp:amber"}],
 "Attribute": [{"uuid": "5d0092c5-5f74-4287-9642-33f4c354e56e", "type": "ip-dst", "value": "198.51.100.1", "to_ids": true, "category": "Network activity", "timestamp": "1767225600"}]}}`
	rep := runWith(t, n, "misp", Options{}, &Document{Where: "event", Bytes: []byte(event), Next: []byte("1")})
	if rep.Counts.Published != 0 || rep.Counts.SetAside == 0 {
		t.Fatalf("amber under a default of green: %+v", rep)
	}
	list := dead(t, n, "misp")
	if len(list) == 0 || list[0].Letter.Handling == nil || list[0].Letter.Handling.TLP != protocol.TLPAmber {
		t.Fatalf("letters %+v", list)
	}
	if err := n.RemoveSource(context.Background(), "misp", true); err != nil {
		t.Fatal(err)
	}
	add(t, n, node.Source{Name: "misp", Flags: policy.Flags{Personal: protocol.PersonalNetwork}})
	for i := range list { // as if they had been set aside by this source
		if _, err := Retry(context.Background(), n, &list[i]); err != nil {
			t.Fatal(err)
		}
	}
	recs, _, err := n.Search(node.Query{Value: "198.51.100.1"})
	if err != nil || len(recs) != 1 || recs[0].Handling.TLP != "amber" {
		t.Errorf("tried again: %+v, %v", recs, err)
	}
}

// TestRunsAreBoundedAndGoOn: a list over the limit is taken in several runs; the cursor moves with the last.
func TestRunsAreBoundedAndGoOn(t *testing.T) {
	n := testNode(t)
	add(t, n, node.Source{Name: "one", Flags: green, MaxRecords: 4, WithdrawMissing: true})
	var lines []string
	for i := range 10 {
		lines = append(lines, fmt.Sprintf("198.51.100.%d", i))
	}
	for i, want := range []uint64{4, 4, 2, 0} {
		rep := runWith(t, n, "one", Options{}, listOf(1, true, lines...))
		if rep.Counts.Published != want || rep.Counts.Withdrawn != 0 {
			t.Errorf("run %d: %+v", i, rep)
		}
		if soon := rep.Next.Before(time.Now().Add(time.Minute)); soon != (i < 2) {
			t.Errorf("after run %d the next is at %s", i, rep.Next)
		}
	}
	if st, err := n.SourceState("one"); err != nil || string(st.Cursor) != "000001" || st.All.Published != 10 || st.All.Documents != 3 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestFailuresAreToldAndBackOff.
func TestFailuresAreToldAndBackOff(t *testing.T) {
	n := testNode(t)
	add(t, n, node.Source{Name: "one", Flags: green})
	fail := func(*node.Source, *node.SourceState, *sifter) (Puller, error) {
		return nil, errors.New("the host is gone")
	}
	var last time.Duration
	for i := range 4 {
		rep, err := runSource(context.Background(), n, "one", Options{}, fail)
		if err != nil || rep.Error != "the host is gone" {
			t.Fatal(rep, err)
		}
		if wait := time.Until(*rep.Next); wait < last {
			t.Errorf("after failure %d the next is in %s, after %s before", i+1, wait, last)
		} else {
			last = wait
		}
	}
	st, err := n.Status()
	if err != nil || !slices.ContainsFunc(st.Problems, func(p node.Problem) bool {
		return p.Severity == "error" && strings.Contains(p.Text, "source one failed 4 times one after the other: the host is gone")
	}) {
		t.Errorf("problems: %+v, %v", st.Problems, err)
	}
	if m, err := n.Metrics(); err != nil || m.Sources.Failing != 1 || m.Sources.Sources != 1 {
		t.Errorf("%+v, %v", m.Sources, err)
	}
	runWith(t, n, "one", Options{}, listOf(1, true, "198.51.100.1"))
	if st, err := n.SourceState("one"); err != nil || st.Failures != 0 || st.Error != "" || st.Good == nil {
		t.Errorf("%+v, %v", st, err)
	}
}

// slow gives one document, and then nothing until its context ends.
type slow struct{ d *Document }

func (s slow) Pull(ctx context.Context, _ []byte, fn func(*Document) error) error {
	if err := fn(s.d); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestRunsEnd: a server that gives nothing more ends the run, which failed, and keeps what was taken.
func TestRunsEnd(t *testing.T) {
	n := testNode(t)
	add(t, n, node.Source{Name: "one", Flags: green})
	defer func(was time.Duration) { maxRun = was }(maxRun)
	maxRun = 2 * time.Second
	rep, err := runSource(context.Background(), n, "one", Options{}, func(*node.Source, *node.SourceState, *sifter) (Puller, error) {
		return slow{listOf(1, true, "198.51.100.1")}, nil
	})
	if err != nil || rep.Counts.Published != 1 || !strings.Contains(rep.Error, "the run was ended after 2s") {
		t.Errorf("%+v, %v", rep, err)
	}
	if st, err := n.SourceState("one"); err != nil || string(st.Cursor) != "000001" || st.Failures != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestRemovedWhileItRuns: a source that is removed in the middle commits nothing more, and one of its name that
// is added then is another.
func TestRemovedWhileItRuns(t *testing.T) {
	n := testNode(t)
	add(t, n, node.Source{Name: "one", Flags: green})
	old, err := n.Source("one")
	if err != nil {
		t.Fatal(err)
	}
	release, err := n.HoldSource("one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), n, "one", Options{}); !errors.Is(err, node.ErrSourceBusy) {
		t.Errorf("two runs at once: %v", err)
	}
	if err := n.RemoveSource(context.Background(), "one", false); !errors.Is(err, node.ErrSourceBusy) {
		t.Errorf("removed while it runs: %v", err)
	}
	release()
	if err := n.RemoveSource(context.Background(), "one", false); err != nil {
		t.Fatal(err)
	}
	add(t, n, node.Source{Name: "one", Flags: green})
	if err := n.CommitSource(old, &node.SourceCommit{Cursor: []byte("old")}); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("the old one commits: %v", err)
	}
}

// TestRunnerWatches: a file that is put into a folder is published without anybody asking, and so are those of
// before it began.
func TestRunnerWatches(t *testing.T) {
	n := testNode(t)
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(t.TempDir(), name)
		at := time.Now().Add(-time.Hour)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, at, at), os.Rename(path, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	put("early", "198.51.100.1\n")
	add(t, n, node.Source{Name: "drop", Kind: node.SourceFolder, Where: dir, Flags: green})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { New(n, nil).Run(ctx); close(done) }()
	until := func(value string) {
		t.Helper()
		for {
			changed := n.Changed()
			recs, _, err := n.Search(node.Query{Value: value})
			if err != nil {
				t.Fatal(err)
			}
			if len(recs) > 0 {
				return
			}
			select {
			case <-changed:
			case <-time.After(time.Minute): // for a test that hangs
				t.Fatalf("%s did not come", value)
			}
		}
	}
	until("198.51.100.1")
	put("late", "198.51.100.2\n") // the next regular look is an hour away
	until("198.51.100.2")
	cancel()
	<-done
}

// hundredThousand returns a list of so many lines.
func manyLines(from, count int) []string {
	lines := make([]string, count)
	for i := range lines {
		k := from + i
		lines[i] = fmt.Sprintf("10.%d.%d.%d", k>>16&255, k>>8&255, k&255)
	}
	return lines
}

// BenchmarkSource compares fetching a list of 100,000 lines that are all new with fetching it again with 10 new
// ones.
func BenchmarkSource(b *testing.B) {
	const size = 100_000
	n := testNode(b)
	add(b, n, node.Source{Name: "one", Flags: green})
	var first, again time.Duration
	for i := 0; b.Loop(); i++ {
		lines := manyLines(i*(size+10), size+10)
		at := time.Now()
		if rep := runWith(b, n, "one", Options{}, listOf(2*i, true, lines[:size]...)); rep.Counts.Published != size {
			b.Fatalf("%+v", rep)
		}
		first += time.Since(at)
		at = time.Now()
		if rep := runWith(b, n, "one", Options{}, listOf(2*i+1, true, lines...)); rep.Counts.Published != 10 || rep.Counts.Known != size {
			b.Fatalf("%+v", rep)
		}
		again += time.Since(at)
	}
	b.ReportMetric(first.Seconds()/float64(b.N), "s/first")
	b.ReportMetric(again.Seconds()/float64(b.N), "s/again")
}
