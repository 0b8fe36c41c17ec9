package simtest

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

// Grant appends a grant of an epoch key to readers with which the puppet has an agreement.
func (l *Log) Grant(key crypto.EpochKey, agreements map[*Node]protocol.AgreementID) {
	l.p.w.T.Helper()
	var to []crypto.GrantTo
	for reader, id := range agreements {
		a, err := l.p.Agreement(id)
		if err != nil {
			l.p.w.T.Fatal(err)
		}
		to = append(to, crypto.GrantTo{Secret: a.Doc.Secret, Node: reader.Keys.Host.Public(), Recipient: reader.Keys.Identities[0].Recipient()})
	}
	body, err := crypto.SealGrants(l.p.Network, l.p.Org(), l.Feed(), uint64(len(l.Entries))+1, 1, key, to)
	if err != nil {
		l.p.w.T.Fatal(err)
	}
	l.Append(protocol.EntryGrant, body)
}

// Record appends a record that says when it was sealed.
func (l *Log) Record(key crypto.EpochKey, value string, sealedAt time.Time) *crypto.VerifiedEnvelope {
	l.p.w.T.Helper()
	in, err := intake.Read("list", strings.NewReader(value+"\n"), intake.Options{})
	if err != nil || len(in.Items) != 1 {
		l.p.w.T.Fatal(err)
	}
	at := uint64(sealedAt.UnixMilli())
	body := &protocol.Body{Version: 1, SealedAt: at, Handlings: [][]byte{protocol.Encode(&protocol.Handling{Version: 1, TLP: protocol.TLPGreen, Personal: protocol.PersonalNone, Onward: protocol.Onward{}})}}
	part, _, err := crypto.SignBatch(l.p.Network, l.p.Org(), l.p.OwnCard().Order, l.p.Keys.Signing, at, body.Handlings, []protocol.Item{{Object: in.Items[0].Object.Raw}})
	if err != nil {
		l.p.w.T.Fatal(err)
	}
	body.Batches = []protocol.BatchPart{part}
	h := protocol.Header{Version: 1, Suite: protocol.Suite1, Kind: protocol.EntryRecords, Feed: l.Feed(), Seq: uint64(len(l.Entries)) + 1}
	sealed, err := crypto.SealBody(h.SealContext(l.p.Network), h.Feed, h.Seq, []crypto.EpochKey{key}, protocol.Encode(body))
	if err != nil {
		l.p.w.T.Fatal(err)
	}
	return l.Append(protocol.EntryRecords, sealed)
}

// TestI3LiesAboutSeqAndClock: a partner lies about when it sealed its records, and about where its feeds
// stand. Nothing is shown that was sealed before the agreement began, earlier than what is ahead of it,
// or in the future; the highest numbers that there are make nothing of others' look incomplete,
// and nobody compares more often than before.
func TestI3LiesAboutSeqAndClock(t *testing.T) {
	notShort(t)
	synctest.Test(t, func(t *testing.T) {
		size := crowd()
		w := meshOf(t, size+1)
		defer w.Close()
		honest, reader, other := w.Nodes[:size], w.Nodes[4], w.Nodes[11]
		tr := newTraffic(w, honest[1:2], []*Node{reader, other})
		agreements := map[*Node]protocol.AgreementID{reader: w.Agree(w.Nodes[size], reader, protocol.TLPAmber, "*"), other: w.Agree(w.Nodes[size], other, protocol.TLPAmber, "*")}
		p := w.Puppet(w.Nodes[size])
		p.DialAll(honest)
		tr.publish(1)
		w.Until("all is well", func() bool { return tr.read() && same(t, honest) })
		now := time.Now()
		key := crypto.EpochKeyOf([32]byte{1, 2, 3})
		l := p.Log("c2", 1)
		l.Grant(key, agreements)
		rows := []struct {
			what     string
			at       time.Duration
			readable bool
		}{
			{"before there was an agreement", -24 * time.Hour, false},
			{"now", 0, true},
			{"before the one ahead of it", -time.Second, false},
			{"by a clock that is a little fast", 8 * time.Minute, true},
			{"before that again", time.Minute, false},
			{"in half an hour", 30 * time.Minute, false},
			{"in a hundred years", 100 * 365 * 24 * time.Hour, false},
			{"by a clock that is a little fast, again", 9 * time.Minute, true},
		}
		for i, row := range rows {
			l.Record(key, fmt.Sprintf("203.0.113.%d", i), now.Add(row.at))
		}
		var raws [][]byte
		for _, e := range l.Entries {
			raws = append(raws, e.Raw)
		}
		p.Gossip(honest[7], "c2", raws...)
		check := func(when string) {
			t.Helper()
			for i, row := range rows {
				for _, n := range []*Node{reader, other} {
					if got := finds(t, n, fmt.Sprintf("203.0.113.%d", i)); got != row.readable {
						t.Errorf("%s: %s finds what says that it was sealed %s: %v", when, n.Name, row.what, got)
					}
				}
			}
		}
		w.Until("the readers went through all of it", func() bool {
			return of(t, reader, l.Feed()).Held == 9 && of(t, other, l.Feed()).Held == 9 && envelopes(t, reader) > 0 && envelopes(t, other) > 0
		})
		check("at once")

		// Heads and entries with the highest numbers that there are.
		late := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		lie := func(incarnation uint64, change func(h *protocol.Head)) []byte {
			return notice(p.Log("c2", incarnation).Head(change))
		}
		last := p.Log("c2", 2).Sign(protocol.EntryRecords, protocol.MaxSeq, protocol.Hash{9}, []byte("the last entry of all")).Raw
		var before []uint64
		for _, n := range honest {
			before = append(before, syncs(t, n))
			p.Gossip(n, "c2", last)
			p.Gossip(n, protocol.NoticeTopic,
				lie(2, func(h *protocol.Head) {
					h.Seq, h.Hash, h.Counter, h.At = protocol.MaxSeq, protocol.Hash{9}, math.MaxUint64, uint64(late.UnixMilli())
				}),
				lie(3, func(h *protocol.Head) {
					h.Seq, h.Hash, h.Counter, h.At, h.Every = protocol.MaxSeq, protocol.Hash{8}, math.MaxUint64, 0, protocol.MaxHeadInterval
				}),
				lie(4, func(h *protocol.Head) { h.Seq, h.Hash, h.Closed = protocol.MaxSeq, protocol.Hash{7}, true }))
		}
		front := protocol.FrontierEntry{Origin: w.originOf(honest[1], p.Network), Seq: protocol.MaxSeq, Hash: protocol.Hash{6}}
		p.Answer = func(from *Node, m *protocol.SyncMessage) *protocol.SyncMessage {
			a := p.AnswerHonestly(from, m)
			if m.Kind == protocol.SyncFrontier {
				a.Frontier = []protocol.FrontierEntry{front}
			}
			return a
		}
		began := time.Now()
		tr.publish(3)
		time.Sleep(5 * time.Minute)
		w.Until("honest records are read, and honest feeds complete", func() bool { return tr.read() && same(t, honest) })
		minutes := time.Since(began).Minutes()
		for i, n := range honest {
			st, err := n.Status()
			if err != nil {
				t.Fatal(err)
			}
			if gaps := gapsOf(t, n, p.Org()); st.Gaps != gaps || gaps == 0 {
				t.Errorf("%s shows %d feeds that lack something, %d of them of the liar", n.Name, st.Gaps, gaps)
			}
			// By the clock it is two peers every half minute; what is due besides is bounded.
			if rate := float64(syncs(t, n)-before[i]) / minutes; rate > 8 {
				t.Errorf("%s compared %.1f times a minute", n.Name, rate)
			}
		}
		check("after five minutes")
	})
}

func gapsOf(t *testing.T, n *Node, org protocol.OrgID) (count int) {
	t.Helper()
	list, err := n.Feeds()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Org.ID == org && f.Missing > 0 {
			count++
		}
	}
	return count
}

// originOf returns the origin of the one feed that a node wrote in topic c2.
func (w *World) originOf(n *Node, network protocol.NetworkID) (o protocol.Origin) {
	w.T.Helper()
	want := feedOf(w.T, n)
	for _, p := range w.puppets {
		front, err := p.Ask(n, &protocol.SyncMessage{Kind: protocol.SyncFrontier})
		if err != nil {
			w.T.Fatal(err)
		}
		for _, e := range front.Frontier {
			if e.Origin.FeedID(network) == want {
				return e.Origin
			}
		}
	}
	w.T.Fatal("the feed is not in its author's frontier")
	return o
}
