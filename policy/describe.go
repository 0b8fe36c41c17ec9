package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// Template returns a commented draft of an agreement between two organisations, for
// `entente agreement new`. now is Unix milliseconds.
func Template(self, other protocol.OrgID, name func(protocol.OrgID) string, now uint64) []byte {
	from := time.UnixMilli(int64(now)).UTC().Truncate(24 * time.Hour)
	return fmt.Appendf(nil, Modeline+`
# Agreement on the exchange of threat intelligence. Edit, then:
#   entente agreement check FILE      shows what it allows, and what looks wrong
#   entente agreement simulate FILE   shows what would have been shared under it
#   entente agreement propose FILE    signs it and sends it to the other party
# For help in an editor: entente agreement schema -o `+SchemaFile+`
# %[1]s is %[3]s
# %[2]s is %[4]s
title: Exchange of threat intelligence
parties:
  - %[1]s
  - %[2]s
not_before: %[5]s
not_after: %[6]s
legal_basis: "name the law, treaty or contract that this rests on"
# paper_sha256: the SHA-256 of the signed paper, if there is one
# notice_days: 30           # that a party should give before it leaves; it may always leave at once
# amends: agr:...           # the agreement whose place this one takes; 'agreement amend' fills it in
terms:
  # One term for each direction; what no term allows is refused.
  - from: %[1]s
    to: %[2]s
    topics: any             # or a list: [c2, malware]
    kinds: any              # or a list of STIX types: [indicator, malware]
    tlp: amber              # ceiling: clear, green, amber, amber+strict, red
    # pap: green            # ceiling: clear, green, amber, red; leave out: none
    countries: worldwide    # or a list: [TH, VN] - only what concerns one of them
    personal_data: all      # up to: none, network, all; undetermined counts as all
    # purposes: [prevention, detection]   # leave out: not restricted
    # min_confidence: 50    # of 100; observables cannot state one, and do not pass then
    retention_days: 365     # how long the reader may keep it; leave out: not restricted
    # history_days: 30      # how far back from its beginning records may be read
    # records_per_day: 1000 # leave out: no limit
    # reply_hours: 24       # within which requests of the receiver are answered
    onward:
      rule: nobody          # nobody, named, kinds, partners
      # organisations: [Example CERT]     # with rule: named
      # kinds: [cert, police]             # with rule: kinds
      # ceiling: green      # up to which TLP
      # approval: 1         # persons who must approve it each time: 1 or 2
    # holders:              # who may store even what it cannot read; leave out: every member
    #   organisations: [Example CERT]
    #   countries: [TH, VN]
    # affected_party_notifications: may   # or must-not
    # attribution: must-not               # or may, must: name the sender as the source
    # unmodified_resale: must-not         # or may
  - from: %[2]s
    to: %[1]s
    topics: any
    kinds: any
    tlp: amber
    countries: worldwide
    personal_data: all
    retention_days: 365
    onward:
      rule: nobody
`, self, other, oneLine(name(self)), oneLine(name(other)), from.Format(time.DateOnly), from.AddDate(1, 0, 0).Format(time.DateOnly))
}

// Describe says in words what an agreement allows.
func Describe(a *protocol.Agreement, name func(protocol.OrgID) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", oneLine(a.Title))
	b.WriteString("Parties:\n")
	for _, p := range a.Parties {
		fmt.Fprintf(&b, "  %s  (%s)\n", oneLine(name(p)), p)
	}
	fmt.Fprintf(&b, "In force from %s until %s (UTC), unless a party terminates it before.\n", writeTime(a.NotBefore), writeTime(a.NotAfter))
	if a.NoticeDays > 0 {
		fmt.Fprintf(&b, "A party that leaves gives notice of %d days; that it may leave at once is not touched.\n", a.NoticeDays)
	}
	if a.LegalBasis != "" {
		fmt.Fprintf(&b, "Legal basis: %s\n", oneLine(a.LegalBasis))
	}
	if !a.PaperSHA256.IsZero() {
		fmt.Fprintf(&b, "Signed paper: SHA-256 %x\n", a.PaperSHA256[:])
	}
	if !a.Previous.IsZero() {
		fmt.Fprintf(&b, "Amends: %s\n", a.Previous)
	}
	for i := range a.Terms {
		t := &a.Terms[i]
		fmt.Fprintf(&b, "%d. %s may send %s\n", i+1, oneLine(name(t.From)), oneLine(name(t.To)))
		fmt.Fprintf(&b, "   %s in %s, %s,\n", list(t.Kinds, "objects of every kind", "objects of kind "), list(t.Topics, "every topic", "topic "),
			list(t.Countries, "worldwide", "as far as it concerns "))
		fmt.Fprintf(&b, "   up to TLP:%s", upper(t.TLP))
		if t.PAP != protocol.PAPUnset {
			fmt.Fprintf(&b, " and PAP:%s", strings.ToUpper(t.PAP.String()))
		}
		switch t.Personal.Effective() {
		case protocol.PersonalNone:
			b.WriteString(", without personal data")
		case protocol.PersonalNetwork:
			b.WriteString(", of personal data network identifiers only")
		default:
			b.WriteString(", personal data included")
		}
		if len(t.Purposes) > 0 {
			fmt.Fprintf(&b, ", for %s", strings.Join(t.Purposes, ", "))
		}
		b.WriteString(".\n")
		if t.RetentionDays > 0 {
			fmt.Fprintf(&b, "   To be kept for at most %d days.", t.RetentionDays)
		} else {
			b.WriteString("   No limit on how long it is kept.")
		}
		if t.HistoryDays > 0 {
			fmt.Fprintf(&b, " Records of up to %d days before are sent when it comes into force.", t.HistoryDays)
		}
		fmt.Fprintf(&b, " %s", describeOnward(&t.Onward, name))
		if t.Approval > 0 {
			fmt.Fprintf(&b, " Each time %s must approve it.", persons(t.Approval))
		}
		b.WriteString("\n")
		for _, line := range describeMore(t, name) {
			fmt.Fprintf(&b, "   %s\n", line)
		}
	}
	return b.String()
}

func persons(n uint8) string {
	if n == 1 {
		return "one person"
	}
	return fmt.Sprintf("%d persons", n)
}

// describeMore says what few terms say.
func describeMore(t *protocol.Term, name func(protocol.OrgID) string) (out []string) {
	line := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if t.Confidence > 0 {
		line("Only with a confidence of %d of 100 or more; what states none does not pass.", t.Confidence)
	}
	if t.PerDay > 0 {
		line("At most %d records a day (UTC).", t.PerDay)
	}
	if t.Holders.Restricted() {
		var who []string
		for _, o := range t.Holders.Orgs {
			who = append(who, oneLine(name(o)))
		}
		if len(t.Holders.Countries) > 0 {
			who = append(who, "organisations of "+strings.Join(t.Holders.Countries, ", "))
		}
		line("Even sealed copies may be held by the parties and %s only.", strings.Join(who, ", "))
	}
	if t.ReplyHours > 0 {
		line("Requests of %s are answered within %d hours.", oneLine(name(t.To)), t.ReplyHours)
	}
	for _, d := range []struct {
		duty protocol.Duty
		what string
	}{{t.Notify, "tell those who are affected"}, {t.Attribution, "name " + oneLine(name(t.From)) + " as the source"}, {t.Resale, "sell what it received unchanged"}} {
		if d.duty != protocol.DutyUnstated {
			line("%s %s %s.", oneLine(name(t.To)), strings.ReplaceAll(d.duty.String(), "-", " "), d.what)
		}
	}
	return out
}

func list(l []string, all, some string) string {
	if len(l) == 1 && l[0] == "*" {
		return all
	}
	return some + strings.Join(l, ", ")
}

func describeOnward(o *protocol.Onward, name func(protocol.OrgID) string) string {
	text := ""
	if o.Rule == protocol.OnwardNamed && len(o.Orgs) == 0 || o.Rule == protocol.OnwardKinds && len(o.Kinds) == 0 {
		return "Must not be passed on."
	}
	switch o.Rule {
	case protocol.OnwardPartners:
		text = "May be passed on to partners of the reader, where the originator allows it"
	case protocol.OnwardKinds:
		var kinds []string
		for _, k := range o.Kinds {
			kinds = append(kinds, string(k))
		}
		text = "May be passed on to organisations of kind " + strings.Join(kinds, ", ") + ", where the originator allows it"
	case protocol.OnwardNamed:
		var orgs []string
		for _, id := range o.Orgs {
			orgs = append(orgs, oneLine(name(id)))
		}
		text = "May be passed on to " + strings.Join(orgs, ", ") + ", where the originator allows it"
	default:
		return "Must not be passed on."
	}
	if o.Ceiling != protocol.TLPUnset {
		text += ", up to TLP:" + upper(o.Ceiling)
	}
	return text + "."
}
