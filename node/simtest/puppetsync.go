package simtest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/entente-mesh/entente/protocol"
)

// Ask sends one request to a node and returns its answer.
func (p *Puppet) Ask(to *Node, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := p.host.NewStream(network.WithNoDial(ctx, "sync"), to.peerID(), p.protocolIDs("sync")...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Reset() }()
	_ = s.SetDeadline(time.Now().Add(30 * time.Second))
	m.Version = 1
	if err := writeFrame(s, protocol.Encode(m)); err != nil {
		return nil, err
	}
	data, err := readFrame(s)
	if err != nil {
		return nil, err
	}
	var a protocol.SyncMessage
	if err := protocol.Decode(data, protocol.MaxFrameSize, &a); err != nil {
		return nil, err
	}
	if a.Kind == protocol.SyncError {
		return nil, errors.New(a.Error)
	}
	return &a, nil
}

// answerSync serves a sync stream.
func (p *Puppet) answerSync(s network.Stream) {
	from := p.node(s.Conn().RemotePeer())
	for {
		_ = s.SetDeadline(time.Now().Add(time.Minute))
		data, err := readFrame(s)
		if err != nil {
			_ = s.Close()
			return
		}
		var m protocol.SyncMessage
		if protocol.Decode(data, protocol.MaxFrameSize, &m) != nil || from == nil {
			_ = s.Reset()
			return
		}
		p.mu.Lock()
		p.asked[m.Kind]++
		p.mu.Unlock()
		answer := p.AnswerHonestly
		if p.Answer != nil {
			answer = p.Answer
		}
		a := answer(from, &m)
		if a == nil || writeFrame(s, protocol.Encode(a)) != nil {
			_ = s.Reset()
			return
		}
	}
}

// Asked returns how many requests of a kind the puppet was asked.
func (p *Puppet) Asked(kind protocol.SyncKind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[kind]
}

func writeFrame(w io.Writer, data []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	data := make([]byte, min(binary.BigEndian.Uint32(head[:]), protocol.MaxFrameSize))
	_, err := io.ReadFull(r, data)
	return data, err
}
