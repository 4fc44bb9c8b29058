package tinfra_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModelCitesTests: each test that docs/threat-model.md cites is in the folder that it says.
func TestThreatModelCitesTests(t *testing.T) {
	doc, err := os.ReadFile("docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]string{} // folder → its tests
	for _, s := range sources(t) {
		if s.test() {
			there[path.Base(s.pkg)] += string(s.text)
		}
	}
	there["cmd"] = there["tinfra"]
	names, err := filepath.Glob("stages/*/test_*.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		there[filepath.Base(filepath.Dir(name))] += string(b)
	}
	// `run: TestOne`, `TestTwo`; `disk: TestThree`: a folder stands until the next.
	cited := regexp.MustCompile("`(?:(\\w+): )?((?:Test|Fuzz)[A-Z]\\w+|test_\\w+)`").FindAllSubmatch(doc, -1)
	if len(cited) < 30 {
		t.Errorf("it cites only %d tests", len(cited))
	}
	folder := ""
	for _, c := range cited {
		if len(c[1]) > 0 {
			folder = string(c[1])
		}
		name := string(c[2])
		if !strings.Contains(there[folder], "func "+name+"(") && !strings.Contains(there[folder], "def "+name+"(") {
			t.Errorf("it cites %s of %s, which is not there", name, folder)
		}
	}
}
