package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Gossip is the fast path; comparing with a peer is the truth. A node compares when a peer
// connects, when gossip dropped or lacked something, and every Config.SyncEvery.

// syncDebounce gathers what makes a comparison due.
const syncDebounce = 250 * time.Millisecond

// keepSynced runs comparisons, one at a time, until ctx ends.
func (net *network) keepSynced(ctx context.Context) {
	tick := time.NewTicker(net.n.cfg.SyncEvery)
	defer tick.Stop()
	for {
		var peer protocol.NodeID
		have := false
		select {
		case <-ctx.Done():
			return
		case peer = <-net.syncs:
			have = true
		case <-net.dirty:
			if sleep(ctx, syncDebounce) != nil {
				return
			}
		case <-tick.C:
		}
		if !have {
			peers := net.mesh.Peers()
			if len(peers) == 0 {
				continue
			}
			peer = peers[rand.IntN(len(peers))].Node
		}
		if err := net.syncWith(ctx, peer); err != nil && ctx.Err() == nil {
			net.n.log.Debug("comparing with a peer failed", "node", peer, "err", err)
		}
	}
}

// syncTimeout bounds one comparison with one peer; what is left is done by the next.
const syncTimeout = 5 * time.Minute

// syncWith compares with a peer and takes what is lacking here. The peer compares with us
// on its own account.
func (net *network) syncWith(ctx context.Context, peer protocol.NodeID) error {
	if _, ok := net.known(peer); !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	return reconcile.Run(ctx, &view{n: net.n}, func(ctx context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		return net.mesh.Ask(ctx, peer, m)
	})
}

// serve answers a peer's request.
func (net *network) serve(_ context.Context, remote protocol.NodeID, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if _, ok := net.known(remote); !ok {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "peer is not a member of the network")
	}
	return reconcile.Answer(&view{n: net.n}, m)
}

// view is the node as package reconcile sees it.
type view struct{ n *Node }

// SetHashes lists the cards and roster statements that are held.
func (v *view) SetHashes() ([]protocol.Hash, error) {
	s := v.n.snap.Load()
	var out []protocol.Hash
	for org, c := range s.cards {
		if s.rostered(org) {
			out = append(out, c.Hash)
		}
	}
	for h := range s.statements {
		out = append(out, h)
	}
	return out, nil
}

// Items returns cards and statements by their hashes; unknown ones are left out.
func (v *view) Items(hashes []protocol.Hash) (cards []protocol.SignedCard, roster []protocol.RosterStatement, err error) {
	s := v.n.snap.Load()
	byHash := map[protocol.Hash]*crypto.Card{}
	for _, c := range s.cards {
		byHash[c.Hash] = c
	}
	for _, h := range hashes {
		if c := byHash[h]; c != nil && s.rostered(c.Org) {
			cards = append(cards, c.Signed)
		} else if st := s.statements[h]; st != nil {
			roster = append(roster, *st)
		}
	}
	return cards, roster, nil
}

// TakeItems keeps what a peer sent of the sets. What came before the thing that makes it
// good was left out; the next comparison brings it again.
func (v *view) TakeItems(cards []protocol.SignedCard, roster []protocol.RosterStatement) error {
	network := v.n.snap.Load().network
	var got taken
	err := v.n.change(func(tx *store.Tx) (err error) {
		got, err = v.n.takeSets(tx, network, cards, roster)
		return err
	})
	if err == nil && got.kept > 0 {
		if err = v.n.gate.reopenEarly(); err == nil {
			err = v.n.gate.drain()
		}
	}
	if net := v.n.net.Load(); err == nil && net != nil && got.kept > 0 && got.left > 0 {
		net.markDirty()
	}
	return err
}

// Frontier lists the heads of all feeds that are held, of the topics that this node is in.
func (v *view) Frontier() (out []protocol.FrontierEntry, err error) {
	s := v.n.snap.Load()
	err = v.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if _, ok := s.topics[f.Origin.Topic]; ok && f.Seq > 0 {
				out = append(out, protocol.FrontierEntry{Origin: f.Origin, Seq: f.Seq, Hash: f.Hash})
			}
			return nil
		})
	})
	return out, err
}

// FeedOf names the feed that an origin has in this network.
func (v *view) FeedOf(o *protocol.Origin) protocol.FeedID { return o.FeedID(v.n.snap.Load().network) }

// Wants reports whether entries of a feed would be admitted here.
func (v *view) Wants(o *protocol.Origin) bool {
	s := v.n.snap.Load()
	sg, ok := s.signers[o.Signing]
	if !ok || !s.members[sg.org] || o.Signing == v.n.keys.Signing.Public() {
		return false
	}
	_, ok = s.topics[o.Topic]
	return ok
}

// Range returns encoded entries of a feed.
func (v *view) Range(feed protocol.FeedID, from uint64, count, maxBytes int) (out [][]byte, err error) {
	err = v.n.st.View(func(tx *store.Tx) error {
		return tx.Range(feed, from, count, maxBytes, func(raw []byte) error {
			out = append(out, append([]byte(nil), raw...))
			return nil
		})
	})
	return out, err
}

// TakeEntries verifies and admits entries that a peer sent.
func (v *view) TakeEntries(raws [][]byte) error {
	network := v.n.snap.Load().network
	envs := make([]*crypto.VerifiedEnvelope, 0, len(raws))
	for _, raw := range raws {
		env, err := crypto.VerifyEnvelope(network, raw)
		if err != nil {
			return fmt.Errorf("peer sent an entry that does not verify: %w", err)
		}
		envs = append(envs, env)
	}
	a, err := v.take(envs)
	if err == nil && a.Stored == 0 && a.Refused != nil && !errors.Is(a.Refused, protocol.ErrUnknownAuthor) {
		err = a.Refused
	}
	return err
}

// take admits verified entries, whichever way they came: from a peer, or in a carried file.
func (v *view) take(envs []*crypto.VerifiedEnvelope) (admission, error) { return v.n.gate.admit(envs) }
