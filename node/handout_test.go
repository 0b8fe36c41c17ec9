package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestErasureNamesWhatItDoesNotReach: the report lists the files and streams that may hold
// what was erased, and no others.
func TestErasureNamesWhatItDoesNotReach(t *testing.T) {
	nodes := testNetwork(t, "Vendor", "Police")
	n, police := nodes[0], nodes[1]
	publishList(t, n, "198.51.100.1\n", amber())
	first, err := n.Export(context.Background(), io.Discard, ExportCSV, 0)
	if err != nil {
		t.Fatal(err)
	}
	publishList(t, n, "198.51.100.2\n", amber())
	second, err := n.Export(context.Background(), io.Discard, ExportSTIX, first)
	if err != nil || second <= first {
		t.Fatal(second, err)
	}
	if _, err := n.Export(context.Background(), io.Discard, ExportJSONL, second); err != nil { // nothing leaves
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := n.Pack(context.Background(), &out, PackRequest{To: police.Org()}); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("that is enough")
	sent := 0
	if err := n.Stream(context.Background(), 0, false, func(*Record) error {
		if sent++; sent == 2 {
			return enough
		}
		return nil
	}, func() {}); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if err := n.Stream(context.Background(), second, false, func(*Record) error { return nil }, func() {}); err != nil {
		t.Fatal(err)
	}
	list, err := n.Handouts()
	if err != nil || len(list) != 4 || list[0].Kind != handoutWatch || list[0].Records != 2 || list[1].Kind != handoutCarry || list[1].Detail != "Police" || list[3].Detail != "csv" {
		t.Fatalf("%+v, %v", list, err)
	}
	erase := func(value string) string {
		rep, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, n, value).ID}, Reason: protocol.EraseRequest})
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, r := range rep.Beyond {
			all.WriteString(r.What + "\n")
		}
		return all.String()
	}
	got := erase("198.51.100.1")
	for what, want := range map[string]bool{"export as csv": true, "export as stix": false, "stream": true, "packed for Police": true} {
		if strings.Contains(got, what) != want {
			t.Errorf("erasing what the first export holds names %q: %v, want %v\n%s", what, !want, want, got)
		}
	}
	if got := erase("198.51.100.2"); strings.Contains(got, "export as csv") || !strings.Contains(got, "export as stix") {
		t.Errorf("erasing what the second export holds:\n%s", got)
	}
}

// TestHandoutOutlivesAKill: what was leaving when the process ended counts as holding all
// that there was.
func TestHandoutOutlivesAKill(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	publishList(t, n, "198.51.100.1\n", amber())
	if _, err := n.handOut(context.Background(), handoutExport, "csv", 0, false); err != nil {
		t.Fatal(err)
	}
	if err := n.closeHandouts(); err != nil { // as the next start does
		t.Fatal(err)
	}
	rep, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, n, "198.51.100.1").ID}, Reason: protocol.EraseLegal})
	if err != nil || !strings.Contains(rep.Beyond[0].What, "export as csv") {
		t.Errorf("%+v, %v", rep, err)
	}
	publishList(t, n, "198.51.100.2\n", amber())
	rep, err = n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, n, "198.51.100.2").ID}, Reason: protocol.EraseLegal})
	if err != nil || strings.Contains(rep.Beyond[0].What, "export as csv") {
		t.Errorf("what came after it counts as in it: %+v, %v", rep, err)
	}
}
