package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
)

// What a new node and its organisation give each other.
const (
	nodeRequestArmour = "ENTENTE NODE REQUEST"
	enrolmentArmour   = "ENTENTE ENROLMENT"
)

func (a *app) nodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Add and remove nodes of your own organisation",
		Long: "An organisation runs as many nodes as it likes, each with keys of its own that never leave it. All\n" +
			"read the same; each publishes in its own name. The node with the operational key puts the others on\n" +
			"the organisation's card:\n\n" +
			"  new machine:          entente node request --card vendor.pem -o request.pem\n" +
			"  where the key is:     entente node approve request.pem --words \"...\" -o enrolment.pem\n" +
			"  new machine:          entente node enrol enrolment.pem && entente up",
	}
	cmd.AddCommand(a.nodeRequestCommand(), a.nodeApproveCommand(), a.nodeEnrolCommand(), a.nodeListCommand(), a.nodeRenewCommand(), a.nodeRevokeCommand(), a.nodeResealCommand(), a.nodePromoteCommand())
	return cmd
}

func (a *app) nodeRequestCommand() *cobra.Command {
	var card, out string
	var announce []string
	var ask bool
	cmd := &cobra.Command{
		Use: "request --card CARD", Short: "Make a new node of an organisation that exists, and its request to be taken in",
		Long: "Makes the keys of a new node in the data directory, and a request that goes to the node with the\n" +
			"operational key by any way. The words on this screen go by another: whoever approves compares them.",
		Example: "  entente node request --card vendor.pem -o request.pem\n  entente node request --card vendor.pem > request.pem", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := a.readArmour(card, cardArmour)
			if err != nil {
				return err
			}
			var signed protocol.SignedCard
			if err := protocol.Decode(b, protocol.MaxCardSize, &signed); err != nil {
				return fmt.Errorf("reading card: %w", err)
			}
			init := node.RequestInit{Dir: a.dir, Card: &signed, Addrs: announce}
			if ask {
				if init.Passphrase, err = newPassphrase(); err != nil {
					return err
				}
			}
			req, err := node.RequestNode(init)
			if err != nil {
				return err
			}
			r := api.NodeRequestOf(req)
			return a.give(out, nodeRequestArmour, r.Bytes, r, func(w io.Writer) {
				fmt.Fprintf(w, "New node %s\n  words  %s\n  data   %s\nHave the request approved where the operational key is.\n", r.Node, strings.Join(r.Words, " "), a.dir)
			})
		},
	}
	cmd.Flags().StringVar(&card, "card", "", "the organisation's card, from 'entente id --card FILE' at one of its nodes")
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the request to this file, or to standard output for -")
	cmd.Flags().StringSliceVar(&announce, "announce", nil, "addresses on the card, as /dns4/node.example/udp/4401/quic-v1")
	cmd.Flags().BoolVar(&ask, "passphrase", false, "seal the keys with a passphrase instead of a key file")
	_ = cmd.MarkFlagRequired("card")
	return cmd
}

func (a *app) nodeApproveCommand() *cobra.Command {
	var words, out string
	cmd := &cobra.Command{
		Use: "approve REQUEST --words \"...\"", Short: "Put a new node on the organisation's card (where the operational key is)",
		Long: "The words are those on the screen of the new machine. From now on the node is admitted by everybody,\n" +
			"partners give it keys, and the other nodes of the organisation give it what the organisation may read.",
		Example: "  entente node approve request.pem --words \"abandon ability able about above absent absorb abstract absurd abuse access accident\" -o enrolment.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.readArmour(args[0], nodeRequestArmour)
			if err != nil {
				return err
			}
			var r struct {
				Enrolment []byte `json:"enrolment"`
			}
			if err := a.ask(cmd.Context(), "POST", "nodes/approve", nil, map[string]any{"request": b, "words": words}, &r); err != nil {
				return err
			}
			return a.give(out, enrolmentArmour, r.Enrolment, r, func(w io.Writer) {
				fmt.Fprintln(w, "The node is on the card. Take the enrolment to it: entente node enrol FILE")
			})
		},
	}
	cmd.Flags().StringVar(&words, "words", "", "the twelve words that the new machine shows")
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the enrolment to this file, or to standard output for -; it holds nothing secret in clear")
	_ = cmd.MarkFlagRequired("words")
	return cmd
}

func (a *app) nodeEnrolCommand() *cobra.Command {
	return &cobra.Command{
		Use: "enrol ENROLMENT", Short: "Begin as a node of the organisation (on the new machine)",
		Example: "  entente node enrol enrolment.pem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.readArmour(args[0], enrolmentArmour)
			if err != nil {
				return err
			}
			var r struct {
				Node    string `json:"node"`
				Network string `json:"network"`
			}
			if err := a.ask(cmd.Context(), "POST", "nodes/enrol", nil, map[string]any{"enrolment": b}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "Enrolled as node %s\nRun 'entente up'. What the organisation may read comes from its other nodes while one of them is up.\n", r.Node)
			})
		},
	}
}

func (a *app) nodeListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the nodes of your organisation, and whether they hold the same", Example: "  entente node list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.OwnNode
			if err := a.ask(cmd.Context(), "GET", "nodes", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"NODE", "STATE", "COMPARED", "ADDRESSES"}}
				for _, o := range list {
					rows = append(rows, []string{o.Node.String(), nodeState(&o), nodeCompared(&o), dash(strings.Join(o.Addrs, " "))})
				}
				table(w, rows...)
			})
		},
	}
}

func nodeState(o *node.OwnNode) string {
	switch {
	case o.Removed != nil:
		return "removed " + o.Removed.Format("2006-01-02 15:04")
	case o.NotAfter.Before(time.Now()):
		return "let in no more: renew or remove it"
	case o.This:
		return "this node"
	case o.Connected:
		return "connected"
	}
	return "not connected"
}

func nodeCompared(o *node.OwnNode) string {
	switch {
	case o.Compared == nil:
		return "-"
	case o.Same:
		return o.Compared.Format("15:04:05") + ", holds the same"
	}
	return o.Compared.Format("15:04:05") + ", was taken from"
}

func (a *app) nodeRenewCommand() *cobra.Command {
	return &cobra.Command{
		Use: "renew NODE", Short: "Give a node another year on the card (where the operational key is)",
		Long: "Nodes in use are renewed by themselves. After a restore with the operational key all others are still\n" +
			"listed, and let in no more, since any of them may have been removed after the backup: say so of those that live.",
		Example: "  entente node renew 12D3KooWAbCdEf", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r struct {
				Node string `json:"node"`
			}
			if err := a.ask(cmd.Context(), "POST", "nodes/renew", nil, map[string]any{"node": args[0]}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "Renewed node %s for a year\n", r.Node) })
		},
	}
}

func (a *app) nodeRevokeCommand() *cobra.Command {
	var now bool
	var reason string
	cmd := &cobra.Command{
		Use: "revoke NODE", Aliases: []string{"remove"}, Short: "End a node: take it off the organisation's card (where the operational key is)",
		Long: "From now on nobody admits the node, and it gets no new key. The card says where its feeds end: what it\n" +
			"published before stays good, what comes after counts nowhere. While entries of it are known to be\n" +
			"missing here it is refused, because they would be lost; --now does it all the same, and so do the reasons\n" +
			"stolen and lost. The audit log keeps the reason. If a stolen node had the operational key, that ends first:\n" +
			"'entente node promote --compromised' on another node.",
		Example: "  entente node revoke xYbCdEfGh --reason stolen  # the end of its id will do", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r node.RemovedNodeReport
			if err := a.ask(cmd.Context(), "POST", "nodes/remove", nil, map[string]any{"node": args[0], "now": now, "reason": reason}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "Removed node %s (%s); %d of its feeds end where they stand here\n", r.Node, r.Reason, len(r.Heads))
				if r.Missing > 0 {
					fmt.Fprintf(w, "%d entries that it wrote are not held here and count nowhere now. A node that holds them publishes them again\nwith 'entente node reseal %s', if they are genuine.\n", r.Missing, r.Node)
				}
				if r.Reason == node.NodeStolen {
					fmt.Fprintln(w, "Whoever has it reads what it held, if its keys were not locked with a passphrase: tell the partners.")
				}
			})
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "also while entries of it are missing here")
	cmd.Flags().StringVar(&reason, "reason", "retired", "stolen, lost or retired")
	return cmd
}

func (a *app) nodePromoteCommand() *cobra.Command {
	var files, apply []string
	var compromised, toFile bool
	var out, opHSM string
	cmd := &cobra.Command{
		Use: "promote", Short: "Give this node the operational key, with root keys: where the node that had it is lost",
		Long: "Makes a new operational key on this node, which must be stopped, and a card that puts it in force, and the\n" +
			"node on the card if it is not there yet: so it is where the only node is gone. The key so far ends\n" +
			"wherever it is; revoke the node that had it with 'entente node revoke'.\n" +
			"With --compromised what the old key signed does not stand any more: agreements have to be made anew.\n" +
			"-o writes a request for the holders of root shares, who sign it on a machine without network ('entente\n" +
			"ceremony sign'), and --apply takes over what comes back. With --root-file the root keys are brought to this\n" +
			"machine instead: take them away again.",
		Example: "  entente node promote -o request.pem\n  entente node promote --apply rotation.pem\n  entente node promote --root-file /media/safe/vendor-root-key.txt", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case len(apply) > 0 && (len(files) > 0 || out != "" || compromised || opHSM != "" || toFile):
				return errors.New("--apply goes alone: what else was wanted stands in the request")
			case len(apply) > 0:
				return a.applyRotation(cmd.Context(), protocol.RotateOp, apply)
			case len(files) > 0:
				return a.promoteWith(cmd.Context(), files, compromised, opHSM, toFile, anyNodeMay)
			}
			return a.askRotation(cmd.Context(), node.RotationInit{Kind: protocol.RotateOp, Compromised: compromised, ToFile: toFile}, opHSM, out,
				"Take it to the holders of root shares: entente ceremony sign FILE --share SHARE", anyNodeMay)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the request to this file")
	cmd.Flags().StringSliceVar(&apply, "apply", nil, "take over a rotation that holders of root shares signed; several files are joined")
	cmd.Flags().StringSliceVar(&files, "root-file", nil, "file with a root key, or a root share; one for each key that has to sign")
	cmd.Flags().BoolVar(&compromised, "compromised", false, "somebody else may have the key so far: what it signed does not stand any more")
	newOpFlags(cmd, &opHSM, &toFile)
	return cmd
}

func (a *app) nodeResealCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reseal NODE", Short: "Publish again what a removed node published after its last entry that counts",
		Long: "For what was genuine: run it at a node that holds those entries, after people decided that the removed\n" +
			"node wrote them and not whoever stole it. Records keep their ids and go to the same readers.",
		Example: "  entente node reseal xYbCdEfGh", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r struct {
				Node    string `json:"node"`
				Entries int    `json:"entries"`
			}
			if err := a.ask(cmd.Context(), "POST", "nodes/reseal", nil, map[string]any{"node": args[0]}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "Sealed anew: %d envelopes of node %s\n", r.Entries, r.Node) })
		},
	}
}
