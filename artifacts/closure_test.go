package artifacts_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// described stores a record with everything that an action and a record can name; its worker is a tree, or a program.
func described(t *testing.T, c *artifacts.Cache, tree bool) (artifacts.Digest, map[string]artifacts.Digest) {
	t.Helper()
	ctx := t.Context()
	blob := func(text string) artifacts.Blob {
		return must[artifacts.Blob](t)(c.PutBytes(ctx, artifacts.FileMediaType, []byte(text)))
	}
	manifest := func(path, text string) artifacts.Digest {
		m := &artifacts.Manifest{Type: "files", Files: []artifacts.File{{Path: path, Blob: blob(text)}}}
		return must[artifacts.Digest](t)(c.PutManifest(ctx, m))
	}
	named := map[string]artifacts.Digest{
		"env": blob("env").Digest, "log": blob("log").Digest, "in": manifest("a", "input"), "out": manifest("b", "output"),
		"worker": blob(`{"program":"sh"}`).Digest,
	}
	if tree {
		named["worker"] = manifest("worker.py", "print()")
	}
	a := &artifacts.Action{
		Format: artifacts.ActionFormat, Kind: "test", Params: json.RawMessage("{}"), Worker: named["worker"], Env: named["env"],
		Inputs: map[string]artifacts.Digest{"x": named["in"], "y": named["in"]}, Outputs: map[string]string{"out": "files", "same": "files"},
	}
	key := must[artifacts.Key](t)(c.PutAction(ctx, a))
	named["action"] = key.Digest()
	at := time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC)
	_, d := publish(t, c, &artifacts.Record{
		Key: key, Outputs: map[string]artifacts.Digest{"out": named["out"], "same": named["out"]}, Log: named["log"], Builder: "test",
		Started: at, Ended: at.Add(time.Second),
	})
	named["record"] = d
	return d, named
}

func TestClosure(t *testing.T) {
	for _, tree := range []bool{true, false} {
		everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
			ctx := t.Context()
			d, named := described(t, c, tree)
			got := must[*artifacts.Closure](t)(c.Closure(ctx, d))
			if got.WorkerTree != tree {
				t.Errorf("worker taken for a tree: %v, want %v", got.WorkerTree, tree)
			}
			want := []string{"in", "out", "worker", "env", "log", "action", "record"}
			all := got.Blobs()
			if len(all) != len(want) {
				t.Fatalf("closure of %d blobs, want %d", len(all), len(want))
			}
			for i, name := range want {
				if all[i] != named[name] {
					t.Errorf("blob %d of the closure is not %s", i, name)
				}
			}
			for _, name := range []string{"record", "action", "worker"} {
				at := artifacts.BlobsFolder + named[name].Hex()
				held := must[[]byte](t)(c.GetBytes(ctx, named[name]))
				if err := sw.Delete(ctx, at); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Closure(ctx, d); !errors.Is(err, artifacts.ErrMissing) {
					t.Errorf("without its %s: %v, want ErrMissing", name, err)
				}
				must[artifacts.Blob](t)(c.PutBytes(ctx, artifacts.FileMediaType, held))
			}
		})
	}
}

// TestClosureLeavesOutWhatIsNotNamed: no zero digest may be asked of a store.
func TestClosureLeavesOutWhatIsNotNamed(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, _ artifacts.Sweeper) {
		_, d := publish(t, c, result(t, c, "x", 0, "a=1"))
		all := must[*artifacts.Closure](t)(c.Closure(t.Context(), d)).Blobs()
		if len(all) != 4 || slices.Contains(all, artifacts.Digest{}) {
			t.Errorf("closure: %v; want output, worker, action, record", all)
		}
	})
}
