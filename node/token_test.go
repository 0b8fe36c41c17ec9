package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/hsm"
	"github.com/entente-mesh/entente/protocol"
)

// fileTokenEnv has this test binary be the helper of a token that is a file with a seed: it is there while
// the file is.
const fileTokenEnv = "HELPER_OF_A_TOKEN_IN_A_FILE"

func init() {
	if path := os.Getenv(fileTokenEnv); path != "" {
		if err := hsm.Serve(os.Stdin, os.Stdout, func(o *hsm.Open) (hsm.Token, error) { return fileToken(path), login(path, o.Key.PINFile) }); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// login takes the PIN that stands beside the token, if there is one, and counts what was tried.
func login(path, pinFile string) error {
	want, err := os.ReadFile(path + ".pin")
	if err != nil {
		return nil
	}
	tries, _ := os.ReadFile(path + ".tries")
	pin, err := hsm.ReadPIN(pinFile)
	if err = errors.Join(err, os.WriteFile(path+".tries", append(tries, '.'), 0o600)); err == nil && pin != string(want) {
		err = hsm.ErrWrongPIN
	}
	return err
}

type fileToken string

func (f fileToken) key() (ed25519.PrivateKey, error) {
	seed, err := os.ReadFile(string(f))
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func (f fileToken) Public() (public protocol.OpKey, err error) {
	key, err := f.key()
	if err == nil {
		public = protocol.OpKey(key.Public().(ed25519.PublicKey))
	}
	return public, err
}

func (f fileToken) Sign(message []byte) ([]byte, error) {
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	return ed25519.Sign(key, message), nil
}

// testToken is a token that can be taken out: path is moved away.
type testToken struct {
	ref  hsm.Reference
	path string
}

func (k *testToken) away(t *testing.T) {
	t.Helper()
	if err := os.Rename(k.path, k.path+".away"); err != nil {
		t.Fatal(err)
	}
}

func (k *testToken) back(t *testing.T) {
	t.Helper()
	if err := os.Rename(k.path+".away", k.path); err != nil {
		t.Fatal(err)
	}
}

func newFileToken(t *testing.T) *testToken {
	t.Helper()
	dir := t.TempDir()
	k := &testToken{path: filepath.Join(dir, "token")}
	if err := os.WriteFile(k.path, []byte("a token of thirty-two bytes here"), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(fileTokenEnv, k.path)
	k.ref, err = hsm.Find(hsm.Reference{Helper: own, Module: "/none", Token: "file", Label: "op", PINFile: "/none"}, false)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// softHSM makes a token of SoftHSM with an operational key in it, by way of the real helper.
func softHSM(t *testing.T) *testToken {
	t.Helper()
	if os.Getenv("ENTENTE_SOFTHSM") == "" {
		t.Skip("ENTENTE_SOFTHSM is not set: Debian's package softhsm2 may be absent")
	}
	var module string
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			module = path
			break
		}
	}
	if module == "" {
		t.Fatal("libsofthsm2.so is not installed: apt-get install softhsm2")
	}
	dir := t.TempDir()
	k := &testToken{path: filepath.Join(dir, "tokens")}
	conf, pin, helper := filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "pin"), filepath.Join(dir, "entente-pkcs11")
	if err := errors.Join(os.Mkdir(k.path, 0o700), os.WriteFile(conf, fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\n", k.path), 0o600),
		os.WriteFile(pin, []byte("1234\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	t.Setenv("CGO_ENABLED", "1") // for the helper
	for _, args := range [][]string{{"softhsm2-util", "--init-token", "--free", "--label", "entente", "--pin", "1234", "--so-pin", "5678"},
		{"go", "build", "-o", helper, "../cmd/entente-pkcs11"}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	ref := hsm.Reference{Helper: helper, Module: module, Token: "entente", Label: "op", ID: []byte{1}, PINFile: pin}
	made, err := hsm.Find(ref, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.Find(ref, true); !errors.Is(err, hsm.ErrAway) || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second key of that name: %v", err)
	}
	if found, err := hsm.Find(ref, false); err != nil || found.Public != made.Public {
		t.Errorf("the key that was made is not found: %v", err)
	}
	for name, change := range map[string]func(r *hsm.Reference){
		"another token": func(r *hsm.Reference) { r.Token = "other" },
		"another key":   func(r *hsm.Reference) { r.Label = "other" },
		"no library":    func(r *hsm.Reference) { r.Module = pin },
		"no PIN":        func(r *hsm.Reference) { r.PINFile = filepath.Join(dir, "none") },
	} {
		r := ref
		change(&r)
		if _, err := hsm.Find(r, false); !errors.Is(err, hsm.ErrAway) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := ref
	wrong.PINFile = filepath.Join(dir, "wrong")
	if err := os.WriteFile(wrong.PINFile, []byte("4321"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.Find(wrong, false); !errors.Is(err, hsm.ErrWrongPIN) {
		t.Errorf("a wrong PIN: %v", err)
	}
	k.ref = made
	return k
}

// TestOperationalKeyInAToken: an organisation whose operational key is in a token signs with it what there
// is to sign; while the token is away nothing is half signed, and what waited is done when it is back.
func TestOperationalKeyInAToken(t *testing.T) {
	t.Run("file", func(t *testing.T) { tokenStory(t, newFileToken(t)) })
	t.Run("softhsm", func(t *testing.T) { tokenStory(t, softHSM(t)) })
}

// TestTokenInCeremonies: a key in a token is asked for, put in force and goes on where the root is replaced;
// it is not replaced by one in a file unless that is wanted.
func TestTokenInCeremonies(t *testing.T) {
	w := newRootWorld(t)
	k := newFileToken(t)
	s, err := hsm.New(k.ref)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	apply := func(init RotationInit, sign crypto.RootPrivate, steps ...crypto.RootStep) {
		t.Helper()
		init.Dir, init.Lock = w.dir, w.lock
		req, err := w.node.RequestRotation(init)
		if err != nil {
			t.Fatal(err)
		}
		rot, err := crypto.NewRotation(req, steps...)
		if err != nil {
			t.Fatal(err)
		}
		rot.Sign(sign)
		if _, err := w.node.ApplyRotation(RotationApply{Dir: w.dir, Lock: w.lock, Rotation: rot}); err != nil {
			t.Fatal(err)
		}
	}
	inToken := func(want bool) {
		t.Helper()
		op, err := loadOp(filepath.Join(w.dir, keyDir, opFile), w.lock, w.node.Org())
		if _, is := op.(*hsm.Signer); err != nil || is != want || op.Public() != w.node.OwnCard().RootEpoch.Op || (op.Public() == k.ref.Public) != want {
			t.Fatalf("the operational key in force is a %T: %v", op, err)
		}
	}
	apply(RotationInit{Kind: protocol.RotateOp, Op: s}, w.ident.Root)
	inToken(true)
	following := oneKey(w.ident.Root)
	apply(RotationInit{Kind: protocol.RotateRoot}, w.ident.Next, crypto.RootStep{Root: oneKey(w.ident.Next), Next: following.Hash()})
	inToken(true)
	if _, err := w.node.RequestRotation(RotationInit{Dir: w.dir, Lock: w.lock, Kind: protocol.RotateOp}); err == nil || !strings.Contains(err.Error(), "--to-file") {
		t.Errorf("a key in a file after one in a token: %v", err)
	}
	if _, err := w.node.RequestRotation(RotationInit{Dir: w.dir, Lock: w.lock, Kind: protocol.RotateRoot, NewOp: true}); err == nil || !strings.Contains(err.Error(), "--to-file") {
		t.Errorf("a key in a file after one in a token, with the root: %v", err)
	}
	if _, err := w.node.Promote(PromoteRequest{Dir: w.dir, Lock: w.lock, Root: []crypto.RootPrivate{w.ident.Next}}); err == nil || !strings.Contains(err.Error(), "--to-file") {
		t.Errorf("promoting to a key in a file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, keyDir, pendingFile)); err == nil {
		t.Error("a refused request leaves a key")
	}
	inToken(true)
	apply(RotationInit{Kind: protocol.RotateOp, ToFile: true}, w.ident.Next)
	inToken(false)
}

// TestPromoteToToken: root keys at hand put a key in force that is in a token.
func TestPromoteToToken(t *testing.T) {
	w := newRootWorld(t)
	k := newFileToken(t)
	s, err := hsm.New(k.ref)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := w.node.Promote(PromoteRequest{Dir: w.dir, Lock: w.lock, Root: []crypto.RootPrivate{w.ident.Root}, Op: s}); err != nil {
		t.Fatal(err)
	}
	if got := w.node.OwnCard().RootEpoch.Op; got != k.ref.Public || !w.node.opAnswers() {
		t.Errorf("in force is %x", got)
	}
}

// TestFoundingWithToken: the operational key of an organisation that a ceremony founds is in a token.
func TestFoundingWithToken(t *testing.T) {
	k := newFileToken(t)
	s, err := hsm.New(k.ref)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := filepath.Join(t.TempDir(), "d")
	req, err := RequestFounding(FoundingInit{Dir: dir, Name: "Vendor", Kind: "vendor", Op: s})
	if err != nil {
		t.Fatal(err)
	}
	keys, set, err := crypto.NewRootKeys(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := crypto.Found(req, set, keys, protocol.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := InitFounded(FoundedInit{Dir: dir, Lock: lock, Founding: &f.File}); err != nil {
		t.Fatal(err)
	}
	got, err := LoadKeys(dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	if _, is := got.Op.(*hsm.Signer); !is || got.Op.Public() != k.ref.Public {
		t.Errorf("the operational key is a %T", got.Op)
	}
}

// TestRefusedPIN: a node that is started again and again does not use up the tries of its token; status and doctor
// say so, until another PIN is there, or a person says that the token has this one.
func TestRefusedPIN(t *testing.T) {
	k := newFileToken(t)
	dir, pin := filepath.Join(t.TempDir(), "node"), filepath.Join(t.TempDir(), "pin")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(pin, "1234")
	k.ref.PINFile = pin
	s, err := hsm.New(k.ref)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Init(InitRequest{Dir: dir, RootFile: filepath.Join(t.TempDir(), "root"), Name: "Token", Kind: "cert", Op: s}); err != nil {
		t.Fatal(errors.Join(err, s.Close()))
	}
	s.Close()
	write(k.path+".pin", "4321")
	lock, err := OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := func(tries int, refused bool) {
		t.Helper()
		keys, err := LoadKeys(dir, lock)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Open(Config{Dir: dir, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		defer n.token().Close()
		if err := n.token().Check(); errors.Is(err, hsm.ErrWrongPIN) != refused {
			t.Errorf("the token: %v", err)
		}
		if hasProblem(t, n, "pin-refused") != refused || hasProblem(t, n, "token-silent") || len(findings(t, n, "keys")) > 0 != refused {
			t.Errorf("refused %v, and status or doctor say otherwise", refused)
		}
		if got, err := os.ReadFile(k.path + ".tries"); err != nil || len(got) != tries {
			t.Errorf("%d tries, want %d: %v", len(got), tries, err)
		}
	}
	start(1, true)
	start(1, true)
	write(k.path+".pin", "1234") // the token is given the PIN that is there
	start(1, true)
	if had, err := RetryPIN(dir); !had || err != nil {
		t.Fatal(had, err)
	}
	start(2, false)
	write(k.path+".pin", "4321")
	start(3, true)
	write(pin, "4321")
	start(4, false)
	if had, err := RetryPIN(dir); had || err != nil {
		t.Error("a PIN that was taken counts as refused")
	}
}

func tokenStory(t *testing.T, k *testToken) {
	s, err := hsm.New(k.ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "node")
	if _, err := Init(InitRequest{Dir: dir, RootFile: filepath.Join(t.TempDir(), "root"), Name: "Token", Kind: "cert", Op: s}); err != nil {
		t.Fatal(err)
	}
	lock, err := OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := LoadKeys(dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	if _, secret := keys.Op.(crypto.OpPrivate); secret || keys.Op.Public() != k.ref.Public {
		t.Fatalf("the data directory holds the key itself, or that of another token: %T", keys.Op)
	}
	n, err := Open(Config{Dir: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	partner := testNode(t, "Partner")
	intoOneNetwork(t, []*Node{n, partner}) // it founds the network, and invites
	agreeLong(t, n, partner)
	trustEachOther(t, n, partner)
	id, err := partner.Propose(testAgreement(partner, n, protocol.TLPGreen, "*"))
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, partner, n)

	k.away(t)
	if err := n.token().Check(); !errors.Is(err, hsm.ErrAway) {
		t.Fatalf("the token is away: %v", err)
	}
	before := fingerprint(t, n)
	serial := n.OwnCard().Serial
	if err := n.Countersign(id); !errors.Is(err, hsm.ErrAway) {
		t.Errorf("countersigning without the token: %v", err)
	}
	if err := n.renewCard(func(*protocol.Card) bool { return true }); err != nil || n.OwnCard().Serial != serial {
		t.Errorf("renewing without the token: %v", err)
	}
	if err := n.Terminate(id, "over", 0); err == nil {
		t.Error("terminating without the token did something")
	}
	if fingerprint(t, n) != before {
		t.Error("what could not be signed left something behind")
	}
	if info, err := n.RotateRecipient(context.Background(), false); err != nil || info.State != IdentityWaits {
		t.Errorf("the age identity without the token: %+v, %v", info, err)
	}
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fmt.Sprint(st.Problems), "cannot sign as the organisation") {
		t.Errorf("status does not tell: %v", st.Problems)
	}
	if l, err := n.KeyList(); err != nil || l.Token == nil || l.Token.Answers || l.Token.Problem == "" {
		t.Errorf("the list of keys does not tell: %+v, %v", l, err)
	}
	for _, e := range n.Expiries() {
		if e.What == ExpiryCard && e.Renews {
			t.Error("the card is said to renew itself")
		}
	}

	k.back(t)
	if err := n.token().Check(); err != nil {
		t.Fatal(err)
	}
	keepKeys(t, n)
	if n.OwnCard().Serial <= serial || n.Identities()[0].State != IdentityOnCard {
		t.Error("what waited for the token was not done when it came back")
	}
	if err := n.Countersign(id); err != nil {
		t.Fatal(err)
	}
	if a, err := n.Agreement(id); err != nil || a.State != AgreementInForce {
		t.Errorf("the agreement is %s, %v", a.State, err)
	}
	if st, err = n.Status(); err != nil || strings.Contains(fmt.Sprint(st.Problems), "cannot sign") {
		t.Errorf("status still tells of the token: %v, %v", st.Problems, err)
	}
	if _, err := n.Backup(context.Background(), new(strings.Builder), BackupRequest{Recipients: []string{newOffline(t).recipient}}); err == nil || !strings.Contains(err.Error(), "hardware") {
		t.Errorf("a backup that was to hold the key: %v", err)
	}
}
