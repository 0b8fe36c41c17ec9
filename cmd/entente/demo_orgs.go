package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
)

// demoOrg is one organisation of the demo with its node.
type demoOrg struct {
	name    string
	short   string
	kind    protocol.OrgKind
	country string
	dir     string
	node    *node.Node
	done    chan error // of Run and Serve
	running int
}

func (o *demoOrg) close() error {
	var err error
	for ; o.running > 0; o.running-- {
		err = errors.Join(err, <-o.done)
	}
	if o.node != nil {
		err = errors.Join(err, o.node.Close())
	}
	return err
}

// The places of the organisations in demo.orgs.
const (
	demoVendor = iota
	demoPolice
	demoTH
	demoVN
	demoRelay
)

func demoCast() []*demoOrg {
	return []*demoOrg{
		{name: "Example Security (vendor)", short: "vendor", kind: "vendor", country: "DE"},
		{name: "International Police", short: "police", kind: "police"},
		{name: "Police Unit TH", short: "th", kind: "police", country: "TH"},
		{name: "Police Unit VN", short: "vn", kind: "police", country: "VN"},
		{name: "Example Relay", short: "relay", kind: "relay", country: "SG"},
	}
}

// found makes every organisation in a directory of its own, and opens its node.
func (d *demo) found(context.Context) error {
	log := slog.New(slog.DiscardHandler)
	if d.verbose {
		log = slog.New(slog.NewTextHandler(d.app.err, nil))
	}
	for _, o := range demoCast() {
		o.dir, o.done = filepath.Join(d.dir, o.short), make(chan error, 2)
		ident, err := node.Init(node.InitRequest{Dir: o.dir, RootFile: filepath.Join(d.dir, o.short+"-root-key.txt"), Name: o.name, Kind: o.kind, Country: o.country})
		if err != nil {
			return err
		}
		o.node, err = node.Open(node.Config{Dir: o.dir, Keys: ident.Keys, Log: log.With("org", o.short), SyncEvery: 5 * time.Second,
			Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}})
		if err != nil {
			return err
		}
		d.orgs = append(d.orgs, o)
	}
	d.say("founded %d organisations, each with its own keys and data directory", len(d.orgs))
	return nil
}

// up runs an organisation's node, and its API for --keep.
func (d *demo) up(ctx context.Context, o *demoOrg) error {
	l, err := api.Listen(o.dir)
	if err != nil {
		return err
	}
	listening := make(chan struct{})
	o.running = 2
	go func() { o.done <- api.New(o.node).Serve(ctx, l) }()
	go func() { o.done <- o.node.Run(ctx, func([]string) { close(listening) }) }()
	select {
	case <-listening:
		return nil
	case err := <-o.done:
		o.running--
		return errors.Join(fmt.Errorf("the node of %s did not come up", o.name), err)
	}
}

// connect founds the network, invites everybody, and brings the nodes up.
func (d *demo) connect(ctx context.Context) error {
	founder := d.orgs[demoPolice].node
	if _, err := founder.CreateNetwork("demo"); err != nil {
		return err
	}
	if err := d.up(ctx, d.orgs[demoPolice]); err != nil {
		return err
	}
	for _, o := range d.orgs {
		if o.node == founder {
			continue
		}
		inv, err := founder.Invite(&o.node.OwnCard().Signed, time.Hour)
		if err != nil {
			return err
		}
		if _, err := o.node.Join(inv); err != nil {
			return err
		}
		if err := d.up(ctx, o); err != nil {
			return err
		}
	}
	for _, o := range d.orgs {
		if err := d.wait(ctx, o.name+" knows and reaches all others", o.node, func() (bool, error) {
			st, err := o.node.Status()
			return err == nil && st.Members == len(d.orgs) && st.Connected == len(d.orgs)-1, err
		}); err != nil {
			return err
		}
	}
	d.say("the police organisation founded a network; all nodes are connected (QUIC or TLS, post-quantum key exchange)")
	for i, o := range d.orgs {
		for j, other := range d.orgs {
			if i == j || i == demoRelay || j == demoRelay {
				continue
			}
			card := other.node.OwnCard()
			if _, err := o.node.Trust(&card.Signed, strings.Join(crypto.Words(card.Org), " ")); err != nil {
				return err
			}
		}
	}
	d.say("the parties compared their fingerprints in words and trust each other; nobody trusts the relay, nor has to")
	return nil
}

// demoTerm is one direction of an agreement of the demo.
type demoTerm struct {
	from, to  int
	tlp       protocol.TLP
	countries []string
}

// agree signs the agreements: drafted by the first party, countersigned by the other, all
// of it over the mesh.
func (d *demo) agree(ctx context.Context) error {
	everywhere := []string{protocol.Worldwide}
	for _, a := range []struct {
		title string
		terms []demoTerm
	}{
		{"Vendor and international police", []demoTerm{{demoVendor, demoPolice, protocol.TLPAmber, everywhere}}},
		{"Vendor and TH", []demoTerm{{demoVendor, demoTH, protocol.TLPAmberStrict, []string{"TH"}}}},
		{"Vendor and VN", []demoTerm{{demoVendor, demoVN, protocol.TLPAmberStrict, []string{"VN"}}}},
		{"International police and TH", []demoTerm{{demoPolice, demoTH, protocol.TLPAmber, []string{"TH"}}, {demoTH, demoPolice, protocol.TLPAmber, everywhere}}},
		{"International police and VN", []demoTerm{{demoPolice, demoVN, protocol.TLPAmber, []string{"VN"}}, {demoVN, demoPolice, protocol.TLPAmber, everywhere}}},
	} {
		if err := d.sign(ctx, a.title, a.terms); err != nil {
			return fmt.Errorf("agreement %q: %w", a.title, err)
		}
	}
	d.say("5 agreements proposed, countersigned and in force; they travelled sealed to their parties")
	return nil
}

func (d *demo) sign(ctx context.Context, title string, terms []demoTerm) error {
	first, second := d.orgs[terms[0].from], d.orgs[terms[0].to]
	now := uint64(time.Now().UnixMilli())
	doc := protocol.Agreement{Title: title, Parties: []protocol.OrgID{first.node.Org(), second.node.Org()},
		LegalBasis: "Demonstration; no law applies.", NotBefore: now - 1000, NotAfter: now + 365*24*3600*1000}
	slices.SortFunc(doc.Parties, protocol.OrgID.Compare)
	for _, t := range terms {
		doc.Terms = append(doc.Terms, protocol.Term{From: d.orgs[t.from].node.Org(), To: d.orgs[t.to].node.Org(), Topics: []string{demoTopic},
			Kinds: []string{protocol.Any}, TLP: t.tlp, Countries: t.countries, Personal: protocol.PersonalAll, RetentionDays: 365})
	}
	id, err := first.node.Propose(doc)
	if err != nil {
		return err
	}
	state := func(o *demoOrg, want node.AgreementState) error {
		return d.wait(ctx, fmt.Sprintf("%s has it %s", o.name, want), o.node, func() (bool, error) {
			for _, a := range o.node.Agreements() {
				if a.ID == id && a.State == want {
					return true, nil
				}
			}
			return false, nil
		})
	}
	if err := state(second, node.AgreementIncoming); err != nil {
		return err
	}
	if err := second.node.Countersign(id); err != nil {
		return err
	}
	return state(first, node.AgreementInForce)
}

// joinTopic brings all into the topic, and waits until gossip has found them.
func (d *demo) joinTopic(ctx context.Context) error {
	for _, o := range d.orgs {
		if err := o.node.JoinTopic(demoTopic); err != nil {
			return err
		}
	}
	for _, o := range d.orgs {
		if err := d.wait(ctx, o.name+" sees the others in the topic", o.node, func() (bool, error) {
			topics, err := o.node.Topics()
			return err == nil && len(topics) == 1 && topics[0].Peers == len(d.orgs)-1, err
		}); err != nil {
			return err
		}
	}
	d.say("all five joined the topic, the relay too")
	return nil
}
