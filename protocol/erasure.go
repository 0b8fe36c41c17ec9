package protocol

// Erasure between organisations: who holds a record is asked to erase it, and answers, signed, what it
// did. The signed Erase of a publisher makes nodes destroy what they hold of its entries; it cannot ask
// what people took from there, and binds nobody about a record that came another way.

// The signing contexts of erasure requests and answers.
const (
	ContextErasureRequest Context = "entente/erasure-request/v1"
	ContextErasureAnswer  Context = "entente/erasure-answer/v1"
)

// ErasureRequest asks an organisation to erase records, and to say by when it did. It travels as an
// OrgSigned, in a letter.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type ErasureRequest struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Org     OrgID      // that asks
	To      OrgID      // that is asked
	Number  uint64     // random, so that no two requests are one
	At      uint64     // Unix milliseconds
	Due     uint64     // by when it wants an answer; Unix milliseconds
	Records []RecordID // sorted
	Reason  EraseReason
	Onward  bool   // whom the recipient gave them to is to be asked as well
	Text    string // in the asker's words; may be empty
}

// Validate checks ranges, order and bounds.
func (r *ErasureRequest) Validate() error {
	switch {
	case r.Version != 1:
		return unknownVersion("erasure request", r.Version, 1)
	case r.Org == r.To || r.Org.IsZero() || r.To.IsZero():
		return malformed("erasure request must be from one organisation to another")
	case r.Number == 0 || r.At == 0 || r.Due <= r.At:
		return malformed("erasure request lacks its number, or is due before it is made")
	case r.Reason <= EraseExpired || r.Reason > EraseError:
		return malformed("erasure request has a reason of unknown class %d", r.Reason)
	case len(r.Records) == 0 || len(r.Records) > MaxErasedRecords:
		return oversize("erasure request names %d records, 1 to %d are allowed", len(r.Records), MaxErasedRecords)
	case !isSortedSet(r.Records, compareRecord):
		return malformed("records of an erasure request must be sorted and free of duplicates")
	}
	return checkText("text", r.Text, MaxTextSize)
}

func compareRecord(a, b RecordID) int { return Hash(a).compare(Hash(b)) }

// ErasureName names a request by its statement:
// SHA-256("entente/erasure-request-name/v1" || 0x00 || statement).
func ErasureName(statement []byte) Hash {
	return Hash(digest("entente/erasure-request-name/v1", statement))
}

// ErasureOutcome says what became of a record at the organisation that was asked.
type ErasureOutcome uint8

// The outcomes.
const (
	OutcomeErased  ErasureOutcome = 1 // erased, by this request or before
	OutcomeHold    ErasureOutcome = 2 // kept aside under a legal hold; shown, served and passed on no more
	OutcomeBasis   ErasureOutcome = 3 // kept on a legal basis of its own, which the text names
	OutcomeNotHeld ErasureOutcome = 4 // it holds no such record, and knows of none
)

var outcomes = [...]string{"", "erased", "kept under a legal hold", "kept", "not held"}

// String returns the outcome in words.
func (o ErasureOutcome) String() string {
	if int(o) < len(outcomes) && o != 0 {
		return outcomes[o]
	}
	return "unknown"
}

// ErasureExports says what became of what left the answering organisation's node in exports and streams.
type ErasureExports uint8

// What became of exports. Only a person can know.
const (
	ExportsOpen   ErasureExports = 1 // nobody has said yet
	ExportsNone   ErasureExports = 2 // nothing of the records was exported
	ExportsErased ErasureExports = 3 // what was is erased there as well
	ExportsRemain ErasureExports = 4 // some is left, or it is not known; the text says where
)

var exportStates = [...]string{"", "open", "none", "erased", "remain"}

// String returns the word for it.
func (x ErasureExports) String() string {
	if int(x) < len(exportStates) && x != 0 {
		return exportStates[x]
	}
	return "unknown"
}

// ParseErasureExports reads the word of a person about exports: none, erased or remain.
func ParseErasureExports(s string) (ErasureExports, error) {
	for i, name := range exportStates {
		if ErasureExports(i) > ExportsOpen && s == name {
			return ErasureExports(i), nil
		}
	}
	return 0, malformed("%q does not say what became of exports; one of none, erased, remain", clip(s))
}

// ErasureResult is the outcome for one record.
//
// Growth: with ErasureAnswer, of which it is a part; it has no version of its own.
type ErasureResult struct {
	_       struct{} `cbor:",toarray"`
	Record  RecordID
	Outcome ErasureOutcome
}

// ErasureAnswer confirms what an organisation did about a request. It travels as an OrgSigned, in a
// letter. Of the answers to one request the one with the highest number counts; of two of one number the
// one with the lower encoding.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type ErasureAnswer struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Org     OrgID           // that answers
	To      OrgID           // that asked
	Request Hash            // ErasureName
	Number  uint64          // from 1
	At      uint64          // Unix milliseconds
	Results []ErasureResult // sorted by record; of every record of the request
	Exports ErasureExports
	Asked   []OrgID // sorted: whom it asked in its turn
	Text    string  // in its words; may be empty
}

// Validate checks ranges, order and bounds.
func (a *ErasureAnswer) Validate() error {
	switch {
	case a.Version != 1:
		return unknownVersion("erasure answer", a.Version, 1)
	case a.Org == a.To || a.Org.IsZero() || a.To.IsZero():
		return malformed("erasure answer must be from one organisation to another")
	case a.Request.IsZero() || a.Number == 0 || a.At == 0:
		return malformed("erasure answer lacks its request, its number, or when it was made")
	case len(a.Results) == 0 || len(a.Results) > MaxErasedRecords:
		return oversize("erasure answer names %d records, 1 to %d are allowed", len(a.Results), MaxErasedRecords)
	case !isSortedSet(a.Results, func(x, y ErasureResult) int { return compareRecord(x.Record, y.Record) }):
		return malformed("results of an erasure answer must be sorted and free of duplicates")
	case a.Exports < ExportsOpen || a.Exports > ExportsRemain:
		return malformed("erasure answer says something unknown of exports: %d", a.Exports)
	case len(a.Asked) > MaxNamedOrgs:
		return oversize("erasure answer names %d organisations, at most %d", len(a.Asked), MaxNamedOrgs)
	case !isSortedSet(a.Asked, OrgID.Compare):
		return malformed("organisations of an erasure answer must be sorted and free of duplicates")
	}
	basis := false
	for _, r := range a.Results {
		if r.Outcome < OutcomeErased || r.Outcome > OutcomeNotHeld {
			return malformed("erasure answer has an unknown outcome %d", r.Outcome)
		}
		basis = basis || r.Outcome == OutcomeBasis
	}
	if basis && a.Text == "" {
		return malformed("erasure answer keeps records and does not say on which basis")
	}
	return checkText("text", a.Text, MaxTextSize)
}
