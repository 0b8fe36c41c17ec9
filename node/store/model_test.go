package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"pgregory.net/rapid"
)

var keyGen = rapid.Custom(func(t *rapid.T) string {
	return string(rapid.SliceOfN(rapid.SampledFrom([]byte{'a', 'b', 0, 0xff}), 1, 4).Draw(t, "key"))
})

// TestKeySpaceIsAMap runs transactions against a map, scans in both directions in the
// middle of them, failing ones, and ones that scan within a scan.
func TestKeySpaceIsAMap(t *testing.T) {
	t.Run("memory", func(t *testing.T) { keySpaceIsAMap(t, func() (*Store, error) { return Open(Config{}) }) })
	t.Run("badger", func(t *testing.T) {
		keySpaceIsAMap(t, func() (*Store, error) {
			db, err := badger.Open(badger.DefaultOptions("").WithInMemory(true).WithLogger(nil))
			return &Store{db: badgerEngine{db}, turn: make(chan struct{}, 1), views: map[uint64]int{}}, err
		})
	})
}

func keySpaceIsAMap(t *testing.T, open func() (*Store, error)) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		model := map[string]string{}
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				next := map[string]string{}
				for k, v := range model {
					next[k] = v
				}
				fail := rapid.IntRange(0, 4).Draw(t, "fail") == 0
				err := s.Update(func(tx *Tx) error {
					for range rapid.IntRange(0, 6).Draw(t, "writes") {
						k := keyGen.Draw(t, "k")
						if rapid.Bool().Draw(t, "delete") {
							delete(next, k)
							if err := tx.Delete([]byte(k)); err != nil {
								return err
							}
						} else {
							v := rapid.StringN(0, 5, -1).Draw(t, "v")
							next[k] = v
							if err := tx.Set([]byte(k), []byte(v)); err != nil {
								return err
							}
						}
					}
					compareScan(t, tx, next)
					if fail {
						return fmt.Errorf("broken")
					}
					return nil
				})
				if (err != nil) != fail {
					t.Fatal(err)
				}
				if !fail {
					model = next
				}
			},
			"view": func(t *rapid.T) {
				if err := s.View(func(tx *Tx) error { compareScan(t, tx, model); return nil }); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

func compareScan(t *rapid.T, tx *Tx, model map[string]string) {
	prefix := rapid.SampledFrom([]string{"", "a", "b", "ab", "\xff", "\xff\xff", "a\xff", "\x00"}).Draw(t, "prefix")
	reverse := rapid.Bool().Draw(t, "reverse")
	var from []byte
	if rapid.Bool().Draw(t, "from") {
		from = []byte(keyGen.Draw(t, "from"))
	}
	var want []string
	for k, v := range model {
		if strings.HasPrefix(k, prefix) && (from == nil || !reverse && k >= string(from) || reverse && k <= string(from)) {
			want = append(want, k+"="+v)
		}
	}
	keyOf := func(s string) string { return s[:strings.IndexByte(s, '=')] }
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(keyOf(a), keyOf(b)) })
	if reverse {
		slices.Reverse(want)
	}
	limit := rapid.IntRange(1, 30).Draw(t, "limit")
	want = want[:min(limit, len(want))]
	var got []string
	err := tx.Scan([]byte(prefix), from, reverse, func(k, v []byte) (bool, error) {
		got = append(got, string(k)+"="+string(v))
		inner, err := tx.Get(k)
		if err != nil || !bytes.Equal(inner, v) || inner == nil {
			t.Fatalf("get within a scan: %q, %v; want %q", inner, err, v)
		}
		seen := false
		err = tx.Scan(k, nil, false, func(ik, _ []byte) (bool, error) { seen = bytes.Equal(ik, k); return false, nil })
		if !seen {
			t.Fatalf("a scan within a scan does not see %q", k)
		}
		return len(got) < limit, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("scan %q from %q reverse %v: got %q, want %q", prefix, from, reverse, got, want)
	}
}
