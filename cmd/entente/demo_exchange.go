package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// demoTable is the outcome of the demo.
type demoTable struct {
	Entries   int       `json:"entries"`
	Envelopes uint64    `json:"envelopes"`
	SealedIn  float64   `json:"sealed_in_seconds"`
	Rows      []demoRow `json:"organisations"`
	Faults    []string  `json:"faults"`
	Exact     bool      `json:"exact"`
}

type demoRow struct {
	Org       string                `json:"organisation"`
	Country   string                `json:"country,omitempty"`
	Envelopes uint64                `json:"envelopes_held"`
	Readable  uint64                `json:"records_readable"`
	Expected  uint64                `json:"records_expected"`
	Refused   map[policy.Reason]int `json:"refused"`
	After     float64               `json:"complete_after_seconds"` // since the publication began; 0: the publisher
}

// exchange publishes, waits until every node holds everything, and checks every entry at
// every organisation.
func (d *demo) exchange(ctx context.Context, in *intake.Result) (*demoTable, error) {
	vendor := d.orgs[demoVendor].node
	req := node.PublishRequest{Topic: demoTopic, Items: in.Items}
	plan, err := vendor.Plan(req)
	if err != nil {
		return nil, err
	}
	if len(plan.Refused) > 0 {
		return nil, fmt.Errorf("%d entries may not be published as they are, the first: line %d: %s", len(plan.Refused), plan.Refused[0].Line, plan.Refused[0].Reason)
	}
	bar := d.app.progress(len(in.Items), "sealing")
	req.Progress = func(done, _ int) { _ = bar.Set(done) }
	begun := time.Now()
	arrived := d.watchArrival(ctx, begun)
	rec, err := vendor.Publish(ctx, req)
	_ = bar.Finish()
	if err != nil {
		return nil, err
	}
	t := &demoTable{Entries: len(in.Items), SealedIn: time.Since(begun).Seconds(), Faults: []string{}}
	d.say("published %d entries in %d envelopes: durable at the vendor", len(rec.Records), rec.Envelopes)
	st, err := vendor.Status()
	if err != nil {
		return nil, err
	}
	t.Envelopes = st.Envelopes
	times, err := arrived(t.Envelopes)
	if err != nil {
		return nil, err
	}
	d.say("every node holds every envelope and has opened what it may; searching %d entries at each of %d organisations", t.Entries, len(d.orgs))
	return t, d.check(in, plan, rec, times, t)
}

// watchArrival follows the nodes while envelopes arrive. The function that it returns waits
// until all hold so many, and returns how long each took.
func (d *demo) watchArrival(ctx context.Context, begun time.Time) func(envelopes uint64) ([]time.Duration, error) {
	return func(want uint64) ([]time.Duration, error) {
		took := make([]time.Duration, len(d.orgs))
		errs := make([]error, len(d.orgs))
		bar := d.app.progress(int(want)*len(d.orgs), "arriving")
		var mu sync.Mutex
		var held = make([]uint64, len(d.orgs))
		var wg sync.WaitGroup
		for i, o := range d.orgs {
			wg.Go(func() {
				errs[i] = d.wait(ctx, o.name+" holds every envelope", o.node, func() (bool, error) {
					st, err := o.node.Status()
					if err != nil {
						return false, err
					}
					mu.Lock()
					held[i] = st.Envelopes
					sum := uint64(0)
					for _, h := range held {
						sum += h
					}
					_ = bar.Set64(int64(min(sum, want*uint64(len(d.orgs)))))
					mu.Unlock()
					took[i] = time.Since(begun)
					return st.Envelopes >= want && st.Pending == 0, nil
				})
			})
		}
		wg.Wait()
		_ = bar.Finish()
		for _, err := range errs {
			if err != nil {
				return nil, err
			}
		}
		return took, nil
	}
}

// check fills the table in, and compares it, entry by entry, with the second opinion.
func (d *demo) check(in *intake.Result, plan *node.Plan, rec *node.Receipt, times []time.Duration, t *demoTable) error {
	vendor := d.orgs[demoVendor].node
	var agreements []protocol.Agreement
	for _, a := range vendor.Agreements() {
		if a.State == node.AgreementInForce {
			agreements = append(agreements, a.Doc)
		}
	}
	t.Exact = true
	fault := func(format string, args ...any) {
		t.Exact = false
		if len(t.Faults) < maxShown {
			t.Faults = append(t.Faults, fmt.Sprintf(format, args...))
		}
	}
	for i, o := range d.orgs {
		st, err := o.node.Status()
		if err != nil {
			return err
		}
		row := demoRow{Org: o.name, Country: o.country, Envelopes: st.Envelopes, Readable: st.Records, Refused: map[policy.Reason]int{}}
		if i != demoVendor {
			row.After = times[i].Seconds()
		}
		for _, p := range plan.Orgs {
			if p.Org == o.node.Org() {
				row.Refused = p.Refused
			}
		}
		for k := range in.Items {
			it := &in.Items[k]
			want := mayRead(it, agreements, vendor.Org(), o.node.Org(), demoTopic)
			found, err := searchable(o.node, it, rec.Records[k])
			switch {
			case err != nil:
				return err
			case found && !want:
				fault("%s can read %s (line %d), and may not", o.name, it.Object.ID, it.Line)
			case !found && want:
				fault("%s cannot find %s (line %d)", o.name, it.Object.ID, it.Line)
			}
			if want {
				row.Expected++
			}
		}
		if i == demoRelay {
			row.Refused = map[policy.Reason]int{policy.ReasonNoAgreement: t.Entries}
		}
		refused := 0
		for _, n := range row.Refused {
			refused += n
		}
		if row.Readable != row.Expected {
			fault("%s reads %d records; the agreements say %d", o.name, row.Readable, row.Expected)
		}
		if row.Envelopes != t.Envelopes {
			fault("%s holds %d envelopes of %d", o.name, row.Envelopes, t.Envelopes)
		}
		if uint64(refused)+row.Expected != uint64(t.Entries) {
			fault("%s: %d refused and %d expected are not %d entries", o.name, refused, row.Expected, t.Entries)
		}
		if st.Quarantined > 0 {
			fault("%s put %d records in quarantine", o.name, st.Quarantined)
		}
		t.Rows = append(t.Rows, row)
	}
	if t.Rows[demoRelay].Readable != 0 {
		fault("the relay reads %d records", t.Rows[demoRelay].Readable)
	}
	return nil
}

// searchable reports whether a record is found by what an analyst would search for.
func searchable(n *node.Node, it *intake.Item, id protocol.RecordID) (bool, error) {
	q := node.Query{Value: it.Value, Versions: true, Limit: 1000}
	if q.Value == "" {
		q.Value = it.Object.ID
	}
	for {
		page, next, err := n.Search(q)
		if err != nil {
			return false, err
		}
		for i := range page {
			if page[i].ID == id {
				return true, nil
			}
		}
		if next == 0 {
			return false, nil
		}
		q.After = next
	}
}

func (t *demoTable) show(w io.Writer) {
	fmt.Fprintln(w)
	rows := [][]string{{"ORGANISATION", "ENVELOPES HELD", "RECORDS READABLE", "EXPECTED", "REFUSED", "WHY", "COMPLETE AFTER"}}
	for _, r := range t.Rows {
		refused := 0
		for _, n := range r.Refused {
			refused += n
		}
		after := "(publisher)"
		if r.After > 0 {
			after = fmt.Sprintf("%.2f s", r.After)
		}
		rows = append(rows, []string{r.Org, strconv.FormatUint(r.Envelopes, 10), strconv.FormatUint(r.Readable, 10), strconv.FormatUint(r.Expected, 10),
			strconv.Itoa(refused), reasonCounts(r.Refused), after})
	}
	table(w, rows...)
	fmt.Fprintf(w, "\n%d entries in %d envelopes, sealed and durable after %.2f s\n", t.Entries, t.Envelopes, t.SealedIn)
	if t.Exact {
		fmt.Fprintln(w, "The table is exactly what the file and the agreements say, entry by entry.")
		return
	}
	fmt.Fprintln(w, "THE TABLE IS NOT WHAT THE FILE AND THE AGREEMENTS SAY:")
	for _, f := range t.Faults {
		fmt.Fprintln(w, "  "+printable(f))
	}
}
