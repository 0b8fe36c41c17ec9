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
	Approval      uint8   // persons who must approve before something is passed on: 0 to 2
	Confidence    uint8   // least confidence (STIX 3.2), 0 to 100; a record that states none has 0
	PerDay        uint32  // records in a day, UTC; 0: not limited
	Holders       Holders // who may store even what it cannot read
	ReplyHours    uint32  // within which requests of To are answered; 0: not promised
	Notify        Duty    // whether those affected may be told: may or must not
	Attribution   Duty    // whether From is named as the source: may, must or must not
	Resale        Duty    // whether what is unchanged may be sold: may or must not
}

// Holders restricts who may store even sealed envelopes: a ciphertext in a third country can
// be a transfer in law. Allowed are the parties, the organisations named and those of the
// countries named; if both lists are empty, every member of the network.
//
// Growth: with Term, of which it is a part; it has no version of its own.
type Holders struct {
	_         struct{} `cbor:",toarray"`
	Orgs      []OrgID  // sorted
	Countries []string // ISO codes, sorted
}

// Restricted reports whether not everybody may hold.
func (h *Holders) Restricted() bool { return len(h.Orgs)+len(h.Countries) > 0 }

func (h *Holders) validate() error {
	switch {
	case len(h.Orgs) > MaxNamedOrgs:
		return oversize("names %d holders, at most %d", len(h.Orgs), MaxNamedOrgs)
	case !isSortedSet(h.Orgs, OrgID.Compare):
		return malformed("holders must be sorted and free of duplicates")
	case len(h.Countries) == 0:
		return nil
	case h.Countries[0] == Worldwide:
		return malformed("holders of all countries are written by naming none")
	}
	return checkList("countries of holders", h.Countries, MaxCountries, checkCountry)
}

// Duty is what FIRST IEP 2.0 says of an action of the recipient: shown and exported, for only
// people can keep it.
type Duty uint8

// The duties.
const (
	DutyUnstated Duty = iota
	DutyMay
	DutyMust
	DutyMustNot
)

var dutyNames = [...]string{"", "may", "must", "must-not"}

// String returns the name in YAML and IEP, "unset" if nothing is stated.
func (d Duty) String() string { return enumName(dutyNames[:], uint8(d)) }

// ParseDuty reads a name.
func ParseDuty(s string) (Duty, error) {
	v, err := parseEnum("duty", dutyNames[:], strings.ToLower(s))
	return Duty(v), err
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
	NoticeDays  uint32      // that a party should give before it ends the agreement; 0: none
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
		return unknownVersion("agreement", a.Version, 1)
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
	if err := checkList("countries", t.Countries, MaxCountries, checkCountry); err != nil {
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
	switch {
	case t.Approval > 2:
		return malformed("wants the approval of %d persons, at most 2", t.Approval)
	case t.Confidence > 100:
		return malformed("confidence %d is not 0 to 100", t.Confidence)
	case t.Notify > DutyMustNot || t.Notify == DutyMust, t.Resale > DutyMustNot || t.Resale == DutyMust, t.Attribution > DutyMustNot:
		return malformed("notification, attribution or resale out of range")
	}
	if err := t.Holders.validate(); err != nil {
		return err
	}
	return t.Onward.Validate()
}

func checkCountry(c string) error {
	if !IsCountry(c) {
		return malformed("country %q is not ISO 3166-1 alpha-2 in upper case", clip(c))
	}
	return nil
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

// Termination is a party's word that it leaves an agreement, by itself alone. Between two that
// ends the agreement; of more, the others stay with each other. Effective is At for at once, and
// later where notice is given. At once it names the last heads that the signer held of the other
// parties' feeds: later entries are not read under the agreement.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Termination struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Agreement AgreementID
	Org       OrgID
	At        uint64 // when it was signed
	Effective uint64 // when it counts, not before At
	Reason    string
	Heads     []FeedHead // none if notice is given
}

// Validate checks ranges and bounds.
func (t *Termination) Validate() error {
	switch {
	case t.Version != 1:
		return unknownVersion("termination", t.Version, 1)
	case t.At == 0:
		return malformed("termination does not say when it was made")
	case t.Effective < t.At:
		return malformed("termination takes effect before it was made")
	case t.Effective > t.At && len(t.Heads) > 0:
		return malformed("termination with notice names heads that are not the last")
	case len(t.Heads) > MaxTerminationHeads:
		return oversize("termination names %d heads, at most %d", len(t.Heads), MaxTerminationHeads)
	}
	return checkText("reason", t.Reason, MaxTextSize)
}

// Suspension says when a party suspended an agreement, and when it resumed it: all of it each
// time, so that a statement that was missed changes nothing. Of one party the highest number
// counts; of two of one number the one that suspends.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Suspension struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Agreement AgreementID
	Org       OrgID
	Number    uint64 // from 1
	At        uint64 // when it was signed
	Reason    string
	Pauses    []Pause // in their order; the last may be open
}

// Pause is a time in which an agreement is suspended by a party. Heads are the last that it held
// of the other parties' feeds when it began: entries after them that say to be from before the
// end are not read under the agreement.
//
// Growth: with Suspension, of which it is a part; it has no version of its own.
type Pause struct {
	_     struct{} `cbor:",toarray"`
	From  uint64
	Until uint64 // 0: until it is resumed
	Heads []FeedHead
}

// Suspended reports whether the agreement is suspended as far as this statement goes.
func (s *Suspension) Suspended() bool {
	return len(s.Pauses) > 0 && s.Pauses[len(s.Pauses)-1].Until == 0
}

// Validate checks ranges and bounds.
func (s *Suspension) Validate() error {
	switch {
	case s.Version != 1:
		return unknownVersion("suspension", s.Version, 1)
	case s.At == 0 || s.Number == 0:
		return malformed("suspension lacks its number, or when it was made")
	case len(s.Pauses) == 0 || len(s.Pauses) > MaxPauses:
		return malformed("suspension lists %d times, 1 to %d are allowed", len(s.Pauses), MaxPauses)
	}
	heads, last := 0, uint64(0)
	for i := range s.Pauses {
		p := &s.Pauses[i]
		if p.From == 0 || p.From < last || p.From > s.At {
			return malformed("suspension does not begin in the order of time, or after it was signed")
		}
		if p.Until == 0 {
			if i < len(s.Pauses)-1 {
				return malformed("suspension lists a time without end before another")
			}
		} else if p.Until < p.From || p.Until > s.At {
			return malformed("suspension ends before it begins, or after it was signed")
		}
		last = p.Until
		heads += len(p.Heads)
	}
	if heads > MaxTerminationHeads {
		return oversize("suspension names %d heads, at most %d", heads, MaxTerminationHeads)
	}
	return checkText("reason", s.Reason, MaxTextSize)
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
		return unknownVersion("rejection", r.Version, 1)
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
