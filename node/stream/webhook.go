package stream

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outbound"
)

// Webhooks follow Standard Webhooks 1.0.0 (https://github.com/standard-webhooks/standard-webhooks).

// The bounds of the standard on a secret, in bytes, and how many are used at once: a second one while
// receivers change theirs.
const (
	minSecret      = 24
	maxSecret      = 64
	maxSecrets     = 2
	secretPrefix   = "whsec_"
	webhookTimeout = 30 * time.Second // the standard recommends 15 to 30
	maxPost        = 512 << 10        // of a request, unless one change alone is larger; nginx refuses more than 1 MiB unless it is told to take it
	minPost        = 64 << 10         // what is remembered at least of a receiver that takes less
	maxAnswer      = 4 << 10          // of an answer that is read, so that the connection can be used again
)

// NewSecret makes a secret for a webhook.
func NewSecret() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return []byte(secretPrefix + base64.StdEncoding.EncodeToString(b))
}

// parseSecrets reads one or two secrets in text form, divided by white space.
func parseSecrets(text []byte) (keys [][]byte, err error) {
	for word := range strings.FieldsSeq(string(text)) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(word, secretPrefix))
		if err != nil || !strings.HasPrefix(word, secretPrefix) || len(key) < minSecret || len(key) > maxSecret {
			return nil, fmt.Errorf("a webhook's secret is %q and %d to %d bytes in base64", secretPrefix, minSecret, maxSecret)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxSecrets {
		return nil, fmt.Errorf("a webhook has one secret, or two while it is changed")
	}
	return keys, nil
}

// signature signs a message with each key.
func signature(keys [][]byte, id string, at time.Time, body []byte) string {
	var list []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
		mac.Write(body)
		list = append(list, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(list, " ")
}

// webhook delivers by HTTP.
type webhook struct {
	sink   string
	url    string
	keys   [][]byte
	client *http.Client
	now    func() time.Time
	most   int // bytes of a request; less than maxPost once the receiver refused that
}

func newWebhook(s *node.Sink, proxy *outbound.Proxy) (*webhook, error) {
	keys, err := parseSecrets(s.Secret.Unsafe())
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	conf, err := tlsConfig(s, u.Hostname())
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		// No proxy of the environment: which one calls is decided for this program.
		DialContext: dialing(s.Private, proxy), TLSClientConfig: conf, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: webhookTimeout, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
	}
	client := &http.Client{Transport: t, Timeout: webhookTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &webhook{sink: s.Name, url: s.URL, keys: keys, client: client, now: time.Now, most: maxPost}, nil
}

// payload is the body of a webhook.
type payload struct {
	Type      string    `json:"type"`      // eventType
	Timestamp time.Time `json:"timestamp"` // of the last change
	Data      struct {
		Sink    string            `json:"sink"`
		Changes []json.RawMessage `json:"changes"`
	} `json:"data"`
}

const eventType = "entente.changes"

// batchID names a batch by the changes in it, so that a receiver knows it again when it comes once more.
func batchID(list []message) string {
	h := sha256.New()
	for i := range list {
		fmt.Fprintln(h, list[i].id)
	}
	return "msg_" + hex.EncodeToString(h.Sum(nil)[:16])
}

// errTooLarge is what a receiver says to a request that is larger than it takes.
var errTooLarge = errors.New("the receiver answered 413, it takes no request of that size")

// send implements sender: all of them at once, or, where they are more than the receiver takes, in parts.
func (w *webhook) send(ctx context.Context, list []message) (acked int, err error) {
	envelope, err := w.payload(nil)
	if err != nil {
		return 0, err
	}
	most := w.most
	for acked < len(list) {
		end, size := acked+1, len(envelope)+maxStamp+len(list[acked].body)
		for end < len(list) && size+1+len(list[end].body) <= most {
			size += 1 + len(list[end].body)
			end++
		}
		err = w.sendPart(ctx, list[acked:end])
		switch one := &list[acked]; {
		case err == nil:
			acked = end
		case !errors.Is(err, errTooLarge):
			return acked, err
		case end == acked+1:
			what := "the " + string(one.kind) + " change"
			if one.record != "" {
				what = "record " + one.record
			}
			return acked, fmt.Errorf("%w: %s alone makes %d bytes, at cursor %d; have the receiver take that (nginx: client_max_body_size), or replay the sink from that cursor to leave it out", errTooLarge, what, size, one.cursor)
		default:
			most = size / 2
			w.most = max(most, min(minPost, w.most))
		}
	}
	return acked, nil
}

// maxStamp bounds what the time of a payload may be longer by than in an empty one, in bytes.
const maxStamp = 16

// payload is the body that carries some changes.
func (w *webhook) payload(list []message) ([]byte, error) {
	p := payload{Type: eventType}
	p.Data.Sink, p.Data.Changes = w.sink, []json.RawMessage{}
	for i := range list {
		p.Timestamp = list[i].at
		p.Data.Changes = append(p.Data.Changes, list[i].body)
	}
	return compact(&p)
}

func (w *webhook) sendPart(ctx context.Context, list []message) error {
	body, err := w.payload(list)
	if err != nil {
		return err
	}
	return w.post(ctx, batchID(list), body)
}

func (w *webhook) post(ctx context.Context, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	at := w.now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "entente")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	req.Header.Set("webhook-signature", signature(w.keys, id, at, body))
	resp, err := w.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	return answer(resp, at)
}

// answer says what a status means (Standard Webhooks, "Delivery success and failure").
func answer(resp *http.Response, now time.Time) error {
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestEntityTooLarge:
		return errTooLarge
	case code == http.StatusGone:
		return fmt.Errorf("the receiver answered 410 Gone: %w", ErrGone)
	case code >= 300 && code < 400:
		return fmt.Errorf("the receiver answered %d, a redirection, which is not followed; give the address that it leads to", code)
	default:
		err := fmt.Errorf("the receiver answered %d %s", code, http.StatusText(code))
		if after := retryAfter(resp.Header.Get("Retry-After"), now); after > 0 {
			return &Later{err, after}
		}
		return err
	}
}

// retryAfter reads the header of RFC 9110, section 10.2.3.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.Sub(now)
	}
	return 0
}

// withoutURL takes out of an error the address, which may hold a token.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var t tls.RecordHeaderError
	if errors.As(err, &t) {
		return errors.New("the receiver does not speak TLS")
	}
	var d *net.DNSError
	if errors.As(err, &d) {
		return fmt.Errorf("its name cannot be resolved: %s", d.Err)
	}
	return err
}

// close implements sender.
func (w *webhook) close() { w.client.CloseIdleConnections() }
