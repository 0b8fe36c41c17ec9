package stix

import (
	"bytes"

	"github.com/entente-mesh/entente/protocol"
)

// Personal looks for personal data in an object: how much of it there is, and what, in words; ""
// if nothing was found, which does not say that there is none. observables are those of the object.
//
// An address that an indicator looks for is taken for that of a machine; one that was observed, or
// stands as an object of its own, for that of somebody's, perhaps a victim's.
func Personal(o *Object, observables []Observable) (level protocol.PersonalData, what string) {
	level = protocol.PersonalNone
	find := func(l protocol.PersonalData, w string) {
		if l > level {
			level, what = l, w
		}
	}
	switch o.Type {
	case "email-addr":
		find(protocol.PersonalAll, "an e-mail address")
	case "email-message":
		find(protocol.PersonalAll, "an e-mail message")
	case "user-account":
		find(protocol.PersonalAll, "a user account")
	case "identity":
		if class, _ := content(o.property("identity_class")); string(class) == "individual" {
			find(protocol.PersonalAll, "the name of a person")
		}
		if contact, _ := content(o.property("contact_information")); len(contact) > 0 {
			find(protocol.PersonalAll, "contact information")
		}
	case "ipv4-addr", "ipv6-addr", "mac-addr":
		find(protocol.PersonalNetwork, "a network address as an observation")
	case "observed-data":
		if o.property("objects") != nil || o.property("object_refs") != nil {
			find(protocol.PersonalNetwork, "observed data")
		}
	case "indicator":
		pattern, _ := content(o.property("pattern"))
		for _, p := range []struct{ path, what string }{{"user-account:", "a user account in its pattern"}, {"email-message:", "an e-mail message in its pattern"}, {"email-addr:", "an e-mail address in its pattern"}} {
			if bytes.Contains(pattern, []byte(p.path)) {
				find(protocol.PersonalAll, p.what)
			}
		}
	}
	if level < protocol.PersonalAll {
		for i := range observables {
			if observables[i].Kind == Email {
				find(protocol.PersonalAll, "an e-mail address")
			}
		}
	}
	return level, what
}
