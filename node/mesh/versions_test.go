package mesh

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/entente-mesh/entente/protocol"
)

// TestMismatch: a version in common is enough; who has not told yet what it speaks is not
// judged; names that only look like ours say nothing.
func TestMismatch(t *testing.T) {
	own := new(Wire).resolve()
	for _, row := range []struct{ offered, want string }{
		{"", ""},
		{"/ipfs/id/1.0.0", ""},
		{"/entente/hello/1 /entente/sync/1 /entente/gossip/1", ""},
		{"/entente/hello/3 /entente/hello/2 /entente/sync/3 /entente/sync/1 /entente/gossip/1", ""},
		{"/entente/hello/1", ""},
		{"/entente/hello/10", "version 10 of entente/hello, this node 2, 1"},
		{"/entente/hello/4 /entente/hello/3", "version 3, 4 of entente/hello"},
		{"/entente/hello/1 /entente/sync/3 /entente/gossip/1", "version 3 of entente/sync"},
		{"/entente/hello/1 /entente/sync/1 /entente/gossip/2", "version 2 of entente/gossip"},
		{"/entente/hello/\x1b[2J", "version [2J of"},
		{"/ententes/sync/2 /other/entente/sync/2", ""},
	} {
		var offered []libp2pprotocol.ID
		for _, id := range strings.Fields(row.offered) {
			offered = append(offered, libp2pprotocol.ID(id))
		}
		if got := own.mismatchOf(offered); (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%q: %q, want %q", row.offered, got, row.want)
		}
	}
}

// faults says what is wrong with a table of releases: the present one has to speak the best version of
// each of the two before it.
func faults(list []release) (out []string) {
	for _, r := range list[1:min(3, len(list))] {
		best := map[string]bool{}
		for _, id := range r.speaks {
			if name := nameOf(id); !best[name] {
				best[name] = true
				if !slices.Contains(list[0].speaks, id) {
					out = append(out, "release "+list[0].name+" does not speak "+id+", the best that "+r.name+" speaks")
				}
			}
		}
	}
	return out
}

// TestReleases: what this program speaks is the first row of the table, and it talks with two releases back.
func TestReleases(t *testing.T) {
	if got := Speaks(); !slices.Equal(got, releases[0].speaks) {
		t.Errorf("the program speaks %v, and its release is said to speak %v", got, releases[0].speaks)
	}
	for _, f := range faults(releases) {
		t.Error(f)
	}
	if list := faults([]release{{"3", []string{"/x/3", "/x/2"}}, {"2", []string{"/x/2", "/x/1"}}, {"1", []string{"/x/1"}}, {"0", []string{"/x/0"}}}); len(list) != 1 || !strings.Contains(list[0], "/x/1") {
		t.Errorf("a release that drops a version too early: %v", list)
	}
}

// TestEnds: a peer ends with the next release if it speaks nothing that the last two spoke best.
func TestEnds(t *testing.T) {
	keeps := keepsNext([]release{{"3", []string{"/x/3", "/x/2", "/y/1"}}, {"2", []string{"/x/3", "/x/2", "/y/1"}}, {"1", []string{"/x/2", "/y/1"}}})
	if !slices.Equal(keeps, []string{"/x/3", "/y/1"}) {
		t.Fatalf("the next release keeps %v", keeps)
	}
	for offered, ends := range map[string]bool{"": false, "/x/3 /x/2 /y/1": false, "/x/3": false, "/x/2 /y/1": true, "/x/2": true, "/z/1": false, "/y/2": true} {
		if got := endsWith(strings.Fields(offered), keeps); (got != "") != ends {
			t.Errorf("of a peer that speaks %q it is said: %q", offered, got)
		}
	}
	for _, r := range releases[:2] {
		if got := endsWith(r.speaks, keepsNext(releases)); got != "" {
			t.Errorf("release %s: %s", r.name, got)
		}
	}
}

// previous makes a member speak what the release before this one did.
func previous(c *Config) { c.Wire.Speaks = releases[1].speaks }

// TestMixedReleases: members of this release and of the one before say hello and answer each other,
// whoever calls; only those of this one introduce themselves, and tell what they do not know.
func TestMixedReleases(t *testing.T) {
	present := func(c *Config) { c.Program, c.Capabilities = "entente 0.2", []string{"a", "b"} }
	for _, row := range []struct {
		name           string
		caller, called func(*Config)
		told           bool
	}{{"both present", present, present, true}, {"a previous one calls", previous, present, false}, {"a previous one is called", present, previous, false}, {"both previous", previous, previous, false}} {
		t.Run(row.name, func(t *testing.T) {
			c := newClub()
			refuse := func(cfg *Config) {
				cfg.Serve = func(_ context.Context, _ protocol.NodeID, req *protocol.SyncMessage) (*protocol.SyncMessage, error) {
					if req.Kind == protocol.SyncList {
						return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "no list for you")
					}
					return req, nil
				}
			}
			a, b := newMember(t, c, overQUIC, row.caller, refuse), newMember(t, c, overQUIC, row.called, refuse)
			c.add(a.self, b.self)
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			if err := a.Connect(ctx, b.self, b.Addrs()); err != nil {
				t.Fatal(err)
			}
			for _, way := range [][2]*member{{a, b}, {b, a}} {
				from, to := way[0], way[1]
				eventually(t, "both let each other in", func() bool { return from.admitted(to.self) })
				said := from.Spoken(to.self)
				if told := said.Program == "entente 0.2" && slices.Equal(said.Capabilities, []string{"a", "b"}) && from.Capable(to.self, "b"); told != row.told || from.Capable(to.self, "c") {
					t.Errorf("of its peer it knows %+v", said)
				}
				answer, err := from.Ask(ctx, to.self, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncDigest})
				if err != nil || answer.Kind != protocol.SyncDigest {
					t.Errorf("a request: %v", err)
				}
				if _, err := from.Ask(ctx, to.self, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncList}); err == nil || !strings.Contains(err.Error(), "no list for you") {
					t.Errorf("a request that is refused: %v", err)
				}
				for range 2 { // the second time it is known
					if _, err := from.Ask(ctx, to.self, &protocol.SyncMessage{Version: 1, Kind: 250}); !errors.Is(err, ErrNotUnderstood) {
						t.Errorf("a request of a kind to come: %v", err)
					}
				}
				if row.told != from.knowsNot(to.self, 250) {
					t.Error("that it is not understood is asked of every peer of this release once, and of none before")
				}
			}
		})
	}
}

// TestIntroductionRefused: what stands ahead of a hello is decoded strictly.
func TestIntroductionRefused(t *testing.T) {
	good := func() *protocol.Introduction {
		return &protocol.Introduction{Version: 1, Program: "p", Capabilities: []string{"a", "b"}}
	}
	whole := func(i *protocol.Introduction) []byte {
		b := protocol.Encode(i)
		return append(append(make([]byte, 16), byte(len(b)>>8), byte(len(b))), b...)
	}
	if _, said, hello, err := splitHello(helloV2, append(whole(good()), "hello"...)); err != nil || said.Program != "p" || string(hello) != "hello" {
		t.Fatalf("a good one: %v, %q, %v", said, hello, err)
	}
	long := good()
	long.Capabilities = nil
	for range 65 {
		long.Capabilities = append(long.Capabilities, "c"+strings.Repeat("x", len(long.Capabilities)))
	}
	for name, b := range map[string][]byte{
		"no process":        make([]byte, 15),
		"no length":         make([]byte, 17),
		"cut":               whole(good())[:20],
		"not canonical":     append(make([]byte, 16), 0, 1, 0xff),
		"a later version":   whole(&protocol.Introduction{Version: 2}),
		"out of order":      whole(&protocol.Introduction{Version: 1, Capabilities: []string{"b", "a"}}),
		"twice":             whole(&protocol.Introduction{Version: 1, Capabilities: []string{"a", "a"}}),
		"no token":          whole(&protocol.Introduction{Version: 1, Capabilities: []string{"A b"}}),
		"too many":          whole(long),
		"a long name":       whole(&protocol.Introduction{Version: 1, Program: strings.Repeat("x", protocol.MaxProgramSize+1)}),
		"a terminal's code": whole(&protocol.Introduction{Version: 1, Program: "\x1b[2J"}),
	} {
		if _, _, _, err := splitHello(helloV2, b); err == nil || protocol.Class(err) == "other" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readAnswer(nil); err == nil {
		t.Error("an answer without a status")
	}
	if _, err := readAnswer([]byte{2, 1}); err == nil {
		t.Error("an answer with a status to come")
	}
	if _, err := readAnswer([]byte{1, 1}); err == nil || errors.Is(err, ErrNotUnderstood) {
		t.Error("a refusal that does not decode")
	}
}
