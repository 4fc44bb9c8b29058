package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/numbers"
)

// tensorExtensions are those of the files that hold tensors.
var tensorExtensions = []string{".safetensors", ".gguf"}

func holdsTensors(name string) bool { return slices.Contains(tensorExtensions, path.Ext(name)) }

// mostManifest is in bytes; a larger file is read as one of tensors.
const mostManifest = 64 << 20

// source is what a person calls a model: its files, of which those on disk are open.
type source struct {
	files []numbers.File
	close []*os.File
}

func (s *source) end() {
	for _, f := range s.close {
		f.Close()
	}
}

// onDisk tells a path from what a recipe or the cache calls a model. An address has no slash but in a key's brackets.
func onDisk(name string) bool {
	before, _, _ := strings.Cut(name, "[")
	if strings.Contains(before, "/") || name == "." || name == ".." {
		return true
	}
	_, err := os.Stat(name)
	return err == nil && holdsTensors(name)
}

// namesModel tells what can be nothing but a model, by the name alone.
func namesModel(name string) bool {
	if onDisk(name) {
		return true
	}
	what, _ := atBuild(name)
	if looksLikeAddress(what) {
		_, port := splitPort(what)
		return port != ""
	}
	return !isDigest(name)
}

// atBuild parts STAGE.PORT@BUILD. An @ in a key is none.
func atBuild(name string) (what, build string) {
	if at := strings.LastIndexByte(name, '@'); at >= 0 && !strings.Contains(name[at:], "]") {
		return name[:at], name[at+1:]
	}
	return name, ""
}

// storesModel tells whether a digest, or the beginning of one, is that of an artifact or a file, and not of a run.
func (r *archive) storesModel(ctx context.Context, name string) (bool, error) {
	if looksLikeAddress(name) {
		return false, nil
	}
	f, err := r.index.Find(ctx, name)
	if err != nil {
		return false, err
	}
	return len(f.Records)+len(f.Keys) == 0, nil
}

// modelNamed opens what a person calls a model.
func (h *house) modelNamed(ctx context.Context, name string, s lookup) (*source, error) {
	what, build := atBuild(name)
	if build != "" {
		s.build = build
	}
	d, _, err := h.outputDigest(ctx, what, s)
	if err != nil {
		return nil, err
	}
	size, err := h.cache.Stat(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if size <= mostManifest {
		b, err := h.cache.GetBytes(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m, err := artifacts.DecodeManifest(b)
		switch {
		case err == nil:
			return h.modelOf(ctx, name, m)
		case !isDigest(what):
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return &source{files: []numbers.File{{Name: name, Same: d.String(), Size: size, Bytes: storedFile{ctx, h.cache, d}}}}, nil
}

// modelOf are the files of an artifact that hold tensors, brought here where only the shared cache has one.
func (h *house) modelOf(ctx context.Context, name string, m *artifacts.Manifest) (*source, error) {
	s := &source{}
	var blobs []artifacts.Blob
	for _, f := range m.Files {
		if holdsTensors(f.Path) {
			blobs = append(blobs, f.Blob)
			s.files = append(s.files, numbers.File{Name: f.Path + " of " + name, Same: f.Digest.String(), Size: f.Size,
				Bytes: storedFile{ctx, h.cache, f.Digest}})
		}
	}
	if len(s.files) == 0 {
		return nil, noTensors(name)
	}
	if h.store.Present(ctx, blobs) != nil {
		return s, h.present(ctx, name, m)
	}
	return s, nil
}

// modelAt opens a file, or those below a folder that hold tensors. Links are followed: people's models are often links into a cache.
func modelAt(name string) (*source, error) {
	s := &source{}
	fi, err := os.Stat(name)
	if err != nil {
		return nil, usage("%w", err)
	}
	if !fi.IsDir() {
		return s, s.add(name)
	}
	root, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, usage("%w", err)
	}
	err = filepath.WalkDir(root, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return usage("%w", err)
		}
		if e.IsDir() || !holdsTensors(at) {
			return nil
		}
		return s.add(at)
	})
	if err == nil && len(s.files) == 0 {
		err = noTensors(name)
	}
	if err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func noTensors(name string) error {
	return usage("%s holds no tensors: none of its files is called *%s", name, strings.Join(tensorExtensions, " or *"))
}

func (s *source) add(name string) error {
	fi, err := os.Stat(name)
	if err != nil {
		return usage("%w", err)
	}
	if !fi.Mode().IsRegular() { // to open a pipe would wait for who writes into it
		return usage("%s is no file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return usage("%w", err)
	}
	s.close = append(s.close, f)
	same, err := filepath.EvalSymlinks(name)
	if err == nil {
		same, err = filepath.Abs(same)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	s.files = append(s.files, numbers.File{Name: name, Same: same, Size: fi.Size(), Bytes: f})
	return nil
}
