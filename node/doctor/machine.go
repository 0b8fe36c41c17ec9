package doctor

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Truth is yes, no, or not known.
type Truth uint8

// The three.
const (
	NotKnown Truth = iota
	Yes
	No
)

// Clock is what is known of the time.
type Clock struct {
	Newest       time.Time // the greatest time that this node stored of its own; zero: none
	Synchronised Truth     // what the operating system says
	Why          string    // why that is not known
	Peers        []PeerClock
	Doubt        string // why the node does not believe its clock, and signs and publishes nothing; empty: it does
	ByPeers      bool   // because of what other organisations say; else because nobody confirms it
}

// PeerClock is the clock of a peer.
type PeerClock struct {
	Org    string
	Offset time.Duration // above 0: it is ahead of ours
	Within time.Duration // Offset is right to so much
}

// Bounds on clocks. Entries that state a time more than 10 minutes ahead are not opened
// (protocol.MaxClockSkew): beyond that partners do not see what is published.
const (
	clockBack     = 2 * time.Minute // behind the node's own past
	clockDiffers  = 30 * time.Second
	clockRefused  = 10 * time.Minute
	setClock      = "set the clock, and keep it right: install chrony or systemd-timesyncd and run 'timedatectl set-ntp true'"
	syncClock     = "install chrony or systemd-timesyncd and run 'timedatectl set-ntp true'; in a container or a virtual machine, on its host"
	clockMajority = 2 // one peer alone does not say that ours is wrong
)

func lookAtClock(f *Facts) (out []Finding) {
	c := f.Clock
	if c == nil {
		return nil
	}
	if back := c.Newest.Sub(f.Now); !c.Newest.IsZero() && back > clockBack {
		out = append(out, Finding{State: Error, Kind: "clock-behind", Do: setClock,
			Text: fmt.Sprintf("the clock stands %s before what this node stored itself, on %s: it was set back, or was wrong then", span(back), day(c.Newest))})
	}
	switch {
	case c.Doubt == "":
	case c.ByPeers:
		out = append(out, Finding{State: Error, Kind: "clock-contradicted", Do: setClock + "; if this one is right, 'entente up --clock-ok'",
			Text: c.Doubt + ": nothing is signed or published"})
	default:
		out = append(out, Finding{State: Error, Kind: "clock-unconfirmed", Do: "compare it with a clock that is right ('date -u'); if it is wrong, set it; if it is right, 'entente up --clock-ok', or connect to a partner",
			Text: c.Doubt + ": nothing is signed or published"})
	}
	agree, differ, offsets := 0, 0, []time.Duration{}
	for _, p := range c.Peers {
		if p.Offset.Abs() > clockDiffers+p.Within {
			differ++
			offsets = append(offsets, p.Offset)
		} else {
			agree++
		}
	}
	slices.Sort(offsets)
	n := len(c.Peers)
	switch {
	case n == 0:
	case differ == 0:
		out = append(out, Finding{State: OK, Text: fmt.Sprintf("agrees with %s to %s", count(n, "peer"), clockDiffers)})
	case n < clockMajority:
		out = append(out, Finding{State: Warning, Kind: "clock-differs", Do: "compare it with a clock that is right ('date -u'); if it is this one: " + setClock,
			Text: fmt.Sprintf("it is %s the one peer that was asked, %s: which of the two is wrong is not known", ahead(-offsets[0]), c.Peers[0].Org)})
	case differ*2 <= n:
		out = append(out, Finding{State: OK, Text: fmt.Sprintf("agrees with %d of %s; the clocks of the others are wrong", agree, count(n, "peer"))})
	default:
		median := offsets[len(offsets)/2]
		x := Finding{State: Warning, Kind: "clock-differs", Do: setClock, Text: fmt.Sprintf("it is %s %d of %s", ahead(-median), differ, count(n, "peer"))}
		if median.Abs() > clockRefused {
			x.State, x.Text = Error, x.Text+": what one side publishes the other does not open"
		}
		out = append(out, x)
	}
	switch {
	case c.Synchronised == Yes:
		if len(out) == 0 {
			out = append(out, Finding{State: OK, Text: "the operating system keeps it synchronised"})
		}
	case c.Synchronised == NotKnown:
		if n == 0 {
			out = append(out, Finding{State: Unknown, Kind: "not-checked", Text: "whether it is synchronised is not known: " + c.Why, Do: "compare it with a clock that is right: 'date -u'"})
		}
	case agree < clockMajority: // peers say more than the system does
		out = append(out, Finding{State: Warning, Kind: "clock-unsynchronised", Do: syncClock, Text: "the operating system does not keep it synchronised"})
	}
	return out
}

// Disk is where a part of the node's files is.
type Disk struct {
	What                     string // data directory, anchor
	Path                     string
	Type                     string // of its file system
	Network, Memory, Layered bool   // it is on another machine; in memory; in the layer of a container
	ReadOnly                 bool
	Free, Total              uint64 // bytes, for who is not root
	Inodes, InodesTotal      uint64 // free ones, all; 0 of 0: the file system does not count them
	Why                      string // why it could not be looked at
}

// Room is what the node may take.
type Room struct {
	Used, Limit uint64 // bytes; limit 0: none
}

// Speed is what writing was measured to take, and syncing what was written.
type Speed struct {
	P50, P99 time.Duration // of Count small files, each written and synced
	Count    int
	Bytes    uint64 // of one large file,
	Took     time.Duration
}

// SpaceFloor is how many bytes a node leaves free on its disk: with less it neither publishes nor takes
// anything from peers. Below it the database rewrites its newest tables, which takes up to six times the
// 64 MiB of one.
const SpaceFloor = 512 << 20

// Bounds on disks. An append to the store waits for two syncs, its own and that of the anchor.
const (
	spaceLow  = 1 << 30 // and less than a twentieth,
	spaceMuch = 4 << 30 // unless there is as much as this
	fewInodes = 10_000
	noInodes  = 500
	slowSync  = 50 * time.Millisecond // the median
	slowTail  = time.Second           // one of a hundred
)

func lookAtDisk(f *Facts) (out []Finding) {
	var said []string
	for i := range f.Disks {
		d := &f.Disks[i]
		where := fmt.Sprintf("the %s, %s,", d.What, d.Path)
		if d.Why != "" {
			out = append(out, Finding{State: Unknown, Kind: "not-checked", Text: where + " could not be looked at: " + d.Why, Do: "see that it is there and that this user may enter it: ls -ld " + quote(d.Path)})
			continue
		}
		if d.ReadOnly {
			out = append(out, Finding{State: Error, Kind: "disk-read-only", Text: where + " is mounted read-only: nothing can be stored", Do: "look for why with 'dmesg'; then: mount -o remount,rw \"$(df --output=target " + quote(d.Path) + " | tail -1)\""})
		}
		move := "stop the node, move the " + d.What + " to a disk of this machine, and give its new place with "
		if d.What == "anchor" {
			move = "stop the node, move the data directory and the anchor beside it to a disk of this machine, and give its new place with "
		}
		move += "--dir; the node then begins new feeds, as after a restore"
		switch {
		case d.Network:
			out = append(out, Finding{State: Warning, Kind: "disk-network", Text: where + " is on a network file system (" + d.Type + "): its locks and syncs are not to be relied on", Do: move})
		case d.Memory:
			out = append(out, Finding{State: Warning, Kind: "disk-memory", Text: where + " is in memory (" + d.Type + "): all of it is lost when the machine stops", Do: move})
		case d.Layered:
			out = append(out, Finding{State: Warning, Kind: "disk-container", Text: where + " is in the layer of a container (" + d.Type + "): all of it is lost with the container", Do: "give the container a volume for it"})
		}
		free := "free up space on the file system of " + d.Path + ", or make it larger"
		switch {
		case d.Free < SpaceFloor:
			out = append(out, Finding{State: Error, Kind: "disk-space", Text: where + " has " + size(d.Free) + " of room left: nothing is published or taken from peers until there are " + size(SpaceFloor), Do: free})
		case d.Free < min(max(spaceLow, d.Total/20), spaceMuch):
			out = append(out, Finding{State: Warning, Kind: "disk-space", Text: where + " has " + size(d.Free) + " of room left, of " + size(d.Total), Do: free})
		}
		switch many := "remove small files from the file system of " + d.Path + ": 'du --inodes -x' finds where they are"; {
		case d.InodesTotal == 0:
		case d.Inodes < noInodes:
			out = append(out, Finding{State: Error, Kind: "disk-inodes", Text: fmt.Sprintf("%s has room for %d files only", where, d.Inodes), Do: many})
		case d.Inodes < fewInodes:
			out = append(out, Finding{State: Warning, Kind: "disk-inodes", Text: fmt.Sprintf("%s has room for %d files only", where, d.Inodes), Do: many})
		}
		if r := f.Room; r != nil && d.What == dataDirectory && r.Limit > 0 && r.Limit > r.Used && r.Limit-r.Used > d.Free {
			out = append(out, Finding{State: Warning, Kind: "disk-limit", Text: fmt.Sprintf("--disk-limit lets the node take %s more, and there are %s: the disk will be full before the node makes room", size(r.Limit-r.Used), size(d.Free)),
				Do: fmt.Sprintf("start the node with --disk-limit %d, or make room", max((r.Used+d.Free/10*9)>>20, 1))})
		}
		said = append(said, size(d.Free)+" free for the "+d.What)
	}
	if r := f.Room; r != nil && r.Limit > 0 && r.Used <= r.Limit && r.Used > r.Limit/10*9 {
		out = append(out, Finding{State: Warning, Kind: "disk-nearly-full", Text: fmt.Sprintf("%s of the %s that --disk-limit allows are taken; beyond it copies held for others go, and then nothing is stored", size(r.Used), size(r.Limit)), Do: "raise --disk-limit"})
	}
	if s := f.Speed; s != nil {
		text := fmt.Sprintf("a small write with its sync takes %s (p50 of %d), %s (p99), one of %s %s", round(s.P50), s.Count, round(s.P99), size(s.Bytes), round(s.Took))
		if s.P50 > slowSync || s.P99 > slowTail {
			out = append(out, Finding{State: Warning, Kind: "disk-slow", Text: text + ": every publication waits for two of them",
				Do: "see what else writes to the disk ('iostat -x 1'), or put the data directory on a faster one"})
		} else {
			said = append(said, text)
		}
	}
	if len(said) > 0 && len(out) == 0 {
		out = append(out, Finding{State: OK, Text: strings.Join(said, "; ")})
	}
	return out
}

const dataDirectory = "data directory"

// Files are what is to belong to the node, and to nobody else.
type Files struct {
	UID    int    // whose they are to be
	User   string // his name, or his number
	Within string // the data directory
	List   []File
}

// File is one of them.
type File struct {
	Path    string
	What    string
	Secret  bool // nobody else may read it
	Foreign bool // it may belong to another: configuration that an administrator keeps
	Dir     bool
	Mode    fs.FileMode
	UID     int
	Why     string // why it could not be looked at
}

func lookAtFiles(f *Facts) (out []Finding) {
	if f.Files == nil {
		return nil
	}
	var foreign []string
	for i := range f.Files.List {
		x := &f.Files.List[i]
		mode := x.Mode.Perm()
		switch keep := "600"; {
		case x.Why != "":
			out = append(out, Finding{State: Unknown, Kind: "not-checked", Text: fmt.Sprintf("the %s, %s, could not be looked at: %s", x.What, x.Path, x.Why), Do: "run 'entente doctor' as the user of the node"})
		case x.Secret && mode&0o077 != 0:
			if x.Dir {
				keep = "700"
			}
			out = append(out, Finding{State: Error, Kind: "secret-readable", Text: fmt.Sprintf("the %s, %s, is open to others (mode %03o)", x.What, x.Path, mode), Do: "chmod " + keep + " " + quote(x.Path)})
		case mode&0o022 != 0 && x.Mode&fs.ModeSocket == 0:
			out = append(out, Finding{State: Error, Kind: "file-writable", Text: fmt.Sprintf("the %s, %s, can be changed by others (mode %03o)", x.What, x.Path, mode), Do: "chmod go-w " + quote(x.Path)})
		}
		if x.Why == "" && x.UID != f.Files.UID && !(x.Foreign && x.UID == 0) {
			foreign = append(foreign, x.Path)
		}
	}
	if len(foreign) > 0 {
		quoted := make([]string, 0, 3)
		for _, p := range foreign[:min(len(foreign), 3)] {
			quoted = append(quoted, quote(p))
		}
		do := "chown " + f.Files.User + " " + strings.Join(quoted, " ")
		if len(foreign) > len(quoted) {
			do = "chown -R " + f.Files.User + " " + quote(f.Files.Within) + " " + quote(f.Files.Within+".anchor")
		}
		out = append(out, Finding{State: Error, Kind: "file-owner", Do: do,
			Text: fmt.Sprintf("%s not %s's, who runs the node: %s (somebody ran a command as another user)", isAre(len(foreign), "file"), f.Files.User, foreign[0])})
	}
	if len(out) == 0 {
		out = append(out, Finding{State: OK, Text: fmt.Sprintf("%s looked at; they are %s's, secrets are nobody else's", count(len(f.Files.List), "file"), f.Files.User)})
	}
	return out
}

// Ports is how the node can be talked to.
type Ports struct {
	List          []Port
	ReadBuffer    uint64 // net.core.rmem_max, bytes; 0: not known
	WriteBuffer   uint64 // net.core.wmem_max
	Handles       uint64 // files that the process may open; 0: not known
	OwnProcess    bool   // Handles is of the node itself
	BuffersForced bool   // the process may exceed the two
}

// Port is an address that the node is to listen on.
type Port struct {
	Addr string
	UDP  bool
	// Closed: it is not listened on, though it should be. Unanswered: a call from this machine was not answered,
	// with the outcome. Taken, Denied: the node is down, and could not listen, as somebody else does, or may not.
	Closed, Taken, Denied bool
	Unanswered            string
	Why                   string // why it could not be tried
}

// wantBuffer is what quic-go asks for (https://github.com/quic-go/quic-go/wiki/UDP-Buffer-Sizes).
const (
	wantBuffer  = 7 << 20
	wantHandles = 4096
)

func lookAtPorts(f *Facts) (out []Finding) {
	p := f.Ports
	if p == nil {
		return nil
	}
	udp, tcp, good := false, false, []string{}
	for i := range p.List {
		x := &p.List[i]
		udp, tcp = udp || x.UDP, tcp || !x.UDP
		switch {
		case x.Closed:
			out = append(out, Finding{State: Error, Kind: "port-closed", Text: "nothing listens on " + x.Addr + ", which the node was told to", Do: "free its port ('ss -lntup' shows who has it), or give another with --listen; then start the node again"})
		case x.Taken:
			out = append(out, Finding{State: Error, Kind: "port-taken", Text: "another process listens on " + x.Addr, Do: "stop it ('ss -lntup' shows which it is), or start the node with another --listen"})
		case x.Denied:
			out = append(out, Finding{State: Error, Kind: "port-taken", Text: "this user may not listen on " + x.Addr + ": " + x.Why, Do: "give a port above 1023 with --listen, or let the node have this one: AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit"})
		case x.Unanswered != "":
			out = append(out, Finding{State: Error, Kind: "port-unanswered", Text: x.Addr + " is listened on and does not answer a call from this machine: " + x.Unanswered, Do: "look at the firewall of this machine: 'nft list ruleset'"})
		case x.Why != "":
			out = append(out, Finding{State: Unknown, Kind: "not-checked", Text: x.Addr + " was not tried: " + x.Why, Do: "give another with --listen"})
		default:
			good = append(good, x.Addr)
		}
	}
	if len(p.List) > 0 && !(udp && tcp) {
		kind, add := "TCP", "tcp/4401"
		if !udp {
			kind, add = "UDP", "udp/4401/quic-v1"
		}
		out = append(out, Finding{State: Warning, Kind: "port-one-transport", Text: "nothing is listened on by " + kind + ": peers whose networks let nothing else out cannot call", Do: "start the node with one more --listen /ip4/0.0.0.0/" + add})
	}
	if udp && !p.BuffersForced && (p.ReadBuffer > 0 && p.ReadBuffer < wantBuffer || p.WriteBuffer > 0 && p.WriteBuffer < wantBuffer) {
		out = append(out, Finding{State: Warning, Kind: "udp-buffers", Text: fmt.Sprintf("buffers of UDP may have %s to read and %s to write, and QUIC wants %s: packets are lost under load", size(p.ReadBuffer), size(p.WriteBuffer), size(wantBuffer)),
			Do: "sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000, and the same in a file of /etc/sysctl.d"})
	}
	if p.Handles > 0 && p.Handles < wantHandles {
		whose := "a process of this user"
		if p.OwnProcess {
			whose = "the node"
		}
		out = append(out, Finding{State: Warning, Kind: "file-handles", Text: fmt.Sprintf("%s may have %d files open, connections counted; it wants %d", whose, p.Handles, wantHandles), Do: "LimitNOFILE=65536 in its unit, or 'ulimit -n 65536' before 'entente up'"})
	}
	if len(out) == 0 && len(good) > 0 {
		verb := " answer"
		if !f.Online {
			verb = " are free"
		}
		out = append(out, Finding{State: OK, Text: strings.Join(good, ", ") + verb})
	}
	return out
}

// quote makes a path one word for a shell.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func isAre(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

func size(b uint64) string {
	switch {
	case b >= 10<<30:
		return fmt.Sprintf("%d GiB", b>>30)
	case b >= 10<<20:
		return fmt.Sprintf("%d MiB", b>>20)
	case b >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(b)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", b>>10)
}

// span tells a duration in the unit that a person thinks of it in.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", int(d.Seconds()))
}

// ahead says how this clock stands to others.
func ahead(d time.Duration) string {
	if d < 0 {
		return span(-d) + " behind"
	}
	return span(d) + " ahead of"
}

func round(d time.Duration) string {
	switch {
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }
