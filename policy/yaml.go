package policy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/entente-mesh/entente/protocol"
)

// document is an agreement as people write it.
type document struct {
	Title       string   `yaml:"title"`
	Parties     []string `yaml:"parties"`
	NotBefore   string   `yaml:"not_before"`
	NotAfter    string   `yaml:"not_after"`
	LegalBasis  string   `yaml:"legal_basis"`
	PaperSHA256 string   `yaml:"paper_sha256,omitempty"`
	Amends      string   `yaml:"amends,omitempty"`
	Notice      uint32   `yaml:"notice_days,omitempty"`
	Terms       []term   `yaml:"terms"`
}

type term struct {
	From      string   `yaml:"from"`
	To        string   `yaml:"to"`
	Topics    names    `yaml:"topics"`
	Kinds     names    `yaml:"kinds"`
	TLP       string   `yaml:"tlp"`
	PAP       string   `yaml:"pap,omitempty"`
	Countries names    `yaml:"countries"`
	Personal  string   `yaml:"personal_data"`
	Purposes  []string `yaml:"purposes,omitempty"`
	Retention uint32   `yaml:"retention_days,omitempty"`
	History   uint32   `yaml:"history_days,omitempty"`
	Onward    *onward  `yaml:"onward,omitempty"`

	Confidence  uint8    `yaml:"min_confidence,omitempty"`
	PerDay      uint32   `yaml:"records_per_day,omitempty"`
	Holders     *holders `yaml:"holders,omitempty"`
	ReplyHours  uint32   `yaml:"reply_hours,omitempty"`
	Notify      string   `yaml:"affected_party_notifications,omitempty"`
	Attribution string   `yaml:"attribution,omitempty"`
	Resale      string   `yaml:"unmodified_resale,omitempty"`
}

type holders struct {
	Orgs      []string `yaml:"organisations,omitempty"`
	Countries []string `yaml:"countries,omitempty"`
}

type onward struct {
	Rule    string   `yaml:"rule"`
	Orgs    []string `yaml:"organisations,omitempty"`
	Kinds   []string `yaml:"kinds,omitempty"`
	Ceiling string   `yaml:"ceiling,omitempty"`

	Approval uint8 `yaml:"approval,omitempty"` // a number of persons
}

// names is a list, or one word in its place.
type names []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *names) UnmarshalYAML(v *yaml.Node) error {
	if v.Kind == yaml.ScalarNode {
		*n = names{v.Value}
		return nil
	}
	return v.Decode((*[]string)(n))
}

// MarshalYAML implements yaml.Marshaler.
func (n names) MarshalYAML() (any, error) {
	if len(n) == 1 {
		return n[0], nil
	}
	return []string(n), nil
}

// toProtocol turns the word for "all" into the protocol's, also where it does not stand
// alone, which Validate then refuses: among others it would be a name that nothing has.
func (n names) toProtocol(word string) []string {
	out := slices.Clone([]string(n))
	for i := range out {
		if strings.EqualFold(out[i], word) {
			out[i] = "*"
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func fromProtocol(list []string, word string) names {
	if len(list) == 1 && list[0] == "*" {
		return names{word}
	}
	return slices.Clone(list)
}

// ParseYAML reads an agreement. resolve finds the organisation that a name or id stands for.
// Network and secret are left for the node to fill in. Unknown members are refused: a limit
// that was mistyped must not vanish. Errors name the line, or the number of the term.
func ParseYAML(data []byte, resolve func(string) (protocol.OrgID, error)) (*protocol.Agreement, error) {
	if len(data) > 4*protocol.MaxAgreementSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "agreement has %d bytes, at most %d", len(data), 4*protocol.MaxAgreementSize)
	}
	if err := checkShape(data); err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "reading agreement: %v", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var d document
	if err := dec.Decode(&d); err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "reading agreement: %v", firstErrors(err))
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "reading agreement: a second document follows the first")
	}
	a, err := d.agreement(resolve)
	if err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "reading agreement: %v", err)
	}
	check := *a
	check.Network[0], check.Secret[0] = 1, 1
	return a, check.Validate()
}

func (d *document) agreement(resolve func(string) (protocol.OrgID, error)) (*protocol.Agreement, error) {
	a := &protocol.Agreement{Version: 1, Title: strings.TrimSpace(d.Title), LegalBasis: strings.TrimSpace(d.LegalBasis), NoticeDays: d.Notice}
	var err error
	if a.Parties, err = orgs(d.Parties, resolve); err != nil {
		return nil, err
	}
	if a.NotBefore, err = readTime("not_before", d.NotBefore); err != nil {
		return nil, err
	}
	if a.NotAfter, err = readTime("not_after", d.NotAfter); err != nil {
		return nil, err
	}
	if d.PaperSHA256 != "" {
		b, err := hex.DecodeString(d.PaperSHA256)
		if err != nil || len(b) != 32 {
			return nil, fmt.Errorf("paper_sha256 is not 64 hexadecimal digits")
		}
		a.PaperSHA256 = protocol.Hash(b)
	}
	if d.Amends != "" {
		if a.Previous, err = protocol.ParseAgreementID(d.Amends); err != nil {
			return nil, err
		}
	}
	for i := range d.Terms {
		t, err := d.Terms[i].term(resolve)
		if err != nil {
			return nil, fmt.Errorf("term %d: %w", i+1, err)
		}
		a.Terms = append(a.Terms, t)
	}
	return a, nil
}

func (t *term) term(resolve func(string) (protocol.OrgID, error)) (out protocol.Term, err error) {
	if out.From, err = resolve(t.From); err != nil {
		return out, err
	}
	if out.To, err = resolve(t.To); err != nil {
		return out, err
	}
	out.Topics, out.Kinds = t.Topics.toProtocol("any"), t.Kinds.toProtocol("any")
	up := slices.Clone(t.Countries)
	for i := range up {
		if !strings.EqualFold(up[i], "worldwide") {
			up[i] = strings.ToUpper(up[i])
		}
	}
	out.Countries = up.toProtocol("worldwide")
	if out.TLP, err = protocol.ParseTLP(t.TLP); err != nil {
		return out, err
	}
	if t.PAP != "" {
		if out.PAP, err = protocol.ParsePAP(t.PAP); err != nil {
			return out, err
		}
	}
	if t.Personal == "" {
		return out, errors.New("personal_data is missing; use none, network or all")
	}
	if out.Personal, err = protocol.ParsePersonalData(t.Personal); err != nil {
		return out, err
	}
	out.Purposes = slices.Clone(t.Purposes)
	slices.Sort(out.Purposes)
	out.RetentionDays, out.HistoryDays = t.Retention, t.History
	out.Confidence, out.PerDay, out.ReplyHours = t.Confidence, t.PerDay, t.ReplyHours
	for _, d := range []struct {
		key, said string
		to        *protocol.Duty
	}{{"affected_party_notifications", t.Notify, &out.Notify}, {"attribution", t.Attribution, &out.Attribution}, {"unmodified_resale", t.Resale, &out.Resale}} {
		if d.said == "" {
			continue
		}
		if *d.to, err = protocol.ParseDuty(d.said); err != nil {
			return out, fmt.Errorf("%s: %w", d.key, err)
		}
	}
	if t.Holders != nil {
		if out.Holders.Orgs, err = orgs(t.Holders.Orgs, resolve); err != nil {
			return out, err
		}
		for _, c := range t.Holders.Countries {
			out.Holders.Countries = append(out.Holders.Countries, strings.ToUpper(c))
		}
		slices.Sort(out.Holders.Countries)
		if !out.Holders.Restricted() {
			return out, errors.New("holders names nobody; leave it out if every member may hold sealed copies")
		}
	}
	if t.Onward == nil {
		return out, nil
	}
	if out.Onward.Rule, err = protocol.ParseOnwardRule(t.Onward.Rule); err != nil {
		return out, err
	}
	out.Approval = t.Onward.Approval
	if out.Onward.Orgs, err = orgs(t.Onward.Orgs, resolve); err != nil {
		return out, err
	}
	for _, k := range t.Onward.Kinds {
		kind, err := protocol.ParseOrgKind(k)
		if err != nil {
			return out, err
		}
		out.Onward.Kinds = append(out.Onward.Kinds, kind)
	}
	slices.Sort(out.Onward.Kinds)
	if t.Onward.Ceiling != "" {
		out.Onward.Ceiling, err = protocol.ParseTLP(t.Onward.Ceiling)
	}
	return out, err
}

// orgs finds organisations, and sorts them.
func orgs(list []string, resolve func(string) (protocol.OrgID, error)) (out []protocol.OrgID, err error) {
	for _, s := range list {
		id, err := resolve(s)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	slices.SortFunc(out, protocol.OrgID.Compare)
	return out, nil
}

// readTime reads a date (its first moment, UTC) or a time, into Unix milliseconds.
func readTime(what, s string) (uint64, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil && t.UnixMilli() > 0 {
			return uint64(t.UnixMilli()), nil
		}
	}
	return 0, fmt.Errorf("%s %q is not a date; use 2027-01-31 or 2027-01-31T09:30:00Z", what, s)
}

func writeTime(ms uint64) string {
	t := time.UnixMilli(int64(ms)).UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02T15:04:05.999Z07:00")
}

// WriteYAML writes an agreement as ParseYAML reads it. Organisations stand by their ids,
// with what they are called in comments; the secret is left out.
func WriteYAML(a *protocol.Agreement, name func(protocol.OrgID) string) []byte {
	d := document{Title: a.Title, NotBefore: writeTime(a.NotBefore), NotAfter: writeTime(a.NotAfter), LegalBasis: a.LegalBasis,
		Parties: idStrings(a.Parties), Notice: a.NoticeDays}
	if !a.PaperSHA256.IsZero() {
		d.PaperSHA256 = hex.EncodeToString(a.PaperSHA256[:])
	}
	if !a.Previous.IsZero() {
		d.Amends = a.Previous.String()
	}
	for i := range a.Terms {
		d.Terms = append(d.Terms, writeTerm(&a.Terms[i]))
	}
	b, err := yaml.Marshal(&d)
	if err != nil {
		panic("policy: encoding an agreement: " + err.Error())
	}
	var head strings.Builder
	for _, p := range a.Parties {
		fmt.Fprintf(&head, "# %s is %s\n", p, oneLine(name(p)))
	}
	return append([]byte(head.String()), b...)
}

// oneLine replaces what would break a line, a comment, or the reader's trust in what is shown.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		nonCharacter := r&0xfffe == 0xfffe || r == 0xfeff // YAML does not allow them in a comment
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || nonCharacter || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
}

func idStrings(list []protocol.OrgID) (out []string) {
	for _, o := range list {
		out = append(out, o.String())
	}
	return out
}

func writeTerm(t *protocol.Term) term {
	out := term{From: t.From.String(), To: t.To.String(), Topics: fromProtocol(t.Topics, "any"), Kinds: fromProtocol(t.Kinds, "any"),
		TLP: t.TLP.String(), Countries: fromProtocol(t.Countries, "worldwide"), Personal: t.Personal.String(),
		Purposes: t.Purposes, Retention: t.RetentionDays, History: t.HistoryDays}
	if t.PAP != protocol.PAPUnset {
		out.PAP = t.PAP.String()
	}
	out.Confidence, out.PerDay, out.ReplyHours = t.Confidence, t.PerDay, t.ReplyHours
	for _, d := range []struct {
		duty protocol.Duty
		to   *string
	}{{t.Notify, &out.Notify}, {t.Attribution, &out.Attribution}, {t.Resale, &out.Resale}} {
		if d.duty != protocol.DutyUnstated {
			*d.to = d.duty.String()
		}
	}
	if t.Holders.Restricted() {
		out.Holders = &holders{Orgs: idStrings(t.Holders.Orgs), Countries: t.Holders.Countries}
	}
	if t.Onward.Rule == protocol.OnwardNobody && t.Onward.Ceiling == protocol.TLPUnset && len(t.Onward.Orgs)+len(t.Onward.Kinds) == 0 && t.Approval == 0 {
		return out
	}
	out.Onward = &onward{Rule: t.Onward.Rule.String(), Orgs: idStrings(t.Onward.Orgs), Approval: t.Approval}
	for _, k := range t.Onward.Kinds {
		out.Onward.Kinds = append(out.Onward.Kinds, string(k))
	}
	if t.Onward.Ceiling != protocol.TLPUnset {
		out.Onward.Ceiling = t.Onward.Ceiling.String()
	}
	return out
}
