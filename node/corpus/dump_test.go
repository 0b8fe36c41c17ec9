package corpus

import (
	"errors"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

func FuzzReadBlock(f *testing.F) {
	b := &storedBlock{Feed: protocol.FeedID{1}, Seq: 2, Topic: "c2", Classes: []class{{Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen}}},
		Records: []storedRecord{{Gone: true}}}
	f.Add(packBlock(b))
	f.Add([]byte{})
	f.Add([]byte{1, 0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ReadBlock(data)
		if err == nil && (v.Places < 1 || v.Places > maxBlockRecords || len(v.Records) > v.Places) {
			t.Fatalf("read a block of %d places and %d records", v.Places, len(v.Records))
		}
		if err != nil && protocol.Class(err) == "other" {
			t.Fatalf("error has no class: %v", err)
		}
	})
}

func TestMarksThatAreRefused(t *testing.T) {
	withdrawal := append([]byte(kWithdrawal), make([]byte, 64)...)
	erased := append([]byte(kErased), make([]byte, 64)...)
	expiry := append([]byte(kExpiry), make([]byte, 16)...)
	again := append([]byte(kCopy), make([]byte, 72)...)
	withdraws := append([]byte(kWithdraws), make([]byte, 104)...)
	good := protocol.Encode(&erasedDoc{Reason: protocol.EraseLegal, At: 1})
	for _, ok := range []struct{ k, v []byte }{{withdrawal, protocol.Encode(&withdrawalDoc{Reason: "wrong", At: 1})}, {erased, good}, {expiry, []byte{0, 7}}, {again, nil}, {withdraws, nil}} {
		if err := CheckMark(ok.k, ok.v); err != nil {
			t.Errorf("mark %q: %v", ok.k[:2], err)
		}
	}
	for _, bad := range []struct{ k, v []byte }{
		{nil, nil}, {[]byte("c"), nil}, {[]byte("cb12345678"), []byte("a block")}, {erased[:65], good}, {erased, nil}, {erased, append(good, 0)},
		{withdrawal, good[:1]}, {expiry[:17], []byte{1}}, {expiry, nil}, {expiry, []byte{1, 1}}, {expiry, []byte{2, 1}}, {again[:72], nil}, {withdraws, []byte{1}}, {withdraws[:104], nil}, {again, []byte{1}}, {append([]byte("n/"), make([]byte, 64)...), good},
	} {
		if err := CheckMark(bad.k, bad.v); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("mark %q with %d bytes: %v", bad.k, len(bad.v), err)
		}
	}
}
