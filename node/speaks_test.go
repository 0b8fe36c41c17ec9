package node

import (
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/store"
)

// formatFaults says what is wrong with a table of formats: a version that travels is read by the two releases
// before the one that writes it, and what either of them wrote is still read.
func formatFaults(list []struct {
	release string
	formats []formatRow
}) (out []string) {
	find := func(rows []formatRow, name string) *formatRow {
		for i := range rows {
			if rows[i].name == name {
				return &rows[i]
			}
		}
		return nil
	}
	now := list[0]
	for _, before := range list[1:min(3, len(list))] {
		for _, was := range before.formats {
			is := find(now.formats, was.name)
			switch {
			case is == nil:
				out = append(out, now.release+" does not know "+was.name)
			case is.reads > was.writes:
				out = append(out, now.release+" does not read "+was.name+" as "+before.release+" wrote it")
			case was.travels && is.writes > was.readsUpTo:
				out = append(out, now.release+" writes "+was.name+", which "+before.release+" does not read")
			}
		}
	}
	return out
}

func TestFormats(t *testing.T) {
	for _, f := range formatFaults(formatsOf) {
		t.Error(f)
	}
	row := func(release string, writes, reads, upTo uint8) struct {
		release string
		formats []formatRow
	} {
		return struct {
			release string
			formats []formatRow
		}{release, []formatRow{{"x", writes, reads, upTo, true}}}
	}
	for _, bad := range []struct {
		want string
		list []struct {
			release string
			formats []formatRow
		}
	}{
		{"3 writes x, which 1 does not read", append(append(formatsOf[:0:0], row("3", 2, 1, 2), row("2", 1, 1, 2)), row("1", 1, 1, 1))},
		{"3 does not read x as 2 wrote it", append(formatsOf[:0:0], row("3", 2, 2, 2), row("2", 1, 1, 2))},
		{"3 does not know x", append(formatsOf[:0:0], struct {
			release string
			formats []formatRow
		}{release: "3"}, row("2", 1, 1, 2))},
	} {
		if got := formatFaults(bad.list); !slices.Contains(got, bad.want) {
			t.Errorf("%v, want %q", got, bad.want)
		}
	}
}

// TestMigrationsLead: from the format of every release that is read a row of migrations leads to the present one.
func TestMigrationsLead(t *testing.T) {
	for from := formatsOf[0].formats[2].reads; from < store.Format; from++ {
		if !slices.ContainsFunc(migrations, func(m store.Migration) bool { return m.From == from && m.Name != "" }) {
			t.Errorf("nothing migrates format %d", from)
		}
	}
	if formatsOf[0].formats[2].name != "store" {
		t.Error("the table of formats has the store in another place")
	}
	if !slices.IsSorted(capabilities) || !slices.ContainsFunc(Speaks(), func(s string) bool { return strings.HasPrefix(s, "store 4 (reads 3") }) {
		t.Errorf("this program says that it speaks %v", Speaks())
	}
}
