package crypto

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/klauspost/compress/zstd"

	"github.com/entente-mesh/entente/protocol"
)

// padded returns length || data || zeros, as long as PADME says, at least floor bytes.
// PADME leaks O(log log n) bits of a length and adds at most 12 % (Nikitin et al., PoPETs
// 2019, "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs").
func padded(data []byte, floor int) []byte {
	out := make([]byte, max(floor, padme(4+len(data))))
	binary.BigEndian.PutUint32(out, uint32(len(data)))
	copy(out[4:], data)
	return out
}

func padme(n int) int {
	if n < 2 {
		return n
	}
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	mask := 1<<max(e-s, 0) - 1
	return (n + mask) &^ mask
}

// unpadded undoes padded. The padding must be the one that padded makes, so that a sealed
// body has no room for anything else.
func unpadded(b []byte, floor int) ([]byte, error) {
	if len(b) < 4 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "plaintext is too short to be padded")
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) || len(b) != max(floor, padme(4+int(n))) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "padding does not fit the length")
	}
	var or byte
	for _, c := range b[4+n:] {
		or |= c
	}
	if or != 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "padding is not zero")
	}
	return b[4 : 4+n : 4+n], nil
}

// One encoder and one decoder serve all: EncodeAll and DecodeAll may be called concurrently.
// They are made when the program starts, because a channel made inside a synctest bubble
// may not be used outside it.
var (
	compressor   = newCompressor()
	decompressor = newDecompressor()
)

// At its fastest zstd makes less of STIX than one step above, in half the time: what repeats
// there is long and near. What repeats nothing, as a payload in base64, is coded by how often its
// letters occur all the same.
func newCompressor() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		panic(err) // options are constants: a programmer's error
	}
	e.EncodeAll(nil, nil) // makes its channel now, not at the first use
	return e
}

func newDecompressor() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(protocol.MaxPlainSize), zstd.WithDecodeAllCapLimit(false))
	if err != nil {
		panic(err) // options are constants: a programmer's error
	}
	return d
}

func compress(b []byte) []byte { return compressor.EncodeAll(b, nil) }

// decompress gives at most MaxPlainSize bytes; more is an attack.
func decompress(b []byte) ([]byte, error) {
	out, err := decompressor.DecodeAll(b, nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, protocol.Errorf(protocol.ErrOversize, "body decompresses to more than %d bytes", protocol.MaxPlainSize)
	case err != nil:
		return nil, protocol.Errorf(protocol.ErrMalformed, "decompressing: %v", err)
	}
	if len(out) > protocol.MaxPlainSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "body decompresses to more than %d bytes", protocol.MaxPlainSize)
	}
	return out, nil
}
