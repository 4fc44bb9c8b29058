package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Format is the version of the layout that this package reads and writes.
const Format = 1

const (
	formatFile     = "format"
	blobsDir       = "blobs/sha256"
	keysDir        = "keys"
	refsDir        = "refs"
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

	readOnly error // why nothing can be written; nil where it can

	noReflink atomic.Bool // the file system has refused one; it is not asked again

	hashed  sync.Map // Digest → inode: blobs that this process has found sound
	hashing sync.Map // Digest → chan struct{} of one place, which whoever hashes it takes

	mu      sync.Mutex
	private *scratch // made when first needed

	holds holds
	moves *moves

	fsync func(fd int) error // unix.Fsync; a test's own fails
	whole func() bool        // syncfs is as good, where many files are to be flushed
}

// Open prepares the cache in dir, which is created if it is not there. One that is all there and cannot be written to is
// opened all the same, to be read: Writable says so, as does whatever would write.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cache folder %s: %w", dir, err)
	}
	s := &Store{dir: abs, fsync: unix.Fsync, whole: flushesWhole(abs), moves: newMoves(abs)}
	// Nothing is written, not even a folder, before it is known what is there.
	formatted, err := s.checkFormat()
	if err != nil {
		return nil, err
	}
	if err := s.makeFolders(); err != nil {
		if s.readOnly = err; !formatted || !refused(err) {
			return nil, err
		}
	}
	if s.root, err = os.OpenRoot(abs); err != nil {
		return nil, s.unusable(err)
	}
	if !formatted {
		err = s.writeFormat()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) makeFolders() error {
	for _, sub := range []string{blobsDir, leasesDir, tmpDir, workDir} {
		err := os.MkdirAll(filepath.Join(s.dir, sub), 0o777)
		if err == nil {
			err = unix.Access(filepath.Join(s.dir, sub), unix.W_OK)
		}
		if err != nil {
			return s.unusable(err)
		}
	}
	for _, name := range lockFiles {
		s.clearName(name)
	}
	return nil
}

// refused tells a folder that this user may not write to from one that cannot be used at all.
func refused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func (s *Store) unusable(err error) error {
	switch explained := s.explain(err); {
	case explained != err: //nolint:errorlint // whether it is another one
		return explained
	case refused(err):
		return fmt.Errorf("the cache folder %s cannot be written to: %w; set TINFRA_CACHE to a folder that you can write to", s.dir, err)
	default:
		return fmt.Errorf("the cache folder %s cannot be used: %w; set TINFRA_CACHE to another one", s.dir, err)
	}
}

// Writable is nil where this process may write to the cache, has some room there, and can lock files; else it says what
// to do. Whoever is about to spend hours asks first.
func (s *Store) Writable() error {
	_, err := s.scratch()
	return err
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

// checkFormat is false where the folder is not there yet, or has nothing in it that could be somebody's.
func (s *Store) checkFormat() (formatted bool, err error) {
	b, err := os.ReadFile(filepath.Join(s.dir, formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, s.checkUnformatted()
	}
	if err != nil {
		return false, s.unusable(err)
	}
	var have formatNote
	if err := json.Unmarshal(b, &have); err != nil || have.Format < 1 {
		return false, fmt.Errorf("%s is not a cache's format file: move the folder away, or set TINFRA_CACHE to another one",
			filepath.Join(s.dir, formatFile))
	}
	if have.Format > Format {
		return false, fmt.Errorf("the cache in %s has format %d and this tinfra knows formats up to %d: use a newer tinfra, or set TINFRA_CACHE to another folder",
			s.dir, have.Format, Format)
	}
	return true, nil
}

// checkUnformatted refuses a folder with other things in it: what lies in a cache's tmp/ and work/ is swept away. One with
// blobs/ is a cache that lost its format file, or of a process that died before it wrote one; it has the first format,
// since no other was ever written. So has what is left of a cache.
func (s *Store) checkUnformatted() error {
	strange, err := s.stranger()
	// Asked after the folder was read: another process that is making this cache makes blobs/ before all else.
	if _, gone := os.Lstat(filepath.Join(s.dir, path.Dir(blobsDir))); gone == nil {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.unusable(err)
	}
	if strange != "" {
		return fmt.Errorf("the folder %s is no cache, and holds other things (%q): set TINFRA_CACHE to an empty folder, or one that is not there yet; "+
			"if it is what is left of a cache, delete it", s.dir, strange)
	}
	return nil
}

// lostAndFound is in the root of a fresh disk.
const lostAndFound = "lost+found"

// writeFormat is safe beside another process that does the same: both write the same bytes by rename.
func (s *Store) writeFormat() error {
	b, err := artifacts.JCS(formatNote{Format})
	if err != nil {
		return err
	}
	tmp, err := s.writeTemp(append(b, '\n'), 0o644)
	if err != nil {
		return err
	}
	return s.rename(tmp, formatFile)
}
