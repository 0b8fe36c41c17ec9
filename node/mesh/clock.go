package mesh

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/entente-mesh/entente/protocol"
)

// clockProtocol asks a known peer what time it is there: a DialBackRequest without addresses, and its answer. It is
// beside dialling back because every node offers it, also one that cannot call anybody. A release that does not
// know it is not asked, and says nothing of the clock.
const clockProtocol libp2pprotocol.ID = "/entente/clock/1"

// clockTime is for one question and its answer.
const clockTime = 10 * time.Second

// now is the time that this node states, with the reading of the monotonic clock.
func (m *Mesh) now() time.Time {
	if m.cfg.Now == nil {
		return time.Now()
	}
	return m.cfg.Now()
}

func (m *Mesh) handleClock(s network.Stream) {
	_ = s.SetDeadline(time.Now().Add(clockTime))
	if err := m.answerClock(s); err != nil {
		m.log.Debug("saying the time failed", "err", err)
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

func (m *Mesh) answerClock(s network.Stream) error {
	data, err := readFrame(s, protocol.MaxDialBackSize)
	if err != nil {
		return err
	}
	var req protocol.DialBackRequest
	if err := protocol.Decode(data, protocol.MaxDialBackSize, &req); err != nil {
		return fmt.Errorf("reading request: %w", err)
	}
	if len(req.Addrs) > 0 {
		return protocol.Errorf(protocol.ErrMalformed, "a question for the time holds %d addresses; those go to %s", len(req.Addrs), dialBackProtocol)
	}
	now := uint64(m.now().UnixMilli())
	return writeFrame(s, protocol.Encode(&protocol.DialBackAnswer{Version: 1, Received: now, Sent: now, Results: []protocol.DialResult{}}))
}

// AskClock compares the clock of a connected peer with this node's: above 0, the peer's is ahead. It is right to
// within, half of the time on the way. It takes 10 seconds at most.
func (m *Mesh) AskClock(ctx context.Context, node protocol.NodeID) (offset, within time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, clockTime)
	defer cancel()
	s, err := m.host.NewStream(network.WithNoDial(ctx, "clock"), peerOf(node), clockProtocol)
	if err != nil {
		return 0, 0, fmt.Errorf("asking for the time: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	got, err := askDialBack(s, &protocol.DialBackRequest{Version: 1, Addrs: []string{}}, m.now)
	if err != nil {
		_ = s.Reset()
		return 0, 0, fmt.Errorf("asking for the time: %w", err)
	}
	_ = s.Close()
	return got.Offset, got.Within, nil
}
