package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

func pack(t testing.TB, from *Node, q PackRequest) []byte {
	t.Helper()
	var buf bytes.Buffer
	if _, err := from.Pack(context.Background(), &buf, q); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func requestPack(t testing.TB, from, to *Node) []byte {
	t.Helper()
	var buf bytes.Buffer
	if _, err := from.RequestPack(context.Background(), &buf, to.Org()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func apply(t testing.TB, to *Node, file []byte) *CarryApplied {
	t.Helper()
	got, err := to.Apply(context.Background(), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// applyWhole wants a file to be taken without any remark.
func applyWhole(t testing.TB, to *Node, file []byte) *CarryApplied {
	t.Helper()
	got := apply(t, to, file)
	if got.Partial() {
		t.Fatalf("applied in part: %+v", got)
	}
	return got
}

// forge makes a file with whatever is to be in it, signed by one node and sealed to another.
func forge(t testing.TB, from, to *Node, change func(*protocol.CarryHeader), messages ...*protocol.SyncMessage) []byte {
	t.Helper()
	h := &protocol.CarryHeader{Version: 1, Kind: protocol.CarryPack, Network: to.snap.Load().network, From: from.Org(), To: to.Org(), Made: uint64(nowMillis())}
	if change != nil {
		change(h)
	}
	signed, err := crypto.SignCarry(h, from.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	var e protocol.CarryEncoder
	plain := e.Header(&signed)
	for _, m := range messages {
		m.Version = 1
		plain = append(plain, e.Message(m)...)
	}
	return sealTo(t, to, append(plain, e.Trailer()...))
}

func sealTo(t testing.TB, to *Node, plain []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := crypto.SealFile(&buf, []string{to.keys.Identities[0].Recipient()})
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// unsealed returns the plaintext of a file.
func unsealed(t testing.TB, n *Node, file []byte) []byte {
	t.Helper()
	r, err := crypto.OpenFile(bytes.NewReader(file), n.keys.Identities)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// contents is what a node holds and can read, without what depends on when and in which
// order things came.
func contents(t testing.TB, n *Node) string {
	t.Helper()
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	hashes, err := (&view{n: n}).SetHashes()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hashes {
		add("set %x", h)
	}
	for _, a := range n.Agreements() {
		add("agreement %s %s %v", a.ID, a.State, a.Signed)
	}
	err = n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			for seq := uint64(1); seq <= f.Seq; seq++ {
				state, reason, err := tx.EntryState(f.ID, seq)
				if err != nil {
					return err
				}
				add("entry %x %d %s %s", f.ID, seq, state, reason)
			}
			add("feed %x %d %x %d", f.ID, f.Seq, f.Hash, f.Opened)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	records, _, err := n.Search(Query{Limit: MaxLimit, Withdrawn: true, Versions: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		r.Cursor, r.Received, r.Added = 0, time.Time{}, time.Time{}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		add("record %s", b)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// syncFrom is a comparison of one node with another, without a network.
func syncFrom(t testing.TB, n, peer *Node) {
	t.Helper()
	_, err := reconcile.Run(context.Background(), &view{n: n, org: peer.Org()}, true, func(_ context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		return reconcile.Answer(&view{n: peer, org: n.Org()}, m)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestI1CarriedEqualsSynced: packs of a random history, whole ones, parts, answers to
// requests and truncated ones, applied in random order and more than once, end where a sync
// would.
func TestI1CarriedEqualsSynced(t *testing.T) {
	t.Parallel()
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { carriedEqualsSynced(t, rand.New(rand.NewPCG(uint64(seed), 10))) })
	}
}

func carriedEqualsSynced(t *testing.T, rng *rand.Rand) {
	// The reader's node is on disk, so that it can be copied to the three nodes that compare.
	dir := t.TempDir()
	ident, err := NewIdentity(InitRequest{Name: "Reader", Kind: "police"})
	if err != nil {
		t.Fatal(err)
	}
	openReader := func(name string) *Node {
		// Copies of a data directory are noticed; these are meant.
		n, err := Open(Config{Dir: filepath.Join(dir, name), Keys: ident.Keys, Card: &ident.Card, AcceptRestored: true})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	reader := openReader("reader")
	authors := testNetwork(t, "Founder", "Author")
	inv, err := authors[0].Invite(&reader.OwnCard().Signed, time.Hour)
	if err == nil {
		_, err = reader.Join(inv)
	}
	if err == nil {
		err = reader.JoinTopic("c2")
	}
	if err != nil {
		t.Fatal(err)
	}
	shareSets(t, reader, authors...)
	for _, a := range authors {
		shareSets(t, a, reader)
		agree(t, a, reader, protocol.TLPAmber, "*")
		if err := a.JoinTopic("phishing"); err != nil {
			t.Fatal(err)
		}
	}
	if err := reader.JoinTopic("phishing"); err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	clone := func(name string) *Node {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(dir, "reader"))); err != nil {
			t.Fatal(err)
		}
		n := openReader(name)
		t.Cleanup(func() { n.Close() })
		return n
	}
	carried, synced, asking := clone("carried"), clone("synced"), clone("asking")

	// The history. The asking node keeps up, so that its requests are of different times, and
	// their answers depend on one another.
	var files [][]byte
	var published []protocol.RecordID
	ask := func(a *Node) {
		file := pack(t, a, PackRequest{Request: bytes.NewReader(requestPack(t, asking, a))})
		apply(t, asking, file)
		files = append(files, file)
	}
	value := 0
	for range 30 {
		a := authors[rng.IntN(len(authors))]
		switch rng.IntN(8) {
		case 0, 1, 2:
			list := ""
			for range 1 + rng.IntN(3) {
				value++
				list += fmt.Sprintf("198.51.%d.%d\n", value/256, value%256)
			}
			topic := []string{"c2", "phishing"}[rng.IntN(2)]
			rec, err := a.Publish(context.Background(), PublishRequest{Topic: topic, Items: readList(t, list), Flags: policy.Flags{TLP: protocol.TLPGreen}})
			if err != nil {
				t.Fatal(err)
			}
			if a == authors[0] {
				published = append(published, rec.Records...)
			}
		case 3:
			if len(published) > 0 {
				i := rng.IntN(len(published))
				if err := authors[0].Withdraw(context.Background(), published[i:i+1], "test"); err != nil {
					t.Fatal(err)
				}
				published = slices.Delete(published, i, i+1)
			}
		case 4: // a newcomer that only the packs tell of
			if len(authors) < 4 {
				n := testNode(t, fmt.Sprintf("Newcomer %d", len(authors)))
				inv, err := a.Invite(&n.OwnCard().Signed, time.Hour)
				if err == nil {
					_, err = n.Join(inv)
				}
				if err == nil {
					err = errors.Join(n.JoinTopic("c2"), n.JoinTopic("phishing"))
				}
				if err != nil {
					t.Fatal(err)
				}
				applyWhole(t, a, pack(t, n, PackRequest{To: a.Org()}))
				authors = append(authors, n)
			}
		case 5: // authors know of one another now and then
			b := authors[rng.IntN(len(authors))]
			if a != b && a.snap.Load().members[b.Org()] && b.snap.Load().members[a.Org()] {
				applyWhole(t, b, pack(t, a, PackRequest{To: b.Org()}))
			}
		case 6:
			if asking.snap.Load().members[a.Org()] {
				ask(a)
			}
		case 7:
			q := PackRequest{To: carried.Org()}
			if rng.IntN(2) == 0 {
				q.Topics = []string{"c2"}
			}
			file := pack(t, a, q)
			if rng.IntN(2) == 0 {
				file = file[:rng.IntN(len(file))]
			}
			files = append(files, file)
		}
	}
	for _, a := range authors {
		applyWhole(t, authors[0], pack(t, a, PackRequest{To: authors[0].Org()}))
	}
	for range 2 { // the second finds nothing left out by the first
		ask(authors[0])
	}

	want := settle(t, synced, func() {
		for _, a := range authors {
			syncFrom(t, synced, a)
		}
	})
	got := settle(t, carried, func() {
		order := rng.Perm(len(files))
		for range len(files) / 2 {
			order = slices.Insert(order, rng.IntN(len(order)), rng.IntN(len(files)))
		}
		for _, i := range order {
			if _, err := carried.Apply(context.Background(), bytes.NewReader(files[i])); err != nil && !errors.Is(err, protocol.ErrMalformed) {
				t.Fatal(err)
			}
		}
	})
	if got != want {
		t.Errorf("carried:\n%s\nsynced:\n%s", got, want)
	}
	if got := contents(t, asking); got != want {
		t.Errorf("carried in order:\n%s\nsynced:\n%s", got, want)
	}
	if !strings.Contains(want, "record ") || len(files) < 3 {
		t.Errorf("a history without records, or %d files, shows nothing", len(files))
	}
	// Once more changes nothing, down to the last byte of the store.
	before := fingerprint(t, carried)
	for _, file := range files {
		if got, err := carried.Apply(context.Background(), bytes.NewReader(file)); err == nil && (got.New != CarryCounts{} || len(got.Missing) > 0 || len(got.Refused) > 0) {
			t.Errorf("applied again: %+v", got)
		}
	}
	if fingerprint(t, carried) != before {
		t.Error("the store changed when everything was applied again")
	}
}

// settle repeats something until it changes nothing any more.
func settle(t *testing.T, n *Node, do func()) string {
	t.Helper()
	for before := contents(t, n); ; {
		do()
		after := contents(t, n)
		if after == before {
			return after
		}
		before = after
	}
}
