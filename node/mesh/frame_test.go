package mesh

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/entente-mesh/entente/protocol"
)

func TestReadFrame(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stream string // hex
		limit  int
		want   string
		err    error
	}{
		{name: "a frame", stream: "00000003616263", limit: 8, want: "abc"},
		{name: "what follows is left alone", stream: "00000003616263ffff", limit: 8, want: "abc"},
		{name: "empty", stream: "00000000", limit: 8},
		{name: "empty under limit 0", stream: "00000000", limit: 0},
		{name: "exactly the limit", stream: "00000003616263", limit: 3, want: "abc"},
		{name: "one beyond the limit", stream: "00000003616263", limit: 2, err: protocol.ErrOversize},
		{name: "beyond the limit, nothing follows", stream: "00000003", limit: 2, err: protocol.ErrOversize},
		{name: "length has its high bit set", stream: "ffffffff", limit: 1 << 30, err: protocol.ErrOversize},
		{name: "nothing came", stream: "", limit: 8, err: io.EOF},
		{name: "ends in the length", stream: "000000", limit: 8, err: io.ErrUnexpectedEOF},
		{name: "ends after the length", stream: "00000003", limit: 8, err: io.ErrUnexpectedEOF},
		{name: "ends in the data", stream: "000000036162", limit: 8, err: io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream, err := hex.DecodeString(tt.stream)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream)), iotest.DataErrReader(bytes.NewReader(stream))} {
				got, err := readFrame(r, tt.limit)
				if !errors.Is(err, tt.err) || string(got) != tt.want {
					t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.err)
				}
				// A caller takes io.EOF for the end of the conversation.
				if tt.err != io.EOF && errors.Is(err, io.EOF) {
					t.Errorf("%v reads as a clean end", err)
				}
			}
		})
	}
}

func TestReadFrameKeepsTheReadersError(t *testing.T) {
	broken := errors.New("connection is gone")
	head := strings.NewReader("\x00\x00\x00\x08abc")
	_, err := readFrame(io.MultiReader(head, iotest.ErrReader(broken)), 8)
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v in it", err, broken)
	}
}

// TestReadFrameAllocatesAsBytesArrive: a promise of 1 GiB costs its maker 1 GiB.
func TestReadFrameAllocatesAsBytesArrive(t *testing.T) {
	got := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = readFrame(strings.NewReader("\x40\x00\x00\x00abc"), 1<<30)
		}
	}).AllocedBytesPerOp()
	if got > 64<<10 {
		t.Errorf("reading 3 bytes of a promised GiB allocated %d bytes", got)
	}
}

func TestFramesFollowEachOther(t *testing.T) {
	var buf bytes.Buffer
	frames := []string{"a", "", "ccc"}
	for _, f := range frames {
		if err := writeFrame(&buf, []byte(f)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range frames {
		got, err := readFrame(&buf, 3)
		if err != nil || string(got) != f {
			t.Fatalf("got %q, %v, want %q", got, err, f)
		}
	}
	if _, err := readFrame(&buf, 3); err != io.EOF {
		t.Errorf("after the last frame: %v, want io.EOF", err)
	}
}

// FuzzReadFrame: a peer writes what it likes. No more than the limit is read into memory, no
// stream that was cut passes for a whole frame, and a frame that is read is the one that
// writeFrame writes.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{}, uint16(8))
	f.Add([]byte{0, 0, 0}, uint16(8))
	f.Add([]byte{0, 0, 0, 0}, uint16(0))
	f.Add([]byte{0, 0, 0, 3, 'a', 'b', 'c', 'd'}, uint16(3))
	f.Add([]byte{0, 0, 0, 4, 'a', 'b', 'c'}, uint16(8))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'a'}, uint16(0xffff))
	f.Fuzz(func(t *testing.T, stream []byte, limit uint16) {
		r := bytes.NewReader(stream)
		got, err := readFrame(r, int(limit))
		if err != nil {
			if got != nil {
				t.Fatalf("error %v comes with %d bytes", err, len(got))
			}
			if clean := len(stream) == 0; errors.Is(err, io.EOF) != clean {
				t.Fatalf("%d bytes read as %v", len(stream), err)
			}
			return
		}
		if len(got) > int(limit) {
			t.Fatalf("read %d bytes beyond the limit of %d", len(got), limit)
		}
		var out bytes.Buffer
		if err := writeFrame(&out, got); err != nil {
			t.Fatal(err)
		}
		if used := len(stream) - r.Len(); !bytes.Equal(out.Bytes(), stream[:used]) {
			t.Fatalf("read %x, which is written %x", stream[:used], out.Bytes())
		}
	})
}
