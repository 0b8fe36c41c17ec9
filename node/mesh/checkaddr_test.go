package mesh

import (
	"errors"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestCheckAddresses: what a node can listen on, and what others can dial.
func TestCheckAddresses(t *testing.T) {
	const own = "/p2p/12D3KooWAs91TfCNAGfaVVABo3opbSismXVAW7DfL6hizQVnimQV"
	for addr, want := range map[string]struct{ listen, announce bool }{
		"/ip4/0.0.0.0/udp/4401/quic-v1":                 {true, false},
		"/ip4/0.0.0.0/tcp/4401":                         {true, false},
		"/ip6/::/tcp/4401":                              {true, false},
		"/ip4/192.0.2.1/tcp/0":                          {true, true},
		"/ip4/192.0.2.1/udp/4401/quic-v1" + own:         {true, true},
		"/dns/node.example.org/tcp/4401":                {false, true},
		"/dns4/node.example.org/udp/4401/quic-v1":       {false, true},
		"/ip4/192.0.2.1/tcp/443" + own + "/p2p-circuit": {false, true},
		"/ip4/192.0.2.1/udp/4401":                       {false, false},
		"/ip4/192.0.2.1":                                {false, false},
		"/unix/tmp/socket":                              {false, false},
		"192.0.2.1:4401":                                {false, false},
		"":                                              {false, false},
		"/":                                             {false, false},
		own:                                             {false, false},
		"/dns/" + strings.Repeat("a", protocol.MaxAddrSize) + "/tcp/4401": {false, false},
		"/ip4/192.0.2.1/tcp/70000":                                        {false, false},
		"/ip4/192.0.2.1/tcp/4401/ws":                                      {false, true}, // a proxy may stand there
	} {
		for what, got := range map[string]error{"listen": CheckListen(addr), "announce": CheckAnnounce(addr)} {
			good := want.listen
			if what == "announce" {
				good = want.announce
			}
			if (got == nil) != good {
				t.Errorf("%s %q: %v, want good %t", what, addr, got, good)
			}
			if got != nil && (!strings.Contains(got.Error(), "write ") || !errors.Is(got, protocol.ErrMalformed) && !errors.Is(got, protocol.ErrOversize)) {
				t.Errorf("%s %q: %v does not say what to write", what, addr, got)
			}
		}
	}
}
