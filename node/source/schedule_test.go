package source

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func TestSchedules(t *testing.T) {
	at := time.Date(2026, 2, 27, 10, 30, 30, 0, time.UTC) // a Friday
	for _, tt := range []struct{ text, next string }{
		{"every 5m", "2026-02-27 10:35:30"},
		{"90s", "2026-02-27 10:32:00"},
		{"* * * * *", "2026-02-27 10:31:00"},
		{"30 10 * * *", "2026-02-28 10:30:00"},
		{"*/20 * * * *", "2026-02-27 10:40:00"},
		{"5/20 * * * *", "2026-02-27 10:45:00"},
		{"0 6-8,20 * * *", "2026-02-27 20:00:00"},
		{"0 0 * * mon", "2026-03-02 00:00:00"},
		{"0 0 * * 7", "2026-03-01 00:00:00"},
		{"0 0 29 2 *", "2028-02-29 00:00:00"},
		{"0 0 13 * fri", "2026-03-06 00:00:00"}, // either day
		{"0 0 13 jan-mar *", "2026-03-13 00:00:00"},
		{"59 23 31 dec *", "2026-12-31 23:59:00"},
	} {
		s, err := ParseSchedule(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if next, ok := s.Next(at); !ok || next.Format(time.DateTime) != tt.next {
			t.Errorf("%q after %s is %s %v, want %s", tt.text, at, next, ok, tt.next)
		}
	}
	s, err := ParseSchedule("manual")
	if next, ok := s.Next(at); err != nil || ok {
		t.Errorf("manual is due at %s, %v", next, err)
	}
	for _, text := range []string{"", "every", "every 1s", "every 1000h", "5", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
		"*/0 * * * *", "5-1 * * * *", "a * * * *", "* * 30 2 *", "1,,2 * * * *", "-1 * * * *", "+1 * * * *1"} {
		if _, err := ParseSchedule(text); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%q: %v, want malformed", text, err)
		}
	}
}

// TestCronIsTheFirstMinuteThatMatches compares with going through all minutes.
func TestCronIsTheFirstMinuteThatMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := func(name string, low, high int) (string, func(int) bool) {
			switch rapid.IntRange(0, 3).Draw(t, name) {
			case 0:
				return "*", func(int) bool { return true }
			case 1:
				step := rapid.IntRange(1, high).Draw(t, name+" step")
				return fmt.Sprintf("*/%d", step), func(v int) bool { return (v-low)%step == 0 }
			case 2:
				a := rapid.IntRange(low, high).Draw(t, name+" from")
				b := rapid.IntRange(a, high).Draw(t, name+" to")
				return fmt.Sprintf("%d-%d", a, b), func(v int) bool { return a <= v && v <= b }
			}
			a := rapid.IntRange(low, high).Draw(t, name+" value")
			return fmt.Sprint(a), func(v int) bool { return v == a }
		}
		m, inM := field("minute", 0, 59)
		h, inH := field("hour", 0, 23)
		d, inD := field("day", 1, 28)
		w, inW := field("weekday", 0, 6)
		text := strings.Join([]string{m, h, d, "*", w}, " ")
		s, err := ParseSchedule(text)
		if err != nil {
			t.Fatal(text, err)
		}
		after := time.Unix(rapid.Int64Range(1.7e9, 1.9e9).Draw(t, "after"), 0).UTC()
		got, ok := s.Next(after)
		if !ok {
			t.Fatalf("%q never comes", text)
		}
		either := !strings.HasPrefix(d, "*") && !strings.HasPrefix(w, "*")
		for at := after.Truncate(time.Minute).Add(time.Minute); ; at = at.Add(time.Minute) {
			day := inD(at.Day()) && inW(int(at.Weekday()))
			if either {
				day = inD(at.Day()) || inW(int(at.Weekday()))
			}
			if inM(at.Minute()) && inH(at.Hour()) && day {
				if !at.Equal(got) {
					t.Fatalf("%q after %s: %s, want %s", text, after, got, at)
				}
				return
			}
			if at.After(got) {
				t.Fatalf("%q after %s: %s, which does not match", text, after, got)
			}
		}
	})
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	last := time.Duration(0)
	for n := uint32(1); n < 100; n++ {
		d := backoff(n)
		if d < last || d > maxBackoff || n == 1 && d != firstBackoff {
			t.Fatalf("after %d failures: %s, after %s", n, d, last)
		}
		last = d
	}
	if last != maxBackoff {
		t.Errorf("it ends at %s", last)
	}
}
