package bench

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// address is the value of the i-th indicator: one of 2^24, and a port where those do not suffice.
func address(i int) string {
	return fmt.Sprintf("10.%d.%d.%d", byte(i>>16), byte(i>>8), byte(i))
}

// bundle is a STIX bundle of the indicators from one number to another, as a vendor's feed has
// them: some 480 bytes each.
func bundle(from, to int) []byte {
	var b bytes.Buffer
	b.Grow((to - from) * 500)
	b.WriteString(`{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[`)
	for i := from; i < to; i++ {
		if i > from {
			b.WriteByte(',')
		}
		writeIndicator(&b, i)
	}
	b.WriteString("]}")
	return b.Bytes()
}

func writeIndicator(b *bytes.Buffer, i int) {
	fmt.Fprintf(b, `{"type":"indicator","spec_version":"2.1","id":"indicator--%08x-0000-4000-8000-%012x",`+
		`"created":"2026-01-31T12:00:00.000Z","modified":"2026-01-31T12:00:00.000Z","name":"C2 server %d",`+
		`"description":"Command and control server of a botnet, seen by sinkhole and by sandbox.","indicator_types":["malicious-activity"],`+
		`"pattern":"[ipv4-addr:value = '%s']","pattern_type":"stix","valid_from":"2026-01-31T12:00:00Z","confidence":85,"labels":["botnet","c2"]}`,
		uint32(i*2654435761), i, i, address(i))
}

// finding is the kind and the value of the i-th of size C2 servers and compromised sites: of twenty,
// one is a site.
func finding(i, size int) (kind, value string) {
	switch {
	case i >= size-size/19: // the sites
		return "domain-name", fmt.Sprintf("portal-%d.gov.example", i)
	case i%3 == 0:
		return "url", fmt.Sprintf("http://c2-%d.example.net/gate.php", i)
	case i%3 == 1:
		return "domain-name", fmt.Sprintf("node-%d.example.org", i)
	}
	return "ipv4-addr", address(i)
}

// writeFinding writes an indicator of it.
func writeFinding(b *bytes.Buffer, i, size int) {
	kind, value := finding(i, size)
	name, what, label := "C2 server", "Command and control server of a botnet, seen by sinkhole and by sandbox.", "c2"
	if i >= size-size/19 {
		name, what, label = "Compromised website", "Government portal that serves malware to its visitors.", "compromised"
	}
	fmt.Fprintf(b, `{"type":"indicator","spec_version":"2.1","id":"indicator--%08x-0000-4000-8000-%012x",`+
		`"created":"2026-01-31T12:00:00.000Z","modified":"2026-01-31T12:00:00.000Z","name":"%s %d",`+
		`"description":"%s","indicator_types":["malicious-activity"],`+
		`"pattern":"[%s:value = '%s']","pattern_type":"stix","valid_from":"2026-01-31T12:00:00Z","confidence":85,"labels":["botnet","%s"]}`,
		uint32(i*2654435761), i, name, i, what, kind, value, label)
}

// writeVictim writes what a sinkhole's operator saw of the i-th infected machine: its address, how
// often it called, and when it was last seen.
func writeVictim(b *bytes.Buffer, i int) {
	fmt.Fprintf(b, `{"type":"observed-data","spec_version":"2.1","id":"observed-data--%08x-0000-4000-8000-%012x",`+
		`"created":"2026-01-31T12:00:00.000Z","modified":"2026-01-31T12:00:00.000Z",`+
		`"first_observed":"2026-01-%02dT%02d:%02d:00Z","last_observed":"2026-01-31T%02d:%02d:%02dZ","number_observed":%d,`+
		`"objects":{"0":{"type":"ipv4-addr","value":"%s"},"1":{"type":"network-traffic","src_ref":"0","src_port":%d,"dst_port":80,"protocols":["tcp","http"]}},`+
		`"labels":["simda","infected"]}`,
		uint32(i*2654435761), i, 1+i%30, i%24, i%60, i%12, i%60, i/60%60, 1+i%97, address(i), 1024+i%60000)
}

// green is how everything is published.
var green = policy.Flags{TLP: protocol.TLPGreen}

// read reads a bundle as 'entente publish' reads a file.
func read(data []byte) ([]intake.Item, error) {
	in, err := intake.Read("bench.json", bytes.NewReader(data), intake.Options{Format: intake.STIX})
	if err != nil {
		return nil, err
	}
	if len(in.Problems) > 0 {
		return nil, fmt.Errorf("a made object cannot be read: %s", in.Problems[0])
	}
	return in.Items, nil
}

// newSecret is the random secret of an agreement.
func newSecret() (s [32]byte) {
	rand.Read(s[:])
	return s
}
