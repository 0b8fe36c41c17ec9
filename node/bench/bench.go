package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Options say how to run a scenario.
type Options struct {
	Dir  string                           // for data directories; it is left as full as it gets
	Size int                              // of the scenario, in its own unit; 0: its default
	Say  func(format string, args ...any) // what is being done; may be nil

	syncEvery time.Duration // of nodes, in tests; 0: as everywhere
}

func (o *Options) say(format string, args ...any) {
	if o.Say != nil {
		o.Say(format, args...)
	}
}

// Result is what came of a scenario.
type Result struct {
	Scenario string  `json:"scenario"`
	Measured string  `json:"measured"`   // what the rate counts
	Rate     float64 `json:"rate_per_s"` // of that
	Baseline string  `json:"baseline"`   // what it is compared with
	Base     float64 `json:"baseline_per_s"`
	Ratio    float64 `json:"ratio"` // rate by baseline
	Reach    string  `json:"to_reach"`
	Reached  bool    `json:"reached"`
	Figures  []Row   `json:"figures"`
	Machine  Machine `json:"machine"`
}

// Row is one more figure.
type Row struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Note  string  `json:"note,omitempty"`
}

// Machine is where it was measured.
type Machine struct {
	OS, Arch, CPU, Go string
	Cores             int
}

func machine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), Cores: runtime.GOMAXPROCS(0)}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				m.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	return m
}

func (r *Result) add(name string, value float64, unit, note string) {
	r.Figures = append(r.Figures, Row{name, value, unit, note})
}

// Scenario is one of those that there are.
type Scenario struct {
	Name  string
	About string
	Unit  string // of its size
	Size  int    // its default
	run   func(ctx context.Context, o *Options, r *Result) error
}

// Scenarios lists them.
func Scenarios() []Scenario {
	return []Scenario{floodScenario, catchupScenario, audienceScenario, aseanScenario, simdaScenario, lookupScenario, decideScenario, envelopeScenario, scaleScenario}
}

// ErrUnknown is returned for a scenario that there is not.
var ErrUnknown = errors.New("no such scenario")

// Run runs a scenario.
func Run(ctx context.Context, name string, o Options) (*Result, error) {
	i := slices.IndexFunc(Scenarios(), func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%q: %w", name, ErrUnknown)
	}
	s := Scenarios()[i]
	if o.Size == 0 {
		o.Size = s.Size
	}
	r := &Result{Scenario: name, Machine: machine()}
	if err := s.run(ctx, &o, r); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	if r.Base > 0 {
		r.Ratio = r.Rate / r.Base
	}
	return r, nil
}

// quantile returns the q-quantile of durations, which it sorts.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(math.Ceil(q*float64(len(list))))-1)]
}

// perSecond returns how many a second count in d are.
func perSecond(count int, d time.Duration) float64 { return float64(count) / d.Seconds() }
