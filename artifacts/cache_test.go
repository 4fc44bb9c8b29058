package artifacts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

// everywhere runs a test on each place that keeps bytes.
func everywhere(t *testing.T, test func(*testing.T, *artifacts.Cache, artifacts.Sweeper)) {
	for name, place := range map[string]func(*testing.T) storetest.Place{
		"mem": func(*testing.T) storetest.Place { return mem.New() },
		"disk": func(t *testing.T) storetest.Place {
			s, err := disk.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := place(t)
			test(t, artifacts.NewCache(p, p), p)
		})
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func actionOf(salt string) *artifacts.Action {
	return &artifacts.Action{
		Format: artifacts.ActionFormat, Kind: "test", Params: json.RawMessage("{}"), Worker: digest("worker"),
		Outputs: map[string]string{"out": "files"}, Salt: salt,
	}
}

// result stores an action and one output with these files (path=content), and gives a record that is not published.
func result(t testing.TB, c *artifacts.Cache, salt string, minute int, files ...string) *artifacts.Record {
	t.Helper()
	ctx := t.Context()
	must[artifacts.Blob](t)(c.PutBytes(ctx, artifacts.FileMediaType, []byte("worker")))
	m := &artifacts.Manifest{Type: "files"}
	for _, f := range files {
		path, text, _ := strings.Cut(f, "=")
		b := must[artifacts.Blob](t)(c.PutBytes(ctx, artifacts.FileMediaType, []byte(text)))
		m.Files = append(m.Files, artifacts.File{Path: path, Blob: b})
	}
	out := must[artifacts.Digest](t)(c.PutManifest(ctx, m))
	at := time.Date(2026, 3, 4, 5, minute, 0, 0, time.UTC)
	return &artifacts.Record{
		Key: must[artifacts.Key](t)(c.PutAction(ctx, actionOf(salt))), Outputs: map[string]artifacts.Digest{"out": out},
		Builder: "test", Started: at, Ended: at.Add(time.Second),
	}
}

func publish(t testing.TB, c *artifacts.Cache, rec *artifacts.Record) (*artifacts.Record, artifacts.Digest) {
	t.Helper()
	won, d, err := c.Publish(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	return won, d
}

func names(t testing.TB, c *artifacts.Cache, prefix string) []string {
	t.Helper()
	var all []string
	for n, err := range c.List(t.Context(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

func TestPublishAndLookup(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, _ artifacts.Sweeper) {
		rec := result(t, c, "a", 0, "a.txt=A", "b.txt=B")
		if _, _, err := c.Lookup(t.Context(), rec.Key); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("Lookup before Publish = %v", err)
		}
		_, d := publish(t, c, rec)
		got, gd, err := c.Lookup(t.Context(), rec.Key)
		if err != nil || gd != d || got.Outputs["out"] != rec.Outputs["out"] {
			t.Errorf("Lookup = %+v, %s, %v", got, gd, err)
		}
		want := []string{
			"keys/" + rec.Key.Hex(), "records/2026-03-04/" + d.Hex(), "runs/" + rec.Key.Hex() + "/" + d.Hex(),
		}
		if got := names(t, c, ""); !slices.Equal(got, want) {
			t.Errorf("pointers %q, want %q", got, want)
		}
		if _, again := publish(t, c, rec); again != d || len(names(t, c, "")) != 3 {
			t.Error("publishing the same record again changed something")
		}
	})
}

func TestFirstWriterWins(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, _ artifacts.Sweeper) {
		first, second := result(t, c, "a", 0, "x=1"), result(t, c, "a", 1, "x=2")
		_, d := publish(t, c, first)
		won, wd := publish(t, c, second)
		if wd != d || won.Outputs["out"] != first.Outputs["out"] {
			t.Errorf("the second record won: %s", wd)
		}
		if n := len(names(t, c, "runs/"+first.Key.Hex()+"/")); n != 2 {
			t.Errorf("%d runs of the key, want both", n)
		}
		if n := len(names(t, c, "records/")); n != 2 {
			t.Errorf("%d records, want both", n)
		}
	})
}

// damage of the winner's outputs lets the next record take the key.
func TestBrokenWinnerIsReplaced(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		for what, gone := range map[string]func(*artifacts.Record, artifacts.Digest) string{
			"a file": func(*artifacts.Record, artifacts.Digest) string { return artifacts.BlobsFolder + digest("first").Hex() },
			"the manifest": func(r *artifacts.Record, _ artifacts.Digest) string {
				return artifacts.BlobsFolder + r.Outputs["out"].Hex()
			},
			"the record": func(_ *artifacts.Record, d artifacts.Digest) string { return artifacts.BlobsFolder + d.Hex() },
		} {
			first := result(t, c, what, 0, "x=first")
			_, d := publish(t, c, first)
			if err := sw.Delete(t.Context(), gone(first, d)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Lookup(t.Context(), first.Key); !errors.Is(err, artifacts.ErrMissing) {
				t.Errorf("%s is gone and Lookup = %v", what, err)
			}
			second := result(t, c, what, 1, "x=second "+what)
			won, wd := publish(t, c, second)
			if wd == d || won.Outputs["out"] != second.Outputs["out"] {
				t.Errorf("%s is gone and the first record still wins", what)
			}
			if _, got, err := c.Lookup(t.Context(), first.Key); err != nil || got != wd {
				t.Errorf("Lookup = %s, %v", got, err)
			}
		}
	})
}

func TestPointerToNonsenseIsAMiss(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, _ artifacts.Sweeper) {
		rec, other := result(t, c, "a", 0, "x=1"), result(t, c, "b", 0, "x=1")
		_, od := publish(t, c, other)
		name := "keys/" + rec.Key.Hex()
		v := artifacts.Absent
		for _, val := range []string{"", "nonsense", od.String(), digest("never").String(), rec.Key.String()} {
			var err error
			if v, err = c.Set(t.Context(), name, []byte(val), v); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Lookup(t.Context(), rec.Key); !errors.Is(err, artifacts.ErrMissing) {
				t.Errorf("value %q: Lookup = %v", val, err)
			}
		}
		if won, _ := publish(t, c, rec); won.Key != rec.Key {
			t.Error("nonsense was not replaced")
		}
	})
}

// Names never dangle: a record whose parts are not stored is refused.
func TestPublishRefusesWhatIsIncomplete(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		for what, gone := range map[string]func(*artifacts.Record) artifacts.Digest{
			"action":   func(r *artifacts.Record) artifacts.Digest { return r.Key.Digest() },
			"manifest": func(r *artifacts.Record) artifacts.Digest { return r.Outputs["out"] },
			"file":     func(*artifacts.Record) artifacts.Digest { return digest("content") },
		} {
			rec := result(t, c, what, 0, "x=content")
			if err := sw.Delete(t.Context(), artifacts.BlobsFolder+gone(rec).Hex()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Publish(t.Context(), rec); !errors.Is(err, artifacts.ErrMissing) {
				t.Errorf("without its %s: %v", what, err)
			}
		}
		rec := result(t, c, "size", 0, "x=content")
		m := must[*artifacts.Manifest](t)(c.Manifest(t.Context(), rec.Outputs["out"]))
		m.Files[0].Size++
		rec.Outputs["out"] = must[artifacts.Digest](t)(c.PutManifest(t.Context(), m))
		if _, _, err := c.Publish(t.Context(), rec); !errors.Is(err, artifacts.ErrDamaged) {
			t.Errorf("with a wrong size: %v", err)
		}
		if got := names(t, c, ""); len(got) > 0 {
			t.Errorf("pointers were left: %q", got)
		}
	})
}

func TestTenPublishersOfOneKey(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		const n = 10
		winners := make([]artifacts.Digest, n)
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				rec := result(t, c, "same", i, fmt.Sprintf("x=%d", i%3))
				_, winners[i], errs[i] = c.Publish(t.Context(), rec)
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(winners, func(a, b artifacts.Digest) int { return bytes.Compare(a[:], b[:]) })
		if all := slices.Compact(winners); len(all) != 1 {
			t.Errorf("%d different winners", len(all))
		}
		if n := len(names(t, c, "runs/")); n != 10 {
			t.Errorf("%d runs of 10", n)
		}
		if problems := verify(t, c, sw); len(problems) > 0 {
			t.Errorf("%v", problems)
		}
	})
}

func TestGetBytesVerifies(t *testing.T) {
	s := mem.New()
	c := artifacts.NewCache(lying{s}, s)
	b := must[artifacts.Blob](t)(c.PutBytes(t.Context(), "text/plain", []byte("truth")))
	if got, err := artifacts.NewCache(s, s).GetBytes(t.Context(), b.Digest); err != nil || string(got) != "truth" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := c.GetBytes(t.Context(), b.Digest); !errors.Is(err, artifacts.ErrDamaged) {
		t.Errorf("%q, %v", got, err)
	}
}

// lying is a store whose bytes have rotten since they were put.
type lying struct{ *mem.Store }

func (l lying) Open(ctx context.Context, _ artifacts.Digest, off, n int64) (io.ReadCloser, error) {
	lie := artifacts.Blob{Digest: digest("lies!"), Size: 5}
	if err := l.Store.Put(ctx, lie, strings.NewReader("lies!")); err != nil {
		return nil, err
	}
	return l.Store.Open(ctx, lie.Digest, off, n)
}

// Files may come with the record; one that comes with another size than its manifest says is refused, and so is one that is nowhere.
func TestPublishWithFilesAmongTheParts(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, _ artifacts.Sweeper) {
		rec := result(t, c, "a", 0)
		file := func(text string) artifacts.Part {
			b := []byte(text)
			return artifacts.Part{Payload: artifacts.Payload{
				Blob: artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Sum(b), Size: int64(len(b))}, Bytes: b,
			}}
		}
		inner := must[artifacts.Part](t)((&artifacts.Manifest{Type: "files"}).Part())
		copied := file(string(inner.Bytes)) // a file with the bytes of another output's manifest
		parts := []artifacts.Part{file("A"), copied}
		m := &artifacts.Manifest{Type: "files", Files: []artifacts.File{{Path: "a", Blob: parts[0].Blob}, {Path: "b", Blob: copied.Blob}}}
		for _, size := range []int64{parts[0].Size + 1, parts[0].Size} {
			m.Files[0].Size = size
			out := must[artifacts.Part](t)(m.Part())
			rec.Outputs = map[string]artifacts.Digest{"out": out.Digest, "inner": inner.Digest}
			if _, _, err := c.Publish(t.Context(), rec, out, inner); !errors.Is(err, artifacts.ErrMissing) {
				t.Errorf("without its files: %v", err)
			}
			_, _, err := c.Publish(t.Context(), rec, append(parts, inner, out)...)
			if wrong := size != parts[0].Size; wrong != errors.Is(err, artifacts.ErrDamaged) || !wrong && err != nil {
				t.Errorf("with a file of %d bytes: %v", size, err)
			}
		}
		if _, _, err := c.Lookup(t.Context(), rec.Key); err != nil {
			t.Error(err)
		}
		if b, err := c.GetBytes(t.Context(), parts[0].Digest); err != nil || string(b) != "A" {
			t.Errorf("%q, %v", b, err)
		}
	})
}
