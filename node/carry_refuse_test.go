package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestFilesThatAreRefused: files that are not for this node, or no such files, change
// nothing, and the error says what to do.
func TestFilesThatAreRefused(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Mallory")
	author, reader, mallory := nodes[0], nodes[1], nodes[2]
	elsewhere := testNode(t, "Elsewhere")
	if _, err := elsewhere.CreateNetwork("other"); err != nil {
		t.Fatal(err)
	}
	publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
	good := pack(t, author, PackRequest{To: reader.Org()})
	badSignature := func() []byte {
		plain := unsealed(t, reader, good)
		_, size, err := protocol.ParseCarryHead([protocol.CarryFrameHead]byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		plain[protocol.CarryFrameHead+size-1] ^= 1
		return sealTo(t, reader, plain)
	}
	for _, tc := range []struct {
		name string
		file []byte
		want error
		says string
	}{
		{"empty", nil, protocol.ErrMalformed, "not a carried file"},
		{"a card", []byte("-----BEGIN ENTENTE CARD-----"), protocol.ErrMalformed, "'entente trust'"},
		{"for another organisation", pack(t, author, PackRequest{To: mallory.Org()}), protocol.ErrNotInAudience, "--to " + reader.Org().String()},
		{"for another organisation, sealed to this one", forge(t, author, reader, func(h *protocol.CarryHeader) { h.To = mallory.Org() }), protocol.ErrWrongContext, "was made for Mallory"},
		{"of another network", forge(t, author, reader, func(h *protocol.CarryHeader) { h.Network = elsewhere.snap.Load().network }), protocol.ErrWrongContext, "a node of that network"},
		{"signed by somebody else", forge(t, mallory, reader, func(h *protocol.CarryHeader) { h.From = author.Org() }), protocol.ErrWrongContext, "a node of Mallory signed it"},
		{"signature that does not verify", badSignature(), protocol.ErrBadSignature, "does not verify"},
		{"a request", forge(t, author, reader, func(h *protocol.CarryHeader) { h.Kind = protocol.CarryRequest }), protocol.ErrWrongContext, "'entente carry pack --after FILE'"},
		{"no header", sealTo(t, reader, nil), protocol.ErrMalformed, "copy it again"},
		{"a trailer only", sealTo(t, reader, []byte{3, 0, 0, 0, 0}), protocol.ErrMalformed, "does not begin with its header"},
		{"a header of four gigabytes", sealTo(t, reader, []byte{1, 0xff, 0xff, 0xff, 0xff}), protocol.ErrOversize, "at most"},
		{"damaged at once", flip(good, len(good)-1), protocol.ErrMalformed, "copy it again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := fingerprint(t, reader)
			_, err := reader.Apply(context.Background(), bytes.NewReader(tc.file))
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want class %v and %q", err, tc.want, tc.says)
			}
			if fingerprint(t, reader) != before {
				t.Error("the store changed")
			}
		})
	}
	t.Run("in no network", func(t *testing.T) {
		if _, err := testNode(t, "Nobody").Apply(context.Background(), bytes.NewReader(good)); !errors.Is(err, ErrNoNetwork) {
			t.Error(err)
		}
	})
	t.Run("a disk that fails", func(t *testing.T) {
		broken := errors.New("input/output error")
		if _, err := reader.Apply(context.Background(), io.MultiReader(bytes.NewReader(good[:len(good)-5]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := reader.Apply(ctx, bytes.NewReader(good)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := author.Pack(ctx, io.Discard, PackRequest{To: reader.Org()}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestPackRefuses: nothing is written for those for whom nothing may be packed.
func TestPackRefuses(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Removed")
	author, reader, removed := nodes[0], nodes[1], nodes[2]
	if err := author.RemoveMember(removed.Org(), "test"); err != nil {
		t.Fatal(err)
	}
	stranger := testNode(t, "Stranger")
	if _, err := author.Trust(&stranger.OwnCard().Signed, wordsOf(stranger.Org())); err != nil {
		t.Fatal(err)
	}
	request := requestPack(t, reader, author)
	for _, tc := range []struct {
		name string
		q    PackRequest
		want error
		says string
	}{
		{"unknown", PackRequest{To: protocol.OrgID{1}}, protocol.ErrUnknownAuthor, "no card"},
		{"no member", PackRequest{To: stranger.Org()}, protocol.ErrUnknownAuthor, "not a member"},
		{"removed", PackRequest{To: removed.Org()}, protocol.ErrUnknownAuthor, "not a member"},
		{"unknown topic", PackRequest{To: reader.Org(), Topics: []string{"none"}}, protocol.ErrNoAgreement, "not in topic"},
		{"request of somebody else", PackRequest{To: removed.Org(), Request: bytes.NewReader(request)}, protocol.ErrWrongContext, "leave out"},
		{"request that was cut", PackRequest{Request: bytes.NewReader(cutPlain(t, author, request))}, protocol.ErrMalformed, "not whole"},
		{"pack for a request", PackRequest{Request: bytes.NewReader(pack(t, reader, PackRequest{To: author.Org()}))}, protocol.ErrWrongContext, "this is a pack"},
		{"request for somebody else", PackRequest{Request: bytes.NewReader(requestPack(t, author, reader))}, protocol.ErrNotInAudience, "sealed for another"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var buf bytes.Buffer
			if _, err := author.Pack(context.Background(), &buf, tc.q); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want class %v and %q", err, tc.want, tc.says)
			}
			if buf.Len() > 0 {
				t.Errorf("wrote %d bytes", buf.Len())
			}
		})
	}
	for _, n := range []*Node{stranger} {
		if _, err := n.Pack(context.Background(), io.Discard, PackRequest{To: author.Org()}); !errors.Is(err, ErrNoNetwork) {
			t.Error(err)
		}
		if _, err := n.RequestPack(context.Background(), io.Discard, author.Org()); !errors.Is(err, ErrNoNetwork) {
			t.Error(err)
		}
	}
	full := errors.New("no space left on device")
	if _, err := author.Pack(context.Background(), failingWriter{full}, PackRequest{To: reader.Org()}); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// cutPlain cuts the trailer off a file for n and seals it again: what a packer leaves that
// dies at its last step.
func cutPlain(t *testing.T, n *Node, file []byte) []byte {
	t.Helper()
	plain := unsealed(t, n, file)
	for at := 0; ; {
		kind, size, err := protocol.ParseCarryHead([protocol.CarryFrameHead]byte(plain[at:]))
		if err != nil {
			t.Fatal(err)
		}
		if kind == protocol.CarryFrameTrailer {
			return sealTo(t, n, plain[:at])
		}
		at += protocol.CarryFrameHead + size
	}
}

// TestHostileContents: what is refused within a file is told with its reason, keeps nothing
// else out, and leaves no trace.
func TestHostileContents(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Mallory")
	author, reader, mallory := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPAmber, "*")
	network := reader.snap.Load().network
	publishList(t, author, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
	var records []*crypto.VerifiedEnvelope
	for _, e := range entries(t, author) {
		if e.Topic == protocol.NewTopicID(network, "c2") {
			records = append(records, e)
		}
	}
	good := func() *protocol.SyncMessage {
		m := &protocol.SyncMessage{Kind: protocol.SyncEntries}
		for _, e := range records {
			m.Envelopes = append(m.Envelopes, e.Raw)
		}
		return m
	}
	envelopes := func(raws ...[]byte) *protocol.SyncMessage {
		return &protocol.SyncMessage{Kind: protocol.SyncEntries, Envelopes: raws}
	}
	sign := func(net protocol.NetworkID, o protocol.Origin, seq uint64, prev protocol.Hash, key crypto.SigningPrivate) []byte {
		e, err := crypto.SignEnvelope(net, o, protocol.EntryRecords, seq, prev, []byte("body"), key)
		if err != nil {
			t.Fatal(err)
		}
		return e.Raw
	}
	stranger := testNode(t, "Stranger")
	strange := protocol.Origin{Signing: stranger.keys.Signing.Public(), Incarnation: 1, Topic: records[0].Topic}
	forked := sign(network, records[0].Origin, 1, protocol.Hash{}, author.keys.Signing)
	sponsorship := func(by *Node, signer crypto.OpSigner, in protocol.NetworkID) protocol.RosterStatement {
		sp := &protocol.Sponsorship{Version: 1, Network: in, Sponsor: by.Org(), Invitee: stranger.Org(), Issued: uint64(nowMillis()), Expires: uint64(nowMillis()) + 100_000}
		st, err := crypto.SignStatement(protocol.StatementSponsorship, protocol.Encode(sp), in, by.Org(), signer)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	card := mallory.OwnCard().Signed
	card.Sig[0] ^= 1
	card.Statement = bytes.Clone(card.Statement)
	card.Statement[len(card.Statement)-1] ^= 1
	for _, tc := range []struct {
		name    string
		message *protocol.SyncMessage
		class   error
		says    string
	}{
		{"no envelope", envelopes([]byte("envelope")), protocol.ErrMalformed, ""},
		{"oversized envelope", envelopes(make([]byte, protocol.MaxEnvelopeSize+1)), protocol.ErrOversize, ""},
		{"changed body", envelopes(flip(records[0].Raw, len(records[0].Raw)-3)), protocol.ErrMalformed, "not the one its header names"},
		{"of another network", envelopes(sign(protocol.NetworkID{7}, records[0].Origin, 1, protocol.Hash{}, author.keys.Signing)), protocol.ErrWrongContext, ""},
		{"of a stranger", envelopes(sign(network, strange, 1, protocol.Hash{}, stranger.keys.Signing)), protocol.ErrUnknownAuthor, "no card known here"},
		{"a stranger's card", &protocol.SyncMessage{Kind: protocol.SyncItems, Cards: []protocol.SignedCard{stranger.OwnCard().Signed}}, protocol.ErrUnknownAuthor, "Stranger is not a member"},
		{"a card that was changed", &protocol.SyncMessage{Kind: protocol.SyncItems, Cards: []protocol.SignedCard{card}}, nil, ""},
		{"an invitation by a stranger", &protocol.SyncMessage{Kind: protocol.SyncItems, Roster: []protocol.RosterStatement{sponsorship(stranger, stranger.keys.Op, network)}}, protocol.ErrUnknownAuthor, "no card is known"},
		{"an invitation that a stranger signed", &protocol.SyncMessage{Kind: protocol.SyncItems, Roster: []protocol.RosterStatement{sponsorship(author, stranger.keys.Op, network)}}, protocol.ErrBadSignature, ""},
		{"an invitation to another network", &protocol.SyncMessage{Kind: protocol.SyncItems, Roster: []protocol.RosterStatement{sponsorship(author, author.keys.Op, protocol.NetworkID{7})}}, protocol.ErrWrongContext, "another network"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := fingerprint(t, reader)
			got := apply(t, reader, forge(t, mallory, reader, nil, tc.message))
			if !got.Whole || !got.Partial() || len(got.Refused) != 1 || got.Refused[0].Count != 1 || (got.New != CarryCounts{}) {
				t.Fatalf("%+v", got)
			}
			r := got.Refused[0]
			if tc.class != nil && r.Class != tc.class.Error() || !strings.Contains(r.Reason, tc.says) || len(r.Reason) < 10 {
				t.Errorf("refused: %+v, want %v and %q", r, tc.class, tc.says)
			}
			if fingerprint(t, reader) != before {
				t.Error("the store changed")
			}
		})
	}
	t.Run("frames that break off the file", func(t *testing.T) {
		plain := unsealed(t, reader, forge(t, mallory, reader, nil))
		at := protocol.CarryFrameHead
		_, size, _ := protocol.ParseCarryHead([protocol.CarryFrameHead]byte(plain))
		head := plain[:at+size]
		for name, frame := range map[string][]byte{
			"unknown type":  {9, 0, 0, 0, 0},
			"oversized":     {2, 0xff, 0xff, 0xff, 0xff},
			"broken off":    {2, 0, 0, 1, 0, 1, 2, 3},
			"within a head": {2, 0},
			"not canonical": {2, 0, 0, 0, 2, 0x18, 0x01},
			"no end":        {},
		} {
			before := fingerprint(t, reader)
			got := apply(t, reader, sealTo(t, reader, append(bytes.Clone(head), frame...)))
			if got.Whole || !got.Partial() || !strings.Contains(got.Problem, "ask for a new one") || fingerprint(t, reader) != before {
				t.Errorf("%s: %+v", name, got)
			}
		}
		for name, m := range map[string]*protocol.SyncMessage{
			"a request":      {Kind: protocol.SyncPull, Pull: []protocol.PullRange{{From: 1, Count: 1}}},
			"an error":       {Kind: protocol.SyncError, Error: "x"},
			"too many cards": {Kind: protocol.SyncItems, Cards: make([]protocol.SignedCard, protocol.MaxSetItems+1)},
		} {
			if got := apply(t, reader, forge(t, mallory, reader, nil, m)); got.Whole || !got.Partial() {
				t.Errorf("%s: %+v", name, got)
			}
		}
		more := append(unsealed(t, reader, forge(t, mallory, reader, nil)), 3, 0, 0, 0, 0)
		if got := apply(t, reader, sealTo(t, reader, more)); got.Whole || !strings.Contains(got.Problem, "goes on after its end") {
			t.Errorf("after the end: %+v", got)
		}
	})
	t.Run("good ones among the bad", func(t *testing.T) {
		m := good()
		m.Envelopes = append([][]byte{sign(network, strange, 1, protocol.Hash{}, stranger.keys.Signing), []byte("x")}, m.Envelopes...)
		got := apply(t, reader, forge(t, mallory, reader, nil, m))
		if got.New.Envelopes != len(records) || got.Records != 2 || len(got.Refused) != 2 {
			t.Errorf("%+v", got)
		}
		if !slices.ContainsFunc(got.Refused, func(r CarryRefusal) bool { return strings.Contains(r.Reason, "unknown") || r.Class == "unknown-author" }) {
			t.Errorf("refused: %+v", got.Refused)
		}
		if !reads(t, reader, "198.51.100.2") {
			t.Error("what was good was not taken")
		}
	})
	t.Run("claims are worth nothing", func(t *testing.T) {
		before := fingerprint(t, reader)
		claim := &protocol.SyncMessage{Kind: protocol.SyncFrontier, Frontier: []protocol.FrontierEntry{{Origin: records[0].Origin, Seq: 1000}, {Origin: strange, Seq: 5}}}
		got := apply(t, reader, forge(t, mallory, reader, nil, claim))
		if len(got.Missing) != 1 || got.Missing[0].To != 1000 || fingerprint(t, reader) != before {
			t.Errorf("%+v", got)
		}
	})
	t.Run("topics that this node is not in", func(t *testing.T) {
		if err := author.JoinTopic("other"); err != nil {
			t.Fatal(err)
		}
		if _, err := author.Publish(context.Background(), PublishRequest{Topic: "other", Items: readList(t, "198.51.100.9\n"), Flags: policy.Flags{TLP: protocol.TLPGreen}}); err != nil {
			t.Fatal(err)
		}
		got := applyWhole(t, reader, pack(t, author, PackRequest{To: reader.Org()}))
		if len(got.LeftOut) != 1 || got.LeftOut[0].Envelopes == 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a fork", func(t *testing.T) {
		got := apply(t, reader, forge(t, mallory, reader, nil, envelopes(forked)))
		if len(got.Refused) != 1 || !strings.Contains(got.Refused[0].Reason, "forked") {
			t.Errorf("%+v", got)
		}
		if reads(t, reader, "198.51.100.2") {
			t.Error("what comes after a fork is still read")
		}
	})
}

// TestInspectChangesNothing, and tells of what does not verify.
func TestInspectChangesNothing(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPAmber, "*")
	publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
	file := pack(t, author, PackRequest{To: reader.Org(), Topics: []string{"c2"}})
	before := fingerprint(t, reader)
	inspect := func(file []byte) *Carried {
		t.Helper()
		got, err := reader.InspectCarried(context.Background(), bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := inspect(file)
	if !got.Whole || !got.Known || got.From.Name != "Author" || got.Cards != 2 || !slices.Contains(got.Topics, "c2") {
		t.Errorf("%+v", got)
	}
	seen := false
	for _, f := range got.Feeds {
		if f.Topic == "c2" {
			seen = f.Org.Name == "Author" && f.From == 1 && f.To == f.Head && f.Envelopes == f.To && f.Here == 0
		}
	}
	if !seen {
		t.Errorf("feeds: %+v", got.Feeds)
	}
	if got := inspect(forge(t, author, reader, nil, &protocol.SyncMessage{Kind: protocol.SyncEntries, Envelopes: [][]byte{{1}}})); len(got.Refused) != 1 {
		t.Errorf("%+v", got)
	}
	if got := inspect(cutPlain(t, reader, file)); got.Whole || got.Problem == "" {
		t.Errorf("%+v", got)
	}
	if got := inspect(requestPack(t, author, reader)); got.Kind != "request" || got.Hashes == 0 || !got.Whole {
		t.Errorf("%+v", got)
	}
	if fingerprint(t, reader) != before {
		t.Error("inspecting changed the store")
	}
}

// TestSetsInAnyOrder: cards and statements, one a message and in the worst order, are taken
// at once: a chain of newcomers, each brought in by the one before.
func TestSetsInAnyOrder(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Founder", "Reader")
	founder, reader := nodes[0], nodes[1]
	last := founder
	for _, name := range []string{"First", "Second", "Third", "Fourth"} {
		n := testNode(t, name)
		inv, err := last.Invite(&n.OwnCard().Signed, time.Hour)
		if err == nil {
			_, err = n.Join(inv)
		}
		if err != nil {
			t.Fatal(err)
		}
		last = n
	}
	s := last.snap.Load()
	var all []*protocol.SyncMessage
	for _, c := range s.cards {
		all = append(all, &protocol.SyncMessage{Kind: protocol.SyncItems, Cards: []protocol.SignedCard{c.Signed}})
	}
	for _, st := range s.statements {
		all = append(all, &protocol.SyncMessage{Kind: protocol.SyncItems, Roster: []protocol.RosterStatement{*st}})
	}
	// The deepest first: its card, then those of who sponsored it. Maps are in random order
	// otherwise.
	slices.SortStableFunc(all, func(a, b *protocol.SyncMessage) int { return len(b.Cards) - len(a.Cards) })
	got := applyWhole(t, reader, forge(t, founder, reader, nil, all...))
	if n := len(reader.snap.Load().members); n != 6 {
		t.Errorf("%d members, want 6: %+v", n, got)
	}
	if got.New.Cards != 4 {
		t.Errorf("%+v", got)
	}
	again := applyWhole(t, reader, forge(t, founder, reader, nil, all...))
	if (again.New != CarryCounts{}) || again.Held.Cards != 6 {
		t.Errorf("again: %+v", again)
	}
}

// TestInvitationByHand: a newcomer that was never on line becomes known by the file that it
// packs, once, and not after its invitation has expired; a member may still tell of it then.
func TestInvitationByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Founder", "Other", "Lagging")
		founder, other, lagging := nodes[0], nodes[1], nodes[2]
		guest, late := testNode(t, "Guest"), testNode(t, "Late")
		for _, n := range []*Node{guest, late} {
			inv, err := founder.Invite(&n.OwnCard().Signed, time.Minute)
			if err == nil {
				_, err = n.Join(inv)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		got := applyWhole(t, founder, pack(t, guest, PackRequest{To: founder.Org()}))
		if !founder.snap.Load().members[guest.Org()] || !got.Known {
			t.Fatalf("the newcomer is not known: %+v", got)
		}
		time.Sleep(2 * time.Minute)
		got = apply(t, other, pack(t, late, PackRequest{To: other.Org()}))
		if other.snap.Load().members[late.Org()] {
			t.Error("an invitation was used after it had expired")
		}
		if !slices.ContainsFunc(got.Refused, func(r CarryRefusal) bool {
			return r.Class == "expired" && strings.Contains(r.Reason, "it needs a new one")
		}) {
			t.Errorf("refused: %+v", got.Refused)
		}
		// A newcomer does not become a member by putting a member's name on its file.
		file := forge(t, late, other, func(h *protocol.CarryHeader) { h.From = founder.Org() }, setsOf(late)...)
		got = apply(t, other, file)
		if other.snap.Load().members[late.Org()] || got.Known {
			t.Errorf("an invitation was used after it had expired: %+v", got)
		}
		// The founder knew the guest in time.
		applyWhole(t, lagging, pack(t, founder, PackRequest{To: lagging.Org()}))
		if !lagging.snap.Load().members[guest.Org()] {
			t.Error("a member's word for another was not taken")
		}
	})
}

// setsOf returns all cards and statements that a node holds.
func setsOf(n *Node) []*protocol.SyncMessage {
	m := &protocol.SyncMessage{Kind: protocol.SyncItems}
	s := n.snap.Load()
	for _, c := range s.cards {
		m.Cards = append(m.Cards, c.Signed)
	}
	for _, st := range s.statements {
		m.Roster = append(m.Roster, *st)
	}
	return []*protocol.SyncMessage{m}
}

// TestCarryGoesThroughAPipe: packing and applying hold no more of a file than a message, so
// one can feed the other.
func TestCarryGoesThroughAPipe(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPAmber, "*")
	for i := range 3 {
		publishList(t, author, hashList(i, 2000), policy.Flags{TLP: protocol.TLPGreen})
	}
	pr, pw := io.Pipe()
	go func() {
		_, err := author.Pack(context.Background(), pw, PackRequest{To: reader.Org()})
		pw.CloseWithError(err)
	}()
	got, err := reader.Apply(context.Background(), iotest.OneByteReader(pr))
	if err != nil || got.Partial() || got.Records != 6000 {
		t.Fatalf("%+v, %v", got, err)
	}
	if a, b := contents(t, author), contents(t, reader); strings.Count(a, "\nfeed ") != strings.Count(b, "\nfeed ") {
		t.Error("feeds differ")
	}
}

// hashList is a list of hashes, which does not compress.
func hashList(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%x\n", sha256.Sum256(fmt.Append(nil, from, i)))
	}
	return b.String()
}

// FuzzApply: the plaintext after the header is whatever a hostile sender likes. Nothing
// panics, and nothing that is not signed by a member changes anything.
func FuzzApply(f *testing.F) {
	nodes := testNetwork(f, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	publishList(f, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
	whole := pack(f, author, PackRequest{To: reader.Org()})
	applyWhole(f, reader, whole)
	plain := unsealed(f, reader, whole)
	_, size, err := protocol.ParseCarryHead([protocol.CarryFrameHead]byte(plain))
	if err != nil {
		f.Fatal(err)
	}
	head, rest := plain[:protocol.CarryFrameHead+size], plain[protocol.CarryFrameHead+size:]
	f.Add(rest)
	for at := 0; at < len(rest); at += len(rest) / 20 {
		f.Add(flip(rest, at))
		f.Add(rest[:at])
	}
	before := fingerprint(f, reader)
	f.Fuzz(func(t *testing.T, body []byte) {
		file := sealTo(t, reader, append(bytes.Clone(head), body...))
		inspected, err := reader.InspectCarried(context.Background(), bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		got := apply(t, reader, file)
		if got.Whole != inspected.Whole || got.Whole == (got.Problem != "") {
			t.Errorf("inspected: %+v, applied: %+v", inspected, got)
		}
		if (got.New != CarryCounts{}) || fingerprint(t, reader) != before {
			t.Errorf("the store changed: %+v", got)
		}
	})
}
