package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

// workspaces gives a disk store the types that the runner asks for.
type workspaces struct{ *disk.Store }

func (w workspaces) Workspace(key artifacts.Key, attempt int) (run.Workspace, error) {
	return opened(w.Store.Workspace(key, attempt))
}

func (w workspaces) Fresh(key artifacts.Key, attempt int, layout []string) (run.Workspace, error) {
	return opened(w.Store.Fresh(key, attempt, layout))
}

func opened(ws *disk.Workspace, err error) (run.Workspace, error) {
	if err != nil {
		return run.Workspace{}, err
	}
	return run.Workspace{Dir: ws.Dir, Close: ws.Close, Release: ws.Release, Reuse: ws.Reuse}, nil
}

// layer does the same for inputs. Those that are not on this machine are brought here first.
type layer struct {
	*disk.Store
	from *shared.Remote // nil: all that there is is here
}

func (l layer) Lay(ctx context.Context, m *artifacts.Manifest, dir string) (func() error, error) {
	if l.from != nil {
		if err := l.from.Keep(ctx); err != nil { // what is made of these inputs names them
			return nil, err
		}
		if err := bring(ctx, l.from, m); err != nil {
			return nil, err
		}
	}
	laid, err := l.Store.Lay(ctx, m, dir)
	if err != nil {
		return nil, err
	}
	return laid.Check, nil
}

func (l layer) Found(m *artifacts.Manifest, dir string) func() error {
	return l.Store.Found(m, dir).Check
}

// localFiles takes down which files were digested.
type localFiles struct {
	plan.Files
	reads *reading.Log
}

func (l localFiles) Manifest(ctx context.Context, dir string, paths []string) (*artifacts.Manifest, error) {
	began := time.Now()
	m, err := l.Files.Manifest(ctx, dir, paths)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		l.reads.FileRead(filepath.Join(dir, filepath.FromSlash(f.Path)), began, f.Digest)
	}
	return m, nil
}

// describer describes environments for a plan, and keeps the first failure: it is the machine's, and the person wants to
// see which stages it concerns.
type describer struct {
	set    *env.Set
	name   string
	failed error
}

// Blob describes one environment. A plan asks for one at a time.
func (d *describer) Blob(ctx context.Context, name string) ([]byte, error) {
	b, err := d.set.Blob(ctx, name)
	if err != nil && d.failed == nil {
		d.name, d.failed = name, err
	}
	return b, err
}

// localEnvironments is what this machine says of environments.
func localEnvironments(p *recipe.Project) env.Local {
	local := env.Local{Maven: p.Maven, Own: map[string]env.Own{}}
	for _, e := range p.Environments {
		local.Own[e.Name] = env.Own{
			Python: e.Python, Overlay: e.Overlay, Native: e.Native, Where: fmt.Sprintf("%s:%d", recipe.ProjectFile, e.Range.Start.Line),
		}
	}
	if maven := os.Getenv(env.MavenVariable); maven != "" {
		local.Maven = maven
	}
	return local
}

// limits are facts that stand in place of what is probed: what tinfra.hcl gives to stages of this machine.
func limits(l recipe.LocalExecutor) map[string]string {
	facts := map[string]string{}
	if l.CPUs > 0 {
		facts["cpu.count"] = strconv.FormatFloat(l.CPUs, 'f', -1, 64)
	}
	if l.MemoryGiB > 0 {
		facts["memory_gib"] = strconv.FormatFloat(l.MemoryGiB, 'f', -1, 64)
	}
	if l.GPUs != nil {
		facts["gpu.count"] = strconv.Itoa(len(l.GPUs))
		for i, id := range l.GPUs {
			facts[fmt.Sprintf("gpu.%d.id", i)] = id
		}
	}
	return facts
}

// settings are what workers are told of tinfra.hcl. They enter no key.
func settings(p *recipe.Project) map[string]json.RawMessage {
	all := map[string]any{}
	if len(p.AllowedHosts) > 0 {
		all["allowed_hosts"] = p.AllowedHosts
	}
	if p.Endpoint != "" {
		all["endpoint"] = p.Endpoint
	}
	told := map[string]json.RawMessage{}
	for name, value := range all {
		text, err := json.Marshal(value)
		if err != nil {
			continue // texts always encode
		}
		told[name] = text
	}
	return told
}
