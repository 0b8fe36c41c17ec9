package pattern

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// matcher says whether a property has a value that a comparison is of. known is false if the two
// cannot be compared: then neither the comparison nor its negation holds, but for = and !=.
type matcher func(value any) (holds, known bool)

// maxRegexp bounds a regular expression, and what LIKE compares with, in bytes; what it compiles to is
// bounded by the package regexp, and LIKE may look at each of its characters for each of a value.
const maxRegexp = 4096

// errLimit is of constants that may be right, and are not read here.
var errLimit = errors.New("it is not read here")

func (c *Compare) prepare() error {
	switch c.Op {
	case Exists:
	case Equal, NotEqual:
		lit := c.Values[0]
		c.match = func(v any) (bool, bool) {
			order, ok := lit.compare(v)
			return (ok && order == 0) == (c.Op == Equal), true
		}
	case Less, LessEqual, Greater, GreaterEqual:
		lit := c.Values[0]
		c.match = func(v any) (bool, bool) {
			order, ok := lit.compare(v)
			if _, isBool := v.(bool); !ok || isBool {
				return false, false
			}
			switch c.Op {
			case Less:
				return order < 0, true
			case LessEqual:
				return order <= 0, true
			case Greater:
				return order > 0, true
			}
			return order >= 0, true
		}
	case In:
		texts := map[string]bool{}
		var others []Literal
		for i := range c.Values {
			if c.Values[i].Kind == String {
				texts[norm.NFC.String(c.Values[i].Text)] = true
			} else {
				others = append(others, c.Values[i])
			}
		}
		c.match = func(v any) (bool, bool) {
			if s, ok := v.(string); ok && texts[norm.NFC.String(s)] {
				return true, true
			}
			if b, ok := v.([]byte); ok && texts[latin1(b)] {
				return true, true
			}
			for i := range others {
				if order, ok := others[i].compare(v); ok && order == 0 {
					return true, true
				}
			}
			return false, true
		}
	case Like:
		if len(c.Values[0].Text) > maxRegexp {
			return fmt.Errorf("LIKE compares with %d bytes, at most %d are read: %w", len(c.Values[0].Text), maxRegexp, errLimit)
		}
		pattern := []rune(norm.NFC.String(c.Values[0].Text))
		c.match = func(v any) (bool, bool) {
			s, ok := textOf(v)
			return ok && like(pattern, []rune(norm.NFC.String(s))), ok
		}
	case Matches:
		src := norm.NFC.String(c.Values[0].Text)
		if len(src) > maxRegexp {
			return fmt.Errorf("the regular expression has %d bytes, at most %d are read: %w", len(src), maxRegexp, errLimit)
		}
		re, err := regexp.Compile("(?s:" + src + ")")
		if err != nil {
			return fmt.Errorf("the regular expression cannot be read: %w; back references and look-around are not supported: %w", err, errLimit)
		}
		c.match = func(v any) (bool, bool) {
			s, ok := textOf(v)
			return ok && re.MatchString(norm.NFC.String(s)), ok
		}
	case IsSubset, IsSuperset:
		within, err := network(c.Values[0].Text)
		if err != nil {
			return fmt.Errorf("%s wants an address or a network as 198.51.100.0/24, and not %q", c.Op, c.Values[0].Text)
		}
		c.match = func(v any) (bool, bool) {
			s, ok := v.(string)
			if !ok {
				return false, false
			}
			net, err := network(s)
			if err != nil {
				return false, false
			}
			inner, outer := net, within
			if c.Op == IsSuperset {
				inner, outer = within, net
			}
			return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr()), true
		}
	}
	return nil
}

// network reads an address, as a network of one, or a network.
func network(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no address", s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return latin1(v), true
	}
	return "", false
}

// latin1 turns bytes into the characters of their numbers, as a string is compared with binary (STIX 9.6).
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// compare says how a value of an observation stands to a constant: below 0, 0, above. ok is false if
// the two are not of one type.
func (l *Literal) compare(v any) (order int, ok bool) {
	switch l.Kind {
	case String:
		s, ok := textOf(v)
		return strings.Compare(norm.NFC.String(s), norm.NFC.String(l.Text)), ok
	case Bool:
		b, ok := v.(bool)
		if b == l.Bool {
			return 0, ok
		}
		return 1, ok
	case Integer, Float:
		x, ok := number(v)
		if !ok {
			return 0, false
		}
		y := new(big.Float)
		if l.Kind == Integer {
			y.SetInt64(l.Int)
		} else {
			y.SetFloat64(l.Float)
		}
		return x.Cmp(y), true
	case Timestamp:
		s, ok := v.(string)
		if !ok {
			return 0, false
		}
		t, err := parseTime(s)
		return t.Compare(l.Time), err == nil
	case Binary:
		switch v := v.(type) {
		case []byte:
			return bytes.Compare(v, l.Bytes), true
		case string:
			b := make([]byte, 0, len(v))
			for _, r := range v {
				if r > 0xff {
					return 0, false
				}
				b = append(b, byte(r))
			}
			return bytes.Compare(b, l.Bytes), true
		}
	}
	return 0, false
}

// maxNumber bounds the digits of a number that is compared: an exponent may ask for more memory than
// there is.
const maxNumber = 64

func number(v any) (*big.Float, bool) {
	switch v := v.(type) {
	case json.Number:
		if len(v) > maxNumber || strings.ContainsAny(string(v), "eE") && len(v) > 20 {
			return nil, false
		}
		if f, err := v.Float64(); err == nil && strings.ContainsAny(string(v), ".eE") {
			return new(big.Float).SetFloat64(f), true
		}
		f, ok := new(big.Float).SetPrec(256).SetString(string(v))
		return f, ok
	case float64:
		if v != v {
			return nil, false
		}
		return new(big.Float).SetFloat64(v), true
	case int:
		return new(big.Float).SetInt64(int64(v)), true
	case int64:
		return new(big.Float).SetInt64(v), true
	}
	return nil, false
}

// like matches a pattern of which % stands for any characters, and _ for one.
func like(p, s []rune) bool {
	star, back := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '%':
			star, back = i, j
			i++
		case i < len(p) && (p[i] == '_' || p[i] == s[j]):
			i, j = i+1, j+1
		case star >= 0:
			back++
			i, j = star+1, back
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '%' {
		i++
	}
	return i == len(p)
}

// holds reports whether the property of an object is as the comparison says.
func (c *Compare) holds(o *Observed, object map[string]any) bool {
	found, passed := false, false
	o.walk(object, c.Path.Steps, 0, func(v any) bool {
		found = true
		if c.Op == Exists {
			return false
		}
		holds, known := c.match(v)
		passed = known && holds != c.Not
		return !passed
	})
	if c.Op == Exists {
		return found != c.Not
	}
	return passed
}

// maxRefs bounds the references that one path follows.
const maxRefs = 16

// walk calls fn with the values at the end of a path, until it returns false. References are followed
// within the observation.
func (o *Observed) walk(v any, steps []Step, refs int, fn func(v any) bool) bool {
	if len(steps) == 0 {
		if v == nil {
			return true
		}
		return fn(v)
	}
	s := steps[0]
	if s.Key == "" {
		list, ok := v.([]any)
		switch {
		case !ok:
			return true
		case s.Index != All:
			return s.Index >= len(list) || o.walk(list[s.Index], steps[1:], refs, fn)
		}
		for _, e := range list {
			if !o.walk(e, steps[1:], refs, fn) {
				return false
			}
		}
		return true
	}
	if id, ok := v.(string); ok { // a reference, of a property whose name ends with _ref or _refs
		if refs++; refs > maxRefs {
			return true
		}
		object, ok := o.Objects[id]
		if !ok {
			return true
		}
		v = object
	}
	object, ok := v.(map[string]any)
	if !ok {
		return true
	}
	next, ok := object[s.Key]
	if !ok {
		return true
	}
	if len(steps) > 1 && !strings.HasSuffix(s.Key, "_ref") && !strings.HasSuffix(s.Key, "_refs") {
		if _, isText := next.(string); isText {
			return true
		}
		if list, isList := next.([]any); isList && steps[1].Key == "" {
			next = withoutText(list, steps)
		}
	}
	if text, isText := next.(string); isText && len(steps) == 1 {
		if b, ok := binary(s.Key, text); ok {
			next = b
		}
	}
	return o.walk(next, steps[1:], refs, fn)
}

// withoutText leaves the strings of a list out where a path goes on inside of its elements: they are
// references only in a property that is named so.
func withoutText(list []any, steps []Step) []any {
	if len(steps) < 3 {
		return list
	}
	out := make([]any, len(list))
	for i, e := range list {
		if _, isText := e.(string); !isText {
			out[i] = e
		}
	}
	return out
}

// binary decodes a property that holds bytes, by its name (STIX 2.1, 2.1 binary and 2.8 hex).
func binary(key, text string) ([]byte, bool) {
	switch {
	case strings.HasSuffix(key, "_hex"):
		b, err := hex.DecodeString(text)
		return b, err == nil
	case strings.HasSuffix(key, "_bin"):
		b, err := base64.StdEncoding.DecodeString(text)
		return b, err == nil
	}
	return nil, false
}

// passes reports whether an object passes a test; all comparisons of a test are about one object.
func passes(t Test, o *Observed, typ string, object map[string]any) bool {
	switch t := t.(type) {
	case *Compare:
		return t.Path.Type == typ && t.holds(o, object)
	case *Logic:
		for _, part := range t.Parts {
			if passes(part, o, typ, object) != t.And {
				return !t.And
			}
		}
		return t.And
	}
	return false
}
