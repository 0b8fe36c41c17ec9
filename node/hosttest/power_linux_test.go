package hosttest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a file system of its own whose power can be cut: what no fsync or msync made
// durable is then lost, mapped pages included, which no wrapper of calls could do.
//
// It is ext4 in an image, with what hides a forgotten fsync switched off, and ended by the
// ioctl by which the developers of file systems test the same thing.
type disk struct {
	t     *testing.T
	rng   *rand.Rand
	image string
	dir   string
}

// What EXT4_IOC_SHUTDOWN is to do with the journal in memory; linux/ext4.h has the numbers.
const (
	shutdownCall     = 0x8004587d
	shutdownLogFlush = 1 // names and sizes survive, and data that nobody synced does not
	shutdownNoFlush  = 2 // nothing survives
)

// noDisks says why there can be no such disks here; empty if there can.
func noDisks(t *testing.T) string {
	switch {
	case os.Getenv("ENTENTE_HOSTS") == "":
		return "ENTENTE_HOSTS is not set"
	case os.Geteuid() != 0:
		return "root is needed to mount a file system"
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return "the command mkfs.ext4 is missing"
	}
	d := &disk{image: filepath.Join(t.TempDir(), "image"), dir: filepath.Join(t.TempDir(), "m")}
	if err := d.make(); err != nil {
		return err.Error()
	}
	err := d.shutdown(shutdownNoFlush)
	if uerr := unix.Unmount(d.dir, 0); uerr != nil {
		t.Fatal(uerr)
	}
	if err != nil {
		return "ext4 here cannot be shut down: " + err.Error()
	}
	return ""
}

func newDisk(t *testing.T, rng *rand.Rand) *disk {
	t.Helper()
	d := &disk{t: t, rng: rng, image: filepath.Join(t.TempDir(), "image"), dir: filepath.Join(t.TempDir(), "m")}
	if err := d.make(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

func (d *disk) make() error {
	f, err := os.Create(d.image)
	if err == nil {
		err = errors.Join(f.Truncate(1<<30), f.Close())
	}
	if err == nil {
		err = os.MkdirAll(d.dir, 0o700)
	}
	if err == nil {
		var out []byte
		if out, err = exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", d.image).CombinedOutput(); err != nil {
			err = fmt.Errorf("mkfs.ext4: %s", out)
		}
	}
	if err == nil {
		err = d.mount()
	}
	return err
}

func (d *disk) mount() error {
	// data=writeback: a size may be durable before what it counts. noauto_da_alloc: a file
	// that is renamed over another is not flushed as a favour. commit: no journal on its own.
	if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop,data=writeback,noauto_da_alloc,commit=600", d.image, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %s", bytes.TrimSpace(out))
	}
	return nil
}

func (d *disk) shutdown(flag int) error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.IoctlSetPointerInt(int(dir.Fd()), shutdownCall, flag)
}

// cut cuts the power. By chance, pages here and there were on their way to the disk before,
// in no order, as a kernel may write them.
func (d *disk) cut() (how string) {
	d.t.Helper()
	kept := 0
	if d.rng.IntN(2) == 0 {
		err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || d.rng.IntN(2) == 0 {
				return nil // a file that just went away is no matter
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return nil
			}
			defer f.Close()
			st, err := f.Stat()
			if err != nil || st.Size() == 0 {
				return err
			}
			for range 8 {
				at := d.rng.Int64N(min(st.Size(), 1<<20)) &^ 4095
				if err := unix.SyncFileRange(int(f.Fd()), at, 4096, unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER); err != nil {
					return err
				}
				kept++
			}
			return nil
		})
		if err != nil {
			d.t.Fatal(err)
		}
	}
	flag := shutdownLogFlush + d.rng.IntN(2)
	if err := d.shutdown(flag); err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("%d stray pages kept, %s", kept, map[int]string{shutdownLogFlush: "names kept", shutdownNoFlush: "names lost"}[flag])
}

// recover mounts what is left, as the machine does when it comes up again.
func (d *disk) recover() {
	d.t.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		d.t.Fatalf("unmounting after the power cut: %v", err)
	}
	if err := d.mount(); err != nil {
		d.t.Fatal(err)
	}
}

// TestDiskLosesUnsynced shows that the disk of the test below does what that test relies on.
func TestDiskLosesUnsynced(t *testing.T) {
	if why := noDisks(t); why != "" {
		t.Skip("NOT RUN: " + why)
	}
	for _, flag := range []int{shutdownLogFlush, shutdownNoFlush} {
		d := newDisk(t, rand.New(rand.NewPCG(1, 1)))
		path := filepath.Join(d.dir, "mapped")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(8192); err != nil {
			t.Fatal(err)
		}
		m, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		copy(m, "synced")
		if err := unix.Msync(m, unix.MS_SYNC); err != nil {
			t.Fatal(err)
		}
		copy(m[4096:], "not synced")
		if err := errors.Join(unix.Munmap(m), f.Close(), os.WriteFile(path+"2", []byte("not synced"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := d.shutdown(flag); err != nil {
			t.Fatal(err)
		}
		d.recover()
		b, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(b, []byte("synced")) {
			t.Errorf("flag %d: what was synced is lost: %q, %v", flag, b[:min(len(b), 8)], err)
		}
		if bytes.Contains(b, []byte("not synced")) {
			t.Errorf("flag %d: a mapped page that was not synced survived the power cut", flag)
		}
		if b, _ := os.ReadFile(path + "2"); len(b) > 0 {
			t.Errorf("flag %d: a file that was not synced survived the power cut", flag)
		}
	}
}

// TestPowerCut: the power of a node's machine is cut in the middle of publishing, erasing,
// admitting and syncing, and what was not synced is lost. Then the node opens what is left:
// what was acknowledged is there and whole, what was erased is not, and no feed has forked.
// ENTENTE_POWER_ROUNDS says how often, ENTENTE_POWER_SEED which.
func TestPowerCut(t *testing.T) {
	if why := noDisks(t); why != "" {
		summary("NOT RUN power: %s", why)
		t.Skip("NOT RUN: " + why)
	}
	rounds := number("ENTENTE_POWER_ROUNDS", 8)
	seed := number("ENTENTE_POWER_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("ENTENTE_POWER_SEED=%d ENTENTE_POWER_ROUNDS=%d", seed, rounds)
	rng := rand.New(rand.NewPCG(uint64(seed), 11))
	var disks []*disk
	var all []*host
	for _, who := range [][2]string{{"Publisher", "vendor"}, {"Reader One", "police"}, {"Reader Two", "cert"}} {
		d := newDisk(t, rng)
		disks = append(disks, d)
		all = append(all, newHostIn(t, filepath.Join(d.dir, "d"), who[0], who[1], "127.0.0.1"))
	}
	pub, readers := all[0], all[1:]
	network(t, all...)
	for _, r := range readers {
		agree(t, pub, r)
	}
	l := newLedger()
	writes[0].do(pub, l, rng)
	for round := range rounds {
		i := 0
		if rng.IntN(3) == 0 {
			i = rng.IntN(len(all))
		}
		kind := writes[rng.IntN(len(writes))]
		after := time.Duration(rng.IntN(250)) * time.Millisecond
		diskFirst := rng.IntN(2) == 0
		work := rand.New(rand.NewPCG(rng.Uint64(), 0))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3 {
				kind.do(pub, l, work)
			}
		}()
		time.Sleep(after) // the moment of the cut, and nothing else, depends on the clock
		var how string
		if diskFirst {
			// A node that goes on for a moment without its disk must acknowledge nothing more.
			how = disks[i].cut() + ", disk first"
			if i == 0 {
				<-done
			}
			all[i].kill()
		} else {
			all[i].kill()
			how = disks[i].cut()
			if i == 0 {
				<-done
			}
		}
		disks[i].recover()
		all[i].start()
		<-done
		t.Logf("round %d: power of %s cut in the middle of %s after %v (%s); %d acknowledged, %d erased",
			round, all[i].name, kind.name, after, how, len(l.acked), len(l.erased))
		l.check(t, pub, readers)
		if t.Failed() {
			t.FailNow()
		}
	}
	summary("RAN power %d", rounds)
}
