package protocol

import "reflect"

// What is signed, sealed or stored begins with its version, whatever else a later version of it has.
// So a reader can tell what it does not read yet (ErrLaterVersion) from what is wrong.

// unknownVersion refuses a version other than the one that is known.
func unknownVersion(what string, version, known uint8) error {
	if version > known {
		return Errorf(ErrLaterVersion, "%s has version %d, this program reads %d: bring this node up to date", what, version, known)
	}
	return malformed("%s version %d is not known", what, version)
}

// LaterVersion returns an error of class ErrLaterVersion if data is an array that begins with a version
// above the one known.
func LaterVersion(data []byte, known uint8) error {
	if v, ok := leadingVersion(data); ok && v > known {
		return unknownVersion("it", v, known)
	}
	return nil
}

// leadingVersion reads the first element of an encoded array if it is a number below 256.
func leadingVersion(data []byte) (uint8, bool) {
	if len(data) < 2 || data[0]>>5 != 4 {
		return 0, false
	}
	at := 1 // after the head of the array, whose length stands in it or in the bytes after
	switch data[0] & 0x1f {
	case 24:
		at = 2
	case 25:
		at = 3
	}
	switch {
	case len(data) > at && data[at] < 24:
		return data[at], true
	case len(data) > at+1 && data[at] == 24:
		return data[at+1], true
	}
	return 0, false
}

// laterLayout returns the error of v's Validate if data, which does not decode into v, states a version
// that it refuses as a later one.
func laterLayout(data []byte, v any) error {
	version, ok := leadingVersion(data)
	t := reflect.TypeOf(v)
	if !ok || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	fresh := reflect.New(t.Elem())
	field := fresh.Elem().FieldByName("Version")
	check, ok := fresh.Interface().(interface{ Validate() error })
	if !ok || !field.IsValid() || field.Kind() != reflect.Uint8 {
		return nil
	}
	field.SetUint(uint64(version))
	if err := check.Validate(); Class(err) == ErrLaterVersion.Error() {
		return err
	}
	return nil
}
