package numbers

import (
	"errors"
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// ErrTwice: two files of a model have a tensor of the same name.
var ErrTwice = errors.New("it is in two files")

// File is a file of tensors, of either format.
type File struct {
	Name  string // for people
	Same  string // files with the same text here have the same bytes; "" where that is not known
	Size  int64
	Bytes io.ReaderAt
}

// Model is the tensors of one or more files.
type Model struct {
	Bytes   int64 // of the tensors
	tensors map[string]place
}

// Count is how many tensors the model has.
func (m *Model) Count() int { return len(m.tensors) }

// place is where a tensor lies.
type place struct {
	tensor.Tensor
	file      *File
	bigEndian bool
}

// Read reads the headers of files. Which format each has is told by how it begins.
func Read(files []File) (*Model, error) {
	m := &Model{tensors: map[string]place{}}
	for i := range files {
		f := &files[i]
		h, err := header(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		for _, t := range h.Tensors {
			if other, ok := m.tensors[t.Name]; ok {
				return nil, fmt.Errorf("tensor %q: %w, %s and %s; name one of them", t.Name, ErrTwice, other.file.Name, f.Name)
			}
			m.tensors[t.Name] = place{t, f, h.BigEndian}
			m.Bytes += t.Size
		}
	}
	return m, nil
}

func header(f *File) (*tensor.Header, error) {
	var begin [4]byte
	if n, _ := f.Bytes.ReadAt(begin[:], 0); string(begin[:n]) == "GGUF" { // what cannot be read is told by the reader
		return tensor.ReadGGUF(f.Bytes, f.Size)
	}
	return tensor.ReadSafetensors(f.Bytes, f.Size)
}
