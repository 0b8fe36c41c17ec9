package anchor

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entente-mesh/entente/protocol"
)

// Erasure is one line of the journal: what an author erased, what this organisation erased for
// itself, or that an agreement was ended. It holds ids, hashes and statements only, nothing of a
// record.
type Erasure struct {
	_      struct{}               `cbor:",toarray"`
	Signed []protocol.SignedErase // one; none if it is local
	Local  []LocalErase           // one; none if it is an author's
	Ended  []protocol.OrgSigned   // one termination of an agreement; none if something was erased

	Released []ReleasedHold // one legal hold that ended, and with it what it kept
}

// ReleasedHold is a legal hold that ended.
type ReleasedHold struct {
	_  struct{} `cbor:",toarray"`
	ID [32]byte
	At uint64 // Unix milliseconds
}

// LocalErase is what an organisation erased for itself.
type LocalErase struct {
	_       struct{} `cbor:",toarray"`
	Entries []protocol.EntryRef
	Records []protocol.RecordID
	Reason  protocol.EraseReason
	At      uint64 // Unix milliseconds
}

const maxErasure = 1 << 20

// Journal is written before the store, so that no erasure is only in what may be restored
// from an older state. A line is its length (4 bytes), the first 8 bytes of its SHA-256, and
// the encoded Erasure; a line that was not written to its end is cut off.

// Append adds erasures to the journal, durably.
func (a *Anchor) Append(list ...Erasure) error {
	if len(list) == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.openJournal(); err != nil {
		return err
	}
	var out []byte
	for i := range list {
		line := protocol.Encode(&list[i])
		if len(line) > maxErasure {
			return protocol.Errorf(protocol.ErrOversize, "an erasure has %d bytes, at most %d fit the journal", len(line), maxErasure)
		}
		sum := sha256.Sum256(line)
		out = append(append(binary.BigEndian.AppendUint32(out, uint32(len(line))), sum[:8]...), line...)
	}
	if _, err := a.journal.Write(out); err != nil {
		return fmt.Errorf("writing journal of erasures: %w", err)
	}
	if err := a.journal.Sync(); err != nil {
		return fmt.Errorf("writing journal of erasures: %w", err)
	}
	return nil
}

// BeginJournal makes an empty journal, durably, if there is none: from now on all erasures
// stand in it.
func (a *Anchor) BeginJournal() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.openJournal()
}

func (a *Anchor) openJournal() error {
	if a.journal != nil {
		return nil
	}
	f, err := a.fs.Open(filepath.Join(a.dir, journalFile), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return fmt.Errorf("opening journal of erasures: %w", err)
	}
	end, err := readJournal(f, func(*Erasure) error { return nil })
	if err == nil {
		err = errors.Join(f.Truncate(end), a.fs.SyncDir(a.dir))
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("opening journal of erasures: %w", err), f.Close())
	}
	a.journal = f
	return nil
}

// Erasures calls fn with all erasures of the journal, in order. It returns false if there is
// no journal.
func (a *Anchor) Erasures(fn func(*Erasure) error) (bool, error) {
	f, err := a.fs.Open(filepath.Join(a.dir, journalFile), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading journal of erasures: %w", err)
	}
	defer f.Close()
	_, err = readJournal(f, fn)
	return true, err
}

// readJournal returns where the last whole line ends.
func readJournal(f io.Reader, fn func(*Erasure) error) (end int64, err error) {
	r := bufio.NewReader(f)
	for {
		var head [12]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return end, nil // the end, or a line that was cut off
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 || n > maxErasure {
			return end, nil
		}
		line := make([]byte, n)
		if _, err := io.ReadFull(r, line); err != nil {
			return end, nil
		}
		if sum := sha256.Sum256(line); [8]byte(sum[:8]) != [8]byte(head[4:]) {
			return end, nil
		}
		var e Erasure
		if err := protocol.Decode(line, maxErasure, &e); err != nil {
			return end, fmt.Errorf("journal of erasures: %w", err)
		}
		if err := fn(&e); err != nil {
			return end, err
		}
		end += int64(len(head)) + int64(n)
	}
}
