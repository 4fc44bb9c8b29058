package lineage_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// world is a cache in which tests publish runs and builds, and its index.
type world struct {
	t     testing.TB
	cache *artifacts.Cache
	now   time.Time // moves on by a minute with each run
	path  string    // of the index
}

func newWorld(t testing.TB) *world {
	store := mem.New()
	return &world{t, artifacts.NewCache(store, store), time.Date(2026, 3, 1, 23, 50, 0, 0, time.UTC), filepath.Join(t.TempDir(), lineage.FileName)}
}

// onDisk is a world whose cache is a folder, with the index in it.
func onDisk(t *testing.T) (*world, *disk.Store) {
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := newWorld(t)
	w.cache, w.path = artifacts.NewCache(store, store), filepath.Join(store.Dir(), lineage.FileName)
	return w, store
}

// ran is a published run.
type ran struct {
	*artifacts.Record
	digest artifacts.Digest
	action *artifacts.Action
}

// what is all that a test wants to say of a run.
type what struct {
	kind    string
	params  string
	inputs  map[string]artifacts.Digest
	outputs map[string]string // port → the text of its one file
	labels  map[string]string
	metrics map[string]float64
	facts   map[string]string
	salt    string
	took    time.Duration
	peak    int64
}

func (w *world) manifest(kind, text string, labels map[string]string) artifacts.Digest {
	w.t.Helper()
	blob, err := w.cache.PutBytes(w.t.Context(), artifacts.FileMediaType, []byte(text))
	w.must(err)
	d, err := w.cache.PutManifest(w.t.Context(), &artifacts.Manifest{Type: kind, Files: []artifacts.File{{Path: "f", Blob: blob}}, Labels: labels})
	w.must(err)
	return d
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) publish(r what) *ran {
	w.t.Helper()
	out := w.unpublished(r)
	_, _, err := w.cache.Publish(w.t.Context(), out.Record)
	w.must(err)
	return out
}

// unpublished has its action and outputs stored, but not its record.
func (w *world) unpublished(r what) *ran {
	w.t.Helper()
	if r.params == "" {
		r.params = "{}"
	}
	types := map[string]string{}
	outputs := map[string]artifacts.Digest{}
	for port, text := range r.outputs {
		types[port] = "files"
		outputs[port] = w.manifest("files", text, r.labels)
	}
	action := &artifacts.Action{
		Format: artifacts.ActionFormat, Kind: r.kind, Params: json.RawMessage(r.params), Inputs: r.inputs, Outputs: types,
		Worker: artifacts.Sum([]byte("worker of " + r.kind)), Facts: r.facts, Salt: r.salt,
	}
	key, err := w.cache.PutAction(w.t.Context(), action)
	w.must(err)
	w.now = w.now.Add(time.Minute)
	rec := &artifacts.Record{Key: key, Outputs: outputs, Metrics: r.metrics, Builder: "test", Started: w.now.Add(-r.took), Ended: w.now}
	if r.peak > 0 {
		rec.Observed = map[string]string{"peak_memory_bytes": fmt.Sprint(r.peak)}
	}
	_, digest, err := rec.Encode()
	w.must(err)
	return &ran{rec, digest, action}
}

// build stores a build of the steps, by address.
func (w *world) build(recipe string, steps ...artifacts.Step) *artifacts.Build {
	w.t.Helper()
	w.now = w.now.Add(time.Minute)
	b := &artifacts.Build{
		ID: w.now.Format("20060102T150405Z-000000"), Recipe: artifacts.Sum([]byte(recipe)), RecipePath: recipe, Host: "lab",
		Started: w.now.Add(-time.Minute), Ended: w.now, Steps: steps,
	}
	_, err := w.cache.PutBuild(w.t.Context(), b)
	w.must(err)
	return b
}

func step(address string, r *ran, state artifacts.State) artifacts.Step {
	return artifacts.Step{Address: address, Kind: r.action.Kind, Key: r.Key, Record: r.digest, State: state}
}

// index opens the world's index and brings it up to date.
func (w *world) index() *lineage.Index {
	w.t.Helper()
	x, err := lineage.Open(w.t.Context(), w.path)
	w.must(err)
	w.t.Cleanup(func() { _ = x.Close() })
	w.must(x.Sync(w.t.Context(), w.cache))
	return x
}

// chain is a small pipeline in two builds: download → quantize (4 bits, then 3) → score.
type chain struct {
	base, four, three, scoreFour, scoreThree *ran
	first, second                            *artifacts.Build
}

func (w *world) chain() *chain {
	c := &chain{}
	c.base = w.publish(what{kind: "download", params: `{"pins":[{"path":"f","size":4}]}`, outputs: map[string]string{"model": "base"}, took: 10 * time.Second})
	quantized := func(bits int) *ran {
		return w.publish(what{
			kind: "gptq", params: fmt.Sprintf(`{"bits":%d,"group":{"size":64}}`, bits), inputs: map[string]artifacts.Digest{"model": c.base.Outputs["model"]},
			outputs: map[string]string{"model": fmt.Sprint("bits ", bits)}, metrics: map[string]float64{"bits_per_weight": float64(bits) + 0.5},
			took: 100 * time.Second, peak: 1 << 30, labels: map[string]string{"scheme": "gptq"},
		})
	}
	scored := func(r *ran, perplexity float64, more map[string]float64) *ran {
		metrics := map[string]float64{"perplexity": perplexity}
		maps.Copy(metrics, more)
		return w.publish(what{
			kind: "perplexity", params: `{"window":256}`, inputs: map[string]artifacts.Digest{"model": r.Outputs["model"]},
			outputs: map[string]string{"result": fmt.Sprint(perplexity)}, metrics: metrics,
			took: 30 * time.Second, facts: map[string]string{"gpu.arch": "sm_90"},
		})
	}
	c.four = quantized(4)
	c.scoreFour = scored(c.four, 22.5, nil)
	c.first = w.build("/r/a.hcl", step("download.base", c.base, artifacts.Ran), step("gptq.int4", c.four, artifacts.Ran),
		step("perplexity.int4", c.scoreFour, artifacts.Ran))
	c.three = quantized(3)
	c.scoreThree = scored(c.three, 40, map[string]float64{"nll": 0.1})
	c.second = w.build("/r/a.hcl", step("download.base", c.base, artifacts.Hit), step("gptq.int4", c.three, artifacts.Ran),
		step("perplexity.int4", c.scoreThree, artifacts.Ran),
		artifacts.Step{Address: "compare.both", Kind: "compare", State: artifacts.Failed, Reason: "it crashed"})
	return c
}

func records(runs []lineage.Run) []artifacts.Digest {
	out := make([]artifacts.Digest, 0, len(runs))
	for _, r := range runs {
		out = append(out, r.Record)
	}
	return out
}

func digests(rs ...*ran) []artifacts.Digest {
	out := make([]artifacts.Digest, 0, len(rs))
	for _, r := range rs {
		out = append(out, r.digest)
	}
	return out
}

// everything is all that the documented views say, to compare two indexes.
func everything(t *testing.T, x *lineage.Index) map[string][][]any {
	t.Helper()
	out := map[string][][]any{}
	for view, order := range map[string]string{
		"builds": "build", "steps": "build, position", "runs": "run", "artifacts": "artifact", "edges": "run, input_port, output_port",
		"metrics": "run, name", "params": "run, path",
	} {
		table, err := x.Query(t.Context(), "SELECT * FROM "+view+" ORDER BY "+order)
		if err != nil {
			t.Fatal(err)
		}
		out[view] = table.Rows
	}
	return maps.Clone(out)
}
