package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
)

// How long a certificate lasts that a node makes for itself, and how long before its end it makes another:
// at a start, or while it runs.
const (
	certLife    = 2 * 365 * 24 * time.Hour
	certRenewal = 30 * 24 * time.Hour
)

// OwnConfig is TLS under a certificate that the node makes for itself, for the names and addresses
// under which it is reached. It returns the certificate too, DER, for clients to pin.
func OwnConfig(n *node.Node, names []string) (*tls.Config, []byte, error) {
	o := &own{n: n, names: names}
	pair, err := o.get(nil)
	if err != nil {
		return nil, nil, err
	}
	n.ServesUnder("that this node makes for itself", true, certRenewal, func() (time.Time, bool) {
		pair, err := o.get(nil)
		if err != nil {
			return time.Time{}, false
		}
		return pair.Leaf.NotAfter, true
	})
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.get}, pair.Certificate[0], nil
}

// own is the certificate that a node makes for itself. It is made anew when its end is near.
type own struct {
	n     *node.Node
	names []string

	mu   sync.Mutex
	pair *tls.Certificate
}

// old reports whether a certificate is to be replaced: its end is near, or it is not for all the names.
func (o *own) old(cert []byte) bool {
	c, err := x509.ParseCertificate(cert)
	if err != nil || time.Now().After(c.NotAfter.Add(-certRenewal)) {
		return true
	}
	for _, name := range o.names {
		if c.VerifyHostname(name) != nil {
			return true
		}
	}
	return false
}

func (o *own) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pair != nil && time.Now().Before(o.pair.Leaf.NotAfter.Add(-certRenewal)) {
		return o.pair, nil
	}
	cert, pkcs8, err := o.n.ServeCertificate(o.old, func() ([]byte, []byte, error) { return makeCertificate(o.names, time.Now()) })
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	o.pair = &tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key, Leaf: leaf}
	return o.pair, nil
}

func makeCertificate(names []string, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "entente node"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	if cert, err = x509.CreateCertificate(rand.Reader, t, t, private.Public(), private); err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	return cert, key, err
}

// Ends returns until when the certificate of a configuration is valid; zero if that is not known.
func Ends(config *tls.Config) time.Time {
	var cert *tls.Certificate
	switch {
	case len(config.Certificates) > 0:
		cert = &config.Certificates[0]
	case config.GetCertificate != nil:
		cert, _ = config.GetCertificate(nil)
	}
	if cert == nil || len(cert.Certificate) == 0 {
		return time.Time{}
	}
	c, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return time.Time{}
	}
	return c.NotAfter
}

// FileConfig is TLS under a certificate and a key in files, PEM. They are read again when they change,
// so that a renewed certificate needs no restart; files that do not fit together leave the former ones.
func FileConfig(certFile, keyFile string) (*tls.Config, error) {
	f := &files{cert: certFile, key: keyFile}
	if _, err := f.get(nil); err != nil {
		return nil, fmt.Errorf("reading the certificate to serve under: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.get}, nil
}

type files struct {
	cert, key string

	mu     sync.Mutex
	pair   *tls.Certificate
	looked time.Time
	at     [2]time.Time
}

func (f *files) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pair != nil && time.Since(f.looked) < time.Minute {
		return f.pair, nil
	}
	f.looked = time.Now()
	c, cerr := os.Stat(f.cert)
	k, kerr := os.Stat(f.key)
	err := errors.Join(cerr, kerr)
	if err == nil && (f.pair == nil || f.at != [2]time.Time{c.ModTime(), k.ModTime()}) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(f.cert, f.key); err == nil {
			f.pair, f.at = &pair, [2]time.Time{c.ModTime(), k.ModTime()}
		}
	}
	if f.pair != nil {
		return f.pair, nil
	}
	return nil, err
}

// Fingerprint is the SHA-256 of a certificate as programs show it.
func Fingerprint(cert []byte) string {
	sum := sha256.Sum256(cert)
	return hex.EncodeToString(sum[:])
}
