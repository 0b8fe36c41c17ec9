package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// File is an open file.
type File interface {
	io.ReadWriteSeeker
	io.Closer
	// Truncate sets the length of the file, in bytes.
	Truncate(size int64) error
	// Sync returns when what was written is durable.
	Sync() error
}

// Files is a file system. Errors of its methods are those of package os.
type Files interface {
	// Open opens a file with the flags of os.OpenFile; one that is made has mode 0600.
	Open(path string, flag int) (File, error)
	// ReadFile returns what stands in a file.
	ReadFile(path string) ([]byte, error)
	// Rename gives a file the name of another, which is gone then.
	Rename(from, to string) error
	// SyncDir returns when the names in a directory are durable.
	SyncDir(dir string) error
	// MkdirAll makes a directory, mode 0700, and those above it.
	MkdirAll(dir string) error
}

// OS is the file system of the operating system.
var OS Files = osFiles{}

type osFiles struct{}

func (osFiles) Open(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err // not a File that holds a nil
	}
	return f, nil
}

func (osFiles) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }
func (osFiles) Rename(from, to string) error         { return os.Rename(from, to) }
func (osFiles) MkdirAll(dir string) error            { return os.MkdirAll(dir, 0o700) }

func (osFiles) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Replace writes a file that must be there after a power failure, and never half: the old
// one stands until the new one is whole.
func Replace(fs Files, path string, data []byte) error {
	tmp := path + ".new"
	f, err := fs.Open(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}
