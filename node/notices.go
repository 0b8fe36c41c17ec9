package node

import (
	"context"
	"errors"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/protocol"
)

// notice gossips statements; those about direct feeds are told to those on their rosters. Whoever
// misses them gets them by comparing.
func (n *Node) notice(m *protocol.Notice) {
	net := n.net.Load()
	if net == nil {
		return
	}
	public, direct := split(m)
	if len(public.Heads)+len(public.Forks)+len(public.Erases) > 0 {
		select {
		case net.outbox <- announcement{topic: protocol.NoticeTopic, raw: [][]byte{protocol.Encode(public)}}:
		default:
			n.counters.dropped.Add(1)
		}
	}
	for _, d := range direct {
		select {
		case net.tells <- d:
		default:
			n.counters.dropped.Add(1)
		}
	}
}

// errNothingNew says that a notice holds nothing that is not known.
var errNothingNew = errors.New("nothing new")

// errGossiped is why a notice of a direct feed is not passed on.
var errGossiped = protocol.Errorf(protocol.ErrWrongContext, "a statement about a direct feed was gossiped; it is for those on its roster alone")

// readNotice judges a notice for forwarding: nil if everything in it verifies and something
// of it is new. It reads memory only.
func (n *Node) readNotice(data []byte) (*protocol.Notice, error) {
	var m protocol.Notice
	if err := protocol.Decode(data, protocol.MaxGossipSize, &m); err != nil {
		return nil, err
	}
	s := n.snap.Load()
	fresh := false
	for i := range m.Heads {
		h, err := crypto.VerifyHead(s.network, &m.Heads[i])
		if err != nil {
			return nil, err
		}
		if h.Origin.Topic.Direct() {
			return nil, errGossiped
		}
		sg, ok := s.signers[h.Origin.Signing]
		if !ok || sg.removed || !s.members[sg.org] {
			return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "no card known here lists the node that signed this head")
		}
		old := n.heads.get(h.Origin.FeedID(s.network))
		fresh = fresh || old == nil || h.Newer(&old.Head)
	}
	for i := range m.Forks {
		f, err := crypto.VerifyFork(s.network, &m.Forks[i])
		if err != nil {
			return nil, err
		}
		if f.Origin.Topic.Direct() {
			return nil, errGossiped
		}
		if _, ok := s.signers[f.Origin.Signing]; !ok {
			return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "no card known here lists the node that signed these entries")
		}
		old := n.evidence.fork(f.Feed)
		fresh = fresh || old == nil || f.Seq < old.Seq
	}
	for i := range m.Erases {
		if n.evidence.holds(m.Erases[i].Hash()) {
			continue
		}
		e, err := n.verifyErase(&m.Erases[i])
		if err != nil {
			return nil, err
		}
		if e.Origin.Topic.Direct() {
			return nil, errGossiped
		}
		fresh = true
	}
	if !fresh {
		return nil, errNothingNew
	}
	return &m, nil
}

// noticeLoop takes what notices say, and looks at entries that may contradict others.
func (net *network) noticeLoop(ctx context.Context) {
	n := net.n
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case h := <-net.notices:
			m, gap := h.notice, false
			if _, gap, err = n.takeHeads(m.Heads); gap {
				net.told(net.sourceOf(m.Heads, h.from))
			}
			if err == nil && len(m.Forks) > 0 {
				_, err = n.takeForks(m.Forks)
			}
			if err == nil && len(m.Erases) > 0 {
				_, err = n.takeErases(m.Erases)
			}
		case env := <-net.suspects:
			_, err = n.probe([][]byte{env.Raw})
		}
		if err != nil {
			n.log.Error("taking a notice failed; the sync will try again", "err", err)
			n.counters.failed.Add(1)
		}
		if err != nil {
			net.markDirty()
		}
	}
}

// sourceOf says who has what heads tell of: their author, if it is connected, or who passed them on.
func (net *network) sourceOf(heads []protocol.Signed, from protocol.NodeID) protocol.NodeID {
	s := net.n.snap.Load()
	peers := net.mesh.Peers()
	for i := range heads {
		var h protocol.Head
		if protocol.Decode(heads[i].Statement, protocol.MaxStatementSize, &h) != nil || h.Seq <= net.n.gate.head(h.Origin.FeedID(s.network)) {
			continue
		}
		author := s.signers[h.Origin.Signing].node
		if slices.ContainsFunc(peers, func(p mesh.PeerInfo) bool { return p.Node == author }) {
			return author
		}
	}
	return from
}
