package api

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

// TestRequestsAreStrict: no route takes a parameter or a member that is not described, or one twice.
func TestRequestsAreStrict(t *testing.T) {
	s := testServer(t)
	params := strings.NewReplacer("{id}", "x", "{name}", "x", "{number}", "1", "{n}", "1")
	queries, bodies := 0, 0
	for _, pattern := range s.mux.patterns {
		rt := s.declared[pattern]
		method, path, _ := strings.Cut(pattern, " ")
		path = params.Replace(path)
		refused := func(path, body, says string) {
			t.Helper()
			if w := ask(s, "", method, path, body); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), says) || !strings.Contains(w.Body.String(), `"class":"malformed"`) {
				t.Errorf("%s %s %s: %d %s, want %q", method, path, body, w.Code, w.Body, says)
			}
		}
		refused(path+"?no-such=1", "{}", "no parameter of this request")
		refused(path+"?%zz", "{}", "query cannot be read")
		for f := range parameters(rt.query) {
			queries++
			name := f.Tag.Get("query")
			if f.Type.Kind() != reflect.Slice {
				refused(path+"?"+name+"=1&"+name+"=1", "{}", "give it once")
			}
			switch f.Type.Kind() {
			case reflect.Uint64:
				refused(path+"?"+name+"=-1", "{}", "not a number")
				refused(path+"?"+name+"=9223372036854775808", "{}", "not a number")
			case reflect.Bool:
				refused(path+"?"+name+"=yes", "{}", "true or false")
			}
			if f.Tag.Get("enum") != "" {
				refused(path+"?"+name+"=xml", "{}", "not known")
			}
		}
		if rt.body == nil || rt.body.of == nil {
			continue
		}
		bodies++
		refused(path, `{"no such member":1}`, "not the JSON")
		refused(path, `{}{}`, "not the JSON")
		refused(path, `[]`, "not the JSON")
		refused(path, `null`, "it is null")
		refused(path, ``, "not the JSON")
		for f := range members(rt.body.of) {
			name, _ := member(f)
			if !mayBeNull(f.Type) {
				refused(path, `{"`+name+`":null}`, "is null")
			}
			refused(path, `{"`+strings.ToUpper(name)+`":null}`, "not the JSON")
			refused(path, `{"`+name+`":null,"`+name+`":null}`, "not the JSON")
		}
	}
	if queries < 50 || bodies < 40 {
		t.Errorf("tried %d parameters and %d bodies", queries, bodies)
	}
}

// TestBodiesAreAsDescribed: what the schema of a body holds valid is decoded, and nothing else is. (Of
// values that the schema counts up, the handlers refuse the others; their texts say more.)
func TestBodiesAreAsDescribed(t *testing.T) {
	s := New(nil)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource("https://entente.example/openapi.json", document(t, false)); err != nil {
		t.Fatal(err)
	}
	var routes []*route
	bodies := map[*route]*jsonschema.Schema{}
	for _, pattern := range s.mux.patterns {
		if rt := s.declared[pattern]; rt.body != nil && rt.body.of != nil {
			schema, err := c.Compile("https://entente.example/openapi.json#/components/schemas/" + requestName(rt.body.of.Name()))
			if err != nil {
				t.Fatal(err)
			}
			bodies[rt] = schema
			routes = append(routes, rt)
			if rt.example != nil {
				b, err := json.Marshal(rt.example)
				if v, uerr := jsonschema.UnmarshalJSON(bytes.NewReader(b)); err != nil || uerr != nil || schema.Validate(v) != nil {
					t.Errorf("%s: the example %s is not valid", rt.pattern, b)
				}
			}
		}
	}
	values := []string{`"x"`, `"eHg="`, `"eHg"`, `"2099-01-31T09:30:00Z"`, `"2099-01-31"`, `true`, `1`, `-1`, `300`, `1.5`, `null`, `[]`, `["x"]`, `["eHg="]`, `[1]`, `[null]`, `{}`, `{"id":"x"}`, `{"x":1}`}
	valid, invalid := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		rt := rapid.SampledFrom(routes).Draw(t, "route")
		var parts []string
		for f := range members(rt.body.of) {
			name, _ := member(f)
			if rapid.IntRange(0, 9).Draw(t, "absent "+name) == 0 {
				continue
			}
			value := rapid.SampledFrom(values).Draw(t, name)
			if enum := f.Tag.Get("enum"); enum != "" && value[0] == '"' {
				value = strconv.Quote(strings.Split(enum, ",")[0])
			} else if b, err := json.Marshal(sample(f)); err == nil && rapid.IntRange(0, 3).Draw(t, "right "+name) > 0 {
				value = string(b)
			}
			parts = append(parts, strconv.Quote(name)+":"+value)
		}
		text := "{" + strings.Join(parts, ",") + "}"
		r, err := http.NewRequest("POST", "/", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		described, decoded := bodies[rt].Validate(v), decode(r, reflect.New(rt.body.of).Interface())
		if (described == nil) != (decoded == nil) {
			t.Fatalf("%s: %s: as described: %v; decoded: %v", rt.pattern, text, described, decoded)
		}
		if decoded == nil {
			valid++
		} else {
			invalid++
		}
	})
	if valid < 5 || invalid < 5 {
		t.Errorf("%d bodies were valid, %d not", valid, invalid)
	}
}

// FuzzDecode: whatever comes, decoding a request does not panic, and what it takes it takes again as it
// was written.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"file":"x","text":"forbid","people":"[]","all_nodes":true}`), "topic=c2&tlp=red&to=a,b&dry_run=1")
	f.Add([]byte(`{"file":"x","file":"y"}`), "topic=%zz")
	f.Fuzz(func(t *testing.T, b []byte, query string) {
		var q, again RulesRequest
		if decode(&http.Request{Body: io.NopCloser(bytes.NewReader(b))}, &q) == nil {
			out, err := json.Marshal(q)
			if err != nil {
				t.Fatal(err)
			}
			if err := decode(&http.Request{Body: io.NopCloser(bytes.NewReader(out))}, &again); err != nil || !reflect.DeepEqual(q, again) {
				t.Fatalf("%+v, then %+v, %v", q, again, err)
			}
		}
		_ = decodeQuery(&http.Request{URL: &url.URL{RawQuery: query}}, new(PublishQuery))
	})
}

// TestRequiredIsRequired: a request without a member or parameter that the description requires is
// refused, and told which.
func TestRequiredIsRequired(t *testing.T) {
	s := testServer(t)
	params := strings.NewReplacer("{id}", "x", "{name}", "x", "{number}", "1", "{n}", "1")
	tried := 0
	for _, pattern := range s.mux.patterns {
		rt := s.declared[pattern]
		method, path, _ := strings.Cut(pattern, " ")
		path = params.Replace(path)
		for f := range parameters(rt.query) {
			if f.Tag.Get("required") != "true" {
				continue
			}
			tried++
			q := url.Values{}
			for other := range parameters(rt.query) {
				if other.Tag.Get("required") == "true" && other.Name != f.Name {
					q.Set(other.Tag.Get("query"), "Example")
				}
			}
			if w := ask(s, "", method, path+"?"+q.Encode(), "198.51.100.1\n"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "lacks the parameter") {
				t.Errorf("%s without %s: %d %s", pattern, f.Tag.Get("query"), w.Code, w.Body)
			}
		}
		if rt.body == nil || rt.body.of == nil {
			continue
		}
		whole := map[string]any{}
		for f := range members(rt.body.of) {
			if name, _ := member(f); f.Tag.Get("required") == "true" {
				whole[name] = sample(f)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(whole)) {
			tried++
			part := maps.Clone(whole)
			delete(part, name)
			b, err := json.Marshal(part)
			if err != nil {
				t.Fatal(err)
			}
			if w := ask(s, "", method, path, string(b)); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `the request lacks \"`+name+`\"`) {
				t.Errorf("%s without %s: %d %s", pattern, name, w.Code, w.Body)
			}
		}
	}
	if tried < 40 {
		t.Errorf("tried %d", tried)
	}
}

// sample is a value that a member may have.
func sample(f reflect.StructField) any {
	if enum, _, _ := strings.Cut(f.Tag.Get("enum"), ","); enum != "" {
		return enum
	}
	switch f.Type {
	case reflect.TypeFor[string]():
		return "x"
	case reflect.TypeFor[[]byte]():
		return []byte("x")
	case reflect.TypeFor[[]string]():
		return []string{"x"}
	case reflect.TypeFor[time.Time]():
		return time.Now().Add(time.Hour)
	}
	return reflect.Zero(f.Type).Interface()
}

// TestQueriesComeBack: whatever can be said in a query is read as it was said.
func TestQueriesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, q := PublishQuery{}, url.Values{}
		v := reflect.ValueOf(&want).Elem()
		for f := range parameters(v.Type()) {
			name := f.Tag.Get("query")
			switch field := v.FieldByIndex(f.Index); field.Kind() {
			case reflect.String:
				text := rapid.String().Draw(t, name)
				field.SetString(text)
				q.Set(name, text)
			case reflect.Bool:
				b := rapid.Bool().Draw(t, name)
				field.SetBool(b)
				q.Set(name, strconv.FormatBool(b))
			case reflect.Uint64:
				n := rapid.Uint64Range(0, 1<<63-1).Draw(t, name)
				field.SetUint(n)
				q.Set(name, strconv.FormatUint(n, 10))
			case reflect.Slice:
				if list := rapid.SliceOf(rapid.StringMatching(`[a-zà-ÿ0-9:]{1,4}( [&=%+a-z]{1,3})?`)).Draw(t, name); len(list) > 0 {
					field.Set(reflect.ValueOf(list))
					q[name] = list
				}
			}
		}
		r, err := http.NewRequest("POST", "/v1/publish?"+q.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got PublishQuery
		if err := decodeQuery(r, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}
