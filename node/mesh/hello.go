package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/entente-mesh/entente/protocol"
)

// The hello stream. The caller writes a frame with 16 bytes that name its process and its
// hello. The answer is a frame of one status byte and, if that is 0, the same of the called,
// else text that says why not. The
// caller ends with a frame of one status byte and text in the same way. The third frame
// lets both sides begin to gossip knowing that the other side is ready for it. From version 2 on what
// each says of its program stands between the 16 bytes and the hello: its length (2 bytes big-endian) and
// an encoded protocol.Introduction.
const (
	helloTime    = 8 * time.Second // for the whole exchange
	maxGreetings = 16              // hellos judged at the same time

	helloWelcome = 0
	helloRefused = 1
)

// ErrRefused is wrapped by Connect's error where the peer answered, and does not let this node
// in; its text says why.
var ErrRefused = errors.New("peer refused this node")

// errVersion says that a peer speaks other versions of the protocols.
var errVersion = errors.New("the peer speaks other versions of the protocols than this node; update the older of the two")

// handleHello answers a peer that calls.
func (m *Mesh) handleHello(s network.Stream) {
	node, ok := nodeOf(s.Conn().RemotePeer())
	if !ok || !m.beginGreeting(node) {
		_ = s.Reset()
		return
	}
	_ = s.SetDeadline(time.Now().Add(helloTime))
	id, said, err := m.answerHello(s, node)
	if err != nil {
		defer m.endGreeting(node)
		m.log.Debug("answering hello failed", "node", node, "err", err)
		_ = s.Reset()
		if _, ok := m.cfg.Known(node); !ok {
			m.refuse(node)
		}
		return
	}
	m.renewed(node, id, s.Conn())
	m.introduced(node, said)
	m.admit(node)
	m.endGreeting(node)
	// Last: a caller that sees the end may say hello again, and would be cut off while this
	// one counts.
	_ = s.Close()
}

// instance names a run of a process. A hello begins with it, so that a peer that was killed
// and came back is told from one that calls twice.
type instance [16]byte

// renewed ends the connections that a peer left behind when it was killed and came back:
// nothing else would tell of its end before they time out. What was sent on them meanwhile is
// lost, so the owner is told of the peer anew.
func (m *Mesh) renewed(node protocol.NodeID, id instance, now network.Conn) {
	m.mu.Lock()
	p := m.peers[node]
	restarted := p != nil && p.admitted && p.instance != id && p.instance != instance{}
	if p != nil {
		p.instance = id
	}
	m.mu.Unlock()
	if !restarted {
		return
	}
	for _, c := range m.host.Network().ConnsToPeer(peerOf(node)) {
		if c != now {
			_ = c.Close()
		}
	}
	m.mu.Lock()
	if p := m.peers[node]; p != nil && p.admitted && !m.closed {
		m.tell(node, false)
		m.tell(node, true)
	}
	m.mu.Unlock()
	m.announcePeer(node)
}

// helloRoom is how long a hello may be with what stands before it.
const helloRoom = len(instance{}) + 2 + protocol.MaxIntroductionSize + protocol.MaxHelloSize

// splitHello cuts off a hello what stands before it.
func splitHello(version libp2pprotocol.ID, b []byte) (id instance, said *protocol.Introduction, hello []byte, err error) {
	if len(b) < len(id) {
		return id, nil, nil, protocol.Errorf(protocol.ErrMalformed, "hello has %d bytes, it begins with %d that name the process", len(b), len(id))
	}
	b = b[copy(id[:], b):]
	if version == helloV1 {
		return id, nil, b, nil
	}
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return id, nil, nil, protocol.Errorf(protocol.ErrMalformed, "hello ends within the introduction")
	}
	size := int(binary.BigEndian.Uint16(b))
	said = new(protocol.Introduction)
	if err := protocol.Decode(b[2:2+size], protocol.MaxIntroductionSize, said); err != nil {
		return id, nil, nil, fmt.Errorf("reading introduction: %w", err)
	}
	return id, said, b[2+size:], nil
}

// before is what stands before the own hello.
func (m *Mesh) before(version libp2pprotocol.ID) []byte {
	if version == helloV1 {
		return m.instance[:]
	}
	said := protocol.Encode(m.cfg.introduction())
	return append(binary.BigEndian.AppendUint16(slices.Clone(m.instance[:]), uint16(len(said))), said...)
}

// introduced notes what a peer said of its program. A new process knows other requests, perhaps.
func (m *Mesh) introduced(node protocol.NodeID, said *protocol.Introduction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.peers[node]; p != nil {
		p.said, p.unknown = said, nil
	}
}

func (m *Mesh) answerHello(s network.Stream, node protocol.NodeID) (id instance, said *protocol.Introduction, err error) {
	frame, err := readFrame(s, helloRoom)
	if err != nil {
		return id, nil, fmt.Errorf("reading hello: %w", err)
	}
	m.cfg.Trace(node, string(s.Protocol()), "hello", frame)
	id, said, hello, err := splitHello(s.Protocol(), frame)
	if err != nil {
		return id, nil, err
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
		return id, nil, judged
	}
	if judged != nil {
		m.log.Debug("hello of a known peer", "node", node, "err", judged)
	}
	own := m.cfg.OwnHello()
	if err := writeFrame(s, slices.Concat([]byte{helloWelcome}, m.before(s.Protocol()), own)); err != nil {
		return id, nil, fmt.Errorf("writing hello: %w", err)
	}
	answer, err := readFrame(s, 1+protocol.MaxTextSize)
	if err != nil {
		return id, nil, fmt.Errorf("reading end of hello: %w", err)
	}
	return id, said, readStatus(answer)
}

// greet says hello to a peer that this node called.
func (m *Mesh) greet(ctx context.Context, node protocol.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	s, err := m.host.NewStream(network.WithNoDial(ctx, "hello"), peerOf(node), m.wire.hello...)
	if err != nil {
		if _, known := m.cfg.Known(node); known && m.incompatible(node) {
			return fmt.Errorf("saying hello: %w", errVersion)
		}
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
	if err := writeFrame(s, slices.Concat(m.before(s.Protocol()), own)); err != nil {
		return fmt.Errorf("saying hello: %w", err)
	}
	answer, err := readFrame(s, 1+max(helloRoom, protocol.MaxTextSize))
	if err != nil {
		return fmt.Errorf("reading answer to hello: %w", err)
	}
	if err := readStatus(answer); err != nil {
		return err
	}
	m.cfg.Trace(node, string(s.Protocol()), "hello", answer)
	id, said, hello, err := splitHello(s.Protocol(), answer[1:])
	if err != nil {
		return err
	}
	judged := m.cfg.Hello(node, hello)
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
	m.renewed(node, id, s.Conn())
	m.introduced(node, said)
	m.admit(node)
	return nil
}

// maxGreetAll is how many peers GreetAll says hello to at a time.
const maxGreetAll = 8

// GreetAll says hello again to all peers that were let in: the own card changed. Whoever is busy with another
// hello, or does not answer, learns of it otherwise. It does not wait.
func (m *Mesh) GreetAll() {
	if m.greetsNext.Swap(true) {
		return // what waits says the newest
	}
	m.spawn(func() {
		m.greetAll.Lock() // two at once would cut each other off
		defer m.greetAll.Unlock()
		m.greetsNext.Store(false)
		var wg sync.WaitGroup
		room := make(chan struct{}, maxGreetAll)
		for _, p := range m.Peers() {
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				if err := m.greet(m.ctx, p.Node); err != nil {
					m.log.Debug("saying hello again failed", "node", p.Node, "err", err)
				}
			})
		}
		wg.Wait()
	})
}

func refusal(err error) []byte { return append([]byte{helloRefused}, publicText(err)...) }

func readStatus(answer []byte) error {
	switch {
	case len(answer) > 0 && answer[0] == helloWelcome:
		return nil
	case len(answer) > 0 && answer[0] == helloRefused:
		return fmt.Errorf("%w: %s", ErrRefused, printable(string(answer[1:])))
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
