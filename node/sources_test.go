package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func testSource(name string) Source {
	return Source{Name: name, Kind: SourceURL, Where: "https://lists.example/" + name, Schedule: "every 1h", Topic: "c2", Format: intake.List, MaxRecords: 10, MaxBytes: 1 << 20,
		Flags: policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}}
}

// addSource adds a source and returns it as it is kept.
func addSource(t testing.TB, n *Node, s Source) *Source {
	t.Helper()
	if err := n.SetSource(WithCaller(context.Background(), Caller{Person: "Officer"}), s); err != nil {
		t.Fatal(err)
	}
	out, err := n.Source(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func testLetter(id byte, text string) Letter {
	return Letter{ID: DeadID{id}, Where: "list", Line: 1, Count: 1, Reason: "because", Do: "something", Format: intake.List, Bytes: []byte(text)}
}

func putLetters(t testing.TB, n *Node, s *Source, list ...Letter) {
	t.Helper()
	if err := n.CommitSource(s, &SourceCommit{Letters: list}); err != nil {
		t.Fatal(err)
	}
}

func letterTexts(t testing.TB, r *Reader, held bool) []string {
	t.Helper()
	list, err := r.DeadLetters("", held)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for i := range list {
		out = append(out, strings.TrimSpace(string(list[i].Letter.Bytes)))
	}
	slices.Sort(out)
	return out
}

func TestSourcesRefused(t *testing.T) {
	t.Parallel()
	n := testNode(t, "Author")
	for name, change := range map[string]func(*Source){
		"name":             func(s *Source) { s.Name = "A b" },
		"kind":             func(s *Source) { s.Kind = "ftp" },
		"no place":         func(s *Source) { s.Where = "" },
		"long place":       func(s *Source) { s.Where = strings.Repeat("x", maxSourceWhere+1) },
		"no topic":         func(s *Source) { s.Topic = "" },
		"few bytes":        func(s *Source) { s.MaxBytes = 1 },
		"many bytes":       func(s *Source) { s.MaxBytes = intake.MaxFile + 1 },
		"no records":       func(s *Source) { s.MaxRecords = 0 },
		"many records":     func(s *Source) { s.MaxRecords = MaxSourceKnown + 1 },
		"two logins":       func(s *Source) { s.Secret = SourceSecret{User: "a", Token: "b"} },
		"long login":       func(s *Source) { s.Secret.Token = strings.Repeat("x", maxSourceSecret+1) },
		"no certificate":   func(s *Source) { s.CA = []byte("x") },
		"labels":           func(s *Source) { s.Labels = []byte("value,country,tlp\nnothing,XXX,") },
		"many labels":      func(s *Source) { s.Labels = make([]byte, MaxSourceLabels+1) },
		"format":           func(s *Source) { s.Format = "xml" },
		"codes not a list": func(s *Source) { s.Format, s.Assessment = intake.STIX, AssessmentCodes{Reliability: "A"} },
		"unknown codes":    func(s *Source) { s.Assessment = AssessmentCodes{Reliability: "Z"} },
		"missing of files": func(s *Source) { s.Kind, s.WithdrawMissing = SourceFolder, true },
		"moving a URL":     func(s *Source) { s.MoveDone = true },
		"no country":       func(s *Source) { s.Flags.Countries = []string{"Thailand"} },
	} {
		s := testSource("one")
		change(&s)
		if err := n.SetSource(context.Background(), s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	addSource(t, n, testSource("one"))
	if err := n.SetSource(context.Background(), testSource("one")); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("two of a name: %v", err)
	}
	for i := range MaxSources {
		if err := n.SetSource(context.Background(), testSource(fmt.Sprintf("s%d", i))); (err != nil) != (i == MaxSources-1) {
			t.Fatalf("source %d: %v", i, err)
		}
	}
	for _, err := range []error{n.PauseSource(context.Background(), "none", true), n.RemoveSource(context.Background(), "none", true)} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("a source that is not there: %v", err)
		}
	}
}

// TestSourceSecretsDoNotShow: neither printed, nor in JSON, nor in the audit log.
func TestSourceSecretsDoNotShow(t *testing.T) {
	n := testNode(t, "Author")
	s := testSource("one")
	s.Secret = SourceSecret{User: "reader", Password: "s3cret"}
	kept := addSource(t, n, s)
	if kept.Secret.Password != "s3cret" || !kept.HasLogin {
		t.Errorf("kept %v", kept.HasLogin)
	}
	js, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s", kept, kept, *kept, js)
	if err := n.st.View(func(tx *store.Tx) error {
		return n.account.Each(tx, 0, func(e *audit.Entry) (bool, error) {
			text += fmt.Sprintf("%+v", e.Details)
			return true, nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "s3cret") {
		t.Error("the password shows")
	}
	if !strings.Contains(text, "add source") || !strings.Contains(text, "Officer") {
		t.Error("the audit log does not say who added it")
	}
}

// TestDeadLettersAreBounded: the oldest go, and are counted and told.
func TestDeadLettersAreBounded(t *testing.T) {
	t.Parallel()
	n := testNode(t, "Author")
	s := addSource(t, n, testSource("one"))
	for i := range MaxDeadLetters + 5 {
		l := testLetter(0, fmt.Sprint(i))
		l.ID = DeadID{byte(i >> 8), byte(i), 1}
		putLetters(t, n, s, l)
	}
	st, err := n.SourceState("one")
	if err != nil || st.Dead != MaxDeadLetters || st.Evicted != 5 {
		t.Errorf("%d wait, %d went, %v", st.Dead, st.Evicted, err)
	}
	if got := letterTexts(t, n.Reader(nil), false); len(got) != MaxDeadLetters {
		t.Errorf("%d are listed", len(got))
	}
	big := addSource(t, n, testSource("big"))
	for i := range maxDeadBytes/MaxDeadLetter + 3 {
		putLetters(t, n, big, testLetter(byte(i+1), strings.Repeat("x", MaxDeadLetter)))
	}
	if st, err := n.SourceState("big"); err != nil || uint64(st.Dead)*MaxDeadLetter > maxDeadBytes || st.Evicted == 0 {
		t.Errorf("%d large ones wait, %d went, %v", st.Dead, st.Evicted, err)
	}
	over := testLetter(200, strings.Repeat("x", MaxDeadLetter+1))
	putLetters(t, n, s, over)
	if l, err := n.Reader(nil).DeadLetter(over.ID.String()); err != nil || l.Letter.Bytes != nil || l.Size != 0 {
		t.Errorf("over the bound: %+v, %v", l, err)
	}
	status, err := n.Status()
	if err != nil || !slices.ContainsFunc(status.Problems, func(p Problem) bool {
		return strings.Contains(p.Text, "dead letters of source one went to make room")
	}) {
		t.Errorf("nobody is told: %+v, %v", status.Problems, err)
	}
	if m, err := n.Metrics(); err != nil || m.Sources.Evicted != st.Evicted+1+sourceEvicted(t, n, "big") {
		t.Errorf("metrics: %+v, %v", m.Sources, err)
	}
}

func sourceEvicted(t *testing.T, n *Node, name string) uint64 {
	t.Helper()
	st, err := n.SourceState(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Evicted
}

// TestI5DeadLettersAreErasedByValue: what is held about a value includes dead letters, and erasing it destroys
// their bytes, so that no copy of the store opens them; under a legal hold they are kept aside until it ends.
func TestI5DeadLettersAreErasedByValue(t *testing.T) {
	n := testNode(t, "Author")
	s := addSource(t, n, testSource("one"))
	putLetters(t, n, s, testLetter(1, "198.51.100.1 Jane Example\n"), testLetter(2, "hxxp://198[.]51[.]100[.]2/x\n"), testLetter(3, "evil.example\n"),
		Letter{ID: DeadID{4}, Format: intake.STIX, Bytes: []byte(`[{"type": "note", "content": "Jane Example, again"}]`), Handling: &protocol.Handling{Version: 1}})
	about := func(value string, want ...string) *About {
		t.Helper()
		a, err := n.Reader(nil).About(context.Background(), AboutQuery{Value: value})
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for i := range a.Dead {
			got = append(got, fmt.Sprintf("%d %s", a.Dead[i].Key[0], a.Dead[i].Match))
		}
		if !slices.Equal(got, append([]string{}, want...)) {
			t.Errorf("about %s: %q, want %q", value, got, want)
		}
		return a
	}
	about("198.51.100.1", "1 text") // it stands among other words
	about("http://198.51.100.2/x", "2 exact")
	about("198.51.100.99")
	about("jane EXAMPLE", "1 text", "4 text")
	var wrapped []byte
	if err := n.st.View(func(tx *store.Tx) error {
		return eachDeadDoc(tx, "one", func(k []byte, d *deadDoc) error {
			if bytes.HasSuffix(k, append([]byte{4}, make([]byte, 15)...)) {
				wrapped = d.Wrapped
			}
			return nil
		})
	}); err != nil || wrapped == nil {
		t.Fatal(err)
	}
	h := holdOn(t, n, HoldRequest{Value: "198.51.100.1"})
	if list, err := n.Reader(nil).DeadLetters("one", false); err != nil || !slices.ContainsFunc(list, func(l DeadLetter) bool { return l.Key[0] == 1 && slices.Equal(l.Held, []string{h.ID}) }) {
		t.Errorf("the hold is not told: %+v, %v", list, err)
	}
	out, err := n.Reader(nil).EraseAbout(context.Background(), EraseAbout{Value: "Jane Example", Reason: protocol.EraseRequest})
	if err != nil || out.Dead != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if got, want := letterTexts(t, n.Reader(nil), false), []string{"evil.example", "hxxp://198[.]51[.]100[.]2/x"}; !slices.Equal(got, want) {
		t.Errorf("there wait %q, want %q", got, want)
	}
	if got, want := letterTexts(t, n.Reader(nil), true), []string{"198.51.100.1 Jane Example"}; !slices.Equal(got, want) {
		t.Errorf("there are held %q, want %q", got, want)
	}
	if err := n.st.View(func(tx *store.Tx) error {
		_, err := tx.Unwrap(deadKey("one", DeadID{4}), wrapped)
		return err
	}); !errors.Is(err, store.ErrDestroyed) {
		t.Errorf("the bytes of the one erased: %v", err)
	}
	// Nor does removing the source destroy what is held.
	if err := n.RemoveSource(context.Background(), "one", true); err != nil {
		t.Fatal(err)
	}
	if got := letterTexts(t, n.Reader(nil), true); len(got) != 1 {
		t.Errorf("after the source was removed there are held %q", got)
	}
	if _, err := n.ReleaseHold(context.Background(), h.ID, "over"); err != nil {
		t.Fatal(err)
	}
	if got := letterTexts(t, n.Reader(nil), true); len(got) != 0 {
		t.Errorf("after the hold there are %q", got)
	}
}

// TestDeadLettersShowToWhoMayRead: of what a person may not read there is no letter, for them.
func TestDeadLettersShowToWhoMayRead(t *testing.T) {
	n := testNode(t, "Author")
	s := addSource(t, n, testSource("one"))
	loadRules(t, n, noRed)
	objects := func(id byte, tlp protocol.TLP) Letter {
		return Letter{ID: DeadID{id, id, id}, Format: intake.STIX, Bytes: []byte(`[]`), Where: tlp.String(), Reason: "x", Handling: &protocol.Handling{Version: 1, TLP: tlp}}
	}
	putLetters(t, n, s, objects(1, protocol.TLPRed), objects(2, protocol.TLPGreen), testLetter(3, "it may state anything"))
	ann := n.Reader(n.PersonOf("ann"))
	list, err := ann.DeadLetters("", false)
	if err != nil || len(list) != 1 || list[0].Where != "green" {
		t.Errorf("Ann sees %+v, %v", list, err)
	}
	if _, err := ann.DeadLetter(DeadID{1, 1, 1}.String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("Ann asks for what she may not read: %v", err)
	}
	if list, err := n.Reader(&rules.Principal{ID: "root"}).DeadLetters("", false); err != nil || len(list) != 3 {
		t.Errorf("who may read everything sees %d, %v", len(list), err)
	}
}

// TestSourcesComeBackFromABackup, with their secrets, what they gave, and dead letters that open under the new
// node's keys.
func TestSourcesComeBackFromABackup(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	n := nodes[0]
	src := testSource("one")
	src.Secret, src.Paused = SourceSecret{Token: "s3cret"}, true
	s := addSource(t, n, src)
	known := Known{Key: KnownKey{7}, Record: protocol.RecordID{9}, Ours: true, Day: 20000}
	if err := n.CommitSource(s, &SourceCommit{Cursor: []byte("here"), Learn: []Known{known}, Letters: []Letter{testLetter(1, "no address\n")}, Counts: SourceCounts{Published: 3}}); err != nil {
		t.Fatal(err)
	}
	key := newOffline(t)
	back, _ := restoreInto(t, filepath.Join(t.TempDir(), "r"), backupOf(t, n, key), key)
	got, err := back.Source("one")
	if err != nil || got.Secret.Token != "s3cret" || !got.Paused || got.Flags.TLP != protocol.TLPGreen {
		t.Errorf("%+v, %v", got, err)
	}
	st, err := back.SourceState("one")
	if err != nil || string(st.Cursor) != "here" || st.All.Published != 3 || st.Dead != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if set, err := back.KnownOf("one"); err != nil || !slices.Equal(set, KnownSet{known}) {
		t.Errorf("%+v, %v", set, err)
	}
	if err := back.st.View(func(tx *store.Tx) error {
		return back.eachDead(tx, "one", func(_ []byte, _ *deadDoc, b *deadBody) error {
			if string(b.Bytes) != "no address\n" {
				t.Errorf("the letter keeps %q", b.Bytes)
			}
			return nil
		})
	}); err != nil {
		t.Error(err)
	}
}

// TestSourceDocumentsAreChecked: a backup that holds what no node writes is refused.
func TestSourceDocumentsAreChecked(t *testing.T) {
	good := testSource("one")
	d := good.doc()
	bad := *d
	bad.MaxRecords = 0
	known := (&Known{}).encode()
	for name, c := range map[string]struct {
		err error
		ok  bool
	}{
		"source":                {checkSource([]byte("one"), protocol.Encode(d)), true},
		"source of a bad name":  {checkSource([]byte("O n e"), protocol.Encode(d)), false},
		"source without limit":  {checkSource([]byte("one"), protocol.Encode(&bad)), false},
		"state":                 {checkSourceState([]byte("one"), protocol.Encode(&sourceStateDoc{Version: 1})), true},
		"state of version 2":    {checkSourceState([]byte("one"), protocol.Encode(&sourceStateDoc{Version: 2})), false},
		"state of a bad name":   {checkSourceState([]byte("ONE"), protocol.Encode(&sourceStateDoc{Version: 1})), false},
		"known":                 {checkSourceState(append([]byte("one/"), make([]byte, 16)...), known), true},
		"known of 15 bytes":     {checkSourceState(append([]byte("one/"), make([]byte, 15)...), known), false},
		"known with odd flags":  {checkSourceState(append([]byte("one/"), make([]byte, 16)...), append(known[:32:32], 2, 0, 0, 0, 0)), false},
		"known of nobody":       {checkSourceState(append([]byte("/"), make([]byte, 16)...), known), false},
		"letter":                {checkDead(append([]byte("one/"), make([]byte, 16)...), protocol.Encode(&deadDoc{Wrapped: protocol.Encode(&deadBody{Flags: protocol.Handling{Version: 1}})})), true},
		"letter of nobody":      {checkDead(make([]byte, 16), protocol.Encode(&deadDoc{})), false},
		"letter that is broken": {checkDead(append([]byte("one/"), make([]byte, 16)...), protocol.Encode(&deadDoc{Wrapped: []byte{1}})), false},
	} {
		if (c.err == nil) != c.ok {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}

// TestI5HeldDeadLettersAreNotReplaced: a later letter of the same name leaves one under a legal hold what it was,
// and the same letter said again stays one.
func TestI5HeldDeadLettersAreNotReplaced(t *testing.T) {
	n := testNode(t, "Author")
	s := addSource(t, n, testSource("one"))
	putLetters(t, n, s, testLetter(1, "198.51.100.1 evidence\n"))
	h := holdOn(t, n, HoldRequest{Value: "198.51.100.1"})
	putLetters(t, n, s, testLetter(1, "198.51.100.1 evidence\n"))
	if got := letterTexts(t, n.Reader(nil), true); len(got) != 0 {
		t.Errorf("said again, and there are kept aside %q", got)
	}
	putLetters(t, n, s, testLetter(1, "nothing\n"))
	putLetters(t, n, s, testLetter(1, "nothing more\n"))
	if got, want := letterTexts(t, n.Reader(nil), true), []string{"198.51.100.1 evidence"}; !slices.Equal(got, want) {
		t.Errorf("kept aside are %q, want %q", got, want)
	}
	if got, want := letterTexts(t, n.Reader(nil), false), []string{"nothing more"}; !slices.Equal(got, want) {
		t.Errorf("there wait %q, want %q", got, want)
	}
	list, err := n.Reader(nil).DeadLetters("one", false)
	if err != nil || len(list) != 1 || list[0].Times != 4 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := n.ReleaseHold(context.Background(), h.ID, "over"); err != nil {
		t.Fatal(err)
	}
	if got := letterTexts(t, n.Reader(nil), true); len(got) != 0 {
		t.Errorf("after the hold there are %q", got)
	}
}

// TestErasedIsRememberedWithinBounds: what was erased is found by its hash, comes back from a backup, and the oldest go.
func TestErasedIsRememberedWithinBounds(t *testing.T) {
	n := testNetwork(t, "Author", "Reader")[0]
	item := func(value string) intake.Item {
		res, err := intake.Read("list", strings.NewReader(value+"\n"), intake.Options{Format: intake.List})
		if err != nil || len(res.Items) != 1 {
			t.Fatal(res, err)
		}
		return res.Items[0]
	}
	if err := errors.Join(n.noteErasedValue("hxxp://198[.]51[.]100[.]2/x"), n.noteErasedValue("Jane Example")); err != nil {
		t.Fatal(err)
	}
	key := newOffline(t)
	back, _ := restoreInto(t, filepath.Join(t.TempDir(), "r"), backupOf(t, n, key), key)
	for _, n := range []*Node{n, back} {
		got, err := n.ErasedHere(context.Background(), []intake.Item{item("http://198.51.100.2/x"), item("http://198.51.100.2/y")})
		if err != nil || !slices.Equal(got, []bool{true, false}) {
			t.Errorf("%v, %v", got, err)
		}
	}
	defer func(was int) { maxErasedHere = was }(maxErasedHere)
	maxErasedHere = 8
	for i := range 30 {
		if err := n.noteErasedValue(fmt.Sprintf("198.51.100.%d", i+10)); err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	var head erasedKeyDoc
	if err := n.st.View(func(tx *store.Tx) error {
		if _, err := getDoc(tx, kindErasedHere, nil, &head); err != nil {
			return err
		}
		return tx.Scan([]byte(kindErasedHere), nil, false, func(k, _ []byte) (bool, error) {
			if len(k) > len(kindErasedHere) {
				count++
			}
			return true, nil
		})
	}); err != nil || count > 8 || count < 6 || uint64(count) != head.Count {
		t.Errorf("%d are remembered, counted as %d, %v", count, head.Count, err)
	}
	for name, err := range map[string]error{"key of version 2": checkErasedHere(nil, protocol.Encode(&erasedKeyDoc{Version: 2})), "short hash": checkErasedHere(make([]byte, 15), protocol.Encode(&erasedDoc{}))} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestReplacedSourcesKeepWhatTheyGave: settings change, what is known, letters and counts stay, and the cursor where
// the place does.
func TestReplacedSourcesKeepWhatTheyGave(t *testing.T) {
	n := testNode(t, "Author")
	src := testSource("one")
	if err := n.ReplaceSource(context.Background(), src); !errors.Is(err, ErrNotFound) {
		t.Errorf("a source that is not there: %v", err)
	}
	s := addSource(t, n, src)
	known := Known{Key: KnownKey{7}, Day: 20000}
	if err := n.CommitSource(s, &SourceCommit{Cursor: []byte("here"), Learn: []Known{known}, Letters: []Letter{testLetter(1, "x")}, Counts: SourceCounts{Published: 3}}); err != nil {
		t.Fatal(err)
	}
	folder := src
	folder.Kind, folder.Where = SourceFolder, "/srv"
	if err := n.ReplaceSource(context.Background(), folder); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("another kind: %v", err)
	}
	release, err := n.HoldSource("one")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.ReplaceSource(context.Background(), src); !errors.Is(err, ErrSourceBusy) {
		t.Errorf("while it runs: %v", err)
	}
	release()
	for _, c := range []struct{ where, cursor string }{{src.Where, "here"}, {src.Where + "/other", ""}} {
		src.Where, src.MaxBytes = c.where, src.MaxBytes+1
		if err := n.ReplaceSource(context.Background(), src); err != nil {
			t.Fatal(err)
		}
		st, err := n.SourceState("one")
		if err != nil || string(st.Cursor) != c.cursor || st.Dead != 1 || st.All.Published != 3 {
			t.Errorf("%s: %+v, %v", c.where, st, err)
		}
		got, err := n.Source("one")
		if err != nil || got.MaxBytes != src.MaxBytes || got.Where != c.where {
			t.Errorf("%+v, %v", got, err)
		}
		if set, err := n.KnownOf("one"); err != nil || !slices.Equal(set, KnownSet{known}) {
			t.Errorf("%+v, %v", set, err)
		}
	}
	if err := n.CommitSource(s, &SourceCommit{Counts: SourceCounts{Published: 1}}); err != nil {
		t.Errorf("it is another one: %v", err)
	}
}

// TestI5LargeHeldLettersStopNoErasure: held letters that no transaction takes together are kept aside, records are erased,
// the status says how much is held, and what is aside already is not written again.
func TestI5LargeHeldLettersStopNoErasure(t *testing.T) {
	t.Parallel()
	n := testNode(t, "Author")
	s := addSource(t, n, testSource("one"))
	const count = 24
	for i := range count {
		putLetters(t, n, s, testLetter(byte(i+1), "Jane Example "+strings.Repeat(fmt.Sprintf("%02d", i), MaxDeadLetter/2-100)))
	}
	h := holdOn(t, n, HoldRequest{Value: "Jane Example"})
	for range 2 {
		out, err := n.Reader(nil).EraseAbout(context.Background(), EraseAbout{Value: "Jane Example", Reason: protocol.EraseRequest})
		if err != nil || out.Dead != count {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	if got := letterTexts(t, n.Reader(nil), true); len(got) != count {
		t.Errorf("%d are held", len(got))
	}
	status, err := n.Status()
	if err != nil || !slices.ContainsFunc(status.Problems, func(p Problem) bool {
		return strings.Contains(p.Text, fmt.Sprintf("%d dead letters with 12", count)) && strings.Contains(p.Text, "under legal holds")
	}) {
		t.Errorf("nobody is told: %+v, %v", status.Problems, err)
	}
	if _, err := n.ReleaseHold(context.Background(), h.ID, "over"); err != nil {
		t.Fatal(err)
	}
	// The same for dropping them, and with their source.
	for i := range count {
		putLetters(t, n, s, testLetter(byte(i+1), "John Example "+strings.Repeat(fmt.Sprintf("%02d", i), MaxDeadLetter/2-100)))
	}
	holdOn(t, n, HoldRequest{Value: "John Example"})
	if err := n.RemoveSource(context.Background(), "one", true); err != nil {
		t.Fatal(err)
	}
	if got := letterTexts(t, n.Reader(nil), true); len(got) != count {
		t.Errorf("%d are held", len(got))
	}
}
