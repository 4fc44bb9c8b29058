package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

func newEnvUnpack(a *app) *cobra.Command {
	var onto env.Onto
	cmd := &cobra.Command{
		Use:   "unpack FILE...",
		Short: "Install the environment of a pack, without a network",
		Long: `unpack installs the environment that a pack holds, or its parts in any order: the same, to the digest, as one that was
installed over a network. Everything in the pack must be in the lock that this tinfra has. With --overlay the packages go into a folder
instead, for an interpreter of this machine's own; the block for tinfra.hcl is printed. That interpreter is --python's, or tinfra.hcl's,
or the one that the pack was made for, if it is a python on PATH.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			if onto.Python != "" {
				if onto.Overlay == "" {
					return usage("--python goes with --overlay")
				}
				var err error
				if onto.Python, err = interpreterNamed(onto.Python); err != nil {
					return err
				}
			}
			set, err := a.openEnvironments()
			if err != nil {
				return err
			}
			u, err := set.Unpack(cmd.Context(), files, onto, func(done string) { fmt.Fprintln(a.stderr, done) })
			if err != nil {
				return err
			}
			if u.Overlay == "" {
				fmt.Fprintf(a.stdout, "%s  %s\n", u.Name, u.Python)
				return nil
			}
			fmt.Fprintf(a.stderr, "%s in %s; tinfra.hcl takes the environment by:\n", view.Count(u.Packages, "package"), u.Overlay)
			tellOverlay(a, u)
			return nil
		},
	}
	cmd.Flags().StringVar(&onto.Overlay, "overlay", "", "put the packages into this folder")
	cmd.Flags().StringVar(&onto.Python, "python", "", "with --overlay, the interpreter whose packages they go before")
	return cmd
}

// tellOverlay prints the block.
func tellOverlay(a *app, u *env.Unpacked) {
	fmt.Fprintf(a.stdout, "environment %q {\n  python  = %q\n  overlay = %q\n", u.Name, u.Python, u.Overlay)
	if u.Native != "" {
		fmt.Fprintf(a.stdout, "  native  = %q\n", u.Native)
	}
	fmt.Fprintln(a.stdout, "}")
}
