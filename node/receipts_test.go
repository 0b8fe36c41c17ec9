package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// receiptsFrom gives a publisher the receipts of a peer, as a comparison does.
func receiptsFrom(t testing.TB, publisher, peer *Node) {
	t.Helper()
	feeds, err := publisher.ownFeeds()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range feeds {
		a, err := peer.serveReceipts(publisher.Org(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncReceipts, Pull: []protocol.PullRange{{Feed: f.ID, From: 1, Count: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Receipts {
			if err := publisher.takeReceipt(peer.ID(), &a.Receipts[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestReceiptsProveDelivery(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader, relay := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n", green)
	if n, err := author.onlyHere(); err != nil || n != rec.To {
		t.Errorf("%d entries are only here, want %d: %v", n, rec.To, err)
	}
	want := Await{Copies: 2, Received: []protocol.OrgID{reader.Org()}}
	if missing, err := author.awaited(rec, want); err != nil || missing == "" {
		t.Errorf("nothing is missing before anybody has it: %q, %v", missing, err)
	}
	carryNew(t, author, reader)
	receiptsFrom(t, author, reader)
	if missing, err := author.awaited(rec, want); err != nil || missing != "1 of 2 copies" {
		t.Errorf("missing is %q, %v", missing, err)
	}
	syncFrom(t, relay, author)
	receiptsFrom(t, author, relay)
	if missing, err := author.awaited(rec, want); err != nil || missing != "" {
		t.Errorf("missing is %q, %v", missing, err)
	}
	if n, err := author.onlyHere(); err != nil || n != 0 {
		t.Errorf("%d entries are only here: %v", n, err)
	}
	x, err := author.Explain(rec.Records[0], nil)
	if err != nil || len(x.Delivered) != 2 {
		t.Fatalf("delivered: %+v, %v", x, err)
	}
	for _, d := range x.Delivered {
		if !d.Held || d.Opened != (d.Org.ID == reader.Org()) {
			t.Errorf("%+v", d)
		}
	}
	// What a reader opened is nobody's business but the publisher's.
	a, err := reader.serveReceipts(relay.Org(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncReceipts, Pull: []protocol.PullRange{{Feed: rec.Feed, From: 1, Count: 1}}})
	if err != nil || len(a.Receipts) != 1 {
		t.Fatal(a, err)
	}
	if r, err := readReceipt(&a.Receipts[0]); err != nil || len(r.Opened) != 0 {
		t.Errorf("a relay is told %+v, %v", r, err)
	}
}

func TestReceiptsRefuse(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Mallory")
	author, reader, mallory := nodes[0], nodes[1], nodes[2]
	rec := publishList(t, author, "198.51.100.1\n", green)
	f := ownTopic(t, author)
	sign := func(by *Node, change func(*protocol.Receipt)) *protocol.Signed {
		r := &protocol.Receipt{Version: 1, Network: author.snap.Load().network, Origin: f.Origin, Holder: by.keys.Signing.Public(), Seq: rec.To, Hash: f.Hash, At: 1}
		change(r)
		s, err := crypto.SignReceipt(r, by.keys.Signing)
		if err != nil {
			t.Fatal(err)
		}
		return &s
	}
	for name, tc := range map[string]struct {
		signed *protocol.Signed
		want   error
	}{
		"signed by another node":  {sign(mallory, func(*protocol.Receipt) {}), protocol.ErrBadSignature},
		"in another node's name":  {sign(mallory, func(r *protocol.Receipt) { r.Holder = reader.keys.Signing.Public() }), protocol.ErrBadSignature},
		"of another network":      {sign(reader, func(r *protocol.Receipt) { r.Network = protocol.NetworkID{1} }), protocol.ErrWrongContext},
		"for another entry":       {sign(reader, func(r *protocol.Receipt) { r.Hash = protocol.Hash{1} }), protocol.ErrBrokenChain},
		"for an entry to come":    {sign(reader, func(r *protocol.Receipt) { r.Seq++ }), protocol.ErrBrokenChain},
		"for another node's feed": {sign(reader, func(r *protocol.Receipt) { r.Origin.Signing = mallory.keys.Signing.Public() }), protocol.ErrWrongContext},
	} {
		if err := author.takeReceipt(reader.ID(), tc.signed); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if list, err := author.Deliveries(rec.Feed, rec.To); err != nil || len(list) != 0 {
		t.Errorf("delivered to %+v, %v", list, err)
	}
	many := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncReceipts, Pull: slices.Repeat([]protocol.PullRange{{From: 1, Count: 1}}, receiptFeeds+1)}
	if _, err := author.serveReceipts(reader.Org(), many); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("a request for many receipts: %v", err)
	}
}

func TestI6QuotaCountsOverAllFeeds(t *testing.T) {
	nodes := testNetwork(t, "Author", "Relay", "Reader")
	author, relay, reader := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	relay.cfg.OrgQuota = 7 << 10
	network := author.snap.Load().network
	stored, refused := 0, 0
	for inc := range uint64(3) {
		o := protocol.Origin{Signing: author.keys.Signing.Public(), Incarnation: inc, Topic: protocol.NewTopicID(network, "c2")}
		prev := protocol.Hash{}
		for seq := uint64(1); seq <= 5; seq++ {
			e, err := crypto.SignEnvelope(network, o, protocol.EntryRecords, seq, prev, make([]byte, 1000), author.keys.Signing)
			if err != nil {
				t.Fatal(err)
			}
			prev = e.Hash
			a, err := relay.gate.admit([]*crypto.VerifiedEnvelope{e})
			if err != nil {
				t.Fatal(err)
			}
			stored += a.Stored
			if a.Refused != nil {
				if !errors.Is(a.Refused, errQuota) && !a.Gaps {
					t.Fatal(a.Refused)
				}
				refused++
				if err := judge(relay, e.Raw); !errors.Is(err, errQuota) {
					t.Errorf("the validator says %v", err)
				}
			}
			// A partner's share is another than a stranger's.
			if a, err := reader.gate.admit([]*crypto.VerifiedEnvelope{e}); err != nil || a.Refused != nil {
				t.Fatalf("%+v, %v", a, err)
			}
		}
	}
	if stored != 5 || refused != 10 {
		t.Errorf("stored %d, refused %d entries", stored, refused)
	}
	if st, err := relay.Status(); err != nil || st.Disk.OverQuota != 10 {
		t.Errorf("status is %+v, %v", st.Disk, err)
	}
	// It has one, too: a partner may be taken over. Nobody is told that it holds everything.
	reader.cfg.PartnerQuota = 20 << 10
	o := protocol.Origin{Signing: author.keys.Signing.Public(), Incarnation: 9, Topic: protocol.NewTopicID(network, "c2")}
	e, err := crypto.SignEnvelope(network, o, protocol.EntryRecords, 1, protocol.Hash{}, make([]byte, 9000), author.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := reader.gate.admit([]*crypto.VerifiedEnvelope{e}); err != nil || !errors.Is(a.Refused, errQuota) {
		t.Errorf("a partner beyond its share: %+v, %v", a, err)
	}
	st, err := reader.Status()
	if err != nil || !slices.ContainsFunc(st.Problems, func(p Problem) bool { return strings.Contains(p.Text, "Author has used") }) {
		t.Errorf("nobody is told of a partner's share: %+v, %v", st.Problems, err)
	}
}

func TestI6EvictionNeedsTwoWitnesses(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Relay", "One", "Two", "Reader")
	author, relay, one, two, reader := nodes[0], nodes[1], nodes[2], nodes[3], nodes[4]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n", green)
	for _, n := range []*Node{relay, one, two, reader} {
		syncFrom(t, n, author)
	}
	receipt := func(n *Node) *protocol.Receipt {
		s, err := n.receipt(rec.Feed, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		r, err := readReceipt(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var f *store.Feed
	if err := relay.st.View(func(tx *store.Tx) (err error) { f, err = tx.Feed(rec.Feed); return err }); err != nil {
		t.Fatal(err)
	}
	if freed, err := relay.evictFeed(f, []*protocol.Receipt{receipt(one)}, 1<<30); err != nil || freed != 0 {
		t.Errorf("with one witness %d bytes were evicted: %v", freed, err)
	}
	lied := receipt(two)
	lied.Hash = protocol.Hash{1}
	if freed, err := relay.evictFeed(f, []*protocol.Receipt{receipt(one), lied}, 1<<30); err != nil || freed != 0 {
		t.Errorf("with a witness of another history %d bytes were evicted: %v", freed, err)
	}
	if freed, err := relay.evictFeed(f, []*protocol.Receipt{receipt(one), receipt(two)}, 1<<30); err != nil || freed == 0 {
		t.Errorf("with two witnesses %d bytes were evicted: %v", freed, err)
	}
	st := feedAt(t, relay, rec.Feed)
	if st.Bodies != 0 || relay.diskStatus().Evicted == 0 {
		t.Errorf("what was evicted is shown as %+v", st)
	}
	// It does not claim to hold it any more, so not all evict what the last one holds.
	if r := receipt(relay); r.Holds(rec.To) {
		t.Errorf("the receipt says %+v", r)
	}
	syncFrom(t, relay, author)
	if relay.diskStatus().Evicted == 0 {
		t.Error("what was evicted is fetched again")
	}
	// What a reader may read is not evicted.
	if err := reader.st.View(func(tx *store.Tx) (err error) { f, err = tx.Feed(rec.Feed); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.evictFeed(f, []*protocol.Receipt{receipt(one), receipt(two)}, 1<<30); err != nil {
		t.Fatal(err)
	}
	if d := feedAt(t, reader, rec.Feed); !d.Complete && !d.Unknown || !reads(t, reader, "198.51.100.1") || reader.diskStatus().Evicted != 0 {
		t.Errorf("a reader's own record was evicted: %+v", d)
	}
	// An agreement that makes it readable here brings it back.
	agree(t, author, relay, protocol.TLPGreen, "*")
	syncFrom(t, relay, author)
	if relay.diskStatus().Evicted != 0 {
		t.Error("what may be readable now is not fetched")
	}
}

func TestI6FullDiskStopsVisibly(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	reader.room.full.Store(true)
	author.room.full.Store(true)
	if _, err := author.Publish(context.Background(), PublishRequest{Topic: "c2", Items: readList(t, "198.51.100.1\n"), Flags: green}); !errors.Is(err, ErrFull) {
		t.Errorf("publishing to a full disk: %v", err)
	}
	author.room.full.Store(false)
	publishList(t, author, "198.51.100.1\n", green)
	before := fingerprint(t, reader)
	if a, err := reader.gate.admit(entries(t, author)); !errors.Is(err, ErrFull) || fingerprint(t, reader) != before {
		t.Errorf("admitting to a full disk: %+v, %v", a, err)
	}
	if st, err := reader.Status(); err != nil || !st.Disk.Full {
		t.Errorf("status is %+v, %v", st.Disk, err)
	}
	reader.room.full.Store(false)
	carryNew(t, author, reader)
	if !reads(t, reader, "198.51.100.1") {
		t.Error("it does not go on when there is room")
	}
}
