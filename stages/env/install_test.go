package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// killAfter makes this binary a build that is killed after so many lines of progress, for TestKilledInstall.
const killAfter = "TINFRA_TEST_KILL_AFTER"

func TestMain(m *testing.M) {
	if os.Getenv(victimVar) != "" {
		os.Exit(victim())
	}
	if after, err := strconv.Atoi(os.Getenv(killAfter)); err == nil {
		lines := 0
		_, err := tiny(os.Getenv("TINFRA_TEST_CACHE"), false).Install(context.Background(), "tiny", func(string) {
			if lines++; lines == after {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := withUV(m.Run)
	_ = os.RemoveAll(packingCache())
	os.Exit(code)
}

// withUV puts uv on PATH where the machine has none, brought as a build would bring it.
func withUV(run func() int) int {
	if _, err := exec.LookPath("uv"); err == nil {
		return run()
	}
	dir, err := os.MkdirTemp("", "uv-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s := NewSet(os.DirFS("."), dir, false)
	python, err := s.python(context.Background(), []string{"3.11", "3.12", "3.13", "3.14"})
	if err != nil {
		panic(err)
	}
	uv, err := s.uv(context.Background(), python, func(string) {})
	if err != nil {
		panic(err)
	}
	if err := os.Setenv("PATH", filepath.Dir(uv)+string(filepath.ListSeparator)+os.Getenv("PATH")); err != nil {
		panic(err)
	}
	return run()
}

func tiny(cache string, offline bool) *Set {
	return NewSet(os.DirFS("testdata/envs"), cache, offline)
}

func install(t *testing.T, s *Set) (string, []string) {
	t.Helper()
	var said []string
	ready, err := s.Install(t.Context(), "tiny", func(line string) { said = append(said, line) })
	if err != nil {
		t.Fatal(err)
	}
	return ready.Python, said
}

// works runs the interpreter as a worker would and imports the package.
func works(t *testing.T, python string) {
	t.Helper()
	out, err := exec.Command(python, "-P", "-s", "-c", "import six, sys; print(six.__version__, sys.prefix)").CombinedOutput()
	want := "1.17.0 " + filepath.Dir(filepath.Dir(python))
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Fatalf("%s says %q (%v), want %q", python, out, err, want)
	}
}

func TestInstallOnceAndForAll(t *testing.T) {
	cache := t.TempDir()
	python, said := install(t, tiny(cache, false))
	works(t, python)
	if !strings.Contains(strings.Join(said, "\n"), "Installed 1 package") {
		t.Errorf("the progress does not say what uv did: %q", said)
	}
	again, said := install(t, tiny(cache, true)) // installed: offline is no trouble
	if again != python || len(said) > 0 {
		t.Errorf("again: %s, %q", again, said)
	}
	blob, err := tiny(cache, true).Blob(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	if want := artifacts.Sum(blob).Hex(); filepath.Base(filepath.Dir(filepath.Dir(python))) != want {
		t.Errorf("%s is not under %s", python, want)
	}
	onlyEnvironments(t, cache)
}

// onlyEnvironments fails for anything that a finished install should not leave.
func onlyEnvironments(t *testing.T, cache string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(cache, "env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, err := artifacts.ParseHex(entry.Name()); err != nil && entry.Name() != ".locks" {
			t.Errorf("%s was left", entry.Name())
		}
	}
}

func TestBlobSaysWhatDecides(t *testing.T) {
	blob, err := tiny(t.TempDir(), true).Blob(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.Unmarshal(blob, &d); err != nil {
		t.Fatal(err)
	}
	if d.OS == "" || d.Arch == "" || !minorVersion().MatchString(d.Python) || len(d.Lock) != 1 || !strings.HasPrefix(d.Lock[0], "six==1.17.0 --hash=") {
		t.Errorf("%s", blob)
	}
	if strings.Contains(string(blob), string(filepath.Separator)+"usr") || strings.Contains(string(blob), "://") {
		t.Errorf("%s names a place", blob)
	}
	lock, err := os.ReadFile("testdata/envs/tiny/requirements.lock")
	if err != nil {
		t.Fatal(err)
	}
	read := func(lock string) string {
		fsys := fstest.MapFS{
			"tiny/env.hcl":           {Data: []byte("doc = \"other words\"\npython = [\"" + d.Python + "\"]")},
			"tiny/requirements.lock": {Data: []byte(lock)},
		}
		other, err := NewSet(fsys, t.TempDir(), true).Blob(t.Context(), "tiny")
		if err != nil {
			t.Fatal(err)
		}
		return string(other)
	}
	if read("# a comment\n"+string(lock)) != string(blob) {
		t.Error("a comment or the doc changes the digest")
	}
	if read(strings.Replace(string(lock), "1.17.0", "1.16.0", 1)) == string(blob) {
		t.Error("a version does not change the digest")
	}
}

func TestKilledInstallIsNeverUsed(t *testing.T) {
	for after := 1; ; after++ {
		cache := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killAfter+"="+strconv.Itoa(after), "TINFRA_TEST_CACHE="+cache)
		out, err := cmd.CombinedOutput()
		if err == nil {
			if after < 4 {
				t.Fatalf("an install has only %d lines of progress", after-1)
			}
			return
		}
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("not killed after %d lines but %v: %s", after, err, out)
		}
		python, _ := install(t, tiny(cache, false))
		works(t, python)
		onlyEnvironments(t, cache)
	}
}

func TestBuildsAtOnceInstallOnce(t *testing.T) {
	cache := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 4 {
		s := tiny(cache, false)
		wg.Go(func() {
			ready, err := s.Install(t.Context(), "tiny", func(line string) {
				if strings.HasPrefix(line, "making environment") {
					mu.Lock()
					made++
					mu.Unlock()
				}
			})
			if err != nil {
				t.Error(err)
				return
			}
			works(t, ready.Python)
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	onlyEnvironments(t, cache)
}

func TestDamagedEnvironmentIsInstalledAnew(t *testing.T) {
	t.Setenv("UV_CACHE_DIR", t.TempDir()) // what is damaged in an environment may be a link of uv's own file
	cache := t.TempDir()
	python, _ := install(t, tiny(cache, false))
	dir := filepath.Dir(filepath.Dir(python))
	inSite := func(name string) string { return site(t, dir, name) }
	for what, damage := range map[string]func() error{
		"no marker":      func() error { return os.Remove(filepath.Join(dir, markerFile)) },
		"a half marker":  func() error { return os.Truncate(filepath.Join(dir, markerFile), 9) },
		"another's":      func() error { return writeMarker(dir, marker{Name: "tiny"}) },
		"Python is gone": func() error { return os.Remove(python) },
		"half a module":  func() error { return os.Truncate(inSite("six.py"), 1000) },
		"no list":        func() error { return os.Remove(inSite("six-1.17.0.dist-info/RECORD")) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := tiny(cache, true).Install(t.Context(), "tiny", nil); !errors.Is(err, ErrOffline) {
			t.Errorf("%s: used all the same (%v)", what, err)
		}
		list, err := tiny(cache, true).List(t.Context())
		if err != nil || len(list) != 1 || list[0].Problem == "" {
			t.Errorf("%s: listed as %+v (%v)", what, list, err)
		}
		_, said := install(t, tiny(cache, false))
		if !strings.Contains(strings.Join(said, "\n"), "is damaged") {
			t.Errorf("%s: nobody was told: %q", what, said)
		}
		works(t, python)
		onlyEnvironments(t, cache)
	}
}

func site(t *testing.T, dir, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages", name))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", name, found, err)
	}
	return found[0]
}

// flip changes one bit in the middle of a file; its size and time stay.
func flip(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text[len(text)/2] ^= 1
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close(), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// TestVerifyReadsWhatIsInstalled: a bit that flips changes no size, so only reading finds it. uv's cache, of which the
// environment is a link, then has it too; what is installed next is whole all the same.
func TestVerifyReadsWhatIsInstalled(t *testing.T) {
	t.Setenv("UV_CACHE_DIR", t.TempDir())
	t.Setenv("UV_LINK_MODE", "hardlink")
	cache := t.TempDir()
	build := tiny(cache, false)
	python, _ := install(t, build)
	dir := filepath.Dir(filepath.Dir(python))
	s := tiny(cache, true)
	problems := func() []string {
		t.Helper()
		var all []string
		err := s.Verify(t.Context(), func(d artifacts.Digest, why error) error {
			if d.Hex() != filepath.Base(dir) {
				t.Errorf("it names %s", d)
			}
			all = append(all, why.Error())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := problems(); len(all) > 0 {
		t.Fatalf("a sound environment: %q", all)
	}
	digest := artifacts.Digest{}
	if err := digest.UnmarshalText([]byte("sha256:" + filepath.Base(dir))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{site(t, dir, "six.py"), site(t, dir, "six-1.17.0.dist-info"), filepath.Join(dir, "pyvenv.cfg")} {
		if err := os.Rename(name, name+".away"); err != nil {
			t.Fatal(err)
		}
		if sound(dir, digest) == nil {
			t.Errorf("a build would use it without %s", name)
		}
		if err := os.Rename(name+".away", name); err != nil {
			t.Fatal(err)
		}
	}
	if err := flip(site(t, dir, "six.py")); err != nil {
		t.Fatal(err)
	}
	if all := problems(); len(all) != 1 || !strings.Contains(all[0], "six.py is not as its package brought it") {
		t.Fatalf("%q", all)
	}
	build.letGo(digest) // it would have ended
	if _, err := s.Remove(t.Context(), filepath.Base(dir)); err != nil {
		t.Fatal(err)
	}
	if all := problems(); len(all) > 0 {
		t.Errorf("after it was removed: %q", all)
	}
	again, said := install(t, tiny(cache, false))
	if !strings.Contains(strings.Join(said, "\n"), "uv's cache is damaged") {
		t.Errorf("nobody was told: %q", said)
	}
	works(t, again)
	if all := problems(); len(all) > 0 {
		t.Errorf("installed anew from a damaged cache: %q", all)
	}
}

func TestRecordsAreReadWithCare(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "lib", "python3.11", "site-packages")
	for text, wrong := range map[string]string{
		"a.py,sha256=abc,3\n../../../bin/tool,sha256=abc,3\nb.pyc,,\nRECORD,,\n": "",
		"../../../../outside,sha256=abc,3\n":                                     "outside of the environment",
		"a.py,sha256=abc,many\n":                                                 "the size",
		"a.py\n":                                                                 "fields",
	} {
		files, err := readRecord(strings.NewReader(text), dir, at)
		if wrong != "" {
			if err == nil || !strings.Contains(err.Error(), wrong) {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil || len(files) != 3 || files[1].path != filepath.Join("bin", "tool") || files[0].size != 3 || files[2].size != -1 {
			t.Errorf("%q: %+v, %v", text, files, err)
		}
	}
	// Of a file that two packages bring, no list says which one is there.
	both := onceEach([]installedFile{{"a", "1", 1}, {"b", "2", 2}, {"a", "3", 1}, {"b", "2", 2}})
	if len(both) != 2 || both[0] != (installedFile{"a", "", -1}) || both[1] != (installedFile{"b", "2", 2}) {
		t.Errorf("%+v", both)
	}
}

func TestInstallFailsWithWhatToDo(t *testing.T) {
	lock, err := os.ReadFile("testdata/envs/tiny/requirements.lock")
	if err != nil {
		t.Fatal(err)
	}
	with := func(pythons, lock string) *Set {
		return NewSet(fstest.MapFS{
			"tiny/env.hcl":           {Data: []byte("doc = \"x\"\npython = [" + pythons + "]")},
			"tiny/requirements.lock": {Data: []byte(lock)},
		}, t.TempDir(), false)
	}
	const pythons = `"3.11", "3.12", "3.13", "3.14", "3.10"`
	wrong := "six==1.17.0 " + hashA
	for _, c := range []struct {
		name string
		set  *Set
		env  map[string]string
		want string
	}{
		{"an old Python only", with(`"3.1"`, string(lock)), nil, "found no Python 3.1 on PATH; install Python 3.1 ("},
		{"no Python at all", with(pythons, string(lock)), map[string]string{"PATH": t.TempDir()}, "apt install python3.11"},
		{"another package", with(pythons, wrong), nil, "its hash differs"},
		{"no network", with(pythons, string(lock)), map[string]string{"UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple", "UV_CACHE_DIR": t.TempDir(), "UV_HTTP_RETRIES": "0"}, "is there a network?"},
		{"no such environment", with(pythons, string(lock)), nil, `there is no environment "other"; there are tiny`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			name := "tiny"
			if strings.HasPrefix(c.name, "no such") {
				name = "other"
			}
			_, err := c.set.Install(t.Context(), name, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\ndoes not say %q", err, c.want)
			}
			if list, err := c.set.List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("something is installed: %+v, %v", list, err)
			}
		})
	}
}

func TestExplainNamesAFullDisk(t *testing.T) {
	err := explain(t.Context(), "error: Failed to install: six\n  Caused by: failed to write: No space left on device (os error 28)", errors.New("exit status 2"))
	if !strings.Contains(err.Error(), "free some") || !strings.Contains(err.Error(), "six") {
		t.Error(err)
	}
}

// TestOwnUV takes uv off PATH, so that tinfra brings its own.
func TestOwnUV(t *testing.T) {
	cache := t.TempDir()
	python, err := tiny(cache, false).python(t.Context(), []string{"3.11", "3.12", "3.13", "3.14"})
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(python.Path, filepath.Join(bin, "python3")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	s := NewSet(os.DirFS("."), cache, true)
	if err := s.Add(os.DirFS("testdata/envs")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Install(t.Context(), "tiny", nil); !errors.Is(err, ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	s.offline = false
	made, said := install(t, s)
	works(t, made)
	if !strings.HasPrefix(said[0], "installing uv ") {
		t.Errorf("%q", said)
	}
	tools, _ := filepath.Glob(filepath.Join(cache, "tools", "uv-*", "*"))
	hidden, _ := filepath.Glob(filepath.Join(cache, "tools", "uv-*", ".*"))
	if len(tools) != 1 || filepath.Base(tools[0]) != "uv" || len(hidden) != 0 {
		t.Errorf("tools hold %q %q", tools, hidden)
	}
}

func TestListAndRemove(t *testing.T) {
	cache := t.TempDir()
	s := tiny(cache, false)
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	python, _ := install(t, s)
	list, err := s.List(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	one := list[0]
	if one.Name != "tiny" || !one.Current || one.InUse || one.Problem != "" || one.Bytes < 10_000 || one.Installed.IsZero() {
		t.Errorf("%+v", one)
	}
	worker := exec.Command(python, "-c", "import sys; print('up', flush=True); sys.stdin.read()")
	stdin, err := worker.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(t.Context(), "tiny"); !errors.Is(err, ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	stdin.Close()
	if err := worker.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(t.Context(), "other"); err == nil {
		t.Error("removed something that is not there")
	}
	kernels := filepath.Join(s.compiled(one.Digest), "triton")
	if err := os.MkdirAll(kernels, 0o777); err != nil {
		t.Fatal(err)
	}
	release, err := s.lock(t.Context(), one.Digest.Hex(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(t.Context(), "tiny"); !errors.Is(err, ErrInUse) {
		t.Errorf("being installed: %v", err)
	}
	release()
	if gone, err := s.Remove(t.Context(), one.Digest.String()[:16]); err != nil || len(gone) != 1 {
		t.Errorf("%+v, %v", gone, err)
	}
	if _, err := os.Stat(kernels); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was compiled for it: %v", err)
	}
	onlyEnvironments(t, cache)
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestCancelledInstall(t *testing.T) {
	cause := errors.New("the person pressed Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	cache := t.TempDir()
	_, err := tiny(cache, false).Install(ctx, "tiny", func(line string) { cancel(cause) })
	if !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	onlyEnvironments(t, cache)
}

func TestEnvironmentsOfTheSameNameAreRefused(t *testing.T) {
	s := tiny(t.TempDir(), true)
	if err := s.Add(os.DirFS("testdata/envs")); err == nil || !strings.Contains(err.Error(), `"tiny" is declared twice`) {
		t.Error(err)
	}
}

func TestPipsSettingsStandInForUVs(t *testing.T) {
	got := strings.Join(environment([]string{"PIP_INDEX_URL=a", "PYTHONPATH=b", "HTTPS_PROXY=c", "PIP_EXTRA_INDEX_URL=d", "UV_EXTRA_INDEX_URL=e"}), " ")
	if want := "PIP_INDEX_URL=a HTTPS_PROXY=c PIP_EXTRA_INDEX_URL=d UV_EXTRA_INDEX_URL=e UV_DEFAULT_INDEX=a"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
