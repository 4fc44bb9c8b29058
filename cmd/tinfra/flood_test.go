package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A worker that prints ten gigabytes costs neither memory nor disk, and both ends of what it printed are kept.
func TestSoakAFloodOfLog(t *testing.T) {
	mebibytes := 160
	if soak {
		mebibytes = 10 << 10
	}
	dir := t.TempDir()
	kinds, err := filepath.Abs(filepath.Join("testdata", "kinds"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"tinfra.hcl": fmt.Sprintf("kinds = [%q]\n", kinds),
		"recipe.hcl": fmt.Sprintf("stage \"trial\" \"t\" {\n  mode = \"flood\"\n  amount = %d\n}\n", mebibytes),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tinfra", "testworker"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	tinfra := func(args ...string) (string, *os.ProcessState) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tinfra"), args...)
		cmd.Args[0], cmd.Dir = "tinfra", dir
		cmd.Env = append(os.Environ(), "TINFRA_CACHE="+filepath.Join(dir, "cache"), "HOME="+dir, "PATH="+bin+":"+os.Getenv("PATH"))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tinfra %s: %v: %s", args[0], err, errs.String()[:min(errs.Len(), 2000)])
		}
		return string(out), cmd.ProcessState
	}
	_, state := tinfra("build", "--json")
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("no usage")
	}
	most := int64(128 << 10) // KiB
	if raceDetector {
		most *= 8 // it keeps a shadow of all that was ever allocated at once
	}
	t.Logf("%d MiB of log: the largest process of the build held %d MiB", mebibytes, usage.Maxrss>>10)
	if usage.Maxrss > most {
		t.Errorf("the build held %d KiB", usage.Maxrss)
	}
	log, _ := tinfra("log", "trial.t")
	for _, text := range []string{"the first line", "the last line", "left out"} {
		if !strings.Contains(log, text) {
			t.Errorf("the log does not say %q", text)
		}
	}
	printed, accounted := int64(len("the first line\nthe last line\n"))+int64(mebibytes)<<20, int64(0)
	for line := range strings.Lines(log) {
		var left int64
		if _, err := fmt.Sscanf(line, "warning: … %d bytes of what the worker printed were left out", &left); err == nil {
			accounted += left
		} else if strings.HasPrefix(line, "the ") || strings.HasPrefix(line, "xxx") {
			accounted += int64(len(line))
		}
	}
	if accounted != printed || strings.Count(log, "left out") != 1 {
		t.Errorf("the log accounts for %d bytes of %d, and says %d times that some were left out", accounted, printed, strings.Count(log, "left out"))
	}
	if len(log) > 16<<20 {
		t.Errorf("the log has %d bytes", len(log))
	}
}
