package intake

import (
	"reflect"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

func TestReadLabels(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		countries  []string // of 192.0.2.1
		tlp        protocol.TLP
		problems   string
	}{
		{"no header", "192.0.2.1,TH,amber\n", []string{"TH"}, protocol.TLPAmber, ""},
		{"header", "tlp,value,country\nTLP:RED,192.0.2.1,th\n", []string{"TH"}, protocol.TLPRed, ""},
		{"byte order mark", "\xef\xbb\xbfvalue,country\n192.0.2.1,TH\n", []string{"TH"}, 0, ""},
		{"several countries", "192.0.2.1,VN; TH;VN,\n", []string{"TH", "VN"}, 0, ""},
		{"country only", "192.0.2.1,TH\n", []string{"TH"}, 0, ""},
		{"label only", "192.0.2.1,,green\n", nil, protocol.TLPGreen, ""},
		{"defanged", "192[.]0.2.1,TH,\n", []string{"TH"}, 0, ""},
		{"twice", "192.0.2.1,TH,red\n192.0.2.1,VN,green\n", []string{"TH", "VN"}, protocol.TLPRed, ""},
		{"comment", "# by hand\n192.0.2.1,TH\n", []string{"TH"}, 0, ""},
		{"CRLF", "192.0.2.1,TH,green\r\n", []string{"TH"}, protocol.TLPGreen, ""},
		{"bad value", "nonsense,TH\n192.0.2.1,TH\n", []string{"TH"}, 0, "l:1: \"nonsense\" is no observable and no STIX id"},
		{"bad country", "192.0.2.2,THA\n192.0.2.1,TH\n", []string{"TH"}, 0, "l:1: country \"THA\" must be two letters (ISO 3166-1 alpha-2)"},
		{"bad label", "192.0.2.1,TH,\n192.0.2.2,TH,pink\n", []string{"TH"}, 0, "l:2: unknown TLP label \"pink\"; use one of clear, green, amber, amber+strict, red"},
		{"bad quotes", "192.0.2.1,TH\n\"192.0.2.2\"x,TH\n", []string{"TH"}, 0, "l:2: extraneous or missing \" in quoted-field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			labels, problems, err := ReadLabels("l", strings.NewReader(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, p := range problems {
				said = append(said, p.String())
			}
			if got := strings.Join(said, "\n"); got != tt.problems {
				t.Errorf("problems %q, want %q", got, tt.problems)
			}
			h := read(t, "192.0.2.1\n", Options{Labels: labels}).Items[0].Handling
			if !reflect.DeepEqual(h.Countries, tt.countries) && len(h.Countries)+len(tt.countries) > 0 || h.TLP != tt.tlp {
				t.Errorf("countries %v TLP %v, want %v %v", h.Countries, h.TLP, tt.countries, tt.tlp)
			}
		})
	}
}

func TestLabelsApply(t *testing.T) {
	labels, _, err := ReadLabels("l", strings.NewReader("192.0.2.1,TH,amber\nurl--"+uuidA+",VN,red\n"))
	if err != nil || labels.Len() != 2 {
		t.Fatal(labels, err)
	}
	for _, tt := range []struct {
		name      string
		value     string
		has, want protocol.Handling
		matched   bool
	}{
		{"fills in", "192.0.2.1", protocol.Handling{}, protocol.Handling{TLP: protocol.TLPAmber, Countries: []string{"TH"}}, true},
		{"narrows", "192.0.2.1", protocol.Handling{TLP: protocol.TLPGreen}, protocol.Handling{TLP: protocol.TLPAmber, Countries: []string{"TH"}}, true},
		{"does not widen", "192.0.2.1", protocol.Handling{TLP: protocol.TLPRed}, protocol.Handling{TLP: protocol.TLPRed, Countries: []string{"TH"}}, true},
		{"leaves stated countries", "192.0.2.1", protocol.Handling{Countries: []string{"DE"}}, protocol.Handling{TLP: protocol.TLPAmber, Countries: []string{"DE"}}, true},
		{"by id", "http://bad.example", protocol.Handling{}, protocol.Handling{TLP: protocol.TLPRed, Countries: []string{"VN"}}, true},
		{"none", "192.0.2.2", protocol.Handling{}, protocol.Handling{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			item := read(t, `{"type":"url","id":"url--`+uuidA+`","value":"http://bad.example"}`, Options{}).Items[0]
			if !tt.matched {
				item.Object.ID = "url--" + uuidB
			}
			item.Value, item.Handling = tt.value, tt.has
			if got := labels.Apply(&item); got != tt.matched {
				t.Errorf("matched %v", got)
			}
			if tt.matched {
				tt.want.Normalise()
			}
			if !reflect.DeepEqual(item.Handling, tt.want) {
				t.Errorf("handling %+v, want %+v", item.Handling, tt.want)
			}
		})
	}
}
