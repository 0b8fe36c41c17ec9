package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// What concerns one country goes to that country alone. The scenarios asean and simda share this.

// countries are the codes of ISO 3166-1 alpha-2.
var countries = strings.Fields(`
	AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
	CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
	GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
	KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT
	MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
	SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
	UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW`)

// labelled is a file of which every object concerns one country, as a label beside it says.
type labelled struct {
	path      string
	countries []string // of the objects, in order
}

// writeLabelled writes a file of the objects of some numbers.
func writeLabelled(path string, numbers []int, country func(i int) string, write func(b *bytes.Buffer, i int)) (labelled, error) {
	l := labelled{path: path}
	var b bytes.Buffer
	b.WriteString(`{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[`)
	for k, i := range numbers {
		if k > 0 {
			b.WriteByte(',')
		}
		write(&b, i)
		l.countries = append(l.countries, country(i))
	}
	b.WriteString("]}")
	return l, os.WriteFile(path, b.Bytes(), 0o600)
}

// publications are files as 'entente publish FILE --labels CSV --tlp amber --personal network' takes
// them.
func publications(list []labelled) (out []publication) {
	for _, l := range list {
		out = append(out, publication{
			file:  func() ([]byte, error) { return os.ReadFile(l.path) },
			flags: policy.Flags{TLP: protocol.TLPAmber, Personal: protocol.PersonalNetwork},
			label: func(items []intake.Item) {
				for k := range items {
					items[k].Handling.Countries = []string{l.countries[k]}
				}
			},
		})
	}
	return out
}

// forCountry is an agreement by which one organisation may send another what concerns a country.
func forCountry(from, to protocol.OrgID, country string) protocol.Agreement {
	doc := agreement(from, to)
	doc.Terms[0].Countries, doc.Terms[0].Personal = []string{country}, protocol.PersonalNetwork
	return doc
}

// published counts what publications made.
type published struct{ entries, grants uint64 }

// add counts a receipt.
func (p *published) add(r *node.Receipt) {
	p.entries += r.To - r.From + 1
	p.grants += uint64(r.Grants)
}

// arrival is when something was complete at a node, counted from the first publication.
type arrival struct {
	own, all time.Duration // its own records durable and searchable; every entry held
}

// pollEvery is how often a node is asked how far it is, at first; later it is a hundredth of the time
// that went by. Asking costs: twenty that are asked without pause take from each other what is
// measured.
const pollEvery = 20 * time.Millisecond

// arrivals waits until nodes show the records that they are to have, one number for each, and hold
// every entry. entries gives how many there are once all is published.
func arrivals(ctx context.Context, begun time.Time, nodes []*org, records []int, entries <-chan uint64) ([]arrival, error) {
	out, errs := make([]arrival, len(nodes)), make([]error, len(nodes))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var total uint64
	published := make(chan struct{})
	var wg sync.WaitGroup
	for i, x := range nodes {
		wg.Go(func() {
			var known bool
			for {
				met, err := x.node.Metrics()
				if err != nil {
					errs[i] = err
					cancel()
					return
				}
				if out[i].own == 0 && met.Records >= uint64(records[i]) {
					out[i].own = time.Since(begun)
				}
				select {
				case <-published:
					known = true
				default:
				}
				if known && out[i].own != 0 && met.Topics[topic].Held >= total {
					out[i].all = time.Since(begun)
					return
				}
				select {
				case <-ctx.Done():
					errs[i] = fmt.Errorf("waiting for %s, which has %d of %d records and %d of %d entries: %w", x.name, met.Records, records[i], met.Topics[topic].Held, total, ctx.Err())
					return
				case <-time.After(max(pollEvery, time.Since(begun)/100)):
				}
			}
		})
	}
	select {
	case <-ctx.Done():
	case total = <-entries:
	}
	close(published)
	wg.Wait()
	return out, errors.Join(errs...)
}

// lastOf returns the latest of some times, and the earliest.
func lastOf(list []arrival, of func(arrival) time.Duration) (last, first time.Duration) {
	first = of(list[0])
	for _, a := range list {
		last, first = max(last, of(a)), min(first, of(a))
	}
	return last, first
}

// finds wants a node to find a value exactly so many times.
func (x *org) finds(value string, want int) error {
	recs, _, err := x.node.Search(node.Query{Value: value})
	if err == nil && len(recs) != want {
		err = fmt.Errorf("%s finds %d records of %s, and should find %d", x.name, len(recs), value, want)
	}
	return err
}

// hasExactly wants a node to show so many records, and no more.
func (x *org) hasExactly(want int) error {
	met, err := x.node.Metrics()
	if err == nil && met.Records != uint64(want) {
		err = fmt.Errorf("%s has %d records, and should have %d", x.name, met.Records, want)
	}
	return err
}

// badgerAfter measures the baseline, when no node runs any more.
func (m *mesh) badgerAfter(o *Options, r *Result, list []labelled) error {
	for _, x := range m.orgs {
		if err := x.down(); err != nil {
			return err
		}
	}
	files, err := contents(list)
	if err == nil {
		r.Base, err = rawBadger(o, files, r)
	}
	return err
}

// contents reads files.
func contents(list []labelled) (files [][]byte, err error) {
	for _, l := range list {
		b, err := os.ReadFile(l.path)
		if err != nil {
			return nil, err
		}
		files = append(files, b)
	}
	return files, nil
}

// entryBytes counts the bytes of all entries in the topic that x holds, as packed for another.
func (x *org) entryBytes(ctx context.Context, other *org) (size uint64, err error) {
	c, err := x.node.Pack(ctx, io.Discard, node.PackRequest{To: other.node.Org(), Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	for _, f := range c.Feeds {
		if f.Topic == topic {
			size += f.Bytes
		}
	}
	return size, nil
}

// cpuTime returns what this process used of all cores so far; zero where the system does not say.
func cpuTime() time.Duration {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	// The fields after the name of the command, which is in parentheses: user and system time are
	// the 12th and the 13th of them, in hundredths of a second.
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
