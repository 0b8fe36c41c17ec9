package stix

import (
	"maps"
	"slices"
)

// Types lists the object types of STIX 2.1, sorted. Others are custom ones.
func Types() []string { return slices.Sorted(maps.Keys(required)) }

// IsType reports whether STIX 2.1 defines an object type.
func IsType(typ string) bool {
	_, ok := required[typ]
	return ok
}

// MayStateConfidence reports whether an object of a type may have the property confidence
// (STIX 3.2): observables have none, nor have markings and extension definitions. Of a custom
// type it is not known, and so it may.
func MayStateConfidence(typ string) bool {
	return !observableTypes[typ] && typ != "marking-definition" && typ != "extension-definition"
}
