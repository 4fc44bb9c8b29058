package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

func TestFactsOfGPUsThatAreNotThere(t *testing.T) {
	one := map[string]string{"gpu.count": "1", "gpu.0.name": "a", "gpu.arch": "sm_90", "gpu.driver": "580.1"}
	for name, c := range map[string]struct {
		asks string
		has  map[string]string
		says []string // one for each diagnostic
	}{
		"no GPU": {`"gpu.0.name", "gpu.arch", "gpu.driver.branch"`, map[string]string{"gpu.count": "0"},
			[]string{"No GPU on this machine: want.w needs an NVIDIA GPU (its kind names the fact gpu.0.name), and nvidia-smi shows none on this machine"}},
		"one of two": {`"gpu.0.name", "gpu.1.name"`, one,
			[]string{"Too few GPUs on this machine: want.w needs 2 NVIDIA GPUs (its kind names the fact gpu.1.name), and nvidia-smi shows 1 on this machine"}},
		"a misspelt fact": {`"gpu.arhc"`, map[string]string{"gpu.count": "0"},
			[]string{"Unknown fact: Kind want depends on gpu.arhc, and this executor does not state gpu.arhc."}},
		"misspelt beside": {`"gpu.arch", "cpu.modle"`, map[string]string{"gpu.count": "0"},
			[]string{"No GPU on this machine: want.w needs an NVIDIA GPU (its kind names the fact gpu.arch)", "Unknown fact: Kind want depends on cpu.modle"}},
		"a driver that says less": {`"gpu.cuda"`, one, []string{"Unknown fact: Kind want depends on gpu.cuda"}},
		"no count":                {`"gpu.arch"`, map[string]string{}, []string{"Unknown fact: Kind want depends on gpu.arch"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			kind := makeKind("want", "model/hf")
			kind.Data = fmt.Appendf(kind.Data, "facts = [%s]\n", c.asks)
			w.kinds["want/stage.hcl"], w.kinds["want/worker.py"] = kind, w.kinds["fetch/worker.py"]
			w.target, w.facts = block{"want", "w", nil}, c.has
			_, err := w.make(t)
			var diags plan.Diagnostics
			if !errors.As(err, &diags) || len(diags.Diagnostics) != len(c.says) {
				t.Fatalf("got %v", err)
			}
			for i, line := range strings.Split(err.Error(), "\n") {
				if !strings.Contains(line, c.says[i]) {
					t.Errorf("%q is not in %q", c.says[i], line)
				}
			}
		})
	}
}
