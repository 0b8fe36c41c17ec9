package protocol

// Context separates the kinds of signed statement, so that a signature over one can never
// be taken for a signature over another.
type Context string

// The signing contexts. Each is used for one type of statement.
const (
	ContextRootEpoch    Context = "entente/root-epoch/v1"
	ContextRootRotation Context = "entente/root-rotation/v1"
	ContextCard         Context = "entente/card/v1"
	ContextNode         Context = "entente/node/v1"
	ContextGenesis      Context = "entente/genesis/v1"
	ContextSponsorship  Context = "entente/sponsorship/v1"
	ContextRemoval      Context = "entente/removal/v1"
	ContextTopicSecret  Context = "entente/topic-secret/v1"
	ContextEnvelope     Context = "entente/envelope/v1"
	ContextHead         Context = "entente/head/v1"
	ContextErase        Context = "entente/erase/v1"
	ContextReceipt      Context = "entente/receipt/v1"
	ContextBatch        Context = "entente/batch/v1"
	ContextAgreement    Context = "entente/agreement/v1"
	ContextTermination  Context = "entente/termination/v1"
	ContextRejection    Context = "entente/rejection/v1"
	ContextHop          Context = "entente/hop/v1"
	ContextExclusion    Context = "entente/exclusion/v1"
	ContextExclusionAck Context = "entente/exclusion-ack/v1"
	ContextSuspension   Context = "entente/suspension/v1"
	ContextMandate      Context = "entente/mandate/v1"
	ContextMandateEnd   Context = "entente/mandate-revocation/v1"
	ContextDirectTopic  Context = "entente/direct-topic/v1"
	ContextRecipient    Context = "entente/recipient/v1"
)

// NoNetwork is given for the statements that belong to an organisation and not to a
// network: root rotations, root epochs, cards, node bindings, and a network's own genesis.
var NoNetwork NetworkID

// SigningBytes returns what is signed: context || 0x00 || network || statement.
// For statements of an organisation the network is 32 zero bytes.
func SigningBytes(c Context, network NetworkID, statement []byte) []byte {
	b := make([]byte, 0, len(c)+1+32+len(statement))
	b = append(b, c...)
	b = append(b, 0)
	b = append(b, network[:]...)
	return append(b, statement...)
}

// Signed is a statement's bytes with the signatures over them. The bytes are what is
// verified and hashed; they are decoded only after that.
//
// Growth: with the statement's Version, which a reader looks at first.
type Signed struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte
	Sigs      []KeySignature // sorted by key
}

// KeySignature is one signature and the key that made it.
//
// Growth: with Signed, of which it is a part; it has no version of its own.
type KeySignature struct {
	_   struct{} `cbor:",toarray"`
	Key [32]byte
	Sig Signature
}

// Hash returns SHA-256("entente/statement/v1" || 0x00 || statement): the name of the
// statement in the sets that peers exchange. Signatures are not part of it.
func (s *Signed) Hash() Hash { return Hash(digest("entente/statement/v1", s.Statement)) }
