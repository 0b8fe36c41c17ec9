package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

var audienceScenario = Scenario{
	Name: "audience", Unit: "organisations", Size: 1000,
	About: "what a record costs its publisher as its audience grows from one organisation to many; the baseline is one organisation",
	run: func(ctx context.Context, o *Options, r *Result) error {
		return audience(ctx, o, r, batch)
	},
}

// audienceRounds is how many publications are timed for each audience; the fastest counts.
const audienceRounds = 5

// audienceStep is what was measured with one audience.
type audienceStep struct {
	orgs     int
	rate     float64 // records a second
	keys     time.Duration
	from, to uint64 // entries of the publication that makes and grants the keys
	records  int    // published to this audience, in entries from `from` to last
	last     uint64
	grants   int // bytes of the grant entries
	perBody  int // records in an envelope
}

// audience measures with publications of so many records each.
func audience(ctx context.Context, o *Options, r *Result, records int) (err error) {
	r.Measured, r.Baseline = fmt.Sprintf("records, to %d", o.Size), "records, to 1 organisation"
	r.Reach = "the cost of a record within 1.2 times that with 1"
	m, err := found(ctx, o, "Vendor")
	defer func() { err = errors.Join(err, m.close()) }()
	if err != nil {
		return err
	}
	vendor := m.orgs[0]
	// The publisher is measured, not what else a node on the network does.
	if err := vendor.down(); err != nil {
		return err
	}
	network, list, agreements, err := vendor.partners(ctx, o, o.Size)
	if err != nil {
		return err
	}
	var steps []*audienceStep
	next, had := 0, 0
	items := func(count int) ([]intake.Item, error) {
		next += count
		return read(bundle(next-count, next))
	}
	for _, orgs := range audienceSizes(o.Size) {
		if err := vendor.take(agreements[had:orgs]); err != nil {
			return err
		}
		had = orgs
		o.say("publishing to %d", orgs)
		st, err := vendor.publishTo(ctx, orgs, records, items)
		if err != nil {
			return err
		}
		steps = append(steps, st)
	}
	if err := readAudience(ctx, vendor, network, list, steps); err != nil {
		return err
	}
	first, last := steps[0], steps[len(steps)-1]
	r.Rate, r.Base = last.rate, first.rate
	r.Reached = first.rate <= 1.2*last.rate
	for _, st := range steps {
		r.add(fmt.Sprintf("a record to %d", st.orgs), 1e6/st.rate, "µs", fmt.Sprintf("%.2f times that to 1", first.rate/st.rate))
	}
	for _, st := range steps {
		r.add(fmt.Sprintf("keys for %d", st.orgs), st.keys.Seconds(), "s", "once: the publication, of one record, that makes and grants them")
	}
	for _, st := range steps {
		r.add(fmt.Sprintf("grants for %d", st.orgs), float64(st.grants), "B", fmt.Sprintf("%.1f B a record, if only %d are published with them", float64(st.grants)/float64(records), records))
	}
	return ageAlone(o, r, list, steps)
}

// audienceSizes are the audiences measured: powers of ten, and the largest.
func audienceSizes(largest int) (out []int) {
	for n := 1; n < largest; n *= 10 {
		out = append(out, n)
	}
	return append(out, largest)
}

// partners makes so many organisations without nodes, members of x's network, and an agreement
// with each by which x may send it everything.
func (x *org) partners(ctx context.Context, o *Options, count int) (network protocol.NetworkID, list []*keysOnly, agreements []*protocol.SignedAgreement, err error) {
	for i := range count {
		k, err := newKeysOnly(fmt.Sprint("Partner ", i+1))
		if err != nil {
			return network, nil, nil, err
		}
		list = append(list, k)
	}
	o.say("%d organisations join", count)
	if err := x.enlist(ctx, list); err != nil {
		return network, nil, nil, err
	}
	if network, err = x.network(); err != nil {
		return network, nil, nil, err
	}
	for _, k := range list {
		a, err := sign(network, agreement(x.node.Org(), k.keys.Org), x.cfg.Keys, k.keys)
		if err != nil {
			return network, nil, nil, err
		}
		agreements = append(agreements, a)
	}
	return network, list, agreements, nil
}

// publishTo times publications to an audience of so many.
func (x *org) publishTo(ctx context.Context, orgs, records int, items func(int) ([]intake.Item, error)) (*audienceStep, error) {
	st := &audienceStep{orgs: orgs}
	publish := func(count int) (*node.Receipt, time.Duration, error) {
		list, err := items(count)
		if err != nil {
			return nil, 0, err
		}
		runtime.GC()
		begun := time.Now()
		rec, err := x.node.Publish(ctx, node.PublishRequest{Topic: topic, Items: list, Flags: green})
		took := time.Since(begun)
		if err == nil && len(rec.Plan.Orgs) != orgs {
			err = fmt.Errorf("it went to %d organisations, not to %d", len(rec.Plan.Orgs), orgs)
		}
		if err != nil {
			return nil, 0, err
		}
		st.records += count
		st.last = rec.To
		return rec, took, nil
	}
	rec, took, err := publish(1)
	if err != nil {
		return nil, err
	}
	st.keys, st.from, st.to = took, rec.From, rec.To
	for range audienceRounds {
		rec, took, err := publish(records)
		if err != nil {
			return nil, err
		}
		st.rate = max(st.rate, perSecond(records, took))
		st.perBody = records / (rec.Envelopes - rec.Grants)
	}
	return st, nil
}

// readAudience reads what was published with the keys of the first and of the last organisation,
// out of a carried file, and counts the bytes of the grants: the first opens everything, the last
// what was published when it was in the audience.
func readAudience(ctx context.Context, x *org, network protocol.NetworkID, list []*keysOnly, steps []*audienceStep) error {
	var file bytes.Buffer
	if err := x.pack(ctx, list[0], &file); err != nil {
		return err
	}
	first, last := &reader{keysOnly: list[0]}, &reader{keysOnly: list[len(list)-1]}
	opened := make([][2]int, len(steps))
	err := list[0].readPack(&file, network, func(env *crypto.VerifiedEnvelope) error {
		for i, st := range steps {
			if env.Header.Seq < st.from || env.Header.Seq > st.last {
				continue
			}
			if env.Header.Kind == protocol.EntryGrant {
				st.grants += len(env.Raw)
			}
			for j, rd := range []*reader{first, last} {
				objects, err := rd.entry(network, env, x.node.OwnCard())
				if err != nil {
					return err
				}
				opened[i][j] += len(objects)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, st := range steps {
		want := [2]int{st.records, 0}
		if st.orgs == len(list) {
			want[1] = st.records
		}
		if opened[i] != want {
			return fmt.Errorf("of what was published to %d, the first and the last partner open %v records, not %v", st.orgs, opened[i], want)
		}
	}
	return nil
}

// ageAlone measures what age does with the same recipients: one body as large as an envelope's.
func ageAlone(o *Options, r *Result, list []*keysOnly, steps []*audienceStep) error {
	body := make([]byte, 40<<10)
	var one time.Duration
	for _, st := range steps {
		o.say("age alone, to %d", st.orgs)
		var to []string
		for _, k := range list[:st.orgs] {
			to = append(to, k.keys.Identities[0].Recipient())
		}
		best, size := time.Duration(1<<62), 0
		for range audienceRounds {
			begun := time.Now()
			sealed, err := crypto.SealToEach(to, body)
			if err != nil {
				return err
			}
			best, size = min(best, time.Since(begun)), len(sealed)-len(body)
		}
		if one == 0 {
			one = best
		}
		name := fmt.Sprintf("age alone, to %d", st.orgs)
		r.add(name, float64(best.Microseconds()), "µs", fmt.Sprintf("an envelope, every time; %.0f times that to 1", float64(best)/float64(one)))
		r.add(name, float64(size), "B", fmt.Sprintf("more than its content; an envelope has %d records here", st.perBody))
	}
	return nil
}
