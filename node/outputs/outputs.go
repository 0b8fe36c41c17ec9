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
	attempts = 4    // passes over the records, before it is said that they change too fast
	// keepBytes bounds what is kept of what was gathered, for the next who asks, maxKept how many sets
	// that may be, and keepFor how long: a million values have about 280 MB. What is more than that is
	// gathered anew for each who asks.
	keepBytes = 512 << 20
	maxKept   = 32
	keepFor   = 30 * time.Minute
	maxTags   = 64 // ETags that are remembered of one set
)

// ErrBusy is returned while records are erased or withdrawn faster than they can be gone through.
var ErrBusy = errors.New("records are being erased or withdrawn; ask again in a moment")

// Engine makes lists, and keeps what it gathered for the next who asks. It may be used by several
// goroutines.
type Engine struct {
	n    *node.Node
	keep int

	building chan struct{} // held by who goes through all records: one at a time

	mu   sync.Mutex
	sets map[string]*gathered
	used []string    // keys of sets, the one that was used last at the end
	idle *time.Timer // forgets the sets when nobody asked for them for a while; nil: none was kept
}

// New returns an engine. keep says whether it is for many who ask again.
func New(n *node.Node, keep bool) *Engine {
	e := &Engine{n: n, building: make(chan struct{}, 1), sets: map[string]*gathered{}}
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
	g      *gathered
}

// Close lets go of what a list is made of.
func (l *List) Close() { l.g.mu.RUnlock() }

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
	l := &List{q: q, now: stepOf(now), lists: lists, g: g, Cursor: g.cursor}
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

// gather returns what a reader may see of a view, held for reading. It is never older than the call.
func (e *Engine) gather(ctx context.Context, r *node.Reader, v *node.View) (*gathered, error) {
	key := string(protocol.Encode(viewOf(v)))
	if sight := r.Sight(); !sight.All {
		key += r.Who()
	}
	if g := e.kept(key); g != nil {
		// Who writes a list to somebody slow holds it: then another is made, and nobody waits.
		if g.mu.TryLock() {
			err := g.catchUp(r)
			g.mu.Unlock()
			if err == nil {
				g.mu.RLock()
				return g, nil
			}
			if !errors.Is(err, errStale) {
				return nil, err
			}
		} else if g.mu.TryRLock() {
			if ok, err := g.current(r); ok || err != nil {
				if err != nil {
					g.mu.RUnlock()
				}
				return g, err
			}
			g.mu.RUnlock()
		}
	}
	select {
	case e.building <- struct{}{}:
		defer func() { <-e.building }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	g, err := e.build(ctx, r, v)
	if err != nil {
		return nil, err
	}
	e.put(key, g)
	g.mu.RLock()
	return g, nil
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
	size := 0
	for i := len(e.used) - 1; i >= 0; i-- {
		if size += e.sets[e.used[i]].set.Size(); size > e.keep || len(e.used)-i > maxKept {
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

// current reports whether nothing happened since.
func (g *gathered) current(r *node.Reader) (bool, error) {
	list, next, err := r.Changes(nil, g.cursor, 1)
	if err != nil {
		return false, err
	}
	now := r.Sight()
	return len(list) == 0 && next == g.cursor && now.Same(g.sight) && time.Now().Before(g.sight.Until), nil
}

// catchUp takes what came since. Where something went, or the rules are others, it returns errStale.
func (g *gathered) catchUp(r *node.Reader) error {
	if !r.Sight().Same(g.sight) || !time.Now().Before(g.sight.Until) {
		return errStale
	}
	void, _ := g.set.Void()
	for {
		list, next, err := r.Changes(nil, g.cursor, page)
		if err != nil {
			return err
		}
		for i := range list {
			if list[i].Kind != node.ChangeAdded {
				return errStale
			}
			add(g.set, g.view, list[i].Record)
			clear(g.tags)
		}
		if next == g.cursor {
			break
		}
		g.cursor = next
	}
	if now, again := g.set.Void(); again && len(now) != len(void) {
		return errStale
	}
	after := r.Sight()
	if !after.Same(g.sight) || !time.Now().Before(after.Until) {
		return errStale
	}
	if after.Until.Before(g.sight.Until) {
		g.sight.Until = after.Until
	}
	g.set.Sorted()
	return nil
}

// build goes through all records. What is erased or withdrawn, or which rules come, meanwhile, makes it
// begin again.
func (e *Engine) build(ctx context.Context, r *node.Reader, v *node.View) (*gathered, error) {
	var void map[[16]byte]bool
	for range attempts {
		g := &gathered{view: v, sight: r.Sight(), tags: map[tagKey]tag{}}
		g.set = gather.New(e.n.Org(), kindsOf(v), void)
		begun, err := e.n.CursorAt(time.UnixMicro(math.MaxInt64))
		if err != nil {
			return nil, err
		}
		whole, err := g.pass(ctx, r, begun)
		if err != nil {
			return nil, err
		}
		var again bool
		void, again = g.set.Void()
		after := r.Sight()
		if !whole || again || !after.Same(g.sight) || !time.Now().Before(after.Until) {
			continue
		}
		g.sight = after
		g.set.Sorted()
		return g, nil
	}
	return nil, ErrBusy
}

// pass adds all records. It returns false if one went that may have been added: begun is the cursor at
// which the pass began.
func (g *gathered) pass(ctx context.Context, r *node.Reader, begun uint64) (bool, error) {
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		list, next, err := r.Changes(nil, g.cursor, page)
		if err != nil {
			return false, err
		}
		for i := range list {
			c := &list[i]
			switch {
			case c.Kind == node.ChangeAdded:
				add(g.set, g.view, c.Record)
			case c.Cursor > begun:
				return false, nil
			}
		}
		if next == g.cursor {
			return true, nil
		}
		g.cursor = next
	}
}

func kindsOf(v *node.View) []stix.Kind {
	if v == nil {
		return nil
	}
	return v.Kinds
}

// add gathers a record. The view says which reports a list is made of; what others saw of them, and
// think of them, counts whether or not it is in the view, if the reader may see it.
func add(s *gather.Set, v *node.View, rec *node.Record) {
	if rec == nil || rec.Withdrawn {
		return
	}
	switch rec.Type {
	case "indicator":
		if !v.Holds(rec) {
			return
		}
	case "sighting", "opinion":
	default:
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
	defer g.mu.RUnlock()
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
