package run_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/stages/env"
)

const showingWorker = `
import os
from pathlib import Path
from tinfra_worker import Job, run

def main(job: Job) -> None:
    told = "\n".join(f"{name}={value}" for name, value in os.environ.items())
    for at in (job.output("files") / "told", Path("@/seen")):
        at.write_text(told)

if __name__ == "__main__":
    run(main)
`

// The libraries of an environment, its further packages and CUDA's compiler reach the workers that can use them, and no others.
func TestWhatAnAcceleratorNeeds(t *testing.T) {
	const head = "env = \"python\"\noutput \"files\" {\n type = \"files\"\n doc = \"x\"\n}\n"
	for name, c := range map[string]struct {
		needs          string
		ready          env.Ready
		want, unwanted []string
	}{
		"an installed environment": {"", env.Ready{Compiled: "/c"}, nil, []string{"LD_LIBRARY_PATH", "CUDA_HOME", "TRITON_CACHE_DIR", "/cuda/bin"}},
		"with libraries": {"", env.Ready{Compiled: "/c", Libraries: []string{"/l", "/m"}},
			[]string{"LD_LIBRARY_PATH=/l:/m:/drivers", "CUDA_HOME=@/cuda", "TRITON_CACHE_DIR=/c/triton", "HUMMING_CACHE_DIR=/c/humming"}, nil},
		"an own interpreter": {"", env.Ready{Own: true, Compiled: "/c", Path: []string{"/overlay"}},
			[]string{"LD_LIBRARY_PATH=/drivers", "/worker:/overlay", "TORCHINDUCTOR_CACHE_DIR=/c/inductor", "@/cuda/bin"}, nil},
		"a stage on a GPU": {"needs {\n gpus = 1\n}\n", env.Ready{Compiled: "/c"},
			[]string{"CUDA_HOME=@/cuda", "TRITON_CACHE_DIR=/c/triton", "@/cuda/bin"}, []string{"LD_LIBRARY_PATH"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			nvcc := filepath.Join(dir, "cuda", "bin", "nvcc")
			if err := os.MkdirAll(filepath.Dir(nvcc), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(nvcc, []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			worker := strings.ReplaceAll(showingWorker, "@", dir)
			b := benchAt(t, dir, kinds{"show": {head + c.needs, worker}}, "stage \"show\" \"a\" {}\n")
			b.facts["gpu.count"], b.facts["gpu.0.id"] = "1", "0"
			b.envs.ready = c.ready
			b.options.Environ = []string{"PATH=/usr/bin:/bin", "LD_LIBRARY_PATH=/drivers", "CUDA_HOME=" + dir + "/cuda"}
			b.ok()
			got := b.read("seen")
			for _, want := range c.want {
				if want = strings.ReplaceAll(want, "@", dir); !strings.Contains(got, want) {
					t.Errorf("%q is not in %s", want, got)
				}
			}
			for _, unwanted := range c.unwanted {
				if strings.Contains(got, unwanted) {
					t.Errorf("%q is in %s", unwanted, got)
				}
			}
		})
	}
}
