package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/protocol"
)

// IEPPolicy is a policy of FIRST's Information Exchange Policy 2.0 as JSON
// (https://www.first.org/iep/iep-json-2_0).
type IEPPolicy struct {
	ID                 string          `json:"id"`
	Name               string          `json:"name"`
	Description        string          `json:"description"`
	Version            json.RawMessage `json:"iep_version"`
	Start              string          `json:"start_date"` // RFC 3339, UTC
	End                *string         `json:"end_date"`   // null: none
	EncryptInTransit   string          `json:"encrypt_in_transit"`
	PermittedActions   string          `json:"permitted_actions"`
	Notifications      string          `json:"affected_party_notifications"`
	TLP                string          `json:"tlp"`
	Attribution        string          `json:"attribution"`
	UnmodifiedResale   string          `json:"unmodified_resale"`
	ExternalReferences []string        `json:"external_references"`
}

const iepVersion = "2.0"

// The words of IEP 2.0 for actions that recipients may take, from the narrowest.
const (
	actionsNone     = "none"
	actionsContact  = "contact-for-instruction"
	actionsInternal = "internally-visible-actions"
	actionsIndirect = "externally-visible-indirect-actions"
	actionsDirect   = "externally-visible-direct-actions"
)

// iepTLP maps TLP 2.0 to the labels of TLP 1.0, which IEP 2.0 has.
var iepTLP = map[protocol.TLP]string{protocol.TLPClear: "white", protocol.TLPGreen: "green", protocol.TLPAmber: "amber",
	protocol.TLPAmberStrict: "amber", protocol.TLPRed: "red"}

// iepActions maps a ceiling of PAP to what holds of everything below it: records of PAP:RED may be
// acted on without being seen from outside, of PAP:AMBER by asking third parties, of PAP:GREEN
// openly. Without a ceiling there may be records of PAP:RED.
var iepActions = map[protocol.PAP]string{protocol.PAPUnset: actionsInternal, protocol.PAPRed: actionsInternal, protocol.PAPAmber: actionsIndirect,
	protocol.PAPGreen: actionsDirect, protocol.PAPClear: actionsDirect}

// ExportIEP writes the terms of an agreement as policies of IEP 2.0, one for each. What IEP has no
// word for stands in the description, and so does where its nearest word is narrower: nothing that
// is exported lets more through than the term.
func ExportIEP(a *protocol.Agreement, id protocol.AgreementID, name func(protocol.OrgID) string) []IEPPolicy {
	var out []IEPPolicy
	for i := range a.Terms {
		t := &a.Terms[i]
		end := iepTime(a.NotAfter)
		p := IEPPolicy{
			ID:   uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s#term-%d", id, i+1)).String(),
			Name: fmt.Sprintf("%s, term %d", oneLine(a.Title), i+1), Version: json.RawMessage(iepVersion),
			Start: iepTime(a.NotBefore), End: &end, EncryptInTransit: "must", PermittedActions: iepActions[t.PAP],
			TLP: iepTLP[t.TLP], ExternalReferences: []string{},
		}
		notes := []string{fmt.Sprintf("Term %d of agreement %s.", i+1, id), describeTerm(t, name)}
		if a.LegalBasis != "" {
			notes = append(notes, fmt.Sprintf("Legal basis: %s.", strings.TrimSuffix(oneLine(a.LegalBasis), ".")))
		}
		if t.TLP == protocol.TLPAmberStrict {
			notes = append(notes, "IEP 2.0 has the labels of TLP 1.0: TLP:AMBER+STRICT is given as amber, and may be shared within the recipient's organisation only.")
		}
		switch t.PAP {
		case protocol.PAPUnset:
			notes = append(notes, "The term has no ceiling of PAP; permitted_actions is what holds of every record.")
		case protocol.PAPClear:
			notes = append(notes, "The term has the ceiling PAP:CLEAR, for which IEP 2.0 has no word of its own.")
		}
		var unstated []string
		for _, d := range []struct {
			key  string
			said protocol.Duty
			to   *string
		}{{"affected_party_notifications", t.Notify, &p.Notifications}, {"attribution", t.Attribution, &p.Attribution}, {"unmodified_resale", t.Resale, &p.UnmodifiedResale}} {
			if *d.to = d.said.String(); d.said == protocol.DutyUnstated {
				*d.to = protocol.DutyMustNot.String()
				unstated = append(unstated, d.key)
			}
		}
		if len(unstated) > 0 {
			notes = append(notes, fmt.Sprintf("The agreement does not state %s; must-not is given as the narrowest.", strings.Join(unstated, ", ")))
		}
		p.Description = strings.Join(notes, " ")
		out = append(out, p)
	}
	return out
}

// describeTerm says in one line what a term allows.
func describeTerm(t *protocol.Term, name func(protocol.OrgID) string) string {
	a := &protocol.Agreement{Terms: []protocol.Term{*t}}
	_, text, _ := strings.Cut(Describe(a, name), "1. ")
	return strings.Join(strings.Fields(text), " ")
}

func iepTime(ms uint64) string {
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}
