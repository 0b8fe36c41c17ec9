package taxii

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/protocol"
)

// Bounds of a POST.
const (
	maxPosted  = 5000 // objects
	maxMessage = 300  // bytes of why an object was refused
)

// addObjects publishes what is posted (TAXII 5.5), through the gate that all records pass, and answers
// when that is done: what an answer says was added is durable, and its status never changes.
func (s *server) addObjects(w http.ResponseWriter, r *http.Request, c *collection) error {
	if !c.CanWrite {
		return failf(http.StatusForbidden, "nothing can be added to this collection with this token")
	}
	if !isTAXII(r.Header.Get("Content-Type")) {
		return failf(http.StatusUnsupportedMediaType, "send %s", mediaType)
	}
	at := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxContent))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return err
		}
		return failf(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	var sent struct {
		Objects []json.RawMessage `json:"objects"`
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		return failf(http.StatusUnprocessableEntity, "the body is no TAXII envelope: %v", err)
	}
	switch {
	case len(sent.Objects) == 0:
		return failf(http.StatusUnprocessableEntity, "the envelope holds no objects")
	case len(sent.Objects) > maxPosted:
		return failf(http.StatusUnprocessableEntity, "the envelope holds %d objects, at most %d; send them in parts", len(sent.Objects), maxPosted)
	}
	st, err := s.add(r, c, sent.Objects)
	if err != nil {
		return err
	}
	st.At = timestamp(at)
	enc, err := fit(*st)
	if err != nil {
		return err
	}
	if err := s.node.SetTaxiiStatus(st.ID, serve.Consumer(r).Name, enc); err != nil {
		return err
	}
	write(w, http.StatusAccepted, st)
	return nil
}

// fit encodes a status as it is kept. What is too large for that leaves out lists of objects, as it
// may (4.3.1), whole: clients compare them with the counts.
func fit(st status) ([]byte, error) {
	enc, err := json.Marshal(&st)
	for _, list := range []*[]statusDetail{&st.Successes, &st.Failures} {
		if err != nil || len(enc) <= node.MaxTaxiiStatus {
			break
		}
		*list = nil
		enc, err = json.Marshal(&st)
	}
	return enc, err
}

// add submits objects, and says what became of each.
func (s *server) add(r *http.Request, c *collection, objects []json.RawMessage) (*status, error) {
	var id [16]byte
	rand.Read(id[:])
	st := &status{ID: asUUID(id[:]), Status: "complete", Total: len(objects)}
	// A bundle in which it is known on which line each object is: that is what intake names them by.
	var bundle bytes.Buffer
	bundle.WriteString(`{"type":"bundle","objects":[`)
	line, places := 1, map[int]int{}
	for i, o := range objects {
		if i > 0 {
			bundle.WriteByte(',')
		}
		bundle.WriteByte('\n')
		line++
		places[line] = i
		bundle.Write(o)
		line += bytes.Count(o, []byte{'\n'})
	}
	bundle.WriteString("\n]}")
	read, err := intake.Read("envelope", &bundle, intake.Options{Format: intake.STIX})
	if err != nil {
		return nil, failf(http.StatusUnprocessableEntity, "the objects cannot be read: %v", err)
	}
	why := make([]string, len(objects)) // "": it is fine
	records := make([]protocol.RecordID, len(objects))
	for _, p := range read.Problems {
		if i, ok := places[p.Line]; ok {
			why[i] = p.Text
		}
	}
	if len(read.Items) > 0 {
		who := serve.Consumer(r)
		done, err := s.node.Submit(r.Context(), who.Principal, node.Submission{Topic: c.topic, Items: read.Items, Source: "taxii " + who.Name})
		switch {
		case errors.Is(err, node.ErrRefused):
			return nil, failf(http.StatusUnprocessableEntity, "%v", err)
		case err != nil:
			return nil, err
		}
		for i, res := range done.Results {
			if at, ok := places[read.Items[i].Line]; ok {
				if records[at] = res.ID; res.State == node.SubmitRefused {
					why[at] = res.Reason
				}
			}
		}
	}
	// What was read once only has the result of the first that is the same.
	first := map[string]int{}
	for i, o := range objects {
		at, ok := first[string(o)]
		if !ok {
			first[string(o)] = i
		} else if why[i] == "" && records[i] == (protocol.RecordID{}) {
			why[i], records[i] = why[at], records[at]
		}
	}
	for i, o := range objects {
		d := detail(o, i)
		if d.Version == "" {
			if d.Version, err = s.versionOf(records[i]); err != nil {
				return nil, err
			}
		}
		if why[i] == "" {
			st.Successes = append(st.Successes, d)
			continue
		}
		d.Message = clip(why[i], maxMessage)
		st.Failures = append(st.Failures, d)
	}
	st.SuccessCount, st.FailureCount = len(st.Successes), len(st.Failures)
	return st, nil
}

// detail names an object as a status resource does (4.3.1).
func detail(raw json.RawMessage, i int) statusDetail {
	var o struct{ ID, Modified, Created any }
	_ = json.Unmarshal(raw, &o) // what is no object has none of them
	text := func(v any) string { s, _ := v.(string); return clip(s, maxMessage) }
	d := statusDetail{ID: text(o.ID), Version: text(o.Modified)}
	if d.ID == "" {
		d.ID = fmt.Sprintf("objects[%d]", i)
	}
	if d.Version == "" {
		d.Version = text(o.Created)
	}
	return d
}

// versionOf returns the version of a record whose object states no time: when it came here, as in
// manifests. What did not come has the beginning of time.
func (s *server) versionOf(id protocol.RecordID) (string, error) {
	if id == (protocol.RecordID{}) {
		return timestamp(time.Unix(0, 0)), nil
	}
	found, err := s.node.Find(id.String())
	if err != nil {
		return "", err
	}
	return timestamp(found[0].Added), nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

func (s *server) getStatus(w http.ResponseWriter, r *http.Request, id string) error {
	body, err := s.node.TaxiiStatus(id, serve.Consumer(r).Name)
	if errors.Is(err, node.ErrNotFound) {
		return notFound()
	}
	if err != nil {
		return err
	}
	write(w, http.StatusOK, json.RawMessage(body))
	return nil
}

// deleteObject withdraws an object, or some versions of it (TAXII 5.7): what this organisation
// published. Everybody who has it is told.
func (s *server) deleteObject(w http.ResponseWriter, r *http.Request, c *collection, id string) error {
	switch {
	case !c.CanRead && !c.CanWrite:
		return notFound()
	case !c.CanRead || !c.CanWrite:
		return failf(http.StatusForbidden, "only who may read and write a collection may delete in it")
	}
	f, err := readFilter(r.URL.RawQuery, matchObject)
	if err != nil {
		return failf(http.StatusBadRequest, "%v", err)
	}
	if !r.URL.Query().Has("match[version]") {
		f.first, f.last, f.all = false, false, true // a delete of the last one would bring the one before it back
	}
	f.ids, f.limit = []string{id}, limitBound
	q := newSearch(r.Context(), f, serve.Reader(r), c.list)
	q.room = math.MaxInt // what it finds is not shown
	found, more, err := q.page(0)
	if err != nil {
		return err
	}
	who := serve.Consumer(r)
	switch {
	case len(found) == 0:
		return notFound()
	case !who.May(node.ScopeWithdraw):
		return failf(http.StatusForbidden, "this token does not allow to withdraw; 'entente consumer add' gives one that does")
	case more != 0:
		return failf(http.StatusForbidden, "the object has more than %d versions; delete them by match[version]", limitBound)
	}
	var ids []protocol.RecordID
	var recs []node.Record
	for _, o := range found {
		same, err := s.sameVersion(q, o)
		if err != nil {
			return err
		}
		for _, v := range same {
			if v.rec.Originator.ID != s.node.Org() {
				return failf(http.StatusForbidden, "%s is of another organisation, which alone can withdraw it", o.rec.StixID)
			}
			ids, recs = append(ids, v.rec.ID), append(recs, *v.rec)
		}
	}
	if err := serve.Reader(r).MayWithdraw(recs); err != nil {
		return err
	}
	if err := s.node.Withdraw(r.Context(), ids, "deleted by "+who.Name+" over TAXII"); err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(http.StatusOK)
	return nil
}

// sameVersion returns an object with all that states the same time and so is hidden by it: if it were
// left, it would be there in its place.
func (s *server) sameVersion(q *search, o *object) ([]*object, error) {
	var out []*object
	for chunk := range slices.Chunk(q.list.versions(o.key), scanned) {
		found, err := q.read(chunk)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			if v.rec.StixID == o.rec.StixID && v.rec.Originator.ID == o.rec.Originator.ID && v.when.Equal(o.when) {
				out = append(out, v)
			}
		}
	}
	return out, nil
}
