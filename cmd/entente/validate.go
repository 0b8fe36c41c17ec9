package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol/stix"
)

// validated is what was found in one file.
type validated struct {
	File       string           `json:"file"`
	Objects    int              `json:"objects"`
	Violations []stix.Violation `json:"violations"`
}

func (a *app) validateCommand() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Validate STIX files against the standard",
		Long: "Reads STIX 2.1 bundles, arrays of objects, or single objects, and says what of the standard they break:\n" +
			"where, which section says so, and what to do. It needs no node and asks nobody.\n\n" +
			"Without --strict it finds what 'entente publish' sets aside: objects that are of no use to anybody.\n" +
			"With --strict every MUST and SHOULD is looked at, and whatever is custom without an extension.\n" +
			"The exit status is 2 if something is found, and 1 if a file cannot be read.",
		Example: "  entente validate bundle.json\n  entente validate --strict *.json --json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			mode := stix.Lenient
			if strict {
				mode = stix.Strict
			}
			list, found := []validated{}, 0
			for _, name := range args {
				data, err := a.readFile(name, intake.MaxFile)
				if err != nil {
					return err
				}
				v := validated{File: name, Violations: []stix.Violation{}}
				n, violations, err := stix.ValidateBundle(data, mode)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				v.Objects, v.Violations = n, append(v.Violations, violations...)
				list, found = append(list, v), found+len(violations)
			}
			if err := a.print(list, func(w io.Writer) { showValidated(w, list) }); err != nil {
				return err
			}
			if found > 0 {
				return &partialError{fmt.Sprintf("%d violations of STIX 2.1", found)}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "every MUST and SHOULD, and an extension behind whatever is custom")
	return cmd
}

func showValidated(w io.Writer, list []validated) {
	for i := range list {
		f := &list[i]
		for _, v := range f.Violations {
			id := v.ID
			if id != "" {
				id += ": "
			}
			fmt.Fprintln(w, printable(fmt.Sprintf("%s:%d: %s%s", f.File, v.Line, id, v.Error())))
		}
		fmt.Fprintf(w, "%s: %d objects, %d violations\n", printable(f.File), f.Objects, len(f.Violations))
	}
}
