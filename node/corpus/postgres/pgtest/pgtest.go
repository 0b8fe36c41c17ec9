// Package pgtest starts a PostgreSQL for tests: the one that is installed, on data of its own.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL of the tests' own: Debian's binaries, a cluster in a temporary directory, a unix
// socket and no network.
type Server struct {
	bin, Dir string
	cred     *syscall.Credential
	cmd      *exec.Cmd
	exited   <-chan error
}

// ErrNotInstalled is a reason to leave a test out, unless ENTENTE_POSTGRES is set.
var ErrNotInstalled = errors.New("PostgreSQL is not installed: apt-get install postgresql")

// Wanted reports whether tests are to fail without a server: where ENTENTE_POSTGRES is set.
func Wanted() bool { return os.Getenv("ENTENTE_POSTGRES") != "" }

// Installed reports whether there is a server to start.
func Installed() bool {
	_, err := postgresBin()
	return err == nil
}

// postgresBin returns where the newest installed server is.
func postgresBin() (string, error) {
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil {
		list = append(list, path)
	}
	if len(list) == 0 {
		return "", ErrNotInstalled
	}
	slices.SortFunc(list, func(a, b string) int { return versionOf(a) - versionOf(b) })
	return filepath.Dir(list[len(list)-1]), nil
}

func versionOf(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// Start makes a cluster in a temporary directory and starts it.
func Start() (*Server, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if s.Dir, err = os.MkdirTemp("", "entente-pg-"); err != nil {
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
			if err := os.Chown(s.Dir, uid, gid); err != nil {
				return nil, err
			}
			break
		}
	}
	// No sync: what is killed here is the server, not the machine's power.
	if out, err := s.Command("initdb", "-D", s.Data(), "-U", "tester", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.Restart()
}

// Data is the directory of the cluster.
func (s *Server) Data() string { return filepath.Join(s.Dir, "data") }

// Command is a program of the server's, run as who runs it.
func (s *Server) Command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir = s.Dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	return c
}

// Restart starts the server, after it was killed.
func (s *Server) Restart() error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	var exited chan error
	// The deadline is for a server that does not start; nothing depends on how long it takes.
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if exited == nil {
			s.cmd = s.Command("postgres", "-D", s.Data(), "-k", s.Dir, "-c", "listen_addresses=", "-c", "max_connections=60", "-c", "fsync=off", "-c", "shared_buffers=64MB")
			s.cmd.Stdout, s.cmd.Stderr = log, log
			if err = s.cmd.Start(); err != nil {
				return err
			}
			exited = make(chan error, 1)
			go func(c *exec.Cmd, exited chan<- error) { exited <- c.Wait() }(s.cmd, exited)
		}
		select {
		case err = <-exited: // what a crashed one left in memory was still there: again
			exited = nil
			continue
		default:
		}
		var c *pgx.Conn
		if c, err = pgx.Connect(context.Background(), s.URL("postgres")); err == nil {
			s.exited = exited
			return c.Close(context.Background())
		}
	}
	return fmt.Errorf("the server did not start: %w", err)
}

// Kill ends the server with all of its processes, as a crash does.
func (s *Server) Kill() {
	children := s.children()
	for _, pid := range append([]int{s.cmd.Process.Pid}, children...) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.exited
}

// children lists the processes that the server started, each in a group of its own.
func (s *Server) children() (list []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		_, rest, ok := strings.Cut(string(b), ") ") // behind the name: state, parent
		fields := strings.Fields(rest)
		if err != nil || !ok || len(fields) < 2 || fields[1] != strconv.Itoa(s.cmd.Process.Pid) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// Stop ends it, and removes all that it wrote.
func (s *Server) Stop() {
	s.Kill()
	os.RemoveAll(s.Dir)
}

// URL is the address of one of its databases.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("host=%s user=tester dbname=%s", s.Dir, database)
}
