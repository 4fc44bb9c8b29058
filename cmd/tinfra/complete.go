package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// recipeOf reads the recipe that the command line under completion means. Mistakes only make the list shorter.
func (a *app) recipeOf(cmd *cobra.Command, args []string) *recipe.Recipe {
	path := ""
	if flag := cmd.Flags().Lookup("recipe"); flag != nil {
		path = flag.Value.String()
	} else if len(args) > 0 && strings.HasSuffix(args[0], ".hcl") {
		path = args[0]
	}
	if path == "" {
		var err error
		if path, err = onlyRecipe("."); err != nil {
			return nil
		}
	}
	h, err := a.house(".")
	if err != nil {
		return nil
	}
	r, _ := recipe.Load(path, recipe.Options{Catalog: h.catalog, Without: h.noInputs()})
	return r
}

func (a *app) addresses(cmd *cobra.Command, args []string) []string {
	var out []string
	if r := a.recipeOf(cmd, args); r != nil {
		for _, s := range r.Stages {
			out = append(out, s.Address+"\t"+s.Kind.Summary())
		}
	}
	return out
}

// modules are the addresses of modules that hold stages, each once.
func (a *app) modules(cmd *cobra.Command, args []string) []string {
	var out []string
	if r := a.recipeOf(cmd, args); r != nil {
		for _, s := range r.Stages {
			for _, m := range s.Modules() {
				if !slices.Contains(out, m) {
					out = append(out, m)
				}
			}
		}
	}
	return out
}

// completeStages completes the first argument with stages.
func (a *app) completeStages(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.addresses(cmd, args), cobra.ShellCompDirectiveNoFileComp
}

// completeFlag completes a flag's value with stages and modules.
func (a *app) completeFlag(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return append(a.addresses(cmd, args), a.modules(cmd, args)...), cobra.ShellCompDirectiveNoFileComp
}

// completePorts completes the first argument with outputs, the recipe's and then those of stages.
func (a *app) completePorts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if r := a.recipeOf(cmd, args); r != nil && len(args) == 0 {
		for _, o := range r.Outputs {
			if o.Ref != nil {
				out = append(out, o.Name+"\t"+o.Doc)
			}
		}
		for _, s := range r.Stages {
			for _, o := range s.Kind.Outputs {
				out = append(out, s.Address+"."+o.Name+"\t"+o.Doc)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeKinds(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	h, err := a.house(".")
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return h.catalog.Names(), cobra.ShellCompDirectiveNoFileComp
}

// completeRecipes completes with the files that can be recipes.
func completeRecipes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"hcl"}, cobra.ShellCompDirectiveFilterFileExt
}
