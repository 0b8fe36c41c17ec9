package stix

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

const (
	uuidA = "11111111-1111-4111-8111-111111111111"
	uuidB = "22222222-2222-4222-8222-222222222222"
)

// sample returns a valid indicator with one text replaced by another.
func sample(t testing.TB, old, new string) []byte {
	t.Helper()
	s := `{"type":"indicator","spec_version":"2.1","id":"indicator--` + uuidA + `",` +
		`"created":"2026-01-02T03:04:05.678Z","modified":"2026-01-02T03:04:05.678Z",` +
		`"pattern":"[ipv4-addr:value = '192.0.2.1']","pattern_type":"stix",` +
		`"valid_from":"2026-01-02T03:04:05Z","x_custom":{"Any":[1,{"a":"\u00e9"}]}}`
	if old != "" && !strings.Contains(s, old) {
		t.Fatalf("sample does not hold %q", old)
	}
	return []byte(strings.Replace(s, old, new, 1))
}

func TestParse(t *testing.T) {
	raw := sample(t, "", "")
	o, err := Parse(append([]byte(" \n"), append(bytes.Clone(raw), '\n')...))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(o.Raw, raw) {
		t.Errorf("Raw = %s, want the bytes given", o.Raw)
	}
	if o.ID != "indicator--"+uuidA || o.Type != "indicator" || o.Revoked {
		t.Errorf("read %q %q revoked %v", o.ID, o.Type, o.Revoked)
	}
	if got := o.Modified.Format(TimeFormat); got != "2026-01-02T03:04:05.678Z" {
		t.Errorf("modified = %s", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"truncated", `]}}`, `]}`, "not JSON"},
		{"behind", `]}}`, `]}} {}`, "not JSON"},
		{"not UTF-8", `\u00e9`, "\xff", "UTF-8"},
		{"twice", `"x_custom"`, `"type"`, "occurs twice"},
		{"twice in disguise", `"x_custom"`, `"\u0074ype"`, "occurs twice"},
		{"too deep", `[1,`, strings.Repeat("[", 40) + "1" + strings.Repeat("]", 40) + `,"b":[`, "deep"},
		{"no type", `"type":"indicator",`, ``, "type is missing"},
		{"type of another case", `"type":`, `"Type":`, "type is missing"},
		{"type not a string", `"type":"indicator"`, `"type":1`, "type is missing"},
		{"odd type", `"type":"indicator"`, `"type":"Indi cator"`, "a-z"},
		{"bundle", `"type":"indicator"`, `"type":"bundle"`, "bundle"},
		{"no id", `"id":`, `"x_id":`, "id is missing"},
		{"id of another type", `"id":"indicator`, `"id":"malware`, "id"},
		{"id without UUID", uuidA, "1", "UUID"},
		{"old version", `"2.1"`, `"2.0"`, "spec_version"},
		{"no version", `"spec_version":"2.1",`, ``, "spec_version"},
		{"no created", `"created"`, `"x_created"`, "created"},
		{"no modified", `"modified"`, `"x_modified"`, "modified"},
		{"time without zone", `:05.678Z","modified"`, `:05.678","modified"`, "created"},
		{"time with offset", `:05.678Z","modified"`, `:05.678+01:00","modified"`, "created"},
		{"impossible time", `"created":"2026-01-02`, `"created":"2026-02-30`, "created"},
		{"modified before created", `"modified":"2026`, `"modified":"2025`, "before"},
		{"no pattern", `"pattern":`, `"x_pattern":`, "pattern"},
		{"empty pattern", `"[ipv4-addr:value = '192.0.2.1']"`, `""`, "pattern"},
		{"pattern not a string", `"[ipv4-addr:value = '192.0.2.1']"`, `{}`, "pattern"},
		{"no pattern type", `"pattern_type"`, `"x_type"`, "pattern_type"},
		{"no valid_from", `"valid_from"`, `"x_from"`, "valid_from"},
		{"bad valid_from", `"2026-01-02T03:04:05Z"`, `"today"`, "valid_from"},
		{"revoked not a boolean", `"x_custom"`, `"revoked":"yes","x_custom"`, "revoked"},
		{"marking not a list", `"x_custom"`, `"object_marking_refs":"a","x_custom"`, "object_marking_refs"},
		{"marking no marking", `"x_custom"`, `"object_marking_refs":["malware--` + uuidA + `"],"x_custom"`, "marking-definition"},
		{"granular not a list", `"x_custom"`, `"granular_markings":{},"x_custom"`, "granular_markings"},
		{"granular without ref", `"x_custom"`, `"granular_markings":[{"selectors":["name"]}],"x_custom"`, "marking_ref"},
		{"too large", `"\u00e9"`, `"` + strings.Repeat("x", protocol.MaxObjectSize) + `"`, "at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(sample(t, tt.old, tt.new))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			if !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrOversize) {
				t.Errorf("error %v is of the class %s", err, protocol.Class(err))
			}
		})
	}
}

func TestParseOtherTypes(t *testing.T) {
	const times = `"spec_version":"2.1","created":"2026-01-02T03:04:05Z","modified":"2026-01-02T03:04:05Z"`
	for _, tt := range []struct {
		name, raw string
		ok        bool
	}{
		{"observable without version", `{"type":"ipv4-addr","id":"ipv4-addr--` + uuidA + `","value":"192.0.2.1"}`, true},
		{"observable without value", `{"type":"ipv4-addr","id":"ipv4-addr--` + uuidA + `"}`, false},
		{"custom", `{"type":"x-thing","id":"x-thing--` + uuidA + `","created":"whenever"}`, true},
		{"marking definition without modified", `{"type":"marking-definition","spec_version":"2.1","created":"2026-01-02T03:04:05Z","id":"marking-definition--` + uuidA + `"}`, true},
		{"relationship", `{"type":"relationship",` + times + `,"id":"relationship--` + uuidA + `","relationship_type":"uses","source_ref":"malware--` + uuidA + `","target_ref":"tool--` + uuidB + `"}`, true},
		{"relationship without target", `{"type":"relationship",` + times + `,"id":"relationship--` + uuidA + `","relationship_type":"uses","source_ref":"malware--` + uuidA + `"}`, false},
		{"relationship to nonsense", `{"type":"relationship",` + times + `,"id":"relationship--` + uuidA + `","relationship_type":"uses","source_ref":"malware--` + uuidA + `","target_ref":"x"}`, false},
		{"sighting", `{"type":"sighting",` + times + `,"id":"sighting--` + uuidA + `","sighting_of_ref":"indicator--` + uuidA + `"}`, true},
		{"sighting of nothing", `{"type":"sighting",` + times + `,"id":"sighting--` + uuidA + `"}`, false},
		{"not an object", `[]`, false},
		{"empty", ``, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := Parse([]byte(tt.raw))
			if (err == nil) != tt.ok {
				t.Fatalf("error = %v, want ok %v", err, tt.ok)
			}
			if tt.name == "relationship" && fmt.Sprint(o.Refs) != fmt.Sprintf("[malware--%s tool--%s]", uuidA, uuidB) {
				t.Errorf("refs = %v", o.Refs)
			}
		})
	}
}

func TestParseBundle(t *testing.T) {
	good := string(sample(t, "", ""))
	other := string(sample(t, uuidA, uuidB))
	bad := string(sample(t, `"2.1"`, `"2.0"`))
	for _, tt := range []struct {
		name, data      string
		objects, faults int
		line            int // of the first problem
	}{
		{"bundle", "{\"type\":\"bundle\",\n\"id\":\"bundle--" + uuidA + "\",\"objects\":[\n" + good + ",\n" + bad + ",\n" + other + "]}", 2, 1, 4},
		{"objects first", "{\"objects\":[" + good + "],\"type\":\"bundle\"}", 1, 0, 0},
		{"empty bundle", `{"type":"bundle"}`, 0, 0, 0},
		{"array", "\n[" + bad + "\n," + good + "]", 1, 1, 2},
		{"one", good, 1, 0, 0},
		{"one that is bad", "\n\n" + bad, 0, 1, 3},
		{"byte order mark", "\xef\xbb\xbf" + good, 1, 0, 0},
		{"elements that are none", `[1,null,"x",[]]`, 0, 4, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects, problems, err := ParseBundle([]byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if len(objects) != tt.objects || len(problems) != tt.faults {
				t.Fatalf("%d objects, problems %v; want %d, %d", len(objects), problems, tt.objects, tt.faults)
			}
			if tt.faults > 0 && problems[0].Line != tt.line {
				t.Errorf("problem on line %d, want %d", problems[0].Line, tt.line)
			}
		})
	}
	for _, data := range []string{"", "  ", "{", `{"type":"bundle","objects":[` + good + `,}`, `{"type":"bundle","objects":3}`, `"x"`} {
		if _, _, err := ParseBundle([]byte(data)); err == nil {
			t.Errorf("accepted %q", clip(data))
		}
	}
}

func TestParseLargeBundle(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"type":"bundle","objects":[`)
	const n = 40000
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(sample(t, uuidA, fmt.Sprintf("%08d%s", i, uuidA[8:])))
	}
	b.WriteString("]}")
	if b.Len() < 10<<20 {
		t.Fatalf("bundle has only %d bytes", b.Len())
	}
	objects, problems, err := ParseBundle([]byte(b.String()))
	if err != nil || len(objects) != n || len(problems) != 0 {
		t.Fatalf("%d objects, %d problems, %v", len(objects), len(problems), err)
	}
	if got := objects[n-1].Line; got != n+1 {
		t.Errorf("last object on line %d, want %d", got, n+1)
	}
}
