package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
)

// AsHeader is the HTTP header in which a request says for whom it is made: somebody of the people
// file. It is a word, not a proof: whoever may administer the node may use it.
const AsHeader = "Entente-As"

type contextKey int

const (
	callerKey contextKey = iota // *rules.Principal
	userKey                     // the uid of who opened the socket, an int
)

// connected notes who opened a connection.
func connected(ctx context.Context, c net.Conn) context.Context {
	if uid, ok := peerUID(c); ok {
		return context.WithValue(ctx, userKey, uid)
	}
	return ctx
}

// caller finds out who makes a request: the user of the operating system that opened the socket,
// or somebody for whom it speaks. With an error it is who opened the socket.
func (s *Server) caller(r *http.Request) (*rules.Principal, error) {
	uid, ok := r.Context().Value(userKey).(int)
	if !ok {
		uid = os.Getuid() // the handler is called in the caller's process
	}
	id := s.userName(uid)
	who := s.node.PersonOf(id)
	if who == nil || who.Machine {
		who = &rules.Principal{ID: id, Name: id, Roles: []string{}}
	}
	as := r.Header.Get(AsHeader)
	if as == "" || as == who.ID {
		return who, nil
	}
	if err := s.node.May(who, rules.Administer); err != nil {
		return who, fmt.Errorf("%s may not speak for %q: only who may administer the node may: %w", who, as, err)
	}
	speaker := who
	if who = s.node.PersonOf(as); who == nil {
		if !s.node.HasPeople() {
			return speaker, nil // a name for the audit log
		}
		return speaker, fmt.Errorf("the people file names no person or machine %q; 'entente rules show' tells whom it does: %w", as, node.ErrForbidden)
	}
	return who, nil
}

// userName looks a user up, once for each: a search takes less than that.
func (s *Server) userName(uid int) string {
	if name, ok := s.users.Load(uid); ok {
		return name.(string)
	}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	s.users.Store(uid, name)
	return name
}

// voter refuses a vote in another's name where rules say who may vote: two votes are to be of
// two persons.
func (s *Server) voter(r *http.Request, person string) error {
	if who := callerOf(r); s.node.RulesAbout(rules.Release) && person != who.ID && person != who.Name {
		return fmt.Errorf("%s cannot vote as %q; give --as with who votes: %w", who, person, node.ErrForbidden)
	}
	return nil
}

func callerOf(r *http.Request) *rules.Principal {
	who, _ := r.Context().Value(callerKey).(*rules.Principal)
	return who
}

// reader is what the caller of a request sees.
func (s *Server) reader(r *http.Request) *node.Reader { return s.node.Reader(callerOf(r)) }

// refusals notes what is refused by local rules, where an answer says so.
type refusals struct {
	http.ResponseWriter
	note func(error)
}

// Flush implements http.Flusher.
func (w *refusals) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (w *refusals) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP implements http.Handler. Every request is judged by the local rules first.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := caller(r)
	if err != nil {
		fail(w, err)
		return
	}
	noting := &refusals{ResponseWriter: w, note: func(err error) { s.node.NoteRefused(c, r.Method+" "+r.URL.Path, err) }}
	w = noting
	who, err := s.caller(r)
	if err != nil {
		c.Person = who.ID
		fail(w, err)
		return
	}
	if c.Person == "" || s.node.HasPeople() { // a word counts only where nobody is known
		c.Person = who.ID
	}
	_, pattern := s.mux.Handler(r)
	if right := s.rightFor(pattern); right != "" {
		if err := s.node.May(who, right); err != nil {
			fail(w, err)
			return
		}
	}
	ctx := node.WithCaller(context.WithValue(r.Context(), callerKey, who), c)
	s.mux.ServeHTTP(w, r.WithContext(ctx))
}
