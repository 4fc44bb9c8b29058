package run

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// maxSearched is the size in bytes up to which an output's file is searched for secrets: what a worker writes by mistake
// is a config or a dump of its environment, and weights would be read twice.
const maxSearched = 1 << 20

// learn makes the redactor know every secret of the build before anything is said: one stage's worker may come by
// another's. What is missing or too short is refused elsewhere.
func (b *builder) learn() {
	for _, t := range b.tasks {
		values, err := b.secretsOf(t.step.Node.Stage)
		if err != nil {
			continue
		}
		for _, v := range values {
			b.redact.add(v)
		}
	}
	for _, v := range b.credentials() {
		b.redact.addHidden(v)
	}
}

// credentials are the passwords for proxies and package indexes that workers with a network are given.
func (b *builder) credentials() []string { return credentials(b.o.Environ) }

// HasCredentials tells whether workers of this environment would be given passwords, which no build may keep.
func HasCredentials(environ []string) bool { return len(credentials(environ)) > 0 }

func credentials(environ []string) []string {
	var all []string
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !passes(name) {
			continue
		}
		if upper := strings.ToUpper(name); strings.HasSuffix(upper, "PASSWORD") || strings.HasSuffix(upper, "TOKEN") {
			all = append(all, value)
		}
		for _, one := range strings.Fields(value) { // pip takes several addresses
			u, err := url.Parse(one)
			if err != nil || u.User == nil {
				continue
			}
			if password, ok := u.User.Password(); ok {
				all = append(all, password)
			}
		}
	}
	return all
}

// exposed finds secrets in what every build stores. It shows no source line: that has the secret in it.
func (b *builder) exposed() hcl.Diagnostics {
	var diags hcl.Diagnostics
	tell := func(format string, args ...any) {
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Secret in what is stored",
			Detail: fmt.Sprintf(format, args...) + " holds the value of a secret. It would be in the cache for all to read. " +
				"Hand it over by secret(\"NAME\"), and where it was seen by others, have it replaced.",
		})
	}
	r := b.plan.Graph.Recipe
	if b.redact.holds(string(r.Source)) {
		tell("The recipe %s", r.Path)
	}
	for path, text := range r.Modules {
		if b.redact.holds(string(text)) {
			tell("The module %s", path)
		}
	}
	for name, text := range b.build.Variables {
		if b.redact.holds(text) {
			tell("The variable %s", name)
		}
	}
	for _, t := range b.tasks {
		if a := t.step.Action; a != nil && b.redact.holds(string(a.Params)) {
			tell("A param of %s", t.address())
		}
	}
	return diags
}

// presentable refuses an Action that could not be looked at when the build began.
func (b *builder) presentable(st *recipe.Stage, a *artifacts.Action) error {
	if !b.redact.holds(string(a.Params)) {
		return nil
	}
	return diagnosed(problem(st.Range, "Secret in what is stored",
		"A param of %s holds the value of a secret, and params are stored. Hand it over by secret(\"NAME\").", st.Address))
}

// discreet refuses outputs with a secret of the stage in the name of a file, or in a small file.
func (b *builder) discreet(ws string, st *recipe.Stage) error {
	if len(st.Secrets) == 0 {
		return nil
	}
	out := filepath.Join(ws, protocol.OutDir)
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(ws, path)
		if err != nil {
			return err
		}
		if b.redact.holds(rel) {
			return fmt.Errorf("the name of %s holds a secret: names of files are stored for all to read", filepath.ToSlash(rel))
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.Size() > maxSearched {
			return err
		}
		if mode := info.Mode().Perm(); mode&0o400 == 0 { // stored all the same
			if err := os.Chmod(path, mode|0o400); err != nil {
				return err
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if b.redact.holds(string(text)) {
			return fmt.Errorf("the worker wrote a secret into %s, and outputs are stored for all to read", filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// passes tells whether a variable of the caller's environment goes to workers with a network.
func passes(name string) bool {
	return slices.Contains(networkVariables, name) || hasAnyPrefix(name, "PIP_", "UV_", "HF_XET_")
}
