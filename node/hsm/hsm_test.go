package hsm

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// memoryToken is a token whose key is in memory.
type memoryToken struct {
	key  ed25519.PrivateKey
	err  error
	sign func(message []byte) []byte // nil: as it should
}

func newMemoryToken() *memoryToken {
	return &memoryToken{key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))}
}

func (m *memoryToken) Public() (protocol.OpKey, error) {
	return protocol.OpKey(m.key.Public().(ed25519.PublicKey)), m.err
}

func (m *memoryToken) Sign(message []byte) ([]byte, error) {
	if m.sign != nil {
		return m.sign(message), m.err
	}
	return ed25519.Sign(m.key, message), m.err
}

// bench is a signer whose helper runs in this process; it counts how often that was started.
type bench struct {
	*Signer
	token  *memoryToken
	open   error // what logging in fails with
	starts int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte("1234\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bench{token: newMemoryToken()}
	public, _ := b.token.Public()
	s, err := New(Reference{Version: 1, Module: "/lib/token.so", Token: "test", Label: "op", PINFile: pin, Public: public})
	if err != nil {
		t.Fatal(err)
	}
	s.start = func() (io.ReadWriteCloser, error) {
		b.starts++
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			_ = Serve(far, far, func(*Open) (Token, error) { return b.token, b.open })
		}()
		return near, nil
	}
	b.Signer = s
	t.Cleanup(func() { s.Close() })
	return b
}

// TestSigner: what a token signs is what an operational key in memory signs.
func TestSigner(t *testing.T) {
	b := newBench(t)
	network := protocol.NetworkID{1}
	for _, c := range signable {
		for _, size := range []int{1, 100, MaxStatement} {
			statement := bytes.Repeat([]byte{5}, size)
			sig, err := b.Sign(c, network, statement)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := crypto.OpFromSeed([32]byte(b.token.key.Seed())).Sign(c, network, statement)
			if sig != want {
				t.Fatalf("%s, %d bytes: another signature than that of the same key in memory", c, size)
			}
		}
	}
	if b.starts != 1 {
		t.Errorf("the helper was started %d times", b.starts)
	}
	for c, statement := range map[protocol.Context][]byte{protocol.ContextRootEpoch: {1}, protocol.ContextEnvelope: {1}, "": {1}, "ssh": {1},
		protocol.ContextCard: make([]byte, MaxStatement+1), protocol.ContextAgreement: {}} {
		if _, err := b.Sign(c, network, statement); err == nil || errors.Is(err, ErrAway) {
			t.Errorf("%q, %d bytes: %v", c, len(statement), err)
		}
	}
	if err := b.Check(); err != nil || b.starts != 1 {
		t.Errorf("after requests that were refused: %v, %d starts", err, b.starts)
	}
}

// TestTokenComesAndGoes: a token that fails signs nothing, and is begun anew, in another process, when it
// is asked again.
func TestTokenComesAndGoes(t *testing.T) {
	b := newBench(t)
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	b.token.err = errors.New("taken out")
	if _, err := b.Sign(protocol.ContextCard, protocol.NoNetwork, []byte("card")); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "taken out") {
		t.Fatalf("a token that is away: %v", err)
	}
	if err := b.Check(); !errors.Is(err, ErrAway) {
		t.Fatalf("a token that is away: %v", err)
	}
	if _, err := b.Problem(); err == nil {
		t.Fatal("it is not told that the token is away")
	}
	b.token.err = nil
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Problem(); err != nil || b.starts != 3 {
		t.Errorf("%v after %d starts", err, b.starts)
	}
	for name, sign := range map[string]func([]byte) []byte{
		"short":        func([]byte) []byte { return []byte("no signature") },
		"wrong":        func([]byte) []byte { return make([]byte, 64) },
		"of something": func([]byte) []byte { return ed25519.Sign(b.token.key, []byte("something else")) },
	} {
		b.token.sign = sign
		if _, err := b.Sign(protocol.ContextCard, protocol.NoNetwork, []byte("card")); !errors.Is(err, ErrAway) {
			t.Errorf("a signature that is %s: %v", name, err)
		}
	}
	b.token.sign = nil
	b.token.key = ed25519.NewKeyFromSeed(make([]byte, 32))
	if err := b.Check(); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "not") {
		t.Errorf("a token with another key: %v", err)
	}
}

// TestWrongPINIsTriedOnce: a PIN that the token refused is not tried again before its file is written
// anew, since tokens lock themselves.
func TestWrongPINIsTriedOnce(t *testing.T) {
	b := newBench(t)
	b.open = ErrWrongPIN
	for range 5 {
		if err := b.Check(); !errors.Is(err, ErrAway) {
			t.Fatal(err)
		}
	}
	if b.starts != 1 {
		t.Fatalf("the PIN was tried %d times", b.starts)
	}
	b.open = nil
	if err := os.Chtimes(b.ref.PINFile, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(); err != nil || b.starts != 2 {
		t.Errorf("another PIN: %v after %d starts", err, b.starts)
	}
}

// TestRefusedPINOutlivesTheProcess: one that was refused is not tried by the next process either, also where it is
// a credential that is written anew at each start; another one is, and the same one where a person says so.
func TestRefusedPINOutlivesTheProcess(t *testing.T) {
	for _, credential := range []bool{false, true} {
		dir := t.TempDir()
		remember := filepath.Join(dir, RefusalFile)
		t.Setenv("CREDENTIALS_DIRECTORY", dir)
		pin := filepath.Join(dir, "pin")
		begin := func(text string) *bench {
			b := newBench(t)
			if b.ref.PINFile = pin; credential {
				b.ref.PINFile = "credential:pin"
			}
			if err := b.Remember(remember, [32]byte{1}); err != nil {
				t.Fatal(err)
			}
			if text != "" {
				if err := os.WriteFile(pin, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b.open = ErrWrongPIN
			return b
		}
		tried := func(b *bench, want int, why string) {
			t.Helper()
			for range 2 {
				if err := b.Check(); !errors.Is(err, ErrWrongPIN) || !errors.Is(err, ErrAway) {
					t.Errorf("%s: %v", why, err)
				}
			}
			if b.starts != want {
				t.Errorf("credential %v, %s: tried %d times, want %d", credential, why, b.starts, want)
			}
		}
		tried(begin("1234"), 1, "the first process")
		tried(begin(""), 0, "the next process")
		if credential {
			later := time.Now().Add(time.Hour)
			b := begin("1234")
			if err := os.Chtimes(pin, later, later); err != nil {
				t.Fatal(err)
			}
			tried(b, 0, "a credential that was written anew")
		}
		if text, err := os.ReadFile(remember); err != nil || bytes.Contains(text, []byte("1234")) {
			t.Errorf("the PIN stands in the file: %v", err)
		}
		tried(begin("12345"), 1, "another PIN")
		b := begin("")
		if had, err := ForgetRefusal(remember); !had || err != nil {
			t.Errorf("nothing to be forgotten: %v, %v", had, err)
		}
		if had, err := ForgetRefusal(remember); had || err != nil {
			t.Errorf("forgotten twice: %v, %v", had, err)
		}
		tried(b, 1, "where a person says so, in a process that runs")
		if err := os.WriteFile(remember, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		tried(begin("123"), 0, "where it cannot be read")
		if _, err := ForgetRefusal(remember); err != nil {
			t.Fatal(err)
		}
		b = begin("")
		b.open = nil
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(remember); err == nil {
			t.Error("a PIN that was taken counts as refused")
		}
		// Where nothing can be written, the process remembers by itself.
		b = begin("")
		b.remember = filepath.Join(dir, "none", RefusalFile)
		tried(b, 1, "where nothing can be written")
	}
}

// TestHelperEndsByItself: it is not cut off in what it is about, and one that does not end is.
func TestHelperEndsByItself(t *testing.T) {
	dir := t.TempDir()
	ended := filepath.Join(dir, "ended")
	begin := func(script string) io.Closer {
		t.Helper()
		path := filepath.Join(dir, "helper")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
		p, err := startHelper(path)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := begin("cat >/dev/null; echo > '" + ended + "'").Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ended); err != nil {
		t.Errorf("the helper was cut off: %v", err)
	}
	p := begin("exec sleep 1000").(*process)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if p.cmd.ProcessState == nil || p.cmd.ProcessState.Success() {
		t.Errorf("a helper that hangs: %v", p.cmd.ProcessState)
	}
}

func TestFind(t *testing.T) {
	b := newBench(t)
	ref := b.ref
	ref.Public = protocol.OpKey{}
	if _, err := New(ref); protocol.Class(err) != "malformed" {
		t.Errorf("a reference without its key: %v", err)
	}
	found, err := find(ref, false, b.start)
	if err != nil || found.Public != b.ref.Public {
		t.Errorf("found %s, %v", found.Public, err)
	}
	b.open = ErrWrongKey
	if _, err := find(ref, true, b.start); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("a key that is not there: %v", err)
	}
}

// TestReferenceRefuses and the frames: one deviation for each.
func TestReferenceRefuses(t *testing.T) {
	good := Reference{Version: 1, Module: "/m", Token: "t", Label: "l", PINFile: "/p"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(r *Reference)
		class  string
	}{
		"version":    {func(r *Reference) { r.Version = 2 }, "malformed"},
		"no module":  {func(r *Reference) { r.Module = "" }, "malformed"},
		"no token":   {func(r *Reference) { r.Token = "" }, "malformed"},
		"no pin":     {func(r *Reference) { r.PINFile = "" }, "malformed"},
		"line break": {func(r *Reference) { r.Label = "a\nb" }, "malformed"},
		"long label": {func(r *Reference) { r.Label = strings.Repeat("l", maxLabel+1) }, "oversize"},
		"long path":  {func(r *Reference) { r.Module = strings.Repeat("l", maxPath+1) }, "oversize"},
		"long id":    {func(r *Reference) { r.ID = make([]byte, maxKeyID+1) }, "oversize"},
	} {
		r := good
		c.change(&r)
		if err := r.Validate(); protocol.Class(err) != c.class {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func frame(v any) []byte {
	var b bytes.Buffer
	if err := writeFrame(&b, v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func opening() []byte {
	return frame(&Open{Version: 1, Key: Reference{Version: 1, Module: "/m", Token: "t", Label: "l", PINFile: "/p", ID: []byte{}}})
}

func signing() []byte {
	return frame(&Ask{Version: 1, Kind: AskSign, Context: protocol.ContextCard, Statement: []byte("card")})
}

// TestServeRefuses: after anything that is not a frame the helper says so and ends, without having signed.
func TestServeRefuses(t *testing.T) {
	whole := signing()
	for name, in := range map[string][]byte{
		"empty frame":     {0, 0, 0, 0},
		"too long":        binary.BigEndian.AppendUint32(nil, maxFrame+1),
		"breaks off":      whole[:len(whole)-1],
		"trailing bytes":  append(binary.BigEndian.AppendUint32(nil, uint32(len(whole)-3)), append(whole[4:], 0)...),
		"another context": frame(&Ask{Version: 1, Kind: AskSign, Context: protocol.ContextRootEpoch, Statement: []byte{1}}),
		"another version": frame(&Ask{Version: 2, Kind: AskSign, Context: protocol.ContextCard, Statement: []byte{1}}),
		"another kind":    frame(&Ask{Version: 1, Kind: 3, Statement: []byte{}}),
		"check and sign":  frame(&Ask{Version: 1, Kind: AskCheck, Statement: []byte{1}}),
		"nothing to sign": frame(&Ask{Version: 1, Kind: AskSign, Context: protocol.ContextCard, Statement: []byte{}}),
	} {
		token := newMemoryToken()
		token.sign = func([]byte) []byte { t.Errorf("%s: it was signed", name); return nil }
		var out bytes.Buffer
		if err := Serve(bytes.NewReader(append(opening(), append(in, whole...)...)[:len(opening())+len(in)]), &out, func(*Open) (Token, error) { return token, nil }); err == nil {
			t.Errorf("%s: taken", name)
		}
		var a Answer
		if err := readFrame(&out, &a); err != nil || a.Status != Good {
			t.Fatalf("%s: opening: %+v, %v", name, a, err)
		}
		if err := readFrame(&out, &a); err != nil || a.Status == Good || a.Text == "" {
			t.Errorf("%s: answered %+v, %v", name, a, err)
		}
	}
}

// TestAnswersRefused: a helper that was taken over says nothing that the node takes for a signature.
func TestAnswersRefused(t *testing.T) {
	for name, answer := range map[string][]byte{
		"nothing":         {},
		"a key":           frame(&Answer{Version: 1, Bytes: make([]byte, 32)}),
		"a bad signature": frame(&Answer{Version: 1, Bytes: make([]byte, 64)}),
		"status 9":        frame(&Answer{Version: 1, Status: 9, Bytes: []byte{}}),
		"both":            frame(&Answer{Version: 1, Status: Failed, Bytes: make([]byte, 64)}),
		"version 2":       frame(&Answer{Version: 2, Bytes: make([]byte, 64)}),
		"long text":       frame(&Answer{Version: 1, Status: Failed, Bytes: []byte{}, Text: strings.Repeat("x", maxText+1)}),
	} {
		b := newBench(t)
		b.start = func() (io.ReadWriteCloser, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				var o Open
				var ask Ask
				if readFrame(far, &o) == nil && writeFrame(far, &Answer{Version: 1, Bytes: b.ref.Public[:]}) == nil && readFrame(far, &ask) == nil {
					_, _ = far.Write(answer)
				}
			}()
			return near, nil
		}
		if _, err := b.Sign(protocol.ContextCard, protocol.NoNetwork, []byte("card")); !errors.Is(err, ErrAway) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadPIN(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if pin, err := ReadPIN(write("good", "12 34\n", 0o600)); err != nil || pin != "12 34" {
		t.Errorf("%q, %v", pin, err)
	}
	for _, path := range []string{write("open", "1234", 0o644), write("group", "1234", 0o640), write("empty", "\n", 0o600), write("long", strings.Repeat("1", maxPIN+1), 0o600),
		dir, filepath.Join(dir, "none"), "credential:good"} {
		if pin, err := ReadPIN(path); err == nil {
			t.Errorf("%s: took %q", path, pin)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if pin, err := ReadPIN("credential:group"); err != nil || pin != "1234" {
		t.Errorf("a credential: %q, %v", pin, err)
	}
	for _, name := range []string{"credential:", "credential:../good", "credential:..", "credential:open"} {
		if pin, err := ReadPIN(name); err == nil {
			t.Errorf("%s: took %q", name, pin)
		}
	}
}

// FuzzServe: whatever a node that was taken over writes, the helper neither fails badly nor signs what no
// operational key signs, and answers with frames only.
func FuzzServe(f *testing.F) {
	f.Add(append(opening(), signing()...))
	f.Add(append(opening(), frame(&Ask{Version: 1, Kind: AskCheck, Statement: []byte{}})...))
	f.Add(opening())
	f.Fuzz(func(t *testing.T, in []byte) {
		token := newMemoryToken()
		token.sign = func(message []byte) []byte {
			for _, c := range signable {
				if bytes.HasPrefix(message, append([]byte(c), 0)) && len(message) > len(c)+33 {
					return ed25519.Sign(token.key, message)
				}
			}
			t.Fatalf("%q was to be signed", message)
			return nil
		}
		var out bytes.Buffer
		_ = Serve(bytes.NewReader(in), &out, func(*Open) (Token, error) { return token, nil })
		for out.Len() > 0 {
			var a Answer
			if err := readFrame(&out, &a); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzFrames: what decodes encodes to the same bytes.
func FuzzFrames(f *testing.F) {
	f.Add(opening()[4:])
	f.Add(signing()[4:])
	f.Add(protocol.Encode(&Answer{Version: 1, Status: Failed, Bytes: []byte{}, Text: "away"}))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, v := range []any{new(Open), new(Ask), new(Answer)} {
			if protocol.Decode(in, maxFrame, v) == nil && !bytes.Equal(protocol.Encode(v), in) {
				t.Fatalf("%T is malleable", v)
			}
		}
	})
}
