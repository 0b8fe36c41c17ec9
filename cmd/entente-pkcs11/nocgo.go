//go:build !cgo

package main

import (
	"errors"

	"github.com/entente-mesh/entente/node/hsm"
)

func open(*hsm.Open) (hsm.Token, error) {
	return nil, errors.New("this entente-pkcs11 was built without cgo and can load no library: build it with a C compiler, 'CGO_ENABLED=1 go build ./cmd/entente-pkcs11'")
}
