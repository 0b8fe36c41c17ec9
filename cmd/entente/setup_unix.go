//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

func findAccount(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("there is no user %q to run the service as (%w); install the package, or make one: useradd --system --home-dir %s --shell /usr/sbin/nologin %s", name, err, systemDir, name)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("reading the number of user %q: %w", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("reading the group of user %q: %w", name, err)
	}
	return &account{name, uid, gid}, nil
}

func (u *account) giveTree(path string) error {
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(p, u.uid, u.gid); err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.Chmod(p, 0o700)
		case d.Type().IsRegular():
			return os.Chmod(p, 0o600)
		}
		return nil
	})
}

// notAsRoot refuses root what would make files in the data directory of another user, who could
// not open them any more. A node that runs is asked over its socket, by root as well.
func notAsRoot(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil // there is nothing yet, or who opens it says why not
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	owner := strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	return fmt.Errorf("the data directory %s is that of the user %s, who could not open what root makes in it: start the node (systemctl start entente) and ask it, or run this as that user: runuser -u %s -- entente VERB", dir, owner, owner)
}
