package env

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const libraryText = "a library, so to say\n"

// jarOf is a jar of a few kilobytes that holds one library, and what nobody asks for.
func jarOf(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{"org/x/lib.so.1": libraryText, "META-INF/other": strings.Repeat("other ", 500)} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// nativeBlock declares a jar with its library.
func nativeBlock(t *testing.T, jar []byte) string {
	t.Helper()
	here := here(t)
	return fmt.Sprintf(`native "thing" {
  maven  = "org.x:thing:1.0:jar:linux"
  sha256 = "%x"
  size   = %d
  os     = %q
  arch   = %q
  file "org/x/lib.so.1" {
    sha256 = "%x"
    to     = "lib/lib.so.1"
  }
}
`, sha256.Sum256(jar), len(jar), here.OS, here.Arch, sha256.Sum256([]byte(libraryText)))
}

func here(t *testing.T) description {
	t.Helper()
	blob, err := tiny(t.TempDir(), true).Blob(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.Unmarshal(blob, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// nativeSet is the environment tiny with more in its env.hcl, of a machine that knows a repository.
func nativeSet(t *testing.T, cache, block, maven string) *Set {
	t.Helper()
	text, err := os.ReadFile("testdata/envs/tiny/env.hcl")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile("testdata/envs/tiny/requirements.lock")
	if err != nil {
		t.Fatal(err)
	}
	s := NewSet(fstest.MapFS{
		"tiny/env.hcl": {Data: []byte(string(text) + "\n" + block)}, "tiny/requirements.lock": {Data: lock},
	}, cache, false)
	s.Use(Local{Maven: maven})
	return s
}

// repository is a folder that holds a jar as Maven lays it.
func repository(t *testing.T, jar []byte) string {
	t.Helper()
	dir := t.TempDir()
	layJar(t, dir, jar)
	return dir
}

func layJar(t *testing.T, dir string, jar []byte) {
	t.Helper()
	at := filepath.Join(dir, "org", "x", "thing", "1.0", "thing-1.0-linux.jar")
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, jar, 0o644); err != nil {
		t.Fatal(err)
	}
}

func digestOf(t *testing.T, s *Set) artifacts.Digest {
	t.Helper()
	blob, err := s.Blob(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	return artifacts.Sum(blob)
}

func TestNativePartsAreInTheDigest(t *testing.T) {
	jar := jarOf(t)
	block := nativeBlock(t, jar)
	plain, with := digestOf(t, nativeSet(t, t.TempDir(), "", "")), digestOf(t, nativeSet(t, t.TempDir(), block, ""))
	if plain == with {
		t.Error("a native part does not change the digest")
	}
	elsewhere := strings.NewReplacer("org.x:thing:1.0", "org.y:that:2.0", fmt.Sprintf("%x", sha256.Sum256(jar)), strings.Repeat("0", 64)).Replace(block)
	if digestOf(t, nativeSet(t, t.TempDir(), elsewhere, "")) != with {
		t.Error("where a library comes from changes the digest")
	}
	other := strings.Replace(block, fmt.Sprintf("%x", sha256.Sum256([]byte(libraryText))), strings.Repeat("0", 64), 1)
	if digestOf(t, nativeSet(t, t.TempDir(), other, "")) == with {
		t.Error("another library does not change the digest")
	}
}

// Keys of stages hold it: what was built before there were native parts is found again.
func TestAnEnvironmentWithoutNativePartsKeepsItsDigest(t *testing.T) {
	d := declaration{lock: []string{"six==1.17.0 --hash=sha256:aa"}}
	blob, err := artifacts.JCS(description{OS: "linux", Arch: "x86_64", Libc: "glibc", Python: "3.12", Lock: d.lock, Native: d.nativeLines()})
	if err != nil {
		t.Fatal(err)
	}
	const golden = `{"arch":"x86_64","libc":"glibc","lock":["six==1.17.0 --hash=sha256:aa"],"native":[],"os":"linux","python":"3.12"}`
	if string(blob) != golden {
		t.Errorf("%s", blob)
	}
}

func TestJarFromAFolderTheLocalRepositoryMavenOrAnAddress(t *testing.T) {
	jar := jarOf(t)
	block := nativeBlock(t, jar)
	server := httptest.NewServer(http.FileServer(http.Dir(repository(t, jar))))
	defer server.Close()
	home := t.TempDir()
	layJar(t, filepath.Join(home, ".m2", "repository"), jar)
	mvn := t.TempDir()
	script := "#!/bin/sh\nfor a; do case $a in -Dmaven.repo.local=*) cp -r '" + repository(t, jar) + "' \"${a#*=}\";; esac; done\n"
	if err := os.WriteFile(filepath.Join(mvn, "mvn"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ maven, home, path string }{
		"a folder":             {maven: repository(t, jar), home: t.TempDir()},
		"the local repository": {home: home},
		"mvn":                  {home: t.TempDir(), path: mvn + ":"},
		"an address":           {maven: server.URL, home: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", c.home)
			t.Setenv("PATH", c.path+os.Getenv("PATH"))
			cache := t.TempDir()
			s := nativeSet(t, cache, block, c.maven)
			ready, err := s.Install(t.Context(), "tiny", nil)
			if err != nil {
				t.Fatal(err)
			}
			works(t, ready.Python)
			dir := filepath.Dir(filepath.Dir(ready.Python))
			if want := []string{filepath.Join(dir, "native", "lib")}; !slices.Equal(ready.Libraries, want) {
				t.Errorf("libraries %q, not %q", ready.Libraries, want)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "native", "lib", "lib.so.1")); err != nil || string(got) != libraryText {
				t.Errorf("%q, %v", got, err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "native", ".part*")); len(left) > 0 {
				t.Errorf("%q was left", left)
			}
			onlyEnvironments(t, cache)
		})
	}
}

func TestJarIsVerifiedBeforeUse(t *testing.T) {
	jar := jarOf(t)
	block := nativeBlock(t, jar)
	longer := append(slices.Clone(jar), 'x')
	other := slices.Clone(jar)
	other[40] ^= 1
	server := httptest.NewServer(http.FileServer(http.Dir(repository(t, other))))
	defer server.Close()
	for name, c := range map[string]struct{ block, maven, says string }{
		"another jar in a folder":  {block, repository(t, other), "its sha256 is"},
		"another jar by address":   {block, server.URL, "its sha256 is"},
		"a longer jar":             {block, repository(t, longer), fmt.Sprintf("it does not have %d bytes", len(jar))},
		"no jar in the folder":     {block, t.TempDir(), "no such file"},
		"no jar at the address":    {block, server.URL + "/other", "404"},
		"no address of the web":    {block, "file:///srv/maven", "a folder is named by its path"},
		"another file in the jar":  {strings.Replace(block, fmt.Sprintf("%x", sha256.Sum256([]byte(libraryText))), strings.Repeat("1", 64), 1), repository(t, jar), "org/x/lib.so.1: its sha256 is"},
		"no such file in the jar":  {strings.Replace(block, "org/x/lib.so.1", "org/x/lib.so.2", 1), repository(t, jar), "org/x/lib.so.2"},
		"another operating system": {strings.Replace(block, fmt.Sprintf("os     = %q", here(t).OS), `os     = "plan9"`, 1), repository(t, jar), "thing is for plan9"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			_, err := nativeSet(t, cache, c.block, c.maven).Install(t.Context(), "tiny", nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			if found, _ := filepath.Glob(filepath.Join(cache, "env", "[^.]*")); len(found) > 0 {
				t.Errorf("%q was left", found)
			}
		})
	}
}

func TestWithoutARepository(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	python, err := tiny(t.TempDir(), true).python(t.Context(), []string{"3.11", "3.12", "3.13", "3.14"})
	if err != nil {
		t.Fatal(err)
	}
	tools := t.TempDir()
	for name, at := range map[string]string{"uv": onPath("uv")[0], "python3": python.Path} {
		if err := os.Symlink(at, filepath.Join(tools, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", tools)
	_, err = nativeSet(t, t.TempDir(), nativeBlock(t, jarOf(t)), "").Install(t.Context(), "tiny", nil)
	for _, want := range []string{MavenVariable, "`maven` in tinfra.hcl", "~/.m2/repository", "install mvn"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// A library that was damaged after it was installed is found by its size in a build, and by its sum in a check of the cache.
func TestDamagedNativeParts(t *testing.T) {
	jar := jarOf(t)
	cache := t.TempDir()
	fresh := func() *Set { return nativeSet(t, cache, nativeBlock(t, jar), repository(t, jar)) }
	ready, err := fresh().Install(t.Context(), "tiny", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(ready.Libraries[0], "lib.so.1")
	if err := os.WriteFile(at, []byte(strings.ToUpper(libraryText)), 0o644); err != nil {
		t.Fatal(err)
	}
	var found []error
	if err := fresh().Verify(t.Context(), func(_ artifacts.Digest, why error) error { found = append(found, why); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || !strings.Contains(found[0].Error(), "native/lib/lib.so.1 is not as its package brought it") {
		t.Errorf("found %v", found)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh().Install(t.Context(), "tiny", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(at); err != nil || string(got) != libraryText {
		t.Errorf("after the repair: %q, %v", got, err)
	}
}

func TestNativeBlocksThatAreWrong(t *testing.T) {
	good := nativeBlock(t, jarOf(t))
	head := "doc = \"x\"\npython = [\"3.11\"]\n"
	if _, err := decode([]byte(head+good), "env.hcl"); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"org.x:thing:1.0:jar:linux", "org.x:thing", "group:artifact:version"},
		{"org.x:thing:1.0:jar:linux", "org.x:thing:../..:jar", "group:artifact:version"},
		{"lib/lib.so.1", "../lib.so.1", "no file below"},
		{"lib/lib.so.1", "/lib.so.1", "no file below"},
		{"lib/lib.so.1", "lib//lib.so.1", "no file below"},
		{"lib/lib.so.1", "RECORD", "no file below"},
		{"sha256 = \"", "sha256 = \"x", "64 hexadecimal"},
		{"  size   =", "  size   = 0 *", "size is the jar's"},
		{"  file \"org/x/lib.so.1\" {", "  file \"a\" {\n sha256 = \"" + strings.Repeat("0", 64) + "\"\n to = \"lib/lib.so.1\"\n }\n  file \"org/x/lib.so.1\" {", "two files"},
		{"arch   =", "arch2   =", "arch"},
	} {
		text := strings.Replace(good, c[0], c[1], 1)
		if _, err := decode([]byte(head+text), "env.hcl"); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%q in place of %q: %v, which does not say %q", c[1], c[0], err, c[2])
		}
	}
}

func TestHashingEndsWithItsBuild(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("enough")
	cancel(over)
	d := declaration{Natives: []native{{Files: []nativeFile{{To: "x"}}}}}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.sameNatives(ctx, dir); !errors.Is(err, over) {
		t.Errorf("%v", err)
	}
}

// What lies in the user's own repository is what an install takes, so its size counts whether there is an mvn or not.
func TestNativesTellOfAnotherJarInTheUsersRepository(t *testing.T) {
	home, tools, jar := t.TempDir(), t.TempDir(), jarOf(t)
	layJar(t, filepath.Join(home, ".m2", "repository"), append(slices.Clone(jar), 'x'))
	if err := os.WriteFile(filepath.Join(tools, "mvn"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	s := nativeSet(t, t.TempDir(), nativeBlock(t, jar), "")
	all, err := s.Natives(t.Context(), "tiny")
	if err != nil || len(all) != 1 || !strings.Contains(all[0].Lacks, fmt.Sprintf("it does not have %d bytes", len(jar))) {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := s.Install(t.Context(), "tiny", nil); !errors.Is(err, errOtherJar) {
		t.Errorf("%v", err)
	}
}
