package protocoltest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

var (
	update       = flag.Bool("update", false, "write the vectors anew")
	updateSealed = flag.Bool("update-sealed", false, "seal the sealed vectors anew")
	everyByte    = flag.Bool("every-byte", false, "cut and alter messages at every byte, not at every seventh")
)

const dir = "../testdata/vectors"

func render(t *testing.T, list []Vector) []byte {
	t.Helper()
	b, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// TestVectorsAreWhatTheGeneratorMakes keeps files and generator together.
func TestVectorsAreWhatTheGeneratorMakes(t *testing.T) {
	all := Vectors()
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for message, list := range all {
			if err := os.WriteFile(filepath.Join(dir, message+".json"), render(t, list), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != len(all) {
		t.Errorf("%d files for %d messages, %v", len(files), len(all), err)
	}
	for _, message := range slices.Sorted(maps.Keys(all)) {
		b, err := os.ReadFile(filepath.Join(dir, message+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, render(t, all[message])) {
			t.Errorf("%s.json is not what the generator makes; run go test ./protocol/protocoltest -update and read the diff", message)
		}
	}
}

// TestVectors replays every vector from its file.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var list []Vector
		if err := json.Unmarshal(b, &list); err != nil || len(list) < 9 {
			t.Fatalf("%s: %d vectors, %v", file, len(list), err)
		}
		for _, v := range list {
			t.Run(v.Message+"/"+v.Name, func(t *testing.T) {
				data, err := hex.DecodeString(v.Bytes)
				if err != nil {
					t.Fatal(err)
				}
				output, err := Read(v.Message, data)
				if got := protocol.Class(err); got != v.Expect {
					t.Fatalf("got %s (%v), want %s", got, err, v.Expect)
				}
				if err == nil && len(v.Output)+len(output) > 0 && !reflect.DeepEqual(output, v.Output) {
					t.Errorf("output is %v, want %v", output, v.Output)
				}
				if v.Name != "valid" && v.Expect == "ok" && v.Message != "card" && v.Message != "envelope" && v.Message != "body" && v.Message != "roster" && v.Message != "fork" && v.Message != "erase" && v.Message != "sibling" &&
					v.Message != "termination" && v.Message != "withdraw" && v.Message != "suspension" && v.Message != "mandate" && v.Message != "rotation" {
					t.Errorf("a broken message is accepted")
				}
			})
		}
	}
}

// TestEveryByteCounts: a valid message cut anywhere is malformed, and never panics.
func TestEveryByteCounts(t *testing.T) {
	stride := 7
	switch {
	case *everyByte:
		stride = 1
	case testing.Short():
		stride = 29
	}
	for message, data := range Samples() {
		for i := 0; i < len(data); i += stride {
			if _, err := Read(message, data[:i]); protocol.Class(err) != "malformed" {
				t.Fatalf("%s cut after %d bytes: %v", message, i, err)
			}
		}
		for i := 0; i < len(data); i += 3 * stride {
			b := slices.Clone(data)
			b[i] ^= 0x10
			_, err := Read(message, b)
			if signed := message == "card" || message == "agreement" || message == "envelope" || message == "termination" || message == "roster" || message == "founding-request" || message == "rotation-request" || message == "rotation" || message == "share-proof"; signed && err == nil {
				t.Errorf("%s with byte %d altered is accepted", message, i)
			}
		}
	}
}

const sealedFile = dir + "/sealed/sealed.json"

// TestSealedVectors opens what was sealed once.
func TestSealedVectors(t *testing.T) {
	if *updateSealed {
		b, err := json.MarshalIndent(MakeSealed(), "", " ")
		if err == nil {
			err = os.MkdirAll(filepath.Dir(sealedFile), 0o755)
		}
		if err == nil {
			err = os.WriteFile(sealedFile, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(sealedFile)
	if err != nil {
		t.Fatal(err)
	}
	var list []SealedVector
	if err := json.Unmarshal(b, &list); err != nil || len(list) < 10 {
		t.Fatalf("%d vectors, %v", len(list), err)
	}
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			got, err := v.Open()
			if err != nil {
				t.Fatal(err)
			}
			if got != v {
				t.Errorf("got %s, want %s", got.Expect, v.Expect)
			}
		})
	}
	made := MakeSealed() // the generator still makes what the file shows
	for i, v := range made {
		if i >= len(list) || v.Name != list[i].Name || v.Expect != list[i].Expect || v.Plain != list[i].Plain || v.Key != list[i].Key {
			t.Errorf("the generator makes another %q", v.Name)
		}
	}
}
