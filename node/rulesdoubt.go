package node

import (
	"errors"
	"fmt"

	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Data that went back in time, or came from a backup, may hold rules that were replaced since by
// narrower ones. Which set is the newest stands beside the data directory, like erasures and ends of
// agreements. Where that contradicts the store, or cannot speak for it, nothing is let through until
// somebody who may administer confirms the rules that are there, or loads others.

// rulesDoubt says why it is not known whether the rules in the store are the newest.
type rulesDoubt struct {
	why    string
	held   anchor.RulesMark // that it is about
	newest anchor.RulesMark // that is known of; zero: none is
}

// settingRules is the setting that a restore leaves.
const settingRules = "rules"

// restoredRules is what a restore found out of the rules in the backup.
type restoredRules struct {
	_      struct{} `cbor:",toarray"`
	Why    string   // why they are to be confirmed; "": the journal beside the directory knows them as the newest
	Newest anchor.RulesMark
}

// mark names a set in the journal. None is the zero mark.
func (d *rulesDoc) mark() anchor.RulesMark {
	if d == nil {
		return anchor.RulesMark{}
	}
	return anchor.RulesMark{Number: d.Number, Set: d.hash()}
}

// empty reports whether the set restricts nobody and names nobody: to be without it is the same.
func (d *rulesDoc) empty() bool {
	if d == nil {
		return true
	}
	set, err := rules.Parse(d.source())
	return err == nil && len(set.Rules()) == 0 && !set.HasPeople()
}

// checkRules finds out whether the rules in the store are those that were put in force last.
func (n *Node) checkRules() error {
	var restored restoredRules
	var was bool
	if err := n.st.View(func(tx *store.Tx) (err error) {
		was, err = getDoc(tx, kindSetting, []byte(settingRules), &restored)
		return err
	}); err != nil {
		return err
	}
	held := n.snap.Load().rulesDoc
	var doubt *rulesDoubt
	if was && restored.Why != "" {
		doubt = &rulesDoubt{restored.Why, held.mark(), restored.Newest}
	}
	if n.anchor != nil && doubt == nil {
		newest, before, here, ok, err := n.anchor.Rules()
		if err != nil {
			return err
		}
		if was && ok && newest == held.mark() {
			here = true // it was judged when the backup was restored
		}
		why := doubtOf(held, newest, before, here, ok)
		switch {
		case why != "":
			doubt = &rulesDoubt{why, held.mark(), newest}
		case ok && before != nil || was || !ok && held != nil:
			// The store has it, or never got it and nobody was told that it did.
			if err := n.anchor.SetRules(held.mark(), nil); err != nil {
				return err
			}
		}
	}
	if was && doubt == nil {
		if err := n.st.Update(func(tx *store.Tx) error { return tx.Delete([]byte(kindSetting + settingRules)) }); err != nil {
			return err
		}
	}
	if doubt == nil {
		return nil
	}
	n.rulesDoubt.Store(doubt)
	n.log.Error("it is not known whether the local rules are the newest; nothing is let through until somebody confirms them", "why", doubt.why)
	return n.change(func(*store.Tx) error { return nil })
}

// doubtOf says why a set may not be the newest; "": it is.
func doubtOf(held *rulesDoc, newest anchor.RulesMark, before *anchor.RulesMark, here, ok bool) string {
	mark := held.mark()
	switch {
	case !ok && held.empty():
		return "" // there is nothing to say that there ever were any
	case !ok:
		return "nothing beside the data directory tells which set was put in force last"
	case newest == mark && (here || held.empty()):
		return ""
	case newest == mark:
		return "what tells beside the data directory which set was put in force last was made on another machine, in another place or by another node"
	case here && before != nil && *before == mark:
		return "" // it was being put in force when the process ended
	case newest.Number > mark.Number:
		return fmt.Sprintf("this data holds set %s, and set %s was put in force after it", short(mark.Set), short(newest.Set))
	}
	return fmt.Sprintf("this data holds set %s, and beside it stands that set %s was put in force last", short(mark.Set), short(newest.Set))
}

func short(h protocol.Hash) string {
	if h.IsZero() {
		return "none"
	}
	return h.Short()
}

// journalRules writes beside the data directory which set is put in force, before the store takes it,
// and gives it its number. done says that the store has it.
func (n *Node) journalRules(doc *rulesDoc) (done func() error, err error) {
	held := n.snap.Load().rulesDoc.mark()
	last := held.Number
	if doubt := n.rulesDoubt.Load(); doubt != nil {
		last = max(last, doubt.newest.Number)
	}
	if n.anchor == nil {
		doc.Number = last + 1
		return func() error { return nil }, nil
	}
	newest, _, _, _, err := n.anchor.Rules()
	if err != nil {
		return nil, err
	}
	doc.Number = max(last, newest.Number) + 1
	before := held
	if n.rulesDoubt.Load() != nil {
		before = newest // the set that is held is not one that may be gone on with
	}
	mark := doc.mark()
	return func() error { return n.anchor.SetRules(mark, nil) }, n.anchor.SetRules(mark, &before)
}

// ErrOtherRules is returned where somebody confirms another set of rules than is there.
var ErrOtherRules = errors.New("those are not the rules that are here; look at them with 'entente rules show', and confirm the set that it names")

// ConfirmRules says that the rules that are here, by the name of their set,
// are to be in force, where it was not known whether they are the newest.
func (n *Node) ConfirmRules(set string) (*RulesInfo, error) {
	if n.rulesDoubt.Load() == nil {
		return nil, errors.New("there is no doubt about the rules; nothing is to be confirmed")
	}
	s := n.snap.Load()
	if h := s.rulesDoc.hash(); set != h.Short() && set != h.String() {
		return nil, ErrOtherRules
	}
	doc := &rulesDoc{}
	if s.rulesDoc != nil {
		*doc = *s.rulesDoc
	}
	read, err := rules.Parse(doc.source())
	if err != nil {
		return nil, err
	}
	doc.At = uint64(nowMillis())
	if err := n.putRules(n.actingNow(), doc, "confirm rules", len(read.Rules())); err != nil {
		return nil, err
	}
	n.log.Info("local rules confirmed", "set", short(doc.hash()))
	// If the organisation signed later ones for all nodes, they are taken now.
	err = errors.Join(n.takeOfferedRules(), n.gate.reopenMarked(), n.gate.drain())
	return n.Rules(), err
}
