package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// world is a View of which tests know everything: feeds are lists of texts.
type world struct {
	sets  map[protocol.Hash]protocol.SignedCard
	feeds map[uint64][]string // by incarnation
	deaf  map[uint64]bool     // feeds that it does not want
	heads []protocol.Signed
	took  []protocol.Signed
}

func newWorld() *world {
	return &world{sets: map[protocol.Hash]protocol.SignedCard{}, feeds: map[uint64][]string{}, deaf: map[uint64]bool{}}
}

func origin(n uint64) protocol.Origin { return protocol.Origin{Incarnation: n} }

func (w *world) SetHashes() ([]protocol.Hash, error) { return slices.Collect(maps.Keys(w.sets)), nil }

func (w *world) Items(hashes []protocol.Hash) (*protocol.SyncMessage, error) {
	m := &protocol.SyncMessage{}
	for _, h := range hashes {
		if c, ok := w.sets[h]; ok {
			m.Cards = append(m.Cards, c)
		}
	}
	return m, nil
}

func (w *world) HashAt(protocol.FeedID, uint64) (protocol.Hash, error) { return protocol.Hash{}, nil }
func (w *world) Bodies() ([]Lack, error)                               { return nil, nil }
func (w *world) Heads() ([]protocol.Signed, error)                     { return w.heads, nil }
func (w *world) TakeHeads(list []protocol.Signed) error                { w.took = append(w.took, list...); return nil }
func (w *world) Probe([][]byte) (map[protocol.FeedID]uint64, error)    { return nil, nil }

func (w *world) TakeItems(m *protocol.SyncMessage) error {
	for _, c := range m.Cards {
		w.sets[c.Hash()] = c
	}
	return nil
}

func (w *world) addItem(text string) {
	c := protocol.SignedCard{Statement: []byte(text)}
	w.sets[c.Hash()] = c
}

func (w *world) Frontier() (out []protocol.FrontierEntry, _ error) {
	for n, list := range w.feeds {
		if len(list) > 0 {
			out = append(out, protocol.FrontierEntry{Origin: origin(n), Seq: uint64(len(list))})
		}
	}
	return out, nil
}

func (w *world) FeedOf(o *protocol.Origin) protocol.FeedID { return o.FeedID(protocol.NetworkID{1}) }

// feedOf is the feed of origin(n); a search among thousands takes its hash once.
var feedOf = func() func(uint64) protocol.FeedID {
	known := map[uint64]protocol.FeedID{}
	return func(n uint64) protocol.FeedID {
		id, ok := known[n]
		if !ok {
			o := origin(n)
			id = o.FeedID(protocol.NetworkID{1})
			known[n] = id
		}
		return id
	}
}()

func (w *world) Wants(o *protocol.Origin) uint64 {
	if w.deaf[o.Incarnation] {
		return 0
	}
	return protocol.MaxSeq
}

func (w *world) Range(feed protocol.FeedID, from uint64, count, maxBytes int) (out [][]byte, _ error) {
	for n, list := range w.feeds {
		if feedOf(n) != feed || from > uint64(len(list)) {
			continue
		}
		size := 0
		for i := from - 1; i < uint64(len(list)) && len(out) < count; i++ {
			raw := fmt.Appendf(nil, "%d/%d/%s", n, i+1, list[i])
			if size += len(raw); size > maxBytes && len(out) > 0 {
				break
			}
			out = append(out, raw)
		}
	}
	return out, nil
}

func (w *world) TakeEntries(raws [][]byte) ([]Lack, error) {
	for _, raw := range raws {
		var n, seq uint64
		var text string
		if _, err := fmt.Sscanf(string(raw), "%d/%d/%s", &n, &seq, &text); err != nil {
			return nil, errors.New("entry does not verify")
		}
		if seq == uint64(len(w.feeds[n]))+1 && !w.deaf[n] {
			w.feeds[n] = append(w.feeds[n], text)
		}
	}
	return nil, nil
}

func run(v View, ask Asker) error {
	_, err := Run(context.Background(), v, true, ask)
	return err
}

// asker answers from a world, over the encoding, and counts.
func asker(w *world, asked *int) Asker {
	return func(_ context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		*asked++
		var req, answer protocol.SyncMessage
		if err := protocol.Decode(protocol.Encode(m), 1<<20, &req); err != nil {
			return nil, err
		}
		a, err := Answer(w, &req)
		if err != nil {
			return nil, err
		}
		return &answer, protocol.Decode(protocol.Encode(a), protocol.MaxFrameSize, &answer)
	}
}

func drawWorld(t *rapid.T, shared map[uint64][]string) *world {
	w := newWorld()
	for range rapid.IntRange(0, 80).Draw(t, "items") {
		w.addItem(fmt.Sprint(rapid.IntRange(0, 100).Draw(t, "item")))
	}
	for n, list := range shared {
		if k := rapid.IntRange(0, len(list)).Draw(t, "held"); k > 0 {
			w.feeds[n] = slices.Clone(list[:k])
		}
		w.deaf[n] = rapid.IntRange(0, 5).Draw(t, "deaf") == 0 && len(w.feeds[n]) == 0
	}
	return w
}

// TestBothHoldAll: after each compared with the other, both hold the union of what they
// want; also when comparisons break off, and are done again.
func TestBothHoldAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := map[uint64][]string{}
		for n := range uint64(rapid.IntRange(0, 90).Draw(t, "feeds")) {
			for i := range rapid.IntRange(1, 9).Draw(t, "length") {
				all[n] = append(all[n], fmt.Sprintf("entry-%d-%d", n, i))
			}
		}
		a, b := drawWorld(t, all), drawWorld(t, all)
		longest := map[uint64]int{}
		for n := range all {
			longest[n] = max(len(a.feeds[n]), len(b.feeds[n]))
		}
		asked := 0
		for _, pair := range [][2]*world{{a, b}, {b, a}} {
			ask := asker(pair[1], &asked)
			left := rapid.IntRange(0, 6).Draw(t, "break after")
			broken := errors.New("connection broke")
			err := run(pair[0], func(ctx context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
				if left--; left < 0 {
					return nil, broken
				}
				return ask(ctx, m)
			})
			if err != nil && !errors.Is(err, broken) {
				t.Fatal(err)
			}
			if err := run(pair[0], ask); err != nil {
				t.Fatal(err)
			}
		}
		if len(a.sets) != len(b.sets) {
			t.Errorf("sets have %d and %d items", len(a.sets), len(b.sets))
		}
		for n, want := range longest {
			for _, w := range []*world{a, b} {
				if got := len(w.feeds[n]); got != want && !w.deaf[n] {
					t.Errorf("feed %d has %d of %d entries", n, got, want)
				}
			}
		}
		before := asked
		if err := run(a, asker(b, &asked)); err != nil {
			t.Fatal(err)
		}
		equal := true
		for n := range all {
			equal = equal && !a.deaf[n] && !b.deaf[n]
		}
		if equal && asked != before+2 { // digests and heads
			t.Errorf("two that hold the same needed %d requests", asked-before)
		}
	})
}

// TestPages: more hashes and feeds than one message holds.
func TestPages(t *testing.T) {
	a, b := newWorld(), newWorld()
	for i := range protocol.MaxSetItems + 100 {
		b.addItem(fmt.Sprint(i))
	}
	for n := range uint64(protocol.MaxFrontier + 50) {
		b.feeds[n] = []string{"x"}
	}
	asked := 0
	if err := run(a, asker(b, &asked)); err != nil {
		t.Fatal(err)
	}
	if len(a.sets) != len(b.sets) || len(a.feeds) != len(b.feeds) {
		t.Errorf("took %d of %d items, %d of %d feeds", len(a.sets), len(b.sets), len(a.feeds), len(b.feeds))
	}
}

// TestLongFeed: more entries than one answer holds.
func TestLongFeed(t *testing.T) {
	a, b := newWorld(), newWorld()
	for range 3*protocol.MaxPullEntries + 7 {
		b.feeds[1] = append(b.feeds[1], "x")
	}
	b.feeds[2] = []string{"y"}
	asked := 0
	if err := run(a, asker(b, &asked)); err != nil {
		t.Fatal(err)
	}
	if len(a.feeds[1]) != len(b.feeds[1]) || len(a.feeds[2]) != 1 || asked > 10 {
		t.Errorf("took %d and %d entries in %d requests", len(a.feeds[1]), len(a.feeds[2]), asked)
	}
}

// TestLiars: a peer that claims what it does not have, or answers what was not asked, does
// not keep anybody busy.
func TestLiars(t *testing.T) {
	claim := protocol.FrontierEntry{Origin: origin(1), Seq: protocol.MaxSeq}
	hash := func(b byte) protocol.Hash { return protocol.Hash{b} }
	for _, tc := range []struct {
		name   string
		answer func(m *protocol.SyncMessage) *protocol.SyncMessage
		fails  bool
	}{
		{"claims a head and sends nothing", func(m *protocol.SyncMessage) *protocol.SyncMessage {
			switch m.Kind {
			case protocol.SyncFrontier:
				return &protocol.SyncMessage{Kind: protocol.SyncFrontier, Frontier: []protocol.FrontierEntry{claim}, More: true}
			case protocol.SyncPull:
				return &protocol.SyncMessage{Kind: protocol.SyncEntries, More: true}
			case protocol.SyncList:
				return &protocol.SyncMessage{Kind: protocol.SyncList}
			case protocol.SyncHeads:
				return &protocol.SyncMessage{Kind: protocol.SyncHeads}
			}
			return &protocol.SyncMessage{Kind: protocol.SyncDigest}
		}, false},
		{"lists what it does not send", func(m *protocol.SyncMessage) *protocol.SyncMessage {
			switch m.Kind {
			case protocol.SyncList:
				return &protocol.SyncMessage{Kind: protocol.SyncList, Hashes: []protocol.Hash{hash(1), hash(2)}}
			case protocol.SyncFetch:
				return &protocol.SyncMessage{Kind: protocol.SyncItems}
			case protocol.SyncFrontier:
				return &protocol.SyncMessage{Kind: protocol.SyncFrontier}
			case protocol.SyncHeads:
				return &protocol.SyncMessage{Kind: protocol.SyncHeads}
			}
			return &protocol.SyncMessage{Kind: protocol.SyncDigest}
		}, false},
		{"lists the same page for ever", func(m *protocol.SyncMessage) *protocol.SyncMessage {
			if m.Kind == protocol.SyncList {
				return &protocol.SyncMessage{Kind: protocol.SyncList, Hashes: []protocol.Hash{hash(2), hash(3)}, More: true}
			}
			return &protocol.SyncMessage{Kind: protocol.SyncDigest}
		}, true},
		{"lists out of order", func(m *protocol.SyncMessage) *protocol.SyncMessage {
			if m.Kind == protocol.SyncList {
				return &protocol.SyncMessage{Kind: protocol.SyncList, Hashes: []protocol.Hash{hash(3), hash(2)}}
			}
			return &protocol.SyncMessage{Kind: protocol.SyncDigest}
		}, true},
		{"answers with another kind", func(*protocol.SyncMessage) *protocol.SyncMessage {
			return &protocol.SyncMessage{Kind: protocol.SyncEntries}
		}, true},
		{"sends more than was asked", func(m *protocol.SyncMessage) *protocol.SyncMessage {
			switch m.Kind {
			case protocol.SyncList:
				return &protocol.SyncMessage{Kind: protocol.SyncList, Hashes: []protocol.Hash{hash(1)}}
			case protocol.SyncFetch:
				return &protocol.SyncMessage{Kind: protocol.SyncItems, Cards: make([]protocol.SignedCard, 2)}
			}
			return &protocol.SyncMessage{Kind: protocol.SyncDigest}
		}, true},
		{"sends what does not verify", func(m *protocol.SyncMessage) *protocol.SyncMessage {
			switch m.Kind {
			case protocol.SyncFrontier:
				return &protocol.SyncMessage{Kind: protocol.SyncFrontier, Frontier: []protocol.FrontierEntry{claim}}
			case protocol.SyncPull:
				return &protocol.SyncMessage{Kind: protocol.SyncEntries, Envelopes: [][]byte{[]byte("junk")}}
			case protocol.SyncList:
				return &protocol.SyncMessage{Kind: protocol.SyncList}
			}
			return &protocol.SyncMessage{Kind: protocol.SyncDigest}
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			err := run(newWorld(), func(_ context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
				if asked++; asked > 500 {
					t.Fatal("it goes on and on")
				}
				a := tc.answer(m)
				a.Version = 1
				return a, nil
			})
			if (err != nil) != tc.fails {
				t.Errorf("after %d requests: %v", asked, err)
			}
		})
	}
}

// TestAnswerRefuses what is no request, or asks for too much.
func TestAnswerRefuses(t *testing.T) {
	for name, m := range map[string]*protocol.SyncMessage{
		"an answer":       {Version: 1, Kind: protocol.SyncEntries},
		"no version":      {Kind: protocol.SyncDigest},
		"unknown kind":    {Version: 1, Kind: 99},
		"many hashes":     {Version: 1, Kind: protocol.SyncFetch, Hashes: make([]protocol.Hash, fetchItems+1)},
		"two pages":       {Version: 1, Kind: protocol.SyncList, Hashes: make([]protocol.Hash, 2)},
		"two frontiers":   {Version: 1, Kind: protocol.SyncFrontier, Frontier: make([]protocol.FrontierEntry, 2)},
		"few digests":     {Version: 1, Kind: protocol.SyncFrontier, Hashes: make([]protocol.Hash, Parts-1)},
		"many feeds":      {Version: 1, Kind: protocol.SyncPull, Pull: slices.Repeat([]protocol.PullRange{{From: 1, Count: 1}}, pullFeeds+1)},
		"nothing of feed": {Version: 1, Kind: protocol.SyncPull, Pull: []protocol.PullRange{{From: 1}}},
	} {
		if _, err := Answer(newWorld(), m); err == nil {
			t.Errorf("%s was answered", name)
		}
	}
	a, err := Answer(newWorld(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncPull, Pull: []protocol.PullRange{{Feed: protocol.FeedID{9}, From: 1, Count: 5}}})
	if err != nil || len(a.Envelopes) != 0 {
		t.Errorf("a feed that is not held: %v, %v", a, err)
	}
}

// FuzzAnswer: no request makes a server panic or answer beyond its bounds.
func FuzzAnswer(f *testing.F) {
	f.Add(protocol.Encode(&protocol.SyncMessage{Version: 1, Kind: protocol.SyncDigest}))
	f.Add(protocol.Encode(&protocol.SyncMessage{Version: 1, Kind: protocol.SyncPull, Pull: []protocol.PullRange{{From: 1, Count: 5}}}))
	w := newWorld()
	w.addItem("x")
	w.feeds[1] = []string{"a", "b"}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m protocol.SyncMessage
		if protocol.Decode(data, 1<<20, &m) != nil {
			return
		}
		if a, err := Answer(w, &m); err == nil {
			if err := a.Validate(); err != nil {
				t.Errorf("answer is not valid: %v", err)
			}
		}
	})
}
