package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"
)

var updateConfig = flag.Bool("update-config", false, "rewrite testdata/config")

func upOf(t testing.TB) (*cobra.Command, []boundKey) {
	t.Helper()
	up, _, err := newRoot().Find([]string{"up"})
	if err != nil {
		t.Fatal(err)
	}
	return up, bindKeys(up)
}

// TestEveryFlagHasAKey: what a flag of 'up' says can stand in the file, or it is written down why not.
func TestEveryFlagHasAKey(t *testing.T) {
	up, keys := upOf(t)
	has := map[string]string{}
	for i := range keys {
		k := &keys[i]
		if k.flag != "" {
			if other, ok := has[k.flag]; ok {
				t.Errorf("%s and %s have the same flag", other, k.name)
			}
			has[k.flag] = k.name
		}
		if k.text() == "" || len(k.text()) < 8 {
			t.Errorf("%s says nothing about itself: give its row a doc", k.name)
		}
		if known := []string{typeString, typeList, typeBool, typeInt, typeDuration, typeSize}; !slices.Contains(known, k.kind()) {
			t.Errorf("%s is of type %q, which the file does not know", k.name, k.kind())
		}
		if strings.Count(k.name, ".") != 1 || strings.ToLower(k.name) != k.name {
			t.Errorf("%q is no name of a key", k.name)
		}
	}
	all := 0
	check := func(f *pflag.Flag) {
		all++
		if _, only := flagsOnly[f.Name]; only == (has[f.Name] != "") {
			t.Errorf("--%s needs either a row in configKeys or a line in flagsOnly that says why it has none", f.Name)
		}
	}
	up.Flags().VisitAll(check)
	up.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if up.LocalFlags().Lookup(f.Name) == nil && up.Flags().Lookup(f.Name) == nil {
			check(f)
		}
	})
	if all < 20 {
		t.Fatalf("saw only %d flags", all)
	}
}

// TestWrittenConfig: the file that setup writes is right as it is, and with every line of it uncommented, and
// then says what holds anyway.
func TestWrittenConfig(t *testing.T) {
	_, keys := upOf(t)
	env := &surroundings{}
	text := configText(keys, map[string][]string{"network.announce": {"/dns/node.example.org/tcp/4401"}, "limits.disk": {"20GiB"}})
	c := parseConfig("f", []byte(text), keys)
	if len(c.problems) > 0 || len(c.entries) != 2 {
		t.Fatalf("%d entries, problems: %v", len(c.entries), c.problems)
	}
	if s, _ := resolve(keys, env, c); s.value("limits.disk") != "20GiB" {
		t.Errorf("the disk limit is %q", s.value("limits.disk"))
	}
	whole := strings.ReplaceAll(configText(keys, nil), "\n#", "\n")
	var lines []string // comments begin with "# "
	for line := range strings.Lines(whole) {
		if !strings.HasPrefix(line, " ") {
			lines = append(lines, line)
		}
	}
	c = parseConfig("f", []byte(strings.Join(lines, "")), keys)
	if len(c.problems) > 0 || len(c.entries) != len(keys) {
		t.Fatalf("%d entries of %d keys, problems: %v", len(c.entries), len(keys), c.problems)
	}
	without, _ := resolve(keys, env, nil)
	with, problems := resolve(keys, env, c)
	if len(problems) > 0 {
		t.Error(problems)
	}
	for i := range keys {
		name := keys[i].name
		if got, want := asTOML(&keys[i], with.of(name).values), asTOML(&keys[i], without.of(name).values); got != want {
			t.Errorf("%s is documented as %s, and is %s", name, got, want)
		}
	}
}

// samples has good values for each type, told apart by n.
func sample(k *boundKey, dir string, n int) []string {
	switch {
	case k.name == "network.listen":
		return []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 1000+n)}
	case k.name == "network.announce":
		return []string{fmt.Sprintf("/dns/n%d.example/tcp/4401", n), "/ip4/192.0.2.1/udp/4401/quic-v1"}
	case k.name == "network.via":
		return []string{fmt.Sprintf("/ip4/192.0.2.1/tcp/%d/p2p/12D3KooWAs91TfCNAGfaVVABo3opbSismXVAW7DfL6hizQVnimQV", 1000+n)}
	case k.name == "network.proxy":
		return []string{fmt.Sprintf("http://127.0.0.1:%d", 1000+n)}
	case k.kind() == typeList:
		return []string{fmt.Sprintf("n%d.example", n)}
	case strings.HasSuffix(k.name, ".address"):
		return []string{fmt.Sprintf("127.0.0.1:%d", 1000+n)}
	case k.name == "log.format":
		return []string{[]string{"text", "json"}[n%2]}
	case k.name == "postgres.url":
		return []string{fmt.Sprintf("postgres://u%d@/ti?host=/run/postgresql", n)}
	case k.kind() == typeBool:
		return []string{fmt.Sprint(n%2 == 0)}
	case k.kind() == typeSize:
		return []string{fmt.Sprintf("%dGiB", n+1)}
	}
	path := filepath.Join(dir, fmt.Sprint(n))
	return []string{path}
}

// TestPrecedence: for whatever is said where, the environment is above flags, flags above the file, the file above the defaults;
// and whoever says it is named.
func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	for n := range 3 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		up, _, _ := newRoot().Find([]string{"up"})
		keys := bindKeys(up)
		chosen, env := map[string][]string{}, &surroundings{}
		var args []string
		want, from := map[string]string{}, map[string]string{}
		none, _ := resolve(keys, env, nil)
		for i := range keys {
			k := &keys[i]
			want[k.name], from[k.name] = asTOML(k, none.of(k.name).values), "default"
			said := rapid.IntRange(0, 7).Draw(t, k.name)
			if said&1 != 0 {
				chosen[k.name] = sample(k, dir, 0)
				want[k.name], from[k.name] = asTOML(k, chosen[k.name]), "f:"
			}
			if said&2 != 0 && k.flag != "" {
				for _, v := range sample(k, dir, 1) {
					args = append(args, "--"+k.flag+"="+v)
				}
				want[k.name], from[k.name] = asTOML(k, sample(k, dir, 1)), "flag --"+k.flag
			}
			if said&4 != 0 {
				env.environ = append(env.environ, k.variable()+"="+strings.Join(sample(k, dir, 2), ","))
				want[k.name], from[k.name] = asTOML(k, sample(k, dir, 2)), "environment "+k.variable()
			}
		}
		if err := up.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		file := parseConfig("f", []byte(configText(keys, chosen)), keys)
		if len(file.problems) > 0 {
			t.Fatal(file.problems)
		}
		got, problems := resolve(keys, env, file)
		for _, p := range problems { // what does not go together may come up
			if p.From != "" {
				t.Fatal(p.String())
			}
		}
		for i := range keys {
			k := &keys[i]
			s := got.of(k.name)
			if v := asTOML(k, s.values); v != want[k.name] || !strings.HasPrefix(s.from, from[k.name]) {
				t.Errorf("%s is %s by %s, want %s by %s", k.name, v, s.from, want[k.name], from[k.name])
			}
			if err := k.set(s.values); err != nil {
				t.Errorf("setting --%s: %v", k.flag, err)
			}
			if v, ok := k.given(); k.f != nil && (ok && k.kind() != typeList && v[0] != s.values[0]) {
				t.Errorf("--%s is %v after it was set to %v", k.flag, v, s.values)
			}
		}
	})
}

// TestConfigNeverPanics: whatever the file holds, it is read or said to be wrong; what TOML refuses is
// never taken.
func TestConfigNeverPanics(t *testing.T) {
	_, keys := upOf(t)
	whole := configText(keys, map[string][]string{"network.announce": {"/dns/a/tcp/1"}, "limits.disk": {"1GiB"}, "log.verbose": {"true"}})
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(whole)
		b = b[:rapid.IntRange(0, len(b)).Draw(t, "length")]
		for range rapid.IntRange(0, 20).Draw(t, "changes") {
			if len(b) > 0 {
				i := rapid.IntRange(0, len(b)-1).Draw(t, "where")
				piece := rapid.SampledFrom([]string{"\n", "\"", "[", "]", "=", "{", "}", "#", "\x00", "\xff", "'''", "1979-05-27", "inf", "\r", ".", ","}).Draw(t, "piece")
				b = slices.Insert(b, i, []byte(piece)...)
			}
		}
		c := parseConfig("f", b, keys)
		for _, p := range c.problems {
			if p.Line < 1 || p.Column < 1 || p.Reason == "" {
				t.Fatalf("a problem without a place: %+v", p)
			}
		}
	})
}

// TestConfigCheckText compares all refusals with testdata/config: each .toml with its .txt.
func TestConfigCheckText(t *testing.T) {
	_, keys := upOf(t)
	files, err := filepath.Glob("testdata/config/*.toml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, problems := resolve(keys, &surroundings{}, parseConfig(filepath.Base(path), b, keys))
		var got strings.Builder
		for i := range problems {
			fmt.Fprintln(&got, problems[i].String())
		}
		golden := strings.TrimSuffix(path, ".toml") + ".txt"
		if *updateConfig {
			if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", path, got.String(), want)
		}
	}
}

// TestEnvironment: what is wrong in variables, and which are none of ours.
func TestEnvironment(t *testing.T) {
	_, keys := upOf(t)
	for _, tc := range []struct{ name, env, want string }{
		{"good", "ENTENTE_LOG_FORMAT=json", ""},
		{"empty is none", "ENTENTE_LOG_FORMAT=", ""},
		{"empty and unknown", "ENTENTE_LOG_FORMATT=", ""},
		{"value", "ENTENTE_LOG_FORMAT=xml", `ENTENTE_LOG_FORMAT: "xml" is not known; write text or json`},
		{"bool", "ENTENTE_LOG_VERBOSE=yes", `ENTENTE_LOG_VERBOSE: "yes" is neither true nor false; write true or false`},
		{"size", "ENTENTE_LIMITS_DISK=20", `ENTENTE_LIMITS_DISK: "20" is no size; write a whole number with a unit`},
		{"second of a list", "ENTENTE_NETWORK_ANNOUNCE=/dns/a.example/tcp/1,b", `ENTENTE_NETWORK_ANNOUNCE: address "b"`},
		{"letter", "ENTENTE_LOG_FORMATT=json", "ENTENTE_LOG_FORMATT: no key has this variable; write ENTENTE_LOG_FORMAT"},
		{"section misspelt", "ENTENTE_LIMIT_DISK=1GiB", "ENTENTE_LIMIT_DISK: no key has this variable; write ENTENTE_LIMITS_DISK"},
		{"section known", "ENTENTE_LOG_COLOUR=red", "ENTENTE_LOG_COLOUR: no key has this variable; write "},
		{"none of ours", "ENTENTE_POSTGRES=1 ENTENTE_LOAD=1 ENTENTE_HOSTS=1 ENTENTE_MESHES=1 ENTENTE_SUMMARY=x ENTENTE_KILL_ROUNDS=3 ENTENTE_POWER_SEED=1 ENTENTE_UPDATE_VECTORS=1", ""},
		{"older", "ENTENTE_PASSPHRASE_FILE=/a ENTENTE_NODE_PASSPHRASE_FILE=/b", "ENTENTE_NODE_PASSPHRASE_FILE: ENTENTE_PASSPHRASE_FILE says otherwise; write one of the two"},
		{"older, the same", "ENTENTE_PASSPHRASE_FILE=/a ENTENTE_NODE_PASSPHRASE_FILE=/a", ""},
		{"not together", "ENTENTE_POSTGRES_SEARCH=true", "postgres.search: there is no database"},
		{"plain and open", "ENTENTE_SERVE_PLAIN=true ENTENTE_SERVE_ADDRESS=0.0.0.0:80", "serve.plain: plain HTTP shows tokens"},
		{"plain and closed", "ENTENTE_SERVE_PLAIN=true ENTENTE_SERVE_ADDRESS=127.0.0.1:80", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, problems := resolve(keys, &surroundings{environ: strings.Fields(tc.env)}, nil)
			var got strings.Builder
			for i := range problems {
				fmt.Fprintln(&got, problems[i].String())
			}
			if tc.want == "" && got.Len() > 0 || tc.want != "" && (len(problems) != 1 || !strings.Contains(got.String(), tc.want)) {
				t.Errorf("got %q, want %q", got.String(), tc.want)
			}
		})
	}
}

// TestLocate: which file counts, and which data directory.
func TestLocate(t *testing.T) {
	work := t.TempDir()
	write := func(path, text string) string {
		path = filepath.Join(work, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := func(dir string) string { return filepath.Join(work, dir) }
	system := write("etc/entente.toml", "[node]\ndir = "+tomlString(at("var")))
	named := write("named.toml", "[node]\ndir = "+tomlString(at("elsewhere")))
	inDir := write("own/entente.toml", "[log]\nverbose = true")
	write("lies/entente.toml", "[node]\ndir = "+tomlString(at("own")))
	write("node/keys/node.key", "x")
	for _, tc := range []struct {
		name, home, dir, config, env, file, want, wrong string
		problems                                        int
	}{
		{name: "nothing", home: "none", file: system, want: "var"},
		{name: "a file of one's own", home: "own", file: inDir, want: "own"},
		{name: "a node of one's own without a file", home: "node", want: "node"},
		{name: "another directory than the machine's", home: "none", dir: "other", want: "other"},
		{name: "the machine's directory", home: "none", dir: "var", file: system, want: "var"},
		{name: "by the session", home: "none", env: "ENTENTE_DIR=own", file: inDir, want: "own"},
		{name: "typed above the session", home: "none", dir: "own", env: "ENTENTE_DIR=other", file: inDir, want: "own"},
		{name: "by the key's variable", home: "none", env: "ENTENTE_NODE_DIR=own", file: inDir, want: "own"},
		{name: "typed and variable", home: "none", dir: "own", env: "ENTENTE_NODE_DIR=other", wrong: "leave one of the two out"},
		{name: "typed and variable, the same", home: "none", dir: "own", env: "ENTENTE_NODE_DIR=own", file: inDir, want: "own"},
		{name: "named", home: "own", config: named, file: named, want: "elsewhere"},
		{name: "named, with a directory", home: "own", config: named, dir: "own", file: named, want: "own"},
		{name: "named by the session", home: "own", env: "ENTENTE_CONFIG=named.toml", file: named, want: "elsewhere"},
		{name: "named above the session", home: "own", config: named, env: "ENTENTE_CONFIG=nothing", file: named, want: "elsewhere"},
		{name: "named and absent", home: "own", config: at("absent.toml"), wrong: "no such file"},
		{name: "session names what is absent", home: "own", env: "ENTENTE_CONFIG=absent.toml", wrong: "no such file"},
		{name: "names another directory than it is in", home: "none", dir: "lies", file: at("lies/entente.toml"), want: "lies", problems: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, keys := upOf(t)
			a := &app{config: tc.config}
			if tc.dir != "" {
				a.dir = at(tc.dir)
			}
			env := &surroundings{home: at(tc.home), system: system}
			if name, v, ok := strings.Cut(tc.env, "="); ok {
				env.environ = []string{name + "=" + at(v)}
			}
			file, dir, err := a.locate(keys, tc.dir != "", env)
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Fatalf("got %v, want %q", err, tc.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			path := ""
			if file != nil {
				path = file.path
				if len(file.problems) != tc.problems {
					t.Errorf("problems: %v", file.problems)
				}
			}
			if path != tc.file || dir != at(tc.want) {
				t.Errorf("file %q, directory %q; want %q, %q", path, dir, tc.file, at(tc.want))
			}
		})
	}
}

// TestPassphraseFile: whoever asks for the passphrase finds the file that the configuration names.
func TestPassphraseFile(t *testing.T) {
	t.Setenv("ENTENTE_PASSPHRASE_FILE", "")
	path := filepath.Join(t.TempDir(), "pass.txt")
	file := filepath.Join(t.TempDir(), "f.toml")
	for name, text := range map[string]string{path: "correct horse battery staple\n", file: "node.passphrase_file = " + tomlString(path)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := newRoot()
	root.SetOut(io.Discard)
	root.SetArgs([]string{"--config", file, "api", "openapi"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if b, err := passphrase(""); err != nil || string(b) != "correct horse battery staple" {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestSizes: what is written comes back, and what cannot be meant is refused.
func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1KiB": 1024, "512MiB": 512 << 20, "20GiB": 20 << 30, "20 GiB": 20 << 30, "2TiB": 2 << 40, "1kB": 1000, "3GB": 3e9} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "20", "-1GiB", "1.5GiB", "GiB", "20gib", "9999999999TiB", "1e3GiB", "0x10MiB", "20GiB/s"} {
		if n, err := parseSize(s); err == nil {
			t.Errorf("%q was read as %d", s, n)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<50).Draw(t, "KiB") << 10
		if got, err := parseSize(formatSize(n)); n <= 1<<60 && (err != nil || got != n) {
			t.Fatalf("%d became %q, and that %d (%v)", n, formatSize(n), got, err)
		}
	})
	var n int64
	f := sizeFlag(&n, 3<<30)
	if f.String() != "3GiB" || f.Set("512") != nil || n != 512<<20 || f.Set("-1") == nil || f.Set("2TiB") != nil || n != 2<<40 {
		t.Errorf("the flag is %d", n)
	}
}

// TestOtherTypes: types that keys of flags to come may have.
func TestOtherTypes(t *testing.T) {
	set := pflag.NewFlagSet("x", pflag.ContinueOnError)
	set.Duration("every", time.Minute, "how often")
	set.Int64("many", 3, "how many")
	keys := []boundKey{{configKey{name: "a.every", flag: "every"}, set.Lookup("every")}, {configKey{name: "a.many", flag: "many", secret: true}, set.Lookup("many")}}
	for text, want := range map[string]string{
		"every = \"90s\"\nmany = 1_000": "",
		"every = \"-5s\"":               `f:2:9: a.every: "-5s" is no length of time; write a number with a unit, as 90s, 15m or 24h`,
		"every = 5":                     `f:2:9: a.every: 5 is not of the type that it takes; write a length of time in double quotes, as "15m"`,
		"many = 1.5":                    `f:2:8: a.many: 1.5 is not of the type that it takes; write a whole number, without quotes`,
		"many = 99999999999999999999":   `f:2:8: a.many: 99999999999999999999 is too large; write a smaller number`,
		"many = 1979-05-27":             `f:2:8: a.many: 1979-05-27 is not of the type that it takes; write a whole number, without quotes`,
	} {
		c := parseConfig("f", []byte("[a]\n"+text), keys)
		got := ""
		if len(c.problems) > 0 {
			got = c.problems[0].String()
		}
		if got != want || len(c.problems) > 1 {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if want == "" {
			s, _ := resolve(keys, &surroundings{}, c)
			for i := range keys {
				if err := keys[i].set(s.of(keys[i].name).values); err != nil {
					t.Error(err)
				}
			}
			if d, _ := set.GetDuration("every"); d != 90*time.Second {
				t.Errorf("every is %s", d)
			}
			if n, _ := set.GetInt64("many"); n != 1000 {
				t.Errorf("many is %d", n)
			}
			if v := shown(&keys[1], s.of("a.many").values); v[0] != "(not shown)" {
				t.Errorf("a secret is shown as %s", v)
			}
		}
	}
	if v := shown(&keys[0], []string{"postgres://me:secret@db/ti"}); strings.Contains(v[0], "secret") {
		t.Errorf("a password is shown: %s", v)
	}
}

// TestProblemsThatMatter: a verb that only talks to the node is not stopped by what it does not read.
func TestProblemsThatMatter(t *testing.T) {
	_, keys := upOf(t)
	for text, want := range map[string]bool{
		"[log]\nformat = \"x\"":       false,
		"[logg]\n":                    true, // it might have been meant for [node]
		"[node]\ndri = \"/x\"":        true,
		"[node]\ndir = \"x\"":         true,
		"[limits]\ndsk = \"1GiB\"":    false,
		"[log]\nformat = \"x":         true,
		"dir = \"/x\"\n":              false,
		"[limits]\ndisk = \"1GiB\"\n": false,
	} {
		c := parseConfig("f", []byte(text), keys)
		if got := slices.ContainsFunc(c.problems, func(p configProblem) bool { return matters(keys, &p) }); got != want {
			t.Errorf("%q: %t, want %t (%v)", text, got, want, c.problems)
		}
	}
	for name, want := range map[string]bool{"ENTENTE_NODE_DRI": true, "ENTENTE_LOG_COLOUR": false} {
		_, problems := resolve(keys, &surroundings{environ: []string{name + "=x"}}, nil)
		if len(problems) != 1 || matters(keys, &problems[0]) != want {
			t.Errorf("%s: %v", name, problems)
		}
	}
	if len(slices.Collect(maps.Keys(flagsOnly))) < 5 {
		t.Error("flagsOnly is nearly empty")
	}
}
