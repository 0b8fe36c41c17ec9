package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/misp"
	"github.com/entente-mesh/entente/node/outputs"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/node/stream"
	"github.com/entente-mesh/entente/node/taxii"
)

// serving says where consumers come in.
type serving struct {
	addr, cert, key string
	names           []string
	plain           bool
}

func (s *serving) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.addr, "serve", "", "host:port to serve other systems of this organisation on, by HTTPS; 'entente consumer add' lets them in")
	f.StringVar(&s.cert, "serve-cert", "", "certificate to serve under, PEM (default: the node makes one, and keeps it as serve.pem in the data directory)")
	f.StringVar(&s.key, "serve-key", "", "its key, PEM")
	f.StringArrayVar(&s.names, "serve-name", nil, "name or address under which they reach it, for the certificate that the node makes; may be repeated (default: the host of --serve and this machine's name)")
	f.BoolVar(&s.plain, "serve-plain", false, "serve plain HTTP, on a loopback address, behind a proxy that speaks TLS")
}

// certificateFile is where the node puts its certificate, for consumers to trust.
const certificateFile = "serve.pem"

// listen opens the listener. Nothing is served yet.
func (s *serving) listen() (net.Listener, error) {
	if s.addr == "" {
		return nil, nil
	}
	if (s.cert == "") != (s.key == "") {
		return nil, errors.New("--serve-cert and --serve-key belong together")
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return nil, fmt.Errorf("serving on %q: %w; give host:port, as 0.0.0.0:8443", s.addr, err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); s.plain && !(ok && at.IP.IsLoopback()) {
		return nil, errors.Join(errors.New("plain HTTP shows tokens and records to the network: --serve-plain is for a loopback address, as 127.0.0.1:8080"), l.Close())
	}
	return l, nil
}

// serve answers consumers on l until ctx ends.
func (a *app) serve(ctx context.Context, n *node.Node, cfg *serving, l net.Listener, log node.Config) error {
	s := serve.New(n, log.Log)
	if err := mount(s, n, log.Log); err != nil {
		return err
	}
	scheme := "https"
	var config *tls.Config
	switch {
	case cfg.plain:
		scheme = "http"
	case cfg.cert != "":
		var err error
		if config, err = serve.FileConfig(cfg.cert, cfg.key); err != nil {
			return err
		}
		n.ServesUnder("in "+cfg.cert, false, 0, func() (time.Time, bool) {
			pair, err := config.GetCertificate(nil)
			if err != nil || pair.Leaf == nil {
				return time.Time{}, false
			}
			return pair.Leaf.NotAfter, true
		})
	default:
		var der []byte
		var err error
		if config, der, err = serve.OwnConfig(n, cfg.certNames()); err != nil {
			return err
		}
		path := filepath.Join(a.dir, certificateFile)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
			return fmt.Errorf("writing the certificate for consumers: %w", err)
		}
		fmt.Fprintf(a.out, "certificate %s, SHA-256 %s\n", path, serve.Fingerprint(der))
	}
	if config != nil {
		n.ServesUntil(func() time.Time { return serve.Ends(config) })
	}
	fmt.Fprintf(a.out, "serving consumers on %s://%s\n", scheme, l.Addr())
	return s.Serve(ctx, l, config)
}

func (s *serving) certNames() []string {
	if len(s.names) > 0 {
		return s.names
	}
	names := []string{"localhost"}
	if host, _, err := net.SplitHostPort(s.addr); err == nil && host != "" && host != "localhost" {
		names = append(names, host)
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	return names
}

// mount puts everything that consumers speak where they look for it.
func mount(s *serve.Server, n *node.Node, log *slog.Logger) error {
	return errors.Join(taxii.Mount(s, n, log), misp.Mount(s, n, log), outputs.Mount(s, n), stream.Mount(s, n))
}
