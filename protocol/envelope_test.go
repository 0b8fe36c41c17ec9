package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testEnvelope(t testing.TB, network NetworkID, change func(*Envelope, *Header)) []byte {
	t.Helper()
	e := Envelope{Origin: Origin{Signing: SigningKey{1}, Incarnation: 7, Topic: NewTopicID(network, "c2")}, Body: []byte("body")}
	h := Header{Version: 1, Suite: Suite1, Kind: EntryRecords, Feed: e.Origin.FeedID(network), Seq: 1,
		BodyHash: HashBody(e.Body), BodySize: uint32(len(e.Body))}
	if change != nil {
		change(&e, &h)
	}
	e.Header = Encode(&h)
	return Encode(&e)
}

func TestDecodeEnvelope(t *testing.T) {
	network := NetworkID{9}
	tests := []struct {
		name   string
		change func(*Envelope, *Header)
		want   error
	}{
		{"valid", nil, nil},
		{"unknown version", func(_ *Envelope, h *Header) { h.Version = 2 }, ErrLaterVersion},
		{"unknown kind", func(_ *Envelope, h *Header) { h.Kind = 99 }, ErrMalformed},
		{"seq zero", func(_ *Envelope, h *Header) { h.Seq = 0 }, ErrMalformed},
		{"seq beyond the bound", func(_ *Envelope, h *Header) { h.Seq, h.Previous = MaxSeq+1, Hash{1} }, ErrMalformed},
		{"second entry without a first", func(_ *Envelope, h *Header) { h.Seq = 2 }, ErrMalformed},
		{"first entry with one before", func(_ *Envelope, h *Header) { h.Previous = Hash{1} }, ErrMalformed},
		{"another body", func(e *Envelope, _ *Header) { e.Body = []byte("bodY") }, ErrMalformed},
		{"cut body", func(e *Envelope, _ *Header) { e.Body = e.Body[:3] }, ErrMalformed},
		{"lifted into another feed", func(e *Envelope, _ *Header) { e.Origin.Incarnation++ }, ErrWrongContext},
		{"body beyond the bound", func(e *Envelope, h *Header) { h.BodySize = MaxBodySize + 1 }, ErrOversize},
		{"envelope beyond the bound", func(e *Envelope, _ *Header) { e.Body = make([]byte, MaxEnvelopeSize) }, ErrOversize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := DecodeEnvelope(network, testEnvelope(t, network, tt.change))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want class %v", err, tt.want)
			}
		})
	}
	if _, _, err := DecodeEnvelope(NetworkID{8}, testEnvelope(t, network, nil)); !errors.Is(err, ErrWrongContext) {
		t.Errorf("another network: got %v, want class wrong-context", err)
	}
}

func FuzzEnvelope(f *testing.F) {
	network := NetworkID{9}
	f.Add(testEnvelope(f, network, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, h, err := DecodeEnvelope(network, data)
		if err != nil {
			return
		}
		if !bytes.Equal(Encode(e), data) || !bytes.Equal(Encode(h), e.Header) {
			t.Fatal("an envelope that decodes must encode to the same bytes")
		}
	})
}

func TestDecodeRefusesOtherEncodings(t *testing.T) {
	var h Header
	good := Encode(&Head{Version: 1})
	for name, data := range map[string][]byte{
		"indefinite array":    append([]byte{0x9f}, append(bytes.Clone(good[1:]), 0xff)...),
		"trailing byte":       append(bytes.Clone(good), 0),
		"truncated":           good[:len(good)-1],
		"null for a field":    bytes.Replace(good, []byte{1}, []byte{0xf6}, 1),
		"long form of number": bytes.Replace(good, []byte{1}, []byte{0x18, 1}, 1),
		"a map":               {0xa0},
		"a tag":               append([]byte{0xc0}, good...),
		"empty":               {},
	} {
		var head Head
		if err := Decode(data, 1<<10, &head); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want class malformed", name, err)
		}
	}
	if err := Decode(good, 10, &h); !errors.Is(err, ErrOversize) {
		t.Errorf("beyond the limit: got %v, want class oversize", err)
	}
}

func TestIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var id OrgID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "id"))
		back, err := ParseOrgID(id.String())
		if err != nil || back != id {
			t.Fatalf("got %v, %v", back, err)
		}
		s := []byte(id.String())
		i := rapid.IntRange(4, len(s)-1).Draw(t, "at")
		s[i] = "abcdefghijklmnopqrstuvwxyz234567"[rapid.IntRange(0, 31).Draw(t, "to")]
		if back, err := ParseOrgID(string(s)); err == nil && back != id {
			t.Fatalf("a changed character was not noticed: %s", s)
		}
		n := NodeID(id)
		if back, err := ParseNodeID(n.String()); err != nil || back != n {
			t.Fatalf("node id: got %v, %v", back, err)
		}
		if _, err := ParseAgreementID(id.String()); err == nil {
			t.Fatal("an OrgID was read as an AgreementID")
		}
	})
}

func TestMerkle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 70).Draw(t, "records")
		leaves := make([]RecordID, n)
		for i := range leaves {
			leaves[i] = LeafHash(Salt([32]byte{1}, uint32(i)), []byte("handling"), []byte{byte(i)})
		}
		root := MerkleRoot(leaves)
		i := rapid.IntRange(0, n-1).Draw(t, "index")
		path := InclusionPath(leaves, i)
		if !VerifyInclusion(root, leaves[i], uint32(i), uint32(n), path) {
			t.Fatal("a genuine path does not verify")
		}
		j := rapid.IntRange(0, n-1).Draw(t, "other")
		if i != j && (VerifyInclusion(root, leaves[j], uint32(i), uint32(n), path) ||
			VerifyInclusion(root, leaves[i], uint32(j), uint32(n), path)) {
			t.Fatal("a path verifies for another leaf or index")
		}
		if len(path) > 0 && VerifyInclusion(root, leaves[i], uint32(i), uint32(n), path[1:]) {
			t.Fatal("a cut path verifies")
		}
	})
}

// TestGossipID is the vector of SPEC 25: the id covers topic and bytes.
func TestGossipID(t *testing.T) {
	const topic = "/entente/t/1/abcdefghijklmnopqrstuvwxyz234567"
	data := []byte{1, 2, 3, 4, 5}
	id := fmt.Sprintf("%x", GossipID(topic, data))
	spec, err := os.ReadFile("../SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(id) != 40 || !strings.Contains(string(spec), "is `"+id+"`") {
		t.Errorf("SPEC.md does not state %s", id)
	}
	if GossipID(topic+"x", data) == GossipID(topic, data) || GossipID(topic, data[:4]) == GossipID(topic, data) ||
		GossipID(topic[:len(topic)-1], append([]byte(topic[len(topic)-1:]), data...)) == GossipID(topic, data) {
		t.Error("the id does not cover everything, or two places look the same")
	}
}
