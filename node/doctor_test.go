package node

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/doctor"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// TestEveryProblemHasAKind reads the source: every problem that a status tells has a kind of doctor.Kinds, and
// every kind there is told by somebody. docs/problems.md has them all: TestKindsAreDocumented.
func TestEveryProblemHasAKind(t *testing.T) {
	used := map[string]bool{"not-checked": true}
	for what, k := range expiryKinds {
		if used[k.ending] = true; k.ended != "" {
			used[k.ended] = true
		}
		if k.ending == "" || k.text == "" {
			t.Errorf("nothing tells that a %s ends", what)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	word := func(e ast.Expr) string {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return ""
		}
		s, _ := strconv.Unquote(lit.Value)
		return s
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(x ast.Node) bool {
			switch x := x.(type) {
			case *ast.CompositeLit:
				if id, ok := x.Type.(*ast.Ident); !ok || id.Name != "Problem" {
					return true
				}
				kind, own := "", false
				for _, e := range x.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == "Kind" {
						_, own = kv.Value.(*ast.Ident) // of Status.problem
						kind = word(kv.Value)
					}
				}
				if !own {
					used[kind] = true
				}
				if !own && kind == "" {
					t.Errorf("%s: a problem without a kind: give it one of docs/problems.md", fset.Position(x.Pos()))
				}
			case *ast.CallExpr:
				fn := ""
				switch f := x.Fun.(type) {
				case *ast.Ident:
					fn = f.Name
				case *ast.SelectorExpr:
					fn = f.Sel.Name
				}
				if fn == "problem" && len(x.Args) >= 4 || fn == "add" && len(x.Args) >= 4 && (word(x.Args[1]) == "warning" || word(x.Args[1]) == "error") {
					if kind := word(x.Args[0]); kind != "" {
						used[kind] = true
					} else if sel, ok := x.Args[0].(*ast.SelectorExpr); name != "expiries.go" && (!ok || sel.Sel.Name != "Kind") { // that has a table
						t.Errorf("%s: a problem whose kind is not a literal", fset.Position(x.Pos()))
					}
				}
			}
			return true
		})
	}
	own := regexp.MustCompile(`Kind: "([a-z-]+)"`)
	for _, name := range []string{"machine.go", "node.go", "doctor.go"} {
		b, err := os.ReadFile(filepath.Join("doctor", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range own.FindAllStringSubmatch(string(b), -1) {
			used[m[1]] = true
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(used)) {
		if doctor.Kinds[kind] == "" {
			t.Errorf("the kind %q is not in doctor.Kinds", kind)
		}
	}
	for kind := range doctor.Kinds {
		if !used[kind] {
			t.Errorf("nothing tells of the kind %q", kind)
		}
	}
}

// foundedOnDisk is a node on disk, opened.
func foundedOnDisk(t *testing.T) (dir string, n *Node) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "node")
	ident, err := Init(InitRequest{Dir: dir, RootFile: filepath.Join(t.TempDir(), "root.txt"), Name: "Example Vendor", Kind: protocol.KindVendor})
	if err != nil {
		t.Fatal(err)
	}
	if n, err = Open(Config{Dir: dir, Keys: ident.Keys}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return dir, n
}

// findings runs some checks of the doctor, and returns what is not ok.
func findings(t *testing.T, n *Node, checks ...string) (bad []doctor.Finding) {
	t.Helper()
	report, err := n.Doctor(context.Background(), DoctorRequest{Checks: checks, Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(report.Findings, func(f doctor.Finding) bool { return !f.Bad() })
}

func hasProblem(t *testing.T, n *Node, kind string) bool {
	t.Helper()
	return countProblems(t, n, kind) > 0
}

func countProblems(t *testing.T, n *Node, kind string) (count int) {
	t.Helper()
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range st.Problems {
		if p.Kind == kind {
			count++
		}
	}
	return count
}

// TestDoctorMendsPermissions breaks permissions, runs the repair that is named, and looks again.
func TestDoctorMendsPermissions(t *testing.T) {
	dir, n := foundedOnDisk(t)
	if bad := findings(t, n, "permissions"); len(bad) > 0 {
		t.Fatalf("of a new node: %+v", bad)
	}
	rules := filepath.Join(dir, "rules.cedar")
	if err := os.WriteFile(rules, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	chmod := func(path string, mode os.FileMode) func() error { return func() error { return os.Chmod(path, mode) } }
	for _, c := range []struct {
		name, kind string
		breakIt    func() error
	}{
		{"key file", "secret-readable", chmod(filepath.Join(dir, keyDir, nodeFile), 0o640)},
		{"lock", "secret-readable", chmod(filepath.Join(dir, keyDir, lockFile), 0o604)},
		{"directory of keys", "secret-readable", chmod(filepath.Join(dir, keyDir), 0o755)},
		{"data directory", "file-writable", chmod(dir, 0o777)},
		{"anchor", "file-writable", chmod(anchorOf(dir), 0o770)},
		{"store", "file-writable", chmod(filepath.Join(dir, storeDir), 0o702)},
		{"rules", "file-writable", chmod(rules, 0o666)},
		{"owner of a key file", "file-owner", func() error { return os.Chown(filepath.Join(dir, keyDir, nodeFile), 65534, 65534) }},
		{"owner of all", "file-owner", func() error { return exec.Command("chown", "-R", "65534", dir).Run() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.kind == "file-owner" && os.Getuid() != 0 {
				t.Skip("only root gives files away")
			}
			if err := c.breakIt(); err != nil {
				t.Fatal(err)
			}
			bad := findings(t, n, "permissions")
			if c.kind == "secret-readable" && c.name != "lock" { // each is told, also beside another
				if err := os.Chmod(filepath.Join(dir, keyDir, lockFile), 0o644); err != nil {
					t.Fatal(err)
				}
				if found := findings(t, n, "permissions"); len(found) != countProblems(t, n, c.kind) || len(found) != 2 {
					t.Errorf("%d findings, and %d problems in the status, want two", len(found), countProblems(t, n, c.kind))
				}
				if err := os.Chmod(filepath.Join(dir, keyDir, lockFile), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if len(bad) != 1 || bad[0].Kind != c.kind || bad[0].State != doctor.Error || !hasProblem(t, n, c.kind) {
				t.Fatalf("found %+v", bad)
			}
			if out, err := exec.Command("sh", "-c", bad[0].Do).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", bad[0].Do, err, out)
			}
			if bad := findings(t, n, "permissions"); len(bad) > 0 || hasProblem(t, n, c.kind) {
				t.Errorf("after the repair: %+v", bad)
			}
		})
	}
}

// TestDoctorOfTheClock: a node whose own past lies ahead says so, and so does its status.
func TestDoctorOfTheClock(t *testing.T) {
	n := testNetwork(t, "Author")[0]
	publishList(t, n, "198.51.100.1\n", green)
	behind := func(d time.Duration) bool {
		t.Helper()
		err := n.st.Update(func(tx *store.Tx) error {
			return tx.Feeds(func(f *store.Feed) error {
				f.SealedAt = uint64(nowMillis() + d.Milliseconds())
				return tx.PutFeed(f)
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		bad := findings(t, n, "clock")
		found := slices.ContainsFunc(bad, func(f doctor.Finding) bool { return f.Kind == "clock-behind" && f.State == doctor.Error })
		if found != hasProblem(t, n, "clock-behind") {
			t.Errorf("%s ahead: the doctor and the status do not agree: %+v", d, bad)
		}
		return found
	}
	if behind(time.Second) || !behind(365*24*time.Hour) || behind(0) {
		t.Error("a clock that was set back is not found, or one that was not is")
	}
}

// TestDoctorOfBackups: what was never backed up, was long ago, and was verified.
func TestDoctorOfBackups(t *testing.T) {
	key := newOffline(t)
	synctest.Test(t, func(t *testing.T) {
		n := testNetwork(t, "Author")[0]
		if time.Sleep(25 * time.Hour); hasProblem(t, n, "backup-never") {
			t.Error("of a node that published nothing")
		}
		publishList(t, n, "198.51.100.1\n", green)
		if !hasProblem(t, n, "backup-never") {
			t.Error("nothing is said of a node that published and was never backed up")
		}
		if _, err := n.Backup(context.Background(), failing{}, BackupRequest{Recipients: []string{key.recipient}}); err == nil {
			t.Fatal("a backup to a full disk is one")
		}
		if !hasProblem(t, n, "backup-never") {
			t.Error("a backup that failed counts")
		}
		info, err := n.Backup(context.Background(), io.Discard, BackupRequest{Recipients: []string{key.recipient}})
		if err != nil {
			t.Fatal(err)
		}
		unverified := func() bool {
			report, err := n.Doctor(context.Background(), DoctorRequest{Checks: []string{"backup"}})
			if err != nil || len(report.Findings) != 1 {
				t.Fatal(report, err)
			}
			return report.Findings[0].Kind == "backup-unverified"
		}
		if hasProblem(t, n, "backup-never") || !unverified() {
			t.Error("a backup does not count, or counts as verified")
		}
		if err := n.NoteVerified(protocol.NodeID{1}, info.Created); !errors.Is(err, protocol.ErrWrongContext) {
			t.Errorf("a backup of another node: %v", err)
		}
		if err := n.NoteVerified(n.ID(), info.Created.Add(time.Hour)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("a backup of the future: %v", err)
		}
		if err := n.NoteVerified(n.ID(), info.Created); err != nil || unverified() {
			t.Errorf("what was verified is not noted: %v", err)
		}
		if time.Sleep(8 * 24 * time.Hour); !hasProblem(t, n, "backup-old") {
			t.Error("nothing is said of an old backup")
		}
		if err := n.NoteVerified(n.ID(), info.Created.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if f := n.facts(n.snap.Load()); !f.Backup.Of.Equal(info.Created) {
			t.Errorf("an older backup that was verified later takes the place of a newer one: %s", f.Backup.Of)
		}
	})
}

// failing is a disk that is full.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestDoctorOfANodeThatIsDown: what it is to listen on is tried, and what cannot be looked at is named.
func TestDoctorOfANodeThatIsDown(t *testing.T) {
	_, n := foundedOnDisk(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := []string{"/ip4/127.0.0.1/tcp/" + portOf(taken.Addr()), "/ip4/127.0.0.1/udp/" + portOf(packets.LocalAddr()) + "/quic-v1"}
	look := func() (kinds []string) {
		t.Helper()
		report, err := n.Doctor(context.Background(), DoctorRequest{Quick: true, Listen: listen})
		if err != nil || report.Online {
			t.Fatal(report, err)
		}
		for _, f := range report.Findings {
			if f.Check == "ports" && f.State == doctor.Error {
				kinds = append(kinds, f.Kind)
			}
			if f.Check == "reachability" && (f.State != doctor.Unknown || f.Do == "") {
				t.Errorf("a node that is down: %+v", f)
			}
		}
		return kinds
	}
	if kinds := look(); !slices.Equal(kinds, []string{"port-taken", "port-taken"}) {
		t.Errorf("ports of another process: %v", kinds)
	}
	taken.Close()
	packets.Close()
	if kinds := look(); len(kinds) > 0 {
		t.Errorf("after it was stopped: %v", kinds)
	}
	if _, err := n.Doctor(context.Background(), DoctorRequest{Checks: []string{"weather"}}); !errors.Is(err, protocol.ErrMalformed) || !strings.Contains(err.Error(), "reachability") {
		t.Errorf("a check that there is not: %v", err)
	}
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// TestDoctorOffline: of a node whose keys cannot be read it says what can be seen from outside.
func TestDoctorOffline(t *testing.T) {
	dir, _ := foundedOnDisk(t)
	lock := filepath.Join(dir, keyDir, lockFile)
	if err := os.Chmod(lock, 0o644); err != nil {
		t.Fatal(err)
	}
	_, why := OpenLock(dir, nil)
	if why == nil {
		t.Fatal("a lock that others may read is used")
	}
	listen := []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
	report, err := DoctorOffline(context.Background(), dir, DoctorRequest{Listen: listen}, why)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]doctor.Finding{}
	for _, f := range report.Findings {
		if f.State != doctor.OK && f.Do == "" {
			t.Errorf("no repair is named: %+v", f)
		}
		if f.State == doctor.Error || seen[f.Check].Check == "" {
			seen[f.Check] = f
		}
	}
	if seen["node"].Kind != "node-unopened" || seen["keys"].State != doctor.Unknown || seen["permissions"].Kind != "secret-readable" || len(seen) != len(doctor.Checks()) {
		t.Errorf("%+v", report.Findings)
	}
	if out, err := exec.Command("sh", "-c", seen["permissions"].Do).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := OpenLock(dir, nil); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	none, err := DoctorOffline(context.Background(), filepath.Join(dir, "none"), DoctorRequest{Listen: listen}, errors.New("there is no organisation in none"))
	if err != nil || doctor.Code(none.Findings) != 2 {
		t.Errorf("of no directory: %+v, %v", none, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the doctor made the directory")
	}
}

func TestDiskSpeed(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, speedPrefix+"123")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := diskSpeed(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.P50 <= 0 || s.P99 < s.P50 || s.Took <= 0 || s.Count != speedFiles || s.Bytes != speedLarge {
		t.Errorf("%+v", s)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	if _, err := diskSpeed(context.Background(), filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that there is not has a speed")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := diskSpeed(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestConfiguredPorts(t *testing.T) {
	listening := []string{"/ip4/0.0.0.0/tcp/4401", "/ip4/127.0.0.1/udp/40001/quic-v1", "/ip6/::/tcp/4401"}
	for addr, open := range map[string]bool{
		"/ip4/0.0.0.0/tcp/4401":           true,
		"/ip4/0.0.0.0/udp/4401/quic-v1":   false,
		"/ip4/127.0.0.1/udp/0/quic-v1":    true,
		"/ip4/127.0.0.1/tcp/0":            false,
		"/ip6/0:0:0:0:0:0:0:0/tcp/4401":   true,
		"/ip6/::1/tcp/4401":               false,
		"/dns4/node.example.org/tcp/4401": false,
	} {
		p := configuredPorts([]string{addr}, listening)
		if len(p) != 1 || p[0].Closed == open || p[0].UDP != strings.Contains(addr, "udp") {
			t.Errorf("%s: %+v", addr, p)
		}
	}
	if p := configuredPorts(DefaultListen, nil); len(p) != len(DefaultListen) || !p[0].Closed {
		t.Errorf("by default: %+v", p)
	}
	for _, addr := range []string{"", "/", "/ip4/127.0.0.1", "/ip4/127.0.0.1/sctp/1", "/ip4/127.0.0.1/tcp/70000", "/ip4/127.0.0.1/tcp/x", "/ip4/nonsense/tcp/1", "/dns4/x/tcp/1", "127.0.0.1:4401"} {
		if p := bindPorts([]string{addr}); len(p) != 1 || p[0].Why == "" || p[0].Taken {
			t.Errorf("%q was tried: %+v", addr, p)
		}
	}
}

// TestFailuresToCall: since when a peer cannot be called stays, how it failed last is told, on one line and
// cut; a call that succeeds ends it.
func TestFailuresToCall(t *testing.T) {
	net := &network{failed: map[protocol.NodeID]unreached{}}
	synctest.Test(t, func(t *testing.T) {
		net.noteFailure(protocol.NodeID{1}, errors.New("first"))
		since := net.failed[protocol.NodeID{1}].since
		time.Sleep(time.Hour)
		net.noteFailure(protocol.NodeID{1}, errors.New("failed to dial:\n  * [/ip4/198.51.100.1/tcp/1] "+strings.Repeat("é", 1000)))
		f := net.failed[protocol.NodeID{1}]
		if !f.since.Equal(since) || !strings.HasPrefix(f.text, "failed to dial: * [/ip4/198.51.100.1/tcp/1] é") || strings.ContainsAny(f.text, "\n\ufffd") || len(f.text) > maxFailure+len("…") {
			t.Errorf("%v", f)
		}
		net.noteFailure(protocol.NodeID{1}, nil)
		if len(net.failed) != 0 {
			t.Error("a call that succeeded ends nothing")
		}
	})
}

// TestDoctorOfTheRoster: an organisation that was removed is told, by the doctor and by the status.
func TestDoctorOfTheRoster(t *testing.T) {
	nodes := testNetwork(t, "Founder", "Member")
	if hasProblem(t, nodes[1], "removed") {
		t.Error("of a member")
	}
	if err := nodes[0].RemoveMember(nodes[1].Org(), "left"); err != nil {
		t.Fatal(err)
	}
	shareSets(t, nodes[0], nodes[1])
	bad := findings(t, nodes[1], "roster")
	if !slices.ContainsFunc(bad, func(f doctor.Finding) bool { return f.Kind == "removed" && strings.Contains(f.Text, "left") }) || !hasProblem(t, nodes[1], "removed") {
		t.Errorf("%+v", bad)
	}
}

// TestDoctorOfKeys: what the card says ends is told as time passes, and what nobody renewed is an error.
func TestDoctorOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNode(t, "Example")
		ends := time.Time{}
		n.ServesUntil(func() time.Time { return ends })
		told := func() (kinds []string) {
			for _, f := range findings(t, n, "keys") {
				kinds = append(kinds, f.Kind)
				if !hasProblem(t, n, f.Kind) {
					t.Errorf("the status does not tell of %s", f.Kind)
				}
			}
			slices.Sort(kinds)
			return kinds
		}
		for _, c := range []struct {
			after time.Duration
			want  []string
		}{
			// A node that is not up renews nothing and turns nothing over.
			{0, nil}, {14 * 24 * time.Hour, nil}, {10 * 24 * time.Hour, []string{"card-ending"}}, {7 * 24 * time.Hour, []string{"age-identity-overdue", "card-stale"}},
			{310 * 24 * time.Hour, []string{"age-identity-overdue", "card-stale", "node-ending"}}, {30 * 24 * time.Hour, []string{"age-identity-overdue", "card-stale", "node-expired"}},
		} {
			time.Sleep(c.after)
			if got := told(); !slices.Equal(got, c.want) {
				t.Errorf("%s later: %v, want %v", c.after, got, c.want)
			}
		}
		for end, want := range map[time.Duration]string{-time.Hour: "certificate-expired", 20 * 24 * time.Hour: "certificate-ending"} {
			if ends = time.Now().Add(end); !slices.Contains(told(), want) {
				t.Errorf("a certificate that ends in %s: %v", end, told())
			}
		}
	})
}

// TestRelayingIsNoAddress: that a node relays stands among the addresses of its card, and is no way to it.
func TestRelayingIsNoAddress(t *testing.T) {
	direct, by := "/ip4/198.51.100.7/tcp/4401", protocol.RelayedAddr("/ip4/198.51.100.8/tcp/4401", protocol.NodeID{1})
	if got := callable([]string{direct, by, protocol.RelayHere}); !slices.Equal(got, []string{direct, by}) {
		t.Errorf("%q", got)
	}
	f := &doctor.Facts{Now: time.Now(), Online: true, Reach: &doctor.Reach{Announced: callable([]string{direct, protocol.RelayHere}),
		Asked: []doctor.Asked{{Org: "A", Outcomes: []string{"timeout"}}}}}
	if got := doctor.Examine(f, "reachability"); len(got) != 1 || got[0].Kind != "unreachable" || !got[0].Bad() {
		t.Errorf("a relay that nobody reaches: %+v", got)
	}
}
