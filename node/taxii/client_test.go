package taxii

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// otherServer is a TAXII server of somebody else: as odd as the test wants it.
type otherServer struct {
	*httptest.Server
	t        testing.TB
	objects  func(q url.Values) (code int, header map[string]string, body string)
	requests []url.Values
}

const (
	otherRoot       = "/api1/"
	otherCollection = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
)

func newOther(t testing.TB, objects func(url.Values) (int, map[string]string, string)) *otherServer {
	s := &otherServer{t: t, objects: objects}
	mux := http.NewServeMux()
	answer := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s.checkRequest(r)
			w.Header().Set("Content-Type", mediaType)
			fmt.Fprint(w, body)
		}
	}
	mux.HandleFunc("GET /taxii2/{$}", answer(`{"title":"Other","api_roots":["https://elsewhere.example/api9/","`+otherRoot+`"]}`))
	mux.HandleFunc("GET "+otherRoot+"{$}", answer(`{"title":"Root","versions":["`+mediaType+`"],"max_content_length":1000}`))
	mux.HandleFunc("GET "+otherRoot+"collections/{$}", answer(`{"collections":[
		{"id":"`+otherCollection+`","title":"High value","alias":"high","can_read":true,"can_write":false},
		{"id":"52892447-4d7e-4f70-b94d-d7f22742ff63","title":"Closed","can_read":false,"can_write":true}]}`))
	mux.HandleFunc("GET "+otherRoot+"collections/"+otherCollection+"/objects/{$}", func(w http.ResponseWriter, r *http.Request) {
		s.checkRequest(r)
		s.requests = append(s.requests, r.URL.Query())
		code, header, body := s.objects(r.URL.Query())
		w.Header().Set("Content-Type", mediaType)
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	})
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

// checkRequest holds the client to what the standard wants of it.
func (s *otherServer) checkRequest(r *http.Request) {
	if got := r.Header.Get("Accept"); got != mediaType {
		s.t.Errorf("%s: Accept %q", r.URL, got)
	}
	if r.TLS == nil || r.UserAgent() != "entente" {
		s.t.Errorf("%s: TLS %v, User-Agent %q", r.URL, r.TLS != nil, r.UserAgent())
	}
	if user, pass, ok := r.BasicAuth(); !ok || user != "u" || pass != "p" {
		s.t.Errorf("%s: Authorization %q", r.URL, r.Header.Get("Authorization"))
	}
}

func (s *otherServer) client() *Client {
	return &Client{URL: s.URL + "/taxii2/", User: "u", Password: "p", HTTP: s.Client()}
}

func at(second int) string {
	return timestamp(time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC))
}

func last(second int) map[string]string {
	return map[string]string{"X-TAXII-Date-Added-Last": at(second)}
}

func TestClientFindsCollections(t *testing.T) {
	s := newOther(t, func(url.Values) (int, map[string]string, string) { return 200, nil, `{}` })
	list, err := s.client().Collections(t.Context())
	if err != nil || len(list) != 2 || list[0].URL != s.URL+otherRoot+"collections/"+otherCollection+"/" {
		t.Fatalf("collections %+v, %v", list, err)
	}
	root := s.client()
	root.URL = s.URL + otherRoot // of an API root, and without the slash below
	if again, err := root.Collections(t.Context()); err != nil || !slices.EqualFunc(again, list, func(a, b Collection) bool { return a.URL == b.URL }) {
		t.Errorf("from the root: %+v, %v", again, err)
	}
	root.URL = strings.TrimSuffix(root.URL, "/")
	nothing := func([]json.RawMessage, State) error { return errors.New("called") }
	for _, name := range []string{otherCollection, "high", "High value", list[0].URL} {
		if err := root.Poll(t.Context(), name, State{}, nothing); err != nil {
			t.Errorf("collection %q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"Closed":                        "may not be read",
		"none":                          "has no collection",
		"https://elsewhere.example/c/1": "not on the host",
		"http://elsewhere.example/c/1":  "not https",
	} {
		if err := root.Poll(t.Context(), name, State{}, nothing); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("collection %q: %v, want %q", name, err, want)
		}
	}
}

func TestClientRefusesURLs(t *testing.T) {
	for _, u := range []string{"", "example.org/taxii2/", "http://example.org/taxii2/", "ftp://example.org/", "https://u:p@example.org/taxii2/", "https://example.org/taxii2/?a=b"} {
		if _, err := (&Client{URL: u}).Collections(t.Context()); err == nil {
			t.Errorf("%q is taken", u)
		}
	}
}

func TestClientBearer(t *testing.T) {
	var got string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		w.Header().Set("Retry-After", "7")
		write(w, http.StatusUnauthorized, errorMessage{Title: "No", Description: "line\nof text"})
	}))
	defer s.Close()
	_, err := (&Client{URL: s.URL, Token: "secret", HTTP: s.Client()}).Collections(t.Context())
	var e *ServerError
	if got != "Bearer secret" || !errors.As(err, &e) || e.Status != 401 || e.Text != "No: line of text" || e.RetryAfter != 7*time.Second {
		t.Errorf("sent %q, got %v (%+v)", got, err, e)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the token is in the error: %v", err)
	}
}

func TestClientStaysOnItsHost(t *testing.T) {
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("another host was asked") }))
	defer other.Close()
	s := httptest.NewTLSServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer s.Close()
	if _, err := (&Client{URL: s.URL, HTTP: s.Client()}).Collections(t.Context()); err == nil || !strings.Contains(err.Error(), "sends on to") {
		t.Errorf("redirect: %v", err)
	}
}

// TestClientPages polls servers that differ in what they leave out.
func TestClientPages(t *testing.T) {
	pages := []string{`{"id":"a--1"}`, `{"id":"a--2"}`, `{"id":"a--3"}`}
	for _, tc := range []struct {
		name    string
		objects func(q url.Values) (int, map[string]string, string)
		want    string // ids
		end     State
		err     string
	}{
		{name: "next as text", objects: func(q url.Values) (int, map[string]string, string) {
			n, _ := strconv.Atoi(q.Get("next"))
			if n < 2 {
				return 200, last(n + 10), fmt.Sprintf(`{"more":true,"next":"%d","objects":[%s]}`, n+1, pages[n])
			}
			return 200, last(n + 10), `{"objects":[` + pages[n] + `]}`
		}, want: "123", end: State{AddedAfter: at(11)}},
		{name: "next as a number", objects: func(q url.Values) (int, map[string]string, string) {
			if q.Get("next") == "" {
				return 200, last(10), `{"more":true,"next":7,"objects":[` + pages[0] + `]}`
			}
			return 200, last(20), `{"more":false,"objects":[` + pages[1] + `]}`
		}, want: "12", end: State{AddedAfter: at(19)}},
		{name: "more without next", objects: func(q url.Values) (int, map[string]string, string) {
			i := 0
			for i < 2 && q.Get("added_after") >= at(i+1) {
				i++
			}
			return 200, last(i + 1), fmt.Sprintf(`{"more":%v,"objects":[%s]}`, i < 2, pages[i])
		}, want: "123", end: State{AddedAfter: at(2)}},
		{name: "empty envelope", objects: func(url.Values) (int, map[string]string, string) { return 200, nil, `{}` }},
		{name: "no header", objects: func(url.Values) (int, map[string]string, string) {
			return 200, nil, `{"objects":[` + pages[0] + `]}`
		}, want: "1"},
		{name: "an empty page, and more", objects: func(q url.Values) (int, map[string]string, string) {
			if q.Get("next") == "" {
				return 200, nil, `{"more":true,"next":"n"}`
			}
			return 200, last(5), `{"objects":[` + pages[0] + `]}`
		}, want: "1", end: State{AddedAfter: at(4)}},
		{name: "more and no way on", objects: func(url.Values) (int, map[string]string, string) {
			return 200, nil, `{"more":true,"objects":[` + pages[0] + `]}`
		}, err: "no way to go on"},
		{name: "next in a circle", objects: func(url.Values) (int, map[string]string, string) {
			return 200, nil, `{"more":true,"next":"n","objects":[` + pages[0] + `]}`
		}, want: "1", end: State{Next: "n"}, err: "circle"},
		{name: "time in a circle", objects: func(url.Values) (int, map[string]string, string) {
			return 200, last(1), `{"more":true,"objects":[` + pages[0] + `]}`
		}, want: "1", end: State{AddedAfter: at(1)}, err: "circle"},
		{name: "not JSON", objects: func(url.Values) (int, map[string]string, string) { return 200, nil, `<html>` }, err: "not the JSON"},
		{name: "next of another kind", objects: func(url.Values) (int, map[string]string, string) { return 200, nil, `{"next":{}}` }, err: "not the JSON"},
		{name: "503", objects: func(url.Values) (int, map[string]string, string) { return 503, nil, `busy` }, err: "503"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newOther(t, tc.objects)
			got, end := "", State{}
			err := s.client().Poll(t.Context(), otherCollection, State{}, func(objects []json.RawMessage, next State) error {
				for _, o := range objects {
					var v struct{ ID string }
					if err := json.Unmarshal(o, &v); err != nil {
						t.Fatal(err)
					}
					got += strings.TrimPrefix(v.ID, "a--")
				}
				end = next
				return nil
			})
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if got != tc.want || end != tc.end {
				t.Errorf("got %q and %+v, want %q and %+v", got, end, tc.want, tc.end)
			}
		})
	}
}

func TestClientBoundsAnswers(t *testing.T) {
	s := newOther(t, func(url.Values) (int, map[string]string, string) {
		return 200, nil, `{"objects":["` + strings.Repeat("x", MaxPage) + `"]}`
	})
	err := s.client().Poll(t.Context(), "high", State{}, func([]json.RawMessage, State) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("a page that is too large: %v", err)
	}
	s.objects = func(q url.Values) (int, map[string]string, string) {
		n, _ := strconv.Atoi(q.Get("next"))
		return 200, nil, fmt.Sprintf(`{"more":true,"next":"%d"}`, n+1)
	}
	err = s.client().Poll(t.Context(), s.URL+otherRoot+"collections/"+otherCollection, State{}, func([]json.RawMessage, State) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "empty pages") {
		t.Errorf("pages without end: %v", err)
	}
}

// TestClientBeginsAgain: a next that the server forgot is not the end of it.
func TestClientBeginsAgain(t *testing.T) {
	s := newOther(t, func(q url.Values) (int, map[string]string, string) {
		if q.Get("next") != "" {
			return 400, nil, `{"title":"gone"}`
		}
		return 200, last(9), `{"objects":[{"id":"a--1"}]}`
	})
	var end State
	err := s.client().Poll(t.Context(), "high", State{AddedAfter: at(3), Next: "old"}, func(_ []json.RawMessage, next State) error { end = next; return nil })
	if err != nil || end != (State{AddedAfter: at(8)}) || s.requests[1].Get("added_after") != at(3) {
		t.Errorf("got %+v, %v; asked %v", end, err, s.requests)
	}
}

// TestClientLosesNothing: whatever the server's times are and wherever the caller goes down, what it
// kept holds every object at the end.
func TestClientLosesNothing(t *testing.T) {
	type object struct {
		id     int
		second int
	}
	var held []object
	byNext := false
	size := 1
	s := newOther(t, func(q url.Values) (int, map[string]string, string) {
		var list []object
		from, _ := strconv.Atoi(q.Get("next"))
		for _, o := range held {
			if at(o.second) > q.Get("added_after") && o.id > from {
				list = append(list, o)
			}
		}
		slices.SortStableFunc(list, func(a, b object) int { return a.second - b.second })
		if len(list) == 0 {
			return 200, nil, `{}`
		}
		end := min(size, len(list))
		for !byNext && end < len(list) && list[end].second == list[end-1].second {
			end++ // or there would be no way on
		}
		p := map[string]any{"more": end < len(list), "objects": list2json(list[:end], func(o object) int { return o.id })}
		if byNext && end < len(list) {
			p["next"] = strconv.Itoa(list[end-1].id)
		}
		b, _ := json.Marshal(p)
		return 200, last(list[end-1].second), string(b)
	})
	down := errors.New("down")
	rapid.Check(t, func(t *rapid.T) {
		held, byNext, size = nil, rapid.Bool().Draw(t, "next"), rapid.IntRange(1, 4).Draw(t, "page")
		got := map[int]bool{}
		var kept State
		second := 1
		for range rapid.IntRange(1, 6).Draw(t, "polls") {
			for range rapid.IntRange(0, 6).Draw(t, "added") {
				second += rapid.IntRange(0, 2).Draw(t, "later") // several of one time, also across polls
				held = append(held, object{len(held) + 1, second})
			}
			crash := rapid.IntRange(0, 4).Draw(t, "crash at")
			err := s.client().Poll(context.Background(), s.URL+otherRoot+"collections/"+otherCollection, kept, func(objects []json.RawMessage, next State) error {
				if crash--; crash == 0 {
					return down // before it kept anything
				}
				for _, o := range objects {
					var v struct{ ID int }
					if err := json.Unmarshal(o, &v); err != nil {
						t.Fatal(err)
					}
					got[v.ID] = true
				}
				if crash--; crash == 0 {
					return down // the objects are kept, and not the state
				}
				kept = next
				return nil
			})
			if err != nil && !errors.Is(err, down) {
				t.Fatal(err)
			}
		}
		err := s.client().Poll(context.Background(), s.URL+otherRoot+"collections/"+otherCollection, kept, func(objects []json.RawMessage, _ State) error {
			for _, o := range objects {
				var v struct{ ID int }
				if err := json.Unmarshal(o, &v); err != nil {
					t.Fatal(err)
				}
				got[v.ID] = true
			}
			return nil
		})
		if err != nil || len(got) != len(held) {
			t.Fatalf("got %d of %d objects: %v", len(got), len(held), err)
		}
	})
}

func list2json[T any](list []T, id func(T) int) (out []json.RawMessage) {
	for _, o := range list {
		out = append(out, json.RawMessage(fmt.Sprintf(`{"id":%d}`, id(o))))
	}
	return out
}
