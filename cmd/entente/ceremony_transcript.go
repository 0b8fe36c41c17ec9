package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	pages "html/template"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// transcript is the protocol of a ceremony, to be printed and signed by those who were there. It holds
// nothing secret.
type transcript struct {
	Title        string
	Org          protocol.OrgID
	Name         string
	Kind         protocol.OrgKind
	Country      string
	Words        string
	At           time.Time
	Host, System string
	Program      string // file name
	Version      string
	Checksum     string // SHA-256 of the program
	Network      []string
	Request      string
	RequestWords string
	// Rotation and its words are of a rotation of the root; empty: of a founding.
	Rotation      string
	RotationWords string
	Sets          []transcriptSet
	Next          string
	Op, Epoch     string
	Signed        string
}

type transcriptSet struct {
	Number    uint32
	Text      string
	Threshold int
	Hash      string
	Shares    []transcriptShare
}

type transcriptShare struct {
	Index       int
	Fingerprint string
	Key         string
	File        string
	Sealed      bool
}

//go:embed ceremony.html
var transcriptHTML string

var transcriptPage = pages.Must(pages.New("transcript").Parse(transcriptHTML))

func (c *ceremony) newTranscript(title string, org protocol.OrgID, name string, kind protocol.OrgKind, country string) *transcript {
	t := &transcript{Title: title, Org: org, Name: name, Kind: kind, Country: orInternational(country), Words: strings.Join(crypto.Words(org), " "),
		At: time.Now().UTC(), System: runtime.GOOS + "/" + runtime.GOARCH, Version: version(), Network: c.up, Checksum: "could not be read"}
	t.Host, _ = os.Hostname()
	if path, err := os.Executable(); err == nil {
		t.Program = filepath.Base(path)
		if sum, err := fileChecksum(path); err == nil {
			t.Checksum = sum
		}
	}
	return t
}

func fileChecksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (t *transcript) add(sets ...*shareSet) {
	for _, s := range sets {
		x := transcriptSet{Number: s.number, Text: crypto.SetText(s.number), Threshold: s.threshold, Hash: s.set.Hash().String()}
		for i, k := range s.set.Keys {
			x.Shares = append(x.Shares, transcriptShare{i + 1, crypto.Fingerprint(k), hex.EncodeToString(k[:]), filepath.Base(s.files[i]), !s.bare})
		}
		t.Sets = append(t.Sets, x)
	}
}

// Holders are the lines for those who took a share.
func (t *transcript) Holders() (out []string) {
	for _, s := range t.Sets {
		for _, x := range s.Shares {
			out = append(out, fmt.Sprintf("Holder of share %d of root set %d", x.Index, s.Number))
		}
	}
	return out
}

func (t *transcript) write(path string) error {
	var b bytes.Buffer
	if err := transcriptPage.Execute(&b, t); err != nil {
		return fmt.Errorf("writing the protocol: %w", err)
	}
	return writeNew(path, b.Bytes())
}
