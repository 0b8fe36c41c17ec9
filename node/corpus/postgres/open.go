package postgres

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// maxPasswordFile bounds the file that a password is read from, in bytes.
const maxPasswordFile = 4 << 10

// connections is how many a node opens at most: one writes, the others search.
const connections = 8

// Config says where the database is.
type Config struct {
	// URL is a connection string of libpq, as postgres://entente@db.example/ti?sslmode=verify-full, or
	// keywords and values. It holds no password: what stands on a command line is read by everybody on
	// the machine. What it leaves out is taken from the environment (PGPASSFILE, PGSERVICE,
	// PGSSLROOTCERT and their like).
	URL string
	// PasswordFile holds the password, and perhaps a line break; empty: the environment says.
	PasswordFile string
}

var passwordKeyword = regexp.MustCompile(`(?i)(^|\s)(ssl)?password\s*=`)

// Check says what is wrong with the address and the file of the password; nil: nothing that shows without a connection.
func (c Config) Check() error {
	_, err := c.pool()
	return err
}

// open returns a pool of connections, of which none is made yet.
func open(c Config) (*pgxpool.Pool, error) {
	cfg, err := c.pool()
	if err != nil {
		return nil, err
	}
	return pgxpool.NewWithConfig(context.Background(), cfg)
}

func (c Config) pool() (*pgxpool.Config, error) {
	if holdsPassword(c.URL) {
		return nil, errors.New("the address of the database holds a password, which everybody on this machine can read in the list of processes; put it into a file for --postgres-password-file, or into the one that PGPASSFILE names")
	}
	cfg, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the address of the database: %w; give one like postgres://entente@db.example/ti?sslmode=verify-full", err)
	}
	if c.PasswordFile != "" {
		if cfg.ConnConfig.Password, err = readPassword(c.PasswordFile); err != nil {
			return nil, err
		}
	}
	conn := &cfg.ConnConfig.Config
	err = checkTransport(conn.Host, conn.TLSConfig)
	for _, f := range conn.Fallbacks {
		err = errors.Join(err, checkTransport(f.Host, f.TLSConfig))
	}
	if err != nil {
		return nil, err
	}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = 10 * time.Second
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "entente"
	}
	if !strings.Contains(c.URL, "pool_max_conns") {
		cfg.MaxConns = connections
	}
	return cfg, nil
}

func holdsPassword(address string) bool {
	if !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		return passwordKeyword.MatchString(address)
	}
	u, err := url.Parse(address)
	if err != nil {
		// It is not repeated, and said to be no address, elsewhere.
		return strings.Contains(address, "@")
	}
	_, has := u.User.Password()
	return has || u.Query().Has("password") || u.Query().Has("sslpassword")
}

func readPassword(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("reading the password of the database: %w", err)
	}
	defer f.Close()
	b := make([]byte, maxPasswordFile+1)
	n := 0
	for n < len(b) && err == nil {
		var k int
		k, err = f.Read(b[n:])
		n += k
	}
	b = bytes.TrimRight(b[:n], "\r\n")
	switch {
	case n > maxPasswordFile:
		return "", fmt.Errorf("the file %s has more than %d bytes; give one that holds the password of the database alone", file, maxPasswordFile)
	case len(b) == 0 || bytes.ContainsAny(b, "\r\n\x00"):
		return "", fmt.Errorf("the file %s holds no password, or more than one line", file)
	}
	return string(b), nil
}

// checkTransport refuses to send over a network, in the clear or to whoever answers, what is sealed
// everywhere else.
func checkTransport(host string, t *tls.Config) error {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() {
		return nil
	}
	if t == nil || t.InsecureSkipVerify && t.VerifyPeerCertificate == nil && t.VerifyConnection == nil {
		return fmt.Errorf("the connection to the database at %q may be read or taken over on its way; add sslmode=verify-full to its address, and sslrootcert=FILE with the authority that signed its certificate", host)
	}
	return nil
}
