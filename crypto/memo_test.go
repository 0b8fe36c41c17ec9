package crypto

import (
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestKeptSignatures: a signature that was found good is good for exactly the key, context,
// network and statement that it was verified by, kept or not, and few are kept.
func TestKeptSignatures(t *testing.T) {
	t.Cleanup(func() { KeepVerified(0) })
	k, other := GenerateSigning(), GenerateSigning()
	network := protocol.NetworkID{1}
	context := protocol.ContextEnvelope
	statement := []byte("a statement")
	sig := k.sign(context, network, statement)
	forged := sig
	forged[3] ^= 1
	for _, keep := range []int{0, 2} {
		KeepVerified(keep)
		for round := range 3 {
			good := Verify(k.Public(), context, network, statement, sig)
			if good != nil {
				t.Fatalf("keeping %d, round %d: %v", keep, round, good)
			}
			for name, err := range map[string]error{
				"another key":       Verify(other.Public(), context, network, statement, sig),
				"another context":   Verify(k.Public(), protocol.ContextHead, network, statement, sig),
				"another network":   Verify(k.Public(), context, protocol.NetworkID{2}, statement, sig),
				"another statement": Verify(k.Public(), context, network, []byte("a statement."), sig),
				"another signature": Verify(k.Public(), context, network, statement, forged),
			} {
				if err == nil {
					t.Errorf("keeping %d, round %d: %s verifies", keep, round, name)
				}
			}
		}
		if m := goodSignatures.Load(); (m != nil) != (keep > 0) || m != nil && len(m.young)+len(m.old) != 1 {
			t.Errorf("keeping %d: %+v", keep, m)
		}
		for i := range 20 {
			s := []byte{byte(i)}
			if err := Verify(k.Public(), context, network, s, k.sign(context, network, s)); err != nil {
				t.Fatal(err)
			}
		}
		if m := goodSignatures.Load(); m != nil && (len(m.young) > 2 || len(m.old) > 2 || len(m.old) == 0) {
			t.Errorf("%d and %d are kept, at most 2 and 2 should be", len(m.young), len(m.old))
		}
	}
}
