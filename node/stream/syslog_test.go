package stream

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// collector is a syslog receiver that reads what RFC 6587 and RFC 5425 send.
type collector struct {
	net.Listener
	got chan string
	cut chan struct{} // the next connection is closed after one message
}

func newCollector(t *testing.T, conf *tls.Config) *collector {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	c := &collector{l, make(chan string, 1000), make(chan struct{}, 10)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.read(t, conn)
		}
	}()
	return c
}

func (c *collector) read(t *testing.T, conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		size, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil || n <= 0 || size[0] == '0' {
			t.Errorf("length %q", size)
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		c.got <- string(b)
		select {
		case <-c.cut:
			return
		default:
		}
	}
}

// syslogMessage is the grammar of RFC 5424, section 6, as far as this program uses it.
var syslogMessage = regexp.MustCompile(`^<133>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [!-~]{1,255} entente - ([a-z]+) - ((?s).*)$`)

// TestSyslog delivers over real TLS; a connection that is closed loses nothing.
func TestSyslog(t *testing.T) {
	cert, roots := testCertificate(t)
	c := newCollector(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	n := testNode(t)
	loadRules(t, n, noAmber, people)
	publish(t, n, protocol.TLPGreen, "198.51.100.1", "198.51.100.2", "198.51.100.3")
	amber := publish(t, n, protocol.TLPAmber, "198.51.100.4")
	c.cut <- struct{}{}
	set(t, n, node.Sink{Name: "log", Kind: node.SinkSyslog, URL: "tls://" + c.Addr().String(), Private: true, Roots: roots})
	start(t, n)
	until(t, "the place is stored", func() bool { p := progress(t, n, "log"); return p.Cursor == 4 && p.Failing.IsZero() })
	erase(t, n, amber...)
	erase(t, n, publish(t, n, protocol.TLPGreen, "198.51.100.5")...)
	until(t, "the place is stored", func() bool { return progress(t, n, "log").Cursor == 7 })
	seen := map[string]bool{}
	var order []string
	for len(c.got) > 0 {
		m := <-c.got
		parts := syslogMessage.FindStringSubmatch(m)
		if parts == nil {
			t.Fatalf("no message of RFC 5424: %q", m)
		}
		if strings.Contains(m, "198.51.100.4") || strings.Contains(m, "amber") {
			t.Errorf("delivered what its reader may not export: %q", m)
		}
		cursor := regexp.MustCompile(`cn1=(\d+)`).FindStringSubmatch(parts[2])
		if !strings.HasPrefix(parts[2], "CEF:0|Entente|Entente|1|"+parts[1]+"|") || cursor == nil {
			t.Fatalf("no CEF: %q", m)
		}
		if !seen[cursor[1]] {
			order = append(order, cursor[1]+" "+parts[1])
		}
		seen[cursor[1]] = true
	}
	got := strings.Join(order, ", ")
	// The record that came last may have been erased before it was delivered.
	if got != "1 added, 2 added, 3 added, 6 added, 7 erased" && got != "1 added, 2 added, 3 added, 7 erased" {
		t.Errorf("delivered %s", got)
	}
}

// TestSyslogClosed: what a receiver that closes the connection did not get is not acknowledged.
func TestSyslogClosed(t *testing.T) {
	c := newCollector(t, nil)
	s := node.Sink{Name: "log", Kind: node.SinkSyslog, URL: "tcp://" + c.Addr().String(), Private: true, Plain: true}
	to, err := newSyslog(&s)
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	list := make([]message, 10)
	for i := range list {
		list[i] = message{kind: node.ChangeAdded, body: fmt.Append(nil, i)}
	}
	c.cut <- struct{}{}
	if acked, err := to.send(t.Context(), list); acked != 0 || err == nil {
		t.Errorf("%d acknowledged, %v", acked, err)
	}
	if acked, err := to.send(t.Context(), list); acked != 10 || err != nil {
		t.Errorf("%d acknowledged, %v", acked, err)
	}
	for range 11 {
		receive(t, c.got, "a message")
	}
}

// TestFrame: lengths count bytes, and what is not ASCII has the mark that RFC 5424 asks for.
func TestFrame(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 891234567, time.FixedZone("x", 3600))
	for body, want := range map[string]string{
		"CEF:0|a": "71 <133>1 2026-03-04T04:06:07.891234Z host entente - added - CEF:0|a",
		"é":       "69 <133>1 2026-03-04T04:06:07.891234Z host entente - added - \ufeffé",
	} {
		got := string(frame("host", &message{kind: node.ChangeAdded, at: at, body: []byte(body)}))
		size, rest, _ := strings.Cut(got, " ")
		if n, err := strconv.Atoi(size); err != nil || n != len(rest) || rest != want[strings.IndexByte(want, ' ')+1:] {
			t.Errorf("%q\n%q", got, want)
		}
	}
	if got := headerField("a b\x00ü", 255); got != "ab" {
		t.Errorf("%q", got)
	}
	if got := headerField("ü", 255); got != "-" {
		t.Errorf("%q", got)
	}
}

// TestCEF: fields that say what they should not end where they should.
func TestCEF(t *testing.T) {
	object := map[string]any{"type": "indicator", "spec_version": "2.1", "id": "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z",
		"pattern": "[url:value = 'http://x.example/a=b|c']", "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00Z", "name": "a=b|c\\d\nCEF:0|x|" + strings.Repeat("é", 2000)}
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	c := node.Change{Cursor: 7, Kind: node.ChangeWithdrawn, At: time.UnixMilli(1234).UTC(), Record: &node.Record{StixID: "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", Type: "indicator",
		Topic: "c2", Originator: node.OrgRef{Name: "Evil | Org = \n x"}, Handling: node.HandlingView{TLP: "green"}, WithdrawReason: "false=positive", Object: raw}}
	got := string(cef(&c))
	for _, want := range []string{"CEF:0|Entente|Entente|1|withdrawn|Record withdrawn|3|rt=1234 externalId=rec:", " cn1Label=Cursor cn1=7 ", " cat=indicator ", " cs1Label=TLP cs1=green ",
		` cs4=Evil | Org \= \n x `, ` reason=false\=positive `, ` cs6Label=Observables cs6=`, `http://x.example/a\=b|c`, `msg=a\=b|c\\d\nCEF:0|x|é`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if len(got) > maxCEF || strings.ContainsAny(got, "\r\n") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	gone := string(cef(&node.Change{Cursor: 8, Kind: node.ChangeErased, At: time.UnixMilli(1234)}))
	if !strings.HasPrefix(gone, "CEF:0|Entente|Entente|1|erased|Record erased, destroy all copies|6|rt=1234 externalId=rec:") || !strings.HasSuffix(gone, " cn1Label=Cursor cn1=8") {
		t.Errorf("%q", gone)
	}
}
