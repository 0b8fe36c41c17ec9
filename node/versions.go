package node

import (
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol/stix"
)

// versionFaults compares objects with what this organisation published under their ids (STIX 3.6). It
// returns, by place, why some may not be published: they change what a later version never changes, or
// follow one that was revoked. An object that is not later than the one that stands is counted only:
// both are kept, readers show the later, and of two of one time both.
func (n *Node) versionFaults(items []intake.Item) (refused map[int]error, stale int, err error) {
	err = n.viewIndex(func(tx *store.Tx) error {
		refused, stale = map[int]error{}, 0
		find := n.index.ByStixIDs(tx)
		for i := range items {
			o := items[i].Object
			if !stix.HasVersions(o.Type) {
				continue
			}
			last, err := n.lastVersion(find, o.ID)
			if err != nil {
				return err
			}
			if last == nil {
				continue
			}
			switch err := stix.NewVersion(last, o); {
			case err == nil:
			case o.Modified.After(last.Modified):
				refused[i] = fmt.Errorf("it is no version of what you published under its id: %w", err)
			default:
				stale++
			}
		}
		return nil
	})
	return refused, stale, err
}

// KeepCreated gives objects that were converted from a form that does not know when they came to be, as
// MISP's, the time of creation that their published versions state: it never changes (STIX 3.6).
func (n *Node) KeepCreated(items []intake.Item) error {
	if !slices.ContainsFunc(items, func(it intake.Item) bool { return it.Converted }) {
		return nil
	}
	return n.viewIndex(func(tx *store.Tx) error {
		find := n.index.ByStixIDs(tx)
		for i := range items {
			o := items[i].Object
			if !items[i].Converted || o.Created.IsZero() || !stix.HasVersions(o.Type) {
				continue
			}
			last, err := n.lastVersion(find, o.ID)
			if err != nil {
				return err
			}
			if last == nil || last.Created.Equal(o.Created) || last.Created.After(o.Modified) {
				continue
			}
			kept, err := stix.Parse(stix.WithCreated(o, last.Text("created")))
			if err != nil {
				return fmt.Errorf("keeping when %s was created: %w", o.ID, err)
			}
			kept.Line = o.Line
			items[i].Object = kept
		}
		return nil
	})
}

// lastVersion returns the latest version of an object that this organisation published and did not
// withdraw; nil if there is none.
func (n *Node) lastVersion(find func(id string) ([]corpus.Entry, error), id string) (last *stix.Object, err error) {
	entries, err := find(id)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		e := &entries[i]
		if e.Originator != n.org || e.Withdrawn {
			continue
		}
		o, err := stix.Parse(e.Object)
		if err != nil {
			return nil, fmt.Errorf("reading object %s: %w", e.StixID, err)
		}
		if last == nil || o.Modified.After(last.Modified) {
			last = o
		}
	}
	return last, nil
}
