package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// What a person set up and what goes on by itself: sinks, sources and views have an owner, as consumers do. Whoever set
// one up last answers for it; when they leave, it stands still, unless another answers for it from then on.

// OwnedKind says what it is that somebody owns.
type OwnedKind string

// What has an owner, besides consumers.
const (
	OwnedSink   OwnedKind = "sink"
	OwnedSource OwnedKind = "source"
	OwnedView   OwnedKind = "view"
)

// What became of something when its owner left.
const (
	OwnedGoesOn = "goes on"
	OwnedStands = "stands still"
	OwnedHanded = "handed over"
	OwnedEnded  = "ended"
)

// Owned is something that goes on by itself, and that one of the people set up.
type Owned struct {
	Kind  OwnedKind `json:"kind"`
	Name  string    `json:"name"`
	State string    `json:"state"` // goes on, stands still, handed over, ended
}

func (o *Owned) String() string { return string(o.Kind) + " " + o.Name }

// ownerOf is who answers for what a caller sets up: one of the people; "": the node has none.
func (n *Node) ownerOf(c Caller) string {
	if who, _ := n.snap.Load().people.of(c.Person); who != nil {
		return who.ID
	}
	return ""
}

// mayKeep refuses an owner of sinks and sources who could not set them up themselves.
func (n *Node) mayKeep(owner string) error {
	who, _ := n.snap.Load().people.of(owner)
	if who == nil {
		return fmt.Errorf("nobody of this node's people is called %q; 'entente people list' shows who is: %w", owner, ErrNotFound)
	}
	if err := who.Bound(rules.Administer); err != nil {
		return fmt.Errorf("who answers for sinks, sources and views administers the node: %w: %w", err, ErrForbidden)
	}
	return nil
}

// ownerLeft is what is noted at a sink whose owner left.
func ownerLeft(id string) string { return id + ", who set it up, left" }

// Ownerless says why nobody answers for the sinks and sources of somebody, which stand still as long as that is so;
// "": they do, or nobody of that name was ever known. Who left leaves them stopped, besides: that stays.
func (n *Node) Ownerless(id string) string {
	who, known := n.snap.Load().people.of(id)
	switch {
	case known && who == nil:
		return ownerLeft(id)
	case who != nil && who.Bound(rules.Administer) != nil:
		return id + ", who set it up, does not administer this node"
	}
	return ""
}

// stands refuses to go on with something while it has nobody who answers for it.
func (n *Node) stands(kind OwnedKind, name, owner string) error {
	if why := n.Ownerless(owner); why != "" {
		return fmt.Errorf("%s %s stands still: %s: %w", kind, name, why, ErrForbidden)
	}
	return nil
}

func (d *personDoc) administers() bool {
	return d.present() && slices.Contains(d.roles(), rules.RoleAdmin)
}

// demoted names for the audit log what stands still because somebody who stays was admin by one word about them and is
// not by the next; "": nothing.
func demoted(tx *store.Tx, from, to *personDoc) (string, error) {
	if from == nil || !from.administers() || !to.present() || to.administers() || from.Said.Term != to.Said.Term {
		return "", nil
	}
	owned, err := ownedBy(tx, to.Said.ID)
	list := ownedOf(owned)
	stand(list)
	return ownedText(list, OwnedStands), err
}

// stand marks what does not go on without an owner.
func stand(list []Owned) {
	for i := range list {
		if list[i].Kind != OwnedView {
			list[i].State = OwnedStands
		}
	}
}

// ownedDoc is what somebody owns as it is kept: one of sink, source and view.
type ownedDoc struct {
	Owned
	sink   *sinkDoc
	source *sourceDoc
	view   *View
}

// put puts it back.
func (o *ownedDoc) put(tx *store.Tx) error {
	switch {
	case o.sink != nil:
		return putDoc(tx, kindSink, []byte(o.Name), o.sink)
	case o.source != nil:
		return putDoc(tx, kindSource, []byte(o.Name), o.source)
	}
	return putDoc(tx, kindView, []byte(o.Name), o.view)
}

// ownedBy lists what somebody owns, sorted.
func ownedBy(tx *store.Tx, id string) (list []ownedDoc, err error) {
	state := func(stands bool) string {
		if stands {
			return OwnedStands
		}
		return OwnedGoesOn
	}
	err = errors.Join(
		scanDocs(tx, kindSink, func(name []byte, d *sinkDoc) error {
			if d.Owner == id {
				list = append(list, ownedDoc{Owned: Owned{OwnedSink, string(name), state(d.Progress.Stopped != 0)}, sink: d})
			}
			return nil
		}),
		scanDocs(tx, kindSource, func(name []byte, d *sourceDoc) error {
			if d.Person == id {
				list = append(list, ownedDoc{Owned: Owned{OwnedSource, string(name), state(d.Paused)}, source: d})
			}
			return nil
		}),
		scanDocs(tx, kindView, func(name []byte, d *View) error {
			if d.Owner == id {
				list = append(list, ownedDoc{Owned: Owned{OwnedView, string(name), OwnedGoesOn}, view: d})
			}
			return nil
		}))
	slices.SortFunc(list, func(a, b ownedDoc) int { return strings.Compare(a.String(), b.String()) })
	return list, err
}

// setUpBy lists what somebody owns, sorted.
func (n *Node) setUpBy(id string) (list []Owned, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		owned, err := ownedBy(tx, id)
		list = ownedOf(owned)
		return err
	})
	if n.Ownerless(id) != "" {
		stand(list)
	}
	return list, err
}

func ownedOf(owned []ownedDoc) []Owned {
	list := make([]Owned, len(owned))
	for i := range owned {
		list[i] = owned[i].Owned
	}
	return list
}

// leaveSetUp makes what somebody owns stand still, or, with to, another's. Views only select: they go on.
func (n *Node) leaveSetUp(tx *store.Tx, id, to string) ([]Owned, error) {
	owned, err := ownedBy(tx, id)
	if err != nil {
		return nil, err
	}
	for i := range owned {
		o := &owned[i]
		if to != "" {
			if err := n.mayKeep(to); err != nil {
				return nil, fmt.Errorf("handing over %s: %w", o.String(), err)
			}
			o.State = OwnedHanded
		}
		switch {
		case to != "" && o.sink != nil:
			o.sink.Owner = to
		case to != "" && o.source != nil:
			o.source.Person = to
		case to != "":
			o.view.Owner = to
		case o.sink != nil && o.sink.Progress.Stopped == 0:
			o.sink.Progress.Stopped, o.sink.Progress.Error, o.sink.Run = uint64(nowMillis()), ownerLeft(id), newSinkRun()
			o.State = OwnedStands
		case o.source != nil && !o.source.Paused:
			o.source.Paused, o.State = true, OwnedStands
		default:
			continue
		}
		if err := o.put(tx); err != nil {
			return nil, err
		}
	}
	return ownedOf(owned), nil
}

// ownedText names some of what somebody owned for the audit log; "": none is in that state.
func ownedText(list []Owned, state string) string {
	var names []string
	for i := range list {
		if list[i].State == state {
			names = append(names, list[i].String())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; " + state + ": " + strings.Join(names, ", ")
}

// EndSetUp ends what stands still since its owner left.
func (n *Node) EndSetUp(ctx context.Context, out *Removed) error {
	c := CallerOf(ctx)
	c.Right = "" // who removed themselves ends what was theirs, too
	ctx = WithCaller(ctx, c)
	for i := range out.SetUp {
		var err error
		switch o := &out.SetUp[i]; {
		case o.State != OwnedStands:
			continue
		case o.Kind == OwnedSink:
			err = n.RemoveSink(ctx, o.Name)
		default:
			err = n.RemoveSource(ctx, o.Name, false)
		}
		if err != nil {
			return fmt.Errorf("%s was removed, and ending %s, which stands still: %w", out.Person, out.SetUp[i].String(), err)
		}
		out.SetUp[i].State = OwnedEnded
	}
	return nil
}

// HandedOver says what was handed over.
type HandedOver struct {
	From      string   `json:"from"`
	To        string   `json:"to"`
	Consumers []string `json:"consumers"`
	SetUp     []Owned  `json:"set_up"`
	// Elsewhere are the organisation's other nodes: what is theirs there is not handed over.
	Elsewhere []protocol.NodeID `json:"elsewhere"`
}

// HandOver has another of the people answer for what somebody owns at this node, who may stay, leave later, or have
// left. What comes as a person is theirs alone.
func (n *Node) HandOver(ctx context.Context, id, to string) (*HandedOver, error) {
	n.peopleMu.Lock()
	defer n.peopleMu.Unlock()
	s := n.snap.Load()
	if !s.people.setUp() || s.people.byID[id] == nil {
		return nil, fmt.Errorf("nobody of this node's people is or was called %q; 'entente people list --all' shows who: %w", id, ErrNotFound)
	}
	if err := n.mayTake(id, to); err != nil {
		return nil, err
	}
	out := &HandedOver{}
	err := n.learn(func(tx *store.Tx) error {
		*out = HandedOver{From: id, To: to, Consumers: []string{}}
		var err error
		if out.Consumers, err = n.handConsumers(tx, id, to); err != nil {
			return err
		}
		if out.SetUp, err = n.leaveSetUp(tx, id, to); err != nil {
			return err
		}
		text := fmt.Sprintf("what %s owns, to %s", id, to)
		if len(out.Consumers) > 0 {
			text += "; consumers: " + strings.Join(out.Consumers, ", ")
		}
		return n.auditPeople(tx, CallerOf(ctx), "hand over", text+ownedText(out.SetUp, OwnedHanded))
	})
	out.Elsewhere = n.otherNodes()
	return out, err
}

// mayTake refuses to hand what somebody owns to themselves, or to nobody.
func (n *Node) mayTake(id, to string) error {
	if to == id {
		return protocol.Errorf(protocol.ErrMalformed, "what %s owns cannot go to %s; name somebody else", id, to)
	}
	if who, _ := n.snap.Load().people.of(to); who == nil {
		return fmt.Errorf("nobody of this node's people is called %q, to whom machines could be handed over: %w", to, ErrNotFound)
	}
	return nil
}

// handConsumers gives the consumers of a person another owner. Those that come as the person stay.
func (n *Node) handConsumers(tx *store.Tx, id, to string) (names []string, err error) {
	names = []string{}
	changed := map[string]*consumerDoc{}
	if err := scanDocs(tx, kindConsumer, func(k []byte, d *consumerDoc) error {
		if held := *d; d.Owner == id && d.As != id {
			changed[string(k)] = &held
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for k, d := range changed {
		if err := n.mayOwn(to, d.Scopes); err != nil {
			return nil, fmt.Errorf("handing over %s: %w", d.Name, err)
		}
		d.Owner = to
		names = append(names, d.Name)
		if err := putDoc(tx, kindConsumer, []byte(k), d); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return names, nil
}

// otherNodes are the organisation's nodes besides this one that count.
func (n *Node) otherNodes() []protocol.NodeID {
	list := []protocol.NodeID{}
	for _, o := range n.OwnNodes() {
		if !o.This && o.Removed == nil {
			list = append(list, o.Node)
		}
	}
	return list
}

// OwnSink has one of the people answer for a sink.
func (n *Node) OwnSink(ctx context.Context, name, owner string) error {
	return n.learn(func(tx *store.Tx) error { // nobody leaves meanwhile
		if err := n.mayKeep(owner); err != nil {
			return err
		}
		var d sinkDoc
		if ok, err := getDoc(tx, kindSink, []byte(name), &d); err != nil || !ok {
			return errors.Join(err, fmt.Errorf("sink %q: %w", name, ErrNotFound))
		}
		d.Owner = owner
		return errors.Join(putDoc(tx, kindSink, []byte(name), &d), n.auditSink(tx, CallerOf(ctx), "own sink", name, &d))
	})
}

// OwnSource has one of the people answer for a source.
func (n *Node) OwnSource(ctx context.Context, name, owner string) error {
	return n.learn(func(tx *store.Tx) error {
		if err := n.mayKeep(owner); err != nil {
			return err
		}
		d, err := getSource(tx, name)
		if err != nil {
			return err
		}
		d.Person = owner
		return errors.Join(putDoc(tx, kindSource, []byte(name), d), n.auditSource(tx, CallerOf(ctx), "own source", name, "owned by "+owner))
	})
}

// setUpOfNobody counts the sinks and sources of which none of the people is or was the owner.
func (n *Node) setUpOfNobody(s *snapshot) (count int, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		count = 0
		return errors.Join(
			scanDocs(tx, kindSink, func(_ []byte, d *sinkDoc) error {
				if d.Owner == "" {
					count++
				}
				return nil
			}),
			scanDocs(tx, kindSource, func(_ []byte, d *sourceDoc) error {
				if s.people.byID[d.Person] == nil {
					count++
				}
				return nil
			}))
	})
	return count, err
}
