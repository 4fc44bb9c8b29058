package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/stages"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// reused gives, for each output, the files of inputs that its worker says are its own too. Their blobs are in the store, since inputs
// were laid from there, and nobody reads them again: that the worker left its inputs alone is seen before a record names them.
func (b *builder) reused(ctx context.Context, t *task, a *artifacts.Action, at *attempt, r *protocol.Result) (map[string][]artifacts.File, error) {
	if len(r.Reused) == 0 {
		return nil, nil
	}
	trees, err := b.trees(ctx, t.step, a)
	if err != nil {
		return nil, err
	}
	files, err := reusedFiles(r.Reused, trees, t.step.Node.Stage.Kind, at.ws.Dir)
	if err != nil {
		return nil, err
	}
	if len(t.step.Node.Stage.Secrets) > 0 {
		for to := range r.Reused {
			if b.redact.holds(to) {
				return nil, errors.New("the name of a file that the worker reuses holds a secret: names of files are stored for all to read")
			}
		}
	}
	return files, b.stillKept(ctx, files)
}

// reusedFiles resolves names of the worker's, of whom anything may be expected.
func reusedFiles(named map[string]string, trees []tree, k *stages.Kind, ws string) (map[string][]artifacts.File, error) {
	files := map[string][]artifacts.File{}
	for _, to := range slices.Sorted(maps.Keys(named)) {
		port, path, _ := strings.Cut(to, "/")
		if k.Output(port) == nil {
			return nil, fmt.Errorf("the worker reuses a file for %s, which stage.hcl does not declare as an output", to)
		}
		if err := artifacts.CheckPath(path); err != nil {
			return nil, fmt.Errorf("the worker reuses a file for output %s: %w", port, err)
		}
		f, ok := inputFile(trees, named[to])
		if !ok {
			return nil, fmt.Errorf("the worker reuses %s for %s, but no input has that file", named[to], to)
		}
		f.Path = path
		files[port] = append(files[port], f)
	}
	for port := range files {
		if err := absent(filepath.Join(ws, protocol.OutDir, port), files[port]); err != nil {
			return nil, fmt.Errorf("output %s: %w", port, err)
		}
	}
	return files, nil
}

// inputFile finds port/path, or port[key]/path; a key with a slash cannot be laid out, so there is none.
func inputFile(trees []tree, name string) (artifacts.File, bool) {
	port, path, _ := strings.Cut(name, "/")
	for _, t := range trees {
		if t.port == "" || t.port != port {
			continue
		}
		if i := slices.IndexFunc(t.Files, func(f artifacts.File) bool { return f.Path == path }); i >= 0 {
			return t.Files[i], true
		}
	}
	return artifacts.File{}, false
}

// absent: what the worker also wrote could be other bytes.
func absent(dir string, files []artifacts.File) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // in the store already: seen when it was put there
	}
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		if _, err := root.Lstat(filepath.FromSlash(f.Path)); err == nil {
			return fmt.Errorf("the worker both wrote and reused %s", f.Path)
		}
	}
	return nil
}

// stillKept holds the blobs and finds them. They are missing only where another build laid the inputs and they were collected
// since; the next attempt lays them anew.
func (b *builder) stillKept(ctx context.Context, files map[string][]artifacts.File) error {
	var names []artifacts.Digest
	for _, all := range files {
		for _, f := range all {
			names = append(names, f.Digest)
		}
	}
	if err := b.o.Cache.Hold(ctx, names...); err != nil {
		return cacheTrouble{err}
	}
	for _, d := range names {
		_, err := b.o.Cache.Kept(ctx, d)
		switch {
		case errors.Is(err, artifacts.ErrMissing):
			return transient{fmt.Errorf("a file of its inputs that it reuses was removed from the cache meanwhile: %w", err)}
		case err != nil:
			return cacheTrouble{err}
		}
	}
	return nil
}

// reuses tells whether an output has files of inputs.
func reuses(r *protocol.Result, output string) bool {
	for to := range r.Reused {
		if strings.HasPrefix(to, output+"/") {
			return true
		}
	}
	return false
}

// withReused adds such files to what the worker has written.
func withReused(m *artifacts.Manifest, files []artifacts.File) error {
	m.Files = append(m.Files, files...)
	artifacts.SortFiles(m.Files)
	return artifacts.CheckFiles(m.Files)
}
