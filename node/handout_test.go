package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/store"
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

// TestStandingHandout: what the same reader takes again and again is one hand-out, which grows before more
// leaves, is named by an erasure, outlives a kill and a restart, and does not make an export or a backup go.
func TestStandingHandout(t *testing.T) {
	t.Parallel()
	n := testNetwork(t, "Vendor")[0]
	ctx := t.Context()
	publishList(t, n, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", amber())
	one, two, three := theRecord(t, n, "198.51.100.1"), theRecord(t, n, "198.51.100.2"), theRecord(t, n, "198.51.100.3")
	records := []*Record{&one, &two, &three}
	slices.SortFunc(records, func(a, b *Record) int { return cmp.Compare(a.Cursor, b.Cursor) })
	for range 200 {
		end, err := n.HandList(ctx, "list of everything, for siem", records[1].Cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		ended := errors.New("read")
		if err := errors.Join(end(),
			n.HandRecords(ctx, HandoutTAXII, "collection c2 for tip", Disclosure{Act: "taxii objects", Records: []protocol.RecordID{records[0].ID}}),
			n.HandRecords(ctx, HandoutMISP, "for misp", Disclosure{Act: "misp", Records: []protocol.RecordID{records[1].ID}})); err != nil {
			t.Fatal(err)
		}
		if err := n.Reader(nil).Follow(ctx, nil, records[1].Cursor, "for soar", func(*Change) error { return ended }, func() {}); !errors.Is(err, ended) {
			t.Fatal(err)
		}
	}
	if end, err := n.HandList(ctx, "rpz of everything, for none", records[2].Cursor, 0); err != nil || end() != nil { // holds nothing
		t.Fatal(err)
	}
	counts := func() string {
		list, err := n.Handouts()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, h := range list {
			out = append(out, fmt.Sprint(h.Kind, " ", h.Detail, " ", h.Records, " ", h.Open))
		}
		slices.Sort(out)
		return strings.Join(out, "; ")
	}
	if got := counts(); got != "list list of everything, for siem 400 false; misp for misp 200 false; stream for soar 200 false; taxii collection c2 for tip 200 false" {
		t.Error(got)
	}
	named := func(r *Record) string {
		c := copies{cursors: []uint64{r.Cursor}, received: 1}
		rows, err := c.find(n, false)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, row := range rows {
			out = append(out, strings.Join(strings.Fields(row.What)[:4], " "))
		}
		slices.Sort(out)
		return strings.Join(out, "; ")
	}
	check := func(when string) {
		t.Helper()
		for i, want := range []string{"the list as list; what was read by", "the list as list; what MISP read for", "the stream for soar"} {
			if got := named(records[i]); got != want {
				t.Errorf("%s, of record %d: %q, not %q", when, i, got, want)
			}
		}
	}
	check("as it goes")
	if err := errors.Join(n.keepHandouts(), n.closeHandouts()); err != nil { // as an end and a start do
		t.Fatal(err)
	}
	check("after a restart")
	before := counts()
	if !strings.Contains(before, "siem 400 false") {
		t.Error(before)
	}
	// A stream that is being read may hold all that comes, also if the process ends; then what there was.
	if _, err := n.handOn(ctx, handoutStream, "for soar", records[2].Cursor); err != nil {
		t.Fatal(err)
	}
	publishList(t, n, "198.51.100.4\n", amber())
	four := theRecord(t, n, "198.51.100.4")
	if got := named(&four); got != "the stream for soar" {
		t.Errorf("while it is read: %q", got)
	}
	if err := n.closeHandouts(); err != nil { // as the next start does
		t.Fatal(err)
	}
	if got := named(&four); got != "the stream for soar" {
		t.Errorf("after a kill: %q", got)
	}
	if got := counts(); got != before {
		t.Errorf("%s, not %s", got, before)
	}
	// It reaches further before more leaves.
	publishList(t, n, "198.51.100.5\n", amber())
	five := theRecord(t, n, "198.51.100.5")
	if got := named(&five); got != "" {
		t.Errorf("what came later: %q", got)
	}
	if err := n.HandRecords(ctx, HandoutTAXII, "collection c2 for tip", Disclosure{Act: "taxii objects", Records: []protocol.RecordID{five.ID}}); err != nil {
		t.Fatal(err)
	}
	if err := n.closeHandouts(); err != nil { // killed right then
		t.Fatal(err)
	}
	if got := named(&five); got != "what was read by" {
		t.Errorf("what was handed out right before a kill: %q", got)
	}
}

// TestHandoutsMakeRoom: of a group that is full the one goes that was gone on with the longest ago, and none
// of another group.
func TestHandoutsMakeRoom(t *testing.T) {
	t.Parallel()
	n := testNetwork(t, "Vendor")[0]
	put := func(first, count uint64, d handoutDoc) {
		t.Helper()
		for i := first; i < first+count; {
			end := min(i+1000, first+count)
			if err := n.st.Update(func(tx *store.Tx) error {
				for ; i < end; i++ {
					d.Detail = fmt.Sprint(i)
					if err := putDoc(tx, kindHandout, be64(i), &d); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(1, 1, handoutDoc{Kind: handoutBackup, At: 1, Sealed: true})
	put(2, 1, handoutDoc{Kind: handoutExport, At: 1})
	put(3, 1, handoutDoc{Kind: handoutList, At: 1, Last: 5, Standing: true, Records: 1})
	put(4, maxHandouts-1, handoutDoc{Kind: handoutWatch, At: 3})
	if err := n.closeHandouts(); err != nil {
		t.Fatal(err)
	}
	if err := n.goOn(handoutList, "new", 0, 1, 1, 0); err != nil {
		t.Fatal(err)
	}
	list, err := n.Handouts()
	slices.Reverse(list)
	if err != nil || len(list) != maxHandouts+2 || list[0].Kind != handoutBackup || list[1].Kind != handoutExport || list[2].Kind != handoutList || list[3].ID != 5 {
		t.Fatalf("%d, %+v, %v", len(list), list[:4], err)
	}
}
