package misp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// filterEvents says which of the events that an instance has it is to push: those that are new or newer
// than what this organisation published of them. What came from others is not published again.
func (s *server) filterEvents(w http.ResponseWriter, r *http.Request) error {
	var list []struct{ Event core.Fields }
	if err := body(w, r, maxQuery, &list); err != nil {
		return err
	}
	newest := map[string]time.Time{} // that the instance has
	for _, e := range list {
		uuid := strings.ToLower(e.Event.Text("uuid"))
		if len(uuid) != 36 {
			continue
		}
		if at, known := newest[uuid]; !known || e.Event.Time("timestamp", time.Time{}).After(at) {
			newest[uuid] = e.Event.Time("timestamp", time.Time{})
		}
	}
	uuids := slices.Sorted(maps.Keys(newest))
	wanted := []string{}
	var own []string // what this organisation published of them is read when others may look again
	err := s.look(r, nil, func(at *sight) error {
		for _, uuid := range uuids {
			switch o := at.byUUID(uuid); {
			case o == nil:
				wanted = append(wanted, uuid)
			case o.event.key.Originator == s.node.Org():
				own = append(own, uuid)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, uuid := range own {
		if err := r.Context().Err(); err != nil {
			return err
		}
		held, err := s.held(serve.Reader(r), uuid)
		if err != nil {
			return err
		}
		if newest[uuid].After(held) {
			wanted = append(wanted, uuid)
		}
	}
	return answer(w, wanted)
}

// own returns the newest version of an object that this organisation published and did not withdraw.
func (s *server) own(reader *node.Reader, id string) (rec *node.Record, all []node.Record, err error) {
	list, err := reader.Find(id)
	if err != nil && !errors.Is(err, node.ErrNotFound) {
		return nil, nil, err
	}
	for i := range list {
		if x := &list[i]; x.Originator.ID == s.node.Org() && x.Publisher.ID == s.node.Org() && !x.Withdrawn {
			all = append(all, *x)
			if rec == nil || x.Modified != nil && (rec.Modified == nil || x.Modified.After(*rec.Modified)) {
				rec = x
			}
		}
	}
	return rec, all, nil
}

// held returns the timestamp of an event as this organisation published it; zero if it did not.
func (s *server) held(reader *node.Reader, uuid string) (time.Time, error) {
	rec, _, err := s.own(reader, "report--"+uuid)
	if err != nil || rec == nil || rec.Modified == nil {
		return time.Time{}, err
	}
	return *rec.Modified, nil
}

// topic returns where a consumer publishes.
func topic(r *http.Request) (string, error) {
	c := serve.Consumer(r)
	name := r.URL.Query().Get("topic")
	if name == "" && len(c.Topics) > 0 {
		name = c.Topics[0]
	}
	switch {
	case name == "":
		return "", &refusal{http.StatusForbidden, "nothing says in which topic this is published; 'entente consumer add --topic' gives a token that does", ""}
	case !c.MayTopic(name):
		return "", &refusal{http.StatusForbidden, fmt.Sprintf("this token does not allow to publish in topic %q", name), ""}
	}
	return name, nil
}

// readEvent reads the event that is pushed.
func readEvent(w http.ResponseWriter, r *http.Request) (*core.Event, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxEvent))
	if err != nil {
		return nil, err
	}
	var events []*core.Event
	var problems []string
	err = core.Read(data, func(e *core.Event) { events = append(events, e) }, func(p core.Problem) { problems = append(problems, fmt.Sprintf("line %d: %s", p.Line, p.Text)) })
	switch {
	case err != nil:
		return nil, err
	case len(events) != 1:
		return nil, protocol.Errorf(protocol.ErrMalformed, "%d events in one request, one is due", len(events))
	case len(problems) > 0:
		return nil, protocol.Errorf(protocol.ErrMalformed, "%s", strings.Join(problems[:min(len(problems), 10)], "; "))
	}
	e := events[0]
	if !e.Fields.True("published") { // MISP takes an event that does not say it for a draft
		return nil, &refusal{http.StatusForbidden, "the event is not published; publish it first, for this node keeps no drafts", ""}
	}
	if e.Fields.Text("distribution") == "0" {
		return nil, &refusal{http.StatusForbidden, "the event is for your organisation only (distribution 0), and is not published", ""}
	}
	if e.Fields.Text("uuid") == "" {
		return nil, &refusal{http.StatusForbidden, "the event has no uuid", ""}
	}
	e.Attributes = withoutOwn(e.Attributes)
	for _, o := range e.Objects {
		o.Attributes = withoutOwn(o.Attributes)
	}
	e.Objects = slices.DeleteFunc(e.Objects, func(o *core.Object) bool { return o.Fields.Text("distribution") == "0" })
	e.Reports = slices.DeleteFunc(e.Reports, func(x *core.Report) bool { return x.Fields.Text("distribution") == "0" })
	return e, nil
}

// withoutOwn leaves out attributes for the instance's own organisation: nobody looks at what it pushes.
func withoutOwn(list []*core.Attribute) []*core.Attribute {
	return slices.DeleteFunc(list, func(a *core.Attribute) bool { return a.Fields.Text("distribution") == "0" })
}

// add answers /events/add.
func (s *server) add(w http.ResponseWriter, r *http.Request) error {
	e, err := readEvent(w, r)
	if err != nil {
		return err
	}
	s.pushing.Lock()
	defer s.pushing.Unlock()
	o, err := s.outline(r, nil, e.UUID())
	if err == nil {
		if o.event.key.Originator != s.node.Org() {
			return foreign(o)
		}
		return &refusal{http.StatusNotFound, "Event already exists, if you would like to edit it, use the url in the location header.", "/misp/events/edit/" + e.UUID()}
	}
	return s.take(w, r, e)
}

func foreign(o *outline) error {
	return &refusal{http.StatusForbidden, fmt.Sprintf("the event is of %s, and is not published again in the name of this organisation", o.event.org.Name), ""}
}

// edit answers /events/edit/UUID: what is newer supersedes, what is deleted is withdrawn, what is not
// mentioned stays.
func (s *server) edit(w http.ResponseWriter, r *http.Request) error {
	e, err := readEvent(w, r)
	if err != nil {
		return err
	}
	if id := strings.ToLower(r.PathValue("id")); id != e.UUID() {
		return &refusal{http.StatusBadRequest, "the event in the request is another one than its address says", ""}
	}
	s.pushing.Lock()
	defer s.pushing.Unlock()
	o, err := s.outline(r, nil, e.UUID())
	if err != nil {
		return err
	}
	if o.event.key.Originator != s.node.Org() {
		return foreign(o)
	}
	held, err := s.held(serve.Reader(r), e.UUID())
	if err != nil {
		return err
	}
	if e.Fields.Text("timestamp") == "" { // as PyMISP sends what was changed
		e.Fields["timestamp"] = json.RawMessage(strconv.FormatInt(s.now().Unix(), 10))
	}
	if !e.Fields.Time("timestamp", time.Time{}).After(held) {
		return &refusal{http.StatusForbidden, "Event could not be saved: Event in the request not newer than the local copy.", ""}
	}
	return s.take(w, r, e)
}

// take publishes an event, and withdraws what is deleted in it.
func (s *server) take(w http.ResponseWriter, r *http.Request, e *core.Event) error {
	in, err := topic(r)
	if err != nil {
		return err
	}
	c := serve.Consumer(r)
	settings, err := s.node.MISP()
	if err != nil {
		return err
	}
	res, deleted := intake.FromMISP("event", e, s.node.MISPOrg)
	for i := range res.Items {
		if res.Items[i].Handling.TLP == protocol.TLPUnset {
			res.Items[i].Handling.TLP = settings.TLP
		}
	}
	var said []string
	for _, p := range res.Problems {
		said = append(said, p.Text)
	}
	if !slices.ContainsFunc(res.Items, func(it intake.Item) bool { return it.Object.ID == "report--"+e.UUID() }) {
		return &refusal{http.StatusForbidden, "Could not add Event: " + strings.Join(said[:min(len(said), 5)], "; "), ""}
	}
	gone, err := s.deletions(r, deleted)
	if err != nil {
		return err
	}
	due := len(gone)
	gone = slices.DeleteFunc(gone, func(rec node.Record) bool { return !c.May(node.ScopeWithdraw) || !c.MayTopic(rec.Topic) })
	if n := due - len(gone); n > 0 {
		said = append(said, fmt.Sprintf("%d records would be withdrawn, which this token does not allow", n))
	}
	published := 0
	if len(res.Items) > 0 {
		out, err := s.node.Submit(r.Context(), c.Principal, node.Submission{Topic: in, Items: res.Items, Source: "misp " + c.Name})
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, x := range out.Results {
			switch x.State {
			case node.SubmitRefused:
				if !seen[x.Reason] {
					seen[x.Reason] = true
					said = append(said, x.Reason)
				}
			default:
				published++
			}
		}
	}
	if err := s.withdraw(r, gone, "deleted in MISP"); err != nil {
		return err
	}
	if published == 0 && len(gone) == 0 {
		return &refusal{http.StatusForbidden, "Could not add Event: " + strings.Join(said[:min(len(said), 5)], "; "), ""}
	}
	e.Fields["uuid"] = json.RawMessage(strconv.Quote(e.UUID()))
	answered := map[string]any{"Event": core.Fields{"uuid": e.Fields["uuid"], "info": e.Fields["info"], "timestamp": e.Fields["timestamp"], "date": e.Fields["date"],
		"published": json.RawMessage("true"), "distribution": e.Fields["distribution"], "threat_level_id": e.Fields["threat_level_id"], "analysis": e.Fields["analysis"]}}
	if notes := append(said, res.Notes...); len(notes) > 0 {
		answered["errors"] = notes
	}
	return answer(w, answered)
}

// deletions returns the records of this organisation that stand under some ids, and of the observables
// in them those that nothing else speaks of.
func (s *server) deletions(r *http.Request, ids []string) (list []node.Record, err error) {
	reader := serve.Reader(r)
	gone, parts := map[protocol.RecordID]bool{}, map[string]bool{}
	for _, id := range ids {
		_, all, err := s.own(reader, id)
		if err != nil {
			return nil, err
		}
		for i := range all {
			gone[all[i].ID] = true
			if o, err := stix.Parse(all[i].Object); err == nil && o.Type == "observed-data" {
				for _, ref := range o.Texts("object_refs") {
					parts[ref] = true
				}
			}
		}
		list = append(list, all...)
	}
	err = s.look(r, nil, func(at *sight) error {
		for ref := range parts {
			for _, e := range at.refs[ref] {
				if !e.gone && !e.taken && !gone[e.id] {
					delete(parts, ref)
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, ref := range slices.Sorted(maps.Keys(parts)) {
		_, all, err := s.own(reader, ref)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if o, err := stix.Parse(all[i].Object); err == nil && core.IsPart(o) {
				list = append(list, all[i])
			}
		}
	}
	return list, nil
}

// withdraw withdraws records, if whoever asks may: all of them or none.
func (s *server) withdraw(r *http.Request, list []node.Record, why string) error {
	if len(list) == 0 {
		return nil
	}
	c := serve.Consumer(r)
	var ids []protocol.RecordID
	for i := range list {
		if !c.MayTopic(list[i].Topic) {
			return &refusal{http.StatusForbidden, fmt.Sprintf("record %s is in topic %q, in which this token does not allow to withdraw", list[i].ID.Short(), list[i].Topic), ""}
		}
		ids = append(ids, list[i].ID)
	}
	if err := serve.Reader(r).MayWithdraw(list); err != nil {
		return err
	}
	return s.node.Withdraw(r.Context(), ids, why)
}

// publish answers /events/publish/UUID: what is here is published.
func (s *server) publish(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.outline(r, nil, strings.ToLower(r.PathValue("id"))); err != nil {
		return err
	}
	return answer(w, map[string]any{"name": "Publish", "message": "Event published", "url": r.URL.Path})
}

// remove answers /events/delete/UUID: everything of it that this organisation published is withdrawn.
func (s *server) remove(w http.ResponseWriter, r *http.Request) error {
	s.pushing.Lock()
	defer s.pushing.Unlock()
	o, err := s.outline(r, nil, strings.ToLower(r.PathValue("id")))
	if err != nil {
		return err
	}
	if o.event.key.Originator != s.node.Org() {
		return foreign(o)
	}
	reader := serve.Reader(r)
	var list []node.Record
	for _, id := range o.entries {
		rec, err := find(reader, id)
		if err != nil {
			return err
		}
		if rec != nil && !rec.Withdrawn && rec.Originator.ID == s.node.Org() && rec.Publisher.ID == s.node.Org() {
			list = append(list, *rec)
		}
	}
	if err := s.withdraw(r, list, "deleted in MISP"); err != nil {
		return err
	}
	return answer(w, map[string]any{"saved": true, "success": "Event deleted.", "name": "Event deleted.", "message": "Event deleted.", "url": r.URL.Path})
}

// seen is a sighting that is pushed.
type seen struct {
	core.Fields
	of *node.Record
}

// addSighting answers /sightings/add: of attributes by UUID, or by value.
func (s *server) addSighting(w http.ResponseWriter, r *http.Request) error {
	q := core.Fields{}
	if err := body(w, r, maxQuery, &q); err != nil {
		return err
	}
	if inner := (core.Fields{"": q["Sighting"]}); len(q["Sighting"]) > 0 && q["Sighting"][0] == '{' {
		q = core.Fields{}
		if err := json.Unmarshal(inner[""], &q); err != nil {
			return bad("Sighting")
		}
	}
	reader := serve.Reader(r)
	var list []seen
	id := r.PathValue("id")
	for _, name := range []string{"uuid", "id", "attribute_uuid"} {
		if id == "" {
			id = q.Text(name)
		}
	}
	values := []string{q.Text("value")}
	if raw := q["values"]; len(raw) > 0 {
		if c, err := readCondition("values", raw); err == nil {
			values = c.any
		} else {
			return err
		}
	}
	at := q.Text("timestamp")
	if at == "" {
		at = q.Text("date_sighting")
	}
	if at == "" {
		at = strconv.FormatInt(s.now().Unix(), 10)
	}
	f := core.Fields{"date_sighting": quoted(at), "type": quoted(q.Text("type")), "source": quoted(q.Text("source"))}
	if id != "" {
		rec, err := s.attribute(reader, id)
		if err != nil {
			return err
		}
		if rec == nil {
			return notFound("attribute.")
		}
		list = append(list, seen{f, rec})
	} else {
		for _, v := range values {
			if v == "" {
				continue
			}
			found, _, err := reader.Search(node.Query{Value: v, Type: "indicator", Limit: 100})
			if err != nil {
				return err
			}
			for i := range found {
				list = append(list, seen{f, &found[i]})
			}
		}
	}
	saved, why, err := s.sight(r, list)
	if err != nil {
		return err
	}
	if saved == 0 {
		return &refusal{http.StatusForbidden, "Could not add Sighting: " + firstOf(why, "no matching attribute"), ""}
	}
	return answer(w, map[string]any{"saved": true, "success": fmt.Sprintf("%d sighting successfully added.", saved), "message": fmt.Sprintf("%d sighting successfully added.", saved), "name": "Sighting added", "url": r.URL.Path})
}

func quoted(s string) json.RawMessage { b, _ := json.Marshal(s); return b } // of a string: always

func firstOf(list []string, otherwise string) string {
	if len(list) > 0 {
		return list[0]
	}
	return otherwise
}

// attribute returns the record of an attribute of MISP that somebody may see; nil if there is none.
func (s *server) attribute(reader *node.Reader, uuid string) (*node.Record, error) {
	uuid = strings.ToLower(uuid)
	if len(uuid) != 36 {
		return nil, nil
	}
	for _, typ := range []string{"indicator", "observed-data", core.TypeAttribute} {
		list, err := reader.Find(typ + "--" + uuid)
		if err != nil && !errors.Is(err, node.ErrNotFound) {
			return nil, err
		}
		for i := range list {
			if !list[i].Withdrawn && reader.MayExport(&list[i]) {
				return &list[i], nil
			}
		}
	}
	return nil, nil
}

// bulkSightings answers /sightings/bulkSaveSightings/UUID, by which an instance pushes those of an event.
func (s *server) bulkSightings(w http.ResponseWriter, r *http.Request) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuery))
	if err != nil {
		return err
	}
	var list []core.Fields
	var wrapped struct{ Sighting []core.Fields }
	if err := json.Unmarshal(data, &list); err != nil {
		if err := json.Unmarshal(data, &wrapped); err != nil {
			return protocol.Errorf(protocol.ErrMalformed, "the body is no list of sightings: %v", err)
		}
		list = wrapped.Sighting
	}
	if _, err := s.outline(r, nil, strings.ToLower(r.PathValue("id"))); err != nil {
		return err
	}
	reader := serve.Reader(r)
	var all []seen
	for _, f := range list {
		rec, err := s.attribute(reader, f.Text("attribute_uuid"))
		if err != nil {
			return err
		}
		if rec != nil {
			all = append(all, seen{f, rec})
		}
	}
	saved, _, err := s.sight(r, all)
	if err != nil {
		return err
	}
	if saved == 0 {
		return answer(w, map[string]any{"saved": false, "success": "No sightings added."})
	}
	return answer(w, map[string]any{"saved": true, "success": fmt.Sprintf("%d sightings added.", saved)})
}

// sight publishes sightings. One says that a record is there: it goes to nobody to whom that may not
// go, and what is for named readers only goes back to its originator.
func (s *server) sight(r *http.Request, list []seen) (saved int, why []string, err error) {
	in, err := topic(r)
	if err != nil {
		return 0, nil, err
	}
	c := serve.Consumer(r)
	var items []intake.Item
	for _, x := range list {
		h, err := s.sightingHandling(x.of)
		if err != nil {
			why = append(why, err.Error())
			continue
		}
		event := ""
		if o, err := stix.Parse(x.of.Object); err == nil {
			event = o.Text(core.Prefix + "event_uuid")
		}
		made, err := core.Sighting(x.Fields, x.of.StixID, event, h)
		if err != nil {
			why = append(why, err.Error())
			continue
		}
		for _, m := range made {
			items = append(items, intake.Item{Object: m.Object, Handling: m.Handling, Converted: true})
		}
	}
	if len(items) == 0 {
		return 0, why, nil
	}
	out, err := s.node.Submit(r.Context(), c.Principal, node.Submission{Topic: in, Items: items, Source: "misp " + c.Name})
	if err != nil {
		return 0, nil, err
	}
	for _, x := range out.Results {
		switch {
		case x.State == node.SubmitRefused:
			why = append(why, x.Reason)
		case x.State == node.SubmitPublished && !strings.HasPrefix(x.StixID, "identity--"):
			saved++
		}
	}
	return saved, why, nil
}

func (s *server) sightingHandling(rec *node.Record) (h protocol.Handling, err error) {
	m := rec.Marks()
	h = protocol.Handling{Version: 1, TLP: m.TLP, PAP: m.PAP, Countries: m.Countries, Personal: protocol.PersonalUndetermined, Purposes: m.Purposes, RetentionDays: m.RetentionDays,
		Onward: protocol.Onward{Rule: protocol.OnwardNobody, Ceiling: protocol.TLPClear}}
	if m.Named > 0 || m.TLP == protocol.TLPRed {
		if rec.Originator.ID == s.node.Org() {
			return h, fmt.Errorf("record %s is for named readers only, and a sighting of it as well: publish it with 'entente publish --to'", rec.ID.Short())
		}
		h.Named = []protocol.OrgID{rec.Originator.ID}
	}
	h.Normalise()
	return h, h.Validate()
}
