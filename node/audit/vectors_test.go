package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/entente-mesh/entente/protocol"
)

var update = flag.Bool("update", false, "write the vectors anew")

// auditVectors are entries of a log, and what follows from them (SPEC 27.1, 27.2).
type auditVectors struct {
	Log     string        `json:"log"`
	Entries []auditVector `json:"entries"`
	// Checkpoint is what is signed after all of them.
	Checkpoint string `json:"checkpoint"`
	// Inclusion proves entry 2 in the tree of all, Consistency the tree of 3 in that of all.
	Inclusion   []string `json:"inclusion_of_2"`
	Consistency []string `json:"consistency_of_3"`
}

type auditVector struct {
	Kind       string `json:"kind"`
	Salt       string `json:"salt"`
	Details    string `json:"details"` // encoded
	Commitment string `json:"commitment"`
	Leaf       string `json:"leaf"`
	Root       string `json:"root"` // of the tree up to this entry
}

func vectorLog() ID { return ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16} }

// build makes the vectors of salts and details, by nothing but what SPEC 27 says and package tlog.
func build(t *testing.T, entries []auditVector) *auditVectors {
	t.Helper()
	v := &auditVectors{Log: hex.EncodeToString(func() []byte { l := vectorLog(); return l[:] }())}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var root tlog.Hash
	for i, e := range entries {
		salt, err := hex.DecodeString(e.Salt)
		must(err)
		raw, err := hex.DecodeString(e.Details)
		must(err)
		kind, err := ParseKind(e.Kind)
		must(err)
		var d Details
		must(protocol.Decode(raw, MaxDetails, &d))
		c := commit([32]byte(salt), raw)
		leaf := protocol.Encode(&Leaf{Version: 1, Kind: kind, Day: uint32(d.At / dayMillis), Commitment: c})
		hashes, err := tlog.StoredHashes(int64(i), leaf, reader)
		must(err)
		stored = append(stored, hashes...)
		root, err = tlog.TreeHash(int64(i+1), reader)
		must(err)
		e.Commitment, e.Leaf, e.Root = hex.EncodeToString(c[:]), hex.EncodeToString(leaf), hex.EncodeToString(root[:])
		v.Entries = append(v.Entries, e)
	}
	n := int64(len(entries))
	record, err := tlog.ProveRecord(n, 2, reader)
	must(err)
	tree, err := tlog.ProveTree(n, 3, reader)
	must(err)
	for _, h := range record {
		v.Inclusion = append(v.Inclusion, hex.EncodeToString(h[:]))
	}
	for _, h := range tree {
		v.Consistency = append(v.Consistency, hex.EncodeToString(h[:]))
	}
	v.Checkpoint = (&Head{Log: vectorLog(), Size: uint64(n), Root: protocol.Hash(root)}).text()
	return v
}

// TestVectors: leaves, roots, proofs and the text of a checkpoint follow from salts and details.
func TestVectors(t *testing.T) {
	path := filepath.Join("..", "..", "protocol", "testdata", "audit.json")
	if *update {
		var entries []auditVector
		for i, kind := range []Kind{Begin, Decide, Publish, Disclose, Erase} {
			d := &Details{At: 1767225600000 + uint64(i)*dayMillis, Act: kind.String(), Person: "A. Officer", Purpose: "investigation", By: protocol.OrgID{7}, Orgs: []protocol.OrgID{{8}},
				Agreements: []protocol.AgreementID{{9}}, Topic: "c2", Reason: "ok", Records: NewRecordSet([]protocol.RecordID{{byte(i)}, {0xff}}, true)}
			entries = append(entries, auditVector{Kind: kind.String(), Salt: hex.EncodeToString(bytes.Repeat([]byte{byte(i + 1)}, 32)), Details: hex.EncodeToString(protocol.Encode(d))})
		}
		b, err := json.MarshalIndent(build(t, entries), "", " ")
		if err == nil {
			err = os.WriteFile(path, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v auditVectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(build(t, v.Entries), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(again, '\n'), b) {
		t.Errorf("what follows from the entries is\n%s", again)
	}
	if len(v.Entries) < 5 || len(v.Inclusion) == 0 || len(v.Consistency) == 0 {
		t.Error("the vectors hold nothing")
	}
}
