package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/entente-mesh/entente/node"
)

// maxRunning bounds the folders that are run at once, and the other sources.
const maxRunning = 4

// Runner runs the sources of a node when they are due.
type Runner struct {
	n     *node.Node
	log   *slog.Logger
	slots chan struct{}
	local chan struct{} // slots of folders, which wait for no server

	mu      sync.Mutex
	running map[string]bool
	touched map[string]time.Time // folders in which something happened, and when to look
	folders map[string]*memory
	wake    chan struct{}
}

// New makes a runner. A process has one for a node.
func New(n *node.Node, log *slog.Logger) *Runner {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Runner{n: n, log: log, slots: make(chan struct{}, maxRunning), local: make(chan struct{}, maxRunning), running: map[string]bool{}, touched: map[string]time.Time{}, folders: map[string]*memory{}, wake: make(chan struct{}, 1)}
}

// Run runs sources until ctx ends, and returns when none runs any more.
func (r *Runner) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	w := r.watch(ctx, &wg)
	for {
		changed := r.n.SourcesChanged()
		next := r.due(ctx, w, &wg)
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// lookEvery bounds how long nobody looks whether a source is due.
const lookEvery = time.Minute

// due starts the sources that are due, and says when to look again.
func (r *Runner) due(ctx context.Context, w *watcher, wg *sync.WaitGroup) time.Duration {
	list, err := r.n.Sources()
	if err != nil {
		r.log.Error("reading sources failed", "err", err)
		return lookEvery
	}
	w.follow(list)
	now := time.Now()
	next := now.Add(lookEvery)
	for i := range list {
		src := &list[i]
		if src.Paused || r.n.Ownerless(src.Person) != "" {
			continue
		}
		st, err := r.n.SourceState(src.Name)
		if err != nil {
			continue // it was removed a moment ago
		}
		at := now
		switch {
		case st.Manual:
			at = now.Add(2 * lookEvery)
		case st.Next != nil:
			at = *st.Next
		}
		r.mu.Lock()
		touch, touched := r.touched[src.Name]
		if touched && touch.Before(at) {
			at = touch
		}
		if at.After(now) || r.running[src.Name] {
			if at.After(now) && at.Before(next) {
				next = at
			}
			r.mu.Unlock()
			continue
		}
		r.running[src.Name] = true
		delete(r.touched, src.Name)
		r.mu.Unlock()
		wg.Go(func() { r.one(ctx, src.Name, src.Kind) })
	}
	return max(time.Until(next), time.Millisecond)
}

// one runs a source.
func (r *Runner) one(ctx context.Context, name string, kind node.SourceKind) {
	defer func() {
		r.mu.Lock()
		delete(r.running, name)
		r.mu.Unlock()
		r.look()
	}()
	slots := r.slots
	if kind == node.SourceFolder {
		slots = r.local
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return
	}
	rep, err := runSource(ctx, r.n, name, Options{}, r.puller)
	switch {
	case ctx.Err() != nil, errors.Is(err, node.ErrNotFound):
	case errors.Is(err, node.ErrSourceBusy):
		r.mu.Lock()
		r.touched[name] = time.Now().Add(time.Second)
		r.mu.Unlock()
	case err != nil:
		r.log.Error("running a source failed", "source", name, "err", err)
		r.mu.Lock()
		r.touched[name] = time.Now().Add(firstBackoff) // the store could not be written: nothing is noted there
		r.mu.Unlock()
	case rep.Error != "":
		r.log.Warn("a source failed", "source", name, "why", rep.Error)
	case rep.Counts.Published+rep.Counts.SetAside+rep.Counts.Withdrawn > 0:
		r.log.Info("a source was taken", "source", name, "published", rep.Counts.Published, "held", rep.Counts.Held, "set_aside", rep.Counts.SetAside, "withdrawn", rep.Counts.Withdrawn)
	}
}

func (r *Runner) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Runner) puller(src *node.Source, st *node.SourceState, s *sifter) (Puller, error) {
	p, err := newPuller(src, st, s, r.n.Proxy())
	if f, ok := p.(*folder); ok {
		id := fmt.Sprintf("%s\x00%s\x00%d", src.Where, src.Added, src.MaxBytes)
		r.mu.Lock()
		if r.folders[id] == nil {
			r.folders[id] = new(memory)
		}
		f.memory = r.folders[id]
		r.mu.Unlock()
	}
	return p, err
}

// watcher tells when something happens in folders. What it misses is found at the next regular look.
type watcher struct {
	r   *Runner
	fs  *fsnotify.Watcher // nil: the system gives none
	mu  sync.Mutex
	dir map[string][]string // names of sources by folder
}

func (r *Runner) watch(ctx context.Context, wg *sync.WaitGroup) *watcher {
	w := &watcher{r: r, dir: map[string][]string{}}
	var err error
	if w.fs, err = fsnotify.NewWatcher(); err != nil {
		r.log.Warn("folders cannot be watched, and are looked at by their schedules only", "err", err)
		return w
	}
	wg.Go(func() {
		defer w.fs.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-w.fs.Events:
				if e.Has(fsnotify.Create) || e.Has(fsnotify.Write) || e.Has(fsnotify.Rename) {
					w.touched(e.Name)
				}
			case err := <-w.fs.Errors:
				r.log.Warn("watching folders", "err", err)
				w.touched("") // events were lost
			}
		}
	})
	return w
}

// touched has the sources of a folder looked at, once nothing happens in it for a while; "": of all.
func (w *watcher) touched(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.r.mu.Lock()
	for dir, names := range w.dir {
		if path == "" || len(path) > len(dir) && path[:len(dir)] == dir {
			for _, name := range names {
				w.r.touched[name] = time.Now().Add(settle)
			}
		}
	}
	w.r.mu.Unlock()
	w.r.look()
}

// follow watches the folders of sources, and no others.
func (w *watcher) follow(list []node.Source) {
	if w.fs == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	want := map[string][]string{}
	for i := range list {
		if list[i].Kind == node.SourceFolder && !list[i].Paused {
			want[list[i].Where] = append(want[list[i].Where], list[i].Name)
		}
	}
	for dir := range w.dir {
		if want[dir] == nil {
			_ = w.fs.Remove(dir) // it may be gone
			delete(w.dir, dir)
		}
	}
	for dir, names := range want {
		if w.dir[dir] == nil {
			if err := w.fs.Add(dir); err != nil {
				continue // it is not there yet: the next look tries again, and the run says so
			}
		}
		w.dir[dir] = names
	}
}
