package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
)

// Syslog (RFC 5424) over TCP with octet counting (RFC 6587) or TLS (RFC 5425) has no acknowledgement.
// What counts as one here: everything was written, the receiver's system confirmed every byte of it
// (where the operating system tells: Linux), and its program did not close the connection for a while
// after that. A program that took the bytes and dies before it keeps them loses them.

const (
	// syslogPriority is facility 16 (local0), severity 5 (notice): RFC 5424, section 6.2.1.
	syslogPriority = 16*8 + 5
	syslogTimeout  = 30 * time.Second
	// syslogSettle is for how long the connection has to stay after everything arrived.
	syslogSettle = 200 * time.Millisecond
	// syslogPoll is how often it is asked how much is on its way.
	syslogPoll = 10 * time.Millisecond
)

type syslog struct {
	host    string // of this machine
	addr    string
	conf    *tls.Config // nil: plain TCP
	private bool
	conn    net.Conn
	raw     *net.TCPConn
	closed  chan struct{} // closed when the receiver ended the connection
}

func newSyslog(s *node.Sink) (*syslog, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	y := &syslog{host: hostname(), addr: u.Host, private: s.Private}
	if u.Scheme == "tls" {
		y.conf, err = tlsConfig(s, u.Hostname())
	}
	return y, err
}

// hostname is the HOSTNAME field: up to 255 printable ASCII characters.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "-"
	}
	return headerField(name, 255)
}

// headerField makes a field of the header of text; "-" if nothing is left.
func headerField(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), limit)]
}

// frame is a message of RFC 5424 with its length before it (RFC 6587, section 3.4.1; RFC 5425, section 4.3).
// What is not ASCII has the BOM of RFC 5424, section 6.4, before it.
func frame(host string, m *message) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%d>1 %s %s entente - %s - ", syslogPriority, m.at.UTC().Format("2006-01-02T15:04:05.000000Z"), host, headerField(string(m.kind), 32))
	if bytes.ContainsFunc(m.body, func(r rune) bool { return r > 0x7e }) {
		b.WriteString("\ufeff")
	}
	b.Write(m.body)
	return append([]byte(strconv.Itoa(b.Len())+" "), b.Bytes()...)
}

func (y *syslog) connect(ctx context.Context) error {
	if y.conn != nil {
		select {
		case <-y.closed:
			y.close()
		default:
			return nil
		}
	}
	c, err := dialer(y.private).DialContext(ctx, "tcp", y.addr)
	if err != nil {
		return withoutURL(err)
	}
	raw, ok := c.(*net.TCPConn)
	if !ok {
		return errors.Join(errors.New("the connection is not TCP"), c.Close())
	}
	if y.conf != nil {
		secured := tls.Client(c, y.conf)
		ctx, cancel := context.WithTimeout(ctx, syslogTimeout)
		defer cancel()
		if err := secured.HandshakeContext(ctx); err != nil {
			return errors.Join(withoutURL(err), c.Close())
		}
		c = secured
	}
	y.conn, y.raw, y.closed = c, raw, make(chan struct{})
	go func(c net.Conn, closed chan struct{}) { // receivers say nothing; what ends reading ends the connection
		_, _ = io.Copy(io.Discard, c)
		close(closed)
	}(c, y.closed)
	return nil
}

// send implements sender.
func (y *syslog) send(ctx context.Context, list []message) (int, error) {
	if err := y.connect(ctx); err != nil {
		return 0, err
	}
	if err := y.write(ctx, list); err != nil {
		y.close()
		return 0, err
	}
	return len(list), nil
}

func (y *syslog) write(ctx context.Context, list []message) error {
	stop := context.AfterFunc(ctx, func() { _ = y.raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var b bytes.Buffer
	flush := func() error {
		_ = y.conn.SetWriteDeadline(time.Now().Add(syslogTimeout))
		_, err := b.WriteTo(y.conn)
		return err
	}
	for i := range list {
		b.Write(frame(y.host, &list[i]))
		if b.Len() > 64<<10 || i == len(list)-1 {
			if err := flush(); err != nil {
				return fmt.Errorf("writing to the syslog receiver: %w", err)
			}
		}
	}
	return y.arrive(ctx)
}

var errClosed = errors.New("the syslog receiver closed the connection; it may not have got everything, which is sent again")

// arrive waits until the receiver's system confirmed all bytes, and a while after that.
func (y *syslog) arrive(ctx context.Context) error {
	end := time.After(syslogTimeout)
	for {
		left, err := unsent(y.raw)
		if err != nil {
			return fmt.Errorf("asking what is on its way to the syslog receiver: %w", err)
		}
		if left == 0 {
			break
		}
		select {
		case <-y.closed:
			return errClosed
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return fmt.Errorf("the syslog receiver did not take everything in %v", syslogTimeout)
		case <-time.After(syslogPoll):
		}
	}
	select {
	case <-y.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(syslogSettle):
		return nil
	}
}

// close implements sender.
func (y *syslog) close() {
	if y.conn != nil {
		y.conn.Close()
		<-y.closed
		y.conn = nil
	}
}
