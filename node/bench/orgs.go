package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// topic is what everything is published in.
const topic = "c2"

// noQuota is a share that nobody uses up.
const noQuota = 1 << 50

// enoughPeers is how many connections will do: in a large network a node has some, not all.
const enoughPeers = 8

// org is an organisation with its node.
type org struct {
	name   string
	node   *node.Node
	cfg    node.Config
	cancel context.CancelFunc // of Run; nil: it does not run
	done   chan error
}

// mesh is organisations in one network.
type mesh struct {
	orgs    []*org
	members int // orgs, and those that run no node here
}

// found makes organisations, each with its keys and a data directory, in one network and topic.
func found(ctx context.Context, o *Options, names ...string) (*mesh, error) {
	m := &mesh{}
	if err := m.add(ctx, o, names[0]); err != nil {
		return m, err
	}
	return m, m.add(ctx, o, names[1:]...)
}

// add makes further organisations with nodes, and waits until all nodes are connected. The first of
// all founds the network and invites the others. Who is a member goes between them by carried files:
// the network would bring it too, but where not all are connected to all it may take a minute.
func (m *mesh) add(ctx context.Context, o *Options, names ...string) error {
	for _, name := range names {
		dir := filepath.Join(o.Dir, strings.ToLower(strings.ReplaceAll(name, " ", "-")))
		ident, err := node.Init(node.InitRequest{Dir: dir, RootFile: dir + "-root-key.txt", Name: name, Kind: "cert"})
		if err != nil {
			return err
		}
		x := &org{name: name, cfg: node.Config{Dir: dir, Keys: ident.Keys, Log: slog.New(slog.DiscardHandler), OrgQuota: noQuota, PartnerQuota: noQuota, SyncEvery: o.syncEvery,
			Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}}}
		if x.node, err = node.Open(x.cfg); err != nil {
			return err
		}
		m.orgs = append(m.orgs, x)
	}
	return m.connect(ctx, len(m.orgs)-len(names))
}

// connect brings the organisations from one on into the network, and up, and waits until all are
// connected.
func (m *mesh) connect(ctx context.Context, from int) error {
	for _, x := range m.orgs[from:] {
		var err error
		m.members++
		if x == m.orgs[0] {
			_, err = x.node.CreateNetwork("bench")
		} else {
			var inv *protocol.Invite
			if inv, err = m.orgs[0].node.Invite(&x.node.OwnCard().Signed, time.Hour); err == nil {
				_, err = x.node.Join(inv)
			}
			if err == nil {
				err = carry(ctx, x.node, m.orgs[0].node)
			}
		}
		if err == nil {
			err = x.up(ctx)
		}
		if err == nil {
			err = x.node.JoinTopic(topic)
		}
		if err != nil {
			return err
		}
	}
	for _, x := range m.orgs[1:] {
		if err := m.tell(ctx, x); err != nil {
			return err
		}
	}
	for _, x := range m.orgs {
		if err := x.wait(ctx, "reaches enough others", func() (bool, error) {
			met, err := x.node.Metrics()
			return met.Connected >= min(len(m.orgs)-1, enoughPeers) && met.Members == m.members, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// tell brings an organisation's node what the first knows of members. A card that is renewed while
// a file is packed, as one is when its node comes up, is not in it: then another file is.
func (m *mesh) tell(ctx context.Context, x *org) error {
	for range 20 {
		if err := carry(ctx, m.orgs[0].node, x.node); err != nil {
			return err
		}
		if !slices.ContainsFunc(m.orgs, func(y *org) bool { return x.node.Card(y.node.Org()) == nil }) {
			return nil
		}
	}
	return fmt.Errorf("%s does not get the cards of all members", x.name)
}

// settle has some of the organisations publish one record, for themselves alone, and waits until every
// node holds what they published: what comes after finds the ways open.
func (m *mesh) settle(ctx context.Context, publishers []*org) error {
	for i, x := range publishers {
		if _, err := publishAll(ctx, x, [][]byte{bundle(1<<24-1-i, 1<<24-i)}); err != nil {
			return err
		}
	}
	for _, x := range m.orgs {
		if err := x.wait(ctx, "holds an entry of each publisher", func() (bool, error) {
			met, err := x.node.Metrics()
			return met.Topics[topic].Held >= uint64(len(publishers)), err
		}); err != nil {
			return err
		}
	}
	return nil
}

// up runs the node.
func (x *org) up(ctx context.Context) error {
	ctx, x.cancel = context.WithCancel(ctx)
	x.done = make(chan error, 1)
	listening := make(chan struct{})
	go func() { x.done <- x.node.Run(ctx, func([]string) { close(listening) }) }()
	select {
	case <-listening:
		return nil
	case err := <-x.done:
		x.cancel = nil
		return fmt.Errorf("the node of %s did not come up: %w", x.name, err)
	}
}

// down ends Run, and not the node.
func (x *org) down() error {
	if x.cancel == nil {
		return nil
	}
	x.cancel()
	x.cancel = nil
	return <-x.done
}

// again closes the node and opens it anew, on its data; it does not run then.
func (x *org) again() (took time.Duration, err error) {
	if err := errors.Join(x.down(), x.node.Close()); err != nil {
		return 0, err
	}
	begun := time.Now()
	x.node, err = node.Open(x.cfg)
	return time.Since(begun), err
}

// close ends everything.
func (m *mesh) close() error {
	var err error
	for _, x := range m.orgs {
		if x.node != nil {
			err = errors.Join(err, x.down(), x.node.Close())
		}
	}
	return err
}

// wait waits until something holds of a node.
func (x *org) wait(ctx context.Context, what string, ok func() (bool, error)) error {
	for {
		changed := x.node.Changed()
		done, err := ok()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s %s: %w", x.name, what, ctx.Err())
		case <-changed:
			time.Sleep(2 * time.Millisecond) // many changes are looked at once
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// hasRecords waits until a node shows so many records.
func (x *org) hasRecords(ctx context.Context, want int) error {
	return x.wait(ctx, fmt.Sprintf("has %d records", want), func() (bool, error) {
		met, err := x.node.Metrics()
		return met.Records >= uint64(want), err
	})
}

// agree has two organisations agree that the first may send everything to the second.
func (m *mesh) agree(ctx context.Context, from, to *org) error {
	for _, p := range [][2]*org{{from, to}, {to, from}} {
		card := p[1].node.OwnCard()
		if _, err := p[0].node.Trust(&card.Signed, strings.Join(crypto.Words(card.Org), " ")); err != nil {
			return err
		}
	}
	id, err := from.node.Propose(agreement(from.node.Org(), to.node.Org()))
	if err != nil {
		return err
	}
	state := func(x *org, want node.AgreementState) error {
		return x.wait(ctx, "has the agreement "+string(want), func() (bool, error) {
			a, err := x.node.Agreement(id)
			if err != nil {
				return false, nil // not yet
			}
			return a.State == want, nil
		})
	}
	if err := state(to, node.AgreementIncoming); err != nil {
		return err
	}
	if err := to.node.Countersign(id); err != nil {
		return err
	}
	return errors.Join(state(from, node.AgreementInForce), state(to, node.AgreementInForce))
}

func agreement(from, to protocol.OrgID) protocol.Agreement {
	now := uint64(time.Now().UnixMilli())
	doc := protocol.Agreement{Title: "bench", Parties: []protocol.OrgID{from, to}, LegalBasis: "A measurement; no law applies.",
		NotBefore: now - 1000, NotAfter: now + 365*24*3600*1000}
	slices.SortFunc(doc.Parties, protocol.OrgID.Compare)
	doc.Terms = []protocol.Term{{From: from, To: to, Topics: []string{topic}, Kinds: []string{protocol.Any}, TLP: protocol.TLPAmber,
		Countries: []string{protocol.Worldwide}, Personal: protocol.PersonalAll}}
	return doc
}
