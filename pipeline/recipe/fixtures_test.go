package recipe

import (
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

var stated = regexp.MustCompile(`# ERROR: (.*)`)

// TestFixtures loads recipes that state their own mistakes: `# ERROR: words` on the line where the diagnostic must point,
// where words are part of its summary and detail; several are separated by " ;; ". Nothing else may be reported.
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
			want := map[int][]string{}
			for i, line := range strings.Split(string(src), "\n") {
				if m := stated.FindStringSubmatch(line); m != nil {
					want[i+1] = strings.Split(m[1], " ;; ")
				}
			}
			if len(want) == 0 {
				t.Fatal("the fixture states no error")
			}
			r, diags := Load(path, Options{Catalog: testCatalog()})
			for _, d := range diags {
				if d.Subject == nil || d.Subject.Filename != path {
					t.Errorf("not in the file: %s: %s", d.Summary, d.Detail)
					continue
				}
				line, found := d.Subject.Start.Line, false
				for i, words := range want[line] {
					if strings.Contains(d.Summary+": "+d.Detail, words) {
						want[line] = append(want[line][:i:i], want[line][i+1:]...)
						found = true
						break
					}
				}
				if !found {
					t.Errorf("line %d: not stated: %s: %s", line, d.Summary, d.Detail)
				}
				if r.Files[path] == nil {
					t.Error("no snippet for the diagnostics")
				}
			}
			var lines []int
			for line := range want {
				lines = append(lines, line)
			}
			sort.Ints(lines)
			for _, line := range lines {
				for _, words := range want[line] {
					t.Errorf("line %d: not reported: %s", line, words)
				}
			}
		})
	}
}
