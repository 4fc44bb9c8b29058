package env

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	packFormat  = 1
	packName    = "pack.json" // the first member
	maxPackName = 16 << 20    // bytes of it
	wheelsDir   = "wheels"
	uvDir       = "uv"

	// packWindow is how far back compression looks. Libraries hold the same kernels for many GPUs, far apart.
	packWindow = 512 << 20
)

// packList says what a pack holds. What is unpacked must be in the locks of the tinfra that unpacks it too: of a pack that
// somebody has changed, nothing is installed.
type packList struct {
	Format      int          `json:"format"`
	Name        string       `json:"name"`
	Description description  `json:"description"` // of the environment on the machine that it is for
	Interpreter string       `json:"interpreter,omitempty"`
	LeftOut     []string     `json:"left_out,omitempty"` // of the lock: what that machine has, or nobody asked for
	Members     []packMember `json:"members"`
}

type packMember struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func (l *packList) bytes() int64 {
	var sum int64
	for _, m := range l.Members {
		sum += m.Size
	}
	return sum
}

// natives are the files of native parts that are in the pack.
func (l *packList) natives(d *declaration) []nativeFile {
	return slices.DeleteFunc(d.nativeFiles(), func(f nativeFile) bool {
		return !slices.ContainsFunc(l.Members, func(m packMember) bool { return m.Path == nativeDir+"/"+f.To })
	})
}

func readPackList(r io.Reader) (*packList, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPackName+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPackName {
		return nil, fmt.Errorf("its %s is too long", packName)
	}
	var l packList
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("its %s is not readable: %w", packName, err)
	}
	if l.Format != packFormat {
		return nil, fmt.Errorf("it is of format %d; this tinfra knows %d", l.Format, packFormat)
	}
	return &l, nil
}

// trusted is what a pack may hold: sha256 in hex by folder and, for native files, by name.
type trusted struct {
	wheels, uv map[string]bool
	native     map[string]string
}

var anyHash = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`--hash=sha256:([0-9a-f]{64})`) })

// trust reads what the locks say, of this machine and not of the pack.
func (s *Set) trust(d *declaration) (*trusted, error) {
	t := &trusted{wheels: map[string]bool{}, uv: map[string]bool{}, native: map[string]string{}}
	for _, r := range requirements(d.lock) {
		for _, hash := range r.Hashes {
			t.wheels[hash] = true
		}
	}
	lock, err := fs.ReadFile(s.roots[0], uvLock)
	if err != nil {
		return nil, fmt.Errorf("reading the lock of uv: %w", err)
	}
	for _, found := range anyHash().FindAllSubmatch(lock, -1) {
		t.uv[string(found[1])] = true
	}
	for _, line := range d.nativeLines() {
		if name, hash, ok := strings.Cut(line, " sha256:"); ok {
			t.native[name] = hash
		}
	}
	return t, nil
}

// check refuses a list with anything that the locks do not name, before any of it is written.
func (t *trusted) check(l *packList) error {
	seen := map[string]bool{}
	for _, m := range l.Members {
		dir, rest, _ := strings.Cut(m.Path, "/")
		ok := false
		switch dir {
		case wheelsDir:
			ok = t.wheels[m.SHA256] && wheelName(rest)
		case uvDir:
			ok = t.uv[m.SHA256] && wheelName(rest)
		case nativeDir:
			ok = t.native[rest] == m.SHA256 && m.SHA256 != ""
		}
		switch {
		case !fs.ValidPath(m.Path) || seen[m.Path] || m.Size < 0:
			return fmt.Errorf("it has %q, which is no name of a member", m.Path)
		case !ok:
			return fmt.Errorf("it has %q, which is not in the lock of environment %s here: it was packed by another version of tinfra, or somebody has changed it", m.Path, l.Name)
		}
		seen[m.Path] = true
	}
	return nil
}

func wheelName(name string) bool {
	return strings.HasSuffix(name, ".whl") && name == path.Base(name) && !strings.ContainsAny(name, `\`)
}

// same says how an environment here differs from the one that was packed.
func (l *packList) same(here description) error {
	d := l.Description
	var errs []error
	for _, one := range [][3]string{
		{"operating system", d.OS, here.OS}, {"processor", d.Arch, here.Arch}, {"C library", d.Libc, here.Libc}, {"Python", d.Python, here.Python},
	} {
		if one[1] != one[2] {
			errs = append(errs, fmt.Errorf("it was packed for the %s %s; here is %s", one[0], one[1], one[2]))
		}
	}
	if !slices.Equal(d.Lock, here.Lock) || !slices.Equal(d.Native, here.Native) {
		errs = append(errs, errors.New("it was packed of another lock: use the tinfra of the same version on both machines"))
	}
	return errors.Join(errs...)
}
