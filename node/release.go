package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// releaseState is what became of records that were put before people.
type releaseState uint8

const (
	releaseWaits releaseState = iota
	releasePassed
	releaseDenied
	releaseVoid // nobody may have them any more
)

var releaseStates = [...]string{"waiting", "passed on", "denied", "void"}

// releaseDoc are records of one entry that wait for persons to release them, or did.
type releaseDoc struct {
	_          struct{} `cbor:",toarray"`
	Feed       protocol.FeedID
	Seq        uint64
	Topic      string
	Originator protocol.OrgID
	Publisher  protocol.OrgID
	TLP        uint8
	Kinds      []kindCount
	Orgs       []protocol.OrgID
	Days       uint32
	Needs      uint8
	Records    []protocol.RecordID
	Created    uint64
	Approvals  []releaseVote
	State      uint8
	Denied     []releaseVote // one, if it was
	Why        string        // persons are needed, in one sentence
	Form       uint8         // of what the first who approved wanted
}

// releaseForm is how records are released.
type releaseForm uint8

const (
	formUndecided releaseForm = iota
	formOpen                  // passed on, under their originator's proof
	formWithheld              // published as this organisation's own, the origin withheld
)

// deniedDoc says for whom a person did not release a record.
type deniedDoc struct {
	_    struct{}         `cbor:",toarray"`
	Orgs []protocol.OrgID // sorted
}

// voidReleases takes back what waits for persons.
func voidReleases(tx *store.Tx) error {
	waiting := map[uint64]*releaseDoc{}
	if err := scanDocs(tx, kindRelease, func(id []byte, d *releaseDoc) error {
		if releaseState(d.State) == releaseWaits {
			held := *d
			waiting[binary.BigEndian.Uint64(id)] = &held
		}
		return nil
	}); err != nil {
		return err
	}
	for number, d := range waiting {
		d.State = uint8(releaseVoid)
		if err := putDoc(tx, kindRelease, be64(number), d); err != nil {
			return err
		}
	}
	return nil
}

type kindCount struct {
	_     struct{} `cbor:",toarray"`
	Kind  string
	Count uint32
}

// releaseVote is what a person said.
type releaseVote struct {
	_      struct{} `cbor:",toarray"`
	Person string
	At     uint64
	Reason string
	User   string // the account by which they said it, where the node has people; else "", and not written
}

type (
	releaseVote02 releaseVote
	releaseVote01 struct {
		_      struct{} `cbor:",toarray"`
		Person string
		At     uint64
		Reason string
	}
)

// MarshalCBOR implements cbor.Marshaler.
func (v releaseVote) MarshalCBOR() ([]byte, error) {
	if v.User == "" {
		return protocol.Encode(&releaseVote01{Person: v.Person, At: v.At, Reason: v.Reason}), nil
	}
	return protocol.Encode((*releaseVote02)(&v)), nil
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (v *releaseVote) UnmarshalCBOR(b []byte) error {
	var old releaseVote01
	if protocol.DecodeOwn(b, &old) == nil {
		*v = releaseVote{Person: old.Person, At: old.At, Reason: old.Reason}
		return nil
	}
	return protocol.DecodeOwn(b, (*releaseVote02)(v))
}

// maxReleases bounds the releases that wait, and how many are kept of those that do not.
const maxReleases = 10_000

func putRelease(tx *store.Tx, g *onwardGroup) error {
	next := uint64(1)
	err := tx.Scan([]byte(kindRelease), nil, true, func(k, _ []byte) (bool, error) {
		next = binary.BigEndian.Uint64(k[len(kindRelease):]) + 1
		return false, nil
	})
	if err != nil {
		return err
	}
	doc := &releaseDoc{Feed: g.place.Feed, Seq: g.place.Seq, Topic: g.topic, Originator: g.originator, Publisher: g.publisher, TLP: uint8(g.tlp),
		Orgs: g.orgs, Days: g.days, Needs: g.needs, Records: g.records, Created: uint64(nowMillis()), Why: g.why}
	for _, k := range slices.Sorted(maps.Keys(g.kinds)) {
		doc.Kinds = append(doc.Kinds, kindCount{Kind: k, Count: uint32(g.kinds[k])})
	}
	if next > maxReleases { // the oldest goes, if it was decided
		var oldest releaseDoc
		if ok, err := getDoc(tx, kindRelease, be64(next-maxReleases), &oldest); err != nil {
			return err
		} else if ok && releaseState(oldest.State) == releaseWaits {
			return fmt.Errorf("%d releases wait for persons; approve or deny the oldest ('entente release list'), and it goes on", maxReleases)
		}
		if err := tx.Delete(append([]byte(kindRelease), be64(next-maxReleases)...)); err != nil {
			return err
		}
	}
	return putDoc(tx, kindRelease, be64(next), doc)
}

// ReleaseItem is what waits for persons, or what they decided.
type ReleaseItem struct {
	Number     uint64        `json:"number"`
	State      string        `json:"state"` // waiting, passed on, denied, void
	Originator OrgRef        `json:"originator"`
	Publisher  OrgRef        `json:"publisher"`
	Topic      string        `json:"topic"`
	TLP        string        `json:"tlp"`
	Records    int           `json:"records"`
	Kinds      []ReleaseKind `json:"kinds"`
	To         []OrgRef      `json:"to"`
	Needs      int           `json:"needs"` // persons
	Why        string        `json:"why"`   // they are needed: the term or the rule that wants it, or the mode
	Since      time.Time     `json:"since"`
	Approved   []ReleaseVote `json:"approved"`
	Denied     *ReleaseVote  `json:"denied,omitempty"`
	Withheld   bool          `json:"origin_withheld,omitempty"`
	IDs        []string      `json:"ids,omitempty"` // only where one is asked for
}

// ReleaseKind counts records of a STIX type.
type ReleaseKind struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
}

// ReleaseVote is what a person said.
type ReleaseVote struct {
	Person string    `json:"person"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

func (v *releaseVote) view() ReleaseVote {
	return ReleaseVote{Person: v.Person, At: millis(v.At), Reason: v.Reason}
}

func (s *snapshot) releaseItem(number uint64, d *releaseDoc, ids bool) ReleaseItem {
	item := ReleaseItem{Number: number, State: releaseStates[min(int(d.State), len(releaseStates)-1)], Originator: s.ref(d.Originator), Publisher: s.ref(d.Publisher),
		Topic: d.Topic, TLP: protocol.TLP(d.TLP).String(), Records: len(d.Records), Kinds: []ReleaseKind{}, To: []OrgRef{}, Needs: int(d.Needs), Why: d.Why, Withheld: releaseForm(d.Form) == formWithheld,
		Since: millis(d.Created), Approved: []ReleaseVote{}}
	for _, k := range d.Kinds {
		item.Kinds = append(item.Kinds, ReleaseKind{Type: k.Kind, Count: int(k.Count)})
	}
	for _, o := range d.Orgs {
		item.To = append(item.To, s.ref(o))
	}
	for i := range d.Approvals {
		item.Approved = append(item.Approved, d.Approvals[i].view())
	}
	if len(d.Denied) > 0 {
		v := d.Denied[0].view()
		item.Denied = &v
	}
	if ids {
		for _, id := range d.Records {
			item.IDs = append(item.IDs, id.String())
		}
	}
	return item
}

// Releases lists what waits for persons, the oldest first; with all, also what they decided.
func (n *Node) Releases(all bool) ([]ReleaseItem, error) {
	s := n.snap.Load()
	list := []ReleaseItem{}
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindRelease, func(id []byte, d *releaseDoc) error {
			if all || releaseState(d.State) == releaseWaits {
				list = append(list, s.releaseItem(binary.BigEndian.Uint64(id), d, false))
			}
			return nil
		})
	})
	return list, err
}

// ReleaseOf returns one release, with the ids of its records.
func (n *Node) ReleaseOf(number uint64) (*ReleaseItem, error) {
	d, err := n.releaseOf(number)
	if err != nil {
		return nil, err
	}
	item := n.snap.Load().releaseItem(number, d, true)
	return &item, nil
}

func (n *Node) releaseOf(number uint64) (*releaseDoc, error) {
	d := new(releaseDoc)
	err := n.st.View(func(tx *store.Tx) error {
		ok, err := getDoc(tx, kindRelease, be64(number), d)
		if err == nil && !ok {
			err = fmt.Errorf("release %d: %w; 'entente release list' shows those that wait", number, ErrNotFound)
		}
		return err
	})
	return d, err
}

// person checks how a person is named.
func person(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > protocol.MaxNameSize {
		return "", fmt.Errorf("say who decides, in at most %d bytes", protocol.MaxNameSize)
	}
	return name, nil
}

// ApproveRelease notes that a person releases records. When as many as are wanted did, each
// another, they are passed on to those who may still have them. It is decided anew then: an
// agreement that ended meanwhile admits nobody. With withhold they are published as this
// organisation's own, their origin withheld; all who approve a release must want the same.
func (n *Node) ApproveRelease(ctx context.Context, number uint64, by string, withhold bool) (*ReleaseItem, error) {
	by, err := person(by)
	if err != nil {
		return nil, err
	}
	n.passing.Lock()
	defer n.passing.Unlock()
	if err := ctx.Err(); err != nil { // who left meanwhile votes no more
		return nil, err
	}
	// Where nobody is known by an account, names are words, and one account speaks for several people.
	user := ""
	if n.HasAccounts() {
		user = CallerOf(ctx).User
	}
	if s := n.snap.Load(); !s.people.counts(&releaseVote{Person: by, User: user}) { // who lost the role meanwhile, neither
		return nil, fmt.Errorf("%s may not release: %w", by, ErrForbidden)
	}
	d, err := n.releaseOf(number)
	if err != nil {
		return nil, err
	}
	if releaseState(d.State) != releaseWaits {
		return nil, fmt.Errorf("release %d is %s already", number, releaseStates[d.State])
	}
	if s := n.snap.Load(); d.withoutVotes(func(v *releaseVote) bool { return !s.people.counts(v) }) > 0 {
		n.log.Warn("votes of those who may not release any more do not count", "release", number)
	}
	if slices.ContainsFunc(d.Approvals, func(v releaseVote) bool { return strings.EqualFold(v.Person, by) || v.User != "" && v.User == user }) {
		return nil, fmt.Errorf("%s approved release %d already; another person must do so, too", by, number)
	}
	form := formOpen
	if withhold {
		form = formWithheld
	}
	switch {
	case releaseForm(d.Form) == formUndecided:
		d.Form = uint8(form)
	case releaseForm(d.Form) != form:
		return nil, fmt.Errorf("%s approved release %d %s; approve it in the same form, or deny it", d.Approvals[0].Person, number, map[bool]string{true: "with its origin withheld", false: "with its origin"}[!withhold])
	}
	if withhold {
		p, err := n.PlanWithheld(number)
		if err != nil {
			return nil, err
		}
		if len(p.Refused) > 0 {
			return nil, fmt.Errorf("%w: release %d cannot be published with its origin withheld: %s", ErrRefused, number, strings.Join(p.Refused, "; "))
		}
	}
	if err := n.needsNow(d); err != nil {
		return nil, err
	}
	d.Approvals = append(d.Approvals, releaseVote{Person: by, At: uint64(nowMillis()), User: user})
	if len(d.Approvals) < int(d.Needs) {
		err = n.st.Update(func(tx *store.Tx) error { return n.putVote(tx, votes(ctx, by), d.act(), number, d, "") })
	} else {
		err = n.passReleased(ctx, number, d)
	}
	if err != nil {
		return nil, err
	}
	return n.ReleaseOf(number)
}

// needsNow raises how many persons a release needs to what agreements and rules want of it today:
// never lowers it.
func (n *Node) needsNow(d *releaseDoc) error {
	s, now := n.snap.Load(), uint64(nowMillis())
	s.personsFor(d)
	for _, id := range d.Records {
		var subject *policy.Subject
		if err := n.viewIndex(func(tx *store.Tx) error {
			e, err := n.getEntry(tx, id)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err == nil {
				subject = n.subjectOf(s, e)
			}
			return err
		}); err != nil {
			return err
		}
		for _, org := range d.Orgs {
			if subject == nil {
				break
			}
			if v := policy.DecideOnward(s.policy, org, subject, now); v.Allow && v.Approval > d.Needs {
				d.Needs, d.Why = v.Approval, v.ApprovalText
			}
		}
	}
	return nil
}

// act is what a person does that approves it.
func (d *releaseDoc) act() string {
	if releaseForm(d.Form) == formWithheld {
		return "approve, the origin withheld"
	}
	return "approve"
}

// DenyRelease notes that a person does not release records: they stay here.
func (n *Node) DenyRelease(ctx context.Context, number uint64, by, reason string) (*ReleaseItem, error) {
	by, err := person(by)
	if err != nil {
		return nil, err
	}
	if len(reason) > protocol.MaxTextSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "a reason has at most %d bytes", protocol.MaxTextSize)
	}
	n.passing.Lock()
	defer n.passing.Unlock()
	d, err := n.releaseOf(number)
	if err != nil {
		return nil, err
	}
	if releaseState(d.State) != releaseWaits {
		return nil, fmt.Errorf("release %d is %s already", number, releaseStates[d.State])
	}
	d.State, d.Denied = uint8(releaseDenied), []releaseVote{{Person: by, At: uint64(nowMillis()), Reason: reason}}
	if err := n.st.Update(func(tx *store.Tx) error {
		for _, id := range d.Records {
			var denied deniedDoc
			if _, err := getDoc(tx, kindDenied, id[:], &denied); err != nil {
				return err
			}
			denied.Orgs = append(denied.Orgs, d.Orgs...)
			slices.SortFunc(denied.Orgs, protocol.OrgID.Compare)
			denied.Orgs = slices.Compact(denied.Orgs)
			if err := putDoc(tx, kindDenied, id[:], &denied); err != nil {
				return err
			}
		}
		return n.putVote(tx, votes(ctx, by), "deny", number, d, reason)
	}); err != nil {
		return nil, err
	}
	return n.ReleaseOf(number)
}

// passReleased passes on what persons released. That it was, and the entries, are one commit.
func (n *Node) passReleased(ctx context.Context, number uint64, d *releaseDoc) error {
	passed := false
	by := votes(ctx, d.Approvals[len(d.Approvals)-1].Person)
	err := n.append(d.Topic, func(a *appender) error {
		words := n.words.Load() // before anything is read
		a.onCommit = append(a.onCommit, func(*store.Tx) error {
			if n.words.Load() != words {
				return errGeneration // it is decided anew
			}
			return nil
		})
		groups, stale, err := n.groupReleased(a.snap, d)
		if err != nil {
			return err
		}
		if len(groups) == 0 && len(stale) > 0 {
			return fmt.Errorf("the card of %s is not fresh, so that nothing can be sealed for it; approve release %d again when its node is up", a.snap.name(stale[0]), number)
		}
		for _, g := range groups {
			pass := a.passOn
			if g.withhold {
				pass = a.passWithheld
			}
			if err := pass(g, by); errors.Is(err, errRegroup) {
				return errGeneration // it is decided anew
			} else if err != nil {
				return err
			}
		}
		if passed = len(a.all()) > 0; passed {
			d.State = uint8(releasePassed)
			a.onCommit = append(a.onCommit, groups[0].volume.commit, func(tx *store.Tx) error { return n.putVote(tx, by, d.act(), number, d, "") })
			if len(stale) > 0 { // it waits on for them, and for persons again
				a.onCommit = append(a.onCommit, func(tx *store.Tx) error { return putRelease(tx, d.group(stale)) })
			}
		}
		return ctx.Err()
	})
	if err != nil || passed {
		return err
	}
	d.State = uint8(releaseVoid)
	return n.st.Update(func(tx *store.Tx) error { return n.putVote(tx, by, d.act(), number, d, "") })
}

// group is a release as a group, for some of its organisations.
func (d *releaseDoc) group(orgs []protocol.OrgID) *onwardGroup {
	g := &onwardGroup{place: protocol.EntryRef{Feed: d.Feed, Seq: d.Seq}, topic: d.Topic, originator: d.Originator, publisher: d.Publisher, tlp: protocol.TLP(d.TLP),
		kinds: map[string]int{}, orgs: orgs, days: d.Days, needs: d.Needs, why: d.Why, records: d.Records}
	for _, k := range d.Kinds {
		g.kinds[k.Kind] = int(k.Count)
	}
	return g
}

// votes is the caller whose vote it is.
func votes(ctx context.Context, by string) Caller {
	asked := CallerOf(ctx)
	c := Caller{Person: by, Purpose: asked.Purpose}
	if asked.Person == by { // else it is a word, and nobody is known by an account
		c.Right = asked.Right
	}
	return c
}

// groupReleased decides anew about each record of a release: who of those for whom it was approved
// may have it today. stale are those whose cards alone keep it from them.
func (n *Node) groupReleased(s *snapshot, d *releaseDoc) (out []*onwardGroup, stale []protocol.OrgID, err error) {
	byKey := map[string]*onwardGroup{}
	counted := n.newVolume(uint64(nowMillis()))
	for _, id := range d.Records {
		var had []protocol.OrgID
		var e, gone = (*policy.Subject)(nil), false
		var came *corpus.Entry
		err := n.viewIndex(func(tx *store.Tx) error {
			entry, err := n.getEntry(tx, id)
			if errors.Is(err, ErrNotFound) || err == nil && entry.Withdrawn {
				gone = true
				return nil
			}
			if err != nil {
				return err
			}
			e = n.subjectOf(s, entry)
			came = entry
			had, err = n.notFor(tx, entry)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		if gone {
			continue
		}
		decide, withhold := policy.DecideOnward, releaseForm(d.Form) == formWithheld
		if withhold {
			decide, e.Path = policy.DecideWithheld, n.pathOf(came)
		}
		now := uint64(nowMillis())
		byDays := map[uint32][]protocol.OrgID{}
		for _, org := range d.Orgs {
			v := decide(s.policy, org, e, now)
			if v.Reason == policy.ReasonStaleCard && !slices.Contains(had, org) && !slices.Contains(stale, org) {
				stale = append(stale, org)
			}
			if !v.Allow || int(v.Approval) > len(d.Approvals) || slices.Contains(had, org) {
				continue
			}
			ok, err := counted.take(&v)
			if err != nil {
				return nil, nil, err
			}
			if !ok {
				return nil, nil, fmt.Errorf("the term under which it would go to %s lets no more than %d records through a day; approve it on another day", s.name(org), v.PerDay)
			}
			byDays[v.Retention] = append(byDays[v.Retention], org)
		}
		for days, orgs := range byDays {
			key := string(protocol.Encode(orgs)) + fmt.Sprint(days)
			g := byKey[key]
			if g == nil {
				g = &onwardGroup{place: protocol.EntryRef{Feed: d.Feed, Seq: d.Seq}, topic: d.Topic, publisher: d.Publisher, orgs: orgs, days: days, approved: len(d.Approvals), withhold: withhold, volume: counted}
				byKey[key] = g
				out = append(out, g)
			}
			g.records = append(g.records, id)
		}
	}
	return out, stale, nil
}

// noteForward notes that a withdrawal is to be told to those who had the record from here.
func (n *Node) noteForward(tx *store.Tx, id protocol.RecordID, reason string) error {
	orgs, err := n.readersOf(tx, id)
	if err != nil || len(orgs) == 0 {
		return err
	}
	return tellLater(tx, kindForward, []protocol.RecordID{id}, reason, orgs)
}

// forwardDoc is a withdrawal that is to be told.
type forwardDoc struct {
	_      struct{} `cbor:",toarray"`
	Reason string
	Orgs   []protocol.OrgID // sorted
}

// tellLater notes who is to be told of withdrawals: kindForward now, kindForwardWait when there is an
// agreement again.
func tellLater(tx *store.Tx, kind string, records []protocol.RecordID, reason string, orgs []protocol.OrgID) error {
	for i := range records {
		doc := forwardDoc{Reason: reason}
		if _, err := getDoc(tx, kind, records[i][:], &doc); err != nil {
			return err
		}
		doc.Orgs = append(doc.Orgs, orgs...)
		slices.SortFunc(doc.Orgs, protocol.OrgID.Compare)
		doc.Orgs = slices.Compact(doc.Orgs)
		if err := putDoc(tx, kind, records[i][:], &doc); err != nil {
			return err
		}
	}
	return nil
}

// forwardWithdrawals tells of withdrawals who is to be told and can be: those who had records of
// others from here, if the withdrawal counts here, and those with whom no agreement was in force when
// it was said. due stands in the store as what waits; there stays what has to wait on.
func (n *Node) forwardWithdrawals(ctx context.Context, due map[protocol.RecordID]*forwardDoc) error {
	type group struct {
		reason  string
		orgs    []protocol.OrgID
		records []protocol.RecordID
	}
	s := n.snap.Load()
	partners := s.partners(n.org, uint64(nowMillis()))
	groups := map[string]*group{}
	rest := map[protocol.RecordID]*forwardDoc{}
	err := n.viewIndex(func(tx *store.Tx) error {
		clear(groups)
		clear(rest)
		for record, d := range due {
			e, err := n.getEntry(tx, record)
			if errors.Is(err, ErrNotFound) || err == nil && !e.Withdrawn {
				rest[record] = nil // it does not count, or is gone altogether
				continue
			}
			if err != nil {
				return err
			}
			now, later := []protocol.OrgID{}, []protocol.OrgID{}
			for _, o := range d.Orgs {
				switch {
				case partners[o] != nil:
					now = append(now, o)
				case s.toldLater(n.org, o):
					later = append(later, o)
				}
			}
			if len(later) < len(d.Orgs) {
				rest[record] = &forwardDoc{Reason: d.Reason, Orgs: later}
			}
			if len(now) == 0 {
				continue
			}
			key := d.Reason + "\x00" + string(protocol.Encode(now))
			g := groups[key]
			if g == nil {
				g = &group{reason: d.Reason, orgs: now}
				groups[key] = g
			}
			g.records = append(g.records, record)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range groups {
		places, err := n.ownPlaces(g.records, true)
		if err != nil {
			return err
		}
		for _, list := range places {
			for _, pl := range list {
				for i := range pl.reach {
					pl.reach[i].orgs = slices.DeleteFunc(pl.reach[i].orgs, func(o protocol.OrgID) bool { return !slices.Contains(g.orgs, o) })
				}
			}
		}
		if err := n.withdrawPlaces(ctx, places, g.reason); err != nil {
			return fmt.Errorf("telling that records were withdrawn: %w", err)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return n.st.Update(func(tx *store.Tx) error {
		for id, d := range rest {
			var err error
			if d == nil || len(d.Orgs) == 0 {
				err = tx.Delete(append([]byte(kindForwardWait), id[:]...))
			} else {
				err = putDoc(tx, kindForwardWait, id[:], d)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
