package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
	"github.com/Ruihan11/tiny-infra/stages"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// readers are those of the files of tensors, by how their names end.
var readers = map[string]func(io.ReaderAt, int64) (*tensor.Header, error){
	".safetensors": tensor.ReadSafetensors,
	".gguf":        tensor.ReadGGUF,
}

// soundTensors reads the headers of the files of tensors among a worker's outputs: half a file, or one that would mislead
// its reader, is refused before anything of it is stored. The worker's processes are gone, so what is read here is what
// will be stored.
func soundTensors(ws string, k *stages.Kind) error {
	for i := range k.Outputs {
		if err := soundOutput(ws, k.Outputs[i].Name); err != nil {
			return err
		}
	}
	return nil
}

func soundOutput(ws, port string) error {
	root, err := os.OpenRoot(filepath.Join(ws, protocol.OutDir, port))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // taken into the store by an earlier build, which has looked; or an optional one
	}
	if err != nil {
		return fmt.Errorf("output %s: %w", port, err)
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("output %s: %w", port, err)
		}
		read := readers[path.Ext(name)]
		if d.IsDir() || read == nil {
			return nil
		}
		// What is no file is refused, with its reason, where outputs are stored: links that lead out, pipes.
		fi, err := root.Stat(name)
		if err != nil || !fi.Mode().IsRegular() {
			return nil
		}
		if err := soundFile(root, name, fi, read); err != nil {
			return fmt.Errorf("the worker made %s, which is %w", path.Join(protocol.OutDir, port, name), err)
		}
		return nil
	})
}

func soundFile(root *os.Root, name string, fi fs.FileInfo, read func(io.ReaderAt, int64) (*tensor.Header, error)) error {
	if mode := fi.Mode().Perm(); mode&0o400 == 0 {
		if err := root.Chmod(name, mode|0o400); err != nil {
			return fmt.Errorf("unreadable: %w", err)
		}
	}
	f, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("unreadable: %w", err)
	}
	defer f.Close()
	_, err = read(f, fi.Size())
	return err
}
