package stix

import (
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

func TestPersonal(t *testing.T) {
	head := func(typ string) string {
		return `{"type":"` + typ + `","spec_version":"2.1","id":"` + typ + `--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","created":"2026-01-31T12:00:00.000Z","modified":"2026-01-31T12:00:00.000Z",`
	}
	indicator := func(pattern string) string {
		return head("indicator") + `"valid_from":"2026-01-31T12:00:00.000Z","pattern_type":"stix","pattern":"` + pattern + `"}`
	}
	for name, tc := range map[string]struct {
		object string
		level  protocol.PersonalData
		what   string
	}{
		"an address to look for":      {indicator("[ipv4-addr:value = '192.0.2.1']"), protocol.PersonalNone, ""},
		"an e-mail address":           {indicator("[email-addr:value = 'a@example.org']"), protocol.PersonalAll, "an e-mail address in its pattern"},
		"a sender":                    {indicator("[email-message:from_ref.value = 'a@example.org']"), protocol.PersonalAll, "an e-mail message in its pattern"},
		"an account":                  {indicator("[user-account:account_login = 'ann']"), protocol.PersonalAll, "a user account in its pattern"},
		"an account, escaped":         {indicator(`[\u0075ser-account:account_login = 'ann']`), protocol.PersonalAll, "a user account in its pattern"},
		"an address as an object":     {`{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","value":"192.0.2.1"}`, protocol.PersonalNetwork, "a network address as an observation"},
		"a mailbox":                   {`{"type":"email-addr","spec_version":"2.1","id":"email-addr--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","value":"a@example.org"}`, protocol.PersonalAll, "an e-mail address"},
		"an organisation":             {head("identity") + `"name":"Example","identity_class":"organization"}`, protocol.PersonalNone, ""},
		"an organisation's telephone": {head("identity") + `"name":"Example","identity_class":"organization","contact_information":"+49 30 1"}`, protocol.PersonalAll, "contact information"},
		"a person":                    {head("identity") + `"name":"Ann Example","identity_class":"individual"}`, protocol.PersonalAll, "the name of a person"},
		"what was observed": {head("observed-data") + `"first_observed":"2026-01-31T12:00:00.000Z","last_observed":"2026-01-31T12:00:00.000Z","number_observed":1,` +
			`"object_refs":["ipv4-addr--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11"]}`, protocol.PersonalNetwork, "observed data"},
		"malware": {head("malware") + `"name":"x","is_family":false}`, protocol.PersonalNone, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := Parse([]byte(tc.object))
			if err != nil {
				t.Fatal(err)
			}
			level, what := Personal(o, Observables(o))
			if level != tc.level || what != tc.what {
				t.Errorf("%s: %q, want %s: %q", level, what, tc.level, tc.what)
			}
		})
	}
}
