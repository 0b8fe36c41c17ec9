package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// supervisor tells a service manager how the node stands, as sd_notify(3) has it: datagrams of lines NAME=VALUE to the
// socket that NOTIFY_SOCKET names. Where none is named, nothing is told.
type supervisor struct {
	to      string        // path of the socket; a leading @ stands for a NUL byte (abstract)
	every   time.Duration // 0: the manager does not watch
	healthy func() error  // what has to go well for the node to count as alive
	log     *slog.Logger

	ctx    context.Context // of the node
	cancel context.CancelFunc
	began  sync.Once
	wg     sync.WaitGroup
}

// supervise returns a supervisor that tells when ctx ends. Close ends what it started.
func supervise(ctx context.Context, healthy func() error, log *slog.Logger) *supervisor {
	s := &supervisor{to: os.Getenv("NOTIFY_SOCKET"), healthy: healthy, log: log}
	s.ctx, s.cancel = context.WithCancel(ctx)
	// WATCHDOG_PID says for whom it is meant, since it may have been inherited: sd_watchdog_enabled(3).
	pid := os.Getenv("WATCHDOG_PID")
	if usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		s.every = time.Duration(usec) * time.Microsecond / 2
	}
	if s.to != "" {
		s.wg.Go(func() {
			<-s.ctx.Done()
			s.tell("STOPPING=1")
		})
	}
	return s
}

// Ready tells that the node is up, and from then on that it lives: every half of the time that the manager gives it.
func (s *supervisor) Ready() {
	if s.to == "" {
		return
	}
	s.tell("READY=1")
	if s.every == 0 {
		return
	}
	s.began.Do(func() { s.wg.Go(s.beat) })
}

// beat says nothing while the store cannot be read, or while reading it does not come back: the manager then ends the
// process and starts it anew.
func (s *supervisor) beat() {
	t := time.NewTicker(s.every)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		if err := s.healthy(); err != nil {
			s.log.Error("not well; the service manager is not told that the node lives", "err", err)
			continue
		}
		s.tell("WATCHDOG=1")
	}
}

func (s *supervisor) tell(state string) {
	c, err := net.Dial("unixgram", s.to)
	if err == nil {
		_, err = c.Write([]byte(state))
		_ = c.Close()
	}
	if err != nil {
		s.log.Warn("telling the service manager failed", "state", state, "err", err)
	}
}

// Close ends what was started.
func (s *supervisor) Close() {
	s.cancel()
	s.wg.Wait()
}
