package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/time/rate"

	"github.com/entente-mesh/entente/protocol"
)

// Dialling back (SPEC "Dialling back"): a known peer asks for its own addresses to be called, each
// on a new connection by a host of its own that has another key and other ports, so that neither
// a connection that there is nor what it opened in a firewall makes an address look reachable.
//
// AutoNAT v2 of libp2p was looked at and does not fit: it calls public addresses only, and networks
// of agencies are often private; of a list it tries one; it says that a call failed, and not how,
// which is what a repair follows from; and anybody may ask, where here the card says whose an
// address is. Its ideas stay: a host of its own that dials, and few requests of each asker.

// dialBackProtocol is not among those that a peer must speak.
const dialBackProtocol libp2pprotocol.ID = "/entente/dialback/1"

// Bounds on dialling back.
const (
	dialBackTime     = 10 * time.Second // for a request, its calls and its answer
	dialBackCall     = 5 * time.Second  // for one call
	maxDialBackCalls = 8                // addresses of one request that are called
	maxDialBacks     = 4                // requests served at a time
	dialBackEvery    = 10 * time.Second // one node asks as often as this in the long run,
	dialBackBurst    = 6                // and as many times at once
)

// dialBacks keeps requests to dial back within bounds.
type dialBacks struct {
	mu      sync.Mutex
	serving map[protocol.NodeID]bool
	limits  map[protocol.NodeID]*rate.Limiter // of known nodes only, so it is bounded by the roster
}

// begin reports whether a request of a node is served now.
func (d *dialBacks) begin(node protocol.NodeID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.serving == nil {
		d.serving, d.limits = map[protocol.NodeID]bool{}, map[protocol.NodeID]*rate.Limiter{}
	}
	l := d.limits[node]
	if l == nil {
		l = rate.NewLimiter(rate.Every(dialBackEvery), dialBackBurst)
		d.limits[node] = l
	}
	if d.serving[node] || len(d.serving) >= maxDialBacks || !l.Allow() {
		return false
	}
	d.serving[node] = true
	return true
}

func (d *dialBacks) end(node protocol.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.serving, node)
}

// handleDialBack serves one request of a known peer.
func (m *Mesh) handleDialBack(s network.Stream) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		_ = s.Reset()
		return
	}
	m.wg.Add(1)
	m.mu.Unlock()
	defer m.wg.Done()
	node, _ := nodeOf(s.Conn().RemotePeer())
	_ = s.SetDeadline(time.Now().Add(dialBackTime))
	if err := m.answerDialBack(s, node); err != nil {
		m.log.Debug("dialling back failed", "node", node, "err", err)
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

func (m *Mesh) answerDialBack(s network.Stream, node protocol.NodeID) error {
	data, err := readFrame(s, protocol.MaxDialBackSize)
	if err != nil {
		return err
	}
	answer := &protocol.DialBackAnswer{Version: 1, Received: uint64(m.now().UnixMilli()), Results: []protocol.DialResult{}}
	var req protocol.DialBackRequest
	if err := protocol.Decode(data, protocol.MaxDialBackSize, &req); err != nil {
		return fmt.Errorf("reading request to dial back: %w", err)
	}
	outcomes := make([]protocol.DialOutcome, len(req.Addrs))
	if m.dialBacks.begin(node) {
		m.callBack(node, connIP(s.Conn()), req.Addrs, outcomes)
		m.dialBacks.end(node)
	} else {
		for i := range outcomes {
			outcomes[i] = protocol.DialBusy
		}
	}
	for _, o := range outcomes {
		answer.Results = append(answer.Results, protocol.DialResult{Outcome: o})
	}
	answer.Sent = max(uint64(m.now().UnixMilli()), answer.Received) // the clock may be set meanwhile
	return writeFrame(s, protocol.Encode(answer))
}

// callBack calls those addresses that the rule allows, all at once, and notes what became of each.
func (m *Mesh) callBack(node protocol.NodeID, conn netip.Addr, addrs []string, outcomes []protocol.DialOutcome) {
	ctx, cancel := context.WithTimeout(m.ctx, dialBackCall)
	defer cancel()
	var card []string
	if m.cfg.Announced != nil {
		card = m.cfg.Announced(node)
	}
	ours := isOurs(conn)
	var wg sync.WaitGroup
	calls := 0
	for i, text := range addrs {
		addr, err := parseAddr(node, text)
		if err != nil {
			outcomes[i] = protocol.DialNotAllowed
			continue
		}
		rule := &callRule{conn: conn, ours: ours, onCard: onCard(node, addr, card)}
		switch outcome := rule.judge(addr); {
		case outcome != 0:
			outcomes[i] = outcome
		case calls >= maxDialBackCalls:
			outcomes[i] = protocol.DialBusy
		default:
			calls++
			wg.Go(func() { outcomes[i] = rule.told(m.callAfresh(ctx, node, addr, rule)) })
		}
	}
	wg.Wait()
}

// onCard reports whether an address stands on a node's card. They are compared as multiaddresses: one
// may be written in several ways.
func onCard(node protocol.NodeID, addr ma.Multiaddr, card []string) bool {
	for _, text := range card {
		if a, err := parseAddr(node, text); err == nil && a.Equal(addr) {
			return true
		}
	}
	return false
}

// callRule says which addresses may be called for an asker: those of its card, and those of the machine
// that the asker's own connection comes from. A peer is not to be made to knock at doors of others, and of
// machines of its own network it does not say how they answer. A connection from this machine or a network
// inside may be that of a forwarder, behind which the asker is anywhere: then its card has to name the address too.
type callRule struct {
	conn   netip.Addr // that the asker's connection comes from; zero: not known, as by way of a relay
	ours   bool       // conn is of this machine
	onCard bool
	inside bool // it is of a private network, and not the asker's own machine
}

// judge returns why an address is not called, 0 if it may be.
func (r *callRule) judge(addr ma.Multiaddr) protocol.DialOutcome {
	if isRelayed(addr) {
		return protocol.DialRelay
	}
	ip, ok := ipOf(addr)
	switch {
	case !ok && r.onCard && isName(addr):
		return 0 // what the name means is judged when it was looked up
	case !ok || !r.allows(ip):
		return protocol.DialNotAllowed
	}
	return 0
}

// allows judges one address of the Internet protocol.
func (r *callRule) allows(ip netip.Addr) bool {
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return false
	case r.conn.IsValid() && ip == r.conn && (r.onCard || !r.forwarded()):
		return true
	case !r.onCard, ip.IsLoopback():
		return false
	case isInside(ip):
		r.inside = true
		return isInside(r.conn)
	}
	return true
}

// forwarded reports whether the asker's connection may come out of a forwarder.
func (r *callRule) forwarded() bool { return r.ours || r.conn.IsLoopback() || isInside(r.conn) }

// isOurs reports whether an address is one of this machine's.
func isOurs(ip netip.Addr) bool {
	list, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(list, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == ip
	})
}

// told is what the asker is told: of machines in a private network only whether its node answered.
func (r *callRule) told(o protocol.DialOutcome) protocol.DialOutcome {
	if r.inside && o != protocol.DialReached {
		return protocol.DialFailed
	}
	return o
}

// sharedNet is what providers number their customers from (RFC 6598).
var sharedNet = netip.MustParsePrefix("100.64.0.0/10")

func isInside(ip netip.Addr) bool { return ip.IsPrivate() || sharedNet.Contains(ip) }

func ipOf(addr ma.Multiaddr) (netip.Addr, bool) {
	ip, err := manet.ToIP(addr)
	if err != nil {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

func isName(addr ma.Multiaddr) bool {
	switch addr.Protocols()[0].Code {
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return true
	}
	return false
}

// connIP is where a connection comes from; zero if it comes by way of a relay.
func connIP(c network.Conn) netip.Addr {
	addr := c.RemoteMultiaddr()
	if addr == nil || isRelayed(addr) {
		return netip.Addr{}
	}
	ip, _ := ipOf(addr)
	return ip
}

// InterceptAddrDial implements connmgr.ConnectionGater: it is asked for every address that a name means.
func (r *callRule) InterceptAddrDial(_ peer.ID, addr ma.Multiaddr) bool {
	ip, ok := ipOf(addr)
	return ok && !isRelayed(addr) && r.allows(ip)
}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (r *callRule) InterceptPeerDial(peer.ID) bool { return true }

// InterceptAccept implements connmgr.ConnectionGater.
func (r *callRule) InterceptAccept(network.ConnMultiaddrs) bool { return false }

// InterceptSecured implements connmgr.ConnectionGater.
func (r *callRule) InterceptSecured(dir network.Direction, _ peer.ID, _ network.ConnMultiaddrs) bool {
	return dir == network.DirOutbound
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (r *callRule) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// callAfresh calls a node at one address from a host that has nothing of this node's: a key, connections, ports.
// rule may be nil: the address is this node's own.
func (m *Mesh) callAfresh(ctx context.Context, node protocol.NodeID, addr ma.Multiaddr, rule *callRule) protocol.DialOutcome {
	opts := []libp2p.Option{
		libp2p.NoListenAddrs,
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.UserAgent("entente"),
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.IPv6BlackHoleSuccessCounter(nil),
		libp2p.ResourceManager(&network.NullResourceManager{}), // it makes one connection
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.Transport(tcp.NewTCPTransport),
	}
	if rule != nil {
		opts = append(opts, libp2p.ConnectionGater(rule))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		m.log.Warn("making a host to call from failed", "err", err)
		return protocol.DialFailed
	}
	defer h.Close()
	err = h.Connect(ctx, peer.AddrInfo{ID: peerOf(node), Addrs: []ma.Multiaddr{addr}})
	if rule != nil && noRoute(err) {
		return protocol.DialBusy
	}
	return outcomeOf(ctx, err)
}

// noRoute reports whether a call failed since this machine has no route of that family, as without IPv6: that says
// nothing of the address, and the asker is told that it was not called.
func noRoute(err error) bool { return errors.Is(err, syscall.ENETUNREACH) }

// outcomeOf says in a word why a call failed. QUIC tells nothing of a port where nothing listens, so that
// is a timeout there.
func outcomeOf(ctx context.Context, err error) protocol.DialOutcome {
	var mismatch sec.ErrPeerIDMismatch
	var name *net.DNSError
	switch {
	case err == nil:
		return protocol.DialReached
	case errors.As(err, &mismatch), strings.Contains(err.Error(), "peer id mismatch"):
		return protocol.DialWrongNode
	case errors.Is(err, syscall.ECONNREFUSED):
		return protocol.DialRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.As(err, &name):
		return protocol.DialUnreachable
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err), strings.Contains(err.Error(), "no recent network activity"):
		return protocol.DialTimeout
	}
	return protocol.DialFailed
}

// DialBack is what a peer answered.
type DialBack struct {
	Outcomes []protocol.DialOutcome // of each address, in the order in which they were asked for
	Offset   time.Duration          // of the peer's clock: above 0, it is ahead of this node's
	Within   time.Duration          // Offset is right to so much: half of the time that was spent on the way
}

// ErrNoDialBack is returned where a peer does not know how to dial back.
var ErrNoDialBack = errors.New("the peer cannot dial back: it runs an older version")

// AskDialBack asks a connected peer to call addresses of this node, and compares clocks. It takes
// 10 seconds at most.
func (m *Mesh) AskDialBack(ctx context.Context, node protocol.NodeID, addrs []string) (*DialBack, error) {
	if _, ok := m.cfg.Known(node); !ok {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "node %s is not known here; nothing is asked of it", node)
	}
	ctx, cancel := context.WithTimeout(ctx, dialBackTime)
	defer cancel()
	req := &protocol.DialBackRequest{Version: 1, Addrs: append([]string{}, addrs...)}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	s, err := m.host.NewStream(network.WithNoDial(ctx, "dial back"), peerOf(node), dialBackProtocol)
	if err != nil {
		if offered, perr := m.host.Peerstore().SupportsProtocols(peerOf(node), dialBackProtocol); perr == nil && len(offered) == 0 && m.admitted(node) {
			return nil, ErrNoDialBack
		}
		return nil, fmt.Errorf("asking to dial back: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	out, err := askDialBack(s, req, m.now)
	if err != nil {
		_ = s.Reset()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("asking to dial back: %w", err)
	}
	_ = s.Close()
	return out, nil
}

// askDialBack asks, and measures as NTP does (RFC 5905, section 8): what the peer did between the two times
// that it states does not count.
func askDialBack(s io.ReadWriter, req *protocol.DialBackRequest, now func() time.Time) (*DialBack, error) {
	begun, from := now(), time.Now()
	if err := writeFrame(s, protocol.Encode(req)); err != nil {
		return nil, err
	}
	data, err := readFrame(s, protocol.MaxDialBackSize)
	if err != nil {
		return nil, err
	}
	took := time.Since(from) // monotonic: the clock may be set meanwhile
	var answer protocol.DialBackAnswer
	if err := protocol.Decode(data, protocol.MaxDialBackSize, &answer); err != nil {
		return nil, err
	}
	if len(answer.Results) != len(req.Addrs) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "answer has %d results to %d addresses", len(answer.Results), len(req.Addrs))
	}
	out := measure(begun, took, answer.Received, answer.Sent)
	for _, r := range answer.Results {
		out.Outcomes = append(out.Outcomes, r.Outcome)
	}
	return out, nil
}

// maxOffset is more than clocks differ by, in milliseconds: a hundred years. A Duration holds 292.
const maxOffset = 100 * 365 * 24 * 3600 * 1000

// measure finds how far the peer's clock is ahead.
func measure(begun time.Time, took time.Duration, received, sent uint64) *DialBack {
	there := min(time.Duration(min(sent-received, maxOffset))*time.Millisecond, took)
	way := (took - there) / 2
	ahead := int64(min(received, 1<<62)) - begun.Add(way).UnixMilli()
	return &DialBack{Offset: time.Duration(min(max(ahead, -maxOffset), maxOffset)) * time.Millisecond, Within: way + time.Millisecond}
}

// CallSelf calls addresses of this node from a host of its own, and so says whether what the node listens
// on is answered. It calls MaxAddrs of them at most.
func (m *Mesh) CallSelf(ctx context.Context, addrs []string) []protocol.DialOutcome {
	ctx, cancel := context.WithTimeout(ctx, dialBackCall)
	defer cancel()
	addrs = addrs[:min(len(addrs), protocol.MaxAddrs)]
	out := make([]protocol.DialOutcome, len(addrs))
	var wg sync.WaitGroup
	for i, text := range addrs {
		addr, err := parseAddr(m.self, text)
		if err != nil {
			out[i] = protocol.DialFailed
			continue
		}
		wg.Go(func() { out[i] = m.callAfresh(ctx, m.self, addr, nil) })
	}
	wg.Wait()
	return out
}

// Listening returns the addresses that the host listens on, as it was told to: with the port, where any
// was to do, and with 0.0.0.0 where all interfaces were meant.
func (m *Mesh) Listening() []string {
	var out []string
	for _, a := range m.host.Network().ListenAddresses() {
		out = append(out, a.String())
	}
	return out
}
