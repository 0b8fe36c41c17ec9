package protocoltest

import (
	"bytes"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// fuzz checks one decoder: what it accepts encodes back to the same bytes, and what the
// whole entry point does with it is no panic.
func fuzz[T any](f *testing.F, message string, limit int) {
	f.Helper()
	data, ok := Samples()[message]
	if !ok {
		f.Fatalf("no sample of %q", message)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		v := new(T)
		if err := protocol.Decode(data, limit, v); err != nil {
			if c := protocol.Class(err); c != "malformed" && c != "oversize" {
				t.Errorf("decoding gives an error of class %s: %v", c, err)
			}
			return
		}
		if again := protocol.Encode(v); !bytes.Equal(again, data) {
			t.Errorf("%x encodes back to %x", data, again)
		}
		_, _ = Read(message, data)
	})
}

func FuzzCard(f *testing.F) { fuzz[protocol.SignedCard](f, "card", protocol.MaxCardSize) }
func FuzzRoster(f *testing.F) {
	fuzz[protocol.RosterStatement](f, "roster", 2*protocol.MaxStatementSize)
}
func FuzzAgreement(f *testing.F) {
	fuzz[protocol.SignedAgreement](f, "agreement", protocol.MaxLetterSize)
}
func FuzzTermination(f *testing.F) {
	fuzz[protocol.OrgSigned](f, "termination", protocol.MaxLetterSize)
}
func FuzzEnvelope(f *testing.F) { fuzz[protocol.Envelope](f, "envelope", protocol.MaxEnvelopeSize) }
func FuzzBody(f *testing.F)     { fuzz[protocol.Body](f, "body", protocol.MaxPlainSize) }
func FuzzWithdraw(f *testing.F) { fuzz[protocol.WithdrawBody](f, "withdraw", protocol.MaxPlainSize) }
func FuzzSync(f *testing.F)     { fuzz[protocol.SyncMessage](f, "sync", protocol.MaxFrameSize) }
func FuzzHello(f *testing.F)    { fuzz[protocol.Hello](f, "hello", protocol.MaxHelloSize) }
func FuzzDialBack(f *testing.F) {
	fuzz[protocol.DialBackRequest](f, "dial-back", protocol.MaxDialBackSize)
}
func FuzzDialBackAnswer(f *testing.F) {
	fuzz[protocol.DialBackAnswer](f, "dial-back-answer", protocol.MaxDialBackSize)
}
func FuzzInvite(f *testing.F)   { fuzz[protocol.Invite](f, "invite", protocol.MaxInviteSize) }
func FuzzHandling(f *testing.F) { fuzz[protocol.Handling](f, "handling", protocol.MaxStatementSize) }
func FuzzGrant(f *testing.F)    { fuzz[protocol.GrantBody](f, "grant", protocol.MaxBodySize) }
func FuzzLetter(f *testing.F)   { fuzz[protocol.Letter](f, "letter", protocol.MaxLetterSize+1<<10) }

func FuzzRejection(f *testing.F) { fuzz[protocol.OrgSigned](f, "rejection", protocol.MaxLetterSize) }
func FuzzFork(f *testing.F)      { fuzz[protocol.ForkProof](f, "fork", protocol.MaxForkProofSize) }
func FuzzErase(f *testing.F)     { fuzz[protocol.SignedErase](f, "erase", protocol.MaxStatementSize) }
func FuzzReceipt(f *testing.F)   { fuzz[protocol.Signed](f, "receipt", protocol.MaxStatementSize) }
func FuzzNotice(f *testing.F)    { fuzz[protocol.Notice](f, "notice", protocol.MaxGossipSize) }
func FuzzMandate(f *testing.F)   { fuzz[protocol.OrgSigned](f, "mandate", protocol.MaxLetterSize) }
func FuzzMandateRevocation(f *testing.F) {
	fuzz[protocol.OrgSigned](f, "mandate-revocation", protocol.MaxLetterSize)
}
func FuzzOrigin(f *testing.F) { fuzz[protocol.OriginProof](f, "origin", protocol.MaxOriginProof) }
func FuzzNodeRequest(f *testing.F) {
	fuzz[protocol.Signed](f, "node-request", protocol.MaxStatementSize)
}
func FuzzSibling(f *testing.F) {
	fuzz[protocol.SiblingItem](f, "sibling", protocol.MaxSiblingItem+1<<10)
}
func FuzzErasureRequest(f *testing.F) {
	fuzz[protocol.OrgSigned](f, "erasure-request", protocol.MaxLetterSize)
}
func FuzzErasureAnswer(f *testing.F) {
	fuzz[protocol.OrgSigned](f, "erasure-answer", protocol.MaxLetterSize)
}
func FuzzDirectTopic(f *testing.F) {
	fuzz[protocol.Signed](f, "direct-topic", protocol.MaxStatementSize)
}
func FuzzFoundingRequest(f *testing.F) {
	fuzz[protocol.Signed](f, "founding-request", protocol.MaxFoundingSize)
}
func FuzzFounding(f *testing.F) { fuzz[protocol.Founding](f, "founding", protocol.MaxFoundingSize) }
func FuzzRotationRequest(f *testing.F) {
	fuzz[protocol.Signed](f, "rotation-request", protocol.MaxRotationSize)
}
func FuzzRotation(f *testing.F)  { fuzz[protocol.Rotation](f, "rotation", protocol.MaxRotationSize) }
func FuzzRootShare(f *testing.F) { fuzz[protocol.RootShare](f, "root-share", protocol.MaxShareSize) }
func FuzzShareProof(f *testing.F) {
	fuzz[protocol.Signed](f, "share-proof", protocol.MaxShareSize)
}
func FuzzHead(f *testing.F) { fuzz[protocol.Signed](f, "head", protocol.MaxStatementSize) }

// statements are what stands inside of signed messages and sealed bodies.
var statements = []func() any{
	func() any { return new(protocol.Card) }, func() any { return new(protocol.Inception) }, func() any { return new(protocol.RootRotation) },
	func() any { return new(protocol.RootEpoch) }, func() any { return new(protocol.Genesis) }, func() any { return new(protocol.Sponsorship) },
	func() any { return new(protocol.Removal) }, func() any { return new(protocol.TopicSecret) }, func() any { return new(protocol.Agreement) },
	func() any { return new(protocol.Termination) }, func() any { return new(protocol.Rejection) }, func() any { return new(protocol.BatchStatement) },
	func() any { return new(protocol.GrantPlain) }, func() any { return new(protocol.Head) }, func() any { return new(protocol.Header) },
	func() any { return new(protocol.Erase) }, func() any { return new(protocol.Receipt) },
	func() any { return new(protocol.NodeRequest) }, func() any { return new(protocol.SiblingAgreement) }, func() any { return new(protocol.SiblingPin) },
	func() any { return new(protocol.SiblingTopic) }, func() any { return new(protocol.SiblingTopicSecret) }, func() any { return new(protocol.SiblingKey) },
	func() any { return new(protocol.SiblingErasure) }, func() any { return new(protocol.SiblingPublication) }, func() any { return new(protocol.SiblingAddrs) },
	func() any { return new(protocol.ErasureRequest) }, func() any { return new(protocol.ErasureAnswer) },
	func() any { return new(protocol.SiblingHold) }, func() any { return new(protocol.SiblingErasureAsk) },
	func() any { return new(protocol.Mandate) }, func() any { return new(protocol.MandateRevocation) }, func() any { return new(protocol.MandateFile) },
	func() any { return new(protocol.SiblingMandate) }, func() any { return new(protocol.SiblingOrigin) },
	func() any { return new(protocol.DirectTopic) },
	func() any { return new(protocol.FoundingRequest) }, func() any { return new(protocol.RotationRequest) }, func() any { return new(protocol.ShareProof) },
	func() any { return new(protocol.Recipient) }, func() any { return new(protocol.SiblingRecipient) },
}

// FuzzStatements reads each of them.
func FuzzStatements(f *testing.F) {
	alice, a := Alice(), Agreement()
	seeds := []any{&alice.Card, nil, nil, nil, Network(), &protocol.Sponsorship{Version: 1, Expires: 1}, &protocol.Removal{Version: 1}, &protocol.TopicSecret{Version: 1, Period: 1},
		&a, &protocol.Termination{Version: 1, At: 1, Effective: 1}, &protocol.Rejection{Version: 1}, nil, &protocol.GrantPlain{Version: 1}, nil, nil}
	for i, s := range seeds {
		if s != nil {
			f.Add(uint8(i), protocol.Encode(s))
		}
	}
	f.Add(uint8(1), alice.Card.Inception)
	f.Add(uint8(3), alice.Card.RootEpoch.Statement)
	f.Add(uint8(11), alice.Body().Batches[0].Statement)
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		v := statements[int(kind)%len(statements)]()
		if protocol.Decode(data, protocol.MaxCardSize, v) == nil && !bytes.Equal(protocol.Encode(v), data) {
			t.Errorf("%T: %x encodes back to %x", v, data, protocol.Encode(v))
		}
	})
}

// FuzzIDs reads ids in their text form: what is accepted prints as it was written.
func FuzzIDs(f *testing.F) {
	f.Add(Alice().Org.String())
	f.Add(Alice().Host.Public().String())
	f.Add(protocol.RecordID{1}.String())
	f.Add(protocol.AgreementID{1}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := protocol.ParseOrgID(s); err == nil && id.String() != s {
			t.Errorf("%q prints as %q", s, id)
		}
		if id, err := protocol.ParseRecordID(s); err == nil && id.String() != s {
			t.Errorf("%q prints as %q", s, id)
		}
		if id, err := protocol.ParseAgreementID(s); err == nil && id.String() != s {
			t.Errorf("%q prints as %q", s, id)
		}
		if id, err := protocol.ParseNodeID(s); err == nil && id.String() != s {
			t.Errorf("%q prints as %q", s, id)
		}
	})
}
