package doctor

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// well is a node of which nothing is to be said.
func well() *Facts {
	return &Facts{Now: now, Online: true, StatusKnown: true, PeersSeen: true, Why: map[string]string{},
		Clock: &Clock{Newest: now.Add(-time.Minute), Synchronised: Yes, Peers: []PeerClock{{"A", time.Second, time.Second}, {"B", -time.Second, time.Second}, {"C", 0, 0}}},
		Disks: []Disk{{What: dataDirectory, Path: "/data", Type: "ext4", Free: 50 << 30, Total: 100 << 30, Inodes: 1 << 20, InodesTotal: 1 << 21}},
		Room:  &Room{Used: 1 << 30, Limit: 10 << 30},
		Speed: &Speed{P50: 2 * time.Millisecond, P99: 9 * time.Millisecond, Count: 20, Bytes: 8 << 20, Took: 30 * time.Millisecond},
		Files: &Files{UID: 7, User: "entente", Within: "/data", List: []File{
			{Path: "/data", What: "data directory", Dir: true, Mode: fs.ModeDir | 0o755, UID: 7},
			{Path: "/data/keys/node.key", What: "key file", Secret: true, Mode: 0o600, UID: 7},
			{Path: "/data/api.sock", What: "socket", Secret: true, Mode: fs.ModeSocket | 0o600, UID: 7},
			{Path: "/data/rules.cedar", What: "file of local rules", Foreign: true, Mode: 0o644, UID: 0}}},
		Keys: &Keys{OpHere: true, Epoch: 1, Fresh: now.Add(20 * dayOf), OnCard: true, NodeEnds: now.Add(300 * dayOf), Certificate: now.Add(90 * dayOf), Lock: "passphrase"},
		Ports: &Ports{List: []Port{{Addr: "/ip4/0.0.0.0/udp/4401/quic-v1", UDP: true}, {Addr: "/ip4/0.0.0.0/tcp/4401"}},
			ReadBuffer: 8 << 20, WriteBuffer: 8 << 20, Handles: 65536, OwnProcess: true},
		Reach: &Reach{Announced: []string{"/ip4/198.51.100.7/udp/4401/quic-v1", "/dns4/n.example.org/tcp/4401"},
			Asked: []Asked{{Org: "A", Outcomes: []string{"reached", "reached"}}, {Org: "B", Outcomes: []string{"reached", "busy"}}}},
		Peers:      []Peer{{Org: "A", Node: "a1", Partner: true, Connected: true}, {Org: "A", Node: "a2", Partner: true, Since: now.Add(-time.Hour), Error: "timeout"}},
		Roster:     &Roster{Network: "net", Members: 3, Stewards: []Member{{Org: "A", Fresh: true}, {Org: "B"}}, Stale: []string{"B"}},
		Agreements: &Agreements{InForce: 2},
		Gaps:       &Gaps{Feeds: 4, Entries: 900},
		Backup:     &Backup{Last: now.Add(-dayOf), Verified: now.Add(-time.Hour), Of: now.Add(-dayOf), Wrote: true, Since: now.Add(-100 * dayOf)},
		Exchanges:  map[string]string{"mirror": "no database follows the corpus"},
	}
}

func TestNothingIsWrong(t *testing.T) {
	list := Examine(well())
	for _, f := range list {
		if f.State != OK || f.Kind != "" || f.Do != "" || f.Text == "" {
			t.Errorf("%+v", f)
		}
	}
	if len(list) != len(Checks()) || Code(list) != 0 || len(Passive(well())) != 0 {
		t.Errorf("%d findings of %d checks, exit status %d, and of itself it says %v", len(list), len(Checks()), Code(list), Passive(well()))
	}
}

// broken is each thing that can be wrong, broken alone.
var broken = []struct {
	name, check, kind string
	state             State
	passive           bool // the status tells it too, as far as the node knows it without asking
	text, do          string
	breakIt           func(*Facts)
}{
	{"cannot be opened", "node", "node-unopened", Error, true, "there is no organisation in x", "entente init", func(f *Facts) { f.Unopened = "there is no organisation in x" }},
	{"another user's", "node", "node-unopened", Error, true, "belongs to", "as the user whose", func(f *Facts) { f.Unopened = "x belongs to user 1, and this is user 0: run it as the user of the node" }},
	{"key file open", "node", "node-unopened", Error, true, "chmod 600", "permissions", func(f *Facts) { f.Unopened = "key file x can be read by others (mode 644); run chmod 600 on it" }},
	{"no passphrase", "node", "node-unopened", Error, true, "passphrase", "ENTENTE_PASSPHRASE_FILE", func(f *Facts) { f.Unopened = "the keys are locked with a passphrase" }},
	{"no permission", "node", "node-unopened", Error, true, "denied", "permissions", func(f *Facts) { f.Unopened = "open x: permission denied" }},
	{"in use", "node", "node-unopened", Error, true, "in use", "stop the other", func(f *Facts) { f.Unopened = "the store is in use by another process" }},
	{"damaged", "node", "node-unopened", Error, true, "checksum", "backup restore", func(f *Facts) { f.Unopened = "checksum mismatch" }},
	{"down", "node", "node-down", Warning, false, "not on the network", "entente up", func(f *Facts) { f.Online = false }},

	{"set back", "clock", "clock-behind", Error, true, "365 days before", "timedatectl", func(f *Facts) { f.Clock.Newest = now.Add(365 * dayOf) }},
	{"not believed", "clock", "clock-contradicted", Error, true, "3 of the 4 organisations", "--clock-ok", func(f *Facts) {
		f.Clock.Doubt, f.Clock.ByPeers = "the clock stands 365 days ahead of those of 3 of the 4 organisations that said their time", true
	}},
	{"confirmed by nobody", "clock", "clock-unconfirmed", Error, true, "365 days after", "--clock-ok", func(f *Facts) { f.Clock.Doubt = "the clock stands 365 days after what this node stated last" }},
	{"ahead of all", "clock", "clock-differs", Error, true, "366 days ahead of 3 of 3 peers", "timedatectl", func(f *Facts) {
		for i := range f.Clock.Peers {
			f.Clock.Peers[i].Offset = -366 * dayOf
		}
	}},
	{"behind most", "clock", "clock-differs", Warning, false, "5 minutes behind 2 of 3 peers", "timedatectl", func(f *Facts) {
		f.Clock.Peers[0].Offset, f.Clock.Peers[1].Offset = 5*time.Minute, 5*time.Minute
	}},
	{"one peer alone", "clock", "clock-differs", Warning, false, "the one peer that was asked, A: which of the two is wrong is not known", "date -u", func(f *Facts) {
		f.Clock.Peers = []PeerClock{{"A", 24 * time.Hour, time.Second}}
	}},
	{"not synchronised", "clock", "clock-unsynchronised", Warning, false, "does not keep it", "timedatectl set-ntp true", func(f *Facts) { f.Clock.Synchronised, f.Clock.Peers = No, nil }},
	{"nobody says", "clock", "not-checked", Unknown, false, "no such call", "date -u", func(f *Facts) {
		f.Clock.Synchronised, f.Clock.Why, f.Clock.Peers = NotKnown, "no such call", nil
	}},

	{"almost no room", "disk", "disk-space", Error, true, "511 MiB of room left: nothing is published or taken from peers until there are 512 MiB", "free up", func(f *Facts) { f.Disks[0].Free, f.Room = SpaceFloor-1, nil }},
	{"no room", "disk", "disk-space", Error, true, "100 MiB of room left", "free up", func(f *Facts) { f.Disks[0].Free, f.Room = 100<<20, nil }},
	{"little room", "disk", "disk-space", Warning, true, "900 MiB", "free up", func(f *Facts) { f.Disks[0].Free, f.Room = 900<<20, nil }},
	{"little of a large one", "disk", "disk-space", Warning, true, "4095 MiB", "free up", func(f *Facts) { f.Disks[0].Free, f.Room = 4<<30-1, nil }},
	{"no inodes", "disk", "disk-inodes", Error, true, "room for 3 files", "du --inodes", func(f *Facts) { f.Disks[0].Inodes = 3 }},
	{"few inodes", "disk", "disk-inodes", Warning, true, "room for 3000 files", "du --inodes", func(f *Facts) { f.Disks[0].Inodes = 3000 }},
	{"read-only", "disk", "disk-read-only", Error, true, "read-only", "remount,rw", func(f *Facts) { f.Disks[0].ReadOnly = true }},
	{"network", "disk", "disk-network", Warning, false, "(nfs)", "--dir", func(f *Facts) { f.Disks[0].Type, f.Disks[0].Network = "nfs", true }},
	{"memory", "disk", "disk-memory", Warning, false, "(tmpfs)", "--dir", func(f *Facts) { f.Disks[0].Type, f.Disks[0].Memory = "tmpfs", true }},
	{"anchor in memory", "disk", "disk-memory", Warning, false, "the anchor", "the anchor beside it", func(f *Facts) {
		f.Disks = append(f.Disks, f.Disks[0])
		f.Disks[1].What, f.Disks[1].Memory = "anchor", true
	}},
	{"container", "disk", "disk-container", Warning, false, "(overlay)", "volume", func(f *Facts) { f.Disks[0].Type, f.Disks[0].Layered = "overlay", true }},
	{"limit above the room", "disk", "disk-limit", Warning, false, "99 GiB more", "--disk-limit 47104,", func(f *Facts) { f.Room.Limit = 100 << 30 }},
	{"near the limit", "disk", "disk-nearly-full", Warning, false, "9728 MiB of the 10 GiB", "raise --disk-limit", func(f *Facts) { f.Room.Used = 9728 << 20 }},
	{"slow", "disk", "disk-slow", Warning, false, "80ms (p50 of 20)", "iostat", func(f *Facts) { f.Speed.P50 = 80 * time.Millisecond }},
	{"slow now and then", "disk", "disk-slow", Warning, false, "2s (p99)", "iostat", func(f *Facts) { f.Speed.P99 = 2 * time.Second }},
	{"not looked at", "disk", "not-checked", Unknown, false, "permission denied", "ls -ld /data", func(f *Facts) { f.Disks[0].Why = "permission denied" }},

	{"key open", "permissions", "secret-readable", Error, true, "(mode 644)", "chmod 600 /data/keys/node.key", func(f *Facts) { f.Files.List[1].Mode = 0o644 }},
	{"directory of keys open", "permissions", "secret-readable", Error, true, "(mode 750)", "chmod 700 /data/keys/node.key", func(f *Facts) {
		f.Files.List[1].Mode, f.Files.List[1].Dir = fs.ModeDir|0o750, true
	}},
	{"socket open", "permissions", "secret-readable", Error, true, "(mode 666)", "chmod 600 /data/api.sock", func(f *Facts) { f.Files.List[2].Mode = fs.ModeSocket | 0o666 }},
	{"rules writable", "permissions", "file-writable", Error, true, "(mode 664)", "chmod go-w /data/rules.cedar", func(f *Facts) { f.Files.List[3].Mode = 0o664 }},
	{"root's file", "permissions", "file-owner", Error, true, "1 file is not entente's", "chown entente /data/keys/node.key", func(f *Facts) { f.Files.List[1].UID = 0 }},
	{"root's files", "permissions", "file-owner", Error, true, "4 files are not entente's", "chown -R entente /data /data.anchor", func(f *Facts) {
		f.Files.List = slices.Repeat(f.Files.List[1:2], 4)
		for i := range f.Files.List {
			f.Files.List[i].UID = 0
		}
	}},
	{"another's rules", "permissions", "file-owner", Error, true, "/data/rules.cedar", "chown entente /data/rules.cedar", func(f *Facts) { f.Files.List[3].UID = 8 }},
	{"path with a blank", "permissions", "secret-readable", Error, true, "/da ta", `chmod 600 '/da ta/it'\''s'`, func(f *Facts) { f.Files.List[1].Path, f.Files.List[1].Mode = "/da ta/it's", 0o644 }},
	{"file not looked at", "permissions", "not-checked", Unknown, false, "permission denied", "as the user of the node", func(f *Facts) { f.Files.List[1].Why = "permission denied" }},

	{"card ends", "keys", "card-ending", Warning, true, "in less than 7 days", "entente up", func(f *Facts) { f.Keys.Fresh = now.Add(6 * dayOf) }},
	{"card ends tomorrow", "keys", "card-ending", Warning, true, "in less than 1 day,", "entente up", func(f *Facts) { f.Keys.Fresh = now.Add(dayOf) }},
	{"card stale", "keys", "card-stale", Error, true, "no longer fresh", "where the operational key is", func(f *Facts) { f.Keys.Fresh, f.Keys.OpHere = now, false }},
	{"node ends in a month", "keys", "node-ending", Warning, true, "in less than 30 days", "entente up", func(f *Facts) { f.Keys.NodeEnds = now.Add(29 * dayOf) }},
	{"node ends in a week", "keys", "node-ending", Warning, true, "in less than 7 days", "entente up", func(f *Facts) { f.Keys.NodeEnds = now.Add(7 * dayOf) }},
	{"node ends tomorrow", "keys", "node-ending", Warning, true, "in less than 1 day,", "entente up", func(f *Facts) { f.Keys.NodeEnds = now.Add(time.Hour) }},
	{"node ended", "keys", "node-expired", Error, true, "nobody admits it", "entente node renew", func(f *Facts) { f.Keys.NodeEnds = now.Add(-time.Hour) }},
	{"certificate ends", "keys", "certificate-ending", Warning, true, "in less than 30 days", "start the node again", func(f *Facts) { f.Keys.Certificate = now.Add(29 * dayOf) }},
	{"certificate ended", "keys", "certificate-expired", Error, true, "they refuse", "start the node again", func(f *Facts) { f.Keys.Certificate = now.Add(-1) }},
	{"key elsewhere", "keys", "op-key-elsewhere", Warning, false, "not on this machine", "has the key", func(f *Facts) {
		f.Problems = []Problem{{"op-key-elsewhere", "warning", "the operational key is not on this machine", "sign on the machine that has the key"}}
	}},

	{"port closed", "ports", "port-closed", Error, true, "nothing listens on /ip4/0.0.0.0/tcp/4401", "ss -lntup", func(f *Facts) { f.Ports.List[1].Closed = true }},
	{"port unanswered", "ports", "port-unanswered", Error, true, "timeout", "nft list ruleset", func(f *Facts) { f.Ports.List[1].Unanswered = "timeout" }},
	{"port taken", "ports", "port-taken", Error, true, "another process", "ss -lntup", func(f *Facts) { f.Ports.List[1].Taken = true }},
	{"port denied", "ports", "port-taken", Error, true, "may not listen", "CAP_NET_BIND_SERVICE", func(f *Facts) { f.Ports.List[1].Denied, f.Ports.List[1].Why = true, "refused" }},
	{"port not tried", "ports", "not-checked", Unknown, false, "no address", "--listen", func(f *Facts) { f.Ports.List[1].Why = "this is no address" }},
	{"no TCP", "ports", "port-one-transport", Warning, false, "by TCP", "tcp/4401", func(f *Facts) { f.Ports.List = f.Ports.List[:1] }},
	{"no UDP", "ports", "port-one-transport", Warning, false, "by UDP", "udp/4401/quic-v1", func(f *Facts) { f.Ports.List = f.Ports.List[1:] }},
	{"small buffers", "ports", "udp-buffers", Warning, false, "208 KiB", "sysctl -w net.core.rmem_max=7500000", func(f *Facts) { f.Ports.ReadBuffer = 212992 }},
	{"few handles", "ports", "file-handles", Warning, false, "1024 files", "LimitNOFILE", func(f *Facts) { f.Ports.Handles = 1024 }},

	{"not reached", "reachability", "unreachable", Warning, false, "no answer in time", "firewall", func(f *Facts) {
		f.Reach.Asked = []Asked{{Org: "A", Outcomes: []string{"timeout", "refused"}}, {Org: "B", Outcomes: []string{"timeout", "busy"}}}
	}},
	{"private address", "reachability", "unreachable", Warning, false, "private network", "--announce", func(f *Facts) {
		f.Reach.Announced, f.Reach.Asked = []string{"/ip4/10.0.0.1/tcp/4401"}, []Asked{{Org: "A", Outcomes: []string{"not allowed"}}}
	}},
	{"one not reached", "reachability", "address-unreachable", Warning, false, "not reached at /dns4/n.example.org/tcp/4401 (nothing listens there)", "firewall", func(f *Facts) {
		f.Reach.Asked = []Asked{{Org: "A", Outcomes: []string{"reached", "refused"}}}
	}},
	{"no address", "reachability", "unreachable", Warning, false, "no address", "--announce", func(f *Facts) { f.Reach.Announced = nil }},
	{"nobody to ask", "reachability", "not-checked", Unknown, false, "no peer", "peers", func(f *Facts) { f.Reach.Asked = nil }},
	{"nobody could say", "reachability", "not-checked", Unknown, false, "A: it runs an older version", "in a minute", func(f *Facts) {
		f.Reach.Asked = []Asked{{Org: "A", Why: "it runs an older version"}, {Org: "B", Outcomes: []string{"busy", "busy"}}}
	}},

	{"partner down", "peers", "peer-unreachable", Warning, false, "connection refused", "ask them", func(f *Facts) {
		f.Peers = []Peer{{Org: "A", Node: "a1", Partner: true, Since: now.Add(-time.Hour), Error: "connection refused"}}
	}},

	{"removed", "roster", "removed", Error, true, "was removed from the network on 2026-06-30 12:00: left", "network invite", func(f *Facts) { f.Roster.Removed, f.Roster.Why = now.Add(-dayOf), "left" }},
	{"stewards gone", "roster", "steward-stale", Warning, false, "(A, B)", "operational key", func(f *Facts) { f.Roster.Stewards[0].Fresh = false }},

	{"never backed up", "backup", "backup-never", Warning, true, "never", "backup create", func(f *Facts) { f.Backup.Last = time.Time{} }},
	{"backed up long ago", "backup", "backup-old", Warning, true, "8 days old", "backup create", func(f *Facts) { f.Backup.Last = now.Add(-8 * dayOf) }},
	{"not verified", "backup", "backup-unverified", Unknown, false, "not known here", "backup verify", func(f *Facts) { f.Backup.Verified = time.Time{} }},
}

// TestBroken breaks each thing alone: the check that is about it says so, and no other.
func TestBroken(t *testing.T) {
	for _, c := range broken {
		t.Run(c.name, func(t *testing.T) {
			f := well()
			c.breakIt(f)
			list := Examine(f)
			found := slices.DeleteFunc(slices.Clone(list), func(x Finding) bool { return x.State == OK })
			if len(found) != 1 {
				t.Fatalf("%d findings: %+v", len(found), found)
			}
			x := found[0]
			if x.Check != c.check || x.Kind != c.kind || x.State != c.state || !strings.Contains(x.Text, c.text) || !strings.Contains(x.Do, c.do) {
				t.Errorf("%+v", x)
			}
			if want := map[bool]int{true: 2}[c.state == Warning || c.state == Error]; Code(list) != want {
				t.Errorf("exit status %d", Code(list))
			}
			if got := Passive(f); (len(got) == 1) != c.passive {
				t.Errorf("of itself it says %+v", got)
			}
			if only := Examine(f, c.check); !slices.ContainsFunc(only, func(y Finding) bool { return y == x }) || slices.ContainsFunc(only, func(y Finding) bool { return y.Check != c.check }) {
				t.Errorf("asked for this check alone: %+v", only)
			}
			if others := Examine(f, slices.DeleteFunc(Checks(), func(name string) bool { return name == c.check })...); Code(others) != 0 {
				t.Errorf("asked for the others: %+v", others)
			}
		})
	}
}

// TestRightAllTheSame are facts that look wrong and are not.
func TestRightAllTheSame(t *testing.T) {
	for _, c := range []struct {
		name, check, text string
		change            func(*Facts)
	}{
		{"one of three clocks is wrong", "clock", "agrees with 2 of 3 peers", func(f *Facts) { f.Clock.Peers[0].Offset = time.Hour }},
		{"half of the clocks are wrong", "clock", "agrees with 1 of 2 peers", func(f *Facts) { f.Clock.Peers = []PeerClock{{"A", time.Hour, 0}, {"B", 0, 0}} }},
		{"a slow way to the peers", "clock", "agrees with 3 peers", func(f *Facts) { f.Clock.Peers[0] = PeerClock{"A", 33 * time.Second, 4 * time.Second} }},
		{"peers agree with a clock that is not synchronised", "clock", "agrees with 3 peers", func(f *Facts) { f.Clock.Synchronised = No }},
		{"the system says nothing, peers do", "clock", "agrees with 3 peers", func(f *Facts) { f.Clock.Synchronised = NotKnown }},
		{"no peer was asked", "clock", "synchronised", func(f *Facts) { f.Clock.Peers = nil }},
		{"the clock was set back by a minute", "clock", "agrees", func(f *Facts) { f.Clock.Newest = now.Add(time.Minute) }},
		{"a hundredth of a very large disk", "disk", "free", func(f *Facts) { f.Disks[0].Free, f.Disks[0].Total = 10<<30, 1000<<30 }},
		{"inodes are not counted", "disk", "free", func(f *Facts) { f.Disks[0].Inodes, f.Disks[0].InodesTotal = 0, 0 }},
		{"no limit", "disk", "free", func(f *Facts) { f.Room.Limit = 0 }},
		{"small buffers of root", "ports", "answer", func(f *Facts) { f.Ports.ReadBuffer, f.Ports.BuffersForced = 1, true }},
		{"buffers not known", "ports", "answer", func(f *Facts) { f.Ports.ReadBuffer, f.Ports.WriteBuffer, f.Ports.Handles = 0, 0, 0 }},
		{"no certificate", "keys", "epoch 1", func(f *Facts) { f.Keys.Certificate = time.Time{} }},
		{"reached by one", "reachability", "reached by 2 peers", func(f *Facts) { f.Reach.Asked[1].Outcomes = []string{"timeout", "timeout"} }},
		{"a relay only", "reachability", "by way of a relay", func(f *Facts) {
			f.Reach.Announced, f.Reach.Asked = []string{"/ip4/198.51.100.1/tcp/1/p2p/x/p2p-circuit"}, []Asked{{Org: "A", Outcomes: []string{"relay"}}}
		}},
		{"a relay, and a port that is closed", "reachability", "by way of a relay only", func(f *Facts) {
			f.Reach.Announced, f.Reach.Asked = []string{"/ip4/198.51.100.1/tcp/1/p2p/x/p2p-circuit", "/ip4/198.51.100.2/tcp/1"}, []Asked{{Org: "A", Outcomes: []string{"relay", "timeout"}}}
		}},
		{"a member that is no partner is down", "peers", "1 of 3 nodes connected", func(f *Facts) {
			f.Peers = append(f.Peers, Peer{Org: "B", Node: "b", Since: now.Add(-time.Hour), Error: "timeout"})
		}},
		{"a partner is down for a minute", "peers", "0 of 1 node", func(f *Facts) {
			f.Peers = []Peer{{Org: "A", Node: "a1", Partner: true, Since: now.Add(-time.Minute), Error: "timeout"}}
		}},
		{"nobody is known", "peers", "no other organisation", func(f *Facts) { f.Peers = nil }},
		{"nothing was published", "backup", "none yet", func(f *Facts) { f.Backup.Last, f.Backup.Wrote = time.Time{}, false }},
		{"a node of today", "backup", "none yet", func(f *Facts) { f.Backup.Last, f.Backup.Since = time.Time{}, now.Add(-time.Hour) }},
	} {
		f := well()
		c.change(f)
		list := Examine(f)
		if Code(list) != 0 || !slices.ContainsFunc(list, func(x Finding) bool { return x.Check == c.check && x.State == OK && strings.Contains(x.Text, c.text) }) {
			t.Errorf("%s: %+v", c.name, Examine(f, c.check))
		}
	}
}

// TestProblemsOfTheStatus: none is lost, none is said twice, and each is told by its check.
func TestProblemsOfTheStatus(t *testing.T) {
	f := well()
	for kind := range Kinds {
		f.Problems = append(f.Problems, Problem{kind, "warning", "one", "do it"}, Problem{kind, "error", "two", "do it"})
	}
	f.Problems = append(f.Problems, Problem{"of-another-version", "error", "three", "do it"})
	f.Backup.Last = time.Time{} // the check says so itself
	count := map[string]int{}
	for _, x := range Examine(f) {
		count[x.Kind]++
		if want := Kinds[x.Kind]; want != "" && x.Check != want {
			t.Errorf("%s is told by %s, and not by %s", x.Kind, x.Check, want)
		}
	}
	for kind := range Kinds {
		want := 2
		if kind == "backup-never" {
			want = 1
		}
		if count[kind] != want {
			t.Errorf("%s is told %d times, want %d", kind, count[kind], want)
		}
	}
	if count["of-another-version"] != 1 {
		t.Error("a problem of a kind that is not known is lost")
	}
}

// TestNothingKnown: where nothing was looked at, that is said of every check, and how to mend it.
func TestNothingKnown(t *testing.T) {
	f := &Facts{Now: now, Unopened: "damaged"}
	for _, x := range Examine(f) {
		if want := map[bool]State{true: Error, false: Unknown}[x.Check == "node"]; x.State != want || x.Do == "" {
			t.Errorf("%+v", x)
		}
	}
	f = well()
	f.Why["disk"] = "how fast it is was not measured: --quick"
	if list := Examine(f, "disk"); Code(list) != 0 || !slices.ContainsFunc(list, func(x Finding) bool { return x.State == Unknown && strings.Contains(x.Do, "without --quick") }) {
		t.Errorf("%+v", list)
	}
}

// TestAnyFacts: whatever the facts are, there is a finding of each check, in order, and a repair for each that
// is not ok.
func TestAnyFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := well()
		for _, c := range broken {
			if rapid.Bool().Draw(t, c.name) && !mended(f, c.breakIt) {
				continue
			}
		}
		list := Examine(f)
		seen := []string{}
		for _, x := range list {
			if len(seen) == 0 || seen[len(seen)-1] != x.Check {
				seen = append(seen, x.Check)
			}
			if x.Text == "" || x.State != OK && (x.Do == "" || Kinds[x.Kind] == "") {
				t.Fatalf("%+v", x)
			}
		}
		if !slices.Equal(seen, Checks()) {
			t.Fatalf("checks are %v", seen)
		}
	})
}

// mended breaks facts, some of which another break has taken away.
func mended(f *Facts, breakIt func(*Facts)) (ok bool) {
	defer func() { ok = recover() == nil }()
	breakIt(f)
	return true
}

// TestKindsAreDocumented: docs/problems.md lists all kinds, and no others, with their check.
func TestKindsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([^|]+) \\| ([^|]+) \\|$")
	docs := map[string]string{}
	section := ""
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(name)
		}
		if m := row.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			if docs[m[1]] != "" {
				t.Errorf("%s is documented twice", m[1])
			}
			docs[m[1]] = section
		}
	}
	for kind, check := range Kinds {
		if docs[kind] != check {
			t.Errorf("docs/problems.md tells of %q under %q, want %q: give it a row with what it means and what to do", kind, docs[kind], check)
		}
	}
	for kind := range docs {
		if Kinds[kind] == "" {
			t.Errorf("docs/problems.md tells of %q, which there is not", kind)
		}
	}
	for kind, check := range Kinds {
		if !slices.Contains(Checks(), check) {
			t.Errorf("%s is of a check %q, which there is not", kind, check)
		}
	}
}

// TestRepairsAreCommands: what is named to repair permissions is taken by a shell as it is.
func TestRepairsAreCommands(t *testing.T) {
	dir := t.TempDir() + "/it's a \"dir\" $HOME"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f := well()
	f.Files = &Files{UID: os.Getuid(), User: fmt.Sprint(os.Getuid()), List: []File{{Path: dir, What: "directory of keys", Secret: true, Dir: true, Mode: fs.ModeDir | 0o755, UID: os.Getuid()}}}
	list := Examine(f, "permissions")
	if out, err := exec.Command("sh", "-c", list[0].Do).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", list[0].Do, err, out)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if f.Files.List[0].Mode = info.Mode(); Code(Examine(f, "permissions")) != 0 {
		t.Errorf("%s did not mend it: %v", list[0].Do, info.Mode())
	}
}
