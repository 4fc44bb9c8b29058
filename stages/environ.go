package stages

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// EnvOf is the environment of a stage whose inputs, by port or port[key], have these types: the one that an input asks for, else Env.
func (k *Kind) EnvOf(types map[string]string) (string, error) {
	name, of := k.Env, ""
	for _, given := range slices.Sorted(maps.Keys(types)) {
		port, _, _ := strings.Cut(given, "[")
		in := k.Input(port)
		if in == nil || in.Envs[types[given]] == "" {
			continue
		}
		wanted := in.Envs[types[given]]
		if of != "" && wanted != name {
			return "", fmt.Errorf("%s of type %s needs environment %s, and %s of type %s needs %s: one stage runs in one",
				of, types[of], name, given, types[given], wanted)
		}
		name, of = wanted, given
	}
	return name, nil
}

// Environments are all that a stage of this kind may run in, Env first.
func (k *Kind) Environments() []string {
	var all []string
	if k.Env != "" {
		all = append(all, k.Env)
	}
	for i := range k.Inputs {
		for _, typ := range sortedKeys(k.Inputs[i].Envs) {
			if name := k.Inputs[i].Envs[typ]; !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}
