package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// Severity says how much a finding matters.
type Severity string

// The severities. An error keeps a draft from being proposed.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Finding is something about an agreement that a person should see before signing.
type Finding struct {
	Severity Severity
	Term     int // from 1; 0: the agreement as a whole
	Text     string
}

// CheckAgreement looks for what is contradictory, without effect, or easily meant otherwise.
// now is Unix milliseconds.
func CheckAgreement(a *protocol.Agreement, now uint64) []Finding {
	var out []Finding
	add := func(s Severity, term int, format string, args ...any) {
		out = append(out, Finding{s, term, fmt.Sprintf(format, args...)})
	}
	if a.NotAfter <= a.NotBefore {
		add(SeverityError, 0, "it ends before it begins")
	} else if a.NotAfter <= now {
		add(SeverityError, 0, "it has ended already")
	} else if a.NotAfter-a.NotBefore > 5*365*24*3600*1000 {
		add(SeverityWarning, 0, "it is valid for more than five years; shorter agreements are reviewed")
	}
	if life := a.NotAfter - a.NotBefore; a.NotAfter > a.NotBefore && uint64(a.NoticeDays)*dayMillis > life {
		add(SeverityWarning, 0, "notice of %d days is longer than the agreement is in force; shorten notice_days, for it can never be kept", a.NoticeDays)
	}
	if len(a.Terms) == 0 {
		add(SeverityError, 0, "it has no terms, and so allows nothing")
	}
	if strings.TrimSpace(a.LegalBasis) == "" {
		add(SeverityWarning, 0, "it states no legal basis")
	}
	if a.PaperSHA256.IsZero() {
		add(SeverityWarning, 0, "it does not name the signed paper by its hash (paper_sha256)")
	}
	for _, p := range a.Parties {
		if !slices.ContainsFunc(a.Terms, func(t protocol.Term) bool { return t.From == p || t.To == p }) {
			add(SeverityWarning, 0, "party %s neither gives nor receives anything", p.Short())
		}
	}
	for i := range a.Terms {
		t := &a.Terms[i]
		n := i + 1
		if t.TLP == protocol.TLPUnset {
			add(SeverityError, n, "it has no TLP ceiling, and so allows nothing")
		}
		if t.TLP == protocol.TLPRed {
			add(SeverityWarning, n, "its ceiling is TLP:RED; RED records still reach named recipients only")
		}
		if len(t.Countries) == 0 {
			add(SeverityError, n, "it names no countries, and so allows nothing; use worldwide, or a list")
		}
		if len(t.Topics) == 0 || len(t.Kinds) == 0 {
			add(SeverityError, n, "it names no topics or no kinds, and so allows nothing; use any, or a list")
		}
		if t.Personal == protocol.PersonalNone || t.Personal == protocol.PersonalNetwork {
			add(SeverityWarning, n, "records whose personal data nobody determined count as holding all, and do not pass it")
		}
		checkTerm(t, func(s Severity, format string, args ...any) { add(s, n, format, args...) })
		for j := range i {
			if u := &a.Terms[j]; sameTerm(t, u) {
				add(SeverityError, n, "it repeats term %d", j+1)
			} else if shadows(u, t) {
				add(SeverityWarning, n, "everything that it allows, term %d allows too", j+1)
			} else if shadows(t, u) {
				add(SeverityWarning, j+1, "everything that it allows, term %d allows too", n)
			}
		}
	}
	return out
}

// shadows reports whether wide allows all that narrow does. Of onward rules, it takes only
// equal ones and "nobody" for narrower.
func shadows(wide, narrow *protocol.Term) bool {
	includes := func(w, n []string, all string) bool {
		if len(w) == 1 && w[0] == all {
			return true
		}
		return !slices.ContainsFunc(n, func(s string) bool { return !slices.Contains(w, s) })
	}
	pap := wide.PAP == protocol.PAPUnset || narrow.PAP != protocol.PAPUnset && wide.PAP >= narrow.PAP
	purp := len(wide.Purposes) == 0 || len(narrow.Purposes) > 0 && includes(wide.Purposes, narrow.Purposes, "")
	onward := narrow.Onward.Rule == protocol.OnwardNobody || sameOnward(&wide.Onward, &narrow.Onward) && wide.Approval <= narrow.Approval
	more := wide.Confidence <= narrow.Confidence && (wide.PerDay == 0 || narrow.PerDay != 0 && wide.PerDay >= narrow.PerDay) &&
		(!wide.Holders.Restricted() || sameHolders(&wide.Holders, &narrow.Holders)) &&
		wide.ReplyHours == narrow.ReplyHours && wide.Notify == narrow.Notify && wide.Attribution == narrow.Attribution && wide.Resale == narrow.Resale
	return wide.From == narrow.From && wide.To == narrow.To && wide.TLP >= narrow.TLP && pap && purp &&
		wide.Personal.Effective() >= narrow.Personal.Effective() && keeps(wide.RetentionDays) >= keeps(narrow.RetentionDays) &&
		wide.HistoryDays >= narrow.HistoryDays && onward && more &&
		includes(wide.Topics, narrow.Topics, protocol.Any) && includes(wide.Kinds, narrow.Kinds, protocol.Any) &&
		includes(wide.Countries, narrow.Countries, protocol.Worldwide)
}

// sameTerm reports whether two terms say the same: a list that was read is empty where one that was
// made is nil.
func sameTerm(a, b *protocol.Term) bool { return bytes.Equal(protocol.Encode(a), protocol.Encode(b)) }

func sameOnward(a, b *protocol.Onward) bool {
	return a.Rule == b.Rule && a.Ceiling == b.Ceiling && slices.Equal(a.Orgs, b.Orgs) && slices.Equal(a.Kinds, b.Kinds)
}

func sameHolders(a, b *protocol.Holders) bool {
	return slices.Equal(a.Orgs, b.Orgs) && slices.Equal(a.Countries, b.Countries)
}
