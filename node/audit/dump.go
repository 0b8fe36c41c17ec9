package audit

import (
	"bytes"

	"github.com/entente-mesh/entente/protocol"
)

// Logs are carried over to another store as they stand: leaves, hashes and checkpoints as they are,
// details unwrapped, to be wrapped anew there. What was carried over verifies there as it did here,
// or does not. The index is not carried over: it is made anew there.

// Dump calls fn with everything that is held of all logs, in order. again reads a value anew where
// its key was destroyed since the state that is dumped: what stands there now.
func Dump(kv KV, again func(id []byte) ([]byte, error), fn func(id, value []byte) error) error {
	return kv.Scan([]byte(Prefix), nil, false, func(k, v []byte) (bool, error) {
		id := k[len(Prefix):]
		if id[0] == kPosting || id[0] == kDay || id[0] == kWhole {
			return true, nil
		}
		if id[0] == kDetails && len(v) != 8 {
			plain, err := kv.Unwrap(k, bytes.Clone(v))
			if err != nil {
				if plain, err = again(id); err != nil {
					return false, err
				}
			}
			return true, fn(id, plain)
		}
		return true, fn(id, v)
	})
}

// Dumped returns what Dump would give for one place.
func Dumped(kv KV, id []byte) ([]byte, error) {
	k := append([]byte(Prefix), id...)
	v, err := kv.Get(k)
	if err != nil || len(v) == 8 || len(id) == 0 || id[0] != kDetails {
		return v, err
	}
	return kv.Unwrap(k, v)
}

// CheckDumped reads strictly what Dump gave. The errors are of class ErrMalformed or ErrOversize.
func CheckDumped(id, value []byte) error {
	want := func(ok bool) error {
		if !ok {
			return protocol.Errorf(protocol.ErrMalformed, "it is no part of an audit log")
		}
		return nil
	}
	if len(id) == 0 {
		return want(false)
	}
	rest := len(id) - 1 - len(ID{})
	switch id[0] {
	case kCurrent:
		return want(len(id) == 1 && len(value) == len(ID{}))
	case kInfo:
		var i Info
		if err := protocol.Decode(value, 256, &i); err != nil {
			return err
		}
		return want(rest == 0 && i.Log == ID(id[1:]))
	case kSize:
		return want(rest == 0 && len(value) == 8)
	case kHash:
		return want(rest == 8 && len(value) == 32)
	case kFound:
		return want(rest == 16 && len(value) == 8)
	case kForeign:
		return want(rest == 36 && len(value) == 8)
	case kCheckpoint:
		return want(rest == 8 && len(value) <= MaxCheckpoint)
	case kLeaf:
		if err := protocol.Decode(value, MaxLeaf, new(Leaf)); err != nil {
			return err
		}
		return want(rest == 8)
	case kDetails:
		if len(value) == 8 {
			return want(rest == 8)
		}
		var s sealed
		if err := protocol.Decode(value, MaxDetails+64, &s); err != nil {
			return err
		}
		if err := protocol.Decode(s.Details, MaxDetails, new(Details)); err != nil {
			return err
		}
		return want(rest == 8)
	}
	return want(false)
}

// Load puts what Dump gave in its place.
func Load(kv KV, id, value []byte) error {
	if err := CheckDumped(id, value); err != nil {
		return err
	}
	k := append([]byte(Prefix), id...)
	if id[0] == kDetails && len(value) != 8 {
		wrapped, err := kv.Wrap(k, value)
		if err != nil {
			return err
		}
		value = wrapped
	}
	return kv.Set(k, value)
}
