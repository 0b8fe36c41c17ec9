package misp

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/protocol"
)

// search is what an instance, or PyMISP, asks for. A condition that is not understood is an error: an
// answer that passes over it would hold what nobody asked for.
type search struct {
	values, types, categories, tags, uuids, orgs condition
	info                                         string
	since                                        int64 // Unix seconds
	ids                                          string
	deleted, live                                bool // which of both
	minimal                                      bool
	limit, page                                  int
}

// condition is a list of values, of which one must be there, and of those that must not.
type condition struct{ any, not []string }

func (c *condition) empty() bool { return len(c.any)+len(c.not) == 0 }

// holds reports whether some words satisfy a condition. % stands for anything.
func (c *condition) holds(words ...string) bool {
	has := func(p string) bool { return slices.ContainsFunc(words, func(w string) bool { return like(p, w) }) }
	return !slices.ContainsFunc(c.not, has) && (len(c.any) == 0 || slices.ContainsFunc(c.any, has))
}

func like(pattern, s string) bool {
	pattern, s = strings.ToLower(pattern), strings.ToLower(s)
	parts := strings.Split(pattern, "%")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// harmless are parameters that ask for more or less around what is found, or for an order.
var harmless = map[string]bool{"returnFormat": true, "sort": true, "direction": true, "order": true, "metadata": true, "withAttachments": true,
	"enforceWarninglist": true, "sgReferenceOnly": true, "extended": true, "requested_attributes": true, "headerless": true, "excludeLocalTags": true, "sharinggroup": true,
	"excludeGalaxy": true, "threat_level_id": false}

const (
	defaultLimit = 1000
	maxLimit     = 10000
)

func readSearch(q map[string]json.RawMessage, now time.Time) (*search, error) {
	s := &search{live: true, limit: defaultLimit, page: 1}
	if inner := q["request"]; inner != nil && len(q) == 1 {
		q = nil
		if err := json.Unmarshal(inner, &q); err != nil {
			return nil, bad("request")
		}
	}
	for name, raw := range q {
		if len(raw) == 0 || string(raw) == "null" || string(raw) == `""` || string(raw) == "[]" {
			continue
		}
		if err := s.read(name, raw, now); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func bad(name string) error {
	return protocol.Errorf(protocol.ErrMalformed, "the filter %q is not understood as it is given; leave it out, and see docs/misp.md for those that are", core.Clip(name))
}

func (s *search) read(name string, raw json.RawMessage, now time.Time) (err error) {
	one := core.Fields{"": raw}.Text("")
	switch name {
	case "value", "quickFilter", "searchall":
		if string(raw) == "true" || string(raw) == "false" { // PyMISP has searchall as a switch
			return bad(name)
		}
		s.values, err = readCondition(name, raw)
	case "type":
		s.types, err = readCondition(name, raw)
	case "category":
		s.categories, err = readCondition(name, raw)
	case "tags", "tag", "searchtag":
		s.tags, err = readCondition(name, raw)
	case "uuid", "eventid", "id", "event_uuid", "eventuuid":
		s.uuids, err = readCondition(name, raw)
	case "org", "searchorg":
		s.orgs, err = readCondition(name, raw)
	case "eventinfo", "searcheventinfo":
		s.info = one
	case "timestamp", "last", "attribute_timestamp", "publish_timestamp", "event_timestamp":
		at, err := since(one, now)
		if err != nil {
			return bad(name)
		}
		s.since = max(s.since, at) // of several, all must hold
	case "published": // there is nothing else here; a list of both asks for that as well
		c, err := readCondition(name, raw)
		if err != nil || !slices.ContainsFunc(c.any, func(v string) bool { return v == "1" || v == "true" }) {
			return bad(name)
		}
	case "to_ids":
		s.ids = map[string]string{"1": "true", "true": "true", "0": "false", "false": "false"}[one]
		if s.ids == "" {
			return bad(name)
		}
	case "deleted":
		c, err := readCondition(name, raw)
		if err != nil {
			return err
		}
		s.deleted = c.holds("1") || c.holds("true") || c.holds("only")
		s.live = !s.deleted || c.holds("0") || c.holds("false") // alone, 1 asks for nothing else
	case "minimal":
		s.minimal = one == "1" || one == "true"
	case "limit":
		if s.limit, err = strconv.Atoi(one); err != nil || s.limit < 1 {
			return bad(name)
		}
		s.limit = min(s.limit, maxLimit)
	case "page":
		if s.page, err = strconv.Atoi(one); err != nil || s.page < 1 || s.page > 1<<20 {
			return bad(name)
		}
	default:
		if !harmless[name] && !strings.HasPrefix(name, "include") || name == "returnFormat" && one != "json" {
			return bad(name)
		}
	}
	return err
}

// readCondition reads "a", ["a","!b"], or {"OR":[…],"NOT":[…]}.
func readCondition(name string, raw json.RawMessage) (c condition, err error) {
	var parts map[string]json.RawMessage
	if raw[0] == '{' {
		if err := json.Unmarshal(raw, &parts); err != nil {
			return c, bad(name)
		}
	} else {
		parts = map[string]json.RawMessage{"OR": raw}
	}
	for op, raw := range parts {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			list = []json.RawMessage{raw}
		}
		for _, e := range list {
			word := core.Fields{"": e}.Text("")
			rest, not := strings.CutPrefix(word, "!")
			switch {
			case word == "" || len(c.any)+len(c.not) >= 10000:
				return c, bad(name)
			case not && op == "OR":
				c.not = append(c.not, rest)
			case op == "OR":
				c.any = append(c.any, word)
			case op == "NOT":
				c.not = append(c.not, word)
			default:
				return c, bad(name + " " + op)
			}
		}
	}
	return c, nil
}

// since reads a Unix time, or how long ago: 30d, 12h, 5m.
func since(s string, now time.Time) (int64, error) {
	unit := map[byte]time.Duration{'d': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute}
	if n := len(s); n > 1 && unit[s[n-1]] > 0 {
		count, err := strconv.ParseInt(s[:n-1], 10, 32)
		if err != nil || count < 0 || count > 365000 {
			return 0, bad("timestamp")
		}
		return now.Unix() - count*int64(unit[s[n-1]]/time.Second), nil
	}
	return strconv.ParseInt(s, 10, 64)
}

// index answers /events/index: to an instance that pulls, which events there are, and how new.
func (s *server) index(w http.ResponseWriter, r *http.Request) error {
	q := map[string]json.RawMessage{}
	if err := body(w, r, maxQuery, &q); err != nil {
		return err
	}
	want, err := readSearch(q, s.now())
	if err != nil {
		return err
	}
	list, err := s.outlines(r, nil)
	if err != nil {
		return err
	}
	out := []map[string]any{}
	var ids []protocol.RecordID
	skip := 0
	if q["limit"] != nil {
		skip = (want.page - 1) * want.limit
	}
	for _, o := range list {
		if !want.uuids.holds(o.uuid) {
			continue
		}
		head, by, err := s.head(serve.Reader(r), o)
		if err != nil {
			return err
		}
		if !want.fits(head) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if q["limit"] != nil && len(out) >= want.limit {
			break
		}
		ids = append(ids, by...)
		org, _ := head["Orgc"].(map[string]any)
		sighted := "0"
		if !o.sighted.IsZero() {
			sighted = strconv.FormatInt(o.sighted.Unix(), 10)
		}
		if want.minimal {
			out = append(out, map[string]any{"uuid": o.uuid, "timestamp": head["timestamp"], "sighting_timestamp": sighted, "published": true, "orgc_uuid": org["uuid"]})
			continue
		}
		head["sighting_timestamp"], head["attribute_count"] = sighted, strconv.Itoa(len(o.entries))
		tags, _ := head["Tag"].([]map[string]any)
		head["EventTag"] = []map[string]any{}
		for _, t := range tags {
			head["EventTag"] = append(head["EventTag"].([]map[string]any), map[string]any{"Tag": t})
		}
		delete(head, "Tag")
		head["Org"] = head["Orgc"]
		out = append(out, head)
	}
	if err := s.disclose(r, "events/index", ids); err != nil {
		return err
	}
	return answer(w, out)
}

// fits reports whether what an event says of itself is asked for.
func (s *search) fits(head map[string]any) bool {
	at, _ := strconv.ParseInt(text(head["timestamp"]), 10, 64)
	if at < s.since || s.info != "" && !strings.Contains(strings.ToLower(text(head["info"])), strings.ToLower(strings.Trim(s.info, "%"))) {
		return false
	}
	org, _ := head["Orgc"].(map[string]any)
	return s.orgs.holds(text(org["name"]), text(org["uuid"])) && s.tags.holds(tagNames(head)...)
}

func tagNames(of map[string]any) (names []string) {
	tags, _ := of["Tag"].([]map[string]any)
	for _, t := range tags {
		names = append(names, text(t["name"]))
	}
	return names
}

// fitsAttribute reports whether an attribute is asked for. Tags of its event count for it.
func (s *search) fitsAttribute(a map[string]any, above []string) bool {
	if a["deleted"] == true && !s.deleted || a["deleted"] != true && !s.live || s.ids != "" && text(a["to_ids"]) != s.ids {
		return false
	}
	value := text(a["value"])
	words := []string{value}
	if strings.Contains(text(a["type"]), "|") {
		words = append(words, strings.SplitN(value, "|", 2)...)
	}
	return s.values.holds(words...) && s.types.holds(text(a["type"])) && s.categories.holds(text(a["category"])) && s.tags.holds(append(tagNames(a), above...)...)
}

// view answers /events/view/UUID. MISP writes parameters into the path, as deleted:1.
func (s *server) view(w http.ResponseWriter, r *http.Request) error {
	o, err := s.outline(r, nil, strings.ToLower(r.PathValue("id")))
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "application/json")
		return nil
	}
	q := map[string]json.RawMessage{}
	if err := body(w, r, maxQuery, &q); err != nil {
		return err
	}
	rest, err := url.PathUnescape(r.PathValue("rest"))
	if err != nil {
		return bad("path")
	}
	deleted := strings.Contains(string(q["deleted"]), "1") || string(q["deleted"]) == "true"
	for p := range strings.SplitSeq(rest, "/") {
		name, value, _ := strings.Cut(p, ":")
		deleted = deleted || strings.TrimSuffix(name, "[]") == "deleted" && (value == "1" || value == "only")
		if name == "excludeGalaxy" && value == "1" {
			q["excludeGalaxy"] = json.RawMessage("1")
		}
	}
	event, ids, err := s.build(r.Context(), serve.Reader(r), o)
	if err != nil {
		return err
	}
	if event == nil {
		return notFound("event.")
	}
	trim(event, deleted, q["excludeGalaxy"] != nil)
	if err := s.disclose(r, "events/view "+o.uuid, ids); err != nil {
		return err
	}
	return answer(w, json.RawMessage(core.Encode(event)))
}

// trim leaves out of an event what was not asked for.
func trim(event map[string]any, deleted, noGalaxy bool) {
	if noGalaxy {
		delete(event, "Galaxy")
		for _, a := range attributes(event) {
			delete(a, "Galaxy")
		}
	}
	if deleted {
		return
	}
	gone := func(x map[string]any) bool { return x["deleted"] == true }
	for _, name := range []string{"Attribute", "Object", "EventReport"} {
		if list, ok := event[name].([]map[string]any); ok {
			event[name] = slices.DeleteFunc(list, gone)
		}
	}
	objects, _ := event["Object"].([]map[string]any)
	for _, o := range objects {
		for _, name := range []string{"Attribute", "ObjectReference"} {
			if list, ok := o[name].([]map[string]any); ok {
				o[name] = slices.DeleteFunc(list, gone)
			}
		}
	}
}

// found goes through what a search finds, event by event; fn says whether to go on.
func (s *server) found(w http.ResponseWriter, r *http.Request, fn func(want *search, event map[string]any, ids []protocol.RecordID, fit []map[string]any) (bool, error)) error {
	q := map[string]json.RawMessage{}
	if err := body(w, r, maxQuery, &q); err != nil {
		return err
	}
	want, err := readSearch(q, s.now())
	if err != nil {
		return err
	}
	if !want.plain() {
		done, err := s.building(w, r)
		if err != nil {
			return err
		}
		defer done()
	}
	list, err := s.outlines(r, nil)
	if err != nil {
		return err
	}
	near, err := s.near(r.Context(), serve.Reader(r), want)
	if err != nil {
		return err
	}
	for _, o := range list {
		if err := r.Context().Err(); err != nil {
			return err
		}
		if !want.uuids.empty() && len(want.uuids.any) > 0 && q["id"] == nil && q["uuid"] == nil && !want.uuids.holds(o.uuid) {
			continue
		}
		if near != nil && !o.plain && !slices.ContainsFunc(o.entries, func(id protocol.RecordID) bool { return near[id] }) {
			continue
		}
		event, ids, err := s.build(r.Context(), serve.Reader(r), o)
		if err != nil {
			return err
		}
		if event == nil {
			continue
		}
		tags := event["Tag"]
		if !(&search{orgs: want.orgs, info: want.info, since: want.since}).fits(event) {
			continue
		}
		above := tagNames(map[string]any{"Tag": tags})
		var fit []map[string]any
		for _, a := range attributes(event) {
			if want.fitsAttribute(a, above) && want.uuids.holds(o.uuid, text(a["uuid"])) {
				fit = append(fit, a)
			}
		}
		if len(fit) == 0 {
			continue
		}
		if more, err := fn(want, event, ids, fit); err != nil || !more {
			return err
		}
	}
	return nil
}

// plain reports whether a search is for values that can be looked up.
func (s *search) plain() bool {
	return len(s.values.any) > 0 && len(s.values.any) <= 100 && !slices.ContainsFunc(s.values.any, func(v string) bool { return strings.Contains(v, "%") || core.IsText(v) })
}

// near returns the records that may hold one of the values asked for; nil: any may.
func (s *server) near(ctx context.Context, reader *node.Reader, want *search) (map[protocol.RecordID]bool, error) {
	if !want.plain() {
		return nil, nil
	}
	near := map[protocol.RecordID]bool{}
	for _, v := range want.values.any {
		q := node.Query{Value: v, Limit: node.MaxLimit, Withdrawn: true, Versions: true}
		for {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			list, next, err := reader.Search(q)
			if err != nil {
				return nil, err
			}
			for i := range list {
				near[list[i].ID] = true
			}
			if q.After = next; next == 0 {
				break
			}
		}
	}
	return near, nil
}

func (s *server) searchEvents(w http.ResponseWriter, r *http.Request) error {
	out := []map[string]any{}
	var ids []protocol.RecordID
	at := 0
	err := s.found(w, r, func(want *search, event map[string]any, in []protocol.RecordID, _ []map[string]any) (bool, error) {
		if at++; at > (want.page-1)*want.limit {
			trim(event, want.deleted, false)
			out, ids = append(out, map[string]any{"Event": event}), append(ids, in...)
		}
		return len(out) < want.limit, bounded(len(ids))
	})
	if err != nil {
		return err
	}
	if err := s.disclose(r, "events/restSearch", ids); err != nil {
		return err
	}
	return answer(w, map[string]any{"response": out})
}

func (s *server) searchAttributes(w http.ResponseWriter, r *http.Request) error {
	out := []map[string]any{}
	var ids []protocol.RecordID
	at := 0
	err := s.found(w, r, func(want *search, event map[string]any, in []protocol.RecordID, fit []map[string]any) (bool, error) {
		used := false
		for _, a := range fit {
			if at++; at <= (want.page-1)*want.limit || len(out) >= want.limit {
				continue
			}
			used = true
			a = maps.Clone(a)
			a["event_uuid"] = event["uuid"]
			a["Event"] = map[string]any{"uuid": event["uuid"], "info": event["info"], "distribution": event["distribution"], "Orgc": event["Orgc"]}
			out = append(out, a)
		}
		if used {
			ids = append(ids, in...)
		}
		return len(out) < want.limit, nil // which bounds it
	})
	if err != nil {
		return err
	}
	if err := s.disclose(r, "attributes/restSearch", ids); err != nil {
		return err
	}
	return answer(w, map[string]any{"response": map[string]any{"Attribute": out}})
}

// searchSightings answers /sightings/restSearch/event, by which an instance pulls the sightings of events.
func (s *server) searchSightings(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		UUID json.RawMessage `json:"uuid"`
		ID   json.RawMessage `json:"id"`
	}
	if err := body(w, r, maxQuery, &q); err != nil {
		return err
	}
	raw := cmp.Or(string(q.UUID), string(q.ID))
	if raw == "" || raw == "null" {
		return bad("uuid")
	}
	want, err := readCondition("uuid", json.RawMessage(raw))
	if err != nil {
		return err
	}
	done, err := s.building(w, r)
	if err != nil {
		return err
	}
	defer done()
	out := []map[string]any{}
	var ids []protocol.RecordID
	slices.Sort(want.any)
	for _, uuid := range slices.Compact(want.any) {
		o, err := s.outline(r, nil, strings.ToLower(uuid))
		if err != nil {
			if r.Context().Err() != nil {
				return err
			}
			continue // none that this consumer sees
		}
		event, in, err := s.build(r.Context(), serve.Reader(r), o)
		if err != nil {
			return err
		}
		found := sightings(event)
		if len(found) > 0 {
			ids = append(ids, in...)
		}
		if err := bounded(len(ids)); err != nil {
			return err
		}
		for _, x := range found {
			out = append(out, map[string]any{"Sighting": x})
		}
	}
	if err := s.disclose(r, "sightings/restSearch", ids); err != nil {
		return err
	}
	return answer(w, map[string]any{"response": out})
}

func sightings(event map[string]any) (list []map[string]any) {
	for _, a := range attributes(event) {
		in, _ := a["Sighting"].([]map[string]any)
		list = append(list, in...)
	}
	return list
}

// filterSightings says which of some sightings are known, so that they are not pushed again.
func (s *server) filterSightings(w http.ResponseWriter, r *http.Request) error {
	var asked []string
	if err := body(w, r, maxQuery, &asked); err != nil {
		return err
	}
	o, err := s.outline(r, nil, strings.ToLower(r.PathValue("id")))
	if err != nil {
		return err
	}
	event, ids, err := s.build(r.Context(), serve.Reader(r), o)
	if err != nil {
		return err
	}
	known := []string{}
	for _, x := range sightings(event) {
		if uuid := text(x["uuid"]); slices.Contains(asked, uuid) {
			known = append(known, uuid)
		}
	}
	if err := s.disclose(r, "sightings/filterSightingUuidsForPush", ids); err != nil {
		return err
	}
	return answer(w, known)
}
