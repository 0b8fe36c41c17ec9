package simtest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestPropagation: what entente bench measures is there, for nodes and for gossip alone, and no
// message is faster than light.
func TestPropagation(t *testing.T) {
	const nodes = 5
	p := Propagation{Nodes: nodes, Authors: 2, Every: time.Second}
	for i := range 8 {
		p.Files = append(p.Files, fmt.Appendf(nil, `{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[
			{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-%012d","created":"2000-01-01T00:00:00Z","modified":"2000-01-01T00:00:00Z",
			"pattern":"[ipv4-addr:value = '198.51.100.%d']","pattern_type":"stix","valid_from":"2000-01-01T00:00:00Z"}]}`, i, i))
	}
	ours := p.Simulate(t)
	p.Bare, p.Sizes, p.Links = true, ours.Sizes, ours.Links
	bare := p.Simulate(t)
	if len(ours.Links) != nodes*(nodes-1)/2 {
		t.Errorf("%d connections; in a small mesh everybody is connected with everybody", len(ours.Links))
	}
	for what, r := range map[string]Propagated{"nodes": ours, "gossip": bare} {
		if len(r.Delays) != 6*(nodes-1) || len(r.Calls) != 6 || len(r.Sizes) != 6 {
			t.Errorf("%s: %d deliveries of %d messages", what, len(r.Delays), len(r.Calls))
		}
		for _, d := range r.Delays {
			if d < Latency || d > 10*Latency {
				t.Errorf("%s: a message took %v", what, d)
			}
		}
		if r.Sent <= r.Idle || r.Sent < int64(6*(nodes-1)*r.Sizes[0]) {
			t.Errorf("%s: sent %d bytes, %d of them when nothing was published", what, r.Sent, r.Idle)
		}
		if r.Duplicates == 0 {
			t.Errorf("%s: no message came twice; gossip has no redundancy", what)
		}
	}
}

// TestSpreadMisses: what does not arrive is an error, and not a good figure.
func TestSpreadMisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSpread(3)
		_, err := s.Publish(t.Context(), 4, time.Second, []int{0, 1}, func(author, message int) (string, error) {
			name := fmt.Sprint(message)
			for i := range 3 {
				if i != author && (i != 2 || message != 3) {
					s.Arrived(i, name)
				}
			}
			return name, nil
		})
		if err == nil {
			t.Error("a message that did not arrive is not missed")
		}
	})
}
