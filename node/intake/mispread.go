package intake

import (
	"encoding/json"
)

// property reads one property of an event. "Event" inside is the wrapping: its properties
// are the event's.
func (e *mispEvent) property(b *builder, s *scanner, name string) error {
	scalars := map[string]*loose{"uuid": &e.UUID, "info": &e.Info, "date": &e.Date,
		"timestamp": &e.Timestamp, "distribution": &e.Distribution}
	if field := scalars[name]; field != nil {
		return decode(b, s, s.at(), "property "+name, field)
	}
	switch name {
	case "Event":
		e.line = s.at()
		return s.object(func(name string) error { return e.property(b, s, name) })
	case "Attribute":
		return s.array(func(line int) error { return e.attribute(b, s, line, "") })
	case "Object":
		return s.array(func(line int) error { return e.object(b, s) })
	case "Tag":
		var tags []mispTag
		err := decode(b, s, s.at(), "tags", &tags)
		for _, t := range tags {
			e.tags = append(e.tags, string(t.Name))
		}
		return err
	case "Orgc":
		var org struct {
			UUID loose `json:"uuid"`
			Name loose `json:"name"`
		}
		err := decode(b, s, s.at(), "Orgc", &org)
		e.orgUUID, e.orgName = string(org.UUID), string(org.Name)
		return err
	case "EventReport":
		return s.array(func(line int) error {
			r := mispReport{line: line}
			if err := decode(b, s, line, "event report", &r); err != nil {
				return err
			}
			if !r.Gone.isTrue() {
				e.reports = append(e.reports, r)
			}
			return nil
		})
	case "ShadowAttribute", "RelatedEvent", "Galaxy", "CryptographicKey", "Sighting", "SharingGroup":
		return e.leaveOut(s, name)
	}
	return s.skip()
}

// leaveOut counts what is not carried.
func (e *mispEvent) leaveOut(s *scanner, name string) error {
	var raw json.RawMessage
	if err := s.value(&raw); err != nil {
		return err
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = list[:0]
	}
	if n := len(list); n > 0 {
		e.skipped[name] += n
	} else if len(raw) > 0 && raw[0] == '{' && len(raw) > 2 {
		e.skipped[name]++
	}
	return nil
}

func (e *mispEvent) attribute(b *builder, s *scanner, line int, object string) error {
	a := mispAttribute{line: line, object: object}
	ok, err := decodeOK(b, s, line, "attribute", &a)
	if err == nil && ok {
		e.attributes = append(e.attributes, a)
	}
	return err
}

// object reads a MISP object; its attributes become the event's, with the object's name.
func (e *mispEvent) object(b *builder, s *scanner) error {
	from, name, gone := len(e.attributes), loose(""), loose("")
	err := s.object(func(property string) error {
		switch property {
		case "name":
			return decode(b, s, s.at(), "object name", &name)
		case "deleted":
			return decode(b, s, s.at(), "property deleted", &gone)
		case "Attribute":
			return s.array(func(line int) error { return e.attribute(b, s, line, "") })
		case "ObjectReference":
			return e.leaveOut(s, property)
		}
		return s.skip()
	})
	for i := from; i < len(e.attributes); i++ {
		e.attributes[i].object = string(name)
		if gone.isTrue() {
			e.attributes[i].Gone = gone
		}
	}
	return err
}

// decode reads the next value into v. A value of the wrong form is a problem; the error is
// for broken JSON.
func decode(b *builder, s *scanner, line int, what string, v any) error {
	_, err := decodeOK(b, s, line, what, v)
	return err
}

func decodeOK(b *builder, s *scanner, line int, what string, v any) (ok bool, err error) {
	var raw json.RawMessage
	if err := s.value(&raw); err != nil {
		return false, err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		b.problem(line, "reading %s: %v", what, err)
		return false, nil
	}
	return true, nil
}
