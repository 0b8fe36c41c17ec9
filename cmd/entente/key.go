package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List and replace the keys of your organisation and of this node",
		Long: "The root keys are offline, and replaced by a ceremony ('entente ceremony'); they put the operational key in force,\n" +
			"which signs cards and agreements, on one node. Each node has keys of its own besides.",
	}
	rotate := &cobra.Command{Use: "rotate", Short: "Replace a key"}
	rotate.AddCommand(a.keyRotateOpCommand(), a.keyRotateRootCommand(), a.keyRotateAgeCommand())
	cmd.AddCommand(a.keyListCommand(), rotate, a.keyHSMCommand())
	return cmd
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"show"}, Short: "List the keys in force and those that ended, and where they are", Example: "  entente key list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l node.KeyList
			if err := a.ask(cmd.Context(), "GET", "keys", nil, nil, &l); err != nil {
				return err
			}
			return a.print(l, func(w io.Writer) { showKeys(w, &l) })
		},
	}
}

func showKeys(w io.Writer, l *node.KeyList) {
	fmt.Fprintf(w, "Root set %d, offline: %d of %d keys sign\n", l.Root.Set, l.Root.Threshold, len(l.Root.Keys))
	for i, k := range l.Root.Keys {
		fmt.Fprintf(w, "  %d  %s  %s\n", i+1, k.Key, k.Fingerprint)
	}
	fmt.Fprintf(w, "  next  %s (%d rotations left)\n\n", l.Root.Next, l.Root.Rotations)
	where := "on another node, or lost"
	switch {
	case l.Op.Here && l.Token != nil && l.Token.Answers:
		where = fmt.Sprintf("in the token %s, which answers", l.Token.Token)
	case l.Op.Here && l.Token != nil:
		where = fmt.Sprintf("in the token %s, which does not answer: %s", l.Token.Token, l.Token.Problem)
	case l.Op.Here:
		where = "on this node"
	case l.Op.Void:
		where = "not on this node, whose own has ended"
	}
	fmt.Fprintf(w, "Operational key, %s\n  %s  root epoch %s, since %s\n", printable(where), l.Op.Key, l.Op.Epoch, l.Op.Since.Format("2006-01-02 15:04"))
	for _, r := range l.Retired {
		stands := "what it signed stands"
		if r.Reason != "rotated" {
			stands = "what it signed does not stand"
		}
		fmt.Fprintf(w, "  %s  %s %s; %s\n", r.Key, r.Reason, r.At.Format("2006-01-02 15:04"), stands)
	}
	fmt.Fprintf(w, "\nThis node, %s\n  signing  %s\n", l.Node.Node, l.Node.Signing)
	if l.Node.NotAfter != nil {
		fmt.Fprintf(w, "  on the card until %s\n\n", l.Node.NotAfter.Format("2006-01-02 15:04"))
	} else {
		fmt.Fprint(w, "  not on the card\n\n")
	}
	showOwnKeys(w, l)
}

// stopped opens the node where its keys are to change: no other process may have them in memory.
func (a *app) stopped(ctx context.Context) (*node.Node, crypto.Lock, error) {
	lock, err := a.lock()
	if err != nil {
		return nil, nil, err
	}
	if a.dial() != nil {
		return nil, nil, errors.New("the node is running; stop it first, since it has its keys in memory")
	}
	n, err := a.open(ctx, node.Config{}, func() bool { return false })
	return n, lock, err
}

// lock opens what seals the keys in the data directory.
func (a *app) lock() (crypto.Lock, error) {
	var pass []byte
	if node.NeedsPassphrase(a.dir) {
		var err error
		if pass, err = passphrase("Passphrase: "); err != nil {
			return nil, err
		}
	}
	return node.OpenLock(a.dir, pass)
}

// askRotation writes the request for other keys, to be signed by holders of root shares.
func (a *app) askRotation(ctx context.Context, init node.RotationInit, opHSM, out, next string, allowed func(*node.KeyList) error) error {
	n, lock, err := a.stopped(ctx)
	if err != nil {
		return err
	}
	init.Dir, init.Lock, init.By = a.dir, lock, a.caller()
	if opHSM != "" {
		s, err := a.tokenSigner(opHSM)
		if err != nil {
			return errors.Join(err, n.Close())
		}
		defer s.Close()
		init.Op = s
	}
	req, err := func() (*crypto.RotationRequest, error) {
		l, err := n.KeyList()
		if err != nil {
			return nil, err
		}
		if err := allowed(l); err != nil {
			return nil, err
		}
		return n.RequestRotation(init)
	}()
	if err := errors.Join(err, n.Close()); err != nil {
		return err
	}
	v := map[string]any{"organisation": req.Card.Org, "words": req.Words(), "request": protocol.Encode(&req.Signed)}
	return a.give(out, rotationRequestArmour, protocol.Encode(&req.Signed), v, func(w io.Writer) {
		fmt.Fprintf(w, "Request of %s\n  words  %s\n%s\n", printable(req.Card.Inception.Name), strings.Join(req.Words(), " "), next)
	})
}

// applyRotation takes over what holders of root shares signed. Each may have signed a copy of their own.
func (a *app) applyRotation(ctx context.Context, kind protocol.RotationKind, files []string) error {
	var rot *crypto.Rotation
	for _, f := range files {
		b, err := a.readFile(f, 4*protocol.MaxRotationSize)
		if err != nil {
			return err
		}
		r, err := readRotationFile(f, b)
		if err != nil {
			return err
		}
		if rot == nil {
			rot = r
		} else if err := rot.Join(r); err != nil {
			return fmt.Errorf("joining %s: %w", f, err)
		}
	}
	switch {
	case rot.Request.Kind == kind:
	case kind == protocol.RotateOp:
		return errors.New("this rotation replaces the root set: entente key rotate root --apply FILE")
	default:
		return errors.New("this rotation replaces the operational key: entente key rotate op --apply FILE")
	}
	n, lock, err := a.stopped(ctx)
	if err != nil {
		return err
	}
	rep, err := n.ApplyRotation(node.RotationApply{Dir: a.dir, Lock: lock, Rotation: rot, By: a.caller()})
	if err := errors.Join(err, n.Close()); err != nil {
		return err
	}
	return a.rotated(rep)
}

// rotated says what a rotation did, and what is to be done now.
func (a *app) rotated(rep *node.RotationReport) error {
	return a.print(rep, func(w io.Writer) {
		fmt.Fprintf(w, "This node, %s, has the operational key. In force: root epoch %s\n", rep.Node, rep.Epoch)
		if len(rep.Void) > 0 {
			fmt.Fprintln(w, "These agreements do not stand any more; make them anew with the parties, from a new draft:")
			for _, v := range rep.Void {
				var names []string
				for _, p := range v.Parties {
					names = append(names, p.Name)
				}
				fmt.Fprintf(w, "  %s  %s, with %s\n", v.ID.Short(), printable(v.Title), printable(strings.Join(names, ", ")))
			}
		}
		if len(rep.Members) > 0 {
			fmt.Fprintln(w, "These members fell out of the network, since the compromised key had sponsored them; invite them again:")
			for _, m := range rep.Members {
				fmt.Fprintf(w, "  %s  %s\n", m.ID, printable(m.Name))
			}
		}
		if len(rep.Nodes) > 1 {
			fmt.Fprintln(w, "Nodes on the card; revoke those that are not yours with 'entente node revoke':")
			for _, id := range rep.Nodes {
				fmt.Fprintf(w, "  %s\n", id)
			}
		}
		if len(rep.Back) > 0 {
			fmt.Fprintln(w, "These were removed by newer cards, and are back; revoke those that you removed yourselves with 'entente node revoke':")
			for _, id := range rep.Back {
				fmt.Fprintf(w, "  %s\n", id)
			}
		}
		if len(rep.Gone) > 0 {
			fmt.Fprintln(w, "These were listed by newer cards, and are not any more; those that are yours ask again with 'entente node request':")
			for _, id := range rep.Gone {
				fmt.Fprintf(w, "  %s\n", id)
			}
		}
		fmt.Fprintln(w, "Start it: entente up. Take root keys away from this machine, if any were brought.")
	})
}

// promoteWith replaces the operational key with root keys that are at hand.
func (a *app) promoteWith(ctx context.Context, files []string, compromised bool, opHSM string, toFile bool, allowed func(*node.KeyList) error) error {
	held, err := a.rootKeys(files)
	if err != nil {
		return err
	}
	n, lock, err := a.stopped(ctx)
	if err != nil {
		return err
	}
	req := node.PromoteRequest{Dir: a.dir, Lock: lock, Compromised: compromised, ToFile: toFile, By: a.caller()}
	if opHSM != "" {
		s, err := a.tokenSigner(opHSM)
		if err != nil {
			return errors.Join(err, n.Close())
		}
		defer s.Close()
		req.Op = s
	}
	for _, h := range held {
		req.Root = append(req.Root, h.key)
	}
	rep, err := func() (*node.RotationReport, error) {
		l, err := n.KeyList()
		if err != nil {
			return nil, err
		}
		if err := allowed(l); err != nil {
			return nil, err
		}
		return n.Promote(req)
	}()
	if err := errors.Join(err, n.Close()); err != nil {
		return err
	}
	return a.rotated(rep)
}

func hasOp(l *node.KeyList) error {
	if !l.Op.Here {
		return errors.New("the operational key in force is not on this node: 'entente node promote' gives it one, and ends the one so far")
	}
	return nil
}

func anyNodeMay(*node.KeyList) error { return nil }

// newOpFlags say where a new operational key is.
func newOpFlags(cmd *cobra.Command, opHSM *string, toFile *bool) {
	cmd.Flags().StringVar(opHSM, "op-hsm", "", "the new operational key is in a token: the file that 'entente key hsm' wrote")
	cmd.Flags().BoolVar(toFile, "to-file", false, "keep the new operational key in a file, although the one so far is in a token")
}

func (a *app) keyRotateOpCommand() *cobra.Command {
	var out, opHSM string
	var apply, with []string
	var compromised, toFile bool
	cmd := &cobra.Command{
		Use: "op", Short: "Replace the operational key: on the node that has it, signed by root shares elsewhere",
		Long: "Makes a new operational key on this node, which must be stopped, or takes one in a token (--op-hsm), and a request\n" +
			"that goes to the holders of root shares; they sign it with 'entente ceremony sign', on a machine without network. --apply takes over what comes back,\n" +
			"of one file that went round or of several. What the key so far signed stands, unless it is --compromised: then it\n" +
			"does not, and the answer lists the agreements to be made anew.",
		Example: "  entente key rotate op -o request.pem\n  entente key rotate op --apply rotation.pem", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case len(apply) > 0 && (len(with) > 0 || out != "" || compromised || opHSM != "" || toFile):
				return errors.New("--apply goes alone: what else was wanted stands in the request")
			case len(apply) > 0:
				return a.applyRotation(cmd.Context(), protocol.RotateOp, apply)
			case len(with) > 0:
				return a.promoteWith(cmd.Context(), with, compromised, opHSM, toFile, hasOp)
			}
			return a.askRotation(cmd.Context(), node.RotationInit{Kind: protocol.RotateOp, Compromised: compromised, ToFile: toFile}, opHSM, out,
				"Take it to the holders of root shares: entente ceremony sign FILE --share SHARE. The key so far goes on until then.", hasOp)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the request to this file")
	cmd.Flags().StringSliceVar(&apply, "apply", nil, "take over a rotation that holders of root shares signed; several files are joined")
	cmd.Flags().StringSliceVar(&with, "with", nil, "do it in one go, with root files or shares on this machine")
	cmd.Flags().BoolVar(&compromised, "compromised", false, "somebody else may have the key so far: what it signed does not stand any more")
	newOpFlags(cmd, &opHSM, &toFile)
	return cmd
}

func (a *app) keyRotateRootCommand() *cobra.Command {
	var out, opHSM string
	var apply []string
	var init node.RotationInit
	cmd := &cobra.Command{
		Use: "root", Short: "Replace the root keys: the set that was committed to takes over",
		Long: "Writes a request that goes to a ceremony: 'entente ceremony rotate' has the next root set take over, 'entente ceremony\n" +
			"adopt' goes on to shares that are made there. --apply takes over what comes back. The root so far has no part in it:\n" +
			"it may be lost or stolen. The operational key stays, where this node has it.\n" +
			"With --root-stolen what the root so far signed after this node's last card is left out.",
		Example: "  entente key rotate root -o request.pem\n  entente key rotate root --apply rotation.pem", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case len(apply) > 0 && (out != "" || opHSM != "" || init.ToFile || init.NewOp || init.Compromised || init.RootStolen):
				return errors.New("--apply goes alone: what else was wanted stands in the request")
			case len(apply) > 0:
				return a.applyRotation(cmd.Context(), protocol.RotateRoot, apply)
			}
			if opHSM != "" || init.ToFile {
				init.NewOp = true
			}
			init.Kind = protocol.RotateRoot
			return a.askRotation(cmd.Context(), init, opHSM, out, "Take it to a ceremony: entente ceremony rotate FILE --with SHARE, or entente ceremony adopt.", anyNodeMay)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the request to this file")
	cmd.Flags().StringSliceVar(&apply, "apply", nil, "take over a rotation that was signed; several files are joined")
	cmd.Flags().BoolVar(&init.NewOp, "new-op", false, "replace the operational key too")
	cmd.Flags().BoolVar(&init.Compromised, "compromised", false, "replace the operational key too, and nothing that it signed stands any more")
	cmd.Flags().BoolVar(&init.RootStolen, "root-stolen", false, "leave out what a thief of the root keys signed")
	newOpFlags(cmd, &opHSM, &init.ToFile)
	return cmd
}
