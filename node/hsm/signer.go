package hsm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// ErrAway says that the token does not answer, or not with the key that is expected. Nothing was signed.
var ErrAway = errors.New("the token with the operational key does not answer")

// answerTime is how long the helper may take for one answer; one that takes longer is ended. Tokens that
// want somebody to touch them are not made for a node that renews its card by itself.
const answerTime = 20 * time.Second

// Signer signs with a key in a token: a crypto.OpSigner. Its methods may be called concurrently.
type Signer struct {
	ref   Reference
	start func() (io.ReadWriteCloser, error)

	remember string // file for the PIN that was refused; empty: that is remembered in memory
	code     []byte // key for codes of PINs

	mu    sync.Mutex
	conn  io.ReadWriteCloser // nil: the helper does not run
	pin   *refusal           // of the PIN that was refused, where no file says so; nil: none was
	state sync.Mutex         // over what follows; held for moments only
	err   error              // of the last attempt; nil: it answered
	since time.Time          // since when
}

var _ crypto.OpSigner = (*Signer)(nil)

// New makes a signer. It starts nothing: see Check.
func New(ref Reference) (*Signer, error) {
	if err := ref.Validate(); err != nil {
		return nil, err
	}
	if ref.Public == (protocol.OpKey{}) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "reference to a key in a token lacks the public key; 'entente key hsm use' writes it")
	}
	s := &Signer{ref: ref, since: time.Now()}
	s.start = func() (io.ReadWriteCloser, error) { return startHelper(ref.Helper) }
	return s, nil
}

// Find asks a token for a key, or has one made, and returns the reference with its public half.
func Find(ref Reference, make bool) (Reference, error) {
	return find(ref, make, func() (io.ReadWriteCloser, error) { return startHelper(ref.Helper) })
}

func find(ref Reference, make bool, start func() (io.ReadWriteCloser, error)) (Reference, error) {
	ref.Version, ref.Public = 1, protocol.OpKey{}
	if err := ref.Validate(); err != nil {
		return ref, err
	}
	conn, err := start()
	if err != nil {
		return ref, err
	}
	defer conn.Close()
	a, err := exchange(conn, &Open{Version: 1, Key: ref, Make: make}, 32)
	if err != nil {
		return ref, err
	}
	ref.Public = protocol.OpKey(a.Bytes)
	return ref, nil
}

// Reference returns where the key is.
func (s *Signer) Reference() Reference { return s.ref }

// Public returns the public key. It asks nobody.
func (s *Signer) Public() protocol.OpKey { return s.ref.Public }

// Sign signs a statement. An error wraps ErrAway where it is the token's.
func (s *Signer) Sign(c protocol.Context, n protocol.NetworkID, statement []byte) (sig protocol.Signature, err error) {
	ask := &Ask{Version: 1, Kind: AskSign, Context: c, Network: n, Statement: statement}
	if err := ask.Validate(); err != nil {
		return sig, err
	}
	a, err := s.ask(ask, len(sig))
	if err != nil {
		return sig, err
	}
	sig = protocol.Signature(a.Bytes)
	if err := crypto.Verify(s.ref.Public, c, n, statement, sig); err != nil {
		return protocol.Signature{}, fmt.Errorf("%w: %v", ErrAway, err)
	}
	return sig, nil
}

// Check looks whether the token answers, with the key that is expected.
func (s *Signer) Check() error {
	a, err := s.ask(&Ask{Version: 1, Kind: AskCheck}, len(s.ref.Public))
	if err == nil && protocol.OpKey(a.Bytes) != s.ref.Public {
		err = fmt.Errorf("%w: it has another key now", ErrAway)
		s.note(err)
	}
	return err
}

// Problem returns why the token did not answer last, and since when it does not; nil if it did, or was
// not asked yet.
func (s *Signer) Problem() (since time.Time, err error) {
	s.state.Lock()
	defer s.state.Unlock()
	return s.since, s.err
}

// Close ends the helper. A later Sign starts another.
func (s *Signer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop()
}

func (s *Signer) drop() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

func (s *Signer) note(err error) {
	s.state.Lock()
	defer s.state.Unlock()
	if (err == nil) != (s.err == nil) {
		s.since = time.Now()
	}
	s.err = err
}

// ask asks the helper, which is started where it does not run. What fails ends it: the next begins anew,
// in another process.
func (s *Signer) ask(ask *Ask, size int) (a *Answer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.note(err) }()
	if s.conn == nil {
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	if a, err = exchange(s.conn, ask, size); err != nil {
		_ = s.drop()
	}
	return a, err
}

func (s *Signer) open() error {
	// A token locks after a few wrong PINs: one that was refused is tried again when somebody wrote another.
	pin := s.present()
	if err := s.refused(pin); err != nil {
		return err
	}
	conn, err := s.start()
	if err != nil {
		return err
	}
	_, err = exchange(conn, &Open{Version: 1, Key: s.ref}, len(s.ref.Public))
	if err != nil {
		if errors.Is(err, ErrWrongPIN) {
			err = errors.Join(err, s.noteRefusal(pin))
		}
		_ = conn.Close()
		return err
	}
	s.forgetRefusal()
	s.conn = conn
	return nil
}

// exchange sends a frame and reads the answer, which has so many bytes if it is good.
func exchange(conn io.ReadWriteCloser, v any, size int) (*Answer, error) {
	late := time.AfterFunc(answerTime, func() { conn.Close() })
	defer late.Stop()
	a := new(Answer)
	// What the helper says before it ends tells more than that it cannot be written to.
	werr := writeFrame(conn, v)
	if err := readFrame(conn, a); err != nil {
		return nil, fmt.Errorf("%w: the helper ended, or took more than %s (%v)", ErrAway, answerTime, errors.Join(err, werr))
	}
	switch {
	case a.Status == WrongPIN:
		return nil, fmt.Errorf("%w: %w: %s", ErrAway, ErrWrongPIN, a.Text)
	case a.Status != Good:
		return nil, fmt.Errorf("%w: %s", ErrAway, a.Text)
	case len(a.Bytes) != size:
		return nil, fmt.Errorf("%w: the helper answered with %d bytes for %d", ErrAway, len(a.Bytes), size)
	}
	return a, nil
}

// helperName is what the helper is called.
const helperName = "entente-pkcs11"

// startHelper starts the helper at a path; empty: beside this program, or where PATH says.
func startHelper(path string) (io.ReadWriteCloser, error) {
	if path == "" {
		if own, err := os.Executable(); err == nil {
			if beside := filepath.Join(filepath.Dir(own), helperName); isFile(beside) {
				path = beside
			}
		}
	}
	if path == "" {
		found, err := exec.LookPath(helperName)
		if err != nil {
			return nil, fmt.Errorf("%w: the program %s is neither beside this one nor in PATH; install it, or say where it is with --helper", ErrAway, helperName)
		}
		path = found
	}
	cmd := exec.Command(path)
	for _, v := range os.Environ() { // libraries are set up by variables of their own
		if !strings.HasPrefix(v, "ENTENTE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: starting %s: %v", ErrAway, path, err)
	}
	return &process{Reader: out, WriteCloser: in, cmd: cmd}, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// process is a helper that runs.
type process struct {
	io.Reader
	io.WriteCloser
	cmd  *exec.Cmd
	once sync.Once
}

// endTime is how long a helper may take to end when there is nothing more to read. One that is ended by force
// may leave a token that is a file half written: SoftHSM writes its own at each login.
const endTime = 2 * time.Second

// Close ends it.
func (p *process) Close() error {
	p.once.Do(func() {
		_ = p.WriteCloser.Close()
		late := time.AfterFunc(endTime, func() { _ = p.cmd.Process.Kill() })
		defer late.Stop()
		_ = p.cmd.Wait() // it may have been killed, and says so
	})
	return nil
}
