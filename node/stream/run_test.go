package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// unreliable is a receiver that takes what it gets as its seed says, and tells as much as that says.
type unreliable struct {
	mu   sync.Mutex
	rnd  *rand.Rand
	well bool
	down bool
	got  []message
}

func (u *unreliable) open(*node.Sink) (sender, error) { return unreliableSender{u}, nil }

type unreliableSender struct{ u *unreliable }

func (s unreliableSender) close() {}

func (s unreliableSender) send(ctx context.Context, list []message) (int, error) {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	if s.u.down {
		return 0, errors.New("down")
	}
	if s.u.well {
		s.u.got = append(s.u.got, list...)
		return len(list), nil
	}
	arrived := s.u.rnd.IntN(len(list) + 1)
	s.u.got = append(s.u.got, list[:arrived]...)
	switch s.u.rnd.IntN(3) {
	case 0:
		return arrived, errors.New("broke off")
	case 1:
		return s.u.rnd.IntN(arrived + 1), &Later{errors.New("busy"), time.Duration(s.u.rnd.IntN(100)) * time.Second}
	}
	<-ctx.Done() // it never answers
	return 0, ctx.Err()
}

// TestDeliveryFromANode runs the sinks of a real node in virtual time, stopped at random moments, to a
// receiver that fails at random, while records come, are withdrawn and erased, and rules change.
func TestDeliveryFromANode(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { deliverFromANode(t, seed) }) })
	}
}

func deliverFromANode(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := testNode(t)
	loadRules(t, n, noAmber, people)
	u := &unreliable{rnd: rand.New(rand.NewPCG(seed, 2))}
	s := node.Sink{Name: "x", Kind: node.SinkWebhook, URL: "https://x.example", Reader: "ann", Batch: 1 + rnd.IntN(4)}
	if _, err := Complete(n, &s, nil, false); err != nil {
		t.Fatal(err)
	}
	if _, err := n.SetSink(t.Context(), s, 0, false); err != nil {
		t.Fatal(err)
	}
	var ids []protocol.RecordID
	for i := range 30 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = run(ctx, n, nil, u.open) }()
		switch rnd.IntN(5) {
		case 0, 1:
			tlp := []protocol.TLP{protocol.TLPGreen, protocol.TLPAmber}[rnd.IntN(2)]
			ids = append(ids, publish(t, n, tlp, fmt.Sprintf("198.51.100.%d", 2*i+1), fmt.Sprintf("198.51.100.%d", 2*i+2))...)
		case 2:
			if len(ids) > 0 {
				at := rnd.IntN(len(ids))
				erase(t, n, ids[at])
				ids = slices.Delete(ids, at, at+1)
			}
		case 3:
			if len(ids) > 0 {
				_ = n.Withdraw(t.Context(), ids[rnd.IntN(len(ids)):][:1], "wrong")
			}
		}
		time.Sleep(time.Duration(rnd.IntN(200)) * time.Second)
		cancel()
		<-done
	}
	u.mu.Lock()
	u.well = true
	u.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); _ = run(ctx, n, nil, u.open) }()
	time.Sleep(2 * maxLater)
	synctest.Wait()
	cancel()
	<-done

	var want []uint64
	for after := uint64(0); ; {
		list, next, err := n.Reader(n.PersonOf("ann")).Changes(nil, after, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			want = append(want, c.Cursor)
		}
		if next == after {
			break
		}
		after = next
	}
	var first []uint64
	for _, m := range u.got {
		if !slices.Contains(first, m.cursor) {
			first = append(first, m.cursor)
		}
		if strings.Contains(string(m.body), `"amber"`) {
			t.Errorf("delivered what its reader may not export: %s", m.body)
		}
	}
	if !slices.IsSorted(first) {
		t.Errorf("for the first time in the order %v", first)
	}
	for _, c := range want {
		if !slices.Contains(first, c) {
			t.Errorf("change %d never arrived; %v did", c, first)
		}
	}
	if p := progress(t, n, "x"); !p.Failing.IsZero() || !p.Behind.IsZero() {
		t.Errorf("up to date, and says %+v", p)
	}
}

// TestReaderLeaves: who is not in the people file any more reads nothing, and the sink says so; another
// sink goes on.
func TestReaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNode(t)
		loadRules(t, n, noAmber, people)
		ann, bob := &unreliable{well: true}, &unreliable{well: true}
		for _, name := range []string{"ann", "bob"} {
			s := node.Sink{Name: name, Kind: node.SinkWebhook, URL: "https://x.example", Reader: name}
			if _, err := Complete(n, &s, nil, false); err != nil {
				t.Fatal(err)
			}
			if _, err := n.SetSink(t.Context(), s, 0, false); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = run(ctx, n, nil, func(s *node.Sink) (sender, error) {
				if s.Name == "ann" {
					return ann.open(s)
				}
				return bob.open(s)
			})
		}()
		loadRules(t, n, noAmber, nobody)
		publish(t, n, protocol.TLPAmber, "198.51.100.1")
		time.Sleep(2 * time.Hour)
		if p := progress(t, n, "ann"); len(ann.got) != 0 || p.Failing.IsZero() || !strings.Contains(p.Error, "names no person") {
			t.Errorf("who left got %d, %+v", len(ann.got), p)
		}
		if len(bob.got) != 1 {
			t.Errorf("the other got %d", len(bob.got))
		}
		st, err := n.Status()
		if err != nil || !slices.ContainsFunc(st.Problems, func(p node.Problem) bool {
			return strings.Contains(p.Text, "sink ann") && strings.Contains(p.Text, "names no person") && p.Severity == "warning"
		}) {
			t.Errorf("%+v, %v", st.Problems, err)
		}
		loadRules(t, n, noAmber, people) // she is back, and still an analyst
		time.Sleep(2 * maxBackoff)
		if p := progress(t, n, "ann"); len(ann.got) != 0 || !p.Failing.IsZero() || p.Cursor != 1 {
			t.Errorf("who came back got %d, %+v", len(ann.got), p)
		}
		cancel()
		<-done
	})
}

// TestSinkLags: a sink that fails for more than an hour, or that stopped, is a problem; what a person
// removes or replays ends what is under way.
func TestSinkLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNode(t)
		u := &unreliable{down: true}
		set(t, n, node.Sink{Name: "x", Kind: node.SinkWebhook, URL: "https://x.example/hook?token=abc"})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = run(ctx, n, nil, u.open) }()
		problems := func() (out []string) {
			st, err := n.Status()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range st.Problems {
				if strings.Contains(p.Text, "sink") {
					out = append(out, p.Severity+": "+p.Text)
				}
			}
			return out
		}
		publish(t, n, protocol.TLPGreen, "198.51.100.1")
		time.Sleep(50 * time.Minute)
		if p := problems(); len(p) != 0 {
			t.Errorf("after 50 minutes: %q", p)
		}
		time.Sleep(20 * time.Minute)
		if p := problems(); len(p) != 1 || !strings.HasPrefix(p[0], "warning: nothing could be delivered to sink x since") || !strings.HasSuffix(p[0], ": down") {
			t.Errorf("after 70 minutes: %q", p)
		}
		u.mu.Lock()
		u.down, u.well = false, true
		u.mu.Unlock()
		time.Sleep(2 * maxBackoff)
		if p := problems(); len(p) != 0 || len(u.got) != 1 {
			t.Errorf("when it is back: %q, got %d", p, len(u.got))
		}
		if err := n.ReplaySink(t.Context(), "x", 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(u.got) != 2 || u.got[0].id != u.got[1].id {
			t.Errorf("replayed %d", len(u.got))
		}
		if err := n.ReplaySink(t.Context(), "x", 7); err == nil || !strings.Contains(err.Error(), "has not given cursor 7") {
			t.Errorf("a replay from the future: %v", err)
		}
		if err := n.RemoveSink(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		publish(t, n, protocol.TLPGreen, "198.51.100.2")
		synctest.Wait()
		if len(u.got) != 2 {
			t.Errorf("a sink that was removed got %d", len(u.got))
		}
		if err := n.RemoveSink(t.Context(), "x"); !errors.Is(err, node.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		cancel()
		<-done
	})
}

// TestPrepare: what cannot be delivered to is refused when it is set, with what to do.
func TestPrepare(t *testing.T) {
	hook := func(change func(*node.Sink)) node.Sink {
		s := node.Sink{Name: "x", Kind: node.SinkWebhook, URL: "https://x.example/in", Secret: node.NewSinkSecret(NewSecret())}
		change(&s)
		return s
	}
	bus := func(change func(*node.Sink)) node.Sink {
		s := node.Sink{Name: "x", Kind: node.SinkNATS, URL: "tls://x.example:4222"}
		change(&s)
		return s
	}
	log := func(change func(*node.Sink)) node.Sink {
		s := node.Sink{Name: "x", Kind: node.SinkSyslog, URL: "tls://x.example:6514"}
		change(&s)
		return s
	}
	for i, c := range []struct {
		s    node.Sink
		says string
	}{
		{hook(func(*node.Sink) {}), ""},
		{bus(func(*node.Sink) {}), ""},
		{log(func(*node.Sink) {}), ""},
		{hook(func(s *node.Sink) { s.URL = "http://x.example"; s.Plain = true }), ""},
		{hook(func(s *node.Sink) { s.URL = "http://x.example" }), "--allow-plain"},
		{hook(func(s *node.Sink) { s.URL = "ftp://x.example" }), "https://"},
		{hook(func(s *node.Sink) { s.URL = "https:///x" }), "no URL with a host"},
		{hook(func(s *node.Sink) { s.URL = "https://me:pass@x.example" }), "--secret-file"},
		{hook(func(s *node.Sink) { s.URL = "https://x.example/#a" }), "fragment"},
		{hook(func(s *node.Sink) { s.Format = node.SinkCEF }), "no format cef"},
		{hook(func(s *node.Sink) { s.Stream = "S" }), "NATS"},
		{hook(func(s *node.Sink) { s.Secret = node.NewSinkSecret([]byte("short")) }), "whsec_"},
		{hook(func(s *node.Sink) { s.Roots = []byte("none") }), "PEM"},
		{bus(func(s *node.Sink) { s.URL = "nats://x.example:4222" }), "--allow-plain"},
		{bus(func(s *node.Sink) { s.URL = "tls://x.example/path" }), "only"},
		{bus(func(s *node.Sink) { s.Subject = "a.>" }), "subjects begin"},
		{bus(func(s *node.Sink) { s.Stream = "a b" }), "stream's name"},
		{bus(func(s *node.Sink) { s.Format = node.SinkCEF }), "no format"},
		{log(func(s *node.Sink) { s.URL = "udp://x.example:514" }), "UDP loses messages"},
		{log(func(s *node.Sink) { s.URL = "tcp://x.example:601" }), "--allow-plain"},
		{log(func(s *node.Sink) { s.URL = "tls://x.example" }), "port"},
		{log(func(s *node.Sink) { s.Format = node.SinkSTIX }), "no format"},
		{log(func(s *node.Sink) { s.Secret = node.NewSinkSecret([]byte("x")) }), "no secrets"},
	} {
		if err := Prepare(&c.s); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d: %v, not %q", i, err, c.says)
		}
	}
}

// TestSecretsStay: a secret is told once, and then neither by the node nor in its audit log.
func TestSecretsStay(t *testing.T) {
	n := testNode(t)
	s := node.Sink{Name: "x", Kind: node.SinkWebhook, URL: "https://x.example/hook?token=abc", Reader: "ann"}
	made, err := Complete(n, &s, nil, false)
	if err != nil || !strings.HasPrefix(made, "whsec_") {
		t.Fatal(made, err)
	}
	if _, err := n.SetSink(t.Context(), s, 0, false); err != nil {
		t.Fatal(err)
	}
	if _, err := n.SetSink(t.Context(), s, 0, false); err == nil || !strings.Contains(err.Error(), "there is a sink") {
		t.Errorf("set twice: %v", err)
	}
	list, err := n.Sinks()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	b, err := json.Marshal(list)
	text := fmt.Sprintf("%s %v %+v %#v", b, list, list[0], list[0].Secret)
	if err != nil || strings.Contains(text, made[6:20]) || strings.Contains(string(b), "secret") {
		t.Errorf("%s, %v", text, err)
	}
	if string(list[0].Secret.Unsafe()) != made {
		t.Error("the secret is another one")
	}
	// In the place of another one it is kept for the same receiver only.
	for url, kept := range map[string]bool{"https://x.example/other": true, "https://y.example/hook": false, "http://x.example/hook": false} {
		s := node.Sink{Name: "x", Kind: node.SinkWebhook, URL: url, Reader: "ann", Plain: true}
		if again, err := Complete(n, &s, nil, true); err != nil || (again == "") != kept || (string(s.Secret.Unsafe()) == made) != kept {
			t.Errorf("%s: %q, %v", url, again, err)
		}
	}
}
