package stix

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// The tests of this file hold the package to oracle_test.go, which is what it was before it
// was made fast: on whatever input, both give the same values and the same errors.

// sameError compares messages and classes.
func sameError(got, want error) error {
	if (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
		return fmt.Errorf("error %v, want %v", got, want)
	}
	for _, class := range []error{protocol.ErrMalformed, protocol.ErrOversize} {
		if errors.Is(got, class) != errors.Is(want, class) {
			return fmt.Errorf("%v is of the class %s, want %s", got, protocol.Class(got), protocol.Class(want))
		}
	}
	return nil
}

// sameObject compares the fields of two objects, what Text says, and their observables.
func sameObject(got *Object, want *oldObject) error {
	if (got == nil) != (want == nil) {
		return fmt.Errorf("object %v, want %v", got, want)
	}
	if got == nil {
		return nil
	}
	if !bytes.Equal(got.Raw, want.Raw) || got.ID != want.ID || got.Type != want.Type || got.Created != want.Created ||
		got.Modified != want.Modified || got.Revoked != want.Revoked || got.Line != want.Line ||
		!reflect.DeepEqual(got.Refs, want.Refs) || !reflect.DeepEqual(got.Markings, want.Markings) {
		return fmt.Errorf("read %+v, want %+v", got, want)
	}
	var members []member
	for _, s := range got.spans {
		members = append(members, member{name: s.nameIn(got.source), offset: int(s.value), value: got.source[s.value:s.end]})
	}
	if err := sameMembers(members, want.members); err != nil {
		return err
	}
	for _, m := range want.members {
		if g, w := got.Text(m.name), want.Text(m.name); g != w {
			return fmt.Errorf("text of %q is %q, want %q", m.name, g, w)
		}
	}
	if g, w := Observables(got), oldObservables(want); !slices.Equal(g, w) {
		return fmt.Errorf("observables %q, want %q", g, w)
	}
	return nil
}

// sameMembers compares the properties of two objects and of what is in them.
func sameMembers(got []member, want []oldMember) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d members, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if string(g.name) != w.name || g.offset != w.offset || !bytes.Equal(g.value, w.value) {
			return fmt.Errorf("member %q: %s, want %q: %s", g.name, g.value, w.name, w.value)
		}
		if err := sameValue(w.value); err != nil {
			return fmt.Errorf("%q: %w", w.name, err)
		}
	}
	return nil
}

// sameValue compares how a valid JSON value is taken apart.
func sameValue(v json.RawMessage) error {
	gotText, gotOK := text(v)
	wantText, wantOK := oldText(v)
	if gotText != wantText || gotOK != wantOK {
		return fmt.Errorf("text %q %v, want %q %v", gotText, gotOK, wantText, wantOK)
	}
	switch v[0] {
	case '{':
		got, err := splitMembers(v)
		want, wantErr := oldSplitMembers(v)
		if err := sameError(err, wantErr); err != nil {
			return err
		}
		return sameMembers(got, want)
	case '[':
		var got, want []string
		var bad error
		err := splitElements(v, func(at int, e []byte) {
			got = append(got, fmt.Sprint(at, string(e)))
			if err := sameValue(e); bad == nil {
				bad = err
			}
		})
		wantErr := oldSplitElements(v, func(at int, e []byte) { want = append(want, fmt.Sprint(at, string(e))) })
		if !slices.Equal(got, want) {
			return fmt.Errorf("elements %q, want %q", got, want)
		}
		return errors.Join(bad, sameError(err, wantErr))
	}
	return nil
}

// sameParse compares everything that is done with bytes from outside.
func sameParse(data []byte) error {
	kept := bytes.Clone(data)
	got, err := Parse(data)
	want, wantErr := oldParse(data)
	if err := sameError(err, wantErr); err != nil {
		return fmt.Errorf("Parse: %w", err)
	}
	if err := sameObject(got, want); err != nil {
		return fmt.Errorf("Parse: %w", err)
	}

	objects, problems, err := ParseBundle(data)
	wantObjects, wantProblems, wantErr := oldParseBundle(data)
	if err := sameError(err, wantErr); err != nil {
		return fmt.Errorf("ParseBundle: %w", err)
	}
	if len(objects) != len(wantObjects) || len(problems) != len(wantProblems) {
		return fmt.Errorf("ParseBundle: %d objects and %d problems, want %d and %d",
			len(objects), len(problems), len(wantObjects), len(wantProblems))
	}
	for i := range objects {
		if err := sameObject(objects[i], wantObjects[i]); err != nil {
			return fmt.Errorf("ParseBundle: object %d: %w", i, err)
		}
	}
	for i := range problems {
		if err := sameError(problems[i], wantProblems[i]); err != nil {
			return fmt.Errorf("ParseBundle: problem %d: %w", i, err)
		}
	}
	if !bytes.Equal(data, kept) {
		return errors.New("the bytes given were changed")
	}
	return nil
}

// sameCanonical compares everything that is done with a line of a list or a value.
func sameCanonical(s string) error {
	got, ok := Canonical(s)
	want, wantOK := oldCanonical(s)
	if got != want || ok != wantOK {
		return fmt.Errorf("Canonical: %q %v, want %q %v", got, ok, want, wantOK)
	}
	gotLine, entry, ok := Detect(s)
	wantLine, wantEntry, wantOK := oldDetect(s)
	if gotLine != wantLine || entry != wantEntry || ok != wantOK {
		return fmt.Errorf("Detect: %q %q %v, want %q %q %v", gotLine, entry, ok, wantLine, wantEntry, wantOK)
	}
	for _, o := range []Observable{got, {Filename, s}, {URL, s}, {DomainPort, s}} {
		host, ok := o.Host()
		wantHost, wantOK := oldHost(o)
		if host != wantHost || ok != wantOK {
			return fmt.Errorf("host of %q: %q %v, want %q %v", o, host, ok, wantHost, wantOK)
		}
	}
	for _, o := range []Observable{got, {Filename, s}} {
		if o.Value == "" {
			continue
		}
		i, err := indicatorOf(o).Object()
		w, wantErr := oldIndicatorObject(indicatorOf(o))
		if err := sameError(err, wantErr); err != nil {
			return fmt.Errorf("indicator of %q: %w", o, err)
		}
		if err := sameObject(i, w); err != nil {
			return fmt.Errorf("indicator of %q: %w", o, err)
		}
	}
	return nil
}

// indicatorOf puts a value wherever an indicator has text.
func indicatorOf(o Observable) Indicator {
	return Indicator{ID: "indicator--" + uuidA, Created: "2026-01-02T03:04:05Z", Modified: "2026-01-02T03:04:05Z",
		ValidFrom: "2026-01-02T03:04:05Z", CreatedBy: o.Value, Name: o.Value, Description: o.Value,
		Labels: []string{o.Value, ""}, Markings: nil, Pattern: Pattern(o)}
}

// FuzzSameParse: the package reads what the oracle reads.
func FuzzSameParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := sameParse(data); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSameCanonical: the package recognises what the oracle recognises.
func FuzzSameCanonical(f *testing.F) {
	for _, s := range values {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := sameCanonical(s); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

// FuzzSamePattern: the package takes out of a pattern what the oracle takes.
func FuzzSamePattern(f *testing.F) {
	f.Add(`[ipv4-addr:value = '192.0.2.1' AND file:hashes.'SHA-1' IN ('a', 'b')]`)
	f.Add(`[a:b[*].'c' = 'x\'] FOLLOWEDBY [`)
	f.Add(`[network-traffic:dst_ref.value = 'bad.example' AND network-traffic:dst_port = 80]`)
	f.Fuzz(func(t *testing.T, pattern string) {
		var got []oldComparison
		comparisons(pattern, func(c comparison) { got = append(got, oldComparison(c)) })
		if want := oldComparisons(pattern); !slices.Equal(got, want) {
			t.Fatalf("comparisons %v, want %v", got, want)
		}
		i := indicatorOf(Observable{Filename, "x"})
		i.Pattern = pattern
		o, err := i.Object()
		want, wantErr := oldIndicatorObject(i)
		if err := errors.Join(sameError(err, wantErr), sameObject(o, want)); err != nil {
			t.Fatal(err)
		}
	})
}

// seeds are objects and bundles that reach the corners of the package.
func seeds(t testing.TB) [][]byte {
	const times = `"spec_version":"2.1","created":"2026-01-02T03:04:05Z","modified":"2026-01-02T03:04:05Z"`
	list := [][]byte{
		sample(t, "", ""),
		sample(t, `"x_custom"`, `"object_marking_refs":["marking-definition--`+uuidA+`","marking-definition--`+uuidB+`"],"revoked":true,"x_custom"`),
		sample(t, `"x_custom"`, `"granular_markings":[{"lang":"th"},{"marking_ref":"marking-definition--`+uuidA+`","selectors":["a"]}],"x_custom"`),
		sample(t, `"type"`, `"t\u0079pe"`),
		sample(t, `"x_custom"`, `"created_by_ref":"identity--`+uuidA+`","x_refs":["tool--`+uuidA+`",1,"",null],"x_custom"`),
		sample(t, `"x_custom"`, `"name":"\ud800 \ud83d\ude00 \udc00\ud800 \\ \" \/ \b\f\n\r\t","x_custom"`),
		sample(t, `05.678Z`, `05.6789999999999Z`),
		sample(t, `[1,`, `[-0,0.5e+10,1E-2,true,false,null,[[]],{},`),
		sample(t, `[1,`, strings.Repeat("[", 28)+"1"+strings.Repeat("]", 28)+`,"b":[`),
		sample(t, `[1,`, strings.Repeat("[", 31)+"1"+strings.Repeat("]", 31)+`,"b":[`),
		[]byte(`{"type":"ipv4-addr","id":"ipv4-addr--` + uuidA + `","value":"192.0.2.1"}`),
		[]byte(`{"type":"file","id":"file--` + uuidA + `","name":"a.exe","hashes":{"SHA-1":"` + strings.Repeat("a", 40) + `","MD5":"` + strings.Repeat("A", 32) + `","MD5":1}}`),
		[]byte(`{"type":"observed-data",` + times + `,"id":"observed-data--` + uuidA + `","first_observed":"2026-01-02T03:04:05Z","last_observed":"2026-01-02T03:04:05Z","number_observed":1,` +
			`"objects":{"1":{"type":"url","value":"http://bad.example/"},"0":{"type":"ipv4-addr","value":"192.0.2.1"},"2":null,"0":{"type":"domain-name","value":"bad.example"}}}`),
		[]byte(`{"type":"observed-data",` + times + `,"id":"observed-data--` + uuidA + `","first_observed":"2026-01-02T03:04:05Z","last_observed":"2026-01-02T03:04:05Z","number_observed":1,` +
			`"objects":{"0":1,"0":{"type":"ipv4-addr","value":"192.0.2.1","value":2},"1":{"type":"url","type":1,"value":"http://bad.example/","x":1e999}}}`),
		[]byte(`{"type":"relationship",` + times + `,"id":"relationship--` + uuidA + `","relationship_type":"uses","source_ref":"malware--` + uuidA + `","target_ref":"tool--` + uuidB + `"}`),
		[]byte(`{"type":"marking-definition",` + times + `,"id":"marking-definition--` + uuidA + `","name":"TLP:AMBER_STRICT"}`),
		[]byte(`[` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `]`),
		[]byte(`[` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `]`),
		[]byte("{\"\xff\":1,\"\xfe\":2}"),
		[]byte("\xef\xbb\xbf [1,\"x\\u12\"]"),
		[]byte(`{"type":"x-many","id":"x-many--` + uuidA + `","object_marking_refs":[` + manyMarkings(40) + `],"granular_markings":[{"marking_ref":"marking-definition--` + uuidA + `"}]}`),
		manyMembers(63, ""), manyMembers(64, ""), manyMembers(65, ""), manyMembers(200, "x64"), manyMembers(200, "x3"),
	}
	bundle := append([]byte("{\"type\":\"bundle\",\n\"objects\":[\n"), bytes.Join(list[:8], []byte(",\n"))...)
	return append(list, append(bundle, "\n]}"...))
}

// manyMembers returns an object with n more properties, x0 and so on, and one more if a name
// is given.
func manyMembers(n int, name string) []byte {
	b := []byte(`{"type":"x-many","id":"x-many--` + uuidA + `"`)
	for i := range n {
		b = fmt.Appendf(b, `,"x%d":%d`, i, i)
	}
	if name != "" {
		b = fmt.Appendf(b, `,%q:1`, name)
	}
	return append(b, '}')
}

// manyMarkings returns n ids, of which every second is again that before.
func manyMarkings(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"marking-definition--%08d%s"`, i/2, uuidA[8:]))
	}
	return strings.Join(list, ",")
}

var values = []string{
	"192.0.2.1", "192.0.2.300", "192.0.2.0/24", "192.0.2.77/24", "192.0.2.1/32", "192.0.2.1/33", "192.0.2.1/x.exe", "192.0.2.1:80",
	"192.0.2.1:080", "192.0.2.1:0", "0x7f.1", "::1", "2001:DB8::1", "[2001:db8::1]", "[2001:db8::1]:80", "2001:db8::/33", "::ffff:192.0.2.1",
	"::ffff:192.0.2.1/96", "fe80::1%eth0", "[::ffff:192.0.2.1]:80", "hxxp://bad[.]example/x", "hXXps[:]//bad.example", "fxp://a.example/",
	"hxxp[:x", "hxxpſ://bad.example/", "FTP://A@B.Example:21/x?y#z", "http://[2001:DB8::1]:80/", "http://localhost/", "a+b://bad.example",
	"1a://bad.example", "a://bad.example", "bad.example", "Bad.Example.", "bad.example/x", "bad.example?x", "bad.example:443", "-bad.example",
	"bücher.example", "KELVIN.example", "İ.example", "a.exe", ".exe", "exe", "a.exe.", "joe[at]bad.example", "Joe@Bad.example", "joe`@bad.example",
	strings.Repeat("a", 32), strings.Repeat("F", 40), strings.Repeat("0", 64), strings.Repeat("g", 64), strings.Repeat("b", 128),
	"a b", "a\u00a0b", "a\u0085", "\xff", "\"bad.example\"", "bad.example # comment", "#", "bad.example\tx", "0.0.0.0 bad.example", "127.0.0.1,x",
	"http://bad.example/a'b\\c", "[[.].]", "bad[(.)]example", "_dmarc.bad.example", "a..b", strings.Repeat("a", 64) + ".example", "1.2.3.4.5", "dead:beef",
}

func TestSameSeeds(t *testing.T) {
	for _, seed := range seeds(t) {
		if err := sameParse(seed); err != nil {
			t.Errorf("%s: %v", clip(string(seed)), err)
		}
	}
	for _, s := range values {
		if err := sameCanonical(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestSameEveryByte puts every byte at every place of an object, and cuts it everywhere.
func TestSameEveryByte(t *testing.T) {
	raw := sample(t, `"x_custom"`, `"object_marking_refs":["marking-definition--`+uuidA+`"],"revoked":true,"x_custom"`)
	for i := range raw {
		changed := bytes.Clone(raw)
		for c := range 256 {
			changed[i] = byte(c)
			got, err := Parse(changed)
			want, wantErr := oldParse(changed)
			if err := errors.Join(sameError(err, wantErr), sameObject(got, want)); err != nil {
				t.Fatalf("%s: %v", changed, err)
			}
		}
		if err := sameParse(raw[:i]); err != nil {
			t.Fatalf("%s: %v", raw[:i], err)
		}
	}
}

// jsonText draws JSON, not always valid: names and strings that mean something to Parse, in
// all the ways to write them.
func jsonText(depth int) *rapid.Generator[string] {
	str := rapid.OneOf(
		rapid.SampledFrom([]string{`"type"`, `"id"`, `"t\u0079pe"`, `"spec_version"`, `"2.1"`, `"created"`, `"modified"`, `"revoked"`,
			`"indicator"`, `"file"`, `"x-thing"`, `"observed-data"`, `"pattern"`, `"pattern_type"`, `"stix"`, `"valid_from"`, `"value"`,
			`"name"`, `"hashes"`, `"objects"`, `"object_marking_refs"`, `"granular_markings"`, `"marking_ref"`, `"lang"`, `"x_ref"`, `"x_refs"`,
			`"2026-01-02T03:04:05Z"`, `"2026-02-29T03:04:05.5Z"`, `"indicator--` + uuidA + `"`, `"marking-definition--` + uuidB + `"`,
			`"x-thing--` + uuidA + `"`, `"file--` + uuidA + `"`, `"192.0.2.1"`, `"bad.example:80"`, `"[domain-name:value = 'bad.example']"`,
			`""`, `"\ud800"`, `"\ud83d\ude00"`, `"\u0000"`, `"\x"`, `"\u12"`, "\"\x01\"", "\"\x7f\"", "\"\xff\"", "\"é\"", `"`}),
		rapid.Map(rapid.String(), func(s string) string { return string(marshal(s)) }))
	scalar := rapid.OneOf(str, rapid.SampledFrom([]string{"true", "false", "null", "0", "-1", "1.5e3", "1e999", "01", "1.", "-", "nul", ""}))
	if depth == 0 {
		return scalar
	}
	space := rapid.SampledFrom([]string{"", "", "", " ", "\n", "\t\r"})
	inner := jsonText(depth - 1)
	list := rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		b.WriteString("[" + space.Draw(t, "space"))
		for i := range rapid.IntRange(0, 4).Draw(t, "elements") {
			if i > 0 {
				b.WriteString("," + space.Draw(t, "space"))
			}
			b.WriteString(inner.Draw(t, "element") + space.Draw(t, "space"))
		}
		return b.String() + "]"
	})
	object := rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		b.WriteString("{" + space.Draw(t, "space"))
		for i := range rapid.IntRange(0, 8).Draw(t, "members") {
			if i > 0 {
				b.WriteString("," + space.Draw(t, "space"))
			}
			b.WriteString(str.Draw(t, "name") + space.Draw(t, "space") + ":" + space.Draw(t, "space") + inner.Draw(t, "value") + space.Draw(t, "space"))
		}
		return b.String() + "}"
	})
	return rapid.OneOf(scalar, list, object, object)
}

func TestPropsSameParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := []byte(jsonText(3).Draw(t, "JSON"))
		if err := sameParse(data); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	})
}

// TestPropsSameMutated changes objects that are accepted, so that what is behind the first
// check is reached too.
func TestPropsSameMutated(t *testing.T) {
	list := seeds(t)
	list = slices.DeleteFunc(list, func(b []byte) bool { return len(b) > 5000 })
	inner := jsonText(2)
	rapid.Check(t, func(t *rapid.T) {
		data := bytes.Clone(rapid.SampledFrom(list).Draw(t, "object"))
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			if len(data) == 0 {
				return
			}
			at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
			end := min(len(data), at+rapid.IntRange(0, 20).Draw(t, "length"))
			if rapid.Bool().Draw(t, "whole value") { // from one quote to the next
				if i := bytes.IndexByte(data[at:], '"'); i >= 0 {
					at += i
					end = at + 1 + bytes.IndexByte(data[at+1:], '"') + 1
					if end <= at+1 {
						end = len(data)
					}
				}
			}
			data = slices.Replace(data, at, end, []byte(inner.Draw(t, "JSON"))...)
		}
		if err := sameParse(data); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	})
}

func TestPropsSameCanonical(t *testing.T) {
	part := rapid.OneOf(rapid.SampledFrom([]string{"http", "hxxp", "://", ":", "/", ".", "[.]", "[", "]", "@", "192.0.2.1", "2001:db8::1",
		"bad", "example", "exe", "80", "0", "?", "#", " ", "\t", ",", "ü", "_", "-", "%", "::", "aaaaaaaa", "'", "\\", "(dot)", "K", "İ", "ſ"}),
		rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(part, 0, 9).Draw(t, "parts"), "")
		if err := sameCanonical(s); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

// sharedData returns the folder of public data, which is not part of the project.
func sharedData(t testing.TB) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public data set is not beside the project (../shared/data); nothing to compare with")
	}
	return dir
}

// TestSameShared reads all of the public data.
func TestSameShared(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedData(t), "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) == ".json" {
			if err := sameParse(data); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		for line := 1; lines.Scan(); line++ {
			if s := lines.Text(); utf8.ValidString(s) {
				if err := sameCanonical(s); err != nil {
					t.Fatalf("%s:%d: %v", name, line, err)
				}
			}
		}
	}
}
