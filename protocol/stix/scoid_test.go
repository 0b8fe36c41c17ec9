package stix

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// TestSCOID: the identifiers in the standard's examples (STIX 6, each under Examples), and those of
// the tests of OASIS's cti-python-stix2 (test_deterministic_ids.py).
func TestSCOID(t *testing.T) {
	for want, raw := range map[string]string{
		"autonomous-system--f720c34b-98ae-597f-ade5-27dc241e8c74": `{"type":"autonomous-system","number":15139,"name":"Slime Industries","rir":"ARIN"}`,
		"directory--93c0a9b0-520d-545d-9094-1a08ddf46b05":         `{"type":"directory","path":"C:\\Windows\\System32"}`,
		"domain-name--3c10e93f-798e-5a26-a0c1-08156efab7f5":       `{"type":"domain-name","value":"example.com"}`,
		"email-addr--2d77a846-6264-5d51-b586-e43822ea1ea3":        `{"type":"email-addr","value":"john@example.com","display_name":"John Doe"}`,
		"ipv4-addr--ff26c055-6336-5bc5-b98d-13d6226742dd":         `{"type":"ipv4-addr","value":"198.51.100.3"}`,
		"ipv6-addr--1e61d36c-a16c-53b7-a80f-2a00161c96b1":         `{"type":"ipv6-addr","value":"2001:0db8:85a3:0000:0000:8a2e:0370:7334"}`,
		"mac-addr--65cfcf98-8a6e-5a1b-8f61-379ac4f92d00":          `{"type":"mac-addr","value":"d2:fb:49:24:37:18"}`,
		"mutex--eba44954-d4e4-5d3b-814c-2b17dd8de300":             `{"type":"mutex","name":"__CLEANSWEEP__"}`,
		"software--a1827f6d-ca53-5605-9e93-4316cd22a00a":          `{"type":"software","name":"Word","cpe":"cpe:2.3:a:microsoft:word:2000:*:*:*:*:*:*:*","version":"2002","vendor":"Microsoft"}`,
		"url--c1477287-23ac-5971-a010-5c287877fa60":               `{"type":"url","value":"https://example.com/research/index.html"}`,
		"file--ced31cd4-bdcb-537d-aefa-92d291bfc11d": `{"type":"file","name":"example.exe","size":68000,"magic_number_hex":"50000000",` +
			`"hashes":{"SHA-256":"841a8921140aba50671ebb0770fecc4ee308c4952cfeff8de154ab14eeef4649"},"extensions":{"windows-pebinary-ext":{"pe_type":"exe","machine_hex":"014c",` +
			`"sections":[{"name":".data","size":4096,"entropy":7.980693,"hashes":{"SHA-256":"6e3b6f3978e5cd96ba7abee35c24e867b7e64072e2ecb22d0ee7a6e6af6894d0"}}]}}}`,
		"windows-registry-key--36594eba-bcc7-5014-9835-0e154264e588": `{"type":"windows-registry-key","values":[{"name":"Foo","data":"qwerty"},{"name":"Bar","data":"42"}]}`,
	} {
		got, err := SCOID([]byte(raw))
		if err != nil || got != want {
			t.Errorf("%s\nis %s, %v, want %s", raw, got, err, want)
		}
	}
}

// TestSCOIDContributes: one hash is taken, by preference and then by name; what does not contribute
// changes nothing, nor how the object is written.
func TestSCOIDContributes(t *testing.T) {
	id := func(raw string) string {
		t.Helper()
		s, err := SCOID([]byte(raw))
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		return s
	}
	const md5, sha1, sha256 = `"MD5":"0c"`, `"SHA-1":"0d"`, `"SHA-256":"0e"`
	for _, same := range [][2]string{
		{`{"type":"file","hashes":{` + sha256 + `,` + sha1 + `,` + md5 + `}}`, `{"type":"file","hashes":{` + md5 + `}}`},
		{`{"type":"file","hashes":{` + sha256 + `,` + sha1 + `}}`, `{"type":"file","hashes":{` + sha1 + `}}`},
		{`{"type":"file","hashes":{"TLSH":"1","SHA-512":"2","SSDEEP":"3"}}`, `{"type":"file","hashes":{"SHA-512":"2"}}`},
		{`{"type":"file","hashes":{"TLSH":"1","SSDEEP":"3"}}`, `{"type":"file","hashes":{"SSDEEP":"3"}}`},
		{`{"type":"file","name":"x","size":7}`, `{ "size" : 8, "name" : "\u0078", "type" : "file", "id" : "file--x" }`},
		{`{"type":"network-traffic","protocols":["tcp"],"src_port":80,"is_active":true}`, `{"type":"network-traffic","src_port":8e1,"protocols":[ "tcp" ]}`},
		{`{"type":"process","pid":1}`, `{"type":"email-message","is_multipart":false}`}, // nothing contributes
	} {
		if a, b := id(same[0]), id(same[1]); a != b {
			t.Errorf("%s is %s\n%s is %s", same[0], a, same[1], b)
		}
	}
	for _, other := range [][2]string{
		{`{"type":"file","name":"x"}`, `{"type":"file","name":"y"}`},
		{`{"type":"file","name":"x"}`, `{"type":"file","name":"x","parent_directory_ref":"directory--1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"}`},
		{`{"type":"network-traffic","protocols":["tcp"],"end":"2026-01-02T03:04:05Z"}`, `{"type":"network-traffic","protocols":["tcp"]}`},
		{`{"type":"software","name":"x","swid":"y"}`, `{"type":"software","name":"x"}`},
	} {
		if id(other[0]) == id(other[1]) {
			t.Errorf("%s has the id of %s", other[0], other[1])
		}
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"type":"tool"}`, `{"type":"x-foo"}`, `{"type":"file","name":"x","name":"y"}`, `{"type":"file","name":"` + "\xff" + `"}`,
		strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64)} {
		if s, err := SCOID([]byte(bad)); err == nil {
			t.Errorf("%q has the id %s", bad, s)
		}
	}
	if s, err := SCOID([]byte(`{"type":"windows-registry-key","key":"x","values":[{"name":"a","name":"b"}]}`)); s != "" || err != nil {
		t.Errorf("a name twice inside is brought into one form: %s %v", s, err)
	}
}

// TestCanonicalize: the example of RFC 8785, 3.2.2 and 3.2.3.
func TestCanonicalize(t *testing.T) {
	const in = `{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}`
	const want = `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`
	if got, err := Canonicalize([]byte(in)); err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	const sorted = `{"\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis","\u20ac":"Euro Sign","\ud83d\ude00":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}`
	got, err := Canonicalize([]byte(`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`))
	want2, _ := jsontext.AppendFormat(nil, []byte(sorted), jsontext.CanonicalizeRawInts(true))
	if err != nil || !bytes.Equal(got, want2) {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{``, `{`, `{"a":1,"a":2}`, "\"\xff\"", `"\ud800"`} {
		if got, err := Canonicalize([]byte(bad)); err == nil {
			t.Errorf("%q is %s", bad, got)
		}
	}
}

// FuzzCanonicalize: a canonical form says the same, is its own canonical form, and does not depend on
// how the value was written.
func FuzzCanonicalize(f *testing.F) {
	for _, s := range []string{`{"b":[1,2.50,1e400],"a":"\u00e9"}`, `"\ud83d\ude00"`, `-0`, `123456789012345678901234567890`, `[{},[],null,true]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		got, err := Canonicalize(data)
		if !bytes.Equal(data, before) {
			t.Fatal("it changed what it was given")
		}
		if err != nil {
			return
		}
		again, err := Canonicalize(got)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q becomes %q, and that %q, %v", data, got, again, err)
		}
		var x, y any
		if json.Unmarshal(data, &x) == nil && (json.Unmarshal(got, &y) != nil || !reflect.DeepEqual(x, y)) {
			t.Fatalf("%q becomes %q, which says something else", data, got)
		}
		var spaced bytes.Buffer
		if json.Indent(&spaced, data, " ", "\t") == nil {
			if other, err := Canonicalize(spaced.Bytes()); err != nil || !bytes.Equal(other, got) {
				t.Fatalf("%q becomes %q, and with white space %q", data, got, other)
			}
		}
	})
}
