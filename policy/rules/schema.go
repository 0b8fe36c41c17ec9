package rules

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/entente-mesh/entente/policy"
)

//go:embed rules.cedarschema
var schemaText []byte

// Schema returns the schema of rules in Cedar's schema language, with comments for people.
func Schema() string { return string(schemaText) }

// Action is something that people and machines of the organisation do.
type Action string

// The actions that rules may permit and forbid to people and machines.
const (
	Read       Action = "read"
	Search     Action = "search"
	Export     Action = "export"
	Publish    Action = "publish"
	Release    Action = "release"
	Sign       Action = "sign"
	Administer Action = "administer"
)

// exchange are the actions between organisations, about which rules can but forbid.
var exchange = []string{string(policy.ActShare), string(policy.ActPassOn), string(policy.ActReceive)}

func isExchange(action string) bool { return slices.Contains(exchange, action) }

// validator checks rules by the schema. The validator of cedar-go is in its experimental part;
// what is taken from there is in this file and in check.go.
var validator = sync.OnceValues(func() (*validate.Validator, *resolved.Schema) {
	var s schema.Schema
	if err := s.UnmarshalCedar(schemaText); err != nil {
		panic(fmt.Sprintf("rules.cedarschema: %v", err)) // a test reads it
	}
	r, err := s.Resolve()
	if err != nil {
		panic(fmt.Sprintf("rules.cedarschema: %v", err))
	}
	return validate.New(r), r
})

func actionNames() string {
	_, s := validator()
	var names []string
	for uid := range s.Actions {
		names = append(names, string(uid.ID))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func typeNames() string {
	_, s := validator()
	return join(slices.Sorted(maps.Keys(s.Entities)))
}

// attributes lists the attributes of an entity type.
func attributes(typ cedar.EntityType) string {
	_, s := validator()
	return join(slices.Sorted(maps.Keys(s.Entities[typ].Shape)))
}

// isAttribute reports whether anything has an attribute of a name.
func isAttribute(name cedar.String) bool {
	_, s := validator()
	for _, e := range s.Entities {
		if _, ok := e.Shape[name]; ok {
			return true
		}
	}
	return name == "now"
}

func join[T ~string](list []T) string {
	var out []string
	for _, v := range list {
		out = append(out, string(v))
	}
	return strings.Join(out, ", ")
}
