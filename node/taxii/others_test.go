package taxii

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/node/simtest"
	"github.com/entente-mesh/entente/protocol"
)

// TestRecordsOfOthers: what other organisations publish is served, each one's versions for themselves;
// only they can withdraw it, and what they withdraw or erase is served no more.
func TestRecordsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simtest.New(t)
		defer w.Close()
		vendor, other, bank := w.Add("Vendor", protocol.KindVendor, "DE"), w.Add("Other", protocol.KindVendor, "SK"), w.Add("Bank", protocol.KindFinance, "TH")
		w.Network()
		for _, n := range w.Nodes {
			if err := n.JoinTopic("c2"); err != nil {
				t.Fatal(err)
			}
		}
		w.Agree(vendor, bank, protocol.TLPAmber, "*")
		w.Agree(other, bank, protocol.TLPAmber, "*")
		publish := func(n *simtest.Node, objects ...string) *node.Receipt {
			t.Helper()
			read, err := intake.Read("x", strings.NewReader("["+strings.Join(objects, ",")+"]"), intake.Options{})
			if err != nil || len(read.Problems) > 0 {
				t.Fatalf("%v %v", read, err)
			}
			r, err := n.Publish(t.Context(), node.PublishRequest{Topic: "c2", Items: read.Items})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		token, err := bank.AddConsumer(node.Consumer{Name: "tip", Scopes: node.Scopes(), Expires: time.Now().Add(24 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		s := serve.New(bank.Node, nil)
		if err := Mount(s, bank.Node, nil); err != nil {
			t.Fatal(err)
		}
		const c = rootPath + "collections/topic-c2/"
		ask := func(method, path string) *answer {
			r := httptest.NewRequest(method, path, nil)
			r.Header.Set("Accept", mediaType)
			r.SetBasicAuth("tip", token)
			rec := httptest.NewRecorder()
			s.ServeHTTP(rec, r)
			return &answer{rec.Code, rec.Header(), rec.Body.Bytes()}
		}
		wait := func(what string, ok func() bool) { t.Helper(); w.Until(what, ok) }
		publish(vendor, indicator(1, 0))
		wait("the first is there", func() bool { return len(ask("GET", c+"objects/").ids(t)) == 1 })
		second := publish(vendor, indicator(1, 10), indicator(2, 0))
		wait("the second is there", func() bool { return len(ask("GET", c+"objects/?match[version]=all").ids(t)) == 3 })
		publish(other, indicator(1, 99)) // as if it could make a version of another's object
		wait("the other's is there", func() bool { return len(ask("GET", c+"objects/?match[version]=all").ids(t)) == 4 })
		a := ask("GET", c+"objects/"+id(1)+"/")
		if !strings.Contains(string(a.body), indicator(1, 10)) || !strings.Contains(string(a.body), indicator(1, 99)) || len(a.ids(t)) != 2 {
			t.Errorf("the last of each: %s", a.body)
		}
		from := map[string]bool{}
		for _, h := range a.envelope(t).Handling {
			from[h.Originator] = true
		}
		if !from[vendor.Org().String()] || !from[other.Org().String()] {
			t.Errorf("originators %v", from)
		}
		for _, path := range []string{id(1) + "/", id(2) + "/", id(1) + "/?match[version]=all"} {
			if a := ask("DELETE", c+"objects/"+path); a.code != http.StatusForbidden || !strings.Contains(string(a.body), "another organisation") {
				t.Errorf("DELETE %s: %d %s", path, a.code, a.body)
			}
		}
		if err := vendor.Withdraw(t.Context(), second.Records[:1], "mistake"); err != nil {
			t.Fatal(err)
		}
		wait("the withdrawn one is gone", func() bool {
			return !strings.Contains(string(ask("GET", c+"objects/?match[version]=all").body), indicator(1, 10))
		})
		if a := ask("GET", c+"objects/"+id(1)+"/"); !strings.Contains(string(a.body), indicator(1, 0)) {
			t.Errorf("the version before it: %s", a.body)
		}
		if _, err := vendor.Erase(t.Context(), node.EraseRequest{Records: second.Records[1:], Reason: protocol.EraseError}); err != nil {
			t.Fatal(err)
		}
		wait("the erased one is gone", func() bool { return ask("GET", c+"objects/"+id(2)+"/").code == 404 })
		if a := ask("GET", c+"manifest/?match[version]=all"); strings.Contains(string(a.body), id(2)) {
			t.Errorf("manifest: %s", a.body)
		}
	})
}
