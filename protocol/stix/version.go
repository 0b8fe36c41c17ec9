package stix

import "bytes"

// NewVersion returns nil if an object may follow another as its next version (STIX 3.6): it has the
// same type, id, created and created_by_ref, was modified later, and the other is not revoked, for
// that ends an object. The same content again is no version, and is let through.
//
// Who may make versions it does not judge: only the creator may, who is known by the signature of a
// record, and not by created_by_ref, which anybody can write. Observables have no versions, and two
// of one id may say different things. Errors are of the class ErrMalformed.
func NewVersion(old, next *Object) error {
	if old.ID != next.ID {
		return malformed("%s is not a version of %s; versions have one id", next.ID, old.ID)
	}
	if !HasVersions(old.Type) || same(old, next) {
		return nil
	}
	if old.Type == "marking-definition" {
		return malformed("a marking definition is never changed; make another one, under a new id")
	}
	if !old.Created.Equal(next.Created) {
		return malformed("created was %s, and is never changed; make another object, under a new id", old.Text("created"))
	}
	if was := old.Text("created_by_ref"); was != next.Text("created_by_ref") {
		if was == "" {
			was = "not there"
		}
		return malformed("created_by_ref was %s, and is never changed; make another object, under a new id", was)
	}
	switch {
	case old.Modified.Equal(next.Modified):
		return malformed("there is another version of it, modified at the same time; give modified the time of the change")
	case next.Modified.Before(old.Modified):
		return malformed("there is a later version of it, modified %s; give modified the time of the change", old.Text("modified"))
	case old.Revoked:
		return malformed("it was revoked with the version of %s, which ends it; make another object, under a new id", old.Text("modified"))
	}
	return nil
}

// HasVersions reports whether objects of a type have versions: all but observables (STIX 3.6).
func HasVersions(typ string) bool { return !observableTypes[typ] }

// same reports whether two objects say the same, however they are written.
func same(a, b *Object) bool {
	if bytes.Equal(a.Raw, b.Raw) {
		return true
	}
	x, err := Canonicalize(a.Raw)
	if err != nil {
		return false
	}
	y, err := Canonicalize(b.Raw)
	return err == nil && bytes.Equal(x, y)
}
