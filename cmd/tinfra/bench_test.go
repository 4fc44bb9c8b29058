package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

const (
	benchRecords = 100_000
	benchFamily  = 4_000 // runs that are related, as those of one recipe over a year
	benchDays    = 365
	benchBuild   = 20 // steps of a build
	benchWidth   = 1_000
)

// BenchmarkLineage measures the built program, its start included, on a cache of 100,000 records. TINFRA_BENCH_RECORDS sets
// another number.
func BenchmarkLineage(b *testing.B) {
	records := benchRecords
	if text := os.Getenv("TINFRA_BENCH_RECORDS"); text != "" {
		var err error
		if records, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	program := filepath.Join(dir, "tinfra")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("building: %v\n%s", err, out)
	}
	cache := filepath.Join(dir, "cache")
	made := time.Now()
	small, large := makeHistory(b, cache, records)
	b.Logf("made %d records in %s", records, time.Since(made).Round(time.Millisecond))
	tinfra := func(args ...string) []byte {
		b.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TINFRA_CACHE="+cache, "HOME="+dir)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			b.Fatalf("%v: %v\n%s", args, err, stderr.Bytes())
		}
		return stdout.Bytes()
	}
	b.Run("rebuild", func(b *testing.B) {
		for b.Loop() {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				_ = os.Remove(filepath.Join(cache, lineage.FileName+suffix))
			}
			tinfra("runs", "--limit", "1")
		}
		b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	for name, args := range map[string][]string{
		"version":        {"version"},
		"nothing_new":    {"runs", "--limit", "1"},
		"up":             {"lineage", "up", small.Hex()},
		"up_wide":        {"lineage", "up", large.Hex()},
		"up_stage":       {"lineage", "up", "kind3.s3"},
		"runs_where":     {"runs", "--where", `kind == "kind3" && metrics.score < 0.1`},
		"runs_where_all": {"runs", "--where", `metrics.score < 0.0001`, "--limit", "0"},
	} {
		b.Run(name, func(b *testing.B) {
			var out []byte
			for b.Loop() {
				out = tinfra(args...)
			}
			if args[0] == "lineage" {
				var j struct{ Runs []json.RawMessage }
				if err := json.Unmarshal(tinfra(append(args, "--json")...), &j); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(j.Runs)), "ancestors")
			}
			b.ReportMetric(float64(bytes.Count(out, []byte("\n"))), "lines")
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
		})
	}
}

// history writes a cache's files itself: the store would wait for the disk at each of half a million.
type history struct {
	b   *testing.B
	dir string
	now time.Time
}

var sealed = time.Unix(1_000_000_000, 0) // docs/format.md: the time of every blob

func (h *history) write(name string, content []byte) {
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, content, 0o444); os.IsNotExist(err) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			h.b.Fatal(err)
		}
		h.write(name, content)
		return
	} else if err != nil {
		h.b.Fatal(err)
	}
}

func (h *history) blob(content []byte) artifacts.Digest {
	d := artifacts.Sum(content)
	name := "blobs/sha256/" + d.Hex()
	h.write(name, content)
	if err := os.Chtimes(filepath.Join(h.dir, name), sealed, sealed); err != nil {
		h.b.Fatal(err)
	}
	return d
}

func (h *history) must(err error) {
	if err != nil {
		h.b.Fatal(err)
	}
}

// run stores a run of some earlier outputs, and gives its record and output.
func (h *history) run(n int, inputs map[string]artifacts.Digest) (artifacts.Step, artifacts.Digest) {
	manifest := artifacts.Manifest{Type: "model/hf", Files: []artifacts.File{
		{Path: "config.json", Blob: artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Sum([]byte(strconv.Itoa(n))), Size: 700}},
		{Path: "model.safetensors", Blob: artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Sum([]byte{byte(n)}), Size: 5 << 30}},
	}}
	raw, output, err := manifest.Encode()
	h.must(err)
	h.blob(raw)
	kind := fmt.Sprintf("kind%d", n%17)
	action := artifacts.Action{
		Format: artifacts.ActionFormat, Kind: kind, Params: json.RawMessage(fmt.Sprintf(`{"bits":4,"group_size":64,"n":%d}`, n)), Inputs: inputs,
		Outputs: map[string]string{"model": "model/hf"}, Worker: artifacts.Sum([]byte(kind)), Env: artifacts.Sum([]byte("env")),
	}
	raw, key, err := action.Encode()
	h.must(err)
	h.blob(raw)
	h.now = h.now.Add(benchDays * 24 * time.Hour / benchRecords)
	record := artifacts.Record{
		Key: key, Outputs: map[string]artifacts.Digest{"model": output}, Builder: "bench", Started: h.now.Add(-time.Minute), Ended: h.now,
		Metrics:  map[string]float64{"score": float64(n%benchFamily) / benchFamily, "size_bytes": 5 << 30},
		Observed: map[string]string{"attempts": "1", "cpu_seconds": "12.5", "peak_memory_bytes": strconv.Itoa(1<<30 + n)},
	}
	raw, digest, err := record.Encode()
	h.must(err)
	h.blob(raw)
	h.write("records/"+h.now.Format(time.DateOnly)+"/"+digest.Hex(), []byte(digest.String()))
	return artifacts.Step{Address: fmt.Sprintf("kind%d.s%d", n%17, n%benchBuild), Kind: kind, Key: key, Record: digest, State: artifacts.Ran}, output
}

// makeHistory gives an artifact with a few dozen ancestors, and one with more than a thousand.
func makeHistory(b *testing.B, dir string, records int) (small, large artifacts.Digest) {
	h := &history{b: b, dir: dir, now: time.Now().UTC().Add(-(benchDays + 10) * 24 * time.Hour)}
	h.write("format", []byte("{\"format\":1}\n"))
	var outputs []artifacts.Digest
	var steps []artifacts.Step
	for n := range records {
		from := n / benchFamily * benchFamily
		at := n - from
		inputs := map[string]artifacts.Digest{}
		if at > 1 {
			inputs["model"], inputs["calibration"] = outputs[from+at/2], outputs[from+at/3]
		}
		if n == records-1 {
			small = outputs[n-1]
			for i := 1; i <= min(benchWidth, n); i++ {
				inputs[fmt.Sprintf("all[%04d]", i)] = outputs[n-i]
			}
		}
		step, output := h.run(n, inputs)
		steps, outputs = append(steps, step), append(outputs, output)
		large = output
		if len(steps) == benchBuild {
			build := artifacts.Build{ID: h.now.Format("20060102T150405.000Z"), RecipePath: "/r/bench.hcl", Host: "lab", Started: h.now, Ended: h.now, Steps: steps}
			raw, d, err := build.Encode()
			h.must(err)
			h.blob(raw)
			h.write("builds/"+h.now.Format(time.DateOnly)+"/"+d.Hex(), []byte(d.String()))
			steps = nil
		}
	}
	return small, large
}
