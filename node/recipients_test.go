package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

const day = 24 * time.Hour

// keepKeys does what a node that is up does about its keys: it turns its identity over where that is
// due, and signs a card where it can and one is due.
func keepKeys(t testing.TB, n *Node) {
	t.Helper()
	for range 2 { // what follows from the card is done at the next look
		if err := n.keepRecipient(); err != nil {
			t.Fatal(err)
		}
		wanted, err := n.wantedRecipients()
		if err != nil {
			t.Fatal(err)
		}
		now := uint64(nowMillis())
		if err := n.renewCard(func(c *protocol.Card) (changed bool) {
			c.Nodes = slices.Clone(c.Nodes)
			for i := range c.Nodes {
				changed = prolong(&c.Nodes[i], n.ID(), now) || changed
			}
			return wanted.put(c, now) || changed
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// later lets time pass on nodes that keep their keys and know each other's cards.
func later(t testing.TB, d time.Duration, nodes ...*Node) {
	t.Helper()
	step := day
	if d > 30*day {
		step = 5 * day
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(step, time.Until(end)))
		for _, n := range nodes {
			if err := n.change(func(*store.Tx) error { return nil }); err != nil { // as it does every hour
				t.Fatal(err)
			}
			keepKeys(t, n)
		}
		for _, n := range nodes {
			shareSets(t, n, nodes...)
		}
	}
}

// agreeLong signs an agreement of ten years.
func agreeLong(t testing.TB, from, to *Node) {
	t.Helper()
	trustEachOther(t, from, to)
	doc := testAgreement(from, to, protocol.TLPAmber, "*")
	doc.NotAfter += 10 * nodeLife
	agreeOn(t, from, to, doc)
}

func recipientOf(n *Node) string { return n.OwnCard().Node(n.ID()).Recipient }

// askAgain asks an author for what a reader lacks of a feed, and gives it the answer.
func askAgain(t testing.TB, author, reader *Node, feed protocol.FeedID) (*protocol.SyncMessage, []protocol.Withheld) {
	t.Helper()
	m, lost, err := reader.askFor(feed)
	if err == nil {
		err = m.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := author.serveKeys(reader.ID(), reader.Org(), m)
	if err == nil {
		err = a.Validate()
	}
	if err == nil {
		err = reader.settleLost(feed, lost, a.Withheld)
	}
	if err == nil {
		err = reader.gate.drain()
	}
	if err != nil {
		t.Fatal(err)
	}
	return m, a.Withheld
}

func countGranted(t testing.TB, n *Node) (count, epochs int) {
	t.Helper()
	if err := n.st.View(func(tx *store.Tx) error {
		return tx.EachEpoch(func(_ protocol.FeedID, e *store.Epoch) error {
			count, epochs = count+len(e.Granted), epochs+1
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return count, epochs
}

// TestIdentityTurnsOver: within 30 days a node has another age identity, its partner grants to that, and
// the one before is destroyed when no card that named it is fresh, a month has passed after that, and the
// partner said since how many letters there are; where it does not say so, five months later.
func TestIdentityTurnsOver(t *testing.T) {
	t.Parallel()
	for _, heard := range []bool{true, false} {
		t.Run(fmt.Sprint("heard=", heard), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := testNetwork(t, "Author", "Reader")
				author, reader := nodes[0], nodes[1]
				agreeLong(t, author, reader)
				publishList(t, author, "198.51.100.1\n", green)
				carryNew(t, author, reader)
				first := recipientOf(reader)
				later(t, 26*day, author, reader)
				if recipientOf(reader) != first {
					t.Fatal("turned over after less than 27 days")
				}
				later(t, 5*day, author, reader)
				if recipientOf(reader) == first {
					t.Fatal("did not turn over within 30 days")
				}
				publishList(t, author, "198.51.100.2\n", green)
				carryNew(t, author, reader)
				if !reads(t, reader, "198.51.100.2") {
					t.Fatal("the reader does not read what was granted to its new recipient")
				}
				holds := func() bool {
					return slices.ContainsFunc(reader.identities(), func(id *crypto.Identity) bool { return id.Recipient() == first })
				}
				hear := func() {
					if heard {
						if _, _, err := reader.takeHeads(lastHeads(t, author)); err != nil {
							t.Fatal(err)
						}
					}
				}
				for range 56 {
					later(t, day, author, reader)
					hear()
				}
				if !holds() {
					t.Fatal("the identity was destroyed while grants to it may be on their way")
				}
				for range 8 {
					later(t, day, author, reader)
					hear()
				}
				if holds() == heard {
					t.Fatalf("two months after it was replaced the identity is held: %v; letters heard of: %v", holds(), heard)
				}
				later(t, 152*day, author, reader)
				if holds() {
					t.Error("the identity was never destroyed")
				}
				if held := len(reader.identities()); held > 9 {
					t.Errorf("%d identities are held", held)
				}
			})
		})
	}
}

// TestI1LostGrantsComeAgain: a grant that comes after the identity was destroyed that it is sealed to
// loses nothing: the reader says which keys it has, and is granted the others, and nothing that it has,
// to the recipient that its card names now.
func TestI1LostGrantsComeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "Reader", "Third")
		author, reader, third := nodes[0], nodes[1], nodes[2]
		agreeLong(t, author, reader)
		carryNew(t, author, third)
		publishList(t, author, "198.51.100.1\n", green)
		carryNew(t, author, reader)
		later(t, 8*day, author, reader) // beyond MaxEpochAge
		publishList(t, author, "198.51.100.2\n", green)
		feed := ownTopic(t, author).ID
		later(t, 8*day, author, reader)
		publishList(t, author, "198.51.100.3\n", green)
		later(t, 250*day, author, reader) // neither of the two came to the reader
		if reads(t, reader, "198.51.100.2") {
			t.Fatal("nothing was to be lost")
		}
		carryNew(t, author, reader)
		if reads(t, reader, "198.51.100.2") || reads(t, reader, "198.51.100.3") {
			t.Fatal("the identity was to be destroyed by now")
		}
		st, err := reader.Status()
		if err != nil || st.Awaiting == 0 {
			t.Fatalf("%+v, %v: what waits for a key is not shown", st, err)
		}
		before, _ := countGranted(t, author)
		m, withheld := askAgain(t, author, reader, feed)
		if m.Kind != protocol.SyncKeysAgain || len(m.Pull) != 1 || m.Pull[0].From != 1 || m.Pull[0].Count != 1 {
			t.Fatalf("asked %+v", m)
		}
		if len(withheld) != 1 || withheld[0].Reason != protocol.WithheldSoon || withheld[0].Envelopes != 2 {
			t.Fatalf("answered %+v", withheld)
		}
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
		carryNew(t, author, reader)
		for _, value := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
			if !reads(t, reader, value) {
				t.Errorf("%s is lost", value)
			}
		}
		if after, _ := countGranted(t, author); after != before+2 {
			t.Errorf("%d grants were made for the two keys that were lost", after-before)
		}
		if _, withheld := askAgain(t, author, reader, feed); len(withheld) != 0 {
			t.Errorf("after all keys came, %+v is withheld", withheld)
		}
		if m, _ := askAgain(t, author, reader, feed); m.Kind != protocol.SyncKeys {
			t.Error("what was settled is asked again")
		}
		if st, err := reader.Status(); err != nil || st.Awaiting != 0 {
			t.Errorf("%d entries wait for a key, %v", st.Awaiting, err)
		}
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
		if after, _ := countGranted(t, author); after != before+2 {
			t.Error("an answered request is answered again")
		}
		// Somebody who is in no audience gets nothing by that question.
		m.Pull = nil
		if a, err := author.serveKeys(third.ID(), third.Org(), m); err != nil || len(a.Withheld) != 0 {
			t.Errorf("%+v, %v: another organisation is told of keys", a, err)
		}
	})
}

// TestKeysAgainRefuses: requests that are not well formed are refused.
func TestKeysAgainRefuses(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	feed := ownTopic(t, author).ID
	ask := func(pull []protocol.PullRange) error {
		_, err := author.serveKeys(reader.ID(), reader.Org(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncKeysAgain, Hashes: []protocol.Hash{protocol.Hash(feed)}, Pull: pull})
		return err
	}
	if err := ask([]protocol.PullRange{{Feed: feed, From: 1, Count: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := ask([]protocol.PullRange{{From: 1, Count: 1}}); protocol.Class(err) != "malformed" {
		t.Errorf("epochs of another feed: %v", err)
	}
	if err := ask(make([]protocol.PullRange, maxHeldRanges+1)); protocol.Class(err) != "oversize" {
		t.Errorf("too many ranges: %v", err)
	}
	var numbers []uint64
	for i := range uint64(3 * maxHeldRanges) {
		numbers = append(numbers, 2*i+1)
	}
	if got := epochRanges(feed, numbers); len(got) != maxHeldRanges || got[len(got)-1].From != numbers[len(numbers)-1] {
		t.Errorf("%d ranges are said, ending with %+v", len(got), got[len(got)-1])
	}
}

// TestTurnoverCostsAnEpochADay: eight readers that turn over once each within a month, under an author
// that publishes every six hours, cost at most one epoch a day, and not one grant for every reader at
// every turnover on top.
func TestTurnoverCostsAnEpochADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8")
		author, readers := nodes[0], nodes[1:]
		for _, r := range readers {
			agreeLong(t, author, r)
		}
		turned := 0
		for d := range 30 {
			for i, r := range readers {
				if d == 3*i+1 {
					if _, err := r.RotateRecipient(context.Background(), false); err != nil {
						t.Fatal(err)
					}
					shareSets(t, r, author)
					turned++
				}
			}
			for range 4 {
				publishList(t, author, fmt.Sprintf("198.51.100.%d\n", d), green)
				time.Sleep(6 * time.Hour)
			}
			for _, n := range nodes {
				if err := n.renewCard(func(*protocol.Card) bool { return false }); err != nil {
					t.Fatal(err)
				}
				shareSets(t, n, author)
			}
		}
		grants, epochs := countGranted(t, author)
		t.Logf("%d turnovers of %d readers in 30 days: %d epochs, %d grants; without turnover %d epochs", turned, len(readers), epochs, grants, 30/7+1)
		if turned != 8 || epochs > 8+30/7+1 || grants != epochs*len(readers) {
			t.Errorf("%d turnovers made %d epochs and %d grants", turned, epochs, grants)
		}
		carryNew(t, author, readers[7])
		if !reads(t, readers[7], "198.51.100.29") {
			t.Error("a reader that turned over does not read on")
		}
	})
}

// TestI2SuspectedIdentityEndsEpochs: an identity that somebody else may have ends the epochs that were
// given to it before the next record; one that turned over as it does ends none that is not a day old.
func TestI2SuspectedIdentityEndsEpochs(t *testing.T) {
	t.Parallel()
	for _, suspected := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			nodes := testNetwork(t, "Author", "Reader")
			author, reader := nodes[0], nodes[1]
			agreeLong(t, author, reader)
			time.Sleep(time.Hour)
			publishList(t, author, "198.51.100.1\n", green)
			if _, err := reader.RotateRecipient(context.Background(), suspected); err != nil {
				t.Fatal(err)
			}
			shareSets(t, reader, author)
			time.Sleep(time.Hour)
			publishList(t, author, "198.51.100.2\n", green)
			want := 1
			if suspected {
				want = 2
			}
			if _, epochs := countGranted(t, author); epochs != want {
				t.Errorf("suspected %v: %d epochs, want %d", suspected, epochs, want)
			}
			time.Sleep(day)
			publishList(t, author, "198.51.100.3\n", green)
			if _, epochs := countGranted(t, author); epochs != 2 {
				t.Errorf("suspected %v: after a day %d epochs, want 2", suspected, epochs)
			}
			carryNew(t, author, reader)
			for _, value := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
				if !reads(t, reader, value) {
					t.Errorf("suspected %v: %s does not open", suspected, value)
				}
			}
		})
	}
}

// TestSiblingsTellTheirRecipients: a node without the operational key tells the one that has it, and
// nobody tells in its name.
func TestSiblingsTellTheirRecipients(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	before := recipientOf(second)
	info, err := second.RotateRecipient(context.Background(), false)
	if err != nil || info.State != IdentityWaits {
		t.Fatalf("%+v, %v", info, err)
	}
	if recipientOf(second) != before {
		t.Fatal("a node without the operational key changed the card")
	}
	compareWith(t, first, second)
	keepKeys(t, first)
	wanted := second.identities()[0].Recipient()
	if got := first.OwnCard().Node(second.ID()).Recipient; got != wanted {
		t.Fatal("what the node wants is not on the card")
	}
	shareSets(t, first, second, partner)
	keepKeys(t, second)
	list := second.Identities()
	if len(list) != 2 || list[0].State != IdentityOnCard || list[1].State != IdentityReplaced || list[1].Until == nil {
		t.Errorf("identities stand as %+v", list)
	}
	publishList(t, partner, "198.51.100.77\n", amber())
	carryNew(t, partner, second)
	if !reads(t, second, "198.51.100.77") {
		t.Error("the node does not read on")
	}

	mallory, err := crypto.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	say := &protocol.Recipient{Version: 1, Org: first.Org(), Node: first.ID(), At: uint64(nowMillis()), Recipient: mallory.Recipient()}
	of := func(change func(r *protocol.Recipient), key crypto.SigningPrivate) *protocol.SiblingRecipient {
		r := *say
		change(&r)
		item, err := crypto.SignRecipient(&r, key)
		if err != nil {
			t.Fatal(err)
		}
		item.Node = first.ID()
		return item
	}
	for name, item := range map[string]*protocol.SiblingRecipient{
		"signed by another node":  of(func(*protocol.Recipient) {}, second.keys.Signing),
		"of another node":         of(func(r *protocol.Recipient) { r.Node = second.ID() }, first.keys.Signing),
		"of another organisation": of(func(r *protocol.Recipient) { r.Org = partner.Org() }, first.keys.Signing),
		"of next week":            of(func(r *protocol.Recipient) { r.At += 7 * dayMillis }, first.keys.Signing),
		"that is none":            of(func(r *protocol.Recipient) { r.Recipient = "age1pq1nothing" }, first.keys.Signing),
	} {
		raw := protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingRecipients, Content: protocol.Encode(item)})
		if err := second.takeSiblingItems([][]byte{raw}); err != nil {
			t.Fatal(err)
		}
		if list, err := second.wantedRecipients(); err != nil || len(list) != 1 {
			t.Errorf("a recipient %s was taken: %d, %v", name, len(list), err)
		}
	}
	if err := second.takeSiblingItems([][]byte{protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingRecipients,
		Content: protocol.Encode(of(func(*protocol.Recipient) {}, first.keys.Signing))})}); err != nil {
		t.Fatal(err)
	}
	if list, err := second.wantedRecipients(); err != nil || len(list) != 2 {
		t.Errorf("the node's own word was not taken: %d, %v", len(list), err)
	}
}

// TestRecipientAfterTheKeyMoved: what a node said of its recipient before it had the operational key does
// not come back on the card when another has the key again.
func TestRecipientAfterTheKeyMoved(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	turn := func(n *Node) string {
		t.Helper()
		if _, err := n.RotateRecipient(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		return n.identities()[0].Recipient()
	}
	move := func(from, to *Node) { from.keys.Op, to.keys.Op = nil, from.keys.Op }
	said := turn(second)
	compareWith(t, first, second)
	keepKeys(t, first)
	shareSets(t, first, second, partner)
	move(first, second)
	latest := turn(second)
	shareSets(t, second, first, partner)
	compareWith(t, first, second)
	move(second, first)
	keepKeys(t, first)
	if got := first.OwnCard().Node(second.ID()).Recipient; got != latest || got == said {
		t.Errorf("on the card is %s, the node wants %s", recipientName(got), recipientName(latest))
	}
}

// TestTurnoverMakesItsRoom: a node that holds as many identities as may be destroys those whose time is
// over, and turns over.
func TestTurnoverMakesItsRoom(t *testing.T) {
	n := testNode(t, "Vendor")
	list, times := []*crypto.Identity{n.keys.Identities[0]}, map[string]identityTimes{n.keys.Identities[0].Recipient(): {Made: 1}}
	for len(list) < maxHeldIdentities {
		id, err := crypto.GenerateIdentity()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, id)
		times[id.Recipient()] = identityTimes{Made: 1, Until: 2}
	}
	n.turnMu.Lock()
	err := n.setIdentities(list, times)
	n.turnMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.keepRecipient(); err != nil {
		t.Fatal(err)
	}
	if got := n.identities(); len(got) != 2 || got[1] != list[0] {
		t.Errorf("the node holds %d identities", len(got))
	}
}

// TestTurnoverOutlivesCrashes: a node that stops after any step of a turnover, or within the writing of
// its key file, goes on with it: what was granted to the recipient on its card opens.
func TestTurnoverOutlivesCrashes(t *testing.T) {
	t.Parallel()
	partner := testNode(t, "Partner")
	dir := filepath.Join(t.TempDir(), "node")
	if _, err := Init(InitRequest{Dir: dir, RootFile: filepath.Join(t.TempDir(), "root"), Name: "Crashing", Kind: "cert"}); err != nil {
		t.Fatal(err)
	}
	open := func() *Node {
		t.Helper()
		lock, err := OpenLock(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := LoadKeys(dir, lock)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Open(Config{Dir: dir, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := open()
	intoOneNetwork(t, []*Node{n, partner})
	agreeLong(t, partner, n)
	rng := rand.New(rand.NewPCG(1, 2))
	turns := 0
	for i := range 16 {
		steps := []func() error{
			func() error { return n.turnByHand(Caller{}, false) },
			func() error {
				wanted, err := n.wantedRecipients()
				if err != nil {
					return err
				}
				return n.renewCard(func(c *protocol.Card) bool {
					c.Nodes = slices.Clone(c.Nodes)
					return wanted.put(c, uint64(nowMillis()))
				})
			},
			func() error { n.turnMu.Lock(); defer n.turnMu.Unlock(); return n.dateReplaced() },
			func() error {
				n.turnMu.Lock()
				defer n.turnMu.Unlock()
				return n.destroyReplaced(uint64(nowMillis()) + (30+30+30+150+1)*dayMillis)
			},
		}
		for _, step := range steps[:1+rng.IntN(len(steps))] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		held := n.identities()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(2) == 0 { // the power went while the next one was written
			if err := os.WriteFile(filepath.Join(dir, keyDir, nodeFile+".new"), []byte("half a fi"), privateMode); err != nil {
				t.Fatal(err)
			}
		}
		n = open()
		if len(n.identities()) != len(held) || n.identities()[0].Recipient() != held[0].Recipient() {
			t.Fatalf("round %d: %d identities were held, and %d after a restart", i, len(held), len(n.identities()))
		}
		if list := n.Identities(); list[0].State == IdentityOnCard && len(list) == 1 {
			turns++
		}
		shareSets(t, n, partner)
		value := fmt.Sprintf("203.0.113.%d", i)
		publishList(t, partner, value+"\n", green)
		carryNew(t, partner, n)
		if !reads(t, n, value) {
			t.Fatalf("round %d: what was granted to the recipient on the card does not open", i)
		}
	}
	if turns == 0 {
		t.Error("no turnover came to its end")
	}
	n.Close()
}

// TestKeyFileOfBeforeTurnover: a node.key of version 1 is read, and its identity turns over a month after
// the node was put on the card.
func TestKeyFileOfBeforeTurnover(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "node")
	ident, err := Init(InitRequest{Dir: dir, RootFile: filepath.Join(t.TempDir(), "root"), Name: "Old", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := ident.Keys
	old := &nodeSecrets1{Version: 1, Org: k.Org, Host: k.Host.UnsafeSeed(), Signing: k.Signing.UnsafeSeed(), Identities: []string{k.Identities[0].UnsafeString()}, Store: k.Store}
	write := func(v any) {
		t.Helper()
		if err := writeSealed(filepath.Join(dir, keyDir, nodeFile), lock, v); err != nil {
			t.Fatal(err)
		}
	}
	write(old)
	keys, err := LoadKeys(dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Dir: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if list := n.Identities(); len(list) != 1 || list[0].Made == nil || time.Until(*list[0].Until) < 26*day {
		t.Errorf("the identity stands as %+v", list)
	}
	if _, err := n.RotateRecipient(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if keys, err = LoadKeys(dir, lock); err != nil || len(keys.Identities) != 2 {
		t.Fatalf("%d identities, %v", len(keys.Identities), err)
	}
	for name, change := range map[string]func(s *nodeSecrets){
		"of a newer version": func(s *nodeSecrets) { s.Version = 3 },
		"without identities": func(s *nodeSecrets) { s.Identities = []identitySecret{} },
	} {
		s := keys.secrets()
		change(s)
		write(s)
		if _, err := LoadKeys(dir, lock); err == nil || !strings.Contains(err.Error(), nodeFile) {
			t.Errorf("a key file %s was taken: %v", name, err)
		}
	}
}
