package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/entente-mesh/entente/protocol"
)

// Verified says what a verification of a log found.
type Verified struct {
	Head
	Checkpoints int      // that the log was held against
	Details     uint64   // entries whose details are held, and are those that the leaf commits to
	Erased      uint64   // entries whose details were erased, as a later entry says
	Without     uint64   // entries without details, in an export that was made without them
	Index       string   // what is wrong with the index, which is no part of the account; "": nothing
	Problems    []string // none: the log is whole
	More        int      // problems that are not listed
}

// Whole reports whether nothing is wrong.
func (v *Verified) Whole() bool { return len(v.Problems) == 0 }

func (v *Verified) problem(format string, args ...any) {
	if len(v.Problems) >= maxProblems {
		v.More++
		return
	}
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// against holds the log against where it is known to have stood.
func (v *Verified) against(what string, h *Head, root func(size uint64) (protocol.Hash, error)) error {
	v.Checkpoints++
	if h.Size > v.Size {
		v.problem("the log was shortened: it has %d entries, and had %d by %s", v.Size, h.Size, what)
		return nil
	}
	r, err := root(h.Size)
	if err != nil {
		return err
	}
	if r != h.Root {
		v.problem("the log was changed, or is another continuation of an earlier state: its first %d entries are not those of %s", h.Size, what)
	}
	return nil
}

// Since is where a log is known to have stood, from outside of it.
type Since struct {
	What   string // where it is known from, for a person
	Signed []byte // a signed checkpoint
	Head   Head   // or what somebody else noted; used if Signed is nil
}

// Verify recomputes the tree from the leaves, and holds the stored hashes, the checkpoints kept in
// the store, those in since, and the details that are left against it. An error says that
// it could not be done, not that something is wrong with the log.
func (l *Log) Verify(kv KV, v note.Verifier, since []Since) (*Verified, error) {
	out := new(Verified)
	out.Log = l.Log
	var err error
	if out.Size, err = l.Size(kv); err != nil {
		return nil, err
	}
	good, err := l.verifyLeaves(kv, out)
	if err != nil {
		return nil, err
	}
	if !good {
		return out, nil // no tree follows from these leaves
	}
	root := func(size uint64) (protocol.Hash, error) { return l.Root(kv, size) }
	if out.Root, err = root(out.Size); err != nil {
		return nil, err
	}
	err = l.EachCheckpoint(kv, func(size uint64, signed []byte) error {
		c, err := OpenCheckpoint(signed, v)
		switch {
		case err != nil:
			out.problem("the checkpoint of %d entries that is kept: %v", size, err)
			return nil
		case c.Log != l.Log || c.Size != size:
			out.problem("the checkpoint kept for %d entries is another one", size)
			return nil
		}
		return out.against(fmt.Sprintf("the checkpoint of %d entries that is kept", size), &c.Head, root)
	})
	if err != nil {
		return nil, err
	}
	for i := range since {
		s := &since[i]
		h := &s.Head
		if s.Signed != nil {
			c, err := OpenCheckpoint(s.Signed, v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.What, err)
			}
			h = &c.Head
		}
		if h.Log != l.Log {
			return nil, protocol.Errorf(protocol.ErrWrongContext, "%s is of log %s, not of %s", s.What, h.Log, l.Log)
		}
		if err := out.against(s.What, h, root); err != nil {
			return nil, err
		}
	}
	if err := l.verifyDetails(kv, out); err != nil {
		return nil, err
	}
	return out, l.verifyIndex(kv, out)
}

// verifyLeaves holds every stored hash against the leaves. Those before a leaf were held against
// theirs already, so each may be computed from them. good says that all are there and agree.
func (l *Log) verifyLeaves(kv KV, out *Verified) (good bool, err error) {
	next, before := uint64(0), len(out.Problems)
	prefix := key(kLeaf, l.Log)
	reader := l.reader(kv)
	err = kv.Scan(prefix, nil, false, func(k, leaf []byte) (bool, error) {
		n := binary.BigEndian.Uint64(k[len(k)-8:])
		if len(k) != len(prefix)+8 || n != next {
			out.problem("entry %d is missing", next)
			return false, nil
		}
		if next++; n >= out.Size {
			out.problem("entry %d stands after the end of the log", n)
			return len(out.Problems) < maxProblems, nil
		}
		if err := protocol.Decode(leaf, MaxLeaf, new(Leaf)); err != nil {
			out.problem("entry %d is not a leaf: %v", n, err)
		}
		hashes, err := tlog.StoredHashes(int64(n), leaf, reader)
		if errors.Is(err, protocol.ErrMalformed) {
			out.problem("entry %d: %v", n, err)
			return true, nil
		} else if err != nil {
			return false, err
		}
		first := tlog.StoredHashIndex(0, int64(n))
		for i := range hashes {
			b, err := kv.Get(key(kHash, l.Log, number(uint64(first)+uint64(i))))
			if err != nil {
				return false, err
			}
			if !bytes.Equal(b, hashes[i][:]) {
				out.problem("entry %d was changed: the tree was made of another one", n)
				break
			}
		}
		return true, nil
	})
	if err == nil && next < out.Size && len(out.Problems) == before {
		out.problem("the log was shortened: it has %d entries, and entry %d is missing", out.Size, next)
	}
	return len(out.Problems) == before, err
}

func (l *Log) verifyDetails(kv KV, out *Verified) error {
	said := map[uint64]map[uint64]bool{} // what entries say was erased; nil: they are not held
	for n := range out.Size {
		e, err := l.Entry(kv, n)
		switch {
		case errors.Is(err, protocol.ErrMalformed):
			out.problem("%v", err)
			continue
		case err != nil:
			out.problem("entry %d: %v", n, err) // a key that is lost, or destroyed without a word
			continue
		case e.Details != nil:
			out.Details++
			continue
		}
		if err := out.erased(n, e.Erased, said, func(by uint64) (*Leaf, *Details, error) {
			f, err := l.Entry(kv, by)
			if err != nil {
				return nil, nil, err
			}
			return &f.Leaf, f.Details, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// erased checks that the entry that is to say so says that details were erased.
func (v *Verified) erased(n, by uint64, said map[uint64]map[uint64]bool, entry func(uint64) (*Leaf, *Details, error)) error {
	if _, ok := said[by]; !ok && by > n && by < v.Size {
		leaf, d, err := entry(by)
		if err == nil && leaf.Kind == Forget && d != nil {
			said[by] = map[uint64]bool{}
			for _, x := range d.Entries {
				said[by][x] = true
			}
		}
	}
	if !said[by][n] {
		v.problem("the details of entry %d are gone, and no later entry says that they were erased", n)
		return nil
	}
	v.Erased++
	return nil
}
