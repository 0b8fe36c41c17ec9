package hosttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// Of each release there is a fixture: a data directory that its program left, and what it said on the wire.
// Every later program opens the one and understands the other (SPEC 43.6). A fixture is made once, before
// its release is tagged, and never again.
//
//	data.tar.gz        the data directory "d" and its anchor "d.anchor"
//	expect.json        what the release's program showed of it
//	transcript.gz      frames, one a line: protocol id, what it is (hello, gossip, asked by the release's
//	                   program, ask of the recorder, answer to that), base64

// ReleasesDir returns the directory that holds one for each release: in the root of the module that the
// test runs in.
func ReleasesDir() string {
	dir := "."
	for range 8 {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Join(dir, "..")
	}
	return filepath.Join(dir, "testdata", "releases")
}

// FixtureExpect is what a fixture shows.
type FixtureExpect struct {
	Release    string        `json:"release"`
	Made       time.Time     `json:"made"` // after the last that it states; a node entry ends a year later
	Format     int           `json:"store_format"`
	Wire       []string      `json:"wire"` // protocols that its program speaks
	Node       string        `json:"node"`
	Recorder   string        `json:"recorder"` // the node that wrote the transcript down
	Values     []string      `json:"values"`   // that can be read
	Gone       []string      `json:"gone"`     // that were erased or withdrawn
	Feeds      []FixtureFeed `json:"feeds"`
	Agreements []string      `json:"agreements"`
	Quarantine int           `json:"quarantine"`
	Consumers  []string      `json:"consumers"`
	Views      []string      `json:"views"`
	Topics     []string      `json:"topics"`
	Account    int           `json:"account"` // entries of the audit log, at least
}

type FixtureFeed struct {
	Feed   string        `json:"feed"`
	Held   uint64        `json:"held"`
	Digest protocol.Hash `json:"digest"`
}

// Named is what has a name, or an id.
type Named struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// Names sorts names.
func Names(list []Named) (out []string) {
	for _, n := range list {
		if n.Name == "" {
			n.Name = n.ID
		}
		out = append(out, n.Name)
	}
	slices.Sort(out)
	return out
}

// Fixture is a release's, unpacked.
type Fixture struct {
	FixtureExpect
	Dir   string // data directory
	Lines []string
}

// Unpack makes a copy of a fixture.
func Unpack(t testing.TB, release string) *Fixture {
	t.Helper()
	f := &Fixture{Dir: filepath.Join(t.TempDir(), "d")}
	text, err := os.ReadFile(filepath.Join(ReleasesDir(), release, "expect.json"))
	if err == nil {
		err = json.Unmarshal(text, &f.FixtureExpect)
	}
	var lines []byte
	if err == nil {
		lines, err = gunzip(filepath.Join(ReleasesDir(), release, "transcript.gz"))
	}
	if err == nil {
		err = Extract(release, f.Dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Lines = strings.Split(strings.TrimSpace(string(lines)), "\n")
	return f
}

// Extract makes the data directory dir, and its anchor beside it, of the fixture of a release.
func Extract(release, dir string) error {
	packed, err := gunzip(filepath.Join(ReleasesDir(), release, "data.tar.gz"))
	if err != nil {
		return err
	}
	r := tar.NewReader(bytes.NewReader(packed))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(h.Name, "d") // "d/..." and "d.anchor/..."
		if !ok || strings.Contains(name, "..") {
			return fmt.Errorf("a fixture holds %q", h.Name)
		}
		path := dir + name
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			return err
		}
	}
}

func gunzip(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// Fixtures lists the releases that have one.
func Fixtures(t testing.TB) (out []string) {
	t.Helper()
	list, err := os.ReadDir(ReleasesDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	if !slices.Contains(out, "0.1") {
		t.Fatalf("the fixture of release 0.1 is missing: %v", out)
	}
	return out
}
