package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol/stix"
)

// STIXChange is a change in the format stix: the object, marked with the TLP of its record, and what
// became of it. Changes that have no record any more have no object.
type STIXChange struct {
	Cursor uint64          `json:"cursor"`
	Kind   node.ChangeKind `json:"kind"`
	At     time.Time       `json:"at"`
	ID     string          `json:"id"` // of the record
	Object json.RawMessage `json:"object,omitempty"`
}

// encode writes a change as a receiver of a kind gets it. NATS, whose messages have headers, has the STIX
// object alone as its body; of changes without one it is empty.
func encode(c *node.Change, kind node.SinkKind, format node.SinkFormat) ([]byte, error) {
	switch format {
	case node.SinkJSON:
		return compact(c)
	case node.SinkSTIX:
		out := STIXChange{Cursor: c.Cursor, Kind: c.Kind, At: c.At, ID: c.ID.String()}
		if c.Record != nil {
			b, err := c.Record.Marked()
			if err != nil {
				return nil, err
			}
			out.Object = b
		}
		if kind == node.SinkNATS {
			return out.Object, nil
		}
		return compact(&out)
	case node.SinkCEF:
		return cef(c), nil
	}
	return nil, fmt.Errorf("there is no format %q", format)
}

// compact writes JSON in one line.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// changeID names a change, for receivers that get it more than once. It holds what the change is about:
// cursors of a store that was rolled back may come again for another change.
func changeID(nodeID, sink string, c *node.Change) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%s\n%s", nodeID, sink, c.Cursor, c.Kind, c.ID))
	return hex.EncodeToString(h[:16])
}

// Why CEF: what syslog has for fields, structured data, needs a private enterprise number in every name
// (RFC 5424, section 6.3.2), which this project has not, and few receivers make fields of it; CEF most
// do by themselves.

// maxCEF keeps messages within what every receiver of RFC 5425 should take (section 4.3.1: 8192 octets),
// the header of syslog left aside.
const (
	maxCEF      = 7 << 10
	maxCEFField = 1 << 10
)

var cefNames = map[node.ChangeKind]string{node.ChangeAdded: "Record added", node.ChangeWithdrawn: "Record withdrawn", node.ChangeRestored: "Record restored",
	node.ChangeErased: "Record erased, destroy all copies", node.ChangeGone: "Record set aside"}

// cef writes a change as ArcSight's Common Event Format, version 0. The severity says how much there is to
// do: 3, and 6 where copies are to be destroyed.
func cef(c *node.Change) []byte {
	severity := 3
	if c.Kind == node.ChangeErased {
		severity = 6
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "CEF:0|Entente|Entente|1|%s|%s|%d|", cefHeader(string(c.Kind)), cefHeader(cefNames[c.Kind]), severity)
	sep := ""
	add := func(key, value string) {
		if value = cefValue(value); value != "" && b.Len()+len(sep)+len(key)+1+len(value) <= maxCEF {
			b.WriteString(sep + key + "=" + value)
			sep = " "
		}
	}
	label := func(key, name, value string) {
		if value != "" {
			add(key+"Label", name)
			add(key, value)
		}
	}
	add("rt", strconv.FormatInt(c.At.UnixMilli(), 10))
	add("externalId", c.ID.String())
	label("cn1", "Cursor", strconv.FormatUint(c.Cursor, 10))
	r := c.Record
	if r == nil {
		return b.Bytes()
	}
	add("cat", r.Type)
	label("cs1", "TLP", r.Handling.TLP)
	label("cs2", "Topic", r.Topic)
	label("cs3", "STIX ID", r.StixID)
	label("cs4", "Originator", r.Originator.Name)
	if r.Assessment != nil && r.Assessment.Confidence != nil {
		label("cn2", "Confidence", strconv.Itoa(int(*r.Assessment.Confidence)))
	}
	add("reason", r.WithdrawReason)
	var said struct{ Name, Pattern string }
	_ = json.Unmarshal(r.Object, &said)
	if o, err := stix.Parse(r.Object); err == nil {
		var kinds, values []string
		for _, ob := range stix.Observables(o) {
			kinds, values = append(kinds, string(ob.Kind)), append(values, ob.Value)
		}
		label("cs5", "Observable kinds", strings.Join(kinds, " "))
		label("cs6", "Observables", strings.Join(values, " "))
	}
	if said.Name == "" {
		said.Name = said.Pattern
	}
	add("msg", said.Name)
	return b.Bytes()
}

// cefHeader escapes a field of the header.
func cefHeader(s string) string {
	return strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\n", " ", "\r", " ").Replace(clip(s))
}

// cefValue escapes a value.
func cefValue(s string) string {
	return strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`, "\r", `\r`).Replace(clip(s))
}

// clip leaves out control characters other than ends of lines, and what is too long.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\r' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	if len(s) <= maxCEFField {
		return s
	}
	end := maxCEFField
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
