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
	maxPost        = 1 << 20          // of the changes in one request, unless one alone is larger
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
}

func newWebhook(s *node.Sink) (*webhook, error) {
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
	d := dialer(s.Private)
	t := &http.Transport{
		// No proxy: what it would connect to, nobody here could judge.
		DialContext: d.DialContext, TLSClientConfig: conf, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: webhookTimeout, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
	}
	client := &http.Client{Transport: t, Timeout: webhookTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &webhook{sink: s.Name, url: s.URL, keys: keys, client: client, now: time.Now}, nil
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

// send implements sender: all of them at once, or, where they are more than maxPost bytes, in parts.
func (w *webhook) send(ctx context.Context, list []message) (acked int, err error) {
	for acked < len(list) && err == nil {
		end, size := acked+1, len(list[acked].body)
		for end < len(list) && size+len(list[end].body) <= maxPost {
			size += len(list[end].body)
			end++
		}
		if err = w.sendPart(ctx, list[acked:end]); err == nil {
			acked = end
		}
	}
	return acked, err
}

func (w *webhook) sendPart(ctx context.Context, list []message) error {
	p := payload{Type: eventType, Timestamp: list[len(list)-1].at}
	p.Data.Sink = w.sink
	for i := range list {
		p.Data.Changes = append(p.Data.Changes, list[i].body)
	}
	body, err := compact(&p)
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
