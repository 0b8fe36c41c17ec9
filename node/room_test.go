package node

import (
	"context"
	"errors"
	"testing"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/node/doctor"
	"github.com/entente-mesh/entente/protocol"
)

// TestI6FloorOfTheDisk: below the floor nothing is published or taken, at once, and both go on as soon as there is room.
func TestI6FloorOfTheDisk(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	left, err := uint64(doctor.SpaceFloor-1), error(nil)
	for _, n := range nodes {
		n.room.dirs, n.room.free = []string{"data"}, func(string) (uint64, error) { return left, err }
	}
	list := PublishRequest{Topic: "c2", Items: readList(t, "198.51.100.1\n"), Flags: green}
	if _, err := author.Publish(context.Background(), list); !errors.Is(err, ErrNoRoom) || !noRoom(err) {
		t.Errorf("publishing below the floor: %v", err)
	}
	if reasons := author.Ready(); len(reasons) == 0 {
		t.Error("below the floor it says that it is ready")
	}
	left = doctor.SpaceFloor
	publishList(t, author, "198.51.100.1\n", green)
	left--
	before := fingerprint(t, reader)
	if a, err := reader.gate.admit(entries(t, author)); !errors.Is(err, ErrNoRoom) || fingerprint(t, reader) != before {
		t.Errorf("admitting below the floor: %+v, %v", a, err)
	}
	err = errors.ErrUnsupported // a system that does not say
	carryNew(t, author, reader)
	if !reads(t, reader, "198.51.100.1") {
		t.Error("it does not go on when there is room")
	}
}

// TestFreeBytes: of the data directory and the anchor the one whose disk has less left.
func TestFreeBytes(t *testing.T) {
	t.Parallel()
	dir, n := foundedOnDisk(t)
	want, err := disk.Free(dir)
	if err != nil {
		t.Skip(err)
	}
	got := n.diskStatus().Free
	if got == nil || *got > 2*want || *got < want/2 { // others write, too
		t.Errorf("%v bytes are free, the system says %d", got, want)
	}
	least := uint64(1 << 40)
	n.room.free = func(string) (uint64, error) { least--; return least, nil }
	if got := n.diskStatus().Free; got == nil || *got != least {
		t.Errorf("%v, want %d", got, least)
	}
	n.room.free = func(string) (uint64, error) { return 0, errors.ErrUnsupported }
	if got := n.diskStatus().Free; got != nil {
		t.Errorf("%d bytes are free, and nobody knows", *got)
	}
}
