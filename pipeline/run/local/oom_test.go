package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// confined joins a control group, if one is named, and runs a worker from there; its exit is on standard output.
func confined(group, workspace, script string) error {
	if group != "" {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return err
		}
	}
	x := New(Options{})
	h, err := x.Start(context.Background(), shell(workspace, script))
	if err != nil {
		return err
	}
	e, err := x.Wait(context.Background(), h)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(e)
}

// memoryGroup makes a control group that may hold no more than this many bytes, of whichever version there is.
func memoryGroup(t *testing.T, limit int64) string {
	t.Helper()
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip("no control groups: ", err)
	}
	var tried []string
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		parent, file := "/sys/fs/cgroup"+f[2], "memory.max"
		if f[1] == "memory" {
			parent, file = "/sys/fs/cgroup/memory"+f[2], "memory.limit_in_bytes"
		} else if f[1] != "" {
			continue
		}
		// Of version 2, a group with processes of its own has no children that are limited; the root may.
		for ; strings.HasPrefix(parent, "/sys/fs/cgroup"); parent = filepath.Dir(parent) {
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0o600)
			group := filepath.Join(parent, fmt.Sprintf("tinfra-test-%d", os.Getpid()))
			err := os.Mkdir(group, 0o700)
			if err == nil {
				if err = os.WriteFile(filepath.Join(group, file), []byte(strconv.FormatInt(limit, 10)), 0o600); err == nil {
					t.Cleanup(func() {
						eventually(t, "the removal of "+group, func() bool { return os.Remove(group) == nil })
					})
					return group
				}
				_ = os.Remove(group)
			}
			tried = append(tried, err.Error())
		}
	}
	t.Skipf("no control group can limit memory here: %s", strings.Join(tried, "; "))
	return ""
}

// The kernel kills for memory, in truth: in the group of tinfra itself, in one that the worker moved to, the worker or a
// child of it; and somebody else's SIGKILL in the same place is none of that.
func TestAKillForMemoryIsToldFromOthers(t *testing.T) {
	const limit = 256 << 20
	group := memoryGroup(t, limit)
	for name, c := range map[string]struct {
		script  string
		inside  bool // tinfra is in the group as well
		oom     bool
		code    int
		atLeast int64
	}{
		"the worker":            {`exec tail /dev/zero`, true, true, 137, limit / 2},
		"what a shell ran":      {`tail /dev/zero; exit $?`, true, true, 137, limit / 2},
		"a child, which is all": {`tail /dev/zero || exit 1`, true, true, 1, limit / 2},
		"in its own group":      {`echo $$ > ` + group + `/cgroup.procs; exec tail /dev/zero`, false, true, 137, limit / 2},
		"a shell's, there":      {`echo $$ > ` + group + `/cgroup.procs; tail /dev/zero; exit $?`, false, true, 137, limit / 2},
		"by somebody else":      {`kill -KILL $$`, true, false, 137, 0},
		"a child, survived":     {`tail /dev/zero; exit 0`, true, false, 0, limit / 2},
	} {
		t.Run(name, func(t *testing.T) {
			ws := t.TempDir()
			args := []string{"confined", group, ws, c.script}
			if !c.inside {
				args[1] = "" // where this test is
			}
			out, err := exec.Command("/proc/self/exe", args...).CombinedOutput()
			var e struct {
				Code      int   `json:"code"`
				MaxRSS    int64 `json:"max_rss"`
				OOMKilled bool  `json:"oom_killed"`
			}
			if err == nil {
				err = json.Unmarshal(out, &e)
			}
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if e.Code != c.code || e.OOMKilled != c.oom || e.MaxRSS < c.atLeast || e.MaxRSS > limit+32<<20 {
				t.Errorf("exit %s", out)
			}
		})
	}
}
