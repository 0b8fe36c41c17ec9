// Package node is one running member of the mesh. It wires the parts together and holds the
// two gates: Publish, the only way out (decide, pack, seal, sign, store, then gossip: what
// it acknowledges is durable), and admission, the only way in (decode, verify, order, store,
// open, decide, index).
//
// A Node is opened on a data directory and can answer questions at once; Run brings it onto
// the network and returns when everything that it started has stopped.
//
//	n, err := node.Open(node.Config{Dir: dir, Keys: keys})
//	go n.Run(ctx)
//	receipt, err := n.Publish(ctx, node.PublishRequest{Topic: "c2", Items: items})
package node
