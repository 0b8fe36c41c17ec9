package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// Carrying by hand. A carried file holds the messages that a comparison would bring
// (protocol/carry.go draws it); packing asks the same questions of this node's view that a
// peer would ask (carry_pack.go), and applying feeds the view with the answers
// (carry_apply.go). So what is carried is judged exactly as what is synced, and what sync
// learns to send is carried too.

// Carried says what a carried file holds, and from whom and for whom it is.
type Carried struct {
	Kind    string             `json:"kind"` // "pack" or "request"
	Network protocol.NetworkID `json:"network"`
	From    OrgRef             `json:"from"`
	// Known reports that the file is signed by a node of a member, as cards here say. The
	// first file of a newcomer is not: its card is in it.
	Known   bool       `json:"from_known"`
	To      OrgRef     `json:"to"`
	Made    time.Time  `json:"made"`
	Answers *time.Time `json:"answers,omitempty"` // when the request was made that it answers
	Topics  []string   `json:"topics"`            // empty: all that the sender is in

	Cards      int           `json:"cards"`
	Statements int           `json:"statements"`
	Siblings   int           `json:"sibling_items,omitempty"` // what nodes of one organisation hold in common, and give nobody else
	Hashes     int           `json:"hashes,omitempty"`        // request: cards and statements that its sender has
	Envelopes  uint64        `json:"envelopes"`
	Bytes      uint64        `json:"bytes"` // of the file's contents, as far as they were read
	Feeds      []CarriedFeed `json:"feeds"`

	// Refused says what of the file was not taken, or, where it was only inspected, what does
	// not verify.
	Refused []CarryRefusal `json:"refused"`

	// Whole reports that the file came to its end and is what it was when it was packed;
	// otherwise Problem says why not. What came before that point is good.
	Whole   bool   `json:"whole"`
	Problem string `json:"problem,omitempty"`
}

// CarryRefusal counts what was refused for one reason.
type CarryRefusal struct {
	What   string `json:"what"` // "card", "statement" or "envelope"
	Class  string `json:"class"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// CarriedFeed is a feed in a carried file.
type CarriedFeed struct {
	Org       OrgRef          `json:"organisation"`
	Topic     string          `json:"topic"`
	Feed      protocol.FeedID `json:"feed"`
	From      uint64          `json:"from"` // first and last seq in the file; 0: none
	To        uint64          `json:"to"`
	Head      uint64          `json:"head"` // seq up to which the sender had it
	Here      uint64          `json:"here"` // seq up to which it is held here
	Envelopes uint64          `json:"envelopes"`
	Bytes     uint64          `json:"bytes"`

	origin protocol.Origin
}

// carriedFile is a carried file that is being read. It belongs to one goroutine.
type carriedFile struct {
	n      *Node
	ctx    context.Context
	r      *bufio.Reader
	dec    protocol.CarryDecoder
	header *protocol.CarryHeader
	signer protocol.SigningKey
	info   Carried
	feeds  map[protocol.FeedID]*CarriedFeed
}

// errNotCarried tells what else the file may be.
const errNotCarried = "this is not a carried file, or its first bytes are damaged; 'entente carry pack' and 'entente carry request' make them (a card or an invitation is taken by 'entente trust' or 'entente network join')"

// openCarried opens a carried file for this organisation and reads its header. Of kind 0,
// either kind will do. The errors say what to do.
func (n *Node) openCarried(ctx context.Context, r io.Reader, kind protocol.CarryKind) (*carriedFile, error) {
	s := n.snap.Load()
	if s.network == protocol.NoNetwork {
		return nil, ErrNoNetwork
	}
	plain, err := crypto.OpenFile(r, n.identities())
	switch {
	case errors.Is(err, protocol.ErrNotInAudience):
		return nil, protocol.Errorf(protocol.ErrNotInAudience, "the file is sealed for another organisation, or was made with a card of %s that does not list this node; ask its sender for one packed with '--to %s', and give them your newest card ('entente id --card FILE')", s.name(n.org), n.org)
	case errors.Is(err, protocol.ErrMalformed):
		return nil, protocol.Errorf(protocol.ErrMalformed, "%s: %v", errNotCarried, err)
	case err != nil:
		return nil, err
	}
	f := &carriedFile{n: n, ctx: ctx, r: bufio.NewReaderSize(plain, 64<<10), feeds: map[protocol.FeedID]*CarriedFeed{}}
	if err := f.readHeader(s, kind); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *carriedFile) readHeader(s *snapshot, kind protocol.CarryKind) error {
	t, b, err := f.frame()
	switch {
	case errors.Is(err, io.EOF):
		return protocol.Errorf(protocol.ErrMalformed, "the file is empty; ask for a new one, or copy it again")
	case err != nil && protocol.Class(err) == "other":
		return err
	case err != nil:
		return fmt.Errorf("the file breaks off or is damaged before anything in it can be read; copy it again, or ask for a new one: %w", err)
	}
	signed, h, err := f.dec.Header(t, b)
	if err != nil {
		return fmt.Errorf("reading the header of the carried file: %w", err)
	}
	if f.signer, err = crypto.VerifyCarry(signed, h); err != nil {
		return fmt.Errorf("reading the header of the carried file: %w", err)
	}
	f.header = h
	switch {
	case h.Network != s.network:
		return protocol.Errorf(protocol.ErrWrongContext, "the file was made in network %s, and this node is in %s; apply it with a node of that network", h.Network, s.network)
	case h.To != f.n.org:
		return protocol.Errorf(protocol.ErrWrongContext, "the file was made for %s, not for this organisation; ask its sender for one packed with '--to %s'", s.name(h.To), f.n.org)
	case kind == protocol.CarryPack && h.Kind != kind:
		return protocol.Errorf(protocol.ErrWrongContext, "this is a request, not a pack: it says what %s has; answer it with 'entente carry pack --after FILE'", s.name(h.From))
	case kind == protocol.CarryRequest && h.Kind != kind:
		return protocol.Errorf(protocol.ErrWrongContext, "this is a pack, not a request; take it with 'entente carry apply FILE'")
	}
	if sg, ok := s.signers[f.signer]; ok && sg.org != h.From {
		return protocol.Errorf(protocol.ErrWrongContext, "the file says that it is from %s, but a node of %s signed it; do not use it, and tell both", s.name(h.From), s.name(sg.org))
	}
	f.info = Carried{Kind: h.Kind.String(), Network: h.Network, Made: millis(h.Made), Topics: []string{}, Feeds: []CarriedFeed{}, Refused: []CarryRefusal{}}
	if h.Answers != 0 {
		at := millis(h.Answers)
		f.info.Answers = &at
	}
	f.name(s)
	return nil
}

func millis(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() }

// fromMember reports whether the file was signed by a node that a member's card lists.
func (f *carriedFile) fromMember(s *snapshot) bool {
	sg, ok := s.signers[f.signer]
	return ok && sg.org == f.header.From && !sg.removed && s.members[sg.org]
}

// name fills in the names that are known now.
func (f *carriedFile) name(s *snapshot) {
	f.info.From, f.info.To, f.info.Known = s.ref(f.header.From), s.ref(f.header.To), f.fromMember(s)
	f.info.Topics = f.info.Topics[:0]
	for _, id := range f.header.Topics {
		f.info.Topics = append(f.info.Topics, s.topic(id))
	}
}

// topic returns the name of a topic, or the beginning of its id if this node is not in it.
func (s *snapshot) topic(id protocol.TopicID) string {
	if name, ok := s.topics[id]; ok {
		return name
	}
	return "(topic " + hex.EncodeToString(id[:5]) + "…)"
}

// unknownNode stands for the organisation of a feed whose signer no card here lists.
const unknownNode = "(unknown node)"

func (s *snapshot) refOfSigner(k protocol.SigningKey) OrgRef {
	if sg, ok := s.signers[k]; ok {
		return s.ref(sg.org)
	}
	return OrgRef{Name: unknownNode}
}

// frame reads one frame. It allocates as bytes arrive, not as the length promises. io.EOF
// says that the file ended where a frame could begin.
func (f *carriedFile) frame() (protocol.CarryFrame, []byte, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, nil, err
	}
	var head [protocol.CarryFrameHead]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = protocol.Errorf(protocol.ErrMalformed, "the file breaks off within a frame")
		}
		return 0, nil, err
	}
	t, size, err := protocol.ParseCarryHead(head)
	if err != nil {
		return t, nil, err
	}
	var buf bytes.Buffer
	if _, err := io.CopyN(&buf, f.r, int64(size)); err != nil {
		if errors.Is(err, io.EOF) {
			err = protocol.Errorf(protocol.ErrMalformed, "the file breaks off within a frame")
		}
		return t, nil, err
	}
	f.info.Bytes += uint64(len(head) + size)
	return t, buf.Bytes(), nil
}

// next returns the next message; nil at the end of what is good, be it the file's own end or
// not: f.info.Whole and f.info.Problem tell. An error is not the file's fault: its source
// cannot be read, or ctx ended.
func (f *carriedFile) next() (*protocol.SyncMessage, error) {
	t, b, err := f.frame()
	if err == nil {
		var m *protocol.SyncMessage
		if m, err = f.dec.Next(t, b); err == nil && m != nil {
			return m, nil
		}
	}
	if err == nil { // the trailer: nothing may follow
		if _, err = f.r.ReadByte(); err == nil {
			err = protocol.Errorf(protocol.ErrMalformed, "the file goes on after its end")
		} else if errors.Is(err, io.EOF) {
			f.info.Whole = true
			return nil, nil
		}
	}
	return nil, f.broken(err)
}

// broken notes why the file is not whole; it returns err if that is not the file's fault.
func (f *carriedFile) broken(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		f.info.Problem = "the file breaks off: it has no end; what came before is good. Copy it again, or ask for a new one"
	case protocol.Class(err) != "other":
		f.info.Problem = fmt.Sprintf("the file is good only as far as this: %v; what came before is good. Copy it again, or ask for a new one", err)
	default:
		return err
	}
	return nil
}

// feed keeps account of a feed, for which a file may make a node spend only so much.
func (f *carriedFile) feed(id protocol.FeedID, o *protocol.Origin) (*CarriedFeed, error) {
	if c := f.feeds[id]; c != nil {
		return c, nil
	}
	if len(f.feeds) >= protocol.MaxCarryFeeds {
		return nil, protocol.Errorf(protocol.ErrOversize, "the file holds more than %d feeds; ask for one of fewer topics", protocol.MaxCarryFeeds)
	}
	c := &CarriedFeed{Feed: id, origin: *o}
	f.feeds[id] = c
	return c, nil
}

// frontier notes where the feeds stood when the file was made. It is a claim: it is shown,
// and compared with what is held; nothing is stored because of it.
func (f *carriedFile) frontier(m *protocol.SyncMessage) error {
	for i := range m.Frontier {
		e := &m.Frontier[i]
		c, err := f.feed(e.Origin.FeedID(f.header.Network), &e.Origin)
		if err != nil {
			return err
		}
		c.Head = max(c.Head, e.Seq)
	}
	return nil
}

// entry counts a verified entry.
func (f *carriedFile) entry(env *crypto.VerifiedEnvelope) (*CarriedFeed, error) {
	c, err := f.feed(env.Header.Feed, &env.Origin)
	if err != nil {
		return nil, err
	}
	if c.From == 0 || env.Header.Seq < c.From {
		c.From = env.Header.Seq
	}
	c.To = max(c.To, env.Header.Seq)
	c.Envelopes++
	c.Bytes += uint64(len(env.Raw))
	f.info.Envelopes++
	return c, nil
}

// maxRefusals bounds the reasons that are told apart.
const maxRefusals = 64

func (f *carriedFile) refuse(what string, err error) {
	r := CarryRefusal{What: what, Class: protocol.Class(err), Reason: err.Error(), Count: 1}
	if len(f.info.Refused) >= maxRefusals {
		r.Class, r.Reason = "other", "further reasons"
	}
	for i := range f.info.Refused {
		if h := &f.info.Refused[i]; h.What == r.What && h.Reason == r.Reason {
			h.Count++
			return
		}
	}
	f.info.Refused = append(f.info.Refused, r)
}

// close fills in what is known at the end, and returns the account.
func (f *carriedFile) close() *Carried {
	s := f.n.snap.Load()
	f.name(s)
	for _, c := range f.feeds {
		c.Org, c.Topic, c.Here = s.refOfSigner(c.origin.Signing), s.topic(c.origin.Topic), f.n.gate.head(c.Feed)
		f.info.Feeds = append(f.info.Feeds, *c)
	}
	sortFeeds(f.info.Feeds)
	return &f.info
}

func sortFeeds(list []CarriedFeed) {
	slices.SortFunc(list, func(a, b CarriedFeed) int {
		if c := strings.Compare(a.Topic+"\x00"+a.Org.Name, b.Topic+"\x00"+b.Org.Name); c != 0 {
			return c
		}
		return bytes.Compare(a.Feed[:], b.Feed[:])
	})
}

// InspectCarried reads a carried file, a pack or a request, and says what it holds. It
// changes nothing. An error says that the file is not for this node, or cannot be read.
func (n *Node) InspectCarried(ctx context.Context, r io.Reader) (*Carried, error) {
	f, err := n.openCarried(ctx, r, 0)
	if err != nil {
		return nil, err
	}
	for {
		m, err := f.next()
		if err != nil {
			return nil, err
		}
		if m == nil {
			return f.close(), nil
		}
		if err := f.inspect(m); err != nil {
			if err := f.broken(err); err != nil {
				return nil, err
			}
			return f.close(), nil
		}
	}
}

func (f *carriedFile) inspect(m *protocol.SyncMessage) error {
	switch m.Kind {
	case protocol.SyncFrontier:
		return f.frontier(m)
	case protocol.SyncList:
		f.info.Hashes += len(m.Hashes)
	case protocol.SyncItems:
		f.info.Cards += len(m.Cards)
		f.info.Statements += len(m.Roster)
	case protocol.SyncSiblingItems:
		f.info.Siblings += len(m.Envelopes)
	case protocol.SyncEntries:
		for _, raw := range m.Envelopes {
			env, err := crypto.VerifyEntry(f.header.Network, raw)
			if err != nil {
				f.refuse("envelope", err)
				continue
			}
			if _, err := f.entry(env); err != nil {
				return err
			}
		}
	}
	return nil
}
