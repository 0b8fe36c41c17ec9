package crypto

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"

	"github.com/entente-mesh/entente/protocol"
)

func testIdentities(t testing.TB, n int) (ids []*Identity, recipients []string) {
	t.Helper()
	for range n {
		id, err := GenerateIdentity()
		if err != nil {
			t.Fatal(err)
		}
		ids, recipients = append(ids, id), append(recipients, id.Recipient())
	}
	return ids, recipients
}

func sealFile(t testing.TB, plain []byte, recipients ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := SealFile(&buf, recipients)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestSealFile(t *testing.T) {
	ids, recipients := testIdentities(t, 4)
	plain := bytes.Repeat([]byte("0123456789abcdef"), 20_000) // more than four chunks
	for n := 1; n <= 3; n++ {
		sealed := sealFile(t, plain, recipients[:n]...)
		for i, id := range ids {
			r, err := OpenFile(bytes.NewReader(sealed), []*Identity{id})
			if i >= n {
				if !errors.Is(err, protocol.ErrNotInAudience) {
					t.Errorf("sealed to %d, identity %d: %v", n, i, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("sealed to %d, identity %d: %v", n, i, err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("sealed to %d, identity %d: %d bytes, %v", n, i, len(got), err)
			}
		}
		// An identity that was replaced is tried before the one that fits.
		if _, err := OpenFile(bytes.NewReader(sealed), []*Identity{ids[3], ids[0]}); err != nil {
			t.Error(err)
		}
	}
	// Five nodes look like eight; one that is named twice counts once.
	_, many := testIdentities(t, 5)
	count := func(recipients ...string) int {
		return strings.Count(string(sealFile(t, nil, recipients...)), "-> "+hybridStanza)
	}
	if n := count(many...); n != 8 {
		t.Errorf("sealed to five nodes: %d stanzas", n)
	}
	if n := count(many[0], many[0]); n != 1 {
		t.Errorf("sealed to one node twice: %d stanzas", n)
	}
}

func TestSealFileRefuses(t *testing.T) {
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	_, many := testIdentities(t, protocol.MaxNodes+1)
	for _, tc := range []struct {
		name string
		to   []string
		want error
	}{
		{"nobody", nil, protocol.ErrOversize},
		{"too many", many, protocol.ErrOversize},
		{"not post-quantum", []string{classic.Recipient().String()}, protocol.ErrMalformed},
		{"one of two not post-quantum", []string{many[0], classic.Recipient().String()}, protocol.ErrMalformed},
		{"no recipient", []string{"age1pq1x"}, protocol.ErrMalformed},
	} {
		var buf bytes.Buffer
		if _, err := SealFile(&buf, tc.to); !errors.Is(err, tc.want) || buf.Len() > 0 {
			t.Errorf("%s: got %v and %d bytes, want class %v", tc.name, err, buf.Len(), tc.want)
		}
	}
}

// TestOpenFileRefuses: what is damaged is never returned, and what broke is told apart from
// what broke off.
func TestOpenFileRefuses(t *testing.T) {
	ids, recipients := testIdentities(t, 1)
	plain := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	sealed := sealFile(t, plain, recipients...)
	read := func(file []byte) ([]byte, error) {
		r, err := OpenFile(bytes.NewReader(file), ids)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	for cut := 0; cut < len(sealed); cut += 997 {
		if got, err := read(sealed[:cut]); !errors.Is(err, protocol.ErrMalformed) || !bytes.HasPrefix(plain, got) {
			t.Fatalf("cut at %d: %d bytes, %v", cut, len(got), err)
		}
	}
	for at := 0; at < len(sealed); at += 997 {
		b := bytes.Clone(sealed)
		b[at] ^= 1
		got, err := read(b)
		if !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrNotInAudience) || !bytes.HasPrefix(plain, got) {
			t.Fatalf("bit flipped at %d: %d bytes, %v", at, len(got), err)
		}
	}
	if got, err := read(append(bytes.Clone(sealed), 0)); !errors.Is(err, protocol.ErrMalformed) || !bytes.HasPrefix(plain, got) {
		t.Errorf("trailing byte: %d bytes, %v", len(got), err)
	}
	// A disk that fails is not the file's fault.
	broken := errors.New("input/output error")
	r, err := OpenFile(io.MultiReader(bytes.NewReader(sealed[:100_000]), iotest.ErrReader(broken)), ids)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, broken) || protocol.Class(err) != "other" {
		t.Errorf("failing disk: %v", err)
	}
	if _, err := OpenFile(iotest.ErrReader(broken), ids); !errors.Is(err, broken) {
		t.Errorf("failing disk: %v", err)
	}

	by := func(to ...age.Recipient) []byte {
		var buf bytes.Buffer
		w, err := age.Encrypt(&buf, to...)
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var crowd []age.Recipient
	for range protocol.MaxNodes + 1 {
		crowd = append(crowd, ids[0].id.Recipient())
	}
	for name, file := range map[string][]byte{"sealed to too many": by(crowd...), "sealed to a classic recipient": by(classic.Recipient()),
		"no age file": []byte("-----BEGIN ENTENTE CARD-----\n"), "empty": nil} {
		if _, err := read(file); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCarrySignature(t *testing.T) {
	key := GenerateSigning()
	h := &protocol.CarryHeader{Version: 1, Kind: protocol.CarryPack, Network: protocol.NetworkID{1}, From: protocol.OrgID{2}, To: protocol.OrgID{3}}
	signed, err := SignCarry(h, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := VerifyCarry(&signed, h); err != nil || got != key.Public() {
		t.Errorf("signed by %v, %v", got, err)
	}
	other := signed
	other.Sigs = []protocol.KeySignature{{Key: GenerateSigning().Public(), Sig: signed.Sigs[0].Sig}}
	if _, err := VerifyCarry(&other, h); !errors.Is(err, protocol.ErrBadSignature) {
		t.Errorf("another key: %v", err)
	}
	other.Sigs = nil
	if _, err := VerifyCarry(&other, h); !errors.Is(err, protocol.ErrBadSignature) {
		t.Errorf("no signature: %v", err)
	}
	moved := *h
	moved.Network = protocol.NetworkID{9}
	if _, err := VerifyCarry(&protocol.Signed{Statement: protocol.Encode(&moved), Sigs: signed.Sigs}, &moved); !errors.Is(err, protocol.ErrBadSignature) {
		t.Errorf("another network: %v", err)
	}
	if _, err := SignCarry(&protocol.CarryHeader{}, key); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("no header: %v", err)
	}
}
