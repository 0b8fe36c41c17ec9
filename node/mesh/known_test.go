package mesh

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	t.Cleanup(cancel)
	return ctx
}

// TestWhoIsLetIn: a hello that its owner believes lets a stranger in; a refused one tells
// the reason and ends the connection; who ceases to be known is disconnected.
func TestWhoIsLetIn(t *testing.T) {
	t.Parallel()
	c := newClub()
	judge := func(c2 *Config) {
		c2.Hello = func(remote protocol.NodeID, hello []byte) error {
			if !bytes.Equal(hello, []byte("invited")) {
				return protocol.Errorf(protocol.ErrUnknownAuthor, "no invitation")
			}
			c.add(remote)
			return nil
		}
	}
	host := newMember(t, c, overQUIC, judge)
	c.add(host.self)
	says := func(text string) func(*Config) {
		return func(c *Config) { c.OwnHello = func() []byte { return []byte(text) } }
	}
	stranger, guest := newMember(t, c, overQUIC, says("let me in")), newMember(t, c, overQUIC, says("invited"))
	if err := stranger.Connect(within(t), host.self, host.Addrs()); err == nil || !strings.Contains(err.Error(), "no invitation") {
		t.Errorf("a stranger was told: %v", err)
	}
	if len(host.Peers()) != 0 {
		t.Error("a stranger is a peer")
	}
	if err := stranger.Connect(within(t), host.self, host.Addrs()); err == nil {
		t.Error("a refused stranger came back at once")
	}
	connect(t, guest, host)
	if p := host.Peers(); len(p) != 1 || p[0].Node != guest.self || !p[0].Inbound || p[0].Org != protocol.OrgID(guest.self) {
		t.Errorf("peers are %+v", p)
	}
	if e := next(t, "the owner is told of the guest", host.changes); e != (peerEvent{guest.self, true}) {
		t.Errorf("told %+v", e)
	}
	c.remove(guest.self)
	host.Recheck()
	if e := next(t, "the owner is told of the end", host.changes); e != (peerEvent{guest.self, false}) {
		t.Errorf("told %+v", e)
	}
	eventually(t, "the guest is gone", func() bool { return len(host.Peers()) == 0 && len(guest.Peers()) == 0 })
}

// TestAsk: requests and answers, and what is told of errors.
func TestAsk(t *testing.T) {
	t.Parallel()
	c, all := newMembers(t, 2, overQUIC, func(c *Config) {
		c.Serve = func(_ context.Context, _ protocol.NodeID, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
			switch m.Kind {
			case protocol.SyncList:
				return nil, protocol.Errorf(protocol.ErrMalformed, "the list is odd")
			case protocol.SyncFetch:
				return nil, errors.New("disk /var/secret is broken")
			}
			return m, nil
		}
	})
	a, b := all[0], all[1]
	connect(t, a, b)
	req := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncDigest, Sets: protocol.Hash{7}}
	if got, err := a.Ask(within(t), b.self, req); err != nil || got.Sets != req.Sets {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := a.Ask(within(t), b.self, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncList}); err == nil || !strings.Contains(err.Error(), "the list is odd") {
		t.Errorf("an error of the protocol: %v", err)
	}
	if _, err := a.Ask(within(t), b.self, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncFetch}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an error of the peer's own: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Ask(ctx, b.self, req); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	c.remove(a.self)
	if _, err := a.Ask(within(t), b.self, req); err == nil {
		t.Error("who is not known was answered")
	}
	c.add(a.self)
	c.remove(b.self)
	if _, err := a.Ask(within(t), b.self, req); !errors.Is(err, protocol.ErrUnknownAuthor) {
		t.Errorf("asking who is not known: %v", err)
	}
}

// TestAddressesThatCannotBeUsed give errors that say what to do.
func TestAddressesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	_, all := newMembers(t, 2, overQUIC)
	for addr, want := range map[string]string{
		"192.0.2.1:4401":               "begins with a slash",
		"/p2p/" + all[0].self.String(): "another node",
		"/ip4/1.2.3.4/" + string(make([]byte, protocol.MaxAddrSize)): "at most",
	} {
		if err := all[0].Connect(within(t), all[1].self, []string{addr}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", addr, err, want)
		}
	}
	if err := all[0].Connect(within(t), all[1].self, nil); err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("no address: %v", err)
	}
	if err := all[0].Connect(within(t), all[0].self, all[0].Addrs()); err == nil {
		t.Error("a node connected with itself")
	}
}
