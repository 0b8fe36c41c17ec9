package protocol

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

type carryFrame struct {
	t CarryFrame
	b []byte
}

// splitCarry cuts a file's plaintext into frames.
func splitCarry(t testing.TB, file []byte) (out []carryFrame) {
	t.Helper()
	for len(file) > 0 {
		kind, size, err := ParseCarryHead([CarryFrameHead]byte(file))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, carryFrame{kind, file[CarryFrameHead : CarryFrameHead+size]})
		file = file[CarryFrameHead+size:]
	}
	return out
}

// readCarry gives frames to a decoder, and returns the first error.
func readCarry(frames []carryFrame) (messages int, whole bool, err error) {
	var d CarryDecoder
	if len(frames) == 0 {
		return 0, false, nil
	}
	if _, _, err := d.Header(frames[0].t, frames[0].b); err != nil {
		return 0, false, err
	}
	for _, f := range frames[1:] {
		m, err := d.Next(f.t, f.b)
		if err != nil {
			return messages, d.Whole(), err
		}
		if m != nil {
			messages++
		}
	}
	return messages, d.Whole(), nil
}

func carryFile(kind CarryKind, messages ...*SyncMessage) []byte {
	h := CarryHeader{Version: 1, Kind: kind, Network: NetworkID{1}, From: OrgID{2}, To: OrgID{3}, Made: 4}
	var e CarryEncoder
	file := e.Header(&Signed{Statement: Encode(&h)})
	for _, m := range messages {
		m.Version = 1
		file = append(file, e.Message(m)...)
	}
	return append(file, e.Trailer()...)
}

func TestCarryRoundTrip(t *testing.T) {
	for _, file := range [][]byte{
		carryFile(CarryPack),
		carryFile(CarryPack, &SyncMessage{Kind: SyncFrontier, Frontier: []FrontierEntry{{Seq: 1}}}, &SyncMessage{Kind: SyncItems, Cards: []SignedCard{{Statement: []byte{1}}}},
			&SyncMessage{Kind: SyncItems}, &SyncMessage{Kind: SyncEntries, Envelopes: [][]byte{{1}, {2}}}),
		carryFile(CarryRequest, &SyncMessage{Kind: SyncList, Hashes: []Hash{{1}}}, &SyncMessage{Kind: SyncFrontier}),
	} {
		frames := splitCarry(t, file)
		n, whole, err := readCarry(frames)
		if err != nil || !whole || n != len(frames)-2 {
			t.Errorf("%d of %d messages, whole: %v, %v", n, len(frames)-2, whole, err)
		}
		for cut := range frames {
			if _, whole, err := readCarry(frames[:cut]); whole || err != nil {
				t.Errorf("cut after %d frames: whole: %v, %v", cut, whole, err)
			}
		}
	}
}

// TestCarryRefusals: whatever is out of place ends the file with an error of its class.
func TestCarryRefusals(t *testing.T) {
	entries := &SyncMessage{Kind: SyncEntries, Envelopes: [][]byte{{1}}}
	items := &SyncMessage{Kind: SyncItems}
	message := func(m *SyncMessage) []byte { m.Version = 1; return Encode(m) }
	header := func(change func(*CarryHeader)) []byte {
		h := CarryHeader{Version: 1, Kind: CarryPack}
		change(&h)
		return Encode(&Signed{Statement: Encode(&h)})
	}
	good := func() []carryFrame { return splitCarry(t, carryFile(CarryPack, items, entries)) }
	replace := func(at int, f carryFrame) []carryFrame { l := good(); l[at] = f; return l }
	for _, tc := range []struct {
		name   string
		frames []carryFrame
		want   error
	}{
		{"no header", good()[1:], ErrMalformed},
		{"two headers", slices.Insert(good(), 1, good()[0]), ErrMalformed},
		{"header of another version", replace(0, carryFrame{CarryFrameHeader, header(func(h *CarryHeader) { h.Version = 2 })}), ErrLaterVersion},
		{"header of an unknown kind", replace(0, carryFrame{CarryFrameHeader, header(func(h *CarryHeader) { h.Kind = 3 })}), ErrMalformed},
		{"request that answers", replace(0, carryFrame{CarryFrameHeader, header(func(h *CarryHeader) { h.Kind, h.Answers = CarryRequest, 1 })}), ErrMalformed},
		{"topics out of order", replace(0, carryFrame{CarryFrameHeader, header(func(h *CarryHeader) { h.Topics = []TopicID{{2}, {1}} })}), ErrMalformed},
		{"too many topics", replace(0, carryFrame{CarryFrameHeader, header(func(h *CarryHeader) { h.Topics = make([]TopicID, MaxCarryTopics+1) })}), ErrOversize},
		{"header that is too long", replace(0, carryFrame{CarryFrameHeader, make([]byte, MaxCarryHeaderSize+1)}), ErrOversize},
		{"message that is too long", replace(1, carryFrame{CarryFrameMessage, make([]byte, MaxFrameSize+1)}), ErrOversize},
		{"message that is not canonical", replace(1, carryFrame{CarryFrameMessage, append(message(items), 0)}), ErrMalformed},
		{"request among the messages", replace(1, carryFrame{CarryFrameMessage, message(&SyncMessage{Kind: SyncPull, Pull: []PullRange{{From: 1, Count: 1}}})}), ErrMalformed},
		{"digest", replace(1, carryFrame{CarryFrameMessage, message(&SyncMessage{Kind: SyncDigest})}), ErrMalformed},
		{"list in a pack", replace(1, carryFrame{CarryFrameMessage, message(&SyncMessage{Kind: SyncList})}), ErrMalformed},
		{"message of an unknown kind", replace(1, carryFrame{CarryFrameMessage, message(&SyncMessage{Kind: 99})}), ErrLaterVersion},
		{"entries before items", splitCarry(t, carryFile(CarryPack, entries, items)), ErrMalformed},
		{"items in a request", splitCarry(t, carryFile(CarryRequest, items)), ErrMalformed},
		{"entries with cards", splitCarry(t, carryFile(CarryPack, &SyncMessage{Kind: SyncEntries, Cards: []SignedCard{{}}})), ErrMalformed},
		{"items with envelopes", splitCarry(t, carryFile(CarryPack, &SyncMessage{Kind: SyncItems, Envelopes: [][]byte{{1}}})), ErrMalformed},
		{"frontier with an error", splitCarry(t, carryFile(CarryPack, &SyncMessage{Kind: SyncFrontier, Error: "x"})), ErrMalformed},
		{"too many envelopes", splitCarry(t, carryFile(CarryPack, &SyncMessage{Kind: SyncEntries, Envelopes: make([][]byte, MaxPullEntries+1)})), ErrOversize},
		{"message left out", slices.Delete(good(), 1, 2), ErrMalformed},
		{"message twice", slices.Insert(good(), 2, good()[2]), ErrMalformed},
		{"another envelope", replace(2, carryFrame{CarryFrameMessage, message(&SyncMessage{Kind: SyncEntries, Envelopes: [][]byte{{2}}})}), ErrMalformed},
		{"trailer that is too long", replace(3, carryFrame{CarryFrameTrailer, make([]byte, MaxCarryTrailerSize+1)}), ErrOversize},
		{"something after the trailer", append(good(), good()[3]), ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := readCarry(tc.frames); !errors.Is(err, tc.want) || len(err.Error()) < 10 {
				t.Errorf("got %v, want class %v", err, tc.want)
			}
		})
	}
	for _, tc := range []struct {
		name string
		head [CarryFrameHead]byte
		want error
	}{
		{"unknown type", [CarryFrameHead]byte{4}, ErrMalformed},
		{"type zero", [CarryFrameHead]byte{}, ErrMalformed},
		{"four gigabytes", [CarryFrameHead]byte{2, 0xff, 0xff, 0xff, 0xff}, ErrOversize},
		{"trailer of 257 bytes", [CarryFrameHead]byte{3, 0, 0, 1, 1}, ErrOversize},
	} {
		if _, _, err := ParseCarryHead(tc.head); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want class %v", tc.name, err, tc.want)
		}
	}
}

// FuzzCarry: whoever seals a file chooses its plaintext. Nothing panics, what is read encodes
// back to the same bytes, and only what an encoder made is whole.
func FuzzCarry(f *testing.F) {
	f.Add(carryFile(CarryPack, &SyncMessage{Kind: SyncItems}, &SyncMessage{Kind: SyncEntries, Envelopes: [][]byte{{1}}}))
	f.Add(carryFile(CarryRequest, &SyncMessage{Kind: SyncList, Hashes: []Hash{{1}}}, &SyncMessage{Kind: SyncFrontier}))
	f.Fuzz(func(t *testing.T, file []byte) {
		var d CarryDecoder
		var e CarryEncoder
		var again []byte
		for rest := file; len(rest) >= CarryFrameHead; {
			kind, size, err := ParseCarryHead([CarryFrameHead]byte(rest))
			if err != nil || CarryFrameHead+size > len(rest) {
				return
			}
			b := rest[CarryFrameHead : CarryFrameHead+size]
			rest = rest[CarryFrameHead+size:]
			if again == nil {
				signed, _, err := d.Header(kind, b)
				if err != nil {
					return
				}
				again = e.Header(signed)
			} else {
				m, err := d.Next(kind, b)
				if err != nil {
					return
				}
				if m == nil {
					again = append(again, e.Trailer()...)
				} else {
					again = append(again, e.Message(m)...)
				}
			}
			if !bytes.HasPrefix(file, again) {
				t.Fatal("a file has two encodings")
			}
			if d.Whole() != (kind == CarryFrameTrailer) {
				t.Fatal("whole without an end")
			}
		}
	})
}
