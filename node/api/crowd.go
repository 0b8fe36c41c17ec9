package api

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Bounds on the connections to the socket that every account of the machine may open. Who is nobody has few, and all of
// them together so many that the people's are never refused for them: with user namespaces one account has
// thousands of numbers.
const (
	maxConnsPerson   = 64 // of one account that is a person's, or the node's own or root's
	maxConnsStranger = 8  // of one account of nobody's
	maxConnsNobody   = 32 // of all accounts of nobody's
)

// overflowUID is whom Linux names for every account that has no number where this process runs, as those of the host have
// none in a container: Documentation/admin-guide/sysctl/kernel.rst, overflowuid. It is called nobody, and is anybody.
const overflowUID = 65534

// refusalPatience is how long the answer to a connection too many may take to be written; it fits the kernel's buffer.
const refusalPatience = 100 * time.Millisecond

// crowd is a listener that bounds how many connections an account has at a time.
type crowd struct {
	net.Listener
	known func(uid int) bool // the account is somebody's

	mu      sync.Mutex
	of      map[int]int // open connections by uid
	nobodys int         // of all accounts of nobody's
}

func newCrowd(l net.Listener, known func(uid int) bool) *crowd {
	return &crowd{Listener: l, known: known, of: map[int]int{}}
}

// Accept implements net.Listener. A connection too many is answered and closed here.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, ok := peerUID(conn)
		if !ok || uid == overflowUID {
			uid = unknownUID
		}
		leave, most := c.enter(uid)
		if leave != nil {
			return &crowdConn{Conn: conn, uid: uid, leave: sync.OnceFunc(leave)}, nil
		}
		text := fmt.Sprintf(`{"error":"this account has %d connections to the node open, or nobody's accounts %d together, which is as many as there may be; end some and ask again"}`+"\n", most, maxConnsNobody)
		_ = conn.SetWriteDeadline(time.Now().Add(refusalPatience))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		_ = conn.Close()
	}
}

// enter counts a connection; a nil leave says that it is one too many, of at most so many.
func (c *crowd) enter(uid int) (leave func(), most int) {
	known := uid != unknownUID && c.known(uid)
	c.mu.Lock()
	defer c.mu.Unlock()
	if most = maxConnsStranger; known {
		most = maxConnsPerson
	}
	if c.of[uid] >= most || !known && c.nobodys >= maxConnsNobody {
		return nil, most
	}
	c.of[uid]++
	if !known {
		c.nobodys++
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.of[uid]--; c.of[uid] == 0 {
			delete(c.of, uid)
		}
		if !known {
			c.nobodys--
		}
	}, most
}

type crowdConn struct {
	net.Conn
	uid   int
	leave func()
}

// Close implements net.Conn.
func (c *crowdConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// somebodys reports whether an account is somebody's: of one of the people, or, where there are none, the operator's.
func (s *Server) somebodys(uid int) bool {
	if s.node.HasAccounts() {
		return len(s.node.AccountOf(s.userName(uid)).Roles) > 0
	}
	return uid == os.Getuid() || uid == 0
}

// maxUsers bounds the names of accounts that are remembered.
const maxUsers = 1024

// userNames are names of accounts that were looked up.
type userNames struct {
	mu sync.Mutex
	of map[int]account // by uid
}

func (u *userNames) get(uid int) (name string, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a, ok := u.of[uid]
	return a.name, ok && time.Since(a.at) < userLife
}

func (u *userNames) put(uid int, a account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil || len(u.of) >= maxUsers {
		u.of = map[int]account{}
	}
	u.of[uid] = a
}
