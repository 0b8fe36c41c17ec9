package hosttest

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// proxyEnv makes the test binary an HTTP proxy instead, which listens at its value: it runs in a
// network namespace.
const proxyEnv = "ENTENTE_TEST_PROXY"

// beProxy serves CONNECT until it is killed.
func beProxy(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			r := bufio.NewReader(c)
			req, err := http.ReadRequest(r)
			if err != nil || req.Method != http.MethodConnect {
				return
			}
			out, err := net.Dial("tcp", req.Host)
			if err != nil {
				_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
				return
			}
			defer out.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
			go func() { _, _ = io.Copy(out, r); out.Close() }()
			_, _ = io.Copy(c, out)
		}()
	}
}
