package node

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// View is a saved search: which records a collection, an output or a stream is made of. All conditions
// that are set must hold. It gives nobody a right: what somebody may not see is not in any view.
type View struct {
	_             struct{}         `cbor:",toarray"`
	Name          string           `json:"name"`
	Title         string           `json:"title,omitempty"`
	Topics        []string         `json:"topics,omitempty"`      // in one of them; none: in any
	Types         []string         `json:"types,omitempty"`       // STIX types
	Kinds         []stix.Kind      `json:"kinds,omitempty"`       // has an observable of one of them
	Originators   []protocol.OrgID `json:"originators,omitempty"` // made by one of them
	Countries     []string         `json:"countries,omitempty"`   // concerns one of them
	Labels        []string         `json:"labels,omitempty"`      // has one of them
	MaxTLP        protocol.TLP     `json:"max_tlp,omitempty"`     // nothing above it; unset: no ceiling
	MinConfidence uint8            `json:"min_confidence,omitempty"`
	Owner         string           `json:"owner,omitempty"` // one of the people, who set it last; "": nobody, and not written: release 0.1 knew none
}

type (
	view02 View
	view01 struct {
		_             struct{} `cbor:",toarray"`
		Name          string
		Title         string
		Topics        []string
		Types         []string
		Kinds         []stix.Kind
		Originators   []protocol.OrgID
		Countries     []string
		Labels        []string
		MaxTLP        protocol.TLP
		MinConfidence uint8
	}
)

// MarshalCBOR implements cbor.Marshaler.
func (v View) MarshalCBOR() ([]byte, error) {
	if v.Owner == "" {
		return protocol.Encode(&view01{Name: v.Name, Title: v.Title, Topics: v.Topics, Types: v.Types, Kinds: v.Kinds, Originators: v.Originators, Countries: v.Countries, Labels: v.Labels,
			MaxTLP: v.MaxTLP, MinConfidence: v.MinConfidence}), nil
	}
	return protocol.Encode((*view02)(&v)), nil
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (v *View) UnmarshalCBOR(b []byte) error {
	var old view01
	if protocol.DecodeOwn(b, &old) == nil {
		*v = View{Name: old.Name, Title: old.Title, Topics: old.Topics, Types: old.Types, Kinds: old.Kinds, Originators: old.Originators, Countries: old.Countries, Labels: old.Labels,
			MaxTLP: old.MaxTLP, MinConfidence: old.MinConfidence}
		return nil
	}
	return protocol.DecodeOwn(b, (*view02)(v))
}

// Bounds of views.
const (
	maxViews    = 1000
	maxViewList = 256
)

var viewName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// TopicView is the view of one topic. It has no name, and is not kept.
func TopicView(topic string) *View { return &View{Topics: []string{topic}} }

// Validate returns an ErrMalformed that says what is wrong with a view.
func (v *View) Validate() error {
	if !viewName.MatchString(v.Name) {
		return protocol.Errorf(protocol.ErrMalformed, "%q is no name for a view; use at most 64 of a-z, 0-9 and '-'", v.Name)
	}
	if len(v.Title) > protocol.MaxTextSize || v.MaxTLP > protocol.TLPRed || v.MinConfidence > 100 {
		return protocol.Errorf(protocol.ErrMalformed, "view %s: the title is too long, the TLP unknown, or the confidence above 100", v.Name)
	}
	if v.Owner != "" && !protocol.IsPersonName(v.Owner) {
		return protocol.Errorf(protocol.ErrMalformed, "view %s: its owner is named as no person can be", v.Name)
	}
	for _, n := range []int{len(v.Topics), len(v.Types), len(v.Kinds), len(v.Originators), len(v.Countries), len(v.Labels)} {
		if n > maxViewList {
			return protocol.Errorf(protocol.ErrOversize, "view %s names %d of a sort, at most %d are allowed", v.Name, n, maxViewList)
		}
	}
	for _, k := range v.Kinds {
		if !slices.Contains(stix.Kinds(), k) {
			return protocol.Errorf(protocol.ErrMalformed, "view %s: %q is no kind of observable; use one of %v", v.Name, k, stix.Kinds())
		}
	}
	for _, c := range v.Countries {
		if !protocol.IsCountry(c) {
			return protocol.Errorf(protocol.ErrMalformed, "view %s: %q is not a country code; use ISO 3166-1 alpha-2, as TH", v.Name, c)
		}
	}
	for _, text := range slices.Concat(v.Topics, v.Types, v.Labels) {
		if text == "" || len(text) > protocol.MaxTextSize {
			return protocol.Errorf(protocol.ErrMalformed, "view %s names something that is empty or too long", v.Name)
		}
	}
	return nil
}

// Holds reports whether a record is in the view. A nil view holds everything.
func (v *View) Holds(rec *Record) bool { return v.holds(rec, false) }

// holds reports whether a record is, or, if its object is gone, may have been in the view.
func (v *View) holds(rec *Record, gone bool) bool {
	switch {
	case v == nil:
		return true
	case len(v.Topics) > 0 && !slices.Contains(v.Topics, rec.Topic),
		len(v.Types) > 0 && !slices.Contains(v.Types, rec.Type),
		len(v.Originators) > 0 && !slices.Contains(v.Originators, rec.Originator.ID),
		v.MaxTLP != protocol.TLPUnset && rec.handling.TLP > v.MaxTLP,
		len(v.Countries) > 0 && !slices.ContainsFunc(v.Countries, func(c string) bool { return slices.Contains(rec.handling.Countries, c) }):
		return false
	case gone || len(v.Kinds) == 0 && len(v.Labels) == 0 && v.MinConfidence == 0:
		return true
	}
	o, err := stix.Parse(rec.Object)
	if err != nil {
		return false
	}
	if len(v.Labels) > 0 && !slices.ContainsFunc(o.Texts("labels"), func(l string) bool { return slices.Contains(v.Labels, l) }) {
		return false
	}
	if len(v.Kinds) > 0 && !slices.ContainsFunc(stix.Observables(o), func(ob stix.Observable) bool { return slices.Contains(v.Kinds, ob.Kind) }) {
		return false
	}
	return o.Confidence() >= v.MinConfidence
}

// Views lists the saved views, by name.
func (n *Node) Views() ([]View, error) {
	list := []View{}
	err := n.st.View(func(tx *store.Tx) error {
		list = list[:0]
		return scanDocs(tx, kindView, func(_ []byte, v *View) error { list = append(list, *v); return nil })
	})
	return list, err
}

// View returns a saved view; ErrNotFound if there is none of that name.
func (n *Node) View(name string) (*View, error) {
	v := new(View)
	err := n.st.View(func(tx *store.Tx) error {
		ok, err := getDoc(tx, kindView, []byte(name), v)
		if err == nil && !ok {
			err = fmt.Errorf("view %q: %w; 'entente view list' names those that there are", name, ErrNotFound)
		}
		return err
	})
	return v, err
}

// SetView keeps a view, in the place of one of the same name. It is of whoever is acting.
func (n *Node) SetView(v *View) error {
	v.Owner = n.ownerOf(n.acting())
	if err := v.Validate(); err != nil {
		return err
	}
	return n.st.Update(func(tx *store.Tx) error {
		held, err := tx.Get([]byte(kindView + v.Name))
		if err != nil || bytes.Equal(held, protocol.Encode(v)) {
			return err
		}
		if held == nil {
			count := 0
			if err := scanDocs(tx, kindView, func([]byte, *View) error { count++; return nil }); err != nil {
				return err
			}
			if count >= maxViews {
				return protocol.Errorf(protocol.ErrOversize, "there are %d views; remove one first", count)
			}
		}
		return errors.Join(putDoc(tx, kindView, []byte(v.Name), v), n.auditAccess(tx, "set view", v.Name))
	})
}

// RemoveView forgets a view. What was made of it is not there any more.
func (n *Node) RemoveView(name string) error {
	if _, err := n.View(name); err != nil {
		return err
	}
	return n.st.Update(func(tx *store.Tx) error {
		return errors.Join(tx.Delete([]byte(kindView+name)), n.auditAccess(tx, "remove view", name))
	})
}

func checkView(id, value []byte) error {
	v := new(View)
	if err := protocol.Decode(value, maxDocument, v); err != nil {
		return err
	}
	if string(id) != v.Name {
		return protocol.Errorf(protocol.ErrWrongContext, "a view is another one than it is kept as")
	}
	return v.Validate()
}

// auditAccess notes that somebody set who may come in from outside, or what goes out or comes in by
// itself, in the transaction that does it. It is whoever Acting says.
func (n *Node) auditAccess(tx *store.Tx, act, what string) error {
	d := n.details(act, n.actingNow())
	d.Text = audit.Clip(what, audit.MaxText)
	_, err := n.account.Append(tx, audit.Access, d)
	return err
}
