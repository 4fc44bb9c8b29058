package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// prey is a recipe that takes a second, a part of it with a worker at work, and has each kind once.
var prey = map[string]string{
	"data.txt": "some data\n",
	"recipe.hcl": `
stage "pinned" "data" {
  source = "file:data.txt"
}
stage "trial" "slow" {
  mode   = "slow"
  amount = 3
  text   = pinned.data.files
}
stage "upper" "loud" {
  text = pinned.data.files
}
`,
}

var preyKinds = []string{"pinned", "trial", "upper"}

// seedOf is printed, and taken from TINFRA_SOAK_SEED where a failure shall be seen again.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TINFRA_SOAK_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	t.Logf("TINFRA_SOAK_SEED=%d", seed)
	return seed
}

// chase is one kill: of one build or of one of two, at a moment, with or without what works for them.
type chase struct {
	moment  time.Duration
	two     bool
	workers bool // supervisors and workers are killed too
	again   bool // the build that comes after is killed as well
}

// Builds die at random moments, alone and in company, with their workers and without: the next build goes on from
// there, nothing that was published runs again, and nothing is left to clean up.
func TestSoakKilledAtRandom(t *testing.T) {
	kills := 20
	if soak {
		kills = 200
	}
	random := rand.New(rand.NewPCG(seedOf(t), 5))
	begun := time.Now()
	whole := undisturbed(t, prey)
	long := time.Since(begun)
	limit := make(chan struct{}, 2) // more at once only stretch each other
	for i := range kills {
		h := chase{
			moment: time.Duration(random.Int64N(int64(long))), two: random.IntN(3) == 0,
			workers: random.IntN(3) == 0, again: random.IntN(4) == 0,
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			limit <- struct{}{}
			defer func() { <-limit }()
			t.Logf("%+v", h)
			h.run(t, whole)
		})
	}
}

func (h chase) run(t *testing.T, whole []string) {
	s := newScene(t, prey)
	kills := 1
	if h.again {
		kills = 2
	}
	for range kills {
		first := s.start(nil, "build")
		second := first
		if h.two {
			second = s.start(nil, "build", "--json")
		}
		select {
		case <-time.After(h.moment):
		case <-first.ended:
		}
		_ = first.Process.Signal(syscall.SIGSTOP) // so that what is published is what was when it died
		made := s.published()
		before := s.runs()
		first.kill()
		if h.workers {
			for _, pid := range s.workers() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if h.two {
			second.well()
		}
		s.sound()
		after := s.runs()
		for _, kind := range made {
			if after[kind] != before[kind] {
				t.Errorf("%s was published and ran again", kind)
			}
		}
	}
	made, before := s.published(), s.runs()
	s.start(nil, "build").well()
	s.same(whole)
	after := s.runs()
	for _, kind := range made {
		if after[kind] != before[kind] {
			t.Errorf("%s was published and ran again", kind)
		}
	}
	if !h.workers { // then nothing was lost: each worker was waited for by somebody
		s.ranOnce(preyKinds...)
	}
}

// TestSoakRealRecipeKilled kills builds of recipes/tiny/int4.hcl. It needs the environment torch, installed in the cache
// that TINFRA_SOAK_ENVS names: `TINFRA_CACHE=DIR tinfra env install torch` makes one. It takes some twenty minutes, so
// it runs only in the long form.
func TestSoakRealRecipeKilled(t *testing.T) {
	envs := os.Getenv("TINFRA_SOAK_ENVS")
	if !soak || envs == "" {
		t.Skip("it needs TINFRA_SOAK, and TINFRA_SOAK_ENVS: a cache with the environment torch installed")
	}
	recipe, err := filepath.Abs(filepath.Join("..", "..", "recipes", "tiny", "int4.hcl"))
	must(t, err)
	random := rand.New(rand.NewPCG(seedOf(t), 20))
	program := filepath.Join(t.TempDir(), "tinfra")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	fresh := func() *scene {
		s := newScene(t, nil)
		s.program = program
		store, err := disk.Open(s.cache())
		must(t, err)
		must(t, store.Close())
		if out, err := exec.Command("cp", "-al", filepath.Join(envs, "env"), s.cache()).CombinedOutput(); err != nil {
			t.Fatalf("linking the environment: %v\n%s", err, out)
		}
		return s
	}
	s := fresh()
	begun := time.Now()
	s.start(nil, "build", recipe).well()
	long := time.Since(begun)
	want := s.published()
	s = fresh()
	for kill := range 200 {
		p := s.start(nil, "build", recipe)
		select {
		case <-time.After(time.Duration(random.Int64N(int64(long) / 4))):
		case <-p.ended: // all is made: the next kills begin anew
			p.well()
			if got := s.published(); !slices.Equal(got, want) {
				t.Errorf("after %d kills the keys are of\n%v\nwant\n%v", kill, got, want)
			}
			s = fresh()
			continue
		}
		p.kill()
		s.sound()
		t.Logf("%d kills, with %d keys published", kill+1, len(s.published()))
	}
	s.start(nil, "build", recipe).well()
	s.start(nil, "build", recipe).well()
	if got := s.published(); !slices.Equal(got, want) {
		t.Errorf("in the end the keys are of\n%v\nwant\n%v", got, want)
	}
	s.sound()
	left, err := leftovers(s.cache())
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left over: %q", slices.Sorted(slices.Values(left)))
	}
}
