package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// warnOfPackages tells of each interpreter of this machine's own that stages of the plan would run in, and that has not what its
// environment asks for. It is no mistake: who runs the build may be about to install it, and not every stage needs all.
func (t *site) warnOfPackages(ctx context.Context, to io.Writer) error {
	users := map[string][]string{}
	for _, s := range t.plan.Steps {
		name, err := s.Node.Stage.Env()
		if err != nil {
			return err
		}
		if _, own := t.envs.Own(name); own && mayRun(s) {
			users[name] = append(users[name], s.Node.Stage.Address)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		missing, _, err := t.envs.Lacks(ctx, name)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			continue
		}
		own, _ := t.envs.Own(name)
		stages := users[name][0]
		if more := len(users[name]) - 1; more > 0 {
			stages = fmt.Sprintf("%s and %d more", stages, more)
		}
		fmt.Fprintf(to, "warning: environment %s: %s has no %s, and %s would run in it\n", name, own.Python, strings.Join(missing, ", "), stages)
	}
	return nil
}
