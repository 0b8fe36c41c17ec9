package crypto

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"

	"github.com/entente-mesh/entente/protocol"
)

// memo keeps names of signatures that were found good. What is not in it is verified; so it
// changes how long a verification takes, and never what comes of it.
type memo struct {
	size int

	mu         sync.Mutex
	young, old map[[32]byte]struct{} // guarded by mu; old is dropped when young is full
}

var goodSignatures atomic.Pointer[memo]

// KeepVerified makes Verify keep the last n to 2n signatures that it found good, in this
// process, by a hash over all the bytes that it verified them by: key, signature, context,
// network and statement. 0, as at the start, keeps none. It is for a process that holds many
// nodes and sees the same bytes once for each of them, as a simulation does; refused
// signatures are not kept. A benchmark that measures signatures must leave it alone.
func KeepVerified(n int) {
	if n <= 0 {
		goodSignatures.Store(nil)
		return
	}
	goodSignatures.Store(&memo{size: n, young: map[[32]byte]struct{}{}})
}

// signatureName hashes all that a verification depends on. Key and signature have their
// fixed lengths, so no two triples are written alike.
func signatureName(key [32]byte, signed []byte, sig protocol.Signature) (name [32]byte) {
	h := sha256.New()
	h.Write(key[:])
	h.Write(sig[:])
	h.Write(signed)
	h.Sum(name[:0])
	return name
}

func (m *memo) has(name [32]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.young[name]; ok {
		return true
	}
	if _, ok := m.old[name]; !ok {
		return false
	}
	m.add(name) // what is used stays
	return true
}

func (m *memo) put(name [32]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(name)
}

// add makes a name one of the youngest. The caller holds mu.
func (m *memo) add(name [32]byte) {
	if len(m.young) >= m.size {
		m.old, m.young = m.young, map[[32]byte]struct{}{}
	}
	m.young[name] = struct{}{}
}
