package pieces

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// graphs reads the ONNX models among files, and gives which tensors they say that a file has, by its path: their weights mostly lie in
// files beside them. One that is no sound model says nothing.
func graphs(files []Source) (map[string][]tensor.Tensor, error) {
	said := make(map[string][]tensor.Tensor)
	for _, s := range files {
		if !strings.HasSuffix(s.Name, ".onnx") {
			continue
		}
		lies, err := graph(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		for file, all := range lies {
			name := s.Name
			if file != "" {
				name = path.Join(path.Dir(s.Name), file)
			}
			if before := said[name]; before != nil {
				all = tensor.Merge(before, all)
			}
			said[name] = all
		}
	}
	return said, nil
}

func graph(s Source) (map[string][]tensor.Tensor, error) {
	src, err := s.Open()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	lies, err := tensor.ReadONNX(src, s.Blob.Size)
	if errors.Is(err, tensor.ErrONNX) {
		return nil, nil
	}
	return lies, err
}
