package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ErrBusy: another process holds the workspace.
var ErrBusy = errors.New("another build works here")

// errOthers: whether a worker lives there cannot be told, since its handle is for its owner's eyes.
var errOthers = errors.New("it belongs to another user, whose next build takes it up or removes it")

// Files of a workspace that tell whether it is still needed. Package run writes them.
const (
	handleFile = "handle.json"
	exitFile   = "exit.json"
)

// keepFinished is how long a workspace stays whose worker has ended and whose build has not collected the result.
const keepFinished = 24 * time.Hour

// Workspace is the folder of one attempt of one stage. It is locked while a process holds it.
type Workspace struct {
	Dir  string
	lock *lock

	store  *Store
	layout []string // nil: it serves once
}

// Path is where the workspace of an attempt is, or would be.
func (s *Store) Path(key artifacts.Key, attempt int) string {
	return filepath.Join(s.dir, workDir, key.Hex(), strconv.Itoa(attempt))
}

// busyAfter is how long a workspace may be held by SweepWork, which decides in that time whether it is still needed.
const busyAfter = 10 * time.Second

// Workspace makes the folder of an attempt, or takes over the one that an earlier process left. It is ErrBusy where
// another process has it and keeps it.
func (s *Store) Workspace(key artifacts.Key, attempt int) (*Workspace, error) {
	dir := s.Path(key, attempt)
	ctx, cancel := context.WithTimeoutCause(context.Background(), busyAfter, ErrBusy)
	defer cancel()
	l, err := s.show(dir+lockSuffix, nil), error(nil)
	if l == nil {
		l, err = waitLock(ctx, dir+lockSuffix, leasePoll, func() {})
	}
	if err != nil {
		return nil, fmt.Errorf("workspace %d of %s: %w", attempt, key.Short(), s.explain(err))
	}
	// What a worker prints may hold its secrets: it is taken out of what is kept, and here nobody else may read.
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, errors.Join(fmt.Errorf("workspace %d of %s: %w", attempt, key.Short(), s.explain(err)), l.remove())
	}
	if othersFolder(dir) {
		return nil, errors.Join(fmt.Errorf("workspace %d of %s: %w", attempt, key.Short(), errOthers), l.release())
	}
	if err := s.restoreTaken(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("workspace %d of %s: %w", attempt, key.Short(), s.explain(err)), l.release())
	}
	return &Workspace{Dir: dir, lock: l, store: s}, nil
}

// Close removes the workspace and all that is in it.
func (w *Workspace) Close() error {
	w.unlinkInputs()
	err := errors.Join(removeTree(w.Dir), w.lock.remove())
	// The folder of the key goes with its last attempt.
	_ = os.Remove(filepath.Dir(w.Dir))
	if err != nil {
		return fmt.Errorf("removing a workspace: %w", err)
	}
	return nil
}

// Release leaves the workspace for a later process to take over.
func (w *Workspace) Release() error { return w.lock.release() }

// Attempts are the numbers of the attempts whose workspaces are there, in order.
func (s *Store) Attempts(key artifacts.Key) ([]int, error) {
	if _, err := os.Lstat(filepath.Dir(s.Path(key, 1))); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // as nearly always, and a build asks of each hit
	}
	names, err := s.entries(workDir + "/" + key.Hex())
	if err != nil {
		return nil, fmt.Errorf("listing workspaces: %w", err)
	}
	var all []int
	for _, n := range names {
		if i, err := strconv.Atoi(strings.TrimSuffix(n, "/")); err == nil && strings.HasSuffix(n, "/") {
			all = append(all, i)
		}
	}
	slices.Sort(all)
	return all, nil
}

// SweepWork removes what dead processes left: scratch folders and workspaces that nobody has locked, unless a live
// worker is in them or a result that the next build may still collect; and checkpoints of what has been made since.
func (s *Store) SweepWork(ctx context.Context) error {
	errs := []error{
		sweepLocked(ctx, filepath.Join(s.dir, tmpDir), func(string) bool { return false }),
		s.removeUnlocked(ctx, leasesDir),
		s.sweepRunning(ctx),
	}
	keys, err := os.ReadDir(filepath.Join(s.dir, workDir))
	errs = append(errs, err)
	for _, k := range keys {
		if !k.IsDir() {
			continue
		}
		dir := filepath.Join(s.dir, workDir, k.Name())
		errs = append(errs, sweepLocked(ctx, dir, needed))
		_ = os.Remove(dir) // where it is empty now
	}
	errs = append(errs, s.sweepCheckpoints(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cleaning up after earlier builds: %w", err)
	}
	return nil
}

// removeUnlocked removes the files of a folder that nobody has locked: leases and registrations of the dead.
func (s *Store) removeUnlocked(ctx context.Context, dir string) error {
	return s.eachEntry(ctx, dir, func(name string) error {
		l, err := tryLock(filepath.Join(s.dir, dir, name))
		if l != nil {
			err = l.remove()
		}
		return err
	})
}

// eachEntry goes on after an error, and gives them all.
func (s *Store) eachEntry(ctx context.Context, dir string, do func(name string) error) error {
	names, err := s.entries(dir)
	errs := []error{err}
	for _, n := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		errs = append(errs, do(n))
	}
	return errors.Join(errs...)
}

// sweepLocked removes the folders below dir whose lock file can be had, and the lock files.
func sweepLocked(ctx context.Context, dir string, keep func(string) bool) error {
	// A lock file is made before its folder and removed after it, so a folder seen here whose lock is free has no owner.
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names := make(map[string]bool)
	for _, e := range list {
		if name, isLock := strings.CutSuffix(e.Name(), lockSuffix); isLock || e.IsDir() {
			names[name] = true
		}
	}
	var errs []error
	for name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		full := filepath.Join(dir, name)
		l, err := tryLock(full + lockSuffix)
		switch {
		case err != nil:
			errs = append(errs, err)
		case l == nil:
		case othersFolder(full) || keep(full):
			errs = append(errs, l.release())
		default:
			errs = append(errs, removeTree(full), l.remove())
		}
	}
	return errors.Join(errs...)
}

// needed: a live worker is in the workspace, or a result that was not collected yet.
func needed(dir string) bool { return neededBy(dir, processLives) }

// neededBy asks after the worker first: one that ends meanwhile has left its result by then.
func neededBy(dir string, lives func(pid int, started string) bool) bool {
	var h struct {
		PID       int    `json:"pid"`
		StartTime string `json:"start_time"`
		JobID     string `json:"job_id"`
	}
	b, err := os.ReadFile(filepath.Join(dir, handleFile))
	begun := err == nil && json.Unmarshal(b, &h) == nil
	works := begun && (h.JobID != "" || h.PID > 0 && lives(h.PID, h.StartTime))
	exit := filepath.Join(dir, exitFile)
	fi, err := os.Stat(exit)
	if err != nil {
		return works
	}
	age := time.Since(fi.ModTime())
	if age < 0 { // the clock was set back: from now on the result ages by the new one
		now := time.Now()
		_ = os.Chtimes(exit, now, now)
	}
	return age < keepFinished
}
