package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// cmdExitCode runs a command that must end with this code: "exitcode 3 tinfra build".
func cmdExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdSameKeys: two files of `tinfra plan --json` hold the same keys.
func cmdSameKeys(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: samekeys FILE FILE")
	}
	var keys [2][]string
	for i, file := range args {
		var p struct{ Stages []struct{ Key string } }
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &p))
		for _, s := range p.Stages {
			if s.Key == "" {
				ts.Fatalf("%s: a stage has no key", file)
			}
			keys[i] = append(keys[i], s.Key)
		}
		slices.Sort(keys[i])
	}
	if slices.Equal(keys[0], keys[1]) == neg {
		ts.Fatalf("keys are\n%q\n%q", keys[0], keys[1])
	}
}

// cmdDamage changes one byte of the blob with this text, behind the cache's back. Its size and times stay.
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage TEXT")
	}
	d := artifacts.Sum([]byte(args[0]))
	path := filepath.Join(ts.Getenv("TINFRA_CACHE"), "blobs", "sha256", d.Hex())
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Chmod(path, 0o644))
	bad := []byte(args[0])
	bad[0] ^= 1
	ts.Check(os.WriteFile(path, bad, 0o644))
	ts.Check(os.Chmod(path, info.Mode()))
	ts.Check(os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// cmdOrphans: no process of the story's workers is left.
func cmdOrphans(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 0 {
		ts.Fatalf("usage: orphans")
	}
	found := ""
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	ts.Check(err)
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(b, []byte("="+ts.Getenv("WORK"))) {
			continue // gone meanwhile, or none of ours
		}
		if bytes.Contains(b, []byte("TINFRA_WORKSPACE=")) || bytes.Contains(b, []byte("TINFRA_TEST_ORPHAN=")) {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			found += fmt.Sprintf("%s: %q\n", filepath.Dir(file), cmdline)
		}
	}
	if neg != (found != "") {
		ts.Fatalf("processes of workers:\n%s", found)
	}
}

// cmdSmallDisk puts the cache, or another folder, on a disk of this many KiB. Without the right to mount, the story's
// processes may write no file larger than that: the same refusal by another name.
func cmdSmallDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: smalldisk KIB [FOLDER]")
	}
	dir := ts.Getenv("TINFRA_CACHE")
	if len(args) == 2 {
		dir = ts.MkAbs(args[1])
	}
	ts.Check(os.MkdirAll(dir, 0o755))
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[0]+"k")
	if err == nil {
		ts.Defer(func() { ts.Check(syscall.Unmount(dir, syscall.MNT_DETACH)) })
		return
	}
	ts.Logf("no mount (%v): a limit on the size of files instead", err)
	ts.Setenv("TINFRA_TEST_FILE_LIMIT", args[0])
}

// cmdRemount changes the options of the disk that smalldisk made: "remount ro", "remount size=64m".
func cmdRemount(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: remount OPTION")
	}
	flags, data := uintptr(syscall.MS_REMOUNT), ""
	switch args[0] {
	case "ro":
		flags |= syscall.MS_RDONLY
	case "rw":
	default:
		data = args[0]
	}
	ts.Check(syscall.Mount("tmpfs", ts.Getenv("TINFRA_CACHE"), "tmpfs", flags, data))
}

// cmdSameTree: two caches hold the same results: keys, and behind each the same outputs and metrics; the same number
// of records; the same files, manifests and actions; and neither has anything left over from its work.
func cmdSameTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sametree CACHE CACHE")
	}
	a, err := treeOf(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := treeOf(ts.MkAbs(args[1]))
	ts.Check(err)
	if !slices.Equal(a, b) {
		ts.Fatalf("%s holds\n%s\n\n%s holds\n%s", args[0], strings.Join(a, "\n"), args[1], strings.Join(b, "\n"))
	}
}

// treeOf lists what a cache holds, times and what follows from them left out.
func treeOf(dir string) ([]string, error) {
	ctx := context.Background()
	store, err := disk.Open(dir)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	cache := artifacts.NewCache(store, store)
	var out []string
	blobs, err := untimed(ctx, cache, store, &out)
	if err != nil {
		return nil, err
	}
	for _, d := range blobs {
		out = append(out, "blob "+d.Short())
	}
	for name, err := range store.List(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		folder, rest, _ := strings.Cut(name, "/")
		switch folder {
		case "keys":
			key, err := artifacts.ParseHex(rest)
			if err != nil {
				return nil, err
			}
			rec, _, err := cache.Lookup(ctx, artifacts.Key(key))
			if err != nil {
				return nil, err
			}
			out = append(out, fmt.Sprintf("key %s: %v %v", artifacts.Key(key).Short(), rec.Outputs, rec.Metrics))
		case "runs":
			out = append(out, "run of "+filepath.Dir(rest))
		}
	}
	left, err := leftovers(dir)
	slices.Sort(out)
	return append(out, left...), err
}

// isLog tells a stage's log, which is stored before its record: of a build that is killed in between it is left alone.
func isLog(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	var e event.Event
	return json.Unmarshal(line, &e) == nil && e.Build != "" && !e.Time.IsZero()
}

// untimed gives the blobs that hold no time, and lists the records.
func untimed(ctx context.Context, cache *artifacts.Cache, store *disk.Store, out *[]string) ([]artifacts.Digest, error) {
	var all []artifacts.Digest
	timed := map[artifacts.Digest]bool{}
	for blob, err := range store.All(ctx) {
		if err != nil {
			return nil, err
		}
		b, err := cache.GetBytes(ctx, blob.Digest)
		if err != nil {
			return nil, err
		}
		if isLog(b) {
			continue
		}
		all = append(all, blob.Digest)
		if r, err := artifacts.DecodeRecord(b); err == nil {
			timed[blob.Digest] = true
			*out = append(*out, fmt.Sprintf("record of %s", r.Key.Short()))
		}
		if build, err := artifacts.DecodeBuild(b); err == nil {
			timed[blob.Digest], timed[build.Lock] = true, true // it has the lock as it was when it began
		}
	}
	return slices.DeleteFunc(all, func(d artifacts.Digest) bool { return timed[d] }), nil
}

// leftovers are the files that no work should leave behind.
func leftovers(dir string) ([]string, error) {
	var out []string
	for _, folder := range []string{"work", "tmp", "leases", "checkpoints"} {
		err := filepath.WalkDir(filepath.Join(dir, folder), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				out = append(out, "left: "+path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
