package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/misp"
	"github.com/entente-mesh/entente/node/outbound"
	"github.com/entente-mesh/entente/node/taxii"
	"github.com/entente-mesh/entente/protocol"
)

// taxiiPage is how many objects of a TAXII server one page is to have.
const taxiiPage = 1000

// taxiiSource polls a collection of a TAXII 2.1 server. Its cursor is the client's state.
type taxiiSource struct {
	src    *node.Source
	client *taxii.Client
}

func newTAXII(src *node.Source, proxy *outbound.Proxy) (*taxiiSource, error) {
	u, err := checkURL(src)
	if err != nil {
		return nil, err
	}
	h, err := client(src, proxy)
	return &taxiiSource{src, &taxii.Client{URL: src.Where, User: src.Secret.User, Password: src.Secret.Password, Token: src.Secret.Token, HTTP: h, Limit: taxiiPage, Plain: u.Scheme == "http"}}, err
}

// Pull implements Puller.
func (t *taxiiSource) Pull(ctx context.Context, cursor []byte, fn func(*Document) error) error {
	defer t.client.HTTP.CloseIdleConnections()
	var state taxii.State
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &state); err != nil {
			return fmt.Errorf("reading where the source stands: %w", err)
		}
	}
	page := 0
	err := t.client.Poll(ctx, t.src.Collection, state, func(objects []json.RawMessage, next taxii.State) error {
		page++
		d := &Document{Where: fmt.Sprintf("collection %s after %s, page %d", t.src.Collection, orStart(state.AddedAfter), page), Format: intake.STIX}
		var err error
		if d.Next, err = json.Marshal(next); err != nil {
			return err
		}
		if len(objects) > 0 {
			d.Bytes = bundle(objects)
		}
		if uint64(len(d.Bytes)) > t.src.MaxBytes {
			return protocol.Errorf(protocol.ErrOversize, "a page of %d objects has %d bytes, and the source takes %d; change the source (--replace) to a larger --max-bytes", len(objects), len(d.Bytes), t.src.MaxBytes)
		}
		return fn(d)
	})
	var said *taxii.ServerError
	if errors.As(err, &said) && said.RetryAfter > 0 {
		return &laterError{err, said.RetryAfter}
	}
	return err
}

func orStart(addedAfter string) string {
	if addedAfter == "" {
		return "the beginning"
	}
	return addedAfter
}

// bundle puts objects into a bundle, byte for byte, one a line.
func bundle(objects []json.RawMessage) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"type\":\"bundle\",\"id\":\"bundle--%s\",\"objects\":[\n", uuid.NewString())
	for i, o := range objects {
		if i > 0 {
			b.WriteString(",\n")
		}
		b.Write(o)
	}
	b.WriteString("]}")
	return b.Bytes()
}

// mispSource polls a feed of MISP. Its cursor is the ETag of the manifest of which everything was taken; the
// events that were taken are known one by one, by their UUIDs, with their timestamps.
type mispSource struct {
	src    *node.Source
	client *misp.FeedClient
	sift   *sifter
}

func newMISP(src *node.Source, proxy *outbound.Proxy, s *sifter) (*mispSource, error) {
	if _, err := checkURL(src); err != nil {
		return nil, err
	}
	h, err := client(src, proxy)
	header := http.Header{}
	switch {
	case src.Secret.Token != "":
		header.Set("Authorization", src.Secret.Token) // as MISP takes its keys
	case !src.Secret.IsZero():
		r := &http.Request{Header: header}
		login(r, &src.Secret)
	}
	return &mispSource{src, &misp.FeedClient{URL: src.Where, HTTP: h, Header: header}, s}, err
}

// eventMark stands where a record would for an event of MISP that was taken: what it is, and its timestamp.
func eventMark(at int64) (id protocol.RecordID) {
	copy(id[:], eventPrefix)
	binary.BigEndian.PutUint64(id[len(id)-8:], uint64(at))
	return id
}

const (
	eventPrefix  = "misp event\x00taken at\x00\x00\x00\x00\x00"
	missedPrefix = "misp event\x00missed at\x00\x00\x00\x00" // it could not be had
)

// missedDays is after how many days an event that could not be had is tried again, if its timestamp did not change.
const missedDays = 7

// events returns the events that were taken, with their timestamps.
func (m *mispSource) events() map[string]int64 {
	out := map[string]int64{}
	for _, k := range m.sift.set {
		mark := string(k.Record[:])
		if strings.HasPrefix(mark, eventPrefix) || strings.HasPrefix(mark, missedPrefix) && k.Day+missedDays > m.sift.day {
			out[uuid.UUID(k.Key).String()] = int64(binary.BigEndian.Uint64(k.Record[len(k.Record)-8:]))
		}
	}
	return out
}

// Pull implements Puller.
func (m *mispSource) Pull(ctx context.Context, cursor []byte, fn func(*Document) error) error {
	defer m.client.HTTP.CloseIdleConnections()
	state := misp.FeedState{ETag: string(cursor), Events: m.events()}
	m.client.Missing = func(id string, at int64, why error) error {
		u, err := uuid.Parse(id)
		if err != nil {
			return err
		}
		mark := eventMark(at)
		copy(mark[:], missedPrefix)
		return fn(&Document{Where: "event " + u.String(), Key: node.KnownKey(u), HasKey: true, Mark: mark, Reason: "the feed's manifest names the event, and it cannot be had: " + why.Error(),
			Do: "tell who runs the feed, or drop this; it is tried again when its timestamp changes, and else at the earliest after a week"})
	}
	return m.client.Poll(ctx, state, func(event json.RawMessage, next misp.FeedState) error {
		if event == nil {
			if next.ETag == string(cursor) || len(next.ETag) > maxETag {
				return nil
			}
			return fn(&Document{Where: m.src.Where, Next: []byte(next.ETag)})
		}
		id, at, err := eventOf(event, next.Events)
		if err != nil {
			return err
		}
		d := &Document{Where: "event " + id.String(), Bytes: event, Format: intake.MISP, Key: node.KnownKey(id), HasKey: true, Mark: eventMark(at)}
		if uint64(len(event)) > m.src.MaxBytes {
			d.Bytes, d.Reason, d.Do = nil, fmt.Sprintf("the event has %d bytes, and the source takes %d", len(event), m.src.MaxBytes), "change the source (--replace) to a larger --max-bytes"
		}
		return fn(d)
	})
}

// eventOf finds which event it is, and the timestamp that the manifest gave it.
func eventOf(event json.RawMessage, events map[string]int64) (uuid.UUID, int64, error) {
	var file struct {
		Event struct {
			UUID string `json:"uuid"`
		}
	}
	if err := json.Unmarshal(event, &file); err != nil {
		return uuid.UUID{}, 0, err
	}
	id, err := uuid.Parse(file.Event.UUID)
	if err != nil {
		return id, 0, fmt.Errorf("an event of the feed has no UUID: %w", err)
	}
	for _, name := range []string{id.String(), file.Event.UUID} {
		if at, ok := events[name]; ok {
			return id, at, nil
		}
	}
	return id, 0, fmt.Errorf("event %s is not in the manifest", id)
}
