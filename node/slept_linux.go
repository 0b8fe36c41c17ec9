package node

import (
	"time"

	"golang.org/x/sys/unix"
)

// slept is for how long this machine slept since it was started, to the second: CLOCK_BOOTTIME runs on meanwhile,
// CLOCK_MONOTONIC, by which package time measures, does not (clock_gettime(2)).
func slept() time.Duration {
	var awake, all unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &all) != nil {
		return 0
	}
	return time.Duration(all.Nano() - awake.Nano()).Round(time.Second)
}
