package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Installed is an environment in the cache, or an interpreter of this machine in place of one.
type Installed struct {
	Name      string           `json:"name"` // "" where its marker is damaged
	Digest    artifacts.Digest `json:"digest"`
	Dir       string           `json:"dir,omitempty"` // "" of an own interpreter
	Python    string           `json:"python,omitempty"`
	Bytes     int64            `json:"bytes"`
	Installed time.Time        `json:"installed,omitzero"`
	Current   bool             `json:"current"` // a stage of today's would use it
	InUse     bool             `json:"in_use"`  // a process runs in it now
	Own       bool             `json:"own,omitempty"`
	Problem   string           `json:"problem,omitempty"`
}

// ErrInUse: an environment cannot be removed, since a process runs in it or a build installs it.
var ErrInUse = errors.New("in use")

// List is all installed environments, in the order of their digests, and then this machine's own interpreters by name.
func (s *Set) List(ctx context.Context) ([]Installed, error) {
	all, err := s.installedOnes(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.local.Own)) {
		one := Installed{Name: name, Python: s.local.Own[name].Python, Current: true, Own: true}
		if blob, err := s.Blob(ctx, name); err == nil {
			one.Digest = artifacts.Sum(blob)
		} else {
			one.Problem = err.Error()
		}
		all = append(all, one)
	}
	return all, nil
}

func (s *Set) installedOnes(ctx context.Context) ([]Installed, error) {
	entries, err := os.ReadDir(filepath.Join(s.cache, "env"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the environments: %w", err)
	}
	current := map[artifacts.Digest]bool{}
	for _, name := range s.Names() {
		// An environment that this machine has no Python for is not current, and nothing to fail for.
		if blob, err := s.Blob(ctx, name); err == nil {
			current[artifacts.Sum(blob)] = true
		}
	}
	running := commands()
	var all []Installed
	for _, entry := range entries {
		digest, err := artifacts.ParseHex(entry.Name())
		if err != nil {
			continue
		}
		one := Installed{Digest: digest, Dir: filepath.Join(s.cache, "env", entry.Name()), Current: current[digest]}
		if m, err := readMarker(one.Dir); err == nil {
			one.Name, one.Python, one.Bytes, one.Installed = m.Name, m.Python, m.Bytes, m.Installed
		}
		if err := sound(one.Dir, digest); err != nil {
			one.Problem = err.Error()
			one.Bytes = size(one.Dir)
		}
		one.InUse = used(running, one.Dir)
		all = append(all, one)
	}
	return all, nil
}

// Verify reads all installed environments, and reports those that are not as their packages brought them. A compiled
// file is not compared with anything.
func (s *Set) Verify(ctx context.Context, report func(digest artifacts.Digest, why error) error) error {
	entries, err := os.ReadDir(filepath.Join(s.cache, "env"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) { // the cache names a file in its place
		return nil
	}
	if err != nil {
		return fmt.Errorf("verifying the environments: %w", err)
	}
	for _, entry := range entries {
		digest, err := artifacts.ParseHex(entry.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join(s.cache, "env", entry.Name())
		why := sound(dir, digest)
		if why == nil {
			why = intact(ctx, dir)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := os.Lstat(dir); why == nil || errors.Is(err, fs.ErrNotExist) {
			continue // sound, or removed meanwhile
		}
		if err := report(digest, why); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes the installed environments of a name, or the one whose digest begins so (4 digits at least).
// Those in use stay, and make the error.
func (s *Set) Remove(ctx context.Context, which string) ([]Installed, error) {
	s.sweep()
	all, err := s.installedOnes(ctx)
	if err != nil {
		return nil, err
	}
	hex := strings.TrimPrefix(which, "sha256:")
	var chosen, removed []Installed
	for _, one := range all {
		if one.Name == which || len(hex) >= 4 && strings.HasPrefix(one.Digest.Hex(), hex) {
			chosen = append(chosen, one)
		}
	}
	if own, ok := s.Own(which); ok && len(chosen) == 0 {
		return nil, fmt.Errorf("environment %s is an interpreter of this machine's own (%s): nothing of it was installed", which, own.Where)
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no environment %q is installed", which)
	}
	var errs []error
	for _, one := range chosen {
		if err := s.remove(ctx, one); err != nil {
			errs = append(errs, fmt.Errorf("environment %s (%s): %w", one.Name, one.Digest.Short(), err))
			continue
		}
		removed = append(removed, one)
	}
	return removed, errors.Join(errs...)
}

func (s *Set) remove(ctx context.Context, one Installed) error {
	if one.InUse {
		return ErrInUse
	}
	stop, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	release, err := s.lock(stop, one.Digest.Hex(), func() { cancel(ErrInUse) })
	if err != nil {
		return context.Cause(stop)
	}
	defer release()
	let, err := s.unused(one.Digest)
	if err != nil {
		return err
	}
	defer let()
	// Before the environment: nobody would look for them after it.
	if err := os.RemoveAll(s.compiled(one.Digest)); err != nil {
		return fmt.Errorf("removing what was compiled for it: %w", err)
	}
	if err := s.clear(one.Dir, filepath.Dir(one.Dir), asideOf(one.Digest)); err != nil {
		return fmt.Errorf("removing it: %w", err)
	}
	return nil
}

// commands is what every process that this user may look at was started as. Empty where there is no /proc.
func commands() [][]byte {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var all [][]byte
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && len(text) > 0 {
			all = append(all, text)
		}
	}
	return all
}

// used says whether a process runs a program of the folder: workers are started as <dir>/bin/python.
func used(running [][]byte, dir string) bool {
	for _, argv := range running {
		if bytes.HasPrefix(argv, []byte(dir+string(filepath.Separator))) {
			return true
		}
	}
	return false
}
