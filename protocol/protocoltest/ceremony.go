package protocoltest

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// NextSet is the root set that a person's inception commits to.
func (p *Person) NextSet() protocol.RootSet {
	return protocol.RootSet{Keys: []protocol.RootKey{p.Next.Public()}, Threshold: 1}
}

// laterRoots are the two keys of the set after the next one, sorted; one of them has to sign.
func (p *Person) laterRoots() ([]crypto.RootPrivate, protocol.RootSet) {
	keys := []crypto.RootPrivate{root(p.seed("later root 1")), root(p.seed("later root 2"))}
	slices.SortFunc(keys, func(a, b crypto.RootPrivate) int {
		x, y := a.Public(), b.Public()
		return slices.Compare(x[:], y[:])
	})
	return keys, protocol.RootSet{Keys: []protocol.RootKey{keys[0].Public(), keys[1].Public()}, Threshold: 1}
}

// FoundingRequest is what Alice's first node asked for.
func FoundingRequest() *protocol.FoundingRequest {
	return &protocol.FoundingRequest{Version: 1, Name: "Alice's organisation", Kind: "vendor", Country: "DE", Op: Alice().Op.Public(), Made: Now}
}

func founding() *protocol.Founding {
	alice := Alice()
	return &protocol.Founding{Version: 1, Inception: alice.Card.Inception, RootEpoch: alice.Card.RootEpoch}
}

// newOp is the operational key that Alice changes to.
func newOp() crypto.OpPrivate { return crypto.OpFromSeed(Alice().seed("new op")) }

// RotationRequest is what Alice's node asks for: another operational key, the one so far being stolen.
func RotationRequest() *protocol.RotationRequest {
	return &protocol.RotationRequest{Version: 1, Kind: protocol.RotateOp, Card: protocol.Encode(&Alice().Signed), Op: newOp().Public(),
		Reason: protocol.RetiredCompromised, Made: Now + 1000}
}

func signedRotationRequest(change func(*protocol.RotationRequest), op crypto.OpPrivate) *protocol.Signed {
	r := RotationRequest()
	change(r)
	b := protocol.Encode(r)
	return &protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{{Key: op.Public(), Sig: must(op.Sign(protocol.ContextRotationRequest, protocol.NoNetwork, b))}}}
}

// rotation is Alice's rotation of the root: to the set that was committed to, and on to a new one.
func rotation(sign bool) *crypto.Rotation {
	alice := Alice()
	req := must(crypto.VerifyRotationRequest(signedRotationRequest(func(r *protocol.RotationRequest) {
		r.Kind, r.Op, r.Reason = protocol.RotateRoot, alice.Op.Public(), 0
	}, alice.Op)))
	later, set := alice.laterRoots()
	r := must(crypto.NewRotation(req, crypto.RootStep{Root: alice.NextSet(), Next: set.Hash()}, crypto.RootStep{Root: set, Next: protocol.Hash{9}}))
	if sign {
		r.Sign(alice.Next)
		r.Sign(later[0])
	}
	return r
}

// RootShare is a share of Carol's root set, of which two of two keys have to sign, in clear.
func RootShare() *protocol.RootShare {
	carol := Carol()
	return must(crypto.NewShare(carol.Org, "Carol's organisation", 0, carol.Verified().Root, carol.Root, nil))
}

func ceremonySamples() map[string][]byte {
	alice, carol := Alice(), Carol()
	request := must(crypto.SignFoundingRequest(FoundingRequest(), alice.Op))
	return map[string][]byte{
		"founding-request": protocol.Encode(&request),
		"founding":         protocol.Encode(founding()),
		"rotation-request": protocol.Encode(signedRotationRequest(func(*protocol.RotationRequest) {}, newOp())),
		"rotation":         protocol.Encode(&rotation(true).File),
		"root-share":       protocol.Encode(RootShare()),
		"share-proof":      protocol.Encode(must(crypto.ProveShare(RootShare(), carol.Root, "Tuesday, blue door", Now))),
	}
}

// readCeremony is Read for the files of ceremonies.
func readCeremony(message string, data []byte) (map[string]any, error) {
	switch message {
	case "founding-request":
		var s protocol.Signed
		if err := protocol.Decode(data, protocol.MaxFoundingSize, &s); err != nil {
			return nil, err
		}
		r, err := crypto.VerifyFoundingRequest(&s)
		if err != nil {
			return nil, err
		}
		return map[string]any{"words": strings.Join(r.Words(), " ")}, nil
	case "founding":
		var f protocol.Founding
		if err := protocol.Decode(data, protocol.MaxFoundingSize, &f); err != nil {
			return nil, err
		}
		v, err := crypto.VerifyFounding(&f)
		if err != nil {
			return nil, err
		}
		return map[string]any{"org": v.Org.String()}, nil
	case "rotation-request":
		var s protocol.Signed
		if err := protocol.Decode(data, protocol.MaxRotationSize, &s); err != nil {
			return nil, err
		}
		r, err := crypto.VerifyRotationRequest(&s)
		if err != nil {
			return nil, err
		}
		return map[string]any{"org": r.Card.Org.String(), "words": strings.Join(r.Words(), " ")}, nil
	case "rotation":
		var f protocol.Rotation
		if err := protocol.Decode(data, protocol.MaxRotationSize, &f); err != nil {
			return nil, err
		}
		r, err := crypto.VerifyRotation(&f)
		if err != nil {
			return nil, err
		}
		return map[string]any{"epoch": float64(r.Epoch.Epoch), "missing": float64(len(r.Missing())), "words": strings.Join(r.Words(), " ")}, nil
	case "root-share":
		s := new(protocol.RootShare)
		if err := protocol.Decode(data, protocol.MaxShareSize, s); err != nil {
			return nil, err
		}
		if !s.Sealed {
			if _, err := crypto.OpenShare(s, nil); err != nil {
				return nil, err
			}
		}
		sum := protocol.ShareChecksum(data)
		return map[string]any{"index": float64(s.Index()), "fingerprint": crypto.Fingerprint(s.Key), "checksum": hex.EncodeToString(sum[:])}, nil
	}
	var s protocol.Signed
	if err := protocol.Decode(data, protocol.MaxShareSize, &s); err != nil {
		return nil, err
	}
	p, err := crypto.VerifyShareProof(&s)
	if err != nil {
		return nil, err
	}
	return map[string]any{"root": p.Root.Hash().String(), "challenge": p.Challenge}, nil
}

// addCeremonies adds what is refused of the files of ceremonies.
func addCeremonies(out map[string][]Vector) {
	alice, bob, carol, mallory := Alice(), Bob(), Carol(), Mallory()

	request := func(name, comment, class string, signer crypto.OpPrivate, change func(*protocol.FoundingRequest)) {
		r := FoundingRequest()
		change(r)
		b := protocol.Encode(r)
		expect(out, "founding-request", name, comment, class, protocol.Encode(&protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{{Key: signer.Public(),
			Sig: must(signer.Sign(protocol.ContextFoundingRequest, protocol.NoNetwork, b))}}}))
	}
	request("signed by another key", "Mallory asks for a key that is not Mallory's.", "bad-signature", mallory.Op, func(*protocol.FoundingRequest) {})
	request("no name", "", "malformed", alice.Op, func(r *protocol.FoundingRequest) { r.Name = " " })
	request("unknown version", "", "malformed", alice.Op, func(r *protocol.FoundingRequest) { r.Version = 2 })
	request("unknown kind", "", "malformed", alice.Op, func(r *protocol.FoundingRequest) { r.Kind = "wizard" })

	f := func(name, comment, class string, change func(*protocol.Founding)) {
		v := founding()
		change(v)
		expect(out, "founding", name, comment, class, protocol.Encode(v))
	}
	f("root epoch of another", "Lifted from Bob's founding.", "wrong-context", func(v *protocol.Founding) { v.RootEpoch = bob.Card.RootEpoch })
	f("one root signature missing", "Two of two root keys are needed.", "bad-signature", func(v *protocol.Founding) {
		v.Inception, v.RootEpoch = carol.Card.Inception, carol.Card.RootEpoch
		v.RootEpoch.Sigs = v.RootEpoch.Sigs[:1]
	})
	f("nobody signed", "", "bad-signature", func(v *protocol.Founding) { v.RootEpoch.Sigs = nil })
	f("unknown version", "", "malformed", func(v *protocol.Founding) { v.Version = 2 })

	rotate := func(name, comment, class string, op crypto.OpPrivate, change func(*protocol.RotationRequest)) {
		expect(out, "rotation-request", name, comment, class, protocol.Encode(signedRotationRequest(change, op)))
	}
	rotate("signed by the key so far", "It does not have the new one.", "bad-signature", alice.Op, func(*protocol.RotationRequest) {})
	rotate("ends nothing", "The operational key is to be replaced.", "malformed", newOp(), func(r *protocol.RotationRequest) { r.Reason = 0 })
	rotate("to the key so far", "It would end the key that it puts in force.", "malformed", alice.Op, func(r *protocol.RotationRequest) { r.Op = alice.Op.Public() })
	rotate("card altered", "One bit of its signature.", "bad-signature", newOp(), func(r *protocol.RotationRequest) {
		c := alice.Signed
		c.Sig[0] ^= 1
		r.Card = protocol.Encode(&c)
	})
	rotate("unknown kind", "", "malformed", newOp(), func(r *protocol.RotationRequest) { r.Kind = 3 })
	rotate("unknown reason", "", "malformed", newOp(), func(r *protocol.RotationRequest) { r.Reason = 3 })
	rotate("unknown version", "", "malformed", newOp(), func(r *protocol.RotationRequest) { r.Version = 2 })

	change := func(name, comment, class string, change func(*protocol.Rotation)) {
		r := rotation(true)
		change(&r.File)
		expect(out, "rotation", name, comment, class, protocol.Encode(&r.File))
	}
	expect(out, "rotation", "not signed yet", "It goes from holder to holder.", "ok", protocol.Encode(&rotation(false).File))
	change("of other keys than were committed to", "The thief of the root set in force has no other.", "bad-signature", func(r *protocol.Rotation) {
		var s protocol.RootRotation
		if err := protocol.Decode(r.Rotations[0].Statement, protocol.MaxRotationSize, &s); err != nil {
			panic(err)
		}
		s.Root = protocol.RootSet{Keys: []protocol.RootKey{mallory.Root.Public()}, Threshold: 1}
		r.Rotations[0] = protocol.Signed{Statement: protocol.Encode(&s)}
	})
	change("signed by the root in force", "The new set signs.", "bad-signature", func(r *protocol.Rotation) {
		s := &r.Rotations[0]
		s.Sigs = []protocol.KeySignature{{Key: alice.Root.Public(), Sig: must(alice.Root.Sign(protocol.ContextRootRotation, protocol.NoNetwork, s.Statement))}}
	})
	change("one signature altered", "A file that goes round is refused whole.", "bad-signature", func(r *protocol.Rotation) { r.RootEpoch.Sigs[0].Sig[0] ^= 1 })
	change("a signature twice", "Signatures are a set.", "malformed", func(r *protocol.Rotation) { r.RootEpoch.Sigs = append(r.RootEpoch.Sigs, r.RootEpoch.Sigs[0]) })
	change("another operational key", "The request asks for Alice's.", "wrong-context", func(r *protocol.Rotation) {
		var e protocol.RootEpoch
		if err := protocol.Decode(r.RootEpoch.Statement, protocol.MaxRotationSize, &e); err != nil {
			panic(err)
		}
		e.Op = mallory.Op.Public()
		r.RootEpoch = protocol.Signed{Statement: protocol.Encode(&e)}
	})
	change("rotations swapped", "Each commits to the one after it.", "wrong-context", func(r *protocol.Rotation) { slices.Reverse(r.Rotations) })
	change("no root rotation", "The request asks for one.", "wrong-context", func(r *protocol.Rotation) { r.Rotations = nil })
	change("three root rotations", "", "oversize", func(r *protocol.Rotation) { r.Rotations = append(r.Rotations, r.Rotations[1]) })
	change("unknown version", "", "malformed", func(r *protocol.Rotation) { r.Version = 2 })

	share := func(name, comment, class string, change func(*protocol.RootShare)) {
		s := RootShare()
		change(s)
		expect(out, "root-share", name, comment, class, protocol.Encode(s))
	}
	share("secret of another key", "", "malformed", func(s *protocol.RootShare) { s.Secret[0] ^= 1 })
	share("key of no set", "", "malformed", func(s *protocol.RootShare) { s.Key = mallory.Root.Public() })
	share("secret too short", "", "malformed", func(s *protocol.RootShare) { s.Secret = s.Secret[:31] })
	share("sealed secret too long", "More than MaxSealedSecret.", "oversize", func(s *protocol.RootShare) { s.Sealed, s.Secret = true, make([]byte, protocol.MaxSealedSecret+1) })
	share("set out of range", "", "malformed", func(s *protocol.RootShare) { s.Set = protocol.MaxRotations + 1 })
	share("name of two lines", "People go by the head of the file.", "malformed", func(s *protocol.RootShare) { s.Name = "Carol's organisation\nOrgID  another" })
	share("threshold of nought", "", "malformed", func(s *protocol.RootShare) { s.Root.Threshold = 0 })
	share("unknown version", "", "malformed", func(s *protocol.RootShare) { s.Version = 2 })

	proof := func(name, comment, class string, change func(*protocol.ShareProof), key crypto.RootPrivate) {
		p := &protocol.ShareProof{Version: 1, Org: carol.Org, Root: carol.Verified().Root, Key: carol.Root.Public(), Challenge: "Tuesday, blue door", At: Now}
		change(p)
		b := protocol.Encode(p)
		expect(out, "share-proof", name, comment, class, protocol.Encode(&protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{{Key: key.Public(),
			Sig: must(key.Sign(protocol.ContextRootCheck, protocol.NoNetwork, b))}}}))
	}
	proof("by another key", "Mallory has no share.", "bad-signature", func(*protocol.ShareProof) {}, mallory.Root)
	proof("no challenge", "It could be from any day.", "malformed", func(p *protocol.ShareProof) { p.Challenge = "" }, carol.Root)
	proof("key of no set", "", "malformed", func(p *protocol.ShareProof) { p.Key = mallory.Root.Public() }, mallory.Root)
	proof("unknown version", "", "malformed", func(p *protocol.ShareProof) { p.Version = 2 }, carol.Root)

	// What a root rotation does to a card.
	card := func(name, comment, class string, epoch uint32, key crypto.RootPrivate, rotations []protocol.Signed) {
		c := alice.Card
		c.Rotations = rotations
		b := protocol.Encode(&protocol.RootEpoch{Version: 1, Org: alice.Org, Epoch: epoch, Op: alice.Op.Public(), Issued: Now})
		c.RootEpoch = protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{{Key: key.Public(), Sig: must(key.Sign(protocol.ContextRootEpoch, protocol.NoNetwork, b))}}}
		signed := must(crypto.SignCard(&c, alice.Op))
		expect(out, "card", name, comment, class, protocol.Encode(&signed))
	}
	r := rotation(true)
	once := r.File.Rotations[:1]
	card("after a root rotation", "The epoch's number begins with the number of rotations.", "ok", protocol.EpochNumber(1, 1), alice.Next, once)
	card("after two root rotations", "", "ok", protocol.EpochNumber(2, 1), must2(alice.laterRoots())[0], r.File.Rotations)
	card("epoch of the root set before", "Its number is of no rotation.", "wrong-context", protocol.EpochNumber(0, 2), alice.Next, once)
	card("epoch of a root set to come", "A thief of the root in force cannot go ahead of a rotation.", "wrong-context", protocol.EpochNumber(1, 1), alice.Root, []protocol.Signed{})
	card("epoch signed by the root before", "It was rotated away.", "bad-signature", protocol.EpochNumber(1, 1), alice.Root, once)
	unsigned := slices.Clone(rotation(false).File.Rotations[:1])
	card("root rotation that nobody signed", "", "bad-signature", protocol.EpochNumber(1, 1), alice.Next, unsigned)
	card("epoch without a number", "Each root set counts from 1.", "malformed", protocol.EpochNumber(1, 0), alice.Next, once)

	stolen := alice.Card
	stolen.RootEpoch = protocol.Signed{}
	e := protocol.RootEpoch{Version: 1, Org: alice.Org, Epoch: 2, Op: newOp().Public(), Retired: []protocol.RetiredKey{{Key: alice.Op.Public(), Reason: protocol.RetiredCompromised, At: Now}}, Issued: Now}
	b := protocol.Encode(&e)
	stolen.RootEpoch = protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{{Key: alice.Root.Public(), Sig: must(alice.Root.Sign(protocol.ContextRootEpoch, protocol.NoNetwork, b))}}}
	signed := must(crypto.SignCard(&stolen, newOp()))
	expect(out, "card", "operational key compromised", "The next epoch, with another key.", "ok", protocol.Encode(&signed))
}

func must2[T, U any](v T, _ U) T { return v }
