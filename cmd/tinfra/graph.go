package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/pipeline/graph"
)

func newGraph(a *app) *cobra.Command {
	var s selection
	var layout string
	cmd := &cobra.Command{
		Use:   "graph [RECIPE]",
		Short: "Draw a recipe's stages and what they need of each other",
		Long: `graph writes the stages in the order in which they can run, with what each takes from which. --format dot is for
Graphviz, --format mermaid for Markdown pages.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			draw, ok := map[string]func(*graph.Graph, io.Writer) error{
				"text": (*graph.Graph).WriteText, "dot": (*graph.Graph).WriteDOT, "mermaid": (*graph.Graph).WriteMermaid,
			}[layout]
			if !ok {
				return usage("--format %s: write text, dot or mermaid", layout)
			}
			path, err := recipeArg(args)
			if err != nil {
				return err
			}
			h, r, err := a.read(path, &s)
			if err != nil {
				return err
			}
			g, err := h.graphOf(r, s.targets)
			if err != nil {
				return err
			}
			if err := draw(g, a.stdout); err != nil {
				return fmt.Errorf("drawing the graph: %w", err)
			}
			return nil
		},
		ValidArgsFunction: completeRecipes,
	}
	s.values(cmd)
	cmd.Flags().StringArrayVar(&s.targets, "target", nil, "draw only this `STAGE`, and what it needs (repeatable)")
	cmd.Flags().StringVar(&layout, "format", "text", "text, dot or mermaid")
	_ = cmd.RegisterFlagCompletionFunc("target", a.completeFlag) // fails only for a flag that is not there
	return cmd
}
