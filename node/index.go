package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
)

// openIndex opens the index of the corpus. In a simulation it is one in which much happens
// with few records.
func (n *Node) openIndex() error {
	limits := corpus.DefaultLimits
	if n.cfg.Disk != nil {
		limits = corpus.TinyLimits
	}
	err := n.st.Update(func(tx *store.Tx) (err error) {
		if n.index, err = corpus.Open(tx, limits); err != nil {
			return err
		}
		return n.mirroring.begin(tx)
	})
	if err != nil {
		return fmt.Errorf("opening the index: %w", err)
	}
	return nil
}

// mergeSteps is how many steps of merging follow a transaction that added records: more than it
// makes necessary, on the average, so that the index keeps small and nobody waits long.
const mergeSteps = 3

// idleMergeSteps is how many steps follow when a node looks at its state anew, each hour.
const idleMergeSteps = 1000

// mergeIndex does at most so many steps of what keeps the index small, each in a transaction. What
// fails is tried again with the next records.
func (n *Node) mergeIndex(steps int) { n.indexFailed(mergeIndex(n.st, n.index, steps)) }

func (n *Node) indexFailed(err error) {
	if err != nil && !errors.Is(err, store.ErrClosed) {
		n.log.Error("work on the index of the corpus failed; it is tried again", "err", err)
		n.counters.failed.Add(1)
	}
}

func mergeIndex(st *store.Store, index *corpus.Index, steps int) error {
	due := false
	err := st.View(func(tx *store.Tx) (err error) { due, err = index.Due(tx); return err })
	for ; err == nil && due && steps > 0; steps-- {
		err = st.Update(func(tx *store.Tx) (err error) { due, err = index.Merge(tx, corpus.DefaultBudget); return err })
	}
	return err
}

// forgetIndex removes from the index what is left there of what was erased, or taken out, in a
// transaction that could not write all pages with it: nobody waits for other records to come.
func (n *Node) forgetIndex() {
	for {
		due := false
		err := n.st.View(func(tx *store.Tx) (err error) { due, err = n.index.Forgetting(tx); return err })
		if err == nil && due {
			err = n.st.Update(func(tx *store.Tx) error { _, err := n.index.Merge(tx, corpus.DefaultBudget); return err })
		}
		if n.indexFailed(err); err != nil || !due {
			return
		}
	}
}

// warmPages is how many pages of the index a step of warmIndex reads: some milliseconds.
const warmPages = 64

// warmIndex makes, after opening, what keeps searches from reading pages in vain. It takes at most half
// of one processor, because who is searching meanwhile comes first.
func (n *Node) warmIndex(ctx context.Context) {
	for failed := 0; ; {
		begun := time.Now()
		more := false
		err := n.viewIndex(func(tx *store.Tx) (err error) { more, err = n.index.Warm(tx, warmPages); return err })
		if err == nil && !more {
			n.counters.warm.Store(true)
			return
		}
		pause := time.Since(begun)
		if err != nil {
			if failed++; failed == 3 { // searches read what is damaged, or do without
				n.indexFailed(fmt.Errorf("reading the index ahead of searches: %w", err))
				return
			}
			pause = time.Second
		}
		if sleep(ctx, max(pause, time.Millisecond)) != nil {
			return
		}
	}
}

// viewIndex is View for what looks up in the index. What it finds there may have been destroyed
// since the state that it reads, because something beside it was erased: it then begins again,
// with the present one. fn sets what it returns anew each time.
func (n *Node) viewIndex(fn func(tx *store.Tx) error) (err error) {
	for range 10 {
		if err = n.st.View(fn); !errors.Is(err, store.ErrDestroyed) {
			break
		}
	}
	return err
}
