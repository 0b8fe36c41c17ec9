package node

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRestoreDoubtsWhatGivesAndTakes: consumers, sinks and sources that come from a backup may have been removed
// since: they stand still until somebody says that they still stand, and status says so.
func TestRestoreDoubtsWhatGivesAndTakes(t *testing.T) {
	t.Parallel()
	n := testNetwork(t, "Author", "Reader")[0]
	ctx := t.Context()
	token, err := n.AddConsumer(Consumer{Name: "siem", Scopes: []Scope{ScopeRead}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.SetSink(ctx, testSink("hook"), 0, false); err != nil {
		t.Fatal(err)
	}
	addSource(t, n, testSource("on"))
	off := testSource("off")
	off.Paused = true
	addSource(t, n, off)
	key := newOffline(t)
	back, _ := restoreInto(t, filepath.Join(t.TempDir(), "r"), backupOf(t, n, key), key)
	if _, err := back.ConsumerOf("siem", token); !errors.Is(err, ErrUnauthorised) || !strings.Contains(err.Error(), "entente consumer confirm siem") {
		t.Errorf("the token opens, or says %v", err)
	}
	if s, err := back.Sink("hook"); err != nil || s.Stopped.IsZero() {
		t.Errorf("the sink delivers: %+v, %v", s, err)
	}
	if s, err := back.Source("on"); err != nil || !s.Paused || !s.Unconfirmed {
		t.Errorf("the source publishes: %+v, %v", s, err)
	}
	problems := func() (out []string) {
		st, err := back.Status()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.Problems {
			if strings.Contains(p.Text, "came from a backup") {
				out = append(out, p.Text+": "+p.Do)
			}
		}
		return out
	}
	got := strings.Join(problems(), "\n")
	for _, want := range []string{"entente consumer confirm", "entente sink replay hook --from 0", "entente source resume on'"} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing says %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "resume off") {
		t.Errorf("a source that was paused before is to be resumed:\n%s", got)
	}
	if err := errors.Join(back.ConfirmConsumer("siem"), back.ReplaySink(ctx, "hook", 0), back.PauseSource(ctx, "on", false)); err != nil {
		t.Fatal(err)
	}
	if err := back.ConfirmConsumer("other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("confirmed one that is not there: %v", err)
	}
	if c, err := back.ConsumerOf("siem", token); err != nil || c.Unconfirmed {
		t.Errorf("confirmed: %+v, %v", c, err)
	}
	if s, err := back.Sink("hook"); err != nil || !s.Stopped.IsZero() {
		t.Errorf("replayed: %+v, %v", s, err)
	}
	if s, err := back.Source("on"); err != nil || s.Paused || s.Unconfirmed {
		t.Errorf("resumed: %+v, %v", s, err)
	}
	if s, err := back.Source("off"); err != nil || !s.Paused {
		t.Errorf("paused before: %+v, %v", s, err)
	}
	if got := problems(); len(got) > 0 {
		t.Errorf("still %v", got)
	}
}
