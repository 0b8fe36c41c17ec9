package mesh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/entente-mesh/entente/protocol"
)

// The hello stream. The caller writes a frame with its hello. The answer is a frame of one
// status byte and, if that is 0, the hello of the called, else text that says why not. The
// caller ends with a frame of one status byte and text in the same way. The third frame
// lets both sides begin to gossip knowing that the other side is ready for it.
const (
	helloProtocol libp2pprotocol.ID = "/entente/hello/1"
	helloTime                       = 8 * time.Second // for the whole exchange
	maxGreetings                    = 16              // hellos judged at the same time

	helloWelcome = 0
	helloRefused = 1
)

var errRefused = errors.New("peer refused this node")

// handleHello answers a peer that calls.
func (m *Mesh) handleHello(s network.Stream) {
	node, ok := nodeOf(s.Conn().RemotePeer())
	if !ok || !m.beginGreeting(node) {
		_ = s.Reset()
		return
	}
	defer m.endGreeting(node)
	_ = s.SetDeadline(time.Now().Add(helloTime))
	if err := m.answerHello(s, node); err != nil {
		m.log.Debug("answering hello failed", "node", node, "err", err)
		_ = s.Reset()
		if _, ok := m.cfg.Known(node); !ok {
			m.refuse(node)
		}
		return
	}
	_ = s.Close()
	m.admit(node)
}

func (m *Mesh) answerHello(s network.Stream, node protocol.NodeID) error {
	hello, err := readFrame(s, protocol.MaxHelloSize)
	if err != nil {
		return fmt.Errorf("reading hello: %w", err)
	}
	judged := m.cfg.Hello(node, hello)
	if _, ok := m.cfg.Known(node); !ok {
		if judged == nil {
			judged = errors.New("this node is not known here")
		}
		// The caller sees the reason only if the connection outlives it: half a second is
		// for the text to arrive, and the caller closes as soon as it did.
		_ = writeFrame(s, refusal(judged))
		_ = s.CloseWrite()
		_ = s.SetReadDeadline(time.Now().Add(time.Second / 2))
		_, _ = readFrame(s, 0)
		return judged
	}
	if judged != nil {
		m.log.Debug("hello of a known peer", "node", node, "err", judged)
	}
	own := m.cfg.OwnHello()
	if err := writeFrame(s, append([]byte{helloWelcome}, own...)); err != nil {
		return fmt.Errorf("writing hello: %w", err)
	}
	answer, err := readFrame(s, 1+protocol.MaxTextSize)
	if err != nil {
		return fmt.Errorf("reading end of hello: %w", err)
	}
	return readStatus(answer)
}

// greet says hello to a peer that this node called.
func (m *Mesh) greet(ctx context.Context, node protocol.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	s, err := m.host.NewStream(network.WithNoDial(ctx, "hello"), peerOf(node), helloProtocol)
	if err != nil {
		return fmt.Errorf("saying hello: %w", err)
	}
	defer func() { _ = s.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	own := m.cfg.OwnHello()
	if len(own) > protocol.MaxHelloSize {
		_ = s.Reset()
		return protocol.Errorf(protocol.ErrOversize, "own hello has %d bytes, peers read %d; take retired nodes and addresses off the card", len(own), protocol.MaxHelloSize)
	}
	if err := writeFrame(s, own); err != nil {
		return fmt.Errorf("saying hello: %w", err)
	}
	answer, err := readFrame(s, 1+max(protocol.MaxHelloSize, protocol.MaxTextSize))
	if err != nil {
		return fmt.Errorf("reading answer to hello: %w", err)
	}
	if err := readStatus(answer); err != nil {
		return err
	}
	judged := m.cfg.Hello(node, answer[1:])
	if _, ok := m.cfg.Known(node); !ok {
		if judged == nil {
			judged = errors.New("it is not known here")
		}
		_ = writeFrame(s, refusal(judged))
		m.refuse(node)
		return fmt.Errorf("judging peer: %w", judged)
	}
	if err := writeFrame(s, []byte{helloWelcome}); err != nil {
		return fmt.Errorf("ending hello: %w", err)
	}
	m.admit(node)
	return nil
}

func refusal(err error) []byte { return append([]byte{helloRefused}, publicText(err)...) }

func readStatus(answer []byte) error {
	switch {
	case len(answer) > 0 && answer[0] == helloWelcome:
		return nil
	case len(answer) > 0 && answer[0] == helloRefused:
		return fmt.Errorf("%w: %s", errRefused, printable(string(answer[1:])))
	}
	return protocol.Errorf(protocol.ErrMalformed, "answer to hello has no status")
}

// publicText is what a peer is told of an error: the text of our own classes, and nothing
// of those that may hold paths or addresses.
func publicText(err error) string {
	if protocol.Class(err) == "other" {
		return "refused"
	}
	return printable(err.Error())
}

// printable cuts what a peer wrote, and what this node writes to peers, to text that may
// be logged and passes protocol's check of text.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > 256 {
		s = strings.ToValidUTF8(s[:256], "")
	}
	return s
}

// beginGreeting admits one hello per peer and a few in all at a time.
func (m *Mesh) beginGreeting(node protocol.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.greeting[node] || len(m.greeting) >= maxGreetings {
		return false
	}
	m.greeting[node] = true
	m.wg.Add(1)
	return true
}

func (m *Mesh) endGreeting(node protocol.NodeID) {
	m.mu.Lock()
	delete(m.greeting, node)
	m.mu.Unlock()
	m.wg.Done()
}
