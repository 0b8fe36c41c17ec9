package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// figureOf returns a figure of a result.
func figureOf(t *testing.T, r *Result, name string) Row {
	t.Helper()
	for _, f := range r.Figures {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("there is no figure %q among %v", name, r.Figures)
	return Row{}
}

func testOptions(t *testing.T, size int) *Options {
	begun := time.Now()
	return &Options{Dir: t.TempDir(), Size: size, syncEvery: time.Second, Say: func(format string, args ...any) {
		t.Logf("%5.1fs  %s", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	}}
}

// TestAudience runs the scenario small. That each partner opens exactly what was published to it is
// checked within.
func TestAudience(t *testing.T) {
	r := new(Result)
	if err := audience(context.Background(), testOptions(t, 20), r, 50); err != nil {
		t.Fatal(err)
	}
	if r.Rate <= 0 || r.Base <= 0 {
		t.Errorf("rate %v, baseline %v", r.Rate, r.Base)
	}
	// Twenty grants are two entries: sixteen, and four with four slots.
	one, twenty := figureOf(t, r, "grants for 1").Value, figureOf(t, r, "grants for 20").Value
	if twenty < 15*one || twenty > 20*one {
		t.Errorf("grants take %v bytes for one and %v for twenty", one, twenty)
	}
	if got := figureOf(t, r, "age alone, to 20"); got.Unit != "µs" || got.Value <= 0 {
		t.Errorf("age alone: %+v", got)
	}
}

func TestAudienceSizes(t *testing.T) {
	for largest, want := range map[int][]int{1: {1}, 10: {1, 10}, 11: {1, 10, 11}, 1000: {1, 10, 100, 1000}} {
		if got := audienceSizes(largest); !slices.Equal(got, want) {
			t.Errorf("up to %d: %v", largest, got)
		}
	}
}

// TestAsean runs the scenario small. That each police has its own and no other's is checked within.
func TestAsean(t *testing.T) {
	r := new(Result)
	if err := asean(context.Background(), testOptions(t, 60), r, 2, []string{"TH", "VN"}); err != nil {
		t.Fatal(err)
	}
	if got := figureOf(t, r, "a police's records").Value; got != 30 {
		t.Errorf("a police has %v records", got)
	}
	if got := figureOf(t, r, "entries").Value; got != 8 { // of each vendor two grants, two envelopes
		t.Errorf("%v entries", got)
	}
	if err := asean(context.Background(), testOptions(t, 3), r, 2, []string{"TH", "VN"}); err == nil || !strings.Contains(err.Error(), "--size") {
		t.Errorf("too few: %v", err)
	}
}

// TestAseanCheckFails: the check of the scenario sees one record too many, and one that is somebody
// else's.
func TestAseanCheckFails(t *testing.T) {
	ctx, o := context.Background(), testOptions(t, 40)
	m, err := found(ctx, o, "Police TH")
	defer func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	police := m.orgs[0]
	files, want, err := aseanFiles(o, 1, []string{"TH"})
	if err != nil {
		t.Fatal(err)
	}
	var rec published
	if _, err := publishEach(ctx, police, publications(files), rec.add); err != nil {
		t.Fatal(err)
	}
	if err := aseanCheck(o, m.orgs, want[1:], 1); err != nil {
		t.Fatal(err)
	}
	if err := aseanCheck(o, m.orgs, []int{want[1] - 1}, 1); err == nil || !strings.Contains(err.Error(), "has 40 records") {
		t.Errorf("one record too many: %v", err)
	}
	if err := aseanCheck(o, []*org{police, police}, []int{want[1], want[1]}, 1); err == nil || !strings.Contains(err.Error(), "finds 1 records") {
		t.Errorf("records of another country: %v", err)
	}
}

// TestSimda runs the scenario small. That each node has its own, and that the keys of the others
// open exactly theirs, is checked within.
func TestSimda(t *testing.T) {
	r := new(Result)
	if err := simda(context.Background(), testOptions(t, 100), r, 7, 2); err != nil {
		t.Fatal(err)
	}
	if got := figureOf(t, r, "entries").Value; got != 14 {
		t.Errorf("%v entries, not a grant and an envelope for each", got)
	}
	if got := figureOf(t, r, "read with keys alone").Value; got != 5 {
		t.Errorf("read with the keys of %v", got)
	}
}

// TestSimdaOfflineFails: who opens something that is another's, or not all of its own, is found out.
func TestSimdaOfflineFails(t *testing.T) {
	ctx, o := context.Background(), testOptions(t, 60)
	m, rs, agreements, err := simdaMesh(ctx, o, 4, 1)
	defer func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	vendor := m.orgs[0]
	network, err := vendor.network()
	if err == nil {
		err = vendor.take(agreements)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, err := simdaFiles(o, rs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publishEach(ctx, vendor, publications(files), new(published).add); err != nil {
		t.Fatal(err)
	}
	offline := func() error { return simdaOffline(ctx, o, new(Result), vendor, vendor.node.OwnCard(), network, rs) }
	if err := offline(); err != nil {
		t.Fatal(err)
	}
	rs.size = 56 // as if two countries' victims lay elsewhere
	if err := offline(); err == nil || !strings.Contains(err.Error(), "not its own") {
		t.Errorf("another's victims: %v", err)
	}
	rs.size = 60
	// One who was given another agreement, for everything, opens more than its own.
	k := rs.keys[1]
	wide, err := sign(network, agreement(vendor.node.Org(), k.keys.Org), vendor.cfg.Keys, k.keys)
	if err == nil {
		err = vendor.take([]*protocol.SignedAgreement{wide})
	}
	if err == nil {
		_, err = publishEach(ctx, vendor, publications(files), new(published).add)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := offline(); err == nil || !strings.Contains(err.Error(), "not its own") {
		t.Errorf("one that may read everything: %v", err)
	}
}

// TestCountries: there are 249, each once, and every victim is in one.
func TestCountries(t *testing.T) {
	if len(countries) != 249 || !slices.IsSorted(countries) || len(slices.Compact(slices.Clone(countries))) != 249 {
		t.Errorf("%d countries", len(countries))
	}
	for _, c := range countries {
		if !protocol.IsCountry(c) {
			t.Errorf("%q is no country", c)
		}
	}
	rs := &recipients{nodes: make([]*org, 190), size: 2003}
	at := 0
	for c := range 190 {
		from, to := rs.of(c)
		if from != at || to <= from {
			t.Fatalf("country %d has %d to %d", c, from, to)
		}
		for i := from; i < to; i++ {
			if rs.countryOf(i) != countries[c] {
				t.Fatalf("victim %d is in %s, not in %s", i, rs.countryOf(i), countries[c])
			}
		}
		at = to
	}
	if at != 2003 {
		t.Errorf("%d victims are in a country", at)
	}
}
