package env

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// member is a file of a wheel.
type member struct {
	name, text string
	mode       fs.FileMode
}

// wheel is one of six 1.17.0 with more in it. The list of what is in it is true, so that nothing but the names can be at
// fault.
func wheel(t *testing.T, more ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	record := ""
	for _, m := range slices.Concat(
		[]member{{"six.py", "__version__ = '1.17.0'\n", 0o644}}, more,
		[]member{
			{"six-1.17.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: six\nVersion: 1.17.0\n", 0o644},
			{"six-1.17.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n", 0o644},
			{"six-1.17.0.dist-info/RECORD", "", 0o644},
		}) {
		record += m.name + ",,\n"
		if strings.HasSuffix(m.name, "/RECORD") {
			m.text = record
		}
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(m.mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A lock pins bytes and not intentions: a wheel that is what the lock says may still mean harm. uv unpacks it; what counts
// is that nothing comes to lie outside of the environment and of uv's own cache. All harm in one wheel takes a second; the
// long form tries each alone too, as uv may come to refuse one before it has seen the next.
func TestSoakHostileWheelsStayInside(t *testing.T) {
	around := t.TempDir()
	links, uvCache, cache := filepath.Join(around, "links"), filepath.Join(around, "uv"), filepath.Join(around, "cache")
	secret := filepath.Join(around, "folder", "secret")
	for _, dir := range []string{links, filepath.Dir(secret)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("UV_FIND_LINKS", links)
	t.Setenv("UV_NO_INDEX", "1")
	t.Setenv("UV_CACHE_DIR", uvCache)
	up := strings.Repeat("../", 30) + strings.TrimPrefix(secret, "/")
	all := []member{
		{secret, "evil", 0o644}, // absolute
		{up, "evil", 0o644},
		{"../../../../../../secret", "evil", 0o644},
		{"six/../" + up, "evil", 0o644},
		{"six-1.17.0.data/data/" + secret, "evil", 0o644},
		{"six-1.17.0.data/data/" + up, "evil", 0o644},
		{"six-1.17.0.data/scripts/" + up, "evil", 0o755},
		{"link", secret, fs.ModeSymlink | 0o777},
		{"six_folder", filepath.Dir(secret), fs.ModeSymlink | 0o777},
		{"six_folder/secret", "evil", 0o644}, // behind the link
		{`..\..\secret`, "evil", 0o644},
		{"device", "evil", fs.ModeDevice | fs.ModeCharDevice | 0o666},
		{"six.py", "evil", 0o644}, // twice
	}
	cases := [][]member{nil, all[:9]}
	if os.Getenv("TINFRA_SOAK") != "" {
		for i := range all {
			cases = append(cases, all[i:i+1])
		}
		cases = append(cases, all[8:10])
	}
	for i, more := range cases {
		whl := wheel(t, more...)
		if err := os.WriteFile(filepath.Join(links, "six-1.17.0-py3-none-any.whl"), whl, 0o644); err != nil {
			t.Fatal(err)
		}
		s := NewSet(fstest.MapFS{
			"tiny/env.hcl":           {Data: []byte("doc = \"x\"\npython = [\"3.11\", \"3.12\", \"3.13\", \"3.14\"]")},
			"tiny/requirements.lock": {Data: fmt.Appendf(nil, "six==1.17.0 --hash=sha256:%x\n", sha256.Sum256(whl))},
		}, filepath.Join(cache, fmt.Sprint(i)), false)
		before := below(t, around, uvCache, cache, links)
		ready, err := s.Install(t.Context(), "tiny", func(string) {})
		if after := below(t, around, uvCache, cache, links); !slices.Equal(before, after) {
			t.Errorf("%v: outside of the environment there was %q, and is %q", more, before, after)
		}
		t.Logf("%v: %v", more, err)
		switch {
		case err == nil:
			works(t, ready.Python)
			noWayOut(t, filepath.Dir(filepath.Dir(ready.Python)))
		case more == nil:
			t.Errorf("a wheel with nothing wrong: %v", err)
		}
	}
}

// below is what lies in a folder, but for some.
func below(t *testing.T, root string, but ...string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(but, p):
			return fs.SkipDir
		case d.IsDir():
			all = append(all, p)
			return nil
		}
		b, err := os.ReadFile(p)
		all = append(all, p+"="+string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// noWayOut fails where a package brought a link, which would lead writers elsewhere later.
func noWayOut(t *testing.T, root string) {
	t.Helper()
	packages, err := filepath.Glob(filepath.Join(root, "lib", "python*", "site-packages", "*"))
	if err != nil || len(packages) == 0 {
		t.Fatalf("%v, %v", packages, err)
	}
	for _, p := range packages {
		if fi, err := os.Lstat(p); err != nil || fi.Mode()&(fs.ModeSymlink|fs.ModeDevice) != 0 {
			t.Errorf("%s was installed as %v, %v", p, fi.Mode(), err)
		}
	}
}
