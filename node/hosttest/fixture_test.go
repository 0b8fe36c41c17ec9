package hosttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/protocol"
)

const fixtureRules = `@id("none-from-vn")
forbid (principal, action == Action::"receive", resource) when { resource.countries.contains("VN") };
`

// TestMakeFixture makes the fixture of a release, for which ENTENTE_FIXTURE is set to its name; with
// ENTENTE_FIXTURE_REF of the program as it was at a commit, else of the present one.
func TestMakeFixture(t *testing.T) {
	release := os.Getenv("ENTENTE_FIXTURE")
	if release == "" {
		t.Skip("ENTENTE_FIXTURE is not set: fixtures are made once, before a release is tagged")
	}
	out := filepath.Join(ReleasesDir(), release)
	if _, err := os.Stat(out); err == nil {
		t.Fatalf("%s is there already; a fixture of a release that is out is not made again", out)
	}
	bin, wire := binary, mesh.Wire{}
	e := FixtureExpect{Release: release, Made: time.Now().UTC().Add(time.Minute).Truncate(time.Second), Format: 4, Wire: mesh.Speaks()}
	if ref := os.Getenv("ENTENTE_FIXTURE_REF"); ref != "" {
		bin = buildAt(t, ref)
		e.Format, e.Wire = 3, []string{"/entente/hello/1", "/entente/sync/1", "/entente/gossip/1"}
		wire.Speaks = e.Wire
	}
	vendor, police := newHostWith(t, bin, "Fixture Vendor", "vendor"), newHostWith(t, bin, "Fixture Police", "police")
	network(t, vendor, police)
	agree(t, vendor, police)
	agree(t, police, vendor)
	e.Recorder = record(t, vendor, wire, out, func(heard func(string) bool) {
		vendor.says("one.example.net\n203.0.113.1")
		vendor.says("two.example.net")
		vendor.says("erased.example.net")
		vendor.says("withdrawn.example.net")
		police.says("theirs.example.net\n203.0.113.2")
		police.says("withdrawn-theirs.example.net")
		vendor.reads("theirs.example.net", "withdrawn-theirs.example.net")
		vendor.must("erase", vendor.idOf("erased.example.net"), "--reason", "legal")
		vendor.must("withdraw", vendor.idOf("withdrawn.example.net"), "--reason", "a mistake")
		police.must("withdraw", police.idOf("withdrawn-theirs.example.net"), "--reason", "a mistake")
		vendor.loses("withdrawn-theirs.example.net")
		rules := filepath.Join(t.TempDir(), "rules.cedar")
		if err := os.WriteFile(rules, []byte(fixtureRules), 0o600); err != nil {
			t.Fatal(err)
		}
		vendor.must("rules", "load", rules)
		aside := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(aside, []byte("aside.example.net\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		police.must("publish", aside, "--topic", "c2", "--tlp", "amber", "--country", "VN", "--personal", "none", "--yes")
		vendor.until("set something aside", func() bool {
			var list []Named
			vendor.json(&list, "quarantine", "list")
			return len(list) > 0
		})
		vendor.must("consumer", "add", "siem", "--days", "1800")
		vendor.must("view", "add", "firewall", "--topic", "c2")
		vendor.until("was heard", func() bool {
			return heard("hello") && heard("gossip") && heard("asked") && heard("answer")
		})
	})
	vendor.end()
	police.end()

	e.Node = between(vendor.must("status", "--json"), `"node": "`, `"`)
	for v := range vendor.values() {
		e.Values = append(e.Values, v)
	}
	slices.Sort(e.Values)
	e.Gone = []string{"erased.example.net", "withdrawn.example.net", "withdrawn-theirs.example.net", "aside.example.net"}
	vendor.json(&e.Feeds, "feeds")
	for what, into := range map[string]*[]string{"agreement": &e.Agreements, "consumer": &e.Consumers, "view": &e.Views, "topic": &e.Topics} {
		var list []Named
		vendor.json(&list, what, "list")
		*into = Names(list)
	}
	var aside []Named
	vendor.json(&aside, "quarantine", "list")
	e.Quarantine = len(aside)
	var account []json.RawMessage
	vendor.json(&account, "audit", "show")
	e.Account = len(account)

	text, err := json.MarshalIndent(&e, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, "expect.json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	pack(t, filepath.Dir(vendor.dir), filepath.Join(out, "data.tar.gz"))
}

// record joins a recorder to the network of a host, which speaks what the release does, while fn runs, and
// writes down what is said between the two. It returns the recorder's node.
func record(t *testing.T, h *host, wire mesh.Wire, out string, fn func(heard func(string) bool)) string {
	t.Helper()
	r := newHost(t, "Fixture Recorder", "relay", "127.0.0.1")
	card, inv := filepath.Join(t.TempDir(), "card"), filepath.Join(t.TempDir(), "inv")
	r.must("id", "--card", card)
	h.must("network", "invite", card, "-o", inv)
	r.must("network", "join", inv)
	r.must("topic", "join", "c2")
	lock, err := node.OpenLock(r.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := node.LoadKeys(r.dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	of := between(h.must("status", "--json"), `"node": "`, `"`)
	var mu sync.Mutex
	var lines []string
	seen := map[string]bool{}
	n, err := node.Open(node.Config{Dir: r.dir, Keys: keys, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, Wire: wire,
		Trace: func(from protocol.NodeID, id, what string, frame []byte) {
			if from.String() != of {
				return
			}
			line := fmt.Sprintf("%s %s %s", id, what, base64.StdEncoding.EncodeToString(frame))
			mu.Lock()
			defer mu.Unlock()
			if !seen[line] {
				seen[line], lines = true, append(lines, line)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- n.Run(ctx, func([]string) { close(ready) }) }()
	<-ready
	h.until("is connected with the recorder", func() bool { return h.status().Connected > 1 })
	fn(func(what string) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(lines, func(l string) bool {
			return strings.Contains(l, " "+what+" ")
		})
	})
	cancel()
	if err := errors.Join(<-done, n.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, err = io.WriteString(z, strings.Join(lines, "\n")+"\n")
	if err = errors.Join(err, z.Close(), os.WriteFile(filepath.Join(out, "transcript.gz"), b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	return n.ID().String()
}

// pack packs the data directory "d" in dir, and its anchor.
func pack(t *testing.T, dir, to string) {
	t.Helper()
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w := tar.NewWriter(z)
	for _, top := range []string{"d", "d.anchor"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Type()&^fs.ModeDir != 0 {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			if d.IsDir() {
				return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: rel + "/", Mode: 0o700})
			}
			data, err := os.ReadFile(path)
			if err == nil {
				err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: rel, Mode: 0o600, Size: int64(len(data))})
			}
			if err == nil {
				_, err = w.Write(data)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(to, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestFixtureMigrationKilled: the command is killed while it migrates what release 0.1 left, at any moment;
// what it left is migrated then, and shows what it showed.
func TestFixtureMigrationKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs and kills processes of its own")
	}
	f := Unpack(t, "0.1")
	h := &host{t: t, name: "fixture", dir: f.Dir, log: &syncBuffer{}}
	for round := range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+60*round)*time.Millisecond)
		_ = h.command(ctx, "migrate", "--force").Run() // killed, unless it was done before
		cancel()
	}
	h.must("migrate", "--force")
	if got := exported(t, f.Dir); !slices.Equal(got, f.Values) {
		t.Errorf("it shows %v, it showed %v", got, f.Values)
	}
}

// exported lists, in order, everything that can be read in a data directory that was made on another machine.
func exported(t *testing.T, dir string) []string {
	t.Helper()
	lock, err := node.OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := node.LoadKeys(dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Dir: dir, Keys: keys, AcceptRestored: true}) // its anchor is of another machine
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var text bytes.Buffer
	if _, err := n.Export(t.Context(), &text, node.ExportLines, 0); err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(text.String())
	slices.Sort(got)
	return got
}
