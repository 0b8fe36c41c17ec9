package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/corpus/postgres"
)

// mirrored says which database follows the node.
type mirrored struct {
	postgres.Config
	search bool
}

func (m *mirrored) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&m.URL, "postgres", "", "PostgreSQL database that is to hold what this node can read, as postgres://entente@db.example/ti?sslmode=verify-full; without the password")
	f.StringVar(&m.PasswordFile, "postgres-password-file", "", "file with the password (default: what PGPASSFILE or PGSERVICE say)")
	f.BoolVar(&m.search, "search-postgres", false, "answer searches from the database, whenever it is up with the node")
}

// follow has the database follow the node until the returned function is called.
func (m *mirrored) follow(ctx context.Context, n *node.Node, log *slog.Logger) (stop func(), err error) {
	if m.URL == "" {
		if m.search || m.PasswordFile != "" {
			return nil, fmt.Errorf("--search-postgres and --postgres-password-file belong to --postgres")
		}
		return func() {}, nil
	}
	mirror, err := postgres.New(m.Config, n.MirrorSource(), log)
	if err != nil {
		return nil, err
	}
	if err := n.UseMirror(mirror, mirror.Address(), m.search); err != nil {
		mirror.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { mirror.Run(ctx); close(done) }()
	return func() {
		cancel()
		<-done
		_ = n.UseMirror(nil, "", false)
		mirror.Close()
	}, nil
}

func (a *app) postgresCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "postgres", Short: "Look after the PostgreSQL database that follows a node", Example: "  entente postgres status"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "status", Short: "Show how far the database follows", Example: "  entente postgres status", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				var st node.Status
				if err := a.ask(cmd.Context(), "GET", "status", nil, nil, &st); err != nil {
					return err
				}
				if st.Mirror == nil {
					return fmt.Errorf("no database follows this node, or who asks may not know of it; 'entente up --postgres URL' makes one follow")
				}
				return a.print(st.Mirror, func(w io.Writer) { showMirror(w, st.Mirror) })
			},
		},
		&cobra.Command{
			Use: "forget NODE", Short: "Remove from the database what a node wrote that will not come back", Example: "  entente postgres forget 12D3KooW...",
			Long: "Removes what the node with that peer ID held, and with it the records that no other node holds.\n" +
				"A node that is up writes again what it holds. Of the node itself, while no database follows it: says\n" +
				"that the one that did was dropped.", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.ask(cmd.Context(), "DELETE", "mirror/"+args[0], nil, nil, nil)
			},
		},
		&cobra.Command{
			Use: "schema", Short: "Print the SQL that makes the tables, for whoever administers the database", Example: "  entente postgres schema | less", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				for i, list := range postgres.Migrations() {
					fmt.Fprintf(a.out, "-- version %d\n%s;\n", i+1, strings.Join(list, ";\n"))
				}
				return nil
			},
		},
	)
	return cmd
}

func showMirror(w io.Writer, m *corpus.MirrorStatus) {
	state := "connected"
	if !m.Connected {
		state = "not connected: " + printable(m.Error)
	}
	fmt.Fprintf(w, "database  %s\n", state)
	if m.Server != "" {
		fmt.Fprintf(w, "server    %s\n", printable(m.Server))
	}
	upTo := "not yet since the start"
	if !m.UpTo.IsZero() {
		upTo = m.UpTo.Format("2006-01-02 15:04:05 MST")
	}
	fmt.Fprintf(w, "position  %d, %d changes behind; erasures up to %d\n", m.Position, m.Behind, m.Erased)
	fmt.Fprintf(w, "whole     %t; up with the node %s\n", m.Whole, upTo)
	fmt.Fprintf(w, "written   %d records, %d failures since the start\n", m.Written, m.Failures)
	if m.Searched {
		fmt.Fprintf(w, "searches  %d answered, %d left to the embedded corpus\n", m.Answered, m.Declined)
	}
}
