package crypto

import (
	"errors"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestBomb: what decompresses to more than a body may hold is refused as oversized.
func TestBomb(t *testing.T) {
	small := compress(make([]byte, protocol.MaxPlainSize))
	if b, err := decompress(small); err != nil || len(b) != protocol.MaxPlainSize {
		t.Errorf("the largest body: %d bytes, %v", len(b), err)
	}
	for _, size := range []int{protocol.MaxPlainSize + 1, 64 << 20} {
		bomb := compress(make([]byte, size))
		if _, err := decompress(bomb); !errors.Is(err, protocol.ErrOversize) {
			t.Errorf("%d zeros in %d bytes: %v", size, len(bomb), err)
		}
	}
	if _, err := decompress([]byte("no zstd")); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("junk: %v", err)
	}
}
