package mesh

import (
	"slices"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestRestartedPeerIsToldAnew: a peer that says hello as another process was killed and came
// back, and its owner is told; one that says hello twice was not.
func TestRestartedPeerIsToldAnew(t *testing.T) {
	c := newClub()
	m := newMember(t, c, overQUIC)
	o := newOutsider(t)
	c.add(m.self, o.id)
	if err := o.call(t, m); err != nil {
		t.Fatal(err)
	}
	hello := func(process byte) {
		t.Helper()
		s := o.open(t, m, helloV1)
		if err := writeFrame(s, slices.Concat(slices.Repeat([]byte{process}, 16), []byte("hello"))); err != nil {
			t.Fatal(err)
		}
		answer, err := readFrame(s, 1+16+protocol.MaxHelloSize)
		if err != nil || answer[0] != helloWelcome {
			t.Fatalf("answer %x, %v", answer, err)
		}
		if err := writeFrame(s, []byte{helloWelcome}); err != nil {
			t.Fatal(err)
		}
		// The other side has done with it when it closes its end.
		if _, err := readFrame(s, 1); err == nil {
			t.Fatal("something follows the exchange")
		}
	}
	expect := func(want ...bool) {
		t.Helper()
		for _, connected := range want {
			if e := <-m.changes; e.node != o.id || e.connected != connected {
				t.Fatalf("the owner is told %+v, want %v", e, connected)
			}
		}
	}
	hello(1)
	expect(true)
	hello(1)
	hello(2)
	expect(false, true)
	hello(2)
	hello(3)
	expect(false, true)
	select {
	case e := <-m.changes:
		t.Errorf("the owner is told %+v besides", e)
	default:
	}
	s := o.open(t, m, helloV1)
	if err := writeFrame(s, []byte("too short")); err != nil {
		t.Fatal(err)
	}
	if answer, err := readFrame(s, 1<<10); err == nil {
		t.Errorf("a hello that names no process is answered: %x", answer)
	}
}
