package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Kept is what attempts at a key have finished and nobody has used yet.
type Kept struct {
	Key     artifacts.Key
	Bytes   int64
	Changed time.Time // when the last of it was written
}

// Checkpoints are those of all keys, less what only another user may look at: that one removes it.
func (s *Store) Checkpoints(ctx context.Context) ([]Kept, error) {
	var all []Kept
	err := s.eachEntry(ctx, checkpointsDir, func(name string) error {
		d, err := artifacts.ParseHex(strings.TrimSuffix(name, "/"))
		if err != nil {
			return nil // not ours
		}
		k, others := Kept{Key: artifacts.Key(d)}, false
		err = filepath.WalkDir(s.checkpointPath(k.Key), func(_ string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if refused(err) {
				others = true
				return fs.SkipAll
			}
			if err != nil {
				return err
			}
			fi, err := e.Info()
			if err != nil {
				return ignoreMissing(err)
			}
			if !e.IsDir() {
				k.Bytes += fi.Size()
			}
			if fi.ModTime().After(k.Changed) {
				k.Changed = fi.ModTime()
			}
			return nil
		})
		if err == nil && !others && !k.Changed.IsZero() {
			all = append(all, k)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking at checkpoints: %w", err)
	}
	return all, nil
}

// Abandon removes the checkpoints of a key, unless somebody works at it, or they are another user's; done tells which.
func (s *Store) Abandon(key artifacts.Key) (done bool, err error) {
	err = s.whenIdle(key, func() error {
		err := s.DropCheckpoints(key)
		if done = err == nil; refused(err) {
			return nil
		}
		return err
	})
	return done, err
}

// ForgetFiles removes what is remembered of folders that are gone.
func (s *Store) ForgetFiles(ctx context.Context) error {
	err := s.eachEntry(ctx, hashDir, func(name string) error {
		b, err := s.root.ReadFile(hashDir + "/" + name)
		if err != nil {
			return ignoreMissing(err)
		}
		var m memory
		_, text, _ := strings.Cut(string(b), "\n")
		if json.Unmarshal([]byte(text), &m) == nil {
			if _, err := os.Stat(m.Dir); !errors.Is(err, fs.ErrNotExist) {
				return nil
			}
		}
		return ignoreMissing(s.root.Remove(hashDir + "/" + name))
	})
	if err != nil {
		return fmt.Errorf("forgetting files that are gone: %w", err)
	}
	return nil
}
