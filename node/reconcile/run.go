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
	// SetHashes lists the hashes of all cards, roster statements, fork proofs, erases and direct
	// topics that are held and that the peer may be told of.
	SetHashes() ([]protocol.Hash, error)
	// Items returns those that are held of them, in a message of kind SyncItems.
	Items(hashes []protocol.Hash) (*protocol.SyncMessage, error)
	// TakeItems keeps what verifies of what a peer sent.
	TakeItems(*protocol.SyncMessage) error
	// Frontier lists the heads of the feeds that are held and that the peer may be told of: the
	// last entry that counts of each.
	Frontier() ([]protocol.FrontierEntry, error)
	// FeedOf names the feed of an origin in this network.
	FeedOf(*protocol.Origin) protocol.FeedID
	// Wants returns up to which seq entries of a feed would be admitted here; 0: none.
	Wants(*protocol.Origin) uint64
	// HashAt returns the hash of an entry that is held.
	HashAt(feed protocol.FeedID, seq uint64) (protocol.Hash, error)
	// Bodies lists entries that are held without their bodies.
	Bodies() ([]Lack, error)
	// Range returns encoded entries of a feed from seq from on: at most count of them, and
	// of at most maxBytes together, but one in any case. Bodies that were erased or are not
	// held are left out of them.
	Range(feed protocol.FeedID, from uint64, count, maxBytes int) ([][]byte, error)
	// TakeEntries verifies and admits entries that a peer sent. It returns where they do not
	// follow what is held.
	TakeEntries(raws [][]byte) (broken []Lack, err error)
	// Probe verifies entries, compares them with those that are held, and keeps the proof if
	// they contradict each other. It returns the lowest seq at which each feed differs.
	Probe(raws [][]byte) (map[protocol.FeedID]uint64, error)
	// Heads lists the newest signed heads of all feeds; TakeHeads keeps those that say more.
	Heads() ([]protocol.Signed, error)
	TakeHeads([]protocol.Signed) error
}

// Asker sends one request to the peer and returns its answer.
type Asker func(context.Context, *protocol.SyncMessage) (*protocol.SyncMessage, error)

// Run compares with a peer, and takes from it what is lacking here; with heads, signed heads
// are exchanged too. What was taken before an error stays.
func Run(ctx context.Context, v View, heads bool, ask Asker) (*Done, error) {
	start, err := Begin(v, heads)
	if err != nil {
		return nil, err
	}
	var m Machine
	e := Event{Start: start}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := m.Step(e)
		if f.Err != nil || f.Done != nil {
			return f.Done, f.Err
		}
		if e, err = Act(ctx, v, ask, f); err != nil {
			return nil, err
		}
	}
}

// Begin says what is held, for the first event of a Machine; with heads, signed heads are
// exchanged too.
func Begin(v View, heads bool) (*Start, error) {
	start, err := begin(v)
	if err != nil {
		return nil, err
	}
	start.Heads = heads
	start.Bodies, err = v.Bodies()
	return start, err
}

func begin(v View) (*Start, error) {
	hashes, err := v.SetHashes()
	if err != nil {
		return nil, err
	}
	front, err := v.Frontier()
	parts := PartDigests(v, front)
	return &Start{Sets: DigestSets(hashes), Feeds: DigestFeeds(parts), Parts: parts}, err
}

// Act brings an effect about, and returns what came of it.
func Act(ctx context.Context, v View, ask Asker, f Effect) (Event, error) {
	switch {
	case f.Ask != nil:
		a, err := ask(ctx, f.Ask)
		if err == nil {
			err = a.Validate()
		}
		return Event{Answer: a}, err
	case f.TakeItems != nil:
		return Event{Took: true}, v.TakeItems(f.TakeItems)
	case f.List != nil:
		return sift(v, f.List)
	case f.Compare != nil:
		c, err := compare(v, f.Compare)
		return Event{Compared: c}, err
	case f.Probe != nil:
		d, err := v.Probe(f.Probe)
		return Event{Diverged: d}, err
	case f.TakeHeads != nil:
		return Event{Took: true}, v.TakeHeads(f.TakeHeads)
	}
	t := &Taken{}
	for _, raw := range f.TakeEntries {
		t.Bytes += len(raw)
	}
	var err error
	if t.Broken, err = v.TakeEntries(f.TakeEntries); err != nil {
		return Event{}, err
	}
	held, err := heldHeads(v)
	t.Heads = make(map[protocol.FeedID]uint64, len(held))
	for id, h := range held {
		t.Heads[id] = h.Seq
	}
	return Event{Taken: t}, err
}

func sift(v View, list []protocol.Hash) (Event, error) {
	held, err := v.SetHashes()
	if err != nil {
		return Event{}, err
	}
	have := make(map[protocol.Hash]bool, len(held))
	for _, h := range held {
		have[h] = true
	}
	missing := []protocol.Hash{}
	for _, h := range list {
		if !have[h] {
			missing = append(missing, h)
		}
	}
	return Event{Missing: missing}, nil
}

func heldHeads(v View) (map[protocol.FeedID]protocol.FrontierEntry, error) {
	own, err := v.Frontier()
	heads := make(map[protocol.FeedID]protocol.FrontierEntry, len(own))
	for i := range own {
		heads[v.FeedOf(&own[i].Origin)] = own[i]
	}
	return heads, err
}

// compare finds what a peer has and this node does not, and where they hold different
// entries: one more than a peer is behind is looked at, so that two histories of one feed
// are found whichever of them is longer.
func compare(v View, theirs []protocol.FrontierEntry) (*Compared, error) {
	held, err := heldHeads(v)
	if err != nil {
		return nil, err
	}
	out := &Compared{}
	for i := range theirs {
		t := &theirs[i]
		feed := v.FeedOf(&t.Origin)
		have := held[feed]
		last := min(t.Seq, v.Wants(&t.Origin))
		if last > have.Seq {
			out.Lacking = append(out.Lacking, Lack{Feed: feed, From: have.Seq + 1, To: last})
			continue
		}
		if t.Seq == 0 || t.Seq > have.Seq {
			continue
		}
		hash := have.Hash
		if t.Seq < have.Seq {
			if hash, err = v.HashAt(feed, t.Seq); err != nil {
				return nil, err
			}
		}
		if hash != t.Hash {
			out.Differ = append(out.Differ, Lack{Feed: feed, From: 1, To: t.Seq})
		}
	}
	return out, nil
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
	case protocol.SyncHeads:
		list, err := v.Heads()
		if len(list) > protocol.MaxSetItems {
			list = list[:protocol.MaxSetItems]
		}
		return &protocol.SyncMessage{Version: 1, Kind: protocol.SyncHeads, Heads: list}, err
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
	items, err := v.Items(req.Hashes)
	if err != nil {
		return nil, err
	}
	items.Version, items.Kind = 1, protocol.SyncItems
	return items, nil
}

func answerFrontier(v View, req *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if len(req.Frontier) > 1 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "request for a frontier names %d feeds to go on from, at most one", len(req.Frontier))
	}
	if n := len(req.Hashes); n != 0 && n != Parts {
		return nil, protocol.Errorf(protocol.ErrMalformed, "request for a frontier holds %d digests, none or %d are allowed", n, Parts)
	}
	front, err := sorted(v)
	if err != nil {
		return nil, err
	}
	if len(req.Hashes) == Parts {
		own := PartDigests(v, front)
		front = slices.DeleteFunc(front, func(e protocol.FrontierEntry) bool {
			p := partOf(v.FeedOf(&e.Origin))
			return own[p] == req.Hashes[p]
		})
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

// Parts is into how many parts the feeds are divided, by the first byte of their ids. Peers
// compare parts, and tell each other only what stands in those that differ: nothing has to
// be remembered of what a peer was told before, and so nothing can be remembered wrongly.
const Parts = 256

func partOf(feed protocol.FeedID) int { return int(feed[0]) }

// PartDigests returns, for each part, SHA-256 over "entente/feeds/v1" and, in the order of
// feeds, feed, seq (8 bytes big-endian) and hash of every head; zero for a part without.
func PartDigests(v View, front []protocol.FrontierEntry) []protocol.Hash {
	type head struct {
		feed protocol.FeedID
		e    *protocol.FrontierEntry
	}
	list := make([]head, len(front))
	for i := range front {
		list[i] = head{v.FeedOf(&front[i].Origin), &front[i]}
	}
	slices.SortFunc(list, func(a, b head) int { return bytes.Compare(a.feed[:], b.feed[:]) })
	out := make([]protocol.Hash, Parts)
	for len(list) > 0 {
		p := partOf(list[0].feed)
		d := sha256.New()
		d.Write([]byte("entente/feeds/v1"))
		for len(list) > 0 && partOf(list[0].feed) == p {
			h := list[0]
			d.Write(h.feed[:])
			d.Write(binary.BigEndian.AppendUint64(nil, h.e.Seq))
			d.Write(h.e.Hash[:])
			list = list[1:]
		}
		out[p] = protocol.Hash(d.Sum(nil))
	}
	return out
}

// DigestFeeds is SHA-256 over "entente/parts/v1" and the digests of all parts in order.
func DigestFeeds(parts []protocol.Hash) protocol.Hash {
	d := sha256.New()
	d.Write([]byte("entente/parts/v1"))
	for _, p := range parts {
		d.Write(p[:])
	}
	return protocol.Hash(d.Sum(nil))
}
