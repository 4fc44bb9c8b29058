package run

import (
	"maps"
	"path"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// layoutOf are the folders and files of a workspace that are the same in all attempts of stages with these inputs and outputs, in
// order; nil: it serves one attempt. A worker takes seconds to start, and one that has secrets may have written them anywhere.
func layoutOf(st *recipe.Stage, a *artifacts.Action, trees []tree) []string {
	if !st.Kind.Native || len(st.Secrets) > 0 {
		return nil
	}
	folders := map[string]bool{tmpDir: true, homeDir: true, protocol.InDir: true, protocol.OutDir: true}
	for _, t := range trees {
		for p := t.path; p != "."; p = path.Dir(p) {
			folders[p] = true
		}
	}
	for port := range a.Outputs {
		folders[protocol.OutDir+"/"+port] = true
	}
	// An Exit is written under another name first, for which room is taken.
	all := []string{HandleFile, ExitFile + ".part", SupervisorFile, protocol.RequestFile, protocol.StdoutFile, protocol.StderrFile}
	for _, f := range slices.Sorted(maps.Keys(folders)) {
		all = append(all, f+"/")
	}
	return all
}
