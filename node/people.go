package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// The people of a node: who may open its socket, as whom, and what their roles let them do. As soon as
// there is one, an account of the operating system that is none of theirs sees the status, and nothing
// else. All nodes of an organisation hold the same; whoever is removed at one is removed at all.

// NodePerson is how the audit log names the node where it acts by itself. Nobody can be called so.
const NodePerson = "node"

// Bounds of people.
const (
	maxPeople = 1000 // also of those who left
	// endPatience is how long the removal of a person waits for what they have open to end.
	endPatience = 5 * time.Second
)

// Person is one of the people of this organisation's nodes.
type Person struct {
	ID       string   `json:"name"` // by which the node knows them, and the audit log names them
	FullName string   `json:"full_name"`
	Roles    []string `json:"roles"`
	User     string   `json:"os_user"` // as whom they open the socket
	Purpose  string   `json:"purpose,omitempty"`
	// Removed is one who left. The name is kept, so that a sibling that has not heard of it, or a people
	// file, does not bring them back.
	Removed bool `json:"removed,omitempty"`
	// Unconfirmed is one who came from a backup, and may have been removed since.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
	// Ambiguous is one whose account is that of another, too, as two nodes were told apart from each
	// other: neither may come by it before one of them has another.
	Ambiguous bool     `json:"ambiguous,omitempty"`
	Consumers []string `json:"consumers"` // that they own, or that come as them
	SetUp     []Owned  `json:"set_up"`    // sinks, sources and views that they own
}

// personDoc is a person as siblings know them, and what is of this node alone.
type personDoc struct {
	_       struct{} `cbor:",toarray"`
	Said    protocol.SiblingPerson
	Doubted bool // Unconfirmed
}

func (d *personDoc) present() bool { return d.Said.Term%2 == 1 }

func (d *personDoc) roles() []string {
	list := []string{}
	for _, r := range d.Said.Roles {
		if r.Count%2 == 1 {
			list = append(list, r.Role)
		}
	}
	return list
}

func (d *personDoc) person() Person {
	p := Person{ID: d.Said.ID, FullName: d.Said.Name, Roles: []string{}, User: d.Said.User, Purpose: d.Said.Purpose, Removed: !d.present(), Unconfirmed: d.Doubted, Consumers: []string{}, SetUp: []Owned{}}
	if d.present() {
		p.Roles = d.roles()
	}
	return p
}

// people are those of a snapshot. A nil one is none.
type people struct {
	byID   map[string]*personDoc
	byUser map[string]string // the person of an account, of those who may come
	twice  map[string]bool   // accounts of more than one
	sum    protocol.Hash     // of all that this was read from
}

// loadPeople reads the people. Those of the snapshot before stay if nothing changed, so that what was
// decided about them is known to hold.
func (n *Node) loadPeople(tx *store.Tx, s *snapshot) error {
	p := &people{byID: map[string]*personDoc{}, byUser: map[string]string{}, twice: map[string]bool{}}
	sum := sha256.New()
	if err := scanDocs(tx, kindPerson, func(id []byte, d *personDoc) error {
		held := *d
		p.byID[string(id)] = &held
		sum.Write(protocol.Encode(d))
		return nil
	}); err != nil {
		return err
	}
	s.second = map[Act]protocol.SiblingSecond{}
	if err := scanDocs(tx, kindSecond, func(_ []byte, d *protocol.SiblingSecond) error { s.second[Act(d.Act)] = *d; return nil }); err != nil {
		return err
	}
	if len(p.byID) == 0 {
		return nil
	}
	p.sum = protocol.Hash(sum.Sum(nil))
	if before := n.snap.Load(); before != nil && before.people != nil && before.people.sum == p.sum {
		s.people = before.people
		return nil
	}
	users := map[string]int{}
	for _, d := range p.byID {
		if d.present() && !d.Doubted {
			users[d.Said.User]++
		}
	}
	for id, d := range p.byID {
		switch {
		case !d.present() || d.Doubted:
		case users[d.Said.User] > 1:
			p.twice[d.Said.User] = true
		default:
			p.byUser[d.Said.User] = id
		}
	}
	s.people = p
	return nil
}

func (p *people) setUp() bool { return p != nil }

// of returns the person of a name as local rules see them. Known says that the name is one of the
// people's, also where whoever has it may not come: then there is no principal.
func (p *people) of(id string) (who *rules.Principal, known bool) {
	if p == nil || p.byID[id] == nil {
		return nil, false
	}
	d := p.byID[id]
	if !d.present() || d.Doubted {
		return nil, true
	}
	return &rules.Principal{ID: id, Name: cmp.Or(d.Said.Name, id), Roles: d.roles(), Purpose: d.Said.Purpose, Account: true, User: d.Said.User}, true
}

// who returns a principal as it stands now: of one of the people's, who they are today.
func (p *people) who(who *rules.Principal) *rules.Principal {
	if who == nil || !who.Account {
		return who
	}
	if now, _ := p.of(who.ID); now != nil && len(who.Roles) > 0 {
		return now
	}
	return &rules.Principal{ID: who.ID, Name: who.Name, Roles: []string{}, Account: true, User: who.User}
}

// admins counts who may administer, without one.
func (p *people) admins(without string) (count int) {
	if p == nil {
		return 0
	}
	for id, d := range p.byID {
		if id != without && d.present() && !d.Doubted && !p.twice[d.Said.User] && slices.Contains(d.roles(), rules.RoleAdmin) {
			count++
		}
	}
	return count
}

// HasAccounts reports whether the node has people: an account that is none of theirs is nobody's then.
func (n *Node) HasAccounts() bool { return n.snap.Load().people.setUp() }

// AccountOf returns whose an account of the operating system is. It is never nil; whose nobody's is has
// no roles.
func (n *Node) AccountOf(user string) *rules.Principal {
	p := n.snap.Load().people
	if p.setUp() {
		if who, _ := p.of(p.byUser[user]); who != nil {
			return who
		}
	}
	return &rules.Principal{ID: user, Name: user, Roles: []string{}, Account: true, User: user}
}

// gone reports whether a name is that of one of the people who may not come: they left, or nobody
// confirmed them since a restore.
func (n *Node) gone(id string) bool {
	who, known := n.snap.Load().people.of(id)
	return known && who == nil
}

// counts reports whether a vote on a release counts today. Where the node has people, one that was given before
// it had any is a word, and one of somebody who may not release any more is none.
func (p *people) counts(v *releaseVote) bool {
	if !p.setUp() {
		return true
	}
	who, _ := p.of(v.Person)
	return v.User != "" && who != nil && who.Bound(rules.Release) == nil
}

// People lists the people by name; with all, also those who left.
func (n *Node) People(all bool) ([]Person, error) {
	s, list := n.snap.Load(), []Person{}
	if !s.people.setUp() {
		return list, nil
	}
	consumers, err := n.Consumers()
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(s.people.byID)) {
		d := s.people.byID[id]
		if !d.present() && !all {
			continue
		}
		p := d.person()
		if p.SetUp, err = n.setUpBy(id); err != nil {
			return nil, err
		}
		p.Ambiguous = d.present() && s.people.twice[d.Said.User]
		for _, c := range consumers {
			if c.Owner == id || c.As == id {
				p.Consumers = append(p.Consumers, c.Name)
			}
		}
		list = append(list, p)
	}
	return list, err
}

// Person returns one; ErrNotFound if there is none.
func (n *Node) Person(id string) (*Person, error) {
	list, err := n.People(true)
	for i := range list {
		if list[i].ID == id {
			return &list[i], err
		}
	}
	return nil, errors.Join(err, fmt.Errorf("nobody of this node's people is called %q; 'entente people list' shows who is: %w", id, ErrNotFound))
}

// PersonChange says what is to be of a person.
type PersonChange struct {
	ID       string
	Roles    []string
	Only     bool   // the roles are all that they have; else they are added to those
	User     string // "": stays; of a new one, as the name
	FullName string // "": stays
	Purpose  string // "": stays
}

func (c *PersonChange) check(s *snapshot) error {
	switch {
	case !protocol.IsPersonName(c.ID) || c.ID == NodePerson:
		return protocol.Errorf(protocol.ErrMalformed, "a person is named by 1 to %d letters, digits, and . _ @ -, and not %q; %q is no name", protocol.MaxPersonName, NodePerson, audit.Clip(c.ID, protocol.MaxPersonName))
	case s.rules.Person(c.ID) != nil:
		return protocol.Errorf(protocol.ErrMalformed, "%q stands in the people file of the rules, and a name is in one place only; load the rules with a people file without it ('entente rules load FILE --people FILE'), then add them", c.ID)
	case len(c.Roles) > rules.MaxRoles:
		return protocol.Errorf(protocol.ErrOversize, "%d roles are too many, at most %d", len(c.Roles), rules.MaxRoles)
	}
	for what, text := range map[string]string{"an account": c.User, "a full name": c.FullName, "a purpose": c.Purpose} {
		if len(text) > protocol.MaxNameSize || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return protocol.Errorf(protocol.ErrMalformed, "%s is at most %d bytes of text without control characters", what, protocol.MaxNameSize)
		}
	}
	for _, r := range c.Roles {
		also := map[string]string{"administrator": rules.RoleAdmin, "analyst": rules.RoleReader}[r]
		switch {
		case also != "":
			return protocol.Errorf(protocol.ErrMalformed, "role %q is what local rules call %q; give that", r, also)
		case !slices.Contains(rules.Roles(), r) && !s.rules.HasRole(r):
			return protocol.Errorf(protocol.ErrMalformed, "there is no role %q; use %s, or one that the people file of the rules names", audit.Clip(r, protocol.MaxPersonName), strings.Join(rules.Roles(), ", "))
		}
	}
	return nil
}

// next is what becomes of a person by a change; wider says that it lets anybody do more.
func (c *PersonChange) next(held *personDoc) (d *personDoc, wider bool, err error) {
	d = &personDoc{Said: protocol.SiblingPerson{ID: c.ID}}
	if held != nil {
		*d = *held
		d.Said.Roles = slices.Clone(held.Said.Roles)
	}
	if !d.present() { // it is somebody new, whatever the name was before
		d = &personDoc{Said: protocol.SiblingPerson{ID: c.ID, Term: d.Said.Term + 1, User: cmp.Or(c.User, c.ID)}}
	}
	said := &d.Said
	wider = held == nil || !held.present() || c.User != "" && c.User != said.User
	for _, role := range c.Roles {
		i := slices.IndexFunc(said.Roles, func(r protocol.PersonRole) bool { return r.Role == role })
		switch {
		case i < 0:
			said.Roles, wider = append(said.Roles, protocol.PersonRole{Role: role, Count: 1}), true
		case said.Roles[i].Count%2 == 0:
			said.Roles[i].Count++
			wider = true
		}
	}
	for i := range said.Roles {
		if r := &said.Roles[i]; c.Only && r.Count%2 == 1 && !slices.Contains(c.Roles, r.Role) {
			r.Count++
		}
	}
	slices.SortFunc(said.Roles, func(a, b protocol.PersonRole) int { return cmp.Compare(a.Role, b.Role) })
	said.User, said.Name, said.Purpose = cmp.Or(c.User, said.User), cmp.Or(c.FullName, said.Name), cmp.Or(c.Purpose, said.Purpose)
	said.Version++
	if len(d.roles()) == 0 {
		return nil, false, protocol.Errorf(protocol.ErrMalformed, "say what %s may do: %s; without a role they could do nothing, and 'entente people remove' ends it", c.ID, strings.Join(rules.Roles(), ", "))
	}
	if err := said.Validate(); err != nil {
		return nil, false, fmt.Errorf("%s was changed too often; remove them, and add them again: %w", c.ID, err)
	}
	return d, wider, nil
}

// text says who somebody is, for the audit log.
func (d *personDoc) text() string {
	return fmt.Sprintf("%s: %s, account %s", d.Said.ID, strings.Join(d.roles(), ", "), d.Said.User)
}

// SetPerson adds one of the people, or changes who they are. The first must be one who administers, and
// there is always one. What the new roles do not let them do and they are just doing ends before it
// returns; still counts what did not end in time.
func (n *Node) SetPerson(ctx context.Context, c PersonChange) (p *Person, still int, err error) {
	if err := n.setPerson(ctx, &c); err != nil {
		return nil, 0, err
	}
	still = n.judgeOpen(ctx)
	p, err = n.Person(c.ID)
	return p, still, err
}

func (n *Node) setPerson(ctx context.Context, c *PersonChange) error {
	n.peopleMu.Lock()
	defer n.peopleMu.Unlock()
	s := n.snap.Load()
	if err := c.check(s); err != nil {
		return err
	}
	var held *personDoc
	if s.people.setUp() {
		held = s.people.byID[c.ID]
	}
	d, wider, err := c.next(held)
	if err != nil {
		return err
	}
	admin := slices.Contains(d.roles(), rules.RoleAdmin)
	switch {
	case !s.people.setUp() && !admin:
		return protocol.Errorf(protocol.ErrMalformed, "the first of the people must be one who administers the node, or nobody could add others: 'entente people add NAME --role %s'", rules.RoleAdmin)
	case s.people.setUp() && held == nil && len(s.people.byID) >= maxPeople:
		return protocol.Errorf(protocol.ErrOversize, "there are %d people, those who left among them, which is as many as there may be", len(s.people.byID))
	case s.people.setUp() && !admin && s.people.admins(c.ID) == 0:
		return protocol.Errorf(protocol.ErrMalformed, "%s is the last who administers the node; let somebody else do so first ('entente people add NAME --role %s')", c.ID, rules.RoleAdmin)
	}
	if s.people.setUp() {
		for id, o := range s.people.byID {
			if id != c.ID && o.present() && o.Said.User == d.Said.User {
				return protocol.Errorf(protocol.ErrMalformed, "the account %q is that of %s; a person has one of their own (--os-user)", d.Said.User, id)
			}
		}
	}
	if wider {
		if err := n.SecondPerson(ctx, ActPeople, "let "+d.text(), protocol.Encode(&d.Said)); err != nil {
			return err
		}
	}
	act := "change person"
	if held == nil || !held.present() {
		act = "add person"
	}
	err = n.learn(func(tx *store.Tx) error {
		stands, err := demoted(tx, held, d)
		return errors.Join(err, s.samePeople(tx), n.auditPeople(tx, CallerOf(ctx), act, d.text()+stands), putDoc(tx, kindPerson, []byte(c.ID), d))
	})
	n.sources.changes.notify()
	return err
}

// samePeople returns an ErrStale if the people are others than a snapshot has: what was decided by it, as that
// there is an admin left, would not hold.
func (s *snapshot) samePeople(tx *store.Tx) error {
	sum, any, was := sha256.New(), false, protocol.Hash{}
	if err := scanDocs(tx, kindPerson, func(_ []byte, d *personDoc) error {
		any = true
		sum.Write(protocol.Encode(d))
		return nil
	}); err != nil {
		return err
	}
	if s.people.setUp() {
		was = s.people.sum
	}
	if any != s.people.setUp() || any && protocol.Hash(sum.Sum(nil)) != was {
		return staleError("another node of the organisation said meanwhile who the people are; look at them with 'entente people list', and do it again")
	}
	return nil
}

// Removed says what ended with a person.
type Removed struct {
	Person     string   `json:"name"`
	Ended      []string `json:"ended"`       // consumers whose tokens open nothing any more
	HandedOver []string `json:"handed_over"` // consumers that another owns now
	SetUp      []Owned  `json:"set_up"`      // sinks, sources and views that they owned, and what became of each
	Acts       int      `json:"acts"`        // that waited for a second person
	Votes      int      `json:"votes"`       // on releases that are not decided
	// Still is how many of their requests had been told to end and had not within five seconds.
	Still int `json:"still_open,omitempty"`
	// Unheard are the organisation's other nodes that are not connected: there they may come until the
	// nodes have met.
	Unheard []protocol.NodeID `json:"unheard"`
	// Elsewhere are all of its other nodes: what the person owns there is ended, or stands still, as soon as they hear.
	Elsewhere []protocol.NodeID `json:"elsewhere"`
}

// RemovePerson removes one of the people. Before it returns their streams and requests have ended, at this
// node; their tokens are void and what they set up stands still, or, with to, it is another's.
func (n *Node) RemovePerson(ctx context.Context, id, to string) (*Removed, error) {
	out, err := n.removePerson(ctx, id, to)
	if err != nil {
		return nil, err
	}
	out.Still = n.judgeOpen(ctx)
	n.sources.changes.notify()
	out.Elsewhere = n.otherNodes()
	for _, o := range n.OwnNodes() {
		if !o.This && o.Removed == nil && !o.Connected {
			out.Unheard = append(out.Unheard, o.Node)
		}
	}
	return out, nil
}

func (n *Node) removePerson(ctx context.Context, id, to string) (*Removed, error) {
	n.passing.Lock() // votes are counted under it
	defer n.passing.Unlock()
	n.peopleMu.Lock()
	defer n.peopleMu.Unlock()
	s := n.snap.Load()
	if !s.people.setUp() || s.people.byID[id] == nil || !s.people.byID[id].present() {
		return nil, fmt.Errorf("nobody of this node's people is called %q; 'entente people list' shows who is: %w", id, ErrNotFound)
	}
	if s.people.admins(id) == 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "%s is the last who administers the node; let somebody else do so first ('entente people add NAME --role %s')", id, rules.RoleAdmin)
	}
	if to != "" {
		if err := n.mayTake(id, to); err != nil {
			return nil, err
		}
	}
	d := *s.people.byID[id]
	d.Said.Term++
	d.Doubted = false
	out := &Removed{Person: id}
	err := n.learn(func(tx *store.Tx) error {
		*out = Removed{Person: id, Unheard: []protocol.NodeID{}, Elsewhere: []protocol.NodeID{}}
		if err := errors.Join(n.endPerson(tx, out, to), endVotes(tx, out)); err != nil {
			return err
		}
		text := id
		if len(out.Ended) > 0 {
			text += "; tokens ended: " + strings.Join(out.Ended, ", ")
		}
		if len(out.HandedOver) > 0 {
			text += "; handed over to " + to + ": " + strings.Join(out.HandedOver, ", ")
		}
		for _, state := range []string{OwnedHanded, OwnedStands} {
			text += ownedText(out.SetUp, state)
		}
		// Noted before it is in force: an admin may remove themselves.
		return errors.Join(n.auditPeople(tx, CallerOf(ctx), "remove person", fmt.Sprintf("%s; %d acts and %d votes void", text, out.Acts, out.Votes)), putDoc(tx, kindPerson, []byte(id), &d))
	})
	return out, err
}

// endPerson ends the consumers of a person who left, or hands those over that are machines, and takes
// back the acts that they asked for.
func (n *Node) endPerson(tx *store.Tx, out *Removed, to string) error {
	out.Ended, out.HandedOver = []string{}, []string{}
	var err error
	if to != "" {
		if out.HandedOver, err = n.handConsumers(tx, out.Person, to); err != nil {
			return err
		}
	}
	ends := map[string]string{}
	if err := scanDocs(tx, kindConsumer, func(id []byte, d *consumerDoc) error {
		if d.Owner == out.Person || d.As == out.Person {
			ends[d.Name] = string(id)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(ends)) {
		out.Ended = append(out.Ended, name)
		if err := tx.Delete([]byte(kindConsumer + ends[name])); err != nil {
			return err
		}
	}
	if out.SetUp, err = n.leaveSetUp(tx, out.Person, to); err != nil {
		return err
	}
	var acts [][]byte
	err = scanDocs(tx, kindPending, func(id []byte, d *pendingDoc) error {
		if d.By == out.Person {
			acts = append(acts, slices.Clone(id))
		}
		return nil
	})
	for _, id := range acts {
		err = errors.Join(err, tx.Delete(append([]byte(kindPending), id...)))
	}
	out.Acts = len(acts)
	return err
}

// endVotes takes the votes of a person who left from releases that wait. It is called while they are not
// counted.
func endVotes(tx *store.Tx, out *Removed) error {
	changed := map[string]*releaseDoc{}
	err := scanDocs(tx, kindRelease, func(id []byte, d *releaseDoc) error {
		if releaseState(d.State) != releaseWaits {
			return nil
		}
		if left := d.withoutVotes(func(v *releaseVote) bool { return strings.EqualFold(v.Person, out.Person) }); left > 0 {
			held := *d
			changed[string(id)], out.Votes = &held, out.Votes+left
		}
		return nil
	})
	for id, d := range changed {
		err = errors.Join(err, putDoc(tx, kindRelease, []byte(id), d))
	}
	return err
}

// withoutVotes takes votes from a release, and returns how many.
func (d *releaseDoc) withoutVotes(which func(*releaseVote) bool) int {
	before := len(d.Approvals)
	kept := []releaseVote{}
	for i := range d.Approvals {
		if !which(&d.Approvals[i]) {
			kept = append(kept, d.Approvals[i])
		}
	}
	if d.Approvals = kept; len(kept) == 0 && before > 0 {
		d.Form = uint8(formUndecided)
	}
	return before - len(kept)
}

// ConfirmPerson lets one of the people who came from a backup come again.
func (n *Node) ConfirmPerson(ctx context.Context, id string) error {
	n.peopleMu.Lock()
	defer n.peopleMu.Unlock()
	s := n.snap.Load()
	if !s.people.setUp() || s.people.byID[id] == nil || !s.people.byID[id].present() {
		return fmt.Errorf("nobody of this node's people is called %q; 'entente people list' shows who is: %w", id, ErrNotFound)
	}
	d := *s.people.byID[id]
	if !d.Doubted {
		return nil
	}
	d.Doubted = false
	return n.learn(func(tx *store.Tx) error {
		return errors.Join(s.samePeople(tx), n.auditPeople(tx, CallerOf(ctx), "confirm person", d.text()), putDoc(tx, kindPerson, []byte(id), &d))
	})
}

// auditPeople notes that somebody said who the people are, in the transaction that does it.
func (n *Node) auditPeople(tx *store.Tx, c Caller, act, text string) error {
	d := n.details(act, c)
	d.Text = audit.Clip(text, audit.MaxText)
	_, err := n.account.Append(tx, audit.People, d)
	return err
}

// Judge has what people and machines have open judged anew, tells what they may not have any more to
// end, and waits for it until ctx ends; it returns how much did not end. What ctx itself is of is left
// alone: it ends by itself.
type Judge func(ctx context.Context) (still int)

// OnPeople has a judge called whenever the people, or what they may do, change.
func (n *Node) OnPeople(j Judge) {
	n.judgesMu.Lock()
	defer n.judgesMu.Unlock()
	n.judges = append(n.judges, j)
}

// judgeOpen calls the judges, after a change is in force. It is called under no lock: what is to end may
// be waiting for one.
func (n *Node) judgeOpen(ctx context.Context) (still int) {
	n.judgesMu.Lock()
	judges := slices.Clone(n.judges)
	n.judgesMu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	results := make(chan int, len(judges))
	for _, j := range judges {
		go func() { results <- j(ctx) }()
	}
	for range judges {
		still += <-results
	}
	return still
}

// joinPerson joins what a sibling says of a person with what is held. It is called with n.passing held: votes of who
// left end in the same transaction.
func (n *Node) joinPerson(tx *store.Tx, p *protocol.SiblingPerson) (bool, error) {
	var held personDoc
	has, err := getDoc(tx, kindPerson, []byte(p.ID), &held)
	if err != nil || p.ID == NodePerson {
		return false, err
	}
	if !has {
		count := 0
		if err := scanDocs(tx, kindPerson, func([]byte, *personDoc) error { count++; return nil }); err != nil || count >= maxPeople {
			return false, err
		}
		held.Said = protocol.SiblingPerson{ID: p.ID}
	}
	d := personDoc{Said: joinPeople(held.Said, *p), Doubted: held.Doubted}
	if d.Doubted && (p.Term >= held.Said.Term) {
		d.Doubted = false // a node that was not restored knows who left
	}
	if bytes.Equal(protocol.Encode(&d), protocol.Encode(&held)) {
		return false, nil
	}
	stands, err := demoted(tx, &held, &d)
	err = errors.Join(err, putDoc(tx, kindPerson, []byte(p.ID), &d), n.auditPeople(tx, Caller{}, "take from another node", fmt.Sprintf("%s; there: %v%s", d.text(), d.present(), stands)))
	if has && held.present() && d.Said.Term > held.Said.Term { // also where they came back since: they are somebody new
		out := &Removed{Person: p.ID}
		if err = errors.Join(err, n.endPerson(tx, out, ""), endVotes(tx, out)); err == nil && len(out.Ended)+len(out.SetUp)+out.Acts+out.Votes > 0 {
			err = n.auditPeople(tx, Caller{}, "end what was theirs", fmt.Sprintf("%s, who left at another node; tokens ended: %s%s; %d acts and %d votes void", p.ID, strings.Join(out.Ended, ", "), ownedText(out.SetUp, OwnedStands), out.Acts, out.Votes))
		}
	}
	return true, err
}

// joinPeople is the rule by which two words about a person become one.
func joinPeople(a, b protocol.SiblingPerson) protocol.SiblingPerson {
	if a.Term != b.Term {
		if a.Term > b.Term {
			return a
		}
		return b
	}
	if cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Name, b.Name), cmp.Compare(a.User, b.User), cmp.Compare(a.Purpose, b.Purpose)) < 0 {
		a, b = b, a
	}
	counts := map[string]uint64{}
	for _, r := range slices.Concat(a.Roles, b.Roles) {
		counts[r.Role] = max(counts[r.Role], r.Count)
	}
	a.Roles = []protocol.PersonRole{}
	for _, role := range slices.Sorted(maps.Keys(counts)) {
		if len(a.Roles) < protocol.MaxPersonRoles {
			a.Roles = append(a.Roles, protocol.PersonRole{Role: role, Count: counts[role]})
		}
	}
	return a
}

// endVotesOfThoseGone takes back what people voted of whom siblings said that they left.
func (n *Node) endVotesOfThoseGone() error {
	n.passing.Lock()
	defer n.passing.Unlock()
	s := n.snap.Load()
	return n.st.Update(func(tx *store.Tx) error {
		for id, d := range s.people.byID {
			if !d.present() {
				if err := endVotes(tx, &Removed{Person: id}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// peopleProblems tells what is wrong with who may come.
func (n *Node) peopleProblems(st *Status) {
	s := n.snap.Load()
	if !s.people.setUp() {
		return
	}
	doubted, twice := 0, []string{}
	for _, id := range slices.Sorted(maps.Keys(s.people.byID)) {
		d := s.people.byID[id]
		if d.present() && d.Doubted {
			doubted++
		}
		if d.present() && s.people.twice[d.Said.User] {
			twice = append(twice, id)
		}
	}
	if doubted > 0 {
		st.problem("people-unconfirmed", "error",
			"look at them with 'entente people list', then 'entente people confirm NAME', and 'entente people remove' those who left; if nobody may administer, stop the node first",
			"%d people came from a backup, which may hold ones who left since; they may not come until somebody confirms them", doubted)
	}
	if len(twice) > 0 {
		st.problem("people-one-account", "error",
			"give one of them another: 'entente people set NAME --os-user USER'",
			"%s have one account, so that nobody may come by it", strings.Join(twice, " and "))
	}
	if s.people.admins("") == 0 {
		st.problem("people-no-admin", "error",
			"stop the node, then 'entente people add NAME --role admin' or 'entente people confirm NAME' as whoever owns the data directory",
			"nobody may administer this node: those who could were removed at different nodes at once, or nobody confirmed them since a restore")
	}
	for _, act := range Acts() {
		if r := s.second[act]; r.Two && !s.people.canSecond(act, r.Role) {
			st.problem("people-no-second", "error",
				fmt.Sprintf("'entente people add NAME --role %s', or, with the node stopped, 'entente people require one --for %s'", r.Role, act),
				"%s needs two persons, the second of role %s, and there are no two who could", act, r.Role)
		}
	}
	if list, err := n.Consumers(); err == nil {
		owned := 0
		for i := range list {
			if list[i].Owner == "" {
				owned++
			}
		}
		if owned > 0 {
			st.problem("consumers-nobodys", "warning",
				"'entente consumer list', then 'entente consumer own NAME PERSON', or remove them",
				"%d consumers are of nobody, since they were added before the node had people: nobody's leaving ends them", owned)
		}
	}
	if count, err := n.setUpOfNobody(s); err == nil && count > 0 {
		st.problem("set-up-nobodys", "warning",
			"'entente sink list' and 'entente source list', then 'entente sink own NAME PERSON' or 'entente source own NAME PERSON', or remove them",
			"%d sinks and sources are of nobody, since they were set up before the node had people: nobody's leaving stops them", count)
	}
}

// checkPerson checks a person of a backup.
func checkPerson(id, value []byte) error {
	var d personDoc
	if err := protocol.Decode(value, maxDocument, &d); err != nil {
		return err
	}
	if d.Said.ID != string(id) {
		return protocol.Errorf(protocol.ErrWrongContext, "a person is another one than they are kept as")
	}
	return nil
}
