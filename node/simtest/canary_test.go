package simtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestI2Canaries plants strings in records and in an agreement, and looks for them on every
// disk of a party that may not read them, before and after decryption at rest, and in every
// byte that any node sends.
func TestI2Canaries(t *testing.T) {
	dir := t.TempDir()
	value, text, title, topic := RandomText()+".example.net", RandomText(), RandomText(), "topic-"+RandomText()[:20]
	canaries := map[string]string{"value": value, "text": text, "agreement": title}
	var mu sync.Mutex
	var wire bytes.Buffer
	var keys []*Node
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		w.Dir = dir
		defer w.Close()
		for _, name := range []string{"Relay", "Vendor", "Police TH", "Police VN", "Bystander"} {
			w.Add(name, "cert", "")
		}
		w.Capture(func(b []byte) { mu.Lock(); wire.Write(b); mu.Unlock() })
		w.Network()
		vendor, th, vn := w.Nodes[1], w.Nodes[2], w.Nodes[3]
		w.AgreeTitled(title, vendor, th, protocol.TLPAmberStrict, "TH")
		w.Agree(vendor, vn, protocol.TLPAmberStrict, "VN")
		joinAll(t, w, topic)
		bundle := fmt.Sprintf(`{"type":"bundle","id":"bundle--0f3ea1c5-7b1e-4d53-9f7b-0e6d1d2a9b10","objects":[
			{"type":"indicator","spec_version":"2.1","id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z",
			"name":%q,"description":%q,"pattern":"[domain-name:value = '%s']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}]}`, text, text, value)
		publish(t, vendor, topic, bundle, policy.Flags{TLP: protocol.TLPAmber, Countries: []string{"TH"}})
		want := envelopes(t, vendor)
		w.Until("everybody holds the envelopes", func() bool {
			for _, n := range w.Nodes {
				if envelopes(t, n) != want {
					return false
				}
			}
			return true
		})
		for _, n := range w.Nodes {
			if got, may := finds(t, n, value), n == vendor || n == th; got != may {
				t.Errorf("%s finds the record: %v, want %v", n.Name, got, may)
			}
		}
		keys = w.Nodes
	})
	if wire.Len() < 10_000 {
		t.Fatalf("only %d bytes were captured", wire.Len())
	}
	for what, c := range canaries {
		if bytes.Contains(wire.Bytes(), []byte(c)) {
			t.Errorf("the %s canary is in the bytes of a connection", what)
		}
	}
	if bytes.Contains(wire.Bytes(), []byte(topic)) {
		t.Error("the name of the topic is in the bytes of a connection")
	}
	for i, n := range keys {
		reader := i == 1 || i == 2
		for what, c := range canaries {
			if f := onDisk(t, n.Dir, c); f != "" {
				t.Errorf("the %s canary is in %s of %s", what, f, n.Name)
			}
			if !reader && inStore(t, n, c) {
				t.Errorf("the %s canary is in the decrypted store of %s", what, n.Name)
			}
		}
		// The search itself works: names of members are known to all of them.
		if !inStore(t, n, "Bystander") {
			t.Errorf("the store of %s does not even hold the name of a member", n.Name)
		}
	}
	if !inStore(t, keys[2], title) {
		t.Error("the title of the agreement is not in the store of its party")
	}
}

// onDisk returns a file that holds text.
func onDisk(t *testing.T, dir, text string) (found string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = filepath.Base(path)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("looked at %d files: %v", files, err)
	}
	return found
}

// inStore reports whether text is in what a store holds once it is decrypted.
func inStore(t *testing.T, n *Node, text string) bool {
	t.Helper()
	s, err := store.Open(store.Config{Dir: filepath.Join(n.Dir, "store"), Key: n.Keys.Store})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found := false
	look := func(b []byte) { found = found || bytes.Contains(b, []byte(text)) }
	err = s.View(func(tx *store.Tx) error {
		return errors.Join(
			tx.Scan(nil, nil, false, func(k, v []byte) (bool, error) { look(k); look(v); return true, nil }),
			tx.Feeds(func(f *store.Feed) error {
				return tx.Range(f.ID, 1, 1<<20, 1<<30, func(raw []byte) error { look(raw); return nil })
			}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
