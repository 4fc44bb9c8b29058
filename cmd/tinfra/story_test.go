package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// The test binary is three programs, by the name it is called under: the tests, tinfra, and the worker of
// testdata/kinds.
func TestMain(m *testing.M) {
	testscript.Main(s3test.Around(m), map[string]func(){
		"tinfra":     func() { hurried(); tinfraUnderTest() },
		"testworker": func() { hurried(); testWorker() },
	})
}

// hurried starts the process over where the race detector would let it sleep for a second before it ends: workers and
// supervisors have an environment of their own, so the setting does not reach them otherwise.
func hurried() {
	if !raceDetector || os.Getenv("GORACE") != "" {
		return
	}
	err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "GORACE=atexit_sleep_ms=0"))
	panic(err)
}

// wrongClock is ahead of the machine's.
type wrongClock struct {
	run.RealClock
	ahead time.Duration
}

func (c wrongClock) Now() time.Time { return time.Now().Add(c.ahead) }

// tinfraUnderTest is main with ways to suffer: dying at a named step, stopping there until it is killed, a full disk, a
// wrong clock, a file system without locks, the rights of another user, no network.
func tinfraUnderTest() {
	cutOff()
	becomeUser()
	for variable, signal := range map[string]syscall.Signal{"TINFRA_TEST_CRASH": syscall.SIGKILL, "TINFRA_TEST_STOP": syscall.SIGSTOP} {
		if step := os.Getenv(variable); step != "" {
			strikeAt(step, signal)
		}
	}
	if ahead, err := time.ParseDuration(os.Getenv("TINFRA_TEST_CLOCK")); err == nil {
		clock = wrongClock{ahead: ahead}
	}
	if os.Getenv("TINFRA_TEST_NO_LOCKS") != "" {
		refuseLocks()
	}
	if limit, err := strconv.ParseUint(os.Getenv("TINFRA_TEST_FILE_LIMIT"), 10, 32); err == nil {
		// Without the signal, a write beyond the limit fails with EFBIG.
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit << 10, Max: limit << 10}); err != nil {
			panic(err)
		}
	}
	main()
}

// strikeAt sends the process a signal when it reaches a step, "keys", for the first time, or "keys:3" for the third.
func strikeAt(step string, sig syscall.Signal) {
	step, nth, _ := strings.Cut(step, ":")
	left, err := strconv.ParseInt(cmp.Or(nth, "1"), 10, 64)
	if err != nil {
		panic(err)
	}
	var count atomic.Int64
	count.Store(left)
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	others := artifacts.Crash
	artifacts.Crash = func(at string) {
		if at == step && count.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), sig)
			<-goOn // the signal is on its way
		}
		if others != nil {
			others(at)
		}
	}
}

func TestStories(t *testing.T) {
	testscript.Run(t, stories(t, filepath.Join("testdata", "script")))
}

func stories(t *testing.T, dir string) testscript.Params {
	kinds, err := filepath.Abs(filepath.Join("testdata", "kinds"))
	if err != nil {
		t.Fatal(err)
	}
	recipes, err := filepath.Abs(filepath.Join("..", "..", "recipes"))
	if err != nil {
		t.Fatal(err)
	}
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("RECIPES", recipes)
			return settle(env, kinds)
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"runs":      cmdRuns,
			"jsonlines": cmdJSONLines,
			"sametree":  cmdSameTree,
			"absent":    cmdAbsent,
			"emptydir":  cmdEmptyDir,
			"damage":    cmdDamage,
			"orphans":   cmdOrphans,
			"smalldisk": cmdSmallDisk,
			"remount":   cmdRemount,
			"results":   cmdResults,
			"hits":      cmdHits,
			"opendoors": cmdOpenDoors,
			"network":   cmdNetwork,
			"samekeys":  cmdSameKeys,
			"exitcode":  cmdExitCode,
			"brackets":  cmdBrackets,
			"await":     cmdAwait,
			"oldest":    cmdOldest,
			"linkself":  cmdLinkSelf,
			"bucket":    func(ts *testscript.TestScript, neg bool, args []string) { cmdBucket(t, ts, neg, args) },
			"lose":      cmdLose,
			"spoil":     cmdSpoil,
		},
	}
}

// settle gives a story its own home and cache, and the kinds of testdata.
func settle(env *testscript.Env, kinds string) error {
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("TINFRA_CACHE", filepath.Join(env.WorkDir, "cache"))
	env.Setenv("XDG_CACHE_HOME", "")
	env.Setenv("TINFRA_REMOTE", "")
	env.Setenv("TINFRA_TIER", "")
	if raceDetector {
		env.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if err := os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(env.WorkDir, "kinds"), os.DirFS(kinds)); err != nil {
		return err
	}
	project := filepath.Join(env.WorkDir, "tinfra.hcl")
	if _, err := os.Stat(project); err == nil {
		return nil
	}
	return os.WriteFile(project, []byte("kinds = [\"./kinds\"]\n"), 0o644)
}

func condition(cond string) (bool, error) {
	switch cond {
	case "root":
		return os.Getuid() == 0, nil
	default:
		return false, nil
	}
}

// cmdRuns says which kinds the workers ran since the last question, in any order: "runs make upper"; "runs" for none.
func cmdRuns(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("runs cannot be negated")
	}
	file := ts.MkAbs(filepath.Join(ts.Getenv("WORK"), "runs.log"))
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		ts.Fatalf("%v", err)
	}
	got := strings.Fields(string(b))
	slices.Sort(got)
	slices.Sort(args)
	if !slices.Equal(got, args) {
		ts.Fatalf("the workers ran %q, want %q", got, args)
	}
	ts.Check(os.RemoveAll(file))
}

// cmdJSONLines: every line of the file is a JSON object, and there is one.
func cmdJSONLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: jsonlines FILE")
	}
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	for i, line := range lines {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("line %d is not a JSON object: %v: %q", i+1, err, line)
		}
	}
}

// cmdAbsent: none of the files below the folder holds the text, nor has it in its name.
func cmdAbsent(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: absent TEXT FOLDER")
	}
	found := ""
	ts.Check(filepath.WalkDir(ts.MkAbs(args[1]), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.Contains(d.Name(), args[0]) {
			found = path
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), args[0]) {
			found = path
		}
		return err
	}))
	if neg != (found != "") {
		ts.Fatalf("%q: found %q", args[0], found)
	}
}

// cmdEmptyDir: the folder holds no file; it need not exist.
func cmdEmptyDir(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: emptydir FOLDER")
	}
	found := ""
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !d.IsDir() {
			found += path + "\n"
		}
		return nil
	})
	ts.Check(err)
	if neg != (found != "") {
		ts.Fatalf("files:\n%s", found)
	}
}

// cmdBrackets writes a file of this many opening brackets.
func cmdBrackets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: brackets FILE COUNT")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	text := "stage \"make\" \"x\" {\n  text = " + strings.Repeat("[", n) + "\n}\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// cmdAwait waits until a file, which a process in the background writes, holds the text.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for patience := 3000; patience > 0; patience-- {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(b), args[1]) {
			return
		}
		<-tick.C
	}
	ts.Fatalf("%s does not say %q", args[0], args[1])
}

// cmdOldest puts the ID of the cache's first build into a variable.
func cmdOldest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oldest VARIABLE")
	}
	store, err := disk.Open(ts.Getenv("TINFRA_CACHE"))
	ts.Check(err)
	defer store.Close()
	for b, err := range artifacts.NewCache(store, store).Builds(context.Background()) {
		ts.Check(err)
		ts.Setenv(args[0], b.ID)
	}
}

// cmdLinkSelf puts the programs of the test binary into a folder, for a PATH without anything else.
func cmdLinkSelf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: linkself FOLDER")
	}
	self, err := os.Executable()
	ts.Check(err)
	for _, name := range []string{"tinfra", "testworker"} {
		ts.Check(os.Symlink(self, filepath.Join(ts.MkAbs(args[0]), name)))
	}
}
