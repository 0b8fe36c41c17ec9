package intake

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func read(t testing.TB, data string, opts Options) *Result {
	t.Helper()
	res, err := Read("f", strings.NewReader(data), opts)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestReadList(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		values     string // of the items
		problems   string
		duplicates int
	}{
		{"plain", "192.0.2.1\nbad.example\n", "192.0.2.1 bad.example", "", 0},
		{"comments and blanks", "# list\n\n  \n192.0.2.1 # seen\n", "192.0.2.1", "", 0},
		{"CRLF", "192.0.2.1\r\nbad.example\r\n", "192.0.2.1 bad.example", "", 0},
		{"no line feed at the end", "192.0.2.1", "192.0.2.1", "", 0},
		{"byte order mark", "\xef\xbb\xbf192.0.2.1\n", "192.0.2.1", "", 0},
		{"trailing blanks", " 192.0.2.1 \t\n", "192.0.2.1", "", 0},
		{"columns", "192.0.2.1\t3\n192.0.2.2,x\n", "192.0.2.1 192.0.2.2", "", 0},
		{"defanged", "hxxp://bad[.]example/x\n", "http://bad.example/x", "", 0},
		{"duplicate", "bad.example\nBAD[.]example\n", "bad.example", "", 1},
		{"starts like JSON", "[2001:db8::1]:80\n", "[2001:db8::1]:80", "", 0},
		{"path", "bad.example\n/foo/bar.php\n", "bad.example", `f:2: "/foo/bar.php" is a path without a host; not an observable by itself`, 0},
		{"port", "192.0.2.1:0\n", "", `f:1: "192.0.2.1:0": a port must be 1 to 65535`, 0},
		{"scrap", "\n???\x1b[31m\n", "", `f:2: "????[31m" is no address, domain, URL, e-mail address or hash`, 0},
		{"long line", "192.0.2.1\n" + strings.Repeat("x", 1<<17) + "\n192.0.2.2\n", "192.0.2.1 192.0.2.2", "f:2: line is longer than 64 KiB", 0},
		{"empty", "", "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := read(t, tt.data, Options{})
			if res.Format != List {
				t.Errorf("format %s", res.Format)
			}
			var values []string
			for _, item := range res.Items {
				values = append(values, item.Value)
				if item.Handling.TLP != protocol.TLPUnset || item.Object.Line != item.Line {
					t.Errorf("item %+v", item)
				}
			}
			var problems []string
			for _, p := range res.Problems {
				problems = append(problems, p.String())
			}
			if got := strings.Join(values, " "); got != tt.values {
				t.Errorf("values %q, want %q", got, tt.values)
			}
			if got := strings.Join(problems, "\n"); got != tt.problems {
				t.Errorf("problems %q, want %q", got, tt.problems)
			}
			if res.Duplicates != tt.duplicates {
				t.Errorf("%d duplicates, want %d", res.Duplicates, tt.duplicates)
			}
		})
	}
}

// The same list gives the same objects, so that publishing it twice publishes nothing new.
func TestReadListTwice(t *testing.T) {
	const data = "192.0.2.1\nbad.example:81\n"
	a, b := read(t, data, Options{}), read(t, data, Options{})
	for i := range a.Items {
		if string(a.Items[i].Object.Raw) != string(b.Items[i].Object.Raw) {
			t.Errorf("item %d differs", i)
		}
		if !a.Items[i].Object.Created.Equal(Epoch()) {
			t.Errorf("item %d created %v", i, a.Items[i].Object.Created)
		}
	}
	if len(a.Items) != 2 {
		t.Errorf("%d items", len(a.Items))
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
	}
	return len(p), nil
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		opts       Options
		want       string
	}{
		{"binary", "PK\x03\x04\x00\x00", Options{}, "not a text file"},
		{"UTF-16", "\xff\xfe1\x00", Options{}, "UTF-16"},
		{"broken JSON", `{"type":"bundle",`, Options{}, "line 1"},
		{"broken MISP", "{\"Event\":{\n\"Attribute\":[{]}}", Options{}, "line 2"},
		{"list as STIX", "192.0.2.1\n", Options{Format: STIX}, "not JSON"},
		{"unknown format", "", Options{Format: "pdf"}, "unknown format"},
	} {
		_, err := Read("f", strings.NewReader(tt.data), tt.opts)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "reading f: ") {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := Read("f", endless{}, Options{}); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("endless file: %v", err)
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("%s: %v %v", f, got, err)
		}
	}
	if got, err := ParseFormat(""); err != nil || got != Auto {
		t.Errorf("empty: %v %v", got, err)
	}
	if _, err := ParseFormat("json"); err == nil {
		t.Error("accepted a format that is none")
	}
}

func TestAssignDemo(t *testing.T) {
	countries, labels := map[string]int{}, map[protocol.TLP]int{}
	const n = 2000
	for i := range n {
		c, tlp := AssignDemo(Item{Value: fmt.Sprintf("host%d.example", i)})
		countries[c]++
		labels[tlp]++
	}
	if len(countries) != 4 || countries["TH"] < n/4 || countries["VN"] < n/5 {
		t.Errorf("countries %v", countries)
	}
	if len(labels) != 3 || labels[protocol.TLPRed]+labels[protocol.TLPClear] != 0 || labels[protocol.TLPGreen] < n/3 {
		t.Errorf("labels %v", labels)
	}
	// SHA-256("host0.example") begins with the bytes that the rule is applied to here by hand.
	o, _ := stix.Canonical("host0.example")
	a, b := AssignDemo(Item{Value: o.Value})
	if c, d := AssignDemo(Item{Value: o.Value, Object: stix.NewIndicator(o, Epoch())}); a != c || b != d {
		t.Error("the object changes the assignment of a value")
	}
}
