package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Format is the version of the layout that this package reads and writes.
const Format = 1

const (
	formatFile     = "format"
	blobsDir       = "blobs/sha256"
	keysDir        = "keys"
	leasesDir      = "leases"
	tmpDir         = "tmp"
	workDir        = "work"
	checkpointsDir = "checkpoints"
	hashDir        = "hash"
	pointerLock    = "pointers.lock"
)

// Store is one cache folder. It implements artifacts.Store, artifacts.Pointers and artifacts.Sweeper, and is safe for
// use by many goroutines and many processes at once.
type Store struct {
	dir  string   // absolute
	root *os.Root // of dir: every name from outside goes through it

	noReflink atomic.Bool // the file system has refused one; it is not asked again

	hashed sync.Map // Digest → inode: blobs that this process has found sound

	mu      sync.Mutex
	private *scratch // made when first needed

	holds holds
}

// Open prepares the cache in dir, which is created if it is not there.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cache folder %s: %w", dir, err)
	}
	s := &Store{dir: abs}
	for _, sub := range []string{blobsDir, leasesDir, tmpDir, workDir} {
		err := os.MkdirAll(filepath.Join(abs, sub), 0o755)
		if err == nil {
			err = unix.Access(filepath.Join(abs, sub), unix.W_OK)
		}
		if err != nil {
			return nil, fmt.Errorf("the cache folder %s cannot be used: %w; set TINFRA_CACHE to a folder that you can write to", abs, err)
		}
	}
	if s.root, err = os.OpenRoot(abs); err != nil {
		return nil, fmt.Errorf("the cache folder %s cannot be used: %w", abs, err)
	}
	if err := s.checkFormat(); err != nil {
		s.root.Close()
		return nil, err
	}
	return s, nil
}

// Dir is the cache folder, absolute.
func (s *Store) Dir() string { return s.dir }

// Close gives back what the Store holds. A process that ends without it leaves an empty folder for SweepWork.
func (s *Store) Close() error {
	err := s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.private != nil {
		err = errors.Join(err, s.private.remove())
		s.private = nil
	}
	return errors.Join(err, s.root.Close())
}

type formatNote struct {
	Format int `json:"format"`
}

func (s *Store) checkFormat() error {
	b, err := s.root.ReadFile(formatFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s.writeFormat()
	}
	if err != nil {
		return fmt.Errorf("the cache folder %s cannot be used: %w", s.dir, err)
	}
	var have formatNote
	if err := json.Unmarshal(b, &have); err != nil || have.Format < 1 {
		return fmt.Errorf("%s is not a cache's format file: move the folder away, or set TINFRA_CACHE to another one",
			filepath.Join(s.dir, formatFile))
	}
	if have.Format > Format {
		return fmt.Errorf("the cache in %s has format %d and this tinfra knows formats up to %d: use a newer tinfra, or set TINFRA_CACHE to another folder",
			s.dir, have.Format, Format)
	}
	return nil
}

// writeFormat is safe beside another process that does the same: both write the same bytes by rename.
func (s *Store) writeFormat() error {
	b, err := artifacts.JCS(formatNote{Format})
	if err != nil {
		return err
	}
	tmp, err := s.writeTemp(append(b, '\n'), 0o644)
	if err != nil {
		return fmt.Errorf("the cache folder %s cannot be used: %w; set TINFRA_CACHE to a folder that you can write to", s.dir, err)
	}
	return s.rename(tmp, formatFile)
}
