package anchor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

const rulesFile = "rules"

// RulesMark says which set of local rules was put in force last: its number, which only grows, and its
// hash. The zero value is no set.
type RulesMark struct {
	_      struct{} `cbor:",toarray"`
	Number uint64
	Set    protocol.Hash
}

// rulesMarks is the file. It is written before the store takes a set, with the one before it, and
// again when the store has it.
type rulesMarks struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Place   protocol.Hash
	Node    protocol.NodeID
	Newest  RulesMark
	Before  []RulesMark // one while Newest may not be in the store yet
}

// SetRules keeps which set is put in force, durably. before, if it is not nil, is the one that is in
// force until the store has the new one.
func (a *Anchor) SetRules(newest RulesMark, before *RulesMark) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := &rulesMarks{Version: 1, Place: a.marks.Place, Node: a.marks.Node, Newest: newest}
	if before != nil {
		m.Before = []RulesMark{*before}
	}
	if err := disk.Replace(a.fs, filepath.Join(a.dir, rulesFile), protocol.Encode(m)); err != nil {
		return fmt.Errorf("writing which rules are in force beside the data directory: %w", err)
	}
	return nil
}

// Rules returns which set was put in force last, and, if the store may not have it, the one before.
// here says that it was written by this node in this place: one that was copied, or another node's,
// knows of sets that there were, and not that there were no later ones. ok is false if nothing is
// known, or nothing that can be read.
func (a *Anchor) Rules() (newest RulesMark, before *RulesMark, here, ok bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.fs.ReadFile(filepath.Join(a.dir, rulesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return RulesMark{}, nil, false, false, nil
	}
	if err != nil {
		return RulesMark{}, nil, false, false, fmt.Errorf("reading which rules were in force beside the data directory: %w", err)
	}
	var m rulesMarks
	if protocol.Decode(b, 1<<10, &m) != nil || m.Version != 1 || len(m.Before) > 1 {
		return RulesMark{}, nil, false, false, nil
	}
	if len(m.Before) == 1 {
		before = &m.Before[0]
	}
	return m.Newest, before, m.Place == a.marks.Place && m.Node == a.marks.Node, true, nil
}
