package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node/bench"
	"github.com/entente-mesh/entente/node/simtest"
)

func (a *app) benchCommand() *cobra.Command {
	var size int
	var dir, profile string
	var keep bool
	var about strings.Builder
	for _, s := range bench.Scenarios() {
		fmt.Fprintf(&about, "\n  %-8s %s (--size: %s, %d unless given)", s.Name, s.About, s.Unit, s.Size)
	}
	c := &cobra.Command{
		Use:   "bench [SCENARIO...]",
		Short: "measure nodes on this machine, each beside a baseline measured in the same run",
		Long: "Measures nodes on this machine, on data made for it, each beside a baseline measured in the same run. Without a name all\n" +
			"scenarios run, one after the other:\n" + about.String() + "\n\nNothing of a node that this machine may run is touched.",
		Example: "  entente bench flood --on /var/lib/entente\n  entente bench lookup --size 10000000 --json",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return scenarioNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			defer runtime.KeepAlive(heapFloor()) // as 'up' does
			if len(args) == 0 {
				args = scenarioNames()
			}
			for _, name := range args {
				if !slices.Contains(scenarioNames(), name) {
					return fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(scenarioNames(), ", "))
				}
			}
			if size < 0 {
				return fmt.Errorf("--size must be positive")
			}
			if profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				if err := pprof.StartCPUProfile(f); err != nil {
					return err
				}
				defer pprof.StopCPUProfile()
			}
			top, err := os.MkdirTemp(dir, "entente-bench-")
			if err != nil {
				return err
			}
			if !keep {
				defer os.RemoveAll(top)
			}
			for _, name := range args {
				o := bench.Options{Dir: filepath.Join(top, name), Size: size}
				begun := time.Now()
				o.Say = func(format string, args ...any) {
					fmt.Fprintf(a.err, "%s %5.1fs  %s\n", name, time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
				}
				if err := os.Mkdir(o.Dir, 0o700); err != nil {
					return err
				}
				r, err := bench.Run(cmd.Context(), name, o)
				if err != nil {
					return err
				}
				if !keep {
					if err := os.RemoveAll(o.Dir); err != nil {
						return err
					}
				}
				if err := a.printBench(r); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().IntVar(&size, "size", 0, "how much, in the unit of the scenario; 0: its default")
	c.Flags().StringVar(&dir, "on", "", "directory on whose disk to measure (default: that for temporary files)")
	c.Flags().StringVar(&profile, "cpuprofile", "", "write where the time went to this file, for 'go tool pprof'")
	c.Flags().BoolVar(&keep, "keep", false, "leave the data directories")
	return c
}

// simulateCommand is what 'entente bench scale' starts this program as.
func simulateCommand() *cobra.Command {
	return &cobra.Command{
		Use:     bench.SimulateCommand,
		Hidden:  true,
		Short:   "simulate the mesh that standard input describes, for 'entente bench scale'",
		Example: "  entente simulate-mesh < mesh.json > measured.json",
		Args:    cobra.NoArgs,
		Run:     func(cmd *cobra.Command, _ []string) { simtest.Main(cmd.InOrStdin(), os.Stdout) },
	}
}

func scenarioNames() (names []string) {
	for _, s := range bench.Scenarios() {
		names = append(names, s.Name)
	}
	return names
}

// printBench prints one object for each scenario with --json.
func (a *app) printBench(r *bench.Result) error {
	return a.print(r, func(w io.Writer) {
		m := &r.Machine
		fmt.Fprintf(w, "\n%s on %d cores, %s, %s/%s, %s\n", r.Scenario, m.Cores, cmp.Or(m.CPU, "an unknown CPU"), m.OS, m.Arch, m.Go)
		yes := "not reached"
		if r.Reached {
			yes = "reached"
		}
		rows := [][]string{
			{"  " + r.Measured, figure(r.Rate), "1/s", ""},
			{"  " + r.Baseline, figure(r.Base), "1/s", "baseline"},
			{"  ratio", fmt.Sprintf("%.2f", r.Ratio), "", ""},
		}
		for _, f := range r.Figures {
			rows = append(rows, []string{"  " + f.Name, figure(f.Value), f.Unit, f.Note})
		}
		table(w, append(rows, []string{"  to reach", yes, "", r.Reach})...)
	})
}

// figure prints a number with three digits that count, and no more noise than that.
func figure(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
