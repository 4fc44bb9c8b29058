package recipe

import (
	"github.com/zclconf/go-cty/cty"

	"github.com/Ruihan11/tiny-infra/stages"
)

// testCatalog has kinds of every shape: plain, with secrets, with a map input, with many types of params.
func testCatalog() *stages.Catalog {
	one, many := 1.0, 64.0
	num := func(n int64) cty.Value { return cty.NumberIntVal(n) }
	in := func(name string, types ...string) stages.Input { return stages.Input{Name: name, Types: types} }
	out := func(name, typ string) stages.Output { return stages.Output{Name: name, Type: typ} }
	kinds := []*stages.Kind{
		{
			Name:    "download",
			Params:  []stages.Param{{Name: "source", Type: cty.String, Source: true, Doc: "What to download."}},
			Secrets: []stages.Secret{{Name: "token", Env: "HF_TOKEN"}},
			Outputs: []stages.Output{out("model", "model/hf"), out("tokenizer", "tokenizer"), out("files", "files")},
		},
		{
			Name: "calibrate",
			Params: []stages.Param{
				{Name: "samples", Type: cty.Number, Default: num(128), Integer: true, Min: &one},
				{Name: "length", Type: cty.Number, Default: num(2048)},
			},
			Inputs:  []stages.Input{in("text", "files", "dataset/text"), in("tokenizer", "tokenizer")},
			Outputs: []stages.Output{out("tokens", "dataset/tokens")},
		},
		{
			Name: "gptq",
			Params: []stages.Param{
				{Name: "bits", Type: cty.Number, Default: num(4), OneOf: []cty.Value{num(2), num(3), num(4), num(8)}},
				{Name: "group_size", Type: cty.Number, Default: num(128)},
				{Name: "damping", Type: cty.Number, Optional: true},
				{Name: "skip", Type: cty.Set(cty.String), Default: cty.SetValEmpty(cty.String)},
			},
			Needs:   stages.Needs{CPUs: 2, MemoryGiB: 4, GPUsMax: 1},
			Inputs:  []stages.Input{in("model", "model/hf"), {Name: "calibration", Types: []string{"dataset/tokens"}, Optional: true}},
			Outputs: []stages.Output{out("model", "model/hf")},
			Metrics: []stages.Metric{{Name: "bits_per_weight"}},
		},
		{Name: "onnx", Inputs: []stages.Input{in("model", "model/hf")}, Outputs: []stages.Output{out("model", "model/onnx")}},
		{
			Name:    "tensorrt",
			Params:  []stages.Param{{Name: "max_batch", Type: cty.Number, Min: &one, Max: &many, Default: num(1)}},
			Inputs:  []stages.Input{in("model", "model/onnx")},
			Outputs: []stages.Output{out("engine", "engine/tensorrt")},
		},
		{
			Name: "perplexity",
			Inputs: []stages.Input{
				in("model", "model/hf", "model/onnx"), in("tokenizer", "tokenizer"), in("text", "files"),
			},
			Outputs: []stages.Output{out("result", "result/perplexity")},
			Metrics: []stages.Metric{{Name: "perplexity", Better: "lower", Quality: true}, {Name: "tokens"}},
		},
		{
			Name:   "exec",
			Native: true,
			Params: []stages.Param{
				{Name: "command", Type: cty.List(cty.String)},
				{Name: "env", Type: cty.List(cty.String), Default: cty.ListValEmpty(cty.String), Environ: true},
			},
			Inputs:  []stages.Input{{Name: "inputs", Types: []string{"*"}, Map: true, Optional: true}},
			Outputs: []stages.Output{out("files", "files")},
		},
	}
	c := &stages.Catalog{Kinds: map[string]*stages.Kind{}}
	for _, k := range kinds {
		c.Kinds[k.Name] = k
	}
	return c
}
