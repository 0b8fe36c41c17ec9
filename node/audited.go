package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// What this node decides goes to its audit log (I8), in the transaction of the act where there is
// one: neither is without the other. Here is a method for each sort of act; what the log is made of
// is in package audit.

// Caller is who asks a node for something, as they state it: the node does not check it.
type Caller struct {
	Person  string // empty: not stated
	Purpose string // the same
	User    string // the account of the operating system, where it is known
	// Right is what a request of one of the people needs: whoever left, or lost it, since the request was judged
	// commits nothing any more. "": nothing is judged again.
	Right rules.Action
}

type callerKey struct{}

// WithCaller says on whose behalf what gets ctx is done.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns on whose behalf what has ctx is done.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Acting runs fn on behalf of a caller: a change of trust, of agreements, of the network or of keys
// that fn makes is put down as theirs. One runs at a time.
func (n *Node) Acting(c Caller, fn func() error) error {
	n.actingMu.Lock()
	defer n.actingMu.Unlock()
	n.actor.Store(&c)
	defer n.actor.Store(nil)
	return fn()
}

// details begins the details of an entry about an act of this organisation.
func (n *Node) details(act string, c Caller) *audit.Details {
	d := &audit.Details{At: uint64(nowMillis()), Act: act, By: n.org, Person: audit.Clip(c.Person, audit.MaxName), Purpose: audit.Clip(c.Purpose, audit.MaxName)}
	if c.Right != "" {
		d.Provided(func(kv audit.KV) error { return stands(kv, c) })
	}
	return d
}

// stands returns an ErrForbidden if a caller who is one of the people may not do any more what their request is. It
// reads them in the transaction of the act.
func stands(kv audit.KV, c Caller) error {
	tx, ok := kv.(*store.Tx)
	if !ok {
		return nil
	}
	var d personDoc
	if ok, err := getDoc(tx, kindPerson, []byte(c.Person), &d); err != nil || !ok || !d.present() || d.Doubted {
		return errors.Join(err, fmt.Errorf("%s is not one of the node's people any more; nothing was done: %w", c.Person, ErrForbidden))
	}
	if err := (&rules.Principal{ID: c.Person, Roles: d.roles(), Account: true}).Bound(c.Right); err != nil {
		return fmt.Errorf("%w; nothing was done: %w", err, ErrForbidden)
	}
	return nil
}

// openAudit finds the log of this node, or begins one: the first, or that of a node that was restored
// from the backup of another.
func (n *Node) openAudit() error {
	err := n.st.Update(func(tx *store.Tx) error {
		l, err := audit.Current(tx)
		if err != nil {
			return err
		}
		why := "the account begins here"
		if l != nil && l.Signing != n.keys.Signing.Public() {
			l, why = nil, "this data was restored from a backup of another node, whose account is kept as it was"
		}
		if n.account = l; l == nil {
			n.account, err = audit.Start(tx, n.org, n.ID(), n.keys.Signing.Public(), uint64(nowMillis()), why)
		}
		return err
	})
	if err != nil {
		return err
	}
	return n.indexAudit()
}

// indexAudit makes the index of logs that have none: those that came with a backup.
func (n *Node) indexAudit() error {
	var lacking []*audit.Log
	if err := n.st.View(func(tx *store.Tx) error {
		logs, err := audit.Logs(tx)
		for _, l := range logs {
			whole, werr := l.Indexed(tx)
			if err = errors.Join(err, werr); !whole {
				lacking = append(lacking, l)
			}
		}
		return err
	}); err != nil {
		return err
	}
	for _, l := range lacking {
		if err := n.reindexAudit(l); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) reindexAudit(l *audit.Log) error {
	return l.Reindex(func(fn func(audit.KV) error) error { return n.st.Update(func(tx *store.Tx) error { return fn(tx) }) })
}

// auditMark is where the anchor keeps how far the log had come.
func (n *Node) auditMark() protocol.FeedID {
	return protocol.FeedID(protocol.HashBody([]byte(n.account.Log.Origin())))
}

// checkAudit begins another log if the anchor does not confirm the one that is held: the data went
// back in time, and to go on with it would be a second continuation of what others may have seen.
func (n *Node) checkAudit() error {
	if n.anchor == nil {
		return nil
	}
	m, ok := n.anchor.Mark(n.auditMark())
	return n.st.Update(func(tx *store.Tx) error {
		h, err := n.account.Head(tx)
		if err != nil {
			return err
		}
		why := ""
		if !ok {
			if signed, _, err := n.account.LastCheckpoint(tx); err != nil || signed == nil {
				return err // nobody saw anything of it
			}
			why = "the anchor does not know the account of before"
		} else if m.Seq > h.Size {
			why = fmt.Sprintf("this data is older than its anchor: its account has %d entries, and had %d", h.Size, m.Seq)
		} else if r, err := n.account.Root(tx, m.Seq); err != nil {
			return err
		} else if r != m.Hash {
			why = "this data and its anchor went different ways"
		}
		if why == "" {
			return nil
		}
		n.log.Warn("another audit log is begun", "why", why)
		n.account, err = audit.Start(tx, n.org, n.ID(), n.keys.Signing.Public(), uint64(nowMillis()), why)
		return err
	})
}

// auditKey is the signer of the log's checkpoints: the node's signing key, which every node has at
// any time, and which its organisation's card names. The operational key would say no more, and is
// kept on one node or in hardware; what holds against an organisation that would rewrite its own
// account is not a key of its own anyway, but checkpoints that others keep.
func (n *Node) auditKey() (note.Signer, error) {
	return n.keys.Signing.NoteSigner(n.account.Log.Origin())
}

// AuditCheckpoint signs where the audit log stands, durably: in the store and in the anchor.
func (n *Node) AuditCheckpoint() (*audit.Checkpoint, error) {
	signer, err := n.auditKey()
	if err != nil {
		return nil, err
	}
	n.statingMu.Lock()
	defer n.statingMu.Unlock()
	if n.anchor != nil { // first: a checkpoint that somebody has is one that the anchor knows
		var h audit.Head
		if err := n.st.View(func(tx *store.Tx) (err error) { h, err = n.account.Head(tx); return err }); err != nil {
			return nil, err
		}
		if err := n.anchor.Set(anchor.Mark{Feed: n.auditMark(), Seq: h.Size, Hash: h.Root}); err != nil {
			return nil, err
		}
	}
	var c *audit.Checkpoint
	err = n.st.Update(func(tx *store.Tx) error { c, err = n.account.State(tx, signer); return err })
	return c, err
}

// stateAudit states a checkpoint if there is anything new. Nobody waits for it.
func (n *Node) stateAudit() {
	if n.account == nil {
		return
	}
	var size, stated uint64
	err := n.st.View(func(tx *store.Tx) (err error) {
		if size, err = n.account.Size(tx); err == nil {
			_, stated, err = n.account.LastCheckpoint(tx)
		}
		return err
	})
	if err == nil && size > stated {
		_, err = n.AuditCheckpoint()
	}
	if err != nil && !errors.Is(err, store.ErrClosed) {
		n.log.Warn("stating where the audit log stands failed; it is tried again", "err", err)
	}
}

// auditNow appends an entry for which there is no other transaction, and returns when it is durable.
// Those that come together share one.
func (n *Node) auditNow(kind audit.Kind, d *audit.Details) error {
	e := &auditEntry{kind: kind, details: d}
	n.auditMu.Lock()
	n.auditing = append(n.auditing, e)
	n.auditMu.Unlock()
	n.auditTurn <- struct{}{}
	defer func() { <-n.auditTurn }()
	if e.done { // by who had the turn before
		return e.err
	}
	n.auditMu.Lock()
	count, ids := 0, 0
	for count < min(len(n.auditing), maxAuditBatch) && ids < maxAuditBatchIDs {
		ids += len(n.auditing[count].details.Records.IDs) // each of them is a key of the index
		count++
	}
	list := n.auditing[:count]
	n.auditing = slices.Clone(n.auditing[len(list):])
	n.auditMu.Unlock()
	err := n.st.Update(func(tx *store.Tx) error {
		for _, e := range list {
			if _, err := n.account.Append(tx, e.kind, e.details); err != nil {
				return err
			}
		}
		return nil
	})
	for _, e := range list {
		e.done, e.err = true, err
	}
	if !e.done { // there were more than go in one
		err = n.st.Update(func(tx *store.Tx) error { _, err := n.account.Append(tx, kind, d); return err })
		n.auditMu.Lock()
		n.auditing = slices.DeleteFunc(n.auditing, func(x *auditEntry) bool { return x == e })
		n.auditMu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("noting in the audit log what is disclosed: %w", err)
	}
	return nil
}

// auditEntry waits to be written. done and err belong to who has the turn.
type auditEntry struct {
	kind    audit.Kind
	details *audit.Details
	done    bool
	err     error
}

// What is written in one transaction.
const (
	maxAuditBatch    = 256
	maxAuditBatchIDs = 16384
)

// Disclosure is something that is shown to a person or a machine of this organisation.
type Disclosure struct {
	Act     string // what they did: search, show, explain
	Query   string // what they asked
	Records []protocol.RecordID
}

// Disclose notes that something is about to be shown, durably. If it cannot be noted it is not to be
// shown.
func (n *Node) Disclose(ctx context.Context, what Disclosure) error {
	d := n.details(what.Act, CallerOf(ctx))
	d.Text = audit.Clip(what.Query, audit.MaxText)
	d.Records = audit.NewRecordSet(what.Records, true)
	return n.auditNow(audit.Disclose, d)
}

// NoteAct notes, durably and before it is done, that somebody has something done here that others said or made: the
// entries that follow say whose word it is, and not who brought it.
func (n *Node) NoteAct(ctx context.Context, kind audit.Kind, act, text string) error {
	d := n.details(act, CallerOf(ctx))
	d.Text = audit.Clip(text, audit.MaxText)
	return n.auditNow(kind, d)
}

// auditHandout notes what begins to leave this node in a file or a stream, and what has left it.
func (n *Node) auditHandout(tx *store.Tx, c Caller, h *handoutDoc) error {
	_, err := n.account.Append(tx, audit.Disclose, n.handoutDetails(c, h))
	return err
}

func (n *Node) handoutDetails(c Caller, h *handoutDoc) *audit.Details {
	d := n.details(h.Kind, c)
	d.Text = audit.Clip(h.Detail, audit.MaxText)
	d.Records = audit.RecordSet{Count: h.Records, After: h.From}
	if d.Reason = "begins"; !h.Open {
		d.Reason, d.Records.To = "ended", h.To
	}
	return d
}

// auditRelease notes that a person approved or denied that records are passed on to organisations, or
// set by which rule they are, in the transaction that does it.
func (n *Node) auditRelease(tx *store.Tx, c Caller, act string, number uint64, r *releaseDoc, reason string) error {
	d := n.details(act, c)
	d.Reason = audit.Clip(reason, audit.MaxText)
	if r != nil {
		d.Topic, d.Orgs, d.Records = r.Topic, r.Orgs, audit.NewRecordSet(r.Records, true)
		d.Text = fmt.Sprintf("release %d, %d of %d persons, %s", number, len(r.Approvals), r.Needs, releaseStates[r.State])
	}
	_, err := n.account.Append(tx, audit.Release, d)
	return err
}

// putVote keeps a release after a person approved or denied it, and notes that they did.
func (n *Node) putVote(tx *store.Tx, c Caller, act string, number uint64, d *releaseDoc, reason string) error {
	return errors.Join(n.auditRelease(tx, c, act, number, d, reason), putDoc(tx, kindRelease, be64(number), d))
}

// Bounds of the entries about one publication.
const (
	auditVerdicts = 4096 // of one entry of a decision
	auditParts    = 2048 // of one entry of a publication
	auditAhead    = 16384
)

// decided returns the entries of the decisions about one class: one, unless very many organisations
// were decided about.
func (n *Node) decided(topic string, c *PlanClass) (list []*audit.Details) {
	class := audit.Class{Originator: n.org, Kind: c.Kind, Handling: protocol.Encode(&c.Handling)}
	return n.decisions("decide", topic, class, slices.Concat(c.Readers, c.Refused))
}

func (n *Node) decisions(act, topic string, class audit.Class, all []policy.OrgDecision) (list []*audit.Details) {
	for part := range slices.Chunk(all, auditVerdicts) {
		list = append(list, n.decision(act, topic, class, part))
	}
	if len(all) == 0 {
		list = append(list, n.decision(act, topic, class, nil))
	}
	return list
}

func (n *Node) decision(act, topic string, class audit.Class, verdicts []policy.OrgDecision) *audit.Details {
	d := n.details(act, Caller{})
	d.Topic, d.Class = topic, class
	at := map[protocol.AgreementID]uint32{}
	for i := range verdicts {
		addVerdict(d, at, verdicts[i].Org, &verdicts[i].Decision)
	}
	return d
}

func addVerdict(d *audit.Details, at map[protocol.AgreementID]uint32, org protocol.OrgID, by *policy.Decision) {
	v := audit.Verdict{Org: uint32(len(d.Orgs)), Allow: by.Allow, Term: uint32(by.Term), Reason: string(by.Reason)}
	d.Orgs = append(d.Orgs, org)
	if !by.Agreement.IsZero() {
		if at[by.Agreement] == 0 {
			d.Agreements = append(d.Agreements, by.Agreement)
			at[by.Agreement] = uint32(len(d.Agreements))
		}
		v.Agreement = at[by.Agreement]
	}
	d.Verdicts = append(d.Verdicts, v)
}

// auditDecisions returns the numbers of the entries that say what was decided about classes. What was
// not said before is said now, ahead of what follows of it: a decision is one whether or not anything
// does, and however much there is to say, it fits.
func (n *Node) auditDecisions(classes [][]*audit.Details) ([][]uint64, error) {
	out := make([][]uint64, len(classes))
	type missing struct {
		class int
		d     *audit.Details
	}
	var list []missing
	err := n.st.View(func(tx *store.Tx) error {
		for i, class := range classes {
			for _, d := range class {
				number, ok, err := n.account.Find(tx, audit.Decide, d)
				if err != nil {
					return err
				}
				if out[i] = append(out[i], number); !ok {
					list = append(list, missing{i, d})
					out[i] = out[i][:len(out[i])-1]
				}
			}
		}
		return nil
	})
	for len(list) > 0 && err == nil {
		count, verdicts := 0, 0
		for count < len(list) && verdicts < auditAhead {
			verdicts += 64 + len(list[count].d.Verdicts)
			count++
		}
		err = n.st.Update(func(tx *store.Tx) error {
			for _, m := range list[:count] {
				number, err := n.account.AppendOnce(tx, audit.Decide, m.d)
				if err != nil {
					return err
				}
				out[m.class] = append(out[m.class], number)
			}
			return nil
		})
		list = list[count:]
	}
	if err != nil {
		return nil, fmt.Errorf("noting decisions in the audit log: %w", err)
	}
	return out, nil
}

// auditPublish has the publication noted with its commit: which records under which decisions, by
// whom, in which entries. A publication of any number of records of few classes is one entry.
func (a *appender) auditPublish(ctx context.Context, p *Plan, rec *Receipt) error {
	classes := make([][]*audit.Details, len(p.decided))
	for i, c := range p.decided {
		classes[i] = a.n.decided(p.Topic, &c.PlanClass)
	}
	decisions, err := a.n.auditDecisions(classes)
	if err != nil {
		return err
	}
	ids := make([][]protocol.RecordID, len(p.decided))
	for i := range p.items {
		ids[p.items[i].class] = append(ids[p.items[i].class], rec.Records[i])
	}
	d := a.n.details("seal", CallerOf(ctx))
	d.Topic = p.Topic
	d.Text = fmt.Sprintf("policy generation %d", p.Generation)
	if p.behalf != nil {
		d.Orgs = []protocol.OrgID{p.behalf.said.Principal}
		d.Text += "; on behalf of another, mandate " + p.behalf.id.String()
	}
	if len(p.Refused) > 0 {
		d.Text += fmt.Sprintf("; %d more records were not published as they were", len(p.Refused))
	}
	d.Records = audit.RecordSet{Count: uint64(len(rec.Records))}
	for _, p := range rec.Parts {
		d.Records.Places = append(d.Records.Places, audit.Place{Feed: p.Feed, From: p.From, To: p.To})
	}
	var parts []audit.Part
	for i, list := range ids {
		if len(list) == 0 {
			continue // all of it is more than a term lets through today
		}
		set := audit.NewRecordSet(list, len(rec.Records) <= audit.MaxIDs)
		for _, number := range decisions[i] {
			parts = append(parts, audit.Part{Decision: number, Records: set})
		}
	}
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error {
		for part := range slices.Chunk(parts, auditParts) {
			d.Parts = part
			if _, err := a.n.account.Append(tx, audit.Publish, d); err != nil {
				return err
			}
		}
		return nil
	})
	return nil
}

// auditAppend has an act noted with the commit of what is appended.
func (a *appender) auditAppend(kind audit.Kind, d *audit.Details) {
	if last := a.nextSeq() - 1; last > a.feed.Seq {
		d.Topic = a.topic
		d.Records.Places = []audit.Place{{Feed: a.feed.ID, From: last, To: last}}
	}
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error { _, err := a.n.account.Append(tx, kind, d); return err })
}

// actOnward is the act of entries about what was looked at to be passed on: who may not have it, and
// why. Who was given it stands in entries of its own.
const actOnward = "decide who may be given it"

// onwardClass is records of one class that were looked at to be passed on.
type onwardClass struct {
	topic    string
	class    audit.Class
	verdicts []policy.OrgDecision
	records  []protocol.RecordID
	places   []audit.Place
}

// auditOnward notes in the transaction that fn is given what was decided about records that may be
// passed on. It says what was not said before ahead of that.
func (n *Node) auditOnward(classes []*onwardClass) (func(tx *store.Tx) error, error) {
	said := make([][]*audit.Details, len(classes))
	total := 0
	for i, c := range classes {
		said[i] = n.decisions(actOnward, c.topic, c.class, c.verdicts)
		total += len(c.records)
	}
	numbers, err := n.auditDecisions(said)
	if err != nil {
		return nil, err
	}
	byTopic := map[string][]audit.Part{}
	for i, c := range classes {
		set := audit.NewRecordSet(c.records, total <= audit.MaxIDs)
		set.Places = c.places
		for _, number := range numbers[i] {
			byTopic[c.topic] = append(byTopic[c.topic], audit.Part{Decision: number, Records: set})
		}
	}
	return func(tx *store.Tx) error {
		for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
			for part := range slices.Chunk(byTopic[topic], auditParts/8) {
				d := n.details(actOnward, Caller{})
				d.Topic, d.Parts = topic, part
				if _, err := n.account.Append(tx, audit.Publish, d); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}

// auditPassOn notes that records of others were sealed for organisations, in the entries from one
// on. They are of one batch; each class of them is an entry.
func (a *appender) auditPassOn(by Caller, records []crypto.VerifiedRecord, orgs []protocol.OrgID, from uint64) error {
	type class struct {
		d   *audit.Details
		ids []protocol.RecordID
	}
	byClass := map[string]*class{}
	var order []*class
	for i := range records {
		r := &records[i]
		kind := ""
		if o, err := stix.Parse(r.Object); err == nil {
			kind = o.Type
		}
		key := kind + "\x00" + string(r.HandlingBytes)
		c := byClass[key]
		if c == nil {
			c = &class{d: a.n.details("pass on", by)}
			c.d.Topic, c.d.Class = a.topic, audit.Class{Originator: r.Originator, Kind: kind, Handling: r.HandlingBytes}
			var entry *corpus.Entry
			if err := a.n.viewIndex(func(tx *store.Tx) (err error) { entry, err = a.n.getEntry(tx, r.ID); return err }); err != nil {
				return err
			}
			at := map[protocol.AgreementID]uint32{}
			for _, org := range orgs {
				v := policy.DecideOnward(a.snap.policy, org, a.n.subjectOf(a.snap, entry), uint64(nowMillis()))
				addVerdict(c.d, at, org, &v)
			}
			byClass[key] = c
			order = append(order, c)
		}
		c.ids = append(c.ids, r.ID)
	}
	for _, c := range order {
		c.d.Records = audit.NewRecordSet(c.ids, true)
		c.d.Records.Places = []audit.Place{{Feed: a.feed.ID, From: from, To: a.nextSeq() - 1}}
	}
	a.onCommit = append(a.onCommit, func(tx *store.Tx) error {
		for _, c := range order {
			if _, err := a.n.account.Append(tx, audit.Publish, c.d); err != nil {
				return err
			}
		}
		return nil
	})
	return nil
}

// auditReseal notes that records were sealed anew, for whom of their readers, and for whom not any
// more.
func (a *appender) auditReseal(verdicts []policy.OrgDecision, records []resealed) {
	d := a.n.details("seal anew", a.root.caller)
	at := map[protocol.AgreementID]uint32{}
	for i := range verdicts {
		addVerdict(d, at, verdicts[i].Org, &verdicts[i].Decision)
	}
	ids := make([]protocol.RecordID, len(records))
	for i := range records {
		ids[i] = records[i].record.ID
	}
	d.Records = audit.NewRecordSet(ids, true)
	a.auditAppend(audit.Publish, d)
}

// auditGrant notes that a key was handed out to nodes after what is sealed under it.
func (a *appender) auditGrant(ep *store.Epoch, from uint64, nodes []store.Granted) {
	d := a.n.details("hand out a key", Caller{})
	for _, g := range nodes {
		org := a.snap.nodes[g.Node]
		if !slices.Contains(d.Orgs, org) {
			d.Orgs = append(d.Orgs, org)
		}
		d.Text += g.Node.String() + " "
	}
	d.Text = audit.Clip(fmt.Sprintf("epoch %d, sealed under since entry %d, to nodes %s", ep.Number, from, d.Text), audit.MaxText)
	a.auditAppend(audit.Grant, d)
}

// auditErase notes an erasure: that this organisation decided, or that an author ordered.
func (n *Node) auditErase(tx *store.Tx, c Caller, by protocol.OrgID, act string, records []protocol.RecordID, reason protocol.EraseReason, places []audit.Place) error {
	d := n.details(act, c)
	d.By, d.Reason = by, reason.String()
	d.Records = audit.NewRecordSet(records, true)
	if len(places) > audit.MaxList {
		places = places[:audit.MaxList]
	}
	d.Records.Places = places
	if by != n.org {
		return n.account.AppendForeign(tx, audit.Erase, d)
	}
	_, err := n.account.Append(tx, audit.Erase, d)
	return err
}

// putErase keeps a signed erase, and notes it when it is kept for the first time.
func (n *Node) putErase(tx *store.Tx, c Caller, signed *protocol.SignedErase) error {
	h := signed.Hash()
	if held, err := tx.Get(append([]byte(kindErase), h[:]...)); err != nil {
		return err
	} else if held == nil {
		var e protocol.Erase
		if err := protocol.Decode(signed.Statement, protocol.MaxStatementSize, &e); err != nil {
			return err
		}
		s := n.snap.Load()
		var places []audit.Place
		for _, x := range e.Entries {
			places = append(places, audit.Place{Feed: e.Origin.FeedID(s.network), From: x.Seq, To: x.Seq})
		}
		if err := n.auditErase(tx, c, s.signers[e.Origin.Signing].org, "erase everywhere", e.Records, e.Reason, places); err != nil {
			return err
		}
	}
	return putDoc(tx, kindErase, h[:], &eraseDoc{Signed: *signed})
}

// auditQuarantine notes what was set aside of a feed, one entry for each reason.
func (n *Node) auditQuarantine(tx *store.Tx, publisher protocol.OrgID, list []quarantineDoc) error {
	byReason := map[string][]quarantineDoc{}
	for _, q := range list {
		byReason[q.Reason] = append(byReason[q.Reason], q)
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		list := byReason[reason]
		d := n.details("set aside", Caller{})
		d.By, d.Topic, d.Reason, d.Text = publisher, list[0].Topic, reason, audit.Clip(list[0].Text, audit.MaxText)
		var ids []protocol.RecordID
		for _, q := range list {
			if q.Record != (protocol.RecordID{}) {
				ids = append(ids, q.Record)
			}
			if k := len(d.Records.Places); k > 0 && d.Records.Places[k-1].To == q.Seq || k == audit.MaxList {
				continue
			}
			d.Records.Places = append(d.Records.Places, audit.Place{Feed: q.Feed, From: q.Seq, To: q.Seq})
		}
		places := d.Records.Places
		d.Records = audit.NewRecordSet(ids, true)
		d.Records.Places = places
		if err := n.account.AppendForeign(tx, audit.Quarantine, d); err != nil {
			return err
		}
	}
	return nil
}

// auditInvite notes an invitation: it opens the network to whoever uses it, and leaves no other trace.
func (n *Node) auditInvite(tx *store.Tx, org protocol.OrgID, until uint64) error {
	w := &changeWriter{n: n, tx: tx}
	if c := n.actor.Load(); c != nil {
		w.caller = *c
	}
	w.put(audit.Network, &audit.Details{By: n.org, Act: "invite", Orgs: []protocol.OrgID{org}, Text: "until " + millis(until).Format(time.RFC3339)})
	return w.err
}

// auditExclusion notes that an originator excluded organisations from records after it published them.
func (n *Node) auditExclusion(tx *store.Tx, x *protocol.ExclusionStatement) error {
	w := &changeWriter{n: n, tx: tx}
	if c := n.actor.Load(); c != nil {
		w.caller = *c
	}
	w.put(audit.Withdraw, &audit.Details{By: x.Originator, Act: "exclude", Orgs: x.Excluded, Records: audit.NewRecordSet(x.Records, true)})
	return w.err
}

// auditChange notes what a change changes of trust, agreements, members, topics, nodes and keys. It
// looks at the two states, so that no way in which one becomes the other is left out: by hand, by
// letter, in a file, from a sibling.
func (n *Node) auditChange(tx *store.Tx, was, now *snapshot) error {
	w := &changeWriter{n: n, tx: tx}
	if c := n.actor.Load(); c != nil {
		w.caller = *c
	}
	if was.network != now.network {
		w.put(audit.Network, &audit.Details{By: n.org, Act: "network", Text: now.network.String()})
	}
	for _, org := range sortedOrgs(now.pins) {
		if at, ok := was.pins[org]; !ok || at != now.pins[org] {
			w.add(audit.Trust, n.org, "pin", org)
		}
	}
	for _, org := range sortedOrgs(was.pins) {
		if _, ok := now.pins[org]; !ok {
			w.add(audit.Trust, n.org, "unpin", org)
		}
	}
	w.agreements(was, now)
	w.mandates(was, now)
	w.members(was, now)
	w.topics(was, now)
	w.cards(was, now)
	return w.err
}

func sortedOrgs[V any](m map[protocol.OrgID]V) []protocol.OrgID {
	return slices.SortedFunc(maps.Keys(m), protocol.OrgID.Compare)
}

// changeWriter notes what a change changes.
type changeWriter struct {
	n      *Node
	tx     *store.Tx
	caller Caller
	err    error
}

func (w *changeWriter) add(kind audit.Kind, by protocol.OrgID, act string, orgs ...protocol.OrgID) {
	w.put(kind, &audit.Details{By: by, Act: act, Orgs: orgs})
}

func (w *changeWriter) put(kind audit.Kind, d *audit.Details) {
	if w.err != nil {
		return
	}
	if d.By == w.n.org {
		own := w.n.details(d.Act, w.caller)
		d.At, d.Person, d.Purpose = own.At, own.Person, own.Purpose
		_, w.err = w.n.account.Append(w.tx, kind, d)
		return
	}
	d.At = uint64(nowMillis())
	w.err = w.n.account.AppendForeign(w.tx, kind, d)
}

// agreements notes the signatures and the events that there were not before, in the words in which
// an agreement's life is shown.
func (w *changeWriter) agreements(was, now *snapshot) {
	ids := slices.SortedFunc(maps.Keys(now.agreements), func(a, b protocol.AgreementID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		a, before := now.agreements[id], was.agreements[id]
		say := func(by protocol.OrgID, act, reason string) {
			w.put(audit.Agreement, &audit.Details{By: by, Act: act, Orgs: a.Parties, Agreements: []protocol.AgreementID{id}, Reason: audit.Clip(reason, audit.MaxText)})
		}
		var known []AgreementEvent
		var signed []protocol.PartySignature
		if before != nil {
			known, signed = was.events(before), before.Signed.Sigs
		}
		for _, e := range now.events(a) {
			if e.What == "signed by all" || slices.Contains(known, e) {
				continue // who signed is said below
			}
			by := e.Org
			if by.IsZero() {
				by = w.n.org // what follows of what was decided
			}
			say(by, e.What, e.Text)
		}
		for _, sig := range a.Signed.Sigs {
			same := func(p protocol.PartySignature) bool { return p.Org == sig.Org }
			if !slices.ContainsFunc(signed, same) && (before != nil || sig.Org != a.doc.Proposer) {
				say(sig.Org, "signed", "")
			}
		}
	}
}

// mandates notes those that were given and revoked.
func (w *changeWriter) mandates(was, now *snapshot) {
	keys := slices.SortedFunc(maps.Keys(now.mandates), func(a, b mandateKey) int { return slices.Compare(a.bytes(), b.bytes()) })
	for _, key := range keys {
		m, before := now.mandates[key], was.mandates[key]
		if m.said != nil && (before == nil || before.said == nil) {
			w.put(audit.Agreement, &audit.Details{By: key.principal, Act: "give mandate", Orgs: []protocol.OrgID{m.said.Agent}, Text: key.id.String() + " until " + millis(m.said.NotAfter).Format(time.RFC3339)})
		}
		if m.revoked != nil && (before == nil || before.revoked == nil) {
			w.put(audit.Agreement, &audit.Details{By: key.principal, Act: "revoke mandate", Reason: audit.Clip(m.revoked.Reason, audit.MaxText), Text: key.id.String()})
		}
	}
}

func (w *changeWriter) members(was, now *snapshot) {
	for _, org := range sortedOrgs(now.members) {
		if !was.members[org] {
			by := now.sponsors[org]
			if by.IsZero() {
				by = org // the founder
			}
			w.add(audit.Network, by, "member", org)
		}
	}
	for _, org := range sortedOrgs(was.members) {
		if !now.members[org] {
			r := now.removed[org]
			by := r.Steward
			if by.IsZero() {
				by = w.n.org
			}
			w.put(audit.Network, &audit.Details{By: by, Act: "remove member", Orgs: []protocol.OrgID{org}, Reason: audit.Clip(r.Reason, audit.MaxText)})
		}
	}
}

func (w *changeWriter) topics(was, now *snapshot) {
	for _, d := range []struct {
		act       string
		from, new map[protocol.TopicID]string
	}{{"join topic", was.topics, now.topics}, {"leave topic", now.topics, was.topics}} {
		for _, name := range slices.Compact(slices.Sorted(maps.Values(d.new))) {
			if _, ok := d.from[protocol.NewTopicID(now.network, name)]; !ok && name != protocol.ControlTopic {
				w.put(audit.Network, &audit.Details{By: w.n.org, Act: d.act, Topic: name})
			}
		}
	}
}

func (w *changeWriter) cards(was, now *snapshot) {
	for _, org := range sortedOrgs(now.cards) {
		c, before := now.cards[org], was.cards[org]
		if before == nil || before.Hash == c.Hash {
			continue
		}
		say := func(act, text string) {
			w.put(audit.Keys, &audit.Details{By: org, Act: act, Orgs: []protocol.OrgID{org}, Text: text})
		}
		if before.RootEpoch.Op != c.RootEpoch.Op {
			say("another operational key", "root epoch "+protocol.EpochText(c.RootEpoch.Epoch))
		}
		if len(before.Rotations) != len(c.Rotations) {
			say("other root keys", fmt.Sprintf("after %d root rotations %d of %d have to sign", len(c.Rotations), c.Root.Threshold, len(c.Root.Keys)))
		}
		for _, e := range c.Nodes {
			if before.Node(e.Node) == nil {
				say("add node", e.Node.String())
			}
		}
		for _, e := range before.Nodes {
			if after := c.Node(e.Node); after == nil {
				say("remove node", e.Node.String())
			} else if after.Recipient != e.Recipient || after.Signing != e.Signing {
				say("other keys of a node", e.Node.String())
			}
		}
	}
	for _, org := range sortedOrgs(now.conflicts) {
		if _, ok := was.conflicts[org]; !ok {
			w.add(audit.Keys, org, "two cards of one order", org)
		}
	}
}
