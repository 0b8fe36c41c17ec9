package api

import (
	"bytes"
	"context"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
)

// TestRestoredNodeSaysWhy: a node that waits to hear of erasures shows nothing by any way, and
// says why and what to do.
func TestRestoredNodeSaysWhy(t *testing.T) {
	file, recipient, err := crypto.GenerateBackupIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ids, err := crypto.ParseBackupIdentities(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if _, err := testServer(t).node.Backup(context.Background(), &backup, node.BackupRequest{Recipients: []string{recipient}}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "d")
	if _, err := node.Restore(context.Background(), &backup, node.RestoreRequest{Dir: dir, Identities: ids}); err != nil {
		t.Fatal(err)
	}
	lock, err := node.OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := node.LoadKeys(dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Dir: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s := New(n)
	for _, q := range []struct{ method, path, body string }{
		{"GET", "/v1/records", ""}, {"GET", "/v1/export", ""}, {"GET", "/v1/export?format=stix", ""}, {"GET", "/v1/watch?follow=0", ""}, {"GET", "/v1/quarantine", ""},
		{"POST", "/v1/backup", `{"recipients":["` + recipient + `"]}`},
	} {
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%s breaks off: %v", q.path, p)
				}
			}()
			s.ServeHTTP(w, httptest.NewRequest(q.method, q.path, strings.NewReader(q.body)))
		}()
		if !strings.Contains(w.Body.String(), "restored from an earlier state") || w.Code == 200 && !strings.HasPrefix(q.path, "/v1/watch") {
			t.Errorf("%s answers %d %s", q.path, w.Code, w.Body)
		}
	}
}
