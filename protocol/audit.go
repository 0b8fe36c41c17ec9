package protocol

// A node has the checkpoints of its audit log cosigned by nodes of its partners: each signs only
// what continues the last checkpoint of that log that it cosigned, so the log cannot be rewritten
// without one of them seeing it. What the log says stays with its node.

// CosignRequest asks for a cosignature. It travels in a SyncMessage of kind SyncCosign, as its one
// envelope.
//
// Growth: a new exchange is a new SyncKind.
type CosignRequest struct {
	_          struct{} `cbor:",toarray"`
	Held       uint64   // size of the checkpoint that the cosigner holds, as far as is known; 0: none
	Proof      []Hash   // that Checkpoint continues that one (RFC 6962 consistency)
	Checkpoint []byte   // signed note, C2SP tlog-checkpoint
}

// Validate checks what Decode cannot.
func (r *CosignRequest) Validate() error {
	if len(r.Proof) > MaxAuditProof || len(r.Checkpoint) > MaxCheckpoint {
		return oversize("request for a cosignature has %d hashes and a checkpoint of %d bytes", len(r.Proof), len(r.Checkpoint))
	}
	return nil
}

// CosignAnswer is the answer: a cosignature, or, where the request was for another state than the
// cosigner's or does not continue it, the checkpoint that it holds and how much that covers.
//
// Growth: a new exchange is a new SyncKind.
type CosignAnswer struct {
	_         struct{} `cbor:",toarray"`
	Held      uint64
	Signature []byte // a signature line of the note, C2SP tlog-cosignature; empty: ask again as of Held
	// Checkpoint is the one held, which the asking node signed itself; empty beside a signature.
	Checkpoint []byte
}

// Validate checks what Decode cannot.
func (a *CosignAnswer) Validate() error {
	if len(a.Signature) > MaxCosignature {
		return oversize("cosignature has %d bytes, at most %d", len(a.Signature), MaxCosignature)
	}
	if len(a.Checkpoint) > MaxCheckpoint {
		return oversize("checkpoint has %d bytes, at most %d", len(a.Checkpoint), MaxCheckpoint)
	}
	return nil
}
