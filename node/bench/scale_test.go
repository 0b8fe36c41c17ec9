package bench

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/simtest"
)

// TestMain makes the test binary what scale starts to simulate.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == SimulateCommand {
		simtest.Main(os.Stdin, os.Stdout)
	}
	os.Exit(m.Run())
}

// TestSimulationInAProcess: a simulation in a process of its own brings back what it measured, and
// says why if it cannot.
func TestSimulationInAProcess(t *testing.T) {
	p := simtest.Propagation{Nodes: 4, Authors: 2, Every: time.Second, Files: single(5)}
	r, err := child(t.Context(), &p)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Delays) != 3*3 || len(r.Sizes) != 3 || len(r.Links) != 6 {
		t.Errorf("3 messages among 4 nodes were %d deliveries of %d, by %d connections", len(r.Delays), len(r.Sizes), len(r.Links))
	}
	for _, d := range r.Delays {
		if d < simtest.Latency || d > 10*simtest.Latency {
			t.Errorf("a message took %v: the time is not virtual", d)
		}
	}
	p.Authors = 9
	if _, err := child(t.Context(), &p); err == nil || !strings.Contains(err.Error(), "cannot be simulated") {
		t.Errorf("more authors than nodes: %v", err)
	}
}

// TestLoopback: nodes on this machine are measured beside gossip alone, whatever the machine does
// meanwhile.
func TestLoopback(t *testing.T) {
	var r Result
	o := Options{Dir: t.TempDir()}
	ratio, err := loopback(t.Context(), &o, &r, realRun{nodes: 4, total: 4, every: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range r.Figures {
		if f.Value <= 0 {
			t.Errorf("%s is %v", f.Name, f.Value)
		}
		got[f.Name] = f.Value
	}
	if a, b := got["4 real, p99"], got["4 real, p99, gossip alone"]; ratio != got["4 real, p99, ratio"] || a/b < 0.9*ratio || a/b > 1.1*ratio {
		t.Errorf("p99 is %v ms, that of gossip %v ms, and the ratio %v", a, b, ratio)
	}
	if a, b := got["4 real, p50"], got["4 real, acknowledged, p50"]; a <= 0 || b <= 0 {
		t.Errorf("figures lack: %v", got)
	}
}
