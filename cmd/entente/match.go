package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/node/observe"
	"github.com/entente-mesh/entente/protocol/stix"
	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

// maxObservations bounds the observations that are matched at once: they are kept in memory.
const maxObservations = 2_000_000

// matched is a pattern and what it matches.
type matched struct {
	Indicator string         `json:"indicator,omitempty"` // STIX id
	Record    string         `json:"record,omitempty"`
	Name      string         `json:"name,omitempty"`
	From      string         `json:"originator,omitempty"`
	TLP       string         `json:"tlp,omitempty"`
	Pattern   string         `json:"pattern"`
	Count     uint64         `json:"count"` // how often it was seen
	First     *time.Time     `json:"first_seen,omitempty"`
	Last      *time.Time     `json:"last_seen,omitempty"`
	Where     []string       `json:"where"` // the first places
	seen      []pattern.Seen // all of them
}

type matcher struct {
	observe.Index
	out []*matched
	// given up, and why
	failed []string
}

func (a *app) matchCommand() *cobra.Command {
	var given []string
	var format, sightings string
	var valuesOnly bool
	cmd := &cobra.Command{
		Use:   "match FILE...",
		Short: "Run the patterns of the corpus over observations, logs and tables",
		Long: "Reads STIX bundles with observed-data, CSV files, and logs, and says which indicators match what was\n" +
			"seen, and where. The files stay on this machine; the node is asked for the values in them.\n\n" +
			"Of patterns that want several observations one set is shown that matches. What has no time counts as\n" +
			"seen at one moment. With --sightings a bundle is written that 'entente publish' takes.",
		Example: "  entente match proxy.log firewall.csv\n  entente match observed.json --sightings seen.json\n  entente match auth.log --pattern \"[ipv4-addr:value = '198.51.100.7']\"",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m := &matcher{}
			for _, name := range args {
				if err := m.read(name, observe.Format(format), cmd.InOrStdin()); err != nil {
					return err
				}
			}
			for _, src := range given {
				if err := m.run(&matched{Pattern: src}); err != nil {
					return err
				}
			}
			if len(given) == 0 {
				if err := a.matchCorpus(cmd.Context(), m, valuesOnly); err != nil {
					return err
				}
			}
			if sightings != "" {
				if err := m.writeSightings(sightings); err != nil {
					return err
				}
			}
			for _, text := range m.failed {
				fmt.Fprintln(cmd.ErrOrStderr(), printable(text))
			}
			return a.print(m.result(), func(w io.Writer) { m.print(w) })
		},
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&given, "pattern", nil, "match this STIX pattern instead of those of the corpus; may be repeated")
	fs.StringVar(&format, "format", "auto", "auto, stix, csv or lines")
	fs.StringVar(&sightings, "sightings", "", "write what was seen as a bundle of sightings")
	fs.BoolVar(&valuesOnly, "values-only", false, "do not look at patterns that compare with no value; looking at them reads every indicator")
	return cmd
}

func (m *matcher) read(name string, format observe.Format, stdin io.Reader) error {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return observe.Read(name, in, format, func(o *observe.Observation) error {
		if m.Len() >= maxObservations {
			return fmt.Errorf("more than %d observations; match the files in parts", maxObservations)
		}
		m.Add(o)
		return nil
	})
}

// matchCorpus runs the patterns of the corpus that can match.
func (a *app) matchCorpus(ctx context.Context, m *matcher, valuesOnly bool) error {
	seen := map[stix.Observable]bool{}
	var values []string
	for i := range m.Len() {
		for _, v := range m.At(i).Values {
			if !seen[v] {
				seen[v] = true
				values = append(values, v.Value)
			}
		}
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	done := map[string]bool{}
	take := func(list []node.Record) error {
		for i := range list {
			r := &list[i]
			if done[r.ID.String()] {
				continue
			}
			done[r.ID.String()] = true
			o, err := stix.Parse(r.Object)
			if err != nil {
				return err
			}
			if o.Text("pattern_type") != "stix" {
				continue
			}
			if err := m.run(&matched{Indicator: r.StixID, Record: r.ID.String(), Name: o.Text("name"), From: r.Originator.Name, TLP: r.Handling.TLP, Pattern: o.Text("pattern")}); err != nil {
				m.failed = append(m.failed, fmt.Sprintf("%s: %v", r.StixID, err))
			}
		}
		return nil
	}
	for part := range slices.Chunk(values, node.MaxMatchValues) {
		var r api.SearchResult
		if err := c.call(ctx, "POST", "match", nil, api.Match{Values: part}, &r); err != nil {
			return err
		}
		if err := take(r.Records); err != nil {
			return err
		}
	}
	for after := uint64(0); !valuesOnly; {
		var r api.SearchResult
		if err := c.call(ctx, "GET", "match/open", url.Values{"after": {strconv.FormatUint(after, 10)}}, nil, &r); err != nil {
			return err
		}
		if err := take(r.Records); err != nil {
			return err
		}
		if after = r.Next; after == 0 {
			break
		}
	}
	return nil
}

// run matches a pattern.
func (m *matcher) run(x *matched) error {
	p, err := pattern.Parse(x.Pattern)
	if err != nil {
		return err
	}
	if x.seen, err = m.Match(p); err != nil {
		return err
	}
	if len(x.seen) == 0 {
		return nil
	}
	for _, s := range x.seen {
		o := m.At(s.Index)
		x.Count += s.Times
		if len(x.Where) < 20 {
			x.Where = append(x.Where, o.Where)
		}
		if first, last := o.Times(); !first.IsZero() {
			if x.First == nil || first.Before(*x.First) {
				x.First = &first
			}
			if x.Last == nil || last.After(*x.Last) {
				x.Last = &last
			}
		}
	}
	m.out = append(m.out, x)
	return nil
}

type matchResult struct {
	Observations int        `json:"observations"`
	Matches      []*matched `json:"matches"`
	Failed       []string   `json:"failed,omitempty"`
}

func (m *matcher) result() matchResult {
	return matchResult{m.Len(), append([]*matched{}, m.out...), m.failed}
}

func (m *matcher) print(w io.Writer) {
	for _, x := range m.out {
		title := x.Pattern
		if x.Indicator != "" {
			title = fmt.Sprintf("%s  %s  of %s, TLP:%s", x.Record[:min(18, len(x.Record))], x.Name, x.From, strings.ToUpper(x.TLP))
		}
		fmt.Fprintln(w, printable(title))
		fmt.Fprintf(w, "  seen %d times%s: %s", x.Count, seenIn(x), printable(strings.Join(x.Where, " ")))
		if more := len(x.seen) - len(x.Where); more > 0 {
			fmt.Fprintf(w, " and %d more", more)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d of the patterns match, in %d observations.\n", len(m.out), m.Len())
}

func seenIn(x *matched) string {
	if x.First == nil {
		return ""
	}
	return ", " + x.First.UTC().Format(time.RFC3339) + " to " + x.Last.UTC().Format(time.RFC3339)
}

// writeSightings writes a bundle of sightings (STIX 5.2) of the indicators that match.
func (m *matcher) writeSightings(path string) error {
	now := time.Now().UTC().Format(stix.TimeFormat)
	objects := []any{}
	for _, x := range m.out {
		if x.Indicator == "" {
			return errors.New("a sighting is of an indicator; leave --pattern out")
		}
		s := map[string]any{"type": "sighting", "spec_version": "2.1", "created": now, "modified": now, "sighting_of_ref": x.Indicator, "count": min(x.Count, 999_999_999)}
		id := x.Indicator + "\x00" + strconv.FormatUint(x.Count, 10)
		if x.First != nil {
			s["first_seen"], s["last_seen"] = x.First.UTC().Format(stix.TimeFormat), x.Last.UTC().Format(stix.TimeFormat)
			id += s["first_seen"].(string) + s["last_seen"].(string)
		}
		s["id"] = stix.NewID("sighting", id)
		objects = append(objects, s)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(map[string]any{"type": "bundle", "id": stix.NewID("bundle", fmt.Sprint(now, len(objects))), "objects": objects}); err != nil {
		return err
	}
	return writeFileMode(path, b.Bytes(), 0o600)
}
