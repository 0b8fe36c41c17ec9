package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	circuitclient "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"

	"github.com/entente-mesh/entente/protocol"
)

// How a node keeps reservations at relays.
const (
	wantRelays     = 2 // at so many
	reserveEvery   = 15 * time.Second
	reserveTime    = 20 * time.Second // to connect with a relay and ask it
	relayRetryMin  = time.Second      // after it refused or was not there, doubling
	relayRetryMax  = 10 * time.Minute
	relayHolds     = time.Minute // a reservation that is lost sooner counts as one that failed
	maxRelaysTried = 64          // remembered ones that failed
)

// Relay is a node that might relay for this one.
type Relay struct {
	Node  protocol.NodeID
	Addrs []string // direct ones
}

// Reservation is held at a relay: peers may call this node by way of it.
type Reservation struct {
	Relay protocol.NodeID
	Until time.Time // it is renewed before
}

type relayTry struct {
	after time.Time
	wait  time.Duration
	why   string
}

// keepReserved holds reservations at the first of the relays that the owner names.
func (m *Mesh) keepReserved() {
	tick := time.NewTicker(reserveEvery)
	defer tick.Stop()
	for {
		m.reserve()
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		case <-m.unreserved:
		}
	}
}

func (m *Mesh) reserve() {
	relays := m.cfg.Relays()
	named := map[protocol.NodeID]bool{}
	for _, r := range relays {
		named[r.Node] = true
	}
	now := time.Now()
	held := map[protocol.NodeID]bool{}
	var due []protocol.NodeID
	changed := false
	m.mu.Lock()
	for id, until := range m.reserved {
		switch p := m.peers[id]; {
		case p == nil || !p.admitted || !named[id] || now.After(until):
			delete(m.reserved, id)
			delete(m.reservedAt, id)
			changed = true
		default:
			held[id] = true
			if now.Sub(m.reservedAt[id]) >= relayHolds {
				delete(m.relayTries, id)
			}
			if until.Sub(now) < reservationTime/2 {
				due = append(due, id)
			}
		}
	}
	m.mu.Unlock()
	for _, id := range due {
		if err := m.reserveAt(Relay{Node: id}); err != nil {
			m.log.Debug("renewing a reservation failed", "relay", id, "err", err)
		}
	}
	for _, r := range relays {
		if len(held) >= wantRelays || m.ctx.Err() != nil {
			break
		}
		if held[r.Node] || r.Node == m.self || !m.mayTry(r.Node) {
			continue
		}
		if err := m.reserveAt(r); err != nil {
			m.log.Debug("relay cannot be used", "relay", r.Node, "err", err)
			m.tried(r.Node, err)
			continue
		}
		held[r.Node], changed = true, true
		m.log.Info("can be called by way of a relay", "relay", r.Node)
	}
	if changed && m.ctx.Err() == nil {
		m.cfg.Reserved()
	}
}

func (m *Mesh) reserveAt(r Relay) error {
	ctx, cancel := context.WithTimeout(m.ctx, reserveTime)
	defer cancel()
	if len(r.Addrs) > 0 {
		if err := m.Connect(ctx, r.Node, r.Addrs); err != nil {
			return err
		}
	}
	if direct, _ := m.paths(r.Node); !direct {
		return fmt.Errorf("the relay is itself reached by way of a relay")
	}
	got, err := circuitclient.Reserve(network.WithNoDial(ctx, "reservation"), m.host, peer.AddrInfo{ID: peerOf(r.Node)})
	if err != nil {
		return fmt.Errorf("asking for a reservation: %w", err)
	}
	if got.LimitDuration != 0 || got.LimitData != 0 {
		return fmt.Errorf("it cuts connections after %v or %d bytes, and gossip does not run over such", got.LimitDuration, got.LimitData)
	}
	// What a relay says of the time is believed only where it is short.
	until := time.Now().Add(reservationTime)
	if got.Expiration.Before(until) {
		until = got.Expiration
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, renewed := m.reserved[r.Node]; !renewed {
		m.reservedAt[r.Node] = time.Now()
	}
	m.reserved[r.Node] = until
	return nil
}

func (m *Mesh) mayTry(relay protocol.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !time.Now().Before(m.relayTries[relay].after)
}

func (m *Mesh) tried(relay protocol.NodeID, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noteTried(relay, err)
}

// noteTried is tried for a caller that holds mu.
func (m *Mesh) noteTried(relay protocol.NodeID, err error) {
	if len(m.relayTries) >= maxRelaysTried {
		clear(m.relayTries)
	}
	t := m.relayTries[relay]
	t.wait = min(max(2*t.wait, relayRetryMin), relayRetryMax)
	t.after, t.why = time.Now().Add(t.wait), err.Error()
	m.relayTries[relay] = t
	if t.wait < reserveEvery { // two that greet each other at the same moment may cut each other off
		time.AfterFunc(t.wait, m.LookForRelays)
	}
}

// lostRelay notes that a relay is not connected any more. One that grants and is gone would be asked again
// at once and without end: that counts as refused. The caller holds mu.
func (m *Mesh) lostRelay(node protocol.NodeID) {
	if _, held := m.reserved[node]; !held {
		return
	}
	if since, known := m.reservedAt[node]; known && time.Since(since) < relayHolds {
		m.noteTried(node, errors.New("it granted a reservation, and was gone within a minute"))
		delete(m.reservedAt, node) // counted once
	}
	m.LookForRelays()
}

// LookForRelays makes the mesh ask its owner for relays now. It never blocks.
func (m *Mesh) LookForRelays() {
	select {
	case m.unreserved <- struct{}{}:
	default:
	}
}

// Reservations returns where this node can be called by way of relays, ordered by relay.
func (m *Mesh) Reservations() (out []Reservation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, until := range m.reserved {
		if p := m.peers[id]; p != nil && p.admitted {
			out = append(out, Reservation{id, until})
		}
	}
	slices.SortFunc(out, func(a, b Reservation) int { return a.Relay.Compare(b.Relay) })
	return out
}

// RelayFailures returns why relays that were tried cannot be used.
func (m *Mesh) RelayFailures() map[protocol.NodeID]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[protocol.NodeID]string{}
	for id, t := range m.relayTries {
		if p := m.peers[id]; p == nil || !p.admitted || m.reserved[id].IsZero() {
			out[id] = t.why
		}
	}
	return out
}

// relays reports whether a connected peer offers to relay.
func (m *Mesh) relays(p peer.ID) bool {
	ids, err := m.host.Peerstore().SupportsProtocols(p, circuit.ProtoIDv2Hop)
	return err == nil && len(ids) > 0
}
