package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// askAbout has a node ask about the records of values, for two days, and returns the requests.
func askAbout(t testing.TB, n *Node, values ...string) []ErasureAsk {
	t.Helper()
	var ids []protocol.RecordID
	for _, v := range values {
		ids = append(ids, recordOf(t, n, v))
	}
	list, err := n.AskErasure(WithCaller(context.Background(), Caller{Person: "Officer"}), AskRequest{Records: ids, Reason: protocol.EraseLegal, Text: "a person asked", Due: time.Now().Add(48 * time.Hour), Onward: true})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// requestsAt lists what a node is asked to erase.
func requestsAt(t testing.TB, n *Node, want int) []ErasureAsk {
	t.Helper()
	list, err := n.ErasureRequests()
	if err != nil || len(list) != want {
		t.Fatalf("%d requests to %s, want %d; %v", len(list), n.OwnCard().Inception.Name, want, err)
	}
	return list
}

func askedBy(t testing.TB, n *Node, want int) []ErasureAsk {
	t.Helper()
	list, err := n.ErasuresAsked()
	if err != nil || len(list) != want {
		t.Fatalf("%d requests by %s, want %d; %v", len(list), n.OwnCard().Inception.Name, want, err)
	}
	return list
}

func answerWith(t testing.TB, n *Node, q AnswerRequest) *ErasureAsk {
	t.Helper()
	a, err := n.AnswerErasure(WithCaller(context.Background(), Caller{Person: "Officer of " + n.OwnCard().Inception.Name}), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func outcomesOf(a *ErasureAsk) (out []string) {
	if a.Answer == nil {
		return nil
	}
	for _, r := range a.Answer.Results {
		out = append(out, r.Outcome)
	}
	slices.Sort(out)
	return out
}

// TestErasureIsAsked: a reader is asked, its person erases, keeps one record on a basis of its own, and the
// answer is at the asker, signed.
func TestErasureIsAsked(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n", green)
	carryNew(t, author, reader)
	list := askAbout(t, author, "198.51.100.1", "198.51.100.2")
	if len(list) != 1 || list[0].To.ID != reader.Org() || list[0].State != "waiting" || list[0].Overdue {
		t.Fatalf("asked %+v", list)
	}
	carryNew(t, author, reader)
	carryNew(t, author, reader) // again: nothing is taken twice
	r := requestsAt(t, reader, 1)[0]
	if r.ID != list[0].ID || r.Held != 2 || r.State != "waiting" || r.Text != "a person asked" || !r.Onward {
		t.Fatalf("request %+v", r)
	}
	for name, q := range map[string]AnswerRequest{
		"not held, but is":   {ID: r.ID, NotHeld: true, Exports: protocol.ExportsNone},
		"kept for no reason": {ID: r.ID, Exports: protocol.ExportsNone},
		"exports not said":   {ID: r.ID, Erase: true},
		"exports remain":     {ID: r.ID, Erase: true, Exports: protocol.ExportsRemain},
		"not of it":          {ID: r.ID, Erase: true, Except: []protocol.RecordID{{1}}, Exports: protocol.ExportsNone, Text: "x"},
	} {
		if _, err := reader.AnswerErasure(context.Background(), q); protocol.Class(err) != "malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := author.AnswerErasure(context.Background(), AnswerRequest{ID: r.ID, Erase: true, Exports: protocol.ExportsNone}); !errors.Is(err, ErrNotFound) {
		t.Errorf("the asker answers itself: %v", err)
	}
	if !reads(t, reader, "198.51.100.1") || !reads(t, reader, "198.51.100.2") {
		t.Fatal("what was refused erased something")
	}
	answerWith(t, reader, AnswerRequest{ID: r.ID, Erase: true, Except: []protocol.RecordID{recordOf(t, reader, "198.51.100.2")}, Exports: protocol.ExportsErased, Text: "evidence in case 12/26"})
	if reads(t, reader, "198.51.100.1") || !reads(t, reader, "198.51.100.2") || !reads(t, author, "198.51.100.1") {
		t.Error("erased is something else than was said")
	}
	carryNew(t, reader, author)
	a := askedBy(t, author, 1)[0]
	if a.State != "answered" || !slices.Equal(outcomesOf(&a), []string{"erased", "kept"}) || a.Answer.Exports != "erased" || a.Answer.Text != "evidence in case 12/26" {
		t.Errorf("answer %+v", a.Answer)
	}
	// The case is closed: a later answer counts.
	answerWith(t, reader, AnswerRequest{ID: r.ID, Erase: true, Exports: protocol.ExportsErased})
	carryNew(t, reader, author)
	if a := askedBy(t, author, 1)[0]; a.Answer.Number != 2 || !slices.Equal(outcomesOf(&a), []string{"erased", "erased"}) {
		t.Errorf("answer %+v", a.Answer)
	}
	for n, want := range map[*Node]string{author: "ask to erase Officer", reader: "answer a request to erase Officer of Reader"} {
		if !slices.ContainsFunc(acts(account(t, n), audit.Erase), func(d *audit.Details) bool { return d.Act+" "+d.Person == want }) {
			t.Errorf("the account of %s has no %q", n.OwnCard().Inception.Name, want)
		}
		verifies(t, n)
	}
	if rep := reportOf(t, author, reader); len(rep.Asked) != 1 || rep.Asked[0].Answer == nil {
		t.Errorf("the disclosure report has %+v", rep.Asked)
	}
}

// TestErasureConfirmsItself: what the asker erased by its signed word is confirmed by the node, if no rule
// says who may; what was exported stays for a person. What is under a hold is named.
func TestErasureConfirmsItself(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"erase", "request"} {
		t.Run(first+" comes first", func(t *testing.T) {
			nodes := testNetwork(t, "Author", "Reader", "Ruled")
			author, reader, ruled := nodes[0], nodes[1], nodes[2]
			agree(t, author, reader, protocol.TLPGreen, "*")
			agree(t, author, ruled, protocol.TLPGreen, "*")
			publishList(t, author, "198.51.100.1\n198.51.100.2\n", green)
			syncBoth(t, nodes...)
			holdOn(t, reader, HoldRequest{Value: "198.51.100.1"})
			loadRules(t, ruled, "permit (principal, action == Action::\"administer\", resource);")
			askAbout(t, author, "198.51.100.1", "198.51.100.2")
			eraseTwo := func() {
				if _, err := author.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{recordOf(t, author, "198.51.100.1"), recordOf(t, author, "198.51.100.2")}, Reason: protocol.EraseLegal}); err != nil {
					t.Fatal(err)
				}
			}
			if first == "request" {
				carryNew(t, author, reader)
				carryNew(t, author, ruled)
				if r := requestsAt(t, reader, 1)[0]; r.State != "waiting" || r.Held != 2 {
					t.Fatalf("%+v", r)
				}
			}
			eraseTwo()
			syncBoth(t, nodes...)
			reader.confirmErased()
			ruled.confirmErased()
			if err := errors.Join(reader.sendLetters(), ruled.sendLetters()); err != nil {
				t.Fatal(err)
			}
			syncBoth(t, nodes...)
			for _, a := range askedBy(t, author, 2) {
				switch a.To.ID {
				case reader.Org():
					if a.State != "exports open" || !slices.Equal(outcomesOf(&a), []string{"erased", "kept under a legal hold"}) {
						t.Errorf("%s: %+v", a.State, a.Answer)
					}
				default:
					if a.State != "waiting" {
						t.Errorf("where a rule says who may, it is %s: %+v", a.State, a.Answer)
					}
				}
			}
			answerWith(t, reader, AnswerRequest{ID: requestsAt(t, reader, 1)[0].ID, Erase: true, Exports: protocol.ExportsNone})
			carryNew(t, reader, author)
			i := slices.IndexFunc(askedBy(t, author, 2), func(a ErasureAsk) bool { return a.State == "answered" && a.Answer.Number == 2 })
			if i < 0 {
				t.Error("the person's answer did not come")
			}
		})
	}
}

// TestErasureGoesOn: who passed a record on asks those whom it gave it to, and the originator of a record
// may be asked by who only reads it.
func TestErasureGoesOn(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Unit")
	vendor, hub, unit := nodes[0], nodes[1], nodes[2]
	automatic(t, nodes...)
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	along(t, nodes)
	wantReads(t, unit, "198.51.100.1", true)
	askAbout(t, vendor, "198.51.100.1")
	carryNew(t, vendor, hub)
	a := answerWith(t, hub, AnswerRequest{ID: requestsAt(t, hub, 1)[0].ID, Erase: true, Exports: protocol.ExportsNone})
	if len(a.Answer.Asked) != 1 || a.Answer.Asked[0].ID != unit.Org() {
		t.Fatalf("the hub asked %+v", a.Answer.Asked)
	}
	carryNew(t, hub, unit)
	on := requestsAt(t, unit, 1)[0]
	if on.From.ID != hub.Org() || askedBy(t, hub, 1)[0].Parent != a.ID {
		t.Errorf("request %+v", on)
	}
	again := answerWith(t, hub, AnswerRequest{ID: a.ID, Erase: true, Exports: protocol.ExportsNone})
	if askedBy(t, hub, 1); len(again.Answer.Asked) != 1 {
		t.Errorf("answered again, it asked again: %+v", again.Answer.Asked)
	}
	carryNew(t, hub, vendor)
	if a := askedBy(t, vendor, 1)[0]; a.State != "answered" || !slices.Equal(outcomesOf(&a), []string{"erased"}) {
		t.Errorf("%+v", a)
	}

	publishOnward(t, vendor, "198.51.100.2\n", partners)
	along(t, nodes)
	list := askAbout(t, unit, "198.51.100.2")
	var to []string
	for _, a := range list {
		to = append(to, a.To.Name)
	}
	slices.Sort(to)
	if !slices.Equal(to, []string{"Hub", "Vendor"}) {
		t.Errorf("the unit asks %v", to)
	}
	along(t, nodes)
	requestsAt(t, vendor, 1)
	answerWith(t, vendor, AnswerRequest{ID: requestsAt(t, vendor, 1)[0].ID, Erase: true, Exports: protocol.ExportsNone})
	wantReads(t, vendor, "198.51.100.2", false)
}

// TestErasureOfWhatWasSetAside: what was set aside is held, and is erased when its publisher asks.
func TestErasureOfWhatWasSetAside(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	loadRules(t, reader, noReceive)
	publishList(t, author, "198.51.100.1\n", green)
	carryNew(t, author, reader)
	askAbout(t, author, "198.51.100.1")
	carryNew(t, author, reader)
	r := requestsAt(t, reader, 1)[0]
	if r.Held != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := reader.AnswerErasure(context.Background(), AnswerRequest{ID: r.ID, NotHeld: true, Exports: protocol.ExportsNone}); protocol.Class(err) != "malformed" {
		t.Errorf("what was set aside is not held: %v", err)
	}
	if a := answerWith(t, reader, AnswerRequest{ID: r.ID, Erase: true, Exports: protocol.ExportsNone}); !slices.Equal(outcomesOf(a), []string{"erased"}) {
		t.Errorf("%+v", a.Answer)
	}
	if list, err := reader.Quarantine(""); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestErasureFromOneOfTwo: a hub erases what it passed on, and the record is read from its originator as
// well: nobody says by itself that it is erased.
func TestErasureFromOneOfTwo(t *testing.T) {
	nodes := chain(t, nil, "Vendor", "Hub", "Unit")
	vendor, hub, unit := nodes[0], nodes[1], nodes[2]
	agree(t, vendor, unit, protocol.TLPAmber, "*")
	automatic(t, hub)
	publishOnward(t, vendor, "198.51.100.1\n", partners)
	along(t, nodes)
	id := recordOf(t, hub, "198.51.100.1")
	askAbout(t, hub, "198.51.100.1")
	eraseValue(t, hub, "198.51.100.1")
	syncBoth(t, nodes...)
	if err := unit.st.View(func(tx *store.Tx) error {
		gone, err := corpus.ErasedBy(tx, id, hub.Org())
		if !gone {
			t.Error("the unit did not hear of the erasure")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	unit.confirmErased()
	wantReads(t, unit, "198.51.100.1", true)
	if r := requestsAt(t, unit, 1)[0]; r.State != "waiting" || r.Answer != nil {
		t.Errorf("%s: %+v", r.State, r.Answer)
	}
}

// TestErasureIsOverdue: past the day that it is due a request counts as overdue until it is answered to
// the end.
func TestErasureIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "Reader")
		author, reader := nodes[0], nodes[1]
		agree(t, author, reader, protocol.TLPGreen, "*")
		publishList(t, author, "198.51.100.1\n", green)
		carryNew(t, author, reader)
		askAbout(t, author, "198.51.100.1")
		carryNew(t, author, reader)
		want := func(n *Node, want AskCounts) {
			t.Helper()
			st, err := n.Status()
			if err != nil || st.Erasures != want {
				t.Errorf("%+v, want %+v; %v", st.Erasures, want, err)
			}
			if m, err := n.Metrics(); err != nil || m.Erasures != want {
				t.Errorf("metrics %+v, %v", m.Erasures, err)
			}
		}
		want(author, AskCounts{Asked: 1})
		want(reader, AskCounts{Waiting: 1})
		time.Sleep(49 * time.Hour)
		want(author, AskCounts{Asked: 1, Overdue: 1})
		want(reader, AskCounts{Waiting: 1, Late: 1})
		if !askedBy(t, author, 1)[0].Overdue {
			t.Error("not overdue in the list")
		}
		answerWith(t, reader, AnswerRequest{ID: requestsAt(t, reader, 1)[0].ID, Erase: true, Exports: protocol.ExportsNone})
		carryNew(t, reader, author)
		want(author, AskCounts{})
		want(reader, AskCounts{})
		if askedBy(t, author, 1)[0].Overdue {
			t.Error("overdue when it is answered")
		}
	})
}

// TestErasureAskRefuses: what a partner sends that is no request to this organisation, or no answer to one
// of its own, changes nothing.
func TestErasureAskRefuses(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Mallory")
	author, reader, mallory := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	carryNew(t, author, reader)
	network := author.snap.Load().network
	s := reader.snap.Load()
	now := uint64(nowMillis())
	request := func(by *Node, change func(*protocol.ErasureRequest)) *protocol.Letter {
		r := &protocol.ErasureRequest{Version: 1, Network: network, Org: by.Org(), To: reader.Org(), Number: 1, At: now, Due: now + 1, Records: []protocol.RecordID{{1}}, Reason: protocol.EraseLegal}
		change(r)
		o, err := crypto.SignErasureRequest(r, by.op())
		if err != nil {
			t.Fatal(err)
		}
		return &protocol.Letter{Sender: mallory.Org(), Content: protocol.Encode(&o)}
	}
	same := func(*protocol.ErasureRequest) {}
	for name, c := range map[string]struct {
		l    *protocol.Letter
		want string
	}{
		"another's":  {request(author, same), "wrong-context"},
		"to another": {request(mallory, func(r *protocol.ErasureRequest) { r.To = author.Org() }), "wrong-context"},
		"malformed":  {&protocol.Letter{Sender: mallory.Org(), Content: []byte{1}}, "malformed"},
	} {
		if err := reader.receiveErasureRequest(s, c.l); protocol.Class(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	requestsAt(t, reader, 0)
	for i := range maxAsksBy {
		if err := reader.receiveErasureRequest(s, request(mallory, func(r *protocol.ErasureRequest) { r.Number = uint64(i + 1) })); err != nil {
			t.Fatal(err)
		}
	}
	if err := reader.receiveErasureRequest(s, request(mallory, func(r *protocol.ErasureRequest) { r.Number = 9999 })); !early(err) {
		t.Errorf("one request too many is not left for later: %v", err)
	}
	requestsAt(t, reader, maxAsksBy)

	list := askAbout(t, author, "198.51.100.1")
	as := author.snap.Load()
	answer := func(by *Node, change func(*protocol.ErasureAnswer)) *protocol.Letter {
		a, err := author.askOf(list[0].ID, false)
		if err != nil {
			t.Fatal(err)
		}
		x := &protocol.ErasureAnswer{Version: 1, Network: network, Org: by.Org(), To: author.Org(), Request: a.name, Number: 1, At: now,
			Results: []protocol.ErasureResult{{Record: a.request.Records[0], Outcome: protocol.OutcomeErased}}, Exports: protocol.ExportsNone}
		change(x)
		o, err := crypto.SignErasureAnswer(x, by.op())
		if err != nil {
			t.Fatal(err)
		}
		return &protocol.Letter{Sender: by.Org(), Content: protocol.Encode(&o)}
	}
	if err := author.receiveErasureAnswer(as, answer(mallory, func(*protocol.ErasureAnswer) {})); protocol.Class(err) != "wrong-context" {
		t.Errorf("answered by who was not asked: %v", err)
	}
	if err := author.receiveErasureAnswer(as, answer(reader, func(x *protocol.ErasureAnswer) { x.Results[0].Record = protocol.RecordID{9} })); protocol.Class(err) != "wrong-context" {
		t.Errorf("answered about another record: %v", err)
	}
	if err := author.receiveErasureAnswer(as, answer(reader, func(x *protocol.ErasureAnswer) { x.Request[0] ^= 1 })); !early(err) {
		t.Errorf("an answer to a request of a sibling, perhaps: %v", err)
	}
	if askedBy(t, author, 1)[0].Answer != nil {
		t.Error("an answer was taken")
	}
	if _, err := author.AskErasure(context.Background(), AskRequest{Records: []protocol.RecordID{{7}}, Reason: protocol.EraseLegal, Due: time.Now().Add(time.Hour)}); protocol.Class(err) != "malformed" {
		t.Errorf("asked nobody: %v", err)
	}
	if _, err := author.AskErasure(context.Background(), AskRequest{Records: []protocol.RecordID{{7}}, Orgs: []protocol.OrgID{{9}}, Reason: protocol.EraseLegal, Due: time.Now().Add(time.Hour)}); protocol.Class(err) != "unknown-author" {
		t.Errorf("asked a stranger: %v", err)
	}
}

// TestErasureAskOutlivesACrash cuts the power at every step of asking and of answering: what was decided
// reaches the other side.
func TestErasureAskOutlivesACrash(t *testing.T) {
	t.Parallel()
	author := testNode(t, "Author")
	reader, disks, c := onDisk(t, "Reader")
	intoOneNetwork(t, []*Node{author, reader})
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	askAbout(t, author, "198.51.100.1")
	carryNew(t, author, reader)
	id := requestsAt(t, reader, 1)[0].ID
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	waiting, done := 0, 0
	cutAtEveryStep(t, c, disks, func(n *Node) {
		if _, err := n.AnswerErasure(context.Background(), AnswerRequest{ID: id, Erase: true, Exports: protocol.ExportsNone}); err != nil {
			t.Fatal(err)
		}
	}, func(n *Node, cut int) {
		r := requestsAt(t, n, 1)[0]
		if answered := r.State == "answered"; answered && reads(t, n, "198.51.100.1") {
			t.Fatalf("cut at step %d: it says that what it shows is erased", cut)
		} else if !answered {
			waiting++
			return
		}
		done++
		n.sendDecided()
		letters := 0
		for _, e := range entries(t, n) {
			if e.Header.Kind == protocol.EntryLetter {
				letters++
			}
		}
		if letters == 0 || pendingLetters(t, n) != 0 {
			t.Fatalf("cut at step %d: %d letters are in the feed", cut, letters)
		}
	})
	if waiting < 2 || done < 2 {
		t.Errorf("after a cut %d times nothing was answered, and %d times it was", waiting, done)
	}
}

// TestPropsSiblingAsks: whatever siblings hold of a request, and in whichever order they compare, they end
// up with the same. So with holds.
func TestPropsSiblingAsks(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	network, now := author.snap.Load().network, uint64(nowMillis())
	r := &protocol.ErasureRequest{Version: 1, Network: network, Org: author.Org(), To: reader.Org(), Number: 1, At: now, Due: now + 1, Records: []protocol.RecordID{{1}}, Reason: protocol.EraseLegal}
	signed, err := crypto.SignErasureRequest(r, author.op())
	if err != nil {
		t.Fatal(err)
	}
	name := protocol.ErasureName(signed.Statement)
	answers := [][]byte{nil}
	for i := range 4 {
		x := &protocol.ErasureAnswer{Version: 1, Network: network, Org: reader.Org(), To: author.Org(), Request: name, Number: uint64(1 + i/2), At: now,
			Results: []protocol.ErasureResult{{Record: protocol.RecordID{1}, Outcome: protocol.OutcomeErased}}, Exports: protocol.ExportsNone, Text: fmt.Sprint(i)}
		o, err := crypto.SignErasureAnswer(x, reader.op())
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, protocol.Encode(&o))
	}
	rapid.Check(t, func(rt *rapid.T) {
		var items []protocol.SiblingErasureAsk
		var held []protocol.SiblingHold
		for range rapid.IntRange(1, 4).Draw(rt, "items") {
			items = append(items, protocol.SiblingErasureAsk{Request: protocol.Encode(&signed), Answer: rapid.SampledFrom(answers).Draw(rt, "answer"), Seen: rapid.Uint64Range(1, 3).Draw(rt, "seen")})
			held = append(held, protocol.SiblingHold{ID: [32]byte{1}, Value: "x", Authority: "y", At: 1, Ended: rapid.Uint64Range(0, 2).Draw(rt, "ended"), EndReason: rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "why")})
		}
		join := func(order []int) (out string) {
			undo := errors.New("undo")
			if err := author.st.Update(func(tx *store.Tx) error {
				for _, i := range order {
					if err := errors.Join(author.joinErasureAsk(tx, &items[i]), joinHold(tx, &held[i])); err != nil {
						return err
					}
				}
				a, err := tx.Get(append([]byte(kindErasureAsk), name[:]...))
				if err != nil {
					return err
				}
				h, err := tx.Get(append([]byte(kindHold), held[0].ID[:]...))
				out = fmt.Sprintf("%x %x", a, h)
				return errors.Join(err, undo)
			}); !errors.Is(err, undo) {
				rt.Fatal(err)
			}
			return out
		}
		var order []int
		for i := range items {
			order = append(order, i)
		}
		want := join(order)
		if got := join(rapid.Permutation(order).Draw(rt, "order")); got != want {
			rt.Errorf("in another order siblings end up with %s, not with %s", got, want)
		}
	})
}

// TestSiblingsShareAsksAndHolds: what one node of an organisation is asked, answers and holds, the others
// know; a hold that one releases ends at all.
func TestSiblingsShareAsksAndHolds(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	askAbout(t, author, "198.51.100.1")
	carryNew(t, author, reader)
	sib := testSibling(t, reader)
	shareSets(t, reader, author, sib)
	h := holdOn(t, reader, HoldRequest{Value: "198.51.100.1"})
	compareWith(t, sib, reader)
	if r := requestsAt(t, sib, 1)[0]; r.State != "waiting" {
		t.Errorf("%+v", r)
	}
	answerWith(t, reader, AnswerRequest{ID: requestsAt(t, reader, 1)[0].ID, Erase: true, Exports: protocol.ExportsNone})
	compareWith(t, sib, reader)
	if r := requestsAt(t, sib, 1)[0]; r.State != "answered" || !slices.Equal(outcomesOf(&r), []string{"kept under a legal hold"}) {
		t.Errorf("%+v", r)
	}
	if list, err := sib.Holds(false); err != nil || len(list) != 1 || list[0].ID != h.ID {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := sib.ReleaseHold(context.Background(), h.ID, "case closed"); err != nil {
		t.Fatal(err)
	}
	wantKept(t, reader, 1)
	compareWith(t, reader, sib)
	wantKept(t, reader, 0)
	if list, err := reader.Holds(true); err != nil || len(list) != 1 || list[0].State != "released" || !strings.Contains(list[0].EndReason, "case closed") {
		t.Errorf("%+v, %v", list, err)
	}
}
