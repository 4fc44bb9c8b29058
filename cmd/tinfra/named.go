package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// namedOutput is the STAGE.PORT that an output block of the recipe stands for.
func (h *house) namedOutput(ctx context.Context, name string, s lookup) (port string, err error) {
	b, err := h.findBuild(ctx, s)
	if err != nil {
		return "", err
	}
	name = canonical(name)
	var names, instances []string
	for _, o := range h.outputsOf(b) {
		if o.Name == name && o.Ref == nil {
			return "", usage("%s is a value, not files: `tinfra build` shows it", name)
		}
		if o.Ref == nil {
			continue
		}
		if o.Name == name {
			return o.Ref.Address + "." + o.Ref.Port, nil
		}
		if strings.HasPrefix(o.Name, name+"[") {
			instances = append(instances, o.Name)
		}
		names = append(names, o.Name)
	}
	switch {
	case len(instances) > 0:
		return "", usage("%s has an output for each key; name one of: %s", name, strings.Join(instances, ", "))
	case len(names) > 0:
		return "", usage("%q is no stage, no digest and no output; %s has the outputs: %s", name, h.recipePath, strings.Join(names, ", "))
	}
	return "", usage("%q is no stage, no digest and no output of a recipe", name)
}

// outputsOf are the recipe's outputs with the values that a build gave its variables. What is wrong with the recipe now
// only makes the list shorter.
func (h *house) outputsOf(b *artifacts.Build) []*recipe.Output {
	if h.recipePath == "" {
		return nil
	}
	r, _ := recipe.Load(h.recipePath, recipe.Options{Catalog: h.catalog, Vars: variablesOf(b), Env: os.Environ(), Without: h.noInputs()})
	return r.Outputs
}

// variablesOf are the values that a build gave its variables as --var takes them: a text as it is, anything else as an
// expression. null is left out, since --var cannot say it: the default holds then.
func variablesOf(b *artifacts.Build) map[string]string {
	vars := map[string]string{}
	for name, value := range b.Variables {
		if value == "null" {
			continue
		}
		var text string
		if json.Unmarshal([]byte(value), &text) != nil {
			text = value // JSON of anything but a string is an expression of HCL
		}
		vars[name] = text
	}
	return vars
}
