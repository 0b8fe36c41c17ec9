package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

// model is a host of which tests know everything. What it holds survives crashes.
type model struct {
	key      [32]byte
	records  map[protocol.RecordID]string // what stands or was withdrawn
	standing map[string]protocol.RecordID // by the object's main value
	unsure   map[protocol.RecordID]bool   // published by a run that did not note it
	next     uint64
	known    map[node.KnownKey]node.Known
	letters  map[node.DeadID]node.Letter
	cursor   []byte
	refuse   func(value string) string
	poison   func(value string) error
	crash    int // effects until the power fails; negative: it does not
	check    func(c *node.SourceCommit) error
	log      []string
}

func newModel() *model {
	return &model{key: [32]byte{1}, records: map[protocol.RecordID]string{}, standing: map[string]protocol.RecordID{}, unsure: map[protocol.RecordID]bool{},
		known: map[node.KnownKey]node.Known{}, letters: map[node.DeadID]node.Letter{}, crash: -1}
}

var errCrash = errors.New("the power failed")

// power fails before or after an effect.
func (m *model) power() error {
	if m.crash == 0 {
		return errCrash
	}
	m.crash--
	return nil
}

// effect brings about an effect, unless the power fails before; it may fail after.
func (m *model) effect(name string, fn func()) error {
	m.log = append(m.log, name)
	if err := m.power(); err != nil {
		return err
	}
	fn()
	return m.power()
}

func (m *model) submit(_ context.Context, _ string, items []intake.Item) (out []node.SubmitResult, err error) {
	for i := range items {
		if m.poison != nil && m.poison(items[i].Value) != nil {
			return nil, m.poison(items[i].Value)
		}
	}
	err = m.effect(fmt.Sprintf("submit %d", len(items)), func() {
		for i := range items {
			v := items[i].Value
			if m.refuse != nil && m.refuse(v) != "" {
				out = append(out, node.SubmitResult{State: node.SubmitRefused, Reason: m.refuse(v)})
				continue
			}
			if id, ok := m.standing[v]; ok {
				out = append(out, node.SubmitResult{State: node.SubmitHeld, ID: id})
				continue
			}
			m.next++
			var id protocol.RecordID
			binary.BigEndian.PutUint64(id[:], m.next)
			m.standing[v], m.records[id], m.unsure[id] = id, v, true
			out = append(out, node.SubmitResult{State: node.SubmitPublished, ID: id})
		}
	})
	return out, err
}

func (m *model) commit(c *node.SourceCommit) error {
	if len(c.Learn) > commitKnown || len(c.Forget) > commitKnown || len(c.Letters) > commitLetters {
		return fmt.Errorf("a commit of %d, %d and %d", len(c.Learn), len(c.Forget), len(c.Letters))
	}
	if m.check != nil {
		if err := m.check(c); err != nil {
			return err
		}
	}
	return m.effect("commit", func() {
		for _, k := range c.Learn {
			m.known[k.Key] = k
			delete(m.unsure, k.Record)
		}
		for _, k := range c.Forget {
			delete(m.known, k)
		}
		for _, id := range c.Resolved {
			delete(m.letters, id)
		}
		for _, l := range c.Letters {
			m.letters[l.ID] = l
		}
		if c.Cursor != nil {
			m.cursor = c.Cursor
		}
	})
}

func (m *model) withdraw(_ context.Context, ids []protocol.RecordID) (*Withdrawn, error) {
	w := &Withdrawn{Out: map[protocol.RecordID]bool{}}
	err := m.effect("withdraw", func() {
		for _, id := range ids {
			if v, ok := m.records[id]; ok {
				w.Out[id] = true
				if m.standing[v] == id {
					delete(m.standing, v)
					w.Now++
				}
			}
		}
	})
	return w, err
}

func (m *model) elsewhere(map[protocol.RecordID]bool) (map[protocol.RecordID]bool, error) {
	return nil, nil
}

func (m *model) set() (set node.KnownSet) {
	for _, k := range m.known {
		set = append(set, k)
	}
	slices.SortFunc(set, func(a, b node.Known) int { return slices.Compare(a.Key[:], b.Key[:]) })
	return set
}

// run makes one run over documents.
func (m *model) run(start Start, docs ...*Document) (*run, error) {
	start.Key = m.key
	if start.Limit == 0 {
		start.Limit = 1 << 20
	}
	r := &run{host: m, sift: newSifter(&start, m.set())}
	return r, r.pull(context.Background(), &start, documents(docs), m.cursor)
}

// documents gives those that a cursor, the number of the last, does not cover.
type documents []*Document

func (d documents) Pull(_ context.Context, cursor []byte, fn func(*Document) error) error {
	for i, doc := range d {
		if len(cursor) > 0 && string(cursor) >= string(doc.Next) && doc.Next != nil {
			continue
		}
		_ = i
		again := *doc
		if err := fn(&again); err != nil {
			return err
		}
	}
	return nil
}

func listOf(version int, full bool, lines ...string) *Document {
	return &Document{Where: "list", Bytes: []byte(strings.Join(lines, "\n") + "\n"), Format: intake.List, Next: fmt.Appendf(nil, "%06d", version), Full: full}
}

func valuesOf(m *model) []string {
	var out []string
	for v := range m.standing {
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// TestNothingIsLostAndNothingTwice: a source changes, and the power fails at any effect, again and again. A
// cursor never covers what is neither published nor a dead letter; once a run is let through, exactly what the
// source holds stands, each once, but for what a crash left unsure, which is never withdrawn by itself.
func TestNothingIsLostAndNothingTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		m.refuse = func(v string) string {
			if strings.HasSuffix(v, "3") {
				return "nothing says its TLP; give one with --tlp"
			}
			return ""
		}
		missing := rapid.Bool().Draw(t, "withdraw missing")
		once := map[string]bool{} // it may stand although it is gone: a crash left it unsure
		for version := 1; version <= rapid.IntRange(1, 5).Draw(t, "versions"); version++ {
			var lines []string
			want := map[string]bool{}
			for i := range 12 {
				if rapid.IntRange(0, 3).Draw(t, "line") > 0 {
					lines = append(lines, fmt.Sprintf("198.51.100.%d", i))
					want[fmt.Sprintf("198.51.100.%d", i)] = true
				}
			}
			if rapid.Bool().Draw(t, "unreadable") {
				lines = append(lines, "no address at all", fmt.Sprintf("odd %d", version))
			}
			if rapid.Bool().Draw(t, "twice") && len(lines) > 0 {
				lines = append(lines, strings.ReplaceAll(lines[0], ".", "[.]"))
			}
			doc := listOf(version, true, lines...)
			m.check = func(c *node.SourceCommit) error {
				if c.Cursor == nil {
					return nil
				}
				in := func(v string) bool {
					for _, l := range m.letters {
						if strings.Contains(string(l.Bytes), v) {
							return true
						}
					}
					return slices.ContainsFunc(c.Letters, func(l node.Letter) bool { return strings.Contains(string(l.Bytes), v) })
				}
				for _, v := range lines {
					if _, ok := m.standing[strings.ReplaceAll(v, "[.]", ".")]; !ok && !in(v) && !in(strings.ReplaceAll(v, "[.]", ".")) {
						return fmt.Errorf("the cursor covers %q, which is nowhere", v)
					}
				}
				return nil
			}
			start := Start{Day: 20000 + uint32(version)*rapid.Uint32Range(0, 10).Draw(t, "days"), Missing: missing, AllMissing: true, Limit: rapid.SampledFrom([]int{2, 5, 1 << 20}).Draw(t, "limit")}
			for range rapid.IntRange(0, 6).Draw(t, "crashes") {
				m.crash = rapid.IntRange(0, 12).Draw(t, "power fails at")
				if _, err := m.run(start, doc); err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				for id := range m.unsure {
					once[m.records[id]] = true
				}
				clear(m.unsure)
			}
			m.crash = -1
			for {
				r, err := m.run(start, doc)
				if err != nil {
					t.Fatal(err)
				}
				if !r.m.limited {
					break
				}
			}
			for v := range want {
				if _, ok := m.standing[v]; !ok && m.refuse(v) == "" {
					t.Fatalf("version %d: %s is lost; %v", version, v, m.log)
				}
			}
			for v := range m.standing {
				if missing && !want[v] && !once[v] {
					t.Fatalf("version %d: %s stands, and the source does not hold it", version, v)
				}
			}
			if _, err := m.run(start, doc); err != nil { // nothing to do
				t.Fatal(err)
			}
		}
		seen := map[string]int{}
		for id, v := range m.records {
			if m.standing[v] == id {
				seen[v]++
			}
		}
		for v, n := range seen {
			if n > 1 {
				t.Fatalf("%s stands %d times", v, n)
			}
		}
	})
}

// TestMoreThanHalfIsNotWithdrawn: a source that is cut off is not taken at its word; somebody can say that it is
// right.
func TestMoreThanHalfIsNotWithdrawn(t *testing.T) {
	m := newModel()
	if _, err := m.run(Start{Missing: true}, listOf(1, true, "198.51.100.1", "198.51.100.2", "198.51.100.4", "198.51.100.5")); err != nil {
		t.Fatal(err)
	}
	if r, err := m.run(Start{Missing: true}, listOf(2, true, "198.51.100.1", "198.51.100.2")); err != nil || r.m.Counts.Withdrawn != 2 || len(m.letters) != 0 {
		t.Errorf("half of it gone: %+v, %v, letters %v; want 2 withdrawn", r.m.Counts, err, m.letters)
	}
	if r, err := m.run(Start{Missing: true}, listOf(3, true, "# nothing")); err != nil || r.m.Counts.Withdrawn != 0 || len(m.letters) != 1 {
		t.Errorf("all of it gone: %+v, %v, %v", r.m.Counts, err, m.letters)
	}
	for _, l := range m.letters {
		if !strings.Contains(l.Reason, "2 of 2 records") || !strings.Contains(l.Do, "--accept-missing") {
			t.Errorf("it says %q, %q", l.Reason, l.Do)
		}
	}
	if want := []string{"198.51.100.1", "198.51.100.2"}; !slices.Equal(valuesOf(m), want) {
		t.Errorf("%q stand, want %q", valuesOf(m), want)
	}
	if r, err := m.run(Start{Missing: true, AllMissing: true}, listOf(4, true, "# nothing")); err != nil || r.m.Counts.Withdrawn != 2 || len(m.letters) != 0 || len(m.standing) != 0 {
		t.Errorf("with leave: %+v, %v, letters %v, standing %v", r.m.Counts, err, m.letters, m.standing)
	}
	// It comes back, and so does the record.
	if r, err := m.run(Start{Missing: true}, listOf(5, true, "198.51.100.1")); err != nil || r.m.Counts.Published != 1 {
		t.Errorf("back again: %+v, %v", r.m.Counts, err)
	}
}

// TestUnreadableIsNotGone: what cannot be read says nothing of what is gone, whatever somebody allowed.
func TestUnreadableIsNotGone(t *testing.T) {
	for name, doc := range map[string]*Document{
		"no text":     {Where: "list", Bytes: []byte("\x00\x01"), Next: []byte("2"), Full: true},
		"broken JSON": {Where: "list", Bytes: []byte(`{"type": "bundle", "objects": [`), Next: []byte("2"), Full: true},
		"half of it":  {Where: "list", Bytes: []byte(`{"type": "bundle", "id": "bundle--5d0092c5-5f74-4287-9642-33f4c354e56d", "objects": [{"type": "indicator"}]}`), Next: []byte("2"), Full: true},
	} {
		m := newModel()
		if _, err := m.run(Start{Missing: true}, listOf(1, true, "198.51.100.1")); err != nil {
			t.Fatal(err)
		}
		m.cursor = nil
		if r, err := m.run(Start{Missing: true, AllMissing: true}, doc); err != nil || r.m.Counts.Withdrawn != 0 || len(m.standing) != 1 || len(m.letters) != 1 {
			t.Errorf("%s: %+v, %v, %d letters", name, r.m.Counts, err, len(m.letters))
		}
		for _, l := range m.letters {
			want := string(doc.Bytes)
			if name == "half of it" {
				want = `[{"type": "indicator"}]`
			}
			if string(l.Bytes) != want || l.Reason == "" || l.Do == "" {
				t.Errorf("%s: the letter keeps %q, and says %q, %q", name, l.Bytes, l.Reason, l.Do)
			}
		}
	}
}

// TestOnePoisonedObjectStopsNoOthers: the gate refuses a whole publication for one object; that one alone is set
// aside. What is the node's trouble sets nothing aside.
func TestOnePoisonedObjectStopsNoOthers(t *testing.T) {
	m := newModel()
	m.poison = func(v string) error {
		if v == "198.51.100.77" {
			return fmt.Errorf("sealing it: %w", protocol.ErrOversize)
		}
		return nil
	}
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("198.51.100.%d", i))
	}
	r, err := m.run(Start{}, listOf(1, false, lines...))
	if err != nil || r.m.Counts.Published != 199 || r.m.Counts.SetAside != 1 || len(m.letters) != 1 {
		t.Errorf("%+v, %v, %d letters", r.m.Counts, err, len(m.letters))
	}
	for _, l := range m.letters {
		if string(l.Bytes) != "198.51.100.77\n" || l.Line != 78 {
			t.Errorf("set aside: %q, line %d", l.Bytes, l.Line)
		}
	}
	m = newModel()
	m.poison = func(string) error { return errors.New("the disk is full") }
	if r, err := m.run(Start{}, listOf(1, false, lines...)); err == nil || r.m.Counts.SetAside != 0 || len(m.letters) != 0 || m.cursor != nil || len(m.known) != 0 {
		t.Errorf("with a full disk: %+v, %v, %d letters, cursor %q", r.m.Counts, err, len(m.letters), m.cursor)
	}
}

// TestRetryTakesTheLetterAway, or leaves it where it is refused again.
func TestRetryTakesTheLetterAway(t *testing.T) {
	m := newModel()
	refuse := true
	m.refuse = func(string) string {
		if refuse {
			return "not now"
		}
		return ""
	}
	if _, err := m.run(Start{}, listOf(1, false, "198.51.100.1", "198.51.100.2")); err != nil || len(m.letters) != 1 {
		t.Fatal(err, m.letters)
	}
	retry := func() *run {
		for id, l := range m.letters {
			r, err := m.run(Start{Retry: &id}, &Document{Where: l.Where, Bytes: l.Bytes, Format: l.Format, Handling: l.Handling, Again: true})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		return nil
	}
	if r := retry(); r.m.Counts.SetAside != 2 || len(m.letters) != 1 {
		t.Errorf("refused again: %+v, %d letters", r.m.Counts, len(m.letters))
	}
	refuse = false
	if r := retry(); r.m.Counts.Published != 2 || len(m.letters) != 0 {
		t.Errorf("accepted: %+v, %d letters", r.m.Counts, len(m.letters))
	}
}

// TestMachineRefusesWhatDoesNotFollow: an event that answers another effect ends the run.
func TestMachineRefusesWhatDoesNotFollow(t *testing.T) {
	start := Event{Start: &Start{Limit: 10}}
	doc := Event{Document: listOf(1, true, "x")}
	sifted := Event{Sifted: &Sifted{Items: []Item{{}}}}
	for name, events := range map[string][]Event{
		"no start":                {{End: true}},
		"nothing pulled":          {start, {}},
		"a document not sifted":   {start, doc, {Committed: true}},
		"results of too few":      {start, doc, sifted, {Submitted: []node.SubmitResult{}}},
		"no commit":               {start, doc, sifted, {Submitted: []node.SubmitResult{{State: node.SubmitHeld}}}, {}},
		"an event after the end":  {start, {End: true}, {End: true}},
		"a start after the start": {start, start},
	} {
		var m Machine
		for i, e := range events {
			eff := m.Step(e)
			if last := i == len(events)-1; (eff.Err != nil) != last {
				t.Errorf("%s: event %d gives %+v", name, i, eff)
			}
		}
	}
}

// TestLargeObjectsAreNotKept: a refused object that no letter can hold is told of, and counts as being where it
// came from only.
func TestLargeObjectsAreNotKept(t *testing.T) {
	m := newModel()
	m.refuse = func(string) string { return "no" }
	note := func(n int) string {
		return fmt.Sprintf(`{"type": "note", "spec_version": "2.1", "id": "note--5d0092c5-5f74-4287-9642-33f4c354e56d", "created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z", "content": %q, "object_refs": ["indicator--5d0092c5-5f74-4287-9642-33f4c354e56e"]}`,
			strings.Repeat("x", n))
	}
	big := note(protocol.MaxObjectSize - len(note(0)))
	whole := true
	d := &Document{Where: "f", Bytes: []byte(big), Format: intake.STIX, Finish: func(w bool) error { whole = w; return nil }}
	d.Key, d.HasKey = node.KnownKey{1}, true
	if r, err := m.run(Start{}, d); err != nil || r.m.Counts.SetAside != 1 || len(m.letters) != 1 || whole {
		t.Errorf("%+v, %v, %d letters, all kept: %v", r.m.Counts, err, len(m.letters), whole)
	}
	whole = true
	if r, err := m.run(Start{}, d); err != nil || r.m.Counts.Known != 1 || whole {
		t.Errorf("the next run: %+v, %v, all kept: %v", r.m.Counts, err, whole)
	}
}

// TestLettersOfOnePlaceAreSeveral: what another document of the same place was set aside for does not replace
// the first.
func TestLettersOfOnePlaceAreSeveral(t *testing.T) {
	m := newModel()
	for i, text := range []string{"\x00one", "\x00two", "\x00two"} {
		if _, err := m.run(Start{}, &Document{Where: "list", Bytes: []byte(text), Next: []byte(fmt.Sprintf("%06d", i+1))}); err != nil {
			t.Fatal(err)
		}
	}
	got := []string{}
	for _, l := range m.letters {
		got = append(got, string(l.Bytes))
	}
	slices.Sort(got)
	if want := []string{"\x00one", "\x00two"}; !slices.Equal(got, want) {
		t.Errorf("letters keep %q, want %q", got, want)
	}
}

// TestFaultsOfLargePagesAreKept: of a page that no letter could hold the objects at fault are kept, each once however
// pages overlap, with the definitions that say what their markings mean; those of another page do not replace them.
func TestFaultsOfLargePagesAreKept(t *testing.T) {
	const def = `{"type": "marking-definition", "spec_version": "2.1", "id": "marking-definition--5d0092c5-5f74-4287-9642-33f4c354e56d", "created": "2026-01-01T00:00:00Z", "definition_type": "statement", "definition": {"statement": "ours"}}`
	good := func(i int) string {
		return fmt.Sprintf(`{"type": "note", "spec_version": "2.1", "id": "note--5d0092c5-5f74-4287-9642-%012d", "created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z", "content": %q, "object_refs": ["indicator--5d0092c5-5f74-4287-9642-33f4c354e56e"]}`,
			i, strings.Repeat("x", 1<<10))
	}
	bad := func(i int) string {
		return fmt.Sprintf(`{"type": "indicator", "name": "bad %d", "object_marking_refs": ["marking-definition--5d0092c5-5f74-4287-9642-33f4c354e56d"]}`, i)
	}
	page := func(next int, faults ...string) *Document {
		objects := append([]string{def}, faults...)
		for i := range 600 {
			objects = append(objects, good(next*1000+i))
		}
		b := []byte(`{"type": "bundle", "id": "bundle--5d0092c5-5f74-4287-9642-33f4c354e56d", "objects": [` + strings.Join(objects, ",") + "]}")
		if len(b) <= node.MaxDeadLetter {
			t.Fatalf("a page of %d bytes", len(b))
		}
		return &Document{Where: "collection c, page 1", Bytes: b, Format: intake.STIX, Next: fmt.Appendf(nil, "%06d", next)}
	}
	m := newModel()
	for i, d := range []*Document{page(1, bad(1), bad(2)), page(2, bad(2), bad(3)), page(3, bad(1), bad(2), bad(3))} {
		r, err := m.run(Start{}, d)
		if want := []uint64{2, 1, 0}[i]; err != nil || r.m.Counts.SetAside != want {
			t.Errorf("page %d: %+v, %v; want %d set aside", i+1, r.m.Counts, err, want)
		}
	}
	got := []string{}
	for id, l := range m.letters {
		got = append(got, string(l.Bytes))
		again := &Document{Where: l.Where, Bytes: l.Bytes, Format: l.Format, Handling: l.Handling, Again: true}
		if _, err := m.run(Start{Retry: &id}, again); err != nil || len(m.letters) != 2 {
			t.Errorf("tried again: %v, %d letters", err, len(m.letters))
		}
	}
	slices.Sort(got)
	want := []string{"[" + def + ",\n" + bad(1) + ",\n" + bad(2) + "]", "[" + def + ",\n" + bad(3) + "]"}
	if !slices.Equal(got, want) {
		t.Errorf("letters keep\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
