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

func TestEnvironmentsOfThisMachine(t *testing.T) {
	dir := filepath.Dir(write(t, ProjectFile, `
environment "gpu" {
  python  = "/opt/venv/bin/python3"
  overlay = "overlay"
  native  = "overlay/native"
}
environment "fetch" {
  python = "venv/bin/python"
}
`))
	p, diags := LoadProject(dir, nil)
	if len(diags) > 0 || len(p.Environments) != 2 {
		t.Fatalf("%+v, %v", p.Environments, diags)
	}
	gpu, fetch := p.Environments[0], p.Environments[1]
	if gpu.Name != "gpu" || gpu.Python != "/opt/venv/bin/python3" || gpu.Overlay != filepath.Join(dir, "overlay") || gpu.Native != filepath.Join(dir, "overlay", "native") || gpu.Range.Start.Line != 2 {
		t.Errorf("%+v", gpu)
	}
	if fetch.Name != "fetch" || fetch.Python != filepath.Join(dir, "venv/bin/python") || fetch.Overlay != "" || fetch.Native != "" {
		t.Errorf("%+v", fetch)
	}
}

func TestWrongEnvironments(t *testing.T) {
	for text, says := range map[string]string{
		`environment "gpu" {}`:                                                             "write `python`",
		`environment { python = "/p" }`:                                                    `no block "environment"`,
		`environment "gpu" "b" { python = "/p" }`:                                          `no block "environment gpu b"`,
		`environment "gpu" { python = "" }`:                                                "python is empty",
		"environment \"gpu\" {\n python = \"/p\"\n lock = \"/q\"\n}":                       `no setting "lock"`,
		"environment \"gpu\" { python = \"/p\" }\nenvironment \"gpu\" { python = \"/q\" }": "one environment gpu block",
	} {
		_, diags := LoadProject(filepath.Dir(write(t, ProjectFile, text+"\n")), nil)
		if len(diags) != 1 || !strings.Contains(diags[0].Detail, says) {
			t.Errorf("%s: %v", text, diags)
		}
	}
}
