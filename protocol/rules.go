package protocol

// ContextRules is the signing context of RulesOffer, signed by the organisation's operational key.
const ContextRules Context = "entente/rules/v1"

// RulesOffer is a set of local rules that an organisation puts in force at all of its nodes. It
// travels as an OrgSigned inside a SiblingRules, and nowhere else. Of two the higher number counts.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse.
type RulesOffer struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Org        OrgID
	Number     uint64 // above those before; Unix milliseconds when it was signed, or one more than the last
	File       string // its name, for messages
	Text       []byte
	PeopleFile string
	People     []byte
}

// Validate checks ranges and bounds; that the rules can be read is checked by who takes them.
func (o *RulesOffer) Validate() error {
	switch {
	case o.Version != 1:
		return unknownVersion("rules for all nodes", o.Version, 1)
	case o.Number == 0 || o.Number > 1<<62:
		return malformed("rules for all nodes have no number, or one out of range")
	case len(o.File) > MaxNameSize || len(o.PeopleFile) > MaxNameSize:
		return oversize("the name of a file of rules has more than %d bytes", MaxNameSize)
	case len(o.Text)+len(o.People) > MaxRulesOffer:
		return oversize("rules and people for all nodes have %d bytes, at most %d", len(o.Text)+len(o.People), MaxRulesOffer)
	}
	return nil
}

// SiblingRules says which set of local rules a node has in force. The later one counts.
type SiblingRules struct {
	_     struct{} `cbor:",toarray"`
	Node  NodeID
	At    uint64      // Unix milliseconds
	Set   Hash        // of rules and people
	Offer []OrgSigned // at most one, of a RulesOffer: for all nodes
}

// Validate checks bounds.
func (r *SiblingRules) Validate() error {
	if len(r.Offer) > 1 {
		return malformed("a sibling offers %d sets of rules, at most one", len(r.Offer))
	}
	return nil
}
