package observe

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol/stix"
	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

func readAll(t testing.TB, name, text string, format Format) (list []Observation) {
	t.Helper()
	if err := Read(name, strings.NewReader(text), format, func(o *Observation) error { list = append(list, *o); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// matches lists where a pattern matches, observation by observation.
func matches(t testing.TB, src string, list []Observation) string {
	t.Helper()
	p, err := pattern.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	var where []string
	for i := range list {
		if got, err := p.Match([]pattern.Observed{*list[i].Observe()}); err != nil {
			t.Fatal(err)
		} else if got != nil {
			where = append(where, list[i].Where)
		}
	}
	return strings.Join(where, " ")
}

const log = `Jan  2 03:04:05 fw kernel: DROP SRC=10.0.0.5 DST=198.51.100.7 PROTO=TCP DPT=443
2026-01-02T03:04:06Z GET http://bad.example.net/a?b=1 from 10.0.0.6
10.0.0.7 - - [02/Jan/2026:03:04:07 +0000] "GET /index.html HTTP/1.1" 200 "http://evil.example.org/"
1767323048.123 200 TCP_MISS/200 CONNECT c2.example.com:8443
nothing of interest here
file d41d8cd98f00b204e9800998ecf8427e seen, sender=mallory@phish.example.net; resolved evil[.]example[.]com
connected to [2001:db8::7]:443 and 198.51.100.9:53.
`

func TestLines(t *testing.T) {
	list := readAll(t, "log", log, Auto)
	for src, want := range map[string]string{
		`[ipv4-addr:value = '198.51.100.7']`: "log:1", `[ipv4-addr:value ISSUBSET '10.0.0.0/24']`: "log:1 log:2 log:3",
		`[url:value = 'http://bad.example.net/a?b=1']`: "log:2", `[domain-name:value = 'bad.example.net']`: "log:2", `[domain-name:value = 'evil.example.org']`: "log:3",
		`[network-traffic:dst_ref.value = 'c2.example.com' AND network-traffic:dst_port = 8443]`: "log:4",
		`[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']`:                                 "log:6", `[domain-name:value LIKE '%.example.com']`: "log:4 log:6",
		`[email-addr:value = 'mallory@phish.example.net']`: "log:6", `[domain-name:value = 'phish.example.net']`: "log:6",
		`[network-traffic:dst_ref.value = '2001:db8::7' AND network-traffic:dst_port = 443]`: "log:7", `[network-traffic:dst_port = 53]`: "log:7",
		`[ipv4-addr:value = '198.51.100.9'] START t'2020-01-01T00:00:00Z' STOP t'2030-01-01T00:00:00Z'`:     "", // it has no time
		`[ipv4-addr:value = '10.0.0.7'] START t'2026-01-02T03:04:07Z' STOP t'2026-01-02T03:04:08Z'`:         "log:3",
		`[domain-name:value = 'c2.example.com'] START t'2026-01-02T03:04:08Z' STOP t'2026-01-02T03:04:09Z'`: "log:4",
		`[file:name = 'index.html']`: "", `[ipv4-addr:value = '1.1']`: "",
	} {
		if got := matches(t, src, list); got != want {
			t.Errorf("%s is in %q, want %q", src, got, want)
		}
	}
	if len(list) != 6 {
		t.Errorf("%d lines hold something, want 6", len(list))
	}
}

func TestLongLines(t *testing.T) {
	list := readAll(t, "log", "198.51.100.1 "+strings.Repeat("x", 3*MaxLine)+" 198.51.100.2\n198.51.100.3", Lines)
	if len(list) != 2 || matches(t, `[ipv4-addr:value = '198.51.100.3']`, list) != "log:2" || matches(t, `[ipv4-addr:value = '198.51.100.2']`, list) != "" {
		t.Errorf("%d lines: %+v", len(list), list)
	}
}

func TestCSV(t *testing.T) {
	list := readAll(t, "seen.csv", "timestamp,ip,name,md5\n2026-01-02T03:04:05Z,198.51.100.7,dropper.exe,D41D8CD98F00B204E9800998ECF8427E\n2026-01-02 03:04:06,\"evil.example.net\",,\n,,,\n", Auto)
	for src, want := range map[string]string{
		`[ipv4-addr:value = '198.51.100.7'] START t'2026-01-02T03:04:05Z' STOP t'2026-01-02T03:04:06Z'`: "seen.csv:2",
		`[file:name = 'dropper.exe' AND file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']`:          "seen.csv:2",
		`[domain-name:value = 'evil.example.net']`:                                                      "seen.csv:3",
	} {
		if got := matches(t, src, list); got != want {
			t.Errorf("%s is in %q, want %q", src, got, want)
		}
	}
	if len(list) != 2 {
		t.Errorf("%d rows: %+v", len(list), list)
	}
	if list := readAll(t, "x.csv", "198.51.100.7\n", Auto); len(list) != 1 {
		t.Errorf("a table without names: %+v", list)
	}
}

const bundle = `{"type": "bundle", "id": "bundle--1", "objects": [
 {"type": "observed-data", "id": "observed-data--1", "first_observed": "2026-01-02T03:04:05Z", "last_observed": "2026-01-02T03:05:05Z", "number_observed": 3,
  "object_refs": ["network-traffic--1", "file--1"]},
 {"type": "network-traffic", "id": "network-traffic--1", "dst_ref": "ipv4-addr--1", "dst_port": 443, "protocols": ["tcp"]},
 {"type": "ipv4-addr", "id": "ipv4-addr--1", "value": "198.51.100.7"},
 {"type": "file", "id": "file--1", "name": "a.exe", "hashes": {"SHA-256": "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"}, "parent_directory_ref": "directory--1"},
 {"type": "directory", "id": "directory--1", "path": "C:\\x"},
 {"type": "domain-name", "id": "domain-name--1", "value": "Alone.example.net"},
 {"type": "observed-data", "id": "observed-data--2", "first_observed": "2026-01-02T03:04:05Z", "last_observed": "2026-01-02T03:05:05Z", "number_observed": 1,
  "objects": {"0": {"type": "url", "value": "http://old.example.net/"}}}
]}`

func TestBundle(t *testing.T) {
	list := readAll(t, "b.json", bundle, Auto)
	for src, want := range map[string]string{
		`[network-traffic:dst_ref.value = '198.51.100.7' AND network-traffic:dst_port = 443]`: "observed-data--1", `[file:parent_directory_ref.path = 'C:\\x']`: "observed-data--1",
		`[ipv4-addr:value = '198.51.100.7'] REPEATS 3 TIMES`: "observed-data--1", `[ipv4-addr:value = '198.51.100.7'] REPEATS 4 TIMES`: "",
		`[domain-name:value = 'Alone.example.net']`: "domain-name--1", `[url:value LIKE 'http://old%']`: "observed-data--2",
	} {
		if got := matches(t, src, list); got != want {
			t.Errorf("%s is in %q, want %q", src, got, want)
		}
	}
	if len(list) != 3 {
		t.Fatalf("%d observations", len(list))
	}
	want := map[stix.Observable]bool{{Kind: stix.IPv4, Value: "198.51.100.7"}: true, {Kind: stix.IPv4Port, Value: "198.51.100.7:443"}: true, {Kind: stix.Filename, Value: "a.exe"}: true,
		{Kind: stix.SHA256, Value: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}: true}
	for i := range list {
		if list[i].Where != "observed-data--1" {
			continue
		}
		if len(list[i].Values) != len(want) || list[i].seen.Last.Sub(list[i].seen.First) != time.Minute {
			t.Errorf("it is %+v", list[i])
		}
		for _, v := range list[i].Values {
			if !want[v] {
				t.Errorf("it holds %v", v)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"type": "indicator"}`: "not a bundle", `{"type": "bundle", "objects": [`: "unexpected", `{"type": "bundle", "objects": [{"type": "observed-data", "id": "x"}]}`: "no first_observed",
		`{"type": "bundle", "objects": [{"type": "observed-data", "id": "x", "first_observed": "2026-01-02T03:04:05Z", "last_observed": "2026-01-02T03:04:05Z", "number_observed": -1}]}`: "no count",
	} {
		if err := Read("x", strings.NewReader(text), Bundle, func(*Observation) error { return nil }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if err := Read("x", strings.NewReader("x"), "xml", nil); err == nil {
		t.Error("an unknown format is read")
	}
	stop := errors.New("stop")
	if err := Read("x", strings.NewReader("198.51.100.1\n198.51.100.2\n"), Lines, func(*Observation) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// FuzzRead: whatever is read, nothing falls over, and what is found is what a search takes.
func FuzzRead(f *testing.F) {
	for _, format := range []Format{Bundle, CSV, Lines} {
		for _, text := range []string{log, bundle, "a,b\n198.51.100.7,x"} {
			f.Add(string(format), text)
		}
	}
	f.Fuzz(func(t *testing.T, format, text string) {
		_ = Read("x", strings.NewReader(text), Format(format), func(o *Observation) error {
			if len(o.Observe().Objects) == 0 || o.Where == "" && Format(format) != Bundle {
				t.Fatalf("%+v", o)
			}
			return nil
		})
	})
}
