package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/spf13/cobra"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/stages"
)

func newKinds(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "kinds [KIND]",
		Short: "List what a stage can do, or describe one kind",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := a.house(".")
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listKinds(h.catalog, asJSON)
			}
			kind := h.catalog.Kinds[args[0]]
			if kind == nil {
				return usage("there is no kind %q%s; `tinfra kinds` lists them", args[0], nearestKind(args[0], h.catalog))
			}
			if asJSON {
				return writeJSON(a.stdout, describeKind(kind))
			}
			return writeKind(a.stdout, kind)
		},
		ValidArgsFunction: a.completeKinds,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func nearestKind(given string, c *stages.Catalog) string {
	if near := stages.Nearest(given, kindNames(c)); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

func kindNames(c *stages.Catalog) []string {
	names := make([]string, 0, len(c.Kinds))
	for name := range c.Kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *app) listKinds(c *stages.Catalog, asJSON bool) error {
	var rows [][]string
	all := []kindJSON{}
	for _, name := range kindNames(c) {
		k := c.Kinds[name]
		all = append(all, describeKind(k))
		rows = append(rows, []string{name, ports(k), k.Summary()})
	}
	if asJSON {
		return writeJSON(a.stdout, all)
	}
	return view.Table(a.stdout, []string{"KIND", "PORTS", "WHAT IT DOES"}, rows)
}

// ports is a kind's type: "model, tokenizer → model".
func ports(k *stages.Kind) string {
	var in, out []string
	for _, i := range k.Inputs {
		in = append(in, i.Name)
	}
	for _, o := range k.Outputs {
		out = append(out, o.Name)
	}
	return strings.TrimSpace(strings.Join(in, ", ") + " → " + strings.Join(out, ", "))
}

// kindJSON is a kind for programs.
type kindJSON struct {
	Kind          string       `json:"kind"`
	Doc           string       `json:"doc"`
	Determinism   string       `json:"determinism"`
	Env           string       `json:"env,omitempty"`
	Network       bool         `json:"network"`
	Facts         []string     `json:"facts,omitempty"`
	OptionalFacts []string     `json:"optionalFacts,omitempty"`
	Origin        string       `json:"origin"`
	Params        []paramJSON  `json:"params"`
	Inputs        []portJSON   `json:"inputs"`
	Outputs       []portJSON   `json:"outputs"`
	Metrics       []metricJSON `json:"metrics"`
	Secrets       []secretJSON `json:"secrets,omitempty"`
}

type paramJSON struct {
	Name     string `json:"name"`
	Doc      string `json:"doc"`
	Type     string `json:"type"`
	Default  any    `json:"default,omitempty"`
	Required bool   `json:"required"`
}

type portJSON struct {
	Name     string   `json:"name"`
	Doc      string   `json:"doc"`
	Types    []string `json:"types"`
	Optional bool     `json:"optional,omitempty"`
	Map      bool     `json:"map,omitempty"`

	Envs map[string]string `json:"envs,omitempty"` // by type, where it is not the kind's
}

type metricJSON struct {
	Name    string `json:"name"`
	Doc     string `json:"doc"`
	Unit    string `json:"unit,omitempty"`
	Better  string `json:"better,omitempty"`
	Quality bool   `json:"quality,omitempty"`
}

type secretJSON struct {
	Name string `json:"name"`
	Env  string `json:"env"`
	Doc  string `json:"doc"`
}

func describeKind(k *stages.Kind) kindJSON {
	j := kindJSON{
		Kind: k.Name, Doc: k.Doc, Determinism: string(k.Determinism), Env: k.Env, Network: k.Network,
		Facts: k.Facts, OptionalFacts: k.OptionalFacts,
		Origin: k.Origin, Params: []paramJSON{}, Inputs: []portJSON{}, Outputs: []portJSON{}, Metrics: []metricJSON{},
	}
	for i := range k.Params {
		p := &k.Params[i]
		one := paramJSON{Name: p.Name, Doc: p.Doc, Type: typeexpr.TypeString(p.Type), Required: p.Required()}
		if p.Default != cty.NilVal {
			one.Default = ctyjson.SimpleJSONValue{Value: p.Default}
		}
		j.Params = append(j.Params, one)
	}
	for _, i := range k.Inputs {
		j.Inputs = append(j.Inputs, portJSON{Name: i.Name, Doc: i.Doc, Types: i.Types, Envs: i.Envs, Optional: i.Optional, Map: i.Map})
	}
	for _, o := range k.Outputs {
		j.Outputs = append(j.Outputs, portJSON{Name: o.Name, Doc: o.Doc, Types: []string{o.Type}, Optional: o.Optional})
	}
	for _, m := range k.Metrics {
		j.Metrics = append(j.Metrics, metricJSON(m))
	}
	for _, s := range k.Secrets {
		j.Secrets = append(j.Secrets, secretJSON(s))
	}
	return j
}

// writeKind describes one kind on one screen.
func writeKind(w io.Writer, k *stages.Kind) error {
	j := describeKind(k)
	fmt.Fprintf(w, "%s: %s\n\n", k.Name, k.Doc)
	fmt.Fprintf(w, "determinism  %s\n", k.Determinism)
	if k.Env != "" {
		fmt.Fprintf(w, "environment  %s\n", k.Env)
	}
	for i := range k.Inputs {
		for _, typ := range slices.Sorted(maps.Keys(k.Inputs[i].Envs)) {
			fmt.Fprintf(w, "environment  %s, where %s is %s\n", k.Inputs[i].Envs[typ], k.Inputs[i].Name, typ)
		}
	}
	fmt.Fprintf(w, "from         %s\n", k.Origin)
	var rows [][]string
	for _, p := range j.Params {
		def := "required"
		if v, ok := p.Default.(ctyjson.SimpleJSONValue); ok {
			b, err := v.MarshalJSON()
			if err != nil {
				return fmt.Errorf("default of %s: %w", p.Name, err)
			}
			def = string(b)
		} else if !p.Required {
			def = "optional"
		}
		rows = append(rows, []string{p.Name, p.Type, def, p.Doc})
	}
	for _, s := range j.Secrets {
		rows = append(rows, []string{s.Name, "secret", "as " + s.Env, s.Doc})
	}
	if err := section(w, []string{"PARAM", "TYPE", "DEFAULT", ""}, rows); err != nil {
		return err
	}
	for _, s := range []struct {
		head  string
		ports []portJSON
	}{{"INPUT", j.Inputs}, {"OUTPUT", j.Outputs}} {
		rows = nil
		for _, p := range s.ports {
			rows = append(rows, []string{p.Name, portTypes(p), p.Doc})
		}
		if err := section(w, []string{s.head, "TYPE", ""}, rows); err != nil {
			return err
		}
	}
	rows = nil
	for _, m := range j.Metrics {
		rows = append(rows, []string{m.Name, m.Unit, m.Doc})
	}
	return section(w, []string{"METRIC", "UNIT", ""}, rows)
}

func section(w io.Writer, head []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return view.Table(w, head, rows)
}

func portTypes(p portJSON) string {
	s := strings.Join(p.Types, " or ")
	if s == "*" {
		s = "any"
	}
	if p.Map {
		s = "map of " + s
	}
	if p.Optional {
		s += ", optional"
	}
	return s
}
