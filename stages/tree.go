package stages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// WorkerType is the type of the Manifest of a worker's sources.
const WorkerType = "tinfra/worker"

// Tree is the sources of a worker as they stand in a workspace's worker/ folder: <kind>/…, <uses>/…, and
// sdk/tinfra_worker/… for a worker in Python.
type Tree struct {
	Manifest *artifacts.Manifest
	sources  map[string]source
}

type source struct {
	fsys fs.FS
	name string
}

// Open reads one file of the Manifest. Who stores it verifies it: on disk it may have changed meanwhile.
func (t *Tree) Open(name string) (io.ReadCloser, error) {
	from, ok := t.sources[name]
	if !ok {
		return nil, fmt.Errorf("no %s among the worker's sources", name)
	}
	f, err := from.fsys.Open(from.name)
	if err != nil {
		return nil, fmt.Errorf("opening a worker's source: %w", err)
	}
	return f, nil
}

// Tree gathers and hashes the sources. It is the same for the embedded folder and the one on disk.
func (k *Kind) Tree(sdk fs.FS) (*Tree, error) {
	if k.Native {
		return nil, fmt.Errorf("%s has no worker", k.Name)
	}
	t := &Tree{Manifest: &artifacts.Manifest{Type: WorkerType}, sources: map[string]source{}}
	for _, folder := range append([]string{k.Dir}, k.Uses...) {
		if err := t.add(k.Root, folder, folder); err != nil {
			return nil, fmt.Errorf("reading the worker of %s: %w", k.Name, err)
		}
	}
	if k.Python() {
		if sdk == nil {
			return nil, fmt.Errorf("the worker of %s is in Python, and the catalogue has no SDK", k.Name)
		}
		if err := t.add(sdk, "tinfra_worker", "sdk/tinfra_worker"); err != nil {
			return nil, fmt.Errorf("reading the SDK: %w", err)
		}
	}
	files := t.Manifest.Files
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	return t, nil
}

func (t *Tree) add(fsys fs.FS, folder, as string) error {
	return fs.WalkDir(fsys, folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != folder && !workerFolder(entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !workerSource(entry.Name()) {
			return nil
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file", name)
		}
		file, err := hashSource(fsys, name)
		if err != nil {
			return err
		}
		file.Path = path.Join(as, strings.TrimPrefix(strings.TrimPrefix(name, folder), "/"))
		if err := artifacts.CheckPath(file.Path); err != nil {
			return err
		}
		t.Manifest.Files = append(t.Manifest.Files, file)
		t.sources[file.Path] = source{fsys, name}
		return nil
	})
}

func hashSource(fsys fs.FS, name string) (artifacts.File, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return artifacts.File{}, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return artifacts.File{}, err
	}
	digest, size, err := artifacts.SumReader(io.MultiReader(bytes.NewReader(head[:n]), f))
	if err != nil {
		return artifacts.File{}, err
	}
	// The embedded tree has no mode bits, so a program is known by its first bytes.
	program := bytes.HasPrefix(head, []byte("#!")) || bytes.Equal(head, []byte("\x7fELF"))
	return artifacts.File{Exec: program, Blob: artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: digest, Size: size}}, nil
}

// workerFolder and workerSource leave out what no worker reads: tests, caches, and what stage.hcl declares, which
// enters a key by its own fields.
func workerFolder(name string) bool {
	return name != "__pycache__" && name != "tests" && name != "testdata" && !strings.HasPrefix(name, ".")
}

func workerSource(name string) bool {
	test := strings.HasSuffix(name, ".py") && (strings.HasPrefix(name, "test_") || strings.HasSuffix(name, "_test.py") || name == "conftest.py")
	return !test && name != KindFile && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".pyc") && !strings.HasSuffix(name, "~")
}
