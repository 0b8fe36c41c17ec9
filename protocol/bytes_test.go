package protocol

import (
	"errors"
	"testing"
)

// BenchmarkDecodeOrigin is what is decoded for every entry, with a plain structure of the
// same shape beside it.
func BenchmarkDecodeOrigin(b *testing.B) {
	type plain struct {
		_           struct{} `cbor:",toarray"`
		Signing     [32]byte
		Incarnation uint64
		Topic       [32]byte
	}
	raw := Encode(&Origin{Signing: SigningKey{1}, Incarnation: 7, Topic: TopicID{2}})
	b.Run("copied", func(b *testing.B) {
		for b.Loop() {
			var o Origin
			if err := Decode(raw, 1<<10, &o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("byte by byte", func(b *testing.B) {
		for b.Loop() {
			var o plain
			if err := Decode(raw, 1<<10, &o); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestFixedBytes: ids and keys are byte strings of exactly their length.
func TestFixedBytes(t *testing.T) {
	type pair struct {
		_    struct{} `cbor:",toarray"`
		Hash Hash
		Sig  Signature
	}
	type plain struct {
		_    struct{} `cbor:",toarray"`
		Hash [32]byte
		Sig  [64]byte
	}
	p := pair{Hash: Hash{1, 2, 31: 9}, Sig: Signature{3, 63: 7}}
	raw := Encode(&p)
	if string(raw) != string(Encode(&plain{Hash: p.Hash, Sig: p.Sig})) {
		t.Fatalf("encoded as %x", raw)
	}
	var back pair
	if err := Decode(raw, 1<<10, &back); err != nil || back != p {
		t.Fatalf("decoded as %v, %v", back, err)
	}
	head := raw[:1]
	for name, bad := range map[string][]byte{
		"short":  append(append([]byte{}, head...), append(append([]byte{0x58, 31}, make([]byte, 31)...), raw[35:]...)...),
		"long":   append(append([]byte{}, head...), append(append([]byte{0x58, 33}, make([]byte, 33)...), raw[35:]...)...),
		"text":   append(append([]byte{}, head...), append(append([]byte{0x78, 32}, make([]byte, 32)...), raw[35:]...)...),
		"empty":  append(append([]byte{}, head...), append([]byte{0x40}, raw[35:]...)...),
		"number": append(append([]byte{}, head...), append([]byte{0x05}, raw[35:]...)...),
		"null":   append(append([]byte{}, head...), append([]byte{0xf6}, raw[35:]...)...),
	} {
		if err := Decode(bad, 1<<10, &back); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
