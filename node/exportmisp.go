package node

import (
	"bufio"
	"encoding/json"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// MISPMember returns a record as it belongs to an event of MISP; false if its object cannot be read.
// changed is when it was withdrawn or restored, zero if never.
func (r *Record) MISPMember(changed time.Time) (core.Member, bool) {
	o, err := stix.Parse(r.Object)
	if err != nil {
		return core.Member{}, false
	}
	return core.Member{Record: r.ID, Object: o, Marks: core.MarksOf(r.handling), Originator: r.Originator.ID,
		Org: core.Org{Name: r.Originator.Name, UUID: core.OrgUUID(r.Originator.ID)}, Topic: r.Topic, Added: r.Added,
		Changed: changed, Withdrawn: r.Withdrawn, Reason: r.WithdrawReason}, true
}

// mispExporter writes {"response":[{"Event":…},…],"notes":[…]}: what MISP imports, and what of the
// records has no place in it. Events are gathered from all records, so it holds them in memory.
type mispExporter struct {
	w      *bufio.Writer
	groups core.Groups
}

func (e *mispExporter) write(r *Record) error {
	if m, ok := r.MISPMember(time.Time{}); ok && !r.Withdrawn {
		e.groups.Add(m)
	}
	return nil
}

func (e *mispExporter) close() error {
	sep, notes := `{"response":[`+"\n", []string{}
	for _, g := range e.groups.All() {
		event, lost := e.groups.Build(g)
		for _, n := range lost {
			notes = append(notes, g.UUID+": "+n)
		}
		if event == nil {
			continue
		}
		if _, err := e.w.WriteString(sep + string(core.Encode(event))); err != nil {
			return err
		}
		sep = ",\n"
	}
	if sep[0] == '{' {
		if _, err := e.w.WriteString(sep); err != nil {
			return err
		}
	}
	said, err := json.Marshal(notes)
	if err != nil {
		return err
	}
	_, err = e.w.WriteString("\n]," + `"notes":` + string(said) + "}\n")
	return err
}

// ReadClass is equal of records about which local rules always say the same.
func (r *Record) ReadClass() string {
	var principal protocol.OrgID
	if r.OnBehalf != nil {
		principal = r.OnBehalf.Principal.ID
	}
	return string(slices.Concat(r.Originator.ID[:], r.Publisher.ID[:], principal[:], []byte(r.Topic+"\x00"+r.Type+"\x00"), protocol.Encode(r.handling)))
}

// Marks returns what of the handling MISP may have a word for.
func (r *Record) Marks() core.Marks { return core.MarksOf(r.handling) }

// MayExport reports whether the reader may read and export a record.
func (r *Reader) MayExport(rec *Record) bool {
	return r.verdict(rules.Read, rec).Allow && r.verdict(rules.Export, rec).Allow
}

// Self returns this node's organisation.
func (n *Node) Self() OrgRef { return n.snap.Load().ref(n.org) }
