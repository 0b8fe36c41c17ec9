package protocol

import "strings"

// Introduction is what a node says of its program to a peer, ahead of its hello (SPEC 6.4): nothing
// of it is signed, because it is true of the connection alone, and nobody decides by it who may read.
//
// Growth: what later programs can do is another token, which who does not know it passes over; a new layout is
// a new protocol id of the stream.
type Introduction struct {
	_            struct{} `cbor:",toarray"`
	Version      uint8    // 1
	Program      string   // name and version, as "entente 0.2"; text for people
	Capabilities []string // tokens: what it can do that not every program can; sorted
}

// Validate checks ranges and bounds.
func (i *Introduction) Validate() error {
	switch {
	case i.Version != 1:
		return unknownVersion("introduction", i.Version, 1)
	case len(i.Capabilities) > MaxCapabilities:
		return oversize("introduction names %d capabilities, at most %d", len(i.Capabilities), MaxCapabilities)
	case !isSortedSet(i.Capabilities, strings.Compare):
		return malformed("capabilities must be sorted and free of duplicates")
	}
	for _, c := range i.Capabilities {
		if err := checkToken("capability", c); err != nil {
			return err
		}
	}
	return checkText("program", i.Program, MaxProgramSize)
}

// SyncRefusal says on a sync stream of version 2 why there is no answer.
//
// Growth: as of Introduction.
type SyncRefusal struct {
	_     struct{} `cbor:",toarray"`
	Class string   // a failure class, or "other"
	Text  string   // for people
}

// Validate checks ranges and bounds.
func (r *SyncRefusal) Validate() error {
	if err := checkToken("class", r.Class); err != nil {
		return err
	}
	return checkText("text", r.Text, MaxTextSize)
}
