package disk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Ground is the cache folder while garbage is looked for in it. It implements artifacts.Ground and is for one goroutine.
type Ground struct {
	s    *Store
	lock *lock // of the one that also collects

	read map[string]int64 // bytes of each file of running/ that are in held
	held map[artifacts.Digest]bool
}

// ErrCollecting: another process collects.
var ErrCollecting = errors.New("another `tinfra cache gc` is at work")

// Ground is for a look at what is garbage; nothing may be deleted by it.
func (s *Store) Ground() *Ground {
	return &Ground{s: s, read: make(map[string]int64), held: make(map[artifacts.Digest]bool)}
}

// Collecting is a Ground to delete by. Builds that have ended are forgotten now; what is published from now on is held
// to its end, by files of running/ that nobody removes before Close.
func (s *Store) Collecting(ctx context.Context) (*Ground, error) {
	wait, cancel := context.WithTimeoutCause(ctx, busyAfter, ErrCollecting)
	defer cancel()
	l, err := waitLock(wait, filepath.Join(s.dir, collectLock), leasePoll, func() {})
	if err != nil {
		return nil, s.explain(err)
	}
	g := s.Ground()
	g.lock = l
	if err := s.forgetEnded(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("looking for running builds: %w", err), l.release())
	}
	return g, nil
}

// Close ends the collection.
func (g *Ground) Close() error {
	if g.lock == nil {
		return nil
	}
	return g.lock.release()
}

// Builds is how many builds were found running.
func (g *Ground) Builds() int { return len(g.read) }

// Held also has what workspaces and leases name.
func (g *Ground) Held(ctx context.Context) (map[artifacts.Digest]bool, error) {
	if err := g.running(ctx); err != nil {
		return nil, fmt.Errorf("looking for running builds: %w", err)
	}
	for _, d := range []func(context.Context) error{g.leases, g.workspaces} {
		if err := d(ctx); err != nil {
			return nil, fmt.Errorf("looking at what builds have left: %w", err)
		}
	}
	return g.held, nil
}

// Still keeps builds from holding more. Lock order: holds.lock, then pointers.lock.
func (g *Ground) Still(ctx context.Context, do func(held map[artifacts.Digest]bool) error) error {
	if g.lock == nil {
		return errors.New("this was only a look")
	}
	l, err := waitLock(ctx, filepath.Join(g.s.dir, holdsLock), pointerPoll, func() {})
	if err != nil {
		return fmt.Errorf("waiting for running builds: %w", g.s.explain(err))
	}
	if err = g.running(ctx); err == nil {
		err = do(g.held)
	}
	// A pointer that comes back with the power would dangle, so its deletion is on the disk before any blob goes.
	if err = errors.Join(err, ignoreMissing(g.s.syncDir(keysDir)), l.release()); err != nil {
		return err
	}
	// Who waits looks once in pointerPoll: whoever takes the lock again at once leaves no moment for that.
	select {
	case <-ctx.Done():
	case <-time.After(turn):
	}
	return nil
}

// turn is how long builds can hold more between two parts of a collection.
const turn = 4 * pointerPoll

// Changed is the change time of the file: of a blob, whose modification time is sealed, also when it was linked last.
func (g *Ground) Changed(_ context.Context, name string) (time.Time, error) {
	fi, err := g.s.root.Lstat(name)
	if err != nil {
		return time.Time{}, missing(err)
	}
	return time.Unix(0, changeTime(fi)), nil
}

// running reads what was added to the files of running/. Without the right to collect, those of ended builds are left
// out; with it, they are of builds that ended since.
func (g *Ground) running(ctx context.Context) error {
	return g.s.eachEntry(ctx, runningDir, func(name string) error {
		path := filepath.Join(g.s.dir, runningDir, name)
		if g.lock == nil {
			if taken, err := isLocked(path); !taken {
				return err
			}
		}
		f, err := os.Open(path)
		if err != nil {
			return ignoreMissing(err)
		}
		defer f.Close()
		added, err := io.ReadAll(io.NewSectionReader(f, g.read[name], 1<<62))
		if err != nil {
			return err
		}
		whole := added[:bytes.LastIndexByte(added, '\n')+1]
		g.read[name] += int64(len(whole))
		for line := range bytes.Lines(whole) {
			if d, err := artifacts.ParseHex(string(bytes.TrimSpace(line))); err == nil {
				g.held[d] = true
			}
		}
		return nil
	})
}

// leases: a key that somebody makes is needed, whether its build is registered or not.
func (g *Ground) leases(ctx context.Context) error {
	return g.s.eachEntry(ctx, leasesDir, func(name string) error {
		taken, err := isLocked(filepath.Join(g.s.dir, leasesDir, name))
		if !taken { // of a build that died; SweepWork removes it
			return err
		}
		if d, err := artifacts.ParseHex(name); err == nil {
			g.held[d] = true
		}
		return nil
	})
}

// adoptedFile lists the outputs of a workspace whose files are blobs already. Package run writes it.
const adoptedFile = "adopted.json"

// workspaces: where a build died between an output and its record, the next one takes the workspace over and publishes
// what is a blob already; the names stand in adopted.json, and in the marks of trees that were just being stored.
func (g *Ground) workspaces(ctx context.Context) error {
	return g.s.eachEntry(ctx, workDir, func(key string) error {
		return g.s.eachEntry(ctx, workDir+"/"+strings.TrimSuffix(key, "/"), func(attempt string) error {
			if !strings.HasSuffix(attempt, "/") {
				return nil
			}
			dir := workDir + "/" + key + attempt
			err := g.workspace(dir)
			if refused(err) && othersFolder(filepath.Join(g.s.dir, dir)) {
				return nil // a live build of theirs holds what it needs; what a dead one adopted stays while it is young
			}
			return err
		})
	})
}

func (g *Ground) workspace(dir string) error {
	var notes map[string]json.RawMessage
	text, err := g.s.root.ReadFile(dir + adoptedFile)
	if ignoreMissing(err) != nil {
		return err
	}
	if err == nil && json.Unmarshal(text, &notes) == nil {
		for _, code := range notes {
			if rec, err := artifacts.DecodeRecord(code); err == nil { // the next build publishes this very one
				g.held[rec.Log] = true
				continue
			}
			m, err := artifacts.DecodeManifest(code)
			if err != nil {
				continue
			}
			g.held[artifacts.Sum(code)] = true
			for _, f := range m.Files {
				g.held[f.Digest] = true
			}
		}
	}
	names, err := g.s.entries(strings.TrimSuffix(dir, "/"))
	if err != nil {
		return err
	}
	for _, n := range names {
		var m mark
		if !strings.HasPrefix(n, takenPrefix) || !strings.HasSuffix(n, "/") {
			continue
		}
		text, err := g.s.root.ReadFile(dir + n + markFile)
		if errors.Is(err, fs.ErrNotExist) || err == nil && json.Unmarshal(text, &m) != nil {
			continue
		}
		if err != nil {
			return err
		}
		for _, l := range m.Leaving {
			g.held[l.Digest] = true
		}
	}
	return nil
}
