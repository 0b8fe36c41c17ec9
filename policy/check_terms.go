package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// longDays is from how many days on a time to keep records deserves a thought: INTERPOL's rules
// keep data for five years at first.
const longDays = 5 * 365

// finder collects what is found about one term.
type finder struct {
	*protocol.Term
	add func(s Severity, format string, args ...any)
}

// checkTerm looks at a term by itself, as far as the words of its members go. What it names must
// be of use: a contradiction is an error, what is likely meant otherwise a warning.
func checkTerm(t *protocol.Term, add func(s Severity, format string, args ...any)) {
	f := finder{t, add}
	f.kinds()
	f.names()
	f.times()
	f.onward()
	f.duties()
}

// personalKinds are the types that are taken for personal data. An identity may be an
// organisation's, so it is not one of them.
var personalKinds = []string{"email-addr", "email-message", "user-account"}

func (f *finder) kinds() {
	if isAll(f.Kinds) {
		return
	}
	for _, k := range f.Kinds {
		if !stix.IsType(k) && !strings.HasPrefix(k, "x-") {
			f.add(SeverityWarning, "%q is no object type of STIX 2.1%s", k, didYouMean(k))
		}
	}
	if personal := inBoth(f.Kinds, personalKinds); f.Personal != protocol.PersonalAll && len(personal) > 0 {
		which := "objects of type " + strings.Join(personal, ", ") + " do"
		if len(personal) == len(f.Kinds) {
			which = "all objects of its kinds do"
		}
		f.add(SeverityWarning, "what holds personal data does not pass with personal_data: %s, and %s unless their originator determined otherwise; write personal_data: all, or name other kinds",
			f.Personal, which)
	}
	if f.Personal != protocol.PersonalAll && slices.Contains(f.Kinds, "identity") {
		f.add(SeverityWarning, "an identity of a person is personal data, and does not pass with personal_data: %s; those of organisations do", f.Personal)
	}
	if f.Confidence == 0 {
		return
	}
	without := slices.DeleteFunc(slices.Clone(f.Kinds), stix.MayStateConfidence)
	switch {
	case len(without) == len(f.Kinds):
		f.add(SeverityError, "no record can pass: objects of type %s cannot state a confidence, and min_confidence is %d; leave min_confidence out, or name kinds such as indicator",
			strings.Join(without, ", "), f.Confidence)
	case len(without) > 0:
		f.add(SeverityWarning, "objects of type %s cannot state a confidence, and so do not pass min_confidence; give them a term of their own", strings.Join(without, ", "))
	}
}

func (f *finder) names() {
	for _, p := range f.Purposes {
		if !KnownPurpose(p) {
			f.add(SeverityWarning, "the purpose %q is not in the vocabulary (%s); records that state another word for it do not pass", p, purposeWords())
		}
	}
	for _, where := range []struct {
		key  string
		list []string
	}{{"countries", f.Countries}, {"countries of holders", f.Holders.Countries}} {
		for _, c := range where.list {
			if c != protocol.Worldwide && !IsAssigned(c) {
				f.add(SeverityWarning, "%s: %s is not assigned in ISO 3166-1; %s", where.key, c, unassigned(c))
			}
		}
	}
}

func purposeWords() string {
	var out []string
	for _, p := range purposeVocabulary {
		if p.Source == "" {
			out = append(out, p.Token)
		}
	}
	return strings.Join(out, ", ") + " and INTERPOL's"
}

func (f *finder) times() {
	switch {
	case f.RetentionDays > longDays:
		f.add(SeverityWarning, "records are kept for %d days, which is more than five years; say in the legal basis why, or shorten retention_days", f.RetentionDays)
	case f.RetentionDays == 0 && f.Personal != protocol.PersonalNone:
		f.add(SeverityWarning, "personal data may be kept for ever, unless its originator limits it; set retention_days")
	}
	if f.RetentionDays != 0 && f.HistoryDays > f.RetentionDays {
		f.add(SeverityWarning, "history_days is %d, and records are kept for %d days only; nothing older is there to read", f.HistoryDays, f.RetentionDays)
	}
}

func (f *finder) onward() {
	o := &f.Onward
	nobody := o.Rule == protocol.OnwardNobody
	switch {
	case o.Rule == protocol.OnwardNamed && len(o.Orgs) == 0:
		f.add(SeverityError, "onward rule \"named\" names no organisations, and so lets it be passed on to nobody; name them, or write rule: nobody")
		nobody = true
	case o.Rule == protocol.OnwardKinds && len(o.Kinds) == 0:
		f.add(SeverityError, "onward rule \"kinds\" names no kinds of organisation, and so lets it be passed on to nobody; name them, or write rule: nobody")
		nobody = true
	}
	if o.Rule != protocol.OnwardNamed && len(o.Orgs) > 0 {
		f.add(SeverityError, "the onward rule is %q, and the organisations named beside it have no effect; write rule: named, or take them out", o.Rule)
	}
	if o.Rule != protocol.OnwardKinds && len(o.Kinds) > 0 {
		f.add(SeverityError, "the onward rule is %q, and the kinds named beside it have no effect; write rule: kinds, or take them out", o.Rule)
	}
	for _, org := range o.Orgs {
		if org == f.From || org == f.To {
			f.add(SeverityWarning, "the onward rule names %s, which has the record anyway; take it out", org.Short())
		}
	}
	switch {
	case nobody && f.Approval > 0:
		f.add(SeverityWarning, "nothing may be passed on, and so there is nothing for %s to approve; leave approval out, or give an onward rule", persons(f.Approval))
	case nobody && o.Ceiling != protocol.TLPUnset:
		f.add(SeverityWarning, "nothing may be passed on, and so the ceiling of the onward rule has no effect; leave it out, or give an onward rule")
	case o.Ceiling > f.TLP && f.TLP != protocol.TLPUnset:
		f.add(SeverityWarning, "the onward rule goes up to TLP:%s, and nothing above TLP:%s comes under the term; lower the ceiling of one to that of the other", upper(o.Ceiling), upper(f.TLP))
	case !nobody && f.TLP == protocol.TLPRed && (o.Ceiling == protocol.TLPUnset || o.Ceiling == protocol.TLPRed):
		f.add(SeverityWarning, "TLP:RED is for the recipients that a record names, and the onward rule does not leave it out; give the onward rule a ceiling of amber+strict or lower")
	}
}

func (f *finder) duties() {
	if f.Notify == protocol.DutyMustNot && slices.Contains(f.Purposes, "victim-notification") {
		f.add(SeverityError, "its purpose is victim-notification, and affected_party_notifications is must-not; take one of them out")
	}
	if f.Resale == protocol.DutyMay && f.Onward.Rule == protocol.OnwardNobody {
		f.add(SeverityWarning, "what comes under it may be sold, and passed on to nobody; write unmodified_resale: must-not, or give an onward rule")
	}
}

// CheckHolders looks at what holders restrictions keep from happening among organisations that are
// known: whoever is named in the onward rule has to be a holder.
func CheckHolders(a *protocol.Agreement, orgs map[protocol.OrgID]Org) (out []Finding) {
	called := func(id protocol.OrgID) string {
		if o, ok := orgs[id]; ok && o.Name != "" {
			return oneLine(o.Name)
		}
		return id.Short()
	}
	for i := range a.Terms {
		t := &a.Terms[i]
		if !t.Holders.Restricted() {
			continue
		}
		add := func(format string, args ...any) {
			out = append(out, Finding{SeverityWarning, i + 1, fmt.Sprintf(format, args...)})
		}
		holds := func(id protocol.OrgID) bool {
			return slices.Contains(a.Parties, id) || slices.Contains(t.Holders.Orgs, id) || slices.Contains(t.Holders.Countries, orgs[id].Country)
		}
		if t.Onward.Rule != protocol.OnwardNamed {
			continue
		}
		for _, id := range t.Onward.Orgs {
			switch _, known := orgs[id]; {
			case holds(id):
			case !known && len(t.Holders.Countries) > 0:
				add("it may be passed on to %s, which is no holder by name, and its country is not known here; add it to holders, or take it out of the onward rule", called(id))
			default:
				add("it may be passed on to %s, which is no holder; add it to holders, or take it out of the onward rule", called(id))
			}
		}
	}
	return out
}

func isAll(list []string) bool { return len(list) == 1 && list[0] == protocol.Any }

// inBoth lists what is in two lists.
func inBoth(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// didYouMean names the type that is written almost like a word, and else says what custom types
// look like.
func didYouMean(word string) string {
	plain := func(s string) string {
		return strings.TrimSuffix(strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s)), "s")
	}
	for _, t := range stix.Types() {
		if plain(t) == plain(word) {
			return fmt.Sprintf("; did you mean %s?", t)
		}
	}
	if typ := colloquial[plain(word)]; typ != "" {
		return fmt.Sprintf("; did you mean %s?", typ)
	}
	return "; no record of that type can come, unless it is a custom one, which begins with x-"
}

// colloquial are words that people use for types.
var colloquial = map[string]string{"ip": "ipv4-addr", "ipv4": "ipv4-addr", "ipv6": "ipv6-addr", "domain": "domain-name", "hash": "file",
	"hashe": "file", "email": "email-addr", "certificate": "x509-certificate", "ioc": "indicator"}
