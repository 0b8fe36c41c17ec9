package mesh

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// A frame is its length as 4 bytes big-endian, and that many bytes.

// A frame is read or written within frameTime and a second for every frameRate bytes.
const (
	frameTime = 30 * time.Second
	frameRate = 64 << 10
)

func frameDeadline(size int) time.Time {
	return time.Now().Add(frameTime + time.Duration(size/frameRate)*time.Second)
}

func writeFrame(w io.Writer, data []byte) error {
	buf := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data)))
	_, err := w.Write(append(buf, data...))
	return err
}

// readFrame reads a frame of at most limit bytes. It returns io.EOF if the stream ends
// before the frame begins. It allocates as bytes arrive, not as the length promises.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if uint64(size) > uint64(limit) {
		return nil, protocol.Errorf(protocol.ErrOversize, "frame of %d bytes, at most %d are read", size, limit)
	}
	var buf bytes.Buffer
	if n, err := io.CopyN(&buf, r, int64(size)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading frame, %d of %d bytes came: %w", n, size, err)
	}
	return buf.Bytes(), nil
}
