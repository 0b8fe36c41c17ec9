package stix

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCanonical(t *testing.T) {
	for _, tt := range []struct {
		in   string
		kind Kind // "": none
		want string
	}{
		{"192.0.2.1", IPv4, "192.0.2.1"},
		{"192[.]0[.]2[.]1", IPv4, "192.0.2.1"},
		{"192(.)0.2.1", IPv4, "192.0.2.1"},
		{" 192.0.2.1\t", IPv4, "192.0.2.1"},
		{"::ffff:192.0.2.1", IPv4, "192.0.2.1"},
		{"192.0.2.300", "", ""},
		{"192.0.2", "", ""},
		{"192.0.2.01", "", ""},
		{"2001:DB8:0:0::1", IPv6, "2001:db8::1"},
		{"[2001:db8::1]", IPv6, "2001:db8::1"},
		{"fe80::1%eth0", "", ""},
		{"192.0.2.77/24", IPv4CIDR, "192.0.2.0/24"},
		{"192.0.2.77/32", IPv4, "192.0.2.77"},
		{"192.0.2.77/33", "", ""},
		{"2001:db8::1/32", IPv6CIDR, "2001:db8::/32"},
		{"192.0.2.1:8080", IPv4Port, "192.0.2.1:8080"},
		{"192.0.2.1[:]8080", IPv4Port, "192.0.2.1:8080"},
		{"192.0.2.1:0", "", ""},
		{"192.0.2.1:65536", "", ""},
		{"192.0.2.1:080", "", ""},
		{"192.0.2.1:33:1099", "", ""},
		{"[2001:DB8::1]:443", IPv6Port, "[2001:db8::1]:443"},
		{"Bad.Example", Domain, "bad.example"},
		{"bad.example.", Domain, "bad.example"},
		{"bad[.]example", Domain, "bad.example"},
		{"bad[dot]example", Domain, "bad.example"},
		{"_dmarc.under_score.example", Domain, "_dmarc.under_score.example"},
		{"bücher.example", Domain, "xn--bcher-kva.example"},
		{"BÜCHER.example", Domain, "xn--bcher-kva.example"},
		{"bad.example:8443", DomainPort, "bad.example:8443"},
		{"localhost", "", ""},
		{"bad..example", "", ""},
		{"-bad.example", "", ""},
		{"*.bad.example", "", ""},
		{strings.Repeat("a", 64) + ".example", "", ""},
		{"hxxp://bad[.]example/x", URL, "http://bad.example/x"},
		{"hXXps[:]//bad.example", URL, "https://bad.example"},
		{"fxp://bad.example/a", URL, "ftp://bad.example/a"},
		{"HTTP://Bad.Example:81/Path?Q=A#F", URL, "http://bad.example:81/Path?Q=A#F"},
		{"http://user@Bad.Example/", URL, "http://user@bad.example/"},
		{"http://[2001:DB8::1]/x", URL, "http://[2001:db8::1]/x"},
		{"http://intranet/x", URL, "http://intranet/x"},
		{"http://", "", ""},
		{"http:///x", "", ""},
		{"http://bad.example:0/", "", ""},
		{"http://bad .example/", "", ""},
		{"bad.example/A/b.php", URL, "http://bad.example/A/b.php"},
		{"192.0.2.1/push", URL, "http://192.0.2.1/push"},
		{"bad.example:81/x", URL, "http://bad.example:81/x"},
		{"/foo/bar.php", "", ""},
		{"foo/bar", "", ""},
		{"Joe@Bad.Example", Email, "joe@bad.example"},
		{"joe[at]bad[.]example", Email, "joe@bad.example"},
		{"@bad.example", "", ""},
		{"a@b@bad.example", "", ""},
		{"D41D8CD98F00B204E9800998ECF8427E", MD5, "d41d8cd98f00b204e9800998ecf8427e"},
		{strings.Repeat("A", 40), SHA1, strings.Repeat("a", 40)},
		{strings.Repeat("0", 64), SHA256, strings.Repeat("0", 64)},
		{strings.Repeat("f", 128), SHA512, strings.Repeat("f", 128)},
		{strings.Repeat("g", 32), "", ""},
		{"Setup.EXE", Filename, "Setup.EXE"},
		{"", "", ""},
		{"hello world", "", ""},
		{"bad\x00.example", "", ""},
		{"\xff.example", "", ""},
		{"http://bad.example/" + strings.Repeat("x", 4096), "", ""},
	} {
		got, ok := Canonical(tt.in)
		if ok != (tt.kind != "") || ok && (got.Kind != tt.kind || got.Value != tt.want) {
			t.Errorf("Canonical(%q) = %v %v, want %v %q", tt.in, got, ok, tt.kind, tt.want)
		}
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"http://u:p@bad.example:81/x@y": "bad.example", "http://[2001:db8::1]:81": "2001:db8::1",
		"192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "bad.example:80": "bad.example",
		"bad.example": "", "http://intranet/": "",
	} {
		o, ok := Canonical(in)
		if !ok {
			t.Fatalf("%q is no observable", in)
		}
		if host, _ := o.Host(); host.Value != want {
			t.Errorf("host of %q = %q, want %q", in, host.Value, want)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct{ line, entry, value string }{
		{"", "", ""},
		{"  # note", "", ""},
		{"192.0.2.1\r", "192.0.2.1", "192.0.2.1"},
		{"192.0.2.1 # seen", "192.0.2.1", "192.0.2.1"},
		{"http://bad.example/a#b", "http://bad.example/a#b", "http://bad.example/a#b"},
		{"192.0.2.1\t3", "192.0.2.1\t3", "192.0.2.1"},
		{`"192.0.2.1","x"`, `"192.0.2.1","x"`, "192.0.2.1"},
		{"http://bad.example/a,b", "http://bad.example/a,b", "http://bad.example/a,b"},
		{"/44376,8555986111.jpg", "/44376,8555986111.jpg", ""},
		{"0.0.0.0\tbad.example", "0.0.0.0\tbad.example", ""},
		{"127.0.0.1 bad.example", "127.0.0.1 bad.example", ""},
	} {
		o, entry, ok := Detect(tt.line)
		if entry != tt.entry || o.Value != tt.value || ok != (tt.value != "") {
			t.Errorf("Detect(%q) = %q %q %v", tt.line, o.Value, entry, ok)
		}
	}
}

func TestObservablesOfPatterns(t *testing.T) {
	for _, tt := range []struct{ pattern, want string }{
		{`[ipv4-addr:value = '192.0.2.1']`, "192.0.2.1"},
		{`[ipv4-addr:value='192.0.2.1' OR ipv4-addr:value='192.0.2.2']`, "192.0.2.1 192.0.2.2"},
		{`[domain-name:value IN ('a.example', 'b.example')]`, "a.example b.example"},
		{`[ipv4-addr:value ISSUBSET '192.0.2.0/24']`, "192.0.2.0/24"},
		{`[domain-name:value != 'a.example']`, ""},
		{`[domain-name:value NOT = 'a.example']`, ""},
		{`[domain-name:value LIKE 'a%.example']`, ""},
		{`[domain-name:value MATCHES 'a.example']`, ""},
		{`[url:value = 'http://a.example/it\'s']`, "http://a.example/it's a.example"},
		{`[file:hashes.'SHA-1' = '` + strings.Repeat("a", 40) + `' AND file:name = 'A b.exe']`, strings.Repeat("a", 40) + " A b.exe"},
		{`[file:hashes.MD5 = 'not a hash']`, ""},
		{`[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 81]`, "192.0.2.1 192.0.2.1:81"},
		{`[network-traffic:dst_port = 81 AND network-traffic:dst_ref.value = '2001:db8::1']`, "[2001:db8::1]:81 2001:db8::1"},
		{`[network-traffic:extensions.'http-request-ext'.request_header.Host = 'a.example']`, "a.example"},
		{`[process:command_line = 'a.example']`, ""},
		{`[a:value = 'x' AND (ipv4-addr:value = '192.0.2.1')] FOLLOWEDBY [domain-name:value = 'b.example'] WITHIN 5 SECONDS`, "192.0.2.1 b.example"},
		{`[email-message:from_ref.value = 'a@b.example']`, "a@b.example"},
		{`[ipv4-addr:value = '192.0.2.1`, "192.0.2.1"},
		{`nonsense '''\`, ""},
	} {
		o, err := Indicator{ID: "indicator--" + uuidA, Created: "2026-01-02T03:04:05Z", Modified: "2026-01-02T03:04:05Z",
			ValidFrom: "2026-01-02T03:04:05Z", Pattern: tt.pattern}.Object()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range Observables(o) {
			got = append(got, x.Value)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.pattern, got, tt.want)
		}
	}
}

func TestObservablesOfObjects(t *testing.T) {
	md5 := strings.Repeat("a", 32)
	for _, tt := range []struct{ raw, want string }{
		{`{"type":"url","id":"url--` + uuidA + `","value":"http://a.example/x"}`, "[{url http://a.example/x} {domain a.example}]"},
		{`{"type":"file","id":"file--` + uuidA + `","name":"a b.doc","hashes":{"MD5":"` + md5 + `"}}`, "[{filename a b.doc} {md5 " + md5 + "}]"},
		{`{"type":"file","id":"file--` + uuidA + `","name":7,"hashes":[]}`, "[]"},
		{`{"type":"observed-data","spec_version":"2.1","id":"observed-data--` + uuidA + `","created":"2026-01-02T03:04:05Z","modified":"2026-01-02T03:04:05Z","first_observed":"x","last_observed":"x","number_observed":1,"objects":{"0":{"type":"ipv4-addr","value":"192.0.2.1"},"1":{"type":"network-traffic"}}}`, "[{ipv4 192.0.2.1}]"},
		{`{"type":"x-thing","id":"x-thing--` + uuidA + `","value":"192.0.2.1"}`, "[]"},
	} {
		o, err := Parse([]byte(tt.raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(Observables(o)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.raw, got, tt.want)
		}
	}
	big := `[ipv4-addr:value IN (`
	for i := range 5000 {
		big += fmt.Sprintf("'10.0.%d.%d',", i/256, i%256)
	}
	o, err := Parse(sample(t, `[ipv4-addr:value = '192.0.2.1']`, big+")]"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(Observables(o)); n != maxObservables {
		t.Errorf("%d observables, want the bound %d", n, maxObservables)
	}
}

// An indicator made of an observable is valid, the same each time, and holds the observable.
func TestNewIndicator(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, in := range []string{"192.0.2.1", "2001:db8::1", "192.0.2.0/24", "2001:db8::/32", "192.0.2.1:80",
		"[2001:db8::1]:80", "a.example", "a.example:80", `http://a.example/'\<&>`, "a'b@a.example",
		strings.Repeat("a", 32), strings.Repeat("a", 40), strings.Repeat("a", 64), strings.Repeat("a", 128), "a.exe"} {
		want, ok := Canonical(in)
		if !ok {
			t.Fatalf("%q is no observable", in)
		}
		a, b := NewIndicator(want, at), NewIndicator(want, at)
		if string(a.Raw) != string(b.Raw) {
			t.Errorf("%q: two readings, two objects", in)
		}
		if c := NewIndicator(want, at.Add(time.Hour)); c.ID != a.ID || string(c.Raw) == string(a.Raw) {
			t.Errorf("%q: at another time: id %s, want %s and other bytes", in, c.ID, a.ID)
		}
		found := false
		for _, o := range Observables(a) {
			found = found || o == want
		}
		if !found {
			t.Errorf("%s: %v does not hold %v", a.Raw, Observables(a), want)
		}
	}
	const want = `{"type":"indicator","spec_version":"2.1","id":"%s","created":"2026-01-02T03:04:05.000Z",` +
		`"modified":"2026-01-02T03:04:05.000Z","name":"192.0.2.1:80","indicator_types":["malicious-activity"],` +
		`"pattern":"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 80]",` +
		`"pattern_type":"stix","valid_from":"2026-01-02T03:04:05.000Z"}`
	o := NewIndicator(Observable{IPv4Port, "192.0.2.1:80"}, at)
	if got := string(o.Raw); got != fmt.Sprintf(want, o.ID) {
		t.Errorf("wrote %s", got)
	}
}

// What else stands in an observable does not hide what it is.
func TestObservablesBesideOddProperties(t *testing.T) {
	for _, tt := range []struct{ name, raw, want string }{
		{"number beyond float64", `{"type":"ipv4-addr","id":"ipv4-addr--` + uuidA + `","value":"192.0.2.1","x":1e999}`, "[{ipv4 192.0.2.1}]"},
		{"property without name", `{"type":"mutex","id":"mutex--` + uuidA + `","name":"a","":"192.0.2.1"}`, "[]"},
	} {
		o, err := Parse([]byte(tt.raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(Observables(o)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
