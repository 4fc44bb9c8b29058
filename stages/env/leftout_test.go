package env

import (
	"slices"
	"testing"
)

// An environment that lacks a package fails when it runs, far from the command that left it out.
func TestAPackTellsWhatNobodyAskedForAndTheMachineLacks(t *testing.T) {
	lock := []requirement{
		{Name: "numpy", Version: "2.4.6"}, {Name: "torch", Version: "2.11.0"}, {Name: "onnx", Version: "1.23.2"},
		{Name: "zstd", Version: "1"}, {Name: "compressed-tensors", Version: "0.17"}, {Name: "humming", Version: "0.1"},
	}
	has := []string{"NumPy==2.5.2", "torch==2.11.0+cu130", "onnx==1.23.1+x @0123"}
	for name, c := range map[string]struct {
		host Hosted
		only []string
		want []string
	}{
		"only some": {Hosted{Own: true, Has: has}, []string{"humming"}, []string{
			"left out though the machine has none: compressed-tensors, zstd",
			"left out though the machine has another version: numpy (2.5.2, not 2.4.6), onnx (1.23.1+x, not 1.23.2)",
		}},
		"enough":                       {Hosted{Own: true, Has: has}, []string{"humming", "compressed_tensors", "z*", "numpy", "onnx"}, nil},
		"all":                          {Hosted{Own: true, Has: has}, nil, nil},
		"a machine that was not asked": {Hosted{}, []string{"humming"}, nil},
	} {
		var told []string
		p := &packing{o: PackOptions{Only: c.only}, d: &declaration{}, host: &c.host, progress: func(line string) { told = append(told, line) }}
		if _, err := p.choose(lock); err != nil || !slices.Equal(told, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, told, err, c.want)
		}
	}
}
