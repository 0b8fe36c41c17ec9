package protocoltest

import (
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// DialBackRequest asks for two addresses to be called.
func DialBackRequest() *protocol.DialBackRequest {
	return &protocol.DialBackRequest{Version: 1, Addrs: []string{"/ip4/198.51.100.7/udp/4401/quic-v1", "/dns4/node.example.org/tcp/4401"}}
}

// DialBackAnswer answers it: one was reached, one was not.
func DialBackAnswer() *protocol.DialBackAnswer {
	return &protocol.DialBackAnswer{Version: 1, Received: Now, Sent: Now + 1200,
		Results: []protocol.DialResult{{Outcome: protocol.DialReached}, {Outcome: protocol.DialTimeout}}}
}

func dialBackSamples() map[string][]byte {
	return map[string][]byte{"dial-back": protocol.Encode(DialBackRequest()), "dial-back-answer": protocol.Encode(DialBackAnswer())}
}

// addDialBack adds what is refused of requests to dial back and of their answers.
func addDialBack(out map[string][]Vector) {
	request := func(name, comment, class string, change func(*protocol.DialBackRequest)) {
		r := DialBackRequest()
		change(r)
		expect(out, "dial-back", name, comment, class, protocol.Encode(r))
	}
	request("unknown version", "A version that nobody knows.", "malformed", func(r *protocol.DialBackRequest) { r.Version = 2 })
	request("too many addresses", "One more than MaxAddrs.", "oversize", func(r *protocol.DialBackRequest) {
		r.Addrs = nil
		for range protocol.MaxAddrs + 1 {
			r.Addrs = append(r.Addrs, "/ip4/198.51.100.7/tcp/1")
		}
	})
	request("empty address", "It names nothing.", "malformed", func(r *protocol.DialBackRequest) { r.Addrs[0] = "" })
	request("long address", "One byte more than MaxAddrSize.", "oversize", func(r *protocol.DialBackRequest) { r.Addrs[0] = strings.Repeat("x", protocol.MaxAddrSize+1) })
	request("control characters", "In an address.", "malformed", func(r *protocol.DialBackRequest) { r.Addrs[0] = "/ip4/\x1b" })

	answer := func(name, comment, class string, change func(*protocol.DialBackAnswer)) {
		a := DialBackAnswer()
		change(a)
		expect(out, "dial-back-answer", name, comment, class, protocol.Encode(a))
	}
	answer("unknown version", "A version that nobody knows.", "malformed", func(a *protocol.DialBackAnswer) { a.Version = 2 })
	answer("sent before it was received", "A clock that runs backwards measures nothing.", "malformed", func(a *protocol.DialBackAnswer) { a.Sent = a.Received - 1 })
	answer("too many results", "One more than MaxAddrs.", "oversize", func(a *protocol.DialBackAnswer) {
		a.Results = make([]protocol.DialResult, protocol.MaxAddrs+1)
		for i := range a.Results {
			a.Results[i].Outcome = protocol.DialReached
		}
	})
	answer("no outcome", "0 says nothing.", "malformed", func(a *protocol.DialBackAnswer) { a.Results[0].Outcome = 0 })
	answer("unknown outcome", "One more than there are.", "malformed", func(a *protocol.DialBackAnswer) { a.Results[0].Outcome = protocol.DialBusy + 1 })
}
