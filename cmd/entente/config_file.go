package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxConfigSize bounds the file, in bytes.
const maxConfigSize = 1 << 20

// configProblem is one thing that is wrong with the configuration, and what to write instead.
type configProblem struct {
	File   string `json:"file,omitempty"` // "": not of the file
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Key    string `json:"key,omitempty"`
	From   string `json:"from,omitempty"` // the variable or flag, if it is not of the file
	Reason string `json:"reason"`
	Write  string `json:"write,omitempty"`
}

// String is one line.
func (p *configProblem) String() string {
	var b strings.Builder
	switch {
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.From != "":
		fmt.Fprintf(&b, "%s: ", p.From)
	case p.File != "":
		fmt.Fprintf(&b, "%s: ", p.File)
	}
	if p.Key != "" {
		fmt.Fprintf(&b, "%s: ", p.Key)
	}
	b.WriteString(strings.ReplaceAll(p.Reason, "\n", "; "))
	if p.Write != "" {
		fmt.Fprintf(&b, "; write %s", p.Write)
	}
	return b.String()
}

// because makes a problem of an error whose text says after the last "; write" what to write.
func because(p configProblem, err error) configProblem {
	p.Reason = err.Error()
	if i := strings.LastIndex(p.Reason, "; write "); i >= 0 {
		p.Reason, p.Write = p.Reason[:i], p.Reason[i+len("; write "):]
	}
	return p
}

// configError is all that is wrong.
type configError []configProblem

func (e configError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %s, and nothing was started:", count(len(e), "problem"))
	for i := range e {
		b.WriteString("\n  " + printable(e[i].String()))
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// configEntry is what the file says of one key.
type configEntry struct {
	values       []string // as its flag takes them
	line, column int      // of the key
	wrong        bool     // its value is among the problems
}

// configFile is entente.toml, read.
type configFile struct {
	path     string
	entries  map[string]configEntry
	problems []configProblem
}

// readConfig reads a file. What is wrong in it is among the problems; an error means that there
// was nothing to read.
func readConfig(path string, keys []boundKey) (*configFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(b) > maxConfigSize {
		return nil, fmt.Errorf("the configuration %s has more than %d KiB: is it the right file?", path, maxConfigSize>>10)
	}
	return parseConfig(path, b, keys), nil
}

// parseConfig finds all problems at once, but of mistakes in the syntax the first: what comes after it
// cannot be relied on. The parser of the library keeps where each value stands, which its decoder does not.
func parseConfig(path string, b []byte, keys []boundKey) *configFile {
	c := &configFile{path: path, entries: map[string]configEntry{}}
	r := configReader{configFile: c, keys: keys}
	b = b[:len(b):len(b)] // the library tells places by capacities
	r.p.Reset(b)
	for r.p.NextExpression() {
		switch e := r.p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			r.table(e)
		case unstable.KeyValue:
			r.keyValue(e)
		}
	}
	if perr := new(unstable.ParserError); errors.As(r.p.Error(), &perr) {
		at := r.p.Shape(r.p.Range(perr.Highlight)).Start
		c.notTOML(at.Line, at.Column, perr.Message+"; what comes after it was not looked at")
	} else if err := r.p.Error(); err != nil {
		c.notTOML(1, 1, err.Error())
	}
	// The decoder knows more of what TOML forbids than the parser, as which letters a text may hold.
	var all map[string]any
	var wrong *toml.DecodeError
	if err := toml.Unmarshal(b, &all); errors.As(err, &wrong) {
		line, column := wrong.Position()
		if !slices.ContainsFunc(c.problems, func(p configProblem) bool { return p.Line == line }) {
			c.notTOML(line, column, strings.TrimPrefix(wrong.Error(), "toml: "))
		}
	} else if err != nil && len(c.problems) == 0 {
		c.notTOML(1, 1, strings.TrimPrefix(err.Error(), "toml: "))
	}
	slices.SortStableFunc(c.problems, func(a, b configProblem) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return c
}

func (c *configFile) notTOML(line, column int, why string) {
	c.problems = append(c.problems, configProblem{File: c.path, Line: line, Column: column,
		Reason: "this is not TOML: " + why,
		Write:  "each section and each key once, as name = value on a line of its own, text in double quotes, lists in square brackets"})
}

type configReader struct {
	*configFile
	p       unstable.Parser
	keys    []boundKey
	section string
	skip    bool // the section is not known, which was said
}

func (r *configReader) at(n *unstable.Node) (line, column int) {
	shape := r.p.Shape(n.Raw)
	return shape.Start.Line, shape.Start.Column
}

func (r *configReader) problem(n *unstable.Node, key, reason, write string) {
	line, column := r.at(n)
	r.problems = append(r.problems, configProblem{File: r.path, Line: line, Column: column, Key: key, Reason: reason, Write: write})
}

func (r *configReader) table(e *unstable.Node) {
	first, name := dotted(e.Key())
	r.section, r.skip = name, true
	switch {
	case e.Kind == unstable.ArrayTable:
		r.problem(first, "", fmt.Sprintf("[[%s]] is a list of sections, and there are none", name), "["+name+"]")
	case !slices.Contains(r.sections(), name):
		near := nearest(name, r.sections())
		write := "one of [" + strings.Join(r.sections(), "], [") + "]"
		if near != "" {
			write = "[" + near + "]"
		}
		r.problem(first, "", fmt.Sprintf("there is no section [%s]", name), write)
	default:
		r.skip = false
	}
}

func (r *configReader) keyValue(e *unstable.Node) {
	first, name := dotted(e.Key())
	if r.skip {
		return
	}
	if r.section != "" {
		name = r.section + "." + name
	}
	value := e.Value()
	if value.Kind == unstable.InlineTable {
		r.problem(first, name, "a table in braces is not read here", "a section ["+name+"] of its own")
		return
	}
	i := slices.IndexFunc(r.keys, func(k boundKey) bool { return k.name == name })
	if i < 0 {
		write := "only keys that 'entente config keys' lists"
		if near := nearest(name, r.names()); near != "" {
			write = near[strings.LastIndexByte(near, '.')+1:]
			if section, _, _ := strings.Cut(near, "."); section != r.section {
				write += " in section [" + section + "]"
			}
		}
		r.problem(first, name, "there is no such key", write)
		return
	}
	k := &r.keys[i]
	if before, ok := r.entries[name]; ok {
		r.problem(first, name, fmt.Sprintf("it stands in line %d already", before.line), "it once")
		return
	}
	line, column := r.at(first)
	entry := configEntry{line: line, column: column}
	r.entries[name] = configEntry{line: line, column: column, wrong: true}
	if k.kind() != typeList {
		if v, ok := r.scalar(k, value); ok {
			entry.values = []string{v}
			r.entries[name] = entry
		}
		return
	}
	if value.Kind != unstable.Array {
		r.problem(first, name, "it takes a list", `it in square brackets, as ["...", "..."]`)
		return
	}
	good := true
	for it := value.Children(); it.Next(); {
		if it.Node().Kind == unstable.Comment {
			continue
		}
		v, ok := r.scalar(k, it.Node())
		good = good && ok
		entry.values = append(entry.values, v)
	}
	if good {
		r.entries[name] = entry
	}
}

// scalar reads one value, and checks it.
func (r *configReader) scalar(k *boundKey, n *unstable.Node) (string, bool) {
	// Of arrays and of inline tables not every kind of node has a place: theirs is the key's.
	place := n
	if n.Raw.Length == 0 {
		if e, ok := r.entries[k.name]; ok {
			r.problems = append(r.problems, configProblem{File: r.path, Line: e.line, Column: e.column, Key: k.name, Reason: "it takes no value of this type", Write: wanted(k.kind())})
		}
		return "", false
	}
	v := string(n.Data)
	switch kind := k.kind(); {
	case kind == typeBool && n.Kind == unstable.Bool:
	case kind == typeInt && n.Kind == unstable.Integer:
		i, err := strconv.ParseInt(v, 0, 64)
		if err != nil {
			r.problem(place, k.name, v+" is too large", "a smaller number")
			return "", false
		}
		v = strconv.FormatInt(i, 10)
	case kind != typeBool && kind != typeInt && n.Kind == unstable.String:
	default:
		r.problem(place, k.name, fmt.Sprintf("%s is not of the type that it takes", r.p.Raw(n.Raw)), wanted(kind))
		return "", false
	}
	err := k.parse([]string{v})
	if err == nil && k.path {
		err = absolute(v)
	}
	if err != nil {
		line, column := r.at(place)
		r.problems = append(r.problems, because(configProblem{File: r.path, Line: line, Column: column, Key: k.name}, err))
		return "", false
	}
	return v, true
}

func wanted(kind string) string {
	switch kind {
	case typeBool:
		return "true or false, without quotes"
	case typeInt:
		return "a whole number, without quotes"
	case typeDuration:
		return `a length of time in double quotes, as "15m"`
	case typeSize:
		return `a size with its unit in double quotes, as "20GiB"`
	case typeList:
		return `texts in double quotes, as ["...", "..."]`
	}
	return `text in double quotes, as "..."`
}

// dotted returns the first part of a key, and all of it.
func dotted(it unstable.Iterator) (first *unstable.Node, name string) {
	var parts []string
	for it.Next() {
		if first == nil {
			n := *it.Node()
			first = &n
		}
		parts = append(parts, string(it.Node().Data))
	}
	return first, strings.Join(parts, ".")
}

func (r *configReader) sections() (out []string) {
	for i := range r.keys {
		if s := r.keys[i].section(); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (r *configReader) names() (out []string) {
	for i := range r.keys {
		out = append(out, r.keys[i].name)
	}
	return out
}

// nearest returns the word that somebody probably meant; "" if none is near.
func nearest(word string, words []string) string {
	best, at := "", 3+len(word)/8
	for _, w := range words {
		if d := distance(strings.ToLower(word), strings.ToLower(w)); d < at {
			best, at = w, d
		}
	}
	if best != "" {
		return best
	}
	// The right name in the wrong section, or in none.
	last := word[strings.LastIndexByte(word, '.')+1:]
	for _, w := range words {
		if strings.HasSuffix(w, "."+last) {
			return w
		}
	}
	return ""
}

// distance is that of Levenshtein: how many letters are to be added, left out or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner, row[j+1] = row[j+1], min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
