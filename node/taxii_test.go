package node

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

func statusID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// TestTaxiiKeeps: the key stays, and status resources are their owner's for two days, within bounds.
func TestTaxiiKeeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := testNode(t, "Example")
		key, err := n.TaxiiKey()
		if err != nil || len(key) != taxiiKeySize {
			t.Fatalf("key of %d bytes, %v", len(key), err)
		}
		if again, err := n.TaxiiKey(); err != nil || !bytes.Equal(key, again) {
			t.Errorf("another key, %v", err)
		}
		set := func(i int, body []byte) {
			t.Helper()
			if err := n.SetTaxiiStatus(statusID(i), "siem", body); err != nil {
				t.Fatal(err)
			}
		}
		held := func(i int, as string) bool {
			t.Helper()
			b, err := n.TaxiiStatus(statusID(i), as)
			if err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			return err == nil && len(b) > 0
		}
		set(1, []byte("{}"))
		time.Sleep(25 * time.Hour)
		if !held(1, "siem") || held(1, "tip") || held(2, "siem") {
			t.Error("after a day it is not there, or for another")
		}
		if _, err := n.TaxiiStatus(taxiiKeyID, ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("the key is a status: %v", err)
		}
		time.Sleep(24 * time.Hour)
		if held(1, "siem") {
			t.Error("it is there after two days")
		}
		for i := range 40 { // more than what is kept
			time.Sleep(time.Second)
			set(10+i, make([]byte, MaxTaxiiStatus))
		}
		if held(10, "siem") || !held(49, "siem") || !held(20, "siem") {
			t.Error("the oldest are not those that went")
		}
		size := 0
		err = n.st.View(func(tx *store.Tx) error {
			return scanDocs(tx, kindTaxii, func(_ []byte, d *taxiiDoc) error { size += len(d.Body); return nil })
		})
		if err != nil || size > maxTaxiiBytes+taxiiKeySize {
			t.Errorf("%d bytes are held, %v", size, err)
		}
		for i, bad := range []error{n.SetTaxiiStatus("x", "siem", nil), n.SetTaxiiStatus(statusID(1), "", nil), n.SetTaxiiStatus(statusID(1), "siem", make([]byte, MaxTaxiiStatus+1))} {
			if bad == nil {
				t.Errorf("refusal %d is none", i)
			}
		}
		if got, err := n.TaxiiKey(); err != nil || !bytes.Equal(key, got) {
			t.Errorf("the key went with what was old, %v", err)
		}
	})
}

// TestBackupChecksTaxii: what a backup holds under the kind is a key or a status resource.
func TestBackupChecksTaxii(t *testing.T) {
	for _, tc := range []struct {
		name, id string
		doc      taxiiDoc
		ok       bool
	}{
		{"key", taxiiKeyID, taxiiDoc{Body: make([]byte, taxiiKeySize)}, true},
		{"status", statusID(1), taxiiDoc{At: 1, Owner: "siem", Body: []byte("{}")}, true},
		{"short key", taxiiKeyID, taxiiDoc{Body: make([]byte, taxiiKeySize-1)}, false},
		{"key with an owner", taxiiKeyID, taxiiDoc{Owner: "siem", Body: make([]byte, taxiiKeySize)}, false},
		{"status of nobody", statusID(1), taxiiDoc{Body: []byte("{}")}, false},
		{"status with another id", "x", taxiiDoc{Owner: "siem", Body: []byte("{}")}, false},
		{"status that is too large", statusID(1), taxiiDoc{Owner: "siem", Body: make([]byte, MaxTaxiiStatus+1)}, false},
	} {
		if err := checkTaxii([]byte(tc.id), protocol.Encode(&tc.doc)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if checkTaxii([]byte(taxiiKeyID), []byte("nonsense")) == nil {
		t.Error("nonsense is taken")
	}
}
