package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// warnOfPackages tells of each interpreter of this machine's own that stages of the plan would run in, and that has not what its
// environment asks for. It is no mistake: who runs the build may be about to install it, and not every stage needs all.
func (t *site) warnOfPackages(ctx context.Context, to io.Writer) error {
	users, names, err := t.environmentUsers()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		own, isOwn := t.envs.Own(name)
		if !isOwn {
			continue
		}
		missing, _, err := t.envs.Lacks(ctx, name)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			continue
		}
		stages := addressesOf(users[name])
		fmt.Fprintf(to, "warning: environment %s: %s has no %s, and %s would run in it\n", name, own.Python, strings.Join(missing, ", "), stages)
	}
	return nil
}
