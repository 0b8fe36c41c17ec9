package disk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Crash is what a Disk panics with where its power was cut: nothing after that step happens,
// not even what would handle an error. Whoever cuts the power recovers it.
type Crash struct{ Step string }

// Error makes a Crash readable where nobody recovers it.
func (c Crash) Error() string { return "power was cut: " + c.Step }

// Disk is a disk in memory: Files, and tables. The zero value is empty and ready. Its methods
// may be called concurrently.
type Disk struct {
	// Lazy is a defect to test with: nothing becomes durable before Flush, whoever syncs.
	Lazy bool
	// Torn is another: a commit becomes durable in two halves, that of the higher keys first.
	Torn bool

	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode // names that stay after a crash
	tables  map[string]*tableState
	steps   int // places passed at which power can be cut
	cut     int // the step at which it is; 0: never
	dead    bool
}

type inode struct{ data, synced []byte }

type tableState struct{ now, durable Snapshot }

// commit brings changes about at once, but for the durable state of a disk that tears.
func (d *Disk) commit(t *tableState, name string, changes func(set func(key string, value []byte))) {
	var keys []string
	values := map[string][]byte{}
	changes(func(key string, value []byte) {
		keys = append(keys, key)
		values[key] = value
	})
	slices.Sort(keys)
	slices.Reverse(keys)
	for i, key := range keys {
		if values[key] == nil {
			t.now = t.now.delete(key)
		} else {
			t.now = t.now.put(key, values[key])
		}
		if d.Torn && !d.Lazy && i == len(keys)/2 {
			t.durable = t.now
			d.step("in the middle of a commit to %s", name)
		}
	}
	if !d.Lazy {
		t.durable = t.now
	}
}

// step is a place at which the power can be cut: before and after everything that changes
// something. The caller holds mu.
func (d *Disk) step(format string, args ...any) {
	d.steps++
	if d.cut != 0 && d.steps >= d.cut && !d.dead {
		d.dead = true
	}
	if d.dead {
		panic(Crash{fmt.Sprintf(format, args...)})
	}
}

// change brings a change about between two steps.
func (d *Disk) change(what, name string, fn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.step("before %s of %s", what, name)
	fn()
	d.step("after %s of %s", what, name)
}

// Steps returns how many places were passed at which the power could have been cut.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// Dead reports whether the power was cut.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// CutAfter cuts the power at the n-th step from now; 0 or less takes that back.
func (d *Disk) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut = 0; n > 0 {
		d.cut = d.steps + n
	}
}

// Restart forgets what was not durable, as a power failure does, and turns the power on.
func (d *Disk) Restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.cut = false, 0
	d.names = map[string]*inode{}
	for name, i := range d.durable {
		d.names[name] = &inode{data: slices.Clone(i.synced), synced: i.synced}
	}
	d.durable = maps.Clone(d.names)
	for _, t := range d.tables {
		t.now = t.durable
	}
}

// Flush makes everything durable.
func (d *Disk) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range d.names {
		i.synced = slices.Clone(i.data)
	}
	d.durable = maps.Clone(d.names)
	for _, t := range d.tables {
		t.durable = t.now
	}
}

// Backup returns a copy of the files and tables below a directory, as they are.
func (d *Disk) Backup(dir string) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := &Disk{names: map[string]*inode{}, tables: map[string]*tableState{}}
	for name, i := range d.names {
		if below(name, dir) {
			b.names[name] = &inode{data: slices.Clone(i.data), synced: slices.Clone(i.data)}
		}
	}
	b.durable = maps.Clone(b.names)
	for name, t := range d.tables {
		if below(name, dir) {
			b.tables[name] = &tableState{t.now, t.now}
		}
	}
	return b
}

// Restore puts a backup of a directory in the place of what is there, durably. Nobody may
// have it open.
func (d *Disk) Restore(b *Disk, dir string) {
	b = b.Backup(dir) // which stays as it is
	d.mu.Lock()
	defer d.mu.Unlock()
	d.init()
	for _, m := range []map[string]*inode{d.names, d.durable} {
		maps.DeleteFunc(m, func(name string, _ *inode) bool { return below(name, dir) })
		maps.Copy(m, b.names)
	}
	maps.DeleteFunc(d.tables, func(name string, _ *tableState) bool { return below(name, dir) })
	maps.Copy(d.tables, b.tables)
}

func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

func (d *Disk) init() {
	if d.names == nil {
		d.names, d.durable = map[string]*inode{}, map[string]*inode{}
	}
	if d.tables == nil {
		d.tables = map[string]*tableState{}
	}
}

// Open implements Files.
func (d *Disk) Open(path string, flag int) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.init()
	i := d.names[path]
	if i == nil && flag&os.O_CREATE == 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if i == nil {
		d.step("before making %s", path)
		i = &inode{}
		d.names[path] = i
		d.step("after making %s", path)
	}
	if flag&os.O_TRUNC != 0 {
		i.data = nil
	}
	return &file{d: d, inode: i, path: path}, nil
}

// ReadFile implements Files.
func (d *Disk) ReadFile(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.names[path]
	if i == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return slices.Clone(i.data), nil
}

// Rename implements Files.
func (d *Disk) Rename(from, to string) (err error) {
	d.change("renaming", from, func() {
		i := d.names[from]
		if i == nil {
			err = &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
			return
		}
		d.names[to] = i
		delete(d.names, from)
	})
	return err
}

// SyncDir implements Files.
func (d *Disk) SyncDir(dir string) error {
	d.change("syncing the names", dir, func() {
		if d.Lazy {
			return
		}
		maps.DeleteFunc(d.durable, func(name string, _ *inode) bool { return filepath.Dir(name) == dir })
		for name, i := range d.names {
			if filepath.Dir(name) == dir {
				d.durable[name] = i
			}
		}
	})
	return nil
}

// MkdirAll implements Files. Directories are always there.
func (d *Disk) MkdirAll(string) error { return nil }

type file struct {
	d     *Disk
	inode *inode
	path  string
	at    int
}

func (f *file) Read(b []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.at >= len(f.inode.data) {
		return 0, io.EOF
	}
	n := copy(b, f.inode.data[f.at:])
	f.at += n
	return n, nil
}

// Write may be cut in the middle.
func (f *file) Write(b []byte) (int, error) {
	half := len(b) / 2
	for _, part := range [][]byte{b[:half], b[half:]} {
		f.d.change("writing", f.path, func() {
			if grow := f.at + len(part) - len(f.inode.data); grow > 0 {
				f.inode.data = append(f.inode.data, make([]byte, grow)...)
			}
			f.at += copy(f.inode.data[f.at:], part)
		})
	}
	return len(b), nil
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	switch whence {
	case io.SeekStart:
		f.at = int(offset)
	case io.SeekCurrent:
		f.at += int(offset)
	default:
		f.at = len(f.inode.data) + int(offset)
	}
	return int64(f.at), nil
}

func (f *file) Truncate(size int64) error {
	f.d.change("cutting", f.path, func() {
		if int(size) < len(f.inode.data) {
			f.inode.data = f.inode.data[:size:size]
		}
	})
	return nil
}

func (f *file) Sync() error {
	f.d.change("syncing", f.path, func() {
		if !f.d.Lazy {
			f.inode.synced = slices.Clone(f.inode.data)
		}
	})
	return nil
}

func (f *file) Close() error { return nil }
