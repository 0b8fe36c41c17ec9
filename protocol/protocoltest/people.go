// Package protocoltest makes people, statements and test vectors for tests: Alice's, Bob's,
// Carol's and Mallory's organisations with keys from fixed seeds, so that the same bytes
// come out on every machine.
package protocoltest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// Now is the time of all statements: 2026-01-01T00:00:00Z in Unix milliseconds.
const Now uint64 = 1767225600000

// Person is an organisation with one node. Its age recipient is a placeholder: nothing can
// be sealed to it.
type Person struct {
	Name    string
	Root    crypto.RootPrivate
	Next    crypto.RootPrivate
	Op      crypto.OpPrivate
	Host    crypto.NodePrivate
	Signing crypto.SigningPrivate
	Card    protocol.Card
	Signed  protocol.SignedCard
	Org     protocol.OrgID
	seed    func(what string) [32]byte
}

// Alice, Bob, Carol and Mallory return organisations; Carol's root needs two of two keys.
func Alice() *Person   { return person("Alice", "vendor", "DE") }
func Bob() *Person     { return person("Bob", "police", "TH") }
func Carol() *Person   { return person("Carol", "cert", "VN") }
func Mallory() *Person { return person("Mallory", "other", "") }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // fixed input: a programmer's error
	}
	return v
}

func root(seed [32]byte) crypto.RootPrivate {
	return must(crypto.ParseRoot("entente-root-secret:" + hex.EncodeToString(seed[:])))
}

func person(name string, kind protocol.OrgKind, country string) *Person {
	p := &Person{Name: name, seed: func(what string) [32]byte { return sha256.Sum256([]byte("entente test " + name + " " + what)) }}
	p.Root, p.Next = root(p.seed("root")), root(p.seed("next"))
	p.Op, p.Host, p.Signing = crypto.OpFromSeed(p.seed("op")), crypto.NodeFromSeed(p.seed("host")), crypto.SigningFromSeed(p.seed("signing"))
	set := protocol.RootSet{Keys: []protocol.RootKey{p.Root.Public()}, Threshold: 1}
	roots := []crypto.RootPrivate{p.Root}
	if name == "Carol" {
		second := root(p.seed("second root"))
		roots = append(roots, second)
		set.Keys, set.Threshold = append(set.Keys, second.Public()), 2
		slices.SortFunc(set.Keys, func(a, b protocol.RootKey) int { return slices.Compare(a[:], b[:]) })
	}
	next := protocol.RootSet{Keys: []protocol.RootKey{p.Next.Public()}, Threshold: 1}
	inc := protocol.Inception{Version: 1, Name: name + "'s organisation", Kind: kind, Country: country, Root: set, Next: next.Hash()}
	p.Org = inc.ID()
	epoch := protocol.Encode(&protocol.RootEpoch{Version: 1, Org: p.Org, Epoch: 1, Op: p.Op.Public(), Issued: Now})
	signed := protocol.Signed{Statement: epoch}
	for _, r := range roots {
		signed.Sigs = append(signed.Sigs, protocol.KeySignature{Key: r.Public(), Sig: must(r.Sign(protocol.ContextRootEpoch, protocol.NoNetwork, epoch))})
	}
	slices.SortFunc(signed.Sigs, func(a, b protocol.KeySignature) int { return slices.Compare(a.Key[:], b.Key[:]) })
	p.Card = protocol.Card{Version: 1, Inception: protocol.Encode(&inc), RootEpoch: signed, Serial: 1, Issued: Now, FreshUntil: Now + protocol.MaxCardLife,
		Nodes: []protocol.NodeEntry{{Node: p.Host.Public(), Signing: p.Signing.Public(), Recipient: "age1pq1placeholder",
			NotBefore: Now, NotAfter: Now + protocol.MaxCardLife, Addrs: []string{"/dns4/node.example.org/udp/4401/quic-v1"},
			Binding: crypto.BindNode(p.Org, p.Host, p.Signing)}}}
	p.Signed = must(crypto.SignCard(&p.Card, p.Op))
	return p
}

// Verified returns the verified card.
func (p *Person) Verified() *crypto.Card { return must(crypto.VerifyCard(&p.Signed)) }

// Network returns the genesis of the network that Alice founded.
func Network() *protocol.Genesis {
	return &protocol.Genesis{Version: 1, Name: "test", Founder: Alice().Org, Stewards: []protocol.OrgID{Alice().Org}, Created: Now}
}

// Agreement returns what Alice and Bob agree on, not signed.
func Agreement() protocol.Agreement {
	alice, bob := Alice(), Bob()
	a := protocol.Agreement{Version: 1, Network: Network().ID(), Secret: sha256.Sum256([]byte("entente test agreement")), Title: "Alice and Bob",
		Parties: []protocol.OrgID{alice.Org, bob.Org}, LegalBasis: "none: a test", NotBefore: Now, NotAfter: Now + 365*24*3600*1000,
		Terms: []protocol.Term{{From: alice.Org, To: bob.Org, Topics: []string{"c2"}, Kinds: []string{"*"}, TLP: protocol.TLPAmber,
			Countries: []string{"TH"}, Personal: protocol.PersonalAll, RetentionDays: 365}}}
	slices.SortFunc(a.Parties, protocol.OrgID.Compare)
	return a
}

// SignAgreement signs an agreement by people.
func SignAgreement(a *protocol.Agreement, people ...*Person) *protocol.SignedAgreement {
	out := &protocol.SignedAgreement{Statement: protocol.Encode(a)}
	for _, p := range people {
		out.Sigs = append(out.Sigs, must(crypto.SignAgreement(out.Statement, a.Network, p.Org, p.Op)))
	}
	slices.SortFunc(out.Sigs, func(x, y protocol.PartySignature) int { return x.Org.Compare(y.Org) })
	return out
}

// Entry returns an entry of a person's feed in topic "c2" of the network.
func (p *Person) Entry(seq uint64, previous protocol.Hash, body []byte) *crypto.VerifiedEnvelope {
	network := Network().ID()
	o := protocol.Origin{Signing: p.Signing.Public(), Incarnation: 1, Topic: protocol.NewTopicID(network, "c2")}
	return must(crypto.SignEnvelope(network, o, protocol.EntryRecords, seq, previous, body, p.Signing))
}

// Body returns a body with one whole batch of three records by a person. Its seed is fixed,
// other than that of a batch in life.
func (p *Person) Body() *protocol.Body {
	seed := p.seed("batch")
	h := protocol.Handling{TLP: protocol.TLPAmber, Countries: []string{"TH"}, Personal: protocol.PersonalNone}
	h.Normalise()
	b := &protocol.Body{Version: 1, SealedAt: Now, Handlings: [][]byte{protocol.Encode(&h)}}
	part := protocol.BatchPart{Seed: seed[:]}
	var ids []protocol.RecordID
	for i, value := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		object := []byte(`{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--00000000-0000-4000-8000-00000000000` + string(rune('1'+i)) + `","value":"` + value + `"}`)
		part.Items = append(part.Items, protocol.Item{Index: uint32(i), Object: object})
		ids = append(ids, protocol.LeafHash(protocol.Salt(seed, uint32(i)), b.Handlings[0], object))
	}
	part.Statement = protocol.Encode(&protocol.BatchStatement{Version: 1, Suite: protocol.Suite1, Originator: p.Org, Card: protocol.CardOrder{Epoch: 1, Serial: 1},
		Signing: p.Signing.Public(), Count: 3, Root: protocol.MerkleRoot(ids), Signed: Now})
	key := p.seed("signing")
	copy(part.Sig[:], ed25519.Sign(ed25519.NewKeyFromSeed(key[:]), protocol.SigningBytes(protocol.ContextBatch, Network().ID(), part.Statement)))
	b.Batches = []protocol.BatchPart{part}
	return b
}
