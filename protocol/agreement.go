package protocol

import (
	"slices"
	"strings"
)

// Worldwide, as the only entry of a term's countries, covers every record, also one that
// names no country. Any, as the only entry of topics or kinds, covers all of them.
const (
	Worldwide = "*"
	Any       = "*"
)

// Term is what one party may receive from another: one direction of an agreement.
// A record passes if it is within every limit of one term.
//
// Growth: as for Agreement; a term has no version of its own.
type Term struct {
	_             struct{} `cbor:",toarray"`
	From          OrgID
	To            OrgID
	Topics        []string // names, or Any alone
	Kinds         []string // STIX object types, or Any alone
	TLP           TLP      // ceiling
	PAP           PAP      // ceiling; unset: none
	Countries     []string // ISO codes, or Worldwide alone
	Personal      PersonalData
	Purposes      []string // empty: not restricted
	RetentionDays uint32   // 0: not restricted
	HistoryDays   uint32   // how far back a new partner may read; 0: nothing from before
	Onward        Onward
}

// Agreement is a document that its parties sign: canonical bytes, confidential to them.
//
// Growth: fields are never removed, reordered or given another meaning; a change is a new
// Version, and a party refuses to countersign one that its node does not know.
type Agreement struct {
	_           struct{} `cbor:",toarray"`
	Version     uint8    // of the format: 1
	Network     NetworkID
	Secret      [32]byte // of this agreement: keys the hints of grants; never shown
	Title       string
	Parties     []OrgID // sorted, two or more
	Terms       []Term
	LegalBasis  string
	PaperSHA256 Hash // of the signed paper; zero: none stated
	NotBefore   uint64
	NotAfter    uint64
	Previous    AgreementID // the agreement that this one amends; zero: none
}

// ID returns the AgreementID of canonical bytes.
func NewAgreementID(canonical []byte) AgreementID {
	return AgreementID(digest("entente/agreement-id/v1", canonical))
}

// SignedAgreement is an agreement with the signatures given so far. It is in force only
// when every party's is there.
//
// Growth: with the Agreement's Version, which a reader looks at first.
type SignedAgreement struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte   // encoded Agreement
	Sigs      []PartySignature
}

// PartySignature is a party's signature with its operational key.
//
// Growth: with SignedAgreement, of which it is a part; it has no version of its own.
type PartySignature struct {
	_   struct{} `cbor:",toarray"`
	Org OrgID
	Key OpKey
	Sig Signature
}

// ID returns the AgreementID.
func (s *SignedAgreement) ID() AgreementID { return NewAgreementID(s.Statement) }

// Validate checks ranges, order and bounds of the container.
func (s *SignedAgreement) Validate() error {
	if len(s.Statement) > MaxAgreementSize {
		return oversize("agreement has %d bytes, at most %d", len(s.Statement), MaxAgreementSize)
	}
	if len(s.Sigs) > MaxParties {
		return oversize("agreement has %d signatures, at most %d", len(s.Sigs), MaxParties)
	}
	if !isSortedSet(s.Sigs, func(a, b PartySignature) int { return a.Org.Compare(b.Org) }) {
		return malformed("agreement signatures must be sorted by organisation, one each")
	}
	return nil
}

// Validate checks ranges, order and bounds, and that every term is between two parties.
func (a *Agreement) Validate() error {
	switch {
	case a.Version != 1:
		return malformed("agreement version %d is not known; upgrade this node to read it", a.Version)
	case len(a.Parties) < 2 || len(a.Parties) > MaxParties:
		return malformed("agreement has %d parties, 2 to %d are allowed", len(a.Parties), MaxParties)
	case !isSortedSet(a.Parties, OrgID.Compare):
		return malformed("parties must be sorted and free of duplicates")
	case len(a.Terms) == 0 || len(a.Terms) > MaxTerms:
		return malformed("agreement has %d terms, 1 to %d are allowed", len(a.Terms), MaxTerms)
	case a.NotAfter <= a.NotBefore:
		return malformed("agreement ends before it begins; check not_before and not_after")
	case a.Secret == [32]byte{}:
		return malformed("agreement lacks its random secret")
	}
	if err := checkText("title", a.Title, MaxNameSize); err != nil {
		return err
	}
	if err := checkText("legal basis", a.LegalBasis, MaxTextSize); err != nil {
		return err
	}
	for i := range a.Terms {
		if err := a.Terms[i].validate(a.Parties); err != nil {
			return Errorf(ErrMalformed, "term %d: %v", i+1, err)
		}
	}
	return nil
}

func (t *Term) validate(parties []OrgID) error {
	switch {
	case t.From == t.To:
		return malformed("from and to are the same organisation")
	case !slices.Contains(parties, t.From) || !slices.Contains(parties, t.To):
		return malformed("from and to must both be parties")
	case t.TLP == TLPUnset || t.TLP > TLPRed:
		return malformed("needs a TLP ceiling")
	case t.PAP > PAPRed || t.Personal == PersonalUndetermined || t.Personal > PersonalAll:
		return malformed("PAP ceiling or personal data out of range")
	case len(t.Purposes) > MaxPurposes:
		return oversize("names %d purposes, at most %d", len(t.Purposes), MaxPurposes)
	}
	if err := checkList("topics", t.Topics, MaxTermTopics, func(s string) error { return checkToken("topic", s) }); err != nil {
		return err
	}
	if err := checkList("kinds", t.Kinds, MaxTermKinds, func(s string) error { return checkToken("kind of object", s) }); err != nil {
		return err
	}
	if err := checkList("countries", t.Countries, MaxCountries, func(c string) error {
		if !IsCountry(c) {
			return malformed("country %q is not ISO 3166-1 alpha-2 in upper case", clip(c))
		}
		return nil
	}); err != nil {
		return err
	}
	for _, p := range t.Purposes {
		if err := checkToken("purpose", p); err != nil {
			return err
		}
	}
	if !isSortedSet(t.Purposes, strings.Compare) {
		return malformed("purposes must be sorted and free of duplicates")
	}
	return t.Onward.Validate()
}

// checkList wants a sorted set of one or more, or "*" alone.
func checkList(what string, list []string, limit int, check func(string) error) error {
	switch {
	case len(list) == 0:
		return malformed("needs %s; write \"*\" for all of them", what)
	case len(list) > limit:
		return oversize("names %d %s, at most %d", len(list), what, limit)
	case len(list) == 1 && list[0] == "*":
		return nil
	case !isSortedSet(list, strings.Compare):
		return malformed("%s must be sorted and free of duplicates", what)
	}
	for _, s := range list {
		if strings.Contains(s, "*") {
			return malformed("\"*\" must stand alone in %s", what)
		}
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

// Termination ends an agreement, by one party alone. It names the last heads that the
// signer held of the other parties' feeds: later entries are not read under the agreement.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Termination struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Agreement AgreementID
	Org       OrgID
	At        uint64
	Reason    string
	Heads     []FeedHead
}

// Validate checks ranges and bounds.
func (t *Termination) Validate() error {
	if t.Version != 1 {
		return malformed("termination version %d is not known", t.Version)
	}
	if t.At == 0 {
		return malformed("termination does not say when it was made")
	}
	if len(t.Heads) > MaxTerminationHeads {
		return oversize("termination names %d heads, at most %d", len(t.Heads), MaxTerminationHeads)
	}
	return checkText("reason", t.Reason, MaxTextSize)
}

// Rejection answers a proposal with no.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Rejection struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Agreement AgreementID
	Org       OrgID
	At        uint64
	Reason    string
}

// Validate checks ranges and bounds.
func (r *Rejection) Validate() error {
	if r.Version != 1 {
		return malformed("rejection version %d is not known", r.Version)
	}
	return checkText("reason", r.Reason, MaxTextSize)
}

// OrgSigned is a statement with one organisation's signature: a termination or a rejection.
//
// Growth: with the statement's Version, which a reader looks at first.
type OrgSigned struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte
	Org       OrgID
	Key       OpKey
	Sig       Signature
}
