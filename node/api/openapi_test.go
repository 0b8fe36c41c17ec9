package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/entente-mesh/entente/policy/rules"
)

// TestEveryRouteIsDescribed: who adds a route declares it; see CONTRIBUTING.md.
func TestEveryRouteIsDescribed(t *testing.T) {
	s := New(nil)
	if len(s.mux.patterns) < 100 {
		t.Fatalf("only %d routes", len(s.mux.patterns))
	}
	names := map[string]string{}
	for _, pattern := range s.mux.patterns {
		rt := s.declared[pattern]
		if rt == nil {
			t.Errorf("%s is not declared: use answers, takes or serves, and Server.declare", pattern)
			continue
		}
		if other := names[rt.name]; other != "" {
			t.Errorf("%s and %s are both called %s", other, pattern, rt.name)
		}
		names[rt.name] = pattern
		if !strings.HasSuffix(rt.does, ".") || rt.more != "" && !strings.HasSuffix(rt.more, ".") {
			t.Errorf("%s: what it does is a sentence", pattern)
		}
		_, where, _ := strings.Cut(pattern, " ")
		if params := pathParameters(where); len(params) != len(rt.paths) || slices.ContainsFunc(params, func(n string) bool { return rt.paths[n] == "" }) {
			t.Errorf("%s: say what %v are", pattern, params)
		}
		if !slices.ContainsFunc(groups, func(g *huma.Tag) bool { return g.Name == rt.group }) {
			t.Errorf("%s is in group %q, which is not described", pattern, rt.group)
		}
	}
}

// TestWhatIsForgotten: a route that was only registered is found, and needs the right to administer;
// one that is declared in part is not taken.
func TestWhatIsForgotten(t *testing.T) {
	s := testServer(t)
	s.mux.HandleFunc("POST /v1/forgotten", call(func(*http.Request) (any, error) { return "done", nil }))
	if i := slices.IndexFunc(s.mux.patterns, func(p string) bool { return s.declared[p] == nil }); i < 0 || s.mux.patterns[i] != "POST /v1/forgotten" {
		t.Error("a route that is not declared is not found")
	}
	if w := ask(s, "", "POST", "/v1/forgotten", ""); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	loadRules(t, s, analystReads)
	if w := ask(s, "ann", "POST", "/v1/forgotten", ""); w.Code != http.StatusForbidden {
		t.Errorf("who may not administer gets %d %s", w.Code, w.Body)
	}
	fn := func(*http.Request, *none) (none, error) { return none{}, nil }
	type number struct {
		N float64 `query:"n"`
	}
	for name, rt := range map[string]*route{
		"no right":            answers("GET /v1/x", "X", "", "Does.", fn),
		"a right of records":  answers("GET /v1/x", "X", rules.Read, "Does.", fn),
		"no name":             answers("GET /v1/x", "", anyone, "Does.", fn),
		"no sentence":         answers("GET /v1/x", "X", anyone, "", fn),
		"no answer":           serves("GET /v1/x", "X", anyone, "Does.", func(http.ResponseWriter, *http.Request, *none) {}),
		"a parameter of none": answers("GET /v1/x", "X", anyone, "Does.", func(*http.Request, *number) (none, error) { return none{}, nil }),
	} {
		if rt.check() == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// document returns the description as JSON values.
func document(t *testing.T, closed bool) map[string]any {
	t.Helper()
	b, err := json.Marshal(New(nil).describe(closed))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

// schemas compiles schemas of a description by their place in it.
func schemas(t *testing.T, doc map[string]any) func(place string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("https://entente.example/openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return func(place string) *jsonschema.Schema {
		t.Helper()
		schema, err := c.Compile("https://entente.example/openapi.json#" + place)
		if err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		return schema
	}
}

// TestOpenAPIIsValid holds the description against the schema that the OpenAPI Initiative publishes
// (testdata/oas31-schema.json, Apache-2.0), and each schema in it against JSON Schema 2020-12. The
// rules that no schema can express are looked at one by one.
func TestOpenAPIIsValid(t *testing.T) {
	b, err := os.ReadFile("testdata/oas31-schema.json")
	if err != nil {
		t.Fatal(err)
	}
	official, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("https://spec.openapis.org/oas/3.1/schema/2022-10-07", official); err != nil {
		t.Fatal(err)
	}
	oas, err := c.Compile("https://spec.openapis.org/oas/3.1/schema/2022-10-07")
	if err != nil {
		t.Fatal(err)
	}
	doc := document(t, false)
	if err := oas.Validate(doc); err != nil {
		t.Fatal(err)
	}
	// The same check finds faults.
	broken := document(t, false)
	delete(broken["paths"].(map[string]any)["/v1/trust"].(map[string]any)["post"].(map[string]any)["requestBody"].(map[string]any), "content")
	if oas.Validate(broken) == nil {
		t.Error("a body without content is valid")
	}

	compile := schemas(t, doc)
	list := doc["components"].(map[string]any)["schemas"].(map[string]any)
	if len(list) < 100 {
		t.Fatalf("only %d schemas", len(list))
	}
	for name := range list {
		if !regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(name) {
			t.Errorf("%q is no name of a component", name)
		}
		compile("/components/schemas/" + name)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`"\$ref":"#/components/([^/"]+)/([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		part, _ := doc["components"].(map[string]any)[m[1]].(map[string]any)
		if part[m[2]] == nil {
			t.Errorf("%s is nowhere", m[0])
		}
		used[m[2]] = true
	}
	for name := range list {
		if !used[name] {
			t.Errorf("nothing refers to schema %s", name)
		}
	}
	ids := map[string]bool{}
	for where, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			id, _ := op.(map[string]any)["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s %s has the operationId %q", method, where, id)
			}
			ids[id] = true
		}
	}
}

// TestOpenAPIOverTheAPI: what a node hands out is what needs none.
func TestOpenAPIOverTheAPI(t *testing.T) {
	want, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	code, got := get(t, testServer(t), "/v1/openapi.json")
	if code != http.StatusOK || got != string(want) {
		t.Errorf("%d: %d bytes, want %d", code, len(got), len(want))
	}
	again, err := OpenAPI()
	if err != nil || !bytes.Equal(again, want) {
		t.Errorf("it is not the same each time: %v", err)
	}
}

// TestTypesAreDescribable: of what is in lists and maps the schemas say what huma makes of it.
func TestTypesAreDescribable(t *testing.T) {
	in, out := New(nil).structs()
	for _, typ := range slices.Concat(in, out) {
		for f := range members(typ) {
			inner := f.Type
			for k := inner.Kind(); k == reflect.Slice || k == reflect.Map || k == reflect.Pointer; k = inner.Kind() {
				inner = inner.Elem()
			}
			if inner != f.Type && inner.Kind() == reflect.Array && !isText(inner) {
				t.Errorf("%s.%s holds arrays without a text form", typ, f.Name)
			}
			if k := inner.Kind(); k == reflect.Interface && inner != reflect.TypeFor[any]() || k == reflect.Func || k == reflect.Chan {
				t.Errorf("%s.%s is a %s", typ, f.Name, f.Type)
			}
		}
	}
}
