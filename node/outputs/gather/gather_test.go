package gather

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/outputs/score"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

const (
	day = 24 * 3600 * 1000
	now = uint64(1_800_000_000_000)
)

func at(ms uint64) string { return time.UnixMilli(int64(ms)).UTC().Format(stix.TimeFormat) }

func idOf(typ, name string) string {
	return typ + "--" + uuid.NewSHA1(uuid.Nil, []byte(name)).String()
}

func org(name byte) (o protocol.OrgID) { o[0] = name; return o }

func observed(o stix.Observable) pattern.Observed {
	typ := map[stix.Kind]string{stix.Domain: "domain-name", stix.IPv4: "ipv4-addr"}[o.Kind]
	return pattern.Observed{First: time.UnixMilli(int64(now)), Last: time.UnixMilli(int64(now)), Objects: map[string]map[string]any{
		"0": {"type": typ, "value": o.Value}}}
}

// indicator is one to be written.
type indicator struct {
	id, pattern string
	modified    uint64
	more        map[string]any
}

func (i indicator) json() string {
	if i.id == "" {
		i.id = "a"
	}
	if i.modified == 0 {
		i.modified = now - day
	}
	doc := map[string]any{"type": "indicator", "spec_version": "2.1", "id": idOf("indicator", i.id), "created": at(now - 400*day), "modified": at(i.modified),
		"pattern": i.pattern, "pattern_type": "stix", "valid_from": at(now - 400*day)}
	for k, v := range i.more {
		doc[k] = v
	}
	b, _ := json.Marshal(doc)
	return string(b)
}

func other(typ, id, ref string, modified uint64, more map[string]any) string {
	doc := map[string]any{"type": typ, "spec_version": "2.1", "id": idOf(typ, id), "created": at(now - 400*day), "modified": at(modified)}
	if typ == "sighting" {
		doc["sighting_of_ref"] = idOf("indicator", ref)
	} else {
		doc["object_refs"] = []string{idOf("indicator", ref)}
	}
	for k, v := range more {
		doc[k] = v
	}
	b, _ := json.Marshal(doc)
	return string(b)
}

// record is of an originator, received now or as said.
func record(t interface{ Fatal(...any) }, from byte, object string, change ...func(*Record)) *Record {
	o, err := stix.Parse([]byte(object))
	if err != nil {
		t.Fatal(err)
	}
	r := &Record{Originator: org(from), Received: now, Object: o, TLP: protocol.TLPGreen}
	if a := stix.Assess(o, nil); !a.IsZero() {
		r.Assessment = &a
	}
	for _, fn := range change {
		fn(r)
	}
	return r
}

const evil = "[domain-name:value = 'evil.example']"

var evilName = stix.Observable{Kind: stix.Domain, Value: "evil.example"}

func TestItem(t *testing.T) {
	conf := func(n int) map[string]any { return map[string]any{"confidence": n} }
	type rec struct {
		from   byte
		object string
		change func(*Record)
	}
	fresh := indicator{pattern: evil, modified: now}
	for _, tt := range []struct {
		name    string
		records []rec
		score   int
		sources int
	}{
		{"one report", []rec{{1, fresh.json(), nil}}, 80, 1},
		{"a day old", []rec{{1, indicator{pattern: evil}.json(), nil}}, 72, 1},
		{"with confidence", []rec{{1, indicator{pattern: evil, modified: now, more: conf(40)}.json(), nil}}, 40, 1},
		{"said to be of tomorrow, received ten days ago", []rec{{1, indicator{pattern: evil, modified: now + day}.json(), func(r *Record) { r.Received = now - 10*day }}}, 56, 1},
		{"of a list, which states no time", []rec{{1, indicator{pattern: evil, modified: NoTime, more: map[string]any{"created": at(NoTime), "valid_from": at(NoTime)}}.json(), func(r *Record) { r.Received = now - day }}}, 72, 1},
		{"valid from tomorrow", []rec{{1, indicator{pattern: evil, modified: now, more: map[string]any{"valid_from": at(now + day)}}.json(), nil}}, 0, 0},
		{"no longer valid", []rec{{1, indicator{pattern: evil, modified: now, more: map[string]any{"valid_until": at(now)}}.json(), nil}}, 0, 0},
		{"withdrawn", []rec{{1, fresh.json(), func(r *Record) { r.Withdrawn = true }}}, 0, 0},
		{"benign", []rec{{1, indicator{pattern: evil, modified: now, more: map[string]any{"indicator_types": []string{"benign"}}}.json(), nil}}, 0, 0},
		{"revoked by a later version", []rec{{1, indicator{pattern: evil}.json(), nil}, {1, indicator{pattern: evil, modified: now, more: map[string]any{"revoked": true}}.json(), nil}}, 0, 0},
		{"revoked, and the earlier version comes later", []rec{{1, indicator{pattern: evil, modified: now, more: map[string]any{"revoked": true}}.json(), nil}, {1, indicator{pattern: evil}.json(), nil}}, 0, 0},
		{"a later version is about something else", []rec{{1, indicator{pattern: evil}.json(), nil}, {1, indicator{pattern: "[domain-name:value = 'other.example']", modified: now}.json(), nil}}, 0, 0},
		{"revoked by another, who may not", []rec{{1, fresh.json(), nil}, {2, indicator{pattern: evil, modified: now + 1, more: map[string]any{"revoked": true}}.json(), nil}}, 80, 1},
		{"two reports", []rec{{1, fresh.json(), nil}, {2, indicator{id: "b", pattern: evil, modified: now}.json(), nil}}, 83, 2},
		{"two of one", []rec{{1, fresh.json(), nil}, {1, indicator{id: "b", pattern: evil, modified: now}.json(), nil}}, 80, 1},
		{"two, one with its origin withheld", []rec{{1, fresh.json(), nil}, {2, indicator{id: "b", pattern: evil, modified: now}.json(), func(r *Record) { r.Withheld = true }}}, 80, 1},
		{"old, and seen today", []rec{{1, indicator{pattern: evil, modified: now - 60*day}.json(), nil}, {2, other("sighting", "s", "a", now, map[string]any{"last_seen": at(now)}), nil}}, 80, 1},
		{"old, and seen before it is known", []rec{{2, other("sighting", "s", "a", now, nil), nil}, {1, indicator{pattern: evil, modified: now - 60*day}.json(), nil}}, 80, 1},
		{"old, and looked for in vain", []rec{{1, indicator{pattern: evil, modified: now - 60*day}.json(), nil}, {2, other("sighting", "s", "a", now, map[string]any{"count": 0}), nil}}, 23, 1},
		{"old, seen, the sighting withdrawn", []rec{{1, indicator{pattern: evil, modified: now - 60*day}.json(), nil}, {2, other("sighting", "s", "a", now, nil), func(r *Record) { r.Withdrawn = true }}}, 23, 1},
		{"old, seen, the sighting revoked", []rec{{1, indicator{pattern: evil, modified: now - 60*day}.json(), nil}, {2, other("sighting", "s", "a", now-1, nil), nil}, {2, other("sighting", "s", "a", now, map[string]any{"revoked": true}), nil}}, 23, 1},
		{"seen, says somebody of tomorrow", []rec{{1, indicator{pattern: evil, modified: now - 60*day}.json(), nil}, {2, other("sighting", "s", "a", now, map[string]any{"last_seen": at(now + 10*day)}), func(r *Record) { r.Received = now - day }}}, 72, 1},
		{"a sighting that is a false positive", []rec{{1, fresh.json(), nil}, {2, other("sighting", "s", "a", now, map[string]any{"labels": []string{`misp:sighting-type="false-positive"`}}), nil}}, 40, 1},
		{"disagree", []rec{{1, fresh.json(), nil}, {2, other("opinion", "o", "a", now, map[string]any{"opinion": "disagree"}), nil}}, 60, 1},
		{"strongly disagree", []rec{{1, fresh.json(), nil}, {2, other("opinion", "o", "a", now, map[string]any{"opinion": "strongly-disagree"}), nil}}, 40, 1},
		{"agree", []rec{{1, fresh.json(), nil}, {2, other("opinion", "o", "a", now, map[string]any{"opinion": "agree"}), nil}}, 80, 1},
		{"a mind changed", []rec{{1, fresh.json(), nil}, {2, other("opinion", "o", "a", now-1, map[string]any{"opinion": "disagree"}), nil}, {2, other("opinion", "o", "a", now, map[string]any{"opinion": "agree"}), nil}}, 80, 1},
		{"a mind changed, heard in the other order", []rec{{1, fresh.json(), nil}, {2, other("opinion", "o", "a", now, map[string]any{"opinion": "agree"}), nil}, {2, other("opinion", "o", "a", now-1, map[string]any{"opinion": "disagree"}), nil}}, 80, 1},
		{"an opinion revoked", []rec{{1, fresh.json(), nil}, {2, other("opinion", "o", "a", now-1, map[string]any{"opinion": "disagree"}), nil}, {2, other("opinion", "o", "a", now, map[string]any{"opinion": "disagree", "revoked": true}), nil}}, 80, 1},
		{"taken back by who said it", []rec{{1, fresh.json(), nil}, {1, other("opinion", "o", "a", now, map[string]any{"opinion": "disagree"}), nil}}, 0, 0},
		{"we disagree", []rec{{1, fresh.json(), nil}, {9, other("opinion", "o", "a", now, map[string]any{"opinion": "disagree"}), nil}}, 0, 1},
		{"no pattern of STIX", []rec{{1, indicator{pattern: evil, modified: now, more: map[string]any{"pattern_type": "sigma"}}.json(), nil}}, 0, 0},
	} {
		s := gatherAll(t, func(s *Set) {
			for i, r := range tt.records {
				rec := record(t, r.from, r.object)
				rec.Cursor = uint64(i + 1)
				if r.change != nil {
					r.change(rec)
				}
				s.Add(rec)
			}
		})
		it, _, _, _ := s.Explain(evilName, now)
		if it.Score != tt.score || it.Sources != tt.sources {
			t.Errorf("%s: score %d of %d sources, want %d of %d", tt.name, it.Score, it.Sources, tt.score, tt.sources)
		}
	}
}

// gatherAll goes through records, and again if that is needed.
func gatherAll(t interface{ Fatal(...any) }, pass func(*Set)) *Set {
	var void map[[16]byte]bool
	for range 3 {
		s := New(org(9), nil, void)
		pass(s)
		var again bool
		if void, again = s.Void(); !again {
			return s
		}
	}
	t.Fatal("it never ends")
	return nil
}

// What PAP does not allow to be blocked counts nothing where it is blocked.
func TestPassive(t *testing.T) {
	for pap, active := range map[protocol.PAP]int{protocol.PAPUnset: 80, protocol.PAPClear: 80, protocol.PAPGreen: 80, protocol.PAPAmber: 0, protocol.PAPRed: 0} {
		s := New(org(9), nil, nil)
		s.Add(record(t, 1, indicator{pattern: evil, modified: now}.json(), func(r *Record) { r.PAP = pap }))
		if it, _, _, _ := s.Explain(evilName, now); it.Score != 80 || it.Active != active || it.PAP != pap {
			t.Errorf("PAP %v: %+v", pap, it)
		}
	}
}

func TestKinds(t *testing.T) {
	s := New(org(9), []stix.Kind{stix.IPv4}, nil)
	s.Add(record(t, 1, indicator{pattern: "[domain-name:value = 'evil.example' OR ipv4-addr:value = '45.1.2.3']", modified: now}.json()))
	if _, _, _, ok := s.Explain(evilName, now); ok || s.Len() != 1 {
		t.Error("a kind that was not asked for counts")
	}
}

// A value that many report costs no more than one that MaxClaims do, and so does a sighted object.
func TestCorrelationIsBounded(t *testing.T) {
	s := New(org(9), nil, nil)
	for i := range 3000 {
		s.Add(record(t, byte(i%200), indicator{id: fmt.Sprint(i), pattern: evil, modified: now}.json()))
		s.Add(record(t, byte(i%200), other("sighting", fmt.Sprint(i), "0", now, nil)))
		s.Add(record(t, byte(i%200), other("opinion", fmt.Sprint(i), "0", now, map[string]any{"opinion": "disagree"})))
	}
	if len(s.claims) != MaxClaims || len(s.object) > MaxClaims || len(s.objects) > MaxClaims || len(s.heard) != 1 {
		t.Errorf("%d claims, %d objects, %d of others", len(s.claims), len(s.object), len(s.heard))
	}
	for _, h := range s.heard {
		if len(h.seen) > MaxHeard || len(h.disputed) > MaxHeard {
			t.Errorf("%d sightings, %d opinions are kept", len(h.seen), len(h.disputed))
		}
	}
	one := New(org(9), nil, nil)
	for i := range 100 {
		one.Add(record(t, 1, indicator{id: fmt.Sprint(i), pattern: evil, modified: now}.json()))
	}
	if len(one.claims) != maxOfSource {
		t.Errorf("one organisation has %d claims on a value", len(one.claims))
	}
	same := New(org(9), nil, nil)
	for i := range 1000 {
		same.Add(record(t, 1, indicator{pattern: evil, modified: now - 1000 + uint64(i)}.json()))
	}
	if len(same.claims) != 1 || len(same.object) != 1 {
		t.Errorf("a thousand versions are %d claims of %d objects", len(same.claims), len(same.object))
	}
}

// Claims that were revoked make room for others.
func TestRoomAfterRevocation(t *testing.T) {
	s := New(org(9), nil, nil)
	for i := range 2 * maxOfSource {
		s.Add(record(t, 1, indicator{id: fmt.Sprint(i), pattern: evil, modified: now - day}.json()))
		s.Add(record(t, 1, indicator{id: fmt.Sprint(i), pattern: evil, modified: now, more: map[string]any{"revoked": true}}.json()))
	}
	s.Add(record(t, 1, indicator{id: "last", pattern: evil, modified: now}.json()))
	if it, _, _, _ := s.Explain(evilName, now); it.Score != 80 || len(s.claims) != 1 {
		t.Errorf("score %d, %d claims", it.Score, len(s.claims))
	}
}

// The same records in any order say the same, as long as no bound is met.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []*Record
		for i := range rapid.IntRange(1, 12).Draw(t, "records") {
			from := byte(rapid.IntRange(1, 3).Draw(t, "from"))
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")
			modified := now - uint64(i+1)*day // no two versions of an object are of the same time
			more := map[string]any{}
			if rapid.IntRange(0, 4).Draw(t, "revoked") == 0 {
				more["revoked"] = true
			}
			var text string
			switch rapid.IntRange(0, 3).Draw(t, "type") {
			case 0, 1:
				text = indicator{id: id, pattern: rapid.SampledFrom([]string{evil, "[domain-name:value IN ('evil.example','b.example')]", "[ipv4-addr:value = '45.1.2.3']"}).Draw(t, "pattern"), modified: modified, more: more}.json()
			case 2:
				text = other("sighting", fmt.Sprint("s", rapid.IntRange(0, 2).Draw(t, "sighting")), id, modified, more)
			default:
				more["opinion"] = rapid.SampledFrom([]string{"agree", "disagree", "strongly-disagree"}).Draw(t, "opinion")
				text = other("opinion", fmt.Sprint("o", from), id, modified, more)
			}
			list = append(list, record(t, from, text))
		}
		items := func(list []*Record) map[stix.Observable]Item {
			s := gatherAll(t, func(s *Set) {
				for _, r := range list {
					s.Add(r)
				}
			})
			m := map[stix.Observable]Item{}
			r := s.Reckoner()
			for _, i := range s.Sorted() {
				if it := r.Item(i, now); it.Score > 0 {
					m[it.Observable] = it
				}
			}
			return m
		}
		if a, b := items(list), items(rapid.Permutation(list).Draw(t, "order")); !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v\n%+v", a, b)
		}
	})
}

func TestExplain(t *testing.T) {
	s := New(org(9), nil, nil)
	s.Add(record(t, 1, indicator{pattern: evil, modified: now - day}.json(), func(r *Record) { r.Cursor = 11 }))
	s.Add(record(t, 2, indicator{id: "b", pattern: evil, modified: now, more: map[string]any{"confidence": 50}}.json(), func(r *Record) { r.Cursor = 12 }))
	s.Add(record(t, 3, other("opinion", "o", "a", now, map[string]any{"opinion": "disagree"})))
	s.Add(record(t, 3, other("sighting", "s", "b", now, nil)))
	it, parts, disputes, ok := s.Explain(evilName, now)
	if !ok || len(parts) != 2 || parts[0].Cursor != 11 || parts[0].Base != 80 || parts[0].Score != 72 || parts[1].Base != 50 || parts[1].Seen != 1 {
		t.Errorf("parts %+v", parts)
	}
	if len(disputes) != 1 || disputes[org(3)] != "disagree" || it.Seen != 1 || it.Sources != 2 {
		t.Errorf("disputes %v, item %+v", disputes, it)
	}
	if _, _, _, ok := s.Explain(stix.Observable{Kind: stix.Domain, Value: "unknown.example"}, now); ok {
		t.Error("explains what nothing reports")
	}
	if score.MaxSources > MaxClaims || !strings.HasPrefix(idOf("x", "y"), "x--") {
		t.Error("bounds do not fit")
	}
}

// TestRemove: a set from which records were taken is the one that was made without them, or it says
// that it would not be.
func TestRemove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*Record
		for i := range rapid.IntRange(1, 30).Draw(t, "records") {
			from := byte(rapid.IntRange(1, 3).Draw(t, "from"))
			id, modified := fmt.Sprint(rapid.IntRange(1, 12).Draw(t, "id")), now-uint64(rapid.IntRange(1, 9).Draw(t, "age"))*day
			text := indicator{id: id, pattern: fmt.Sprintf("[domain-name:value = 'v%d.example']", rapid.IntRange(1, 2).Draw(t, "value")), modified: modified,
				more: map[string]any{"confidence": 10 * i % 100, "revoked": rapid.IntRange(0, 9).Draw(t, "revoked") == 0}}.json()
			switch rapid.IntRange(0, 6).Draw(t, "type") {
			case 0:
				text = other("sighting", fmt.Sprint("s", i%5), id, modified, map[string]any{"revoked": i%5 == 4})
			case 1:
				text = other("opinion", fmt.Sprint("o", i), id, modified, map[string]any{"opinion": "disagree"})
			}
			r := record(t, from, text)
			r.Cursor = uint64(i + 1)
			all = append(all, r)
		}
		build := func(without map[uint64]string) *Set {
			var void map[[16]byte]bool
			for {
				s := New(org(9), nil, void)
				for _, r := range all {
					if without[r.Cursor] == "" {
						s.Add(r)
					}
				}
				var again bool
				if void, again = s.Void(); !again {
					return s
				}
			}
		}
		said := func(s *Set) string {
			var b strings.Builder
			r := s.Reckoner()
			for _, at := range s.Sorted() {
				if it := r.Item(at, now); it.Score > 0 {
					fmt.Fprintf(&b, "%+v\n", it)
				}
			}
			return b.String()
		}
		gone := map[uint64]string{}
		for _, r := range all {
			if rapid.IntRange(0, 5).Draw(t, "gone") == 0 {
				gone[r.Cursor] = r.Object.Type
			}
		}
		s := build(nil)
		before := said(s)
		if !s.Remove(gone) {
			if got := said(s); got != before {
				t.Fatalf("it cannot be done, and changed\n%s\nto\n%s", before, got)
			}
			return
		}
		if got, want := said(s), said(build(gone)); got != want {
			t.Fatalf("without %v:\n%s\nanew:\n%s", gone, got, want)
		}
		if !s.Remove(gone) && len(gone) == 0 {
			t.Fatal("nothing cannot be taken out")
		}
	})
}
