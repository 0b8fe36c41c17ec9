package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
)

// Where the package puts a node that runs as a service.
const (
	systemDir  = "/var/lib/entente"
	systemUser = "entente"
	systemRoot = "/root/entente-root-key.txt"
	// systemSocket is in the RuntimeDirectory of the unit.
	systemSocket = "/run/entente/api.sock"
)

// setup is what 'entente setup' is about to do.
type setup struct {
	dir      string
	config   string // the file to write
	rootFile string
	paper    string   // the card, or the request of a further node, to give to others
	owner    *account // whose the files are; nil: who runs this
	keep     bool     // the directory holds a node already: only the configuration is written
	keys     []boundKey
	setupAnswers
	addresses
	passphrase []byte
}

func (a *app) setupCommand() *cobra.Command {
	var answers, rootFile, owner string
	var system, dryRun, ask bool
	cmd := &cobra.Command{
		Use: "setup", Short: "Set up a node: five questions, then keys, card and configuration",
		Long: "Asks for the organisation, its kind and country, the address under which others reach the node, and the network.\n" +
			"Then it shows what it will do, and does it: makes the keys and the card, writes entente.toml with every key\n" +
			"documented, and prints what is left to do by hand. Nothing is overwritten. A directory that holds a node\n" +
			"already gets its configuration only.\n\n" +
			"--answers FILE takes the answers from a file and asks nothing:\n\n" +
			"  organisation = \"Example Vendor\"   # or card = \"vendor.pem\", for a further node of an organisation\n" +
			"  kind = \"vendor\"\n" +
			"  country = \"DE\"                    # \"\": international\n" +
			"  address = \"node.example.org\"      # with :port, if it is not 4401; \"\": none\n" +
			"  network = \"sea-operation\"         # to be founded; \"\": one is joined by invitation\n" +
			"  contact = \"soc@example.org\"       # on the card\n\n" +
			"--system, as root, sets up the node that the service runs: data in " + systemDir + ", configuration in\n" +
			systemConfig + ", both of the user " + systemUser + ", the root key in " + systemRoot + ".",
		Example: "  entente setup\n  sudo entente setup --system\n  entente setup --answers answers.toml --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			up, _, _ := cmd.Root().Find([]string{"up"})
			env := a.surroundings()
			dir, named, err := a.namedDir(cmd.Flags().Changed("dir"), env)
			if err != nil {
				return err
			}
			s := &setup{dir: dir, config: a.config, rootFile: rootFile, keys: bindKeys(up)}
			if s.config == "" {
				s.config = env.lookup(configEnv)
			}
			if err := s.place(system, named, owner); err != nil {
				return err
			}
			if err := s.look(); err != nil {
				return err
			}
			q := newAsker(a.in, a.err)
			if err := a.answered(s, answers, cmd.Flags().Changed("answers"), q); err != nil {
				return err
			}
			s.plan(a.err)
			if dryRun {
				fmt.Fprintln(a.err, "Nothing was done.")
				return nil
			}
			if answers == "" {
				if yes, err := q.yes("Do this?"); err != nil || !yes {
					return errors.Join(err, errors.New("nothing was done"))
				}
			}
			if ask && !s.keep {
				if s.passphrase, err = newPassphrase(); err != nil {
					return err
				}
			}
			done, err := s.do()
			if err != nil {
				return err
			}
			return a.print(done, done.show)
		},
	}
	f := cmd.Flags()
	f.StringVar(&answers, "answers", "", "file with the answers, TOML")
	f.BoolVar(&dryRun, "dry-run", false, "show what would be done, and do nothing")
	f.BoolVar(&system, "system", false, "set up the node of the service that the package installs; as root")
	f.StringVar(&owner, "user", systemUser, "user who runs the service, for --system")
	f.StringVar(&rootFile, "root-file", "", "where the root key goes, outside of the data directory (default: beside it; with --system "+systemRoot+")")
	f.BoolVar(&ask, "passphrase", false, "seal the keys with a passphrase instead of a key file")
	return cmd
}

// place settles where everything goes.
func (s *setup) place(system, dirGiven bool, owner string) (err error) {
	if system {
		if os.Geteuid() != 0 {
			return errors.New("--system gives files to the user who runs the service, which only root can: run 'sudo entente setup --system'")
		}
		if s.owner, err = findAccount(owner); err != nil {
			return err
		}
		if !dirGiven {
			s.dir = systemDir
		}
		if s.config == "" {
			s.config = systemConfig
		}
		if s.rootFile == "" {
			s.rootFile = systemRoot
		}
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return fmt.Errorf("finding the data directory: %w", err)
	}
	if s.config == "" {
		s.config = filepath.Join(s.dir, configName)
	}
	if s.rootFile == "" {
		s.rootFile = s.dir + "-root-key.txt"
	}
	if s.config, err = filepath.Abs(s.config); err != nil {
		return fmt.Errorf("finding the configuration: %w", err)
	}
	if s.rootFile, err = filepath.Abs(s.rootFile); err != nil {
		return fmt.Errorf("finding the place of the root key: %w", err)
	}
	if inside(s.rootFile, s.dir) {
		return fmt.Errorf("the root key does not belong into the data directory, whose user and backups are not to have it; give another --root-file than %s", s.rootFile)
	}
	return nil
}

func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// look refuses to begin where something would be overwritten.
func (s *setup) look() error {
	if _, err := os.Lstat(s.config); err == nil {
		return fmt.Errorf("%s is there already, and nothing is overwritten: a node is set up once. 'entente config check' says whether it is right", s.config)
	}
	if err := node.CheckRestored(s.dir); err != nil {
		return err
	}
	list, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("looking into the data directory: %w", err)
	}
	s.keep = slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() == "keys" })
	if len(list) > 0 && !s.keep {
		return fmt.Errorf("the data directory %s holds %s and no node; give an empty one, or one that is not there yet, with --dir", s.dir, printable(list[0].Name()))
	}
	return nil
}

// ready settles what follows from the answers, and looks whether their files are free.
func (s *setup) ready() error {
	what := "-card.pem"
	if s.Card != "" {
		what = "-request.pem"
	}
	s.paper = strings.TrimSuffix(strings.TrimSuffix(s.rootFile, ".txt"), "-root-key") + what
	if s.keep {
		return nil
	}
	for _, path := range []string{s.paper, s.rootFile} {
		if _, err := os.Lstat(path); err == nil && (s.Card == "" || path == s.paper) {
			return fmt.Errorf("%s is there already, and nothing is overwritten: move it away, or give another --root-file", path)
		}
	}
	return nil
}

// plan shows what is about to be done.
func (s *setup) plan(w io.Writer) {
	fmt.Fprintln(w, "\nThis will be done:")
	step := func(format string, args ...any) { fmt.Fprintf(w, "  - "+format+"\n", args...) }
	switch {
	case s.keep:
		step("keep the node in %s as it is", s.dir)
	case s.Card != "":
		step("make the keys of a further node of %s in %s", printable(s.of.Inception.Name), s.dir)
		step("write its request to be taken in to %s", s.paper)
	default:
		country := s.Country
		if country == "" {
			country = "international"
		}
		step("found %s (%s, %s) in %s", printable(s.Organisation), s.Kind, country, s.dir)
		step("write its root key to %s", s.rootFile)
		if s.Network != "" {
			step("found the network %s", printable(s.Network))
		}
		step("write its card to %s", s.paper)
	}
	if len(s.announce) > 0 {
		step("have others told of %s", strings.Join(s.announce, " and "))
	}
	if s.owner != nil {
		step("give %s to the user %s", s.dir, s.owner.name)
	}
	step("write the configuration to %s", s.config)
}

// setupDone is what was done, for --json and for people.
type setupDone struct {
	Organisation string   `json:"organisation,omitempty"`
	Node         string   `json:"node,omitempty"`
	Words        []string `json:"words,omitempty"`
	Dir          string   `json:"dir"`
	Config       string   `json:"config"`
	RootFile     string   `json:"root_file,omitempty"`
	Card         string   `json:"card,omitempty"`
	Request      string   `json:"request,omitempty"`
	Network      string   `json:"network,omitempty"`
	Next         []string `json:"next"`
}

// do does it. The configuration comes last: the service does not start without it, so that it
// never finds a node half made.
func (s *setup) do() (*setupDone, error) {
	done := &setupDone{Dir: s.dir, Config: s.config}
	var err error
	switch {
	case s.keep:
	case s.Card != "":
		err = s.request(done)
	default:
		err = s.found(done)
	}
	if err == nil && s.owner != nil {
		err = s.owner.give(s.dir, s.dir+".anchor")
	}
	if err == nil {
		err = s.writeConfig()
	}
	if err != nil {
		return nil, err
	}
	s.next(done)
	return done, nil
}

func (s *setup) found(done *setupDone) error {
	ident, err := node.Init(node.InitRequest{Dir: s.dir, RootFile: s.rootFile, Name: s.Organisation, Kind: protocol.OrgKind(s.Kind),
		Country: s.Country, Contact: s.Contact, Addrs: s.announce, Passphrase: s.passphrase})
	if err != nil {
		return err
	}
	card, err := crypto.VerifyCard(&ident.Card)
	if err != nil {
		return err
	}
	id := api.IDOf(card)
	done.Organisation, done.Words, done.RootFile, done.Card = id.Org.String(), id.Words, s.rootFile, s.paper
	if s.Network != "" {
		n, err := node.Open(node.Config{Dir: s.dir, Keys: ident.Keys})
		if err != nil {
			return err
		}
		network, err := n.CreateNetwork(s.Network)
		if err = errors.Join(err, n.Close()); err != nil {
			return fmt.Errorf("founding the network: %w", err)
		}
		done.Network = network.String()
	}
	return createFile(s.paper, []byte(armour(cardArmour, protocol.Encode(&ident.Card))), 0o644)
}

func (s *setup) request(done *setupDone) error {
	req, err := node.RequestNode(node.RequestInit{Dir: s.dir, Card: &s.signed, Addrs: s.announce, Passphrase: s.passphrase})
	if err != nil {
		return err
	}
	r := api.NodeRequestOf(req)
	done.Organisation, done.Node, done.Words, done.Request = s.of.Org.String(), r.Node.String(), r.Words, s.paper
	return createFile(s.paper, []byte(armour(nodeRequestArmour, r.Bytes)), 0o644)
}

// chosen is what stands in the configuration otherwise than by default. The service has a socket for people from
// the beginning: once there are any, root and its own account see nothing but the status.
func (s *setup) chosen() map[string][]string {
	chosen := map[string][]string{"node.dir": {s.dir}}
	if s.owner != nil && s.config == systemConfig {
		chosen["node.people_socket"] = []string{systemSocket}
	}
	if len(s.announce) > 0 {
		chosen["network.listen"], chosen["network.announce"] = s.listen, s.announce
	}
	return chosen
}

func (s *setup) writeConfig() error {
	chosen := s.chosen()
	if dir := filepath.Dir(s.config); !inside(dir, s.dir) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the directory of the configuration: %w", err)
		}
	}
	if err := createFile(s.config, []byte(configText(s.keys, chosen)), 0o644); err != nil {
		return err
	}
	if s.owner != nil && inside(s.config, s.dir) {
		return s.owner.give(s.config)
	}
	return nil
}

// createFile writes a file that is not there yet, durably.
func createFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// next says what is left to do by hand, in the order in which it is to be done.
func (s *setup) next(done *setupDone) {
	say := func(format string, args ...any) { done.Next = append(done.Next, fmt.Sprintf(format, args...)) }
	command := "entente"
	if s.dir != homeDir() && s.owner == nil {
		command += " --dir " + s.dir
	}
	start := command + " up"
	if s.config != filepath.Join(s.dir, configName) && s.config != systemConfig {
		command = "entente --config " + s.config
		start = command + " up"
	}
	if s.owner != nil && s.config == systemConfig {
		start = "systemctl enable --now entente"
	}
	if done.RootFile != "" {
		say("move the root key off this machine, into a safe: %s", done.RootFile)
	}
	switch {
	case done.Request != "":
		say("take %s to the node with the operational key: entente node approve %s --words \"...\" -o enrolment.pem", done.Request, filepath.Base(done.Request))
		say("read the words of this screen to whoever does it, on the phone")
		say("start the node: %s", start)
		say("bring the answer here: %s node enrol enrolment.pem", command)
		return
	case s.keep:
		say("start the node: %s", start)
		return
	}
	say("start the node: %s", start)
	if done.Network == "" {
		say("send %s to a member of the network, who invites you by it: entente network invite %s -o invitation.pem", done.Card, filepath.Base(done.Card))
		say("join with what comes back: %s network join invitation.pem", command)
	} else {
		say("invite others by their cards: %s network invite partner.pem -o invitation.pem", command)
	}
	say("exchange cards with your partner, call them on a number that you know, and read each other the words of 'entente id'")
	say("trust the card when the words are right: %s trust partner.pem --words \"...\"", command)
	say("agree on what is shared: %s agreement new --with PARTNER > a.yaml", command)
}

// show is for the screen.
func (d *setupDone) show(w io.Writer) {
	fmt.Fprintln(w)
	if d.Organisation != "" {
		fmt.Fprintf(w, "organisation   %s\n", d.Organisation)
	}
	if d.Node != "" {
		fmt.Fprintf(w, "node           %s\n", d.Node)
	}
	if len(d.Words) > 0 {
		fmt.Fprintf(w, "words          %s\n", strings.Join(d.Words, " "))
	}
	if d.Network != "" {
		fmt.Fprintf(w, "network        %s\n", d.Network)
	}
	fmt.Fprintf(w, "data           %s\nconfiguration  %s\n\nWhat is left to do:\n", d.Dir, d.Config)
	for i, s := range d.Next {
		fmt.Fprintf(w, "  %d. %s\n", i+1, s)
	}
}

// onTerminal reports whether somebody can be asked.
func onTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
