package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
)

func (a *app) initCommand() *cobra.Command {
	var name, kind, country, contact, rootFile, out, founding, words, opHSM string
	var listen []string
	var ask, request bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Found your organisation: keys, first card, data directory",
		Long: "Makes the organisation's keys and its first card. The root key goes into a file of its own:\n" +
			"move it off the machine. The other keys stay in the data directory, sealed with a passphrase,\n" +
			"or, for a node that starts unattended, with a key file of mode 0600 beside them.\n" +
			"Where the root keys are to be divided among people from the first day, --request asks for that: 'entente ceremony\n" +
			"found' makes the root on a machine without network, and --founding goes on with what it gives back.",
		Example: "  entente init --name \"Example Vendor\" --kind vendor --country DE\n" +
			"  entente init --request --name \"Example Vendor\" --kind vendor --country DE -o request.pem\n" +
			"  entente init --founding founding.pem --words \"abandon ability ...\"",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case founding != "" && (request || name != "" || kind != "" || country != "" || rootFile != "" || ask || opHSM != ""):
				return errors.New("--founding goes with --words, --contact and --announce only: the rest was said in the request")
			case founding != "":
				return a.initFounded(founding, words, contact, listen)
			case words != "":
				return errors.New("--words goes with --founding")
			case name == "" || kind == "":
				return errors.New("give --name and --kind: whom to found")
			}
			k, err := protocol.ParseOrgKind(kind)
			if err != nil {
				return err
			}
			if request {
				if contact != "" || rootFile != "" || len(listen) > 0 {
					return errors.New("--contact and --announce go with --founding, later; there is no --root-file where a ceremony makes the root")
				}
				return a.requestFounding(node.FoundingInit{Dir: a.dir, Name: name, Kind: k, Country: strings.ToUpper(country)}, ask, opHSM, out)
			}
			if out != "" {
				return errors.New("-o goes with --request")
			}
			if rootFile == "" {
				rootFile = filepath.Clean(a.dir) + "-root-key.txt"
			}
			req := node.InitRequest{Dir: a.dir, RootFile: rootFile, Name: name, Kind: k, Country: strings.ToUpper(country), Contact: contact, Addrs: listen}
			if ask {
				if req.Passphrase, err = newPassphrase(); err != nil {
					return err
				}
			}
			if opHSM != "" {
				s, err := a.tokenSigner(opHSM)
				if err != nil {
					return err
				}
				defer s.Close()
				req.Op = s
			}
			ident, err := node.Init(req)
			if err != nil {
				return err
			}
			card, err := crypto.VerifyCard(&ident.Card)
			if err != nil {
				return err
			}
			id := api.IDOf(card)
			return a.print(map[string]any{"organisation": id, "root_file": rootFile, "dir": a.dir}, func(w io.Writer) {
				fmt.Fprintf(w, "Founded %s\n  id     %s\n  words  %s\n  data   %s\n\n", printable(name), id.Org, strings.Join(id.Words, " "), a.dir)
				fmt.Fprintf(w, "Move the root key off this machine now: %s\n", rootFile)
				fmt.Fprintf(w, "Next: 'entente id --card card.pem' writes the card to give to others.\n")
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of the organisation")
	f.StringVar(&kind, "kind", "", "vendor, police, cert, government, finance, operator, research, relay or other")
	f.StringVar(&country, "country", "", "ISO 3166-1 alpha-2; leave out for an international organisation")
	f.StringVar(&contact, "contact", "", "how to reach the people, on the card")
	f.StringVar(&rootFile, "root-file", "", "where the root key goes (default: beside the data directory)")
	f.StringSliceVar(&listen, "announce", nil, "addresses on the card, as /dns4/node.example/udp/4401/quic-v1")
	f.BoolVar(&ask, "passphrase", false, "seal the keys with a passphrase instead of a key file")
	f.BoolVar(&request, "request", false, "make the operational key only, and a request for a ceremony to found the organisation")
	f.StringVarP(&out, "out", "o", "", "write the request to this file")
	f.StringVar(&founding, "founding", "", "go on with what the ceremony made of the request of this data directory")
	f.StringVar(&words, "words", "", "with --founding: the organisation's twelve words, from the protocol of the ceremony")
	f.StringVar(&opHSM, "op-hsm", "", "the operational key is in a token: the file that 'entente key hsm' wrote")
	return cmd
}

func (a *app) requestFounding(r node.FoundingInit, ask bool, opHSM, out string) (err error) {
	if ask {
		if r.Passphrase, err = newPassphrase(); err != nil {
			return err
		}
	}
	if opHSM != "" {
		if r.Op, err = a.tokenSigner(opHSM); err != nil {
			return err
		}
		defer r.Op.Close()
	}
	req, err := node.RequestFounding(r)
	if err != nil {
		return err
	}
	b := protocol.Encode(&req.Signed)
	return a.give(out, foundingRequestArmour, b, map[string]any{"words": req.Words(), "request": b, "dir": a.dir}, func(w io.Writer) {
		fmt.Fprintf(w, "To be founded: %s\n  words  %s\n  data   %s\n", printable(r.Name), strings.Join(req.Words(), " "), a.dir)
		fmt.Fprintln(w, "Take the request and the words to the ceremony: entente ceremony found FILE --words \"...\"")
	})
}

func (a *app) initFounded(file, words, contact string, addrs []string) error {
	b, err := a.readArmour(file, foundingArmour)
	if err != nil {
		return err
	}
	var f protocol.Founding
	if err := protocol.Decode(b, protocol.MaxFoundingSize, &f); err != nil {
		return fmt.Errorf("reading founding: %w", err)
	}
	if !node.FoundingWaits(a.dir) {
		return fmt.Errorf("no request waits in %s; 'entente init --request' makes one, and the founding is for the data directory that made it", a.dir)
	}
	// Whoever carries the file could put a root of their own in it, with the key of this node.
	founded, err := crypto.VerifyFounding(&f)
	if err != nil {
		return err
	}
	if words == "" {
		if words, err = a.askLine("The twelve words of the organisation, from the protocol of the ceremony: "); err != nil {
			return errors.New("give --words with the organisation's twelve words, from the protocol of the ceremony: files on sticks can be swapped")
		}
	}
	if !crypto.MatchWords(founded.Org, words) {
		return errors.New("the words are not of the organisation in this file: it was founded by somebody else, with other root keys. Take the words from the protocol of the ceremony, and the file from who led it")
	}
	lock, err := a.lock()
	if err != nil {
		return err
	}
	ident, err := node.InitFounded(node.FoundedInit{Dir: a.dir, Lock: lock, Founding: &f, Contact: contact, Addrs: addrs, By: a.caller()})
	if err != nil {
		return err
	}
	card, err := crypto.VerifyCard(&ident.Card)
	if err != nil {
		return err
	}
	id := api.IDOf(card)
	return a.print(map[string]any{"organisation": id, "dir": a.dir}, func(w io.Writer) {
		fmt.Fprintf(w, "Founded %s\n  id     %s\n  words  %s\n  data   %s\n\n", printable(card.Inception.Name), id.Org, strings.Join(id.Words, " "), a.dir)
		fmt.Fprintln(w, "Next: 'entente id --card card.pem' writes the card to give to others.")
	})
}

func newPassphrase() ([]byte, error) {
	p, err := passphrase("New passphrase: ")
	if err != nil {
		return nil, err
	}
	if len(p) < 10 {
		return nil, errors.New("the passphrase must have at least 10 characters")
	}
	q, err := passphrase("Again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(p, q) {
		return nil, errors.New("the two differ")
	}
	return p, nil
}

func (a *app) idCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:     "id",
		Short:   "Show your organisation: id, words to read out, card to give away",
		Example: "  entente id --card card.pem",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var id api.ID
			if err := a.ask(cmd.Context(), "GET", "id", nil, nil, &id); err != nil {
				return err
			}
			if file != "" {
				if err := writeFile(file, []byte(armour(cardArmour, id.Card))); err != nil {
					return err
				}
			}
			return a.print(id, func(w io.Writer) {
				showID(w, &id)
				if file != "" {
					fmt.Fprintf(w, "card         %s\n", file)
				} else {
					fmt.Fprintf(w, "\n%s", armour(cardArmour, id.Card))
				}
			})
		},
	}
	cmd.Flags().StringVar(&file, "card", "", "write the card to this file")
	return cmd
}

func showID(w io.Writer, id *api.ID) {
	country := id.Country
	if country == "" {
		country = "international"
	}
	fmt.Fprintf(w, "name         %s (%s, %s)\n", printable(id.Name), id.Kind, country)
	fmt.Fprintf(w, "id           %s\n", id.Org)
	fmt.Fprintf(w, "words        %s\n", strings.Join(id.Words, " "))
	if id.Node != (protocol.NodeID{}) {
		fmt.Fprintf(w, "node         %s\n", id.Node)
	}
	fmt.Fprintf(w, "fresh until  %s\n", id.FreshUntil.Format("2006-01-02 15:04 MST"))
}

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a card file and show whose it is (needs no node)",
		Long: "Verifies a card from its own inception statement up. A card that verifies is whole and genuine\n" +
			"of the organisation with that id; that the id is of those whom you mean, the words tell.",
		Example: "  entente verify partner.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := a.readArmour(args[0], cardArmour)
			if err != nil {
				return err
			}
			var signed protocol.SignedCard
			if err := protocol.Decode(b, protocol.MaxCardSize, &signed); err != nil {
				return fmt.Errorf("reading card: %w", err)
			}
			card, err := crypto.VerifyCard(&signed)
			if err != nil {
				return fmt.Errorf("verifying card: %w", err)
			}
			id := api.IDOf(card)
			return a.print(id, func(w io.Writer) {
				showID(w, &id)
				if !id.Fresh {
					fmt.Fprintln(w, "The card is genuine, and no longer fresh: ask for a new one.")
				} else {
					fmt.Fprintln(w, "The card is genuine. Compare the words by phone before you trust it.")
				}
			})
		},
	}
}
