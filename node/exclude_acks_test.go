package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// excludedAlong has a vendor exclude the last of a chain from a record that was passed on to all before.
func excludedAlong(t *testing.T) (nodes []*Node, tell func(nodes []*Node)) {
	t.Helper()
	nodes = chain(t, nil, "Vendor", "Hub", "Police", "Cert", "Bank")
	automatic(t, nodes[1:3]...)
	publishOnward(t, nodes[0], "198.51.100.1\n", partners)
	along(t, nodes)
	wantReads(t, nodes[3], "198.51.100.1", true)
	id := heldRecord(t, nodes[0], "198.51.100.1").ID
	if err := nodes[0].Exclude(context.Background(), []protocol.RecordID{id}, []protocol.OrgID{nodes[4].Org()}); err != nil {
		t.Fatal(err)
	}
	return nodes, func(nodes []*Node) {
		t.Helper()
		for range nodes { // letters take the same way back
			along(t, nodes)
			for _, n := range nodes {
				if err := n.sendLetters(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func onlyExclusion(t *testing.T, n *Node) ExclusionInfo {
	t.Helper()
	known, err := n.Exclusions()
	if err != nil || len(known) != 1 {
		t.Fatalf("%s knows of %d exclusions, %v", n.OwnCard().Inception.Name, len(known), err)
	}
	return known[0]
}

// TestExclusionsAreAcknowledgedOverHops: an originator sees of every organisation that was told of an
// exclusion, by whomever, that it has it; who has not said so within a day is overdue.
func TestExclusionsAreAcknowledgedOverHops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes, tell := excludedAlong(t)
		vendor, cert := nodes[0], nodes[3]
		tell(slices.Concat(nodes[:3], nodes[4:])) // the CERT is away
		x := onlyExclusion(t, vendor)
		if len(x.Told) != 1 || x.Told[0].Org.ID != nodes[1].Org() || x.Told[0].Opened == nil {
			t.Errorf("the hub: %+v", x.Told)
		}
		want := func(state string, opened, overdue bool) {
			t.Helper()
			x := onlyExclusion(t, vendor)
			if len(x.Further) != 2 {
				t.Fatalf("%s: told further: %+v", state, x.Further)
			}
			for _, f := range x.Further {
				switch f.Org.ID {
				case nodes[2].Org():
					if f.By.ID != nodes[1].Org() || f.Opened == nil || f.Overdue {
						t.Errorf("%s: the police: %+v", state, f)
					}
				case cert.Org():
					if f.By.ID != nodes[2].Org() || (f.Opened != nil) != opened || f.Overdue != overdue {
						t.Errorf("%s: the CERT: %+v", state, f)
					}
				default:
					t.Errorf("%s: told further: %+v", state, f)
				}
			}
		}
		want("told", false, false)
		time.Sleep(25 * time.Hour)
		want("a day later", false, true)
		tell(nodes)
		want("there again", true, false)
		if x := onlyExclusion(t, nodes[2]); len(x.Told) != 1 || len(x.Further) != 0 || x.Told[0].Opened == nil {
			t.Errorf("the police: %+v", x)
		}
		before := lettersWaiting(t, nodes)
		tell(nodes)
		if after := lettersWaiting(t, nodes); before != 0 || after != 0 {
			t.Errorf("letters wait: %d, then %d", before, after)
		}
	})
}

// lettersWaiting counts the letters and acknowledgements that are still to be sent.
func lettersWaiting(t *testing.T, nodes []*Node) (count int) {
	t.Helper()
	for _, n := range nodes {
		for _, kind := range []string{kindLetter, kindAckDue} {
			if err := n.st.View(func(tx *store.Tx) error {
				return tx.Scan([]byte(kind), nil, false, func(_, _ []byte) (bool, error) { count++; return true, nil })
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return count
}

// TestAcknowledgementsThatAreRefused: what nobody signed, what is of no exclusion known here, and what
// comes from who was not told, or is older than what is held, changes nothing.
func TestAcknowledgementsThatAreRefused(t *testing.T) {
	t.Parallel()
	nodes, tell := excludedAlong(t)
	vendor, hub, bank := nodes[0], nodes[1], nodes[4]
	tell(nodes)
	var h protocol.Hash
	if err := vendor.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindExclusion, func(id []byte, _ *exclusionDoc) error { h = protocol.Hash(id); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	network := vendor.snap.Load().network
	letter := func(sender *Node, change func(st *protocol.ExclusionAckStatement), spoil bool) error {
		t.Helper()
		st := &protocol.ExclusionAckStatement{Version: 1, Network: network, Exclusion: h, Org: sender.Org(), Told: []protocol.OrgID{bank.Org()}, At: uint64(nowMillis()) + 1}
		if change != nil {
			change(st)
		}
		a, err := crypto.SignExclusionAck(st, sender.keys.Signing)
		if err != nil {
			t.Fatal(err)
		}
		if spoil {
			a.Sig[3]++
		}
		return vendor.receiveLetter(&protocol.Letter{Version: 1, Network: network, Sender: sender.Org(), Kind: protocol.LetterExclusionAcks,
			Content: protocol.Encode(&protocol.ExclusionAcks{Version: 1, Acks: []protocol.ExclusionAck{a}})})
	}
	further := len(onlyExclusion(t, vendor).Further)
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"not signed":      {letter(hub, nil, true), protocol.ErrBadSignature},
		"another network": {letter(hub, func(st *protocol.ExclusionAckStatement) { st.Network[0]++ }, false), protocol.ErrWrongContext},
		"another's name":  {letter(hub, func(st *protocol.ExclusionAckStatement) { st.Org = bank.Org() }, false), protocol.ErrUnknownAuthor},
		"not known":       {letter(hub, func(st *protocol.ExclusionAckStatement) { st.Exclusion[0]++ }, false), protocol.ErrWrongContext},
		"not told":        {letter(bank, nil, false), nil},
		"older":           {letter(hub, func(st *protocol.ExclusionAckStatement) { st.At = 1 }, false), nil},
		"nothing": {vendor.receiveLetter(&protocol.Letter{Version: 1, Network: network, Sender: hub.Org(), Kind: protocol.LetterExclusionAcks,
			Content: protocol.Encode(&protocol.ExclusionAcks{Version: 1})}), protocol.ErrOversize},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if n := len(onlyExclusion(t, vendor).Further); n != further {
		t.Errorf("%d were told further, %d before", n, further)
	}
	if err := letter(hub, nil, false); err != nil {
		t.Fatal(err)
	}
	if n := len(onlyExclusion(t, vendor).Further); n != further {
		t.Errorf("the newest word of the hub does not count alone: %d", n) // police instead of bank
	}
}
