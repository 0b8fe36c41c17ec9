package pattern

import (
	"strconv"
	"strings"
	"time"
)

// Bounds of a pattern.
const (
	MaxSize  = 256 << 10 // bytes
	MaxDepth = 64        // parentheses within parentheses
	MaxTests = 20_000    // comparisons
)

// Pattern is a pattern that was read.
type Pattern struct {
	Root Expr
}

// Expr is an observation expression: *Observation, *Combined or *Qualified.
type Expr interface{ write(b *strings.Builder) }

// Observation is [ test ]: one observation has an object that passes it.
type Observation struct{ Test Test }

// Operator joins observation expressions.
type Operator uint8

// The operators, the one that binds loosest first.
const (
	FollowedBy Operator = iota + 1
	Or
	And
)

func (o Operator) String() string { return [...]string{"", "FOLLOWEDBY", "OR", "AND"}[o] }

// Combined are two or more expressions, joined by one operator from left to right.
type Combined struct {
	Op    Operator
	Parts []Expr
}

// Qualified is an expression with one qualifier: Within, or Repeats, or Start and Stop are set.
type Qualified struct {
	Of      Expr
	Within  float64 // seconds, above 0
	Repeats uint64  // times, above 0
	Start   time.Time
	Stop    time.Time // after Start
}

// Test is a comparison expression: *Compare or *Logic.
type Test interface{ write(b *strings.Builder) }

// Logic are two or more tests, joined by AND, or by OR.
type Logic struct {
	And   bool
	Parts []Test
}

// Comparison is an operator that compares a property with constants.
type Comparison uint8

// The comparisons.
const (
	Equal Comparison = iota + 1
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
	In
	Like
	Matches
	IsSubset
	IsSuperset
	Exists
)

func (c Comparison) String() string {
	return [...]string{"", "=", "!=", "<", "<=", ">", ">=", "IN", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET", "EXISTS"}[c]
}

// Compare compares a property of an object with a constant; In with several, Exists with none.
type Compare struct {
	Path   Path
	Op     Comparison
	Not    bool
	Values []Literal

	match matcher // made of the others when it is read
}

// Path is where a property stands: in an object of a type, step by step.
type Path struct {
	Type  string
	Steps []Step
}

// Step goes to a member of an object, to an element of a list, or to all of them.
type Step struct {
	Key   string // empty: a step into a list
	Index int    // of the element; All: each of them
}

// All is the index of each element, [*].
const All = -1

// LiteralKind says what a constant is.
type LiteralKind uint8

// The kinds of constants.
const (
	String LiteralKind = iota + 1
	Integer
	Float
	Bool
	Timestamp
	Binary // h'…' or b'…'
)

// Literal is a constant.
type Literal struct {
	Kind  LiteralKind
	Text  string // of a String
	Int   int64
	Float float64
	Bool  bool
	Time  time.Time
	Bytes []byte
}

// String writes the pattern in one form: read again it is the same.
func (p *Pattern) String() string {
	var b strings.Builder
	p.Root.write(&b)
	return b.String()
}

func (o *Observation) write(b *strings.Builder) {
	b.WriteByte('[')
	o.Test.write(b)
	b.WriteByte(']')
}

func (c *Combined) write(b *strings.Builder) {
	for i, p := range c.Parts {
		if i > 0 {
			b.WriteString(" " + c.Op.String() + " ")
		}
		inner, combined := p.(*Combined)
		if combined = combined && (inner.Op <= c.Op); combined {
			b.WriteByte('(')
		}
		p.write(b)
		if combined {
			b.WriteByte(')')
		}
	}
}

func (q *Qualified) write(b *strings.Builder) {
	_, simple := q.Of.(*Observation)
	if !simple {
		b.WriteByte('(')
	}
	q.Of.write(b)
	if !simple {
		b.WriteByte(')')
	}
	switch {
	case q.Within > 0:
		b.WriteString(" WITHIN " + strconv.FormatFloat(q.Within, 'f', -1, 64) + " SECONDS")
	case q.Repeats > 0:
		b.WriteString(" REPEATS " + strconv.FormatUint(q.Repeats, 10) + " TIMES")
	default:
		b.WriteString(" START " + timestamp(q.Start) + " STOP " + timestamp(q.Stop))
	}
}

func timestamp(t time.Time) string {
	return "t'" + t.UTC().Format("2006-01-02T15:04:05.999999999") + "Z'"
}

func (l *Logic) write(b *strings.Builder) {
	word := " OR "
	if l.And {
		word = " AND "
	}
	for i, p := range l.Parts {
		if i > 0 {
			b.WriteString(word)
		}
		inner, group := p.(*Logic)
		if group = group && (l.And || inner.And == l.And); group {
			b.WriteByte('(')
		}
		p.write(b)
		if group {
			b.WriteByte(')')
		}
	}
}

func (c *Compare) write(b *strings.Builder) {
	if c.Op == Exists {
		if c.Not {
			b.WriteString("NOT ")
		}
		b.WriteString("EXISTS ")
		c.Path.write(b)
		return
	}
	c.Path.write(b)
	if c.Not {
		b.WriteString(" NOT")
	}
	b.WriteString(" " + c.Op.String() + " ")
	if c.Op != In {
		c.Values[0].write(b)
		return
	}
	b.WriteByte('(')
	for i := range c.Values {
		if i > 0 {
			b.WriteString(", ")
		}
		c.Values[i].write(b)
	}
	b.WriteByte(')')
}

func (p *Path) write(b *strings.Builder) {
	b.WriteString(p.Type + ":")
	for i, s := range p.Steps {
		switch {
		case s.Key == "" && s.Index == All:
			b.WriteString("[*]")
			continue
		case s.Key == "":
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
			continue
		case i > 0:
			b.WriteByte('.')
		}
		if isKey(s.Key) {
			b.WriteString(s.Key)
		} else {
			b.WriteString(quote(s.Key))
		}
	}
}

// String writes a path.
func (p Path) String() string {
	var b strings.Builder
	p.write(&b)
	return b.String()
}

func (l *Literal) write(b *strings.Builder) {
	switch l.Kind {
	case String:
		b.WriteString(quote(l.Text))
	case Integer:
		b.WriteString(strconv.FormatInt(l.Int, 10))
	case Float:
		s := strconv.FormatFloat(l.Float, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		b.WriteString(s)
	case Bool:
		b.WriteString(strconv.FormatBool(l.Bool))
	case Timestamp:
		b.WriteString(timestamp(l.Time))
	case Binary:
		const digits = "0123456789abcdef"
		b.WriteString("h'")
		for _, c := range l.Bytes {
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
		b.WriteByte('\'')
	}
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// Comparisons calls fn with every comparison of the pattern, and the number of the observation
// expression that it stands in, from 1, until fn returns false.
func (p *Pattern) Comparisons(fn func(group int, c *Compare) bool) {
	group := 0
	var tests func(t Test) bool
	tests = func(t Test) bool {
		if c, ok := t.(*Compare); ok {
			return fn(group, c)
		}
		for _, part := range t.(*Logic).Parts {
			if !tests(part) {
				return false
			}
		}
		return true
	}
	var walk func(e Expr) bool
	walk = func(e Expr) bool {
		switch e := e.(type) {
		case *Observation:
			group++
			return tests(e.Test)
		case *Qualified:
			return walk(e.Of)
		case *Combined:
			for _, part := range e.Parts {
				if !walk(part) {
					return false
				}
			}
		}
		return true
	}
	walk(p.Root)
}
