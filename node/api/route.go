package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// What most routes need of their caller that shows or publishes nothing of itself; package rules has all rights.
const (
	// anyone: it shows nothing that rules are about.
	anyone = rules.Look
	// perRecord: it looks at each record by itself.
	perRecord = rules.Records
)

// route is one request that the API answers. It is declared once: whom it is for, how it is
// described, and how query and body are decoded all follow from here.
type route struct {
	pattern string       // method and path, as net/http takes them
	name    string       // its operationId; package client has a method of this name
	right   rules.Action // what the caller needs: of its roles, and of the local rules
	does    string       // a sentence
	more    string       // what else there is to say
	group   string

	query   reflect.Type      // a struct, whose fields have query tags
	body    *content          // nil: none
	answer  content           // of status 200
	paths   map[string]string // what the parameters of the path are
	acts    bool              // see acting
	example any               // of what it takes
	not200  string            // when it answers with status 503, with the same type
	value   func(*http.Request) (any, error)
	raw     http.HandlerFunc // instead of value: who writes the answer itself
}

// content is what a request or an answer carries.
type content struct {
	of      reflect.Type // nil: bytes
	media   []string
	lines   bool   // values of type of, one a line; at last an Error, if it fails
	text    string // what the bytes are
	trailer string // the HTTP trailer without which it is not whole
}

// none has no members: a query without parameters, an answer that says only that it was done.
type none struct{}

const (
	mediaJSON  = "application/json"
	mediaLines = "application/x-ndjson"
	mediaBytes = "application/octet-stream"
	mediaYAML  = "application/yaml"
)

func jsonOf[T any]() content { return content{of: reflect.TypeFor[T](), media: []string{mediaJSON}} }

// answers declares a route that answers with one value. Its query is decoded into Q.
func answers[Q, R any](pattern, name string, right rules.Action, does string, fn func(*http.Request, *Q) (R, error)) *route {
	rt := &route{pattern: pattern, name: name, right: right, does: does, query: reflect.TypeFor[Q](), answer: jsonOf[R]()}
	rt.value = func(r *http.Request) (any, error) {
		q := new(Q)
		if err := decodeQuery(r, q); err != nil {
			return nil, err
		}
		return fn(r, q)
	}
	return rt
}

// takes declares a route that takes a JSON value, has no query, and answers with one value.
func takes[B, R any](pattern, name string, right rules.Action, does string, fn func(*http.Request, *B) (R, error)) *route {
	body := jsonOf[B]()
	rt := &route{pattern: pattern, name: name, right: right, does: does, query: reflect.TypeFor[none](), body: &body, answer: jsonOf[R]()}
	rt.value = func(r *http.Request) (any, error) {
		if err := decodeQuery(r, new(none)); err != nil {
			return nil, err
		}
		b := new(B)
		if err := decode(r, b); err != nil {
			return nil, err
		}
		return fn(r, b)
	}
	return rt
}

// serves declares a route that writes its answer itself: a stream, or a file. What it takes and
// answers is said with reads, and with sends or streams.
func serves[Q any](pattern, name string, right rules.Action, does string, fn func(http.ResponseWriter, *http.Request, *Q)) *route {
	rt := &route{pattern: pattern, name: name, right: right, does: does, query: reflect.TypeFor[Q]()}
	rt.raw = func(w http.ResponseWriter, r *http.Request) {
		q := new(Q)
		if err := decodeQuery(r, q); err != nil {
			drain(r)
			fail(w, err)
			return
		}
		fn(w, r, q)
	}
	return rt
}

// acting: see Server.acting.
func (rt *route) acting() *route { rt.acts = true; return rt }

// note says more than the sentence.
func (rt *route) note(more string) *route { rt.more = more; return rt }

// as shows what the route takes, by an example.
func (rt *route) as(example any) *route { rt.example = example; return rt }

// path says what a parameter of the path is.
func (rt *route) path(name, text string) *route {
	if rt.paths == nil {
		rt.paths = map[string]string{}
	}
	rt.paths[name] = text
	return rt
}

// reads says what bytes the request carries.
func (rt *route) reads(media, text string) *route {
	rt.body = &content{media: []string{media}, text: text}
	return rt
}

// readsJSON says of what type the request's JSON is, where the handler decodes it.
func (rt *route) readsJSON(of reflect.Type) *route {
	rt.body = &content{of: of, media: []string{mediaJSON}}
	return rt
}

// replies says with one value of which type the route answers.
func (rt *route) replies(of reflect.Type) *route {
	rt.answer = content{of: of, media: []string{mediaJSON}}
	return rt
}

// unavailable says when the route answers with status 503.
func (rt *route) unavailable(when string) *route { rt.not200 = when; return rt }

// streams says that the answer is values of a type, one a line; what fails after the first is said
// in a line of its own, which is an Error.
func (rt *route) streams(of reflect.Type) *route {
	rt.answer = content{of: of, media: []string{mediaLines}, lines: true}
	return rt
}

// sends says that the answer is bytes; trailer is the HTTP trailer without which they are not
// whole, "" for none.
func (rt *route) sends(trailer, text string, media ...string) *route {
	rt.answer = content{media: media, text: text, trailer: trailer}
	return rt
}

// declare adds routes of a group.
func (s *Server) declare(group string, list ...*route) {
	for _, rt := range list {
		rt.group = group
		if err := rt.check(); err != nil {
			panic(fmt.Sprintf("route %s: %v", rt.pattern, err)) // found by the first test
		}
		h := rt.raw
		if rt.value != nil {
			fn := rt.value
			if rt.acts {
				fn = s.acting(fn)
			}
			h = call(fn)
		}
		s.declared[rt.pattern] = rt
		s.mux.HandleFunc(rt.pattern, h)
	}
}

func (rt *route) check() error {
	if !rules.IsRight(rt.right) { // also none: what is forgotten is not open
		return fmt.Errorf("no route can need %q", rt.right)
	}
	switch {
	case rt.name == "" || rt.does == "":
		return errors.New("it needs a name, and a sentence that says what it does")
	case len(rt.answer.media) == 0:
		return errors.New("it does not say what it answers; see sends and streams")
	case rt.acts && rt.value == nil:
		return errors.New("a route that writes its answer itself notes by itself for whom it acts")
	}
	for f := range parameters(rt.query) {
		switch f.Type.Kind() {
		case reflect.String, reflect.Bool, reflect.Uint64:
		case reflect.Slice:
			if f.Type.Elem().Kind() != reflect.String {
				return fmt.Errorf("parameter %s cannot be a %s", f.Name, f.Type)
			}
		default:
			return fmt.Errorf("parameter %s cannot be a %s", f.Name, f.Type)
		}
	}
	return nil
}

// parameters are the fields of a struct that are read from a query.
func parameters(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if f.Tag.Get("query") != "" && !yield(f) {
				return
			}
		}
	}
}

// decodeQuery reads a query, strictly: what the route does not know is refused, and so is what is
// said twice. An empty value is none. Lists may be repeated, and separated by commas.
func decodeQuery(r *http.Request, q any) error {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return protocol.Errorf(protocol.ErrMalformed, "the query cannot be read: %v", err)
	}
	v := reflect.ValueOf(q).Elem()
	var known, lacking []string
	for f := range parameters(v.Type()) {
		name := f.Tag.Get("query")
		known = append(known, name)
		values, ok := given[name]
		delete(given, name)
		if !ok && f.Tag.Get("required") == "true" {
			lacking = append(lacking, name)
		}
		if !ok || len(values) == 1 && values[0] == "" {
			if text := f.Tag.Get("default"); text != "" {
				values = []string{text}
			} else {
				continue
			}
		}
		if err := decodeParameter(v.FieldByIndex(f.Index), f.Tag.Get("enum"), name, values); err != nil {
			return err
		}
	}
	switch {
	case len(given) == 0 && len(lacking) > 0:
		return protocol.Errorf(protocol.ErrMalformed, "the request lacks the parameter %q", lacking[0])
	case len(given) == 0:
		return nil
	}
	name := slices.Min(slices.Collect(maps.Keys(given)))
	if len(known) == 0 {
		return protocol.Errorf(protocol.ErrMalformed, "%q is no parameter of this request; it has none", name)
	}
	return protocol.Errorf(protocol.ErrMalformed, "%q is no parameter of this request; it has %s", name, strings.Join(known, ", "))
}

func decodeParameter(field reflect.Value, enum, name string, values []string) error {
	if field.Kind() == reflect.Slice {
		field.Set(reflect.ValueOf(split(values)).Convert(field.Type()))
		return nil
	}
	if len(values) > 1 {
		return protocol.Errorf(protocol.ErrMalformed, "%s is given %d times; give it once", name, len(values))
	}
	switch text := values[0]; field.Kind() {
	case reflect.String:
		if allowed := strings.Split(enum, ","); enum != "" && !slices.Contains(allowed, text) {
			return protocol.Errorf(protocol.ErrMalformed, "%s %q is not known; use %s", name, text, strings.Join(allowed, ", "))
		}
		field.SetString(text)
	case reflect.Bool:
		switch text {
		case "1", "true":
			field.SetBool(true)
		case "0", "false":
			field.SetBool(false)
		default:
			return protocol.Errorf(protocol.ErrMalformed, "%s is true or false, not %q", name, text)
		}
	case reflect.Uint64:
		n, err := number(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		field.SetUint(n)
	}
	return nil
}

func number(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, protocol.Errorf(protocol.ErrMalformed, "%q is not a number", text)
	}
	return v, nil
}

// split reads a list.
func split(values []string) (out []string) {
	for _, v := range values {
		for s := range strings.SplitSeq(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

// routeMux remembers what was registered, so that a test finds what is not described.
type routeMux struct {
	*http.ServeMux
	patterns []string
}

// HandleFunc is as in net/http.
func (m *routeMux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, h)
}

// Handle is as in net/http.
func (m *routeMux) Handle(pattern string, h http.Handler) { m.HandleFunc(pattern, h.ServeHTTP) }

// rightFor says what a caller needs for a route. Whatever was registered without being declared needs
// the most.
func (s *Server) rightFor(pattern string) rules.Action {
	rt := s.declared[pattern]
	switch {
	case pattern == "": // the mux answers what it does not know
		return rules.Look
	case rt == nil:
		return rules.Administer
	}
	return rt.right
}
