package intake

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// mispEvent is what is read of an event (MISP core format, "Event"). What is not read here
// is named in a note.
type mispEvent struct {
	line         int
	UUID         loose
	Info         loose
	Date         loose
	Timestamp    loose
	Distribution loose
	orgUUID      string
	orgName      string
	tags         []string
	attributes   []mispAttribute
	reports      []mispReport
	skipped      map[string]int // properties with content that has no place in STIX here
}

// mispAttribute is an attribute of an event or of an object in it.
type mispAttribute struct {
	line    int
	object  string // name of the MISP object that holds it, "" if none
	UUID    loose  `json:"uuid"`
	Type    loose  `json:"type"`
	Value   loose  `json:"value"`
	IDs     loose  `json:"to_ids"`
	Time    loose  `json:"timestamp"`
	Comment loose  `json:"comment"`
	Gone    loose  `json:"deleted"`
	Data    loose  `json:"data"`
	Rel     loose  `json:"object_relation"`
	Dist    loose  `json:"distribution"`
	Tag     []mispTag
}

type mispTag struct {
	Name loose `json:"name"`
}

// mispReport is a text that belongs to an event ("EventReport").
type mispReport struct {
	line    int
	Name    loose `json:"name"`
	Content loose `json:"content"`
	Gone    loose `json:"deleted"`
}

// loose is a string that MISP writes as a string, a number, a boolean or null, depending on
// the version.
type loose string

// UnmarshalJSON accepts any scalar.
func (l *loose) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		*l = ""
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*l = loose(s)
	case b[0] == '{' || b[0] == '[':
		return protocol.Errorf(protocol.ErrMalformed, "a list or an object where a single value is due")
	default:
		*l = loose(b)
	}
	return nil
}

func (l loose) isTrue() bool { return l == "true" || l == "1" }

// when reads a Unix time in seconds; anything else is the fallback.
func (l loose) when(fallback time.Time) time.Time {
	n, err := strconv.ParseInt(string(l), 10, 64)
	if err != nil || n <= 0 || n > 253402300799 { // the end of the year 9999
		return fallback
	}
	return time.Unix(n, 0).UTC()
}

// handling reads TLP and PAP from tags; the strictest wins. A label that is not known is an
// error: nobody can say with whom to share.
func tagHandling(tags []string) (h protocol.Handling, err error) {
	for _, tag := range tags {
		tlp, pap, ok, err := stix.ReadLabel(strings.Trim(tag, `"`))
		if ok && err != nil {
			return h, err
		}
		h.TLP, h.PAP = max(h.TLP, tlp), max(h.PAP, pap)
	}
	return h, nil
}

// readMISP reads one event or several, in any of the forms that MISP exports.
func readMISP(b *builder, data []byte) error {
	s := newScanner(data)
	event := func(line int) error {
		e, err := readWrapped(b, s, line)
		if err == nil && e != nil {
			b.publishEvent(e)
		}
		return err
	}
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("[")) {
		return s.array(event)
	}
	return readTop(b, s, event)
}

// readTop reads {"response":…}, {"Event":…} or a bare event.
func readTop(b *builder, s *scanner, event func(int) error) error {
	e := newEvent(s.at())
	err := s.object(func(name string) error {
		if name != "response" {
			return e.property(b, s, name)
		}
		s.at()
		if rest := bytes.TrimLeft(s.data[s.dec.InputOffset():], " \t\r\n:"); len(rest) > 0 && rest[0] == '{' {
			return event(s.at())
		}
		return s.array(event)
	})
	if err == nil && !e.empty() {
		b.publishEvent(e)
	}
	return err
}

// readWrapped reads {"Event":{…}} or a bare event; nil if there is neither.
func readWrapped(b *builder, s *scanner, line int) (*mispEvent, error) {
	e := newEvent(line)
	if err := s.object(func(name string) error { return e.property(b, s, name) }); err != nil {
		return nil, err
	}
	if e.empty() {
		b.problem(line, "neither an event nor the wrapping of one")
		return nil, nil
	}
	return e, nil
}

func newEvent(line int) *mispEvent { return &mispEvent{line: line, skipped: map[string]int{}} }

func (e *mispEvent) empty() bool {
	return e.UUID == "" && e.Info == "" && len(e.attributes) == 0 && len(e.reports) == 0
}
