package recipe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestProjectIsFoundUpwards(t *testing.T) {
	top := t.TempDir()
	deep := filepath.Join(top, "a", "b")
	for _, dir := range []string{deep, filepath.Join(top, "kinds")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p, diags := LoadProject(deep, nil)
	if p == nil || p.Path != "" || p.Dir != deep || len(diags) > 0 {
		t.Fatalf("without a file: %+v %v", p, diags)
	}
	text := `
cache = "cache"
jobs  = 3
kinds = ["./kinds"]
download {
  allowed_hosts = ["example.org"]
  endpoint      = "https://mirror.example.org/hub/"
}
executor "local" {
  cpus       = 1.5
  memory_gib = 8
  gpus       = ["0", "2"]
}
`
	if err := os.WriteFile(filepath.Join(top, ProjectFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, diags = LoadProject(deep, nil)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if p.Dir != top || p.Cache != filepath.Join(top, "cache") || p.Jobs != 3 || !slices.Equal(p.Kinds, []string{filepath.Join(top, "kinds")}) ||
		!slices.Equal(p.AllowedHosts, []string{"example.org"}) || p.Endpoint != "https://mirror.example.org/hub" || p.Local.CPUs != 1.5 || p.Local.MemoryGiB != 8 || !slices.Equal(p.Local.GPUs, []string{"0", "2"}) {
		t.Errorf("%+v", p)
	}
}

func TestWrongProjects(t *testing.T) {
	text := `
cach = "x"
jobs = 0
kinds = ["./none"]
cache = ""
executor "slurm" {
}
download {
  allowed_hosts = ["https://example.org"]
  hosts = []
}
download {
}
executor "local" {
  cpus = "many"
  gpus = ["0", "0"]
}
`
	dir := filepath.Dir(write(t, ProjectFile, text))
	_, diags := LoadProject(dir, nil)
	want := []string{`Did you mean cache?`, "from 1 to 4096", "There is no folder ./none", "cache is empty", `no block "executor slurm"`,
		"is no host name", `no setting "hosts"`, "one download block", "cpus is a number", `"0" twice`}
	if len(diags) != len(want) {
		t.Errorf("%d diagnostics, want %d: %v", len(diags), len(want), diags.Errs())
	}
	for i, d := range diags {
		if i < len(want) && !strings.Contains(d.Detail, want[i]) {
			t.Errorf("%q, want it to say %q", d.Detail, want[i])
		}
	}
}

func TestHomeInPaths(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	absolute := filepath.Join(home, "abs")
	for given, want := range map[string]string{"~/c": filepath.Join(home, "c"), absolute: absolute} {
		p, diags := LoadProject(filepath.Dir(write(t, ProjectFile, "cache = \""+given+"\"\n")), nil)
		if len(diags) > 0 || p.Cache != want {
			t.Errorf("cache = %q is %q, want %q: %v", given, p.Cache, want, diags)
		}
	}
}

func TestWrongEndpoints(t *testing.T) {
	for given, says := range map[string]string{
		`"mirror.example.org"`:               "is no address",
		`"ftp://mirror.example.org"`:         "is no address",
		`"https://mirror.example.org?a=b"`:   "is no address",
		`"https://me:pw@mirror.example.org"`: "must hold no password",
		`["https://mirror.example.org"]`:     "endpoint is an address",
	} {
		p, diags := LoadProject(filepath.Dir(write(t, ProjectFile, "download {\n  endpoint = "+given+"\n}\n")), nil)
		if len(diags) != 1 || !strings.Contains(diags[0].Detail, says) || strings.Contains(diags[0].Detail, "pw") || p.Endpoint != "" {
			t.Errorf("%s: %v, %q", given, diags, p.Endpoint)
		}
	}
}
