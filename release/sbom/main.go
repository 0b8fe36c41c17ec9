// Command sbom describes what a released binary is made of: a bill of materials in CycloneDX 1.6 on standard output, and the
// licences of all modules as text. Everything is read from the binary itself (debug/buildinfo), so that it says what was
// linked and not what a go.mod might have led to, and equal binaries give equal bytes: no time, no serial number.
//
//	sbom -version 1.2.3 -notices THIRD-PARTY.txt dist/entente >entente.cdx.json
//
// cyclonedx-gomod writes the same list; its output names the day and the checksums of the tool that wrote it, and it brings
// fifty modules along.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

func main() {
	version := flag.String("version", "", "version of the program")
	notices := flag.String("notices", "", "file for the licences of all modules")
	flag.Parse()
	if flag.NArg() != 1 || *version == "" {
		fmt.Fprintln(os.Stderr, "usage: sbom -version VERSION [-notices FILE] BINARY")
		os.Exit(2)
	}
	if err := run(os.Stdout, flag.Arg(0), *version, *notices); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, binary, version, notices string) error {
	f, err := os.Open(binary)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	info, err := buildinfo.Read(f)
	if err != nil {
		return err
	}
	b, err := describe(info, version, hex.EncodeToString(sum.Sum(nil)))
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(b); err != nil {
		return err
	}
	if notices == "" {
		return nil
	}
	env, err := goEnv("GOMODCACHE", "GOROOT")
	if err != nil {
		return err
	}
	text, err := licences(info, env[0], env[1])
	if err != nil {
		return err
	}
	return os.WriteFile(notices, []byte(text), 0o644)
}

func goEnv(names ...string) ([]string, error) {
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("asking go where its modules are: %w", err)
	}
	values := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(values) != len(names) {
		return nil, fmt.Errorf("go env answered %q", out)
	}
	return values, nil
}

// The members of CycloneDX 1.6 that are used: https://cyclonedx.org/docs/1.6/json/
type bom struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Scope      string     `json:"scope,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Licences   []licence  `json:"licenses,omitempty"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type licence struct {
	Expression string `json:"expression"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// describe returns the bill of a binary whose SHA-256 in hexadecimal is sum.
func describe(info *debug.BuildInfo, version, sum string) (*bom, error) {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["-trimpath"] != "true" {
		return nil, errors.New("the binary was built without -trimpath and holds paths of the machine; build it by 'make release'")
	}
	root := component{
		Type: "application", Ref: purl(info.Main.Path, version), Name: info.Main.Path, Version: version, PURL: purl(info.Main.Path, version),
		Hashes: []hash{{"SHA-256", sum}}, Licences: []licence{{"Apache-2.0"}},
	}
	for _, key := range []string{"GOOS", "GOARCH", "CGO_ENABLED"} {
		root.Properties = append(root.Properties, property{"cdx:gomod:build:env:" + key, settings[key]})
	}
	b := &bom{Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: metadata{root}}
	// The standard library is named as scanners of vulnerabilities look for it.
	std, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	b.Components = append(b.Components, component{Type: "library", Ref: purl("stdlib", std), Name: "stdlib", Version: std, Scope: "required", PURL: purl("stdlib", std)})
	for _, m := range modules(info) {
		c := component{Type: "library", Ref: purl(m.Path, m.Version), Name: m.Path, Version: m.Version, Scope: "required", PURL: purl(m.Path, m.Version)}
		// The checksum of go.sum: SHA-256 over the files of the module, see golang.org/x/mod/sumdb/dirhash.
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("module %s has no checksum (%q): was it replaced by a directory?", m.Path, m.Sum)
		}
		c.Hashes = []hash{{"SHA-256", hex.EncodeToString(raw)}}
		b.Components = append(b.Components, c)
	}
	// Which module needs which does not stand in a binary.
	all := dependency{Ref: root.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	b.Dependencies = []dependency{all}
	return b, nil
}

// modules returns what is linked, ordered by path.
func modules(info *debug.BuildInfo) (list []debug.Module) {
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		list = append(list, *m)
	}
	slices.SortFunc(list, func(x, y debug.Module) int { return strings.Compare(x.Path, y.Path) })
	return list
}

// purl is a package URL: https://github.com/package-url/purl-spec. The + of a version is escaped there.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([._-].*)?$`)

// licences returns the texts that go with the modules, one after the other; a text that many have in common stands once.
func licences(info *debug.BuildInfo, modcache, goroot string) (string, error) {
	type part struct{ of, text string }
	var parts []part
	add := func(name, dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("reading licences of %s: %w (run 'go mod download')", name, err)
		}
		found := false
		for _, e := range entries {
			if !licenceFile.MatchString(e.Name()) || !e.Type().IsRegular() || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			found = true
			text := strings.TrimSpace(strings.ReplaceAll(string(b), "\r\n", "\n"))
			if i := slices.IndexFunc(parts, func(p part) bool { return p.text == text }); i >= 0 {
				parts[i].of += "\n" + name
			} else {
				parts = append(parts, part{name, text})
			}
		}
		if !found {
			return fmt.Errorf("module %s has no licence beside its go.mod; find out what it may be used for", name)
		}
		return nil
	}
	if err := add("Go "+strings.TrimPrefix(info.GoVersion, "go"), goroot); err != nil {
		return "", err
	}
	for _, m := range modules(info) {
		path, err := module.EscapePath(m.Path)
		if err != nil {
			return "", err
		}
		version, err := module.EscapeVersion(m.Version)
		if err != nil {
			return "", err
		}
		if err := add(m.Path+" "+m.Version, filepath.Join(modcache, filepath.FromSlash(path)+"@"+version)); err != nil {
			return "", err
		}
	}
	var out strings.Builder
	out.WriteString("The program holds these modules, under these licences.\n")
	line := strings.Repeat("-", 78)
	for _, p := range parts {
		fmt.Fprintf(&out, "\n%s\n%s\n%s\n\n%s\n", line, p.of, line, p.text)
	}
	return out.String(), nil
}
