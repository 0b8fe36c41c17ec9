package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const readmeSection = "## From nothing to the first record of a partner"

// readmeLine is a line that the page has somebody type, and what it shows below it.
type readmeLine struct {
	who, command string
	below        []string
}

func readmeLines(t *testing.T) (lines []readmeLine, length int) {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, ok := strings.Cut(string(b), readmeSection+"\n")
	if !ok {
		t.Fatalf("README.md has no section %q", readmeSection)
	}
	page, _, _ = strings.Cut(page, "\n## ")
	for text := range strings.Lines(page) {
		length++
		code, ok := strings.CutPrefix(strings.TrimRight(text, "\n"), "    ")
		if !ok {
			continue
		}
		if who, command, ok := strings.Cut(code, "$ "); ok && (who == "you" || who == "partner") {
			lines = append(lines, readmeLine{who: who, command: command})
		} else if len(lines) > 0 {
			last := &lines[len(lines)-1]
			last.below = append(last.below, code)
		}
	}
	return lines, length
}

// TestReadmePage types what the page of README.md says, at two organisations. Put in are only what nobody can know
// beforehand: ids, the words that are read out on the phone, and addresses of this machine for those of the
// example. What takes its time elsewhere is looked at again until it shows.
func TestReadmePage(t *testing.T) {
	lines, length := readmeLines(t)
	if len(lines) < 25 || length > 75 {
		t.Fatalf("the page has %d lines, and %d commands were found on it", length, len(lines))
	}
	work := t.TempDir()
	shell := func(who, command string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = work
		cmd.Env = []string{"HOME=" + filepath.Join(work, who), "PATH=" + os.Getenv("PATH"), "ENTENTE_NETWORK_LISTEN=/ip4/127.0.0.1/udp/0/quic-v1,/ip4/127.0.0.1/tcp/0"}
		return cmd
	}
	run := func(who, command string) (string, error) {
		var out, errs bytes.Buffer
		cmd := shell(who, command)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			return out.String(), fmt.Errorf("%w: %s", err, errs.String())
		}
		return out.String(), nil
	}
	// What a command shows in the end, which may be an id for what follows.
	shows := map[string]*regexp.Regexp{
		"entente status":          regexp.MustCompile(`sea-operation, 1 members`),
		"entente agreement inbox": regexp.MustCompile(`agr:[a-z0-9]+`),
		"entente agreement list":  regexp.MustCompile(`in force`),
		"entente search":          regexp.MustCompile(`rec:[a-z0-9]+`),
		"entente explain":         regexp.MustCompile(`We may read it`),
		"entente agreement check": regexp.MustCompile(`Example Vendor may send Example Police`),
	}
	until := func(who, command string, want *regexp.Regexp) string {
		t.Helper()
		var out string
		var err error
		for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if out, err = run(who, command); err == nil && want.MatchString(out) {
				return want.FindString(out)
			}
		}
		t.Fatalf("%s$ %s never showed %s (%v):\n%s", who, command, want, err, out)
		return ""
	}
	other := map[string]string{"you": "partner", "partner": "you"}
	words := regexp.MustCompile(`--words "[a-z ]+"`)
	address := regexp.MustCompile(`(?m)^address = ".*"$`)
	var id, record string
	for _, l := range lines {
		command := l.command
		if strings.HasPrefix(command, "entente trust ") {
			out, err := run(other[l.who], "entente id")
			read := regexp.MustCompile(`(?m)^words +(.*)$`).FindStringSubmatch(out)
			if err != nil || read == nil || !words.MatchString(command) {
				t.Fatal(err, out)
			}
			command = words.ReplaceAllString(command, `--words "`+read[1]+`"`)
		}
		command = strings.ReplaceAll(command, " ID", " "+id)
		command = strings.ReplaceAll(command, "rec:...", record)
		plain, comment, _ := strings.Cut(command, "#")
		plain = strings.TrimSpace(plain)
		t.Logf("%s$ %s", l.who, plain)
		switch {
		case strings.HasPrefix(plain, "cat "):
			text := address.ReplaceAllString(strings.Join(l.below, "\n")+"\n", `address = ""`)
			if err := os.WriteFile(filepath.Join(work, strings.TrimPrefix(plain, "cat ")), []byte(text), 0o600); err != nil || len(l.below) == 0 {
				t.Fatal(err, l.below)
			}
		case plain == "entente setup": // the comment says what is answered
			answers := strings.Split(strings.TrimSpace(comment), ", ")
			if len(answers) != 5 {
				t.Fatalf("five answers were expected: %q", comment)
			}
			answers[3] = "none"
			a, s := new(app), newSetup(t)
			if err := a.questions(s, newAsker(strings.NewReader(strings.Join(answers, "\n")+"\n"), t.Output())); err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf("organisation = %q\nkind = %q\ncountry = %q\nnetwork = %q\n", s.Organisation, s.Kind, s.Country, s.Network)
			if err := os.WriteFile(filepath.Join(work, "asked.toml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := run(l.who, "entente setup --answers asked.toml"); err != nil {
				t.Fatal(err)
			}
		case plain == "entente up":
			cmd := shell(l.who, "exec "+plain)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Signal(os.Interrupt)
				if err := cmd.Wait(); err != nil {
					t.Errorf("%s$ entente up: %v", l.who, err)
				}
			})
			until(l.who, "test -S ~/.entente/api.sock && echo up", regexp.MustCompile("up"))
		default:
			want := regexp.MustCompile(``)
			for prefix, re := range shows {
				if strings.HasPrefix(plain, prefix) {
					want = re
				}
			}
			if want.String() == "" {
				if out, err := run(l.who, plain); err != nil {
					t.Fatalf("%s$ %s: %v\n%s", l.who, plain, err, out)
				}
				continue
			}
			got := until(l.who, plain, want)
			switch {
			case strings.HasPrefix(got, "agr:"):
				id = got
			case strings.HasPrefix(got, "rec:"):
				record = got
			}
		}
	}
	until("partner", "entente agreement list", regexp.MustCompile(`terminated`))
}
