package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// An act for which the organisation wants two persons waits, as it was asked for, until a second one who
// has seen what it is lets it be carried out. The second one does not ask for it again: what is carried
// out is what the first one asked for, byte for byte.

// Act names what a rule may want a second person for.
type Act string

// The acts. What is done for safety (to suspend or terminate an agreement, to remove a node, a member or a person)
// never waits for anybody.
const (
	// ActSignAgreement is to propose, countersign, amend, renew or resume an agreement.
	ActSignAgreement Act = "agreement-sign"
	// ActKeyChange is to change keys of the organisation, or which nodes it has.
	ActKeyChange Act = "key-change"
	// ActRelease is to release records to be passed on.
	ActRelease Act = "release"
	// ActPeople is to add people and to let them do more, and to want a second person for less.
	ActPeople Act = "people"
)

// Acts lists them.
func Acts() []Act { return []Act{ActSignAgreement, ActKeyChange, ActRelease, ActPeople} }

// needs is what a person needs to ask for an act, and the role that its second person has if nothing else
// is said.
func (a Act) needs() (right rules.Action, second string) {
	switch a {
	case ActSignAgreement:
		return rules.Sign, rules.RoleOfficer
	case ActRelease:
		return rules.Release, rules.RoleApprover
	case ActPeople:
		return rules.People, rules.RoleAdmin
	}
	return rules.Administer, rules.RoleAdmin
}

// ParseAct reads an act's name.
func ParseAct(s string) (Act, error) {
	if slices.Contains(Acts(), Act(s)) {
		return Act(s), nil
	}
	return "", protocol.Errorf(protocol.ErrMalformed, "%q is no act that can need a second person; use %v", audit.Clip(s, protocol.MaxPersonName), Acts())
}

// Bounds of what waits for a second person.
const (
	maxPending     = 100 // of all
	maxPendingEach = 20  // of one person
	pendingLife    = 7 * 24 * time.Hour
	// MaxPendingBody bounds the request that is kept with an act, bytes.
	MaxPendingBody = 256 << 10
	maxPendingPath = 4 << 10
)

// ErrAwaitsSecond is of an act that a second person has to approve before it is carried out.
var ErrAwaitsSecond = errors.New("it waits for a second person")

// AwaitsSecond says which act waits, and for whom.
type AwaitsSecond struct {
	ID    string
	Title string
	Role  string
	Until time.Time
}

func (e *AwaitsSecond) Error() string {
	return fmt.Sprintf("%s; %s, who must be another of the people, of role %s, sees it with 'entente approve show %s' and carries it out with 'entente approve %s', until %s: %s",
		e.Title, ErrAwaitsSecond, e.Role, e.ID, e.ID, e.Until.Format(time.RFC3339), "nothing was done yet")
}

// Unwrap makes it an ErrAwaitsSecond.
func (e *AwaitsSecond) Unwrap() error { return ErrAwaitsSecond }

// pendingDoc is an act that waits.
type pendingDoc struct {
	_       struct{} `cbor:",toarray"`
	Act     string
	Title   string
	What    protocol.Hash // of what is to be done
	Role    string        // of the second person
	By      string        // who asked
	User    string        // the account by which they did
	Purpose string
	At      uint64 // Unix milliseconds
	Method  string // the request that it was
	Path    string // with its query
	Body    []byte
}

// pendingID is the id of an act from the text of it.
func pendingID(text string) (string, error) {
	id := strings.ToLower(strings.TrimPrefix(text, "act:"))
	if len(id) != 8 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", protocol.Errorf(protocol.ErrMalformed, "%q is no id of an act; 'entente approve list' shows those that wait", audit.Clip(text, protocol.MaxPersonName))
	}
	return id, nil
}

func (d *pendingDoc) over(now uint64) bool {
	return now >= d.At+uint64(pendingLife.Milliseconds())
}

// PendingAct is an act that waits for a second person.
type PendingAct struct {
	ID      string    `json:"id"`
	Act     Act       `json:"act"`
	Title   string    `json:"title"`
	Role    string    `json:"role"` // of the second person
	By      string    `json:"by"`
	Purpose string    `json:"purpose,omitempty"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
	Hash    string    `json:"hash"`             // of what is to be done
	Request string    `json:"request"`          // method, path and query
	Body    string    `json:"body,omitempty"`   // of the request, of one that is asked for by id
	Binary  bool      `json:"binary,omitempty"` // Body is base64
	Own     bool      `json:"own,omitempty"`    // the caller asked for it
}

// Kept is a request as it can be carried out later.
type Kept struct {
	Method string
	Path   string // with its query
	Body   []byte
}

type (
	heldRequestKey struct{}
	approvalKey    struct{}
	offlineKey     struct{}
)

// WithRequest says what request it is that has ctx; fn is asked after it was read.
func WithRequest(ctx context.Context, fn func() (Kept, error)) context.Context {
	return context.WithValue(ctx, heldRequestKey{}, fn)
}

// WithOffline says that whoever owns the data directory acts on it while no node runs: there is nobody to
// ask, and they could do it without this program.
func WithOffline(ctx context.Context) context.Context {
	return context.WithValue(ctx, offlineKey{}, true)
}

// Approval is a second person's, of one act.
type Approval struct {
	id     string
	d      pendingDoc
	second Caller
}

// Request is the request to carry out, and who asked.
func (a *Approval) Request() (Kept, Caller) {
	return Kept{Method: a.d.Method, Path: a.d.Path, Body: a.d.Body}, Caller{Person: a.d.By, Purpose: a.d.Purpose, User: a.d.User}
}

// WithApproval lets SecondPerson see that a second person approved.
func WithApproval(ctx context.Context, a *Approval) context.Context {
	return context.WithValue(ctx, approvalKey{}, a)
}

// SecondPerson lets an act go on, or notes that a first person wants it and returns an *AwaitsSecond.
// It is called before anything is done. what says in canonical bytes and in full what is to be done: both
// persons want the same. The approval is used up in the transaction that notes it: an act that fails afterwards
// has to be asked for again.
func (n *Node) SecondPerson(ctx context.Context, act Act, title string, what []byte) error {
	s := n.snap.Load()
	rule := s.second[act]
	hash := protocol.HashBody(what)
	if a, ok := ctx.Value(approvalKey{}).(*Approval); ok {
		switch {
		case Act(a.d.Act) != act || a.d.What != hash:
			return staleError(fmt.Sprintf("what would be done now is not what %s asked for and %s approved; ask for it again", a.d.By, a.second.Person))
		case rule.Two && a.d.Role != rule.Role:
			return staleError(fmt.Sprintf("%s needs a second person of role %s since then; ask for it again", act, rule.Role))
		}
		return n.st.Update(func(tx *store.Tx) error {
			var d pendingDoc
			if ok, err := getDoc(tx, kindPending, []byte(a.id), &d); err != nil || !ok {
				return errors.Join(err, fmt.Errorf("act %s does not wait any more: %w", a.id, ErrNotFound))
			}
			return errors.Join(tx.Delete(append([]byte(kindPending), a.id...)), n.auditSecond(tx, a.second, "approve", a.id, &d, "asked for by "+d.By))
		})
	}
	if offline, _ := ctx.Value(offlineKey{}).(bool); !rule.Two || !s.people.setUp() || offline {
		return nil
	}
	fn, ok := ctx.Value(heldRequestKey{}).(func() (Kept, error))
	c := CallerOf(ctx)
	if who, _ := s.people.of(c.Person); !ok || who == nil {
		return fmt.Errorf("%s needs two persons, and is to be asked for by one of the node's people over its socket: %w", act, ErrForbidden)
	}
	kept, err := fn()
	if err != nil {
		return err
	}
	if len(kept.Body) > MaxPendingBody || len(kept.Path) > maxPendingPath {
		return protocol.Errorf(protocol.ErrOversize, "an act that waits for a second person has at most %d bytes; this one has %d", MaxPendingBody, len(kept.Body))
	}
	now := uint64(nowMillis())
	d := &pendingDoc{Act: string(act), Title: audit.Clip(title, audit.MaxText), What: hash, Role: rule.Role, By: c.Person, User: c.User, Purpose: audit.Clip(c.Purpose, audit.MaxName), At: now,
		Method: kept.Method, Path: kept.Path, Body: kept.Body}
	var raw [5]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return err
	}
	id := strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))
	err = n.st.Update(func(tx *store.Tx) error {
		all, own, same, old := 0, 0, "", [][]byte{}
		if err := scanDocs(tx, kindPending, func(id []byte, o *pendingDoc) error {
			if o.over(now) {
				old = append(old, slices.Clone(id))
				return nil
			}
			all++
			if o.By == d.By {
				own++
				if o.Act == d.Act && o.What == d.What && o.Role == d.Role && o.Path == d.Path && bytes.Equal(o.Body, d.Body) {
					same = string(id) // asked for twice
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for _, id := range old {
			if err := tx.Delete(append([]byte(kindPending), id...)); err != nil {
				return err
			}
		}
		switch {
		case same != "":
			id = same
			_, err := getDoc(tx, kindPending, []byte(id), d)
			return err
		case all >= maxPending || own >= maxPendingEach:
			return protocol.Errorf(protocol.ErrOversize, "%d acts wait for a second person, %d of %s; have them approved or denied first ('entente approve list')", all, own, d.By)
		}
		return errors.Join(putDoc(tx, kindPending, []byte(id), d), n.auditSecond(tx, c, "ask for", id, d, "role "+d.Role))
	})
	if err != nil {
		return err
	}
	return &AwaitsSecond{ID: id, Title: d.Title, Role: d.Role, Until: millis(d.At).Add(pendingLife)}
}

// auditSecond notes what was said of an act that two persons have to want, in the transaction that does it.
func (n *Node) auditSecond(tx *store.Tx, c Caller, act, id string, d *pendingDoc, reason string) error {
	e := n.details(act, c)
	e.Text, e.Reason = audit.Clip(fmt.Sprintf("act %s, %s: %s", id, d.Act, d.Title), audit.MaxText), audit.Clip(reason, audit.MaxText)
	_, err := n.account.Append(tx, audit.Second, e)
	return err
}

// Pending lists the acts that wait, the oldest first.
func (n *Node) Pending(c Caller) ([]PendingAct, error) {
	now, list := uint64(nowMillis()), []PendingAct{}
	err := n.st.View(func(tx *store.Tx) error {
		list = list[:0]
		return scanDocs(tx, kindPending, func(id []byte, d *pendingDoc) error {
			if !d.over(now) {
				list = append(list, d.view(string(id), c))
			}
			return nil
		})
	})
	slices.SortStableFunc(list, func(a, b PendingAct) int { return a.At.Compare(b.At) })
	return list, err
}

func (d *pendingDoc) view(id string, c Caller) PendingAct {
	return PendingAct{ID: id, Act: Act(d.Act), Title: d.Title, Role: d.Role, By: d.By, Purpose: d.Purpose, At: millis(d.At), Until: millis(d.At).Add(pendingLife),
		Hash: d.What.String(), Request: d.Method + " " + d.Path, Own: d.By == c.Person}
}

// PendingOf returns one with its request.
func (n *Node) PendingOf(text string, c Caller) (*PendingAct, []byte, error) {
	id, d, err := n.pendingOf(text)
	if err != nil {
		return nil, nil, err
	}
	v := d.view(id, c)
	return &v, d.Body, nil
}

func (n *Node) pendingOf(text string) (id string, d *pendingDoc, err error) {
	if id, err = pendingID(text); err != nil {
		return "", nil, err
	}
	d = new(pendingDoc)
	err = n.st.View(func(tx *store.Tx) error {
		ok, err := getDoc(tx, kindPending, []byte(id), d)
		if err == nil && (!ok || d.over(uint64(nowMillis()))) {
			err = fmt.Errorf("act %s: %w; 'entente approve list' shows those that wait", id, ErrNotFound)
		}
		return err
	})
	return id, d, err
}

// Approve lets a second person approve an act. It is carried out by making its request again with the
// approval in its context; SecondPerson notes there that it was approved.
func (n *Node) Approve(who *rules.Principal, c Caller, text string) (*Approval, error) {
	id, d, err := n.pendingOf(text)
	if err != nil {
		return nil, err
	}
	switch s := n.snap.Load(); {
	case who == nil || !who.Account:
		return nil, fmt.Errorf("only one of the node's people can be a second person: %w", ErrForbidden)
	case who.ID == d.By || who.User == d.User:
		return nil, fmt.Errorf("%s asked for it, by the account %s; the second person is another: %w", d.By, d.User, ErrForbidden)
	case !slices.Contains(who.Roles, d.Role):
		return nil, fmt.Errorf("the second person for %s is of role %s, which %s has not: %w", d.Act, d.Role, who.ID, ErrForbidden)
	default:
		if first, _ := s.people.of(d.By); first == nil {
			return nil, fmt.Errorf("%s, who asked for it, is not one of the node's people any more: %w", d.By, ErrForbidden)
		}
	}
	return &Approval{id: id, d: *d, second: c}, nil
}

// Deny ends an act that waits. Whoever asked for it may take it back so.
func (n *Node) Deny(who *rules.Principal, c Caller, text, reason string) error {
	id, d, err := n.pendingOf(text)
	if err != nil {
		return err
	}
	if len(reason) > protocol.MaxTextSize {
		return protocol.Errorf(protocol.ErrOversize, "a reason has at most %d bytes", protocol.MaxTextSize)
	}
	if who == nil || who.ID != d.By && !slices.Contains(who.Roles, d.Role) {
		return fmt.Errorf("who asked for it, or somebody of role %s, denies it: %w", d.Role, ErrForbidden)
	}
	return n.st.Update(func(tx *store.Tx) error {
		if ok, err := getDoc(tx, kindPending, []byte(id), d); err != nil || !ok {
			return errors.Join(err, fmt.Errorf("act %s does not wait any more: %w", id, ErrNotFound))
		}
		return errors.Join(tx.Delete(append([]byte(kindPending), id...)), n.auditSecond(tx, c, "deny", id, d, reason))
	})
}

// Requirement says whether an act needs a second person.
type Requirement struct {
	Act  Act    `json:"act"`
	Two  bool   `json:"two"`
	Role string `json:"role"` // of the second person
}

// Requirements lists all acts.
func (n *Node) Requirements() []Requirement {
	s, out := n.snap.Load(), []Requirement{}
	for _, act := range Acts() {
		_, role := act.needs()
		r := s.second[act]
		out = append(out, Requirement{Act: act, Two: r.Two, Role: cmp.Or(r.Role, role)})
	}
	return out
}

// canSecond reports whether there are two persons, one who may ask for an act and another who may be the
// second.
func (p *people) canSecond(act Act, role string) bool {
	right, _ := act.needs()
	var asks, seconds []string
	for id := range p.byID {
		who, _ := p.of(id)
		if who == nil || p.twice[who.User] {
			continue
		}
		if who.Bound(right) == nil {
			asks = append(asks, id)
		}
		if slices.Contains(who.Roles, role) {
			seconds = append(seconds, id)
		}
	}
	return len(asks) > 0 && len(seconds) > 0 && (len(asks) > 1 || len(seconds) > 1 || asks[0] != seconds[0])
}

// Require says whether an act needs a second person, and of which role; "": as the act has it. To want
// one for less is an act that needs two itself, as long as it does.
func (n *Node) Require(ctx context.Context, r Requirement) (*Requirement, error) {
	n.peopleMu.Lock()
	defer n.peopleMu.Unlock()
	s := n.snap.Load()
	if _, err := ParseAct(string(r.Act)); err != nil {
		return nil, err
	}
	_, role := r.Act.needs()
	held := s.second[r.Act]
	r.Role = cmp.Or(r.Role, held.Role, role)
	switch seconds := []string{rules.RoleApprover, rules.RoleOfficer, rules.RoleAdmin}; {
	case !s.people.setUp():
		return nil, protocol.Errorf(protocol.ErrMalformed, "this node has no people yet, and nobody could be told from a second one; 'entente people add NAME --role %s' makes the first", rules.RoleAdmin)
	case r.Act == ActRelease && r.Role != rules.RoleApprover:
		return nil, protocol.Errorf(protocol.ErrMalformed, "releases are voted on, by people of role %s", rules.RoleApprover)
	case !slices.Contains(seconds, r.Role):
		return nil, protocol.Errorf(protocol.ErrMalformed, "the role of a second person is one of %s, not %q", strings.Join(seconds, ", "), audit.Clip(r.Role, protocol.MaxPersonName))
	case r.Two && !s.people.canSecond(r.Act, r.Role):
		right, _ := r.Act.needs()
		return nil, protocol.Errorf(protocol.ErrMalformed, "there are no two of the node's people of whom one may %s and another is of role %s; add them first ('entente people add')", right, r.Role)
	case held.Version >= protocol.MaxPersonCount:
		return nil, protocol.Errorf(protocol.ErrMalformed, "what %s needs was changed too often", r.Act)
	}
	said := &protocol.SiblingSecond{Act: string(r.Act), Version: held.Version + 1, Two: r.Two, Role: r.Role}
	if held.Two && (!r.Two || r.Role != held.Role) {
		title := fmt.Sprintf("want one person for %s from now on", r.Act)
		if r.Two {
			title = fmt.Sprintf("want a second person of role %s, not %s, for %s from now on", r.Role, held.Role, r.Act)
		}
		// Under the rule that it would end, so that nobody ends it alone.
		if err := n.SecondPerson(ctx, r.Act, title, protocol.Encode(said)); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf("%s: one person", r.Act)
	if r.Two {
		text = fmt.Sprintf("%s: two persons, the second of role %s", r.Act, r.Role)
	}
	return &r, n.learn(func(tx *store.Tx) error {
		return errors.Join(putDoc(tx, kindSecond, []byte(r.Act), said), n.auditPeople(tx, CallerOf(ctx), "require", text))
	})
}

// joinSecond joins what a sibling says of what an act needs.
func joinSecond(tx *store.Tx, said *protocol.SiblingSecond) (bool, error) {
	if _, err := ParseAct(said.Act); err != nil {
		return false, nil // a newer node's
	}
	var held protocol.SiblingSecond
	has, err := getDoc(tx, kindSecond, []byte(said.Act), &held)
	if err != nil || has && !laterSecond(said, &held) {
		return false, err
	}
	return true, putDoc(tx, kindSecond, []byte(said.Act), said)
}

// laterSecond reports whether a word counts more than another.
func laterSecond(a, b *protocol.SiblingSecond) bool {
	if a.Version != b.Version {
		return a.Version > b.Version
	}
	if a.Two != b.Two {
		return a.Two
	}
	return a.Role > b.Role
}

// personsFor raises how many persons a release needs to what is wanted of every release.
func (s *snapshot) personsFor(d *releaseDoc) {
	d.Needs, d.Why = s.personsOf(d.Needs, d.Why)
}

// personsOf raises how many persons it takes, and why, to what is wanted of every release.
func (s *snapshot) personsOf(needs uint8, why string) (uint8, string) {
	if r := s.second[ActRelease]; r.Two && s.people.setUp() && needs < 2 {
		return 2, "every release needs two persons, one of them of role " + r.Role
	}
	return needs, why
}
