package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/protocol"
)

// PackRequest says what to pack.
type PackRequest struct {
	To      protocol.OrgID // zero: whoever made Request
	Topics  []string       // empty: those of Request, else all; the control topic goes with any
	Request io.Reader      // a carried request: only what is lacking there is packed; nil: everything
}

// Bounds on one question, as a server of sync has them.
const (
	carryFetch = 32
	carryFeeds = 64
)

// carryMessage is about how many bytes of entries go in one message, in bytes. An answer of
// sync is larger, but of a file that breaks off the message in which it does so is lost.
const carryMessage = 256 << 10

// Pack writes a carried file for another organisation, or for another node of one's own. It
// writes nothing before everything that can be checked was checked, and memory does not grow
// with the file. A file of which Pack returned an error has no end, and its reader says so.
func (n *Node) Pack(ctx context.Context, w io.Writer, q PackRequest) (*Carried, error) {
	if err := n.renewCard(func(*protocol.Card) bool { return false }); err != nil {
		return nil, err // a node that is never up renews its card here
	}
	p := &packer{ctx: ctx, n: n, v: &view{n: n, serving: true}}
	if n.snap.Load().network == protocol.NoNetwork {
		return nil, ErrNoNetwork
	}
	header := protocol.CarryHeader{Version: 1, Kind: protocol.CarryPack, To: q.To}
	var request *carriedFile
	if q.Request != nil {
		var err error
		if request, err = p.answer(q.Request, &header); err != nil {
			return nil, err
		}
	}
	p.v = &view{n: n, org: header.To, serving: true}
	if err := p.survey(); err != nil {
		return nil, err
	}
	if request != nil {
		if err := p.subtract(request); err != nil {
			return nil, err
		}
	}
	if len(q.Topics) > 0 {
		var err error
		if header.Topics, err = n.snap.Load().carryTopics(q.Topics); err != nil {
			return nil, err
		}
	}
	p.keepTopics(header.Topics)
	return p.write(w, &header, func() error {
		if err := p.writeFrontier(); err != nil {
			return err
		}
		if err := p.writeItems(); err != nil {
			return err
		}
		if header.To == n.org {
			if err := p.writeSiblings(); err != nil {
				return err
			}
		}
		return p.writeEntries()
	})
}

// RequestPack writes a carried request to an organisation: what this node has, so that a
// pack for it need hold only the rest.
func (n *Node) RequestPack(ctx context.Context, w io.Writer, to protocol.OrgID) (*Carried, error) {
	s := n.snap.Load()
	if s.network == protocol.NoNetwork {
		return nil, ErrNoNetwork
	}
	p := &packer{ctx: ctx, n: n, v: &view{n: n, org: to, serving: true}}
	if err := p.survey(); err != nil {
		return nil, err
	}
	header := protocol.CarryHeader{Version: 1, Kind: protocol.CarryRequest, To: to}
	if s.joined() < protocol.MaxCarryTopics {
		// Direct topics go with the topics in which they count.
		header.Topics = slices.SortedFunc(maps.Keys(s.topics), compareTopics)
		header.Topics = slices.DeleteFunc(header.Topics, protocol.TopicID.Direct)
	}
	return p.write(w, &header, func() error {
		for page := range slices.Chunk(p.hashes, protocol.MaxSetItems) {
			p.info.Hashes += len(page)
			if err := p.send(&protocol.SyncMessage{Kind: protocol.SyncList, Hashes: page}); err != nil {
				return err
			}
		}
		return p.writeFrontier()
	})
}

func compareTopics(a, b protocol.TopicID) int { return bytes.Compare(a[:], b[:]) }

// carryTopics returns the ids of topics that this node is in, the control topic among them,
// in which agreements travel.
func (s *snapshot) carryTopics(names []string) ([]protocol.TopicID, error) {
	out := []protocol.TopicID{protocol.NewTopicID(s.network, protocol.ControlTopic)}
	for _, name := range names {
		id := protocol.NewTopicID(s.network, name)
		if _, ok := s.topics[id]; !ok {
			return nil, protocol.Errorf(protocol.ErrNoAgreement, "this node is not in topic %q; 'entente topic list' shows those that it is in", name)
		}
		out = append(out, id)
	}
	slices.SortFunc(out, compareTopics)
	out = slices.Compact(out)
	if len(out) > protocol.MaxCarryTopics {
		return nil, protocol.Errorf(protocol.ErrOversize, "%d topics, at most %d; name none to pack all", len(out), protocol.MaxCarryTopics)
	}
	return out, nil
}

// carryRecipients lists the age recipients of an organisation's nodes: those that would be
// served if they were connected.
func (s *snapshot) carryRecipients(to protocol.OrgID) (out []string, err error) {
	card := s.cards[to]
	if card == nil {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "no card of %s is known here; 'entente trust' takes its card file, 'entente network invite' invites it", to.Short())
	}
	for _, e := range card.Nodes {
		if s.nodes[e.Node] == to {
			out = append(out, e.Recipient)
		}
	}
	switch {
	case !s.members[to]:
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "%s is not a member of the network as far as is known here; take a file that it packed first ('entente carry apply FILE'): it brings its invitation", s.name(to))
	case len(out) == 0:
		return nil, protocol.Errorf(protocol.ErrExpired, "the card of %s lists no node that is valid now; take a newer file that it packed, which brings its newest card", s.name(to))
	}
	return out, nil
}

// packer writes one carried file. It belongs to one goroutine.
type packer struct {
	ctx context.Context
	n   *Node
	v   reconcile.View

	hashes []protocol.Hash // of the sets: what is to be packed; sorted
	heads  []*packHead     // sorted by feed

	enc  protocol.CarryEncoder
	out  io.Writer
	info Carried
}

// packHead is a feed to pack: the entries from next on.
type packHead struct {
	protocol.FrontierEntry
	feed CarriedFeed
	next uint64
}

// ask asks this node what a peer would ask it.
func (p *packer) ask(m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if err := p.ctx.Err(); err != nil {
		return nil, err
	}
	m.Version = 1
	return reconcile.Answer(p.v, m)
}

// survey lists what is held. What is appended later is for the next file.
func (p *packer) survey() error {
	list := &protocol.SyncMessage{Kind: protocol.SyncList}
	for more := true; more; {
		a, err := p.ask(list)
		if err != nil {
			return err
		}
		p.hashes = append(p.hashes, a.Hashes...)
		if more = a.More && len(a.Hashes) > 0; more {
			list.Hashes = a.Hashes[len(a.Hashes)-1:]
		}
	}
	front := &protocol.SyncMessage{Kind: protocol.SyncFrontier}
	for more := true; more; {
		a, err := p.ask(front)
		if err != nil {
			return err
		}
		for _, e := range a.Frontier {
			p.heads = append(p.heads, &packHead{FrontierEntry: e, next: 1, feed: CarriedFeed{Feed: p.v.FeedOf(&e.Origin), Head: e.Seq, origin: e.Origin}})
		}
		if more = a.More && len(a.Frontier) > 0; more {
			front.Frontier = a.Frontier[len(a.Frontier)-1:]
		}
	}
	return nil
}

// answer opens a request, and takes from it for whom the pack is.
func (p *packer) answer(r io.Reader, header *protocol.CarryHeader) (*carriedFile, error) {
	f, err := p.n.openCarried(p.ctx, r, protocol.CarryRequest)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	if header.To != (protocol.OrgID{}) && header.To != f.header.From {
		s := p.n.snap.Load()
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the request is from %s, and the pack would be for %s; leave out '--to', or the request", s.name(f.header.From), s.name(header.To))
	}
	header.To, header.Answers, header.Topics = f.header.From, f.header.Made, f.header.Topics
	if header.To == p.n.org {
		header.Topics = nil // a new node of this organisation does not know its topics yet
	}
	return f, nil
}

// subtract leaves out what a request says is held where it was made. A request that lies
// makes the pack smaller for its own sender, and does nothing else.
func (p *packer) subtract(f *carriedFile) error {
	lacking := make(map[protocol.Hash]bool, len(p.hashes))
	for _, h := range p.hashes {
		lacking[h] = true
	}
	byFeed := make(map[protocol.FeedID]*packHead, len(p.heads))
	for _, h := range p.heads {
		byFeed[h.feed.Feed] = h
	}
	for {
		m, err := f.next()
		switch {
		case err != nil:
			return fmt.Errorf("reading the request: %w", err)
		case m == nil && !f.info.Whole:
			return protocol.Errorf(protocol.ErrMalformed, "the request is not whole (%s); leave it out to pack everything", f.info.Problem)
		case m == nil:
			p.hashes = slices.DeleteFunc(p.hashes, func(h protocol.Hash) bool { return !lacking[h] })
			return nil
		}
		for _, h := range m.Hashes {
			delete(lacking, h)
		}
		for i := range m.Frontier {
			if h := byFeed[p.v.FeedOf(&m.Frontier[i].Origin)]; h != nil {
				h.next = max(h.next, m.Frontier[i].Seq+1)
			}
		}
	}
}

func (p *packer) keepTopics(topics []protocol.TopicID) {
	if len(topics) > 0 {
		s := p.n.snap.Load()
		p.heads = slices.DeleteFunc(p.heads, func(h *packHead) bool {
			topic := h.Origin.Topic
			if topic.Direct() {
				topic = protocol.NewTopicID(s.network, s.topics[topic])
			}
			return !slices.Contains(topics, topic)
		})
	}
}

// write writes a file around what body writes.
func (p *packer) write(w io.Writer, header *protocol.CarryHeader, body func() error) (info *Carried, err error) {
	s := p.n.snap.Load()
	recipients, err := s.carryRecipients(header.To)
	if err != nil {
		return nil, err
	}
	header.Network, header.From, header.Made = s.network, p.n.org, uint64(nowMillis())
	signed, err := crypto.SignCarry(header, p.n.keys.Signing)
	if err != nil {
		return nil, err
	}
	p.info = Carried{Kind: header.Kind.String(), Network: s.network, From: s.ref(p.n.org), Known: true, To: s.ref(header.To), Made: millis(header.Made),
		Topics: []string{}, Feeds: []CarriedFeed{}, Refused: []CarryRefusal{}}
	if header.Answers != 0 {
		at := millis(header.Answers)
		p.info.Answers = &at
	}
	for _, id := range header.Topics {
		p.info.Topics = append(p.info.Topics, s.topic(id))
	}
	if header.Kind == protocol.CarryPack {
		h, err := p.n.handOut(p.ctx, handoutCarry, s.name(header.To), 0, true)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, h.end(0, 0)) }()
	}
	sealed, err := crypto.SealFile(w, recipients)
	if err != nil {
		return nil, err
	}
	p.out = sealed
	if err := p.put(p.enc.Header(&signed)); err != nil {
		return nil, err
	}
	if err := body(); err != nil {
		return nil, err
	}
	if err := p.put(p.enc.Trailer()); err != nil {
		return nil, err
	}
	if err := sealed.Close(); err != nil {
		return nil, fmt.Errorf("writing carried file: %w", err)
	}
	for _, h := range p.heads {
		c := h.feed
		c.Org, c.Topic, c.Here = s.refOfSigner(c.origin.Signing), s.topic(c.origin.Topic), c.Head
		p.info.Feeds = append(p.info.Feeds, c)
	}
	sortFeeds(p.info.Feeds)
	p.info.Whole = true
	return &p.info, nil
}

func (p *packer) put(frame []byte) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	p.info.Bytes += uint64(len(frame))
	if _, err := p.out.Write(frame); err != nil {
		return fmt.Errorf("writing carried file: %w", err)
	}
	return nil
}

func (p *packer) send(m *protocol.SyncMessage) error {
	m.Version, m.More = 1, false
	return p.put(p.enc.Message(m))
}

func (p *packer) writeFrontier() error {
	for page := range slices.Chunk(p.heads, protocol.MaxFrontier) {
		m := &protocol.SyncMessage{Kind: protocol.SyncFrontier}
		for _, h := range page {
			m.Frontier = append(m.Frontier, h.FrontierEntry)
		}
		if err := p.send(m); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) writeItems() error {
	for page := range slices.Chunk(p.n.inOrder(p.hashes), carryFetch) {
		a, err := p.ask(&protocol.SyncMessage{Kind: protocol.SyncFetch, Hashes: page})
		if err != nil {
			return err
		}
		p.info.Cards += len(a.Cards)
		p.info.Statements += len(a.Roster)
		if err := p.send(a); err != nil {
			return err
		}
	}
	return nil
}

// writeSiblings packs what the nodes of this organisation hold in common: keys, agreements,
// trust, topics.
func (p *packer) writeSiblings() error {
	set, err := p.n.siblingSet()
	if err != nil {
		return err
	}
	left := slices.SortedFunc(maps.Keys(set.refs), compareHash)
	for len(left) > 0 {
		page := left[:min(len(left), siblingFetch)]
		a, err := p.n.siblingItems(set, page)
		if err != nil {
			return err
		}
		if a.More { // too large together
			page = page[:len(a.Envelopes)]
		}
		left = left[len(page):]
		p.info.Siblings += len(a.Envelopes)
		if err := p.send(a); err != nil {
			return err
		}
	}
	return nil
}

// writeEntries pulls the feeds from this node, and packs the answers as they come.
func (p *packer) writeEntries() error {
	left := slices.DeleteFunc(slices.Clone(p.heads), func(h *packHead) bool { return h.next > h.Seq })
	for len(left) > 0 {
		flight := left[:min(len(left), carryFeeds)]
		q := &protocol.SyncMessage{Kind: protocol.SyncPull}
		before := map[*packHead]uint64{}
		byFeed := map[protocol.FeedID]*packHead{}
		for _, h := range flight {
			q.Pull = append(q.Pull, protocol.PullRange{Feed: h.feed.Feed, From: h.next, Count: uint32(min(h.Seq-h.next+1, protocol.MaxPullEntries))})
			before[h], byFeed[h.feed.Feed] = h.next, h
		}
		a, err := p.ask(q)
		if err != nil {
			return err
		}
		if err := p.count(a, byFeed); err != nil {
			return err
		}
		if len(a.Envelopes) == 0 {
			left = left[len(flight):] // nothing more is held of these
			continue
		}
		if err := p.sendEntries(a.Envelopes); err != nil {
			return err
		}
		more := a.More
		// A feed that did not move has nothing more, unless the answer was cut before it.
		left = slices.DeleteFunc(left, func(h *packHead) bool {
			from, asked := before[h]
			return asked && (h.next > h.Seq || h.next == from && !more)
		})
	}
	return nil
}

// sendEntries packs entries in messages of about carryMessage bytes.
func (p *packer) sendEntries(raws [][]byte) error {
	for len(raws) > 0 {
		count, size := 0, 0
		for count < len(raws) && (count == 0 || size+len(raws[count]) <= carryMessage) {
			size += len(raws[count])
			count++
		}
		if err := p.send(&protocol.SyncMessage{Kind: protocol.SyncEntries, Envelopes: raws[:count]}); err != nil {
			return err
		}
		raws = raws[count:]
	}
	return nil
}

// count moves the feeds on past the entries of an answer.
func (p *packer) count(a *protocol.SyncMessage, byFeed map[protocol.FeedID]*packHead) error {
	for _, raw := range a.Envelopes {
		_, h, err := protocol.DecodeEntry(p.info.Network, raw)
		if err != nil {
			return fmt.Errorf("reading stored entry: %w", err)
		}
		head := byFeed[h.Feed]
		if head == nil {
			return fmt.Errorf("stored entry %d of feed %s was not asked for", h.Seq, h.Feed.Short())
		}
		c := &head.feed
		if c.From == 0 {
			c.From = h.Seq
		}
		c.To, head.next = h.Seq, h.Seq+1
		c.Envelopes++
		c.Bytes += uint64(len(raw))
		p.info.Envelopes++
	}
	return nil
}
