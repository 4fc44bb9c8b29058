package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// unfinished begins the name of what is no piece yet: a worker that dies while it writes one leaves such a name.
const unfinished = "."

func (s *Store) checkpointPath(key artifacts.Key) string {
	return filepath.Join(s.dir, checkpointsDir, key.Hex())
}

// Checkpoint makes the folder in which an attempt keeps finished pieces, and moves into it what the attempt before it
// finished; resumed tells whether that was anything. The folder of each attempt has a name of its own, so that a
// straggler of an earlier one cannot write into it. The caller holds the key's lease.
func (s *Store) Checkpoint(key artifacts.Key, attempt int) (dir string, resumed bool, err error) {
	dir = filepath.Join(s.checkpointPath(key), strconv.Itoa(attempt))
	resumed, err = s.handOn(key, attempt, dir)
	if err == nil && !resumed {
		// A worker may have put anything there, a link too.
		err = errors.Join(removeTree(dir), os.MkdirAll(filepath.Dir(dir), 0o777))
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err == nil {
		err = os.Chmod(dir, 0o700) // the attempt before may have left it read-only
	}
	if err != nil {
		return "", false, fmt.Errorf("checkpoints of %s: %w", key.Short(), s.explain(err))
	}
	return dir, resumed, nil
}

// handOn moves the newest folder with a piece in it to dir, and removes the others.
func (s *Store) handOn(key artifacts.Key, attempt int, dir string) (bool, error) {
	numbers, err := s.checkpointFolders(key)
	if err != nil {
		return false, err
	}
	resumed := false
	for _, n := range slices.Backward(numbers) {
		if _, err := os.Lstat(s.Path(key, n)); err == nil && n != attempt {
			continue // a build that lost its lease goes on there
		}
		from := filepath.Join(s.checkpointPath(key), strconv.Itoa(n))
		pieces, err := finished(from)
		if err != nil {
			return false, err
		}
		switch {
		case pieces == 0 || resumed && n != attempt:
			err = removeTree(from)
		case n != attempt:
			// Whatever has our number is older than this.
			err = errors.Join(removeTree(dir), os.Rename(from, dir))
			resumed = true
		default:
			resumed = true
		}
		if err != nil {
			return false, err
		}
	}
	return resumed, nil
}

// finished removes what is no piece and counts the pieces.
func finished(dir string) (int, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	pieces := 0
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), unfinished) {
			pieces++
		} else if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
			return 0, err
		}
	}
	return pieces, nil
}

// checkpointFolders are the numbers of the attempts that have one, in order.
func (s *Store) checkpointFolders(key artifacts.Key) ([]int, error) {
	list, err := os.ReadDir(s.checkpointPath(key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []int
	for _, e := range list {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// Checkpointed are the numbers of the attempts that left a finished piece, in order.
func (s *Store) Checkpointed(key artifacts.Key) ([]int, error) {
	numbers, err := s.checkpointFolders(key)
	if err != nil {
		return nil, fmt.Errorf("checkpoints of %s: %w", key.Short(), err)
	}
	return slices.DeleteFunc(numbers, func(n int) bool {
		list, err := os.ReadDir(filepath.Join(s.checkpointPath(key), strconv.Itoa(n)))
		return err == nil && !slices.ContainsFunc(list, func(e fs.DirEntry) bool {
			return !strings.HasPrefix(e.Name(), unfinished)
		})
	}), nil
}

// DropCheckpoints removes all that attempts at a key have kept.
func (s *Store) DropCheckpoints(key artifacts.Key) error {
	if err := removeTree(s.checkpointPath(key)); err != nil {
		return fmt.Errorf("removing checkpoints of %s: %w", key.Short(), err)
	}
	return nil
}

// sweepCheckpoints removes those of keys that have their record, unless somebody works there.
func (s *Store) sweepCheckpoints(ctx context.Context) error {
	return s.eachEntry(ctx, checkpointsDir, func(name string) error {
		d, err := artifacts.ParseHex(strings.TrimSuffix(name, "/"))
		if err != nil {
			return nil // not ours
		}
		if err := s.sweepCheckpoint(artifacts.Key(d)); !refused(err) {
			return err
		}
		return nil // another user's, who removes them
	})
}

func (s *Store) sweepCheckpoint(key artifacts.Key) error {
	return s.whenIdle(key, func() error {
		pieces, err := s.Checkpointed(key)
		if err != nil {
			return err
		}
		_, missing := s.root.Lstat(keysDir + "/" + key.Hex())
		if missing == nil || len(pieces) == 0 {
			return s.DropCheckpoints(key)
		}
		return nil
	})
}

// whenIdle calls do under the key's lease, unless somebody has that, or a workspace is still there: with a live worker, or
// a result that waits to be collected.
func (s *Store) whenIdle(key artifacts.Key, do func() error) (err error) {
	l, err := tryLock(filepath.Join(s.dir, leasesDir, key.Hex()))
	if l == nil {
		return err
	}
	defer func() { err = errors.Join(err, l.remove()) }()
	if at, err := s.Attempts(key); err != nil || len(at) > 0 {
		return err
	}
	return do()
}
