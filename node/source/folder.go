package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
)

// settle is how long a file must have stayed as it is before it is read.
const settle = 2 * time.Second

// maxFiles bounds the files of a folder that are looked at.
const maxFiles = 100_000

// maxFileErrors bounds the files of a folder that could not be read and that one run names.
const maxFileErrors = 20

// doneFolder is where files are moved that were published.
const doneFolder = "done"

// folder reads the files of a folder that are whole, in the order of their names; folders in it are not
// gone into. Nothing outside of it is read: links are not followed.
type folder struct {
	src    *node.Source
	key    [32]byte
	known  func(node.KnownKey) bool
	settle time.Duration
	memory *memory // may be nil
	again  time.Duration
}

// memory is what was seen of a folder by a process: files that did not change are not read again.
type memory struct {
	mu    sync.Mutex
	files map[string]seenFile
}

type seenFile struct {
	size int64
	at   time.Time // mtime
	seen time.Time // since when it is like this
	done bool      // what it holds is known
}

// Again says after how long somebody has to look again, because files were not whole yet.
func (f *folder) Again() time.Duration { return f.again }

// Pull implements Puller.
func (f *folder) Pull(ctx context.Context, _ []byte, fn func(*Document) error) error {
	root, err := os.OpenRoot(f.src.Where)
	if err != nil {
		return fmt.Errorf("opening the folder: %w; make it, and let the node read it", err)
	}
	defer root.Close()
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("reading the folder: %w", err)
	}
	names, err := dir.Readdirnames(maxFiles + 1)
	if err = errors.Join(ignoreEOF(err), dir.Close()); err != nil {
		return fmt.Errorf("reading the folder: %w", err)
	}
	if len(names) > maxFiles {
		return fmt.Errorf("the folder has more than %d files; move away what is done, or give --move-done", maxFiles)
	}
	slices.Sort(names)
	var bad []error
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, err := f.file(root, name)
		if err != nil { // the others are not kept waiting
			if len(bad) < maxFileErrors {
				bad = append(bad, err)
			}
			continue
		}
		if d != nil {
			if err := fn(d); err != nil {
				return err
			}
		}
	}
	f.forget(names)
	return errors.Join(bad...)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// forget drops what is remembered of files that are not there any more.
func (f *folder) forget(names []string) {
	if f.memory == nil {
		return
	}
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	for name := range f.memory.files {
		if _, here := slices.BinarySearch(names, name); !here {
			delete(f.memory.files, name)
		}
	}
}

// file reads a file; nil if there is nothing to do about it now.
func (f *folder) file(root *os.Root, name string) (*Document, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at %q: %w", name, err)
	}
	if !info.Mode().IsRegular() || partial(name) {
		return nil, nil
	}
	now := time.Now()
	seen := f.look(name, info, now)
	if seen.done && !f.src.MoveDone {
		return nil, nil
	}
	if wait := f.settle - max(now.Sub(info.ModTime()), now.Sub(seen.seen)); wait > 0 {
		f.wait(wait)
		return nil, nil
	}
	d := &Document{Where: name, Format: f.src.Format, HasKey: true, Finish: func(whole bool) error { return f.finish(root, name, info, whole) }}
	if uint64(info.Size()) > f.src.MaxBytes {
		d.Key = hashOf(f.key, "stat", fmt.Appendf(nil, "%s\x00%d\x00%d", name, info.Size(), info.ModTime().UnixNano()))
		d.Reason, d.Do = fmt.Sprintf("the file has %d bytes, and the source takes %d", info.Size(), f.src.MaxBytes), "split it, or change the source (--replace) to a larger --max-bytes"
		return f.unless(d, name), nil
	}
	data, whole, err := f.read(root, name, info)
	if err != nil {
		return nil, err
	}
	if !whole {
		f.wait(f.settle)
		return nil, nil
	}
	sum := sha256.Sum256(data)
	d.Bytes, d.Key = data, hashOf(f.key, "file", sum[:])
	return f.unless(d, name), nil
}

// unless returns a document unless it is known and nothing is to be done with it.
func (f *folder) unless(d *Document, name string) *Document {
	if !f.known(d.Key) || f.src.MoveDone && d.Reason == "" {
		return d
	}
	f.note(name)
	return nil
}

func (f *folder) wait(d time.Duration) {
	if f.again == 0 || d < f.again {
		f.again = d
	}
}

// look notes how a file is, and says since when it is like this as far as this process knows.
func (f *folder) look(name string, info fs.FileInfo, now time.Time) seenFile {
	fresh := seenFile{size: info.Size(), at: info.ModTime(), seen: now}
	if f.memory == nil {
		return fresh
	}
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	if f.memory.files == nil {
		f.memory.files = map[string]seenFile{}
	}
	if old, ok := f.memory.files[name]; ok && old.size == fresh.size && old.at.Equal(fresh.at) {
		return old
	}
	f.memory.files[name] = fresh
	return fresh
}

// note remembers that what a file holds is known.
func (f *folder) note(name string) {
	if f.memory == nil {
		return
	}
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	if s, ok := f.memory.files[name]; ok {
		s.done = true
		f.memory.files[name] = s
	}
}

// read reads a file that nobody writes to; whole is false if somebody did meanwhile.
func (f *folder) read(root *os.Root, name string, before fs.FileInfo) (data []byte, whole bool, err error) {
	file, err := root.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("opening %q: %w", name, err)
	}
	defer file.Close()
	same := func() bool {
		after, serr := file.Stat()
		return serr == nil && os.SameFile(before, after) && after.Mode().IsRegular() && after.Size() == before.Size() && after.ModTime().Equal(before.ModTime())
	}
	if !same() || written(file) {
		return nil, false, nil
	}
	var buf bytes.Buffer
	buf.Grow(int(before.Size()) + bytes.MinRead)
	if _, err := io.Copy(&buf, io.LimitReader(file, int64(f.src.MaxBytes)+1)); err != nil {
		return nil, false, fmt.Errorf("reading %q: %w", name, err)
	}
	if buf.Bytes() == nil {
		return []byte{}, same() && before.Size() == 0, nil
	}
	return buf.Bytes(), int64(buf.Len()) == before.Size() && same() && !written(file), nil
}

// finish moves a file that was published to the folder "done", if that is wanted, and nothing of it is only in
// the file. A file that somebody changed meanwhile stays.
func (f *folder) finish(root *os.Root, name string, before fs.FileInfo, whole bool) error {
	if !f.src.MoveDone || !whole {
		f.note(name)
		return nil
	}
	info, err := root.Lstat(name)
	if err != nil || !os.SameFile(before, info) || info.Size() != before.Size() || !info.ModTime().Equal(before.ModTime()) {
		return nil // another file: it is looked at by itself
	}
	if err := root.Mkdir(doneFolder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the folder %q: %w", doneFolder, err)
	}
	to := path.Join(doneFolder, name)
	ext := path.Ext(name)
	for i := 1; ; i++ {
		if _, err := root.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = path.Join(doneFolder, fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), i, ext))
	}
	if err := root.Rename(name, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("moving %q away: %w; let the node write to the folder, or leave files where they are", name, err)
	}
	return nil
}
