package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// storedFile reads parts of a stored file.
type storedFile struct {
	ctx    context.Context
	cache  *artifacts.Cache
	digest artifacts.Digest
}

func (f storedFile) ReadAt(p []byte, off int64) (int, error) {
	r, err := f.cache.Open(f.ctx, f.digest, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.ReadFull(r, p)
}

// tensorJSON is a tensor as show writes it.
type tensorJSON struct {
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"` // from the beginning of the file
	Bytes  int64   `json:"bytes"`
}

// fileJSON is a file as show writes it; tensors are those of a safetensors or GGUF file.
type fileJSON struct {
	Digest  artifacts.Digest `json:"digest"`
	Size    int64            `json:"size"`
	Tensors []tensorJSON     `json:"tensors,omitempty"`
}

// describeFile lists the tensors of what is a safetensors or GGUF file; any other has none.
func (h *house) describeFile(ctx context.Context, d artifacts.Digest, size int64) fileJSON {
	file := fileJSON{Digest: d, Size: size}
	stored := storedFile{ctx, h.cache, d}
	header, err := tensor.ReadSafetensors(stored, size)
	if err != nil {
		header, err = tensor.ReadGGUF(stored, size)
	}
	if err != nil {
		return file
	}
	for _, t := range header.Tensors {
		file.Tensors = append(file.Tensors, tensorJSON{t.Name, t.DType, t.Shape, t.Offset, t.Size})
	}
	return file
}

func (h *house) writeTensors(tensors []tensorJSON) error {
	if len(tensors) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(tensors))
	for _, t := range tensors {
		rows = append(rows, []string{"  " + quoted(t.Name), t.DType, shapeText(t.Shape), strconv.FormatInt(t.Bytes, 10)})
	}
	return view.Table(h.app.stdout, []string{"  TENSOR", "DTYPE", "SHAPE", "BYTES"}, rows)
}

// quoted is a tensor's name, in quotes where that makes a difference: it is a stranger's, and must not speak to the terminal.
func quoted(name string) string {
	if q := strconv.Quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}

func shapeText(shape []int64) string { return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ") }
