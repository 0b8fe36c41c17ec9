package crypto

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func testShare(t testing.TB, lock Lock) (*protocol.RootShare, RootPrivate) {
	t.Helper()
	keys, set, err := NewRootKeys(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewShare(protocol.OrgID{1}, "Example Vendor", 0, set, keys[1], lock)
	if err != nil {
		t.Fatal(err)
	}
	return s, keys[1]
}

func noLock() (Lock, error) { return nil, errors.New("no passphrase was to be asked for") }

func TestShareFile(t *testing.T) {
	testOnlyWorkFactor = 1
	defer func() { testOnlyWorkFactor = 0 }()
	for _, lock := range []Lock{nil, PassphraseLock([]byte("correct horse"))} {
		s, k := testShare(t, lock)
		text := FormatShare(s)
		if !strings.HasPrefix(text, "Entente root share 2 of 3; 2 of them have to sign together\n") {
			t.Errorf("the head does not say which share it is:\n%s", text)
		}
		for _, written := range []string{text, strings.ReplaceAll(text, "\n", "\r\n"), "\n" + text + "\n"} {
			read, err := ParseShare(written)
			if err != nil {
				t.Fatal(err)
			}
			got, err := OpenShare(read, func() (Lock, error) { return lock, nil })
			if err != nil || got.Public() != k.Public() {
				t.Errorf("opening a share file: %v", err)
			}
		}
		if lock == nil {
			if _, err := OpenShare(s, noLock); err != nil {
				t.Errorf("a share in clear: %v", err)
			}
			continue
		}
		if _, err := OpenShare(s, noLock); err == nil {
			t.Error("a sealed share opens without a passphrase")
		}
		if _, err := OpenShare(s, func() (Lock, error) { return PassphraseLock([]byte("incorrect horse")), nil }); err == nil {
			t.Error("a sealed share opens with another passphrase")
		}
	}
}

func TestShareFileRefuses(t *testing.T) {
	s, _ := testShare(t, nil)
	text := FormatShare(s)
	swap := func(old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in a share file", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	body := strings.Split(text, "\n")[8]
	for what, altered := range map[string]string{
		"another organisation in the head": swap("Example Vendor", "Example Police"),
		"another index in the head":        swap("root share 2", "root share 1"),
		"another threshold in the head":    swap("; 2 of them", "; 1 of them"),
		"said to be sealed":                swap("NOT SEALED: whoever reads this file has the key", "sealed with the passphrase of its holder"),
		"a letter altered":                 swap(body, flip(body)),
		"no head":                          text[strings.Index(text, "-----BEGIN"):],
		"cut":                              text[:len(text)-40],
		"nothing":                          "",
		"something after it":               text + "OrgID org:another\n",
		"a header in the armour":           swap("SHARE-----\n", "SHARE-----\nComment: x\n\n"),
	} {
		if _, err := ParseShare(altered); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ParseShare(text + strings.Repeat(" x", 4*protocol.MaxShareSize)); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("too large: %v", err)
	}
	other, _ := testShare(t, nil)
	s.Secret = other.Secret
	if _, err := OpenShare(s, noLock); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("the secret of another key: %v", err)
	}
	if out := fmt.Sprintf("%v %+v %s %x", *s, *s, *s, *s); strings.Contains(out, fmt.Sprintf("%x", s.Secret)) || !strings.Contains(out, "root share") {
		t.Errorf("a share prints as %s", out)
	}
}

func flip(s string) string {
	b := []byte(s)
	if b[7] == 'A' {
		b[7] = 'B'
	} else {
		b[7] = 'A'
	}
	return string(b)
}

func TestPaper(t *testing.T) {
	k := GenerateRoot()
	words := k.UnsafePaper()
	for _, said := range []string{strings.Join(words, " "), strings.ToUpper(strings.Join(words, "\n")), "1 " + strings.Join(words, ", 2: ")} {
		got, err := ParsePaper(said)
		if err != nil || got.Public() != k.Public() {
			t.Errorf("reading the words of a key: %v", err)
		}
	}
	swapped := append([]string{}, words...)
	for i := 1; swapped[0] == words[0]; i++ {
		swapped[0], swapped[i] = swapped[i], swapped[0]
	}
	for what, said := range map[string]string{"23 words": strings.Join(words[:23], " "), "no words": "", "an unknown word": strings.Join(words[:23], " ") + " entente"} {
		if _, err := ParsePaper(said); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got, err := ParsePaper(strings.Join(swapped, " ")); err == nil && got.Public() == k.Public() {
		t.Error("swapped words are of the same key")
	}
}

// rotationWorld is an organisation of k of n root keys, with a set of m keys to follow.
type rotationWorld struct {
	root, next, later []RootPrivate
	set, nextSet      protocol.RootSet
	laterSet          protocol.RootSet
	card              protocol.SignedCard
	op                OpPrivate
}

func newRotationWorld(t interface{ Fatal(...any) }, n, k, m, j int) *rotationWorld {
	w := &rotationWorld{op: GenerateOp()}
	keys := func(n, k int) ([]RootPrivate, protocol.RootSet) {
		list, set, err := NewRootKeys(n, k)
		if err != nil {
			t.Fatal(err)
		}
		return list, set
	}
	w.root, w.set = keys(n, k)
	w.next, w.nextSet = keys(m, j)
	w.later, w.laterSet = keys(m, j)
	signed, err := SignFoundingRequest(&protocol.FoundingRequest{Version: 1, Name: "Example", Kind: "cert", Op: w.op.Public(), Made: 1}, w.op)
	if err != nil {
		t.Fatal(err)
	}
	req, err := VerifyFoundingRequest(&signed)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Found(req, w.set, w.root, w.nextSet.Hash())
	if err != nil {
		t.Fatal(err)
	}
	card, err := SignCard(&protocol.Card{Version: 1, Inception: f.File.Inception, RootEpoch: f.File.RootEpoch, Serial: 1, Issued: 1, FreshUntil: 2}, w.op)
	if err != nil {
		t.Fatal(err)
	}
	w.card = card
	return w
}

func (w *rotationWorld) request(t interface{ Fatal(...any) }, kind protocol.RotationKind, op OpPrivate, reason protocol.RetireReason) *RotationRequest {
	signed, err := SignRotationRequest(&protocol.RotationRequest{Version: 1, Kind: kind, Card: protocol.Encode(&w.card), Op: op.Public(), Reason: reason, Made: 2}, op)
	if err != nil {
		t.Fatal(err)
	}
	r, err := VerifyRotationRequest(&signed)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRotationNeedsItsThreshold: whoever signs, in whichever order, in one file that goes round or in
// copies that are joined, a rotation holds exactly when enough keys of the right set signed it, and the card
// made of it verifies exactly then.
func TestRotationNeedsItsThreshold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, protocol.MaxRootKeys).Draw(t, "n")
		k := rapid.IntRange(1, n).Draw(t, "k")
		w := newRotationWorld(t, n, k, n, k)
		root := rapid.Bool().Draw(t, "root")
		req, signers, others := w.request(t, protocol.RotateOp, GenerateOp(), protocol.RetiredRotated), w.root, w.next
		var steps []RootStep
		if root {
			req, signers, others = w.request(t, protocol.RotateRoot, w.op, 0), w.next, w.root
			steps = []RootStep{{w.nextSet, w.laterSet.Hash()}}
		}
		rot, err := NewRotation(req, steps...)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := NewRotation(req, steps...)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range others {
			if rot.Sign(k) {
				t.Fatal("a key of another root set signs")
			}
		}
		signed := map[int]bool{}
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 2*n).Draw(t, "signers") {
			to := rot
			if rapid.Bool().Draw(t, "copy") {
				to = copied
			}
			to.Sign(signers[i])
			signed[i] = true
		}
		if err := rot.Join(copied); err != nil {
			t.Fatal(err)
		}
		enough := len(signed) >= k
		if (len(rot.Missing()) == 0) != enough {
			t.Fatalf("%d of %d signed, %d have to, and %v is missing", len(signed), n, k, rot.Missing())
		}
		var again protocol.Rotation
		if err := protocol.Decode(protocol.Encode(&rot.File), protocol.MaxRotationSize, &again); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyRotation(&again); err != nil {
			t.Fatalf("a rotation that goes round does not verify: %v", err)
		}
		op := w.op
		c := protocol.Card{Version: 1, Inception: req.Card.Card.Inception, Rotations: rot.File.Rotations, RootEpoch: rot.File.RootEpoch, Serial: 1, Issued: 2, FreshUntil: 3}
		if !root {
			return // the new operational key is the request's own
		}
		card, err := SignCard(&c, op)
		if err != nil {
			t.Fatal(err)
		}
		v, err := VerifyCard(&card)
		if (err == nil) != enough {
			t.Fatalf("%d of %d signed, %d have to: %v", len(signed), n, k, err)
		}
		if enough && (v.Order.Epoch != protocol.EpochNumber(1, 1) || v.Next != w.laterSet.Hash() || !req.Card.Order.Less(v.Order)) {
			t.Fatalf("the card after a rotation has order %+v", v.Order)
		}
	})
}

func TestRotationOfOthersIsNotJoined(t *testing.T) {
	w := newRotationWorld(t, 3, 2, 2, 1)
	a, err := NewRotation(w.request(t, protocol.RotateOp, GenerateOp(), protocol.RetiredRotated))
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewRotation(w.request(t, protocol.RotateOp, GenerateOp(), protocol.RetiredRotated))
	if err != nil {
		t.Fatal(err)
	}
	b.Sign(w.root[0])
	if err := a.Join(b); !errors.Is(err, ErrOtherRotation) || len(a.File.RootEpoch.Sigs) > 0 {
		t.Errorf("joining another rotation: %v", err)
	}
}

// TestRotationWordsAreOfItsSets: whoever carries a rotation and puts another set, or another commitment, in
// it does not get the words that the ceremony printed; nor are those the words of the request.
func TestRotationWordsAreOfItsSets(t *testing.T) {
	w := newRotationWorld(t, 1, 1, 2, 2)
	req := w.request(t, protocol.RotateRoot, w.op, 0)
	_, thief, err := NewRootKeys(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{strings.Join(req.Words(), " "): "the request"}
	for name, steps := range map[string][]RootStep{
		"one that was made":         {{w.nextSet, w.laterSet.Hash()}},
		"another commitment":        {{w.nextSet, thief.Hash()}},
		"on to a set":               {{w.nextSet, w.laterSet.Hash()}, {w.laterSet, protocol.Hash{7}}},
		"on to another set":         {{w.nextSet, thief.Hash()}, {thief, protocol.Hash{7}}},
		"on to a set, another next": {{w.nextSet, w.laterSet.Hash()}, {w.laterSet, protocol.Hash{8}}},
	} {
		rot, err := NewRotation(req, steps...)
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Join(rot.Words(), " ")
		if other := said[words]; other != "" || rot.MatchWords(strings.Join(req.Words(), " ")) {
			t.Errorf("%s has the words of %s", name, other)
		}
		said[words] = name
		before := rot.Name
		rot.Sign(w.next[0])
		again, err := VerifyRotation(&rot.File)
		if err != nil || again.Name != before || !again.MatchWords(words) {
			t.Errorf("%s: the words change with a signature: %v", name, err)
		}
	}
	op, err := NewRotation(w.request(t, protocol.RotateOp, GenerateOp(), protocol.RetiredRotated))
	if err != nil {
		t.Fatal(err)
	}
	if !op.MatchWords(strings.Join(op.Request.Words(), " ")) {
		t.Error("another operational key follows from its request, and has other words")
	}
}

// TestRotationOnToASetMadeNow: the set that was committed to is passed through; both have to sign.
func TestRotationOnToASetMadeNow(t *testing.T) {
	w := newRotationWorld(t, 1, 1, 2, 2)
	rot, err := NewRotation(w.request(t, protocol.RotateRoot, w.op, 0), RootStep{w.nextSet, w.laterSet.Hash()}, RootStep{w.laterSet, protocol.Hash{7}})
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range []RootPrivate{w.next[0], w.next[1], w.later[0], w.later[1]} {
		if len(rot.Missing()) == 0 {
			t.Fatalf("nothing is missing after %d of 4 keys", i)
		}
		if !rot.Sign(k) || rot.Sign(k) {
			t.Fatal("a key does not sign once")
		}
	}
	if m := rot.Missing(); len(m) != 0 || rot.Epoch.Epoch != protocol.EpochNumber(2, 1) {
		t.Errorf("missing %v, epoch %s", m, protocol.EpochText(rot.Epoch.Epoch))
	}
	if _, err := NewRotation(rot.Request, RootStep{w.laterSet, w.nextSet.Hash()}); !errors.Is(err, protocol.ErrBadSignature) {
		t.Errorf("a set that was not committed to: %v", err)
	}
}

// TestRetiredKeysAreBounded: of more than fit, compromised ones are forgotten first; those count for
// nothing either way.
func TestRetiredKeysAreBounded(t *testing.T) {
	w := newRotationWorld(t, 1, 1, 1, 1)
	for i := range protocol.MaxRetiredKeys + 3 {
		op, reason := GenerateOp(), protocol.RetiredRotated
		if i%5 == 0 {
			reason = protocol.RetiredCompromised
		}
		rot, err := NewRotation(w.request(t, protocol.RotateOp, op, reason))
		if err != nil {
			t.Fatal(err)
		}
		rot.Sign(w.root[0])
		c := rot.Request.Card.Card
		c.RootEpoch, c.Serial = rot.File.RootEpoch, 1
		if w.card, err = SignCard(&c, op); err != nil {
			t.Fatal(err)
		}
		w.op = op
	}
	v, err := VerifyCard(&w.card)
	if err != nil || len(v.RootEpoch.Retired) != protocol.MaxRetiredKeys {
		t.Fatalf("%d retired keys, %v", len(v.RootEpoch.Retired), err)
	}
	compromised := 0
	for _, r := range v.RootEpoch.Retired {
		if r.Reason == protocol.RetiredCompromised {
			compromised++
		}
	}
	if compromised != 4 { // 7 came, 3 had to go
		t.Errorf("%d compromised keys are listed", compromised)
	}
}

// FuzzShareFile: a share file comes from a memory stick. What is read is written the same again.
func FuzzShareFile(f *testing.F) {
	s, _ := testShare(f, nil)
	text := FormatShare(s)
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseShare(text)
		if err != nil {
			if c := protocol.Class(err); c != "malformed" && c != "oversize" {
				t.Errorf("an error of class %s: %v", c, err)
			}
			return
		}
		again, err := ParseShare(FormatShare(s))
		if err != nil || string(EncodeShare(again)) != string(EncodeShare(s)) {
			t.Errorf("what was read is not read again: %v", err)
		}
	})
}
