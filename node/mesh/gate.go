package mesh

import (
	"strings"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"
)

// Bounds on what a peer may subscribe to. A network has a few topics in a few periods.
const (
	maxTopicsPerPeer = 512
	maxTopicName     = 128
	topicPrefix      = "/entente/t/"
)

// strangers is pubsub's blacklist: whoever is not known.
type strangers struct{ m *Mesh }

// Add does nothing: who is known is the owner's to say.
func (s strangers) Add(peer.ID) bool { return false }

// Contains is asked for senders, and for authors, of which our messages have none.
func (s strangers) Contains(p peer.ID) bool {
	if p == "" || p == s.m.host.ID() {
		return false
	}
	_, ok := s.m.known(p)
	return !ok
}

// subscriptions is pubsub's subscription filter. Peers subscribe to topics that this node
// is not in yet, so their names have to be remembered; the bounds keep that small.
type subscriptions struct {
	mu    sync.Mutex
	owned map[string]bool
	peers map[peer.ID]map[string]bool
}

func newSubscriptions() *subscriptions {
	return &subscriptions{owned: map[string]bool{}, peers: map[peer.ID]map[string]bool{}}
}

func (f *subscriptions) own(name string, in bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in {
		f.owned[name] = true
	} else {
		delete(f.owned, name)
	}
}

func (f *subscriptions) forget(p peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.peers, p)
}

// CanSubscribe implements pubsub.SubscriptionFilter.
func (f *subscriptions) CanSubscribe(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.allowed(name)
}

func (f *subscriptions) allowed(name string) bool {
	return f.owned[name] || len(name) <= maxTopicName && strings.HasPrefix(name, topicPrefix)
}

// FilterIncomingSubscriptions implements pubsub.SubscriptionFilter.
func (f *subscriptions) FilterIncomingSubscriptions(p peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	if len(subs) > maxTopicsPerPeer {
		return nil, pubsub.ErrTooManySubscriptions
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	have := f.peers[p]
	if have == nil {
		have = map[string]bool{}
		f.peers[p] = have
	}
	return pubsub.FilterSubscriptions(subs, func(name string) bool {
		if !f.allowed(name) || !have[name] && len(have) >= maxTopicsPerPeer {
			return false
		}
		have[name] = true
		return true
	}), nil
}

// tracer tells the owner of messages that pubsub drops without a word, and of those that came twice.
type tracer struct{ m *Mesh }

// RejectMessage is told of verdicts as well, which are the owner's own.
func (t tracer) RejectMessage(_ *pubsub.Message, reason string) {
	switch reason {
	case pubsub.RejectValidationQueueFull, pubsub.RejectValidationThrottled:
		t.m.cfg.Dropped("validation queue")
	}
}

// DropRPC is told of a message that a slow peer has no room for.
func (t tracer) DropRPC(rpc *pubsub.RPC, _ peer.ID) {
	if len(rpc.GetPublish()) > 0 {
		t.m.cfg.Dropped("outbound queue")
	}
}

// UndeliverableMessage is told of a message that Deliver was too slow for.
func (t tracer) UndeliverableMessage(*pubsub.Message) { t.m.cfg.Dropped("delivery queue") }

// DuplicateMessage is told of a message that another peer brought before.
func (t tracer) DuplicateMessage(msg *pubsub.Message) { t.m.cfg.Duplicate(msg.GetTopic()) }

func (t tracer) OnNewOutboundStream(peer.ID, libp2pprotocol.ID)       {}
func (t tracer) OnClosedOutboundStream(peer.ID)                       {}
func (t tracer) Join(string)                                          {}
func (t tracer) Leave(string)                                         {}
func (t tracer) Graft(peer.ID, string)                                {}
func (t tracer) Prune(peer.ID, string)                                {}
func (t tracer) ValidateMessage(*pubsub.Message)                      {}
func (t tracer) DeliverMessage(*pubsub.Message)                       {}
func (t tracer) ThrottlePeer(peer.ID)                                 {}
func (t tracer) RecvRPC(*pubsub.RPC)                                  {}
func (t tracer) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (t tracer) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
