package mesh

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// TestClockRefusals: what is no question for the time is not answered, nor is a stranger; an answer that is none is an error,
// and one that lies says at most a hundred years.
func TestClockRefusals(t *testing.T) {
	c := newClub()
	a, b := newMember(t, c, overQUIC), newMember(t, c, overQUIC)
	c.add(a.self, b.self)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := a.Connect(ctx, b.self, b.Addrs()); err != nil {
		t.Fatal(err)
	}
	if offset, within, err := a.AskClock(ctx, b.self); err != nil || offset.Abs() > within {
		t.Fatalf("the same clock is %v to %v away: %v", offset, within, err)
	}
	whole := protocol.Encode(&protocol.DialBackRequest{Version: 1, Addrs: []string{}})
	for name, data := range map[string][]byte{
		"nonsense":   []byte("nonsense"),
		"truncated":  whole[:len(whole)-1],
		"with more":  append(whole[:len(whole):len(whole)], 0),
		"no version": protocol.Encode(&protocol.DialBackRequest{Addrs: []string{}}),
		"addresses":  protocol.Encode(&protocol.DialBackRequest{Version: 1, Addrs: []string{"/ip4/192.0.2.1/tcp/1"}}),
		"too large":  make([]byte, protocol.MaxDialBackSize+1),
	} {
		s, err := a.host.NewStream(ctx, peerOf(b.self), clockProtocol)
		if err != nil {
			t.Fatal(err)
		}
		_ = writeFrame(s, data)
		if _, err := readFrame(s, protocol.MaxDialBackSize); !errors.Is(err, network.ErrReset) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
	var says atomic.Pointer[[]byte]
	b.host.SetStreamHandler(clockProtocol, func(s network.Stream) {
		defer s.Close()
		if _, err := readFrame(s, protocol.MaxDialBackSize); err == nil {
			_ = writeFrame(s, *says.Load())
		}
	})
	for name, answer := range map[string][]byte{
		"nonsense":             []byte("nonsense"),
		"sent before received": protocol.Encode(&protocol.DialBackAnswer{Version: 1, Received: 2, Sent: 1, Results: []protocol.DialResult{}}),
		"results":              protocol.Encode(&protocol.DialBackAnswer{Version: 1, Received: 1, Sent: 1, Results: []protocol.DialResult{{}}}),
	} {
		says.Store(&answer)
		if offset, _, err := a.AskClock(ctx, b.self); err == nil {
			t.Errorf("%s: the clock is %v away", name, offset)
		}
	}
	for _, at := range []uint64{0, 1<<63 - 1, 1<<64 - 1} {
		answer := protocol.Encode(&protocol.DialBackAnswer{Version: 1, Received: at, Sent: at, Results: []protocol.DialResult{}})
		says.Store(&answer)
		if offset, _, err := a.AskClock(ctx, b.self); err == nil && offset.Abs() > maxOffset*time.Millisecond {
			t.Errorf("at %d the clock is %v away", at, offset)
		}
	}
	if _, _, err := a.AskClock(ctx, crypto.GenerateNode().Public()); err == nil {
		t.Error("who is not connected is asked")
	}
	d := newMember(t, c, overQUIC)
	c.add(d.self)
	if err := a.Connect(ctx, d.self, d.Addrs()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.AskClock(ctx, d.self); err != nil {
		t.Fatal(err)
	}
	c.remove(a.self)
	if _, _, err := a.AskClock(ctx, d.self); err == nil {
		t.Error("who is not known any more is answered")
	}
}
