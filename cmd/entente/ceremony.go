package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// What nodes and ceremonies give each other.
const (
	foundingRequestArmour = "ENTENTE FOUNDING REQUEST"
	foundingArmour        = "ENTENTE FOUNDING"
	rotationRequestArmour = "ENTENTE ROTATION REQUEST"
	rotationArmour        = "ENTENTE ROTATION"
	shareProofArmour      = "ENTENTE SHARE PROOF"
)

// ceremony is what its verbs share.
type ceremony struct {
	*app
	networkOK bool
	up        []string // network interfaces that are up all the same
}

func (a *app) ceremonyCommand() *cobra.Command {
	c := &ceremony{app: a}
	cmd := &cobra.Command{
		Use:   "ceremony",
		Short: "Make and use the root keys of your organisation, on a machine without network",
		Long: "The root keys are divided among people: of n keys, each whole and on a medium of its own, k have to sign.\n" +
			"They are made and used here, on a machine without network that needs no node. Files go to and fro:\n\n" +
			"  node:      entente init --request --name ... --kind ... -o request.pem\n" +
			"  ceremony:  entente ceremony found request.pem --threshold 2 --share ... --next-share ... -o founding.pem\n" +
			"  node:      entente init --founding founding.pem --words \"...\"\n\n" +
			"  node:      entente key rotate op -o request.pem        (or: key rotate root, node promote)\n" +
			"  ceremony:  entente ceremony sign request.pem --share ... -o rotation.pem\n" +
			"  node:      entente key rotate op --apply rotation.pem\n\n" +
			"docs/ceremony.md goes through it with a printer and memory sticks.",
	}
	cmd.PersistentFlags().BoolVar(&c.networkOK, "network-ok", false, "go on although a network interface is up: for rehearsals")
	cmd.AddCommand(c.foundCommand(), c.adoptCommand(), c.rotateCommand(), c.signCommand(), c.verifyCommand(), c.paperCommand(), c.restoreCommand())
	return cmd
}

// networksUp names the interfaces that lead somewhere.
func networksUp(list []net.Interface) (names []string) {
	for _, i := range list {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	return names
}

// offline refuses where secrets would be on a machine with a network.
func (c *ceremony) offline() error {
	list, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("looking for network interfaces: %w", err)
	}
	c.up = networksUp(list)
	return refuseNetwork(c.up, c.networkOK, c.err)
}

func refuseNetwork(up []string, ok bool, w io.Writer) error {
	switch {
	case len(up) == 0:
		return nil
	case !ok:
		return fmt.Errorf("this machine has a network: %s is up. Root keys belong on one without: pull the cable, switch off the radio, or take another machine. --network-ok goes on all the same, for a rehearsal", strings.Join(up, ", "))
	}
	fmt.Fprintf(w, "This machine has a network (%s): what is made here is good for a rehearsal only.\n", strings.Join(up, ", "))
	return nil
}

// askLine asks for a line in a terminal.
func (a *app) askLine(question string) (string, error) {
	in, ok := a.in.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", errors.New("nobody can be asked here")
	}
	fmt.Fprint(a.err, question)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	return strings.TrimSpace(line), err
}

// matched wants the words of a request, as its node shows them.
func (c *ceremony) matched(words string, match func(string) bool) error {
	if words == "" {
		var err error
		if words, err = c.askLine("The twelve words on the screen of the node: "); err != nil {
			return errors.New("give --words with the twelve words that the node showed: files on sticks can be swapped")
		}
	}
	if !match(words) {
		return errors.New("the words do not belong to this request; read them from the screen of the node that made it")
	}
	return nil
}

// matchedRotation wants the words of a rotation. Whoever carries one of the root set can put sets of their
// own in it: its words are those that the ceremony which began it printed, and the node knows none of them.
func (c *ceremony) matchedRotation(words string, rot *crypto.Rotation) error {
	if rot.Request.Kind != protocol.RotateRoot {
		return c.matched(words, rot.MatchWords)
	}
	if words == "" {
		var err error
		if words, err = c.askLine("The twelve words of the rotation, from the protocol of the ceremony: "); err != nil {
			return errors.New("give --words with the twelve words of the rotation, which stand in the protocol of the ceremony that began it: files on sticks can be swapped")
		}
	}
	switch {
	case rot.MatchWords(words):
		return nil
	case rot.Request.MatchWords(words):
		return errors.New("these are the words of the request, which do not say which root keys come in force; take those of the rotation, from the protocol of the ceremony that began it")
	}
	return errors.New("the words do not belong to this rotation; read them from the protocol of the ceremony that began it, and sign nothing else")
}

// give hands out a file: as the one of -o, or on standard output, where nothing else goes then,
// unless people look at it.
func (a *app) give(out, kind string, b []byte, v any, say func(w io.Writer)) error {
	if out != "" && out != "-" {
		if err := writeFile(out, []byte(armour(kind, b))); err != nil {
			return err
		}
		return a.print(v, say)
	}
	if a.json {
		return a.print(v, say)
	}
	w := a.err
	if o, ok := a.out.(interface{ Fd() uintptr }); out == "" && ok && term.IsTerminal(int(o.Fd())) {
		w = a.out
	}
	say(w)
	_, err := io.WriteString(a.out, armour(kind, b))
	return err
}

// heldKey is a root key that a file holds, with the set that the file says it is of.
type heldKey struct {
	key crypto.RootPrivate
	set protocol.RootSet
}

// readShare reads a share file; its secret stays as it is.
func (a *app) readShare(file string) (*protocol.RootShare, error) {
	b, err := a.readFile(file, 4*protocol.MaxShareSize)
	if err != nil {
		return nil, err
	}
	s, err := crypto.ParseShare(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

func (a *app) openShare(s *protocol.RootShare) (crypto.RootPrivate, error) {
	return crypto.OpenShare(s, func() (crypto.Lock, error) {
		p, err := passphrase(fmt.Sprintf("Passphrase of root share %d of %d (%s): ", s.Index(), len(s.Root.Keys), crypto.Fingerprint(s.Key)))
		return crypto.PassphraseLock(p), err
	})
}

// rootKeys reads shares, and root files as 'entente init' makes them: of these the keys that follow too.
func (a *app) rootKeys(files []string) (out []heldKey, err error) {
	for _, f := range files {
		b, err := a.readFile(f, 64<<10)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(b), "BEGIN ENTENTE ROOT SHARE") {
			present, err := node.ParseRootFile(string(b))
			if err != nil {
				return nil, fmt.Errorf("%s is neither a root share nor a root file: %w", f, err)
			}
			next, err := node.ParseNextRoots(string(b))
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", f, err)
			}
			for _, k := range append(present, next...) {
				out = append(out, heldKey{k, protocol.RootSet{Keys: []protocol.RootKey{k.Public()}, Threshold: 1}})
			}
			continue
		}
		s, err := crypto.ParseShare(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		k, err := a.openShare(s)
		if err != nil {
			return nil, err
		}
		out = append(out, heldKey{k, s.Root})
	}
	return out, nil
}

func (c *ceremony) foundCommand() *cobra.Command {
	var words, out, transcript string
	root, next := newShareSet("root", ""), newShareSet("next", "next-")
	cmd := &cobra.Command{
		Use: "found REQUEST", Short: "Found an organisation: make its root shares, and those that will follow them",
		Long: "Makes the root keys of a new organisation and the ones that will follow them, each on the medium of its holder,\n" +
			"and signs the operational key of the node that asked ('entente init --request'). Give the two sets to different\n" +
			"people: who has k shares of the root acts as the organisation until those who have k of the next set end that.\n" +
			"Give a --share and a --next-share for each medium, or --shares and --next-shares with their numbers to be asked for\n" +
			"one after the other. Each holder is asked for a passphrase.",
		Example: "  entente ceremony found request.pem --threshold 2 --share /media/a --share /media/b --share /media/c \\\n" +
			"      --next-share /media/d --next-share /media/e --next-share /media/f -o founding.pem --transcript protocol.html",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.offline(); err != nil {
				return err
			}
			b, err := c.readArmour(args[0], foundingRequestArmour)
			if err != nil {
				return err
			}
			var signed protocol.Signed
			if err := protocol.Decode(b, protocol.MaxFoundingSize, &signed); err != nil {
				return fmt.Errorf("reading founding request: %w", err)
			}
			req, err := crypto.VerifyFoundingRequest(&signed)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.err, "To be founded: %s (%s, %s)\n", printable(req.FoundingRequest.Name), req.Kind, orInternational(req.Country))
			if err := c.matched(words, req.MatchWords); err != nil {
				return err
			}
			return c.found(req, root, next, out, transcript)
		},
	}
	c.setFlags(cmd, root, next, &words, &out, &transcript)
	return cmd
}

// setFlags are those of verbs that make shares.
func (c *ceremony) setFlags(cmd *cobra.Command, root, next *shareSet, words, out, transcript *string) {
	f := cmd.Flags()
	f.StringVar(words, "words", "", "the twelve words that the node showed")
	if root != nil {
		f.StringSliceVar(&root.dirs, "share", nil, "directory of a medium that a root share goes to; one for each share")
		f.IntVar(&root.count, "shares", 0, "how many root shares to make, where no --share is given: media are asked for")
		f.IntVar(&root.threshold, "threshold", 0, "how many root shares have to sign together")
		_ = cmd.MarkFlagRequired("threshold")
		f.BoolVar(&root.bare, "no-passphrase", false, "do not seal shares with passphrases")
		f.BoolVar(&root.sameMedium, "same-medium", false, "allow several shares on one medium")
	} else {
		f.BoolVar(&next.bare, "no-passphrase", false, "do not seal shares with passphrases")
		f.BoolVar(&next.sameMedium, "same-medium", false, "allow several shares on one medium")
	}
	f.StringSliceVar(&next.dirs, "next-share", nil, "directory of a medium that a share of the following root set goes to")
	f.IntVar(&next.count, "next-shares", 0, "how many shares of the following root set to make, where no --next-share is given")
	f.IntVar(&next.threshold, "next-threshold", 0, "how many of the following root set have to sign together (default: as --threshold)")
	f.StringVarP(out, "out", "o", "", "write what goes back to the node to this file")
	f.StringVar(transcript, "transcript", "", "write the protocol for the witnesses to this file, to be printed (required)")
	_ = cmd.MarkFlagRequired("transcript")
}

func (c *ceremony) found(req *crypto.FoundingRequest, root, next *shareSet, out, transcript string) error {
	if err := plan(root, next); err != nil {
		return err
	}
	if err := mustBeNew(transcript); err != nil {
		return err
	}
	if err := errors.Join(root.make(0), next.make(1)); err != nil {
		return err
	}
	f, err := crypto.Found(req, root.set, root.keys, next.set.Hash())
	if err != nil {
		return err
	}
	unfinished := func(err error) error {
		return fmt.Errorf("%w; nothing was founded: destroy the shares that were made, and begin again", err)
	}
	for _, s := range []*shareSet{root, next} {
		if err := c.handOut(s, f.Org, f.Inception.Name); err != nil {
			return unfinished(err)
		}
	}
	t := c.newTranscript("Founding of an organisation", f.Org, f.Inception.Name, f.Inception.Kind, f.Inception.Country)
	t.Request, t.RequestWords = req.Name.String(), strings.Join(req.Words(), " ")
	t.add(root, next)
	t.Next = next.set.Hash().String()
	t.Op, t.Epoch = hex.EncodeToString(f.Epoch.Op[:]), protocol.EpochText(f.Epoch.Epoch)
	t.Signed = fmt.Sprintf("%d root keys signed the first root epoch", len(f.File.RootEpoch.Sigs))
	if err := t.write(transcript); err != nil {
		return unfinished(err)
	}
	err = c.give(out, foundingArmour, protocol.Encode(&f.File), map[string]any{"organisation": f.Org, "words": crypto.Words(f.Org), "transcript": transcript}, func(w io.Writer) {
		fmt.Fprintf(w, "Founded %s\n  id          %s\n  words       %s\n  root set 0  %s\n  root set 1  %s, comes next\n  protocol    %s: print it, have it signed\n",
			printable(f.Inception.Name), f.Org, strings.Join(crypto.Words(f.Org), " "), root.text(), next.text(), transcript)
		fmt.Fprintln(w, "On the node: entente init --founding FILE --words \"...\", with these words. Check each share before it goes to its safe: entente ceremony verify")
	})
	if err != nil {
		return unfinished(err)
	}
	return nil
}

func orInternational(country string) string {
	if country == "" {
		return "international"
	}
	return country
}

// readRotation reads a rotation, or the request of one where that is all there is yet.
func (c *ceremony) readRotation(file string) (*crypto.RotationRequest, *crypto.Rotation, error) {
	b, err := c.readFile(file, 4*protocol.MaxRotationSize)
	if err != nil {
		return nil, nil, err
	}
	if strings.Contains(string(b), "BEGIN "+rotationRequestArmour) {
		raw, _, err := unarmour(file, b, rotationRequestArmour)
		if err != nil {
			return nil, nil, err
		}
		var signed protocol.Signed
		if err := protocol.Decode(raw, protocol.MaxRotationSize, &signed); err != nil {
			return nil, nil, fmt.Errorf("reading %s: %w", file, err)
		}
		req, err := crypto.VerifyRotationRequest(&signed)
		return req, nil, err
	}
	r, err := readRotationFile(file, b)
	if err != nil {
		return nil, nil, err
	}
	return r.Request, r, nil
}

func readRotationFile(file string, b []byte) (*crypto.Rotation, error) {
	raw, _, err := unarmour(file, b, rotationArmour)
	if err != nil {
		return nil, err
	}
	var f protocol.Rotation
	if err := protocol.Decode(raw, protocol.MaxRotationSize, &f); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	r, err := crypto.VerifyRotation(&f)
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", file, err)
	}
	return r, nil
}

// showRequest says what is about to be signed.
func showRequest(w io.Writer, r *crypto.RotationRequest) {
	fmt.Fprintf(w, "Asked for by %s (%s), %s\n", printable(r.Card.Inception.Name), r.Card.Org, time.UnixMilli(int64(r.Made)).UTC().Format("2006-01-02 15:04 MST"))
	if r.Kind == protocol.RotateRoot {
		fmt.Fprintf(w, "  the root set that was committed to takes over from root set %d\n", len(r.Card.Rotations))
	}
	so := hex.EncodeToString(r.Card.RootEpoch.Op[:])
	switch r.Reason {
	case 0:
		fmt.Fprintf(w, "  the operational key stays: %s\n", so)
	case protocol.RetiredCompromised:
		fmt.Fprintf(w, "  the operational key so far is COMPROMISED: nothing that it signed stands any more\n    so far  %s\n    new     %s\n", so, hex.EncodeToString(r.Op[:]))
	default:
		fmt.Fprintf(w, "  another operational key; what the one so far signed stands\n    so far  %s\n    new     %s\n", so, hex.EncodeToString(r.Op[:]))
	}
}

// showSteps says which root sets come in force.
func showSteps(w io.Writer, r *crypto.Rotation) {
	for i, s := range r.Steps {
		fmt.Fprintf(w, "  root set %d: %d of these %d keys sign\n", len(r.Request.Card.Rotations)+i+1, s.Root.Threshold, len(s.Root.Keys))
		for _, k := range s.Root.Keys {
			fmt.Fprintf(w, "    %s  %s\n", hex.EncodeToString(k[:]), crypto.Fingerprint(k))
		}
		fmt.Fprintf(w, "    next  %s\n", s.Next)
	}
}

func (c *ceremony) adoptCommand() *cobra.Command {
	var words, out, transcript string
	var with []string
	root, next := newShareSet("root", ""), newShareSet("next", "next-")
	cmd := &cobra.Command{
		Use: "adopt REQUEST --with FILE", Short: "Divide the root among several people: two rotations, to shares made now",
		Long: "For an organisation that 'entente init' founded with one root key in a file, or one whose root set is to be made\n" +
			"of other people. The root set that was committed to (in the file: 'next') takes over, commits to shares that are\n" +
			"made here and now, and these take over from it at once. Both are in the card that the node makes of it.",
		Example: "  entente ceremony adopt request.pem --with vendor-root-key.txt --threshold 2 --share /media/a --share /media/b --share /media/c \\\n" +
			"      --next-share /media/d --next-share /media/e --next-share /media/f -o rotation.pem --transcript protocol.html",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := plan(root, next); err != nil {
				return err
			}
			return c.replace(args[0], words, with, root, next, out, transcript)
		},
	}
	c.setFlags(cmd, root, next, &words, &out, &transcript)
	cmd.Flags().StringSliceVar(&with, "with", nil, "root file, or share, of the root set that was committed to; one for each that signs here")
	_ = cmd.MarkFlagRequired("with")
	return cmd
}

func (c *ceremony) rotateCommand() *cobra.Command {
	var words, out, transcript string
	var with []string
	next := newShareSet("next", "next-")
	cmd := &cobra.Command{
		Use: "rotate REQUEST --with SHARE", Short: "Have the next root set take over, and make the one after it",
		Long: "The root set that was committed to takes over: its shares sign, and those of the set before are worth nothing any\n" +
			"more, wherever they are. So it is where fewer than k shares of the root are left, or some may be stolen.",
		Example: "  entente ceremony rotate request.pem --with /media/d/root-set-1-share-1.txt --with /media/e/root-set-1-share-2.txt \\\n" +
			"      --next-threshold 2 --next-share /media/g --next-share /media/h --next-share /media/i -o rotation.pem --transcript protocol.html",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := plan(nil, next); err != nil {
				return err
			}
			return c.replace(args[0], words, with, nil, next, out, transcript)
		},
	}
	c.setFlags(cmd, nil, next, &words, &out, &transcript)
	cmd.Flags().StringSliceVar(&with, "with", nil, "share (or root file) of the root set that was committed to; one for each that signs here")
	_ = cmd.MarkFlagRequired("with")
	_ = cmd.MarkFlagRequired("next-threshold")
	return cmd
}

// replace makes a rotation of the root set; with root shares one that goes on to those at once.
func (c *ceremony) replace(file, words string, with []string, root, next *shareSet, out, transcript string) error {
	if err := c.offline(); err != nil {
		return err
	}
	req, begun, err := c.readRotation(file)
	if err != nil {
		return err
	}
	if begun != nil {
		return errors.New("this rotation was begun already: other holders sign it with 'entente ceremony sign'")
	}
	showRequest(c.err, req)
	if err := c.matched(words, req.MatchWords); err != nil {
		return err
	}
	if err := mustBeNew(transcript); err != nil {
		return err
	}
	held, err := c.rootKeys(with)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(held, func(h heldKey) bool { return h.set.Hash() == req.Card.Next })
	if i < 0 {
		return errors.New("none of the files of --with is of the root set that was committed to; 'entente ceremony verify --card CARD --share FILE' says what a share is of")
	}
	set := uint32(len(req.Card.Rotations) + 1)
	var steps []crypto.RootStep
	made := []*shareSet{next}
	if root != nil {
		if err := errors.Join(root.make(set+1), next.make(set+2)); err != nil {
			return err
		}
		made = []*shareSet{root, next}
		steps = []crypto.RootStep{{Root: held[i].set, Next: root.set.Hash()}, {Root: root.set, Next: next.set.Hash()}}
	} else {
		if err := next.make(set + 1); err != nil {
			return err
		}
		steps = []crypto.RootStep{{Root: held[i].set, Next: next.set.Hash()}}
	}
	rot, err := crypto.NewRotation(req, steps...)
	if err != nil {
		return err
	}
	unfinished := func(err error) error {
		return fmt.Errorf("%w; nothing was rotated: destroy the shares that were made, and begin again", err)
	}
	for _, s := range made {
		if err := c.handOut(s, req.Card.Org, req.Card.Inception.Name); err != nil {
			return unfinished(err)
		}
	}
	for _, h := range held {
		rot.Sign(h.key)
	}
	if root != nil {
		for _, k := range root.keys {
			rot.Sign(k)
		}
	}
	t := c.newTranscript("Rotation of the root keys", req.Card.Org, req.Card.Inception.Name, req.Card.Inception.Kind, req.Card.Inception.Country)
	t.Request, t.RequestWords = req.Name.String(), strings.Join(req.Words(), " ")
	t.Rotation, t.RotationWords = rot.Name.String(), strings.Join(rot.Words(), " ")
	t.add(made...)
	t.Next = next.set.Hash().String()
	t.Op, t.Epoch = hex.EncodeToString(rot.Epoch.Op[:]), protocol.EpochText(rot.Epoch.Epoch)
	t.Signed = fmt.Sprintf("%d keys of root set %d signed that it takes over", len(rot.File.Rotations[0].Sigs), set)
	if err := t.write(transcript); err != nil {
		return unfinished(err)
	}
	if err := c.giveRotation(out, rot, transcript); err != nil {
		return unfinished(err)
	}
	return nil
}

// giveRotation hands a rotation out, to the node or to the next holder.
func (c *ceremony) giveRotation(out string, rot *crypto.Rotation, transcript string) error {
	v := map[string]any{"organisation": rot.Request.Card.Org, "missing": rot.Missing()}
	if transcript != "" {
		v["transcript"], v["words"] = transcript, rot.Words()
	}
	return c.give(out, rotationArmour, protocol.Encode(&rot.File), v, func(w io.Writer) {
		if transcript != "" {
			fmt.Fprintf(w, "The protocol is in %s: print it, have it signed.\n  words  %s\n", transcript, strings.Join(rot.Words(), " "))
			fmt.Fprintln(w, "Who signs the rotation elsewhere compares these words, not those of the request.")
		}
		missing := rot.Missing()
		for _, m := range missing {
			fmt.Fprintf(w, "%s: %d of %d signatures\n", m.What, m.Have, m.Need)
		}
		switch {
		case len(missing) > 0:
			fmt.Fprintln(w, "Take it to the next holder: entente ceremony sign FILE --share SHARE")
		case rot.Request.Kind == protocol.RotateRoot:
			fmt.Fprintln(w, "Enough have signed. On the node: entente key rotate root --apply FILE")
		default:
			fmt.Fprintln(w, "Enough have signed. On the node: entente key rotate op --apply FILE (or node promote --apply FILE)")
		}
	})
}

func (c *ceremony) signCommand() *cobra.Command {
	var words, out string
	var shares []string
	cmd := &cobra.Command{
		Use: "sign FILE --share SHARE", Short: "Sign a rotation with root shares",
		Long: "Signs what a node asks for ('entente key rotate', 'entente node promote'), or adds signatures to a rotation that others\n" +
			"signed before: the file goes from holder to holder until enough have signed. Each compares the words: of another\n" +
			"operational key those that the node showed; of a rotation of the root, which shows the sets that come in force,\n" +
			"those in the protocol of the ceremony that began it.",
		Example: "  entente ceremony sign request.pem --share /media/a/root-set-0-share-1.txt --words \"abandon ability ...\" -o rotation.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.offline(); err != nil {
				return err
			}
			req, rot, err := c.readRotation(args[0])
			if err != nil {
				return err
			}
			if rot == nil {
				if rot, err = crypto.NewRotation(req); err != nil {
					return err
				}
			}
			showRequest(c.err, req)
			showSteps(c.err, rot)
			if err := c.matchedRotation(words, rot); err != nil {
				return err
			}
			held, err := c.rootKeys(shares)
			if err != nil {
				return err
			}
			signed := false
			for _, h := range held {
				signed = rot.Sign(h.key) || signed
			}
			if !signed {
				if slices.ContainsFunc(held, func(h heldKey) bool { return rot.Knows(h.key.Public()) }) {
					return errors.New("these shares signed it already; others have to")
				}
				return errors.New("none of these shares is of the root set that has to sign; 'entente ceremony verify --card CARD --share FILE' says what a share is of")
			}
			return c.giveRotation(out, rot, "")
		},
	}
	cmd.Flags().StringSliceVar(&shares, "share", nil, "share that signs, or a root file of 'entente init'")
	cmd.Flags().StringVar(&words, "words", "", "the twelve words that the node showed; of a rotation of the root, those in the protocol of its ceremony")
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the rotation to this file")
	_ = cmd.MarkFlagRequired("share")
	return cmd
}

func (a *app) readCard(file string) (*crypto.Card, error) {
	b, err := a.readArmour(file, cardArmour)
	if err != nil {
		return nil, err
	}
	var signed protocol.SignedCard
	if err := protocol.Decode(b, protocol.MaxCardSize+1<<10, &signed); err != nil {
		return nil, fmt.Errorf("reading card: %w", err)
	}
	card, err := crypto.VerifyCard(&signed)
	if err != nil {
		return nil, fmt.Errorf("verifying card: %w", err)
	}
	return card, nil
}

// checkedShare is what verify says of a share or of a proof.
type checkedShare struct {
	Index       int                 `json:"index"`
	Of          int                 `json:"of"`
	Threshold   int                 `json:"threshold"`
	Fingerprint string              `json:"fingerprint"`
	Standing    crypto.RootStanding `json:"standing"`
}

func checked(card *crypto.Card, org protocol.OrgID, root *protocol.RootSet, key protocol.RootKey) (checkedShare, error) {
	standing, err := card.RootSetOf(org, root)
	return checkedShare{slices.Index(root.Keys, key) + 1, len(root.Keys), int(root.Threshold), crypto.Fingerprint(key), standing}, err
}

func (s *checkedShare) show(w io.Writer, what string) {
	fmt.Fprintf(w, "%s %d of %d (%d sign together), %s\n  %s\n", what, s.Index, s.Of, s.Threshold, s.Fingerprint, s.Standing)
}

func (c *ceremony) verifyCommand() *cobra.Command {
	var cardFile, challenge, proof, out string
	var shares []string
	cmd := &cobra.Command{
		Use: "verify --card CARD", Short: "Check that shares open and are of the organisation's root sets; or check a holder's proof",
		Long: "With --share: opens each share, has its key sign, and says what it is to the organisation of the card: in force,\n" +
			"next, or past. Nothing of the secret is shown or written. With --challenge and -o the signature is left in a\n" +
			"file as proof for somebody who said the challenge; --proof checks such a file, on any machine.",
		Example: "  entente ceremony verify --card vendor.pem --share /media/a/root-set-0-share-1.txt\n" +
			"  entente ceremony verify --card vendor.pem --share /media/a/root-set-0-share-1.txt --challenge \"audit of May\" -o proof.pem\n" +
			"  entente ceremony verify --card vendor.pem --proof proof.pem --challenge \"audit of May\"",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			card, err := c.readCard(cardFile)
			if err != nil {
				return err
			}
			if proof != "" {
				return c.verifyProof(card, proof, challenge)
			}
			if len(shares) == 0 || out != "" && (challenge == "" || len(shares) > 1) {
				return errors.New("give --share with the share to check, or --proof; a proof (-o) is of one share and of a --challenge")
			}
			if err := c.offline(); err != nil {
				return err
			}
			var list []checkedShare
			var signed *protocol.Signed
			for _, file := range shares {
				s, err := c.readShare(file)
				if err != nil {
					return err
				}
				r, err := checked(card, s.Org, &s.Root, s.Key)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				k, err := c.openShare(s)
				if err != nil {
					return err
				}
				said := challenge
				if said == "" {
					said = "checked by its holder"
				}
				if signed, err = crypto.ProveShare(s, k, said, uint64(time.Now().UnixMilli())); err != nil {
					return err
				}
				if _, err := crypto.VerifyShareProof(signed); err != nil {
					return fmt.Errorf("%s does not sign: %w", file, err)
				}
				list = append(list, r)
			}
			say := func(w io.Writer) {
				for _, r := range list {
					r.show(w, "Good: root share")
				}
			}
			if out != "" {
				return c.give(out, shareProofArmour, protocol.Encode(signed), list, say)
			}
			return c.print(list, say)
		},
	}
	cmd.Flags().StringVar(&cardFile, "card", "", "the organisation's card, from 'entente id --card FILE'")
	cmd.Flags().StringSliceVar(&shares, "share", nil, "share to check")
	cmd.Flags().StringVar(&challenge, "challenge", "", "what the holder signs, as whoever asks for a proof said it")
	cmd.Flags().StringVar(&proof, "proof", "", "proof of a holder to check")
	cmd.Flags().StringVarP(&out, "out", "o", "", "leave the signature in this file, as a proof")
	_ = cmd.MarkFlagRequired("card")
	return cmd
}

func (c *ceremony) verifyProof(card *crypto.Card, file, challenge string) error {
	b, err := c.readArmour(file, shareProofArmour)
	if err != nil {
		return err
	}
	var signed protocol.Signed
	if err := protocol.Decode(b, protocol.MaxShareSize, &signed); err != nil {
		return fmt.Errorf("reading proof: %w", err)
	}
	p, err := crypto.VerifyShareProof(&signed)
	if err != nil {
		return fmt.Errorf("verifying proof: %w", err)
	}
	if p.Challenge != challenge {
		return fmt.Errorf("the proof is for the challenge %q; give --challenge as you said it to the holder", printable(p.Challenge))
	}
	r, err := checked(card, p.Org, &p.Root, p.Key)
	if err != nil {
		return err
	}
	return c.print(r, func(w io.Writer) {
		r.show(w, "Good: its holder has root share")
		fmt.Fprintf(w, "  signed %s by the clock of the holder's machine\n", time.UnixMilli(int64(p.At)).UTC().Format("2006-01-02 15:04 MST"))
	})
}

func (c *ceremony) paperCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "paper SHARE -o FILE", Short: "Write a share as 24 words, to be printed",
		Long: "Memory sticks fade; paper does not. The words are the key itself, not sealed by any passphrase: print the file on a\n" +
			"printer without network or copy it by hand, and put it in an envelope that shows when it was opened.",
		Example: "  entente ceremony paper /media/a/root-set-0-share-1.txt -o /media/a/paper.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.offline(); err != nil {
				return err
			}
			s, err := c.readShare(args[0])
			if err != nil {
				return err
			}
			k, err := c.openShare(s)
			if err != nil {
				return err
			}
			if err := writeNew(out, []byte(paperText(s, k.UnsafePaper()))); err != nil {
				return err
			}
			return c.print(map[string]string{"file": out}, func(w io.Writer) {
				fmt.Fprintf(w, "The words are in %s, in clear. Print it, then destroy the file.\n", out)
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write; it must not exist")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

func paperText(s *protocol.RootShare, words []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ENTENTE ROOT SHARE %d of %d, on paper; %d of them have to sign together\n\n", s.Index(), len(s.Root.Keys), s.Root.Threshold)
	fmt.Fprintf(&b, "Organisation  %s\nOrgID         %s\nRoot set      %s\nFingerprint   %s\n\n", s.Name, s.Org, crypto.SetText(s.Set), crypto.Fingerprint(s.Key))
	for i := 0; i < len(words); i += 4 {
		for j, w := range words[i : i+4] {
			fmt.Fprintf(&b, "%4d %-10s", i+j+1, w)
		}
		b.WriteString("\n")
	}
	b.WriteString("\nThese words are the key. Nobody who means well asks for them.\nTo make a share file of them again: entente ceremony restore WORDS --like SHARE -o FILE\n")
	return b.String()
}

func (c *ceremony) restoreCommand() *cobra.Command {
	var like, card, out string
	var bare bool
	cmd := &cobra.Command{
		Use: "restore WORDS -o FILE", Short: "Make a share file again of the 24 words on paper",
		Long: "WORDS is a file with the words, or - to read them from standard input. What else a share holds is taken of any other\n" +
			"share of the same set (--like, no passphrase is needed for that), or of the organisation's card if the set is in force.",
		Example: "  entente ceremony restore words.txt --like /media/b/root-set-0-share-2.txt -o /media/x/root-set-0-share-1.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if (like == "") == (card == "") {
				return errors.New("give --like with another share of the set, or --card")
			}
			if err := c.offline(); err != nil {
				return err
			}
			b, err := c.readFile(args[0], protocol.MaxShareSize)
			if err != nil {
				return err
			}
			k, err := crypto.ParsePaper(string(b))
			if err != nil {
				return err
			}
			var of protocol.RootShare
			if like != "" {
				s, err := c.readShare(like)
				if err != nil {
					return err
				}
				of = *s
			} else {
				v, err := c.readCard(card)
				if err != nil {
					return err
				}
				of = protocol.RootShare{Org: v.Org, Name: v.Inception.Name, Set: uint32(len(v.Rotations)), Root: v.Root}
			}
			if !slices.Contains(of.Root.Keys, k.Public()) {
				return errors.New("the words are of a key that is not of that root set; take a share of the set that the paper names")
			}
			var lock crypto.Lock
			if !bare {
				p, err := newPassphrase()
				if err != nil {
					return err
				}
				lock = crypto.PassphraseLock(p)
			}
			s, err := crypto.NewShare(of.Org, of.Name, of.Set, of.Root, k, lock)
			if err != nil {
				return err
			}
			if err := writeNew(out, []byte(crypto.FormatShare(s))); err != nil {
				return err
			}
			return c.print(map[string]any{"file": out, "index": s.Index()}, func(w io.Writer) {
				fmt.Fprintf(w, "Root share %d of %d (%s) is in %s\n", s.Index(), len(s.Root.Keys), crypto.Fingerprint(s.Key), out)
			})
		},
	}
	cmd.Flags().StringVar(&like, "like", "", "another share of the same root set")
	cmd.Flags().StringVar(&card, "card", "", "the organisation's card, for a share of the set in force")
	cmd.Flags().StringVarP(&out, "out", "o", "", "share file to write; it must not exist")
	cmd.Flags().BoolVar(&bare, "no-passphrase", false, "do not seal the share with a passphrase")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}
