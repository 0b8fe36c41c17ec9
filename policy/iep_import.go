package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/entente-mesh/entente/protocol"
)

// maxIEPSize bounds a file of IEP policies, in bytes.
const maxIEPSize = 1 << 20

// maxIEPNote bounds what is repeated of a policy's description, in characters: a draft has a size.
const maxIEPNote = 300

// yearMillis is how long an agreement lasts that is made of a policy without end.
const yearMillis = 365 * dayMillis

// ParseIEP reads policies of IEP 2.0, one or a list, and makes of each a term by which from may
// send to another organisation. Notes say what IEP does not state and a term needs, what a term has
// no place for, and what was put in its stead. Network and secret are left for the node to fill in, as by
// ParseYAML. now is Unix milliseconds.
func ParseIEP(data []byte, from, to protocol.OrgID, now uint64) (*protocol.Agreement, []string, error) {
	list, err := readIEP(data)
	if err != nil {
		return nil, nil, protocol.Errorf(protocol.ErrMalformed, "reading IEP: %v", err)
	}
	a := &protocol.Agreement{Version: 1, Title: strings.TrimSpace(oneLine(list[0].Name)), Parties: []protocol.OrgID{from, to}, NotAfter: math.MaxUint64}
	slices.SortFunc(a.Parties, protocol.OrgID.Compare)
	notes := []string{
		"IEP says nothing of topics, kinds of object, countries, purposes and confidence: all are covered",
		"IEP says nothing of personal data: none passes",
		"IEP says nothing of retention: a year",
		"encrypt_in_transit: whatever comes under an agreement is sealed on its way",
		"IEP lets the recipient redistribute within the scope of its TLP; a term names to whom, and so it is nobody",
	}
	var basis []string
	for i := range list {
		p := &list[i]
		t, said, err := p.term()
		if err == nil {
			err = p.limit(a, now, &said)
		}
		if err != nil {
			return nil, nil, protocol.Errorf(protocol.ErrMalformed, "reading IEP: policy %d: %v", i+1, err)
		}
		t.From, t.To = from, to
		a.Terms = append(a.Terms, t)
		for _, s := range said {
			notes = append(notes, fmt.Sprintf("policy %d: %s", i+1, s))
		}
		basis = append(basis, strings.Join(append([]string{fmt.Sprintf("IEP policy %q (%s)", p.Name, p.ID)}, p.ExternalReferences...), ", "))
	}
	a.LegalBasis = strings.TrimSpace(strings.Join(basis, "; "))
	if a.NotAfter <= a.NotBefore {
		return nil, nil, protocol.Errorf(protocol.ErrMalformed, "reading IEP: no time is within start_date and end_date of all policies; import those of one time by themselves")
	}
	check := *a
	check.Network[0], check.Secret[0] = 1, 1
	if err := check.Validate(); err != nil {
		return nil, nil, fmt.Errorf("reading IEP: %w; shorten name, id or external_references, or import fewer policies at once", err)
	}
	return a, notes, nil
}

// readIEP reads policies strictly: an unknown member might be a limit.
func readIEP(data []byte) (list []IEPPolicy, err error) {
	if len(data) > maxIEPSize {
		return nil, fmt.Errorf("it has %d bytes, at most %d", len(data), maxIEPSize)
	}
	strict := json.RejectUnknownMembers(true)
	if text := strings.TrimSpace(string(data)); strings.HasPrefix(text, "[") {
		err = json.Unmarshal(data, &list, strict)
	} else {
		list = make([]IEPPolicy, 1)
		err = json.Unmarshal(data, &list[0], strict)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("it is not a policy of IEP 2.0, or a list of them: %w", err)
	case len(list) == 0:
		return nil, errors.New("it holds no policy")
	case len(list) > protocol.MaxTerms:
		return nil, fmt.Errorf("it holds %d policies, and an agreement at most %d terms; import some of them", len(list), protocol.MaxTerms)
	}
	return list, nil
}

// term makes a term of a policy.
func (p *IEPPolicy) term() (t protocol.Term, notes []string, err error) {
	if version := string(p.Version); version != "2.0" && version != "2" && version != `"2.0"` {
		return t, nil, fmt.Errorf("iep_version is %s, and only 2.0 is read; have it written anew by who made it", orNone(version))
	}
	for _, m := range []struct{ key, value string }{{"id", p.ID}, {"name", p.Name}, {"start_date", p.Start}, {"tlp", p.TLP}} {
		if strings.TrimSpace(m.value) == "" {
			return t, nil, fmt.Errorf("%s is missing; IEP 2.0 requires it", m.key)
		}
	}
	t = protocol.Term{Topics: []string{protocol.Any}, Kinds: []string{protocol.Any}, Countries: []string{protocol.Worldwide},
		Personal: protocol.PersonalNone, RetentionDays: 365}
	labels := map[string]protocol.TLP{"white": protocol.TLPClear, "green": protocol.TLPGreen, "amber": protocol.TLPAmber, "red": protocol.TLPRed}
	if t.TLP = labels[p.TLP]; t.TLP == protocol.TLPUnset {
		return t, nil, fmt.Errorf("tlp is %q; IEP 2.0 has red, amber, green and white", p.TLP)
	}
	switch p.PermittedActions {
	case actionsDirect:
		t.PAP = protocol.PAPGreen
	case actionsIndirect:
		t.PAP = protocol.PAPAmber
	case actionsInternal:
		t.PAP = protocol.PAPRed
	case actionsNone, actionsContact:
		t.PAP = protocol.PAPRed
		notes = append(notes, fmt.Sprintf("permitted_actions is %q: the recipient asks before it acts; no term says so, and it has to be agreed otherwise", p.PermittedActions))
	case "":
		notes = append(notes, "permitted_actions is not stated: no ceiling of PAP")
	default:
		return t, nil, fmt.Errorf("permitted_actions is %q; IEP 2.0 has %s", p.PermittedActions,
			strings.Join([]string{actionsNone, actionsContact, actionsInternal, actionsIndirect, actionsDirect}, ", "))
	}
	switch p.EncryptInTransit {
	case "must", "may", "":
	default:
		return t, nil, fmt.Errorf("encrypt_in_transit is %q; IEP 2.0 has must and may", p.EncryptInTransit)
	}
	for _, d := range []struct {
		key, said string
		must      bool
		to        *protocol.Duty
	}{{"affected_party_notifications", p.Notifications, false, &t.Notify}, {"attribution", p.Attribution, true, &t.Attribution}, {"unmodified_resale", p.UnmodifiedResale, false, &t.Resale}} {
		switch {
		case d.said == "":
			notes = append(notes, d.key+" is not stated")
		case d.said == "may":
			*d.to = protocol.DutyMay
		case d.said == "must-not":
			*d.to = protocol.DutyMustNot
		case d.said == "must" && d.must:
			*d.to = protocol.DutyMust
		case d.must:
			return t, nil, fmt.Errorf("%s is %q; IEP 2.0 has may, must and must-not", d.key, d.said)
		default:
			return t, nil, fmt.Errorf("%s is %q; IEP 2.0 has may and must-not", d.key, d.said)
		}
	}
	if p.Description != "" {
		text := oneLine(p.Description)
		if r := []rune(text); len(r) > maxIEPNote {
			text = string(r[:maxIEPNote]) + "…"
		}
		notes = append(notes, "its description, which a term has no place for: "+text)
	}
	return t, notes, nil
}

// limit keeps an agreement within the time of a policy.
func (p *IEPPolicy) limit(a *protocol.Agreement, now uint64, notes *[]string) error {
	start, err := readIEPTime("start_date", p.Start)
	if err != nil {
		return err
	}
	end := max(start, now) + yearMillis
	if p.End == nil {
		*notes = append(*notes, "end_date is null: a year, for an agreement has an end")
	} else if end, err = readIEPTime("end_date", *p.End); err != nil {
		return err
	}
	if end <= start {
		return errors.New("end_date is not after start_date")
	}
	if was := *a; len(a.Terms) > 0 && (start != was.NotBefore || end != was.NotAfter) {
		*notes = append(*notes, "its dates are others than those before; what all have in common is taken")
	}
	a.NotBefore, a.NotAfter = max(a.NotBefore, start), min(a.NotAfter, end)
	return nil
}

func readIEPTime(key, s string) (uint64, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.UnixMilli() <= 0 {
		return 0, fmt.Errorf("%s is %q; IEP 2.0 has times as RFC 3339 writes them: 2027-01-31T00:00:00Z", key, s)
	}
	return uint64(t.UnixMilli()), nil
}

func orNone(s string) string {
	if s == "" {
		return "missing"
	}
	return s
}

// WriteIEPDraft writes what ParseIEP made as a draft in YAML, with its notes as comments.
func WriteIEPDraft(a *protocol.Agreement, notes []string, name func(protocol.OrgID) string) []byte {
	var b strings.Builder
	b.WriteString(Modeline + "\n# Made of FIRST IEP 2.0. What did not map, and what was put in its stead:\n")
	for _, n := range notes {
		fmt.Fprintf(&b, "#   %s\n", oneLine(n))
	}
	b.WriteString("# Edit, then: entente agreement check FILE\n")
	return append([]byte(b.String()), WriteYAML(a, name)...)
}
