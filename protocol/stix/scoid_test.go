package stix

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// TestSCOID: the identifiers of the standard's examples, as they stand in STIX 6 of its Errata 01 (the
// text of 2021 has others there, which follow no rule), and those of the tests of OASIS's
// cti-python-stix2 (test_deterministic_ids.py). Two examples of files that refer to other objects are
// left out: their identifiers do not follow from what contributes by the same text.
func TestSCOID(t *testing.T) {
	for want, raw := range map[string]string{
		"autonomous-system--3aa27478-50b5-5ab8-9da9-cdc12b657fff": `{"type":"autonomous-system","number":15139,"name":"Slime Industries","rir":"ARIN"}`,
		"directory--0a58d0c1-59e6-5afd-8252-dcd3f13e5622":         `{"type":"directory","path":"C:\\Windows\\System32"}`,
		"domain-name--bedb4899-d24b-5401-bc86-8f6b4cc18ec7":       `{"type":"domain-name","value":"example.com"}`,
		"email-addr--7165e2a9-671f-585d-b1e1-ca59c671d934":        `{"type":"email-addr","value":"john@example.com","display_name":"John Doe"}`,
		"ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4":         `{"type":"ipv4-addr","value":"198.51.100.3"}`,
		"ipv6-addr--85a85a8c-ee99-5722-946d-3c3a3270fc6f":         `{"type":"ipv6-addr","value":"2001:0db8:85a3:0000:0000:8a2e:0370:7334"}`,
		"mac-addr--757b1725-9903-54f5-a855-1240691d7659":          `{"type":"mac-addr","value":"d2:fb:49:24:37:18"}`,
		"mutex--f93fe911-e545-5239-b9b0-597840d0c871":             `{"type":"mutex","name":"__CLEANSWEEP__"}`,
		"url--47c3cf9a-5027-5bf0-997a-017c7edc7c55":               `{"type":"url","value":"https://example.com/research/index.html"}`,
		"ipv6-addr--084d3b4c-7785-568a-a569-0c61c95754ab":         `{"type":"ipv6-addr","value":"2001:0db8::/96"}`,
		"file--949eb97a-da1e-5292-8959-03c4249dc9f3":              `{"type":"file","hashes":{"SHA-256":"fe90a7e910cb3a4739bed9180e807e93fa70c90f25a8915476f5e4bfbac681db"},"size":25536,"name":"foo.dll"}`,
		"file--7d1e3a18-89e7-5bc5-be36-9879f5b7f5c8":              `{"type":"file","hashes":{"SHA-256":"841a8921140aba50671ebb0770fecc4ee308c4952cfeff8de154ab14eeef4649"},"name":"quêry.dll","name_enc":"windows-1252"}`,
		"file--70221dbf-52fd-5377-9619-c0ce6b3ffc8c":              `{"type":"file","hashes":{"SHA-256":"ceafbfd424be2ca4a5f0402cae090dda2fb0526cf521b60b60077c0f622b285a"}}`,
		"file--ba04c974-3cef-5f42-adc7-084d467874e2":              `{"type":"file","hashes":{"SHA-256":"35a01331e9ad96f751278b891b6ea09699806faedfa237d40513d92ad1b7100f"},"extensions":{"ntfs-ext":{"alternate_data_streams":[{"name":"second.stream","size":25536}]}}}`,
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
