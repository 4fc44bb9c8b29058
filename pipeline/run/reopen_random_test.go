package run_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// randomStages is a recipe of stages that read others before them. Those in changed do something else than they did on the other machine.
// Some make other bytes each time, some the same whatever they read.
func randomStages(r *rand.Rand, n int, changed bool) (text string, reads map[string][]string) {
	reads = map[string][]string{}
	var b strings.Builder
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		var inputs []string
		for j := range i {
			if r.IntN(3) == 0 {
				inputs = append(inputs, fmt.Sprintf("s%d", j))
			}
		}
		command := []string{
			"cat in/inputs/*/x > out/files/x 2>/dev/null; echo " + name + " >> out/files/x",
			"cat /proc/sys/kernel/random/uuid > out/files/x",
			"echo same > out/files/x",
		}[r.IntN(3)]
		if other := r.IntN(4) == 0; other && changed {
			command += "; true"
		}
		fmt.Fprintf(&b, "stage \"exec\" %q {\n  command = [\"sh\", \"-c\", %q]\n  inputs = {", name, command)
		for _, in := range inputs {
			fmt.Fprintf(&b, " %s = exec.%s.files,", in, in)
		}
		b.WriteString(" }\n}\n")
		reads["exec."+name] = inputs
	}
	return b.String(), reads
}

// boundedRuns builds with some more runs than the plan has. It ends well or not, and runs no more.
func (b *bench) boundedRuns(more int) {
	b.t.Helper()
	p := b.makePlan()
	most := more
	for _, s := range p.Steps {
		if s.State != plan.Hit && s.Same == nil {
			most++
		}
	}
	b.options.MaxRuns = &most
	defer func() { b.options.MaxRuns = nil }()
	made, err := b.execute(b.t.Context(), p)
	all, _ := b.seen.all()
	runs := 0
	for _, e := range all {
		if e.Type == event.Started {
			runs++
		}
	}
	if runs > most || err != nil && (made.Exit != run.ExitCache || !strings.Contains(err.Error(), fmt.Sprintf("--max-runs %d allows no more", most))) {
		b.t.Errorf("%d ran, of %d at most: %v", runs, most, err)
	}
}

// Whatever is lost and whatever is made in its place, a build is of one piece, and the next one has nothing to do.
func TestABuildIsOfOnePieceWhateverIsLost(t *testing.T) {
	ks := kinds{"exec": {`native = true
determinism = "statistical"
param "command" {
  type = list(string)
  doc  = "x"
}
input "inputs" {
  type     = "*"
  map      = true
  optional = true
  doc      = "x"
}
`, ""}}
	for _, seed := range []uint64{0, 2, 9, 10, 12, 27} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			const n = 9
			before, _ := randomStages(rand.New(rand.NewPCG(seed, 1)), n, false)
			after, reads := randomStages(rand.New(rand.NewPCG(seed, 1)), n, true)
			b, d, _ := joined(t, t.TempDir(), ks, before, after)
			d.lost = func(m *artifacts.Manifest) bool { return (uint64(m.Files[0].Digest[0])+seed)%3 != 0 }
			b.options.Jobs = 1 + int(seed%3)
			b.boundedRuns(int(seed % 2))
			got := b.ok()
			for _, user := range slices.Sorted(maps.Keys(reads)) {
				for _, producer := range reads[user] {
					if !b.standsOn(got, user, "inputs["+producer+"]", "exec."+producer, "files") {
						t.Errorf("%s is not made of what exec.%s has made", user, producer)
					}
				}
			}
			for address, step := range b.ok() {
				if step.State != artifacts.Hit || step.Record != got[address].Record {
					t.Errorf("%s is %+v in the next build, was %+v", address, step, got[address])
				}
			}
		})
	}
}
