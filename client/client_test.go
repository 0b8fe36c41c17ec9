package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/client"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
)

// running is a node in a directory, with its socket; a path must be short enough for one.
func running(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		t.Fatal(err)
	}
	ident, err := node.NewIdentity(node.InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- api.New(n).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, n.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func dial(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.Dial(running(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.NetworkCreate(t.Context(), &client.NetworkCreateRequest{Name: "example"}); err != nil {
		t.Fatal(err)
	}
	if err := c.TopicJoin(t.Context(), "c2"); err != nil {
		t.Fatal(err)
	}
	return c
}

func publish(t *testing.T, c *client.Client, list string) *client.Receipt {
	t.Helper()
	var receipt *client.Receipt
	for e, err := range c.Publish(t.Context(), client.PublishQuery{Topic: "c2", TLP: "green", File: "list.txt"}, strings.NewReader(list)) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Receipt != nil {
			receipt = e.Receipt
		}
	}
	if receipt == nil {
		t.Fatal("no receipt")
	}
	return receipt
}

func TestNobodyThere(t *testing.T) {
	if _, err := client.Dial(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no node can be reached") {
		t.Errorf("%v", err)
	}
}

func TestPublishSearchWatchExport(t *testing.T) {
	c := dial(t)
	c.Person, c.Purpose = "alice", "case 17"
	if r := publish(t, c, "198.51.100.1\n198.51.100.2\n"); r.Records != 2 || len(r.IDs) != 2 {
		t.Errorf("receipt %+v", r)
	}
	found, err := c.Search(t.Context(), client.SearchQuery{Value: "198[.]51[.]100[.]2", Limit: 10})
	if err != nil || len(found.Records) != 1 || found.Records[0].Type != "indicator" {
		t.Fatalf("%+v, %v", found, err)
	}
	shown, err := c.Show(t.Context(), found.Records[0].ID)
	if err != nil || len(shown) != 1 || shown[0].StixID != found.Records[0].StixID {
		t.Errorf("%+v, %v", shown, err)
	}
	log, err := c.Audit(t.Context(), client.AuditQuery{Person: "alice"})
	if err != nil || len(log) == 0 {
		t.Errorf("the audit log has %d entries of alice, %v", len(log), err)
	}
	changes, err := c.Changes(t.Context(), client.ChangesQuery{})
	if err != nil || len(changes.Changes) != 2 {
		t.Errorf("%+v, %v", changes, err)
	}

	// A stream goes on with what comes later, from where the last one was left.
	var cursor uint64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for r, err := range c.Watch(ctx, client.WatchQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 2 {
			publish(t, c, "198.51.100.3\n")
		}
		if cursor = r.Cursor; seen == 3 {
			break
		}
	}
	publish(t, c, "198.51.100.4\n")
	no, rest := false, 0
	for r, err := range c.Watch(t.Context(), client.WatchQuery{From: cursor, Follow: &no}) {
		if err != nil || r.Cursor <= cursor {
			t.Fatalf("%+v, %v", r, err)
		}
		rest++
	}
	if seen != 3 || rest != 1 {
		t.Errorf("watched %d, then %d", seen, rest)
	}

	// A file says at its end that it is whole.
	f, err := c.Export(t.Context(), client.ExportQuery{Format: "lines"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Trailer(); err == nil {
		t.Error("an export that was not read is whole")
	}
	b, err := io.ReadAll(f)
	if err != nil || strings.Count(string(b), "\n") != 4 || !strings.HasPrefix(f.MediaType(), "text/plain") {
		t.Errorf("%s: %q, %v", f.MediaType(), b, err)
	}
	if next, err := f.Trailer(); err != nil || next != fmt.Sprint(cursor+1) {
		t.Errorf("goes on from %q, %v", next, err)
	}
}

func TestErrorsHaveClasses(t *testing.T) {
	c := dial(t)
	failed := func(err error) *client.Error {
		t.Helper()
		var e *client.Error
		if !errors.As(err, &e) {
			t.Fatalf("%v is no Error", err)
		}
		return e
	}
	_, err := c.Search(t.Context(), client.SearchQuery{Since: "yesterday"})
	if e := failed(err); e.Class != "malformed" || e.Status != http.StatusBadRequest || !strings.Contains(e.Error(), "is not a time") {
		t.Errorf("%+v", e)
	}
	_, err = c.Show(t.Context(), "indicator--26ffb872-1dd9-446e-b6f5-d58527e5b5d2")
	if e := failed(err); e.Status != http.StatusNotFound {
		t.Errorf("%+v", e)
	}
	for _, err := range c.Publish(t.Context(), client.PublishQuery{Topic: "c2", TLP: "green", Generation: 4711}, strings.NewReader("198.51.100.1\n")) {
		if e := failed(err); e.Status != http.StatusConflict {
			t.Errorf("%+v", e)
		}
	}
	_, err = c.Readyz(t.Context())
	if e := failed(err); e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Message, "reasons") {
		t.Errorf("%+v", e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// answering answers every request with the same bytes.
type answering struct {
	status int
	body   string
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// TestBrokenAnswers: what is no answer is an error, and so is what breaks off.
func TestBrokenAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, body, says string
		lines            int
	}{
		{"an error after a record", `{"cursor":1}` + "\n" + `{"error":"no more","class":"expired"}`, "no more", 1},
		{"half a record", `{"cursor":1}` + "\n" + `{"cur`, "reading the node's answer", 1},
		{"no object", `[]`, "reading the node's answer", 0},
		{"a record of another shape", `{"cursor":"one"}`, "reading the node's answer", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines, says := 0, ""
			for _, err := range client.New(answering{200, tc.body}).Watch(t.Context(), client.WatchQuery{}) {
				if err == nil {
					lines++
				} else {
					says = err.Error()
				}
			}
			if lines != tc.lines || !strings.Contains(says, tc.says) {
				t.Errorf("%d lines, %q; want %d, %q", lines, says, tc.lines, tc.says)
			}
		})
	}
	if _, err := client.New(answering{502, "<html>"}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "Bad Gateway") {
		t.Errorf("%v", err)
	}
	if _, err := client.New(answering{200, "<html>"}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "reading the node's answer") {
		t.Errorf("%v", err)
	}
	for e, err := range client.New(answering{200, `{"plan":{}}{"failed":{"error":"changed","class":"stale"}}`}).Publish(t.Context(), client.PublishQuery{}, nil) {
		var failed *client.Error
		if err != nil && (!errors.As(err, &failed) || failed.Class != "stale") {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

// A program follows what arrives, and keeps how far it came.
func Example() {
	c, err := client.Dial("/var/lib/entente")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	var cursor uint64 // kept from the last time
	for r, err := range c.Watch(context.Background(), client.WatchQuery{From: cursor}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.StixID, r.Handling.TLP)
		cursor = r.Cursor
	}
}

// A file is published as the command line does it: the plan comes first, the receipt at last.
func ExampleClient_Publish() {
	c, err := client.Dial("/var/lib/entente")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	list := strings.NewReader("198.51.100.7:443\n")
	for e, err := range c.Publish(context.Background(), client.PublishQuery{Topic: "c2", TLP: "amber", Countries: []string{"TH"}}, list) {
		switch {
		case err != nil:
			fmt.Println(err)
		case e.Plan != nil:
			fmt.Println("records:", e.Plan.Records)
		case e.Receipt != nil:
			fmt.Println("durable here:", e.Receipt.Records)
		}
	}
}
