package plan_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

func TestCompareTellsTwoStoredActionsApart(t *testing.T) {
	store := mem.New()
	cache := artifacts.NewCache(store, store)
	files := func(text string) artifacts.Digest {
		t.Helper()
		blob, err := cache.PutBytes(t.Context(), artifacts.FileMediaType, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		d, err := cache.PutManifest(t.Context(), &artifacts.Manifest{Type: "files", Files: []artifacts.File{{Path: "a.txt", Blob: blob}}})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	action := func(params string, input, worker artifacts.Digest) *artifacts.Action {
		return &artifacts.Action{
			Format: artifacts.ActionFormat, Kind: "gptq", Params: json.RawMessage(params), Inputs: map[string]artifacts.Digest{"model": input},
			Worker: worker, Facts: map[string]string{"gpu.arch": "sm_90"},
		}
	}
	one, other := files("one"), files("other")
	gone := artifacts.Sum([]byte("no longer in the cache"))
	for name, test := range map[string]struct {
		was, now *artifacts.Action
		want     []string
	}{
		"same":   {action(`{"bits":4}`, one, one), action(`{"bits":4}`, one, one), nil},
		"params": {action(`{"bits":4}`, one, one), action(`{"bits":3,"sym":true}`, one, one), []string{"params.bits changed: 4 → 3", "params.sym added: true"}},
		"files":  {action(`{}`, one, one), action(`{}`, other, one), []string{"inputs.model: a.txt changed"}},
		"gone":   {action(`{}`, one, one), action(`{}`, gone, one), []string{fmt.Sprintf("inputs.model changed: %s → %s", one.Short(), gone.Short())}},
		"worker": {action(`{}`, one, one), action(`{}`, one, other), []string{"worker: a.txt changed"}},
		"pins": {
			action(`{"pins":[{"path":"a","size":1},{"path":"b","size":2}]}`, one, one), action(`{"pins":[{"path":"b","size":3}]}`, one, one),
			[]string{`params.pins["a"] removed (was {"path":"a","size":1})`, `params.pins["b"].size changed: 2 → 3`},
		},
	} {
		changes, err := plan.Compare(t.Context(), cache, test.was, test.now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, c := range changes {
			got = append(got, c.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
