package node

import (
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestTellRefused: who published what was set aside hears of it, and why.
func TestTellRefused(t *testing.T) {
	vendor, police, id := twoNodes(t)
	if err := police.Suspend(id, ""); err != nil { // the vendor has not heard
		t.Fatal(err)
	}
	publishList(t, vendor, "198.51.100.1\n", amber())
	carryNew(t, vendor, police)
	list, err := police.Quarantine("")
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := police.TellRefused("nothing"); err == nil {
		t.Error("what is not there is told")
	}
	org, err := police.TellRefused(list[0].ID)
	if err != nil || org.ID != vendor.Org() {
		t.Fatalf("%+v, %v", org, err)
	}
	carryNew(t, police, vendor)
	got, err := vendor.Refusals()
	if err != nil || len(got) != 1 || got[0].Org.ID != police.Org() || got[0].Reason != string(policy.ReasonNoAgreement) || got[0].Text == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	if rec := heldRecord(t, vendor, "198.51.100.1"); got[0].Record != rec.ID.String() || got[0].Seq != rec.Seq {
		t.Errorf("it is told of %+v", got[0])
	}
}

// TestRefusalsAreOfOwnEntries: nobody fills a node with refusals of what it did not publish.
func TestRefusalsAreOfOwnEntries(t *testing.T) {
	vendor, police, _ := twoNodes(t)
	rec := publishList(t, vendor, "198.51.100.1\n", amber())
	for name, r := range map[string]*protocol.Refusal{
		"no feed":           {Version: 1, Feed: protocol.FeedID{1}, Seq: 1},
		"no entry":          {Version: 1, Feed: rec.Feed, Seq: rec.To + 1},
		"no version":        {Feed: rec.Feed, Seq: rec.To},
		"a reason too long": {Version: 1, Feed: rec.Feed, Seq: rec.To, Reason: string(make([]byte, protocol.MaxNameSize+1))},
	} {
		l := &protocol.Letter{Version: 1, Network: vendor.snap.Load().network, Sender: police.Org(), Kind: protocol.LetterRefusal, Content: protocol.Encode(r)}
		if err := vendor.receiveLetter(l); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for i := range maxToldBy + 10 {
		r := &protocol.Refusal{Version: 1, Feed: rec.Feed, Seq: rec.To, Record: protocol.RecordID(crypto.GenerateSigning().Public()), Reason: "tlp", Text: "x"}
		l := &protocol.Letter{Version: 1, Sender: police.Org(), Kind: protocol.LetterRefusal, Content: protocol.Encode(r)}
		if err := vendor.receiveLetter(l); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if got, err := vendor.Refusals(); err != nil || len(got) != maxToldBy {
		t.Errorf("%d are kept, %v", len(got), err)
	}
}
