// Package crypto answers two questions: who said it, and who may read it. It holds the keys
// of organisations and nodes, the signatures over every statement of package protocol, the
// sealing of bodies under epoch keys, grants, letters, and the sealing of secrets at rest.
// It is the only user of age.
//
// Confidentiality is post-quantum: grants, letters and topic secrets go to age1pq recipients
// (ML-KEM-768 with X25519), and bodies are sealed under the symmetric keys that grants carry.
// Signatures are Ed25519; the suite byte of headers reserves hybrid ones.
//
// The package starts no goroutine and does no I/O but reading crypto/rand.
package crypto
