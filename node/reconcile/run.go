package reconcile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// View is the node as a comparison sees it.
type View interface {
	// SetHashes lists the hashes of all cards and roster statements that are held.
	SetHashes() ([]protocol.Hash, error)
	// Items returns those that are held of them.
	Items(hashes []protocol.Hash) ([]protocol.SignedCard, []protocol.RosterStatement, error)
	// TakeItems keeps what verifies of what a peer sent.
	TakeItems(cards []protocol.SignedCard, roster []protocol.RosterStatement) error
	// Frontier lists the heads of the feeds that are held and may be served.
	Frontier() ([]protocol.FrontierEntry, error)
	// FeedOf names the feed of an origin in this network.
	FeedOf(*protocol.Origin) protocol.FeedID
	// Wants reports whether entries of a feed would be admitted here.
	Wants(*protocol.Origin) bool
	// Range returns encoded entries of a feed from seq from on: at most count of them, and
	// of at most maxBytes together, but one in any case.
	Range(feed protocol.FeedID, from uint64, count, maxBytes int) ([][]byte, error)
	// TakeEntries verifies and admits entries that a peer sent.
	TakeEntries(raws [][]byte) error
}

// Run compares with a peer, and takes from it what is lacking here. ask sends one request
// and returns the answer. What was taken before an error stays.
func Run(ctx context.Context, v View, ask func(context.Context, *protocol.SyncMessage) (*protocol.SyncMessage, error)) error {
	start, err := begin(v)
	if err != nil {
		return err
	}
	var m Machine
	e := Event{Start: start}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := m.Step(e)
		if f.Err != nil || f.Done {
			return f.Err
		}
		if e, err = act(ctx, v, ask, &m, f); err != nil {
			return err
		}
	}
}

func begin(v View) (*Start, error) {
	hashes, err := v.SetHashes()
	if err != nil {
		return nil, err
	}
	front, err := v.Frontier()
	return &Start{Sets: DigestSets(hashes), Feeds: DigestFeeds(v, front)}, err
}

// act brings an effect about, and returns what came of it.
func act(ctx context.Context, v View, ask func(context.Context, *protocol.SyncMessage) (*protocol.SyncMessage, error), m *Machine, f Effect) (Event, error) {
	switch {
	case f.Ask != nil:
		a, err := ask(ctx, f.Ask)
		if err == nil {
			err = a.Validate()
		}
		return Event{Answer: a}, err
	case f.TakeItems != nil:
		return Event{Took: true}, v.TakeItems(f.TakeItems.Cards, f.TakeItems.Roster)
	case m.phase == sifting:
		held, err := v.SetHashes()
		if err != nil {
			return Event{}, err
		}
		have := make(map[protocol.Hash]bool, len(held))
		for _, h := range held {
			have[h] = true
		}
		missing := []protocol.Hash{}
		for _, h := range f.List {
			if !have[h] {
				missing = append(missing, h)
			}
		}
		return Event{Missing: missing}, nil
	case m.phase == comparing:
		lacking, err := compare(v, f.Compare)
		return Event{Lacking: lacking}, err
	default:
		if err := v.TakeEntries(f.TakeEntries); err != nil {
			return Event{}, err
		}
		heads, err := heldHeads(v)
		return Event{Heads: heads}, err
	}
}

func heldHeads(v View) (map[protocol.FeedID]uint64, error) {
	own, err := v.Frontier()
	heads := make(map[protocol.FeedID]uint64, len(own))
	for i := range own {
		heads[v.FeedOf(&own[i].Origin)] = own[i].Seq
	}
	return heads, err
}

func compare(v View, theirs []protocol.FrontierEntry) ([]Lack, error) {
	held, err := heldHeads(v)
	out := []Lack{}
	for i := range theirs {
		t := &theirs[i]
		feed := v.FeedOf(&t.Origin)
		if have := held[feed]; t.Seq > have && v.Wants(&t.Origin) {
			out = append(out, Lack{Feed: feed, From: have + 1, To: t.Seq})
		}
	}
	return out, err
}

// Answer answers one request of a peer.
func Answer(v View, req *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	switch req.Kind {
	case protocol.SyncDigest:
		s, err := begin(v)
		if err != nil {
			return nil, err
		}
		return &protocol.SyncMessage{Version: 1, Kind: protocol.SyncDigest, Sets: s.Sets, Feeds: s.Feeds}, nil
	case protocol.SyncList:
		return answerList(v, req)
	case protocol.SyncFetch:
		return answerFetch(v, req)
	case protocol.SyncFrontier:
		return answerFrontier(v, req)
	case protocol.SyncPull:
		return answerPull(v, req)
	}
	return nil, protocol.Errorf(protocol.ErrMalformed, "message of kind %d is not a request", req.Kind)
}

func answerList(v View, req *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	hashes, err := v.SetHashes()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(hashes, compareHashes)
	if len(req.Hashes) > 1 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "request for a list names %d hashes to go on from, at most one", len(req.Hashes))
	}
	if len(req.Hashes) == 1 {
		i, found := slices.BinarySearchFunc(hashes, req.Hashes[0], compareHashes)
		if found {
			i++
		}
		hashes = hashes[i:]
	}
	a := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncList, Hashes: hashes}
	if len(hashes) > protocol.MaxSetItems {
		a.Hashes, a.More = hashes[:protocol.MaxSetItems], true
	}
	return a, nil
}

func answerFetch(v View, req *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if len(req.Hashes) > fetchItems {
		return nil, protocol.Errorf(protocol.ErrOversize, "request fetches %d items, at most %d at a time", len(req.Hashes), fetchItems)
	}
	cards, roster, err := v.Items(req.Hashes)
	return &protocol.SyncMessage{Version: 1, Kind: protocol.SyncItems, Cards: cards, Roster: roster}, err
}

func answerFrontier(v View, req *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if len(req.Frontier) > 1 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "request for a frontier names %d feeds to go on from, at most one", len(req.Frontier))
	}
	front, err := sorted(v)
	if err != nil {
		return nil, err
	}
	if len(req.Frontier) == 1 {
		after := v.FeedOf(&req.Frontier[0].Origin)
		front = slices.DeleteFunc(front, func(e protocol.FrontierEntry) bool {
			id := v.FeedOf(&e.Origin)
			return bytes.Compare(id[:], after[:]) <= 0
		})
	}
	a := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncFrontier, Frontier: front}
	if len(front) > protocol.MaxFrontier {
		a.Frontier, a.More = front[:protocol.MaxFrontier], true
	}
	return a, nil
}

func answerPull(v View, req *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if len(req.Pull) > pullFeeds {
		return nil, protocol.Errorf(protocol.ErrOversize, "request pulls from %d feeds, at most %d at a time", len(req.Pull), pullFeeds)
	}
	front, err := v.Frontier()
	if err != nil {
		return nil, err
	}
	served := map[protocol.FeedID]bool{}
	for i := range front {
		served[v.FeedOf(&front[i].Origin)] = true
	}
	a := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncEntries}
	room, bytesLeft := protocol.MaxPullEntries, protocol.MaxPullBytes
	for _, p := range req.Pull {
		if !served[p.Feed] {
			continue
		}
		if room == 0 || bytesLeft <= 0 {
			a.More = true
			break
		}
		raws, err := v.Range(p.Feed, p.From, min(int(p.Count), room), bytesLeft)
		if err != nil {
			return nil, err
		}
		for _, r := range raws {
			if bytesLeft -= len(r); bytesLeft < 0 && len(a.Envelopes) > 0 {
				a.More = true
				return a, nil
			}
			a.Envelopes = append(a.Envelopes, r)
			room--
		}
	}
	return a, nil
}

func compareHashes(a, b protocol.Hash) int { return bytes.Compare(a[:], b[:]) }

func sorted(v View) ([]protocol.FrontierEntry, error) {
	front, err := v.Frontier()
	slices.SortFunc(front, func(a, b protocol.FrontierEntry) int {
		x, y := v.FeedOf(&a.Origin), v.FeedOf(&b.Origin)
		return bytes.Compare(x[:], y[:])
	})
	return front, err
}

// DigestSets is SHA-256 over "entente/sets/v1" and the hashes in order.
func DigestSets(hashes []protocol.Hash) protocol.Hash {
	list := slices.SortedFunc(slices.Values(hashes), compareHashes)
	d := sha256.New()
	d.Write([]byte("entente/sets/v1"))
	for _, h := range list {
		d.Write(h[:])
	}
	return protocol.Hash(d.Sum(nil))
}

// DigestFeeds is SHA-256 over "entente/feeds/v1" and, in the order of feeds, feed, seq (8
// bytes big-endian) and hash of every head.
func DigestFeeds(v View, front []protocol.FrontierEntry) protocol.Hash {
	type head struct {
		feed protocol.FeedID
		e    *protocol.FrontierEntry
	}
	list := make([]head, len(front))
	for i := range front {
		list[i] = head{v.FeedOf(&front[i].Origin), &front[i]}
	}
	slices.SortFunc(list, func(a, b head) int { return bytes.Compare(a.feed[:], b.feed[:]) })
	d := sha256.New()
	d.Write([]byte("entente/feeds/v1"))
	for _, h := range list {
		d.Write(h.feed[:])
		d.Write(binary.BigEndian.AppendUint64(nil, h.e.Seq))
		d.Write(h.e.Hash[:])
	}
	return protocol.Hash(d.Sum(nil))
}
