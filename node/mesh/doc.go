// Package mesh connects a node with its peers: who may talk to it, gossip, and streams for
// catching up. It is the only user of libp2p; above it, peers are protocol.NodeIDs and
// addresses are text.
//
// Any peer may connect, within bounds, but a peer that is not known may say hello and
// nothing else; it is let in by the owner's judgement of its hello, or disconnected.
// What gossip loses is lost: the owner brings it by asking peers (Ask), told by Dropped
// that there is a reason to.
package mesh
