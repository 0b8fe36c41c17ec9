package protocoltest

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// Vector is one test vector: bytes, and what becomes of them.
type Vector struct {
	Name    string         `json:"name"`    // the one thing it shows
	Spec    string         `json:"spec"`    // heading of SPEC.md
	Comment string         `json:"comment"` // why
	Message string         `json:"message"` // which entry point reads it
	Bytes   string         `json:"bytes"`   // hex
	Expect  string         `json:"expect"`  // "ok" or a failure class
	Output  map[string]any `json:"output,omitempty"`
}

// known is the cards of Alice, Bob and Carol, verified once.
var known = sync.OnceValue(func() func(protocol.OrgID) *crypto.Card {
	m := map[protocol.OrgID]*crypto.Card{}
	for _, p := range []*Person{Alice(), Bob(), Carol()} {
		m[p.Org] = p.Verified()
	}
	return func(o protocol.OrgID) *crypto.Card { return m[o] }
})

// Read passes bytes through the entry point for a message: strict decoding and every
// signature. Agreements of which a signature is missing are of class bad-signature here.
func Read(message string, data []byte) (map[string]any, error) {
	network := Network().ID()
	cards := known()
	switch message {
	case "card":
		var s protocol.SignedCard
		if err := protocol.Decode(data, protocol.MaxCardSize, &s); err != nil {
			return nil, err
		}
		c, err := crypto.VerifyCard(&s)
		if err != nil {
			return nil, err
		}
		return map[string]any{"org": c.Org.String(), "epoch": float64(c.Order.Epoch), "serial": float64(c.Order.Serial)}, nil
	case "roster":
		var s protocol.RosterStatement
		if err := protocol.Decode(data, 2*protocol.MaxStatementSize, &s); err != nil {
			return nil, err
		}
		card := cards(s.Signer)
		if card == nil {
			return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "no card of the signer")
		}
		_, err := crypto.VerifyStatement(&s, card)
		return map[string]any{"hash": s.Hash().String()}, err
	case "agreement":
		var s protocol.SignedAgreement
		if err := protocol.Decode(data, protocol.MaxLetterSize, &s); err != nil {
			return nil, err
		}
		a, err := crypto.VerifyAgreement(&s, network, cards)
		if err != nil {
			return nil, err
		}
		if len(a.Missing) > 0 {
			return nil, protocol.Errorf(protocol.ErrBadSignature, "%d parties have not signed", len(a.Missing))
		}
		return map[string]any{"agreement": a.ID.String()}, nil
	case "termination":
		var s protocol.OrgSigned
		if err := protocol.Decode(data, protocol.MaxLetterSize, &s); err != nil {
			return nil, err
		}
		_, err := crypto.VerifyTermination(&s, network, cards)
		return nil, err
	case "suspension":
		var s protocol.OrgSigned
		if err := protocol.Decode(data, protocol.MaxLetterSize, &s); err != nil {
			return nil, err
		}
		_, err := crypto.VerifySuspension(&s, network, cards)
		return nil, err
	case "mandate":
		var s protocol.OrgSigned
		if err := protocol.Decode(data, protocol.MaxLetterSize, &s); err != nil {
			return nil, err
		}
		_, err := crypto.VerifyMandate(&s, network, cards)
		return map[string]any{"mandate": protocol.NewMandateID(s.Statement).String()}, err
	case "mandate-revocation":
		var s protocol.OrgSigned
		if err := protocol.Decode(data, protocol.MaxLetterSize, &s); err != nil {
			return nil, err
		}
		_, err := crypto.VerifyMandateRevocation(&s, network, cards)
		return nil, err
	case "origin":
		var p protocol.OriginProof
		if err := protocol.Decode(data, protocol.MaxOriginProof, &p); err != nil {
			return nil, err
		}
		o, err := crypto.VerifyOriginProof(&p)
		if err != nil {
			return nil, err
		}
		return map[string]any{"publisher": o.Publisher.String(), "originator": o.Originator.String()}, nil
	case "rejection":
		var s protocol.OrgSigned
		if err := protocol.Decode(data, protocol.MaxLetterSize, &s); err != nil {
			return nil, err
		}
		_, err := crypto.VerifyRejection(&s, network, cards)
		return nil, err
	case "erasure-request":
		var s protocol.OrgSigned
		if err := protocol.Decode(data, protocol.MaxLetterSize, &s); err != nil {
			return nil, err
		}
		r, err := crypto.VerifyErasureRequest(&s, network, cards)
		if err != nil {
			return nil, err
		}
		return map[string]any{"name": protocol.ErasureName(s.Statement).String(), "records": float64(len(r.Records))}, nil
	case "erasure-answer":
		var s protocol.OrgSigned
		if err := protocol.Decode(data, protocol.MaxLetterSize, &s); err != nil {
			return nil, err
		}
		_, err := crypto.VerifyErasureAnswer(&s, network, cards)
		return nil, err
	case "head":
		var s protocol.Signed
		if err := protocol.Decode(data, protocol.MaxStatementSize, &s); err != nil {
			return nil, err
		}
		_, err := crypto.VerifyHead(network, &s)
		return nil, err
	case "envelope":
		e, err := crypto.VerifyEnvelope(network, data)
		if err != nil {
			return nil, err
		}
		return map[string]any{"feed": e.Header.Feed.String(), "seq": float64(e.Header.Seq), "hash": e.Hash.String()}, nil
	case "skeleton":
		e, err := crypto.VerifySkeleton(network, data)
		if err != nil {
			return nil, err
		}
		return map[string]any{"feed": e.Header.Feed.String(), "seq": float64(e.Header.Seq), "hash": e.Hash.String()}, nil
	case "fork":
		var p protocol.ForkProof
		if err := protocol.Decode(data, protocol.MaxForkProofSize, &p); err != nil {
			return nil, err
		}
		f, err := crypto.VerifyFork(network, &p)
		if err != nil {
			return nil, err
		}
		return map[string]any{"feed": f.Feed.String(), "seq": float64(f.Seq), "hash": p.Hash().String()}, nil
	case "erase":
		var s protocol.SignedErase
		if err := protocol.Decode(data, protocol.MaxStatementSize, &s); err != nil {
			return nil, err
		}
		e, err := crypto.VerifyErase(network, &s, func(signing protocol.SigningKey, key protocol.OpKey) bool {
			return signing == Alice().Signing.Public() && Alice().Verified().OpKeyValid(key)
		})
		if err != nil {
			return nil, err
		}
		return map[string]any{"entries": float64(len(e.Entries)), "records": float64(len(e.Records)), "hash": s.Hash().String()}, nil
	case "direct-topic":
		var s protocol.Signed
		if err := protocol.Decode(data, protocol.MaxStatementSize, &s); err != nil {
			return nil, err
		}
		d, err := crypto.VerifyDirectTopic(network, &s)
		if err != nil {
			return nil, err
		}
		return map[string]any{"topic": d.ID().String(), "hash": s.Hash().String()}, nil
	case "receipt":
		var s protocol.Signed
		if err := protocol.Decode(data, protocol.MaxStatementSize, &s); err != nil {
			return nil, err
		}
		_, err := crypto.VerifyReceipt(network, &s)
		return nil, err
	case "node-request":
		var s protocol.Signed
		if err := protocol.Decode(data, protocol.MaxStatementSize, &s); err != nil {
			return nil, err
		}
		r, err := crypto.VerifyNodeRequest(&s)
		if err != nil {
			return nil, err
		}
		return map[string]any{"node": r.Entry.Node.String(), "words": strings.Join(r.Words(), " ")}, nil
	case "founding-request", "founding", "rotation-request", "rotation", "root-share", "share-proof":
		return readCeremony(message, data)
	case "sibling":
		var i protocol.SiblingItem
		if err := protocol.Decode(data, protocol.MaxSiblingItem+1<<10, &i); err != nil {
			return nil, err
		}
		if _, err := i.Open(); err != nil {
			return nil, err
		}
		return map[string]any{"hash": i.Hash().String()}, nil
	case "notice":
		return nil, protocol.Decode(data, protocol.MaxGossipSize, new(protocol.Notice))
	case "body":
		var b protocol.Body
		if err := protocol.Decode(data, protocol.MaxPlainSize, &b); err != nil {
			return nil, err
		}
		recs, err := crypto.VerifyBody(network, &b, cards)
		if err != nil {
			return nil, err
		}
		ids := []any{}
		for _, r := range recs {
			ids = append(ids, r.ID.String())
		}
		return map[string]any{"records": ids}, nil
	case "withdraw":
		var w protocol.WithdrawBody
		if err := protocol.Decode(data, protocol.MaxPlainSize, &w); err != nil {
			return nil, err
		}
		for i := range w.Exclusions {
			if _, err := crypto.VerifyExclusion(network, &w.Exclusions[i], cards); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "exclusion-acks":
		var list protocol.ExclusionAcks
		if err := protocol.Decode(data, protocol.MaxLetterSize, &list); err != nil {
			return nil, err
		}
		for i := range list.Acks {
			if _, err := crypto.VerifyExclusionAck(network, &list.Acks[i], cards); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "request":
		return nil, protocol.Decode(data, protocol.MaxLetterSize, new(protocol.InfoRequest))
	case "reply":
		return nil, protocol.Decode(data, protocol.MaxLetterSize, new(protocol.InfoReply))
	case "sync":
		return nil, protocol.Decode(data, protocol.MaxFrameSize, new(protocol.SyncMessage))
	case "hello":
		return nil, protocol.Decode(data, protocol.MaxHelloSize, new(protocol.Hello))
	case "dial-back":
		return nil, protocol.Decode(data, protocol.MaxDialBackSize, new(protocol.DialBackRequest))
	case "dial-back-answer":
		return nil, protocol.Decode(data, protocol.MaxDialBackSize, new(protocol.DialBackAnswer))
	case "invite":
		return nil, protocol.Decode(data, protocol.MaxInviteSize, new(protocol.Invite))
	case "handling":
		return nil, protocol.Decode(data, protocol.MaxStatementSize, new(protocol.Handling))
	case "grant":
		return nil, protocol.Decode(data, protocol.MaxBodySize, new(protocol.GrantBody))
	case "letter":
		return nil, protocol.Decode(data, protocol.MaxLetterSize+1<<10, new(protocol.Letter))
	}
	return nil, fmt.Errorf("no message is called %q", message)
}

// Samples returns one valid message of each kind, encoded.
func Samples() map[string][]byte {
	alice, bob := Alice(), Bob()
	g := Network()
	network := g.ID()
	genesis := must(crypto.SignStatement(protocol.StatementGenesis, protocol.Encode(g), protocol.NoNetwork, alice.Org, alice.Op))
	sp := &protocol.Sponsorship{Version: 1, Network: network, Sponsor: alice.Org, Invitee: bob.Org, Card: bob.Signed.Hash(), Issued: Now, Expires: Now + 1000}
	sponsorship := must(crypto.SignStatement(protocol.StatementSponsorship, protocol.Encode(sp), network, alice.Org, alice.Op))
	agreement := Agreement()
	signed := SignAgreement(&agreement, alice, bob)
	entry := alice.Entry(1, protocol.Hash{}, []byte("a sealed body would stand here"))
	term := &protocol.Termination{Version: 1, Network: network, Agreement: signed.ID(), Org: bob.Org, At: Now, Effective: Now, Reason: "test",
		Heads: []protocol.FeedHead{{Feed: entry.Header.Feed, Seq: 1, Hash: entry.Hash}}}
	termination := must(crypto.SignTermination(term, bob.Op))
	suspension := must(crypto.SignSuspension(&protocol.Suspension{Version: 1, Network: network, Agreement: signed.ID(), Org: bob.Org, Number: 2, At: Now, Reason: "test",
		Pauses: []protocol.Pause{{From: Now - 9, Until: Now - 5, Heads: []protocol.FeedHead{}}, {From: Now, Heads: term.Heads}}}, bob.Op))
	rejection := must(crypto.SignRejection(&protocol.Rejection{Version: 1, Network: network, Agreement: signed.ID(), Org: bob.Org, At: Now, Reason: "test"}, bob.Op))
	head := must(crypto.SignHead(&protocol.Head{Version: 1, Network: network, Origin: entry.Origin, Seq: 1, Hash: entry.Hash, At: Now, Every: 60}, alice.Signing))
	other := alice.Entry(1, protocol.Hash{}, []byte("another body of the same number"))
	fork := must(crypto.ForkOf(network, entry.Raw, other.Raw))
	erase := must(crypto.SignErase(&protocol.Erase{Version: 1, Network: network, Origin: entry.Origin, Reason: protocol.EraseLegal, At: Now,
		Entries: []protocol.ErasedEntry{{Seq: 1, Hash: entry.Hash}}, Records: []protocol.RecordID{{1}, {2}},
		Survivors: []protocol.EntryRef{{Feed: entry.Header.Feed, Seq: 2}}}, alice.Signing))
	handling := protocol.Handling{TLP: protocol.TLPRed, PAP: protocol.PAPAmber, Countries: []string{"TH", "VN"}, Personal: protocol.PersonalNetwork,
		Purposes: []string{"investigation"}, RetentionDays: 30, Excluded: []protocol.OrgID{Carol().Org}, Named: []protocol.OrgID{bob.Org}}
	handling.Normalise()
	receipt := must(crypto.SignReceipt(&protocol.Receipt{Version: 1, Network: network, Origin: entry.Origin, Holder: bob.Signing.Public(), Seq: 9, Hash: entry.Hash,
		Lacking: []uint64{3, 5}, Opened: []protocol.SeqRange{{From: 1, To: 2}, {From: 7, To: 9}}, At: Now}, bob.Signing))
	direct := must(crypto.SignDirectTopic(DirectTopic(alice, bob), alice.Signing))
	ask := must(crypto.SignErasureRequest(ErasureRequest(), alice.Op))
	answer := must(crypto.SignErasureAnswer(ErasureAnswer(), bob.Op))
	ack := must(crypto.SignExclusionAck(&protocol.ExclusionAckStatement{Version: 1, Network: network, Exclusion: protocol.Hash{1}, Org: bob.Org, Told: []protocol.OrgID{Carol().Org}, At: Now}, bob.Signing))
	out := map[string][]byte{
		"direct-topic":    protocol.Encode(&direct),
		"erasure-request": protocol.Encode(&ask),
		"erasure-answer":  protocol.Encode(&answer),
		"request": protocol.Encode(&protocol.InfoRequest{Version: 1, Network: network, ID: protocol.RequestID{1}, From: bob.Org, To: alice.Org, Agreement: signed.ID(),
			Purpose: "investigation", Text: "Who ran this server?", Values: []string{"198.51.100.7"}, At: Now}),
		"reply": protocol.Encode(&protocol.InfoReply{Version: 1, Network: network, Request: protocol.RequestID{1}, From: alice.Org, To: bob.Org, State: protocol.RequestAnswered,
			Text: "See the record.", Records: []protocol.RecordID{{1}, {2}}, At: Now}),
		"exclusion-acks": protocol.Encode(&protocol.ExclusionAcks{Version: 1, Acks: []protocol.ExclusionAck{ack}}),
		"card":           protocol.Encode(&alice.Signed),
		"receipt":        protocol.Encode(&receipt),
		"roster":         protocol.Encode(&sponsorship),
		"agreement":      protocol.Encode(signed),
		"termination":    protocol.Encode(&termination),
		"rejection":      protocol.Encode(&rejection),
		"suspension":     protocol.Encode(&suspension),
		"head":           protocol.Encode(&head),
		"envelope":       entry.Raw,
		"skeleton":       entry.Stripped().Raw,
		"fork":           protocol.Encode(fork),
		"erase":          protocol.Encode(&erase),
		"notice": protocol.Encode(&protocol.Notice{Version: 1, Heads: []protocol.Signed{head}, Forks: []protocol.ForkProof{*fork},
			Erases: []protocol.SignedErase{erase}}),
		"body":     protocol.Encode(alice.Body()),
		"withdraw": protocol.Encode(&protocol.WithdrawBody{Version: 1, SealedAt: Now, Reason: "false positive", Records: []protocol.RecordID{{1}, {2}}, Exclusions: []protocol.Exclusion{}}),
		"sync": protocol.Encode(&protocol.SyncMessage{Version: 1, Kind: protocol.SyncFrontier,
			Frontier: []protocol.FrontierEntry{{Origin: entry.Origin, Seq: 1, Hash: entry.Hash}}}),
		"hello":        protocol.Encode(&protocol.Hello{Version: 1, Network: network, Card: bob.Signed, Statements: []protocol.RosterStatement{sponsorship}}),
		"invite":       protocol.Encode(&protocol.Invite{Version: 1, Invitee: bob.Org, Cards: []protocol.SignedCard{alice.Signed}, Statements: []protocol.RosterStatement{genesis, sponsorship}}),
		"handling":     protocol.Encode(&handling),
		"grant":        protocol.Encode(&protocol.GrantBody{Version: 1, Slots: []protocol.GrantSlot{{Hint: [16]byte{1}, Sealed: []byte("an age file would stand here")}}}),
		"node-request": protocol.Encode(NodeRequest(alice)),
		"sibling":      protocol.Encode(SiblingItem(protocol.SiblingKeyItem, &protocol.SiblingKey{Feed: entry.Header.Feed, Number: 1, Key: [32]byte{7}, Audience: []protocol.OrgID{bob.Org}})),
		"letter": protocol.Encode(&protocol.Letter{Version: 1, Network: network, Sender: alice.Org, Feed: entry.Header.Feed, Seq: 1,
			Recipient: bob.Host.Public(), Kind: protocol.LetterProposal, Content: protocol.Encode(signed)}),
	}
	maps.Copy(out, dialBackSamples())
	maps.Copy(out, formSamples())
	maps.Copy(out, ceremonySamples())
	return out
}

// ErasureRequest is what Alice asks Bob to erase.
func ErasureRequest() *protocol.ErasureRequest {
	return &protocol.ErasureRequest{Version: 1, Network: Network().ID(), Org: Alice().Org, To: Bob().Org, Number: 7, At: Now, Due: Now + 30*24*3600*1000,
		Records: []protocol.RecordID{{1}, {2}}, Reason: protocol.EraseLegal, Onward: true, Text: "test"}
}

// ErasureAnswer is what Bob answers to ErasureRequest.
func ErasureAnswer() *protocol.ErasureAnswer {
	return &protocol.ErasureAnswer{Version: 1, Network: Network().ID(), Org: Bob().Org, To: Alice().Org, Request: protocol.ErasureName(protocol.Encode(ErasureRequest())),
		Number: 1, At: Now + 1000, Results: []protocol.ErasureResult{{Record: protocol.RecordID{1}, Outcome: protocol.OutcomeErased}, {Record: protocol.RecordID{2}, Outcome: protocol.OutcomeHold}},
		Exports: protocol.ExportsNone, Asked: []protocol.OrgID{Carol().Org}, Text: "test"}
}

// addErasures adds what is refused of requests to erase and of their answers.
func addErasures(out map[string][]Vector) {
	request := func(name, comment, class string, change func(*protocol.ErasureRequest)) {
		r := ErasureRequest()
		change(r)
		s := must(crypto.SignErasureRequest(r, Alice().Op))
		expect(out, "erasure-request", name, comment, class, protocol.Encode(&s))
	}
	request("unknown version", "A version that nobody knows.", "later-version", func(r *protocol.ErasureRequest) { r.Version = 2 })
	request("to itself", "From an organisation to itself.", "malformed", func(r *protocol.ErasureRequest) { r.To = r.Org })
	request("no number", "Two such requests would be one.", "malformed", func(r *protocol.ErasureRequest) { r.Number = 0 })
	request("due before it is made", "Nobody can answer in time.", "malformed", func(r *protocol.ErasureRequest) { r.Due = r.At })
	request("expiry as a reason", "What expires says so itself.", "malformed", func(r *protocol.ErasureRequest) { r.Reason = protocol.EraseExpired })
	request("no records", "It asks for nothing.", "oversize", func(r *protocol.ErasureRequest) { r.Records = []protocol.RecordID{} })
	request("too many records", "One more than fit.", "oversize", func(r *protocol.ErasureRequest) {
		r.Records = nil
		for i := range protocol.MaxErasedRecords + 1 {
			r.Records = append(r.Records, protocol.RecordID{byte(i >> 8), byte(i), 1})
		}
	})
	request("records out of order", "A set is sorted.", "malformed", func(r *protocol.ErasureRequest) { slices.Reverse(r.Records) })
	request("control characters", "In the text.", "malformed", func(r *protocol.ErasureRequest) { r.Text = "a\x1bb" })
	request("another network", "Lifted from there.", "bad-signature", func(r *protocol.ErasureRequest) { r.Network[0] ^= 1 })
	request("another organisation", "Signed by Alice in Carol's name.", "unknown-author", func(r *protocol.ErasureRequest) { r.Org = protocol.OrgID{9} })
	altered := must(crypto.SignErasureRequest(ErasureRequest(), Alice().Op))
	altered.Sig[0] ^= 1
	expect(out, "erasure-request", "signature altered", "One bit of it.", "bad-signature", protocol.Encode(&altered))

	answer := func(name, comment, class string, change func(*protocol.ErasureAnswer)) {
		a := ErasureAnswer()
		change(a)
		s := must(crypto.SignErasureAnswer(a, Bob().Op))
		expect(out, "erasure-answer", name, comment, class, protocol.Encode(&s))
	}
	answer("unknown version", "A version that nobody knows.", "later-version", func(a *protocol.ErasureAnswer) { a.Version = 2 })
	answer("to itself", "From an organisation to itself.", "malformed", func(a *protocol.ErasureAnswer) { a.To = a.Org })
	answer("no request", "It does not say to what it is an answer.", "malformed", func(a *protocol.ErasureAnswer) { a.Request = protocol.Hash{} })
	answer("no number", "Numbers begin with 1.", "malformed", func(a *protocol.ErasureAnswer) { a.Number = 0 })
	answer("no results", "It says nothing.", "oversize", func(a *protocol.ErasureAnswer) { a.Results = []protocol.ErasureResult{} })
	answer("results out of order", "A set is sorted.", "malformed", func(a *protocol.ErasureAnswer) { slices.Reverse(a.Results) })
	answer("unknown outcome", "Of a record.", "malformed", func(a *protocol.ErasureAnswer) { a.Results[0].Outcome = 5 })
	answer("kept without a basis", "Who keeps a record says on which basis.", "malformed", func(a *protocol.ErasureAnswer) {
		a.Results[0].Outcome, a.Text = protocol.OutcomeBasis, ""
	})
	answer("unknown word about exports", "Of a person.", "malformed", func(a *protocol.ErasureAnswer) { a.Exports = 0 })
	answer("organisations out of order", "Whom it asked, twice.", "malformed", func(a *protocol.ErasureAnswer) { a.Asked = append(a.Asked, a.Asked[0]) })
	answer("another network", "Lifted from there.", "bad-signature", func(a *protocol.ErasureAnswer) { a.Network[0] ^= 1 })
}

var specOf = map[string]string{"dial-back": "Dialling back", "dial-back-answer": "Dialling back", "direct-topic": "Direct feeds", "mandate": "On behalf of another", "mandate-revocation": "On behalf of another", "origin": "Origin withheld", "exclusion-acks": "Exclusions made later", "request": "Requests", "reply": "Requests", "erasure-request": "Asking to erase", "erasure-answer": "Asking to erase", "card": "Organisations and cards", "roster": "Networks", "agreement": "Agreements", "termination": "Agreements", "rejection": "Agreements", "suspension": "Agreements", "head": "Heads", "skeleton": "Feeds and envelopes", "fork": "Forks", "erase": "Erasure", "notice": "Notices", "receipt": "Receipts", "node-request": "Siblings", "sibling": "Siblings",
	"envelope": "Feeds and envelopes", "body": "Records and batches", "withdraw": "Records and batches", "sync": "Sync", "hello": "Networks",
	"invite": "Networks", "handling": "Handling", "grant": "Epochs and grants", "letter": "Agreements",
	"founding-request": "Files of ceremonies", "founding": "Files of ceremonies", "rotation-request": "Files of ceremonies", "rotation": "Files of ceremonies", "root-share": "Files of ceremonies", "share-proof": "Files of ceremonies"}

// Vectors returns all vectors by message.
func Vectors() map[string][]Vector {
	out := map[string][]Vector{}
	for message, data := range Samples() {
		v := func(name, comment string, data []byte) {
			out[message] = append(out[message], vector(message, name, comment, data))
		}
		v("valid", "A valid message.", data)
		v("empty", "No bytes at all.", nil)
		v("truncated", "The last byte is missing.", data[:len(data)-1])
		v("trailing byte", "A byte follows the message.", append(slices.Clone(data), 0))
		v("indefinite length", "The same array with an indefinite length; lengths are definite (RFC 8949, section 4.2.1).",
			append(append([]byte{0x9f}, data[1:]...), 0xff))
		v("longer head", "The length of the array in two bytes, where one is enough.", append([]byte{0x98, data[0] & 0x1f}, data[1:]...))
		v("one field more", "An array of one element more.", append(append([]byte{data[0] + 1}, data[1:]...), 0))
		v("tagged", "A tag before the message.", append([]byte{0xc1}, data...))
		v("a map", "A map in place of the array.", append([]byte{0xa1, 0x00}, data...))
	}
	addSigned(out)
	addErasures(out)
	addDirect(out)
	addCeremonies(out)
	addDialBack(out)
	return out
}

// DirectTopic is a direct topic of the first, for the organisations of both and of one country.
func DirectTopic(by, to *Person) *protocol.DirectTopic {
	orgs := []protocol.OrgID{by.Org, to.Org}
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	return &protocol.DirectTopic{Version: 1, Network: Network().ID(), Author: by.Signing.Public(), Name: "c2", Roster: orgs,
		Bounds: []protocol.Bound{protocol.BoundOf(orgs, &protocol.Holders{Countries: []string{"TH"}})}, Nonce: [32]byte{1}}
}

// addDirect adds direct topics that are refused.
func addDirect(out map[string][]Vector) {
	alice, bob := Alice(), Bob()
	network := Network().ID()
	direct := func(name, comment, class string, by *Person, change func(*protocol.DirectTopic)) {
		d := DirectTopic(alice, bob)
		change(d)
		s := protocol.Signed{Statement: protocol.Encode(d)}
		key := by.Signing.UnsafeSeed()
		sig := protocol.KeySignature{Key: by.Signing.Public()}
		copy(sig.Sig[:], ed25519.Sign(ed25519.NewKeyFromSeed(key[:]), protocol.SigningBytes(protocol.ContextDirectTopic, network, s.Statement)))
		s.Sigs = []protocol.KeySignature{sig}
		expect(out, "direct-topic", name, comment, class, protocol.Encode(&s))
	}
	same := func(*protocol.DirectTopic) {}
	direct("signed by another", "Bob signs Alice's topic.", "bad-signature", bob, same)
	direct("of another network", "One bit of the network's id.", "wrong-context", alice, func(d *protocol.DirectTopic) { d.Network[0] ^= 1 })
	direct("unknown version", "Version 2.", "later-version", alice, func(d *protocol.DirectTopic) { d.Version = 2 })
	direct("nobody on its roster", "A roster has one organisation at least.", "oversize", alice, func(d *protocol.DirectTopic) { d.Roster = []protocol.OrgID{} })
	direct("roster out of order", "The roster is a set.", "malformed", alice, func(d *protocol.DirectTopic) { slices.Reverse(d.Roster) })
	direct("organisation twice", "The roster is a set.", "malformed", alice, func(d *protocol.DirectTopic) { d.Roster = append(d.Roster, d.Roster[1]) })
	direct("too many on its roster", "More than MaxDirectRoster.", "oversize", alice, func(d *protocol.DirectTopic) {
		d.Roster = nil
		for i := range protocol.MaxDirectRoster + 1 {
			d.Roster = append(d.Roster, protocol.OrgID{byte(i >> 8), byte(i), 1})
		}
	})
	direct("no bounds", "What every member may hold has no direct topic.", "oversize", alice, func(d *protocol.DirectTopic) { d.Bounds = []protocol.Bound{} })
	direct("too many bounds", "More than MaxDirectBounds.", "oversize", alice, func(d *protocol.DirectTopic) {
		d.Bounds = nil
		for i := range protocol.MaxDirectBounds + 1 {
			d.Bounds = append(d.Bounds, protocol.Bound{Orgs: []protocol.OrgID{{byte(i)}}, Countries: []string{}})
		}
	})
	direct("bound of every country", "It would be none.", "malformed", alice, func(d *protocol.DirectTopic) { d.Bounds[0].Countries = []string{"*"} })
	direct("no country", "Not ISO 3166-1 alpha-2.", "malformed", alice, func(d *protocol.DirectTopic) { d.Bounds[0].Countries = []string{"th"} })
	direct("organisations of a bound out of order", "They are a set.", "malformed", alice, func(d *protocol.DirectTopic) { slices.Reverse(d.Bounds[0].Orgs) })
	direct("name of the control topic", "A direct topic carries records of a topic that people name.", "malformed", alice, func(d *protocol.DirectTopic) { d.Name = protocol.ControlTopic })
}

func vector(message, name, comment string, data []byte) Vector {
	output, err := Read(message, data)
	v := Vector{Name: name, Spec: specOf[message], Comment: comment, Message: message, Bytes: hex.EncodeToString(data), Expect: protocol.Class(err)}
	if err == nil {
		v.Output = output
	}
	return v
}

// expect is vector with the class that the generator means, so that a vector never states
// just what the code happens to do.
func expect(out map[string][]Vector, message, name, comment, class string, data []byte) {
	v := vector(message, name, comment, data)
	if v.Expect != class {
		panic(fmt.Sprintf("vector %s %q: got %s, meant %s", message, name, v.Expect, class))
	}
	out[message] = append(out[message], v)
}

// addHops adds records that were passed on, and what is refused of their way.
func addHops(out map[string][]Vector) {
	alice, bob, carol := Alice(), Bob(), Carol()
	network := Network().ID()
	hop := func(p *Person, b *protocol.Body) {
		if err := crypto.SignHop(network, p.Org, p.Signing, Now, &b.Batches[0]); err != nil {
			panic(err)
		}
	}
	passed := func(name, comment, class string, change func(*protocol.Body)) {
		b := alice.Body()
		hop(bob, b)
		hop(carol, b)
		change(b)
		expect(out, "body", name, comment, class, protocol.Encode(b))
	}
	passed("passed on twice", "By Bob, then by Carol.", "ok", func(*protocol.Body) {})
	passed("hop altered", "One bit of its signature.", "bad-signature", func(b *protocol.Body) { b.Batches[0].Hops[1].Sig[0] ^= 1 })
	passed("hop left out", "Carol's statement names Bob's, which is not there.", "wrong-context", func(b *protocol.Body) { b.Batches[0].Hops = b.Batches[0].Hops[1:] })
	passed("hops in another order", "Each names the one before it.", "wrong-context", func(b *protocol.Body) { slices.Reverse(b.Batches[0].Hops) })
	passed("hop of another batch", "Lifted from what Carol passed on of another batch.", "wrong-context", func(b *protocol.Body) {
		other := bob.Body()
		hop(carol, other)
		b.Batches[0].Hops = other.Batches[0].Hops
	})
	passed("one organisation twice", "It goes round.", "wrong-context", func(b *protocol.Body) {
		b.Batches[0].Hops = append(b.Batches[0].Hops, hopOf(bob, &b.Batches[0]))
	})
	passed("by its originator", "Alice made it, and passes it on.", "wrong-context", func(b *protocol.Body) {
		b.Batches[0].Hops = nil
		hop(alice, b)
	})
	passed("by a key of nobody", "No card of Mallory is known.", "unknown-author", func(b *protocol.Body) { hop(Mallory(), b) })
	passed("too many hops", "More than MaxHops.", "oversize", func(b *protocol.Body) {
		for len(b.Batches[0].Hops) <= protocol.MaxHops {
			b.Batches[0].Hops = append(b.Batches[0].Hops, b.Batches[0].Hops[1])
		}
	})
}

// addExclusions adds what originators say after they published, and what is refused of it.
func addExclusions(out map[string][]Vector) {
	alice, bob, carol := Alice(), Bob(), Carol()
	exclusion := func(name, comment, class string, change func(*protocol.ExclusionStatement, *protocol.Exclusion)) {
		st := &protocol.ExclusionStatement{Version: 1, Network: Network().ID(), Originator: alice.Org, Records: []protocol.RecordID{{1}, {2}}, Excluded: []protocol.OrgID{carol.Org}, At: Now}
		change(st, nil)
		x := must(crypto.SignExclusion(st, alice.Signing))
		change(st, &x)
		expect(out, "withdraw", name, comment, class, protocol.Encode(&protocol.WithdrawBody{Version: 1, SealedAt: Now, Records: []protocol.RecordID{}, Exclusions: []protocol.Exclusion{x}}))
	}
	before := func(fn func(*protocol.ExclusionStatement)) func(*protocol.ExclusionStatement, *protocol.Exclusion) {
		return func(st *protocol.ExclusionStatement, x *protocol.Exclusion) {
			if x == nil {
				fn(st)
			}
		}
	}
	exclusion("exclusion", "Alice takes two records back from Carol.", "ok", before(func(*protocol.ExclusionStatement) {}))
	exclusion("exclusion in another's name", "Alice's key, Bob's records.", "unknown-author", before(func(st *protocol.ExclusionStatement) { st.Originator = bob.Org }))
	exclusion("exclusion of another network", "", "wrong-context", before(func(st *protocol.ExclusionStatement) { st.Network = protocol.NoNetwork }))
	exclusion("exclusion altered", "One bit of the signature.", "bad-signature", func(_ *protocol.ExclusionStatement, x *protocol.Exclusion) {
		if x != nil {
			x.Sig[0] ^= 1
		}
	})
	exclusion("exclusion of nobody", "", "oversize", func(st *protocol.ExclusionStatement, x *protocol.Exclusion) {
		if x != nil {
			st.Excluded = []protocol.OrgID{}
			x.Statement = protocol.Encode(st)
		}
	})
	expect(out, "withdraw", "neither records nor exclusions", "It says nothing.", "oversize", protocol.Encode(&protocol.WithdrawBody{Version: 1, SealedAt: Now, Records: []protocol.RecordID{}, Exclusions: []protocol.Exclusion{}}))
	expect(out, "withdraw", "too many exclusions", "More than MaxExclusions.", "oversize", protocol.Encode(&protocol.WithdrawBody{Version: 1, SealedAt: Now, Records: []protocol.RecordID{},
		Exclusions: make([]protocol.Exclusion, protocol.MaxExclusions+1)}))
}

// addAcks adds what those who are told of an exclusion say.
func addAcks(out map[string][]Vector) {
	alice, bob, carol := Alice(), Bob(), Carol()
	ack := func(name, comment, class string, change func(st *protocol.ExclusionAckStatement), spoil func(a *protocol.ExclusionAck)) {
		st := &protocol.ExclusionAckStatement{Version: 1, Network: Network().ID(), Exclusion: protocol.Hash{1}, Org: bob.Org, Told: []protocol.OrgID{carol.Org}, At: Now}
		if change != nil {
			change(st)
		}
		a := must(crypto.SignExclusionAck(st, bob.Signing))
		if spoil != nil {
			spoil(&a)
		}
		expect(out, "exclusion-acks", name, comment, class, protocol.Encode(&protocol.ExclusionAcks{Version: 1, Acks: []protocol.ExclusionAck{a}}))
	}
	ack("acknowledgement in another's name", "Bob's key, Alice's name.", "unknown-author", func(st *protocol.ExclusionAckStatement) { st.Org = alice.Org }, nil)
	ack("acknowledgement of another network", "", "wrong-context", func(st *protocol.ExclusionAckStatement) { st.Network = protocol.NoNetwork }, nil)
	ack("acknowledgement altered", "One bit of the signature.", "bad-signature", nil, func(a *protocol.ExclusionAck) { a.Sig[0] ^= 1 })
	ack("acknowledgement that counts others", "MORE organisations, where there is room to name them.", "oversize", nil, func(a *protocol.ExclusionAck) {
		st := new(protocol.ExclusionAckStatement)
		if err := protocol.Decode(a.Statement, protocol.MaxLetterSize, st); err != nil {
			panic(err)
		}
		st.More = 1
		a.Statement = protocol.Encode(st)
	})
	expect(out, "exclusion-acks", "no acknowledgements", "It says nothing.", "oversize", protocol.Encode(&protocol.ExclusionAcks{Version: 1}))
}

// addRequests adds what is refused of requests and replies.
func addRequests(out map[string][]Vector) {
	signed := Agreement()
	request := func(name, comment, class string, change func(*protocol.InfoRequest)) {
		r := &protocol.InfoRequest{Version: 1, Network: Network().ID(), ID: protocol.RequestID{1}, From: Bob().Org, To: Alice().Org, Agreement: protocol.NewAgreementID(protocol.Encode(&signed)),
			Text: "Who ran this server?", Values: []string{}, At: Now}
		change(r)
		expect(out, "request", name, comment, class, protocol.Encode(r))
	}
	request("request for nothing", "Neither text nor values.", "malformed", func(r *protocol.InfoRequest) { r.Text = "" })
	request("request of oneself", "", "malformed", func(r *protocol.InfoRequest) { r.To = r.From })
	request("request of an unknown version", "", "later-version", func(r *protocol.InfoRequest) { r.Version = 2 })
	request("request with too many values", "More than MaxRequestValues.", "oversize", func(r *protocol.InfoRequest) {
		for range protocol.MaxRequestValues + 1 {
			r.Values = append(r.Values, "198.51.100.7")
		}
	})
	reply := func(name, comment, class string, change func(*protocol.InfoReply)) {
		p := &protocol.InfoReply{Version: 1, Network: Network().ID(), Request: protocol.RequestID{1}, From: Alice().Org, To: Bob().Org, State: protocol.RequestDeclined, Text: "No.", Records: []protocol.RecordID{}, At: Now}
		change(p)
		expect(out, "reply", name, comment, class, protocol.Encode(p))
	}
	reply("reply that is none", "State 3.", "malformed", func(p *protocol.InfoReply) { p.State = 3 })
	reply("reply with records out of order", "", "malformed", func(p *protocol.InfoReply) { p.Records = []protocol.RecordID{{2}, {1}} })
}

// hopOf is a hop that no honest node signs: its organisation passed the batch on before.
func hopOf(p *Person, part *protocol.BatchPart) protocol.Hop {
	last := &part.Hops[len(part.Hops)-1]
	first := &protocol.BatchPart{Statement: part.Statement}
	if err := crypto.SignHop(Network().ID(), p.Org, p.Signing, Now, first); err != nil {
		panic(err)
	}
	st := new(protocol.HopStatement)
	if err := protocol.Decode(first.Hops[0].Statement, protocol.MaxStatementSize, st); err != nil {
		panic(err)
	}
	st.Previous = last.Hash()
	h := protocol.Hop{Statement: protocol.Encode(st)}
	key := p.seed("signing")
	copy(h.Sig[:], ed25519.Sign(ed25519.NewKeyFromSeed(key[:]), protocol.SigningBytes(protocol.ContextHop, Network().ID(), h.Statement)))
	return h
}

// addEndings adds what parties say of an agreement, and what is refused of it.
func addEndings(out map[string][]Vector) {
	alice, bob := Alice(), Bob()
	agreement := Agreement()
	id := SignAgreement(&agreement, alice, bob).ID()
	heads := []protocol.FeedHead{{Feed: protocol.FeedID{1}, Seq: 7, Hash: protocol.Hash{2}}}

	termination := func(name, comment, class string, change func(*protocol.Termination)) {
		t := &protocol.Termination{Version: 1, Network: Network().ID(), Agreement: id, Org: bob.Org, At: Now, Effective: Now, Reason: "test", Heads: []protocol.FeedHead{}}
		change(t)
		signed := must(crypto.SignTermination(t, bob.Op))
		expect(out, "termination", name, comment, class, protocol.Encode(&signed))
	}
	termination("with notice", "It counts a month after it was signed, and names no heads.", "ok", func(t *protocol.Termination) { t.Effective += 30 * 24 * 3600 * 1000 })
	termination("with notice and heads", "Heads say what was held at the end, which is to come.", "malformed", func(t *protocol.Termination) { t.Effective, t.Heads = t.At+1, heads })
	termination("counts before it was signed", "Nobody ends what was.", "malformed", func(t *protocol.Termination) { t.Effective = t.At - 1 })
	termination("of another organisation", "Bob's key, Alice's name.", "bad-signature", func(t *protocol.Termination) { t.Org = alice.Org })

	suspension := func(name, comment, class string, change func(*protocol.Suspension)) {
		s := &protocol.Suspension{Version: 1, Network: Network().ID(), Agreement: id, Org: bob.Org, Number: 1, At: Now, Reason: "test",
			Pauses: []protocol.Pause{{From: Now, Heads: heads}}}
		change(s)
		signed := must(crypto.SignSuspension(s, bob.Op))
		expect(out, "suspension", name, comment, class, protocol.Encode(&signed))
	}
	suspension("resumed", "The only time is over.", "ok", func(s *protocol.Suspension) { s.Number, s.Pauses[0].From, s.Pauses[0].Until = 2, Now-1, Now })
	suspension("no number", "Numbers begin with 1.", "malformed", func(s *protocol.Suspension) { s.Number = 0 })
	suspension("no time", "It lists no time.", "malformed", func(s *protocol.Suspension) { s.Pauses = []protocol.Pause{} })
	suspension("open time in the middle", "Only the last may be open.", "malformed", func(s *protocol.Suspension) { s.Pauses = append(s.Pauses, protocol.Pause{From: Now, Heads: heads}) })
	suspension("times out of order", "The second begins in the first.", "malformed", func(s *protocol.Suspension) {
		s.Pauses = []protocol.Pause{{From: Now - 9, Until: Now - 1, Heads: heads}, {From: Now - 5, Heads: heads}}
	})
	suspension("ends after it was signed", "What is to come is not known.", "malformed", func(s *protocol.Suspension) { s.Pauses[0].Until = Now + 1 })
	suspension("too many heads", "More than MaxTerminationHeads in all.", "oversize", func(s *protocol.Suspension) {
		many := make([]protocol.FeedHead, protocol.MaxTerminationHeads)
		s.Pauses = []protocol.Pause{{From: Now - 9, Until: Now - 5, Heads: many}, {From: Now, Heads: heads}}
	})
	suspension("another network", "Signed for no network.", "bad-signature", func(s *protocol.Suspension) { s.Network = protocol.NoNetwork })
}

// addSigned adds what is well formed and yet refused.
func addSigned(out map[string][]Vector) {
	alice, bob, carol, mallory := Alice(), Bob(), Carol(), Mallory()
	network := Network().ID()

	card := alice.Signed
	card.Sig[0] ^= 1
	expect(out, "card", "signature altered", "One bit of the signature.", "bad-signature", protocol.Encode(&card))
	card = must(crypto.SignCard(&alice.Card, mallory.Op))
	expect(out, "card", "signed by another key", "The operational key is not that of the root epoch.", "bad-signature", protocol.Encode(&card))
	stolen := alice.Card
	stolen.Nodes = slices.Clone(bob.Card.Nodes)
	card = must(crypto.SignCard(&stolen, alice.Op))
	expect(out, "card", "node of another organisation", "Bob's node on Alice's card.", "bad-signature", protocol.Encode(&card))
	stolen = alice.Card
	stolen.Removed = []protocol.RemovedNode{{Node: bob.Host.Public(), Signing: bob.Signing.Public(), At: Now, Binding: bob.Card.Nodes[0].Binding}}
	card = must(crypto.SignCard(&stolen, alice.Op))
	expect(out, "card", "removes a node of another organisation", "Alice cannot end Bob's node.", "bad-signature", protocol.Encode(&card))
	one := carol.Card
	one.RootEpoch.Sigs = one.RootEpoch.Sigs[:1]
	card = must(crypto.SignCard(&one, carol.Op))
	expect(out, "card", "one root signature missing", "Two of two root keys are needed.", "bad-signature", protocol.Encode(&card))
	expect(out, "card", "two root keys", "Both are there.", "ok", protocol.Encode(&carol.Signed))
	lifted := alice.Card
	lifted.RootEpoch = bob.Card.RootEpoch
	card = must(crypto.SignCard(&lifted, bob.Op))
	expect(out, "card", "root epoch of another organisation", "Lifted from Bob's card.", "wrong-context", protocol.Encode(&card))

	addEndings(out)

	g := Network()
	genesis := must(crypto.SignStatement(protocol.StatementGenesis, protocol.Encode(g), protocol.NoNetwork, alice.Org, alice.Op))
	expect(out, "roster", "genesis", "It is signed without a network, since it makes the network's id.", "ok", protocol.Encode(&genesis))
	removal := &protocol.Removal{Version: 1, Network: network, Steward: alice.Org, Removed: bob.Org, At: Now, Reason: "test"}
	st := must(crypto.SignStatement(protocol.StatementRemoval, protocol.Encode(removal), network, alice.Org, alice.Op))
	expect(out, "roster", "removal", "By a steward.", "ok", protocol.Encode(&st))
	st = must(crypto.SignStatement(protocol.StatementRemoval, protocol.Encode(removal), network, alice.Org, mallory.Op))
	expect(out, "roster", "signed by another key", "Mallory's key in Alice's name.", "bad-signature", protocol.Encode(&st))
	st = must(crypto.SignStatement(protocol.StatementRemoval, protocol.Encode(removal), network, bob.Org, bob.Op))
	expect(out, "roster", "signed by another organisation", "The statement names Alice.", "bad-signature", protocol.Encode(&st))
	st = must(crypto.SignStatement(protocol.StatementSponsorship, protocol.Encode(removal), network, alice.Org, alice.Op))
	expect(out, "roster", "another kind", "A removal that says it is a sponsorship.", "malformed", protocol.Encode(&st))
	var secret [32]byte
	topic := &protocol.TopicSecret{Version: 1, Network: network, Issuer: alice.Org, Period: 1, Commitment: protocol.CommitTopicSecret(secret), Created: Now,
		Shares: []protocol.SecretShare{{Node: bob.Host.Public(), Sealed: []byte("an age file would stand here")}}}
	st = must(crypto.SignStatement(protocol.StatementTopicSecret, protocol.Encode(topic), network, alice.Org, alice.Op))
	expect(out, "roster", "topic secret", "Shares are sealed to nodes.", "ok", protocol.Encode(&st))

	a := Agreement()
	expect(out, "agreement", "one signature missing", "Only Alice signed.", "bad-signature", protocol.Encode(SignAgreement(&a, alice)))
	expect(out, "agreement", "signed by a stranger too", "Carol is no party.", "bad-signature", protocol.Encode(SignAgreement(&a, alice, bob, carol)))
	other := Agreement()
	other.Network = protocol.NetworkID{1}
	expect(out, "agreement", "another network", "Valid in the other network.", "wrong-context", protocol.Encode(SignAgreement(&other, alice, bob)))
	changed := SignAgreement(&a, alice, bob)
	wider := Agreement()
	wider.Terms[0].TLP = protocol.TLPRed
	changed.Statement = protocol.Encode(&wider)
	expect(out, "agreement", "a term changed after signing", "The ceiling was raised.", "bad-signature", protocol.Encode(changed))

	entry := alice.Entry(1, protocol.Hash{}, []byte("body"))
	second := alice.Entry(2, entry.Hash, []byte("body two"))
	expect(out, "envelope", "second entry", "It names the hash of the first.", "ok", second.Raw)
	addEvidence(out, entry, second)
	addSiblings(out, entry)
	elsewhere := must(crypto.SignEnvelope(protocol.NetworkID{1}, entry.Origin, protocol.EntryRecords, 1, protocol.Hash{}, []byte("body"), alice.Signing))
	expect(out, "envelope", "another network", "The feed's id covers the network.", "wrong-context", elsewhere.Raw)
	forged := must(crypto.SignEnvelope(network, entry.Origin, protocol.EntryRecords, 1, protocol.Hash{}, []byte("body"), mallory.Signing))
	expect(out, "envelope", "signed by another key", "Mallory signs in Alice's feed.", "bad-signature", forged.Raw)
	var e protocol.Envelope
	if err := protocol.Decode(entry.Raw, protocol.MaxEnvelopeSize, &e); err != nil {
		panic(err)
	}
	e.Body = []byte("bodY")
	expect(out, "envelope", "body altered", "The header holds the hash of the body.", "malformed", protocol.Encode(&e))

	b := alice.Body()
	b.Batches[0].Items[1].Object = slices.Clone(b.Batches[0].Items[1].Object)
	b.Batches[0].Items[1].Object[10] ^= 1
	expect(out, "body", "object altered", "The Merkle root does not cover it.", "bad-signature", protocol.Encode(b))
	b = alice.Body()
	b.Batches[0].Items = b.Batches[0].Items[:2]
	expect(out, "body", "record missing from a whole batch", "The statement counts three.", "bad-signature", protocol.Encode(b))
	b = alice.Body()
	part := must(crypto.PartOf(b, 0, []int{1}))
	b.Batches[0] = part
	expect(out, "body", "part of a batch", "One record with its salt and path verifies alone.", "ok", protocol.Encode(b))
	b.Batches[0].Items[0].Index = 2
	expect(out, "body", "part at another index", "The path proves the index too.", "bad-signature", protocol.Encode(b))
	h := protocol.Handling{TLP: protocol.TLPClear}
	h.Normalise()
	b = alice.Body()
	b.Handlings[0] = protocol.Encode(&h)
	expect(out, "body", "handling widened", "The leaf covers the handling.", "bad-signature", protocol.Encode(b))
	addHops(out)
	addExclusions(out)
	addAcks(out)
	addRequests(out)
	addForms(out)
	expect(out, "body", "unknown originator", "No card of Mallory is known.", "unknown-author", protocol.Encode(mallory.Body()))
}

// NodeRequest is the request of a second node of somebody's organisation: with the keys of the
// first, since what counts is who signed.
func NodeRequest(p *Person) *protocol.Signed {
	s := must(crypto.SignNodeRequest(&protocol.NodeRequest{Version: 1, Org: p.Org, Entry: p.Card.Nodes[0]}, p.Signing))
	return &s
}

// SiblingItem wraps what siblings hold.
func SiblingItem(kind protocol.SiblingKind, v any) *protocol.SiblingItem {
	return &protocol.SiblingItem{Kind: kind, Content: protocol.Encode(v)}
}

// addSiblings adds what can be wrong with what nodes of one organisation say to one another.
func addSiblings(out map[string][]Vector, entry *crypto.VerifiedEnvelope) {
	alice, bob, mallory := Alice(), Bob(), Mallory()
	request := *NodeRequest(alice)
	request.Sigs = []protocol.KeySignature{{Key: request.Sigs[0].Key}}
	expect(out, "node-request", "signature altered", "The signature is zeros.", "bad-signature", protocol.Encode(&request))
	byOther := must(crypto.SignNodeRequest(&protocol.NodeRequest{Version: 1, Org: alice.Org, Entry: alice.Card.Nodes[0]}, mallory.Signing))
	expect(out, "node-request", "signed by another node", "Mallory asks in the name of Alice's node.", "bad-signature", protocol.Encode(&byOther))
	elsewhere := must(crypto.SignNodeRequest(&protocol.NodeRequest{Version: 1, Org: bob.Org, Entry: alice.Card.Nodes[0]}, alice.Signing))
	expect(out, "node-request", "bound to another organisation", "The binding is to Alice's organisation.", "bad-signature", protocol.Encode(&elsewhere))

	item := func(name, comment, class string, kind protocol.SiblingKind, v any) {
		expect(out, "sibling", name, comment, class, protocol.Encode(SiblingItem(kind, v)))
	}
	signed := Agreement()
	end := must(crypto.SignTermination(&protocol.Termination{Version: 1, Network: Network().ID(), Agreement: SignAgreement(&signed, alice, bob).ID(), Org: bob.Org, At: Now, Effective: Now, Reason: "test"}, bob.Op))
	ends := [][]byte{protocol.Encode(&end)}
	item("agreement", "With the termination of a party.", "ok", protocol.SiblingAgreementItem, &protocol.SiblingAgreement{Proposer: alice.Org, Signed: protocol.Encode(SignAgreement(&signed, alice, bob)), Rejections: [][]byte{}, Terminations: ends})
	item("one ending twice", "Endings are a set.", "malformed", protocol.SiblingAgreementItem, &protocol.SiblingAgreement{Proposer: alice.Org, Rejections: [][]byte{}, Terminations: [][]byte{ends[0], ends[0]}})
	item("trust", "Bob is trusted.", "ok", protocol.SiblingPinItem, &protocol.SiblingPin{Org: bob.Org, At: Now, Trusted: true})
	item("topic left", "The nodes are not in it any more.", "ok", protocol.SiblingTopicItem, &protocol.SiblingTopic{Name: "c2", At: Now})
	item("topic with a bad name", "Names are tokens.", "malformed", protocol.SiblingTopicItem, &protocol.SiblingTopic{Name: "C 2", At: Now})
	item("topic secret", "Of period 1.", "ok", protocol.SiblingSecretItem, &protocol.SiblingTopicSecret{Period: 1, Secret: [32]byte{1}})
	item("erasure", "Of two records.", "ok", protocol.SiblingErasureItem, &protocol.SiblingErasure{Records: []protocol.RecordID{{1}, {2}}, Reason: protocol.EraseLegal, At: Now})
	item("erasure in no order", "Records are a set.", "malformed", protocol.SiblingErasureItem, &protocol.SiblingErasure{Records: []protocol.RecordID{{2}, {1}}, Reason: protocol.EraseLegal, At: Now})
	item("erasure of nothing", "It would say nothing.", "oversize", protocol.SiblingErasureItem, &protocol.SiblingErasure{Records: []protocol.RecordID{}, Reason: protocol.EraseLegal, At: Now})
	item("publication", "Sealed for Bob.", "ok", protocol.SiblingPublicationItem, &protocol.SiblingPublication{Feed: entry.Header.Feed, Seq: 1, Orgs: []protocol.OrgID{bob.Org}, Topic: "c2", At: Now})
	item("publication of entry 0", "Feeds begin with 1.", "malformed", protocol.SiblingPublicationItem, &protocol.SiblingPublication{Feed: entry.Header.Feed, Orgs: []protocol.OrgID{}, Topic: "c2", At: Now})
	item("addresses", "Where a node listens.", "ok", protocol.SiblingAddrsItem, &protocol.SiblingAddrs{Node: alice.Host.Public(), At: Now, Addrs: []string{"/ip4/192.0.2.1/udp/4401/quic-v1"}})
	item("an address that is none", "Addresses are multiaddrs.", "malformed", protocol.SiblingAddrsItem, &protocol.SiblingAddrs{Node: alice.Host.Public(), At: Now, Addrs: []string{"192.0.2.1"}})
	addrs := func(name, comment, class, addr string) {
		item(name, comment, class, protocol.SiblingAddrsItem, &protocol.SiblingAddrs{Node: alice.Host.Public(), At: Now, Addrs: []string{addr}})
	}
	byRelay := protocol.RelayedAddr("/ip4/192.0.2.9/tcp/443", bob.Host.Public())
	addrs("address by way of a relay", "Bob's node relays.", "ok", byRelay)
	addrs("a relay", "The node says that it relays.", "ok", protocol.RelayHere)
	addrs("address with a peer", "Direct addresses name no peer.", "malformed", "/ip4/192.0.2.1/tcp/4401/p2p/"+alice.Host.Public().String())
	addrs("two hops", "One relay at most.", "malformed", protocol.RelayedAddr(byRelay, alice.Host.Public()))
	addrs("a relay that is not named", "Who dials must know whom to expect.", "malformed", "/ip4/192.0.2.9/tcp/443/p2p-circuit")
	offer := must(crypto.SignRules(&protocol.RulesOffer{Version: 1, Org: alice.Org, Number: Now, File: "own.cedar", Text: []byte("// nothing")}, alice.Op))
	item("rules", "Which set a node has in force.", "ok", protocol.SiblingRulesItem, &protocol.SiblingRules{Node: alice.Host.Public(), At: Now, Set: protocol.Hash{1}, Offer: []protocol.OrgSigned{}})
	item("rules for all nodes", "Signed with the operational key.", "ok", protocol.SiblingRulesItem, &protocol.SiblingRules{Node: alice.Host.Public(), At: Now, Set: protocol.Hash{1}, Offer: []protocol.OrgSigned{offer}})
	item("two sets for all nodes", "One counts.", "malformed", protocol.SiblingRulesItem, &protocol.SiblingRules{Node: alice.Host.Public(), At: Now, Set: protocol.Hash{1}, Offer: []protocol.OrgSigned{offer, offer}})
	wants := &protocol.Recipient{Version: 1, Org: alice.Org, Node: alice.Host.Public(), At: Now, Recipient: "age1pq1placeholder"}
	item("recipient", "The age recipient that a node wants on the card.", "ok", protocol.SiblingRecipients, must(crypto.SignRecipient(wants, alice.Signing)))
	item("recipient of a length that none has", "The statement is bounded.", "oversize", protocol.SiblingRecipients, &protocol.SiblingRecipient{Node: alice.Host.Public(), Statement: make([]byte, protocol.MaxRecipientSize+1<<10+1)})
	person := func(p protocol.SiblingPerson) *protocol.SiblingPerson {
		p.ID, p.Version, p.Name, p.User = "alice", 1, "Alice Example", "alice"
		return &p
	}
	item("person", "She reads, and publishes no more.", "ok", protocol.SiblingPersonItem, person(protocol.SiblingPerson{Term: 1, Roles: []protocol.PersonRole{{Role: "publisher", Count: 2}, {Role: "reader", Count: 1}}}))
	item("person who left", "An even term.", "ok", protocol.SiblingPersonItem, person(protocol.SiblingPerson{Term: 2, Roles: []protocol.PersonRole{}}))
	item("roles in no order", "They are a set.", "malformed", protocol.SiblingPersonItem, person(protocol.SiblingPerson{Term: 1, Roles: []protocol.PersonRole{{Role: "reader", Count: 1}, {Role: "publisher", Count: 1}}}))
	item("person who cannot be removed", "A term has a bound that is even.", "malformed", protocol.SiblingPersonItem, person(protocol.SiblingPerson{Term: protocol.MaxPersonCount + 1, Roles: []protocol.PersonRole{}}))
	item("person without a term", "They never came.", "malformed", protocol.SiblingPersonItem, person(protocol.SiblingPerson{Roles: []protocol.PersonRole{}}))
	item("second person", "Two sign agreements.", "ok", protocol.SiblingSecondItem, &protocol.SiblingSecond{Act: "agreement-sign", Version: 1, Two: true, Role: "officer"})
	item("second person without a version", "Versions begin with 1.", "malformed", protocol.SiblingSecondItem, &protocol.SiblingSecond{Act: "agreement-sign", Two: true, Role: "officer"})
	item("unknown kind", "A newer node's; it is left out.", "ok", 99, &protocol.SiblingPin{})
}

// addEvidence adds what can be wrong with fork proofs and erases.
func addEvidence(out map[string][]Vector, entry, second *crypto.VerifiedEnvelope) {
	alice, mallory := Alice(), Mallory()
	network := Network().ID()
	expect(out, "skeleton", "with its body", "A skeleton is an envelope without its body.", "malformed", entry.Raw)
	expect(out, "envelope", "without its body", "Only an erase excuses a missing body.", "malformed", entry.Stripped().Raw)
	header := func(e *crypto.VerifiedEnvelope) protocol.SignedHeader {
		var env protocol.Envelope
		if err := protocol.Decode(e.Raw, protocol.MaxEnvelopeSize, &env); err != nil {
			panic(err)
		}
		return protocol.SignedHeader{Header: env.Header, Sig: env.Sig}
	}
	other := alice.Entry(1, protocol.Hash{}, []byte("another body"))
	fork := func(a, b protocol.SignedHeader) *protocol.ForkProof {
		return protocol.NewForkProof(network, entry.Origin, a, b)
	}
	good := fork(header(entry), header(other))
	expect(out, "fork", "two entries of one number", "Signed by one node, in one feed.", "ok", protocol.Encode(good))
	swapped := *good
	swapped.A, swapped.B = good.B, good.A
	expect(out, "fork", "in the other order", "A fork has one proof.", "malformed", protocol.Encode(&swapped))
	expect(out, "fork", "one entry twice", "It contradicts nothing.", "malformed", protocol.Encode(fork(header(entry), header(entry))))
	expect(out, "fork", "entries of two numbers", "They follow one another.", "malformed", protocol.Encode(fork(header(entry), header(second))))
	forged := *good
	forged.B.Sig[0] ^= 1
	expect(out, "fork", "a signature altered", "Nobody can be blamed for what it did not sign.", "bad-signature", protocol.Encode(&forged))
	moved := *good
	moved.Network = protocol.NetworkID{1}
	expect(out, "fork", "another network", "The feed does not follow from it.", "wrong-context", protocol.Encode(&moved))

	erase := &protocol.Erase{Version: 1, Network: network, Origin: entry.Origin, Reason: protocol.EraseRequest, At: Now,
		Entries: []protocol.ErasedEntry{{Seq: 1, Hash: entry.Hash}}}
	byOrg := must(crypto.SignEraseByOrg(erase, alice.Op))
	expect(out, "erase", "signed by the organisation", "Where the node is no more.", "ok", protocol.Encode(&byOrg))
	byOther := must(crypto.SignErase(erase, mallory.Signing))
	expect(out, "erase", "signed by another node", "Nobody erases what another wrote.", "bad-signature", protocol.Encode(&byOther))
	byStranger := must(crypto.SignEraseByOrg(erase, mallory.Op))
	expect(out, "erase", "signed by another organisation", "Nobody erases what another wrote.", "bad-signature", protocol.Encode(&byStranger))
	away := *erase
	away.Network = protocol.NetworkID{1}
	signed := must(crypto.SignErase(&away, alice.Signing))
	expect(out, "erase", "another network", "Valid in the other network.", "wrong-context", protocol.Encode(&signed))
	odd := protocol.SignedErase{Statement: protocol.Encode(&protocol.Erase{Version: 1, Network: network, Origin: entry.Origin, Reason: 9, At: Now,
		Entries: []protocol.ErasedEntry{{Seq: 1, Hash: entry.Hash}}}), Key: alice.Signing.Public()}
	expect(out, "erase", "unknown reason", "Reasons are classes.", "malformed", protocol.Encode(&odd))
}
