package corpus

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

const identityObject = `{"type":"identity","spec_version":"2.1","id":"identity--311b2d2d-f010-4473-83ec-1edf84858f4c","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","name":%s,"identity_class":"individual","description":%s}`

func identityOf(t testing.TB, name, description string) []byte {
	t.Helper()
	a, err := json.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(description)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, identityObject, a, b)
}

func TestMatcher(t *testing.T) {
	indicator := func(pattern string) []byte {
		b, _ := json.Marshal(pattern)
		return fmt.Appendf(nil, `{"type":"indicator","spec_version":"2.1","id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z","pattern":%s}`, b)
	}
	person := identityOf(t, "Mu\u0308ller,  Anna", "reported by ANNABEL; see a.mueller@example.org")
	for _, c := range []struct {
		name, value string
		object      []byte
		want        Mention
	}{
		{"address", "198.51.100.7", indicator("[ipv4-addr:value = '198.51.100.7']"), Exactly},
		{"address, defanged", "198[.]51[.]100[.]7", indicator("[ipv4-addr:value = '198.51.100.7']"), Exactly},
		{"address in a URL", "198.51.100.7", indicator("[url:value = 'http://198.51.100.7/x']"), Exactly},
		{"address in a network", "198.51.100.7", indicator("[ipv4-addr:value = '198.51.100.0/24']"), Exactly},
		{"address out of a network", "198.51.101.7", indicator("[ipv4-addr:value = '198.51.100.0/24']"), NotMentioned},
		{"another address", "198.51.100.77", indicator("[ipv4-addr:value = '198.51.100.7']"), NotMentioned},
		{"STIX id", "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", indicator("[domain-name:value = 'example.org']"), Exactly},
		{"e-mail address in a text", "A.Mueller@Example.org", person, InText},
		{"name in another form and case", "MÜLLER, anna", person, InText},
		{"word", "anna", person, InText},
		{"part of a word", "anna", identityOf(t, "Annabel", "Hannah"), NotMentioned},
		{"name of a property", "description", person, NotMentioned},
		{"value of a property", "individual", person, InText},
		{"with escapes", "a\"b", identityOf(t, `x a"b y`, ""), InText},
		{"after a part of a word", "anna", identityOf(t, "annab anna", ""), InText},
		{"only signs", "--", person, NotMentioned},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := NewMatcher(c.value).Match(c.object)
			if err != nil || got != c.want {
				t.Errorf("%d, %v; want %d", got, err, c.want)
			}
		})
	}
	if _, err := NewMatcher("x").Match([]byte(`{"type":`)); err == nil {
		t.Error("what is no object matches")
	}
}

// TestMatcherHint: what is looked at first leaves nothing out that the whole comparison finds.
func TestMatcherHint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zA-Z0-9@. äÄßk\x{212a}"]{1,6}`)
		value, text := word.Draw(t, "value"), rapid.SliceOfN(word, 0, 4).Draw(t, "text")
		var all string
		for _, s := range text {
			all += s + " "
		}
		name, err := json.Marshal(all + value)
		if err != nil {
			t.Fatal(err)
		}
		object := fmt.Appendf(nil, identityObject, name, `""`)
		m := NewMatcher(value)
		if m.words == "" {
			return
		}
		got, err := m.MatchText(object)
		if err != nil {
			t.Fatal(err)
		}
		if want := m.says(all + value); want != (got == InText) {
			t.Errorf("%q in %q: %d, and the text itself: %v", value, all+value, got, want)
		}
		if got != InText {
			t.Errorf("%q is not found at the end of %q", value, all+value)
		}
	})
}
