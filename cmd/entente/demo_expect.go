package main

import (
	"slices"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

// mayRead is the demo's second opinion: who may read an entry that the publisher made, by
// the plain wording of the agreements. It shares no code with package policy, which it is
// there to check, and is as naive as it can be: go through all terms, and let one that
// allows it decide.
func mayRead(it *intake.Item, agreements []protocol.Agreement, publisher, reader protocol.OrgID, topic string) bool {
	h := &it.Handling
	if reader == publisher {
		return true
	}
	for _, x := range h.Excluded {
		if x == reader {
			return false
		}
	}
	named := false
	for _, x := range h.Named {
		named = named || x == reader
	}
	if !named && (len(h.Named) > 0 || h.TLP == protocol.TLPRed) {
		return false
	}
	for _, a := range agreements {
		for _, t := range a.Terms {
			if t.From != publisher || t.To != reader {
				continue
			}
			if t.Topics[0] != "*" && !slices.Contains(t.Topics, topic) {
				continue
			}
			if t.Kinds[0] != "*" && !slices.Contains(t.Kinds, it.Object.Type) {
				continue
			}
			if strictness(h.TLP) > strictness(t.TLP) {
				continue
			}
			if t.Countries[0] == "*" || shareOne(t.Countries, h.Countries) {
				return true
			}
		}
	}
	return false
}

// strictness spells the order of TLP 2.0 out once more.
func strictness(t protocol.TLP) int {
	switch t.String() {
	case "clear":
		return 1
	case "green":
		return 2
	case "amber":
		return 3
	case "amber+strict":
		return 4
	}
	return 5
}

func shareOne(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}
