package misp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/protocol"
)

// maxManifest bounds the manifest of a feed, of a million events or more.
const maxManifest = 256 << 20

// FeedClient pulls a feed of MISP.
type FeedClient struct {
	URL    string       // where manifest.json lies
	HTTP   *http.Client // nil: http.DefaultClient
	Header http.Header  // of every request, as Authorization; may be nil
	// Missing is called for an event of the manifest that the feed does not hold (404, 410), or holds another in
	// place of, with the manifest's timestamp and the reason. An error ends the poll. nil: it is part of Poll's error.
	Missing func(id string, at int64, why error) error
}

// FeedState is how far a feed was pulled. It is kept as JSON, and is the zero value at first.
type FeedState struct {
	ETag   string           `json:"etag,omitempty"` // of the manifest of which everything was pulled
	Events map[string]int64 `json:"events,omitempty"`
}

// Poll pulls what of a feed is new or newer than state says: the manifest, and then the events in the
// order of their timestamps. fn is called for each, {"Event":…}, with the state to go on from when the
// event is taken; it must keep the state before it returns, and not keep the map. Last of all, if nothing is
// left and the manifest is another one, it is called with nil and the state with the ETag. An error of fn ends
// the poll. An event that cannot be had is passed over, to be tried again the next time, and is part
// of the error.
func (c *FeedClient) Poll(ctx context.Context, state FeedState, fn func(event json.RawMessage, next FeedState) error) error {
	body, etag, err := c.get(ctx, "manifest.json", state.ETag, maxManifest)
	if err != nil || body == nil {
		return err
	}
	var manifest map[string]core.Fields
	if err := json.Unmarshal(body, &manifest); err != nil {
		return protocol.Errorf(protocol.ErrMalformed, "%s/manifest.json is no manifest of a MISP feed: %v", c.URL, err)
	}
	next := FeedState{Events: map[string]int64{}}
	stamps := map[string]int64{}
	var bad []error
	for id, entry := range manifest {
		at, err := strconv.ParseInt(entry.Text("timestamp"), 10, 64)
		u, uerr := uuid.Parse(id)
		if err != nil || uerr != nil || u.String() != strings.ToLower(id) {
			bad = append(bad, fmt.Errorf("the manifest names %q without a UUID or a timestamp", core.Clip(id)))
			continue
		}
		stamps[id] = at
		if seen, ok := state.Events[id]; ok {
			next.Events[id] = seen
		}
	}
	order := slices.SortedFunc(maps.Keys(stamps), func(a, b string) int { return cmp.Or(cmp.Compare(stamps[a], stamps[b]), cmp.Compare(a, b)) })
	order = slices.DeleteFunc(order, func(id string) bool { seen, ok := next.Events[id]; return ok && seen >= stamps[id] })
	for _, id := range order {
		event, _, err := c.get(ctx, id+".json", "", MaxEvent)
		if err == nil {
			err = isEvent(event, id)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && c.Missing != nil && (errors.Is(err, errMissing) || errors.Is(err, protocol.ErrMalformed) || errors.Is(err, protocol.ErrWrongContext) || errors.Is(err, protocol.ErrOversize)) {
			if err := c.Missing(id, stamps[id], err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			if bad = append(bad, err); len(bad) >= 100 {
				return errors.Join(bad...)
			}
			continue
		}
		next.Events[id] = stamps[id]
		if err := fn(event, next); err != nil {
			return err
		}
	}
	if len(bad) == 0 && etag != "" && etag != state.ETag {
		next.ETag = etag
		return fn(nil, next)
	}
	return errors.Join(bad...)
}

// errMissing: the feed has no such file.
var errMissing = errors.New("it is not there")

// isEvent checks that a file of a feed is the event that it is named for.
func isEvent(data json.RawMessage, id string) error {
	var file struct{ Event core.Fields }
	if err := json.Unmarshal(data, &file); err != nil {
		return protocol.Errorf(protocol.ErrMalformed, "event %s of the feed is no JSON: %v", id, err)
	}
	if got := file.Event.Text("uuid"); !strings.EqualFold(got, id) {
		return protocol.Errorf(protocol.ErrWrongContext, "event %s of the feed says that it is %q", id, core.Clip(got))
	}
	return nil
}

// get reads a file of the feed; nil if it is what the ETag says.
func (c *FeedClient) get(ctx context.Context, file, etag string, bound int64) (body []byte, tag string, err error) {
	url := strings.TrimSuffix(c.URL, "/") + "/" + file
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	maps.Copy(req.Header, c.Header)
	req.Header.Set("Accept", "application/json")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && etag != "" {
		return nil, etag, nil
	}
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
		return nil, "", fmt.Errorf("reading %s: %s: %w", url, resp.Status, errMissing)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("reading %s: %s", url, resp.Status)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, bound+1))
	if err == nil && int64(len(body)) > bound {
		err = protocol.Errorf(protocol.ErrOversize, "%s has more than %d MiB", url, bound>>20)
	}
	return body, resp.Header.Get("ETag"), err
}
