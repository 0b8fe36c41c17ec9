package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// buildVersion and buildCommit are set by the linker for a release: -X main.buildVersion=1.2.3.
var buildVersion, buildCommit string

// versionReport is what 'entente version' tells.
type versionReport struct {
	Version string          `json:"version"`
	Commit  string          `json:"commit,omitempty"`
	Built   string          `json:"commit_time,omitempty"` // of the commit; when it was compiled would make no two builds equal
	Changed bool            `json:"modified,omitempty"`    // files were changed after the commit
	Go      string          `json:"go"`
	System  string          `json:"system"` // as linux/amd64
	Speaks  []string        `json:"speaks"` // protocols with their versions, the best of each first
	Modules []moduleVersion `json:"modules"`
}

// moduleVersion is one module that is compiled in, with the checksum of go.sum.
type moduleVersion struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"`
}

func versionInfo() *versionReport {
	r := &versionReport{Version: buildVersion, Commit: buildCommit, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Speaks: speaks()}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if r.Version == "" {
			r.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				if r.Commit == "" {
					r.Commit = s.Value
				}
			case "vcs.time":
				r.Built = s.Value
			case "vcs.modified":
				r.Changed = s.Value == "true"
			}
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			r.Modules = append(r.Modules, moduleVersion{m.Path, m.Version, m.Sum})
		}
	}
	if r.Version == "" {
		r.Version = "unknown"
	}
	return r
}

// version is that of --version.
func version() string { return versionInfo().Version }

// program is what peers are told that this node runs.
func program() string {
	p := "entente " + printable(version())
	return strings.ToValidUTF8(p[:min(len(p), protocol.MaxProgramSize)], "")
}

// speaks lists what this program speaks with others, and the formats that it reads.
func speaks() []string { return node.Speaks() }

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version, what it was built from, and what it speaks", Example: "  entente version --json", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r := versionInfo()
			return a.print(r, func(w io.Writer) {
				commit := dash(r.Commit)
				if r.Built != "" {
					commit += " of " + r.Built
				}
				if r.Changed {
					commit += ", and changes since"
				}
				fmt.Fprintf(w, "version  %s\ncommit   %s\ngo       %s, %s\nspeaks   %s\nmodules  %d ('entente version --json' lists them with their checksums)\n",
					r.Version, commit, r.Go, r.System, strings.Join(r.Speaks, "\n         "), len(r.Modules))
			})
		},
	}
}
