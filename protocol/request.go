package protocol

// InfoRequest asks a partner what it knows. It travels in a letter, and needs no signature of its own:
// a letter is an entry of its sender's feed. Records that answer it are published as any.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type InfoRequest struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	ID        RequestID
	From      OrgID       // who asks
	To        OrgID       // who is asked
	Agreement AgreementID // under which: its terms from To to From say within which time it is answered
	Purpose   string      // token; empty: none stated
	Text      string
	Values    []string // observables that it is about
	At        uint64   // Unix milliseconds
}

// RequestID names a request; it is random.
type RequestID [16]byte

// Validate checks ranges and bounds.
func (r *InfoRequest) Validate() error {
	switch {
	case r.Version != 1:
		return unknownVersion("request", r.Version, 1)
	case r.ID == RequestID{} || r.From == r.To || r.Agreement.IsZero():
		return malformed("request lacks its id or its agreement, or asks who asks")
	case r.Text == "" && len(r.Values) == 0:
		return malformed("request asks for nothing")
	case len(r.Values) > MaxRequestValues:
		return oversize("request names %d values, at most %d are allowed; make several", len(r.Values), MaxRequestValues)
	}
	if r.Purpose != "" {
		if err := checkToken("purpose", r.Purpose); err != nil {
			return err
		}
	}
	total := 0
	for _, v := range r.Values {
		if total += len(v); v == "" {
			return malformed("request names an empty value")
		}
		if err := checkText("value", v, MaxTextSize); err != nil {
			return err
		}
	}
	if total > MaxRequestSize {
		return oversize("values of a request have %d bytes, at most %d are allowed; make several", total, MaxRequestSize)
	}
	return checkText("request", r.Text, MaxTextSize)
}

// RequestState is what became of a request.
type RequestState uint8

// The states that a reply gives.
const (
	RequestAnswered RequestState = 1
	RequestDeclined RequestState = 2
)

// InfoReply answers an InfoRequest, in a letter of who was asked.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type InfoReply struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Request RequestID
	From    OrgID // who was asked
	To      OrgID // who asked
	State   RequestState
	Text    string
	Records []RecordID // that answer it, sorted; they were published for who asked
	At      uint64     // Unix milliseconds
}

// Validate checks ranges, order and bounds.
func (r *InfoReply) Validate() error {
	switch {
	case r.Version != 1:
		return unknownVersion("reply", r.Version, 1)
	case r.Request == RequestID{} || r.From == r.To:
		return malformed("reply lacks the id of its request, or answers who answers")
	case r.State != RequestAnswered && r.State != RequestDeclined:
		return malformed("reply neither answers nor declines")
	case len(r.Records) > MaxReplyRecords:
		return oversize("reply names %d records, at most %d are allowed", len(r.Records), MaxReplyRecords)
	case !isSortedSet(r.Records, func(a, b RecordID) int { return Hash(a).compare(Hash(b)) }):
		return malformed("records of a reply must be sorted and free of duplicates")
	}
	return checkText("reply", r.Text, MaxTextSize)
}
