package env

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// NativeState is what this machine has of a native part.
type NativeState struct {
	Name  string
	Files []string // where they go, and how their digests begin
	Where string   // the folder that they are in, or what they would come from
	Lacks string   // why they cannot be had
}

// Natives looks for the native parts of an environment. Those of an own interpreter are read whole.
func (s *Set) Natives(ctx context.Context, name string) ([]NativeState, error) {
	d, err := s.declaration(name)
	if err != nil {
		return nil, err
	}
	if len(d.Natives) == 0 {
		return nil, nil
	}
	where, lacks := s.whereNatives(ctx, name, d)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var all []NativeState
	for _, n := range d.Natives {
		one := NativeState{Name: n.Name, Where: where}
		for _, f := range n.Files {
			one.Files = append(one.Files, f.To+" sha256:"+f.SHA256[:12]+"…")
		}
		if lacks == nil && where == "" {
			one.Where, lacks = s.origin(n)
		}
		if lacks != nil {
			one.Lacks = lacks.Error()
		}
		all = append(all, one)
	}
	return all, nil
}

// whereNatives is the folder that holds them; "" where there is none yet.
func (s *Set) whereNatives(ctx context.Context, name string, d *declaration) (string, error) {
	blob, err := s.Blob(ctx, name)
	if err != nil {
		return "", err
	}
	if own, ok := s.Own(name); ok {
		return own.Native, d.sameNatives(ctx, own.Native)
	}
	digest := artifacts.Sum(blob)
	dir := filepath.Join(s.cache, "env", digest.Hex())
	if sound(dir, digest) == nil {
		return filepath.Join(dir, nativeDir), nil
	}
	return "", nil
}

// origin is what a jar would come from; nothing is asked of a network.
func (s *Set) origin(n native) (string, error) {
	held := func(folder string) error {
		name := filepath.Join(folder, filepath.FromSlash(n.pathOf()))
		fi, err := os.Stat(name)
		if err == nil && fi.Size() != n.Size {
			err = fmt.Errorf("%s: %w: it does not have %d bytes", name, errOtherJar, n.Size)
		}
		return err
	}
	if m := s.local.Maven; m != "" {
		if !strings.Contains(m, "://") {
			return m, held(m)
		}
		at, err := repositoryAt(m)
		if err != nil {
			return "", err
		}
		return shown(at) + " (not asked)", nil
	}
	if home, err := os.UserHomeDir(); err == nil {
		folder := filepath.Join(home, ".m2", "repository")
		if err := held(folder); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return folder, err
		}
	}
	if mvn, err := exec.LookPath("mvn"); err == nil {
		return fmt.Sprintf("%s (%d MiB)", mvn, n.Size>>20), nil
	}
	return "", n.nowhere()
}
