package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"

	"github.com/entente-mesh/entente/protocol"
)

// Cards, invitations and agreements travel as text, so that they can be mailed: PEM (RFC 7468).
const (
	cardArmour       = "ENTENTE CARD"
	invitationArmour = "ENTENTE INVITATION"
	agreementArmour  = "ENTENTE AGREEMENT"
)

func armour(kind string, b []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
}

// readArmour reads a file, or standard input for "-", and takes the armour off.
func (a *app) readArmour(path, kind string) ([]byte, error) {
	b, err := a.readFile(path, 2*protocol.MaxInviteSize)
	if err != nil {
		return nil, err
	}
	out, _, err := unarmour(path, b, kind)
	return out, err
}

// readArmours is readArmour for a file that may hold several.
func (a *app) readArmours(path, kind string, limit int64) (out [][]byte, err error) {
	rest, err := a.readFile(path, limit)
	if err != nil {
		return nil, err
	}
	for len(out) == 0 || len(bytes.TrimSpace(rest)) > 0 {
		var b []byte
		if b, rest, err = unarmour(path, rest, kind); err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// unarmour takes the armour off the first block of a file.
func unarmour(path string, b []byte, kind string) (out, rest []byte, err error) {
	block, rest := pem.Decode(b)
	if block == nil {
		return nil, nil, fmt.Errorf("%s holds no %q block; was it copied whole?", path, kind)
	}
	if block.Type != kind {
		return nil, nil, fmt.Errorf("%s holds an %q, where an %q is needed", path, block.Type, kind)
	}
	return block.Bytes, rest, nil
}

func (a *app) readFile(path string, limit int64) ([]byte, error) {
	r := a.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, nil
}
