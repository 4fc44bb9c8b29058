package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// selection is which part of a recipe, with which values.
type selection struct {
	targets  []string
	vars     []string
	varFiles []string
	set      []string
	force    []string
}

// values adds the flags that give values.
func (s *selection) values(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.vars, "var", nil, "set a variable: `NAME=VALUE` (repeatable; also TINFRA_VAR_NAME in the environment)")
	f.StringArrayVar(&s.varFiles, "var-file", nil, "read variables from a `FILE` of NAME = VALUE lines (repeatable)")
	f.StringArrayVar(&s.set, "set", nil, "set a param: `STAGE.PARAM=VALUE`, as in gptq.int4.bits=2, or a variable of a module, module.NAME.VARIABLE=VALUE (repeatable)")
}

// stages adds the flags that choose stages.
func (s *selection) stages(cmd *cobra.Command, a *app) {
	f := cmd.Flags()
	f.StringArrayVar(&s.targets, "target", nil, "build only this `STAGE`, or module, and what it needs (repeatable)")
	f.StringArrayVar(&s.force, "force", nil, "run this `STAGE` even if it is cached; \"all\" for every one (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("target", a.completeFlag) // fail only for a flag that is not there
	_ = cmd.RegisterFlagCompletionFunc("force", a.completeFlag)
}

// variables is --var by name. One without "=" is kept as it is: the recipe's reader says what is wrong.
func (s *selection) variables() map[string]string {
	m := map[string]string{}
	for _, v := range s.vars {
		name, value, _ := strings.Cut(v, "=")
		m[name] = value
	}
	return m
}

// assignments is --set with addresses as recipes write them.
func (s *selection) assignments() []string {
	out := make([]string, len(s.set))
	for i, set := range s.set {
		out[i] = canonicalSet(set)
	}
	return out
}

func (s *selection) check() error {
	for _, v := range s.vars {
		if !strings.Contains(v, "=") {
			return usage("--var %s: write NAME=VALUE", v)
		}
	}
	for _, v := range s.set {
		if !strings.Contains(v, "=") {
			return usage("--set %s: write STAGE.PARAM=VALUE", v)
		}
	}
	return nil
}

// forced says which stages run even if cached. gptq.int4 stands for all its instances, module.q for all its stages.
func (s *selection) forced(address string) bool {
	for _, f := range s.force {
		if f == "all" || covers(canonical(f), address) {
			return true
		}
	}
	return false
}
