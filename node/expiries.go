package node

import (
	"fmt"
	"slices"
	"time"
)

// What ends with time, and is renewed by the node itself while the operational key can be reached. Where
// it is not renewed when it should have been, status warns.

// Expiry is something that ends.
type Expiry struct {
	What   string        `json:"what"` // one of the Expiry words
	Who    string        `json:"who"`
	At     time.Time     `json:"at"`
	Renews bool          `json:"renews"` // this node renews it by itself, as things stand
	Before time.Duration `json:"-"`      // how long before its end it is renewed, by whoever can; 0: by people only
	do     string        // what a person can do
}

// What ends.
const (
	ExpiryCard        = "card"
	ExpiryNode        = "node"
	ExpiryIdentity    = "age-identity"
	ExpiryCertificate = "certificate"
	ExpiryMandate     = "mandate"
)

const hasEnded = "has ended"

// warning says how loudly to speak of it at a time; "" is not at all. People are told 30 days, 7 days and
// one day before the end; of what is renewed by itself only once it should have been, a day after.
// An age identity that is overdue stops nothing, and never becomes an error.
func (e *Expiry) warning(now time.Time) (severity string, within string) {
	const d = 24 * time.Hour
	left := e.At.Sub(now)
	from := 30 * d
	if e.Before != 0 {
		from = min(from, e.Before-d)
	}
	switch {
	case e.What == ExpiryIdentity && left <= -d:
		return "warning", fmt.Sprintf("is %d days overdue", int(-left/d))
	case e.What == ExpiryIdentity || left > from:
		return "", ""
	case left <= 0:
		return "error", hasEnded
	case left <= d:
		return "error", "ends within a day"
	case left <= 7*d:
		return "warning", "ends within 7 days"
	default:
		return "warning", "ends within 30 days"
	}
}

// Expiries lists what ends with time, the first end first.
func (n *Node) Expiries() []Expiry {
	s := n.snap.Load()
	out := []Expiry{}
	own := s.cards[n.org]
	if own == nil {
		return out
	}
	ms := func(v int64) time.Duration { return time.Duration(v) * time.Millisecond }
	renews := n.opAnswers()
	const reach = "run 'entente up' where the operational key is, and see there that its token answers, if it is in one"
	out = append(out, Expiry{What: ExpiryCard, Who: own.Inception.Name, At: millis(own.FreshUntil), Renews: renews, Before: ms(cardRenewal), do: reach})
	for i := range own.Nodes {
		e := &own.Nodes[i]
		if e.Node == n.ID() || n.op() != nil {
			// One whose time has passed was ended, and comes back by a person's word only.
			out = append(out, Expiry{What: ExpiryNode, Who: e.Node.String(), At: millis(e.NotAfter), Before: ms(nodeLife / 2), do: reach + "; 'entente node renew' there prolongs it",
				Renews: renews && (e.Node == n.ID() || now64() < e.NotAfter)})
		}
		if e.Node == n.ID() {
			out = append(out, Expiry{What: ExpiryIdentity, Who: e.Node.String(), At: n.recipientDue(e.NotBefore), Renews: true, Before: ms(recipientSpread),
				do: reach + "; the new recipient waits for a card that names it"})
		}
	}
	for _, m := range s.mandates {
		if m.said != nil && m.revoked == nil && now64() < m.said.NotAfter && (m.said.Principal == n.org || m.said.Agent == n.org) {
			out = append(out, Expiry{What: ExpiryMandate, Who: s.name(m.said.Agent) + " on behalf of " + s.name(m.said.Principal), At: millis(m.said.NotAfter), do: "the principal gives another with 'entente mandate give', if it is still wanted"})
		}
	}
	n.certMu.Lock()
	for _, c := range n.certificates {
		if at, ok := c.ends(); ok {
			e := Expiry{What: ExpiryCertificate, Who: c.who, At: at.UTC(), Renews: c.own, do: "put a renewed certificate in its files: they are read again by themselves"}
			if c.own {
				e.Before, e.do = c.before, "restart 'entente up', which makes another certificate"
			}
			out = append(out, e)
		}
	}
	n.certMu.Unlock()
	slices.SortStableFunc(out, func(a, b Expiry) int { return a.At.Compare(b.At) })
	return out
}

func now64() uint64 { return uint64(nowMillis()) }

// recipientDue returns when the recipient on the card is to be another at the latest: where the one made
// to follow it is not on the card yet, when that one was due.
func (n *Node) recipientDue(notBefore uint64) time.Time {
	for _, id := range n.Identities() {
		if id.State == IdentityOnCard {
			return *id.Until
		}
	}
	return millis(n.turnsAt(notBefore))
}

// certificate is one that this node serves under.
type certificate struct {
	who    string
	own    bool // made by the node
	before time.Duration
	ends   func() (time.Time, bool)
}

// ServesUnder tells of a certificate that this node serves under: for whom, and when it ends, asked each
// time. own says that the node makes it, and renews it so long before its end.
func (n *Node) ServesUnder(who string, own bool, before time.Duration, ends func() (time.Time, bool)) {
	n.certMu.Lock()
	defer n.certMu.Unlock()
	n.certificates = append(n.certificates, certificate{who, own, before, ends})
}

// expiryProblems tells of what ends soon and was not renewed.
func (n *Node) expiryProblems(st *Status) {
	for _, e := range n.Expiries() {
		severity, within := e.warning(time.UnixMilli(nowMillis()))
		if severity == "" {
			continue
		}
		told := expiryKinds[e.What]
		kind := told.ending
		if within == hasEnded {
			kind = told.ended
		}
		if kind != "" {
			st.problem(kind, severity, e.do, "%s %s: %s", fmt.Sprintf(told.text, e.Who), within, e.At.UTC().Format("2006-01-02 15:04"))
		}
	}
}

// expiryKinds are the kinds of problems, before the end and after it, of each thing that ends, and how it is called.
var expiryKinds = map[string]struct{ ending, ended, text string }{
	ExpiryCard:        {"card-ending", "", "the card of %s"}, // of a stale one it is told more
	ExpiryNode:        {"node-ending", "node-expired", "the time of node %s on the card"},
	ExpiryIdentity:    {"age-identity-overdue", "", "the turnover of the age identity of node %s"},
	ExpiryCertificate: {"certificate-ending", "certificate-expired", "the certificate %s"},
	ExpiryMandate:     {"mandate-ending", "mandate-expired", "the mandate of %s"},
}
