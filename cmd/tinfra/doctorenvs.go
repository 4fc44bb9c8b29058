package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

// examineEnvironments gives, for each environment that stages cannot run in, what is wrong.
func (x *examination) examineEnvironments(ctx context.Context) (without map[string]string, err error) {
	set, err := x.environments(true)
	if err != nil {
		return nil, err
	}
	all, err := set.List(ctx)
	if err != nil {
		return nil, err
	}
	installed := map[artifacts.Digest]env.Installed{}
	for _, one := range all {
		installed[one.Digest] = one
	}
	without = map[string]string{}
	for _, name := range set.Names() {
		row := "environment " + name
		blob, err := set.Blob(ctx, name)
		one, there := installed[artifacts.Sum(blob)]
		switch {
		case err != nil:
			without[name] = err.Error()
			x.note(row, lacks, err.Error())
		case one.Own:
			if err := x.examineOwn(ctx, set, name, without); err != nil {
				return nil, err
			}
		case there && one.Problem == "":
			x.note(row, sound, fmt.Sprintf("installed, %s, made of %s", view.Bytes(one.Bytes), one.Python))
		case x.offline:
			without[name] = "environment " + name + ": not installed"
			x.note(row, lacks, "not installed")
		case there:
			x.note(row, sound, "damaged ("+one.Problem+"); the next build installs it anew")
		default:
			x.note(row, sound, "not installed yet; this machine has a Python for it")
		}
		if err := x.examineNatives(ctx, set, name, without); err != nil {
			return nil, err
		}
	}
	return without, nil
}

// examineNatives tells of the native parts of an environment that could be had but for them.
func (x *examination) examineNatives(ctx context.Context, set *env.Set, name string, without map[string]string) error {
	if without[name] != "" {
		return nil
	}
	parts, err := set.Natives(ctx, name)
	if err != nil {
		return err
	}
	for _, p := range parts {
		row := "native " + p.Name
		if p.Lacks != "" {
			without[name] = fmt.Sprintf("environment %s: %s", name, p.Lacks)
			x.note(row, lacks, p.Lacks)
			continue
		}
		x.note(row, sound, fmt.Sprintf("from %s: %s", p.Where, strings.Join(p.Files, ", ")))
	}
	return nil
}

// examineOwn tells how this machine's own interpreter differs from the environment that it stands in for.
func (x *examination) examineOwn(ctx context.Context, set *env.Set, name string, without map[string]string) error {
	missing, other, err := set.Lacks(ctx, name)
	if err != nil {
		return err
	}
	own, _ := set.Own(name)
	said := "this machine's own " + own.Python
	if len(other) > 0 {
		said += "; of another version than the lock's: " + strings.Join(other, ", ")
	}
	if len(missing) > 0 {
		without[name] = fmt.Sprintf("environment %s: %s has no %s", name, own.Python, strings.Join(missing, ", "))
		x.note("environment "+name, lacks, said+"; it has no "+strings.Join(missing, ", "))
		return nil
	}
	x.note("environment "+name, sound, said)
	return nil
}
