package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/entente-mesh/entente/client"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/node/store"
)

// nodeClient speaks to the node of a data directory: over its socket while it runs, and
// otherwise in this process, on the stored state.
type nodeClient struct {
	*client.Client
	close func() error
	live  bool
}

// clientOf returns a client for whom the command runs.
func (a *app) clientOf(c *client.Client) *client.Client {
	caller := a.caller()
	c.Person, c.Purpose, c.As = caller.Person, caller.Purpose, a.as
	return c
}

func (a *app) client(ctx context.Context) (*nodeClient, error) {
	if c, err := a.running(); c != nil || err != nil {
		return c, err
	}
	var live *nodeClient
	n, err := a.open(ctx, node.Config{}, func() bool { live = a.dial(); return live != nil })
	if live != nil {
		return live, nil
	}
	if err != nil {
		return nil, err
	}
	return &nodeClient{Client: a.clientOf(client.New(inProcess{api.NewOffline(n)})), close: n.Close}, nil
}

// running returns a client of the running node, by the socket that was named, that of the data directory or,
// for whoever may not open that one, that of the people; nil if none runs.
func (a *app) running() (*nodeClient, error) {
	if a.socket != "" { // whoever comes by it has no business in the data directory
		c, err := client.DialSocket(a.socket)
		if err != nil {
			return nil, err
		}
		return a.liveClient(c), nil
	}
	c, err := client.Dial(a.dir)
	if errors.Is(err, fs.ErrPermission) && a.people != "" {
		c, err = client.DialSocket(a.people)
	}
	if err != nil {
		return nil, nil
	}
	return a.liveClient(c), nil
}

func (a *app) liveClient(c *client.Client) *nodeClient {
	return &nodeClient{Client: a.clientOf(c), live: true, close: func() error { c.Close(); return nil }}
}

// dial returns a client of the running node by the socket in the data directory, nil if none runs.
func (a *app) dial() *nodeClient {
	c, err := client.Dial(a.dir)
	if err != nil {
		return nil
	}
	return a.liveClient(c)
}

// openPatience is how long to wait for another command that has the store open, and that is
// done in a moment, or for a node that is just coming up.
const openPatience = 15 * time.Second

// open opens the node in this process. Where another process has it open, it waits a while,
// unless enough says that there is no need to any more.
func (a *app) open(ctx context.Context, cfg node.Config, enough func() bool) (*node.Node, error) {
	if err := notAsRoot(a.dir); err != nil {
		return nil, err
	}
	keys, err := a.keys()
	if err != nil {
		return nil, err
	}
	cfg.Dir, cfg.Keys = a.dir, keys
	for end := time.Now().Add(openPatience); ; {
		n, err := node.Open(cfg)
		// Who just closed lets go of the store first, and of the anchor then.
		if !errors.Is(err, store.ErrInUse) && !errors.Is(err, anchor.ErrInUse) || enough() || time.Now().After(end) {
			return n, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (a *app) keys() (*node.Keys, error) {
	if err := node.CheckRestored(a.dir); err != nil {
		return nil, err
	}
	switch _, err := os.Stat(filepath.Join(a.dir, "keys")); {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no organisation in %s; run 'entente init' or 'entente setup', or say where it is with --dir", a.dir)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("you may not look into %s: run this as root or as the user who runs the node (sudo entente ...)", a.dir)
	}
	var pass []byte
	if node.NeedsPassphrase(a.dir) {
		var err error
		if pass, err = passphrase("Passphrase: "); err != nil {
			return nil, err
		}
	}
	lock, err := node.OpenLock(a.dir, pass)
	if err != nil {
		return nil, err
	}
	return node.LoadKeys(a.dir, lock)
}

// passphrase reads it from the file that ENTENTE_PASSPHRASE_FILE names, or asks.
func passphrase(prompt string) ([]byte, error) {
	if path := os.Getenv("ENTENTE_PASSPHRASE_FILE"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading passphrase: %w", err)
		}
		if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
			return nil, errors.New("the passphrase file is empty")
		}
		return b, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, errors.New("the keys are locked with a passphrase; set ENTENTE_PASSPHRASE_FILE, or run in a terminal")
	}
	fmt.Fprint(os.Stderr, prompt)
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	return b, err
}

// do sends a request to a route of /v1/ and returns the answer.
func (c *nodeClient) do(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Response, error) {
	return c.Do(ctx, method, "/v1/"+path, q, body)
}

// call sends a value and reads one back. Either may be nil; a []byte is sent as it is.
func (c *nodeClient) call(ctx context.Context, method, path string, q url.Values, send, receive any) error {
	return c.Call(ctx, method, "/v1/"+path, q, send, receive)
}

// ask is one call on a client of its own.
func (a *app) ask(ctx context.Context, method, path string, q url.Values, send, receive any) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.call(ctx, method, path, q, send, receive), c.close())
}

// listCommand is the command 'list' of what a route lists, more of it with --all.
func listCommand[T any](a *app, route, short, example, more string, show func(io.Writer, []T)) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: short, Example: "  " + example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if all {
				q.Set("all", "1")
			}
			var list []T
			if err := a.ask(cmd.Context(), "GET", route, q, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) { show(w, list) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, more)
	return cmd
}

// inProcess answers requests with a handler in this process.
type inProcess struct{ h http.Handler }

// RoundTrip implements http.RoundTripper. The answer streams.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, w: pw, buf: bufio.NewWriter(pw), ready: make(chan struct{}), trailer: http.Header{}}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	go func() {
		defer func() {
			if v := recover(); v != nil {
				w.WriteHeader(http.StatusInternalServerError)
				pw.CloseWithError(fmt.Errorf("the answer broke off: %v", v))
				return
			}
			w.WriteHeader(http.StatusOK)
			w.Flush()
			w.fillTrailer()
			pw.Close()
		}()
		t.h.ServeHTTP(w, r)
	}()
	select {
	case <-w.ready:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Trailer: w.trailer, Body: pr, Request: r, ContentLength: -1}, nil
}

type pipeWriter struct {
	header  http.Header
	sent    http.Header
	trailer http.Header
	w       *io.PipeWriter
	buf     *bufio.Writer
	once    sync.Once
	ready   chan struct{}
	status  int
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.ready)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.buf.Write(b)
}

// Flush implements http.Flusher.
func (w *pipeWriter) Flush() {
	w.WriteHeader(http.StatusOK)
	_ = w.buf.Flush()
}

func (w *pipeWriter) fillTrailer() {
	for _, k := range w.sent.Values("Trailer") {
		if v := w.header.Get(k); v != "" {
			w.trailer.Set(k, v)
		}
	}
}
