package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Local rules: what this organisation forbids itself, and what its own people and machines may
// do. The set in force is kept in the store, as it was taken, so that a file that somebody broke
// neither stops the node nor opens it.

// The files that are looked at when a node is opened, in its data directory.
const (
	RulesFile  = "rules.cedar"
	PeopleFile = "people.json"
)

// ErrForbidden is returned where local rules do not let somebody do something.
var ErrForbidden = errors.New("forbidden by local rules")

// rulesID is the id of the one document of rules.
var rulesID = []byte("own")

// rulesDoc is the set of rules in force.
type rulesDoc struct {
	_          struct{} `cbor:",toarray"`
	File       string   // its name, for messages
	Text       []byte
	PeopleFile string
	People     []byte
	At         uint64        // when it was taken, Unix milliseconds
	Number     uint64        // of the set: each that is put in force has a higher one
	Offer      uint64        // the highest number of rules for all nodes that were taken
	Seen       protocol.Hash // of the files on disk that were taken last
}

func (d *rulesDoc) source() rules.Source {
	return rules.Source{File: d.File, Text: d.Text, PeopleFile: d.PeopleFile, People: d.People}
}

// hash names a set, whatever its files are called: rules and people.
func (d *rulesDoc) hash() protocol.Hash {
	if d == nil {
		d = &rulesDoc{}
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "entente/rules/v1\x00%d\n", len(d.Text))
	sum.Write(d.Text)
	sum.Write(d.People)
	return protocol.Hash(sum.Sum(nil))
}

func (d *rulesDoc) same(o *rulesDoc) bool {
	return d.File == o.File && bytes.Equal(d.Text, o.Text) && d.PeopleFile == o.PeopleFile && bytes.Equal(d.People, o.People)
}

// loadRules reads the rules in force. Those that cannot be read any more, wanted ones that never could
// be, and those of which it is not known whether they are the newest, let nothing through.
func (n *Node) loadRules(tx *store.Tx, s *snapshot) error {
	var doc rulesDoc
	found, err := getDoc(tx, kindRules, rulesID, &doc)
	if err != nil {
		return err
	}
	if found {
		s.rulesDoc = &doc
		if before := n.snap.Load(); before != nil && before.rulesDoc != nil && before.rulesDoc.same(&doc) {
			s.readRules = before.readRules
		} else if s.readRules, err = rules.Parse(doc.source()); err != nil {
			n.log.Error("the rules in force cannot be read any more; nothing is let through", "err", err)
			s.readRules = rules.Locked(err.Error())
		}
	} else if why := n.rulesProblem.Load(); why != nil {
		s.readRules = rules.Locked(*why)
	}
	s.rules = s.readRules
	if doubt := n.rulesDoubt.Load(); doubt != nil && doubt.held == s.rulesDoc.mark() && s.readRules.Locked() == "" {
		s.rules, s.rulesDoubt = rules.LockedWith(doubt.why, s.readRules), true
	}
	return nil
}

// takeRulesFile takes the rules on disk if they are others than were taken from there last. What
// was loaded since then stays.
func (n *Node) takeRulesFile() error {
	file, people := n.cfg.Rules, n.cfg.People
	if file == "" && n.cfg.Dir == "" {
		return nil
	}
	if file == "" {
		file = filepath.Join(n.cfg.Dir, RulesFile)
	}
	if people == "" {
		people = filepath.Join(filepath.Dir(file), PeopleFile)
	}
	doc := &rulesDoc{File: filepath.Base(file), PeopleFile: filepath.Base(people), At: uint64(nowMillis())}
	var err error
	if doc.Text, err = readRules(file, rules.MaxText); errors.Is(err, os.ErrNotExist) && n.cfg.Rules == "" {
		return nil
	}
	if err == nil {
		if doc.People, err = readRules(people, rules.MaxPeople); errors.Is(err, os.ErrNotExist) && n.cfg.People == "" {
			err = nil
		}
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%d\n", len(doc.Text))
	sum.Write(doc.Text)
	sum.Write(doc.People)
	doc.Seen = protocol.Hash(sum.Sum(nil))
	inForce := n.snap.Load().rulesDoc
	if err == nil && inForce != nil && inForce.Seen == doc.Seen {
		return nil
	}
	if doubt := n.rulesDoubt.Load(); err == nil && doubt != nil && doc.hash() != doubt.newest.Set {
		n.log.Error("the rules on disk are not taken while it is not known which were in force last; load or confirm them", "file", file)
		return nil
	}
	var set *rules.Set
	if err == nil {
		set, err = n.parseRules(doc.source())
	}
	if err != nil {
		why := err.Error()
		n.rulesProblem.Store(&why)
		n.log.Error("the rules on disk are not taken", "file", file, "err", err)
		n.noteRefusedRules(Caller{}, doc, err)
		if inForce != nil {
			return nil // it stays in force
		}
		return n.change(func(*store.Tx) error { return nil }) // nothing is let through
	}
	if inForce != nil {
		doc.Offer = inForce.Offer
	}
	return n.putRules(n.acting(), doc, "take rules from disk", len(set.Rules()))
}

// readRules reads a file, and no more of it than is refused for its length.
func readRules(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	return b, nil
}

// putRules puts rules in force. What earlier ones kept out is looked at again.
func (n *Node) putRules(c Caller, doc *rulesDoc, act string, count int) error {
	return n.putRulesWith(c, doc, act, count, nil)
}

// putRulesWith is putRules that offers them to all nodes, too, if offer is not nil.
func (n *Node) putRulesWith(c Caller, doc *rulesDoc, act string, count int, offer *protocol.OrgSigned) error {
	n.rulesMu.Lock()
	defer n.rulesMu.Unlock()
	if c.Right != "" { // before the journal has them, too
		if err := n.st.View(func(tx *store.Tx) error { return stands(tx, c) }); err != nil {
			return err
		}
	}
	done, err := n.journalRules(doc)
	if err != nil {
		return err
	}
	err = n.change(func(tx *store.Tx) error {
		again := map[protocol.FeedID]bool{}
		err := scanDocs(tx, kindQuarantine, func(_ []byte, q *quarantineDoc) error {
			if q.Reason == string(policy.ReasonLocalRule) {
				again[q.Feed] = true
			}
			return nil
		})
		for feed := range again {
			err = errors.Join(err, markAgain(tx, feed))
		}
		if err == nil {
			err = errors.Join(putDoc(tx, kindRules, rulesID, doc), tx.Delete([]byte(kindSetting+settingRules)), n.tellRules(tx, doc, offer), n.auditRules(tx, c, act, doc, count))
		}
		if err == nil {
			n.rulesProblem.Store(nil)
		}
		return err
	})
	if err != nil {
		return err
	}
	n.rulesDoubt.Store(nil) // it was about the set before
	return done()
}

// withPeople gives a source without people those that are in force.
func (n *Node) withPeople(src rules.Source) rules.Source {
	if d := n.snap.Load().rulesDoc; src.People == nil && d != nil {
		src.PeopleFile, src.People = d.PeopleFile, d.People
	}
	return src
}

// CheckRules reads rules, and changes nothing. The error, a rules.Errors, says where they are
// wrong. A source with nil People is about those in force.
func (n *Node) CheckRules(src rules.Source) (*RulesInfo, error) {
	set, err := n.parseRules(n.withPeople(src))
	if err != nil {
		return nil, err
	}
	return &RulesInfo{State: RulesChecked, File: src.File, Rules: set.Rules()}, nil
}

// LoadRules puts rules in force in place of those so far, or, with an error, changes nothing. An
// empty text ends them. What is decided from now on is decided by them.
func (n *Node) LoadRules(src rules.Source) (*RulesInfo, error) {
	src = n.withPeople(src)
	doc := &rulesDoc{File: src.File, Text: src.Text, PeopleFile: src.PeopleFile, People: src.People, At: uint64(nowMillis())}
	set, err := n.parseRules(src)
	if err != nil {
		n.noteRefusedRules(n.acting(), doc, err)
		return nil, err
	}
	if d := n.snap.Load().rulesDoc; d != nil {
		doc.Seen, doc.Offer = d.Seen, d.Offer
	}
	if o, err := n.offeredRules(); err != nil {
		return nil, err
	} else if o != nil {
		doc.Offer = max(doc.Offer, o.Number) // what a person loads here counts until there is a later one
	}
	if err := n.putRules(n.actingNow(), doc, "load rules", len(set.Rules())); err != nil {
		return nil, err
	}
	n.log.Info("local rules loaded", "file", src.File)
	return n.Rules(), errors.Join(n.gate.reopenMarked(), n.gate.drain())
}

// parseRules reads rules that are to be put in force here.
func (n *Node) parseRules(src rules.Source) (*rules.Set, error) {
	set, err := rules.Parse(src)
	if err != nil {
		return nil, err
	}
	return set, n.namedOnce(set)
}

// namedOnce refuses a people file that names one of the node's people, or one who left: they would come back.
func (n *Node) namedOnce(set *rules.Set) error {
	p := n.snap.Load().people
	for _, id := range set.PersonIDs() {
		if _, known := p.of(id); known {
			return protocol.Errorf(protocol.ErrMalformed, "%q of the people file is one of this node's people, or was: take it out of the file, and say who they are with 'entente people'", id)
		}
	}
	return nil
}

// RulesState says how a set of rules stands.
type RulesState string

// The states of rules.
const (
	RulesNone    RulesState = "none"
	RulesInForce RulesState = "in force"
	RulesLocked  RulesState = "locked"  // they cannot be read: nothing is let through
	RulesChecked RulesState = "checked" // and not in force
)

// RulesInfo is a set of rules as it is shown.
type RulesInfo struct {
	State   RulesState   `json:"state"`
	File    string       `json:"file,omitempty"`
	Since   *time.Time   `json:"since,omitempty"`
	Rules   []rules.Rule `json:"rules"`
	People  string       `json:"people,omitempty"`  // the people file, as it was taken
	Problem string       `json:"problem,omitempty"` // why the file on disk, or the set, is not in force
	// Set names the set: rules and people. Confirm says that it is not let in force before somebody
	// confirms it, or loads another: it is not known whether there was a later one.
	Set     string `json:"set"`
	Confirm bool   `json:"confirm,omitempty"`
}

// Rules shows the rules in force.
func (n *Node) Rules() *RulesInfo {
	s := n.snap.Load()
	info := &RulesInfo{State: RulesNone, Rules: s.rules.Rules(), Set: s.rulesDoc.hash().Short()}
	if d := s.rulesDoc; d != nil {
		at := millis(d.At)
		info.State, info.File, info.Since, info.People = RulesInForce, d.File, &at, string(d.People)
	}
	if why := n.rulesProblem.Load(); why != nil {
		info.Problem = *why
	}
	if why := s.rules.Locked(); why != "" {
		info.State, info.Problem = RulesLocked, why
	}
	if s.rulesDoubt {
		info.Rules, info.Confirm = s.readRules.Rules(), true
	}
	return info
}

// findRulesProblems tells of rules that are wanted and not in force.
func (n *Node) findRulesProblems(st *Status) {
	info := n.Rules()
	st.Rules = len(info.Rules)
	st.Problems = append(st.Problems, n.otherRules()...)
	const do = "mend it with 'entente rules check FILE', then 'entente rules load FILE'"
	switch {
	case info.Confirm:
		st.Problems = append(st.Problems, Problem{Kind: "rules-unconfirmed", Severity: "error", Text: "it is not known whether the local rules are those that were in force last, and until somebody says so nothing is shared, received, passed on or shown to anybody: " + info.Problem,
			Do: "look at them with 'entente rules show', then 'entente rules confirm', or load the right ones with 'entente rules load FILE'"})
	case info.State == RulesLocked:
		st.Problems = append(st.Problems, Problem{Kind: "rules-unreadable", Severity: "error", Text: "local rules cannot be read, and until they can nothing is shared, received, passed on or shown to anybody: " + info.Problem, Do: do})
	case info.Problem != "":
		st.Problems = append(st.Problems, Problem{Kind: "rules-refused", Severity: "error", Text: "the rules on disk are not in force, those before them stay: " + info.Problem, Do: do})
	}
}
