package stix

import (
	"reflect"
	"testing"
)

// TestGranular: what is said of which part, and what a selector selects (STIX 7.2.3).
func TestGranular(t *testing.T) {
	const marking = "marking-definition--" + idB
	o, err := Parse([]byte(sdo("malware", `,"name":"x","is_family":false,"labels":["a",["b"]],"external_references":[{"source_name":"y","hashes":{"SHA-256":"00"}}],
		"granular_markings":[{"marking_ref":"`+marking+`","selectors":["name","labels.[1].[0]"]},{"lang":"fr","selectors":["external_references.[0].hashes.SHA-256"]}]`)))
	if err != nil {
		t.Fatal(err)
	}
	want := []GranularMarking{{Marking: marking, Selectors: []string{"name", "labels.[1].[0]"}}, {Lang: "fr", Selectors: []string{"external_references.[0].hashes.SHA-256"}}}
	if got := o.Granular(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for selector, want := range map[string]string{
		"name": `"x"`, "labels": `["a",["b"]]`, "labels.[0]": `"a"`, "labels.[1].[0]": `"b"`, "external_references.[0].source_name": `"y"`,
		"external_references.[0].hashes.SHA-256": `"00"`, "is_family": "false",
		"labels.[2]": "", "labels.[-1]": "", "labels.0": "", "labels.[0].x": "", "labels[0]": "", "labels.[0": "", "name.x": "", "other": "", "": "", ".": "", "name.": "", "[0]": "",
		"labels.[99999999999999999999]": "", "external_references.source_name": "", "is_family.[0]": "",
	} {
		got, ok := o.Select(selector)
		if string(got) != want || ok != (want != "") {
			t.Errorf("%q selects %q, %v, want %q", selector, got, ok, want)
		}
	}
	if got := markedOnly(t, `,"granular_markings":[{"lang":"fr","selectors":["name"]}]`); len(got.Markings) != 0 {
		t.Errorf("a language is a marking: %v", got.Markings)
	}
	for _, odd := range []string{`[]`, `[{"lang":"fr"}]`, `[{"lang":"fr","selectors":"name"}]`, `[{"lang":"fr","selectors":[1]}]`} {
		for _, g := range markedOnly(t, `,"granular_markings":`+odd).Granular() {
			if len(g.Selectors) > 0 {
				t.Errorf("%s selects %v", odd, g.Selectors)
			}
		}
	}
}

func markedOnly(t *testing.T, more string) *Object {
	t.Helper()
	o, err := Parse([]byte(sdo("tool", `,"name":"x"`+more)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}
