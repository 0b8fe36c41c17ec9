package pattern

import (
	"errors"
	"strings"
)

// Parse reads a pattern. An error is a *SyntaxError.
func Parse(src string) (*Pattern, error) {
	p := &parser{lexer: lexer{src: src}}
	if len(src) > MaxSize {
		return nil, p.limit(0, "it has %d bytes, at most %d are read", len(src), MaxSize)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	e, err := p.combined(FollowedBy)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tEnd {
		return nil, p.unexpected("AND, OR, FOLLOWEDBY, a qualifier (WITHIN, REPEATS, START), or the end")
	}
	return &Pattern{Root: e}, nil
}

// Check returns what is wrong with a pattern. It returns nil for one that may be right and that Parse
// does not read (SyntaxError.Limit): somebody else may.
func Check(src string) error {
	if simple(src) {
		return nil
	}
	_, err := Parse(src)
	if syntax := new(SyntaxError); errors.As(err, &syntax) && syntax.Limit {
		return nil
	}
	return err
}

// simple reports whether a pattern is [type:property = 'text'] as most are, which is right. It may be
// so where this is false.
func simple(src string) bool {
	i := 0
	word := func(more string) bool {
		from := i
		for i < len(src) && (isLetter(src[i]) || i > from && (isDigit(src[i]) || strings.IndexByte(more, src[i]) >= 0)) {
			i++
		}
		return i > from && !keywords[src[from:i]]
	}
	sign := func(s string) bool {
		if strings.HasPrefix(src[i:], s) {
			i += len(s)
			return true
		}
		return false
	}
	if !sign("[") || !word("-") || !sign(":") || !word("") {
		return false
	}
	for sign(".") {
		if sign("'") {
			n := strings.IndexAny(src[i:], `'\`)
			if n <= 0 || src[i+n] != '\'' {
				return false
			}
			i += n + 1
		} else if !word("") {
			return false
		}
	}
	if !sign(" = '") {
		return false
	}
	n := strings.IndexAny(src[i:], `'\`)
	return n >= 0 && src[i+n:] == "']" && len(src) <= MaxSize
}

type parser struct {
	lexer
	tok   token
	depth int
	tests int
}

func (p *parser) advance() (err error) {
	p.tok, err = p.next()
	return err
}

func (p *parser) unexpected(want string) error {
	if p.tok.kind == tEnd {
		return p.fail(p.tok.at, "the pattern ends here; expected %s", want)
	}
	end := p.at
	return p.fail(p.tok.at, "%q does not belong here; expected %s", p.src[p.tok.at:end], want)
}

func (p *parser) expect(text string) error {
	if !p.tok.is(text) {
		return p.unexpected(text)
	}
	return p.advance()
}

func (p *parser) deeper() error {
	if p.depth++; p.depth > MaxDepth {
		return p.limit(p.tok.at, "more than %d parentheses within each other", MaxDepth)
	}
	return nil
}

// combined reads expressions joined by an operator, or by those that bind closer.
func (p *parser) combined(op Operator) (Expr, error) {
	inner := p.qualified
	if op < And {
		inner = func() (Expr, error) { return p.combined(op + 1) }
	}
	first, err := inner()
	if err != nil || !p.tok.is(op.String()) {
		return first, err
	}
	c := &Combined{Op: op, Parts: []Expr{first}}
	for p.tok.is(op.String()) {
		if err := p.advance(); err != nil {
			return nil, err
		}
		e, err := inner()
		if err != nil {
			return nil, err
		}
		c.Parts = append(c.Parts, e)
	}
	return c, nil
}

// qualified reads an observation expression with its qualifiers. Of each kind there is one (STIX
// 9.3: qualifiers of the same type need parentheses between them).
func (p *parser) qualified() (e Expr, err error) {
	switch {
	case p.tok.is("["):
		if err := p.advance(); err != nil {
			return nil, err
		}
		t, err := p.test()
		if err != nil {
			return nil, err
		}
		if err := p.expect("]"); err != nil {
			return nil, err
		}
		e = &Observation{Test: t}
	case p.tok.is("("):
		if err := p.deeper(); err != nil {
			return nil, err
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if e, err = p.combined(FollowedBy); err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		p.depth--
	default:
		return nil, p.unexpected("[ or (")
	}
	had := map[string]bool{}
	for p.tok.is("WITHIN") || p.tok.is("REPEATS") || p.tok.is("START") {
		word := p.tok.text
		if had[word] {
			return nil, p.fail(p.tok.at, "%s stands twice; write parentheses around what the first one belongs to", word)
		}
		had[word] = true
		if e, err = p.qualifier(e); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (p *parser) qualifier(e Expr) (Expr, error) {
	q := &Qualified{Of: e}
	word := p.tok.text
	if err := p.advance(); err != nil {
		return nil, err
	}
	lit := p.tok.lit
	switch word {
	case "WITHIN":
		if q.Within = lit.Float; lit.Kind == Integer {
			q.Within = float64(lit.Int)
		}
		if p.tok.kind != tLiteral || lit.Kind != Integer && lit.Kind != Float || !(q.Within > 0) {
			return nil, p.unexpected("a number of seconds above 0")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		return q, p.expect("SECONDS")
	case "REPEATS":
		if p.tok.kind != tLiteral || lit.Kind != Integer || lit.Int <= 0 {
			return nil, p.unexpected("how many times, an integer above 0")
		}
		q.Repeats = uint64(lit.Int)
		if err := p.advance(); err != nil {
			return nil, err
		}
		return q, p.expect("TIMES")
	}
	if p.tok.kind != tLiteral || lit.Kind != Timestamp {
		return nil, p.unexpected("a time, t'…'")
	}
	q.Start = lit.Time
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.expect("STOP"); err != nil {
		return nil, err
	}
	if lit = p.tok.lit; p.tok.kind != tLiteral || lit.Kind != Timestamp {
		return nil, p.unexpected("a time, t'…'")
	}
	if q.Stop = lit.Time; !q.Stop.After(q.Start) {
		return nil, p.fail(p.tok.at, "STOP is not later than START")
	}
	return q, p.advance()
}

// test reads comparisons joined by OR; AND binds closer.
func (p *parser) test() (Test, error) { return p.logic("OR") }

func (p *parser) logic(word string) (Test, error) {
	inner := p.compare
	if word == "OR" {
		inner = func() (Test, error) { return p.logic("AND") }
	}
	first, err := inner()
	if err != nil || !p.tok.is(word) {
		return first, err
	}
	l := &Logic{And: word == "AND", Parts: []Test{first}}
	for p.tok.is(word) {
		if err := p.advance(); err != nil {
			return nil, err
		}
		t, err := inner()
		if err != nil {
			return nil, err
		}
		l.Parts = append(l.Parts, t)
	}
	return l, nil
}

func (p *parser) compare() (Test, error) {
	if p.tok.is("(") {
		if err := p.deeper(); err != nil {
			return nil, err
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		t, err := p.test()
		if err != nil {
			return nil, err
		}
		p.depth--
		return t, p.expect(")")
	}
	if p.tests++; p.tests > MaxTests {
		return nil, p.limit(p.tok.at, "more than %d comparisons", MaxTests)
	}
	c := &Compare{}
	begin := p.tok.at
	if p.tok.is("NOT") {
		c.Not = true
		if err := p.advance(); err != nil {
			return nil, err
		}
		if !p.tok.is("EXISTS") {
			return nil, p.unexpected("EXISTS; NOT stands behind the path of a comparison")
		}
	}
	if p.tok.is("EXISTS") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		c.Op = Exists
		if err := p.path(&c.Path); err != nil {
			return nil, err
		}
		return c, p.prepared(c, begin)
	}
	if err := p.path(&c.Path); err != nil {
		return nil, err
	}
	if p.tok.is("NOT") {
		c.Not = true
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	for op := Equal; op <= IsSuperset; op++ {
		if p.tok.is(op.String()) {
			c.Op = op
		}
	}
	if c.Op == 0 {
		return nil, p.unexpected("a comparison: =, !=, <, <=, >, >=, IN, LIKE, MATCHES, ISSUBSET or ISSUPERSET")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.values(c); err != nil {
		return nil, err
	}
	return c, p.prepared(c, begin)
}

// prepared makes what a comparison is matched with, and so finds constants that are nothing.
func (p *parser) prepared(c *Compare, at int) error {
	err := c.prepare()
	switch {
	case errors.Is(err, errLimit):
		return p.limit(at, "%s", err)
	case err != nil:
		return p.fail(at, "%s", err)
	}
	return nil
}

func (p *parser) values(c *Compare) error {
	if c.Op != In {
		if p.tok.kind != tLiteral {
			return p.unexpected("a constant: 'text', a number, true, false, t'time', h'digits' or b'base64'")
		}
		lit := p.tok.lit
		switch {
		case c.Op >= Like && lit.Kind != String:
			return p.unexpected("a string, 'text'")
		case c.Op >= Less && c.Op <= GreaterEqual && lit.Kind == Bool:
			return p.unexpected("a constant that has an order")
		}
		c.Values = []Literal{lit}
		return p.advance()
	}
	if err := p.expect("("); err != nil {
		return err
	}
	for len(c.Values) == 0 || p.tok.is(",") {
		if len(c.Values) > 0 {
			if err := p.advance(); err != nil {
				return err
			}
		} else if p.tok.is(")") {
			break // an empty set: nothing is in it
		}
		if p.tok.kind != tLiteral {
			return p.unexpected("a constant")
		}
		if p.tests++; p.tests > MaxTests {
			return p.limit(p.tok.at, "more than %d constants", MaxTests)
		}
		c.Values = append(c.Values, p.tok.lit)
		if err := p.advance(); err != nil {
			return err
		}
	}
	return p.expect(")")
}

// path reads an object path (STIX 9.7).
func (p *parser) path(out *Path) error {
	if p.tok.kind != tWord && p.tok.kind != tName || keywords[p.tok.text] {
		return p.unexpected("an object path, as file:name")
	}
	out.Type = p.tok.text
	if err := p.advance(); err != nil {
		return err
	}
	if !p.tok.is(":") {
		return p.unexpected(": between an object's type and its property")
	}
	if err := p.step(out); err != nil {
		return err
	}
	for {
		switch {
		case p.tok.is("."):
			if err := p.step(out); err != nil {
				return err
			}
		case p.tok.is("["):
			if err := p.index(out); err != nil {
				return err
			}
		default:
			return nil
		}
		if len(out.Steps) > MaxDepth {
			return p.limit(p.tok.at, "a path of more than %d steps", MaxDepth)
		}
	}
}

// step reads a key behind : or a point.
func (p *parser) step(out *Path) error {
	if err := p.advance(); err != nil {
		return err
	}
	key := p.tok.text
	switch {
	case p.tok.kind == tWord || p.tok.kind == tName:
	case p.tok.kind == tLiteral && p.tok.lit.Kind == String && p.tok.lit.Text != "":
		key = p.tok.lit.Text
	case p.tok.kind == tLiteral && p.tok.lit.Kind == Bool:
	default:
		return p.unexpected("the name of a property, 'in quotes' if it holds anything but letters, digits and _")
	}
	out.Steps = append(out.Steps, Step{Key: key})
	return p.advance()
}

func (p *parser) index(out *Path) error {
	if err := p.advance(); err != nil {
		return err
	}
	s := Step{Index: All}
	if !p.tok.is("*") {
		if lit := p.tok.lit; p.tok.kind != tLiteral || lit.Kind != Integer || lit.Int < 0 || lit.Int > 1<<30 {
			return p.unexpected("the number of an element, from 0, or *")
		}
		s.Index = int(p.tok.lit.Int)
	}
	out.Steps = append(out.Steps, s)
	if err := p.advance(); err != nil {
		return err
	}
	return p.expect("]")
}
