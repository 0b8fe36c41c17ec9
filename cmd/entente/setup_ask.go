package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/protocol"
)

// setupAnswers are the answers, and the file of --answers.
type setupAnswers struct {
	Organisation string `toml:"organisation"`
	Card         string `toml:"card"` // file; of an organisation that has a node already
	Kind         string `toml:"kind"`
	Country      string `toml:"country"`
	Address      string `toml:"address"`
	Network      string `toml:"network"`
	Contact      string `toml:"contact"`

	signed protocol.SignedCard
	of     *crypto.Card // the card, verified
}

// addresses are those that follow from the address under which others reach the node.
type addresses struct{ listen, announce []string }

// defaultPort is the one that a node listens on unless it is told otherwise.
const defaultPort = 4401

// parseAddress makes addresses of a name or an address with or without a port; none of "".
func parseAddress(s string) (addresses, error) {
	var out addresses
	if s == "" {
		return out, nil
	}
	host, port := s, uint64(defaultPort)
	if ip := net.ParseIP(strings.Trim(s, "[]")); ip != nil {
		host = ip.String()
	} else if strings.Contains(s, ":") {
		h, p, err := net.SplitHostPort(s)
		if err == nil {
			host = h
			port, err = strconv.ParseUint(p, 10, 16)
		}
		if err != nil || port == 0 {
			return out, fmt.Errorf("%q is no address; write a name or an address, and perhaps a port, as node.example.org, 192.0.2.7:4401 or [2001:db8::7]:4401", s)
		}
	}
	where, any := "/dns/"+host, "/ip4/0.0.0.0"
	if ip := net.ParseIP(host); ip != nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return out, fmt.Errorf("%s is no address that others reach; write the one that they do, or nothing", host)
		}
		if where = "/ip4/" + ip.String(); ip.To4() == nil {
			where, any = "/ip6/"+ip.String(), "/ip6/::"
		}
	} else if !isHostName(host) {
		return out, fmt.Errorf("%q is no name of a machine; write one, as node.example.org, or an IP address", host)
	}
	for _, transport := range []string{"udp/%d/quic-v1", "tcp/%d"} {
		t := fmt.Sprintf("/"+transport, port)
		out.announce = append(out.announce, where+t)
		out.listen = append(out.listen, any+t)
	}
	for _, a := range out.announce {
		if err := mesh.CheckAnnounce(a); err != nil {
			return out, err
		}
	}
	return out, nil
}

// isHostName follows RFC 1123: letters, digits and hyphens between dots, and not digits alone.
func isHostName(s string) bool {
	if len(s) > 253 || s == "" {
		return false
	}
	letters := false
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
			letters = letters || letter
			if !letter && (r < '0' || r > '9') && r != '-' {
				return false
			}
		}
	}
	return letters
}

// checkOrganisation and the following check one answer each; the error says what to write.
func checkOrganisation(s string) error {
	return (&protocol.Inception{Version: 1, Name: s, Kind: protocol.KindOther, Root: protocol.RootSet{Keys: make([]protocol.RootKey, 1), Threshold: 1}}).Validate()
}

func checkKind(s string) error {
	_, err := protocol.ParseOrgKind(s)
	return err
}

func checkCountry(s string) error {
	if s != "" && !protocol.IsCountry(strings.ToUpper(s)) {
		return fmt.Errorf("%q is no country; write its two letters of ISO 3166-1, as DE, or international", s)
	}
	return nil
}

func checkNetwork(s string) error {
	if s == "" {
		return nil
	}
	return (&protocol.Genesis{Version: 1, Name: s, Stewards: make([]protocol.OrgID, 1)}).Validate()
}

// readCard reads the card of the organisation that the node is to be of.
func (s *setup) readCard(a *app, path string) error {
	b, err := a.readArmour(path, cardArmour)
	if err != nil {
		return err
	}
	var signed protocol.SignedCard
	if err := protocol.Decode(b, protocol.MaxCardSize, &signed); err != nil {
		return fmt.Errorf("reading card: %w", err)
	}
	if s.of, err = crypto.VerifyCard(&signed); err != nil {
		return fmt.Errorf("verifying card: %w", err)
	}
	s.signed, s.Card = signed, path
	return nil
}

// answered gets the answers, from the file or from the terminal.
func (a *app) answered(s *setup, file string, given bool, q *asker) (err error) {
	switch {
	case given:
		err = a.readAnswers(s, file)
	case !onTerminal(a.in):
		err = errors.New("setup asks on a terminal, and this is none; give the answers with --answers FILE ('entente setup --help' shows one)")
	default:
		err = a.questions(s, q)
	}
	if err != nil {
		return err
	}
	return s.ready()
}

// maxAnswers bounds the file, in bytes.
const maxAnswers = 64 << 10

// readAnswers reads the file of --answers, and checks all of it at once.
func (a *app) readAnswers(s *setup, path string) error {
	b, err := a.readFile(path, maxAnswers)
	if err != nil {
		return fmt.Errorf("reading the answers: %w", err)
	}
	d := toml.NewDecoder(strings.NewReader(string(b))).DisallowUnknownFields()
	err = d.Decode(&s.setupAnswers)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		var list []error
		for i := range unknown.Errors {
			e := &unknown.Errors[i]
			line, column := e.Position()
			list = append(list, fmt.Errorf("%s:%d:%d: there is no question %q; write organisation, card, kind, country, address, network or contact", path, line, column, strings.Join(e.Key(), ".")))
		}
		return errors.Join(list...)
	case errors.As(err, &wrong):
		line, column := wrong.Position()
		return fmt.Errorf("%s:%d:%d: %s; write name = \"value\" on a line of its own", path, line, column, strings.TrimPrefix(wrong.Error(), "toml: "))
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	}
	return s.checkAnswers(a, path)
}

func (s *setup) checkAnswers(a *app, path string) error {
	var problems []error
	check := func(key string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", path, key, err))
		}
	}
	s.Kind, s.Country = strings.ToLower(s.Kind), strings.ToUpper(s.Country)
	if s.Country == "INTERNATIONAL" {
		s.Country = ""
	}
	var err error
	s.addresses, err = parseAddress(s.Address)
	check("address", err)
	founds := s.Organisation != "" || s.Kind != "" || s.Country != "" || s.Network != "" || s.Contact != ""
	switch {
	case s.keep:
		if founds || s.Card != "" {
			check("organisation", fmt.Errorf("%s holds a node already, and nothing is founded twice; write only address, to keep it and write its configuration, or give another --dir", s.dir))
		}
	case s.Card != "":
		if founds {
			check("card", errors.New("a further node is of the organisation of its card, and joins its network; write card and address only"))
		} else {
			check("card", s.readCard(a, s.Card))
		}
	default:
		check("organisation", checkOrganisation(s.Organisation))
		check("kind", checkKind(s.Kind))
		check("country", checkCountry(s.Country))
		check("network", checkNetwork(s.Network))
		if len(s.Contact) > protocol.MaxTextSize {
			check("contact", fmt.Errorf("it has %d bytes, at most %d", len(s.Contact), protocol.MaxTextSize))
		}
	}
	return errors.Join(problems...)
}

// asker asks questions and reads a line for each answer.
type asker struct {
	in  *bufio.Reader
	out io.Writer
}

func newAsker(in io.Reader, out io.Writer) *asker {
	return &asker{bufio.NewReaderSize(in, 4096), out}
}

// ask asks until take is content. An empty answer stands for def.
func (q *asker) ask(title, help, def string, take func(string) error) error {
	fmt.Fprintf(q.out, "\n%s\n", title)
	for line := range strings.SplitSeq(help, "\n") {
		fmt.Fprintf(q.out, "  %s\n", line)
	}
	for {
		prompt := "> "
		if def != "" {
			prompt = "[" + def + "] > "
		}
		fmt.Fprint(q.out, prompt)
		b, more, err := q.in.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("the answers ended before the questions did; nothing was done")
		case err != nil:
			return fmt.Errorf("reading the answer: %w", err)
		case more:
			for more && err == nil {
				_, more, err = q.in.ReadLine()
			}
			fmt.Fprintln(q.out, "  That is too long for an answer.")
			continue
		}
		answer := strings.TrimSpace(string(b))
		if answer == "" {
			answer = def
		}
		err = take(answer)
		if err == nil {
			return nil
		}
		fmt.Fprintf(q.out, "  %s.\n", printable(strings.TrimSuffix(err.Error(), ".")))
	}
}

func (q *asker) yes(title string) (answer bool, err error) {
	err = q.ask(title, "yes or no", "yes", func(s string) error {
		switch strings.ToLower(s) {
		case "y", "yes":
			answer = true
		case "n", "no":
		default:
			return errors.New("answer yes or no")
		}
		return nil
	})
	return answer, err
}

// questions asks the five, or those of them that are left.
func (a *app) questions(s *setup, q *asker) error {
	address := func(title string) error {
		return q.ask(title, "The name or address under which other nodes reach this one, and the port if it is not 4401, as\n"+
			"node.example.org or 192.0.2.7:4401. UDP and TCP of that port have to be let through. none: only\nthis node connects to others.", "none",
			func(v string) (err error) {
				if strings.EqualFold(v, "none") {
					v = ""
				}
				if s.addresses, err = parseAddress(v); err == nil {
					s.Address = v
				}
				return err
			})
	}
	if s.keep {
		fmt.Fprintf(q.out, "%s holds a node already. It is kept; one question is left for its configuration.\n", s.dir)
		return address("Address")
	}
	err := q.ask("1 of 5: Organisation", "Its name, as partners know it; it cannot be changed. If it runs a node already, and this is to be a further\n"+
		"one: @ and the file with its card ('entente id --card FILE' there), as @vendor.pem.", "",
		func(v string) error {
			if path, ok := strings.CutPrefix(v, "@"); ok {
				return s.readCard(a, path)
			}
			s.Organisation = v
			return checkOrganisation(v)
		})
	if err != nil {
		return err
	}
	if s.Card != "" {
		return address("2 of 2: Address")
	}
	var kinds []string
	for _, k := range protocol.OrgKinds() {
		kinds = append(kinds, string(k))
	}
	if err := q.ask("2 of 5: Kind", "What it is; agreements refer to it. One of "+strings.Join(kinds, ", ")+".", "",
		func(v string) error { s.Kind = strings.ToLower(v); return checkKind(v) }); err != nil {
		return err
	}
	if err := q.ask("3 of 5: Country", "Where it is established: two letters, as DE. international: in none of its own.", "international",
		func(v string) error {
			if s.Country = strings.ToUpper(v); s.Country == "INTERNATIONAL" {
				s.Country = ""
			}
			return checkCountry(s.Country)
		}); err != nil {
		return err
	}
	if err := address("4 of 5: Address"); err != nil {
		return err
	}
	return q.ask("5 of 5: Network", "The name of a network to found, as sea-operation. join: others have one, and will invite you by your card.", "join",
		func(v string) error {
			if s.Network = v; strings.EqualFold(v, "join") {
				s.Network = ""
			}
			return checkNetwork(s.Network)
		})
}

// account is a user of the operating system.
type account struct {
	name     string
	uid, gid int
}

// give makes files and directories, and all that is in them, the account's. They were made by who
// runs this, in a directory that was empty: no link in it is followed all the same.
func (u *account) give(paths ...string) error {
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := u.giveTree(path); err != nil {
			return fmt.Errorf("giving %s to the user %s: %w", path, u.name, err)
		}
	}
	return nil
}
