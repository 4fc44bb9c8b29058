// Package env is the locked Python environments that workers run in. It knows how an environment is declared, what
// identifies it, and how it is installed under the cache. It must not know kinds, recipes or keys.
package env

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/gofrs/flock"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	declarationFile = "env.hcl"
	lockFile        = "requirements.lock"
)

// ErrOffline: the environment is not installed, and nothing may be fetched.
var ErrOffline = errors.New("not installed, and the build is offline; build once without --offline, or bring a pack of it (`tinfra env unpack`)")

// Set is the environments that kinds may name, and where they are installed. Its methods may be called at once.
type Set struct {
	roots   []fs.FS // folders of environments; the first is tinfra's own and holds uv.lock
	cache   string
	offline bool
	local   Local
	from    *source // a pack that all comes from; nil: networks

	mu       sync.Mutex // guards what is found out once
	pythons  map[string]*interpreter
	declared map[string]*declaration // of each name in blobs
	blobs    map[string][]byte
	held     map[artifacts.Digest]*flock.Flock // of environments that Install has given out
	sound    map[artifacts.Digest]bool         // whose files were all looked at
	asked    map[string]*asked                 // own interpreters

	reading sync.Mutex             // held while native parts of own interpreters are read; before mu
	read    map[string]os.FileInfo // those, as they were then
}

// NewSet reads environments from root and installs them under cacheDir.
func NewSet(root fs.FS, cacheDir string, offline bool) *Set {
	// Workers are started in another folder than this one.
	if abs, err := filepath.Abs(cacheDir); err == nil {
		cacheDir = abs
	}
	return &Set{
		roots: []fs.FS{root}, cache: cacheDir, offline: offline,
		pythons: map[string]*interpreter{}, declared: map[string]*declaration{}, blobs: map[string][]byte{}, held: map[artifacts.Digest]*flock.Flock{}, sound: map[artifacts.Digest]bool{},
		asked: map[string]*asked{}, read: map[string]os.FileInfo{},
	}
}

// Local is what this machine says of environments.
type Local struct {
	Maven string         // repository of jars, an address or a folder; "": the user's own
	Own   map[string]Own // by environment
}

// Use takes what this machine says. Call it before the others.
func (s *Set) Use(l Local) { s.local = l }

// Add takes a further folder of environments, such as env/ beside a project's own kinds. Call it before the others.
func (s *Set) Add(root fs.FS) error {
	found, err := fs.Glob(root, "*/"+declarationFile)
	if err != nil {
		return fmt.Errorf("reading a folder of environments: %w", err)
	}
	for _, name := range found {
		env := strings.TrimSuffix(name, "/"+declarationFile)
		if _, err := s.root(env); err == nil {
			return fmt.Errorf("environment %q is declared twice; call one of them something else", env)
		}
	}
	s.roots = append(s.roots, root)
	return nil
}

// Names are all environments, sorted.
func (s *Set) Names() []string {
	var names []string
	for _, root := range s.roots {
		found, _ := fs.Glob(root, "*/"+declarationFile)
		for _, name := range found {
			names = append(names, strings.TrimSuffix(name, "/"+declarationFile))
		}
	}
	sort.Strings(names)
	return names
}

func (s *Set) root(name string) (fs.FS, error) {
	for _, root := range s.roots {
		if _, err := fs.Stat(root, name+"/"+declarationFile); err == nil {
			return root, nil
		}
	}
	return nil, fmt.Errorf("there is no environment %q; there are %s", name, strings.Join(s.Names(), ", "))
}

// Blob describes an environment as it would be on this machine, in JCS; its digest is an Action's Env. Nothing is
// installed for it.
func (s *Set) Blob(ctx context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if blob := s.blobs[name]; blob != nil {
		return blob, nil
	}
	d, err := s.declaration(name)
	if err != nil {
		return nil, err
	}
	described, err := s.describe(ctx, name, d)
	if err != nil {
		return nil, err
	}
	blob, err := artifacts.JCS(described)
	if err != nil {
		return nil, fmt.Errorf("environment %s: %w", name, err)
	}
	s.blobs[name], s.declared[name] = blob, d
	return blob, nil
}

// describe is what a Blob holds. s.mu is held.
func (s *Set) describe(ctx context.Context, name string, d *declaration) (any, error) {
	if own, ok := s.local.Own[name]; ok {
		described, err := s.describeOwn(ctx, d, own)
		if err != nil {
			return nil, own.wrong(name, err)
		}
		return described, nil
	}
	python, err := s.python(ctx, d.Python)
	if err == nil {
		err = d.fits("this machine", python.OS, python.Arch)
	}
	if err != nil {
		return nil, fmt.Errorf("environment %s: %w", name, err)
	}
	return description{
		OS: python.OS, Arch: python.Arch, Libc: python.Libc, Python: python.Minor, Lock: d.lock, Native: d.nativeLines(),
	}, nil
}

// description is the stored form: everything that decides what an installed environment holds.
type description struct {
	OS     string   `json:"os"`
	Arch   string   `json:"arch"`
	Libc   string   `json:"libc,omitempty"` // family: glibc, musl
	Python string   `json:"python"`         // minor version
	Lock   []string `json:"lock"`
	Native []string `json:"native"` // files of native parts with their digests, sorted
}

// declaration is env.hcl with its lock.
type declaration struct {
	Doc     string   `hcl:"doc"`
	Python  []string `hcl:"python"` // minor versions, the best first
	Natives []native `hcl:"native,block"`
	lock    []string
}

func (s *Set) declaration(name string) (*declaration, error) {
	root, err := s.root(name)
	if err != nil {
		return nil, err
	}
	text, err := fs.ReadFile(root, name+"/"+declarationFile)
	if err != nil {
		return nil, fmt.Errorf("reading environment %s: %w", name, err)
	}
	d, err := decode(text, filepath.Join(name, declarationFile))
	if err != nil {
		return nil, fmt.Errorf("environment %s: %w", name, err)
	}
	lock, err := fs.ReadFile(root, name+"/"+lockFile)
	if err != nil {
		return nil, fmt.Errorf("reading the lock of environment %s: %w", name, err)
	}
	if d.lock, err = normalise(string(lock)); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", name, lockFile, err)
	}
	return d, nil
}

func decode(text []byte, filename string) (*declaration, error) {
	file, diags := hclsyntax.ParseConfig(text, filename, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	var d declaration
	if diags := gohcl.DecodeBody(file.Body, nil, &d); diags.HasErrors() {
		return nil, diags
	}
	if len(d.Python) == 0 {
		return nil, errors.New(filename + `: python must name a version at least, such as ["3.11"]`)
	}
	for _, minor := range d.Python {
		if !minorVersion().MatchString(minor) {
			return nil, fmt.Errorf(`%s: python names %q, which is not a minor version such as "3.11"`, filename, minor)
		}
	}
	if err := checkNatives(d.Natives); err != nil {
		return nil, fmt.Errorf("%s: %w", filename, err)
	}
	return &d, nil
}
