package api

import (
	"bytes"
	_ "embed"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/entente-mesh/entente/protocol"
)

// OpenAPI describes the local API as OpenAPI 3.1, in JSON. It follows from the routes and the Go
// types alone: no node is needed.
func OpenAPI() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(New(nil).describe(false))
	return out.Bytes(), err
}

// description is OpenAPI, made once: it is the same as long as the program runs.
var description struct {
	once sync.Once
	doc  []byte
	err  error
}

func (s *Server) openAPIRoutes() {
	s.declare("node",
		serves("GET /v1/openapi.json", "OpenAPI", anyone, "Describes this API as OpenAPI 3.1.", s.openAPI).replies(reflect.TypeFor[map[string]any]()),
	)
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request, _ *none) {
	d := &description
	d.once.Do(func() { d.doc, d.err = OpenAPI() })
	if d.err != nil {
		fail(w, d.err)
		return
	}
	w.Header().Set("Content-Type", mediaJSON)
	_, _ = w.Write(d.doc)
}

// groups are the tags of the routes.
var groups = []*huma.Tag{
	{Name: "node", Description: "How the node stands, and what it holds."},
	{Name: "network", Description: "Members, their words, topics."},
	{Name: "agreements", Description: "What organisations signed; it alone authorises reading."},
	{Name: "records", Description: "Publish, search, watch, export, withdraw, erase."},
	{Name: "requests", Description: "Requests for information."},
	{Name: "releases", Description: "What may be passed on, and waits for persons."},
	{Name: "mandates", Description: "Publishing on behalf of others."},
	{Name: "erasure", Description: "What is held about a value, requests to erase, legal holds."},
	{Name: "carry", Description: "Files that are carried by hand."},
	{Name: "nodes", Description: "Several nodes of one organisation."},
	{Name: "audit", Description: "The audit log, reports, the register of processing."},
	{Name: "people", Description: "The people of the node, and what takes two of them."},
	{Name: "rules", Description: "Local rules: who of the organisation may do what."},
	{Name: "access", Description: "Views, and who may come over the network."},
	{Name: "streams", Description: "Where changes are delivered."},
	{Name: "outputs", Description: "Lists for machines, and what is never on them."},
	{Name: "sources", Description: "What is fetched and published, and what of it could not be."},
	{Name: "monitoring", Description: "For monitoring."},
}

// describe makes the description of the routes. A closed one allows no members that it does not
// name in answers either, as a test wants it; clients are told to expect some.
func (s *Server) describe(closed bool) *huma.OpenAPI {
	t := s.types(closed)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Entente local API", Version: "1", License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			Description: "HTTP/1.1 on the Unix socket " + SocketName + " in the data directory of a node. Where the node has people, their roles say what who opens the socket may do; else that is the operator. Local rules may take rights away.\n\n" +
				"Streams are one JSON object a line. Bytes in JSON are base64. Requests with members or parameters that are not described are refused. " +
				"Answers may come to have members that are not described: skip them. x-entente-right is what the caller's roles must give (docs/people.md); " +
				"x-entente-trailer is an HTTP trailer without which the answer is not whole."},
		Servers: []*huma.Server{{URL: "http://node", Description: "Over the Unix socket; the name of the host does not matter."}},
		Tags:    groups,
		Paths:   map[string]*huma.PathItem{},
		Components: &huma.Components{Schemas: t.answers,
			Parameters: map[string]*huma.Param{
				"Person":  {Name: PersonHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: "For whom the request is; it goes to the audit log."},
				"Purpose": {Name: PurposeHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: "For what purpose; it goes to the audit log."},
				"As":      {Name: AsHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: "With whose rights, of the people file; only who may administer may say so, and only where the node has no people."},
			},
			Responses: map[string]*huma.Response{"Error": {
				Description: "202: it waits for a second person; 400: the request cannot be done as it is; 403: it is not permitted; 404: what is not held, and what the caller may not read; " +
					"409: the state changed since the plan; 413: too large.",
				Content: map[string]*huma.MediaType{mediaJSON: {Schema: t.answer(reflect.TypeFor[Error]()), Example: Error{Message: `"yesterday" is not a time; use 2026-01-31, 2026-01-31T09:30:00Z, 36h or 7d`, Class: "malformed"}}},
			}},
		},
	}
	for _, pattern := range s.mux.patterns {
		rt := s.declared[pattern]
		if rt == nil {
			continue // TestEveryRouteIsDescribed
		}
		method, where, _ := strings.Cut(pattern, " ")
		item := doc.Paths[where]
		if item == nil {
			item = &huma.PathItem{}
			doc.Paths[where] = item
		}
		op := t.operation(rt)
		switch method {
		case "GET":
			item.Get = op
		case "POST":
			item.Post = op
		case "PUT":
			item.Put = op
		case "DELETE":
			item.Delete = op
		}
	}
	maps.Copy(t.answers.Map(), t.asked.Map()) // after the last type was met
	return doc
}

func (t *typeTable) operation(rt *route) *huma.Operation {
	op := &huma.Operation{OperationID: rt.name, Tags: []string{rt.group}, Summary: rt.does, Description: rt.more, Responses: map[string]*huma.Response{}}
	op.Extensions = map[string]any{"x-entente-right": string(rt.right)}
	_, where, _ := strings.Cut(rt.pattern, " ")
	for _, name := range pathParameters(where) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "path", Required: true, Description: rt.paths[name], Schema: &huma.Schema{Type: huma.TypeString}})
	}
	for f := range parameters(rt.query) {
		op.Parameters = append(op.Parameters, queryParameter(f))
	}
	if strings.HasPrefix(where, "/v1/") {
		for _, name := range []string{"Person", "Purpose", "As"} {
			op.Parameters = append(op.Parameters, &huma.Param{Ref: "#/components/parameters/" + name})
		}
	}
	if rt.body != nil {
		op.RequestBody = &huma.RequestBody{Description: rt.body.text, Required: rt.body.of != nil, Content: map[string]*huma.MediaType{}}
		for _, m := range rt.body.media {
			op.RequestBody.Content[m] = &huma.MediaType{Schema: t.request(rt.body.of), Example: rt.example}
		}
	}
	text := rt.answer.text
	if text == "" {
		text = "Done."
	}
	good := &huma.Response{Description: text, Content: map[string]*huma.MediaType{}}
	for _, m := range rt.answer.media {
		schema := t.answer(rt.answer.of)
		if rt.answer.lines {
			good.Description = "One JSON object a line."
			schema = &huma.Schema{AnyOf: []*huma.Schema{schema, t.answer(reflect.TypeFor[Error]())}}
		}
		good.Content[m] = &huma.MediaType{Schema: schema}
	}
	if rt.answer.trailer != "" {
		op.Extensions["x-entente-trailer"] = rt.answer.trailer
	}
	op.Responses["200"] = good
	if rt.not200 != "" {
		op.Responses["503"] = &huma.Response{Description: rt.not200, Content: good.Content}
	}
	op.Responses["default"] = &huma.Response{Ref: "#/components/responses/Error"}
	return op
}

// pathParameters are the names in a path, in order.
func pathParameters(where string) (names []string) {
	for part := range strings.SplitSeq(where, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

func queryParameter(f reflect.StructField) *huma.Param {
	p := &huma.Param{Name: f.Tag.Get("query"), In: "query", Description: f.Tag.Get("doc"), Required: f.Tag.Get("required") == "true"}
	zero := 0.0
	switch f.Type.Kind() {
	case reflect.Bool:
		p.Schema = &huma.Schema{Type: huma.TypeBoolean}
		if f.Tag.Get("default") == "true" {
			p.Schema.Default = true
		}
	case reflect.Uint64:
		p.Schema = &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: &zero}
	case reflect.Slice:
		p.Schema = &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}
	default:
		p.Schema = &huma.Schema{Type: huma.TypeString}
		if text := f.Tag.Get("default"); text != "" {
			p.Schema.Default = text
		}
		if text := f.Tag.Get("enum"); text != "" {
			for v := range strings.SplitSeq(text, ",") {
				p.Schema.Enum = append(p.Schema.Enum, v)
			}
		}
	}
	return p
}

// typeTable holds the schemas of the Go types. What is asked and what is answered are apart: a
// type may be in both, and requests may leave out what an answer always has.
type typeTable struct {
	answers, asked huma.Registry
}

const schemaPrefix = "#/components/schemas/"

// types makes the schemas of all types that the routes name.
func (s *Server) types(closed bool) *typeTable {
	in, out := s.structs()
	named := schemaNames(out)
	t := &typeTable{
		answers: huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string { return named.of(t, hint) }),
		asked: huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string {
			return requestName(huma.DefaultSchemaNamer(t, hint))
		}),
	}
	for _, typ := range out {
		t.answers.Schema(typ, true, "")
	}
	for _, typ := range in {
		t.asked.Schema(typ, true, "")
	}
	for name, schema := range t.answers.Map() {
		mend(t.answers.TypeFromRef(schemaPrefix+name), schema, closed)
	}
	for name, schema := range t.asked.Map() {
		mendRequest(t.asked.TypeFromRef(schemaPrefix+name), schema)
	}
	return t
}

func requestName(name string) string { return strings.TrimSuffix(name, "Request") + "Request" }

func (t *typeTable) answer(of reflect.Type) *huma.Schema {
	if of == nil {
		return &huma.Schema{Type: huma.TypeString, Format: "binary"}
	}
	return t.answers.Schema(of, true, "Answer")
}

func (t *typeTable) request(of reflect.Type) *huma.Schema {
	if of == nil {
		return &huma.Schema{Type: huma.TypeString, Format: "binary"}
	}
	return t.asked.Schema(of, true, "")
}

// structs are the struct types of requests and of answers, with all that are in them.
func (s *Server) structs() (in, out []reflect.Type) {
	seenIn, seenOut := map[reflect.Type]bool{}, map[reflect.Type]bool{}
	collect(reflect.TypeFor[Error](), seenOut)
	for _, rt := range s.declared {
		if rt.body != nil && rt.body.of != nil {
			collect(rt.body.of, seenIn)
		}
		if rt.answer.of != nil {
			collect(rt.answer.of, seenOut)
		}
	}
	byName := func(a, b reflect.Type) int {
		return strings.Compare(a.PkgPath()+"."+a.Name(), b.PkgPath()+"."+b.Name())
	}
	return slices.SortedFunc(maps.Keys(seenIn), byName), slices.SortedFunc(maps.Keys(seenOut), byName)
}

var textType = reflect.TypeFor[encoding.TextMarshaler]()

// isText reports whether JSON has a type as a string of its own making.
func isText(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Time]() || t.Implements(textType) || reflect.PointerTo(t).Implements(textType)
}

func collect(t reflect.Type, seen map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		collect(t.Elem(), seen)
	case reflect.Struct:
		if seen[t] || isText(t) {
			return
		}
		seen[t] = true
		for f := range members(t) {
			collect(f.Type, seen)
		}
	}
}

// members are the fields of a struct that JSON has, those of embedded structs among them.
func members(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || f.Anonymous && name == "" || f.Tag.Get("json") == "-" {
				continue
			}
			if !yield(f) {
				return
			}
		}
	}
}

// member returns the name of a field in JSON, and whether an answer always has it.
func member(f reflect.StructField) (name string, always bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		name = f.Name
	}
	return name, !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero")
}

// nameTable names types: by their own name, with the package before it where two have the same
// one, and one of them is not of this package.
type nameTable map[reflect.Type]string

func (n nameTable) of(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := n[t]; ok {
		return name
	}
	return huma.DefaultSchemaNamer(t, hint)
}

func schemaNames(list []reflect.Type) nameTable {
	count := map[string]int{}
	for _, t := range list {
		count[huma.DefaultSchemaNamer(t, "")]++
	}
	named := nameTable{}
	for _, t := range list {
		name := huma.DefaultSchemaNamer(t, "")
		if pkg := path.Base(t.PkgPath()); count[name] > 1 && t.PkgPath() != reflect.TypeFor[Server]().PkgPath() {
			name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
		}
		named[t] = name
	}
	return named
}

// mend makes the schema of an answer say what encoding/json does: nil slices, maps and pointers
// that are not left out are null, and those that are left out never are.
func mend(t reflect.Type, schema *huma.Schema, closed bool) {
	schema.Description = describeType(t)
	schema.AdditionalProperties = nil
	if closed {
		schema.AdditionalProperties = false
	}
	for f := range members(t) {
		name, always := member(f)
		p := schema.Properties[name]
		if p == nil {
			panic(fmt.Sprintf("%s.%s is not described", t, f.Name))
		}
		switch f.Type.Kind() {
		case reflect.Slice, reflect.Map:
			if p.Type != "" {
				p.Nullable = always
			}
		case reflect.Array:
			if !isText(f.Type) && f.Type.Elem().Kind() == reflect.Uint8 { // encoding/json has it as numbers
				n, zero, most := f.Type.Len(), 0.0, 255.0
				p = &huma.Schema{Type: huma.TypeArray, MinItems: &n, MaxItems: &n, Items: &huma.Schema{Type: huma.TypeInteger, Minimum: &zero, Maximum: &most}}
				schema.Properties[name] = p
			}
		case reflect.Pointer:
			if p.Ref != "" && always {
				p = &huma.Schema{AnyOf: []*huma.Schema{p, {Type: "null"}}}
				schema.Properties[name] = p
			}
		}
		p.Description = describeField(t, f)
		if t == reflect.TypeFor[Error]() && name == "class" {
			for _, c := range append(protocol.Classes(), "stale", "awaits-second") {
				p.Enum = append(p.Enum, c)
			}
		}
	}
}

// mendRequest makes the schema of a request say what is required: what is tagged so.
func mendRequest(t reflect.Type, schema *huma.Schema) {
	schema.Description = describeType(t)
	schema.Required = nil
	for f := range members(t) {
		name, _ := member(f)
		if f.Tag.Get("required") == "true" {
			schema.Required = append(schema.Required, name)
		}
		p := schema.Properties[name]
		p.Nullable = p.Ref == "" && mayBeNull(f.Type)
		if f.Type.Kind() == reflect.Uint8 {
			most := 255.0
			p.Maximum = &most
		}
		p.Description = describeField(t, f)
	}
}

// docs.json holds the comments on the types and fields that are described, by package, type and
// field. 'go test ./node/api -update' makes it of the source.
//
//go:embed docs.json
var docsJSON []byte

var docs = func() (m map[string]string) {
	if err := json.Unmarshal(docsJSON, &m); err != nil {
		panic(err)
	}
	return m
}()

// describeType and describeField return what the source says of a type, and of a field of it or
// of a struct that is embedded in it.
func describeType(t reflect.Type) string { return docs[path.Base(t.PkgPath())+"."+t.Name()] }

func describeField(t reflect.Type, f reflect.StructField) string {
	for _, i := range f.Index[:len(f.Index)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return docs[path.Base(t.PkgPath())+"."+t.Name()+"."+f.Name]
}
