package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// fullDiskStory builds on a disk that is full after so many KiB, then has it enlarged.
const fullDiskStory = `
env TINFRA_CACHE=$WORK/whole
exec tinfra build
exec rm runs.log
env TINFRA_CACHE=$WORK/cache
smalldisk KIB
crowded tinfra build
exec tinfra cache verify
results BEFORE
remount size=256m
exec tinfra build
hits $BEFORE
sametree whole cache
exec tinfra cache verify
exec tinfra runs
exec tinfra build
hits 3
orphans

-- recipe.hcl --
locals {
  text = join("", [for i in range(LINES) : format("%0499d\n", i)])
}
stage "make" "hello" {
  text = local.text
}
stage "upper" "loud" {
  text = make.hello.files
}
stage "join" "all" {
  parts = { a = make.hello.files, b = upper.loud.text }
}
`

// TestSoakFullDisk has the disk of the cache full at every write: at each size, in steps of 64 KiB, up to the first at
// which the build and its index find room.
func TestSoakFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	sizes, lines := []int{1, 5, 6, 16}, 1
	if soak {
		sizes, lines = nil, 200
		for k := range 24 {
			sizes = append(sizes, k+1)
		}
	}
	dir := t.TempDir()
	var failed, built atomic.Int32
	for _, k := range sizes {
		story := strings.NewReplacer("KIB", strconv.Itoa(k*64), "LINES", strconv.Itoa(lines)).Replace(fullDiskStory)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("full_at_%02d_x_64_KiB.txtar", k)), []byte(story), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := stories(t, dir)
	p.Cmds["crowded"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if cmdCrowded(ts, args) {
			built.Add(1)
		} else {
			failed.Add(1)
		}
	}
	t.Run("sizes", func(t *testing.T) { testscript.Run(t, p) })
	if failed.Load() == 0 || built.Load() == 0 {
		t.Errorf("%d builds failed for want of room, %d found enough: both must occur", failed.Load(), built.Load())
	}
}

var noRoom = regexp.MustCompile(`no space left for the cache( in \S*)?: free some, or set TINFRA_CACHE to a larger disk`)

// cmdCrowded runs a command that may fail for want of room, and then must say so. It tells whether it did not.
func cmdCrowded(ts *testscript.TestScript, args []string) bool {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if err == nil {
		return true
	}
	if !errors.As(err, &exit) || exit.ExitCode() != exitStage && exit.ExitCode() != exitCache {
		ts.Fatalf("%v", err)
	}
	if said := ts.ReadFile("stderr"); !noRoom.MatchString(said) || strings.Contains(said, "panic") {
		ts.Fatalf("it does not say that there is no room, and what to do")
	}
	return false
}

// cmdResults puts the number of keys that have a result into a variable.
func cmdResults(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: results VARIABLE")
	}
	found, err := filepath.Glob(filepath.Join(ts.Getenv("TINFRA_CACHE"), "keys", "*"))
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(len(found)))
}

var hitsOf = regexp.MustCompile(`(\d+) hit`)

// cmdHits: the last build found that many results in the cache, and no more.
func cmdHits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hits NUMBER")
	}
	got := "0"
	if m := hitsOf.FindStringSubmatch(ts.ReadFile("stdout")); m != nil {
		got = m[1]
	}
	if got != args[0] {
		ts.Fatalf("%s hits, want %s", got, args[0])
	}
}

// largeStory has a worker leave very many files, and one very large file with nothing in it.
const largeStory = `
exec tinfra build --set trial.t.mode=many --set trial.t.amount=FILES
exec tinfra plan --set trial.t.mode=many --set trial.t.amount=FILES
stdout '1 cached'
exec tinfra get trial.t -o many
exists many/000/part-000000.bin many/LAST
exec tinfra show trial.t
stdout 'in COUNT files'
exec tinfra build --set trial.t.mode=sparse --set trial.t.amount=MEBIBYTES
exec tinfra plan --set trial.t.mode=sparse --set trial.t.amount=MEBIBYTES
stdout '1 cached'
holes cache/blobs/sha256
exec tinfra cache verify
emptydir cache/work

-- recipe.hcl --
stage "trial" "t" {
  mode = "ok"
}
`

// TestSoakLargeOutputs: 200,000 small files, and 300 GB that take no room on the disk.
func TestSoakLargeOutputs(t *testing.T) {
	files, mebibytes := 500, 200
	if soak {
		files, mebibytes = 200_000, 300_000_000_000>>20
	}
	dir := t.TempDir()
	story := strings.NewReplacer("FILES", strconv.Itoa(files), "COUNT", strconv.Itoa(files+1), "MEBIBYTES", strconv.Itoa(mebibytes),
		"LAST", fmt.Sprintf("%03d/part-%06d.bin", (files-1)/1000, files-1)).Replace(largeStory)
	if err := os.WriteFile(filepath.Join(dir, "large.txtar"), []byte(story), 0o644); err != nil {
		t.Fatal(err)
	}
	p := stories(t, dir)
	p.Cmds["holes"] = cmdHoles
	testscript.Run(t, p)
}

// cmdHoles: the largest file of a folder takes less room than it has bytes.
func cmdHoles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: holes FOLDER")
	}
	list, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var largest os.FileInfo
	for _, e := range list {
		info, err := e.Info()
		ts.Check(err)
		if largest == nil || info.Size() > largest.Size() {
			largest = info
		}
	}
	if used := largest.Sys().(*syscall.Stat_t).Blocks * 512; used >= largest.Size()/2 {
		ts.Fatalf("a file of %d bytes, all of them holes, takes %d", largest.Size(), used)
	}
}

// becomeUser starts the process over as the user, with the group and umask, that TINFRA_TEST_USER names: "20001:20000:002".
func becomeUser() {
	var uid, gid, umask int
	if n, _ := fmt.Sscanf(os.Getenv("TINFRA_TEST_USER"), "%d:%d:%o", &uid, &gid, &umask); n != 3 || os.Getuid() != 0 {
		return
	}
	syscall.Umask(umask)
	err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid))
	if err == nil {
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ()) // what changed its user may not be looked at until it is another program
	}
	panic(err)
}

// cmdNetwork lets a story reach package indexes in the way that the caller does: by its proxies, indexes and certificates.
func cmdNetwork(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: network")
	}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		for _, part := range []string{"PIP_", "UV_", "_CERT_", "CA_BUNDLE", "_PROXY", "_proxy"} {
			if strings.Contains(name, part) {
				ts.Setenv(name, value)
			}
		}
	}
}

// cutOff starts the process over without any network, not even a loopback interface, where TINFRA_TEST_NO_NETWORK is set. Where the
// kernel gives no namespaces, every client of an index or of a web page is at least led to a port that nobody listens on.
func cutOff() {
	if os.Getenv("TINFRA_TEST_NO_NETWORK") == "" {
		return
	}
	dead := []string{"TINFRA_TEST_NO_NETWORK="}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"} {
		dead = append(dead, name+"=http://127.0.0.1:1")
	}
	mine := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
	}
	for _, way := range []*syscall.SysProcAttr{
		{Cloneflags: syscall.CLONE_NEWNET},
		{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, UidMappings: mine(os.Geteuid()), GidMappings: mine(os.Getegid())},
		{},
	} {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdin, os.Stdout, os.Stderr, way
		cmd.Env = append(os.Environ(), dead...)
		if err := cmd.Start(); err != nil {
			continue
		}
		_ = cmd.Wait() // what it says of itself is its exit code
		os.Exit(cmd.ProcessState.ExitCode())
	}
	panic("cannot start over")
}

// cmdOpenDoors lets other users into the story's folder and to its programs.
func cmdOpenDoors(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: opendoors")
	}
	ts.Check(os.Chmod(ts.Getenv("WORK"), 0o777))
	programs, _, _ := strings.Cut(ts.Getenv("PATH"), string(filepath.ListSeparator))
	for _, dir := range []string{filepath.Dir(ts.Getenv("WORK")), programs} {
		for ; dir != "/" && dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
			info, err := os.Stat(dir)
			ts.Check(err)
			ts.Check(os.Chmod(dir, info.Mode().Perm()|0o055))
		}
	}
}

// refuseLocks makes the kernel answer this process, and what it starts, as a file system without locks does: flock and
// the locks of fcntl end with ENOLCK.
func refuseLocks() {
	const (
		number   = 0  // of the system call, in what the filter is shown
		argument = 24 // the low half of the second one, on a little-endian machine
		refusal  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOLCK)
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	equal := func(value uint32, then, otherwise uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: then, Jf: otherwise}
	}
	answer := func(value uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value} }
	program := []unix.SockFilter{
		load(number),
		equal(unix.SYS_FLOCK, 6, 0),
		equal(unix.SYS_FCNTL, 0, 4),
		load(argument),
		equal(unix.F_SETLK, 3, 0),
		equal(unix.F_SETLKW, 2, 0),
		equal(unix.F_OFD_SETLK, 1, 0),
		answer(unix.SECCOMP_RET_ALLOW),
		answer(refusal),
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	// All threads at once: the runtime has started some.
	_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		panic(errno)
	}
	runtime.KeepAlive(program)
}
