package hosttest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/entente-mesh/entente/node/doctor"
	"github.com/entente-mesh/entente/node/store"
)

// filling is a file system of 1 GiB whose room a test takes away and gives back, as other programs do.
type filling struct {
	t       *testing.T
	dir     string
	ballast *os.File
}

// fillings are the kinds of file system on which a disk is full, and how each is mounted: they differ in how
// they take blocks for mapped files.
var fillings = map[string]func(dir, image string) *exec.Cmd{
	"ext4": func(dir, image string) *exec.Cmd {
		return exec.Command("sh", "-c", `truncate -s 1G "$2" && mkfs.ext4 -q -F -m 0 "$2" && mount -t ext4 -o loop "$2" "$1"`, "sh", dir, image)
	},
	"tmpfs": func(dir, _ string) *exec.Cmd {
		return exec.Command("mount", "-t", "tmpfs", "-o", "size=1g", "none", dir)
	},
}

// newFilling mounts a file system, or skips the test and says why.
func newFilling(t *testing.T, kind string) *filling {
	t.Helper()
	why := ""
	d := &filling{t: t, dir: t.TempDir()}
	switch {
	case os.Getenv("ENTENTE_HOSTS") == "":
		why = "ENTENTE_HOSTS is not set"
	case os.Geteuid() != 0:
		why = "root is needed to mount a file system"
	default:
		if out, err := fillings[kind](d.dir, filepath.Join(t.TempDir(), "image")).CombinedOutput(); err != nil {
			why = strings.TrimSpace(string(out)) + ": " + err.Error()
		}
	}
	if why != "" {
		summary("NOT RUN %s: %s", t.Name(), why)
		t.Skip("NOT RUN: " + why)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	var err error
	if d.ballast, err = os.Create(filepath.Join(d.dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.ballast.Close() })
	return d
}

// leave makes the file system have so many bytes free, to within a block. Whatever else is there stays.
func (d *filling) leave(bytes int64) {
	d.t.Helper()
	for range 8 { // what a node syncs meanwhile takes blocks too
		var st unix.Statfs_t
		if err := unix.Statfs(d.dir, &st); err != nil {
			d.t.Fatal(err)
		}
		info, err := d.ballast.Stat()
		if err != nil {
			d.t.Fatal(err)
		}
		more := int64(st.Bavail)*st.Bsize - bytes
		if more >= 0 && more < 64<<10 {
			return
		}
		size := max(0, info.Size()+more&^4095)
		if size < info.Size() {
			err = d.ballast.Truncate(size)
		} else {
			err = unix.Fallocate(int(d.ballast.Fd()), 0, 0, size)
		}
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			d.t.Fatal(err)
		}
		if size == 0 || errors.Is(err, unix.ENOSPC) && bytes == 0 {
			return
		}
	}
}

// roomy is what is free when there is nothing to see to but for a warning.
const roomy = doctor.SpaceFloor + 256<<20

// diskErrors lists the problems of a host of kinds that begin with disk or storing, but for warnings.
func diskErrors(h *host) (out []string) {
	for _, p := range h.status().Problems {
		if (strings.HasPrefix(p.Kind, "disk") || strings.HasPrefix(p.Kind, "storing")) && p.Severity == "error" {
			out = append(out, p.Kind)
		}
	}
	return out
}

// TestDiskFull: another program fills the disk of a node that publishes and receives. It stops by itself before the disk
// is full, says so, stays up on a full one, and goes on by itself when there is room, or when it is started then. What was
// acknowledged is there; no feed has forked; what came meanwhile comes.
func TestDiskFull(t *testing.T) {
	for _, kind := range []string{"ext4", "tmpfs"} {
		t.Run(kind, func(t *testing.T) {
			d := newFilling(t, kind)
			h := newHostIn(t, filepath.Join(d.dir, "d"), "Publisher", "vendor", "127.0.0.1")
			other := newHost(t, "Reader", "police", "127.0.0.1")
			network(t, h, other)
			agree(t, h, other)
			d.leave(doctor.SpaceFloor + 2<<20)
			var acked []string
			lists := 0
			list := func() []string {
				lists++
				return []string{"a" + strings.Repeat("b", lists) + ".example.net", "c" + strings.Repeat("d", lists) + ".example.net"}
			}
			var refused error
			for refused == nil && lists < 40 {
				mine, theirs := list(), list()
				if refused = h.publish(strings.Join(mine, "\n") + "\n"); refused == nil {
					acked = append(acked, mine...)
				}
				if err := other.publish(strings.Join(theirs, "\n") + "\n"); err != nil {
					t.Fatal(err)
				}
				acked = append(acked, theirs...)
				d.leave(doctor.SpaceFloor + 2<<20 - int64(lists)*256<<10)
			}
			if refused == nil || !strings.Contains(refused.Error(), "the disk is almost full") {
				t.Fatalf("publishing below the floor, after %d lists: %v", lists, refused)
			}
			if got := diskErrors(h); !slices.Equal(got, []string{"disk-space"}) {
				t.Errorf("below the floor the status says %v", got)
			}
			late := list()
			if err := other.publish(strings.Join(late, "\n") + "\n"); err != nil {
				t.Fatal(err)
			}
			if have := h.values(); have[late[0]] || !have[acked[0]] {
				t.Errorf("below the floor %v can be read", have)
			}

			// Full to the last block: the process lives, and says what there is to see to.
			d.leave(0)
			if err := h.publish("never.example.net\n"); err == nil {
				t.Error("something was published on a full disk")
			}
			for _, args := range [][]string{{"search", acked[0]}, {"export", "--format", "lines"}} {
				if _, err := h.try(args...); err == nil || !strings.Contains(err.Error(), "the disk is full: ") {
					t.Errorf("%v discloses something on a full disk, and the account cannot say so: %v", args, err)
				}
			}
			if got := diskErrors(h); !slices.Contains(got, "disk-space") {
				t.Errorf("on a full disk the status says %v", got)
			}
			if kind == "ext4" { // it does not start on a full disk, and says why
				h.kill()
				if _, err := h.try("up", "--listen", "none"); err == nil || !strings.Contains(err.Error(), "the disk is full: ") || strings.Contains(err.Error(), "fault") {
					t.Errorf("starting on a full disk: %v", err)
				}
				d.leave(roomy)
				h.start()
			} else {
				d.leave(roomy)
			}
			h.reads(append(acked, late...)...)
			last := list()
			if err := h.publish(strings.Join(last, "\n") + "\n"); err != nil {
				t.Fatalf("with room again: %v", err)
			}
			other.reads(append(acked, last...)...)
			for _, x := range []*host{h, other} {
				if x.status().Forked > 0 || x.values()["never.example.net"] {
					t.Errorf("%s: a feed was forked, or what was refused is there", x.name)
				}
			}
			if got := diskErrors(h); slices.Contains(got, "disk-space") {
				t.Errorf("with room again the status says %v", got)
			}
			// What stood only in memory stands where it is to.
			d.leave(0)
			h.kill()
			d.leave(roomy)
			h.start()
			h.reads(append(acked, append(late, last...)...)...)
			if strings.Contains(h.log.String(), "fatal error") {
				t.Error("a process died of the full disk")
			}
			summary("RAN %s: refused after %d lists", t.Name(), lists)
		})
	}
}

// TestMigrationDiskFull: a data directory of release 0.1 is not touched on a full disk, by any way to migrate it, and is
// migrated when there is room. A disk that is full in the middle is TestMigrateDiskFull of package store.
func TestMigrationDiskFull(t *testing.T) {
	for _, kind := range []string{"ext4", "tmpfs"} {
		t.Run(kind, func(t *testing.T) {
			d := newFilling(t, kind)
			f := Unpack(t, "0.1")
			dir := filepath.Join(d.dir, "d")
			for _, suffix := range []string{"", ".anchor"} {
				if out, err := exec.Command("cp", "-a", f.Dir+suffix, dir+suffix).CombinedOutput(); err != nil {
					t.Fatalf("copying: %v: %s", err, out)
				}
			}
			h := &host{t: t, name: "fixture", dir: dir, log: &syncBuffer{}}
			for _, free := range []int64{store.Reserve - 1<<20, 0} {
				d.leave(free)
				for _, args := range [][]string{{"migrate", "--force"}, {"up", "--migrate", "--listen", "none"}} {
					if _, err := h.try(args...); err == nil || !strings.Contains(err.Error(), "the disk is full: ") {
						t.Errorf("%v with %d bytes left: %v", args, free, err)
					}
				}
			}
			if _, err := os.Stat(formatFile(dir)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the migration began on a full disk: %v", err)
			}
			d.leave(roomy)
			h.must("migrate", "--force")
			if out := h.must("migrate"); !strings.Contains(out, "Nothing to do") {
				t.Errorf("migrating again: %s", out)
			}
			if got := exported(t, dir); !slices.Equal(got, f.Values) {
				t.Errorf("it shows %v, it showed %v", got, f.Values)
			}
			summary("RAN %s", t.Name())
		})
	}
}
