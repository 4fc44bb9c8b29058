package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
)

func newValidate(a *app) *cobra.Command {
	var s selection
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate [RECIPE]",
		Short: "Check a recipe without a cache or a machine",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := recipeArg(args)
			if err != nil {
				return err
			}
			g, err := a.check(path, &s)
			var m *mistakes
			if asJSON {
				if err != nil && !errors.As(err, &m) {
					return err
				}
				diags := []view.Diagnostic{}
				if m != nil {
					diags = view.AsJSON(m.diags, m.files)
				}
				if werr := writeJSON(a.stdout, map[string]any{"valid": err == nil, "diagnostics": diags}); werr != nil {
					return werr
				}
				if err != nil {
					return &failure{code: exitUsage, err: err, silent: true}
				}
				return nil
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s is valid: %s\n", path, view.Count(len(g.Nodes), "stage"))
			return nil
		},
		ValidArgsFunction: completeRecipes,
	}
	s.values(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON: {valid, diagnostics}")
	return cmd
}

// check reads a recipe and orders it; its mistakes and those of the graph come together.
func (a *app) check(path string, s *selection) (*graph.Graph, error) {
	h, r, err := a.read(path, s)
	if err != nil {
		return nil, err
	}
	g, diags := graph.Build(r)
	return g, h.told(diags, r.Texts)
}
