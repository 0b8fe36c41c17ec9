package protocoltest

import (
	"crypto/ed25519"
	"crypto/sha256"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// resign signs the statement of a batch again, after a change of it.
func (p *Person) resign(part *protocol.BatchPart, change func(*protocol.BatchStatement)) {
	var st protocol.BatchStatement
	if err := protocol.Decode(part.Statement, protocol.MaxStatementSize, &st); err != nil {
		panic(err)
	}
	change(&st)
	part.Statement = protocol.Encode(&st)
	key := p.seed("signing")
	copy(part.Sig[:], ed25519.Sign(ed25519.NewKeyFromSeed(key[:]), protocol.SigningBytes(protocol.ContextBatch, Network().ID(), part.Statement)))
}

// Mandate is one that Bob gave to Alice for topic "c2", up to AMBER, in the year of Now.
func Mandate() protocol.Mandate {
	return protocol.Mandate{Version: 1, Network: Network().ID(), Principal: Bob().Org, Agent: Alice().Org, Topics: []string{"c2"}, TLP: protocol.TLPAmber,
		NotBefore: Now - 1000, NotAfter: Now + 300*24*3600*1000, Number: 7}
}

// lone is a whole batch of one record by a person.
func (p *Person) lone(originHash *protocol.Hash) *protocol.Body {
	b := p.Body()
	part := &b.Batches[0]
	part.Items = part.Items[:1]
	id := protocol.LeafHash(protocol.Salt([32]byte(part.Seed), 0), b.Handlings[0], part.Items[0].Object)
	p.resign(part, func(st *protocol.BatchStatement) {
		st.Count, st.Root = 1, protocol.MerkleRoot([]protocol.RecordID{id})
		if originHash != nil {
			st.Origin = originHash[:]
		}
	})
	return b
}

// revocationOf is Bob's word that a mandate ends.
func revocationOf(m protocol.Mandate) protocol.MandateRevocation {
	return protocol.MandateRevocation{Version: 1, Network: m.Network, Principal: m.Principal, Mandate: protocol.NewMandateID(protocol.Encode(&m)), At: Now, Reason: "its node is back"}
}

// originSample proves that Bob made what Carol passed on and Alice published, the origin withheld, and
// the commitment that Alice signed.
func originSample() (*protocol.OriginProof, protocol.Hash) {
	alice, bob, carol := Alice(), Bob(), Carol()
	salt := alice.seed("origin")
	original := bob.lone(nil)
	if err := crypto.SignHop(Network().ID(), carol.Org, carol.Signing, Now, &original.Batches[0]); err != nil {
		panic(err)
	}
	from := must(crypto.ProveRecord(original, 0, 0))
	commitment := protocol.OriginCommitment(salt, sha256.Sum256(from.Statement), from.Record)
	return &protocol.OriginProof{Version: 1, Network: Network().ID(), Copy: must(crypto.ProveRecord(alice.lone(&commitment), 0, 0)), Origin: from, Salt: salt,
		Cards: []protocol.SignedCard{alice.Signed, bob.Signed, carol.Signed}}, commitment
}

// formSamples returns one valid message of each kind.
func formSamples() map[string][]byte {
	m := Mandate()
	mandate := must(crypto.SignMandate(&m, Bob().Op))
	r := revocationOf(m)
	revocation := must(crypto.SignMandateRevocation(&r, Bob().Op))
	origin, _ := originSample()
	return map[string][]byte{"mandate": protocol.Encode(&mandate), "mandate-revocation": protocol.Encode(&revocation), "origin": protocol.Encode(origin)}
}

// addForms adds what is published on behalf of another, and with its origin withheld.
func addForms(out map[string][]Vector) {
	alice, bob, carol, mallory := Alice(), Bob(), Carol(), Mallory()
	mandate := func(name, comment, class string, signer *Person, change func(*protocol.Mandate)) {
		m := Mandate()
		change(&m)
		signed := protocol.OrgSigned{Statement: protocol.Encode(&m), Org: signer.Org, Key: signer.Op.Public(),
			Sig: must(signer.Op.Sign(protocol.ContextMandate, m.Network, protocol.Encode(&m)))}
		expect(out, "mandate", name, comment, class, protocol.Encode(&signed))
	}
	mandate("all topics", "And no ceiling.", "ok", bob, func(m *protocol.Mandate) { m.Topics, m.TLP = []string{protocol.Any}, 0 })
	mandate("in another's name", "Alice signs what Bob is to give.", "wrong-context", alice, func(*protocol.Mandate) {})
	mandate("by nobody", "No card of Mallory is known.", "unknown-author", mallory, func(m *protocol.Mandate) { m.Principal = mallory.Org })
	mandate("of another network", "", "bad-signature", bob, func(m *protocol.Mandate) { m.Network = protocol.NoNetwork })
	mandate("to itself", "", "malformed", bob, func(m *protocol.Mandate) { m.Agent = bob.Org })
	mandate("unknown version", "", "later-version", bob, func(m *protocol.Mandate) { m.Version = 2 })
	mandate("no topic", "", "malformed", bob, func(m *protocol.Mandate) { m.Topics = nil })
	mandate("topics not sorted", "", "malformed", bob, func(m *protocol.Mandate) { m.Topics = []string{"malware", "c2"} })
	mandate("ends before it begins", "", "malformed", bob, func(m *protocol.Mandate) { m.NotAfter = m.NotBefore })
	mandate("for too long", "More than MaxMandateDays.", "malformed", bob, func(m *protocol.Mandate) { m.NotAfter = m.NotBefore + (protocol.MaxMandateDays+1)*24*3600*1000 })
	mandate("no number", "", "malformed", bob, func(m *protocol.Mandate) { m.Number = 0 })

	revocation := func(name, comment, class string, change func(*protocol.MandateRevocation)) {
		r := revocationOf(Mandate())
		change(&r)
		o := protocol.OrgSigned{Statement: protocol.Encode(&r), Org: bob.Org, Key: bob.Op.Public(), Sig: must(bob.Op.Sign(protocol.ContextMandateEnd, Network().ID(), protocol.Encode(&r)))}
		expect(out, "mandate-revocation", name, comment, class, protocol.Encode(&o))
	}
	revocation("in another's name", "Bob's key, Alice's name.", "wrong-context", func(r *protocol.MandateRevocation) { r.Principal = alice.Org })
	revocation("of another network", "", "wrong-context", func(r *protocol.MandateRevocation) { r.Network = protocol.NoNetwork })
	revocation("no time", "", "malformed", func(r *protocol.MandateRevocation) { r.At = 0 })
	revocation("unknown version", "", "later-version", func(r *protocol.MandateRevocation) { r.Version = 2 })

	behalf := func(name, comment, class string, m func(*protocol.Mandate), change func(*protocol.BatchStatement)) {
		given := Mandate()
		m(&given)
		o := must(crypto.SignMandate(&given, bob.Op))
		b := alice.Body()
		alice.resign(&b.Batches[0], func(st *protocol.BatchStatement) {
			st.Behalf = []protocol.OrgSigned{o}
			change(st)
		})
		expect(out, "body", name, comment, class, protocol.Encode(b))
	}
	asGiven, asSigned := func(*protocol.Mandate) {}, func(*protocol.BatchStatement) {}
	behalf("on behalf of another", "Alice's signature, under Bob's mandate.", "ok", asGiven, asSigned)
	behalf("mandate of another agent", "It was given to Carol.", "wrong-context", func(m *protocol.Mandate) { m.Agent = carol.Org }, asSigned)
	behalf("mandate that is not given yet", "", "wrong-context", func(m *protocol.Mandate) { m.NotBefore = Now + 1 }, asSigned)
	behalf("mandate that ended", "", "wrong-context", func(m *protocol.Mandate) { m.NotAfter = Now }, asSigned)
	behalf("mandate below the TLP", "The records are AMBER.", "wrong-context", func(m *protocol.Mandate) { m.TLP = protocol.TLPGreen }, asSigned)
	behalf("mandate altered", "One bit of the signature.", "bad-signature", asGiven, func(st *protocol.BatchStatement) { st.Behalf[0].Sig[0] ^= 1 })
	behalf("mandate of nobody", "No card of Mallory is known.", "unknown-author", asGiven, func(st *protocol.BatchStatement) { st.Behalf[0].Org = mallory.Org })
	behalf("two mandates", "", "oversize", asGiven, func(st *protocol.BatchStatement) { st.Behalf = append(st.Behalf, st.Behalf[0]) })
	behalf("on behalf of another, its origin withheld", "One or the other.", "malformed", asGiven, func(st *protocol.BatchStatement) {
		st.Count, st.Origin = 1, make([]byte, 32)
	})

	_, commitment := originSample()
	copied := alice.lone(&commitment)
	expect(out, "body", "origin withheld", "Alice had the record of another, and says so, and not of whom.", "ok", protocol.Encode(copied))
	alice.resign(&copied.Batches[0], func(st *protocol.BatchStatement) { st.Origin = st.Origin[:31] })
	expect(out, "body", "commitment of another length", "", "malformed", protocol.Encode(copied))
	whole := alice.Body()
	alice.resign(&whole.Batches[0], func(st *protocol.BatchStatement) { st.Origin = commitment[:] })
	expect(out, "body", "origin of several records withheld", "The commitment is to one.", "malformed", protocol.Encode(whole))

	proof := func(name, comment, class string, change func(*protocol.OriginProof)) {
		p, _ := originSample()
		change(p)
		expect(out, "origin", name, comment, class, protocol.Encode(p))
	}
	proof("another salt", "", "wrong-context", func(p *protocol.OriginProof) { p.Salt[0] ^= 1 })
	proof("another origin", "A record that Bob signed, and not that one.", "wrong-context", func(p *protocol.OriginProof) {
		p.Origin = must(crypto.ProveRecord(bob.Body(), 0, 0))
	})
	proof("another record of the origin", "It is not in the batch.", "bad-signature", func(p *protocol.OriginProof) { p.Origin.Record[0] ^= 1 })
	proof("a record that commits to nothing", "", "wrong-context", func(p *protocol.OriginProof) { p.Copy = must(crypto.ProveRecord(alice.lone(nil), 0, 0)) })
	proof("a card is missing", "Carol passed it on.", "unknown-author", func(p *protocol.OriginProof) { p.Cards = p.Cards[:2] })
	proof("no cards", "", "oversize", func(p *protocol.OriginProof) { p.Cards = nil })
	proof("unknown version", "", "later-version", func(p *protocol.OriginProof) { p.Version = 2 })
	proof("hop altered", "One bit of its signature.", "bad-signature", func(p *protocol.OriginProof) { p.Origin.Hops[0].Sig[0] ^= 1 })
	proof("of its own record", "Who withheld it made it.", "wrong-context", func(p *protocol.OriginProof) { p.Origin = p.Copy })
}
