package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

func testSink(name string) Sink {
	return Sink{Name: name, Kind: SinkWebhook, URL: "https://x.example/hook", Reader: "ann", Format: SinkJSON, Batch: 10, Secret: NewSinkSecret([]byte("whsec_x"))}
}

// TestSinksRefused: what cannot be kept is not, and neither is what comes so in a backup.
func TestSinksRefused(t *testing.T) {
	n := testNode(t, "Example")
	for i, c := range []struct {
		change func(*Sink)
		says   string
	}{
		{func(*Sink) {}, ""},
		{func(s *Sink) { s.Name = "" }, "a name has"},
		{func(s *Sink) { s.Name = "A" }, "a name has"},
		{func(s *Sink) { s.Name = strings.Repeat("a", maxSinkName+1) }, "a name has"},
		{func(s *Sink) { s.Kind = "fax" }, `no kind "fax"`},
		{func(s *Sink) { s.Format = "pdf" }, `no format "pdf"`},
		{func(s *Sink) { s.Batch = 0 }, "a batch has"},
		{func(s *Sink) { s.Batch = MaxSinkBatch + 1 }, "a batch has"},
		{func(s *Sink) { s.URL = "" }, "an address has"},
		{func(s *Sink) { s.URL = "https://x/" + strings.Repeat("a", maxSinkURL) }, "an address has"},
		{func(s *Sink) { s.Reader = strings.Repeat("a", maxSinkReader+1) }, "too long"},
		{func(s *Sink) { s.Stream = strings.Repeat("a", maxSinkName+1) }, "too long"},
		{func(s *Sink) { s.Secret = NewSinkSecret(make([]byte, maxSinkSecret+1)) }, "its secret"},
		{func(s *Sink) { s.Roots = make([]byte, maxSinkRoots+1) }, "its certificates"},
		{func(s *Sink) { s.Reader = "\xff" }, "not UTF-8"},
	} {
		s := testSink("x")
		c.change(&s)
		d := s.doc()
		b := &backupReader{}
		if err := b.checkDocument(kindSink, []byte(s.Name), protocol.Encode(d)); (err == nil) != (c.says == "") {
			t.Errorf("%d in a backup: %v", i, err)
		}
		if _, err := n.SetSink(t.Context(), s, 0, true); (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || !errors.Is(err, protocol.ErrMalformed)) {
			t.Errorf("%d: %v, not %q", i, err, c.says)
		}
	}
	if _, err := n.SetSink(t.Context(), testSink("y"), 1, false); err == nil || !strings.Contains(err.Error(), "has not given cursor 1") {
		t.Errorf("from a cursor to come: %v", err)
	}
	for i := range MaxSinks - 1 {
		if _, err := n.SetSink(t.Context(), testSink(fmt.Sprintf("x%d", i)), 0, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.SetSink(t.Context(), testSink("y"), 0, false); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("one too many: %v", err)
	}
}

// TestSinkKeepsItsPlace: what is stored under way does not count once a person changed the sink; in the
// place of another it goes on where that was.
func TestSinkKeepsItsPlace(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	flags := policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone}
	publishList(t, n, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", flags)
	if _, err := n.SetSink(t.Context(), testSink("x"), 0, false); err != nil {
		t.Fatal(err)
	}
	r, err := n.OpenSink(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if list, next, err := r.Changes(0, 2, 10); err != nil || len(list) != 2 || next != 2 {
		t.Errorf("up to 2: %d, %d, %v", len(list), next, err)
	}
	if list, next, err := r.Changes(2, 0, 10); err != nil || len(list) != 1 || next != 3 {
		t.Errorf("after 2: %d, %d, %v", len(list), next, err)
	}
	if err := r.Store(SinkProgress{Cursor: 2, Delivered: 2}); err != nil {
		t.Fatal(err)
	}
	info, err := n.SetSink(t.Context(), testSink("x"), 0, true)
	if err != nil || info.Cursor != 2 || info.Delivered != 2 || info.Run == r.Run {
		t.Errorf("replaced: %+v, %v", info, err)
	}
	if err := r.Store(SinkProgress{Cursor: 3}); !errors.Is(err, ErrSinkChanged) {
		t.Errorf("stored under way: %v", err)
	}
	if err := n.RemoveSink(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if info, err = n.SetSink(t.Context(), testSink("x"), 1, false); err != nil || info.Cursor != 1 || info.Run == r.Run {
		t.Errorf("set anew: %+v, %v", info, err)
	}
	if err := r.Store(SinkProgress{Cursor: 3}); !errors.Is(err, ErrSinkChanged) {
		t.Errorf("stored under way to one of the same name: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSinkHoldsWhatItTold: a sink that began after a record came holds it once it was told that it was
// withdrawn; the report of its erasure names the sink.
func TestSinkHoldsWhatItTold(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, vendor, police, protocol.TLPGreen, "*")
	rec := publishList(t, vendor, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone})
	carryNew(t, vendor, police)
	if _, err := police.SetSink(t.Context(), testSink("late"), 1, false); err != nil {
		t.Fatal(err)
	}
	r, err := police.OpenSink(t.Context(), "late")
	if err != nil {
		t.Fatal(err)
	}
	if err := vendor.Withdraw(t.Context(), rec.Records, "wrong"); err != nil {
		t.Fatal(err)
	}
	carryNew(t, vendor, police)
	list, _, err := r.Changes(1, 0, 10)
	if err != nil || !slices.Equal(changeWords(list), []string{"withdrawn true"}) {
		t.Fatalf("%q, %v", changeWords(list), err)
	}
	if err := r.Disclose(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := police.Erase(t.Context(), EraseRequest{Records: rec.Records, Reason: protocol.EraseRequest})
	if err != nil || !strings.Contains(fmt.Sprintf("%+v", report), "sink late, a webhook at https://x.example/hook") {
		t.Errorf("the report does not name the sink: %+v, %v", report, err)
	}
}
