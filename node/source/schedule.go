package source

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// minEvery is the shortest interval.
const minEvery = 10 * time.Second

// maxEvery is the longest one.
const maxEvery = 31 * 24 * time.Hour

// Schedule says when a source is due. The cron form is that of crontab(5): five fields, in UTC.
type Schedule struct {
	every  time.Duration
	manual bool
	// The fields, as sets of bits. Where both days are restricted, one of them suffices, as in crontab.
	minute, hour, dom, month, dow uint64
	anyDom, anyDow                bool
}

var (
	months = strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")
	days   = strings.Fields("sun mon tue wed thu fri sat")
)

// ParseSchedule reads "every 5m" (or "5m"), five fields of cron, or "manual".
func ParseSchedule(text string) (s Schedule, err error) {
	fields := strings.Fields(strings.ToLower(text))
	switch {
	case len(fields) == 1 && fields[0] == "manual":
		return Schedule{manual: true}, nil
	case len(fields) == 2 && fields[0] == "every":
		fields = fields[1:]
		fallthrough
	case len(fields) == 1:
		d, err := time.ParseDuration(fields[0])
		if err != nil || d < minEvery || d > maxEvery {
			return s, bad("%q is no interval; write every 5m, %s to %s, five fields of cron, or manual", text, minEvery, maxEvery)
		}
		return Schedule{every: d}, nil
	case len(fields) != 5:
		return s, bad("%q is no schedule; write every 5m, five fields of cron (minute, hour, day, month, weekday, in UTC), or manual", text)
	}
	for i, f := range []struct {
		set      *uint64
		min, max int
		names    []string
	}{{&s.minute, 0, 59, nil}, {&s.hour, 0, 23, nil}, {&s.dom, 1, 31, nil}, {&s.month, 1, 12, months}, {&s.dow, 0, 7, days}} {
		if *f.set, err = parseField(fields[i], f.min, f.max, f.names); err != nil {
			return s, err
		}
	}
	s.dow = s.dow&^(1<<7) | s.dow>>7 // 7 is Sunday, too
	s.anyDom, s.anyDow = strings.HasPrefix(fields[2], "*"), strings.HasPrefix(fields[4], "*")
	if _, ok := s.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)); !ok {
		return s, bad("%q never comes: there is no such day", text)
	}
	return s, nil
}

func bad(format string, args ...any) error {
	return protocol.Errorf(protocol.ErrMalformed, format, args...)
}

func parseField(text string, low, high int, names []string) (set uint64, err error) {
	number := func(s string) (int, error) {
		if i := slices.Index(names, s); i >= 0 {
			return i + min(low, 1), nil
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high || len(s) > 2 {
			return 0, bad("%q in a schedule is not %d to %d", s, low, high)
		}
		return n, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > high {
				return 0, bad("%q in a schedule is no step", part)
			}
		}
		from, to := low, high
		if span != "*" {
			a, b, isRange := strings.Cut(span, "-")
			if from, err = number(a); err != nil {
				return 0, err
			}
			switch {
			case isRange:
				if to, err = number(b); err != nil {
					return 0, err
				}
			case !stepped:
				to = from
			}
		}
		if from > to {
			return 0, bad("%q in a schedule ends before it begins", part)
		}
		for i := from; i <= to; i += step {
			set |= 1 << i
		}
	}
	return set, nil
}

// Next returns the first time after another at which the source is due; false: never by itself.
func (s Schedule) Next(after time.Time) (time.Time, bool) {
	switch {
	case s.manual:
		return time.Time{}, false
	case s.every > 0:
		return after.Add(s.every), true
	}
	t := after.UTC().Truncate(time.Minute).Add(time.Minute)
	// 29 February is at most eight years away.
	for end := t.AddDate(9, 0, 0); t.Before(end); {
		switch {
		case s.month>>uint(t.Month())&1 == 0:
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !s.day(t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case s.hour>>uint(t.Hour())&1 == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		default:
			if left := s.minute >> uint(t.Minute()); left != 0 {
				return t.Add(time.Duration(bits.TrailingZeros64(left)) * time.Minute), true
			}
			t = t.Truncate(time.Hour).Add(time.Hour)
		}
	}
	return time.Time{}, false
}

func (s Schedule) day(t time.Time) bool {
	dom, dow := s.dom>>uint(t.Day())&1 != 0, s.dow>>uint(t.Weekday())&1 != 0
	switch {
	case s.anyDom || s.anyDow:
		return dom && dow
	}
	return dom || dow
}

// Backoff bounds how long a source that fails is left alone.
const (
	firstBackoff = time.Minute
	maxBackoff   = 6 * time.Hour
)

// backoff is how long to wait after so many failures one after the other.
func backoff(failures uint32) time.Duration {
	return min(firstBackoff<<min(failures-min(failures, 1), 16), maxBackoff)
}
