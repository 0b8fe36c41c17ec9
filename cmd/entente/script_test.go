package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/corpus/postgres/pgtest"
	"github.com/entente-mesh/entente/node/hosttest"
)

// TestMain is also the binary that the scripts call.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // scripts wait most of the time; a flag on the command line counts
	testscript.Main(m, map[string]func(){"entente": func() {
		if ahead, err := time.ParseDuration(os.Getenv("ENTENTE_TEST_CLOCK")); err == nil {
			node.SetClock(ahead) // this binary alone reads it
		}
		main()
	}})
}

// longScripts are half of all processes that the scripts start: ENTENTE_SCRIPTS=all runs them too, and
// ENTENTE_SCRIPTS=long them alone, as .ci/run does.
const longScripts = `^(audit|backup|behalf|bench|carry|ceremony|forked|holders|hub|identity|opstolen|parted|reach|terms|wrong-.*)$`

// racedScripts are what -short leaves, for the race detector, under which a process takes ten times as long
// to start: nodes that do something of each kind. What is short-lived has no goroutines of its own.
const racedScripts = `^(access|people|siblings|sink|source|story|taxii)$`

// scripts are the files to run.
func scripts(t *testing.T) (out []string) {
	all, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatal("no scripts", err)
	}
	which := os.Getenv("ENTENTE_SCRIPTS")
	if which != "" && which != "all" && which != "long" {
		t.Fatalf("ENTENTE_SCRIPTS is %q; it may be all or long", which)
	}
	long, raced := regexp.MustCompile(longScripts), regexp.MustCompile(racedScripts)
	for _, file := range all {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		switch {
		case testing.Short() && !raced.MatchString(name):
		case which == "" && long.MatchString(name), which == "long" && !long.MatchString(name):
		default:
			out = append(out, file)
		}
	}
	return out
}

// TestScripts runs the stories of testdata/script: what users do, with real processes.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Files:              scripts(t),
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GOGC", "400") // two thousand short processes collect garbage for a tenth of their time else
			env.Setenv("ENTENTE_PASSPHRASE_FILE", "")
			env.Setenv("SOON", time.Now().AddDate(0, 0, 100).Format(time.DateOnly)) // a day to come
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"until":         until,
			"capture":       capture,
			"capturestderr": captureStderr,
			"receiver":      receiver,
			"delivered":     delivered,
			"postgres":      startPostgres,
			"release":       release,
			"everybody":     everybody,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "postgres":
				return pgtest.Wanted() || pgtest.Installed(), nil
			case "accounts":
				_, err := exec.LookPath("setpriv")
				return err == nil && os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("condition %q is not known", cond)
		},
	})
}

// everybody lets every account of the machine reach the script's directory and the program: everybody
func everybody(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: everybody")
	}
	bin, err := lookPath(ts, "entente")
	ts.Check(err)
	for _, dir := range []string{filepath.Dir(bin), ts.Getenv("WORK")} {
		for ; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
			fi, err := os.Stat(dir)
			ts.Check(err)
			ts.Check(os.Chmod(dir, fi.Mode().Perm()|0o055))
		}
	}
}

// until runs a command again and again until it succeeds and its output matches:
// until PATTERN program args...
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN program args...")
	}
	re := regexp.MustCompile(args[0])
	var out []byte
	var err error
	// The deadline is for tests that hang; nothing depends on how long it takes. Each try is a process
	// of a twentieth of a second of CPU, so what takes longer is asked for less often.
	pause := 50 * time.Millisecond
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(pause) {
		pause = min(pause*3/2, 600*time.Millisecond)
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Dir = ts.Getenv("WORK")
		cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"), "HOME="+ts.Getenv("WORK"), "GOGC="+ts.Getenv("GOGC"))
		if path, lerr := lookPath(ts, args[1]); lerr == nil {
			cmd.Path = path
			cmd.Err = nil
		}
		out, err = cmd.CombinedOutput()
		if err == nil && re.Match(out) {
			return
		}
	}
	ts.Fatalf("%q never appeared in the output of %s (last: %v):\n%s", args[0], strings.Join(args[1:], " "), err, out)
}

func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(os.PathListSeparator)) {
		path := dir + string(os.PathSeparator) + name
		if fi, err := os.Stat(path); err == nil && !fi.IsDir() {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// receiver starts a receiver of webhooks, whose address is in RECEIVER, and appends what it gets to a file:
// receiver FILE
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: receiver FILE")
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if _, werr := f.Write(append(b, '\n')); err != nil || werr != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	ts.Defer(func() { srv.Close(); f.Close() })
	ts.Setenv("RECEIVER", strings.TrimPrefix(srv.URL, "http://"))
}

// delivered tells whether a file holds texts, in the order in which they are there for the first time:
// delivered FILE TEXT...
func delivered(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: delivered FILE TEXT...")
	}
	text, at := ts.ReadFile(args[0]), -1
	for _, want := range args[1:] {
		i := strings.Index(text, want)
		if i <= at {
			ts.Fatalf("%q does not come after what is before it in:\n%s", want, text)
		}
		at = i
	}
}

// startPostgres starts a server with an empty database and sets PGHOST, PGUSER and PGDATABASE: postgres
func startPostgres(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: postgres")
	}
	s, err := pgtest.Start()
	ts.Check(err)
	ts.Defer(s.Stop)
	ts.Setenv("PGHOST", s.Dir)
	ts.Setenv("PGUSER", "tester")
	ts.Setenv("PGDATABASE", "postgres")
}

// capture sets a variable to the first group of a pattern in the last standard output:
// capture NAME PATTERN
func capture(ts *testscript.TestScript, neg bool, args []string) {
	captureFrom(ts, "stdout", neg, args)
}

// captureStderr is capture for standard error: capturestderr NAME PATTERN
func captureStderr(ts *testscript.TestScript, neg bool, args []string) {
	captureFrom(ts, "stderr", neg, args)
}

func captureFrom(ts *testscript.TestScript, file string, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME PATTERN")
	}
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile(file))
	if len(m) < 2 {
		ts.Fatalf("%q is not in the output", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// release makes a data directory of what the program of a release left: release NAME DIR.
func release(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: release NAME DIR")
	}
	ts.Check(hosttest.Extract(args[0], ts.MkAbs(args[1])))
}
