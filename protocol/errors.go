package protocol

import (
	"errors"
	"fmt"
)

// The failure classes of the protocol. A caller branches on them: the mesh maps them to
// verdicts, the API to status codes, the command to exit codes, and the vectors of SPEC.md
// name them in "expect". Test with errors.Is.
var (
	// ErrMalformed: not the strict encoding, out of range, or self-contradictory.
	ErrMalformed = errors.New("malformed")
	// ErrOversize: beyond a bound of limits.go.
	ErrOversize = errors.New("oversize")
	// ErrBadSignature: a signature is missing or does not verify.
	ErrBadSignature = errors.New("bad-signature")
	// ErrWrongContext: valid somewhere else: another network, feed, position or kind.
	ErrWrongContext = errors.New("wrong-context")
	// ErrNotInAudience: sealed for others; not an error of anybody.
	ErrNotInAudience = errors.New("not-in-audience")
	// ErrNoAgreement: no agreement in force covers it.
	ErrNoAgreement = errors.New("no-agreement")
	// ErrExpired: past its validity.
	ErrExpired = errors.New("expired")
	// ErrUnknownAuthor: signed by a node that no card known here lists, or that was removed.
	ErrUnknownAuthor = errors.New("unknown-author")
	// ErrBrokenChain: an entry does not follow the one before it.
	ErrBrokenChain = errors.New("broken-chain")
	// ErrLaterVersion: of a version of its format that this program does not read; nobody's fault.
	ErrLaterVersion = errors.New("later-version")
)

// classes are the failure classes, in the order in which an error of several is told.
var classes = []error{ErrMalformed, ErrOversize, ErrBadSignature, ErrWrongContext,
	ErrNotInAudience, ErrNoAgreement, ErrExpired, ErrUnknownAuthor, ErrBrokenChain, ErrLaterVersion}

// Classes returns the failure classes as Class spells them, without ok and other.
func Classes() (names []string) {
	for _, c := range classes {
		names = append(names, c.Error())
	}
	return names
}

// Class returns the failure class that err belongs to as the vectors spell it, "ok" for
// nil and "other" for an error of no class.
func Class(err error) string {
	if err == nil {
		return "ok"
	}
	for _, c := range classes {
		if errors.Is(err, c) {
			return c.Error()
		}
	}
	return "other"
}

func malformed(format string, args ...any) error { return Errorf(ErrMalformed, format, args...) }
func oversize(format string, args ...any) error  { return Errorf(ErrOversize, format, args...) }

// Errorf returns an error of a class with a message of its own.
func Errorf(class error, format string, args ...any) error {
	return &classError{class: class, msg: fmt.Sprintf(format, args...)}
}

type classError struct {
	class error
	msg   string
}

func (e *classError) Error() string { return e.msg }
func (e *classError) Unwrap() error { return e.class }
