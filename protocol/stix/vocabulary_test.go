package stix

import (
	"slices"
	"testing"
)

func TestVocabulary(t *testing.T) {
	types := Types()
	if !slices.IsSorted(types) || len(types) != len(required) {
		t.Errorf("%d types, sorted: %v", len(types), slices.IsSorted(types))
	}
	for _, row := range []struct {
		typ               string
		known, confidence bool
	}{
		{"indicator", true, true},
		{"relationship", true, true},
		{"ipv4-addr", true, false},
		{"marking-definition", true, false},
		{"x-example", false, true},
		{"indicators", false, true},
		{"", false, true},
	} {
		if IsType(row.typ) != row.known || MayStateConfidence(row.typ) != row.confidence {
			t.Errorf("%s: known %v, confidence %v", row.typ, IsType(row.typ), MayStateConfidence(row.typ))
		}
	}
}
