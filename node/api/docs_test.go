package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "make docs.json and package client anew")

// module is the path of the module, whose root is two directories up.
const (
	module = "github.com/entente-mesh/entente/"
	root   = "../../"
)

// fresh compares a file that is made of the source with what is to be in it.
func fresh(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the routes and types make; run 'go test ./node/api -run Fresh -update', and read the diff", name)
	}
}

// TestFresh: the descriptions of types and fields are the comments in the source, and package client
// is made of the routes.
func TestFresh(t *testing.T) {
	in, out := New(nil).structs()
	wanted := map[string]map[string]bool{} // by directory
	for _, typ := range slices.Concat(in, out) {
		dir, ok := strings.CutPrefix(typ.PkgPath(), module)
		if !ok {
			t.Fatalf("%s is not of this module: how JSON has it is not ours to describe", typ)
		}
		if wanted[dir] == nil {
			wanted[dir] = map[string]bool{}
		}
		wanted[dir][typ.Name()] = true
		for i := range typ.NumField() { // a struct that is embedded, and not exported itself
			if f := typ.Field(i); f.Anonymous && f.Type.Kind() == reflect.Struct {
				wanted[dir][f.Type.Name()] = true
			}
		}
	}
	texts := map[string]string{}
	for dir, names := range wanted {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if !strings.HasSuffix(name, "_test.go") {
				comments(t, name, path.Base(dir), names, texts)
			}
		}
	}
	if len(texts) < 300 {
		t.Fatalf("found only %d comments", len(texts))
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(texts); err != nil {
		t.Fatal(err)
	}
	fresh(t, "docs.json", buf.Bytes())
	docs = texts // those that were embedded may be older
	fresh(t, root+"client/api.go", makeClient(t))
}

// comments reads the comments on the types of a file.
func comments(t *testing.T, name, pkg string, wanted map[string]bool, texts map[string]string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			ts := s.(*ast.TypeSpec)
			st, ok := ts.Type.(*ast.StructType)
			if !ok || !wanted[ts.Name.Name] {
				continue
			}
			key := pkg + "." + ts.Name.Name
			if text := said(ts.Doc, ts.Comment, g.Doc); text != "" {
				texts[key] = text
			}
			for _, field := range st.Fields.List {
				for _, n := range field.Names {
					if text := said(field.Doc, field.Comment); text != "" && n.IsExported() {
						texts[key+"."+n.Name] = text
					}
				}
			}
		}
	}
}

func said(groups ...*ast.CommentGroup) string {
	var parts []string
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, " ")
}
