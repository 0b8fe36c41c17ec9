package stream

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// TestSignature compares with what the standard's own library signs (its TestWebhookSign).
func TestSignature(t *testing.T) {
	keys, err := parseSecrets([]byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"))
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"test": 2432232314}`)
	want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), body); got != want {
		t.Errorf("signed %s, not %s", got, want)
	}
	other, err := parseSecrets([]byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw " + string(NewSecret())))
	if err != nil {
		t.Fatal(err)
	}
	if got := signature(other, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), body); !strings.HasPrefix(got, want+" v1,") {
		t.Errorf("with two secrets signed %s", got)
	}
	short := base64.StdEncoding.EncodeToString(make([]byte, minSecret-1))
	long := base64.StdEncoding.EncodeToString(make([]byte, maxSecret+1))
	good := string(NewSecret())
	for _, text := range []string{"", "whsec_" + short, "whsec_" + long, strings.TrimPrefix(good, "whsec_"), "whsec_!", good + " " + good + " " + good} {
		if _, err := parseSecrets([]byte(text)); err == nil {
			t.Errorf("took %q", text)
		}
	}
}

// hook is a receiver of webhooks that verifies them as the standard says.
type hook struct {
	*httptest.Server
	roots  []byte
	answer chan func(w http.ResponseWriter, r *http.Request) bool // false: it refused; nil: it takes it
	got    chan delivered
}

type delivered struct {
	id      string
	payload struct {
		Type string
		Data struct {
			Sink    string
			Changes []node.Change
		}
	}
	raw []byte
}

func newHook(t *testing.T, secret []byte) *hook {
	cert, roots := testCertificate(t)
	h := &hook{roots: roots, answer: make(chan func(http.ResponseWriter, *http.Request) bool, 100), got: make(chan delivered, 1000)}
	keys, err := parseSecrets(secret)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var d delivered
		d.id = r.Header.Get("webhook-id")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		at, err := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
		if err != nil || r.Method != "POST" || r.Header.Get("webhook-signature") != signature(keys, d.id, time.Unix(at, 0), body) || strings.Contains(d.id, ".") {
			t.Errorf("not signed: %v", r.Header)
		}
		d.raw = body
		if err := json.Unmarshal(body, &d.payload); err != nil || d.payload.Type != "entente.changes" {
			t.Errorf("%s: %v", body, err)
		}
		select {
		case fn := <-h.answer:
			if !fn(w, r) {
				return
			}
		default:
		}
		h.got <- d
	}))
	h.Server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	h.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	t.Cleanup(h.Close)
	return h
}

func (h *hook) sink(name string, secret []byte) node.Sink {
	return node.Sink{Name: name, Kind: node.SinkWebhook, URL: h.URL + "/in?token=abc", Private: true, Roots: h.roots, Secret: node.NewSinkSecret(secret)}
}

func refuse(status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return false
	}
}

func say(d delivered) string {
	var out []string
	for _, c := range d.payload.Data.Changes {
		text := fmt.Sprintf("%d %s", c.Cursor, c.Kind)
		if c.Record != nil {
			text += " " + c.Record.Handling.TLP
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// TestWebhook delivers over real TLS: what the reader may export and nothing else, once more after a
// failure under the same id, erasures, what came while nothing ran, and what a person replays.
func TestWebhook(t *testing.T) {
	n := testNode(t)
	loadRules(t, n, noAmber, people)
	secret := NewSecret()
	h := newHook(t, secret)
	green := publish(t, n, protocol.TLPGreen, "198.51.100.1")
	amber := publish(t, n, protocol.TLPAmber, "198.51.100.2")
	h.answer <- refuse(500)
	set(t, n, h.sink("siem", secret))
	stop := start(t, n)
	first := receive(t, h.got, "the first batch")
	if got := say(first); got != "1 added green" {
		t.Errorf("delivered %s", got)
	}
	until(t, "the place is stored", func() bool {
		p := progress(t, n, "siem")
		return p.Cursor == 2 && p.Behind.IsZero() && p.Failing.IsZero()
	})
	erase(t, n, amber...)
	erase(t, n, green...)
	if got := say(receive(t, h.got, "the erasure")); got != "4 erased" {
		t.Errorf("delivered %s", got)
	}
	until(t, "the place is stored", func() bool { return progress(t, n, "siem").Cursor == 4 })
	stop()
	publish(t, n, protocol.TLPGreen, "198.51.100.3")
	stop = start(t, n)
	if got := say(receive(t, h.got, "what came meanwhile")); got != "5 added green" {
		t.Errorf("delivered %s", got)
	}
	until(t, "the place is stored", func() bool { return progress(t, n, "siem").Cursor == 5 })
	if err := n.ReplaySink(t.Context(), "siem", 0); err != nil {
		t.Fatal(err)
	}
	again := receive(t, h.got, "the replay")
	if got := say(again); got != "4 erased, 5 added green" {
		t.Errorf("replayed %s", got)
	}
	if again.id == first.id || strings.Contains(string(again.raw), "amber") {
		t.Errorf("replayed as %s: %s", again.id, again.raw)
	}
	until(t, "the place is stored", func() bool { return progress(t, n, "siem").Cursor == 5 })
	stop()
	if p := progress(t, n, "siem"); p.Delivered != 5 || p.Last.IsZero() {
		t.Errorf("%+v", p)
	}
	outs, err := n.Handouts()
	if err != nil || len(outs) == 0 || outs[0].Kind != "sink" || strings.Contains(outs[0].Detail, "abc") {
		t.Errorf("hand-outs %+v, %v", outs, err)
	}
}

// TestSameBatchAgain: what is tried again has the id that it had, although more came meanwhile, and is read
// anew: what was erased meanwhile is not sent.
func TestSameBatchAgain(t *testing.T) {
	n := testNode(t)
	secret := NewSecret()
	h := newHook(t, secret)
	ids := publish(t, n, protocol.TLPGreen, "198.51.100.1", "198.51.100.2")
	var tried []string
	note := func(w http.ResponseWriter, r *http.Request) bool {
		tried = append(tried, r.Header.Get("webhook-id"))
		w.WriteHeader(503)
		return false
	}
	more := make(chan struct{})
	h.answer <- func(w http.ResponseWriter, r *http.Request) bool { defer close(more); return note(w, r) }
	set(t, n, h.sink("siem", secret))
	start(t, n)
	receive(t, more, "the first attempt")
	publish(t, n, protocol.TLPGreen, "198.51.100.3")
	d := receive(t, h.got, "the second attempt")
	if got := say(d); got != "1 added green, 2 added green" || len(tried) != 1 || d.id != tried[0] {
		t.Errorf("tried %v, and then delivered %s as %s", tried, got, d.id)
	}
	if got := say(receive(t, h.got, "the third record")); got != "3 added green" {
		t.Errorf("delivered %s", got)
	}
	h.answer <- func(w http.ResponseWriter, r *http.Request) bool { erase(t, n, ids[0]); return note(w, r) }
	if err := n.ReplaySink(t.Context(), "siem", 0); err != nil {
		t.Fatal(err)
	}
	if got := say(receive(t, h.got, "what is left")); got != "2 added green, 3 added green" {
		t.Errorf("delivered %s", got)
	}
	if got := say(receive(t, h.got, "the erasure")); got != "4 erased" {
		t.Errorf("delivered %s", got)
	}
}

// TestWebhookAnswers: what a receiver may answer, and what becomes of it.
func TestWebhookAnswers(t *testing.T) {
	secret := NewSecret()
	elsewhere := make(chan struct{}, 10)
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere <- struct{}{} }))
	defer target.Close()
	h := newHook(t, secret)
	s := h.sink("siem", secret)
	w, err := newWebhook(&s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	m := message{cursor: 1, id: "a", body: []byte(`{"cursor":1}`)}
	for _, c := range []struct {
		answer func(http.ResponseWriter, *http.Request) bool
		says   string
		gone   bool
		later  time.Duration
	}{
		{answer: refuse(204)},
		{answer: refuse(202)},
		{answer: refuse(400), says: "400 Bad Request"},
		{answer: refuse(410), says: "410 Gone", gone: true},
		{answer: refuse(308, "Location", target.URL), says: "not followed"},
		{answer: refuse(302, "Location", target.URL), says: "not followed"},
		{answer: refuse(429, "Retry-After", "120"), says: "429", later: 2 * time.Minute},
		{answer: refuse(503, "Retry-After", "soon"), says: "503"},
		{answer: func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, says: "EOF"},
	} {
		h.answer <- c.answer
		acked, err := w.send(t.Context(), []message{m})
		var later *Later
		switch {
		case (err == nil) != (c.says == "") || (acked == 1) != (c.says == ""):
			t.Errorf("%q: %d, %v", c.says, acked, err)
		case err == nil:
		case !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrGone) != c.gone || strings.Contains(err.Error(), "abc"):
			t.Errorf("%q: %v", c.says, err)
		case errors.As(err, &later) != (c.later > 0) || later != nil && later.After != c.later:
			t.Errorf("%q: %+v", c.says, later)
		}
	}
	if len(elsewhere) != 0 {
		t.Error("a redirection was followed")
	}
	w.client.Timeout = 50 * time.Millisecond
	held := make(chan struct{})
	h.answer <- func(_ http.ResponseWriter, r *http.Request) bool { <-held; return false }
	if acked, err := w.send(t.Context(), []message{m}); err == nil || acked != 0 {
		t.Errorf("a receiver that does not answer: %d, %v", acked, err)
	}
	close(held)
	s.Roots = nil
	if w, err = newWebhook(&s, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.send(t.Context(), []message{m}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody known: %v", err)
	}
}

// TestWebhookParts: what is too much for one request comes in several, and what was acknowledged of them
// counts.
func TestWebhookParts(t *testing.T) {
	secret := NewSecret()
	h := newHook(t, secret)
	s := h.sink("siem", secret)
	w, err := newWebhook(&s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	list := make([]message, 5)
	for i := range list {
		list[i] = message{id: strconv.Itoa(i), body: []byte(`{"cursor":` + strconv.Itoa(i+1) + strings.Repeat(" ", maxPost*2/5) + `}`)}
	}
	h.answer <- func(http.ResponseWriter, *http.Request) bool { return true }
	h.answer <- refuse(500)
	if acked, err := w.send(t.Context(), list); acked != 2 || err == nil {
		t.Errorf("%d acknowledged, %v", acked, err)
	}
	if acked, err := w.send(t.Context(), list[2:]); acked != 3 || err != nil {
		t.Errorf("%d acknowledged, %v", acked, err)
	}
	for _, want := range []string{"1 , 2 ", "3 , 4 ", "5 "} {
		if got := say(receive(t, h.got, "a part")); got != want {
			t.Errorf("got %q, not %q", got, want)
		}
	}
}

// TestWebhookTooLarge: no request is larger than what a receiver takes by default, with what is around the
// changes; one that takes less gets smaller ones, down to one change, and of one that is too large alone the
// error says which record it is.
func TestWebhookTooLarge(t *testing.T) {
	secret := NewSecret()
	h := newHook(t, secret)
	s := h.sink("siem", secret)
	w, err := newWebhook(&s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	list := make([]message, 900)
	for i := range list {
		list[i] = message{id: strconv.Itoa(i), cursor: uint64(i + 1), kind: node.ChangeAdded, record: "rec:" + strconv.Itoa(i), at: time.Unix(1, 123456789), body: []byte(`{"cursor":` + strconv.Itoa(i+1) + `,"x":"` + strings.Repeat("x", 1000) + `"}`)}
	}
	// takes sends them to a receiver that takes so many bytes, and tells what it took and refused.
	takes := func(most int, list []message) (acked, took, refused, largest int, err error) {
		t.Helper()
		for range 100 {
			h.answer <- func(w http.ResponseWriter, r *http.Request) bool {
				if r.ContentLength > int64(most) {
					refused++
					w.WriteHeader(http.StatusRequestEntityTooLarge)
					return false
				}
				took, largest = took+1, max(largest, int(r.ContentLength))
				return true
			}
		}
		acked, err = w.send(t.Context(), list)
		for len(h.answer) > 0 {
			<-h.answer
		}
		for len(h.got) > 0 {
			<-h.got
		}
		return acked, took, refused, largest, err
	}
	if acked, took, refused, largest, err := takes(maxPost, list); acked != 900 || took != 2 || refused != 0 || largest < maxPost-2048 || err != nil {
		t.Errorf("all: %d acknowledged, %d requests, %d refused, the largest %d, %v", acked, took, refused, largest, err)
	}
	if acked, _, refused, largest, err := takes(100_000, list); acked != 900 || refused != 3 || largest > 100_000 || err != nil {
		t.Errorf("small ones: %d acknowledged, %d refused, the largest %d, %v", acked, refused, largest, err)
	}
	if acked, _, refused, _, err := takes(100_000, list); acked != 900 || refused != 0 || err != nil {
		t.Errorf("it is not remembered: %d acknowledged, %d refused, %v", acked, refused, err)
	}
	list[3].body = []byte(`{"x":"` + strings.Repeat("x", 200_000) + `"}`)
	acked, _, _, _, err := takes(100_000, list[:6])
	if acked != 3 || err == nil || !strings.Contains(err.Error(), "413") || !strings.Contains(err.Error(), "record rec:3 alone makes 200") || !strings.Contains(err.Error(), "cursor 4") {
		t.Errorf("one that is too large alone: %d acknowledged, %v", acked, err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-7": 0, "x": 0, "99999999999": 0, "Thu, 01 Jan 2026 00:01:00 GMT": time.Minute} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, not %v", text, got, want)
		}
	}
}

// TestGuard: which addresses a sink may call.
func TestGuard(t *testing.T) {
	for addr, want := range map[string][2]bool{ // by itself, with --allow-private
		"8.8.8.8": {true, true}, "2606:4700::1111": {true, true},
		"127.0.0.1": {false, true}, "127.1.2.3": {false, true}, "::1": {false, true}, "::ffff:127.0.0.1": {false, true},
		"10.1.2.3": {false, true}, "172.16.0.1": {false, true}, "192.168.1.1": {false, true}, "fd00::1": {false, true}, "::ffff:10.0.0.1": {false, true},
		"169.254.169.254": {false, true}, "fe80::1": {false, true}, "fe80::1%eth0": {false, true},
		"0.0.0.0": {}, "::": {}, "0.1.2.3": {}, "100.64.0.1": {}, "192.0.0.8": {}, "192.0.2.1": {}, "198.18.0.1": {}, "240.0.0.1": {}, "255.255.255.255": {}, "224.0.0.1": {}, "ff02::1": {},
		"64:ff9b::7f00:1": {}, "64:ff9b:1::1": {}, "2002:7f00:1::1": {}, "2001::1": {}, "2001:db8::1": {}, "::7f00:1": {}, "fec0::1": {}, "100::1": {},
	} {
		a := netip.MustParseAddr(addr)
		if got := [2]bool{checkAddr(a, false) == nil, checkAddr(a, true) == nil}; got != want {
			t.Errorf("%s: %v, not %v", addr, got, want)
		}
	}
}

// TestGuardDials: it is the address that is connected to that is judged, of every kind of sink.
func TestGuardDials(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	called := make(chan struct{}, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			called <- struct{}{}
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, s := range []node.Sink{
		{Kind: node.SinkWebhook, URL: "https://127.0.0.1:" + port}, {Kind: node.SinkWebhook, URL: "https://localhost:" + port},
		{Kind: node.SinkWebhook, URL: "http://[::ffff:127.0.0.1]:" + port, Plain: true},
		{Kind: node.SinkNATS, URL: "tls://127.0.0.1:" + port}, {Kind: node.SinkNATS, URL: "tls://localhost:" + port},
		{Kind: node.SinkSyslog, URL: "tls://127.0.0.1:" + port}, {Kind: node.SinkSyslog, URL: "tcp://localhost:" + port, Plain: true},
	} {
		if s.Kind == node.SinkWebhook {
			s.Secret = node.NewSinkSecret(NewSecret())
		}
		if err := Prepare(&s); err != nil {
			t.Errorf("%s: %v", s.URL, err)
			continue
		}
		to, err := newSender(&s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.send(t.Context(), []message{{id: "a", kind: KindTest, body: []byte("{}")}}); err == nil || !strings.Contains(err.Error(), "--allow-private") {
			t.Errorf("%s: %v", s.URL, err)
		}
		to.close()
	}
	if len(called) != 0 {
		t.Error("a loopback address was called")
	}
	if _, err := dialer(true).DialContext(context.Background(), "udp", "127.0.0.1:53"); err == nil {
		t.Error("dialled UDP")
	}
}
