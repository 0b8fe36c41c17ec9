package protocol

// Receipt is what a node says, signed, of one feed: which entries it holds, with their bodies
// but for those that it names, and which of them it opened. What it opened it tells to the
// publisher of the feed only.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Receipt struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Origin  Origin
	Holder  SigningKey // of the node that signs
	Seq     uint64     // entries 1 to Seq are held
	Hash    Hash       // of entry Seq
	Lacking []uint64   // rising; entries of them whose bodies are not held and were not erased
	Opened  []SeqRange // rising; entries that were opened here, or empty
	At      uint64     // Unix milliseconds
}

// SeqRange is a range of entries of one feed.
//
// Growth: with Receipt, of which it is a part; it has no version of its own.
type SeqRange struct {
	_        struct{} `cbor:",toarray"`
	From, To uint64   // first and last
}

// Validate checks ranges, order and bounds.
func (r *Receipt) Validate() error {
	switch {
	case r.Version != 1:
		return unknownVersion("receipt", r.Version, 1)
	case r.Seq == 0 || r.Seq > MaxSeq || r.Hash.IsZero():
		return malformed("receipt is about entry %d, out of range", r.Seq)
	case len(r.Lacking) > MaxReceiptLacking || len(r.Opened) > MaxReceiptRanges:
		return oversize("receipt names %d entries and %d ranges, at most %d and %d", len(r.Lacking), len(r.Opened), MaxReceiptLacking, MaxReceiptRanges)
	}
	last := uint64(0)
	for _, s := range r.Lacking {
		if s <= last || s > r.Seq {
			return malformed("entries that a receipt lacks must rise, and be among those that it is about")
		}
		last = s
	}
	last = 0
	for _, o := range r.Opened {
		if o.From <= last || o.To < o.From || o.To > r.Seq {
			return malformed("ranges that a receipt opened must rise, and be among those that it is about")
		}
		last = o.To
	}
	return nil
}

// Holds reports whether the receipt says that the body of an entry is held, or was erased.
func (r *Receipt) Holds(seq uint64) bool {
	if seq == 0 || seq > r.Seq {
		return false
	}
	for _, l := range r.Lacking {
		if l == seq {
			return false
		}
	}
	return true
}

// Opens reports whether the receipt says that an entry was opened.
func (r *Receipt) Opens(seq uint64) bool {
	for _, o := range r.Opened {
		if o.From <= seq && seq <= o.To {
			return true
		}
	}
	return false
}
