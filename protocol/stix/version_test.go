package stix

import (
	"strings"
	"testing"
)

// TestNewVersion: who follows whom (STIX 3.6).
func TestNewVersion(t *testing.T) {
	read := func(raw string) *Object {
		t.Helper()
		o, err := Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	first := sdo("tool", `,"name":"x"`)
	change := func(old, new string) string { return strings.Replace(first, old, new, 1) }
	later := strings.Replace(first, `"modified":"2026-01-02`, `"modified":"2026-01-03`, 1)
	marking := strings.Replace(sdo("marking-definition", `,"definition_type":"statement","definition":{"statement":"x"}`), `,"modified":"2026-01-02T03:04:05.000Z"`, "", 1)
	const creator = `,"created_by_ref":"identity--` + idB + `"}`
	for _, tt := range []struct{ name, old, next, want string }{
		{"later", first, later, ""},
		{"the same", first, first, ""},
		{"written in another way", first, strings.Replace(first, ",", " ,\n", 3), ""},
		{"revoked", first, strings.Replace(later, "}", `,"revoked":true}`, 1), ""},
		{"of the creator", strings.Replace(first, "}", creator, 1), strings.Replace(later, "}", creator, 1), ""},
		{"other id", first, change(idA, idB), "versions have one id"},
		{"other type", first, sdo("malware", `,"name":"x","is_family":false`), "versions have one id"},
		{"created changed", first, strings.Replace(later, `"created":"2026`, `"created":"2025`, 1), "created was 2026-01-02T03:04:05.000Z"},
		{"creator added", first, strings.Replace(later, "}", creator, 1), "created_by_ref was not there"},
		{"creator gone", strings.Replace(first, "}", creator, 1), later, "created_by_ref was identity--" + idB},
		{"same time", first, change(`"x"`, `"y"`), "modified at the same time"},
		{"earlier", later, first, "there is a later version"},
		{"after revoked", strings.Replace(first, "}", `,"revoked":true}`, 1), later, "it was revoked"},
		{"observable", sco(t, "ipv4-addr", `,"value":"198.51.100.7"`), sco(t, "ipv4-addr", `,"value":"198.51.100.7","defanged":true`), ""},
		{"marking", marking, strings.Replace(marking, `"statement":"x"`, `"statement":"y"`, 1), "never changed"},
		{"the same marking", marking, strings.Replace(marking, ":", ": ", 4), ""},
	} {
		err := NewVersion(read(tt.old), read(tt.next))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
