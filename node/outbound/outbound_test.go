package outbound

import (
	"net/netip"
	"testing"
)

func TestJudged(t *testing.T) {
	for text, want := range map[string][2]bool{ // local, public
		"8.8.8.8": {false, true}, "2606:4700::1": {false, true}, "::ffff:8.8.8.8": {false, true},
		"127.0.0.1": {true, false}, "::1": {true, false}, "::ffff:127.0.0.1": {true, false}, "10.1.2.3": {true, false}, "192.168.0.1": {true, false},
		"169.254.169.254": {true, false}, "fe80::1%eth0": {true, false}, "fd00::1": {true, false},
		"0.0.0.0": {}, "0.1.2.3": {}, "100.64.0.1": {}, "192.0.0.8": {}, "198.18.0.1": {}, "203.0.113.1": {}, "224.0.0.1": {}, "240.0.0.1": {}, "255.255.255.255": {},
		"::": {}, "::8.8.8.8": {}, "64:ff9b::a00:1": {}, "2002:a00:1::": {}, "2001::1": {}, "2001:db8::1": {}, "ff02::1": {}, "fec0::1": {},
	} {
		a := netip.MustParseAddr(text)
		if got := [2]bool{Local(a), Public(a)}; got != want {
			t.Errorf("%s is local, public: %v, want %v", text, got, want)
		}
	}
	if Local(netip.Addr{}) || Public(netip.Addr{}) {
		t.Error("no address at all is one to call")
	}
}

func TestNamed(t *testing.T) {
	for _, host := range []string{"taxii.example.org", "example.org.", "xn--bcher-kva.example", "8.8.8.8", "2606:4700::1", "1.2.3.example", "mylocal.example", "notlocalhost.org", "corp.example", "lan.example.org"} {
		if err := CheckNamed(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"", ".", "localhost", "LocalHost.", "a.localhost", "printer.local", "db.internal", "nas.home.arpa", "intranet", "wiki.corp", "nas.lan", "a.intranet", "x.private", "tv.home", "127.0.0.1", "::1",
		"fe80::1%eth0", "169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "a.0x7f", "198.51.100.7", "a.."} {
		if CheckNamed(host) == nil {
			t.Errorf("%q may be called", host)
		}
	}
}
