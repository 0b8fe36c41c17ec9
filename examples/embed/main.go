// Embed runs two nodes inside one program, as a vendor would run one inside its own
// service: they agree, one publishes, the other receives. See README.md beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "embed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	vendor, stopVendor, err := start(ctx, dir, "Example Vendor", "vendor")
	if err != nil {
		return err
	}
	cert, stopCERT, err := start(ctx, dir, "Example CERT", "cert")
	if err != nil {
		return err
	}
	defer func() { stop(); err = errors.Join(err, stopVendor(), stopCERT()) }()

	if err := connect(ctx, vendor, cert); err != nil {
		return err
	}
	in, err := intake.Read("list", strings.NewReader("198.51.100.7:443\nc2.example.net\n"), intake.Options{})
	if err != nil {
		return err
	}
	receipt, err := vendor.Publish(ctx, node.PublishRequest{Topic: "c2", Items: in.Items, Flags: policy.Flags{TLP: protocol.TLPAmber}})
	if err != nil {
		return err
	}
	fmt.Println("published", len(receipt.Records), "records; all are durable")

	var cursor uint64 // keep it, and go on from there after a restart
	for cursor < 2 {
		changed := cert.Changed()
		records, err := cert.Records(cursor, 100)
		if err != nil {
			return err
		}
		for _, r := range records {
			fmt.Println("received", r.StixID, "from", r.Originator.Name, "TLP:"+r.Handling.TLP)
			cursor = r.Cursor
		}
		if len(records) == 0 {
			if err := wait(ctx, changed); err != nil {
				return err
			}
		}
	}
	return nil
}

// start founds an organisation and runs its node until ctx ends.
func start(ctx context.Context, dir, name string, kind protocol.OrgKind) (*node.Node, func() error, error) {
	home := filepath.Join(dir, string(kind))
	ident, err := node.Init(node.InitRequest{Dir: home, RootFile: home + "-root-key.txt", Name: name, Kind: kind})
	if err != nil {
		return nil, nil, err
	}
	n, err := node.Open(node.Config{Dir: home, Keys: ident.Keys, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}})
	if err != nil {
		return nil, nil, err
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, nil) }()
	return n, func() error { return errors.Join(<-done, n.Close()) }, nil
}

// connect does once what an operator does with the command: network, trust, agreement, topic.
func connect(ctx context.Context, a, b *node.Node) error {
	if _, err := a.CreateNetwork("embedded"); err != nil {
		return err
	}
	for len(a.OwnCard().Nodes[0].Addrs) == 0 { // on the card as soon as the node listens
		if err := wait(ctx, a.Changed()); err != nil {
			return err
		}
	}
	inv, err := a.Invite(&b.OwnCard().Signed, time.Hour)
	if err == nil {
		_, err = b.Join(inv)
	}
	// In life the words come by phone, from a person.
	words := func(n *node.Node) string { return strings.Join(crypto.Words(n.Org()), " ") }
	if err == nil {
		_, err = a.Trust(&b.OwnCard().Signed, words(b))
	}
	if err == nil {
		_, err = b.Trust(&a.OwnCard().Signed, words(a))
	}
	if err == nil {
		err = errors.Join(a.JoinTopic("c2"), b.JoinTopic("c2"))
	}
	if err != nil {
		return err
	}
	now := uint64(time.Now().UnixMilli())
	draft := protocol.Agreement{Title: "Vendor and CERT", Parties: []protocol.OrgID{a.Org(), b.Org()}, NotBefore: now, NotAfter: now + 86400_000,
		Terms: []protocol.Term{{From: a.Org(), To: b.Org(), Topics: []string{"c2"}, Kinds: []string{protocol.Any}, TLP: protocol.TLPAmber,
			Countries: []string{protocol.Worldwide}, Personal: protocol.PersonalAll}}}
	slices.SortFunc(draft.Parties, protocol.OrgID.Compare)
	id, err := a.Propose(draft)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		n    *node.Node
		want node.AgreementState
	}{{b, node.AgreementIncoming}, {a, node.AgreementInForce}} {
		for {
			changed := step.n.Changed()
			if got, err := step.n.Agreement(id); err == nil && got.State == step.want {
				break
			}
			if err := wait(ctx, changed); err != nil {
				return err
			}
		}
		if step.n == b {
			if err := b.Countersign(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	}
}
