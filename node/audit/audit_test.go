package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

const day = 24 * 3600 * 1000

var (
	self = protocol.OrgID{1}
	them = protocol.OrgID{2}
)

// logbook is a log in a store in memory, with the key that signs for it.
type logbook struct {
	t   testing.TB
	st  *store.Store
	key crypto.SigningPrivate
	log *audit.Log
}

func newLogbook(t testing.TB) *logbook {
	t.Helper()
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	b := &logbook{t: t, st: st, key: crypto.GenerateSigning()}
	b.update(func(tx *store.Tx) (err error) {
		b.log, err = audit.Start(tx, self, protocol.NodeID{3}, b.key.Public(), day, "test")
		return err
	})
	return b
}

func (b *logbook) update(fn func(tx *store.Tx) error) {
	b.t.Helper()
	if err := b.st.Update(fn); err != nil {
		b.t.Fatal(err)
	}
}

func (b *logbook) signer() note.Signer {
	s, err := b.key.NoteSigner(b.log.Log.Origin())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *logbook) verifier() note.Verifier {
	v, err := crypto.NoteVerifier(b.log.Log.Origin(), b.key.Public())
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *logbook) add(count int) {
	b.t.Helper()
	b.update(func(tx *store.Tx) error {
		for i := range count {
			d := &audit.Details{At: day * 2, Act: "search", Person: "alice", Orgs: []protocol.OrgID{them}, Text: fmt.Sprint("canary", i)}
			if _, err := b.log.Append(tx, audit.Disclose, d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *logbook) state() (c *audit.Checkpoint) {
	b.t.Helper()
	b.update(func(tx *store.Tx) (err error) { c, err = b.log.State(tx, b.signer()); return err })
	return c
}

func (b *logbook) erase(numbers ...uint64) (count int, err error) {
	err = b.st.Update(func(tx *store.Tx) error {
		_, count, err = b.log.EraseDetails(tx, numbers, &audit.Details{At: day * 3, Act: "erase", Person: "bob", Text: "authority X", Reason: "request"})
		return err
	})
	return count, err
}

func (b *logbook) verify(since ...audit.Since) *audit.Verified {
	b.t.Helper()
	var v *audit.Verified
	if err := b.st.View(func(tx *store.Tx) (err error) { v, err = b.log.Verify(tx, b.verifier(), since); return err }); err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *logbook) export(details bool) []byte {
	b.t.Helper()
	var out bytes.Buffer
	vkey, err := crypto.NoteKey(b.log.Log.Origin(), b.key.Public())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.st.View(func(tx *store.Tx) error { _, err := b.log.Export(tx, &out, vkey, details); return err }); err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

func clean(t testing.TB, v *audit.Verified) {
	t.Helper()
	if !v.Whole() {
		t.Fatalf("a log that nobody touched: %q", v.Problems)
	}
}

func says(t testing.TB, v *audit.Verified, want string) {
	t.Helper()
	if !slices.ContainsFunc(v.Problems, func(p string) bool { return strings.Contains(p, want) }) {
		t.Errorf("problems are %q, want one with %q", v.Problems, want)
	}
}

func key(kind byte, log audit.ID, rest ...byte) []byte {
	return slices.Concat([]byte(audit.Prefix), []byte{kind}, log[:], rest)
}

func at(n byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, n} }

// TestVerify: whatever is changed in the store is found, each in its words.
func TestVerify(t *testing.T) {
	fill := func(t *testing.T) *logbook {
		b := newLogbook(t)
		b.add(10)
		b.state()
		b.add(9)
		if n, err := b.erase(3, 4); err != nil || n != 2 {
			t.Fatal(n, err)
		}
		return b
	}
	b := fill(t)
	clean(t, b.verify())
	if v := b.verify(); v.Size != 21 || v.Details != 19 || v.Erased != 2 || v.Checkpoints != 1 {
		t.Fatalf("%+v", v)
	}
	for _, tc := range []struct {
		name, says string
		change     func(tx *store.Tx, b *logbook) error
	}{
		{"leaf edited", "entry 7 was changed", func(tx *store.Tx, b *logbook) error {
			k := key('l', b.log.Log, at(7)...)
			leaf, err := tx.Get(k)
			leaf[len(leaf)-1] ^= 1
			return errors.Join(err, tx.Set(k, leaf))
		}},
		{"leaf swapped", "entry 7 was changed", func(tx *store.Tx, b *logbook) error {
			leaf, err := tx.Get(key('l', b.log.Log, at(8)...))
			return errors.Join(err, tx.Set(key('l', b.log.Log, at(7)...), leaf))
		}},
		{"leaf gone", "entry 7 is missing", func(tx *store.Tx, b *logbook) error { return tx.Delete(key('l', b.log.Log, at(7)...)) }},
		{"leaf added", "entry 21 stands after the end", func(tx *store.Tx, b *logbook) error {
			leaf, err := tx.Get(key('l', b.log.Log, at(8)...))
			return errors.Join(err, tx.Set(key('l', b.log.Log, at(21)...), leaf))
		}},
		{"hash edited", "was changed", func(tx *store.Tx, b *logbook) error { return tx.Set(key('h', b.log.Log, at(5)...), make([]byte, 32)) }},
		{"hash gone", "hash 2 is missing", func(tx *store.Tx, b *logbook) error { return tx.Delete(key('h', b.log.Log, at(2)...)) }},
		{"shortened", "the log was shortened: it has 9 entries, and had 11", func(tx *store.Tx, b *logbook) error {
			for n := byte(9); n < 21; n++ {
				if err := tx.Delete(key('l', b.log.Log, at(n)...)); err != nil {
					return err
				}
			}
			return tx.Set(key('s', b.log.Log), at(9))
		}},
		{"details replaced", "details of entry 7", func(tx *store.Tx, b *logbook) error {
			plain, err := tx.Unwrap(key('d', b.log.Log, at(8)...), must(tx.Get(key('d', b.log.Log, at(8)...))))
			if err != nil {
				return err
			}
			w, err := tx.Wrap(key('d', b.log.Log, at(7)...), plain)
			return errors.Join(err, tx.Set(key('d', b.log.Log, at(7)...), w))
		}},
		{"details gone", "the details of entry 7 are missing, and nothing says", func(tx *store.Tx, b *logbook) error { return tx.Delete(key('d', b.log.Log, at(7)...)) }},
		{"details destroyed", "entry 7", func(tx *store.Tx, b *logbook) error { return tx.Destroy(must(tx.Get(key('d', b.log.Log, at(7)...)))) }},
		{"erasure that nobody noted", "no later entry says", func(tx *store.Tx, b *logbook) error { return tx.Set(key('d', b.log.Log, at(7)...), at(20)) }},
		{"erasure noted before", "no later entry says", func(tx *store.Tx, b *logbook) error { return tx.Set(key('d', b.log.Log, at(7)...), at(2)) }},
		{"checkpoint edited", "checkpoint of 11 entries that is kept", func(tx *store.Tx, b *logbook) error {
			k := key('c', b.log.Log, at(11)...)
			return tx.Set(k, bytes.Replace(must(tx.Get(k)), []byte("\n11\n"), []byte("\n10\n"), 1))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := fill(t)
			b.update(func(tx *store.Tx) error { return tc.change(tx, b) })
			says(t, b.verify(), tc.says)
		})
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestRewritten: whoever holds the store and its key can make another log that verifies by itself;
// a checkpoint that somebody else kept shows it.
func TestRewritten(t *testing.T) {
	b := newLogbook(t)
	b.add(5)
	kept := b.state()
	before := snapshot(t, b)
	b.add(3)
	later := b.state()
	clean(t, b.verify(audit.Since{What: "kept", Signed: kept.Note}))

	// Back to the earlier state, and on from there otherwise.
	b.update(func(tx *store.Tx) error { return putBack(tx, before) })
	says(t, b.verify(audit.Since{What: "the file", Signed: later.Note}), "the log was shortened: it has 6 entries, and had 9 by the file")
	b.add(7)
	v := b.verify(audit.Since{What: "kept", Signed: kept.Note})
	clean(t, v)
	says(t, b.verify(audit.Since{What: "the file", Signed: later.Note}), "another continuation of an earlier state: its first 9 entries are not those of the file")
	says(t, b.verify(audit.Since{What: "the anchor", Head: later.Head}), "not those of the anchor")

	// The checkpoint of another log, or another key, is not held against it.
	other := newLogbook(t)
	foreign := other.state()
	if err := b.st.View(func(tx *store.Tx) error {
		_, err := b.log.Verify(tx, b.verifier(), []audit.Since{{What: "file", Signed: foreign.Note}})
		return err
	}); !errors.Is(err, protocol.ErrBadSignature) {
		t.Errorf("a checkpoint of another log: %v", err)
	}
}

func snapshot(t testing.TB, b *logbook) map[string][]byte {
	out := map[string][]byte{}
	if err := b.st.View(func(tx *store.Tx) error {
		return tx.Scan([]byte(audit.Prefix), nil, false, func(k, v []byte) (bool, error) {
			out[string(k)] = bytes.Clone(v)
			return true, nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func putBack(tx *store.Tx, to map[string][]byte) error {
	var gone [][]byte
	err := tx.Scan([]byte(audit.Prefix), nil, false, func(k, _ []byte) (bool, error) {
		gone = append(gone, bytes.Clone(k))
		return true, nil
	})
	for _, k := range gone {
		err = errors.Join(err, tx.Delete(k))
	}
	for k, v := range to {
		err = errors.Join(err, tx.Set([]byte(k), v))
	}
	return err
}

// TestAnyHistory: whatever is appended, erased and stated, the log verifies, goes on verifying
// against every checkpoint made of it, every entry is proven, and it survives being carried over.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newLogbook(t)
		var kept []*audit.Checkpoint
		texts := map[uint64]string{}
		size := uint64(1)
		erased := map[uint64]bool{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0, 1:
				n := rapid.IntRange(1, 9).Draw(rt, "count")
				for i := range n {
					texts[size+uint64(i)] = fmt.Sprint("canary", i)
				}
				b.add(n)
				size += uint64(n)
			case 2:
				kept = append(kept, b.state())
			case 3:
				n := rapid.Uint64Range(0, size-1).Draw(rt, "erase")
				count, err := b.erase(n)
				_, may := texts[n]
				if (err == nil) != may || err == nil && (count == 1) == erased[n] {
					rt.Fatalf("erasing %d: %d, %v", n, count, err)
				}
				if count == 1 {
					erased[n] = true
					size++
				}
			}
		}
		kept = append(kept, b.state())
		last := kept[len(kept)-1]
		var since []audit.Since
		for _, c := range kept {
			since = append(since, audit.Since{What: "kept", Signed: c.Note})
		}
		v := b.verify(since...)
		clean(t, v)
		if v.Size != size || v.Erased != uint64(len(erased)) || v.Details+v.Erased != v.Size {
			rt.Fatalf("%+v, want %d entries, %d of them erased", v, size, len(erased))
		}
		if err := b.st.View(func(tx *store.Tx) error {
			return b.log.Each(tx, 0, func(e *audit.Entry) (bool, error) {
				proof, err := b.log.Prove(tx, e.Number, last)
				if err != nil {
					return false, err
				}
				if n, c, err := audit.CheckProof(proof, e.Raw, b.verifier()); err != nil || n != e.Number || c.Root != last.Root {
					return false, fmt.Errorf("proof of %d: %d, %w", e.Number, n, err)
				}
				if _, _, err := audit.CheckProof(proof, append(e.Raw, 0), b.verifier()); err == nil {
					return false, errors.New("a proof holds for another leaf")
				}
				if text, ok := texts[e.Number]; ok && !erased[e.Number] && e.Details.Text != text || erased[e.Number] != (e.Details == nil) {
					return false, fmt.Errorf("entry %d is not what was appended", e.Number)
				}
				return true, nil
			})
		}); err != nil {
			rt.Fatal(err)
		}
		for _, details := range []bool{false, true} {
			file := b.export(details)
			x, err := audit.VerifyExport(bytes.NewReader(file), "", since)
			if err != nil || !x.Whole() || x.Head != v.Head || x.Erased != uint64(len(erased)) {
				rt.Fatalf("export: %+v, %v", x, err)
			}
			if found := bytes.Contains(file, []byte("canary")); found {
				rt.Fatal("details stand in the export in clear")
			}
		}
		again := carryOver(t, b)
		w := again.verify(since...)
		clean(t, w)
		if w.Head != v.Head || w.Erased != v.Erased || w.Details != v.Details {
			rt.Fatalf("carried over: %+v, was %+v", w, v)
		}
	})
}

func carryOver(t testing.TB, b *logbook) *logbook {
	t.Helper()
	to := newLogbook(t)
	to.update(func(tx *store.Tx) error { return putBack(tx, nil) })
	if err := b.st.View(func(from *store.Tx) error {
		return to.st.Update(func(tx *store.Tx) error {
			return audit.Dump(from, nil, func(id, value []byte) error { return audit.Load(tx, id, value) })
		})
	}); err != nil {
		t.Fatal(err)
	}
	to.key = b.key
	if err := to.st.View(func(tx *store.Tx) (err error) { to.log, err = audit.Current(tx); return err }); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestExportTampered: every change of an exported file is found.
func TestExportTampered(t *testing.T) {
	b := newLogbook(t)
	b.add(4)
	b.state()
	b.add(4)
	if _, err := b.erase(2); err != nil {
		t.Fatal(err)
	}
	b.state()
	for _, details := range []bool{false, true} {
		file := b.export(details)
		lines := bytes.SplitAfter(file, []byte("\n"))
		lines = lines[:len(lines)-1]
		check := func(what string, changed []byte) {
			t.Helper()
			if x, err := audit.VerifyExport(bytes.NewReader(changed), "", nil); err == nil && x.Whole() {
				t.Errorf("details %v: %s is not found", details, what)
			}
		}
		for i := range lines {
			check(fmt.Sprintf("line %d gone", i), bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil))
			check(fmt.Sprintf("ended before line %d", i), bytes.Join(lines[:i], nil))
			if i > 0 {
				swapped := slices.Clone(lines)
				swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
				check(fmt.Sprintf("lines %d and %d swapped", i-1, i), bytes.Join(swapped, nil))
			}
		}
		// Every value of an entry, changed.
		for i, line := range lines {
			var x struct {
				Entry map[string]json.RawMessage `json:"entry"`
			}
			if json.Unmarshal(line, &x) != nil || x.Entry == nil {
				continue
			}
			for name, value := range x.Entry {
				for _, to := range []string{`1000`, `""`, `"AAAA"`, `"quarantine"`} {
					if string(value) == to {
						continue
					}
					changed := map[string]any{}
					for k, v := range x.Entry {
						changed[k] = v
					}
					changed[name] = json.RawMessage(to)
					l, _ := json.Marshal(map[string]any{"entry": changed})
					check(fmt.Sprintf("%s of line %d is %s", name, i, to), bytes.Join(slices.Concat(lines[:i], [][]byte{append(l, '\n')}, lines[i+1:]), nil))
				}
			}
		}
		for i := 0; i < len(file); i += 5 {
			changed := slices.Clone(file)
			changed[i] ^= 1
			// Whose file it says to be, in the header, is for who knows its key to find out.
			if i > bytes.IndexByte(file, '\n') {
				check(fmt.Sprintf("byte %d changed", i), changed)
			}
		}
		check("more after the end", append(slices.Clone(file), '{'))
		if _, err := audit.VerifyExport(bytes.NewReader(file), "entente/audit/00+00000000+AAAA", nil); !errors.Is(err, protocol.ErrBadSignature) {
			t.Errorf("an export under another key than was given: %v", err)
		}
	}
}

// TestErase: what is erased is gone from the store, and what may not be erased stays.
func TestErase(t *testing.T) {
	b := newLogbook(t)
	b.add(3)
	b.update(func(tx *store.Tx) error {
		d := &audit.Details{At: day, Act: "decide", Text: "once"}
		for range 2 {
			if n, err := b.log.AppendOnce(tx, audit.Decide, d); err != nil || n != 4 {
				return fmt.Errorf("appended once: %d, %w", n, err)
			}
			d.At, d.Person = 2*day, "bob"
		}
		return nil
	})
	if _, err := b.erase(0); err == nil {
		t.Error("erasing where the log begins")
	}
	if _, err := b.erase(99); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("erasing an entry that is not there: %v", err)
	}
	place := key('d', b.log.Log, at(1)...)
	var wrapped []byte
	if err := b.st.View(func(tx *store.Tx) (err error) { wrapped, err = tx.Get(place); return err }); err != nil {
		t.Fatal(err)
	}
	if n, err := b.erase(1, 1, 4); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if err := b.st.View(func(tx *store.Tx) error { _, err := tx.Unwrap(place, wrapped); return err }); !errors.Is(err, store.ErrDestroyed) {
		t.Errorf("a copy of what was erased still opens: %v", err)
	}
	if n, err := b.erase(1); err != nil || n != 0 {
		t.Errorf("erasing again: %d, %v", n, err)
	}
	if _, err := b.erase(5); err == nil {
		t.Error("erasing what says that something was erased")
	}
	if err := b.st.View(func(tx *store.Tx) error {
		e, err := b.log.Entry(tx, 1)
		if err == nil && (e.Details != nil || e.Erased != 5 || e.Leaf.Kind != audit.Disclose) {
			err = fmt.Errorf("%+v", e)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	// A decision whose details are gone is said anew.
	b.update(func(tx *store.Tx) error {
		n, err := b.log.AppendOnce(tx, audit.Decide, &audit.Details{At: day, Act: "decide", Text: "once"})
		if n != 6 {
			err = errors.Join(err, fmt.Errorf("it is entry %d", n))
		}
		return err
	})
	clean(t, b.verify())
}

// TestForeign: another organisation cannot fill the log.
func TestForeign(t *testing.T) {
	b := newLogbook(t)
	const tries = 5000
	for i := range 5 {
		b.update(func(tx *store.Tx) error {
			for range tries / 5 {
				if err := b.log.AppendForeign(tx, audit.Quarantine, &audit.Details{At: day, Act: "set aside", By: them}); err != nil {
					return err
				}
			}
			_ = i
			return nil
		})
	}
	v := b.verify()
	clean(t, v)
	if v.Size < audit.MaxForeign || v.Size > audit.MaxForeign+10 {
		t.Errorf("%d entries of %d", v.Size, tries)
	}
	b.update(func(tx *store.Tx) error {
		return b.log.AppendForeign(tx, audit.Quarantine, &audit.Details{At: 2 * day, Act: "set aside", By: them})
	})
	if w := b.verify(); w.Size != v.Size+1 {
		t.Errorf("on the next day: %d entries after %d", w.Size, v.Size)
	}
}

// TestStartAgain: a log that begins after another names where that stood.
func TestStartAgain(t *testing.T) {
	b := newLogbook(t)
	b.add(3)
	first := b.state()
	old := b.log
	b.update(func(tx *store.Tx) (err error) {
		b.log, err = audit.Start(tx, self, protocol.NodeID{4}, b.key.Public(), 3*day, "restored")
		return err
	})
	if err := b.st.View(func(tx *store.Tx) error {
		e, err := b.log.Entry(tx, 0)
		if err != nil || len(e.Details.Logs) != 1 || e.Details.Logs[0] != first.Head {
			return fmt.Errorf("%+v, %w", e, err)
		}
		logs, err := audit.Logs(tx)
		if err != nil || len(logs) != 2 || logs[0].Log != old.Log || logs[1].Log != b.log.Log {
			return fmt.Errorf("%v, %w", logs, err)
		}
		now, err := audit.Current(tx)
		if err != nil || now.Log != b.log.Log {
			return fmt.Errorf("current is %v, %w", now, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	clean(t, b.verify())
	b.log = old
	clean(t, b.verify(audit.Since{What: "kept", Signed: first.Note}))
}

// TestRefused: what comes from outside is read strictly.
func TestRefused(t *testing.T) {
	b := newLogbook(t)
	b.add(2)
	c := b.state()
	v := b.verifier()
	for name, signed := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "long": make([]byte, audit.MaxCheckpoint+1),
		"size changed":        bytes.Replace(c.Note, []byte("\n3\n"), []byte("\n4\n"), 1),
		"unsigned":            c.Note[:bytes.Index(c.Note, []byte("\n\n"))+2],
		"signed by another":   sign(t, newLogbook(t), b.log.Log.Origin()+"\n3\n"+strings.Repeat("A", 43)+"=\n"),
		"extension":           sign(t, b, b.log.Log.Origin()+"\n3\n"+strings.Repeat("A", 43)+"=\nmore\n"),
		"size in another way": sign(t, b, b.log.Log.Origin()+"\n03\n"+strings.Repeat("A", 43)+"=\n"),
		"another log":         sign(t, b, "entente/audit/"+strings.Repeat("0", 32)+"\n3\n"+strings.Repeat("A", 43)+"=\n"),
		"no log":              sign(t, b, "example.org/log\n3\n"+strings.Repeat("A", 43)+"=\n"),
	} {
		if _, err := audit.OpenCheckpoint(signed, v); protocol.Class(err) == "other" || err == nil {
			t.Errorf("checkpoint, %s: %v", name, err)
		}
	}
	for name, proof := range map[string]string{
		"empty": "", "text": "hello", "no index": "c2sp.org/tlog-proof@v1\n\n" + string(c.Note), "bad index": "c2sp.org/tlog-proof@v1\nindex 01\n\n" + string(c.Note),
		"bad hash": "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n" + string(c.Note), "after the end": "c2sp.org/tlog-proof@v1\nindex 3\n\n" + string(c.Note),
		"short": "c2sp.org/tlog-proof@v1\nindex 1\n\n" + string(c.Note), "long": strings.Repeat("x", 1<<20),
	} {
		if _, _, err := audit.CheckProof([]byte(proof), nil, v); protocol.Class(err) == "other" || err == nil {
			t.Errorf("proof, %s: %v", name, err)
		}
	}
	for name, d := range map[string]*audit.Details{
		"long text":    {Text: strings.Repeat("x", audit.MaxText+1)},
		"long person":  {Person: strings.Repeat("x", audit.MaxName+1)},
		"many orgs":    {Orgs: make([]protocol.OrgID, audit.MaxList+1)},
		"bad verdict":  {Orgs: make([]protocol.OrgID, 1), Verdicts: []audit.Verdict{{Org: 1}}},
		"bad term":     {Orgs: make([]protocol.OrgID, 1), Verdicts: []audit.Verdict{{Agreement: 1}}},
		"many records": {Records: audit.RecordSet{Count: audit.MaxIDs + 1, IDs: make([]protocol.RecordID, audit.MaxIDs+1)}},
		"wrong count":  {Parts: []audit.Part{{Records: audit.RecordSet{Count: 2, IDs: make([]protocol.RecordID, 1)}}}},
		"large":        {Orgs: make([]protocol.OrgID, audit.MaxList), Agreements: make([]protocol.AgreementID, audit.MaxList), Class: audit.Class{Handling: make([]byte, 1<<20)}},
	} {
		err := b.st.Update(func(tx *store.Tx) error { _, err := b.log.Append(tx, audit.Decide, d); return err })
		if c := protocol.Class(err); c != "malformed" && c != "oversize" {
			t.Errorf("details, %s: %v", name, err)
		}
	}
	clean(t, b.verify())
	for name, file := range map[string]string{
		"empty": "", "text": "hello\n", "other": `{"format":"x"}` + "\n", "unknown field": `{"format":"entente/audit-export/v1","more":1}` + "\n",
		"too many": fmt.Sprintf(`{"format":"entente/audit-export/v1","entries":%d}`+"\n", uint64(audit.MaxExportEntries+1)),
		"no key":   `{"format":"entente/audit-export/v1","entries":1,"key":"x"}` + "\n",
		"long":     strings.Repeat("x", audit.MaxExportLine+1),
	} {
		if _, err := audit.VerifyExport(strings.NewReader(file), "", nil); protocol.Class(err) == "other" || err == nil {
			t.Errorf("export, %s: %v", name, err)
		}
	}
	for _, id := range []string{"", "z", "l", "a", "d" + string(make([]byte, 24)), "l" + string(make([]byte, 24)), "q" + string(make([]byte, 52))} {
		if err := audit.CheckDumped([]byte(id), []byte("x")); protocol.Class(err) != "malformed" {
			t.Errorf("dumped %q: %v", id, err)
		}
	}
}

func sign(t testing.TB, b *logbook, text string) []byte {
	t.Helper()
	name, _, _ := strings.Cut(text, "\n")
	if name == b.log.Log.Origin() || strings.HasPrefix(name, "entente/audit/0") || strings.HasPrefix(name, "example") {
		name = b.log.Log.Origin()
	}
	s, err := b.key.NoteSigner(name)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestThin: checkpoints do not pile up, and the newest stays.
func TestThin(t *testing.T) {
	b := newLogbook(t)
	var last *audit.Checkpoint
	for i := range audit.MaxCheckpoints/64 + 2 {
		b.update(func(tx *store.Tx) error {
			for range 64 {
				if _, err := b.log.Append(tx, audit.Disclose, &audit.Details{At: day, Act: fmt.Sprint(i)}); err != nil {
					return err
				}
				c, err := b.log.State(tx, b.signer())
				if err != nil {
					return err
				}
				last = c
			}
			return nil
		})
	}
	count := 0
	if err := b.st.View(func(tx *store.Tx) error {
		signed, size, err := b.log.LastCheckpoint(tx)
		if err != nil || size != last.Size || !bytes.Equal(signed, last.Note) {
			return fmt.Errorf("the last is of %d entries, want %d: %w", size, last.Size, err)
		}
		return b.log.EachCheckpoint(tx, func(uint64, []byte) error { count++; return nil })
	}); err != nil {
		t.Fatal(err)
	}
	if count > audit.MaxCheckpoints || count < audit.MaxCheckpoints/2 {
		t.Errorf("%d are kept", count)
	}
}

// TestRootOf: it is the root of the tree that tlog makes.
func TestRootOf(t *testing.T) {
	var ids []protocol.RecordID
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, _ error) {
		for _, i := range at {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for n := range int64(200) {
		want, err := tlog.TreeHash(n, reader)
		if got := audit.RootOf(ids); err != nil || got != protocol.Hash(want) {
			t.Fatalf("root of %d ids: %s, want %s (%v)", n, got, protocol.Hash(want), err)
		}
		id := protocol.RecordID{byte(n), 1}
		more, err := tlog.StoredHashes(n, id[:], reader)
		if err != nil {
			t.Fatal(err)
		}
		ids, hashes = append(ids, id), append(hashes, more...)
	}
}
