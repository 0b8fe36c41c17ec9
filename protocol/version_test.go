package protocol

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// TestLaterVersion: of what has a later version it is said so, whatever else it holds; what is no array that
// begins with a version is malformed as ever.
func TestLaterVersion(t *testing.T) {
	type longer struct {
		_       struct{} `cbor:",toarray"`
		Version uint8
		More    []string
	}
	type named struct {
		_    struct{} `cbor:",toarray"`
		Name string
	}
	for _, row := range []struct {
		name string
		data []byte
		want error
	}{
		{"a field more", Encode(&longer{Version: 2}), ErrLaterVersion},
		{"version 24", Encode(&longer{Version: 24}), ErrLaterVersion},
		{"version 255", Encode(&longer{Version: 255}), ErrLaterVersion},
		{"this version, another layout", Encode(&longer{Version: 1}), ErrMalformed},
		{"version 0", Encode(&longer{}), ErrMalformed},
		{"no version", Encode(&named{Name: "x"}), ErrMalformed},
		{"no array", Encode("x"), ErrMalformed},
		{"nothing", nil, ErrMalformed},
		{"the head of a long array alone", []byte{0x99, 1}, ErrMalformed},
		{"a version that is cut", []byte{0x82, 0x18}, ErrMalformed},
		{"a long array", []byte{0x98, 30, 2}, ErrLaterVersion},
		{"a later suite", Encode(&Header{Version: 1, Suite: 2}), ErrLaterVersion},
	} {
		if err := Decode(row.data, MaxHeaderSize, new(Header)); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
	if err := Decode(Encode(&longer{Version: 2}), 100, new(named)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a structure without versions: %v", err)
	}
	if LaterVersion(Encode(&longer{Version: 2}), 1) == nil || LaterVersion(Encode(&longer{Version: 2}), 2) != nil || LaterVersion([]byte("x"), 1) != nil {
		t.Error("LaterVersion says otherwise")
	}
}

// TestLaterVersionProps: a structure that decodes is of no later version, and bytes that do not are never taken
// for one that does.
func TestLaterVersionProps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data")
		for _, v := range []any{new(Header), new(Introduction), new(Hello), new(SyncMessage), new(Letter), new(RootEpoch), new(Notice)} {
			err := Decode(data, 64, v)
			if later := errors.Is(err, ErrLaterVersion); later && LaterVersion(data, 0) == nil {
				t.Fatalf("%T: %x is said to be of a later version: %v", v, data, err)
			}
		}
	})
}
