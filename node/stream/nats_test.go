package stream

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// natsServer runs a real server with JetStream on disk. An address of before is taken again.
func natsServer(t *testing.T, dir string, port int, change func(*natsserver.Options)) *natsserver.Server {
	t.Helper()
	o := &natsserver.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true, SyncAlways: true}
	if change != nil {
		change(o)
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not come up")
	}
	return s
}

// TestNATS delivers to a real server: what the reader may export, each change once in the stream although
// it was delivered again, through a restart of the server, erasures too.
func TestNATS(t *testing.T) {
	dir := t.TempDir()
	srv := natsServer(t, dir, natsserver.RANDOM_PORT, nil)
	addr := srv.ClientURL()
	n := testNode(t)
	loadRules(t, n, noAmber, people)
	publish(t, n, protocol.TLPGreen, "198.51.100.1")
	publish(t, n, protocol.TLPAmber, "198.51.100.2")
	set(t, n, node.Sink{Name: "bus", Kind: node.SinkNATS, URL: addr, Plain: true, Private: true, Stream: "ENTENTE", Format: node.SinkSTIX})
	start(t, n)
	at := func(cursor uint64) {
		t.Helper()
		until(t, "the place is stored", func() bool { p := progress(t, n, "bus"); return p.Cursor == cursor && p.Failing.IsZero() })
	}
	at(2)
	if err := n.ReplaySink(t.Context(), "bus", 0); err != nil { // the stream knows it again
		t.Fatal(err)
	}
	at(2)
	port := srv.Addr().(*net.TCPAddr).Port
	srv.Shutdown()
	srv.WaitForShutdown()
	green := publish(t, n, protocol.TLPGreen, "198.51.100.3")
	until(t, "it fails", func() bool { return !progress(t, n, "bus").Failing.IsZero() })
	srv = natsServer(t, dir, port, nil)
	at(3)
	erase(t, n, green...)
	at(4)

	conn, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.OrderedConsumer(t.Context(), "ENTENTE", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.Stream(t.Context(), "ENTENTE")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range info.CachedInfo().State.Msgs {
		m, err := c.Next(jetstream.FetchMaxWait(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		value := ""
		if len(m.Data()) > 0 {
			var o struct {
				Type, Pattern string
				Refs          []string `json:"object_marking_refs"`
			}
			if err := json.Unmarshal(m.Data(), &o); err != nil || len(o.Refs) != 1 {
				t.Errorf("%s: %v", m.Data(), err)
			}
			value = o.Pattern
		}
		if m.Headers().Get("Entente-Record") == "" || m.Headers().Get("Entente-At") == "" || m.Headers().Get("Nats-Msg-Id") == "" {
			t.Errorf("headers %v", m.Headers())
		}
		got = append(got, strings.TrimSpace(strings.Join([]string{m.Subject(), m.Headers().Get("Entente-Cursor"), m.Headers().Get("Entente-Change"), value}, " ")))
	}
	want := "entente.c2.indicator 1 added [ipv4-addr:value = '198.51.100.1']; entente.c2.indicator 3 added [ipv4-addr:value = '198.51.100.3']; entente.erased 4 erased"
	if strings.Join(got, "; ") != want {
		t.Errorf("in the stream is\n%s, not\n%s", strings.Join(got, "; "), want)
	}
}

// TestNATSInOrder: of a batch that breaks off, what was acknowledged counts, and the rest follows.
func TestNATSInOrder(t *testing.T) {
	srv := natsServer(t, t.TempDir(), natsserver.RANDOM_PORT, func(o *natsserver.Options) { o.MaxPayload = 1024 })
	s := node.Sink{Name: "bus", Kind: node.SinkNATS, URL: srv.ClientURL(), Plain: true, Private: true, Stream: "S"}
	if err := Prepare(&s); err != nil {
		t.Fatal(err)
	}
	to, err := newSender(&s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	m := func(id string, size int) message {
		return message{id: id, kind: node.ChangeAdded, topic: "a.b >*", typ: "x", body: make([]byte, size)}
	}
	if acked, err := to.send(t.Context(), []message{m("1", 1), m("2", 1), m("3", 2000), m("4", 1)}); acked != 2 || err == nil || !strings.Contains(err.Error(), "entente.a_b___.x") {
		t.Errorf("%d acknowledged, %v", acked, err)
	}
	if acked, err := to.send(t.Context(), []message{m("3", 3), m("4", 1)}); acked != 2 || err != nil {
		t.Errorf("%d acknowledged, %v", acked, err)
	}
	s.Stream = ""
	s.Subject = "other"
	if to, err = newSender(&s, nil); err != nil {
		t.Fatal(err)
	}
	defer to.close()
	if _, err := to.send(t.Context(), []message{m("1", 1)}); err == nil || !strings.Contains(err.Error(), "no stream takes other.a_b___.x") {
		t.Errorf("where no stream is: %v", err)
	}
}

// TestNATSSecurely: TLS is verified, and credentials are what they should be.
func TestNATSSecurely(t *testing.T) {
	cert, roots := testCertificate(t)
	srv := natsServer(t, t.TempDir(), natsserver.RANDOM_PORT, func(o *natsserver.Options) {
		o.TLSConfig, o.TLSTimeout = &tls.Config{Certificates: []tls.Certificate{cert}}, 10
		o.Username, o.Password = "entente", "s3cret"
	})
	url := strings.Replace(srv.ClientURL(), "nats://", "tls://", 1)
	m := []message{{id: "1", kind: node.ChangeAdded, topic: "c2", typ: "x", body: []byte("x")}}
	for _, c := range []struct {
		secret string
		roots  []byte
		says   string
	}{
		{"entente:s3cret\n", roots, ""},
		{"entente:wrong", roots, "Authorization"},
		{"token", roots, "Authorization"},
		{"", roots, "Authorization"},
		{"entente:s3cret", nil, "certificate"},
	} {
		s := node.Sink{Name: "bus", Kind: node.SinkNATS, URL: url, Private: true, Stream: "S", Roots: c.roots, Secret: node.NewSinkSecret([]byte(c.secret))}
		if err := Prepare(&s); err != nil {
			t.Fatal(err)
		}
		to, err := newSender(&s, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = to.send(t.Context(), m)
		to.close()
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || c.secret != "" && strings.Contains(err.Error(), c.secret)) {
			t.Errorf("%q: %v", c.secret, err)
		}
	}
	plain := natsServer(t, t.TempDir(), natsserver.RANDOM_PORT, nil)
	s := node.Sink{Name: "bus", Kind: node.SinkNATS, URL: strings.Replace(plain.ClientURL(), "nats://", "tls://", 1), Private: true, Subject: "x"}
	to, err := newSender(&s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	if _, err := to.send(t.Context(), m); err == nil {
		t.Error("a server without TLS was taken for one with it")
	}
	if _, err := natsAuth([]byte("-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n")); err == nil {
		t.Error("credentials without a seed were taken")
	}
	if _, err := natsAuth([]byte("a\nb")); err == nil {
		t.Error("two lines were taken for a token")
	}
}
