package run

import (
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/Ruihan11/tiny-infra/stages/env"
)

const libraryPath = "LD_LIBRARY_PATH"

// toolkitFolder is where CUDA's installers put it.
const toolkitFolder = "/usr/local/cuda"

// addAccelerator lets a worker find the libraries of its environment and CUDA's compiler, and keep what it compiles: its
// home is new in each attempt. Others are told none of this.
func (b *builder) addAccelerator(vars map[string]string, ready env.Ready, g *grant) {
	special := ready.Own || len(ready.Libraries) > 0
	if special {
		libraries := ready.Libraries
		// The driver of a virtual machine may lie anywhere.
		if own, ok := b.o.lookupEnv(libraryPath); ok && own != "" {
			libraries = append(libraries[:len(libraries):len(libraries)], own)
		}
		if len(libraries) > 0 {
			vars[libraryPath] = joined(libraries...)
		}
	}
	if !special && len(g.gpus) == 0 {
		return
	}
	if home := b.toolkit(vars["PATH"]); home != "" {
		vars["CUDA_HOME"] = home
		if _, err := lookPath("nvcc", vars["PATH"]); err != nil {
			vars["PATH"] = joined(vars["PATH"], filepath.Join(home, "bin"))
		}
	}
	if ready.Compiled == "" {
		return
	}
	maps.Copy(vars, map[string]string{
		"TRITON_CACHE_DIR":        filepath.Join(ready.Compiled, "triton"),
		"TORCHINDUCTOR_CACHE_DIR": filepath.Join(ready.Compiled, "inductor"),
		"HUMMING_CACHE_DIR":       filepath.Join(ready.Compiled, "humming"),
		"CUDA_CACHE_PATH":         filepath.Join(ready.Compiled, "driver"),
	})
}

// toolkit is the folder of CUDA's compiler and headers; "" where there is none, or an environment brings its own.
func (b *builder) toolkit(path string) string {
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if home, ok := b.o.lookupEnv(name); ok && filepath.IsAbs(home) {
			return home
		}
	}
	if nvcc, err := lookPath("nvcc", path); err == nil {
		if real, err := filepath.EvalSymlinks(nvcc); err == nil { // a link in /usr/bin has no headers beside it
			nvcc = real
		}
		return filepath.Dir(filepath.Dir(nvcc))
	}
	if _, err := os.Stat(filepath.Join(toolkitFolder, "bin", "nvcc")); err == nil {
		return toolkitFolder
	}
	return ""
}

func joined(folders ...string) string {
	return strings.Join(folders, string(filepath.ListSeparator))
}
