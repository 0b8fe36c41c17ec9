package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/entente-mesh/entente/node/doctor"
)

// What package doctor is told of the machine.

// disks looks at the file systems of the data directory and of the anchor beside it, in which the journal of
// erasures is. Where both are on one, it is looked at once.
func disks(dir, anchor string) []doctor.Disk {
	data := diskOf("data directory", dir)
	if _, err := os.Stat(anchor); errors.Is(err, os.ErrNotExist) {
		return []doctor.Disk{data} // no node was opened here yet
	}
	beside := diskOf("anchor", anchor)
	if data.Why == "" && beside.Why == "" && sameDevice(dir, anchor) {
		return []doctor.Disk{data}
	}
	return []doctor.Disk{data, beside}
}

func sameDevice(a, b string) bool {
	da, aok := deviceOf(a)
	db, bok := deviceOf(b)
	return aok && bok && da == db
}

// The measurement of a disk: what an append waits for, and what a table of the store takes.
const (
	speedFiles  = 20
	speedSmall  = 4 << 10
	speedLarge  = 8 << 20
	speedNeeds  = 64 << 20 // no room is taken where there is not so much left
	speedPrefix = ".doctor-"
)

// diskSpeed writes a few files to a directory, syncs them, and removes them.
func diskSpeed(ctx context.Context, dir string) (_ *doctor.Speed, err error) {
	if d := diskOf("", dir); d.Why == "" && d.Free < speedNeeds {
		return nil, errors.New("there is too little room to write to")
	}
	left, err := filepath.Glob(filepath.Join(dir, speedPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range left { // of a doctor that was killed
		_ = os.Remove(path)
	}
	data := make([]byte, speedLarge)
	rand.Read(data) // some file systems store what is all the same in no time
	s := &doctor.Speed{Count: speedFiles, Bytes: speedLarge}
	var took []time.Duration
	for range speedFiles {
		d, err := timeSync(ctx, dir, data[:speedSmall])
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	slices.Sort(took)
	s.P50, s.P99 = took[len(took)/2], took[len(took)*99/100]
	if s.Took, err = timeSync(ctx, dir, data); err != nil {
		return nil, err
	}
	return s, nil
}

// timeSync measures how long it takes until a new file is durable.
func timeSync(ctx context.Context, dir string, data []byte) (_ time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f, err := os.CreateTemp(dir, speedPrefix)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	begun := time.Now()
	if _, err := f.Write(data); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return time.Since(begun), nil
}

// maxFilesSeen bounds the files of a directory whose owner is looked at.
const maxFilesSeen = 4096

// configFile is the configuration in a data directory, if it is kept there.
const configFile = "entente.toml"

// apiSocket is the socket of the API in a data directory (api.SocketName).
const apiSocket = "api.sock"

// files looks at who may do what with a node's files, which are to belong to uid.
func files(dir, anchor, rules, people string, uid int) *doctor.Files {
	f := &doctor.Files{UID: uid, User: strconv.Itoa(uid), Within: dir}
	if u, err := user.LookupId(f.User); err == nil {
		f.User = u.Username
	}
	if rules == "" {
		rules = filepath.Join(dir, RulesFile)
	}
	if people == "" {
		people = filepath.Join(filepath.Dir(rules), PeopleFile)
	}
	add := func(what, path string, secret, foreign bool) bool {
		x, ok := fileOf(what, path)
		x.Secret, x.Foreign = secret, foreign
		if ok {
			f.List = append(f.List, x)
		}
		return ok && x.Why == "" && x.Dir
	}
	inside := func(what, path string, secret bool) {
		list, err := os.ReadDir(path)
		if err != nil {
			f.List = append(f.List, doctor.File{Path: path, What: what, Dir: true, Why: plain(err)})
			return
		}
		for _, e := range list[:min(len(list), maxFilesSeen)] {
			add(what, filepath.Join(path, e.Name()), secret, false)
		}
	}
	add("data directory", dir, false, false)
	if path := filepath.Join(dir, keyDir); add("directory of keys", path, true, false) {
		inside("key file", path, true)
	}
	if path := filepath.Join(dir, storeDir); add("store", path, false, false) {
		inside("file of the store", path, false)
	}
	if add("anchor", anchor, false, false) {
		inside("file of the anchor", anchor, false)
	}
	add("socket", filepath.Join(dir, apiSocket), true, false)
	add("file of local rules", rules, false, true)
	add("file of people", people, false, true)
	add("configuration", filepath.Join(dir, configFile), false, true)
	return f
}

// fileOf looks at one; ok is false if it is not there.
func fileOf(what, path string) (x doctor.File, ok bool) {
	x = doctor.File{Path: path, What: what}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return x, false
	}
	if err != nil {
		x.Why = plain(err)
		return x, true
	}
	x.Mode, x.Dir = info.Mode(), info.IsDir()
	st, known := info.Sys().(*syscall.Stat_t)
	if !known {
		x.Why = "this system does not say whose it is"
		return x, true
	}
	x.UID = int(st.Uid)
	return x, true
}

// plain leaves the path out of an error that stands beside it.
func plain(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// ownerOf returns whose a directory is; -1: not known.
func ownerOf(dir string) int {
	if x, ok := fileOf("", dir); ok && x.Why == "" {
		return x.UID
	}
	return -1
}

func deviceOf(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(st.Dev), true
}

// An address to listen on is taken apart as text: package mesh alone knows multiaddresses.
func partsOf(addr string) (ip, network string, port int, err error) {
	p := strings.Split(addr, "/")
	if len(p) < 5 || p[0] != "" || p[1] != "ip4" && p[1] != "ip6" || p[3] != "tcp" && p[3] != "udp" {
		return "", "", 0, errors.New("this is no address of a port, as /ip4/0.0.0.0/tcp/4401")
	}
	port, err = strconv.Atoi(p[4])
	if err != nil || port < 0 || port > 65535 || net.ParseIP(p[2]) == nil {
		return "", "", 0, errors.New("this is no address of a port, as /ip4/0.0.0.0/tcp/4401")
	}
	return p[2], p[3] + strings.TrimPrefix(p[1], "ip"), port, nil
}

func isUDP(addr string) bool { return strings.Contains(addr, "/udp/") }

// configuredPorts says which of the addresses that a node was told to listen on it listens on. Where any port
// was to do, one of them is enough.
func configuredPorts(configured, listening []string) (out []doctor.Port) {
	for _, addr := range configured {
		out = append(out, doctor.Port{Addr: addr, UDP: isUDP(addr), Closed: !slices.ContainsFunc(listening, func(l string) bool { return sameAddr(addr, l) })})
	}
	return out
}

func sameAddr(configured, listening string) bool {
	a, an, ap, aerr := partsOf(configured)
	b, bn, bp, berr := partsOf(listening)
	if aerr != nil || berr != nil {
		return configured == listening
	}
	return net.ParseIP(a).Equal(net.ParseIP(b)) && an == bn && (ap == bp || ap == 0)
}

// bindPorts tries to listen on the addresses that a node which is down is to listen on.
func bindPorts(addrs []string) (out []doctor.Port) {
	if len(addrs) == 0 {
		addrs = DefaultListen
	}
	for _, addr := range addrs {
		p := doctor.Port{Addr: addr, UDP: isUDP(addr)}
		ip, network, port, err := partsOf(addr)
		if err == nil {
			err = bind(network, net.JoinHostPort(ip, strconv.Itoa(port)))
		}
		switch {
		case err == nil:
		case errors.Is(err, syscall.EADDRINUSE):
			p.Taken = true
		case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
			p.Denied, p.Why = true, "the system refuses it"
		default:
			p.Why = err.Error()
		}
		out = append(out, p)
	}
	return out
}

func bind(network, addr string) error {
	if strings.HasPrefix(network, "udp") {
		c, err := net.ListenPacket(network, addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// machinePorts notes what the operating system allows.
func machinePorts(p *doctor.Ports, own bool) {
	p.ReadBuffer, p.WriteBuffer = sysctlNumber("net.core.rmem_max"), sysctlNumber("net.core.wmem_max")
	p.OwnProcess, p.BuffersForced = own, os.Geteuid() == 0 // SO_RCVBUFFORCE
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		p.Handles = uint64(limit.Cur)
	}
}

// sysctlNumber reads a setting of the Linux kernel; 0: it is not known.
func sysctlNumber(name string) uint64 {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0
	}
	var v uint64
	if _, err := fmt.Sscan(string(b), &v); err != nil {
		return 0
	}
	return v
}
