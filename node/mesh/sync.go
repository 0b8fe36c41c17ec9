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
// until the caller closes it. From version 2 on an answer begins with a byte of status: after 0 comes
// the message, after 1 an encoded protocol.SyncRefusal. So a request that is not known is answered too.
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
	if _, ok := m.cfg.Known(node); !ok {
		return protocol.Errorf(protocol.ErrUnknownAuthor, "peer is not known any more")
	}
	m.cfg.Trace(node, string(s.Protocol()), "asked", data)
	v2 := s.Protocol() == syncV2
	var req protocol.SyncMessage
	err = protocol.Decode(data, maxRequestSize, &req)
	if v2 && errors.Is(err, protocol.ErrLaterVersion) {
		m.log.Debug("request of a peer is not known here", "node", node, "err", err)
		_ = s.SetWriteDeadline(frameDeadline(protocol.MaxTextSize))
		return writeFrame(s, refusalOf(err))
	}
	if err != nil {
		return fmt.Errorf("reading request: %w", err)
	}
	ctx, cancel := context.WithTimeout(m.ctx, serveTime)
	defer cancel()
	answer, err := m.cfg.Serve(ctx, node, &req)
	if err != nil && v2 {
		m.log.Debug("request of peer failed", "node", node, "kind", req.Kind, "err", err)
		_ = s.SetWriteDeadline(frameDeadline(protocol.MaxTextSize))
		return writeFrame(s, refusalOf(err))
	}
	if err != nil {
		m.log.Debug("request of peer failed", "node", node, "kind", req.Kind, "err", err)
		answer = &protocol.SyncMessage{Version: 1, Kind: protocol.SyncError, Error: publicText(err)}
	}
	out := protocol.Encode(answer)
	if len(out) > protocol.MaxFrameSize {
		return protocol.Errorf(protocol.ErrOversize, "answer of kind %d has %d bytes, at most %d", answer.Kind, len(out), protocol.MaxFrameSize)
	}
	_ = s.SetWriteDeadline(frameDeadline(len(out)))
	if v2 {
		out = append([]byte{syncAnswered}, out...)
	}
	return writeFrame(s, out)
}

// The status that an answer begins with.
const (
	syncAnswered = 0
	syncRefused  = 1
)

func refusalOf(err error) []byte {
	return append([]byte{syncRefused}, protocol.Encode(&protocol.SyncRefusal{Class: protocol.Class(err), Text: publicText(err)})...)
}

// ErrNotUnderstood is wrapped by Ask's error where the peer does not know such a request, as one that
// runs an earlier version of the program.
var ErrNotUnderstood = errors.New("the peer does not know such a request; its program is older")

// knowsNot reports whether a peer answered before that it does not know requests of a kind.
func (m *Mesh) knowsNot(node protocol.NodeID, kind protocol.SyncKind) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[node]
	return p != nil && p.unknown[kind]
}

func (m *Mesh) noteUnknown(node protocol.NodeID, kind protocol.SyncKind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.peers[node]; p != nil {
		if p.unknown == nil {
			p.unknown = map[protocol.SyncKind]bool{} // of kinds that this program asks for, so it is bounded
		}
		p.unknown[kind] = true
	}
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
	if m.knowsNot(node, msg.Kind) {
		return nil, fmt.Errorf("asking peer: %w", ErrNotUnderstood)
	}
	s, err := m.host.NewStream(network.WithNoDial(ctx, "sync"), peerOf(node), m.wire.sync...)
	if err != nil {
		return nil, fmt.Errorf("opening sync stream: %w", err)
	}
	if msg.Kind > protocol.SyncFirst && s.Protocol() == syncV1 {
		_ = s.Reset()
		return nil, fmt.Errorf("asking peer: %w", ErrNotUnderstood)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	m.cfg.Trace(node, string(s.Protocol()), "ask", out)
	answer, err := m.ask(s, node, out)
	if err != nil {
		_ = s.Reset()
		if errors.Is(err, ErrNotUnderstood) {
			m.noteUnknown(node, msg.Kind)
		}
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

func (m *Mesh) ask(s network.Stream, node protocol.NodeID, request []byte) (*protocol.SyncMessage, error) {
	_ = s.SetWriteDeadline(frameDeadline(len(request)))
	if err := writeFrame(s, request); err != nil {
		return nil, err
	}
	_ = s.CloseWrite()
	_ = s.SetReadDeadline(frameDeadline(protocol.MaxFrameSize))
	room := protocol.MaxFrameSize
	if s.Protocol() == syncV2 {
		room++
	}
	data, err := readFrame(s, room)
	if err != nil {
		return nil, err
	}
	m.cfg.Trace(node, string(s.Protocol()), "answer", data)
	if s.Protocol() == syncV2 {
		if data, err = readAnswer(data); err != nil {
			return nil, err
		}
	}
	var answer protocol.SyncMessage
	if err := protocol.Decode(data, protocol.MaxFrameSize, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// readAnswer takes the status off an answer.
func readAnswer(data []byte) ([]byte, error) {
	switch {
	case len(data) > 0 && data[0] == syncAnswered:
		return data[1:], nil
	case len(data) > 0 && data[0] == syncRefused:
		var r protocol.SyncRefusal
		if err := protocol.Decode(data[1:], 2*protocol.MaxTextSize, &r); err != nil {
			return nil, err
		}
		if r.Class == protocol.ErrLaterVersion.Error() {
			return nil, fmt.Errorf("%w: it answered: %s", ErrNotUnderstood, printable(r.Text))
		}
		return nil, fmt.Errorf("it answered: %s", printable(r.Text))
	}
	return nil, protocol.Errorf(protocol.ErrMalformed, "an answer has no status")
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
