// Package pattern reads and matches patterns of the STIX patterning language (STIX 2.1, part 9,
// and its ANTLR grammar): all operators, literals and qualifiers.
//
// It is complete where the standard says what holds, with these bounds: MATCHES takes the regular
// expressions of Go's package regexp, which answer in linear time, and no look-around or back
// references of PCRE; a pattern has at most MaxSize bytes, MaxDepth brackets within brackets and
// MaxTests comparisons; and matching gives up with ErrTooMuch where a pattern and observations would
// take more than a bounded number of steps, because somebody else wrote both.
package pattern
