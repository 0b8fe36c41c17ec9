package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// manager is the service manager's end of the socket. The path is short: a socket's has at most about 100 bytes.
func manager(t *testing.T) (hears func() string, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "n")
	l, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", "")
	return func() string {
		b := make([]byte, 200)
		n, _, err := l.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}, path
}

var quiet = slog.New(slog.DiscardHandler)

func well() error { return nil }

func TestManagerHearsOfStartAndEnd(t *testing.T) {
	hears, _ := manager(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := supervise(ctx, well, quiet)
	s.Ready()
	if got := hears(); got != "READY=1" {
		t.Errorf("after the start it hears %q", got)
	}
	cancel()
	if got := hears(); got != "STOPPING=1" {
		t.Errorf("at the end it hears %q", got)
	}
	s.Close()
}

func TestManagerHearsThatItLives(t *testing.T) {
	hears, _ := manager(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	s := supervise(t.Context(), well, quiet)
	s.Ready()
	s.Ready() // a node that joins its first network is up once more
	for _, want := range []string{"READY=1", "READY=1"} {
		if got := hears(); got != want && got != "WATCHDOG=1" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for range 3 {
		if got := hears(); got != "WATCHDOG=1" && got != "READY=1" {
			t.Errorf("it hears %q", got)
		}
	}
	go s.Close()
	for hears() != "STOPPING=1" {
	}
}

// TestWhoIsNotWellKeepsSilent: of a node whose store cannot be read nothing is heard until it stops.
func TestWhoIsNotWellKeepsSilent(t *testing.T) {
	hears, _ := manager(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	asked := make(chan struct{})
	times := 0
	s := supervise(t.Context(), func() error {
		if times++; times == 5 {
			close(asked)
		}
		return errors.New("the disk is gone")
	}, quiet)
	s.Ready()
	<-asked
	s.Close()
	if got := hears(); got != "READY=1" {
		t.Errorf("first it hears %q", got)
	}
	if got := hears(); got != "STOPPING=1" {
		t.Errorf("of a node that is not well it hears %q", got)
	}
}

// TestWatchdogOfAnother: a variable that was inherited from another process is not ours.
func TestWatchdogOfAnother(t *testing.T) {
	for _, row := range []struct{ name, usec, pid string }{
		{"another process", "1000000", "1"},
		{"none", "", ""},
		{"no number", "soon", ""},
		{"nothing", "0", ""},
		{"negative", "-5", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			manager(t)
			t.Setenv("WATCHDOG_USEC", row.usec)
			t.Setenv("WATCHDOG_PID", row.pid)
			s := supervise(t.Context(), well, quiet)
			defer s.Close()
			if s.every != 0 {
				t.Errorf("beats every %v", s.every)
			}
		})
	}
}

// TestWithoutManager: nothing is told where nobody is named, and a socket that is not there keeps nobody from running.
func TestWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	s := supervise(t.Context(), func() error { t.Error("asked"); return nil }, quiet)
	s.Ready()
	s.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "absent"))
	s = supervise(t.Context(), well, quiet)
	s.Ready()
	s.Close()
}
