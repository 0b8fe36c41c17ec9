package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
)

// farewell is how long an answer may take to end that is cut off: one that looks at its context ends in
// order.
const farewell = time.Second

// offlineRoutes are those for which whoever owns the data directory of a stopped node needs no role, besides those
// about the people: what they show and note says nothing of records or of what anybody did.
var offlineRoutes = []string{"POST /v1/doctor", "POST /v1/backup/verified"}

// visit is a request that is being answered.
type visit struct {
	uid     int
	as      string
	right   rules.Action // under Server.mu
	offline bool         // of whoever owns the data directory of a stopped node
	ctx     context.Context
	cancel  context.CancelFunc
	rc      *http.ResponseController
	over    chan struct{}
}

// enter notes a request, before it is judged: from then on a change of the people finds it.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) (v *visit, leave func()) {
	_, pattern := s.mux.Handler(r)
	v = &visit{uid: uid(r), as: r.Header.Get(AsHeader), right: s.rightFor(pattern), rc: http.NewResponseController(w), over: make(chan struct{})}
	v.offline = s.offline && (v.right == rules.People || slices.Contains(offlineRoutes, pattern))
	v.ctx, v.cancel = context.WithCancel(r.Context())
	s.mu.Lock()
	s.live[v] = struct{}{}
	s.mu.Unlock()
	return v, func() {
		s.mu.Lock()
		delete(s.live, v)
		s.mu.Unlock()
		v.cancel()
		close(v.over)
	}
}

// judge says who makes a request, with an error if they may not. A change of the people meanwhile has it
// judged again.
func (s *Server) judge(v *visit) (*rules.Principal, error) {
	for {
		s.mu.Lock()
		before := s.judged
		s.mu.Unlock()
		who, err := s.verdict(v)
		s.mu.Lock()
		after := s.judged
		s.mu.Unlock()
		if before == after {
			return who, err
		}
	}
}

// narrow says that a request goes on to what needs another right than its route: it is judged by that one from now on, so
// that it ends when that is taken.
func (s *Server) narrow(r *http.Request, right rules.Action) error {
	v, ok := r.Context().Value(visitKey).(*visit)
	if !ok {
		return nil
	}
	s.mu.Lock()
	v.right = right
	s.mu.Unlock()
	_, err := s.judge(v)
	return err
}

func (s *Server) verdict(v *visit) (*rules.Principal, error) {
	who, err := s.whoIs(v.uid, v.as)
	switch {
	case err != nil:
		return who, err
	case v.offline && s.node.HasAccounts(): // whatever their roles
		return &rules.Principal{ID: who.User, Name: who.User, User: who.User, Roles: []string{}}, nil
	}
	s.mu.Lock()
	right := v.right
	s.mu.Unlock()
	return who, s.node.May(who, right)
}

// judgeAll is the node.Judge of what is answered here: what may not go on is told to end, and is cut off
// if it does not.
func (s *Server) judgeAll(ctx context.Context) (still int) {
	own, _ := ctx.Value(visitKey).(*visit)
	s.mu.Lock()
	s.judged++
	var list []*visit
	for v := range s.live {
		if v != own {
			list = append(list, v)
		}
	}
	s.mu.Unlock()
	var ending []*visit
	for _, v := range list {
		if _, err := s.verdict(v); err != nil {
			v.cancel()
			_ = v.rc.SetWriteDeadline(time.Now().Add(farewell)) // a recorder of tests has none
			_ = v.rc.SetReadDeadline(time.Now().Add(farewell))
			ending = append(ending, v)
		}
	}
	for _, v := range ending {
		select {
		case <-v.over:
		case <-ctx.Done():
			select {
			case <-v.over:
			default:
				still++
			}
		}
	}
	return still
}

// keep has the beginning of a request kept as it is read, for an act that waits for a second person.
func (s *Server) keep(ctx context.Context, r *http.Request) context.Context {
	k := &keptBody{ReadCloser: r.Body}
	method, path := r.Method, r.URL.RequestURI()
	r.Body = k // of the copy that is answered
	return node.WithRequest(ctx, func() (node.Kept, error) {
		// What the handler did not read is none of what it does.
		return node.Kept{Method: method, Path: path, Body: k.held.Bytes()}, nil
	})
}

type keptBody struct {
	io.ReadCloser
	held bytes.Buffer
}

// Read implements io.Reader. One byte more is kept than may be, so that it is seen that it was more.
func (k *keptBody) Read(p []byte) (int, error) {
	n, err := k.ReadCloser.Read(p)
	if room := node.MaxPendingBody + 1 - k.held.Len(); room > 0 {
		k.held.Write(p[:min(n, room)])
	}
	return n, err
}

// again carries out a request that was kept, as of who asked for it.
func (s *Server) again(ctx context.Context, a *node.Approval) (status int, answer []byte, err error) {
	kept, first := a.Request()
	who := s.node.PersonOf(first.Person)
	r, err := http.NewRequestWithContext(ctx, kept.Method, kept.Path, bytes.NewReader(kept.Body))
	if err != nil {
		return 0, nil, err
	}
	_, pattern := s.mux.Handler(r)
	first.Right = s.rightFor(pattern)
	if err := s.node.May(who, first.Right); err != nil { // who asked may have other roles since
		return 0, nil, err
	}
	ctx = node.WithApproval(node.WithCaller(context.WithValue(ctx, callerKey, who), first), a)
	w := &answerOf{header: http.Header{}}
	s.mux.ServeHTTP(w, r.WithContext(ctx))
	return w.status, w.body.Bytes(), nil
}

// failedAct is why an act that was approved was not carried out.
func failedAct(status int, answer []byte) error {
	var e Error
	if json.Unmarshal(answer, &e) != nil || e.Message == "" {
		e.Message = "the node answered " + http.StatusText(status)
	}
	return fmt.Errorf("the act was not carried out: %s", e.Message)
}

// answerOf is an answer that is kept.
type answerOf struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answerOf) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answerOf) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answerOf) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}
