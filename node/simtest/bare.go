package simtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/marcopolo/simnet"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/protocol"
)

// Bare is a node's mesh with nothing behind it: gossip alone, which takes whatever comes. It is
// what nodes are compared with.
type Bare struct {
	*mesh.Mesh
	key  crypto.NodePrivate
	node *Node // its place on the wire; nil: a real network
}

// NewBare starts one on a real network. deliver is given every message that others published;
// duplicate, if not nil, is told of those that came once more.
func NewBare(listen string, deliver func(data []byte), duplicate func(topic string)) (*Bare, error) {
	return newBare(listen, deliver, duplicate, nil)
}

// Bare starts one at the i-th place of a world that has no nodes.
func (w *World) Bare(i int, deliver func(data []byte), duplicate func(topic string)) *Bare {
	w.T.Helper()
	n := &Node{w: w, index: i, ip: simnet.IntToPublicIPv4(i).String(), link: w.link()}
	b, err := newBare(n.addr(), deliver, duplicate, []mesh.HostOption{w.quic(n)})
	if err != nil {
		w.T.Fatal(err)
	}
	b.node = n
	return b
}

func newBare(listen string, deliver func([]byte), duplicate func(string), options []mesh.HostOption) (*Bare, error) {
	b := &Bare{key: crypto.GenerateNode()}
	var err error
	b.Mesh, err = mesh.New(context.Background(), mesh.Config{Key: b.key, Listen: []string{listen}, HostOptions: options,
		Known:     func(protocol.NodeID) (protocol.OrgID, bool) { return protocol.OrgID{}, true },
		OwnHello:  func() []byte { return []byte("hello") },
		Hello:     func(protocol.NodeID, []byte) error { return nil },
		Validate:  func(protocol.NodeID, string, []byte) (mesh.Verdict, any) { return mesh.Accept, nil },
		Deliver:   func(_ protocol.NodeID, _ string, data []byte, _ any) { deliver(data) },
		Duplicate: duplicate,
		Serve: func(context.Context, protocol.NodeID, *protocol.SyncMessage) (*protocol.SyncMessage, error) {
			return nil, errors.New("there is nothing behind this mesh")
		}})
	if err != nil {
		return nil, fmt.Errorf("starting a bare mesh: %w", err)
	}
	return b, nil
}

// Call connects it with another.
func (b *Bare) Call(ctx context.Context, other *Bare) error {
	return b.Connect(ctx, other.key.Public(), other.Addrs())
}
