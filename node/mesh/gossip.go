package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/entente-mesh/entente/protocol"
)

// Sizes of the queues in which gossip waits. Pubsub's own are 32 each, and silent.
const (
	validateQueue = 4096 // messages of all topics that await a worker
	outboundQueue = 512  // messages that await one peer
	deliverQueue  = 4096 // accepted messages of one topic that await Deliver
)

// joined is a topic that this node is in.
type joined struct {
	topic  *pubsub.Topic
	sub    *pubsub.Subscription
	events *pubsub.TopicEventHandler
	stop   context.CancelFunc // ends the wait for events
}

func (m *Mesh) newPubSub() (*pubsub.PubSub, error) {
	m.filter = newSubscriptions()
	params := pubsub.DefaultGossipSubParams()
	params.D, params.Dlo, params.Dhi, params.Dlazy, params.Dout = 8, 6, 12, 6, 2
	params.HistoryLength, params.HistoryGossip = 12, 6
	return pubsub.NewGossipSub(m.ctx, gossipHost{m.host, m},
		pubsub.WithGossipSubProtocols(m.wire.gossip, features),
		pubsub.WithGossipSubParams(params),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(msg *pb.Message) string { return protocol.GossipID(msg.GetTopic(), msg.GetData()) }),
		pubsub.WithMaxMessageSize(protocol.MaxGossipSize),
		pubsub.WithMaxControlMessageSize(protocol.MaxControlSize),
		pubsub.WithSeenMessagesTTL(10*time.Minute),
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerExchange(false), // it tells strangers who is here
		pubsub.WithSubscriptionFilter(m.filter),
		pubsub.WithBlacklist(strangers{m}),
		pubsub.WithRawTracer(tracer{m}),
		pubsub.WithValidateQueueSize(validateQueue),
		pubsub.WithValidateWorkers(runtime.GOMAXPROCS(0)),
		pubsub.WithPeerOutboundQueueSize(outboundQueue),
		pubsub.WithDefaultValidator(m.validate, pubsub.WithValidatorInline(true)),
		pubsub.WithLogger(slog.New(slog.DiscardHandler)), // it warns of every stranger; the tracer tells what counts
	)
}

// features is what gossipsub 1.2 has; without peer exchange, and without the extensions of
// 1.3, which nobody here needs.
func features(f pubsub.GossipSubFeature, _ libp2pprotocol.ID) bool {
	return f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeatureIdontwant
}

// gossipHost is the host as pubsub sees it: streams come from and go to known peers only,
// and pubsub never dials.
type gossipHost struct {
	host.Host
	m *Mesh
}

func (h gossipHost) SetStreamHandler(id libp2pprotocol.ID, handle network.StreamHandler) {
	h.Host.SetStreamHandler(id, h.m.gated(handle))
}

func (h gossipHost) SetStreamHandlerMatch(id libp2pprotocol.ID, match func(libp2pprotocol.ID) bool, handle network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(id, match, h.m.gated(handle))
}

func (h gossipHost) NewStream(ctx context.Context, p peer.ID, ids ...libp2pprotocol.ID) (network.Stream, error) {
	if _, ok := h.m.known(p); !ok {
		return nil, errors.New("peer is not known")
	}
	return h.Host.NewStream(network.WithNoDial(ctx, "gossip"), p, ids...)
}

func (h gossipHost) Connect(context.Context, peer.AddrInfo) error {
	return errors.New("gossip does not dial")
}

// validate maps the owner's verdict to pubsub's. What this node publishes is not judged
// again: it is stored already, which a validator would call stale.
func (m *Mesh) validate(_ context.Context, from peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	node, ok := nodeOf(from)
	switch {
	case !ok:
		return pubsub.ValidationIgnore
	case node == m.self:
		return pubsub.ValidationAccept
	case len(msg.GetData()) > protocol.MaxEnvelopeSize:
		return pubsub.ValidationReject
	}
	m.cfg.Trace(node, string(m.wire.gossip[0]), "gossip", msg.GetData())
	v, made := m.cfg.Validate(node, msg.GetTopic(), msg.GetData())
	switch v {
	case Accept:
		msg.ValidatorData = made
		return pubsub.ValidationAccept
	case Reject:
		return pubsub.ValidationReject
	}
	return pubsub.ValidationIgnore
}

// Join makes this node take part in a topic, whose messages go to Deliver from now on. To
// join a topic again is no error.
func (m *Mesh) Join(name string) error {
	m.joining.Lock()
	defer m.joining.Unlock()
	m.mu.Lock()
	_, have := m.topics[name]
	m.mu.Unlock()
	if have {
		return nil
	}
	m.filter.own(name, true)
	topic, err := m.pubsub.Join(name)
	if err != nil {
		return fmt.Errorf("joining topic: %w", err)
	}
	sub, err := topic.Subscribe(pubsub.WithBufferSize(deliverQueue))
	if err != nil {
		return fmt.Errorf("joining topic: %w", errors.Join(err, topic.Close()))
	}
	events, err := topic.EventHandler()
	if err != nil {
		sub.Cancel()
		return fmt.Errorf("joining topic: %w", errors.Join(err, topic.Close()))
	}
	ctx, stop := context.WithCancel(m.ctx)
	m.mu.Lock()
	m.topics[name] = &joined{topic, sub, events, stop}
	m.mu.Unlock()
	m.spawn(func() { m.deliver(sub) })
	m.spawn(func() { m.subscribers(ctx, name, events) })
	return nil
}

// subscribers tells of the peers that are in a topic, also of those that already were.
func (m *Mesh) subscribers(ctx context.Context, name string, events *pubsub.TopicEventHandler) {
	for {
		ev, err := events.NextPeerEvent(ctx)
		if err != nil {
			return // left, or closed
		}
		if node, ok := nodeOf(ev.Peer); ok && ev.Type == pubsub.PeerJoin && m.cfg.Subscribed != nil {
			m.cfg.Subscribed(node, name)
		}
	}
}

func (m *Mesh) deliver(sub *pubsub.Subscription) {
	for {
		msg, err := sub.Next(m.ctx)
		if err != nil {
			return // left, or closed
		}
		if from, ok := nodeOf(msg.ReceivedFrom); ok && from != m.self {
			m.cfg.Deliver(from, msg.GetTopic(), msg.GetData(), msg.ValidatorData)
		}
	}
}

// Leave ends taking part in a topic. To leave a topic that was not joined does nothing.
func (m *Mesh) Leave(name string) {
	m.joining.Lock()
	defer m.joining.Unlock()
	m.mu.Lock()
	t := m.topics[name]
	delete(m.topics, name)
	m.mu.Unlock()
	if t == nil {
		return
	}
	t.stop()
	t.events.Cancel()
	t.sub.Cancel()
	if err := t.topic.Close(); err != nil {
		m.log.Debug("leaving topic failed", "err", err)
	}
	m.filter.own(name, false)
}

// Topics returns the names of the topics that this node is in, in no order.
func (m *Mesh) Topics() (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.topics {
		names = append(names, name)
	}
	return names
}

// Publish gossips data, an encoded envelope, in a joined topic. No error does not mean that
// anybody received it.
func (m *Mesh) Publish(ctx context.Context, name string, data []byte) error {
	if len(data) > protocol.MaxEnvelopeSize {
		return protocol.Errorf(protocol.ErrOversize, "message has %d bytes, at most %d are gossiped", len(data), protocol.MaxEnvelopeSize)
	}
	m.mu.Lock()
	t := m.topics[name]
	m.mu.Unlock()
	if t == nil {
		return errors.New("publishing: topic is not joined; join it first")
	}
	if err := t.topic.Publish(ctx, data); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	return nil
}

// TopicPeers returns how many connected peers are in a topic, as they said.
func (m *Mesh) TopicPeers(name string) int { return len(m.pubsub.ListPeers(name)) }
