package serve

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// What a connection may take: whoever sends or reads nothing for a while is cut off, so that strangers
// and stuck programs hold neither memory nor file descriptors, which the mesh and the store need too.
const (
	// patience is how long a client may take for the next part of what it sends, or reads.
	patience = 2 * time.Minute
	// farewell is how long an answer may take to end that is cut off: one that looks at its context ends
	// in order.
	farewell = time.Second
	// maxConnections bounds the connections that are open at once, and maxPerAddress those of one
	// address that is not of this machine: a proxy here comes for many.
	maxConnections = 2048
	maxPerAddress  = 256
)

// patientBody gives up a request of which nothing more comes.
type patientBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(patience)) // a recorder of tests has none
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		// What comes now is not of this request; that the client goes away is still noticed.
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// patientWriter gives up a client that does not read.
type patientWriter struct {
	http.ResponseWriter
	rc  *http.ResponseController
	ctx context.Context
}

// Write implements io.Writer.
func (w *patientWriter) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	_ = w.rc.SetWriteDeadline(time.Now().Add(patience))
	if w.ctx.Err() != nil { // it was cut off in between: the deadline that did it counts
		_ = w.rc.SetWriteDeadline(time.Now().Add(farewell))
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *patientWriter) Flush() { _ = w.rc.Flush() }

// Unwrap is for http.ResponseController.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// dismiss makes what follows the last answer to somebody: nothing more of the request is read.
func dismiss(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now())
}

// limitedListener bounds connections.
type limitedListener struct {
	net.Listener
	mu     sync.Mutex
	all    int
	byHost map[string]int
}

func limited(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, byHost: map[string]int{}}
}

// Accept implements net.Listener. What is too much is closed at once.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := ""
		if at, ok := c.RemoteAddr().(*net.TCPAddr); ok && !at.IP.IsLoopback() {
			host = at.IP.String()
		}
		if l.take(host) {
			return &limitedConn{Conn: c, free: func() { l.free(host) }}, nil
		}
		_ = c.Close()
	}
}

func (l *limitedListener) take(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxConnections || host != "" && l.byHost[host] >= maxPerAddress {
		return false
	}
	l.all++
	l.byHost[host]++
	return true
}

func (l *limitedListener) free(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.byHost[host]--; l.byHost[host] == 0 {
		delete(l.byHost, host)
	}
}

type limitedConn struct {
	net.Conn
	once sync.Once
	free func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.once.Do(c.free)
	return c.Conn.Close()
}
