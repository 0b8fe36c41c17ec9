package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func aloneNode(t *testing.T) *Node {
	t.Helper()
	ident, err := NewIdentity(InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func TestWarninglistsAreKept(t *testing.T) {
	t.Parallel()
	n := aloneNode(t)
	held := func(value string) string {
		t.Helper()
		_, set, err := n.Warninglists()
		if err != nil {
			t.Fatal(err)
		}
		o, _ := stix.Canonical(value)
		hit, _ := set.Match(o, true)
		return hit.List
	}
	if held("bank.example") != "" || held("8.8.8.8") == "" {
		t.Error("built-in lists")
	}
	bank := &warninglist.List{Name: "bank", Type: "hostname", Version: 1, Entries: []string{"bank.example"}}
	if err := n.SetWarninglist(bank); err != nil {
		t.Fatal(err)
	}
	if held("www.bank.example") != "bank" {
		t.Error("a list that was set does not count")
	}
	// One of many parts, then the same name with few: nothing of the former is left.
	names := make([]string, 200_000)
	for i := range names {
		names[i] = fmt.Sprintf("%x.example", rand.Uint64())
	}
	if err := n.SetWarninglist(&warninglist.List{Name: "long", Type: "hostname", Entries: names}); err != nil {
		t.Fatal(err)
	}
	if held(names[4711]) != "long" || held("bank.example") != "bank" {
		t.Error("a long list does not count")
	}
	if err := n.SetWarninglist(&warninglist.List{Name: "long", Type: "hostname", Entries: names[:1]}); err != nil {
		t.Fatal(err)
	}
	if held(names[0]) != "long" || held(names[4711]) != "" {
		t.Error("a list that was replaced counts")
	}
	if err := n.Protect([]string{"Own.example", "45.1.0.0/16"}); err != nil {
		t.Fatal(err)
	}
	if err := n.Protect([]string{"other.example"}); err != nil {
		t.Fatal(err)
	}
	if held("www.own.example") != protectedNames || held("other.example") != protectedNames || held("45.1.2.3") != protectedNetworks {
		t.Error("what is protected is not held")
	}
	list, _, err := n.Warninglists()
	if err != nil || len(list) != len(warninglist.BuiltIn())+4 || list[len(list)-1].Set.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if err := n.RemoveWarninglist("bank"); err != nil || held("bank.example") != "" {
		t.Errorf("a list that was removed counts; %v", err)
	}

	if err := n.Protect([]string{"http://own.example/x"}); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("protecting a URL: %v", err)
	}
	if err := n.RemoveWarninglist("bank"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing what is not there: %v", err)
	}
	if err := n.SetWarninglist(&warninglist.List{Name: "built-in: x", Type: "string", Entries: []string{"abc"}}); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("a built-in name: %v", err)
	}
	slow := func(name string) error {
		return n.SetWarninglist(&warninglist.List{Name: name, Type: "regex", Entries: strings.Fields(strings.Repeat("abc ", warninglist.MaxSlow/2+1))})
	}
	if err := slow("a"); err != nil {
		t.Fatal(err)
	}
	if err := slow("b"); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("too many expressions: %v", err)
	}
	if held("x-abc.example") != "a" || held("own.example") != protectedNames {
		t.Error("a list that was refused changed what is held")
	}
	// A list that cannot be read stops what it should protect from leaving.
	if err := n.st.Update(func(tx *store.Tx) error {
		return putDoc(tx, kindOutput, warninglistKey("own", 0), &warninglistDoc{Name: "own", Parts: 2, Data: []byte("x")})
	}); err != nil {
		t.Fatal(err)
	}
	n.warnings.set = nil
	if _, _, err := n.Warninglists(); err == nil {
		t.Error("a list of which a part is missing was left out in silence")
	}
}

func TestBackupHoldsWarninglists(t *testing.T) {
	n := testNetwork(t, "Vendor")[0]
	if err := n.Protect([]string{"own.example"}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.OutputSerial([32]byte{1}, [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	key := newOffline(t)
	restored := inMemory(t, backupOf(t, n, key), key)
	o, _ := stix.Canonical("www.own.example")
	err := restored.st.View(func(tx *store.Tx) error {
		lists, _, err := readWarninglists(tx, nil)
		if err == nil && (len(lists) != 1 || lists[0].Entries[0] != "own.example") {
			t.Errorf("a restored node has the warninglists %v", lists)
		}
		return err
	})
	if _, set, err := n.Warninglists(); err != nil {
		t.Error(err)
	} else if _, ok := set.Match(o, false); !ok {
		t.Error("the node that was backed up lost its warninglist")
	}
	if err != nil {
		t.Error(err)
	}
}

func TestCheckWarninglist(t *testing.T) {
	good := warninglistDoc{Name: "own", Parts: 2, Part: 1, Data: []byte("x")}
	if err := checkWarninglist(warninglistKey("own", 1), protocol.Encode(&good)); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*warninglistDoc){
		"no name":        func(d *warninglistDoc) { d.Name = "" },
		"long name":      func(d *warninglistDoc) { d.Name = strings.Repeat("a", warninglist.MaxName+1) },
		"another name":   func(d *warninglistDoc) { d.Name = "other" },
		"another part":   func(d *warninglistDoc) { d.Part = 0 },
		"part too many":  func(d *warninglistDoc) { d.Parts = 1 },
		"too many parts": func(d *warninglistDoc) { d.Parts = maxWarninglistParts + 1 },
		"long part":      func(d *warninglistDoc) { d.Data = make([]byte, warninglistPart+1) },
	} {
		d := good
		change(&d)
		if checkWarninglist(warninglistKey("own", 1), protocol.Encode(&d)) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestOutputSerial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := aloneNode(t)
		serial := func(key, content byte) uint32 {
			t.Helper()
			s, err := n.OutputSerial([32]byte{key}, [32]byte{content})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		first := serial(1, 1)
		if first != uint32(time.Now().Unix()) {
			t.Errorf("the first serial is %d", first)
		}
		time.Sleep(time.Hour)
		if serial(1, 1) != first {
			t.Error("the serial of the same content changed")
		}
		second := serial(1, 2)
		if second != first+3600 || serial(1, 3) != second+1 || serial(1, 2) != second+2 {
			t.Error("a serial did not rise with the content")
		}
		for i := range maxSerials + 10 {
			if _, err := n.OutputSerial([32]byte{9, byte(i >> 8), byte(i)}, [32]byte{}); err != nil {
				t.Fatal(err)
			}
		}
		count := 0
		if err := n.st.View(func(tx *store.Tx) error {
			return scanDocs(tx, kindOutputState, func([]byte, *serialDoc) error { count++; return nil })
		}); err != nil || count != maxSerials {
			t.Errorf("%d serials are kept, %v", count, err)
		}
		time.Sleep(time.Minute)
		if again := serial(1, 2); int32(again-second) <= 2 {
			t.Errorf("a serial that was forgotten came back as %d, after %d", again, second+2)
		}
	})
}
