package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

const (
	noAmber = "@id(\"no-amber\") forbid (principal in Role::\"analyst\", action == Action::\"export\", resource) when { resource.tlp == \"amber\" };\n"
	people  = `[{"uid": {"type": "Person", "id": "ann"}, "attrs": {"name": "Ann"}, "parents": [{"type": "Role", "id": "analyst"}]},
		{"uid": {"type": "Person", "id": "bob"}, "attrs": {"name": "Bob"}, "parents": []}]`
	nobody = `[{"uid": {"type": "Person", "id": "bob"}, "attrs": {"name": "Bob"}, "parents": []}]`
)

func testNode(t testing.TB) *node.Node {
	t.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	return n
}

func loadRules(t testing.TB, n *node.Node, text, people string) {
	t.Helper()
	if _, err := n.LoadRules(rules.Source{File: "own.cedar", Text: []byte(text), PeopleFile: "people.json", People: []byte(people)}); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, n *node.Node, tlp protocol.TLP, values ...string) []protocol.RecordID {
	t.Helper()
	in, err := intake.Read("list", strings.NewReader(strings.Join(values, "\n")+"\n"), intake.Options{})
	if err != nil || len(in.Problems) > 0 {
		t.Fatal(err, in.Problems)
	}
	rec, err := n.Publish(context.Background(), node.PublishRequest{Topic: "c2", Items: in.Items, Flags: policy.Flags{TLP: tlp, Personal: protocol.PersonalNone}})
	if err != nil {
		t.Fatal(err)
	}
	return rec.Records
}

func erase(t testing.TB, n *node.Node, ids ...protocol.RecordID) {
	t.Helper()
	if _, err := n.Erase(context.Background(), node.EraseRequest{Records: ids, Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
}

// set adds a sink without calling anybody.
func set(t testing.TB, n *node.Node, s node.Sink) *node.SinkInfo {
	t.Helper()
	if s.Reader == "" {
		s.Reader = "ann"
	}
	if _, err := Complete(n, &s, nil, false); err != nil {
		t.Fatal(err)
	}
	info, err := n.SetSink(t.Context(), s, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func progress(t testing.TB, n *node.Node, name string) node.SinkProgress {
	t.Helper()
	info, err := n.Sink(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.SinkProgress
}

// start runs the sinks of a node; the function that it returns ends that, as a shutdown does.
func start(t testing.TB, n *node.Node) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, n, nil) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// receive takes from a channel what is to come; the deadline is for tests that hang.
func receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("%s never came", what)
		panic("unreachable")
	}
}

// until waits until something is so.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// testCertificate makes one for 127.0.0.1, and the PEM by which it is verified.
func testCertificate(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "receiver"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
