package artifacts_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// docs/format.md shows the golden files whole, names each step of publishing and of collecting, and cites tests that there are.
func TestFormatDocument(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "format.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range encoded(t) {
		if !bytes.Contains(doc, o.bytes) {
			t.Errorf("it does not hold the example of a %s:\n%s", name, o.bytes)
		}
	}
	for _, step := range slices.Concat(artifacts.Steps, artifacts.WorkSteps, artifacts.EnvSteps, artifacts.IndexSteps, artifacts.GCSteps, artifacts.ShareSteps) {
		if !bytes.Contains(doc, []byte("`"+step+"`")) {
			t.Errorf("it does not name the step %s", step)
		}
	}
	var tests strings.Builder
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "storetest/*.go", "../lineage/*_test.go", "../cmd/tinfra/*_test.go", "../pipeline/run/*_test.go", "../stages/env/*_test.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(b)
		}
	}
	cited := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAll(doc, -1)
	if len(cited) < 15 {
		t.Errorf("it cites only %d tests", len(cited))
	}
	for _, name := range cited {
		if !strings.Contains(tests.String(), "func "+string(name)+"(") {
			t.Errorf("it cites %s, which is not there", name)
		}
	}
}
