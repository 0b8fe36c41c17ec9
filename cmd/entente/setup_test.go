package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/mesh"
)

func newSetup(t *testing.T) *setup {
	t.Helper()
	_, keys := upOf(t)
	s := &setup{dir: filepath.Join(t.TempDir(), "node"), keys: keys}
	if err := s.place(false, true, ""); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestQuestions: five answers, each asked again with the reason until it will do.
func TestQuestions(t *testing.T) {
	card := filepath.Join(t.TempDir(), "vendor.pem")
	founder := newSetup(t)
	founder.setupAnswers = setupAnswers{Organisation: "Example Vendor", Kind: "vendor", Country: "DE"}
	founder.paper = card
	if _, err := founder.do(); err != nil {
		t.Fatal(err)
	}
	type answers = setupAnswers
	for _, tc := range []struct {
		name, typed string
		keep        bool
		want        answers
		says        []string
		err         string
	}{
		{name: "plain", typed: "Example Police\npolice\nth\npolice.example:443\nsea-operation\n",
			want: answers{Organisation: "Example Police", Kind: "police", Country: "TH", Address: "police.example:443", Network: "sea-operation"},
			says: []string{"1 of 5", "5 of 5"}},
		{name: "defaults", typed: "Example Police\nPolice\n\n\n\n", want: answers{Organisation: "Example Police", Kind: "police"}, says: []string{"[international]", "[none]", "[join]"}},
		{name: "words for nothing", typed: "Example Police\npolice\nInternational\nNone\nJOIN\n", want: answers{Organisation: "Example Police", Kind: "police"}},
		{name: "asked again", typed: "\nA\nwizard\nrelay\nGER\nde\n0.0.0.0\nexample:0\nunder_score\nnode.example\n" + strings.Repeat("n", 129) + "\nsea\n",
			want: answers{Organisation: "A", Kind: "relay", Country: "DE", Address: "node.example", Network: "sea"},
			says: []string{"needs a name of one line", "wizard", "two letters of ISO 3166-1", "no address that others reach", "\"example:0\" is no address", "no name of a machine", "network name"}},
		{name: "endless line", typed: strings.Repeat("x", 100_000) + "\nA\nrelay\n\n\n\n", want: answers{Organisation: "A", Kind: "relay"}, says: []string{"too long"}},
		{name: "a further node", typed: "@nothing.pem\n@" + card + "\n192.0.2.7\n", want: answers{Card: card, Address: "192.0.2.7"}, says: []string{"nothing.pem", "2 of 2"}},
		{name: "a node that is there", keep: true, typed: "[2001:db8::7]:4402\n", want: answers{Address: "[2001:db8::7]:4402"}, says: []string{"holds a node already"}},
		{name: "ended early", typed: "Example Police\npolice", err: "ended before"},
		{name: "control characters", typed: "A\x1b[2J\nA\nwiz\x1bard\n", err: "ended before", says: []string{"control", `wiz\x1bard`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSetup(t)
			s.keep = tc.keep
			var out bytes.Buffer
			err := new(app).questions(s, newAsker(strings.NewReader(tc.typed), &out))
			for _, says := range tc.says {
				if !strings.Contains(out.String(), says) {
					t.Errorf("%q was not said:\n%s", says, out.String())
				}
			}
			if strings.ContainsRune(out.String(), '\x1b') {
				t.Error("what was typed steers the terminal")
			}
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if (s.of != nil) != (tc.want.Card != "") {
				t.Errorf("card read: %t", s.of != nil)
			}
			got := s.setupAnswers
			got.of, got.signed = nil, tc.want.signed
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// TestAddresses: what follows from an address can be listened on and stands on a card; nothing else is taken.
func TestAddresses(t *testing.T) {
	for in, want := range map[string]addresses{
		"":                    {},
		"node.example.org":    {[]string{"/ip4/0.0.0.0/udp/4401/quic-v1", "/ip4/0.0.0.0/tcp/4401"}, []string{"/dns/node.example.org/udp/4401/quic-v1", "/dns/node.example.org/tcp/4401"}},
		"192.0.2.7:443":       {[]string{"/ip4/0.0.0.0/udp/443/quic-v1", "/ip4/0.0.0.0/tcp/443"}, []string{"/ip4/192.0.2.7/udp/443/quic-v1", "/ip4/192.0.2.7/tcp/443"}},
		"2001:db8::7":         {[]string{"/ip6/::/udp/4401/quic-v1", "/ip6/::/tcp/4401"}, []string{"/ip6/2001:db8::7/udp/4401/quic-v1", "/ip6/2001:db8::7/tcp/4401"}},
		"[2001:db8::7]:65535": {[]string{"/ip6/::/udp/65535/quic-v1", "/ip6/::/tcp/65535"}, []string{"/ip6/2001:db8::7/udp/65535/quic-v1", "/ip6/2001:db8::7/tcp/65535"}},
	} {
		got, err := parseAddress(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{":4401", "node:", "node:70000", "node:0", "http://node", "node/x", "1.2.3", "999.1.1.1", "-a.example", "a..example", "224.0.0.1", "::", "0.0.0.0:1", "a b", "ü.example", strings.Repeat("a.", 200) + "example"} {
		if got, err := parseAddress(in); err == nil {
			t.Errorf("%q was taken as %v", in, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		got, err := parseAddress(rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9.:\[\]-]{1,30}`)).Draw(t, "address"))
		if err != nil {
			return
		}
		for _, a := range got.listen {
			if err := mesh.CheckListen(a); err != nil {
				t.Error(err)
			}
		}
		for _, a := range got.announce {
			if err := mesh.CheckAnnounce(a); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestAnswersRefused: all that is wrong in a file of answers, with what to write.
func TestAnswersRefused(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		keep       bool
		want       []string
	}{
		{"nothing", "", false, []string{"organisation: ", "kind: "}},
		{"unknown", "organization = \"A\"\nkind = \"vendor\"\nport = 1\n", false, []string{`f:1:1: there is no question "organization"`, `f:3:1: there is no question "port"`}},
		{"syntax", "organisation = A", false, []string{"f:1:16: ", "write name ="}},
		{"type", "kind = 5", false, []string{"f:1:8: "}},
		{"all at once", "organisation = \"A\"\nkind = \"wizard\"\ncountry = \"Germany\"\naddress = \"0.0.0.0\"\nnetwork = \"a\\nb\"", false,
			[]string{"f: kind: ", "f: country: ", "f: address: ", "f: network: "}},
		{"card and name", "card = \"x.pem\"\norganisation = \"A\"", false, []string{"write card and address only"}},
		{"card", "card = \"/nonexistent.pem\"", false, []string{"f: card: ", "no such file"}},
		{"twice", "organisation = \"A\"\nkind = \"vendor\"", true, []string{"nothing is founded twice"}},
		{"too large", strings.Repeat("#", maxAnswers+1), false, []string{"larger than"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSetup(t)
			s.keep = tc.keep
			t.Chdir(t.TempDir())
			if err := os.WriteFile("f", []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := new(app).readAnswers(s, "f")
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

// TestSetupOverwritesNothing: whatever is in the way, setup refuses before it does anything.
func TestSetupOverwritesNothing(t *testing.T) {
	answers := setupAnswers{Organisation: "A", Kind: "vendor"}
	for name, tc := range map[string]struct {
		blocks func(s *setup) string
		want   string
	}{
		"configuration": {func(s *setup) string { return s.config }, "is set up once"},
		"something":     {func(s *setup) string { return filepath.Join(s.dir, "holiday.jpg") }, "holds holiday.jpg and no node"},
		"root key":      {func(s *setup) string { return s.rootFile }, "move it away"},
		"card":          {func(s *setup) string { return strings.TrimSuffix(s.rootFile, "-root-key.txt") + "-card.pem" }, "move it away"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.setupAnswers = answers
			path := tc.blocks(s)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := s.look()
			if err == nil {
				err = s.ready()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "keys")); err == nil {
				t.Error("keys were made")
			}
		})
	}
	s := newSetup(t)
	s.rootFile = filepath.Join(s.dir, "root.txt")
	if err := s.place(false, true, ""); err == nil || !strings.Contains(err.Error(), "does not belong into the data directory") {
		t.Errorf("the root key goes into the data directory: %v", err)
	}
	if os.Geteuid() != 0 {
		if err := new(setup).place(true, false, "nobody"); err == nil || !strings.Contains(err.Error(), "sudo") {
			t.Errorf("--system without being root: %v", err)
		}
	} else if err := new(setup).place(true, false, "no-such-user-here"); err == nil || !strings.Contains(err.Error(), "useradd") {
		t.Errorf("--system without its user: %v", err)
	}
}

// TestSetupGoesOn: a setup that ended before its last step is run again, and keeps what there is.
func TestSetupGoesOn(t *testing.T) {
	s := newSetup(t)
	s.setupAnswers = setupAnswers{Organisation: "A", Kind: "vendor"}
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.do(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(s.dir, "keys", "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.config); err != nil {
		t.Fatal(err)
	}
	again := &setup{dir: s.dir, config: s.config, rootFile: s.rootFile, keys: s.keys}
	if err := again.look(); err != nil || !again.keep {
		t.Fatalf("keeps %t: %v", again.keep, err)
	}
	if err := again.ready(); err != nil {
		t.Fatal(err)
	}
	done, err := again.do()
	if err != nil || len(done.Next) == 0 {
		t.Fatal(done, err)
	}
	after, err := os.ReadFile(filepath.Join(s.dir, "keys", "node.key"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the keys changed (%v)", err)
	}
	if c, err := readConfig(s.config, s.keys); err != nil || len(c.problems) > 0 {
		t.Error(err, c)
	}
}

// TestServiceHasSocketForPeople: the unit makes the directory of the socket that 'setup --system' configures, and
// nobody else's node gets one.
func TestServiceHasSocketForPeople(t *testing.T) {
	s := newSetup(t)
	if got := s.chosen()["node.people_socket"]; got != nil {
		t.Errorf("the node of one person has the socket %v", got)
	}
	s.owner, s.config = &account{}, systemConfig
	got := s.chosen()["node.people_socket"]
	unit, err := os.ReadFile("../../release/systemd/entente.service")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !strings.Contains(string(unit), "\nRuntimeDirectory="+filepath.Base(filepath.Dir(got[0]))+"\n") || !strings.Contains(string(unit), "\nRuntimeDirectoryMode=0755\n") || filepath.Dir(filepath.Dir(got[0])) != "/run" {
		t.Errorf("socket %v, unit\n%s", got, unit)
	}
}
