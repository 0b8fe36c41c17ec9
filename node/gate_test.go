package node

import (
	"errors"
	"slices"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestBadEntriesChangeNothing: what is damaged, oversized, foreign or lifted is refused with
// an error of its class, by the validator and by admission, and leaves the store as it was.
func TestBadEntriesChangeNothing(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Mallory")
	author, reader, mallory := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPAmber, "*")
	publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
	carry(t, author, reader)
	publishList(t, author, "198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
	all := slices.DeleteFunc(entries(t, author), func(e *crypto.VerifiedEnvelope) bool { return e.Header.Kind == protocol.EntryLetter })
	good := all[len(all)-1]
	if good.Header.Kind != protocol.EntryRecords {
		t.Fatalf("last entry is of kind %d", good.Header.Kind)
	}
	network := author.snap.Load().network
	sign := func(net protocol.NetworkID, o protocol.Origin, seq uint64, prev protocol.Hash, body []byte, key crypto.SigningPrivate) []byte {
		e, err := crypto.SignEnvelope(net, o, protocol.EntryRecords, seq, prev, body, key)
		if err != nil {
			t.Fatal(err)
		}
		return e.Raw
	}
	flipped := func(at int) []byte {
		b := slices.Clone(good.Raw)
		b[at] ^= 1
		return b
	}
	stranger := crypto.GenerateSigning()
	strange := protocol.Origin{Signing: stranger.Public(), Incarnation: 1, Topic: good.Topic}
	elsewhere := good.Origin
	elsewhere.Topic = protocol.NewTopicID(network, "elsewhere")
	for _, tc := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"empty", nil, protocol.ErrMalformed},
		{"truncated", good.Raw[:len(good.Raw)-1], protocol.ErrMalformed},
		{"trailing byte", append(slices.Clone(good.Raw), 0), protocol.ErrMalformed},
		{"oversized", make([]byte, protocol.MaxEnvelopeSize+1), protocol.ErrOversize},
		{"bit flipped in the body", flipped(len(good.Raw) - 10), protocol.ErrMalformed},
		{"another network", sign(protocol.NetworkID{1}, good.Origin, good.Header.Seq, good.Header.Previous, good.Body, author.keys.Signing), protocol.ErrWrongContext},
		{"signed by a stranger", sign(network, strange, 1, protocol.Hash{}, good.Body, stranger), protocol.ErrUnknownAuthor},
		{"topic that this node is not in", sign(network, elsewhere, 1, protocol.Hash{}, good.Body, author.keys.Signing), protocol.ErrNoAgreement},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := fingerprint(t, reader)
			if err := judge(reader, tc.raw); !errors.Is(err, tc.want) {
				t.Errorf("validator says %v, want %v", err, tc.want)
			} else if len(err.Error()) < 10 {
				t.Errorf("error %q says nothing", err)
			}
			if env, err := crypto.VerifyEnvelope(network, tc.raw); err == nil {
				a, err := reader.gate.admit([]*crypto.VerifiedEnvelope{env})
				if err != nil || a.Stored != 0 || !errors.Is(a.Refused, tc.want) {
					t.Errorf("admission: %+v, %v", a, err)
				}
			}
			if fingerprint(t, reader) != before {
				t.Error("the store changed")
			}
		})
	}
	t.Run("a bit flipped anywhere", func(t *testing.T) {
		before := fingerprint(t, reader)
		for at := 0; at < len(good.Raw); at += 7 {
			if err := judge(reader, flipped(at)); err == nil {
				t.Errorf("byte %d can be changed", at)
			}
		}
		if fingerprint(t, reader) != before {
			t.Error("the store changed")
		}
	})
	t.Run("replayed", func(t *testing.T) {
		before := fingerprint(t, reader)
		if err := judge(reader, all[len(all)-2].Raw); !errors.Is(err, errStale) {
			t.Errorf("validator says %v", err)
		}
		a, err := reader.gate.admit(all[:len(all)-1])
		if err != nil || a.Stored != 0 || a.Held != len(all)-1 {
			t.Errorf("admission: %+v, %v", a, err)
		}
		if fingerprint(t, reader) != before {
			t.Error("the store changed")
		}
	})
	t.Run("broken chain", func(t *testing.T) {
		before := fingerprint(t, reader)
		raw := sign(network, good.Origin, good.Header.Seq, protocol.Hash{9}, good.Body, author.keys.Signing)
		env, err := crypto.VerifyEnvelope(network, raw)
		if err != nil {
			t.Fatal(err)
		}
		a, err := reader.gate.admit([]*crypto.VerifiedEnvelope{env})
		if err != nil || !errors.Is(a.Refused, protocol.ErrBrokenChain) || fingerprint(t, reader) != before {
			t.Errorf("admission: %+v, %v", a, err)
		}
	})
	t.Run("lifted into another feed", func(t *testing.T) {
		// Mallory, a member, signs somebody else's bodies as her own entries.
		o := protocol.Origin{Signing: mallory.keys.Signing.Public(), Incarnation: 1, Topic: good.Topic}
		prev := protocol.Hash{}
		for i, stolen := range all[len(all)-2:] {
			e, err := crypto.SignEnvelope(network, o, stolen.Header.Kind, uint64(i+1), prev, stolen.Body, mallory.keys.Signing)
			if err != nil {
				t.Fatal(err)
			}
			prev = e.Hash
			if _, err := reader.gate.admit([]*crypto.VerifiedEnvelope{e}); err != nil {
				t.Fatal(err)
			}
		}
		if reads(t, reader, "198.51.100.2") {
			t.Error("a lifted body opened")
		}
	})
	carry(t, author, reader)
	if !reads(t, reader, "198.51.100.1") || !reads(t, reader, "198.51.100.2") {
		t.Error("the genuine entries did not open after all this")
	}
}

// TestAnyOrder: entries that come before their predecessors wait for them.
func TestAnyOrder(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPAmber, "*")
	for _, ip := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		publishList(t, author, ip+"\n", policy.Flags{TLP: protocol.TLPGreen})
	}
	all := entries(t, author)
	slices.Reverse(all)
	for _, e := range all {
		if _, err := reader.gate.admit([]*crypto.VerifiedEnvelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	for _, ip := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		if !reads(t, reader, ip) {
			t.Errorf("%s is not there", ip)
		}
	}
}

// TestWaitingIsBounded: what waits for entries that never come stays within its bounds.
func TestWaitingIsBounded(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	network := author.snap.Load().network
	dropped, refused := 0, 0
	for inc := range uint64(protocol.MaxOpenIncarnations + 10) {
		o := protocol.Origin{Signing: author.keys.Signing.Public(), Incarnation: inc, Topic: protocol.NewTopicID(network, "c2")}
		for seq := uint64(2); seq < maxWaitingEntries+12; seq++ {
			e, err := crypto.SignEnvelope(network, o, protocol.EntryRecords, seq, protocol.Hash{1}, make([]byte, 100), author.keys.Signing)
			if err != nil {
				t.Fatal(err)
			}
			a, err := reader.gate.admit([]*crypto.VerifiedEnvelope{e})
			switch {
			case err != nil:
				t.Fatal(err)
			case a.Refused != nil:
				if !errors.Is(a.Refused, protocol.ErrOversize) {
					t.Fatalf("refused: %v", a.Refused)
				}
				refused++
			case !a.Gaps:
				t.Fatalf("%+v", a)
			}
			dropped += a.Dropped
			if refused > 0 {
				break
			}
		}
	}
	if len(reader.gate.waiting) > protocol.MaxOpenIncarnations || dropped != 10*protocol.MaxOpenIncarnations || refused != 10 {
		t.Errorf("%d feeds wait, %d entries were dropped, %d refused", len(reader.gate.waiting), dropped, refused)
	}
}

// TestRemovedNode: entries up to the final heads that the card states stay valid; later
// ones, signed with the stolen key, are refused.
func TestRemovedNode(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPAmber, "*")
	publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
	publishList(t, author, "198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
	all := slices.DeleteFunc(entries(t, author), func(e *crypto.VerifiedEnvelope) bool { return e.Header.Kind == protocol.EntryLetter })
	final := all[len(all)-2]
	card := author.OwnCard().Card
	card.Serial++
	card.Removed = append(card.Removed, protocol.RemovedNode{Node: author.ID(), Signing: author.keys.Signing.Public(), At: uint64(nowMillis()),
		Heads: []protocol.FeedHead{{Feed: final.Header.Feed, Seq: final.Header.Seq, Hash: final.Hash}}, Binding: card.Nodes[0].Binding})
	other, err := NewIdentity(InitRequest{Name: "Another node", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := crypto.VerifyCard(&other.Card)
	if err != nil {
		t.Fatal(err)
	}
	card.Nodes = second.Nodes
	card.Nodes[0].Binding = crypto.BindNode(author.Org(), other.Keys.Host, other.Keys.Signing)
	signed, err := crypto.SignCard(&card, author.keys.Op)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&view{n: reader}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{signed}}); err != nil {
		t.Fatal(err)
	}
	if reader.Card(author.Org()).Serial != card.Serial {
		t.Fatal("the card was not taken")
	}
	var topic []*crypto.VerifiedEnvelope
	for _, e := range all {
		if e.Header.Feed == final.Header.Feed {
			topic = append(topic, e)
		}
	}
	a, err := reader.gate.admit(topic)
	if err != nil || a.Stored != len(topic)-1 || !errors.Is(a.Refused, protocol.ErrUnknownAuthor) {
		t.Fatalf("admission: %+v, %v", a, err)
	}
	if !reads(t, reader, "198.51.100.1") {
		t.Error("a genuine entry of the removed node did not open")
	}
	if reads(t, reader, "198.51.100.2") {
		t.Error("an entry after the final head opened")
	}
	if err := judge(reader, topic[len(topic)-1].Raw); !errors.Is(err, protocol.ErrUnknownAuthor) {
		t.Errorf("validator says %v", err)
	}
}

// TestMissingSignature: a card, an agreement or an invitation that lacks one signature does
// nothing.
func TestMissingSignature(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	for _, pair := range [][2]*Node{{author, reader}, {reader, author}} {
		card := pair[1].OwnCard()
		if _, err := pair[0].Trust(&card.Signed, wordsOf(card.Org)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("agreement", func(t *testing.T) {
		id, err := author.Propose(testAgreement(author, reader, protocol.TLPAmber, "*"))
		if err != nil {
			t.Fatal(err)
		}
		rec := publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		if len(rec.Plan.Orgs) > 0 && rec.Plan.Orgs[0].Records > 0 {
			t.Error("an agreement that only one party signed opens records")
		}
		carry(t, author, reader)
		if reads(t, reader, "198.51.100.1") {
			t.Error("the record opened")
		}
		if a, err := reader.Agreement(id); err != nil || a.State != AgreementIncoming {
			t.Errorf("state is %s, %v", a.State, err)
		}
	})
	t.Run("card", func(t *testing.T) {
		before := fingerprint(t, reader)
		signed := author.OwnCard().Signed
		signed.Sig = protocol.Signature{}
		if _, err := reader.Trust(&signed, wordsOf(author.Org())); !errors.Is(err, protocol.ErrBadSignature) {
			t.Errorf("trusting it: %v", err)
		}
		if err := (&view{n: reader}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{signed}}); err != nil {
			t.Error(err)
		}
		if fingerprint(t, reader) != before {
			t.Error("the store changed")
		}
	})
	t.Run("wrong words", func(t *testing.T) {
		before := fingerprint(t, reader)
		card := author.OwnCard()
		if _, err := reader.Trust(&card.Signed, wordsOf(reader.Org())); err == nil {
			t.Error("trusted with another organisation's words")
		}
		if fingerprint(t, reader) != before {
			t.Error("the store changed")
		}
	})
	t.Run("invitation", func(t *testing.T) {
		guest := testNode(t, "Guest")
		inv, err := author.Invite(&guest.OwnCard().Signed, 3600e9)
		if err != nil {
			t.Fatal(err)
		}
		for i := range inv.Statements {
			if inv.Statements[i].Kind == protocol.StatementSponsorship {
				inv.Statements[i].Sig = protocol.Signature{}
			}
		}
		if _, err := guest.Join(inv); !errors.Is(err, protocol.ErrBadSignature) {
			t.Errorf("joining: %v", err)
		}
		if guest.snap.Load().network != protocol.NoNetwork {
			t.Error("the guest is in the network")
		}
		if _, err := reader.Join(inv); !errors.Is(err, protocol.ErrWrongContext) {
			t.Errorf("using somebody else's invitation: %v", err)
		}
	})
}

// TestForkedFeedIsReopened: entries that were set aside after a fork are not gone through
// again, and keep nobody busy, when an agreement or a card makes their feed due.
func TestForkedFeedIsReopened(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPAmber, "*")
	for _, ip := range []string{"198.51.100.1\n", "198.51.100.2\n", "198.51.100.3\n"} {
		publishList(t, author, ip, policy.Flags{TLP: protocol.TLPGreen})
	}
	carry(t, author, reader)
	all := slices.DeleteFunc(entries(t, author), func(e *crypto.VerifiedEnvelope) bool { return e.Header.Kind == protocol.EntryLetter })
	second := all[len(all)-2]
	if _, err := reader.probe([][]byte{forkOf(t, author, second, "another").Raw}); err != nil {
		t.Fatal(err)
	}
	reader.gate.reopenFeed(second.Header.Feed)
	if err := reader.gate.drain(); err != nil { // did not end
		t.Fatal(err)
	}
	if !reads(t, reader, "198.51.100.1") || reads(t, reader, "198.51.100.2") || reads(t, reader, "198.51.100.3") {
		t.Error("what is before the fork is to be shown, and nothing after it")
	}
}
