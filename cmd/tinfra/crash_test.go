package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// crashStory kills a build at one named step of publishing, builds again, and holds the cache against that of a build
// that nobody disturbed.
const crashStory = `
env TINFRA_CACHE=$WORK/whole
exec tinfra build
env TINFRA_CACHE=$WORK/cache
env TINFRA_TEST_CRASH=STEP
! exec tinfra build
! stderr .*panic
env TINFRA_TEST_CRASH=
exec tinfra cache verify
exec tinfra build
sametree whole cache
exec tinfra cache verify
exec tinfra build
stdout '3 hit'
orphans

-- recipe.hcl --
stage "make" "hello" {
  text = "hello"
}
stage "upper" "loud" {
  text = make.hello.files
}
stage "join" "all" {
  parts = { a = make.hello.files, b = upper.loud.text }
}
`

func TestKilledAtEachStepOfPublishing(t *testing.T) {
	dir := t.TempDir()
	for _, step := range artifacts.Steps {
		script := strings.ReplaceAll(crashStory, "STEP", step)
		if err := os.WriteFile(filepath.Join(dir, "killed_at_"+step+".txtar"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, stories(t, dir))
}
