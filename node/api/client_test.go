package api

import (
	"bytes"
	"fmt"
	"go/format"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// generated makes package client of the routes and types. It uses what docs holds.
type generated struct {
	t     *testing.T
	named nameTable // of answers
	buf   bytes.Buffer
}

func (g *generated) printf(f string, args ...any) { fmt.Fprintf(&g.buf, f, args...) }

func makeClient(t *testing.T) []byte {
	s := New(nil)
	in, out := s.structs()
	g := &generated{t: t, named: schemaNames(out)}
	g.printf("// Code generated of the routes and types of node/api by 'go test ./node/api -run Fresh -update'; DO NOT EDIT.\n\n")
	g.printf("package client\n\nimport (\n\"context\"\n\"encoding/json\"\n\"io\"\n\"iter\"\n\"net/url\"\n\"time\"\n)\n\n")
	for _, pattern := range s.mux.patterns {
		g.method(s.declared[pattern])
	}
	taken := map[string]bool{"Error": true} // written by hand, with its status
	once := func(name string) bool {
		again := taken[name]
		taken[name] = true
		return !again
	}
	for _, rt := range slices.SortedFunc(func(yield func(*route) bool) {
		for _, p := range s.mux.patterns {
			if !yield(s.declared[p]) {
				return
			}
		}
	}, func(a, b *route) int { return strings.Compare(a.query.Name(), b.query.Name()) }) {
		if rt.query != reflect.TypeFor[none]() && once(rt.query.Name()) {
			g.query(rt.query)
		}
	}
	for _, typ := range in {
		if name := requestName(typ.Name()); once(name) {
			g.structure(typ, name, true)
		}
	}
	for _, typ := range out {
		if name := g.named.of(typ, ""); typ != reflect.TypeFor[none]() && once(name) {
			g.structure(typ, name, false)
		}
	}
	b, err := format.Source(g.buf.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, g.buf.String())
	}
	return b
}

// method writes the method of a route.
func (g *generated) method(rt *route) {
	verb, where, _ := strings.Cut(rt.pattern, " ")
	args, path := "ctx context.Context", `"`+where+`"`
	for _, p := range pathParameters(where) {
		args += ", " + p + " string"
		path = strings.Replace(path, "{"+p+"}", `"+url.PathEscape(`+p+`)+"`, 1)
	}
	path = strings.TrimSuffix(path, `+""`)
	q := "nil"
	if rt.query != reflect.TypeFor[none]() {
		args += ", q " + rt.query.Name()
		q = "values(q)"
	}
	body := "nil"
	if rt.body != nil {
		body = "body"
		switch {
		case rt.body.of == nil:
			args += ", body io.Reader"
		default:
			args += ", body *" + requestName(rt.body.of.Name())
		}
	}
	reader := body
	if rt.body != nil && rt.body.of != nil && rt.answer.of == nil {
		reader = "jsonOf(body)"
	}
	text := rt.does
	if rt.more != "" {
		text += " " + rt.more
	}
	if rt.body != nil && rt.body.text != "" {
		text += " The body: " + rt.body.text
	}
	g.comment("", rt.name+" is "+rt.pattern+". "+text)
	head := fmt.Sprintf("func (c *Client) %s(%s) ", rt.name, args)
	of := rt.answer.of
	for of != nil && of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case rt.answer.lines:
		typ := g.typ(of, false)
		g.printf("%siter.Seq2[*%s, error] {\nreturn stream[%s](ctx, c, %q, %s, %s, %s)\n}\n\n", head, typ, typ, verb, path, q, reader)
	case of == nil:
		g.printf("%s(*Body, error) {\nreturn c.file(ctx, %q, %s, %s, %s, %q)\n}\n\n", head, verb, path, q, reader, rt.answer.trailer)
	case of == reflect.TypeFor[none]():
		g.printf("%serror {\nreturn c.Call(ctx, %q, %s, %s, %s, nil)\n}\n\n", head, verb, path, q, body)
	case of.Kind() == reflect.Struct:
		typ := g.typ(of, false)
		g.printf("%s(*%s, error) {\nv := new(%s)\nif err := c.Call(ctx, %q, %s, %s, %s, v); err != nil {\nreturn nil, err\n}\nreturn v, nil\n}\n\n", head, typ, typ, verb, path, q, body)
	default:
		g.printf("%s(v %s, err error) {\nerr = c.Call(ctx, %q, %s, %s, %s, &v)\nreturn v, err\n}\n\n", head, g.typ(of, false), verb, path, q, body)
	}
}

func (g *generated) comment(indent, text string) {
	line := indent + "//"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 104 {
			g.printf("%s\n", line)
			line = indent + "//"
		}
		line += " " + word
	}
	if line != indent+"//" {
		g.printf("%s\n", line)
	}
}

func (g *generated) query(t reflect.Type) {
	g.comment("", describeType(t))
	g.printf("type %s struct {\n", t.Name())
	for f := range parameters(t) {
		typ, text := f.Type.String(), f.Tag.Get("doc")
		if f.Tag.Get("default") == "true" { // a false that was not said is true
			typ = "*bool"
			text += "; nil: true"
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			text = strings.TrimPrefix(text+"; "+strings.ReplaceAll(enum, ",", ", ")+"; without it, "+f.Tag.Get("default"), "; ")
		}
		required := ""
		if f.Tag.Get("required") == "true" {
			required = ` required:"true"`
		}
		if text != "" {
			text = "// " + text
		}
		g.printf("%s %s `query:%q%s` %s\n", f.Name, typ, f.Tag.Get("query"), required, text)
	}
	g.printf("}\n\n")
}

func (g *generated) structure(t reflect.Type, name string, request bool) {
	text := describeType(t)
	if rest, ok := strings.CutPrefix(text, t.Name()+" "); ok {
		text = name + " " + rest
	}
	g.comment("", text)
	g.printf("type %s struct {\n", name)
	for f := range members(t) {
		g.comment("\t", describeField(t, f))
		g.printf("%s %s `json:%q`\n", f.Name, g.typ(f.Type, request), f.Tag.Get("json"))
	}
	g.printf("}\n\n")
}

// typ says how the client has a type: as its own, or as what it is in JSON.
func (g *generated) typ(t reflect.Type, request bool) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time.Time"
	case t.PkgPath() == "encoding/json" && t.Name() == "RawMessage":
		return "json.RawMessage"
	case t.Kind() != reflect.Pointer && isText(t):
		return "string"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + g.typ(t.Elem(), request)
	case reflect.Slice:
		return "[]" + g.typ(t.Elem(), request)
	case reflect.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), g.typ(t.Elem(), request))
	case reflect.Map:
		return "map[" + g.typ(t.Key(), request) + "]" + g.typ(t.Elem(), request)
	case reflect.Struct:
		if request {
			return requestName(t.Name())
		}
		return g.named.of(t, "")
	case reflect.Interface:
		return "any"
	case reflect.Uint8:
		return "byte"
	}
	return t.Kind().String()
}
