package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Every node of an organisation has its own rules, and tells its siblings by their hash which. One
// set for all of them is signed with the operational key: what only a sibling says puts no rules in
// force, for a node that was stolen must not be what widens those of the others.

// rulesOfDoc is which rules a node of this organisation says that it has in force.
type rulesOfDoc struct {
	_     struct{} `cbor:",toarray"`
	At    uint64
	Set   protocol.Hash
	Offer []protocol.OrgSigned // at most one: rules for all nodes that it passes on
}

// tellRules notes for siblings which rules are put in force here, and an offer if there is a new one.
func (n *Node) tellRules(tx *store.Tx, doc *rulesDoc, offer *protocol.OrgSigned) error {
	id := n.ID()
	var d rulesOfDoc
	if _, err := getDoc(tx, kindRulesOf, id[:], &d); err != nil {
		return err
	}
	d.At, d.Set = max(uint64(nowMillis()), d.At+1), doc.hash()
	if offer != nil {
		d.Offer = []protocol.OrgSigned{*offer}
	}
	return putDoc(tx, kindRulesOf, id[:], &d)
}

// openRulesOf tells siblings which rules are in force, if it is not told yet, and takes those for all
// nodes that were not taken before the process ended.
func (n *Node) openRulesOf() error {
	held := n.snap.Load().rulesDoc
	id := n.ID()
	told := false
	if err := n.st.View(func(tx *store.Tx) error {
		var d rulesOfDoc
		ok, err := getDoc(tx, kindRulesOf, id[:], &d)
		told = ok && d.Set == held.hash()
		return err
	}); err != nil {
		return err
	}
	if !told {
		if err := n.st.Update(func(tx *store.Tx) error { return n.tellRules(tx, held, nil) }); err != nil {
			return err
		}
	}
	return n.takeOfferedRules()
}

// joinRules keeps what a sibling says of the rules of a node. Of this one it says itself.
func (n *Node) joinRules(tx *store.Tx, r *protocol.SiblingRules) error {
	var d rulesOfDoc
	held, err := getDoc(tx, kindRulesOf, r.Node[:], &d)
	if err != nil || r.Node == n.ID() || held && d.At >= r.At || tooLate(r.At) {
		return err
	}
	return putDoc(tx, kindRulesOf, r.Node[:], &rulesOfDoc{At: r.At, Set: r.Set, Offer: r.Offer})
}

// offeredRules returns the newest rules for all nodes that are signed with the operational key in
// force; nil if there are none.
func (n *Node) offeredRules() (newest *protocol.RulesOffer, err error) {
	card := n.OwnCard()
	if card == nil {
		return nil, nil
	}
	err = n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindRulesOf, func(_ []byte, d *rulesOfDoc) error {
			for i := range d.Offer {
				o, err := crypto.VerifyRules(&d.Offer[i], card)
				if err != nil {
					n.log.Warn("leaving out rules for all nodes that do not verify", "err", err)
				} else if newest == nil || o.Number > newest.Number {
					newest = o
				}
			}
			return nil
		})
	})
	return newest, err
}

// takeOfferedRules puts rules for all nodes in force that are newer than those that were taken. While
// it is not known which rules were in force last, a person decides.
func (n *Node) takeOfferedRules() error {
	o, err := n.offeredRules()
	held := n.snap.Load().rulesDoc
	if err != nil || o == nil || n.rulesDoubt.Load() != nil || held != nil && o.Number <= held.Offer {
		return err
	}
	doc := &rulesDoc{File: o.File, Text: o.Text, PeopleFile: o.PeopleFile, People: o.People, At: uint64(nowMillis()), Offer: o.Number}
	if held != nil {
		doc.Seen = held.Seen
	}
	set, err := n.parseRules(doc.source())
	if err != nil {
		if n.refusedOffer.Swap(o.Number) != o.Number { // once
			n.log.Error("rules that the organisation signed for all nodes are not taken", "err", err)
			n.noteRefusedRules(Caller{}, doc, err)
		}
		return nil
	}
	if err := n.putRules(n.acting(), doc, "take rules for all nodes", len(set.Rules())); err != nil {
		return err
	}
	n.log.Info("rules that the organisation signed for all nodes are in force", "set", short(doc.hash()))
	return n.gate.reopenMarked()
}

// LoadRulesEverywhere is LoadRules at all nodes of the organisation. The node needs the operational
// key; the others take the set when they hear of it from any of them.
func (n *Node) LoadRulesEverywhere(src rules.Source) (*RulesInfo, error) {
	op := n.op()
	if op == nil {
		return nil, ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return nil, err
	}
	src = n.withPeople(src)
	doc := &rulesDoc{File: src.File, Text: src.Text, PeopleFile: src.PeopleFile, People: src.People, At: uint64(nowMillis())}
	set, err := n.parseRules(src)
	if err != nil {
		n.noteRefusedRules(n.acting(), doc, err)
		return nil, err
	}
	last, err := n.offeredRules()
	if err != nil {
		return nil, err
	}
	doc.Offer = uint64(nowMillis())
	if d := n.snap.Load().rulesDoc; d != nil {
		doc.Seen, doc.Offer = d.Seen, max(doc.Offer, d.Offer+1)
	}
	if last != nil {
		doc.Offer = max(doc.Offer, last.Number+1)
	}
	signed, err := crypto.SignRules(&protocol.RulesOffer{Version: 1, Org: n.org, Number: doc.Offer, File: doc.File, Text: doc.Text, PeopleFile: doc.PeopleFile, People: doc.People}, op)
	if errors.Is(err, protocol.ErrOversize) {
		err = fmt.Errorf("%w; load them at each node", err)
	}
	if err != nil {
		return nil, err
	}
	if err := n.putRulesWith(n.actingNow(), doc, "load rules for all nodes", len(set.Rules()), &signed); err != nil {
		return nil, err
	}
	n.log.Info("local rules loaded for all nodes", "file", src.File)
	return n.Rules(), errors.Join(n.gate.reopenMarked(), n.gate.drain())
}

// otherRules tells of nodes of this organisation that have other rules in force.
func (n *Node) otherRules() (out []Problem) {
	s := n.snap.Load()
	card := s.cards[n.org]
	if card == nil {
		return nil
	}
	mine := s.rulesDoc.hash()
	_ = n.st.View(func(tx *store.Tx) error { // what cannot be read is told by what reads it
		return scanDocs(tx, kindRulesOf, func(id []byte, d *rulesOfDoc) error {
			if len(id) != len(protocol.NodeID{}) {
				return nil
			}
			node := protocol.NodeID(id)
			i := slices.IndexFunc(card.Nodes, func(e protocol.NodeEntry) bool { return e.Node == node })
			if node == n.ID() || i < 0 || uint64(nowMillis()) >= card.Nodes[i].NotAfter || d.Set == mine {
				return nil
			}
			out = append(out, Problem{Kind: "rules-differ", Severity: "warning", Text: fmt.Sprintf("node %s of this organisation has other local rules in force since %s: set %s, and here set %s", node, millis(d.At).Format("2006-01-02 15:04"), short(d.Set), short(mine)),
				Do: "look at both with 'entente rules show'; 'entente rules load FILE --all-nodes' where the operational key is puts one set in force at all of them"})
			return nil
		})
	})
	return out
}
