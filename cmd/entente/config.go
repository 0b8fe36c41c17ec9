package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/corpus/postgres"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/outbound"
)

// configKey is one key of entente.toml. What it takes follows from the type of its flag.
type configKey struct {
	name     string             // "section.key"
	flag     string             // of 'entente up', or one that all verbs have; "": there is none, it takes a string
	doc      string             // sentences for the file; "": what the help of the flag says
	def      []string           // what holds where the default of the flag is empty
	path     bool               // a file or directory: absolute in the file, since nobody knows where a service was started
	check    func(string) error // of each value that is not empty; the error says what to write
	alias    string             // an older environment variable that says the same
	secret   bool               // never shown
	everyone bool               // read by every verb, and not by 'up' alone
}

// configKeys is every key, in the order of the file. A flag of 'up' without one is in flagsOnly.
func configKeys() []configKey {
	return []configKey{
		{name: "node.dir", flag: "dir", path: true, everyone: true,
			doc: "Data directory. Every verb finds the node by it. It belongs to the user who runs the node, mode 0700."},
		{name: "node.passphrase_file", path: true, everyone: true, alias: "ENTENTE_PASSPHRASE_FILE",
			doc: "File with the passphrase that the keys are sealed with, if they are ('entente setup --passphrase'). It is read when it is needed:\n" +
				"with LoadCredential= of systemd it is there only while the service runs."},
		{name: "node.people_socket", flag: "people-socket", path: true, everyone: true,
			doc: "Path of a second socket, which every account of the machine may open, as \"/run/entente/api.sock\"; what each may do 'entente people' says.\n" +
				"Verbs of whoever may not open the one in the data directory use it."},

		{name: "network.listen", flag: "listen", def: node.DefaultListen, check: checkListen,
			doc: "Addresses to listen on for other nodes, as multiaddresses; TCP and QUIC (UDP). \"none\" alone: call others only."},
		{name: "network.announce", flag: "announce", check: mesh.CheckAnnounce,
			doc: "Addresses for the card, under which others reach this node, as \"/dns/node.example.org/udp/4401/quic-v1\".\nWithout any, those listened on."},
		{name: "network.via", flag: "via", check: func(s string) error { _, err := mesh.ReadRelay(s); return err }},
		{name: "network.proxy", flag: "proxy", secret: true, check: func(s string) error { _, err := outbound.ReadProxy(s); return err }},
		{name: "network.relay", flag: "relay"},

		{name: "serve.address", flag: "serve", check: checkHostPort},
		{name: "serve.cert", flag: "serve-cert", path: true, check: checkReadable},
		{name: "serve.key", flag: "serve-key", path: true, check: checkReadable},
		{name: "serve.names", flag: "serve-name", check: checkName},
		{name: "serve.plain", flag: "serve-plain"},

		{name: "limits.disk", flag: "disk-limit", doc: "How much the data directory may take, as \"20GiB\"; \"0\": no limit."},
		{name: "limits.quota", flag: "quota", doc: "How much is held of one organisation with which no agreement was ever signed."},
		{name: "limits.partner_quota", flag: "partner-quota", doc: "How much is held of one organisation with which one was signed."},

		{name: "log.format", flag: "log-format", check: oneOf("text", "json")},
		{name: "log.verbose", flag: "verbose"},

		{name: "metrics.address", flag: "metrics", check: checkHostPort},

		{name: "rules.file", flag: "rules", path: true, check: checkReadable},
		{name: "rules.people", flag: "people", path: true, check: checkReadable},

		{name: "postgres.url", flag: "postgres", check: func(s string) error { return postgres.Config{URL: s}.Check() }},
		{name: "postgres.password_file", flag: "postgres-password-file", path: true, check: checkReadable},
		{name: "postgres.search", flag: "search-postgres"},
	}
}

// flagsOnly are the flags of 'up', and of all verbs, that have no key, and why.
var flagsOnly = map[string]string{
	"clock-ok":        "a decision of somebody who looked at the clock; in a file it would be taken again when the clock is wrong",
	"accept-restored": "a decision of somebody who looked at this one restore; in a file it would be taken again at the next",
	"as":              "who does this is not the same for everybody who reads the file; ENTENTE_PERSON is of a session",
	"for":             "for what something is done is not the same for everybody who reads the file; ENTENTE_PURPOSE is of a session",
	"migrate":         "done once, by somebody who knows that there is a backup; in a file it would be done at the next upgrade, unasked",
	"socket":          "how a person reaches a node that others run; ENTENTE_SOCKET is of a session",
	"config":          "says which file it is; ENTENTE_CONFIG says so too",
	"json":            "how one answer is printed",
	"help":            "prints help",
}

// variable is the environment variable of a key.
func (k *configKey) variable() string {
	return "ENTENTE_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

func (k *configKey) section() string { s, _, _ := strings.Cut(k.name, "."); return s }

func (k *configKey) short() string { _, s, _ := strings.Cut(k.name, "."); return s }

// The types that a key may have, as the types of flags name them.
const (
	typeString   = "string"
	typeList     = "stringArray"
	typeBool     = "bool"
	typeInt      = "int64"
	typeDuration = "duration"
	typeSize     = "size"
)

// boundKey is a key with its flag.
type boundKey struct {
	configKey
	f *pflag.Flag // nil: none
}

// bindKeys finds the flags of the keys among those of 'entente up'.
func bindKeys(up *cobra.Command) []boundKey {
	var out []boundKey
	for _, k := range configKeys() {
		b := boundKey{configKey: k}
		if k.flag != "" {
			if b.f = up.Flags().Lookup(k.flag); b.f == nil {
				b.f = up.InheritedFlags().Lookup(k.flag)
			}
			if b.f == nil {
				panic("key " + k.name + " has a flag that there is not: --" + k.flag)
			}
		}
		out = append(out, b)
	}
	return out
}

func (k *boundKey) kind() string {
	if k.f == nil {
		return typeString
	}
	switch t := k.f.Value.Type(); t {
	case "stringSlice":
		return typeList
	case "int", "uint", "uint64", "int32", "uint32":
		return typeInt
	default:
		return t
	}
}

// text is what the file says about the key.
func (k *boundKey) text() string {
	if k.doc != "" || k.f == nil {
		return k.doc
	}
	s := strings.ToUpper(k.f.Usage[:1]) + k.f.Usage[1:]
	s = strings.ReplaceAll(s, "; may be repeated", "")
	return strings.TrimSuffix(s, ".") + "."
}

// defaults are the values where nobody gives any.
func (k *boundKey) defaults() []string {
	switch {
	case k.def != nil:
		return k.def
	case k.f == nil:
		return nil
	case k.kind() == typeList:
		if s, ok := k.f.Value.(pflag.SliceValue); ok && !k.f.Changed {
			return s.GetSlice()
		}
		return nil
	case k.f.DefValue == "" && k.kind() == typeString:
		return nil
	}
	return []string{k.f.DefValue}
}

// parse checks values as a flag of this type takes them, and what the key asks of them.
func (k *boundKey) parse(values []string) error {
	for _, v := range values {
		if v == "" && k.kind() == typeString {
			continue // as if it were not there
		}
		var err error
		switch k.kind() {
		case typeBool:
			if v != "true" && v != "false" {
				err = fmt.Errorf("%q is neither true nor false; write true or false", v)
			}
		case typeInt:
			if _, perr := strconv.ParseInt(v, 10, 64); perr != nil {
				err = fmt.Errorf("%q is no whole number; write one, as 10", v)
			}
		case typeDuration:
			if d, perr := time.ParseDuration(v); perr != nil || d < 0 {
				err = fmt.Errorf("%q is no length of time; write a number with a unit, as 90s, 15m or 24h", v)
			}
		case typeSize:
			_, err = parseSize(v)
		}
		if err == nil && k.check != nil {
			err = k.check(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// set gives the flag values from elsewhere.
func (k *boundKey) set(values []string) error {
	if k.f == nil {
		return nil
	}
	if s, ok := k.f.Value.(pflag.SliceValue); ok {
		return s.Replace(values)
	}
	if len(values) == 0 {
		return k.f.Value.Set(k.f.DefValue)
	}
	return k.f.Value.Set(values[len(values)-1])
}

// given are the values of a flag that was given.
func (k *boundKey) given() ([]string, bool) {
	if k.f == nil || !k.f.Changed {
		return nil, false
	}
	if s, ok := k.f.Value.(pflag.SliceValue); ok {
		return s.GetSlice(), true
	}
	return []string{k.f.Value.String()}, true
}

// byteSize is a flag that takes a number of bytes.
type byteSize struct{ bytes *int64 }

func sizeFlag(p *int64, def int64) pflag.Value { *p = def; return byteSize{p} }

// Type implements pflag.Value.
func (byteSize) Type() string { return typeSize }

// String implements pflag.Value.
func (s byteSize) String() string {
	if s.bytes == nil {
		return "0"
	}
	return formatSize(*s.bytes)
}

// Set implements pflag.Value. On the command line a number without a unit is in MiB.
func (s byteSize) Set(v string) error {
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 && n < 1<<40 {
		*s.bytes = n << 20
		return nil
	}
	n, err := parseSize(v)
	if err == nil {
		*s.bytes = n
	}
	return err
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}}

// parseSize reads a number of bytes with its unit; only 0 needs none.
func parseSize(s string) (int64, error) {
	if s == "0" {
		return 0, nil
	}
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 53); err == nil && n <= uint64(1<<60/u.bytes) {
			return int64(n) * u.bytes, nil
		}
		break
	}
	return 0, fmt.Errorf("%q is no size; write a whole number with a unit, as 512MiB, 20GiB or 2TiB (at most 2^60 bytes)", s)
}

func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	if n == 0 {
		return "0"
	}
	return strconv.FormatInt(n, 10) + "B"
}

func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		if _, err = strconv.ParseUint(port, 10, 16); err == nil && !strings.ContainsAny(host, " /") {
			return nil
		}
	}
	return fmt.Errorf("%q is no host and port; give host:port, as 127.0.0.1:9464", s)
}

func checkName(s string) error {
	if net.ParseIP(s) != nil || s != "" && !strings.ContainsAny(s, " /:@\t") {
		return nil
	}
	return fmt.Errorf("%q is no name or address of a machine; write one, as node.example.org", s)
}

// checkReadable looks with the rights of who asks.
func checkReadable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		var in *os.PathError
		if errors.As(err, &in) {
			err = in.Err
		}
		return fmt.Errorf("%s cannot be read: %w; write the path of a file that is there and that the node's user may read", path, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file; write the path of one", path)
	}
	return nil
}

func checkListen(s string) error {
	if s == node.NoListen {
		return nil
	}
	return mesh.CheckListen(s)
}

func oneOf(values ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(values, s) {
			return nil
		}
		return fmt.Errorf("%q is not known; write %s", s, strings.Join(values, " or "))
	}
}

// checkTogether says what no key by itself can: what does not go with what.
func checkTogether(s settings) (out []configProblem) {
	about := func(key, reason, write string) { out = append(out, s.problem(key, reason, write)) }
	given := func(key string) bool { return s.value(key) != "" || s.of(key).wrong }
	switch {
	case given("serve.cert") && !given("serve.key"):
		about("serve.cert", "a certificate and its key belong together, and the key is not given", "serve.key (--serve-key) as well, with the file of the key")
	case !given("serve.cert") && given("serve.key"):
		about("serve.key", "a certificate and its key belong together, and the certificate is not given", "serve.cert (--serve-cert) as well, with the file of the certificate")
	case given("serve.cert") && s.value("serve.plain") == "true":
		about("serve.plain", "plain HTTP has no use for a certificate", "either serve.plain or serve.cert")
	}
	if s.value("serve.plain") == "true" {
		host, _, err := net.SplitHostPort(s.value("serve.address"))
		if ip := net.ParseIP(host); err == nil && !s.of("serve.address").wrong && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			about("serve.plain", "plain HTTP shows tokens and records to the network", "serve.address (--serve) with a loopback address, as 127.0.0.1:8080, behind a proxy that speaks TLS")
		}
	}
	return append(out, mirrorTogether(s)...)
}

func mirrorTogether(s settings) (out []configProblem) {
	if s.value("postgres.url") != "" || s.of("postgres.url").wrong {
		return nil
	}
	if s.value("postgres.search") == "true" {
		out = append(out, s.problem("postgres.search", "there is no database to answer searches", "postgres.url (--postgres) as well"))
	}
	if s.value("postgres.password_file") != "" {
		out = append(out, s.problem("postgres.password_file", "there is no database that wants a password", "postgres.url (--postgres) as well"))
	}
	return out
}

// problem is one about what holds for a key, at its place if it is of the file.
func (s settings) problem(key, reason, write string) configProblem {
	v := s.of(key)
	return configProblem{File: v.file, Line: v.line, Column: v.column, Key: key, Reason: reason, Write: write}
}

// absolute is what is asked of paths in the file.
func absolute(path string) error {
	if path == "" || filepath.IsAbs(path) {
		return nil
	}
	return fmt.Errorf("%q is a relative path, and it is not said to what; write the whole path, beginning with /", path)
}
