package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

const someSum = "h1:r6RSZLFSMm6rzKepZ7ZAYkKCu14f3/Me8c7uKYh7C8c="

func built(deps ...*debug.Module) *debug.BuildInfo {
	return &debug.BuildInfo{
		GoVersion: "go1.26.8 X:jsonv2", Path: "example.org/m/cmd/p", Main: debug.Module{Path: "example.org/m", Version: "(devel)"}, Deps: deps,
		Settings: []debug.BuildSetting{{Key: "-trimpath", Value: "true"}, {Key: "CGO_ENABLED", Value: "0"}, {Key: "GOARCH", Value: "arm64"}, {Key: "GOOS", Value: "linux"}},
	}
}

func TestBillNamesEveryModule(t *testing.T) {
	info := built(
		&debug.Module{Path: "example.org/z", Version: "v2.0.0+incompatible", Sum: someSum},
		&debug.Module{Path: "example.org/a", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/fork", Version: "v1.0.1", Sum: someSum}},
	)
	b, err := describe(info, "1.2.3", "00ff")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range b.Components {
		got = append(got, c.PURL)
	}
	want := []string{"pkg:golang/stdlib@1.26.8", "pkg:golang/example.org/fork@v1.0.1", "pkg:golang/example.org/z@v2.0.0%2Bincompatible"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Equal(b.Dependencies[0].DependsOn, want) {
		t.Errorf("depends on %q", b.Dependencies[0].DependsOn)
	}
	if c := b.Metadata.Component; c.PURL != "pkg:golang/example.org/m@1.2.3" || c.Hashes[0] != (hash{"SHA-256", "00ff"}) {
		t.Errorf("the program is %+v", c)
	}
	if sum := b.Components[1].Hashes[0].Content; sum != "afa45264b152326eabcca7a967b640624282bb5e1fdff31ef1ceee29887b0bc7" {
		t.Errorf("checksum %s", sum)
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, varying := range []string{"timestamp", "serialNumber"} {
		if strings.Contains(string(text), varying) {
			t.Errorf("holds a %s", varying)
		}
	}
}

func TestBillRefuses(t *testing.T) {
	local := built(&debug.Module{Path: "example.org/a", Version: "v1.0.0", Replace: &debug.Module{Path: "../a"}})
	paths := built()
	paths.Settings = nil
	for _, row := range []struct {
		name string
		info *debug.BuildInfo
		want string
	}{
		{"a module from a directory", local, "no checksum"},
		{"paths of the machine", paths, "-trimpath"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := describe(row.info, "1.2.3", "00"); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLicences(t *testing.T) {
	cache, goroot := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(goroot, "LICENSE"), "the licence of Go\n")
	write(filepath.Join(cache, "example.org", "!big@v1.0.0", "LICENSE.md"), "shared\r\ntext\n")
	write(filepath.Join(cache, "example.org", "!big@v1.0.0", "NOTICE"), "made by somebody\n")
	write(filepath.Join(cache, "example.org", "!big@v1.0.0", "license.go"), "package big\n")
	write(filepath.Join(cache, "example.org", "small@v1.0.0", "COPYING"), "shared\ntext\n")
	info := built(&debug.Module{Path: "example.org/small", Version: "v1.0.0"}, &debug.Module{Path: "example.org/Big", Version: "v1.0.0"})
	text, err := licences(info, cache, goroot)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the licence of Go", "example.org/Big v1.0.0\nexample.org/small v1.0.0\n", "made by somebody"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Count(text, "shared\ntext") != 1 || strings.Contains(text, "package big") {
		t.Errorf("got\n%s", text)
	}
	write(filepath.Join(cache, "example.org", "bare@v1.0.0", "go.mod"), "module example.org/bare\n")
	info.Deps = append(info.Deps, &debug.Module{Path: "example.org/bare", Version: "v1.0.0"})
	if _, err := licences(info, cache, goroot); err == nil || !strings.Contains(err.Error(), "example.org/bare v1.0.0 has no licence") {
		t.Errorf("a module without licence: %v", err)
	}
	info.Deps = append(info.Deps[:2], &debug.Module{Path: "example.org/absent", Version: "v1.0.0"})
	if _, err := licences(info, cache, goroot); err == nil || !strings.Contains(err.Error(), "go mod download") {
		t.Errorf("a module that is not there: %v", err)
	}
}
