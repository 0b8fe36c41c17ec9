package simtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

var green = policy.Flags{TLP: protocol.TLPGreen}

// feeds returns what a node says of the feeds of a topic.
func feeds(t *testing.T, n *Node, topic string) map[protocol.FeedID]node.FeedStatus {
	t.Helper()
	list, err := n.Feeds()
	if err != nil {
		t.Fatal(err)
	}
	out := map[protocol.FeedID]node.FeedStatus{}
	for _, f := range list {
		if f.Topic == topic {
			out[f.Feed] = f
		}
	}
	return out
}

// TestI3HeadsTellWhatThereIs: nodes that hold the same show the same digests, and say that
// they are complete because the authors said so; an author that falls silent is seen to be,
// and a node that lacks something says what, of whom and since when.
func TestI3HeadsTellWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 5 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		a, b, away := w.Nodes[1], w.Nodes[2], w.Nodes[4]
		w.Agree(a, b, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		away.Down()
		rec := publish(t, a, "c2", "198.51.100.1\n", green)
		w.Until("everybody who is up shows the feed as complete", func() bool {
			for _, n := range w.Nodes[:4] {
				f := feeds(t, n, "c2")[rec.Feed]
				if !f.Complete && !f.Own || f.Digest != feeds(t, a, "c2")[rec.Feed].Digest {
					return false
				}
			}
			return true
		})
		// The author goes; whoever was away meanwhile learns of its head from others, and
		// while it cannot reach those who have the entries, it says so.
		a.Down()
		time.Sleep(5 * time.Minute)
		if f := feeds(t, b, "c2")[rec.Feed]; !f.Silent || !f.Complete {
			t.Errorf("after five minutes without its author the feed is %+v", f)
		}
		st, err := b.Status()
		if err != nil || st.Silent == 0 {
			t.Errorf("status does not tell: %+v, %v", st, err)
		}
		away.Up()
		w.Until("the one who was away has it, from others", func() bool { return feeds(t, away, "c2")[rec.Feed].Complete })
		a.Up()
		w.Until("the author is heard again", func() bool { return !feeds(t, b, "c2")[rec.Feed].Silent })
	})
}

// TestI3HeadsForWhoComes: who comes while an author is up hears where its feeds stand, and
// does not wait for the author's next statement. What was gossiped before the newcomer's
// subscription was known would otherwise be missed for as long, and an erase that left nothing to
// be sealed anew shows in no head: so it compares once more when it first hears the author.
func TestI3HeadsForWhoComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		w.Config = func(c *node.Config) { c.HeadEvery, c.SyncEvery = 10*time.Hour, 10*time.Hour }
		a, b := w.Add("Author", "vendor", ""), w.Add("Reader", "cert", "")
		w.Network()
		joinAll(t, w, "c2")
		rec := publish(t, a, "c2", "198.51.100.1\n", green)
		w.Until("the reader holds the entry", func() bool { return feeds(t, b, "c2")[rec.Feed].Held == 1 })
		for range 3 {
			time.Sleep(2 * time.Hour)
			b.Down()
			came := time.Now()
			b.Up()
			time.Sleep(time.Minute)
			before := syncs(t, b)
			time.Sleep(10 * time.Hour / headSoon)
			if f := feeds(t, b, "c2")[rec.Feed]; f.Stated == nil || f.Stated.Before(came) || !f.Complete {
				t.Errorf("after %v the reader knows of the feed: %+v", time.Since(came), f)
			}
			if n := syncs(t, b) - before; n != 1 {
				t.Errorf("it compared %d times when it first heard the author, want once", n)
			}
		}
	})
}

// headSoon is how small a part of the interval between two statements it takes until a
// newcomer hears one.
const headSoon = 60

// TestI5EraseReachesEverybody: by gossip whoever is up, by comparing whoever was away.
func TestI5EraseReachesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 6 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		a := w.Nodes[0]
		for _, n := range w.Nodes[1:4] {
			w.Agree(a, n, protocol.TLPAmber, "*")
		}
		joinAll(t, w, "c2")
		rec := publish(t, a, "c2", "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
		all := func(value string, want bool) func() bool {
			return func() bool {
				for _, n := range w.Nodes[:4] {
					if n.Online() && finds(t, n, value) != want {
						return false
					}
				}
				return true
			}
		}
		w.Until("readers have it", all("198.51.100.2", true))
		away := w.Nodes[3]
		away.Down()
		rep, err := a.Erase(context.Background(), node.EraseRequest{Records: rec.Records[1:2], Reason: protocol.EraseRequest})
		if err != nil || rep.Resealed != 2 || len(rep.Told) != 3 {
			t.Fatalf("%+v, %v", rep, err)
		}
		w.Until("readers have lost it", all("198.51.100.2", false))
		away.Up()
		w.Until("the one who was away has lost it", all("198.51.100.2", false))
		for _, value := range []string{"198.51.100.1", "198.51.100.3"} {
			w.Until("what was not erased stays", all(value, true))
		}
		w.Until("nobody lacks anything", func() bool {
			for _, n := range w.Nodes {
				for _, f := range feeds(t, n, "c2") {
					if f.Missing > 0 {
						return false
					}
				}
			}
			return true
		})
	})
}

// TestPublishWaitsForCopies: acknowledged means durable here; more is waited for on demand,
// and is proven by what others sign.
func TestPublishWaitsForCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 4 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		a, reader := w.Nodes[0], w.Nodes[1]
		w.Agree(a, reader, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		rec := publish(t, a, "c2", "198.51.100.1\n", green)
		wait := func(want node.Await) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return a.WaitCopies(ctx, rec, want)
		}
		if err := wait(node.Await{Copies: 3, Received: []protocol.OrgID{reader.Org()}}); err != nil {
			t.Error(err)
		}
		if err := wait(node.Await{Copies: 4}); !errors.Is(err, node.ErrNotYet) {
			t.Errorf("four copies on three other nodes: %v", err)
		}
		if list, err := a.Deliveries(rec.Feed, rec.To); err != nil || len(list) != 3 {
			t.Errorf("delivered to %+v, %v", list, err)
		}
	})
}

// TestI1OneWayFault: a node that can send and hears nothing, and one that hears and cannot
// send, do not keep anybody else from getting everything; once it heals they have it too.
func TestI1OneWayFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 6 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		a := w.Nodes[0]
		for _, n := range w.Nodes[1:] {
			w.Agree(a, n, protocol.TLPAmber, "*")
		}
		joinAll(t, w, "c2")
		w.Cut(func(from, to int) bool { return to == 4 || from == 5 })
		for k := range 10 {
			publish(t, a, "c2", fmt.Sprintf("198.51.100.%d\n", k), green)
			time.Sleep(5 * time.Second)
		}
		have := func(nodes []*Node) func() bool {
			return func() bool {
				for _, n := range nodes {
					for k := range 10 {
						if !finds(t, n, fmt.Sprintf("198.51.100.%d", k)) {
							return false
						}
					}
				}
				return true
			}
		}
		w.Until("those without a fault have everything", have(w.Nodes[1:4]))
		w.Cut(nil)
		w.Until("everybody has everything", have(w.Nodes[1:]))
	})
}

// TestI1BulkIsFetched: of a large publication only the head is gossiped. Everybody fetches it, also
// who is not connected with its author, in seconds, and nothing of it comes twice.
func TestI1BulkIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		w.Config = func(c *node.Config) { c.SyncEvery = 10 * time.Hour }
		for i := range 6 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		a, b := w.Nodes[0], w.Nodes[5]
		w.Agree(a, b, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		rec := publish(t, a, "c2", "198.51.100.1\n", green)
		w.Until("the first record is everywhere", func() bool { return same(t, w.Nodes) })
		// A line: each is connected with the next alone.
		w.Cut(func(from, to int) bool { return from-to > 1 || to-from > 1 })
		time.Sleep(5 * time.Minute)
		duplicates := func() (count uint64) {
			for _, n := range w.Nodes {
				met, err := n.Metrics()
				if err != nil {
					t.Fatal(err)
				}
				count += met.Duplicates
			}
			return count
		}
		before := duplicates()
		var list strings.Builder
		r := rand.New(rand.NewPCG(1, 2))
		for range 4000 {
			fmt.Fprintf(&list, "%016x.example.net\n", r.Uint64())
		}
		begun := time.Now()
		if bulk := publish(t, a, "c2", list.String(), green); bulk.Bytes < 140_000 || bulk.Feed != rec.Feed {
			t.Fatalf("the publication has %d bytes: this tests nothing", bulk.Bytes)
		}
		for !held(t, w.Nodes, w.Nodes[:1]) {
			if time.Since(begun) > 30*time.Second {
				t.Fatal("after half a minute not everybody holds what was published")
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.Until("its reader reads it", func() bool {
			met, err := b.Metrics()
			return err == nil && met.Records == 4001
		})
		if more := duplicates() - before; more != 0 {
			t.Errorf("%d entries came twice", more)
		}
	})
}
