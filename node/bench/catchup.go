package bench

import (
	"context"
	"errors"
	"runtime"
	"time"
)

var catchupScenario = Scenario{
	Name: "catchup", Unit: "indicators", Size: 200_000,
	About: "what a partner missed while it was away, until it is complete again; the baseline is the same number published while it was there",
	run:   catchup,
}

func catchup(ctx context.Context, o *Options, r *Result) (err error) {
	size := o.Size
	r.Measured, r.Baseline, r.Reach = "indicators", "live, in the same run", "80 % of the baseline"
	m, err := found(ctx, o, "Vendor", "Partner")
	defer func() { err = errors.Join(err, m.close()) }()
	if err == nil {
		err = warmUp(ctx, m)
	}
	if err != nil {
		return err
	}
	vendor, partner := m.orgs[0], m.orgs[1]
	files := filesOf(2 * size)
	live, missed := files[:len(files)/2], files[len(files)/2:]
	inLive := len(live) * batch
	o.say("publishing %d indicators to a partner that is there", inLive)
	runtime.GC()
	begun := time.Now()
	if _, err := publishAll(ctx, vendor, live); err != nil {
		return err
	}
	if err := partner.hasRecords(ctx, inLive+warm); err != nil {
		return err
	}
	r.Base = perSecond(inLive, time.Since(begun))
	if err := partner.down(); err != nil {
		return err
	}
	o.say("publishing %d while it is away", 2*size-inLive)
	if _, err := publishAll(ctx, vendor, missed); err != nil {
		return err
	}
	o.say("it comes back")
	runtime.GC()
	begun = time.Now()
	if err := partner.up(ctx); err != nil {
		return err
	}
	if err := partner.hasRecords(ctx, 2*size+warm); err != nil {
		return err
	}
	took := time.Since(begun)
	r.Rate = perSecond(2*size-inLive, took)
	r.add("until it is complete", took.Seconds(), "s", "starting and connecting included")
	r.Reached = r.Rate >= 0.8*r.Base
	return spotCheck(partner, 2*size)
}
