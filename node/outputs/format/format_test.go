package format

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/outputs/gather"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func lists(t testing.TB, more ...*warninglist.List) *warninglist.Set {
	t.Helper()
	s, err := warninglist.Compile(more)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func item(kind stix.Kind, value string) gather.Item {
	return gather.Item{Observable: stix.Observable{Kind: kind, Value: value}, Score: 80, Active: 80, Sources: 1,
		First: 1_800_000_000_000, Last: 1_800_000_000_000, TLP: protocol.TLPGreen}
}

// file writes values in a format, and returns what it holds and what was left out.
func file(t testing.TB, f Format, set *warninglist.Set, items ...gather.Item) (string, map[Reason]int) {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, f, Options{View: "view test", Serial: 4711})
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		reason, hit := Judge(f, &items[i], 30, set)
		if reason != In {
			w.LeaveOut(reason)
			continue
		}
		if err := w.Write(&items[i], hit); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.left
}

// sample has one of each kind, and what must not leave.
func sample() []gather.Item {
	amber := item(stix.Domain, "watched.example")
	amber.PAP, amber.Active = protocol.PAPAmber, 0
	weak := item(stix.Domain, "weak.example")
	weak.Score, weak.Active = 29, 29
	return []gather.Item{
		item(stix.Domain, "evil.example"), item(stix.Domain, "xn--bcher-kva.example"), item(stix.Domain, "_dmarc.evil.example"), amber, weak,
		item(stix.Domain, "24.0.0.0.10.rpz-ip"), item(stix.Domain, "co.uk"),
		item(stix.DomainPort, "evil.example:8080"), item(stix.Email, "joe@evil.example"), item(stix.Filename, "a b.exe"),
		item(stix.IPv4, "45.1.2.3"), item(stix.IPv4, "45.1.2.4"), item(stix.IPv4, "8.8.8.8"), item(stix.IPv4, "10.0.0.1"),
		item(stix.IPv4CIDR, "45.1.2.0/30"), item(stix.IPv4CIDR, "45.1.2.4/30"), item(stix.IPv4CIDR, "8.0.0.0/8"),
		item(stix.IPv4Port, "45.1.2.3:8080"),
		item(stix.IPv6, "2a0f::1"), item(stix.IPv6, "2a0f:1:2:3:4:5:6:7"), item(stix.IPv6CIDR, "2a0f:1::/32"), item(stix.IPv6CIDR, "2a0f:1:0:1::/64"),
		item(stix.IPv6Port, "[2a0f::1]:8080"),
		item(stix.MD5, strings.Repeat("ab", 16)), item(stix.SHA1, strings.Repeat("ab", 20)), item(stix.SHA256, strings.Repeat("ab", 32)),
		item(stix.URL, "http://evil.example/a;b?c=\"|d'#frag"), item(stix.URL, "https://evil.example:8443"), item(stix.URL, "ftp://evil.example/x"),
	}
}

func TestFormats(t *testing.T) {
	for _, f := range Formats() {
		got, left := file(t, Format(f), lists(t), sample()...)
		again, _ := file(t, Format(f), lists(t), sample()...)
		if got != again {
			t.Errorf("%s: the same values gave other bytes", f)
		}
		golden := filepath.Join("testdata", f+".golden")
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\n%s\nwant\n%s", f, got, want)
		}
		if Format(f) == RPZ && (left[Listed] != 4 || left[Passive] != 1 || left[Score] != 1 || left[Form] != 1) {
			t.Errorf("%s left out %v", f, left)
		}
	}
	if _, err := NewWriter(&bytes.Buffer{}, "pdf", Options{}); err == nil {
		t.Error("an unknown format is written")
	}
}

// What a user lists is not put out, nor what covers it.
func TestUsersLists(t *testing.T) {
	set := lists(t, &warninglist.List{Name: "bank", Type: "hostname", Entries: []string{"www.bank.example"}}, &warninglist.List{Name: "own", Type: "cidr", Entries: []string{"45.9.9.9"}})
	for _, f := range []Format{List, RPZ, Suricata, NFTables} {
		for _, it := range []gather.Item{item(stix.Domain, "www.bank.example"), item(stix.Domain, "bank.example"), item(stix.Domain, "login.www.bank.example"), item(stix.IPv4, "45.9.9.9"), item(stix.IPv4CIDR, "45.9.0.0/16")} {
			if reason, _ := Judge(f, &it, 30, set); reason != Listed && reason != Kind {
				t.Errorf("%s holds %s: %v", f, it.Value, reason)
			}
		}
	}
	marked := item(stix.Domain, "www.bank.example")
	if reason, hit := Judge(JSONL, &marked, 30, set); reason != In || hit == nil || hit.List != "bank" {
		t.Errorf("jsonl: %v %v", reason, hit)
	}
}

func TestRPZNames(t *testing.T) {
	for in, want := range map[string]string{
		"45.1.2.3": "32.3.2.1.45.rpz-ip", "45.1.2.0/24": "24.0.2.1.45.rpz-ip",
		"2001:db8::1": "128.1.zz.db8.2001.rpz-ip", "2a0f::/32": "32.zz.2a0f.rpz-ip", "::1": "128.1.zz.rpz-ip", "::/0": "0.zz.rpz-ip",
		"2a0f:1:2:3:4:5:6:7": "128.7.6.5.4.3.2.1.2a0f.rpz-ip", "2a0f:0:2:3:4:5:6:7": "128.7.6.5.4.3.2.0.2a0f.rpz-ip",
		"evil.example": "evil.example", "rpz-ip.evil.example": "", "x.rpz-passthru": "",
		strings.Repeat("a.", 93) + "example": "",
	} {
		o, ok := stix.Canonical(in)
		if !ok {
			t.Fatal(in)
		}
		if got, _ := rpzName(o); want != "" && got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		} else if _, ok := rpzName(o); ok != (want != "") {
			t.Errorf("%s: %v", in, ok)
		}
	}
}

// The grammar of the part of Suricata's language that is written here: nothing else may stand in a
// line. Strings hold neither quotes nor semicolons nor backslashes, and hexadecimal bytes are whole.
var rule = regexp.MustCompile(`^alert (ip|tcp|udp|dns|tls|http) \$HOME_NET any (->|<>) (any|[0-9.]+(/[0-9]+)?|\[[0-9a-f:]+(/[0-9]+)?\]) (any|[0-9]{1,5}) ` +
	`\(msg:"[A-Za-z0-9 ._/\[\]?=&%-]+"; ` +
	`((flow:established,to_server|dns\.query|tls\.sni|http\.host|http\.uri\.raw|dotprefix|nocase|endswith|bsize:[0-9]+|content:"([A-Za-z0-9._/-]|\|[0-9A-F]{2}\|)+"); )*` +
	`sid:([0-9]+); rev:1;\)$`)

// strict checks a file against the grammar of its format, and that it holds so many values.
func strict(t interface {
	Errorf(string, ...any)
}, f Format, text string, n int) {
	got := 0
	sids := map[string]bool{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, l := range lines {
		ok := true
		switch f {
		case List, MD5, SHA1, SHA256:
			if text == "" {
				continue
			}
			got++
			ok = !strings.ContainsAny(l, " \t\r\x00")
		case RPZ:
			switch {
			case i == 0 || strings.HasPrefix(l, "; "):
			case i < 4:
				ok = l == "$TTL 300" || l == "@ SOA localhost. nobody.invalid. 4711 600 300 604800 300" || l == "@ NS localhost."
			default:
				name, end := strings.CutSuffix(l, " CNAME .")
				ok = end && regexp.MustCompile(`^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$`).MatchString(name)
				if !strings.HasPrefix(name, "*.") {
					got++
				}
			}
		case Suricata:
			if strings.HasPrefix(l, "# ") {
				continue
			}
			m := rule.FindStringSubmatch(l)
			if ok = m != nil; !ok {
				break
			}
			sid := m[len(m)-1]
			if v, err := strconv.ParseUint(sid, 10, 32); err != nil || v < sidFirst || sids[sid] {
				t.Errorf("signature id %s: %v", sid, err)
			}
			sids[sid] = true
			if m[1] != "tls" && m[1] != "udp" && (m[1] != "http" || strings.Contains(l, "http.uri.raw")) {
				got++
			}
		case NFTables:
			ok = regexp.MustCompile(`^(# .*|add table inet entente|add set inet entente v[46](_port)? \{ type ipv[46]_addr( \. inet_service)?;( flags interval;)? \}|flush set inet entente v[46](_port)?|add element inet entente v[46](_port)? \{|\t[0-9a-f.:]+(-[0-9a-f.:]+)?( \. [0-9]+)?,|\})$`).MatchString(l)
			if strings.HasPrefix(l, "\t") {
				got++
			}
		case JSONL:
			if text == "" {
				continue
			}
			var line Line
			got++
			ok = json.Unmarshal([]byte(l), &line) == nil
		}
		if !ok {
			t.Errorf("%s: line %d is not in the language: %q", f, i+1, l)
		}
	}
	if f == CSV {
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			t.Errorf("csv: %v", err)
			return
		}
		got = len(rows) - 1
	}
	if got != n {
		t.Errorf("%s holds %d values, want %d:\n%s", f, got, n, text)
	}
}

var kinds = []stix.Kind{stix.Domain, stix.DomainPort, stix.Email, stix.Filename, stix.IPv4, stix.IPv4CIDR, stix.IPv4Port, stix.IPv6, stix.IPv6CIDR, stix.IPv6Port,
	stix.MD5, stix.SHA1, stix.SHA256, stix.SHA512, stix.URL}

// No value can alter the syntax, whatever it says that it is.
func TestNoInjection(t *testing.T) {
	none := &warninglist.Set{}
	hostile := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9.:/;"{}|#\\\n\r\t $()\[\]@*=-]{1,40}`),
		rapid.Custom(func(t *rapid.T) string {
			v := rapid.SampledFrom([]string{"evil.example", "45.1.2.3", "45.1.2.0/24", "45.1.2.3:80", "2a0f::1", "2a0f::/32", "[2a0f::1]:80", "http://evil.example/x", "fe80::1%eth0"}).Draw(t, "value")
			at := rapid.IntRange(0, len(v)).Draw(t, "at")
			return v[:at] + rapid.SampledFrom([]string{"\n", "\r", "\"", ";", "}", "|", "\\", " ", "\n@ NS evil.", "\"; sid:1; rev:1;)\nalert ip any any -> any any (msg:\"x", "} ; flush ruleset ; {", "%0a", "\u0085", "\x00", "é"}).Draw(t, "inserted") + v[at:]
		}))
	rapid.Check(t, func(t *rapid.T) {
		it := item(rapid.SampledFrom(kinds).Draw(t, "kind"), hostile.Draw(t, "value"))
		for _, f := range Formats() {
			reason, hit := Judge(Format(f), &it, 30, none)
			var b bytes.Buffer
			w, err := NewWriter(&b, Format(f), Options{View: it.Value, Serial: 4711})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			if reason == In {
				n = 1
				if err := w.Write(&it, hit); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			strict(t, Format(f), b.String(), n)
		}
	})
}

func FuzzFormats(f *testing.F) {
	for _, it := range sample() {
		f.Add(string(it.Kind), it.Value)
	}
	f.Add("url", "http://a\"; sid:1;)/\n")
	f.Add("domain", "a}\n;b")
	f.Fuzz(func(t *testing.T, kind, value string) {
		it := item(stix.Kind(kind), value)
		for _, name := range Formats() {
			if reason, hit := Judge(Format(name), &it, 30, &warninglist.Set{}); reason == In {
				text, _ := file(t, Format(name), &warninglist.Set{}, it)
				strict(t, Format(name), text, 1)
				_ = hit
			}
		}
	})
}

func TestInert(t *testing.T) {
	for in, want := range map[string]string{
		"evil.example": "evil.example", "http://a/?x=1&y=-2": "http://a/?x=1&y=-2", "": "",
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", " =1": " '=1", "\u00a0=1": "\u00a0'=1", "\t=1": "'\t'=1", "＝1": "'＝1", "\ufeff=1": "\ufeff'=1",
		"http://a/;=cmd|' /C calc'!A0": "http://a/;'=cmd|' /C calc'!A0", "a;\"=1": "a;\"'=1", "a\n=1": "a\n'=1", "\"=1": "\"'=1",
	} {
		if got := Inert(in); got != want {
			t.Errorf("Inert(%q) = %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Inert(rapid.StringMatching(`[ab;"\t \n\r=+@-]{0,20}`).Draw(t, "s"))
		for cell := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ';' || r == '\t' || r == '\n' || r == '\r' }) {
			if cell = strings.TrimLeft(cell, " \""); cell != "" && strings.ContainsAny(cell[:1], "=+-@") {
				t.Fatalf("%q has a cell %q", s, cell)
			}
		}
	})
}

// Merged ranges hold the same addresses, and none twice.
func TestMerged(t *testing.T) {
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{45, 0, 0, byte(i)}) }
	rapid.Check(t, func(t *rapid.T) {
		var list []addresses
		want := map[netip.Addr]bool{}
		for range rapid.IntRange(0, 8).Draw(t, "n") {
			first := rapid.IntRange(0, 255).Draw(t, "first")
			last := rapid.IntRange(first, min(first+20, 255)).Draw(t, "last")
			list = append(list, addresses{first: addr(first), last: addr(last)})
			for i := first; i <= last; i++ {
				want[addr(i)] = true
			}
		}
		got := map[netip.Addr]bool{}
		var before *addresses
		for _, r := range merged(list) {
			if before != nil && before.last.Next().Compare(r.first) >= 0 {
				t.Fatalf("%v touches %v", *before, r)
			}
			before = &r
			for a := r.first; a.Compare(r.last) <= 0; a = a.Next() {
				got[a] = true
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
	end := []addresses{{first: netip.MustParseAddr("255.255.255.0"), last: netip.MustParseAddr("255.255.255.255")}, {first: netip.MustParseAddr("::"), last: netip.MustParseAddr("::")}}
	if len(merged(end)) != 2 {
		t.Error("the last address of IPv4 is not before the first of IPv6")
	}
}

func TestSignatureIDs(t *testing.T) {
	w := suricataWriter{used: map[uint32]bool{}}
	a := w.sid("rule a")
	if a < sidFirst || (&suricataWriter{used: map[uint32]bool{}}).sid("rule a") != a {
		t.Errorf("signature id %d", a)
	}
	if b := w.sid("rule a"); b == a {
		t.Error("a signature id was given twice")
	}
	if uint64(sidFirst)+sidCount-1 > 1<<32-2 {
		t.Error("signature ids leave 32 bits")
	}
}

// program runs a checker of the real thing, which is not installed everywhere.
func program(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				path = filepath.Join(dir, name)
			}
		}
	}
	if path == "" {
		t.Skipf("%s is not installed", name)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// many are values of all forms that the formats can write, hostile ones that passed included.
func many(t *testing.T, f Format) string {
	t.Helper()
	items := sample()
	for i := range 300 {
		items = append(items, item(stix.Domain, fmt.Sprintf("a%d-b_c.evil.example", i)), item(stix.IPv4, fmt.Sprintf("45.%d.%d.1", i%200, i%7)),
			item(stix.IPv4CIDR, netip.PrefixFrom(netip.AddrFrom4([4]byte{46, byte(i), 0, 0}), 13+i%19).Masked().String()),
			item(stix.IPv6CIDR, netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2a0f:%x:0:%x::", i, i%3)), 30+i%90).Masked().String()),
			item(stix.IPv6, fmt.Sprintf("2a0e:%x::%x:0:0:%x", i, i, i%2)))
	}
	seen := map[string]bool{}
	kept := items[:0]
	for _, it := range items {
		if o, ok := stix.Canonical(it.Value); ok && o.Kind == it.Kind && !seen[o.Value] || it.Kind == stix.Filename {
			seen[it.Value] = true
			kept = append(kept, it)
		}
	}
	text, _ := file(t, f, lists(t), kept...)
	return text
}

func TestBindLoadsTheZone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rpz.zone")
	if err := os.WriteFile(path, []byte(many(t, RPZ)), 0o644); err != nil {
		t.Fatal(err)
	}
	program(t, "named-checkzone", "-k", "fail", "-q", "rpz.entente.invalid", path)
}

func TestUnboundTakesTheZone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rpz.zone")
	conf := filepath.Join(dir, "unbound.conf")
	text := fmt.Sprintf("server:\n  chroot: \"\"\n  directory: %q\n  username: \"\"\n  module-config: \"respip iterator\"\nrpz:\n  name: rpz.entente.invalid\n  zonefile: %q\n", dir, path)
	if err := os.WriteFile(path, []byte(many(t, RPZ)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	program(t, "unbound-checkconf", conf)
}

// A real resolver answers what the zone says: names, what is below them, and answers that hold an address.
func TestUnboundBlocks(t *testing.T) {
	unbound, err := exec.LookPath("unbound")
	if err != nil {
		if unbound = "/usr/sbin/unbound"; !exists(unbound) {
			t.Skip("unbound is not installed")
		}
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().String()
	conn.Close()
	dir := t.TempDir()
	zone, _ := file(t, RPZ, lists(t), sample()...)
	upstream := "$TTL 60\n@ SOA localhost. nobody.invalid. 1 600 300 604800 300\n@ NS localhost.\n" +
		"four A 45.1.2.3\nin4 A 45.1.2.2\nsix AAAA 2a0f::1\nin6 AAAA 2a0f:1:0:1:2:3:4:5\nfine A 45.9.9.9\n"
	_, port, _ := strings.Cut(addr, ":")
	conf := fmt.Sprintf("server:\n  interface: 127.0.0.1\n  port: %s\n  chroot: \"\"\n  username: \"\"\n  directory: %q\n  pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n  module-config: \"respip iterator\"\n"+
		"rpz:\n  name: rpz.entente.invalid\n  zonefile: \"rpz.zone\"\nauth-zone:\n  name: \"up.example\"\n  zonefile: \"up.zone\"\n  for-downstream: no\n  for-upstream: yes\nremote-control:\n  control-enable: no\n", port, dir)
	for name, text := range map[string]string{"rpz.zone": zone, "up.zone": upstream, "unbound.conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), unbound, "-d", "-c", filepath.Join(dir, "unbound.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", addr)
	}}
	look := func(name string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		a, err := r.LookupHost(ctx, name)
		return strings.Join(a, " "), err
	}
	for begun := time.Now(); ; {
		got, err := look("fine.up.example.")
		if got == "45.9.9.9" {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("unbound does not answer: %q %v", got, err)
		}
	}
	for _, name := range []string{"evil.example.", "a.b.evil.example.", "four.up.example.", "in4.up.example.", "six.up.example.", "in6.up.example."} {
		got, err := look(name)
		var dns *net.DNSError
		if got != "" || !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("%s is answered with %q, %v", name, got, err)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestNFTablesTakesTheSets(t *testing.T) {
	dir := t.TempDir()
	empty, path := filepath.Join(dir, "empty.nft"), filepath.Join(dir, "sets.nft")
	if err := os.WriteFile(empty, []byte("add table inet entente\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(many(t, NFTables)), 0o644); err != nil {
		t.Fatal(err)
	}
	nft := "/usr/sbin/nft"
	if _, err := os.Stat(nft); err != nil {
		t.Skip("nft is not installed")
	}
	if out, err := exec.Command(nft, "-c", "-f", empty).CombinedOutput(); err != nil {
		t.Skipf("nft may not speak to the kernel here: %s", out)
	}
	program(t, "nft", "-c", "-f", path)
}

func BenchmarkWrite(b *testing.B) {
	set := lists(b)
	for _, f := range []Format{List, RPZ, Suricata, NFTables} {
		b.Run(string(f), func(b *testing.B) {
			w, err := NewWriter(discard{}, f, Options{})
			if err != nil {
				b.Fatal(err)
			}
			for i := range b.N {
				it := item(stix.Domain, fmt.Sprintf("a%d.evil.example", i))
				if f == NFTables {
					it = item(stix.IPv4, netip.AddrFrom4([4]byte{45, byte(i >> 16), byte(i >> 8), byte(i)}).String())
				}
				if reason, hit := Judge(f, &it, 30, set); reason == In {
					_ = w.Write(&it, hit)
				}
			}
			_ = w.Close()
		})
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
