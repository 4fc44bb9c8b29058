package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// guarded is a recipe whose middle stage waits at a gate, and that downloads nothing.
var guarded = map[string]string{"recipe.hcl": `
stage "make" "hello" {
  text = "hello"
}
stage "trial" "slow" {
  mode = "gated"
  text = make.hello.files
}
stage "upper" "loud" {
  text = trial.slow.files
}
`}

var guardedKinds = []string{"make", "trial", "upper"}

// newGuarded has machines that build it, and the gate.
func newGuarded(t *testing.T, s *s3test.Server, endpoint string) (n *neighbours, open func()) {
	t.Helper()
	n = &neighbours{scene: newScene(t, guarded), bucket: s.Bucket(t), common: s.Env()}
	n.remote(endpoint)
	return n, n.gate()
}

// atTheGate begins a build on a machine, and waits until its worker stands at the gate.
func (n *neighbours) atTheGate(machine string) *process {
	n.t.Helper()
	p := n.on(machine, "build", "--json")
	until(n.t, machine+" is at the gate", func() bool { return p.saw(gatedStage, event.Progress, "at the gate") > 0 })
	return p
}

// waitsFor waits until p says that it does.
func (p *process) waitsFor(holder *process) {
	p.s.t.Helper()
	host := " on " + hostName() + "), which makes it"
	until(p.s.t, "it waits for the other machine", func() bool {
		return p.saw(gatedStage, event.Queued, "waits for build "+holder.id()+" ") > 0 && p.saw(gatedStage, event.Queued, host) > 0
	})
}

// ofLeases matches requests for leases.
func ofLeases(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, "/leases/") }
}

// holdUntil keeps a request waiting; it is false where nobody waits for the answer any more.
func holdUntil(r *http.Request, done func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return false
		}
	}
	return true
}

// noLeases sees that none is left in the bucket.
func noLeases(t *testing.T, s *s3test.Server, n *neighbours) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(s.Dir(), n.bucket), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "/leases/") {
			t.Errorf("a lease is left: %s", path)
		}
		return err
	}))
}

// Two machines want the same at once: one makes it, and the other one sees how far that is.
func TestTwoMachinesOneRun(t *testing.T) {
	s := s3test.Versity(t)
	f := s3test.Proxy(t, s)
	n, open := newGuarded(t, s, f.Endpoint)
	one := n.atTheGate("one")
	two := n.on("two", "build", "--json")
	two.waitsFor(one)
	until(t, "the other one sees the progress", func() bool { return two.saw(gatedStage, event.Progress, "at the gate") > 0 })
	looks := asked(f, http.MethodGet, "leases")
	f.On(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/keys/")
	}, 0, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		enough := func() bool {
			return asked(f, http.MethodGet, "leases") > looks+2 || strings.Contains(two.said(), `"type":"started"`) // then it has not waited
		}
		if holdUntil(r, enough) {
			next.ServeHTTP(w, r)
		}
	})
	open() // the result is not in the bucket before the other machine has looked at the lease twice more
	one.well()
	two.well()
	n.ranOnce(guardedKinds...)
	if said := two.said(); !strings.Contains(said, "another build made it") {
		t.Errorf("the second machine does not say where its result is from:\n%s", said)
	}
	noLeases(t, s, n)
	n.sound("one")
	n.sound("two")
}

// takenOver is a scene in which the first machine sleeps, and the second one has begun to do its work after the server's clock has said
// that it has been silent for too long.
func takenOver(t *testing.T) (n *neighbours, one, two *process, open func()) {
	t.Helper()
	s := s3test.MinIO(t)
	f := s3test.Proxy(t, s)
	n, open = newGuarded(t, s, f.Endpoint)
	one = n.atTheGate("one")
	must(t, one.Process.Signal(syscall.SIGSTOP))
	until(t, "the first machine sleeps", one.stopped)
	two = n.on("two", "build", "--json")
	two.waitsFor(one)
	f.On(ofLeases(http.MethodGet), 0, s3test.Clock(2*time.Minute))
	until(t, "the second one works", func() bool { return two.saw(gatedStage, event.Started, "") > 0 })
	f.Calm()
	return n, one, two, open
}

// Whose machine has died is not waited for any longer than the server's clock says.
func TestLeaseIsTakenOverByTheServersClock(t *testing.T) {
	n, one, two, open := takenOver(t)
	open()
	two.well()
	one.kill()
	n.sound("two")
	n.on("three", "build").well()
	if times := n.runs(); times["trial"] != 2 || times["upper"] != 1 {
		t.Errorf("ran %v", times)
	}
}

// A machine that slept, and finds when it wakes up that another one has done its work, ends well all the same. The first result counts.
func TestAHolderThatSleptDoesNoHarm(t *testing.T) {
	n, one, two, open := takenOver(t)
	open()
	two.well()
	must(t, one.Process.Signal(syscall.SIGCONT))
	one.well()
	for _, machine := range []string{"one", "two"} {
		n.sound(machine)
		n.on(machine, "get", "upper.loud", "-o", filepath.Join(n.dir, machine, "loud")).well()
	}
	ran := n.runs()
	if ran["trial"] != 2 || ran["make"] != 1 {
		t.Errorf("ran %v", ran)
	}
	if said := n.on("three", "build").ends(exitOK); !strings.Contains(said, ": 3 hit") {
		t.Errorf("a third machine does not find the results:\n%s", said)
	}
	n.sound("three")
}

// A build that was killed on the same machine is not waited for at all.
func TestTheLeaseOfAKilledBuildIsFreeAtOnce(t *testing.T) {
	s := s3test.MinIO(t)
	f := s3test.Proxy(t, s)
	n, open := newGuarded(t, s, f.Endpoint)
	one := n.atTheGate("one")
	two := n.on("two", "build", "--json")
	two.waitsFor(one)
	began := len(f.Seen())
	one.kill()
	until(t, "the second one works", func() bool { return two.saw(gatedStage, event.Started, "") > 0 })
	if looks := strings.Count(strings.Join(f.Seen()[began:], "\n"), "/leases/"); looks > 10 { // one each 3 s
		t.Errorf("it looked %d times at the lease of the dead", looks)
	}
	open()
	two.well()
	noLeases(t, s, n)
}

// Leases save work and nothing else: a bucket that gives none is built with all the same.
func TestABucketThatGivesNoLeases(t *testing.T) {
	s := s3test.MinIO(t)
	f := s3test.Proxy(t, s)
	n := newNeighbours(t, s, f.Endpoint, s.Bucket(t))
	f.On(ofLeases(http.MethodPut), 0, s3test.Answer(http.StatusForbidden, "AccessDenied", nil))
	said := n.on("one", "build", "--json").ends(exitOK)
	if got := strings.Count(said, "another machine may do the same work"); got != 1 {
		t.Errorf("said %d times that there are no leases:\n%s", got, said)
	}
	n.ranOnce(victimKinds...)
	n.hits("two")
}

// The lifeline of a process tells it from those that have its number at another time, or in another place.
func TestLifeline(t *testing.T) {
	me := ownLifeline()
	if me == (lifeline{}) {
		t.Fatal("this machine does not tell its processes apart")
	}
	dead := exec.CommandContext(context.Background(), "true")
	must(t, dead.Run())
	c := claims{me: me}
	for name, row := range map[string]struct {
		change func(*lifeline)
		dead   bool
	}{
		"itself":              {func(*lifeline) {}, false},
		"gone":                {func(l *lifeline) { l.PID = dead.Process.Pid }, true},
		"number used again":   {func(l *lifeline) { l.Start = "1" }, true},
		"another machine":     {func(l *lifeline) { l.PID, l.Host = dead.Process.Pid, "other" }, false},
		"before it restarted": {func(l *lifeline) { l.PID, l.Boot = dead.Process.Pid, "other" }, false},
		"another container":   {func(l *lifeline) { l.PID, l.Space = dead.Process.Pid, "pid:[1]" }, false},
		"no number":           {func(l *lifeline) { l.PID = 0 }, false},
		"unknown":             {func(l *lifeline) { *l = lifeline{} }, false},
	} {
		c.me = me
		row.change(&c.me)
		if got := me.outlived(c.signed([]byte(`{"pid":1}`))); got != row.dead {
			t.Errorf("%s: %t, want %t", name, got, row.dead)
		}
	}
	for _, text := range []string{"", "null", "[]", "{}", `{"process":7}`, `{"process":{"pid":"x"}}`} {
		if me.outlived([]byte(text)) || (lifeline{}).outlived([]byte(text)) {
			t.Errorf("%q is taken for dead", text)
		}
	}
}
