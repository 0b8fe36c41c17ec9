package mesh

import libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"

// Protocols lists the protocols of a node with their versions, the best of each first.
func Protocols() (out []string) {
	for _, list := range [][]libp2pprotocol.ID{helloProtocols, syncProtocols, gossipProtocols} {
		for _, id := range list {
			out = append(out, string(id))
		}
	}
	return out
}
