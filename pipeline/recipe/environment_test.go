package recipe

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestMavenIsAnAddressOrAFolder(t *testing.T) {
	for given, want := range map[string]string{"https://jars.example.org/maven2/": "https://jars.example.org/maven2", "jars": "@/jars"} {
		dir := filepath.Dir(write(t, ProjectFile, "maven = \""+given+"\"\n"))
		p, diags := LoadProject(dir, nil)
		if len(diags) > 0 || p.Maven != strings.Replace(want, "@", dir, 1) {
			t.Errorf("maven = %q is %q: %v", given, p.Maven, diags)
		}
	}
	for given, says := range map[string]string{"https://me:pw@example.org": "TINFRA_MAVEN", "ftp://example.org": "is no address", "": "is empty"} {
		_, diags := LoadProject(filepath.Dir(write(t, ProjectFile, "maven = \""+given+"\"\n")), nil)
		if len(diags) != 1 || !strings.Contains(diags[0].Detail, says) || strings.Contains(diags[0].Detail, "pw") {
			t.Errorf("maven = %q: %v", given, diags)
		}
	}
}
