// Package reading remembers what a plan was made from: files, folders, names with nothing behind them, variables of the
// environment. It knows how to tell cheaply whether all of that would be read again as it was. It must not know what was
// read for which purpose, nor anything of caches.
package reading

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Log takes down what is read. A nil Log takes down nothing, and reads all the same. Its methods may be called at once.
type Log struct {
	now func() time.Time

	mu        sync.Mutex // guards what follows
	files     map[string]sight
	kinds     map[string]Kind
	folders   map[string]sight
	variables map[string]Variable
	spoilt    bool // something was read that cannot be taken down
}

// NewLog is an empty one.
func NewLog() *Log {
	return &Log{
		now: time.Now, files: map[string]sight{}, kinds: map[string]Kind{}, folders: map[string]sight{}, variables: map[string]Variable{},
	}
}

// Readings are all that was taken down. ok is false where that is not all that was read, or where a file was read twice and
// had changed in between.
func (l *Log) Readings() (_ Readings, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Readings{Kinds: slices.Collect(maps.Values(l.kinds)), Variables: slices.Collect(maps.Values(l.variables))}
	for path, seen := range l.files {
		r.Files = append(r.Files, fileAt(path, seen))
	}
	for path, seen := range l.folders {
		r.Folders = append(r.Folders, Folder{path, seen})
	}
	slices.SortFunc(r.Files, func(a, b File) int { return a.compare(&b) })
	return r, !l.spoilt
}

// Spoil says that something was read which cannot be taken down.
func (l *Log) Spoil() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spoilt = true
}

// note keeps the first reading of a thing; another one must say the same.
func note[V interface{ Says(V) bool }](l *Log, into map[string]V, name string, v V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, ok := into[name]
	switch {
	case !ok:
		into[name] = v
	case !was.Says(v):
		l.spoilt = true
	}
}

// Says tells whether another reading of the same file or folder found the same. One that was young the first time may be so no
// longer.
func (s sight) Says(t sight) bool { return s.Look == t.Look && s.Digest == t.Digest }

// Says does the same of a path.
func (k Kind) Says(m Kind) bool { return k == m }

// Says does the same of a variable.
func (v Variable) Says(w Variable) bool { return v == w }

// absolute is "" where this process has no working folder.
func (l *Log) absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		l.Spoil()
		return ""
	}
	return abs
}

// ReadFile is os.ReadFile.
func (l *Log) ReadFile(path string) ([]byte, error) {
	began, before, lerr := l.begin(path)
	b, err := os.ReadFile(path)
	l.fileRead(path, began, before, errors.Join(lerr, err), func() artifacts.Digest { return artifacts.Sum(b) })
	return b, err
}

// begin is the time and the look of a file before it is read.
func (l *Log) begin(path string) (began time.Time, before look, err error) {
	if l == nil {
		return began, before, nil
	}
	began = l.now()
	before, err = lookAt(path)
	return began, before, err
}

func (l *Log) fileRead(path string, began time.Time, before look, err error, sum func() artifacts.Digest) {
	switch {
	case l == nil:
	case errors.Is(err, fs.ErrNotExist):
		l.kindOf(path, absent)
	case err != nil:
		l.Spoil()
	default:
		abs := l.absolute(path)
		note(l, l.files, abs, sight{Look: before, Digest: sum(), Young: before.young(began)})
	}
}

// FileRead takes down a file that was read by others: its digest, and that this was begun after began. It looks at the file only
// now, so one that was changed since then counts as not looked at.
func (l *Log) FileRead(path string, began time.Time, d artifacts.Digest) {
	if l == nil {
		return
	}
	now, err := lookAt(path)
	abs := l.absolute(path)
	note(l, l.files, abs, sight{Look: now, Digest: d, Young: err != nil || now.young(began)})
}

// AllAgain takes down what an earlier plan read, and that stands: Compare has just found it so.
func (l *Log) AllAgain(r *Readings) {
	if l == nil {
		return
	}
	for _, f := range r.Files {
		note(l, l.files, f.path(), f.sight)
	}
	for _, f := range r.Folders {
		note(l, l.folders, f.Path, f.sight)
	}
	for _, k := range r.Kinds {
		note(l, l.kinds, k.Path, k)
	}
	for _, v := range r.Variables {
		note(l, l.variables, v.Name, v)
	}
}

// Stat is os.Stat. What counts of its answer is whether something is there, and of which kind.
func (l *Log) Stat(path string) (fs.FileInfo, error) {
	fi, err := os.Stat(path)
	l.kindRead(path, fi, err)
	return fi, err
}

// Failed takes down that nothing could be read at a path.
func (l *Log) Failed(path string, err error) { l.kindRead(path, nil, err) }

func (l *Log) kindRead(path string, fi fs.FileInfo, err error) {
	switch {
	case l == nil:
	case err == nil:
		l.kindOf(path, kindOf(fi.Mode()))
	case missing(err):
		l.kindOf(path, absent)
	default:
		l.Spoil()
	}
}

func (l *Log) kindOf(path, kind string) {
	abs := l.absolute(path)
	note(l, l.kinds, abs, Kind{abs, kind})
}

func (l *Log) folderRead(path string, before look, began time.Time, list []fs.DirEntry, err error) {
	switch {
	case l == nil:
	case missing(err):
		l.kindOf(path, absent)
	case err != nil:
		l.Spoil()
	default:
		abs := l.absolute(path)
		note(l, l.folders, abs, sight{Look: before, Digest: listing(list), Young: before.young(began)})
	}
}

// TextRead is FileRead of a file's bytes.
func (l *Log) TextRead(path string, began time.Time, b []byte) {
	if l != nil {
		l.FileRead(path, began, artifacts.Sum(b))
	}
}

// LookupEnv is os.LookupEnv.
func (l *Log) LookupEnv(name string) (string, bool) {
	value, ok := os.LookupEnv(name)
	if l != nil {
		note(l, l.variables, name, variableOf(name))
	}
	return value, ok
}

// Environ is os.Environ, of which only the variables whose names begin with prefix count.
func (l *Log) Environ(prefix string) []string {
	if l != nil {
		name := prefix + "*"
		note(l, l.variables, name, variableOf(name))
	}
	return os.Environ()
}

func variableOf(name string) Variable {
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		all := slices.DeleteFunc(os.Environ(), func(pair string) bool { return !strings.HasPrefix(pair, prefix) })
		slices.Sort(all)
		return Variable{name, len(all) > 0, artifacts.Sum([]byte(strings.Join(all, "\x00")))}
	}
	value, ok := os.LookupEnv(name)
	return Variable{name, ok, artifacts.Sum([]byte(value))}
}
