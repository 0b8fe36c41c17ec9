package bench

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// hubPartner is an organisation that a hub has an agreement with.
type hubPartner struct {
	*keysOnly
	countries []string // of its term; worldwide: one that is "*"
}

// may says, without the policy, whether a record of countries is for it.
func (p *hubPartner) may(of []string) bool {
	if p.countries[0] == protocol.Worldwide {
		return true
	}
	return slices.ContainsFunc(of, func(c string) bool { return slices.Contains(p.countries, c) })
}

// hubPartners are organisations, of 190 countries if there are enough of them: of each country a national unit and agencies that
// may have what concerns it, of some of them agencies for it and two neighbours, and vendors.
func hubPartners(count int) (list []*hubPartner, err error) {
	add := func(name string, of ...string) {
		k, kerr := newKeysOnly(name)
		if err == nil {
			err = kerr
		}
		list = append(list, &hubPartner{k, of})
	}
	of := hubCountries[:min(len(hubCountries), count*4/5)]
	for _, c := range of {
		add("Unit "+c, c)
	}
	for i := 0; len(list) < count; i++ {
		n := len(of)
		at := i * 7 % n
		switch c := of[at]; i % 5 {
		case 3:
			add(fmt.Sprintf("Agency %d of %s and neighbours", i, c), sorted(c, of[(at+1)%n], of[(at+2)%n])...)
		case 4:
			add(fmt.Sprintf("Vendor %d", i), protocol.Worldwide)
		default:
			add(fmt.Sprintf("Agency %d of %s", i, c), c)
		}
	}
	return list, err
}

var hubCountries = countries[:190]

func sorted(list ...string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// inMemory makes an organisation whose node is in memory, and not on a network.
func inMemory(t testing.TB, name string) *org {
	t.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: name, Kind: protocol.KindPolice})
	if err != nil {
		t.Fatal(err)
	}
	x := &org{name: name, cfg: node.Config{Keys: ident.Keys, Card: &ident.Card, OrgQuota: noQuota, PartnerQuota: noQuota}}
	if x.node, err = node.Open(x.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.node.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// simulatedHub is a vendor, a hub that it has an agreement with, and the hub's partners.
type simulatedHub struct {
	t           *testing.T
	hub, vendor *org
	partners    []*hubPartner
	next        int // number of the next object
	of          map[protocol.RecordID][]string
}

func newSimulatedHub(t *testing.T, count int) *simulatedHub {
	t.Helper()
	h := &simulatedHub{t: t, hub: inMemory(t, "Hub"), vendor: inMemory(t, "Vendor"), of: map[protocol.RecordID][]string{}}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.hub.node.CreateNetwork("hub")
	must(err)
	inv, err := h.hub.node.Invite(&h.vendor.node.OwnCard().Signed, time.Hour)
	must(err)
	_, err = h.vendor.node.Join(inv)
	must(err)
	must(carry(ctx, h.vendor.node, h.hub.node))
	must(h.hub.node.JoinTopic(topic))
	must(h.vendor.node.JoinTopic(topic))
	h.partners, err = hubPartners(count)
	must(err)
	var join []*keysOnly
	for _, p := range h.partners {
		join = append(join, p.keysOnly)
	}
	must(h.hub.enlist(ctx, join))
	network, err := h.hub.network()
	must(err)
	doc := agreement(h.vendor.node.Org(), h.hub.node.Org())
	doc.Terms[0].Onward.Rule = protocol.OnwardPartners
	a, err := sign(network, doc, h.vendor.cfg.Keys, h.hub.cfg.Keys)
	must(err)
	must(h.vendor.take([]*protocol.SignedAgreement{a}))
	agreements := []*protocol.SignedAgreement{a}
	for _, p := range h.partners {
		doc := agreement(h.hub.node.Org(), p.keys.Org)
		doc.Terms[0].Countries = p.countries
		a, err := sign(network, doc, h.hub.cfg.Keys, p.keys)
		must(err)
		agreements = append(agreements, a)
	}
	must(h.hub.take(agreements))
	return h
}

// publish has an organisation publish records of countries, so many of each list.
func (h *simulatedHub) publish(by *org, each int, of ...[]string) {
	h.t.Helper()
	items, err := read(bundle(h.next, h.next+each*len(of)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.next += len(items)
	for i := range items {
		items[i].Handling = protocol.Handling{TLP: protocol.TLPGreen, Countries: of[i%len(of)], Onward: protocol.Onward{Rule: protocol.OnwardPartners}}
	}
	rec, err := by.node.Publish(h.t.Context(), node.PublishRequest{Topic: topic, Items: items})
	if err != nil || len(rec.Records) != len(items) {
		h.t.Fatal(len(rec.Records), err)
	}
	for i, id := range rec.Records {
		h.of[id] = of[i%len(of)]
	}
}

// pass brings what the vendor published to the hub, which passes it on.
func (h *simulatedHub) pass() {
	h.t.Helper()
	if err := carry(h.t.Context(), h.vendor.node, h.hub.node); err != nil {
		h.t.Fatal(err)
	}
	if err := h.hub.node.SetRelease(h.t.Context(), node.ReleaseAuto, true); err != nil {
		h.t.Fatal(err)
	}
}

func (h *simulatedHub) decided(of *org) uint64 {
	h.t.Helper()
	m, err := of.node.Metrics()
	if err != nil {
		h.t.Fatal(err)
	}
	return m.Decided
}

// checkPassed compares for whom the hub sealed every record with whom it concerns.
func (h *simulatedHub) checkPassed() {
	h.t.Helper()
	byName := map[string]bool{}
	sealed := 0
	for id, of := range h.of {
		x, err := h.hub.node.Explain(id, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		clear(byName)
		for _, o := range x.PassedTo {
			byName[o.Name] = true
		}
		for _, p := range h.partners {
			if byName[p.name] != p.may(of) {
				h.t.Fatalf("a record of %v is for %s: %v", of, p.name, byName[p.name])
			}
			if byName[p.name] {
				sealed++
				delete(byName, p.name)
			}
		}
		if len(byName) > 0 {
			h.t.Fatalf("a record of %v is for %v too", of, byName)
		}
	}
	if sealed == 0 {
		h.t.Error("no record is for anybody")
	}
}

// checkOpened opens all that the hub holds of its own with the keys of some partners.
func (h *simulatedHub) checkOpened(some []*hubPartner) {
	h.t.Helper()
	network, err := h.hub.network()
	if err != nil {
		h.t.Fatal(err)
	}
	cards := []*crypto.Card{h.vendor.node.OwnCard(), h.hub.node.OwnCard()}
	var file bytes.Buffer
	if err := h.hub.pack(h.t.Context(), some[0].keysOnly, &file); err != nil {
		h.t.Fatal(err)
	}
	want := map[string][]string{} // object: countries
	got := map[*hubPartner]map[string]bool{}
	var readers []*reader
	for _, p := range some {
		readers, got[p] = append(readers, &reader{keysOnly: p.keysOnly}), map[string]bool{}
	}
	for id, of := range h.of {
		x, err := h.hub.node.Explain(id, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		want[string(x.Record.Object)] = of
	}
	err = some[0].readPack(&file, network, func(env *crypto.VerifiedEnvelope) error {
		if env.Origin.Signing != h.hub.cfg.Keys.Signing.Public() {
			return nil
		}
		for i, rd := range readers {
			objects, err := rd.entry(network, env, cards...)
			if err != nil {
				return err
			}
			for _, o := range objects {
				got[some[i]][string(o)] = true
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range some {
		for object, of := range want {
			if got[p][object] != p.may(of) {
				h.t.Errorf("%s opens a record of %v: %v", p.name, of, got[p][object])
			}
		}
		for object := range got[p] {
			if want[object] == nil {
				h.t.Errorf("%s opens what nobody published: %s", p.name, object)
			}
		}
	}
}

// TestSimulatedHub: everybody gets what concerns its country of what a vendor sends a hub, and nothing
// else; and a class of handling is decided once for all partners, however many records of it follow.
// With ENTENTE_MESHES the hub has 1,000 agreements, with organisations of 190 countries.
func TestSimulatedHub(t *testing.T) {
	count := 60
	if os.Getenv("ENTENTE_MESHES") != "" {
		count = 1000
	} else if testing.Short() {
		t.Skip("it takes some seconds")
	}
	h := newSimulatedHub(t, count)
	var of [][]string
	units := hubCountries[:min(len(hubCountries), count*4/5)]
	for _, c := range units {
		of = append(of, []string{c})
	}
	for i := range 12 {
		n := len(units)
		of = append(of, sorted(units[i], units[(i*31+40)%n]), sorted(units[i*3], units[(i*3+1)%n], units[(i*3+2)%n]))
	}
	of = append(of, []string{}) // worldwide
	h.publish(h.vendor, 1, of...)
	h.pass()
	h.checkPassed()
	some := []*hubPartner{h.partners[0], h.partners[1], h.partners[10], h.partners[len(units)-1]}
	for _, p := range h.partners {
		if strings.Contains(p.name, "neighbours") || strings.HasPrefix(p.name, "Vendor") {
			some = append(some, p)
		}
		if len(some) == 8 {
			break
		}
	}
	h.checkOpened(some)

	// Of classes that are known, ten times more records need no decision: neither at the hub, where
	// they come in, nor at either publisher.
	classes := map[string]bool{}
	for _, list := range of {
		classes[strings.Join(list, " ")] = true
	}
	atVendor, atHub := h.decided(h.vendor), h.decided(h.hub)
	if atVendor != uint64(len(classes)) || atHub != uint64(len(classes)) {
		t.Errorf("%d decisions at the vendor and %d at the hub, of %d classes", atVendor, atHub, len(classes))
	}
	for range 2 {
		h.publish(h.vendor, 5, of...)
	}
	if err := carry(t.Context(), h.vendor.node, h.hub.node); err != nil {
		t.Fatal(err)
	}
	if v, u := h.decided(h.vendor), h.decided(h.hub); v != atVendor || u != atHub {
		t.Errorf("for records of known classes %d decisions were made at the vendor and %d at the hub", v-atVendor, u-atHub)
	}
	own := of[:20]
	h.publish(h.hub, 1, own...)
	made := h.decided(h.hub) - atHub
	if made != uint64(len(own)*count) {
		t.Errorf("%d decisions about %d classes and %d partners", made, len(own), count)
	}
	for range 5 {
		h.publish(h.hub, 2, own...)
	}
	if again := h.decided(h.hub) - atHub; again != made {
		t.Errorf("ten times more records took %d more decisions", again-made)
	}
}
