package bench

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// address is the value of the i-th indicator, one of 2^24; those beside each other have little in
// common, as in a feed.
func address(i int) string {
	i *= 0x9e3779b1 // odd: no two of 2^24 are the same
	return fmt.Sprintf("10.%d.%d.%d", byte(i>>16), byte(i>>8), byte(i))
}

// mixed makes a number that looks like a random one of i (splitmix64).
func mixed(i uint64) uint64 {
	i = (i + 1) * 0x9e3779b97f4a7c15
	i = (i ^ i>>30) * 0xbf58476d1ce4e5b9
	i = (i ^ i>>27) * 0x94d049bb133111eb
	return i ^ i>>31
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
	at := seen(i)
	fmt.Fprintf(b, `{"type":"indicator","spec_version":"2.1","id":"indicator--%s",`+
		`"created":"%s","modified":"%s","name":"C2 server %s",`+
		`"description":"Command and control server of a botnet, seen by sinkhole and by sandbox.","indicator_types":["malicious-activity"],`+
		`"pattern":"[ipv4-addr:value = '%s']","pattern_type":"stix","valid_from":"%s","confidence":%d,"labels":["botnet","c2"]}`,
		uuid(i), at, at, address(i), address(i), at, 50+int(mixed(uint64(i))%50))
}

// uuid is that of the i-th object.
func uuid(i int) string {
	r, q := mixed(uint64(2*i)), mixed(uint64(2*i+1))
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(r), uint16(r>>32), r>>52, q>>52, q&(1<<48-1))
}

// seen is when the i-th was: some time of a month.
func seen(i int) string {
	ms := mixed(uint64(i)) % (30 * 24 * 3600 * 1000)
	return firstSeen.Add(time.Duration(ms) * time.Millisecond).Format("2006-01-02T15:04:05.000Z")
}

// firstSeen is when the first of what is made up was seen.
var firstSeen = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

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
	at := seen(i)
	fmt.Fprintf(b, `{"type":"indicator","spec_version":"2.1","id":"indicator--%s",`+
		`"created":"%s","modified":"%s","name":"%s %d",`+
		`"description":"%s","indicator_types":["malicious-activity"],`+
		`"pattern":"[%s:value = '%s']","pattern_type":"stix","valid_from":"%s","confidence":85,"labels":["botnet","%s"]}`,
		uuid(i), at, at, name, i, what, kind, value, at, label)
}

// writeVictim writes what a sinkhole's operator saw of the i-th infected machine: its address, how
// often it called, and when it was last seen.
func writeVictim(b *bytes.Buffer, i int) {
	at := seen(i)
	fmt.Fprintf(b, `{"type":"observed-data","spec_version":"2.1","id":"observed-data--%s",`+
		`"created":"%s","modified":"%s",`+
		`"first_observed":"2026-01-%02dT%02d:%02d:00Z","last_observed":"2026-01-31T%02d:%02d:%02dZ","number_observed":%d,`+
		`"objects":{"0":{"type":"ipv4-addr","value":"%s"},"1":{"type":"network-traffic","src_ref":"0","src_port":%d,"dst_port":80,"protocols":["tcp","http"]}},`+
		`"labels":["simda","infected"]}`,
		uuid(i), at, at, 1+i%30, i%24, i%60, i%12, i%60, i/60%60, 1+i%97, address(i), 1024+i%60000)
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
