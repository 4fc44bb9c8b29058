package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// errTimeout is why a worker was ended that took longer than its stage allows.
type errTimeout struct{ after string }

func (e errTimeout) Error() string { return "it was ended after its timeout of " + e.after }

// judge turns the way a worker ended into an error, or nil where its result may be looked at. The worker's own word for it
// goes before a kill for memory, which may have hit another process.
func judge(st *recipe.Stage, c capacity, e Exit, problems []protocol.Event) error {
	said := lastProblem(problems)
	switch {
	case e.Problem != "":
		return fmt.Errorf("the worker could not be started: %s", e.Problem)
	case e.Code == protocol.ExitOK && e.Asked: // not by this build, which would not look at its result
		return errors.New("something outside of this build told it to end; build again")
	case e.Code == protocol.ExitOK:
		return nil
	case e.Code == protocol.ExitBadParam:
		return badParam(st, problems)
	case e.Code == protocol.ExitBadInput:
		return badInput(st, problems)
	case e.Code == protocol.ExitMachine:
		return fmt.Errorf("this machine is not what its facts say%s", said)
	case e.Code == protocol.ExitTransient:
		return transient{fmt.Errorf("a passing trouble%s", said)}
	case e.OOMKilled && (e.Code == killedCode || e.Code == protocol.ExitResources):
		return fmt.Errorf("it ran out of memory: %s%s", outOfMemory(st.Needs.MemoryGiB, c.memoryGiB, e), said)
	case e.Code == protocol.ExitResources:
		return fmt.Errorf("it ran out of memory or disk%s; its largest process held %s, %s", said, gib(e.MaxRSS), asked(st.Needs.MemoryGiB, c.memoryGiB))
	case e.Signal != "":
		return fmt.Errorf("the worker was ended by %s%s%s", e.Signal, said, perhaps(st, c, e))
	default:
		return fmt.Errorf("the worker crashed with exit code %d%s%s", e.Code, said, perhaps(st, c, e))
	}
}

// perhaps names a kill for memory beside a crash that says nothing of one: the counter is that of all that runs in our
// control group, other stages among them, and may have risen hours ago.
func perhaps(st *recipe.Stage, c capacity, e Exit) string {
	if !e.OOMKilled {
		return ""
	}
	return "; while it ran, the kernel killed a process for memory, perhaps one of its own: " + outOfMemory(st.Needs.MemoryGiB, c.memoryGiB, e)
}

func lastProblem(problems []protocol.Event) string {
	if len(problems) == 0 {
		return ""
	}
	return ": " + explained(problems[len(problems)-1])
}

func explained(p protocol.Event) string {
	if p.Hint == "" {
		return p.Message
	}
	return p.Message + " (" + p.Hint + ")"
}

// badParam points at the recipe lines of the params that the worker refused.
func badParam(st *recipe.Stage, problems []protocol.Event) error {
	return refusal{
		"Worker refused a param", "%s refuses %s: %s.", "Worker refused its params", "%s refuses its params%s.",
		func(p protocol.Event) (string, hcl.Range) { return p.Param, st.Params[p.Param].Range },
	}.diagnose(st, problems)
}

// badInput points at the recipe lines of the inputs that the worker refused.
func badInput(st *recipe.Stage, problems []protocol.Event) error {
	return refusal{
		"Worker refused an input", "%s cannot use its input %s: %s.", "Worker refused its inputs", "%s cannot use what it was given%s.",
		func(p protocol.Event) (string, hcl.Range) { return p.Input, st.Inputs[p.Input].Range },
	}.diagnose(st, problems)
}

// refusal words what a worker refused: by name where it gives one, else as a whole.
type refusal struct {
	one, oneDetail, all, allDetail string
	fault                          func(protocol.Event) (name string, at hcl.Range)
}

func (r refusal) diagnose(st *recipe.Stage, problems []protocol.Event) error {
	var diags hcl.Diagnostics
	for _, p := range problems {
		name, at := r.fault(p)
		if name == "" {
			continue
		}
		if at == (hcl.Range{}) {
			at = st.Range // the recipe gives no such thing
		}
		diags = append(diags, problem(at, r.one, r.oneDetail, st.Address, name, explained(p)))
	}
	if len(diags) == 0 {
		diags = append(diags, problem(st.Range, r.all, r.allDetail, st.Address, lastProblem(problems)))
	}
	return diagnosed(diags...)
}

// ours are the names at the top of a workspace that no worker needs to explain.
var ours = []string{
	protocol.RequestFile, protocol.ResultFile, protocol.EventsFile, protocol.StdoutFile, protocol.StderrFile,
	protocol.InDir, protocol.OutDir, HandleFile, ExitFile, SupervisorFile, sealFile,
	workerDir, tmpDir, homeDir, resumedFile,
}

// strays are files that a worker left where nothing may be left. The names of a few are enough. What an earlier build
// noted of its own is known only where there was one: found.
func strays(ws string, k *stages.Kind, found bool) error {
	var outside []string
	top, err := os.ReadDir(ws)
	if err != nil {
		return fmt.Errorf("looking at what the worker left: %w", err)
	}
	for _, e := range top {
		name := e.Name()
		if found { // and it may have died before a rename
			name = strings.TrimSuffix(name, ".part")
		}
		if !slices.Contains(ours, name) && (!found || name != adoptedFile) {
			outside = append(outside, e.Name())
		}
	}
	if err := ownFolder(ws, protocol.OutDir); err != nil {
		return err
	}
	outs, err := os.ReadDir(filepath.Join(ws, protocol.OutDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking at what the worker left: %w", err)
	}
	var undeclared []string
	for _, e := range outs {
		switch {
		case k.Output(e.Name()) == nil:
			undeclared = append(undeclared, protocol.OutDir+"/"+e.Name())
		case !e.IsDir():
			return fmt.Errorf("the worker made %s/%s a file; an output is a folder with files in it", protocol.OutDir, e.Name())
		}
	}
	if len(outside) > 0 {
		return fmt.Errorf("the worker wrote outside its outputs: %s; files go to out/<port>/, scratch files to TMPDIR", few(outside))
	}
	if len(undeclared) > 0 {
		return fmt.Errorf("the worker made %s, which stage.hcl does not declare as an output", few(undeclared))
	}
	return nil
}

// ownFolder: what lies behind a link is not the worker's alone, and storing it would take it away from where it is.
func ownFolder(ws, name string) error {
	switch info, err := os.Lstat(filepath.Join(ws, name)); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking at what the worker left: %w", err)
	case info.Mode().Type() == fs.ModeSymlink:
		return fmt.Errorf("the worker made %s a link; it must stay the folder that it was given", name)
	case !info.IsDir():
		return fmt.Errorf("the worker made %s a file; it must stay the folder that it was given", name)
	}
	return nil
}

func few(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// declared checks a result against what the kind declares.
func declared(r *protocol.Result, k *stages.Kind) error {
	for name := range r.Metrics {
		if k.Metric(name) == nil {
			return fmt.Errorf("the worker reported a metric %q, which stage.hcl does not declare", name)
		}
	}
	return nil
}

// hasFiles tells whether a folder holds any file, however deep.
func hasFiles(dir string) (bool, error) {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !info.IsDir() {
		return err == nil, err
	}
	// By a root, since a path may be longer than a system call takes.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	found := false
	err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}
