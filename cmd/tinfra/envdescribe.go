package main

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

func newEnvDescribe(a *app) *cobra.Command {
	var asJSON bool
	var python string
	cmd := &cobra.Command{
		Use:   "describe [NAME...]",
		Short: "Say how this machine could have environments, for a pack that is made elsewhere",
		Long: `describe says which Python this machine has for each environment, and which packages fit it. What --json writes is what
` + "`tinfra env pack --for`" + ` takes on a machine that has a network. With --python the environments are to build upon the packages
that this interpreter has: a pack leaves out those that it has in the version of the lock.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			set, err := a.openEnvironments()
			if err != nil {
				return err
			}
			if names, err = environmentNames(set, names); err != nil {
				return err
			}
			if python != "" {
				if python, err = interpreterNamed(python); err != nil {
					return err
				}
			}
			m, err := set.Describe(cmd.Context(), names, python)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, m)
			}
			return tellMachine(a, m)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.Flags().StringVar(&python, "python", "", "an interpreter whose packages the environments are to build upon")
	return cmd
}

// interpreterNamed is where a program lies that a flag names.
func interpreterNamed(python string) (string, error) {
	path, err := exec.LookPath(python)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", usage("--python: %w", err)
	}
	return path, nil
}

func tellMachine(a *app, m *env.Machine) error {
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(m.Environments)) {
		h := m.Environments[name]
		words := h.Lacks
		switch {
		case h.Own:
			words = fmt.Sprintf("%s, with %s of its own", h.Python, view.Count(len(h.Has), "package"))
		case words == "":
			words = h.Python
		}
		rows = append(rows, []string{name, h.Minor, view.Printable(words)})
	}
	return view.Table(a.stdout, []string{"ENVIRONMENT", "PYTHON", ""}, rows)
}

// environmentNames are those given, or all.
func environmentNames(set *env.Set, given []string) ([]string, error) {
	if len(given) == 0 {
		return set.Names(), nil
	}
	for _, name := range given {
		if !slices.Contains(set.Names(), name) {
			return nil, usage("there is no environment %q; there are %s", name, joined(set.Names()))
		}
	}
	return given, nil
}
