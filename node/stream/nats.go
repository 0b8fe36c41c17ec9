package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outbound"
)

const (
	natsTimeout = 10 * time.Second
	// natsDuplicates is for how long a stream that is made here knows a message again.
	natsDuplicates = time.Hour
)

// The headers of a message besides Nats-Msg-Id.
const (
	headerCursor = "Entente-Cursor"
	headerKind   = "Entente-Change"
	headerRecord = "Entente-Record"
	headerAt     = "Entente-At"
)

// natsSender publishes to JetStream, one message after the other: were several on their way, one that is
// refused would come after those behind it.
type natsSender struct {
	sink *node.Sink
	opts []nats.Option
	conn *nats.Conn
	js   jetstream.JetStream
}

// natsDialer keeps the client from addresses that a sink may not call, those that servers tell it too.
type natsDialer struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial implements nats.CustomDialer.
func (d natsDialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return d.dial(ctx, network, address)
}

func newNATS(s *node.Sink, proxy *outbound.Proxy) (*natsSender, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	conf, err := tlsConfig(s, u.Hostname())
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{nats.Name("entente"), nats.NoReconnect(), nats.IgnoreDiscoveredServers(), nats.SkipHostLookup(), nats.Timeout(natsTimeout),
		nats.SetCustomDialer(natsDialer{dialing(s.Private, proxy)}), nats.Secure(conf)}
	if u.Scheme == "nats" {
		opts[len(opts)-1] = func(o *nats.Options) error { o.TLSConfig = conf; return nil } // if the server asks for it
	}
	auth, err := natsAuth(s.Secret.Unsafe())
	if err != nil {
		return nil, err
	}
	return &natsSender{sink: s, opts: append(opts, auth...)}, nil
}

// natsAuth reads a secret: a credentials file, or what stands before the @ in a NATS address, which is
// USER:PASSWORD or a token.
func natsAuth(secret []byte) ([]nats.Option, error) {
	text := strings.TrimSpace(string(secret))
	if text == "" {
		return nil, nil
	}
	if strings.Contains(text, "-----BEGIN NATS USER JWT-----") {
		if !strings.Contains(text, "-----BEGIN USER NKEY SEED-----") {
			return nil, errors.New("the credentials file has no seed; give the whole file, as nsc writes it")
		}
		return []nats.Option{nats.UserCredentialBytes(bytes.Clone(secret))}, nil
	}
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("the file is no credentials file, and has more than one line; give USER:PASSWORD or a token in one")
	}
	if user, password, ok := strings.Cut(text, ":"); ok {
		return []nats.Option{nats.UserInfo(user, password)}, nil
	}
	return []nats.Option{nats.Token(text)}, nil
}

func (s *natsSender) connect(ctx context.Context) error {
	if s.conn != nil && s.conn.IsConnected() {
		return nil
	}
	s.close()
	conn, err := nats.Connect(s.sink.URL, s.opts...)
	if err != nil {
		return fmt.Errorf("connecting to NATS: %w", err)
	}
	s.conn = conn
	if s.js, err = jetstream.New(conn); err != nil {
		return err
	}
	if s.sink.Stream == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	_, err = s.js.Stream(ctx, s.sink.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: s.sink.Stream, Subjects: []string{s.sink.Subject + ".>"}, Duplicates: natsDuplicates})
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.sink.Stream, err)
	}
	return nil
}

// subject is where a change is published: PREFIX.TOPIC.TYPE, or, of changes that have no record any more,
// PREFIX.KIND.
func subject(prefix string, m *message) string {
	if m.topic == "" || m.typ == "" {
		return prefix + "." + token(string(m.kind))
	}
	return prefix + "." + token(m.topic) + "." + token(m.typ)
}

// token makes a token of a subject of a name: what has a meaning there, or may not be in one, becomes '_'.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
}

// send implements sender.
func (s *natsSender) send(ctx context.Context, list []message) (int, error) {
	if err := s.connect(ctx); err != nil {
		s.close()
		return 0, err
	}
	for i := range list {
		if err := s.publish(ctx, &list[i]); err != nil {
			s.close()
			return i, err
		}
	}
	return len(list), nil
}

func (s *natsSender) publish(ctx context.Context, m *message) error {
	msg := nats.NewMsg(subject(s.sink.Subject, m))
	msg.Data = m.body
	msg.Header.Set(nats.MsgIdHdr, m.id)
	msg.Header.Set(headerCursor, strconv.FormatUint(m.cursor, 10))
	msg.Header.Set(headerKind, string(m.kind))
	msg.Header.Set(headerRecord, m.record)
	msg.Header.Set(headerAt, m.at.UTC().Format(time.RFC3339Nano))
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	opts := []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)} // it is tried again later
	if s.sink.Stream != "" {
		opts = append(opts, jetstream.WithExpectStream(s.sink.Stream))
	}
	_, err := s.js.PublishMsg(ctx, msg, opts...)
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("no stream takes %s; make one with the subjects %s.>, or have the sink make it with --stream", msg.Subject, s.sink.Subject)
	case err != nil:
		return fmt.Errorf("publishing to %s: %w", msg.Subject, err)
	}
	return nil
}

// close implements sender.
func (s *natsSender) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
