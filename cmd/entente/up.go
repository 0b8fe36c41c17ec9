package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	sources "github.com/entente-mesh/entente/node/source"
	"github.com/entente-mesh/entente/node/stream"
)

func (a *app) upCommand() *cobra.Command {
	var listen, via []string
	var proxy string
	var relay bool
	var rulesFile, people string
	var acceptRestored, clockOK, migrate bool
	var served serving
	var followed mirrored
	var quota, partnerQuota int64
	var process process
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Run the node until it is interrupted",
		Example: "  entente up\n  entente up --listen /ip4/0.0.0.0/udp/4401/quic-v1 --listen /ip4/0.0.0.0/tcp/4401\n  entente up --config /etc/entente/entente.toml",
		Long: "Runs the node until it is interrupted. Every flag has a key in entente.toml, where it stays; flags are above the file,\n" +
			"and environment variables above both: 'entente config show' tells what holds, and who says so.",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{usesAllKeys: "true"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := node.Config{Listen: listen, Via: via, Proxy: proxy, Relay: relay, AcceptRestored: acceptRestored, ClockOK: clockOK, ClockBy: a.caller(),
				OrgQuota: quota, PartnerQuota: partnerQuota, Rules: rulesFile, People: people, MigrateBy: a.caller(), Progress: a.migrating()}
			if migrate {
				cfg.Migrate = node.MigrateWithBackup
			}
			return a.up(cmd.Context(), &process, &served, &followed, cfg)
		},
	}
	f := cmd.Flags()
	served.flags(cmd)
	followed.flags(cmd)
	process.flags(cmd)
	f.StringArrayVar(&listen, "listen", nil, "address to listen on; may be repeated; none: call others only (default: port 4401, QUIC and TCP; none beside --proxy)")
	f.StringArrayVar(&via, "via", nil, "relay by way of which others can call this node, as 'entente relay' shows it; may be repeated (default: relays of the network, if no address here is public)")
	f.StringVar(&proxy, "proxy", "", "HTTP proxy by way of which peers are called, and sinks and sources outside of this network, as http://user:password@host:3128; nothing of HTTPS_PROXY is used")
	f.BoolVar(&relay, "relay", false, "relay for members of the network that cannot be called, too")
	f.StringVar(&rulesFile, "rules", "", "local rules in Cedar (default: rules.cedar in the data directory, if it is there)")
	f.StringVar(&people, "people", "", "the people and machines that the rules are about (default: people.json beside the rules)")
	f.StringVar(&a.people, "people-socket", "", "path of a second socket, which every account of the machine may open, as /run/entente/api.sock; what each may do 'entente people' says")
	f.Var(sizeFlag(&quota, node.DefaultOrgQuota), "quota", "how much is held of one organisation with which no agreement was ever signed, as 8GiB, or a number of MiB")
	f.Var(sizeFlag(&partnerQuota, node.DefaultPartnerQuota), "partner-quota", "how much is held of one organisation with which one was signed, as 64GiB, or a number of MiB")
	f.BoolVar(&clockOK, "clock-ok", false, "the clock is right, whatever this node stated before and peers say: begin new feeds where it stated times to come, sign the card again, publish")
	f.BoolVar(&acceptRestored, "accept-restored", false, "show and serve data that went back in time although it is not known what was erased since")
	f.BoolVar(&migrate, "migrate", false, "first bring data of an earlier version of the program to this one, if a backup was made within the last hour")
	return cmd
}

// process is how a node runs, whatever it does.
type process struct {
	announce        []string
	metrics, format string
	verbose         bool
	diskLimit       int64
}

func (p *process) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&p.announce, "announce", nil, "address for the card, as others call it; may be repeated (default: those listened on)")
	f.StringVar(&p.metrics, "metrics", "", "host:port to serve /metrics, /healthz and /readyz on, as 127.0.0.1:9464; plain HTTP, for those who may know how the node stands")
	f.StringVar(&p.format, "log-format", "text", "text or json")
	f.Var(sizeFlag(&p.diskLimit, 0), "disk-limit", "how much the data may take, as 20GiB, or a number of MiB; 0: no limit")
	f.BoolVarP(&p.verbose, "verbose", "v", false, "log more")
}

// sayUp tells that the node is up, and where it listens; with no addresses, that it is on no network.
func (a *app) sayUp(addrs []string) {
	switch {
	case addrs == nil:
		fmt.Fprintln(a.out, "up, and on no network yet: 'entente network create' or 'entente network join'; a new node of an organisation waits for 'entente node enrol'")
	case len(addrs) == 0:
		fmt.Fprintln(a.out, "up; listening nowhere: peers call this node by way of relays")
	default:
		fmt.Fprintln(a.out, "up; listening on")
		for _, addr := range addrs {
			fmt.Fprintln(a.out, "  "+addr)
		}
	}
}

// up opens the node of the data directory and runs it and its API until ctx ends.
func (a *app) up(ctx context.Context, p *process, served *serving, followed *mirrored, cfg node.Config) error {
	defer runtime.KeepAlive(heapFloor())
	level := slog.LevelInfo
	if p.verbose {
		level = slog.LevelDebug
	}
	log, err := newLog(a.err, p.format, level)
	if err != nil {
		return err
	}
	cfg.Log, cfg.Announce, cfg.DiskLimit = log, p.announce, p.diskLimit
	var monitor net.Listener
	if p.metrics != "" {
		var err error
		if monitor, err = net.Listen("tcp", p.metrics); err != nil {
			return fmt.Errorf("serving metrics on %q: %w; give host:port, as 127.0.0.1:9464", p.metrics, err)
		}
		defer monitor.Close()
		if at, ok := monitor.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() {
			cfg.Log.Warn("metrics are served to whoever can reach this address", "address", monitor.Addr())
		}
		fmt.Fprintf(a.out, "metrics on http://%s/metrics\n", monitor.Addr())
	}
	consumers, err := served.listen()
	if err != nil {
		return err
	}
	if consumers != nil {
		defer consumers.Close()
	}
	cfg.Program = program()
	n, err := a.open(ctx, cfg, func() bool { return a.dial() != nil })
	if err != nil {
		return err
	}
	defer n.Close()
	unfollow, err := followed.follow(ctx, n, cfg.Log)
	if err != nil {
		return err
	}
	defer unfollow()
	l, err := api.Listen(a.dir)
	if err != nil {
		return err
	}
	defer os.Remove(filepath.Join(a.dir, api.SocketName))
	var shared net.Listener
	if a.people != "" {
		if shared, err = api.ListenPeople(a.people); err != nil {
			return err
		}
		defer os.Remove(a.people)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 6)
	local := api.New(n)
	go func() { ended <- local.Serve(ctx, l) }()
	go func() {
		if shared == nil {
			ended <- nil
			return
		}
		ended <- local.ServePeople(ctx, shared)
	}()
	go func() {
		if monitor == nil {
			ended <- nil
			return
		}
		ended <- api.ServeMonitoring(ctx, n, monitor)
	}()
	go func() {
		if consumers == nil {
			ended <- nil
			return
		}
		err := a.serve(ctx, n, served, consumers, cfg)
		if err != nil {
			cancel() // who asked for it is to see that it does not serve
		}
		ended <- err
	}()
	go func() { ended <- stream.Run(ctx, n, cfg.Log) }()
	go func() { sources.New(n, cfg.Log).Run(ctx); ended <- nil }()
	manager := supervise(ctx, n.Healthy, cfg.Log)
	defer manager.Close()
	err = n.Run(ctx, func(addrs []string) {
		a.sayUp(addrs)
		manager.Ready()
	})
	cancel()
	return errors.Join(err, <-ended, <-ended, <-ended, <-ended, <-ended, <-ended)
}

func newLog(w io.Writer, format string, level slog.Level) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q is not known; text or json", format)
}

func (a *app) statusCommand() *cobra.Command {
	var problems bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show how the node stands", Example: "  entente status --problems", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var st node.Status
			if err := a.ask(cmd.Context(), "GET", "status", nil, nil, &st); err != nil {
				return err
			}
			if problems && st.ProblemsHidden {
				return errors.New("problems are not shown to an account that is nobody of this node's people: have whoever administers it give it a role ('entente people add NAME --os-user USER --role reader'; admin, to see those of open permissions, too), or use the metrics ('entente up --metrics')")
			}
			if problems {
				err := a.print(st.Problems, func(w io.Writer) { showProblems(w, st.Problems) })
				if err == nil && len(st.Problems) > 0 {
					return &partialError{fmt.Sprintf("%d problems", len(st.Problems))}
				}
				return err
			}
			return a.print(st, func(w io.Writer) { showStatus(w, &st) })
		},
	}
	cmd.Flags().BoolVar(&problems, "problems", false, "only what somebody should see to; exit status 2 if there is anything")
	return cmd
}

func showStatus(w io.Writer, st *node.Status) {
	state := "down (shown from the store)"
	if st.Online {
		state = fmt.Sprintf("up since %s, %d peers connected", st.Started.Format("2006-01-02 15:04 MST"), st.Connected)
	}
	fmt.Fprintf(w, "organisation  %s (%s)\n", printable(st.Org.Name), st.Org.ID)
	fmt.Fprintf(w, "node          %s\n", st.Node)
	fmt.Fprintf(w, "state         %s\n", state)
	for _, addr := range st.Addrs {
		fmt.Fprintf(w, "              %s\n", addr)
	}
	if len(st.Nodes) > 1 {
		other, up, same := 0, 0, 0
		for i := range st.Nodes {
			if o := &st.Nodes[i]; !o.This && o.Removed == nil {
				other++
				if o.Connected {
					up++
				}
				if o.Same {
					same++
				}
			}
		}
		fmt.Fprintf(w, "own nodes     %d others, %d connected, %d hold what this one holds\n", other, up, same)
	}
	fmt.Fprintf(w, "network       %s, %d members\n", printable(dash(st.NetworkName)), st.Members)
	showReach(w, st)
	fmt.Fprintf(w, "card          fresh until %s\n", st.CardFresh.Format("2006-01-02"))
	fmt.Fprintf(w, "agreements    %d in force, %d proposals waiting\n", st.Agreements, st.Inbox)
	fmt.Fprintf(w, "topics        %d\n", st.Topics)
	fmt.Fprintf(w, "envelopes     %d held, %d control entries, %d of them not gone through yet\n", st.Envelopes, st.Control, st.Pending)
	if st.CountsHidden {
		fmt.Fprintln(w, "records       how many there are is not shown to who does not administer the node")
	} else {
		fmt.Fprintf(w, "records       %d readable, %d in quarantine\n", st.Records, st.Quarantined)
	}
	fmt.Fprintf(w, "local rules   %d\n", st.Rules)
	fmt.Fprintf(w, "own entries   %d only on this disk\n", st.OnlyHere)
	fmt.Fprintf(w, "missing       %d entries in %d feeds; %d await a key; %d feeds silent, %d forked\n", st.Missing, st.Gaps, st.Awaiting, st.Silent, st.Forked)
	fmt.Fprintf(w, "gossip        %d rejected, %d ignored, %d dropped since the start\n", st.Gossip.Rejected, st.Gossip.Ignored, st.Gossip.Dropped)
	if st.ProblemsHidden {
		fmt.Fprintln(w, "problems      are not shown to an account that is nobody of this node's people")
		return
	}
	showProblems(w, st.Problems)
}

func showProblems(w io.Writer, list []node.Problem) {
	for _, p := range list {
		fmt.Fprintf(w, "%s: %s\n  -> %s\n", p.Severity, printable(p.Text), printable(p.Do))
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "no problems")
	}
}
