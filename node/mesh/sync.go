package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/entente-mesh/entente/protocol"
)

// The sync stream: frames with one protocol.SyncMessage each, request and answer in turn,
// until the caller closes it.
const (
	maxSyncStreams = 8               // served at the same time for one peer
	syncIdle       = time.Minute     // between an answer and the next request
	serveTime      = 2 * time.Minute // for one answer
	// maxRequestSize bounds a request; the largest is a full frontier of 0.5 MiB.
	maxRequestSize = 1 << 20
)

// handleSync serves one stream of a known peer.
func (m *Mesh) handleSync(s network.Stream) {
	node, _ := nodeOf(s.Conn().RemotePeer())
	if !m.beginServing(node) {
		m.cfg.Dropped("sync stream beyond the bound")
		_ = s.Reset()
		return
	}
	defer m.endServing(node)
	for {
		err := m.serveOne(s, node)
		if errors.Is(err, io.EOF) {
			_ = s.Close()
			return
		}
		if err != nil {
			m.log.Debug("serving peer failed", "node", node, "err", err)
			_ = s.Reset()
			return
		}
	}
}

func (m *Mesh) serveOne(s network.Stream, node protocol.NodeID) error {
	_ = s.SetReadDeadline(time.Now().Add(syncIdle))
	data, err := readFrame(s, maxRequestSize)
	if err != nil {
		return err
	}
	var req protocol.SyncMessage
	if err := protocol.Decode(data, maxRequestSize, &req); err != nil {
		return fmt.Errorf("reading request: %w", err)
	}
	if _, ok := m.cfg.Known(node); !ok {
		return protocol.Errorf(protocol.ErrUnknownAuthor, "peer is not known any more")
	}
	ctx, cancel := context.WithTimeout(m.ctx, serveTime)
	defer cancel()
	answer, err := m.cfg.Serve(ctx, node, &req)
	if err != nil {
		m.log.Debug("request of peer failed", "node", node, "kind", req.Kind, "err", err)
		answer = &protocol.SyncMessage{Version: 1, Kind: protocol.SyncError, Error: publicText(err)}
	}
	out := protocol.Encode(answer)
	if len(out) > protocol.MaxFrameSize {
		return protocol.Errorf(protocol.ErrOversize, "answer of kind %d has %d bytes, at most %d", answer.Kind, len(out), protocol.MaxFrameSize)
	}
	_ = s.SetWriteDeadline(frameDeadline(len(out)))
	return writeFrame(s, out)
}

// Ask sends one request to a peer and returns its answer, strictly decoded; whether it is
// an answer to the request is the caller's to judge. An answer of kind SyncError is
// returned as an error.
func (m *Mesh) Ask(ctx context.Context, node protocol.NodeID, msg *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if _, ok := m.cfg.Known(node); !ok {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "node %s is not known here; nothing is asked of it", node)
	}
	out := protocol.Encode(msg)
	if len(out) > maxRequestSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "request has %d bytes, peers read %d", len(out), maxRequestSize)
	}
	s, err := m.host.NewStream(network.WithNoDial(ctx, "sync"), peerOf(node), syncProtocols...)
	if err != nil {
		return nil, fmt.Errorf("opening sync stream: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	answer, err := ask(s, out)
	if err != nil {
		_ = s.Reset()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("asking peer: %w", err)
	}
	_ = s.Close()
	if answer.Kind == protocol.SyncError {
		return nil, fmt.Errorf("asking peer: it answered: %s", printable(answer.Error))
	}
	return answer, nil
}

func ask(s network.Stream, request []byte) (*protocol.SyncMessage, error) {
	_ = s.SetWriteDeadline(frameDeadline(len(request)))
	if err := writeFrame(s, request); err != nil {
		return nil, err
	}
	_ = s.CloseWrite()
	_ = s.SetReadDeadline(frameDeadline(protocol.MaxFrameSize))
	data, err := readFrame(s, protocol.MaxFrameSize)
	if err != nil {
		return nil, err
	}
	var answer protocol.SyncMessage
	if err := protocol.Decode(data, protocol.MaxFrameSize, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

func (m *Mesh) beginServing(node protocol.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.serving[node] >= maxSyncStreams {
		return false
	}
	m.serving[node]++
	m.wg.Add(1)
	return true
}

func (m *Mesh) endServing(node protocol.NodeID) {
	m.mu.Lock()
	if m.serving[node]--; m.serving[node] == 0 {
		delete(m.serving, node)
	}
	m.mu.Unlock()
	m.wg.Done()
}
