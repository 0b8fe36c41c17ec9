package node

import (
	"bytes"
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Who got a record is asked to erase it, and confirms, signed, what it did: of what people took from
// there no statement of a publisher can know, and who passed a record on knows to whom.

// maxAsksBy bounds the requests of one organisation that wait for an answer here. Those beyond wait in its
// feed.
const maxAsksBy = 256

// maxAsksAtOnce bounds the requests that are stored in one transaction; each has up to 20 KiB, twice.
const maxAsksAtOnce = 64

// AskRequest asks organisations to erase records.
type AskRequest struct {
	Records []protocol.RecordID
	Orgs    []protocol.OrgID // none: all that got one from here, and its originator and publisher
	Reason  protocol.EraseReason
	Text    string
	Due     time.Time // by when an answer is wanted
	Onward  bool      // whom they gave them to is to be asked as well
}

// ask is a request that is known here, with what came of it.
type ask struct {
	name    protocol.Hash
	doc     protocol.SiblingErasureAsk
	request protocol.ErasureRequest
	answer  *protocol.ErasureAnswer // the one that counts; nil: none
}

func readAsk(id []byte, d *protocol.SiblingErasureAsk) (*ask, error) {
	a := &ask{doc: *d}
	copy(a.name[:], id)
	var o protocol.OrgSigned
	err := protocol.Decode(d.Request, protocol.MaxLetterSize, &o)
	if err == nil {
		err = protocol.Decode(o.Statement, protocol.MaxLetterSize, &a.request)
	}
	if err == nil && len(d.Answer) > 0 {
		a.answer = new(protocol.ErasureAnswer)
		var o protocol.OrgSigned
		if err = protocol.Decode(d.Answer, protocol.MaxLetterSize, &o); err == nil {
			err = protocol.Decode(o.Statement, protocol.MaxLetterSize, a.answer)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading a request to erase: %w", err)
	}
	return a, nil
}

func eachAsk(tx *store.Tx, fn func(*ask) error) error {
	return scanDocs(tx, kindErasureAsk, func(id []byte, d *protocol.SiblingErasureAsk) error {
		a, err := readAsk(id, d)
		if err != nil {
			return err
		}
		return fn(a)
	})
}

// settled reports whether the request was answered to the end.
func (a *ask) settled() bool { return a.answer != nil && a.answer.Exports != protocol.ExportsOpen }

func (a *ask) overdue(now uint64) bool { return !a.settled() && a.request.Due <= now }

// askID is how people call a request.
func askID(name protocol.Hash) string {
	return "ask:" + strings.TrimPrefix(name.Short(), "sha256:")
}

// recipients lists who has a record from here, or gave it: whom to ask to erase it.
func (n *Node) recipients(tx *store.Tx, id protocol.RecordID) ([]protocol.OrgID, error) {
	orgs, err := n.readersOf(tx, id)
	if err != nil {
		return nil, err
	}
	e, err := n.index.Get(tx, id)
	if err != nil {
		return nil, err
	}
	var d keptDoc
	if ok, err := getDoc(tx, kindKept, id[:], &d); err != nil {
		return nil, err
	} else if ok && e == nil {
		k, err := d.open(tx, id)
		if errors.Is(err, store.ErrDestroyed) {
			return orgs, nil
		}
		if err != nil {
			return nil, err
		}
		e = k.entry()
		var doc publishedDoc
		if _, err := getDoc(tx, kindPublished, entryKey(e.Feed, e.Seq), &doc); err != nil {
			return nil, err
		}
		orgs = append(orgs, doc.Orgs...)
	}
	if e != nil {
		orgs = append(orgs, e.Originator, e.Publisher)
	}
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	return slices.DeleteFunc(slices.Compact(orgs), func(o protocol.OrgID) bool { return o == n.org }), nil
}

// whomToAsk groups records by who is to be asked about them.
func (n *Node) whomToAsk(ids []protocol.RecordID, only []protocol.OrgID) (map[protocol.OrgID][]protocol.RecordID, error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareRecords)
	ids = slices.Compact(ids)
	out := map[protocol.OrgID][]protocol.RecordID{}
	err := n.viewIndex(func(tx *store.Tx) error {
		clear(out)
		for _, id := range ids {
			orgs := only
			if len(only) == 0 {
				var err error
				if orgs, err = n.recipients(tx, id); err != nil {
					return err
				}
			}
			for _, org := range orgs {
				out[org] = append(out[org], id)
			}
		}
		return nil
	})
	return out, err
}

func compareRecords(a, b protocol.RecordID) int { return bytes.Compare(a[:], b[:]) }

// AskErasure asks organisations to erase records, and returns the requests.
func (n *Node) AskErasure(ctx context.Context, q AskRequest) ([]ErasureAsk, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	whom, err := n.whomToAsk(q.Records, q.Orgs)
	if err != nil {
		return nil, err
	}
	if len(whom) == 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "nobody is known to have them: they went to nobody from here, or were erased here; say with --org whom to ask")
	}
	due := uint64(max(q.Due.UnixMilli(), 0))
	if due <= uint64(nowMillis()) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "say by when an answer is wanted; that is to be in the future")
	}
	names, err := n.ask(CallerOf(ctx), whom, &protocol.ErasureRequest{Due: due, Reason: q.Reason, Onward: q.Onward, Text: q.Text}, protocol.Hash{})
	if err != nil {
		return nil, err
	}
	n.sendDecided()
	n.tellHolds()
	return n.asksNamed(names)
}

// ask signs requests and keeps them with their letters.
func (n *Node) ask(c Caller, whom map[protocol.OrgID][]protocol.RecordID, like *protocol.ErasureRequest, parent protocol.Hash) (names []protocol.Hash, err error) {
	s := n.snap.Load()
	if n.op() == nil {
		return nil, ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return nil, err
	}
	type signed struct {
		name protocol.Hash
		r    protocol.ErasureRequest
		raw  []byte
	}
	var list []signed
	for _, org := range sortedOrgs(whom) {
		if s.cards[org] == nil || !s.members[org] || org == n.org {
			return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "%s cannot be asked: it is this organisation, or no member of the network; leave it out with --org, and write to it", s.name(org))
		}
		for part := range slices.Chunk(whom[org], protocol.MaxErasedRecords) {
			r := *like
			r.Version, r.Network, r.Org, r.To, r.Number, r.At, r.Records = 1, s.network, n.org, org, randomNumber(), uint64(nowMillis()), part
			if err := r.Validate(); err != nil {
				return nil, err
			}
			o, err := crypto.SignErasureRequest(&r, n.op())
			if err != nil {
				return nil, err
			}
			list = append(list, signed{protocol.ErasureName(o.Statement), r, protocol.Encode(&o)})
		}
	}
	for part := range slices.Chunk(list, maxAsksAtOnce) {
		if err := n.st.Update(func(tx *store.Tx) error {
			for i := range part {
				x := &part[i]
				letter := &pendingLetter{Parties: []protocol.OrgID{x.r.To}, Kind: protocol.LetterErasureRequest, Content: x.raw}
				doc := &protocol.SiblingErasureAsk{Request: x.raw, Answer: []byte{}, Parent: parent, Seen: x.r.At}
				if err := errors.Join(putDoc(tx, kindErasureAsk, x.name[:], doc), keepLetter(tx, letter), n.auditAsk(tx, c, "ask to erase", x.name, &x.r, "")); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	for i := range list {
		names = append(names, list[i].name)
	}
	return names, nil
}

// randomNumber is the number of a request, never 0.
func randomNumber() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])>>1 | 1
}

// auditAsk notes what was said about a request, by whoever said it.
func (n *Node) auditAsk(tx *store.Tx, c Caller, act string, name protocol.Hash, r *protocol.ErasureRequest, text string) error {
	d := n.details(act, c)
	d.Orgs = []protocol.OrgID{r.Org, r.To}
	if d.Reason = r.Reason.String(); text == "" {
		text = r.Text
	}
	d.Text = audit.Clip(askID(name)+" "+text, audit.MaxText)
	d.Records = audit.NewRecordSet(r.Records, true)
	_, err := n.account.Append(tx, audit.Erase, d)
	return err
}

// auditAskBy is auditAsk of what another organisation said.
func (n *Node) auditAskBy(tx *store.Tx, by protocol.OrgID, act string, name protocol.Hash, r *protocol.ErasureRequest, text string) error {
	d := n.details(act, Caller{})
	d.By, d.Orgs, d.Reason = by, []protocol.OrgID{r.Org, r.To}, r.Reason.String()
	d.Text = audit.Clip(askID(name)+" "+text, audit.MaxText)
	d.Records = audit.NewRecordSet(r.Records, true)
	return n.account.AppendForeign(tx, audit.Erase, d)
}

// receiveErasureRequest keeps a request of another organisation, for people to answer.
func (n *Node) receiveErasureRequest(s *snapshot, l *protocol.Letter) error {
	var o protocol.OrgSigned
	if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &o); err != nil {
		return err
	}
	r, err := crypto.VerifyErasureRequest(&o, s.network, func(org protocol.OrgID) *crypto.Card { return s.cards[org] })
	if err != nil {
		return err
	}
	if r.Org != l.Sender || r.To != n.org {
		return protocol.Errorf(protocol.ErrWrongContext, "request to erase is not by its sender, or not to this organisation")
	}
	name := protocol.ErasureName(o.Statement)
	if err := n.st.Update(func(tx *store.Tx) error {
		held, waiting := false, 0
		if err := eachAsk(tx, func(a *ask) error {
			held = held || a.name == name
			if a.request.Org == r.Org && !a.settled() {
				waiting++
			}
			return nil
		}); err != nil || held {
			return err
		}
		if waiting >= maxAsksBy {
			return fmt.Errorf("%d requests to erase of %s wait for an answer; the rest is taken when some are answered: %w", waiting, s.name(r.Org), errEarly)
		}
		doc := &protocol.SiblingErasureAsk{Request: l.Content, Answer: []byte{}, Seen: uint64(nowMillis())}
		return errors.Join(putDoc(tx, kindErasureAsk, name[:], doc), n.auditAskBy(tx, r.Org, "asks to erase", name, r, r.Text))
	}); err != nil {
		return err
	}
	n.confirmErased()
	return nil
}

// receiveErasureAnswer keeps the answer to a request of this organisation.
func (n *Node) receiveErasureAnswer(s *snapshot, l *protocol.Letter) error {
	var o protocol.OrgSigned
	if err := protocol.Decode(l.Content, protocol.MaxLetterSize, &o); err != nil {
		return err
	}
	card := func(org protocol.OrgID) *crypto.Card { return s.cards[org] }
	x, err := crypto.VerifyErasureAnswer(&o, s.network, card)
	if err != nil {
		return err
	}
	if x.Org != l.Sender || x.To != n.org {
		return protocol.Errorf(protocol.ErrWrongContext, "answer to a request to erase is not by its sender, or not to this organisation")
	}
	return n.st.Update(func(tx *store.Tx) error {
		a, err := findAsk(tx, x.Request)
		if err != nil {
			return err
		}
		if a == nil {
			return fmt.Errorf("answer to a request to erase that is not known; another node of this organisation may have made it: %w", errEarly)
		}
		if err := a.answers(x); err != nil {
			return err
		}
		if !counts(l.Content, x, &a.doc, a.answer) {
			return nil
		}
		a.doc.Answer = l.Content
		return errors.Join(putDoc(tx, kindErasureAsk, a.name[:], &a.doc), n.auditAskBy(tx, x.Org, "answers a request to erase", a.name, &a.request, tellAnswer(x)))
	})
}

func findAsk(tx *store.Tx, name protocol.Hash) (*ask, error) {
	var d protocol.SiblingErasureAsk
	ok, err := getDoc(tx, kindErasureAsk, name[:], &d)
	if err != nil || !ok {
		return nil, err
	}
	return readAsk(name[:], &d)
}

// answers returns an error if x is no answer to the request.
func (a *ask) answers(x *protocol.ErasureAnswer) error {
	same := len(x.Results) == len(a.request.Records) && x.Org == a.request.To && x.To == a.request.Org && x.Request == a.name
	for i := range x.Results {
		same = same && x.Results[i].Record == a.request.Records[i]
	}
	if !same {
		return protocol.Errorf(protocol.ErrWrongContext, "answer is not to the request that it names, or not about each of its records")
	}
	return nil
}

// counts reports whether an answer counts before the one that is held: the later number, of one number
// the lower encoding.
func counts(raw []byte, x *protocol.ErasureAnswer, d *protocol.SiblingErasureAsk, held *protocol.ErasureAnswer) bool {
	return held == nil || x.Number > held.Number || x.Number == held.Number && bytes.Compare(raw, d.Answer) < 0
}

func tellAnswer(x *protocol.ErasureAnswer) string {
	count := map[protocol.ErasureOutcome]int{}
	for _, r := range x.Results {
		count[r.Outcome]++
	}
	var parts []string
	for o := protocol.OutcomeErased; o <= protocol.OutcomeNotHeld; o++ {
		if count[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[o], o))
		}
	}
	text := strings.Join(parts, ", ") + "; exports: " + x.Exports.String()
	if x.Text != "" {
		text += "; " + x.Text
	}
	return text
}

// joinErasureAsk joins a request that a sibling holds with what is held of it.
func (n *Node) joinErasureAsk(tx *store.Tx, d *protocol.SiblingErasureAsk) error {
	s := n.snap.Load()
	var o protocol.OrgSigned
	if err := protocol.Decode(d.Request, protocol.MaxLetterSize, &o); err != nil {
		return nil // left out; it keeps no other from being taken
	}
	name := protocol.ErasureName(o.Statement)
	x, err := n.verifyAsk(s, name, d)
	if err != nil {
		n.log.Debug("leaving out a request to erase of a sibling", "err", err)
		return nil
	}
	held, err := findAsk(tx, name)
	if err != nil {
		return err
	}
	n.asking.Store(true)
	if held == nil {
		return putDoc(tx, kindErasureAsk, name[:], d)
	}
	joined := held.doc
	if x.answer != nil && counts(d.Answer, x.answer, &held.doc, held.answer) {
		joined.Answer = d.Answer
	}
	if joined.Parent.IsZero() {
		joined.Parent = d.Parent
	}
	joined.Seen = min(joined.Seen, d.Seen)
	return putDoc(tx, kindErasureAsk, name[:], &joined)
}

// verifyAsk verifies a request and its answer with the cards that are known.
func (n *Node) verifyAsk(s *snapshot, name protocol.Hash, d *protocol.SiblingErasureAsk) (*ask, error) {
	a, err := readAsk(name[:], d)
	if err != nil {
		return nil, err
	}
	card := func(org protocol.OrgID) *crypto.Card { return s.cards[org] }
	var o protocol.OrgSigned
	if err := protocol.Decode(d.Request, protocol.MaxLetterSize, &o); err != nil {
		return nil, err
	}
	if _, err := crypto.VerifyErasureRequest(&o, s.network, card); err != nil {
		return nil, err
	}
	if protocol.ErasureName(o.Statement) != name || a.request.Org != n.org && a.request.To != n.org {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "request to erase is another one, or not of this organisation")
	}
	if a.answer == nil {
		return a, nil
	}
	if err := protocol.Decode(d.Answer, protocol.MaxLetterSize, &o); err != nil {
		return nil, err
	}
	if _, err := crypto.VerifyErasureAnswer(&o, s.network, card); err != nil {
		return nil, err
	}
	return a, a.answers(a.answer)
}

// results tells of each record of a request what became of it here: what is shown here, and what was set
// aside, is kept. held are those that are shown, aside those that were set aside.
func (n *Node) results(tx *store.Tx, r *protocol.ErasureRequest) (out []protocol.ErasureResult, held []*corpus.Entry, aside []protocol.RecordID, err error) {
	setAside := map[protocol.RecordID]bool{}
	if err := scanDocs(tx, kindQuarantine, func(_ []byte, q *quarantineDoc) error {
		if _, asked := slices.BinarySearchFunc(r.Records, q.Record, compareRecords); asked {
			setAside[q.Record] = true
		}
		return nil
	}); err != nil {
		return nil, nil, nil, err
	}
	for _, id := range r.Records {
		e, err := n.index.Get(tx, id)
		if err != nil {
			return nil, nil, nil, err
		}
		x := protocol.ErasureResult{Record: id, Outcome: protocol.OutcomeNotHeld}
		kept, err := tx.Get(keptKey(id))
		if err != nil {
			return nil, nil, nil, err
		}
		gone, err := corpus.ErasedByAny(tx, id)
		if err != nil {
			return nil, nil, nil, err
		}
		switch {
		case e != nil:
			x.Outcome = protocol.OutcomeBasis
			held = append(held, e)
		case setAside[id]:
			x.Outcome = protocol.OutcomeBasis
			aside = append(aside, id)
		case kept != nil:
			x.Outcome = protocol.OutcomeHold
		case gone:
			x.Outcome = protocol.OutcomeErased
		}
		out = append(out, x)
	}
	return out, held, aside, nil
}

// confirmErased answers, where no local rule says who may, the requests of which every record was erased
// here on the signed word of who asks. What was exported is left for a person to say.
func (n *Node) confirmErased() {
	if n.op() == nil || n.usable() != nil || n.RulesAbout(rules.Administer) || n.HasAccounts() {
		return
	}
	var due []*ask
	n.asking.Store(false)
	err := n.st.View(func(tx *store.Tx) error {
		return eachAsk(tx, func(a *ask) error {
			if a.request.To != n.org || a.answer != nil {
				return nil
			}
			n.asking.Store(true)
			for _, id := range a.request.Records {
				if yes, err := corpus.ErasedBy(tx, id, a.request.Org); err != nil || !yes {
					return err
				}
			}
			due = append(due, a)
			return nil
		})
	})
	for _, a := range due {
		if err != nil {
			break
		}
		err = n.answer(Caller{}, a.name, func(tx *store.Tx, a *ask, x *protocol.ErasureAnswer) error {
			shown := slices.ContainsFunc(x.Results, func(r protocol.ErasureResult) bool { return r.Outcome == protocol.OutcomeBasis })
			if a.answer != nil || shown { // who passed a record on erased it, and it is read from elsewhere
				return errNothingNew
			}
			x.Exports, x.Text = protocol.ExportsOpen, "erased on your signed word, by the node itself; a person has still to say what was exported"
			return nil
		})
		if errors.Is(err, errNothingNew) {
			err = nil
		}
	}
	if err != nil {
		n.log.Error("confirming an erasure failed; it is tried again", "err", err)
		n.counters.failed.Add(1)
	}
}

// answer signs the next answer to a request and keeps it with its letter. fill says in it what only its
// caller knows, in the transaction.
func (n *Node) answer(c Caller, name protocol.Hash, fill func(tx *store.Tx, a *ask, x *protocol.ErasureAnswer) error) error {
	s := n.snap.Load()
	op := n.op()
	if op == nil {
		return ErrNoOperationalKey
	}
	if err := n.believeClock(); err != nil {
		return err
	}
	err := n.st.Update(func(tx *store.Tx) error {
		a, err := findAsk(tx, name)
		if err != nil {
			return err
		}
		if a == nil {
			return fmt.Errorf("request %s: %w", askID(name), ErrNotFound)
		}
		x := &protocol.ErasureAnswer{Version: 1, Network: s.network, Org: n.org, To: a.request.Org, Request: name, Number: 1, At: uint64(nowMillis()), Asked: []protocol.OrgID{}}
		if a.answer != nil {
			x.Number, x.Asked = a.answer.Number+1, a.answer.Asked
		}
		if x.Results, _, _, err = n.results(tx, &a.request); err != nil {
			return err
		}
		if err := fill(tx, a, x); err != nil {
			return err
		}
		if err := x.Validate(); err != nil {
			return err
		}
		o, err := crypto.SignErasureAnswer(x, op)
		if err != nil {
			return err
		}
		a.doc.Answer = protocol.Encode(&o)
		letter := &pendingLetter{Parties: []protocol.OrgID{x.To}, Kind: protocol.LetterErasureAnswer, Content: a.doc.Answer}
		return errors.Join(putDoc(tx, kindErasureAsk, name[:], &a.doc), keepLetter(tx, letter), n.auditAsk(tx, c, "answer a request to erase", name, &a.request, tellAnswer(x)))
	})
	if err == nil {
		n.sendLettersSoon()
	}
	return err
}

// sendLettersSoon has letters sent: not by who takes a letter, which may have the feeds locked.
func (n *Node) sendLettersSoon() {
	if net := n.net.Load(); net != nil {
		net.wake()
		net.tellSiblings()
	}
}

// AnswerRequest is what people decide about a request.
type AnswerRequest struct {
	ID      string
	Erase   bool                // erase here what is held of it, but for Except
	Except  []protocol.RecordID // kept, on the basis that Text names
	NotHeld bool                // nothing of it is held; refused if something is
	Exports protocol.ErasureExports
	Text    string
}

// AnswerErasure answers a request, signed. With Erase it erases first, and, where the request wants
// that, asks those whom the records were given to from here. What the answer says of each record is what
// the node finds, not what its people say.
func (n *Node) AnswerErasure(ctx context.Context, q AnswerRequest) (*ErasureAsk, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	if q.Exports <= protocol.ExportsOpen || q.Exports > protocol.ExportsRemain {
		return nil, protocol.Errorf(protocol.ErrMalformed, "say what became of what was exported: none, erased or remain ('entente handouts' lists what left this node)")
	}
	if n.op() == nil {
		return nil, ErrNoOperationalKey
	}
	a, err := n.askOf(q.ID, true)
	if err != nil {
		return nil, err
	}
	for _, id := range q.Except {
		if !slices.Contains(a.request.Records, id) {
			return nil, protocol.Errorf(protocol.ErrMalformed, "record %s is not one of the request", id.Short())
		}
	}
	keeps := func(id protocol.RecordID) bool { return !q.Erase || slices.Contains(q.Except, id) }
	var held []*corpus.Entry
	var aside []protocol.RecordID
	if err := n.viewIndex(func(tx *store.Tx) (err error) { _, held, aside, err = n.results(tx, &a.request); return err }); err != nil {
		return nil, err
	}
	kept, toErase := 0, []protocol.RecordID{}
	for _, e := range held {
		if keeps(e.Record) {
			kept++
		} else {
			toErase = append(toErase, e.Record)
		}
	}
	for _, id := range aside {
		if keeps(id) {
			kept++
		}
	}
	all := len(held) + len(aside)
	aside = slices.DeleteFunc(aside, keeps)
	if err := q.check(all, kept); err != nil {
		return nil, err
	}
	c := CallerOf(ctx)
	asked, err := n.passAsk(c, a, q.Except, q.Erase)
	if err != nil {
		return nil, err
	}
	if len(toErase) > 0 {
		if _, err := n.Erase(ctx, EraseRequest{Records: toErase, Reason: a.request.Reason}); err != nil {
			return nil, err
		}
	}
	if len(aside) > 0 {
		if _, err := n.eraseLocally(aside, a.request.Reason, c); err != nil {
			return nil, err
		}
	}
	err = n.answer(c, a.name, func(_ *store.Tx, _ *ask, x *protocol.ErasureAnswer) error {
		for _, r := range x.Results {
			if r.Outcome == protocol.OutcomeBasis && !keeps(r.Record) {
				return fmt.Errorf("record %s came back while it was erased; answer again: %w", r.Record.Short(), ErrStale)
			}
		}
		x.Exports, x.Text = q.Exports, q.Text
		x.Asked = append(slices.Clone(x.Asked), asked...)
		slices.SortFunc(x.Asked, protocol.OrgID.Compare)
		x.Asked = slices.Compact(x.Asked)
		x.Asked = x.Asked[:min(len(x.Asked), protocol.MaxNamedOrgs)]
		return nil
	})
	if err != nil {
		return nil, err
	}
	n.sendDecided()
	list, err := n.asksNamed([]protocol.Hash{a.name})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// check returns an error if what people say does not go with what is held.
func (q *AnswerRequest) check(held, kept int) error {
	switch {
	case q.NotHeld && (q.Erase || held > 0):
		return protocol.Errorf(protocol.ErrMalformed, "%d of these records are held here; erase them with --done, or say why they are kept with --keep", held)
	case kept > 0 && q.Text == "":
		return protocol.Errorf(protocol.ErrMalformed, "say on which legal basis %d records are kept, with --text", kept)
	case q.Exports == protocol.ExportsRemain && q.Text == "":
		return protocol.Errorf(protocol.ErrMalformed, "say with --text what of the exports remains, and where")
	}
	return nil
}

// passAsk asks those whom records of a request were given to from here, each once, and returns who was.
func (n *Node) passAsk(c Caller, a *ask, except []protocol.RecordID, erases bool) ([]protocol.OrgID, error) {
	if !a.request.Onward || !erases {
		return nil, nil
	}
	whom := map[protocol.OrgID][]protocol.RecordID{}
	s := n.snap.Load()
	err := n.viewIndex(func(tx *store.Tx) error {
		clear(whom)
		done := map[protocol.OrgID]map[protocol.RecordID]bool{}
		if err := eachAsk(tx, func(x *ask) error {
			if x.doc.Parent != a.name {
				return nil
			}
			if done[x.request.To] == nil {
				done[x.request.To] = map[protocol.RecordID]bool{}
			}
			for _, id := range x.request.Records {
				done[x.request.To][id] = true
			}
			return nil
		}); err != nil {
			return err
		}
		for _, id := range a.request.Records {
			if slices.Contains(except, id) {
				continue
			}
			orgs, err := n.gaveTo(tx, id)
			if err != nil {
				return err
			}
			for _, org := range orgs {
				if org != n.org && org != a.request.Org && s.members[org] && !done[org][id] {
					whom[org] = append(whom[org], id)
				}
			}
		}
		return nil
	})
	if err != nil || len(whom) == 0 {
		return nil, err
	}
	like := &protocol.ErasureRequest{Due: max(a.request.Due, uint64(nowMillis())+dayMillis), Reason: a.request.Reason, Onward: true, Text: a.request.Text}
	if _, err := n.ask(c, whom, like, a.name); err != nil {
		return nil, err
	}
	return sortedOrgs(whom), nil
}

// gaveTo lists for whom a record was sealed here, also when it was erased since: the account of
// publications says it, as long as the audit log names the record's entries.
func (n *Node) gaveTo(tx *store.Tx, id protocol.RecordID) ([]protocol.OrgID, error) {
	orgs, err := n.readersOf(tx, id)
	if err != nil {
		return nil, err
	}
	given, err := n.publishedIn(tx, id)
	orgs = append(orgs, given...)
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	return slices.Compact(orgs), err
}

// publishedIn lists for whom those entries of this organisation were sealed that held a record until it
// was erased from them, or is due to be.
func (n *Node) publishedIn(tx *store.Tx, id protocol.RecordID) (orgs []protocol.OrgID, err error) {
	s := n.snap.Load()
	add := func(feed protocol.FeedID, seq uint64) error {
		var doc publishedDoc
		_, err := getDoc(tx, kindPublished, entryKey(feed, seq), &doc)
		orgs = append(orgs, doc.Orgs...)
		return err
	}
	if err := eachDue(tx, func(d due) error {
		if d.record != id {
			return nil
		}
		return add(d.place.Feed, d.place.Seq)
	}); err != nil {
		return nil, err
	}
	return orgs, scanDocs(tx, kindErase, func(_ []byte, d *eraseDoc) error {
		var e protocol.Erase
		if err := protocol.Decode(d.Signed.Statement, protocol.MaxStatementSize, &e); err != nil {
			return err
		}
		if s.signers[e.Origin.Signing].org != n.org || !slices.Contains(e.Records, id) {
			return nil
		}
		for _, x := range e.Entries {
			if err := add(e.Origin.FeedID(e.Network), x.Seq); err != nil {
				return err
			}
		}
		return nil
	})
}

// ErasureAsk is a request to erase as it is shown.
type ErasureAsk struct {
	ID      string         `json:"id"`
	From    OrgRef         `json:"from"`
	To      OrgRef         `json:"to"`
	At      time.Time      `json:"at"` // by the asker's clock
	Due     time.Time      `json:"due"`
	Reason  string         `json:"reason"`
	Text    string         `json:"text,omitempty"`
	Onward  bool           `json:"onward"`
	State   string         `json:"state"` // waiting, exports open, answered
	Overdue bool           `json:"overdue"`
	Records []string       `json:"records"`
	Parent  string         `json:"passes_on,omitempty"` // the request that this one passes on
	Answer  *ErasureAnswer `json:"answer,omitempty"`
	// Of a request to this organisation: how many of the records are shown here or were set aside, and what left this node
	// and may hold one of them.
	Held     int         `json:"held,omitempty"`
	Handouts []BeyondRow `json:"handouts,omitempty"`
}

// ErasureAnswer is the answer to a request.
type ErasureAnswer struct {
	At      time.Time       `json:"at"` // by the clock of who answered
	Number  uint64          `json:"number"`
	Exports string          `json:"exports"` // open, none, erased, remain
	Text    string          `json:"text,omitempty"`
	Asked   []OrgRef        `json:"asked"` // whom it asked in its turn
	Results []ErasureResult `json:"results"`
	Summary string          `json:"summary"`
}

// ErasureResult is what became of one record.
type ErasureResult struct {
	Record  string `json:"record"`
	Outcome string `json:"outcome"`
}

func (s *snapshot) askView(a *ask, now uint64) ErasureAsk {
	r := &a.request
	out := ErasureAsk{ID: askID(a.name), From: s.ref(r.Org), To: s.ref(r.To), At: millis(r.At), Due: millis(r.Due), Reason: r.Reason.String(), Text: r.Text,
		Onward: r.Onward, State: "waiting", Overdue: a.overdue(now), Records: []string{}}
	for _, id := range r.Records {
		out.Records = append(out.Records, id.String())
	}
	if !a.doc.Parent.IsZero() {
		out.Parent = askID(a.doc.Parent)
	}
	if x := a.answer; x != nil {
		out.State = "answered"
		if !a.settled() {
			out.State = "exports open"
		}
		v := &ErasureAnswer{At: millis(x.At), Number: x.Number, Exports: x.Exports.String(), Text: x.Text, Asked: []OrgRef{}, Summary: tellAnswer(x)}
		for _, o := range x.Asked {
			v.Asked = append(v.Asked, s.ref(o))
		}
		for _, res := range x.Results {
			v.Results = append(v.Results, ErasureResult{Record: res.Record.String(), Outcome: res.Outcome.String()})
		}
		out.Answer = v
	}
	return out
}

// askOf finds a request by its id, of those to this organisation or of those by it.
func (n *Node) askOf(id string, incoming bool) (found *ask, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		return eachAsk(tx, func(a *ask) error {
			if (a.request.To == n.org) == incoming && askID(a.name) == id {
				found = a
			}
			return nil
		})
	})
	if err == nil && found == nil {
		err = fmt.Errorf("request to erase %q: %w; 'entente erase requests' lists those to this organisation", id, ErrNotFound)
	}
	return found, err
}

// ErasureRequests lists the requests to this organisation, and with ErasuresAsked those by it: those that
// are due first come first.
func (n *Node) ErasureRequests() ([]ErasureAsk, error) {
	return n.asks(func(a *ask) bool { return a.request.To == n.org })
}

// ErasuresAsked lists the requests by this organisation.
func (n *Node) ErasuresAsked() ([]ErasureAsk, error) {
	return n.asks(func(a *ask) bool { return a.request.Org == n.org })
}

func (n *Node) asksNamed(names []protocol.Hash) ([]ErasureAsk, error) {
	return n.asks(func(a *ask) bool { return slices.Contains(names, a.name) })
}

func (n *Node) asks(which func(*ask) bool) ([]ErasureAsk, error) {
	s, now := n.snap.Load(), uint64(nowMillis())
	list := []ErasureAsk{}
	var found []*ask
	var taken []copies
	err := n.viewIndex(func(tx *store.Tx) error {
		list, found, taken = list[:0], nil, nil
		if err := eachAsk(tx, func(a *ask) error {
			if which(a) {
				found = append(found, a)
			}
			return nil
		}); err != nil {
			return err
		}
		slices.SortFunc(found, func(a, b *ask) int {
			return cmp.Or(cmp.Compare(a.request.Due, b.request.Due), compareHash(a.name, b.name))
		})
		for _, a := range found {
			v, c := s.askView(a, now), copies{}
			if a.request.To == n.org && !a.settled() {
				_, held, aside, err := n.results(tx, &a.request)
				if err != nil {
					return err
				}
				v.Held = len(held) + len(aside)
				for _, e := range held {
					c.add(e)
				}
			}
			list, taken = append(list, v), append(taken, c)
		}
		return nil
	})
	for i := range list {
		if err == nil && len(taken[i].cursors) > 0 {
			list[i].Handouts, err = taken[i].find(n, true)
		}
	}
	return list, err
}

// AskCounts counts requests to erase.
type AskCounts struct {
	Waiting int `json:"waiting"` // to this organisation, not answered to the end
	Late    int `json:"late"`    // of them: past the day they are due
	Asked   int `json:"asked"`   // by this organisation, not answered to the end
	Overdue int `json:"overdue"` // of them: past the day they are due
}

func (n *Node) askCounts() (c AskCounts, err error) {
	now := uint64(nowMillis())
	err = n.st.View(func(tx *store.Tx) error {
		return eachAsk(tx, func(a *ask) error {
			if a.settled() {
				return nil
			}
			open, late := &c.Asked, &c.Overdue
			if a.request.To == n.org {
				open, late = &c.Waiting, &c.Late
			}
			if *open++; a.overdue(now) {
				*late++
			}
			return nil
		})
	})
	return c, err
}

// checkErasureAsk checks a request that a backup holds.
func (b *backupReader) checkErasureAsk(id, value []byte) error {
	var d protocol.SiblingErasureAsk
	if err := errors.Join(idOf(id, 32), protocol.Decode(value, maxDocument, &d)); err != nil {
		return err
	}
	a, err := readAsk(id, &d)
	if err != nil {
		return err
	}
	var o protocol.OrgSigned
	if err := protocol.Decode(d.Request, protocol.MaxLetterSize, &o); err != nil {
		return err
	}
	if protocol.ErasureName(o.Statement) != a.name {
		return protocol.Errorf(protocol.ErrWrongContext, "a request to erase is another one than it is kept as")
	}
	card := func(org protocol.OrgID) *crypto.Card { return b.cards[org] }
	if _, err := crypto.VerifyErasureRequest(&o, b.manifest.Network, card); err != nil {
		b.leave("request to erase", err)
	}
	return nil
}
