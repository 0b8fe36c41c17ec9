// Package outputs makes lists for machines of what somebody may see: values that are reported, scored,
// aged, and kept clear of what is well known, in the languages of package format. Each is a URL with an
// ETag for a firewall, a resolver or a sensor to poll (Mount).
//
// Everything in a list comes of records that its reader may read and export: what they may not is in
// no value, score, count, ETag and serial.
package outputs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outputs/format"
	"github.com/entente-mesh/entente/node/outputs/gather"
	"github.com/entente-mesh/entente/node/outputs/score"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Step is how often scores are reckoned anew: in between a list changes only with what it is made of.
// What is reported, and what is valid when it comes, is in at once; what begins or ends to be valid
// later does so within a step.
const Step = 5 * time.Minute

func stepOf(now time.Time) uint64 { return uint64(now.Truncate(Step).UnixMilli()) }

const (
	page     = 1000 // changes that are read at a time
	attempts = 4    // passes over the records, before it is said that the rules change too fast
	// keepBytes bounds what is kept of what was gathered, for the next who asks, maxKept how many sets
	// that may be, and keepFor how long: a million values have about 280 MB. What is more than that is
	// gathered anew for each who asks, as long as what slow readers hold of it is less than maxHeld sets,
	// and not more than keepBytes.
	keepBytes = 512 << 20
	maxKept   = 32
	maxHeld   = 8
	keepFor   = 30 * time.Minute
	maxTags   = 64 // ETags that are remembered of one set
)

// Reasons why a list cannot be made at the moment.
var (
	ErrBusy = errors.New("the rules change while the records are gone through; ask again in a moment")
	ErrFull = errors.New("others are still reading lists that are not kept any more; ask again in a moment")
)

// Engine makes lists, and keeps what it gathered for the next who asks. It may be used by several
// goroutines.
type Engine struct {
	n    *node.Node
	keep int

	building chan struct{} // held by who goes through all records: one at a time

	mu   sync.Mutex
	sets map[string]*gathered
	held map[*gathered]int // how many read each
	used []string          // keys of sets, the one that was used last at the end
	idle *time.Timer       // forgets the sets when nobody asked for them for a while; nil: none was kept
}

// New returns an engine. keep says whether it is for many who ask again.
func New(n *node.Node, keep bool) *Engine {
	e := &Engine{n: n, building: make(chan struct{}, 1), sets: map[string]*gathered{}, held: map[*gathered]int{}}
	if keep {
		e.keep = keepBytes
	}
	return e
}

// gathered is what a reader may see of a view, up to a cursor.
type gathered struct {
	mu     sync.RWMutex // of all below; held for reading while a list is written
	set    *gather.Set
	view   *node.View
	cursor uint64
	sight  node.Sight
	begun  uint64 // the cursor of the last change when it was begun to be made
	again  bool   // what set.Void said when it was made
	frozen bool   // something went that is in it: it is for those who asked by begun only
	bad    bool   // it could not be brought up to date

	size atomic.Int64 // of set, about

	tagMu sync.Mutex // of tags, which are of set as it is
	tags  map[tagKey]tag
}

type tagKey struct {
	f     format.Format
	least int
	at    uint64
	lists *warninglist.Set
	name  string
}

type tag struct {
	content [32]byte
	size    int64
	values  uint64
}

// Query says which list is asked for.
type Query struct {
	View   *node.View // nil: all that the reader may see
	Format format.Format
	Least  int // the least score of what is put out; score.Default where nothing else is said
}

// name says in a comment what a list is of.
func (q *Query) name() string {
	switch {
	case q.View == nil:
		return "everything"
	case q.View.Name != "":
		return "view " + q.View.Name
	case len(q.View.Topics) == 1:
		return "topic " + q.View.Topics[0]
	}
	return "a view"
}

// Check says what is wrong with a query.
func (q *Query) Check() error {
	switch {
	case !q.Format.Valid():
		return protocol.Errorf(protocol.ErrMalformed, "format %q is not known; use one of %v", q.Format, format.Formats())
	case q.Least < 1 || q.Least > 100:
		return protocol.Errorf(protocol.ErrMalformed, "a least score is 1 to 100, not %d", q.Least)
	}
	return nil
}

// List is a list that was made, and is not written yet. It must be closed.
type List struct {
	ETag   string // without quotes
	Size   int64
	Values uint64
	Cursor uint64

	q      Query
	now    uint64
	serial uint32
	lists  *warninglist.Set
	e      *Engine
	g      *gathered
}

// Close lets go of what a list is made of.
func (l *List) Close() { l.e.release(l.g) }

// Open makes a list as of a time, and says what its ETag is. The same records, rules and
// warninglists give the same list, within a Step.
func (e *Engine) Open(ctx context.Context, r *node.Reader, q Query, now time.Time) (*List, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	_, lists, err := e.n.Warninglists()
	if err != nil {
		return nil, err
	}
	g, err := e.gather(ctx, r, q.View)
	if err != nil {
		return nil, err
	}
	l := &List{q: q, now: stepOf(now), lists: lists, e: e, g: g, Cursor: g.cursor}
	if err := l.seal(e, r); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// seal finds out what the ETag is, and the serial of a zone.
func (l *List) seal(e *Engine, r *node.Reader) error {
	key := tagKey{l.q.Format, l.q.Least, l.now, l.lists, l.q.name()}
	t, ok := l.g.tagOf(key)
	if !ok {
		h := sha256.New()
		size := &counter{w: h}
		values, err := l.write(size)
		if err != nil {
			return err
		}
		t = tag{size: size.n, values: values}
		h.Sum(t.content[:0])
		l.g.setTag(key, t)
	}
	l.Size, l.Values = t.size, t.values
	sum := t.content
	if l.q.Format == format.RPZ {
		id := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", r.Who(), protocol.Encode(viewOf(l.q.View)), l.q.Least))
		serial, err := e.n.OutputSerial(id, t.content)
		if err != nil {
			return err
		}
		// It was counted with the serial 0, of one digit.
		l.serial, l.Size = serial, l.Size-1+int64(len(fmt.Sprint(serial)))
		sum = sha256.Sum256(fmt.Appendf(t.content[:], "%d", serial))
	}
	l.ETag = hex.EncodeToString(sum[:16])
	return nil
}

func (g *gathered) tagOf(key tagKey) (tag, bool) {
	g.tagMu.Lock()
	defer g.tagMu.Unlock()
	t, ok := g.tags[key]
	return t, ok
}

func (g *gathered) setTag(key tagKey, t tag) {
	g.tagMu.Lock()
	defer g.tagMu.Unlock()
	if len(g.tags) >= maxTags {
		clear(g.tags)
	}
	g.tags[key] = t
}

func viewOf(v *node.View) *node.View {
	if v == nil {
		return &node.View{}
	}
	return v
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.w.Write(b)
}

// WriteTo writes the list.
func (l *List) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	_, err := l.write(c)
	return c.n, err
}

func (l *List) write(w io.Writer) (values uint64, err error) {
	out, err := format.NewWriter(w, l.q.Format, format.Options{View: l.q.name(), Serial: l.serial})
	if err != nil {
		return 0, err
	}
	reckon := l.g.set.Reckoner()
	for _, at := range l.g.set.Sorted() {
		it := reckon.Item(at, l.now)
		reason, hit := format.Judge(l.q.Format, &it, l.q.Least, l.lists)
		if reason != format.In {
			if it.Score > 0 { // what nobody reports any more is nothing
				out.LeaveOut(reason)
			}
			continue
		}
		values++
		if err := out.Write(&it, hit); err != nil {
			return values, err
		}
	}
	return values, out.Close()
}

// gather returns what a reader may see of a view, held for reading until release. It is never older
// than the call.
func (e *Engine) gather(ctx context.Context, r *node.Reader, v *node.View) (*gathered, error) {
	key := string(protocol.Encode(viewOf(v)))
	if sight := r.Sight(); !sight.All {
		key += r.Who()
	}
	asked, err := e.end()
	if err != nil {
		return nil, err
	}
	if g, err := e.ready(key, r, asked); g != nil || err != nil {
		return g, err
	}
	select {
	case e.building <- struct{}{}:
		defer func() { <-e.building }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// Who had the turn before may have made what is asked for.
	if g, err := e.ready(key, r, asked); g != nil || err != nil {
		return g, err
	}
	if e.full() {
		return nil, ErrFull
	}
	g, err := e.build(ctx, r, v)
	if err != nil {
		return nil, err
	}
	e.put(key, g)
	g.mu.RLock()
	e.hold(g)
	return g, nil
}

// end is the cursor of the last change.
func (e *Engine) end() (uint64, error) { return e.n.CursorAt(time.UnixMicro(math.MaxInt64)) }

// ready returns a set that is kept, held for reading, if it is not older than a cursor; nil if there is
// none.
func (e *Engine) ready(key string, r *node.Reader, asked uint64) (*gathered, error) {
	g := e.kept(key)
	if g == nil {
		return nil, nil
	}
	// Who writes a list to somebody slow holds it: then another is made, and nobody waits.
	if g.mu.TryLock() {
		err := g.catchUp(r, asked)
		g.bad = err != nil
		g.size.Store(int64(g.set.Size()))
		g.mu.Unlock()
		if err != nil {
			e.drop(key, g) // part of it may be newer than the rest
			if errors.Is(err, errStale) {
				err = nil
			}
			return nil, err
		}
		g.mu.RLock()
		if g.bad { // somebody was between
			g.mu.RUnlock()
			return nil, nil
		}
	} else {
		if !g.mu.TryRLock() {
			return nil, nil
		}
		ok, err := g.current(r, asked)
		if err != nil || !ok {
			g.mu.RUnlock()
			return nil, err
		}
	}
	e.hold(g)
	return g, nil
}

// hold notes that a set is held for reading.
func (e *Engine) hold(g *gathered) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held[g]++
}

// release lets go of a set that is held for reading.
func (e *Engine) release(g *gathered) {
	e.mu.Lock()
	if e.held[g]--; e.held[g] == 0 {
		delete(e.held, g)
	}
	e.mu.Unlock()
	g.mu.RUnlock()
}

// full reports whether those who read hold so much, beside what is kept, that no more is to be made.
func (e *Engine) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.keep == 0 {
		return false
	}
	n, size := 0, int64(0)
	kept := map[*gathered]bool{}
	for _, g := range e.sets {
		kept[g] = true
	}
	for g := range e.held {
		if !kept[g] {
			n++
			size += g.size.Load()
		}
	}
	return n >= maxHeld || size > int64(e.keep)
}

// drop forgets a set.
func (e *Engine) drop(key string, g *gathered) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sets[key] == g {
		delete(e.sets, key)
		e.used = slices.DeleteFunc(e.used, func(k string) bool { return k == key })
	}
}

func (e *Engine) kept(key string) *gathered {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.sets[key]
	if g != nil {
		e.idle.Reset(keepFor)
		e.used = append(slices.DeleteFunc(e.used, func(k string) bool { return k == key }), key)
	}
	return g
}

func (e *Engine) put(key string, g *gathered) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.keep == 0 {
		return
	}
	if e.idle == nil {
		e.idle = time.AfterFunc(keepFor, e.forget)
	}
	e.idle.Reset(keepFor)
	e.used = append(slices.DeleteFunc(e.used, func(k string) bool { return k == key }), key)
	e.sets[key] = g
	size := int64(0)
	for i := len(e.used) - 1; i >= 0; i-- {
		if size += e.sets[e.used[i]].size.Load(); size > int64(e.keep) || len(e.used)-i > maxKept {
			for _, k := range e.used[:i+1] {
				delete(e.sets, k)
			}
			e.used = slices.Clone(e.used[i+1:])
			break
		}
	}
}

func (e *Engine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.sets)
	e.used = nil
}

// errStale says that what was gathered is not what the reader would see now.
var errStale = errors.New("stale")

// sees reports whether a reader sees now what it did when the set was made.
func (g *gathered) sees(now node.Sight) bool {
	return now.Same(g.sight) && time.Now().Before(g.sight.Until) && time.Now().Before(now.Until)
}

// current reports whether nothing happened since that the set is made of.
func (g *gathered) current(r *node.Reader, asked uint64) (bool, error) {
	if g.bad || !g.sees(r.Sight()) {
		return false, nil
	}
	if g.frozen {
		return g.begun >= asked, nil
	}
	for at := g.cursor; ; {
		list, next, err := r.Changes(nil, at, page)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(list, func(c node.Change) bool { return g.made(&c) }) {
			return false, nil
		}
		if next == at {
			return g.sees(r.Sight()), nil
		}
		at = next
	}
}

// catchUp takes what came since, and takes out what went. Where that cannot be done, or the rules are
// others, it returns errStale. After an error the set is not to be used.
func (g *gathered) catchUp(r *node.Reader, asked uint64) error {
	switch {
	case g.bad, !g.sees(r.Sight()):
		return errStale
	case g.frozen && g.begun >= asked:
		return nil
	case g.frozen:
		return errStale
	}
	if ok, err := g.follow(context.Background(), r, 0); err != nil {
		return err
	} else if !ok {
		return errStale
	}
	if _, again := g.set.Void(); again != g.again {
		return errStale
	}
	after := r.Sight()
	if !g.sees(after) {
		return errStale
	}
	if after.Until.Before(g.sight.Until) {
		g.sight.Until = after.Until
	}
	g.set.Sorted()
	return nil
}

// build goes through all records. Which rules come meanwhile makes it begin again, and nothing that
// others do: of what goes meanwhile, what cannot be taken out again is left as it was when it was
// asked for, for those who asked by then.
func (e *Engine) build(ctx context.Context, r *node.Reader, v *node.View) (*gathered, error) {
	var void map[[16]byte]bool
	for try := range attempts {
		g := &gathered{view: v, sight: r.Sight(), tags: map[tagKey]tag{}}
		g.set = gather.New(e.n.Org(), kindsOf(v), void)
		var err error
		if g.begun, err = e.end(); err != nil {
			return nil, err
		}
		whole, err := g.follow(ctx, r, g.begun)
		if err != nil {
			return nil, err
		}
		void, g.again = g.set.Void()
		after := r.Sight()
		if !after.Same(g.sight) || !time.Now().Before(after.Until) {
			continue
		}
		if g.again && try == 0 {
			continue // those that were revoked are known now, but for what is revoked after this
		}
		g.frozen = !whole || g.again
		g.sight = after
		g.set.Sorted()
		g.size.Store(int64(g.set.Size()))
		return g, nil
	}
	return nil, ErrBusy
}

// follow takes all changes after g.cursor. It returns false if some went, or came again, that the set
// is made of and that cannot be followed. What records are says already what became of them up to the
// cursor begun.
func (g *gathered) follow(ctx context.Context, r *node.Reader, begun uint64) (whole bool, err error) {
	whole = true
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		list, next, err := r.Changes(nil, g.cursor, page)
		if err != nil {
			return false, err
		}
		gone := map[uint64]string{}
		for i := range list {
			c := &list[i]
			switch {
			case !g.made(c):
				continue
			case c.Kind == node.ChangeAdded:
				add(g.set, c.Record)
			case c.Cursor <= begun:
				continue
			case c.Kind == node.ChangeRestored:
				whole = false
			default:
				gone[c.About().Cursor] = c.About().Type
			}
			clear(g.tags)
		}
		whole = g.set.Remove(gone) && whole
		if next == g.cursor {
			return whole, nil
		}
		g.cursor = next
	}
}

// made reports whether a change is of a record of which the set may be made. The view says which
// reports that are; what others saw of them, and think of them, counts whether or not it is in the view,
// if the reader may see it.
func (g *gathered) made(c *node.Change) bool {
	switch c.About().Type {
	case "indicator":
		return c.Record == nil || g.view.Holds(c.Record)
	case "sighting", "opinion":
		return true
	}
	return false
}

func kindsOf(v *node.View) []stix.Kind {
	if v == nil {
		return nil
	}
	return v.Kinds
}

// add gathers a record.
func add(s *gather.Set, rec *node.Record) {
	if rec == nil || rec.Withdrawn {
		return
	}
	o, err := stix.Parse(rec.Object)
	if err != nil {
		return
	}
	s.Add(recordOf(rec, o))
}

func recordOf(rec *node.Record, o *stix.Object) *gather.Record {
	// What cannot be read here was checked when it came; the strictest is never too little.
	tlp, err := protocol.ParseTLP(rec.Handling.TLP)
	if err != nil {
		tlp = protocol.TLPRed
	}
	pap := protocol.PAPUnset
	if rec.Handling.PAP != "" {
		if pap, err = protocol.ParsePAP(rec.Handling.PAP); err != nil {
			pap = protocol.PAPRed
		}
	}
	return &gather.Record{Cursor: rec.Cursor, Originator: rec.Originator.ID, Received: uint64(max(rec.Received.UnixMilli(), 0)), Withdrawn: rec.Withdrawn,
		Withheld: rec.Withheld, TLP: tlp, PAP: pap, Object: o, Assessment: rec.Assessment}
}

// Explanation says why a value is in lists, and why it is not.
type Explanation struct {
	Value    string           `json:"value"`
	Kind     stix.Kind        `json:"kind"`
	Score    int              `json:"score"`
	Least    int              `json:"least"` // the score from which it is put out
	Sources  int              `json:"sources"`
	Seen     int              `json:"seen"`
	Reports  []Report         `json:"reports"`
	Disputes []Disputed       `json:"disputes,omitempty"`
	Listed   *warninglist.Hit `json:"warninglist,omitempty"`
	Formats  []Verdict        `json:"formats"`
}

// Report is what one object adds.
type Report struct {
	Record     protocol.RecordID `json:"record"`
	StixID     string            `json:"stix_id"`
	Originator node.OrgRef       `json:"originator"`
	Base       int               `json:"base"`  // its score when it was made
	Score      int               `json:"score"` // of it alone, now
	Confirmed  time.Time         `json:"confirmed"`
	From       time.Time         `json:"valid_from,omitzero"`
	Until      time.Time         `json:"valid_until,omitzero"`
	Lifetime   int               `json:"lifetime_days"`
	Seen       int               `json:"seen,omitempty"`
	PAP        string            `json:"pap,omitempty"`
	Copy       bool              `json:"origin_withheld,omitempty"`
}

// Disputed is who says that the value is wrong.
type Disputed struct {
	By      protocol.OrgID `json:"by"`
	Opinion string         `json:"opinion"`
}

// Verdict is whether a format holds the value.
type Verdict struct {
	Format format.Format `json:"format"`
	In     bool          `json:"in"`
	Reason string        `json:"reason,omitempty"`
	Text   string        `json:"text"`
}

// Explain accounts for a value: in which lists it is for a reader, and why, or why not.
func (e *Engine) Explain(ctx context.Context, r *node.Reader, v *node.View, text string, least int, now time.Time) (*Explanation, error) {
	o, ok := stix.Canonical(text)
	if !ok {
		return nil, protocol.Errorf(protocol.ErrMalformed, "%q is no observable: give an address, a domain, a URL, a hash", text)
	}
	_, lists, err := e.n.Warninglists()
	if err != nil {
		return nil, err
	}
	g, err := e.gather(ctx, r, v)
	if err != nil {
		return nil, err
	}
	defer e.release(g)
	at := stepOf(now)
	it, parts, disputes, known := g.set.Explain(o, at)
	x := &Explanation{Value: o.Value, Kind: o.Kind, Score: it.Score, Least: least, Sources: it.Sources, Seen: it.Seen, Reports: []Report{}}
	if hit, ok := lists.Match(o, true); ok {
		x.Listed = &hit
	}
	for _, p := range parts {
		rep := Report{Base: p.Base, Score: p.Score, Confirmed: timeOf(p.Since), From: timeOf(p.From), Until: timeOf(p.Until), Lifetime: score.Lifetime(o.Kind), Seen: p.Seen, Copy: p.Copy}
		if p.PAP != protocol.PAPUnset {
			rep.PAP = p.PAP.String()
		}
		list, _, err := r.Changes(nil, p.Cursor-1, 1)
		if err != nil {
			return nil, err
		}
		if len(list) == 1 && list[0].Cursor == p.Cursor && list[0].Record != nil {
			rec := list[0].Record
			rep.Record, rep.StixID, rep.Originator = rec.ID, rec.StixID, rec.Originator
		}
		x.Reports = append(x.Reports, rep)
	}
	for by, opinion := range disputes {
		x.Disputes = append(x.Disputes, Disputed{by, opinion})
	}
	slices.SortFunc(x.Disputes, func(a, b Disputed) int { return slices.Compare(a.By[:], b.By[:]) })
	for _, name := range format.Formats() {
		verdict := Verdict{Format: format.Format(name), Text: "nothing that you may see reports it"}
		if known {
			reason, _ := format.Judge(verdict.Format, &it, least, lists)
			verdict.In, verdict.Reason, verdict.Text = reason == format.In, string(reason), reason.String()
		}
		x.Formats = append(x.Formats, verdict)
	}
	return x, nil
}

func timeOf(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(min(ms, 1<<53))).UTC()
}
