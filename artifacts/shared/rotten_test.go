package shared_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/s3"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

// rotting is a world on MinIO whose objects can rot on its disk: MinIO then says for ever to come back later.
type rotting struct {
	*world
	dir string
}

func newRotting(t *testing.T) *rotting {
	t.Helper()
	s := s3test.MinIO(t)
	s.Setenv(t)
	b := s.Bucket(t)
	c := must[*s3.Client](t)(s3.New(t.Context(), s3.Config{Bucket: b, Endpoint: s.Endpoint, PathStyle: true, Prefix: "team", Patience: 300 * time.Millisecond}))
	return &rotting{newWorldOn(t, c.Below("main")), filepath.Join(s.Dir(), b, "team", "main")}
}

// rot flips a bit of an object's bytes on the server's disk, behind its back.
func (w *rotting) rot(t *testing.T, name string) {
	t.Helper()
	path, at := filepath.Join(w.dir, name, "xl.meta"), -1 // the last of its bytes are the object's
	if parts := must[[]string](t)(filepath.Glob(filepath.Join(w.dir, name, "*", "part.1"))); len(parts) == 1 {
		path, at = parts[0], 1000
	}
	b := must[[]byte](t)(os.ReadFile(path))
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x10
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRottenDescriptionsAreMisses: what MinIO cannot read of a result makes it no hit, and no error, and the next one takes its place.
func TestRottenDescriptionsAreMisses(t *testing.T) {
	for name, which := range map[string]func(r result) string{
		"key":      func(r result) string { return artifacts.KeyName(r.key) },
		"record":   func(r result) string { return artifacts.BlobsFolder + r.record.Hex() },
		"action":   func(r result) string { return artifacts.BlobsFolder + r.key.Hex() },
		"manifest": func(r result) string { return artifacts.BlobsFolder + r.manifest.Hex() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newRotting(t)
			a := w.machine(t)
			made := a.make("x", "a=1")
			a.mustShare(made)
			w.rot(t, which(made))
			w.takesItsPlace(t, made)
		})
	}
}

// TestRottenBytesAreGone: what MinIO cannot read of an output's files is lost, and made again.
func TestRottenBytesAreGone(t *testing.T) {
	ctx := context.Background()
	files := []string{"large.bin=" + noise(20, 5<<20), "a=" + noise(21, 4<<10)}
	for _, folder := range []string{"packs", "maps"} {
		t.Run(folder, func(t *testing.T) {
			w := newRotting(t)
			a := w.machine(t)
			made := a.make("x", files...)
			a.mustShare(made)
			rotten := "maps/" + made.manifest.Hex()
			if folder == "packs" {
				rotten = w.packs(t, made.manifest)[0]
			}
			w.rot(t, rotten)
			b := w.machine(t)
			b.finds(t, made)
			var lost *shared.Gone
			if err := b.remote.Fetch(ctx, made.out, nil); !errors.As(err, &lost) || !errors.Is(err, artifacts.ErrDamaged) || !strings.Contains(err.Error(), rotten) {
				t.Fatalf("fetched: %v; want Gone for %s", err, rotten)
			}
			b.clean()
			b.heal(t, made, files)
		})
	}
}

// TestRottenHistoryIsLeftOut: a log, a build or an index that MinIO cannot read keeps nobody from the results.
func TestRottenHistoryIsLeftOut(t *testing.T) {
	ctx := context.Background()
	for _, what := range []string{"log", "index", "build", "ref"} {
		t.Run(what, func(t *testing.T) {
			w := newRotting(t)
			a := w.machine(t)
			made := a.make("x", "a=1")
			d := a.build("r.hcl", 1, made)
			if err := a.remote.ShareBuild(ctx, d); err != nil {
				t.Fatal(err)
			}
			w.rot(t, map[string]string{
				"log": artifacts.BlobsFolder + made.rec.Log.Hex(), "index": "indexes/" + d.Hex(), "build": artifacts.BlobsFolder + d.Hex(), "ref": artifacts.RefName("r.hcl"),
			}[what])
			b := w.machine(t)
			if what != "log" { // of which there is a copy in the index
				if err := b.remote.Begin(ctx, "r.hcl"); err != nil {
					t.Fatal(err)
				}
			}
			b.finds(t, made)
			if err := errors.Join(b.remote.Keep(ctx), b.remote.Fetch(ctx, made.out, nil)); err != nil {
				t.Fatal(err)
			}
			b.has(made.out)
			if err := b.remote.ShareBuild(ctx, b.build("r.hcl", 2, made)); err != nil {
				t.Errorf("the next build cannot be shared: %v", err)
			}
		})
	}
}

// TestRottenNamesAreReplaced: names of a record that MinIO cannot read keep nobody from bringing the result again.
func TestRottenNamesAreReplaced(t *testing.T) {
	w := newRotting(t)
	a := w.machine(t)
	made := a.make("x", "a=1")
	a.mustShare(made)
	run, record, key := made.rec.Names(made.record)
	for _, name := range []string{run, record, key} {
		w.rot(t, name)
	}
	a.again()
	found := a.inspects(false)
	if len(found) != 1 || found[0].Name != key {
		t.Fatalf("found %d: %+v", len(found), found)
	}
	if n, err := a.remote.Mend(t.Context(), found); n != 1 || err != nil {
		t.Fatalf("mended %d: %v", n, err)
	}
	for _, name := range []string{run, record, key} {
		if got := string(w.bytes(t, name)); got != made.record.String() {
			t.Errorf("%s is %q", name, got)
		}
	}
	w.whole(t, made, true)
}
