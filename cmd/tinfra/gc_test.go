package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// gcCrashStory kills a collection at one of its named points. What it leaves must be sound, the next one must finish the
// work, and what was to stay must still be a hit.
const gcCrashStory = `
exec tinfra build
exec tinfra build --var word=two
exec sh -c 'mkdir -p cache/checkpoints/KEY/1 && echo piece > cache/checkpoints/KEY/1/layer'
exec touch -d 2020-01-01 cache/checkpoints/KEY/1/layer cache/checkpoints/KEY/1 cache/checkpoints/KEY
runs make make upper upper
env TINFRA_TEST_CRASH=STEP
! exec tinfra cache gc --keep 1 --grace 0s --apply
! stderr .
env TINFRA_TEST_CRASH=
exec tinfra cache verify
exec tinfra plan --var word=two
stdout '2 cached'
exec tinfra cache gc --keep 1 --grace 0s --apply
exec tinfra cache gc --keep 1 --grace 0s --json
stdout '"freedBytes": 0'
stdout '"files": 0'
stdout '"checkpoints": 0'
exec tinfra plan
stdout '0 cached'
! exists cache/checkpoints/KEY
exec tinfra cache verify

-- recipe.hcl --
variable "word" {
  type    = string
  default = "one"
}
stage "make" "text" {
  text = var.word
}
stage "upper" "loud" {
  text = make.text.files
}
`

func TestKilledAtEachStepOfCollecting(t *testing.T) {
	dir := t.TempDir()
	for _, step := range artifacts.GCSteps {
		script := strings.NewReplacer("STEP", step, "KEY", artifacts.Sum([]byte("abandoned")).Hex()).Replace(gcCrashStory)
		if err := os.WriteFile(filepath.Join(dir, "killed_at_"+step+".txtar"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, stories(t, dir))
}

// soaked is one cache that builders and collectors share, as processes.
type soaked struct {
	t     *testing.T
	dir   string
	count atomic.Int64
}

// soakRecipe: all builders' first stages share keys; the last one's bytes follow from the word.
const soakRecipe = `
variable "word" {
  type = string
}
stage "make" "text" {
  text = var.word
}
stage "make" "same" {
  text = "the same for all"
}
stage "upper" "loud" {
  text = make.text.files
}
stage "join" "all" {
  parts = { loud = upper.loud.text, same = make.same.files }
}
`

func (s *soaked) tinfra(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "tinfra", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "TINFRA_CACHE="+filepath.Join(s.dir, "cache"), "XDG_CACHE_HOME=", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tinfra %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// build makes a word's text and compares every byte of it.
func (s *soaked) build(ctx context.Context, dir, word string) error {
	if _, err := s.tinfra(ctx, dir, "build", "--plain", "--var", "word="+word); err != nil {
		return err
	}
	out := filepath.Join(dir, "out")
	if _, err := s.tinfra(ctx, dir, "get", "join.all", "-o", out); err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(out, "joined.txt"))
	if err != nil {
		return err
	}
	want := fmt.Sprintf("loud/text.txt: %s\nsame/text.txt: the same for all\n", strings.ToUpper(word))
	if string(got) != want {
		return fmt.Errorf("%s: built %q instead of %q", word, got, want)
	}
	s.count.Add(1)
	return os.RemoveAll(out)
}

func (s *soaked) recipe(name string) string {
	dir := filepath.Join(s.dir, name)
	files := map[string]string{name + ".hcl": soakRecipe, "tinfra.hcl": "kinds = [\"../kinds\"]\n"}
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	return dir
}

// TestSoakCollectBesideBuilds: no build fails or makes wrong bytes beside collections that keep the last builds and
// nothing else, and what they leave is sound.
func TestSoakCollectBesideBuilds(t *testing.T) {
	last := 8 * time.Second
	if soak {
		last = 10 * time.Minute
	}
	s := &soaked{t: t, dir: t.TempDir()}
	if err := os.CopyFS(filepath.Join(s.dir, "kinds"), os.DirFS(filepath.Join("testdata", "kinds"))); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), last)
	defer stop()
	var all sync.WaitGroup
	repeat := func(what func(random *rand.Rand) error, seed uint64) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, 2))
			for ctx.Err() == nil {
				if err := what(random); err != nil {
					t.Error(err)
					stop()
				}
			}
		})
	}
	whole := context.WithoutCancel(ctx) // what has begun ends
	for i := range 3 {
		dir := s.recipe(fmt.Sprintf("recipe%d", i))
		repeat(func(random *rand.Rand) error { return s.build(whole, dir, fmt.Sprintf("word%d", random.IntN(4))) }, uint64(i))
	}
	var collections atomic.Int64
	tick := time.NewTicker(200 * time.Millisecond) // two cores: builds shall get on, too
	defer tick.Stop()
	repeat(func(random *rand.Rand) error {
		<-tick.C
		args := []string{"cache", "gc", "--apply", "--grace", "0s", "--keep", fmt.Sprint(random.IntN(2))}
		if random.IntN(3) == 0 {
			args = append(args, "--max-size", "1B")
		}
		collections.Add(1)
		_, err := s.tinfra(whole, s.dir, args...)
		return err
	}, 99)
	all.Wait()
	t.Logf("%d builds beside %d collections", s.count.Load(), collections.Load())
	if s.count.Load() == 0 || collections.Load() == 0 {
		t.Error("nothing met")
	}
	if out, err := s.tinfra(t.Context(), s.dir, "cache", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if err := s.build(t.Context(), filepath.Join(s.dir, "recipe0"), "word0"); err != nil {
		t.Error(err)
	}
}
