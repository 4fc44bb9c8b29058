package main

import (
	"bytes"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

// neighbours is a scene with a bucket, and further machines that know it: each with a home and a cache of its own.
type neighbours struct {
	*scene
	bucket string
	common []string // variables of all machines
}

func newNeighbours(t *testing.T, s *s3test.Server, endpoint, bucket string) *neighbours {
	t.Helper()
	n := &neighbours{scene: newScene(t, victim), bucket: bucket, common: s.Env()}
	n.remote(endpoint)
	return n
}

// remote sets where the bucket is. A test has a prefix of its own in it.
func (n *neighbours) remote(endpoint string) {
	prefix := "s3://" + n.bucket + "/" + strings.ToLower(filepath.Base(filepath.Dir(n.dir)))
	n.common = append(n.common, "TINFRA_REMOTE="+prefix+"?endpoint="+endpoint)
}

func (n *neighbours) cacheOf(machine string) string { return filepath.Join(n.dir, "cache-"+machine) }

// on begins tinfra on a machine.
func (n *neighbours) on(machine string, args ...string) *process {
	return n.with(machine, nil, args...)
}

func (n *neighbours) with(machine string, variables []string, args ...string) *process {
	n.t.Helper()
	must(n.t, os.MkdirAll(filepath.Join(n.dir, machine), 0o755))
	all := slices.Concat(n.common, []string{"HOME=" + filepath.Join(n.dir, machine), "TINFRA_CACHE=" + n.cacheOf(machine)}, variables)
	return n.start(all, args...)
}

// ends waits for an end with this code, and gives what was said.
func (p *process) ends(code int) string {
	p.s.t.Helper()
	<-p.ended
	said := p.said() + read1(p.err)
	if got := p.ProcessState.ExitCode(); got != code {
		p.s.t.Fatalf("%q ended with %d (%v), want %d\n%s", p.Args, got, p.ProcessState, code, said)
	}
	return said
}

// sound is `cache verify` on a machine.
func (n *neighbours) sound(machine string) {
	n.t.Helper()
	store, err := disk.Open(n.cacheOf(machine))
	must(n.t, err)
	defer store.Close()
	must(n.t, artifacts.NewCache(store, store).Verify(n.t.Context(), store, func(p artifacts.Problem) {
		n.t.Errorf("cache verify on %s: %+v", machine, p)
	}))
}

// hits sees that a machine has all results of the recipe without running anything, bytes too.
func (n *neighbours) hits(machine string) {
	n.t.Helper()
	before := n.runs()
	if said := n.on(machine, "build").ends(exitOK); !strings.Contains(said, ": 3 hit") {
		n.t.Errorf("%s does not find all results:\n%s", machine, said)
	}
	for _, stage := range []string{"pinned.data", "upper.loud", "make.hello"} {
		n.on(machine, "get", stage, "-o", filepath.Join(n.dir, machine, stage)).well()
	}
	if text := read1(filepath.Join(n.dir, machine, "upper.loud", "data.txt")); text != "SOME DATA\n" {
		n.t.Errorf("%s has got %q", machine, text)
	}
	for kind, times := range n.runs() {
		if times != before[kind] {
			n.t.Errorf("%s ran %s", machine, kind)
		}
	}
	n.sound(machine)
}

// asked are the requests of one method for names of a folder of the layout.
func asked(f *s3test.Faults, method, folder string) int {
	count := 0
	for _, r := range f.Seen() {
		if strings.HasPrefix(r, method+" ") && strings.Contains(r, "/main/"+folder+"/") {
			count++
		}
	}
	return count
}

// What one machine has built, another one uses: it runs nothing, and of the files it downloads those that are asked for.
func TestSecondHomeRunsNothing(t *testing.T) {
	for name, server := range map[string]func(testing.TB) *s3test.Server{"MinIO": s3test.MinIO, "versitygw": s3test.Versity} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := server(t)
			f := s3test.Proxy(t, s)
			n := newNeighbours(t, s, f.Endpoint, s.Bucket(t))
			n.on("one", "build").well()
			n.ranOnce(victimKinds...)
			sent := asked(f, "PUT", "packs")
			if sent == 0 {
				t.Fatal("nothing was shared")
			}
			n.on("two", "plan").well()
			n.on("two", "build", "--plain").well()
			if got := asked(f, "GET", "packs") + asked(f, "GET", "maps"); got > 0 {
				t.Errorf("%d requests for bytes that nobody has asked for", got)
			}
			n.on("two", "get", "upper.loud", "-o", filepath.Join(n.dir, "out")).well()
			if got := asked(f, "GET", "maps"); got != 1 {
				t.Errorf("%d maps were read for one output", got)
			}
			n.hits("two")
			n.ranOnce(victimKinds...)
			if now := asked(f, "PUT", "packs"); now != sent {
				t.Errorf("%d packs were sent again", now-sent)
			}
		})
	}
}

// Killed at any step of sharing, a build leaves a bucket that others can use, and the next one brings the rest.
func TestKilledAtEachStepOfSharing(t *testing.T) {
	s := s3test.MinIO(t)
	bucket := s.Bucket(t)
	for _, step := range artifacts.ShareSteps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			n := newNeighbours(t, s, s.Endpoint, bucket)
			if first := n.with("one", []string{"TINFRA_TEST_CRASH=" + step}, "build"); !first.killed() {
				t.Fatalf("no build comes here: %s", read1(first.err))
			}
			n.sound("one")
			n.on("two", "build").well()
			n.sound("two")
			n.hits("two")
			ran := n.runs()
			n.on("one", "build").well()
			if now := n.runs(); !maps.Equal(now, ran) {
				t.Errorf("the first machine ran what is there: %v, was %v", now, ran)
			}
			n.hits("one")
			n.hits("three")
		})
	}
}

// What a machine has, and knows the bucket to have, it builds again without asking the bucket; another tier has to be asked.
func TestWhatIsEverywhereIsBuiltAgainFromMemory(t *testing.T) {
	s := s3test.MinIO(t)
	f := s3test.Proxy(t, s)
	n := newNeighbours(t, s, f.Endpoint, s.Bucket(t))
	n.on("one", "build").well()
	n.on("one", "build").well() // the lock is there now
	before := len(f.Seen())
	for _, verb := range []string{"build", "plan"} {
		if said := n.on("one", verb).ends(exitOK); !strings.Contains(said, "3 hit") && !strings.Contains(said, "3 cached") {
			t.Errorf("%s said %s", verb, said)
		}
	}
	n.on("one", "why", "upper.loud").well()
	if seen := f.Seen()[before:]; len(seen) > 0 {
		t.Errorf("the bucket was asked again: %q", seen)
	}
	n.with("one", []string{"TINFRA_TIER=other"}, "build").well()
	if said := n.with("two", []string{"TINFRA_TIER=other"}, "plan").ends(exitOK); !strings.Contains(said, "3 cached") {
		t.Errorf("a tier that was not asked has not got the results:\n%s", said)
	}
	// The second machine has what describes the results, and not their bytes: each time it asks where they are.
	n.on("two", "build").well()
	before = len(f.Seen())
	n.on("two", "build").well()
	if len(f.Seen()) == before {
		t.Error("a machine without the bytes did not ask where they are")
	}
	n.ranOnce(victimKinds...)
}

// Two machines that make the same at once have each their own record of it; the bucket keeps the first, and all are served.
func TestTwoMachinesAtOnce(t *testing.T) {
	s := s3test.Versity(t)
	n := newNeighbours(t, s, s.Endpoint, s.Bucket(t))
	machines := []string{"one", "two", "three", "four"}
	var builds []*process
	for _, m := range machines {
		builds = append(builds, n.on(m, "build"))
	}
	for _, b := range builds {
		b.well()
	}
	for _, m := range append(machines, "five") {
		n.hits(m)
	}
}

// A server that dies while results are brought to it, and comes back, costs a wait.
func TestServerKilledWhileSharing(t *testing.T) {
	s := s3test.Start(t, s3test.KindMinIO)
	n := newNeighbours(t, s, s.Endpoint, s.Bucket(t))
	build := n.with("one", []string{"TINFRA_TEST_STOP=" + artifacts.StepSharePacks}, "build")
	until(t, "the build stands still", build.stopped)
	s.Kill()
	must(t, build.Process.Signal(syscall.SIGCONT))
	s.Restart(t)
	build.well()
	n.ranOnce(victimKinds...)
	n.hits("two")
}

// Ctrl-C ends the wait for the bucket. The next build brings what is missing there.
func TestInterruptedWhileSharingGoesOn(t *testing.T) {
	s := s3test.MinIO(t)
	f := s3test.Proxy(t, s)
	n := newNeighbours(t, s, f.Endpoint, s.Bucket(t))
	f.On(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/packs/")
	}, 0, s3test.BlackHole)
	build := n.on("one", "build", "--json")
	until(t, "all stages are made", func() bool {
		return strings.Count(build.said(), `"type":"finished"`) == len(victimKinds)
	})
	must(t, build.Process.Signal(syscall.SIGINT))
	build.ends(exitInterrupted)
	n.sound("one")
	n.ranOnce(victimKinds...)
	f.Calm()
	n.on("one", "build").well()
	n.hits("two")
	n.ranOnce(victimKinds...)
}

// A bucket that ignores conditions would let two builds undo each other's work.
func TestDoctorRefusesABucketWithoutConditions(t *testing.T) {
	s := s3test.Careless(t)
	n := newNeighbours(t, s, s.Endpoint, "models")
	for _, args := range [][]string{{"doctor"}, {"build"}, {"lock"}, {"cache", "push", "--all"}} {
		if said := n.on("one", args...).ends(exitCache); !strings.Contains(said, "ignores conditions") {
			t.Errorf("tinfra %s said:\n%s", strings.Join(args, " "), said)
		}
	}
	if said := n.on("one", "doctor").ends(exitCache); !strings.Contains(said, "bucket: create on condition") || !strings.Contains(said, "lacks") {
		t.Errorf("doctor does not say which check failed:\n%s", said)
	}
	if len(n.runs()) > 0 {
		t.Error("stages ran although their results could not be shared")
	}
}

func TestSingleWriter(t *testing.T) {
	s := s3test.Careless(t)
	n := newNeighbours(t, s, s.Endpoint, "models")
	n.on("one", "build", "--single-writer").well()
	n.on("one", "doctor", "--single-writer").well()
	n.on("two", "plan").well()
	n.on("two", "build").ends(exitCache)
	if said := n.on("two", "build", "--single-writer").ends(exitOK); !strings.Contains(said, ": 3 hit") {
		t.Errorf("the results of a single writer are not found:\n%s", said)
	}
	n.ranOnce(victimKinds...)
}

func TestCredentialsAreFoundNowhere(t *testing.T) {
	s := s3test.MinIO(t)
	n := newNeighbours(t, s, s.Endpoint, s.Bucket(t))
	n.common = append(n.common, "AWS_SESSION_TOKEN=") // none is set on the machine that runs the tests
	n.on("one", "doctor", "--json").well()
	n.on("one", "build", "--json").well()
	n.on("two", "build", "--plain", "--logs").well()
	n.on("two", "get", "upper.loud", "-o", filepath.Join(n.dir, "out")).well()
	n.on("one", "cache", "push", "--all").well()
	must(t, os.Mkdir(filepath.Join(n.dir, "nosy"), 0o755))
	n.write("nosy/recipe.hcl", `
stage "exec" "environment" {
  command = ["sh", "-c", "env | tee out/files/env"]
}`)
	n.on("one", "build", "nosy/recipe.hcl").well() // workers are not told either
	wrong := "not-the-secret-that-it-knows"
	for _, args := range [][]string{{"doctor", "--json"}, {"build", "--json"}, {"plan"}, {"cache", "push", "--all"}} {
		n.with("three", []string{"AWS_SECRET_ACCESS_KEY=" + wrong}, args...).ends(exitCache)
	}
	n.with("three", []string{"AWS_SESSION_TOKEN=" + wrong}, "build").ends(exitCache)
	for _, dir := range []string{n.dir, filepath.Join(s.Dir(), n.bucket)} {
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if bytes.Contains(b, []byte(s3test.SecretKey)) || bytes.Contains(b, []byte(wrong)) {
				t.Errorf("%s has a secret in it", path)
			}
			return err
		}))
	}
}
