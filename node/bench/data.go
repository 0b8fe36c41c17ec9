package bench

import (
	"bytes"
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
	r, q := mixed(uint64(2*i)), mixed(uint64(2*i+1))
	at := firstSeen.Add(time.Duration(r%(30*24*3600*1000)) * time.Millisecond).Format("2006-01-02T15:04:05.000Z")
	fmt.Fprintf(b, `{"type":"indicator","spec_version":"2.1","id":"indicator--%08x-%04x-4%03x-8%03x-%012x",`+
		`"created":"%s","modified":"%s","name":"C2 server %s",`+
		`"description":"Command and control server of a botnet, seen by sinkhole and by sandbox.","indicator_types":["malicious-activity"],`+
		`"pattern":"[ipv4-addr:value = '%s']","pattern_type":"stix","valid_from":"%s","confidence":%d,"labels":["botnet","c2"]}`,
		uint32(r), uint16(r>>32), r>>52, q>>52, q&(1<<48-1), at, at, address(i), address(i), at, 50+int(q>>48%50))
}

// firstSeen is when the first of what is made up was seen.
var firstSeen = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

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
