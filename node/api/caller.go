package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"time"

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
	visitKey                    // *visit
)

// connected notes who opened a connection.
func connected(ctx context.Context, c net.Conn) context.Context {
	if uid, ok := peerUID(c); ok {
		return context.WithValue(ctx, userKey, uid)
	}
	return ctx
}

// unknownUID is of a connection of which nobody can say who opened it.
const unknownUID = -1

// uid is who makes a request, by the operating system.
func uid(r *http.Request) int {
	if uid, ok := r.Context().Value(userKey).(int); ok {
		return uid
	}
	return os.Getuid() // the handler is called in the caller's process
}

// caller finds out who makes a request: the user of the operating system that opened the socket,
// or somebody for whom it speaks. With an error it is who opened the socket.
func (s *Server) caller(r *http.Request) (*rules.Principal, error) {
	return s.whoIs(uid(r), r.Header.Get(AsHeader))
}

func (s *Server) whoIs(uid int, as string) (*rules.Principal, error) {
	if uid == unknownUID { // whatever the people are called
		return &rules.Principal{ID: "unknown", Name: "unknown", Roles: []string{}, User: "unknown", Account: true}, nil
	}
	id := s.userName(uid)
	if s.node.HasAccounts() {
		who := s.node.AccountOf(id)
		if as != "" && as != who.ID && as != id {
			return who, fmt.Errorf("%s may not speak for %q: where a node has people, each calls by an account of their own: %w", id, as, node.ErrForbidden)
		}
		return who, nil
	}
	var who *rules.Principal
	if uid == os.Getuid() || uid == 0 {
		who = s.node.PersonOf(id)
	}
	if who == nil || who.Machine { // to stand in the people file opens no socket
		who = &rules.Principal{ID: id, Name: id, Roles: []string{}, User: id, Account: uid != os.Getuid() && uid != 0}
	}
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

// userLife is how long the name of a user counts that was looked up: an account may be another's soon, and
// a search takes less than a look-up.
const userLife = 10 * time.Second

// account is the name of a user of the operating system.
type account struct {
	name string
	at   time.Time
}

// userName looks a user up. One that nobody can name is none of the people's.
func (s *Server) userName(uid int) string {
	if uid == unknownUID {
		return "unknown"
	}
	if name, ok := s.users.get(uid); ok {
		return name
	}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	s.users.put(uid, account{name, time.Now()})
	return name
}

// voter returns who votes, and refuses a vote in another's name where rules say who may vote, or the node
// knows its people: two votes are to be of two persons.
func (s *Server) voter(r *http.Request, person string) (string, error) {
	who := callerOf(r)
	accounts := s.node.HasAccounts()
	switch {
	case person == who.ID || person == who.Name || accounts && person == who.User:
		if accounts {
			return who.ID, nil
		}
	case accounts:
		return "", fmt.Errorf("%s cannot vote as %q: each of the node's people votes by an account of their own: %w", who, person, node.ErrForbidden)
	case s.node.RulesAbout(rules.Release):
		return "", fmt.Errorf("%s cannot vote as %q; give --as with who votes: %w", who, person, node.ErrForbidden)
	}
	return person, nil
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

// ServeHTTP implements http.Handler. Every request is judged first, by the roles of the people and by the
// local rules; and again while it is answered, when the people change.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := caller(r)
	if err != nil {
		fail(w, err)
		return
	}
	v, leave := s.enter(w, r)
	defer leave()
	r = r.WithContext(context.WithValue(v.ctx, visitKey, v))
	noting := &refusals{ResponseWriter: w, note: func(err error) { s.node.NoteRefused(c, r.Method+" "+r.URL.Path, err) }}
	w = noting
	who, err := s.judge(v)
	if err != nil || who.Account && len(who.Roles) == 0 { // what they send on is not waited for
		_ = v.rc.SetReadDeadline(time.Now().Add(farewell))
	}
	if c.User = s.userName(v.uid); err != nil || c.Person == "" || s.node.HasPeople() || who.Account { // a word counts only where nobody is known
		c.Person = who.ID
	}
	if who.Account && len(who.Roles) == 0 {
		c.Person = "account " + who.User // which is the name of nobody here
	}
	if v.offline && s.node.HasAccounts() {
		c.Person = "account " + who.User + ", offline"
	}
	if err != nil {
		fail(w, err)
		return
	}
	if who.Account && len(who.Roles) > 0 && !v.offline {
		c.Right = v.right
	}
	ctx := node.WithCaller(context.WithValue(r.Context(), callerKey, who), c)
	if v.offline {
		ctx = node.WithOffline(ctx)
	}
	if r.Method != http.MethodGet {
		ctx = s.keep(ctx, r)
	}
	s.mux.ServeHTTP(w, r.WithContext(ctx))
}
