package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// AuditEntry is an entry of an audit log as it is shown.
type AuditEntry struct {
	Log        audit.ID       `json:"log"`
	Number     uint64         `json:"number"`
	Kind       string         `json:"kind"`
	Day        string         `json:"day"` // as the leaf says
	At         *time.Time     `json:"at,omitempty"`
	Act        string         `json:"act,omitempty"`
	Person     string         `json:"person,omitempty"`
	Purpose    string         `json:"purpose,omitempty"`
	By         *OrgRef        `json:"by,omitempty"`
	Orgs       []OrgRef       `json:"organisations,omitempty"`
	Agreements []string       `json:"agreements,omitempty"`
	Topic      string         `json:"topic,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	Text       string         `json:"text,omitempty"`
	Type       string         `json:"type,omitempty"` // of the objects that a decision is about
	Handling   *HandlingView  `json:"handling,omitempty"`
	Allowed    []string       `json:"allowed,omitempty"`
	Refused    []AuditRefusal `json:"refused,omitempty"`
	Decisions  []uint64       `json:"decisions,omitempty"` // entries that say for whom the records are
	Records    uint64         `json:"records,omitempty"`
	IDs        []string       `json:"ids,omitempty"`
	Entries    []uint64       `json:"entries,omitempty"` // that it is about
	Erased     *uint64        `json:"erased,omitempty"`  // the entry that says that the details were erased
}

// AuditRefusal is for whom records are not, and why.
type AuditRefusal struct {
	Org    string `json:"organisation"`
	Reason string `json:"reason"`
}

// AuditQuery selects entries. Conditions that are set must all hold.
type AuditQuery struct {
	From, To time.Time      // From on, before To
	Org      protocol.OrgID // whom they concern, or whose act it was
	Kind     string
	// Agreement is under which something was done, or that it is about.
	Agreement protocol.AgreementID
	// Record is one that they are about; of acts on very many records, one that was in the
	// envelopes that they name.
	Record protocol.RecordID
	Person string    // who did it, exactly as it was stated; NodePerson: the node by itself
	Log    *audit.ID // nil: all that are held
	After  uint64    // entries of the current log before this number are left out
	Limit  int       // 0: DefaultLimit; the newest
}

// Audit returns entries of the audit log, the oldest first. It notes that they were looked at.
func (n *Node) Audit(ctx context.Context, q AuditQuery) ([]AuditEntry, error) {
	kind := audit.Kind(0)
	if q.Kind != "" {
		var err error
		if kind, err = audit.ParseKind(q.Kind); err != nil {
			return nil, err
		}
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	s := n.snap.Load()
	out := []AuditEntry{}
	err := n.viewIndex(func(tx *store.Tx) error {
		out = out[:0]
		by, err := n.auditQuery(tx, &q, kind)
		if err != nil {
			return err
		}
		logs, err := n.auditLogs(tx, q.Log)
		slices.Reverse(logs) // the newest first
		for _, l := range logs {
			if err == nil {
				if by.Low = 0; l.Log == n.account.Log {
					by.Low = q.After
				}
				err = l.Select(tx, &by, func(e *audit.Entry) (bool, error) {
					if shown := s.auditEntry(n.org, l.Log, e); q.Person != NodePerson || shown.Person == NodePerson {
						out = append(out, shown)
					}
					return len(out) < q.Limit, nil
				})
			}
			if len(out) >= q.Limit {
				break
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(out)
	return out, n.Disclose(ctx, Disclosure{Act: "look at the audit log", Query: fmt.Sprintf("%d entries", len(out))})
}

// auditLogs returns the logs that are held, or one of them.
func (n *Node) auditLogs(tx *store.Tx, only *audit.ID) ([]*audit.Log, error) {
	if only != nil {
		l, err := audit.Open(tx, *only)
		return []*audit.Log{l}, err
	}
	return audit.Logs(tx)
}

// auditQuery says a query in the words of package audit.
func (n *Node) auditQuery(tx *store.Tx, q *AuditQuery, kind audit.Kind) (audit.Query, error) {
	person := q.Person
	if person == NodePerson {
		person = "" // what nobody did has no mark in the index
	}
	by := audit.Query{Org: q.Org, Agreement: q.Agreement, Record: q.Record, Person: person, Kind: kind, From: unixMillis(q.From), To: unixMillis(q.To)}
	if q.Record != (protocol.RecordID{}) {
		e, err := n.index.Get(tx, q.Record)
		if err != nil {
			return by, err
		}
		if e != nil {
			by.At = []protocol.EntryRef{{Feed: e.Feed, Seq: e.Seq}}
		}
	}
	return by, nil
}

// unixMillis is a time as the log has it; 0 for none.
func unixMillis(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMilli(), 1))
}

func (s *snapshot) auditEntry(self protocol.OrgID, log audit.ID, e *audit.Entry) AuditEntry {
	out := AuditEntry{Log: log, Number: e.Number, Kind: e.Leaf.Kind.String(), Day: millis(uint64(e.Leaf.Day) * dayMillis).Format(time.DateOnly)}
	d := e.Details
	if d == nil {
		out.Erased = &e.Erased
		return out
	}
	at, by := millis(d.At), s.ref(d.By)
	out.At, out.By, out.Act, out.Person, out.Purpose = &at, &by, d.Act, d.Person, d.Purpose
	if out.Person == "" && d.By == self {
		out.Person = NodePerson
	}
	out.Topic, out.Reason, out.Text, out.Type, out.Entries = d.Topic, d.Reason, d.Text, d.Class.Kind, d.Entries
	for _, id := range d.Agreements {
		out.Agreements = append(out.Agreements, id.String())
	}
	if len(d.Verdicts) == 0 {
		for _, o := range d.Orgs {
			out.Orgs = append(out.Orgs, s.ref(o))
		}
	}
	for _, v := range d.Verdicts {
		if name := s.name(d.Orgs[v.Org]); v.Allow {
			out.Allowed = append(out.Allowed, name)
		} else {
			out.Refused = append(out.Refused, AuditRefusal{Org: name, Reason: v.Reason})
		}
	}
	var h protocol.Handling
	if len(d.Class.Handling) > 0 && protocol.Decode(d.Class.Handling, protocol.MaxPlainSize, &h) == nil {
		v := s.handlingView(&h, d.Class.Originator == self)
		out.Handling = &v
	}
	out.Records = d.Records.Count
	for _, id := range d.Records.IDs {
		out.IDs = append(out.IDs, id.String())
	}
	for _, p := range d.Parts {
		out.Decisions = append(out.Decisions, p.Decision)
		for _, id := range p.Records.IDs {
			if text := id.String(); !slices.Contains(out.IDs, text) {
				out.IDs = append(out.IDs, text)
			}
		}
	}
	return out
}

// AuditCheck says what a verification of a log found.
type AuditCheck struct {
	Log         audit.ID      `json:"log"`
	Key         string        `json:"key"` // for verifiers of notes
	Entries     uint64        `json:"entries"`
	Root        protocol.Hash `json:"root"`
	Checkpoints int           `json:"checkpoints"` // that it was held against
	Details     uint64        `json:"details"`     // entries whose details are held, and are those committed to
	Erased      uint64        `json:"erased"`      // entries whose details were erased, as a later entry says
	Without     uint64        `json:"without,omitempty"`
	// Index is what was wrong with the index of the log, which is no part of the account and was made
	// anew; "": nothing.
	Index    string   `json:"index,omitempty"`
	Problems []string `json:"problems"`
	More     int      `json:"more_problems,omitempty"`
	Whole    bool     `json:"whole"`
	// Cosigners are nodes of partners that signed to have seen the log grow, and how far.
	Cosigners []AuditCosigner `json:"cosigners"`
}

// AuditCheckOf puts what was found into words.
func AuditCheckOf(v *audit.Verified, key string) AuditCheck {
	return AuditCheck{Log: v.Log, Key: key, Entries: v.Size, Root: v.Root, Checkpoints: v.Checkpoints, Details: v.Details, Erased: v.Erased,
		Without: v.Without, Index: v.Index, Problems: append([]string{}, v.Problems...), More: v.More, Whole: v.Whole(), Cosigners: []AuditCosigner{}}
}

// VerifyAudit verifies every log that is held: the tree against the leaves, the details against what
// the leaves commit to, and the log against its checkpoints, against the anchor, against
// what partners cosigned of it and found to be otherwise, and against the signed checkpoints in since, each of which must be of one of the logs.
func (n *Node) VerifyAudit(since [][]byte) ([]AuditCheck, error) {
	out, err := n.verifyAudit(since)
	if slices.ContainsFunc(out, func(c AuditCheck) bool { return !c.Whole }) {
		out, err = n.verifyAudit(since) // details may have been erased while they were looked at
	}
	for i := range out {
		if c := &out[i]; c.Index != "" && c.Whole && err == nil {
			var l *audit.Log
			if err = n.st.View(func(tx *store.Tx) (err error) { l, err = audit.Open(tx, c.Log); return err }); err == nil {
				err = n.reindexAudit(l)
			}
		}
	}
	return out, err
}

func (n *Node) verifyAudit(since [][]byte) ([]AuditCheck, error) {
	var out []AuditCheck
	err := n.st.View(func(tx *store.Tx) error {
		logs, err := audit.Logs(tx)
		if err != nil {
			return err
		}
		held := map[audit.ID][]audit.Since{}
		for i, signed := range since {
			id, err := audit.OriginOf(signed)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(logs, func(l *audit.Log) bool { return l.Log == id }) {
				return fmt.Errorf("checkpoint %d is of log %s, which is not held here: it was removed, or is another node's: %w", i+1, id, ErrNotFound)
			}
			held[id] = append(held[id], audit.Since{What: "the checkpoint given", Signed: signed})
		}
		for _, l := range logs {
			if n.anchor != nil && l.Log == n.account.Log {
				if m, ok := n.anchor.Mark(n.auditMark()); ok {
					held[l.Log] = append(held[l.Log], audit.Since{What: "the anchor", Head: audit.Head{Log: l.Log, Size: m.Seq, Root: m.Hash}})
				}
			}
			others, err := n.otherwise(tx, l.Log)
			if err != nil {
				return err
			}
			held[l.Log] = append(held[l.Log], others...)
			verifier, key, err := verifierOf(l)
			if err != nil {
				return err
			}
			v, err := l.Verify(tx, verifier, held[l.Log])
			if err != nil {
				return err
			}
			check := AuditCheckOf(v, key)
			cosigners, problems, err := n.cosigners(tx, l, verifier)
			if err != nil {
				return err
			}
			check.Cosigners = append(check.Cosigners, cosigners...)
			check.Problems = append(check.Problems, problems...)
			check.Whole = check.Whole && len(problems) == 0
			out = append(out, check)
		}
		return nil
	})
	return out, err
}

func verifierOf(l *audit.Log) (note.Verifier, string, error) {
	key, err := crypto.NoteKey(l.Log.Origin(), l.Signing)
	if err != nil {
		return nil, "", err
	}
	v, err := crypto.NoteVerifier(l.Log.Origin(), l.Signing)
	return v, key, err
}

// logFor returns a log that is held, and states a checkpoint of the current one first.
func (n *Node) logFor(only *audit.ID) (l *audit.Log, err error) {
	if _, err := n.AuditCheckpoint(); err != nil {
		return nil, err
	}
	if only == nil {
		return n.account, nil
	}
	err = n.st.View(func(tx *store.Tx) error { l, err = audit.Open(tx, *only); return err })
	if errors.Is(err, audit.ErrNotFound) {
		err = fmt.Errorf("no audit log %s is held here; 'entente audit verify' lists those that are: %w", only, ErrNotFound)
	}
	return l, err
}

// ExportAudit writes a log, nil being the current one, in the form that audit.VerifyExport reads.
// With details it notes who took them.
func (n *Node) ExportAudit(ctx context.Context, w io.Writer, only *audit.ID, details bool) (entries uint64, err error) {
	if details {
		if err := n.Disclose(ctx, Disclosure{Act: "export the audit log with its details"}); err != nil {
			return 0, err
		}
	}
	l, err := n.logFor(only)
	if err != nil {
		return 0, err
	}
	_, key, err := verifierOf(l)
	if err != nil {
		return 0, err
	}
	err = n.st.View(func(tx *store.Tx) error { entries, err = l.Export(tx, w, key, details); return err })
	return entries, err
}

// AuditProof is the proof that an entry stands in the log.
type AuditProof struct {
	Log   audit.ID `json:"log"`
	Key   string   `json:"key"`
	Leaf  []byte   `json:"leaf"`  // base64 in JSON
	Proof string   `json:"proof"` // C2SP tlog-proof
}

// ProveAudit proves that an entry stands in a log, nil being the current one, as of a checkpoint that
// is stated now.
func (n *Node) ProveAudit(only *audit.ID, number uint64) (*AuditProof, error) {
	l, err := n.logFor(only)
	if err != nil {
		return nil, err
	}
	verifier, key, err := verifierOf(l)
	if err != nil {
		return nil, err
	}
	out := &AuditProof{Log: l.Log, Key: key}
	err = n.st.View(func(tx *store.Tx) error {
		signed, _, err := l.LastCheckpoint(tx)
		if err != nil {
			return err
		}
		c, err := audit.OpenCheckpoint(signed, verifier)
		if err != nil {
			return err
		}
		e, err := l.Entry(tx, number)
		if err != nil {
			return err
		}
		out.Leaf = e.Raw
		proof, err := l.Prove(tx, number, c)
		out.Proof = string(proof)
		return err
	})
	if errors.Is(err, audit.ErrNotFound) {
		err = fmt.Errorf("%v: %w", err, ErrNotFound)
	}
	return out, err
}

// AuditErasure asks to erase details of entries of the current log: those of the numbers, and those
// of all entries before a time.
type AuditErasure struct {
	Entries   []uint64
	Before    time.Time // zero: only those of Entries
	Authority string    // on whose word
	Reason    string
}

// AuditErased says what was erased.
type AuditErased struct {
	Log     audit.ID `json:"log"`
	Erased  int      `json:"erased"`
	Entries []uint64 `json:"said_in"` // the entries that say so
}

// EraseAudit destroys the details of entries of the current log for ever. That there were such
// entries, of which kind and on which day, stays, and the log goes on verifying.
func (n *Node) EraseAudit(ctx context.Context, q AuditErasure) (*AuditErased, error) {
	switch {
	case q.Authority == "":
		return nil, protocol.Errorf(protocol.ErrMalformed, "say on whose authority the details are erased: the log keeps that")
	case len(q.Authority) > audit.MaxText/2 || len(q.Reason) > audit.MaxText/2:
		return nil, protocol.Errorf(protocol.ErrOversize, "authority and reason have at most %d bytes each", audit.MaxText/2)
	case len(q.Entries) == 0 && q.Before.IsZero():
		return nil, protocol.Errorf(protocol.ErrMalformed, "say the details of which entries are to be erased, or before which day")
	}
	numbers := slices.Clone(q.Entries)
	if !q.Before.IsZero() {
		if err := n.st.View(func(tx *store.Tx) error {
			return n.account.Select(tx, &audit.Query{To: unixMillis(q.Before)}, func(e *audit.Entry) (bool, error) {
				if e.Details != nil && e.Leaf.Kind != audit.Begin && e.Leaf.Kind != audit.Forget {
					numbers = append(numbers, e.Number)
				}
				return true, nil
			})
		}); err != nil {
			return nil, err
		}
	}
	slices.Sort(numbers)
	out := &AuditErased{Log: n.account.Log, Entries: []uint64{}}
	for part := range slices.Chunk(numbers, auditForget) {
		err := n.st.Update(func(tx *store.Tx) error {
			d := n.details("erase details", CallerOf(ctx))
			d.Text, d.Reason = audit.Clip("on the authority of "+q.Authority, audit.MaxText), audit.Clip(q.Reason, audit.MaxText)
			at, count, err := n.account.EraseDetails(tx, part, d)
			if err == nil && count > 0 {
				out.Erased, out.Entries = out.Erased+count, append(out.Entries, at)
			}
			return err
		})
		if errors.Is(err, audit.ErrNotFound) {
			err = fmt.Errorf("%v: %w", err, ErrNotFound)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// auditForget is how many details are erased in one transaction: with each may go a thousand keys of
// the index.
const auditForget = 64
