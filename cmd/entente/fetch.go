package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/term"
)

// fetch says what file to ask the node for, and where it goes.
type fetch struct {
	path    string
	query   url.Values
	body    io.Reader
	out     string // empty: standard output
	mode    os.FileMode
	trailer string       // of HTTP, in which the node says what the file holds
	doing   string       // for the bar
	tmp     string       // how the name of the file begins until it is whole
	kept    func() error // called when it is where it is to stay; nil: nobody waits for that
}

// fetchFile asks the node for a file and keeps it only if it came whole. It returns where to
// say so: beside the file, not into it.
func (a *app) fetchFile(ctx context.Context, f fetch, info any) (said io.Writer, err error) {
	return a.keepFile(f, func(w io.Writer) error {
		c, err := a.client(ctx)
		if err != nil {
			return err
		}
		return errors.Join(c.receive(ctx, f, w, info), c.close())
	})
}

// keepFile keeps what write writes, if it returns no error.
func (a *app) keepFile(f fetch, write func(w io.Writer) error) (said io.Writer, err error) {
	w, said := a.out, a.err
	var file *os.File
	if f.out != "" {
		// Whoever pulls the stick out too early finds no file rather than half of one.
		if file, err = os.CreateTemp(filepath.Dir(f.out), f.tmp); err != nil {
			return nil, err
		}
		defer os.Remove(file.Name())
		defer file.Close()
		_ = file.Chmod(f.mode)
		w, said = file, a.out
	} else if o, ok := a.out.(interface{ Fd() uintptr }); ok && term.IsTerminal(int(o.Fd())) {
		return nil, errors.New("the file is not for a screen; give --out FILE, or redirect it")
	}
	if err := write(io.MultiWriter(w, a.bytesBar(-1, f.doing))); err != nil {
		return nil, err
	}
	if file != nil {
		if err := errors.Join(file.Sync(), file.Close(), os.Rename(file.Name(), f.out)); err != nil {
			return nil, fmt.Errorf("writing %s: %w", f.out, err)
		}
		if f.kept != nil {
			if err := syncDir(filepath.Dir(f.out)); err != nil {
				return nil, fmt.Errorf("writing %s: %w", f.out, err)
			}
		}
	}
	if f.kept != nil {
		if err := f.kept(); err != nil {
			return nil, err
		}
	}
	return said, nil
}

// syncDir makes durable that a file has its name.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// receive copies the answer to w and reads what it says at its end.
func (c *nodeClient) receive(ctx context.Context, f fetch, w io.Writer, info any) error {
	resp, err := c.do(ctx, "POST", f.path, f.query, f.body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("reading the node's answer: %w", err)
	}
	if err := json.Unmarshal([]byte(resp.Trailer.Get(f.trailer)), info); err != nil {
		return errors.New("the node's answer broke off; the file is not whole, make it again")
	}
	return nil
}
