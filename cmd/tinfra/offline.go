package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// refuseNetwork names the stages that cannot run offline before anything runs.
func (t *site) refuseNetwork(ctx context.Context) error {
	diags, err := t.needNetwork(ctx)
	if err != nil {
		return err
	}
	return t.told(diags, t.recipe.Texts)
}

// warnOfNetwork says in a plan what refuseNetwork would say in a build.
func (t *site) warnOfNetwork(ctx context.Context) error {
	diags, err := t.needNetwork(ctx)
	if err != nil {
		return err
	}
	return t.told(asWarnings(diags), t.recipe.Texts)
}

func asWarnings(diags hcl.Diagnostics) hcl.Diagnostics {
	for _, d := range diags {
		d.Severity = hcl.DiagWarning
	}
	return diags
}

// needNetwork is what of a plan needs one: stages that bring something, and environments that are not installed.
func (t *site) needNetwork(ctx context.Context) (hcl.Diagnostics, error) {
	var diags hcl.Diagnostics
	for _, s := range t.plan.Steps {
		st := s.Node.Stage
		if !st.Kind.Network || s.State == plan.Hit || strings.HasPrefix(s.Source, "file:") {
			continue
		}
		diags = append(diags, mistakeAt(st, "Not in the cache, and offline",
			"%s must run (%s) and needs the network. Build once without --offline.", st.Address, s.Reason))
	}
	users, names, err := t.environmentUsers()
	if err != nil || len(users) == 0 {
		return diags, err
	}
	installed, err := t.installed(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		blob, err := t.envs.Blob(ctx, name)
		if err != nil {
			return nil, err
		}
		if _, own := t.envs.Own(name); own || installed[artifacts.Sum(blob)] {
			continue
		}
		diags = append(diags, mistakeAt(users[name][0], "Environment not installed, and offline",
			"%s may run in environment %s, which is not installed. Bring a pack of it (`tinfra env unpack`), or run `tinfra env install %s` where there is a network.",
			addressesOf(users[name]), name, name))
	}
	return diags, nil
}

// environmentUsers are the stages that may run in each environment, and the environments in the order of the plan.
func (t *site) environmentUsers() (users map[string][]*recipe.Stage, names []string, err error) {
	users = map[string][]*recipe.Stage{}
	for _, s := range t.plan.Steps {
		name, err := s.Node.Stage.Env()
		if err != nil {
			return nil, nil, err
		}
		if name == "" || !mayRun(s) {
			continue
		}
		if users[name] == nil {
			names = append(names, name)
		}
		users[name] = append(users[name], s.Node.Stage)
	}
	return users, names, nil
}

// installed are the environments that stages can run in as they are.
func (t *site) installed(ctx context.Context) (map[artifacts.Digest]bool, error) {
	all, err := t.envs.List(ctx)
	if err != nil {
		return nil, err
	}
	sound := map[artifacts.Digest]bool{}
	for _, one := range all {
		sound[one.Digest] = one.Problem == ""
	}
	return sound, nil
}

func mistakeAt(st *recipe.Stage, summary, format string, args ...any) *hcl.Diagnostic {
	at := st.Range
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at}
}

// manyAddresses is how many stages a sentence names.
const manyAddresses = 3

func addressesOf(all []*recipe.Stage) string {
	var names []string
	for _, st := range all[:min(len(all), manyAddresses)] {
		names = append(names, st.Address)
	}
	if more := len(all) - len(names); more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}
	return strings.Join(names, ", ")
}
