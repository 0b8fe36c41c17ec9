package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// SchemaFile is the name under which editors look for the schema of a draft, beside it.
const SchemaFile = "agreement.schema.json"

// Modeline is the comment that tells editors where the schema of a draft is.
const Modeline = "# yaml-language-server: $schema=" + SchemaFile

// Schema returns the JSON Schema (draft 2020-12) of an agreement in YAML, for editors. It is made
// of the structures that ParseYAML reads into, and demands no more than that: what it refuses,
// ParseYAML refuses or reads by another spelling (words in capitals, "TLP:AMBER"). What only the
// whole shows is left to ParseYAML and CheckAgreement.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[document](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Agreement on the exchange of threat intelligence"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("policy: encoding the schema: " + err.Error())
	}
	return append(b, '\n')
}

type schema = map[string]any

// schemaOf describes a structure by the tags of its fields. Those without omitempty are required,
// unless they may be empty.
func schemaOf(t reflect.Type, path string) schema {
	props, required := schema{}, []string{}
	for f := range fieldsOf(t) {
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if options != "omitempty" && !schemaWords[path+key].optional {
			required = append(required, key)
		}
		props[key] = schemaOfField(f.Type, path+key)
	}
	return schema{"type": "object", "properties": props, "required": required, "additionalProperties": false}
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func schemaOfField(t reflect.Type, path string) schema {
	said := schemaWords[path]
	var s schema
	switch {
	case t == reflect.TypeFor[names]():
		one := said.values
		s = schema{"anyOf": []schema{said.string(), {"type": "array", "items": one.string(), "minItems": 1, "maxItems": said.most}}}
	case t.Kind() == reflect.Pointer:
		s = schemaOf(t.Elem(), path+".")
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		s = schema{"type": "array", "items": schemaOf(t.Elem(), path+"."), "minItems": 1, "maxItems": said.most}
	case t.Kind() == reflect.Slice:
		s = schema{"type": "array", "items": said.string(), "maxItems": said.most}
		if said.least > 0 {
			s["minItems"] = said.least
		}
	case t.Kind() == reflect.String:
		s = said.string()
	case t.Kind() == reflect.Uint8, t.Kind() == reflect.Uint32:
		most := said.most
		if most == 0 {
			most = math.MaxUint32
		}
		s = schema{"type": "integer", "minimum": 0, "maximum": most}
	default:
		panic(fmt.Sprintf("policy: %s is a %s, of which no schema is known", path, t))
	}
	s["description"] = said.text
	return s
}

// words is what the schema says of a member beside its type.
type words struct {
	text        string
	values      *words   // of names: an entry of the list
	enum        []string // all that is read
	suggest     []string // what an editor offers; others are read too
	pattern     string
	least, most int
	optional    bool // though it is always written
}

func (w *words) string() schema {
	s := schema{"type": "string"}
	switch {
	case w == nil:
	case len(w.enum) > 0:
		s["enum"] = w.enum
	case len(w.suggest) > 0:
		open := schema{"type": "string"}
		if w.pattern != "" {
			open["pattern"] = w.pattern
		}
		return schema{"anyOf": []schema{{"type": "string", "enum": w.suggest}, open}}
	case w.pattern != "":
		s["pattern"] = w.pattern
	}
	return s
}

const (
	tokenPattern   = `^[-a-z0-9_./]{1,128}$`
	countryPattern = `^[A-Za-z]{2}$`
	datePattern    = `^\d{4}-\d{2}-\d{2}([Tt]\d{2}:\d{2}:\d{2}([.,]\d+)?([Zz]|[-+]\d{2}:\d{2}))?$`
)

var (
	tlpWords = []string{"clear", "green", "amber", "amber+strict", "red", "white"}
	papWords = []string{"clear", "green", "amber", "red", "white"}
)

func orgKindWords() (out []string) {
	for _, k := range protocol.OrgKinds() {
		out = append(out, string(k))
	}
	return out
}

func purposeTokens() (out []string) {
	for _, p := range purposeVocabulary {
		out = append(out, p.Token)
	}
	return out
}

func purposeText() string {
	var b strings.Builder
	b.WriteString("Purposes for which it is sent; without them it is not restricted. Others than these are read, with a warning by 'agreement check'.")
	for _, p := range purposeVocabulary {
		fmt.Fprintf(&b, "\n%s: %s", p.Token, p.Description)
		if p.Source != "" {
			fmt.Fprintf(&b, " (%s)", p.Source)
		}
	}
	return b.String()
}

// anyOr is a list, or a word for all.
func anyOr(text, all string, most int, one *words) words {
	return words{text: text, most: most, values: one, suggest: []string{all}, pattern: one.pattern}
}

// schemaWords says of each member of an agreement what it means. A test holds that none is left out.
var schemaWords = map[string]words{
	"title":          {text: "What the agreement is about, in a line.", optional: true},
	"parties":        {text: "The organisations that sign it, by name or id (org:…).", least: 2, most: protocol.MaxParties},
	"not_before":     {text: "When it begins: a date (its first moment, UTC), or a time such as 2027-01-31T09:30:00Z.", pattern: datePattern},
	"not_after":      {text: "When it ends: a date (its first moment, UTC), or a time. 'agreement renew' proposes the same with a later one.", pattern: datePattern},
	"legal_basis":    {text: "The law, treaty or contract that it rests on.", optional: true},
	"paper_sha256":   {text: "SHA-256 of the signed paper: 'sha256sum FILE'.", pattern: `^[0-9a-fA-F]{64}$`},
	"amends":         {text: "The id (agr:…) of the agreement whose place this one takes. 'agreement amend' fills it in.", pattern: `^agr:`},
	"notice_days":    {text: "Notice that a party should give before it leaves. To leave at once is always possible, and recorded as a breach."},
	"terms":          {text: "Who may send what to whom. A record passes if it is within every limit of one term; what no term allows is refused.", most: protocol.MaxTerms},
	"terms.from":     {text: "The party that sends, by name or id."},
	"terms.to":       {text: "The party that receives, by name or id."},
	"terms.topics":   anyOr("Topics, or any.", "any", protocol.MaxTermTopics, &words{pattern: tokenPattern}),
	"terms.kinds":    anyOr("Types of STIX objects, or any. Custom types begin with x-.", "any", protocol.MaxTermKinds, &words{suggest: stix.Types(), pattern: tokenPattern}),
	"terms.tlp":      {text: "Ceiling by the Traffic Light Protocol 2.0: records marked higher do not pass. RED reaches the recipients only that a record names. TLP 1.0's white is read as clear.", enum: tlpWords},
	"terms.pap":      {text: "Ceiling by the Permissible Actions Protocol; without it there is none.", enum: papWords},
	"terms.purposes": {text: purposeText(), suggest: purposeTokens(), pattern: tokenPattern, most: protocol.MaxPurposes},
	"terms.countries": anyOr("Countries concerned (ISO 3166-1 alpha-2), or worldwide. A record that names no country passes worldwide terms only.", "worldwide", protocol.MaxCountries,
		&words{suggest: Countries(), pattern: countryPattern}),
	"terms.personal_data":                {text: "How much personal data passes: none, network (addresses, domains and URLs), or all. What nobody determined counts as all.", enum: []string{"none", "network", "all"}},
	"terms.retention_days":               {text: "How long the reader may keep it; without it, as long as its originator allows."},
	"terms.history_days":                 {text: "How far back from its beginning records may be read."},
	"terms.min_confidence":               {text: "Least confidence (STIX 3.2). A record that states none has 0; observables cannot state one.", most: 100},
	"terms.records_per_day":              {text: "Most records in a day, UTC; without it there is no limit."},
	"terms.reply_hours":                  {text: "Within which requests of the receiving party are answered; without it nothing is promised."},
	"terms.affected_party_notifications": {text: "Whether those who are affected may be told (FIRST IEP 2.0). Shown and exported; only people can keep it.", enum: []string{"may", "must-not"}},
	"terms.attribution":                  {text: "Whether the sender is named as the source (FIRST IEP 2.0).", enum: []string{"may", "must", "must-not"}},
	"terms.unmodified_resale":            {text: "Whether what is unchanged may be sold (FIRST IEP 2.0).", enum: []string{"may", "must-not"}},
	"terms.onward":                       {text: "To whom the receiver may pass it on, where the originator of a record allows it too; without it to nobody."},
	"terms.onward.rule":                  {text: "nobody; named: the organisations listed; kinds: organisations of the kinds listed; partners: anybody with whom the receiver has an agreement that covers it.", enum: []string{"nobody", "named", "kinds", "partners"}},
	"terms.onward.organisations":         {text: "With rule named: the organisations, by name or id.", most: protocol.MaxNamedOrgs},
	"terms.onward.kinds":                 {text: "With rule kinds: the kinds of organisation.", enum: orgKindWords(), most: len(orgKindWords())},
	"terms.onward.ceiling":               {text: "Up to which TLP it may be passed on; without it, all that comes under the term.", enum: tlpWords},
	"terms.onward.approval":              {text: "How many persons must approve before something is passed on.", most: 2},
	"terms.holders":                      {text: "Who may store even what it cannot read: the parties and those listed. Without it, every member of the network."},
	"terms.holders.organisations":        {text: "Organisations, by name or id.", most: protocol.MaxNamedOrgs},
	"terms.holders.countries":            {text: "Countries of organisations (ISO 3166-1 alpha-2).", suggest: Countries(), pattern: countryPattern, most: protocol.MaxCountries},
}
