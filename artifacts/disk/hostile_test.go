package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// canary is a folder around the one that is written to, of which nothing may have changed in the end.
func canary(t *testing.T) (around, target string) {
	t.Helper()
	around = t.TempDir()
	target = filepath.Join(around, "target")
	write(t, filepath.Join(around, "secret"), "secret", 0o644)
	must(t, os.Mkdir(filepath.Join(around, "folder"), 0o755), os.Mkdir(target, 0o755))
	before := outside(t, around)
	t.Cleanup(func() {
		if after := outside(t, around); !slices.Equal(before, after) {
			t.Errorf("outside of the folder there was %q, and is %q", before, after)
		}
	})
	return around, target
}

func outside(t *testing.T, around string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(around, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "target" {
			return errors.Join(err, fs.SkipDir)
		}
		if d.IsDir() {
			all = append(all, p)
			return nil
		}
		b, err := os.ReadFile(p)
		all = append(all, p+"="+string(b))
		return err
	})
	if err != nil && !errors.Is(err, fs.SkipDir) {
		t.Fatal(err)
	}
	return all
}

// A manifest is the archive of the cache. Whatever names are in one, it is refused when it is read; and should one come
// to be written out all the same, it is refused again, before anything is written.
func TestHostileManifests(t *testing.T) {
	s := open(t, t.TempDir())
	evil := artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Sum([]byte("evil")), Size: 4}
	must(t, s.Put(t.Context(), evil, strings.NewReader("evil")))
	for name, paths := range map[string][]string{
		"absolute":               {"/secret"},
		"absolute, two slashes":  {"//secret"},
		"climbs":                 {"../secret"},
		"climbs within":          {"a/../../secret"},
		"climbs to the folder":   {"a/.."},
		"the folder itself":      {"."},
		"backslash":              {`..\secret`},
		"drive":                  {"C:/secret"},
		"drive without a slash":  {"c:secret"},
		"share":                  {`\\host\share`},
		"nothing":                {""},
		"NUL":                    {"a\x00../../secret"},
		"control character":      {"a\x1b[2J"},
		"twice":                  {"a", "a"},
		"letter case":            {"README", "readme"},
		"letter case, folders":   {"A/x", "a/y"},
		"letter case, German":    {"STRASSE", "straße"},
		"Unicode forms":          {"e\u0301", "\u00e9"},
		"one Unicode form, D":    {"e\u0301"},
		"Kelvin":                 {"\u212a", "k"},
		"a file and a folder":    {"a", "a/b"},
		"long name":              {strings.Repeat("x", 256)},
		"long path":              {strings.Repeat("x/", 600) + "x"},
		"not UTF-8":              {"\xff"},
		"a slash at the end":     {"a/"},
		"not sorted":             {"b", "a"},
		"an element of one dot":  {"a/./b"},
		"an element of no bytes": {"a//b"},
	} {
		t.Run(name, func(t *testing.T) {
			around, target := canary(t)
			m := &artifacts.Manifest{Type: "files"}
			text := `{"artifactType":"application/vnd.tinfra.files.v1","config":{"digest":"` + artifacts.Sum([]byte("{}")).String() +
				`","mediaType":"application/vnd.oci.empty.v1+json","size":2},"layers":[`
			for i, p := range paths {
				if p == "/secret" {
					p = filepath.Join(around, "secret")
				}
				m.Files = append(m.Files, artifacts.File{Path: p, Blob: evil})
				text += strings.Repeat(",", min(i, 1)) + layer(t, p, evil)
			}
			text += `],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}`
			if got, err := artifacts.DecodeManifest([]byte(text)); !errors.Is(err, artifacts.ErrDamaged) || !errors.Is(err, artifacts.ErrPath) && utf8.ValidString(paths[0]) {
				t.Errorf("decoded to %+v, %v", got, err)
			}
			if err := s.Extract(t.Context(), m, target); !errors.Is(err, artifacts.ErrPath) {
				t.Errorf("Extract = %v", err)
			}
			if _, err := s.Lay(t.Context(), m, filepath.Join(target, "in")); !errors.Is(err, artifacts.ErrPath) {
				t.Errorf("Lay = %v", err)
			}
			if left, err := os.ReadDir(target); err != nil || len(left) > 0 {
				t.Errorf("written: %v, %v", left, err)
			}
		})
	}
}

// layer is a file of a manifest, its name as it stands there.
func layer(t *testing.T, name string, b artifacts.Blob) string {
	t.Helper()
	quoted, err := artifacts.JCS(name)
	must(t, err)
	if !utf8.ValidString(name) {
		quoted = []byte(`"` + name + `"`) // JCS would mend it
	}
	return `{"annotations":{"org.opencontainers.image.title":` + string(quoted) + `},"digest":"` + b.Digest.String() +
		`","mediaType":"` + b.MediaType + `","size":` + strconv.FormatInt(b.Size, 10) + `}`
}

// What lies in the folder already is not written through: a link, to a file or a folder, a hard link, a pipe, a device.
func TestHostileFolders(t *testing.T) {
	s := open(t, t.TempDir())
	evil := artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Sum([]byte("evil")), Size: 4}
	must(t, s.Put(t.Context(), evil, strings.NewReader("evil")))
	for name, c := range map[string]struct {
		file  string
		plant func(around, target string) error
	}{
		"a link to a file": {"a", func(around, target string) error {
			return os.Symlink(filepath.Join(around, "secret"), filepath.Join(target, "a"))
		}},
		"a relative link": {"a", func(_, target string) error { return os.Symlink("../secret", filepath.Join(target, "a")) }},
		"a link to nothing": {"a", func(around, target string) error {
			return os.Symlink(filepath.Join(around, "new"), filepath.Join(target, "a"))
		}},
		"a link to a folder": {"a/b", func(around, target string) error {
			return os.Symlink(filepath.Join(around, "folder"), filepath.Join(target, "a"))
		}},
		"links over a corner": {"a/b/new", func(_, target string) error {
			return errors.Join(os.Mkdir(filepath.Join(target, "a"), 0o755), os.Symlink("../..", filepath.Join(target, "a", "b")))
		}},
		"a hard link": {"a", func(around, target string) error {
			return os.Link(filepath.Join(around, "secret"), filepath.Join(target, "a"))
		}},
		"a named pipe":         {"a", func(_, target string) error { return syscall.Mkfifo(filepath.Join(target, "a"), 0o600) }},
		"a folder of its name": {"a", func(_, target string) error { return os.Mkdir(filepath.Join(target, "a"), 0o755) }},
	} {
		t.Run(name, func(t *testing.T) {
			around, target := canary(t)
			must(t, c.plant(around, target))
			m := &artifacts.Manifest{Type: "files", Files: []artifacts.File{{Path: c.file, Blob: evil}}}
			if err := s.Extract(t.Context(), m, target); err == nil {
				t.Error("Extract wrote there")
			}
			if _, err := s.Lay(t.Context(), m, target); err == nil {
				t.Error("Lay wrote there")
			}
		})
	}
}
