package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Sources are where this node fetches what it publishes. What fetches is package node/source; here is what
// has to be kept: what sources there are, how far each has come, what it gave already, and what of it was
// set aside (deadletters.go).

// SourceKind is what sort of place a source is.
type SourceKind string

// The kinds.
const (
	SourceFolder SourceKind = "folder"
	SourceURL    SourceKind = "url"
	SourceTAXII  SourceKind = "taxii"
	SourceMISP   SourceKind = "misp"
)

// Bounds on sources.
const (
	MaxSources       = 256
	MaxSourceKnown   = 1 << 20   // objects that one source gave and that are remembered: about 100 bytes each on disk
	MaxSourceLabels  = 256 << 10 // bytes of labels
	maxSourceWhere   = 2 << 10
	maxSourceSecret  = 4 << 10
	maxSourceCA      = 64 << 10
	maxSourceCursor  = 64 << 10
	maxSourceCommit  = 10_000 // known objects that one commit changes
	minSourceBytes   = 1 << 10
	DefSourceBytes   = 64 << 20 // of one document
	DefSourceRecords = 100_000  // published in one run; the rest comes in the next
)

// Source is a place from which this node fetches what it publishes. Secrets are not shown.
type Source struct {
	Name       string          `json:"name"` // [a-z0-9-], up to 64
	Kind       SourceKind      `json:"kind"`
	Where      string          `json:"where"`                // a folder's path, or a URL
	Collection string          `json:"collection,omitempty"` // of a TAXII server
	Schedule   string          `json:"schedule"`             // "every 5m", five fields of cron in UTC, or "manual"
	Topic      string          `json:"topic"`
	Flags      policy.Flags    `json:"-"` // default handling: fills in and narrows, never widens
	Handling   HandlingView    `json:"handling"`
	Format     intake.Format   `json:"format"`
	Labels     []byte          `json:"-"` // CSV, as intake.ReadLabels takes it; none: nil
	Assessment AssessmentCodes `json:"assessment,omitzero"`
	Principal  string          `json:"principal"` // as whom it publishes, for the local rules
	MaxRecords uint32          `json:"max_records"`
	MaxBytes   uint64          `json:"max_bytes"`
	// Private lets a URL lead to private and local addresses.
	Private bool `json:"private_addresses,omitempty"`
	// WithdrawMissing withdraws what the source published once a later fetch does not hold it any more. It
	// is for sources of which each document is the whole list.
	WithdrawMissing bool `json:"withdraw_missing,omitempty"`
	// MoveDone moves files of a folder to its folder "done" once they were published.
	MoveDone bool         `json:"move_done,omitempty"`
	Paused   bool         `json:"paused,omitempty"`
	Secret   SourceSecret `json:"-"`
	CA       []byte       `json:"-"` // PEM: certificates to trust in place of the system's; nil: the system's
	HasLogin bool         `json:"credentials"`
	Added    time.Time    `json:"added"`
	Person   string       `json:"person,omitempty"` // who set it up last: it is paused when they leave
	// Unconfirmed is one that came from a backup, and may have been removed or paused since: it is paused
	// until somebody resumes it.
	Unconfirmed bool `json:"unconfirmed,omitempty"`

	born [16]byte // tells it from a later one of its name
}

// SourceSecret is what a source logs in with: a name and a password, or a token. It never prints.
type SourceSecret struct {
	_        struct{} `cbor:",toarray"`
	User     string
	Password string
	Token    string
}

// String implements fmt.Stringer and shows nothing.
func (SourceSecret) String() string { return "[secret]" }

// GoString implements fmt.GoStringer and shows nothing.
func (SourceSecret) GoString() string { return "[secret]" }

// IsZero reports whether there is none.
func (s SourceSecret) IsZero() bool { return s.User == "" && s.Password == "" && s.Token == "" }

// AssessmentCodes are what indicators of a list say of how far they can be relied on, as stix.ParseAssessment
// takes it.
type AssessmentCodes struct {
	_           struct{} `cbor:",toarray"`
	Reliability string   `json:"reliability,omitempty"`
	Credibility string   `json:"credibility,omitempty"`
	Evaluation  string   `json:"europol_evaluation,omitempty"`
	Handling    []string `json:"europol_handling,omitempty"`
	Text        string   `json:"europol_text,omitempty"`
}

// IsZero reports whether nothing is said.
func (a AssessmentCodes) IsZero() bool {
	return a.Reliability == "" && a.Credibility == "" && a.Evaluation == "" && len(a.Handling) == 0 && a.Text == ""
}

// Parse reads the codes; nil: nothing is said.
func (a AssessmentCodes) Parse() (*stix.Assessment, error) {
	if a.IsZero() {
		return nil, nil
	}
	out, err := stix.ParseAssessment(a.Reliability, a.Credibility, a.Evaluation, a.Handling, a.Text)
	return &out, err
}

// sourceDoc is a source as it is kept.
type sourceDoc struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Born       [16]byte // random
	Kind       string
	Where      string
	Collection string
	Schedule   string
	Topic      string
	Flags      protocol.Handling // TLP unset: none is given
	Format     string
	Labels     []byte
	Assessment AssessmentCodes
	Principal  string
	MaxRecords uint32
	MaxBytes   uint64
	Private    bool
	Missing    bool // WithdrawMissing
	MoveDone   bool
	Paused     bool
	Secret     SourceSecret
	CA         []byte
	At         uint64 // Unix milliseconds
	Person     string
	Doubted    bool // paused by a restore
}

func flagsOf(h *protocol.Handling) policy.Flags {
	return policy.Flags{TLP: h.TLP, PAP: h.PAP, Countries: h.Countries, Personal: h.Personal, Purposes: h.Purposes, RetentionDays: h.RetentionDays,
		To: h.Named, Exclude: h.Excluded, Onward: h.Onward, Origin: h.Origin}
}

func handlingOf(f *policy.Flags) protocol.Handling {
	h := protocol.Handling{Version: 1, TLP: f.TLP, PAP: f.PAP, Countries: f.Countries, Personal: f.Personal, Purposes: f.Purposes, RetentionDays: f.RetentionDays,
		Named: f.To, Excluded: f.Exclude, Onward: f.Onward, Origin: f.Origin}
	h.Normalise()
	return h
}

func (s *Source) doc() *sourceDoc {
	return &sourceDoc{Version: 1, Born: s.born, Kind: string(s.Kind), Where: s.Where, Collection: s.Collection, Schedule: s.Schedule, Topic: s.Topic, Flags: handlingOf(&s.Flags),
		Format: string(s.Format), Labels: s.Labels, Assessment: s.Assessment, Principal: s.Principal, MaxRecords: s.MaxRecords, MaxBytes: s.MaxBytes, Private: s.Private,
		Missing: s.WithdrawMissing, MoveDone: s.MoveDone, Paused: s.Paused, Secret: s.Secret, CA: s.CA, At: uint64(s.Added.UnixMilli()), Person: s.Person}
}

func (s *snapshot) source(name string, d *sourceDoc) Source {
	return Source{Name: name, Kind: SourceKind(d.Kind), Where: d.Where, Collection: d.Collection, Schedule: d.Schedule, Topic: d.Topic, Flags: flagsOf(&d.Flags),
		Handling: s.handlingView(&d.Flags, true), Format: intake.Format(d.Format), Labels: d.Labels, Assessment: d.Assessment, Principal: d.Principal, MaxRecords: d.MaxRecords,
		MaxBytes: d.MaxBytes, Private: d.Private, WithdrawMissing: d.Missing, MoveDone: d.MoveDone, Paused: d.Paused, Secret: d.Secret, CA: d.CA, HasLogin: !d.Secret.IsZero(),
		Added: millis(d.At), Person: d.Person, Unconfirmed: d.Doubted, born: d.Born}
}

var sourceName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// check checks what of a source can be checked without looking at it. What a schedule and a place may be
// is for who fetches.
func (d *sourceDoc) check(name string) error {
	bad := func(format string, args ...any) error { return protocol.Errorf(protocol.ErrMalformed, format, args...) }
	switch {
	case !sourceName.MatchString(name):
		return bad("%q cannot be the name of a source; use 1 to 64 of a-z, 0-9 and '-'", name)
	case d.Version != 1:
		return bad("source has version %d; this program knows 1", d.Version)
	case !slices.Contains([]SourceKind{SourceFolder, SourceURL, SourceTAXII, SourceMISP}, SourceKind(d.Kind)):
		return bad("%q is no kind of source; use folder, url, taxii or misp", d.Kind)
	case d.Where == "" || len(d.Where) > maxSourceWhere || len(d.Collection) > maxSourceWhere:
		return bad("a source needs a place of at most %d bytes", maxSourceWhere)
	case d.Topic == "" || len(d.Topic) > protocol.MaxNameSize:
		return bad("say in which topic the source publishes (--topic)")
	case len(d.Schedule) > protocol.MaxNameSize || len(d.Principal) > protocol.MaxNameSize:
		return bad("a schedule and a principal have at most %d bytes", protocol.MaxNameSize)
	case len(d.Labels) > MaxSourceLabels:
		return bad("labels have %d bytes, at most %d", len(d.Labels), MaxSourceLabels)
	case len(d.CA) > maxSourceCA || len(d.Secret.User)+len(d.Secret.Password)+len(d.Secret.Token) > maxSourceSecret:
		return bad("credentials have at most %d bytes, certificates %d", maxSourceSecret, maxSourceCA)
	case d.Secret.Token != "" && d.Secret.User+d.Secret.Password != "":
		return bad("give a name and a password, or a token, not both")
	case d.MaxBytes < minSourceBytes || d.MaxBytes > intake.MaxFile:
		return bad("a document may have %d bytes to %d MiB; give --max-bytes between", minSourceBytes, intake.MaxFile>>20)
	case d.MaxRecords == 0 || d.MaxRecords > MaxSourceKnown:
		return bad("a run may publish 1 to %d records; give --max-records between", MaxSourceKnown)
	case d.Missing && SourceKind(d.Kind) != SourceURL:
		return bad("--withdraw-missing is for URLs, of which each fetch is the whole list; this source is of kind %s", d.Kind)
	case d.MoveDone && SourceKind(d.Kind) != SourceFolder:
		return bad("--move-done is for folders; this source is of kind %s", d.Kind)
	}
	if len(d.CA) > 0 && !x509.NewCertPool().AppendCertsFromPEM(d.CA) {
		return bad("the file of --ca holds no certificate in PEM form")
	}
	if f, err := intake.ParseFormat(d.Format); err != nil {
		return err
	} else if said, err := d.Assessment.Parse(); err != nil {
		return err
	} else if said != nil && f != intake.List {
		return bad("codes of reliability and credibility are for lists; give --format list with them")
	}
	if len(d.Labels) > 0 {
		if _, problems, err := intake.ReadLabels("labels", bytes.NewReader(d.Labels)); err != nil {
			return err
		} else if len(problems) > 0 {
			return bad("%s", problems[0])
		}
	}
	return d.checkFlags()
}

func (d *sourceDoc) checkFlags() error {
	h := d.Flags
	if h.TLP == protocol.TLPUnset {
		h.TLP = protocol.TLPGreen // documents may state it
	}
	return h.Validate()
}

// sourceTable is what of sources is in memory only.
type sourceTable struct {
	mu       sync.Mutex
	held     map[string]chan struct{} // of those that run: closed when they are done
	dead     map[string]int           // how many dead letters of them wait, as far as that is known
	writes   int                      // to dead letters
	heldDead *heldLetters             // as far as that is known
	changes  broadcast
}

// ErrSourceBusy is returned where a source runs already.
var ErrSourceBusy = errors.New("the source is being fetched at the moment; try again when that is done")

// HoldSource keeps others of this process from running a source until release is called.
func (n *Node) HoldSource(name string) (release func(), err error) {
	t := &n.sources
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[name] != nil {
		return nil, ErrSourceBusy
	}
	if t.held == nil {
		t.held = map[string]chan struct{}{}
	}
	done := make(chan struct{})
	t.held[name] = done
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.held, name)
		close(done)
	}, nil
}

// SourcesChanged returns a channel that is closed when a source is added, changed or removed, or was run.
func (n *Node) SourcesChanged() <-chan struct{} { return n.sources.changes.wait() }

// SetSource adds a source.
func (n *Node) SetSource(ctx context.Context, s Source) error { return n.setSource(ctx, s, false) }

// ReplaceSource gives a source all of its settings anew, credentials too. What it gave stays known, with its dead
// letters and its counts; where it is another place, it is read from the beginning.
func (n *Node) ReplaceSource(ctx context.Context, s Source) error {
	release, err := n.HoldSource(s.Name)
	if err != nil {
		return err
	}
	defer release()
	return n.setSource(ctx, s, true)
}

func (n *Node) setSource(ctx context.Context, s Source, replace bool) error {
	if s.Principal != "" && n.HasPeople() && n.PersonOf(s.Principal) == nil {
		return fmt.Errorf("the people file names no person or machine %q; 'entente rules show' tells whom it does: %w", s.Principal, ErrForbidden)
	}
	_, _ = rand.Read(s.born[:])
	c := CallerOf(ctx)
	s.Added, s.Person = time.UnixMilli(nowMillis()), audit.Clip(c.Person, audit.MaxName)
	d := s.doc()
	if err := d.check(s.Name); err != nil {
		return err
	}
	err := n.st.Update(func(tx *store.Tx) error {
		if replace {
			return n.replaceSource(tx, c, &s, d)
		}
		count := 0
		if err := scanDocs(tx, kindSource, func(id []byte, _ *sourceDoc) error {
			if count++; string(id) == s.Name {
				return protocol.Errorf(protocol.ErrMalformed, "there is a source %q already; change it with --replace, which keeps what it gave, or give another name", s.Name)
			}
			return nil
		}); err != nil {
			return err
		}
		if count >= MaxSources {
			return protocol.Errorf(protocol.ErrOversize, "there are %d sources, as many as there may be", count)
		}
		st := sourceStateDoc{Version: 1}
		_, _ = rand.Read(st.Key[:])
		if strings.EqualFold(strings.TrimSpace(s.Schedule), "manual") {
			st.Next = never
		}
		return errors.Join(putDoc(tx, kindSource, []byte(s.Name), d), putDoc(tx, kindSourceState, []byte(s.Name), &st),
			n.auditSource(tx, c, "add source", s.Name, fmt.Sprintf("%s %s, topic %s, every record published as %s", d.Kind, d.Where, d.Topic, s.who())))
	})
	if err == nil {
		n.sources.changes.notify()
	}
	return err
}

func (n *Node) replaceSource(tx *store.Tx, c Caller, s *Source, d *sourceDoc) error {
	was, err := getSource(tx, s.Name)
	if err != nil {
		return err
	}
	if was.Kind != d.Kind {
		return protocol.Errorf(protocol.ErrMalformed, "source %q is of kind %s and cannot become one of kind %s; give another name", s.Name, was.Kind, d.Kind)
	}
	var st sourceStateDoc
	if _, err := getDoc(tx, kindSourceState, []byte(s.Name), &st); err != nil {
		return err
	}
	d.Born, d.At = was.Born, was.At // and whoever says where it is read from answers for it
	if was.Where != d.Where || was.Collection != d.Collection {
		st.Cursor = nil
	}
	st.Next, st.Failures = 0, 0
	if strings.EqualFold(strings.TrimSpace(s.Schedule), "manual") {
		st.Next = never
	}
	return errors.Join(putDoc(tx, kindSource, []byte(s.Name), d), putDoc(tx, kindSourceState, []byte(s.Name), &st),
		n.auditSource(tx, c, "change source", s.Name, fmt.Sprintf("%s %s, topic %s, every record published as %s", d.Kind, d.Where, d.Topic, s.who())))
}

// who names as whom a source publishes.
func (s *Source) who() string {
	if s.Principal != "" {
		return s.Principal
	}
	return "source " + s.Name
}

// PrincipalOf returns as whom a source publishes. Somebody whom the people file, if there is one, does not
// name any more is nobody.
func (n *Node) PrincipalOf(s *Source) (*rules.Principal, error) {
	if err := n.stands(OwnedSource, s.Name, s.Person); err != nil {
		return nil, err
	}
	id := s.who()
	if who := n.PersonOf(id); who != nil {
		return who, nil
	}
	if n.gone(id) {
		return nil, fmt.Errorf("source %s publishes as %q, who may not come to this node: %w", s.Name, id, ErrForbidden)
	}
	if s.Principal != "" && n.HasPeople() {
		return nil, fmt.Errorf("source %s publishes as %q, and the people file names nobody of that name: %w", s.Name, s.Principal, ErrForbidden)
	}
	return &rules.Principal{ID: id, Name: id, Roles: []string{}, Machine: true}, nil
}

// auditSource notes an act on a source.
func (n *Node) auditSource(tx *store.Tx, c Caller, act, name, text string) error {
	d := n.details(act, c)
	d.Text = audit.Clip(name+": "+text, audit.MaxText)
	_, err := n.account.Append(tx, audit.Access, d)
	return err
}

// NoteSource notes that somebody had something done with a source.
func (n *Node) NoteSource(ctx context.Context, act, name, text string) error {
	return n.st.Update(func(tx *store.Tx) error { return n.auditSource(tx, CallerOf(ctx), act, name, text) })
}

// Sources lists the sources by name.
func (n *Node) Sources() (list []Source, err error) {
	s := n.snap.Load()
	err = n.st.View(func(tx *store.Tx) error {
		list = []Source{}
		return scanDocs(tx, kindSource, func(id []byte, d *sourceDoc) error {
			list = append(list, s.source(string(id), d))
			return nil
		})
	})
	return list, err
}

func getSource(tx *store.Tx, name string) (*sourceDoc, error) {
	d := new(sourceDoc)
	ok, err := getDoc(tx, kindSource, []byte(name), d)
	if err == nil && !ok {
		err = fmt.Errorf("source %q: %w; 'entente source list' shows them", name, ErrNotFound)
	}
	return d, err
}

// Source returns a source.
func (n *Node) Source(name string) (*Source, error) {
	var d *sourceDoc
	if err := n.st.View(func(tx *store.Tx) (err error) { d, err = getSource(tx, name); return err }); err != nil {
		return nil, err
	}
	s := n.snap.Load().source(name, d)
	return &s, nil
}

// PauseSource stops a source, or lets it go on. What runs at the moment is run to its end.
func (n *Node) PauseSource(ctx context.Context, name string, paused bool) error {
	act := "resume source"
	if paused {
		act = "pause source"
	}
	err := n.st.Update(func(tx *store.Tx) error {
		d, err := getSource(tx, name)
		takes := !paused && n.Ownerless(d.Person) != ""
		if err != nil || d.Paused == paused && !takes {
			return err
		}
		d.Paused, d.Doubted = paused, false
		if takes {
			d.Person = n.ownerOf(CallerOf(ctx))
		}
		err = errors.Join(putDoc(tx, kindSource, []byte(name), d), n.auditSource(tx, CallerOf(ctx), act, name, ""))
		if !paused { // at once
			var st sourceStateDoc
			if _, gerr := getDoc(tx, kindSourceState, []byte(name), &st); gerr != nil {
				return errors.Join(err, gerr)
			}
			if st.Next != never {
				st.Next = 0
			}
			err = errors.Join(err, putDoc(tx, kindSourceState, []byte(name), &st))
		}
		return err
	})
	if err == nil {
		n.sources.changes.notify()
	}
	return err
}

// RemoveSource removes a source and what is known of it; what it published stays. With dead letters that
// wait it is refused, unless they are to be dropped.
func (n *Node) RemoveSource(ctx context.Context, name string, drop bool) error {
	release, err := n.HoldSource(name)
	if err != nil {
		return err
	}
	defer release()
	for {
		done := false
		err := n.updateDead(func(tx *store.Tx) error {
			if _, err := getSource(tx, name); err != nil {
				return err
			}
			waiting := 0
			if err := n.eachDead(tx, name, func(_ []byte, d *deadDoc, _ *deadBody) error {
				if d.Gone == 0 {
					waiting++
				}
				return nil
			}); err != nil {
				return err
			}
			if waiting > 0 && !drop {
				return protocol.Errorf(protocol.ErrMalformed, "%d dead letters of source %s wait; try them again or drop them ('entente source dead %s' shows them), or remove it with --drop", waiting, name, name)
			}
			if waiting > 0 {
				return n.dropDead(tx, CallerOf(ctx), name)
			}
			var keys [][]byte
			if err := tx.Scan(knownKey(name, nil), nil, false, func(k, _ []byte) (bool, error) {
				keys = append(keys, slices.Clone(k))
				return len(keys) < maxSourceCommit, nil
			}); err != nil {
				return err
			}
			for _, k := range keys {
				if err := tx.Delete(k); err != nil {
					return err
				}
			}
			if done = len(keys) < maxSourceCommit; !done {
				return nil
			}
			return errors.Join(tx.Delete([]byte(kindSource+name)), tx.Delete([]byte(kindSourceState+name)), n.auditSource(tx, CallerOf(ctx), "remove source", name, ""))
		})
		if err != nil || done {
			n.sources.changes.notify()
			return err
		}
	}
}
