package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// refreshDays is how old the note may become of when a source held something last. To note it at each run
// would write everything that the source holds each time.
const refreshDays = 7

// sifter finds what of documents is not known. It is of one run.
type sifter struct {
	key     [32]byte
	day     uint32
	set     node.KnownSet
	present []bool                       // of set: the document at hand holds it
	fresh   map[node.KnownKey]node.Known // learned in this run; zero Key: given up
	labels  *intake.Labels
	said    *stix.Assessment
}

func newSifter(start *Start, set node.KnownSet) *sifter {
	return &sifter{key: start.Key, day: start.Day, set: set, present: make([]bool, len(set)), fresh: map[node.KnownKey]node.Known{}}
}

// known reports whether something was given before, and marks it as present.
func (s *sifter) known(key node.KnownKey) bool {
	if k, ok := s.fresh[key]; ok {
		return k.Key == key
	}
	if i := s.set.Find(key); i >= 0 {
		s.present[i] = true
		return true
	}
	return false
}

// notWhole reports whether something of a known document was not kept.
func (s *sifter) notWhole(key node.KnownKey) bool {
	if k, ok := s.fresh[key]; ok {
		return k.Record == notWhole
	}
	i := s.set.Find(key)
	return i >= 0 && s.set[i].Record == notWhole
}

// commit takes over what a commit notes.
func (s *sifter) commit(c *node.SourceCommit) {
	for _, k := range c.Learn {
		s.fresh[k.Key] = k
	}
	for _, k := range c.Forget {
		s.fresh[k] = node.Known{}
	}
}

// sift finds what of a document is not known.
func (s *sifter) sift(d *Document) *Sifted {
	clear(s.present)
	var out *Sifted
	switch {
	case d.Handling != nil:
		out = s.objects(d)
	case d.HasKey && d.Mark == (protocol.RecordID{}) && !d.Again && s.known(d.Key):
		out = &Sifted{Known: 1, NotWhole: s.notWhole(d.Key)}
	case isList(d):
		out = s.list(d)
	default:
		out = s.document(d)
	}
	s.refresh(out)
	s.room(d, out)
	return out
}

// isList reports whether a document is a list, as package intake tells: what is not JSON is.
func isList(d *Document) bool {
	if d.Format != intake.Auto && d.Format != "" {
		return d.Format == intake.List
	}
	head := bytes.TrimLeft(bytes.TrimPrefix(d.Bytes, bom), " \t\r\n")
	if len(head) > 0 && head[0] == '{' {
		return false
	}
	if len(head) > 1 && head[0] == '[' {
		rest := bytes.TrimLeft(head[1:], " \t\r\n")
		return len(rest) == 0 || rest[0] != '{' && rest[0] != ']'
	}
	return true
}

var bom = []byte("\xef\xbb\xbf")

// list sifts a list by its lines: one that is known costs a hash, and is not read.
func (s *sifter) list(d *Document) *Sifted {
	out := new(Sifted)
	d.Format = intake.List
	data := bytes.TrimPrefix(d.Bytes, bom)
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) || bytes.IndexByte(data[:min(len(data), 4096)], 0) >= 0 {
		return s.unreadable(d, "not a text in UTF-8")
	}
	type line struct {
		key  node.KnownKey
		text []byte
	}
	lines := map[int]line{} // that are not known, by their number
	var rest bytes.Buffer   // the document without those that are known, line for line
	seen := map[node.KnownKey]bool{}
	number := 0
	for raw := range bytes.Lines(data) {
		number++
		text := bytes.TrimSpace(raw)
		if len(text) > 0 && text[0] != '#' {
			key := hashOf(s.key, "line", text)
			switch {
			case s.known(key) && !d.Again:
				out.Known++
			case seen[key]:
			default:
				seen[key] = true
				lines[number] = line{key, text}
				rest.Write(text)
			}
		}
		rest.WriteByte('\n')
	}
	if len(lines) == 0 {
		return out
	}
	if len(lines)+out.Known > node.MaxSourceKnown {
		return s.unreadable(d, fmt.Sprintf("it has %d entries, and a source may have %d; split it", len(lines)+out.Known, node.MaxSourceKnown))
	}
	res, err := intake.Read(d.Where, &rest, intake.Options{Format: intake.List, Labels: s.labels, Assessment: s.said})
	if err != nil {
		return s.unreadable(d, err.Error())
	}
	for i := range res.Items {
		l := lines[res.Items[i].Line]
		out.Items = append(out.Items, Item{Key: l.key, Item: res.Items[i], Raw: l.text})
	}
	var texts [][]byte
	size, first := 0, 0
	var reasons []string
	flush := func() {
		if len(texts) > 0 {
			all := append(bytes.Join(texts, []byte("\n")), '\n')
			out.Letters = append(out.Letters, node.Letter{ID: node.DeadID(hashOf(s.key, "unreadable", all)), Where: d.Where, Line: first, Count: len(texts),
				Reason: summary(reasons), Do: "mend the source, or drop it", Format: intake.List, Bytes: all})
		}
		texts, reasons, size, first = nil, nil, 0, 0
	}
	for _, p := range res.Problems {
		l, ok := lines[p.Line]
		if !ok {
			continue
		}
		if size += len(l.text) + 1; size > node.MaxDeadLetter/2 {
			flush()
			size = len(l.text) + 1
		}
		if first == 0 {
			first = p.Line
		}
		texts, reasons = append(texts, l.text[:min(len(l.text), node.MaxDeadLetter/4)]), append(reasons, fmt.Sprintf("line %d: %s", p.Line, p.Text))
		out.Learn = append(out.Learn, node.Known{Key: l.key, Day: s.day})
		out.Set++
	}
	flush()
	return out
}

// summary tells the first of several reasons.
func summary(reasons []string) string {
	const shown = 3
	if len(reasons) > shown {
		return fmt.Sprintf("%s; and %d more", strings.Join(reasons[:shown], "; "), len(reasons)-shown)
	}
	return strings.Join(reasons, "; ")
}

// unreadable sets a whole document aside.
func (s *sifter) unreadable(d *Document, reason string) *Sifted {
	l := Letter(s.key, d, "document", reason, "mend it where it comes from, or drop this", 1)
	if l.Bytes == nil {
		l.Do = "mend it where it comes from; it is too large to be kept here"
	}
	return &Sifted{Letters: []node.Letter{l}, Set: 1, Partial: true}
}

// document sifts what is no list: it is read as a file to publish is.
func (s *sifter) document(d *Document) *Sifted {
	res, err := intake.Read(d.Where, bytes.NewReader(d.Bytes), intake.Options{Format: d.Format, Labels: s.labels, Assessment: s.said})
	if err != nil {
		return s.unreadable(d, err.Error())
	}
	out := new(Sifted)
	d.Format = res.Format
	for i := range res.Items {
		s.add(d, out, res.Items[i])
	}
	s.faults(d, res, out)
	return out
}

const doProblems = "mend it where it comes from, or drop this; what could be read is published"

// faults sets aside what of a document could not be read: of STIX the objects at fault, each once, and else
// the document.
func (s *sifter) faults(d *Document, res *intake.Result, out *Sifted) {
	out.Partial = len(res.Problems) > 0
	var at []intake.Problem // of which the bytes are known
	var first *intake.Problem
	var reasons []string
	for i := range res.Problems {
		p := &res.Problems[i]
		if p.Raw != nil {
			at = append(at, *p)
			continue
		}
		if reasons = append(reasons, p.String()); first == nil {
			first = p
		}
	}
	if first != nil {
		l := Letter(s.key, d, "problems", summary(reasons), doProblems, len(reasons))
		l.Line = first.Line
		out.Letters, out.Set = append(out.Letters, l), len(reasons)
	}
	var defs []*stix.Object // what their markings may mean
	if len(at) > 0 {
		for i := range res.Items {
			if o := res.Items[i].Object; o.Type == "marking-definition" && !stix.IsTLPMarking(o.ID) {
				defs = append(defs, o)
			}
		}
	}
	var group []intake.Problem
	need := map[string][]byte{} // definitions for the group, by id
	size := 0
	flush := func() {
		if len(group) > 0 {
			out.Letters = append(out.Letters, s.atFault(d, group, need))
		}
		group, need, size = nil, map[string][]byte{}, 0
	}
	for _, p := range at {
		key := hashOf(s.key, "fault", p.Raw)
		if s.known(key) && !d.Again {
			out.Known++
			continue
		}
		mine, more := map[string][]byte{}, len(p.Raw)+1
		for _, o := range defs {
			if bytes.Contains(p.Raw, []byte(o.ID)) && mine[o.ID] == nil {
				mine[o.ID] = o.Raw
				more += len(o.Raw) + 1
			}
		}
		if size+more > node.MaxDeadLetter/2 {
			flush()
		}
		size += more
		group = append(group, p)
		for id, raw := range mine {
			need[id] = raw
		}
		out.Learn = append(out.Learn, node.Known{Key: key, Day: s.day})
		out.Set++
	}
	flush()
}

// atFault makes the dead letter of objects that could not be read, with the definitions of their markings: without
// those they would state less when they are tried again. It is named for its bytes alone: pages overlap.
func (s *sifter) atFault(d *Document, group []intake.Problem, need map[string][]byte) node.Letter {
	var raws [][]byte
	for _, id := range slices.Sorted(maps.Keys(need)) {
		raws = append(raws, need[id])
	}
	var reasons []string
	for i := range group {
		raws, reasons = append(raws, group[i].Raw), append(reasons, group[i].String())
	}
	all := slices.Concat([]byte("["), bytes.Join(raws, []byte(",\n")), []byte("]"))
	l := node.Letter{ID: node.DeadID(hashOf(s.key, "fault", all)), Where: d.Where, Line: group[0].Line, Count: len(group), Reason: summary(reasons), Do: doProblems, Format: intake.STIX, Bytes: all}
	if len(all) > node.MaxDeadLetter { // one large object
		l.Bytes, l.Do = nil, "mend it where it comes from; it is too large to be kept here"
	}
	return l
}

// add takes an object that is not known. Its key covers what the source states of its handling: the same
// object under another is something new to say, or to refuse.
func (s *sifter) add(d *Document, out *Sifted, it intake.Item) {
	key := hashOf(s.key, "object", slices.Concat(protocol.Encode(&it.Handling), it.Object.Raw))
	if s.known(key) && !d.Again {
		out.Known++
		return
	}
	out.Items = append(out.Items, Item{Key: key, Item: it, Raw: it.Object.Raw})
}

// objects sifts the objects of a dead letter.
func (s *sifter) objects(d *Document) *Sifted {
	var raws []json.RawMessage
	if err := json.Unmarshal(d.Bytes, &raws); err != nil {
		return s.unreadable(d, err.Error())
	}
	out := new(Sifted)
	for _, raw := range raws {
		o, err := stix.Parse(raw)
		if err != nil {
			return s.unreadable(d, err.Error())
		}
		it := intake.Item{Object: o, Handling: *d.Handling}
		if found := stix.Observables(o); len(found) > 0 {
			it.Value = found[0].Value
		}
		s.add(d, out, it)
	}
	return out
}

// refresh notes again what is present and was noted long ago.
func (s *sifter) refresh(out *Sifted) {
	for i, here := range s.present {
		if k := s.set[i]; here && k.Day+refreshDays < s.day {
			if _, again := s.fresh[k.Key]; !again {
				k.Day = s.day
				out.Learn = append(out.Learn, k)
			}
		}
	}
}

// room forgets what the source held longest ago where more would be known than may be.
func (s *sifter) room(d *Document, out *Sifted) {
	over := len(s.set) + len(s.fresh) + len(out.Items) - node.MaxSourceKnown
	if over <= 0 {
		return
	}
	var old []node.Known
	for i := range s.set {
		if _, again := s.fresh[s.set[i].Key]; !again && !s.present[i] {
			old = append(old, s.set[i])
		}
	}
	slices.SortStableFunc(old, func(a, b node.Known) int { return int(int64(a.Day) - int64(b.Day)) })
	for _, k := range old[:min(over, len(old))] {
		out.Forget = append(out.Forget, k.Key)
	}
}

// gone finds what this source published, and does not hold any more: records of which no key is present.
func (s *sifter) gone(elsewhere func(map[protocol.RecordID]bool) (map[protocol.RecordID]bool, error)) (*Gone, error) {
	here := map[protocol.RecordID]bool{}
	for _, k := range s.fresh {
		here[k.Record] = true
	}
	live := map[protocol.RecordID]bool{}
	for i := range s.set {
		if k := &s.set[i]; k.Ours {
			live[k.Record] = true
		}
		if s.present[i] {
			here[s.set[i].Record] = true
		}
	}
	for _, k := range s.fresh {
		if k.Ours {
			live[k.Record] = true
		}
	}
	out := &Gone{Live: len(live)}
	ids := map[protocol.RecordID]bool{}
	for i := range s.set {
		k := &s.set[i]
		if f, again := s.fresh[k.Key]; again && f.Key != k.Key {
			continue // forgotten
		}
		if k.Ours && !here[k.Record] {
			ids[k.Record] = true
			out.Known = append(out.Known, *k)
		}
	}
	if len(ids) == 0 {
		return out, nil
	}
	others, err := elsewhere(ids)
	if err != nil {
		return nil, err
	}
	out.Known = slices.DeleteFunc(out.Known, func(k node.Known) bool { return others[k.Record] })
	return out, nil
}
