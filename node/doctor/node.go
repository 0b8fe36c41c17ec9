package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func lookAtNode(f *Facts) []Finding {
	switch {
	case f.Unopened != "":
		return []Finding{{State: Error, Kind: "node-unopened", Text: "the node's data cannot be opened: " + f.Unopened, Do: unopened(f.Unopened)}}
	case !f.Online:
		return []Finding{{State: Warning, Kind: "node-down", Text: "the node is not on the network", Do: "run 'entente up'"}}
	}
	return []Finding{{State: OK, Text: "up and on the network"}}
}

// unopened names the repair of what keeps a node from opening.
func unopened(why string) string {
	switch {
	case strings.Contains(why, "no organisation in"):
		return "found it with 'entente init', or say where it is with --dir"
	case strings.Contains(why, "chmod 600"):
		return "see 'permissions' below"
	case strings.Contains(why, "passphrase"):
		return "give the passphrase: set ENTENTE_PASSPHRASE_FILE, or run this in a terminal"
	case strings.Contains(why, "as the user"):
		return "run 'entente doctor' as the user whose the data directory is"
	case strings.Contains(why, "permission denied"):
		return "see 'permissions' below, or run this as the user of the node"
	case strings.Contains(why, "in use by another process"):
		return "stop the other process, or wait for it"
	}
	return "mend what it says; if the data is damaged, restore the last backup: 'entente backup restore'"
}

// Keys is what expires.
type Keys struct {
	OpHere      bool // the operational key can be used here
	Sibling     bool // another node of the organisation may renew the card
	Epoch       uint64
	Fresh       time.Time // until when the own card is
	OnCard      bool
	NodeEnds    time.Time // this node's entry on the card
	AgeWritten  time.Time // when the node's key file was written last, the age identity in it; zero: not known
	Certificate time.Time // until when the certificate for consumers is valid; zero: none is used
	Lock        string    // passphrase, key file
}

const dayOf = 24 * time.Hour

// ending says that something ends within 30, 7 or 1 days; days are those of which it is told.
func ending(f *Facts, end time.Time, days ...int) (string, bool) {
	left := end.Sub(f.Now)
	if left <= 0 {
		return "", false
	}
	slices.Sort(days)
	for _, d := range days {
		if left <= time.Duration(d)*dayOf {
			return fmt.Sprintf("in less than %s, on %s", count(d, "day"), day(end)), true
		}
	}
	return "", false
}

func lookAtKeys(f *Facts) (out []Finding) {
	k := f.Keys
	if k == nil {
		return nil
	}
	renew := "run 'entente up' where the operational key is: it renews the card by itself"
	if k.OpHere {
		renew = "keep 'entente up' running: it renews the card by itself when half of its time is over; if it runs, its log says what fails"
	}
	// A card is signed for 30 days and renewed when 15 are left.
	if text, ok := ending(f, k.Fresh, 1, 7); ok {
		out = append(out, Finding{State: Warning, Kind: "card-ending", Text: "the own card ceases to be fresh " + text, Do: renew})
	} else if !k.Fresh.IsZero() && !k.Fresh.After(f.Now) {
		out = append(out, Finding{State: Error, Kind: "card-stale", Text: "the own card is no longer fresh since " + day(k.Fresh) + "; partners grant nothing against it", Do: renew})
	}
	if k.OnCard {
		if text, ok := ending(f, k.NodeEnds, 1, 7, 30); ok {
			out = append(out, Finding{State: Warning, Kind: "node-ending", Text: "the time of this node on the card ends " + text, Do: renew})
		} else if !k.NodeEnds.After(f.Now) {
			out = append(out, Finding{State: Error, Kind: "node-expired", Text: "the time of this node on the card ended on " + day(k.NodeEnds) + ": nobody admits it", Do: "where the operational key is: 'entente node renew' with this node's id, then 'entente up' there"})
		}
	}
	if !k.Certificate.IsZero() {
		const do = "of --serve-cert: have it renewed, and start the node again; the node's own: start the node again"
		if text, ok := ending(f, k.Certificate, 1, 7, 30); ok {
			out = append(out, Finding{State: Warning, Kind: "certificate-ending", Text: "the certificate for consumers ends " + text, Do: do})
		} else if !k.Certificate.After(f.Now) {
			out = append(out, Finding{State: Error, Kind: "certificate-expired", Text: "the certificate for consumers ended on " + day(k.Certificate) + ": they refuse the node", Do: do})
		}
	}
	if len(out) > 0 {
		return out
	}
	if len(problems(f.Problems, "op-key-elsewhere", ""))+len(problems(f.Problems, "node-not-on-card", "")) > 0 {
		return nil // they say it
	}
	where := "is kept elsewhere"
	if k.OpHere {
		where = "is here"
	}
	text := fmt.Sprintf("the operational key of epoch %d %s; the card is fresh until %s", k.Epoch, where, day(k.Fresh))
	if k.OnCard {
		text += ", the node's time on it ends " + day(k.NodeEnds)
	}
	if !k.AgeWritten.IsZero() {
		text += fmt.Sprintf("; the keys of this node were written %s ago", span(f.Now.Sub(k.AgeWritten)))
	}
	if k.Lock != "" {
		text += ", locked with a " + k.Lock
	}
	return []Finding{{State: OK, Text: text}}
}

// Reach is what peers of other organisations say of the addresses on this node's card.
type Reach struct {
	Announced []string
	Asked     []Asked
	Inbound   int // peers that called this node, now connected
}

// Asked is one peer's answer: what became of each of the announced addresses, in words of
// protocol.DialOutcome; Why is why there is none.
type Asked struct {
	Org      string
	Outcomes []string
	Why      string
}

// told are outcomes that say something of an address.
func told(outcome string) bool {
	return outcome != "busy" && outcome != "relay" && outcome != "not allowed"
}

func lookAtReach(f *Facts) (out []Finding) {
	r := f.Reach
	if r == nil {
		return nil
	}
	if len(r.Announced) == 0 {
		return []Finding{{State: Warning, Kind: "unreachable", Text: "no address stands on the card: nobody can call this node", Do: "start the node with --announce and the address at which it is reached from outside, as /dns4/node.example.org/tcp/4401"}}
	}
	var reached, failed, relays []string
	answers, askers := 0, map[string]bool{}
	for i, addr := range r.Announced {
		ok, why := false, map[string][]string{}
		relay := strings.Contains(addr, "/p2p-circuit")
		for _, a := range r.Asked {
			if i >= len(a.Outcomes) {
				continue
			}
			switch o := a.Outcomes[i]; {
			case o == "relay":
				relay = true
			case o == "reached":
				ok = true
				askers[a.Org] = true
				answers++
			case told(o) || o == "not allowed":
				why[o] = append(why[o], a.Org)
				askers[a.Org] = true
				answers++
			}
		}
		switch {
		case ok:
			reached = append(reached, addr)
		case relay:
			relays = append(relays, addr)
		case len(why) > 0:
			failed = append(failed, addr+" ("+reasons(why)+")")
		}
	}
	switch {
	case answers == 0 && len(relays) > 0:
		return []Finding{{State: OK, Text: "by way of a relay: " + strings.Join(relays, ", ") + "; such addresses are not called from outside"}}
	case answers == 0:
		var why []string
		for _, a := range r.Asked {
			if a.Why != "" {
				why = append(why, a.Org+": "+a.Why)
			}
		}
		text := "no peer of another organisation is connected that could be asked"
		do := "bring up or call a peer, see 'peers'"
		if len(r.Asked) > 0 {
			text, do = "none of "+count(len(r.Asked), "peer")+" could say", "run 'entente doctor' again in a minute"
			if len(why) > 0 {
				text += ": " + strings.Join(why, "; ")
			}
		}
		return []Finding{{State: Unknown, Kind: "not-checked", Text: text, Do: do}}
	case len(reached) == 0 && len(relays) > 0:
		return []Finding{{State: OK, Text: "by way of a relay only: " + strings.Join(relays, ", ") + "; not at " + strings.Join(failed, ", ")}}
	case len(reached) == 0:
		return []Finding{{State: Warning, Kind: "unreachable", Text: fmt.Sprintf("%s called, and reached this node at no address: %s", count(len(askers), "peer"), strings.Join(failed, ", ")),
			Do: "open the ports in the firewall and have the router forward them, UDP and TCP; announce with --announce where it is reached from outside. A node that nobody can call works as long as it can call others"}}
	}
	if len(failed) > 0 {
		out = append(out, Finding{State: Warning, Kind: "address-unreachable", Text: "not reached at " + strings.Join(failed, ", "), Do: "open its port in the firewall, or leave it off the card: start the node with --announce for those that work"})
	}
	return append(out, Finding{State: OK, Text: fmt.Sprintf("reached by %s at %s", count(len(askers), "peer"), strings.Join(reached, ", "))})
}

func reasons(why map[string][]string) string {
	words := map[string]string{"timeout": "no answer in time", "refused": "nothing listens there", "unreachable": "no way there, or no such name", "wrong node": "another node answers",
		"failed": "no connection", "not allowed": "of a private network, or not on the card that they have"}
	var out []string
	for o := range why {
		w := words[o]
		if w == "" {
			w = o
		}
		out = append(out, w)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// Peer is a node of another organisation.
type Peer struct {
	Org       string
	Node      string
	Partner   bool // an agreement with it is in force
	Connected bool
	Since     time.Time // since when calling it fails; zero: it was not tried, or it is connected
	Error     string    // how it failed last, with the addresses
}

// peerPatience is how long a partner may be down before it is told.
const peerPatience = 10 * time.Minute

func lookAtPeers(f *Facts) (out []Finding) {
	if !f.PeersSeen {
		return nil
	}
	orgs, connected, up := map[string]bool{}, 0, map[string]bool{}
	for i := range f.Peers {
		p := &f.Peers[i]
		orgs[p.Org] = true
		if p.Connected {
			connected++
			up[p.Org] = true
		}
	}
	for i := range f.Peers {
		p := &f.Peers[i]
		if p.Connected || up[p.Org] || !p.Partner || p.Since.IsZero() || f.Now.Sub(p.Since) < peerPatience {
			continue
		}
		out = append(out, Finding{State: Warning, Kind: "peer-unreachable", Text: fmt.Sprintf("%s, node %s, has not been reached since %s: %s", p.Org, p.Node, day(p.Since), p.Error),
			Do: "ask them whether their node is up and its ports are open ('entente peers' has their contact); if no peer can be reached, look at this machine's own network"})
	}
	if len(out) == 0 && len(problems(f.Problems, "no-peer", "")) == 0 {
		if len(orgs) == 0 {
			return []Finding{{State: OK, Text: "no other organisation is known yet"}}
		}
		out = append(out, Finding{State: OK, Text: fmt.Sprintf("%d of %s connected, of %d of %s", connected, count(len(f.Peers), "node"), len(up), count(len(orgs), "organisation"))})
	}
	return out
}

// Roster is the network's membership.
type Roster struct {
	Network  string // name; empty: none
	Members  int
	Stewards []Member
	Stale    []string // members whose cards are no longer fresh
	Removed  time.Time
	Why      string // what the steward said
}

// Member is one, and whether its card is fresh.
type Member struct {
	Org   string
	Own   bool
	Fresh bool
}

func lookAtRoster(f *Facts) (out []Finding) {
	r := f.Roster
	if r == nil || r.Network == "" {
		return nil
	}
	if !r.Removed.IsZero() {
		text := "this organisation was removed from the network on " + day(r.Removed)
		if r.Why != "" {
			text += ": " + r.Why
		}
		out = append(out, Finding{State: Error, Kind: "removed", Text: text, Do: "talk to the stewards; one of them can invite it again with 'entente network invite'"})
	}
	if len(r.Stewards) > 0 && !slices.ContainsFunc(r.Stewards, func(m Member) bool { return m.Fresh }) {
		var names []string
		for _, m := range r.Stewards {
			names = append(names, m.Org)
		}
		out = append(out, Finding{State: Warning, Kind: "steward-stale", Text: "no steward has a fresh card (" + strings.Join(names, ", ") + "): nobody removes a member", Do: "ask them to bring a node up where their operational key is"})
	}
	if len(out) == 0 {
		text := fmt.Sprintf("%s, %s, %s", r.Network, count(r.Members, "member"), count(len(r.Stewards), "steward"))
		if len(r.Stale) > 0 {
			text += fmt.Sprintf("; cards of %d no longer fresh: %s", len(r.Stale), strings.Join(r.Stale[:min(len(r.Stale), 3)], ", "))
		}
		out = append(out, Finding{State: OK, Text: text})
	}
	return out
}

// Agreements counts them.
type Agreements struct{ InForce, Waiting int }

func lookAtAgreements(f *Facts) []Finding {
	if f.Agreements == nil || anyOf(f, "agreements") {
		return nil
	}
	return []Finding{{State: OK, Text: fmt.Sprintf("%d in force, none near its end", f.Agreements.InForce)}}
}

// Gaps counts what is held.
type Gaps struct {
	Feeds   int
	Entries uint64
}

func lookAtGaps(f *Facts) []Finding {
	if f.Gaps == nil || anyOf(f, "gaps") {
		return nil
	}
	return []Finding{{State: OK, Text: fmt.Sprintf("%d entries of %s held, nothing missing", f.Gaps.Entries, count(f.Gaps.Feeds, "feed"))}}
}

// anyOf reports whether the node's own problems have any of a check.
func anyOf(f *Facts, check string) bool {
	return slices.ContainsFunc(f.Problems, func(p Problem) bool { return Kinds[p.Kind] == check })
}

// Backup is when this node was backed up.
type Backup struct {
	Last     time.Time // a whole one; zero: none is known of
	Verified time.Time // when the last one of this node that was verified here was; zero: none
	Of       time.Time // when that was made
	Wrote    bool      // this node published something
	Since    time.Time // when this node came to be
}

// Bounds on backups.
const (
	backupFirst = 24 * time.Hour // after a node came to be
	backupAge   = 7 * 24 * time.Hour
)

func lookAtBackup(f *Facts) []Finding {
	b := f.Backup
	const do = "entente backup create --recipient AGE -o FILE; 'entente backup keygen' makes a key for it"
	switch {
	case b == nil:
		return nil
	case b.Last.IsZero() && b.Wrote && f.Now.Sub(b.Since) > backupFirst:
		return []Finding{{State: Warning, Kind: "backup-never", Text: "this node has published, and was never backed up", Do: do}}
	case b.Last.IsZero():
		return []Finding{{State: OK, Text: "none yet, and nothing that needs one for a day"}}
	case f.Now.Sub(b.Last) > backupAge:
		return []Finding{{State: Warning, Kind: "backup-old", Text: fmt.Sprintf("the last backup is %s old", span(f.Now.Sub(b.Last))), Do: do}}
	case b.Verified.IsZero():
		return []Finding{{State: Unknown, Kind: "backup-unverified", Text: fmt.Sprintf("the last one is %s old; whether it can be read is not known here", span(f.Now.Sub(b.Last))),
			Do: "entente backup verify FILE --identity FILE, where the offline identity is; run with the --dir of this node it is noted here"}}
	}
	return []Finding{{State: OK, Text: fmt.Sprintf("the last one is %s old; one of %s was verified on %s", span(f.Now.Sub(b.Last)), day(b.Of), day(b.Verified))}}
}
