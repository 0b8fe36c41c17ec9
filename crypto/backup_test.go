package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"

	"github.com/entente-mesh/entente/protocol"
)

func classicIdentity(t *testing.T) (file, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return "# a comment\n\n" + id.String() + "\r\n", id.Recipient().String()
}

func identities(t *testing.T, file string) []BackupIdentity {
	t.Helper()
	ids, err := ParseBackupIdentities(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func sealBackup(t *testing.T, plain []byte, to ...string) []byte {
	t.Helper()
	var list []BackupRecipient
	for _, text := range to {
		r, err := ParseBackupRecipient(" " + text + "\n")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	var b bytes.Buffer
	w, err := SealBackup(&b, list)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBackupOpensForItsRecipients(t *testing.T) {
	pq, pqTo, err := GenerateBackupIdentity()
	if err != nil {
		t.Fatal(err)
	}
	pq2, pq2To, err := GenerateBackupIdentity()
	if err != nil {
		t.Fatal(err)
	}
	old, oldTo := classicIdentity(t)
	stranger, _, err := GenerateBackupIdentity()
	if err != nil {
		t.Fatal(err)
	}
	plain := bytes.Repeat([]byte("all that has to survive. "), 10_000)
	for _, tc := range []struct {
		to    []string
		open  []string
		quant bool
	}{
		{[]string{pqTo, pq2To, pqTo}, []string{pq, pq2, stranger + pq2, old + pq}, true},
		{[]string{oldTo}, []string{old, pq + old}, false},
	} {
		sealed := sealBackup(t, plain, tc.to...)
		for _, file := range tc.open {
			r, quant, err := OpenBackup(bytes.NewReader(sealed), identities(t, file))
			if err != nil || quant != tc.quant {
				t.Fatalf("opening: %v, post-quantum %v", err, quant)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("read %d bytes: %v", len(got), err)
			}
		}
		if _, _, err := OpenBackup(bytes.NewReader(sealed), identities(t, stranger)); !errors.Is(err, protocol.ErrNotInAudience) {
			t.Errorf("a stranger: %v", err)
		}
		for _, cut := range []int{0, 10, 500, len(sealed) / 2, len(sealed) - 1} {
			r, _, err := OpenBackup(bytes.NewReader(sealed[:cut]), identities(t, tc.open[0]))
			if err == nil {
				_, err = io.ReadAll(r)
			}
			if !errors.Is(err, protocol.ErrMalformed) {
				t.Errorf("cut off at %d: %v", cut, err)
			}
		}
		broken := errors.New("the disk is broken")
		r, _, err := OpenBackup(io.MultiReader(bytes.NewReader(sealed[:len(sealed)/2]), iotest.ErrReader(broken)), identities(t, tc.open[0]))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, broken) {
			t.Errorf("a broken disk: %v", err)
		}
	}
	// A file for too many, or for a passphrase, is not tried.
	id := identities(t, pq)
	var many []age.Recipient
	for range protocol.MaxBackupRecipients + 1 {
		h, err := age.GenerateHybridIdentity()
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, h.Recipient())
	}
	scrypt, err := age.NewScryptRecipient("passphrase")
	if err != nil {
		t.Fatal(err)
	}
	scrypt.SetWorkFactor(2)
	for name, to := range map[string][]age.Recipient{"too many": many, "a passphrase": {scrypt}} {
		var b bytes.Buffer
		w, err := age.Encrypt(&b, to...)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := OpenBackup(&b, id); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("sealed to %s: %v", name, err)
		}
	}
}

func TestBackupIdentityFiles(t *testing.T) {
	pq, _, err := GenerateBackupIdentity()
	if err != nil {
		t.Fatal(err)
	}
	secret := pq[strings.Index(pq, "AGE-SECRET-KEY"):]
	for _, tc := range []struct{ file, want string }{
		{"", "holds no identity"},
		{"# only a comment\n", "holds no identity"},
		{"age1pq1something\n", "line 1 is not an age identity"},
		{"\n" + secret[:len(secret)-20] + "\n", "line 2 is not an age identity"},
		{"AGE-SECRET-KEY-1QQQQ\n", "line 1 is not an age identity"},
		{"age-encryption.org/v1\n-> scrypt\n", "itself encrypted"},
		{"-----BEGIN AGE ENCRYPTED FILE-----\n", "itself encrypted"},
		{strings.Repeat(secret, 65), "more than 64"},
		{strings.Repeat("A", 1<<20), "reading identities failed"},
	} {
		_, err := ParseBackupIdentities(strings.NewReader(tc.file))
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "AGE-SECRET-KEY-PQ-1") {
			t.Errorf("%.40q: %v, want %q", tc.file, err, tc.want)
		}
	}
	id := identities(t, pq)[0]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, id); got != redacted {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if b, err := id.MarshalText(); err != nil || string(b) != redacted {
		t.Errorf("as text: %s", b)
	}
}

func TestBackupSignature(t *testing.T) {
	key, other := GenerateSigning(), GenerateSigning()
	network, sum := protocol.NetworkID{1}, protocol.Hash{2}
	sig := SignBackup(network, sum, key)
	if err := VerifyBackup(network, sum, key.Public(), sig); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another key":     VerifyBackup(network, sum, other.Public(), sig),
		"another sum":     VerifyBackup(network, protocol.Hash{3}, key.Public(), sig),
		"another network": VerifyBackup(protocol.NetworkID{2}, sum, key.Public(), sig),
	} {
		if !errors.Is(err, protocol.ErrBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
