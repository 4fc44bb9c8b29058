package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var stated = regexp.MustCompile(`# ERROR: (.*)`)

// TestFixtures loads recipes that state their own mistakes: `# ERROR: words` on the line where the diagnostic must point,
// where words are part of its summary and detail; several are separated by " ;; ". Nothing else may be reported. The
// modules that a fixture calls state theirs in the same way.
func TestFixtures(t *testing.T) {
	paths, err := filepath.Glob("testdata/wrong/*.hcl")
	if err != nil || len(paths) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".hcl"), func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			r, diags := Load(path, Options{Catalog: testCatalog()})
			want := map[string][]string{}
			statedIn(path, src, want)
			for rel, text := range r.Modules {
				statedIn(filepath.Join(filepath.Dir(path), rel), text, want)
			}
			if len(want) == 0 {
				t.Fatal("the fixture states no error")
			}
			for _, d := range diags {
				if d.Subject == nil {
					t.Errorf("without a place: %s: %s", d.Summary, d.Detail)
					continue
				}
				at, found := fmt.Sprintf("%s:%03d", d.Subject.Filename, d.Subject.Start.Line), false
				for i, words := range want[at] {
					if strings.Contains(d.Summary+": "+d.Detail, words) {
						want[at] = append(want[at][:i:i], want[at][i+1:]...)
						found = true
						break
					}
				}
				if !found {
					t.Errorf("%s: not stated: %s: %s", at, d.Summary, d.Detail)
				}
				if r.Files[d.Subject.Filename] == nil {
					t.Error("no snippet for the diagnostics")
				}
				if d.Subject.Filename != path && !strings.Contains(d.Detail, "\nIn module.") {
					t.Errorf("%s does not say which module is meant: %s", at, d.Detail)
				}
			}
			for _, at := range sortedKeys(want) {
				for _, words := range want[at] {
					t.Errorf("%s: not reported: %s", at, words)
				}
			}
		})
	}
}

func statedIn(path string, src []byte, want map[string][]string) {
	for i, line := range strings.Split(string(src), "\n") {
		if m := stated.FindStringSubmatch(line); m != nil {
			want[fmt.Sprintf("%s:%03d", path, i+1)] = strings.Split(m[1], " ;; ")
		}
	}
}
