package taxii

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// object is a version of an object in a collection.
type object struct {
	place
	rec     *node.Record
	key     uint64
	when    time.Time // of the version: modified, created, or when it came here
	version string    // the same, as the object writes it
	spec    string    // of STIX: 2.1, as nothing else is taken
}

func newObject(p place, rec *node.Record) *object {
	o := &object{place: p, rec: rec, key: objectKey(rec), when: rec.Added, version: timestamp(rec.Added), spec: "2.1"}
	if p.added.IsZero() {
		o.added = rec.Added
	}
	parsed, err := stix.Parse(rec.Object)
	if err != nil {
		return o // it is served as it is, as everywhere
	}
	for _, t := range []struct {
		name string
		when time.Time
	}{{"modified", parsed.Modified}, {"created", parsed.Created}} {
		if !t.when.IsZero() {
			o.when, o.version = t.when, parsed.Text(t.name)
			break
		}
	}
	if v := parsed.Text("spec_version"); v != "" {
		o.spec = v
	}
	return o
}

func (o *object) handling() handling {
	h := &o.rec.Handling
	return handling{ID: o.rec.StixID, Record: o.rec.ID.String(), Originator: o.rec.Originator.ID.String(), TLP: h.TLP, PAP: h.PAP,
		Countries: h.Countries, PersonalData: h.PersonalData, Purposes: h.Purposes, Onward: h.Onward}
}

// earlier orders the versions of one object: by the time that they state, and of one time the one that
// came first is before, so that a second one of the same time is not a version (see among).
func earlier(a, b *object) int {
	return cmp.Or(a.when.Compare(b.when), cmp.Compare(a.cursor, b.cursor))
}

// search is a request for objects that is being answered.
type search struct {
	*filter
	ctx    context.Context
	reader *node.Reader
	list   *list
	// versions of objects that were looked up, earlier ones first, each of another time.
	versions map[uint64][]*version
	later    map[uint64]time.Time // a version of that time is there
	classes  map[uint16]bool      // by its number in the list: whether a class may hold what is asked for
	room     int                  // bytes of objects that the page still has; 0: it is full
}

// version is what a search remembers of one.
type version struct {
	cursor uint64
	when   time.Time
}

// scanned is how many places of a list are looked at at a time.
const scanned = 256

// page returns the objects after a cursor, at most f.limit of them, and where to go on: 0 if that was
// all. It goes on until it found one, or there is none: a client that is told that there is more, and
// given nothing, may ask the same for ever.
func (q *search) page(after uint64) (out []*object, next uint64, err error) {
	if q.impossible() {
		return nil, 0, nil
	}
	if len(q.ids) > 0 {
		return q.named(after)
	}
	for {
		places, more := q.list.from(after, scanned, q.wants)
		if out, next, err = q.pick(out, places); err != nil || next != 0 || more == 0 {
			return out, next, err
		}
		if after = more; q.ctx.Err() != nil {
			return nil, 0, q.ctx.Err()
		}
	}
}

// named finds objects by their ids: the list is not gone through.
func (q *search) named(after uint64) (out []*object, next uint64, err error) {
	var recs []node.Record
	for _, id := range q.ids {
		if !strings.Contains(id, "--") {
			continue // no STIX id: nothing has it
		}
		found, err := q.reader.Find(id)
		if err != nil && !errors.Is(err, node.ErrNotFound) {
			return nil, 0, err
		}
		recs = append(recs, found...)
	}
	places := q.list.placesOf(recs)
	places = slices.DeleteFunc(places, func(p place) bool { return p.cursor <= after })
	for chunk := range slices.Chunk(places, scanned) {
		if out, next, err = q.pick(out, chunk); err != nil || next != 0 {
			return out, next, err
		}
	}
	return out, 0, nil
}

// wants reports whether a class of records may hold what is asked for and is there for the reader. Of
// each record it is decided again when it is read.
func (q *search) wants(number uint16, class *node.Record) bool {
	want, ok := q.classes[number]
	if !ok {
		want = (len(q.types) == 0 || slices.Contains(q.types, class.Type)) && q.reader.Sees(class)
		q.classes[number] = want
	}
	return want
}

// pick appends what of some places is asked for.
func (q *search) pick(out []*object, places []place) ([]*object, uint64, error) {
	objects, err := q.read(places)
	if err != nil {
		return nil, 0, err
	}
	objects = slices.DeleteFunc(objects, func(o *object) bool {
		return len(q.types) > 0 && !slices.Contains(q.types, o.rec.Type) || len(q.specs) > 0 && !slices.Contains(q.specs, o.spec)
	})
	if err := q.lookAhead(objects); err != nil {
		return nil, 0, err
	}
	for _, o := range objects {
		ok, err := q.asked(o)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			continue
		}
		if len(out) == q.limit || len(out) > 0 && len(o.rec.Object) > q.room {
			return out, out[len(out)-1].cursor, nil
		}
		out, q.room = append(out, o), max(q.room-len(o.rec.Object), 0)
	}
	return out, 0, nil
}

// read reads what stands in some places and is there for the reader, in one go.
func (q *search) read(places []place) ([]*object, error) {
	at := make([]uint64, len(places))
	order := make([]int, len(places))
	for i := range places {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(places[a].at, places[b].at) })
	for i, j := range order {
		at[i] = places[j].at
	}
	recs, err := q.reader.At(at)
	if err != nil {
		return nil, err
	}
	byPlace := make([]*object, len(places))
	for i, j := range order {
		if rec := recs[i]; rec != nil && !rec.Withdrawn {
			byPlace[j] = newObject(places[j], rec)
		}
	}
	return slices.DeleteFunc(byPlace, func(o *object) bool { return o == nil }), nil
}

// lookAhead reads, for all objects at once, the version of each that came last: it is mostly the one
// in whose favour the others are left out.
func (q *search) lookAhead(objects []*object) error {
	if !q.last || q.first || len(q.values) > 0 || len(q.specs) > 0 {
		return nil
	}
	var places []place
	seen := map[uint64]bool{}
	for _, o := range objects {
		if _, ok := q.later[o.key]; ok || seen[o.key] || !q.list.several(o.key) {
			continue
		}
		seen[o.key] = true
		if all := q.list.versions(o.key); len(all) > 0 {
			places = append(places, all[0])
		}
	}
	found, err := q.read(places)
	for _, o := range found {
		q.later[o.key] = o.when
	}
	return err
}

// asked reports whether an object is of the versions that are asked for (TAXII 3.4.1).
func (q *search) asked(o *object) (bool, error) {
	if !q.list.several(o.key) {
		return q.first || q.last || q.all || slices.ContainsFunc(q.values, o.when.Equal), nil
	}
	if t, ok := q.later[o.key]; ok && t.After(o.when) {
		return false, nil // only the last is asked for
	}
	all, err := q.among(o)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(all, func(v *version) bool { return v.cursor == o.cursor })
	if i < 0 {
		return false, nil // another of the same time came first
	}
	return q.all || q.first && i == 0 || q.last && i == len(all)-1 || slices.ContainsFunc(q.values, o.when.Equal), nil
}

// among returns the versions of an object that are there for the reader, and of the specifications
// that are asked for.
func (q *search) among(o *object) ([]*version, error) {
	if all, ok := q.versions[o.key]; ok {
		return all, nil
	}
	var list []*object
	for chunk := range slices.Chunk(q.list.versions(o.key), scanned) {
		found, err := q.read(chunk)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			if v.rec.StixID == o.rec.StixID && v.rec.Originator.ID == o.rec.Originator.ID && (len(q.specs) == 0 || slices.Contains(q.specs, v.spec)) {
				v.rec = nil // it may be large, and is not needed
				list = append(list, v)
			}
		}
	}
	slices.SortFunc(list, earlier)
	list = slices.CompactFunc(list, func(a, b *object) bool { return a.when.Equal(b.when) })
	all := []*version{}
	for _, v := range list {
		all = append(all, &version{v.cursor, v.when})
	}
	q.versions[o.key] = all
	return all, nil
}

// find answers a request for objects of a collection: those that are asked for, whether there are
// more, and next. It notes what is about to be shown.
func (s *server) find(r *http.Request, c *collection, fields []string, id, act string) (out []*object, next string, err error) {
	if err := mayRead(c); err != nil {
		return nil, "", err
	}
	f, err := readFilter(r.URL.RawQuery, fields)
	if err != nil {
		return nil, "", failf(http.StatusBadRequest, "%v", err)
	}
	if act == "versions" {
		f.first, f.last, f.all = false, false, true
	}
	if id != "" {
		f.ids = []string{id}
	}
	bound := c.ID + "\n" + f.canonical()
	after := uint64(0)
	if f.next != "" {
		if after, err = s.tokens.open(f.next, bound); err != nil {
			return nil, "", failf(http.StatusBadRequest, "%v", err)
		}
	}
	if !f.after.IsZero() {
		at, err := s.node.CursorAt(f.after)
		if err != nil {
			return nil, "", err
		}
		after = max(after, at)
	}
	q := newSearch(r.Context(), f, serve.Reader(r), c.list)
	out, more, err := q.page(after)
	if err != nil {
		return nil, "", err
	}
	if id != "" && len(out) == 0 {
		if there, err := q.holds(); err != nil {
			return nil, "", err
		} else if !there {
			return nil, "", notFound()
		}
	}
	if more != 0 {
		next = s.tokens.seal(more, bound)
	}
	if len(out) > 0 {
		what := "collection " + c.Title + " for " + serve.Consumer(r).Name
		ids := make([]protocol.RecordID, len(out))
		for i, o := range out {
			ids[i] = o.rec.ID
		}
		if err := s.node.HandRecords(r.Context(), node.HandoutTAXII, what, node.Disclosure{Act: "taxii " + act, Query: what, Records: ids}); err != nil {
			return nil, "", err
		}
	}
	return out, next, nil
}

func newSearch(ctx context.Context, f *filter, reader *node.Reader, l *list) *search {
	return &search{filter: f, ctx: ctx, reader: reader, list: l, versions: map[uint64][]*version{}, later: map[uint64]time.Time{},
		classes: map[uint16]bool{}, room: pageBytes}
}

// holds reports whether anything is there that the match fields ask for, whenever it was added.
func (q *search) holds() (bool, error) {
	q.room = pageBytes
	found, _, err := q.page(0)
	return len(found) > 0, err
}

// dates sets the headers that say when the first and the last object of an answer were added (TAXII
// 3.2), which every answer must have. One of no objects has the time that was asked for, or the
// beginning: a client that goes on from there misses nothing, and learns nothing of what it may not see.
func dates(w http.ResponseWriter, r *http.Request, list []*object) {
	first := time.Unix(0, 0)
	if t, err := parseTime(r.URL.Query().Get("added_after")); err == nil {
		first = t
	}
	last := first
	if len(list) > 0 {
		first, last = list[0].added, list[len(list)-1].added
	}
	w.Header().Set("X-TAXII-Date-Added-First", timestamp(first))
	w.Header().Set("X-TAXII-Date-Added-Last", timestamp(last))
}

func (s *server) getObjects(w http.ResponseWriter, r *http.Request, c *collection) error {
	list, next, err := s.find(r, c, matchObjects, "", "objects")
	if err != nil {
		return err
	}
	writeEnvelope(w, r, list, next)
	return nil
}

func (s *server) getObject(w http.ResponseWriter, r *http.Request, c *collection, id string) error {
	list, next, err := s.find(r, c, matchObject, id, "object")
	if err != nil {
		return err
	}
	writeEnvelope(w, r, list, next)
	return nil
}

// writeEnvelope writes objects byte for byte as their authors did, which an encoder of JSON would not.
// More and objects are always there: clients fail without objects, and it is what the standard's
// empty envelope says. Next is there whenever there is more.
func writeEnvelope(w http.ResponseWriter, r *http.Request, list []*object, next string) {
	dates(w, r, list)
	w.Header().Set("Content-Type", mediaType)
	if tlp := strictest(list); tlp != "" {
		w.Header().Set("X-Entente-TLP", tlp)
	}
	w.WriteHeader(http.StatusOK)
	b := bufio.NewWriter(w)
	defer b.Flush() // a client that went away gets nothing
	b.WriteString(`{"more":` + strconv.FormatBool(next != ""))
	if next != "" {
		b.WriteString(`,"next":"` + next + `"`)
	}
	b.WriteString(`,"objects":[`)
	var beside []handling
	for i, o := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(o.rec.Object)
		beside = append(beside, o.handling())
	}
	b.WriteByte(']')
	if enc, err := json.Marshal(beside); err == nil && len(beside) > 0 {
		b.WriteString(`,"x_entente_handling":`)
		b.Write(enc)
	}
	b.WriteString("}\n")
}

// strictest returns the highest TLP of some objects, "" of none.
func strictest(list []*object) (word string) {
	highest := protocol.TLPUnset
	for _, o := range list {
		if t, err := protocol.ParseTLP(o.rec.Handling.TLP); err == nil && t > highest {
			highest, word = t, o.rec.Handling.TLP
		}
	}
	return word
}

func (s *server) getManifest(w http.ResponseWriter, r *http.Request, c *collection) error {
	list, next, err := s.find(r, c, matchObjects, "", "manifest")
	if err != nil {
		return err
	}
	dates(w, r, list)
	m := manifest{More: next != "", Next: next, Objects: []manifestRecord{}} // as in writeEnvelope
	for _, o := range list {
		h := o.handling()
		m.Objects = append(m.Objects, manifestRecord{ID: o.rec.StixID, DateAdded: timestamp(o.added), Version: o.version, MediaType: stix21, Handling: &h})
	}
	write(w, http.StatusOK, m)
	return nil
}

func (s *server) getVersions(w http.ResponseWriter, r *http.Request, c *collection, id string) error {
	list, next, err := s.find(r, c, matchVersions, id, "versions")
	if err != nil {
		return err
	}
	dates(w, r, list)
	v := versions{More: next != "", Next: next, Versions: []string{}}
	for _, o := range list {
		if !slices.Contains(v.Versions, o.version) { // two originators may have the same
			v.Versions = append(v.Versions, o.version)
		}
	}
	write(w, http.StatusOK, v)
	return nil
}
