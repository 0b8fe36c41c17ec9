package taxii

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// Bounds of what another server is believed to have.
const (
	// MaxPage bounds one answer of a server, unpacked: 64 MiB.
	MaxPage        = 64 << 20
	maxPageObjects = 100000
	maxCollections = 1000
	maxRoots       = 50
	maxTokenLength = 8 << 10
	maxEmptyPages  = 100 // in a row, that say that there is more
	defaultTimeout = 2 * time.Minute
	maxErrorText   = 500 // bytes of what a server says of an error
)

// Overlap is how far before the last object that it was given a client asks again when it comes
// back. Servers give several objects one time, of milliseconds or seconds, and some add one with a time
// that was given out already: what comes twice is found to be known, what is skipped is lost.
const Overlap = time.Second

// Client reads collections of one TAXII 2.1 server. It may be used by one goroutine at a time.
type Client struct {
	// URL is that of discovery, as https://example.org/taxii2/, or of an API root.
	URL string
	// User and Password are for HTTP Basic; Token, if it is set, for Bearer. They go to the host of
	// URL only.
	User, Password, Token string
	// HTTP does the requests; nil: a client that waits for two minutes for each. Its CheckRedirect
	// is not used: redirects are followed on the same host only.
	HTTP *http.Client
	// Limit is how many objects to ask for in one answer; 0: as many as the server likes.
	Limit int
	// Plain allows http. Without it only a loopback address may be spoken to without TLS (TAXII 8.5.1).
	Plain bool
	// UserAgent names who asks; "": entente.
	UserAgent string
}

// State is how far a collection was read. The zero value is the beginning. It is kept by the caller,
// after what was given with it is safe.
type State struct {
	AddedAfter string `json:"added_after,omitempty"` // as the server wrote it, or as [timestamp]
	Next       string `json:"next,omitempty"`        // where the pages after AddedAfter go on; "": with the first
}

// ServerError is an answer of a server that is not a success.
type ServerError struct {
	Status     int
	Text       string        // what the server says, cut
	RetryAfter time.Duration // that it asks to wait; 0: it does not say
}

func (e *ServerError) Error() string {
	s := fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status))
	if e.Text != "" {
		s += ": " + e.Text
	}
	switch e.Status {
	case http.StatusUnauthorized:
		s += "; check user and password, or the token"
	case http.StatusForbidden:
		s += "; ask who runs it for the right to read this collection"
	case http.StatusNotAcceptable, http.StatusUnsupportedMediaType:
		s += "; it may speak another version than TAXII 2.1"
	}
	return s
}

// Collections lists the collections of all API roots that the server names on its own host. Roots on
// other hosts are left out: credentials are not theirs.
func (c *Client) Collections(ctx context.Context) ([]Collection, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	var doc struct {
		Roots    []string `json:"api_roots"`
		Versions []string `json:"versions"`
	}
	if _, err := c.get(ctx, base, &doc); err != nil {
		return nil, fmt.Errorf("reading %s: %w", base.Redacted(), err)
	}
	roots := []*url.URL{base}
	if doc.Versions == nil {
		if roots, err = rootsOf(base, doc.Roots); err != nil {
			return nil, err
		}
	}
	list := []Collection{}
	for _, root := range roots {
		at := root.JoinPath("collections/")
		var doc collections
		if _, err := c.get(ctx, at, &doc); err != nil {
			return nil, fmt.Errorf("reading %s: %w", at.Redacted(), err)
		}
		for _, col := range doc.Collections {
			if col.ID == "" || strings.ContainsAny(col.ID, "/?#") {
				return nil, protocol.Errorf(protocol.ErrMalformed, "%s: a collection has the id %s", at.Redacted(), shown(col.ID))
			}
			if len(list) == maxCollections {
				return nil, protocol.Errorf(protocol.ErrOversize, "the server has more than %d collections; give the URL of one", maxCollections)
			}
			col.URL = at.JoinPath(col.ID + "/").String()
			list = append(list, col)
		}
	}
	return list, nil
}

func rootsOf(base *url.URL, names []string) (roots []*url.URL, err error) {
	if len(names) > maxRoots {
		return nil, protocol.Errorf(protocol.ErrOversize, "the server names %d API roots; give the URL of one", len(names))
	}
	for _, name := range names {
		u, err := base.Parse(name)
		if err != nil || u.RawQuery != "" {
			return nil, protocol.Errorf(protocol.ErrMalformed, "%s names an API root %s", base.Redacted(), shown(name))
		}
		if u.Scheme == base.Scheme && u.Host == base.Host {
			roots = append(roots, slashed(u))
		}
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("%s names no API root on its own host; give the URL of one", base.Redacted())
	}
	return roots, nil
}

func slashed(u *url.URL) *url.URL {
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	return u
}

func (c *Client) base() (*url.URL, error) { return c.parse(c.URL) }

func (c *Client) parse(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s is not the URL of a TAXII server, as https://example.org/taxii2/ (credentials are given beside it)", shown(s))
	case u.Scheme == "https", u.Scheme == "http" && (c.Plain || loopback(u.Hostname())):
		return slashed(u), nil
	}
	return nil, fmt.Errorf("%s is not https; TAXII wants TLS, and credentials would be sent in the clear", shown(s))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// find returns where a collection is: named by its URL, id, alias or, if but one has it, title.
func (c *Client) find(ctx context.Context, name string) (*url.URL, error) {
	if strings.Contains(name, "://") {
		u, err := c.parse(name)
		if err != nil {
			return nil, err
		}
		base, err := c.base()
		if err != nil {
			return nil, err
		}
		if u.Host != base.Host || u.Scheme != base.Scheme {
			return nil, fmt.Errorf("collection %s is not on the host of %s; the credentials are for that one", u.Redacted(), base.Redacted())
		}
		return u, nil
	}
	list, err := c.Collections(ctx)
	if err != nil {
		return nil, err
	}
	for _, is := range []func(*Collection) bool{
		func(col *Collection) bool { return col.ID == name },
		func(col *Collection) bool { return col.Alias == name },
		func(col *Collection) bool { return col.Title == name },
	} {
		var found []*Collection
		for i := range list {
			if is(&list[i]) {
				found = append(found, &list[i])
			}
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("%d collections are called %s; give the id or the URL of one", len(found), shown(name))
		}
		if len(found) == 1 {
			if !found[0].CanRead {
				return nil, fmt.Errorf("collection %s may not be read with these credentials; ask who runs the server", shown(name))
			}
			return url.Parse(found[0].URL)
		}
	}
	titles := []string{}
	for i := range list[:min(len(list), 20)] {
		titles = append(titles, list[i].ID+" "+shown(list[i].Title))
	}
	return nil, fmt.Errorf("the server has no collection %s; it has: %s", shown(name), strings.Join(titles, ", "))
}

// page is an envelope as servers send them: without objects, without next, or with next as a number.
type page struct {
	More    bool              `json:"more"`
	Next    anyText           `json:"next"`
	Objects []json.RawMessage `json:"objects"`
}

// anyText is a string, or a number as some servers send it.
type anyText string

func (t *anyText) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		return nil
	case len(b) > 0 && b[0] == '"':
		return json.Unmarshal(b, (*string)(t))
	case len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9'):
		*t = anyText(b)
		return nil
	}
	return fmt.Errorf("next is %s", shown(string(b)))
}

// Poll gives fn all objects of a collection that were added after a state, page by page, each with
// the state to go on from once they are safe. It returns when the server has no more for now, or
// with the first error, fn's among them. A collection is named by its id, alias, title or URL.
//
// Objects may come again: of the last second (see [Overlap]), and where a caller went down
// before it kept a state. None is left out by a server that keeps to the standard's order (3.3), if no
// more objects share one time of adding than it puts on a page, or if it gives next.
func (c *Client) Poll(ctx context.Context, collection string, state State, fn func(objects []json.RawMessage, next State) error) error {
	at, err := c.find(ctx, collection)
	if err != nil {
		return err
	}
	at = at.JoinPath("objects/")
	if state.Next != "" {
		err := c.pages(ctx, at, &state, fn)
		if !refusesNext(err) {
			return err
		}
		state.Next = "" // it was given too long ago: the pages begin again
	}
	return c.pages(ctx, at, &state, fn)
}

// refusesNext reports an answer that a server gives to a next that it does not know, or no more.
func refusesNext(err error) bool {
	var e *ServerError
	return errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound || e.Status == http.StatusUnprocessableEntity || e.Status == http.StatusGone)
}

// pages reads to the end, and leaves in state how far fn was given it.
func (c *Client) pages(ctx context.Context, at *url.URL, state *State, fn func([]json.RawMessage, State) error) error {
	empty := 0
	for {
		u := *at
		q := url.Values{}
		set := func(name, v string) {
			if v != "" {
				q.Set(name, v)
			}
		}
		set("added_after", state.AddedAfter)
		set("next", state.Next)
		if c.Limit > 0 {
			set("limit", strconv.Itoa(c.Limit))
		}
		u.RawQuery = q.Encode()
		var p page
		header, err := c.get(ctx, &u, &p)
		if err != nil {
			return fmt.Errorf("reading %s: %w", at.Redacted(), err)
		}
		if len(p.Objects) > maxPageObjects || len(p.Next) > maxTokenLength {
			return protocol.Errorf(protocol.ErrOversize, "%s: a page of %d objects, with a next of %d bytes; set a limit", at.Redacted(), len(p.Objects), len(p.Next))
		}
		next, err := state.following(&p, header.Get("X-TAXII-Date-Added-Last"))
		if err != nil {
			return fmt.Errorf("reading %s: %w", at.Redacted(), err)
		}
		if empty++; len(p.Objects) > 0 {
			empty = 0
		}
		if empty > maxEmptyPages {
			return fmt.Errorf("reading %s: %d empty pages in a row, each of which says that there is more", at.Redacted(), empty)
		}
		if len(p.Objects) > 0 || next != *state {
			if err := fn(p.Objects, next); err != nil {
				return err
			}
		}
		if *state = next; !p.More {
			return nil
		}
	}
}

// following returns the state after a page, of which the server says when the last object was added.
func (s State) following(p *page, last string) (State, error) {
	lastTime, lastErr := parseTime(last)
	switch {
	case p.More && p.Next != "":
		if string(p.Next) == s.Next {
			return s, fmt.Errorf("the server goes round in a circle: it gives %s for the page after itself", shown(s.Next))
		}
		return State{s.AddedAfter, string(p.Next)}, nil
	case p.More && lastErr != nil:
		return s, errors.New("the server says that there is more, and neither next nor X-TAXII-Date-Added-Last: there is no way to go on; tell who runs it")
	case p.More:
		if before, err := parseTime(s.AddedAfter); err == nil && !lastTime.After(before) {
			return s, fmt.Errorf("the server goes round in a circle: it has more objects of %s than fit on a page, and gives no next; set a larger limit", shown(last))
		}
		return State{AddedAfter: last}, nil
	case lastErr != nil || len(p.Objects) == 0:
		return State{AddedAfter: s.AddedAfter}, nil // without a time it is read again from there
	}
	back := lastTime.Add(-Overlap)
	if before, err := parseTime(s.AddedAfter); err == nil && !back.After(before) {
		return State{AddedAfter: s.AddedAfter}, nil
	}
	return State{AddedAfter: timestamp(back)}, nil
}

// get reads a resource into v.
func (c *Client) get(ctx context.Context, u *url.URL, v any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", mediaType)
	req.Header.Set("User-Agent", "entente")
	if c.UserAgent != "" {
		req.Header.Set("User-Agent", c.UserAgent)
	}
	switch {
	case c.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.Token)
	case c.User != "" || c.Password != "":
		req.SetBasicAuth(c.User, c.Password)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body := &bounded{r: resp.Body, left: MaxPage}
	if resp.StatusCode != http.StatusOK {
		return nil, serverError(resp, body)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "the answer is not the JSON expected: %v", err)
	}
	return resp.Header, nil
}

func (c *Client) http() *http.Client {
	h := &http.Client{Timeout: defaultTimeout}
	if c.HTTP != nil {
		copied := *c.HTTP
		h = &copied
	}
	h.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
			return fmt.Errorf("the server sends on to %s; give that URL if it is right", req.URL.Redacted())
		}
		if len(via) > 5 {
			return errors.New("the server sends on and on")
		}
		return nil
	}
	return h
}

func serverError(resp *http.Response, body io.Reader) error {
	e := &ServerError{Status: resp.StatusCode}
	data, _ := io.ReadAll(io.LimitReader(body, 64<<10)) // what can be read of it
	var m errorMessage
	if json.Unmarshal(data, &m) == nil {
		e.Text = strings.Trim(strings.Join(slices.DeleteFunc([]string{m.Title, m.Description}, func(s string) bool { return s == "" }), ": "), " ")
	}
	if len(e.Text) > maxErrorText {
		e.Text = e.Text[:maxErrorText] + "…"
	}
	e.Text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, e.Text)
	after := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(after); err == nil && n > 0 && n < 1<<20 {
		e.RetryAfter = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(after); err == nil {
		e.RetryAfter = max(0, time.Until(t))
	}
	return e
}

// bounded fails where a page is too large.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, protocol.Errorf(protocol.ErrOversize, "an answer of more than %d MiB; set a limit of objects", MaxPage>>20)
	}
	return n, err
}
