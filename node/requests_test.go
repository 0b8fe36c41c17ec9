package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// replyWithin has two parties agree that the first answers the second, for investigations, within a
// day.
func replyWithin(t *testing.T, vendor, police *Node) protocol.AgreementID {
	t.Helper()
	doc := testAgreement(vendor, police, protocol.TLPAmber, "*")
	doc.Terms[0].ReplyHours, doc.Terms[0].Purposes = 24, []string{"investigation"}
	trustEachOther(t, vendor, police)
	return agreeOn(t, vendor, police, doc)
}

func onlyRequest(t *testing.T, n *Node, all bool) RequestInfo {
	t.Helper()
	list, err := n.Requests(all)
	if err != nil || len(list) != 1 {
		t.Fatalf("%s has %d requests, %v", n.OwnCard().Inception.Name, len(list), err)
	}
	return list[0]
}

// TestRequestAndReply: a partner is asked, sees until when it promised to reply and what it holds, and
// its reply names what it published for who asked.
func TestRequestAndReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := WithCaller(context.Background(), Caller{Person: "A. Officer"})
		vendor, police := testNode(t, "Vendor"), testNode(t, "Police")
		intoOneNetwork(t, []*Node{vendor, police})
		id := replyWithin(t, vendor, police)
		made, err := police.Ask(ctx, Request{To: vendor.Org(), Purpose: "investigation", Text: "Who ran it?", Values: []string{"198.51.100.1", "198.51.100.2"}})
		if err != nil {
			t.Fatal(err)
		}
		if made.Agreement != id || made.Due == nil || made.Due.Sub(made.At) != 24*time.Hour || made.State != "open" || made.Person != "A. Officer" {
			t.Errorf("it is %+v", made)
		}
		carryNew(t, police, vendor)
		carryNew(t, police, vendor) // twice changes nothing
		f := amber()
		f.Purposes = []string{"investigation"}
		publishList(t, vendor, "198.51.100.1\n", f)
		got := onlyRequest(t, vendor, false)
		if got.ID != made.ID || got.Text != "Who ran it?" || len(got.Values) != 2 || !got.Due.Equal(*made.Due) || got.Overdue || got.Person != "" {
			t.Errorf("it came as %+v", got)
		}
		if r, recs, err := vendor.Reader(nil).Request(got.ID); err != nil || r.Held != 1 || r.Shared != 1 || len(recs) != 1 {
			t.Errorf("held about it: %+v, %d, %v", r, len(recs), err)
		}
		time.Sleep(25 * time.Hour)
		for _, n := range []*Node{vendor, police} {
			st, err := n.Status()
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, p := range st.Problems {
				found = found || strings.Contains(p.Text, "overdue")
			}
			if !found || !onlyRequest(t, n, false).Overdue {
				t.Errorf("%s does not tell that it is overdue", n.OwnCard().Inception.Name)
			}
		}
		rec := heldRecord(t, vendor, "198.51.100.1").ID
		if _, err := vendor.Reply(ctx, got.ID, false, "", []protocol.RecordID{{9}}); !errors.Is(err, protocol.ErrNoAgreement) {
			t.Errorf("a record that was not published answers: %v", err)
		}
		if _, err := vendor.Reply(ctx, got.ID, false, " ", nil); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("an empty reply: %v", err)
		}
		if _, err := police.Reply(ctx, got.ID, false, "x", nil); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("who asked replies: %v", err)
		}
		if r, err := vendor.Reply(ctx, got.ID, false, "See the record.", []protocol.RecordID{rec, rec}); err != nil || r.State != "answered" || r.Overdue {
			t.Fatalf("%+v, %v", r, err)
		}
		if _, err := vendor.Reply(ctx, got.ID, true, "no", nil); err == nil {
			t.Error("it is answered twice")
		}
		carryNew(t, vendor, police)
		if r := onlyRequest(t, police, true); r.State != "answered" || r.Reply != "See the record." || len(r.Records) != 1 || r.Records[0] != rec.String() || r.Person != "A. Officer" {
			t.Errorf("the reply is %+v", r)
		}
		if list, _ := police.Requests(false); len(list) != 0 {
			t.Error("it still waits")
		}
		time.Sleep(401 * 24 * time.Hour)
		if _, err := police.Ask(ctx, Request{To: vendor.Org(), Text: "x"}); !errors.Is(err, protocol.ErrNoAgreement) { // the agreement is over
			t.Errorf("asked under none: %v", err)
		}
	})
}

// TestRequestsThatAreRefused: nobody asks under no agreement, for another purpose, in another's name, or
// more than is answered; nobody replies to what was not asked.
func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	vendor, police, other := testNode(t, "Vendor"), testNode(t, "Police"), testNode(t, "Other")
	intoOneNetwork(t, []*Node{vendor, police, other})
	id := replyWithin(t, vendor, police)
	for name, q := range map[string]Request{
		"no agreement":    {To: other.Org(), Text: "x"},
		"another purpose": {To: vendor.Org(), Purpose: "marketing", Text: "x"},
	} {
		if _, err := police.Ask(ctx, q); !errors.Is(err, protocol.ErrNoAgreement) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := vendor.Ask(ctx, Request{To: police.Org(), Text: "x"}); !errors.Is(err, protocol.ErrNoAgreement) {
		t.Errorf("the wrong direction: %v", err)
	}
	for name, q := range map[string]Request{
		"nothing":      {},
		"many values":  {Values: make([]string, protocol.MaxRequestValues+1)},
		"empty value":  {Values: []string{""}},
		"long text":    {Text: strings.Repeat("x", protocol.MaxTextSize+1)},
		"control":      {Text: "a\x1b[2J"},
		"large in all": {Values: slicesOf(strings.Repeat("v", 4000), 5)},
		"odd purpose":  {Text: "x", Purpose: "A B"},
	} {
		q.To = vendor.Org()
		if _, err := police.Ask(ctx, q); err == nil {
			t.Errorf("%s: it is asked", name)
		}
	}
	network := vendor.snap.Load().network
	n := byte(0)
	ask := func(change func(r *protocol.InfoRequest)) error {
		n++
		r := &protocol.InfoRequest{Version: 1, Network: network, ID: protocol.RequestID{n, 1}, From: police.Org(), To: vendor.Org(), Agreement: id, Text: "x", Values: []string{}, At: 1}
		change(r)
		return vendor.receiveLetter(&protocol.Letter{Version: 1, Network: network, Sender: police.Org(), Kind: protocol.LetterRequest, Content: protocol.Encode(r)})
	}
	for name, c := range map[string]struct {
		change func(r *protocol.InfoRequest)
		want   error
	}{
		"another's name":     {func(r *protocol.InfoRequest) { r.From = other.Org() }, protocol.ErrWrongContext},
		"another's":          {func(r *protocol.InfoRequest) { r.To = other.Org() }, protocol.ErrWrongContext},
		"another network":    {func(r *protocol.InfoRequest) { r.Network[0]++ }, protocol.ErrWrongContext},
		"no such agreement":  {func(r *protocol.InfoRequest) { r.Agreement[0]++ }, protocol.ErrNoAgreement},
		"another purpose":    {func(r *protocol.InfoRequest) { r.Purpose = "marketing" }, protocol.ErrNoAgreement},
		"no id":              {func(r *protocol.InfoRequest) { r.ID = protocol.RequestID{} }, protocol.ErrMalformed},
		"an unknown version": {func(r *protocol.InfoRequest) { r.Version = 2 }, protocol.ErrLaterVersion},
	} {
		if err := ask(c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for i := range maxOpenRequests + 2 {
		err := ask(func(r *protocol.InfoRequest) { r.ID = protocol.RequestID{byte(i), byte(i >> 8), 7} })
		if full := i >= maxOpenRequests; full != errors.Is(err, protocol.ErrOversize) || !full && err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	late, err := vendor.Requests(false) // they say that they were made in 1970
	if err != nil || len(late) != maxOpenRequests {
		t.Fatalf("%d requests wait, %v", len(late), err)
	}
	for i := range late {
		if late[i].Overdue || late[i].Due == nil || late[i].Due.Before(time.Now().Add(23*time.Hour)) {
			t.Fatalf("an early date makes it late: %+v", late[i])
		}
	}
	made, err := police.Ask(ctx, Request{To: vendor.Org(), Text: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var asked protocol.InfoRequest
	if err := police.st.View(func(tx *store.Tx) error {
		_, r, err := police.findRequest(tx, made.ID)
		asked = r.asked
		return err
	}); err != nil {
		t.Fatal(err)
	}
	reply := func(sender *Node, change func(p *protocol.InfoReply)) error {
		p := &protocol.InfoReply{Version: 1, Network: network, Request: asked.ID, From: sender.Org(), To: police.Org(), State: protocol.RequestAnswered, Text: "x", Records: []protocol.RecordID{}, At: 1}
		change(p)
		return police.receiveLetter(&protocol.Letter{Version: 1, Network: network, Sender: sender.Org(), Kind: protocol.LetterReply, Content: protocol.Encode(p)})
	}
	for name, c := range map[string]struct {
		sender *Node
		change func(p *protocol.InfoReply)
		want   error
	}{
		"not asked":         {other, func(*protocol.InfoReply) {}, protocol.ErrWrongContext},
		"another's name":    {other, func(p *protocol.InfoReply) { p.From = vendor.Org() }, protocol.ErrWrongContext},
		"no such request":   {vendor, func(p *protocol.InfoReply) { p.Request[0]++ }, protocol.ErrWrongContext},
		"no state":          {vendor, func(p *protocol.InfoReply) { p.State = 3 }, protocol.ErrMalformed},
		"records in no way": {vendor, func(p *protocol.InfoReply) { p.Records = []protocol.RecordID{{2}, {1}} }, protocol.ErrMalformed},
	} {
		if err := reply(c.sender, c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := reply(vendor, func(*protocol.InfoReply) {}); err != nil {
		t.Fatal(err)
	}
	if err := reply(vendor, func(p *protocol.InfoReply) { p.State = protocol.RequestDeclined }); err != nil || onlyRequest(t, police, true).State != "answered" {
		t.Errorf("a second reply counts: %v", err)
	}
}

func slicesOf(s string, n int) (out []string) {
	for range n {
		out = append(out, s)
	}
	return out
}

// TestSiblingsShareRequests: what one node of an organisation was asked, and replied, the others know.
func TestSiblingsShareRequests(t *testing.T) {
	first, second, partner := siblingWorld(t)
	made, err := partner.Ask(context.Background(), Request{To: first.Org(), Text: "x"})
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, partner, first)
	compareWith(t, second, first)
	if r := onlyRequest(t, second, false); r.ID != made.ID {
		t.Errorf("the other node has %+v", r)
	}
	if _, err := second.Reply(context.Background(), made.ID, true, "no", nil); err != nil {
		t.Fatal(err)
	}
	compareWith(t, first, second)
	if r := onlyRequest(t, first, true); r.State != "declined" {
		t.Errorf("the first node has %+v", r)
	}
	if list, _ := first.Requests(false); len(list) != 0 {
		t.Error("it still waits at the first")
	}
}

// TestRequestsAreFoundAndErased: a value that stands in a request or its reply is found, and erased with
// what else is held about it; another node of the organisation does not bring it back.
func TestRequestsAreFoundAndErased(t *testing.T) {
	ctx := context.Background()
	first, second, partner := siblingWorld(t)
	made, err := partner.Ask(ctx, Request{To: first.Org(), Text: "Who is Jane Example?", Values: []string{"JANE@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, partner, first)
	compareWith(t, second, first)
	if _, err := second.Reply(ctx, made.ID, true, "We do not know John Placeholder.", nil); err != nil {
		t.Fatal(err)
	}
	compareWith(t, first, second)
	for value, want := range map[string]int{"jane example": 1, "jane@example.org": 1, "John Placeholder": 1, "Jane": 1, "somebody else": 0} {
		x, err := first.Reader(nil).About(ctx, AboutQuery{Value: value})
		if err != nil || len(x.Requests) != want {
			t.Errorf("%s: %d requests, %v; want %d", value, len(x.Requests), err, want)
		}
	}
	r, err := first.Reader(nil).EraseAbout(ctx, EraseAbout{Value: "jane@example.org", Reason: protocol.EraseRequest, DryRun: true})
	if err != nil || r.Requests != 1 || onlyRequest(t, first, true).Text == erasedText {
		t.Fatalf("a dry run: %+v, %v", r, err)
	}
	if r, err = first.Reader(nil).EraseAbout(ctx, EraseAbout{Value: "jane@example.org", Reason: protocol.EraseRequest}); err != nil || r.Requests != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	for range 2 {
		compareWith(t, first, second)
		compareWith(t, second, first)
	}
	for _, n := range []*Node{first, second} {
		got := onlyRequest(t, n, true)
		if got.Text != erasedText || len(got.Values) != 0 || got.Reply != erasedText || got.State != "declined" {
			t.Errorf("left is %+v", got)
		}
	}
	if !wholeSiblings(t, first, second) {
		t.Error("the two do not hold the same")
	}
}
