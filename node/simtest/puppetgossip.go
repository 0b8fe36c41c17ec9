package simtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"
)

// hear reads what a peer gossips, and passes nothing on.
func (p *Puppet) hear(s network.Stream) {
	from := p.node(s.Conn().RemotePeer())
	r := bufio.NewReader(s)
	for {
		size, err := binary.ReadUvarint(r)
		if err != nil || size > 1<<20 {
			_ = s.Reset()
			return
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(r, data); err != nil {
			_ = s.Reset()
			return
		}
		var rpc pb.RPC
		if proto.Unmarshal(data, &rpc) != nil {
			continue
		}
		p.mu.Lock()
		for _, m := range rpc.GetPublish() {
			p.heard = append(p.heard, Heard{from, m.GetTopic(), bytes.Clone(m.GetData())})
		}
		p.mu.Unlock()
	}
}

// Heard returns what was gossiped to the puppet in a topic, once for each peer that did.
func (p *Puppet) Heard(topic string) (out []Heard) {
	name := p.Wire(topic)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.heard {
		if h.Topic == name {
			out = append(out, h)
		}
	}
	return out
}

// RPC says something on the gossip stream to a node, as it is.
func (p *Puppet) RPC(to *Node, rpc *pb.RPC) error {
	data, err := proto.Marshal(rpc)
	if err != nil {
		return err
	}
	data = append(binary.AppendUvarint(nil, uint64(len(data))), data...)
	p.mu.Lock()
	s := p.out[to]
	p.mu.Unlock()
	if s != nil {
		_ = s.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := s.Write(data); err == nil {
			return nil
		}
		_ = s.Reset()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err = p.host.NewStream(network.WithNoDial(ctx, "gossip"), to.peerID(), p.protocolIDs("gossip")...)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.out[to] = s
	p.mu.Unlock()
	_ = s.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err = s.Write(data)
	return err
}

// Subscribe tells nodes that the puppet is in topics, so that they gossip to it.
func (p *Puppet) Subscribe(nodes []*Node, topics ...string) {
	p.w.T.Helper()
	var rpc pb.RPC
	for _, topic := range topics {
		rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{Subscribe: proto.Bool(true), Topicid: proto.String(p.Wire(topic))})
	}
	for _, n := range nodes {
		if err := p.RPC(n, &rpc); err != nil {
			p.w.T.Fatalf("%s subscribes at %s: %v", p.Name, n.Name, err)
		}
	}
}

// Gossip sends messages of a topic to one node, whatever they are.
func (p *Puppet) Gossip(to *Node, topic string, messages ...[]byte) {
	p.w.T.Helper()
	for part := range slices.Chunk(messages, 16) {
		var rpc pb.RPC
		for size, m := 0, 0; m < len(part); m++ {
			// One RPC has a bound as well; a message that is beyond it goes alone.
			if size += len(part[m]); size > 100<<10 && len(rpc.Publish) > 0 {
				p.say(to, &rpc)
				rpc, size = pb.RPC{}, len(part[m])
			}
			rpc.Publish = append(rpc.Publish, &pb.Message{Data: part[m], Topic: proto.String(p.Wire(topic))})
		}
		p.say(to, &rpc)
	}
}

func (p *Puppet) say(to *Node, rpc *pb.RPC) {
	p.w.T.Helper()
	if err := p.RPC(to, rpc); err != nil {
		p.w.T.Fatalf("%s gossips to %s: %v", p.Name, to.Name, err)
	}
}
