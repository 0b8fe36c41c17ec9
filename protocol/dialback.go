package protocol

// Messages of the dial-back stream (SPEC "Dialling back"): a node asks a peer to call its own
// addresses on new connections, and reads the peer's clock by the way. The stream carries one
// request and one answer.

// DialBackRequest asks for addresses to be called; with none it asks for the clock alone.
//
// Growth: with the protocol id of the stream.
type DialBackRequest struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Addrs   []string // multiaddresses of the asker, at most MaxAddrs
}

// Validate checks ranges and bounds.
func (r *DialBackRequest) Validate() error {
	if r.Version != 1 {
		return Errorf(ErrMalformed, "request to dial back has version %d; this program knows 1", r.Version)
	}
	if len(r.Addrs) > MaxAddrs {
		return Errorf(ErrOversize, "request to dial back has %d addresses, at most %d", len(r.Addrs), MaxAddrs)
	}
	for _, a := range r.Addrs {
		if a == "" {
			return Errorf(ErrMalformed, "request to dial back has an empty address")
		}
		if err := checkText("address", a, MaxAddrSize); err != nil {
			return err
		}
	}
	return nil
}

// DialOutcome is what became of an address that was to be called.
type DialOutcome uint8

// The outcomes.
const (
	DialReached     DialOutcome = 1 // the asker answered, and proved its key
	DialTimeout     DialOutcome = 2 // nothing answered in time
	DialRefused     DialOutcome = 3 // the machine is there, and nothing listens at the port
	DialUnreachable DialOutcome = 4 // no way to the machine, or no such name
	DialWrongNode   DialOutcome = 5 // another node answers there
	DialFailed      DialOutcome = 6 // in another way, or how is not told
	DialNotAllowed  DialOutcome = 7 // the rule does not let the answerer call it
	DialRelay       DialOutcome = 8 // it is an address by way of a relay, which is not called
	DialBusy        DialOutcome = 9 // asked too often, or the answerer is busy
)

var dialOutcomes = [...]string{"", "reached", "timeout", "refused", "unreachable", "wrong node", "failed", "not allowed", "relay", "busy"}

// String returns the outcome in a word or two.
func (o DialOutcome) String() string {
	if o == 0 || int(o) >= len(dialOutcomes) {
		return "unknown"
	}
	return dialOutcomes[o]
}

// DialResult is what became of one address.
type DialResult struct {
	_       struct{} `cbor:",toarray"`
	Outcome DialOutcome
}

// DialBackAnswer is what a peer answers: the results in the order of the addresses, and its clock.
//
// Growth: with the protocol id of the stream.
type DialBackAnswer struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8    // 1
	Received uint64   // when the request was there, Unix milliseconds
	Sent     uint64   // when the answer went, Unix milliseconds; not before Received
	Results  []DialResult
}

// Validate checks ranges and bounds.
func (a *DialBackAnswer) Validate() error {
	switch {
	case a.Version != 1:
		return Errorf(ErrMalformed, "answer to dialling back has version %d; this program knows 1", a.Version)
	case a.Sent < a.Received:
		return Errorf(ErrMalformed, "answer to dialling back was sent before the request was there")
	case len(a.Results) > MaxAddrs:
		return Errorf(ErrOversize, "answer to dialling back has %d results, at most %d", len(a.Results), MaxAddrs)
	}
	for _, r := range a.Results {
		if r.Outcome == 0 || int(r.Outcome) >= len(dialOutcomes) {
			return Errorf(ErrMalformed, "answer to dialling back has an unknown outcome %d", r.Outcome)
		}
	}
	return nil
}
