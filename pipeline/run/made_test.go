package run_test

import (
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// two makes a large output and two small ones, one of them a program.
func two(dir string) kind {
	return kind{`
output "first" {
  type = "files"
  doc = "x"
}
output "large" {
  type = "files"
  doc = "x"
}
output "last" {
  type = "files"
  doc = "x"
}
`, `echo ran >> ` + dir + `/ran
echo small > out/first/greeting
head -c 300000 /dev/zero > out/large/zeros
echo '#!/bin/sh' > out/last/program
chmod 500 out/last/program
` + done}
}

// Whatever becomes of a build between outputs that are read and one that is moved, the next one goes on with all of them, and there
// is one record.
func TestKilledBetweenALargeOutputAndSmallOnes(t *testing.T) {
	for _, step := range []string{
		artifacts.StepAdoptTaken, artifacts.StepAdoptHashed, artifacts.StepAdoptNamed, artifacts.StepAdoptKept, artifacts.StepWorkNoted,
		artifacts.StepRecord, artifacts.StepPointer, artifacts.StepRuns, artifacts.StepRecords, artifacts.StepKeys,
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := benchAt(t, dir, kinds{"two": two(dir)}, `stage "two" "a" {}`)
			b.killed(b.startDoomed(step))
			made := b.ok()["two.a"]
			if b.read("ran") != "ran\n" {
				t.Errorf("ran %q", b.read("ran"))
			}
			rec := b.record(made)
			runs := 0
			for _, err := range b.cache.List(t.Context(), "runs/"+made.Key.Hex()+"/", "") {
				if runs++; err != nil {
					t.Fatal(err)
				}
			}
			if runs != 1 {
				t.Errorf("%d records of one run", runs)
			}
			want := map[string]string{"first": "greeting", "large": "zeros", "last": "program*"}
			for port, list := range want {
				m, err := b.cache.Manifest(t.Context(), rec.Outputs[port])
				if err != nil {
					t.Fatal(err)
				}
				f := m.Files[0]
				got := f.Path
				if f.Exec {
					got += "*"
				}
				if got != list || len(m.Files) != 1 {
					t.Errorf("%s holds %+v", port, m.Files)
				}
				if _, err := b.cache.GetBytes(t.Context(), f.Digest); err != nil {
					t.Errorf("%s: %v", port, err)
				}
			}
			b.nothingLeft()
		})
	}
}
