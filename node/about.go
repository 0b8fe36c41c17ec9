package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// What this node holds about a value: for who wants to know what is stored of them, and for those who
// have to erase it. Observables are found by the index; names and other texts stand in no index, and
// are found by going through all records.

// AboutQuery asks for what is held about a value.
type AboutQuery struct {
	Value string
	Exact bool // only what the index finds; texts are not gone through
	Limit int  // records that are listed; 0: DefaultAbout
}

// Bounds of an answer.
const (
	DefaultAbout     = 1000
	aboutPage        = 256    // records that are read at a time
	aboutAudit       = 200    // audit entries that are listed
	aboutQuarantined = 10_000 // entries set aside that are opened
)

// About is what is held about a value. What its reader may not read is not in it.
type About struct {
	Value      string             `json:"value"`
	At         time.Time          `json:"at"`
	Scanned    uint64             `json:"scanned"` // records whose texts were gone through; 0: none, the index alone was asked
	Records    []AboutRecord      `json:"records"`
	More       bool               `json:"more"` // there are more records than are listed
	Kept       []KeptRecord       `json:"kept"` // erased, and under a legal hold
	Releases   []ReleaseItem      `json:"releases"`
	Quarantine []AboutQuarantined `json:"quarantine"`
	Holds      []HoldInfo         `json:"holds"`
	Asks       []ErasureAsk       `json:"erasure_requests"` // of both directions
	Requests   []RequestInfo      `json:"requests"`         // of partners, and to them, that say the value, or whose replies do
	Handouts   []BeyondRow        `json:"handouts"`         // that may hold one of the records
	Dead       []DeadLetter       `json:"dead_letters"`     // of sources
	Audit      []AboutAudit       `json:"audit"`            // entries that name a record, its envelope, or the value
	AuditMore  int                `json:"audit_more"`       // entries beyond those that are listed
	Closed     AboutClosed        `json:"not_looked_into"`
}

// AboutRecord is a record that mentions the value.
type AboutRecord struct {
	Record
	Match      string           `json:"match"` // exact: found by the index; text: in one of its texts
	Personal   string           `json:"personal_data_found,omitempty"`
	Own        bool             `json:"own"` // this organisation published it
	Path       []Hop            `json:"way"`
	Why        *Verdict         `json:"why,omitempty"`         // by which agreement and term it is here; none: it is own
	Ends       *time.Time       `json:"retained_until"`        // when it is erased by itself; null: never
	Recipients []AboutRecipient `json:"recipients"`            // for whom it was sealed here
	Holds      []string         `json:"held_by,omitempty"`     // legal holds
	Asked      []string         `json:"asked_erase,omitempty"` // requests to erase that name it

	cursor  uint64
	entry   *corpus.Entry
	copies  []corpus.Copy
	ownEnds uint64
}

// AboutRecipient is an organisation for which a record was sealed here.
type AboutRecipient struct {
	Org    OrgRef     `json:"organisation"`
	Sealed time.Time  `json:"sealed"`
	Held   *time.Time `json:"held,omitempty"`   // a node of it signed that it holds the envelope; by its clock
	Opened *time.Time `json:"opened,omitempty"` // and that it opened it
}

// AboutQuarantined is a record that was set aside, as far as it opens.
type AboutQuarantined struct {
	Quarantined
	Match string `json:"match"`

	place  protocol.EntryRef
	record protocol.RecordID // zero: the whole entry
	own    bool
}

// AboutAudit is an entry of an audit log.
type AboutAudit struct {
	Log    audit.ID  `json:"log"`
	Number uint64    `json:"number"`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
	Act    string    `json:"act"`
	Person string    `json:"person,omitempty"`
	Names  string    `json:"names"` // record, envelope or value: by what it was found
}

// AboutClosed counts what could not be looked into.
type AboutClosed struct {
	ForOthers    uint64 `json:"sealed_for_others"` // envelopes that nobody here can open
	AwaitingKey  uint64 `json:"awaiting_key"`      // envelopes that may open later
	AwaitingBody uint64 `json:"awaiting_body"`     // envelopes whose bodies are not held
	Pending      uint64 `json:"pending"`           // envelopes that were not gone through yet
	Quarantined  uint64 `json:"quarantined"`       // envelopes that were set aside and do not open
	AuditErased  uint64 `json:"audit_erased"`      // audit entries whose details were erased
}

// About finds what is held about a value, and notes that it was shown.
func (r *Reader) About(ctx context.Context, q AboutQuery) (*About, error) {
	out, err := r.about(ctx, q)
	if err != nil {
		return nil, err
	}
	var ids []protocol.RecordID
	for i := range out.Records {
		ids = append(ids, out.Records[i].ID)
	}
	for i := range out.Kept {
		ids = append(ids, out.Kept[i].ID)
	}
	return out, r.n.Disclose(ctx, Disclosure{Act: "find all about", Query: q.Value, Records: ids})
}

func (r *Reader) about(ctx context.Context, q AboutQuery) (*About, error) {
	n := r.n
	if err := n.usable(); err != nil {
		return nil, err
	}
	if q.Value == "" || len(q.Value) > protocol.MaxTextSize {
		return nil, protocol.Errorf(protocol.ErrMalformed, "say about what, in at most %d bytes", protocol.MaxTextSize)
	}
	if q.Limit <= 0 {
		q.Limit = DefaultAbout
	}
	q.Limit = min(q.Limit, MaxLimit)
	a := &aboutFinder{r: r, n: n, s: n.snap.Load(), q: q, see: r.sees(rules.Read), m: corpus.NewMatcher(q.Value), seen: map[protocol.RecordID]bool{},
		out: &About{Value: q.Value, At: millis(uint64(nowMillis())), Records: []AboutRecord{}, Releases: []ReleaseItem{}, Quarantine: []AboutQuarantined{},
			Dead: []DeadLetter{}, Holds: []HoldInfo{}, Asks: []ErasureAsk{}, Requests: []RequestInfo{}, Handouts: []BeyondRow{}, Audit: []AboutAudit{}}}
	for _, step := range []func(context.Context) error{a.index, a.texts, a.details, a.kept, a.releases, a.quarantined, a.dead, a.asks, a.requests, a.holds, a.handouts, a.audit, a.closed} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a.out, nil
}

// aboutFinder puts together what is held about a value.
type aboutFinder struct {
	r    *Reader
	n    *Node
	s    *snapshot
	q    AboutQuery
	see  func(*Record) bool
	m    *corpus.Matcher
	seen map[protocol.RecordID]bool // found, readable or not
	out  *About
}

// take lists a record that was found; false: there is no room for more.
func (a *aboutFinder) take(e *corpus.Entry, match string) bool {
	if a.seen[e.Record] {
		return true
	}
	a.seen[e.Record] = true
	rec := AboutRecord{Record: a.n.record(a.s, e), Match: match, cursor: e.Cursor, entry: e, Own: e.Publisher == a.n.org, Recipients: []AboutRecipient{}}
	if !a.see(&rec.Record) {
		return true
	}
	if len(a.out.Records) == a.q.Limit {
		a.out.More = true
		return false
	}
	a.out.Records = append(a.out.Records, rec)
	return true
}

// index finds what the index does.
func (a *aboutFinder) index(ctx context.Context) error {
	for after := uint64(0); !a.out.More; {
		var page []corpus.Entry
		var next uint64
		if err := a.n.viewIndex(func(tx *store.Tx) (err error) {
			page, next, err = a.n.index.Search(tx, corpus.Query{Value: a.q.Value, All: true, IncludeWithdrawn: true, After: after, Limit: aboutPage})
			return err
		}); err != nil {
			return err
		}
		for i := range page {
			if !a.take(&page[i], "exact") {
				break
			}
		}
		if after = next; after == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// texts goes through the texts of all records.
func (a *aboutFinder) texts(ctx context.Context) error {
	if a.q.Exact {
		return nil
	}
	for after := uint64(0); !a.out.More; {
		var page []corpus.Entry
		next := after
		if err := a.n.viewIndex(func(tx *store.Tx) (err error) {
			page, next, err = corpus.Since(tx, after, aboutPage)
			return err
		}); err != nil {
			return err
		}
		for i := range page {
			a.out.Scanned++
			how, err := a.m.MatchText(page[i].Object)
			if err != nil {
				return err
			}
			if how == corpus.InText && !a.take(&page[i], "text") {
				break
			}
		}
		if len(page) == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		after = next
	}
	return nil
}

// details says of each record how it came, how long it stays, and who has it from here.
func (a *aboutFinder) details(ctx context.Context) error {
	cursors := map[uint64]bool{}
	for i := range a.out.Records {
		cursors[a.out.Records[i].cursor] = true
	}
	var ends map[uint64]uint64
	if err := a.n.st.View(func(tx *store.Tx) (err error) { ends, err = corpus.Expiries(tx, cursors); return err }); err != nil {
		return err
	}
	for i := range a.out.Records {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec := &a.out.Records[i]
		e := rec.entry
		if o, err := stix.Parse(e.Object); err == nil {
			_, rec.Personal = stix.Personal(o, stix.Observables(o))
		}
		rec.Path = a.way(e)
		if !rec.Own {
			why := a.s.verdict(a.n.org, policy.Decision{Allow: true, Reason: policy.ReasonOK, Agreement: e.Agreement, Term: e.Term, Text: e.Text})
			rec.Why = &why
		}
		if err := a.n.viewIndex(func(tx *store.Tx) error { return a.recipients(tx, rec) }); err != nil {
			return err
		}
		at := ends[rec.cursor]
		if rec.ownEnds != 0 && (at == 0 || rec.ownEnds < at) {
			at = rec.ownEnds
		}
		if at != 0 {
			t := millis(at)
			rec.Ends = &t
		}
	}
	return nil
}

func (a *aboutFinder) way(e *corpus.Entry) []Hop {
	out := []Hop{{Org: a.s.ref(e.Originator), Role: "originator"}}
	if path := a.n.pathOf(e); len(path) > 1 {
		for _, org := range path[:len(path)-1] {
			out = append(out, Hop{Org: a.s.ref(org), Role: "passed on"})
		}
	}
	return append(out, Hop{Org: a.s.ref(e.Publisher), Role: "publisher", Feed: e.Feed.String(), Seq: e.Seq})
}

// recipients lists for whom a record was sealed here, with what they signed to have.
func (a *aboutFinder) recipients(tx *store.Tx, rec *AboutRecord) error {
	rec.Recipients, rec.ownEnds = rec.Recipients[:0], 0
	list, err := a.n.index.Copies(tx, rec.ID)
	if err != nil {
		return err
	}
	rec.copies = list
	for _, c := range list {
		var doc publishedDoc
		if ok, err := getDoc(tx, kindPublished, entryKey(c.Feed, c.Seq), &doc); err != nil {
			return err
		} else if !ok {
			continue
		}
		if doc.RetentionDays != 0 && (rec.ownEnds == 0 || doc.end() < rec.ownEnds) {
			rec.ownEnds = doc.end()
		}
		delivered, err := a.n.deliveries(tx, c.Feed, c.Seq)
		if err != nil {
			return err
		}
		for _, org := range doc.Orgs {
			if org == a.n.org {
				continue
			}
			x := AboutRecipient{Org: a.s.ref(org), Sealed: millis(doc.At)}
			for _, d := range delivered {
				if d.Org.ID != org {
					continue
				}
				at := d.At
				if d.Held {
					x.Held = &at
				}
				if d.Opened {
					x.Opened = &at
				}
			}
			rec.Recipients = append(rec.Recipients, x)
		}
	}
	return nil
}

// kept finds what was erased and is under a hold.
func (a *aboutFinder) kept(context.Context) error {
	list, err := a.r.Kept("")
	a.out.Kept = []KeptRecord{}
	for i := range list {
		var how corpus.Mention
		if err == nil {
			how, err = a.m.Match(list[i].Object)
		}
		if err == nil && how != corpus.NotMentioned {
			a.out.Kept = append(a.out.Kept, list[i])
		}
	}
	return err
}

// named reports whether a set names one of the records that are listed, or one that is kept.
func (a *aboutFinder) named(ids []protocol.RecordID) bool {
	return slices.ContainsFunc(ids, func(id protocol.RecordID) bool {
		return slices.ContainsFunc(a.out.Records, func(r AboutRecord) bool { return r.ID == id }) ||
			slices.ContainsFunc(a.out.Kept, func(r KeptRecord) bool { return r.ID == id })
	})
}

// releases finds what waits for persons.
func (a *aboutFinder) releases(context.Context) error {
	return a.n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindRelease, func(id []byte, d *releaseDoc) error {
			if releaseState(d.State) == releaseWaits && a.named(d.Records) {
				_, number := splitEntryKey(append(make([]byte, 32), id...))
				a.out.Releases = append(a.out.Releases, a.s.releaseItem(number, d, false))
			}
			return nil
		})
	})
}

// quarantined finds what was set aside, in the entries that open.
func (a *aboutFinder) quarantined(ctx context.Context) error {
	docs, err := a.n.quarantined("")
	if err != nil {
		return err
	}
	var at protocol.EntryRef
	var body *protocol.Body
	opened := 0
	for i := range docs {
		q := &docs[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		if next := (protocol.EntryRef{Feed: q.Feed, Seq: q.Seq}); next != at {
			at, body = next, nil
			if opened++; opened <= aboutQuarantined {
				body = a.n.bodyAt(next)
			}
			if body == nil {
				a.out.Closed.Quarantined++
			}
		}
		if body == nil {
			continue
		}
		match, err := a.inBody(q, body)
		if err != nil {
			return err
		}
		if match != "" {
			a.out.Quarantine = append(a.out.Quarantine, AboutQuarantined{Quarantined: a.s.quarantineView(q), Match: match, place: at, record: q.Record, own: q.Publisher == a.n.org})
		}
	}
	return nil
}

// bodyAt opens the body of an entry; nil if it does not open.
func (n *Node) bodyAt(at protocol.EntryRef) *protocol.Body {
	_, plain, _, err := n.ownPlain(at.Feed, at.Seq)
	if err != nil {
		return nil
	}
	body := new(protocol.Body)
	if protocol.Decode(plain, protocol.MaxPlainSize, body) != nil {
		return nil
	}
	return body
}

// inBody tells how the record that was set aside, or any of the entry's if the whole of it was, mentions
// the value; "" if none does that may be read.
func (a *aboutFinder) inBody(q *quarantineDoc, body *protocol.Body) (string, error) {
	index := uint32(0)
	for b := range body.Batches {
		part := &body.Batches[b]
		for i := range part.Items {
			item := &part.Items[i]
			this := q.Record == (protocol.RecordID{}) || index == q.Index
			if index++; !this {
				continue
			}
			how, err := a.m.Match(item.Object)
			if err != nil { // it was set aside because it does not parse
				if how, err = a.m.MatchText(item.Object); err != nil {
					continue
				}
			}
			var h protocol.Handling
			if how == corpus.NotMentioned || int(item.Handling) >= len(body.Handlings) || protocol.Decode(body.Handlings[item.Handling], protocol.MaxPlainSize, &h) != nil {
				continue
			}
			var st protocol.BatchStatement
			if protocol.Decode(part.Statement, protocol.MaxStatementSize, &st) != nil {
				continue
			}
			kind := q.Type
			if o, err := stix.Parse(item.Object); err == nil {
				kind = o.Type
			}
			if !a.see(&Record{Originator: a.s.ref(st.Originator), Publisher: a.s.ref(q.Publisher), Topic: q.Topic, Type: kind, handling: &h}) {
				continue
			}
			if how == corpus.Exactly {
				return "exact", nil
			}
			return "text", nil
		}
	}
	return "", nil
}

// asks finds the requests to erase that name one of the records.
func (a *aboutFinder) asks(context.Context) error {
	byRecord := map[protocol.RecordID][]string{}
	list, err := a.n.asks(func(x *ask) bool {
		if !a.named(x.request.Records) {
			return false
		}
		for _, id := range x.request.Records {
			byRecord[id] = append(byRecord[id], askID(x.name))
		}
		return true
	})
	a.out.Asks = append(a.out.Asks, list...)
	for i := range a.out.Records {
		ids := byRecord[a.out.Records[i].ID]
		slices.Sort(ids)
		a.out.Records[i].Asked = slices.Compact(ids)
	}
	return err
}

// requests finds the requests for information that say the value.
func (a *aboutFinder) requests(context.Context) error {
	return a.n.st.View(func(tx *store.Tx) error {
		a.out.Requests = []RequestInfo{}
		return eachRequest(tx, func(_ []byte, r *request) error {
			if !r.erased() && r.mentions(a.m, a.q.Value) {
				a.out.Requests = append(a.out.Requests, a.s.requestInfo(r))
			}
			return nil
		})
	})
}

// holds finds the legal holds that keep one of the records.
func (a *aboutFinder) holds(context.Context) error {
	keeps := map[string]bool{}
	if err := a.n.st.View(func(tx *store.Tx) error {
		h, err := readHolds(tx, uint64(nowMillis()))
		if err != nil || len(h.list) == 0 {
			return err
		}
		for i := range a.out.Records {
			by, err := h.of(a.out.Records[i].entry)
			if err != nil {
				return err
			}
			a.out.Records[i].Holds = nil
			for _, d := range by {
				keeps[holdID(d.ID)] = true
				a.out.Records[i].Holds = append(a.out.Records[i].Holds, holdID(d.ID))
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for i := range a.out.Kept {
		for _, id := range a.out.Kept[i].Held {
			keeps[id] = true
		}
	}
	all, err := a.n.Holds(false)
	for i := range all {
		if keeps[all[i].ID] {
			a.out.Holds = append(a.out.Holds, all[i])
		}
	}
	return err
}

// handouts finds what left this node and may hold one of the records.
func (a *aboutFinder) handouts(context.Context) error {
	taken := copies{}
	for i := range a.out.Records {
		taken.add(a.out.Records[i].entry)
	}
	if len(taken.cursors) == 0 {
		return nil
	}
	rows, err := taken.find(a.n, false)
	a.out.Handouts = append(a.out.Handouts, rows...)
	return err
}

// audit finds the entries of the audit logs that concern the records or name the value.
func (a *aboutFinder) audit(ctx context.Context) error {
	ids, places := map[protocol.RecordID]bool{}, map[protocol.FeedID]map[uint64]bool{}
	place := func(feed protocol.FeedID, seq uint64) {
		if places[feed] == nil {
			places[feed] = map[uint64]bool{}
		}
		places[feed][seq] = true
	}
	for i := range a.out.Records {
		rec := &a.out.Records[i]
		ids[rec.ID] = true
		for _, c := range rec.copies {
			place(c.Feed, c.Seq)
		}
	}
	for i := range a.out.Kept {
		ids[a.out.Kept[i].ID] = true
		place(a.out.Kept[i].Feed, a.out.Kept[i].Seq)
	}
	return a.n.st.View(func(tx *store.Tx) error {
		logs, err := audit.Logs(tx)
		for _, l := range logs {
			if err != nil {
				return err
			}
			err = l.Each(tx, 0, func(e *audit.Entry) (bool, error) {
				d := e.Details
				if d == nil {
					a.out.Closed.AuditErased++
					return ctx.Err() == nil, ctx.Err()
				}
				names := ""
				switch {
				case d.NamesAny(ids):
					names = "record"
				case d.CoversAny(places):
					names = "envelope"
				case a.m.Says(d.Text) || a.m.Says(d.Reason):
					names = "value"
				default:
					return ctx.Err() == nil, ctx.Err()
				}
				if len(a.out.Audit) == aboutAudit {
					a.out.AuditMore++
				} else {
					a.out.Audit = append(a.out.Audit, AboutAudit{Log: l.Log, Number: e.Number, Kind: e.Leaf.Kind.String(), At: millis(d.At), Act: d.Act, Person: d.Person, Names: names})
				}
				return true, nil
			})
		}
		return err
	})
}

// closed counts what could not be looked into.
func (a *aboutFinder) closed(context.Context) error {
	c := &a.out.Closed
	return a.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if a.s.topics[f.Origin.Topic] == protocol.ControlTopic {
				return nil // letters
			}
			c.Pending += f.Seq - min(f.Opened, f.Seq)
			for state, count := range map[store.EntryState]*uint64{store.NotForUs: &c.ForOthers, store.AwaitingKey: &c.AwaitingKey, store.AwaitingBody: &c.AwaitingBody} {
				list, err := tx.EntriesIn(f.ID, state)
				if err != nil {
					return err
				}
				*count += uint64(len(list))
			}
			return nil
		})
	})
}

// EraseAbout asks to erase what is held about a value.
type EraseAbout struct {
	Value  string
	Exact  bool
	Reason protocol.EraseReason
	DryRun bool
	Ask    bool // ask who got them from here, and their originators and publishers, to erase them too
	Due    time.Time
	Onward bool
	Text   string // for those who are asked
}

// ErasedAbout says what an erasure by value does, or would do.
type ErasedAbout struct {
	Value    string        `json:"value"`
	DryRun   bool          `json:"dry_run"`
	Records  []AboutRecord `json:"records"`
	More     bool          `json:"more"`       // there are more: erase again
	Others   int           `json:"everywhere"` // records of which every copy in the mesh goes
	Here     int           `json:"here"`       // records of others, that go here only
	Held     int           `json:"held"`       // records of which a copy is kept under a legal hold
	Set      int           `json:"set_aside"`  // records set aside that mention it: the envelopes of others that hold them go here
	Requests int           `json:"requests"`   // for information that say it: their words and values go here
	Dead     int           `json:"dead_letters"`
	WouldAsk []AskTo       `json:"would_ask,omitempty"`
	Asked    []ErasureAsk  `json:"asked,omitempty"`
	Report   *EraseReport  `json:"report,omitempty"`
}

// AskTo counts the records that an organisation is asked about.
type AskTo struct {
	Org     OrgRef `json:"organisation"`
	Records int    `json:"records"`
}

// EraseAbout erases what is held about a value and the reader may read; with DryRun it says what that
// would be.
func (r *Reader) EraseAbout(ctx context.Context, q EraseAbout) (*ErasedAbout, error) {
	n := r.n
	about, err := r.About(ctx, AboutQuery{Value: q.Value, Exact: q.Exact, Limit: MaxLimit})
	if err != nil {
		return nil, err
	}
	out := &ErasedAbout{Value: q.Value, DryRun: q.DryRun, Records: about.Records, More: about.More, Set: len(about.Quarantine), Requests: len(about.Requests), Dead: len(about.Dead)}
	var ids []protocol.RecordID
	for i := range about.Records {
		rec := &about.Records[i]
		ids = append(ids, rec.ID)
		if len(rec.Holds) > 0 {
			out.Held++
		}
	}
	if len(ids)+out.Set+out.Requests+out.Dead == 0 {
		return out, nil
	}
	own, local, err := n.erasePlaces(ids)
	if err != nil {
		return nil, err
	}
	everywhere := map[protocol.RecordID]bool{}
	for _, p := range own {
		for _, id := range p.records {
			everywhere[id] = true
		}
	}
	out.Others, out.Here = len(everywhere), len(local)
	if q.Ask {
		whom, err := n.whomToAsk(ids, nil)
		if err != nil {
			return nil, err
		}
		s := n.snap.Load()
		for _, org := range sortedOrgs(whom) {
			out.WouldAsk = append(out.WouldAsk, AskTo{s.ref(org), len(whom[org])})
		}
	}
	if q.DryRun {
		return out, nil
	}
	if len(out.WouldAsk) > 0 { // first: what is erased here does not tell any more who has it
		if out.Asked, err = n.AskErasure(ctx, AskRequest{Records: ids, Reason: q.Reason, Text: q.Text, Due: q.Due, Onward: q.Onward}); err != nil {
			return nil, err
		}
	}
	if err := n.noteErasedValue(q.Value); err != nil {
		return nil, err
	}
	for part := range slices.Chunk(ids, eraseAboutChunk) {
		rep, err := n.Erase(ctx, EraseRequest{Records: part, Reason: q.Reason})
		if rep != nil {
			out.Report = out.Report.add(rep)
		}
		if err != nil {
			return out, fmt.Errorf("erasing what mentions the value: %w", err)
		}
	}
	if err := n.eraseAside(about.Quarantine, q.Reason, CallerOf(ctx)); err != nil {
		return out, err
	}
	if out.Dead > 0 {
		if err := n.eraseDead(ctx, about.Dead); err != nil {
			return out, err
		}
	}
	if out.Requests > 0 {
		if out.Requests, err = n.eraseRequests(ctx, q.Value); err != nil {
			return out, err
		}
	}
	return out, nil
}

// eraseAside destroys here what was set aside of others.
func (n *Node) eraseAside(list []AboutQuarantined, reason protocol.EraseReason, c Caller) error {
	var ids []protocol.RecordID
	var whole []protocol.EntryRef
	for i := range list {
		switch q := &list[i]; {
		case q.own:
		case q.record == (protocol.RecordID{}):
			whole = append(whole, q.place)
		default:
			ids = append(ids, q.record)
		}
	}
	if len(ids) > 0 {
		if _, err := n.eraseLocally(ids, reason, c); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(whole, 64) {
		if err := n.st.Update(func(tx *store.Tx) error {
			var places []audit.Place
			for _, at := range part {
				if err := eraseWhole(tx, at, reason); err != nil {
					return err
				}
				places = append(places, audit.Place{Feed: at.Feed, From: at.Seq, To: at.Seq})
			}
			return n.auditErase(tx, c, n.org, "erase here what was set aside", nil, reason, places)
		}); err != nil {
			return err
		}
	}
	return nil
}

// eraseAboutChunk is how many records one erasure takes: at most so many own entries are sealed anew
// before it is known that it is stopped.
const eraseAboutChunk = 1000

// add joins the reports of two erasures.
func (r *EraseReport) add(next *EraseReport) *EraseReport {
	if r == nil {
		return next
	}
	r.Erased, r.Resealed, r.Entries, r.Signed = r.Erased+next.Erased, r.Resealed+next.Resealed, r.Entries+next.Entries, r.Signed+next.Signed
	r.Local, r.Siblings, r.Held = r.Local+next.Local, r.Siblings+next.Siblings, r.Held+next.Held
	for _, o := range next.Told {
		if !slices.Contains(r.Told, o) {
			r.Told = append(r.Told, o)
		}
	}
	for _, b := range next.Beyond {
		if !slices.Contains(r.Beyond, b) {
			r.Beyond = append(r.Beyond, b)
		}
	}
	return r
}
