package node

import (
	"testing"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// cutIn runs fn and reports whether the power was cut in it.
func cutIn(fn func()) (cut bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, cut = r.(disk.Crash); !cut {
				panic(r)
			}
		}
	}()
	fn()
	return false
}

// copyOf returns a copy of a disk with all that a node keeps on it.
func copyOf(disks *disk.Disk) *disk.Disk {
	d := new(disk.Disk)
	for _, dir := range []string{simData, simAnchor} {
		d.Restore(disks, dir)
	}
	return d
}

// cutAtEveryStep opens a node on a copy of its disk and does something, while its power fails at
// the first step, at the second, and so on until it is done; look looks at what started again.
func cutAtEveryStep(t *testing.T, c Config, disks *disk.Disk, do func(n *Node), look func(n *Node, cut int)) {
	t.Helper()
	for cut, crashed := 1, true; crashed; cut++ {
		c.Disk = copyOf(disks)
		n, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		c.Disk.CutAfter(cut)
		crashed = cutIn(func() { do(n) })
		c.Disk.Restart()
		if n, err = Open(c); err != nil {
			t.Fatalf("cut at step %d, it does not start: %v", cut, err)
		}
		look(n, cut)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// onDisk founds an organisation with a node on a disk in memory.
func onDisk(t *testing.T, name string) (*Node, *disk.Disk, Config) {
	t.Helper()
	ident, err := NewIdentity(InitRequest{Name: name, Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	d := new(disk.Disk)
	c := simConfig(ident.Keys, d, none)
	c.Card = &ident.Card
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return n, d, c
}

// TestLettersOutliveACrash cuts the power at every step of proposing, countersigning,
// rejecting and terminating: what was decided reaches the other party after the restart.
func TestLettersOutliveACrash(t *testing.T) {
	t.Parallel()
	a, disks0, ca := onDisk(t, "A")
	b, disks1, cb := onDisk(t, "B")
	intoOneNetwork(t, []*Node{a, b})
	agreed := agree(t, a, b, protocol.TLPAmber, "*")
	proposed, err := b.Propose(testAgreement(b, a, protocol.TLPGreen, "*"))
	if err != nil {
		t.Fatal(err)
	}
	carryNew(t, b, a)
	for name, act := range map[string]struct {
		do      func(n *Node) error
		decided func(n *Node) bool // at either of them
	}{
		"terminate": {func(n *Node) error { return n.Terminate(agreed, "test", 0) }, func(n *Node) bool {
			return len(n.snap.Load().agreements[agreed].terminations) > 0
		}},
		"countersign": {func(n *Node) error { return n.Countersign(proposed) }, func(n *Node) bool {
			return len(n.snap.Load().agreements[proposed].Missing) == 0
		}},
		"reject": {func(n *Node) error { return n.Reject(proposed, "no") }, func(n *Node) bool {
			return len(n.snap.Load().agreements[proposed].rejections) > 0
		}},
		"propose": {func(n *Node) error { _, err := n.Propose(testAgreement(a, b, protocol.TLPClear, "*")); return err }, func(n *Node) bool {
			return len(n.snap.Load().agreements) > 2
		}},
	} {
		t.Run(name, func(t *testing.T) {
			lost, kept := 0, 0
			for cut := 1; ; cut++ {
				da, db := copyOf(disks0), copyOf(disks1)
				ca.Disk, cb.Disk = da, db
				n, err := Open(ca)
				if err != nil {
					t.Fatal(err)
				}
				da.CutAfter(cut)
				crashed := cutIn(func() {
					if err := act.do(n); err != nil {
						t.Fatal(err)
					}
				})
				da.Restart()
				if n, err = Open(ca); err != nil {
					t.Fatal(err)
				}
				if !crashed && !act.decided(n) {
					t.Fatal("what was acknowledged is not there after the restart")
				}
				if act.decided(n) {
					kept++
				} else {
					lost++
				}
				if err := n.sendLetters(); err != nil {
					t.Fatal(err)
				}
				other, err := Open(cb)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := other.Trust(&n.OwnCard().Signed, wordsOf(n.Org())); err != nil {
					t.Fatal(err)
				}
				carryNew(t, n, other)
				if got := act.decided(other); got != act.decided(n) {
					t.Fatalf("cut at step %d: decided here: %v, known to the other party: %v", cut, act.decided(n), got)
				}
				if left := pendingLetters(t, n); left > 0 {
					t.Errorf("cut at step %d: %d letters are still to be sent", cut, left)
				}
				if !crashed {
					break
				}
			}
			if lost == 0 || kept < 5 {
				t.Errorf("cut %d times before the decision was durable, %d times after", lost, kept)
			}
		})
	}
}

func pendingLetters(t *testing.T, n *Node) (count int) {
	t.Helper()
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindLetter, func([]byte, *pendingLetter) error { count++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}
