package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

func newEnv(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "env", Short: "Look after the Python environments of stages", Args: cobra.NoArgs, RunE: needsVerb}
	cmd.AddCommand(newEnvList(a), newEnvInstall(a), newEnvRemove(a), newEnvDescribe(a), newEnvPack(a), newEnvUnpack(a))
	return cmd
}

func newEnvList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the installed environments, and those that are this machine's own interpreters",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := a.openEnvironments()
			if err != nil {
				return err
			}
			all, err := set.List(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, append([]env.Installed{}, all...))
			}
			rows := make([][]string, 0, len(all))
			for _, e := range all {
				size := view.Bytes(e.Bytes)
				if e.Own {
					size = ""
				}
				rows = append(rows, []string{e.Name, e.Digest.Short(), e.Python, size, envState(e)})
			}
			return view.Table(a.stdout, []string{"ENVIRONMENT", "DIGEST", "PYTHON", "SIZE", ""}, rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func envState(e env.Installed) string {
	switch {
	case e.Own && e.Problem != "":
		return "cannot be used: " + e.Problem
	case e.Own:
		return "this machine's own"
	case e.Problem != "":
		return "damaged: " + e.Problem
	case e.InUse:
		return "in use"
	case !e.Current:
		return "old: no stage would use it now"
	default:
		return ""
	}
}

func newEnvInstall(a *app) *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "install [NAME...]",
		Short: "Install environments before a build needs them; without a name, all",
		RunE: func(cmd *cobra.Command, names []string) error {
			h, err := a.openHouse("")
			if err != nil {
				return err
			}
			set, err := h.environments(offline)
			if err != nil {
				return err
			}
			if names, err = environmentNames(set, names); err != nil {
				return err
			}
			for _, name := range names {
				ready, err := set.Install(cmd.Context(), name, func(done string) {
					fmt.Fprintf(a.stderr, "%s: %s\n", name, done)
				})
				if err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s  %s\n", name, ready.Python)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "reach for no network: fail for what is not installed")
	return cmd
}

func newEnvRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME|DIGEST...",
		Short: "Remove installed environments; a build that needs one installs it again",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := a.openEnvironments()
			if err != nil {
				return err
			}
			for _, which := range args {
				removed, err := set.Remove(cmd.Context(), which)
				for _, e := range removed {
					fmt.Fprintf(a.stdout, "removed  %s %s, %s\n", e.Name, e.Digest.Short(), view.Bytes(e.Bytes))
				}
				if err != nil {
					return &failure{code: exitUsage, err: err}
				}
			}
			return nil
		},
	}
}

func (a *app) openEnvironments() (*env.Set, error) {
	h, err := a.openHouse("")
	if err != nil {
		return nil, err
	}
	return h.environments(true)
}
