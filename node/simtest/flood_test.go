package simtest

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"google.golang.org/protobuf/proto"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// subscriptions is an RPC that subscribes to topics which do not exist.
func subscriptions(count int) *pb.RPC {
	var rpc pb.RPC
	for range count {
		var b [24]byte
		rand.Read(b[:])
		rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{Subscribe: proto.Bool(true), Topicid: proto.String("/entente/t/" + hex.EncodeToString(b[:]))})
	}
	return &rpc
}

// TestI6FloodsStayWithinBounds: a member without any agreement floods twenty nodes with
// entries, feeds, far entries, heads, subscriptions and requests, while others publish. What
// is kept of it stays within its share and the bounds; honest records come through, nothing of
// honest members is lacking, and no honest node is refused or cut off by another.
func TestI6FloodsStayWithinBounds(t *testing.T) {
	j := long(t, 21)
	const quota = 128 << 10
	synctest.Test(t, func(t *testing.T) {
		w := meshOf(t, 21, func(w *World) { w.Config = func(c *node.Config) { c.OrgQuota = quota } })
		defer w.Close()
		honest := w.Nodes[:20]
		tr := newTraffic(w, honest[1:4], honest[4:7])
		tr.publish(1)
		w.Until("all is well before the flood", func() bool { return tr.read() && same(t, honest) })
		p := w.Puppet(w.Nodes[20])
		p.DialAll(honest)
		w.Ended(honest)

		main := p.Log("c2", 1)
		records := main.Fill(200, 2000)
		sizes := map[protocol.FeedID]int{main.Feed(): len(records[0])}
		var feeds, heads, far [][]byte
		for i := range uint64(20) {
			l := p.Log("c2", 1000+i)
			feeds = append(feeds, l.Fill(1, 2000)...)
			sizes[l.Feed()] = len(feeds[i])
		}
		for i := range uint64(270) {
			heads = append(heads, notice(p.Log("c2", 10_000+i).Head(func(h *protocol.Head) { h.Seq, h.Hash = 1000, protocol.Hash{1} })))
		}
		for i := range uint64(300) {
			far = append(far, main.Sign(protocol.EntryRecords, 1_000_000+i, protocol.Hash{2}, []byte("far away")).Raw)
		}
		p.logs = p.logs[:21] // the others have heads and nothing else
		// Over several seconds, from several sides, while others publish.
		for _, n := range []*Node{honest[0], honest[5], honest[11]} {
			for range 5 {
				p.say(n, subscriptions(500))
			}
			p.say(n, subscriptions(700))
			p.Gossip(n, "c2", records...)
			p.Gossip(n, "c2", feeds...)
			p.Gossip(n, "c2", far...)
			p.Gossip(n, protocol.NoticeTopic, heads...)
			tr.publish(1)
			time.Sleep(time.Second)
		}
		var requests sync.WaitGroup
		var mu sync.Mutex
		answered := 0
		for range 100 {
			requests.Go(func() {
				if _, err := p.Ask(honest[0], &protocol.SyncMessage{Kind: protocol.SyncList}); err == nil {
					mu.Lock()
					answered++
					mu.Unlock()
				}
			})
		}
		tr.publish(1)
		w.soon(time.Minute, "honest records are read, and all that honest members wrote is everywhere", func() bool { return tr.read() && same(t, honest) })
		requests.Wait()
		if answered == 100 {
			t.Error("a hundred requests of one peer at the same time were all answered")
		}
		time.Sleep(90 * time.Second) // what is due of the flood by comparing
		refused := uint64(0)
		for _, n := range honest {
			list, err := n.Feeds()
			if err != nil {
				t.Fatal(err)
			}
			bytes, open, stated := 0, 0, 0
			for _, f := range list {
				if f.Org.ID != p.Org() || f.Topic != "c2" {
					continue
				}
				if f.Held > 0 {
					open++
					bytes += int(f.Held) * sizes[f.Feed]
				}
				if f.Stated != nil {
					stated++
				}
			}
			st, err := n.Status()
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case bytes > quota:
				t.Errorf("%s holds %d bytes of the flood, the share is %d", n.Name, bytes, quota)
			case open > protocol.MaxOpenIncarnations:
				t.Errorf("%s holds %d feeds of the flood", n.Name, open)
			case stated > protocol.MaxFeedsPerNode:
				t.Errorf("%s holds %d heads of the flood", n.Name, stated)
			}
			refused += st.Disk.OverQuota
		}
		if refused == 0 {
			t.Error("nobody ever had to refuse anything: this was no flood")
		}
		if got := slices.MaxFunc(honest, func(a, b *Node) int { return int(gossipCounts(t, a).Rejected) - int(gossipCounts(t, b).Rejected) }); gossipCounts(t, got).Rejected > 0 {
			t.Errorf("%s refused %d messages as bad, and every one was well made", got.Name, gossipCounts(t, got).Rejected)
		}
		if n := w.Ended(honest); n > 0 {
			t.Errorf("%d connections among honest nodes ended", n)
		}
		j.note("%d entries over the share were refused", refused)
		// The flood goes on, and is no longer anybody's trouble: a record still arrives at once.
		p.Gossip(honest[3], "c2", main.Fill(50, 2000)...)
		tr.publish(1)
		w.soon(10*time.Second, "a record comes through", tr.read)
	})
}
