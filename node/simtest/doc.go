// Package simtest runs many real nodes on a simulated network in virtual time: real
// libp2p, QUIC and gossip, real stores in memory, on go-libp2p's simulation stack
// (github.com/marcopolo/simnet, as x/simlibp2p uses it) inside a testing/synctest bubble.
//
// Packets can be dropped between any two nodes, which x/simlibp2p itself does not offer:
// its own option for QUIC comes last and would silently undo a wrapper.
//
// A Puppet is a member whose every byte the test decides; it speaks the protocols as SPEC.md
// describes them, and uses nothing of package mesh. A Log is a feed that it signs.
//
// Seeds reproduce what is done to the network, not the order in which goroutines run.
//
// Scenarios that take long run where ENTENTE_MESHES is set. Each notes in the file that
// ENTENTE_SUMMARY names "RAN name n nodes: what it found", or "NOT RUN name: reason".
package simtest
