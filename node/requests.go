package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// A party asks another one what it knows, and terms say within which time it is answered. What answers
// a request are records, published as any, or words of a person.

// Request is what a partner is asked.
type Request struct {
	To      protocol.OrgID
	Purpose string
	Text    string
	Values  []string
}

// RequestInfo is a request that this organisation made or got.
type RequestInfo struct {
	ID        string               `json:"id"`
	From      OrgRef               `json:"from"`
	To        OrgRef               `json:"to"`
	Agreement protocol.AgreementID `json:"agreement"`
	Purpose   string               `json:"purpose,omitempty"`
	Text      string               `json:"text,omitempty"`
	Values    []string             `json:"values,omitempty"`
	At        time.Time            `json:"at"`            // by the clock of who asked
	Due       *time.Time           `json:"due,omitempty"` // none: the agreement promises nothing
	State     string               `json:"state"`         // open, answered, declined
	Overdue   bool                 `json:"overdue,omitempty"`
	Person    string               `json:"person,omitempty"` // who asked, or replied, here
	Reply     string               `json:"reply,omitempty"`
	Replied   *time.Time           `json:"replied,omitempty"`
	Records   []string             `json:"records,omitempty"` // that answer it
	// Of a request that was got: how many records are held here about its values, and how many of
	// them were sealed for who asks.
	Held   int `json:"held,omitempty"`
	Shared int `json:"shared,omitempty"`
}

const (
	// maxOpenRequests bounds the requests of one organisation that wait here for a reply.
	maxOpenRequests = 256
	// requestKept is how long a request is kept after its reply, in milliseconds.
	requestKept = 400 * dayMillis
)

var requestStates = [...]string{"open", "answered", "declined"}

// request is one that is known here, with its reply.
type request struct {
	doc   protocol.SiblingRequest
	asked protocol.InfoRequest
	reply *protocol.InfoReply // nil: none
}

func readRequest(d *protocol.SiblingRequest) (*request, error) {
	r := &request{doc: *d}
	err := protocol.Decode(d.Request, protocol.MaxLetterSize, &r.asked)
	if err == nil && len(d.Reply) > 0 {
		r.reply = new(protocol.InfoReply)
		err = protocol.Decode(d.Reply, protocol.MaxLetterSize, r.reply)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a request: %w", err)
	}
	return r, nil
}

// requestKey names a request and who made it: another's fills no place of it.
func requestKey(from protocol.OrgID, id protocol.RequestID) []byte {
	return append(from[:len(from):len(from)], id[:]...)
}

func eachRequest(tx *store.Tx, fn func(id []byte, r *request) error) error {
	return scanRequests(tx, nil, fn)
}

// eachRequestOf is eachRequest of those that one organisation made.
func eachRequestOf(tx *store.Tx, from protocol.OrgID, fn func(id []byte, r *request) error) error {
	return scanRequests(tx, from[:], fn)
}

func scanRequests(tx *store.Tx, prefix []byte, fn func(id []byte, r *request) error) error {
	return scanDocs(tx, kindRequest+string(prefix), func(id []byte, d *protocol.SiblingRequest) error {
		r, err := readRequest(d)
		if err != nil {
			return err
		}
		return fn(slices.Concat(prefix, id), r)
	})
}

// due returns when a request is to be answered: the shortest time that a term of its agreement
// promises; zero if none does. At who is asked it counts from when it came, if that is later than it
// says that it was made: nobody makes a partner late by an early date.
func (s *snapshot) due(q *request) (at time.Time) {
	r, made := &q.asked, q.asked.At
	if r.To == s.policy.Self {
		made = max(made, q.doc.Seen)
	}
	a := s.agreements[r.Agreement]
	if a == nil {
		return at
	}
	hours := uint32(0)
	for i := range a.Terms {
		if t := &a.Terms[i]; t.From == r.To && t.To == r.From && t.ReplyHours > 0 && (hours == 0 || t.ReplyHours < hours) {
			hours = t.ReplyHours
		}
	}
	if hours > 0 {
		at = millis(made).Add(time.Duration(hours) * time.Hour)
	}
	return at
}

// mayAsk returns the agreement under which one organisation asks another for a purpose: one in force with
// a term from who is asked to who asks, which allows the purpose, and of several the one that promises the
// soonest reply.
func (s *snapshot) mayAsk(from, to protocol.OrgID, purpose string, now uint64) (protocol.AgreementID, error) {
	var best protocol.AgreementID
	hours, found, other := uint32(0), false, false
	for _, a := range s.agreements {
		if len(a.Missing) > 0 || !s.lives[a.ID].Between(from, to, now) {
			continue
		}
		for i := range a.Terms {
			t := &a.Terms[i]
			if t.From != to || t.To != from {
				continue
			}
			if purpose != "" && len(t.Purposes) > 0 && !slices.Contains(t.Purposes, purpose) {
				other = true
				continue
			}
			sooner := cmp.Compare(cmp.Or(t.ReplyHours, 1<<31), cmp.Or(hours, 1<<31))
			if !found || sooner < 0 || sooner == 0 && slices.Compare(a.ID[:], best[:]) < 0 {
				best, hours, found = a.ID, t.ReplyHours, true
			}
		}
	}
	switch {
	case found:
		return best, nil
	case other:
		return best, protocol.Errorf(protocol.ErrNoAgreement, "no term from %s to %s is for the purpose %q", s.name(to), s.name(from), purpose)
	}
	return best, protocol.Errorf(protocol.ErrNoAgreement, "no agreement in force has a term from %s to %s; who is to answer needs one that lets it", s.name(to), s.name(from))
}

// Ask asks a partner, in a letter that is sent when it can be.
func (n *Node) Ask(ctx context.Context, q Request) (*RequestInfo, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	s := n.snap.Load()
	r := &protocol.InfoRequest{Version: 1, Network: s.network, From: n.org, To: q.To, Purpose: q.Purpose, Text: strings.TrimSpace(q.Text), Values: slices.Clone(q.Values), At: uint64(nowMillis())}
	if r.Values == nil {
		r.Values = []string{}
	}
	rand.Read(r.ID[:])
	var err error
	if r.Agreement, err = s.mayAsk(n.org, q.To, q.Purpose, r.At); err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	doc := &protocol.SiblingRequest{Request: protocol.Encode(r), Reply: []byte{}, Person: audit.Clip(CallerOf(ctx).Person, protocol.MaxNameSize), Seen: r.At}
	if err := n.st.Update(func(tx *store.Tx) error {
		return errors.Join(n.putRequest(tx, r, doc), n.auditRequest(tx, CallerOf(ctx), "ask", r, n.org, ""),
			keepLetter(tx, &pendingLetter{Parties: []protocol.OrgID{q.To}, Kind: protocol.LetterRequest, Content: doc.Request}))
	}); err != nil {
		return nil, err
	}
	n.sendDecided()
	return n.RequestOf(requestName(r.ID))
}

// requestName is how people call a request.
func requestName(id protocol.RequestID) string { return "req:" + hex.EncodeToString(id[:6]) }

// auditRequest notes what was asked, or replied. The words and values stand with the request alone, so
// that they go when it does.
func (n *Node) auditRequest(tx *store.Tx, c Caller, act string, r *protocol.InfoRequest, by protocol.OrgID, reason string) error {
	d := n.details(act, c)
	d.By, d.Orgs, d.Agreements, d.Reason = by, []protocol.OrgID{r.From, r.To}, []protocol.AgreementID{r.Agreement}, reason
	d.Text = requestName(r.ID)
	if d.Purpose == "" {
		d.Purpose = audit.Clip(r.Purpose, audit.MaxName)
	}
	if by != n.org {
		return n.account.AppendForeign(tx, audit.Agreement, d)
	}
	_, err := n.account.Append(tx, audit.Agreement, d)
	return err
}

// past reports whether a request was answered so long ago that it is not kept any more.
func (r *request) past(now uint64) bool { return r.reply != nil && r.reply.At+requestKept < now }

// putRequest stores a request, if not too many of its organisation wait, and takes away those that are
// past.
func (n *Node) putRequest(tx *store.Tx, r *protocol.InfoRequest, d *protocol.SiblingRequest) error {
	var past [][]byte
	open, now := 0, uint64(nowMillis())
	key := requestKey(r.From, r.ID)
	if err := eachRequestOf(tx, r.From, func(id []byte, have *request) error {
		switch {
		case have.past(now):
			past = append(past, id)
		case have.asked.To == r.To && have.reply == nil && !bytes.Equal(id, key):
			open++
		}
		return nil
	}); err != nil {
		return err
	}
	if open >= maxOpenRequests {
		return protocol.Errorf(protocol.ErrOversize, "%d requests of %s wait for a reply already; wait until some were answered", open, r.From.Short())
	}
	for _, id := range past {
		if err := tx.Delete(append([]byte(kindRequest), id...)); err != nil {
			return err
		}
	}
	return putDoc(tx, kindRequest, key, d)
}

// receiveRequest takes what a partner asks.
func (n *Node) receiveRequest(s *snapshot, l *protocol.Letter) error {
	var r protocol.InfoRequest
	if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &r); err != nil {
		return err
	}
	if r.Network != s.network || r.From != l.Sender || r.To != n.org {
		return protocol.Errorf(protocol.ErrWrongContext, "request is not of its sender, or not to this organisation")
	}
	if a := s.agreements[r.Agreement]; a == nil || len(a.Missing) > 0 || !s.lives[a.ID].Between(r.From, r.To, uint64(nowMillis())) ||
		!slices.ContainsFunc(a.Terms, func(t protocol.Term) bool {
			return t.From == r.To && t.To == r.From && (r.Purpose == "" || len(t.Purposes) == 0 || slices.Contains(t.Purposes, r.Purpose))
		}) {
		return protocol.Errorf(protocol.ErrNoAgreement, "request is under no agreement in force that lets this organisation answer it")
	}
	return n.st.Update(func(tx *store.Tx) error {
		if held, err := tx.Get(append([]byte(kindRequest), requestKey(r.From, r.ID)...)); err != nil || held != nil {
			return err
		}
		return errors.Join(n.putRequest(tx, &r, &protocol.SiblingRequest{Request: protocol.Encode(&r), Reply: []byte{}, Seen: uint64(nowMillis())}),
			n.auditRequest(tx, Caller{}, "was asked", &r, r.From, ""))
	})
}

// receiveReply takes the reply to a request of this organisation.
func (n *Node) receiveReply(s *snapshot, l *protocol.Letter) error {
	var p protocol.InfoReply
	if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &p); err != nil {
		return err
	}
	if p.Network != s.network || p.From != l.Sender || p.To != n.org {
		return protocol.Errorf(protocol.ErrWrongContext, "reply is not of its sender, or not to this organisation")
	}
	return n.st.Update(func(tx *store.Tx) error {
		var d protocol.SiblingRequest
		key := requestKey(n.org, p.Request)
		ok, err := getDoc(tx, kindRequest, key, &d)
		if err != nil {
			return err
		}
		var r *request
		if ok {
			if r, err = readRequest(&d); err != nil {
				return err
			}
		}
		if r == nil || r.asked.To != l.Sender {
			return protocol.Errorf(protocol.ErrWrongContext, "reply is to a request that this organisation did not make of its sender")
		}
		if r.reply != nil {
			return nil // the first one counts
		}
		d.Reply = protocol.Encode(&p)
		return errors.Join(putDoc(tx, kindRequest, key, &d), n.auditRequest(tx, Caller{}, "got a reply", &r.asked, p.From, requestStates[p.State]))
	})
}

// erasedText is what stands in the place of the words and values of a request that was erased here.
const erasedText = "erased"

// erased reports whether the words and values of a request were erased.
func (r *request) erased() bool { return r.asked.Text == erasedText && len(r.asked.Values) == 0 }

// erase takes the words and values out, and out of the reply. That there was one, between whom and when,
// stays.
func (r *request) erase() {
	r.asked.Text, r.asked.Values = erasedText, []string{}
	r.doc.Request = protocol.Encode(&r.asked)
	if r.reply != nil {
		r.reply.Text = erasedText
		r.doc.Reply = protocol.Encode(r.reply)
	}
}

// mentions reports whether a request or its reply says a value.
func (r *request) mentions(m *corpus.Matcher, value string) bool {
	of, ok := stix.Canonical(value)
	return m.Says(r.asked.Text) || r.reply != nil && m.Says(r.reply.Text) || slices.ContainsFunc(r.asked.Values, func(v string) bool {
		o, is := stix.Canonical(v)
		return v == value || m.Says(v) || ok && is && o == of
	})
}

// eraseRequests erases the words and values of requests that say a value.
func (n *Node) eraseRequests(ctx context.Context, value string) (count int, err error) {
	m := corpus.NewMatcher(value)
	err = n.st.Update(func(tx *store.Tx) error {
		count = 0
		found := map[string]*request{}
		if err := eachRequest(tx, func(id []byte, r *request) error {
			if !r.erased() && r.mentions(m, value) {
				found[string(id)] = r
			}
			return nil
		}); err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(found)) {
			r := found[id]
			r.erase()
			count++
			if err := errors.Join(putDoc(tx, kindRequest, []byte(id), &r.doc), n.auditRequest(tx, CallerOf(ctx), "erase a request", &r.asked, n.org, "")); err != nil {
				return err
			}
		}
		return nil
	})
	return count, err
}

// joinRequest takes a request that another node of this organisation holds. What one of them erased is
// erased.
func joinRequest(tx *store.Tx, d *protocol.SiblingRequest) error {
	r, err := readRequest(d)
	if err != nil || r.past(uint64(nowMillis())) {
		return err
	}
	var held protocol.SiblingRequest
	key := requestKey(r.asked.From, r.asked.ID)
	ok, err := getDoc(tx, kindRequest, key, &held)
	if err != nil {
		return err
	}
	if !ok {
		return putDoc(tx, kindRequest, key, d)
	}
	have, err := readRequest(&held)
	if err != nil {
		return err
	}
	if have.erased() && !r.erased() {
		r.erase()
	} else if r.erased() && !have.erased() {
		have.erase()
	}
	if !bytes.Equal(have.doc.Request, r.doc.Request) {
		return nil // nobody gives two requests one id
	}
	out := r.doc
	out.Seen = min(r.doc.Seen, have.doc.Seen)
	if have.reply != nil && (r.reply == nil || cmp.Or(cmp.Compare(have.reply.At, r.reply.At), bytes.Compare(have.doc.Reply, r.doc.Reply)) < 0) {
		out.Reply, out.Person = have.doc.Reply, have.doc.Person
	}
	if out.Person == "" {
		out.Person = have.doc.Person
	}
	return putDoc(tx, kindRequest, key, &out)
}

// findRequest finds one by its name, or the beginning of that.
func (n *Node) findRequest(tx *store.Tx, name string) (id []byte, found *request, err error) {
	name = strings.TrimPrefix(name, "req:")
	if len(name) < 4 || strings.Trim(name, "0123456789abcdef") != "" {
		return nil, nil, protocol.Errorf(protocol.ErrMalformed, "%q is not the name of a request; 'entente request list' shows them", name)
	}
	err = eachRequest(tx, func(key []byte, r *request) error {
		if !strings.HasPrefix(hex.EncodeToString(r.asked.ID[:]), name) {
			return nil
		}
		if found != nil {
			return protocol.Errorf(protocol.ErrMalformed, "%q is the name of several requests; give more of it", name)
		}
		id, found = key, r
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("request %q: %w; 'entente request list' shows them", name, ErrNotFound)
	}
	return id, found, err
}

// Reply answers or declines a request. Records that are named as the answer must have been published
// for who asked: naming one gives nothing away.
func (n *Node) Reply(ctx context.Context, name string, decline bool, text string, records []protocol.RecordID) (*RequestInfo, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	records = slices.Clone(records)
	slices.SortFunc(records, compareRecords)
	records = slices.Compact(records)
	var asked protocol.InfoRequest
	err := n.viewIndex(func(tx *store.Tx) error {
		_, r, err := n.findRequest(tx, name)
		if err != nil {
			return err
		}
		asked = r.asked
		if asked.To != n.org {
			return protocol.Errorf(protocol.ErrMalformed, "%s is a request that this organisation made; %s answers it", requestName(asked.ID), n.snap.Load().name(asked.To))
		}
		for _, id := range records {
			orgs, err := n.readersOf(tx, id)
			if err != nil {
				return err
			}
			if !slices.Contains(orgs, asked.From) {
				return protocol.Errorf(protocol.ErrNoAgreement, "record %s was not published for %s; publish it, or pass it on, first", id.Short(), n.snap.Load().name(asked.From))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := &protocol.InfoReply{Version: 1, Network: asked.Network, Request: asked.ID, From: n.org, To: asked.From, State: protocol.RequestAnswered, Text: strings.TrimSpace(text),
		Records: append([]protocol.RecordID{}, records...), At: uint64(nowMillis())}
	if decline {
		p.State = protocol.RequestDeclined
	}
	if p.Text == "" && len(records) == 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "a reply needs a text, or records that answer")
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := n.st.Update(func(tx *store.Tx) error {
		id, r, err := n.findRequest(tx, name)
		if err != nil {
			return err
		}
		if r.reply != nil {
			return protocol.Errorf(protocol.ErrMalformed, "%s was %s already", requestName(asked.ID), requestStates[r.reply.State])
		}
		r.doc.Reply, r.doc.Person = protocol.Encode(p), audit.Clip(CallerOf(ctx).Person, protocol.MaxNameSize)
		return errors.Join(putDoc(tx, kindRequest, id, &r.doc), n.auditRequest(tx, CallerOf(ctx), "reply", &r.asked, n.org, requestStates[p.State]),
			keepLetter(tx, &pendingLetter{Parties: []protocol.OrgID{asked.From}, Kind: protocol.LetterReply, Content: r.doc.Reply}))
	}); err != nil {
		return nil, err
	}
	n.sendDecided()
	return n.RequestOf(name)
}

// Requests lists those that wait for a reply, and with all the others too, in the order in which they
// came.
func (n *Node) Requests(all bool) ([]RequestInfo, error) {
	s := n.snap.Load()
	var list []*request
	if err := n.st.View(func(tx *store.Tx) error {
		list = nil
		return eachRequest(tx, func(_ []byte, r *request) error {
			if all || r.reply == nil {
				list = append(list, r)
			}
			return nil
		})
	}); err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b *request) int { return cmp.Compare(a.doc.Seen, b.doc.Seen) })
	out := make([]RequestInfo, len(list))
	for i, r := range list {
		out[i] = s.requestInfo(r)
	}
	return out, nil
}

// RequestOf returns a request by its name.
func (n *Node) RequestOf(name string) (*RequestInfo, error) {
	var r *request
	if err := n.st.View(func(tx *store.Tx) (err error) { _, r, err = n.findRequest(tx, name); return err }); err != nil {
		return nil, err
	}
	info := n.snap.Load().requestInfo(r)
	return &info, nil
}

// Request returns a request by its name, and, if this organisation is asked, the records about it that
// the reader may search, which it counts.
func (r *Reader) Request(name string) (*RequestInfo, []Record, error) {
	info, err := r.n.RequestOf(name)
	if err != nil || info.To.ID != r.n.org {
		return info, nil, err
	}
	seen := map[protocol.RecordID]bool{}
	var recs []Record
	for _, v := range info.Values {
		list, _, err := r.Search(Query{Value: v})
		if err != nil {
			return nil, nil, err
		}
		for i := range list {
			if id := list[i].ID; !seen[id] {
				seen[id] = true
				recs = append(recs, list[i])
				orgs, err := r.n.sealedFor(id)
				if err != nil {
					return nil, nil, err
				}
				if info.Held++; slices.Contains(orgs, info.From.ID) {
					info.Shared++
				}
			}
		}
	}
	return info, recs, nil
}

func (s *snapshot) requestInfo(r *request) RequestInfo {
	q := &r.asked
	info := RequestInfo{ID: requestName(q.ID), From: s.ref(q.From), To: s.ref(q.To), Agreement: q.Agreement, Purpose: q.Purpose, Text: q.Text, Values: q.Values, At: millis(q.At),
		State: requestStates[0], Person: r.doc.Person}
	if due := s.due(r); !due.IsZero() {
		info.Due = &due
		info.Overdue = r.reply == nil && time.Now().After(due)
	}
	if p := r.reply; p != nil {
		at := millis(p.At)
		info.State, info.Reply, info.Replied = requestStates[p.State], p.Text, &at
		for _, id := range p.Records {
			info.Records = append(info.Records, id.String())
		}
	}
	return info
}

// requestProblems tells of requests that wait for a reply.
func (n *Node) requestProblems(st *Status) {
	list, err := n.Requests(false)
	if err != nil {
		n.log.Error("reading requests failed", "err", err)
		return
	}
	waiting, late, unanswered := 0, 0, 0
	for i := range list {
		switch {
		case list[i].To.ID != n.org && list[i].Overdue:
			unanswered++
		case list[i].To.ID != n.org:
		case list[i].Overdue:
			late++
		default:
			waiting++
		}
	}
	if late > 0 {
		st.Problems = append(st.Problems, Problem{Kind: "requests-overdue", Severity: "error", Text: fmt.Sprintf("%d requests of partners are overdue", late), Do: "'entente request list' shows them; answer or decline each"})
	}
	if waiting > 0 {
		st.Problems = append(st.Problems, Problem{Kind: "requests-waiting", Severity: "warning", Text: fmt.Sprintf("%d requests of partners wait for a reply", waiting), Do: "'entente request list' shows them, and until when they are to be answered"})
	}
	if unanswered > 0 {
		st.Problems = append(st.Problems, Problem{Kind: "requests-unanswered", Severity: "warning", Text: fmt.Sprintf("%d requests that this organisation made are overdue", unanswered), Do: "'entente request list' shows of whom; ask them"})
	}
}
