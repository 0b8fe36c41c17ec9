// Package protocol defines what travels between the nodes of Entente: identifiers, the
// strict encoding, every message type, the bounds and the failure classes. It does no I/O,
// reads no clock and starts no goroutine; it knows hashes but neither signatures nor keys.
//
// A feed entry on the wire is an [Envelope]:
//
//	+--------+-------------------------------------------------+-----------+----------------+
//	| origin | header                                          | signature | body           |
//	|        | ver suite kind feed seq previous hash size      | Ed25519   | <= 64 KiB      |
//	+--------+-------------------------------------------------+-----------+----------------+
//	  whose    all that an outsider sees                         over the    an age file, or
//	  feed                                                       header      grants
//
// Every message is deterministic CBOR and has exactly one encoding; [Decode] refuses all
// others. SPEC.md is the normative text; its vectors are in testdata/vectors.
package protocol
