package source

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/outbound"
)

// Check checks what of a source package node does not know: its place and its schedule.
func Check(src *node.Source) error {
	if _, err := ParseSchedule(src.Schedule); err != nil {
		return err
	}
	if src.Kind == node.SourceFolder {
		if !filepath.IsAbs(src.Where) {
			return bad("%q is no whole path of a folder; a node does not know where a command was given", src.Where)
		}
		if !src.Secret.IsZero() || len(src.CA) > 0 {
			return bad("a folder takes no credentials and no certificates")
		}
		return nil
	}
	if (src.Kind == node.SourceTAXII) != (src.Collection != "") {
		return bad("a TAXII source needs a collection (--collection), and no other takes one")
	}
	_, err := checkURL(src)
	return err
}

func newPuller(src *node.Source, st *node.SourceState, s *sifter, proxy *outbound.Proxy) (Puller, error) {
	switch src.Kind {
	case node.SourceFolder:
		return &folder{src: src, key: st.Key, known: s.known, settle: settle}, nil
	case node.SourceURL:
		return newURL(src, proxy)
	case node.SourceTAXII:
		return newTAXII(src, proxy)
	case node.SourceMISP:
		return newMISP(src, proxy, s)
	}
	return nil, fmt.Errorf("this program cannot fetch sources of kind %s", src.Kind)
}

func labelsOf(src *node.Source) (*intake.Labels, error) {
	if len(src.Labels) == 0 {
		return nil, nil
	}
	l, _, err := intake.ReadLabels("labels", bytes.NewReader(src.Labels))
	return l, err
}

// laterError is a failure of a source that said for how long to leave it alone.
type laterError struct {
	err   error
	after time.Duration
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// retryAfter is for how long a source said to be left alone.
func retryAfter(err error) time.Duration {
	var e *laterError
	if errors.As(err, &e) {
		return min(e.after, 24*time.Hour)
	}
	return 0
}

// partial reports whether a file's name says that somebody writes to it.
func partial(name string) bool {
	for _, suffix := range []string{".tmp", ".part", ".partial", ".crdownload", ".swp", "~"} {
		if strings.HasSuffix(strings.ToLower(name), suffix) {
			return true
		}
	}
	return strings.HasPrefix(name, ".")
}
