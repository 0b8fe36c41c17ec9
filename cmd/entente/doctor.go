package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/client"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/node/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var q node.DoctorRequest
	var limit int64
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at the node, its machine and its ways to others, and name the repair of what is wrong",
		Long: "Looks at clock, disk, permissions, keys and what expires, ports, whether peers reach this node from outside,\n" +
			"peers, roster, agreements, gaps, the last backup, and what else 'entente status' tells; under each thing that\n" +
			"is not as it should be stands its repair. It works while the node runs, and while it is down: what cannot be\n" +
			"looked at is named, with the reason. docs/problems.md says of each kind of problem what it means.\n\n" +
			"The exit status is 0 where all is well, 2 where there is something to see to, and 1 where the doctor itself\n" +
			"failed. What could not be looked at is nothing to see to.",
		Example: "  entente doctor\n  entente doctor --check clock --check reachability --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.DiskLimit = limit
			report, err := a.doctor(cmd.Context(), q)
			if err != nil {
				return err
			}
			if err := a.print(report, func(w io.Writer) { showFindings(w, report.Findings) }); err != nil {
				return err
			}
			bad := 0
			for i := range report.Findings {
				if report.Findings[i].Bad() {
					bad++
				}
			}
			if doctor.Code(report.Findings) != 0 {
				return &partialError{fmt.Sprintf("%d to see to", bad)}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&q.Checks, "check", nil, "only this check; may be repeated: "+strings.Join(doctor.Checks(), ", "))
	f.BoolVar(&q.Quick, "quick", false, "write nothing to the disk to measure it, and ask no peer")
	f.StringArrayVar(&q.Listen, "listen", nil, "of a node that is down: address that it is to listen on; may be repeated (default: port 4401, QUIC and TCP)")
	f.Var(sizeFlag(&limit, 0), "disk-limit", "of a node that is down: how much the data may take, as 20GiB, or a number of MiB; 0: no limit")
	return cmd
}

// doctor has the running node look at itself, looks itself at one that is down, and at what can be seen from
// outside of one that cannot be opened.
func (a *app) doctor(ctx context.Context, q node.DoctorRequest) (*node.DoctorReport, error) {
	c, err := a.patient(ctx, q.DiskLimit)
	if err != nil {
		if ctx.Err() != nil || a.socket != "" { // whoever comes by a socket may not look at the machine's files
			return nil, err
		}
		return node.DoctorOffline(ctx, a.dir, q, err)
	}
	report := new(node.DoctorReport)
	err = c.call(ctx, "POST", "doctor", nil, api.Doctor{Checks: q.Checks, Quick: q.Quick, Listen: q.Listen}, report)
	return report, errors.Join(err, c.close())
}

// patient returns a client of the node that is looked at. A node of another user is not opened: files that are
// written in doing so would be this user's.
func (a *app) patient(ctx context.Context, limit int64) (*nodeClient, error) {
	if c, err := a.running(); c != nil || err != nil {
		return c, err
	}
	if info, err := os.Stat(a.dir); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
			return nil, fmt.Errorf("%s belongs to user %d, and this is user %d: run it as the user of the node", a.dir, st.Uid, os.Geteuid())
		}
	}
	var live *nodeClient
	n, err := a.open(ctx, node.Config{DiskLimit: limit}, func() bool { live = a.dial(); return live != nil })
	if live != nil {
		return live, nil
	}
	if err != nil {
		return nil, err
	}
	return &nodeClient{Client: a.clientOf(client.New(inProcess{api.NewOffline(n)})), close: n.Close}, nil
}

// showFindings writes a line for each finding, and under those that are not ok the repair.
func showFindings(w io.Writer, list []doctor.Finding) {
	for i := range list {
		f := &list[i]
		fmt.Fprintf(w, "%-13s %-8s %s\n", f.Check, f.State, printable(f.Text))
		if f.Do != "" && f.State != doctor.OK {
			fmt.Fprintf(w, "%-22s -> %s\n", "", printable(f.Do))
		}
	}
}
