package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Where entente.toml is looked for, and what it is called.
const (
	configName   = "entente.toml"
	systemConfig = "/etc/entente/entente.toml"
	configEnv    = "ENTENTE_CONFIG"
)

// setting is what holds for one key, and who says so.
type setting struct {
	values       []string
	from         string // "default", "flag --x", "environment X", "FILE:LINE"
	file         string // where it is of the file
	line, column int
	wrong        bool // what was given is among the problems
}

// settings are what holds, by the name of the key.
type settings map[string]setting

func (s settings) of(name string) setting { return s[name] }

// value is that of a key that takes one; "" if there is none.
func (s settings) value(name string) string {
	if v := s[name].values; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// surroundings are where the configuration comes from besides flags.
type surroundings struct {
	environ []string // as os.Environ
	home    string   // the data directory where none is named
	system  string   // the file of this machine's node
}

func (s *surroundings) lookup(name string) string {
	value := ""
	for _, e := range s.environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// resolve says what holds for every key: the file, flags above it, the environment above both. An
// empty variable is as good as none. file may be nil.
func resolve(keys []boundKey, env *surroundings, file *configFile) (settings, []configProblem) {
	var problems []configProblem
	if file != nil {
		problems = slices.Clone(file.problems)
	}
	out := settings{}
	for i := range keys {
		k := &keys[i]
		s := setting{values: k.defaults(), from: "default"}
		if file != nil {
			if e, ok := file.entries[k.name]; ok && e.wrong {
				s.wrong, s.file, s.line, s.column = true, file.path, e.line, e.column
			} else if ok {
				s = setting{values: e.values, from: fmt.Sprintf("%s:%d", file.path, e.line), file: file.path, line: e.line, column: e.column}
			}
		}
		if v, ok := k.given(); ok {
			s = setting{values: v, from: "flag --" + k.flag}
			if err := k.parse(v); err != nil {
				s.wrong = true
				problems = append(problems, because(configProblem{From: "--" + k.flag}, err))
			}
		}
		name, v := k.variable(), env.lookup(k.variable())
		if k.alias != "" {
			older := env.lookup(k.alias)
			if v != "" && older != "" && v != older {
				problems = append(problems, configProblem{From: name, Reason: k.alias + " says otherwise", Write: "one of the two"})
			}
			if v == "" {
				name, v = k.alias, older
			}
		}
		if v != "" {
			s = setting{values: []string{v}, from: "environment " + name}
			if k.kind() == typeList {
				s.values = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
			}
			if err := k.parse(s.values); err != nil {
				s.wrong = true
				problems = append(problems, because(configProblem{From: name}, err))
			}
		}
		out[k.name] = s
	}
	problems = append(problems, strangers(keys, env)...)
	return out, append(problems, checkTogether(out)...)
}

// strangers are the variables that are meant for a key that there is not.
func strangers(keys []boundKey, env *surroundings) (out []configProblem) {
	var known, sections []string
	for i := range keys {
		known = append(known, keys[i].variable())
		if s := "ENTENTE_" + strings.ToUpper(keys[i].section()) + "_"; !slices.Contains(sections, s) {
			sections = append(sections, s)
		}
	}
	others := []string{"ENTENTE_DIR", configEnv, "ENTENTE_PASSPHRASE_FILE", "ENTENTE_PERSON", "ENTENTE_PURPOSE"}
	for _, e := range env.environ {
		name, v, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "ENTENTE_") || v == "" || slices.Contains(known, name) || slices.Contains(others, name) {
			continue
		}
		near := meant(name, append(known, others...))
		if near == "" && !slices.ContainsFunc(sections, func(s string) bool { return strings.HasPrefix(name, s) }) {
			continue // somebody else's
		}
		if near == "" {
			near = nearest(name, known)
		}
		write := "only variables that 'entente config keys' lists, or leave it out"
		if near != "" {
			write = near
		}
		out = append(out, configProblem{From: name, Reason: "no key has this variable", Write: write})
	}
	return out
}

// meant returns the variable that is one or two letters away; "" if none is. Tests, and whatever else
// runs beside a node, have variables of their own that begin with ENTENTE_.
func meant(name string, known []string) string {
	for _, k := range known {
		if d := distance(name, k); len(name) >= len("ENTENTE_")+6 && d <= 2 || d <= 1 {
			return k
		}
	}
	return ""
}

// locate finds the file: the one that is named, the one in the data directory, the one of the
// machine; the first that is there, and no other. It returns the data directory where that is
// not of the file. read is nil where there is no file.
//
// The file of the machine is that of its service. It does not count for whoever names another
// data directory than the one in it, or has a node of their own.
func (a *app) locate(keys []boundKey, dirGiven bool, env *surroundings) (file *configFile, dir string, err error) {
	dir, named, err := a.namedDir(dirGiven, env)
	if err != nil {
		return nil, "", err
	}
	if path := a.config; path != "" {
		file, err = readConfig(path, keys)
	} else if path := env.lookup(configEnv); path != "" {
		file, err = readConfig(path, keys)
	} else {
		return a.search(keys, dir, named, env)
	}
	if err != nil {
		return nil, "", err
	}
	if v := file.value("node.dir"); v != "" && !named {
		dir = v
	}
	return file, dir, nil
}

// namedDir returns the data directory that somebody named, or the one where nobody does.
func (a *app) namedDir(dirGiven bool, env *surroundings) (dir string, named bool, err error) {
	variable := env.lookup("ENTENTE_NODE_DIR")
	switch session := env.lookup("ENTENTE_DIR"); {
	case dirGiven && variable != "" && !samePath(variable, a.dir):
		// To act in another node's name than the one that was typed is worse than not to act.
		return "", false, fmt.Errorf("--dir names %s, and ENTENTE_NODE_DIR %s: leave one of the two out", a.dir, variable)
	case variable != "":
		return variable, true, nil
	case dirGiven:
		return a.dir, true, nil
	case session != "":
		return session, true, nil
	}
	return env.home, false, nil
}

// search looks for the file where nobody named one.
func (a *app) search(keys []boundKey, dir string, named bool, env *surroundings) (*configFile, string, error) {
	file, err := readConfig(filepath.Join(dir, configName), keys)
	switch {
	case err == nil:
		if e, ok := file.entries["node.dir"]; ok && len(e.values) > 0 && !samePath(e.values[0], dir) {
			file.problems = append(file.problems, configProblem{File: file.path, Line: e.line, Column: e.column, Key: "node.dir",
				Reason: "the file is in another data directory than the one that it names", Write: fmt.Sprintf("%q, or give the file with --config", dir)})
		}
		return file, dir, nil
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
		return nil, "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "keys")); err == nil && !named {
		return nil, dir, nil // a node of one's own
	}
	file, err = readConfig(env.system, keys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, dir, nil
	case err != nil:
		return nil, "", err
	case !named:
		if v := file.value("node.dir"); v != "" {
			dir = v
		}
		return file, dir, nil
	case samePath(file.value("node.dir"), dir):
		return file, dir, nil
	}
	return nil, dir, nil
}

func (c *configFile) value(name string) string {
	if e := c.entries[name]; len(e.values) > 0 {
		return e.values[0]
	}
	return ""
}

func samePath(a, b string) bool {
	x, errx := filepath.Abs(a)
	y, erry := filepath.Abs(b)
	return errx == nil && erry == nil && x == y
}

// usesAllKeys marks the verbs for which every key counts: what is wrong in any is refused there. To
// others only those count that they read, so that one can look at a node while its file is mended.
const usesAllKeys = "entente.config"

// unconfigured are verbs that read no configuration: they have to work while it is broken, or have no node.
var unconfigured = []string{"help", "completion", "__complete", "__completeNoDesc", "version", "config", "setup", "demo", "bench", "verify"}

// configure finds the configuration, and gives the flags of cmd what it says.
func (a *app) configure(cmd *cobra.Command) error {
	for c := cmd; c.HasParent(); c = c.Parent() {
		if !c.Parent().HasParent() && (slices.Contains(unconfigured, c.Name()) || c.Hidden) {
			return nil
		}
	}
	up := cmd
	all := cmd.Annotations[usesAllKeys] != ""
	if !all {
		up, _, _ = cmd.Root().Find([]string{"up"})
	}
	keys := bindKeys(up)
	_, s, problems, err := a.configuration(keys, a.surroundings())
	if err != nil {
		return err
	}
	if !all {
		problems = slices.DeleteFunc(problems, func(p configProblem) bool { return !matters(keys, &p) })
	}
	if len(problems) > 0 {
		return configError(problems)
	}
	for i := range keys {
		if k := &keys[i]; all || k.everyone {
			if v := s.of(k.name); v.from != "default" && !strings.HasPrefix(v.from, "flag ") {
				if err := k.set(v.values); err != nil {
					return fmt.Errorf("%s: %s: %w", v.from, k.name, err)
				}
			}
		}
	}
	a.dir = s.value("node.dir")
	if v := s.of("node.passphrase_file"); v.from != "default" {
		return os.Setenv("ENTENTE_PASSPHRASE_FILE", s.value("node.passphrase_file")) // where whoever asks for a passphrase looks
	}
	return nil
}

// matters reports whether a problem is one for verbs that read only some keys.
func matters(keys []boundKey, p *configProblem) bool {
	name := p.Key
	if p.From != "" {
		for i := range keys {
			if k := &keys[i]; k.variable() == p.From || "--"+k.flag == p.From {
				name = k.name
			}
		}
		if name == "" {
			name = strings.ToLower(strings.Replace(strings.TrimPrefix(p.From, "ENTENTE_"), "_", ".", 1))
		}
	}
	return name == "" && p.Line > 0 || strings.HasPrefix(name, "node.")
}

// configuration finds the file and says what holds. The values of node.dir are settled.
func (a *app) configuration(keys []boundKey, env *surroundings) (*configFile, settings, []configProblem, error) {
	given := false
	for i := range keys {
		if keys[i].name == "node.dir" {
			_, given = keys[i].given()
		}
	}
	file, dir, err := a.locate(keys, given, env)
	if err != nil {
		return nil, nil, nil, err
	}
	s, problems := resolve(keys, env, file)
	settled := s.of("node.dir")
	if v := env.lookup("ENTENTE_DIR"); v != "" && !given && env.lookup("ENTENTE_NODE_DIR") == "" {
		settled = setting{from: "environment ENTENTE_DIR"}
	}
	settled.values = []string{dir}
	s["node.dir"] = settled
	return file, s, problems, nil
}

func (a *app) surroundings() *surroundings {
	return &surroundings{environ: os.Environ(), home: homeDir(), system: systemConfig}
}
