package artifacts_test

import (
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// What was mended between verify's look and the repair is not removed.
func TestRepairLooksAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		rec := result(t, c, "a", 0, "x=own")
		_, d := publish(t, c, rec)
		putBuild(t, c, "20260304T050000Z-aaaaaa", "x.hcl", artifacts.Step{Address: "s", Kind: "test", Key: rec.Key, Record: d, State: artifacts.Ran})
		act, err := c.Action(t.Context(), rec.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := sw.Delete(t.Context(), artifacts.BlobsFolder+rec.Key.Hex()); err != nil {
			t.Fatal(err)
		}
		if err := sw.Delete(t.Context(), artifacts.BlobsFolder+digest("own").Hex()); err != nil {
			t.Fatal(err)
		}
		found := verify(t, c, sw)
		if len(found) == 0 {
			t.Fatal("nothing found")
		}
		// Meanwhile a build makes both again.
		must[artifacts.Key](t)(c.PutAction(t.Context(), act))
		must[artifacts.Blob](t)(c.PutBytes(t.Context(), "text/plain", []byte("own")))
		for _, p := range found {
			did, err := c.Repair(t.Context(), sw, p)
			t.Log(p.Name, p.Kind, did, err)
		}
		if _, err := c.Action(t.Context(), rec.Key); err != nil {
			t.Errorf("the action that a build stored again: %v", err)
		}
		if _, _, err := c.Lookup(t.Context(), rec.Key); err != nil {
			t.Errorf("the key: %v", err)
		}
		if p := verify(t, c, sw); len(p) > 0 {
			t.Errorf("afterwards: %+v", p)
		}
	})
}
