package postgres_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"os/user"

	"github.com/jackc/pgx/v5"
)

// server is a PostgreSQL of the tests' own: Debian's binaries, a cluster in a temporary directory, a unix
// socket and no network.
type server struct {
	bin, dir string
	cred     *syscall.Credential
	cmd      *exec.Cmd
}

var (
	startOnce sync.Once
	shared    *server
	startErr  error
	databases atomic.Int32
)

// errNotInstalled is a reason to leave a test out, unless ENTENTE_POSTGRES is set.
var errNotInstalled = errors.New("PostgreSQL is not installed: apt-get install postgresql")

// postgresBin returns where the newest installed server is.
func postgresBin() (string, error) {
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil {
		list = append(list, path)
	}
	if len(list) == 0 {
		return "", errNotInstalled
	}
	slices.SortFunc(list, func(a, b string) int { return versionOf(a) - versionOf(b) })
	return filepath.Dir(list[len(list)-1]), nil
}

func versionOf(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// startServer makes a cluster and starts it.
func startServer() (*server, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	s := &server{bin: bin}
	if s.dir, err = os.MkdirTemp("", "entente-pg-"); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // the server refuses to run as root
		for _, name := range []string{"postgres", "nobody"} {
			u, err := user.Lookup(name)
			if err != nil {
				continue
			}
			uid, _ := strconv.Atoi(u.Uid)
			gid, _ := strconv.Atoi(u.Gid)
			s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			if err := os.Chown(s.dir, uid, gid); err != nil {
				return nil, err
			}
			break
		}
	}
	// No sync: what is killed here is the server, not the machine's power.
	if out, err := s.command("initdb", "-D", s.data(), "-U", "tester", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.start()
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return c
}

func (s *server) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=60", "-c", "fsync=off", "-c", "full_page_writes=on", "-c", "shared_buffers=64MB")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	// The deadline is for a server that does not start; nothing depends on how long it takes.
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var c *pgx.Conn
		if c, err = pgx.Connect(context.Background(), s.url("postgres")); err == nil {
			return c.Close(context.Background())
		}
	}
	return fmt.Errorf("the server did not start: %w", err)
}

// kill ends the server with all of its processes, as a crash does.
func (s *server) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	// Its children notice that it is gone; another may start once they left shared memory.
}

func (s *server) stop() {
	s.kill()
	os.RemoveAll(s.dir)
}

func (s *server) url(database string) string {
	return fmt.Sprintf("host=%s user=tester dbname=%s", s.dir, database)
}

// sharedServer returns the one of this run of the package's tests.
func sharedServer(t testing.TB) *server {
	t.Helper()
	startOnce.Do(func() { shared, startErr = startServer() })
	if errors.Is(startErr, errNotInstalled) && os.Getenv("ENTENTE_POSTGRES") == "" {
		t.Skip(startErr)
	}
	if startErr != nil {
		t.Fatal(startErr)
	}
	return shared
}

// newDatabase makes an empty database.
func newDatabase(t testing.TB, s *server) string {
	t.Helper()
	name := fmt.Sprintf("t%d", databases.Add(1))
	sql(t, s.url("postgres"), "CREATE DATABASE "+name)
	return s.url(name)
}

// sql runs a statement and returns what it says: values parted by blanks, a line each.
func sql(t testing.TB, url, statement string, args ...any) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	rows, err := c.Query(t.Context(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		list, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Trim(fmt.Sprint(list...), "[]"))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return strings.Join(lines, "\n")
}

func TestMain(m *testing.M) {
	if child(os.Args) {
		return
	}
	// A history takes a hundred round trips; the command line may ask for more of them.
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
	code := m.Run()
	if shared != nil {
		shared.stop()
	}
	os.Exit(code)
}
