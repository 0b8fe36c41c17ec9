package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/hsm"
)

func (a *app) keyHSMCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hsm", Short: "Keep the operational key in a hardware module (PKCS #11)",
		Long: "The key is made in the token and never leaves it. A file says where it is; it holds no secret, and goes to\n" +
			"'entente init --op-hsm' or 'entente node promote --op-hsm'. The program entente-pkcs11 loads the library of\n" +
			"the token's vendor, so that the node does not. The PIN is read from a file, or a credential of systemd.",
		Example: "  entente key hsm create --module /usr/lib/softhsm/libsofthsm2.so --token entente --label op --pin-file /etc/entente/pin -o hsm.json",
	}
	cmd.AddCommand(a.keyHSMFindCommand("create", "Make an operational key in a token", true), a.keyHSMFindCommand("use", "Use an Ed25519 key that a token has", false), a.keyHSMRetryCommand())
	return cmd
}

func (a *app) keyHSMRetryCommand() *cobra.Command {
	return &cobra.Command{
		Use: "retry", Short: "Have a PIN that the token refused tried once more", Args: cobra.NoArgs,
		Long: "A PIN that a token refused is not tried again before another is in its file, also after a restart: tokens lock.\n" +
			"Where the token was given the PIN that is there, this says so. A node that runs tries it within half a minute.",
		Example: "  entente key hsm retry",
		RunE: func(*cobra.Command, []string) error {
			had, err := node.RetryPIN(a.dir)
			if err != nil {
				return err
			}
			return a.print(&pinRetry{had}, func(w io.Writer) {
				if had {
					fmt.Fprintln(w, "The PIN is tried once more.")
				} else {
					fmt.Fprintln(w, "No PIN was refused.")
				}
			})
		},
	}
}

type pinRetry struct {
	Refused bool `json:"refused"` // one was
}

func (a *app) keyHSMFindCommand(use, short string, create bool) *cobra.Command {
	var ref hsm.Reference
	var id, out string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		Example: "  entente key hsm " + use + " --module /usr/lib/softhsm/libsofthsm2.so --token entente --label op --pin-file /etc/entente/pin -o hsm.json",
		RunE: func(*cobra.Command, []string) error {
			var err error
			if ref.ID, err = hex.DecodeString(id); err != nil {
				return fmt.Errorf("--id is the CKA_ID of the key in hexadecimal digits: %w", err)
			}
			for _, path := range []*string{&ref.Helper, &ref.Module, &ref.PINFile} {
				if *path != "" && !strings.HasPrefix(*path, "credential:") {
					if *path, err = filepath.Abs(*path); err != nil {
						return err
					}
				}
			}
			found, err := hsm.Find(ref, create)
			if err != nil {
				return err
			}
			file := &tokenFile{Version: 1, Helper: found.Helper, Module: found.Module, Token: found.Token, Label: found.Label,
				ID: hex.EncodeToString(found.ID), PINFile: found.PINFile, Public: hex.EncodeToString(found.Public[:])}
			b, err := json.MarshalIndent(file, "", "  ")
			if err != nil {
				return err
			}
			if err := writeFile(out, append(b, '\n')); err != nil {
				return err
			}
			return a.print(file, func(w io.Writer) {
				fmt.Fprintf(w, "The public key is %s. %s says where the key is, and holds nothing secret:\n  entente init --op-hsm %s ...\n", file.Public, out, out)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&ref.Module, "module", "", "path of the vendor's PKCS #11 library")
	f.StringVar(&ref.Token, "token", "", "label of the token")
	f.StringVar(&ref.Label, "label", "", "label of the key")
	f.StringVar(&id, "id", "", "id of the key in hexadecimal digits, where several have one label")
	f.StringVar(&ref.PINFile, "pin-file", "", "file of mode 0600 that holds the PIN, or credential:NAME of systemd")
	f.StringVar(&ref.Helper, "helper", "", "path of entente-pkcs11 (default: beside this program, or in PATH)")
	f.StringVarP(&out, "out", "o", "", "write where the key is to this file")
	for _, name := range []string{"module", "token", "label", "pin-file", "out"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

// tokenFile is what 'entente key hsm' writes: a reference to a key, which is no secret.
type tokenFile struct {
	Version uint8  `json:"version"` // 1
	Helper  string `json:"helper,omitempty"`
	Module  string `json:"module"`
	Token   string `json:"token"`
	Label   string `json:"label"`
	ID      string `json:"id,omitempty"` // hexadecimal
	PINFile string `json:"pin_file"`
	Public  string `json:"public"` // hexadecimal
}

func (f *tokenFile) reference() (hsm.Reference, error) {
	ref := hsm.Reference{Version: f.Version, Helper: f.Helper, Module: f.Module, Token: f.Token, Label: f.Label, PINFile: f.PINFile}
	public, err := hex.DecodeString(f.Public)
	if err == nil {
		ref.ID, err = hex.DecodeString(f.ID)
	}
	if err != nil || copy(ref.Public[:], public) != len(public) || len(public) != len(ref.Public) {
		return ref, errors.New("the id and the public key of a key in a token are hexadecimal digits, 64 of the latter")
	}
	return ref, nil
}

// tokenSigner reads a file that 'entente key hsm' wrote, and asks the token for its key.
func (a *app) tokenSigner(path string) (*hsm.Signer, error) {
	b, err := a.readFile(path, 16<<10)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	var file tokenFile
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("reading %s, which 'entente key hsm' writes: %w", path, err)
	}
	if d.More() {
		return nil, fmt.Errorf("%s holds more than one reference; 'entente key hsm' writes it", path)
	}
	ref, err := file.reference()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	s, err := hsm.New(ref)
	if err != nil {
		return nil, err
	}
	return s, s.Check()
}
