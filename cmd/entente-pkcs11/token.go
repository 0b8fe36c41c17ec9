//go:build cgo

package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/entente-mesh/entente/node/hsm"
	"github.com/entente-mesh/entente/protocol"
)

// What PKCS #11 version 3.0 added for Ed25519 (OASIS, "PKCS #11 Cryptographic Token Interface Current
// Mechanisms Specification Version 3.0", 2.3.5 and 2.3.14), in the numbers of its header files.
const (
	keyTypeEdwards      = 0x40   // CKK_EC_EDWARDS
	mechanismKeyPairGen = 0x1055 // CKM_EC_EDWARDS_KEY_PAIR_GEN
	mechanismEdDSA      = 0x1057 // CKM_EDDSA, without parameters: pure Ed25519
)

// curves are the two ways to say Ed25519 in CKA_EC_PARAMS: by name (version 3.0), and by the object
// identifier of RFC 8410.
var curves = [][]byte{append([]byte{0x13, 12}, "edwards25519"...), {0x06, 3, 0x2b, 0x65, 0x70}}

// token is a session that is logged in. It lives as long as this process.
type token struct {
	ctx     *pkcs11.Ctx
	session pkcs11.SessionHandle
	key     hsm.Reference
	private pkcs11.ObjectHandle
}

// open loads the library, logs in, and finds or makes the key. Nothing is undone where it fails: the
// process ends then.
func open(o *hsm.Open) (hsm.Token, error) {
	pin, err := hsm.ReadPIN(o.Key.PINFile)
	if err != nil {
		return nil, err
	}
	ctx := pkcs11.New(o.Key.Module)
	if ctx == nil {
		return nil, fmt.Errorf("%s cannot be loaded; is it the PKCS #11 library of the token's vendor, for this machine?", o.Key.Module)
	}
	if err := ctx.Initialize(); err != nil {
		return nil, fmt.Errorf("the library does not begin: %w", err)
	}
	slot, err := findSlot(ctx, o.Key.Token)
	if err != nil {
		return nil, err
	}
	flags := uint(pkcs11.CKF_SERIAL_SESSION)
	if o.Make {
		flags |= pkcs11.CKF_RW_SESSION
	}
	session, err := ctx.OpenSession(slot, flags)
	if err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	err = ctx.Login(session, pkcs11.CKU_USER, pin)
	var code pkcs11.Error
	if errors.As(err, &code) && slices.Contains([]pkcs11.Error{pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED}, code) {
		return nil, fmt.Errorf("%w: %v", hsm.ErrWrongPIN, err)
	}
	if err != nil {
		return nil, fmt.Errorf("logging in: %w", err)
	}
	t := &token{ctx: ctx, session: session, key: o.Key}
	if o.Make {
		if err := t.make(); err != nil {
			return nil, err
		}
	}
	t.private, err = t.find(pkcs11.CKO_PRIVATE_KEY)
	return t, err
}

// findSlot finds the one token of a label.
func findSlot(ctx *pkcs11.Ctx, label string) (uint, error) {
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("listing tokens: %w", err)
	}
	var found []uint
	var labels []string
	for _, slot := range slots {
		info, err := ctx.GetTokenInfo(slot)
		if err != nil {
			continue // taken out meanwhile
		}
		got := strings.TrimRight(info.Label, " \x00")
		labels = append(labels, got)
		if got == label {
			found = append(found, slot)
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%d tokens are called %q; there are %q", len(found), label, labels)
	}
	return found[0], nil
}

func (t *token) template(class uint) []*pkcs11.Attribute {
	list := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyTypeEdwards),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.key.Label)}
	if len(t.key.ID) > 0 {
		list = append(list, pkcs11.NewAttribute(pkcs11.CKA_ID, t.key.ID))
	}
	return list
}

// find finds the one key of a class.
func (t *token) find(class uint) (pkcs11.ObjectHandle, error) {
	list, err := t.list(class)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("%w: the token %q holds %d Ed25519 keys called %q (class %d), one is wanted; say its id too if there are several", hsm.ErrWrongKey, t.key.Token, len(list), t.key.Label, class)
	}
	if err != nil {
		return 0, err
	}
	return list[0], nil
}

func (t *token) list(class uint) ([]pkcs11.ObjectHandle, error) {
	if err := t.ctx.FindObjectsInit(t.session, t.template(class)); err != nil {
		return nil, fmt.Errorf("looking for the key: %w", err)
	}
	list, _, err := t.ctx.FindObjects(t.session, 2)
	if err = errors.Join(err, t.ctx.FindObjectsFinal(t.session)); err != nil {
		return nil, fmt.Errorf("looking for the key: %w", err)
	}
	return list, nil
}

// make makes a key pair that does not leave the token.
func (t *token) make() error {
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		if list, err := t.list(class); err != nil {
			return err
		} else if len(list) > 0 {
			return fmt.Errorf("%w to be made: the token holds one called %q already; choose another label, or 'entente key hsm use' that one", hsm.ErrWrongKey, t.key.Label)
		}
	}
	private := append(t.template(pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true))
	var err error
	for _, curve := range curves {
		public := append(t.template(pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
			pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true), pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, curve))
		if _, _, err = t.ctx.GenerateKeyPair(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanismKeyPairGen, nil)}, public, private); err == nil {
			return nil
		}
	}
	return fmt.Errorf("making the key: %w; does the token know Ed25519 (CKM_EC_EDWARDS_KEY_PAIR_GEN)?", err)
}

// Public implements hsm.Token. It is read anew each time, so that a token that was taken out is noticed.
func (t *token) Public() (public protocol.OpKey, err error) {
	if _, err := findSlot(t.ctx, t.key.Token); err != nil {
		return public, err
	}
	if _, err := t.find(pkcs11.CKO_PRIVATE_KEY); err != nil {
		return public, err
	}
	object, err := t.find(pkcs11.CKO_PUBLIC_KEY)
	if err != nil {
		return public, err
	}
	attrs, err := t.ctx.GetAttributeValue(t.session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil), pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, nil)})
	if err != nil {
		return public, fmt.Errorf("reading the public key: %w", err)
	}
	if len(attrs) != 2 || !slices.ContainsFunc(curves, func(c []byte) bool { return bytes.Equal(c, attrs[1].Value) }) {
		return public, fmt.Errorf("%w: the key is not of the curve edwards25519", hsm.ErrWrongKey)
	}
	point := attrs[0].Value
	for _, der := range [][]byte{{0x04, 32}, {0x03, 33, 0}} { // OCTET STRING, BIT STRING; some give the bytes alone
		if rest, ok := bytes.CutPrefix(point, der); ok && len(rest) == 32 {
			point = rest
		}
	}
	if len(point) != 32 {
		return public, fmt.Errorf("%w: the public key has %d bytes", hsm.ErrWrongKey, len(point))
	}
	return protocol.OpKey(point), nil
}

// Sign implements hsm.Token.
func (t *token) Sign(message []byte) ([]byte, error) {
	if err := t.ctx.SignInit(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanismEdDSA, nil)}, t.private); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	sig, err := t.ctx.Sign(t.session, message)
	if err != nil {
		return nil, fmt.Errorf("signing %d bytes: %w", len(message), err)
	}
	return sig, nil
}
