package postgres

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Records are written by others. What PostgreSQL cannot hold must neither stop the mirror nor an analyst's
// query: texts hold no zero bytes, values that are indexed are short, times are within its calendar, and
// what cannot be cast to jsonb is said to be so.

// maxIndexed bounds a value in an index, in bytes: a page holds an entry of 2,704.
const maxIndexed = 1024

// text is s as a text of PostgreSQL.
func text(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

func texts(list []string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = text(list[i])
	}
	return out
}

// indexed is a value as it is looked up: what of it an index can hold, and if that is not all of it, a
// digest of the whole.
func indexed(value string) (part string, digest []byte) {
	part = text(value)
	if len(part) > maxIndexed {
		cut := maxIndexed
		for !utf8.RuneStart(part[cut]) {
			cut--
		}
		part = part[:cut]
	}
	if part == value {
		return part, nil
	}
	sum := sha256.Sum256([]byte(value))
	return part, sum[:]
}

// maxMillis is the end of the year 9999.
const maxMillis = 253402300799999

func millis(ms uint64) time.Time { return time.UnixMilli(int64(min(ms, maxMillis))).UTC() }

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func orNull(s string, has bool) any {
	if !has {
		return nil
	}
	return s
}

var (
	recordColumns = []string{"record", "record_id", "stix_id", "type", "created", "modified", "revoked", "confidence", "labels", "tlp", "pap",
		"countries", "personal_data", "purposes", "retention_days", "onward", "excluded", "named", "handling", "object", "plain"}
	observableColumns = []string{"record", "kind", "value", "digest", "network"}
	holdingColumns    = []string{"mirror", "cursor", "record", "topic", "type", "stix_id", "version", "originator", "publisher", "received",
		"withdrawn", "withdrawn_at", "withdraw_reason", "entry"}
)

// recordRows makes the lines of a record in records and observables.
func recordRows(e *corpus.Entry) (record []any, observables [][]any, err error) {
	o, err := stix.Parse(e.Object)
	if err != nil {
		return nil, nil, err
	}
	var said struct {
		Confidence json.RawMessage `json:"confidence"`
		Labels     json.RawMessage `json:"labels"`
	}
	var labels []string
	var confidence any
	if json.Unmarshal(e.Object, &said) == nil {
		if json.Unmarshal(said.Labels, &labels) != nil {
			labels = nil // what is no list of texts is none
		}
		if n, err := strconv.Atoi(string(said.Confidence)); err == nil && n >= 0 && n <= 100 {
			confidence = int16(n)
		}
	}
	h := &e.Handling
	var retention any
	if h.RetentionDays > 0 {
		retention = int64(h.RetentionDays)
	}
	personal := h.Personal.String()
	if h.Personal == protocol.PersonalUndetermined {
		personal = "undetermined"
	}
	record = []any{e.Record[:], e.Record.String(), text(e.StixID), text(e.Type), timeOrNull(o.Created), timeOrNull(o.Modified), e.Revoked, confidence, texts(labels),
		h.TLP.String(), orNull(h.PAP.String(), h.PAP != protocol.PAPUnset), texts(h.Countries), personal, texts(h.Purposes), retention,
		h.Onward.Rule.String(), orgTexts(h.Excluded), orgTexts(h.Named), protocol.Encode(h), string(e.Object), plain(e.Object)}
	for _, ob := range corpus.FoundBy(o) {
		value, digest := indexed(ob.Value)
		observables = append(observables, []any{e.Record[:], string(ob.Kind), value, digest, networkOf(ob)})
	}
	return record, observables, nil
}

func orgTexts(list []protocol.OrgID) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].String()
	}
	return out
}

func networkOf(o stix.Observable) any {
	switch o.Kind {
	case stix.IPv4, stix.IPv6:
		if a, err := netip.ParseAddr(o.Value); err == nil && a.Zone() == "" {
			return netip.PrefixFrom(a, a.BitLen())
		}
	case stix.IPv4CIDR, stix.IPv6CIDR:
		if p, err := netip.ParsePrefix(o.Value); err == nil {
			return p
		}
	}
	return nil
}

// plain reports whether PostgreSQL can cast some JSON to jsonb: it knows no character 0, no half of a
// surrogate pair, and numbers up to a size.
func plain(object []byte) bool {
	d := jsontext.NewDecoder(bytes.NewReader(object), jsontext.AllowDuplicateNames(true))
	for {
		t, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return false
		}
		switch t.Kind() {
		case '"':
			if strings.IndexByte(t.String(), 0) >= 0 {
				return false
			}
		case '0':
			if f, err := strconv.ParseFloat(t.String(), 64); err != nil || math.IsInf(f, 0) || len(t.String()) > 1000 {
				return false
			}
			// What is too small for a float is 0 in it, and may still be too long for a number.
			if i := strings.IndexAny(t.String(), "eE"); i >= 0 {
				if n, err := strconv.Atoi(t.String()[i+1:]); err != nil || n < -1000 || n > 1000 {
					return false
				}
			}
		}
	}
}

// entryDoc is what the node keeps of a holding beside the columns.
type entryDoc struct {
	_           struct{} `cbor:",toarray"`
	Feed        protocol.FeedID
	Seq         uint64
	Index       uint32
	Topic       string
	StixID      string
	Type        string
	Received    uint64
	Stamp       uint64
	SealedAt    uint64
	Agreement   protocol.AgreementID
	Term        uint32
	Text        string
	Form        corpus.Form
	WithdrawnAt uint64
	Reason      string
}

// holdingRow makes the line of a record in holdings.
func holdingRow(mirror int32, e *corpus.Entry) []any {
	d := entryDoc{Feed: e.Feed, Seq: e.Seq, Index: uint32(e.Index), Topic: e.Topic, StixID: e.StixID, Type: e.Type, Received: e.Received, Stamp: e.Stamp, SealedAt: e.SealedAt,
		Agreement: e.Agreement, Term: uint32(max(e.Term, 0)), Text: e.Text, Form: e.Form, WithdrawnAt: e.WithdrawnAt, Reason: e.WithdrawReason}
	var withdrawnAt any
	if e.Withdrawn {
		withdrawnAt = millis(e.WithdrawnAt)
	}
	return []any{mirror, int64(e.Cursor), e.Record[:], text(e.Topic), text(e.Type), text(e.StixID), int64(min(e.Version(), math.MaxInt64)),
		e.Originator[:], e.Publisher[:], millis(e.Received), e.Withdrawn, withdrawnAt, orNull(text(e.WithdrawReason), e.Withdrawn), protocol.Encode(&d)}
}
