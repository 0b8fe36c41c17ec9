package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"os"

	"github.com/entente-mesh/entente/protocol"
)

// Cards and invitations travel as text, so that they can be mailed: PEM (RFC 7468).
const (
	cardArmour       = "ENTENTE CARD"
	invitationArmour = "ENTENTE INVITATION"
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
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no %q block; was it copied whole?", path, kind)
	}
	if block.Type != kind {
		return nil, fmt.Errorf("%s holds an %q, where an %q is needed", path, block.Type, kind)
	}
	return block.Bytes, nil
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
