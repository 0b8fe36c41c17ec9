package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// shareSet is a root set that is made in a ceremony: its keys, and the media that they go to.
type shareSet struct {
	what       string // "root" or "next"
	flag       string // what its options begin with
	dirs       []string
	count      int
	threshold  int
	bare       bool // no passphrases
	sameMedium bool

	number uint32 // of the root set: in force after so many rotations
	keys   []crypto.RootPrivate
	set    protocol.RootSet
	files  []string
}

func newShareSet(what, flag string) *shareSet { return &shareSet{what: what, flag: flag} }

func (s *shareSet) text() string {
	return fmt.Sprintf("%d of %d shares sign", s.threshold, s.count)
}

// plan checks what is asked for before any key is made; root is nil where only a following set is.
func plan(root, next *shareSet) error {
	sets := []*shareSet{next}
	if root != nil {
		if next.threshold == 0 {
			next.threshold = root.threshold
		}
		next.bare, next.sameMedium = root.bare, root.sameMedium
		sets = []*shareSet{root, next}
	}
	seen := map[string]string{}
	for _, s := range sets {
		switch n := len(s.dirs); {
		case n > 0 && s.count > 0 && s.count != n:
			return fmt.Errorf("--%sshares says %d, and there are %d --%sshare", s.flag, s.count, n, s.flag)
		case n > 0:
			s.count = n
		case s.count == 0:
			return fmt.Errorf("give a --%sshare for the medium of each share, or --%sshares with their number", s.flag, s.flag)
		}
		if s.count > protocol.MaxRootKeys || s.threshold < 1 || s.threshold > s.count {
			return fmt.Errorf("%d of %d shares: a root set has 1 to %d, and --%sthreshold says how many of them have to sign, at least 1 and at most all", s.threshold, s.count, protocol.MaxRootKeys, s.flag)
		}
		for _, dir := range s.dirs {
			medium, err := mediumOf(dir)
			if err != nil {
				return err
			}
			if other, ok := seen[medium]; ok && !s.sameMedium {
				return fmt.Errorf("%s and %s are on one medium: whoever finds it has two shares. Take another medium, or give --same-medium for a rehearsal", other, dir)
			}
			seen[medium] = dir
			if err := s.vacant(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// vacant refuses a medium that holds a share already.
func (s *shareSet) vacant(dir string) error {
	if s.sameMedium {
		return nil
	}
	held, err := filepath.Glob(filepath.Join(dir, "root-set-*-share-*.txt"))
	if err == nil && len(held) > 0 {
		err = fmt.Errorf("%s holds a share already: take another medium, or give --same-medium", held[0])
	}
	return err
}

func (s *shareSet) make(number uint32) (err error) {
	s.number = number
	s.keys, s.set, err = crypto.NewRootKeys(s.count, s.threshold)
	return err
}

// handOut writes each share of a set to the medium of its holder.
func (c *ceremony) handOut(s *shareSet, org protocol.OrgID, name string) error {
	for i, k := range s.keys {
		title := fmt.Sprintf("share %d of %d of root set %d (%s)", i+1, s.count, s.number, crypto.Fingerprint(k.Public()))
		dir := ""
		if len(s.dirs) > 0 {
			dir = s.dirs[i]
		} else {
			var err error
			if dir, err = c.askMedium(s, title); err != nil {
				return err
			}
		}
		var lock crypto.Lock
		if !s.bare {
			fmt.Fprintf(c.err, "Holder of %s, choose a passphrase; the others look away.\n", title)
			p, err := newPassphrase()
			if err != nil {
				return err
			}
			lock = crypto.PassphraseLock(p)
		}
		share, err := crypto.NewShare(org, name, s.number, s.set, k, lock)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, fmt.Sprintf("root-set-%d-share-%d.txt", s.number, i+1))
		if err := writeNew(file, []byte(crypto.FormatShare(share))); err != nil {
			return err
		}
		again, err := c.readShare(file)
		if err != nil {
			return fmt.Errorf("reading back what was written: %w", err)
		}
		if string(crypto.EncodeShare(again)) != string(crypto.EncodeShare(share)) {
			return fmt.Errorf("%s does not hold what was written; the medium is damaged", file)
		}
		s.files = append(s.files, file)
		fmt.Fprintf(c.err, "Wrote %s: %s\n", title, file)
	}
	return nil
}

func (c *ceremony) askMedium(s *shareSet, title string) (string, error) {
	for {
		dir, err := c.askLine("Put in the medium of " + title + ", and give its directory: ")
		if err != nil {
			return "", fmt.Errorf("asking for the medium of %s: %w; give --%sshare for each", title, err, s.flag)
		}
		if _, err = mediumOf(dir); err == nil {
			err = s.vacant(dir)
		}
		if err == nil {
			return dir, nil
		}
		fmt.Fprintln(c.err, err)
	}
}

// mustBeNew refuses to overwrite a file.
func mustBeNew(path string) error {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return fmt.Errorf("%s exists already; give another name", path)
	case errors.Is(err, os.ErrNotExist):
		return nil
	}
	return err
}

// writeNew writes a file that nobody else may read and that must not exist, and has it on the medium
// before it returns.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		if errors.Is(err, os.ErrExist) {
			return mustBeNew(path)
		}
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		// What is there may be half of a key, and would keep the medium from being used again.
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(path))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	// Some file systems of memory sticks do not sync directories.
	_ = d.Sync()
	return d.Close()
}

// directory refuses what is none.
func directory(dir string) (os.FileInfo, error) {
	if strings.TrimSpace(dir) == "" {
		return nil, errors.New("no directory was given")
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory; give where the medium is mounted", dir)
	}
	return info, nil
}
