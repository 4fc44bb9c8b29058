package shared_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/s3"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

func TestMain(m *testing.M) { os.Exit(s3test.Around(m).Run()) }

// onServer is a world in a bucket of its own of a real server.
func onServer(t *testing.T, s *s3test.Server) *world {
	t.Helper()
	s.Setenv(t)
	c := must[*s3.Client](t)(s3.New(t.Context(), s3.Config{Bucket: s.Bucket(t), Endpoint: s.Endpoint, PathStyle: true, Prefix: "team", Stall: 5 * time.Second}))
	return newWorldOn(t, c.Below("main"))
}

// TestTwoMachinesOneServer: what one machine has shared, another one has from a real server, to the last byte; and a bit that flips there is
// found out.
func TestTwoMachinesOneServer(t *testing.T) {
	for kind, server := range map[string]func(testing.TB) *s3test.Server{s3test.KindMinIO: s3test.MinIO, s3test.KindVersity: s3test.Versity} {
		t.Run(kind, func(t *testing.T) {
			ctx := context.Background()
			w := onServer(t, server(t))
			files := []string{"model.safetensors=" + tensor("BF16", weights(1, 12<<20)), "raw.bin=" + noise(2, 5<<20), "empty=", "config.json={}"}
			for i := range 200 {
				files = append(files, fmt.Sprintf("many/%03d=%s", i, noise(uint64(i), 700)))
			}
			a := w.machine(t)
			made := a.make("x", files...)
			if err := a.remote.ShareBuild(ctx, a.build("r.hcl", 1, made)); err != nil {
				t.Fatal(err)
			}
			b := w.machine(t)
			b.finds(t, made)
			if err := errors.Join(b.remote.Keep(ctx), b.remote.Fetch(ctx, made.out, nil)); err != nil {
				t.Fatal(err)
			}
			b.has(made.out)
			b.clean()

			w.flip(t, w.packs(t, made.manifest)[0])
			c := w.machine(t)
			c.finds(t, made)
			var lost *shared.Gone
			if err := c.remote.Fetch(ctx, made.out, nil); !errors.As(err, &lost) || !errors.Is(err, artifacts.ErrDamaged) {
				t.Fatalf("after a bit has flipped: %v", err)
			}
			c.heal(t, made, files)
		})
	}
}

// TestServerKilledWhileSharing: a server that is killed at any step and comes back costs time, and nothing else.
func TestServerKilledWhileSharing(t *testing.T) {
	for _, kind := range []string{s3test.KindMinIO, s3test.KindVersity} {
		for _, prefix := range []string{"packs/", "maps/", "blobs/", "runs/", "records/", "keys/", "indexes/", "builds/", "refs/"} {
			t.Run(kind+" at "+prefix, func(t *testing.T) {
				ctx := context.Background()
				s := s3test.Start(t, kind)
				w := onServer(t, s)
				a := w.machine(t)
				made := a.make("x", "a="+noise(3, 5<<20), "b="+noise(4, 100))
				build := a.build("r.hcl", 1, made)
				var once sync.Once
				back := make(chan struct{})
				w.fail(func(op, name string) error {
					if op == "write" && strings.HasPrefix(name, prefix) {
						once.Do(func() {
							s.Kill()
							go func() {
								defer close(back)
								s.Restart(t)
							}()
						})
					}
					return nil
				})
				err := a.remote.ShareBuild(ctx, build)
				once.Do(func() { t.Fatalf("nothing was written below %s", prefix) })
				<-back
				if err != nil {
					t.Fatal(err)
				}
				w.fail(nil)
				w.whole(t, made, true)
			})
		}
	}
}
