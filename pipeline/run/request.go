package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// tree is a manifest that stands in a workspace.
type tree struct {
	what string // for messages
	port string // "" for the worker's sources
	path string // relative to the workspace, with slashes
	*artifacts.Manifest
}

// trees are the inputs and the worker's sources, and where they belong.
func (b *builder) trees(ctx context.Context, s *plan.Step, a *artifacts.Action) ([]tree, error) {
	var all []tree
	for _, port := range slices.Sorted(maps.Keys(a.Inputs)) {
		path, err := inputPath(port)
		if err != nil {
			return nil, diagnosed(problem(s.Node.Stage.Inputs[port].Range, "Key cannot name a folder", "Input %s: %s.", port, err))
		}
		m, err := b.o.Cache.Manifest(ctx, a.Inputs[port])
		if err != nil {
			return nil, cacheTrouble{fmt.Errorf("reading input %s: %w", port, err)}
		}
		all = append(all, tree{"input " + port, port, path, m})
	}
	if s.Node.Stage.Kind.Native {
		return all, nil
	}
	m, err := b.o.Cache.Manifest(ctx, a.Worker)
	if err != nil {
		return nil, cacheTrouble{fmt.Errorf("reading the worker's sources: %w", err)}
	}
	return append(all, tree{"sources", "", workerDir, m}), nil
}

// fits refuses inputs that are of no use on this machine, before any byte of them is brought here.
func (b *builder) fits(t *task, trees []tree) error {
	var diags []*hcl.Diagnostic
	for _, one := range trees {
		if one.port == "" {
			continue
		}
		if d := plan.Unfit(t.step.Node.Stage, one.port, one.Manifest, b.facts); d != nil {
			diags = append(diags, d)
		}
	}
	if len(diags) > 0 {
		return diagnosed(diags...)
	}
	return nil
}

// lay fills in/ and worker/ and says how to see afterwards that the worker kept its hands off them.
func (b *builder) lay(ctx context.Context, trees []tree, ws string) (func() error, error) {
	var checks []func() error
	for _, t := range trees {
		check, err := b.o.Layer.Lay(ctx, t.Manifest, filepath.Join(ws, filepath.FromSlash(t.path)))
		if remoteTrouble(err) {
			_, gone := errors.AsType[goneError](err)
			if err = (cacheTrouble{fmt.Errorf("laying out %s: %w", t.what, err)}); gone && t.port != "" {
				err = lostInput{err, t.port}
			}
			return nil, err
		}
		if errors.Is(err, artifacts.ErrMissing) { // it was there when the build was planned
			return nil, cacheTrouble{fmt.Errorf("laying out %s: %w any more; build again, and what made it runs anew", t.what, err)}
		}
		if err != nil {
			return nil, fmt.Errorf("laying out %s: %w", t.what, err)
		}
		checks = append(checks, untouched(t, check))
	}
	return allOf(checks), nil
}

// found is the check of what an earlier process laid.
func (b *builder) found(trees []tree, ws string) func() error {
	var checks []func() error
	for _, t := range trees {
		checks = append(checks, untouched(t, b.o.Layer.Found(t.Manifest, filepath.Join(ws, filepath.FromSlash(t.path)))))
	}
	return allOf(checks)
}

func untouched(t tree, check func() error) func() error {
	return func() error {
		err := check()
		switch {
		case errors.Is(err, artifacts.ErrShared):
			return fmt.Errorf("a file of its %s was changed while it ran, by its worker or by that of another stage that reads it; "+
				"it has been removed and is made again by the next build: %w", t.what, err)
		case err != nil:
			return fmt.Errorf("the worker changed its %s: %w", t.what, err)
		}
		return nil
	}
}

func allOf(checks []func() error) func() error {
	return func() error {
		var all []error
		for _, c := range checks {
			all = append(all, c())
		}
		return errors.Join(all...)
	}
}

// heavyInput is the size in bytes from which on it costs more to hash a file than to wait until a workspace is gone.
const heavyInput = 64 << 20

// heavy tells of inputs whose links should be gone before the next stage begins: unlinking moves the time of change of a blob, and a stage
// that reads the same one would have to be told by its bytes from one that changed it.
func heavy(trees []tree) bool {
	for _, t := range trees {
		if t.port != "" && slices.ContainsFunc(t.Files, func(f artifacts.File) bool { return f.Size >= heavyInput }) {
			return true
		}
	}
	return false
}

// inputsOf tells the worker where its inputs lie.
func inputsOf(trees []tree, a *artifacts.Action) map[string]protocol.Input {
	inputs := map[string]protocol.Input{}
	for _, t := range trees {
		if t.port != "" {
			inputs[t.port] = protocol.Input{Path: t.path, Type: t.Type, Digest: a.Inputs[t.port].String(), Labels: t.Labels}
		}
	}
	return inputs
}

// inputPath is in/<port>, or in/<port>/<key> for one of a map's artifacts.
func inputPath(port string) (string, error) {
	name, key, isMap := strings.Cut(strings.TrimSuffix(port, "]"), "[")
	if !isMap {
		return protocol.InDir + "/" + name, nil
	}
	if err := artifacts.CheckPath(key); err != nil {
		return "", err
	}
	if strings.ContainsRune(key, '/') {
		return "", fmt.Errorf("%q holds a slash", key)
	}
	return protocol.InDir + "/" + name + "/" + key, nil
}

// request is what the worker is asked for. Secrets are not in it: they are environment variables.
func (b *builder) request(s *plan.Step, a *artifacts.Action, inputs map[string]protocol.Input, g *grant) (*protocol.Request, error) {
	r := &protocol.Request{
		Protocol: protocol.Version, Kind: a.Kind, Params: a.Params, Inputs: inputs, Outputs: a.Outputs,
		Resources: protocol.Resources{CPUs: g.threads(), MemoryGiB: g.memoryGiB, GPUs: g.gpus},
		Settings:  b.o.Settings,
	}
	if s.Source == "" {
		return r, nil
	}
	r.Source, r.RecipeDir = s.Source, b.plan.Graph.Recipe.Dir
	params := map[string]json.RawMessage{}
	if err := json.Unmarshal(a.Params, &params); err != nil {
		return nil, fmt.Errorf("reading the params of %s: %w", s.Node.Stage.Address, err)
	}
	delete(params, "pins")
	var err error
	if r.Params, err = json.Marshal(params); err != nil {
		return nil, err
	}
	for _, p := range s.Pins {
		r.Pins = append(r.Pins, protocol.Pin{Path: p.Path, SHA256: p.SHA256, Size: p.Size})
	}
	r.Resolved, err = b.resolved(s.Source)
	return r, err
}

// resolved is what the lock knows of a source beside its files.
func (b *builder) resolved(source string) (map[string]string, error) {
	if lock := b.plan.Graph.Recipe.Lock; lock != nil && lock.Sources[source] != nil {
		return lock.Sources[source].Resolved, nil
	}
	if b.o.Lock == nil {
		return nil, nil
	}
	entry, err := b.o.Lock.Entry(source) // written since the recipe was read
	if err != nil || entry == nil {
		return nil, err
	}
	return entry.Resolved, nil
}

// furnish makes the folders and writes request.json.
func furnish(ws string, outputs map[string]string, r *protocol.Request) error {
	dirs := []string{tmpDir, homeDir, protocol.InDir, protocol.OutDir}
	for port := range outputs {
		dirs = append(dirs, filepath.Join(protocol.OutDir, port))
	}
	for _, d := range dirs { // each after the one that it is in
		if err := os.Mkdir(filepath.Join(ws, d), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making a workspace: %w", err)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	if err := os.WriteFile(filepath.Join(ws, protocol.RequestFile), text, 0o644); err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	return nil
}
