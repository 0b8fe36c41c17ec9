package stream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outbound"
	"github.com/entente-mesh/entente/policy/rules"
)

// message is one change as a receiver gets it.
type message struct {
	cursor uint64
	kind   node.ChangeKind
	at     time.Time
	id     string // names the change, the same whenever it is delivered
	record string // its id
	topic  string // empty: not known any more
	typ    string // the same
	body   []byte
}

// sender delivers to one receiver. It is for one goroutine.
type sender interface {
	// send returns how many messages, from the first on, the receiver acknowledged; all, or an error.
	send(ctx context.Context, list []message) (acked int, err error)
	close()
}

func newSender(s *node.Sink, proxy *outbound.Proxy) (sender, error) {
	if s.Private {
		proxy = nil // it is inside of this network, where the proxy does not lead
	}
	switch s.Kind {
	case node.SinkWebhook:
		return newWebhook(s, proxy)
	case node.SinkNATS:
		return newNATS(s, proxy)
	case node.SinkSyslog:
		if proxy != nil {
			// The system that confirms bytes would be the proxy's: see syslog.written.
			return nil, errors.New("syslog does not go by way of the proxy, which would confirm what the receiver did not get: let a receiver inside of the network, with --allow-private, pass it on, or use a webhook")
		}
		return newSyslog(s)
	}
	return nil, fmt.Errorf("there is no kind of sink %q", s.Kind)
}

// DefaultBatch is how many changes are delivered at once where nobody says otherwise.
func DefaultBatch(k node.SinkKind) int {
	if k == node.SinkSyslog {
		return 500
	}
	return 64
}

var (
	subjectPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	streamName    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// Prepare fills in what a person left open of a sink, and refuses what cannot be delivered to. It does
// not call the receiver.
func Prepare(s *node.Sink) error {
	if s.Format == "" {
		if s.Format = node.SinkJSON; s.Kind == node.SinkSyslog {
			s.Format = node.SinkCEF
		}
	}
	if s.Batch == 0 {
		s.Batch = DefaultBatch(s.Kind)
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("the sink's address is no URL with a host; give it as %s", example(s.Kind))
	}
	if u.User != nil {
		return errors.New("the address holds a password or a token, which would be shown; give it in a file, with --secret-file")
	}
	if u.Fragment != "" {
		return errors.New("the address has a fragment (#…), which is not sent")
	}
	secure, plain := schemes(s.Kind)
	switch {
	case u.Scheme == secure:
	case u.Scheme == "udp":
		return errors.New("syslog over UDP loses messages and nobody is told; use tls://HOST:6514 (RFC 5425), or tcp://HOST:601 with --allow-plain")
	case u.Scheme != plain:
		return fmt.Errorf("a %s has an address as %s; %q is not known there", s.Kind, example(s.Kind), u.Scheme)
	case !s.Plain:
		return fmt.Errorf("over %s://, others on the way can read what is delivered; use %s://, or --allow-plain where the way is safe", plain, secure)
	}
	if s.Kind != node.SinkWebhook && (u.Path != "" && u.Path != "/" || u.RawQuery != "") {
		return fmt.Errorf("the address of a %s sink is a scheme, a host and a port only", s.Kind)
	}
	if s.Kind == node.SinkSyslog && u.Port() == "" {
		return errors.New("give the port of the syslog receiver; 6514 is the usual one of TLS")
	}
	if !hasFormat(s.Kind, s.Format) {
		return fmt.Errorf("a %s sink has no format %s; use %s", s.Kind, s.Format, strings.Join(formats(s.Kind), " or "))
	}
	if s.Kind != node.SinkNATS && (s.Stream != "" || s.Subject != "") {
		return errors.New("streams and subjects are of NATS sinks only")
	}
	if s.Kind == node.SinkNATS {
		if s.Subject == "" {
			s.Subject = "entente"
		}
		if !subjectPrefix.MatchString(s.Subject) || len(s.Subject) > 64 {
			return fmt.Errorf("subjects begin with up to 64 letters, digits, '_' and '-', with dots between; not with %q", s.Subject)
		}
		if s.Stream != "" && !streamName.MatchString(s.Stream) {
			return fmt.Errorf("a stream's name has 1 to 64 letters, digits, '_' and '-'; %q has not", s.Stream)
		}
	}
	if s.Kind == node.SinkSyslog && !s.Secret.IsZero() {
		return errors.New("syslog knows no secrets; leave --secret-file out")
	}
	d, err := newSender(s, nil)
	if err != nil {
		return err
	}
	d.close()
	return nil
}

// Complete is Prepare for a sink that somebody adds to a node, or puts in the place of another: it reads as
// them if it names nobody, a webhook without a secret gets one, which is returned, and one that replaces
// another at the same address keeps that one's.
func Complete(n *node.Node, s *node.Sink, who *rules.Principal, replace bool) (made string, err error) {
	if s.Reader == "" && who != nil {
		s.Reader = who.ID
	}
	if err := n.CheckSinkReader(s); err != nil {
		return "", err
	}
	if s.Secret.IsZero() && replace {
		was, err := n.Sink(s.Name)
		if err != nil && !errors.Is(err, node.ErrNotFound) {
			return "", err
		}
		if err == nil && was.Kind == s.Kind && sameHost(was.URL, s.URL) {
			s.Secret = was.Secret
		}
	}
	if s.Secret.IsZero() && s.Kind == node.SinkWebhook {
		b := NewSecret()
		s.Secret, made = node.NewSinkSecret(b), string(b)
	}
	if err := Prepare(s); err != nil {
		return made, err
	}
	to, err := newSender(s, n.Proxy())
	if err != nil {
		return "", err
	}
	to.close()
	return made, nil
}

// sameHost reports whether two addresses are of one receiver: a secret is not sent to another.
func sameHost(a, b string) bool {
	u, err := url.Parse(a)
	v, verr := url.Parse(b)
	return err == nil && verr == nil && u.Scheme == v.Scheme && u.Host == v.Host
}

func schemes(k node.SinkKind) (secure, plain string) {
	switch k {
	case node.SinkWebhook:
		return "https", "http"
	case node.SinkNATS:
		return "tls", "nats"
	}
	return "tls", "tcp"
}

func example(k node.SinkKind) string {
	switch k {
	case node.SinkWebhook:
		return "https://siem.example.org/hooks/entente"
	case node.SinkNATS:
		return "tls://nats.example.org:4222"
	}
	return "tls://syslog.example.org:6514"
}

func formats(k node.SinkKind) []string {
	if k == node.SinkSyslog {
		return []string{string(node.SinkCEF), string(node.SinkJSON)}
	}
	return []string{string(node.SinkJSON), string(node.SinkSTIX)}
}

func hasFormat(k node.SinkKind, f node.SinkFormat) bool {
	return slices.Contains(formats(k), string(f))
}
