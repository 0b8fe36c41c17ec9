package entente_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/entente-mesh/entente"

// importRules is the floor plan. A package may import the packages named after "<" and
// those that they may import. It is a statement of policy: a change that breaks it is
// mended in the code, not here. node/bench stands on node/simtest because a mesh of two hundred
// nodes is measured in virtual time.
const importRules = `
protocol                  <
protocol/stix/pattern     <
protocol/stix             < protocol protocol/stix/pattern
protocol/protocoltest     < protocol protocol/stix crypto policy
crypto                    < protocol
policy                    < protocol protocol/stix
policy/rules              < protocol policy
node/misp/core            < protocol protocol/stix
node/intake               < protocol protocol/stix node/misp/core
node/corpus               < protocol protocol/stix
node/corpus/postgres      < protocol protocol/stix node/corpus
node/corpus/postgres/pgtest <
node/corpus/corpustest    < protocol protocol/stix node/corpus node/disk node/store
node/observe              < protocol protocol/stix protocol/stix/pattern
node/audit                < protocol crypto policy
node/disk                 <
node/store                < protocol crypto node/disk
node/anchor               < protocol node/disk
node/mesh                 < protocol crypto node/outbound
node/hsm                  < protocol crypto node/disk
node/reconcile            < protocol
node                      < protocol protocol/stix/pattern protocol/stix crypto policy policy/rules node/intake node/disk node/anchor node/corpus node/audit node/store node/mesh node/reconcile node/outputs/format node/outputs/warninglist node/misp/core node/hsm node/doctor node/outbound
node/api                  < protocol protocol/stix crypto policy policy/rules node/intake node/audit node node/outputs node/outputs/format node/outputs/score node/outputs/warninglist node/stream node/source node/corpus node/doctor
node/doctor               <
node/outputs/score        < protocol protocol/stix
node/outputs/warninglist  < protocol protocol/stix
node/outputs/gather       < protocol protocol/stix protocol/stix/pattern node/outputs/score
node/outputs/format       < protocol protocol/stix node/outputs/gather node/outputs/warninglist
node/outputs              < protocol protocol/stix node node/serve node/outputs/score node/outputs/warninglist node/outputs/gather node/outputs/format
node/taxii                < protocol protocol/stix policy policy/rules node/intake node node/serve
node/outbound             < protocol
node/outbound/proxytest   < node/outbound
node/serve                < protocol policy/rules node
node/stream               < protocol protocol/stix policy/rules node node/serve node/outbound
node/misp                 < protocol protocol/stix node/intake node/misp/core node node/serve
node/source               < protocol protocol/stix node node/intake node/taxii node/misp node/outbound
node/bench                < protocol protocol/stix crypto policy node node/intake node/store node/simtest
node/simtest              < *
node/hosttest             < *
client                    <
cmd/entente               < *
cmd/entente-pkcs11        < protocol node/hsm
examples/embed            < *
release/sbom              <
`

// onlyUser says which package alone may import what lies under a module path.
var onlyUser = map[string][]string{
	"github.com/libp2p/":          {"node/mesh", "node/simtest"},
	"github.com/multiformats/":    {"node/mesh", "node/simtest"},
	"github.com/marcopolo/":       {"node/mesh", "node/simtest"},
	"golang.org/x/time/":          {"node/mesh"},
	"github.com/dgraph-io/":       {"node/store"},
	"filippo.io/age":              {"crypto"},
	"github.com/fxamacker/cbor":   {"protocol"},
	"github.com/tyler-smith/":     {"crypto"},
	"golang.org/x/mod/sumdb/tlog": {"node/audit"},
	"golang.org/x/mod/sumdb/note": {"crypto", "node", "node/audit"},
	"github.com/prometheus/":      {"node/api"},
	"github.com/jackc/":           {"node/corpus/postgres", "node/corpus/postgres/pgtest"},
	"github.com/spf13/cobra":      {"cmd/entente"},
	"github.com/pelletier/":       {"cmd/entente"},
	"github.com/schollz/":         {"cmd/entente"},
	"github.com/cedar-policy/":    {"policy/rules"},
	"github.com/danielgtaylor/":   {"node/api"},
	"github.com/fsnotify/":        {"node/source"},
	"go.yaml.in/yaml":             {"policy", "cmd/entente", "node"},
	"github.com/nats-io/":         {"node/stream"},
	"github.com/miekg/pkcs11":     {"cmd/entente-pkcs11"},
}

// testers are the packages that may import testing outside of tests: they run nodes, and what nodes meet, for tests.
var testers = []string{"protocol/protocoltest", "node/simtest", "node/hosttest", "node/corpus/corpustest", "node/outbound/proxytest"}

func rules(t *testing.T) map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(importRules) {
		name, allowed, ok := strings.Cut(strings.TrimSpace(line), "<")
		if ok {
			m[strings.TrimSpace(name)] = strings.Fields(allowed)
		}
	}
	if len(m) < 10 {
		t.Fatalf("read only %d rules", len(m))
	}
	return m
}

// TestContributingListsPackages holds the list of packages that people read against the one that is policy.
func TestContributingListsPackages(t *testing.T) {
	b, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range rules(t) {
		if strings.Count(pkg, "/") < 2 && !strings.HasPrefix(pkg, "examples/") && pkg != "protocol/protocoltest" &&
			!regexp.MustCompile(`(?m)(^| )`+regexp.QuoteMeta(pkg)+`($|[ ,;])`).Match(b) {
			t.Errorf("CONTRIBUTING.md does not say what %s is for", pkg)
		}
	}
}

func TestImportsRunDownwards(t *testing.T) {
	allowed := rules(t)
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		rule, ok := allowed[pkg]
		if !ok && pkg != "." {
			t.Errorf("%s: package %s has no rule in importRules; give it its floor", path, pkg)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			seen++
			name, _ := strconv.Unquote(spec.Path.Value)
			for prefix, users := range onlyUser {
				if strings.HasPrefix(name, prefix) && !slices.Contains(users, pkg) {
					t.Errorf("%s imports %s; only %v may", path, name, users)
				}
			}
			if name == "testing" && !slices.Contains(testers, pkg) && !strings.HasSuffix(path, "_test.go") {
				t.Errorf("%s imports testing; outside of tests only %v may", path, testers)
			}
			if strings.HasPrefix(name, "github.com/nats-io/nats-server") && !strings.HasSuffix(path, "_test.go") {
				t.Errorf("%s imports %s; it is for tests only", path, name)
			}
			inner, ok := strings.CutPrefix(name, module+"/")
			// An external test of a package (package x_test) may import its own package.
			if ok && inner != pkg && !slices.Contains(rule, inner) && !slices.Contains(rule, "*") && !strings.HasSuffix(path, "_test.go") {
				t.Errorf("%s imports %s, which does not lie below it", path, inner)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("saw only %d imports: is the test running in the right place?", seen)
	}
}
