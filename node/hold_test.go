package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

func synctested(fn func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) { synctest.Test(t, fn) }
}

func holdOn(t testing.TB, n *Node, q HoldRequest) *HoldInfo {
	t.Helper()
	q.Authority, q.Reason = "Example Court, 12/26", "evidence"
	h, err := n.AddHold(WithCaller(context.Background(), Caller{Person: "Officer"}), q)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// keptAt lists what a node keeps aside.
func keptAt(t testing.TB, n *Node) []KeptRecord {
	t.Helper()
	list, err := n.Reader(nil).Kept("")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func wantKept(t testing.TB, n *Node, want int) {
	t.Helper()
	if got := keptAt(t, n); len(got) != want {
		t.Errorf("%d records are kept aside, want %d", len(got), want)
	}
}

// TestI5HoldKeepsWhatIsErased: whoever erases a record that is under a hold, a copy is kept aside and
// marked, and nothing else shows, serves or exports it; when the hold is released the copy is destroyed.
func TestI5HoldKeepsWhatIsErased(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, why string
		hold      func(author, reader *Node, id protocol.RecordID) HoldRequest
		erase     func(t *testing.T, author, reader *Node)
	}{
		{"by its originator, held by value", "erased by its originator Author", func(_, _ *Node, _ protocol.RecordID) HoldRequest {
			return HoldRequest{Value: "198[.]51[.]100[.]1"}
		}, func(t *testing.T, author, _ *Node) { eraseValue(t, author, "198.51.100.1") }},
		{"here, held by record", "erased here", func(_, _ *Node, id protocol.RecordID) HoldRequest { return HoldRequest{Record: id} },
			func(t *testing.T, _, reader *Node) { eraseValue(t, reader, "198.51.100.1") }},
		{"by its retention, held by origin", "its retention ended", func(author, _ *Node, _ protocol.RecordID) HoldRequest { return HoldRequest{From: author.Org()} },
			func(t *testing.T, _, reader *Node) {
				time.Sleep(4 * 24 * time.Hour)
				if err := reader.expire(); err != nil {
					t.Fatal(err)
				}
			}},
	} {
		t.Run(c.name, synctested(func(t *testing.T) {
			nodes := testNetwork(t, "Author", "Reader")
			author, reader := nodes[0], nodes[1]
			agree(t, author, reader, protocol.TLPGreen, "*")
			rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone, RetentionDays: 3})
			syncBoth(t, nodes...)
			h := holdOn(t, reader, c.hold(author, reader, recordOf(t, reader, "198.51.100.1")))
			c.erase(t, author, reader)
			syncBoth(t, nodes...)
			list := keptAt(t, reader)
			i := slices.IndexFunc(list, func(k KeptRecord) bool { return strings.Contains(string(k.Object), "198.51.100.1'") })
			if i < 0 {
				t.Fatalf("kept: %+v", list)
			}
			k := list[i]
			if !strings.HasPrefix(k.Why, c.why) || !strings.Contains(k.Hold, "would have been erased on "+k.Erased.Format(time.DateOnly)) || !slices.Equal(k.Held, []string{h.ID}) || k.Publisher.ID != author.Org() {
				t.Errorf("kept: %+v", k)
			}
			if reads(t, reader, "198.51.100.1") {
				t.Error("it is found")
			}
			if _, err := reader.Find(k.ID.String()); !errors.Is(err, ErrNotFound) {
				t.Errorf("it is shown: %v", err)
			}
			var out strings.Builder
			if _, err := reader.Export(context.Background(), &out, ExportLines, 0); err != nil || strings.Contains(out.String(), "198.51.100.1\n") {
				t.Errorf("exported: %q, %v", out.String(), err)
			}
			if bodyHeld(t, reader, protocol.EntryRef{Feed: rec.Feed, Seq: rec.To}) {
				t.Error("the sealed body is there")
			}
			if holds, err := reader.Holds(false); err != nil || len(holds) != 1 || holds[0].Kept != len(list) || holds[0].Person != "Officer" {
				t.Errorf("holds %+v, %v", holds, err)
			}
			if _, err := reader.ReleaseHold(WithCaller(context.Background(), Caller{Person: "Judge"}), h.ID, "case closed"); err != nil {
				t.Fatal(err)
			}
			wantKept(t, reader, 0)
			if reads(t, reader, "198.51.100.1") {
				t.Error("what was released is found")
			}
			if _, err := reader.ReleaseHold(context.Background(), h.ID, "again"); err == nil {
				t.Error("a hold is released twice")
			}
			var said []string
			for _, d := range acts(account(t, reader), audit.Erase) {
				said = append(said, d.Act+" "+d.Person)
			}
			for _, want := range []string{"hold Officer", "keep under a legal hold ", "release a hold Judge", "erase what was held "} {
				if !slices.Contains(said, want) {
					t.Errorf("the account has no %q: %q", want, said)
				}
			}
			verifies(t, reader)
		}))
	}
}

// TestHoldsJoin: what two holds keep is destroyed when neither does any more; what none is of is not kept,
// and what was erased before is not kept either.
func TestHoldsJoin(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
	syncBoth(t, nodes...)
	gone := recordOf(t, reader, "198.51.100.3")
	eraseValue(t, reader, "198.51.100.3")
	a := holdOn(t, reader, HoldRequest{Value: "198.51.100.1"})
	b := holdOn(t, reader, HoldRequest{Record: recordOf(t, reader, "198.51.100.1")})
	holdOn(t, reader, HoldRequest{Record: gone})
	rep, err := reader.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{recordOf(t, reader, "198.51.100.1"), recordOf(t, reader, "198.51.100.2")}, Reason: protocol.EraseLegal})
	if err != nil || rep.Held != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	for i, id := range []string{a.ID, b.ID} {
		wantKept(t, reader, 1)
		if _, err := reader.ReleaseHold(context.Background(), id, "over"); err != nil {
			t.Fatal(i, err)
		}
	}
	wantKept(t, reader, 0)
}

func TestHoldRefuses(t *testing.T) {
	n := testNetwork(t, "Author")[0]
	good := HoldRequest{Value: "198.51.100.1", Authority: "court", Reason: "evidence"}
	for name, change := range map[string]func(*HoldRequest){
		"nothing":      func(q *HoldRequest) { q.Value = " " },
		"two":          func(q *HoldRequest) { q.From = n.Org() },
		"no authority": func(q *HoldRequest) { q.Authority = "" },
		"no reason":    func(q *HoldRequest) { q.Reason = "" },
		"over already": func(q *HoldRequest) { q.Until = time.Now().Add(-time.Hour) },
		"too long":     func(q *HoldRequest) { q.Value = strings.Repeat("x", protocol.MaxTextSize+1) },
	} {
		q := good
		change(&q)
		if _, err := n.AddHold(context.Background(), q); protocol.Class(err) != "malformed" && protocol.Class(err) != "oversize" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := n.ReleaseHold(context.Background(), "hold:0000000000000000", "x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if list, err := n.Holds(true); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestHoldIsOver: when the time of a hold is over, what it kept is destroyed.
func TestHoldIsOver(t *testing.T) { synctest.Test(t, holdIsOver) }

func holdIsOver(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	syncBoth(t, nodes...)
	holdOn(t, reader, HoldRequest{From: author.Org(), Until: time.Now().Add(time.Hour)})
	eraseValue(t, reader, "198.51.100.1")
	wantKept(t, reader, 1)
	time.Sleep(2 * time.Hour)
	if err := reader.endHolds(); err != nil {
		t.Fatal(err)
	}
	wantKept(t, reader, 0)
	if list, err := reader.Holds(true); err != nil || list[0].State != "over" || list[0].Ended == nil {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestHoldsOutliveACrash cuts the power at every step of an erasure under a hold, and of its release:
// neither the hold nor the erasure is lost, and nothing comes back.
func TestHoldsOutliveACrash(t *testing.T) {
	t.Parallel()
	author := testNode(t, "Author")
	reader, disks, c := onDisk(t, "Reader")
	intoOneNetwork(t, []*Node{author, reader})
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	carryNew(t, author, reader)
	id := recordOf(t, reader, "198.51.100.1")
	h := holdOn(t, reader, HoldRequest{Value: "198.51.100.1"})
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	cutAtEveryStep(t, c, disks, func(n *Node) { eraseValue(t, n, "198.51.100.1") }, func(n *Node, cut int) {
		erased := false
		if err := n.st.View(func(tx *store.Tx) (err error) { erased, err = corpus.Erased(tx, id); return err }); err != nil {
			t.Fatal(err)
		}
		if shown := reads(t, n, "198.51.100.1"); shown == erased || erased && len(keptAt(t, n)) != 1 {
			t.Fatalf("cut at step %d: shown %v, erased %v, kept %d", cut, shown, erased, len(keptAt(t, n)))
		}
	})
	c.Disk = disks
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	eraseValue(t, n, "198.51.100.1")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	released := 0
	cutAtEveryStep(t, c, disks, func(n *Node) {
		if _, err := n.ReleaseHold(context.Background(), h.ID, "case closed"); err != nil {
			t.Fatal(err)
		}
	}, func(n *Node, cut int) {
		list, err := n.Holds(true)
		if err != nil || len(list) != 1 {
			t.Fatalf("cut at step %d: %+v, %v", cut, list, err)
		}
		kept := len(keptAt(t, n))
		if list[0].State == "released" {
			released++
		}
		if stands := list[0].State == "stands"; stands != (kept == 1) || reads(t, n, "198.51.100.1") {
			t.Fatalf("cut at step %d: the hold %s, %d are kept", cut, list[0].State, kept)
		}
	})
	if released < 2 {
		t.Errorf("the power was never cut between the release and its end")
	}
}

// TestHoldsInABackup: a backup holds holds and what they keep. What was released after it, as the journal
// beside the data directory knows, is not shown again by data that is put back.
func TestHoldsInABackup(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen, Personal: protocol.PersonalNone})
	syncBoth(t, nodes...)
	holdOn(t, reader, HoldRequest{Value: "198.51.100.1"})
	eraseValue(t, reader, "198.51.100.1")
	key := newOffline(t)
	data := backupOf(t, reader, key)
	back, _ := restoreInto(t, t.TempDir()+"/r", data, key)
	hear(t, back, author)
	back.restored.Store(nil)
	list := keptAt(t, back)
	if len(list) != 1 || !strings.Contains(string(list[0].Object), "198.51.100.1") || reads(t, back, "198.51.100.1") {
		t.Errorf("restored: %+v", list)
	}
}

// TestReleasedHoldsStayReleased: data that went back in time to when a hold stood shows nothing of what
// it kept, because the journal says that it ended.
func TestReleasedHoldsStayReleased(t *testing.T) {
	author := testNode(t, "Author")
	reader, disks, c := onDisk(t, "Reader")
	intoOneNetwork(t, []*Node{author, reader})
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	carryNew(t, author, reader)
	h := holdOn(t, reader, HoldRequest{Value: "198.51.100.1"})
	eraseValue(t, reader, "198.51.100.1")
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	before := copyOf(disks)
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.ReleaseHold(context.Background(), h.ID, "case closed"); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	disks.Restore(before, simData) // and not the anchor
	if n, err = Open(c); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.st.View(func(tx *store.Tx) error {
		return tx.Scan([]byte(kindKept), nil, false, func(k, _ []byte) (bool, error) { t.Errorf("%x is kept again", k); return true, nil })
	}); err != nil {
		t.Fatal(err)
	}
	if list, err := n.Holds(true); err != nil || len(list) != 1 || list[0].State != "released" {
		t.Errorf("%+v, %v", list, err)
	}
}
