package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// CarriedTrailer is the HTTP trailer in which the answer to a pack or a request says, as
// JSON, what the file holds, its feeds left out. A file that came without it is not whole.
const CarriedTrailer = "Entente-Carried"

func (s *Server) carryRoutes() {
	const file = "The file. The trailer says as JSON what it holds, its feeds left out."
	s.declare("carry",
		serves("POST /v1/carry/pack", "CarryPack", rules.Administer, "Packs what this node holds for another organisation, to be carried by hand.", s.carryPack).
			reads(mediaBytes, "With after, the request that the pack answers; else nothing.").sends(CarriedTrailer, file, mediaBytes),
		serves("POST /v1/carry/request", "CarryRequest", rules.Administer, "Makes a request for a pack: what this node holds already.", s.carryRequest).sends(CarriedTrailer, file, mediaBytes),
		serves("POST /v1/carry/inspect", "CarryInspect", rules.Administer, "Says what a carried file holds, without changing anything.", s.carryInspect).
			reads(mediaBytes, "A carried file, of any length.").replies(reflect.TypeFor[*node.Carried]()),
		serves("POST /v1/carry/apply", "CarryApply", rules.Administer, "Takes what a pack brings.", s.carryApply).
			reads(mediaBytes, "A pack, of any length.").replies(reflect.TypeFor[*node.CarryApplied]()),
	)
}

// PackQuery says what to pack.
type PackQuery struct {
	To     string   `query:"to" doc:"the organisation that it is for, by name or id; with after it may be absent"`
	Topics []string `query:"topic" doc:"only these topics; none: all that this node is in"`
	After  bool     `query:"after" doc:"the body is the request that the pack answers"`
}

// carryPack streams a pack. Its body is the request that the pack answers; empty: none.
func (s *Server) carryPack(w http.ResponseWriter, r *http.Request, v *PackQuery) {
	q := node.PackRequest{Topics: v.Topics}
	var err error
	if v.To != "" {
		if q.To, err = s.node.FindOrg(v.To); err != nil {
			fail(w, err)
			return
		}
	}
	if v.After {
		q.Request = r.Body
	} else if q.To == (protocol.OrgID{}) {
		fail(w, protocol.Errorf(protocol.ErrMalformed, "say for which organisation to pack, or give its request"))
		return
	}
	sendFile(w, r, func(w io.Writer) (*node.Carried, error) { return s.node.Pack(r.Context(), w, q) })
}

// CarryRequestQuery says whom to ask.
type CarryRequestQuery struct {
	To string `query:"to" required:"true" doc:"the organisation that is to pack, by name or id"`
}

func (s *Server) carryRequest(w http.ResponseWriter, r *http.Request, q *CarryRequestQuery) {
	to, err := s.node.FindOrg(q.To)
	if err != nil {
		fail(w, err)
		return
	}
	if err := s.node.NoteAct(r.Context(), audit.Disclose, "request a pack", q.To); err != nil {
		fail(w, err)
		return
	}
	sendFile(w, r, func(w io.Writer) (*node.Carried, error) { return s.node.RequestPack(r.Context(), w, to) })
}

// lateWriter begins the answer with the first byte, so that what fails before it is told as
// an error.
type lateWriter struct {
	w       http.ResponseWriter
	trailer string // name of the one that the answer ends with
	media   string // type of what is sent
	begun   bool
}

func (l *lateWriter) begin() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Trailer", l.trailer)
		l.w.Header().Set("Content-Type", l.media)
	}
}

func (l *lateWriter) Write(b []byte) (int, error) {
	l.begin()
	return l.w.Write(b)
}

func sendFile(w http.ResponseWriter, r *http.Request, write func(io.Writer) (*node.Carried, error)) {
	sendWith(w, r, CarriedTrailer, func(w io.Writer) (any, error) {
		info, err := write(w)
		if err == nil {
			info.Feeds = nil
		}
		return info, err
	})
}

// sendWith streams a file, and says as JSON in a trailer what it holds.
func sendWith(w http.ResponseWriter, r *http.Request, trailer string, write func(io.Writer) (any, error)) {
	out := &lateWriter{w: w, trailer: trailer, media: "application/octet-stream"}
	info, err := write(out)
	switch {
	case err != nil && !out.begun:
		drain(r)
		fail(w, err)
	case err != nil:
		// The status is gone already: a file that ends without its trailer is not whole.
		panic(http.ErrAbortHandler)
	default:
		b, err := json.Marshal(info)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set(trailer, string(b))
	}
}

func (s *Server) carryInspect(w http.ResponseWriter, r *http.Request, _ *none) {
	info, err := s.node.InspectCarried(r.Context(), r.Body)
	drain(r)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, info)
}

// carryApply takes a file of any length; memory does not grow with it.
func (s *Server) carryApply(w http.ResponseWriter, r *http.Request, _ *none) {
	if err := s.node.NoteAct(r.Context(), audit.Access, "apply a carried file", ""); err != nil {
		drain(r)
		fail(w, err)
		return
	}
	out, err := s.node.Apply(r.Context(), r.Body)
	drain(r)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, out)
}

// drain reads what is left of a request: closing the connection on a sender that still
// writes would lose the answer. The sender is the operator; the socket is local.
func drain(r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil && !errors.Is(err, io.EOF) {
		return // the sender has gone; so has the need for an answer
	}
}
