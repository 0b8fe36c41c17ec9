package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// A sink is a receiver to which this node delivers changes by itself. What stands here is what a node
// keeps of it; package stream delivers. Sinks are this node's own: siblings number changes by
// themselves, and would deliver everything once more.

// SinkKind is how a sink is spoken to.
type SinkKind string

// The kinds of sinks.
const (
	SinkWebhook SinkKind = "webhook"
	SinkNATS    SinkKind = "nats"
	SinkSyslog  SinkKind = "syslog"
)

// SinkFormat is what a sink is sent of a change.
type SinkFormat string

// The formats.
const (
	SinkJSON SinkFormat = "json" // Change
	SinkSTIX SinkFormat = "stix" // the STIX object, marked with the TLP of its record
	SinkCEF  SinkFormat = "cef"  // ArcSight's Common Event Format; of syslog only
)

// Bounds on sinks.
const (
	MaxSinks      = 64
	MaxSinkBatch  = 1000
	maxSinkURL    = 2048
	maxSinkSecret = 16 << 10
	maxSinkRoots  = 64 << 10
	maxSinkText   = 512 // of an error
	maxSinkName   = 64
	maxSinkReader = 256
)

var sinkName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// Sink says what is delivered where, as a person set it.
type Sink struct {
	Name    string     `json:"name"` // [a-z0-9-]{1,64}
	Kind    SinkKind   `json:"kind"`
	URL     string     `json:"url"`
	View    string     `json:"view,omitempty"` // empty: everything that the reader may read and export
	Reader  string     `json:"reader"`         // as whom it reads: local rules apply
	Format  SinkFormat `json:"format"`
	Batch   int        `json:"batch"`                   // changes delivered at once
	Private bool       `json:"allow_private,omitempty"` // loopback, link-local and private addresses may be called
	Plain   bool       `json:"allow_plain,omitempty"`   // without TLS
	Roots   []byte     `json:"roots,omitempty"`         // PEM certificates that are trusted in place of the system's
	Stream  string     `json:"stream,omitempty"`        // JetStream stream that is made if there is none
	Subject string     `json:"subject,omitempty"`       // NATS: what subjects begin with
	Secret  SinkSecret `json:"-"`
	// Owner is who set it up last, one of the people: it stands still when they leave. "" where the node had none.
	Owner string `json:"owner,omitempty"`
}

// SinkSecret is what a receiver is authenticated by, or a message to it. It does not print, neither as
// text nor as JSON.
type SinkSecret struct{ b []byte }

// NewSinkSecret keeps a secret.
func NewSinkSecret(b []byte) SinkSecret { return SinkSecret{slices.Clone(b)} }

// Unsafe returns the secret, for who signs or logs in with it.
func (s SinkSecret) Unsafe() []byte { return s.b }

// IsZero reports whether there is none.
func (s SinkSecret) IsZero() bool { return len(s.b) == 0 }

// String implements fmt.Stringer.
func (s SinkSecret) String() string {
	if s.IsZero() {
		return ""
	}
	return "(secret)"
}

// GoString implements fmt.GoStringer.
func (s SinkSecret) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler: the secret stays here.
func (s SinkSecret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SinkProgress is how far a sink has come. It is stored after the receiver acknowledged what it tells of.
type SinkProgress struct {
	Cursor    uint64    `json:"cursor"`                 // everything up to it was acknowledged, or is not for this sink
	UpTo      uint64    `json:"-"`                      // where the batch ends that is tried again, so that it stays the same one; 0: none is
	Delivered uint64    `json:"delivered"`              // changes acknowledged
	Last      time.Time `json:"last,omitzero"`          // when something was acknowledged last
	Behind    time.Time `json:"behind_since,omitzero"`  // since when there is always more to deliver
	Failing   time.Time `json:"failing_since,omitzero"` // since when nothing could be delivered
	Attempts  uint32    `json:"attempts,omitempty"`     // that failed since
	Retry     time.Time `json:"retry,omitzero"`         // when it is tried again
	Error     string    `json:"error,omitempty"`        // of the last attempt
	Stopped   time.Time `json:"stopped,omitzero"`       // the receiver said that it wants nothing more
}

// SinkInfo is a sink and how far it has come.
type SinkInfo struct {
	Sink
	SinkProgress
	Created time.Time `json:"created"`
	Run     uint64    `json:"-"` // changes with whatever a person changes of it
}

// sinkDoc is a sink as it is kept, under its name.
type sinkDoc struct {
	_        struct{} `cbor:",toarray"`
	Run      uint64
	Created  uint64 // Unix milliseconds
	Kind     string
	URL      string
	View     string
	Reader   string
	Format   string
	Batch    uint32
	Private  bool
	Plain    bool
	Roots    []byte
	Stream   string
	Subject  string
	Secret   []byte
	Progress sinkProgressDoc
	Owner    string // "": nobody, and not written: release 0.1 knew none
}

type (
	sinkDoc02 sinkDoc
	sinkDoc01 struct {
		_        struct{} `cbor:",toarray"`
		Run      uint64
		Created  uint64
		Kind     string
		URL      string
		View     string
		Reader   string
		Format   string
		Batch    uint32
		Private  bool
		Plain    bool
		Roots    []byte
		Stream   string
		Subject  string
		Secret   []byte
		Progress sinkProgressDoc
	}
)

// MarshalCBOR implements cbor.Marshaler.
func (d sinkDoc) MarshalCBOR() ([]byte, error) {
	if d.Owner == "" {
		return protocol.Encode(&sinkDoc01{Run: d.Run, Created: d.Created, Kind: d.Kind, URL: d.URL, View: d.View, Reader: d.Reader, Format: d.Format, Batch: d.Batch, Private: d.Private,
			Plain: d.Plain, Roots: d.Roots, Stream: d.Stream, Subject: d.Subject, Secret: d.Secret, Progress: d.Progress}), nil
	}
	return protocol.Encode((*sinkDoc02)(&d)), nil
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (d *sinkDoc) UnmarshalCBOR(b []byte) error {
	var old sinkDoc01
	if protocol.DecodeOwn(b, &old) == nil {
		*d = sinkDoc{Run: old.Run, Created: old.Created, Kind: old.Kind, URL: old.URL, View: old.View, Reader: old.Reader, Format: old.Format, Batch: old.Batch, Private: old.Private,
			Plain: old.Plain, Roots: old.Roots, Stream: old.Stream, Subject: old.Subject, Secret: old.Secret, Progress: old.Progress}
		return nil
	}
	return protocol.DecodeOwn(b, (*sinkDoc02)(d))
}

// sinkProgressDoc is a SinkProgress; times are Unix milliseconds, 0: none.
type sinkProgressDoc struct {
	_         struct{} `cbor:",toarray"`
	Cursor    uint64
	UpTo      uint64
	Delivered uint64
	Last      uint64
	Behind    uint64
	Failing   uint64
	Attempts  uint32
	Retry     uint64
	Error     string
	Stopped   uint64
}

func docTime(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMilli(), 0))
}

func timeOf(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return millis(ms)
}

func (p *SinkProgress) doc() sinkProgressDoc {
	return sinkProgressDoc{Cursor: p.Cursor, UpTo: p.UpTo, Delivered: p.Delivered, Last: docTime(p.Last), Behind: docTime(p.Behind), Failing: docTime(p.Failing),
		Attempts: p.Attempts, Retry: docTime(p.Retry), Error: audit.Clip(p.Error, maxSinkText), Stopped: docTime(p.Stopped)}
}

func (d *sinkProgressDoc) progress() SinkProgress {
	return SinkProgress{Cursor: d.Cursor, UpTo: d.UpTo, Delivered: d.Delivered, Last: timeOf(d.Last), Behind: timeOf(d.Behind), Failing: timeOf(d.Failing),
		Attempts: d.Attempts, Retry: timeOf(d.Retry), Error: d.Error, Stopped: timeOf(d.Stopped)}
}

func (s *Sink) doc() *sinkDoc {
	return &sinkDoc{Kind: string(s.Kind), URL: s.URL, View: s.View, Reader: s.Reader, Format: string(s.Format), Batch: uint32(s.Batch), Private: s.Private,
		Plain: s.Plain, Roots: s.Roots, Stream: s.Stream, Subject: s.Subject, Secret: s.Secret.b, Owner: s.Owner}
}

func (d *sinkDoc) info(name string) *SinkInfo {
	return &SinkInfo{Sink: Sink{Name: name, Kind: SinkKind(d.Kind), URL: d.URL, View: d.View, Reader: d.Reader, Format: SinkFormat(d.Format), Batch: int(d.Batch),
		Private: d.Private, Plain: d.Plain, Roots: d.Roots, Stream: d.Stream, Subject: d.Subject, Secret: SinkSecret{d.Secret}, Owner: d.Owner},
		SinkProgress: d.Progress.progress(), Created: millis(d.Created), Run: d.Run}
}

// checkSinkDoc checks what can be kept; what can be delivered to, package stream knows.
func checkSinkDoc(name string, d *sinkDoc) error {
	malformed := func(format string, args ...any) error {
		return protocol.Errorf(protocol.ErrMalformed, "sink %q: "+format, append([]any{name}, args...)...)
	}
	switch {
	case !sinkName.MatchString(name):
		return malformed("a name has 1 to %d of a-z, 0-9 and '-'", maxSinkName)
	case !slices.Contains([]string{string(SinkWebhook), string(SinkNATS), string(SinkSyslog)}, d.Kind):
		return malformed("there is no kind %q; use webhook, nats or syslog", d.Kind)
	case !slices.Contains([]string{string(SinkJSON), string(SinkSTIX), string(SinkCEF)}, d.Format):
		return malformed("there is no format %q; use json, stix or cef", d.Format)
	case d.Batch == 0 || d.Batch > MaxSinkBatch:
		return malformed("a batch has 1 to %d changes", MaxSinkBatch)
	case d.URL == "" || len(d.URL) > maxSinkURL:
		return malformed("an address has 1 to %d bytes", maxSinkURL)
	case d.Owner != "" && !protocol.IsPersonName(d.Owner):
		return malformed("%q is the name of no person who could own it", audit.Clip(d.Owner, protocol.MaxPersonName))
	case len(d.Reader) > maxSinkReader || len(d.View) > maxSinkName || len(d.Stream) > maxSinkName || len(d.Subject) > maxSinkName || len(d.Progress.Error) > maxSinkText:
		return malformed("a text is too long")
	case len(d.Secret) > maxSinkSecret:
		return malformed("its secret has more than %d bytes", maxSinkSecret)
	case len(d.Roots) > maxSinkRoots:
		return malformed("its certificates have more than %d bytes", maxSinkRoots)
	case !utf8.ValidString(d.URL + d.Reader + d.View + d.Stream + d.Subject + d.Progress.Error):
		return malformed("a text is not UTF-8")
	}
	return nil
}

// ErrSinkChanged is returned to who delivers to a sink that a person changed or removed meanwhile.
var ErrSinkChanged = errors.New("the sink was changed or removed")

// SetSink keeps a sink, which delivers what comes after a cursor. One of the same name is refused, or,
// with replace, becomes this one and keeps its place; from is not used then.
func (n *Node) SetSink(ctx context.Context, s Sink, from uint64, replace bool) (*SinkInfo, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	s.Owner = n.ownerOf(CallerOf(ctx)) // of one that is changed, too: whoever says where it goes answers for it
	d := s.doc()
	now := uint64(nowMillis())
	d.Created, d.Run, d.Progress.Cursor = now, newSinkRun(), from
	if err := checkSinkDoc(s.Name, d); err != nil {
		return nil, err
	}
	if err := n.checkCursor(from); err != nil {
		return nil, err
	}
	err := n.st.Update(func(tx *store.Tx) error {
		count := 0
		if err := scanDocs(tx, kindSink, func([]byte, *sinkDoc) error { count++; return nil }); err != nil {
			return err
		}
		act := "add sink"
		var was sinkDoc
		if held, err := getDoc(tx, kindSink, []byte(s.Name), &was); err != nil {
			return err
		} else if held && !replace {
			return protocol.Errorf(protocol.ErrMalformed, "there is a sink %q; remove it first, or replace it, which keeps its place", s.Name)
		} else if held {
			act, d.Created = "change sink", was.Created
			d.Progress = sinkProgressDoc{Cursor: was.Progress.Cursor, Delivered: was.Progress.Delivered, Last: was.Progress.Last, Behind: was.Progress.Behind}
		} else if count >= MaxSinks {
			return protocol.Errorf(protocol.ErrOversize, "there are %d sinks, as many as there may be; remove one", count)
		}
		return errors.Join(n.auditSink(tx, CallerOf(ctx), act, s.Name, d), putDoc(tx, kindSink, []byte(s.Name), d))
	})
	if err != nil {
		return nil, err
	}
	n.changes.notify()
	return d.info(s.Name), nil
}

// newSinkRun is at random: a sink that is removed and set again at once is another one.
func newSinkRun() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// checkCursor refuses a cursor that this node has not given.
func (n *Node) checkCursor(cursor uint64) error {
	last, err := n.CursorAt(time.UnixMilli(nowMillis()).AddDate(100, 0, 0)) // whatever the clock said
	if err == nil && cursor > last {
		err = protocol.Errorf(protocol.ErrMalformed, "this node has not given cursor %d yet; the last one is %d", cursor, last)
	}
	return err
}

// changeSink changes a sink on behalf of a person; what is delivered to it meanwhile does not count.
func (n *Node) changeSink(ctx context.Context, name, act string, fn func(tx *store.Tx, d *sinkDoc) error) error {
	err := n.st.Update(func(tx *store.Tx) error {
		var d sinkDoc
		if ok, err := getDoc(tx, kindSink, []byte(name), &d); err != nil {
			return err
		} else if !ok {
			return fmt.Errorf("sink %q: %w", name, ErrNotFound)
		}
		d.Run = newSinkRun()
		return errors.Join(fn(tx, &d), n.auditSink(tx, CallerOf(ctx), act, name, &d))
	})
	if err == nil {
		n.changes.notify()
	}
	return err
}

// RemoveSink ends a sink. What it delivered stays delivered.
func (n *Node) RemoveSink(ctx context.Context, name string) error {
	return n.changeSink(ctx, name, "remove sink", func(tx *store.Tx, _ *sinkDoc) error {
		return tx.Delete(append([]byte(kindSink), name...))
	})
}

// ReplaySink has a sink deliver what comes after a cursor, again or leaving something out, also one that
// stopped.
func (n *Node) ReplaySink(ctx context.Context, name string, from uint64) error {
	if err := n.checkCursor(from); err != nil {
		return err
	}
	return n.changeSink(ctx, name, fmt.Sprintf("replay sink from %d", from), func(tx *store.Tx, d *sinkDoc) error {
		d.Progress = sinkProgressDoc{Cursor: from, Delivered: d.Progress.Delivered, Last: d.Progress.Last}
		if n.Ownerless(d.Owner) != "" {
			d.Owner = n.ownerOf(CallerOf(ctx))
		}
		return putDoc(tx, kindSink, []byte(name), d)
	})
}

// auditSink notes what a person did with a sink, in the transaction that does it.
func (n *Node) auditSink(tx *store.Tx, c Caller, act, name string, d *sinkDoc) error {
	e := n.details(act, c)
	view := "everything"
	if d.View != "" {
		view = "view " + d.View
	}
	e.Text = audit.Clip(fmt.Sprintf("%s, a %s at %s: %s as %s, read as %s%s", name, d.Kind, withoutQuery(d.URL), view, d.Format, d.Reader, map[bool]string{true: ", owned by " + d.Owner}[d.Owner != ""]), audit.MaxText)
	_, err := n.account.Append(tx, audit.Access, e)
	return err
}

// withoutQuery leaves out what of an address may be a token.
func withoutQuery(text string) string {
	if at := strings.IndexByte(text, '?'); at >= 0 {
		return text[:at] + "?…"
	}
	return text
}

// Sinks lists the sinks by name.
func (n *Node) Sinks() ([]SinkInfo, error) {
	list := []SinkInfo{}
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindSink, func(id []byte, d *sinkDoc) error {
			list = append(list, *d.info(string(id)))
			return nil
		})
	})
	return list, err
}

// Sink returns one; ErrNotFound if there is none.
func (n *Node) Sink(name string) (*SinkInfo, error) {
	var info *SinkInfo
	err := n.st.View(func(tx *store.Tx) error {
		var d sinkDoc
		ok, err := getDoc(tx, kindSink, []byte(name), &d)
		if err == nil && !ok {
			err = fmt.Errorf("sink %q: %w", name, ErrNotFound)
		}
		info = d.info(name)
		return err
	})
	return info, err
}

// sinkReader returns the principal as whom a sink reads. Where there is a people file, it has to name them:
// who left reads nothing any more.
func (n *Node) sinkReader(id string) (*rules.Principal, error) {
	if who := n.PersonOf(id); who != nil {
		return who, nil
	}
	if n.gone(id) {
		return nil, fmt.Errorf("%s, as whom this sink reads, may not come to this node: %w", id, ErrForbidden)
	}
	if n.HasPeople() {
		return nil, fmt.Errorf("the people file names no person or machine %q, as whom this sink reads: %w", id, ErrForbidden)
	}
	return &rules.Principal{ID: id, Name: id, Roles: []string{}}, nil
}

// CheckSinkReader refuses a sink whose reader or view there is not.
func (n *Node) CheckSinkReader(s *Sink) error {
	if s.Reader == "" {
		return protocol.Errorf(protocol.ErrMalformed, "say as whom the sink reads: what it delivers is what they may read and export")
	}
	if _, err := n.sinkReader(s.Reader); err != nil {
		return err
	}
	if s.View != "" {
		if _, err := n.View(s.View); err != nil {
			return fmt.Errorf("view %q: %w", s.View, err)
		}
	}
	return nil
}

// SinkRun is a sink that is delivered to. It is for one goroutine.
type SinkRun struct {
	SinkInfo
	n    *Node
	out  *handout
	sent uint64
	high uint64 // the last change that may have left
}

// OpenSink begins to deliver to a sink. It notes, durably, that records are about to leave this node.
func (n *Node) OpenSink(ctx context.Context, name string) (*SinkRun, error) {
	info, err := n.Sink(name)
	if err != nil {
		return nil, err
	}
	if err := n.stands(OwnedSink, name, info.Owner); err != nil {
		return nil, err
	}
	r := &SinkRun{SinkInfo: *info, n: n}
	ctx = WithCaller(ctx, r.caller())
	if r.out, err = n.handOut(ctx, handoutSink, r.handoutDetail(), r.Cursor, false); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *SinkRun) caller() Caller { return Caller{Person: r.Reader, Purpose: "sink " + r.Name} }

func (r *SinkRun) handoutDetail() string {
	return fmt.Sprintf("sink %s, a %s at %s", r.Name, r.Kind, withoutQuery(r.URL))
}

// Close ends it; what was not stored is delivered again.
func (r *SinkRun) Close() error {
	return r.out.end(max(r.Cursor, r.high), r.sent)
}

// Changes returns what is to be delivered next, as the sink's reader may see it now: changes after a
// cursor, up to another (0: no end), and the cursor to go on from.
func (r *SinkRun) Changes(after, upTo uint64, limit int) ([]Change, uint64, error) {
	var view *View
	if r.View != "" {
		v, err := r.n.View(r.View)
		if err != nil {
			return nil, after, fmt.Errorf("view %q: %w", r.View, err)
		}
		view = v
	}
	if err := r.n.stands(OwnedSink, r.Name, r.Owner); err != nil {
		return nil, after, err
	}
	who, err := r.n.sinkReader(r.Reader)
	if err != nil {
		return nil, after, err
	}
	list, next, err := r.n.Reader(who).Changes(view, after, limit)
	if err != nil || upTo == 0 || next <= upTo {
		return list, next, err
	}
	end := slices.IndexFunc(list, func(c Change) bool { return c.Cursor > upTo })
	if end < 0 {
		end = len(list)
	}
	return list[:end], upTo, nil
}

// Disclose notes that changes are about to be sent; what cannot be noted is not sent.
func (r *SinkRun) Disclose(ctx context.Context, list []Change) error {
	var ids []protocol.RecordID
	for i := range list {
		if list[i].Record != nil {
			ids = append(ids, list[i].ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if now, err := r.n.Sink(r.Name); err != nil {
		return err
	} else if now.Run != r.Run {
		return ErrSinkChanged
	}
	if err := r.out.reach(list); err != nil {
		return err
	}
	r.sent += uint64(len(ids))
	r.high = max(r.high, list[len(list)-1].Cursor)
	return r.n.Disclose(WithCaller(ctx, r.caller()), Disclosure{Act: "deliver to sink", Query: r.handoutDetail(), Records: ids})
}

// Store keeps how far the sink has come. ErrSinkChanged: a person changed it meanwhile, and what was
// delivered since does not count.
func (r *SinkRun) Store(p SinkProgress) error {
	err := r.n.st.Update(func(tx *store.Tx) error {
		var d sinkDoc
		if ok, err := getDoc(tx, kindSink, []byte(r.Name), &d); err != nil {
			return err
		} else if !ok || d.Run != r.Run {
			return ErrSinkChanged
		}
		d.Progress = p.doc()
		return putDoc(tx, kindSink, []byte(r.Name), &d)
	})
	if err == nil {
		r.SinkProgress = p
	}
	return err
}

// sinkPatience is how long a sink may lag or fail before somebody should see to it.
const sinkPatience = time.Hour

// sinkProblems tells of sinks that do not deliver.
func (n *Node) sinkProblems(st *Status) error {
	list, err := n.Sinks()
	now := time.UnixMilli(nowMillis())
	add := st.problem
	for i := range list {
		s := &list[i]
		switch {
		case !s.Stopped.IsZero() && s.Error == doubtRestored:
			add("sink-unconfirmed", "error", fmt.Sprintf("'entente sink replay %s --from %d' goes on where it was, 'entente sink remove %s' if it was removed since", s.Name, s.Cursor, s.Name),
				"sink %s came from a backup, and may have been removed since; nothing is delivered to it", s.Name)
		case n.Ownerless(s.Owner) != "":
			add("sink-owner-left", "error", fmt.Sprintf("'entente sink remove %s', or, if it is wanted, 'entente sink replay %s --from %d' lets it go on where it was, as yours", s.Name, s.Name, s.Cursor),
				"nothing is delivered to sink %s any more: %s", s.Name, n.Ownerless(s.Owner))
		case !s.Stopped.IsZero():
			add("sink-stopped", "error", fmt.Sprintf("'entente sink remove %s'; if it was a mistake there, 'entente sink replay %s --from %d' goes on where it stopped", s.Name, s.Name, s.Cursor),
				"sink %s stopped at %s: %s", s.Name, s.Stopped.Format("2006-01-02 15:04"), s.Error)
		case !s.Failing.IsZero() && now.Sub(s.Failing) > sinkPatience:
			add("sink-failing", "warning", fmt.Sprintf("'entente sink test %s' tries it; nothing is lost, it goes on where it stopped", s.Name),
				"nothing could be delivered to sink %s since %s: %s", s.Name, s.Failing.Format("2006-01-02 15:04"), s.Error)
		case !s.Behind.IsZero() && now.Sub(s.Behind) > sinkPatience:
			add("sink-behind", "warning", "its receiver is slower than what comes; give it a larger --batch, or a smaller --view",
				"sink %s has not been up to date since %s", s.Name, s.Behind.Format("2006-01-02 15:04"))
		}
	}
	return err
}

// Marked returns the record's object with the marking of its TLP, if it states none itself: what leaves
// without a label is taken for free. All else stays as it is, byte for byte.
func (r *Record) Marked() ([]byte, error) {
	t, err := protocol.ParseTLP(r.Handling.TLP)
	if err != nil {
		return nil, err
	}
	return marked(r.Object, t), nil
}
