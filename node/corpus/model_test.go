package corpus_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// A world is a corpus in a store on a simulated disk, and beside it what it should be: a list.
type world struct {
	t    testing.TB
	disk *disk.Disk
	st   *store.Store
	x    *corpus.Index
	model
}

type model struct {
	held   []held // in the order of arrival
	erased map[int]bool
	copies map[int][]uint64 // envelopes that hold it too, rising
	next   uint64           // cursor
	steps  int

	changes []changed // but for records that came, which held tells
}

type changed struct {
	cursor uint64
	kind   corpus.ChangeKind
	record int
}

func (m *model) change(kind corpus.ChangeKind, record int) {
	m.changes = append(m.changes, changed{m.next, kind, record})
	m.next++
}

type held struct {
	record int
	seq    uint64
	cursor uint64
}

func (m *model) clone() model {
	c := model{held: slices.Clone(m.held), erased: map[int]bool{}, copies: map[int][]uint64{}, next: m.next, steps: m.steps, changes: slices.Clone(m.changes)}
	for k, v := range m.erased {
		c.erased[k] = v
	}
	for k, v := range m.copies {
		c.copies[k] = slices.Clone(v)
	}
	return c
}

func (m *model) has(record int) int {
	return slices.IndexFunc(m.held, func(h held) bool { return h.record == record })
}

func (m *model) note(record int, seq uint64) {
	if !slices.Contains(m.copies[record], seq) {
		m.copies[record] = append(m.copies[record], seq)
		slices.Sort(m.copies[record])
	}
}

// Records of the world: three are versions of one object, some in the same second, and all say
// one thing beside what is their own.
const (
	worldRecords = 48
	worldFeed    = 9
	hot          = "hot.example"
)

func idOf(i int) protocol.RecordID { return protocol.RecordID{byte(i), 3} }

func modifiedOf(i int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, i%3*i%2, i*7%5*int(time.Millisecond), time.UTC)
}

func stixIDOf(i int) string {
	return fmt.Sprintf("indicator--00000000-0000-4000-8000-%012d", i/3)
}

var worldObjects = func() (list []*stix.Object) {
	for i := range worldRecords {
		at := modifiedOf(i).Format("2006-01-02T15:04:05.000Z")
		o, err := stix.Parse(fmt.Appendf(nil, `{"type":"indicator","spec_version":"2.1","id":%q,"created":"2025-01-01T00:00:00.000Z","modified":%q,"pattern":%q,"pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}`,
			stixIDOf(i), at, fmt.Sprintf("[domain-name:value = 'host-%d.example'] OR [domain-name:value = '%s'] OR [ipv4-addr:value = '10.0.%d.0/24']", i, hot, i)))
		if err != nil {
			panic(err)
		}
		list = append(list, o)
	}
	return list
}()

func newWorld(t testing.TB) *world {
	w := &world{t: t, disk: new(disk.Disk), model: model{erased: map[int]bool{}, copies: map[int][]uint64{}, next: 1}}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.st, err = store.Open(store.Config{Dir: "data", Key: [32]byte{1}, Disk: w.disk}); err != nil {
		w.t.Fatal(err)
	}
	w.must(w.st.Update(func(tx *store.Tx) (err error) { w.x, err = corpus.Open(tx, corpus.TinyLimits); return err }))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

var errAbort = errors.New("aborted")

// do runs a transaction, and notes in the store that it did. With cut above 0 the power is cut at
// that step, if there are as many; then it is seen whether the transaction was written, the
// world begins again, and next is what it should be or it is not.
func (w *world) do(cut int, abort bool, fn func(tx *store.Tx) error, next func(m *model)) {
	w.t.Helper()
	steps := w.steps + 1
	run := func() error {
		return w.st.Update(func(tx *store.Tx) error {
			err := fn(tx)
			if err == nil && abort {
				err = errAbort
			}
			if err != nil {
				return err
			}
			return tx.Set([]byte("steps"), fmt.Append(nil, steps))
		})
	}
	if crashed(w.disk, cut, func() {
		if err := run(); err != nil && !errors.Is(err, errAbort) {
			w.t.Fatal(err)
		}
	}) {
		w.disk.Restart()
		w.open()
		abort = false
		w.must(w.st.View(func(tx *store.Tx) error {
			v, err := tx.Get([]byte("steps"))
			abort = string(v) != fmt.Sprint(steps)
			return err
		}))
	}
	if !abort {
		next(&w.model)
		w.steps = steps
	}
}

func crashed(d *disk.Disk, cut int, fn func()) (yes bool) {
	defer func() {
		d.CutAfter(0)
		if p := recover(); p != nil {
			if _, ok := p.(disk.Crash); !ok {
				panic(p)
			}
			yes = true
		}
	}()
	d.CutAfter(cut)
	fn()
	return false
}

func (w *world) add(cut int, abort bool, seq uint64, records []int) {
	b := corpus.Block{Feed: protocol.FeedID{worldFeed}, Seq: seq, Topic: "c2", Publisher: protocol.OrgID{1}, Received: 1}
	for _, i := range records {
		b.Records = append(b.Records, corpus.NewRecord{Record: idOf(i), Originator: protocol.OrgID{1}, Object: worldObjects[i],
			Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen}})
	}
	p, err := w.x.Prepare(b)
	w.must(err)
	var out corpus.Added
	w.do(cut, abort, func(tx *store.Tx) (err error) { out, err = w.x.Add(tx, p); return err }, func(m *model) {
		before := m.next
		for n, i := range records {
			switch at := m.has(i); {
			case at >= 0:
				if m.held[at].seq != seq && !slices.Contains(records[:n], i) {
					m.note(i, seq)
				}
			case !m.erased[i]:
				m.held = append(m.held, held{i, seq, m.next})
				m.next++
			}
		}
		if out.Records != int(m.next-before) {
			w.t.Fatalf("added %d of %v, want %d", out.Records, records, m.next-before)
		}
	})
}

func (w *world) erase(cut int, records []int) {
	var list []protocol.RecordID
	for _, i := range records {
		list = append(list, idOf(i))
	}
	w.do(cut, false, func(tx *store.Tx) error {
		_, err := w.x.Erase(tx, list, corpus.Locally, protocol.EraseRequest, 1)
		return err
	}, func(m *model) {
		for _, i := range records {
			if at := m.has(i); at >= 0 {
				m.held = slices.Delete(m.held, at, at+1)
				m.change(corpus.ChangeErased, i)
			}
			m.erased[i] = true
		}
	})
}

func (w *world) takeOut(cut int, seq uint64) {
	w.do(cut, false, func(tx *store.Tx) error { _, _, err := w.x.TakeOut(tx, protocol.FeedID{worldFeed}, seq, 1); return err }, func(m *model) {
		m.held = slices.DeleteFunc(m.held, func(h held) bool {
			if h.seq == seq {
				m.note(h.record, seq)
				m.change(corpus.ChangeGone, h.record)
			}
			return h.seq == seq
		})
	})
}

func (w *world) merge(cut int, abort bool, budget int) {
	w.do(cut, abort, func(tx *store.Tx) error { _, err := w.x.Merge(tx, budget); return err }, func(*model) {})
}

// warm is done in a transaction that cannot write.
func (w *world) warm(budget int) {
	w.must(w.st.View(func(tx *store.Tx) error { _, err := w.x.Warm(tx, budget); return err }))
}

// carry makes the world go on in another store, to which its blocks and marks are carried, as by
// a backup.
func (w *world) carry() {
	old := *w
	w.disk = new(disk.Disk)
	w.open()
	w.must(old.st.View(func(from *store.Tx) error {
		err := corpus.BlocksOf(from, protocol.FeedID{worldFeed}, 0, 1<<40, func(_, cursor uint64) error {
			block, err := corpus.DumpBlock(from, cursor)
			if err != nil {
				return err
			}
			if _, err := corpus.ReadBlock(block); err != nil {
				return err
			}
			w.merge(0, false, 10)
			return w.st.Update(func(tx *store.Tx) error { return w.x.LoadBlock(tx, cursor, block) })
		})
		if err != nil {
			return err
		}
		next, err := corpus.Next(from)
		return errors.Join(err, w.st.Update(func(tx *store.Tx) error {
			return errors.Join(corpus.SetNext(tx, next), tx.Set([]byte("steps"), fmt.Append(nil, w.steps)),
				corpus.EachMark(from, func(k, v []byte) error { return w.x.LoadMark(tx, k, v) }))
		}))
	}))
	w.must(old.st.Close())
}

// check compares what a state shows with what it should be.
func (w *world) check(tx *store.Tx, m *model) error {
	for i := range worldRecords {
		at := m.has(i)
		e, err := w.x.Get(tx, idOf(i))
		if err != nil {
			return err
		}
		if (e != nil) != (at >= 0) || e != nil && (e.Seq != m.held[at].seq || e.Cursor != m.held[at].cursor) {
			return fmt.Errorf("record %d is %+v, in the model it is number %d of %v", i, e, at, m.held)
		}
		var want []int
		if at >= 0 {
			want = []int{i}
		}
		if err := w.found(tx, corpus.Query{Value: fmt.Sprintf("10.0.%d.77", i), All: true}, want); err != nil {
			return err
		}
		if i%3 > 0 {
			continue
		}
		if err := w.versions(tx, m, i); err != nil {
			return err
		}
	}
	var all, newest []int
	for _, h := range m.held {
		all = append(all, h.record)
		if !slices.ContainsFunc(m.held, func(o held) bool {
			return o.record/3 == h.record/3 && modifiedOf(o.record).After(modifiedOf(h.record))
		}) {
			newest = append(newest, h.record)
		}
	}
	return errors.Join(w.changes(tx, m), w.found(tx, corpus.Query{Value: hot, All: true}, all), w.found(tx, corpus.Query{Value: hot}, newest),
		w.found(tx, corpus.Query{Type: "indicator"}, newest), w.found(tx, corpus.Query{Value: "nothing.example"}, nil))
}

// changes reads on from page to page, and from some places in the middle.
func (w *world) changes(tx *store.Tx, m *model) error {
	want := slices.Clone(m.changes)
	for _, h := range m.held {
		want = append(want, changed{h.cursor, corpus.ChangeAdded, h.record})
	}
	slices.SortFunc(want, func(a, b changed) int { return cmp.Compare(a.cursor, b.cursor) })
	var got []changed
	stamp := uint64(0)
	for after := uint64(0); ; {
		page, next, err := w.x.Changes(tx, after, 1+m.steps%7)
		if err != nil {
			return err
		}
		for _, c := range page {
			if c.Stamp <= stamp || c.Cursor <= after || c.Cursor > next || (c.Entry == nil) == (c.Class == nil) {
				return fmt.Errorf("after %d, %d there is %+v, to go on from %d", after, stamp, c, next)
			}
			stamp = c.Stamp
			got = append(got, changed{c.Cursor, c.Kind, int(c.Record[0])})
			if at, err := corpus.CursorAt(tx, c.Stamp); err != nil || at < c.Cursor || !nothingIn(want, c.Cursor, at) {
				return fmt.Errorf("at the time of %d the cursor is %d (%v)", c.Cursor, at, err)
			}
			if at, err := corpus.CursorAt(tx, c.Stamp-1); err != nil || at >= c.Cursor {
				return fmt.Errorf("ahead of the time of %d the cursor is %d (%v)", c.Cursor, at, err)
			}
		}
		if next == after {
			break
		}
		after = next
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("changes are %v, want %v", got, want)
	}
	return nil
}

// nothingIn reports whether nothing stands after a cursor, up to another.
func nothingIn(list []changed, after, to uint64) bool {
	return !slices.ContainsFunc(list, func(c changed) bool { return c.cursor > after && c.cursor <= to })
}

func (w *world) found(tx *store.Tx, q corpus.Query, want []int) error {
	q.Limit = 1000
	list, _, err := w.x.Search(tx, q)
	if err != nil {
		return err
	}
	var got []int
	for i := range list {
		got = append(got, int(list[i].Record[0]))
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%+v found %v, want %v", q, got, want)
	}
	return nil
}

func (w *world) versions(tx *store.Tx, m *model, first int) error {
	var want []held
	for _, h := range m.held {
		if h.record/3 == first/3 {
			want = append(want, h)
		}
	}
	slices.SortStableFunc(want, func(a, b held) int {
		return cmp.Or(modifiedOf(b.record).Compare(modifiedOf(a.record)), cmp.Compare(a.cursor, b.cursor))
	})
	got, err := w.x.ByStixID(tx, stixIDOf(first))
	if err != nil || len(got) != len(want) {
		return fmt.Errorf("%d versions of %d, want %v: %w", len(got), first, want, err)
	}
	for i := range got {
		if got[i].Cursor != want[i].cursor {
			return fmt.Errorf("version %d of %d has cursor %d, want %v", i, first, got[i].Cursor, want)
		}
	}
	for i := first; i < first+3; i++ {
		copies, err := w.x.Copies(tx, idOf(i))
		if err != nil {
			return err
		}
		var in, want []uint64
		for _, c := range copies {
			in = append(in, c.Seq)
		}
		if at := m.has(i); at >= 0 {
			want = append(want, m.held[at].seq)
		}
		for _, seq := range m.copies[i] {
			if len(want) == 0 || seq != want[0] || m.has(i) < 0 {
				want = append(want, seq)
			}
		}
		if !slices.Equal(in, want) {
			return fmt.Errorf("record %d has copies in %v, want %v", i, in, want)
		}
	}
	return nil
}

// TestIndexAsAList: whatever comes, comes again, is erased, taken out and merged, and whenever
// the power is cut or a transaction is given up, a corpus shows what a list shows; an old
// state that is read goes on showing what it showed.
func TestIndexAsAList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		seq := uint64(0)
		step := func() (destroys bool) {
			cut := 0
			if rapid.IntRange(0, 4).Draw(rt, "cut") == 0 {
				cut = rapid.IntRange(1, 12).Draw(rt, "at")
			}
			abort := rapid.IntRange(0, 5).Draw(rt, "abort") == 0
			some := rapid.SliceOfN(rapid.IntRange(0, worldRecords-1), 1, 12)
			switch rapid.SampledFrom([]string{"add", "add", "add", "merge", "merge", "merge", "erase", "take out", "open", "warm", "carry"}).Draw(rt, "step") {
			case "add":
				seq++
				w.add(cut, abort, seq, some.Draw(rt, "records"))
			case "merge":
				w.merge(cut, abort, rapid.IntRange(1, 60).Draw(rt, "budget"))
			case "erase":
				w.erase(cut, some.Draw(rt, "records")[:1])
				return true
			case "take out":
				w.takeOut(cut, rapid.Uint64Range(0, seq).Draw(rt, "seq"))
				return true
			case "carry":
				w.carry()
				return true
			case "open":
				w.must(w.st.Close())
				w.open()
				return true
			case "warm":
				w.warm(rapid.IntRange(1, 10).Draw(rt, "pages"))
			}
			return cut > 0
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			st, x, old := w.st, w.x, w.model.clone()
			long := rapid.IntRange(0, 3).Draw(rt, "long") == 0
			if !long {
				step()
				w.must(w.st.View(func(tx *store.Tx) error { return w.check(tx, &w.model) }))
				continue
			}
			for due := true; due; { // what is still to be forgotten is destroyed, whoever reads
				w.merge(0, false, 1000)
				w.must(st.View(func(tx *store.Tx) (err error) { due, err = x.Due(tx); return err }))
			}
			w.must(st.View(func(tx *store.Tx) error {
				for range rapid.IntRange(1, 4).Draw(rt, "meanwhile") {
					// What is destroyed, or a store that is not there any more, is not read.
					cut := rapid.IntRange(0, 2).Draw(rt, "merge")
					if cut > 0 {
						w.merge(0, false, 40)
						continue
					}
					seq++
					w.add(0, false, seq, rapid.SliceOfN(rapid.IntRange(0, worldRecords-1), 1, 12).Draw(rt, "records"))
				}
				if w.x != x {
					t.Fatal("another index")
				}
				if rapid.Bool().Draw(rt, "warm") {
					if _, err := x.Warm(tx, 20); err != nil {
						return err
					}
				}
				return w.check(tx, &old)
			}))
			w.must(w.st.View(func(tx *store.Tx) error { return w.check(tx, &w.model) }))
		}
	})
}

// TestReadersAndAWriter: those who read while records come and the index is merged find what
// their state holds, each time.
func TestReadersAndAWriter(t *testing.T) {
	w := newWorld(t)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := w.st.View(func(tx *store.Tx) error {
					c, err := corpus.Count(tx)
					if err != nil {
						return err
					}
					list, _, err := w.x.Search(tx, corpus.Query{Value: hot, All: true, Limit: 1000})
					if err == nil && len(list) != int(c.Records) {
						err = fmt.Errorf("found %d of %d records", len(list), c.Records)
					}
					return err
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				w.warm(1)
			}
		}
	})
	for i := range worldRecords {
		w.add(0, i%5 == 4, uint64(i+1), []int{i, (i + 7) % worldRecords})
		w.merge(0, i%7 == 6, 20)
	}
	close(done)
	readers.Wait()
}
